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

from vid2dyn.convert.text_table import dialect_of, one_named, read_text
from vid2dyn.convert.trackmate_xml import read_xml
from vid2dyn.core.config import build
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import existing_file, sha256
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.unit_words import in_seconds, is_pixel, micrometres, uneven_steps
from vid2dyn.data.units import Units

_NO_TRACK = ("", "none", "nan", "null", "-")
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
    found: dict[str, float] = {}
    size, factor = given.micrometre_per_pixel, micrometres(spots.length_unit)
    if factor is not None:
        size = spots.pixel * factor if spots.pixel else size
        if size is None:
            size = 1.0
            spots.notes.append("The file does not say how large a pixel is: the table counts in pixels of 1 µm. "
                               "Give micrometre_per_pixel for true pixels.")
        scale, found["micrometre_per_pixel"] = factor / size, size
    elif is_pixel(spots.length_unit):
        scale = 1.0
    elif not spots.length_unit.strip():
        scale = 1.0
        spots.notes.append("The file does not say in which unit its lengths are; they are taken as pixels. Exports of "
                           "TrackMate usually count in µm: if these do, give micrometre_per_pixel=1, or export the "
                           "table "
                           "with its line of units.")
    else:
        raise DataError(f"{path}: unit of length {spots.length_unit!r} is not known (nm, micron, mm, cm, m, pixel "
                        "are). Set it in Fiji under Image > Properties and export again.")
    interval, notes = in_seconds(spots.interval, spots.time_unit) if spots.time_unit.strip() else (None, ())
    if interval is not None and interval > 0:
        found["frames_per_second"] = 1.0 / interval
    elif given.frames_per_second is None:
        spots.notes.extend(notes or (f"The file gives no frame interval in a unit of time (unit {spots.time_unit!r}); "
                                     "give "
                                     "frames_per_second.",))
    return Units(**found).replace(**given.to_dict()), scale


def _read_csv(path: Path) -> Spots:
    """The spots table: a line of keys, then up to three lines of names and units, then numbers."""
    dialect = dialect_of(path)
    text = read_text(path, dialect, as_text=True)
    text.columns = pd.Index([name.upper() for name in dialect.names])
    for name in ("FRAME", "TRACK_ID", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T"):
        one_named(path, tuple(text.columns), name)             # refuses two of one name
    if dialect.decimal == ",":
        text = text.apply(lambda column: column.str.replace(",", ".", regex=False))
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
    if "TRACK_ID" in table:
        given = data["TRACK_ID"].fillna("").str.strip().reset_index(drop=True)
        odd = table["TRACK_ID"].isna() & ~given.str.casefold().isin(_NO_TRACK)
        if odd.any():
            raise DataError(f"{path}: TRACK_ID {given[odd].iloc[0]!r} is not a number. Export the table from "
                            "TrackMate again.")
    table["TRACK_ID"] = table["TRACK_ID"].fillna(-1) if "TRACK_ID" in table else -1
    notes: list[str] = []
    interval = _interval(table, notes)
    return Spots(table, _unit(heading, "POSITION_X"), _unit(heading, "POSITION_T"), None, interval, notes=notes)


def _unit(heading: pd.DataFrame, column: str) -> str:
    """What stands in brackets in the lines below the keys: '(micron)' -> 'micron'."""
    for value in heading.get(column, ()):
        found = re.fullmatch(r"\s*\((.*)\)\s*", str(value))
        if found:
            return found.group(1)
    return ""


def _interval(table: pd.DataFrame, notes: list[str]) -> float | None:
    """Time between frames: POSITION_T grows by it from frame to frame; uneven stamps are said in `notes`."""
    if "POSITION_T" not in table:
        return None
    stamps = table[["FRAME", "POSITION_T"]].dropna().groupby("FRAME")["POSITION_T"].median()
    if len(stamps) < 2:
        return None
    step = np.diff(stamps.to_numpy()) / np.diff(stamps.index.to_numpy())
    usual = float(np.median(step))
    notes.extend(uneven_steps(step, "in the file's unit of time"))
    return usual if usual > 0 else None
