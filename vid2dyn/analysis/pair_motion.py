"""Correlated motion of pairs: two-point microrheology, and whether particles feel each other through the solvent.

    D_rr(r, τ) = <Δr_i · r̂ Δr_j · r̂>,      D_tt(r, τ) = <Δr_i · t̂ Δr_j · t̂>

over pairs a distance r apart (Crocker et al., Phys. Rev. Lett. 85, 888 (2000)); noise of positions, which is
independent from particle to particle, drops out. In a viscous solvent without walls (Rotne & Prager, J. Chem. Phys.
50, 4831 (1969))

    D_rr = 2 D τ [3a/(2r) - (a/r)³],      D_tt = 2 D τ [3a/(4r) + (a/r)³/2]

for spheres of radius a, and at distances r >> a D_rr = kT τ/(2π η r): the viscosity far from the particles. In a
viscoelastic one 2 r D_rr(r, τ)/(3 a) is the mean squared displacement along one axis that the particle would have in
the bulk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.analysis.moments import Terms, moments, unwrapped
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.analysis.space import box_at, close_pairs
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories

SIGNIFICANT = 4.9
"""Standard errors that an effect is said beyond: by chance in one of a million recordings."""


@dataclass(frozen=True, eq=False)
class TwoPoint(Result):
    """What `two_point` found.

    Parameters
    ----------
    dataframe : pandas.DataFrame
        `lag_frames`, `lag` [s], `r` (mean of the pairs in the shell) [µm], `along`, `along_stderr`, `across`,
        `across_stderr` [µm²], `pairs`; `msd` = 2 r along/(3 a) [µm²], where the radius is known.
    """

    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """r D_rr/τ against r, one line for each lag: level where the solvent is viscous."""
        ax = axes_or_new(ax)
        for lag in self.dataframe["lag"].unique():
            part = self.dataframe[self.dataframe["lag"] == lag]
            ax.errorbar(part["r"], part["r"] * part["along"] / lag, yerr=1.96 * part["r"] * part["along_stderr"] / lag,
                        fmt="o-", ms=3, label=f"{lag:.3g} s")
        ax.axhline(0.0, lw=0.8, color="0.6")
        ax.set(xlabel="r (µm)", ylabel="r D_rr/τ (µm³/s)", xscale="log")
        ax.legend()
        return ax


@dataclass(frozen=True, eq=False)
class HydrodynamicCoupling(Result):
    """What `hydrodynamic_coupling` found.

    Parameters
    ----------
    radius, radius_stderr : float
        Hydrodynamic radius a [µm] that the coupling of pairs asks for; 0 if they move independently.
    dataframe : pandas.DataFrame
        `r` [µm], `along`, `along_stderr`, `across`, `across_stderr`, as parts of 2 D τ, and `along_expected`,
        `across_expected` with that radius.
    """

    radius: float
    radius_stderr: float
    dataframe: pd.DataFrame
    warnings: tuple[str, ...] = ()

    def plot(self, ax: Any = None) -> Any:
        """Coupling along and across the line of centres against r, beside the fit."""
        ax, table = axes_or_new(ax), self.dataframe
        for name in ("along", "across"):
            drawn = ax.errorbar(table["r"], table[name], yerr=1.96 * table[f"{name}_stderr"], fmt="o", ms=3, label=name)
            ax.plot(table["r"], table[f"{name}_expected"], color=drawn[0].get_color(), lw=1)
        ax.axhline(0.0, lw=0.8, color="0.6")
        ax.set(xlabel="r (µm)", ylabel="coupling (2 D τ)")
        ax.legend()
        return ax


def two_point(tracks: Trajectories, r_max: float, r_min: float = 0.0, bins: int = 8,
              lags: tuple[int, ...] = (1, 2, 4, 8), remove_drift: bool = False) -> TwoPoint:
    """Correlated displacements of pairs against distance and lag.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles, in two or three dimensions.
    r_max, r_min : float
        Distances of pairs [µm], `bins` shells evenly on a logarithmic scale (linear from r_min = 0).
    lags : tuple of int
        [frames]
    remove_drift : bool
        Take the mean displacement of every frame out. It takes the mean coupling of all pairs with it: use it where
        there is drift, and then trust differences between distances only.

    Raises
    ------
    ConfigError
        For distances that are not 0 <= r_min < r_max, and lags below 1.
    DataError
        Where no pair is that near.

    Notes
    -----
    Errors are clustered by particle and by blocks of time (`vid2dyn.analysis.moments`).

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian
    >>> free = Brownian(n_particles=60, frames=200, box_length=12.0).run(seed=0)
    >>> found = two_point(free, 4.0, 1.0, bins=3, lags=(1,)).dataframe
    >>> bool((abs(found.along) < 5 * found.along_stderr).all())
    True
    """
    table, _ = _correlated(tracks, r_max, r_min, bins, lags, remove_drift)
    radius = tracks.units.particle_radius
    if radius:
        table["msd"] = 2 * table["r"] * table["along"] / (3 * radius)
    notes = ("The mean displacement of every frame is taken out, and the mean coupling of all pairs with it.",)
    return TwoPoint(table, notes if remove_drift else ())


def hydrodynamic_coupling(tracks: Trajectories, r_max: float, r_min: float, bins: int = 6,
                          lag: int = 1) -> HydrodynamicCoupling:
    """Whether particles are coupled through the solvent, and the hydrodynamic radius that this asks for.

    The two functions of the module docstring are fitted to the correlated displacements of pairs at one lag, in units
    of the particles' own 2 D τ (from the covariance of successive steps, free of noise and blur); walls and other
    boundaries screen the coupling, and the radius comes out smaller then.

    Parameters
    ----------
    r_max, r_min : float
        Distances of pairs [µm]; r_min at least about two radii, where pair forces do not reach.
    bins, lag : int

    Raises
    ------
    ConfigError, DataError
        As `two_point`.

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian
    >>> free = Brownian(n_particles=60, frames=200, box_length=12.0).run(seed=0)
    >>> found = hydrodynamic_coupling(free, 5.0, 1.0)
    >>> abs(found.radius) < 5 * found.radius_stderr, found.warnings
    (True, ())
    """
    from scipy.optimize import minimize_scalar

    table, own = _correlated(tracks, r_max, r_min, bins, (lag,), False)
    r = table["r"].to_numpy()
    seen = np.concatenate([table["along"], table["across"]]) / own
    error = np.concatenate([table["along_stderr"], table["across_stderr"]]) / own

    def chi2(a: float) -> float:
        return float((((seen - np.concatenate(rotne_prager(r, a))) / error) ** 2).sum())

    # negative radii stand for motion against each other, so that the estimate has no bias where there is none
    found = minimize_scalar(chi2, bounds=(-0.5 * r.min(), 0.5 * r.min()), method="bounded", options={"xatol": 1e-6})
    a = float(found.x)
    h = 1e-4 * float(r.min())
    slope = (np.concatenate(rotne_prager(r, a + h)) - np.concatenate(rotne_prager(r, a - h))) / (2 * h)
    stderr = float(((slope / error) ** 2).sum() ** -0.5)
    along, across = rotne_prager(r, a)
    out = pd.DataFrame({"r": r, **{name: table[name] / own for name in (
        "along", "along_stderr", "across", "across_stderr")}, "along_expected": along, "across_expected": across})
    warnings = []
    if abs(a) > SIGNIFICANT * stderr:
        strength = 100 * float(rotne_prager(r[:1], a)[0][0])
        warnings.append(f"Neighbours move together: at r = {r[0]:.2g} µm by {strength:.0f} % of their own motion "
                        f"along the line of centres, as spheres of hydrodynamic radius {a:.2g} ± {stderr:.1g} µm do "
                        "through a solvent (or as a drift makes them). Models without this coupling have the right D "
                        "and forces, and their pairs move too independently.")
    return HydrodynamicCoupling(a, stderr, out, tuple(warnings))


def rotne_prager(r: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Coupling of two spheres along and across the line of centres, over their own mobility.

    >>> [round(float(v[0]), 4) for v in rotne_prager(np.array([10.0]), 1.0)]
    [0.149, 0.0755]
    """
    s = radius / r
    return 1.5 * s - s**3, 0.75 * s + 0.5 * s**3


