"""Every neighbour search against scipy's cKDTree: the dynamics', the fluid's, the simulators'."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from vid2dyn.core.neighbours import close_pairs
from vid2dyn.data.box import Free, LeesEdwards, Periodic
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.rollout.fluid import lists
from vid2dyn.simulators.brownian.forces import neighbours
from vid2dyn.simulators.fluid.sdpd.cells import Space, cell_counts, neighbour_cell, sort_into_cells

Search = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]
"""positions (n, dim), edges (dim,) with 0 where space is open, offset of sheared images, reach -> pairs (p, 2)."""


def of_dynamics(x: np.ndarray, edge: np.ndarray, offset: float, reach: float) -> np.ndarray:
    if offset == 0.0:
        return np.stack(close_pairs(x, edge, reach), axis=1)
    return neighbour_pairs(x, reach, LeesEdwards(tuple(edge), 1.0, offset / edge[0]))


def of_fluid(x: np.ndarray, edge: np.ndarray, offset: float, reach: float) -> np.ndarray:
    y, ids = np.zeros((len(x), 3)), np.random.default_rng(len(x)).permutation(9999)[:len(x)]
    y[:, :x.shape[1]] = x
    space = lists.as_space(tuple(edge), offset)
    order, cells, start, count = lists.sort_by_cell(y, space, reach)
    found = lists.neighbour_pairs(y[order], ids[order], space, reach, cells[order], start, count)
    return order[np.stack([found.first, found.second], axis=1)]


def of_brownian_simulator(x: np.ndarray, edge: np.ndarray, offset: float, reach: float) -> np.ndarray:
    return neighbours(x, edge, reach)


def of_gas_simulator(x: np.ndarray, edge: np.ndarray, offset: float, reach: float) -> np.ndarray:
    """Pairs met by walking over the cells of the SDPD gas, which wants positions in the box."""
    dim = x.shape[1]
    lengths = np.append(edge, np.full(3 - dim, edge[0]))
    y = np.zeros((len(x), 3))
    boxes = np.floor(x[:, 0] / edge[0])
    y[:, :dim] = x
    y[:, 1] -= boxes * offset
    y[:, :dim] -= np.floor(y[:, :dim] / edge) * edge
    tilt = offset - edge[1] * np.floor(offset / edge[1] + 0.5)
    count = cell_counts(lengths, reach, dim, offset != 0.0)
    space = Space(lengths, count, tilt, 0.0)
    place, order, first = sort_into_cells(y, space, dim)
    found = []
    for c in range(len(first) - 1):
        for step in itertools.product((-1, 0, 1), (-1, 0, 1), (-1, 0, 1) if dim == 3 else (0,)):
            other, *shift, _ = neighbour_cell(c, *step, space)
            for i in range(first[c], first[c + 1]):
                for j in range(first[other], first[other + 1]):
                    apart = place[i] - place[j] - np.array(shift)
                    if order[i] < order[j] and (apart * apart).sum() < reach * reach:
                        found.append((order[i], order[j]))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def oracle(x: np.ndarray, edge: np.ndarray, offset: float, reach: float) -> tuple[set, set]:
    """Pairs nearer than `reach`, and those so near to it that rounding decides: a tree of particles and images."""
    n = len(x)
    y = x.copy()
    if offset != 0.0:
        y[:, 1] -= np.floor(y[:, 0] / edge[0]) * offset
    y -= np.where(edge > 0, np.floor(y / np.where(edge > 0, edge, 1.0)) * edge, 0.0)
    images, names = [], []
    # a sheared row may have slid by any part of the box
    for step in itertools.product(*((-2, -1, 0, 1, 2) if e > 0 and c == 1 and offset else (-1, 0, 1) if e > 0 else (0,)
                                    for c, e in enumerate(edge))):
        shift = np.array(step) * edge
        if offset != 0.0:
            shift[1] += step[0] * (offset % edge[1])
        images.append(y + shift)
        names.append(np.arange(n))
    tree, name = cKDTree(np.concatenate(images)), np.concatenate(names)
    near = tree.query_ball_point(y, reach * (1 - 1e-9))
    doubtful = tree.query_ball_point(y, reach * (1 + 1e-9))
    sets = [{(min(i, j), max(i, j)) for i in range(n) for j in name[found[i]].tolist() if i != j}
            for found in (near, doubtful)]
    return sets[0], sets[1] - sets[0]


def agrees(search: Search, x: np.ndarray, edge: np.ndarray, offset: float, reach: float) -> bool:
    found = [(min(i, j), max(i, j)) for i, j in search(np.ascontiguousarray(x), edge, offset, reach).tolist()]
    pairs, doubtful = oracle(x, edge, offset, reach)
    return len(found) == len(set(found)) and set(found) - doubtful == pairs


@st.composite
def scenes(draw: st.DrawFn, kinds: tuple[str, ...], dims: tuple[int, ...],
           least: int = 0) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Crowds, some far outside their box, some on its edges, some in one place."""
    kind, dim = draw(st.sampled_from(kinds)), draw(st.sampled_from(dims))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(least, 60))
    edge = rng.uniform(1.0, 3.0, dim) if kind != "free" else np.zeros(dim)
    size = np.where(edge > 0, edge, 2.0)
    x = rng.uniform(-2.0, 3.0, (n, dim)) * size if draw(st.booleans()) else rng.uniform(0.0, 1.0, (n, dim)) * size
    on_edge = rng.random((n, dim)) < draw(st.sampled_from((0.0, 0.3)))
    x = np.where(on_edge, np.round(x / size) * size, x)
    offset = float(rng.uniform(-1.5, 1.5) * edge[1]) if kind == "sheared" else 0.0
    return x, edge, offset, float(rng.uniform(0.1, 0.29) * size.min())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(scenes(("free", "periodic"), (1, 2, 3), least=1))
