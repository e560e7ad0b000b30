"""What an estimator makes of synthetic recordings of a model (the binding function of indirect inference): by how much
forces slow the apparent diffusion, and how noise, blur and frame rate distort the estimate of forces. `indirect` undoes
it. Of several recordings each has its own synthetic ones; their equations are added as those of the data are."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from vid2dyn.fitting.brownian.design import Field, ForceMoments, mean_moments, moments, synthetic_moments
from vid2dyn.fitting.brownian.joint import JointParameters, RecordingShape, embedded
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion, shared_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.regression import Solution, regularised, sandwich
from vid2dyn.fitting.brownian.synthetic import Parameters, SyntheticRecording, SyntheticRecordings

FEW = 2
"""Recordings made in every round but the last, which also gives the scatter."""

THREADS = min(4, os.cpu_count() or 1)
"""Recordings evaluated at once; results do not depend on it."""

FEWEST_STEPS = 10
"""Steps of a species below which a recording says nothing of its D."""


@dataclass(frozen=True, eq=False)
class RecordingProblem:
    """What does not change from round to round, of one recording.

    Parameters
    ----------
    synthetic : SyntheticRecordings
        Makes recordings of a model as this one was made.
    seen : ForceMoments
        Moments of the data.
    free : tuple of (FreeDiffusion or None)
        Auxiliary statistic of the data, of each species: D and noise as if there were no forces; None: too few steps.
    added_variance : float
        Variance of noise that is added to data and synthetic recordings on purpose [µm²].
    drive : float, (species,) array or None
        D with which the current enters the moments (data away from equilibrium) [µm²/s]; None: it does not.
    weight : float
        Of its equations among those of the other recordings.
    """

    synthetic: SyntheticRecordings
    seen: ForceMoments
    free: tuple[FreeDiffusion | None, ...]
    added_variance: float
    drive: float | np.ndarray | None
    weight: float = 1.0

    @property
    def data(self) -> Recording:
        """The recording."""
        return self.synthetic.data

    def estimate(self, recording: Recording, noise_scale: float | None) -> tuple[FreeDiffusion | None, ...]:
        """The auxiliary statistic of a synthetic recording."""
        return tuple(None if one is None else free_diffusion(recording.of_species(s), noise_scale)
                     for s, one in enumerate(self.free))


@dataclass(frozen=True, eq=False)
class EstimationProblem:
    """What does not change from round to round.

    Parameters
    ----------
    recordings : tuple of RecordingProblem
    seen : ForceMoments
        Moments of all recordings, for the shared unknowns.
    noise_scale : float or None
        Known noise scale; None: estimated.
    replicas : int
        Recordings of the last round.
    held_out : float
        Share of the blocks of time, the last ones, that the parameters for evaluation are not learned from.
    """

    recordings: tuple[RecordingProblem, ...]
    seen: ForceMoments
    noise_scale: float | None
    replicas: int
    held_out: float

    @property
    def exposed(self) -> bool:
        """Whether a shutter was open for some time."""
        return any(one.data.exposure > 0 for one in self.recordings)

    @property
    def share(self) -> float:
        """Length of the data over that of a simulation of them, mean over the recordings."""
        return sum(one.synthetic.share for one in self.recordings) / len(self.recordings)

    @property
    def interval(self) -> float:
        """Frame interval [s], mean over the recordings with the weights of their equations."""
        size = np.array([one.weight * float(np.trace(one.seen.A)) for one in self.recordings])
        if len(size) == 1:
            return self.recordings[0].data.dt
        return float(size @ [one.data.dt for one in self.recordings] / size.sum())

    def shared(self, slowing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """D (species,), noise scales and information on ln D (recordings, species) that the data show.

        `slowing` (recordings, species): what each recording shows of D.
        """
        shape = slowing.shape
        D, noise, information = np.ones(shape[1]), np.ones(shape), np.zeros(shape)
        for s in range(shape[1]):
            there = [r for r, one in enumerate(self.recordings) if one.free[s] is not None]
            if len(self.recordings) == 1:
                free = self.recordings[0].free[s]
                assert free is not None
                D[s], noise[0, s], information[0, s] = free.diffusion / slowing[0, s], free.noise_scale, 1.0
                continue
            found = shared_diffusion([self.recordings[r].data.of_species(s) for r in there], self.noise_scale,
                                     [slowing[r, s] for r in there])
            D[s], noise[there, s], information[there, s] = found.diffusion, found.noise_scales, found.information
        return D, noise, information


@dataclass(frozen=True, eq=False)
class AuxiliaryStatistic:
    """How forces change what `free_diffusion` finds in one recording: factor on D, shift of the noise; its scatter.

    `slowing`, `noise_shift` (species,); `diffusions`, `noises` (replicas, species).
    """

    slowing: np.ndarray
    noise_shift: np.ndarray
    diffusions: np.ndarray
    noises: np.ndarray

    @classmethod
    def of(cls, p: Parameters, data: ForceMoments, estimates: list[tuple[Any, Any]],
           squared_force: float) -> AuxiliaryStatistic:
        """From estimates with and without forces, and the recordings' own c·b (scaled to the size of the data).

        Forces slow the apparent diffusion by a part that is proportional to <F²> = c·b to first order (MSD = 2 dim D t
        - D² t² <F²> + ...), and how often an attractive well is occupied depends exponentially on its depth. So the
        slowing is rescaled to the <F²> that the same forces have on the data's own configurations.
        """
        occupied = float(p.coefficients @ data.B) / squared_force if squared_force > 0 else 1.0
        occupied = min(max(occupied, 0.5), 2.0)
        species = len(estimates[0][0])
        slowing, shift = np.ones(species), np.zeros(species)
        diffusions, noises = np.ones((len(estimates), species)), np.zeros((len(estimates), species))
        for s in range(species):
            if estimates[0][0][s] is None:
                continue
            pairs = [(m[s], f[s]) for m, f in estimates]
            slowing[s] = max(0.1, 1.0 - occupied * (1.0 - float(np.mean([m.diffusion / f.diffusion
                                                                         for m, f in pairs]))))
            shift[s] = occupied * float(np.mean([m.noise_scale - f.noise_scale for m, f in pairs]))
            diffusions[:, s] = [m.diffusion for m, _ in pairs]
            noises[:, s] = [m.noise_scale for m, _ in pairs]
        return cls(slowing, shift, diffusions, noises)


def corrected(p: JointParameters, problem: EstimationProblem, found: list[AuxiliaryStatistic]) -> JointParameters:
    """Parameters whose recordings would show the D and noise that the data show."""
    D, noise, _ = problem.shared(np.array([one.slowing for one in found]))
    if problem.noise_scale is None:
        noise = np.maximum(0.0, noise - np.array([one.noise_shift for one in found]))
    return replace(p, diffusion=D, noise_scales=noise)


def auxiliary_statistics(problem: EstimationProblem, p: JointParameters, replicas: int,
                         on_done: Callable[[], None]) -> list[AuxiliaryStatistic]:
    """The statistic of a model in each recording, from `replicas` of it; `on_done` is called after each."""
    out = []
    for r, one in enumerate(problem.recordings):
        local = p.of(r)

        def evaluate(recording: SyntheticRecording, one: RecordingProblem = one,
                     local: Parameters = local) -> tuple[Any, Any, float]:
            return (one.estimate(recording.steps, problem.noise_scale),
                    one.estimate(recording.free_steps, problem.noise_scale),
                    float(local.coefficients @ moments(recording.seen, local.field, blocks=1).B))

        recordings = one.synthetic.recordings(local, one.added_variance, replicas)
        found = list(_side_by_side(evaluate, recordings, on_done))
        out.append(AuxiliaryStatistic.of(local, one.seen, [(m, f) for m, f, _ in found],
                                         one.synthetic.share * float(np.mean([b for *_, b in found]))))
    return out


@dataclass(frozen=True, eq=False)
class Response:
    """What the procedure makes of recordings of a model, and what to do about it.

    `distortion` @ c + `shift` is the mean naive estimate when the penalised estimate from clean positions is c.
    `auxiliary` and `strengths` (recordings, replicas, parts of the forces), see `force_strengths`: of each recording.
    """

    distortion: np.ndarray
    shift: np.ndarray
    naive: np.ndarray
    smoothing: np.ndarray
    sampling: np.ndarray
    auxiliary: list[AuxiliaryStatistic]
    strengths: np.ndarray

    def undo(self, estimate: np.ndarray) -> np.ndarray:
        """The clean estimate behind a naive one."""
        return np.linalg.solve(self.distortion, estimate - self.shift)

    def uncorrected(self) -> Response:
        """The same scatter with nothing to undo: for forces whose correction does not settle."""
        return replace(self, distortion=np.eye(len(self.shift)), shift=np.zeros_like(self.shift))


class _Replica(NamedTuple):
    """What one synthetic recording contributes; `squared_force` is its c·b, `scattered` what tells of the scatter."""

    A: np.ndarray
    b: np.ndarray
    cross: np.ndarray
    true_cross: np.ndarray
    shift: np.ndarray
    scattered: ForceMoments
    squared_force: float
    free: tuple[Any, Any]


def measure_response(problem: EstimationProblem, p: JointParameters, naive: Solution, replicas: int,
                     on_done: Callable[[], None]) -> Response:
    """Make recordings of the model and estimate from them; `on_done` is called after each."""
    each: list[list[_Replica]] = []
    for r, one in enumerate(problem.recordings):
        work = partial(_evaluated, one, p.of(r), noise_scale=problem.noise_scale, scatter=replicas > FEW)
        each.append(list(_side_by_side(work, one.synthetic.recordings(p.of(r), one.added_variance, replicas), on_done)))
    with threadpool_limits(1, user_api="blas"):
        combined = [_combined(problem, p, naive, [replica[b] for replica in each]) for b in range(replicas)]
    auxiliary = [AuxiliaryStatistic.of(p.of(r), one.seen, [m.free for m in each[r]],
                                       one.synthetic.share * float(np.mean([m.squared_force for m in each[r]])))
                 for r, one in enumerate(problem.recordings)]
    strengths = np.array([[force_strengths(p.of(r), m.scattered) for m in each[r]] for r in range(len(each))])
    distortion, shift, found, smoothing, sampling = zip(*combined)
    return Response(np.mean(distortion, 0), np.mean(shift, 0), np.array(found), np.mean(smoothing, 0),
                    np.mean(sampling, 0), auxiliary, strengths)


def force_parts(p: Parameters) -> np.ndarray:
    """(unknowns, parts) the learned forces cut into parts: of each pair of species, and of the traps."""
    field, parts = p.field, []
    for which in [*(field.part(kind) for kind in range(len(field.splines))),
                  *([] if field.trap == "none" else [slice(field.knots, field.size)])]:
        part = np.zeros(field.size)
        part[which] = p.coefficients[which]
        parts.append(part)
    return np.array(parts).T


def force_strengths(p: Parameters, seen: ForceMoments) -> np.ndarray:
    """How strong the forces are in a recording, over what p says: least squares of A c u = b with one u for all forces,
    then, where there are several parts, with one for each; (1,) or (1 + parts,). One where nothing tells.
    """
    found = []
    for columns in (p.coefficients[:, None], force_parts(p)):
        normal = columns.T @ seen.A @ columns
        regular = np.linalg.matrix_rank(normal) == len(normal)
        found.append(np.linalg.solve(normal, columns.T @ seen.B) if regular else np.ones(len(normal)))
    return found[0] if len(found[1]) == 1 else np.concatenate(found)


def _evaluated(one: RecordingProblem, p: Parameters, recording: SyntheticRecording, *, noise_scale: float | None,
               scatter: bool) -> _Replica:
    """Moments and auxiliary statistic of a synthetic recording."""
    added, drive, seed = one.added_variance, one.drive, one.synthetic.seed
    open_shutter = one.data.exposure > 0
    if not open_shutter and (p.noise_scale <= 0).all():
        kinds = [recording.true]
    else:
        kinds = [recording.seen, *([recording.sharp] if open_shutter else []), recording.true]
    m = synthetic_moments(kinds, p.field)
    first = m.first if drive is None else moments(recording.seen, p.field, diffusion=drive)
    shift = first.B - m.cross[0] @ p.coefficients
    if p.field.trap != "each" and drive is None:
        control = 1 if open_shutter else 0                       # what has mean zero by Tweedie's formula
        shift = shift - (m.b[control] - m.cross[control] @ p.coefficients)
    b, A = first.B, first.A
    if scatter and added > 0:                                    # scatter as in the data: over as many draws
        first = moments_with_added_noise(recording.steps, p.field, added, drive, [*seed, 2, recording.number])
    return _Replica(A, b, m.cross[0], m.cross[-1], shift, first, float(p.coefficients @ b),
                    (one.estimate(recording.steps, noise_scale), one.estimate(recording.free_steps, noise_scale)))


def _combined(problem: EstimationProblem, p: JointParameters, naive: Solution,
              replicas: list[_Replica]) -> tuple[np.ndarray, ...]:
    """Distortion, shift, naive estimate, smoothing and sampling covariance from one replica of every recording.

    Equations of a recording count with its weight and as often as the data are longer than the simulation, over the
    mean `share`. Simulations that are shorter than others scatter more: their part of the scatter is scaled to `share`.
    """
    share, penalty = problem.share, p.penalty()
    size = len(penalty)
    weights = [one.weight * one.synthetic.share / share for one in problem.recordings]
    inverse = partial(_inverse, penalty=penalty, smoothness=naive.smoothness, share=share)

    def total(name: str) -> np.ndarray:
        return sum_of([w * getattr(m, name) for w, m in zip(weights, replicas)], p.shapes, size)

    K, Kx, cross, shift = inverse(total("A")), inverse(total("true_cross")), total("cross"), total("shift")
    parts = [(w * m.scattered.A, w * m.scattered.B) for w, m in zip(weights, replicas)]
    L = inverse(sum_of([A for A, _ in parts], p.shapes, size))
    found = L @ sum_of([b for _, b in parts], p.shapes, size)
    scatter, extra = np.zeros((size, size)), np.zeros(size)
    for r, (one, m, w) in enumerate(zip(problem.recordings, replicas, weights)):
        local = found[p.shapes[r].columns]
        unlike = share / one.synthetic.share
        scatter += embedded(w**2 * unlike * sandwich(m.scattered, local), p.shapes[r], size)
        if len(replicas) > 1:
            left = w * (m.scattered.B - m.scattered.A @ p.of(r).coefficients)
            extra += (math.sqrt(unlike) - 1.0) * embedded(left, p.shapes[r], size)
    found = found + L @ extra if len(replicas) > 1 else found
    return (np.eye(size) + K @ cross - Kx @ total("true_cross"), K @ shift, found,
            naive.smoothness / share * Kx @ penalty @ Kx, L @ scatter @ L)


def sum_of(parts: list[np.ndarray], shapes: tuple[RecordingShape, ...], size: int) -> np.ndarray:
    """The sum over recordings of vectors or matrices of their unknowns."""
    out = embedded(parts[0], shapes[0], size)
    for part, shape in zip(parts[1:], shapes[1:], strict=True):
        out = out + embedded(part, shape, size)
    return out


def _inverse(A: np.ndarray, penalty: np.ndarray, smoothness: float, share: float) -> np.ndarray:
    """What turns b of a recording into an estimate, with the data's balance of evidence and smoothness."""
    return np.linalg.inv(regularised(share * A, penalty, smoothness)) * share


