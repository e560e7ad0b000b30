"""Files to recordings: every reader is one module here, `open_video` picks it by suffix.

Adding a format means adding a module with one final subclass of `Reader`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vid2dyn.core.config import build, settings
from vid2dyn.core.errors import ConfigError, DataError, UnitsError, Vid2DynError
from vid2dyn.core.files import existing_file
from vid2dyn.core.registry import did_you_mean, parts
from vid2dyn.data.grey import GREEN
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video
from vid2dyn.readers.base import Reader, not_readable

__all__ = ["GREEN", "Reader", "known_suffixes", "open_video"]


_ALIKE = 0.01                     # relative difference of a stated and a given calibration that is not said
_ADVICE = {
    ".gif": "a GIF has at most 256 colours and no true frame rate: grey levels and times are lost. Use the recording "
            "it was made from; or save it as TIFF (Fiji: File > Save As > Tiff) and give frames_per_second.",
    ".npy": "an array, which is no recording by itself: vd.Video.from_array(np.load(path, mmap_mode='r'), "
            "frames_per_second=..., micrometre_per_pixel=...) makes one, frame by frame.",
    ".npz": "arrays, which are no recording by themselves: vd.Video.from_array(np.load(path)['name'], "
            "frames_per_second=..., micrometre_per_pixel=...) makes one.",
    ".mat": "a file of MATLAB: load the array (scipy.io.loadmat, or h5py for version 7.3) and give it to "
            "vd.Video.from_array(array, axes='tyx', frames_per_second=..., micrometre_per_pixel=...).",
    ".tdms": "measurements of LabVIEW, whose layout is that of your program: read the images with the package nptdms "
             "(TdmsFile.read), put them into one array and give it to vd.Video.from_array(array, axes='tyx', "
             "frames_per_second=..., micrometre_per_pixel=...); or export them as TIFF.",
    ".webp": "lossy animation: save the recording as TIFF, or lossless as AVI.",
    ".pdf": "a document, not a recording.",
}
"""What to do with files that people try and no reader should open."""


def open_video(path: str | os.PathLike[str], **arguments: Any) -> Video:
    """Open a movie, an image stack, a folder of images or a pattern such as ``"frames/*.png"``.

    Parameters
    ----------
    path : path
        File, folder, or pattern with ``*``, ``?`` or ``[...]`` in its last part.
    **arguments
        Calibration, as in `vid2dyn.Units`: `micrometre_per_pixel` [µm], `frames_per_second` [1/s],
        `exposure` [s], `temperature` [K], `viscosity` [Pa·s], `particle_radius` [µm]. What is given
        here overrules what the file says; what neither gives stays None until something needs it.
        Also the options of the reader: `channel` (colour: 0 red, 1 green (taken by default), 2 blue;
        microscope files: which channel), `z` and `position` where a format has planes or fields of view.

    Returns
    -------
    Video
        Lazy: `len(video)`, `video[i]`, `video.frames()`, `video.units`, `video.warnings`.

    Raises
    ------
    ConfigError
        For a keyword that is neither calibration nor an option of this reader.
    DataError
        For a file that is missing, empty, damaged or of an unknown kind.
    UnitsError
        For a calibration that is not a positive number.

    Examples
    --------
    >>> import tempfile, numpy as np, tifffile
    >>> clip = Path(tempfile.mkdtemp()) / "clip.tif"
    >>> tifffile.imwrite(clip, np.zeros((5, 16, 24), np.uint16))
    >>> open_video(clip, frames_per_second=50, micrometre_per_pixel=0.1)
    <Video clip.tif: 5 frames of 16 x 24 px, uint16, raw, micrometre_per_pixel=0.1, frames_per_second=50>
    """
    path = Path(path)
    reader_class = _reader_for(path)
    options = settings(reader_class)
    calibration = {name: settings(Units)[name] for name in settings(Units)}
    for name in arguments:
        if name not in calibration and name not in options:
            raise ConfigError(f"{path.name}: unknown keyword {name!r}."
                              f"{did_you_mean(name, [*calibration, *options])} A recording of this kind takes: "
                              f"{', '.join([*calibration, *options])}.")
    reader = build(reader_class, {k: v for k, v in arguments.items() if k in options}, where=path.name)
    given = build(Units, {k: v for k, v in arguments.items() if k in calibration}, where=path.name)
    video = _opened(reader, path)
    said = _differing(video.info.units, given, reader_class.rate_is_the_cameras)
    video.info = dataclasses.replace(video.info, units=_overruled(video.info.units, given, path),
                                     warnings=(*video.info.warnings, *said))
    return video


def _opened(reader: Reader, path: Path) -> Video:
    """`reader.open(path)`; what a decoder raises for a file that is no such recording becomes one plain error."""
    try:
        return reader.open(path)
    except Vid2DynError:
        raise
    except MemoryError:
        raise DataError(f"{path}: the sizes that its header states do not fit into memory: the file is damaged, or "
                        "its frames "
                        "are too large. Copy or export it again, in smaller frames.") from None
    except Exception as error:                                # libraries raise many kinds for a damaged file
        raise not_readable(path, path.suffix.lstrip(".").upper() or "recording", error) from error


def known_suffixes() -> tuple[str, ...]:
    """File name endings that some reader opens, sorted.

    >>> ".avi" in known_suffixes() and ".tif" in known_suffixes()
    True
    """
    return tuple(sorted({s for reader in _readers().values() for s in reader.suffixes}))


def _readers() -> Mapping[str, type[Reader]]:
    return parts("readers")


def _reader_for(path: Path) -> type[Reader]:
    """The reader of a path, which is checked to lead somewhere."""
    pattern = any(c in path.name for c in "*?[") and not path.exists()
    if not pattern:
        existing_file(path)
    several = pattern or path.is_dir()
    if path.is_dir():                                          # formats that are folders themselves
        for reader in _readers().values():
            if path.suffix.lower() in reader.suffixes:
                return reader
    for reader in _readers().values():
        if (several and reader.folders) or (not several and path.suffix.lower() in reader.suffixes):
            return reader
    advice = _ADVICE.get(path.suffix.lower())
    if advice is not None:
        raise DataError(f"{path}: {advice}")
    raise DataError(f"{path}: unknown kind of recording {path.suffix or '(no suffix)'!r}."
                    f"{did_you_mean(path.suffix.lower(), known_suffixes())} Known: {', '.join(known_suffixes())}, "
                    "a folder of images, or a pattern such as 'frames/*.png'. Export it to one of these.")


def _differing(found: Units, given: Units, rate_counts: bool) -> list[str]:
    """What was given and is not what the file states: in a series one recording may have been made otherwise."""
    notes = []
    for name, unit, power in (("frames_per_second", "frames/s", ""),
                              ("micrometre_per_pixel", "µm a pixel", " squared")):
        stated, used = getattr(found, name), getattr(given, name)
        if stated and used and abs(used / stated - 1) > _ALIKE and (rate_counts or name != "frames_per_second"):
            notes.append(f"The file states {stated:.4g} {unit}, and {name} = {used:.4g} was given, which is used: D is "
                         f"multiplied by {used / stated:.3g}{power}. Leave {name} out where the file is right.")
    return notes


def _overruled(found: Units, given: Units, path: Path) -> Units:
    """The file's calibration with the user's on top."""
    try:
        return found.replace(**given.to_dict())
    except UnitsError as error:
        raise UnitsError(f"{path}: what the file states ({found}) and what you gave do not fit together: "
                         f"{error}") from None
