"""The one search for detections against scipy's tree: every pair within reach and no other, up to its very edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from vid2dyn.tracking.cell_grid import cell_grid, within
from vid2dyn.tracking.fit.nearby import neighbours
from vid2dyn.tracking.link.candidates import candidates


def clear_of(distances: np.ndarray, reach: float) -> bool:
    """Whether no distance is so near the reach that rounding decides."""
    return not (np.abs(distances - reach) < 1e-9 * max(reach, 1.0)).any()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 60), st.floats(0.3, 80.0), st.floats(0.2, 3.0),
       st.sampled_from(["anywhere", "line", "one place"]), st.integers(0, 2**32 - 1))
def test_a_search_finds_what_the_tree_finds(n: int, reach: float, cells: float, where: str, seed: int) -> None:
    """Any edge of the cells, places outside the grid included."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-40, 40, (n, 2))
    if where != "anywhere":
        points[:, int(rng.integers(2))] = 3.0
    if where == "one place":
        points[:] = points[0]
    grid = cell_grid(points[:, 0], points[:, 1], cells * reach)
    number, square = np.empty(n + 1, np.int64), np.empty(n + 1)
    for y, x in rng.uniform(-60, 60, (10, 2)):
        distances = np.hypot(points[:, 0] - y, points[:, 1] - x)
        if not clear_of(distances, reach):
            continue
        count = within(grid, y, x, reach, reach, number, square)
        assert sorted(number[:count].tolist()) == sorted(cKDTree(points).query_ball_point([y, x], reach))
        np.testing.assert_allclose(np.sqrt(square[:count]), distances[number[:count]])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 80), st.floats(0.3, 30.0), st.booleans(), st.integers(0, 2**32 - 1))
def test_neighbours_are_those_of_the_tree(n: int, reach: float, whole: bool, seed: int) -> None:
    """Whole numbers put many pairs at the same distance and some exactly at the reach, which is no longer near."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 25, (n, 2)).astype(float) if whole else rng.uniform(0, 40, (n, 2))
    reach = float(max(round(reach), 1)) if whole else reach
    near = neighbours(points[:, 0], points[:, 1], reach)
    pairs = {(i, int(j)) for i in range(n) for j in near.indices[near.start[i]:near.start[i + 1]]}
    expected = set()
    if n:
        for i, j in cKDTree(points).query_pairs(reach):
            if ((points[i] - points[j]) ** 2).sum() < reach**2:              # the tree's reach is inclusive
                expected |= {(i, j), (j, i)}
    assert pairs == expected
    for i in range(n):
        distances = [np.linalg.norm(points[i] - points[j]) for a, j in expected if a == i]
        assert near.nearest[i] == pytest.approx(min(distances, default=np.inf))


def test_a_pair_exactly_at_the_reach() -> None:
    """Not near for a fit (the light of a spot ends there), still a candidate for a link (as in trackpy)."""
    y, x = np.array([0.0, 3.0]), np.array([0.0, 4.0])
    assert neighbours(y, x, 5.0).nearest.tolist() == [np.inf, np.inf]
    assert neighbours(y, x, np.nextafter(5.0, 6.0)).nearest.tolist() == [5.0, 5.0]
    here, there = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])
    assert candidates(here, np.array([5.0]), there)[1].tolist() == [0]
    assert candidates(here, np.array([4.999]), there)[1].tolist() == []


def test_one_and_none() -> None:
    """One spot has no neighbour; no spot is no error."""
    for n in (0, 1):
        near = neighbours(np.zeros(n), np.zeros(n), 2.0)
        assert near.indices.size == 0
        assert near.start.tolist() == [0] * (n + 1)
        assert near.nearest.tolist() == [np.inf] * n


def test_neighbours_keep_the_order_of_the_cells() -> None:
    """Row by row of cells, in a cell by number: the order in which light is summed decides the last bit."""
    points = np.array([[0.5, 0.5], [5.0, 5.0], [0.4, 1.5], [4.0, 4.0], [1.5, 0.5]])
    near = neighbours(points[:, 0], points[:, 1], 2.0)
    assert near.indices[near.start[0]:near.start[1]].tolist() == [2, 4]
    assert near.indices[near.start[4]:near.start[5]].tolist() == [0, 2]
