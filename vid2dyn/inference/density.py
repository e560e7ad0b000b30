"""Log-likelihood of one step of a fluid, or of a window of several, with determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.inference import sums
from vid2dyn.inference.fluid_window import FluidWindow
from vid2dyn.inference.step import StepState

DENSE = 2400
"""Coordinates up to which log-likelihoods are of the full covariance, and Jacobians of single steps exact."""


def log_likelihood(window: FluidWindow, x: np.ndarray) -> float:
    """Log-likelihood of the window, of the motion relative to the centre of mass; x = C⁻¹ R."""
    geometry, R = window.first.geometry, window.residual
    n, D = geometry.n, geometry.dim
    if n * D > DENSE:
        return _marginal(window, x)
    noise = dense(*window.ends, *window.noise, n) + _pressure_covariance(window)
    size = float(np.trace(noise)) / len(noise)
    # the total momentum, which nothing changes, is given the variance `size` and taken out again
    common = np.kron(np.ones((n, n)) / n, np.eye(D)) * size
    # alone, a particle has no noise: it does not move by chance, and says nothing
    alone = np.flatnonzero(np.diag(noise) <= 0)
    noise[alone, alone] = 1.0
    logdet = 2 * np.log(np.diag(np.linalg.cholesky(noise + common))).sum() - D * np.log(size)
    unit = D * (n - 1) * np.log(window.first.numbers.layout.mass)
    jacobian = _exact_response(window.first) if len(window.steps) == 1 and window.shown == 1.0 else response(window)
    return float(-0.5 * (x * R).sum() - 0.5 * logdet + unit + jacobian + _force_response(window)
                 - 0.5 * (n - 1) * D * np.log(2 * np.pi))


def _exact_response(step: StepState) -> float:
    """log det (1 + dt L/2m) of one step."""
    geometry, mass = step.geometry, step.numbers.layout.mass
    half = 0.5 * geometry.dt / mass
    friction = dense(*geometry.ends, half * step.middle.friction[0], half * step.middle.friction[1], geometry.n)
    friction[np.diag_indices(len(friction))] += 1.0
    return float(2 * np.log(np.diag(np.linalg.cholesky(friction))).sum())


def response(window: FluidWindow) -> float:
    """[tr X/2 - (1/12 + 1/24k²) tr X²]/c, see `vid2dyn.inference.fluid_window`; X² of every step by itself."""
    k, found = len(window.steps), 0.0
    for step in window.steps:
        geometry, (across, along) = step.geometry, step.middle.friction
        half = 0.5 * geometry.dt / step.numbers.layout.mass
        bent = sums.traces(*geometry.ends, across, along, geometry.n)
        first = 2.0 * float(((geometry.dim - 1) * across + along).sum())
        found += half * first - 0.5 * (2 * k + 1 / k) / 3 * half**2 * float((across * bent[0] + along * bent[1]).sum())
    return found / window.shown


def _force_response(window: FluidWindow) -> float:
    """The same of what forces answer."""
    k, dt = len(window.steps), window.first.geometry.dt
    return k * dt**2 / (6 * window.first.numbers.layout.mass) * float(sum(s.stiffness()[0] for s in window.steps))


def _pressure_covariance(window: FluidWindow) -> np.ndarray:
    """Covariance of the impulses of pressures that nobody saw, (n dim, n dim)."""
    n, variance, dim = window.first.geometry.n, window.pressure_variance, window.first.geometry.dim
    if not len(variance):
        return np.zeros(2 * (n * dim,))
    forces = np.empty((n, n, dim))
    sums.pressure_forces(*window.ends, window.slope, np.diag(np.sqrt(variance)), forces)
    root = forces.reshape(n, -1)
    return root.T @ root


def _pressure_blocks(window: FluidWindow) -> np.ndarray:
    """Diagonal blocks of `_pressure_covariance`, (n, dim, dim)."""
    n, D, variance = window.first.geometry.n, window.first.geometry.dim, window.pressure_variance
    block = np.zeros((n, D, D))
    if not len(variance):
        return block
    i, j, e = window.ends
    push = -window.slope[:, None] * e
    own = np.zeros((n, D))
    np.add.at(own, i, push)
    np.add.at(own, j, -push)
    # a pair that is there in several steps pushes in all of them with the same pressure
    pairs, of = np.unique(np.stack([i, j]), axis=1, return_inverse=True)
    both = np.zeros((pairs.shape[1], D))
    np.add.at(both, of.ravel(), push)
    outer = both[:, :, None] * both[:, None, :]
    np.add.at(block, pairs[0], variance[pairs[1]][:, None, None] * outer)
    np.add.at(block, pairs[1], variance[pairs[0]][:, None, None] * outer)
    return block + variance[:, None, None] * own[:, :, None] * own[:, None, :]


def _marginal(window: FluidWindow, x: np.ndarray) -> float:
    """The same with the marginals of the particles: their covariances with neighbours are left out."""
    geometry, R = window.first.geometry, window.residual
    n, D, m = geometry.n, geometry.dim, window.first.numbers.layout.mass
    block = sums.blocks(*window.ends, *window.noise, n) + _pressure_blocks(window)
    moves = np.trace(block, axis1=1, axis2=2) > 0
    white = np.linalg.solve(block[moves], R[moves][:, :, None])[:, :, 0]
    quadratic = float((white * R[moves]).sum())
    logdet = float(np.linalg.slogdet(block[moves])[1].sum())
    unit = moves.sum() * D * (np.log(m) - 0.5 * np.log(2 * np.pi))
    return -0.5 * quadratic - 0.5 * logdet + response(window) + _force_response(window) + unit


def dense(i: np.ndarray, j: np.ndarray, e: np.ndarray, across: np.ndarray, along: np.ndarray, n: int) -> np.ndarray:
    """The Laplacian as a matrix (n dim, n dim), particles slowest."""
    D = e.shape[1]
    block = across[:, None, None] * np.eye(D) + (along - across)[:, None, None] * e[:, :, None] * e[:, None, :]
    out: Any = np.zeros((n, D, n, D))
    for ends in ((i, slice(None), j), (j, slice(None), i)):
        np.add.at(out, ends, -block)  # type: ignore[arg-type]
    diagonal = -out.sum(axis=2)
    out[np.arange(n), :, np.arange(n), :] += diagonal
    return out.reshape(n * D, n * D)
