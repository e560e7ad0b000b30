"""D of every track, and how much of its scatter is real.

One track says little of its D: with N displacements the covariance estimator has the relative variance
(6 + 4 ε + 2 ε²)/N or so (Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726, 2014, eq. 17). So the tracks are
taken for draws from a population of mean D and variance τ², both estimated (DerSimonian & Laird, Control. Clin. Trials
7, 177, 1986), and the estimate of each is drawn towards the mean as far as its own error asks for (the best linear
predictor; Efron & Morris, J. Am. Stat. Assoc. 70, 311, 1975). Whether the population has one value of D, a continuous
spread, or two or three values, is decided by the Bayesian information criterion (Schwarz, Ann. Stat. 6, 461, 1978).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.displacements import Displacements, gaussian_variance
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories

MOST = 3
"""Populations that are tried."""
CERTAIN = 10.0
"""Fall of the BIC that more than one value of D must bring: odds of 150 to 1."""


@dataclass(frozen=True, eq=False)
class ParticleDiffusion(Result):
    """What `particle_diffusion` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `particle`, `displacements`, `D`, `D_stderr` [µm²/s] of the track by itself; `D_shrunk`, `D_shrunk_stderr` with
        what the others say; `population` (0 is the slowest).
    mean, mean_stderr : float
        Of the population [µm²/s].
    spread, spread_low, spread_high : float
        Standard deviation of D between particles, and its 95 % band [µm²/s].
    populations : pandas.DataFrame
        `D`, `D_stderr` [µm²/s], `share` of the tracks: one row for one value, and for a continuous spread.
    bic : mapping
        Of "one", "continuous", "two" and "three" values of D, less the smallest.
    """

    dataframe: pd.DataFrame
    mean: float
    mean_stderr: float
    spread: float
    spread_low: float
    spread_high: float
    populations: pd.DataFrame
    bic: dict[str, float]
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Histogram of D of the tracks, and of the shrunk values."""
        ax, table = axes_or_new(ax), self.dataframe
        edges = np.histogram_bin_edges(table["D"], "auto")
        ax.hist(table["D"], edges, alpha=0.4, label="each track by itself")
        ax.hist(table["D_shrunk"], edges, histtype="step", lw=1.6, label="with what the others say")
        ax.axvline(self.mean, lw=0.8, color="0.4")
        ax.set(xlabel="D (µm²/s)", ylabel="tracks")
        ax.legend()
        return ax


def particle_diffusion(tracks: Trajectories, min_length: int = 5) -> ParticleDiffusion:
    """Diffusion coefficient of every track, its shrunk value, and the spread between particles.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles with frame rate and length per pixel. The common motion is taken out.
    min_length : int
        Displacements over one frame that a track must have, at least 3.

    Raises
    ------
    ConfigError
        For a min_length below 3.
    DataError
        If fewer than 3 tracks are long enough.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> size = np.where(np.arange(60) < 30, 0.1, 0.2)[None, :, None]
    >>> steps = size * np.random.default_rng(0).normal(size=(200, 60, 2))
    >>> found = particle_diffusion(Trajectories.from_dense(steps.cumsum(axis=0), Units(0.1, 10.0)))
    >>> found.populations.D.round(2).tolist(), found.populations.share.round(2).tolist()
    ([0.05, 0.19], [0.5, 0.5])
    """
    if isinstance(min_length, bool) or int(min_length) != min_length or min_length < 3:
        raise ConfigError(f"particle_diffusion: min_length = {min_length!r}; give a whole number, 3 or more.")
    moved = Displacements.of(tracks, remove=True)
    dt, dim = tracks.units.dt, tracks.dim
    square, product = moved.covariance_terms(0), moved.covariance_terms(1)
    names, track = np.unique(tracks.particle, return_inverse=True)

    def mean_of(terms: Any) -> tuple[np.ndarray, np.ndarray]:
        weight = np.bincount(track[terms.row], terms.weight, len(names))
        total = np.bincount(track[terms.row], terms.value.mean(axis=1), len(names))
        with np.errstate(divide="ignore", invalid="ignore"):
            return total / weight, np.bincount(track[terms.row], minlength=len(names))

    (c0, count), (c1, pairs) = mean_of(square), mean_of(product)
    kept = (names >= 0) & (count >= min_length) & (pairs >= 2)
    if kept.sum() < 3:
        raise DataError(f"particle_diffusion: {int(kept.sum())} tracks have {min_length} displacements over one frame; "
                        "it takes at least 3. Track longer, or ask for fewer.")
    c0, c1, count = c0[kept], c1[kept], count[kept].astype(float)
    D = c0 / (2 * dt) + c1 / dt
    # errors at the pooled values, so that they do not go with the estimates
    pooled0, pooled1 = np.average(c0, weights=count), np.average(c1, weights=count)
    w = np.array([0.5, 1.0, 0.0]) / dt
    lengths, which = np.unique(count, return_inverse=True)
    error = np.sqrt([gaussian_variance(w, float(pooled0), float(min(pooled1, 0.0)), n * dim) for n in lengths])[which]
    mean, mean_stderr, tau, low, high = _population(D, error)
    shrink = tau**2 / (tau**2 + error**2)
    shrunk, shrunk_error = mean + shrink * (D - mean), np.sqrt(shrink) * error
    fits = [_mixture(D, error / max(abs(mean), 1e-300), k) for k in range(1, MOST + 1)]
    bic = {"one": fits[0][0], "continuous": _continuous(D, error / max(abs(mean), 1e-300), mean, tau),
           "two": fits[1][0], "three": fits[2][0]}
    best = "continuous" if bic["one"] - bic["continuous"] > CERTAIN else "one"
    for several in ("two", "three"):
        best = several if bic[best] - bic[several] > CERTAIN else best
    _, values, shares, member = fits[{"two": 1, "three": 2}.get(best, 0)]
    if best == "continuous":
        of = pd.DataFrame({"D": [mean], "D_stderr": [mean_stderr], "share": [1.0]})
    else:
        information = (member / (error / abs(mean))[:, None] ** 2).sum(axis=0)
        of = pd.DataFrame({"D": values, "D_stderr": values / np.sqrt(information), "share": shares})
    table = pd.DataFrame({"particle": names[kept], "displacements": count.astype(int), "D": D, "D_stderr": error,
                          "D_shrunk": shrunk, "D_shrunk_stderr": shrunk_error, "population": member.argmax(axis=1)})
    least = min(bic.values())
    return ParticleDiffusion(table, mean, mean_stderr, tau, low, high, of,
                             {name: float(value - least) for name, value in bic.items()})


