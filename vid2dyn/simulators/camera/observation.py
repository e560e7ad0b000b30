"""The observation model: what a camera and a tracker make of the true path.

    observed = mean of the path over the exposure + s · N(0, 1),  some frames missing, edges of the frame.

One pure function for simulated particles, rolled-out models and tests. For free diffusion and a shutter
open for t_E of each frame dt, with R = t_E/(6 dt), per axis (Berglund, Phys. Rev. E 82, 011917 (2010)):

    E[d_n²] = 2 D dt (1 - 2R) + 2 s²      E[d_n d_{n+1}] = 2 R D dt - s²
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.data.box import Box, Free
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units


def exposure_average(path: np.ndarray, per_frame: int, fraction: float = 1.0) -> np.ndarray:
    """Time average over the exposure of every frame, from a finely stepped path.

    Parameters
    ----------
    path : (frames · per_frame + 1, ...) array
        Positions at equal steps, from the opening of the first shutter to the end of the last frame.
    per_frame : int
        Steps per frame.
    fraction : float
        Part of the frame the shutter is open, exposure · frames_per_second; 0 takes the opening instant.

    Returns
    -------
    (frames, ...) array
        Trapezoid averages. With m = fraction · per_frame steps in the exposure they miss a part 1/m² of
        the variance that the exposure takes away: 8 steps or more are asked for.

    Raises
    ------
    ConfigError
        When the exposure is not a whole number of steps or has fewer than 8.

    Examples
    --------
    >>> exposure_average(np.arange(33.0), per_frame=16, fraction=0.5).tolist()
    [4.0, 20.0]
    """
    frames, rest = divmod(len(path) - 1, per_frame)
    if rest or frames < 1:
        raise ConfigError(f"A path of {len(path)} points is not a whole number of frames of {per_frame} "
                          "steps plus one end point; simulate frames * per_frame + 1 points.")
    steps = round(fraction * per_frame)
    if not 0 <= fraction <= 1 or abs(steps - fraction * per_frame) > 1e-6 * per_frame:
        raise ConfigError(f"The exposure is {fraction:g} of a frame, which is not a whole number of its "
                          f"{per_frame} steps; choose per_frame so that it is, with exposure <= 1 frame.")
    starts = per_frame * np.arange(frames)
    if steps == 0:
        return path[starts].copy()
    if steps < 8:
        raise ConfigError(f"{steps} steps in the exposure are too few for an average; 8 or more are needed: "
                          f"raise per_frame to {int(np.ceil(8 / fraction))} or more.")
    total = 0.5 * (path[starts] + path[starts + steps])
    for k in range(1, steps):
        total = total + path[starts + k]
    return total / steps


def observe(positions: np.ndarray, units: Units, rng: np.random.Generator, *,
            localisation_error: float | np.ndarray = 0.0, localisation_scatter: float = 0.0,
            gap_probability: float = 0.0, field_of_view: tuple[float, ...] | None = None,
            box: Box | None = None, info: Mapping[str, Any] | None = None,
            columns: Mapping[str, np.ndarray] | None = None) -> Trajectories:
    """Detections of the particles of a path.

    Parameters
    ----------
    positions : (T, N, dim) or (T, S, N, dim) array
        True positions [µm], axes (y, x[, z]): exposure averages, or the means of S parts of the exposure,
        which are averaged here. NaN where a particle does not exist.
    units : Units
        Calibration; lengths need `micrometre_per_pixel`.
    rng : numpy.random.Generator
        Source of the noise.
    localisation_error : float or array
        Standard deviation s of the noise per axis [µm]; an array broadcasts to (T, N, dim).
    localisation_scatter : float
        Relative scatter of s from particle to particle, log-normal, keeping the mean of s².
    gap_probability : float
        Probability that a detection is missing, independent of everything.
    field_of_view : (height, width[, depth]) [px], optional
        Only particles inside are seen (pixel edges: -0.5 to height - 0.5; a depth begins half a plane below 0). One
        that leaves and returns gets a new number. In a periodic box, positions are wrapped before the crop and the
        camera does not know of the box: the result has a `Free` box.
    box : Box, optional
        Space the particles live in.
    info : mapping, optional
        Stored in the result.
    columns : mapping of (T, N) arrays, optional
        Further columns of the table.

    Returns
    -------
    Trajectories
        With `y_std, x_std[, z_std]` = the true s of every point.

    Raises
    ------
    ConfigError
        For a negative error or scatter, or a gap probability outside [0, 1).

    Examples
    --------
    >>> seen = observe(np.zeros((100, 5, 2)), Units(0.1, 50.0), np.random.default_rng(0), localisation_error=0.02)
    >>> bool(abs(seen.positions.std() - 0.02) < 0.002), float(seen.sigma[0, 0])
    (True, 0.02)
    """
    _check(localisation_error, localisation_scatter, gap_probability)
    path = np.asarray(positions, dtype=float)
    path = path.mean(axis=1) if path.ndim == 4 else path
    frames, n, dim = path.shape
    scatter = rng.standard_normal(n)[None, :, None]
    spread = np.sqrt(np.log1p(localisation_scatter**2))
    sigma = np.broadcast_to(localisation_error * np.exp(spread * scatter - spread**2), path.shape)
    seen = np.isfinite(path).all(axis=2) & (rng.random((frames, n)) >= gap_probability)
    noise = sigma * rng.standard_normal(path.shape)
    box = box or Free()
    if field_of_view is None:
        tracks = Trajectories.from_dense(path + noise, units, mask=seen, sigma=sigma, box=box, info=info)
        return _with_columns(tracks, columns)
    view = np.asarray(field_of_view, dtype=float) * units.um
    # the frame begins half a pixel, a stack half a plane, before the centre of the first
    edge = 0.5 * np.array([units.um, units.um, units.micrometre_per_plane or units.um])[:dim]
    shown = box.wrap(path + edge) - edge
    cut = slice(len(view))
    inside = ((shown >= -edge)[..., cut] & (shown[..., cut] < view - edge[cut])).all(axis=2)
    tracks = Trajectories.from_dense(shown + noise, units, mask=seen & inside, sigma=sigma, info=info,
                                     field_of_view=tuple(float(size) for size in field_of_view))
    return _renumbered(_with_columns(tracks, columns), inside, np.round((path - shown) / _edges(box, dim)))


def _with_columns(tracks: Trajectories, columns: Mapping[str, np.ndarray] | None) -> Trajectories:
    if not columns:
        return tracks
    table = tracks.dataframe
    rows = table["frame"].to_numpy(), table["particle"].to_numpy()
    return tracks.replace(dataframe=table.assign(**{name: values[rows] for name, values in columns.items()}))


def _renumbered(tracks: Trajectories, inside: np.ndarray, image: np.ndarray) -> Trajectories:
    """New numbers for particles that left and returned, or crossed a periodic boundary inside the frame."""
    jumped = (np.diff(image, axis=0) != 0).any(axis=2)
    new = np.zeros(inside.shape, dtype=np.int64)
    new[1:] = (inside[1:] & ~inside[:-1]) | jumped
    visit = np.cumsum(new, axis=0)
    table = tracks.dataframe.copy()
    keys = np.stack([table["particle"], visit[table["frame"], table["particle"]]], axis=1)
    table["particle"] = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return tracks.replace(dataframe=table)


def _edges(box: Box, dim: int) -> np.ndarray:
    return np.asarray(box.lengths if box.lengths is not None else (np.inf,) * dim, dtype=float)


def _check(error: float | np.ndarray, scatter: float, gaps: float) -> None:
    if not (np.all(np.isfinite(error)) and np.all(np.asarray(error) >= 0)):
        raise ConfigError("localisation_error must be a standard deviation in µm, zero or positive everywhere.")
    if not (np.isfinite(scatter) and scatter >= 0):
        raise ConfigError(f"localisation_scatter = {scatter!r}: give its relative scatter, 0 or more.")
    if not 0 <= gaps < 1:
        raise ConfigError(f"gap_probability = {gaps!r}: give the part of detections that is missing, 0 <= p < 1.")
