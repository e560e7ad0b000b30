"""Friction matrices of particles as sparse operators: graph Laplacians of pairs plus a diagonal of particles.

    A = sum over pairs of (d_i - d_j)(d_i - d_j)ᵀ ⊗ [across (I - e eᵀ) + along e eᵀ] + diag(node) ⊗ I

Products, solutions by conjugate gradients, draws with covariance A, and slopes of traces; nothing is stored but the
pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.core.conjugate_gradients import conjugate_gradients
from vid2dyn.core.errors import ModelError
from vid2dyn.inference import sums

MOST = 2000
"""Iterations of conjugate gradients after which a system is given up."""


@dataclass(frozen=True, eq=False)
class PairMatrix:
    """A, see the head of this file.

    Parameters
    ----------
    first, second : (pairs,) int arrays
    e : (pairs, dim) array
    across, along : (pairs,) arrays
        At least zero.
    node : (n,) array
        At least zero.
    """

    first: np.ndarray
    second: np.ndarray
    e: np.ndarray
    across: np.ndarray
    along: np.ndarray
    node: np.ndarray

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both ends of every pair and its line of centres."""
        return self.first, self.second, self.e

    def times(self, x: np.ndarray) -> np.ndarray:
        """A x for x (n, dim)."""
        out = np.empty_like(x)
        sums.laplacian(*self.ends, self.across, self.along, x, out)
        return out + self.node[:, None] * x

    def solve(self, right: np.ndarray, tolerance: float = 1e-6) -> np.ndarray:
        """A⁻¹ right, (n, dim).

        Raises
        ------
        ModelError
            When conjugate gradients do not end: the matrix is singular for all practical purposes.
        """
        there = (self.across > 0) | (self.along > 0)       # pairs beyond the range only cost time
        x, iterations = _solve(self.first[there], self.second[there], self.e[there], self.across[there],
                               self.along[there], self.node, np.ascontiguousarray(right), tolerance)
        if iterations < 0:
            raise ModelError("The covariance of the momentum changes cannot be inverted: some particles have no "
                             "friction in the model. Give the friction a longer range, or add SubstrateFriction.")
        return x

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A random vector with covariance A, (n, dim)."""
        n, dim = len(self.node), self.e.shape[1]
        out = np.empty((1, n, dim))
        sums.draws(*self.ends, self.across, self.along, rng.standard_normal((1, len(self.first), dim)), out)
        return out[0] + np.sqrt(self.node)[:, None] * rng.standard_normal((n, dim))

    def forms(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of x·A y in across and along, (2, pairs), and in node, (n,)."""
        return sums.quadratic(*self.ends, x, y), (x * y).sum(axis=1)

    def diagonal(self) -> np.ndarray:
        """Mean over directions of the diagonal block of every particle, (n,)."""
        dim = self.e.shape[1]
        size = ((dim - 1) * self.across + self.along) / dim
        return (np.bincount(self.first, size, len(self.node)) + np.bincount(self.second, size, len(self.node))
                + self.node)

    def dense(self) -> np.ndarray:
        """A as a matrix, particle-major; for small systems."""
        n, dim = len(self.node), self.e.shape[1]
        out = np.zeros((n, dim, n, dim))
        line = self.e[:, :, None] * self.e[:, None, :]
        block = self.across[:, None, None] * (np.eye(dim) - line) + self.along[:, None, None] * line
        for a, b, sign in ((self.first, self.first, 1), (self.second, self.second, 1),
                           (self.first, self.second, -1), (self.second, self.first, -1)):
            np.add.at(out, (a, slice(None), b), sign * block)  # type: ignore[arg-type]
        out[np.arange(n), :, np.arange(n)] += self.node[:, None, None] * np.eye(dim)
        return out.reshape(n * dim, n * dim)

    def response(self, inverse_mass: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """tr X and tr X² of X = mass⁻¹ A, with their slopes: (tr X, tr X², its slopes in across and along (2, pairs) of
        tr X, of tr X², slopes in node (n,) of tr X, of tr X²).

        Exact where every pair is listed once.
        """
        dim, n = self.e.shape[1], len(self.node)
        i, j = self.first, self.second
        both = inverse_mass[i] + inverse_mass[j]
        first_slopes = np.stack([(dim - 1) * both, both])
        trace = float((first_slopes[0] * self.across + first_slopes[1] * self.along).sum()
                      + dim * (inverse_mass * self.node).sum())
        blocks = sums.blocks(*self.ends, self.across, self.along, n) + self.node[:, None, None] * np.eye(dim)
        blocks *= (inverse_mass**2)[:, None, None]
        own = blocks[i] + blocks[j]
        line = np.einsum("pa,pab,pb->p", self.e, own, self.e)
        cross = 2.0 * inverse_mass[i] * inverse_mass[j]
        second_slopes = 2.0 * np.stack([np.einsum("paa->p", own) - line + cross * (dim - 1) * self.across,
                                        line + cross * self.along])
        node_slopes = 2.0 * np.einsum("naa->n", blocks)
        square = 0.5 * float((second_slopes[0] * self.across + second_slopes[1] * self.along).sum()
                             + (node_slopes * self.node).sum())
        return trace, square, first_slopes, second_slopes, dim * inverse_mass, node_slopes


@njit(error_model="numpy")
def _apply(operator, x, out):  # type: ignore[no-untyped-def]
    first, second, e, across, along, node, _ = operator
    sums.laplacian(first, second, e, across, along, x, out)
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[i, c] += node[i] * x[i, c]


@njit(error_model="numpy")
def _by_diagonal(operator, residual, out):  # type: ignore[no-untyped-def]
    inverse = operator[6]
    for i in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[i, c] = residual[i, c] * inverse[i]
    return out


@njit(cache=True, error_model="numpy")
def _solve(first, second, e, across, along, node, right, tolerance):  # type: ignore[no-untyped-def]
    n, dim = right.shape
    inverse = node.copy()
    for p in range(first.shape[0]):
        d = ((dim - 1) * across[p] + along[p]) / dim
        inverse[first[p]] += d
        inverse[second[p]] += d
    for i in range(n):
        inverse[i] = 1.0 / inverse[i] if inverse[i] > 0.0 else 0.0
    x = np.empty((n, dim))
    vectors = right.copy(), x, np.empty((n, dim)), np.empty((n, dim)), np.empty((n, dim))
    operator = first, second, e, across, along, node, inverse
    count = conjugate_gradients(_apply, _by_diagonal, sums.dot, sums.advance, sums.turn, operator, vectors, tolerance,
                                MOST)
    return x, count
