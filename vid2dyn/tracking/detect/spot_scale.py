"""How large the spots of a movie are, and of which sign: the scale-normalised Laplacian.

-s² ∇²(G_s * image) over the middle of a Gaussian spot of width w is largest at s = w (Lindeberg, Int. J. Comput. Vis.
30, 79 (1998)); white noise of standard deviation n gives it n/(s √(2π)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.detect.bad_pixels import without_bad_pixels
from vid2dyn.tracking.sensor_noise import camera_noise

_SIGNIFICANT = 6.0                # standard deviations of the noise that a spot exceeds


def scale_response(frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How much structure of which size and sign there is.

    Returns
    -------
    scales : (k,) array
        Widths s [px], a factor of 2^(1/4) apart, up to a sixteenth of the frame's shorter edge.
    response : (2, k) array
        Root of the sum, over all significant maxima in place and scale, of the fourth power of the scale-normalised
        Laplacian [grey levels²]: bright spots, dark spots. Fourth, so that a bright core outweighs its dark ring.
    """
    largest = max(min(frames[0].shape) / 16, 2.0)
    scales = 2.0 ** np.arange(-0.75, math.log2(largest) + 0.26, 0.25)
    total = np.zeros((2, len(scales)))
    for frame in frames:
        noise = float(camera_noise(frame).std(float(np.median(frame))))
        frame = without_bad_pixels(frame, noise)
        laplacian = [_laplacian(frame, float(s)) for s in scales]
        for sign in (0, 1):
            total[sign] += _maxima(laplacian if sign == 0 else [-r for r in laplacian], scales, noise)
    return scales, np.sqrt(total)


def _laplacian(frame: np.ndarray, scale: float) -> np.ndarray:
    smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), scale, borderType=cv2.BORDER_REFLECT)
    return -(scale**2) * cv2.Laplacian(smooth, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT)


def _maxima(stack: list[np.ndarray], scales: np.ndarray, noise: float) -> np.ndarray:
    """(k,) sums of response⁴ over the maxima in place (within about one scale) and scale (among neighbours)."""
    tops = []
    for response, s in zip(stack, scales):
        edge = 2 * max(round(0.8 * s), 1) + 1
        tops.append(cv2.dilate(response, np.ones((edge, edge), np.uint8)))
    total = np.zeros(len(scales))
    for k in range(1, len(scales) - 1):
        limit = _SIGNIFICANT * noise / (scales[k] * math.sqrt(2 * math.pi))
        peak = (stack[k] >= tops[k]) & (stack[k] > limit)
        y, x = np.nonzero(peak)
        value = stack[k][y, x]
        best = (value >= stack[k - 1][y, x]) & (value >= stack[k + 1][y, x])
        total[k] = (value[best].astype(float) ** 4).sum()
    return total


def dark_over_bright(frames: Sequence[np.ndarray]) -> float:
    """How much stronger the dark spots of the frames are than the bright ones; 0 where there are none.

    >>> y, x = np.mgrid[:96, :96]
    >>> light = sum(80 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in [(30, 30), (64, 60)])
    >>> frame = 120 - light + np.random.default_rng(0).normal(0, 2, y.shape)
    >>> dark_over_bright([frame]) > 2, dark_over_bright([-frame]) < 0.5
    (True, True)
    """
    scales, response = scale_response(frames)
    bright, dark = (highest_peak(scales, one)[0] for one in response)
    return dark / bright if bright > 0 else (np.inf if dark > 0 else 0.0)


def highest_peak(scales: np.ndarray, response: np.ndarray) -> tuple[float, float]:
    """Height of the highest peak of the response of one sign, (k,), and the width of a spot there [px]."""
    smooth = response[:-2] + response[1:-1] + response[2:]
    at = int(smooth.argmax())
    weight = response[at:at + 3]
    if not weight.sum() > 0:
        return 0.0, 1.0
    return float(smooth[at]), float(np.exp((weight * np.log(scales[at:at + 3])).sum() / weight.sum()))
