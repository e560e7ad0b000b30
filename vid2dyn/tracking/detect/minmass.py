"""How bright a particle must be, where no limit is given.

Band-passed noise has maxima too, and they look like dim particles. How bright they get is known: a frame without
particles, with the noise measured on the movie, is made up and searched with the same settings. A particle must be
brighter than the mean of those by five standard deviations (about one false particle in a million maxima). Where
the movie's own masses show a gap above the noise (dim dirt and fringes on one side, particles on the other), the
limit lies in the middle of that gap; a gap of a factor of five may lie higher than others. In a movie that was
compressed with loss it is the valley between two heaps of masses, wherever that lies: noise was taken out of it, and
what is left in its place makes brighter maxima than noise of its strength. Last, what does not look
like the particles (edges, dirt, walls: the spot that was fitted leaves much more of the image there) is left below the
limit where that costs next to none that do.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from vid2dyn.tracking.columns import Feature
from vid2dyn.tracking.detect.factory import detector
from vid2dyn.tracking.detect.spots import SpotFitter
from vid2dyn.tracking.sensor_noise import camera_noise
from vid2dyn.tracking.settings import Track

_BLANK = 256                      # largest edge of the made-up frame [px]: some 400 maxima of noise
_NOISE_PIXELS = 40_000            # of a frame, that its noise is measured on: within 1 %
_SPARSE = 4                       # every so many pixels each way are asked for the typical grey level
_SIGMAS = 5.0
_LEAST_GAP = 1.4                  # ratio of masses that counts as a gap
_REACH = 2.5                      # a gap starts below this many times the noise limit, else it parts particles
_WIDE_GAP, _FAR_REACH = 5.0, 20.0  # the same for a gap that is beyond doubt
_WINDOW, _EMPTY, _BELOW = math.log(2.0), 0.1, 0.25    # of masses in lossy movies: see `_valley`
_ATYPICAL, _ATYPICAL_MARGIN = 4.0, 0.02      # spreads beyond the typical misfit of an atypical detection; a margin
_PRICE, _LOSS = 3.0, 0.01         # atypical ones that must go for one that is not, and how many of these may
_POPULATION = 0.25                # of the brighter ones: as many below a gap may be particles of a second kind
_FEWEST, _SMOOTH = 8, 1.6         # of them, standing alone; mean square that their own Gaussians leave, over the noise
_WORTH_SAYING = 0.1               # of those that stay: as many left out are said
_ENOUGH = 50                      # detections that show what is typical


def automatic_minmass(frames: Sequence[np.ndarray], settings: Track, seed: int = 0) -> float:
    """The `minmass` that parts particles from noise; see `choose_minmass`.

    Parameters
    ----------
    frames : sequence of (H, W) arrays
        A few frames spread over the movie.
    settings : Track
        All but `minmass` count.
    seed : int
        Of the made-up frames.

    Returns
    -------
    float
        Summed brightness of the band-passed image over a particle's mask [grey levels].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.mgrid[:96, :96]
    >>> spots = sum(100 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in [(30, 30), (64, 60)])
    >>> frame = (spots + rng.normal(20, 4, y.shape)).clip(0, 255).astype(np.uint8)
    >>> limit = automatic_minmass([frame], Track(diameter=11))
    >>> len(detector(Track(diameter=11, minmass=limit))(frame))
    2
    """
    return choose_minmass(frames, settings, seed)[0]


def choose_minmass(frames: Sequence[np.ndarray], settings: Track, seed: int = 0, *,
                   lossy: bool = False) -> tuple[float, tuple[str, ...]]:
    """`automatic_minmass`, and what a user should know about what it leaves out.

    What stands out of the noise and lies below a gap is left out as dirt or fringes, but not where it is many and looks
    like spots: that is a second kind of particles. `lossy`: the movie was compressed with loss.
    """
    everything = dataclasses.replace(settings, minmass=0.0)
    find = detector(everything)
    rng = np.random.default_rng(seed)
    plain = find if settings.compat == "trackpy" else SpotFitter(everything, noise_only=True)
    noise = np.concatenate([plain(_blank(frame, rng))[:, Feature.MASS] for frame in frames])
    if isinstance(find, SpotFitter):
        found = [find.with_misfit(frame) for frame in frames]
    else:
        found = [(table, np.zeros(len(table))) for table in map(find, frames)]
    masses = np.concatenate([table[:, Feature.MASS] for table, _ in found])
    misfit = np.concatenate([m for _, m in found])
    lowest = float(noise.mean() + _SIGMAS * noise.std()) if noise.size else 0.0
    if not masses.size:
        return lowest, ()
    limit = _in_gap(np.sort(masses), float(np.median(noise)) if noise.size else 0.0, lowest, len(frames), lossy)
    limit = _above_atypical(masses[masses > limit], misfit[masses > limit], limit)
    gone, kept = int(((masses > lowest) & (masses <= limit)).sum()), int((masses > limit).sum())
    if gone > _POPULATION * kept and isinstance(find, SpotFitter) and _like_spots(
            find, frames, [table for table, _ in found], lowest, limit):
        return lowest, (
            f"There are two kinds of particles, {gone} dim or small and {kept} brighter ones in {len(frames)} frames "
            f"looked at, parted at minmass = {limit:.4g}; both are tracked, with one spot_width. Where their images "
            "differ in size, give sizes = 'classes': each kind is then fitted with its own.",)
    if gone <= _WORTH_SAYING * kept:
        return limit, ()
    return limit, (f"{gone} of {gone + kept} spots in {len(frames)} frames looked at stand out of the noise and are "
                   "left out, "
                   "taken for dirt, fringes or edges: a gap or an odd shape parts them from the others. minmass = "
                   f"{lowest:.4g} keeps them, {limit:.4g} was chosen.",)


def _like_spots(find: SpotFitter, frames: Sequence[np.ndarray], found: Sequence[np.ndarray], low: float,
                high: float) -> bool:
    """Whether what lies between two masses and stands alone is as round and smooth as a Gaussian of its own width."""
    left: list[float] = []
    for frame, table in zip(frames, found):
        chosen = np.flatnonzero((table[:, Feature.MASS] > low) & (table[:, Feature.MASS] <= high))
        left += find.left_by_own_gaussian(frame, table, chosen)
    return len(left) >= _FEWEST and float(np.median(left)) < _SMOOTH


def _blank(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame without particles: the median grey level with the noise measured there."""
    level = float(np.median(frame[::_SPARSE, ::_SPARSE]))
    shape = tuple(min(edge, _BLANK) for edge in frame.shape)
    made = rng.normal(level, camera_noise(frame, _NOISE_PIXELS).std(level), shape)
    if np.issubdtype(frame.dtype, np.integer):
        made = np.clip(np.round(made), 0, np.iinfo(frame.dtype).max)
    return made.astype(frame.dtype)


