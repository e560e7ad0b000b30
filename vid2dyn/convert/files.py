"""Tables in files: what kind a file is, and the way out to StochasticForceInference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from vid2dyn.convert.array_files import from_geff, from_gsd, from_hdf5
from vid2dyn.convert.frames import from_trackpy
from vid2dyn.convert.lammps_dump import from_lammps
from vid2dyn.convert.text_table import Dialect, dialect_of, one_named, read_text
from vid2dyn.convert.trackmate import from_trackmate
from vid2dyn.core.config import build
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.files import ARRAYS, DUMPS, TABLES, atomic, existing_file, sha256
from vid2dyn.data.box import Box
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.data.wrapped import about_wrapped


def read_table(path: str | os.PathLike[str], box: Box | None = None, **calibration: Any) -> Trajectories:
    """Trajectories from a file of trackpy, TrackMate or LAMMPS.

    Parameters
    ----------
    path : path
        ``.csv``, ``.tsv`` or ``.txt`` with a header line: columns frame, y, x (and particle, z, mass, ...) in px as
        trackpy writes them, or TrackMate's spots table; ``.xml``: TrackMate's own file or its exported tracks;
        ``.lammpstrj`` or ``.dump``: a dump of LAMMPS (`from_lammps`); ``.h5``, ``.gsd``, ``.geff``: `from_hdf5`,
        `from_gsd`, `from_geff`.
    box : Box, optional
        Of a simulation, for tables of text, which name none: ``vid2dyn.Periodic((20.0, 20.0))``.
    **calibration
        Keys of `vid2dyn.Units`; they overrule what the file says.

    Raises
    ------
    DataError
        For a file that is missing, empty, damaged or of another kind.
    ConfigError
        For a box beside a file that states its own.

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
    if box is not None and path.suffix.lower() in (*DUMPS, *ARRAYS):
        raise ConfigError(f"{path}: this file states its box itself; leave out box=. Where it is wrong, give the box "
                          "to the table that was read: tracks.replace(box=...).")
    if path.suffix.lower() in DUMPS:
        return from_lammps(path, **calibration)
    if path.suffix.lower() in ARRAYS:
        return {".gsd": from_gsd, ".geff": from_geff}.get(path.suffix.lower(), from_hdf5)(path, **calibration)
    if path.suffix.lower() == ".xml":
        return _in_box(from_trackmate(path, **calibration), box)
    dialect = dialect_of(path)
    names = {name.upper() for name in dialect.names}
    if {"POSITION_X", "POSITION_Y", "FRAME"} <= names:
        return _in_box(from_trackmate(path, **calibration), box)
    if {"FRAME", "Y", "X"} <= names:
        return _plain(path, dialect, box, calibration)
    raise DataError(f"{path}: columns {', '.join(dialect.names)[:200]} are neither trackpy's (frame, y, x, particle) "
                    "nor TrackMate's (POSITION_X, POSITION_Y, FRAME, TRACK_ID). Rename them to frame, particle, y, x. "
                    "Positions in µm are right with micrometre_per_pixel=1; times in s become frames as "
                    "round(time * frames_per_second).")


def _in_box(tracks: Trajectories, box: Box | None) -> Trajectories:
    """The tracks in a box, and no word about jumps through its edges."""
    if box is None:
        return tracks
    solved = about_wrapped(tracks.dataframe, tracks.units, tracks.box)
    info = {**tracks.info, "warnings": [note for note in tracks.info.get("warnings", ()) if note not in solved]}
    return tracks.replace(box=box, info=info if solved else tracks.info)


def _plain(path: Path, dialect: Dialect, box: Box | None, calibration: dict[str, Any]) -> Trajectories:
    """Columns frame, particle, y, x, z whatever their case; an index that was saved without a name is left out."""
    ours = ("frame", "particle", "y", "x", "z")
    names = {one_named(path, dialect.names, name): name for name in ours}
    table = read_text(path, dialect)
    table = table.loc[:, [name != "" and not name.startswith("Unnamed") for name in dialect.names]]
    table = table.rename(columns={theirs: name for theirs, name in names.items() if theirs is not None})
    try:
        return from_trackpy(table, units=build(Units, calibration, where="calibration"), box=box,
                            info={"source": path.name, "sha256": sha256(path)})
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


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
