"""Local strain and D²min: how far the neighbourhood of a particle is from having been deformed evenly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.radial_distribution import cut_by_view
from vid2dyn.analysis.result import Result, particle_map
from vid2dyn.analysis.space import box_at, close_pairs
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories

_LOPSIDED = 0.25
"""Share of particles with too few neighbours above which the result says so."""
MEASURED = ("d2min", "strain", "shear", "dilation", "rotation", "noise_floor")
"""Columns of the table that a whole neighbourhood is needed for."""
_FAINT = 1e-3
"""Least D²min that maps tell from less, in medians."""


@dataclass(frozen=True, eq=False)
class D2Min(Result):
    """What `d2min` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `frame` (where the neighbourhood is taken), `particle`, `y`, `x`[, `z`] [px], `d2min` [µm²], `strain` (largest
        shear strain γ of the neighbourhood), `shear` (γ_yx with its sign), `dilation`, `rotation` [rad, two
        dimensions], `neighbours`, and `noise_floor` [µm²] where errors of the positions are known: the d2min that
        they alone make. All but the places and `neighbours` are nan with too few neighbours, and where the field of
        view cuts the neighbourhood.
    noise_floor : float or None
        Mean of that column [µm²].
    lag : int
        Frames between which the neighbourhoods are compared.
    """

    dataframe: pd.DataFrame
    noise_floor: float | None
    lag: int
    warnings: tuple[str, ...] = ()
    micrometre_per_pixel: float = 1.0

    def plot(self, ax: Any = None, frame: int | None = None) -> Any:
        """Map of log10 D²min in one frame (default: the last); see `colours`."""
        frame = int(self.dataframe["frame"].max()) if frame is None else frame
        here = (self.dataframe["frame"] == frame).to_numpy()
        return particle_map(ax, self.dataframe[here], self.colours()[here], "log10 D²min (µm²)",
                            self.micrometre_per_pixel, "viridis")

    def colours(self) -> np.ndarray:
        """(rows,) log10 of D²min [µm²] for maps: whatever is below a thousandth of the median counts as that.

        Where particles are held or move as one, D²min is rounding, 1e-30 µm², which no scale of colours should reach.
        """
        value = self.dataframe["d2min"].to_numpy()
        known = value[np.isfinite(value)]
        least = _FAINT * float(np.median(known)) if known.size else 0.0
        return np.log10(np.maximum(value, max(least, 1e-300)))


def d2min(tracks: Trajectories, cutoff: float = 3.0, lag: int = 10, *, every: int = 1,
          progress: ProgressLike = None) -> D2Min:
    """D²min and local strain of every particle between each frame and the one `lag` frames later.

    Of all even deformations r -> (1 + J) r the one that moves the neighbours of a particle, as seen from it, most
    nearly as they moved is found; D²min is the mean square of what is left, E its strain::

        D²min = (1/n) sum_neighbours |r(t + lag) - (1 + J) r(t)|²,   E = [(1 + J)^T (1 + J) - 1]/2

    Falk and Langer, Phys. Rev. E 57, 7192 (1998), eqs. 2.11-2.14, take the sum: multiply with `neighbours`. A field of
    displacements that is affine has D²min = 0. `strain` is the largest shear, 2 sqrt((E_yy - E_xx)²/4 + E_yx²) in
    two dimensions, equal to γ for simple shear.

    Particles nearer than `cutoff` to the edge of where the camera finds particles, whose neighbours may lie beyond,
    have none (nan): of part of a neighbourhood D²min is smaller. They are neighbours of others.

    Positions with a standard error σ make a D²min of about 8 σ² (4 σ² for each axis: two positions of the neighbour,
    two of the particle) where nothing happens; exactly, for n neighbours with the projector P = 1 - R (R^T R)^-1 R^T
    that the fit leaves, 2 σ² (tr P + 1·P 1)/n for each axis. `noise_floor` says it.

    Parameters
    ----------
    tracks : Trajectories
        Linked, with micrometre_per_pixel; two or three dimensions.
    cutoff : float
        Particles nearer than this at the start are neighbours [µm]; take the first minimum of g(r) behind the first
        peak, or 1.5 mean spacings.
    lag : int
        Frames from start to end of the deformation.
    every : int
        Only every so many frames are taken as a start.
    progress : bool or callable, optional
        True shows bars with the time left; a function is called with (done, total, what).

    Returns
    -------
    D2Min

    Raises
    ------
    ConfigError
        For a lag below 1 or a cutoff that is not positive or beyond half a periodic box.
    DataError
        If no particle is seen in two frames that far apart, none has enough neighbours, or all are within `cutoff` of
        the edges of the view.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> start = np.random.default_rng(0).uniform(0, 20, (1, 100, 2))
    >>> sheared = start + np.arange(3)[:, None, None] * 0.05 * start[..., :1] * np.array([0.0, 1.0])
    >>> found = d2min(vd.Trajectories.from_dense(sheared, vd.Units(0.1, 10.0)), cutoff=4.0, lag=1)
    >>> bool(found.dataframe["d2min"].max() < 1e-20), round(float(found.dataframe["shear"].iloc[0]), 6)
    (True, 0.05)
    """
    _check(tracks, cutoff, lag, every)
    parts: list[pd.DataFrame] = []
    short = total = 0
    cut = cut_by_view(tracks, cutoff)
    with showing(progress) as progress:
        steps = list(frame_pairs(tracks, lag, every))
        for k, (frame, first, last) in enumerate(steps):
            part, beyond = _of_frame(tracks, frame, first, last, cutoff, lag), cut[first]
            short += int(part["d2min"][~beyond].isna().sum())
            total += int(np.count_nonzero(~beyond))
            part.loc[beyond, [name for name in part if name in MEASURED]] = np.nan
            parts.append(part)
            progress(k + 1, len(steps), "local strain")
    if not parts:
        raise DataError(f"d2min: no particle is seen in two frames {lag} apart; the recording has {tracks.n_frames} "
                        "frames. Give a shorter lag.")
    if not total:
        raise DataError(f"d2min: all particles lie within cutoff = {cutoff:g} µm of an edge of the view, where "
                        "neighbours may be out of sight. Give a shorter cutoff, or film a larger part of the sample.")
    if short == total:
        raise DataError(f"d2min: no particle has the {tracks.dim + 1} neighbours within cutoff = {cutoff:g} µm that a "
                        "strain needs. Give a longer cutoff: 1.5 mean spacings.")
    table = pd.concat(parts, ignore_index=True)
    warnings = []
    if short > _LOPSIDED * total:
        warnings.append(f"{100 * short / total:.0f} % of the particles have fewer than {tracks.dim + 1} neighbours "
                        f"within {cutoff:g} µm and no D²min; give a longer cutoff (1.5 mean spacings).")
    floor = None
    if "noise_floor" in table:
        floor = float(table["noise_floor"].mean())
        middle = float(table["d2min"].median())
        if floor > 0.5 * middle:
            warnings.append(f"The median D²min, {middle:.3g} µm², is mostly noise of the positions, which alone makes "
                            f"{floor:.3g} µm². Only larger values are events; a longer lag separates them better.")
    return D2Min(table, floor, lag, tuple(warnings), tracks.units.um)


def frame_pairs(tracks: Trajectories, lag: int, every: int = 1) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(frame, rows in it, rows `lag` frames later) of the particles seen in both, for every `every`-th frame."""
    i, j = tracks.lagged(lag)
    frame = tracks.frame[i]
    order = np.argsort(frame, kind="stable")
    i, j, frame = i[order], j[order], frame[order]
    begin = int(tracks.frame.min()) if len(tracks) else 0
    starts = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]]) if len(frame) else np.empty(0, int)
    for a, b in zip(starts, np.r_[starts[1:], len(frame)]):
        if (frame[a] - begin) % every == 0:
            yield int(frame[a]), i[a:b], j[a:b]


