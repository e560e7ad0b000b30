"""What an estimator makes of synthetic recordings of a model (the binding function of indirect inference): by how much
forces slow the apparent diffusion, and how noise, blur and frame rate distort the estimate of forces. `indirect` undoes
it."""

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
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.regression import Solution, regularised, sandwich
from vid2dyn.fitting.brownian.synthetic import Parameters, SyntheticRecording, SyntheticRecordings

FEW = 2
"""Recordings made in every round but the last, which also gives the scatter."""

THREADS = min(4, os.cpu_count() or 1)
"""Recordings evaluated at once; results do not depend on it."""


@dataclass(frozen=True, eq=False)
class EstimationProblem:
    """What does not change from round to round.

    Parameters
    ----------
    synthetic : SyntheticRecordings
        Makes recordings of a model.
    seen : ForceMoments
        Moments of the data.
    free : FreeDiffusion
        Auxiliary statistic of the data: D and noise as if there were no forces.
    added_variance : float
        Variance of noise that is added to data and synthetic recordings on purpose [µm²].
    drive : float or None
        D with which the current enters the moments (data away from equilibrium) [µm²/s]; None: it does not.
    noise_scale : float or None
        Known noise scale; None: estimated.
    replicas : int
        Recordings of the last round.
    held_out : float
        Share of the blocks of time, the last ones, that the parameters for evaluation are not learned from.
    """

    synthetic: SyntheticRecordings
    seen: ForceMoments
    free: FreeDiffusion
    added_variance: float
    drive: float | None
    noise_scale: float | None
    replicas: int
    held_out: float


@dataclass(frozen=True, eq=False)
class AuxiliaryStatistic:
    """How forces change what `free_diffusion` finds: factor on D, shift of the noise scale; and its scatter."""

    slowing: float
    noise_shift: float
    diffusions: np.ndarray
    noises: np.ndarray

    @classmethod
    def of(cls, p: Parameters, data: ForceMoments, estimates: list[tuple[FreeDiffusion, FreeDiffusion]],
           squared_force: float) -> AuxiliaryStatistic:
        """From estimates with and without forces, and the recordings' own c·b (scaled to the size of the data).

        Forces slow the apparent diffusion by a part that is proportional to <F²> = c·b to first order (MSD = 2 dim D t
        - D² t² <F²> + ...), and how often an attractive well is occupied depends exponentially on its depth. So the
        slowing is rescaled to the <F²> that the same forces have on the data's own configurations.
        """
        occupied = float(p.coefficients @ data.B) / squared_force if squared_force > 0 else 1.0
        occupied = min(max(occupied, 0.5), 2.0)
        slowing = max(0.1, 1.0 - occupied * (1.0 - float(np.mean([m.diffusion / f.diffusion for m, f in estimates]))))
        shift = occupied * float(np.mean([m.noise_scale - f.noise_scale for m, f in estimates]))
        return cls(slowing, shift, np.array([m.diffusion for m, _ in estimates]),
                   np.array([m.noise_scale for m, _ in estimates]))

    def correct(self, p: Parameters, free: FreeDiffusion, fixed: bool) -> Parameters:
        """Parameters whose recordings would show the D and noise that the data show."""
        noise = free.noise_scale if fixed else max(0.0, free.noise_scale - self.noise_shift)
        return replace(p, diffusion=free.diffusion / self.slowing, noise_scale=noise)


def auxiliary_statistic(problem: EstimationProblem, p: Parameters, replicas: int,
                        on_done: Callable[[], None]) -> AuxiliaryStatistic:
    """The statistic of a model, from `replicas` recordings of it; `on_done` is called after each."""
    def evaluate(recording: SyntheticRecording) -> tuple[FreeDiffusion, FreeDiffusion, float]:
        return (free_diffusion(recording.steps, problem.noise_scale),
                free_diffusion(recording.free_steps, problem.noise_scale),
                float(p.coefficients @ moments(recording.seen, p.field, blocks=1).B))

    recordings = problem.synthetic.recordings(p, problem.added_variance, replicas)
    found = list(_side_by_side(evaluate, recordings, on_done))
    share = problem.synthetic.share
    return AuxiliaryStatistic.of(p, problem.seen, [(m, f) for m, f, _ in found],
                                 share * float(np.mean([b for *_, b in found])))


