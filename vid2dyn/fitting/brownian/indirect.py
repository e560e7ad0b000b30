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
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.regression import Solution, cross_validated, regularised, shrunk_covariance
from vid2dyn.fitting.brownian.response import FEW, Job, Response, apparent_of, moments_with_smear, respond, smear_of
from vid2dyn.fitting.brownian.rounds import Round, Rounds, Stopped, before_correction
from vid2dyn.fitting.brownian.synthetic import Parameters, Studio
from vid2dyn.fitting.course import Course

TRIES = 4
"""How often the smoothness may be raised tenfold before an estimate that does not settle is given up."""

@dataclass(frozen=True, eq=False)
class Fitted:
    """Parameters with the scatter of the procedure."""

    parameters: Parameters
    covariance: np.ndarray
    diffusion_stderr: float
    noise_stderr: float
    settled: bool = True


@dataclass(frozen=True, eq=False)
class Refined:
    """The estimate from all data, and parameters of the same model fitted without the held-out blocks.

    `course`: what every round was worth; `left_off`: rounds done, of how many, and the one kept, where the fit was
    stopped early.
    """

    fitted: Fitted
    train: Parameters
    course: Course
    left_off: tuple[int, int, int] | None = None


def refine(data: Recording, studio: Studio, first: Parameters, *, noise_scale: float | None, stationary: bool,
           judge: Callable[[Parameters], tuple[float, float]], replicas: int = 8, held_out: float = 0.0,
           place: Checkpoint = NOWHERE, stop: int | None = None, keep_partial: bool = False,
           progress: Progress = silent) -> Refined:
    """Estimates freed from what noise, blur and frame rate did to them, with their covariance.

    Parameters
    ----------
    first : Parameters
        Field and starting values; the centres of own traps are kept.
    noise_scale : float or None
        Known noise, or None to estimate it.
    stationary : bool
        Score matching (True), or with the current as well (False).
    judge : callable
        Parameters learned without the held-out blocks -> log-likelihood of a datum, learned from and held out.
    replicas : int
        Films of the last round, which give the error bars.
    held_out : float
        Share of the blocks of time, the last ones, left out of the second set of parameters.
    place, stop, keep_partial
        Checkpoint, and whether to return the best round when stopped, see `vid2dyn.fit`.
    """
    free = free_diffusion(data, noise_scale)
    p = replace(first, diffusion=free.diffusion, noise_scale=free.noise_scale)
    smear = smear_of(data, p)
    drive = None if stationary else free.diffusion
    seen = moments_with_smear(data, p.field, smear, drive, [studio.seed, 1])
    penalty = p.field.penalty()
    naive = cross_validated(seen, penalty)
    rounds = Rounds(judge, place, stop, first, progress)
    job = Job(studio, seen, free, smear, drive, noise_scale, replicas, held_out)
    if not rounds.course.rounds:
        plain = replace(p, coefficients=naive.coefficients)
        rounds.tell(before_correction(plain, _without(seen, held_out, naive, None, plain), naive))
    try:
        response: Response | None = None
        for attempt in range(TRIES + 1):
            if attempt >= rounds.attempt:
                rounds.begin(attempt)
                try:
                    p, response = _iterate(job, replace(p, coefficients=naive.coefficients), naive, rounds, progress)
                except (ModelError, np.linalg.LinAlgError):    # it swung so far that the model cannot be filmed
                    response = None
                if response is not None or attempt == TRIES:
                    break
            naive = _smoother(naive, seen, penalty)
            p = replace(first, diffusion=free.diffusion, noise_scale=free.noise_scale)
        settled = response is not None
        if response is None:
            rounds.go_on()
            films = itertools.count(1)
            p = replace(first, coefficients=naive.coefficients, diffusion=free.diffusion, noise_scale=free.noise_scale)
            response = respond(job, p, naive, replicas, lambda: progress(next(films), replicas, "fit")).uncorrected()
            p = response.apparent.correct(p, free, noise_scale is not None)
    except (Cancelled, Stopped) as reason:
        if isinstance(reason, Cancelled) and not keep_partial:
            raise
        return _left_off(rounds, seen, penalty, data.dt, studio.data.exposure > 0)
    fitted = _scatter(response, p, data.dt, studio.share)
    covariance = fitted.covariance + _smoothing_doubt(seen, naive, response.distortion, penalty)
    return Refined(replace(fitted, covariance=covariance, settled=settled),
                   _without(seen, held_out, naive, response, p), rounds.course)


