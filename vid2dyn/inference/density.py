"""Log-likelihood of one step, with determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.inference import sums
from vid2dyn.inference.step import Step
from vid2dyn.inference.steps import StepPairs

DENSE = 2400
"""Coordinates up to which log-likelihoods are of the full covariance."""


def log_likelihood(step: Step, x: np.ndarray) -> float:
    """Log-likelihood of the step, of the motion relative to the centre of mass."""
    n, D, dt = step.n, step.dim, step.dt
    if n * D > DENSE:
        return _marginal(step)
    noise = dense(step.pairs, 2 * dt * step.across, 2 * dt * step.along, n) + _felt(step)
    rub = dense(step.pairs, 0.5 * dt * step.rub[0], 0.5 * dt * step.rub[1], n)
    size = float(np.trace(noise)) / len(noise)
    # the total momentum, which nothing changes, is given the variance `size` and taken out again
    common = np.kron(np.ones((n, n)) / n, np.eye(D)) * size
    # alone, a particle has no noise: it does not move by chance, and says nothing
    alone = np.flatnonzero(np.diag(noise) <= 0)
    noise[alone, alone] = 1.0
    logdet = 2 * np.log(np.diag(np.linalg.cholesky(noise + common))).sum() - D * np.log(size)
    rub[np.diag_indices(n * D)] += step.layout.mass
    jacobian = 2 * np.log(np.diag(np.linalg.cholesky(rub))).sum() - D * np.log(step.layout.mass) + _moved(step)
    return float(-0.5 * (x * step.R).sum() - 0.5 * logdet + jacobian
                 - 0.5 * (n - 1) * D * np.log(2 * np.pi))


def _moved(step: Step) -> float:
    """log det of what forces add to ∂R/∂v'."""
    return float(step.dt**2 / (6 * step.layout.mass) * step.stiffness()[0])


def _felt(step: Step) -> np.ndarray:
    """Covariance of the impulses of pressures that nobody saw, (n dim, n dim)."""
    if not len(step.unseen):
        return np.zeros(2 * (step.n * step.dim,))
    forces = np.empty((step.n, step.n, step.dim))
    sums.pressure_forces(*step.ends, step.slope, np.diag(np.sqrt(step.unseen)), forces)
    root = forces.reshape(step.n, -1)
    return root.T @ root


def _felt_blocks(step: Step) -> np.ndarray:
    """Diagonal blocks of `_felt`, (n, dim, dim)."""
    n, D = step.n, step.dim
    block = np.zeros((n, D, D))
    if not len(step.unseen):
        return block
    i, j, e = step.ends
    push = -step.slope[:, None] * e
    own = np.zeros((n, D))
    np.add.at(own, i, push)
    np.add.at(own, j, -push)
    outer = push[:, :, None] * push[:, None, :]
    np.add.at(block, i, step.unseen[j][:, None, None] * outer)
    np.add.at(block, j, step.unseen[i][:, None, None] * outer)
    return block + step.unseen[:, None, None] * own[:, :, None] * own[:, None, :]


def _marginal(step: Step) -> float:
    """The same with the marginals of the particles: their covariances with neighbours are left out."""
    n, D, dt, m = step.n, step.dim, step.dt, step.layout.mass
    block = sums.blocks(*step.ends, 2 * dt * step.across, 2 * dt * step.along, n) + _felt_blocks(step)
    felt = np.trace(block, axis1=1, axis2=2) > 0
    white = np.linalg.solve(block[felt], step.R[felt][:, :, None])[:, :, 0]
    quadratic = float((white * step.R[felt]).sum())
    bent = sums.traces(*step.ends, *step.rub, n)
    X = dt / m * float(((D - 1) * step.rub[0] + step.rub[1]).sum())
    XX = (dt / (2 * m)) ** 2 * float((step.rub[0] * bent[0] + step.rub[1] * bent[1]).sum())
    logdet = float(np.linalg.slogdet(block[felt])[1].sum())
    unit = felt.sum() * D * (np.log(m) - 0.5 * np.log(2 * np.pi))
    return -0.5 * quadratic - 0.5 * logdet + X - 0.5 * XX + _moved(step) + unit


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
