"""Spots that overlap: fitted together, what the fit leaves searched for missed ones, doubled ones dropped.

Spots whose neighbours are within `NEAR` widths share their light and are fitted together
(`vid2dyn.tracking.fit.joint`). Where more is left than the noise explains, the brightest remainder the size of a spot
becomes a new spot and the fit goes on for those that feel it; a spot that loses its light to another one is dropped.
How badly spots fit that have nobody near is measured in the same frame, so that real images, which are not quite
Gaussian, do not sprout spots: a remainder must stand well above that as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.tracking.fit import information
from vid2dyn.tracking.fit.common_width import common_width
from vid2dyn.tracking.fit.gaussians import REACH
from vid2dyn.tracking.fit.joint import COUPLED, NEAR, fit_jointly
from vid2dyn.tracking.fit.missed import missed
from vid2dyn.tracking.fit.nearby import neighbours
from vid2dyn.tracking.fit.profiles import Profile

_TURNS, _MORE = 3, 8               # of fitting, adding and dropping, at most; where no spot stands alone
_BRIEFLY, _FINALLY = (3, 0.2), (8, 0.005)      # most passes, and rest [widths], of a fit within a turn; of the last
_REST = 0.05                       # of a spot that stands alone [widths]: a step leaves about shift/SNR of error
_CHANGED = 0.02                    # part of the spots that is new or gone when the width is measured again
_DOUBT = 4.0                       # standard deviations by which a mean square may exceed the noise
_LEAST = 0.3                       # a spot that was added keeps at least this part of the typical brightness
_APART = 0.7                       # and this distance from the others [widths]


@dataclass
class Fitted:
    """Spots of one frame and who is near whom.

    Parameters
    ----------
    spots : (N, 7) array
        Columns as in `vid2dyn.tracking.fit.gaussians`.
    added : (N,) bool array
        Found in what the others left.
    held : (N,) bool array
        Width held fixed although the spot has neighbours.
    start, index, nearest
        As from `vid2dyn.tracking.fit.nearby.neighbours`.
    errors : (N, 3) array
        Standard errors (y, x) [px] and pixel noise [grey levels].
    squares : (N,) array
        Mean squared difference of image and model around each spot [grey levels²].
    fresh : (N,) bool array
        Fitted since errors and squares were measured.
    profile : Profile, optional
        The model, where it is not a Gaussian but measured in the frame.
    """

    spots: np.ndarray
    added: np.ndarray
    held: np.ndarray
    start: np.ndarray
    index: np.ndarray
    nearest: np.ndarray
    errors: np.ndarray
    squares: np.ndarray
    fresh: np.ndarray
    profile: Profile | None = None

    @classmethod
    def unmeasured(cls, spots: np.ndarray) -> Fitted:
        """Spots of which nothing else is known."""
        n = len(spots)
        return cls(spots, np.zeros(n, bool), np.zeros(n, bool), np.zeros(n + 1, np.int64), np.empty(0, np.int64),
                   np.full(n, np.inf), np.full((n, 3), np.inf), np.zeros(n), np.zeros(n, bool))

    def misfit(self) -> np.ndarray:
        """(N,) what the model leaves around each spot beyond noise, root mean square over its brightness.

        0 where noise explains it, and where the model is a measured profile.
        """
        if self.profile is not None or not len(self.spots):
            return np.zeros(len(self.spots))
        pixels = (2 * REACH * self.spots[:, 3]) ** 2
        noise = np.where(np.isfinite(self.errors[:, 2]), self.errors[:, 2], 0.0) ** 2
        excess = self.squares - noise * (1.0 + _DOUBT * np.sqrt(2.0 / pixels))
        return np.sqrt(np.maximum(excess, 0.0)) / np.maximum(self.spots[:, 2], 1e-300)


def fit_all(image: np.ndarray, spots: np.ndarray, width: float, sure: bool, bounds: np.ndarray,
            noise: tuple[float, float, float]) -> Fitted:
    """All spots of a frame, alone or together as their distances ask for.

    Parameters
    ----------
    image : (H, W) array of uint8, uint16 or float32
        Bright spots [grey levels].
    spots : (N, 7) array
        Where to start.
    width : float
        Typical width [px].
    sure : bool
        Whether that is known from spots that have nobody near. If not, it is measured again where their neighbours'
        light is taken out.
    bounds : (2,) array
        Least and greatest width [px].
    noise : (offset, gain, floor)
        Variance of a pixel in terms of `image`.
    """
    spots[:, 5] = 1e3
    fitted, measured = Fitted.unmeasured(spots), 0
    turns = _TURNS if sure else _MORE
    for turn in range(turns):
        _meet(fitted, width)
        _fit(image, fitted, width, *_BRIEFLY)
        if not sure and abs(len(fitted.spots) - measured) > _CHANGED * measured:
            measured = len(fitted.spots)
            width = common_width(image, fitted.spots, width, bounds, not turn)
            fitted.fresh[:] = True
            _meet(fitted, width)
            if not turn:                       # the first guess may have been far off
                _fit(image, fitted, width, *_BRIEFLY)
        _measure(image, fitted, noise)
        keep, new = _revision(image, fitted, width, last=turn == turns - 1)
        if keep.all() and not len(new) and (sure or turn):
            break
        _revise(fitted, keep, new)
    else:
        _meet(fitted, width)
    fitted.fresh[:] = False
    _fit(image, fitted, width, *_FINALLY)
    information.alone(image, fitted.spots, np.flatnonzero(fitted.fresh), *noise, fitted.errors)
    close = np.flatnonzero(fitted.nearest < COUPLED * width)
    if len(close):
        information.together(image.shape, fitted.spots, close, fitted.start, fitted.index, COUPLED * width,
                             fitted.errors)
    return fitted


def _meet(fitted: Fitted, width: float) -> None:
    """Who is near whom, all of that width."""
    spots = fitted.spots
    fitted.start, fitted.index, fitted.nearest = neighbours(spots[:, 0], spots[:, 1], NEAR * width)
    fitted.held = np.isfinite(fitted.nearest)
    spots[:, 3] = width


def _fit(image: np.ndarray, fitted: Fitted, width: float, most: int, still: float) -> None:
    """Spots that moved by more than `still` widths moved to where they fit, in `most` passes at most."""
    fit_jointly(image, fitted.spots, fitted.start, fitted.index, COUPLED * width,
                np.where(fitted.held, still, max(still, _REST)) * width, most, fitted.fresh)


def _measure(image: np.ndarray, fitted: Fitted, noise: tuple[float, float, float]) -> None:
    """Errors, as if spots were alone, and squares of those that were fitted."""
    fresh = fitted.fresh
    information.alone(image, fitted.spots, np.flatnonzero(fresh), *noise, fitted.errors)
    fitted.squares[fresh] = fitted.spots[fresh, 6]
    information.misfit(image, fitted.spots, np.flatnonzero(fresh & np.isfinite(fitted.nearest)), fitted.start,
                       fitted.index, fitted.squares)


def _revision(image: np.ndarray, fitted: Fitted, width: float, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which spots stay, and new ones (M, 7); no new ones in the last turn."""
    spots = fitted.spots
    keep, allowed, least = _judged(spots, fitted.errors[:, 2], fitted.squares, fitted.added, fitted.nearest, width)
    keep &= ~_doubled(spots, fitted.start, fitted.index, keep, fitted.added, _APART * width)
    if last:
        return keep, np.empty((0, 7))
    odd = np.flatnonzero(keep & fitted.fresh & (fitted.squares > allowed))
    return keep, missed(image, spots, odd, fitted.start, fitted.index, least, width)


