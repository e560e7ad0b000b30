"""Tracks in files of arrays: HDF5 (ours), GSD (HOOMD-blue) and GEFF (graph exchange format)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.convert.optional import library
from vid2dyn.core.config import build
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import existing_file, sha256
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.unit_words import in_micrometres, is_pixel
from vid2dyn.data.units import Units


def from_hdf5(path: str | os.PathLike[str], **calibration: Any) -> Trajectories:
    """Tracks that `vd.convert.write_table` wrote as .h5; nothing is lost.

    Raises
    ------
    DataError
        For a file of another layout, and where h5py is not installed.
    """
    path = existing_file(path)
    h5py = library("h5py", "Reading HDF5")
    try:
        with h5py.File(path, "r") as file:
            group = file["tracks"]
            header = json.loads(group.attrs["vid2dyn"])
            columns = {}
            for name in group.attrs["columns"]:
                values = group[name][()]
                columns[str(name)] = values.astype(str) if values.dtype.kind == "O" else values
        tracks = Trajectories.from_header(pd.DataFrame(columns), header)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not tracks that vid2dyn wrote ({error}). Read the arrays with h5py and give a "
                        "DataFrame to vd.Trajectories.from_dataframe.") from None
    given = build(Units, calibration, where="calibration").to_dict()
    return tracks.with_units(**{key: value for key, value in given.items() if value is not None})


def from_gsd(path: str | os.PathLike[str], **calibration: Any) -> Trajectories:
    """Tracks of a GSD file: particles follow each other by ``log/particles/id``, or by their order without it.

    Lengths count in µm unless ``micrometre_per_pixel`` says how long one unit is. Positions are unwrapped by the images
    of the file; without ``log/dt`` give ``frames_per_second``.

    Raises
    ------
    DataError
        For a damaged file, a number of particles that changes without ids, a triclinic box.
    """
    path = existing_file(path)
    hoomd = library("gsd.hoomd", "Reading .gsd")
    parts: list[pd.DataFrame] = []
    found: dict[str, Any] = {"micrometre_per_pixel": 1.0}
    box: Box = Free()
    try:
        with hoomd.open(name=str(path), mode="r") as file:
            if not len(file):
                raise DataError(f"{path}: holds no frame.")
            first = int(file[0].configuration.step)
            apart = int(file[1].configuration.step) - first if len(file) > 1 else 1
            for k, frame in enumerate(file):
                dim, edge = int(frame.configuration.dimensions), np.asarray(frame.configuration.box, float)
                if np.abs(edge[3:]).max() > 0:
                    raise DataError(f"{path}: the box is tilted; only upright boxes are read.")
                ours = "particles/id" in frame.log
                ids = np.asarray(frame.log["particles/id"]) if ours else np.arange(frame.particles.N)
                if not ours and k and len(parts[0]) != frame.particles.N:
                    raise DataError(f"{path}: the number of particles changes (frame {k}) and the file has no "
                                    "log/particles/id, so they cannot be followed.")
                x = np.asarray(frame.particles.position, float)
                if frame.particles.image is not None:
                    x = x + np.asarray(frame.particles.image) * edge[:3]
                x += np.asarray(frame.log["centre"]) if "centre" in frame.log else 0.5 * edge[:3]
                step = int(frame.configuration.step)
                table = pd.DataFrame({"frame": step if ours else (step - first) // max(apart, 1), "particle": ids,
                                      "y": x[:, 1], "x": x[:, 0]})
                parts.append(table.assign(z=x[:, 2]) if dim == 3 else table)
                if k == 0:
                    if "dt" in frame.log:
                        found["frames_per_second"] = 1 / float(frame.log["dt"][0])
                    if int(frame.log["periodic"][0]) if "periodic" in frame.log else True:
                        box = Periodic(tuple(edge[[1, 0, 2][:dim]].tolist()))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a readable GSD file ({error}). Write it again.") from None
    units = build(Units, {**found, **calibration}, where="calibration")
    if isinstance(box, Periodic):
        box = Periodic(tuple(edge * units.um for edge in box.lengths))
    return Trajectories.from_dataframe(pd.concat(parts, ignore_index=True), units=units, box=box,
                                       info={"source": path.name, "sha256": sha256(path)})


def from_geff(path: str | os.PathLike[str], **calibration: Any) -> Trajectories:
    """Tracks of a GEFF graph (a folder): nodes are detections, edges join those of one particle.

    Axes named or typed time and space are frame, y, x and z; lengths in pixels, or in a unit of length, which is then
    taken for pixels of ``micrometre_per_pixel`` (1 µm without it).

    Raises
    ------
    DataError
        For a graph that is damaged, lacks axes y and x, or splits and merges; where geff is not installed.
    """
    path = existing_file(path)
    core = library("geff.core_io", "Reading GEFF")
    try:
        stored = core.read_to_memory(str(path))
        metadata, nodes, edges = stored["metadata"], stored["node_ids"], stored["edge_ids"]
        props = {name: np.asarray(one["values"]) for name, one in stored["node_props"].items()}
    except (OSError, KeyError, ValueError, TypeError, FileNotFoundError) as error:
        raise DataError(f"{path}: not a readable GEFF graph ({error}). Export it again.") from None
    axes = {axis.name: axis for axis in metadata.axes or ()}
    times = [name for name, axis in axes.items() if axis.type == "time"] or [n for n in ("t", "frame") if n in props]
    missing = [name for name in ("y", "x") if name not in props]
    if not times or missing:
        raise DataError(f"{path}: needs an axis of time and axes y and x; it has {', '.join(axes) or 'none'}.")
    calib, scale = _geff_units(path, axes, times[0], calibration)
    frame = props[times[0]].astype(float)
    unit = None if times[0] not in axes else axes[times[0]].unit
    if unit not in (None, "frame") or (frame != np.round(frame)).any():
        step = float(np.diff(np.unique(frame)).min(initial=np.inf))
        if not np.isfinite(step):
            step = 1.0
        calib.setdefault("frames_per_second", 1 / step)
        frame = np.round(frame / step)
    table = pd.DataFrame({"frame": frame.astype(np.int64), "particle": _tracks_of(path, nodes, edges),
                          **{axis: props[axis].astype(float) * scale for axis in ("y", "x", "z") if axis in props}})
    used = {*times, "y", "x", "z", "track_id", "frame", "particle"}
    for name, values in props.items():
        if name not in used and values.ndim == 1 and values.dtype.kind in "iufb":
            table[name] = values
    if "track_id" in props:                                # the file's own numbers where they say the same
        same = pd.DataFrame({"a": table["particle"], "b": props["track_id"]}).drop_duplicates()
        linked = same[same["a"] >= 0]
        if not linked["a"].duplicated().any() and not linked["b"].duplicated().any():
            table["particle"] = np.where(table["particle"] >= 0, props["track_id"], -1)
    return Trajectories.from_dataframe(table, units=build(Units, {**calib, **calibration}, where="calibration"),
                                       info={"source": path.name, "sha256": sha256(path)})


def _geff_units(path: Path, axes: dict[str, Any], time: str, given: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Calibration that the axes state, and the factor from their unit of length to px."""
    found: dict[str, Any] = {}
    clock, space = axes.get(time), axes.get("x")
    if clock is not None and clock.scale and clock.scaled_unit == "second":
        found["frames_per_second"] = 1 / clock.scale
    unit = None if space is None else space.unit
    if unit is None or is_pixel(unit):
        if space is not None and space.scale and space.scaled_unit:
            found["micrometre_per_pixel"] = in_micrometres(space.scale, space.scaled_unit)[0]
        return {key: value for key, value in found.items() if value}, 1.0
    length, _ = in_micrometres(1.0, unit)
    if length is None:
        raise DataError(f"{path}: unit of length {unit!r} is not known.")
    size = given.get("micrometre_per_pixel") or 1.0
    return {**found, "micrometre_per_pixel": size}, length / size


def _tracks_of(path: Path, nodes: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(nodes,) number of the chain of edges that each node is in, -1 for nodes without an edge."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(edges):
        return np.full(len(nodes), -1)
    order = np.argsort(nodes)
    a, b = (order[np.searchsorted(nodes, edges[:, k], sorter=order)] for k in (0, 1))
    for ends, what in ((a, "splits"), (b, "merges")):
        if np.bincount(ends).max() > 1:
            raise DataError(f"{path}: a track {what} at node {nodes[ends[np.argmax(np.bincount(ends)[ends] > 1)]]}; "
                            "vid2dyn follows particles that do neither. Cut the graph there.")
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(len(nodes), len(nodes)))
    _, label = connected_components(graph, directed=False)
    single = ~np.isin(np.arange(len(nodes)), np.concatenate([a, b]))
    number = np.unique(label[~single], return_inverse=True)[1]
    out = np.full(len(nodes), -1)
    out[~single] = number
    return out
