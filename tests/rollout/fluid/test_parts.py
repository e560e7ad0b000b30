"""Parts of the rollout of a list of terms, one by one: bad input, small systems, tables, potentials, time steps."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import BSpline

from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid, pair_kind
from vid2dyn.dynamics.fluid.frozen_parts import ExternalTable, FrozenMemory, HarmonicTraps
from vid2dyn.rollout.fluid import one_body
from vid2dyn.rollout.fluid.example import SoftParticleTables, ideal_gas, lattice
from vid2dyn.rollout.fluid.lookup import density_energy
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, Held, PairMemory, fluid_energy, fluid_paths
from vid2dyn.rollout.fluid.tables import density_table
from vid2dyn.rollout.fluid.time_step import stable_step

ROWS = np.linspace(0.0, 1.0, 9)
ONE = np.stack([(1 - ROWS) ** 2, -2 * (1 - ROWS)], axis=1)


def soft(**parts: Any) -> FrozenFluid:
    return SoftParticleTables().freeze(**parts)


def start_of(n: int = 64) -> FluidFrame:
    x, v, edge = lattice(n, volume=1 / 3)
    return FluidFrame(x, v, np.zeros(n), Periodic((edge,) * 3))


@pytest.mark.parametrize(("parts", "message"), [
    ({"temperature": 0.0}, "temperature = 0.0 must be positive"),
    ({"temperature": math.nan}, "must be positive"),
    ({"temperature": None}, "either an equation of state .* or one temperature"),
    ({"mass": -1.0}, "mass = -1.0 must be one positive number"),
    ({"mass": (1.0, 2.0)}, "one for each of the 1 species"),
    ({"cutoff": 0.0}, "cutoff"),
    ({"dim": 4}, "dim = 4"),
    ({"species": 0}, "species = 0"),
    ({"pair_energy": ONE}, r"pair_energy of shape \(9, 2\) must be \(1, rows >= 2, 2\)"),
    ({"pair_energy": np.stack([ONE, ONE])}, r"must be \(1, rows >= 2, 2\)"),
    ({"pair_energy": np.full((1, 9, 2), np.nan)}, "finite"),
    ({"pair_energy": ONE[None] + 1.0}, "must end with zero"),
    ({"pair_friction": ONE[None]}, r"pair_friction of shape .* must be \(1, rows >= 2, 4\)"),
    ({"pair_friction": -np.concatenate([ONE, ONE], axis=1)[None]}, "negative in row 0"),
    ({"density_energy": ONE, "density_range": (1.0, 2.0)}, "density_energy needs the kernel"),
    ({"density_energy": ONE, "density_range": (2.0, 1.0), "kernel": ONE}, "density_range"),
    ({"density_energy": ONE, "kernel": ONE}, "density_range = None"),
    ({"volume_power": 1, "shear": ONE}, "volume_power = 1 needs the kernel"),
    ({"shear": ONE[:, :1]}, "shear"),
    ({"temperature_power": 2}, "0 or 1"),
    ({"drag": np.array([-1.0])}, "drag"),
    ({"drag": np.array([1.0, 2.0])}, "1 species"),
    ({"drag_temperature": -1.0}, "drag_temperature"),
    ({"memory": (FrozenMemory(0.1, ONE),)}, r"memory\[0\].table of shape"),
    ({"traps": HarmonicTraps(1.0, np.zeros(2))}, "centres of traps have 2 coordinates"),
    ({"external": ExternalTable(np.zeros(4), (0.0,), (1.0,), (2,)), "dim": 2}, "depends on axis 2"),
])
def test_a_model_that_cannot_be_is_refused(parts: dict[str, Any], message: str) -> None:
    whole = {"dim": 3, "mass": 1.0, "cutoff": 1.0, "temperature": 1.0, **parts}
    with pytest.raises(ModelError, match=message):
        FrozenFluid(**whole)


def test_what_an_equation_of_state_excludes() -> None:
    gas = ideal_gas()
    with pytest.raises(ModelError, match="memory modes need one temperature"):
        dataclasses.replace(gas, memory=(FrozenMemory(0.1, np.zeros((1, 3, 4))),))
    with pytest.raises(ModelError, match="not both"):
        dataclasses.replace(gas, temperature=1.0)
    with pytest.raises(ModelError, match="is a part of eos"):
        dataclasses.replace(gas, density_energy=ONE, density_range=(1.0, 2.0))
    with pytest.raises(ModelError, match="eos needs entropy and log_volume"):
        dataclasses.replace(gas, entropy=None)
    with pytest.raises(ModelError, match="eos needs the kernel"):
        dataclasses.replace(gas, kernel=None)
    with pytest.raises(ModelError, match="drag needs drag_temperature"):
        dataclasses.replace(gas, drag=np.array([1.0]))


@pytest.mark.parametrize("wrong", [
    lambda: ExternalTable(np.zeros(3), (0.0,), (1.0,), (0,)), lambda: ExternalTable(np.zeros(5), (0.0,), (0.0,), (0,)),
    lambda: ExternalTable(np.zeros((5, 5)), (0.0,), (1.0, 1.0), (0, 1)),
    lambda: ExternalTable(np.zeros((5, 5)), (0.0, 0.0), (1.0, 1.0), (1, 1)),
    lambda: ExternalTable(np.full(5, np.inf), (0.0,), (1.0,), (0,)), lambda: HarmonicTraps(-1.0, np.zeros(3)),
    lambda: HarmonicTraps(1.0, np.full(3, np.nan)), lambda: FrozenMemory(0.0, np.zeros((1, 2, 4)))])
def test_a_part_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ModelError):
        wrong()


def test_a_state_that_does_not_fit_the_model_is_refused() -> None:
    start, two = start_of(), SoftParticleTables(mass=(1.0, 2.0), repulsion=(1.0,) * 3).freeze()
    settings = FluidRollout(0.01)
    with pytest.raises(ConfigError, match="2 species; give every particle's species"):
        fluid_paths(two, start, settings, steps=1)
    with pytest.raises(ConfigError, match="particle of species 2"):
        fluid_paths(two, dataclasses.replace(start, species=np.arange(64) % 3), settings, steps=1)
    with pytest.raises(DataError, match="whole numbers >= 0"):
        dataclasses.replace(start, species=np.full(64, 0.5))
    with pytest.raises(DataError, match="smaller id first"):
        PairMemory(np.array([[3, 1]]), np.zeros((1, 1, 3)))
    with pytest.raises(DataError, match="finite"):
        PairMemory(np.array([[1, 3]]), np.full((1, 1, 3), np.nan))
    known = dataclasses.replace(start, memory=PairMemory(np.array([[1, 3]]), np.zeros((1, 1, 3))))
    with pytest.raises(ConfigError, match="remembers 1 modes in 3 dimensions; the model has 0"):
        fluid_paths(soft(), known, settings, steps=1)
    mode = SoftParticleTables().memory(0.1, 1.0)
    strange = dataclasses.replace(start, memory=PairMemory(np.array([[1, 99]]), np.zeros((1, 1, 3))))
    with pytest.raises(ConfigError, match="particles that are not in it"):
        fluid_paths(soft(memory=(mode,)), strange, settings, steps=1)
    with pytest.raises(ConfigError, match="63 centres and there is a particle with id 63"):
        fluid_paths(soft(traps=HarmonicTraps(1.0, np.zeros((63, 3)))), start, settings, steps=1)
    wave = ExternalTable(np.zeros(5), (0.0,), (0.3,), (0,), (True,))
    with pytest.raises(ConfigError, match=r"period 1\.5 on axis 0, which does not fit"):
        fluid_paths(soft(external=wave), start, settings, steps=1)
    x = start.position.copy()
    x[7] = x[30]
    with pytest.raises(ModelError, match="particle 7: it coincides with particle 30"):
        fluid_paths(soft(), dataclasses.replace(start, position=x), settings, steps=1)


def test_kinds_of_pairs_are_numbered_in_rows() -> None:
    for species in (1, 2, 5):
        every = [pair_kind(a, b, species) for a in range(species) for b in range(a, species)]
        assert every == list(range(species * (species + 1) // 2))
        assert pair_kind(species - 1, 0, species) == pair_kind(0, species - 1, species)


def test_density_energy_is_the_frozen_one_and_linear_beyond() -> None:
    d = np.linspace(1.0, 3.0, 33)
    frozen = soft(kernel=ONE, density_energy=np.stack([d**3, 3 * d**2], axis=1), density_range=(1.0, 3.0))
    table, span = density_table(frozen)
    for at in (0.2, 1.0, 1.03, 2.9999, 3.0, 7.0):
        u, slope = density_energy(table, span, at)
        U, T, P = frozen.energy(np.array(2.0), np.array(1 / at))
        assert [u + 2.0, slope] == pytest.approx([float(U), float(P) / at**2], rel=1e-12)
        assert T == 1.0
    assert density_energy(table, span, 7.0)[0] == pytest.approx(27 + 27 * 4.0)


@pytest.mark.parametrize(("axes", "shape", "periodic"), [
    ((0,), (9,), (True,)), ((1, 0), (8, 6), (True, False)), ((2, 0, 1), (5, 6, 4), (False, False, True)),
    ((2,), (4,), (False,))])
def test_external_potential(axes: tuple[int, ...], shape: tuple[int, ...], periodic: tuple[bool, ...]) -> None:
    """Compiled like plain numpy; the gradient like differences; all of it like scipy's splines on one axis."""
    rng = np.random.default_rng(0)
    table = ExternalTable(rng.normal(size=shape), tuple(rng.normal(size=len(axes))), tuple(6 / np.array(shape)), axes,
                          periodic)
    x, ids, parts = rng.uniform(-8, 14, (60, 3)), np.arange(60), one_body.one_body_of(soft(external=table))
    energy, gradient = table(x)
    force = np.zeros_like(x)
    one_body.add_force(x, ids, parts, force)
    assert one_body.energies(x, ids, parts) == pytest.approx(energy, abs=1e-12)
    assert force == pytest.approx(-gradient, abs=1e-12)
    h = 1e-5
    change = np.stack([(table(x + h * d)[0] - table(x - h * d)[0]) / (2 * h) for d in np.eye(3)], axis=1)
    assert change == pytest.approx(gradient, abs=1e-7)
    if len(axes) == 1:
        m, step = shape[0], table.spacing[0]
        u = (x[:, axes[0]] - table.origin[0]) / step
        if periodic[0]:
            spline = BSpline(np.arange(-3.0, m + 4), np.concatenate([table.values, table.values[:3]]), 3)
            assert energy == pytest.approx(spline(u % m), abs=1e-12)
        else:
            spline, inside = BSpline(np.arange(-3.0, m + 1), table.values, 3), np.clip(u, 0, m - 3)
            assert energy == pytest.approx(spline(inside) + spline(inside, 1) * (u - inside), abs=1e-12)