def _check(tracks: Trajectories, cutoff: float, lag: int, every: int) -> None:
    if lag < 1 or every < 1:
        raise ConfigError(f"d2min: lag = {lag}, every = {every}; both count frames from 1.")
    check_reach(tracks, cutoff, "d2min")
    if tracks.dim < 2:
        raise DataError("d2min needs positions in two or three dimensions.")


def check_reach(tracks: Trajectories, cutoff: float, who: str) -> None:
    """Raise `ConfigError` for a cutoff that is not positive, or beyond half the shortest edge of a box."""
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ConfigError(f"{who}: cutoff = {cutoff!r}; give a positive length in µm.")
    tracks.units.require("micrometre_per_pixel", for_what=f"{who}, whose cutoff is in µm,")
    if tracks.box.lengths is not None and cutoff > 0.5 * min(tracks.box.lengths):
        raise ConfigError(f"{who}: cutoff = {cutoff:g} µm reaches beyond half the box ({min(tracks.box.lengths):g} "
                          "µm), where a particle meets another twice.")


def _of_frame(tracks: Trajectories, frame: int, first: np.ndarray, last: np.ndarray, cutoff: float,
              lag: int) -> pd.DataFrame:
    """Rows of the table for one start."""
    n, dim = len(first), tracks.dim
    x, later = tracks.positions[first], tracks.positions[last]
    box, box_later = box_at(tracks, frame), box_at(tracks, frame + lag)
    a, b = close_pairs(x, box, cutoff)
    i, j = np.r_[a, b], np.r_[b, a]                                  # both ways: j is a neighbour of i
    r, moved = box.displacement(x[j], x[i]), box_later.displacement(later[j], later[i])
    count = np.bincount(i, minlength=n)
    enough = count > dim
    A, B = sums(i, r[:, :, None] * r[:, None, :], n), sums(i, moved[:, :, None] * r[:, None, :], n)
    enough &= _regular(A)
    A[~enough] = np.eye(dim)
    inverse = np.linalg.inv(A)
    F = B @ inverse
    left = moved - np.einsum("pab,pb->pa", F[i], r)
    value = sums(i, (left**2).sum(axis=1), n) / np.maximum(count, 1)
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(dim))
    table = {"frame": np.full(n, frame, np.int32), "particle": tracks.particle[first]}
    table |= {axis: tracks.dataframe[axis].to_numpy()[first] for axis in tracks.axes}
    found = {"d2min": value, "strain": _largest_shear(E), "shear": 2 * E[:, 0, 1],
             "dilation": np.sqrt(np.maximum(np.linalg.det(np.eye(dim) + 2 * E), 0.0)) - 1}
    if dim == 2:
        found["rotation"] = np.arctan2(F[:, 1, 0] - F[:, 0, 1], F[:, 0, 0] + F[:, 1, 1])
    if tracks.sigma is not None:
        # 1·P 1 = n - s·A⁻¹ s with s the sum of the neighbours' r
        s = sums(i, r, n)
        ones = count - np.einsum("na,nab,nb->n", s, inverse, s)
        square = 0.5 * (tracks.sigma[first] ** 2 + tracks.sigma[last] ** 2).sum(axis=1)
        found["noise_floor"] = 2 * square * (count - dim + ones) / np.maximum(count, 1)
    table |= {name: np.where(enough, values, np.nan) for name, values in found.items()}
    return pd.DataFrame({**table, "neighbours": count})


def sums(i: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """(n, ...) sums of `values` (pairs, ...) over the pairs of each particle `i` (pairs,)."""
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    out = np.stack([np.bincount(i, column, n) for column in flat.T], axis=1)
    return out.reshape(n, *values.shape[1:])


def _regular(A: np.ndarray) -> np.ndarray:
    """(n,) whether neighbours do not lie on a line."""
    scale = np.trace(A, axis1=1, axis2=2)
    return np.linalg.det(A / np.maximum(scale, 1e-300)[:, None, None]) > 1e-12


def _largest_shear(E: np.ndarray) -> np.ndarray:
    """Difference of the largest and the smallest principal strain: γ of simple shear, to first order."""
    values = np.linalg.eigvalsh(E)
    return values[:, -1] - values[:, 0]


__all__ = ["D2Min", "check_reach", "d2min", "frame_pairs", "sums"]
