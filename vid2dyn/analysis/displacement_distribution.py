"""Distribution of displacements: the self part of the van Hove function, and how far from Gaussian it is.

    G(Δ, t) = <δ(Δ - [x(t0 + t) - x(t0)])> along one axis,      α2(t) = dim <r⁴>/[(dim + 2) <r²>²] - 1

(Hansen & McDonald, Theory of Simple Liquids, ch. 7; Rahman, Phys. Rev. 136, A405, 1964, for α2). Free diffusion and
localisation errors are Gaussian: α2 = 0. Cages, mixtures and active motion are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import Terms, moments, unwrapped
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories

RARE = 5
"""Displacements below which the error of a bin is not known."""


@dataclass(frozen=True, eq=False)
class VanHove(Result):
    """What `van_hove` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `displacement` [µm], `density` and `stderr` [1/µm] (NaN error for bins with fewer than 5 displacements),
        `gaussian` of the same variance [1/µm], `count`.
    lag : float
        [s]
    variance : float
        Of the displacements along one axis [µm²].
    """

    dataframe: pd.DataFrame
    lag: float
    variance: float
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Density on a logarithmic scale, beside the Gaussian of the same variance."""
        ax, table = axes_or_new(ax), self.dataframe
        seen = table["count"] > 0
        ax.errorbar(table["displacement"][seen], table["density"][seen], yerr=1.96 * table["stderr"][seen], fmt="o",
                    ms=3, label="displacements, 95 %")
        ax.plot(table["displacement"], table["gaussian"], label="Gaussian of the same variance")
        ax.set(xlabel=f"displacement in {self.lag:.3g} s (µm)", ylabel="density (1/µm)", yscale="log",
               ylim=(0.3 * table["density"][seen].min(), None))
        ax.legend()
        return ax


@dataclass(frozen=True, eq=False)
class NonGaussian(Result):
    """What `non_gaussian` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `lag_frames`, `lag` [s], `alpha2`, `stderr`.
    """

    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """α2 against lag."""
        ax, table = axes_or_new(ax), self.dataframe
        ax.errorbar(table["lag"], table["alpha2"], yerr=1.96 * table["stderr"], fmt="o", ms=3)
        ax.axhline(0.0, lw=0.8, color="0.6")
        ax.set(xlabel="lag (s)", ylabel="non-Gaussian parameter", xscale="log")
        return ax