def _revise(fitted: Fitted, keep: np.ndarray, new: np.ndarray) -> None:
    """Leave the spots that stay, append new ones; those that had a neighbour that goes are awake (a new one wakes)."""
    _wake(fitted.spots, keep, fitted.start, fitted.index)
    fresh = Fitted.unmeasured(new)
    fitted.spots = np.concatenate([fitted.spots[keep], new])
    fitted.added = np.append(fitted.added[keep], np.ones(len(new), bool))
    fitted.errors = np.concatenate([fitted.errors[keep], fresh.errors])
    fitted.squares = np.append(fitted.squares[keep], fresh.squares)
    fitted.fresh = np.zeros(len(fitted.spots), bool)


@njit(cache=True, nogil=True)
def _wake(spots, keep, start, index):
    """The neighbours of the spots that go are no longer at rest."""
    for k in range(keep.size):
        if not keep[k]:
            for t in range(start[k], start[k + 1]):
                spots[index[t], 5] = 1e3


@njit(cache=True, nogil=True, error_model="numpy")
def _judged(spots, noise, squares, added, nearest, width):
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
        amplitude, floor = spots[i, 2], noise[i] / (math.sqrt(math.pi) * spots[i, 3])
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
    typical, misfit = np.median(light[:count]), misfit[:count]
    few = lone < 0.2 * count
    model = np.percentile(misfit, 25.0) if few else np.median(misfit[alone[:count]])
    pixels = (2 * REACH * width) ** 2
    for i in range(n):
        if keep[i]:
            keep[i] = not added[i] or spots[i, 2] > _LEAST * typical
            floor = noise[i] / (math.sqrt(math.pi) * spots[i, 3])
            allowed[i] = noise[i] ** 2 * (1.0 + _DOUBT * math.sqrt(2.0 / pixels)) + (2.0 * model * spots[i, 2]) ** 2
            least[i] = max(5.0 * floor, (0.1 + 2.0 * model) * typical)
    return keep, allowed, least


@njit(cache=True, nogil=True)
def _doubled(spots, start, index, keep, added, apart):
    """Of two spots nearer than `apart` the one that was added, else the dimmer one."""
    gone = np.zeros(spots.shape[0], np.bool_)
    for i in range(spots.shape[0]):
        for t in range(start[i], start[i + 1]):
            j = index[t]
            if j > i and keep[i] and keep[j] and not gone[i] and not gone[j]:
                dy, dx = spots[i, 0] - spots[j, 0], spots[i, 1] - spots[j, 1]
                if dy * dy + dx * dx < apart * apart:
                    first = added[i] if added[i] != added[j] else spots[i, 2] < spots[j, 2]
                    gone[i if first else j] = True
    return gone
