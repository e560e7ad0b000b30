"""Who is near whom, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

_RING = 1.5


@njit(cache=True, nogil=True)
def neighbours(y, x, reach):
    """Neighbours within `reach` [px], by cells of that size.

    Parameters
    ----------
    y, x : (N,) arrays
        Positions [px].
    reach : float
        Greatest distance [px].

    Returns
    -------
    start : (N + 1,) int64 array
    index : (P,) int64 array
        `index[start[i]:start[i + 1]]` are the neighbours of spot i.
    nearest : (N,) float64 array
        Distance to the nearest one [px], inf where none is within `reach`.

    >>> start, index, nearest = neighbours(np.array([0.0, 1.0, 9.0]), np.zeros(3), 2.0)
    >>> start.tolist(), index.tolist(), nearest.tolist()
    ([0, 1, 2, 2], [1, 0], [1.0, 1.0, inf])
    """
    n = y.size
    nearest, start = np.full(n, np.inf), np.zeros(n + 1, np.int64)
    if n == 0:
        return start, np.empty(0, np.int64), nearest
    cell, first, member, rows, columns = _cells(y, x, reach)
    index, count = np.empty(4 * n + 16, np.int64), 0
    for i in range(n):
        row, column = cell[i] // columns, cell[i] % columns
        for r in range(max(row - 1, 0), min(row + 2, rows)):
            low, high = r * columns + max(column - 1, 0), r * columns + min(column + 1, columns - 1)
            for k in range(first[low], first[high + 1]):
                j = member[k]
                dy, dx = y[i] - y[j], x[i] - x[j]
                square = dy * dy + dx * dx
                if square < reach * reach and j != i:
                    if count == index.size:
                        longer = np.empty(2 * count, np.int64)
                        longer[:count] = index
                        index = longer
                    index[count] = j
                    count += 1
                    nearest[i] = min(nearest[i], np.sqrt(square))
        start[i + 1] = count
    return start, index[:count].copy(), nearest


@njit(cache=True, nogil=True)
def distinct(maxima, filtered, reach, valley):
    """Which maxima stand for a spot of their own: no higher one within `reach` without a valley between them.

    Parameters
    ----------
    maxima : (M, 2) int64 array
        Pixels (y, x) in reading order.
    filtered : (H, W) array
        The image whose maxima they are.
    reach : float
        [px]
    valley : float
        Depth below the lower of two maxima that parts them, on the straight line between them [grey levels]; a
        tenth of the lower maximum at least. No valley parts a maximum from one four times as high within 1.5
        `reach`: that is a ring around it (diffraction, or defocus).

    >>> row = np.array([[0, 5, 4, 6, 1, 7, 0, 1, 0.0]])
    >>> distinct(np.array([[0, 1], [0, 3], [0, 5], [0, 7]]), row, 4.0, 3.0).tolist()
    [False, True, True, False]
    """
    n, far = maxima.shape[0], (_RING * reach) ** 2
    own = np.ones(n, np.bool_)
    edge = int(_RING * reach) + 1
    cell, first, member, _, columns = _cells(maxima[:, 0], maxima[:, 1], float(edge))
    for i in range(n):
        y, x = maxima[i]
        height = filtered[y, x]
        row, column = cell[i] // columns, cell[i] % columns
        for r in range(max(row - 1, 0), row + 1):                   # those before it in reading order
            low, high = r * columns + max(column - 1, 0), r * columns + min(column + 1, columns - 1)
            for place in range(first[low], first[high + 1]):
                j = member[place]
                dy, dx = y - maxima[j, 0], x - maxima[j, 1]
                square = dy * dy + dx * dx
                if j >= i or square > far:
                    continue
                other = filtered[maxima[j, 0], maxima[j, 1]]
                lower = min(height, other)
                if lower < 0.25 * max(height, other):
                    own[i if height < other else j] = False
                    continue
                if square > reach * reach:
                    continue
                steps = max(abs(dy), abs(dx))
                lowest = lower
                for k in range(1, steps):
                    a, b = y - dy * k / steps, x - dx * k / steps
                    lowest = min(lowest, filtered[int(np.floor(a + 0.5)), int(np.floor(b + 0.5))])
                if lower - lowest < max(valley, 0.1 * lower):
                    own[i if height < other else j] = False
    return own


@njit(cache=True, nogil=True)
def _cells(y, x, edge):
    """Square cells of that edge: the cell of each point, first entry of each cell and the points in the order of their
    cells, rows and columns of cells."""
    n = y.size
    if n == 0:
        return np.empty(0, np.int64), np.zeros(2, np.int64), np.empty(0, np.int64), 1, 1
    top, left = y.min(), x.min()
    rows, columns = int((y.max() - top) / edge) + 1, int((x.max() - left) / edge) + 1
    cell = np.empty(n, np.int64)
    first = np.zeros(rows * columns + 1, np.int64)
    for i in range(n):
        cell[i] = int((y[i] - top) / edge) * columns + int((x[i] - left) / edge)
        first[cell[i] + 1] += 1
    for c in range(rows * columns):
        first[c + 1] += first[c]
    place, member = first.copy(), np.empty(n, np.int64)
    for i in range(n):
        member[place[cell[i]]] = i
        place[cell[i]] += 1
    return cell, first, member, rows, columns
