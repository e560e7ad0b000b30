"""What every reader shares: the interface, the choice of grey, and the door for calibration found in files."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from vid2dyn.core.configurable import Configurable
from vid2dyn.core.errors import DataError
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video

GREEN = 1
"""Channel taken from a colour image (0 red, 1 green, 2 blue) unless another one is asked for.

Green has the most sensor pixels, the best sampling in compressed colour, and is the channel that
trackpy's published numbers were computed from.
"""

_COARSE = 1e-4                    # steps of single precision over the range of a frame: less is below any noise
_COLOURS = ("red", "green", "blue", "alpha")


class Reader(Configurable, ABC):
    """Opens one kind of file as a `Video`.

    A reader is a frozen dataclass; its fields (`channel`, `z`) are the options that `open_video`
    accepts beside the calibration. It is found because its file is in this package, or through the
    entry-point group ``vid2dyn.readers``.

    Attributes
    ----------
    suffixes : tuple of str
        File name endings in lower case, with the dot.
    folders : bool
        Whether it also opens folders and patterns such as ``frames/*.png``.
    """

    suffixes: ClassVar[tuple[str, ...]]
    folders: ClassVar[bool] = False

    @abstractmethod
    def open(self, path: Path) -> Video:
        """The recording at `path`, with the calibration that the file states; no frame is kept in memory.

        Raises
        ------
        DataError
            Naming the file and the cure, where it is no recording of this kind.
        """


def grey(image: np.ndarray, channel: int | None, where: str) -> np.ndarray:
    """One (H, W) plane of an image that is (H, W) or (H, W, samples), as uint8, uint16 or float32.

    Parameters
    ----------
    image : (H, W) or (H, W, samples) array
        One sample is grey, two are grey and alpha, three or four are colour in the order R, G, B[, A].
    channel : int or None
        Sample of a colour image; None takes green.
    where : str
        File and frame, said in errors.

    Raises
    ------
    DataError
        When the channel does not exist, or pixels are NaN or infinite.

    Examples
    --------
    >>> grey(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), None, "clip.png").tolist()
    [[1, 4], [7, 10]]
    """
    if image.ndim == 3:
        samples = image.shape[2]
        image = image[..., channel_of(samples, channel, where)]
    if image.ndim != 2:
        raise DataError(f"{where}: an image has height and width, this one has shape {image.shape}. "
                        "Export one plane per frame.")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        bad = np.argwhere(~np.isfinite(image))
        raise DataError(f"{where}: {len(bad)} pixels are NaN or infinite, the first at row {bad[0][0]}, column "
                        f"{bad[0][1]}. Fill them (with the background, say) and save the movie again.")
    if image.dtype.kind not in "bui" and image.dtype.kind != "f":
        raise DataError(f"{where}: pixels are of type {image.dtype}; a recording has real numbers. Export the "
                        "magnitude of "
                        "complex pixels, say.")
    dtype = grey_dtype(image.dtype)
    _fits_single_precision(image, dtype, where)
    return np.ascontiguousarray(image, dtype=dtype)


def _fits_single_precision(image: np.ndarray, dtype: np.dtype, where: str) -> None:
    """Refuse wide pixels that single precision would round away: a large pedestal under little light, or too large."""
    if dtype != np.float32 or image.dtype.itemsize < 4 or image.dtype == np.float32 or not image.size:
        return
    low, high = float(image.min()), float(image.max())
    most = max(abs(low), abs(high))
    if most > float(np.finfo(np.float32).max):
        raise DataError(f"{where}: a pixel is {most:g}, too large for single precision. Divide the movie by a "
                        "constant and "
                        "save it again.")
    step = float(np.spacing(np.float32(most)))
    if high > low and step > _COARSE * (high - low):
        raise DataError(f"{where}: pixels lie between {low:.10g} and {high:.10g}, where single precision goes in "
                        "steps of "
                        f"{step:g}. Subtract the pedestal from the movie and save it again.")


def grey_dtype(dtype: np.dtype) -> np.dtype:
    """The type in which pixels are handed on: 8 and 16 bit unsigned as they are, all else as float32."""
    kind = {("b", 1): np.uint8, ("u", 1): np.uint8, ("u", 2): np.uint16}
    return np.dtype(kind.get((dtype.kind, dtype.itemsize), np.float32))


def channel_of(samples: int, channel: int | None, where: str) -> int:
    """The sample to take from a pixel that has `samples` of them."""
    if channel is None:
        return GREEN if samples >= 3 else 0
    if not 0 <= channel < samples:
        raise DataError(f"{where}: channel {channel} does not exist, there are {samples} (counted from 0).")
    return channel


def colour_warning(image: np.ndarray, channel: int | None) -> tuple[str, ...]:
    """A warning if the (H, W, >=3) image in R, G, B order has colour, else nothing.

    Grey stored as colour differs between channels by rounding only; a mean spread beyond 2 % of
    the brightest pixel (at least 2 grey levels) is colour.
    """
    if image.ndim != 3 or image.shape[2] < 3:
        return ()
    red, green, blue = (image[..., k].astype(np.float32) for k in range(3))
    brightest = np.maximum(np.maximum(red, green), blue)
    spread = float((brightest - np.minimum(np.minimum(red, green), blue)).mean())
    if spread <= max(2.0, 0.02 * float(brightest.max())):
        return ()
    name = _COLOURS[channel_of(image.shape[2], channel, "")]
    return (f"The movie is in colour; only its {name} channel is used "
            "(channel=0 takes red, 1 green, 2 blue).",)


def file_units(*, frames_per_second: float | None = None, micrometre_per_pixel: float | None = None,
               exposure: float | None = None) -> tuple[Units, tuple[str, ...]]:
    """Calibration found in a file, with what makes no sense left out, and warnings about that.

    >>> file_units(frames_per_second=0.0, micrometre_per_pixel=0.1)[0]
    Units(micrometre_per_pixel=0.1, frames_per_second=None, exposure=None, ...)
    """
    def sound(value: float | None) -> float | None:
        return float(value) if value is not None and math.isfinite(value) and value > 0 else None

    rate, shutter = sound(frames_per_second), sound(exposure)
    warnings: tuple[str, ...] = ()
    if rate and shutter and shutter * rate > 1 + 1e-6:
        warnings = (f"The file states an exposure of {shutter:g} s, longer than a frame of {1 / rate:g} s; "
                    "it is ignored. Give exposure=... if you know it.",)
        shutter = None
    return Units(sound(micrometre_per_pixel), rate, shutter), warnings


def not_square(width: float | None, height: float | None) -> tuple[str, ...]:
    """A warning where the file states pixels [µm] that are not square.

    >>> not_square(0.1, 0.1), len(not_square(0.1, 0.2))
    ((), 1)
    """
    if not width or not height or abs(width / height - 1) <= 1e-3:
        return ()
    return (f"Pixels are not square ({width:g} x {height:g} µm); the width is used for both axes, so lengths along y "
            "are "
            f"wrong by a factor of {height / width:.4g}. Resample the recording to square pixels, or analyse x alone.",)


def truncated(stated: int, readable: int) -> tuple[str, ...]:
    """The warning that a recording was cut short, or nothing."""
    if readable >= stated:
        return ()
    return (f"The recording is cut short: it states {stated} frames, {readable} can be read and are used. "
            "Copy the file again if the rest matters.",)


def not_readable(path: Path, kind: str, reason: object) -> DataError:
    """The error for a file that is not what its name says."""
    return DataError(f"{path}: not a readable {kind} ({str(reason).rstrip('.')}). Check that the file is complete "
                     "and that its suffix is its real format, then copy or export it again.")
