"""Where spots of several sizes may be: maxima that a valley parts, and places that look like a disc or a ring."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.core.opencv import cv2
from vid2dyn.tracking.cell_grid import cell_grid, grid_of_pixels, within
from vid2dyn.tracking.columns import AMPLITUDE, MOVE, POSITION, SPOT_COLUMNS, UNSETTLED, WIDTH, X, Y
from vid2dyn.tracking.detect.bandpass import band_pass, noise_gain
from vid2dyn.tracking.fit.sized import FINE, Shapes

_SIGNIFICANT = 4.0                 # standard deviations of the filtered noise that a maximum exceeds
_VALLEY, _SHALLOW = 4.0, 0.05      # depth of a valley: in these, and in parts of the lower maximum
_LIKE = 0.5                        # correlation with a disc or a ring, at least
_APART = 0.75                      # of the sum of two sizes: as near as two of them may be at first
_TILES, _LOW = 24, 0.10            # parts along the longer edge of a frame, and the quantile that is background there
_MISSED = 5.0                      # standard deviations of the brightness of a spot that was missed
_BESIDE = 0.08                     # and this part of the light that is there
_INSIDE = 0.15                     # part of the information on a whole spot that one cut by the frame needs


def rough_background(image: np.ndarray, noise: float) -> np.ndarray:
    """(H, W) float64: a low quantile of parts of the frame, less what noise takes off it [grey levels]."""
    height, width = image.shape
    edge = max(max(height, width) / _TILES, 16.0)
    rows, columns = (max(1, round(n / edge)) for n in (height, width))
    h, w = height // rows, width // columns
    tiles = image[:rows * h, :columns * w].reshape(rows, h, columns, w).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    k = int(_LOW * (h * w - 1))
    low = np.ascontiguousarray(np.partition(tiles, k, axis=2)[:, :, k], dtype=np.float32)
    even = cv2.blur(low, (3, 3), borderType=cv2.BORDER_REPLICATE).reshape(rows, columns)
    return cv2.resize(even, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float64) + 1.28 * noise


def maxima(image: np.ndarray, smallest: float, largest: float, noise: float) -> np.ndarray:
    """(M, 7) spots to begin with: maxima of the image, smoothed by about the smallest size, that valleys part.

    Parameters
    ----------
    image : (H, W) array of uint8, uint16 or float32
    smallest, largest : float
        Widths of Gaussians [px].
    noise : float
        Standard deviation of a background pixel [grey levels].
    """
    smooth = max(0.6 * smallest, 0.6)
    boxcar = 2 * math.ceil(3.0 * largest) + 1
    deviation = noise * noise_gain(smooth, boxcar)
    filtered, at = band_pass(image, smooth, boxcar, _SIGNIFICANT * deviation)
    at = at[_parted(at, filtered, 4.0 * largest, _VALLEY * deviation)]
    spots = np.zeros((len(at), SPOT_COLUMNS))
    spots[:, POSITION] = at
    spots[:, AMPLITUDE] = filtered[at[:, Y], at[:, X]] * (1.0 + (smooth / smallest) ** 2)
    spots[:, WIDTH], spots[:, MOVE] = math.sqrt(smallest * largest), UNSETTLED
    return spots


@njit(cache=True, nogil=True)
def _parted(at, filtered, reach, valley):
    """(M,) whether a valley parts a maximum from every higher one within `reach` [px]."""
    n = at.shape[0]
    own = np.ones(n, np.bool_)
    if n == 0:
        return own
    grid = grid_of_pixels(at, reach)
    number, distance = np.empty(n + 1, np.int64), np.empty(n + 1)
    for i in range(n):
        y, x = at[i]
        height = filtered[y, x]
        for k in range(within(grid, float(y), float(x), reach, 0.0, number, distance)):
            j = number[k]
            other = filtered[at[j, Y], at[j, X]]
            if j == i or other < height or (other == height and j > i) or distance[k] > reach * reach:
                continue
            dy, dx = at[j, Y] - y, at[j, X] - x
            steps = max(abs(dy), abs(dx))
            lowest = height
            for s in range(1, steps):
                a, b = y + dy * s / steps, x + dx * s / steps
                lowest = min(lowest, filtered[int(np.floor(a + 0.5)), int(np.floor(b + 0.5))])
            if height - lowest < max(valley, _SHALLOW * height):
                own[i] = False
                break
    return own


def lookalikes(image: np.ndarray, shape: str, sizes: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """(M, 7) spots to begin with: places most like a disc or a ring of one of the sizes [px]; and (M,) how much so.

    Compared with the correlation of the pixels around a place with the shape, -1 to 1, which does not ask for
    brightness and background. Of places so near that their images would overlap widely the better ones stay.
    """
    pictures = image.astype(np.float32), image.astype(np.float32) ** 2
    found = []
    for size in sizes:
        like, light = _correlation(*pictures, *template(shape, float(size)), noise)
        top = cv2.dilate(like, np.ones((3, 3), np.uint8))
        y, x = np.nonzero((like >= top) & (like > _LIKE) & (light > 0))
        found.append(np.column_stack([y, x, light[y, x], np.full(len(y), size), like[y, x]]))
    every = np.concatenate(found)
    every = every[np.argsort(-every[:, 4] * every[:, 3], kind="stable")]       # a small one fits into many places
    chosen = every[_in_turn(every[:, 0].copy(), every[:, 1].copy(), every[:, 3].copy(), _APART)]
    spots = np.zeros((len(chosen), SPOT_COLUMNS))
    spots[:, POSITION], spots[:, AMPLITUDE], spots[:, WIDTH] = chosen[:, :2], chosen[:, 2], chosen[:, 3]
    spots[:, MOVE] = UNSETTLED
    return spots, chosen[:, 4]


def profile_of(shape: str, u: np.ndarray) -> np.ndarray:
    """Brightness of a plain disc or ring at u = r/s: a disc falls to half at 1, a ring is brightest there."""
    if shape == "ring":
        return np.exp(-0.5 * ((u - 1.0) / 0.25) ** 2)
    return 1.0 / (1.0 + np.exp((u - 1.0) / 0.11))


EXTENT = {"disc": 1.25, "ring": 1.4}
"""r/s within which a place is compared with a disc or a ring: to where the next image begins."""


def template(shape: str, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Picture of a disc or ring on pixels, and the pixels that count: (2 n + 1, 2 n + 1) float32 each."""
    n = math.ceil(EXTENT[shape] * size)
    axis = np.arange(-n, n + 1)
    r = np.hypot(axis[:, None], axis[None, :])
    return profile_of(shape, r / size).astype(np.float32), (r <= EXTENT[shape] * size).astype(np.float32)


