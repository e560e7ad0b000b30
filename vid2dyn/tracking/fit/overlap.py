"""Sums over a spot's square that hold no image: its own columns, those of a neighbour, and what they make; compiled.

The columns of a spot are g, 1, g dy, g dx, with g its profile and (dy, dx) the distance from its centre. A product of
two of them, of one spot or of two, is a function of y times one of x, so that every sum is that along y times that
along x.
"""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True, nogil=True)
def own_sums(first, size, centre, s, factor, rows):
    """rows[0..2] = g, g d, g d² on a square's pixels along one axis; the sums of g², g² d, g² d², g, g d.

    s = 1 / width², factor = exp(-s): the profile by recurrence, as `gaussians.sample_gaussian` does.
    """
    g, gd, gdd = rows[0], rows[1], rows[2]
    u = first - centre
    value, ratio = math.exp(-0.5 * u * u * s), math.exp(-(u + 0.5) * s)
    s0 = s1 = s2 = p0 = p1 = 0.0
    for k in range(size):
        d = u + k
        e = value * d
        g[k], gd[k], gdd[k] = value, e, e * d
        p0 += value
        p1 += e
        s0 += value * value
        s1 += value * e
        s2 += e * e
        value *= ratio
        ratio *= factor
    return s0, s1, s2, p0, p1


@njit(cache=True, nogil=True)
def cross_sums(rows, first, size, other, s, factor):
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
def inverse(y, x, count, out):
    """out becomes the inverse of the (4, 4) matrix M of the columns g, 1, g dy, g dx; False where it is not positive.

    From the sums of `own_sums` along y and x and the number of pixels. By blocks of two: with M = (A B; B' D),
    W = A⁻¹ B and S = D - B' W, the blocks of the inverse are A⁻¹ + W S⁻¹ W', -W S⁻¹ and S⁻¹.
    """
    m00, m01, m11 = y[0] * x[0], y[3] * x[3], count
    m02, m03, m12, m13 = y[1] * x[0], y[0] * x[1], y[4] * x[3], y[3] * x[4]
    m22, m23, m33 = y[2] * x[0], y[1] * x[1], y[0] * x[2]
    det = m00 * m11 - m01 * m01
    if not (m00 > 0.0 and det > 0.0):
        return False
    scale = 1.0 / det
    a00, a01, a11 = m11 * scale, -m01 * scale, m00 * scale
    w00, w01 = a00 * m02 + a01 * m12, a00 * m03 + a01 * m13
    w10, w11 = a01 * m02 + a11 * m12, a01 * m03 + a11 * m13
    s00 = m22 - m02 * w00 - m12 * w10
    s01 = m23 - m02 * w01 - m12 * w11
    s11 = m33 - m03 * w01 - m13 * w11
    det = s00 * s11 - s01 * s01
    if not (s00 > 0.0 and det > 0.0):
        return False
    scale = 1.0 / det
    i00, i01, i11 = s11 * scale, -s01 * scale, s00 * scale
    v00, v01 = w00 * i00 + w01 * i01, w00 * i01 + w01 * i11
    v10, v11 = w10 * i00 + w11 * i01, w10 * i01 + w11 * i11
    out[0, 0], out[1, 1] = a00 + v00 * w00 + v01 * w01, a11 + v10 * w10 + v11 * w11
    out[0, 1] = out[1, 0] = a01 + v00 * w10 + v01 * w11
    out[0, 2], out[0, 3], out[1, 2], out[1, 3] = -v00, -v01, -v10, -v11
    out[2, 0], out[3, 0], out[2, 1], out[3, 1] = -v00, -v01, -v10, -v11
    out[2, 2], out[3, 3] = i00, i11
    out[2, 3] = out[3, 2] = i01
    return True


@njit(cache=True, nogil=True)
def coupling(y, x, dy, dx, inverse, block, row):
    """block[row] (12,) = inverse of M_i times C_ij, by sums along y and x; (dy, dx): centre of i less that of j."""
    a0, a1, b0, b1 = y[1] + dy * y[0], y[2] + dy * y[1], x[1] + dx * x[0], x[2] + dx * x[1]     # g d', g d d'
    for k in range(4):
        p, q, r, t = inverse[k, 0], inverse[k, 1], inverse[k, 2], inverse[k, 3]
        block[row, 3 * k] = p * y[0] * x[0] + q * y[3] * x[3] + r * y[1] * x[0] + t * y[0] * x[1]
        block[row, 3 * k + 1] = p * a0 * x[0] + q * y[4] * x[3] + r * a1 * x[0] + t * a0 * x[1]
        block[row, 3 * k + 2] = p * y[0] * b0 + q * y[3] * x[4] + r * y[1] * b0 + t * y[0] * b1
