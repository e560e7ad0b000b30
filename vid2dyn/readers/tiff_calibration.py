"""Frame interval, pixel size and exposure from the metadata of ImageJ and OME TIFFs."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import tifffile

from vid2dyn.data.unit_words import in_micrometres, in_seconds, uneven_steps
from vid2dyn.data.units import Units
from vid2dyn.readers.base import file_units, not_square

Found = tuple[float | None, tuple[str, ...]]


def calibration(tif: tifffile.TiffFile, stacks: bool = False) -> tuple[Units, tuple[str, ...]]:
    """Units from ImageJ or OME metadata; the distance of planes only of `stacks`."""
    if tif.is_ome and tif.ome_metadata:
        return _ome(tif.ome_metadata, stacks)
    if not tif.is_imagej or not tif.imagej_metadata:
        return file_units()
    return _imagej(tif, tif.imagej_metadata, stacks)


def _imagej(tif: tifffile.TiffFile, meta: dict[str, Any], stacks: bool) -> tuple[Units, tuple[str, ...]]:
    warnings: tuple[str, ...] = ()
    depth = None
    width = height = None
    if meta.get("unit"):
        width, warnings = in_micrometres(_pixel(tif, "XResolution"), meta["unit"])
        height, _ = in_micrometres(_pixel(tif, "YResolution"), meta["unit"])
        spacing = _number(meta.get("spacing"))
        depth = in_micrometres(abs(spacing), meta["unit"])[0] if stacks and spacing else None
    # "fps" alone is the playback speed; "finterval" is the time between frames
    stated, playback = _number(meta.get("finterval")), _number(meta.get("fps"))
    interval, notes = in_seconds(stated, meta.get("tunit", "s")) if stated else (None, ())
    rate = 1.0 / interval if interval else (None if stated else playback)
    units, more = file_units(frames_per_second=rate, micrometre_per_pixel=width, micrometre_per_plane=depth)
    warnings += notes + more + not_square(width, height)
    if rate and not interval:
        warnings += (f"The frame rate {rate:g} is ImageJ's playback speed (fps), which need not be the camera's; "
                     "give frames_per_second=... to be sure.",)
    return units, warnings


def _pixel(tif: tifffile.TiffFile, name: str) -> float | None:
    """Length of a pixel in ImageJ's unit: one over the resolution tag."""
    tag = tif.pages.first.tags.get(name)
    try:
        above, below = tag.value  # type: ignore[union-attr]
        return float(below) / float(above)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return None


def _number(value: Any) -> float | None:
    """A finite number that is not 0, else None."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and found else None


def _ome(xml: str, stacks: bool) -> tuple[Units, tuple[str, ...]]:
    """Units from OME-XML: Pixels and, where planes are timed, Plane."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return file_units()
    pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return file_units()
    planes = [e for e in pixels if e.tag.endswith("}Plane")]
    interval, warnings = _quantity(pixels, "TimeIncrement", in_seconds, "s")
    stamps = _stamps(planes)
    if len(stamps) > 1:
        step = np.diff([s for _, s in stamps]) / np.diff([t for t, _ in stamps])
        warnings += uneven_steps(step)
        if interval is None and (step > 0).all():
            interval = (stamps[-1][1] - stamps[0][1]) / (stamps[-1][0] - stamps[0][0])
    width, notes = _quantity(pixels, "PhysicalSizeX", in_micrometres, "µm")
    height, _ = _quantity(pixels, "PhysicalSizeY", in_micrometres, "µm")
    depth = _quantity(pixels, "PhysicalSizeZ", in_micrometres, "µm")[0] if stacks else None
    exposure, more = _quantity(planes[0], "ExposureTime", in_seconds, "s") if planes else (None, ())
    units, odd = file_units(frames_per_second=1 / interval if interval else None, micrometre_per_pixel=width,
                            exposure=exposure, micrometre_per_plane=depth)
    return units, (*warnings, *notes, *more, *odd, *not_square(width, height))


def _stamps(planes: list[Any]) -> list[tuple[int, float]]:
    """(number of the frame, time [s]) of the first plane of every frame that has a time."""
    times: dict[int, float] = {}
    for plane in reversed(planes):
        try:
            number = int(plane.get("TheT", 0))
        except ValueError:
            continue
        time, _ = _quantity(plane, "DeltaT", in_seconds, "s")
        if time is not None:
            times[number] = time
    return sorted(times.items())


def _quantity(element: Any, name: str, convert: Any, default: str) -> Found:
    """An attribute of OME-XML in µm or seconds, and a warning where its unit is not known."""
    try:
        value = float(element.get(name))
    except (TypeError, ValueError):
        return None, ()
    return convert(value, element.get(f"{name}Unit", default), name)
