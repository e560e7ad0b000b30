"""A reader: frames of 8 bits one after the other, behind a header of 16 bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers import Reader

HEADER = 16


@dataclass(frozen=True)
class GreyDump(Reader):
    """Dump of a camera: GREY, three numbers of 32 bits (frames, height, width), then the pixels.

    Parameters
    ----------
    upside_down : bool
        The camera stores the lowest row first.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".grey",)
    upside_down: bool = False

    def open(self, path: Path) -> Video:
        """The recording at `path`."""
        head = path.read_bytes()[:HEADER]
        if len(head) < HEADER or head[:4] != b"GREY":
            raise DataError(f"{path}: not a dump of the camera (it does not begin with GREY). Copy it again.")
        count, height, width = (int(n) for n in np.frombuffer(head, "<u4", 3, offset=4))
        if path.stat().st_size != HEADER + count * height * width:
            raise DataError(f"{path}: {path.stat().st_size} bytes do not hold {count} frames of {height} x {width} "
                            "px. Copy it again.")
        return GreyDumpVideo(VideoInfo(path, count, height, width, "uint8", Units(), inter_coded=False),
                             self.upside_down)


class GreyDumpVideo(Video):
    """Frames read one by one."""

    def __init__(self, info: VideoInfo, upside_down: bool) -> None:
        super().__init__(info)
        self.upside_down = upside_down

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1."""
        size = self.info.height * self.info.width
        for number in range(start, stop):
            frame = np.fromfile(self.path, np.uint8, size, offset=HEADER + number * size).reshape(self.shape)
            yield frame[::-1].copy() if self.upside_down else frame
