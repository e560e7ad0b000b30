"""RDF, MSD and VACF in a sheared box and with recorded velocities, against brute force and known motion.

Statistical comparisons: |z| < 4.9 (1e-6 a number); what each detects is stated.
"""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.analysis import compare, msd, rdf, stress, thermodynamics, vacf
from vid2dyn.analysis.space import close_pairs
from vid2dyn.core.errors import DataError
from vid2dyn.data.box import Box, Free, LeesEdwards, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

Z, UNITS, DT = 4.9, Units(1.0, 100.0), 0.01


def sheared_walk(seed: int, frames: int, n: int, dim: int, rate: float, step: float = 0.1,
                 side: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Random walk carried by a flow rate · y along x: positions never wrapped, and the walk without the flow."""
    rng = np.random.default_rng(seed)
    walk = rng.uniform(0, side, (1, n, dim)) + np.concatenate(
        [np.zeros((1, n, dim)), rng.normal(0, step, (frames - 1, n, dim)).cumsum(axis=0)])
    x = walk.copy()
    middle = 0.5 * (walk[1:, :, 0] + walk[:-1, :, 0])
    x[1:, :, 1] += rate * DT * middle.cumsum(axis=0)
    return x, walk


def wrapped(x: np.ndarray, box: LeesEdwards) -> np.ndarray:
    return np.stack([box.after(k * DT).wrap(frame) for k, frame in enumerate(x)])


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", ["free", "periodic", "sheared"])
def test_close_pairs_are_those_of_brute_force(dim: int, kind: str) -> None:
    lengths = (5.0, 6.0, 7.0)[:dim]
    for strain in (0.0, 0.37, -4.21):
        box: Box = {"free": Free(), "periodic": Periodic(lengths), "sheared": LeesEdwards(lengths, 0.0, strain)}[kind]
        x = np.random.default_rng(1).uniform(-9, 9, (150, dim))
        i, j = close_pairs(x, box, 2.4)
        a, b = np.triu_indices(len(x), 1)
        near = np.linalg.norm(box.displacement(x[a], x[b]), axis=1) < 2.4
        assert sorted(zip(np.minimum(i, j), np.maximum(i, j))) == sorted(zip(a[near], b[near]))


@pytest.mark.parametrize("dim", [2, 3])
def test_rdf_of_an_ideal_gas_under_shear_is_flat(dim: int) -> None:
    """Each shell within 4.9 errors of 1, known to 2 %. Planted: the same points with pairs taken in a straight box."""
    rng = np.random.default_rng(2)
    box = LeesEdwards((5.0,) * dim, 30.0, 0.1)
    pairs = rng.uniform(0, 5, (60, 40, dim))
    # partners at a fixed place through the sheared wall: seen only if images are where they should be
    partner = np.stack([box.after(k * DT).wrap(x + np.r_[0.9, np.zeros(dim - 1)]) for k, x in enumerate(pairs)])
    both = np.concatenate([pairs, partner], axis=1)
    g = rdf(Trajectories.from_dense(both, UNITS, box=box), bins=10)
    extra = (g.value - 1) * g.counts / np.maximum(g.value, 1e-9)
    assert extra[3] == pytest.approx(60 * 40, rel=0.15)
    straight = rdf(Trajectories.from_dense(both, UNITS, box=Periodic(box.lengths)), bins=10)
    assert straight.counts[3] < g.counts[3] - 200
    gas = rng.uniform(0, 5, (60, 300, dim))
    flat = rdf(Trajectories.from_dense(gas, UNITS, box=box), bins=10)
    assert (np.abs(flat.value - 1) < Z * flat.stderr).all()
    assert flat.stderr[3:].max() < 0.02


@pytest.mark.parametrize("dim", [2, 3])
def test_msd_under_shear_is_that_of_the_walk_without_the_flow(dim: int) -> None:
    box = LeesEdwards((6.0,) * dim, 8.0, 0.3)
    x, walk = sheared_walk(3, 60, 40, dim, box.shear_rate)
    truth = msd(Trajectories.from_dense(walk, UNITS), 20).value
    for positions in (x, wrapped(x, box)):
        np.testing.assert_allclose(msd(Trajectories.from_dense(positions, UNITS, box=box), 20).value, truth, rtol=1e-9)
    wrong = LeesEdwards(box.lengths, 8.4, 0.3)
    assert msd(Trajectories.from_dense(x, UNITS, box=wrong), 20).value[-1] > 1.05 * truth[-1]
    jumping = x.copy()
    jumping[25:30, ::3] = np.nan                              # a gap in the track, and y moves on meanwhile
    with_gaps = msd(Trajectories.from_dense(jumping, UNITS, box=box), 20)
    assert np.abs(with_gaps.value / truth - 1).max() < 0.2


def test_vacf_takes_recorded_velocities_relative_to_the_flow() -> None:
    """C(0) = dim kT/m to 1 % from recorded velocities; differences of positions would say otherwise."""
    rng = np.random.default_rng(4)
    box = LeesEdwards((6.0, 6.0, 6.0), 8.0)
    x, _ = sheared_walk(5, 100, 200, 3, box.shear_rate)
    thermal = rng.normal(0, 2.0, x.shape)
    v = thermal.copy()
    v[..., 1] += box.shear_rate * x[..., 0]
    tracks = Trajectories.from_dense(x, UNITS, velocity=v, box=box)
    found = vacf(tracks, 3)
    assert found.value[0] == pytest.approx((thermal**2).sum(axis=-1).mean(), rel=1e-9)
    assert abs(found.value[0] - 12.0) < Z * found.stderr[0]
    assert Z * found.stderr[0] < 0.03 * 12
    assert (np.abs(found.value[1:]) < Z * found.stderr[1:]).all()
    differences = vacf(tracks, 3, recorded=False)
    assert differences.value[0] == pytest.approx(3 * 0.1**2 / DT**2, rel=0.05)
    boxes = np.stack([box.after(k * DT).wrap_velocity(a, b) for k, (a, b) in enumerate(zip(x, v))])
    again = vacf(Trajectories.from_dense(wrapped(x, box), UNITS, velocity=boxes, box=box), 3)
    np.testing.assert_allclose(again.value, found.value, rtol=1e-9)
    with pytest.raises(DataError, match="vy, vx, vz"):
        vacf(Trajectories.from_dense(x, UNITS, box=box), recorded=True)


def test_compare_never_sets_recorded_velocities_against_differences() -> None:
    x, _ = sheared_walk(6, 60, 50, 3, 0.0)
    box = Periodic((6.0, 6.0, 6.0))
    bare = Trajectories.from_dense(x, UNITS, box=box)
    known = Trajectories.from_dense(x, UNITS, box=box, velocity=np.random.default_rng(0).normal(size=x.shape))
    mixed, own = compare(bare, known, bins=10).vacf, compare(known, known, bins=10).vacf
    assert mixed is not None
    assert own is not None
    assert mixed.b[0] == pytest.approx(mixed.a[0])
    assert own.a[0] == pytest.approx(vacf(known, 1).value[0])


def test_budgets_ask_for_what_they_need() -> None:
    gas = SDPD()
    x = np.random.default_rng(0).uniform(0, 1, (2, 50, 3))
    box = Periodic((1.0, 1.0, 1.0))
    with pytest.raises(DataError, match="entropy"):
        thermodynamics(Trajectories.from_dense(x, UNITS, box=box, velocity=x), gas)
    with pytest.raises(DataError, match="velocities"):
        thermodynamics(Trajectories.from_dense(x, UNITS, box=box, entropy=x[..., 0]), gas)
    with pytest.raises(DataError, match="unbounded"):
        stress(Trajectories.from_dense(x, UNITS, velocity=x, entropy=x[..., 0]), gas)
    at_rest = stress(Trajectories.from_dense(x, UNITS, box=box, velocity=0 * x, entropy=x[..., 0]), gas)
    np.testing.assert_array_equal(at_rest.kinetic, 0)
    np.testing.assert_array_equal(at_rest.friction, 0)
    with pytest.raises(DataError, match="sheared"):
        at_rest.viscosity()
