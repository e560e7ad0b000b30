"""One spot among its neighbours, linearised: the sums that `vid2dyn.tracking.joint` solves with; compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.gaussians import LONGEST, bell, eights, image_sums, square


@njit(cache=True, nogil=True)
def workspace():
    """Rows of numbers that `linearise` needs, made once."""
    return (np.zeros((3, LONGEST)), np.zeros((3, LONGEST)), np.zeros((4, LONGEST + 7), np.float32),
            np.zeros((5, LONGEST + 7), np.float32), np.zeros(5), np.zeros((4, 4)), np.zeros((4, 4)))


@njit(cache=True, nogil=True)
def _own(first, size, centre, width, rows):
    """rows[0..2] = g, g d, g d² on a square's pixels along one axis; the sums of g², g² d, g² d², g, g d."""
    g, gd, gdd = rows[0], rows[1], rows[2]
    bell(centre, first, size, width, g)
    s0 = s1 = s2 = p0 = p1 = 0.0
    for k in range(size):
        d = first + k - centre
        v = g[k]
        e = v * d
        gd[k], gdd[k] = e, e * d
        p0 += v
        p1 += e
        s0 += v * v
        s1 += v * e
        s2 += e * e
    return s0, s1, s2, p0, p1


@njit(cache=True, nogil=True)
def _cross(rows, first, size, other, s, factor):
    """Sums over a square's pixels along one axis of (g, g d, g d², 1, d') times the profile centred at `other`.

    d counts from the centre of the square's own spot, d' from `other`.
    """
    g, gd, gdd = rows[0], rows[1], rows[2]
    u = first - other
    value, ratio = math.exp(-0.5 * u * u * s), math.exp(-(u + 0.5) * s)
    h0 = h1 = h2 = total = slope = 0.0
    for k in range(size):
        h0 += g[k] * value
        h1 += gd[k] * value
        h2 += gdd[k] * value
        total += value
        slope += (u + k) * value
        value *= ratio
        ratio *= factor
    return h0, h1, h2, total, slope


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse(m, out):
    """out becomes the inverse of the (4, 4) matrix m, which is destroyed; False where it is not positive."""
    out[:, :] = 0.0
    for k in range(4):
        out[k, k] = 1.0
    for k in range(4):
        if not m[k, k] > 0.0:
            return False
        scale = 1.0 / m[k, k]
        for q in range(4):
            m[k, q] *= scale
            out[k, q] *= scale
        for i in range(4):
            if i != k:
                f = m[i, k]
                for q in range(4):
                    m[i, q] -= f * m[k, q]
                    out[i, q] -= f * out[k, q]
    return True


@njit(cache=True, nogil=True)
def _normal(y, x, ny, nx, m):
    """m = sums of products of the columns g, 1, g dy, g dx, from the sums along y and x."""
    m[0, 0], m[1, 1] = y[0] * x[0], ny * nx
    m[2, 2], m[3, 3] = y[2] * x[0], y[0] * x[2]
    m[0, 1] = m[1, 0] = y[3] * x[3]
    m[0, 2] = m[2, 0] = y[1] * x[0]
    m[0, 3] = m[3, 0] = y[0] * x[1]
    m[1, 2] = m[2, 1] = y[4] * x[3]
    m[1, 3] = m[3, 1] = y[3] * x[4]
    m[2, 3] = m[3, 2] = y[1] * x[1]


@njit(cache=True, nogil=True)
def _couple(y, x, dy, dx, inverse, block, row):
    """block[row] = inverse of M_i times C_ij, from the sums along y and x; (dy, dx) = centre of i less that of j."""
    a0, a1, b0, b1 = y[1] + dy * y[0], y[2] + dy * y[1], x[1] + dx * x[0], x[2] + dx * x[1]     # g d', g d d'
    for k in range(4):
        p, q, r, t = inverse[k, 0], inverse[k, 1], inverse[k, 2], inverse[k, 3]
        block[row, 3 * k] = p * y[0] * x[0] + q * y[3] * x[3] + r * y[1] * x[0] + t * y[0] * x[1]
        block[row, 3 * k + 1] = p * a0 * x[0] + q * y[4] * x[3] + r * a1 * x[0] + t * a0 * x[1]
        block[row, 3 * k + 2] = p * y[0] * b0 + q * y[3] * x[4] + r * y[1] * b0 + t * y[0] * b1


