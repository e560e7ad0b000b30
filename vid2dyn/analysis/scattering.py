"""Structure and motion in wave numbers: the structure factor and the self-intermediate scattering function.

    S(q) = <|ρ_q|²>/N,      F_s(q, t) = <cos q·[r(t0 + t) - r(t0)]>

with ρ_q = sum_j exp(i q·r_j) (Hansen & McDonald, Theory of Simple Liquids, ch. 4 and 7). Wave vectors are those that
fit into the periodic box, or into the part of the field of view that detections fill: there the mean density does not
count, and what the edges cut off makes shells below two periods a side unreliable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import Terms, moments, unwrapped
from vid2dyn.analysis.radial_distribution import detectable_area, within_area
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.space import frames_of
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.memory import need_memory
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories

VECTORS = 4000
"""Most wave vectors: beyond, every shell is thinned alike."""
CHUNK = 1 << 22
"""Phases that are held at a time."""
BLOCKS = 10
"""Blocks of time that errors come from."""


@dataclass(frozen=True, eq=False)
class StructureFactor(Result):
    """What `structure_factor` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `q` [1/µm], `value` (S, 1 for an ideal gas), `stderr`, `vectors`.
    """

    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """S against q."""
        ax, table = axes_or_new(ax), self.dataframe
        ax.errorbar(table["q"], table["value"], yerr=1.96 * table["stderr"], fmt="o", ms=3)
        ax.axhline(1.0, lw=0.8, color="0.6")
        ax.set(xlabel="q (1/µm)", ylabel="structure factor S(q)")
        return ax


@dataclass(frozen=True, eq=False)
class Scattering(Result):
    """What `intermediate_scattering` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `q` [1/µm], `lag_frames`, `lag` [s], `value` (F_s, 1 at lag 0), `stderr`, `rate` = -ln F_s/(q² lag) [µm²/s]: D
        where the motion is free and errors of positions are small.
    """

    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """F_s against lag, one line for each q."""
        ax = axes_or_new(ax)
        for q, part in self.dataframe.groupby("q"):
            ax.errorbar(part["lag"], part["value"], yerr=1.96 * part["stderr"], fmt="o-", ms=3,
                        label=f"q = {q:.3g} /µm")
        ax.set(xlabel="lag (s)", ylabel="self-intermediate scattering", xscale="log")
        ax.legend()
        return ax


def structure_factor(tracks: Trajectories, q_max: float | None = None, bins: int = 40, *,
                     progress: ProgressLike = None) -> StructureFactor:
    """Static structure factor of all detections, averaged over frames and over directions.

    Parameters
    ----------
    tracks : Trajectories
        Linked or not, in a periodic box or in a field of view.
    q_max : float, optional
        Largest wave number [1/µm]; default that of three peaks of a dense liquid, 6 π density^(1/dim).
    bins : int
        Number of shells; empty ones are left out.
    progress : bool or callable, optional
        True shows bars with the time left.

    Raises
    ------
    ConfigError
        For a q_max below the smallest wave number, bins below 1.
    DataError
        For fewer than 2 particles, unbounded space, a sheared box.

    Examples
    --------
    >>> from vid2dyn import Periodic, Trajectories, Units
    >>> gas = np.random.default_rng(0).uniform(0, 10, (40, 100, 2))
    >>> S = structure_factor(Trajectories.from_dense(gas, Units(0.1, 10.0), box=Periodic((10.0, 10.0)))).dataframe
    >>> bool((abs(S.value - 1) < 5 * S.stderr).mean() > 0.95)
    True
    """
    tracks, corner, sides = observed_region(tracks)
    number = len(tracks) / max(1, np.unique(tracks.frame).size)
    density = number / float(np.prod(sides))
    q_max = 6 * np.pi * density ** (1 / tracks.dim) if q_max is None else float(q_max)
    least = 2 * np.pi / float(max(sides))
    if not q_max > least or bins < 1:
        raise ConfigError(f"structure_factor(q_max={q_max:g}, bins={bins}): q_max lies above the smallest wave number, "
                          f"{least:.3g} 1/µm, and there is at least one bin.")
    vectors = fitting_vectors(sides, q_max)
    size = np.linalg.norm(vectors, axis=1)
    shell = np.minimum((size / q_max * bins).astype(np.int64), bins - 1)
    frames = list(frames_of(tracks))
    position = tracks.positions - corner
    values = np.empty((len(frames), bins))
    count = np.bincount(shell, minlength=bins)
    with showing(progress) as progress:
        for k, (_, rows) in enumerate(frames):
            power = _power(position[rows], vectors) / max(len(rows), 1)
            values[k] = np.bincount(shell, power, bins) / np.maximum(count, 1)
            progress(k + 1, len(frames), "structure factor")
    filled = count > 0
    mean, stderr = values.mean(axis=0), _error(values)
    # one frame tells of each vector what a chi-squared with two degrees of freedom does: never less than that
    independent = np.sqrt(2.0 / np.maximum(count, 1)) * mean / np.sqrt(max(1, min(len(frames), BLOCKS)))
    stderr = np.where(np.isfinite(stderr), stderr, independent)
    table = pd.DataFrame({"q": np.bincount(shell, size, bins)[filled] / count[filled], "value": mean[filled],
                          "stderr": stderr[filled], "vectors": count[filled]})
    warnings = () if tracks.box.lengths is not None else (
        f"Edges of the field of view cut structures off: below q = {2 * least:.3g} 1/µm (two periods a side) S(q) is "
        "not reliable.",)
    return StructureFactor(table, warnings)


def intermediate_scattering(tracks: Trajectories, q: float | Sequence[float], max_lag: int = 20) -> Scattering:
    """Self-intermediate scattering function at one or several wave numbers, mean over the axes.

    For free diffusion F_s = exp(-q² [D (t - 2 R dt) + s²]) with localisation error s and blur R.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles. Drift is not touched.
    q : float or several
        Wave numbers [1/µm].
    max_lag : int
        Longest lag [frames].

    Raises
    ------
    ConfigError
        For a q that is not positive, a lag below 1.
    DataError
        If nothing is linked.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> steps = np.random.default_rng(0).normal(0, 0.1, (300, 50, 2))
    >>> found = intermediate_scattering(Trajectories.from_dense(steps.cumsum(axis=0), Units(0.1, 10.0)), 5.0, 3)
    >>> bool((abs(found.dataframe.rate - 0.05) < 0.002).all())
    True
    """
    wave = np.atleast_1d(np.asarray(q, dtype=float))
    if not (np.isfinite(wave) & (wave > 0)).all() or not wave.size:
        raise ConfigError(f"intermediate_scattering: q = {q!r}; give positive wave numbers [1/µm].")
    if isinstance(max_lag, bool) or int(max_lag) != max_lag or max_lag < 1:
        raise ConfigError(f"max_lag = {max_lag!r}: give a whole number, 1 or more.")
    position = unwrapped(tracks)

    def cosines(lag: int) -> Terms:
        i, j = tracks.lagged(lag)
        moved = position[j] - position[i]
        return Terms(i, np.stack([np.cos(k * moved).mean(axis=1) for k in wave], axis=1), np.ones(len(i)))

    lags = np.arange(1, max_lag + 1)
    found = moments(tracks, (cosines(int(lag)) for lag in lags), max_lag)
    seconds = np.repeat(lags, len(wave)) * tracks.units.dt
    each = np.tile(wave, max_lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(found.mean > 3 * found.stderr, -np.log(np.maximum(found.mean, 1e-300)) / (each**2 * seconds),
                        np.nan)
    table = pd.DataFrame({"q": each, "lag_frames": np.repeat(lags, len(wave)), "lag": seconds, "value": found.mean,
                          "stderr": found.stderr, "rate": rate})
    return Scattering(table.sort_values(["q", "lag"], ignore_index=True))


def observed_region(tracks: Trajectories) -> tuple[Trajectories, np.ndarray, np.ndarray]:
    """The tracks in the region whose wave vectors are used, its corner and its sides [µm]."""
    corner, sides = _region(tracks)
    return within_area(tracks), corner, sides


def _region(tracks: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    """Corner and sides of the region whose wave vectors are used [µm]."""
    if len(tracks) < 2:
        raise DataError(f"S(q) needs two particles; the table has {len(tracks)} detections.")
    if tracks.box.lengths is not None:
        if getattr(tracks.box, "shear_rate", 0.0):
            raise DataError("S(q) of a sheared box: its wave vectors turn with the flow. Take frames in which images "
                            "lie straight above each other, and give them a Periodic box.")
        return np.zeros(tracks.dim), np.asarray(tracks.box.lengths, dtype=float)
    if tracks.field_of_view is None or len(tracks.field_of_view) != tracks.dim:
        raise DataError("S(q) needs a periodic box or a field of view: give field_of_view or box to the trajectories.")
    return detectable_area(tracks)


def _power(x: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """|ρ_q|² of every wave vector; memory does not grow with their number."""
    some = max(1, CHUNK // max(len(x), 1))
    out = np.empty(len(vectors))
    for start in range(0, len(vectors), some):
        phase = x @ vectors[start:start + some].T
        out[start:start + some] = np.cos(phase).sum(axis=0) ** 2 + np.sin(phase).sum(axis=0) ** 2
    return out


def fitting_vectors(sides: np.ndarray, q_max: float, thinned: bool = True) -> np.ndarray:
    """Half of the wave vectors up to q_max that fit into the sides (the others are minus these), (vectors, dim)."""
    most = np.floor(q_max * sides / (2 * np.pi)).astype(int)
    need_memory(32.0 * len(sides) * float(np.prod(2.0 * most + 1)), f"all wave vectors up to q_max = {q_max:.3g} 1/µm. "
                "Give a smaller q_max")
    grids = np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij")
    whole = np.stack([g.ravel() for g in grids], axis=1)
    flat = whole @ np.cumprod([1, *(2 * most[:-1] + 1)])
    whole = whole[flat > 0]
    vectors = 2 * np.pi * whole / sides
    vectors = vectors[np.linalg.norm(vectors, axis=1) <= q_max]
    if thinned and len(vectors) > VECTORS:
        order = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")
        vectors = vectors[order[np.unique(np.linspace(0, len(vectors) - 1, VECTORS).astype(int))]]
    return vectors


def _error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over frames, from blocks of time; not known with fewer than three."""
    blocks = [block.mean(axis=0) for block in np.array_split(values, min(BLOCKS, len(values)))]
    if len(blocks) < 3:
        return np.full(values.shape[1], np.nan)
    return np.std(blocks, axis=0, ddof=1) / np.sqrt(len(blocks))
