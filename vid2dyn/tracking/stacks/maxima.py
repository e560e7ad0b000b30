"""Places in a stack that are brighter than all around them: where fitting begins; compiled.

A Gaussian narrower than a spot smooths the noise, a box wider than it gives the background. Planes pass through
buffers as long as the filters, so that memory is that of some planes, whatever the depth of the stack.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows

_NARROW = 0.6                     # width of the smoothing Gaussian over that of the spot: keeps neighbours apart
_WIDE = 4.0                       # half the edge of the box over the width of the spot
_KERNEL = 2.5                     # widths at which the Gaussian is cut


class Filter(NamedTuple):
    """Taps of the Gaussian [normalised to sum 1], radii of the box, and what the Gaussian leaves of white noise.

    Parameters
    ----------
    lateral, axial : (2 r + 1,) float32 arrays
    box, box_axial : int
        The box has the edges 2 r + 1.
    noise : float
        Standard deviation of filtered over that of unfiltered white noise.
    """

    lateral: np.ndarray
    axial: np.ndarray
    box: int
    box_axial: int
    noise: float


def filter_for(width: float, axial_width: float, planes: int) -> Filter:
    """The filter for spots of `width` [px] and `axial_width` [planes].

    >>> found = filter_for(2.0, 2.0, 64)
    >>> len(found.lateral), found.box, round(found.noise, 3)
    (7, 8, 0.115)
    """
    lateral, axial = _taps(_NARROW * width), _taps(_NARROW * axial_width)
    noise = float((lateral**2).sum() * np.sqrt((axial**2).sum()))
    deep = min(max(2, round(_WIDE * axial_width)), max(planes - 1, 1))
    return Filter(lateral, axial, max(2, round(_WIDE * width)), deep, noise)


def _taps(sigma: float) -> np.ndarray:
    reach = max(1, math.ceil(_KERNEL * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 0.3)) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def _plane(image, taps, box, narrow, wide, row, column):
    """One plane smoothed into `narrow` and its box means into `wide`; edges are repeated."""
    height, width = image.shape
    reach = taps.size // 2
    # along y, for all columns at once
    column[:] = 0.0
    for k in range(-box, box + 1):
        line = image[min(max(k, 0), height - 1)]
        for x in range(width):
            column[x] += np.float32(line[x])
    scale = np.float32(1.0 / (2 * box + 1))
    for y in range(height):
        out, mean = narrow[y], wide[y]
        out[:] = 0.0
        for k in range(taps.size):
            line, tap = image[min(max(y + k - reach, 0), height - 1)], taps[k]
            for x in range(width):
                out[x] += tap * np.float32(line[x])
        first, last = image[max(y - box, 0)], image[min(y + box + 1, height - 1)]
        for x in range(width):
            mean[x] = column[x] * scale
            column[x] += np.float32(last[x]) - np.float32(first[x])
    # along x, on rows with repeated ends; running sums of four rows side by side, as each waits for its last addition
    longest = (row.shape[1] - width - 1) // 2
    for y in range(height):
        out, line = narrow[y], row[0]
        for x in range(longest):
            line[x], line[longest + width + x] = out[0], out[width - 1]
        for x in range(width):
            line[longest + x] = out[x]
        out[:] = 0.0
        for k in range(taps.size):
            tap, shift = taps[k], longest - reach + k
            for x in range(width):
                out[x] += tap * line[shift + x]
    for first in range(0, height, 4):
        count = min(4, height - first)
        for r in range(4):
            mean, line = wide[first + min(r, count - 1)], row[r]
            for x in range(longest + 1):
                line[x] = mean[0]
                line[longest + width + x] = mean[width - 1]
            for x in range(width):
                line[longest + x] = mean[x]
        a = b = c = d = np.float32(0.0)
        for k in range(longest - box, longest + box + 1):
            a, b, c, d = a + row[0, k], b + row[1, k], c + row[2, k], d + row[3, k]
        back, ahead = longest - box, longest + box + 1
        for x in range(width):
            for r in range(count):
                wide[first + r, x] = scale * (a if r == 0 else b if r == 1 else c if r == 2 else d)
            a += row[0, x + ahead] - row[0, x + back]
            b += row[1, x + ahead] - row[1, x + back]
            c += row[2, x + ahead] - row[2, x + back]
            d += row[3, x + ahead] - row[3, x + back]


@njit(cache=True, nogil=True, fastmath=True)
def maxima(stack, lateral, axial, box, box_axial, noise, noise_model, least):
    """Local maxima of the filtered stack that stand out of the noise.

    Parameters
    ----------
    stack : (Z, H, W) array
        Grey levels.
    lateral, axial, box, box_axial, noise
        Of a `Filter`.
    noise_model : (offset, gain, floor)
        Variance of a voxel: max(offset + gain · level, floor).
    least : float
        Standard deviations of the filtered noise by which a maximum exceeds its background.

    Returns
    -------
    (N, 5) float64 array
        y, x, z of the voxel, its filtered brightness, its background [grey levels]; plane after plane.
    """
    planes, height, width = stack.shape
    offset, gain, floor = np.float32(noise_model[0]), np.float32(noise_model[1]), np.float32(noise_model[2])
    limit, above_noise = np.float32((least * noise) ** 2), np.empty(width, np.float32)
    reach = axial.size // 2
    ring = max(reach, box_axial) * 2 + 2
    narrow, wide = np.empty((ring, height, width), np.float32), np.empty((ring, height, width), np.float32)
    total = np.zeros((height, width), np.float32)                    # of the box over the planes
    bright, ground = np.empty((3, height, width), np.float32), np.empty((3, height, width), np.float32)
    longest = max(lateral.size // 2, box) + 1
    row, column = np.empty((4, width + 2 * longest + 1), np.float32), np.empty(width, np.float32)
    room = 1024
    found, count = np.empty((room, 5)), 0
    filled = -1                                                      # last plane in the ring
    scale = np.float32(1.0 / (2 * box_axial + 1))
    for z in range(planes + 1):
        if z < planes:
            last = min(z + max(reach, box_axial), planes - 1)
            while filled < last:
                filled += 1
                _plane(stack[filled], lateral, box, narrow[filled % ring], wide[filled % ring], row, column)
            if z == 0:
                for k in range(-box_axial, box_axial + 1):
                    total += wide[min(max(k, 0), planes - 1) % ring]
            else:
                total += wide[min(z + box_axial, planes - 1) % ring] - wide[max(z - 1 - box_axial, 0) % ring]
            out, level = bright[z % 3], ground[z % 3]
            for y in range(height):
                line, mean_line = out[y], level[y]
                line[:] = 0.0
                for k in range(axial.size):
                    part, tap = narrow[min(max(z + k - reach, 0), planes - 1) % ring, y], axial[k]
                    for x in range(width):
                        line[x] += tap * part[x]
                for x in range(width):
                    mean_line[x] = total[y, x] * scale
        if z == 0:
            continue
        here, below, above = bright[(z - 1) % 3], bright[max(z - 2, 0) % 3], bright[min(z, planes - 1) % 3]
        mean = ground[(z - 1) % 3]
        deepest, highest = z - 1 == 0, z == planes
        for y in range(height):
            line, mean_line = here[y], mean[y]
            for x in range(width):                                   # below 0: background and noise explain it
                rise = max(line[x] - mean_line[x], np.float32(0.0))
                above_noise[x] = rise * rise - limit * max(offset + gain * mean_line[x], floor)
            for x in range(width):
                if above_noise[x] <= 0.0:
                    continue
                value = line[x]
                top = True
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        v, u = y + dy, x + dx
                        if v < 0 or u < 0 or v >= height or u >= width:
                            continue
                        earlier = dy < 0 or (dy == 0 and dx < 0)     # of equal ones the first counts
                        if dy != 0 or dx != 0:
                            top = top and (here[v, u] < value or (here[v, u] == value and not earlier))
                        if not deepest:
                            top = top and below[v, u] < value
                        if not highest:
                            top = top and above[v, u] <= value
                if not top:
                    continue
                if count == room:
                    room *= 2
                    grown = np.empty((room, 5))
                    copy_rows(found, grown)
                    found = grown
                found[count, 0], found[count, 1], found[count, 2] = y, x, z - 1
                found[count, 3], found[count, 4] = value, mean[y, x]
                count += 1
    return found[:count]
