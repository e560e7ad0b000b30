"""Common motion of all particles: stage drift and flow."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import unwrapped
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories


def drift(tracks: Trajectories, smoothing: int = 0) -> pd.DataFrame:
    """Mean displacement between consecutive frames, over the particles present in both, summed from the start.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles.
    smoothing : int
        Number of frames of a running mean over the displacements, as in trackpy; 0 for none.

    Returns
    -------
    pandas.DataFrame
        Columns frame, y, x[, z] [px]: one row for each frame from the first to the last, zero in the first.
        A frame that shares no particle with the one before moves with it (displacement 0).
        Feed it to `Trajectories.without_drift`; `with_drift` puts it back.

    Raises
    ------
    DataError
        If nothing is linked.

    Notes
    -----
    Among N particles the mean takes 1/N of each one's own motion with it: D of the corrected tracks is
    low by 1/N. `diffusion` removes drift itself and corrects that.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> moving = np.array([[[0.0, 0.0]], [[0.0, 0.5]], [[0.0, 1.0]]])
    >>> drift(Trajectories.from_dense(moving, Units(0.5, 10.0)))["x"].tolist()
    [0.0, 1.0, 2.0]
    """
    if smoothing < 0:
        raise ConfigError(f"smoothing = {smoothing}: the running mean spans 0 or more frames.")
    frame = tracks.frame.astype(np.int64)
    if not (tracks.particle >= 0).any():
        raise DataError("Drift needs linked tracks; column 'particle' is absent or -1 everywhere. Link first.")
    first, last = int(frame.min()), int(frame.max())
    i, j = tracks.lagged(1)
    # Pixels as recorded in a free box: no calibration is needed for a drift in px.
    table = tracks.dataframe[list(tracks.axes)].to_numpy(dtype=float)
    position = table if tracks.box.lengths is None else unwrapped(tracks) / tracks.units.um
    step = position[j] - position[i]
    arrival = frame[j] - first
    number = np.bincount(arrival, minlength=last - first + 1)
    total = np.stack([np.bincount(arrival, column, last - first + 1) for column in step.T], axis=1)
    mean = total / np.maximum(number, 1)[:, None]
    if smoothing > 1:
        seen = number > 0
        mean[seen] = _running_mean(mean[seen], smoothing)
    out = pd.DataFrame({"frame": np.arange(first, last + 1, dtype=np.int32)})
    out[list(tracks.axes)] = np.cumsum(mean, axis=0)
    return out


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over the last `width` rows, over fewer at the start."""
    total = np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)])
    stop = np.arange(1, len(values) + 1)
    start = np.maximum(stop - width, 0)
    return (total[stop] - total[start]) / (stop - start)[:, None]
