"""Error bars of a fluid: what a score that falls more slowly than its information says does to them."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.fitting.particles.certainty import LEAST_FALL, spread


def test_a_whole_score_has_the_inverse_information() -> None:
    """With A = J + P the covariance is the posterior's."""
    rng = np.random.default_rng(1)
    root = rng.standard_normal((5, 9)) * np.array([1e-3, 1.0, 30.0, 1e4, 2.0])[:, None]
    information, believed = root @ root.T, np.diag(np.diag(root @ root.T)) * 0.1
    assert spread(information, information, believed) == pytest.approx(np.linalg.inv(information + believed), rel=1e-9)


def test_errors_grow_as_the_score_falls_more_slowly() -> None:
    """J/A² of a number; a factor of 1.6 for .6, and no more than `LEAST_FALL` allows."""
    information, nothing = np.diag([4.0, 25.0]), np.zeros((2, 2))
    found = spread(information, np.diag([0.625 * 4.0, 25.0]), nothing)
    assert np.sqrt(np.diag(found)) == pytest.approx([1.6 / 2, 1 / 5], rel=1e-12)
    assert np.sqrt(spread(information, np.diag([0.0, 25.0]), nothing)[0, 0]) == pytest.approx(0.5 / LEAST_FALL)


def test_errors_are_never_smaller_than_information_allows() -> None:
    """In any direction, also where the score falls faster."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((4, 6))
    information = root @ root.T
    fall = np.linalg.cholesky(information) @ np.diag([3.0, 1.0, 0.5, 1.2]) @ np.linalg.cholesky(information).T
    found, least = spread(information, fall, np.zeros((4, 4))), np.linalg.inv(information)
    smallest = np.linalg.eigvals(found @ information).real
    assert np.sort(smallest) == pytest.approx([1.0, 1.0, 1.0, 4.0], rel=1e-9)
    assert np.linalg.eigvalsh(found - least).min() > -1e-9 * np.abs(least).max()


def test_a_linear_estimate_scatters_as_stated() -> None:
    """Zeros of b - A θ with b ~ Normal(0, J): their covariance over 20,000 draws, each entry to 6 standard errors; a
    transposed A would be 20 of them off."""
    rng = np.random.default_rng(2)
    scatter = np.array([[2.0, 0.5], [0.5, 1.0]])
    fall = np.array([[0.9, 0.7], [-0.1, 0.6]])
    draws = np.linalg.solve(fall, np.linalg.cholesky(scatter) @ rng.standard_normal((2, 20_000)))
    found, stated = np.cov(draws), spread(scatter, fall, np.zeros((2, 2)))
    error = np.sqrt((stated**2 + np.outer(np.diag(stated), np.diag(stated))) / 20_000)
    assert (np.abs(found - stated) < 6 * error).all()
    assert (np.abs(found - spread(scatter, fall.T, np.zeros((2, 2)))) > 20 * error).any()
