"""T1 events: four particles change neighbours, two part and the two between them meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import Delaunay, QhullError

from vid2dyn.analysis.local_strain import check_reach, frame_pairs
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.space import box_at
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.box import LeesEdwards
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class T1Events(Result):
    """What `t1_events` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        One row for each event: `frame` (the later one is `frame` + lag), `y`, `x` [px] of its middle, `lost_a`,
        `lost_b` (the pair of particles that parted), `gained_a`, `gained_b` (the pair that met).
    rate : pandas.Series
        Events per particle of each frame.
    """

    dataframe: pd.DataFrame
    rate: pd.Series
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Events per particle against the frame."""
        ax = axes_or_new(ax)
        ax.plot(self.rate.index, self.rate.to_numpy())
        ax.set(xlabel="frame", ylabel="T1 events per particle")
        return ax


def t1_events(tracks: Trajectories, cutoff: float = 3.0, lag: int = 1, *, every: int = 1,
              progress: ProgressLike = None) -> T1Events:
    """T1 events between each frame and the one `lag` frames later, by Delaunay triangulation.

    A bond of the triangulation that is gone later, while the two particles opposite to it have become neighbours, is an
    event. Noise of the positions makes bonds of nearly square quadruples flip to and fro: compare with the events of
    frames between which nothing can have happened.

    Parameters
    ----------
    tracks : Trajectories
        Linked, two-dimensional.
    cutoff : float
        Bonds longer than this are none [µm]: those along the edge of view and across holes. 2 mean spacings.
    lag : int
        Frames from before to after.
    every : int
        Only every so many frames are taken as a start.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    ConfigError
        For a lag below 1, a cutoff that is not positive, or a sheared box.
    DataError
        In other than two dimensions, or if no two frames share enough particles.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> square = np.array([[0, 0.6], [0, -0.6], [1, 0.0], [-1, 0.0]])
    >>> paths = np.stack([square, square * [[1.0, 1.8]] * [[0.6, 1.0]]])       # the near pair parts, the far one meets
    >>> events = t1_events(vd.Trajectories.from_dense(paths, vd.Units(0.1, 10.0)), cutoff=3.0).dataframe
    >>> events[["lost_a", "lost_b", "gained_a", "gained_b"]].to_numpy().tolist()
    [[0, 1, 2, 3]]
    """
    if tracks.dim != 2:
        raise DataError(f"T1 events are of layers: these positions have {tracks.dim} axes, not 2.")
    if lag < 1 or every < 1:
        raise ConfigError(f"t1_events: lag = {lag}, every = {every}; both count frames from 1.")
    if isinstance(tracks.box, LeesEdwards):
        raise ConfigError("t1_events: no sheared box yet; give tracks in a periodic or free one.")
    check_reach(tracks, cutoff, "t1_events")
    found, rate = [], {}
    with showing(progress) as progress:
        steps = list(frame_pairs(tracks, lag, every))
        for k, (frame, first, last) in enumerate(steps):
            progress(k + 1, len(steps), "T1 events")
            if len(first) < 4:
                continue
            events = _between(tracks, frame, first, last, cutoff)
            rate[frame] = len(events) / len(first)
            found.append(events)
    if not found:
        raise DataError(f"t1_events: no two frames {lag} apart share four particles. Link the tracks, or give a "
                        "shorter lag.")
    return T1Events(pd.concat(found, ignore_index=True), pd.Series(rate, name="rate"))


def _between(tracks: Trajectories, frame: int, first: np.ndarray, last: np.ndarray, cutoff: float) -> pd.DataFrame:
    n = len(first)
    bonds, opposite = _bonds(tracks, frame, first, cutoff)
    later, _ = _bonds(tracks, frame, last, cutoff)
    lost = ~np.isin(bonds[:, 0] * n + bonds[:, 1], later[:, 0] * n + later[:, 1])
    met = (opposite >= 0).all(axis=1)
    facing = np.sort(opposite, axis=1)
    new = np.isin(facing[:, 0] * n + facing[:, 1], later[:, 0] * n + later[:, 1]) & met
    event = np.flatnonzero(lost & new)
    quad = np.concatenate([bonds[event], facing[event]], axis=1)
    x, box = tracks.positions[first], box_at(tracks, frame)
    middle = x[quad[:, 0]] + (box.displacement(x[quad], x[quad[:, :1]])).mean(axis=1) if len(quad) else np.empty((0, 2))
    names = tracks.particle[first][quad]
    return pd.DataFrame({"frame": np.full(len(quad), frame, np.int32), "y": middle[:, 0] / tracks.units.um,
                         "x": middle[:, 1] / tracks.units.um, "lost_a": names[:, 0], "lost_b": names[:, 1],
                         "gained_a": names[:, 2], "gained_b": names[:, 3]})


def _bonds(tracks: Trajectories, frame: int, rows: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Bonds (m, 2) within the cutoff, sorted, and the particles (m, 2) opposite to each (-1 where there is none).

    In a periodic box images within twice the cutoff of its edges are triangulated, too.
    """
    x, n = tracks.positions[rows], len(rows)
    number = np.arange(n)
    if tracks.box.lengths is not None:
        edge = np.asarray(tracks.box.lengths)
        x = tracks.box.wrap(x)
        for axis in range(2):
            low, high = x[:, axis] < 2 * cutoff, x[:, axis] > edge[axis] - 2 * cutoff
            shift = edge[axis] * np.eye(2)[axis]
            x = np.concatenate([x, x[low] + shift, x[high] - shift])
            number = np.concatenate([number, number[low], number[high]])
    try:
        mesh = Delaunay(x)
    except QhullError:
        return np.empty((0, 2), np.int64), np.empty((0, 2), np.int64)
    triangles, neighbours = mesh.simplices.astype(np.int64), mesh.neighbors
    corner = np.array([[1, 2], [2, 0], [0, 1]])
    ends = triangles[:, corner].reshape(-1, 2)                          # the side opposite to each corner
    own, other = np.repeat(triangles, 1, axis=0).reshape(-1), neighbours.reshape(-1)
    across = np.full(len(other), -1)
    has = other >= 0
    of_other = triangles[other[has]]
    third = ~((of_other == ends[has][:, :1]) | (of_other == ends[has][:, 1:]))
    across[has] = number[of_other[third]]
    near = np.linalg.norm(x[ends[:, 0]] - x[ends[:, 1]], axis=1) < cutoff
    key = np.sort(number[ends], axis=1)
    near &= key[:, 0] != key[:, 1]
    key, opposite = key[near], np.stack([number[own], across], axis=1)[near]
    _, kept = np.unique(key[:, 0] * n + key[:, 1], return_index=True)
    return key[kept], opposite[kept]