def test_search_of_the_dynamics_finds_what_the_tree_finds(scene: tuple[np.ndarray, np.ndarray, float, float]) -> None:
    assert agrees(of_dynamics, *scene)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(scenes(("sheared",), (2, 3)))
def test_search_of_the_dynamics_under_shear(scene: tuple[np.ndarray, np.ndarray, float, float]) -> None:
    assert agrees(of_dynamics, *scene)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(scenes(("free", "periodic", "sheared"), (2, 3), least=1))
def test_list_of_the_fluid_finds_what_the_tree_finds(scene: tuple[np.ndarray, np.ndarray, float, float]) -> None:
    assert agrees(of_fluid, *scene)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(scenes(("free", "periodic"), (1, 2, 3), least=1))
def test_search_of_the_brownian_simulator(scene: tuple[np.ndarray, np.ndarray, float, float]) -> None:
    assert agrees(of_brownian_simulator, *scene)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(scenes(("periodic", "sheared"), (2, 3), least=1))
def test_cells_of_the_gas_simulator(scene: tuple[np.ndarray, np.ndarray, float, float]) -> None:
    assert agrees(of_gas_simulator, *scene)


@pytest.mark.parametrize("search", [of_dynamics, of_fluid, of_brownian_simulator])
@pytest.mark.parametrize("edge", [0.0, 8.0])
def test_a_pair_exactly_at_the_reach_is_not_near(search: Search, edge: float) -> None:
    """And one a rounding nearer is, also through the wall of the box."""
    for start in (1.0, 7.5):
        for r, count in ((1.0, 0), (np.nextafter(1.0, 0.0), 1)):
            x = np.array([[start, 0.5], [start + r, 0.5]])
            exact = abs(x[1, 0] - x[0, 0]) == r
            if exact:
                assert len(search(x, np.full(2, edge), 0.0, 1.0)) == count


@pytest.mark.parametrize("search", [of_dynamics, of_fluid, of_brownian_simulator])
def test_one_particle_has_no_pairs(search: Search) -> None:
    assert len(search(np.array([[0.3, 0.4]]), np.zeros(2), 0.0, 1.0)) == 0


def test_no_particle_has_no_pairs() -> None:
    for box in (Free(), Periodic((4.0, 4.0)), LeesEdwards((4.0, 4.0), 1.0, 0.2)):
        assert neighbour_pairs(np.empty((0, 2)), 1.0, box).shape == (0, 2)


def test_a_search_that_misses_a_pair_is_seen() -> None:
    """The oracle tells: without the last pair, or with one pair twice."""
    x, edge = np.random.default_rng(0).uniform(0, 2, (40, 2)), np.full(2, 2.0)
    assert agrees(of_dynamics, x, edge, 0.0, 0.4)
    assert not agrees(lambda *scene: of_dynamics(*scene)[:-1], x, edge, 0.0, 0.4)
    assert not agrees(lambda *scene: np.concatenate([of_dynamics(*scene), of_dynamics(*scene)[:1]]), x, edge, 0.0, 0.4)
