"""TIFF stacks: plain, ImageJ and OME, compressed or not."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile

from vid2dyn.errors import DataError
from vid2dyn.readers._tiff_calibration import calibration
from vid2dyn.readers.base import (
    Reader,
    colour_warning,
    grey,
    grey_dtype,
    not_readable,
    truncated,
)
from vid2dyn.video import Video, VideoInfo

_BAD = (tifffile.TiffFileError, OSError, ValueError, IndexError, KeyError, RuntimeError, TypeError, struct.error,
        zlib.error)

@dataclass(frozen=True)
class Tiff(Reader):
    """TIFF stack of any bit depth; 8 and 16 bit are kept, others become float32.

    Frame interval and pixel size are taken from ImageJ and OME metadata; the resolution tag alone is
    not, because it describes paper. A stack whose only long axis is called Z is taken as time (ImageJ
    calls time series so unless told).

    Parameters
    ----------
    channel : int, optional
        Colour image: 0 red, 1 green (default), 2 blue. Multi-channel stack: channel number, 0 by default.
    z : int, optional
        Plane of a stack that has both Z and time; the middle one by default.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff", ".btf", ".stk", ".lsm")
    channel: int | None = None
    z: int | None = None

    def open(self, path: Path) -> Video:
        """The stack at `path`; frames that a cut file still holds are kept, and `warnings` says so."""
        with _opened(path) as tif:
            layout, warnings = _layout(tif, self.channel, self.z, path)
            plane = _plane(tif, layout, 0, path)
            units, unit_warnings = calibration(tif)
            codec = _codec(tif.series[0].keyframe)
            stated = max(layout.stated, _stated(tif, layout))
        info = VideoInfo(
            path, len(layout.pages), plane.shape[0], plane.shape[1], str(grey_dtype(plane.dtype)), units, codec,
            False, (*truncated(stated, len(layout.pages)), *warnings, *unit_warnings,
             *colour_warning(plane, layout.sample)))
        return TiffVideo(info, layout)


@dataclass(frozen=True)
class _Layout:
    """Which page is which frame; `offset` is set where all planes lie in one uncompressed block."""

    pages: range
    sample: int | None
    offset: int | None
    stated: int


