"""Spots that overlap: fitted together, what the fit leaves searched for missed ones, doubled ones dropped.

Spots whose neighbours are within `NEAR` widths share their light. They take turns in the fit
(`vid2dyn.tracking.gaussians`) until none moves. Where more is left than the noise explains, the brightest remainder
the size of a spot becomes a new spot and the fit goes on; a spot that loses its light to another one is dropped.
How badly spots fit that have nobody near is measured in the same frame, so that real images, which are not quite
Gaussian, do not sprout spots: a remainder must stand well above that as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.tracking import gaussians, information
from vid2dyn.tracking.gaussians import LONGEST, bell
from vid2dyn.tracking.nearby import neighbours
from vid2dyn.tracking.profiles import Profile

NEAR = 6.0
"""Distance below which spots are fitted together [widths]: alone, each would be pulled by 0.0007 w there (and by
0.01 w at 5 w: the pull is d exp(-d² / 4) widths at a distance of d widths)."""
HELD = 3.2
"""Distance below which widths are held fixed [widths]."""
COUPLED = 4.5
"""Distance below which the error of one spot is felt in the other's [widths]."""
_TURNS = 4                         # of fitting, adding and dropping
_BRIEFLY, _FINALLY = (8, 0.02), (60, 0.001)    # most rounds, and rest [widths], of a fit within a turn; of the last
_CAREFULLY = (8, 0.001)            # of the fit that measures the width in a crowd
_LEAST = 0.3                       # a spot that was added keeps at least this part of the typical brightness
_APART = 0.7                       # and this distance from the others [widths]


