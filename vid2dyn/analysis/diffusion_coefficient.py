"""Diffusion coefficient and localisation error from tracks, with error bars and warnings in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
import pandas as pd

from vid2dyn.analysis import diffusion_warnings as say
from vid2dyn.analysis import estimates
from vid2dyn.analysis.displacements import Displacements
from vid2dyn.analysis.estimates import Covariances, Estimate
from vid2dyn.analysis.result import Result, axes_or_new
from vid2dyn.core.errors import ConfigError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import BOLTZMANN, Units
from vid2dyn.data.wrapped import about_wrapped

_ENOUGH_PARTICLES = 10
_GATE = 3.0


@dataclass(frozen=True, eq=False)
class Diffusion(Result):
    """What `diffusion` found. Standard errors are one sigma.

    Parameters
    ----------
    D, D_stderr : float
        Diffusion coefficient, mean over the axes [µm²/s].
    localisation_error, localisation_error_stderr : float
        Standard error of one position along one axis [µm]; NaN where the recording cannot tell.
    D_per_axis, D_per_axis_stderr, localisation_error_per_axis : (dim,) arrays
        The same for each of `axes`.
    axes : tuple of str
        ("y", "x"[, "z"]).
    method : str
        "covariance" (lags 1-2), "extrapolated" (the MSD bends down: its slope carried back to lag 0), "slope"
        (correlated errors: the MSD where it is straight) or "beside flow" (particles that are carried along or swim:
        the covariances less what persists).
    lags : tuple of int
        Lags the value rests on [frames].
    covariances : Covariances
        Displacement covariances 0, 1 and 2 frames apart.
    blur : float or None
        Motion blur coefficient R; None if the exposure is unknown.
    viscosity, viscosity_stderr : float or None
        kT/(6 pi a D) [Pa·s] where temperature and particle radius are known.
    n_displacements, n_tracks : int
        How much data.
    drift_removed : bool
        Whether the common motion was taken out.
    warnings : list of str
        What to know before quoting the numbers.
    """

    D: float
    D_stderr: float
    localisation_error: float
    localisation_error_stderr: float
    D_per_axis: np.ndarray
    D_per_axis_stderr: np.ndarray
    localisation_error_per_axis: np.ndarray
    axes: tuple[str, ...]
    method: str
    lags: tuple[int, ...]
    covariances: Covariances
    blur: float | None
    viscosity: float | None
    viscosity_stderr: float | None
    n_displacements: int
    n_tracks: int
    drift_removed: bool
    warnings: list[str] = field(default_factory=list)  # type: ignore[assignment]

    @property
    def dataframe(self) -> pd.DataFrame:  # type: ignore[override]
        """A row for the mean over the axes and for each axis: `axis`, `D`, `D_stderr` [µm²/s], `localisation_error`
        [µm]."""
        return pd.DataFrame({"axis": ["mean", *self.axes], "D": [self.D, *self.D_per_axis],
                             "D_stderr": [self.D_stderr, *self.D_per_axis_stderr],
                             "localisation_error": [self.localisation_error, *self.localisation_error_per_axis]})

    def plot(self, ax: Any = None) -> Any:
        """Covariances of displacements that the numbers rest on, with 95 % errors: beyond lag 1 they are zero for free
        diffusion."""
        ax, found = axes_or_new(ax), self.covariances
        ax.errorbar(found.lag, found.value, yerr=1.96 * found.stderr, fmt="o", ms=4)
        ax.axhline(0.0, lw=0.8, color="0.6")
        ax.set(xlabel="displacements apart (frames)", ylabel="covariance of displacements (µm²)",
               title=f"D = {self.D:.3g} ± {self.D_stderr:.1g} µm²/s")
        return ax

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON; NaN becomes None."""
        table: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Covariances):
                table[name] = {"lag": value.lag.tolist(), "value": value.value.tolist(),
                               "stderr": value.stderr.tolist()}
            elif isinstance(value, np.ndarray):
                table[name] = [None if np.isnan(v) else float(v) for v in value]
            elif isinstance(value, float):
                table[name] = None if np.isnan(value) else value
            else:
                table[name] = list(value) if isinstance(value, tuple) else value
        return table

    def __str__(self) -> str:
        lines = [f"D = {self.D:.4g} ± {self.D_stderr:.2g} µm²/s  ({self.method}, lags {self.lags[0]}-{self.lags[-1]} "
                 f"frames, {self.n_displacements} displacements of {self.n_tracks} tracks, common drift "
                 f"{'removed' if self.drift_removed else 'kept'})"]
        axes = zip(self.axes, self.D_per_axis, self.D_per_axis_stderr)
        lines.append("    " + ", ".join(f"{axis}: {D:.4g} ± {stderr:.2g}" for axis, D, stderr in axes))
        if np.isnan(self.localisation_error):
            lines.append("localisation error: not known from this recording")
        else:
            lines.append(f"localisation error = {self.localisation_error:.3g} ± "
                         f"{self.localisation_error_stderr:.2g} µm per axis")
        if self.viscosity is not None:
            lines.append(f"viscosity = {self.viscosity:.4g} ± {self.viscosity_stderr:.2g} Pa·s (Stokes-Einstein)")
        return "\n".join(lines + [f"! {warning}" for warning in self.warnings])


