"""Rollouts of a fluid start inside their own tables, and the tables follow the states that are visited."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.numbers import Layout, Thermal
from vid2dyn.dynamics.fluid.table_range import LARGEST, table_range
from vid2dyn.dynamics.terms.convex_net import start_units
from vid2dyn.dynamics.terms.gas import LEAST, Gas, gas_state
from vid2dyn.model.metriplectic import MetriplecticModel
from vid2dyn.rollout.fluid import widening
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_paths
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

FLAT = SDPD(n_particles=64, dim=2, box_length=0.6, frames=12, equilibration=4, substeps=4)
KNOTS = 3


def planted(bend: float, heat_capacity: float = 12.0, molecules: float = 40.0, units: int = 0) -> MetriplecticModel:
    """A fluid like FLAT, with an equation of state of its own."""
    layout = Layout(2, 0.2, 0.5, FLAT.volume0, KNOTS, 1, units=units).without(Thermal.START)
    size = 12 * layout.kernel_norm / 0.2**2
    A2 = size * 2 * FLAT.fluid.alpha * np.linspace(1.0, 0.3, KNOTS + 3)
    B2 = size * 2 * FLAT.fluid.beta * np.linspace(1.0, 0.3, KNOTS + 3)
    thermal = [0.0, 1 / heat_capacity, molecules, bend, 0.0, 0.0, 0.2 * size, 0.0]
    theta = np.concatenate([thermal, start_units(units) if units else [], A2, B2])
    arrays = {"theta": theta, "covariance": np.zeros((layout.size, layout.size)), **layout.to_arrays(),
              "support": np.array([np.linspace(-9, 9, 5), layout.volume * np.linspace(0.7, 1.3, 5),
                                   np.linspace(0.0, 0.2, 5)])}
    return MetriplecticModel(arrays, {"kind": "Metriplectic", "cutoff": 0.2, "mass": 0.5, "window": 8},
                             vd.Units(micrometre_per_pixel=1.0, frames_per_second=2000.0), None, {})


@pytest.fixture(scope="module")
def tracks() -> vd.Trajectories:
    return FLAT.run(seed=3)


@pytest.mark.parametrize("bend", [-0.5, 0.5])
def test_a_steep_bend_does_not_push_the_table_off_its_start(tracks, bend):
    """1 + q a (S - n x) is negative in a corner of the table: S of the start was outside of what was left of it."""
    model = planted(bend)
    numbers, layout = model.learned, model.layout
    corner = np.log(tracks_volume(tracks)) + np.array([-1.0, 1.0]) - np.log(layout.volume)
    assert (1 + numbers.bend * numbers.softness * -numbers.molecules * corner < 0).any(), "the plant has the pathology"
    future = model.rollout(tracks, steps=20, seed=1)
    assert future.n_frames == 21
    assert np.isfinite(future.velocities).all()
    start, S = future.entropy[future.frame == 0], future.entropy
    V = 1 / FLAT.densities(tracks.positions[tracks.frame == 0])
    assert np.ptp(start - numbers.molecules * np.log(V)) < 1e-9, "one temperature at the start"
    assert np.abs(S - start.mean()).max() < 60


def tracks_volume(tracks: vd.Trajectories) -> np.ndarray:
    """Smallest and largest volume of a particle in the first frame."""
    V = 1 / FLAT.densities(tracks.positions[tracks.frame == 0])
    return np.array([V.min(), V.max()])


def test_a_net_rolls_out_from_its_start_too(tracks):
    future = planted(0.0, units=8).rollout(tracks, steps=10, seed=1)
    assert np.isfinite(future.velocities).all()


def test_heat_capacity_has_a_floor_and_nothing_jumps_there():
    """T, P, 1/c and all slopes at both sides of y = LEAST; T stays positive and finite far beyond."""
    for bend in (0.4, -0.4):
        theta = np.array([0.2, 1 / 30, 25.0, bend, 1.0, 2.0])
        edge = (LEAST - 1) * 30 / bend
        S = edge + np.array([-1e-7, 1e-7])
        at = gas_state(theta, S, np.ones(2), 1.0)
        for value in (at.T, at.P, at.softness, at.T_S, at.P_S, *at.T_of):
            assert abs(value[1] - value[0]) <= 1e-6 * (np.abs(value).max() + 1e-12)
        far = gas_state(theta, np.array([edge - 200, edge + 200]), np.ones(2), 1.0)
        assert ((far.T > 0) & np.isfinite(far.T)).all()
        assert far.softness.max() == pytest.approx(1 / (LEAST * 30))
        import torch

        U = Gas(np.exp(0.2), 1 / 30, 25.0, 1.0, bend=bend)(torch.tensor(S), torch.ones(2, dtype=torch.float64)).U
        assert abs(float(U[1] - U[0]) - 2e-7 * at.T[0]) < 1e-9 * at.T[0]


def test_tables_hold_their_states_and_are_as_fine_as_the_fluid_is_steep():
    """Whatever the numbers; where T is beyond all use there is less room."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        model = planted(float(rng.normal(0, 0.6)), float(np.exp(rng.uniform(1, 6))), float(np.exp(rng.uniform(0, 4))))
        away = rng.normal(0, 0.2, 20)
        x = np.log(model.layout.volume) + away
        S = model.learned.molecules * away + rng.normal(0, 2, 20)                        # states near one temperature
        span = table_range(model.learned, S, x, 200.0, 300.0, 2.0)
        assert span.entropy[0] < S.min()
        assert S.max() < span.entropy[1]
        assert span.log_volume[0] < x.min()
        assert x.max() < span.log_volume[1]
        assert min(span.nodes) >= 257
        corners = model.learned.state(np.array(span.entropy), np.exp(np.array(span.log_volume[::-1])))
        assert np.abs(np.log(corners.T)).max() <= LARGEST
    with pytest.raises(ModelError, match="have no temperature in this fluid"):
        table_range(planted(0.0, 0.1).learned, np.array([-900.0, 900.0]), np.zeros(2), 1.0, 1.0, 1.0)


