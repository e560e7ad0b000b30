"""Motion of the density: the collective intermediate scattering function.

    F(q, t) = <ρ_q(t0 + t) ρ_-q(t0)>/N,      F(q, 0) = S(q),      ρ_q = sum_j exp(i q·r_j)

(Hansen & McDonald, Theory of Simple Liquids, ch. 7). F/S falls as exp(-q² D_c(q) t) at short times, with the collective
diffusion coefficient D_c = D H(q)/S(q). Particles need not be linked. Wave vectors are those of `structure_factor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.scattering import BLOCKS, fitting_vectors, observed_region
from vid2dyn.analysis.space import frames_of
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories

OF_A_SHELL = 60
"""Wave vectors of a shell, at most: memory is their amplitudes in every frame."""
SHELL = 0.15
"""Half the relative width of a shell about the wave number that was asked for."""


@dataclass(frozen=True, eq=False)
class CollectiveScattering(Result):
    """What `collective_scattering` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `q` (mean of the shell) [1/µm], `lag_frames`, `lag` [s], `F`, `F_stderr`, `value` = F/S (1 at lag 0), `stderr`,
        `rate` = -ln(F/S)/(q² lag) [µm²/s], NaN where F/S is within three errors of zero.
    """

    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """F/S against lag, one line for each q."""
        ax = axes_or_new(ax)
        for q, part in self.dataframe[self.dataframe["lag"] > 0].groupby("q"):
            ax.errorbar(part["lag"], part["value"], yerr=1.96 * part["stderr"], fmt="o-", ms=3,
                        label=f"q = {q:.3g} /µm")
        ax.set(xlabel="lag (s)", ylabel="F(q, t)/S(q)", xscale="log")
        ax.legend()
        return ax


def collective_scattering(tracks: Trajectories, q: float | Sequence[float], max_lag: int = 20, *,
                          progress: ProgressLike = None) -> CollectiveScattering:
    """Collective intermediate scattering function at one or several wave numbers.

    Parameters
    ----------
    tracks : Trajectories
        Linked or not, in a periodic box or in a field of view. Drift is not touched.
    q : float or several
        Wave numbers [1/µm]; all wave vectors within 15 % of each are averaged.
    max_lag : int
        Longest lag [frames].

    Raises
    ------
    ConfigError
        For a q that is not positive or has no wave vector near it, a lag below 1.
    DataError
        For fewer than 2 particles, unbounded space, a sheared box.

    Notes
    -----
    Errors: jackknife over 10 blocks of time of sums over pairs of frames.

    Examples
    --------
    >>> from vid2dyn import Periodic, Trajectories, Units
    >>> rng = np.random.default_rng(0)
    >>> gas = rng.uniform(0, 10, (60, 2)) + rng.normal(0, 0.1, (400, 60, 2)).cumsum(axis=0)
    >>> box = Trajectories.from_dense(gas, Units(0.1, 10.0), box=Periodic((10.0, 10.0)))
    >>> found = collective_scattering(box, 4.0, 3).dataframe
    >>> bool((abs(found.rate[1:] - 0.05) < 0.015).all())
    True
    """
    wanted = np.atleast_1d(np.asarray(q, dtype=float))
    if not wanted.size or not (np.isfinite(wanted) & (wanted > 0)).all():
        raise ConfigError(f"collective_scattering: q = {q!r}; give positive wave numbers [1/µm].")
    if isinstance(max_lag, bool) or int(max_lag) != max_lag or max_lag < 1:
        raise ConfigError(f"max_lag = {max_lag!r}: give a whole number, 1 or more.")
    tracks, corner, sides = observed_region(tracks)
    every = fitting_vectors(sides, float(wanted.max()) * (1 + SHELL), thinned=False)
    size = np.linalg.norm(every, axis=1)
    chosen = []
    for k in wanted:
        near = np.flatnonzero(np.abs(size / k - 1) <= SHELL)
        if not len(near):
            raise ConfigError(f"collective_scattering: no wave vector of this box or view within {100 * SHELL:.0f} % "
                              f"of q = {k:g} 1/µm; the smallest is {size.min():.3g} 1/µm.")
        chosen.append(every[np.random.default_rng(0).permutation(near)[:OF_A_SHELL]])
    vectors = np.concatenate(chosen)
    shell = np.repeat(np.arange(len(wanted)), [len(one) for one in chosen])
    frames = list(frames_of(tracks))
    numbers = np.array([frame for frame, _ in frames])
    if len(frames) < 3:
        raise DataError(f"F(q, t) needs three frames; there are {len(frames)}.")
    span = int(numbers[-1] - numbers[0]) + 1
    density = np.zeros((span, len(vectors)), complex)
    count = np.zeros(span)
    position = tracks.positions - corner
    with showing(progress) as progress:
        for k, (frame, rows) in enumerate(frames):
            phase = position[rows] @ vectors.T
            density[frame - numbers[0]] = np.cos(phase).sum(axis=0) + 1j * np.sin(phase).sum(axis=0)
            count[frame - numbers[0]] = len(rows)
            progress(k + 1, len(frames), "collective scattering")
    lags = np.arange(min(max_lag, span - 1) + 1)
    first = np.searchsorted(shell, np.arange(len(wanted)))
    blocks = min(BLOCKS, span - int(lags[-1]))
    sums = np.zeros((max(blocks, 1), len(lags), len(wanted)))
    norm = np.zeros((max(blocks, 1), len(lags)))
    for n, lag in enumerate(lags):
        for b, times in enumerate(np.array_split(np.arange(span - lag), max(blocks, 1))):
            seen = times[(count[times] > 0) & (count[times + lag] > 0)]
            product = (density[seen].conj() * density[seen + lag]).real.sum(axis=0)
            sums[b, n] = np.add.reduceat(product, first) / np.diff(np.append(first, len(shell)))
            norm[b, n] = np.sqrt(count[seen] * count[seen + lag]).sum()
    F, ratio = _means(sums.sum(axis=0), norm.sum(axis=0))
    F_error, error = np.full_like(F, np.nan), np.full_like(F, np.nan)
    if blocks >= 3:
        left = [_means(np.delete(sums, b, axis=0).sum(axis=0), np.delete(norm, b, axis=0).sum(axis=0))
                for b in range(blocks)]
        F_error, error = (np.sqrt((blocks - 1) * np.var([one[k] for one in left], axis=0)) for k in (0, 1))
    mean_q = np.array([np.linalg.norm(one, axis=1).mean() for one in chosen])
    square = np.array([(one**2).sum(axis=1).mean() for one in chosen])
    seconds = lags * tracks.units.dt
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where((ratio > 3 * error) & (seconds[:, None] > 0), -np.log(ratio) / (square * seconds[:, None]),
                        np.nan)
    table = pd.DataFrame({"q": np.repeat(mean_q, len(lags)), "lag_frames": np.tile(lags, len(wanted)),
                          "lag": np.tile(seconds, len(wanted)), "F": F.T.ravel(), "F_stderr": F_error.T.ravel(),
                          "value": ratio.T.ravel(), "stderr": error.T.ravel(), "rate": rate.T.ravel()})
    notes: tuple[str, ...] = ()
    if tracks.box.lengths is None:
        notes = ("Particles cross the edges of the view: at small q the density changes by that too, at a rate of "
                 f"about D times {np.pi**2 * (1 / sides**2).sum():.2g} 1/µm².",)
    return CollectiveScattering(table, notes)


def _means(sums: np.ndarray, norm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    F = sums / np.maximum(norm, 1e-300)[:, None]
    return F, F / F[0]
