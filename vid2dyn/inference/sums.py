"""Compiled sums over the pairs of one frame, for the likelihood of a fluid.

Every friction-like matrix here is a graph Laplacian with (dim, dim) blocks across (I - e eᵀ) + along e eᵀ on its
pairs, given by the two numbers of each pair. Pairs are (first, second, e), e the unit vector from second to first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.core.conjugate_gradients import conjugate_gradients


@njit(cache=True)
def laplacian(first, second, e, across, along, x, out):  # type: ignore[no-untyped-def]
    """out = L x for node vectors x (n, dim)."""
    dim = x.shape[1]
    out[:] = 0.0
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        line = 0.0
        for c in range(dim):
            line += e[p, c] * (x[i, c] - x[j, c])
        line *= along[p] - across[p]
        for c in range(dim):
            w = across[p] * (x[i, c] - x[j, c]) + line * e[p, c]
            out[i, c] += w
            out[j, c] -= w


@njit(cache=True)
def scatter(first, second, e, across, along, w, out):  # type: ignore[no-untyped-def]
    """out += sum over pairs of ±(across, along) w for pair vectors w (pairs, dim)."""
    dim = out.shape[1]
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        line = 0.0
        for c in range(dim):
            line += e[p, c] * w[p, c]
        line *= along[p] - across[p]
        for c in range(dim):
            t = across[p] * w[p, c] + line * e[p, c]
            out[i, c] += t
            out[j, c] -= t


@njit(cache=True)
def apply_pressure_covariance(first, second, e, slope, variance, x, push, out):  # type: ignore[no-untyped-def]
    """out += H diag(variance) Hᵀ x, H the forces (n dim) of push (n): pressures that nobody saw.

    variance of the push (n,); push (n,) is scratch.
    """
    dim = x.shape[1]
    push[:] = 0.0
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        t = 0.0
        for c in range(dim):
            t -= e[p, c] * (x[i, c] - x[j, c])
        push[i] += t * slope[p]
        push[j] += t * slope[p]
    for i in range(push.shape[0]):
        push[i] *= variance[i]
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        f = -(push[i] + push[j]) * slope[p]
        for c in range(dim):
            out[i, c] += f * e[p, c]
            out[j, c] -= f * e[p, c]


@njit(error_model="numpy")
def _apply_covariance(operator, x, out):  # type: ignore[no-untyped-def]
    """out = (L + H diag(variance) Hᵀ) x."""
    first, second, e, across, along, slope, variance, push, _ = operator
    laplacian(first, second, e, across, along, x, out)
    if variance.shape[0] > 0:
        apply_pressure_covariance(first, second, e, slope, variance, x, push, out)


@njit(error_model="numpy")
def _by_diagonal(operator, residual, out):  # type: ignore[no-untyped-def]
    """Jacobi: the residual times the inverse of the mean diagonal of every particle."""
    inverse = operator[8]
    for i in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[i, c] = residual[i, c] * inverse[i]
    return out


@njit(error_model="numpy")
def dot(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(a.shape[0]):
        for c in range(a.shape[1]):
            total += a[i, c] * b[i, c]
    return total


@njit(error_model="numpy")
def advance(step, direction, image, x, residual):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            x[i, c] += step * direction[i, c]
            residual[i, c] -= step * image[i, c]


@njit(error_model="numpy")
def turn(factor, z, direction):  # type: ignore[no-untyped-def]
    for i in range(z.shape[0]):
        for c in range(z.shape[1]):
            direction[i, c] = z[i, c] + factor * direction[i, c]


@njit(cache=True, error_model="numpy")
def solve(first, second, e, across, along, slope, variance, right, tolerance):  # type: ignore[no-untyped-def]
    """x with (L + H diag(variance) Hᵀ) x = right, which sums to zero over every connected group; x is (n, dim).

    Conjugate gradients, Jacobi. A particle without neighbours gets 0. H: see `apply_pressure_covariance`; variance
    of length 0: none.
    """
    n, dim = right.shape
    inverse = np.zeros(n)
    for p in range(first.shape[0]):
        d = ((dim - 1) * across[p] + along[p]) / dim
        inverse[first[p]] += d
        inverse[second[p]] += d
    for i in range(n):
        inverse[i] = 1.0 / inverse[i] if inverse[i] > 0.0 else 0.0
    x = np.empty((n, dim))
    vectors = right.copy(), x, np.empty((n, dim)), np.empty((n, dim)), np.empty((n, dim))
    operator = first, second, e, across, along, slope, variance, np.empty(variance.shape[0]), inverse
    conjugate_gradients(_apply_covariance, _by_diagonal, dot, advance, turn, operator, vectors, tolerance, 400)
    return x


@njit(cache=True)
def density(first, second, weight, own, n):  # type: ignore[no-untyped-def]
    """own + sum_j weight, (n,)."""
    out = np.full(n, own)
    for p in range(first.shape[0]):
        out[first[p]] += weight[p]
        out[second[p]] += weight[p]
    return out


@njit(cache=True)
def pressure_forces(first, second, e, slope, push, out):  # type: ignore[no-untyped-def]
    """out[k] = -sum_j (push_i + push_j) W' e for every row k of push (k, n); out is (k, n, dim)."""
    out[:] = 0.0
    dim = out.shape[2]
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        for k in range(push.shape[0]):
            f = -(push[k, i] + push[k, j]) * slope[p]
            for c in range(dim):
                out[k, i, c] += f * e[p, c]
                out[k, j, c] -= f * e[p, c]


