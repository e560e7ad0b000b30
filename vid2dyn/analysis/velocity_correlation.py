"""Velocity autocorrelation, from recorded velocities or finite differences, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.displacements import Displacements
from vid2dyn.analysis.moments import DisplacementMoments, Terms, moments
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.space import recorded_velocities
from vid2dyn.core.errors import ConfigError
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class VACF(Result):
    """Velocity autocorrelation, summed over the axes.

    Parameters
    ----------
    frames : (n,) int array
        Lags [frames], from 0.
    lag : (n,) array
        Lags [s].
    value, stderr : (n,) arrays
        <v(t) · v(t + lag)> and its standard error [µm²/s²].
    counts : (n,) int array
        Pairs of velocities averaged at each lag.
    normalised, normalised_stderr : (n,) arrays
        The same over its value at lag 0, with the errors of numerator and denominator taken together.
    """

    frames: np.ndarray
    lag: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    counts: np.ndarray
    normalised: np.ndarray
    normalised_stderr: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def dataframe(self) -> pd.DataFrame:  # type: ignore[override]
        """`lag_frames`, `lag` [s], `vacf`, `stderr` [µm²/s²], `normalised`, `normalised_stderr`, `count`."""
        return pd.DataFrame({"lag_frames": self.frames, "lag": self.lag, "vacf": self.value, "stderr": self.stderr,
                             "normalised": self.normalised, "normalised_stderr": self.normalised_stderr,
                             "count": self.counts})

    def plot(self, ax: Any = None) -> Any:
        """Normalised correlation with 95 % errors."""
        ax = axes_or_new(ax)
        ax.errorbar(self.lag, self.normalised, yerr=1.96 * self.normalised_stderr, fmt="o", ms=3)
        ax.axhline(0.0, lw=0.8, color="0.6")
        ax.set(xlabel="lag (s)", ylabel="velocity autocorrelation over its value at lag 0")
        return ax

    def to_dict(self) -> dict[str, object]:
        """Plain lists, for JSON."""
        return {"lag_s": self.lag.tolist(), "vacf_um2_s2": self.value.tolist(), "stderr_um2_s2": self.stderr.tolist(),
                "counts": self.counts.tolist(), "normalised": self.normalised.tolist(),
                "normalised_stderr": self.normalised_stderr.tolist()}


def vacf(tracks: Trajectories, max_lag: int = 10, *, recorded: bool | None = None) -> VACF:
    """Velocity autocorrelation of recorded velocities, or of v_n = (x_{n+1} - x_n)/dt where there are none.

    Each lag is averaged over the pairs of velocities that exist at that lag, gaps skipped, so a short or
    interrupted track does not pull long lags to zero.

    Velocities that a simulation recorded are thermal: C(0) = dim kT/m. In a sheared box both kinds are relative to
    the flow. For Brownian particles differences are not thermal velocities: with blur R and localisation error s,
    per axis,

        C(0) = 2 D (1 - 2R)/dt + 2 s²/dt²,   C(1) = 2 R D/dt - s²/dt²,   C(n > 1) = 0,

    so never read kT/m from C(0) of a video; compare data and model at the same dt, blur and noise.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles with frame rate and length per pixel. Drift is not touched.
    max_lag : int
        Longest lag [frames].
    recorded : bool, optional
        True: the velocities in the table; False: finite differences. Default: those in the table if it has any.

    Raises
    ------
    UnitsError
        Without frame rate or length per pixel.
    DataError
        If no particle is seen in two consecutive frames, or `recorded` velocities are asked for and absent.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> steady = np.arange(6.0)[:, None, None] * np.ones((1, 3, 2)) * 0.1
    >>> vacf(Trajectories.from_dense(steady, Units(1.0, 10.0)), max_lag=2).value.round(9).tolist()
    [2.0, 2.0, 2.0]
    """
    if max_lag < 0:
        raise ConfigError(f"max_lag = {max_lag}: lags count frames from 0.")
    dt = tracks.units.dt
    if recorded or (recorded is None and tracks.velocities is not None):
        velocity, rows = recorded_velocities(tracks, "vacf(recorded=True)"), np.arange(len(tracks))
    else:
        steps = Displacements.of(tracks, remove=False)
        velocity, rows = np.full((len(tracks), tracks.dim), np.nan), steps.rows
        velocity[rows] = steps.value / dt

    def products(lag: int) -> Terms:
        i, j = tracks.lagged(lag) if lag else (rows, rows)
        product = (velocity[i] * velocity[j]).sum(axis=1)
        known = np.isfinite(product)
        return Terms(i[known], product[known, None], np.ones(int(known.sum())))

    found = moments(tracks, (products(lag) for lag in range(max_lag + 1)), max_lag + 1)
    frames = np.arange(max_lag + 1)
    ratio, ratio_stderr = _over_first(found)
    return VACF(frames, frames * dt, found.mean, np.where(found.count > 0, found.stderr, np.nan), found.count,
                ratio, ratio_stderr)


def _over_first(found: DisplacementMoments) -> tuple[np.ndarray, np.ndarray]:
    """Means over the first mean, and errors of the ratios to first order."""
    c0 = found.mean[0]
    ratio = found.mean / c0
    weights = (np.eye(len(ratio)) - np.outer(ratio, np.eye(len(ratio))[0])) / c0
    stderr = np.full(len(ratio), np.nan)
    good = np.isfinite(ratio)
    stderr[good] = found.combine(weights[good][:, good] if good.all() else np.nan_to_num(weights[good]))[1]
    return ratio, stderr
