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
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic, existing_file
from vid2dyn.data.box import Box, Free
from vid2dyn.data.units import Units

SCHEMA = 1
GROUP = 1 << 16
"""Rows written to a file at a time."""
_AXES = ("y", "x", "z")


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Tracked particles with calibration, space and history.

    Build one with `from_dataframe`, `from_dense` or `vd.track`; the constructor expects a clean table.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        The table described in the module docstring.
    units : Units
        Calibration.
    box : Box
        Space the particles live in [µm]; `Free()` for a microscope.
    field_of_view : tuple of float or None
        Height and width of the frame [px]; None where particles are not lost at an edge (simulations).
        Statistics need it to correct for what lies outside.
    drift : pandas.DataFrame or None
        Common motion already taken out of the positions: columns frame, y, x[, z] [px]. Reversible:
        see `without_drift`, `with_drift`.
    info : dict
        Provenance (source file, hash, codec, inter_coded, parameters, versions, seed, truth): JSON-able.
    """

    dataframe: pd.DataFrame
    units: Units = field(default_factory=Units)
    box: Box = field(default_factory=Free)
    field_of_view: tuple[float, float] | None = None
    drift: pd.DataFrame | None = None
    info: dict[str, Any] = field(default_factory=dict)

    # ---------------------------------------------------------------- making one

    @classmethod
    def from_dataframe(cls, df: pd.DataFrame, frames_per_second: float | None = None,
                       micrometre_per_pixel: float | None = None, exposure: float | None = None, *,
                       units: Units | None = None, box: Box | None = None,
                       field_of_view: tuple[float, float] | None = None,
                       info: Mapping[str, Any] | None = None) -> Trajectories:
        """A table from elsewhere, checked and sorted.

        Parameters
        ----------
        df : pandas.DataFrame
            Needs columns frame, y, x; particle (-1 if absent), z, y_std, x_std and others are kept.
        frames_per_second, micrometre_per_pixel, exposure : float, optional
            Calibration; they overrule `units`.

        Raises
        ------
        DataError
            For a missing column, NaN or infinite coordinates, a negative frame, two rows of one
            particle in one frame, a negative standard error.

        Examples
        --------
        >>> df = pd.DataFrame({"frame": [1, 0], "particle": [7, 7], "y": [2.0, 1.0], "x": [0.0, 0.0]})
        >>> tracks = Trajectories.from_dataframe(df, frames_per_second=10, micrometre_per_pixel=0.5)
        >>> tracks.positions[:, 0].tolist()
        [0.5, 1.0]
        """
        table = _clean(df)
        calibration = (units or Units()).replace(
            frames_per_second=frames_per_second, micrometre_per_pixel=micrometre_per_pixel, exposure=exposure)
        return cls(table, calibration, box or Free(), field_of_view, None, dict(info or {}))

    @classmethod
    def from_dense(cls, positions: np.ndarray, units: Units, *, mask: np.ndarray | None = None,
                   sigma: np.ndarray | float | None = None, velocity: np.ndarray | None = None,
                   entropy: np.ndarray | None = None, box: Box | None = None,
                   field_of_view: tuple[float, float] | None = None,
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
        axes = _AXES[: positions.shape[2]]
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
        return cls.from_dataframe(pd.DataFrame(table), units=units, box=box, field_of_view=field_of_view, info=info)

    def replace(self, **changes: Any) -> Trajectories:
        """A copy with the given fields changed."""
        return dataclasses.replace(self, **changes)

    def with_units(self, **calibration: Any) -> Trajectories:
        """A copy with the given calibration (keys of `Units`); the table in pixels is untouched."""
        return self.replace(units=self.units.replace(**calibration))

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
        return tuple(a for a in _AXES if a in self.dataframe.columns)

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

    def lagged(self, lag: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers (i, j) of the same particle with frame[j] - frame[i] == lag; gaps are skipped.

        >>> tracks = Trajectories.from_dense(np.zeros((4, 1, 2)), Units(1.0, 10.0))
        >>> tracks.lagged(2)
        (array([0, 1]), array([2, 3]))
        """
        particle, frame = self.particle.astype(np.int64), self.frame.astype(np.int64)
        if not len(frame):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        span = int(frame.max()) + lag + 1
        key = particle * span + frame                      # rows are sorted, so the keys are too
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
        out = np.full((frames.size, particles.size, self.dim), np.nan)
        if len(linked):
            out[linked.frame - frames[0], column] = linked.positions
        return out, np.isfinite(out).all(axis=2), frames, particles

    def __repr__(self) -> str:
        known = ", ".join(f"{k}={v:g}" for k, v in self.units.to_dict().items() if v is not None)
        return (f"<Trajectories: {self.n_particles} tracks, {len(self)} detections in {self.n_frames} frames, "
                f"{self.dim}-D, {self.box}{', ' + known if known else ''}>")

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
        header = {
            "schema": SCHEMA, "units": self.units.to_dict(), "box": self.box.to_dict(),
            "field_of_view": self.field_of_view, "info": self.info,
            "drift": None if self.drift is None else {k: v.tolist() for k, v in self.drift.items()},
        }
        schema = pa.Schema.from_pandas(self.dataframe, preserve_index=False).with_metadata(
            {b"vid2dyn": json.dumps(header, sort_keys=True).encode()})
        with atomic(path) as scratch, pq.ParquetWriter(scratch, schema) as writer:
            for group in _in_groups(tables):
                writer.write_table(pa.Table.from_pandas(group, schema=schema, preserve_index=False))
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trajectories:
        """Read a file written by `save`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = existing_file(path)
        try:
            table = pq.read_table(path)
            header = json.loads((table.schema.metadata or {})[b"vid2dyn"])
        except KeyError:
            raise DataError(f"{path}: a parquet file, but not one of vid2dyn's; read it with pandas and pass "
                            "the table to Trajectories.from_dataframe.") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable trajectory file ({error}). Save or copy it again.") from None
        if header.get("schema") != SCHEMA:
            raise DataError(f"{path}: schema {header.get('schema')!r}, this vid2dyn reads {SCHEMA}; update vid2dyn.")
        drift = header["drift"]
        fov = header["field_of_view"]
        return cls(table.to_pandas(), Units(**header["units"]), Box.from_dict(header["box"]),
                   None if fov is None else (fov[0], fov[1]),
                   None if drift is None else pd.DataFrame(drift), header["info"])


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


def _clean(df: pd.DataFrame) -> pd.DataFrame:
    """Checked once, at the door: types, finite numbers, one row per particle and frame, sorted."""
    missing = [c for c in ("frame", "y", "x") if c not in df.columns]
    if missing:
        raise DataError(f"The table lacks column {', '.join(missing)}; it has {', '.join(map(str, df.columns))}. "
                        "Rename the columns: frame, particle, y, x (in pixels).")
    table = df.reset_index(drop=True)          # columns are replaced below, never written to: those of `df` stay
    if "particle" not in table:
        table["particle"] = -1
    axes = [a for a in _AXES if a in table.columns]
    for column in ["frame", "particle", *axes]:
        if pd.api.types.is_integer_dtype(table[column].dtype) and column in ("frame", "particle"):
            continue
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(f"Column {column!r} has {bad.size} values that are not finite numbers, the first in row "
                            f"{bad[0]}. Drop those rows: an absent detection is an absent row.")
        if column in ("frame", "particle") and (values != np.round(values)).any():
            raise DataError(f"Column {column!r} holds fractions; it counts frames or names particles.")
        table[column] = values
    if (table["frame"] < 0).any():
        raise DataError("Column 'frame' has negative numbers; frames count from 0.")
    table = table.astype({"frame": np.int32, "particle": np.int64})
    for axis in axes:
        std = f"{axis}_std"
        if std in table and not (table[std].to_numpy(dtype=float) >= 0).all():
            raise DataError(f"Column {std!r} has negative or missing values; a standard error is a number >= 0. "
                            "Drop the column if it is unknown.")
    if not _in_order(table):
        table = table.sort_values(["particle", "frame"], kind="stable", ignore_index=True)
    particle, frame = table["particle"].to_numpy(), table["frame"].to_numpy()
    twice = np.append(False, (particle[1:] == particle[:-1]) & (frame[1:] == frame[:-1])) & (particle >= 0)
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(f"Particle {int(row['particle'])} has two rows in frame {int(row['frame'])} "
                        f"({int(twice.sum())} such rows). Every particle is in one place at a time: link again.")
    first: Sequence[str] = ["frame", "particle", *axes, *(f"{a}_std" for a in axes if f"{a}_std" in table)]
    return table[[*first, *(c for c in table.columns if c not in first)]]


def _in_order(table: pd.DataFrame) -> bool:
    """Whether the rows are sorted by (particle, frame)."""
    particle, frame = table["particle"].to_numpy(), table["frame"].to_numpy()
    later = (particle[1:] > particle[:-1]) | ((particle[1:] == particle[:-1]) & (frame[1:] >= frame[:-1]))
    return bool(later.all())
