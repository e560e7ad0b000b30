"""What the pixels know about a position: standard errors of fitted Gaussian spots, and how well they fit; compiled.

The estimate solves `sum_p J_p (I_p - model_p) = 0` with J the derivatives of the model. Pixels are independent with
variance v(I) = offset + gain I (`vid2dyn.tracking.sensor_noise`), so that for a spot on its own, whose columns are
orthogonal,

    var(x) = sum J_x² v / (sum J_x²)²,      J_x = A g (x - x0) / w²,   g = exp(-r² / (2 w²))

For white noise and the square of 2.5 w this is the Cramér-Rao bound, sigma = sqrt(2/pi) noise/A, times 1.003. Where
spots overlap, the block of (A, y, x) of a spot in the inverse of the matrix of all that overlap with it takes the
place of 1 / sum J_x²; the background of every spot is projected out of its own columns.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import nth_smallest
from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, PIXEL_NOISE, WIDTH, X, Y
from vid2dyn.tracking.fit.gaussians import LONGEST, sample_gaussian, square
from vid2dyn.tracking.fit.nearby import neighbours_of

MAX_NEIGHBOURS = 12
"""Neighbours whose errors are followed into a spot's own; the nearest count."""

_PQ, _PDQ, _PQE, _PDQE, _P, _PD, _Q, _QE = range(8)
"""Sums along one axis over the square of a spot k: of its profile p, times the distance d from its centre, times the
profile q of a spot l, times the distance e from the centre of that."""


@njit(cache=True, nogil=True, error_model="numpy")
def errors_alone(image, spots, which, noise_model, out):
    """Standard errors of spots `which` as if nothing were near, into `out`, a table of errors.

    `noise_model` is (offset, gain, floor) of the variance of a pixel. The pixel noise is that of the pixels which place
    the spot, sqrt(sum J² v / sum J²).
    """
    offset, gain, floor = noise_model
    gy, gx, far_x = np.zeros(LONGEST), np.zeros(LONGEST, np.float32), np.zeros(LONGEST, np.float32)
    profile = np.zeros(LONGEST)
    for i in which:
        cy, cx, amplitude, w = spots[i, Y], spots[i, X], spots[i, AMPLITUDE], spots[i, WIDTH]
        y0, ny = square(cy, w, image.shape[0])
        x0, nx = square(cx, w, image.shape[1])
        if ny < 3 or nx < 3 or amplitude <= 0.0:
            out[i, Y] = out[i, X] = out[i, PIXEL_NOISE] = np.inf
            continue
        sample_gaussian(cy, y0, ny, w, gy)
        sample_gaussian(cx, x0, nx, w, profile)
        ty = tx = hy = hx = ay = ax = 0.0
        for a in range(ny):
            d = y0 + a - cy
            gy[a] *= gy[a]
            hy += gy[a]
            ay += gy[a] * d * d
        for b in range(nx):
            d = x0 + b - cx
            v = profile[b] * profile[b]
            gx[b], far_x[b] = v, v * d * d
            hx += v
            ax += v * d * d
        if gain != 0.0:
            for a in range(ny):
                row = image[y0 + a, x0:x0 + nx]
                near = far = np.float32(0.0)
                for b in range(nx):
                    near += gx[b] * np.float32(row[b])
                    far += far_x[b] * np.float32(row[b])
                d = y0 + a - cy
                ty += gy[a] * d * d * near
                tx += gy[a] * far
        fy, fx = ay * hx, hy * ax                                   # sums of squared derivatives, less (A / w²)²
        vy, vx = max(offset + gain * ty / fy, floor), max(offset + gain * tx / fx, floor)
        scale = w * w / amplitude
        out[i, Y], out[i, X] = scale * math.sqrt(vy / fy), scale * math.sqrt(vx / fx)
        out[i, PIXEL_NOISE] = math.sqrt(0.5 * (vy + vx))


