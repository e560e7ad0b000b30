"""The door of every table of tracks: checked once, so that everything behind it can trust the columns.

Whatever a table comes from (memory, text, a file of our own), it passes here: names, types, finite numbers that fit,
one row for a particle in a frame, rows sorted by (particle, frame).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.core.errors import DataError

AXES = ("y", "x", "z")
LARGEST_FRAME = 2**31 - 1
"""Frame numbers are stored in 32 bit."""
_FRAMES_WITHOUT_DOUBT, _FRAMES_A_ROW = 1_000_000, 100
"""Frames that a table may span without a row in most of them."""
EXACT = 2**53
"""Whole numbers up to this one are exact in floating point."""
FARTHEST = 1e12
"""Largest coordinate [px]: beyond, a double does not resolve a thousandth of a pixel, and squares lose what moves."""
_ID_WORDS = ("particle", "particle_id", "particleid", "track_id", "trackid", "track", "track id", "trajectory",
             "trajectory_id")


def checked_table(df: Any, needed: Sequence[str] = ("frame", "y", "x")) -> pd.DataFrame:
    """A table of detections as `Trajectories` holds it, or `DataError` that names the column and the cure.

    Parameters
    ----------
    df : pandas.DataFrame
        Columns `needed`, and particle (-1 where absent), z, y_std, x_std and any others. It stays as it was.

    Examples
    --------
    >>> checked_table(pd.DataFrame({"frame": [1, 0], "particle": [7, 7], "y": [2, 1], "x": [0, 0]}))["y"].tolist()
    [1.0, 2.0]
    """
    table = _with_names(df, needed)
    axes = [a for a in AXES if a in table.columns]
    table["frame"] = _whole(table["frame"], "frame", "counts frames")
    table["particle"] = _whole(table["particle"], "particle", "names particles by whole numbers")
    _within(table)
    table = table.astype({"frame": np.int32, "particle": np.int64})
    for axis in axes:
        table[axis] = _finite(table[axis], axis)
        far = np.abs(table[axis].to_numpy()) > FARTHEST
        if far.any():
            raise DataError(f"Column {axis!r} holds {table[axis].to_numpy()[far][0]:g} in row "
                            f"{np.flatnonzero(far)[0]}; "
                            f"positions count in pixels and end at {FARTHEST:g}. Look at that row.")
    for name in (f"{axis}_std" for axis in axes):
        if name in table:
            table[name] = _errors(table[name], name)
    for name in (*(f"v{axis}" for axis in axes), "entropy"):
        if name in table:
            table[name] = _finite(table[name], name)
    if not _in_order(table):
        table = table.sort_values(["particle", "frame"], kind="stable", ignore_index=True)
    _one_place_at_a_time(table)
    first: Sequence[str] = ["frame", "particle", *axes, *(f"{a}_std" for a in axes if f"{a}_std" in table)]
    return table[[*first, *(c for c in table.columns if c not in first)]]


def without_flat_depth(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table without a column z that never changes, and a word about it.

    Programs for two and three dimensions alike write z = 0 for a flat sample. As a third axis without motion it would
    make a diffusion coefficient one third too small.
    """
    if "z" not in table or len(table) < 2 or np.ptp(table["z"].to_numpy()) > 0:
        return table, ()
    gone = [name for name in ("z", "z_std", "vz") if name in table]
    return table.drop(columns=gone), (f"Column z is {table['z'].iloc[0]:g} in every row: the tracks are taken as "
                                      "two-dimensional.",)


def _with_names(df: Any, needed: Sequence[str]) -> pd.DataFrame:
    """A shallow copy with unique names as text and a column particle."""
    if not isinstance(df, pd.DataFrame):
        raise DataError(f"A table of detections is a pandas DataFrame with columns {', '.join(needed)} and particle; "
                        f"this is a {type(df).__name__}.")
    names = [str(name) for name in df.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"The table has {names.count(twice[0])} columns named {twice[0]!r}. Rename or drop all but "
                        "one.")
    missing = [name for name in needed if name not in names]
    if missing:
        index = [str(name) for name in df.index.names if name is not None]
        cure = (f"{', '.join(index)} is the index of the table: call reset_index() first." if set(missing) & set(index)
                else "Rename the columns: frame, particle, y, x (in pixels).")
        raise DataError(f"The table lacks column {', '.join(missing)}; it has {', '.join(names)}. {cure}")
    table = df.reset_index(drop=True)          # columns are replaced below, never written to: those of `df` stay
    table.columns = pd.Index(names)
    if "particle" not in table:
        # "id" names tracks where it repeats; where every row has its own it names detections
        likely = [name for name in names if name.casefold() in _ID_WORDS
                  or (name.casefold() == "id" and len(table) > 1 and not table[name].is_unique)]
        if likely:
            raise DataError(f"The table has no column particle, but {likely[0]!r} seems to name the tracks. Rename it "
                            "to "
                            "particle, or drop it if the detections are not linked.")
        table["particle"] = -1
    return table


