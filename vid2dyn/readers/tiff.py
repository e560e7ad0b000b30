"""TIFF stacks: plain, ImageJ and OME, compressed or not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile

from vid2dyn.core.errors import DataError
from vid2dyn.data.grey import grey, grey_dtype
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, colour_warning, not_readable, truncated
from vid2dyn.readers.tiff_calibration import calibration
from vid2dyn.readers.tiff_layout import DAMAGE, Layout, choose, page_list, part_names, plane_bytes, stated_frames
from vid2dyn.readers.tiff_pixels import as_shown, shown_warning


@dataclass(frozen=True)
class Tiff(Reader):
    """TIFF stack of any bit depth; 8 and 16 bit are kept, others become float32.

    Frame interval and pixel size are taken from ImageJ and OME metadata; the resolution tag alone is
    not, because it describes paper. A file with time and depth (or with depth alone, and the distance of planes) is a
    recording of stacks. One whose only long axis is called Z without saying how far planes are apart is taken as time
    (ImageJ calls time series so unless told).

    Parameters
    ----------
    channel : int, optional
        Channel that is read: of a colour image 0 for red, 1 for green, 2 for blue, by default green; of a stack with
        several channels its number counted from 0, by default the first.
    z : int, optional
        Number of the one plane that is read, counted from 0, of a file with depth; by default all are, as stacks.
    stack : bool, optional
        Whether an axis Z without time is depth: true reads one stack, false frames in time. By default depth where the
        file states the distance of planes.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff", ".btf", ".stk", ".lsm")
    channel: int | None = None
    z: int | None = None
    stack: bool | None = None

    def open(self, path: Path) -> Video:
        """The stack at `path`; frames that a cut file still holds are kept, and `warnings` says so."""
        with _opened(path) as tif:
            layout, warnings = choose(tif, self.channel, self.z, path, self.stack)
            plane = _plane(tif, layout, 0, path)
            planes = len(layout.depth) if len(layout.depth) > 1 else 0
            units, unit_warnings = calibration(tif, planes > 0)
            codec = _codec(tif.series[0].keyframe)
            warnings += shown_warning(tif.series[0].keyframe, tif.is_imagej)
            stated = max(layout.stated, stated_frames(tif, layout))
        info = VideoInfo(
            path, len(layout.pages), plane.shape[0], plane.shape[1], str(grey_dtype(plane.dtype)), units, codec,
            False, (*truncated(stated, len(layout.pages)), *warnings, *unit_warnings,
                    *colour_warning(plane, layout.sample)), planes=planes, lossy=_lossy(codec))
        return TiffVideo(info, layout)


class TiffVideo(Video):
    """A TIFF stack read page by page."""

    def __init__(self, info: VideoInfo, layout: Layout) -> None:
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
                if not self.is_stack:
                    yield self._image(tif, number, 0)
                    continue
                stack = np.empty(self.shape, self.info.dtype)
                for z, further in enumerate(self._layout.depth):
                    stack[z] = self._image(tif, number, further)
                yield stack

    def _image(self, tif: tifffile.TiffFile, number: int, further: int) -> np.ndarray:
        """One plane of frame `number`, so many pages behind its first."""
        image = grey(_plane(tif, self._layout, number, self.path, further), self._layout.sample,
                     f"{self.path}, frame {number}")
        if image.shape != (self.info.height, self.info.width):
            raise DataError(f"{self.path}: frame {number} is {image.shape[0]} x {image.shape[1]} px, the "
                            f"first one {self.info.height} x {self.info.width}. Export one size.")
        return image


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    log = logging.getLogger("tifffile")
    quiet, log.disabled = log.disabled, True                  # what it logs is said in our own warnings
    try:
        try:
            tif = tifffile.TiffFile(path)
            if tif.is_ome:
                _own_folder_only(path, tif.ome_metadata or "")
            if not tif.series:
                raise tifffile.TiffFileError("it holds no image")
        except DAMAGE as error:
            if isinstance(error, DataError):
                raise
            raise not_readable(path, "TIFF", error) from None
        with tif:
            yield tif
    finally:
        log.disabled = quiet


def _own_folder_only(path: Path, xml: str) -> None:
    """Refuse metadata that name files elsewhere, or declare what XML of microscopes never does."""
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise DataError(f"{path}: its OME metadata declare a document type or entities, which no microscope does; "
                        "refused "
                        "for safety. Export the recording again.")
    for name in part_names(xml):
        if name in ("", ".", "..") or any(sign in name for sign in "/\\:\0"):
            raise DataError(f"{path}: its OME metadata name the file {name!r}; the parts of a recording lie in one "
                            "folder "
                            "and are named without a path. Export the recording again.")


def _plane(tif: tifffile.TiffFile, layout: Layout, number: int, path: Path,
           further: int = 0) -> np.ndarray:
    """The (H, W) or (H, W, samples) pixels of a frame, as viewers show them."""
    page_number = layout.pages[number] + further
    key = tif.series[0].keyframe
    try:
        if layout.offset is not None:
            data = np.fromfile(path, dtype=np.dtype(key.dtype).newbyteorder(tif.byteorder),
                               count=key.imagelength * key.imagewidth,
                               offset=layout.offset + page_number * plane_bytes(key))
            image = data.reshape(key.imagelength, key.imagewidth)
        else:
            page = page_list(tif, layout.joined)[page_number]
            if page.parent is not tif:
                page.parent.filehandle.open()                 # one of several files; closed with the first
            image = page.asarray()
            image = np.moveaxis(image, 0, -1) if key.axes.startswith("S") else image
        return as_shown(image, key, tif.is_imagej)
    except DAMAGE as error:
        raise DataError(f"{path}: frame {number} cannot be read ({error}); the file is damaged there. "
                        "Copy or export it again.") from None


def _lossy(codec: str) -> bool | None:
    """Whether pixels were changed; None for the kinds of JPEG that can do without."""
    if "jpeg" not in codec:
        return False
    return True if codec in ("tiff-jpeg", "tiff-ojpeg") else None


def _codec(page: Any) -> str:
    name = getattr(page.compression, "name", str(page.compression)).lower()
    return {"none": "raw", "adobe_deflate": "tiff-zlib", "deflate": "tiff-zlib"}.get(name, f"tiff-{name}")