@njit(cache=True, nogil=True, error_model="numpy")
def _block(spots, k, l, shape, rows, sums, out):
    """out (3, 3): columns (g, g dy, g dx) of spot k, background projected out, times those of l, on the square of k.

    `rows` (2, 2, n): profiles of k and l along each axis; those of k are made where l is k, and else there from before.
    """
    w = spots[k, WIDTH]
    sums[:, :] = 0.0
    count = 1.0
    for axis in range(2):
        first, size = square(spots[k, axis], w, shape[axis])
        sample_gaussian(spots[l, axis], first, size, spots[l, WIDTH], rows[axis, int(l != k)])
        own, other = rows[axis, 0], rows[axis, int(l != k)]
        count *= size
        for t in range(size):
            p, q = own[t], other[t]
            d, e = first + t - spots[k, axis], first + t - spots[l, axis]
            sums[axis, _PQ] += p * q
            sums[axis, _PDQ] += p * d * q
            sums[axis, _PQE] += p * q * e
            sums[axis, _PDQE] += p * d * q * e
            sums[axis, _P] += p
            sums[axis, _PD] += p * d
            sums[axis, _Q] += q
            sums[axis, _QE] += q * e
    y, x = sums[0], sums[1]
    m0, m1, m2 = y[_P] * x[_P], y[_PD] * x[_P], y[_P] * x[_PD]
    n0, n1, n2 = y[_Q] * x[_Q] / count, y[_QE] * x[_Q] / count, y[_Q] * x[_QE] / count
    out[0, 0] = y[_PQ] * x[_PQ] - m0 * n0
    out[0, 1] = y[_PQE] * x[_PQ] - m0 * n1
    out[0, 2] = y[_PQ] * x[_PQE] - m0 * n2
    out[1, 0] = y[_PDQ] * x[_PQ] - m1 * n0
    out[1, 1] = y[_PDQE] * x[_PQ] - m1 * n1
    out[1, 2] = y[_PDQ] * x[_PQE] - m1 * n2
    out[2, 0] = y[_PQ] * x[_PDQ] - m2 * n0
    out[2, 1] = y[_PQE] * x[_PDQ] - m2 * n1
    out[2, 2] = y[_PQ] * x[_PDQE] - m2 * n2


