"""Spots that overlap: fitted together, what the fit leaves searched for missed ones, doubled ones dropped.

Spots whose neighbours are within `NEAR` widths share their light and are fitted together
(`vid2dyn.tracking.fit.joint`). Where more is left than the noise explains, the brightest remainder the size of a spot
becomes a new spot and the fit goes on for its neighbours; a spot that loses its light to another one is dropped.
How badly isolated spots fit is measured in the same frame, so that real images, which are not quite
Gaussian, do not sprout spots: a remainder must stand well above that as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import median, quantile
from vid2dyn.tracking.columns import (
    AMPLITUDE,
    BACKGROUND,
    ERROR_COLUMNS,
    MISFIT,
    MOVE,
    PIXEL_NOISE,
    SPOT_COLUMNS,
    UNSETTLED,
    WIDTH,
    X,
    Y,
)
from vid2dyn.tracking.fit import information
from vid2dyn.tracking.fit.common_width import common_width
from vid2dyn.tracking.fit.gaussians import REACH
from vid2dyn.tracking.fit.joint import COUPLED, NEAR, fit_jointly
from vid2dyn.tracking.fit.missed import find_missed
from vid2dyn.tracking.fit.nearby import Neighbours, neighbours
from vid2dyn.tracking.fit.profiles import Profile

_TURNS, _MORE = 3, 8               # of fitting, adding and dropping, at most; where no spot stands alone
_COARSE_FIT, _FINAL_FIT = (3, 0.2), (8, 0.005)   # most passes, and rest [widths], of a fit within a turn; of the last
_REST = 0.05                       # of a spot that stands alone [widths]: a step leaves about shift/SNR of error
_CHANGED = 0.02                    # part of the spots that is new or gone when the width is measured again
_DOUBT = 4.0                       # standard deviations by which a mean square may exceed the noise
_LEAST = 0.3                       # a spot that was added keeps at least this part of the typical brightness
_MEAN_LIGHT = 2 * math.pi * 0.976 / (2 * REACH) ** 2         # of a Gaussian over its fitted square, per amplitude
_ASKED = 24                        # of the clear spots, for what they leave
_ENOUGH, _NOISE_SEEN = 5, 0.7      # clear spots, and the part of the measured noise that they leave, to doubt that
_APART = 0.7                       # and this distance from the others [widths]


@dataclass
class FittedSpots:
    """Spots of one frame and who is near whom.

    Parameters
    ----------
    spots : (N, 7) array
        Table of spots, see `vid2dyn.tracking.columns`.
    added : (N,) bool array
        Found in what the others left.
    held : (N,) bool array
        Width held fixed although the spot has neighbours.
    near : Neighbours
        Who is near whom.
    errors : (N, 3) array
        Table of errors: standard errors of y and x [px], pixel noise [grey levels].
    squares : (N,) array
        Mean squared difference of image and model around each spot [grey levels²].
    fresh : (N,) bool array
        FittedSpots since errors and squares were measured.
    profile : Profile, optional
        The model, where it is not a Gaussian but measured in the frame.
    """

    spots: np.ndarray
    added: np.ndarray
    held: np.ndarray
    near: Neighbours
    errors: np.ndarray
    squares: np.ndarray
    fresh: np.ndarray
    profile: Profile | None = None

    @classmethod
    def unmeasured(cls, spots: np.ndarray) -> FittedSpots:
        """Spots of which nothing else is known."""
        n = len(spots)
        none = Neighbours(np.zeros(n + 1, np.int64), np.empty(0, np.int64), np.full(n, np.inf))
        return cls(spots, np.zeros(n, bool), np.zeros(n, bool), none, np.full((n, ERROR_COLUMNS), np.inf),
                   np.zeros(n), np.zeros(n, bool))

    def misfit(self) -> np.ndarray:
        """(N,) what the model leaves around each spot beyond noise, root mean square over its brightness.

        0 where noise explains it, and where the model is a measured profile.
        """
        if self.profile is not None or not len(self.spots):
            return np.zeros(len(self.spots))
        pixels = (2 * REACH * self.spots[:, WIDTH]) ** 2
        noise = np.where(np.isfinite(self.errors[:, PIXEL_NOISE]), self.errors[:, PIXEL_NOISE], 0.0) ** 2
        excess = self.squares - noise * (1.0 + _DOUBT * np.sqrt(2.0 / pixels))
        return np.sqrt(np.maximum(excess, 0.0)) / np.maximum(self.spots[:, AMPLITUDE], 1e-300)


def fit_all(image: np.ndarray, spots: np.ndarray, width: float, width_known: bool, bounds: np.ndarray,
            noise: tuple[float, float, float]) -> FittedSpots:
    """All spots of a frame, alone or together as their distances ask for.

    Parameters
    ----------
    image : (H, W) array of uint8, uint16 or float32
        Bright spots [grey levels].
    spots : (N, 7) array
        Where to start.
    width : float
        Typical width [px].
    width_known : bool
        Whether that is known from isolated spots. If not, it is measured again where their neighbours'
        light is taken out.
    bounds : (2,) array
        Least and greatest width [px].
    noise : (offset, gain, floor)
        Variance of a pixel in terms of `image`.
    """
    spots[:, MOVE] = UNSETTLED
    fitted, measured = FittedSpots.unmeasured(spots), 0
    turns = _TURNS if width_known else _MORE
    for turn in range(turns):
        _find_neighbours(fitted, width)
        _fit(image, fitted, width, *_COARSE_FIT)
        if not width_known and abs(len(fitted.spots) - measured) > _CHANGED * measured:
            measured = len(fitted.spots)
            width = common_width(image, fitted.spots, width, bounds, not turn)
            fitted.fresh[:] = True
            _find_neighbours(fitted, width)
            if not turn:                       # the first guess may have been far off
                _fit(image, fitted, width, *_COARSE_FIT)
        _measure(image, fitted, noise)
        keep, new = _revision(image, fitted, width, last=turn == turns - 1)
        if keep.all() and not len(new) and (width_known or turn):
            break
        _revise(fitted, keep, new)
    else:
        _find_neighbours(fitted, width)
    fitted.fresh[:] = False
    _fit(image, fitted, width, *_FINAL_FIT)
    information.errors_alone(image, fitted.spots, np.flatnonzero(fitted.fresh), noise, fitted.errors)
    close = np.flatnonzero(fitted.near.nearest < COUPLED * width)
    if len(close):
        information.errors_together(image.shape, fitted.spots, close, fitted.near, COUPLED * width, fitted.errors)
    _no_noisier_than_seen(image, fitted, noise)
    return fitted


def _no_noisier_than_seen(image: np.ndarray, fitted: FittedSpots, noise: tuple[float, float, float]) -> None:
    """Errors scaled down where the fits leave clearly less than the noise that was measured in the frame.

    What a fit leaves bounds the noise from above. Spots narrower than a pixel are sharp enough to be taken for noise
    by a measurement that knows no spots.
    """
    part = _share_left(image, fitted.spots, fitted.errors[:, PIXEL_NOISE].copy(), fitted.near, noise)
    if part < _NOISE_SEEN:
        fitted.errors *= math.sqrt(max(part, 1e-4))


@njit(cache=True, nogil=True)
def _share_left(image, spots, pixel_noise, near, noise):
    """What fits of clear spots leave over the noise that was measured, the median of some of them; one where too few
    tell."""
    clear, count = np.empty(spots.shape[0], np.int64), 0
    for i in range(spots.shape[0]):
        seen = pixel_noise[i]
        if 0.0 < seen < np.inf and spots[i, AMPLITUDE] > 10.0 * seen / (math.sqrt(math.pi) * spots[i, WIDTH]):
            clear[count] = i
            count += 1
    if count < _ENOUGH:
        return 1.0
    clear = clear[:count:max(1, count // _ASKED)].copy()
    squares = np.zeros(spots.shape[0])
    information.misfit(image, spots, clear, near, squares)
    offset, gain, floor = noise
    part = np.empty(clear.size)
    for k in range(clear.size):
        level = spots[clear[k], BACKGROUND] + _MEAN_LIGHT * spots[clear[k], AMPLITUDE]
        part[k] = squares[clear[k]] / max(offset + gain * level, floor)
    return median(part)


def _find_neighbours(fitted: FittedSpots, width: float) -> None:
    """Who is near whom; all spots get that width [px]."""
    spots = fitted.spots
    fitted.near = neighbours(spots[:, Y], spots[:, X], NEAR * width)
    fitted.held = np.isfinite(fitted.near.nearest)
    spots[:, WIDTH] = width


def _fit(image: np.ndarray, fitted: FittedSpots, width: float, most: int, rest: float) -> None:
    """Spots that moved by more than `rest` widths moved to where they fit, in `most` passes at most."""
    fit_jointly(image, fitted.spots, fitted.near, COUPLED * width,
                np.where(fitted.held, rest, max(rest, _REST)) * width, most, fitted.fresh)


def _measure(image: np.ndarray, fitted: FittedSpots, noise: tuple[float, float, float]) -> None:
    """Errors, as if spots were alone, and squares of those that were fitted."""
    fresh = fitted.fresh
    information.errors_alone(image, fitted.spots, np.flatnonzero(fresh), noise, fitted.errors)
    fitted.squares[fresh] = fitted.spots[fresh, MISFIT]
    information.misfit(image, fitted.spots, np.flatnonzero(fresh & np.isfinite(fitted.near.nearest)),
                       fitted.near, fitted.squares)


def _revision(image: np.ndarray, fitted: FittedSpots, width: float, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which spots stay, and new ones (M, 7); no new ones in the last turn."""
    spots = fitted.spots
    keep, allowed, least = _acceptance(spots, fitted.errors[:, PIXEL_NOISE].copy(), fitted.squares, fitted.added,
                                       fitted.near.nearest, width)
    keep &= ~_duplicates(spots, fitted.near, keep, fitted.added, _APART * width)
    if last:
        return keep, np.empty((0, SPOT_COLUMNS))
    badly_fitted = np.flatnonzero(keep & fitted.fresh & (fitted.squares > allowed))
    return keep, find_missed(image, spots, badly_fitted, fitted.near, least, width)


