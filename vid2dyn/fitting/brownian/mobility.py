"""D as a function of a structural variable: its likelihood and its fit.

log D is linear between a few knots c_j and constant beyond. With the step k of a particle in state c_k,
V_k = 2 D(c_k) dt, an exposure that is the part 6R of a frame and localisation variance Λ_k,

    Cov(r_k)          = V_k (1 - 4R) + 2R V_{k+1} + Λ_k + Λ_{k+1}
    Cov(r_k, r_{k+1}) = R V_{k+1} - Λ_{k+1}

(`likelihood` has the case V_k = V; here a particle may change between frames: of two exposure averages with the frame's
end between them, the earlier exposure leaves 1 - 4R of its frame's variance to the step, the later adds 2R of its own.)
What an image shows also sets how well a particle is localised, so the noise has its own dependence on the column,
Λ_k = s exp(t c_k) × stated variance with s not negative, so that the covariance is one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy.optimize import minimize

from vid2dyn.fitting.brownian.likelihood import Residuals, displacements
from vid2dyn.fitting.brownian.recording import Recording

STEEPEST = 1.0
"""Largest |t|: stated variances follow the image already; a factor e per standard deviation is left to correct."""
FEWEST_TRACKS = 20
"""Tracks below which errors are not taken from the scatter between tracks."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Displacements (m, dim) [µm], stated variances and the standardised column c for both ends of each.

    `among` (bool for each of `recording.steps`) says which steps these are.
    """

    dx: np.ndarray
    follows: np.ndarray
    before: np.ndarray
    after: np.ndarray
    c: np.ndarray
    c_after: np.ndarray
    track: np.ndarray
    dt: float
    blur: float
    kept: float
    among: np.ndarray

    @classmethod
    def of(cls, recording: Recording, column: np.ndarray, delay: int = 0) -> Steps:
        """Steps of a recording whose particle was seen `delay` detections before; `column` (n,) at all detections.

        A picture shows, as blur, part of the step that begins in its exposure, and its noise is that of the position.
        The column two detections before shares nothing with the step but the particle.
        """
        dx, follows, kept = displacements(recording)
        i = recording.steps
        before = np.maximum(i - delay, 0)
        among = (i >= delay) & (recording.track[before] == recording.track[i])
        every = cls(dx, follows, recording.variance[i], recording.variance[i + 1], column[before], column[before + 1],
                    recording.track[i], recording.dt, recording.blur, kept, np.ones(len(i), bool))
        return dataclasses.replace(every.where(among), among=among)

    def where(self, mask: np.ndarray) -> Steps:
        """Only some of the steps; one left out breaks the stretch."""
        follows = self.follows & np.concatenate([[False], mask[:-1]])
        return Steps(self.dx[mask], follows[mask], self.before[mask], self.after[mask], self.c[mask],
                     self.c_after[mask], self.track[mask], self.dt, self.blur, self.kept, self.among)


@dataclass(frozen=True, eq=False)
class Mobility:
    """Fitted D(c) and noise: `numbers` are log D at the knots, then s and t (see the module)."""

    knots: np.ndarray
    numbers: np.ndarray

    @property
    def log_diffusion(self) -> np.ndarray:
        """(knots,) ln D at the knots."""
        return self.numbers[: len(self.knots)]

    @property
    def noise(self) -> np.ndarray:
        """(2,) s and t: factor on the stated variances, and how its logarithm changes with the column."""
        return self.numbers[len(self.knots):]

    def diffusion(self, c: np.ndarray) -> np.ndarray:
        """D [µm²/s] at standardised values of the column."""
        return np.exp(np.interp(c, self.knots, self.log_diffusion))

    def noise_scale(self, c: np.ndarray) -> np.ndarray:
        """Factor on the stated variances."""
        factor, slope = self.noise
        return factor * np.exp(slope * np.clip(c, -3.0, 3.0))

    def residuals(self, steps: Steps) -> Residuals:
        """Whitened residuals and log-likelihood of every step; -inf where the covariance is not positive."""
        scale = 2 * steps.dt * steps.kept
        white, loglik = _sweep(steps.dx, steps.follows, scale * self.diffusion(steps.c),
                               scale * self.diffusion(steps.c_after), self.noise_scale(steps.c)[:, None] * steps.before,
                               self.noise_scale(steps.c_after)[:, None] * steps.after, steps.blur)
        return Residuals(white, loglik, steps.follows)


@numba.njit(cache=True, nogil=True)
def _sweep(dx, follows, V, V_after, before, after, R):  # type: ignore[no-untyped-def]
    """Cholesky along every stretch, axes apart: whitened residuals (m, dim), log-likelihood (m,)."""
    m, dim = dx.shape
    white, loglik = np.zeros((m, dim)), np.zeros(m)
    for c in range(dim):
        s, e = 1.0, 0.0
        for k in range(m):
            gain = (R * V[k] - before[k, c]) / s if follows[k] else 0.0
            s = V[k] * (1 - 4 * R) + 2 * R * V_after[k] + before[k, c] + after[k, c] - gain * gain * s
            if s <= 0.0:
                loglik[0] = -np.inf
                return white, loglik
            e = dx[k, c] - gain * e
            white[k, c] = e / math.sqrt(s)
            loglik[k] -= 0.5 * (e * e / s + math.log(2 * math.pi * s))
    return white, loglik


def fit_mobility(steps: Steps, knots: np.ndarray, starts: Sequence[Mobility], fixed: float | None) -> Mobility:
    """Maximum likelihood of D at the knots and the noise; the noise as stated times `fixed` where that is given.

    Noise that depends on the column can stand for mobility that does, and the likelihood has a maximum for each: the
    best of several `starts` is taken.
    """
    fits = [_maximised(steps, knots, start, fixed) for start in starts]
    return max(fits, key=lambda fit: float(fit.residuals(steps).log_likelihood.mean()))


def _maximised(steps: Steps, knots: np.ndarray, start: Mobility, fixed: float | None) -> Mobility:
    first = np.append(np.log(start.diffusion(knots)), start.noise)
    free = slice(0, len(knots)) if fixed is not None else slice(0, len(first))
    # a negative variance of the noise can fit one part of a recording and make nonsense of the next
    bounds = [(None, None)] * len(knots) + [(0.0, None), (-STEEPEST, STEEPEST)]

    def mobility(x: np.ndarray) -> Mobility:
        numbers = first.copy()
        if fixed is not None:
            numbers[len(knots):] = fixed, 0.0
        numbers[free] = x
        return Mobility(knots, numbers)

    def loss(x: np.ndarray) -> float:
        value = -float(mobility(x).residuals(steps).log_likelihood.mean())
        return value if math.isfinite(value) else 1e6

    found = minimize(loss, first[free], method="L-BFGS-B", bounds=bounds[free],
                     options={"ftol": 1e-13, "gtol": 1e-7, "eps": 1e-6})
    return mobility(found.x)


def covariance(steps: Steps, fitted: Mobility, fixed: float | None) -> np.ndarray:
    """Covariance of the numbers by the sandwich H⁻¹ (Σ g gᵀ) H⁻¹, g = score of one track (White 1982).

    Tracks are independent, steps of a track need not be: a particle differs from its column in the same way at every
    step. With few tracks H⁻¹ alone.
    """
    n = len(fitted.knots) if fixed is not None else len(fitted.numbers)

    def each(x: np.ndarray) -> np.ndarray:
        return Mobility(fitted.knots, np.append(x, fitted.numbers[n:])).residuals(steps).log_likelihood

    x, small = fitted.numbers[:n], np.full(n, 1e-4)
    small[len(fitted.knots):] = 1e-4 * max(1.0, abs(float(fitted.noise.item(0))))
    shifts = np.diag(small)
    gradient = np.stack([(each(x + d) - each(x - d)) / (2 * d.sum()) for d in shifts], axis=1)
    hessian = np.empty((n, n))
    for a, da in enumerate(shifts):
        for b, db in enumerate(shifts[: a + 1]):
            four = each(x + da + db).sum() - each(x + da - db).sum() - each(x - da + db).sum() + each(x - da - db).sum()
            hessian[a, b] = hessian[b, a] = -four / (4 * small[a] * small[b])
    inverse = np.linalg.pinv(hessian)
    tracks, of = np.unique(steps.track, return_inverse=True)
    if len(tracks) < FEWEST_TRACKS:
        return inverse
    score = np.stack([np.bincount(of, g) for g in gradient.T], axis=1)
    return inverse @ (score.T @ score) @ inverse
