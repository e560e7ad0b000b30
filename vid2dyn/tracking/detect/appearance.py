"""What a spot looks like in the band-passed image: trackpy's mass, size, eccentricity and signal; compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import ECC, MASS, RAW_MASS, SIGNAL, SIZE, X, Y


@njit(cache=True, nogil=True)
def _tables(radius):
    """(4, d, e) float32: the round mask, times r², times cos 2t, times sin 2t; e = d and zeros to a multiple of 8."""
    side = 2 * radius + 1
    out = np.zeros((4, side, (side + 7) // 8 * 8), np.float32)
    for a in range(side):
        for b in range(side):
            y, x = a - radius, b - radius
            r2 = y * y + x * x
            if r2 <= radius * radius:
                out[0, a, b], out[1, a, b] = 1.0, r2
                if r2:
                    out[2, a, b], out[3, a, b] = (x * x - y * y) / r2, 2.0 * x * y / r2
    return out


@njit(cache=True, nogil=True)
def measure_appearance(image, filtered, positions, radius, threshold):
    """(N, 5) table of appearances, see `vid2dyn.tracking.columns`: over the round mask at each position's pixel.

    Pixels of `filtered` below `threshold` count as dark. The part of the mask beyond the frame counts nothing. With
    b the brightness of a pixel at distance r and angle t from the mask's centre: mass = sum b,
    size² = sum b r² / mass, ecc = |sum b exp(2 i t)| / (mass - b(0)).
    """
    height, width = filtered.shape
    out = np.zeros((positions.shape[0], 5))
    tables = _tables(radius)
    low, zero = np.float32(threshold), np.float32(0.0)
    sums = np.zeros((6, tables.shape[2]), np.float32)
    for i in range(positions.shape[0]):
        cy, cx = math.floor(positions[i, Y] + 0.5), math.floor(positions[i, X] + 0.5)
        left, right = max(-radius, -cx), min(tables.shape[2] - 1 - radius, width - 1 - cx)
        # unsigned places and columns summed first: see `vid2dyn.tracking.fit.gaussians.image_sums`
        columns, x, shift = np.uint64(max(right - left + 1, 0)), np.uint64(cx + left), np.uint64(radius + left)
        for k in range(6):
            for b in range(columns):
                sums[k, b] = zero
        for a in range(max(-radius, -cy), min(radius, height - 1 - cy) + 1):
            y, t = np.uint64(cy + a), np.uint64(radius + a)
            for b in range(columns):
                v = filtered[y, x + b] if filtered[y, x + b] >= low else zero
                lit = v * tables[0, t, shift + b]
                sums[0, b] += lit
                sums[1, b] += v * tables[1, t, shift + b]
                sums[2, b] += v * tables[2, t, shift + b]
                sums[3, b] += v * tables[3, t, shift + b]
                sums[4, b] += np.float32(image[y, x + b]) * tables[0, t, shift + b]
                sums[5, b] = lit if lit > sums[5, b] else sums[5, b]
        mass = second = c = s = raw = signal = zero
        for b in range(columns):
            mass += sums[0, b]
            second += sums[1, b]
            c += sums[2, b]
            s += sums[3, b]
            raw += sums[4, b]
            signal = max(signal, sums[5, b])
        centre = zero
        if 0 <= cy < height and 0 <= cx < width and filtered[cy, cx] >= low:
            centre = filtered[cy, cx]
        out[i, MASS], out[i, SIGNAL], out[i, RAW_MASS] = mass, signal, raw
        if mass > 0.0:
            out[i, SIZE] = math.sqrt(second / mass)
            out[i, ECC] = math.sqrt(c * c + s * s) / (mass - centre + 1e-6)
    return out