@dataclass(frozen=True, eq=False)
class Response:
    """What the procedure makes of recordings of a model, and what to do about it.

    `distortion` @ c + `shift` is the mean naive estimate when the penalised estimate from clean positions is c.
    """

    distortion: np.ndarray
    shift: np.ndarray
    naive: np.ndarray
    smoothing: np.ndarray
    sampling: np.ndarray
    auxiliary: AuxiliaryStatistic

    def undo(self, estimate: np.ndarray) -> np.ndarray:
        """The clean estimate behind a naive one."""
        return np.linalg.solve(self.distortion, estimate - self.shift)

    def uncorrected(self) -> Response:
        """The same scatter with nothing to undo: for forces whose correction does not settle."""
        return replace(self, distortion=np.eye(len(self.shift)), shift=np.zeros_like(self.shift))


class _Replica(NamedTuple):
    """What one synthetic recording contributes to `Response`; `squared_force` is its c·b."""

    distortion: np.ndarray
    shift: np.ndarray
    naive: np.ndarray
    smoothing: np.ndarray
    sampling: np.ndarray
    squared_force: float
    free: tuple[FreeDiffusion, FreeDiffusion]


def measure_response(problem: EstimationProblem, p: Parameters, naive: Solution, replicas: int,
                     on_done: Callable[[], None]) -> Response:
    """Make recordings of the model and estimate from them; `on_done` is called after each."""
    synthetic, added, drive, noise_scale = (problem.synthetic, problem.added_variance, problem.drive,
                                            problem.noise_scale)
    penalty = p.field.penalty()
    size = len(penalty)
    open_shutter = synthetic.data.exposure > 0

    def evaluate(recording: SyntheticRecording) -> _Replica:
        inverse = partial(_inverse, penalty=penalty, smoothness=naive.smoothness, share=synthetic.share)
        clean = not open_shutter and p.noise_scale <= 0
        if clean:
            kinds = [recording.true]
        else:
            kinds = [recording.seen, *([recording.sharp] if open_shutter else []), recording.true]
        m = synthetic_moments(kinds, p.field)
        first = m.first if drive is None else moments(recording.seen, p.field, diffusion=drive)
        b, K, Kx = first.B, inverse(first.A), inverse(m.cross[-1])
        shift = b - m.cross[0] @ p.coefficients
        if p.field.trap != "each" and drive is None:
            control = 1 if open_shutter else 0                       # what has mean zero by Tweedie's formula
            shift = shift - (m.b[control] - m.cross[control] @ p.coefficients)
        if replicas > FEW and added > 0:                             # scatter as in the data: over as many draws
            first = moments_with_added_noise(recording.steps, p.field, added, drive,
                                             [synthetic.seed, 2, recording.number])
        L = inverse(first.A)
        found = L @ first.B
        return _Replica(np.eye(size) + K @ m.cross[0] - Kx @ m.cross[-1], K @ shift, found,
                        naive.smoothness / synthetic.share * Kx @ penalty @ Kx, L @ sandwich(first, found) @ L,
                        float(p.coefficients @ b),
                        (free_diffusion(recording.steps, noise_scale),
                         free_diffusion(recording.free_steps, noise_scale)))

    each: list[_Replica] = list(_side_by_side(evaluate, synthetic.recordings(p, added, replicas), on_done))
    auxiliary = AuxiliaryStatistic.of(p, problem.seen, [one.free for one in each],
                                      synthetic.share * float(np.mean([one.squared_force for one in each])))
    return Response(np.mean([one.distortion for one in each], 0), np.mean([one.shift for one in each], 0),
                    np.array([one.naive for one in each]), np.mean([one.smoothing for one in each], 0),
                    np.mean([one.sampling for one in each], 0), auxiliary)


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
    return max(0.0, blurred - max(p.noise_scale, 0.0) * float(data.variance.mean()))


def moments_with_added_noise(data: Recording, field: Field, added_variance: float, drive: float | None,
                             seed: list[int], draws: int = 4) -> ForceMoments:
    """Moments of the data, averaged over draws of the noise added on purpose."""
    if added_variance == 0.0:
        return moments(data, field, diffusion=drive)
    spread = math.sqrt(added_variance)
    takes = [replace(data, position=data.position + spread * rng.standard_normal(data.position.shape))
             for rng in np.random.default_rng(seed).spawn(draws)]
    return mean_moments(takes, field, diffusion=drive)
