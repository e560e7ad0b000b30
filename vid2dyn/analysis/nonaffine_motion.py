"""What particles do beside following the mean flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.local_strain import frame_pairs
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.space import box_at
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class NonAffine(Result):
    """What `nonaffine` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `frame` (the start), `particle`, `y`, `x`[, `z`] [px], and of each axis the displacement beside the mean flow,
        `dy`, `dx`[, `dz`] [µm].
    rms : pandas.Series
        Root of the mean square length [µm] of each frame.
    noise_floor : float or None
        Root mean square [µm] that the errors of the positions make, sqrt(2 sum_axes σ²).
    """

    dataframe: pd.DataFrame
    rms: pd.Series
    noise_floor: float | None
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Root mean square against the frame."""
        ax = axes_or_new(ax)
        ax.plot(self.rms.index, self.rms.to_numpy())
        if self.noise_floor is not None:
            ax.axhline(self.noise_floor, color="0.6", linewidth=1)
        ax.set(xlabel="frame", ylabel="non-affine displacement, rms (µm)")
        return ax


def nonaffine(tracks: Trajectories, lag: int = 10, *, flow: str = "affine", every: int = 1, bins: int = 10,
              progress: ProgressLike = None) -> NonAffine:
    """Displacements over `lag` frames less the mean flow of all particles in that time.

    Parameters
    ----------
    tracks : Trajectories
        Linked, with micrometre_per_pixel; drop held particles first.
    lag : int
        Frames of a displacement.
    flow : {"affine", "profile"}
        The mean flow: the best even deformation and shift of all particles, or their mean displacement in `bins` layers
        along y, linear between the layers.
    every : int
        Only every so many frames are taken as a start.
    bins : int
        Layers of a profile.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    ConfigError
        For a lag below 1 or an unknown flow.
    DataError
        If no two frames share enough particles.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> start = np.random.default_rng(0).uniform(0, 20, (1, 100, 2))
    >>> sheared = start + np.arange(3)[:, None, None] * (0.3 + 0.05 * start[..., :1] * np.array([0.0, 1.0]))
    >>> found = nonaffine(vd.Trajectories.from_dense(sheared, vd.Units(0.1, 10.0)), lag=1)
    >>> bool(found.rms.max() < 1e-12)
    True
    """
    if lag < 1 or every < 1 or bins < 2:
        raise ConfigError(f"nonaffine: lag = {lag}, every = {every}, bins = {bins}; give 1, 1 and 2 or more.")
    if flow not in ("affine", "profile"):
        raise ConfigError(f"nonaffine: flow = {flow!r}; choose 'affine' or 'profile'.")
    parts, rms = [], {}
    few = tracks.dim + 2
    with showing(progress) as progress:
        steps = list(frame_pairs(tracks, lag, every))
        for k, (frame, first, last) in enumerate(steps):
            progress(k + 1, len(steps), "non-affine motion")
            if len(first) < few:
                continue
            x = tracks.positions[first]
            u = box_at(tracks, frame).displacement(tracks.positions[last], x)
            basis = _affine(x) if flow == "affine" else _layers(x[:, 0], bins)
            left = u - basis @ np.linalg.lstsq(basis, u, rcond=None)[0]
            rms[frame] = float(np.sqrt((left**2).sum(axis=1).mean()))
            parts.append(pd.DataFrame({"frame": np.full(len(first), frame, np.int32),
                                       "particle": tracks.particle[first],
                                       **{a: tracks.dataframe[a].to_numpy()[first] for a in tracks.axes},
                                       **{f"d{a}": left[:, c] for c, a in enumerate(tracks.axes)}}))
    if not parts:
        raise DataError(f"nonaffine: no two frames {lag} apart share {few} particles. Link the tracks, or give a "
                        "shorter lag.")
    floor = None if tracks.sigma is None else float(np.sqrt(2 * (tracks.sigma**2).sum(axis=1).mean()))
    series = pd.Series(rms, name="rms")
    warnings = () if floor is None or floor < 0.7 * series.median() else (
        f"The non-affine displacement, {series.median():.3g} µm, is mostly noise of the positions ({floor:.3g} µm).",)
    return NonAffine(pd.concat(parts, ignore_index=True), series, floor, warnings)


def _affine(x: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(x)), x - x.mean(axis=0)])


def _layers(y: np.ndarray, bins: int) -> np.ndarray:
    """(n, bins) hat functions at evenly spaced heights."""
    at = np.linspace(y.min(), y.max(), bins)
    return np.stack([np.interp(y, at, row) for row in np.eye(bins)], axis=1)