def van_hove(tracks: Trajectories, lag: int = 1, bins: int = 41, reach: float | None = None) -> VanHove:
    """Distribution of displacements over `lag` frames along one axis, mean over the axes.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles. Drift is not touched: take it out first where it matters.
    lag : int
        [frames]
    bins : int
    reach : float, optional
        Largest displacement [µm]; default four standard deviations, or the largest there is if that is less.

    Returns
    -------
    VanHove
        Standard errors from clusters of particles and blocks of time.

    Raises
    ------
    ConfigError
        For a lag or a number of bins below 1, a reach that is not positive.
    DataError
        If no particle is seen twice at that lag, or none moves.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> steps = np.random.default_rng(0).normal(0, 0.1, (200, 50, 2))
    >>> found = van_hove(Trajectories.from_dense(steps.cumsum(axis=0), Units(0.1, 10.0)), bins=9).dataframe
    >>> bool((abs(found.density - found.gaussian) < 5 * found.stderr + 0.06).all())
    True
    """
    _whole(lag, "lag")
    _whole(bins, "bins")
    i, j = tracks.lagged(lag)
    if not len(i):
        raise DataError(f"van_hove: no particle is seen {lag} frames apart.")
    position = unwrapped(tracks)
    moved = position[j] - position[i]
    variance = float(moved.var())
    if not variance > 0:
        raise DataError("van_hove: no particle moves, so there is no distribution of displacements.")
    if reach is None:
        reach = min(4.0 * variance**0.5, float(np.abs(moved).max()) * (1 + 1e-9))
    if not (np.isfinite(reach) and reach > 0):
        raise ConfigError(f"van_hove: reach = {reach!r} µm; give a positive number.")
    edges = np.linspace(-reach, reach, bins + 1)
    width = edges[1] - edges[0]
    where = np.floor((moved + reach) / width).astype(np.int64)
    once = np.ones(len(i))
    found = moments(tracks, (Terms(i, (where == k).mean(axis=1, keepdims=True), once) for k in range(bins)), lag)
    count = np.array([(where == k).sum() for k in range(bins)])
    middle = 0.5 * (edges[1:] + edges[:-1])
    mean = float(moved.mean())
    table = pd.DataFrame({
        "displacement": middle, "density": found.mean / width,
        "stderr": np.where(count >= RARE, found.stderr, np.nan) / width,
        "gaussian": np.exp(-0.5 * (middle - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance), "count": count})
    return VanHove(table, lag * tracks.units.dt, variance)


def non_gaussian(tracks: Trajectories, max_lag: int = 20) -> NonGaussian:
    """Non-Gaussian parameter α2 of the displacements at lags of 1 to `max_lag` frames.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles. Drift is not touched: take it out first where it matters.
    max_lag : int
        [frames]

    Returns
    -------
    NonGaussian
        Errors to first order in those of <r²> and <r⁴>, whose correlation counts. Localisation errors are Gaussian
        and part of <r²>, so at lags at which they dominate α2 is too small; a warning says by how much.

    Raises
    ------
    ConfigError
        For a lag below 1.
    DataError
        If no particle moves.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> steps = np.random.default_rng(0).normal(0, 0.1, (300, 50, 2))
    >>> found = non_gaussian(Trajectories.from_dense(steps.cumsum(axis=0), Units(0.1, 10.0)), max_lag=3).dataframe
    >>> bool((abs(found.alpha2) < 5 * found.stderr).all())
    True
    """
    _whole(max_lag, "max_lag")
    position = unwrapped(tracks)

    def powers(lag: int) -> Terms:
        i, j = tracks.lagged(lag)
        r2 = ((position[j] - position[i]) ** 2).sum(axis=1)
        return Terms(i, np.stack([r2, r2**2], axis=1), np.ones(len(i)))

    lags = np.arange(1, max_lag + 1)
    found = moments(tracks, (powers(int(lag)) for lag in lags), max_lag)
    r2, r4 = found.mean[0::2], found.mean[1::2]
    if not np.nanmax(r2, initial=0.0) > 0:
        raise DataError("non_gaussian: no particle moves.")
    dim = tracks.dim
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = dim * r4 / ((dim + 2) * r2**2) - 1.0
        weights = np.zeros((max_lag, 2 * max_lag))
        at = np.arange(max_lag)
        weights[at, 2 * at], weights[at, 2 * at + 1] = -2.0 * (1 + alpha) / r2, (1 + alpha) / r4
    known = np.isfinite(alpha)
    stderr = np.full(max_lag, np.nan)
    stderr[known] = found.combine(np.where(np.isfinite(weights), weights, 0.0)[known])[1]
    table = pd.DataFrame({"lag_frames": lags, "lag": lags * tracks.units.dt, "alpha2": alpha, "stderr": stderr})
    return NonGaussian(table, _diluted(tracks, float(r2[0])))


def _diluted(tracks: Trajectories, r2: float) -> tuple[str, ...]:
    """A warning where localisation errors are much of the motion from frame to frame."""
    sigma = tracks.sigma
    if sigma is None or not r2 > 0:
        return ()
    share = min(2.0 * float(np.nanmean(sigma**2)) * tracks.dim / r2, 0.99)
    if share < 0.1:
        return ()
    return (f"Localisation errors are {100 * share:.0f} % of the mean squared displacement from frame to frame. They "
            f"are Gaussian: α2 of the motion itself is about {(1 - share) ** -2:.2g} times as large at lag 1, and the "
            "value given is closer to it at longer lags.",)


def _whole(value: int, name: str) -> None:
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ConfigError(f"{name} = {value!r}: give a whole number, 1 or more.")
