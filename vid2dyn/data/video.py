"""A video as a lazy sequence of grey frames with its calibration.

`Video` is what readers return and trackers take: `len(video)`, `video[i]` gives an (H, W) array,
`video.frames()` decodes in order and holds one frame at a time. Nothing is loaded before it is asked for.
A recording of stacks (`is_stack`) has several planes in depth at every time: its frames are (Z, H, W) arrays.
"""

from __future__ import annotations

import struct
import threading
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from vid2dyn.core.errors import DataError, Vid2DynError
from vid2dyn.core.registry import resolve
from vid2dyn.data.units import Units

_OF_DECODERS = (OSError, ValueError, EOFError, IndexError, KeyError, TypeError, RuntimeError, AssertionError,
                struct.error, zlib.error)
"""What decoders raise for damaged frames; errors of `av` and of most codecs are among these."""
CACHE_BYTES = 64 << 20
"""Memory that looking at single frames (`video[i]`) may keep, per video [bytes]."""


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
        numpy type of a frame: "uint8", "uint16" or "float32".
    units : Units
        Calibration found in the file, completed by the user's.
    codec : str
        Short name of the coding ("h264", "raw", "tiff-zlib").
    inter_coded : bool or None
        Whether frames are predicted from other frames (which correlates localisation errors);
        None where the reader cannot tell.
    warnings : tuple of str
        What a user should know, in plain words (truncated file, assumed frame rate).
    part : str
        Which frames, rows and columns of `path` it is; empty: all. Tracks keep it with the name of the file.
    planes : int
        Planes in depth of every frame, Z; 0 for a movie of flat images.
    lossy : bool or None
        Whether the coding changes pixels (which takes noise out of them); None where the reader cannot tell.
    bits_per_pixel : float, optional
        Size of a movie file over its pixels: how strongly it is compressed.
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
    part: str = ""
    planes: int = 0
    lossy: bool | None = None
    bits_per_pixel: float | None = None

    @property
    def with_loss(self) -> bool:
        """Whether compression is known to have changed pixels."""
        return bool(self.lossy or self.inter_coded)


