"""Gauss-Newton steps to the numbers of a solid under which its shot motion fits best.

    minimise  sum over positions, velocities  N ln σ,   σ² = r·r/N     (the likelihood with the σ that fits best)

plus the prior of the terms. Frictions stay at least zero; energies may go below, which is then said. Steps are halved
while they make it worse.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.optimize import lsq_linear

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.fitting.particles.solids.shooting import Recorded, Residuals, neighbours, shoot, strain_components

HALVINGS = 8
"""Times that a step is halved."""
FLOOR = 1e-5
"""Smallest σ, over how far nodes move: below it differences are those of the solver."""


@dataclass(frozen=True, eq=False)
class SolidTask:
    """What is fitted, and how.

    Parameters
    ----------
    recordings : sequence of Recorded
    sizes : (P,) array
        Scale of each number.
    precision : (P, P) array
        Of the prior.
    positive : (P,) bool array
        Which numbers are at least zero.
    iterations : int
    tolerance : float
        The fit ends when less is left to be gained [nats].
    """

    recordings: tuple[Recorded, ...]
    sizes: np.ndarray
    precision: np.ndarray
    positive: np.ndarray
    iterations: int
    tolerance: float

    def floors(self) -> np.ndarray:
        """Smallest σ of positions [µm] and velocities [µm/s]."""
        moved = np.zeros(2)
        for one in self.recordings:
            free = one.motion.held == 0
            away = one.motion.position[:, free] - one.motion.reference[free]
            moved[0] = max(moved[0], float(np.sqrt(np.nanmean(away**2))))
            if one.motion.velocity is not None:
                moved[1] = max(moved[1], float(np.sqrt(np.nanmean(one.motion.velocity[:, free] ** 2))))
        return np.maximum(FLOOR * moved, 1e-300)


@dataclass(frozen=True, eq=False)
class SolidFit:
    """Where a fit has come to.

    Parameters
    ----------
    theta : (P,) array
    covariance : (P, P) array
        Of the numbers: information of the data and prior, widened by the scatter of the score from patch to patch and
        over other paths of the edges.
    sigma : (2,) array
        What is left of positions [µm] and velocities [µm/s]; NaN where there are none.
    decrements : tuple of float
        What each round still had to gain [nats].
    strain, strain_error : (components,) arrays
        Strain of the reference frame that would fit better still, and its standard error; empty: not asked.
    strain_share : float
        Share of what is left (squares over σ²) that this strain would explain.
    left_off : bool
        Whether it was stopped.
    """

    theta: np.ndarray
    covariance: np.ndarray
    sigma: np.ndarray
    decrements: tuple[float, ...]
    strain: np.ndarray = field(default_factory=lambda: np.empty(0))
    strain_error: np.ndarray = field(default_factory=lambda: np.empty(0))
    strain_share: float = 0.0
    left_off: bool = False


def fitted(task: SolidTask, start: np.ndarray, progress: Progress = silent, *, what: str = "fitting a solid",
           place: Checkpoint = NOWHERE, stop: int | None = None, keep_partial: bool = False,
           strains: bool = False) -> SolidFit:
    """Gauss-Newton from `start` until less than the tolerance is left.

    Raises
    ------
    ModelError
        When the motion runs away from the start on.
    """
    theta, decrements = start.copy(), list[float]()
    if (kept := place.load()) is not None:
        theta, decrements = np.asarray(kept["theta"]), [float(d) for d in kept["decrements"]]
    left_off, noise = False, 0.0
    floors = task.floors()
    if kept is not None:
        noise = float(kept["noise"])
    while True:
        try:
            sums = _sums(task, theta, noise, progress, f"{what}, round {len(decrements) + 1}")
        except Cancelled:
            if not keep_partial or not decrements:
                raise
            return _finished(task, theta, decrements, floors, noise, silent, what, False, True)
        if not np.isfinite(sums.squares).all():
            raise ModelError("The motion runs away from the start of the fit on: the springs that the first look found "
                             "do not hold the solid. Look at the reference frame, or give shorter bonds (cutoff).")
        move, decrement = _step(task, theta, sums, floors)
        decrements.append(decrement)
        progress.likelihood(len(decrements), -_misfit(sums, floors), math.nan, what)
        done = decrement < task.tolerance or len(decrements) >= task.iterations
        left_off = not done and stop is not None and len(decrements) >= stop
        try:
            theta, better = _taken(task, theta, move, sums, floors, noise, progress, what)
        except Cancelled:
            if not keep_partial:
                raise
            return _finished(task, theta, decrements, floors, noise, silent, what, False, True)
        settled, noise = noise, _velocity_noise(sums, floors)
        place.save({"theta": theta, "decrements": np.array(decrements), "noise": noise})
        if left_off or ((done or not better) and (abs(noise - settled) < 0.02 * noise or not noise
                                                  or len(decrements) >= task.iterations)):
            break
    return _finished(task, theta, decrements, floors, noise, progress, what, strains and not left_off, left_off)


def _velocity_noise(sums: Residuals, floors: np.ndarray) -> float:
    """What is left of the velocities [µm/s], 0 where there were none."""
    return float(np.sqrt(_variances(sums, floors)[1])) if sums.counts[1] > 0 else 0.0


def _sums(task: SolidTask, theta: np.ndarray, noise: float, progress: Progress, what: str,
          strains: int = 0, *, other_paths: bool = False) -> Residuals:
    return _joined(shoot(one, *neighbours(one, theta, task.sizes, strains), velocity_noise=noise,
                         other_paths=other_paths, progress=progress, what=what) for one in task.recordings)


def _variances(sums: Residuals, floors: np.ndarray) -> np.ndarray:
    """σ² of positions and velocities; infinite where none were seen."""
    seen = sums.counts > 0
    return np.where(seen, np.maximum(sums.squares / np.maximum(sums.counts, 1), floors**2), np.inf)


def _misfit(sums: Residuals, floors: np.ndarray) -> float:
    """Negative log-likelihood with the σ that fits best, up to a constant [nats]."""
    seen = sums.counts > 0
    if not np.isfinite(sums.squares).all():
        return math.inf
    sigma2 = _variances(sums, floors)[seen]
    return float((0.5 * sums.counts[seen] * (np.log(sigma2) + sums.squares[seen] / sums.counts[seen] / sigma2)).sum())


def _prior(task: SolidTask, theta: np.ndarray) -> float:
    return float(0.5 * theta @ task.precision @ theta)


def _step(task: SolidTask, theta: np.ndarray, sums: Residuals, floors: np.ndarray) -> tuple[np.ndarray, float]:
    """The step, and half of what it promises."""
    weight = 1.0 / _variances(sums, floors)
    H = np.tensordot(weight, sums.information, axes=1) + task.precision
    g = weight @ sums.scores - task.precision @ theta
    scale = 1.0 / np.sqrt(np.maximum(np.diag(H), 1e-300))
    root = cholesky(H * scale[:, None] * scale + 1e-13 * np.eye(len(H)))
    low = np.where(task.positive, -theta / scale, -np.inf)
    low = np.minimum(low, 0.0)
    target = solve_triangular(root, scale * g, trans=1)
    found = lsq_linear(root, target, bounds=(low, np.inf), tol=1e-12) if task.positive.any() else None
    scaled = found.x if found is not None else solve_triangular(root, target)
    move = scale * scaled
    return move, float(g @ move - 0.5 * move @ H @ move)


def _taken(task: SolidTask, theta: np.ndarray, move: np.ndarray, sums: Residuals, floors: np.ndarray,
           noise: float, progress: Progress, what: str) -> tuple[np.ndarray, bool]:
    """The numbers after a step, halved while it makes the fit worse; and whether there was one."""
    before = _misfit(sums, floors) + _prior(task, theta)
    for halving in range(HALVINGS):
        new = theta + 0.5**halving * move
        new[task.positive] = np.maximum(new[task.positive], 0.0)
        after = _alone(task, new, noise, progress, what)
        if _misfit(after, floors) + _prior(task, new) <= before:
            return new, True
    return theta, False


def _alone(task: SolidTask, theta: np.ndarray, noise: float, progress: Progress, what: str) -> Residuals:
    """Of the motions without neighbours."""
    return _joined(shoot(one, [one.terms.frozen(theta)], np.empty(0), velocity_noise=noise, progress=progress,
                         what=f"{what}, trying a step") for one in task.recordings)


def _joined(parts: Iterable[Residuals]) -> Residuals:
    return functools.reduce(Residuals.joined, parts)


def _finished(task: SolidTask, theta: np.ndarray, decrements: Sequence[float], floors: np.ndarray, noise: float,
              progress: Progress, what: str, strains: bool, left_off: bool) -> SolidFit:
    """Error bars at the end, and the strain of the reference frame that the data would have."""
    dim = task.recordings[0].motion.dim
    components = len(strain_components(dim)) if strains else 0
    sums = _sums(task, theta, noise, progress, f"{what}, error bars", components, other_paths=True)
    weight = 1.0 / _variances(sums, floors)
    F = np.tensordot(weight, sums.information, axes=1)
    scores = np.einsum("k,knp->np", weight, sums.of_nodes)
    of_patches = np.zeros((len(scores), scores.shape[1]))
    np.add.at(of_patches, _patches([one.motion.reference for one in task.recordings]), scores)
    G = of_patches.T @ of_patches
    P = np.zeros_like(F)
    P[:len(theta), :len(theta)] = task.precision
    shared = np.einsum("k,kbp->bp", weight, sums.of_paths)
    covariance = _covariance(F, G, P) + _of_paths(F, P, shared)
    sigma = np.where(sums.counts > 0, np.sqrt(sums.squares / np.maximum(sums.counts, 1)), np.nan)
    count = len(theta)
    strain, share = np.empty(0), 0.0
    strain_error = strain
    if components:
        g = weight @ sums.scores
        g[:count] -= task.precision @ theta
        scale = 1.0 / np.sqrt(np.maximum(np.diag(F + P), 1e-300))
        shift = scale * np.linalg.lstsq((F + P) * scale[:, None] * scale, scale * g, rcond=1e-13)[0]
        share = float(g @ shift) / max(float((weight * sums.squares)[sums.counts > 0].sum()), 1e-300)
        strain, strain_error = shift[count:], np.sqrt(np.maximum(np.diag(covariance)[count:], 0.0))
        F, G, P, shared = F[:count, :count], G[:count, :count], P[:count, :count], shared[:, :count]
        covariance = _covariance(F, G, P) + _of_paths(F, P, shared)
    return SolidFit(theta, covariance, sigma, tuple(decrements), strain, strain_error, share, left_off)


def _patches(references: Sequence[np.ndarray]) -> np.ndarray:
    """Number of the patch of about nine nodes (in space 27) that each node of all recordings belongs to.

    What is wrong with a reference position is wrong for all bonds of the node and at all times: scores of neighbours go
    together, those of patches hardly.
    """
    labels, count = [], 0
    for X in references:
        low, span = X.min(axis=0), np.maximum(np.ptp(X, axis=0), 1e-300)
        across = np.maximum(1, np.round(span / (3 * (np.prod(span) / len(X)) ** (1 / X.shape[1])))).astype(int)
        cell = np.minimum((across * (X - low) / span).astype(int), across - 1)
        labels.append(count + np.ravel_multi_index(tuple(cell.T), tuple(across)))
        count += int(np.prod(across))
    return np.concatenate(labels)


def _of_paths(F: np.ndarray, P: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Covariance of the numbers that follows from what is not known of the path of the edges, an error that all nodes
    share: the scatter of (F + P)⁻¹ score over paths that they may as well have gone. `scores` (draws, P)."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(F + P), 1e-300))
    moved = (scores * scale) @ np.linalg.pinv((F + P) * scale[:, None] * scale, rcond=1e-15, hermitian=True)
    return moved.T @ moved / len(scores) * scale[:, None] * scale


def _covariance(F: np.ndarray, G: np.ndarray, P: np.ndarray) -> np.ndarray:
    """(F + P)⁻¹ where the score scatters as the information F says, wider where its scatter G over patches is larger.

    In units in which F is one, eigenvalues of G below one are raised to it: bands are never narrower than those of
    independent errors (the sandwich of Huber, Proc. 5th Berkeley Symp. 1, 221, 1967, kept from below).
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diag(F + P), 1e-300))
    F, G, P = (m * scale[:, None] * scale for m in (F, G, P))
    value, vector = eigh(F)
    known = value > 1e-13 * value[-1]
    half = vector[:, known] * np.sqrt(value[known])
    inner = (vector[:, known] / np.sqrt(value[known])).T @ G @ (vector[:, known] / np.sqrt(value[known]))
    spread, turn = eigh(inner)
    meat = half @ (turn * np.maximum(spread, 1.0)) @ turn.T @ half.T
    inverse = np.linalg.pinv(F + P, rcond=1e-15, hermitian=True)
    found = inverse @ (meat + P) @ inverse
    return 0.5 * (found + found.T) * scale[:, None] * scale