@njit(cache=True, nogil=True, forceinline=True)
def _pixels(image, level, rows_y, rows_x, cy, y0, ny, x0, nx, squared, weights, columns, data):
    """data[0..3] = sums of (image - level) times g, 1, g dy, g dx over the square; the sum of its squares, or 0."""
    from_x, wide = eights(x0, nx, image.shape[1])
    shift = x0 - from_x
    for b in range(wide):
        weights[0, b] = weights[1, b] = weights[2, b] = np.float32(0.0)
    for b in range(nx):
        weights[0, b + shift], weights[1, b + shift] = rows_x[0, b], np.float32(1.0)
        weights[2, b + shift] = rows_x[1, b]
    return image_sums(image, level, rows_y[0], y0, ny, cy, from_x, wide, weights, columns, False, squared, data)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def linearise(image, spots, i, start, index, coupled, slot, pairs, column, block, base, k, work):
    """The linear equations of spot `i`, solved for it: p = base - sum over its couples of block p_j.

    Parameters
    ----------
    start, index
        Neighbours, see `vid2dyn.tracking.nearby`.
    coupled : float
        Distance below which one that takes part is a couple; the light of others is taken out as it stands [px].
    slot : (N,) int64 array
        Place of every spot among those that take part, -1 for none.
    pairs : int
        Couples before this one; the next rows of `column` (their slots) and `block` (12 numbers each) are written.
    base, k
        Row k is written: the solution without couples, p of `vid2dyn.tracking.joint`, b less the background so far.

    Returns
    -------
    pairs : int
        Couples up to this one.
    nearest : float
        Squared distance to the nearest couple [px²].
    """
    rows_y, rows_x, weights, columns, data, m, inverse = work
    cy, cx, w = spots[i, 0], spots[i, 1], spots[i, 3]
    s = 1.0 / (w * w)
    factor = math.exp(-s)
    y0, ny = square(cy, w, image.shape[0])
    x0, nx = square(cx, w, image.shape[1])
    nearest = 1e300
    base[k, 0], base[k, 1], base[k, 2], base[k, 3] = spots[i, 2], 0.0, 0.0, 0.0
    if ny < 3 or nx < 3:
        spots[i, 6] = 0.0
        return pairs, nearest
    y, x = _own(y0, ny, cy, w, rows_y), _own(x0, nx, cx, w, rows_x)
    _normal(y, x, ny, nx, m)
    if not _inverse(m, inverse):
        return pairs, nearest
    left = _pixels(image, np.float32(spots[i, 4]), rows_y, rows_x, cy, y0, ny, x0, nx, start[i] == start[i + 1],
                   weights, columns, data)
    for t in range(start[i], start[i + 1]):
        j = index[t]
        dy, dx, q = cy - spots[j, 0], cx - spots[j, 1], spots[j, 2]
        hy = _cross(rows_y, y0, ny, spots[j, 0], s, factor)
        hx = _cross(rows_x, x0, nx, spots[j, 1], s, factor)
        distance = dy * dy + dx * dx
        if distance < coupled * coupled and slot[j] >= 0:
            _couple(hy, hx, dy, dx, inverse, block, pairs)
            column[pairs] = slot[j]
            pairs += 1
            nearest = min(nearest, distance)
        else:
            data[0] -= q * hy[0] * hx[0]
            data[1] -= q * hy[3] * hx[3]
            data[2] -= q * hy[1] * hx[0]
            data[3] -= q * hy[0] * hx[1]
    for q in range(4):
        total = inverse[q, 0] * data[0] + inverse[q, 1] * data[1] + inverse[q, 2] * data[2] + inverse[q, 3] * data[3]
        base[k, q] = total
        left -= total * data[q]
    spots[i, 6] = max(left, 0.0) / max(ny * nx - 4, 1)
    return pairs, nearest
