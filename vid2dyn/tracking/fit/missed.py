"""Spots that were missed: peaks in what the fitted ones leave of the image; compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, MOVE, SPOT_COLUMNS, UNSETTLED, WIDTH, X, Y
from vid2dyn.tracking.fit.gaussians import LONGEST, sample_gaussian
from vid2dyn.tracking.fit.nearby import neighbours_of


@njit(cache=True, nogil=True)
def find_missed(image, spots, badly_fitted, near, least, width):
    """New spots (M, 7) where the rest of the image around the spots `badly_fitted` has a peak above `least`.

    `least` (N,) is the amplitude [grey levels] of a Gaussian of `width` [px]; `near` is a `Neighbours`.
    """
    found, count = np.zeros((badly_fitted.size, SPOT_COLUMNS)), 0
    edge = min(int(3.5 * width + 0.5), LONGEST // 2)
    taps = np.zeros(2 * edge + 1, np.float32)
    reach = min(int(2.0 * width + 0.5), edge)
    for k in range(-reach, reach + 1):
        taps[k + reach] = np.exp(-0.5 * (k / width) ** 2)
    left = np.zeros((2 * edge + 1, 2 * edge + 1), np.float32)
    half = np.zeros((2 * edge + 1, 2 * edge + 1), np.float32)
    for i in badly_fitted:
        y0, x0 = int(np.floor(spots[i, Y] + 0.5)) - edge, int(np.floor(spots[i, X] + 0.5)) - edge
        _remainder(image, spots, i, neighbours_of(near, i), y0, x0, left)
        best, y, x = _peak(left, half, taps, reach)
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


@njit(cache=True, nogil=True)
def _remainder(image, spots, i, others, y0, x0, left):
    """left[a, b] = image - background of spot i - all spots around, at pixel (y0 + a, x0 + b); 0 beyond the frame."""
    n = left.shape[0]
    gy, profile, gx = np.empty(n), np.empty(n), np.empty(n, np.float32)
    left[:, :] = np.float32(0.0)
    top, stop = max(0, -y0), min(n, image.shape[0] - y0)
    first, last = max(0, -x0), min(n, image.shape[1] - x0)
    background = np.float32(spots[i, BACKGROUND])
    for a in range(top, stop):
        row, target = image[y0 + a, x0 + first:x0 + last], left[a, first:last]
        for b in range(row.size):
            target[b] = np.float32(row[b]) - background
    for t in range(-1, others.size):
        j = i if t < 0 else others[t]
        sample_gaussian(spots[j, Y], y0, n, spots[j, WIDTH], gy)
        sample_gaussian(spots[j, X], x0, n, spots[j, WIDTH], profile)
        for b in range(n):
            gx[b] = profile[b]
        for a in range(top, stop):
            target, light, v = left[a, first:last], gx[first:last], np.float32(spots[j, AMPLITUDE] * gy[a])
            for b in range(target.size):
                target[b] -= v * light[b]


@njit(cache=True, nogil=True)
def _peak(left, half, taps, reach):
    """Largest amplitude of a Gaussian at a pixel of `left`, least squares over its square; and the pixel."""
    n = left.shape[0]
    m = n - 2 * reach
    norm = 0.0
    for k in range(2 * reach + 1):
        norm += taps[k] ** 2
    for a in range(n):
        target = half[a, :m]
        target[:] = np.float32(0.0)
        for k in range(2 * reach + 1):
            row, v = left[a, k:k + m], taps[k]
            for b in range(m):
                target[b] += v * row[b]
    best, y, x = -np.inf, 0, 0
    total = np.empty(m, np.float32)
    for a in range(m):
        total[:] = np.float32(0.0)
        for k in range(2 * reach + 1):
            row, v = half[a + k, :m], taps[k]
            for b in range(m):
                total[b] += v * row[b]
        for b in range(m):
            if total[b] > best:
                best, y, x = total[b], a + reach, b + reach
    return best / (norm * norm), y, x
