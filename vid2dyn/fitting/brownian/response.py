"""What an estimator makes of films of a model: by how much forces slow the apparent diffusion, and how noise, blur and
frame rate distort the estimate of forces. `indirect` undoes it."""

from __future__ import annotations

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

from vid2dyn.fitting.brownian.design import Field, ForceMoments, film_moments, mean_moments, moments
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.regression import Solution, regularised, sandwich
from vid2dyn.fitting.brownian.synthetic import Film, Parameters, Studio

FEW = 2
"""Films of every round but the last, which also gives the scatter."""

THREADS = min(4, os.cpu_count() or 1)
"""Films watched at once; results do not depend on it."""


@dataclass(frozen=True, eq=False)
class Job:
    """What does not change from round to round."""

    studio: Studio
    seen: ForceMoments
    free: FreeDiffusion
    smear: float
    drive: float | None
    noise_scale: float | None
    replicas: int
    held_out: float


@dataclass(frozen=True, eq=False)
class Apparent:
    """How forces change what `free_diffusion` finds: factor on D, shift of the noise scale; and its scatter."""

    slowing: float
    noise_shift: float
    diffusions: np.ndarray
    noises: np.ndarray

    @classmethod
    def of(cls, p: Parameters, data: ForceMoments, films: list[tuple[FreeDiffusion, FreeDiffusion]], filmed: float,
           ) -> Apparent:
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


def apparent_of(job: Job, p: Parameters, replicas: int, watched: Callable[[], None]) -> Apparent:
    def watch(film: Film) -> tuple[FreeDiffusion, FreeDiffusion, float]:
        return (free_diffusion(film.steps, job.noise_scale), free_diffusion(film.free_steps, job.noise_scale),
                float(p.coefficients @ moments(film.seen, p.field, blocks=1).B))

    seen = list(_side_by_side(watch, job.studio.films(p, job.smear, replicas), watched))
    share = job.studio.share
    return Apparent.of(p, job.seen, [(m, f) for m, f, _ in seen], share * float(np.mean([b for *_, b in seen])))


@dataclass(frozen=True, eq=False)
class Response:
    """What the procedure makes of films of a model, and what to do about it.

    `distortion` @ c + `shift` is the mean naive estimate when the penalised estimate from clean positions is c.
    """

    distortion: np.ndarray
    shift: np.ndarray
    naive: np.ndarray
    smoothing: np.ndarray
    sampling: np.ndarray
    apparent: Apparent

    def undo(self, estimate: np.ndarray) -> np.ndarray:
        """The clean estimate behind a naive one."""
        return np.linalg.solve(self.distortion, estimate - self.shift)

    def uncorrected(self) -> Response:
        """The same scatter with nothing to undo: for forces whose correction does not settle."""
        return replace(self, distortion=np.eye(len(self.shift)), shift=np.zeros_like(self.shift))


def respond(job: Job, p: Parameters, naive: Solution, replicas: int, watched: Callable[[], None]) -> Response:
    """Film the model and estimate from the films."""
    studio, smear, drive, noise_scale = job.studio, job.smear, job.drive, job.noise_scale
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
            first = moments_with_smear(film.steps, p.field, smear, drive, [studio.seed, 2, film.number])
        L = inverse(first.A)
        found = L @ first.B
        return (np.eye(size) + K @ m.cross[0] - Kx @ m.cross[-1], K @ shift, found,
                naive.smoothness / studio.share * Kx @ penalty @ Kx, L @ sandwich(first, found) @ L,
                float(p.coefficients @ b),
                (free_diffusion(film.steps, noise_scale), free_diffusion(film.free_steps, noise_scale)))

    seen = list(zip(*_side_by_side(watch, studio.films(p, smear, replicas), watched), strict=True))
    apparent = Apparent.of(p, job.seen, list(seen[6]), studio.share * float(np.mean(seen[5])))
    return Response(np.mean(seen[0], 0), np.mean(seen[1], 0), np.array(seen[2]), np.mean(seen[3], 0),
                     np.mean(seen[4], 0), apparent)


def _inverse(A: np.ndarray, penalty: np.ndarray, smoothness: float, share: float) -> np.ndarray:
    """What turns b of a film into an estimate, with the data's balance of evidence and smoothness."""
    return np.linalg.inv(regularised(share * A, penalty, smoothness)) * share


def _side_by_side(watch: Callable[[Film], tuple[Any, ...]], films: Iterator[Film],
                  watched: Callable[[], None]) -> Iterator[tuple[Any, ...]]:
    """`watch` of every film, in order, THREADS at a time, `watched` after each; no more films than that are held."""
    # many small products: threads of the linear algebra inside our own would wait for each other half of the time
    with ThreadPoolExecutor(THREADS) as pool, threadpool_limits(1, user_api="blas"):
        while batch := list(islice(films, THREADS)):
            for result in pool.map(watch, batch):
                watched()
                yield result


def smear_of(data: Recording, p: Parameters) -> float:
    """Noise variance to add so that blur never outweighs noise [µm²]."""
    blurred = 2 * p.diffusion * data.dt * data.blur
    return max(0.0, blurred - max(p.noise_scale, 0.0) * float(data.variance.mean()))


def moments_with_smear(data: Recording, field: Field, smear: float, drive: float | None, seed: list[int],
                        draws: int = 4) -> ForceMoments:
    """ForceMoments of the data, averaged over draws of the noise added on purpose."""
    if smear == 0.0:
        return moments(data, field, diffusion=drive)
    takes = [replace(data, position=data.position + math.sqrt(smear) * rng.standard_normal(data.position.shape))
             for rng in np.random.default_rng(seed).spawn(draws)]
    return mean_moments(takes, field, diffusion=drive)
