"""The one search for detections that are near a place: points sorted into square cells, compiled.

Linking asks for the features around the place where a particle is expected, fitting for the spots whose light
overlaps, detection for maxima that may belong to one spot. All of them build the grid once for a frame and then ask
`within` point by point. Points are found row of cells by row of cells, in a cell in the order of their numbers, so that
whatever is summed over them is summed in the same order on every machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

_ROUNDING = 1e-9                   # of the reach: cells that rounding could leave out are looked at too


class CellGrid(NamedTuple):
    """Points in square cells.

    Parameters
    ----------
    top, left : float
        Least y and x of the points [px]: the corner of the first cell.
    edge : float
        Edge of a cell [px].
    rows, columns : int
        Number of cells along y and along x.
    first : (rows · columns + 1,) int64 array
        The points of cell c, counted row by row, are entries ``first[c]`` to ``first[c + 1]`` of `order`, `y` and `x`.
    order : (N,) int64 array
        Numbers of the points, cell by cell.
    y, x : (N,) float64 arrays
        Their positions in that order [px].
    """

    top: float
    left: float
    edge: float
    rows: int
    columns: int
    first: np.ndarray
    order: np.ndarray
    y: np.ndarray
    x: np.ndarray


@njit(cache=True, nogil=True)
def cell_grid(y, x, edge):
    """Points sorted into square cells.

    Parameters
    ----------
    y, x : (N,) float64 arrays, C-contiguous, N > 0
        Positions [px].
    edge : float
        Edge of a cell [px]; searches are quickest where it is about their reach. Memory goes with the number of cells.

    Returns
    -------
    CellGrid
    """
    n = y.size
    top, bottom, left, right = y[0], y[0], x[0], x[0]
    for i in range(1, n):
        top, bottom = min(top, y[i]), max(bottom, y[i])
        left, right = min(left, x[i]), max(right, x[i])
    rows, columns = int((bottom - top) / edge) + 1, int((right - left) / edge) + 1
    cell = np.empty(n, np.int64)
    first = np.zeros(rows * columns + 1, np.int64)
    for i in range(n):
        cell[i] = int((y[i] - top) / edge) * columns + int((x[i] - left) / edge)
        first[cell[i] + 1] += 1
    for c in range(rows * columns):
        first[c + 1] += first[c]
    place = first[:-1].copy()
    order, sorted_y, sorted_x = np.empty(n, np.int64), np.empty(n), np.empty(n)
    for i in range(n):
        k = place[cell[i]]
        order[k], sorted_y[k], sorted_x[k] = i, y[i], x[i]
        place[cell[i]] += 1
    return CellGrid(top, left, edge, rows, columns, first, order, sorted_y, sorted_x)


@njit(cache=True, nogil=True)
def grid_of_pixels(pixels, edge):
    """`cell_grid` of an (N, 2) int64 array of pixels (y, x)."""
    y, x = np.empty(pixels.shape[0]), np.empty(pixels.shape[0])
    for i in range(y.size):
        y[i], x[i] = pixels[i, 0], pixels[i, 1]
    return cell_grid(y, x, edge)


@njit(cache=True, nogil=True, inline="always")         # a call costs more than most searches
def within(grid, y, x, reach, below, number, square):
    """Points nearer than `reach` to (y, x), in the order of their cells; how many there are.

    Parameters
    ----------
    grid : CellGrid
    y, x : float
        The place [px].
    reach : float
        Distance that is no longer near [px].
    below : float
        How far below y points matter [px]: `reach`, or less where the caller does not ask for those farther below,
        which may then be left out.
    number, square : (N + 1,) arrays
        Receive the numbers of the points and their squared distances [px²]; one entry longer than the grid has points.

    Examples
    --------
    >>> grid = cell_grid(np.array([0.0, 0.0, 9.0]), np.array([0.0, 2.0, 9.0]), 2.0)
    >>> number, square = np.empty(4, np.int64), np.empty(4)
    >>> within(grid, 0.0, 0.0, 2.0, 2.0, number, square), within(grid, 0.0, 0.5, 2.0, 2.0, number, square)
    (1, 2)
    >>> number[:2].tolist(), square[:2].tolist()
    ([0, 1], [0.25, 2.25])
    """
    limit, margin, per_length = reach * reach, reach * (1.0 + _ROUNDING), 1.0 / grid.edge
    # cut towards zero: a place above or left of the grid looks at its first cells in vain
    row0 = max(int((y - margin - grid.top) * per_length), 0)
    row1 = min(int((y + below + (margin - reach) - grid.top) * per_length), grid.rows - 1)
    column0 = max(int((x - margin - grid.left) * per_length), 0)
    column1 = min(int((x + margin - grid.left) * per_length), grid.columns - 1)
    count = 0
    if column1 < column0:
        return count
    for row in range(row0, row1 + 1):                      # cells of a row adjoin
        for k in range(grid.first[row * grid.columns + column0], grid.first[row * grid.columns + column1 + 1]):
            dy, dx = y - grid.y[k], x - grid.x[k]
            distance = dy * dy + dx * dx
            number[count], square[count] = grid.order[k], distance      # kept or written over: no branch on chance
            count += distance < limit
    return count
