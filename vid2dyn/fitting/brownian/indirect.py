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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.joint import JointParameters, added, embedded, weights_of
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.recordings_alone import BLOCKS, RecordingsAlone, errors_of_free, recordings_alone
from vid2dyn.fitting.brownian.regression import (
    NAIVE,
    Solution,
    cross_validated,
    regularised,
    shrunk_covariance,
    smoothed,
)
from vid2dyn.fitting.brownian.response import (
    FEW,
    FEWEST_STEPS,
    EstimationProblem,
    RecordingProblem,
    Response,
    auxiliary_statistics,
    corrected,
    measure_response,
    moments_with_added_noise,
    noise_to_add,
)
from vid2dyn.fitting.brownian.rounds import Round, Rounds, Stopped, before_correction, noise_unit
from vid2dyn.fitting.brownian.synthetic import SyntheticRecordings
from vid2dyn.fitting.course import Course, RunControl

LARGEST = 1.0
"""Relative correction of the forces in one round beyond which they do not settle: it is larger than they are. One film
of WCA in ten (noise 30 % of a step) took corrections of 5, 3 and 2 times the forces for settling: D was 40 % high."""

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
    """Parameters with the scatter of the procedure.

    `diffusion_stderr` (species,), `noise_stderr` (recordings, species), `slowing` (species,): D that motion shows over
    D of a particle alone; `recordings`: what the recordings say one by one, where there are several and the fit went
    to its end.
    """

    parameters: JointParameters
    covariance: np.ndarray
    diffusion_stderr: np.ndarray
    noise_stderr: np.ndarray
    slowing: np.ndarray
    settled: bool = True
    recordings: RecordingsAlone | None = None


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
    train: JointParameters
    course: Course
    stopped_after: StoppedAfter | None = None


def refine(synthetic: Sequence[SyntheticRecordings], first: JointParameters,
           evaluate: Callable[[JointParameters], tuple[float, float]], settings: RefinementSettings,
           control: RunControl) -> Refinement:
    """Estimates freed from what noise, blur and frame rate did to them, with their covariance.

    Parameters
    ----------
    synthetic : sequence of SyntheticRecordings
        The recordings, and what makes recordings of a model as they were made.
    first : JointParameters
        Force functions and starting values; the centres of own traps are kept.
    evaluate : callable
        Parameters learned without the held-out blocks -> log-likelihood of a datum, learned from and held out.
    settings : RefinementSettings
    control : RunControl
        Checkpoint, callback, and whether to return the best round when stopped.
    """
    replicas, progress = settings.replicas, control.progress
    problem = estimation_problem(synthetic, first, settings)
    seen, penalty = problem.seen, first.penalty()
    p = free_start(problem, first)
    naive = cross_validated(seen, penalty, NAIVE)
    rounds = Rounds(evaluate, first, control)
    if not rounds.course.rounds:
        plain = replace(p, coefficients=naive.coefficients)
        rounds.record(before_correction(plain, training_parameters(problem, naive, None, plain), naive))
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
            p = free_start(problem, first)
        settled = response is not None
        if response is None:
            rounds.check_stop()
            count, all_of_them = itertools.count(1), replicas * len(problem.recordings)
            p = replace(free_start(problem, first), coefficients=naive.coefficients)
            response = measure_response(problem, p, naive, replicas,
                                        lambda: progress(next(count), all_of_them, "fit")).uncorrected()
            p = corrected(p, problem, response.auxiliary)
    except (Cancelled, Stopped) as reason:
        if isinstance(reason, Cancelled) and not control.keep_partial:
            raise
        return _best_so_far(rounds, seen, penalty, problem.interval, problem.exposed)
    fitted = _scatter(problem, response, p, naive)
    covariance = fitted.covariance + _smoothing_covariance(seen, naive, response.distortion, penalty)
    coefficients, covariance = smoothed(p.coefficients, covariance, penalty)
    p = replace(p, coefficients=coefficients)
    return Refinement(replace(fitted, parameters=p, covariance=covariance, settled=settled),
                      training_parameters(problem, naive, response, p), rounds.course)


