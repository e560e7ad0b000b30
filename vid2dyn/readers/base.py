"""What every reader shares: the interface, the choice of grey, and the door for calibration found in files."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from vid2dyn.core.configurable import Configurable
from vid2dyn.core.errors import DataError
from vid2dyn.data.grey import channel_of
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video

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
    rate_is_the_cameras : bool
        Whether a frame rate that the file states is that of the recording; movies state how fast they are played.
    """

    suffixes: ClassVar[tuple[str, ...]]
    folders: ClassVar[bool] = False
    rate_is_the_cameras: ClassVar[bool] = True

    @abstractmethod
    def open(self, path: Path) -> Video:
        """The recording at `path`, with the calibration that the file states; no frame is kept in memory.

        Raises
        ------
        DataError
            Naming the file and the cure, where it is no recording of this kind.
        """


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
               exposure: float | None = None,
               micrometre_per_plane: float | None = None) -> tuple[Units, tuple[str, ...]]:
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
    return Units(sound(micrometre_per_pixel), rate, shutter,
                 micrometre_per_plane=sound(micrometre_per_plane)), warnings


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
