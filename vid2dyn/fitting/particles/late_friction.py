"""Friction near and far, along and across, as motion feels it after the noise has forgotten.

A window reads friction from its noise, and its share c (`memory_kernel`) is that of a whole particle. The parts of
friction need not settle together: in a melt of star polymers friction along the line of centres goes on to grow for a
time unit, by a third and more for near pairs, while friction across it fades, by a fifth and more for far ones (arms
that were squeezed relax; stars that are sheared past each other may begin to roll). Windows of a third of a time unit
then have the right sum and the wrong parts, and the cage of neighbours comes out too stiff: the mean squared
displacement of star 51 is 10 % short, the negative lobe of its velocity correlation twice too deep.

Drift tells the parts. What memory leaves over has, by its definition (Mori, Prog. Theor. Phys. 33, 423, 1965), no
correlation with anything Z of an earlier state, and for lags l beyond the memory friction has all of its size:

    < Z(0) · [m v(l + T) - m v(l) - ∫ F dt + sum_p φ_p ∫ D_p dt] > = 0,      D_p = ∂(Γ v)/∂φ_p,

integrals from l to l + T along the observed path. With Z = v and all of the D_p, at several lags, these are linear
equations for the φ_p: instrumental variables, solved by the generalised method of moments (Hansen, Econometrica 50,
1029, 1982) with φ >= 0 and the prior of the terms. Lags begin where friction of the next later ones is no other.
Forces stay those of the fit, and the friction of a particle is held near what its noise says: drift tells how it is
divided.

Errors of the forces enter too, so that is not enough: the parts from drift are taken if they are others beyond chance
and a rollout with them comes much nearer to the velocity correlation of the data than one with those of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import nnls
from scipy.stats import chi2

from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.fitting.particles.memory_kernel import Kernel
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms, add_drags, configuration, window
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_frames
from vid2dyn.rollout.fluid.time_step import stable_step

FORGOTTEN = 1e-3
"""Part of the memory that is left at the first lag."""
TOGETHER = 3
"""Lags of one estimate, in steps of the first one, which is also the length of the windows."""
LATEST = 4
"""Where the lags of the last estimate begin, in these steps."""
WINDOWS = 320
"""Most windows."""
LEAST = 24
"""Least windows: below, their scatter says nothing."""
FALSE_ALARM = 1e-6
"""That the parts of friction are changed by chance."""
MOVES = 1e-3
"""Chance below which parts of friction from later lags are others."""
HELD = 0.02
"""Relative width within which the friction of a particle is held."""
NEARER = 0.5
"""Squared distance from the velocity correlation of the data, over that before, at which a rollout is much nearer."""
ROLLED = 1.5e6
"""Particles times frames of such a rollout, at most."""
DECAYS = 10
"""Lags up to so many times mass/friction are compared."""


@dataclass(frozen=True, eq=False)
class LateFriction:
    """What drift says of the parts of friction.

    Parameters
    ----------
    phi : (amplitudes,) array
        Amplitudes of all frictions.
    covariance : (amplitudes, amplitudes) array
    distance, freedom : float, int
        Squared difference from those of the noise in their errors, and what it would be by chance.
    lags : tuple of int
        [frames]
    windows : int
    """

    phi: np.ndarray
    covariance: np.ndarray
    distance: float
    freedom: int
    lags: tuple[int, ...]
    windows: int

    @property
    def differs(self) -> bool:
        """Whether the parts are others than those that the noise shows, beyond chance."""
        return self.distance > float(chi2.isf(FALSE_ALARM, self.freedom))

    def report(self, dt: float) -> dict[str, Any]:
        """For the report of the model."""
        return {"lags": [k * dt for k in self.lags], "windows": self.windows, "chi2": self.distance,
                "numbers": self.freedom, "differs": self.differs}


def first_lag(kernel: Kernel, frames: int, dt: float) -> int:
    """Frames after which a kernel has forgotten, at least `frames`.

    >>> first_lag(Kernel((0.05,), (1.0,)), 4, 0.05)
    7
    """
    lag = frames
    while sum(w * math.exp(-lag * dt / tau) for tau, w in zip(kernel.times, kernel.weights, strict=True)) > FORGOTTEN:
        lag += 1
    return lag


def late_friction(recordings: Sequence[FluidSteps], terms: Terms, numbers: Numbers, covariance: np.ndarray,
                  precision: np.ndarray, slopes: np.ndarray, lag: int, progress: Progress = silent
                  ) -> LateFriction | None:
    """The parts of friction from drift, or None where recordings are too short for it.

    Parameters
    ----------
    recordings : sequence of FluidSteps
    terms : Terms
    numbers : Numbers
        Of the fit by windows.
    covariance, precision : (amplitudes, amplitudes) arrays
        Error of the amplitudes of that fit, and their prior.
    slopes : (amplitudes,) array
        Of the friction of a particle.
    lag : int
        First lag [frames].
    """
    last = (LATEST + TOGETHER - 1) * lag
    starts = [(part, int(s)) for part in recordings for s in np.linspace(
        last, part.count - lag, max(0, min(WINDOWS // len(recordings), (part.count - last) // lag)))]
    if len(starts) < LEAST:
        return None
    first = terms.of_energies
    moments, left = [], []
    spread: np.ndarray | float = 0.0
    for w, (part, start) in enumerate(starts):
        progress(w, len(starts), "parts of friction")
        one = window(part, 0, start, lag, terms)
        R = one.impulse + np.tensordot(numbers.theta, one.columns, axes=1)
        seen = np.stack([_instruments(part, start - k * lag, terms) for k in range(1, LATEST + TOGETHER)])
        moments.append(np.tensordot(seen, one.columns[first:], axes=([2, 3], [1, 2])))
        each = np.einsum("kznc,nc->kzn", seen, R)
        left.append(each.sum(axis=2))
        flat = each.reshape(-1, part.n)
        spread = spread + flat @ flat.T
    progress(len(starts), len(starts), "parts of friction")
    count = 1 + terms.of_frictions
    A, g = np.sum(moments, axis=0), np.array(left)
    held = (slopes / (HELD * float(slopes @ numbers.theta[first:])), precision)
    before, known = numbers.theta[first:], covariance
    for begin in range(1, LATEST + 1):
        own = slice((begin - 1) * count, (begin - 1 + TOGETHER) * count)
        lags = slice(begin - 1, begin - 1 + TOGETHER)
        phi, error = _solved(A[lags].reshape(-1, count - 1), g[:, lags].reshape(len(g), -1),
                             np.asarray(spread)[own, own], numbers.theta[first:], held)
        if begin > 1 and not _apart(phi - before, error) > chi2.isf(MOVES, count - 1):
            break
        before, known, found = phi, error, range(begin, begin + TOGETHER)
    return LateFriction(before, known, _apart(before - numbers.theta[first:], known + covariance), count - 1,
                        tuple(k * lag for k in found), len(starts))


def misfit(data: FluidSteps, terms: Terms, numbers: Numbers, friction: float, seed: int = 0,
           progress: Progress = silent) -> float:
    """Mean square by which the velocity correlation of a rollout misses that of the data, over its value at lag 0.

    friction: of a particle [mass/s]. A rollout from the first frame, as long as the data or `ROLLED`.

    Raises
    ------
    ModelError
        When the rollout leaves its tables.
    """
    of_each = [numbers.theta[place] for _, place in terms.slices()]
    frozen = freeze([term for term, _ in terms.slices()], of_each, kT=numbers.kT, mass=terms.mass, dim=data.dim)
    first = FluidFrame(data.position[0], data.velocity[0], np.zeros(data.n), data.box.after(data.first_frame * data.dt),
                       species=data.species if len(terms.mass) > 1 else None)
    parts = max(1, math.ceil(data.dt / stable_step(frozen, first)))
    frames = min(data.count, int(ROLLED / data.n))
    velocity = np.stack([frame.velocity for frame in fluid_frames(
        frozen, first, FluidRollout(data.dt / parts), steps=frames * parts, every=parts, seed=seed, progress=progress)])
    lags = int(min(frames // 4, DECAYS * float(np.mean(terms.mass)) / friction / data.dt))
    found, truth = _correlation(velocity, lags), _correlation(data.velocity, lags)
    return float(np.mean((found - truth) ** 2)) / float(truth[0]) ** 2


def _correlation(velocity: np.ndarray, lags: int) -> np.ndarray:
    """<v(t)·v(t + lag)> of particles relative to the centre of mass, velocity (frames, n, dim); (lags + 1,)."""
    count, n, _ = velocity.shape
    size, total = next_fast_len(count + lags, real=True), np.zeros(lags + 1)
    for k in range(0, n, 64):
        part = velocity[:, k:k + 64] - velocity.mean(axis=(0, 1))
        total += irfft((np.abs(rfft(part, size, axis=0)) ** 2).sum(axis=(1, 2)), size)[:lags + 1]
    return total / (n * (count - np.arange(lags + 1)))


def _solved(A: np.ndarray, g: np.ndarray, spread: np.ndarray, phi: np.ndarray,
            held: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes and their covariance.

    A: slopes of the moments (moments, amplitudes); g: moments of every window at the amplitudes `phi`, (windows,
    moments); spread: sum over particles and windows of their products; held: friction of a particle over its width, and
    the precision of the prior.
    """
    whiten = _whitening(spread)
    # particles push each other, so sums over them scatter otherwise than one by one: windows show by how much
    excess = math.sqrt(float(((g @ whiten.T) ** 2).mean()) * len(g))
    A, b = whiten @ A / excess, whiten @ (A @ phi - g.sum(axis=0)) / excess
    row, precision = held
    smooth = np.linalg.cholesky(precision + 1e-12 * np.trace(precision) * np.eye(len(precision))).T
    rows = np.concatenate([A, row[None], smooth])
    size = np.sqrt((rows**2).sum(axis=0))
    found = nnls(rows / size, np.concatenate([b, [row @ phi], np.zeros(len(phi))]), maxiter=50 * len(size))[0] / size
    inverse = np.linalg.pinv((rows / size).T @ (rows / size), rcond=1e-12, hermitian=True) / size[:, None] / size
    return found, inverse


