"""NorPix StreamPix sequences (.seq), uncompressed.

Places in the header are those of the StreamPix documentation ("Sequence file format"); little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.grey import grey
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, file_units, not_readable, truncated

_MAGIC, _MONO = 0xFEED, 100


@dataclass(frozen=True)
class Norpix(Reader):
    """StreamPix .seq: grey, 8 or 16 bit, uncompressed; the frame rate is the one in the header."""

    suffixes: ClassVar[tuple[str, ...]] = (".seq",)

    def open(self, path: Path) -> Video:
        """The sequence at `path`; frames that a cut file still holds are kept, and `warnings` says so."""
        try:
            header = path.open("rb").read(1024)
            (magic,), (version,) = struct.unpack_from("<I", header, 0), struct.unpack_from("<i", header, 28)
            width, height, bits, _, image_bytes, kind, stated = struct.unpack_from("<7I", header, 548)
            step, rate = struct.unpack_from("<Id", header, 580)
            (compression,) = struct.unpack_from("<I", header, 620)
        except (struct.error, OSError) as error:
            raise not_readable(path, "NorPix sequence", error) from None
        if magic != _MAGIC:
            raise not_readable(path, "NorPix sequence", "it does not begin with 0xFEED")
        if compression or kind != _MONO or bits not in (8, 16) or image_bytes < width * height * bits // 8:
            raise DataError(f"{path}: only uncompressed grey sequences of 8 or 16 bit can be read (this one: "
                            f"{bits} bit, format {kind}, compression {compression}). Export it as TIFF or AVI.")
        first = 8192 if version >= 5 else 1024                # version 5 is StreamPix 6
        dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
        last_byte = width * height * dtype.itemsize           # the time stamp behind the last image may be missing
        size = path.stat().st_size
        present = max(0, (size - first - last_byte) // step + 1) if step else 0
        n = min(present, stated) if stated else present       # room is allocated ahead of the recording
        if n == 0:
            raise not_readable(path, "NorPix sequence", "it holds not one whole image")
        units, warnings = file_units(frames_per_second=rate)
        info = VideoInfo(path, n, height, width, dtype.name, units, "raw", False,
                         (*truncated(stated, n), *warnings))
        return NorpixVideo(info, first, step)


class NorpixVideo(Video):
    """A .seq file read image by image."""

    def __init__(self, info: VideoInfo, first: int, step: int) -> None:
        super().__init__(info)
        self._first = first
        self._step = step

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1."""
        height, width = self.shape
        with open(self.path, "rb") as stream:
            for number in range(start, stop):
                stream.seek(self._first + number * self._step)
                values = np.fromfile(stream, np.dtype(self.info.dtype).newbyteorder("<"), height * width)
                if values.size < height * width:
                    raise DataError(f"{self.path}: frame {number} is cut off; the file changed. Open it again.")
                yield grey(values.reshape(height, width), None, f"{self.path}, frame {number}")
