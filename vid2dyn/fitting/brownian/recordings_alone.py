"""What the recordings of a joint fit say one by one, and which of them does not belong.

Each recording has its own estimate of D (of each species), of the strength of the learned forces (c·b over c·A c, freed
of what noise, blur and frame rate do to it by the synthetic recordings of the shared model) or of the stiffness of its
traps. Under one physics their differences from what the others say are Student's t of known scale. A recording whose
D or forces differ by more than chance allows once in 1e6 fits (`ALPHA`, shared among all comparisons) is named, the
worst first; the others are then compared among themselves.

Measured on sets of three films of 80 particles and 80 frames: of free particles a D that is 20 % larger is named in 12
of 12 sets, 15 % in 2; with pair forces a D 40 % larger in 6 of 6, 25 % in 4; forces .62 times as strong in 5 of 6, .44
times in 6. Under one physics the scores of 30 sets of nine films have a standard deviation of 1.03 (D), 1.02 (forces).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from vid2dyn.fitting.brownian.joint import JointParameters
from vid2dyn.fitting.brownian.likelihood import FreeSteps
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.response import EstimationProblem, Response, force_parts, force_strengths

BLOCKS = 8
"""Recordings from which on error bars are the scatter between recordings; with fewer they are the sum of the errors
within each, and recordings are taken to differ by chance alone."""

ALPHA = 1e-6
"""Probability that any recording is named although all have one physics."""

FEWEST_TRACKS = 20
"""Tracks below which the errors of one recording come from blocks of time, not from the scatter between tracks."""
TIMES = 40
"""Blocks of time."""


@dataclass(frozen=True, eq=False)
class Compared:
    """One quantity as each recording says it alone.

    Parameters
    ----------
    name : str
        "diffusion", "force_strength", "pair_strength", "trap_strength" or "trap_stiffness"; of a mixture "... of
        species 0" or "... of pair 0", places in the lists of species and of `species_pairs`.
    value, stderr, freedom : (recordings,) arrays
        nan where a recording says nothing; `freedom`: degrees of freedom of the error.
    """

    name: str
    value: np.ndarray
    stderr: np.ndarray
    freedom: np.ndarray


@dataclass(frozen=True, eq=False)
class RecordingsAlone:
    """All of them, and the error of the shared D (species,)."""

    compared: tuple[Compared, ...]
    diffusion_stderr: np.ndarray


@dataclass(frozen=True)
class Stranger:
    """A recording that does not belong: which, in which quantity, its value and that of the others with errors, how
    many standard errors apart."""

    recording: int
    quantity: str
    value: float
    stderr: float
    others: float
    others_stderr: float
    score: float


def strangers(compared: tuple[Compared, ...], alpha: float = ALPHA) -> list[Stranger]:
    """The recordings that do not belong, the worst first; of two that differ both are listed."""
    count = len(compared[0].value) if compared else 0
    left, found = np.ones(count, bool), []
    tests = max(1, count * len(compared))
    while left.sum() >= 2:
        worst: tuple[float, Stranger] | None = None
        for quantity in compared:
            here = left & np.isfinite(quantity.value) & (quantity.stderr > 0)
            for r in np.flatnonzero(here):
                others = here & (np.arange(count) != r)
                if not others.any():
                    continue
                weight = 1 / quantity.stderr[others] ** 2
                mean, error = float(weight @ quantity.value[others] / weight.sum()), float(weight.sum() ** -0.5)
                score = (quantity.value[r] - mean) / np.hypot(quantity.stderr[r], error)
                freedom = _welch(quantity.stderr[r], quantity.freedom[r], error, quantity.freedom[others], weight)
                excess = abs(score) / stdtrit(freedom, 1 - 0.5 * alpha / tests)
                if excess > 1 and (worst is None or excess > worst[0]):
                    worst = excess, Stranger(int(r), quantity.name, float(quantity.value[r]),
                                             float(quantity.stderr[r]), mean, error, float(score))
        if worst is None:
            break
        found.append(worst[1])
        left[worst[1].recording] = False
    return found


def _welch(own: float, own_freedom: float, other: float, freedoms: np.ndarray, weight: np.ndarray) -> float:
    """Degrees of freedom of a difference whose errors were measured (Welch, Biometrika 34, 28, 1947)."""
    share = weight / weight.sum()
    of_others = 1 / float((share**2 / freedoms).sum())
    return (own**2 + other**2) ** 2 / (own**4 / own_freedom + other**4 / of_others)


def probability(score: float, freedom: float) -> float:
    """Two-sided probability of a score under chance alone."""
    return float(2 * stdtr(freedom, -abs(score)))


def recordings_alone(problem: EstimationProblem, response: Response, p: JointParameters,
                     within: list[np.ndarray]) -> RecordingsAlone:
    """Of a fit of pair forces: D and the strength of the forces of each recording.

    `within`: of each recording the (species,) errors of D that it has by itself (`errors_of_free`).
    """
    slowing = np.array([one.slowing for one in response.auxiliary])
    _, _, information = problem.shared(slowing)
    weights = information / information.sum(axis=0)
    count, species = slowing.shape
    compared, errors = [], np.zeros(species)
    for s in range(species):
        values, stderr, freedom = (np.full(count, np.nan) for _ in range(3))
        for r, one in enumerate(problem.recordings):
            free = one.free[s]
            if free is not None:
                own = scatter_of_free(one.data.of_species(s), free.diffusion, free.noise_scale,
                                      problem.noise_scale is not None)
                values[r] = free.diffusion / slowing[r, s]
                stderr[r], freedom[r] = own.log_diffusion * values[r], own.freedom
        compared.append(Compared("diffusion" if species == 1 else f"diffusion of species {s}", values, stderr, freedom))
        errors[s] = shared_stderr(values, weights[:, s], np.array(within)[:, s], p.diffusion[s])
    compared += _strengths(problem, response, p)
    return RecordingsAlone(tuple(compared), errors)


def shared_stderr(values: np.ndarray, weights: np.ndarray, within: np.ndarray, mean: float) -> float:
    """Standard error of a weighted mean over recordings: their scatter from `BLOCKS` of them on, else `within` each.

    A scatter that n values give is itself uncertain: as in `shrunk_covariance` its square is (n - 1)/(n - 3) larger.
    """
    there = np.isfinite(values) & (weights > 0)
    n = int(there.sum())
    if n < BLOCKS:
        return float(np.sqrt(((weights * np.where(there, within, 0.0)) ** 2).sum()))
    scatter = (weights[there] * (values[there] - mean)) ** 2
    return float(np.sqrt(scatter.sum() * n / (n - 1) * (n - 1) / (n - 3)))


def _strengths(problem: EstimationProblem, response: Response, p: JointParameters) -> list[Compared]:
    """The strength of the forces and of every part of them in each recording, over the mean of its synthetic ones.

    The error is the scatter of the synthetic ones. Over all recordings its square goes as the noise of b per force,
    1/(D dt c·A c); what a few replicas of one recording scatter beyond that is believed, less is not.
    """
    strengths, share = response.strengths, np.array([one.synthetic.share for one in problem.recordings])
    count, replicas, parts = strengths.shape
    seen = np.array([force_strengths(p.of(r), one.seen) for r, one in enumerate(problem.recordings)])
    size = np.empty((count, parts))
    for r, one in enumerate(problem.recordings):
        c = np.column_stack([p.of(r).coefficients, force_parts(p.of(r))])[:, :parts]
        size[r] = 1 / (one.data.dt * np.maximum(np.einsum("ap,ab,bp->p", c, one.seen.A, c), 1e-300))
    mean, out = strengths.mean(axis=1), []
    kinds = len(p.field.splines)
    of_pairs = ["pair_strength"] if kinds == 1 else [f"pair_strength of pair {k}" for k in range(kinds)]
    names = ["force_strength", *of_pairs, "trap_strength"]
    for k in range(parts):
        own = (strengths[:, :, k].std(axis=1, ddof=1) / mean[:, k]) ** 2 / share
        variance = np.maximum(own, float((own / size[:, k]).mean()) * size[:, k]) * (1 + share / replicas)
        value = seen[:, k] / mean[:, k]
        told = (strengths[:, :, k].std(axis=1) > 0) & (mean[:, k] > 0)
        out.append(Compared(names[k], np.where(told, value, np.nan),
                            np.where(told, np.abs(value) * np.sqrt(variance), np.nan),
                            np.full(count, float(count * (replicas - 1)))))
    return out


def errors_of_free(problem: EstimationProblem, response: Response, recording: int) -> tuple[np.ndarray, np.ndarray]:
    """(species,) standard errors of D and of the noise scale that one recording gives, its forces being known.

    Two estimates, together: the scatter over synthetic recordings, which has everything in it but is known to a quarter
    itself, as they are few (8: bands of it alone would hold 91 times in 100), and that between the tracks of the data
    (`scatter_of_free`), which takes particles as independent and so counts for no more than the first.
    """
    one, seen = problem.recordings[recording], response.auxiliary[recording]
    few = len(seen.diffusions) - 1
    out = []
    for values, name in ((seen.diffusions, "log_diffusion"), (seen.noises, "noise_scale")):
        variance = values.var(axis=0, ddof=1) / one.synthetic.share
        for s, free in enumerate(one.free):
            if free is not None:
                own = scatter_of_free(one.data.of_species(s), free.diffusion, free.noise_scale,
                                      problem.noise_scale is not None)
                weight, error = min(float(few), own.freedom), float(getattr(own, name))
                if name == "log_diffusion":
                    error *= float(values[:, s].mean())
                variance[s] = (few * variance[s] + weight * error**2) / (few + weight)
        out.append(np.sqrt(variance))
    return out[0] / seen.slowing, out[1]


class FreeErrors(NamedTuple):
    """Standard errors of ln D and of the noise scale (0 where it is given), and their degrees of freedom."""

    log_diffusion: float
    noise_scale: float
    freedom: float


def scatter_of_free(recording: Recording, diffusion: float, noise_scale: float, fixed: bool) -> FreeErrors:
    """Standard errors of what `free_diffusion` finds in one recording; `fixed`: the noise scale is given.

    The sandwich H⁻¹ (Σ g gᵀ) H⁻¹ (White, Econometrica 50, 1, 1982), g = score of one track (steps of a particle need
    not be independent) or, with few tracks, of one stretch of time.
    """
    steps = FreeSteps.of(recording)
    x, small = np.log(diffusion), 1e-3
    other = steps.noise_step(x, noise_scale)

    def each(a: int, b: int) -> np.ndarray:
        return steps.log_likelihood(x + a * small, noise_scale + b * other)

    track = recording.track[steps.rows]
    names, part = np.unique(track, return_inverse=True)
    if len(names) < FEWEST_TRACKS:
        frame = recording.frame[steps.rows]
        part = (frame - frame.min()) * TIMES // (int(np.ptp(frame)) + 1)
        part = np.unique(part, return_inverse=True)[1]
    middle, up, down = each(0, 0), each(1, 0), each(-1, 0)
    first = (up - down) / (2 * small)
    scores, H = [np.bincount(part, first)], np.array([[-(up - 2 * middle + down).sum() / small**2]])
    if not fixed:
        right, left = each(0, 1), each(0, -1)
        cross = (each(1, 1) - each(1, -1) - each(-1, 1) + each(-1, -1)).sum() / (4 * small * other)
        second = (right - 2 * middle + left).sum() / other**2
        if np.isfinite(cross) and -second > 0:
            scores.append(np.bincount(part, (right - left) / (2 * other)))
            H = np.array([[H[0, 0], -cross], [-cross, -second]])
    g = np.array(scores)
    g = g - g.mean(axis=1, keepdims=True)
    freedom = max(1.0, g.shape[1] - 1.0)
    inverse = np.linalg.pinv(H)
    covariance = inverse @ (g @ g.T) @ inverse * (freedom + 1) / freedom
    errors = np.sqrt(np.maximum(np.maximum(np.diag(covariance), np.diag(inverse)), 1e-300))
    return FreeErrors(float(errors[0]), float(errors[1]) if len(errors) > 1 else 0.0, freedom)