def _correlated(tracks: Trajectories, r_max: float, r_min: float, bins: int, lags: tuple[int, ...],
                remove_drift: bool) -> tuple[pd.DataFrame, float]:
    """The table of `two_point`, and 2 D τ of a particle at the first lag along one axis [µm²]."""
    tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Correlated motion of pairs")
    if not 0 <= r_min < r_max < np.inf or bins < 1:
        raise ConfigError(f"r_min = {r_min:g}, r_max = {r_max:g} µm, bins = {bins}: give 0 <= r_min < r_max and a bin.")
    if not lags or any(int(lag) != lag or lag < 1 for lag in lags):
        raise ConfigError(f"lags = {lags!r}: give whole numbers of frames, 1 or more.")
    if tracks.dim < 2:
        raise DataError("Pairs along a line have no direction across it: two-point motion needs two dimensions.")
    edges = np.geomspace(r_min, r_max, bins + 1) if r_min > 0 else np.linspace(0, r_max, bins + 1)
    position, frame = unwrapped(tracks), tracks.frame.astype(np.int64)
    parts = []
    for lag in lags:
        i, j = tracks.lagged(int(lag))
        moved = np.full_like(position, np.nan)
        moved[i] = position[j] - position[i]
        first, second, r, along, across = _pairs(tracks, i, moved, r_max, remove_drift, frame)
        shell = np.digitize(r, edges) - 1
        for k in range(bins):
            here = shell == k
            if not here.any():
                continue
            found = moments(tracks, [Terms(first[here], np.stack([along[here], across[here]], axis=1),
                                           np.ones(int(here.sum())))], int(lag))
            other = moments(tracks, [Terms(second[here], np.stack([along[here], across[here]], axis=1),
                                           np.ones(int(here.sum())))], int(lag))
            error = np.maximum(found.stderr, other.stderr)         # a pair belongs to both of its particles
            parts.append({"lag_frames": int(lag), "lag": lag * tracks.units.dt, "r": float(r[here].mean()),
                          "along": found.mean[0], "along_stderr": error[0], "across": found.mean[1],
                          "across_stderr": error[1], "pairs": int(here.sum())})
    if not parts:
        raise DataError(f"No pair of linked particles is {r_min:g} to {r_max:g} µm apart.")
    own = _own(tracks, position, int(lags[0]))
    return pd.DataFrame(parts), own


