"""Trajectories: the long table of detections that everything downstream reads.

One row is one detection, rows sorted by (particle, frame). Columns: `frame` int32, `particle` int64
(-1 where unlinked), `y`, `x`[, `z`] float64 in pixels ((0, 0) is the centre of the first pixel), then,
where known, `y_std`, `x_std`[, `z_std`] (standard error of the position [px]), `mass`, `size`, `ecc`, `signal`.
Simulations and rollouts with inertia also carry `vy`, `vx`[, `vz`] (velocity [µm/s]) and `entropy` (per particle [kB]).
The methods give the same numbers in µm and s, with axes always in the order (y, x[, z]).

A file is parquet with one JSON text in its metadata (never a pickle): units, box, history, provenance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic, existing_file
from vid2dyn.core.memory import need_memory
from vid2dyn.core.registry import resolve
from vid2dyn.core.schemas import Step, upgraded
from vid2dyn.data.box import Box, Free
from vid2dyn.data.region import Region
from vid2dyn.data.selection import kept_rows, rows_of
from vid2dyn.data.table import AXES, checked_table, without_flat_depth
from vid2dyn.data.units import Units
from vid2dyn.data.wrapped import about_wrapped

STEPS: tuple[Step, ...] = ()
"""What makes a header of an earlier schema one of the newest; see `vid2dyn.core.schemas`."""
SCHEMA = len(STEPS) + 1
GROUP = 1 << 16
"""Rows written to a file at a time."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Tracked particles with calibration, space and history.

    Build one with `from_dataframe`, `from_dense` or `vd.track`; the constructor expects a clean table.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        One row a detection: frame, particle (-1: not linked), y, x[, z] [px], and if known y_std, x_std[, z_std] [px],
        mass, velocities vy, vx[, vz] [px/s], species, ...
    units : Units
        Calibration.
    box : Box
        Space the particles live in [µm]; `Free()` for a microscope.
    field_of_view : tuple of float or None
        Height, width [and depth of a stack] of the frame [px]; None where particles are not lost at an edge
        (simulations). Statistics need it to correct for what lies outside.
    drift : pandas.DataFrame or None
        Common motion already taken out of the positions: columns frame, y, x[, z] [px]. Reversible:
        see `without_drift`, `with_drift`.
    info : dict
        Provenance (source file, hash, codec, inter_coded, parameters, versions, seed, truth): JSON-able.
    region : Region or None
        Part of the field of view in which particles were looked for; None: all of it. Its edges count like those of the
        view.
    """

    dataframe: pd.DataFrame
    units: Units = field(default_factory=Units)
    box: Box = field(default_factory=Free)
    field_of_view: tuple[float, ...] | None = None
    drift: pd.DataFrame | None = None
    info: dict[str, Any] = field(default_factory=dict)
    region: Region | None = None

    # ---------------------------------------------------------------- making one

    @classmethod
    def from_dataframe(cls, df: pd.DataFrame, frames_per_second: float | None = None,
                       micrometre_per_pixel: float | None = None, exposure: float | None = None, *,
                       units: Units | None = None, box: Box | None = None,
                       field_of_view: tuple[float, ...] | None = None,
                       info: Mapping[str, Any] | None = None, region: Region | None = None) -> Trajectories:
        """A table from elsewhere, checked and sorted.

        Parameters
        ----------
        df : pandas.DataFrame
            Needs columns frame, y, x; particle (-1 if absent), z, y_std, x_std and others are kept. A z that is the
            same
            in every row is dropped (unless `box` has a depth), and ``info["warnings"]`` says so, as of positions that
            look folded into a periodic box that is not given (`vid2dyn.data.wrapped`).
        frames_per_second, micrometre_per_pixel, exposure : float, optional
            Calibration; they overrule `units`.

        Raises
        ------
        DataError
            For a missing column or one that is there twice, NaN or infinite coordinates, a negative frame, two rows of
            one particle in one frame, a negative standard error, numbers that do not fit (see `vid2dyn.data.table`).

        Examples
        --------
        >>> df = pd.DataFrame({"frame": [1, 0], "particle": [7, 7], "y": [2.0, 1.0], "x": [0.0, 0.0]})
        >>> tracks = Trajectories.from_dataframe(df, frames_per_second=10, micrometre_per_pixel=0.5)
        >>> tracks.positions[:, 0].tolist()
        [0.5, 1.0]
        """
        table, notes = checked_table(df), tuple[str, ...]()
        if box is None or box.lengths is None:
            table, notes = without_flat_depth(table)
        calibration = (units or Units()).replace(
            frames_per_second=frames_per_second, micrometre_per_pixel=micrometre_per_pixel, exposure=exposure)
        notes += about_wrapped(table, calibration, box or Free())
        return cls(table, calibration, box or Free(), field_of_view, None, _noted(info, notes), region)

    @classmethod
    def from_dense(cls, positions: np.ndarray, units: Units, *, mask: np.ndarray | None = None,
                   sigma: np.ndarray | float | None = None, velocity: np.ndarray | None = None,
                   entropy: np.ndarray | None = None, box: Box | None = None,
                   field_of_view: tuple[float, ...] | None = None,
                   info: Mapping[str, Any] | None = None) -> Trajectories:
        """From a dense array.

        Parameters
        ----------
        positions : (T, N, dim) array
            Positions [µm], axes (y, x[, z]); NaN where absent.
        mask : (T, N) bool array, optional
            True where the particle was seen; default: where positions are finite.
        sigma : float or (T, N, dim) array, optional
            Standard error of the positions [µm].
        velocity : (T, N, dim) array, optional
            Velocities [µm/s], where they are known and not only differences of positions.
        entropy : (T, N) array, optional
            Entropy of every particle [kB].

        >>> tracks = Trajectories.from_dense(np.zeros((3, 2, 2)), Units(1.0, 10.0))
        >>> len(tracks), tracks.n_particles, tracks.n_frames
        (6, 2, 3)
        """
        positions = np.asarray(positions, dtype=float)
        if positions.ndim != 3 or positions.shape[2] not in (1, 2, 3):
            raise DataError(f"positions have shape {positions.shape}; expected (frames, particles, 1-3).")
        seen = np.isfinite(positions).all(axis=2)
        if mask is not None:
            seen &= np.asarray(mask, dtype=bool)
        particle, frame = np.nonzero(seen.T)
        table = {"frame": frame.astype(np.int32), "particle": particle.astype(np.int64)}
        axes = AXES[: positions.shape[2]]
        for k, axis in enumerate(axes):
            table[axis] = positions[frame, particle, k] / units.um
        if sigma is not None:
            per_point = np.broadcast_to(np.asarray(sigma, dtype=float), positions.shape)
            for k, axis in enumerate(axes):
                table[f"{axis}_std"] = per_point[frame, particle, k] / units.um
        if velocity is not None:
            per_point = np.broadcast_to(np.asarray(velocity, dtype=float), positions.shape)
            table |= {f"v{axis}": per_point[frame, particle, k] for k, axis in enumerate(axes)}
        if entropy is not None:
            table["entropy"] = np.broadcast_to(np.asarray(entropy, dtype=float), seen.shape)[frame, particle]
        return cls(checked_table(pd.DataFrame(table), ("frame", *axes)), units, box or Free(), field_of_view, None,
                   dict(info or {}))

    def replace(self, **changes: Any) -> Trajectories:
        """A copy with the given fields changed."""
        return dataclasses.replace(self, **changes)

    def with_units(self, **calibration: Any) -> Trajectories:
        """A copy with the given calibration (keys of `Units`); the table in pixels is untouched.

        Depths of a stack count planes, so that they, which the table has in pixels, follow both lengths.
        """
        units = self.units.replace(**calibration)
        before, after = self.units, units
        if self.dim < 3 or None in (before.micrometre_per_plane, before.micrometre_per_pixel):
            return self.replace(units=units)
        scale = (after.plane / after.um) / (before.plane / before.um)
        depths = {name: scale * self.dataframe[name] for name in ("z", "z_std") if name in self.dataframe}
        view = self.field_of_view
        return self.replace(units=units, dataframe=self.dataframe.assign(**depths), field_of_view=view if view is None
                            else (*view[:2], *(scale * depth for depth in view[2:])))

    def rows(self, mask: np.ndarray) -> Trajectories:
        """Only the rows where `mask` is True."""
        return self.replace(dataframe=self.dataframe[np.asarray(mask)].reset_index(drop=True))

    def linked(self) -> Trajectories:
        """Only rows that belong to a track."""
        return self.rows(self.particle >= 0)

    def between(self, start: int, stop: int) -> Trajectories:
        """Only frames start <= frame < stop."""
        return self.rows((self.frame >= start) & (self.frame < stop))

    # ---------------------------------------------------------------- looking at it

    def __len__(self) -> int:
        return len(self.dataframe)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the position columns, in order: ("y", "x") or ("y", "x", "z")."""
        return tuple(a for a in AXES if a in self.dataframe.columns)

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return len(self.axes)

    @property
    def frame(self) -> np.ndarray:
        """(rows,) frame numbers."""
        return self.dataframe["frame"].to_numpy()

    @property
    def particle(self) -> np.ndarray:
        """(rows,) particle numbers, -1 where unlinked."""
        return self.dataframe["particle"].to_numpy()

    @property
    def n_particles(self) -> int:
        """Number of tracks."""
        particle = self.particle
        return int(np.unique(particle[particle >= 0]).size)

    @property
    def n_frames(self) -> int:
        """Frames from the first to the last detection, both counted."""
        return int(self.frame.max() - self.frame.min() + 1) if len(self) else 0

    @property
    def positions(self) -> np.ndarray:
        """(rows, dim) positions [µm]."""
        return self._columns(self.axes) * self.units.um

    @property
    def sigma(self) -> np.ndarray | None:
        """(rows, dim) standard errors of the positions [µm], or None where the table has none."""
        columns = [f"{axis}_std" for axis in self.axes]
        if not set(columns) <= set(self.dataframe.columns):
            return None
        return self._columns(columns) * self.units.um

    @property
    def velocities(self) -> np.ndarray | None:
        """(rows, dim) recorded velocities [µm/s], or None where the table has none (every video)."""
        columns = [f"v{axis}" for axis in self.axes]
        if not set(columns) <= set(self.dataframe.columns):
            return None
        return self._columns(columns)

    @property
    def entropy(self) -> np.ndarray | None:
        """(rows,) entropy of the particles [kB], or None where the table has none."""
        return self.dataframe["entropy"].to_numpy(dtype=float) if "entropy" in self.dataframe else None

    def _columns(self, names: Sequence[str]) -> np.ndarray:
        """(rows, len(names)) array, column after column in memory, whichever blocks the table is made of.

        Sums round differently for another memory order, and a table that was read may have other blocks than one that
        was calculated.
        """
        return np.asarray(self.dataframe[list(names)].to_numpy(dtype=float), order="F")

    def view(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest corner and edges of what the camera sees [µm], along the axes that `field_of_view` limits.

        Pixels and planes count from their centres, so that the view begins half a pixel, and half a plane, below 0.

        >>> Trajectories.from_dense(np.zeros((3, 2, 2)), Units(0.5, 10.0), field_of_view=(8, 10)).view()
        (array([-0.25, -0.25]), array([4., 5.]))
        """
        if self.field_of_view is None:
            raise DataError("These trajectories have no field of view: it is unknown what the camera did not see. Give "
                            "field_of_view=(height, width) in px (with depth in 3-D).")
        voxel = np.full(len(self.field_of_view), self.units.um)
        if len(voxel) == 3 and self.units.micrometre_per_plane is not None:
            voxel[2] = self.units.plane
        return -0.5 * voxel, np.asarray(self.field_of_view, dtype=float) * self.units.um

    def lagged(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers (i, j) of the same particle with frame[j] - frame[i] == lag; gaps are skipped.

        >>> tracks = Trajectories.from_dense(np.zeros((4, 1, 2)), Units(1.0, 10.0))
        >>> tracks.lagged(2)
        (array([0, 1]), array([2, 3]))
        """
        particle, frame = self.particle.astype(np.int64), self.frame.astype(np.int64)
        if not len(frame):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        # Rows are sorted, so tracks can be counted off: names of particles may be as large as they like.
        track = np.cumsum(np.append(0, particle[1:] != particle[:-1]))
        key = track * (int(frame.max() - frame.min()) + lag + 1) + frame
        j = np.searchsorted(key, key + lag)
        i = np.arange(len(key))
        j_safe = np.minimum(j, len(key) - 1)
        hit = (j < len(key)) & (key[j_safe] == key + lag) & (particle >= 0)
        return i[hit], j[hit]

    def dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Positions as a dense array: (T, N, dim) µm with NaN where absent, (T, N) mask, frames, particles."""
        linked = self.linked()
        frames = np.arange(linked.frame.min(), linked.frame.max() + 1) if len(linked) else np.empty(0, int)
        particles, column = np.unique(linked.particle, return_inverse=True)
        need_memory(9.0 * frames.size * particles.size * self.dim, f"a dense array of {frames.size} frames of "
                    f"{particles.size} particles. Take fewer frames (between) or tracks at a time")
        out = np.full((frames.size, particles.size, self.dim), np.nan)
        if len(linked):
            out[linked.frame - frames[0], column] = linked.positions
        return out, np.isfinite(out).all(axis=2), frames, particles

    # ---------------------------------------------------------------- parts of it

    def filter(self, min_length: int = 1, max_length: int | None = None,
               per: Literal["detection", "track"] = "detection",
               **columns: tuple[float | None, float | None]) -> Trajectories:
        """Those tracks and detections that pass; what was asked is added to ``info["filters"]``.

        Parameters
        ----------
        min_length, max_length : int
            Detections that a track must have, counted after everything else; more than 1 leaves out what was never
            linked.
        per : {"detection", "track"}
            Whether ranges hold for every detection, or for the median of a track.
        **columns
            (lowest, highest) value of any column, None where there is no limit, in the unit of the table (px).

        Raises
        ------
        ConfigError
            For a column that is not there, a range that holds no number.
        DataError
            When nothing is left.

        Examples
        --------
        >>> df = pd.DataFrame({"frame": [0, 1, 0], "particle": [0, 0, 1], "y": 0.0, "x": 0.0, "mass": [5.0, 9.0, 2.0]})
        >>> tracks = Trajectories.from_dataframe(df)
        >>> len(tracks.filter(min_length=2)), len(tracks.filter(mass=(4, None), per="track"))
        (2, 2)
        """
        rows = kept_rows(self.dataframe, min_length, max_length, columns, per)
        asked = {"min_length": min_length, "max_length": max_length, "per": per,
                 "left_out": int(len(rows) - rows.sum()), **{name: list(span) for name, span in columns.items()}}
        if not rows.any():
            raise DataError(f"filter: nothing is left of {self.n_particles} tracks and {len(self)} detections; ask for "
                            "less.")
        return self.rows(rows).replace(info={**self.info, "filters": [*self.info.get("filters", ()), asked]})

    def edit(self, *edits: Mapping[str, Any]) -> Trajectories:
        """These tracks corrected by hand: delete, split, merge, relink, cut; see `vid2dyn.tracking.curate`.

        >>> df = pd.DataFrame({"frame": [0, 1, 0], "particle": [0, 0, 1], "y": 0.0, "x": 0.0})
        >>> Trajectories.from_dataframe(df).edit({"edit": "delete", "particles": [1]}).n_particles
        1
        """
        return resolve("vid2dyn.tracking.curation:curate")(self, edits)  # type: ignore[no-any-return]

    def __getitem__(self, particle: int | Sequence[int] | np.ndarray) -> Trajectories:
        """One particle by its number, or several: ``tracks[7]``, ``tracks[[0, 3]]``."""
        return self.rows(rows_of(self.particle, particle))

    def __iter__(self) -> Iterator[Trajectories]:
        """Particle by particle, in the order of their numbers."""
        particle = self.particle
        starts = np.flatnonzero(np.append(True, particle[1:] != particle[:-1])) if len(particle) else np.empty(0, int)
        for start, stop in zip(starts, np.append(starts[1:], len(particle)), strict=True):
            if particle[start] >= 0:
                yield self.replace(dataframe=self.dataframe.iloc[start:stop].reset_index(drop=True))

    def __repr__(self) -> str:
        known = ", ".join(f"{k}={v:g}" for k, v in self.units.to_dict().items() if v is not None)
        return (f"<Trajectories: {self.n_particles} tracks, {len(self)} detections in {self.n_frames} frames, "
                f"{self.dim}-D, {self.box}{', ' + known if known else ''}>")

    def _repr_html_(self) -> str:
        """How notebooks show it: what it is, what to know, and the first rows."""
        notes = "".join(f"<li>{escape(str(note))}</li>" for note in self.info.get("warnings", ()))
        return f"<p>{escape(repr(self)[1:-1])}</p>" + (f"<ul>{notes}</ul>" if notes else "") \
            + self.dataframe.head(10).to_html()

    # ---------------------------------------------------------------- drift

    def without_drift(self, drift: pd.DataFrame) -> Trajectories:
        """Positions with `drift` (columns frame, y, x[, z] in px) taken out, remembered in `.drift`."""
        if self.drift is not None:
            raise DataError("Drift is already taken out of these trajectories; call with_drift() first.")
        return self._shifted(drift, -1.0).replace(drift=drift.reset_index(drop=True))

    def with_drift(self) -> Trajectories:
        """Positions as they were recorded: `.drift` put back."""
        return self if self.drift is None else self._shifted(self.drift, 1.0).replace(drift=None)

    def _shifted(self, drift: pd.DataFrame, sign: float) -> Trajectories:
        table = self.dataframe.copy()
        by_frame = drift.set_index("frame")
        absent = np.setdiff1d(np.unique(self.frame), by_frame.index.to_numpy())
        if absent.size:
            raise DataError(f"The drift table lacks frame {absent[0]} ({absent.size} frames in all).")
        for axis in self.axes:
            table[axis] = table[axis].to_numpy() + sign * by_frame[axis].reindex(table["frame"]).to_numpy()
        return self.replace(dataframe=table)

    # ---------------------------------------------------------------- files

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a parquet file, whole or not at all; `Trajectories.load` and `vd.load` read it."""
        return self.save_rows(path, [self.dataframe])

    def save_rows(self, path: str | os.PathLike[str], tables: Iterable[pd.DataFrame]) -> Path:
        """Write the file that `save` would write if `tables`, one after the other, were the table.

        For tables larger than memory: they are taken one at a time, sorted by (particle, frame) throughout, with the
        columns of `dataframe` (which may be empty and is not written).
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        if path.suffix.lower() != ".parquet":
            raise DataError(f"{path}: tracks are saved as .parquet; name the file {path.stem}.parquet. For text write "
                            "vd.convert.to_trackpy(tracks).to_csv(...).")
        try:
            text = json.dumps(self._header(), sort_keys=True, default=_as_plain)
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: info holds what a file cannot ({error}); keep numbers, words, lists and "
                            "dictionaries "
                            "with words as keys.") from None
        schema = pa.Schema.from_pandas(_storable(self.dataframe), preserve_index=False)
        schema = schema.with_metadata({b"vid2dyn": text.encode(), b"vid2dyn-sha256": _checksum(text, schema).encode()})
        with atomic(path) as scratch, pq.ParquetWriter(scratch, schema, write_page_checksum=True) as writer:
            for group in _in_groups(tables):
                writer.write_table(pa.Table.from_pandas(_storable(group), schema=schema, preserve_index=False))
        return path

    def _header(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "units": self.units.to_dict(), "box": self.box.to_dict(),
            "field_of_view": self.field_of_view, "info": self.info,
            "drift": None if self.drift is None else {k: v.tolist() for k, v in self.drift.items()},
        } | ({} if self.region is None else {"region": self.region.to_dict()})

    def header(self) -> dict[str, Any]:
        """Everything but the table, as plain data that JSON holds: units, box, field of view, region, drift, info."""
        return dict(json.loads(json.dumps(self._header(), default=_as_plain)))

    @classmethod
    def from_header(cls, table: pd.DataFrame, header: Mapping[str, Any]) -> Trajectories:
        """A table with what `header` gave; ValueError, KeyError or TypeError where that is something else."""
        axes = [axis for axis in AXES if axis in table.columns]
        needed = ("frame", "y") if axes == ["y"] else ("frame", "y", "x")
        return cls(checked_table(table, needed), Units(**header["units"]), Box.from_dict(header["box"]),
                   _size(header["field_of_view"]), _drift(header["drift"], axes), dict(header["info"]),
                   None if header.get("region") is None else Region.from_dict(header["region"]))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trajectories:
        """Read a file written by `save`.

        Raises
        ------
        DataError
            For a file that is absent, damaged, changed (checksums do not match), of another kind or of a newer schema,
            and for a table that `from_dataframe` would not take.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = existing_file(path)
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            stored = table.schema.metadata or {}
            text = stored[b"vid2dyn"].decode()
            header = json.loads(text)
        except KeyError:
            raise DataError(f"{path}: a parquet file, but not one of vid2dyn's; read it with pandas and pass "
                            "the table to Trajectories.from_dataframe.") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable trajectory file ({error}). Save or copy it again.") from None
        header = upgraded(path, header, STEPS)
        stated = stored.get(b"vid2dyn-sha256")                  # files of the first versions have none
        if stated is not None and stated.decode(errors="replace") != _checksum(text, table.schema):
            raise DataError(f"{path}: the checksum does not match, the file was damaged or changed. Save or copy it "
                            "again.")
        try:
            return cls.from_header(table.to_pandas(), header)
        except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a file that vid2dyn wrote so ({_reason(error)}). Save or copy it again."
                            ) from None


