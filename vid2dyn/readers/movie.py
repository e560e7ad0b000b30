"""Movies in containers: AVI, MP4, MOV, MKV and whatever else FFmpeg reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from vid2dyn.core.errors import DataError
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, channel_of, colour_warning, file_units, truncated
from vid2dyn.readers.movie_index import MovieIndex, opened, pictures, read_index

_ONE_THREAD: dict[str, Any] = {"threads": 1} if "threads" in (VideoReformatter.reformat.__doc__ or "") else {}
"""A frame takes FFmpeg less long to convert than to hand its parts to threads, which have to wait for a core that finds
particles. PyAV before 17 has one thread."""

_HALVED_COLOUR, _WHOLE = ("yuv420p", "yuvj420p"), 64
"""Formats of pixels, and what the width divides by, where FFmpeg may give one plane for each colour in half of the time
that mixing them takes; beyond whole vectors it leaves pixels out."""


@dataclass(frozen=True)
class Movie(Reader):
    """AVI, MP4, MOV, MKV, ... decoded by FFmpeg (PyAV).

    Movies whose pixels are grey keep their grey values, 16-bit ones (FFV1) as uint16. All others are
    converted to red, green, blue as OpenCV does, bit for bit, and one channel is taken.

    Parameters
    ----------
    channel : int, optional
        Channel taken from a colour movie: 0 for red, 1 for green, 2 for blue; by default green.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".avi", ".mp4", ".mov", ".mkv", ".m4v", ".webm", ".wmv")
    rate_is_the_cameras: ClassVar[bool] = False
    channel: int | None = None

    def open(self, path: Path) -> Video:
        """The movie at `path`; frames that a cut file still holds are kept, and `warnings` says so."""
        index = read_index(path)
        first, picture, interlaced = _first(path)
        channel_of(picture.shape[2] if picture.ndim == 3 else 1, self.channel, str(path))
        units, unit_warnings = file_units(frames_per_second=index.frames_per_second)
        warnings = (*truncated(index.stated, index.n_frames), *index.warnings, *unit_warnings,
                    *colour_warning(picture, self.channel))
        if interlaced:
            warnings += ("The movie is interlaced: odd and even rows were recorded at different times. "
                         "Deinterlace it before tracking.",)
        info = VideoInfo(path, index.n_frames, first[0], first[1], str(picture.dtype), units, index.codec,
                         index.inter_coded, warnings, lossy=index.lossy,
                         bits_per_pixel=8.0 * path.stat().st_size / (index.stated * first[0] * first[1]))
        return MovieVideo(info, index, self.channel)


