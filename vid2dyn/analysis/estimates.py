"""Three ways from displacement moments to D: covariances, extrapolation of a bending MSD, slope of a flat one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.analysis.displacements import Displacements, gaussian_variance
from vid2dyn.analysis.moments import DisplacementMoments

WINDOW = 5
"""Lags in one straight-line fit of the MSD."""
_PER_TRACK, _JUMP = 20, 25.0
"""Displacements that tell what a particle usually does, and how often its median square makes a jump."""
_PER_PARTICLE, _PARTICLES = 10, 8
"""Displacements that tell how a particle moves, and particles that tell whether they differ."""


@dataclass(frozen=True, eq=False)
class Covariances:
    """Covariances of displacements `lag` frames apart, mean over the axes: value and stderr [µm²].

    Free diffusion with white localisation error s and blur R has 2 D dt (1 - 2R) + 2 s², 2 R D dt - s², 0.
    """

    lag: np.ndarray
    value: np.ndarray
    stderr: np.ndarray


@dataclass(frozen=True, eq=False)
class Estimate:
    """D and the noise variance per axis and pooled (last entry), with standard errors.

    `D`, `D_stderr` in µm²/s and `noise`, `noise_stderr` (variance) in µm² have shape (dim + 1,);
    `lags` are the frames used, `flat` says whether the slope was the same over all of them.
    """

    method: str
    D: np.ndarray
    D_stderr: np.ndarray
    noise: np.ndarray
    noise_stderr: np.ndarray
    lags: tuple[int, ...]
    flat: bool = True


def per_axis(weights: np.ndarray, dim: int) -> np.ndarray:
    """(dim + 1, m * dim) rows that apply `weights` over m moments to each axis, and to their mean."""
    one = np.stack([np.kron(weights, np.eye(dim)[axis]) for axis in range(dim)])
    return np.vstack([one, one.mean(axis=0)])


def combined(found: DisplacementMoments, weights: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Value and standard error of `weights` over the covariances at lag 0, 1, 2, per axis and pooled.

    The error is never below that of independent Gaussian tracks: clusters alone are too few to tell in a short
    recording.
    """
    value, stderr = found.combine(per_axis(weights, dim))
    c0, c1 = found.mean[:dim], found.mean[dim:2 * dim]
    floor = np.array([gaussian_variance(weights, c0[a], c1[a], found.count[0]) for a in range(dim)])
    floor = np.sqrt(np.append(floor, floor.sum() / dim**2))
    return value, np.where(np.isfinite(stderr), np.fmax(stderr, floor), floor)


def covariance(found: DisplacementMoments, dim: int, dt: float, blur: float) -> Estimate:
    """Covariance-based estimate (Vestergaard 2014, eqs. 14-15): unbiased in D for any blur."""
    D, D_stderr = combined(found, np.array([0.5, 1.0, 0.0]) / dt, dim)
    noise, noise_stderr = combined(found, np.array([blur, 2 * blur - 1, 0.0]), dim)
    return Estimate("covariance", D, D_stderr, noise, noise_stderr, (1, 2))


def extrapolated(found: DisplacementMoments, dim: int, dt: float, blur: float) -> Estimate:
    """Slope of the MSD carried back to lag 0, where forces have not acted yet.

    The slope between lags 1 and 2, c0/2 + c1, belongs to lag 3/2, the next, c0/2 + c1 + c2, to lag 5/2; white noise
    is in neither. Their ratio q is exp(-k dt) in a trap of rate k, so the slope at lag 0 is the first over q^(3/2),
    exactly; the covariance estimate is low by 3/2 k dt there. The noise is what MSD(1) has beyond the integral of
    that slope. Errors to first order.
    """
    value, stderr = np.empty((2, dim + 1)), np.empty((2, dim + 1))
    for axis in range(dim + 1):
        c = found.mean.reshape(-1, dim)
        c = c.mean(axis=1) if axis == dim else c[:, axis]
        value[:, axis] = _trap(c, dt, blur)
        nudge = 1e-4 * c[0] * np.eye(3)
        gradient = np.array([(_trap(c + h, dt, blur) - _trap(c - h, dt, blur)) / (2 * h.sum()) for h in nudge])
        for quantity in range(2):
            stderr[quantity, axis] = combined(found, gradient[:, quantity], dim)[1][axis]
    return Estimate("extrapolated", value[0], stderr[0], value[1], stderr[1], (1, 2, 3))