def _size(stated: Any) -> tuple[float, ...] | None:
    """Height, width and of stacks depth of the field of view, two or three positive numbers [px]."""
    if stated is None:
        return None
    edges = tuple(float(edge) for edge in stated)
    if len(edges) not in (2, 3) or not all(0 < edge < np.inf for edge in edges):
        raise ValueError(f"field_of_view = {stated}")
    return edges


def _drift(stated: Any, axes: Sequence[str]) -> pd.DataFrame | None:
    """The table of drift, with a number for every axis in every frame."""
    if stated is None:
        return None
    table = pd.DataFrame(stated)
    if not np.isfinite(table[["frame", *axes]].to_numpy(dtype=float)).all():
        raise ValueError("the drift is not a table of numbers")
    return table


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _as_plain(value: Any) -> Any:
    """Numbers and arrays of numpy, paths and dates in `info` as JSON has them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _storable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with columns that a file holds: numbers, booleans and dates as they are, everything else as text."""
    table = table.rename(columns={name: str(name) for name in table.columns if not isinstance(name, str)})
    for name, column in table.items():
        if not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype)
                or (pd.api.types.is_string_dtype(column.dtype) and _is_text(column))):
            table[name] = column.astype(str)
        elif pd.api.types.is_complex_dtype(column.dtype):
            raise DataError(f"Column {name!r} holds complex numbers, which a file of tracks cannot; keep their real "
                            "and "
                            "imaginary parts as two columns.")
    return table


def _is_text(column: pd.Series) -> bool:
    """Whether a column holds nothing but text and gaps; True of no rows."""
    return all(kind in (str, type(None)) for kind in set(map(type, column)))


def _checksum(text: str, schema: Any) -> str:
    """Digest of the header and of names and types of the columns; the numbers have checksums of their own."""
    return hashlib.sha256("\n".join([text, *(f"{f.name} {f.type}" for f in schema)]).encode()).hexdigest()


def _in_groups(tables: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The rows of all tables in groups of `GROUP`, however they were cut, so that the file is the same."""
    waiting: list[pd.DataFrame] = []
    rows = 0
    for table in tables:
        while len(table):
            part = table.iloc[: GROUP - rows]
            table = table.iloc[len(part):]
            waiting.append(part)
            rows += len(part)
            if rows == GROUP:
                yield pd.concat(waiting, ignore_index=True)
                waiting, rows = [], 0
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def _noted(info: Mapping[str, Any] | None, notes: Sequence[str]) -> dict[str, Any]:
    """`info` with more warnings."""
    table = dict(info or {})
    if notes:
        table["warnings"] = [*table.get("warnings", ()), *notes]
    return table
