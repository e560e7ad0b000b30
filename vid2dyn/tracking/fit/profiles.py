"""Spots of any round shape (discs, rings): their common profile measured in the frame and fitted; compiled.

A spot is `A p(r) + b` within the radius R of its centre, the light of its neighbours taken out. The profile p is the
mean of all spots against the distance from their centres, each less its background and its neighbours, over its A;
it vanishes at R and is scaled to a largest absolute value of 1. Measuring and fitting take turns, as in crowded-field
photometry (Stetson, Publ. Astron. Soc. Pac. 99, 191 (1987)). Errors are those of the four unknowns of each spot
with the noise of its pixels; what its neighbours' errors add is left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.interpolate import make_smoothing_spline

from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, MOVE, PIXEL_NOISE, X, Y
from vid2dyn.tracking.fit.gaussians import P_AMPLITUDE, P_BACKGROUND, P_X, P_Y
from vid2dyn.tracking.fit.nearby import Neighbours, neighbours_of

FINE = 16
"""Entries of a profile table per pixel."""
BRIGHTNESS, SLOPE = 0, 1
"""Columns of a profile table: brightness over that of the brightest point, and its derivative in r [1/px]."""
_BINS = 4                                                   # bins of the measured profile per pixel


class Profile(NamedTuple):
    """The common profile of the spots of a frame.

    Parameters
    ----------
    table : (K, 2) array
        Brightness and slope at r = 0, 1/16, ..., `radius` [px].
    radius : float
        R, where the profile vanishes [px].
    """

    table: np.ndarray
    radius: float

    def image(self) -> np.ndarray:
        """(2 n + 1, 2 n + 1) float32: the profile on pixels, centred, its mean taken out, squares sum to 1."""
        n = math.ceil(self.radius)
        axis = np.arange(-n, n + 1)
        r = np.hypot(axis[:, None], axis[None, :])
        inside = r < self.radius
        light = np.where(inside, np.interp(r * FINE, np.arange(len(self.table)), self.table[:, BRIGHTNESS]), 0.0)
        light = np.where(inside, light - light[inside].mean(), 0.0)
        return (light / np.sqrt((light**2).sum())).astype(np.float32)


def measured(image: np.ndarray, spots: np.ndarray, which: np.ndarray, near: Neighbours, radius: float,
             known: Profile | None) -> Profile | None:
    """The mean profile of spots `which`, or None where they are too few.

    Parameters
    ----------
    image : (H, W) float32 array
    spots : (N, 7) array
        Table of spots, see `vid2dyn.tracking.columns`.
    near : Neighbours
        Neighbours within two radii.
    radius : float
        R [px].
    known : Profile, optional
        With what neighbours are taken out; without it they stay.
    """
    bins = int(radius * _BINS) + 1
    old = Profile(np.zeros((2, 2)) if known is None else known.table, radius)
    weights, distances, values = _collect(image, spots, which, near, old, known is not None, bins)
    good = weights > 4
    if good.sum() < 6:
        return None
    weight, r, light = weights[good], distances[good] / weights[good], values[good] / weights[good]
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
    return table[k, BRIGHTNESS] + (t - k) * (table[k + 1, BRIGHTNESS] - table[k, BRIGHTNESS])


@njit(cache=True, nogil=True)
def _light_of_others(spots, others, table, y, x):
    """Light of spots `others` at pixel (y, x)."""
    total = 0.0
    for j in others:
        r = math.sqrt((y - spots[j, Y]) ** 2 + (x - spots[j, X]) ** 2)
        total += spots[j, AMPLITUDE] * _light(table, r)
    return total


@njit(cache=True, nogil=True)
def _collect(image, spots, which, near, profile, clean, bins):
    """(3, bins): number of pixels, sum of r, sum of (image - background - neighbours) / A.

    Neighbours are taken out with `profile`, if `clean`.
    """
    table, radius = profile
    sums = np.zeros((3, bins))
    n = int(radius) + 1
    for i in which:
        amplitude = spots[i, AMPLITUDE]
        if not amplitude > 0.0:
            continue
        others = neighbours_of(near, i) if clean else near.indices[:0]
        cy, cx = math.floor(spots[i, Y] + 0.5), math.floor(spots[i, X] + 0.5)
        for y in range(max(cy - n, 0), min(cy + n + 1, image.shape[0])):
            for x in range(max(cx - n, 0), min(cx + n + 1, image.shape[1])):
                r = math.sqrt((y - spots[i, Y]) ** 2 + (x - spots[i, X]) ** 2)
                k = int(r * _BINS)
                if r < radius and k < bins:
                    above = image[y, x] - spots[i, BACKGROUND] - _light_of_others(spots, others, table, y, x)
                    sums[0, k] += 1.0
                    sums[1, k] += r
                    sums[2, k] += above / amplitude
    return sums


@njit(cache=True, nogil=True)
def unexplained(image, spots, which, near, profile, noise_model):
    """(left, light): what the model leaves beyond noise of the pixels within `radius` of spots `which`, and what there
    is above their backgrounds [grey levels², summed]."""
    offset, gain, floor = noise_model
    table, radius = profile
    n = int(radius) + 1
    left = light = 0.0
    for i in which:
        others = neighbours_of(near, i)
        cy, cx = math.floor(spots[i, Y] + 0.5), math.floor(spots[i, X] + 0.5)
        for y in range(max(cy - n, 0), min(cy + n + 1, image.shape[0])):
            for x in range(max(cx - n, 0), min(cx + n + 1, image.shape[1])):
                r = math.sqrt((y - spots[i, Y]) ** 2 + (x - spots[i, X]) ** 2)
                if r < radius:
                    above = image[y, x] - spots[i, BACKGROUND] - _light_of_others(spots, others, table, y, x)
                    rest = above - spots[i, AMPLITUDE] * _light(table, r)
                    left += rest * rest - max(offset + gain * image[y, x], floor)
                    light += above * above
    return left, light


class NormalEquations(NamedTuple):
    """Normal equations of one spot, for the unknowns of `gaussians` without the width.

    Parameters
    ----------
    matrix : (4, 4) array
        Sums of products of the columns p, 1, -dp/dy, -dp/dx; its upper triangle.
    right : (4,) array
        Sums of the image times these columns.
    noise : (2,) array
        Sums of the squared derivatives along y and x times the variance of the pixels.
    """

    matrix: np.ndarray
    right: np.ndarray
    noise: np.ndarray


@njit(cache=True, nogil=True)
def _accumulate(image, spots, i, others, profile, noise_model, equations):
    """`equations`, a `NormalEquations`, of spot i filled."""
    table, radius = profile
    offset, gain, floor = noise_model
    m, rhs, noise = equations
    m[:] = 0.0
    rhs[:] = 0.0
    noise[:] = 0.0
    n = int(radius) + 1
    column = np.zeros(4)
    cy, cx = math.floor(spots[i, Y] + 0.5), math.floor(spots[i, X] + 0.5)
    for y in range(max(cy - n, 0), min(cy + n + 1, image.shape[0])):
        for x in range(max(cx - n, 0), min(cx + n + 1, image.shape[1])):
            dy, dx = y - spots[i, Y], x - spots[i, X]
            r = math.sqrt(dy * dy + dx * dx)
            if r >= radius:
                continue
            t = r * FINE
            k = min(int(t), table.shape[0] - 2)
            column[P_AMPLITUDE] = table[k, BRIGHTNESS] + (t - k) * (table[k + 1, BRIGHTNESS] - table[k, BRIGHTNESS])
            slope = table[k, SLOPE] + (t - k) * (table[k + 1, SLOPE] - table[k, SLOPE])
            column[P_BACKGROUND] = 1.0
            column[P_Y] = -slope * dy / r if r > 0 else 0.0
            column[P_X] = -slope * dx / r if r > 0 else 0.0
            value = image[y, x] - _light_of_others(spots, others, table, y, x)
            variance = max(offset + gain * image[y, x], floor)
            noise[Y] += column[P_Y] ** 2 * variance
            noise[X] += column[P_X] ** 2 * variance
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
    return solution, inverse[P_Y, P_Y], inverse[P_X, P_X]


@njit(cache=True, nogil=True, error_model="numpy")
def fit(image, spots, near, profile, noise_model, most, tolerance, errors):
    """All spots take turns until none moves more than `tolerance` [px], `most` rounds at most; `errors` are filled."""
    equations, inverse = NormalEquations(np.zeros((4, 4)), np.zeros(4), np.zeros(2)), np.zeros((4, 4))
    m, rhs, noise = equations
    for _ in range(most):
        moving = False
        for i in range(spots.shape[0]):
            others = neighbours_of(near, i)
            unsettled = spots[i, MOVE] >= tolerance
            for j in others:
                unsettled = unsettled or spots[j, MOVE] >= tolerance
            if not unsettled:
                continue
            _accumulate(image, spots, i, others, profile, noise_model, equations)
            size_y, size_x = m[P_Y, P_Y], m[P_X, P_X]
            solution, inverse_y, inverse_x = _inverse_solve(m, rhs, inverse)
            amplitude = solution[P_AMPLITUDE]
            dy, dx = solution[P_Y] / amplitude, solution[P_X] / amplitude
            far = math.sqrt(dy * dy + dx * dx)
            inside = 0 <= spots[i, Y] < image.shape[0] and 0 <= spots[i, X] < image.shape[1]
            if not (amplitude > 0.0 and far < np.inf and inside):           # it has no light of its own
                spots[i, AMPLITUDE], spots[i, MOVE] = 0.0, 0.0
                errors[i] = np.inf
                continue
            spots[i, AMPLITUDE], spots[i, BACKGROUND] = amplitude, solution[P_BACKGROUND]
            if far > 1.0:
                dy, dx = dy / far, dx / far
            spots[i, Y] += dy
            spots[i, X] += dx
            spots[i, MOVE] = far
            moving = moving or far >= tolerance
            vy, vx = noise[Y] / size_y, noise[X] / size_x
            errors[i, Y] = math.sqrt(inverse_y * vy) / amplitude
            errors[i, X] = math.sqrt(inverse_x * vx) / amplitude
            errors[i, PIXEL_NOISE] = math.sqrt(0.5 * (vy + vx))
        if not moving:
            return
