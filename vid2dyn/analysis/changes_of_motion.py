"""Where the diffusion coefficient of a single particle changes.

The likelihood of normal steps whose variance changes once, at the best place, over that of one variance. Its largest
value over all places has, without a change, the tail (Csörgő & Horváth, Limit Theorems in Change-Point Analysis, 1997,
ch. 1; one parameter)

    P(Z > x) = x exp(-x²/2)/sqrt(2π) [T - T/x² + 4/x²],    T = 2 ln[(1 - h)/h],  h = ln(n)^(3/2)/n,

Z² twice the log-likelihood ratio. Noise of positions makes successive steps correlated by ρ (-1/2 at most), which
makes sums of squares vary 1 + 2 ρ² times as much; Z² is divided by that. A track is cut at its most likely place where
that is significant, and both parts are asked again (binary segmentation).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import common_motion, unwrapped
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories

SHORTEST = 8
"""Steps on each side of a change."""


@dataclass(frozen=True, eq=False)
class ChangePoints(Result):
    """What `change_points` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        One row for each change: `particle`, `frame` (the first of the new motion), `before`, `after` (mean squared step
        along an axis over 2 dt [µm²/s]: D, with noise and blur in it), `p` (by chance, one track).
    segments : pandas.DataFrame
        `particle`, `start`, `stop` (frames), `D` as before, `steps`.
    """

    dataframe: pd.DataFrame
    segments: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """D of the segments against time, for tracks with a change."""
        ax = axes_or_new(ax)
        for _, part in self.segments[self.segments["particle"].isin(self.dataframe["particle"])].groupby("particle"):
            edges = np.append(part["start"].to_numpy(), part["stop"].to_numpy()[-1])
            ax.stairs(part["D"].to_numpy(), edges)
        ax.set(xlabel="frame", ylabel="apparent D (µm²/s)", yscale="log")
        return ax


def change_points(tracks: Trajectories, false_alarms: float = 0.01, remove_drift: bool = True) -> ChangePoints:
    """Frames at which the motion of single particles becomes faster or slower.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles; steps over gaps are left out.
    false_alarms : float
        Expected number of changes found in the whole recording where there is none.
    remove_drift : bool
        Take the mean displacement of every frame out first.

    Raises
    ------
    ConfigError
        For a number of false alarms that is not between 0 and 1.
    DataError
        Where no track has 16 steps.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> step = np.random.default_rng(0).normal(0, 0.1, (200, 12, 2))
    >>> step[120:, 3] *= 3
    >>> found = change_points(Trajectories.from_dense(step.cumsum(axis=0), Units(0.1, 10.0))).dataframe
    >>> found["particle"].tolist(), bool(abs(found["frame"][0] - 119) <= 3)
    ([3], True)
    """
    if not 0 < false_alarms < 1:
        raise ConfigError(f"false_alarms = {false_alarms!r}: give the expected number in the recording, such as 0.01.")
    tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Changes of D")
    i, j = tracks.lagged(1)
    position = unwrapped(tracks)
    step = position[j] - position[i]
    if remove_drift and len(step):
        step = common_motion(step, tracks.frame[i])[0]
    particle, frame = tracks.particle[i], tracks.frame[i]
    cuts = np.flatnonzero(np.diff(particle)) + 1
    pieces = [rows for rows in np.split(np.arange(len(i)), cuts) if len(rows) >= 2 * SHORTEST]
    if not pieces:
        raise DataError(f"No track has {2 * SHORTEST} steps, so no change of its motion can be told from chance.")
    rho = _correlation(step, particle, frame)
    per_track = false_alarms / len(pieces)
    found, segments = [], []
    dt = tracks.units.dt
    for rows in pieces:
        square = (step[rows] ** 2).sum(axis=1)
        places = sorted(_places(square, step.shape[1], 1 + 2 * rho**2, per_track))
        edges = [0, *(at for at, _ in places), len(rows)]
        level = [float(square[a:b].mean()) / (2 * step.shape[1] * dt) for a, b in itertools.pairwise(edges)]
        name = int(particle[rows[0]])
        for k, (at, p) in enumerate(places):
            found.append({"particle": name, "frame": int(frame[rows[at]]), "before": level[k], "after": level[k + 1],
                          "p": p})
        for a, b, D in zip(edges[:-1], edges[1:], level):
            segments.append({"particle": name, "start": int(frame[rows[a]]), "stop": int(frame[rows[b - 1]]) + 1,
                             "D": D, "steps": b - a})
    table = pd.DataFrame(found, columns=["particle", "frame", "before", "after", "p"])
    warnings = []
    if len(table):
        changed = table["particle"].nunique()
        warnings.append(f"D of {changed} of {len(pieces)} particles changes during the recording ({len(table)} "
                        f"changes; {false_alarms:g} expected by chance): one D for a track is a mean over different "
                        "motions.")
    return ChangePoints(table, pd.DataFrame(segments), tuple(warnings))


def _correlation(step: np.ndarray, particle: np.ndarray, frame: np.ndarray) -> float:
    """Correlation of successive steps of a particle."""
    next_one = np.flatnonzero((particle[1:] == particle[:-1]) & (frame[1:] == frame[:-1] + 1))
    if not len(next_one):
        return 0.0
    return float((step[next_one] * step[next_one + 1]).mean() / max(float((step**2).mean()), 1e-300))


def _places(square: np.ndarray, dim: int, inflation: float, alarm: float, begin: int = 0) -> list[tuple[int, float]]:
    """(place, p) of all changes in a track of squared steps."""
    n = len(square)
    if n < 2 * SHORTEST:
        return []
    total = np.cumsum(square)
    k = np.arange(SHORTEST, n - SHORTEST + 1)
    first, second = total[k - 1] / k, (total[-1] - total[k - 1]) / (n - k)
    with np.errstate(divide="ignore"):
        ratio = dim * (n * np.log(total[-1] / n) - k * np.log(first) - (n - k) * np.log(second)) / inflation
    at = int(np.nanargmax(ratio))
    p = tail(float(np.sqrt(max(ratio[at], 0.0))), n)
    if not p < alarm:
        return []
    cut = int(k[at])
    return [*_places(square[:cut], dim, inflation, alarm, begin), (begin + cut, p),
            *_places(square[cut:], dim, inflation, alarm, begin + cut)]


def tail(x: float, n: int) -> float:
    """Probability that Z exceeds x somewhere among n steps; see the module docstring.

    >>> tail(1.0, 100), bool(1e-4 < tail(4.7, 100) < 1e-3)
    (1.0, True)
    """
    if x < 1.5:
        return 1.0
    h = min(np.log(n) ** 1.5 / n, 0.49)
    T = 2 * np.log((1 - h) / h)
    return float(min(1.0, x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * (T - T / x**2 + 4 / x**2)))