class MovieVideo(Video):
    """A movie that is decoded when frames are asked for; frame numbers are exact for any way of access."""

    def __init__(self, info: VideoInfo, index: MovieIndex, channel: int | None) -> None:
        super().__init__(info)
        self._index = index
        self._channel = channel

    def decode_start(self, index: int) -> int:
        """The key frame from which frame `index` is reached."""
        keys = self._index.keys
        return int(keys[np.searchsorted(keys, index, side="right") - 1])

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1; the key frame before `start` is found by its time stamp.

        Raises
        ------
        DataError
            Naming the frame that cannot be decoded or has another size.
        """
        if start >= stop:
            return
        wanted = start
        for key in dict.fromkeys((self.decode_start(start), 0)):  # some containers seek past the key frame
            for image in self._from(key, wanted, stop):
                yield image
                wanted += 1
            if wanted > start:
                break
        if wanted >= stop:
            return
        raise DataError(f"{self.path}: frame {wanted} cannot be decoded, the movie is damaged there. Copy it "
                        f"again, or use what the decoder took without complaint: stop = {wanted} leaves off before it "
                        "(without checksums in the coding it may be damaged too).")

    def _from(self, key: int, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., decoded from key frame `key`; ends early where one is missing."""
        reformatter, wanted = VideoReformatter(), start
        with opened(self.path) as (container, stream):
            if key and self._index.ticks is not None:
                container.seek(int(self._index.ticks[key]), stream=stream)
            for number, frame in self._numbered(container, stream):
                if number is None or number < wanted:
                    continue
                if number > wanted:
                    return
                yield self._pixels(frame, wanted, reformatter)
                wanted += 1
                if wanted >= stop:
                    return

    def _numbered(self, container: Any, stream: Any) -> Iterator[tuple[int | None, Any]]:
        """Decoded frames with their number, None for one that is not in the index; ends at damage."""
        ticks = self._index.ticks
        for count, frame in enumerate(pictures(container, stream)):
            if ticks is None:
                yield count, frame
                continue
            place = int(np.searchsorted(ticks, frame.pts)) if frame.pts is not None else len(ticks)
            yield (place if place < len(ticks) and ticks[place] == frame.pts else None), frame

    def _pixels(self, frame: Any, number: int, reformatter: VideoReformatter) -> np.ndarray:
        if (frame.height, frame.width) != self.shape:
            raise DataError(f"{self.path}: frame {number} is {frame.height} x {frame.width} px, the first one "
                            f"{self.info.height} x {self.info.width}. Split the movie where the size changes.")
        if planes_agree(frame.format.name, frame.width, frame.height, int(frame.colorspace), int(frame.color_range)):
            return _plane(frame, channel_of(3, self._channel, str(self.path)), reformatter)
        image = _array(frame, reformatter)
        if image.ndim == 2:
            return image
        return np.ascontiguousarray(image[..., channel_of(3, self._channel, str(self.path))])


@functools.cache
def planes_agree(pixels: str, width: int, height: int, colorspace: int, color_range: int) -> bool:
    """Whether one plane for each colour has the numbers that mixed colours have, in a frame of noise.

    Of what a movie shows nothing may depend on where it is read from, so its own frames are not asked: a black one
    would agree with anything.

    >>> planes_agree("yuv444p", 64, 64, 1, 1)
    False
    """
    if pixels not in _HALVED_COLOUR or width % _WHOLE or height % 2:
        return False
    noise = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
    frame: Any = VideoFrame.from_ndarray(noise, format=pixels)
    frame.colorspace, frame.color_range = colorspace, color_range
    mixed, reformatter = _array(frame, VideoReformatter()), VideoReformatter()
    return all(np.array_equal(_plane(frame, channel, reformatter), mixed[..., channel]) for channel in range(3))


def _plane(frame: Any, channel: int, reformatter: VideoReformatter) -> np.ndarray:
    """(H, W) uint8 of red, green or blue (0, 1, 2)."""
    plane: Any = reformatter.reformat(frame, format="gbrp", **_ONE_THREAD).planes[(2, 0, 1)[channel]]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:frame.height, :frame.width].copy()


def _array(frame: Any, reformatter: VideoReformatter) -> np.ndarray:
    """(H, W) grey or (H, W, 3) colour in R, G, B order, uint8 or uint16 by the depth of the coding."""
    deep = frame.format.components[0].bits > 8
    if frame.format.name.startswith("gray"):
        wanted = "gray16le" if deep else "gray"
    else:
        wanted = "rgb48le" if deep else "bgr24"              # bgr24: the conversion that OpenCV makes
    if frame.format.name != wanted:
        frame = reformatter.reformat(frame, format=wanted, **_ONE_THREAD)
    image = frame.to_ndarray()
    return image[..., ::-1] if wanted == "bgr24" else image


def _first(path: Path) -> tuple[tuple[int, int], np.ndarray, bool]:
    """Shape, pixels and interlacing of the first frame."""
    with opened(path) as (container, stream):
        frame = next(pictures(container, stream), None)
        if frame is None:
            raise DataError(f"{path}: the first frame cannot be decoded. Export the movie with another codec, "
                            "for example FFV1 in .mkv or uncompressed AVI.")
        return (frame.height, frame.width), _array(frame, VideoReformatter()), bool(frame.interlaced_frame)
