"""Neighbour search: all pairs closer than a distance, compiled, linear in the number of particles.

Particles are sorted into cells at least as wide as the reach; only neighbouring cells are compared. `edge` holds the
periodic length of every axis, 0 where space is open. 1 to 3 dimensions. Plain numba, so that compiled rollouts can call
it between two steps.
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
def cells(x, edge, reach):  # type: ignore[no-untyped-def]
    """Linked cells at least `reach` wide: cell of each particle on each axis, counts of cells, chains."""
    n, dim = x.shape
    count = np.ones(3, np.int64)
    where = np.zeros((n, 3), np.int64)
    for c in range(dim):
        low, high = 0.0, edge[c]
        if edge[c] <= 0.0:
            low, high = x[:, c].min(), x[:, c].max() + 1e-9
        # many more cells than particles only waste memory (one stray particle far away)
        count[c] = min(max(1, int((high - low) / reach)), int((8.0 * n) ** (1.0 / dim)) + 1)
        for i in range(n):
            t = x[i, c] - low
            if edge[c] > 0.0:
                t -= edge[c] * np.floor(t / edge[c])
            where[i, c] = min(count[c] - 1, max(0, int(t / (high - low) * count[c])))
    head = np.full(count[0] * count[1] * count[2], -1, np.int64)
    chain = np.empty(n, np.int64)
    for i in range(n):
        k = (where[i, 0] * count[1] + where[i, 1]) * count[2] + where[i, 2]
        chain[i] = head[k]
        head[k] = i
    return where, count, head, chain


@numba.njit(cache=True)
def close_pairs(x, edge, reach):  # type: ignore[no-untyped-def]
    """Pairs closer than `reach`, as two index arrays; linear in the number of particles."""
    n, dim = x.shape
    where, count, head, chain = cells(x, edge, reach)
    first, second = np.empty(8 * n + 64, np.int64), np.empty(8 * n + 64, np.int64)
    e = np.zeros(dim)
    m = 0
    for i in range(n):
        for a in range(-1, 2):
            for b in range(-1, 2):
                for g in range(-1, 2):
                    k = 0
                    skip = False
                    for c, shift in ((0, a), (1, b), (2, g)):
                        t = where[i, c] + shift
                        if c >= dim or count[c] == 1:
                            skip = skip or shift != 0
                            t = 0
                        elif edge[c] > 0.0:
                            # two cells meet through both walls: visit the other one once
                            skip = skip or (count[c] == 2 and shift == -1)
                            t = (t + count[c]) % count[c]
                        elif t < 0 or t >= count[c]:
                            skip = True
                        k = k * count[c] + t
                    if skip:
                        continue
                    j = head[k]
                    while j >= 0:
                        if j > i and displace(x, i, j, edge, e) < reach * reach:
                            if m == len(first):
                                first = np.concatenate((first, np.empty_like(first)))
                                second = np.concatenate((second, np.empty_like(second)))
                            first[m], second[m] = i, j
                            m += 1
                        j = chain[j]
    return first[:m], second[:m]


@numba.njit(cache=True, nogil=True)
def close_pairs_in_groups(x, start, edge, reach):  # type: ignore[no-untyped-def]
    """As `close_pairs` within each stretch x[start[k]:start[k + 1]]; pairs as an (m, 2) array of rows of x."""
    out = np.empty((4 * len(x) + 64, 2), np.int64)
    m = 0
    for k in range(len(start) - 1):
        first, second = close_pairs(x[start[k]:start[k + 1]], edge, reach)
        while m + len(first) > len(out):
            out = np.concatenate((out, np.empty_like(out)))
        for p in range(len(first)):
            out[m, 0], out[m, 1] = first[p] + start[k], second[p] + start[k]
            m += 1
    return out[:m]
