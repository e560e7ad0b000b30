"""Rows and tracks to keep: pure functions from Trajectories to Trajectories."""

from __future__ import annotations

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories


def keep(tracks: Trajectories, *, min_mass: float | None = None, max_mass: float | None = None,
         min_size: float | None = None, max_size: float | None = None, max_ecc: float | None = None,
         max_std: float | None = None, min_length: int = 1) -> Trajectories:
    """Only the detections that pass every limit, then only tracks of at least `min_length` detections.

    Limits are exclusive, as in trackpy's walkthrough (`mass > 50`, `size < 2.6`, `ecc < 0.3`).

    Parameters
    ----------
    tracks : Trajectories
        Its table needs the columns that are limited.
    min_mass, max_mass : float, optional
        Of the summed brightness [grey levels].
    min_size, max_size : float, optional
        Of the radius of gyration [px].
    max_ecc : float, optional
        Of the eccentricity, 0 (round) to 1.
    max_std : float, optional
        Of the standard error of the position along every axis [px].
    min_length : int
        Detections a track needs; unlinked detections (particle -1) go when it is above 1.

    Raises
    ------
    DataError
        When a limited column is absent.
    ConfigError
        When min_length is below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"frame": [0, 1, 0], "particle": [0, 0, 1], "y": 0.0, "x": 0.0, "mass": [60, 70, 40]})
    >>> tracks = Trajectories.from_dataframe(df)
    >>> keep(tracks, min_mass=50).n_particles, len(keep(tracks, min_length=2))
    (1, 2)
    """
    if min_length < 1:
        raise ConfigError(f"min_length = {min_length!r}: give the fewest detections of a track; 1 keeps all.")
    mask = np.ones(len(tracks), dtype=bool)
    limits = [("mass", min_mass, max_mass), ("size", min_size, max_size), ("ecc", None, max_ecc),
              *((f"{axis}_std", None, max_std) for axis in tracks.axes)]
    for column, low, high in limits:
        if low is not None:
            mask &= _column(tracks, column) > low
        if high is not None:
            mask &= _column(tracks, column) < high
    kept = tracks if mask.all() else tracks.rows(mask)
    if min_length == 1 or not len(kept):
        return kept
    _, inverse, counts = np.unique(kept.particle, return_inverse=True, return_counts=True)
    return kept.rows((counts[inverse] >= min_length) & (kept.particle >= 0))


def _column(tracks: Trajectories, name: str) -> np.ndarray:
    if name not in tracks.dataframe:
        raise DataError(f"The table has no column {name!r} to filter by; it has "
                        f"{', '.join(map(str, tracks.dataframe.columns))}.")
    return tracks.dataframe[name].to_numpy(dtype=float)
