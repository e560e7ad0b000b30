"""Friction matrices as sparse operators against dense ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vid2dyn.data.box import Free
from vid2dyn.dynamics.terms.base import Configuration
from vid2dyn.inference.pair_matrix import PairMatrix

EPS = np.finfo(float).eps


def matrix(dim: int, node: float = 0.3, n: int = 11) -> PairMatrix:
    rng = np.random.default_rng(dim)
    at = Configuration.of(rng.uniform(0, 2.0, (n, dim)), Free(), 1.3)
    across, along = rng.uniform(0, 2, (2, len(at.r)))
    across[:2] = along[:2] = 0.0                                     # pairs beyond the range
    return PairMatrix(at.first, at.second, at.e, across, along, node * rng.uniform(0.5, 1.5, n))


@pytest.mark.parametrize("dim", [2, 3])
def test_products_solutions_and_diagonal(dim: int) -> None:
    A = matrix(dim)
    dense = A.dense()
    x = np.random.default_rng(0).normal(size=(11, dim))
    assert np.abs(dense - dense.T).max() == 0.0
    assert np.linalg.eigvalsh(dense).min() > 0
    assert np.abs(A.times(x).ravel() - dense @ x.ravel()).max() < 100 * EPS * np.abs(dense).max()
    assert np.abs(A.solve(x, 1e-13).ravel() - np.linalg.solve(dense, x.ravel())).max() < 1e-10
    blocks = dense.reshape(11, dim, 11, dim)
    assert np.allclose(A.diagonal(), np.einsum("iaia->i", blocks) / dim, rtol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_slopes_of_forms_and_traces(dim: int) -> None:
    """Of x·A y, tr X and tr X² with X = mass⁻¹ A, in every coefficient, against differences of the dense matrix.

    All three are at most quadratic, so central differences are exact to rounding.
    """
    A = matrix(dim)
    rng = np.random.default_rng(1)
    inverse_mass = rng.uniform(0.4, 1.5, 11)
    x, y = rng.normal(size=(2, 11, dim))
    weight = np.repeat(inverse_mass, dim)[:, None]

    def values(one: PairMatrix) -> np.ndarray:
        dense = one.dense()
        X = weight * dense
        return np.array([x.ravel() @ dense @ y.ravel(), np.trace(X), np.trace(X @ X)])

    on_pairs, on_nodes = A.forms(x, y)
    trace, square, first_pairs, second_pairs, first_nodes, second_nodes = A.response(inverse_mass)
    assert np.allclose([trace, square], values(A)[1:], rtol=1e-12)
    for name, given in (("across", (on_pairs[0], first_pairs[0], second_pairs[0])),
                        ("along", (on_pairs[1], first_pairs[1], second_pairs[1])),
                        ("node", (on_nodes, first_nodes, second_nodes))):
        at = getattr(A, name)
        for k in range(0, len(at), 3):
            step = 0.1 * np.eye(len(at))[k]
            high, low = (values(dataclasses.replace(A, **{name: at + s * step})) for s in (1, -1))
            assert np.allclose([part[k] for part in given], (high - low) / 0.2, rtol=1e-9, atol=1e-9), (name, k)


def test_draws_have_the_matrix_as_covariance() -> None:
    """4,000 draws projected on the eigenvectors are standard normal: χ² of 88,000 numbers, false alarm 1e-6, finds
    1.7 % of the amplitude; draws that are 2 % too large must fail."""
    from scipy.stats import chi2

    A = matrix(2)
    values, vectors = np.linalg.eigh(A.dense())
    rng = np.random.default_rng(3)
    z = np.stack([A.draw(rng).ravel() for _ in range(4000)]) @ vectors / np.sqrt(values)

    def p(z: np.ndarray) -> float:
        total = float((z**2).sum())
        return 2 * min(chi2.sf(total, z.size), chi2.cdf(total, z.size))

    assert p(z) > 1e-6
    assert p(1.02 * z) < 1e-6
    off = np.cov(z.T) - np.eye(22)
    assert np.abs(off).max() < 6 / np.sqrt(4000) * 1.5
