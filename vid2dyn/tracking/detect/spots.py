"""The detector: band-pass, maxima, then every spot fitted to the raw pixels, alone or together with its neighbours."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import (
    AMPLITUDE,
    BACKGROUND,
    COLUMNS,
    ECC,
    MASS,
    MISFIT,
    PIXEL_NOISE,
    POSITION,
    SIZE,
    SPOT_COLUMNS,
    WIDTH,
    Feature,
    Flag,
    X,
    Y,
)
from vid2dyn.tracking.detect.appearance import measure_appearance
from vid2dyn.tracking.detect.bad_pixels import bad_pixels, repaired
from vid2dyn.tracking.detect.bandpass import band_pass, noise_gain
from vid2dyn.tracking.detect.base import Detector
from vid2dyn.tracking.detect.illumination import flattened, removed_at, tilt
from vid2dyn.tracking.detect.shapes import fit_measured
from vid2dyn.tracking.fit import gaussians
from vid2dyn.tracking.fit.crowd import FittedSpots, fit_all
from vid2dyn.tracking.fit.nearby import distinct, lone_beside_bright, neighbours
from vid2dyn.tracking.sensor_noise import CameraNoise, camera_noise
from vid2dyn.tracking.settings import Track

_SIGNIFICANT = 3.5                 # standard deviations of the filtered noise that a maximum must exceed
_VALLEY = 5.0                      # and the depth of the valley between two of them
_NOISE_PIXELS = 30_000             # pixels that the noise of a frame is measured on
_SPARSE = 8                        # every so many pixels each way are asked for the background
_WIDTHS_FROM = 80                  # spots that the typical width is measured on
_CLEARLY = 8.0                     # standard deviations of the noise that show the shape of a spot
_IN_CROWDS = 10                    # spots fitted together, to speak of a crowd
_REPAIRS = 4                       # looks at a frame for pixels that are bright all by themselves, and one more
_ALONE, _TOGETHER, _WIDTH_HELD, _ADDED, _SATURATED = map(int, (
    Flag.ALONE, Flag.TOGETHER, Flag.WIDTH_HELD, Flag.ADDED, Flag.SATURATED))     # compiled code takes plain numbers
_START = 4.6                       # diameters of a mask per width of a spot, where nothing better is known


class Maxima(NamedTuple):
    """Where spots may be in a frame, and what that was found with.

    Parameters
    ----------
    image : (H, W) array
        The frame with bright particles, bad pixels repaired, uneven light taken out if it does harm [grey levels].
    filtered : (H, W) float32 array
        That band-passed.
    threshold : float
        That maxima of it exceed.
    every : (K, 2) int array
        All maxima above the threshold [px].
    maxima : (M, 2) int array
        Those where spots may be.
    noise : CameraNoise
        Of the pixels of `image`.
    level : float
        Of the background [grey levels].
    tilted : (6,) array, optional
        Unevenness that was taken out.
    bad : (B, 2) int array
        Pixels that are bright all by themselves and got the median of those around them.
    """

    image: np.ndarray
    filtered: np.ndarray
    threshold: float
    every: np.ndarray
    maxima: np.ndarray
    noise: CameraNoise
    level: float
    tilted: np.ndarray | None
    bad: np.ndarray


class Doubtful(NamedTuple):
    """What the rules of the search may get wrong in a frame.

    Parameters
    ----------
    shadowed : int
        Spots that stand alone beside one four times as bright, which are taken for its ring.
    spots : int
        All spots.
    widths : (K,) array
        Of clear spots without neighbours, each fitted by itself [px].
    bad_pixels : (B, 2) int array
        See `Maxima`.
    """

    shadowed: int
    spots: int
    widths: np.ndarray
    bad_pixels: np.ndarray


class Left(NamedTuple):
    """What Gaussians leave of the images of a frame, mean square over that of the noise, the median.

    Parameters
    ----------
    in_crowds, alone : float
        Of spots that were fitted together, and of those that stand alone; 0 where these are few, and where the model is
        a measured profile.
    eccentricity : float
        Of images that stand alone, the median; 0 where these are few.
    """

    in_crowds: float
    alone: float
    eccentricity: float


class SpotFitter(Detector):
    """Least squares on the raw pixels: at the Cramér-Rao bound for Gaussian spots, alone and in crowds.

    Maxima of the band-passed image are the starting points. A spot without neighbours within six widths is fitted on
    its own, others together, with missed ones added (`vid2dyn.tracking.fit.crowd`). The typical width of the spots is
    measured in the frame unless `settings.spot_width` says it. Mass, size, ecc and signal are trackpy's, of the
    band-passed image in floating point.

    Parameters
    ----------
    settings : Track
        `percentile` is not used; a `separation` of None drops no spot, a `minmass` of None counts as 0.
    noise_only : bool
        The frames hold noise and nothing else: no profile is measured there, which would take long and mean nothing.

    Examples
    --------
    >>> y, x = np.mgrid[:64, :64]
    >>> light = 10 + 100 * np.exp(-((y - 30.0) ** 2 + (x - 25.3) ** 2) / 8)
    >>> noise = np.random.default_rng(0).normal(0, 2, y.shape)
    >>> found = SpotFitter(Track(diameter=11, minmass=300))((light + noise).round().astype(np.uint8))
    >>> table = dict(zip(COLUMNS, found.T))
    >>> table["y"].round(1).tolist(), table["x"].round(1).tolist(), bool(0.01 < table["y_std"][0] < 0.03)
    ([30.0], [25.3], True)
    """

    def __init__(self, settings: Track, noise_only: bool = False) -> None:
        self.settings = settings
        self.shape = "gaussian" if noise_only else settings.spot
        rings = settings.spot == "ring"                    # filled by the band-pass, their centres are maxima
        self.noise_size = max(settings.noise_size, settings.diameter / 4) if rings else settings.noise_size
        self.boxcar = max(settings.boxcar, 2 * settings.diameter + 1) if rings else settings.boxcar
        self.filter_gain = noise_gain(self.noise_size, self.boxcar)
        self.bounds = np.array([0.6, settings.diameter / 2.0])             # of a spot's width

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self.with_misfit(frame)[0]

    def with_misfit(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features of a frame and their misfit (`FittedSpots.misfit`), (N,)."""
        fitted, _, image, filtered = self.fitted(frame)
        if fitted is None:
            return np.empty((0, len(COLUMNS))), np.empty(0)
        table, keep = self._table(image, filtered, fitted, self.settings.threshold_for(frame), ceiling_of(frame))
        return table[keep], fitted.misfit()[keep]

    def fitted(self, frame: np.ndarray,
               ) -> tuple[FittedSpots | None, tuple[float, float, float], np.ndarray, np.ndarray]:
        """All spots of a frame, those included that the settings drop; the noise of pixels (offset, gain, floor); the
        frame with bright particles, and that band-passed.

        The images hold until the same thread searches another frame.
        """
        look = self._maxima(frame)
        image, filtered, maxima, noise, tilted = look.image, look.filtered, look.maxima, look.noise, look.tilted
        model = (noise.offset, noise.gain, noise.floor)
        fitted = self._fitted(image, filtered, maxima, model, look.level) if len(maxima) else None
        if fitted is not None and tilted is not None and noise.gain:
            _as_bright_as_recorded(fitted, noise.gain, removed_at(tilted, image.shape, *fitted.spots[:, POSITION].T))
        return fitted, model, image, filtered

    def width(self, frame: np.ndarray) -> tuple[float, bool] | None:
        """The typical width of the spots of a frame [px], and whether enough of them stand alone to be sure.

        None where there are no spots.
        """
        look = self._maxima(frame)
        image, filtered, maxima, noise = look.image, look.filtered, look.maxima, look.noise
        if not len(maxima):
            return None
        width, known = self._width(image, filtered, maxima)
        if known:
            return width, True
        fitted = self._fitted(image, filtered, maxima, (noise.offset, noise.gain, noise.floor), look.level)
        return (float(fitted.spots[0, WIDTH]), False) if len(fitted.spots) else None

    def _maxima(self, frame: np.ndarray) -> Maxima:
        """Where spots may be."""
        frame = frame if frame.dtype.isnative else frame.astype(frame.dtype.newbyteorder("="))
        image, noise = with_bright_particles(frame, self.settings.invert)
        sparse = np.ascontiguousarray(image[::_SPARSE, ::_SPARSE])
        level = _median(sparse.ravel())
        deviation = noise.std(level)
        tilted = self._unevenness(image, sparse, deviation)
        image = image if tilted is None else flattened(image, tilted)
        filtered = _buffer("filtered", frame.shape, np.dtype(np.float32))
        filtered_deviation = deviation * self.filter_gain
        threshold = max(self.settings.threshold_for(frame), _SIGNIFICANT * filtered_deviation)
        every, repairs = np.empty((0, 2), np.int64), [np.empty((0, 2), np.int64)]
        for turn in range(_REPAIRS):
            _, every = band_pass(image, self.noise_size, self.boxcar, threshold, filtered)
            bad = every[bad_pixels(image, every, deviation)] if turn < _REPAIRS - 1 else every[:0]
            if not len(bad):
                break
            image = repaired(image, bad)
            repairs.append(bad)
        kept = every[distinct(every, filtered, float(self.settings.diameter), _VALLEY * filtered_deviation)]
        return Maxima(image, filtered, threshold, every, kept, noise, level, tilted, np.concatenate(repairs))

    def left_by_own_gaussian(self, frame: np.ndarray, table: np.ndarray, chosen: np.ndarray) -> list[float]:
        """What Gaussians of their own widths leave of spots that stand alone, mean square over the noise.

        Parameters
        ----------
        table : (N, 10) array
            All detections of the frame, see `Feature`.
        chosen : (K,) int array
            Rows that are asked; only those clearly above the noise and without a neighbour answer.
        """
        look = self._maxima(frame)
        image, noise = look.image, look.noise
        near = neighbours(table[:, Y].copy(), table[:, X].copy(), float(self.settings.diameter)).nearest
        chosen = chosen[~np.isfinite(near[chosen])][:_WIDTHS_FROM]
        if not len(chosen):
            return []
        spots = np.zeros((len(chosen), SPOT_COLUMNS))
        spots[:, POSITION] = table[chosen, POSITION]
        spots[:, WIDTH] = self.settings.diameter / _START
        gaussians.fit_alone(image, spots, np.arange(len(spots)), True, self.bounds, 25, 0.01)
        level = noise.variance(spots[:, BACKGROUND] + 0.25 * np.maximum(spots[:, AMPLITUDE], 0.0))
        clear = (spots[:, AMPLITUDE] > _CLEARLY * np.sqrt(level)) & (spots[:, WIDTH] < 0.99 * self.bounds[1])
        return (spots[clear, MISFIT] / level[clear]).tolist()

    def left(self, frame: np.ndarray) -> Left:
        """What Gaussians leave of the images of a frame."""
        fitted, _, image, filtered = self.fitted(frame)
        if fitted is None or fitted.profile is not None:
            return Left(0.0, 0.0, 0.0)
        noise = fitted.errors[:, PIXEL_NOISE]
        known, touching = np.isfinite(noise) & (noise > 0), np.isfinite(fitted.near.nearest)

        def typical(rows: np.ndarray) -> float:
            enough = rows.sum() >= max(_IN_CROWDS, 0.5 * len(noise))
            return float(np.median(fitted.squares[rows] / noise[rows] ** 2)) if enough else 0.0

        alone = known & ~touching
        if not (left := typical(alone)):
            return Left(typical(known & touching), 0.0, 0.0)
        seen = measure_appearance(image, filtered, fitted.spots[alone], self.settings.diameter // 2,
                                  self.settings.threshold_for(frame))
        return Left(typical(known & touching), left, float(np.median(seen[:, ECC])))

    def doubtful(self, frame: np.ndarray, apart: float = 1.5) -> Doubtful:
        """What the rules of the search may get wrong in a frame; widths are measured of clear spots without
        neighbours within `apart` diameters."""
        image, filtered, threshold, every, maxima, noise, level, _, bad = self._maxima(frame)
        if not len(maxima):
            return Doubtful(0, 0, np.empty(0), bad)
        shadowed = lone_beside_bright(every, filtered, float(self.settings.diameter), 2.0 * threshold)
        reach = apart * self.settings.diameter
        near = neighbours(maxima[:, Y].astype(float), maxima[:, X].astype(float), reach).nearest
        clear = (filtered[maxima[:, Y], maxima[:, X]] > 4.0 * threshold) & ~np.isfinite(near)
        chosen = np.flatnonzero(clear)
        chosen = chosen[:: max(1, len(chosen) // _WIDTHS_FROM)]
        spots = _initial_spots(image, filtered, maxima[chosen], self.settings.diameter / _START, 1.0)
        gaussians.fit_alone(image, spots, np.arange(len(spots)), True, self.bounds, 15, 0.02)
        good = (spots[:, AMPLITUDE] > _CLEARLY * noise.std(level)) & (spots[:, WIDTH] > 1.01 * self.bounds[0])
        widths = spots[good & (spots[:, WIDTH] < 0.99 * self.bounds[1]), WIDTH]
        return Doubtful(shadowed, len(maxima), widths, bad)

    def _unevenness(self, image: np.ndarray, sparse: np.ndarray, noise: float) -> np.ndarray | None:
        """Of the background, where it moves fitted Gaussians; a measured profile takes it up. `sparse`: some pixels of
        the image on a grid, for a first look."""
        if self.settings.spot in ("disc", "ring"):
            return None
        return tilt(image, noise, self.settings.spot_width or self.settings.diameter / _START, sparse)

    def _fitted(self, image: np.ndarray, filtered: np.ndarray, maxima: np.ndarray,
                noise: tuple[float, float, float], level: float) -> FittedSpots:
        """Spots fitted with the shape that the settings ask for, or that the frame does."""
        settings, radius = self.settings, self.settings.diameter / 2 + 1.0
        if self.shape == "ring":
            spots = _initial_spots(image, filtered, maxima, self.noise_size, 0.0)
            spots[:, BACKGROUND] = level
            return fit_measured(image, spots, radius, noise, True, 0.5 * settings.diameter)
        width, known = self._width(image, filtered, maxima)
        spots = _initial_spots(image, filtered, maxima, width, settings.noise_size)
        if settings.minmass:                               # what cannot reach it, by far, need not be fitted
            spots = spots[spots[:, AMPLITUDE] * (2.0 * np.pi * width**2) > 0.5 * settings.minmass]
        fitted = fit_all(image, spots, width, known, self.bounds, noise)
        if self.shape == "disc" and len(fitted.spots):
            return fit_measured(image, fitted.spots, radius, noise, False, 0.5 * settings.diameter)
        return fitted

    def _width(self, image: np.ndarray, filtered: np.ndarray, maxima: np.ndarray) -> tuple[float, bool]:
        """The typical width of a spot [px], and whether crowds had no part in it."""
        if self.settings.spot_width is not None:
            return self.settings.spot_width, True
        return typical_width(image, filtered, maxima, self.settings.diameter, self.bounds)

    def _table(self, image: np.ndarray, filtered: np.ndarray, fitted: FittedSpots, threshold: float,
               ceiling: float) -> tuple[np.ndarray, np.ndarray]:
        """(N, 10) features of all spots, in reading order, those that were added last; and which pass the settings."""
        settings, spots = self.settings, fitted.spots
        radius = settings.diameter // 2
        seen = measure_appearance(image, filtered, spots, radius, threshold)
        limits = (-np.inf if settings.minmass is None else float(settings.minmass),
                  np.inf if settings.max_size is None else float(settings.max_size),
                  np.inf if settings.max_ecc is None else float(settings.max_ecc))
        table, keep = _features(image, spots, fitted.errors, fitted.near.nearest, fitted.held, fitted.added, seen,
                                limits, radius, ceiling)
        if settings.separation:
            keep[keep] = well_separated(spots[keep, POSITION], seen[keep, MASS], settings.separation)
        if fitted.profile is not None:
            table[:, Feature.FLAG] += Flag.PROFILE
        return table, keep


@njit(cache=True, nogil=True)
def _features(image, spots, errors, nearest, held, added, seen, limits, radius, ceiling):
    """(N, 10) features of spots and their appearances `seen`, and which pass: whole within the frame, brighter than the
    first of `limits` (mass; their own light half of that, and not only their neighbours'), smaller and rounder than the
    others (size, ecc). `ceiling`: the grey level at which the camera saturates."""
    least, largest, longest = limits
    n, height, width = spots.shape[0], image.shape[0], image.shape[1]
    table, keep = np.empty((n, 10)), np.empty(n, np.bool_)
    for i in range(n):
        y, x, amplitude = spots[i, Y], spots[i, X], spots[i, AMPLITUDE]
        keep[i] = (errors[i, Y] < np.inf and amplitude > 0.0 and radius <= y <= height - 1 - radius
                   and radius <= x <= width - 1 - radius and seen[i, MASS] > least
                   and 2.0 * np.pi * amplitude * (spots[i, WIDTH] * spots[i, WIDTH]) > 0.5 * least
                   and seen[i, SIZE] < largest and seen[i, ECC] < longest)
        flag = _TOGETHER if nearest[i] < np.inf else _ALONE
        if held[i]:
            flag |= _WIDTH_HELD
        if added[i]:
            flag |= _ADDED
        row, column = min(max(np.rint(y), 0.0), height - 1.0), min(max(np.rint(x), 0.0), width - 1.0)
        if image[int(row), int(column)] >= ceiling:
            flag |= _SATURATED
        table[i, 0], table[i, 1], table[i, 9] = y, x, flag
        for axis in range(2):
            table[i, 2 + axis] = radius if errors[i, axis] > radius else errors[i, axis]
        for k in range(5):
            table[i, 4 + k] = seen[i, k]
    return table, keep


_kept = threading.local()


def _buffer(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An image of that shape, the same at every call from the same thread: fresh memory costs page faults."""
    held: np.ndarray | None = getattr(_kept, name, None)
    if held is None or held.shape != shape or held.dtype != dtype:
        held = np.empty(shape, dtype)
        setattr(_kept, name, held)
    return held


def with_bright_particles(frame: np.ndarray, invert: bool | None) -> tuple[np.ndarray, CameraNoise]:
    """The frame with bright particles [grey levels], and the noise of its pixels in those terms.

    8 and 16 bit stay what they are, all else becomes float32: a quarter of the memory to go through again and again.
    """
    noise = camera_noise(frame, _NOISE_PIXELS)
    small = frame.dtype in (np.uint8, np.uint16)
    dtype = frame.dtype if small else np.dtype(np.float32)
    if not invert:
        if frame.dtype == dtype and frame.flags.c_contiguous and frame.flags.writeable:
            return np.asarray(frame), noise
        image = _buffer("image", frame.shape, dtype)
        np.copyto(image, frame, casting="unsafe")
        return image, noise
    image = _buffer("image", frame.shape, dtype)
    top = dtype.type(np.iinfo(frame.dtype).max if np.issubdtype(frame.dtype, np.integer) else 1.0)
    np.subtract(top, frame, out=image, dtype=dtype, casting="unsafe")
    return image, CameraNoise(noise.offset + noise.gain * float(top), -noise.gain, noise.floor)


def _as_bright_as_recorded(fitted: FittedSpots, gain: float, removed: np.ndarray) -> None:
    """Errors for the light that was recorded, of which `removed` was taken out: it makes noise too."""
    noise = fitted.errors[:, PIXEL_NOISE]
    known = np.isfinite(noise) & (noise > 0)
    share = np.where(known, 1.0 + gain * removed / np.where(known, noise, 1.0) ** 2, 1.0)
    fitted.errors *= np.sqrt(np.maximum(share, 0.05))[:, None]


def _median(values: np.ndarray) -> float:
    """The upper median; a sixth of the time of numpy's."""
    return float(np.partition(values, values.size // 2)[values.size // 2])


def ceiling_of(frame: np.ndarray) -> float:
    """Grey level of the bright image at which the camera saturates; inf for float images."""
    if not np.issubdtype(frame.dtype, np.integer):
        return float("inf")
    return float(np.iinfo(frame.dtype).max)


def saturated(image: np.ndarray, spots: np.ndarray, ceiling: float) -> np.ndarray:
    """(N,) bool: the pixel of the middle of a spot is at the ceiling."""
    y = np.clip(np.rint(spots[:, Y]), 0, image.shape[0] - 1).astype(np.int64)
    x = np.clip(np.rint(spots[:, X]), 0, image.shape[1] - 1).astype(np.int64)
    return image[y, x] >= ceiling


@njit(cache=True, nogil=True)
def _initial_spots(image, filtered, maxima, width, noise_size):
    """(M, 7) spots to begin with: the vertex of a parabola through each maximum and its neighbours."""
    spots = np.zeros((maxima.shape[0], SPOT_COLUMNS))
    above = round(2 * width)
    for i in range(maxima.shape[0]):
        y, x = maxima[i, Y], maxima[i, X]
        peak = float(filtered[y, x])
        for axis in range(2):
            dy, dx = 1 - axis, axis
            low, high = float(filtered[y - dy, x - dx]), float(filtered[y + dy, x + dx])
            shift = 0.5 * (low - high) / min(low + high - 2.0 * peak, -1e-12)
            spots[i, axis] = maxima[i, axis] + min(max(shift, -0.5), 0.5)
        spots[i, AMPLITUDE] = peak * (1.0 + (noise_size / width) ** 2)
        spots[i, WIDTH] = width
        spots[i, BACKGROUND] = image[max(y - above, 0), x]
    return spots


def typical_width(image: np.ndarray, filtered: np.ndarray, maxima: np.ndarray, diameter: int,
                  bounds: np.ndarray) -> tuple[float, bool]:
    """Median width of fitted Gaussians [px], of bright maxima that stand alone; and True if there were any.

    Falls back on diameter / 4.6 where nothing can be fitted.
    """
    height = filtered[maxima[:, Y], maxima[:, X]]
    nearest = neighbours(maxima[:, Y].astype(float), maxima[:, X].astype(float), 1.5 * diameter).nearest
    bright = height >= 0.5 * np.partition(height, int(0.9 * (len(height) - 1)))[int(0.9 * (len(height) - 1))]
    alone = bright & ~np.isfinite(nearest)
    enough = alone.sum() >= min(10, len(maxima))
    chosen = np.flatnonzero(alone if enough else bright)
    chosen = chosen[:: max(1, len(chosen) // _WIDTHS_FROM)]
    start = diameter / _START
    spots = _initial_spots(image, filtered, maxima[chosen], start, 1.0)
    gaussians.fit_alone(image, spots, np.arange(len(spots)), True, bounds, 15, 0.02)
    good = (spots[:, AMPLITUDE] > 0) & (spots[:, WIDTH] > 1.01 * bounds[0]) & (spots[:, WIDTH] < 0.99 * bounds[1])
    return (float(np.median(spots[good, WIDTH])) if good.any() else start), bool(enough)


def well_separated(positions: np.ndarray, mass: np.ndarray, separation: float) -> np.ndarray:
    """True for positions that have no brighter one within `separation` [px]."""
    near = neighbours(positions[:, Y], positions[:, X], separation)
    owner, index = np.repeat(np.arange(len(mass)), np.diff(near.start)), near.indices
    keep = np.ones(len(mass), bool)
    keep[owner[(mass[index] > mass[owner]) | ((mass[index] == mass[owner]) & (index < owner))]] = False
    return keep
