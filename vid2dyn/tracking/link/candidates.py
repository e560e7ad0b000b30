"""Which features of the next frame a particle may have become: all within its reach.

The result is a sparse table in compressed rows: particle i may become feature ``column[start[i]:start[i + 1]]``,
nearest first.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.cell_grid import cell_grid, within
from vid2dyn.tracking.columns import X, Y

MAX_CANDIDATES = 64
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
        Particles with more than `MAX_CANDIDATES` features within reach, whose farther ones are left out.

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
    y, x, farthest = np.empty(m), np.empty(m), 0.0
    for j in range(m):
        y[j], x[j] = feature[j, Y], feature[j, X]
    for i in range(n):
        farthest = max(farthest, reach[i])
    grid = cell_grid(y, x, _cell_edge(y, x, farthest + _SLACK))
    room = 4 * n + MAX_CANDIDATES
    column, square = np.empty(room, np.int64), np.empty(room)
    number, distance = np.empty(m + 1, np.int64), np.empty(m + 1)
    count: int = np.int64(0)  # type: ignore[assignment]    # not the literal: `_longer` is compiled once
    cut = 0
    for i in range(n):
        found = within(grid, source[i, Y], source[i, X], reach[i] + _SLACK, reach[i] + _SLACK, number, distance)
        kept = min(found, MAX_CANDIDATES)
        cut += found > kept
        if count + kept > room:
            room = 2 * room
            column, square = _longer(column, count, room), _longer(square, count, room)
        _nearest_first(number[:found], distance[:found], column[count:count + kept], square[count:count + kept])
        count += kept
        start[i + 1] = count
    return start, column[:count], square[:count], cut


@njit(cache=True, nogil=True)
def _cell_edge(y: np.ndarray, x: np.ndarray, reach: float) -> float:
    """Edge of the cells of a grid [px]: about the reach, and such that there are never many more cells than points."""
    m = len(y)
    top, bottom, left, right = y[0], y[0], x[0], x[0]
    for j in range(1, m):
        top, bottom = min(top, y[j]), max(bottom, y[j])
        left, right = min(left, x[j]), max(right, x[j])
    height, width = bottom - top, right - left
    return max(reach, math.sqrt(height * width / (4.0 * m)), max(height, width) / (4.0 * m))


@njit(cache=True, nogil=True, inline="always")
def _nearest_first(number: np.ndarray, distance: np.ndarray, column: np.ndarray, square: np.ndarray) -> None:
    """Fill `column` and `square` with the nearest of `number` and their `distance` (squared), nearest first."""
    kept = 0
    for k in range(len(number)):
        d, j = distance[k], number[k]
        if kept == len(column) and (d, j) >= (square[kept - 1], column[kept - 1]):
            continue
        kept = min(kept + 1, len(column))
        place = kept - 1
        while place > 0 and (square[place - 1], column[place - 1]) > (d, j):
            square[place], column[place] = square[place - 1], column[place - 1]
            place -= 1
        square[place], column[place] = d, j


@njit(cache=True, nogil=True)
def _longer(values: np.ndarray, used: int, room: int) -> np.ndarray:
    """A copy with more room; only the first `used` entries count."""
    grown = np.empty(room, values.dtype)
    for k in range(used):
        grown[k] = values[k]
    return grown