def estimation_problem(synthetic: Sequence[SyntheticRecordings], first: JointParameters,
                       settings: RefinementSettings) -> EstimationProblem:
    """What of the data the rounds need: moments of every recording, and D and noise as if there were no forces."""
    noise_scale, parts = settings.noise_scale, []
    for r, one in enumerate(synthetic):
        data, field = one.data, first.shapes[r].field
        free = tuple(free_diffusion(some, noise_scale) if len(some.steps) >= FEWEST_STEPS or len(first.diffusion) == 1
                     else None for some in map(data.of_species, range(len(first.diffusion))))
        apart = replace(first.of(r), diffusion=np.array([f.diffusion if f else 1.0 for f in free]),
                        noise_scale=np.array([f.noise_scale if f else 1.0 for f in free]))
        added_variance = noise_to_add(data, apart)
        drive: float | np.ndarray | None = apart.diffusion if data.species is not None else float(apart.diffusion[0])
        if settings.stationary:
            drive = None
        seen = moments_with_added_noise(data, field, added_variance, drive, [*one.seed, 1])
        parts.append(RecordingProblem(one, seen, free, added_variance, drive))
    weights = weights_of([one.seen for one in parts], [one.data.dt for one in parts],
                         [shape.field.penalty() for shape in first.shapes])
    parts = [replace(one, weight=float(weight)) for one, weight in zip(parts, weights)]
    return EstimationProblem(tuple(parts), added([one.seen for one in parts], first.shapes, weights), noise_scale,
                             settings.replicas, settings.held_out)


def free_start(problem: EstimationProblem, first: JointParameters) -> JointParameters:
    """D and noise as if there were no forces."""
    D, noise, _ = problem.shared(np.ones(first.noise_scales.shape))
    return replace(first, diffusion=D, noise_scales=noise)


def _best_so_far(rounds: Rounds, seen: ForceMoments, penalty: np.ndarray, dt: float, exposed: bool) -> Refinement:
    """The best round so far; errors of diffusion and noise are not known here (nan)."""
    best = rounds.best
    assert best is not None
    covariance = best.covariance(seen, penalty, dt) + _smoothing_covariance(
        seen, Solution(np.linalg.solve(regularised(seen.A, penalty, best.smoothness), seen.B), best.smoothness),
        best.distortion, penalty)
    earlier = rounds.course.rounds - len(rounds.corrections)
    unknown = np.full(best.parameters.noise_scales.shape, math.nan)
    fitted = FittedForces(best.parameters, covariance, unknown[0], unknown, np.ones_like(unknown[0]))
    return Refinement(fitted, best.train, rounds.course,
                      StoppedAfter(rounds.course.rounds, earlier + 1 + (3 if exposed else 2), rounds.best_round))


def _iterate(problem: EstimationProblem, p: JointParameters, naive: Solution, rounds: Rounds,
             progress: Progress) -> tuple[JointParameters, Response | None]:
    """Simulate, correct, simulate again; no response if the corrections do not settle.

    What blur does depends on the forces themselves, so half steps are taken there to keep the iteration from swinging.
    With too little smoothing it swings all the same and the corrections (relative, in the norm of A) grow.
    """
    seen, exposed, recordings = problem.seen, problem.exposed, len(problem.recordings)
    counts = (*(3 if exposed else 2) * (FEW,), problem.replicas)
    corrections = rounds.corrections
    done = recordings * (2 * FEW + sum(counts[:len(corrections)])) if rounds.current is not None else 0
    count, total = itertools.count(done + 1), recordings * (2 * FEW + sum(counts))

    def on_done() -> None:
        progress(next(count), total, "fit")

    rounds.check_stop()
    progress(done, total, "fit")
    if rounds.current is not None:
        p = rounds.current
    else:
        for _ in range(2):     # caging looks like noise to `free_diffusion`: settle D and noise before the forces
            p = corrected(p, problem, auxiliary_statistics(problem, p, FEW, on_done))
    size = float(np.sqrt(naive.coefficients @ seen.A @ naive.coefficients))
    for round_ in range(len(corrections), len(counts)):
        rounds.check_stop()
        response = measure_response(problem, p, naive, counts[round_], on_done)
        step = response.undo(naive.coefficients) - p.coefficients
        correction = float(np.sqrt(max(step @ seen.A @ step, 0.0))) / size
        progress.converging(round_ + 1, correction, "relative correction of the forces")
        largest = corrections[0] if corrections else correction
        if not correction <= LARGEST or (round_ and correction > 2 * max(0.15, largest)):
            return p, None
        p = corrected(replace(p, coefficients=p.coefficients + (0.5 if exposed else 1.0) * step), problem,
                      response.auxiliary)
        train = training_parameters(problem, naive, response, p)
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


