"""A video as a lazy sequence of grey frames with its calibration.

`Video` is what readers return and trackers take: `len(video)`, `video[i]` gives an (H, W) array,
`video.frames()` decodes in order and holds one frame at a time. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vid2dyn.units import Units


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself, before any frame is decoded.

    Parameters
    ----------
    path : Path
        File or folder the frames come from.
    n_frames : int
        Frames that can be read.
    height, width : int
        Size of a frame [px].
    dtype : str
        numpy type of a frame, "uint8" or "uint16".
    units : Units
        Calibration found in the file, completed by the user's.
    codec : str
        Short name of the coding ("h264", "raw", "tiff-zlib").
    inter_coded : bool or None
        Whether frames are predicted from other frames (which correlates localisation errors);
        None where the reader cannot tell.
    warnings : tuple of str
        What a user should know, in plain words (truncated file, assumed frame rate).
    """

    path: Path
    n_frames: int
    height: int
    width: int
    dtype: str
    units: Units
    codec: str = "raw"
    inter_coded: bool | None = None
    warnings: tuple[str, ...] = field(default=())


class Video(ABC):
    """A recording: grey frames in time.

    Readers subclass it with `decode`; everything else is shared.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.info = info

    @abstractmethod
    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1 in order, each a fresh (H, W) array; one held at a time."""

    def __len__(self) -> int:
        return self.info.n_frames

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame `index` (negative counts from the end) as an (H, W) array."""
        i = index + len(self) if index < 0 else index
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: frame {index} of {len(self)}")
        return next(iter(self.decode(i, i + 1)))

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames from `start` up to, not including, `stop`, decoded in order."""
        stop = len(self) if stop is None else min(stop, len(self))
        return self.decode(start, stop)

    @property
    def path(self) -> Path:
        """File or folder the frames come from."""
        return self.info.path

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a frame [px]."""
        return self.info.height, self.info.width

    @property
    def units(self) -> Units:
        """Calibration: what the file says, completed or overruled by what the user said."""
        return self.info.units

    @property
    def frames_per_second(self) -> float | None:
        """Frame rate [1/s], None if unknown."""
        return self.info.units.frames_per_second

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about this recording, in plain words."""
        return self.info.warnings

    def __repr__(self) -> str:
        info = self.info
        known = ", ".join(f"{k}={v:g}" for k, v in info.units.to_dict().items() if v is not None)
        return (f"<Video {info.path.name}: {info.n_frames} frames of {info.height} x {info.width} px, "
                f"{info.dtype}, {info.codec}{', ' + known if known else ''}>")