class Video(ABC):
    """A recording: grey frames in time.

    Readers subclass it with `decode`; everything else is shared.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.info = info

    @abstractmethod
    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1 in order, each a fresh (H, W) or (Z, H, W) array; one held at a time."""

    def decode_start(self, index: int) -> int:
        """The frame at which decoding has to begin to reach frame `index` (a key frame in a compressed movie)."""
        return index

    @property
    def in_memory(self) -> bool:
        """Whether a frame is there without work or waiting."""
        return False

    def __len__(self) -> int:
        return self.info.n_frames

    @staticmethod
    def from_array(array: Any, *, axes: str | None = None, channel: int | None = None, z: int | None = None,
                   name: str = "array in memory", **units: Any) -> Video:
        """A recording that is in memory, or a lazy array of another library.

        Parameters
        ----------
        array : array or sequence of images
            numpy, dask, zarr, xarray, h5py: anything with a shape and numpy's indexing; a list of images of one size;
            pims. Frames are asked for one by one. 8 and 16 bit stay as they are, other numbers become single precision.
        axes : str, optional
            A letter for each axis: t time, z depth, c channel, y rows, x columns, s samples of colour. Default: the
            names that xarray has, else "yx" or "tyx".
        channel, z : int, optional
            Which channel or depth is taken, counted from 0. Default: the first channel (of colour pixels green) and all
            depths: with several the recording is one of stacks.
        name : str
            What it is called in reports and messages.
        **units
            Keys of `Units`: frames_per_second, micrometre_per_pixel, exposure, temperature, viscosity, particle_radius,
            and of stacks micrometre_per_plane.

        Raises
        ------
        ConfigError
            For axes that do not fit the shape, a channel or depth that does not exist.
        DataError
            For what is no array, has no pixel, or images of different sizes.

        Examples
        --------
        >>> video = Video.from_array(np.zeros((4, 16, 16), np.uint8), frames_per_second=10, micrometre_per_pixel=0.1)
        >>> len(video), video[0].shape
        (4, (16, 16))
        """
        made = resolve("vid2dyn.data.array_video:from_array")
        return made(array, axes=axes, channel=channel, z=z, name=name, **units)  # type: ignore[no-any-return]

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice | tuple[slice, ...]) -> Video: ...

    def __getitem__(self, index: Any) -> Any:
        """Frame `index` (negative counts from the end) as an (H, W) array; recently seen frames are at hand.

        ``video[10:50, :256, :256]``: a part of the recording, decoded when it is asked for.
        """
        if not isinstance(index, int | np.integer):
            return resolve("vid2dyn.data.array_video:part_of")(self, index)
        i = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: frame {index} of {len(self)}")
        browser: _Browser = self.__dict__.setdefault("_browser", _Browser())
        return browser.frame(self, i).copy()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_browser", "_prepared")}

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames from `start` up to, not including, `stop`, decoded in order."""
        stop = len(self) if stop is None else min(stop, len(self))
        return self.safely(start, stop)

    def safely(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """`decode`; what a decoder raises for a damaged frame becomes a `DataError` that names it."""
        done = start
        try:
            for image in self.decode(start, stop):
                yield image
                done += 1
        except Vid2DynError:
            raise
        except MemoryError:
            raise DataError(f"{self.path}: frame {done} does not fit into memory; the file is damaged, or its frames "
                            "are too "
                            "large.") from None
        except _OF_DECODERS as error:
            raise DataError(f"{self.path}: frame {done} cannot be read ({error}); the file is damaged there. Copy or "
                            "export "
                            "it again.") from error

    @property
    def path(self) -> Path:
        """File or folder the frames come from."""
        return self.info.path

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width) of a frame [px]; (planes, height, width) of a stack."""
        flat = (self.info.height, self.info.width)
        return (self.info.planes, *flat) if self.is_stack else flat

    @property
    def is_stack(self) -> bool:
        """Whether every frame is a stack of planes in depth."""
        return self.info.planes > 0

    def projected(self) -> Video:
        """The same recording as flat images: of stacks the brightest pixel over the depth."""
        return resolve("vid2dyn.data.stacks:Projection")(self) if self.is_stack else self  # type: ignore[no-any-return]

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
        depth = "stacks of " * self.is_stack + " x ".join(map(str, self.shape))
        what = f"{info.n_frames} {depth} voxels" if self.is_stack else f"{info.n_frames} frames of {depth} px"
        return f"<Video {info.path.name}: {what}, {info.dtype}, {info.codec}{', ' + known if known else ''}>"


class _Browser:
    """Single frames in any order: a decoder that stays where it is, and the frames it passed.

    A compressed movie can only be entered at key frames. Going on from where the last request ended
    makes stepping forward as quick as reading, and the frames passed make stepping back quick too.
    """

    def __init__(self) -> None:
        self.seen: OrderedDict[int, np.ndarray] = OrderedDict()
        self.bytes = 0
        self.decoder: Iterator[np.ndarray] = iter(())
        self.next = -1                                      # the frame that `decoder` gives next; -1: none
        self.lock = threading.Lock()

    def frame(self, video: Video, index: int) -> np.ndarray:
        with self.lock:
            if index in self.seen:
                self.seen.move_to_end(index)
                return self.seen[index]
            start = video.decode_start(index)
            if not start <= self.next <= index:
                self.decoder, self.next = video.safely(start, len(video)), start
            try:
                while self.next <= index:
                    image = next(self.decoder)
                    self._keep(self.next, image)
                    self.next += 1
            except BaseException:
                self.decoder, self.next = iter(()), -1      # a stopped decoder must not be asked again
                raise
            return image

    def _keep(self, index: int, image: np.ndarray) -> None:
        if index not in self.seen:
            self.seen[index] = image
            self.bytes += image.nbytes
        while self.bytes > CACHE_BYTES and len(self.seen) > 1:
            self.bytes -= self.seen.popitem(last=False)[1].nbytes
