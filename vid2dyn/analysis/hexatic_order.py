"""Sixfold order of neighbours in a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.local_strain import check_reach
from vid2dyn.analysis.radial_distribution import cut_by_view
from vid2dyn.analysis.result import Result, particle_map
from vid2dyn.analysis.space import box_at, close_pairs, frames_of
from vid2dyn.core.errors import DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Psi6(Result):
    """What `psi6` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `frame`, `particle`, `y`, `x` [px], `psi6` (0 to 1), `angle` (of the hexagon, -π/6 to π/6 [rad]), `neighbours`.
        psi6 and angle are nan without a neighbour, and where the field of view cuts the neighbourhood.
    mean : float
        Mean of psi6 over all detections that have one.
    global_order : (frames,) array
        ``|mean of the complex psi6|`` of each frame: 1 in a single crystal.
    """

    dataframe: pd.DataFrame
    mean: float
    global_order: np.ndarray
    warnings: tuple[str, ...] = ()
    micrometre_per_pixel: float = 1.0

    def plot(self, ax: Any = None, frame: int | None = None) -> Any:
        """Map of psi6 in one frame (default: the last)."""
        frame = int(self.dataframe["frame"].max()) if frame is None else frame
        table = self.dataframe[self.dataframe["frame"] == frame]
        return particle_map(ax, table, table["psi6"].to_numpy(), "psi6", self.micrometre_per_pixel, "magma")


def psi6(tracks: Trajectories, cutoff: float = 3.0, *, progress: ProgressLike = None) -> Psi6:
    """Hexatic order ``psi6 = |(1/n) sum_neighbours exp(6 i θ)|`` of every particle in every frame.

    θ is the angle of the bond to a neighbour, a particle nearer than `cutoff` (Nelson & Halperin, Phys. Rev. B 19,
    2457, 1979). 1 in a triangular lattice; at the edge of a sample, with neighbours on one side only, it may be 1 by
    chance. Particles nearer than `cutoff` to the edge of where the camera finds particles, whose neighbours may lie
    beyond, have none (nan); they are neighbours of others.

    Parameters
    ----------
    tracks : Trajectories
        In two dimensions; linked or not.
    cutoff : float
        Particles nearer than this are neighbours [µm]; 1.5 mean spacings.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Raises
    ------
    ConfigError
        For a cutoff that is not positive or beyond half a periodic box.
    DataError
        In other than two dimensions, if no particle has a neighbour, or if all are within `cutoff` of the edges of the
        view.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> row, column = np.mgrid[:8, :8]
    >>> lattice = np.stack([row * np.sqrt(3) / 2, column + 0.5 * (row % 2)], axis=-1).reshape(1, -1, 2)
    >>> found = psi6(vd.Trajectories.from_dense(lattice, vd.Units(0.1, 10.0)), cutoff=1.3).dataframe
    >>> bool((found["psi6"][found["neighbours"] == 6] > 1 - 1e-12).all())
    True
    """
    if tracks.dim != 2:
        raise DataError(f"psi6 is of layers: these positions have {tracks.dim} axes, not 2.")
    check_reach(tracks, cutoff, "psi6")
    position, out, cut = tracks.positions, np.zeros(len(tracks), complex), cut_by_view(tracks, cutoff)
    count = np.zeros(len(tracks), np.int64)
    with showing(progress) as progress:
        stretches = list(frames_of(tracks))
        order = np.zeros(len(stretches))
        for k, (frame, rows) in enumerate(stretches):
            box, x = box_at(tracks, frame), position[rows]
            i, j = close_pairs(x, box, cutoff)
            d = box.displacement(x[j], x[i])
            turn = np.exp(6j * np.arctan2(d[:, 0], d[:, 1]))           # the same for both ends: 6 π is a whole turn
            n = len(rows)
            count[rows] = np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
            both, value = np.r_[i, j], np.r_[turn, turn]
            sum_ = np.bincount(both, value.real, n) + 1j * np.bincount(both, value.imag, n)
            out[rows] = sum_ / np.maximum(count[rows], 1)
            known = rows[(count[rows] > 0) & ~cut[rows]]
            order[k] = abs(out[known].mean()) if len(known) else np.nan
            progress(k + 1, len(stretches), "psi6")
    alone = count == 0
    if alone.all():
        raise DataError(f"psi6: no particle has a neighbour within cutoff = {cutoff:g} µm. Give a longer cutoff: 1.5 "
                        "mean spacings.")
    if (alone | cut).all():
        raise DataError(f"psi6: all particles lie within cutoff = {cutoff:g} µm of an edge of the view, where "
                        "neighbours may be out of sight. Give a shorter cutoff, or film a larger part of the layer.")
    warnings = () if alone.mean() < 0.05 else (
        f"{100 * alone.mean():.0f} % of the detections have no neighbour within {cutoff:g} µm and no psi6; give a "
        "longer cutoff (1.5 mean spacings).",)
    table = tracks.dataframe[["frame", "particle", "y", "x"]].assign(
        psi6=np.where(alone | cut, np.nan, abs(out)), angle=np.where(alone | cut, np.nan, np.angle(out) / 6),
        neighbours=count)
    return Psi6(table, float(abs(out[~(alone | cut)]).mean()), order, warnings, tracks.units.um)