def _pairs(tracks: Trajectories, i: np.ndarray, moved: np.ndarray, r_max: float, remove_drift: bool,
           frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of both particles of every pair that moves, distance, and product of displacements along and across."""
    order = i[np.argsort(frame[i], kind="stable")]
    cuts = np.flatnonzero(np.diff(frame[order])) + 1
    x = tracks.positions
    out: list[list[np.ndarray]] = [[], [], [], [], []]
    for rows in np.split(order, cuts) if len(order) else ():
        box = box_at(tracks, int(frame[rows[0]]))
        a, b = close_pairs(x[rows], box, r_max)
        if not len(a):
            continue
        step = moved[rows]
        own = 0.0
        if remove_drift and len(rows) > 2:
            step = step - step.mean(axis=0)
            # the mean takes 1/N of each particle's own motion into every product
            own = float((step**2).mean()) / (len(rows) - 1)
        line = box.displacement(x[rows][b], x[rows][a])
        r = np.linalg.norm(line, axis=1)
        unit = line / np.maximum(r, 1e-300)[:, None]
        u, v = (step[a] * unit).sum(axis=1), (step[b] * unit).sum(axis=1)
        across = ((step[a] * step[b]).sum(axis=1) - u * v) / (x.shape[1] - 1)
        for k, values in enumerate((rows[a], rows[b], r, u * v + own, across + own)):
            out[k].append(values)
    if not out[0]:
        none = np.empty(0)
        return none.astype(int), none.astype(int), none, none, none
    first, second, r, along, across = (np.concatenate(part) for part in out)
    return first.astype(int), second.astype(int), r, along, across


def _own(tracks: Trajectories, position: np.ndarray, lag: int) -> float:
    """2 D τ along one axis, from the covariances of successive displacements: noise and blur drop out."""
    i, j = tracks.lagged(lag)
    step = np.full_like(position, np.nan)
    step[i] = position[j] - position[i]
    both = np.isfinite(step[j]).all(axis=1)
    if not both.any():
        raise DataError("No particle is seen at three times, so its own motion cannot be told from noise.")
    return float((step[i] ** 2).mean() + 2 * (step[i][both] * step[j][both]).mean())
