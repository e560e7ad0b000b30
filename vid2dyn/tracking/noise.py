"""How noisy the camera is, measured from the frame itself.

Model: every pixel carries independent noise of variance v(I) = offset + gain I, with I the expected grey
level: read noise and the black level make the offset (which may be negative), shot noise the gain.

A fourth difference along both axes removes what is smooth on the scale of a spot and leaves the noise:
of a Gaussian spot of amplitude A and width 2 px less than 0.001 A is left. The squared residual has
expectation v(smoothed I) with the squared filter as smoothing kernel, exactly so because v is linear, and a
line through it gives offset and gain. This goes the way of Immerkær, Comput. Vis. Image Underst. 64, 300
(1996), with a sharper filter, and of Foi et al., IEEE Trans. Image Process. 17, 1737 (2008), for the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.cv import cv2

_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)      # squares sum to 1: keeps the variance
_BINS = 24
_FEWEST = 60                                                             # pixels a bin needs to count


@dataclass(frozen=True)
class CameraNoise:
    """Variance of a pixel's noise against its grey level: `max(offset + gain * level, floor)` [grey levels²].

    >>> CameraNoise(offset=-90.0, gain=1.0, floor=4.0).variance(np.array([50.0, 100.0])).tolist()
    [4.0, 10.0]
    """

    offset: float
    gain: float
    floor: float

    def variance(self, level: np.ndarray) -> np.ndarray:
        """Noise variance at grey levels `level`, same shape [grey levels²]."""
        return np.maximum(self.offset + self.gain * np.asarray(level, dtype=float), self.floor)

    def std(self, level: float) -> float:
        """Standard deviation of the noise at one grey level [grey levels]."""
        return float(np.sqrt(self.variance(np.asarray(level))))


def camera_noise(frame: np.ndarray) -> CameraNoise:
    """The noise of one frame.

    Parameters
    ----------
    frame : (H, W) array
        Grey levels as recorded (not inverted, not smoothed).

    Returns
    -------
    CameraNoise
        Valid where the noise of neighbouring pixels is independent. Lossy compression smooths noise over
        neighbours; the figure is then too small.

    Examples
    --------
    >>> frame = np.random.default_rng(0).normal(100.0, 3.0, (256, 256)).astype(np.float32)
    >>> bool(abs(camera_noise(frame).std(100.0) - 3.0) < 0.1)
    True
    """
    integer = np.issubdtype(frame.dtype, np.integer)
    rounding = 1.0 / 12.0 if integer else 0.0                            # variance of rounding to a grey level
    image = np.asarray(frame, dtype=np.float32)
    if min(image.shape) < 5:
        return CameraNoise(rounding, 0.0, rounding)
    residual = cv2.sepFilter2D(image, cv2.CV_32F, _DIFFERENCE, _DIFFERENCE)[2:-2, 2:-2].ravel()
    level = cv2.sepFilter2D(image, cv2.CV_32F, _DIFFERENCE**2, _DIFFERENCE**2)[2:-2, 2:-2].ravel()
    levels, variances, counts = _binned(level, residual**2)
    floor = float(max(variances.min(), rounding, 1e-30))
    offset, gain = _line(levels, np.maximum(variances, floor), counts)
    return CameraNoise(offset, gain, floor)


def _binned(level: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean grey level, mean squared residual and number of pixels in bins of the grey level."""
    low, high = np.percentile(level[:: max(1, level.size // 20000)], [0.1, 99.9])
    limit = np.full(_BINS, np.inf)
    for _ in range(4):                          # leave out edges of dirt and saturated discs: not noise
        sums = _bin_sums(level, squared, float(low), float(high), limit)
        limit = 25.0 * np.maximum(sums[2] / np.maximum(sums[0], 1.0), 1e-12)
    counts = sums[0]
    used = counts >= min(_FEWEST, counts.max())
    return sums[1][used] / counts[used], sums[2][used] / counts[used], counts[used]


@njit(cache=True)
def _bin_sums(level: np.ndarray, squared: np.ndarray, low: float, high: float, limit: np.ndarray) -> np.ndarray:
    """(3, bins): number, sum of levels and sum of squares of the pixels whose square is within the bin's limit."""
    bins = limit.size
    scale = bins / (high - low) if high > low else 0.0
    sums = np.zeros((3, bins))
    for i in range(level.size):
        k = min(max(int((level[i] - low) * scale), 0), bins - 1)
        if squared[i] <= limit[k]:
            sums[0, k] += 1.0
            sums[1, k] += level[i]
            sums[2, k] += squared[i]
    return sums


def _line(level: np.ndarray, variance: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Weighted straight line with a slope >= 0; a sample variance scatters by sqrt(2/n) of itself."""
    fitted = variance
    offset, gain = float(np.average(variance, weights=counts)), 0.0
    for _ in range(4):
        weight = counts / fitted**2
        x0, v0 = np.average(level, weights=weight), np.average(variance, weights=weight)
        spread = np.average((level - x0) ** 2, weights=weight)
        shared = np.average((level - x0) * (variance - v0), weights=weight)
        gain = max(float(shared / spread), 0.0) if spread > 0 else 0.0
        offset = float(v0 - gain * x0)
        fitted = np.maximum(offset + gain * level, variance.min())
    return offset, gain
