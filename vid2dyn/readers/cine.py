"""Phantom high-speed cameras (.cine).

Layout after Vision Research, "Cine File Format" (document of the Phantom SDK): a file header, a
bitmap header, a setup block, tagged blocks with one value per image, a table of image offsets.
Little-endian throughout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.grey import channel_of, grey
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, file_units, not_readable, truncated

_FIXED_POINT = 2.0**32
"""Times and exposures are stored in units of 2^-32 s."""

_TIMES, _EXPOSURES = 1002, 1003


@dataclass(frozen=True)
class Cine(Reader):
    """Phantom .cine, uncompressed, 8 or 16 bit (10 to 14 bit cameras store 16), grey or interpolated colour.

    The frame rate and the exposure are the camera's settings. Where the time stamps of the stored
    images disagree with that rate (every tenth image saved, say), a warning states both.

    Parameters
    ----------
    channel : int, optional
        Channel taken from a colour camera: 0 for red, 1 for green, 2 for blue; by default green.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".cine",)
    channel: int | None = None

    def open(self, path: Path) -> Video:
        """The recording at `path`; images that a cut file still holds are kept, and `warnings` says so."""
        try:
            header = _header(path)
        except DataError:                                     # says already what is wrong
            raise
        except (struct.error, OSError, ValueError) as error:
            raise not_readable(path, "Phantom .cine", error) from None
        if header.samples > 1:
            channel_of(header.samples, self.channel, str(path))
        readable = len(header.offsets)
        if readable == 0:
            raise not_readable(path, "Phantom .cine", "it holds not one whole image")
        units, warnings = file_units(frames_per_second=header.frames_per_second, exposure=header.exposure)
        if header.samples > 1:
            warnings += ("The movie is in colour; only one channel is used, green unless channel=... says "
                         "otherwise (0 red, 1 green, 2 blue).",)
        info = VideoInfo(path, readable, header.height, header.width, header.dtype.name, units, "raw", False,
                         (*truncated(header.stated, readable), *_uneven(header), *warnings))
        return CineVideo(info, header, self.channel)


@dataclass(frozen=True)
class _Header:
    height: int
    width: int
    samples: int
    dtype: np.dtype
    bottom_up: bool
    frames_per_second: float
    exposure: float
    stated: int
    offsets: tuple[int, ...]
    times: np.ndarray