def training_parameters(problem: EstimationProblem, naive: Solution, response: Response | None,
                        p: JointParameters) -> JointParameters:
    """The same correction (or none) applied to the naive estimate from the first blocks of time of each recording."""
    early = added([one.seen for one in problem.recordings], p.shapes,
                  np.array([one.weight for one in problem.recordings]), share=1 - problem.held_out)
    share = len(early.a) / len(problem.seen.a)
    system = regularised(early.A, p.penalty(), naive.smoothness * share)
    found = np.linalg.solve(system, early.B)
    return replace(p, coefficients=found if response is None else response.undo(found))


def _scatter(problem: EstimationProblem, r: Response, p: JointParameters, naive: Solution) -> FittedForces:
    """Covariance of the procedure: scatter over replicas, and the roughness the penalty may have taken away.

    The penalty λP is the precision of a prior on roughness; λ K P K is the part of the posterior covariance
    K = (A + λP)⁻¹ that no scatter shows because it is bias (Nychka, J. Am. Stat. Assoc. 83, 1134, 1988); both in
    units of the noise of b, 2/(D dt) by Girsanov's formula. Simulations shorter than the data scatter more, by 1/share.
    From `BLOCKS` recordings on, the scatter is that between recordings.
    """
    share = problem.share
    prior = (r.smoothing + r.smoothing.T) / noise_unit(p, problem.interval)
    undo = np.linalg.inv(r.distortion)
    scatter = shrunk_covariance(r.naive, r.sampling) / share
    each = [errors_of_free(problem, r, k) for k in range(len(problem.recordings))]
    noise_stderr = np.array([noise for _, noise in each])
    if len(problem.recordings) == 1:
        seen, covariance = r.auxiliary[0], undo @ (scatter + prior) @ undo.T
        stderr = np.hypot(each[0][0], p.diffusion * (1 / seen.slowing - 1) * _strength_error(problem, p, covariance))
        return FittedForces(p, covariance, stderr, noise_stderr, seen.slowing)
    alone = recordings_alone(problem, r, p, [D for D, _ in each])
    if len(problem.recordings) >= BLOCKS:
        scatter = _scatter_between(problem, naive, p, scatter)
    covariance = undo @ (scatter + prior) @ undo.T
    slowing = np.mean([one.slowing for one in r.auxiliary], axis=0)
    stderr = np.hypot(alone.diffusion_stderr, p.diffusion * (1 / slowing - 1) * _strength_error(problem, p, covariance))
    return FittedForces(p, covariance, stderr, noise_stderr, slowing, recordings=alone)


def _strength_error(problem: EstimationProblem, p: JointParameters, covariance: np.ndarray) -> float:
    """Relative error of the strength of the forces; what they slow is known no better, in all recordings alike."""
    pull = problem.seen.A @ p.coefficients
    force = float(p.coefficients @ pull)
    return float(np.sqrt(max(pull @ covariance @ pull, 0.0))) / force if force > 0 else 0.0


def _scatter_between(problem: EstimationProblem, naive: Solution, p: JointParameters,
                     within: np.ndarray) -> np.ndarray:
    """Covariance of the naive estimate from what each recording adds to it; `within`: from simulations, for its shape.

    Recording r moves the estimate by x_r = (A + λP)⁻¹ (b_r - A_r c), with sum zero up to the smoothing.
    """
    count = len(problem.recordings)
    system = regularised(problem.seen.A, p.penalty(), naive.smoothness)
    left = [embedded(one.weight * (one.seen.B - one.seen.A @ naive.coefficients[shape.columns]), shape, len(system))
            for one, shape in zip(problem.recordings, p.shapes)]
    return shrunk_covariance(count * np.linalg.solve(system, np.array(left).T).T, within) / count
