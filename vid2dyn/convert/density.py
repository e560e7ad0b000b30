"""Tracked particles as density fields: counts on a ring, in segments that stand for realisations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.box import Periodic
from vid2dyn.data.fields import Fields
from vid2dyn.data.trajectories import Trajectories


def to_fields(tracks: Trajectories, *, axis: str = "x", cells: int = 200, lags: Sequence[int] = (1, 2, 4, 8)) -> Fields:
    """Density along one axis, for `vid2dyn.fitting.fields.tracked.diffusion_of_density`.

    The recording is cut into segments of max(lags) frames; each is a realisation. Only tracks seen at all lags of a
    segment are counted in it, so that no particle comes or goes. The ring is the periodic box, or twice the extent of
    the data, beyond which no particle moves.

    Parameters
    ----------
    tracks : Trajectories
        Calibrated (frames_per_second, micrometre_per_pixel).
    axis : {"x", "y", "z"}
    cells : int
        Of the ring. Finer than the steps: rounding to a cell acts as localisation noise does.
    lags : sequence of int
        Frames after the start of a segment at which it is looked at; at least two.

    Returns
    -------
    Fields
        Counts (segments, 1 + lags, cells); times [s]; ``info["length"]`` of the ring [µm].

    Raises
    ------
    ConfigError, DataError
        For lags that do not increase, an axis that is not there, or a film shorter than two segments.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=20, frames=40, box_length=10.0), seed=0)
    >>> to_fields(tracks, cells=50, lags=(1, 3)).values.shape
    (13, 3, 50)
    """
    steps = np.asarray([0, *lags])
    if len(steps) < 3 or not (np.diff(steps) > 0).all():
        raise ConfigError(f"to_fields: lags = {tuple(lags)!r}; give at least two numbers of frames, increasing.")
    if axis not in tracks.axes:
        raise DataError(f"to_fields: the tracks have no axis {axis!r}; choose from {', '.join(tracks.axes)}.")
    positions, seen, _, _ = tracks.dense()
    x = positions[:, :, tracks.axes.index(axis)]
    segments = (len(x) - 1) // steps[-1]
    if segments < 2:
        raise DataError(f"to_fields: {len(x)} frames hold {segments} segments of {steps[-1]}; use shorter lags.")
    if isinstance(tracks.box, Periodic):
        length, origin = float(tracks.box.lengths[tracks.axes.index(axis)]), 0.0
    else:
        low, high = float(np.nanmin(x)), float(np.nanmax(x))
        length, origin = 2 * (high - low), low - 0.5 * (high - low)
    values = np.zeros((segments, len(steps), cells), dtype=np.int32)
    for s in range(segments):
        rows = s * steps[-1] + steps
        here = seen[rows].all(axis=0)
        cell = np.floor((x[rows][:, here] - origin) / length * cells).astype(np.int64) % cells
        for t, places in enumerate(cell):
            values[s, t] = np.bincount(places, minlength=cells)
    return Fields(values, steps * tracks.units.dt, None, {"length": length, "axis": axis, "source": "tracks"})