def _apart(difference: np.ndarray, covariance: np.ndarray) -> float:
    """Squared length of a difference in its errors."""
    size = np.sqrt(np.diag(covariance))
    return float((difference / size) @ np.linalg.pinv(covariance / size[:, None] / size, rcond=1e-9, hermitian=True)
                 @ (difference / size))


def _instruments(data: FluidSteps, frame: int, terms: Terms) -> np.ndarray:
    """v and the drags of every amplitude at a frame, (1 + amplitudes, n, dim)."""
    at, v = configuration(data, frame, terms.friction_reach, len(terms.mass)), data.velocity[frame]
    out = np.zeros((1 + terms.of_frictions, *v.shape))
    out[0] = v
    w = at.box.relative_velocity(at.position[at.first], at.position[at.second], v[at.first], v[at.second])
    first = 1
    for friction in terms.frictions:
        add_drags(friction, at, v, w, 1.0, out[first:first + friction.count])
        first += friction.count
    return out


def _whitening(spread: np.ndarray) -> np.ndarray:
    """W with W spread Wᵀ = 1, without directions that have no spread."""
    size = np.sqrt(np.maximum(np.diag(spread), 1e-300))
    values, vectors = np.linalg.eigh(spread / size[:, None] / size)
    good = values > 1e-9 * values.max()
    return (vectors[:, good] / np.sqrt(values[good])).T / size
