"""Data beside rollout: RDF, MSD and VACF of both on common grids, with error bars."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from vid2dyn.analysis.mean_squared_displacement import msd
from vid2dyn.analysis.radial_distribution import rdf
from vid2dyn.analysis.velocity_correlation import vacf
from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity of both sides on one grid.

    Parameters
    ----------
    name, x_label, y_label : str
        What it is, with units.
    x : (n,) array
        The common grid.
    a, a_stderr, b, b_stderr : (n,) arrays
        Both sides with standard errors.
    """

    name: str
    x_label: str
    y_label: str
    x: np.ndarray
    a: np.ndarray
    a_stderr: np.ndarray
    b: np.ndarray
    b_stderr: np.ndarray

    @property
    def relative_rmse(self) -> float:
        """rms(b - a)/rms(a); NaN where a is zero throughout, as g(r) of a few particles is."""
        return _over(_rms(self.b - self.a), _rms(self.a))

    @property
    def relative_rmse_of_noise(self) -> float:
        """What `relative_rmse` is from the standard errors alone, if both sides are the same process."""
        return _over(_rms(np.hypot(self.a_stderr, self.b_stderr)), _rms(self.a))

    @property
    def z(self) -> np.ndarray:
        """(n,) differences over their standard errors."""
        with np.errstate(divide="ignore", invalid="ignore"):          # nothing was seen on either side: not known
            return (self.b - self.a) / np.hypot(self.a_stderr, self.b_stderr)

    @property
    def chi2(self) -> float:
        """Mean z²: about 1 for the same process. Neighbouring points are correlated, so its scatter is wide."""
        z = self.z[np.isfinite(self.z)]
        return float(np.mean(z**2)) if z.size else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON; NaN becomes None."""
        table: dict[str, Any] = {"name": self.name, "x_label": self.x_label, "y_label": self.y_label}
        for key in ("x", "a", "a_stderr", "b", "b_stderr"):
            table[key] = [None if not np.isfinite(v) else float(v) for v in getattr(self, key)]
        for key in ("relative_rmse", "relative_rmse_of_noise", "chi2"):
            value = getattr(self, key)
            table[key] = value if np.isfinite(value) else None
        return table


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found. `rdf` or `vacf` is None where it cannot be had; `notes` says why."""

    rdf: Curve | None
    msd: Curve
    vacf: Curve | None
    notes: tuple[str, ...] = ()

    @property
    def curves(self) -> tuple[Curve, ...]:
        """Those that are there."""
        return tuple(curve for curve in (self.rdf, self.msd, self.vacf) if curve is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        table: dict[str, Any] = {key: None if curve is None else curve.to_dict()
                                 for key, curve in (("rdf", self.rdf), ("msd", self.msd), ("vacf", self.vacf))}
        return {**table, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [f"{'':6} {'points':>6} {'relative RMSE':>14} {'of noise alone':>15} {'mean z²':>9} "
                 f"{'largest |z|':>12}"]
        for curve in self.curves:
            z = np.abs(curve.z[np.isfinite(curve.z)])
            lines.append(f"{curve.name:6} {curve.x.size:6d} {curve.relative_rmse:14.3f} "
                         f"{curve.relative_rmse_of_noise:15.3f} {curve.chi2:9.2f} "
                         f"{z.max() if z.size else np.nan:12.1f}")
        return "\n".join(lines + [f"! {note}" for note in self.notes])


def compare(a: Trajectories, b: Trajectories, *, r_max: float | None = None, bins: int = 50,
            max_lag: int | None = None) -> Comparison:
    """RDF, MSD and VACF of data `a` and rollout `b`, in µm and s on common grids, with relative RMSE.

    Parameters
    ----------
    a, b : Trajectories
        The reference, and what is judged. Both see the same camera: if only `a` has a field of view and space is
        unbounded, g(r) of `b` is taken from its particles inside that field. For a recording apply blur and
        localisation noise to the rollout first: both sides are compared as they are.
    r_max : float, optional
        Largest distance of g(r) [µm]; by default what the smaller of both regions allows.
    bins : int
        Shells of g(r).
    max_lag : int, optional
        Longest lag of MSD and VACF [frames of a]; by default a quarter of the shorter recording, at most 100
        (VACF: at most 20).

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If the two have different numbers of axes or no lag in common.
    UnitsError
        Without frame rate or length per pixel.

    Examples
    --------
    >>> from vid2dyn import Periodic, Trajectories, Units
    >>> rng = np.random.default_rng(0)
    >>> def gas():
    ...     paths = rng.uniform(0, 10, (1, 50, 2)) + rng.normal(0, 0.1, (100, 50, 2)).cumsum(axis=0)
    ...     return Trajectories.from_dense(paths, Units(0.1, 10.0), box=Periodic((10.0, 10.0)))
    >>> compare(gas(), gas(), bins=10).msd.relative_rmse < 0.2
    True
    """
    if a.dim != b.dim:
        raise DataError(f"compare: a has {a.dim} axes, b has {b.dim}; compare a projection of one with the other.")
    a, b = a.linked(), b.linked()
    for name, side in (("a", a), ("b", b)):
        if not len(side):
            raise DataError(f"compare: {name} has no linked tracks (column 'particle' is absent or -1 everywhere).")
    notes: list[str] = []
    g = _rdf(a, b, r_max, bins, notes)
    thin_a, thin_b = _same_clock(a, b, notes)
    frames = min(thin_a.n_frames, thin_b.n_frames)
    step = a.units.dt / thin_a.units.dt
    longest = max(1, min(100, frames // 4)) if max_lag is None else max(1, round(max_lag * step))
    longest = min(longest, frames - 1)
    if longest < 1:
        raise DataError("compare: one of the two has a single frame at the common frame interval "
                        f"({thin_a.units.dt:g} s), so there is no lag to compare at.")
    ma, mb = msd(thin_a, longest), msd(thin_b, longest)
    squares = _curve("MSD", "lag [s]", "MSD [µm²]", ma.lag, ma, mb)
    velocity = None
    if np.isclose(thin_a.units.dt, thin_b.units.dt, rtol=1e-6):
        # thermal velocities are compared only with thermal velocities
        recorded = thin_a.velocities is not None and thin_b.velocities is not None
        va, vb = (vacf(side, min(longest, 20, frames - 2), recorded=recorded) for side in (thin_a, thin_b))
        velocity = _curve("VACF", "lag [s]", "VACF [µm²/s²]", va.lag, va, vb)
    return Comparison(g, squares, velocity, tuple(notes))


def _rdf(a: Trajectories, b: Trajectories, r_max: float | None, bins: int, notes: list[str]) -> Curve | None:
    if b.field_of_view is None and b.box.lengths is None and len(a.field_of_view or ()) == a.dim:
        b = _seen_by(a, b)
    try:
        if r_max is None:
            r_max = min(rdf(a, bins=1).edges[-1], rdf(b, bins=1).edges[-1])
        ga, gb = rdf(a, r_max, bins), rdf(b, r_max, bins)
    except DataError as error:
        notes.append(f"No RDF: {error}")
        return None
    return _curve("RDF", "r [µm]", "g(r)", ga.r, ga, gb)


def _seen_by(a: Trajectories, b: Trajectories) -> Trajectories:
    """`b` as the camera of `a` sees it: its detections inside that field of view (less the margin `a` leaves empty)."""
    position, limit = b.positions, a.positions
    inside = ((position >= limit.min(axis=0)) & (position <= limit.max(axis=0))).all(axis=1)
    assert a.field_of_view is not None
    scale = a.units.um / b.units.um
    if a.region is not None:
        inside &= a.region.contains(*(position[:, :2] / a.units.um).T)
    return b.rows(inside).replace(field_of_view=tuple(edge * scale for edge in a.field_of_view),
                                  region=None if a.region is None else a.region.zoomed(scale))


def _same_clock(a: Trajectories, b: Trajectories, notes: list[str]) -> tuple[Trajectories, Trajectories]:
    """Both with the same frame interval: frames of either dropped where the ratio of rates is a small fraction."""
    ratio = b.units.dt / a.units.dt
    share = Fraction(ratio).limit_denominator(20)
    if share == 0 or abs(float(share) / ratio - 1) > 1e-6:
        raise DataError(f"compare: frame intervals {a.units.dt:g} s and {b.units.dt:g} s have no common multiple "
                        "within 20 frames; roll out with the interval of the data.")
    if share != 1:
        notes.append(f"The frame intervals differ ({a.units.dt:g} and {b.units.dt:g} s): both are compared every "
                     f"{a.units.dt * share.numerator:g} s.")
    return _every(a, share.numerator), _every(b, share.denominator)


def _every(tracks: Trajectories, step: int) -> Trajectories:
    if step == 1:
        return tracks
    kept = tracks.rows(tracks.frame % step == 0)
    table = kept.dataframe.assign(frame=kept.frame // step)
    rate = tracks.units.frames_per_second
    assert rate is not None
    return kept.replace(dataframe=table).with_units(frames_per_second=rate / step)


def _curve(name: str, x_label: str, y_label: str, x: np.ndarray, a: Any, b: Any) -> Curve:
    good = np.isfinite(a.value) & np.isfinite(b.value)
    return Curve(name, x_label, y_label, x[good], a.value[good], a.stderr[good], b.value[good], b.stderr[good])


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float("nan")


def _over(a: float, b: float) -> float:
    """a / b, NaN where b is zero or not known."""
    return float(a) / float(b) if b > 0 else float("nan")
