"""A region of interest: whole pixels of a frame in which particles were looked for.

Its edges count like those of the view in all statistics. A region is a set of pixels, each a unit square about its
centre, so that areas, set covariances and "inside" agree to rounding, whatever it was drawn with.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError

_ANGLES = 360
"""Directions of half a turn that a shell is averaged over."""


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of a frame.

    Parameters
    ----------
    mask : (height, width) bool array
        True inside. A place (y, x) [px] is inside where its nearest pixel is.

    Examples
    --------
    >>> square = Region.of([[10, 10], [29, 49]], (64, 64))
    >>> square.area, square.contains(np.array([9.4, 9.6]), np.array([20.0, 20.0])).tolist(), square.inscribed()
    (800, [False, True], (10, 10, 20, 40))
    """

    mask: np.ndarray

    @classmethod
    def of(cls, shape: str | os.PathLike[str] | Sequence[Sequence[float]], size: tuple[int, int]) -> Region:
        """What a user gave: two opposite corners of a rectangle, three or more corners of a polygon, each (y, x) [px],
        or the path of a mask image, which is not zero inside.

        Parameters
        ----------
        size : (height, width)
            Of the frames.

        Raises
        ------
        ConfigError
            For a mask of another size than the frame, and for a region without a pixel.
        """
        if isinstance(shape, str | os.PathLike):
            mask = _image(shape)
            if mask.shape != tuple(size):
                raise ConfigError(f"roi = {os.fspath(shape)!r}: the mask has {mask.shape[0]} x {mask.shape[1]} px, the "
                                  f"frames {size[0]} x {size[1]} px. Save a mask of the size of the frames.")
            mask = mask != 0
        else:
            corners = np.asarray(shape, dtype=float)
            y, x = np.mgrid[:size[0], :size[1]]
            if len(corners) == 2:
                low, high = corners.min(axis=0), corners.max(axis=0)
                mask = (y >= low[0]) & (y <= high[0]) & (x >= low[1]) & (x <= high[1])
            else:
                from skimage.draw import polygon2mask

                mask = polygon2mask(size, corners)
        if not mask.any():
            raise ConfigError(f"roi = {shape!r}: no pixel of the frame ({size[0]} x {size[1]} px) lies inside. Corners "
                              "are (y, x) in pixels, counted from the upper left.")
        return cls(np.ascontiguousarray(mask))

    @property
    def area(self) -> int:
        """Pixels inside [px²]."""
        return int(self.mask.sum())

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """First row, row after the last, first column, column after the last."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1

    def contains(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n,) bool: which places [px] are inside."""
        i, j = (np.floor(np.asarray(value, float) + 0.5).astype(np.int64) for value in (y, x))
        height, width = self.mask.shape
        within = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        return within & self.mask[np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)]

    def clipped(self, low: Sequence[float], high: Sequence[float]) -> Region:
        """Without what lies outside of a rectangle with corners `low` and `high` (y, x) [px]; whole pixels."""
        kept = np.zeros_like(self.mask)
        first = [max(int(np.floor(v + 0.5)), 0) for v in low]
        last = [max(int(np.floor(v + 0.5)), 0) + 1 for v in high]
        inside = slice(first[0], last[0]), slice(first[1], last[1])
        kept[inside] = self.mask[inside]
        return Region(kept if kept.any() else self.mask)

    def zoomed(self, factor: float) -> Region:
        """The same region in pixels that are smaller by `factor`."""
        if factor == 1:
            return self
        height, width = (max(1, round(edge * factor)) for edge in self.mask.shape)
        rows = np.minimum((np.arange(height) / factor).astype(int), self.mask.shape[0] - 1)
        columns = np.minimum((np.arange(width) / factor).astype(int), self.mask.shape[1] - 1)
        return Region(self.mask[np.ix_(rows, columns)])

    def inscribed(self) -> tuple[int, int, int, int]:
        """The largest rectangle inside: first row and column, height and width [px]."""
        return self._inscribed

    @cached_property
    def _inscribed(self) -> tuple[int, int, int, int]:
        from vid2dyn.data.largest_rectangle import largest_rectangle

        top, left, height, width = (int(v) for v in largest_rectangle(self.mask))
        return top, left, height, width

    def pair_probability(self, edges: np.ndarray) -> np.ndarray:
        """Probability that two independent points of the region are a distance in each shell apart, (bins,).

        The integral over the shell of the set covariance over the area squared (Stoyan, Kendall, Mecke, Stochastic
        Geometry, ch. 6). Of a set of pixels the covariance at a shift of whole pixels is a count of pixels, and
        bilinear between: exact but for the quadrature in radius and angle.

        Parameters
        ----------
        edges : (bins + 1,) array
            [px]

        >>> square = Region(np.ones((40, 40), bool))
        >>> a, r = 40.0, np.array([0.0, 10.0])
        >>> exact = (np.pi * r**2 * a**2 - 8 * a * r**3 / 3 + r**4 / 2) / a**4
        >>> bool(abs(square.pair_probability(r)[0] / np.diff(exact)[0] - 1) < 1e-3)
        True
        """
        from scipy.fft import irfft2, next_fast_len, rfft2

        top, bottom, left, right = self.bounds
        cut = self.mask[top:bottom, left:right].astype(float)
        reach = int(np.ceil(edges[-1])) + 1
        size = [next_fast_len(edge + reach + 1, real=True) for edge in cut.shape]
        spectrum = rfft2(cut, size)
        covariance = np.round(irfft2(np.abs(spectrum) ** 2, size))
        angle = (np.arange(_ANGLES) + 0.5) * np.pi / _ANGLES
        sine, cosine = np.sin(angle), np.cos(angle)
        out = np.empty(len(edges) - 1)
        for k, (a, b) in enumerate(itertools.pairwise(edges)):
            node, weight = np.polynomial.legendre.leggauss(int(min(max(8, 2 * (b - a)), 64)))
            radius, weight = 0.5 * (b - a) * node + 0.5 * (a + b), 0.5 * (b - a) * weight
            y, x = radius[:, None] * sine, radius[:, None] * cosine
            i, j = np.floor(y).astype(int), np.floor(x).astype(int)
            v, u = y - i, x - j
            mean = ((1 - v) * ((1 - u) * covariance[i, j] + u * covariance[i, j + 1])
                    + v * ((1 - u) * covariance[i + 1, j] + u * covariance[i + 1, j + 1])).mean(axis=1)
            out[k] = 2 * np.pi * (weight * radius * mean).sum()
        return out / cut.sum() ** 2

    def distance(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance of places to the edge of the region, (n,) [px], and its gradient, (n, 2).

        Of pixel centres to the nearest centre outside, less half a pixel; bilinear between, so that the gradient is
        that of the distance.
        """
        field = self._distances
        i = np.clip(np.floor(np.asarray(y, float)).astype(int) + 1, 0, field.shape[0] - 2)
        j = np.clip(np.floor(np.asarray(x, float)).astype(int) + 1, 0, field.shape[1] - 2)
        v, u = np.clip(y + 1 - i, 0, 1), np.clip(x + 1 - j, 0, 1)
        a, b, c, d = field[i, j], field[i, j + 1], field[i + 1, j], field[i + 1, j + 1]
        value = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
        slope = np.stack([(1 - u) * (c - a) + u * (d - b), (1 - v) * (b - a) + v * (d - c)], axis=1)
        return value, slope

    @cached_property
    def _distances(self) -> np.ndarray:
        """(height + 2, width + 2) distance of pixel centres to the edge; what lies outside the frame is outside."""
        from scipy.ndimage import distance_transform_edt

        return np.asarray(distance_transform_edt(np.pad(self.mask, 1))) - 0.5

    def to_dict(self) -> dict[str, Any]:
        """Size and runs of pixels, row after row, beginning outside: plain data for a file."""
        change = np.flatnonzero(np.diff(np.concatenate([[False], self.mask.ravel(), [not self.mask.flat[-1]]])))
        return {"size": list(self.mask.shape), "runs": np.diff(np.append(0, change)).tolist()}

    @classmethod
    def from_dict(cls, stated: dict[str, Any]) -> Region:
        """What `to_dict` gave.

        >>> made = Region.of([[2, 2], [4, 3]], (6, 5))
        >>> bool((Region.from_dict(made.to_dict()).mask == made.mask).all())
        True
        """
        height, width = (int(edge) for edge in stated["size"])
        runs = np.asarray(stated["runs"], dtype=np.int64)
        if height < 1 or width < 1 or (runs < 0).any() or runs.sum() != height * width:
            raise ValueError("the region is not one of its frame")
        return cls(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width))


def _image(path: str | os.PathLike[str]) -> np.ndarray:
    """A grey image as (height, width); `DataError` where there is none."""
    from vid2dyn.core.files import existing_file
    from vid2dyn.core.opencv import cv2

    path = existing_file(path)
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        import tifffile

        try:
            image = tifffile.imread(path)
        except (OSError, ValueError, tifffile.TiffFileError):
            raise DataError(f"{path}: not an image that can be read; save it as PNG or TIFF.") from None
    image = np.asarray(image)
    return image.max(axis=2) if image.ndim == 3 else image


def grey_image(path: str | os.PathLike[str]) -> np.ndarray:
    """A grey image of a file, (height, width) float64, e.g. a flat field; colours: the largest of a pixel."""
    return _image(path).astype(float)