def _side_by_side(evaluate: Callable[[SyntheticRecording], Any], recordings: Iterator[SyntheticRecording],
                  on_done: Callable[[], None]) -> Iterator[Any]:
    """`evaluate` of every recording, in order, THREADS at a time (no more are held), `on_done` after each."""
    # many small products: threads of the linear algebra inside our own would wait for each other half of the time
    with ThreadPoolExecutor(THREADS) as pool, threadpool_limits(1, user_api="blas"):
        while batch := list(islice(recordings, THREADS)):
            for result in pool.map(evaluate, batch):
                on_done()
                yield result


def noise_to_add(data: Recording, p: Parameters) -> float:
    """Noise variance to add so that blur never outweighs noise [µm²]."""
    blurred = 2 * p.diffusion * data.dt * data.blur
    stated = [data.variance if data.species is None else data.variance[data.species == s] for s in range(len(blurred))]
    return max(0.0, *(float(blur - max(scale, 0.0) * float(variance.mean()))
                      for blur, scale, variance in zip(blurred, p.noise_scale, stated) if len(variance)))


def moments_with_added_noise(data: Recording, field: Field, added_variance: float, drive: float | np.ndarray | None,
                             seed: list[int], draws: int = 4) -> ForceMoments:
    """Moments of the data, averaged over draws of the noise added on purpose."""
    if added_variance == 0.0:
        return moments(data, field, diffusion=drive)
    spread = math.sqrt(added_variance)
    takes = [replace(data, position=data.position + spread * rng.standard_normal(data.position.shape))
             for rng in np.random.default_rng(seed).spawn(draws)]
    return mean_moments(takes, field, diffusion=drive)
