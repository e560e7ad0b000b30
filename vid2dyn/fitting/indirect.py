"""What noise, blur and frame rate do to an estimate, measured on the model itself and taken back.

Score matching on blurred and noisy positions gives the force of a blurred world; free-diffusion likelihood gives a D
that interactions have changed. Both errors are functions of the model, so they are computed by running the
model, filming it with the same noise, exposure and frame rate, and estimating from that film in the same way
(indirect inference: Gourieroux, Monfort & Renault, J. Appl. Econometrics 8, S85, 1993).

Noise is handled without sampling error. With X the true and Y = X + noise the seen positions, Tweedie's formula
gives ∇log p(Y) = E[F(X) | Y], hence ``E[b(Y)] = E[g(Y)·g(X)] c``: the naive estimate K b(Y), K = (A + λP)⁻¹, has mean
``K A_YX c``. Only the matrix A_YX comes from the simulated film. What blur adds is measured on the same film against a
control Y0 = X + noise without blur, for which the formula is exact.

A film exposed for t_E of particles at equilibrium shows them spread like exp(-U) convolved with a Gaussian of variance
``Λ - R V`` (V = 2D dt): the mean over an exposure lies *inside* the well, by D t_E/6 (∇²), so blur counts as negative
noise. Where the sum is negative, noise is added to data and films alike, to keep the naive estimate tame.

The films also give error bars: the scatter of the whole procedure over replicas, with the model as truth.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vid2dyn.errors import ModelError
from vid2dyn.fitting.design import Field, Moments, film_moments, mean_moments, moments
from vid2dyn.fitting.likelihood import FreeDiffusion, free_diffusion
from vid2dyn.fitting.recording import Recording
from vid2dyn.fitting.regression import Solution, cross_validated, regularised, sandwich, shrunk_covariance
from vid2dyn.fitting.studio import Film, Parameters, Studio
from vid2dyn.progress import Progress, converging, silent

TRIES = 4
"""How often the smoothness may be raised tenfold before an estimate that does not settle is given up."""

FEW = 2
"""Films of every round but the last, which also gives the scatter."""

THREADS = min(4, os.cpu_count() or 1)
"""Films watched at once; results do not depend on it."""

@dataclass(frozen=True, eq=False)
class Fitted:
    """Parameters with the scatter of the procedure."""

    parameters: Parameters
    covariance: np.ndarray
    diffusion_stderr: float
    noise_stderr: float
    settled: bool = True


def refine(data: Recording, studio: Studio, first: Parameters, *, noise_scale: float | None, stationary: bool,
           replicas: int = 8, held_out: float = 0.0, progress: Progress = silent) -> tuple[Fitted, Parameters]:
    """Estimates freed from what noise, blur and frame rate did to them, with their covariance.

    Parameters
    ----------
    first : Parameters
        Field and starting values; the centres of own traps are kept.
    noise_scale : float or None
        Known noise, or None to estimate it.
    stationary : bool
        Score matching (True), or with the current as well (False).
    replicas : int
        Films of the last round, which give the error bars.
    held_out : float
        Share of the blocks of time, the last ones, left out of the second set of parameters.

    Returns
    -------
    The estimate from all data, and parameters of the same model fitted without the held-out blocks.
    """
    free = free_diffusion(data, noise_scale)
    p = replace(first, diffusion=free.diffusion, noise_scale=free.noise_scale)
    smear = _smear(data, p)
    drive = None if stationary else free.diffusion
    seen = _moments_with_smear(data, p.field, smear, drive, [studio.seed, 1])
    naive = cross_validated(seen, p.field.penalty())
    for attempt in range(TRIES + 1):
        try:
            p, response = _iterate(studio, replace(p, coefficients=naive.coefficients), naive, seen, free, smear,
                                   drive, noise_scale, replicas, progress)
        except (ModelError, np.linalg.LinAlgError):        # it swung so far that the model cannot be filmed
            response = None
        if response is not None or attempt == TRIES:
            break
        naive = _smoother(naive, seen, p.field.penalty())
        p = replace(first, diffusion=free.diffusion, noise_scale=free.noise_scale)
    settled = response is not None
    if response is None:
        p = replace(first, coefficients=naive.coefficients, diffusion=free.diffusion, noise_scale=free.noise_scale)
        response = _respond(studio, p, naive, seen, smear, drive, noise_scale, replicas).uncorrected()
        p = response.apparent.correct(p, free, noise_scale is not None)
    fitted = _scatter(response, p, data.dt, studio.share)
    covariance = fitted.covariance + _smoothing_doubt(seen, naive, response, p.field.penalty())
    return (replace(fitted, covariance=covariance, settled=settled), _without(seen, held_out, naive, response, p))


def _iterate(studio: Studio, p: Parameters, naive: Solution, seen: Moments, free: FreeDiffusion, smear: float,
             drive: float | None, noise_scale: float | None, replicas: int,
             progress: Progress) -> tuple[Parameters, _Response | None]:
    """Film, correct, film again; no response if the corrections do not settle.

    What blur does depends on the forces themselves, so half steps are taken there to keep the iteration from swinging.
    With too little smoothing it swings all the same and the corrections (relative, in the norm of A) grow.
    """
    fixed = noise_scale is not None
    exposed = studio.data.exposure > 0
    rounds = (*(3 if exposed else 2) * (FEW,), replicas)
    films = itertools.count(1)
    total = 2 * FEW + sum(rounds)

    def watched() -> None:
        progress(next(films), total, "fit")

    progress(0, total, "fit")
    for _ in range(2):         # caging looks like noise to `free_diffusion`: settle D and noise before the forces
        apparent = _apparent(studio, p, seen, smear, noise_scale, FEW, watched)
        p = apparent.correct(p, free, fixed)
    size = float(np.sqrt(naive.coefficients @ seen.A @ naive.coefficients))
    corrections: list[float] = []
    for round_, count in enumerate(rounds):
        response = _respond(studio, p, naive, seen, smear, drive, noise_scale, count, watched)
        step = response.undo(naive.coefficients) - p.coefficients
        corrections.append(float(np.sqrt(max(step @ seen.A @ step, 0.0))) / size)
        converging(progress, round_ + 1, corrections[-1], "relative correction of the forces")
        bound = max(0.15, 0.5 * corrections[0])
        if not np.isfinite(corrections[-1]) or (round_ and corrections[-1] > 2 * max(0.15, corrections[0])):
            return p, None
        p = response.apparent.correct(replace(p, coefficients=p.coefficients + (0.5 if exposed else 1.0) * step),
                                      free, fixed)
    return p, response if corrections[-1] <= bound else None


def _smoother(naive: Solution, seen: Moments, penalty: np.ndarray) -> Solution:
    """The naive estimate with ten times the smoothness."""
    smoothness = 10 * max(naive.smoothness, 1e-6 * np.trace(seen.A) / max(np.trace(penalty), 1e-300))
    return Solution(np.linalg.solve(regularised(seen.A, penalty, smoothness), seen.B), smoothness)


def _smoothing_doubt(seen: Moments, naive: Solution, response: _Response, penalty: np.ndarray) -> np.ndarray:
    """What the estimate would change by with 30 times less smoothing, as one fully correlated error.

    Smoothing errors are of one sign over long stretches, so they hardly show in the force and add up in the potential.
    """
    rougher = np.linalg.solve(regularised(seen.A, penalty, naive.smoothness / 30), seen.B)
    change = np.linalg.solve(response.distortion, rougher - naive.coefficients)
    return np.outer(change, change)


def _without(seen: Moments, held_out: float, naive: Solution, response: _Response, p: Parameters) -> Parameters:
    """The same correction applied to the naive estimate from the first blocks of time."""
    kept = max(1, round((1 - held_out) * len(seen.a)))
    share = kept / len(seen.a)
    system = regularised(seen.a[:kept].sum(axis=0), p.field.penalty(), naive.smoothness * share)
    return replace(p, coefficients=response.undo(np.linalg.solve(system, seen.b[:kept].sum(axis=0))))


@dataclass(frozen=True, eq=False)
class _Apparent:
    """How forces change what `free_diffusion` finds: factor on D, shift of the noise scale; and its scatter."""

    slowing: float
    noise_shift: float
    diffusions: np.ndarray
    noises: np.ndarray

    @classmethod
    def of(cls, p: Parameters, data: Moments, films: list[tuple[FreeDiffusion, FreeDiffusion]], filmed: float,
           ) -> _Apparent:
        """From estimates with and without forces, and the films' own c·b (scaled to the size of the data).

        Forces slow the apparent diffusion by a part that is proportional to <F²> = c·b to first order (MSD = 2 dim D t
        - D² t² <F²> + ...), and how often an attractive well is occupied depends exponentially on its depth. So the
        slowing is rescaled to the <F²> that the same forces have on the data's own configurations.
        """
        occupied = float(p.coefficients @ data.B) / filmed if filmed > 0 else 1.0
        occupied = min(max(occupied, 0.5), 2.0)
        slowing = max(0.1, 1.0 - occupied * (1.0 - float(np.mean([m.diffusion / f.diffusion for m, f in films]))))
        shift = occupied * float(np.mean([m.noise_scale - f.noise_scale for m, f in films]))
        return cls(slowing, shift, np.array([m.diffusion for m, _ in films]),
                   np.array([m.noise_scale for m, _ in films]))

    def correct(self, p: Parameters, free: FreeDiffusion, fixed: bool) -> Parameters:
        """Parameters whose films would show the D and noise that the data show."""
        noise = free.noise_scale if fixed else max(0.0, free.noise_scale - self.noise_shift)
        return replace(p, diffusion=free.diffusion / self.slowing, noise_scale=noise)


def _apparent(studio: Studio, p: Parameters, data: Moments, smear: float, noise_scale: float | None,
              replicas: int, watched: Callable[[], None]) -> _Apparent:
    def watch(film: Film) -> tuple[FreeDiffusion, FreeDiffusion, float]:
        return (free_diffusion(film.steps, noise_scale), free_diffusion(film.free_steps, noise_scale),
                float(p.coefficients @ moments(film.seen, p.field, blocks=1).B))

    seen = list(_side_by_side(watch, studio.films(p, smear, replicas), watched))
    return _Apparent.of(p, data, [(m, f) for m, f, _ in seen], studio.share * float(np.mean([b for *_, b in seen])))


@dataclass(frozen=True, eq=False)
class _Response:
    """What the procedure makes of films of a model, and what to do about it.

    `distortion` @ c + `shift` is the mean naive estimate when the penalised estimate from clean positions is c.
    """

    distortion: np.ndarray
    shift: np.ndarray
    naive: np.ndarray
    smoothing: np.ndarray
    sampling: np.ndarray
    apparent: _Apparent

    def undo(self, estimate: np.ndarray) -> np.ndarray:
        """The clean estimate behind a naive one."""
        return np.linalg.solve(self.distortion, estimate - self.shift)

    def uncorrected(self) -> _Response:
        """The same scatter with nothing to undo: for forces whose correction does not settle."""
        return replace(self, distortion=np.eye(len(self.shift)), shift=np.zeros_like(self.shift))


def _respond(studio: Studio, p: Parameters, naive: Solution, data: Moments, smear: float, drive: float | None,
             noise_scale: float | None, replicas: int, watched: Callable[[], None] = lambda: None) -> _Response:
    """Film the model and estimate from the films."""
    penalty = p.field.penalty()
    size = len(penalty)
    open_shutter = studio.data.exposure > 0

    def watch(film: Film) -> tuple[Any, ...]:
        inverse = partial(_inverse, penalty=penalty, smoothness=naive.smoothness, share=studio.share)
        clean = not open_shutter and p.noise_scale <= 0
        cast = [film.true] if clean else [film.seen, film.sharp, film.true] if open_shutter else [film.seen, film.true]
        m = film_moments(cast, p.field)
        first = m.first if drive is None else moments(film.seen, p.field, diffusion=drive)
        b, K, Kx = first.B, inverse(first.A), inverse(m.cross[-1])
        shift = b - m.cross[0] @ p.coefficients
        if p.field.trap != "each" and drive is None:
            control = 1 if open_shutter else 0                       # what has mean zero by Tweedie's formula
            shift = shift - (m.b[control] - m.cross[control] @ p.coefficients)
        if replicas > FEW and smear > 0:                             # scatter as in the data: over as many draws
            first = _moments_with_smear(film.steps, p.field, smear, drive, [studio.seed, 2, film.number])
        L = inverse(first.A)
        found = L @ first.B
        return (np.eye(size) + K @ m.cross[0] - Kx @ m.cross[-1], K @ shift, found,
                naive.smoothness / studio.share * Kx @ penalty @ Kx, L @ sandwich(first, found) @ L,
                float(p.coefficients @ b),
                (free_diffusion(film.steps, noise_scale), free_diffusion(film.free_steps, noise_scale)))

    seen = list(zip(*_side_by_side(watch, studio.films(p, smear, replicas), watched), strict=True))
    apparent = _Apparent.of(p, data, list(seen[6]), studio.share * float(np.mean(seen[5])))
    return _Response(np.mean(seen[0], 0), np.mean(seen[1], 0), np.array(seen[2]), np.mean(seen[3], 0),
                     np.mean(seen[4], 0), apparent)


def _inverse(A: np.ndarray, penalty: np.ndarray, smoothness: float, share: float) -> np.ndarray:
    """What turns b of a film into an estimate, with the data's balance of evidence and smoothness."""
    return np.linalg.inv(regularised(share * A, penalty, smoothness)) * share


