"""Folders of images, patterns such as ``frames/*.png``, and single images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import tifffile

from vid2dyn.core.errors import DataError
from vid2dyn.core.opencv import cv2
from vid2dyn.data.grey import channel_of, grey, grey_dtype
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers.base import Reader, colour_warning, not_readable
from vid2dyn.readers.tiff_pixels import as_shown

_TIFF = (".tif", ".tiff")
_SIDE_BY_SIDE = "ch|c|channel|chan|w|wave|z|slice|plane|pos|position|xy|s|scene|p|f|field|well|cam|camera"
"""Words before a number in a name that counts what was recorded side by side, not one after the other."""


@dataclass(frozen=True)
class Images(Reader):
    """One image file per frame, in the order of the numbers in the names (2 before 10).

    PNG, TIFF, BMP, JPEG and PGM, 8 or 16 bit. Files that begin with a dot are left out.

    Parameters
    ----------
    channel : int, optional
        Channel taken from a colour image: 0 for red, 1 for green, 2 for blue; by default green.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".png", ".bmp", ".jpg", ".jpeg", ".pgm")
    folders: ClassVar[bool] = True
    channel: int | None = None

    def open(self, path: Path) -> Video:
        """The images in a folder or matching a pattern, or the single image at `path`."""
        files = _files(path, (*self.suffixes, *_TIFF))
        first = _read(files[0])
        if first.ndim == 3:
            channel_of(first.shape[2], self.channel, str(files[0]))
        height, width = first.shape[:2]
        kind = files[0].suffix.lower().lstrip(".").replace("jpg", "jpeg").replace("tiff", "tif")
        info = VideoInfo(path, len(files), height, width, str(grey_dtype(first.dtype)), Units(), kind, False,
                         (*_counting(files), *colour_warning(first, self.channel)), lossy=kind == "jpeg")
        return ImagesVideo(info, files, self.channel)


class ImagesVideo(Video):
    """A series of image files."""

    def __init__(self, info: VideoInfo, files: list[Path], channel: int | None) -> None:
        super().__init__(info)
        self._files = files
        self._channel = channel

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1; `DataError` names the file that is damaged or has another size."""
        for number in range(start, stop):
            file = self._files[number]
            image = grey(_read(file), self._channel, f"{file} (frame {number})")
            if image.shape != self.shape:
                raise DataError(f"{file} (frame {number}) is {image.shape[0]} x {image.shape[1]} px, the first "
                                f"one {self.info.height} x {self.info.width}. Frames of one movie have one size.")
            if str(image.dtype) != self.info.dtype:
                raise DataError(f"{file} (frame {number}) has {image.dtype} pixels, the first one "
                                f"{self.info.dtype}. Export all frames with one bit depth.")
            yield image


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that counts: the numbers in a name compare as numbers.

    >>> sorted(["t10.png", "t2.png", "t1.png"], key=natural_key)
    ['t1.png', 't2.png', 't10.png']
    """
    return [(0, int(part), part) if part.isdigit() else (1, 0, part.lower())
            for part in re.split(r"([0-9]+)", name) if part]


def _files(path: Path, known: tuple[str, ...]) -> list[Path]:
    """Image files in order; `DataError` where there are none or the folder mixes kinds."""
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.iterdir() if p.is_file() and p.suffix.lower() in known]
    elif path.parent.is_dir():
        found = [p for p in path.parent.glob(path.name) if p.is_file()]
    else:
        raise DataError(f"{path}: no such folder: {path.parent}. Check the path.")
    found = sorted((p for p in found if not p.name.startswith(".")), key=lambda p: natural_key(p.name))
    if not found:
        raise DataError(f"{path}: no images here (looked for {', '.join(known)}). "
                        "Check the folder or the pattern.")
    kinds = sorted({p.suffix.lower() for p in found})
    if len(kinds) > 1 or kinds[0] not in known:
        raise DataError(f"{path}: {len(found)} files of kinds {', '.join(kinds)}; frames are images of one kind "
                        f"(known: {', '.join(known)}). Give a pattern such as '*{found[0].suffix}'.")
    return found


