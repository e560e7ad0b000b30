"""TrackMate (Fiji): the spots table (CSV), the exported tracks (XML) and TrackMate's own file (XML).

All three hold positions in the image's unit of length, (0, 0) at the centre of the first pixel. Only TrackMate's own
file knows the size of a pixel; for the others, unless the unit is the pixel, give `micrometre_per_pixel`, or the table
counts in "pixels" of 1 µm, which changes no physical quantity. Format: fiji.plugin.trackmate, io/TmXmlWriter,
action/ExportTracksToXML and visualization/table/TrackTableView of TrackMate 7.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.convert.trackmate_xml import read_xml
from vid2dyn.core.config import build
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import existing_file, sha256
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units

_MICROMETRES = {"nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3, "µm": 1.0, "μm": 1.0, "\ufffdm": 1.0, "um": 1.0,
                "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0, "mm": 1e3, "millimeter": 1e3,
                "cm": 1e4, "m": 1e6}
_SECONDS = {"ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0,
            "minute": 60.0, "h": 3600.0, "hour": 3600.0}
_KEPT = re.compile(r"^(QUALITY|RADIUS|SNR|CONTRAST|MEAN_INTENSITY|TOTAL_INTENSITY)")


@dataclass
class Spots:
    """What a TrackMate file holds, in its own units."""

    table: pd.DataFrame                      # FRAME, TRACK_ID (-1: none), POSITION_X, _Y, _Z and measured features
    length_unit: str = ""
    time_unit: str = ""
    pixel: float | None = None               # [length_unit]
    interval: float | None = None            # [time_unit]
    size: tuple[float, float] | None = None  # height, width [px]
    notes: list[str] = field(default_factory=list)


def from_trackmate(path: str | os.PathLike[str], **calibration: Any) -> Trajectories:
    """Trajectories from a file of TrackMate.

    Parameters
    ----------
    path : path
        ``.xml`` (saved by TrackMate, or "Export tracks to XML file") or ``.csv`` (the table of spots).
    **calibration
        Keys of `vid2dyn.Units`; they overrule what the file says.

    Returns
    -------
    Trajectories
        Spots outside any track have particle -1; spots that TrackMate's filters hide are left out. The z column is
        dropped where it is constant. `info["warnings"]` says what had to be assumed.

    Raises
    ------
    DataError
        For a damaged file, XML with a document type (never written by TrackMate; refused for safety), a track that
        splits or merges, a unit of length that is not known.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tracks.xml"
    >>> _ = path.write_text('<Tracks nTracks="1" spaceUnits="pixel" frameInterval="0.5" timeUnits="sec">'
    ...     '<particle nSpots="2"><detection t="0" x="1.0" y="2.0" z="0.0"/>'
    ...     '<detection t="1" x="1.5" y="2.0" z="0.0"/></particle></Tracks>')
    >>> tracks = from_trackmate(path)
    >>> tracks.units.frames_per_second, tracks.dataframe["x"].tolist()
    (2.0, [1.0, 1.5])
    """
    path = existing_file(path)
    given = build(Units, calibration, where="calibration")
    spots = Spots(**read_xml(path)) if path.suffix.lower() == ".xml" else _read_csv(path)
    if not len(spots.table):
        raise DataError(f"{path}: no spots in this TrackMate file. Export it after tracking.")
    units, scale = _calibrate(path, spots, given)
    table = _renamed(spots.table, scale)
    twice = (table["particle"] >= 0) & table.duplicated(["particle", "frame"])
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(f"{path}: TrackMate track {int(row['particle'])} has two spots in frame {int(row['frame'])}: "
                        "it splits or merges. Track again with splitting and merging switched off.")
    try:
        return Trajectories.from_dataframe(
            table, units=units, field_of_view=spots.size,
            info={"source": path.name, "sha256": sha256(path), "warnings": spots.notes})
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _renamed(table: pd.DataFrame, scale: float) -> pd.DataFrame:
    """Our column names, positions and radius in px."""
    out = pd.DataFrame({"frame": table["FRAME"], "particle": table["TRACK_ID"],
                        "y": table["POSITION_Y"] * scale, "x": table["POSITION_X"] * scale})
    z = table["POSITION_Z"] if "POSITION_Z" in table else pd.Series(0.0, index=table.index)
    if z.notna().all() and np.ptp(z.to_numpy(dtype=float)) > 0:
        out["z"] = z * scale
    for name in table.columns:
        if _KEPT.match(name):
            out[name.lower()] = table[name] * (scale if name == "RADIUS" else 1.0)
    return out


def _calibrate(path: Path, spots: Spots, given: Units) -> tuple[Units, float]:
    """Calibration in force, and the factor from the file's unit of length to px."""
    unit = spots.length_unit.strip().lower()
    found: dict[str, float] = {}
    if unit in ("", "pixel", "pixels", "px"):
        scale = 1.0
    elif unit in _MICROMETRES:
        micrometres = _MICROMETRES[unit]
        size = spots.pixel * micrometres if spots.pixel else given.micrometre_per_pixel
        if size is None:
            size = 1.0
            spots.notes.append("The file does not say how large a pixel is: the table counts in pixels of 1 µm. "
                               "Give micrometre_per_pixel for true pixels.")
        scale, found["micrometre_per_pixel"] = micrometres / size, size
    else:
        raise DataError(f"{path}: unit of length {spots.length_unit!r} is not known (nm, micron, mm, cm, m, pixel "
                        "are). Set it in Fiji under Image > Properties and export again.")
    seconds = _SECONDS.get(spots.time_unit.strip().lower())
    if seconds and spots.interval and spots.interval > 0:
        found["frames_per_second"] = 1.0 / (spots.interval * seconds)
    elif given.frames_per_second is None:
        spots.notes.append(f"The file gives no frame interval in a unit of time (unit {spots.time_unit!r}); give "
                           "frames_per_second.")
    return Units(**found).replace(**given.to_dict()), scale