def beside_flow(found: DisplacementMoments, dim: int, dt: float, blur: float) -> Estimate:
    """Covariance-based estimate of particles that are carried along: what persists is taken out first.

    A velocity v that lasts many frames adds (v dt)² to every covariance, also to that two frames apart, where free
    diffusion and white noise have none: it is subtracted from the other two. A swimmer that turns at the rate k keeps
    (v dt)² (1 - exp(-2 k dt)) / dt of it, and less the faster the recording.
    """
    D, D_stderr = combined(found, np.array([0.5, 1.0, -1.5]) / dt, dim)
    noise, noise_stderr = combined(found, np.array([blur, 2 * blur - 1, 1 - 3 * blur]), dim)
    return Estimate("beside flow", D, D_stderr, noise, noise_stderr, (1, 3))


def persistence(displacements: Displacements, longest: int) -> tuple[float, float]:
    """Mean covariance of displacements `longest` / 2 to `longest` frames apart, with its standard error [µm²].

    Neither diffusion nor errors that are correlated over some frames reach so far; flow and swimming do.
    """
    dim = displacements.tracks.dim
    lags = [int(lag) for lag in range(max(longest // 2, 3), longest + 1)]
    found = displacements.covariances(lags)
    if not np.isfinite(found.mean).all():
        return 0.0, np.inf
    (value,), (stderr,) = found.combine(np.full(len(lags) * dim, 1.0 / (len(lags) * dim)))
    return float(value), float(stderr)


@dataclass(frozen=True, eq=False)
class Spread:
    """How much particles differ, beyond chance.

    Parameters
    ----------
    relative : float
        Standard deviation of D between particles over its mean, chance taken out.
    sigmas : float
        How far the spread is beyond chance, in standard deviations of what chance gives.
    slow, particles : int
        Particles that move less than a tenth of the mean, and all that were looked at.
    """

    relative: float
    sigmas: float
    slow: int
    particles: int


def spread_of_particles(displacements: Displacements, c0: float, c1: float) -> Spread | None:
    """Whether mean squared displacements differ from particle to particle more than chance allows; None with few.

    Of n displacements of a free particle the mean square has the variance (2 c0² + 4 c1²) / n per axis (Isserlis). The
    sum over particles of squared deviations over that has the mean N and about the variance 2 N + 12 sum 1/n_eff.
    """
    particle = displacements.tracks.particle[displacements.rows]
    _, index, n = np.unique(particle, return_inverse=True, return_counts=True)
    dim = displacements.value.shape[1]
    enough = n >= _PER_PARTICLE
    if enough.sum() < _PARTICLES or not c0 > 0:
        return None
    share = 1 - 1 / displacements.number if displacements.remove else np.ones(len(particle))
    square = (displacements.value**2).mean(axis=1) / np.maximum(share, 0.5)
    mean = np.bincount(index, square)[enough] / n[enough]
    variance = (2 * c0**2 + 4 * c1**2) / (n[enough] * dim)
    typical = float(mean.mean())
    score = float((((mean - typical) ** 2) / variance).sum()) - (len(mean) - 1)
    chance = float(np.sqrt(2 * len(mean) + 12 * (1 / (n[enough] * dim)).sum()))
    extra = float(mean.var(ddof=1) - variance.mean())
    return Spread(float(np.sqrt(max(extra, 0.0))) / typical, score / chance, int((mean < 0.1 * typical).sum()),
    len(mean))


def jumps_in_tracks(displacements: Displacements) -> tuple[int, float]:
    """Displacements far beyond what their own particle usually does, and their part of the sum of squares.

    Measured against the median square of each particle, so that fast and slow particles are no jumps. A Gaussian in the
    plane exceeds 25 medians once in 3·10^7.
    """
    particle = displacements.tracks.particle[displacements.rows]
    square = (displacements.value**2).sum(axis=1)
    order = np.lexsort((square, particle))
    _, first, n = np.unique(particle[order], return_index=True, return_counts=True)
    median = np.repeat(square[order][first + n // 2], n)
    far = (square[order] > _JUMP * median) & (np.repeat(n, n) >= _PER_TRACK) & (median > 0)
    return int(far.sum()), float(square[order][far].sum()) / max(float(square.sum()), 1e-300)


def _trap(c: np.ndarray, dt: float, blur: float) -> np.ndarray:
    """D and noise variance of a trapped particle whose displacements have covariances c0, c1, c2."""
    first, second = c[0] / 2 + c[1], c[0] / 2 + c[1] + c[2]
    # A slope that falls by more than 3 a frame is mostly noise: carried back no further.
    q = max(second / first, 1 / 3) if first > 0 else 1.0
    start = first * q**-1.5
    reached = start * ((1 - q) / -np.log(q) if abs(1 - q) > 1e-9 else 1.0)
    return np.array([start / dt, c[0] / 2 - reached + 2 * blur * start])


def slope_weights(lags: np.ndarray, window: np.ndarray, dt: float) -> np.ndarray:
    """Least-squares slope/2 of squared displacements over `window`, as weights on (c0, c1, msd at `lags`)."""
    inside = np.isin(lags, window)
    centred = np.where(inside, lags - window.mean(), 0.0)
    return np.append([0.0, 0.0], centred / (centred**2).sum() / (2 * dt))


def flat_slope(displacements: Displacements, dt: float, longest: int) -> Estimate:
    """Slope of the MSD over the first window of lags in which it does not change.

    Windows start at lag 3, beyond what correlated noise is known to reach. The slope over the first half of a
    window is compared with the second: accepted within two standard errors and 10 %. Half the difference is added
    to the error in quadrature. If no window is flat, the last one is given, with `flat` False.
    """
    dim = displacements.tracks.dim
    lags = np.arange(1, max(longest, WINDOW) + 1)
    found = displacements.mean_squares([int(lag) for lag in lags])
    flat = False
    for start in range(min(3, int(lags[-1]) - WINDOW + 1), int(lags[-1]) - WINDOW + 2):
        window = np.arange(start, start + WINDOW)
        half = WINDOW // 2 + 1
        bend = slope_weights(lags, window[-half:], dt) - slope_weights(lags, window[:half], dt)
        change, change_stderr = found.combine(per_axis(bend, dim))
        D, D_stderr = found.combine(per_axis(slope_weights(lags, window, dt), dim))
        flat = bool(abs(change[-1]) <= min(2 * change_stderr[-1], 0.1 * abs(D[-1])))
        if flat:
            break
    unknown = np.full(dim + 1, np.nan)
    return Estimate("slope", D, np.hypot(D_stderr, change / 2), unknown, unknown,
                    tuple(int(k) for k in window), flat)


@dataclass(frozen=True)
class Bend:
    """Slope of the MSD over lags `low` to `high` over the covariance estimate, less 1, with its error."""

    change: float
    stderr: float
    low: int
    high: int


def long_lag_change(displacements: Displacements, dt: float, longest: int) -> Bend | None:
    """Whether the MSD bends between lags 1-2 and the upper half of 1 .. `longest`; None if that is too short."""
    if longest < WINDOW + 1:
        return None
    dim = displacements.tracks.dim
    lags = np.arange(1, longest + 1)
    found = displacements.mean_squares([int(lag) for lag in lags])
    window = lags[longest // 2:]
    long = slope_weights(lags, window, dt)
    short = np.append([0.5 / dt, 1.0 / dt], np.zeros(longest))
    (reference,), _ = found.combine(per_axis(short, dim)[-1])
    (change,), (stderr,) = found.combine(per_axis(long - short, dim)[-1])
    if reference <= 0:
        return None
    return Bend(float(change / reference), float(stderr / reference), int(window[0]), int(window[-1]))