@njit(cache=True, nogil=True)
def _nearest(spots, i, others, reach, chosen):
    """`chosen` becomes i and the nearest of `others` within `reach` [px], at most MAX_NEIGHBOURS; how many."""
    count = 1
    chosen[0] = i
    limit = reach * reach
    if others.size > MAX_NEIGHBOURS:
        distance = np.empty(others.size)
        for t in range(others.size):
            distance[t] = (spots[others[t], Y] - spots[i, Y]) ** 2 + (spots[others[t], X] - spots[i, X]) ** 2
        limit = min(limit, nth_smallest(distance, MAX_NEIGHBOURS - 1))
    for j in others:
        square_of = (spots[j, Y] - spots[i, Y]) ** 2 + (spots[j, X] - spots[i, X]) ** 2
        if count <= MAX_NEIGHBOURS and spots[j, AMPLITUDE] > 0.0 and square_of <= limit:
            chosen[count] = j
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def errors_together(shape, spots, which, near, reach, out):
    """Standard errors of spots `which` with those of their neighbours within `reach` [px].

    `which` holds every spot with a neighbour within `reach`; `near` is a `Neighbours`. `out`, the table of errors that
    `errors_alone` left, is changed.
    """
    start, index = near.start, near.indices
    rows, sums = np.zeros((2, 2, LONGEST)), np.zeros((2, 8))
    chosen, full = np.zeros(MAX_NEIGHBOURS + 1, np.int64), np.zeros((3 * MAX_NEIGHBOURS + 3, 3 * MAX_NEIGHBOURS + 3))
    own, shared = np.zeros((spots.shape[0], 3, 3)), np.zeros((index.size, 3, 3))
    limit = reach * reach
    for i in which:                                                # every block once
        _block(spots, i, i, shape, rows, sums, own[i])
        for t in range(start[i], start[i + 1]):
            j = index[t]
            if (spots[i, Y] - spots[j, Y]) ** 2 + (spots[i, X] - spots[j, X]) ** 2 < limit:
                _block(spots, i, j, shape, rows, sums, shared[t])
    for i in which:
        if not out[i, PIXEL_NOISE] < np.inf:
            continue
        n = _nearest(spots, i, neighbours_of(near, i), reach, chosen)
        for p in range(3 * n):
            for q in range(3 * n):
                full[p, q] = 0.0
        for a in range(n):
            k = chosen[a]
            for p in range(3):
                for q in range(3):
                    full[3 * a + p, 3 * a + q] = own[k, p, q] / out[k, PIXEL_NOISE] ** 2
            for t in range(start[k], start[k + 1]):
                for b in range(n):
                    if chosen[b] == index[t]:
                        scale = out[k, PIXEL_NOISE] * out[chosen[b], PIXEL_NOISE]
                        for p in range(3):
                            for q in range(3):
                                full[3 * a + p, 3 * b + q] = shared[t, p, q] / scale
        for p in range(3 * n):
            for q in range(p):
                full[p, q] = full[q, p] = 0.5 * (full[p, q] + full[q, p])
            full[p, p] *= 1.0 + 1e-9
        variance = _inverse_block(full, 3 * n)
        if variance[0] > 0.0 and variance[1] > 0.0:
            scale = spots[i, WIDTH] ** 2 / spots[i, AMPLITUDE]
            out[i, Y], out[i, X] = scale * math.sqrt(variance[0]), scale * math.sqrt(variance[1])


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse_block(m, n):
    """Elements (1, 1) and (2, 2) of the inverse of the symmetric matrix m[:n, :n]: everything else eliminated; -1 if
    singular."""
    order = n - 1
    while order > 2:                                               # eliminate the last row, again and again
        pivot = m[order, order]
        if pivot <= 0.0:
            return -1.0, -1.0
        for a in range(order):
            f = m[a, order] / pivot
            for b in range(order):
                m[a, b] -= f * m[order, b]
        order -= 1
    a, b, c, d, e, f = m[0, 0], m[0, 1], m[0, 2], m[1, 1], m[1, 2], m[2, 2]
    determinant = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
    if not determinant > 0.0:
        return -1.0, -1.0
    return (a * f - c * c) / determinant, (a * d - b * b) / determinant


@njit(cache=True, nogil=True)
def misfit(image, spots, which, near, out):
    """out[i] = mean squared difference of image and model over the square of spot i [grey levels²]."""
    gy, gx, profile = np.zeros(LONGEST), np.zeros(LONGEST, np.float32), np.zeros(LONGEST)
    left = np.zeros((LONGEST, LONGEST), np.float32)
    for i in which:
        y0, ny = square(spots[i, Y], spots[i, WIDTH], image.shape[0])
        x0, nx = square(spots[i, X], spots[i, WIDTH], image.shape[1])
        background = np.float32(spots[i, BACKGROUND])
        sample_gaussian(spots[i, Y], y0, ny, spots[i, WIDTH], gy)
        sample_gaussian(spots[i, X], x0, nx, spots[i, WIDTH], profile)
        for b in range(nx):
            gx[b] = profile[b]
        for a in range(ny):
            row, target = image[y0 + a, x0:x0 + nx], left[a]
            v = np.float32(spots[i, AMPLITUDE] * gy[a])
            for b in range(nx):
                target[b] = np.float32(row[b]) - background - v * gx[b]
        for j in neighbours_of(near, i):
            sample_gaussian(spots[j, Y], y0, ny, spots[j, WIDTH], gy)
            sample_gaussian(spots[j, X], x0, nx, spots[j, WIDTH], profile)
            for b in range(nx):
                gx[b] = profile[b]
            for a in range(ny):
                target = left[a]
                v = np.float32(spots[j, AMPLITUDE] * gy[a])
                for b in range(nx):
                    target[b] -= v * gx[b]
        total = np.float32(0.0)
        for a in range(ny):
            target = left[a]
            for b in range(nx):
                total += target[b] * target[b]
        out[i] = total / max(ny * nx - 4, 1)
