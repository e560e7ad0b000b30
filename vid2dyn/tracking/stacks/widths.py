"""How wide the spots of a recording are, within the planes and along the depth: measured on those that stand alone."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.tracking.stacks.gaussians import solve, window
from vid2dyn.tracking.stacks.maxima import filter_for, maxima

_BRIGHTEST = 300                  # maxima that are looked at
_AHEAD = 10.0                     # standard deviations of the filtered noise by which they stand out
_APART = 7.0                      # widths without a neighbour
_BOX = 3.0                        # widths around the centre that are fitted
_FEWEST = 3
_PER_DIAMETER = 5.5               # widths in the diameter that a user would give
_NARROWEST, _WIDEST = 0.4, 30.0


def measured_widths(stack: np.ndarray, noise_model: tuple[float, float, float], diameter: int,
                    full: float) -> np.ndarray:
    """Lateral [px] and axial width [planes] of the spots that stand alone, (spots, 2).

    Seven parameters of each are fitted: place, brightness, background and the two widths. Where no spot stands alone,
    the brightest are taken as they are.

    Parameters
    ----------
    stack : (Z, H, W) array
    noise_model : (offset, gain, floor)
        Variance of a voxel: max(offset + gain · level, floor).
    diameter : int
        About the size of an image within a plane [px].
    full : float
        Grey level from which on a voxel is saturated.
    """
    width = diameter / _PER_DIAMETER
    taps = filter_for(width, 0.5, len(stack))
    # the depth of the images is unknown yet: hardly smoothed along it, background from the plane
    found = maxima(stack, taps.lateral, taps.axial, taps.box, taps.box_axial, taps.noise, noise_model, _AHEAD)
    if not len(found):
        return np.empty((0, 2))
    found = found[np.argsort(found[:, 4] - found[:, 3], kind="stable")[:_BRIGHTEST]]
    deep = float(np.median([_half_width(stack, place) for place in found]))
    pair = np.array([width, min(max(deep, 0.5), len(stack) / 4)])
    kept = np.empty((0, 2))
    for _ in range(3):                                    # boxes follow the widths
        scaled = found[:, :3] / (pair[0], pair[0], pair[1])
        near = cKDTree(scaled)
        alone = np.array([len(near.query_ball_point(place, _APART)) == 1 for place in scaled])
        chosen = found[alone] if alone.sum() >= _FEWEST else found
        fits = np.array([_free_fit(stack, place, pair, noise_model, full) for place in chosen])
        good = np.isfinite(fits).all(axis=1)
        kept = fits[good]
        if len(kept) < _FEWEST:
            return kept
        pair = np.median(kept, axis=0)
    return kept


def _half_width(stack: np.ndarray, place: np.ndarray) -> float:
    """Standard deviation of a Gaussian as deep as the image at a maximum: from where it falls to half [planes]."""
    y, x, z = (int(v) for v in place[:3])
    rows = slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2)
    line = stack[:, rows[0], rows[1]].mean(axis=(1, 2), dtype=float)
    ground = float(np.percentile(line, 20))
    half = ground + 0.5 * (line[z] - ground)
    below = line < half
    up = int(np.argmax(below[z:])) if below[z:].any() else len(line) - z
    down = int(np.argmax(below[z::-1])) if below[z::-1].any() else z + 1
    return min(up, down) / math.sqrt(2 * math.log(2))


def _free_fit(stack: np.ndarray, place: np.ndarray, pair: np.ndarray, noise_model: tuple[float, float, float],
              full: float) -> np.ndarray:
    return _fit(stack, place, float(pair[0]), float(pair[1]), noise_model, full)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(stack, place, w, u, noise_model, full):
    """Widths (2,) of one spot by Levenberg-Marquardt with the model of `gaussians`; NaN where it fails."""
    depth, height, width = stack.shape
    offset, gain, floor = noise_model
    z0, nz = window(place[2], u, depth, _BOX)
    y0, ny = window(place[0], w, height, _BOX)
    x0, nx = window(place[1], w, width, _BOX)
    theta = np.array([place[0], place[1], place[2], max(place[3] - place[4], 1e-6), place[4], w, u])
    out = np.full(2, np.nan)
    if nz < 3 or ny < 5 or nx < 5:
        return out
    py, px, pz = np.empty((3, ny)), np.empty((3, nx)), np.empty((3, nz))
    normal, pull, column = np.empty((7, 7)), np.empty(7), np.empty(7)
    damping, cost, best, step = 1e-2, 0.0, np.inf, np.zeros(7)
    held = np.empty((7, 7))
    held_pull = np.empty(7)
    for turn in range(60):
        trial = theta + step
        bad = not (trial[3] > 0 and _NARROWEST < trial[5] < 3 * w and 0.3 < trial[6] < 4 * u
                   and abs(trial[0] - place[0]) < 2 * w and abs(trial[1] - place[1]) < 2 * w
                   and abs(trial[2] - place[2]) < 2 * u)
        cost = np.inf
        if not bad:
            _profile(trial[0], y0, ny, trial[5], py)
            _profile(trial[1], x0, nx, trial[5], px)
            for c in range(nz):
                d = z0 + c - trial[2]
                pz[0, c] = math.exp(-0.5 * d * d / trial[6] ** 2)
                pz[1, c] = pz[0, c] * d / trial[6] ** 2
                pz[2, c] = pz[1, c] * d / trial[6]
            normal[:, :] = 0.0
            pull[:] = 0.0
            cost = 0.0
            amplitude = trial[3]
            for c in range(nz):
                for a in range(ny):
                    for b in range(nx):
                        grey = float(stack[z0 + c, y0 + a, x0 + b])
                        if grey >= full:
                            continue
                        shape = pz[0, c] * py[0, a] * px[0, b]
                        model = trial[4] + amplitude * shape
                        weight = 1.0 / max(offset + gain * model, floor)
                        column[0] = amplitude * pz[0, c] * py[1, a] * px[0, b]
                        column[1] = amplitude * pz[0, c] * py[0, a] * px[1, b]
                        column[2] = amplitude * pz[1, c] * py[0, a] * px[0, b]
                        column[3] = shape
                        column[4] = 1.0
                        column[5] = amplitude * pz[0, c] * (py[2, a] * px[0, b] + py[0, a] * px[2, b])
                        column[6] = amplitude * pz[2, c] * py[0, a] * px[0, b]
                        left = grey - model
                        # the logarithm keeps the least sum from where the variance is merely large
                        cost += left * left * weight - math.log(weight)
                        for i in range(7):
                            pull[i] += column[i] * left * weight
                            for j in range(i + 1):
                                normal[i, j] += column[i] * column[j] * weight
        if cost < best:
            settled = best - cost < 1e-4
            theta, best, damping = trial, cost, damping * 0.3
            copy_rows(normal, held)
            for i in range(7):
                held_pull[i] = pull[i]
            if settled:
                out[0], out[1] = theta[5], theta[6]
                return out
        else:
            damping *= 5.0
            if damping > 1e6:
                if best < np.inf and turn > 20:
                    out[0], out[1] = theta[5], theta[6]
                return out
        for i in range(7):
            for j in range(i + 1):
                normal[i, j] = held[i, j]
            normal[i, i] *= 1.0 + damping
        for i in range(7):
            step[i] = held_pull[i]
        if not solve(normal, step, 7):
            return out
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _profile(centre, first, size, width, out):
    """Lateral profile, its derivatives by the centre and by the width, (3, size)."""
    scale, factor = 1.0 / (math.sqrt(2.0) * width), width * math.sqrt(0.5 * math.pi)
    for m in range(size):
        low, high = (first + m - 0.5 - centre) * scale, (first + m + 0.5 - centre) * scale
        below, above = math.exp(-low * low), math.exp(-high * high)
        out[0, m] = factor * (math.erf(high) - math.erf(low))
        out[1, m] = below - above
        out[2, m] = out[0, m] / width - math.sqrt(2.0) * (high * above - low * below)