def test_mean_forces_do_exact_work() -> None:
    """Along short and long steps, over borders of the grid: F̄·(x' - x) = -ΔΦ to rounding of Φ."""
    rng = np.random.default_rng(1)
    table = ExternalTable(rng.normal(size=(6, 6, 6)), (0.0,) * 3, (0.5,) * 3, (0, 1, 2), (True, False, True))
    parts = one_body.one_body_of(soft(external=table, traps=HarmonicTraps(3.0, rng.normal(size=(90, 3)))))
    x, ids = rng.uniform(-2, 4, (90, 3)), np.arange(90)
    for length in (1.0, 1e-2, 1e-4, 3e-5, 1e-8):
        after, force = x + length * rng.normal(size=x.shape), np.zeros_like(x)
        one_body.add_mean_force(x, after, ids, parts, force)
        gained = one_body.energies(after, ids, parts) - one_body.energies(x, ids, parts)
        assert (force * (after - x)).sum(axis=1) == pytest.approx(-gained, abs=1e-13)


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_small_systems(conservative: str) -> None:
    """One particle, two, and a pair at the cutoff, with memory: finite, in place, momentum kept."""
    whole = SoftParticleTables().everything(5.0, single=False)
    for x in (np.zeros((1, 3)), np.array([[0.0, 0, 0], [0.4, 0, 0]]), np.array([[0.0, 0, 0], [1.0, 0, 0]])):
        start = FluidFrame(x, np.zeros_like(x), np.zeros(len(x)))
        settings = FluidRollout(0.01, conservative)  # type: ignore[arg-type]
        last = fluid_paths(whole, start, settings, steps=30, seed=1).last
        assert np.isfinite(last.velocity).all()
        assert np.abs(last.velocity.sum(axis=0)).max() < 1e-14
        assert sum(fluid_energy(whole, last)) == pytest.approx(sum(fluid_energy(whole, start)), abs=1e-2)
        if len(x) == 1:
            assert (last.position == 0).all()


