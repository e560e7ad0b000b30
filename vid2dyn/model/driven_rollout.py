"""Rollout of packed particles beside those that are moved by hand: what is prescribed, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vid2dyn.analysis.radial_distribution import cut_by_view
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.rollout.driven import Prescribed

LAYERS = 12
"""Layers of a profile flow."""
_FEWEST = 3

Drive = Callable[[float], Any]
"""Displacement [µm] of the moving edge a time [s] after the start: one vector (y, x), or one for each held particle."""


def prescribed_of(tracks: Trajectories, steps: int, column: str, flow: str, margin: float,
                  drive: Drive | None) -> Prescribed:
    """What moves by hand in a rollout of `steps` frames from the first frame of `tracks`.

    Parameters
    ----------
    tracks : Trajectories
        Where particles start, and, without `drive`, the path that held ones follow.
    steps : int
        Frames to make.
    column : str
        That is True for held particles.
    flow : {"none", "affine", "profile"}
        See `vd.Brownian`.
    margin : float
        Particles nearer than this [µm] to the edge of where particles are found are held as well: their neighbours
        outside are not seen. They follow the recording; those that leave it go with the flow from then on.
    drive : callable, optional
        Prescribed motion in place of that of the recording.

    Raises
    ------
    DataError
        Without the column, or if the recording is shorter than the rollout and no `drive` is given.
    """
    if column not in tracks.dataframe:
        raise DataError(f"This model has particles that are moved by hand, and the tracks have no column {column!r} "
                        "that says which they are.")
    begin = int(tracks.frame.min())
    first = tracks.frame == begin
    particle, start = tracks.particle[first], tracks.positions[first]
    held = tracks.dataframe[column].to_numpy(dtype=bool)[first]
    held |= cut_by_view(tracks, margin)[first]
    number = np.flatnonzero(held)
    if drive is None and tracks.n_frames < steps:
        raise DataError(f"The held particles follow the recording, which has {tracks.n_frames} frames, not {steps}. "
                        "Make fewer steps, or say how they move: rollout(..., drive=function of the time).")
    if drive is not None:
        path = _driven(tracks, start[number], particle[number], steps, drive)
    else:
        path = _recorded(tracks, start[number], particle[number], steps, begin)
    layers, velocity = _flow(tracks, path, steps, begin, flow, drive is None)
    return Prescribed(number, path, layers, velocity)


def _recorded(tracks: Trajectories, start: np.ndarray, particle: np.ndarray, steps: int, begin: int) -> np.ndarray:
    """(steps + 1, h, dim) of the recording: gaps are bridged, and what leaves goes on with the flow of the others."""
    path = np.full((steps + 1, *start.shape), np.nan)
    place = {int(name): k for k, name in enumerate(particle)}
    in_time = (tracks.frame >= begin) & (tracks.frame <= begin + steps)
    rows = np.flatnonzero(np.isin(tracks.particle, particle) & in_time)
    which = np.array([place[int(name)] for name in tracks.particle[rows]], dtype=np.int64)
    path[tracks.frame[rows] - begin, which] = tracks.positions[rows]
    path[0] = start
    frames = np.arange(steps + 1)
    for k in range(len(particle)):
        seen = np.isfinite(path[:, k, 0])
        last = int(np.flatnonzero(seen)[-1])
        if not seen[: last + 1].all():
            for c in range(path.shape[2]):
                path[: last + 1, k, c] = np.interp(frames[: last + 1], frames[seen], path[seen, k, c])
    box = tracks.box
    for t in range(1, steps + 1):
        known, lost = np.isfinite(path[t, :, 0]), ~np.isfinite(path[t, :, 0])
        if not lost.any():
            continue
        if known.sum() >= _FEWEST:
            move = box.displacement(path[t, known], path[t - 1, known])
            basis = np.column_stack([np.ones(int(known.sum())), path[t - 1, known, 0]])
            slope = np.linalg.lstsq(basis, move, rcond=None)[0]
            there = np.column_stack([np.ones(int(lost.sum())), path[t - 1, lost, 0]])
            path[t, lost] = path[t - 1, lost] + there @ slope
        else:
            path[t, lost] = 2 * path[t - 1, lost] - path[max(t - 2, 0), lost]
    # never wrapped: motion is continuous
    move = np.cumsum(box.displacement(path[1:], path[:-1]), axis=0)
    return start + np.concatenate([np.zeros((1, *start.shape)), move])


def _driven(tracks: Trajectories, start: np.ndarray, particle: np.ndarray, steps: int, drive: Drive) -> np.ndarray:
    """(steps + 1, h, dim) of a function; one vector moves the moving body, and the others stand still."""
    move = np.array([np.asarray(drive(k * tracks.units.dt), float) for k in range(steps + 1)])
    move = move - move[:1]
    dim = start.shape[1]
    if move.shape == (steps + 1, *start.shape):
        return start + move
    if move.shape != (steps + 1, dim):
        raise ConfigError(f"drive(t) gave an array of shape {move.shape[1:]}; give one displacement ({dim},), or "
                          f"one for each of the {len(start)} held particles ({len(start)}, {dim}), in µm.")
    return start + move[:, None] * _moving(tracks, particle)[None, :, None]


def _moving(tracks: Trajectories, particle: np.ndarray) -> np.ndarray:
    """(h,) 1 for held particles of the moving body, else 0: by the column `body`, else by how far they move."""
    first = tracks.frame == tracks.frame.min()
    if "body" in tracks.dataframe:
        body = dict(zip(tracks.particle[first].tolist(), tracks.dataframe["body"].to_numpy()[first]))
        if "needle" in body.values():
            return np.array([body[int(name)] == "needle" for name in particle], float)
    span = np.zeros(len(particle))
    for k, name in enumerate(particle):
        x = tracks.positions[tracks.particle == name]
        span[k] = np.ptp(x, axis=0).max() if len(x) > 1 else 0.0
    return (span > 0.5 * span.max()).astype(float) if span.max() > 0 else np.ones(len(particle))


def _flow(tracks: Trajectories, path: np.ndarray, steps: int, begin: int, flow: str,
          recorded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Heights (k,) and velocities (steps, k, dim) [µm/s] of the fluid."""
    dim, dt = path.shape[2], tracks.units.dt
    if flow == "none":
        return np.empty(0), np.zeros((steps, 0, dim))
    if flow == "affine":
        y = path[0, :, 0]
        layers = np.array([y.min(), y.max()])
        basis, ends = np.column_stack([np.ones(len(y)), y]), np.column_stack([np.ones(2), layers])
        move = np.diff(path, axis=0)
        weights = ends @ np.linalg.pinv(basis)
        return layers, np.einsum("kh,thc->tkc", weights, move) / dt
    if not recorded:
        raise ConfigError("flow = 'profile' is that of the recording; with a drive of its own take flow = 'affine'.")
    i, j = tracks.lagged(1)
    inside = (tracks.frame[i] >= begin) & (tracks.frame[i] < begin + steps)
    i, j = i[inside], j[inside]
    y = tracks.positions[i, 0]
    layers = np.linspace(y.min(), y.max(), LAYERS)
    move = tracks.box.displacement(tracks.positions[j], tracks.positions[i])
    velocity, frame = np.zeros((steps, LAYERS, dim)), tracks.frame[i] - begin
    hats = np.stack([np.interp(y, layers, row) for row in np.eye(LAYERS)], axis=1)
    for t in range(steps):
        mine = frame == t
        if mine.sum() >= LAYERS:
            velocity[t] = np.linalg.lstsq(hats[mine], move[mine], rcond=1e-6)[0] / dt
    return layers, velocity
