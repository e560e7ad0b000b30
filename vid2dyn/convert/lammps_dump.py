"""Dumps of LAMMPS (``dump custom``, .lammpstrj): simulations of other people as trajectories, and our own rollouts.

A dump may say its units (``dump_modify ... units yes``) and the time of every frame (``time yes``); both are then known
without being given. In ``units lj``, where LAMMPS attaches no unit, one length is taken as 1 µm and one time as 1 s,
and ``info["units"]`` says so. Without these lines give ``micrometre_per_pixel`` (the length of one unit of LAMMPS in
µm) and ``frames_per_second``.

Positions are unwrapped where the dump allows it: columns xu, yu, zu as they are, x, y, z with the image flags ix, iy,
iz. Wrapped positions without flags are followed from frame to frame by the nearest image, which is right while no
particle moves half a box between two frames. Axes keep their names: column x of the table is x of LAMMPS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from vid2dyn.core.config import build
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import existing_file, sha256
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units

LENGTHS = {"lj": 1.0, "real": 1e-4, "metal": 1e-4, "si": 1e6, "cgs": 1e4, "electron": 5.29177210903e-5, "micro": 1.0,
           "nano": 1e-3}
"""Length of LAMMPS in µm, by the name of its units (manual of LAMMPS, command units)."""
TIMES = {"lj": 1.0, "real": 1e-15, "metal": 1e-12, "si": 1.0, "cgs": 1.0, "electron": 1e-15, "micro": 1e-6,
         "nano": 1e-9}
"""Time of LAMMPS in s."""


@dataclass(frozen=True, eq=False)
class DumpFrame:
    """One frame of a dump.

    Parameters
    ----------
    step : int
    time : float or None
        In LAMMPS's unit, if the dump says it.
    units : str or None
        Name of LAMMPS's units, from the first frame on.
    low, high : (3,) arrays
        Corners of the box; of a tilted one, those around it.
    periodic : tuple of three bools
    columns : pandas.DataFrame
        As in the file.
    """

    step: int
    time: float | None
    units: str | None
    low: np.ndarray
    high: np.ndarray
    periodic: tuple[bool, bool, bool]
    columns: pd.DataFrame


def dump_frames(path: str | os.PathLike[str]) -> Iterator[DumpFrame]:
    """The frames of a dump one by one; memory of one frame.

    Raises
    ------
    DataError
        For a file that is no dump of text, a frame that breaks off, or a tilted box.
    """
    path = existing_file(path)
    units = None
    with open(path, "rb") as stream:
        while True:
            found = _head(path, stream)
            if found is None:
                return
            units = found.pop("units", units)
            count, names = found.pop("count"), found.pop("names")
            body = b"".join(islice(stream, count))
            words = body.split()
            if len(words) != count * len(names):
                whole = len(words) // len(names)
                raise DataError(f"{path}: the frame of step {found['step']} breaks off after {whole} of {count} "
                                "particles; was LAMMPS stopped? Remove the last frame, or write the dump again.")
            table = pd.DataFrame({name: _values(words[k::len(names)]) for k, name in enumerate(names)})
            yield DumpFrame(units=units, columns=table, **found)


def _values(words: list[bytes]) -> np.ndarray:
    """Numbers, or words where a column holds names of elements; all digits are kept."""
    try:
        return np.array(words, dtype=float)
    except ValueError:
        return np.array([word.decode(errors="replace") for word in words], dtype=object)


def _head(path: Path, stream: BinaryIO) -> dict[str, Any] | None:
    """The lines before the particles of a frame; None at the end of the file."""
    found: dict[str, Any] = {"time": None}
    while True:
        line = stream.readline()
        if not line:
            if len(found) > 1:
                raise DataError(f"{path}: the last frame breaks off in its head.")
            return None
        item = line.decode(errors="replace").strip()
        if not item and len(found) == 1:
            continue
        if not item.startswith("ITEM: "):
            raise DataError(f"{path}: {item[:60]!r} where 'ITEM: ...' was expected; this is no text dump of LAMMPS. "
                            "Write it with 'dump ID all custom N file.lammpstrj id type xu yu zu vx vy vz'.")
        try:
            if item == "ITEM: UNITS":
                found["units"] = stream.readline().decode().strip()
            elif item == "ITEM: TIME":
                found["time"] = float(stream.readline())
            elif item == "ITEM: TIMESTEP":
                found["step"] = int(stream.readline())
            elif item == "ITEM: NUMBER OF ATOMS":
                found["count"] = int(stream.readline())
            elif item.startswith("ITEM: BOX BOUNDS"):
                flags = item.split()[3:]
                if len(flags) != 3:
                    raise DataError(f"{path}: a tilted box ({item[6:]}); only boxes with right angles are read.")
                edges = [np.array(stream.readline().split()[:2], dtype=float) for _ in range(3)]
                found["low"], found["high"] = (np.array([edge[k] for edge in edges]) for k in (0, 1))
                found["periodic"] = tuple(flag[0] == "p" for flag in flags)
            elif item.startswith("ITEM: ATOMS"):
                found["names"] = item.split()[2:]
                missing = {"step", "count", "low"} - set(found)
                if missing:
                    raise DataError(f"{path}: a frame without {', '.join(sorted(missing))}.")
                return found
            else:
                raise DataError(f"{path}: unknown entry {item!r}.")
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: the lines below {item!r} are damaged ({error}).") from None


def from_lammps(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, dim: int | None = None,
                **calibration: Any) -> Trajectories:
    """Trajectories from a dump of LAMMPS, or from several that follow each other.

    Velocities become columns vy, vx, vz [µm/s] if the dump has them, entropy (``c_entropy`` or ``d_S``) and type a
    column each.

    Parameters
    ----------
    path : path or sequence of paths
        Text dumps (``dump custom``) with columns id and xu yu zu, or x y z, with or without ix iy iz, or scaled.
    dim : 2 or 3, optional
        Default: 2 if the dump has no z, or z is 0 throughout.
    **calibration
        Keys of `vid2dyn.Units`; they overrule what the dump says. ``micrometre_per_pixel`` is the length of LAMMPS's
        unit of length in µm.

    Raises
    ------
    DataError
        For a dump without id or positions, a damaged one, or frames at uneven times.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.lammpstrj"
    >>> frame = "ITEM: TIMESTEP\\n{}\\nITEM: NUMBER OF ATOMS\\n1\\nITEM: BOX BOUNDS pp pp pp\\n" + 3 * "0 10\\n"
    >>> frame += "ITEM: ATOMS id x y\\n1 {} 5\\n"
    >>> _ = path.write_text(frame.format(0, 9.5) + frame.format(100, 0.5))
    >>> tracks = from_lammps(path, micrometre_per_pixel=1.0, frames_per_second=10)
    >>> tracks.dataframe.x.tolist(), tracks.box
    ([9.5, 10.5], Periodic(lengths=(10.0, 10.0)))
    """
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]
    frames = [frame for one in paths for frame in dump_frames(one)]
    if not frames:
        raise DataError(f"{paths[0]}: holds no frame.")
    place = paths[0]
    for need in ("id",):
        if need not in frames[0].columns:
            raise DataError(f"{place}: the dump has no column {need}, so particles cannot be followed. Write it with "
                            "'dump ID all custom N file.lammpstrj id type xu yu zu vx vy vz'.")
    units, said = _units(place, frames, calibration)
    if dim is None:
        flat = "zu" not in frames[0].columns and not {"z", "zs", "zsu"} & set(frames[0].columns)
        dim = 2 if flat or not any(_axis(place, frame, 2).any() for frame in frames) else 3
    table = pd.concat([_table(place, frame, k, dim) for k, frame in enumerate(frames)], ignore_index=True)
    if all(frames[0].periodic[:dim]) and not _is_unwrapped(frames[0]):
        table = _followed(table, frames[0], dim)
    length, time = units.micrometre_per_pixel, _time_of(frames[0])
    scale = (length or 1.0) / time if length is not None else 1.0
    for axis in ("vx", "vy", "vz"):
        if axis in table:
            table[axis] *= scale
    edges = frames[0].high - frames[0].low
    box: Box = Free()
    if all(frames[0].periodic[:dim]):
        box = Periodic(tuple(float(edges[k]) * (length or 1.0) for k in (1, 0, 2)[:dim]))
    info = {"source": place.name, "sha256": sha256(place), "units": said, "first_step": frames[0].step}
    return Trajectories.from_dataframe(table, units=units, box=box, info=info)


def _units(place: Path, frames: list[DumpFrame], calibration: dict[str, Any]) -> tuple[Units, str]:
    """Calibration, and where it comes from in a sentence."""
    name = frames[0].units
    found: dict[str, Any] = {}
    said = "The dump does not say its units; they were given."
    if name is not None:
        if name not in LENGTHS:
            raise DataError(f"{place}: unknown units {name!r}; LAMMPS has {', '.join(LENGTHS)}.")
        found["micrometre_per_pixel"] = LENGTHS[name]
        said = f"units {name}: one length is {LENGTHS[name]:g} µm and one time {TIMES[name]:g} s"
        if name == "lj":
            said += ", taken so because reduced units have none of their own"
    times = [frame.time for frame in frames]
    if len(frames) > 1 and name is not None and all(time is not None for time in times):
        apart = np.diff(np.array(times, dtype=float))
        if not np.allclose(apart, apart[0], rtol=1e-6, atol=0) or not apart[0] > 0:
            k = int(np.argmax(np.abs(apart - apart[0]))) + 1
            raise DataError(f"{place}: frames are not evenly spaced in time; the one of step {frames[k].step} comes "
                            f"after {apart[k - 1]:g}, the second after {apart[0]:g}. Write every N-th step.")
        found["frames_per_second"] = 1.0 / (apart[0] * TIMES[name])
    steps = np.diff([frame.step for frame in frames])
    if len(steps) and ((steps <= 0).any() or (steps != steps[0]).any()):
        k = int(np.argmax(steps != steps[0])) + 1
        raise DataError(f"{place}: frames are not evenly spaced; step {frames[k].step} follows {frames[k - 1].step}. "
                        "Write every N-th step, and do not append one run to another.")
    return build(Units, {**found, **calibration}, where="calibration"), said


def _time_of(frame: DumpFrame) -> float:
    """LAMMPS's unit of time in s; 1 where unknown."""
    return TIMES.get(frame.units or "lj", 1.0)


