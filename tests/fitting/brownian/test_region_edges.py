"""Edges of a region of interest in fits: weights fall to zero there as at the edge of the view, with their slope."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.data.region import Region
from vid2dyn.fitting.brownian.recording import Recording, edge_weight

UM = 0.1
CORNER = np.full(2, -0.5 * UM)


def test_along_a_side_a_region_weighs_as_a_view_does() -> None:
    whole = Region(np.ones((200, 300), bool))
    y = np.linspace(0, 10, 400)
    x = np.column_stack([y, np.full(400, 15.0)])                       # across the view, far from the other two sides
    view = np.array([20.0, 30.0])
    plain, slope = edge_weight(x, CORNER, view, 2.0, UM)
    seen, own = edge_weight(x, CORNER, view, 2.0, UM, whole)
    assert seen == pytest.approx(plain, abs=1e-12)
    assert own[:, 0] == pytest.approx(slope[:, 0], abs=1e-9)
    assert np.abs(own[:, 1]).max() < 1e-12


def test_weights_have_their_own_slope_and_vanish_outside() -> None:
    region = Region.of([[20, 20], [180, 20], [180, 120], [90, 180]], (200, 200))
    rng = np.random.default_rng(0)
    x, h = rng.uniform(0, 20, (500, 2)), 1e-6
    weight, slope = edge_weight(x, CORNER, np.array([20.0, 20.0]), 2.0, UM, region)
    for axis in range(2):
        step = h * np.eye(2)[axis]
        numeric = (edge_weight(x + step, CORNER, np.array([20.0, 20.0]), 2.0, UM, region)[0]
                   - edge_weight(x - step, CORNER, np.array([20.0, 20.0]), 2.0, UM, region)[0]) / (2 * h)
        assert np.abs(numeric - slope[:, axis]).max() < 1e-4
    assert (weight[~region.contains(*(x / UM).T)] == 0).all()
    assert weight.max() == 1
    with pytest.raises(vd.DataError, match="region of interest is too small for cutoff = 9 µm"):
        edge_weight(x, CORNER, np.array([20.0, 20.0]), 9.0, UM, region)


def test_a_recording_knows_the_rectangle_that_a_simulation_fills() -> None:
    gas = vd.simulate(vd.simulators.Brownian(n_particles=80, frames=20, box_length=20.0), seed=0)
    region = Region.of([[20, 20], [180, 20], [180, 120], [20, 120]], (200, 200))
    inside = gas.rows(region.contains(gas.dataframe.y, gas.dataframe.x)).replace(
        box=vd.Free(), field_of_view=(200.0, 200.0), region=region)
    found = Recording.of(inside, 2.0)
    corner, sides = found.area                                           # type: ignore[misc]
    assert sides == pytest.approx([16.1, 10.1], abs=0.11)                # within a pixel: nothing is given up inside
    assert ((inside.positions >= corner - 0.1) & (inside.positions <= corner + sides + 0.1)).all()


def test_the_margin_in_which_detectors_find_nothing_is_no_part_of_the_view() -> None:
    """Of a view of 20 µm whose outer .6 µm stay empty, as of a tracked movie: who has a weight has no place within the
    cutoff at which a neighbour could be without being found. Counted from the frame, 736 detections have."""
    rng, margin, cutoff = np.random.default_rng(0), 0.6, 3.0
    seen = rng.uniform(margin, 20 - margin, (40, 200, 2)) - 0.5 * UM
    tracks = vd.Trajectories.from_dense(seen, vd.Units(UM, 100.0), field_of_view=(200, 200))
    recording = Recording.of(tracks, cutoff)
    weighs = recording.position[recording.weight > 0] + 0.5 * UM
    from_edges = np.minimum(weighs, 20 - weighs).min(axis=1)
    assert from_edges.min() > margin + cutoff - 0.02
    plain = edge_weight(tracks.positions, *tracks.view(), cutoff, UM)[0]
    outside = tracks.positions[plain > 0] + 0.5 * UM
    assert (np.minimum(outside, 20 - outside).min(axis=1) < margin + cutoff).sum() > 700
