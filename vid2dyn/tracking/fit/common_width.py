"""The width of the spots of a crowd, where no spot stands alone.

Widths that are free one by one are a start, but run away in a packing, where a wider spot and a brighter background
look alike, and a part of the packing says little. One width for all is well known: what the fit leaves of the image
has a clear minimum.
"""

from __future__ import annotations

import math

import numpy as np

from vid2dyn.tracking.columns import AMPLITUDE, MOVE, UNSETTLED, WIDTH, X, Y
from vid2dyn.tracking.fit import gaussians, information
from vid2dyn.tracking.fit.joint import COUPLED, NEAR, fit_jointly
from vid2dyn.tracking.fit.nearby import neighbours

_COARSE, _FINE = 0.04, 0.01         # ratios of the widths tried, less 1
_COMPARED_FIT = (10, 0.02)            # most passes, and rest [widths], of the fits that are compared
_FREE_WIDTH_FIT = (8, 0.02)              # of the one with free widths
_FARTHEST = 0.3                    # from the width that it began with [widths]


def common_width(image: np.ndarray, spots: np.ndarray, width: float, bounds: np.ndarray, first: bool) -> float:
    """The common width that leaves least of the image; spots get it.

    Parameters
    ----------
    image : (H, W) array of uint8, uint16 or float32
        Bright spots [grey levels].
    spots : (N, 7) array
        Table of spots, see `vid2dyn.tracking.columns`; width and move are changed.
    width : float
        Where to begin [px].
    bounds : (2,) array
        Least and greatest width [px].
    first : bool
        Whether `width` may be far off.
    """
    if not len(spots):
        return width
    better = width
    if first:
        better = _least(image, spots, _free_width(image, spots, width, bounds), bounds, _COARSE)
    better = _least(image, spots, better, bounds, _FINE)
    if abs(better - width) > 1e-3 * width:
        spots[:, WIDTH], spots[:, MOVE] = better, UNSETTLED
    return better


def _least(image: np.ndarray, spots: np.ndarray, begin: float, bounds: np.ndarray, step: float) -> float:
    """The vertex of a parabola through the least median misfits; widths tried are `step` (ratio less 1) apart."""
    misfits: dict[int, float] = {}

    def misfit(k: int) -> float:
        if k not in misfits:
            misfits[k] = _misfit_at(image, spots, begin * (1.0 + step) ** k)
        return misfits[k]

    low, high = (math.log(bound / begin) / math.log(1.0 + step) for bound in bounds)
    up = 1 if misfit(1) < misfit(0) else -1
    k = 0
    while low < k + up < high and abs(k * step) < _FARTHEST and misfit(k + up) < misfit(k):
        k += up
    below, here, above = misfit(k - 1), misfit(k), misfit(k + 1)
    bend = below - 2 * here + above
    return begin * (1.0 + step) ** (k + (min(max(0.5 * (below - above) / bend, -0.5), 0.5) if bend > 0 else 0.0))


def _free_width(image: np.ndarray, spots: np.ndarray, width: float, bounds: np.ndarray) -> float:
    """The median of the widths when all spots are fitted together with theirs free."""
    spots = spots.copy()
    spots[:, MOVE] = UNSETTLED
    near = neighbours(spots[:, Y], spots[:, X], NEAR * width)
    gaussians.fit_together(image, spots, np.arange(len(spots)), near, np.ones(len(spots), bool), bounds,
                           _FREE_WIDTH_FIT[0], _FREE_WIDTH_FIT[1] * width)
    good = (spots[:, AMPLITUDE] > 0.3 * np.median(spots[:, AMPLITUDE])) & (spots[:, WIDTH] > 1.01 * bounds[0])
    good &= spots[:, WIDTH] < 0.99 * bounds[1]
    return float(np.median(spots[good, WIDTH])) if good.any() else width


def _misfit_at(image: np.ndarray, spots: np.ndarray, width: float) -> float:
    """Median of the mean squared remainder of spots when all are fitted with that width [grey levels²]."""
    spots = spots.copy()
    spots[:, WIDTH], spots[:, MOVE] = width, UNSETTLED
    near = neighbours(spots[:, Y], spots[:, X], NEAR * width)
    fit_jointly(image, spots, near, COUPLED * width, np.full(len(spots), _COMPARED_FIT[1] * width), _COMPARED_FIT[0],
                np.zeros(len(spots), bool))
    out = np.zeros(len(spots))
    information.misfit(image, spots, np.arange(len(spots)), near, out)
    return float(np.median(out))
