"""What noise, blur and frame rate do to an estimate, measured on the model itself and taken back.

Score matching on blurred and noisy positions gives the force of a blurred world; free-diffusion likelihood gives a D
that interactions have changed. Both errors are functions of the model, so they are computed by running the
model, recording it with the same noise, exposure and frame rate, and estimating from that recording in the same way
(indirect inference: Gourieroux, Monfort & Renault, J. Appl. Econometrics 8, S85, 1993).

Noise is handled without sampling error. With X the true and Y = X + noise the seen positions, Tweedie's formula
gives ∇log p(Y) = E[F(X) | Y], hence ``E[b(Y)] = E[g(Y)·g(X)] c``: the naive estimate K b(Y), K = (A + λP)⁻¹, has mean
``K A_YX c``. Only the matrix A_YX comes from the synthetic recording. What blur adds is measured on the same one
against a control Y0 = X + noise without blur, for which the formula is exact.

A recording exposed for t_E of particles at equilibrium shows them spread like exp(-U) convolved with a Gaussian of
variance ``Λ - R V`` (V = 2D dt): the mean over an exposure lies *inside* the well, by D t_E/6 (∇²), so blur counts as
negative noise. Where the sum is negative, noise is added to data and synthetic recordings alike, to keep the naive
estimate tame.

The synthetic recordings also give error bars: the scatter of the whole procedure over replicas, with the model as
truth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.regression import Solution, cross_validated, regularised, shrunk_covariance
from vid2dyn.fitting.brownian.response import (
    FEW,
    EstimationProblem,
    Response,
    auxiliary_statistic,
    measure_response,
    moments_with_added_noise,
    noise_to_add,
)
from vid2dyn.fitting.brownian.rounds import Round, Rounds, Stopped, before_correction
from vid2dyn.fitting.brownian.synthetic import Parameters, SyntheticRecordings
from vid2dyn.fitting.course import Course, RunControl

TRIES = 4
"""How often the smoothness may be raised tenfold before an estimate that does not settle is given up."""


@dataclass(frozen=True)
class RefinementSettings:
    """What does not depend on the data.

    Parameters
    ----------
    noise_scale : float or None
        Known noise, or None to estimate it.
    stationary : bool
        Score matching (True), or with the current as well (False).
    replicas : int
        Synthetic recordings of the last round, which give the error bars.
    held_out : float
        Share of the blocks of time, the last ones, left out of the second set of parameters.
    """

    noise_scale: float | None
    stationary: bool
    replicas: int = 8
    held_out: float = 0.0


@dataclass(frozen=True, eq=False)
class FittedForces:
    """Parameters with the scatter of the procedure."""

    parameters: Parameters
    covariance: np.ndarray
    diffusion_stderr: float
    noise_stderr: float
    settled: bool = True


class StoppedAfter(NamedTuple):
    """Where a fit was stopped: rounds done, of how many, and the one that was kept."""

    rounds: int
    of: int
    kept: int


@dataclass(frozen=True, eq=False)
class Refinement:
    """The estimate from all data, and parameters of the same model fitted without the held-out blocks.

    `course`: likelihoods after every round; `stopped_after`: None where the fit went to its end.
    """

    fitted: FittedForces
    train: Parameters
    course: Course
    stopped_after: StoppedAfter | None = None


def refine(data: Recording, synthetic: SyntheticRecordings, first: Parameters,
           evaluate: Callable[[Parameters], tuple[float, float]], settings: RefinementSettings,
           control: RunControl) -> Refinement:
    """Estimates freed from what noise, blur and frame rate did to them, with their covariance.

    Parameters
    ----------
    data : Recording
    synthetic : SyntheticRecordings
        Makes recordings of a model as the data were made.
    first : Parameters
        Field and starting values; the centres of own traps are kept.
    evaluate : callable
        Parameters learned without the held-out blocks -> log-likelihood of a datum, learned from and held out.
    settings : RefinementSettings
    control : RunControl
        Checkpoint, callback, and whether to return the best round when stopped.
    """
    noise_scale, replicas, held_out = settings.noise_scale, settings.replicas, settings.held_out
    progress = control.progress
    free = free_diffusion(data, noise_scale)
    p = replace(first, diffusion=free.diffusion, noise_scale=free.noise_scale)
    added_variance = noise_to_add(data, p)
    drive = None if settings.stationary else free.diffusion
    seen = moments_with_added_noise(data, p.field, added_variance, drive, [synthetic.seed, 1])
    penalty = p.field.penalty()
    naive = cross_validated(seen, penalty)
    rounds = Rounds(evaluate, first, control)
    problem = EstimationProblem(synthetic, seen, free, added_variance, drive, noise_scale, replicas, held_out)
    if not rounds.course.rounds:
        plain = replace(p, coefficients=naive.coefficients)
        rounds.record(before_correction(plain, _training_parameters(seen, held_out, naive, None, plain), naive))
    try:
        response: Response | None = None
        for attempt in range(TRIES + 1):
            if attempt >= rounds.attempt:
                rounds.start_attempt(attempt)
                try:
                    p, response = _iterate(problem, replace(p, coefficients=naive.coefficients), naive, rounds,
                                           progress)
                except (ModelError, np.linalg.LinAlgError):    # it swung so far that the model cannot be simulated
                    response = None
                if response is not None or attempt == TRIES:
                    break
            naive = _smoother(naive, seen, penalty)
            p = replace(first, diffusion=free.diffusion, noise_scale=free.noise_scale)
        settled = response is not None
        if response is None:
            rounds.check_stop()
            count = itertools.count(1)
            p = replace(first, coefficients=naive.coefficients, diffusion=free.diffusion, noise_scale=free.noise_scale)
            response = measure_response(problem, p, naive, replicas,
                                        lambda: progress(next(count), replicas, "fit")).uncorrected()
            p = response.auxiliary.correct(p, free, noise_scale is not None)
    except (Cancelled, Stopped) as reason:
        if isinstance(reason, Cancelled) and not control.keep_partial:
            raise
        return _best_so_far(rounds, seen, penalty, data.dt, synthetic.data.exposure > 0)
    fitted = _scatter(response, p, data.dt, synthetic.share)
    covariance = fitted.covariance + _smoothing_covariance(seen, naive, response.distortion, penalty)
    return Refinement(replace(fitted, covariance=covariance, settled=settled),
                      _training_parameters(seen, held_out, naive, response, p), rounds.course)


def _best_so_far(rounds: Rounds, seen: ForceMoments, penalty: np.ndarray, dt: float, exposed: bool) -> Refinement:
    """The best round so far; errors of diffusion and noise are not known here (nan)."""
    best = rounds.best
    assert best is not None
    covariance = best.covariance(seen, penalty, dt) + _smoothing_covariance(
        seen, Solution(np.linalg.solve(regularised(seen.A, penalty, best.smoothness), seen.B), best.smoothness),
        best.distortion, penalty)
    earlier = rounds.course.rounds - len(rounds.corrections)
    return Refinement(FittedForces(best.parameters, covariance, math.nan, math.nan), best.train, rounds.course,
                      StoppedAfter(rounds.course.rounds, earlier + 1 + (3 if exposed else 2), rounds.best_round))


def _iterate(problem: EstimationProblem, p: Parameters, naive: Solution, rounds: Rounds,
             progress: Progress) -> tuple[Parameters, Response | None]:
    """Simulate, correct, simulate again; no response if the corrections do not settle.

    What blur does depends on the forces themselves, so half steps are taken there to keep the iteration from swinging.
    With too little smoothing it swings all the same and the corrections (relative, in the norm of A) grow.
    """
    fixed, seen = problem.noise_scale is not None, problem.seen
    exposed = problem.synthetic.data.exposure > 0
    counts = (*(3 if exposed else 2) * (FEW,), problem.replicas)
    corrections = rounds.corrections
    done = 2 * FEW + sum(counts[:len(corrections)]) if rounds.current is not None else 0
    count, total = itertools.count(done + 1), 2 * FEW + sum(counts)

    def on_done() -> None:
        progress(next(count), total, "fit")

    rounds.check_stop()
    progress(done, total, "fit")
    if rounds.current is not None:
        p = rounds.current
    else:
        for _ in range(2):     # caging looks like noise to `free_diffusion`: settle D and noise before the forces
            p = auxiliary_statistic(problem, p, FEW, on_done).correct(p, problem.free, fixed)
    size = float(np.sqrt(naive.coefficients @ seen.A @ naive.coefficients))
    for round_ in range(len(corrections), len(counts)):
        rounds.check_stop()
        response = measure_response(problem, p, naive, counts[round_], on_done)
        step = response.undo(naive.coefficients) - p.coefficients
        correction = float(np.sqrt(max(step @ seen.A @ step, 0.0))) / size
        progress.converging(round_ + 1, correction, "relative correction of the forces")
        largest = corrections[0] if corrections else correction
        if not np.isfinite(correction) or (round_ and correction > 2 * max(0.15, largest)):
            return p, None
        p = response.auxiliary.correct(
            replace(p, coefficients=p.coefficients + (0.5 if exposed else 1.0) * step), problem.free, fixed)
        train = _training_parameters(seen, problem.held_out, naive, response, p)
        rounds.record(Round(p, train, response.distortion, step, correction, naive.smoothness),
                      last=round_ == len(counts) - 1)
    return p, response if correction <= max(0.15, 0.5 * largest) else None


def _smoother(naive: Solution, seen: ForceMoments, penalty: np.ndarray) -> Solution:
    """The naive estimate with ten times the smoothness."""
    smoothness = 10 * max(naive.smoothness, 1e-6 * np.trace(seen.A) / max(np.trace(penalty), 1e-300))
    return Solution(np.linalg.solve(regularised(seen.A, penalty, smoothness), seen.B), smoothness)


def _smoothing_covariance(seen: ForceMoments, naive: Solution, distortion: np.ndarray,
                          penalty: np.ndarray) -> np.ndarray:
    """Error from the choice of smoothness: the change with 30 times less of it, as one fully correlated error.

    Smoothing errors are of one sign over long stretches, so they hardly show in the force and add up in the potential.
    """
    rougher = np.linalg.solve(regularised(seen.A, penalty, naive.smoothness / 30), seen.B)
    change = np.linalg.solve(distortion, rougher - naive.coefficients)
    return np.outer(change, change)


def _training_parameters(seen: ForceMoments, held_out: float, naive: Solution, response: Response | None,
                         p: Parameters) -> Parameters:
    """The same correction (or none) applied to the naive estimate from the first blocks of time."""
    kept = max(1, round((1 - held_out) * len(seen.a)))
    share = kept / len(seen.a)
    system = regularised(seen.a[:kept].sum(axis=0), p.field.penalty(), naive.smoothness * share)
    found = np.linalg.solve(system, seen.b[:kept].sum(axis=0))
    return replace(p, coefficients=found if response is None else response.undo(found))


def _scatter(r: Response, p: Parameters, dt: float, share: float) -> FittedForces:
    """Covariance of the procedure: scatter over replicas, and the roughness the penalty may have taken away.

    The penalty λP is the precision of a prior on roughness; λ K P K is the part of the posterior covariance
    K = (A + λP)⁻¹ that no scatter shows because it is bias (Nychka, J. Am. Stat. Assoc. 83, 1134, 1988); both in
    units of the noise of b, 2/(D dt) by Girsanov's formula. Simulations shorter than the data scatter more, by 1/share.
    """
    prior = (r.smoothing + r.smoothing.T) / (p.diffusion * dt)
    undo = np.linalg.inv(r.distortion)
    scatter = shrunk_covariance(r.naive, r.sampling) / share
    covariance = undo @ (scatter + prior) @ undo.T
    seen = r.auxiliary
    return FittedForces(p, covariance, float(seen.diffusions.std(ddof=1)) / seen.slowing / math.sqrt(share),
                        float(seen.noises.std(ddof=1)) / math.sqrt(share))
