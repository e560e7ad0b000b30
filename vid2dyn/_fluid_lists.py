"""Neighbour lists of the compiled fluid: linear in the number of particles, built and read by threads.

A pair is stored once, under its particle of the lower id (`first`), rows sorted by the other one's id; `incoming`
names, for every particle, the pairs in which it is the second. A thread that sums over the pairs of one particle
therefore writes only there, and it sums in the order of the ids: neither the number of threads, nor the layout in
memory, nor the moment when the list was made changes a bit of the result.

Positions are never wrapped: nearest images are taken pair by pair, so a particle that crosses the border of a sheared
box keeps its velocity and its distance travelled.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

EDGE, INVERSE, OFFSET, JUMP = 0, 3, 6, 7
"""Places in a `space`, the box as an array of 8 numbers on three axes (a plane fluid stays at z = 0).

Three edges [µm] and one over each; both are 0 where space is open, so that one formula serves all. Of a sheared box how
far the image one edge up the first axis is displaced along the second [µm], and how much faster it moves [µm/s].
"""


Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""(row, first, second, arrive, incoming): pair p joins first[p] and second[p]; particle i is first in the pairs
row[i] ... row[i + 1] - 1 and second in the pairs incoming[arrive[i]:arrive[i + 1]]."""


def as_space(lengths: tuple[float, ...] | None, offset: float = 0.0, jump: float = 0.0) -> np.ndarray:
    """A `space` from the edges of a box (None: open) and the displacement and speed of sheared images."""
    space = np.zeros(8)
    if lengths is not None:
        space[:len(lengths)] = lengths
        space[INVERSE:INVERSE + len(lengths)] = 1.0 / np.asarray(lengths)
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


@njit(cache=True)
def _grid(x, space, reach):  # type: ignore[no-untyped-def]
    """Lower corner, width and number of cells on each of three axes; cells are at least `reach` wide."""
    n = len(x)
    count, low, width = np.ones(3, np.int64), np.zeros(3), np.ones(3)
    for c in range(3):
        span = space[c]
        if span <= 0.0:
            low[c] = x[:, c].min()
            span = x[:, c].max() - low[c]
        count[c] = max(1, int(min(span / reach, 2.0**20)))
    # one stray particle far away must not cost memory for empty cells
    while count[0] * count[1] * count[2] > 4 * n + 64:
        count[np.argmax(count)] //= 2
    for c in range(3):
        span = space[c] if space[c] > 0.0 else x[:, c].max() - low[c]
        width[c] = max(span * (1.0 + 1e-9 * (space[c] <= 0.0)), 1e-300) / count[c]
    return count, low, width


@njit(cache=True)
def _cell_of(x, i, space, count, low, width, cell):  # type: ignore[no-untyped-def]
    """cell = cell numbers of particle i on each axis, after folding it back into the box."""
    slid = math.floor(x[i, 0] * space[INVERSE]) * space[OFFSET]
    for c in range(3):
        t = x[i, c] - low[c]
        if c == 1:
            t -= slid
        if space[c] > 0.0:
            t -= space[c] * math.floor(t / space[c])
        cell[c] = min(count[c] - 1, max(0, int(t / width[c])))


