"""Pair forces and the variance of static forces, in turn (`window_moments`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.packing.window_moments import WindowMoments
from vid2dyn.fitting.brownian.regression import Solution, cross_validated

_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class PackingForces:
    """What the equations of a packing give.

    Parameters
    ----------
    solution : Solution
        Coefficients of the pair potentials, and their smoothness.
    equations : ForceMoments
        That they solve.
    share : float
        λ: part of the mean force of a window that is taken for static.
    independent : float
        Independent frames in a window.
    static_variance : float
        tau² [kT²/µm²] of each component.
    thermal_variance : float
        Variance of each component of the thermal force [kT²/µm²], which is the mean stiffness of a cage [kT/µm²].
    """

    solution: Solution
    equations: ForceMoments
    share: float
    independent: float
    static_variance: float
    thermal_variance: float


def solved(moments: WindowMoments, penalty: np.ndarray, dim: int, share: float | None = None) -> PackingForces:
    """Forces and tau² in turn, beginning with every mean taken out; `share` fixes λ instead."""
    lam, independent = (1.0 if share is None else share), moments.frames
    tau2 = thermal = float("nan")
    for _ in range(_ROUNDS):
        equations = moments.at(lam, independent)
        solution = cross_validated(equations, penalty)
        c = solution.coefficients
        whole = float(c @ moments.a.sum(axis=0) @ c) / (moments.detections * dim)
        means = float(c @ moments.s.sum(axis=0) @ c) / (moments.detections * dim)        # <|F̄|²> per axis
        independent = _independent(moments, c, dim, whole - means)
        tau2 = max((means - whole / independent) / (1 - 1 / independent), 0.0)
        thermal = max(whole - tau2, 0.0)
        found = tau2 / (tau2 + thermal / independent) if thermal > 0 else 1.0
        if share is not None:
            found = share
        if abs(found - lam) < 1e-3:
            break
        lam = found
    return PackingForces(solution, equations, lam, independent, tau2, thermal)


def _independent(moments: WindowMoments, c: np.ndarray, dim: int, spread: float) -> float:
    """T²/sum_tt' ρ(t - t'): frames in a window, fewer if the force on a particle lasts for longer than a frame.

    From the covariances of the force at the lags that were summed, less that at the longest, which is of static forces.
    """
    T = moments.frames
    size = np.array([float(c @ one @ c) for one in moments.covariance])
    if len(size) < 3 or not spread > 0:
        return T
    rho = np.clip((size[1:-1] - size[-1]) / (dim * spread), 0.0, 1.0)
    below = np.flatnonzero(rho < 0.05)
    rho = rho[: below[0]] if below.size else rho
    lags = np.arange(1, len(rho) + 1)
    return max(1.5, T**2 / (T + 2 * float(((T - lags).clip(0) * rho).sum())))
