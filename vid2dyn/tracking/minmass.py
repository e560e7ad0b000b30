"""How bright a particle must be, when nobody said.

Band-passed noise has maxima too, and they look like dim particles. How bright they get is known: a frame without
particles, with the noise measured on the movie, is made up and searched with the same settings. A particle must be
brighter than the mean of those by five standard deviations (about one false particle in a million maxima). Where
the movie's own masses show a gap above the noise (dim dirt and fringes on one side, particles on the other), the
limit lies in the middle of that gap; a gap of a factor of five may lie higher than others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vid2dyn.tracking.detectors import detector
from vid2dyn.tracking.noise import camera_noise
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.spots import SpotFitter

_BLANK = 512                      # largest edge of the made-up frame [px]
_SIGMAS = 5.0
_LEAST_GAP = 1.4                  # ratio of masses that counts as a gap
_REACH = 2.5                      # a gap starts below this many times the noise limit, else it parts particles
_WIDE_GAP, _FAR_REACH = 5.0, 20.0  # the same for a gap that is beyond doubt
_MASS = 4                         # column of the mass in a feature table


def automatic_minmass(frames: Sequence[np.ndarray], settings: Track, seed: int = 0) -> float:
    """The `minmass` that parts particles from noise.

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
    everything = dataclasses.replace(settings, minmass=0.0)
    find = detector(everything)
    rng = np.random.default_rng(seed)
    plain = find if settings.compat == "trackpy" else SpotFitter(everything, noise_only=True)
    noise = np.concatenate([plain(_blank(frame, rng))[:, _MASS] for frame in frames])
    masses = np.concatenate([find(frame)[:, _MASS] for frame in frames])
    limit = float(noise.mean() + _SIGMAS * noise.std()) if noise.size else 0.0
    if not masses.size:
        return limit
    return _in_gap(np.sort(masses), float(np.median(noise)) if noise.size else 0.0, limit, len(frames))


def _blank(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame without particles: the median grey level with the noise measured there."""
    level = float(np.median(frame))
    shape = tuple(min(edge, _BLANK) for edge in frame.shape)
    made = rng.normal(level, camera_noise(frame).std(level), shape)
    if np.issubdtype(frame.dtype, np.integer):
        made = np.clip(np.round(made), 0, np.iinfo(frame.dtype).max)
    return made.astype(frame.dtype)


def _in_gap(masses: np.ndarray, typical: float, limit: float, n_frames: int) -> float:
    """`limit`, or the middle of the widest gap between noise and particles in the sorted `masses`."""
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
