"""Columns out of features: the directions that last longest, made independent of each other.

Slow feature analysis (Wiskott & Sejnowski, Neural Comput. 14, 715 (2002)): of all uncorrelated, standardised linear
combinations of the features, those whose values at two nearby times correlate most. Where several last equally long
(every particle has its own brightness, and its own state) any rotation of them is as slow; independent component
analysis (Hyvärinen & Oja, Neural Netw. 13, 411 (2000)) chooses the one in which they are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1e-6
"""Share of the largest variance below which a direction of the features counts as none."""


@dataclass(frozen=True)
class SlowColumns:
    """columns = (features - mean) @ weights; `persistence` (d,) is their correlation over the pairs' lag."""

    mean: np.ndarray
    weights: np.ndarray
    persistence: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) @ self.weights


def slow_columns(first: np.ndarray, second: np.ndarray, columns: int) -> SlowColumns:
    """The `columns` slowest, independent combinations of features, the most persistent first.

    Parameters
    ----------
    first, second : (n, f) arrays
        Features of the same particles at two nearby times.

    >>> rng = np.random.default_rng(0)
    >>> slow, noise = rng.integers(0, 2, 4000) - 0.5, rng.standard_normal((2, 4000, 2))
    >>> mix = np.array([[1.0, 0.4, 0.1], [0.2, 1.0, 0.3], [0.1, 0.1, 1.0]])
    >>> one, two = (np.column_stack([slow, n]) @ mix for n in noise)
    >>> found = slow_columns(one, two, 1)
    >>> bool(found.persistence[0] > 0.99), bool(abs(np.corrcoef(found(one)[:, 0], slow)[0, 1]) > 0.99)
    (True, True)
    """
    both = np.concatenate([first, second]).astype(float)
    mean = both.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(both.T, bias=True).reshape(len(mean), len(mean)))
    kept = values > RIDGE * values[-1]
    white = vectors[:, kept] / np.sqrt(values[kept])
    a, b = (first - mean) @ white, (second - mean) @ white
    lagged = a.T @ b / len(a)
    strength, turn = np.linalg.eigh(0.5 * (lagged + lagged.T))
    top = np.argsort(strength)[::-1][:columns]
    weights = white @ turn[:, top]
    weights = weights @ independent((both - mean) @ weights)
    one, two = (first - mean) @ weights, (second - mean) @ weights
    persistence = (one * two).mean(axis=0)
    order = np.argsort(persistence)[::-1]
    return SlowColumns(mean, weights[:, order], persistence[order])


def independent(white: np.ndarray, rounds: int = 200) -> np.ndarray:
    """(d, d) rotation that makes standardised, uncorrelated columns (n, d) independent: FastICA, tanh, symmetric.

    Starts from no rotation, so it is the same at every call.
    """
    n, d = white.shape
    rotation = np.eye(d)
    for _ in range(rounds if d > 1 else 0):
        source = np.tanh(white @ rotation)
        moved = white.T @ source / n - rotation * (1 - source**2).mean(axis=0)
        u, _, v = np.linalg.svd(moved)
        turned = u @ v
        settled = np.abs(np.abs((turned * rotation).sum(axis=0)) - 1).max() < 1e-8
        rotation = turned
        if settled:
            break
    return rotation
