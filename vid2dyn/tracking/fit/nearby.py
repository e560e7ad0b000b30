"""Which spots are near which, and which maxima stand for a spot of their own; compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.tracking.cell_grid import cell_grid, grid_of_pixels, within
from vid2dyn.tracking.columns import X, Y

_RING = 1.5


class Neighbours(NamedTuple):
    """Who is near whom.

    Parameters
    ----------
    start : (N + 1,) int64 array
    indices : (P,) int64 array
        ``indices[start[i]:start[i + 1]]`` are the neighbours of spot i.
    nearest : (N,) float64 array
        Distance to the nearest one [px], inf where none is within the reach of the search.
    """

    start: np.ndarray
    indices: np.ndarray
    nearest: np.ndarray


def neighbours(y: np.ndarray, x: np.ndarray, reach: float) -> Neighbours:
    """Spots nearer to each other than `reach`.

    Parameters
    ----------
    y, x : (N,) arrays
        Positions [px].
    reach : float
        Distance that is no longer near [px].

    Returns
    -------
    Neighbours

    >>> near = neighbours(np.array([0.0, 1.0, 9.0]), np.zeros(3), 2.0)
    >>> near.start.tolist(), near.indices.tolist(), near.nearest.tolist()
    ([0, 1, 2, 2], [1, 0], [1.0, 1.0, inf])
    """
    return neighbours_within(np.ascontiguousarray(y, float), np.ascontiguousarray(x, float), float(reach))


@njit(cache=True, nogil=True)
def neighbours_within(y, x, reach):
    """`neighbours` of contiguous float64 arrays, compiled."""
    n = y.size
    nearest, start = np.full(n, np.inf), np.zeros(n + 1, np.int64)
    if n == 0:
        return Neighbours(start, np.empty(0, np.int64), nearest)
    grid = cell_grid(y, x, reach)
    number, square = np.empty(n + 1, np.int64), np.empty(n + 1)
    index, count = np.empty(4 * n + 16, np.int64), 0
    for i in range(n):
        found, least = within(grid, y[i], x[i], reach, reach, number, square), np.inf
        if count + found > index.size:
            longer = np.empty(2 * (count + found), np.int64)
            for k in range(count):
                longer[k] = index[k]
            index = longer
        for k in range(found):
            if number[k] != i:
                index[count] = number[k]
                count += 1
                least = min(least, square[k])
        nearest[i] = np.sqrt(least)
        start[i + 1] = count
    return Neighbours(start, index[:count].copy(), nearest)


@njit(cache=True, nogil=True)
def neighbours_of(near, i):
    """The neighbours of spot i, a view of `near.indices`."""
    return near.indices[near.start[i]:near.start[i + 1]]


@njit(cache=True, nogil=True)
def lone_beside_bright(maxima, filtered, reach, least):
    """How many maxima above `least` `distinct` takes for a ring though nothing else is around the brighter one.

    A ring (diffraction, defocus) has several maxima around its middle. One maximum alone within 1.5 `reach` of one four
    times as high may as well be a particle of its own. Arguments as in `distinct`.

    >>> image = np.zeros((40, 40))
    >>> image[20, 20], image[20, 30] = 100.0, 20.0
    >>> lone_beside_bright(np.array([[20, 20], [20, 30]]), image, 11.0, 5.0)
    1
    >>> image[20, 10] = image[30, 20] = 20.0
    >>> lone_beside_bright(np.array([[20, 10], [20, 20], [20, 30], [30, 20]]), image, 11.0, 5.0)
    0
    """
    n, far = maxima.shape[0], (_RING * reach) ** 2
    around, clear = np.zeros(n, np.int64), np.zeros(n, np.int64)
    if n == 0:
        return 0
    edge = float(int(_RING * reach) + 1)
    grid = grid_of_pixels(maxima, edge)
    number, distance = np.empty(n + 1, np.int64), np.empty(n + 1)
    for i in range(n):
        y, x = maxima[i]
        height = filtered[y, x]
        for k in range(within(grid, float(y), float(x), edge, 0.0, number, distance)):
            j = number[k]
            other = filtered[maxima[j, Y], maxima[j, X]]
            if j != i and distance[k] <= far and other < 0.25 * height:
                around[i] += 1
                clear[i] += other > least
    lone = 0
    for i in range(n):
        lone += around[i] == 1 and clear[i] == 1
    return lone


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
    if n == 0:
        return own
    edge = float(int(_RING * reach) + 1)
    grid = grid_of_pixels(maxima, edge)
    number, distance = np.empty(n + 1, np.int64), np.empty(n + 1)
    for i in range(n):
        y, x = maxima[i]
        height = filtered[y, x]
        for k in range(within(grid, float(y), float(x), edge, 0.0, number, distance)):
            j = number[k]
            if j >= i or distance[k] > far:                         # those before it in reading order
                continue
            other = filtered[maxima[j, Y], maxima[j, X]]
            lower = min(height, other)
            if lower < 0.25 * max(height, other):
                own[i if height < other else j] = False
                continue
            if distance[k] > reach * reach:
                continue
            dy, dx = y - maxima[j, Y], x - maxima[j, X]
            steps, enough = max(abs(dy), abs(dx)), max(valley, 0.1 * lower)
            lowest = lower
            for s in range(1, steps):
                a, b = y - dy * s / steps, x - dx * s / steps
                lowest = min(lowest, filtered[int(np.floor(a + 0.5)), int(np.floor(b + 0.5))])
                if lower - lowest >= enough:
                    break
            if lower - lowest < enough:
                own[i if height < other else j] = False
    return own