def _scatter(r: _Response, p: Parameters, dt: float, share: float) -> Fitted:
    """Covariance of the procedure: scatter over replicas, and the roughness the penalty may have taken away.

    The penalty λP is the precision of a prior on roughness; λ K P K is the part of the posterior covariance
    K = (A + λP)⁻¹ that no scatter shows because it is bias (Nychka, J. Am. Stat. Assoc. 83, 1134, 1988); both in
    units of the noise of b, 2/(D dt) by Girsanov's formula. Films shorter than the data scatter more, by 1/share.
    """
    prior = (r.smoothing + r.smoothing.T) / (p.diffusion * dt)
    undo = np.linalg.inv(r.distortion)
    scatter = shrunk_covariance(r.naive, r.sampling) / share
    covariance = undo @ (scatter + prior) @ undo.T
    seen = r.apparent
    return Fitted(p, covariance, float(seen.diffusions.std(ddof=1)) / seen.slowing / math.sqrt(share),
                  float(seen.noises.std(ddof=1)) / math.sqrt(share))


def _side_by_side(watch: Callable[[Film], tuple[Any, ...]], films: Iterator[Film],
                  watched: Callable[[], None]) -> Iterator[tuple[Any, ...]]:
    """`watch` of every film, in order, THREADS at a time, `watched` after each; no more films than that are held."""
    # many small products: threads of the linear algebra inside our own would wait for each other half of the time
    with ThreadPoolExecutor(THREADS) as pool, threadpool_limits(1, user_api="blas"):
        while batch := list(islice(films, THREADS)):
            for result in pool.map(watch, batch):
                watched()
                yield result


def _smear(data: Recording, p: Parameters) -> float:
    """Noise variance to add so that blur never outweighs noise [µm²]."""
    blurred = 2 * p.diffusion * data.dt * data.blur
    return max(0.0, blurred - max(p.noise_scale, 0.0) * float(data.variance.mean()))


def _moments_with_smear(data: Recording, field: Field, smear: float, drive: float | None, seed: list[int],
                        draws: int = 4) -> Moments:
    """Moments of the data, averaged over draws of the noise added on purpose."""
    if smear == 0.0:
        return moments(data, field, diffusion=drive)
    takes = [replace(data, position=data.position + math.sqrt(smear) * rng.standard_normal(data.position.shape))
             for rng in np.random.default_rng(seed).spawn(draws)]
    return mean_moments(takes, field, diffusion=drive)
