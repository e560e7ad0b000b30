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
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import median, numbers_of, quantile
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
from vid2dyn.tracking.fit.nearby import Neighbours, neighbours_within
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


class Spots(NamedTuple):
    """Spots as they come and go: what is kept of them from turn to turn.

    Parameters
    ----------
    spots, added, errors, squares
        As in `FittedSpots`.
    """

    spots: np.ndarray
    added: np.ndarray
    errors: np.ndarray
    squares: np.ndarray


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
    n, width, measured = len(spots), float(width), 0
    turns = _TURNS if width_known else _MORE
    found = Spots(spots, np.zeros(n, bool), np.full((n, ERROR_COLUMNS), np.inf), np.zeros(n))
    for turn in range(turns):
        near, fresh = _fit(image, found.spots, width)
        if not width_known and abs(len(found.spots) - measured) > _CHANGED * measured:
            measured = len(found.spots)
            width = common_width(image, found.spots, width, bounds, not turn)
            if turn:
                near, _ = _of_width(found.spots, width, NEAR * width, 0.0)
            else:                              # the first guess may have been far off
                near, _ = _fit(image, found.spots, width)
            fresh[:] = True
        information.errors_alone(image, found.spots, np.flatnonzero(fresh), noise, found.errors)
        found, settled = _revised(image, found, near, fresh, width, turn == turns - 1)
        if settled and (width_known or turn):
            break
    else:
        near, _ = _of_width(found.spots, width, NEAR * width, 0.0)
    most, rest = _FINAL_FIT
    fresh = np.zeros(len(found.spots), bool)
    fit_jointly(image, found.spots, near, COUPLED * width, _limits(near.nearest, width, rest), most, fresh)
    information.errors_alone(image, found.spots, np.flatnonzero(fresh), noise, found.errors)
    close = np.flatnonzero(near.nearest < COUPLED * width)
    if len(close):
        information.errors_together(image.shape, found.spots, close, near, COUPLED * width, found.errors)
    _no_noisier_than_seen(image, found, near, noise)
    return FittedSpots(found.spots, found.added, np.isfinite(near.nearest), near, found.errors, found.squares, fresh)


def _fit(image: np.ndarray, spots: np.ndarray, width: float) -> tuple[Neighbours, np.ndarray]:
    """Spots of that width [px] moved to about where they fit; who is near whom, and which spots took part."""
    most, rest = _COARSE_FIT
    near, limit = _of_width(spots, width, NEAR * width, rest)
    fresh = np.zeros(len(spots), bool)
    fit_jointly(image, spots, near, COUPLED * width, limit, most, fresh)
    return near, fresh


@njit(cache=True, nogil=True)
def _of_width(spots, width, reach, rest):
    """All spots get that width [px]; who is nearer than `reach` to whom, and moves [px] below which each is at rest.
    """
    y, x = np.empty(spots.shape[0]), np.empty(spots.shape[0])
    for i in range(y.size):
        y[i], x[i], spots[i, WIDTH] = spots[i, Y], spots[i, X], width
    near = neighbours_within(y, x, reach)
    return near, _limits(near.nearest, width, rest)


@njit(cache=True, nogil=True)
def _limits(nearest, width, rest):
    """Moves below which spots are at rest [px], by the distance to their neighbours; `rest` [widths] of those near."""
    limit = np.empty(nearest.size)
    for i in range(limit.size):
        limit[i] = (rest if nearest[i] < np.inf else max(rest, _REST)) * width
    return limit


def _no_noisier_than_seen(image: np.ndarray, found: Spots, near: Neighbours, noise: tuple[float, float, float]) -> None:
    """Errors scaled down where the fits leave clearly less than the noise that was measured in the frame.

    What a fit leaves bounds the noise from above. Spots narrower than a pixel are sharp enough to be taken for noise
    by a measurement that knows no spots.
    """
    part = _share_left(image, found.spots, found.errors[:, PIXEL_NOISE].copy(), near, noise)
    if part < _NOISE_SEEN:
        found.errors[:] *= math.sqrt(max(part, 1e-4))


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


@njit(cache=True, nogil=True)
def _revised(image, found, near, fresh, width, last):
    """The `Spots` that stay, and new ones where those that were fitted (`fresh`) leave too much, in the last turn none;
    and whether they are the same as before.

    Those that had a neighbour that goes are no longer at rest.
    """
    spots, added, errors, squares = found
    beside = fresh.copy()
    for i in range(fresh.size):
        if fresh[i]:
            squares[i] = spots[i, MISFIT]
            beside[i] = near.nearest[i] < np.inf
    information.misfit(image, spots, numbers_of(beside), near, squares)
    keep, allowed, least = _acceptance(spots, errors[:, PIXEL_NOISE].copy(), squares, added, near.nearest, width)
    gone = _duplicates(spots, near, keep, added, _APART * width)
    kept = 0
    for i in range(keep.size):
        keep[i] = keep[i] and not gone[i]
        kept += keep[i]
        beside[i] = keep[i] and fresh[i] and squares[i] > allowed[i] and not last
    new = find_missed(image, spots, numbers_of(beside), near, least, width)
    if kept == keep.size and new.shape[0] == 0:
        return found, True
    _unsettle_neighbours(spots, keep, near)
    return _joined(found, numbers_of(keep), new), False


@njit(cache=True, nogil=True)
def _joined(found, stay, new):
    """The `Spots` whose numbers are `stay`, then those of a table of `new` ones."""
    count = stay.size + new.shape[0]
    joined = Spots(np.empty((count, SPOT_COLUMNS)), np.empty(count, np.bool_), np.empty((count, ERROR_COLUMNS)),
                   np.empty(count))
    for k in range(count):
        old = k < stay.size
        i = stay[k] if old else k - stay.size
        for c in range(SPOT_COLUMNS):
            joined.spots[k, c] = found.spots[i, c] if old else new[i, c]
        for c in range(ERROR_COLUMNS):
            joined.errors[k, c] = found.errors[i, c] if old else np.inf
        joined.added[k] = found.added[i] if old else True
        joined.squares[k] = found.squares[i] if old else 0.0
    return joined


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
