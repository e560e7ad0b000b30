"""The detector for particles of several sizes: every spot has a size of its own, or that of its class."""

from __future__ import annotations

import numpy as np

from vid2dyn.tracking.columns import (
    AMPLITUDE,
    COLUMNS,
    ECC,
    MASS,
    POSITION,
    SIZE,
    SIZED_COLUMNS,
    WIDTH,
    Flag,
    X,
    Y,
)
from vid2dyn.tracking.detect.appearance import measure_appearance
from vid2dyn.tracking.detect.bad_pixels import without_bad_pixels
from vid2dyn.tracking.detect.bandpass import band_pass
from vid2dyn.tracking.detect.base import Detector
from vid2dyn.tracking.detect.size_fit import FrameFit, SizedFit
from vid2dyn.tracking.detect.spots import ceiling_of, saturated, well_separated, with_bright_particles
from vid2dyn.tracking.fit.sized import FINE, Shapes
from vid2dyn.tracking.settings import Track

_PIXEL = 1.0 / 12.0                # variance that the area of a pixel adds to that of a Gaussian [px²]


class SizedSpots(Detector):
    """Spots of several sizes fitted together on the raw pixels: Gaussians, discs or rings.

    Features have four columns more than those of other detectors, see `vid2dyn.tracking.columns`: size of the image and
    its standard error [px], class and its probability.

    Parameters
    ----------
    settings : Track
        With `sizes`, `class_sizes`, `spot` and `invert` in force. `percentile`, `noise_size`, `smoothing_size` and
        `spot_width` are not used; a `minmass` of None keeps all whose brightness is five standard errors or more.

    Examples
    --------
    >>> y, x = np.mgrid[:96, :96]
    >>> places, widths = [(30, 30), (30, 62), (64, 30), (64, 62)], [1.5, 1.5, 3.0, 3.0]
    >>> light = sum(100 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * w * w)) for (a, b), w in zip(places, widths))
    >>> frame = (20 + light + np.random.default_rng(0).normal(0, 2, y.shape)).round().astype(np.uint8)
    >>> find = SizedSpots(Track(diameter=11, sizes="two", class_sizes=(1.5, 3.0), spot="gaussian", invert=False))
    >>> found = find(frame)
    >>> found[:, -2].astype(int).tolist(), found[:, 10].round(1).tolist()
    ([0, 0, 1, 1], [1.5, 1.5, 3.0, 3.0])
    """

    def __init__(self, settings: Track) -> None:
        self.settings = settings

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        fitted, image = self.fitted(frame)
        if fitted is None:
            return np.empty((0, SIZED_COLUMNS))
        return self._table(frame, image, fitted)

    def fitted(self, frame: np.ndarray) -> tuple[SizedFit | None, np.ndarray]:
        """All spots of a frame, those included that the settings drop; and the frame with bright particles."""
        settings = self.settings
        frame = frame if frame.dtype.isnative else frame.astype(frame.dtype.newbyteorder("="))
        image, noise = with_bright_particles(frame, settings.invert)
        image = without_bad_pixels(image, noise.std(float(np.median(image))))
        sizes = settings.class_sizes or (settings.diameter / 4.6,)
        shape = "gaussian" if settings.spot == "auto" else settings.spot
        return FrameFit(image, noise, shape, sizes, settings.sizes == "each").run(), image

    def _table(self, frame: np.ndarray, image: np.ndarray, fitted: SizedFit) -> np.ndarray:
        """(N, 14) features that pass the settings, in reading order."""
        settings, spots = self.settings, fitted.spots
        radius = settings.diameter // 2
        keep = np.isfinite(fitted.variances[:, :3]).all(axis=1) & (spots[:, AMPLITUDE] > 0)
        for axis, edge in ((Y, image.shape[0]), (X, image.shape[1])):
            keep &= (spots[:, axis] >= radius) & (spots[:, axis] <= edge - 1 - radius)
        filtered, _ = band_pass(image, settings.noise_size, settings.boxcar, np.inf)
        seen = measure_appearance(image, filtered, spots, radius, settings.threshold_for(frame))
        if settings.minmass:
            keep &= seen[:, MASS] > settings.minmass
        if settings.max_size is not None:
            keep &= seen[:, SIZE] < settings.max_size
        if settings.max_ecc is not None:
            keep &= seen[:, ECC] < settings.max_ecc
        if settings.separation:
            keep[keep] = well_separated(spots[keep, POSITION], seen[keep, MASS], settings.separation)
        flag = np.where(np.isfinite(fitted.near.nearest), int(Flag.TOGETHER), int(Flag.ALONE))
        flag[saturated(image, spots, ceiling_of(frame))] |= Flag.SATURATED
        if settings.spot in ("disc", "ring"):
            flag |= Flag.PROFILE
        size, error = sizes_of(fitted, settings.spot)
        std = np.minimum(np.sqrt(fitted.variances[:, 1:3]), radius)
        rows = np.arange(len(spots))
        table = np.column_stack([spots[:, POSITION], std, seen, flag, size, error, fitted.kind,
                                 fitted.probability[rows, fitted.kind if fitted.probability.shape[1] > 1 else 0]])
        table = table[keep]
        assert table.shape[1] == len(COLUMNS) + 4
        return table[np.lexsort((table[:, X], np.floor(table[:, Y])))]


def sizes_of(fitted: SizedFit, shape: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) sizes of all images, each its own, and their standard errors [px].

    Where sizes are held, one more turn with the size of a spot free says what it would be.
    """
    size = fitted.spots[:, WIDTH] * np.exp(np.clip(fitted.change, -0.7, 0.7))
    error = size * np.sqrt(fitted.variances[:, 3])
    if shape in ("disc", "ring"):
        edge = edges(fitted.shapes, shape)[fitted.kind]
        return size * edge, error * edge
    plain = np.sqrt(np.maximum(size**2 - _PIXEL, 0.01 * size**2))
    return plain, error * size / plain


def edges(shapes: Shapes, shape: str) -> np.ndarray:
    """(C,) r/s of the rim of a ring, or where a disc falls to half of its brightness."""
    out = []
    for light in shapes.table[:, :, 0]:
        k = int(light.argmax())
        if shape == "ring":
            bend = light[max(k - 1, 0)] - 2 * light[k] + light[k + 1]
            out.append((k + (0.5 * (light[max(k - 1, 0)] - light[k + 1]) / bend if k and bend < 0 else 0.0)) / FINE)
        else:
            below = k + int(np.argmax(light[k:] < 0.5))
            step = light[below - 1] - light[below]
            out.append((below - 1 + (light[below - 1] - 0.5) / max(step, 1e-12)) / FINE)
    return np.array(out)