def test_a_pair_that_parts_forgets_and_gives_its_energy_back() -> None:
    """Without noise: once beyond the cutoff no vector is left, and the heat has all that it held."""
    frozen = SoftParticleTables(repulsion=(0.0,), friction=0.0).freeze(memory=(SoftParticleTables().memory(9.0, 1e-3),))
    x, v = np.array([[0.0, 0, 0], [0.9, 0, 0]]), np.array([[0.0, 0, 0], [10.0, 0, 0]])
    memory = PairMemory(np.array([[0, 1]]), np.array([[[0.0, 3.0, 4.0]]]))
    start = FluidFrame(x, v, np.zeros(2), memory=memory)
    last = fluid_paths(frozen, start, FluidRollout(0.005, noise=False), steps=5).last
    assert last.memory is not None
    assert len(last.memory.pairs) == 0
    assert last.entropy == pytest.approx([6.25, 6.25], abs=1e-3)
    assert sum(fluid_energy(frozen, last)) == pytest.approx(sum(fluid_energy(frozen, start)), abs=1e-13)


@pytest.mark.parametrize("conservative", ["verlet", "exact"])
def test_particles_moved_by_hand_with_all_parts(conservative: str) -> None:
    """They go where they are sent and take no heat; the others feel them."""
    start = start_of(27)
    rows = np.arange(27) % 5 == 0
    frozen = SoftParticleTables().everything(3.0, single=False)

    def path(time: float) -> tuple[np.ndarray, np.ndarray]:
        return start.position + 2.0 * time, np.full_like(start.position, 2.0)

    settings = FluidRollout(0.01, conservative, held=Held(rows, path))  # type: ignore[arg-type]
    last = fluid_paths(frozen, start, settings, steps=20, seed=1).last
    assert last.position[rows] == pytest.approx(start.position[rows] + 0.4, abs=1e-12)
    assert (last.entropy[rows] == 0).all()
    assert (last.entropy[~rows] != 0).all()
    free = fluid_paths(frozen, start, dataclasses.replace(settings, held=None), steps=20, seed=1).last
    assert np.abs(last.velocity[~rows] - free.velocity[~rows]).max() > 0.1