def _read_csv(path: Path) -> Spots:
    """The spots table: a line of keys, then up to three lines of names and units, then numbers."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        separator = max(",;\t", key=stream.readline(1 << 16).count)
    try:
        text = pd.read_csv(path, sep=separator, dtype=str, encoding="utf-8-sig", encoding_errors="replace",
                           skipinitialspace=True)
    except ValueError as error:
        raise DataError(f"{path}: not a readable table ({error}). Export it from TrackMate again.") from None
    text.columns = [str(name).strip().upper() for name in text.columns]
    missing = [name for name in ("POSITION_X", "POSITION_Y", "FRAME") if name not in text.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; export the table of spots (not of edges or "
                        "tracks) from TrackMate.")
    frames = pd.to_numeric(text["FRAME"], errors="coerce")
    data = text[frames.notna().cummax()]
    heading = text.iloc[: len(text) - len(data)]
    if len(heading) > 3:
        raise DataError(f"{path}: the first {len(heading)} rows have no number in column FRAME; TrackMate writes at "
                        "most three lines below the keys.")
    wanted = [name for name in text.columns
              if name in ("FRAME", "TRACK_ID", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T")
              or _KEPT.match(name)]
    table = data[wanted].apply(pd.to_numeric, errors="coerce").reset_index(drop=True)
    table["TRACK_ID"] = table["TRACK_ID"].fillna(-1) if "TRACK_ID" in table else -1
    return Spots(table, _unit(heading, "POSITION_X"), _unit(heading, "POSITION_T"), None, _interval(table))


def _unit(heading: pd.DataFrame, column: str) -> str:
    """What stands in brackets in the lines below the keys: '(micron)' -> 'micron'."""
    for value in heading.get(column, ()):
        found = re.fullmatch(r"\s*\((.*)\)\s*", str(value))
        if found:
            return found.group(1)
    return ""


def _interval(table: pd.DataFrame) -> float | None:
    """Time between frames: POSITION_T grows by it from frame to frame."""
    if "POSITION_T" not in table:
        return None
    later = table[table["FRAME"] > 0]
    ratio = (later["POSITION_T"] / later["FRAME"]).dropna()
    return float(ratio.median()) if len(ratio) else None
