"""Harmonic traps: the exact likelihood of blurred, noisy Ornstein-Uhlenbeck tracks with unknown centres.

Per axis, with rate λ = k D, stationary variance S = 1/k [kT = 1] and a = exp(-λ dt), positions averaged over an
exposure t_E have autocovariances (S exp(-λ|t|) integrated twice over the exposure)

    γ_0 = 2 S (x - 1 + e^-x)/x²,     γ_n = S [sinh(x/2)/(x/2)]² aⁿ  (n >= 1),     x = λ t_E,

plus the localisation variance Λ at lag 0. The first position and the residuals r_k = Y_{k+1} - a Y_k have a tridiagonal
covariance (γ_{n+1} = a γ_n beyond lag 1), so the likelihood is O(T).

The centre is integrated out with a flat prior (restricted likelihood). Putting in the mean of a short track instead
makes k too large, by 15 % on tracks of a few relaxation times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy.optimize import minimize

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.recordings_alone import (
    BLOCKS,
    TIMES,
    Compared,
    RecordingsAlone,
    shared_stderr,
)
from vid2dyn.fitting.brownian.shared_maximum import Loss, shared_maximum


@dataclass(frozen=True, eq=False)
class TrapFit:
    """k [kT/µm²], D [µm²/s], noise scale, their covariance (3, 3), and centres (1 or tracks, dim) [µm]."""

    stiffness: float
    diffusion: float
    noise_scale: float
    covariance: np.ndarray
    centres: np.ndarray


def fit_traps(recording: Recording, *, shared: bool, noise_scale: float | None, stationary: bool) -> TrapFit:
    """Maximum restricted likelihood of (k, D, noise).

    Parameters
    ----------
    shared : bool
        One centre for all tracks, or one each.
    noise_scale : float or None
        Known noise scale, or None to estimate it.
    stationary : bool
        Whether first positions are distributed as in equilibrium (they then count as data).

    Raises
    ------
    ModelError
        When particles spread without bound: no trap is visible.
    """
    data = TrappedTracks.of(recording, shared, stationary)
    start, spread = data.start(free_diffusion(recording, noise_scale), noise_scale)

    def unpack(q: np.ndarray) -> tuple[float, float, float]:
        noise = noise_scale if noise_scale is not None else math.exp(q[2])
        return math.exp(q[0]), math.exp(q[1]), noise

    def objective(q: np.ndarray) -> float:
        return data.loss(*unpack(np.clip(q, -60, 60)), spread)

    best = min((minimize(objective, start + shift, method="Nelder-Mead",
                         options={"xatol": 1e-5, "fatol": 1e-5, "maxiter": 2000})
                for shift in (np.zeros(len(start)), np.array([0.3, 0.3, -2.0])[: len(start)])), key=lambda f: f.fun)
    k, D, noise = unpack(best.x)
    if k * spread < 1e-3:
        raise ModelError("The particles spread as if they were free: no trap shows in these tracks. "
                         "Fit without a trap, or film for longer.")
    covariance = np.zeros((3, 3))
    scale = np.array([k, D, noise])[: len(start)]
    covariance[: len(start), : len(start)] = np.linalg.pinv(_hessian(objective, best.x)) * np.outer(scale, scale)
    return TrapFit(k, D, noise, covariance, data.centres(k, D, noise))


def fit_shared_traps(recordings: Sequence[Recording], *, shared: bool, noise_scale: float | None,
                     stationary: bool) -> tuple[list[TrapFit], RecordingsAlone]:
    """One stiffness and one D of several recordings, each with its own noise and centres, and what each says alone.

    The sum of the restricted likelihoods is maximised, from the weighted mean of what the recordings say alone.
    """
    alone = [fit_traps(one, shared=shared, noise_scale=noise_scale, stationary=stationary) for one in recordings]
    data = [TrappedTracks.of(one, shared, stationary) for one in recordings]
    spreads = [one.start(FreeDiffusion(fit.diffusion, fit.noise_scale), noise_scale)[1]
               for one, fit in zip(data, alone)]

    def loss_of(r: int) -> Loss:
        def loss(both: np.ndarray, mine: np.ndarray) -> float:
            noise = noise_scale if noise_scale is not None else math.exp(min(float(mine[0]), 60.0))
            k, D = np.exp(np.clip(both, -60, 60)).tolist()
            return data[r].loss(k, D, noise, spreads[r])
        return loss

    known = np.array([[np.log(fit.stiffness), np.log(fit.diffusion)] for fit in alone])
    errors = np.array([np.sqrt(np.diag(fit.covariance)[:2]) / [fit.stiffness, fit.diffusion] for fit in alone])
    weight = 1 / np.maximum(errors, 1e-6) ** 2
    mine = [np.array([] if noise_scale is not None else [math.log(fit.noise_scale)]) for fit in alone]
    found = shared_maximum([loss_of(r) for r in range(len(data))], (weight * known).sum(axis=0) / weight.sum(axis=0),
                           mine, np.full(2, 0.01), [np.full(len(one), 0.01) for one in mine])
    k, D = np.exp(found.shared)
    freedom = np.array([max(1.0, len(np.unique(one.group)) - 1.0) if not shared else float(TIMES) for one in data])
    compared = tuple(Compared(name, np.exp(known[:, c]), errors[:, c] * np.exp(known[:, c]), freedom)
                     for c, name in enumerate(("trap_stiffness", "diffusion")))
    stderr = [shared_stderr(one.value, weight[:, c] / weight[:, c].sum(), one.stderr, value)
              for c, (one, value) in enumerate(zip(compared, (k, D)))]
    covariance = found.covariance * np.outer((k, D), (k, D))
    if len(recordings) >= BLOCKS:
        covariance = covariance * np.outer(stderr, stderr) / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    fits = []
    for r, one in enumerate(data):
        noise = noise_scale if noise_scale is not None else math.exp(float(found.own[r][0]))
        whole = np.zeros((3, 3))
        whole[:2, :2] = covariance
        if noise_scale is None:
            whole[2, 2] = found.own_covariance[r][0, 0] * noise**2
        fits.append(TrapFit(float(k), float(D), noise, whole, one.centres(float(k), float(D), noise)))
    return fits, RecordingsAlone(compared, np.sqrt(np.diag(covariance)[1:2]))


@dataclass(frozen=True, eq=False)
class TrappedTracks:
    """Linked detections as the likelihood reads them; `group`: which of the centres holds each."""

    position: np.ndarray
    variance: np.ndarray
    follows: np.ndarray
    group: np.ndarray
    dt: float
    exposure: float
    stationary: bool

    @classmethod
    def of(cls, recording: Recording, shared: bool, stationary: bool) -> TrappedTracks:
        """Of a recording."""
        linked = np.flatnonzero(recording.track >= 0)
        if linked.size < 10:
            raise DataError(f"{linked.size} linked detections are too few to see a trap; track more frames.")
        track, frame = recording.track[linked], recording.frame[linked]
        follows = np.zeros(len(linked), dtype=np.bool_)
        follows[1:] = (track[1:] == track[:-1]) & (frame[1:] == frame[:-1] + 1)
        group = np.zeros(len(linked), dtype=np.int64) if shared else np.unique(track, return_inverse=True)[1]
        return cls(recording.position[linked], recording.variance[linked], follows, group, recording.dt,
                   recording.exposure, stationary)

    def start(self, free: FreeDiffusion, noise_scale: float | None) -> tuple[np.ndarray, float]:
        """Logarithms of k, D and noise to begin with, and the variance of positions about the centres [µm²]."""
        y, group = self.position, self.group
        spread = max(float(np.mean([y[group == g].var(axis=0).mean() for g in np.unique(group)])), 1e-12)
        typical = max(free.noise_scale, 0.05 * spread / float(self.variance.mean()))
        start = np.array([-math.log(spread), math.log(free.diffusion), math.log(typical)])
        return start[: 2 if noise_scale is not None else 3], spread

    def loss(self, k: float, D: float, noise: float, spread: float) -> float:
        """-ln of the restricted likelihood; 1e300 where there is none."""
        # below, e^-kDdt rounds to 1 and the centre is lost; above, nothing of the motion is left
        if not 1e-5 < k * spread < 1e5 or k * D * self.dt > 300:
            return 1e300
        return self._restricted(k, D, noise)[0]

    def centres(self, k: float, D: float, noise: float) -> np.ndarray:
        """(centres, dim) that are most likely [µm]."""
        return self._restricted(k, D, noise)[1]

    def _restricted(self, k: float, D: float, noise: float) -> tuple[float, np.ndarray]:
        return _restricted(self.position, self.follows, self.group, self.variance, k, D, noise, self.dt, self.exposure,
                           self.stationary)


def _hessian(f, x: np.ndarray, step: float = 0.01) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Second derivatives by central differences; x are logarithms, so one step suits all."""
    n = len(x)
    out = np.zeros((n, n))
    e = step * np.eye(n)
    for a in range(n):
        for b in range(a + 1):
            out[a, b] = out[b, a] = (f(x + e[a] + e[b]) - f(x + e[a] - e[b]) - f(x - e[a] + e[b])
                                     + f(x - e[a] - e[b])) / (4 * step**2)
    return out