def test_numbers_that_run_away_stop_the_run() -> None:
    """Without an equation of state nothing else would see that a lone particle is nowhere."""
    start = FluidFrame(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1))
    far = ExternalTable(np.array([0.0, 0.0, 0.0, 1e308]), (-2.0,), (1.0,), (0,))
    with np.errstate(over="ignore"), pytest.raises(ModelError, match=r"Step \d+, particle 0: speed"):
        fluid_paths(soft(external=far), start, FluidRollout(0.01), steps=30)


def test_entropy_of_an_isothermal_model_has_no_limits() -> None:
    """Heat of a strongly driven fluid piles up far beyond any table."""
    start = dataclasses.replace(start_of(), velocity=300.0 * start_of().velocity)
    last = fluid_paths(soft(), start, FluidRollout(1e-4), steps=300, seed=2).last
    assert last.entropy.mean() > 1e4


def test_baths_of_model_and_settings_add() -> None:
    """Without noise v falls by exp(-(γ + γ')t/m) for each species; with noise kT is the mean weighted by friction."""
    n = 4000
    x = 20.0 * np.arange(3.0 * n).reshape(n, 3)
    two = SoftParticleTables(cutoff=4.0, mass=(1.0, 4.0), repulsion=(0.0,) * 3, temperature=2.0).freeze(
        drag=np.array([3.0, 6.0]))
    start = FluidFrame(x, np.ones_like(x), np.zeros(n), species=np.arange(n) % 2)
    settings = FluidRollout(0.05, bath_friction=2.0, bath_temperature=7.0, noise=False)
    last = fluid_paths(two, start, settings, steps=10, every=10).last
    assert last.velocity[:2, 0] == pytest.approx([math.exp(-5.0 * 0.5), math.exp(-8.0 * 0.5 / 4.0)], rel=1e-12)
    last = fluid_paths(two, start, dataclasses.replace(settings, noise=True), steps=400, every=400).last
    for k, (mass, kT) in enumerate(((1.0, (3 * 2 + 2 * 7) / 5), (4.0, (6 * 2 + 2 * 7) / 8))):
        v = last.velocity[k::2]
        assert abs(mass * (v**2).mean() / kT - 1) < 4.9 * math.sqrt(2 / v.size)              # 6 %; alone 2 or 7