def _is_unwrapped(frame: DumpFrame) -> bool:
    names = set(frame.columns.columns)
    return "xu" in names or "xsu" in names or "ix" in names


def _axis(place: Path, frame: DumpFrame, k: int) -> np.ndarray:
    """Positions along axis k of LAMMPS, unwrapped where the columns allow it."""
    name, table = "xyz"[k], frame.columns
    edge = float(frame.high[k] - frame.low[k])
    if f"{name}u" in table:
        return table[f"{name}u"].to_numpy(float)
    if f"{name}su" in table:
        return frame.low[k] + edge * table[f"{name}su"].to_numpy(float)
    if name in table:
        x = table[name].to_numpy(float)
    elif f"{name}s" in table:
        x = frame.low[k] + edge * table[f"{name}s"].to_numpy(float)
    else:
        raise DataError(f"{place}: no column for the {name} positions; there are {', '.join(table.columns)}. Write "
                        "the dump with xu yu zu.")
    return x + edge * table[f"i{name}"].to_numpy(float) if f"i{name}" in table else x


def _table(place: Path, frame: DumpFrame, number: int, dim: int) -> pd.DataFrame:
    """Rows of one frame."""
    given = frame.columns
    out: dict[str, Any] = {"frame": np.full(len(given), number, np.int32),
                           "particle": given["id"].to_numpy(np.int64) - 1}
    for k, axis in ((1, "y"), (0, "x"), (2, "z"))[:dim]:
        out[axis] = _axis(place, frame, k)
    for axis in ("vy", "vx", "vz")[:dim]:
        if axis in given:
            out[axis] = given[axis].to_numpy(float)
    for column in ("c_entropy", "d_S"):
        if column in given:
            out["entropy"] = given[column].to_numpy(float)
    if "type" in given:
        out["type"] = given["type"].to_numpy(np.int64)
    return pd.DataFrame(out)


