"""How large the spots of a movie are, and of which sign: the scale-normalised Laplacian.

-s² ∇²(G_s * image) over the middle of a Gaussian spot of width w is largest at s = w (Lindeberg, Int. J. Comput. Vis.
30, 79 (1998)); white noise of standard deviation n gives it n/(s √(2π)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.detect.bad_pixels import without_bad_pixels
from vid2dyn.tracking.sensor_noise import camera_noise

_TILES = 6                        # along each edge of a frame, that have a say in the sign of the particles
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
    scales = scale_of(frames[0].shape)
    total = np.zeros((2, len(scales)))
    for frame in frames:
        noise, laplacian = _laplacians(frame, scales)
        for sign in (0, 1):
            total[sign] += _maxima(laplacian if sign == 0 else [-r for r in laplacian], scales, noise)
    return scales, np.sqrt(total)


def scale_of(shape: tuple[int, ...]) -> np.ndarray:
    """(k,) widths of spots that are looked for in a frame of that shape [px]."""
    largest = max(min(shape) / 16, 2.0)
    return np.asarray(2.0 ** np.arange(-0.75, math.log2(largest) + 0.26, 0.25))


def _laplacians(frame: np.ndarray, scales: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The noise of a frame, and its responses at all scales, single bad pixels repaired."""
    noise = float(camera_noise(frame).std(float(np.median(frame))))
    frame = without_bad_pixels(frame, noise)
    return noise, [_laplacian(frame, float(s)) for s in scales]


def _laplacian(frame: np.ndarray, scale: float) -> np.ndarray:
    smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), scale, borderType=cv2.BORDER_REFLECT)
    return -(scale**2) * cv2.Laplacian(smooth, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REFLECT)


def _maxima(stack: list[np.ndarray], scales: np.ndarray, noise: float) -> np.ndarray:
    """(k,) sums of response⁴ over the maxima in place (within about one scale) and scale (among neighbours)."""
    total = np.zeros(len(scales))
    for k, _, _, value in _peaks(stack, scales, noise):
        total[k] = (value**4).sum()
    return total


def _peaks(stack: list[np.ndarray], scales: np.ndarray,
           noise: float) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Number of the scale, y and x and response of its maxima in place and scale."""
    for k in range(1, len(scales) - 1):
        edge = 2 * max(round(0.8 * scales[k]), 1) + 1
        top = cv2.dilate(stack[k], np.ones((edge, edge), np.uint8))
        limit = _SIGNIFICANT * noise / (scales[k] * math.sqrt(2 * math.pi))
        y, x = np.nonzero((stack[k] >= top) & (stack[k] > limit))
        value = stack[k][y, x]
        best = (value >= stack[k - 1][y, x]) & (value >= stack[k + 1][y, x])
        yield k, y[best], x[best], value[best].astype(float)


def dark_over_bright(frames: Sequence[np.ndarray]) -> tuple[float, float]:
    """How much stronger dark spots are than bright ones: in the frames as a whole, and in a typical part of them.

    The first is that of the strongest spots, whose halos are weak; but a bad row, a clock or a scratch outweighs all
    particles. The second is a median over tiles that are lit, where no such thing decides; but with a few particles it
    sees their halos. Where both agree, the sign is beyond doubt. Both are 0 where there are no spots.

    >>> y, x = np.mgrid[:96, :96]
    >>> at = [(a, b) for a in range(12, 96, 18) for b in range(12, 96, 18)]
    >>> light = sum(80 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in at)
    >>> frame = 120 - light + np.random.default_rng(0).normal(0, 2, y.shape)
    >>> min(dark_over_bright([frame])) > 2, max(dark_over_bright([-frame])) < 0.5
    (True, True)
    """
    height, width = frames[0].shape
    scales, tiles = scale_of(frames[0].shape), np.zeros((2, _TILES, _TILES))
    total = np.zeros((2, len(scales)))
    for frame in frames:
        noise, laplacian = _laplacians(frame, scales)
        for sign in (0, 1):
            for k, y, x, value in _peaks(laplacian if sign == 0 else [-r for r in laplacian], scales, noise):
                total[sign, k] += (value**4).sum()
                np.add.at(tiles[sign], (y * _TILES // height, x * _TILES // width), value**4)
    bright, dark = (np.sqrt(one.ravel()) for one in tiles)
    lit = (bright > 0) | (dark > 0)
    if not lit.any():
        return 0.0, 0.0
    both = (dark + bright)[lit]
    part, weight = dark[lit] / both, np.minimum(both, 3 * np.median(both))
    order = np.argsort(part)
    typical = float(part[order][np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())])
    peak_bright, peak_dark = (highest_peak(scales, np.sqrt(one))[0] for one in total)
    whole = peak_dark / (peak_dark + peak_bright)
    return _odds(whole), _odds(typical)


def _odds(share: float) -> float:
    return float(share / (1 - share)) if share < 1 else np.inf


def highest_peak(scales: np.ndarray, response: np.ndarray) -> tuple[float, float]:
    """Height of the highest peak of the response of one sign, (k,), and the width of a spot there [px]."""
    smooth = response[:-2] + response[1:-1] + response[2:]
    at = int(smooth.argmax())
    weight = response[at:at + 3]
    if not weight.sum() > 0:
        return 0.0, 1.0
    return float(smooth[at]), float(np.exp((weight * np.log(scales[at:at + 3])).sum() / weight.sum()))
