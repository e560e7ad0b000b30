"""Spots of any round shape (discs, rings): their common profile measured in the frame and fitted; compiled.

A spot is `A p(r) + b` within the radius R of its centre, the light of its neighbours taken out. The profile p is the
mean of all spots against the distance from their centres, each less its background and its neighbours, over its A;
it vanishes at R and is scaled to a largest absolute value of 1. Measuring and fitting take turns, as in crowded-field
photometry (Stetson, Publ. Astron. Soc. Pac. 99, 191 (1987)). Errors are those of the four unknowns of each spot
with the noise of its pixels; what its neighbours' errors add is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.interpolate import make_smoothing_spline

FINE = 16
"""Entries of a profile table per pixel."""
_BINS = 4                                                   # bins of the measured profile per pixel


@dataclass(frozen=True)
class Profile:
    """Brightness and its slope at r = 0, 1/16, ..., `radius` [px]; (K, 2) array `table`."""

    table: np.ndarray
    radius: float

    def image(self) -> np.ndarray:
        """(2 n + 1, 2 n + 1) float32: the profile on pixels, centred, its mean taken out, squares sum to 1."""
        n = math.ceil(self.radius)
        axis = np.arange(-n, n + 1)
        r = np.hypot(axis[:, None], axis[None, :])
        inside = r < self.radius
        light = np.where(inside, np.interp(r * FINE, np.arange(len(self.table)), self.table[:, 0]), 0.0)
        light = np.where(inside, light - light[inside].mean(), 0.0)
        return (light / np.sqrt((light**2).sum())).astype(np.float32)


def measured(image: np.ndarray, spots: np.ndarray, which: np.ndarray, start: np.ndarray, index: np.ndarray,
             radius: float, known: Profile | None) -> Profile | None:
    """The mean profile of spots `which`, or None where they are too few.

    Parameters
    ----------
    image : (H, W) float32 array
    spots : (N, 7) array
        Columns as in `vid2dyn.tracking.fit.gaussians`.
    start, index
        Neighbours within two radii, see `vid2dyn.tracking.fit.nearby`.
    radius : float
        R [px].
    known : Profile, optional
        With what neighbours are taken out; without it they stay.
    """
    bins = int(radius * _BINS) + 1
    table = np.zeros((2, 2)) if known is None else known.table
    sums = _collect(image, spots, which, start, index, radius, table, known is not None, bins)
    good = sums[0] > 4
    if good.sum() < 6:
        return None
    weight, r, light = sums[0, good], sums[1, good] / sums[0, good], sums[2, good] / sums[0, good]
    light -= np.average(light[-3:], weights=weight[-3:])
    both = np.argsort(np.concatenate([-r, r]))
    spline = make_smoothing_spline(np.concatenate([-r, r])[both], np.tile(light, 2)[both], np.tile(weight, 2)[both],
                                   lam=1e-2 * weight.mean() / _BINS)
    grid = np.arange(int(radius * FINE) + 2) / FINE
    values, slopes = spline(grid), spline.derivative()(grid)
    peak = values[np.argmax(np.abs(values))]
    return Profile(np.ascontiguousarray(np.stack([values, slopes], axis=1) / peak), radius)


@njit(cache=True, nogil=True)
def _light(table, r):
    """Profile at r by linear interpolation; 0 beyond."""
    t = r * FINE
    k = int(t)
    if k >= table.shape[0] - 1:
        return 0.0
    return table[k, 0] + (t - k) * (table[k + 1, 0] - table[k, 0])


@njit(cache=True, nogil=True)
def _others(spots, near, table, y, x):
    """Light of spots `near` at pixel (y, x)."""
    total = 0.0
    for j in near:
        r = math.sqrt((y - spots[j, 0]) ** 2 + (x - spots[j, 1]) ** 2)
        total += spots[j, 2] * _light(table, r)
    return total


@njit(cache=True, nogil=True)
def _collect(image, spots, which, start, index, radius, table, clean, bins):
    """(3, bins): weight, sum of weighted r, sum of weighted (image - background - neighbours) / A."""
    sums = np.zeros((3, bins))
    n = int(radius) + 1
    for i in which:
        amplitude = spots[i, 2]
        if not amplitude > 0.0:
            continue
        near = index[start[i]:start[i + 1]] if clean else index[:0]
        cy, cx = math.floor(spots[i, 0] + 0.5), math.floor(spots[i, 1] + 0.5)
        for y in range(max(cy - n, 0), min(cy + n + 1, image.shape[0])):
            for x in range(max(cx - n, 0), min(cx + n + 1, image.shape[1])):
                r = math.sqrt((y - spots[i, 0]) ** 2 + (x - spots[i, 1]) ** 2)
                k = int(r * _BINS)
                if r < radius and k < bins:
                    value = (image[y, x] - spots[i, 4] - _others(spots, near, table, y, x)) / amplitude
                    sums[0, k] += 1.0
                    sums[1, k] += r
                    sums[2, k] += value
    return sums


@njit(cache=True, nogil=True)
def unexplained(image, spots, which, start, index, table, radius, noise_model):
    """(left, light): what the model leaves beyond noise of the pixels within `radius` of spots `which`, and what there
    is above their backgrounds [grey levels², summed]."""
    offset, gain, floor = noise_model
    n = int(radius) + 1
    left = light = 0.0
    for i in which:
        near = index[start[i]:start[i + 1]]
        cy, cx = math.floor(spots[i, 0] + 0.5), math.floor(spots[i, 1] + 0.5)
        for y in range(max(cy - n, 0), min(cy + n + 1, image.shape[0])):
            for x in range(max(cx - n, 0), min(cx + n + 1, image.shape[1])):
                r = math.sqrt((y - spots[i, 0]) ** 2 + (x - spots[i, 1]) ** 2)
                if r < radius:
                    above = image[y, x] - spots[i, 4] - _others(spots, near, table, y, x)
                    rest = above - spots[i, 2] * _light(table, r)
                    left += rest * rest - max(offset + gain * image[y, x], floor)
                    light += above * above
    return left, light


@njit(cache=True, nogil=True)
def _accumulate(image, spots, i, near, table, radius, offset, gain, floor, m, rhs, noise):
    """Normal equations of columns (p, 1, dp/dy, dp/dx); `noise[0..1]` = sums of squared derivatives times variance."""
    m[:] = 0.0
    rhs[:] = 0.0
    noise[:] = 0.0
    n = int(radius) + 1
    column = np.zeros(4)
    cy, cx = math.floor(spots[i, 0] + 0.5), math.floor(spots[i, 1] + 0.5)
    for y in range(max(cy - n, 0), min(cy + n + 1, image.shape[0])):
        for x in range(max(cx - n, 0), min(cx + n + 1, image.shape[1])):
            dy, dx = y - spots[i, 0], x - spots[i, 1]
            r = math.sqrt(dy * dy + dx * dx)
            if r >= radius:
                continue
            t = r * FINE
            k = min(int(t), table.shape[0] - 2)
            column[0] = table[k, 0] + (t - k) * (table[k + 1, 0] - table[k, 0])
            slope = table[k, 1] + (t - k) * (table[k + 1, 1] - table[k, 1])
            column[1] = 1.0
            column[2] = -slope * dy / r if r > 0 else 0.0
            column[3] = -slope * dx / r if r > 0 else 0.0
            value = image[y, x] - _others(spots, near, table, y, x)
            variance = max(offset + gain * image[y, x], floor)
            noise[0] += column[2] ** 2 * variance
            noise[1] += column[3] ** 2 * variance
            for a in range(4):
                rhs[a] += column[a] * value
                for b in range(a, 4):
                    m[a, b] += column[a] * column[b]


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse_solve(m, rhs, inverse):
    """Solution of the symmetric 4 x 4 system whose upper triangle is m, and the last two diagonals of its inverse.

    `m` and `inverse` (4, 4) are overwritten. By elimination: numba's call of LAPACK takes longer and stops all threads.
    """
    if not m[0, 0] > 0.0:
        return np.zeros(4), 0.0, 0.0
    floor = 1e-12 * m[1, 1]
    for k in range(4):
        m[k, k] = m[k, k] * (1.0 + 1e-9) + floor
        for q in range(4):
            inverse[k, q] = 1.0 if k == q else 0.0
            if q < k:
                m[k, q] = m[q, k]
    for k in range(4):
        scale = 1.0 / m[k, k]
        for q in range(4):
            m[k, q] *= scale
            inverse[k, q] *= scale
        for i in range(4):
            if i != k:
                f = m[i, k]
                for q in range(4):
                    m[i, q] -= f * m[k, q]
                    inverse[i, q] -= f * inverse[k, q]
    solution = np.zeros(4)
    for k in range(4):
        for q in range(4):
            solution[k] += inverse[k, q] * rhs[q]
    return solution, inverse[2, 2], inverse[3, 3]


@njit(cache=True, nogil=True, error_model="numpy")
def fit(image, spots, which, start, index, table, radius, noise_model, most, tolerance, errors):
    """Spots `which` take turns until none moves more than `tolerance` [px]; `errors` (N, 3) as in `information`."""
    m, inverse, rhs, noise = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros(4), np.zeros(2)
    offset, gain, floor = noise_model
    for _ in range(most):
        moving = False
        for i in which:
            near = index[start[i]:start[i + 1]]
            awake = spots[i, 5] >= tolerance
            for j in near:
                awake = awake or spots[j, 5] >= tolerance
            if not awake:
                continue
            _accumulate(image, spots, i, near, table, radius, offset, gain, floor, m, rhs, noise)
            size_y, size_x = m[2, 2], m[3, 3]
            solution, inverse_y, inverse_x = _inverse_solve(m, rhs, inverse)
            amplitude = solution[0]
            dy, dx = solution[2] / amplitude, solution[3] / amplitude
            far = math.sqrt(dy * dy + dx * dx)
            inside = 0 <= spots[i, 0] < image.shape[0] and 0 <= spots[i, 1] < image.shape[1]
            if not (amplitude > 0.0 and far < np.inf and inside):           # it has no light of its own
                spots[i, 2], spots[i, 5] = 0.0, 0.0
                errors[i] = np.inf
                continue
            spots[i, 2], spots[i, 4] = amplitude, solution[1]
            if far > 1.0:
                dy, dx = dy / far, dx / far
            spots[i, 0] += dy
            spots[i, 1] += dx
            spots[i, 5] = far
            moving = moving or far >= tolerance
            vy, vx = noise[0] / size_y, noise[1] / size_x
            errors[i, 0] = math.sqrt(inverse_y * vy) / amplitude
            errors[i, 1] = math.sqrt(inverse_x * vx) / amplitude
            errors[i, 2] = math.sqrt(0.5 * (vy + vx))
        if not moving:
            return
