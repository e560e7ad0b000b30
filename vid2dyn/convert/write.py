"""Tracks as files of other programs: the suffix says which.

===========  ==========================================================  ====================================
suffix       what it holds                                               what is lost
===========  ==========================================================  ====================================
.csv         the table (px)                                              calibration, box, history
.xml         TrackMate's own file: spots, links, calibration [µm, s]     columns but mass, box, history
.h5, .hdf5   columns as arrays and everything else as JSON (h5py)        nothing
.geff        graph exchange format: detections, links, columns, scales   box, history
.lammpstrj   LAMMPS dump, units micro, positions not wrapped             unlinked detections, columns
.gsd         GSD (HOOMD): positions [µm] in single precision             unlinked detections, columns
===========  ==========================================================  ====================================

`vd.open` reads all of them again.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import IO
from xml.sax.saxutils import quoteattr

import numpy as np

from vid2dyn.convert.optional import library
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic
from vid2dyn.data.trajectories import Trajectories

OUT = (".csv", ".xml", ".h5", ".hdf5", ".geff", ".lammpstrj", ".gsd")


def write_table(tracks: Trajectories, path: str | os.PathLike[str]) -> Path:
    """Write tracks for other programs, whole or not at all; see the module docstring.

    Parameters
    ----------
    tracks : Trajectories
    path : path
        Its suffix is the format.

    Raises
    ------
    DataError
        For an unknown suffix, a library that is not installed, and where nothing is linked that a format needs linked.
    UnitsError
        Where the format counts in µm or s and the calibration is not known.

    Examples
    --------
    >>> import tempfile
    >>> from vid2dyn.convert import read_table
    >>> from vid2dyn.data.units import Units
    >>> tracks = Trajectories.from_dense(np.ones((2, 3, 2)), Units(0.5, 10.0))
    >>> path = write_table(tracks, Path(tempfile.mkdtemp()) / "tracks.xml")
    >>> read_table(path).positions.tolist() == tracks.positions.tolist()
    True
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in OUT:
        raise DataError(f"{path}: tracks are written as {', '.join(OUT)}; tracks.save writes .parquet, which keeps "
                        "all.")
    if kind == ".geff":
        return _geff(tracks, path)
    if kind == ".gsd":
        return _gsd(tracks, path)
    if kind in (".h5", ".hdf5"):
        return _hdf5(tracks, path)
    with atomic(path) as scratch, open(scratch, "w", encoding="utf-8", newline="\n") as stream:
        {".csv": _csv, ".xml": _trackmate, ".lammpstrj": _lammps}[kind](tracks, stream)
    return path


def _csv(tracks: Trajectories, stream: IO[str]) -> None:
    tracks.dataframe.to_csv(stream, index=False, lineterminator="\n")


