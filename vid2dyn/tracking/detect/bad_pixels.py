"""Single bright pixels that are no particles: hot pixels of the camera, cosmic rays.

A spot that a lens made lights the pixels around its middle: of a Gaussian no narrower than 0.6 px, at least two of the
four neighbours have a quarter of the light of the brightest one. A pixel that is bright all by itself, or with one
neighbour, is not light from the sample. It gets the median of the pixels around it before anything is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

_ALONE = 0.15                     # of its excess that the second brightest of the four neighbours may have
_CLEAR = 20.0                     # standard deviations above the pixels around it
_ROUND = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if max(abs(dy), abs(dx)) == 2]
_BESIDE = [(-1, 0), (1, 0), (0, -1), (0, 1)]
_OFTEN = 0.6                      # of the frames looked at, in which a hot pixel is bright
_SHOWN = 5


def bad_pixels(image: np.ndarray, maxima: np.ndarray, noise: float) -> np.ndarray:
    """Which of the `maxima` are bright all by themselves.

    Parameters
    ----------
    image : (H, W) array
        Bright particles [grey levels].
    maxima : (M, 2) int array
        Pixels to look at.
    noise : float
        Standard deviation of a background pixel [grey levels].

    Returns
    -------
    (M,) bool array

    Examples
    --------
    >>> image = np.full((9, 9), 10.0)
    >>> image[4, 4] = 500.0
    >>> bad_pixels(image, np.array([[4, 4]]), 1.0).tolist()
    [True]
    """
    if not len(maxima):
        return np.zeros(0, bool)
    y, x = maxima[:, 0], maxima[:, 1]
    last = np.array(image.shape) - 1

    def at(dy: int, dx: int) -> np.ndarray:
        return image[np.clip(y + dy, 0, last[0]), np.clip(x + dx, 0, last[1])].astype(np.float64)

    background = np.median([at(*step) for step in _ROUND], axis=0)
    excess = at(0, 0) - background
    second = np.sort([at(*step) for step in _BESIDE], axis=0)[-2] - background
    return (excess > _CLEAR * max(noise, 1e-30)) & (second < _ALONE * excess)


def repaired(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """A copy of the image in which `pixels` (K, 2) have the median of the 24 around them."""
    out = image.copy()
    for y, x in pixels:
        around = image[max(y - 2, 0):y + 3, max(x - 2, 0):x + 3]
        out[y, x] = np.median(around)
    return out


def pixel_notes(found: Sequence[np.ndarray]) -> tuple[str, ...]:
    """What a user should know about bad pixels in a few frames of a movie, in plain words.

    Parameters
    ----------
    found : sequence of (K, 2) int arrays
        Bad pixels of each frame.

    Examples
    --------
    >>> pixel_notes([np.array([[4, 5]])] * 5)
    ('1 hot pixel of the camera (y, x): (4, 5): bright in all frames looked at, ...
    """
    if not any(len(pixels) for pixels in found):
        return ()
    count = Counter((int(y), int(x)) for pixels in found for y, x in pixels)
    hot = sorted(pixel for pixel, times in count.items() if len(found) > 1 and times >= _OFTEN * len(found))
    stray = sum(times for pixel, times in count.items() if pixel not in hot)
    notes = []
    if hot:
        shown = ", ".join(map(str, hot[:_SHOWN])) + (", ..." if len(hot) > _SHOWN else "")
        notes.append(f"{len(hot)} hot pixel{'s' if len(hot) > 1 else ''} of the camera (y, x): {shown}: bright in all "
                     "frames looked at, all by themselves. They get the median of the pixels around them.")
    if stray:
        notes.append(f"{stray} single bright pixels in {len(found)} frames looked at (cosmic rays, hot pixels): they "
                     "get the "
                     "median of the pixels around them.")
    return tuple(notes)
