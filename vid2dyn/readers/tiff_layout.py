"""Which page of a TIFF stack is which frame, and how many of them are really in the file."""

from __future__ import annotations

import html
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from vid2dyn.core.errors import DataError
from vid2dyn.readers.base import not_readable
from vid2dyn.readers.tiff_pixels import is_coloured

_MOST_CHANNELS = 6
"""Channels that a microscope records; a longer axis that is called so is time."""

LARGEST_FRAME = 4 << 30
"""Bytes of one frame that are read; a header that states more is wrong."""

DAMAGE = (tifffile.TiffFileError, OSError, ValueError, IndexError, KeyError, RuntimeError, TypeError, struct.error,
          zlib.error)
"""What tifffile and its decoders raise for a damaged file."""


@dataclass(frozen=True)
class Layout:
    """Which page is which frame; `offset` is set where all planes lie in one uncompressed block.

    `joined` says that the series of the file follow each other in time: pages count through all of them. Of stacks
    `pages` are those of the first planes, and `depth` says how many pages further the others are.
    """

    pages: range
    sample: int | None
    offset: int | None
    stated: int
    joined: bool = False
    depth: range = range(1)


def choose(tif: tifffile.TiffFile, channel: int | None, z: int | None, path: Path,
           stack: bool | None = None) -> tuple[Layout, tuple[str, ...]]:
    """Choose the time axis, the channel and the planes, and count the frames whose bytes are there.

    `stack` says whether an axis Z without time is depth; None: where the file states the distance of planes.
    """
    series = tif.series[0]
    frame_bytes = math.prod(series.keyframe.shape) * np.dtype(series.keyframe.dtype).itemsize
    if frame_bytes > LARGEST_FRAME:
        raise DataError(f"{path}: a frame of {' x '.join(map(str, series.keyframe.shape))} takes "
                        f"{frame_bytes / 2**30:.3g} GB, "
                        f"more than {LARGEST_FRAME / 2**30:.3g}: the file is damaged, or has to be cut into tiles.")
    coloured = "S" in series.keyframe.axes or is_coloured(series.keyframe, tif.is_imagej)
    sample = channel if coloured else None
    joined, warnings = _joined(tif, path)
    sizes, offset = ({"T": sum(len(one.pages) for one in tif.series)}, None) if joined else _axes(tif)
    chosen = dict.fromkeys(sizes, 0)
    deep = sizes.get("Z", 1) > 1 and z is None and stack is not False
    if deep and stack is None and sizes.get("T", 1) == 1:
        deep = plane_distance(tif) is not None and not (tif.imagej_metadata or {}).get("finterval")
    time, notes = _time_axis({a: n for a, n in sizes.items() if not (deep and a == "Z")}, channel, path)
    warnings += notes
    for axis, size in sizes.items():
        if axis == time or size == 1 or (deep and axis == "Z"):
            continue
        if axis == "C":
            chosen[axis] = 0 if channel is None else _within(channel, size, "channel", path)
            warnings += () if channel is not None else (
                f"The stack has {size} channels; channel 0 is used (channel=1 takes the next).",)
        else:
            chosen[axis] = size // 2 if z is None else _within(z, size, "z", path)
            warnings += () if z is not None else (
                f"The stack has {size} planes in depth; plane {size // 2} is used (z=0 takes the first).",)
    pages = _pages(sizes, chosen, time)
    depth = _pages(sizes, dict.fromkeys(sizes, 0), "Z") if deep else range(1)
    last = range(pages.start + depth[-1], pages.stop + depth[-1], pages.step)   # a frame is there with its last plane
    whole = _whole(tif, last, offset, path, joined)
    if whole == 0:
        raise not_readable(path, "TIFF", "its first frame is cut off")
    return Layout(pages[:whole], sample, offset, len(pages), joined, depth), warnings


def plane_distance(tif: tifffile.TiffFile) -> float | None:
    """Distance of planes that the file states, in whatever unit; None where it says nothing."""
    if tif.is_ome:
        said = re.search(r"""PhysicalSizeZ\s*=\s*["']([^"']*)["']""", tif.ome_metadata or "")
        stated = said and said.group(1)
    else:
        stated = (tif.imagej_metadata or {}).get("spacing")
    try:
        value = float(stated)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _joined(tif: tifffile.TiffFile, path: Path) -> tuple[bool, tuple[str, ...]]:
    """Whether the image series of the file are one movie: written one after the other, all of one kind and size."""
    first, rest = tif.series[0], tif.series[1:]
    if not rest:
        return False, ()
    key = first.keyframe
    other = next((k for k, one in enumerate(rest, start=1)
                  if one.keyframe.shape != key.shape or one.keyframe.dtype != key.dtype), None)
    if first.kind in ("generic", "uniform", "shaped"):
        simple = all(len(one.shape) - len(one.keyframe.axes) <= 1 for one in tif.series)
        if other is None and simple:
            return True, ()
        if first.kind != "shaped" or len(first.pages) == 1:
            wrong = tif.series[other or 1]
            raise DataError(f"{path}: image {sum(len(one.pages) for one in tif.series[:other or 1])} is {wrong.shape} "
                            f"{wrong.dtype}, those before it {key.shape} {key.dtype}. Frames of one movie have one "
                            "size "
                            "and one type: export it again.")
    return False, (f"The file holds {len(tif.series)} image series (fields of view, or sizes); only the first is "
                   "used.",)


