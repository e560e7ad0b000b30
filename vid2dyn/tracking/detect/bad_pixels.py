"""Single bright pixels that are no particles: hot pixels of the camera, cosmic rays.

A spot that a lens made lights the pixels around its middle: of a Gaussian no narrower than 0.6 px, at least two of the
four neighbours have a quarter of the light of the brightest one. A pixel that is bright all by itself, or with one
neighbour, is not light from the sample. It gets the median of the pixels around it before anything is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import median
from vid2dyn.core.opencv import cv2

_ALONE = 0.15                     # of its excess that the second brightest of the four neighbours may have
_CLEAR = 20.0                     # standard deviations above the pixels around it
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
    return _bright_alone(image, maxima, max(float(noise), 1e-30))


@njit(cache=True, nogil=True)
def _bright_alone(image: np.ndarray, maxima: np.ndarray, noise: float) -> np.ndarray:
    height, width = image.shape
    out = np.zeros(len(maxima), np.bool_)
    ring = np.empty(16)
    for i in range(len(maxima)):
        y, x = maxima[i, 0], maxima[i, 1]
        value = float(image[y, x])
        if y < 2 or x < 2 or y > height - 3 or x > width - 3:
            continue
        a, b = float(image[y - 1, x]), float(image[y + 1, x])
        c, d = float(image[y, x - 1]), float(image[y, x + 1])
        low, high = min(a, b), max(a, b)
        other_low, other_high = min(c, d), max(c, d)
        second = max(min(high, other_high), low, other_low)    # of the four
        if value - second < 0.5 * _CLEAR * noise:              # most maxima are left here
            continue
        count = 0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                if max(abs(dy), abs(dx)) == 2:
                    ring[count] = float(image[y + dy, x + dx])
                    count += 1
        background = median(ring)
        excess = value - background
        out[i] = excess > _CLEAR * noise and second - background < _ALONE * excess
    return out


def repaired(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """A copy of the image in which `pixels` (K, 2) have the median of the 24 around them."""
    out = image.copy()
    for y, x in pixels:
        around = image[max(y - 2, 0):y + 3, max(x - 2, 0):x + 3]
        out[y, x] = np.median(around)
    return out


def without_bad_pixels(image: np.ndarray, noise: float) -> np.ndarray:
    """The image, float32, with single bright or dark pixels repaired; itself where there are none.

    For looks at a whole frame, where no maxima are at hand yet.
    """
    image = np.ascontiguousarray(image, dtype=np.float32)
    if min(image.shape) < 5:
        return image
    apart = image - cv2.medianBlur(image, 3)
    for sign in (1, -1):
        found = np.argwhere(sign * apart > 0.5 * _CLEAR * max(noise, 1e-30))
        if 0 < len(found) < 0.01 * image.size:
            found = found[bad_pixels(sign * image, found, noise)]
            image = repaired(image, found) if len(found) else image
    return image


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
