"""Recordings that are in memory, or lazy arrays of other libraries, and parts of any recording.

An array is anything with a shape, a dtype and numpy's indexing (numpy, dask, zarr, xarray, h5py), or a sequence of
frames (a list of images, pims). Frames are asked for one by one, so what is lazy stays lazy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.grey import grey, grey_dtype
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video, VideoInfo

AXES = "tzcyxs"
"""Letters of axes: time, depth, channel, rows, columns, samples of a colour pixel."""
_WORDS = {"time": "t", "frame": "t", "frames": "t", "depth": "z", "plane": "z", "channel": "c", "row": "y",
          "column": "x", "height": "y", "width": "x", "sample": "s", "rgb": "s"}
_DEFAULT = {2: "yx", 3: "tyx"}


def from_array(array: Any, *, axes: str | None = None, channel: int | None = None, z: int | None = None,
               name: str = "array in memory", **units: Any) -> Video:
    """See `vid2dyn.Video.from_array`.

    >>> video = from_array(np.zeros((5, 8, 9), np.uint8), frames_per_second=10)
    >>> len(video), video.shape, video[1:4, :, 2:6].shape
    (5, (8, 9), (8, 4))
    """
    if isinstance(array, Video):
        raise DataError("Video.from_array: this is a Video already; use it as it is.")
    if _is_sequence(array):
        array, axes = _Frames(array), axes or "tyx"
    if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        raise DataError(f"{type(array).__name__} is not a recording: neither the path of one nor an array. Give pixels "
                        "with a shape (numpy, dask, zarr, xarray) or a list of images of one size; "
                        "vd.Trajectories.from_dataframe takes a DataFrame.")
    return ArrayVideo(array, _letters(array, axes), channel, z, name, Units(**units))


def _is_sequence(array: Any) -> bool:
    """Whether frames are given one by one (a list, a tuple, pims)."""
    return isinstance(array, list | tuple) or (hasattr(array, "frame_shape") and hasattr(array, "__len__"))


class _Frames:
    """A sequence of images seen as an array; no more than one is asked for at a time."""

    def __init__(self, images: Sequence[Any]) -> None:
        if not len(images):
            raise DataError("Video.from_array: the list of images is empty.")
        self._images = images
        first = np.asarray(images[0])
        if first.ndim not in (2, 3):
            raise DataError(f"Video.from_array: the first image has shape {first.shape}; a frame has height and width.")
        self.shape, self.dtype = (len(images), *first.shape), first.dtype

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        image = np.asarray(self._images[index[0]])
        if image.shape != self.shape[1:]:
            raise DataError(f"Video.from_array: image {index[0]} has shape {image.shape}, the first one "
                            f"{self.shape[1:]}; all frames of a recording have one size.")
        return image[index[1:]]


def _letters(array: Any, axes: str | None) -> str:
    """The letter of every axis."""
    dims = len(array.shape)
    if axes is None and isinstance(getattr(array, "dims", None), tuple):
        named = [_WORDS.get(str(dim).lower(), str(dim).lower()) for dim in array.dims]
        axes = "".join(named) if all(one in AXES for one in named) else None
    if axes is None:
        axes = _DEFAULT.get(dims)
    if axes is None:
        raise ConfigError(f"Video.from_array: an array of shape {tuple(array.shape)} needs axes, a letter for each: "
                          "t time, z depth, c channel, y rows, x columns, s samples of colour; for example "
                          "axes='tcyx'.")
    axes = str(axes).lower()
    if axes == "tyx" and dims == 4:
        axes = "tyxs"
    if len(axes) != dims or len(set(axes)) != dims or not set("yx") <= set(axes) <= set(AXES):
        raise ConfigError(f"Video.from_array: axes = {axes!r} do not name the {dims} axes of shape "
                          f"{tuple(array.shape)}: one letter of {AXES!r} for each, y and x among them.")
    return axes


class ArrayVideo(Video):
    """Frames of an array.

    Parameters
    ----------
    array : array
    axes : str
        A letter for each axis.
    channel, z : int or None
        Which one is taken, where there is a choice.
    name : str
    units : Units
    """

    def __init__(self, array: Any, axes: str, channel: int | None, z: int | None, name: str, units: Units) -> None:
        self._array, self._axes = array, axes
        sizes = dict(zip(axes, array.shape, strict=True))
        if 0 in sizes.values():
            raise DataError(f"Video.from_array: an array of shape {tuple(array.shape)} holds no pixel.")
        self._sample = channel if "s" in sizes else None
        self._fixed = {"z": _one_of(z, sizes, "z", "depth"), "c": _one_of(channel, sizes, "c", "channel")}
        planes = sizes.get("z", 1) if z is None else 1
        super().__init__(VideoInfo(Path(name), sizes.get("t", 1), sizes["y"], sizes["x"],
                                   str(grey_dtype(np.dtype(array.dtype))), units, "array", False,
                                   planes=planes if planes > 1 else 0))

    @property
    def in_memory(self) -> bool:
        """Of plain arrays; those of other libraries, and memory-mapped ones, may have to be read."""
        return type(self._array) is np.ndarray

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames one by one; stacks plane by plane."""
        for frame in range(start, stop):
            if not self.is_stack:
                yield self._plane(frame, self._fixed["z"])
                continue
            stack = np.empty(self.shape, self.info.dtype)
            for z in range(self.info.planes):
                stack[z] = self._plane(frame, z)
            yield stack

    def _plane(self, frame: int, z: int) -> np.ndarray:
        at = {**self._fixed, "t": frame, "z": z}
        index = tuple(slice(None) if a in "yxs" else at[a] for a in self._axes)
        left = [a for a in self._axes if a in "yxs"]
        image = np.asarray(self._array[index])
        image = image.transpose([left.index(a) for a in "yxs" if a in left])
        where = f"{self.path}, frame {frame}" + f", plane {z}" * self.is_stack
        return grey(image, self._sample, where).copy()


