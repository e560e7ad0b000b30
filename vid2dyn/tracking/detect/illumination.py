"""Uneven background: a slope under a spot moves the fitted position, so it is measured over the frame and taken out.

A slope s of the background [grey levels/px] that a fit with a constant background does not know shifts the centre of a
Gaussian of amplitude A and width w by

    s sum(g d²) / (A / w² sum(g² d²)) = 3.55 s w² / A       (square of 2.5 w, g = exp(-r² / (2 w²)), d along the slope)

while the standard error is sqrt(2/pi) noise / A: their ratio, 4.45 s w² / noise, does not depend on the spot. Fitting
a slope beside every spot would cost 27 % of precision; the frame as a whole knows it far better. The background is a
polynomial of second order in y and x, fitted to a grid of pixels without those that spots have brightened.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import median, nth_smallest
from vid2dyn.tracking.fit.normal_equations import solve

_SAMPLES = 2500                   # pixels asked
_SHIFT = 3.55 / 0.798             # shift over standard error of an isolated spot, per slope times width² over noise
_HARMFUL = 0.25                   # of the standard error: a smaller shift is left alone
_CERTAIN = 100.0                  # chi² of the five coefficients beyond the constant
_ONLY_NOISE = 2.0                 # of the noise: what may be left of a background that is seen
_ROUNDS, _LEAST = 5, 60           # of the fit, and pixels it takes
_LOOK = 100                       # pixels of each of nine parts, for the first look


def tilt(image: np.ndarray, noise: float, width: float, sparse: np.ndarray | None = None) -> np.ndarray | None:
    """Coefficients of the background of a frame, or None where it is too even to move a position.

    Parameters
    ----------
    image : (H, W) array
        Bright particles [grey levels].
    noise : float
        Standard deviation of a background pixel [grey levels].
    width : float
        Of a spot [px].
    sparse : (h, w) array, optional
        Some pixels of the image on an even grid, if they are at hand, for the first look.

    Returns
    -------
    (6,) array
        Of 1, u, v, u², uv, v² with u and v from -1 to 1 along y and x.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> even = rng.normal(100, 2, (128, 128))
    >>> tilt(even, 2.0, 2.0) is None
    True
    >>> (tilt(even + 0.5 * np.arange(128.0)[:, None], 2.0, 2.0)[1] / 63.5).round(2)
    np.float64(0.5)
    """
    first, step = _grid(image.shape)
    look = image[first::step, first::step] if sparse is None else sparse
    slope, found = float(noise * _HARMFUL / (_SHIFT * width**2)), np.empty(6)
    spread, uneven = _fitted_background(look, slope * max(image.shape) / 4, image[first::step, first::step],
                                        *_terms(image.shape), float(noise), found)
    if spread < 0 or spread > _ONLY_NOISE * noise:
        return None                 # the first look finds no slope at all, or no background is seen between spots
    certain = uneven / spread**2 > _CERTAIN
    harmful = _steepest(found, image.shape) * width**2 * _SHIFT > _HARMFUL * max(noise, 1e-30)
    return found if certain and harmful else None


@njit(cache=True, nogil=True, error_model="numpy")
def _fitted_background(look, step, pixels, terms, products, noise, found):
    """`found` (6,) becomes the polynomial through `pixels` (N in all) at `terms` (N, 6), whose `products` are (N, 21),
    those that spots have brightened left out; what it leaves of the others (standard deviation, `noise` at least; -1
    where too few are left, or where `look` is even within `step`: see `_uneven`), and how uneven it is (sum of squares
    about its mean)."""
    if not _uneven(look, step):
        return -1.0, 0.0
    n = terms.shape[0]
    values = np.empty(n)
    for i in range(n):
        values[i] = pixels[i // pixels.shape[1], i % pixels.shape[1]]
    used, left, matrix, right = np.ones(n, np.bool_), np.empty(n), np.empty((6, 6)), np.empty(6)
    total, sums = np.zeros(6), np.zeros(21)
    for i in range(n):
        left[i] = values[i]
    for c in range(1, 6):
        found[c] = 0.0
    found[0] = median(left)
    for turn in range(_ROUNDS):
        below, count = 0.0, 0
        for i in range(n):
            rest = values[i]
            for c in range(6):
                rest -= terms[i, c] * found[c]
            left[i] = rest
            if used[i] and rest < 0.0:
                below += rest * rest
                count += 1
        spread = max(math.sqrt(below / count) if count else 0.0, noise)
        changed, kept = turn == 0, 0
        for i in range(n):
            now = -4.0 * spread < left[i] < 2.0 * spread
            kept += now
            if turn and now == used[i]:
                continue
            changed, sign = True, 1.0 if now else -1.0
            used[i] = now
            if turn or now:                                # few come and go after the first round
                for r in range(6):
                    total[r] += sign * terms[i, r] * values[i]
                for c in range(21):
                    sums[c] += sign * products[i, c]
        if not changed:
            break
        if kept < _LEAST:
            return -1.0, 0.0
        for r in range(6):
            right[r] = total[r]
        entry = 0
        for r in range(6):
            for c in range(r, 6):
                matrix[r, c] = sums[entry]
                entry += 1
        if not solve(matrix, right, 6, 1e-9 * kept):          # a frame of two rows
            return -1.0, 0.0
        for c in range(6):
            found[c] = right[c]
    count, mean, level, square = 0, 0.0, 0.0, 0.0
    for i in range(n):
        if used[i]:
            curve = 0.0
            for c in range(1, 6):
                curve += terms[i, c] * found[c]
            left[count] = curve
            rest = values[i] - found[0] - curve
            mean += rest
            square += rest * rest
            level += curve
            count += 1
    mean, level, uneven = mean / count, level / count, 0.0
    for k in range(count):
        uneven += (left[k] - level) ** 2
    return max(math.sqrt(max(square / count - mean * mean, 0.0)), noise, 1e-30), uneven


@njit(cache=True, nogil=True)
def _uneven(look: np.ndarray, step: float) -> bool:
    """Whether the lower quartiles of nine parts of the frame span more than `step` [grey levels].

    The lower quarter of a part is background also where there are many spots.
    """
    low, high = np.inf, -np.inf
    height, width = look.shape
    for k in range(3):
        for m in range(3):
            top, left = k * height // 3, m * width // 3
            rows, columns = (k + 1) * height // 3 - top, (m + 1) * width // 3 - left
            every = max(1, rows * columns // _LOOK)
            thinned = np.empty(-(-rows * columns // every))
            for i in range(thinned.size):
                thinned[i] = look[top + i * every // columns, left + i * every % columns]
            if thinned.size > 8:
                quarter = nth_smallest(thinned, thinned.size // 4)
                low, high = min(low, quarter), max(high, quarter)
    return high - low > step


def flattened(image: np.ndarray, tilted: np.ndarray) -> np.ndarray:
    """float32 image with the background taken out, its mean kept."""
    u, v = (np.linspace(-1.0, 1.0, edge) for edge in image.shape)
    _, a, b, c, d, e = tilted
    along_y, along_x = a * u + c * (u**2 - 1 / 3), b * v + e * (v**2 - 1 / 3)
    out = image.astype(np.float32)
    out -= along_y.astype(np.float32)[:, None] + along_x.astype(np.float32)
    if d:
        out -= np.outer((d * u).astype(np.float32), v.astype(np.float32))
    return out


def removed_at(tilted: np.ndarray, shape: tuple[int, ...], y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What `flattened` took out at positions y, x [grey levels]."""
    _, a, b, c, d, e = tilted
    u, v = 2 * y / max(shape[0] - 1, 1) - 1, 2 * x / max(shape[1] - 1, 1) - 1
    return a * u + c * (u**2 - 1 / 3) + b * v + e * (v**2 - 1 / 3) + d * u * v


def _steepest(found: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest slope along an axis anywhere in the frame [grey levels/px]."""
    _, a, b, c, d, e = found
    return max(max(abs(a + 2 * c * u + d * v) * 2 / shape[0], abs(b + 2 * e * v + d * u) * 2 / shape[1])
               for u in (-1.0, 1.0) for v in (-1.0, 1.0))


def _grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the first pixel that is asked, and how far they are apart."""
    step = max(1, int(np.sqrt(shape[0] * shape[1] / _SAMPLES)))
    return step // 2, step


@lru_cache(maxsize=8)
def _terms(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 6) terms at the pixels asked, and (N, 21) products of two of them."""
    first, step = _grid(shape)
    at = [2 * np.arange(first, edge, step) / max(edge - 1, 1) - 1 for edge in shape]
    u, v = (axis.ravel() for axis in np.meshgrid(*at, indexing="ij"))
    terms = np.stack([np.ones_like(u), u, v, u**2, u * v, v**2], axis=1)
    row, column = np.triu_indices(6)
    return terms, np.ascontiguousarray(terms[:, row] * terms[:, column])   # indexed that way it is stored by columns