def _axes(tif: tifffile.TiffFile) -> tuple[dict[str, int], int | None]:
    """Long axes of the stack with their sizes, and where its planes begin if they lie in one block.

    tifffile gives up the stack where the file is cut, or where ImageJ wrote more than 4 GB behind one
    page; the pages and the bytes are there nevertheless.
    """
    series = tif.series[0]
    inner = series.keyframe.axes
    sizes = dict(zip(series.axes[:len(series.axes) - len(inner)], series.shape))
    offset = None if "S" in inner or _of_other_files(tif) else series.dataoffset
    planes = math.prod(sizes.values())
    meta = tif.imagej_metadata or {}
    if planes == 1 and offset is not None and _count(meta, "images") > 1:
        sizes = {axis: _count(meta, name) for axis, name in (("T", "frames"), ("Z", "slices"), ("C", "channels"))}
        if math.prod(sizes.values()) != _count(meta, "images"):
            sizes = {"T": _count(meta, "images")}
    elif len(tif.series) == 1 and len(tif.pages) > planes and offset is None:
        sizes = {"T": len(tif.pages)}
    return sizes, offset


def _count(meta: dict[str, Any], name: str) -> int:
    """A count that ImageJ states; 1 where it is none."""
    try:
        return max(int(meta.get(name, 1)), 1)
    except (TypeError, ValueError, OverflowError):
        return 1


def _of_other_files(tif: tifffile.TiffFile) -> bool:
    """Whether pages of the stack lie in other files of the same recording."""
    if not tif.is_ome:
        return False
    try:
        return any(page is not None and page.parent is not tif for page in tif.series[0].pages)
    except DAMAGE:
        return False


def page_list(tif: tifffile.TiffFile, joined: bool) -> Any:
    """The pages that `_axes` counts."""
    if joined:
        return [page for series in tif.series for page in series.pages]
    pages = tif.series[0].pages
    return tif.pages if len(tif.series) == 1 and len(tif.pages) > len(pages) else pages


def _time_axis(sizes: dict[str, int], channel: int | None, path: Path) -> tuple[str | None, tuple[str, ...]]:
    """T; else the only other long axis that is neither channel nor depth; else depth; else many channels.

    And what was assumed."""
    long = [axis for axis, size in sizes.items() if size > 1]
    rest = [axis for axis in long if axis not in ("TCZ" if "T" in long else "CZ")]
    if "T" not in long:
        if len(rest) == 1:
            return rest[0], ()
        if not rest and "Z" in long:
            return "Z", ("The stack's only long axis is called Z; it is taken as time.",)
        if not rest and long and channel is None and sizes["C"] > _MOST_CHANNELS:
            return "C", (f"The stack's only long axis is called C (channel) and has {sizes['C']} entries; it is taken "
                         "as "
                         "time. If these are channels, give channel=0.",)
        if not rest:
            return None, ()
    if rest:
        raise DataError(f"{path}: axes {', '.join(f'{a} ({sizes[a]})' for a in long)}: which one is time is "
                        "unclear. Export a stack with axes T, Y, X.")
    return "T", ()


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


def _whole(tif: tifffile.TiffFile, pages: range, offset: int | None, path: Path, joined: bool) -> int:
    """Frames from the first on whose bytes are all in the file (or in the files of the recording)."""
    size = path.stat().st_size
    key = tif.series[0].keyframe
    if offset is not None:
        room = max((size - offset) // plane_bytes(key), 0)
        return len(range(pages.start, min(pages.stop, room), pages.step)) if room > pages.start else 0
    listed = page_list(tif, joined)
    if tif.is_ome:                                            # its pages may lie in other files, one of them missing
        absent = next((k for k, page in enumerate(pages) if page < len(listed) and listed[page] is None), None)
        missing = absent_parts(tif, path) if absent is not None else []
        if missing:
            raise DataError(f"{path}: frame {absent} is in {missing[0]}, which is not in the folder ({len(missing)} "
                            "of its "
                            "files are missing). Copy all files of the recording into one folder.")
        pages = pages[:absent]
        if not len(pages):
            return 0

    def there(page_number: int) -> bool:
        try:
            page = listed[page_number]
            end = size if page.parent is tif else page.parent.filehandle.size
            return all(o + n <= end for o, n in zip(page.dataoffsets, page.databytecounts))
        except DAMAGE:
            return False

    if there(pages[-1]):                                      # pages are written in order: try the last one
        return len(pages)
    low, high = 0, len(pages) - 1                             # frames [0, low) are whole, frame `high` is not
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if there(pages[middle]) else (low, middle)
    return low


def part_names(xml: str) -> list[str]:
    """Files that OME metadata say the recording consists of, in order."""
    return list(dict.fromkeys(html.unescape(name) for name in re.findall(r"""FileName\s*=\s*["']([^"']*)["']""", xml)))


def absent_parts(tif: tifffile.TiffFile, path: Path) -> list[str]:
    """Files of the recording that are not in its folder."""
    return [name for name in part_names(tif.ome_metadata or "") if not (path.parent / name).is_file()]


def plane_bytes(key: Any) -> int:
    return int(key.imagelength * key.imagewidth * key.dtype.itemsize)


def stated_frames(tif: tifffile.TiffFile, layout: Layout) -> int:
    """Frames that the writer's own description promises; 0 where it says nothing."""
    if layout.joined:
        return 0
    promised = 0
    inner = len(tif.series[0].keyframe.axes)                  # 3 where a pixel has several samples
    for table in tif.shaped_metadata or ():
        shape = table.get("shape", ())
        try:
            promised = max(promised, math.prod(int(edge) for edge in shape[:-inner]))
        except (TypeError, ValueError):
            continue
    if tif.is_imagej and tif.imagej_metadata:
        promised = _count(tif.imagej_metadata, "images") if "images" in tif.imagej_metadata else 0
    planes = math.prod(tif.series[0].shape[:-inner])
    return promised * layout.stated // planes if planes > 1 else promised // max(1, layout.pages.step)
