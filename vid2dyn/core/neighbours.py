"""Neighbour search: all pairs closer than a distance, compiled, linear in the number of particles.

Particles are sorted into cells at least as wide as the reach; only neighbouring cells are compared. `edge` holds the
periodic length of every axis, 0 where space is open. 1 to 3 dimensions. Plain numba, so that compiled rollouts can call
it between two steps. The order of the pairs depends on the positions alone, so sums over them have the same bits again.

`close_pairs` serves the dynamics and the Brownian rollout; the fluid's list (`vid2dyn.rollout.fluid.lists`), which
threads build and which follows the names of the particles, sorts into the same cells.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True)
def displace(x, i, j, edge, e):  # type: ignore[no-untyped-def]
    """e = nearest image of x_i - x_j; returns its squared length. edge 0 means no images on that axis."""
    r2 = 0.0
    for c in range(x.shape[1]):
        t = x[i, c] - x[j, c]
        if edge[c] > 0.0:
            t -= edge[c] * math.floor(t / edge[c] + 0.5)
        e[c] = t
        r2 += t * t
    return r2


@numba.njit(cache=True)
def _grid(x, edge, reach, most):  # type: ignore[no-untyped-def]
    """Cells on each of three axes, at least `reach` wide and at most `most`, and where they begin and end."""
    count, low, high = np.zeros(3, np.int64), np.zeros(3), np.zeros(3)
    for c in range(3):
        count[c], high[c] = 1, 1.0
    for c in range(x.shape[1]):
        high[c] = edge[c]
        if edge[c] <= 0.0 and len(x) > 0:
            low[c] = high[c] = x[0, c]
            for i in range(1, len(x)):
                low[c], high[c] = min(low[c], x[i, c]), max(high[c], x[i, c])
            high[c] += 1e-9
        count[c] = min(max(1, int((high[c] - low[c]) / reach)), most)
    return count, low, high


@numba.njit(cache=True)
def sort_by_cell(x, edge, offset, reach, most, backwards):  # type: ignore[no-untyped-def]
    """Particles sorted by cell.

    Parameters
    ----------
    x : (n, dim) array
    edge : (dim,) array
        Periodic lengths, 0 where space is open.
    offset : float
        How far the image one edge up the first axis has slid along the second; 0: not sheared.
    reach : float
        Least width of a cell.
    most : int
        Most cells on an axis: many more cells than particles only waste memory (one stray particle far away).
    backwards : bool
        Of one cell the last particles come first.

    Returns
    -------
    where (n, 3) cell of every particle on each axis; count (3,) cells of each axis; order (n,) particles in the order
    of their cells; start (cells + 1,) where each cell begins in `order`.
    """
    n, dim = x.shape
    count, low, high = _grid(x, edge, reach, most)
    where = np.zeros((n, 3), np.int64)
    for c in range(dim):
        for i in range(n):
            t = x[i, c] - low[c]
            if c == 1 and offset != 0.0:
                t -= np.floor(x[i, 0] / edge[0]) * offset
            if edge[c] > 0.0:
                t -= edge[c] * np.floor(t / edge[c])
            where[i, c] = min(count[c] - 1, max(0, int(t / (high[c] - low[c]) * count[c])))
    flat = np.empty(n, np.int64)
    start = np.zeros(count[0] * count[1] * count[2] + 1, np.int64)
    for i in range(n):
        flat[i] = (where[i, 0] * count[1] + where[i, 1]) * count[2] + where[i, 2]
        start[flat[i] + 1] += 1
    for k in range(1, start.size):
        start[k] += start[k - 1]
    place, order = start[:-1].copy(), np.empty(n, np.int64)
    for k in range(n):
        i = n - 1 - k if backwards else k
        order[place[flat[i]]] = i
        place[flat[i]] += 1
    return where, count, order, start


@numba.njit(cache=True)
def _stencil(count, edge, dim):  # type: ignore[no-untyped-def]
    """(offsets (m, 3), whether they are half of the neighbourhood): cells to compare with one's own.

    Half is enough, since the other cell looks back, unless two cells of an axis meet through both walls.
    """
    half = True
    for c in range(dim):
        half = half and not (edge[c] > 0.0 and count[c] == 2)
    offsets = np.zeros((27, 3), np.int64)
    m = 0
    for a in range(-1, 2):
        for b in range(-1, 2):
            for g in range(-1, 2):
                if half and 9 * a + 3 * b + g <= 0:
                    continue
                skip = False
                for c in range(3):
                    shift = a if c == 0 else b if c == 1 else g
                    if c >= dim or count[c] == 1:
                        skip = skip or shift != 0
                    elif edge[c] > 0.0 and count[c] == 2:
                        skip = skip or shift == -1      # the same cell as +1: visit it once
                if not skip:
                    offsets[m, 0], offsets[m, 1], offsets[m, 2] = a, b, g
                    m += 1
    return offsets[:m], half


@numba.njit(cache=True)
def _longer(values, used, room):  # type: ignore[no-untyped-def]
    """A copy with more room; only the first `used` entries count."""
    grown = np.empty(room, np.int64)
    for k in range(used):
        grown[k] = values[k]
    return grown


@numba.njit(cache=True, error_model="numpy")
def close_pairs(x, edge, reach):  # type: ignore[no-untyped-def]
    """Pairs closer than `reach`, as two index arrays, the smaller number first; linear in the number of particles.

    Particles of a cell lie side by side in memory, so that the distances from one particle to a whole cell are one
    loop without branches; only then are the close ones picked out.
    """
    n, dim = x.shape
    where, count, order, start = sort_by_cell(x, edge, 0.0, reach, int((8.0 * n) ** (1.0 / dim)) + 1,
                                              True)
    offsets, half = _stencil(count, edge, dim)
    s, size, inverse = np.zeros((3, n)), np.zeros(3), np.zeros(3)
    for c in range(dim):
        for k in range(n):
            s[c, k] = x[order[k], c]
        if edge[c] > 0.0:                                    # an axis without images: 0 × floor(0.5) is subtracted
            size[c], inverse[c] = edge[c], 1.0 / edge[c]
    s0, s1, s2 = s[0], s[1], s[2]
    square = np.empty(n)
    first, second = np.empty(8 * n + 64, np.int64), np.empty(8 * n + 64, np.int64)
    m = np.int64(0)                                          # not the literal, for which it would be compiled again
    for k in range(n):
        i = order[k]
        for q in range(-1 if half else 0, len(offsets)):
            if q < 0:
                cell = (where[i, 0] * count[1] + where[i, 1]) * count[2] + where[i, 2]
                low = k + 1                                  # the rest of one's own cell
            else:
                cell = 0
                outside = False
                for c in range(3):
                    t = where[i, c] + offsets[q, c]
                    if size[c] > 0.0:
                        t = t - count[c] if t >= count[c] else t + count[c] if t < 0 else t
                    elif t < 0 or t >= count[c]:
                        outside = True
                        break
                    cell = cell * count[c] + t
                if outside:
                    continue
                low = start[cell] if half else max(start[cell], k + 1)
            high = start[cell + 1]
            y0, y1, y2 = s0[k], s1[k], s2[k]
            for j in range(low, high):
                t0, t1, t2 = y0 - s0[j], y1 - s1[j], y2 - s2[j]
                t0 -= size[0] * math.floor(t0 * inverse[0] + 0.5)
                t1 -= size[1] * math.floor(t1 * inverse[1] + 0.5)
                t2 -= size[2] * math.floor(t2 * inverse[2] + 0.5)
                square[j] = t0 * t0 + t1 * t1 + t2 * t2
            if m + high - low > len(first):
                first, second = _longer(first, m, 2 * len(first) + n), _longer(second, m, 2 * len(second) + n)
            for j in range(low, high):
                if square[j] < reach * reach:
                    first[m], second[m] = min(i, order[j]), max(i, order[j])
                    m += 1
    return first[:m], second[:m]


@numba.njit(cache=True, nogil=True)
def close_pairs_in_groups(x, start, edge, reach):  # type: ignore[no-untyped-def]
    """As `close_pairs` within each stretch x[start[k]:start[k + 1]]; pairs as an (m, 2) array of rows of x."""
    out = np.empty((4 * len(x) + 64, 2), np.int64)
    m = 0
    for k in range(len(start) - 1):
        first, second = close_pairs(x[start[k]:start[k + 1]], edge, reach)
        if m + len(first) > len(out):
            longer = np.empty((2 * (m + len(first)), 2), np.int64)
            for p in range(m):
                longer[p, 0], longer[p, 1] = out[p, 0], out[p, 1]
            out = longer
        for p in range(len(first)):
            out[m, 0], out[m, 1] = first[p] + start[k], second[p] + start[k]
            m += 1
    return out[:m]
