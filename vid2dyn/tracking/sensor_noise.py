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

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import median, nth_smallest

_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)      # squares sum to 1: keeps the variance
_BINS = 24
_FEWEST = 60                                                             # pixels a bin needs to count
_LANES = 4
_HALF = 2.1981                                                           # a Gaussian's variance over its median square
_CONTAMINATED = 1.5                                                      # mean over robust variance that is no chance
_ENDS_ASKED = 8000                                                       # pixels, or twice that, for its span
_ASKED = 1500                                                            # pixels, for that comparison
_OUTLIER = 400.0                                                         # robust variances that no noise reaches


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
        return math.sqrt(max(self.offset + self.gain * float(level), self.floor))


def camera_noise(frame: np.ndarray, pixels: int | None = None) -> CameraNoise:
    """The noise of one frame.

    Parameters
    ----------
    frame : (H, W) array
        Grey levels as recorded (not inverted, not smoothed).
    pixels : int, optional
        Look at rows spread evenly over the frame that hold about so many pixels; default: at all. 40,000 give the
        standard deviation of white noise within 1 %.

    Returns
    -------
    CameraNoise
        Valid where the noise of neighbouring pixels is independent. Lossy compression smooths noise over
        neighbours; the figure is then too small. Hot pixels, cosmic rays, bad rows, a burnt-in clock do no harm: where
        the mean square of the residuals is far above what their median says, medians take its place.

    Examples
    --------
    >>> frame = np.random.default_rng(0).normal(100.0, 3.0, (256, 256)).astype(np.float32)
    >>> bool(abs(camera_noise(frame).std(100.0) - 3.0) < 0.1)
    True
    """
    integer = np.issubdtype(frame.dtype, np.integer)
    rounding = 1.0 / 12.0 if integer else 0.0                            # variance of rounding to a grey level
    if min(frame.shape) < 5:
        return CameraNoise(rounding, 0.0, rounding)
    height, width = frame.shape
    count = height - 4 if pixels is None else min(height - 4, max(-(-pixels // width), 8))
    rows = 2 + (np.arange(count) + 0.5) * ((height - 4) / count)
    level, squared = _differences(frame, rows.astype(np.int64), _DIFFERENCE.astype(np.float32))
    return _noise_of(level, squared, rounding)


def stack_noise(stack: np.ndarray, pixels: int) -> CameraNoise:
    """The noise of a (planes, H, W) stack, from about so many pixels spread over all of its planes.

    >>> stack = np.random.default_rng(0).normal(100.0, 3.0, (8, 64, 64)).astype(np.float32)
    >>> bool(abs(stack_noise(stack, 20_000).std(100.0) - 3.0) < 0.1)
    True
    """
    planes, height, width = stack.shape
    rounding = 1.0 / 12.0 if np.issubdtype(stack.dtype, np.integer) else 0.0
    if min(height, width) < 5:
        return CameraNoise(rounding, 0.0, rounding)
    count = min(height - 4, max(-(-pixels // (width * planes)), 2))
    taps = _DIFFERENCE.astype(np.float32)
    parts = []
    for z in range(planes):
        shift = 0.5 + 0.4 * (-1) ** z                                    # other rows in every second plane
        rows = 2 + (np.arange(count) + shift) * ((height - 4) / count)
        parts.append(_differences(stack[z], np.minimum(rows, height - 3).astype(np.int64), taps))
    level, squared = (np.concatenate(part) for part in zip(*parts))
    return _noise_of(level, squared, rounding)


def _noise_of(level: np.ndarray, squared: np.ndarray, rounding: float) -> CameraNoise:
    """The line through squared residuals against the grey level, outliers left out."""
    levels, variances, counts = _binned(level, squared)
    if _contaminated(level, squared, (levels, variances, counts), rounding):
        levels, variances, counts = _robustly_binned(level, squared)
    floor = float(max(variances.min(), rounding, 1e-30))
    offset, gain = _line(levels, np.maximum(variances, floor), counts)
    return CameraNoise(offset, gain, floor)


@njit(cache=True, nogil=True, fastmath=True)
def _differences(frame, rows, taps):
    """Smoothed grey level and squared fourth difference along both axes at the pixels of `rows`."""
    width = frame.shape[1]
    level, squared = np.empty(rows.size * (width - 4), np.float32), np.empty(rows.size * (width - 4), np.float32)
    apart, mean = np.empty(width, np.float32), np.empty(width, np.float32)
    a, b, c = taps[0], taps[1], taps[2]
    p, q, r = a * a, b * b, c * c
    for k in range(rows.size):
        y = rows[k]
        for x in range(width):
            outer = np.float32(frame[y - 2, x]) + np.float32(frame[y + 2, x])
            inner = np.float32(frame[y - 1, x]) + np.float32(frame[y + 1, x])
            middle = np.float32(frame[y, x])
            apart[x] = a * outer + b * inner + c * middle
            mean[x] = p * outer + q * inner + r * middle
        base = k * (width - 4)
        for x in range(width - 4):
            v = a * (apart[x] + apart[x + 4]) + b * (apart[x + 1] + apart[x + 3]) + c * apart[x + 2]
            squared[base + x] = v * v
            level[base + x] = p * (mean[x] + mean[x + 4]) + q * (mean[x + 1] + mean[x + 3]) + r * mean[x + 2]
    return level, squared


@njit(cache=True, nogil=True)
def _almost_all(values: np.ndarray, step: int) -> tuple[float, float]:
    """The values that one in a thousand of every `step`-th is below, and above."""
    count = (values.size + step - 1) // step
    beyond = int(0.001 * (count - 1))
    least, most = np.full(beyond + 1, np.inf), np.full(beyond + 1, -np.inf)     # in order, the outermost first
    for i in range(0, values.size, step):
        v = values[i]
        if v < least[beyond]:
            k = beyond
            while k > 0 and v < least[k - 1]:
                least[k] = least[k - 1]
                k -= 1
            least[k] = v
        if v > most[beyond]:
            k = beyond
            while k > 0 and v > most[k - 1]:
                most[k] = most[k - 1]
                k -= 1
            most[k] = v
    return least[beyond], most[beyond]


def _binned(level: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean grey level, mean squared residual and number of pixels in bins of the grey level."""
    counts, levels, squares = _bin_sums(level, squared)
    used = counts >= min(_FEWEST, counts.max())
    return levels[used] / counts[used], squares[used] / counts[used], counts[used]


def _contaminated(level: np.ndarray, squared: np.ndarray, bins: tuple[np.ndarray, np.ndarray, np.ndarray],
                  rounding: float) -> bool:
    """Whether the line through the bins is far above the median residual, in the background or where it is bright."""
    step = max(1, level.size // _ASKED)
    level, squared = level[::step].copy(), squared[::step].copy()
    return _above_medians(level, squared, np.sort(level), *bins, rounding)


@njit(cache=True, nogil=True)
def _above_medians(level: np.ndarray, squared: np.ndarray, ascending: np.ndarray, levels: np.ndarray,
                   variances: np.ndarray, counts: np.ndarray, rounding: float) -> bool:
    """`_contaminated` of some pixels, whose levels are there in ascending order, too."""
    offset, gain = _line(levels, np.maximum(variances, 1e-30), counts)
    some = np.empty(level.size)
    for low, high, every in ((0.25, 0.75, 3), (0.9, 0.99, 1)):
        a, b = int(low * level.size), int(high * level.size)
        if b - a < _FEWEST:
            continue
        least, most, count = ascending[a], ascending[b], 0
        for i in range(0, level.size, every):
            if least <= level[i] < most:
                some[count] = squared[i]
                count += 1
        if count < _FEWEST:                       # of one level nearly all: the other look tells
            continue
        middle = count // 2
        robust = max(_HALF * nth_smallest(some[:count], middle), rounding, 1e-30)
        if offset + gain * ascending[(a + b) // 2] > _CONTAMINATED * robust:
            return True
    return False


def _robustly_binned(level: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_binned`, from medians and without pixels that no noise explains."""
    counts, levels, middle = _bin_medians(level, squared)
    used = counts >= min(_FEWEST, counts.max())
    return levels[used] / counts[used], _HALF * middle[used], counts[used]


@njit(cache=True, nogil=True)
def _bin_medians(level, squared):
    """(3, bins): number of pixels, sum of their levels and median of their squares; bins from the level that one in a
    thousand is below to that which one in a thousand is above."""
    n = level.size
    work, levels, squares = np.empty(n), np.empty(n, np.float32), np.empty(n)
    step = max(1, n // _ENDS_ASKED)
    some = (n + step - 1) // step
    for i in range(some):
        work[i] = squared[i * step]
    limit, kept = _OUTLIER * max(_HALF * median(work[:some]), 1e-30), 0
    for i in range(n):
        if squared[i] <= limit:
            levels[kept], squares[kept] = level[i], squared[i]
            kept += 1
    low, high = _almost_all(levels[:kept], max(1, kept // _ENDS_ASKED))
    scale = _BINS / (high - low) if high > low else 0.0
    found, place, first = np.zeros((3, _BINS)), np.empty(kept, np.int64), np.zeros(_BINS + 1, np.int64)
    for i in range(kept):
        place[i] = -1
        if scale == 0.0 or low <= levels[i] <= high:
            k = min(int((levels[i] - low) * scale), _BINS - 1) if scale else np.int64(0)
            place[i] = k
            found[0, k] += 1.0
            found[1, k] += levels[i]
            first[k + 1] += 1
    for k in range(_BINS):
        first[k + 1] += first[k]
    last = first.copy()
    for i in range(kept):
        if place[i] >= 0:
            work[last[place[i]]] = squares[i]
            last[place[i]] += 1
    for k in range(_BINS):
        if first[k + 1] > first[k]:
            found[2, k] = median(work[first[k]:first[k + 1]])
    return found


@njit(cache=True, nogil=True)
def _bin_sums(level: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """(3, bins): number, sum of levels and sum of squares of the pixels whose square is within the bin's limit.

    The limit is 25 times the mean of the bin, found in three rounds: edges of dirt and saturated discs are no noise.
    """
    low, high = _almost_all(level, max(1, level.size // _ENDS_ASKED))
    scale = _BINS / (high - low) if high > low else 0.0
    place, sums = np.empty(level.size, np.uint8), np.zeros((_LANES, 3, _BINS))
    for i in range(level.size):
        place[i] = min(max(int((level[i] - low) * scale), 0), _BINS - 1)
    for i in range(level.size):
        lane, k = i % _LANES, place[i]                                   # neighbours fall into one bin: do not wait
        sums[lane, 0, k] += 1.0
        sums[lane, 1, k] += level[i]
        sums[lane, 2, k] += squared[i]
    total, limit = sums[0], np.empty(_BINS)
    for lane in range(1, _LANES):
        for a in range(3):
            for k in range(_BINS):
                total[a, k] += sums[lane, a, k]
    for _ in range(2):
        for k in range(_BINS):
            limit[k] = 25.0 * max(total[2, k] / max(total[0, k], 1.0), 1e-12)
        settled = True
        for i in range(level.size):
            k = place[i]
            if k < _BINS and squared[i] > limit[k]:
                total[0, k] -= 1.0
                total[1, k] -= level[i]
                total[2, k] -= squared[i]
                place[i] = _BINS                                         # is gone
                settled = False
        if settled:
            break
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _line(level: np.ndarray, variance: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Weighted straight line with a slope >= 0; a sample variance scatters by sqrt(2/n) of itself."""
    n, least, total, offset = level.size, np.inf, 0.0, 0.0
    weight = np.empty(n)
    for i in range(n):
        least = min(least, variance[i])
        total += counts[i]
        offset += variance[i] * counts[i]
    offset, gain = offset / total, 0.0
    for turn in range(4):
        total = x0 = v0 = spread = shared = 0.0
        for i in range(n):
            fitted = max(offset + gain * level[i], least) if turn else variance[i]
            weight[i] = counts[i] / (fitted * fitted)
            total += weight[i]
        for i in range(n):
            weight[i] /= total
            x0 += weight[i] * level[i]
            v0 += weight[i] * variance[i]
        for i in range(n):
            d = level[i] - x0
            spread += weight[i] * (d * d)
            shared += weight[i] * d * (variance[i] - v0)
        gain = max(shared / spread, 0.0) if spread > 0 else 0.0
        offset = v0 - gain * x0
    return offset, gain