def _population(D: np.ndarray, error: np.ndarray) -> tuple[float, float, float, float, float]:
    """Mean and its error, standard deviation between particles and its 95 % band (Q profile: Viechtbauer, Stat. Med.
    26, 37, 2007)."""
    from scipy.optimize import brentq
    from scipy.stats import chi2

    def weighted(tau2: float) -> tuple[float, float, float]:
        w = 1.0 / (error**2 + tau2)
        mean = float((w * D).sum() / w.sum())
        return mean, float(w.sum()) ** -0.5, float((w * (D - mean) ** 2).sum())

    def spread(target: float) -> float:
        if weighted(0.0)[2] <= target:
            return 0.0
        top = float(D.var()) * 4 + float(error.max()) ** 2
        while weighted(top)[2] > target:
            top *= 4
        return float(brentq(lambda tau2: weighted(tau2)[2] - target, 0.0, top, xtol=1e-12 * top)) ** 0.5

    n = len(D) - 1
    tau = spread(float(n))
    mean, mean_error, _ = weighted(tau**2)
    return mean, mean_error, tau, spread(float(chi2.ppf(0.975, n))), spread(float(chi2.ppf(0.025, n)))


def _continuous(D: np.ndarray, relative: np.ndarray, mean: float, spread: float) -> float:
    """BIC of D with a log-normal distribution between the tracks; the error of a track is `relative` times its D."""
    from scipy.optimize import minimize

    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = np.log(weights / weights.sum())

    def loss(p: np.ndarray) -> float:
        value = np.exp(p[0] + np.exp(p[1]) * nodes)
        width = relative[:, None] * value
        log = weights - 0.5 * ((D[:, None] - value) / width) ** 2 - np.log(width)
        top = log.max(axis=1)
        return -float((top + np.log(np.exp(log - top[:, None]).sum(axis=1))).sum())

    middle = max(mean, 1e-3 * float(np.abs(D).mean()))
    start = np.array([np.log(middle), np.log(np.clip(spread / middle, 0.02, 1.0))])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
    return 2 * float(found.fun) + 2 * np.log(len(D))


def _mixture(D: np.ndarray, relative: np.ndarray, count: int) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """BIC, values of D, shares, and how likely each track belongs to each, of `count` values by expectation and
    maximisation; the error of a track is `relative` times the D it has."""
    values = np.quantile(D, (np.arange(count) + 0.5) / count)
    values = np.maximum(values, 1e-3 * max(float(np.abs(D).mean()), 1e-300))
    shares = np.full(count, 1.0 / count)
    for _ in range(300):
        log = np.log(shares) - 0.5 * ((D[:, None] - values) / (relative[:, None] * values)) ** 2 \
            - np.log(relative[:, None] * values)
        top = log.max(axis=1, keepdims=True)
        member = np.exp(log - top)
        total = member.sum(axis=1, keepdims=True)
        member = member / total
        before = values
        w = member / relative[:, None] ** 2
        values = np.maximum((w * D[:, None]).sum(axis=0) / np.maximum(w.sum(axis=0), 1e-300), 1e-3 * before)
        shares = np.maximum(member.mean(axis=0), 1e-9)
        if np.abs(values - before).max() < 1e-10 * values.max():
            break
    loglik = float((top[:, 0] + np.log(total[:, 0])).sum())
    order = np.argsort(values)
    return -2 * loglik + (2 * count - 1) * np.log(len(D)), values[order], shares[order], member[:, order]
