"""Tables in memory: trackpy's DataFrame and napari's Tracks array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories

_NAPARI_AXES = ("z", "y", "x")


def from_trackpy(df: pd.DataFrame, **calibration: Any) -> Trajectories:
    """Trajectories from a trackpy table, linked or not.

    Parameters
    ----------
    df : pandas.DataFrame
        Columns frame, y, x (z, particle and others are kept), positions in px.
    **calibration
        As for `Trajectories.from_dataframe`: frames_per_second, micrometre_per_pixel, exposure, units, box, ...

    Returns
    -------
    Trajectories
        trackpy's `ep` is kept under that name and not used as a standard error: it is 7-38 % too large, and NaN at a
        low signal-to-noise ratio.

    Examples
    --------
    >>> df = pd.DataFrame({"y": [1.0, 2.0], "x": [5.0, 5.5], "mass": [90.0, 95.0], "frame": [0, 1], "particle": [0, 0]})
    >>> from_trackpy(df, frames_per_second=10, micrometre_per_pixel=0.5).positions.tolist()
    [[0.5, 2.5], [1.0, 2.75]]
    """
    return Trajectories.from_dataframe(df, **calibration)


def to_trackpy(tracks: Trajectories) -> pd.DataFrame:
    """The table as trackpy has it: positions in px, sorted by frame; `particle` is left out if nothing is linked.

    >>> df = pd.DataFrame({"y": [1.0, 2.0], "x": [5.0, 5.5], "frame": [1, 0], "particle": [0, 0]})
    >>> to_trackpy(from_trackpy(df))["frame"].tolist()
    [0, 1]
    """
    table = tracks.dataframe.sort_values(["frame", "particle"], kind="stable", ignore_index=True)
    if not (table["particle"] >= 0).any():
        table = table.drop(columns="particle")
    axes = [axis for axis in _NAPARI_AXES if axis in table.columns]
    last = [name for name in ("frame", "particle") if name in table.columns]
    middle = [name for name in table.columns if name not in (*axes, *last)]
    return table[[*axes, *middle, *last]]


def to_napari(tracks: Trajectories) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What `viewer.add_tracks(data, properties=properties)` takes.

    Returns
    -------
    data : (N, 4) or (N, 5) float array
        Columns [ID, T, (Z,) Y, X] in frames and px, sorted by ID, then T. Unlinked detections are left out. For µm
        give the layer `scale=(1, um, um)`.
    properties : dict of (N,) arrays
        All other numeric columns of the table.

    Examples
    --------
    >>> df = pd.DataFrame({"y": [1.0, 2.0], "x": [5.0, 5.5], "mass": [9.0, 8.0], "frame": [1, 0], "particle": [3, 3]})
    >>> data, properties = to_napari(from_trackpy(df))
    >>> data.tolist(), properties["mass"].tolist()
    ([[3.0, 0.0, 2.0, 5.5], [3.0, 1.0, 1.0, 5.0]], [8.0, 9.0])
    """
    table = tracks.linked().dataframe
    axes = [axis for axis in _NAPARI_AXES if axis in table.columns]
    columns = ["particle", "frame", *axes]
    others = [name for name in table.columns if name not in columns and pd.api.types.is_numeric_dtype(table[name])]
    return table[columns].to_numpy(dtype=float), {str(name): table[name].to_numpy() for name in others}


def from_napari(data: np.ndarray, properties: Mapping[str, Any] | None = None, **calibration: Any) -> Trajectories:
    """Trajectories from a napari Tracks layer (`layer.data`, `layer.properties`).

    Parameters
    ----------
    data : (N, 4) or (N, 5) array
        Columns [ID, T, (Z,) Y, X] in frames and px (undo the layer's scale first if it was used for positions).
    properties : mapping of (N,) arrays, optional
        Become columns; napari's own `track_id` is dropped.
    **calibration
        As for `Trajectories.from_dataframe`.

    Raises
    ------
    DataError
        When the shape is another one, or a property has another length.

    Examples
    --------
    >>> from_napari([[0, 0, 1.0, 2.0], [0, 1, 1.5, 2.0]], frames_per_second=10).n_frames
    2
    """
    data = np.asarray(data, dtype=float)
    if data.ndim != 2 or data.shape[1] not in (4, 5):
        raise DataError(f"napari Tracks data of shape {data.shape}; expected (N, 4) or (N, 5) with columns "
                        "[ID, T, (Z,) Y, X].")
    axes = _NAPARI_AXES[-(data.shape[1] - 2):]
    table: dict[str, Any] = dict(zip(("particle", "frame", *axes), data.T))
    for name, values in (properties or {}).items():
        if len(values) != len(data):
            raise DataError(f"Property {name!r} has {len(values)} values for {len(data)} points; give one each.")
        if name != "track_id" and name not in table:
            table[name] = np.asarray(values)
    return Trajectories.from_dataframe(pd.DataFrame(table), **calibration)
