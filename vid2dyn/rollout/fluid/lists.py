"""Neighbour lists of the compiled fluid: linear in the number of particles, built and read by threads.

A pair is stored once, under its particle of the lower id (`first`), rows sorted by the other one's id; `incoming`
names, for every particle, the pairs in which it is the second. A thread that sums over the pairs of one particle
therefore writes only there, and it sums in the order of the ids: neither the number of threads, nor the layout in
memory, nor the moment when the list was made changes a bit of the result.

The cells are those of `vid2dyn.core.neighbours`. Positions are never wrapped: nearest images are taken pair by pair, so
a particle that crosses the border of a sheared box keeps its velocity and its distance travelled.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from vid2dyn.core import neighbours

EDGE, INVERSE, OFFSET, JUMP = 0, 3, 6, 7
"""Places in a `space`, the box as an array of 8 numbers on three axes (a plane fluid stays at z = 0).

Three edges [µm] and one over each; both are 0 where space is open, so that one formula serves all. Of a sheared box how
far the image one edge up the first axis is displaced along the second [µm], and how much faster it moves [µm/s].
"""


class Pairs(NamedTuple):
    """Pair p joins first[p] and second[p]; particle i is first in the pairs row[i] ... row[i + 1] - 1 and second in the
    pairs incoming[arrive[i]:arrive[i + 1]]."""

    row: np.ndarray
    first: np.ndarray
    second: np.ndarray
    arrive: np.ndarray
    incoming: np.ndarray


def as_space(lengths: tuple[float, ...] | None, offset: float = 0.0, jump: float = 0.0) -> np.ndarray:
    """A `space` from the edges of a box (None: open) and the displacement and speed of sheared images."""
    space = np.zeros(8)
    if lengths is not None:
        space[:len(lengths)] = lengths
        space[INVERSE:INVERSE + len(lengths)] = [1.0 / edge if edge > 0 else 0.0 for edge in lengths]
    space[OFFSET], space[JUMP] = offset, jump
    return space


@njit(cache=True, error_model="numpy", inline="always")
def separation(x, i, j, space):  # type: ignore[no-untyped-def]
    """Nearest image of x_i - x_j on three axes, and how many boxes apart the two are on the first one."""
    dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
    turns = math.floor(dx * space[3] + 0.5)
    dx -= space[0] * turns
    dy -= space[6] * turns
    dy -= space[1] * math.floor(dy * space[4] + 0.5)
    dz -= space[2] * math.floor(dz * space[5] + 0.5)
    return dx, dy, dz, turns


def sort_by_cell(x: np.ndarray, space: np.ndarray,
                 reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(order, cells, start, count): particles sorted by cell, the cell of each, where each cell starts, cells per axis.

    `cells` is (n, 3) in the order given; `start[k]:start[k + 1]` is the stretch of `order` that lies in cell k.
    """
    # a plane fluid stays at z = 0: only axes along which particles differ share out the cells
    axes = max(1, int(((space[:3] > 0) | (np.ptp(x, axis=0) > 0)).sum()))
    most = int((8.0 * len(x)) ** (1.0 / axes)) + 1
    cells, count, order, start = neighbours.sort_by_cell(x, space[:3], space[OFFSET], reach, most, False)
    return order, cells, start, count


@njit(cache=True)
def _axis(t, slid, count, periodic, everything, out):  # type: ignore[no-untyped-def]
    """out = cells of one axis next to cell t of images that have slid by `slid` cells, each once; returns how many."""
    low, high = t - 1 + math.floor(slid), t + 1 + math.ceil(slid)
    if periodic:
        m = count if everything else min(high - low + 1, count)
        for k in range(m):
            out[k] = (low + k) % count
        return m
    low, high = max(low, 0), min(high, count - 1)
    for k in range(high - low + 1):
        out[k] = low + k
    return high - low + 1


@njit(cache=True)
def _neighbour_cells(cell, space, count, axis_cells, out):  # type: ignore[no-untyped-def]
    """out = flat numbers of the cells that can hold neighbours of a particle in `cell`, each once; returns how many.

    Across a sheared border the images have slid, by an offset that need not be a whole number of cells.
    """
    m = 0
    sheared = space[OFFSET] != 0.0
    rows = _axis(cell[0], 0.0, count[0], space[0] > 0.0, False, axis_cells[0])
    columns = _axis(cell[1], 0.0, count[1], space[1] > 0.0, False, axis_cells[1])
    layers = _axis(cell[2], 0.0, count[2], space[2] > 0.0, False, axis_cells[2])
    for a in range(rows):
        if sheared:
            step = axis_cells[0, a] - cell[0]
            # from the top row to the bottom row: the image of the bottom row is one turn up
            turns = 0.0 if abs(step) <= 1 else (1.0 if step < 0 else -1.0)
            slid = -turns * space[OFFSET] * space[INVERSE + 1] * count[1]
            columns = _axis(cell[1], slid, count[1], True, count[0] < 3, axis_cells[1])
        for b in range(columns):
            for g in range(layers):
                out[m] = (axis_cells[0, a] * count[1] + axis_cells[1, b]) * count[2] + axis_cells[2, g]
                m += 1
    return m