@njit(cache=True)
def sort_by_cell(x, space, reach):  # type: ignore[no-untyped-def]
    """(order, cells, start, count): particles sorted by cell, the cell of each, where each cell starts, cells per axis.

    `cells` is (n, 3) in the order given; `start[k]:start[k + 1]` is the stretch of `order` that lies in cell k.
    """
    n = len(x)
    count, low, width = _grid(x, space, reach)
    cells = np.zeros((n, 3), np.int32)
    cell = np.zeros(3, np.int64)
    start = np.zeros(count[0] * count[1] * count[2] + 1, np.int64)
    flat = np.empty(n, np.int64)
    for i in range(n):
        _cell_of(x, i, space, count, low, width, cell)
        for c in range(3):
            cells[i, c] = cell[c]
        flat[i] = (cell[0] * count[1] + cell[1]) * count[2] + cell[2]
        start[flat[i] + 1] += 1
    for k in range(len(start) - 1):
        start[k + 1] += start[k]
    place, order = start[:-1].copy(), np.empty(n, np.int64)
    for i in range(n):
        order[place[flat[i]]] = i
        place[flat[i]] += 1
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
            longer[:m] = found[:m]
            found = longer
        for j in range(low, high):
            dx, dy, dz, _ = separation(x, i, j, space)
            found[m] = j                      # no branch to mispredict: kept only if the count moves on
            m += (dx * dx + dy * dy + dz * dz < r2_max) & (ids[j] > mine)
    return m, found


@njit(cache=True)
def _sort_by_id(index, ids):  # type: ignore[no-untyped-def]
    """Insertion sort of a short stretch of particle numbers by their ids."""
    for a in range(1, len(index)):
        j, b = index[a], a - 1
        while b >= 0 and ids[index[b]] > ids[j]:
            index[b + 1] = index[b]
            b -= 1
        index[b + 1] = j


@njit(cache=True)
def _block(low, high, x, ids, space, reach, cells, start, count, row, second):  # type: ignore[no-untyped-def]
    """Rows low to high: their lengths into row[1:] while `second` is empty, else their pairs into `second`."""
    width = max(4, count.max())
    axis_cells, around = np.zeros((3, width), np.int64), np.empty(9 * width, np.int64)
    found = np.empty(256, np.int32)
    for i in range(low, high):
        m, found = _search(i, x, ids, space, reach, cells, start, count, axis_cells, around, found)
        if len(second) == 0:
            row[i + 1] = m
        else:
            _sort_by_id(found[:m], ids)
            second[row[i]:row[i + 1]] = found[:m]


@njit(cache=True, parallel=True)
def _rows(x, ids, space, reach, cells, start, count):  # type: ignore[no-untyped-def]
    """(row, second): pairs of every particle as the first one, sorted by id."""
    n = len(x)
    row, second = np.zeros(n + 1, np.int64), np.empty(0, np.int32)
    for b in prange((n + 255) // 256):
        _block(256 * b, min(n, 256 * (b + 1)), x, ids, space, reach, cells, start, count, row, second)
    for i in range(n):
        row[i + 1] += row[i]
    filled = np.empty(row[n], np.int32)
    if row[n] > 0:
        for b in prange((n + 255) // 256):
            _block(256 * b, min(n, 256 * (b + 1)), x, ids, space, reach, cells, start, count, row, filled)
    return row, filled


@njit(cache=True, parallel=True)
def _incoming(row, second, ids):  # type: ignore[no-untyped-def]
    """(first, arrive, incoming): the first particle of every pair, and the pairs by their second one, sorted by id."""
    n = len(row) - 1
    first, arrive = np.empty(len(second), np.int32), np.zeros(n + 1, np.int64)
    for i in range(n):
        for p in range(row[i], row[i + 1]):
            first[p] = i
            arrive[second[p] + 1] += 1
    for i in range(n):
        arrive[i + 1] += arrive[i]
    place, incoming = arrive[:-1].copy(), np.empty(len(second), np.int32)
    for p in range(len(second)):
        j = second[p]
        incoming[place[j]] = p
        place[j] += 1
    for j in prange(n):
        mine = incoming[arrive[j]:arrive[j + 1]]
        for a in range(1, len(mine)):
            p, b = mine[a], a - 1
            while b >= 0 and ids[first[mine[b]]] > ids[first[p]]:
                mine[b + 1] = mine[b]
                b -= 1
            mine[b + 1] = p
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
    row, second = _rows(x, ids, space, reach, cells, start, count)
    first, arrive, incoming = _incoming(row, second, ids)
    return row, first, second, arrive, incoming
