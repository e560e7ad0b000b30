"""Spots that were missed: peaks in what the fitted ones leave of the image; compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, MOVE, SPOT_COLUMNS, UNSETTLED, WIDTH, X, Y
from vid2dyn.tracking.fit.gaussians import LONGEST, sample_gaussian
from vid2dyn.tracking.fit.nearby import neighbours_of

_LANES, _TAPS = 16, 4              # pixels of a row, and taps of a profile, that are worked on at a time


@njit(cache=True, nogil=True)
def find_missed(image, spots, badly_fitted, near, least, width):
    """New spots (M, 7) where the rest of the image around the spots `badly_fitted` has a peak above `least`.

    `least` (N,) is the amplitude [grey levels] of a Gaussian of `width` [px]; `near` is a `Neighbours`.
    """
    found, count = np.zeros((badly_fitted.size, SPOT_COLUMNS)), 0
    edge = min(int(3.5 * width + 0.5), LONGEST // 2)
    reach = min(int(2.0 * width + 0.5), edge)
    taps = np.zeros(_whole(2 * reach + 1, _TAPS), np.float32)              # zeros beyond the last one
    for k in range(-reach, reach + 1):
        taps[k + reach] = np.exp(-0.5 * (k / width) ** 2)
    n, middle = 2 * edge + 1, _whole(2 * edge + 1 - 2 * reach, _LANES)
    left = np.zeros((n + _TAPS, _whole(max(n, middle + taps.size), _LANES)), np.float32)
    half = np.zeros((n + _TAPS, middle), np.float32)
    for i in badly_fitted:
        y0, x0 = int(np.floor(spots[i, Y] + 0.5)) - edge, int(np.floor(spots[i, X] + 0.5)) - edge
        _remainder(image, spots, i, neighbours_of(near, i), y0, x0, n, left)
        best, y, x = _peak(left, half, taps, reach, n)
        if best < least[i]:
            continue
        y, x = y + y0, x + x0
        fresh = 0 <= y < image.shape[0] and 0 <= x < image.shape[1]
        for k in range(count):
            fresh = fresh and (found[k, Y] - y) ** 2 + (found[k, X] - x) ** 2 > (1.5 * width) ** 2
        if fresh:
            found[count, Y], found[count, X], found[count, AMPLITUDE] = y, x, best
            found[count, WIDTH], found[count, BACKGROUND], found[count, MOVE] = width, spots[i, BACKGROUND], UNSETTLED
            count += 1
    return found[:count]


@njit(cache=True, nogil=True, inline="always")
def _whole(count, lanes):
    """The least multiple of `lanes` that is not below `count`."""
    return (count + lanes - 1) // lanes * lanes


@njit(cache=True, nogil=True)
def _remainder(image, spots, i, others, y0, x0, n, left):
    """left[a, b] = image - background of spot i - all spots around, at pixel (y0 + a, x0 + b) for a, b < n; 0 beyond
    the frame. Columns from n on hold anything: rows are whole vectors."""
    gy, profile, gx = np.empty(n), np.empty(left.shape[1]), np.empty(left.shape[1], np.float32)
    top, stop = max(0, -y0), min(n, image.shape[0] - y0)
    first, last = max(0, -x0), min(_whole(n, _LANES), image.shape[1] - x0)
    if top > 0 or stop < n or first > 0 or last < n:
        left[:, :] = np.float32(0.0)
    background = np.float32(spots[i, BACKGROUND])
    for a in range(top, stop):
        row, target = image[y0 + a, x0 + first:x0 + last], left[a, first:last]
        for b in range(row.size):
            target[b] = np.float32(row[b]) - background
    for t in range(-1, others.size):
        j = i if t < 0 else others[t]
        sample_gaussian(spots[j, Y], y0, n, spots[j, WIDTH], gy)
        sample_gaussian(spots[j, X], x0, last, spots[j, WIDTH], profile)
        for b in range(last):
            gx[b] = profile[b]
        for a in range(top, stop):
            target, light, v = left[a, first:last], gx[first:last], np.float32(spots[j, AMPLITUDE] * gy[a])
            for b in range(target.size):
                target[b] -= v * light[b]


@njit(cache=True, nogil=True)
def _peak(left, half, taps, reach, n):
    """Largest amplitude of a Gaussian at a pixel of `left` (n, n and more), least squares over its square; and the
    pixel.

    `taps` are its profile along an axis, four at a time: a sum that goes through memory for each waits for the last.
    """
    m, wide = n - 2 * reach, half.shape[1]
    norm = 0.0
    for k in range(2 * reach + 1):
        norm += taps[k] ** 2
    for a in range(n):
        target, row = half[a], left[a]
        for b in range(wide):
            target[b] = np.float32(0.0)
        for k in range(0, taps.size, 4):
            t0, t1, t2, t3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            part = row[k:k + wide + 3]
            for b in range(wide):
                target[b] = (((target[b] + t0 * part[b]) + t1 * part[b + 1]) + t2 * part[b + 2]) + t3 * part[b + 3]
    best, y, x = -np.inf, 0, 0
    total = np.empty(wide, np.float32)
    for a in range(m):
        for b in range(wide):
            total[b] = np.float32(0.0)
        for k in range(0, taps.size, 4):
            t0, t1, t2, t3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            h0, h1, h2, h3 = half[a + k], half[a + k + 1], half[a + k + 2], half[a + k + 3]
            for b in range(wide):
                total[b] = (((total[b] + t0 * h0[b]) + t1 * h1[b]) + t2 * h2[b]) + t3 * h3[b]
        for b in range(m):
            if total[b] > best:
                best, y, x = total[b], a + reach, b + reach
    return best / (norm * norm), y, x