def _trackmate(tracks: Trajectories, stream: IO[str]) -> None:
    """Layout of fiji.plugin.trackmate.io.TmXmlWriter (TrackMate 7): model with spots, tracks and filters; image."""
    um, table = tracks.units.micrometre_per_pixel, tracks.dataframe
    scale, unit = (um, "micron") if um else (1.0, "pixel")
    fps = tracks.units.frames_per_second
    interval, time = (1 / fps, "sec") if fps else (1.0, "frame")
    frame, particle = tracks.frame, tracks.particle
    yx = table[["y", "x"]].to_numpy(float) * scale
    z = table["z"].to_numpy(float) * scale if "z" in table else np.zeros(len(table))
    mass = table["mass"].to_numpy(float) if "mass" in table else np.ones(len(table))
    radius = 0.5 * float((tracks.info.get("parameters") or {}).get("diameter") or 5) * scale
    stream.write('<?xml version="1.0" encoding="UTF-8"?>\n<TrackMate version="7.11.1">\n'
                 f'  <Model spatialunits="{unit}" timeunits="{time}">\n    <FeatureDeclarations>\n'
                 '      <SpotFeatures>\n        <Feature feature="QUALITY" name="Quality" shortname="Quality" '
                 'dimension="QUALITY" isint="false" />\n      </SpotFeatures>\n      <EdgeFeatures />\n'
                 '      <TrackFeatures />\n    </FeatureDeclarations>\n')
    time_of = frame * interval
    stream.write(f'    <AllSpots nspots="{len(table)}">\n')
    order = np.argsort(frame, kind="stable")
    numbers, first = np.unique(frame[order], return_index=True)
    for number, rows in zip(numbers, np.split(order, first[1:])):
        stream.write(f'      <SpotsInFrame frame="{number}">\n')
        stream.writelines(
            f'        <Spot ID="{k}" name="ID{k}" QUALITY="{float(mass[k])!r}" POSITION_T="{float(time_of[k])!r}" '
            f'POSITION_X="{float(yx[k, 1])!r}" POSITION_Y="{float(yx[k, 0])!r}" POSITION_Z="{float(z[k])!r}" '
            f'FRAME="{frame[k]}" RADIUS="{radius!r}" VISIBILITY="1" />\n'
            for k in rows.tolist())
        stream.write("      </SpotsInFrame>\n")
    stream.write("    </AllSpots>\n    <AllTracks>\n")
    links = np.flatnonzero((particle[1:] == particle[:-1]) & (particle[1:] >= 0))
    names, first = np.unique(particle[links], return_index=True)
    for name, rows in zip(names, np.split(links, first[1:]) if len(names) else ()):
        stream.write(f'      <Track name="Track_{name}" TRACK_ID="{name}" TRACK_INDEX="{name}">\n')
        stream.writelines(f'        <Edge SPOT_SOURCE_ID="{k}" SPOT_TARGET_ID="{k + 1}" />\n' for k in rows.tolist())
        stream.write("      </Track>\n")
    stream.write("    </AllTracks>\n    <FilteredTracks>\n")
    stream.writelines(f'      <TrackID TRACK_ID="{name}" />\n' for name in names)
    stream.write("    </FilteredTracks>\n  </Model>\n  <Settings>\n")
    height, width = tracks.field_of_view or (0, 0)
    stream.write(f'    <ImageData filename={quoteattr(str(tracks.info.get("source") or ""))} folder="" '
                 f'width="{int(width)}" height="{int(height)}" nslices="1" nframes="{int(frame.max()) + 1}" '
                 f'pixelwidth="{scale!r}" pixelheight="{scale!r}" voxeldepth="1.0" timeinterval="{interval!r}" />\n'
                 "  </Settings>\n</TrackMate>\n")


def _lammps(tracks: Trajectories, stream: IO[str]) -> None:
    """``units micro`` (µm, µs), ids of particles, not wrapped; frames without a particle are written too."""
    tracks, low, high, letters, position = _followed(tracks, "A LAMMPS dump")
    columns = "".join(f" {axis}u" for axis in "xyz"[:tracks.dim])
    velocity = tracks.velocities
    if velocity is not None:
        velocity = velocity[:, [1, 0, 2][:tracks.dim]] * 1e-6                    # µm/s as µm/µs
        columns += "".join(f" v{axis}" for axis in "xyz"[:tracks.dim])
    for number, rows in _by_frame(tracks):
        stream.write(f"ITEM: UNITS\nmicro\nITEM: TIME\n{number * tracks.units.dt * 1e6!r}\nITEM: TIMESTEP\n{number}\n"
                     f"ITEM: NUMBER OF ATOMS\n{len(rows)}\nITEM: BOX BOUNDS {letters}\n")
        stream.writelines(f"{a!r} {b!r}\n" for a, b in zip(low.tolist(), high.tolist()))
        stream.write(f"ITEM: ATOMS id type{columns}\n")
        values = position[rows] if velocity is None else np.hstack([position[rows], velocity[rows]])
        stream.writelines(f"{name + 1} 1 {' '.join(map(repr, line))}\n"
                          for name, line in zip(tracks.particle[rows].tolist(), values.tolist()))


def _followed(tracks: Trajectories, what: str) -> tuple[Trajectories, np.ndarray, np.ndarray, str, np.ndarray]:
    """Linked detections, a box (x, y, z) and its kind, and positions (x, y[, z]) [µm]."""
    tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what=what)
    linked = tracks.linked()
    if not len(linked):
        raise DataError(f"{what} has particles with numbers, and nothing is linked here. Link first (vd.track).")
    position = linked.positions[:, [1, 0, 2][:linked.dim]]
    low, high = np.full(3, -0.5), np.full(3, 0.5)
    letters = "ff ff ff"
    if linked.box.lengths is not None:
        edge = np.asarray(linked.box.lengths, float)[[1, 0, 2][:linked.dim]]
        low[:linked.dim], high[:linked.dim], letters = 0.0, edge, "pp pp pp"
    else:
        low[:linked.dim], high[:linked.dim] = position.min(axis=0), position.max(axis=0) + 1e-9
        if linked.field_of_view is not None:
            low[:2] = -0.5 * linked.units.um
            high[:2] = low[:2] + np.array(linked.field_of_view[::-1]) * linked.units.um
    return linked, low, high, letters, position