def _revise(fitted: FittedSpots, keep: np.ndarray, new: np.ndarray) -> None:
    """Leave the spots that stay, append new ones; those that had a neighbour that goes are fitted again."""
    _unsettle_neighbours(fitted.spots, keep, fitted.near)
    fresh = FittedSpots.unmeasured(new)
    fitted.spots = np.concatenate([fitted.spots[keep], new])
    fitted.added = np.append(fitted.added[keep], np.ones(len(new), bool))
    fitted.errors = np.concatenate([fitted.errors[keep], fresh.errors])
    fitted.squares = np.append(fitted.squares[keep], fresh.squares)
    fitted.fresh = np.zeros(len(fitted.spots), bool)


@njit(cache=True, nogil=True)
def _unsettle_neighbours(spots, keep, near):
    """The neighbours of the spots that go are no longer at rest."""
    for k in range(keep.size):
        if not keep[k]:
            for t in range(near.start[k], near.start[k + 1]):
                spots[near.indices[t], MOVE] = UNSETTLED


@njit(cache=True, nogil=True, error_model="numpy")
def _acceptance(spots, noise, squares, added, nearest, width):
    """Whether each spot stays; the mean square that is allowed around it; and the least brightness of one beside it.

    `noise` is that of the pixels around each spot. What the model leaves of a typical spot beyond noise, root mean
    square over its brightness, is measured on bright spots that stand alone. In a crowd that is half found nearly every
    spot fits badly; there the better quarter of all sets the measure, or nothing would ever be found missing.
    """
    n = spots.shape[0]
    keep, allowed, least = np.zeros(n, np.bool_), np.full(n, np.inf), np.full(n, np.inf)
    light, misfit, alone = np.empty(n), np.empty(n), np.zeros(n, np.bool_)
    count = lone = 0
    for i in range(n):
        amplitude, floor = spots[i, AMPLITUDE], noise[i] / (math.sqrt(math.pi) * spots[i, WIDTH])
        if not (noise[i] < np.inf and amplitude > 0.0):
            continue
        keep[i] = amplitude > 3.0 * floor
        if amplitude > 10.0 * floor:
            light[count], alone[count] = amplitude, not nearest[i] < np.inf
            misfit[count] = math.sqrt(max(squares[i] - noise[i] ** 2, 0.0)) / amplitude
            lone += alone[count]
            count += 1
    if count == 0:
        return keep, allowed, least
    typical = median(light[:count])
    if lone < 0.2 * count:
        model = quantile(misfit[:count], 0.25)
    else:
        lone = 0
        for i in range(count):
            if alone[i]:
                misfit[lone] = misfit[i]
                lone += 1
        model = median(misfit[:lone])
    pixels = (2 * REACH * width) ** 2
    for i in range(n):
        if keep[i]:
            keep[i] = not added[i] or spots[i, AMPLITUDE] > _LEAST * typical
            floor = noise[i] / (math.sqrt(math.pi) * spots[i, WIDTH])
            allowed[i] = (noise[i] ** 2 * (1.0 + _DOUBT * math.sqrt(2.0 / pixels))
                          + (2.0 * model * spots[i, AMPLITUDE]) ** 2)
            least[i] = max(5.0 * floor, (0.1 + 2.0 * model) * typical)
    return keep, allowed, least


@njit(cache=True, nogil=True)
def _duplicates(spots, near, keep, added, apart):
    """Of two spots nearer than `apart` the one that was added, else the dimmer one."""
    gone = np.zeros(spots.shape[0], np.bool_)
    for i in range(spots.shape[0]):
        for t in range(near.start[i], near.start[i + 1]):
            j = near.indices[t]
            if j > i and keep[i] and keep[j] and not gone[i] and not gone[j]:
                dy, dx = spots[i, Y] - spots[j, Y], spots[i, X] - spots[j, X]
                if dy * dy + dx * dx < apart * apart:
                    first = added[i] if added[i] != added[j] else spots[i, AMPLITUDE] < spots[j, AMPLITUDE]
                    gone[i if first else j] = True
    return gone
