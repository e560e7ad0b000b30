"""Files of microscopes (CZI, LIF, OME-Zarr, ...) through the optional package `bioio` and its readers.

bioio reads every format through a package of its own (bioio-czi, bioio-lif, bioio-ome-zarr, ...); errors name the one
that is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.grey import grey, grey_dtype
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, file_units, not_readable, not_square

_PACKAGES = {".czi": "bioio-czi", ".lif": "bioio-lif", ".zarr": "bioio-ome-zarr", ".dv": "bioio-dv",
             ".sldy": "bioio-sldy", ".oib": "bioio-bioformats", ".oif": "bioio-bioformats", ".ims": "bioio-bioformats",
             ".vsi": "bioio-bioformats", ".lsm": "bioio-bioformats"}
"""The package of bioio for each suffix that is not read otherwise."""


@dataclass(frozen=True)
class Microscope(Reader):
    """Microscope formats: the time series of one channel and one scene, of stacks where there are several depths.

    Parameters
    ----------
    channel : int, optional
        Number of the channel that is read, counted from 0; by default the first.
    z : int, optional
        Number of the one plane in depth that is read, counted from 0; by default all are, as stacks.
    position : int
        Number of the scene (field of view) that is read, counted from 0.
    """

    suffixes: ClassVar[tuple[str, ...]] = tuple(_PACKAGES)
    channel: int | None = None
    z: int | None = None
    position: int = 0

    def open(self, path: Path) -> Video:
        """The recording at `path`; needs `bioio` and its package for the format (``pip install vid2dyn[bioio]``)."""
        image = _image(path)
        scenes = len(image.scenes)
        if not 0 <= self.position < scenes:
            raise DataError(f"{path}: position={self.position} does not exist, the file has {scenes} (counted from 0).")
        image.set_scene(self.position)
        frames, channels, depth = (int(getattr(image.dims, axis)) for axis in "TCZ")
        deep = depth > 1 and self.z is None
        chosen = {"C": 0 if self.channel is None else self.channel, "Z": self.z or 0}
        for axis, name, count in (("C", "channel", channels), ("Z", "z", depth)):
            if not 0 <= chosen[axis] < count:
                raise DataError(f"{path}: {name}={chosen[axis]} does not exist, the file has {count} (counted from 0).")
        units, warnings = _calibration(image, deep)
        if channels > 1 and self.channel is None:
            warnings += (f"The file has {channels} channels; channel 0 is used (channel=1 takes the next).",)
        if scenes > 1:
            warnings += (f"The file has {scenes} scenes; number {self.position} is used.",)
        info = VideoInfo(path, frames, int(image.dims.Y), int(image.dims.X), str(grey_dtype(np.dtype(image.dtype))),
                         units, path.suffix.lower().lstrip("."), False, warnings, planes=depth if deep else 0)
        return MicroscopeVideo(info, self.position, {"C": chosen["C"]} if deep else chosen)


class MicroscopeVideo(Video):
    """A file of a microscope, plane by plane."""

    def __init__(self, info: VideoInfo, position: int, chosen: dict[str, int]) -> None:
        super().__init__(info)
        self._position, self._chosen = position, chosen

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1; `DataError` names the frame that cannot be read."""
        if start >= stop:
            return
        image = _image(self.path)
        image.set_scene(self._position)
        frames = image.get_image_dask_data("TZYX" if self.is_stack else "TYX", **self._chosen)
        for number in range(start, stop):
            try:
                frame = np.asarray(frames[number])
            except Exception as error:                        # the packages raise many kinds for a damaged file
                raise DataError(f"{self.path}: frame {number} cannot be read ({error}); the file is damaged there. "
                                "Copy it again.") from None
            where = f"{self.path}, frame {number}"
            yield np.stack([grey(plane, None, where) for plane in frame]) if self.is_stack else \
                grey(frame, None, where).copy()


def _image(path: Path) -> Any:
    package = _PACKAGES.get(path.suffix.lower(), "bioio")
    try:
        import bioio
    except ImportError:
        raise DataError(f"{path}: reading {path.suffix} files needs the packages bioio and {package}; install them "
                        f"with pip install bioio {package}, or export the recording as TIFF.") from None
    try:
        return bioio.BioImage(path)
    except Exception as error:                                # one of its own kinds says that a package is missing
        missing = "unsupported" in type(error).__name__.lower() or "plugin" in str(error).lower()
        if missing and not _installed(package):               # else bioio says the same of damaged files
            raise DataError(f"{path}: bioio has no package that reads it ({error}). Install {package}: pip install "
                            f"{package}; or export the recording as TIFF.") from None
        reason = f"{package} does not take it" if missing else error
        raise not_readable(path, f"{path.suffix.lstrip('.').upper()} file", reason) from None


def _installed(package: str) -> bool:
    try:
        importlib.import_module(package.replace("-", "_"))
    except ImportError:
        return False
    return True


def _calibration(image: Any, deep: bool) -> tuple[Any, tuple[str, ...]]:
    """Pixel size, distance of planes and frame rate, as far as the file states them."""
    size = getattr(image, "physical_pixel_sizes", None)
    width, height = getattr(size, "X", None), getattr(size, "Y", None)
    interval: Any = getattr(image, "time_interval", None)
    seconds = interval.total_seconds() if hasattr(interval, "total_seconds") else interval
    rate = 1.0 / float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None
    units, warnings = file_units(frames_per_second=rate, micrometre_per_pixel=width,
                                 micrometre_per_plane=getattr(size, "Z", None) if deep else None)
    return units, (*warnings, *not_square(width, height))