def _correlation(image: np.ndarray, squared: np.ndarray, picture: np.ndarray, mask: np.ndarray,
                 noise: float) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) correlation with the picture on the pixels that count, and the brightness that fits best."""
    pixels = float(mask.sum())
    contrast = (picture - (picture * mask).sum() / pixels) * mask
    power = float((contrast**2).sum())
    mean = cv2.filter2D(image, cv2.CV_32F, mask / pixels, borderType=cv2.BORDER_REFLECT)
    square = cv2.filter2D(squared, cv2.CV_32F, mask / pixels, borderType=cv2.BORDER_REFLECT)
    shared = cv2.filter2D(image, cv2.CV_32F, contrast, borderType=cv2.BORDER_REFLECT)
    spread = np.maximum(square - mean**2, 0.0) + noise**2
    return shared / np.sqrt(power * pixels * spread), shared / power


@njit(cache=True, nogil=True)
def _in_turn(y, x, size, apart):
    """(M,) which stay when each in turn takes the room of `apart` times the sum of two sizes."""
    n = y.size
    stay = np.ones(n, np.bool_)
    if n == 0:
        return stay
    reach = 2.0 * apart * size.max()
    grid = cell_grid(y, x, reach)
    number, distance = np.empty(n + 1, np.int64), np.empty(n + 1)
    for i in range(n):
        if not stay[i]:
            continue
        for k in range(within(grid, y[i], x[i], reach, reach, number, distance)):
            j = number[k]
            if j > i and distance[k] < (apart * (size[i] + size[j])) ** 2:
                stay[j] = False
    return stay


def missed(left: np.ndarray, weight: np.ndarray, light: np.ndarray, shapes: Shapes, sizes: np.ndarray) -> np.ndarray:
    """(M, 8) spots in what the fit leaves: columns of a table of spots, and their class.

    Some centres are beyond the frame, which cuts their images.

    Parameters
    ----------
    left, weight, light : (H, W) arrays
        What is left, inverse variance of pixels, light of all spots.
    shapes, sizes : Shapes, (C,) array
        Profiles and sizes that are looked for [px].
    """
    beyond = math.ceil(float(sizes.max()))
    weighted, w, lit = (np.pad(a, beyond).astype(np.float32) for a in (left * weight, weight, light))
    found = []
    for c, size in enumerate(sizes):
        n = min(math.ceil(shapes.reach[c] * size), 40)
        axis = np.arange(-n, n + 1)
        r = np.hypot(axis[:, None], axis[None, :]) / size
        picture = np.where(r < shapes.reach[c], np.interp(r * FINE, np.arange(shapes.table.shape[1]),
                                                          shapes.table[c, :, 0]), 0.0).astype(np.float32)
        information = cv2.filter2D(w, cv2.CV_32F, picture**2, borderType=cv2.BORDER_CONSTANT)
        information = np.maximum(information, _INSIDE * float(np.median(information)))
        gain = cv2.filter2D(weighted, cv2.CV_32F, picture, borderType=cv2.BORDER_CONSTANT) / np.sqrt(information)
        top = cv2.dilate(gain, np.ones((3, 3), np.uint8))
        y, x = np.nonzero((gain >= top) & (gain > _MISSED))
        bright = gain[y, x] / np.sqrt(information[y, x])
        around = cv2.dilate(lit, np.ones((2 * round(size) + 1,) * 2, np.uint8))[y, x]
        good = bright > _BESIDE * around
        found.append(np.column_stack([y - beyond, x - beyond, bright, np.full(len(y), size), gain[y, x],
                                      np.full(len(y), c)])[good])
    every = np.concatenate(found)
    every = every[np.argsort(-every[:, 4], kind="stable")]
    every = every[_in_turn(every[:, 0].copy(), every[:, 1].copy(), every[:, 3].copy(), 0.6)]
    out = np.zeros((len(every), SPOT_COLUMNS + 1))
    out[:, POSITION], out[:, AMPLITUDE], out[:, WIDTH] = every[:, :2], every[:, 2], every[:, 3]
    out[:, MOVE], out[:, -1] = UNSETTLED, every[:, 5]
    return out
