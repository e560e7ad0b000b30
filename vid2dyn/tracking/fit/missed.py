"""Spots that were missed: peaks in what the fitted ones leave of the image; compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.tracking.fit.gaussians import LONGEST, bell


@njit(cache=True, nogil=True)
def missed(image, spots, odd, start, index, least, width):
    """New spots (M, 7) where what is left around the spots `odd` has a peak of a spot's size above `least`."""
    found, count = np.zeros((odd.size, 7)), 0
    edge = min(int(3.5 * width + 0.5), LONGEST // 2)
    taps = np.zeros(2 * edge + 1, np.float32)
    reach = min(int(2.0 * width + 0.5), edge)
    for k in range(-reach, reach + 1):
        taps[k + reach] = np.exp(-0.5 * (k / width) ** 2)
    left, half = np.zeros((2, 2 * edge + 1, 2 * edge + 1), np.float32)
    for i in odd:
        y0, x0 = int(np.floor(spots[i, 0] + 0.5)) - edge, int(np.floor(spots[i, 1] + 0.5)) - edge
        _remainder(image, spots, i, index[start[i]:start[i + 1]], y0, x0, left)
        best, y, x = _peak(left, half, taps, reach)
        if best < least[i]:
            continue
        y, x = y + y0, x + x0
        fresh = 0 <= y < image.shape[0] and 0 <= x < image.shape[1]
        for k in range(count):
            fresh = fresh and (found[k, 0] - y) ** 2 + (found[k, 1] - x) ** 2 > (1.5 * width) ** 2
        if fresh:
            found[count, 0], found[count, 1], found[count, 2] = y, x, best
            found[count, 3], found[count, 4], found[count, 5] = width, spots[i, 4], 1e3
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _remainder(image, spots, i, near, y0, x0, left):
    """left[a, b] = image - background of spot i - all spots around, at pixel (y0 + a, x0 + b); 0 beyond the frame."""
    n = left.shape[0]
    gy, bells, gx = np.empty(n), np.empty(n), np.empty(n, np.float32)
    left[:, :] = np.float32(0.0)
    top, stop = max(0, -y0), min(n, image.shape[0] - y0)
    first, last = max(0, -x0), min(n, image.shape[1] - x0)
    background = np.float32(spots[i, 4])
    for a in range(top, stop):
        row, target = image[y0 + a, x0 + first:x0 + last], left[a, first:last]
        for b in range(row.size):
            target[b] = np.float32(row[b]) - background
    for t in range(-1, near.size):
        j = i if t < 0 else near[t]
        bell(spots[j, 0], y0, n, spots[j, 3], gy)
        bell(spots[j, 1], x0, n, spots[j, 3], bells)
        gx[:] = bells
        for a in range(top, stop):
            target, light, v = left[a, first:last], gx[first:last], np.float32(spots[j, 2] * gy[a])
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