def _one_of(chosen: int | None, sizes: dict[str, int], letter: str, what: str) -> int:
    """Number of the depth or channel that is taken."""
    count = sizes.get(letter, 1)
    if chosen is not None and letter not in sizes and not (letter == "c" and "s" in sizes):
        raise ConfigError(f"Video.from_array: {what} {chosen} was asked for, and the axes {''.join(sizes)!r} have "
                          "none.")
    if chosen is None:
        return 0
    if letter in sizes and not 0 <= chosen < count:
        raise ConfigError(f"Video.from_array: {what} {chosen} does not exist, there are {count} (counted from 0).")
    return int(chosen)


class VideoPart(Video):
    """Some frames, rows and columns of a recording, decoded when they are asked for: ``video[10:50, :256, :256]``.

    Of stacks planes come second: ``video[10:50, 4:30, :256, :256]``.

    Parameters
    ----------
    whole : Video
    frames, rows, columns, planes : slice
        Frames may be thinned (`video[::2]`), which makes the frame rate lower by as much; rows, columns and planes may
        not. Positions of tracks count from the corner of the part.
    """

    def __init__(self, whole: Video, frames: slice, rows: slice, columns: slice,
                 planes: slice = slice(None)) -> None:
        self._whole = whole
        self._range = _range(frames, len(whole), "frames")
        self._rows = _range(rows, whole.info.height, "rows")
        self._columns = _range(columns, whole.info.width, "columns")
        self._planes = _range(planes, max(whole.info.planes, 1), "planes")
        cut = [("rows", self._rows), ("columns", self._columns)] + [("planes", self._planes)] * whole.is_stack
        for what, part in cut:
            if part.step != 1:
                raise ConfigError(f"video[...]: {what} cannot be thinned, as particles would lose their shape; cut "
                                  "them out, and shrink pictures before they are opened.")
        units = whole.units
        if units.frames_per_second is not None and self._range.step > 1:
            units = units.replace(frames_per_second=units.frames_per_second / self._range.step)
        said = ", ".join(f"{what} {r.start}:{r.stop}" + f":{r.step}" * (r.step != 1) for what, r in (
            ("frames", self._range), *cut))
        super().__init__(replace(whole.info, n_frames=len(self._range), height=len(self._rows),
                                 width=len(self._columns), units=units, planes=len(self._planes) * whole.is_stack,
                                 part=said if not whole.info.part else f"{said} of {whole.info.part}"))

    def decode_start(self, index: int) -> int:
        """The first frame of the part from which decoding the whole gets there."""
        before = self._whole.decode_start(self._range[index])
        return max(0, (before - self._range.start) // self._range.step)

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames of the whole, cut."""
        taken = self._range[start:stop]
        if not len(taken):
            return
        rows, columns, planes = (slice(r.start, r.stop) for r in (self._rows, self._columns, self._planes))
        box = (planes, rows, columns) if self.is_stack else (rows, columns)
        images = itertools.islice(self._whole.safely(taken.start, taken[-1] + 1), 0, None, taken.step)
        for image in images:
            yield np.ascontiguousarray(image[box])


def part_of(whole: Video, index: Any) -> Video | np.ndarray:
    """What ``video[index]`` is for a slice, or for a tuple of up to three of them (frames, rows, columns); of stacks
    four (frames, planes, rows, columns)."""
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) > 3 + whole.is_stack or not all(isinstance(part, slice | int | np.integer) for part in parts):
        raise ConfigError(f"video[{index!r}]: give frames, rows and columns as slices, such as video[10:50, :256, "
                          ":256]; or a frame number.")
    if any(not isinstance(part, slice) for part in parts[1:]):
        raise ConfigError(f"video[{index!r}]: rows and columns are slices, such as 0:256.")
    frames, *box = [*parts, slice(None), slice(None), slice(None)][:3 + whole.is_stack]
    if isinstance(frames, slice):
        return VideoPart(whole, frames, box[-2], box[-1], box[0] if whole.is_stack else slice(None))
    return np.asarray(whole[int(frames)])[tuple(box)]


def _range(part: slice, size: int, what: str) -> range:
    found = range(*part.indices(size))
    if found.step < 0 or not len(found):
        raise ConfigError(f"video[...]: {what} {part.start}:{part.stop}:{part.step} of {size} are "
                          f"{'backwards' if found.step < 0 else 'none at all'}.")
    return found