@numba.njit(cache=True)
def _restricted(y, follows, group, variance, k, D, noise, dt, exposure, stationary):  # type: ignore[no-untyped-def]
    """(-log restricted likelihood, best centres): a tridiagonal sweep along every stretch of every axis."""
    n, dim = y.shape
    S, x = 1.0 / k, k * D * exposure
    a = math.exp(-k * D * dt)
    g0, g1 = S, S * a
    if x > 1e-2:
        g0 = 2 * S * (x - 1 + math.exp(-x)) / (x * x)
        g1 = S * (math.sinh(x / 2) / (x / 2)) ** 2 * a
    elif x > 0:
        # the closed form loses 1e-16/x² to cancellation, which a weak trap (large S) multiplies
        g0 = S * (1 - x / 3 + x * x / 12 - x**3 / 60 + x**4 / 360)
        g1 = S * (1 + x * x / 12 + x**4 / 360) * a
    groups = group.max() + 1
    yy, yv, vv, logdet = 0.0, np.zeros((groups, dim)), np.zeros((groups, dim)), 0.0
    for c in range(dim):
        s, e, v, last = 1.0, 0.0, 0.0, False
        for i in range(n):
            if not follows[i]:
                last = False
                if not stationary:
                    continue
                diag, off, value, design = g0 + noise * variance[i, c], 0.0, y[i, c], 1.0
            else:
                before, after = noise * variance[i - 1, c], noise * variance[i, c]
                diag = g0 * (1 + a * a) - 2 * a * g1 + a * a * before + after
                value, design = y[i, c] - a * y[i - 1, c], 1.0 - a
                off = 0.0
                if last:
                    # Cov(r_{k-1}, r_k) and Cov(Y_0, r_0) are the same expression: γ_1 - a γ_0 - a Λ
                    off = g1 - a * g0 - a * before
            gain = off / s
            s = diag - gain * off
            if s <= 0.0:
                return 1e300, yv
            e = value - gain * e
            v = design - gain * v
            last = True
            yy += e * e / s
            yv[group[i], c] += e * v / s
            vv[group[i], c] += v * v / s
            logdet += math.log(s)
    centres = yv / vv
    total = logdet + yy
    for g in range(groups):
        for c in range(dim):
            total += math.log(vv[g, c]) - yv[g, c] ** 2 / vv[g, c]
    return 0.5 * total, centres
