"""Which rows of a table of tracks are kept: by the length of a track, by ranges of columns, by name.

Rows come sorted by (particle, frame) and stay so. What was chosen is written down, so that a file says what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.registry import did_you_mean

Range = tuple[float | None, float | None]


def kept_rows(table: pd.DataFrame, min_length: int, max_length: int | None, ranges: Mapping[str, Range],
              per: Literal["detection", "track"]) -> np.ndarray:
    """Rows that pass, (rows,) bool; arguments of `Trajectories.filter`.

    >>> table = pd.DataFrame({"frame": [0, 1, 0], "particle": [0, 0, 1], "mass": [5.0, 9.0, 2.0]})
    >>> kept_rows(table, 1, None, {"mass": (3.0, None)}, "detection").tolist()
    [True, True, False]
    >>> kept_rows(table, 2, None, {"mass": (None, 6.0)}, "track").tolist()
    [False, False, False]
    """
    if per not in ("detection", "track"):
        raise ConfigError(f"filter: per = {per!r}; choose 'detection' or 'track'.")
    keep = np.ones(len(table), bool)
    particle = table["particle"].to_numpy()
    for column, span in ranges.items():
        low, high = _range(table, column, span)
        values = table[column].to_numpy(dtype=float)
        if per == "track":
            middle = table[column].astype(float).groupby(particle).transform("median").to_numpy()
            values = np.where(particle >= 0, middle, values)
        keep &= (values >= low) & (values <= high)
    for name, value in (("min_length", min_length), ("max_length", max_length)):
        if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
            raise ConfigError(f"filter: {name} = {value!r}: give a whole number of detections, 1 or more.")
    if min_length > 1 or max_length is not None:
        # what was never linked is no track of any length
        linked = keep & (particle >= 0)
        names, track = np.unique(particle, return_inverse=True)
        length = np.bincount(track, weights=linked, minlength=len(names))[track]
        keep = linked & (length >= min_length) & (length <= (np.inf if max_length is None else max_length))
    return keep


def _range(table: pd.DataFrame, column: str, span: Any) -> tuple[float, float]:
    if column not in table.columns:
        raise ConfigError(f"filter: the table has no column {column!r}.{did_you_mean(column, list(table.columns))} It "
                          f"has: {', '.join(map(str, table.columns))}.")
    if not pd.api.types.is_numeric_dtype(table[column]):
        raise ConfigError(f"filter: column {column!r} holds no numbers; choose its rows with pandas and make new "
                          "trajectories with from_dataframe.")
    try:
        low, high = span
        low, high = -np.inf if low is None else float(low), np.inf if high is None else float(high)
    except (TypeError, ValueError):
        raise ConfigError(f"filter: {column} = {span!r}; give the lowest and the highest value, None where there is no "
                          f"limit: {column}=(100, None).") from None
    if not low <= high:
        raise ConfigError(f"filter: {column} = ({low:g}, {high:g}): no number lies between them.")
    return low, high


def rows_of(particle: np.ndarray, which: Any) -> np.ndarray:
    """Rows of one particle or of several, (rows,) bool.

    >>> rows_of(np.array([0, 0, 3]), 3).tolist(), rows_of(np.array([0, 0, 3]), [0, 3]).tolist()
    ([False, False, True], [True, True, True])
    """
    wanted = np.asarray(list(which) if isinstance(which, Iterable) and not isinstance(which, str) else [which])
    if not wanted.size or wanted.dtype.kind not in "iu" or wanted.ndim != 1:
        raise DataError(f"tracks[{which!r}]: give the number of a particle, or a list of them. tracks.between(first, "
                        "last) takes frames, tracks.filter(...) chooses by columns.")
    absent = np.setdiff1d(wanted, particle)
    if absent.size:
        known = np.unique(particle[particle >= 0])
        said = f"; numbers go from {known[0]} to {known[-1]}" if known.size else "; nothing was linked"
        raise DataError(f"There is no particle {absent[0]} in these tracks{said}.")
    return np.isin(particle, wanted)