def _numbers(values: pd.Series, name: str) -> np.ndarray:
    """Floating-point numbers, NaN for what is none."""
    if pd.api.types.is_complex_dtype(values.dtype):
        raise DataError(f"Column {name!r} holds complex numbers; take their real part if it is what you mean.")
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _finite(values: pd.Series, name: str) -> np.ndarray:
    """The column as finite floats."""
    found = _numbers(values, name)
    bad = np.flatnonzero(~np.isfinite(found))
    if bad.size:
        first = values.iloc[bad[0]]
        comma = isinstance(first, str) and "," in first
        cure = ("It has a decimal comma: read it with pandas.read_csv(..., decimal=',')." if comma else
                "Drop those rows: an absent detection is an absent row.")
        raise DataError(f"Column {name!r} has {bad.size} values that are not finite numbers, the first in row "
                        f"{bad[0]} ({first!r}). {cure}")
    return found


def _whole(values: pd.Series, name: str, what: str) -> np.ndarray:
    """The column as whole numbers of a type that holds them exactly."""
    if pd.api.types.is_integer_dtype(values.dtype) and isinstance(values.dtype, np.dtype):
        found = values.to_numpy()
        if found.dtype == np.uint64 and (found > np.iinfo(np.int64).max).any():
            raise DataError(f"Column {name!r} holds {found.max()}, more than 2^63; number the particles anew: "
                            f"df[{name!r}] = pandas.factorize(df[{name!r}])[0].")
        return found.astype(np.int64)
    if not pd.api.types.is_numeric_dtype(values.dtype) and pd.to_numeric(values, errors="coerce").isna().all() \
            and len(values):
        raise DataError(f"Column {name!r} holds {values.iloc[0]!r}; it {what}. Number it: "
                        f"df[{name!r}] = pandas.factorize(df[{name!r}])[0].")
    found = _finite(values, name)
    if (found != np.round(found)).any():
        raise DataError(f"Column {name!r} holds fractions; it {what}.")
    if (np.abs(found) > EXACT).any():
        raise DataError(f"Column {name!r} holds {found[np.abs(found) > EXACT][0]:.17g} as a floating-point number, "
                        "which "
                        f"cannot tell such large whole numbers apart. Read it as whole numbers, or number it anew: "
                        f"df[{name!r}] = pandas.factorize(df[{name!r}])[0].")
    return found.astype(np.int64)


def _within(table: pd.DataFrame) -> None:
    """Frames count from 0 and fit; particles count from 0, -1 means none."""
    if not len(table):
        return
    if (table["frame"] < 0).any():
        raise DataError("Column 'frame' has negative numbers; frames count from 0.")
    if table["frame"].max() > LARGEST_FRAME:
        raise DataError(f"Column 'frame' holds {table['frame'].max()}; frames are counted, up to {LARGEST_FRAME}. If "
                        "these "
                        "are time stamps, divide by the frame interval and round.")
    span = int(table["frame"].max() - table["frame"].min())
    if span > _FRAMES_WITHOUT_DOUBT + _FRAMES_A_ROW * len(table):
        raise DataError(f"Column 'frame' spans {span} frames for {len(table)} rows: these look like time stamps. "
                        "Frames are "
                        "counted, 0, 1, 2, ...: divide by the frame interval and round.")
    if (table["particle"] < -1).any():
        raise DataError(f"Column 'particle' holds {table['particle'].min()}; particles are numbered from 0, and -1 "
                        "marks "
                        "a detection that belongs to no track. Number them anew with pandas.factorize.")


def _errors(values: pd.Series, name: str) -> np.ndarray:
    found = _numbers(values, name)
    if not ((found >= 0) & np.isfinite(found)).all():
        raise DataError(f"Column {name!r} has negative, infinite or missing values; a standard error is a number >= 0. "
                        "Drop the column if it is unknown.")
    return found


def _one_place_at_a_time(table: pd.DataFrame) -> None:
    particle, frame = table["particle"].to_numpy(), table["frame"].to_numpy()
    twice = np.append(False, (particle[1:] == particle[:-1]) & (frame[1:] == frame[:-1])) & (particle >= 0)
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(f"Particle {int(row['particle'])} has two rows in frame {int(row['frame'])} "
                        f"({int(twice.sum())} such rows). Every particle is in one place at a time: link again.")


def _in_order(table: pd.DataFrame) -> bool:
    """Whether the rows are sorted by (particle, frame)."""
    particle, frame = table["particle"].to_numpy(), table["frame"].to_numpy()
    later = (particle[1:] > particle[:-1]) | ((particle[1:] == particle[:-1]) & (frame[1:] >= frame[:-1]))
    return bool(later.all())
