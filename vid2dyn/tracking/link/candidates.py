"""Which features of the next frame a particle may have become: all within its reach, found on a grid.

The result is a sparse table in compressed rows: particle i may become feature ``column[start[i]:start[i + 1]]``,
nearest first.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

MOST = 64
"""Candidates kept for one particle, the nearest ones. More than this many features within reach means a search range
of many times the distance of neighbours, where no linker can tell them apart."""
_SLACK = 1e-7                     # px: a particle exactly at its reach is within it, whatever the rounding (as trackpy)


@njit(cache=True, nogil=True)
def candidates(source: np.ndarray, reach: np.ndarray,
               feature: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Features within reach of every particle, nearest first.

    Parameters
    ----------
    source : (n, 2) float array
        Where the particles are expected [px].
    reach : (n,) float array
        How far from there each may be found [px]; positive.
    feature : (m, 2) float array
        Features of the frame [px].

    Returns
    -------
    start : (n + 1,) int64 array
        Rows of the table.
    column : (links,) int64 array
        Feature numbers; equal distances in the order of their numbers.
    square : (links,) float array
        Squared distances [px²].
    cut : int
        Particles with more than `MOST` features within reach, whose farther ones are left out.

    Examples
    --------
    >>> here, there = np.array([[0.0, 0.0], [9.0, 9.0]]), np.array([[0.0, 3.0], [1.0, 0.0]])
    >>> start, column, square, cut = candidates(here, np.array([4.0, 4.0]), there)
    >>> start.tolist(), column.tolist(), square.tolist(), cut
    ([0, 2, 2], [1, 0], [1.0, 9.0], 0)
    """
    n, m = len(source), len(feature)
    start = np.zeros(n + 1, np.int64)
    if n == 0 or m == 0:
        return start, np.empty(0, np.int64), np.empty(0), 0
    low, edge, shape, first, order, placed = _grid(feature, reach.max() + _SLACK)
    room = 4 * n + MOST
    column, square = np.empty(room, np.int64), np.empty(room)
    near, far = np.empty(MOST + 1, np.int64), np.empty(MOST + 1)
    count = cut = 0
    for i in range(n):
        found = _nearest(source[i, 0], source[i, 1], reach[i] + _SLACK, placed, low, edge, shape, first, order, near,
                         far)
        if found > MOST:
            cut += 1
            found = MOST
        if count + found > room:
            room = 2 * room
            column, square = _longer(column, count, room), _longer(square, count, room)
        column[count:count + found] = near[:found]
        square[count:count + found] = far[:found]
        count += found
        start[i + 1] = count
    return start, column[:count], square[:count], cut


@njit(cache=True, nogil=True)
def _grid(points: np.ndarray, reach: float) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, np.ndarray,
                                                     np.ndarray]:
    """Square cells about as long as the reach, never many more than points: (corner, edge, (rows, columns), first
    entry of each cell, numbers and places of the points sorted by cell)."""
    m = len(points)
    low, high = points[0].copy(), points[0].copy()
    for i in range(m):
        for axis in range(2):
            low[axis] = min(low[axis], points[i, axis])
            high[axis] = max(high[axis], points[i, axis])
    edge = max(reach, math.sqrt((high[0] - low[0]) * (high[1] - low[1]) / (4.0 * m)),
               max(high[0] - low[0], high[1] - low[1]) / (4.0 * m))
    shape = np.empty(2, np.int64)
    for axis in range(2):
        shape[axis] = int((high[axis] - low[axis]) / edge) + 1
    cell = np.empty(m, np.int64)
    first = np.zeros(shape[0] * shape[1] + 1, np.int64)
    for i in range(m):
        cell[i] = int((points[i, 0] - low[0]) / edge) * shape[1] + int((points[i, 1] - low[1]) / edge)
        first[cell[i] + 1] += 1
    for k in range(len(first) - 1):
        first[k + 1] += first[k]
    place = first[:-1].copy()
    order, placed = np.empty(m, np.int64), np.empty((m, 2))
    for i in range(m):
        k = place[cell[i]]
        order[k], placed[k, 0], placed[k, 1] = i, points[i, 0], points[i, 1]
        place[cell[i]] += 1
    return low, edge, shape, first, order, placed


@njit(cache=True, nogil=True, inline="always")
def _nearest(y: float, x: float, reach: float, placed: np.ndarray, low: np.ndarray, edge: float, shape: np.ndarray,
             first: np.ndarray, order: np.ndarray, near: np.ndarray, far: np.ndarray) -> int:
    """Sort the features within `reach` of (y, x) into `near` (numbers) and `far` (squared distances); how many."""
    most = len(near)
    limit = reach * reach
    row0 = max(math.floor((y - reach - low[0]) / edge), 0)
    row1 = min(math.floor((y + reach - low[0]) / edge), shape[0] - 1)
    col0 = max(math.floor((x - reach - low[1]) / edge), 0)
    col1 = min(math.floor((x + reach - low[1]) / edge), shape[1] - 1)
    found = 0
    for row in range(row0, row1 + 1):
        if col1 < col0:
            break
        for k in range(first[row * shape[1] + col0], first[row * shape[1] + col1 + 1]):   # cells of a row adjoin
            j = order[k]
            dy, dx = placed[k, 0] - y, placed[k, 1] - x
            square = dy * dy + dx * dx
            if square >= limit:
                continue
            if found == most and (square, j) >= (far[most - 1], near[most - 1]):
                continue
            found = min(found + 1, most)
            place = found - 1
            while place > 0 and (far[place - 1], near[place - 1]) > (square, j):
                far[place], near[place] = far[place - 1], near[place - 1]
                place -= 1
            far[place], near[place] = square, j
    return found


@njit(cache=True, nogil=True)
def _longer(values: np.ndarray, used: int, room: int) -> np.ndarray:
    """A copy with more room; only the first `used` entries count."""
    grown = np.empty(room, values.dtype)
    grown[:used] = values[:used]
    return grown