def _followed(table: pd.DataFrame, frame: DumpFrame, dim: int) -> pd.DataFrame:
    """Wrapped positions followed by nearest images, particle by particle."""
    table = table.sort_values(["particle", "frame"], ignore_index=True)
    new = np.r_[True, np.diff(table["particle"].to_numpy()) != 0]
    for k, axis in ((1, "y"), (0, "x"), (2, "z"))[:dim]:
        edge = float(frame.high[k] - frame.low[k])
        step = np.diff(table[axis].to_numpy(), prepend=0.0)
        turns = np.where(new, 0.0, -np.round(step / edge))
        total = np.cumsum(turns)
        start = np.maximum.accumulate(np.where(new, np.arange(len(table)), 0))
        table[axis] += edge * (total - total[start])
    return table


def dense_frames(paths: Sequence[Path], particles: int, dim: int,
                 entropy: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, velocity (frames, n, dim) and entropy (frames, n) of dumps sorted by id, axes (y, x[, z])."""
    position, velocity, S = [], [], []
    for frame in (frame for path in paths for frame in dump_frames(path)):
        if len(frame.columns) != particles:
            raise DataError(f"Step {frame.step}: {len(frame.columns)} of {particles} particles are left.")
        order = ("y", "x", "z")[:dim]
        position.append(frame.columns[[f"{axis}u" for axis in order]].to_numpy(float))
        velocity.append(frame.columns[[f"v{axis}" for axis in order]].to_numpy(float))
        S.append(frame.columns[entropy].to_numpy(float))
    return np.array(position), np.array(velocity), np.array(S)