def _in_gap(masses: np.ndarray, typical: float, limit: float, n_frames: int, lossy: bool) -> float:
    """`limit`, or the middle of the widest gap between noise and particles in the sorted `masses`."""
    if lossy and (valley := _valley(masses, n_frames)) > limit:
        return valley
    low, high = masses[:-1], masses[1:]
    rest = masses.size - 1 - np.arange(low.size)                     # detections above each gap
    reach = np.where(high > _WIDE_GAP * low, _FAR_REACH, _REACH)
    allowed = (low >= typical) & (low < reach * limit) & (high > limit) & (2 * rest >= n_frames)
    if not allowed.any() or limit <= 0:
        return limit
    ratio = np.where(allowed, high / np.maximum(low, 1e-12), 0.0)
    widest = int(ratio.argmax())
    if ratio[widest] < _LEAST_GAP:
        return limit
    return float(np.sqrt(low[widest] * high[widest]))


def _valley(masses: np.ndarray, n_frames: int) -> float:
    """Where a movie compressed with loss has next to no masses, between what coding left and the particles; else 0.

    Counted in windows of a factor of two, as a few spots may lie between. The lowest such place with a fair number of
    masses below it: two kinds of particles stay together.

    >>> rng = np.random.default_rng(0)
    >>> masses = np.sort(np.concatenate([rng.lognormal(2.0, 0.8, 500), [85.0, 170.0], rng.normal(400, 30, 100)]))
    >>> bool(80 < _valley(masses, 2) < 300)
    True
    """
    x = np.log(masses[masses > 0])
    if not x.size:
        return 0.0
    places = np.arange(x[0], x[-1], 0.05)
    low, high = np.searchsorted(x, places - 0.5 * _WINDOW), np.searchsorted(x, places + 0.5 * _WINDOW)
    inside, above = high - low, x.size - high
    fair = (2 * above >= n_frames) & (inside <= _EMPTY * above) & (low >= _BELOW * above)
    if not fair.any():
        return 0.0
    best = np.flatnonzero(fair & (inside == inside[fair].min()))
    run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]     # the first of several such places
    return float(np.exp(places[run].mean()))


def _above_atypical(masses: np.ndarray, misfit: np.ndarray, limit: float) -> float:
    """`limit`, or higher where that drops detections that do not look like the bright half, and hardly any others.

    >>> rng = np.random.default_rng(0)
    >>> particles, wall = rng.normal(1000, 100, 500), rng.uniform(100, 500, 40)
    >>> misfit = np.concatenate([rng.normal(0.1, 0.01, 500), np.full(40, 0.3)])
    >>> bool(400 < _above_atypical(np.concatenate([particles, wall]), misfit, 0.0) < 700)
    True
    """
    if masses.size < _ENOUGH:
        return limit
    bright = misfit[masses >= np.median(masses)]
    typical = float(np.median(bright))
    atypical = misfit > typical + _ATYPICAL * 1.4826 * float(np.median(np.abs(bright - typical))) + _ATYPICAL_MARGIN
    order = np.argsort(masses)
    gone, lost = np.cumsum(atypical[order]), np.cumsum(~atypical[order])
    gain = np.where(lost <= _LOSS * lost[-1], gone - _PRICE * lost, -np.inf)[:-1]
    k = int(gain.argmax())
    if gain[k] < _LOSS * masses.size:
        return limit
    return float(np.sqrt(masses[order[k]] * masses[order[k + 1]]))
