"""Mean squared displacement with standard errors, and its power law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import Terms, moments, unwrapped
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class MSD(Result):
    """Mean squared displacement, summed over the axes.

    Parameters
    ----------
    frames : (n,) int array
        Lags [frames].
    lag : (n,) array
        Lags [s].
    value, stderr : (n,) arrays
        Mean squared displacement and its standard error [µm²].
    counts : (n,) int array
        Pairs of detections averaged at each lag (overlapping in time, so not independent).
    dim : int
        Number of axes.
    """

    frames: np.ndarray
    lag: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    counts: np.ndarray
    dim: int
    warnings: tuple[str, ...] = ()

    @property
    def dataframe(self) -> pd.DataFrame:  # type: ignore[override]
        """`lag_frames`, `lag` [s], `msd`, `stderr` [µm²], `count`."""
        return pd.DataFrame({"lag_frames": self.frames, "lag": self.lag, "msd": self.value, "stderr": self.stderr,
                             "count": self.counts})

    def plot(self, ax: Any = None) -> Any:
        """MSD against lag, both logarithmic, with 95 % errors."""
        ax = axes_or_new(ax)
        ax.errorbar(self.lag, self.value, yerr=1.96 * self.stderr, fmt="o", ms=3)
        ax.set(xlabel="lag (s)", ylabel="mean squared displacement (µm²)", xscale="log", yscale="log")
        return ax

    def power_law(self) -> PowerLaw:
        """Straight line through log(value) over log(lag): see `fit_power_law`."""
        return fit_power_law(self.lag, self.value)

    def to_dict(self) -> dict[str, object]:
        """Plain lists, for JSON."""
        return {"lag_s": self.lag.tolist(), "msd_um2": self.value.tolist(), "stderr_um2": self.stderr.tolist(),
                "counts": self.counts.tolist(), "dim": self.dim}


@dataclass(frozen=True)
class PowerLaw:
    """MSD = A tⁿ: exponent n and amplitude A [µm² at t = 1 s]."""

    n: float
    A: float


def fit_power_law(lag: np.ndarray, value: np.ndarray) -> PowerLaw:
    """Least squares of log(value) on log(lag), every lag with the same weight (trackpy's `fit_powerlaw`).

    >>> t = np.array([0.1, 0.2, 0.4])
    >>> law = fit_power_law(t, 3.0 * t**0.5)
    >>> round(law.n, 6), round(law.A, 6)
    (0.5, 3.0)
    """
    good = np.isfinite(value) & (np.asarray(value) > 0)
    if good.sum() < 2:
        raise DataError(f"A power law needs two lags with a positive MSD; there are {int(good.sum())}.")
    n, log_a = np.polyfit(np.log(np.asarray(lag)[good]), np.log(np.asarray(value)[good]), 1)
    return PowerLaw(float(n), float(np.exp(log_a)))


def msd(tracks: Trajectories, max_lag: int | None = None, *, lags: Sequence[int] | None = None,
        weight: Literal["independent", "pairs"] = "independent") -> MSD:
    """Mean squared displacement over all particles and start times.

    For free diffusion seen with localisation error s and blur R: 2 dim [D (t - 2 R dt) + s²].

    Parameters
    ----------
    tracks : Trajectories
        Linked particles, with frame rate and length of a pixel. Drift is not touched: take it out with
        `tracks.without_drift(drift(tracks))` first where it matters.
    max_lag : int, optional
        Longest lag [frames]; by default a quarter of the recording, at most 100.
    lags : sequence of int, optional
        The lags themselves [frames] in place of 1 .. max_lag.
    weight : {"independent", "pairs"}
        How particles are weighted at each lag: by the number of statistically independent displacements in
        their track (Qian, Sheetz, Elson, Biophys. J. 60, 910 (1991), eq. B4; what trackpy's `emsd` does), or
        by the number of displacements.

    Returns
    -------
    MSD
        Standard errors from clusters of particles and blocks of time, never below what independent
        Gaussian displacements allow.

    Raises
    ------
    UnitsError
        Without frame rate or length per pixel.
    DataError
        If nothing is linked.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> steps = np.random.default_rng(0).normal(0, 0.1, (200, 50, 2))
    >>> curve = msd(Trajectories.from_dense(steps.cumsum(axis=0), Units(0.1, 10.0)), max_lag=3)
    >>> bool(np.all(abs(curve.value - [0.02, 0.04, 0.06]) < 4 * curve.stderr))
    True
    """
    dt, position = tracks.units.dt, unwrapped(tracks)
    frames = _lags(tracks, max_lag, lags)
    first, inverse, detections = np.unique(tracks.particle, return_index=True, return_inverse=True,
                                           return_counts=True)[1:]
    last = first + detections - 1
    span = (tracks.frame[last] - tracks.frame[first] + 1).astype(float)
    independent: list[float] = []

    def squares(lag: int) -> Terms:
        i, j = tracks.lagged(lag)
        squared = ((position[j] - position[i]) ** 2).sum(axis=1)
        pairs = np.bincount(inverse[i], minlength=first.size)
        effective = np.where(pairs > 0, _independent(span, float(lag)) * detections / span, 0.0)
        share = (effective / np.maximum(pairs, 1))[inverse[i]] if weight == "independent" else np.ones(len(i))
        independent.append(max(float(effective.sum()), 1e-300))
        return Terms(i, (squared * share)[:, None], share)

    found = moments(tracks, (squares(int(lag)) for lag in frames), int(frames.max()))
    floor = found.mean * np.sqrt(2.0 / (tracks.dim * np.array(independent)))
    stderr = np.where(np.isfinite(found.stderr), np.fmax(found.stderr, floor), floor)
    return MSD(frames, frames * dt, found.mean, stderr, found.count, tracks.dim)


def _lags(tracks: Trajectories, max_lag: int | None, lags: Sequence[int] | None) -> np.ndarray:
    if lags is None:
        top = max_lag if max_lag is not None else max(1, min(100, tracks.n_frames // 4))
        lags = range(1, top + 1)
    out = np.asarray(lags, dtype=np.int64)
    if out.size == 0 or out.min() < 1:
        raise ConfigError(f"Lags are whole numbers of frames from 1 up; got max_lag={max_lag}, lags={lags}.")
    return out


def _independent(span: np.ndarray, lag: float) -> np.ndarray:
    """Effective number of independent displacements over `lag` in tracks of `span` frames (Qian 1991, B4)."""
    n, t = span, lag
    with np.errstate(divide="ignore", invalid="ignore"):
        short = 6 * (n - t) ** 2 * t / (2 * n - t + 4 * n * t**2 - 5 * t**3)
        long = 1 / (1 + ((n - t) ** 3 + 5 * t - 4 * (n - t) ** 2 * t - n) / (6 * (n - t) * t**2))
    return np.where(n > t, np.nan_to_num(np.where(t > n / 2, long, short)), 0.0)
