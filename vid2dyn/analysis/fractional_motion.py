"""The exponent of the mean squared displacement, with a band that knows noise, blur and the length of the tracks.

Displacements of fractional Brownian motion are Gaussian with covariances that follow from the mean squared displacement
alone, so its exponent α = 2H has a likelihood. Seen by a camera that exposes for t_E, with localisation error s
(Backlund, Joyner, Moerner, Phys. Rev. E 91, 062716 (2015)), along one axis

    M(τ) = 2 K/[(α+1)(α+2) t_E²] [(τ+t_E)^(α+2) + |τ-t_E|^(α+2) - 2 τ^(α+2)] - 4 K t_E^α/[(α+1)(α+2)] + 2 s²

and without exposure M = 2 K τ^α + 2 s². K, s² >= 0 and α are fitted together: what noise could explain, the band
includes. A slope of ln M against ln τ does not: noise alone makes it look subdiffusive, blur superdiffusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import common_motion, unwrapped
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories

LENGTHS = (64, 32, 16, 8)
"""Steps of the stretches that tracks are cut into; what is shorter than the last tells too little."""
GROUPS = 12
"""Of tracks, for the jackknife."""
LOWEST, HIGHEST = 0.02, 1.98
WIDE = 0.6
"""Width of a band that says next to nothing."""


@dataclass(frozen=True, eq=False)
class AnomalousExponent(Result):
    """What `anomalous_exponent` found.

    Parameters
    ----------
    exponent, low, high : float
        α and its 95 % band; 1 is free diffusion.
    coefficient : float
        K [µm²/s^α], D at α = 1.
    localisation_error : float
        s along an axis [µm].
    dataframe : pandas.DataFrame
        Profile of the likelihood: `exponent`, `log_likelihood` (0 at its top).
    """

    exponent: float
    low: float
    high: float
    coefficient: float
    localisation_error: float
    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """The profile of the likelihood, with the band."""
        ax = axes_or_new(ax)
        ax.plot(self.dataframe["exponent"], self.dataframe["log_likelihood"])
        ax.axvspan(self.low, self.high, alpha=0.2)
        ax.axvline(1.0, color="0.6", lw=0.8)
        ax.set(xlabel="exponent α", ylabel="log-likelihood", ylim=(-8, 0.5))
        return ax


def anomalous_exponent(tracks: Trajectories, remove_drift: bool = True) -> AnomalousExponent:
    """Exponent α of MSD = 2 dim K t^α of all tracks together.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles, with the exposure in their units where there was one.
    remove_drift : bool
        Take the mean displacement of every frame out first.

    Returns
    -------
    AnomalousExponent
        The band is that of the likelihood (χ² of one degree of freedom, others fitted anew at each α), widened by
        what a jackknife over 12 groups of tracks says beyond it: tracks that differ, interactions.

    Raises
    ------
    DataError
        Where no track has nine detections in successive frames.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> free = np.random.default_rng(0).normal(0, 0.1, (60, 40, 2)).cumsum(axis=0)
    >>> found = anomalous_exponent(Trajectories.from_dense(free, Units(0.1, 10.0)))
    >>> found.low < 1 < found.high, found.high - found.low < 0.2
    (True, True)
    """
    tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="An anomalous exponent")
    sums, counts = _stretches(tracks, remove_drift)
    dt, exposure = tracks.units.dt, tracks.units.exposure or 0.0
    lengths = [L for L in LENGTHS if counts[L].sum() > 0]
    if not lengths:
        raise DataError("No track has nine detections in successive frames, so the exponent cannot be told from noise. "
                        "Track longer stretches (memory, search_range).")
    total = {L: sums[L].sum(axis=0) for L in lengths}
    number = {L: float(counts[L].sum()) for L in lengths}
    likelihood = _Likelihood(total, number, dt, exposure)
    best, top, free = likelihood.best()
    grid = np.linspace(LOWEST, HIGHEST, 57)
    profile = np.array([likelihood.at(a, free)[0] for a in grid]) - top
    low, high = likelihood.band(best, top, free)
    half = 0.5 * (high - low) / 1.96
    found, left_out = likelihood, []
    groups = [g for g in range(GROUPS) if sum(counts[L][g] for L in lengths)]
    for g in groups:
        found = _Likelihood({L: total[L] - sums[L][g] for L in lengths}, {L: number[L] - counts[L][g] for L in lengths},
                            dt, exposure)
        if sum(found.number.values()) > 0:
            left_out.append(found.best(best, free)[0])
    if len(left_out) > 4:
        values = np.array(left_out)
        spread = float(np.sqrt((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum()))
        # with 12 groups the jackknife itself is known within a third: less than that says nothing
        wider = max(1.0, spread / half / 1.3) if half > 0 else 1.0
        low, high = max(best - wider * (best - low), LOWEST), min(best + wider * (high - best), HIGHEST)
    warnings = []
    if high - low > WIDE:
        warnings.append(f"The exponent is known within {low:.2g} to {high:.2g} only: noise, short tracks and exponent "
                        "cannot be told apart. Record longer tracks or brighter particles.")
    elif not low <= 1 <= high:
        warnings.append(f"Motion is {'sub' if best < 1 else 'super'}diffusive: exponent {best:.2f}, 95 % band "
                        f"{low:.2f} to {high:.2f}. D depends on the time over which it is measured.")
    K, noise = np.exp(free[0]), np.exp(free[1])
    table = pd.DataFrame({"exponent": grid, "log_likelihood": profile})
    return AnomalousExponent(best, low, high, float(K), float(np.sqrt(noise)), table, tuple(warnings))


def msd_seen(lag: np.ndarray, exponent: float, coefficient: float, noise: float, exposure: float) -> np.ndarray:
    """Mean squared displacement along one axis as a camera sees it [µm²]; 0 at lag 0; see the module docstring.

    >>> msd_seen(np.array([0.0, 1.0]), 1.0, 2.0, 0.0, 0.3).round(6).tolist()       # 2 D (t - t_E/3)
    [0.0, 3.6]
    """
    a, t = exponent, np.asarray(lag, float)
    if exposure > 0:
        ends = (t + exposure) ** (a + 2) + np.abs(t - exposure) ** (a + 2) - 2 * t ** (a + 2)
        seen = 2 * coefficient / ((a + 1) * (a + 2)) * (ends / exposure**2 - 2 * exposure**a)
    else:
        seen = 2 * coefficient * t**a
    return np.where(t > 0, seen + 2 * noise, 0.0)


def _stretches(tracks: Trajectories, remove_drift: bool) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Sums of products of the steps of stretches of each length, (groups, L, L), and how many stretches."""
    i, j = tracks.lagged(1)
    position = unwrapped(tracks)
    step = position[j] - position[i]
    if remove_drift and len(step):
        residual, among = common_motion(step, tracks.frame[i])
        step = residual / np.sqrt(np.maximum(1 - 1 / np.maximum(among, 2), 0.5))[:, None]
    _, track = np.unique(tracks.particle[i], return_inverse=True)
    run = np.flatnonzero(np.append(True, (np.diff(i) != 1) | (np.diff(track) != 0))) if len(i) else np.empty(0, int)
    sums = {L: np.zeros((GROUPS, L, L)) for L in LENGTHS}
    counts = {L: np.zeros(GROUPS) for L in LENGTHS}
    for start, stop in zip(run, np.append(run[1:], len(i))):
        at = int(start)
        for L in LENGTHS:
            while stop - at >= L:
                part = step[at:at + L]
                group = int(track[at]) % GROUPS
                sums[L][group] += part @ part.T
                counts[L][group] += part.shape[1]
                at += L
    return sums, counts


