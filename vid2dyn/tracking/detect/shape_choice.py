"""Which shape the particles of a movie have, asked of a few of its frames.

Both models are fitted, Gaussian spots and a common profile measured in the frame, and what each leaves of the light
around its spots is compared. The profile is chosen where it explains nearly all that the Gaussian does not; particles
that differ from each other (in focus, in size) have no common profile, and the Gaussian is as good and far quicker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from vid2dyn.tracking.columns import AMPLITUDE, MOVE, WIDTH, X, Y
from vid2dyn.tracking.detect.spots import SpotFitter
from vid2dyn.tracking.fit.crowd import FittedSpots
from vid2dyn.tracking.fit.nearby import neighbours
from vid2dyn.tracking.fit.profiles import BRIGHTNESS, FINE, Profile, unexplained
from vid2dyn.tracking.settings import Track

_FEW = 10                          # particles in a frame that can show a shape
_NOTABLE = 3e-3                    # of the light left by Gaussians: less does no harm
_BETTER = 0.3                      # the profile has to leave less than this part of it
_ALIKE = 0.02                      # and less than this of all light: particles that differ have no common profile
_BRIGHT = 0.5                      # of the brightest tenth: a spot that is asked
_HOLLOW = 0.7                      # brightness of a ring's middle over its rim
_EDGE, _LEAST_EDGE, _MOST_EDGE = 30, 256, 640      # of the middle of a frame that is looked at [diameters], and [px]

Shape = Literal["gaussian", "disc", "ring"]


def spot_shape(frames: Sequence[np.ndarray], settings: Track) -> Shape:
    """The shape that most of the frames have; "gaussian" where nothing else is clearly better.

    Parameters
    ----------
    frames : sequence of (H, W) arrays
        A few frames spread over the movie.
    settings : Track
        All but `spot` and `minmass` count.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, x = np.mgrid[:200, :200]
    >>> centres = [(20 + 32 * (k // 6), 20 + 32 * (k % 6)) for k in range(36)]
    >>> far = [np.hypot(y - a, x - b) for a, b in centres]
    >>> noise = rng.normal(20, 2, y.shape)
    >>> rings = sum(100 * np.exp(-((r - 6) / 1.5) ** 2) for r in far) + noise
    >>> spots = sum(100 * np.exp(-((r / 3) ** 2)) for r in far) + noise
    >>> settings = Track(diameter=19)
    >>> spot_shape([rings.astype(np.uint8)], settings), spot_shape([spots.astype(np.uint8)], settings)
    ('ring', 'gaussian')
    """
    votes = [_shape(_middle(frames[0], settings.diameter), settings)]
    if votes[0] != "gaussian":                             # which wins where votes are even
        with ThreadPoolExecutor(len(frames), thread_name_prefix="shape") as pool:   # compiled: side by side
            votes += pool.map(lambda frame: _shape(_middle(frame, settings.diameter), settings), frames[1:])
    return max(("gaussian", "disc", "ring"), key=votes.count)              # type: ignore[return-value,arg-type]


def _middle(frame: np.ndarray, diameter: int) -> np.ndarray:
    """The middle of a frame, some hundred particles if they are close."""
    most = min(max(_EDGE * diameter, _LEAST_EDGE), _MOST_EDGE)
    y, x = (max(0, (edge - most) // 2) for edge in frame.shape)
    return np.ascontiguousarray(frame[y:y + most, x:x + most])


def _shape(frame: np.ndarray, settings: Track) -> Shape:
    """The shape of one frame."""
    radius = settings.diameter / 2 + 1.0
    left: list[float] = []
    fits: list[FittedSpots] = []
    for name in ("gaussian", "ring"):
        finder = SpotFitter(dataclasses.replace(settings, spot=name, minmass=0.0))     # type: ignore[arg-type]
        fitted, noise, image, _ = finder.fitted(frame)
        if fitted is None or (name == "ring" and fitted.profile is None):
            return "gaussian"
        part, asked = _unexplained_part(image, fitted, radius, noise)
        if asked < _FEW or (name == "gaussian" and part < _NOTABLE):
            return "gaussian"
        left.append(part)
        fits.append(fitted)
    if not left[1] < min(_BETTER * left[0], _ALIKE):
        return "gaussian"
    profile = fits[1].profile
    assert profile is not None
    light = profile.table[:, BRIGHTNESS]
    return "ring" if light[0] < _HOLLOW * light.max() and light.argmax() > FINE else "disc"


def _unexplained_part(image: np.ndarray, fitted: FittedSpots, radius: float,
                      noise: tuple[float, float, float]) -> tuple[float, int]:
    """Part of the light around bright spots that the model leaves, and how many there are."""
    spots = fitted.spots
    alive = np.isfinite(spots[:, :MOVE]).all(axis=1) & (spots[:, AMPLITUDE] > 0)
    if not alive.any():
        return 1.0, 0
    which = np.flatnonzero(alive & (spots[:, AMPLITUDE] > _BRIGHT * np.quantile(spots[alive, AMPLITUDE], 0.9)))
    if fitted.profile is None:
        r = np.arange(int((radius + 1) * FINE)) / FINE
        width = float(np.median(spots[which, WIDTH]))
        profile = Profile(np.stack([np.exp(-0.5 * (r / width) ** 2), np.zeros_like(r)], axis=1), radius)
    else:
        profile = Profile(fitted.profile.table, radius)
    near = neighbours(spots[:, Y], spots[:, X], 2 * radius)
    rest, light = unexplained(image, spots, which, near, profile, noise)
    return max(rest, 0.0) / max(light, 1e-300), len(which)