@dataclass
class Fitted:
    """Spots of one frame and who is near whom.

    Parameters
    ----------
    spots : (N, 7) array
        Columns as in `vid2dyn.tracking.gaussians`.
    added : (N,) bool array
        Found in what the others left.
    held : (N,) bool array
        Width held fixed although the spot has neighbours.
    start, index, nearest
        As from `vid2dyn.tracking.nearby.neighbours`.
    errors : (N, 3) array
        Standard errors (y, x) [px] and pixel noise [grey levels].
    misfit : float
        What the model leaves of a typical spot beyond noise, root mean square over its brightness.
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
    misfit: float = 0.0
    profile: Profile | None = None


def fit_all(image: np.ndarray, spots: np.ndarray, width: float, sure: bool, free: bool, bounds: np.ndarray,
            noise: tuple[float, float, float]) -> Fitted:
    """All spots of a frame, alone or together as their distances ask for.

    Parameters
    ----------
    image : (H, W) float32 array
        Bright spots [grey levels].
    spots : (N, 7) array
        Where to start.
    width : float
        Typical width [px].
    sure : bool
        Whether that is known from spots that have nobody near. If not, it is measured again where their neighbours'
        light is taken out.
    free : bool
        Whether the widths of spots with neighbours between `HELD` and `NEAR` are fitted.
    bounds : (2,) array
        Least and greatest width [px].
    noise : (offset, gain, floor)
        Variance of a pixel in terms of `image`.
    """
    near = NEAR * width
    spots[:, 5] = 1e3
    fitted = Fitted(spots, np.zeros(len(spots), bool), *_no_neighbours(len(spots)))
    for turn in range(_TURNS):
        fitted.start, fitted.index, fitted.nearest = neighbours(fitted.spots[:, 0], fitted.spots[:, 1], near)
        _fit(image, fitted, width, free, bounds, *_BRIEFLY)
        if not sure:
            width = _width_in_crowd(image, fitted, width, bounds)
        information.alone(image, fitted.spots, np.arange(len(fitted.spots)), *noise, fitted.errors)
        keep, new = _revision(image, fitted, width, last=turn == _TURNS - 1)
        if keep.all() and not len(new) and (sure or turn):
            break
        fitted = _revised(fitted, keep, new, near)
    else:
        fitted.start, fitted.index, fitted.nearest = neighbours(fitted.spots[:, 0], fitted.spots[:, 1], near)
    close = np.flatnonzero(fitted.nearest < COUPLED * width)
    if len(fitted.index) or turn:
        _fit(image, fitted, width, free, bounds, *_FINALLY)
        again = np.arange(len(fitted.spots)) if turn else np.flatnonzero(np.isfinite(fitted.nearest))
        information.alone(image, fitted.spots, again, *noise, fitted.errors)
    if not len(close):
        return fitted
    first, pairs, _ = neighbours(fitted.spots[:, 0], fitted.spots[:, 1], COUPLED * width)
    information.together(image.shape, fitted.spots, close, first, pairs, fitted.errors)
    return fitted


def _fit(image: np.ndarray, fitted: Fitted, width: float, free: bool, bounds: np.ndarray, sweeps: int,
         still: float) -> None:
    """Spots that move by more than `still` widths moved to where they fit, `sweeps` rounds of them at most."""
    spots, lone = fitted.spots, ~np.isfinite(fitted.nearest)
    rest = 0.05 * width                    # a step leaves about shift/SNR of error: a tenth of what the noise does
    gaussians.fit_alone(image, spots, np.flatnonzero(lone & (spots[:, 5] >= rest)), False, bounds, 12, rest)
    spots[lone, 5] = 0.0
    fitted.held = ~lone & ~(free & (fitted.nearest > HELD * width))
    spots[fitted.held, 3] = width
    gaussians.fit_together(image, spots, np.flatnonzero(~lone), fitted.start, fitted.index, ~fitted.held, bounds,
                           sweeps, still * width)


def _width_in_crowd(image: np.ndarray, fitted: Fitted, width: float, bounds: np.ndarray) -> float:
    """The median of the widths when all spots are fitted together with theirs free; spots go back to one width."""
    spots = fitted.spots.copy()
    everyone, all_free = np.arange(len(spots)), np.ones(len(spots), bool)
    spots[:, 5] = 1e3
    gaussians.fit_together(image, spots, everyone, fitted.start, fitted.index, all_free, bounds, _CAREFULLY[0],
                           _CAREFULLY[1] * width)
    if not len(spots):
        return width
    good = (spots[:, 2] > 0.3 * np.median(spots[:, 2])) & (spots[:, 3] > 1.01 * bounds[0])
    good &= spots[:, 3] < 0.99 * bounds[1]
    if not good.any():
        return width
    better = float(np.median(spots[good, 3]))
    if abs(better - width) > 1e-3 * width:
        fitted.spots[:, 3], fitted.spots[:, 5] = better, 1e3
    return better


def _no_neighbours(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (np.zeros(n, bool), np.zeros(n + 1, np.int64), np.empty(0, np.int64), np.full(n, np.inf),
            np.empty((n, 3)))


def _revised(fitted: Fitted, keep: np.ndarray, new: np.ndarray, near: float) -> Fitted:
    """Spots that stay and new ones; those that feel a change are awake."""
    spots = fitted.spots
    spots[:, 5] = np.where(_touched(spots, keep, new, near), 1e3, spots[:, 5])
    spots = np.concatenate([spots[keep], new])
    added = np.append(fitted.added[keep], np.ones(len(new), bool))
    return Fitted(spots, added, *_no_neighbours(len(spots)), fitted.misfit)


def _revision(image: np.ndarray, fitted: Fitted, width: float, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which spots stay, and new ones (M, 7); no new ones in the last turn."""
    spots, errors = fitted.spots, fitted.errors
    squares = spots[:, 6].copy()
    information.misfit(image, spots, np.flatnonzero(np.isfinite(fitted.nearest)), fitted.start, fitted.index, squares)
    variance = errors[:, 2] ** 2
    alive = np.isfinite(variance) & (spots[:, 2] > 0)
    peak_noise = np.where(alive, errors[:, 2], 0.0) / (np.sqrt(np.pi) * spots[:, 3])
    keep = alive & (spots[:, 2] > 3.0 * peak_noise)
    bright = alive & (spots[:, 2] > 10.0 * peak_noise)
    if not bright.any():
        return keep, np.empty((0, 7))
    typical = float(np.median(spots[bright, 2]))
    excess = np.sqrt(np.maximum(squares - np.where(alive, variance, 0.0), 0.0))
    lone = bright & ~np.isfinite(fitted.nearest)
    model = float(np.median((excess / np.where(alive, spots[:, 2], 1.0))[lone if lone.sum() >= 10 else bright]))
    fitted.misfit = model
    keep &= ~fitted.added | (spots[:, 2] > _LEAST * typical)
    keep &= ~_doubled(spots, fitted.start, fitted.index, keep, fitted.added, _APART * width)
    if last:
        return keep, np.empty((0, 7))
    pixels = (2 * gaussians.REACH * width) ** 2
    allowed = variance * (1.0 + 4.0 * np.sqrt(2.0 / pixels)) + (2.0 * model * spots[:, 2]) ** 2
    odd = np.flatnonzero(keep & (squares > np.where(alive, allowed, np.inf)))
    least = np.maximum(5.0 * peak_noise, (0.1 + 2.0 * model) * typical)
    return keep, _missed(image, spots, odd, fitted.start, fitted.index, least, width)


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