class _Likelihood:
    """Log-likelihood of Gaussian steps with stationary covariance, from sums of their products."""

    def __init__(self, sums: dict[int, np.ndarray], number: dict[int, float], dt: float, exposure: float) -> None:
        self.sums, self.number, self.dt, self.exposure = sums, number, dt, exposure
        self.longest = max(sums)
        steps = sum(number[L] * L for L in sums)
        self.variance = sum(float(np.trace(sums[L])) for L in sums) / max(steps, 1.0)

    def value(self, exponent: float, free: np.ndarray) -> float:
        """At ln K and ln s²."""
        from scipy.linalg import cho_factor, cho_solve, toeplitz

        lag = np.arange(self.longest + 1) * self.dt
        msd = msd_seen(lag, exponent, float(np.exp(free[0])), float(np.exp(free[1])), self.exposure)
        covariance = np.empty(self.longest)
        covariance[0] = msd[1]
        covariance[1:] = 0.5 * (msd[2:] + msd[:-2] - 2 * msd[1:-1])
        out = 0.0
        for L, product in self.sums.items():
            if not self.number[L]:
                continue
            try:
                factor = cho_factor(toeplitz(covariance[:L]), lower=True)
            except np.linalg.LinAlgError:
                return -1e300
            out -= 0.5 * (self.number[L] * 2 * float(np.log(np.diag(factor[0])).sum())
                          + float(np.trace(cho_solve(factor, product))))
        return out

    def at(self, exponent: float, start: np.ndarray) -> tuple[float, np.ndarray]:
        """The highest likelihood at an exponent, and ln K and ln s² there."""
        from scipy.optimize import minimize

        floor = np.log(1e-8 * self.variance)
        bounds = [(start[0] - 12, start[0] + 12), (floor, np.log(self.variance))]
        best: tuple[float, np.ndarray] = (-np.inf, start)
        starts = [float(np.clip(start[1], floor, bounds[1][1]))]
        # far below the noise that matters its logarithm has no slope to come back along
        if starts[0] < np.log(1e-4 * self.variance):
            starts.append(float(np.log(0.1 * self.variance)))
        for noise in starts:
            found = minimize(lambda p: -self.value(exponent, p) / max(1.0, sum(self.number.values())),
                             [start[0], noise], bounds=bounds, method="L-BFGS-B")
            value = self.value(exponent, found.x)
            if value > best[0]:
                best = value, found.x
        return best

    def best(self, near: float | None = None, start: np.ndarray | None = None) -> tuple[float, float, np.ndarray]:
        """Exponent, log-likelihood, and ln K and ln s² of the maximum."""
        from scipy.optimize import minimize_scalar

        if start is None:
            start = np.array([np.log(0.5 * self.variance / self.dt), np.log(0.05 * self.variance)])
        span = (LOWEST, HIGHEST) if near is None else (max(near - 0.3, LOWEST), min(near + 0.3, HIGHEST))
        if near is None:
            coarse = [self.at(a, start)[0] for a in np.linspace(0.1, 1.9, 10)]
            middle = np.linspace(0.1, 1.9, 10)[int(np.argmax(coarse))]
            span = max(middle - 0.25, LOWEST), min(middle + 0.25, HIGHEST)
        found = minimize_scalar(lambda a: -self.at(a, start)[0], bounds=span, method="bounded", options={"xatol": 2e-4})
        top, free = self.at(float(found.x), start)
        return float(found.x), top, free

    def band(self, best: float, top: float, free: np.ndarray) -> tuple[float, float]:
        """Where twice the likelihood has fallen by the 95 % point of χ²(1)."""
        from scipy.optimize import brentq

        def below(a: float) -> float:
            return self.at(a, free)[0] - top + 0.5 * 3.8415

        low = LOWEST if below(LOWEST) > 0 else float(brentq(below, LOWEST, best, xtol=1e-3))
        high = HIGHEST if below(HIGHEST) > 0 else float(brentq(below, best, HIGHEST, xtol=1e-3))
        return low, high
