"""Gaussian likelihood of noisy, blurred tracks: block-tridiagonal, O(T), all tracks at once.

Observed Y_k = x averaged over the exposure + noise of variance Λ_k. With Φ the displacement the model expects
from Y_k, J = I + ∂Φ/∂x and V the covariance of one step, the residuals ``r_k = Y_{k+1} - Y_k - Φ_k`` have

    Cov(r_k)          = V (1 - 2R) + J Λ_k Jᵀ + Λ_{k+1}
    Cov(r_k, r_{k+1}) = R V - Λ_{k+1} Jᵀ

and nothing further out (R = t_E/6dt; Vestergaard, Blainey & Flyvbjerg, PRE 89, 022726, 2014, for J = I). One block
Cholesky sweep along each unbroken stretch of a track gives the log-likelihood and the whitened residuals; a gap starts
a new stretch. Blocks are dim × dim: a particle's neighbours are taken where they were seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
from scipy.optimize import minimize_scalar

from vid2dyn.core.errors import DataError
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.shared_maximum import Loss, shared_maximum

UNINFORMED = 4.0
"""Noise scale beyond which the stated errors say nothing of which position is good: all then count alike. Else a few
wrong links raise the scale, and the positions with large stated errors are blamed for them (D 3 % low at SNR 50)."""

PARTS, PIECES, LEAST_PART = 10, 40, 500
"""Where the least loss is first looked for: in one of so many parts of the steps, in so many pieces, of at least so
many steps."""


@dataclass(frozen=True)
class FreeDiffusion:
    """Maximum-likelihood D [µm²/s] and noise scale (variance = scale × stated variance) of force-free tracks."""

    diffusion: float
    noise_scale: float


def displacements(recording: Recording) -> tuple[np.ndarray, np.ndarray, float]:
    """Steps (m, dim) [µm] less each frame's mean step, whether a step continues the one before, and 1 - 1/N.

    The mean over the particles of a frame is common drift; taking it out removes the share 1/N of the motion.
    """
    i = recording.steps
    if len(i) < 10:
        raise DataError(f"Only {len(i)} displacements between neighbouring frames; a fit needs at least 10. "
                        "Track more frames or raise search_range and memory.")
    dx = recording.box.displacement(recording.position[i + 1], recording.position[i])
    frame = recording.frame[i] - recording.frame.min()
    count = np.bincount(frame)
    kept = 1.0
    if np.median(count[count > 0]) >= 10:
        mean = np.stack([np.bincount(frame, dx[:, c]) for c in range(recording.dim)], 1) / np.maximum(count, 1)[:, None]
        dx = dx - mean[frame]
        kept = 1.0 - float((count > 0).sum() / count.sum())
    follows = np.zeros(len(i), dtype=np.bool_)
    follows[1:] = i[1:] == i[:-1] + 1
    return dx, follows, kept


def free_diffusion(recording: Recording, noise_scale: float | None = None) -> FreeDiffusion:
    """Maximum likelihood of free diffusion; with `noise_scale` given only D is sought.

    Michalet & Berglund, PRE 85, 061916 (2012). The likelihood depends on (D, scale) through their ratio and an
    overall factor; the factor is solved for, the ratio searched.
    """
    dx, follows, kept = displacements(recording)
    before, after = recording.variance[recording.steps], recording.variance[recording.steps + 1]
    R = recording.blur
    largest = float(max(before.max(), after.max()))

    def objective(ratio: float) -> tuple[float, float]:
        return _free_sweep(dx, follows, before, after, R, ratio)

    if noise_scale is None:
        low = (R - 0.25) / largest * (1 - 1e-6)      # below it the tridiagonal matrix is not positive
        typical = 1.0 / float(np.median(before))
        # ratio = low + t·typical on a logarithmic grid first: the likelihood can be flat far out
        grid = low + typical * np.geomspace(1e-3, 30.0, 25)
        best = _lowest_of_some(grid, dx, follows, before, after, R)
        if best is None or not objective(grid[best])[0] < min(objective(grid[best - 1])[0],
                                                              objective(grid[best + 1])[0]):
            best = int(np.argmin([objective(g)[0] for g in grid]))
        bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
        found = minimize_scalar(lambda q: objective(q)[0], bounds=bounds, method="bounded",
                                options={"xatol": 1e-5 * (bounds[1] - bounds[0])})
        ratio = float(found.x)
        step = objective(ratio)[1]
        return FreeDiffusion(step / (2 * recording.dt) / kept, ratio * step / kept)
    guess = float((dx**2).mean())

    def fixed(log_step: float) -> float:
        step = math.exp(log_step)
        loss, fitted = objective(noise_scale / step)
        # -2 log L per number: log-determinant part of `loss` at overall factor `step` instead of the best one
        return loss - math.log(fitted) - 1 + math.log(step) + fitted / step

    found = minimize_scalar(fixed, bounds=(math.log(guess) - 7, math.log(guess) + 1), method="bounded",
                            options={"xatol": 1e-6})
    return FreeDiffusion(math.exp(float(found.x)) / (2 * recording.dt) / kept, noise_scale)


def _lowest_of_some(grid: np.ndarray, dx: np.ndarray, follows: np.ndarray, before: np.ndarray, after: np.ndarray,
                    blur: float) -> int | None:
    """Which ratio of a grid has the least loss on a part of the steps, spread over all; None where these are too few,
    or leave it open by a second minimum or one at the end.

    It says where to look on all steps, at a tenth of the price.
    """
    if len(dx) < PARTS * LEAST_PART:
        return None
    length = len(dx) // (PARTS * PIECES)
    first = np.linspace(0, len(dx) - length, PIECES).astype(int)
    some = (first[:, None] + np.arange(length)).ravel()
    joins = follows[some]
    joins[::length] = False
    loss = np.array([_free_sweep(dx[some], joins, before[some], after[some], blur, one)[0] for one in grid])
    inner = np.flatnonzero((loss[1:-1] < loss[:-2]) & (loss[1:-1] < loss[2:])) + 1
    return int(inner[0]) if len(inner) == 1 and loss.argmin() == inner[0] else None


def with_believable_errors(recording: Recording, shown_by: Recording) -> Recording:
    """The recording; where `shown_by` (it, or a part of it) has far more noise than is stated, with equal errors."""
    if free_diffusion(shown_by).noise_scale <= UNINFORMED:
        return recording
    return replace(recording, variance=np.full_like(recording.variance, shown_by.variance.mean()))


@dataclass(frozen=True, eq=False)
class FreeSteps:
    """Steps of particles taken for free, ready for their likelihood in ln V, V = 2 D dt, and in the noise scale.

    Parameters
    ----------
    dx, before, after : (m, dim) arrays
        Displacements [µm] and stated variances at both ends [µm²].
    follows : (m,) bool array
        Whether a step continues the one before.
    rows : (m,) int array
        Row of the recording at which each begins.
    blur, dt, kept : float
        R, frame interval [s], share of the motion that is left when the common drift is taken out.
    """

    dx: np.ndarray
    follows: np.ndarray
    before: np.ndarray
    after: np.ndarray
    rows: np.ndarray
    blur: float
    dt: float
    kept: float

    @classmethod
    def of(cls, recording: Recording) -> FreeSteps:
        """All steps of a recording."""
        dx, follows, kept = displacements(recording)
        i = recording.steps
        return cls(dx, follows, recording.variance[i], recording.variance[i + 1], i, recording.blur, recording.dt, kept)

    def loss(self, log_diffusion: float, noise_scale: float) -> float:
        """-ln L, but for a constant."""
        V = 2 * math.exp(log_diffusion) * self.dt * self.kept
        loss, fitted = _free_sweep(self.dx, self.follows, self.before, self.after, self.blur,
                                   noise_scale * self.kept / V)
        if fitted <= 0 or loss > 1e200:
            return math.inf
        # `loss` is at the best overall factor; here the factor is V
        return 0.5 * self.dx.size * (loss - math.log(fitted) - 1 + math.log(V) + fitted / V)

    def log_likelihood(self, log_diffusion: float, noise_scale: float) -> np.ndarray:
        """(m,) ln L of every step given those before, all axes together."""
        V = 2 * math.exp(log_diffusion) * self.dt * self.kept
        return _free_log_likelihood(self.dx, self.follows, self.before, self.after, self.blur, V,
                                    noise_scale * self.kept)

    def noise_step(self, log_diffusion: float, noise_scale: float) -> float:
        """A small change of the noise scale."""
        typical = 2 * math.exp(log_diffusion) * self.dt / float(np.median(self.before))
        return 1e-3 * max(abs(noise_scale), 0.05 * typical)


@dataclass(frozen=True, eq=False)
class SharedDiffusion:
    """One D of several recordings and the noise scale of each, by maximum likelihood.

    Parameters
    ----------
    diffusion : float
        [µm²/s].
    noise_scales : (recordings,) array
    information : (recordings,) array
        Of each recording on ln D, its noise scale unknown.
    noise_stderr : (recordings,) array
    """

    diffusion: float
    noise_scales: np.ndarray
    information: np.ndarray
    noise_stderr: np.ndarray


def shared_diffusion(recordings: Sequence[Recording], noise_scale: float | None = None,
                     slowing: Sequence[float] | None = None) -> SharedDiffusion:
    """The maximum of the sum of log-likelihoods over recordings: one D, each its own noise (unless it is given).

    Michalet & Berglund's likelihood (see `free_diffusion`), summed; it starts at the mean of what the recordings say
    alone.

    Parameters
    ----------
    recordings : sequence of Recording
    noise_scale : float, optional
        Known noise scale.
    slowing : sequence of float, optional
        What each recording shows of D (forces slow apparent diffusion, more where frames are far apart).
    """
    shift = np.zeros(len(recordings)) if slowing is None else np.log(np.asarray(slowing, dtype=float))
    steps = [FreeSteps.of(recording) for recording in recordings]
    own = [free_diffusion(recording, noise_scale) for recording in recordings]
    alone = np.log([one.diffusion for one in own]) - shift

    def loss_of(r: int) -> Loss:
        def loss(shared: np.ndarray, mine: np.ndarray) -> float:
            return steps[r].loss(float(shared[0]) + shift[r],
                                 float(mine[0]) if noise_scale is None else noise_scale)
        return loss

    weight = np.array([one.dx.size for one in steps], dtype=float)
    start = np.array([alone @ weight / weight.sum()])
    noise = [np.array([] if noise_scale is not None else [one.noise_scale]) for one in own]
    small = [np.array([] if noise_scale is not None else [one.noise_step(start[0], o.noise_scale)])
             for one, o in zip(steps, own)]
    found = shared_maximum([loss_of(r) for r in range(len(steps))], start, noise, np.array([1e-3]), small)
    scales = np.array([one[0] if noise_scale is None else noise_scale for one in found.own])
    errors = np.array([math.sqrt(max(one[0, 0], 0.0)) if noise_scale is None else 0.0 for one in found.own_covariance])
    return SharedDiffusion(math.exp(found.shared[0]), scales, found.information[:, 0, 0], errors)


@numba.njit(cache=True, nogil=True)
def _free_log_likelihood(dx, follows, before, after, R, V, noise):  # type: ignore[no-untyped-def]
    """(m,) log-likelihood of every step given those before it."""
    m, dim = dx.shape
    out = np.zeros(m)
    for c in range(dim):
        s, e = 1.0, 0.0
        for k in range(m):
            off = R * V - noise * before[k, c] if follows[k] else 0.0
            gain = off / s
            s = V * (1 - 2 * R) + noise * (before[k, c] + after[k, c]) - gain * off
            if s <= 0.0:
                out[:] = -np.inf
                return out
            e = dx[k, c] - gain * e
            out[k] -= 0.5 * (e * e / s + math.log(2 * math.pi * s))
    return out


@numba.njit(cache=True, nogil=True)
def _free_sweep(dx, follows, before, after, R, ratio):  # type: ignore[no-untyped-def]
    """(-2 log L per number at the best overall factor, that factor): variance unit V = 1, Λ = ratio × stated."""
    m, dim = dx.shape
    quad, logdet = 0.0, 0.0
    for c in range(dim):
        s, e = 1.0, 0.0
        for k in range(m):
            diag = 1 - 2 * R + ratio * (before[k, c] + after[k, c])
            off = R - ratio * before[k, c] if follows[k] else 0.0
            gain = off / s
            s = diag - gain * off
            if s <= 0.0:
                return 1e300, 1.0
            e = dx[k, c] - gain * e
            quad += e * e / s
            logdet += math.log(s)
    n = m * dim
    return math.log(quad / n) + logdet / n + 1.0, quad / n


@dataclass(frozen=True, eq=False)
class Residuals:
    """Whitened residuals (m, dim), independent N(0, 1) if the model is right, and log-likelihood of each step (m,)."""

    white: np.ndarray
    log_likelihood: np.ndarray
    follows: np.ndarray

    def calibration(self) -> dict[str, float]:
        """χ² per number (1 if errors are right) and correlation of successive residuals (0), with standard errors."""
        z, n = self.white, self.white.size
        later = np.flatnonzero(self.follows)
        lag = float((z[later] * z[later - 1]).mean()) if later.size else 0.0
        kurtosis = float((z**4).mean() - 1.0)                      # variance of z² without assuming a Gaussian
        return {"chi2": float((z**2).mean()), "chi2_stderr": math.sqrt(max(kurtosis, 0.0) / n),
                "lag1": lag, "lag1_stderr": 1 / math.sqrt(max(1, later.size * z.shape[1])), "numbers": float(n)}


def residuals(recording: Recording, force: np.ndarray, stiffness: np.ndarray, diffusion: float | np.ndarray,
              noise_scale: float | np.ndarray, steps: np.ndarray | None = None) -> Residuals:
    """Residuals of the steps of a recording under a model.

    Parameters
    ----------
    force, stiffness : (n, dim), (n, dim, dim) arrays
        F_i [kT/µm] and -∂F_i/∂x_i [kT/µm²] at every detection.
    diffusion, noise_scale : float or (n,) arrays
        D [µm²/s]; Λ = scale × stated variance; of each detection where particles differ.
    steps : (m,) bool array, optional
        Which of `recording.steps` to use (those of held-out frames); a left-out step breaks the stretch.

    One step is the exact Ornstein-Uhlenbeck step of the force linearised at Y_k (Ozaki 1992):
    J = exp(-D dt H), Φ = H⁻¹ (1 - J) F, V = H⁻¹ (1 - J²), through the eigenvectors of the symmetric H.
    """
    dx, follows, _ = displacements(recording)
    i = recording.steps
    if steps is not None:
        follows = follows & np.concatenate([[False], steps[:-1]])
        dx, follows, i = dx[steps], follows[steps], i[steps]
    values, vectors = np.linalg.eigh(stiffness[i])
    tau = _at(diffusion, i) * recording.dt
    x = np.clip(tau * values, -1.0, 50.0)
    relax = np.where(np.abs(x) > 1e-8, -np.expm1(-x) / np.where(x == 0, 1, x), 1.0)       # (1 - e^-x)/x
    spread = np.where(np.abs(x) > 1e-8, -np.expm1(-2 * x) / np.where(x == 0, 1, 2 * x), 1.0)

    def function(eigen: np.ndarray) -> np.ndarray:
        return np.einsum("nij,nj,nkj->nik", vectors, eigen, vectors)

    jump = np.einsum("nij,nj->ni", function(tau * relax), force[i])
    white, log_likelihood, possible = _sweep(
        dx - jump, follows, function(np.exp(-x)), function(2 * tau * spread),
        _at(noise_scale, i) * recording.variance[i], _at(noise_scale, i + 1) * recording.variance[i + 1],
        float(recording.blur))
    if possible < len(dx):
        raise np.linalg.LinAlgError("Matrix is not positive definite.")
    return Residuals(white, log_likelihood, follows)


def _at(value: float | np.ndarray, rows: np.ndarray) -> float | np.ndarray:
    """A number as it is, or (rows, 1) what an array says of some detections."""
    return value[rows, None] if isinstance(value, np.ndarray) and value.ndim else value


@numba.njit(cache=True, error_model="numpy")
def _exceeds(S, least):  # type: ignore[no-untyped-def]
    """Whether the lowest eigenvalue of a symmetric matrix exceeds `least`; of NaN: yes.

    Spelt out in two dimensions, where it is a third of the time of the sweep; else by the pivots of S - least I.
    """
    dim = S.shape[0]
    if dim == 2:
        half = 0.5 * (S[0, 0] - S[1, 1])
        return not 0.5 * (S[0, 0] + S[1, 1]) - math.sqrt(half * half + S[1, 0] * S[1, 0]) <= least
    m = S.copy()
    for a in range(dim):
        m[a, a] -= least
    for k in range(dim):
        if m[k, k] <= 0.0:
            return False
        for a in range(k + 1, dim):
            for b in range(k + 1, a + 1):
                m[a, b] -= m[a, k] * m[b, k] / m[k, k]
    return True


@numba.njit(cache=True, error_model="numpy")
def _sweep(r, follows, J, V, before, after, R):  # type: ignore[no-untyped-def]
    """Block Cholesky along every stretch: whitened residuals, log-likelihood of each step; and how many were possible.

    Fewer than all where a covariance is not positive.
    """
    m, dim = r.shape
    white, loglik = np.zeros((m, dim)), np.zeros(m)
    S, C = np.zeros((dim, dim)), np.zeros((dim, dim))
    last = np.zeros((dim, dim))                        # Cholesky factor of the block before
    e = np.zeros(dim)
    for k in range(m):
        trace = 0.0
        for a in range(dim):
            trace += V[k, a, a]
            e[a] = r[k, a]
            for b in range(dim):
                S[a, b] = (1 - 2 * R) * V[k, a, b]
        for a in range(dim):
            S[a, a] += after[k, a]
            for b in range(dim):
                for c in range(dim):
                    S[a, b] += J[k, a, c] * before[k, c] * J[k, b, c]
        if follows[k]:
            for b in range(dim):
                for a in range(dim):                   # C = L⁻¹ Cov(r_{k-1}, r_k)
                    C[a, b] = R * 0.5 * (V[k - 1, a, b] + V[k, a, b]) - before[k, a] * J[k, b, a]
                    for c in range(a):
                        C[a, b] -= last[a, c] * C[c, b]
                    C[a, b] /= last[a, a]
            for a in range(dim):
                for c in range(dim):
                    e[a] -= C[c, a] * white[k - 1, c]
                    for b in range(dim):
                        S[a, b] -= C[c, a] * C[c, b]
        # a force linearised at a noisy point can make S indefinite; fall back to the step alone
        if not _exceeds(S, 1e-9 * trace):
            for a in range(dim):
                e[a] = r[k, a]
                for b in range(dim):
                    S[a, b] = (1 - 2 * R) * V[k, a, b]
                S[a, a] += before[k, a] + after[k, a]
        square = half = 0.0
        for a in range(dim):                           # S = L Lᵀ, z = L⁻¹ e
            z = e[a]
            for b in range(a + 1):
                total = S[a, b]
                for c in range(b):
                    total -= last[a, c] * last[b, c]
                if b < a:
                    last[a, b] = total / last[b, b]
                    z -= last[a, b] * white[k, b]
                elif 0.0 < total < np.inf:
                    last[a, a] = math.sqrt(total)
                else:
                    return white, loglik, k
            white[k, a] = z / last[a, a]
            square += white[k, a] * white[k, a]
            half += math.log(last[a, a])
        loglik[k] = -0.5 * square - half - 0.5 * dim * math.log(2 * math.pi)
    return white, loglik, m