class CineVideo(Video):
    """A .cine file read image by image."""

    def __init__(self, info: VideoInfo, header: _Header, channel: int | None) -> None:
        super().__init__(info)
        self._header = header
        self._channel = channel

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1, top row first."""
        h = self._header
        with open(self.path, "rb") as stream:
            for number in range(start, stop):
                stream.seek(h.offsets[number])
                values = np.fromfile(stream, h.dtype.newbyteorder("<"), h.height * h.width * h.samples)
                if values.size < h.height * h.width * h.samples:
                    raise DataError(f"{self.path}: frame {number} is cut off; the file changed. Open it again.")
                image = values.reshape(h.height, h.width, h.samples)[::-1 if h.bottom_up else 1]
                # colour is stored blue first
                image = image[..., 0] if h.samples == 1 else image[..., ::-1]
                yield grey(image, self._channel, f"{self.path}, frame {number}")


def _header(path: Path) -> _Header:
    """Everything but the pixels; raises ValueError or struct.error where the file is not as it should be."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        kind, _, compression, _, _, _, _, count, at_bitmap, at_setup, at_offsets = struct.unpack(
            "<2sHHHiIiIIII", stream.read(36))
        if kind != b"CI":
            raise ValueError("it does not begin with 'CI'")
        stated, count = count, min(count, max(size - at_offsets, 0) // 8)     # what the file can hold
        stream.seek(at_bitmap)
        _, width, height, _, bits, packing = struct.unpack("<IiiHHI", stream.read(20))
        stream.seek(at_setup)
        setup = stream.read(1572)
        # places in the setup block: Mark 140, Length 142, FrameRate 768, Shutter [µs] 772, CFA 808, ShutterNs 1568
        mark, length = struct.unpack_from("<2sH", setup, 140)
        if mark != b"ST":
            raise ValueError("its setup block is damaged")
        rate, shutter = struct.unpack_from("<II", setup, 768)
        (mosaic,) = struct.unpack_from("<I", setup, 808)
        nanoseconds = struct.unpack_from("<I", setup, 1568)[0] if length >= 1572 else 0
        _refuse(path, compression, packing, bits, mosaic)
        samples, dtype = (3 if bits in (24, 48) else 1), np.dtype(np.uint8 if bits in (8, 24) else np.uint16)
        tags = _tags(stream, at_setup + length, min(at_offsets, size), count)
        stream.seek(at_offsets)
        table = np.fromfile(stream, "<u8", count)
        image_bytes = abs(height) * width * samples * dtype.itemsize
        offsets = []
        for at in table.tolist():
            stream.seek(at)
            annotation = stream.read(4)
            if len(annotation) < 4 or at + struct.unpack("<I", annotation)[0] + image_bytes > size:
                break
            offsets.append(at + struct.unpack("<I", annotation)[0])
    exposures = tags.get(_EXPOSURES, np.empty(0, np.uint64)) / _FIXED_POINT
    exposure = float(np.median(exposures)) if exposures.size else (nanoseconds * 1e-9 or shutter * 1e-6)
    return _Header(abs(height), width, samples, dtype, height > 0, float(rate), exposure, stated, tuple(offsets),
                   tags.get(_TIMES, np.empty(0, np.uint64)))


def _refuse(path: Path, compression: int, packing: int, bits: int, mosaic: int) -> None:
    if compression or packing or bits not in (8, 16, 24, 48):
        raise DataError(f"{path}: pixels are packed or compressed ({bits} bit, packing {packing}, compression "
                        f"{compression}). Save it in the camera program (PCC) as unpacked .cine or 16-bit TIFF.")
    if mosaic and bits in (8, 16):
        raise DataError(f"{path}: raw mosaic of a colour camera, neighbouring pixels have different colours. "
                        "Save it in the camera program (PCC) as interpolated colour or as grey.")


def _tags(stream: BinaryIO, start: int, end: int, count: int) -> dict[int, np.ndarray]:
    """One value per image from the tagged blocks: time stamps and exposures in units of 2^-32 s."""
    found: dict[int, np.ndarray] = {}
    at = start
    while at + 8 <= end:
        stream.seek(at)
        size, kind, more = struct.unpack("<IHH", stream.read(8))
        if size < 8:
            break
        if kind in (_TIMES, _EXPOSURES):
            width = 8 if kind == _TIMES else 4
            if size - 8 >= width * count:
                found[kind] = np.frombuffer(stream.read(width * count), f"<u{width}").astype(np.uint64)
        if not more or size < 8:
            break
        at += size
    return found


def _uneven(header: _Header) -> tuple[str, ...]:
    """A warning where the stored images are not one frame of the stated rate apart."""
    if len(header.times) < 2 or not header.frames_per_second:
        return ()
    # differences in integers: seconds since 1970 leave a double only 0.2 µs
    step = np.diff(header.times.astype(np.int64)) / _FIXED_POINT
    usual = float(np.median(step))
    warnings: tuple[str, ...] = ()
    if usual > 0 and abs(usual * header.frames_per_second - 1) > 0.01:
        warnings += (f"The camera's rate is {header.frames_per_second:g} frames/s, but the stored images are "
                     f"{usual:.6g} s apart, {usual * header.frames_per_second:.3g} frames: not every frame was "
                     f"saved. For times between the stored images give frames_per_second={1 / usual:.6g}.",)
    odd = int(np.count_nonzero(np.abs(step / usual - 1) > 0.05)) if usual > 0 else 0
    if odd:
        warnings += (f"{odd} of {len(step)} frame intervals differ from the usual {usual:.4g} s by more than 5 %; "
                     "times assume equal steps.",)
    return warnings
