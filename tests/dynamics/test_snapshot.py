"""Neighbour search against brute force, and the snapshot built on it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.data.box import Free, LeesEdwards, Periodic
from vid2dyn.dynamics.snapshot import Snapshot, neighbour_pairs


def brute_force(x, cutoff, box, group=None):
    first, second = np.triu_indices(len(x), 1)
    r = np.linalg.norm(box.displacement(x[first], x[second]), axis=1)
    near = r < cutoff
    if group is not None:
        near &= np.asarray(group)[first] == np.asarray(group)[second]
    return set(zip(first[near].tolist(), second[near].tolist()))


def as_set(pairs):
    """Pairs as a set, after checking that each stands once and the smaller number first."""
    assert (pairs[:, 0] < pairs[:, 1]).all()
    found = set(map(tuple, pairs.tolist()))
    assert len(found) == len(pairs)
    return found


@settings(max_examples=80, deadline=None, derandomize=True)
@given(dim=st.sampled_from([1, 2, 3]), n=st.integers(0, 60), edge=st.none() | st.floats(2.0, 9.0),
       unequal=st.floats(1.0, 3.0), seed=st.integers(0, 2**32 - 1), groups=st.none() | st.integers(1, 4))
def test_equals_brute_force(dim, n, edge, unequal, seed, groups):
    """1 to 3 dimensions; free, and boxes from two cells to nine an edge; positions in any periodic image."""
    rng = np.random.default_rng(seed)
    cutoff = 1.0
    box = Free() if edge is None else Periodic(tuple(edge * unequal**k for k in range(dim)))
    x = rng.uniform(-12, 12, (n, dim)) if edge else rng.uniform(-3, 3, (n, dim))
    group = None if groups is None else rng.integers(0, groups, n) * 7 - 3
    assert as_set(neighbour_pairs(x, cutoff, box, group)) == brute_force(x, cutoff, box, group)


@pytest.mark.parametrize("length", [2.0, 2.9999999999, 3.0, 4.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_boxes_of_two_and_three_cells(length, dim):
    box = Periodic((length,) * dim)
    x = np.random.default_rng(dim).uniform(0, length, (80, dim))
    assert as_set(neighbour_pairs(x, 1.0, box)) == brute_force(x, 1.0, box)


def test_many_particles_and_one_far_away():
    """The stray one must not cost memory in cells, nor hide neighbours."""
    x = np.random.default_rng(0).uniform(0, 20, (600, 2))
    x[0] = 1e7
    assert as_set(neighbour_pairs(x, 1.5, Free())) == brute_force(x, 1.5, Free())


def test_crowds_grow_the_list():
    x = np.random.default_rng(0).uniform(0, 1, (120, 2))
    assert len(neighbour_pairs(x, 5.0, Free())) == 120 * 119 // 2


def test_all_in_one_place_and_all_on_a_line():
    assert len(neighbour_pairs(np.zeros((4, 3)), 1.0, Free())) == 6
    line = np.column_stack([np.zeros(30), np.arange(30.0)])
    assert as_set(neighbour_pairs(line, 1.5, Free())) == {(i, i + 1) for i in range(29)}


def test_exactly_at_the_cutoff_is_outside():
    assert not len(neighbour_pairs(np.array([[0.0, 0.0], [1.0, 0.0]]), 1.0, Free()))
    assert len(neighbour_pairs(np.array([[0.0, 0.0], [np.nextafter(1.0, 0), 0.0]]), 1.0, Free())) == 1


def test_a_cutoff_beyond_half_the_box_is_refused():
    x = np.random.default_rng(0).uniform(0, 4, (5, 2))
    neighbour_pairs(x, 2.0, Periodic((4.0, 8.0)))
    with pytest.raises(ConfigError, match=r"half of the box edge 4 µm.*smaller cutoff"):
        neighbour_pairs(x, 2.001, Periodic((4.0, 8.0)))


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one(n):
    assert neighbour_pairs(np.zeros((n, 2)), 1.0, Free()).shape == (0, 2)


def test_snapshot_measures_through_the_walls():
    box = Periodic((10.0, 10.0))
    x = torch.tensor([[0.5, 5.0], [9.5, 5.0], [5.0, 5.0]], dtype=torch.float64)
    state = Snapshot.of(x, 2.0, box)
    assert state.pairs.tolist() == [[0, 1]]
    assert state.separation().tolist() == [[1.0, 0.0]]
    assert state.distance().tolist() == [1.0]
    assert state.at(x + 1).distance().tolist() == [1.0]
    assert Snapshot.of(x, None, box).pairs.shape == (0, 2)


def test_groups_are_separate_systems():
    x = torch.zeros(4, 2, dtype=torch.float64)
    x[:, 0] = torch.tensor([0.0, 0.5, 0.1, 0.6])
    state = Snapshot.of(x, 1.0, group=np.array([1, 0, 1, 0]))
    assert sorted(map(sorted, state.pairs.tolist())) == [[0, 2], [1, 3]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(dim=st.sampled_from([2, 3]), n=st.integers(2, 60), strain=st.floats(-3.0, 3.0), seed=st.integers(0, 2**32 - 1),
       unequal=st.floats(1.0, 2.5), edge=st.floats(2.0, 6.0), groups=st.none() | st.integers(1, 3))
def test_sliding_images_equal_brute_force(dim, n, strain, seed, unequal, edge, groups):
    """Lees-Edwards boxes at any strain, positions in any image; brute force over all nearby images."""
    rng = np.random.default_rng(seed)
    box = LeesEdwards(tuple(edge * unequal**k for k in range(dim)), shear_rate=0.3, strain=strain)
    x = rng.uniform(-8, 8, (n, dim))
    group = None if groups is None else rng.integers(0, groups, n)
    near = np.zeros((n, n), bool)
    for up in range(-9, 10):
        for along in range(-1, 2):
            d = x[:, None] - x[None, :]
            d[..., 0] -= up * box.lengths[0]
            d[..., 1] -= up * box.offset
            d[..., 1:] -= np.asarray(box.lengths[1:]) * np.round(d[..., 1:] / np.asarray(box.lengths[1:]))
            d[..., 1] -= along * box.lengths[1]
            near |= (d**2).sum(-1) < 1.0
    if group is not None:
        near &= group[:, None] == group[None, :]
    expected = {(i, j) for i, j in zip(*np.nonzero(near)) if i < j}
    assert as_set(neighbour_pairs(x, 1.0, box, group)) == expected


def test_state_columns_go_out_and_in():
    x = torch.zeros(3, 2, dtype=torch.float64)
    state = Snapshot.of(x, None, velocity=x + 1, entropy=x[:, 0] + 2)
    table = state.state(("velocity", "entropy"))
    assert table.tolist() == [[1.0, 1.0, 2.0]] * 3
    back = state.with_state(("velocity", "entropy"), 2 * table)
    assert back.velocity.tolist() == [[2.0, 2.0]] * 3
    assert back.entropy.tolist() == [4.0] * 3
    with pytest.raises(ModelError, match="needs the velocity"):
        Snapshot.of(x, None).state(("velocity",))
