"""Which shape the spots of a frame have, and the fit of those that are not Gaussian."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.columns import (
    AMPLITUDE,
    BACKGROUND,
    ERROR_COLUMNS,
    MOVE,
    POSITION,
    SPOT_COLUMNS,
    UNSETTLED,
    WIDTH,
    X,
    Y,
)
from vid2dyn.tracking.fit import profiles
from vid2dyn.tracking.fit.crowd import FittedSpots
from vid2dyn.tracking.fit.nearby import distinct, neighbours
from vid2dyn.tracking.fit.profiles import Profile

_TURNS, _MORE = 4, 10              # of measuring the profile and fitting it; where no spot is alone
_SWEEPS = 12
_FEW = 10                          # lone spots that are enough for a profile
_LEAST = 0.35                      # of the typical response to the profile: a spot


def fit_measured(image: np.ndarray, spots: np.ndarray, radius: float, noise: tuple[float, float, float],
                 search: bool, reach: float) -> FittedSpots:
    """All spots of a frame with their common profile, measured in it.

    Parameters
    ----------
    image : (H, W) float32 array
        [grey levels]
    spots : (N, 7) array
        Where to start; changed.
    radius : float
        Beyond it a spot is dark [px].
    noise : (offset, gain, floor)
        Variance of a pixel in terms of `image`.
    search : bool
        Look for spots again, with the profile, once it is known (rings: their maxima are not where they are).
    reach : float
        Distance within which two responses to the profile need a valley between them [px].
    """
    profile = None
    errors = np.full((len(spots), ERROR_COLUMNS), np.inf)
    turn, turns = 0, _TURNS
    while turn < turns:
        near = neighbours(spots[:, Y], spots[:, X], 2 * radius)
        bright = spots[:, AMPLITUDE] > 0.3 * np.median(spots[:, AMPLITUDE])
        lone = np.flatnonzero(bright & ~np.isfinite(near.nearest))
        which = lone if len(lone) >= _FEW else np.flatnonzero(bright)
        turns = _TURNS if len(lone) >= _FEW else _MORE
        better = profiles.measured(image, spots, which, near, radius, profile)
        if better is None:
            break
        profile = better
        if search and turn == 1:
            spots = _profile_maxima(image, spots, profile, reach)
            errors = np.full((len(spots), ERROR_COLUMNS), np.inf)
            near = neighbours(spots[:, Y], spots[:, X], 2 * radius)
        spots[:, MOVE] = UNSETTLED
        last = turn == turns - 1
        profiles.fit(image, spots, near, profile, noise, 5 * _SWEEPS if last else _SWEEPS, 0.002 if last else 0.02,
                     errors)
        turn += 1
    return replace(FittedSpots.unmeasured(spots), held=np.isfinite(near.nearest), near=near, errors=errors,
                   profile=profile)


def _profile_maxima(image: np.ndarray, spots: np.ndarray, profile: Profile, reach: float) -> np.ndarray:
    """(M, 7) spots where the image looks most like the profile: maxima of their correlation."""
    response = cv2.filter2D(image, cv2.CV_32F, profile.image(), borderType=cv2.BORDER_REPLICATE)
    at = np.clip(np.rint(spots[:, POSITION]).astype(int), 0, np.array(image.shape) - 1)
    typical = float(np.median(response[at[:, Y], at[:, X]]))
    top = cv2.dilate(response, np.ones((3, 3), np.uint8))
    maxima = np.argwhere((response >= top) & (response > _LEAST * typical))
    maxima = maxima[distinct(maxima, response, reach, 0.2 * typical)]
    fresh = np.zeros((len(maxima), SPOT_COLUMNS))
    fresh[:, POSITION] = maxima
    fresh[:, AMPLITUDE] = response[maxima[:, Y], maxima[:, X]] / typical * float(np.median(spots[:, AMPLITUDE]))
    fresh[:, WIDTH] = spots[0, WIDTH]
    fresh[:, BACKGROUND] = float(np.median(spots[:, BACKGROUND]))
    return fresh
