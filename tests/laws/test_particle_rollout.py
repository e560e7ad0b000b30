"""Laws of the compiled rollout of any list of terms: forces, conservation, order, the same bits however it is run."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

from vid2dyn.data.box import Free, LeesEdwards, Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid, pair_kind
from vid2dyn.rollout.fluid.engine import Engine
from vid2dyn.rollout.fluid.example import SoftParticleTables, lattice
from vid2dyn.rollout.fluid.paths import (
    FluidFrame,
    FluidRollout,
    PairMemory,
    fluid_energy,
    fluid_frames,
    fluid_paths,
)

MASS = (1.0, 2.5)


def tables_of(dim: int = 3, **constants: Any) -> SoftParticleTables:
    """Two species with three kinds of pairs."""
    return SoftParticleTables(dim, mass=MASS, repulsion=(25.0, 10.0, 40.0), across=1.5, **constants)


def start_of(n: int = 125, dim: int = 3, seed: int = 0) -> FluidFrame:
    """Three particles in a volume of 1, half of each species, total momentum zero."""
    x, v, edge = lattice(n, dim, volume=1 / 3, seed=seed)
    species = np.arange(n) % 2
    mass = np.array(MASS)[species][:, None]
    v = v / np.sqrt(mass)
    return FluidFrame(x, v - (mass * v).sum(axis=0) / mass.sum(), np.zeros(n), Periodic((edge,) * dim),
                      species=species)


def edge_of(start: FluidFrame) -> float:
    assert start.box.lengths is not None
    return start.box.lengths[0]


def momentum(frame: FluidFrame) -> np.ndarray:
    assert frame.species is not None
    return (np.array(MASS)[frame.species][:, None] * frame.velocity).sum(axis=0)


def same(a: FluidFrame, b: FluidFrame) -> bool:
    """Every bit of two states."""
    assert a.memory is not None
    assert b.memory is not None
    return all(np.array_equal(p, q) for p, q in (
        (a.position, b.position), (a.velocity, b.velocity), (a.entropy, b.entropy), (a.memory.pairs, b.memory.pairs),
        (a.memory.vectors, b.memory.vectors)))


def dense_force(frozen: FrozenFluid, frame: FluidFrame) -> np.ndarray:
    """All forces at a state, pair by pair in plain Python, from the formulas in the docstring of `frozen`."""
    n, dim = frame.position.shape
    assert frame.species is not None
    assert frame.memory is not None
    T = frozen.temperature
    assert T is not None
    xi = {tuple(pair): vectors for pair, vectors in zip(frame.memory.pairs.tolist(), frame.memory.vectors)}
    density = np.full(n, frozen.radial("kernel", np.array(0.0))[0])
    pairs = []
    for i, j in itertools.combinations(range(n), 2):
        away = frame.box.displacement(frame.position[i], frame.position[j])
        r = float(np.linalg.norm(away))
        if r < frozen.cutoff:
            W, slope = frozen.radial("kernel", np.array(r))
            density[[i, j]] += W
            pairs.append((i, j, r, away / r, float(slope)))
    push = frozen.energy(frame.entropy, 1.0 / density)[2] / density**2
    force = np.zeros((n, dim))
    for i, j, r, e, slope in pairs:
        kind = pair_kind(int(frame.species[i]), int(frame.species[j]), frozen.species)
        phi_slope = frozen.pair_radial("pair_energy", np.array(r), kind)[1]
        across, _, along, _ = frozen.pair_radial("pair_friction", np.array(r), kind)
        shear, bulk = frozen.radial("shear", np.array(r))[0], frozen.radial("bulk", np.array(r))[0]
        v = frame.velocity[i] - frame.velocity[j]
        line, rest = e * (e @ v), v - e * (e @ v)
        f = -((push[i] + push[j]) * slope + phi_slope) * e - along * line - across * rest
        f -= (0.5 * shear * rest + (shear * (1 - 1 / dim) + bulk / dim) * line)               # K/T, K ~ T at p = 1
        for mode, vector in zip(frozen.memory, xi[i, j]):
            one = 1.0 - r / frozen.cutoff
            ahead = e * (e @ vector)
            f -= mode.table[kind, 0, 2] * one**2 * ahead + mode.table[kind, 0, 0] * one**2 * (vector - ahead)
        force[i] += f
        force[j] -= f
    if frozen.external is not None:
        force -= frozen.external(frame.position)[1]
    if frozen.traps is not None:
        force -= frozen.traps.stiffness * (frame.position - frozen.traps.centre)
    if frozen.drag is not None:
        force -= np.asarray(frozen.drag)[frame.species][:, None] * frame.velocity
    return force


def with_memory(frozen: FrozenFluid, start: FluidFrame, seed: int = 7) -> FluidFrame:
    """The start with ξ drawn for all pairs within the cutoff."""
    dim = start.position.shape[1]
    away = start.box.displacement(start.position[:, None], start.position[None])
    pairs = np.argwhere(np.triu(np.linalg.norm(away, axis=-1) < frozen.cutoff, 1))
    vectors = np.random.default_rng(seed).standard_normal((len(pairs), len(frozen.memory), dim))
    return dataclasses.replace(start, memory=PairMemory(pairs, vectors))


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
@pytest.mark.parametrize("dim", [2, 3])
def test_one_step_follows_the_forces(dim: int, conservative: str) -> None:
    """(v' - v)/dt without noise against forces summed pair by pair; first order in dt, extrapolated (forces ~ 20)."""
    start = start_of(64, dim)
    frozen = dataclasses.replace(tables_of(dim, temperature=1.3).everything(edge_of(start)), drag=np.array([0.7, 0.2]))
    start = with_memory(frozen, start)
    assert start.species is not None
    rates = []
    for dt in (2e-5, 1e-5):
        settings = FluidRollout(dt, conservative, noise=False, tolerance=1e-12)  # type: ignore[arg-type]
        after = fluid_paths(frozen, start, settings, steps=1).last
        rates.append((after.velocity - start.velocity) / dt * np.array(MASS)[start.species][:, None])
    wanted = dense_force(frozen, start)
    assert np.abs(wanted).max() > 10
    assert np.abs(2 * rates[1] - rates[0] - wanted).max() < 1e-4


def test_exact_step_keeps_energy_with_all_parts() -> None:
    """10³ noisy steps of all parts: per particle and kT, and Verlet is not exact."""
    start = start_of(64)
    frozen = tables_of().everything(edge_of(start))
    first, worst = sum(fluid_energy(frozen, start)), {}
    for conservative, steps in (("exact", 1000), ("verlet", 200)):
        settings = FluidRollout(0.01, conservative)  # type: ignore[arg-type]
        worst[conservative] = max(abs(sum(fluid_energy(frozen, frame)) - first) / 64 for frame in fluid_frames(
            frozen, start, settings, steps=steps, every=steps // 10, seed=1))
    assert worst["exact"] < 1e-10
    assert 1e-6 < worst["verlet"] < 0.1


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
@pytest.mark.parametrize("kind", ["periodic", "free", "sheared"])
def test_momentum_of_all_pair_parts(conservative: str, kind: str) -> None:
    start = start_of(125)
    edge = edge_of(start)
    box = {"free": Free(), "periodic": Periodic((edge,) * 3), "sheared": LeesEdwards((edge,) * 3, 1.5, 0.3)}[kind]
    start = dataclasses.replace(start, box=box)
    frozen = tables_of().everything(edge, single=False)
    last = fluid_paths(frozen, start, FluidRollout(0.01, conservative), steps=100, seed=2).last  # type: ignore[arg-type]
    # through a sheared border momentum m v changes with the image; the sum does not, as velocities are never shifted
    assert np.abs(momentum(last) - momentum(start)).max() < 1e-12
    assert np.abs(last.velocity - start.velocity).max() > 0.5


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_no_entropy_is_lost_without_noise(conservative: str) -> None:
    """In every step, with pairs that meet and part, and remembered vectors that fade."""
    start = start_of(125)
    frozen = tables_of().everything(edge_of(start))
    settings = FluidRollout(0.01, conservative, noise=False)  # type: ignore[arg-type]
    S = fluid_paths(frozen, with_memory(frozen, start), settings, steps=60).entropy.sum(axis=1)
    assert (np.diff(S) >= 0).all()
    assert S[-1] > 10


def test_energy_error_of_verlet_is_of_second_order() -> None:
    """All parts without noise: four times less for half the step.

    With W and φ ~ (1 - r)⁴: where a second derivative jumps, the error depends on where in its step a pair crosses.
    """
    start = start_of(64)
    frozen = tables_of().everything(edge_of(start))
    one = 1.0 - np.linspace(0.0, 1.0, 513)
    smooth = np.stack([one**4, -4.0 * one**3], axis=1)
    assert frozen.kernel is not None
    frozen = dataclasses.replace(frozen, kernel=frozen.kernel[0, 0] * smooth, pair_energy=np.stack([25.0 * smooth] * 3))
    start = with_memory(frozen, start)
    errors = []
    for dt in (0.008, 0.004, 0.002):
        last = fluid_paths(frozen, start, FluidRollout(dt, noise=False), steps=round(0.08 / dt)).last
        errors.append(sum(fluid_energy(frozen, last)) - sum(fluid_energy(frozen, start)))
    assert 3.4 < errors[0] / errors[1] < 4.6
    assert 3.6 < errors[1] / errors[2] < 4.4


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_same_bits_for_threads_order_and_continuation(conservative: str) -> None:
    start = start_of(216)
    frozen = dataclasses.replace(tables_of().everything(edge_of(start)), drag=np.array([0.5, 0.1]))
    settings = FluidRollout(0.01, conservative)  # type: ignore[arg-type]
    frames = list(fluid_frames(frozen, start, settings, steps=40, every=13, seed=4, threads=1))
    once = frames[3]
    few = fluid_paths(frozen, start, settings, steps=2, seed=4, threads=1).last
    assert same(few, fluid_paths(frozen, start, settings, steps=2, seed=4, threads=2).last)
    assert same(once, fluid_paths(frozen, frames[1], settings, steps=26, seed=4).last)
    assert not same(once, fluid_paths(frozen, start, settings, steps=39, seed=5).last)
    order = np.random.default_rng(0).permutation(216)
    assert start.species is not None
    mixed = FluidFrame(start.position[order], start.velocity[order], start.entropy[order], start.box, order,
                       species=start.species[order])
    turned, back = fluid_paths(frozen, mixed, settings, steps=39, seed=4).last, np.argsort(order)
    assert (turned.position[back] == once.position).all()
    assert (turned.entropy[back] == once.entropy).all()
    assert turned.memory is not None
    assert once.memory is not None
    assert (turned.memory.vectors == once.memory.vectors).all()


def test_the_moment_of_renewal_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists made anew before every step: pairs remember all the same, and meet at the same step."""
    start = start_of(125)
    frozen, settings = tables_of().everything(edge_of(start)), FluidRollout(0.01)
    seldom = fluid_paths(frozen, start, settings, steps=40, seed=4).last
    plain = Engine.step

    def renewed(self: Engine) -> None:
        self.renew_list()
        plain(self)

    monkeypatch.setattr(Engine, "step", renewed)
    assert same(seldom, fluid_paths(frozen, start, settings, steps=40, seed=4).last)


def test_wrapped_positions_are_the_same_run() -> None:
    """Of pair forces and a periodic potential; a trap sees where a particle is."""
    start = start_of(125)
    frozen = dataclasses.replace(tables_of().everything(edge_of(start)), traps=None)
    moved = dataclasses.replace(start, position=start.position + edge_of(start) * np.arange(-62, 63)[:, None])
    a, b = (fluid_paths(frozen, s, FluidRollout(0.01), steps=20, seed=3).last for s in (start, moved))
    assert np.abs(a.velocity - b.velocity).max() < 1e-9
    assert np.abs(b.position - a.position - (moved.position - start.position)).max() < 1e-9


def test_memory_without_noise_is_friction_with_a_memory_kernel() -> None:
    """Two heavy particles pass at constant velocity u: momentum g² u [τ t - τ² (1 - exp(-t/τ))] goes over in time t.

    At any dt, also far above τ: only the first steps, before ξ is steady, feel the size of the step.
    """
    tau, g, u, mass = 0.05, 3.0, 0.1, 1e9
    r = np.linspace(0.0, 4.0, 17)
    flat = SoftParticleTables(3, cutoff=4.0, mass=(mass,), repulsion=(0.0,), friction=0.0, rows=17)
    mode = dataclasses.replace(flat.memory(tau, 1.0), table=np.array([[[g, 0.0, g, 0.0]] * len(r)]))
    x = np.array([[0.0, 0.0, 0.0], [0.3, 0.2, 0.1]])
    start = FluidFrame(x, np.array([[0.0, u, 0.0], [0.0, 0.0, 0.0]]), np.zeros(2))
    for dt, error in ((0.0025, 1e-3), (0.5, 0.2)):
        steps = round(1.0 / dt)
        last = fluid_paths(flat.freeze(memory=(mode,)), start, FluidRollout(dt, noise=False), steps=steps).last
        gained = mass * last.velocity[1, 1]
        slow = g * g * u * (tau - tau**2 * (1 - math.exp(-1.0 / tau)))
        assert gained == pytest.approx(slow, rel=error)
        one_less = fluid_paths(flat.freeze(memory=(mode,)), start, FluidRollout(dt, noise=False), steps=steps - 1).last
        if dt > tau:                                                    # steady by then: exactly g² τ u
            assert mass * (last.velocity - one_less.velocity)[1, 1] == pytest.approx(g * g * tau * u * dt, rel=1e-4)