def _left_off(rounds: Rounds, seen: ForceMoments, penalty: np.ndarray, dt: float, exposed: bool) -> Refined:
    """The best round so far; errors of diffusion and noise are not known here (nan)."""
    best = rounds.best
    assert best is not None
    covariance = best.covariance(seen, penalty, dt) + _smoothing_doubt(
        seen, Solution(np.linalg.solve(regularised(seen.A, penalty, best.smoothness), seen.B), best.smoothness),
        best.distortion, penalty)
    earlier = rounds.course.rounds - len(rounds.corrections)
    return Refined(Fitted(best.parameters, covariance, math.nan, math.nan), best.train, rounds.course,
                   (rounds.course.rounds, earlier + 1 + (3 if exposed else 2), rounds.best_round))


def _iterate(job: Job, p: Parameters, naive: Solution, rounds: Rounds,
             progress: Progress) -> tuple[Parameters, Response | None]:
    """Film, correct, film again; no response if the corrections do not settle.

    What blur does depends on the forces themselves, so half steps are taken there to keep the iteration from swinging.
    With too little smoothing it swings all the same and the corrections (relative, in the norm of A) grow.
    """
    fixed, seen = job.noise_scale is not None, job.seen
    exposed = job.studio.data.exposure > 0
    counts = (*(3 if exposed else 2) * (FEW,), job.replicas)
    corrections = rounds.corrections
    done = 2 * FEW + sum(counts[:len(corrections)]) if rounds.now is not None else 0
    films, total = itertools.count(done + 1), 2 * FEW + sum(counts)

    def watched() -> None:
        progress(next(films), total, "fit")

    rounds.go_on()
    progress(done, total, "fit")
    if rounds.now is not None:
        p = rounds.now
    else:
        for _ in range(2):     # caging looks like noise to `free_diffusion`: settle D and noise before the forces
            p = apparent_of(job, p, FEW, watched).correct(p, job.free, fixed)
    size = float(np.sqrt(naive.coefficients @ seen.A @ naive.coefficients))
    for round_ in range(len(corrections), len(counts)):
        rounds.go_on()
        response = respond(job, p, naive, counts[round_], watched)
        step = response.undo(naive.coefficients) - p.coefficients
        correction = float(np.sqrt(max(step @ seen.A @ step, 0.0))) / size
        progress.converging(round_ + 1, correction, "relative correction of the forces")
        largest = corrections[0] if corrections else correction
        if not np.isfinite(correction) or (round_ and correction > 2 * max(0.15, largest)):
            return p, None
        p = response.apparent.correct(replace(p, coefficients=p.coefficients + (0.5 if exposed else 1.0) * step),
                                      job.free, fixed)
        rounds.tell(Round(p, _without(seen, job.held_out, naive, response, p), response.distortion, step,
                          correction, naive.smoothness), last=round_ == len(counts) - 1)
    return p, response if correction <= max(0.15, 0.5 * largest) else None


def _smoother(naive: Solution, seen: ForceMoments, penalty: np.ndarray) -> Solution:
    """The naive estimate with ten times the smoothness."""
    smoothness = 10 * max(naive.smoothness, 1e-6 * np.trace(seen.A) / max(np.trace(penalty), 1e-300))
    return Solution(np.linalg.solve(regularised(seen.A, penalty, smoothness), seen.B), smoothness)


def _smoothing_doubt(seen: ForceMoments, naive: Solution, distortion: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """What the estimate would change by with 30 times less smoothing, as one fully correlated error.

    Smoothing errors are of one sign over long stretches, so they hardly show in the force and add up in the potential.
    """
    rougher = np.linalg.solve(regularised(seen.A, penalty, naive.smoothness / 30), seen.B)
    change = np.linalg.solve(distortion, rougher - naive.coefficients)
    return np.outer(change, change)


def _without(seen: ForceMoments, held_out: float, naive: Solution, response: Response | None,
             p: Parameters) -> Parameters:
    """The same correction (or none) applied to the naive estimate from the first blocks of time."""
    kept = max(1, round((1 - held_out) * len(seen.a)))
    share = kept / len(seen.a)
    system = regularised(seen.a[:kept].sum(axis=0), p.field.penalty(), naive.smoothness * share)
    found = np.linalg.solve(system, seen.b[:kept].sum(axis=0))
    return replace(p, coefficients=found if response is None else response.undo(found))


def _scatter(r: Response, p: Parameters, dt: float, share: float) -> Fitted:
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