@njit(cache=True)
def stiffnesses(first, second, e, slope, bend, n):  # type: ignore[no-untyped-def]
    """a, b (n,) with -∇·F = sum of a p + b dp/dd for `pressure_forces` of push p(d), d the density of W.

    slope W', bend W'' + (dim - 1) W'/r. With F_i = -sum_j (p_i + p_j) W' e: a_i = 2 sum_j bend,
    b_i = |sum_j W' e|² + sum_j W'².
    """
    dim = e.shape[1]
    a, b, own = np.zeros(n), np.zeros(n), np.zeros((n, dim))
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        a[i] += 2.0 * bend[p]
        a[j] += 2.0 * bend[p]
        b[i] += slope[p] * slope[p]
        b[j] += slope[p] * slope[p]
        for c in range(dim):
            own[i, c] += slope[p] * e[p, c]
            own[j, c] -= slope[p] * e[p, c]
    return a, b + (own * own).sum(axis=1)


@njit(cache=True)
def pulls(first, second, e, slope, x, out):  # type: ignore[no-untyped-def]
    """The transpose of `pressure_forces`: out_i += sum over nodes of x times the slope of their force in push_i."""
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        t = 0.0
        for c in range(x.shape[1]):
            t -= e[p, c] * (x[i, c] - x[j, c]) * slope[p]
        out[i] += t
        out[j] += t


@njit(cache=True)
def quadratic(first, second, e, x, y):  # type: ignore[no-untyped-def]
    """Of every pair: x_ij·(I - e eᵀ) y_ij and x_ij·e eᵀ y_ij for node vectors x, y; (2, pairs)."""
    dim = x.shape[1]
    out = np.empty((2, first.shape[0]))
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        a, b, both = 0.0, 0.0, 0.0
        for c in range(dim):
            dx, dy = x[i, c] - x[j, c], y[i, c] - y[j, c]
            a += e[p, c] * dx
            b += e[p, c] * dy
            both += dx * dy
        out[1, p] = a * b
        out[0, p] = both - a * b
    return out


@njit(cache=True)
def mixed(first, second, e, x, w):  # type: ignore[no-untyped-def]
    """The same with pair vectors w in place of y_ij."""
    dim = x.shape[1]
    out = np.empty((2, first.shape[0]))
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        a, b, both = 0.0, 0.0, 0.0
        for c in range(dim):
            dx = x[i, c] - x[j, c]
            a += e[p, c] * dx
            b += e[p, c] * w[p, c]
            both += dx * w[p, c]
        out[1, p] = a * b
        out[0, p] = both - a * b
    return out


@njit(cache=True)
def squares(first, second, e, w):  # type: ignore[no-untyped-def]
    """w·(I - e eᵀ) w and w·e eᵀ w of pair vectors, (2, pairs)."""
    out = np.empty((2, first.shape[0]))
    for p in range(first.shape[0]):
        a, both = 0.0, 0.0
        for c in range(w.shape[1]):
            a += e[p, c] * w[p, c]
            both += w[p, c] * w[p, c]
        out[1, p] = a * a
        out[0, p] = both - a * a
    return out


@njit(cache=True)
def blocks(first, second, e, across, along, n):  # type: ignore[no-untyped-def]
    """Diagonal blocks of L, (n, dim, dim)."""
    dim = e.shape[1]
    block = np.zeros((n, dim, dim))
    for p in range(first.shape[0]):
        for a in range(dim):
            for b in range(dim):
                t = (along[p] - across[p]) * e[p, a] * e[p, b]
                if a == b:
                    t += across[p]
                block[first[p], a, b] += t
                block[second[p], a, b] += t
    return block


@njit(cache=True)
def traces(first, second, e, across, along, n):  # type: ignore[no-untyped-def]
    """tr of (I - e eᵀ) and of e eᵀ with L_ii + L_jj - L_ij - L_ji of every pair: slopes of tr L²/2; (2, pairs).

    tr L² is the sum over pairs of both numbers times these.
    """
    dim = e.shape[1]
    block = blocks(first, second, e, across, along, n)
    out = np.empty((2, first.shape[0]))
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        line, trace = 0.0, 0.0
        for a in range(dim):
            trace += block[i, a, a] + block[j, a, a]
            for b in range(dim):
                line += e[p, a] * e[p, b] * (block[i, a, b] + block[j, a, b])
        out[1, p] = line + 2.0 * along[p]
        out[0, p] = trace - line + 2.0 * (dim - 1) * across[p]
    return out


@njit(cache=True)
def draws(first, second, e, across, along, normals, out):  # type: ignore[no-untyped-def]
    """out[k] = a draw with covariance L: sum over pairs of ± the root of the block times normals[k] (pairs, dim)."""
    out[:] = 0.0
    dim = out.shape[2]
    for p in range(first.shape[0]):
        i, j = first[p], second[p]
        a, b = np.sqrt(across[p]), np.sqrt(along[p])
        for k in range(out.shape[0]):
            line = 0.0
            for c in range(dim):
                line += e[p, c] * normals[k, p, c]
            line *= b - a
            for c in range(dim):
                t = a * normals[k, p, c] + line * e[p, c]
                out[k, i, c] += t
                out[k, j, c] -= t
