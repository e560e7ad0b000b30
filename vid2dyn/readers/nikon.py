"""Nikon ND2 files, through the optional package `nd2`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.grey import grey, grey_dtype
from vid2dyn.data.unit_words import uneven_steps
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, file_units, not_readable, not_square


@dataclass(frozen=True)
class Nikon(Reader):
    """ND2: the time series of one channel and one field of view, of stacks where there are several depths.

    Parameters
    ----------
    channel : int, optional
        Number of the channel that is read, counted from 0; by default the first.
    z : int, optional
        Number of the one plane in depth that is read, counted from 0; by default all are, as stacks.
    position : int
        Number of the field of view that is read, counted from 0.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".nd2",)
    channel: int | None = None
    z: int | None = None
    position: int = 0

    def open(self, path: Path) -> Video:
        """The recording at `path`; needs the package `nd2` (``pip install vid2dyn[nd2]``)."""
        try:
            return self._opened(path)
        except DataError:                                     # says already what is wrong
            raise
        except Exception as error:                            # the package raises many kinds for a damaged file
            raise not_readable(path, "ND2 file", error) from None

    def _opened(self, path: Path) -> Video:
        with _file(path) as file:
            sizes = dict(file.sizes)
            channels, depth = sizes.get("C", 1), sizes.get("Z", 1)
            deep = depth > 1 and self.z is None
            chosen = {"C": 0 if self.channel is None else self.channel, "Z": self.z or 0, "P": self.position}
            for axis, name in (("C", "channel"), ("Z", "z"), ("P", "position")):
                if not 0 <= chosen[axis] < sizes.get(axis, 1):
                    raise DataError(f"{path}: {name}={chosen[axis]} does not exist, the file has "
                                    f"{sizes.get(axis, 1)} (counted from 0).")
            depths = range(depth) if deep else (chosen["Z"],)
            planes = [[k for k, at in enumerate(file.loop_indices)
                       if at.get("Z", 0) == z and at.get("P", 0) == chosen["P"]] for z in depths]
            frames = list(zip(*planes))                       # a scan that was stopped half-way is no stack
            first = np.asarray(file.read_frame(frames[0][0]))
            units, warnings = _calibration(file, planes[0][:len(frames)], deep)
        if channels > 1 and self.channel is None:
            warnings += (f"The file has {channels} channels; channel 0 is used (channel=1 takes the next).",)
        if sizes.get("P", 1) > 1:
            warnings += (f"The file has {sizes['P']} fields of view; number {self.position} is used.",)
        plane = _plane(first, sizes, chosen["C"])
        info = VideoInfo(path, len(frames), plane.shape[0], plane.shape[1], str(grey_dtype(plane.dtype)), units,
                         "nd2", False, warnings, planes=depth if deep else 0)
        return NikonVideo(info, frames, sizes, chosen["C"])


class NikonVideo(Video):
    """An ND2 file read plane by plane."""

    def __init__(self, info: VideoInfo, frames: list[tuple[int, ...]], sizes: dict[str, int], channel: int) -> None:
        super().__init__(info)
        self._frames = frames                                 # of every frame the numbers of its planes in the file
        self._sizes = sizes
        self._channel = channel

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1; `DataError` names the frame that cannot be read."""
        if start >= stop:
            return
        try:
            opened = _file(self.path)
        except DataError:
            raise
        except Exception as error:
            raise not_readable(self.path, "ND2 file", error) from None
        with opened as file:
            for number in range(start, stop):
                if not self.is_stack:
                    yield self._image(file, number, self._frames[number][0])
                    continue
                stack = np.empty(self.shape, self.info.dtype)
                for z, plane in enumerate(self._frames[number]):
                    stack[z] = self._image(file, number, plane)
                yield stack

    def _image(self, file: Any, number: int, plane: int) -> np.ndarray:
        try:
            image = np.asarray(file.read_frame(plane))
        except Exception as error:                            # the package raises many kinds for a damaged file
            raise DataError(f"{self.path}: frame {number} cannot be read ({error}); the file is damaged "
                            "there. Copy it again.") from None
        # a copy: the array may be a window into the file, which closes
        return grey(_plane(image, self._sizes, self._channel), None, f"{self.path}, frame {number}").copy()


def _file(path: Path) -> Any:
    try:
        import nd2
    except ImportError:
        raise DataError(f"{path}: reading ND2 files needs the package nd2; install it with "
                        "pip install vid2dyn[nd2], or export the recording as TIFF.") from None
    return nd2.ND2File(path)


def _plane(image: np.ndarray, sizes: dict[str, int], channel: int) -> np.ndarray:
    """(H, W[, samples]) of one channel of a (C, H, W[, samples]) frame; without C as it is."""
    return image[channel] if sizes.get("C", 1) > 1 and image.ndim > 2 else image


def _calibration(file: Any, planes: list[int], deep: bool) -> tuple[Any, tuple[str, ...]]:
    """Pixel size, and the frame rate from the time stamps of the planes that are used.

    The planned period is 0 in recordings "as fast as possible", and a depth scan lies between the
    frames: only the stamps tell. The exposure of a scanning microscope is not a shutter, so it is
    taken from the camera of others only.
    """
    size = file.voxel_size()
    rate = exposure = None
    try:
        stamps = [file.frame_metadata(k).channels[0].time.relativeTimeMs for k in planes]
        step = np.diff(np.array(stamps)) * 1e-3
    except (AttributeError, IndexError, KeyError, TypeError):
        step = np.empty(0)
    if step.size and (step > 0).all():
        rate = 1.0 / float(step.mean())
    try:
        scanning = any("scan" in flag.lower() for flag in file.metadata.channels[0].microscope.modalityFlags)
        if not scanning:
            exposure = 1e-3 * next(float(v) for k, v in file.events()[0].items() if "Exposure Time [ms]" in k)
    except (AttributeError, IndexError, KeyError, TypeError, StopIteration, NotImplementedError):
        exposure = None
    units, warnings = file_units(frames_per_second=rate, micrometre_per_pixel=size.x, exposure=exposure,
                                 micrometre_per_plane=size.z if deep else None)
    return units, (*warnings, *uneven_steps(step), *not_square(size.x, size.y))