@njit(cache=True, error_model="numpy")
def _search(i, x, ids, space, reach, cells, start, count, axis_cells, around, found):  # type: ignore[no-untyped-def]
    """Second particles of the pairs whose first is i in found[:m]; returns (m, found), found made longer if needed."""
    m, r2_max, mine = 0, reach * reach, ids[i]
    for k in range(_neighbour_cells(cells[i], space, count, axis_cells, around)):
        low, high = start[around[k]], start[around[k] + 1]
        if m + high - low > len(found):
            longer = np.empty(2 * (m + high - low), np.int32)
            for q in range(m):
                longer[q] = found[q]
            found = longer
        for j in range(low, high):
            dx, dy, dz, _ = separation(x, i, j, space)
            found[m] = j                      # no branch to mispredict: kept only if the count moves on
            m += (dx * dx + dy * dy + dz * dz < r2_max) & (ids[j] > mine)
    return m, found


@njit(cache=True)
def _sort_by_key(index, low, high, ends, ids):  # type: ignore[no-untyped-def]
    """Insertion sort of the short stretch index[low:high] by the ids of the particles ends[index]."""
    for a in range(low + 1, high):
        chosen, b = index[a], a - 1
        while b >= low and ids[ends[index[b]]] > ids[ends[chosen]]:
            index[b + 1] = index[b]
            b -= 1
        index[b + 1] = chosen


@njit(cache=True)
def _block(low, high, x, ids, space, reach, cells, start, count, width, row, second):  # type: ignore[no-untyped-def]
    """Rows low to high: their lengths into row[1:] while `second` is empty, else their pairs into `second`."""
    axis_cells, around = np.zeros((3, width), np.int64), np.empty(9 * width, np.int64)
    found = np.empty(256, np.int32)
    for i in range(low, high):
        m, found = _search(i, x, ids, space, reach, cells, start, count, axis_cells, around, found)
        if len(second) == 0:
            row[i + 1] = m
        else:
            for q in range(m):
                second[row[i] + q] = found[q]


@njit(cache=True, parallel=True)
def _rows(x, ids, space, reach, cells, start, count, width, row, second):  # type: ignore[no-untyped-def]
    """`_block` over all particles, in threads."""
    n = len(x)
    for b in prange((n + 255) // 256):
        _block(256 * b, min(n, 256 * (b + 1)), x, ids, space, reach, cells, start, count, width, row, second)


@njit(cache=True, parallel=True)
def _sort_rows(row, index, ends, ids):  # type: ignore[no-untyped-def]
    """Every stretch index[row[i]:row[i + 1]] sorted by the ids of ends[index]."""
    for i in prange(len(row) - 1):
        _sort_by_key(index, row[i], row[i + 1], ends, ids)


@njit(cache=True)
def _incoming(row, second):  # type: ignore[no-untyped-def]
    """(first, arrive, incoming): first particle of every pair, and the pairs by their second one, not yet sorted."""
    n = len(row) - 1
    first, incoming = np.empty(len(second), np.int32), np.empty(len(second), np.int32)
    arrive = np.zeros(n + 1, np.int64)
    for i in range(n):
        for p in range(row[i], row[i + 1]):
            first[p] = i
            arrive[second[p] + 1] += 1
    for i in range(n):
        arrive[i + 1] += arrive[i]
    place = arrive.copy()
    for p in range(len(second)):
        incoming[place[second[p]]] = p
        place[second[p]] += 1
    return first, arrive, incoming


def neighbour_pairs(x: np.ndarray, ids: np.ndarray, space: np.ndarray, reach: float, cells: np.ndarray,
                    start: np.ndarray, count: np.ndarray) -> Pairs:
    """Pairs closer than `reach` of particles already in the order of `sort_by_cell` (and `cells` with them).

    Parameters
    ----------
    x : (n, 3) array
        Positions [µm].
    ids : (n,) int array
        Every particle's number, unique; decides which end of a pair is the first and the order of sums.
    reach : float
        [µm].
    """
    n, width = len(x), max(4, int(count.max()))
    row, empty = np.zeros(n + 1, np.int64), np.empty(0, np.int32)
    _rows(x, ids, space, reach, cells, start, count, width, row, empty)
    np.cumsum(row, out=row)
    second = np.empty(row[-1], np.int32)
    if len(second):
        _rows(x, ids, space, reach, cells, start, count, width, row, second)
    _sort_rows(row, second, np.arange(n, dtype=np.int32), ids)
    first, arrive, incoming = _incoming(row, second)
    _sort_rows(arrive, incoming, first, ids)
    return Pairs(row, first, second, arrive, incoming)