class TiffVideo(Video):
    """A TIFF stack read page by page."""

    def __init__(self, info: VideoInfo, layout: _Layout) -> None:
        super().__init__(info)
        self._layout = layout

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1.

        Raises
        ------
        DataError
            Naming the frame that is damaged, of another size, or has NaN pixels.
        """
        if start >= stop:
            return
        with _opened(self.path) as tif:
            for number in range(start, stop):
                image = grey(_plane(tif, self._layout, number, self.path), self._layout.sample,
                             f"{self.path}, frame {number}")
                if image.shape != self.shape:
                    raise DataError(f"{self.path}: frame {number} is {image.shape[0]} x {image.shape[1]} px, the "
                                    f"first one {self.info.height} x {self.info.width}. Export one size.")
                yield image


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    log = logging.getLogger("tifffile")
    quiet, log.disabled = log.disabled, True                  # what it logs is said in our own warnings
    try:
        try:
            tif = tifffile.TiffFile(path)
            if not tif.series:
                raise tifffile.TiffFileError("it holds no image")
        except _BAD as error:
            raise not_readable(path, "TIFF", error) from None
        with tif:
            yield tif
    finally:
        log.disabled = quiet


def _layout(tif: tifffile.TiffFile, channel: int | None, z: int | None,
            path: Path) -> tuple[_Layout, tuple[str, ...]]:
    """Choose the time axis, the channel and the plane, and count the frames whose bytes are there."""
    series = tif.series[0]
    warnings: tuple[str, ...] = ()
    if len(tif.series) > 1:
        if series.kind in ("generic", "uniform"):
            raise DataError(f"{path}: image {len(series.pages)} is {tif.series[1].shape}, those before it "
                            f"{series.shape[-2:]}. Frames of one movie have one size: export it again.")
        warnings += (f"The file holds {len(tif.series)} image series; only the first is used.",)
    inner = series.keyframe.axes
    colour = "S" in inner
    sizes = dict(zip(series.axes[:len(series.axes) - len(inner)], series.shape))
    chosen = dict.fromkeys(sizes, 0)
    time = _time_axis(sizes, path)
    for axis, size in sizes.items():
        if axis == time or size == 1:
            continue
        if axis == "C":
            chosen[axis] = 0 if channel is None else _within(channel, size, "channel", path)
            warnings += () if channel is not None else (
                f"The stack has {size} channels; channel 0 is used (channel=1 takes the next).",)
        else:
            chosen[axis] = size // 2 if z is None else _within(z, size, "z", path)
            warnings += () if z is not None else (
                f"The stack has {size} planes in depth; plane {size // 2} is used (z=0 takes the first).",)
    if time == "Z":
        warnings += ("The stack's only long axis is called Z; it is taken as time.",)
    pages = _pages(sizes, chosen, time)
    offset = series.dataoffset if series.dataoffset is not None and not colour else None
    whole = _whole(tif, pages, offset, path)
    if whole == 0:
        raise not_readable(path, "TIFF", "its first frame is cut off")
    return _Layout(pages[:whole], channel if colour else None, offset, len(pages)), warnings


def _time_axis(sizes: dict[str, int], path: Path) -> str | None:
    """T; else the only other long axis that is neither channel nor depth; else depth."""
    long = [axis for axis, size in sizes.items() if size > 1]
    if "T" in long:
        rest = [axis for axis in long if axis not in "TCZ"]
    else:
        rest = [axis for axis in long if axis not in "CZ"]
        if len(rest) == 1:
            return rest[0]
        if not rest:
            return "Z" if "Z" in long else None
    if rest:
        raise DataError(f"{path}: axes {', '.join(f'{a} ({sizes[a]})' for a in long)}: which one is time is "
                        "unclear. Export a stack with axes T, Y, X.")
    return "T"


def _within(value: int, size: int, name: str, path: Path) -> int:
    if not 0 <= value < size:
        raise DataError(f"{path}: {name}={value} does not exist, the stack has {size} (counted from 0).")
    return value


def _pages(sizes: dict[str, int], chosen: dict[str, int], time: str | None) -> range:
    """Page numbers of the frames: pages count with the last axis running fastest."""
    stride, first, step = 1, 0, 1
    for axis in reversed(sizes):
        first += 0 if axis == time else chosen[axis] * stride
        step = stride if axis == time else step
        stride *= sizes[axis]
    count = 1 if time is None else sizes[time]
    return range(first, first + count * step, step)


def _whole(tif: tifffile.TiffFile, pages: range, offset: int | None, path: Path) -> int:
    """Frames from the first on whose bytes are all in the file."""
    size = path.stat().st_size
    key = tif.series[0].keyframe
    if offset is not None:
        in_file = (size - offset) // _plane_bytes(key)
        return sum(1 for page in pages if page < in_file)
    series = tif.series[0]

    def there(page_number: int) -> bool:
        try:
            page = series.pages[page_number]
            return page is not None and all(o + n <= size for o, n in zip(page.dataoffsets, page.databytecounts))
        except _BAD:
            return False

    if there(pages[-1]):                                      # pages are written in order: try the last one
        return len(pages)
    low, high = 0, len(pages) - 1                             # frames [0, low) are whole, frame `high` is not
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if there(pages[middle]) else (low, middle)
    return low


def _plane_bytes(key: Any) -> int:
    return int(key.imagelength * key.imagewidth * key.dtype.itemsize)


def _plane(tif: tifffile.TiffFile, layout: _Layout, number: int, path: Path) -> np.ndarray:
    """The (H, W) or (H, W, samples) pixels of a frame."""
    page_number = layout.pages[number]
    key = tif.series[0].keyframe
    try:
        if layout.offset is not None:
            data = np.fromfile(path, dtype=np.dtype(key.dtype).newbyteorder(tif.byteorder),
                               count=key.imagelength * key.imagewidth,
                               offset=layout.offset + page_number * _plane_bytes(key))
            image = data.reshape(key.imagelength, key.imagewidth)
        else:
            page: Any = tif.series[0].pages[page_number]
            image = page.asarray()
            image = np.moveaxis(image, 0, -1) if key.axes.startswith("S") else image
    except _BAD as error:
        raise DataError(f"{path}: frame {number} cannot be read ({error}); the file is damaged there. "
                        "Copy or export it again.") from None
    return image


def _stated(tif: tifffile.TiffFile, layout: _Layout) -> int:
    """Frames that the writer's own description promises; 0 where it says nothing."""
    promised = 0
    for table in tif.shaped_metadata or ():
        shape = table.get("shape", ())
        planes = shape[:-3] if len(shape) > 2 and shape[-1] in (3, 4) else shape[:-2]
        promised = max(promised, math.prod(planes))
    if tif.is_imagej and tif.imagej_metadata:
        promised = int(tif.imagej_metadata.get("images", 0))
    return promised // max(1, layout.pages.step)


def _codec(page: Any) -> str:
    name = getattr(page.compression, "name", str(page.compression)).lower()
    return {"none": "raw", "adobe_deflate": "tiff-zlib", "deflate": "tiff-zlib"}.get(name, f"tiff-{name}")