def _by_frame(tracks: Trajectories) -> list[tuple[int, np.ndarray]]:
    """Every frame from the first to the last, with its rows in the order of the particles."""
    order = np.argsort(tracks.frame, kind="stable")
    numbers = np.arange(tracks.frame.min(), tracks.frame.max() + 1)
    edges = np.searchsorted(tracks.frame[order], np.append(numbers, numbers[-1] + 1))
    return [(int(n), order[a:b]) for n, a, b in zip(numbers, edges[:-1], edges[1:])]


def _gsd(tracks: Trajectories, path: Path) -> Path:
    """One snapshot a frame; ``log/particles/id`` holds the numbers of the particles, ``log/dt`` the frame interval."""
    hoomd = library("gsd.hoomd", "Writing .gsd")
    tracks, low, high, letters, position = _followed(tracks, "A GSD file")
    edge = high - low
    centre = 0.5 * (low + high)
    with atomic(path) as scratch, hoomd.open(name=str(scratch), mode="w") as file:
        for number, rows in _by_frame(tracks):
            frame = hoomd.Frame()
            frame.configuration.step = number
            frame.configuration.dimensions = tracks.dim if tracks.dim > 1 else 2
            frame.configuration.box = [*edge[:tracks.dim], *([1.0] if tracks.dim < 3 else []), 0, 0, 0]
            frame.particles.N = len(rows)
            place = np.zeros((len(rows), 3))
            place[:, :tracks.dim] = position[rows] - centre[:tracks.dim]
            if letters.startswith("p"):
                image = np.floor((place + 0.5 * edge) / edge)
                place -= image * edge
                frame.particles.image = image.astype(np.int32)
            frame.particles.position = place
            frame.log["particles/id"] = tracks.particle[rows].astype(np.int64)
            frame.log["dt"] = np.array([tracks.units.dt])
            frame.log["centre"] = centre
            frame.log["periodic"] = np.array([letters.startswith("p")], dtype=np.int32)
            file.append(frame)
    return path


def _hdf5(tracks: Trajectories, path: Path) -> Path:
    """Group ``tracks`` with one array for each column; its attribute ``vid2dyn`` is the JSON of the parquet file."""
    h5py = library("h5py", "Writing HDF5")
    header = tracks.header()
    with atomic(path) as scratch, h5py.File(scratch, "w") as file:
        group = file.create_group("tracks")
        group.attrs["vid2dyn"] = json.dumps(header, sort_keys=True)
        group.attrs["columns"] = [str(name) for name in tracks.dataframe.columns]
        for name, column in tracks.dataframe.items():
            values = column.to_numpy()
            if values.dtype.kind not in "iufb":
                values = column.astype(str).to_numpy(dtype=h5py.string_dtype())
            group.create_dataset(str(name), data=values, compression="gzip", shuffle=values.dtype.kind in "iuf")
    return path


def _geff(tracks: Trajectories, path: Path) -> Path:
    """Nodes t (frame), y, x[, z] (px) and every column; an edge from each detection to the next of its particle."""
    core, spec = library("geff.core_io", "Writing GEFF"), library("geff_spec", "Writing GEFF")
    geff = library("geff", "Writing GEFF")
    table, units = tracks.dataframe, tracks.units
    props = {"t": table["frame"].to_numpy().astype(np.int64)}
    props |= {axis: table[axis].to_numpy(float) for axis in tracks.axes}
    props["track_id"] = tracks.particle.astype(np.int64)
    for name, column in table.items():
        if str(name) not in ("frame", "particle", *tracks.axes) and column.dtype.kind in "iufb":
            props[str(name)] = column.to_numpy()
    fps, um = units.frames_per_second, units.micrometre_per_pixel
    time = {"scale": 1 / fps, "scaled_unit": "second"} if fps else {}
    space = {"scale": um, "scaled_unit": "micrometer"} if um else {}
    axes = [spec.Axis(name="t", type="time", unit="frame", **time),
            *(spec.Axis(name=axis, type="space", unit="pixel", **space) for axis in tracks.axes)]
    named = {name: spec.PropMetadata(identifier=name, dtype=str(values.dtype)) for name, values in props.items()}
    metadata = geff.GeffMetadata(directed=True, axes=axes, node_props_metadata=named, edge_props_metadata={})
    particle = tracks.particle
    links = np.flatnonzero((particle[1:] == particle[:-1]) & (particle[1:] >= 0))
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        core.write_arrays(str(scratch), np.arange(len(table), dtype=np.uint64),
                          {name: {"values": values, "missing": None} for name, values in props.items()},
                          np.column_stack([links, links + 1]).astype(np.uint64), {}, metadata)
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(scratch, path)
    finally:
        if scratch.exists():
            shutil.rmtree(scratch)
    return path