def diffusion(tracks: Trajectories, *, drift: Literal["remove", "keep"] = "remove",
              longest_lag: int = 20) -> Diffusion:
    """Diffusion coefficient and localisation error of tracked particles.

    The covariance-based estimator of Vestergaard, Blainey and Flyvbjerg, Phys. Rev. E 89, 022726 (2014),
    eqs. 14-15, on displacements d_n of all particles,

        D = <d_n²>/(2 dt) + <d_n d_{n+1}>/dt,      s² = R <d_n²> + (2R - 1) <d_n d_{n+1}>,      R = t_E/(6 dt).

    It holds for white localisation errors and free diffusion, and both are tested: displacements two frames apart
    must be uncorrelated. If their covariance is beyond 3 standard errors, the lag-1 values are not used. Positive,
    and still so at the longest lags (in a recording not known to be inter-coded): the particles are carried along or
    swim, and what persists is subtracted from the covariances. Positive else: the errors are correlated (video
    compression, vibration), and D is the slope of the MSD over the first lags
    where it is straight. Negative: forces bend the MSD (trap, crowding, repulsion), and D is its slope carried
    back to lag 0. Slowly varying errors look the same, so in a video known to be inter-coded the straight part is
    taken here too, and also where only the slope at long lags, or a negative s², speaks against the covariance
    estimate by 3 standard errors. The warnings say so, with the other value.

    Parameters
    ----------
    tracks : Trajectories
        Linked particles with frame rate and length per pixel; the exposure makes the localisation error right
        (D is right without it), temperature and particle radius add the viscosity.
    drift : {"remove", "keep"}
        Take out the mean displacement of each frame interval, correcting for the 1/N of each particle's motion that
        goes with it. With a median below 10 particles a frame nothing is taken out, and a mean flow is reported
        (unless the tracks had their drift taken out before).
    longest_lag : int
        Longest lag of the MSD looked at [frames]; at most a quarter of the recording is used.

    Returns
    -------
    Diffusion
        Standard errors from clusters of particles and blocks of frames, never below those of free diffusion.

    Raises
    ------
    UnitsError
        Without frame rate or length per pixel.
    DataError
        If no particle is seen in three consecutive frames, or none moves at all.

    Examples
    --------
    >>> from vid2dyn import Trajectories, Units
    >>> rng = np.random.default_rng(3)
    >>> paths = rng.normal(0, np.sqrt(2 * 0.5 * 0.01), (300, 40, 2)).cumsum(axis=0)     # D = 0.5 µm²/s
    >>> seen = paths + rng.normal(0, 0.05, paths.shape)                                 # s = 0.05 µm
    >>> found = diffusion(Trajectories.from_dense(seen, Units(0.1, 100.0, exposure=0.0)))
    >>> abs(found.D - 0.5) < 4 * found.D_stderr, abs(found.localisation_error - 0.05) < 0.005, found.warnings
    (True, True, [])
    """
    if drift not in ("remove", "keep"):
        raise ConfigError(f"drift = {drift!r}; choose \"remove\" or \"keep\".")
    tracks.units.require("frames_per_second", "micrometre_per_pixel", for_what="A diffusion coefficient")
    dt = tracks.units.dt
    tracks, still = moving_axes(tracks)
    dim = tracks.dim
    displacements, removed = _displacements(tracks, drift)
    say.need_motion(displacements)
    found = displacements.covariances()
    say.need_three_frames(found)
    gate = Covariances(np.arange(3), *np.array([estimates.combined(found, row, dim) for row in np.eye(3)])[:, :, -1].T)
    longest = min(longest_lag, tracks.n_frames // 4)
    estimate, notes = _estimate(displacements, found, gate, longest)
    notes = [*about_wrapped(tracks.dataframe, tracks.units, tracks.box), *still, *notes,
             *say.about_data(tracks, displacements, estimate, removed),
             *say.about_particles(displacements, estimate, gate), *say.about_jumps(displacements),
             *say.about_gaps(tracks, displacements),
             *say.about_calibration(tracks, estimate)]
    notes += say.about_noise(tracks, estimate, gate)
    return _result(tracks, displacements, estimate, gate, removed, notes, dt)


def _displacements(tracks: Trajectories, drift: str) -> tuple[Displacements, bool]:
    kept = Displacements.of(tracks, remove=False)
    _, first = np.unique(tracks.frame[kept.rows], return_index=True)
    typical = float(np.median(kept.number[first]))
    # Tracks whose drift was taken out already have lost 1/N of their motion, however few they are.
    enough = typical >= _ENOUGH_PARTICLES or (tracks.drift is not None and typical >= 2)
    if drift == "remove" and enough:
        return Displacements.of(tracks, remove=True), True
    return kept, False


def _estimate(displacements: Displacements, found: Any, gate: Covariances,
              longest: int) -> tuple[Estimate, list[str]]:
    """The estimate that the lag-2 covariance allows, and what to say about it."""
    units = displacements.tracks.units
    dim, dt = displacements.tracks.dim, units.dt
    first = estimates.covariance(found, dim, dt, units.blur)
    coded = bool(displacements.tracks.info.get("inter_coded"))
    if not np.isfinite(gate.value[2]):
        return first, say.about_short_tracks()
    z = gate.value[2] / gate.stderr[2]
    symptom = say.covariance_symptom(gate)
    if abs(z) <= _GATE:
        bend = estimates.long_lag_change(displacements, dt, longest)
        symptom = say.inter_coded_symptom(displacements.tracks, first, bend, _GATE) if coded else ""
        if not symptom:
            return first, say.about_bending(bend)
    if z > 0 and not coded and _carried(displacements, longest):
        return (estimate := estimates.beside_flow(found, dim, dt, units.blur)), say.about_carried(first, estimate, gate)
    coarse = estimates.flat_slope(displacements, dt, longest)
    if z > 0 or coded:
        return coarse, say.about_correlated_errors(displacements.tracks, first, coarse, gate, symptom)
    estimate = estimates.extrapolated(found, dim, dt, units.blur)
    return estimate, say.about_forces(first, coarse, gate)


def _carried(displacements: Displacements, longest: int) -> bool:
    """Whether the motion keeps its direction for long: flow, drift, rotation, swimming."""
    value, stderr = estimates.persistence(displacements, max(longest, 6))
    return value > _GATE * stderr


def moving_axes(tracks: Trajectories) -> tuple[Trajectories, list[str]]:
    """The tracks without axes along which no particle ever moves, and a word about them.

    Such an axis (a depth that numbers planes, the place along a channel that was not measured) has no part in the mean.
    """
    if tracks.box.lengths is not None or tracks.dim == 1 or len(tracks) < 2:
        return tracks, []
    i, j = tracks.lagged(1)
    moved = np.array([(tracks.dataframe[axis].to_numpy()[i] != tracks.dataframe[axis].to_numpy()[j]).any()
                      for axis in tracks.axes])
    if moved.all() or not moved.any() or len(i) < 2:
        return tracks, []
    still = [axis for axis, moves in zip(tracks.axes, moved) if not moves]
    table = tracks.dataframe.drop(columns=[name for axis in still for name in (axis, f"{axis}_std", f"v{axis}")
                                           if name in tracks.dataframe])
    return tracks.replace(dataframe=table, drift=None), [
        f"No particle ever moves along {' and '.join(still)}: that is no free motion, D is the mean over the other "
        "axes."]


def _result(tracks: Trajectories, displacements: Displacements, estimate: Estimate, gate: Covariances, removed: bool,
            notes: list[str], dt: float) -> Diffusion:
    error, error_stderr = _root(estimate.noise, estimate.noise_stderr)
    D, D_stderr = float(estimate.D[-1]), float(estimate.D_stderr[-1])
    viscosity = _viscosity(tracks.units, D)
    return Diffusion(
        D, D_stderr, float(error[-1]), float(error_stderr[-1]), estimate.D[:-1], estimate.D_stderr[:-1], error[:-1],
        tracks.axes, estimate.method, estimate.lags, gate,
        None if tracks.units.exposure is None else tracks.units.blur,
        viscosity, None if viscosity is None else viscosity * D_stderr / D,
        len(displacements.rows), int(np.unique(tracks.particle[displacements.rows]).size), removed, notes)


def _root(variance: np.ndarray, stderr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation from a variance that may be negative by chance; its upper error stays honest at 0."""
    value = np.sqrt(np.maximum(variance, 0.0))
    value = np.where(variance < -_GATE * stderr, np.nan, value)
    return np.where(np.isnan(variance), np.nan, value), np.sqrt(value**2 + stderr) - value


def _viscosity(units: Units, D: float) -> float | None:
    """Stokes-Einstein: pN·µm / (µm · µm²/s) = Pa·s."""
    if units.temperature is None or units.particle_radius is None or D <= 0:
        return None
    return BOLTZMANN * units.temperature / (6 * np.pi * units.particle_radius * D)
