"""Quantities that vanish where an assumption holds, with their covariance, and the p-value of what was measured.

    T = d' C⁻¹ d,  d = (measured on the data) - (on a recording that the model makes),  C = sum of both covariances

is Hotelling's T²: T (n - k) / (k (n - 1)) has the F distribution with k and n - k degrees of freedom, n the number of
pieces of tracks whose scatter C is (Rao, Linear Statistical Inference, 2nd ed. 1973, §8b). Where a small departure does
not matter (`margin`), the null is a departure of that size in the measured direction: T is then noncentral, with
T (margin/effect)² for its noncentrality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import ncf, norm

FEWEST = 12
"""Pieces of tracks below which nothing is said."""


@dataclass(frozen=True, eq=False)
class Quantities:
    """Measured values (k,), their covariance (k, k), and the number of independent pieces behind it."""

    value: np.ndarray
    covariance: np.ndarray
    pieces: int

    @property
    def stderr(self) -> np.ndarray:
        """(k,) standard errors."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def transformed(self, matrix: np.ndarray) -> Quantities:
        """Linear combinations of them."""
        return Quantities(matrix @ self.value, matrix @ self.covariance @ matrix.T, self.pieces)

    def less(self, control: Quantities | None, bias: float = np.inf) -> Quantities:
        """What is left of them when what the control shows is taken away; None is zero, known exactly.

        `bias`: standard deviation, known beforehand, of what the control measures. Where it is small, the control says
        more of its own chance than of the bias, and only the share bias²/(bias² + its variance) is taken.
        """
        if control is None or bias <= 0:
            return self
        share = 1.0 if np.isinf(bias) else bias**2 / (bias**2 + control.stderr**2)
        root = np.sqrt(np.broadcast_to(share, self.value.shape))
        covariance = self.covariance + np.outer(root, root) * control.covariance
        return Quantities(self.value - share * control.value, covariance, min(self.pieces, control.pieces))


def means(scores: np.ndarray, cluster: np.ndarray, weight: np.ndarray | None = None) -> Quantities | None:
    """Weighted means of the columns of `scores`, with errors from the scatter between clusters; None if these are few.

    Parameters
    ----------
    scores : (m, k) array
    cluster : (m,) int array
    weight : (m,) array, optional

    Examples
    --------
    >>> draws = np.random.default_rng(0).standard_normal((1000, 1))
    >>> found = means(draws, np.arange(1000) // 5)
    >>> bool(abs(found.value[0]) < 0.1), round(float(found.stderr[0]) * 1000**0.5, 1)
    (True, 1.0)
    """
    scores = scores if scores.ndim == 2 else scores[:, None]
    w = np.ones(len(scores)) if weight is None else weight
    count = int(np.unique(cluster).size) if len(cluster) else 0
    total = w.sum()
    if count < max(FEWEST, 2 * scores.shape[1] + 2) or total <= 0:
        return None
    mean = (w[:, None] * scores).sum(axis=0) / total
    left = w[:, None] * (scores - mean)
    size = int(cluster.max()) + 1
    sums = np.stack([np.bincount(cluster, column, size) for column in left.T], axis=1)
    return Quantities(mean, sums.T @ sums * count / (count - 1) / total**2, count)


def regression(scores: np.ndarray, functions: np.ndarray, cluster: np.ndarray) -> Quantities | None:
    """Coefficients of scores (m,) on functions (m, k) by least squares, errors from the scatter between clusters."""
    k = functions.shape[1]
    gram = functions.T @ functions / len(functions)
    if np.linalg.cond(gram) > 1e10:
        return None
    left = scores - functions @ np.linalg.solve(gram, functions.T @ scores / len(scores))
    if (found := means(functions * left[:, None], cluster)) is None:
        return None
    solve = np.linalg.inv(gram)
    value = solve @ (functions.T @ scores) / len(scores)
    assert len(value) == k
    return Quantities(value, solve @ found.covariance @ solve, found.pieces)


def hotelling(found: Quantities) -> float:
    """T of the module docstring."""
    return float(found.value @ np.linalg.pinv(found.covariance, hermitian=True) @ found.value)


def p_value(statistic: float, freedom: int, pieces: int, margin_over_effect: float = 0.0) -> float:
    """Probability of a T as large where the effect is at most the margin.

    >>> round(p_value(3.84, 1, 10_000), 2), p_value(3.84, 1, 10_000, margin_over_effect=1.2)
    (0.05, 1.0)
    """
    if not np.isfinite(statistic):
        return 1.0
    if margin_over_effect >= 1:
        return 1.0
    noncentrality = statistic * margin_over_effect**2
    scaled = statistic * (pieces - freedom) / (freedom * (pieces - 1))
    if noncentrality <= 0:
        return float(f_distribution.sf(scaled, freedom, pieces - freedom))
    if statistic > 300:                    # far out the root of T is a normal number
        return float(norm.sf(np.sqrt(statistic) - np.sqrt(noncentrality)))
    return float(np.clip(ncf.sf(scaled, freedom, pieces - freedom, noncentrality), 0.0, 1.0))
