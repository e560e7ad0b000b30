"""Which page of a TIFF stack is which frame, and how many of them are really in the file."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from vid2dyn.core.errors import DataError
from vid2dyn.readers.base import not_readable

DAMAGE = (tifffile.TiffFileError, OSError, ValueError, IndexError, KeyError, RuntimeError, TypeError, struct.error,
          zlib.error)
"""What tifffile and its decoders raise for a damaged file."""


@dataclass(frozen=True)
class Layout:
    """Which page is which frame; `offset` is set where all planes lie in one uncompressed block."""

    pages: range
    sample: int | None
    offset: int | None
    stated: int


def choose(tif: tifffile.TiffFile, channel: int | None, z: int | None,
           path: Path) -> tuple[Layout, tuple[str, ...]]:
    """Choose the time axis, the channel and the plane, and count the frames whose bytes are there."""
    series = tif.series[0]
    warnings: tuple[str, ...] = ()
    if len(tif.series) > 1:
        if series.kind in ("generic", "uniform"):
            raise DataError(f"{path}: image {len(series.pages)} is {tif.series[1].shape}, those before it "
                            f"{series.shape[-2:]}. Frames of one movie have one size: export it again.")
        warnings += (f"The file holds {len(tif.series)} image series; only the first is used.",)
    sizes, offset = _axes(tif)
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
    whole = _whole(tif, pages, offset, path)
    if whole == 0:
        raise not_readable(path, "TIFF", "its first frame is cut off")
    return Layout(pages[:whole], channel if "S" in series.keyframe.axes else None, offset, len(pages)), warnings


def _axes(tif: tifffile.TiffFile) -> tuple[dict[str, int], int | None]:
    """Long axes of the stack with their sizes, and where its planes begin if they lie in one block.

    tifffile gives up the stack where the file is cut, or where ImageJ wrote more than 4 GB behind one
    page; the pages and the bytes are there nevertheless.
    """
    series = tif.series[0]
    inner = series.keyframe.axes
    sizes = dict(zip(series.axes[:len(series.axes) - len(inner)], series.shape))
    offset = None if "S" in inner else series.dataoffset
    planes = math.prod(sizes.values())
    meta = tif.imagej_metadata or {}
    if planes == 1 and offset is not None and int(meta.get("images", 1)) > 1:
        sizes = {axis: int(meta.get(name, 1)) for axis, name in (("T", "frames"), ("Z", "slices"), ("C", "channels"))}
        if math.prod(sizes.values()) != int(meta["images"]):
            sizes = {"T": int(meta["images"])}
    elif len(tif.series) == 1 and len(tif.pages) > planes and offset is None:
        sizes = {"T": len(tif.pages)}
    return sizes, offset


def page_list(tif: tifffile.TiffFile) -> Any:
    """The pages that `_axes` counts."""
    pages = tif.series[0].pages
    return tif.pages if len(tif.series) == 1 and len(tif.pages) > len(pages) else pages


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
        in_file = (size - offset) // plane_bytes(key)
        return sum(1 for page in pages if page < in_file)
    listed = page_list(tif)

    def there(page_number: int) -> bool:
        try:
            page = listed[page_number]
            return page is not None and all(o + n <= size for o, n in zip(page.dataoffsets, page.databytecounts))
        except DAMAGE:
            return False

    if there(pages[-1]):                                      # pages are written in order: try the last one
        return len(pages)
    low, high = 0, len(pages) - 1                             # frames [0, low) are whole, frame `high` is not
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if there(pages[middle]) else (low, middle)
    return low


def plane_bytes(key: Any) -> int:
    return int(key.imagelength * key.imagewidth * key.dtype.itemsize)


def stated_frames(tif: tifffile.TiffFile, layout: Layout) -> int:
    """Frames that the writer's own description promises; 0 where it says nothing."""
    promised = 0
    for table in tif.shaped_metadata or ():
        shape = table.get("shape", ())
        planes = shape[:-3] if len(shape) > 2 and shape[-1] in (3, 4) else shape[:-2]
        promised = max(promised, math.prod(planes))
    if tif.is_imagej and tif.imagej_metadata:
        promised = int(tif.imagej_metadata.get("images", 0))
    return promised // max(1, layout.pages.step)