def tabulated(model: MetriplecticModel, entropy: float, frame: FluidFrame):
    """Width -> tables with so much room in S [kB]; and widths that were asked for."""
    asked = []

    def tables(width: float):
        asked.append(width)
        x = np.log(tracks_volume_of(frame))
        span = table_range(model.learned, frame.entropy, x, width * entropy, width * entropy, 2.0)
        return model.freeze(span.entropy, span.log_volume, span.nodes)

    return tables, asked


def tracks_volume_of(frame: FluidFrame) -> np.ndarray:
    V = 1 / FLAT.densities(frame.position)
    return np.array([V.min(), V.max()])


def test_tables_are_made_wider_when_a_state_leaves_them(tracks):
    """The rollout goes on from its last frame: the same as in tables that were wide from the first, but for their own
    errors, and no frame twice."""
    model = planted(0.0, heat_capacity=30.0)
    rows = tracks.frame == 0
    start = FluidFrame(tracks.positions[rows], tracks.velocities[rows], np.zeros(64), tracks.box)
    settings = FluidRollout(tracks.units.dt / 2)
    tables, asked = tabulated(model, 0.8, start)
    told: list[int] = []
    found = widening.widening_paths(tables, start, settings, steps=24, every=2, seed=5, progress=Told(told))
    assert asked[:2] == [1.0, 2.0]
    assert told[-1] == 24
    wide = fluid_paths(tabulated(model, 40.0, start)[0](1.0), start, settings, steps=24, every=2, seed=5)
    assert found.position.shape == wide.position.shape
    assert np.allclose(found.velocity, wide.velocity, atol=1e-5 * np.abs(wide.velocity).max())
    assert np.allclose(found.entropy, wide.entropy, atol=1e-3)
    assert found.last.step == 24


class Told(vd.Progress):
    def __init__(self, told: list[int]) -> None:
        self.told = told

    def __call__(self, done: int, total: int, what: str) -> None:
        assert total == 24
        self.told.append(done)


def test_a_model_that_runs_away_says_so(tracks):
    """Tables that do not grow stand for a state that outruns them."""
    model = planted(0.0, heat_capacity=30.0)
    rows = tracks.frame == 0
    start = FluidFrame(tracks.positions[rows], tracks.velocities[rows], np.zeros(64), tracks.box)
    tables, _ = tabulated(model, 0.2, start)
    with pytest.raises(ModelError, match=r"in the table(.|\n)*the model itself runs away"):
        widening.widening_paths(lambda width: tables(1.0), start, FluidRollout(tracks.units.dt), steps=24, seed=5)
    outside = dataclasses.replace(start, entropy=np.full(64, 100.0))
    with pytest.raises(ModelError, match=r"left the frozen table(.|\n)*the model itself runs away"):
        widening.widening_paths(lambda width: tables(1.0), outside, FluidRollout(tracks.units.dt), steps=4)
