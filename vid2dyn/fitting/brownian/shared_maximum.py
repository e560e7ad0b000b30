"""Maximum of a sum of log-likelihoods over recordings that share some numbers and have others of their own.

    -ln L(θ, η_1, ..., η_R) = sum_r loss_r(θ, η_r)

Newton's method. The Hessian is an arrow: η_r meets θ in its own recording alone, so each is eliminated there (Schur
complement) and what is left is a system for θ, the sum of what every recording knows of it. Derivatives by central
differences: the losses have a few numbers each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Loss = Callable[[np.ndarray, np.ndarray], float]
"""(shared, own) -> -ln L; inf where there is none."""


@dataclass(frozen=True, eq=False)
class SharedMaximum:
    """Where the sum of log-likelihoods is largest.

    Parameters
    ----------
    shared : (k,) array
    own : list of (m,) arrays
        Of each recording.
    information : (recordings, k, k) array
        Of each recording on the shared numbers, its own numbers unknown.
    own_covariance : list of (m, m) arrays
    """

    shared: np.ndarray
    own: list[np.ndarray]
    information: np.ndarray
    own_covariance: list[np.ndarray]

    @property
    def covariance(self) -> np.ndarray:
        """(k, k) of the shared numbers."""
        return np.linalg.pinv(self.information.sum(axis=0))

    @property
    def weights(self) -> np.ndarray:
        """(recordings,) share of each in what is known of the first shared number."""
        first = self.information[:, 0, 0]
        return first / first.sum()


def shared_maximum(losses: Sequence[Loss], shared: np.ndarray, own: Sequence[np.ndarray], steps: np.ndarray,
                   own_steps: Sequence[np.ndarray], *, iterations: int = 20) -> SharedMaximum:
    """Newton's method from a start near the maximum.

    Parameters
    ----------
    losses : sequence of callables
        One for each recording.
    shared, own : arrays
        Where to begin.
    steps, own_steps : arrays
        Over which derivatives are taken; small against what changes the loss by much.

    Examples
    --------
    >>> losses = [lambda t, n: (t[0] - 1) ** 2 + (n[0] - t[0]) ** 2, lambda t, n: 3 * (t[0] - 2) ** 2 + n[0] ** 2]
    >>> found = shared_maximum(losses, np.zeros(1), [np.zeros(1)] * 2, np.array([.01]), [np.array([.01])] * 2)
    >>> round(float(found.shared[0]), 6), round(float(found.own[0][0]), 6)
    (1.75, 1.75)
    """
    shared, own = np.array(shared, float), [np.array(one, float) for one in own]

    def total(moved: np.ndarray, others: Sequence[np.ndarray]) -> float:
        return sum(loss(moved, other) for loss, other in zip(losses, others))

    now = total(shared, own)
    for iteration in range(iterations + 1):
        found = [_expanded(loss, shared, one, steps, small) for loss, one, small in zip(losses, own, own_steps)]
        information = np.array([one.information for one in found])
        whole = information.sum(axis=0)
        step = -np.linalg.pinv(whole) @ np.sum([one.slope for one in found], axis=0)
        moves = [-one.inverse @ (one.own_slope + one.cross.T @ step) for one in found]
        covariance = np.linalg.pinv(whole)
        own_covariance = [one.inverse + one.inverse @ one.cross.T @ covariance @ one.cross @ one.inverse
                          for one in found]
        if iteration == iterations or not np.isfinite(step).all():
            break
        size = 1.0
        while size > 1e-4 and not (then := total(shared + size * step,
                                                 [o + size * m for o, m in zip(own, moves)])) <= now:
            size *= 0.5
        if size <= 1e-4:
            break
        shared, own = shared + size * step, [o + size * m for o, m in zip(own, moves)]
        gained, now = now - then, then
        if gained < 1e-6:
            break
    return SharedMaximum(shared, own, information, own_covariance)


@dataclass(frozen=True, eq=False)
class _Expansion:
    """Second order of one loss, its own numbers eliminated: slope and information of the shared ones."""

    slope: np.ndarray
    information: np.ndarray
    own_slope: np.ndarray
    inverse: np.ndarray
    cross: np.ndarray


def _expanded(loss: Loss, shared: np.ndarray, own: np.ndarray, steps: np.ndarray, own_steps: np.ndarray) -> _Expansion:
    k, x, h = len(shared), np.concatenate([shared, own]), np.concatenate([steps, own_steps])

    def at(shift: np.ndarray) -> float:
        return loss(x[:k] + shift[:k], x[k:] + shift[k:])

    e, middle = np.diag(h), at(np.zeros(len(x)))
    up, down = np.array([at(d) for d in e]), np.array([at(-d) for d in e])
    slope = (up - down) / (2 * h)
    hessian = np.diag((up - 2 * middle + down) / h**2)
    for a in range(len(x)):
        for b in range(a):
            hessian[a, b] = hessian[b, a] = (at(e[a] + e[b]) + at(-e[a] - e[b]) - up[a] - up[b] - down[a] - down[b]
                                             + 2 * middle) / (2 * h[a] * h[b])
    usable = np.isfinite(hessian).all() and np.isfinite(slope).all()
    if not usable:      # next to where there is no likelihood: nothing is learned here, nothing moves
        return _Expansion(np.zeros(k), np.zeros((k, k)), np.zeros(len(own)), np.zeros((len(own),) * 2),
                          np.zeros((k, len(own))))
    cross, mine = hessian[:k, k:], hessian[k:, k:]
    known = np.linalg.eigvalsh(mine).min() > 0 if len(own) else False
    inverse = np.linalg.inv(mine) if known else np.zeros_like(mine)      # flat: its own numbers stay where they are
    return _Expansion(slope[:k] - cross @ inverse @ slope[k:], _positive(hessian[:k, :k] - cross @ inverse @ cross.T),
                      slope[k:], inverse, cross)


def _positive(information: np.ndarray) -> np.ndarray:
    """The same with eigenvalues that are not negative: beside the maximum rounding may make them so."""
    values, vectors = np.linalg.eigh(0.5 * (information + information.T))
    return (vectors * np.maximum(values, 1e-12 * max(float(values.max()), math.ulp(1.0)))) @ vectors.T