def _counting(files: list[Path]) -> tuple[str, ...]:
    """Warnings about names: numbers that jump, and more than one number or word that counts.

    A folder of several channels, planes or positions in which one number counts them is refused: it would be played as
    one movie.
    """
    parts = [re.split(r"([0-9]+)", p.stem) for p in files]
    words = [tuple(part[::2]) for part in parts]
    kinds = list(dict.fromkeys(words))
    if len(files) < 2:
        return ()
    if len(kinds) > 1:
        first, other = files[0].name, files[words.index(kinds[1])].name
        return (f"The images are named in {len(kinds)} ways ({first}, {other}): they are played one after the other "
                "as one "
                f"movie. If they are channels or recordings of their own, give a pattern such as '{_pattern(first)}'.",)
    numbers = np.array([[float(n) for n in part[1::2]] for part in parts])
    counts = [len(np.unique(column)) for column in numbers.T]
    varying = [k for k, count in enumerate(counts) if count > 1]
    alone = [k for k in varying if counts[k] == len(files)]
    if not varying:
        return ()
    if not alone and len(varying) > 1:
        _refuse_channels(files[0], words[0], counts, varying)
        return ("The names count with several numbers "
                f"({', '.join(f'{counts[k]} values after {words[0][k]!r}' for k in varying)}"
                "): the images are played in their order as one movie. If they are channels, planes or positions, "
                "give a "
                "pattern for one of them.",)
    return _jumps(files, min((numbers[:, k] for k in alone or varying), key=_unevenness))


def _refuse_channels(file: Path, words: tuple[str, ...], counts: list[int], varying: list[int]) -> None:
    for k in varying:
        if re.search(rf"(?:^|[^a-z])(?:{_SIDE_BY_SIDE})[^a-z0-9]*$", words[k].lower()):
            one = "".join(f"{word}{'*' if j != k else re.findall('[0-9]+', file.stem)[k]}" if j < len(counts) else word
                          for j, word in enumerate(words))
            raise DataError(f"{file.parent}: the names count {counts[k]} values after {words[k].strip('_- ')!r}: "
                            "several "
                            "channels, planes or positions, not one movie. Give a pattern such as "
                            f"'{one}{file.suffix}'.")


def _pattern(name: str) -> str:
    """The name with the last number free."""
    return re.sub(r"[0-9]+(?=[^0-9]*$)", "*", name, count=1)


def _unevenness(numbers: np.ndarray) -> tuple[bool, int]:
    """How unlike a counter of frames: not growing, steps that are not the usual one."""
    step = np.diff(numbers)
    return bool((step <= 0).any()), int((step != np.median(step)).sum())


def _jumps(files: list[Path], numbers: np.ndarray) -> tuple[str, ...]:
    """A warning where numbers that otherwise count up evenly jump."""
    step = np.diff(numbers)
    odd = np.flatnonzero(step != float(np.median(step)))
    if len(files) < 3 or not odd.size or odd.size > len(step) // 2:
        return ()
    a, b = files[odd[0]].name, files[odd[0] + 1].name
    return (f"The file numbers jump {odd.size} times, first from {a} to {b}: frames may be missing. "
            "Times assume equal steps.",)


def _read(file: Path) -> np.ndarray:
    """(H, W) or (H, W, samples) pixels, colour in R, G, B order."""
    if file.suffix.lower() in _TIFF:
        try:
            with tifffile.TiffFile(file) as tif:
                if len(tif.pages) > 1:
                    raise DataError(f"{file}: {len(tif.pages)} images in one file of a series. "
                                    "Open the stack by itself, or export one image per file.")
                page = tif.pages.first
                image = page.asarray()
                image = np.moveaxis(image, 0, -1) if page.axes.startswith("S") else image
                return as_shown(image, page, tif.is_imagej)
        except DataError:
            raise
        except Exception as error:                            # tifffile raises whatever its decoders raise
            raise not_readable(file, "TIFF image", error) from None
    try:
        data = np.fromfile(file, np.uint8)                    # cv2.imread cannot open every path on Windows
    except OSError as error:
        raise not_readable(file, "image", error) from None
    try:
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error as error:                                # sizes beyond its limits
        raise not_readable(file, "image", error) from None
    if decoded is None:
        raise not_readable(file, "image", "it is empty" if not data.size else "it cannot be decoded")
    image = np.asarray(decoded)
    if image.ndim == 3 and image.shape[2] >= 3:
        return image[..., [2, 1, 0, *range(3, image.shape[2])]]
    return image.reshape(image.shape[:2]) if image.ndim == 3 and image.shape[2] == 1 else image
