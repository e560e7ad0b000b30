"""The band-passed image and its maxima, compiled: one walk over the rows, while they are in the processor's cache.

    filtered = Gaussian(noise_size) * image - boxcar(smoothing_size) * image

The Gaussian takes out the noise of pixels, the boxcar what is smooth beyond the size of a particle (Crocker and
Grier, J. Colloid Interface Sci. 179, 298 (1996), section 2). Beyond the frame its edge pixels go on. All sums are in
single precision: exact for 8-bit, good to 1e-6 of the grey level otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.tracking.fit.precision import gaussian_taps


def band_pass(image: np.ndarray, noise_size: float, boxcar: int, threshold: float,
              filtered: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The band-passed image and where it has a maximum above `threshold`.

    Parameters
    ----------
    image : (H, W) array of uint8, uint16 or float32, C-contiguous
        Bright particles [grey levels].
    noise_size : float
        Width of the Gaussian [px]; 0 for none.
    boxcar : int
        Odd edge of the boxcar [px].
    threshold : float
        Lowest maximum [grey levels].
    filtered : (H, W) float32 array, optional
        Written to and returned; made if absent.

    Returns
    -------
    filtered : (H, W) float32 array
        [grey levels]
    maxima : (M, 2) int64 array
        Pixels (y, x) not lower than their eight neighbours, row by row; a flat top counts once where it is flat in
        one row. The frame's outermost pixels are left out.

    Examples
    --------
    >>> image = np.zeros((32, 32), np.float32)
    >>> image[10, 12] = 100
    >>> filtered, maxima = band_pass(image, 1.0, 11, 1.0)
    >>> maxima.tolist(), round(float(filtered[10, 12]), 1)
    ([[10, 12]], 15.1)
    """
    if filtered is None:
        filtered = np.empty(image.shape, np.float32)
    taps = gaussian_taps(noise_size)
    half = np.zeros(1 + 4 * -(-(taps.size // 2) // 4), np.float32)     # tap 0, then fours: see `_columns`
    half[:taps.size // 2 + 1] = taps[taps.size // 2:]
    found = _filter_rows(image, half, boxcar // 2, np.float32(threshold), filtered)
    return filtered, found


def noise_gain(noise_size: float, boxcar: int) -> float:
    """Standard deviation of the band-passed image per standard deviation of white noise in the image.

    >>> round(noise_gain(1.0, 11), 3)
    0.267
    """
    taps = gaussian_taps(noise_size)
    half = max(taps.size // 2, boxcar // 2)
    kernel = np.pad(np.outer(taps, taps), half - taps.size // 2)
    low, high = half - boxcar // 2, half + boxcar // 2 + 1
    kernel[low:high, low:high] -= 1.0 / boxcar**2
    return float(np.sqrt((kernel**2).sum()))


@njit(cache=True, nogil=True, fastmath=True)
def _filter_rows(image, taps, half, threshold, out):
    """Rows in order: columns summed, then rows; maxima of a row when the next one is there."""
    height, width = image.shape
    reach = taps.size - 1
    pad = max(reach, half)
    scale = np.float32(1.0 / (2 * half + 1) ** 2)
    pad = max(pad, 2)
    smooth, column = np.zeros(width + 2 * pad, np.float32), np.zeros(width, np.float32)
    total = np.zeros(width + 2 * pad, np.float32)
    four = np.zeros(width + 2 * pad, np.float32)
    work, peak = np.zeros(width, np.float32), np.zeros(width, np.bool_)
    found, count = np.empty((1024, 2), np.int64), np.int64(0)         # not a literal: `_row_maxima` is compiled once
    for k in range(-half, half + 1):
        row = image[min(max(k, 0), height - 1)]
        for x in range(width):
            column[x] += np.float32(row[x])
    for y in range(height):
        _columns(image, taps, y, smooth[pad:pad + width])
        _extend(smooth, pad, width)
        for x in range(width):
            total[pad + x] = column[x]
        _extend(total, pad, width)
        target = out[y]
        _box_row(total, four, work, 2 * half + 1, pad - half)
        _blur_row(smooth, taps, pad, work, scale, target)
        gone, new = image[max(y - half, 0)], image[min(y + half + 1, height - 1)]
        for x in range(width):
            column[x] += np.float32(new[x]) - np.float32(gone[x])
        if y >= 2:
            if count + width // 2 + 1 > found.shape[0]:
                longer = np.empty((2 * (count + width), 2), np.int64)
                for k in range(count):
                    longer[k, 0], longer[k, 1] = found[k, 0], found[k, 1]
                found = longer
            count = _row_maxima(out[y - 2], out[y - 1], target, threshold, y - 1, peak, found, count)
    return found[:count].copy()


@njit(cache=True, nogil=True, fastmath=True)
def _columns(image, taps, y, out):
    """Gaussian along the columns for one row; four pairs of rows at a time keep the sum in registers."""
    last, width = image.shape[0] - 1, image.shape[1]
    row, t = image[y], taps[0]
    for x in range(width):
        out[x] = t * np.float32(row[x])
    for k in range(1, taps.size, 4):
        t1, t2, t3, t4 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        a1, b1 = image[max(y - k, 0)], image[min(y + k, last)]
        a2, b2 = image[max(y - k - 1, 0)], image[min(y + k + 1, last)]
        a3, b3 = image[max(y - k - 2, 0)], image[min(y + k + 2, last)]
        a4, b4 = image[max(y - k - 3, 0)], image[min(y + k + 3, last)]
        for x in range(width):
            one, two = np.float32(a1[x]) + np.float32(b1[x]), np.float32(a2[x]) + np.float32(b2[x])
            three, four = np.float32(a3[x]) + np.float32(b3[x]), np.float32(a4[x]) + np.float32(b4[x])
            out[x] += (t1 * one + t2 * two) + (t3 * three + t4 * four)


@njit(cache=True, nogil=True)
def _extend(row, pad, width):
    for k in range(pad):
        row[k] = row[pad]
        row[pad + width + k] = row[pad + width - 1]


@njit(cache=True, nogil=True, fastmath=True)
def _blur_row(padded, taps, pad, box, scale, out):
    """Gaussian along a row, less the mean of the box."""
    width, t = out.size, taps[0]
    centre = padded[pad:pad + width]
    for x in range(width):
        out[x] = t * centre[x] - scale * box[x]
    for k in range(1, taps.size, 4):
        t1, t2, t3, t4 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        p = padded[pad - k - 3:pad + k + 3 + width]
        q = padded[pad + k:pad + k + 3 + width]
        for x in range(width):
            out[x] += (t4 * (p[x] + q[x + 3]) + t3 * (p[x + 1] + q[x + 2])) + (
                t2 * (p[x + 2] + q[x + 1]) + t1 * (p[x + 3] + q[x]))


@njit(cache=True, nogil=True, fastmath=True)
def _box_row(padded, four, out, edge, start):
    """out[x] = sum of padded[start + x : start + x + edge]: sums of four first, so that no sum waits for another."""
    width = out.size
    for x in range(padded.size - 3):
        four[x] = (padded[x] + padded[x + 1]) + (padded[x + 2] + padded[x + 3])
    one = padded[start:start + width + 2]
    if edge % 4 == 1:                                      # the edge is odd
        for x in range(width):
            out[x] = one[x]
    else:
        for x in range(width):
            out[x] = one[x] + one[x + 1] + one[x + 2]
    offset, end = start + edge % 4, start + edge
    while offset + 8 <= end:
        part = four[offset:offset + width + 4]
        for x in range(width):
            out[x] += part[x] + part[x + 4]
        offset += 8
    if offset < end:
        part = four[offset:offset + width]
        for x in range(width):
            out[x] += part[x]


@njit(cache=True, nogil=True)
def _row_maxima(above, row, below, threshold, y, peak, found, count):
    """Maxima of `row` among three rows; ties go to the first in reading order. Compared without branches."""
    for x in range(1, row.size - 1):
        v = row[x]
        peak[x] = ((v > threshold) & (v > row[x - 1]) & (v >= row[x + 1]) & (v > above[x - 1]) & (v > above[x])
                   & (v > above[x + 1]) & (v >= below[x - 1]) & (v >= below[x]) & (v >= below[x + 1]))
    words = peak[:peak.size // 8 * 8].view(np.int64)          # mostly empty: eight pixels at a glance
    for k in range(words.size):
        if words[k]:
            for x in range(8 * k, 8 * k + 8):
                if peak[x]:
                    found[count, 0], found[count, 1] = y, x
                    count += 1
    for x in range(8 * words.size, peak.size):
        if peak[x]:
            found[count, 0], found[count, 1] = y, x
            count += 1
    return count
