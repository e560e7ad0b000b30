"""Compiled drawing of spots: light integrated over every pixel."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.special import erfc

GAUSSIAN, RING, DISC = 0, 1, 2
_PER_SIGMA = 256
_REACH = 5.0   # widths around the centre that are drawn: the Gaussian has fallen to 4e-6 there


def profile(kind: int) -> np.ndarray:
    """Radial profile of ring or disc at r/sigma = 0, 1/256, ..., 5: of order 1 at its brightest.

    The ring is a Gaussian of width sigma/2 around r = 2 sigma, the disc falls at 2 sigma over 0.4 sigma.
    """
    r = np.arange(int(_REACH * _PER_SIGMA) + 2) / _PER_SIGMA
    return np.exp(-0.5 * ((r - 2) / 0.5) ** 2) if kind == RING else 0.5 * erfc((r - 2) / (0.4 * math.sqrt(2)))


@njit(cache=True)
def _edges_integral(centre, first, size, sigma, out):
    """out[m]: Gaussian of peak 1 integrated over pixel first + m on one axis."""
    scale = 1 / (math.sqrt(2.0) * sigma)
    low = math.erf((first - 0.5 - centre) * scale)
    for m in range(size):
        high = math.erf((first + m + 0.5 - centre) * scale)
        out[m] = sigma * math.sqrt(0.5 * math.pi) * (high - low)
        low = high


@njit(cache=True)
def draw(canvas, points, sigma, amplitude, kind, radial):
    """Add spots at `points` (N, 2) [px, axes y, x] of `sigma` (N,) [px] and `amplitude` (N,) to `canvas`.

    Gaussians are integrated over the pixels exactly, rings and discs (`radial` is their `profile`) with 3 x 3
    points in each pixel.
    NaN points are left out; spots over the edge are cut.
    """
    height, width = canvas.shape
    longest = int(2 * _REACH * sigma.max()) + 3 if sigma.size else 1
    along_y, along_x = np.empty(longest), np.empty(longest)
    for i in range(points.shape[0]):
        y, x = points[i, 0], points[i, 1]
        reach, per_pixel = _REACH * sigma[i], _PER_SIGMA / sigma[i]
        if not (-reach < y < height + reach and -reach < x < width + reach):
            continue
        y0, y1 = max(math.ceil(y - reach), 0), min(math.floor(y + reach), height - 1)
        x0, x1 = max(math.ceil(x - reach), 0), min(math.floor(x + reach), width - 1)
        if kind == GAUSSIAN:
            _edges_integral(y, y0, y1 - y0 + 1, sigma[i], along_y)
            _edges_integral(x, x0, x1 - x0 + 1, sigma[i], along_x)
            for a in range(y1 - y0 + 1):
                level = amplitude[i] * along_y[a]
                for b in range(x1 - x0 + 1):
                    canvas[y0 + a, x0 + b] += level * along_x[b]
        else:
            for a in range(y0, y1 + 1):
                for b in range(x0, x1 + 1):
                    total = 0.0
                    for s in range(9):
                        dy = a - y + (s // 3 - 1) / 3
                        dx = b - x + (s % 3 - 1) / 3
                        m = int(math.sqrt(dy * dy + dx * dx) * per_pixel)
                        if m < radial.size:
                            total += radial[m]
                    canvas[a, b] += amplitude[i] * total / 9