@njit(cache=True, nogil=True)
def _missed(image, spots, odd, start, index, least, width):
    """New spots (M, 7) where what is left around the spots `odd` has a peak of a spot's size above `least`."""
    found, count = np.zeros((odd.size, 7)), 0
    edge = min(int(3.5 * width + 0.5), LONGEST // 2)
    taps = np.zeros(2 * edge + 1)
    reach = min(int(2.0 * width + 0.5), edge)
    for k in range(-reach, reach + 1):
        taps[k + reach] = np.exp(-0.5 * (k / width) ** 2)
    left, half = np.zeros((2 * edge + 1, 2 * edge + 1)), np.zeros((2 * edge + 1, 2 * edge + 1))
    for i in odd:
        y0, x0 = int(np.floor(spots[i, 0] + 0.5)) - edge, int(np.floor(spots[i, 1] + 0.5)) - edge
        _remainder(image, spots, i, index[start[i]:start[i + 1]], y0, x0, left)
        best, y, x = _peak(left, half, taps, reach)
        if best < least[i]:
            continue
        y, x = y + y0, x + x0
        fresh = 0 <= y < image.shape[0] and 0 <= x < image.shape[1]
        for k in range(count):
            fresh = fresh and (found[k, 0] - y) ** 2 + (found[k, 1] - x) ** 2 > (1.5 * width) ** 2
        if fresh:
            found[count, 0], found[count, 1], found[count, 2] = y, x, best
            found[count, 3], found[count, 4], found[count, 5] = width, spots[i, 4], 1e3
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _remainder(image, spots, i, near, y0, x0, left):
    """left[a, b] = image - background of spot i - all spots around, at pixel (y0 + a, x0 + b); 0 beyond the frame."""
    n = left.shape[0]
    gy, gx = np.empty(n), np.empty(n)
    for a in range(n):
        for b in range(n):
            inside = 0 <= y0 + a < image.shape[0] and 0 <= x0 + b < image.shape[1]
            left[a, b] = image[y0 + a, x0 + b] - spots[i, 4] if inside else 0.0
    for t in range(-1, near.size):
        j = i if t < 0 else near[t]
        bell(spots[j, 0], y0, n, spots[j, 3], gy)
        bell(spots[j, 1], x0, n, spots[j, 3], gx)
        for a in range(n):
            if 0 <= y0 + a < image.shape[0]:
                v = spots[j, 2] * gy[a]
                for b in range(max(0, -x0), min(n, image.shape[1] - x0)):
                    left[a, b] -= v * gx[b]


@njit(cache=True, nogil=True)
def _peak(left, half, taps, reach):
    """Largest amplitude of a Gaussian at a pixel of `left`, least squares over its square; and the pixel."""
    n = left.shape[0]
    norm = 0.0
    for k in range(2 * reach + 1):
        norm += taps[k] ** 2
    for a in range(n):
        for b in range(reach, n - reach):
            total = 0.0
            for k in range(-reach, reach + 1):
                total += left[a, b + k] * taps[k + reach]
            half[a, b] = total
    best, y, x = -np.inf, 0, 0
    for a in range(reach, n - reach):
        for b in range(reach, n - reach):
            total = 0.0
            for k in range(-reach, reach + 1):
                total += half[a + k, b] * taps[k + reach]
            if total > best:
                best, y, x = total, a, b
    return best / (norm * norm), y, x


def _touched(spots: np.ndarray, keep: np.ndarray, new: np.ndarray, near: float) -> np.ndarray:
    """Spots with a change within `near`."""
    changed = np.concatenate([spots[~keep, :2], new[:, :2]])
    points = np.concatenate([spots[:, :2], changed])
    start, index, _ = neighbours(points[:, 0], points[:, 1], near)
    touched = np.zeros(len(points), bool)
    for k in range(len(spots), len(points)):
        touched[index[start[k]:start[k + 1]]] = True
    return touched[: len(spots)]
