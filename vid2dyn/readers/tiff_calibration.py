"""Frame interval, pixel size and exposure from the metadata of ImageJ and OME TIFFs."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import tifffile

from vid2dyn.data.units import Units
from vid2dyn.readers.base import file_units

_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
       "\\u00b5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "ns": 1e-9,
            "min": 60.0, "h": 3600.0}


def calibration(tif: tifffile.TiffFile) -> tuple[Units, tuple[str, ...]]:
    """Units from ImageJ or OME metadata."""
    if tif.is_ome and tif.ome_metadata:
        return _ome(tif.ome_metadata)
    if not tif.is_imagej or not tif.imagej_metadata:
        return file_units()
    meta = tif.imagej_metadata
    interval, fps = meta.get("finterval"), meta.get("fps")
    unit = str(meta.get("unit", "")).lower()
    tag = tif.pages.first.tags.get("XResolution")
    pixel = None
    if unit in _UM and tag is not None and tag.value[0]:
        pixel = _UM[unit] * tag.value[1] / tag.value[0]
    # "fps" alone is the playback speed; "finterval" is the time between frames
    scale = _SECONDS.get(str(meta.get("tunit", "s")).lower(), 1.0)
    rate = 1.0 / (interval * scale) if interval else fps
    units, warnings = file_units(frames_per_second=rate, micrometre_per_pixel=pixel)
    if rate and not interval:
        warnings += (f"The frame rate {rate:g} is ImageJ's playback speed (fps), which need not be the camera's; "
                     "give frames_per_second=... to be sure.",)
    return units, warnings


def _ome(xml: str) -> tuple[Units, tuple[str, ...]]:
    """Units from OME-XML: Pixels and, where planes are timed, Plane."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return file_units()
    pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None:
        return file_units()
    planes = [e for e in pixels if e.tag.endswith("}Plane")]
    interval = _quantity(pixels, "TimeIncrement", _SECONDS, "s")
    if interval is None:
        times = {int(e.get("TheT", 0)): _quantity(e, "DeltaT", _SECONDS, "s") for e in reversed(planes)}
        stamps = [(t, s) for t, s in sorted(times.items()) if s is not None]
        if len(stamps) > 1:
            interval = (stamps[-1][1] - stamps[0][1]) / (stamps[-1][0] - stamps[0][0])
    width = _quantity(pixels, "PhysicalSizeX", _UM, "µm")
    height = _quantity(pixels, "PhysicalSizeY", _UM, "µm")
    exposure = _quantity(planes[0], "ExposureTime", _SECONDS, "s") if planes else None
    units, warnings = file_units(frames_per_second=1 / interval if interval else None, micrometre_per_pixel=width,
                                 exposure=exposure)
    if width and height and abs(width / height - 1) > 1e-3:
        warnings += (f"Pixels are not square ({width:g} x {height:g} µm); the width is used for both axes.",)
    return units, warnings


def _quantity(element: Any, name: str, scales: dict[str, float], default: str) -> float | None:
    """An attribute of OME-XML in µm or seconds."""
    text, scale = element.get(name), scales.get(element.get(f"{name}Unit", default))
    try:
        return None if text is None or scale is None else float(text) * scale
    except ValueError:
        return None
