"""Tables in files: what kind a file is, and the way out to StochasticForceInference."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pandas as pd

from vid2dyn.convert.frames import from_trackpy
from vid2dyn.convert.lammps_dump import from_lammps
from vid2dyn.convert.trackmate import from_trackmate
from vid2dyn.core.config import build
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic, existing_file, sha256
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units

DUMPS = (".lammpstrj", ".dump")
"""Suffixes of dumps of LAMMPS."""
TABLES = (".csv", ".tsv", ".txt", ".xml", *DUMPS)
"""Suffixes that `read_table` takes."""


def read_table(path: str | os.PathLike[str], **calibration: Any) -> Trajectories:
    """Trajectories from a file of trackpy, TrackMate or LAMMPS.

    Parameters
    ----------
    path : path
        ``.csv``, ``.tsv`` or ``.txt`` with a header line: columns frame, y, x (and particle, z, mass, ...) in px as
        trackpy writes them, or TrackMate's spots table; ``.xml``: TrackMate's own file or its exported tracks;
        ``.lammpstrj`` or ``.dump``: a dump of LAMMPS (`from_lammps`).
    **calibration
        Keys of `vid2dyn.Units`; they overrule what the file says.

    Raises
    ------
    DataError
        For a file that is missing, empty, damaged or of another kind.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tracks.csv"
    >>> _ = path.write_text("frame,particle,y,x\\n0,0,1.0,2.0\\n1,0,1.5,2.0\\n")
    >>> read_table(path, frames_per_second=10)
    <Trajectories: 1 tracks, 2 detections in 2 frames, 2-D, Free(), frames_per_second=10>
    """
    path = existing_file(path)
    if path.suffix.lower() not in TABLES:
        raise DataError(f"{path}: not a table that vid2dyn reads ({', '.join(TABLES)}).")
    if path.suffix.lower() in DUMPS:
        return from_lammps(path, **calibration)
    if path.suffix.lower() == ".xml":
        return from_trackmate(path, **calibration)
    separator, header = _header(path)
    names = {name.upper() for name in header}
    if {"POSITION_X", "POSITION_Y", "FRAME"} <= names:
        return from_trackmate(path, **calibration)
    if {"FRAME", "Y", "X"} <= names:
        return _plain(path, separator, calibration)
    raise DataError(f"{path}: columns {', '.join(header)[:200]} are neither trackpy's (frame, y, x, particle) nor "
                    "TrackMate's (POSITION_X, POSITION_Y, FRAME, TRACK_ID). Rename them, with positions in pixels.")


def _plain(path: Path, separator: str, calibration: dict[str, Any]) -> Trajectories:
    try:
        table = pd.read_csv(path, sep=separator, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable table ({error}). Export it again as comma-separated text.") from None
    table = table.rename(columns={name: str(name).lower() for name in table.columns
                                  if str(name).lower() in ("frame", "particle", "y", "x", "z")})
    table = table[[name for name in table.columns if not str(name).startswith("Unnamed")]]       # a saved index
    try:
        return from_trackpy(table, units=build(Units, calibration, where="calibration"),
                            info={"source": path.name, "sha256": sha256(path)})
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _header(path: Path) -> tuple[str, list[str]]:
    """Separator and column names of the first line."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        line = stream.readline(1 << 16)
    if "\0" in line or not line.strip():
        raise DataError(f"{path}: not a text table. Export it as comma-separated text with a header line.")
    separator = max(",;\t", key=line.count)
    return separator, [name.strip().strip('"') for name in next(csv.reader([line], delimiter=separator))]


def to_sfi(tracks: Trajectories, path: str | os.PathLike[str]) -> Path:
    """Write the linked tracks as StochasticForceInference (2.x) loads them, whole or not at all.

    CSV with a commented YAML header that holds dt [s], then columns particle_id, time_step (frame - first frame) and
    x0, x1[, x2] = x, y[, z] [µm]. SFI has one state per particle and step: a detection missing from a track is a
    missing row, and stays one.

    Raises
    ------
    UnitsError
        Without frame rate and length per pixel.
    DataError
        When nothing is linked.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> tracks = Trajectories.from_dense(np.ones((2, 1, 2)), Units(1.0, 10.0))
    >>> print(to_sfi(tracks, Path(tempfile.mkdtemp()) / "tracks.csv").read_text().strip())
    # ---
    # dt: 0.1
    # length_unit: um
    # time_unit: s
    particle_id,time_step,x0,x1
    0,0,1.0,1.0
    0,1,1.0,1.0
    """
    tracks.units.require("frames_per_second", "micrometre_per_pixel", for_what="The table for StochasticForceInference")
    linked = tracks.linked()
    if not len(linked):
        raise DataError("No detection belongs to a track; link before writing a table for StochasticForceInference.")
    table = pd.DataFrame({"particle_id": linked.particle, "time_step": linked.frame - linked.frame.min()})
    order = [axis for axis in ("x", "y", "z") if axis in linked.axes]
    for k, axis in enumerate(order):
        table[f"x{k}"] = linked.positions[:, linked.axes.index(axis)]
    header = f"# ---\n# dt: {tracks.units.dt!r}\n# length_unit: um\n# time_unit: s\n"
    path = Path(path)
    with atomic(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as stream:
        stream.write(header)
        table.to_csv(stream, index=False, lineterminator="\n")
    return path
