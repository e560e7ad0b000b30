"""Compiled sums over the pairs of one frame, for the heat of a fluid (`heat`, `entropy_filter`)."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def gathered(first, second, pairs, out):  # type: ignore[no-untyped-def]
    """out[k] += what every row k of pairs (k, pairs) holds, to both ends; out is (k, n)."""
    for k in range(pairs.shape[0]):
        for p in range(first.shape[0]):
            out[k, first[p]] += pairs[k, p]
            out[k, second[p]] += pairs[k, p]


@njit(cache=True)
def conduct(first, second, flow, T, dT, power, out, slopes):  # type: ignore[no-untyped-def]
    """Heat that every particle gets from its neighbours per time and coefficient, and its slopes.

    flow: radial part of C² (times V_i V_j if power = 1), (pairs,); T (n,); dT (k, n) slopes of T in k numbers.
    power 1: C² (1/T_i - 1/T_j) = flow (T_j - T_i); power 0: flow (1/T_i - 1/T_j).
    """
    out[:] = 0.0
    slopes[:] = 0.0
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        if power == 1:
            h, si, sj = flow[p] * (T[j] - T[i]), -flow[p], flow[p]
        else:
            h, si, sj = flow[p] * (1.0 / T[i] - 1.0 / T[j]), -flow[p] / T[i] ** 2, flow[p] / T[j] ** 2
        out[i] += h
        out[j] -= h
        for k in range(dT.shape[0]):
            t = si * dT[k, i] + sj * dT[k, j]
            slopes[k, i] += t
            slopes[k, j] -= t


@njit(cache=True)
def smoothed(first, second, flow, nodes, values, z):  # type: ignore[no-untyped-def]
    """P z for rows z (k, n), P the polynomial in A that is values[m] at nodes[m] (Newton's form).

    A z = sum_j flow (z_i - z_j) over the mean of sum_j flow.
    """
    size = nodes.shape[0]
    c = values.copy()
    for m in range(1, size):
        for q in range(size - 1, m - 1, -1):
            c[q] = (c[q] - c[q - 1]) / (nodes[q] - nodes[q - m])
    rows, n = z.shape
    scale = n / max(2.0 * flow.sum(), 1e-300)
    out = c[size - 1] * z
    for m in range(size - 2, -1, -1):
        turned = c[m] * z - nodes[m] * out
        for p in range(first.shape[0]):
            i, j, w = first[p], second[p], scale * flow[p]
            for k in range(rows):
                t = w * (out[k, i] - out[k, j])
                turned[k, i] += t
                turned[k, j] -= t
        out = turned
    return out


@njit(cache=True)
def shares(first, second, e, across, along, inverse):  # type: ignore[no-untyped-def]
    """tr K_ij (G_ii + G_jj - G_ij - G_ji) of every pair, G = L⁻¹ to first order in K; inverse: of the diagonal blocks.

    G_ii is the inverse block, G_ij its product with K_ij and that of j. Over all pairs the exact ones sum to the rank
    of L, to which the found ones are brought by a common factor.
    """
    n, dim = inverse.shape[0], e.shape[1]
    out = np.empty(first.shape[0])
    K, left, right = np.empty((dim, dim)), np.empty((dim, dim)), np.empty((dim, dim))
    total = 0.0
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        for a in range(dim):
            for b in range(dim):
                K[a, b] = (along[p] - across[p]) * e[p, a] * e[p, b]
            K[a, a] += across[p]
        left[:] = 0.0
        right[:] = 0.0
        for a in range(dim):
            for b in range(dim):
                for c in range(dim):
                    left[a, b] += K[a, c] * inverse[i, c, b]
                    right[a, b] += K[a, c] * inverse[j, c, b]
        t = 0.0
        for a in range(dim):
            t += left[a, a] + right[a, a]
            for b in range(dim):
                t -= 2.0 * left[a, b] * right[b, a]
        out[p] = t
        total += t
    if total > 0.0:
        out *= dim * (n - 1) / total
    return out
