"""Space in time: the box of every frame, its close pairs, and what moves relative to a sheared box."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.core.errors import DataError
from vid2dyn.data.box import Box, LeesEdwards
from vid2dyn.data.trajectories import Trajectories


def box_at(tracks: Trajectories, frame: int) -> Box:
    """The box in one frame: a sheared one has gone on sliding since frame 0."""
    box = tracks.box
    return box.after(frame * tracks.units.dt) if isinstance(box, LeesEdwards) else box


def frames_of(tracks: Trajectories) -> Iterator[tuple[int, np.ndarray]]:
    """(frame, rows of the table in it), frame after frame."""
    order = np.argsort(tracks.frame, kind="stable")
    frame = tracks.frame[order]
    start = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]]) if len(frame) else np.empty(0, int)
    for a, b in zip(start, np.r_[start[1:], len(frame)]):
        yield int(frame[a]), order[a:b]


def close_pairs(x: np.ndarray, box: Box, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j) nearer than `reach` [µm], each once; O(N). In a box up to half its shortest edge.

    >>> i, j = close_pairs(np.array([[0.2, 5.0], [9.9, 6.0]]), LeesEdwards((10.0, 10.0), 0.0, strain=0.1), 0.5)
    >>> i.tolist(), j.tolist()
    ([1], [0])
    """
    if box.lengths is None:
        return _columns(cKDTree(x).query_pairs(reach, output_type="ndarray"))
    edge = np.asarray(box.lengths)
    x = box.wrap(x)
    x = np.where(x >= edge, 0.0, x)
    if not isinstance(box, LeesEdwards):
        return _columns(cKDTree(x, boxsize=edge).query_pairs(reach, output_type="ndarray"))
    # The images of the lowest layer, shifted, lie on top: pairs through the sheared wall are pairs with one of them.
    low = np.flatnonzero(x[:, 0] < reach)
    images = x[low].copy()
    images[:, 0] += edge[0]
    images[:, 1] = (images[:, 1] + box.offset) % edge[1]
    images[images[:, 1] >= edge[1], 1] = 0.0
    open_up = np.r_[0.0, edge[1:]]
    i, j = _columns(cKDTree(np.vstack([x, images]), boxsize=open_up).query_pairs(reach, output_type="ndarray"))
    i, j = np.minimum(i, j), np.maximum(i, j)
    kept = i < len(x)
    i, j = i[kept], j[kept]
    return i, np.r_[np.arange(len(x)), low][j]


def _columns(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pairs[:, 0], pairs[:, 1]


def recorded_velocities(tracks: Trajectories, what: str) -> np.ndarray:
    """(rows, dim) recorded velocities relative to the shear flow of the box [µm/s]; `DataError` if there are none."""
    velocity = tracks.velocities
    if velocity is None:
        raise DataError(f"{what} needs velocities (columns {', '.join('v' + a for a in tracks.axes)}), which a "
                        "simulation or a rollout with inertia carries and a video does not.")
    if isinstance(tracks.box, LeesEdwards):
        velocity = velocity.copy()
        velocity[:, 1] -= tracks.box.shear_rate * tracks.positions[:, 0]
    return velocity
