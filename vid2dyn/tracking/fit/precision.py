"""Standard error of a centroid, from the noise of the pixels that went into it.

The Crocker-Grier position is the centroid of the band-passed image B over a round mask around pixel c:

    x = c + d,   d = sum_p m_p u_p B_p / M,   M = sum_p m_p B_p,   u = p - c,   B = K * I clipped at a threshold

To first order a change dI of the raw pixels moves it by `sum_q F_q dI_q / M`, `F = Kᵀ W`, `W_p = m_p a_p (u_p - d)`;
K is the Gaussian minus the boxcar and a_p = 1 where B_p survived the clipping. Pixels are independent with
variance v_q = v(I_q) (`vid2dyn.tracking.sensor_noise`), so

    var(x) = sum_q F_q² v_q / M²  +  rounding²  +  max(bias, 0.003 px)²

*Rounding*: trackpy cuts the boxcar of an integer image, and then B, to whole grey levels. What that does to a
position is known exactly (the centroid of the rounded minus that of the exact image) and is counted as error;
for dim spots at 8 bits (noise of 2 grey levels) it is as large as the noise.
*Bias*: a mask on whole pixels sees a spot at offset o from its centre at d = s o, with s below 1 where the mask
cuts the spot. The slope s is measured by moving the mask one pixel towards the spot, averaged over the frame, and
d/s - d counts as error. What is left is the jagged edge of the clipped spot: 0.003-0.004 px for widths of 2-2.5 px,
diameter 11-13 (measured on rendered spots). Both repeat while a particle stays within one pixel, and limit the
centroid at a signal-to-noise ratio beyond about 60. Overlap with a neighbour is not included.

Savin and Doyle, Biophys. J. 88, 623 (2005), have the same sum for one noise level, without clipping and rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.tracking.sensor_noise import CameraNoise

EDGE_FLOOR = 0.003
"""Error of a centroid that no noise model sees: jagged edge of the clipped spot [px]."""


def centroid_std(raw: np.ndarray, exact: np.ndarray, rounded: np.ndarray, positions: np.ndarray,
                 noise: CameraNoise, *, diameter: int, noise_size: float, smoothing_size: int) -> np.ndarray:
    """Standard errors of centroid positions.

    Parameters
    ----------
    raw : (H, W) array
        Grey levels as recorded.
    exact : (H, W) array
        The band-passed and clipped image in floating point [grey levels].
    rounded : (H, W) array
        The same as the centroids saw it, after rounding [grey levels].
    positions : (N, 2) array
        Centroids (y, x) of `rounded` [px].
    noise : CameraNoise
        Noise of the recorded pixels.
    diameter : int
        Odd diameter of the mask [px].
    noise_size : float
        Width of the Gaussian of the band-pass [px]; 0 for none.
    smoothing_size : int
        Odd edge of the boxcar of the band-pass [px].

    Returns
    -------
    (N, 2) array
        Standard error of (y, x) [px], at most the radius of the mask (where the mask is dark).

    Examples
    --------
    >>> y, x = np.mgrid[:41, :41]
    >>> spot = 100 * np.exp(-((y - 20.0) ** 2 + (x - 20.0) ** 2) / 8)
    >>> std = centroid_std(spot, spot, spot, np.array([[20.0, 20.0]]), CameraNoise(1.0, 0.0, 1.0), diameter=11,
    ...                    noise_size=0, smoothing_size=41)
    >>> std.round(3).tolist()
    [[0.01, 0.01]]
    """
    if not len(positions):
        return np.empty((0, 2))
    offsets, moved, slopes, variances, masses = _propagate(
        np.ascontiguousarray(raw, dtype=np.float64), np.ascontiguousarray(exact, dtype=np.float64),
        np.ascontiguousarray(rounded, dtype=np.float64), np.ascontiguousarray(positions, dtype=np.float64),
        disc(diameter), gaussian_taps(noise_size), smoothing_size // 2, noise.offset, noise.gain, noise.floor)
    weight = np.where(np.isfinite(slopes), masses[:, None], 0.0)
    total = weight.sum(axis=0)
    mean = (np.nan_to_num(slopes) * weight).sum(axis=0) / np.where(total > 0, total, 1.0)
    slope = np.where(total > 0, mean, 1.0)
    bias = np.maximum(np.abs(offsets * (1.0 / np.clip(slope, 0.3, 2.0) - 1.0)), EDGE_FLOOR)
    std = np.sqrt(variances + moved**2 + bias**2)
    return np.minimum(np.where(masses[:, None] > 0, std, np.inf), diameter // 2)


def disc(diameter: int) -> np.ndarray:
    """Round mask of a feature, (diameter, diameter) bool: pixels within diameter // 2 of the centre.

    >>> disc(3).astype(int).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    from skimage.morphology import disk  # used with compat = "trackpy" only: loaded when it is needed

    return disk(diameter // 2, dtype=bool)


def gaussian_taps(width: float) -> np.ndarray:
    """Sampled Gaussian of `width` [px], cut at 4 widths, sum 1; a single 1 for width 0."""
    reach = int(4.0 * width + 0.5) if width > 0 else 0
    axis = np.arange(-reach, reach + 1)
    taps = np.exp(-(axis**2) / (2.0 * width**2)) if reach else np.ones(1)
    return taps / taps.sum()


@njit(cache=True)
def _moments(filtered, mask, cy, cx):
    """Mass and centroid offset of the mask around pixel (cy, cx)."""
    r = mask.shape[0] // 2
    mass, sy, sx = 0.0, 0.0, 0.0
    for i in range(-r, r + 1):
        for j in range(-r, r + 1):
            if mask[i + r, j + r]:
                b = filtered[cy + i, cx + j]
                mass += b
                sy += b * i
                sx += b * j
    if mass > 0:
        return mass, sy / mass, sx / mass
    return 0.0, 0.0, 0.0


@njit(cache=True)
def _slope(filtered, mask, cy, cx, axis, offset):
    """Change of the centroid offset when the mask steps by one pixel towards the spot; NaN at the frame's edge."""
    r = mask.shape[0] // 2
    step = 1 if offset > 0 else -1
    ny, nx = (cy + step, cx) if axis == 0 else (cy, cx + step)
    if ny < r or nx < r or ny >= filtered.shape[0] - r or nx >= filtered.shape[1] - r:
        return np.nan
    moments = _moments(filtered, mask, ny, nx)
    return (offset - moments[1 + axis]) * step if moments[0] > 0 else np.nan


@njit(cache=True)
def _mask_centre(filtered, mask, y, x):
    """The pixel the mask was centred on when the iteration stopped at (y, x): the one that gives (y, x) back."""
    r = mask.shape[0] // 2
    h, w = filtered.shape
    best_y, best_x, best = -1, -1, np.inf
    ry, rx = int(np.round(y)), int(np.round(x))
    for ky in (0, -1, 1):
        for kx in (0, -1, 1):
            cy, cx = ry + ky, rx + kx
            if cy < r or cx < r or cy >= h - r or cx >= w - r:
                continue
            mass, dy, dx = _moments(filtered, mask, cy, cx)
            miss = abs(cy + dy - y) + abs(cx + dx - x)
            if mass > 0 and miss < best:
                best_y, best_x, best = cy, cx, miss
            if best < 1e-6:
                return best_y, best_x
    return best_y, best_x


@njit(cache=True)
def _weights(rounded, mask, cy, cx, offset, axis, weight):
    """W_p = m_p a_p (u_p - d) of the axis y (0) or x (1)."""
    r = mask.shape[0] // 2
    for i in range(mask.shape[0]):
        for j in range(mask.shape[0]):
            lit = mask[i, j] and rounded[cy + i - r, cx + j - r] > 0
            weight[i, j] = (i if axis == 0 else j) - r - offset if lit else 0.0


@njit(cache=True, fastmath=True)
def _pull_back(weight, gaussian, half_box, out, rows):
    """out = Kᵀ weight for K = Gaussian minus boxcar; `out` reaches `pad` pixels beyond `weight`."""
    n, m = weight.shape[0], out.shape[0]
    pad, half = (m - n) // 2, gaussian.size // 2
    flat = 1.0 / (2 * half_box + 1) ** 2
    out[:] = 0.0
    rows[:] = 0.0
    for i in range(n):                                            # the Gaussian, spread along x, then along y
        for j in range(n):
            for t in range(-half, half + 1):
                rows[i, pad + j + t] += weight[i, j] * gaussian[half + t]
    for i in range(n):
        for t in range(-half, half + 1):
            for q in range(m):
                out[pad + i + t, q] += gaussian[half + t] * rows[i, q]
    rows[:] = 0.0
    for i in range(n):                                            # the boxcar, as differences of running sums
        for j in range(n):
            rows[i, pad + j - half_box] += weight[i, j] * flat
            if pad + j + half_box + 1 < m:
                rows[i, pad + j + half_box + 1] -= weight[i, j] * flat
        for q in range(1, m):
            rows[i, q] += rows[i, q - 1]
    for q in range(m):
        total = 0.0
        for p in range(m):
            i, gone = p - pad + half_box, p - pad - half_box - 1
            if 0 <= i < n:
                total += rows[i, q]
            if 0 <= gone < n:
                total -= rows[gone, q]
            out[p, q] -= total


@njit(cache=True)
def _noise_through(pulled, raw, top, left, offset, gain, floor):
    """sum_q pulled_q² v(raw_q); pixels beyond the frame carry the noise of the nearest one."""
    h, w = raw.shape
    total = 0.0
    for i in range(pulled.shape[0]):
        y = min(max(top + i, 0), h - 1)
        for j in range(pulled.shape[1]):
            x = min(max(left + j, 0), w - 1)
            total += pulled[i, j] ** 2 * max(offset + gain * raw[y, x], floor)
    return total


@njit(cache=True)
def _propagate(raw, exact, rounded, positions, mask, gaussian, half_box, offset, gain, floor):
    """Per particle (y, x): offset from the mask centre, what rounding moved, slope, variance; and the mass."""
    count, d = positions.shape[0], mask.shape[0]
    r, pad = d // 2, max(gaussian.size // 2, half_box)
    offsets, moved = np.zeros((count, 2)), np.zeros((count, 2))
    slopes, variances = np.full((count, 2), np.nan), np.zeros((count, 2))
    masses = np.zeros(count)
    weight, rows = np.zeros((d, d)), np.zeros((d, d + 2 * pad))
    pulled = np.zeros((d + 2 * pad, d + 2 * pad))
    for k in range(count):
        cy, cx = _mask_centre(rounded, mask, positions[k, 0], positions[k, 1])
        if cy < 0:
            continue
        mass, dy, dx = _moments(rounded, mask, cy, cx)
        true_mass, true_dy, true_dx = _moments(exact, mask, cy, cx)
        masses[k] = mass
        offsets[k, 0], offsets[k, 1] = dy, dx
        moved[k, 0], moved[k, 1] = (dy - true_dy, dx - true_dx) if true_mass > 0 else (dy, dx)
        for axis in range(2):
            _weights(rounded, mask, cy, cx, offsets[k, axis], axis, weight)
            _pull_back(weight, gaussian, half_box, pulled, rows)
            through = _noise_through(pulled, raw, cy - r - pad, cx - r - pad, offset, gain, floor)
            variances[k, axis] = through / mass**2
            slopes[k, axis] = _slope(rounded, mask, cy, cx, axis, offsets[k, axis])
    return offsets, moved, slopes, variances, masses
