"""Energies beside the equation of state: put into a gas with heat of its own, and found again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.frozen_parts import ExternalTable, HarmonicTraps
from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.dynamics.fluid.sdpd import Fluid
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_paths
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

CUTOFF, REACH, HEIGHT, WAVE = 0.2, 0.16, 20.0, 6.0
GAS = SDPD(n_particles=110, box_length=0.604, frames=2, flow="taylor_green", flow_speed=30.0, equilibration=6,
           substeps=5)
t = vd.terms


def pair_potential(r: np.ndarray) -> np.ndarray:
    """A soft repulsion (1 - s)³ (1 + 3 s) that ends at REACH [kT]."""
    s = np.minimum(r / REACH, 1.0)
    return HEIGHT * (1 - s) ** 3 * (1 + 3 * s)


def external(y: np.ndarray) -> np.ndarray:
    return WAVE * np.cos(2 * np.pi * y / GAS.box_length)


def recorded(frames: int, seed: int) -> vd.Trajectories:
    """The gas with both, rolled out from a vortex of the simulator; the table has no entropy."""
    r = np.linspace(0, CUTOFF, 2049)
    s = np.minimum(r / REACH, 1.0)
    slope = -12 * HEIGHT / REACH * s * (1 - s) ** 2
    grid = np.arange(64) * GAS.box_length / 64
    # a cubic spline of even coefficients c is c (2 + cos(2 π/64))/3 for a cosine
    values = external(grid) * 3 / (2 + np.cos(2 * np.pi / 64))
    return rolled_out(dataclasses.replace(
        gas(), pair_energy=np.stack([pair_potential(r), slope], axis=1)[None],
        external=ExternalTable(values, (0.0,), (GAS.box_length / 64,), (0,), (True,))), frames, seed)


def gas() -> FrozenFluid:
    """The ideal gas alone."""
    fluid = Fluid.ideal_gas(cutoff=CUTOFF, mass=GAS.mass, heat_capacity=60.0, molecules=40.0, volume=GAS.volume0,
                            shear_viscosity=50.0, bulk_viscosity=25.0, conductivity=GAS.conductivity)
    return fluid.freeze((-160.0, 240.0), (np.log(GAS.volume0) - 2.0, np.log(GAS.volume0) + 2.0))


def rolled_out(frozen: FrozenFluid, frames: int, seed: int) -> vd.Trajectories:
    """Frames of a fluid from a vortex of the simulator."""
    first = GAS.run(seed=seed)
    rows = first.frame == 0
    x, v = first.positions[rows], first.velocities[rows]
    S = 40.0 * np.log(1 / GAS.densities(x) / GAS.volume0)
    dt = first.units.dt
    paths = fluid_paths(frozen, FluidFrame(x, v, S, first.box), FluidRollout(dt / 5), steps=5 * (frames - 1), every=5,
                        seed=seed)
    return vd.Trajectories.from_dense(paths.position, first.units, velocity=paths.velocity, box=first.box)


def recipe(**settings):
    return vd.Metriplectic(
        energy=[t.EquationOfState(CUTOFF, bend=False, cold=False), t.PairPotential(REACH, knots=8, inner=(0.0,)),
                t.ExternalPotential(axes=(0,), knots=8)],
        friction=[t.PairFriction(CUTOFF, knots=3, law="transport"), t.Conduction(CUTOFF)], mass=GAS.mass,
        compare=(), window=16, tolerance=1.0, **settings)


@pytest.fixture(scope="module")
def tracks() -> vd.Trajectories:
    return recorded(101, seed=1)


@pytest.fixture(scope="module")
def model(tracks):
    return vd.fit(tracks, recipe())


def test_both_energies_are_found_inside_their_bands(model):
    """Bands of 99.99 % hold what was put in, and would not hold twice as much or none."""
    r, y = np.linspace(0.06, 0.15, 8), np.linspace(0.05, 0.55, 9)
    for name, x, truth in (("pair_potential", r, pair_potential(r)), ("external_potential", y, external(y))):
        low, high = model.band(name, x, level=0.9999)
        found = getattr(model, name)(x)
        if name == "external_potential":
            # counted from its own mean
            truth = truth + (found - truth).mean()
        assert ((low < truth) & (truth < high)).all(), (name, found, truth, low, high)
        assert not ((low < 2 * truth) & (2 * truth < high)).all(), name
        assert not ((low < 0) & (high > 0)).all(), name


@pytest.mark.case
def test_a_range_is_learned_beside_the_gas(tracks):
    """Given 1.75 times the range, a shorter one is found that still holds the force; the report says what it adds."""
    wide = t.PairPotential(0.28, knots=10, inner=(0.0,))
    model = vd.fit(tracks, dataclasses.replace(recipe(), energy=[recipe().energy[0], wide, recipe().energy[2]]))
    (entry,) = [e for e in model.report["ranges"] if e["kept"]]
    assert entry["term"] == "PairPotential"
    assert entry["from"] == 0.28
    assert 0.95 * REACH < entry["to"] < 0.25
    assert entry["adds"] > -2 * entry["stderr"]
    r = np.linspace(0.06, 0.15, 8)
    low, high = model.band("pair_potential", r, level=0.9999)
    assert ((low < pair_potential(r)) & (pair_potential(r) < high)).all()


def test_the_gas_is_found_beside_them(model):
    """T0, n and viscosity within what 100 steps of 110 particles tell."""
    V = GAS.volume0
    assert abs(float(model.temperature(0.0, V)) - 1) < 0.15
    low, high = model.band("pressure", (0.0, V), level=0.9999)
    assert low < 40.0 / V < high
    low, high = model.band("shear_viscosity", level=0.9999)
    assert low < 50.0 < high
    assert model.report["laws"]["energy_drift"] < 1e-10
    assert model.report["laws"]["least_entropy_production"] >= 0


def test_it_is_saved_rolled_out_and_listed(model, tracks, tmp_path):
    loaded = vd.load(model.save(tmp_path / "gas.vid2dyn"))
    r = np.linspace(0.05, 0.2, 5)
    assert np.array_equal(loaded.pair_potential(r), model.pair_potential(r))
    assert np.array_equal(loaded.band("pair_potential", r)[1], model.band("pair_potential", r)[1])
    future = loaded.rollout(tracks, steps=10, seed=2)
    assert np.array_equal(future.velocities, model.rollout(tracks, steps=10, seed=2).velocities)
    assert np.isfinite(future.velocities).all()
    drawn = {f.name for f in model.functions().functions}
    assert {"temperature", "pressure", "pair_potential", "external_potential"} <= drawn
    assert model.recipe["energy"][1]["kind"] == "PairPotential"
    with pytest.raises(AttributeError, match="no 'pair_potental'"):
        _ = model.pair_potental
    frozen = model.freeze((-50.0, 50.0), (np.log(GAS.volume0) - 1, np.log(GAS.volume0) + 1))
    assert frozen.external is not None
    assert frozen.cutoff == CUTOFF


def fitted_with(energy, frozen: FrozenFluid):
    """A fit of 100 steps with one energy beside the gas."""
    beside = dataclasses.replace(recipe(), energy=[t.EquationOfState(CUTOFF, bend=False, cold=False), energy])
    return vd.fit(rolled_out(frozen, 101, 1), beside)


@pytest.mark.case
def test_a_trap_beside_the_gas_comes_back():
    """Stiffness and centre inside bands of 99.99 %, which hold neither half the stiffness nor another corner."""
    middle = GAS.box_length / 2
    model = fitted_with(t.HarmonicTrap(), dataclasses.replace(gas(), traps=HarmonicTraps(400.0, np.full(3, middle))))
    low, high = model.band("trap_stiffness", level=0.9999)
    assert low < 400.0 < high < 800.0
    assert low > 200.0
    for axis in "yxz":
        low, high = model.band(f"trap_centre_{axis}", level=0.9999)
        assert low < middle < high
        assert low > middle - 0.15
    assert model.report["terms"][1]["adds"] > 5 * model.report["terms"][1]["stderr"]


@pytest.mark.case
def test_an_energy_of_density_beside_the_gas_comes_back():
    """Its slope, and the pressure of both together, of which more is known than of either.

    The gas must not start without pressure because the density can do what it does: it had no heat capacity then.
    """
    d0 = 1 / GAS.volume0
    fluid = gas()
    d = np.exp(-np.linspace(*fluid.log_volume, fluid.eos.shape[1]))
    u, slope = 20.0 * (d / d0 - 1) ** 2, 40.0 * (d / d0 - 1) / d0
    model = fitted_with(t.DensityEnergy(CUTOFF, knots=6), dataclasses.replace(
        fluid, eos=fluid.eos + np.stack([u, 0 * u, -slope * d, 0 * u], axis=1)))
    V = GAS.volume0 * np.array([0.9, 1.0, 1.1])
    d, slope = 1 / V, 40.0 * (GAS.volume0 / V - 1) / d0
    low, high = model.band("density_energy_slope", d, level=0.9999)
    assert ((low < slope) & (slope < high)).all()
    assert model.report["terms"][1]["kept"]
    together = model.pressure(0 * V, V) + model.density_energy_slope(d) * d * d
    assert np.abs(together / (40 / V + slope * d * d) - 1).max() < 0.15


def test_energies_earn_their_place(model, tracks):
    """Both that were put in stay and say what they add; one that acts along the other axis, where nothing does, goes.
    """
    assert [entry["kept"] for entry in model.report["terms"]] == [True] * 5
    assert all(entry["adds"] > 0 for entry in model.report["terms"][1:3])
    useless = dataclasses.replace(recipe(), energy=[t.EquationOfState(CUTOFF, bend=False, cold=False),
                                                    t.ExternalPotential(axes=(1,), knots=5)])
    found = vd.fit(tracks.between(0, 60), useless)
    entry = found.report["terms"][1]
    assert not entry["kept"]
    assert entry["adds"] < 2 * entry["stderr"]
    assert found.further is None
    assert any("ExternalPotential adds nothing" in said for said in found.report["warnings"])
    future = found.rollout(tracks, steps=3, seed=1)
    assert np.isfinite(future.velocities).all()


def test_layout_with_forces_is_kept_in_files():
    layout = Layout(3, 0.2, 1.0, 0.1, 3, 1, units=2, forces=5)
    again = Layout.of_arrays(layout.to_arrays())
    assert again.names == layout.names
    assert (again.units, again.forces) == (2, 5)
    assert layout.names[layout.further] == tuple(f"force {k}" for k in range(5))
    assert layout.as_gas.size == layout.size - 8


def test_what_cannot_stand_beside_heat_is_said():
    friction = [t.PairFriction(CUTOFF, law="transport")]
    with pytest.raises(ConfigError, match="cannot be learned with heat"):
        vd.Metriplectic(energy=[t.PairPotential(CUTOFF)], friction=friction)
    with pytest.raises(ConfigError, match=r"have cutoffs 0.15, 0.2 µm"):
        vd.Metriplectic(energy=[t.EquationOfState(CUTOFF), t.DensityEnergy(0.15)], friction=friction)
    with pytest.raises(ConfigError, match="cannot be learned with heat"):
        vd.Metriplectic(energy=[t.EquationOfState(CUTOFF), t.EquationOfState(CUTOFF)], friction=friction)
