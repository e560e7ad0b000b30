"""Penalised solution of A c = b with the smoothness chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from vid2dyn.fitting.brownian.design import ForceMoments

TOLERANCE = 0.2

NAIVE = 0.1
"""Of the smoothness that predicts best, for the estimate from which noise is still to be taken out: what is smoothed
there cannot be had back. `smoothed` comes after."""

UNDERSMOOTHED = 0.1
"""Of the most likely smoothness: there squared bias and variance are alike, and a band made of the variance misses
(Hall, Ann. Stat. 20, 675, 1992: undersmooth for confidence bands). The tail of a Yukawa force was held by 70 % of
95 % bands at 1, by all at 0.1."""


@dataclass(frozen=True, eq=False)
class Solution:
    """c and the smoothness weight it was found with."""

    coefficients: np.ndarray
    smoothness: float


def regularised(A: np.ndarray, penalty: np.ndarray, smoothness: float) -> np.ndarray:
    """A + smoothness P, with a ridge of 1e-10 of its mean for directions no datum touches."""
    return A + smoothness * penalty + 1e-10 * np.trace(A) / len(A) * np.eye(len(A))


def cross_validated(data: ForceMoments, penalty: np.ndarray, part: float = 1.0) -> Solution:
    """Solve with a `part` of the strongest smoothness that predicts left-out blocks of time about as well as the best.

    The loss of a block is the score matching loss c·A c/2 - b·c; "about" means within TOLERANCE standard errors of the
    difference over blocks (after the one-standard-error rule of Breiman et al., CART, 1984, §3.4.3; a whole one bends
    Yukawa tails). Blocks of time keep correlated frames together, so no assumption on the noise of b is needed (the
    evidence, which takes frames for independent, overfits here).
    """
    A, B = data.A, data.B
    if not penalty.any():
        return Solution(np.linalg.solve(regularised(A, penalty, 0.0), B), 0.0)
    unit = np.trace(A) / np.trace(penalty)
    grid = unit * 10.0 ** np.arange(-9.0, 5.5, 0.5)
    loss = np.zeros((len(data.a), len(grid)))
    for k in range(len(data.a)):
        train = A - data.a[k]
        for n, smoothness in enumerate(grid):
            c = np.linalg.solve(regularised(train, penalty, smoothness), B - data.b[k])
            loss[k, n] = 0.5 * c @ data.a[k] @ c - data.b[k] @ c
    if len(data.a) < 3:
        best = float(unit)
    else:
        worse = loss - loss[:, [int(np.argmin(loss.sum(axis=0)))]]
        error = worse.std(axis=0, ddof=1) * np.sqrt(len(worse))
        best = float(grid[np.flatnonzero(worse.sum(axis=0) <= TOLERANCE * error).max()]) * part
    return Solution(np.linalg.solve(regularised(A, penalty, best), B), best)


def smoothed(estimate: np.ndarray, covariance: np.ndarray, penalty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An estimate of known covariance C under the prior exp(-λ c·P c/2): mean and covariance of the posterior.

    λ is a tenth (`UNDERSMOOTHED`) of where the marginal likelihood of the estimate is largest (MacKay, Neural Comput.
    4, 415, 1992). What is known well hardly moves; what noise hides, where taking noise back has made waves, is as
    smooth as the rest of the function.

    >>> x = np.linspace(0, 1, 30)
    >>> third = np.diff(np.eye(30), 3, axis=0)
    >>> rough = x**2 + 0.1 * np.random.default_rng(0).normal(size=30)
    >>> found, covariance = smoothed(rough, 0.01 * np.eye(30), third.T @ third + 1e-9 * np.eye(30))
    >>> bool(np.abs(found - x**2).max() < 0.1), bool((np.abs(found - x**2) < 3 * np.sqrt(np.diag(covariance))).all())
    (True, True)
    """
    if not penalty.any():
        return estimate, covariance
    size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    values, vectors = eigh(covariance / size[:, None] / size)
    values = np.maximum(values, 1e-10 * values.max())
    P = size[:, None] * penalty * size
    # in the basis that whitens C the prior alone has a matrix; there all λ are seen at once
    root = vectors * np.sqrt(values)
    prior, basis = eigh(root.T @ P @ root)
    prior = np.maximum(prior, 0.0)
    white = basis.T @ (vectors.T @ (estimate / size) / np.sqrt(values))
    penalised = prior > 1e-12 * prior.max()
    grid = 10.0 ** np.arange(-14.0, 8.1, 0.25) / np.median(prior[penalised])
    part = 1 / (1 + np.outer(grid, prior[penalised]))                     # of the estimate that is left
    evidence = (np.log(1 - part + 1e-300) - white[penalised] ** 2 * (1 - part)).sum(axis=1)
    left = 1 / (1 + UNDERSMOOTHED * grid[int(np.argmax(evidence))] * prior)
    back = size[:, None] * root @ basis
    return back @ (left * white), (back * left) @ back.T


def sandwich(data: ForceMoments, estimate: np.ndarray) -> np.ndarray:
    """Covariance of b - A c from its scatter over blocks of time (A itself from a single block).

    >>> rng = np.random.default_rng(0)
    >>> blocks = ForceMoments(np.tile(np.eye(2), (1000, 1, 1)), rng.normal(size=(1000, 2)))
    >>> abs(sandwich(blocks, np.zeros(2)) / 1000).round(1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if len(data.b) < 3:
        return data.A
    left = data.b - data.a @ estimate
    left = left - left.mean(axis=0)
    return len(left) / (len(left) - 1) * left.T @ left


def shrunk_covariance(samples: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Covariance of (n, size) draws, shrunk toward the shape of `target`.

    In the basis that whitens `target` the sample covariance is mixed half and half with its own mean variance:
    a few replicas cannot tell a full matrix, but they do tell its size. What n replicas say of a variance is itself
    uncertain, which widens the prediction to Student's t with n - 1 degrees of freedom: its variance is (n - 1)/(n - 3)
    times larger.
    """
    centred = samples - samples.mean(axis=0)
    values, vectors = eigh(0.5 * (target + target.T))
    keep = values > 1e-12 * values.max()
    root = vectors[:, keep] * np.sqrt(values[keep])
    white = centred @ (vectors[:, keep] / np.sqrt(values[keep]))
    sample = white.T @ white / max(1, len(samples) - 1)
    scale = np.trace(sample) / len(sample)
    if len(samples) > 3:
        sample = sample * (len(samples) - 1) / (len(samples) - 3)
    return root @ (0.5 * sample + 0.5 * scale * np.eye(len(sample))) @ root.T