def test_stable_step() -> None:
    """The fastest of what is there: each part made fast in its turn, and the frequency of a known oscillator."""
    start = start_of(27)
    calm = SoftParticleTables(repulsion=(1e-6,), friction=1e-6, temperature=1e-6)
    quiet = dataclasses.replace(start, velocity=1e-9 * start.velocity)
    trap = HarmonicTraps(900.0, start.position)
    assert stable_step(calm.freeze(traps=trap), quiet) == pytest.approx(0.25 / 30.0, rel=1e-6)
    assert stable_step(calm.freeze(drag=np.array([80.0])), quiet) == pytest.approx(0.5 / 80.0, rel=1e-6)
    assert stable_step(calm.freeze(memory=(calm.memory(1e-3, 1e-3),)), quiet) == pytest.approx(5e-4)
    assert stable_step(calm.freeze(), dataclasses.replace(start, velocity=np.full((27, 3), 10.0))) == pytest.approx(
        0.1 / (10.0 * math.sqrt(3.0)))
    pair = FluidFrame(np.array([[0.0, 0, 0], [0.5, 0, 0]]), np.zeros((2, 3)), np.zeros(2))
    stiff = SoftParticleTables(repulsion=(50.0,), friction=0.0, temperature=1e-3)
    assert stable_step(stiff.freeze(), pair) == pytest.approx(0.25 / 10.0, rel=1e-3)          # ω² = 2 a/(m c)
    coupled = calm.freeze(memory=(calm.memory(1e9, 100.0),))
    assert stable_step(coupled, pair) == pytest.approx(0.5 / (math.sqrt(2.0) * 25.0), rel=1e-3)
    far = dataclasses.replace(pair, position=np.array([[0.0, 0, 0], [5.0, 0, 0]]))
    assert stable_step(stiff.freeze(), far) == pytest.approx(0.25 / 10.0, rel=1e-3)           # their collision
