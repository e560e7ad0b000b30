"""Log-likelihood of one step, with determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.inference import sums
from vid2dyn.inference.step import StepState
from vid2dyn.inference.steps import StepPairs

DENSE = 2400
"""Coordinates up to which log-likelihoods are of the full covariance."""


def log_likelihood(step: StepState, R: np.ndarray, x: np.ndarray) -> float:
    """Log-likelihood of the step, of the motion relative to the centre of mass; R and x of `StepState.residual`."""
    geometry, middle, mass = step.geometry, step.middle, step.numbers.layout.mass
    n, D, dt = geometry.n, geometry.dim, geometry.dt
    if n * D > DENSE:
        return _marginal(step, R)
    noise = dense(geometry.pairs, 2 * dt * middle.across, 2 * dt * middle.along, n) + _pressure_covariance(step)
    friction = dense(geometry.pairs, 0.5 * dt * middle.friction[0], 0.5 * dt * middle.friction[1], n)
    size = float(np.trace(noise)) / len(noise)
    # the total momentum, which nothing changes, is given the variance `size` and taken out again
    common = np.kron(np.ones((n, n)) / n, np.eye(D)) * size
    # alone, a particle has no noise: it does not move by chance, and says nothing
    alone = np.flatnonzero(np.diag(noise) <= 0)
    noise[alone, alone] = 1.0
    logdet = 2 * np.log(np.diag(np.linalg.cholesky(noise + common))).sum() - D * np.log(size)
    friction[np.diag_indices(n * D)] += mass
    jacobian = 2 * np.log(np.diag(np.linalg.cholesky(friction))).sum() - D * np.log(mass) + _force_jacobian(step)
    return float(-0.5 * (x * R).sum() - 0.5 * logdet + jacobian
                 - 0.5 * (n - 1) * D * np.log(2 * np.pi))


def _force_jacobian(step: StepState) -> float:
    """log det of what forces add to ∂R/∂v'."""
    return float(step.geometry.dt**2 / (6 * step.numbers.layout.mass) * step.stiffness()[0])


def _pressure_covariance(step: StepState) -> np.ndarray:
    """Covariance of the impulses of pressures that nobody saw, (n dim, n dim)."""
    geometry, n = step.geometry, step.geometry.n
    if not len(step.pressure_variance):
        return np.zeros(2 * (n * geometry.dim,))
    forces = np.empty((n, n, geometry.dim))
    sums.pressure_forces(*geometry.ends, geometry.slope, np.diag(np.sqrt(step.pressure_variance)), forces)
    root = forces.reshape(n, -1)
    return root.T @ root


def _pressure_blocks(step: StepState) -> np.ndarray:
    """Diagonal blocks of `_pressure_covariance`, (n, dim, dim)."""
    n, D, variance = step.geometry.n, step.geometry.dim, step.pressure_variance
    block = np.zeros((n, D, D))
    if not len(variance):
        return block
    i, j, e = step.geometry.ends
    push = -step.geometry.slope[:, None] * e
    own = np.zeros((n, D))
    np.add.at(own, i, push)
    np.add.at(own, j, -push)
    outer = push[:, :, None] * push[:, None, :]
    np.add.at(block, i, variance[j][:, None, None] * outer)
    np.add.at(block, j, variance[i][:, None, None] * outer)
    return block + variance[:, None, None] * own[:, :, None] * own[:, None, :]


def _marginal(step: StepState, R: np.ndarray) -> float:
    """The same with the marginals of the particles: their covariances with neighbours are left out."""
    geometry, middle, (across, along) = step.geometry, step.middle, step.middle.friction
    n, D, dt, m = geometry.n, geometry.dim, geometry.dt, step.numbers.layout.mass
    block = sums.blocks(*geometry.ends, 2 * dt * middle.across, 2 * dt * middle.along, n) + _pressure_blocks(step)
    moves = np.trace(block, axis1=1, axis2=2) > 0
    white = np.linalg.solve(block[moves], R[moves][:, :, None])[:, :, 0]
    quadratic = float((white * R[moves]).sum())
    bent = sums.traces(*geometry.ends, across, along, n)
    X = dt / m * float(((D - 1) * across + along).sum())
    XX = (dt / (2 * m)) ** 2 * float((across * bent[0] + along * bent[1]).sum())
    logdet = float(np.linalg.slogdet(block[moves])[1].sum())
    unit = moves.sum() * D * (np.log(m) - 0.5 * np.log(2 * np.pi))
    return -0.5 * quadratic - 0.5 * logdet + X - 0.5 * XX + _force_jacobian(step) + unit


def dense(pairs: StepPairs, across: np.ndarray, along: np.ndarray, n: int) -> np.ndarray:
    """The Laplacian as a matrix (n dim, n dim), particles slowest."""
    D = pairs.e.shape[1]
    block = across[:, None, None] * np.eye(D) + (along - across)[:, None, None] \
        * pairs.e[:, :, None] * pairs.e[:, None, :]
    out: Any = np.zeros((n, D, n, D))
    i, j = pairs.first, pairs.second
    out[i, :, j, :] -= block
    out[j, :, i, :] -= block
    diagonal = -out.sum(axis=2)
    out[np.arange(n), :, np.arange(n), :] += diagonal
    return out.reshape(n * D, n * D)
