"""Heat added to a frozen list of terms: the energy it states, exact conservation, equilibrium, relaxation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vid2dyn import terms
from vid2dyn.core.errors import ModelError
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.fluid.carried_heat import CarriedHeat, can_carry
from vid2dyn.dynamics.fluid.frozen import FrozenFluid, read_radial
from vid2dyn.dynamics.terms.base import kind_number
from vid2dyn.rollout.fluid.example import SoftParticleTables
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_energy, fluid_frames, fluid_paths

N, EDGE, KT = 144, 7.0, 1.3
HEAT = CarriedHeat(8.0, 0.7, 2.0, 1.0, 1.1)


def listed(depth: float = 0.0) -> FrozenFluid:
    """A soft repulsion (less `depth` of an attraction) and pair friction."""
    r = np.linspace(0, 1, 200)
    potential = terms.PairPotential(cutoff=1.0, knots=8, inner=(0.0,), core=0.0, species=("",))
    friction = terms.PairFriction(cutoff=1.0, knots=4, inner=(0.0,), species=("",))
    shape = (1 - r) ** 3 * (1 + 3 * r)
    theta = np.linalg.lstsq(potential.splines()[0](r)[0], 4.0 * shape - depth * (1 - r) ** 3 * r, rcond=None)[0]
    phi = np.linalg.lstsq(friction.splines()[0](r)[0], shape, rcond=None)[0]
    return freeze([potential, friction], [theta, np.concatenate([phi, 3 * phi])], kT=KT, mass=[1.5], dim=2)


def start(seed: int = 0) -> FluidFrame:
    rng = np.random.default_rng(seed)
    x = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1).reshape(-1, 2) * EDGE / 12
    v = rng.normal(size=(N, 2)) * np.sqrt(KT / 1.5)
    S = HEAT.heat_capacity * np.log(rng.gamma(HEAT.heat_capacity, size=N) / HEAT.heat_capacity)
    return FluidFrame(x + 0.02 * rng.normal(size=x.shape), v - v.mean(axis=0), S, Periodic((EDGE, EDGE)))


def test_energy_is_what_it_says() -> None:
    """Kinetic + pairs + C kT [e^(S/C) - 1] + [e^(βS/C) - 1] (Φ - <Φ>)/2, summed over all pairs by hand."""
    plain, state = listed(), start()
    frozen = HEAT.added_to(plain)
    i, j = np.triu_indices(N, 1)
    r = np.linalg.norm(state.box.displacement(state.position[i], state.position[j]), axis=1)
    phi = np.where(r < 1.0, read_radial(plain.pair_energy[0], 1.0, np.minimum(r, 1.0))[0], 0.0)
    of_particle = np.bincount(i, phi, N) + np.bincount(j, phi, N)
    C, beta = HEAT.heat_capacity, HEAT.exponent
    expected = phi.sum() + (C * KT * (np.exp(state.entropy / C) - 1)
                            + (np.exp(beta * state.entropy / C) - 1) * 0.5 * (of_particle - HEAT.mean_energy)).sum()
    assert fluid_energy(frozen, state)[1] == pytest.approx(expected, rel=1e-7)


def test_first_law_and_momentum_to_rounding() -> None:
    frozen, state = HEAT.added_to(listed()), start()
    paths = fluid_paths(frozen, state, FluidRollout(0.005, "exact"), steps=100, seed=3)
    before, after = (sum(fluid_energy(frozen, dataclasses.replace(
        state, position=paths.position[k], velocity=paths.velocity[k], entropy=paths.entropy[k]))) for k in (0, -1))
    assert abs(after - before) < 1e-11 * N * KT
    assert np.abs(paths.velocity[-1].sum(axis=0)).max() < 1e-11
    # the same with friction alone would have cooled the particles
    assert abs(paths.entropy[-1].mean() - paths.entropy[0].mean()) > 1e-4


def test_second_law_without_noise() -> None:
    frozen = HEAT.added_to(listed())
    paths = fluid_paths(frozen, start(), FluidRollout(0.005, "exact", noise=False), steps=60, seed=0)
    total = paths.entropy.sum(axis=1)
    assert (np.diff(total) > -1e-10).all()
    assert total[-1] - total[0] > 1.0


def test_equilibrium_and_relaxation() -> None:
    """Temperatures of velocities and of particles agree, S/C keeps the variance 1/C, and fades at about the rate set.

    144 particles, 400 relaxation times of velocities: the mean of kT is known to 2 %, the variance to 5 %.
    """
    plain, state = listed(), start(1)
    i, j = np.triu_indices(N, 1)
    r = np.linalg.norm(state.box.displacement(state.position[i], state.position[j]), axis=1)
    weight = 2 * ((1 - r[r < 1] ** 2) ** 2).sum() / N
    heat = dataclasses.replace(HEAT, conductance=HEAT.heat_capacity / (2.0 * weight))       # τ = 2
    paths = fluid_paths(heat.added_to(plain), state, FluidRollout(0.02), steps=6000, every=10, seed=5)
    v, S = paths.velocity[100:], paths.entropy[100:]
    assert 1.5 * (v**2).mean() == pytest.approx(KT, rel=0.1)
    assert (S / heat.heat_capacity).std() == pytest.approx(heat.heat_capacity**-0.5, rel=0.25)
    left = S - S.mean(axis=0)
    fade = (left[10:] * left[:-10]).mean() / (left**2).mean()
    assert np.exp(-2 * 2.0 / 2.0) < fade < np.exp(-0.4 * 2.0 / 2.0)


def test_forces_that_do_not_know_of_heat() -> None:
    plain, state = listed(), start()
    cold = dataclasses.replace(HEAT, exponent=0.0).added_to(plain)
    still = FluidRollout(1e-4, noise=False)
    no_friction = [dataclasses.replace(one, pair_friction=None) for one in (plain, cold)]
    ours, theirs = (fluid_paths(one, state, still, steps=1).velocity[-1] for one in no_friction)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_attraction_and_drag() -> None:
    """Densities below W(0) are in the table, and the bath has the temperature of the particles."""
    plain = dataclasses.replace(listed(depth=25.0), drag=np.array([0.5]))
    assert plain.pair_energy[0, :, 0].min() < -0.08
    frozen = dataclasses.replace(HEAT, exponent=0.3).added_to(plain)
    assert frozen.drag_temperature == pytest.approx(KT)
    paths = fluid_paths(frozen, start(), FluidRollout(0.01), steps=200, seed=1)
    assert np.isfinite(paths.entropy).all()


def mixture() -> tuple[FrozenFluid, CarriedHeat, FluidFrame]:
    """Three kinds of pairs of unlike strength, masses that differ; and heat for both species."""
    tables = SoftParticleTables(2, 1.0, KT, mass=(1.0, 2.5), repulsion=(4.0, 9.0, 1.5), friction=2.0)
    state, species = start(), np.arange(N) % 2
    velocity = state.velocity * np.sqrt(1.5 / np.array(tables.mass))[species][:, None]
    start_of_both = dataclasses.replace(state, velocity=velocity, species=species)
    return tables.freeze(), CarriedHeat(8.0, 0.7, 2.0, 1.0, (1.1, 0.4)), start_of_both


def test_energy_of_a_mixture() -> None:
    """As above, with Φ of the pairs of each kind and <Φ> of each species."""
    plain, heat, state = mixture()
    i, j = np.triu_indices(N, 1)
    r = np.linalg.norm(state.box.displacement(state.position[i], state.position[j]), axis=1)
    phi = np.zeros(len(r))
    for kind in range(3):
        own = kind_number(state.species[i], state.species[j], 2) == kind
        phi[own] = np.where(r < 1.0, read_radial(plain.pair_energy[kind], 1.0, np.minimum(r, 1.0))[0], 0.0)[own]
    of_particle = np.bincount(i, phi, N) + np.bincount(j, phi, N)
    C, beta, mean = heat.heat_capacity, heat.exponent, np.array(heat.mean_energy)[state.species]
    expected = phi.sum() + (C * KT * (np.exp(state.entropy / C) - 1)
                            + (np.exp(beta * state.entropy / C) - 1) * 0.5 * (of_particle - mean)).sum()
    assert fluid_energy(heat.added_to(plain), state)[1] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("conservative", ["exact", "verlet"])
def test_first_law_of_a_mixture(conservative: str) -> None:
    """Energy to rounding with the exact step, to the error of Verlet without; momentum to rounding."""
    plain, heat, state = mixture()
    frozen, steps = heat.added_to(plain), 200
    frames = list(fluid_frames(frozen, state, FluidRollout(0.002, conservative), steps=steps, seed=3))
    before, after = (sum(fluid_energy(frozen, one)) for one in (frames[0], frames[-1]))
    assert abs(after - before) < (1e-11 if conservative == "exact" else 1e-4) * N * KT
    moved = (frozen.masses[state.species][:, None] * (frames[-1].velocity - state.velocity)).sum(axis=0)
    assert np.abs(moved).max() < 1e-11 * N
    assert np.abs(frames[-1].entropy - state.entropy).mean() > 0.1, "heat flows"


def test_equilibrium_of_a_mixture() -> None:
    """Velocities and particles of both species have one temperature: 1,800 of 2,400 steps, each mean known to 2 %.

    At a heat capacity C particles at equilibrium have <1/T> = 1/T_v (gamma distribution of shape C in T).
    """
    plain, heat, state = mixture()
    frozen = dataclasses.replace(heat, exponent=0.0).added_to(plain)
    frames = list(fluid_frames(frozen, state, FluidRollout(0.01), steps=2400, every=20, seed=5))[30:]
    C = heat.heat_capacity
    for species in range(2):
        own = state.species == species
        moving = np.mean([frozen.masses[species] * (one.velocity[own] ** 2).mean() for one in frames])
        inside = KT / np.mean([np.exp(-one.entropy[own] / C).mean() for one in frames])
        assert moving == pytest.approx(inside * C / (C - 1), rel=0.1)


def test_what_cannot_carry_heat() -> None:
    crowded = SoftParticleTables(dim=2).everything(5.0)
    assert not can_carry(crowded)
    with pytest.raises(ModelError, match="density energy"):
        HEAT.added_to(crowded)
    with pytest.raises(ModelError, match="negative temperatures"):
        CarriedHeat(2.0, 6.0, 1.0, 1.0, 3.0).added_to(listed())
