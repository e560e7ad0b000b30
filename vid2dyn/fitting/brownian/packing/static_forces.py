"""Pair forces and the variance of static forces, in turn (`window_moments`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.packing.window_moments import WindowMoments
from vid2dyn.fitting.brownian.regression import Solution, cross_validated

_ROUNDS = 8
MISFIT = 0.8
"""λ beyond which mean forces are left out altogether. What is static is then misfit, the same in every window and not
independent from one to the next; taken for evidence it bends the potential until forces vanish at the mean distances,
with the stiffness of the cages unchanged: forces without a scale."""


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
    """Forces and tau² in turn; `share` fixes λ instead.

    Two ends of the iteration may hold: small forces whose misfit is small too, and forces beside a large static one.
    Begun at both, that of the larger evidence is taken (`_evidence`).
    """
    if share is not None:
        return _iterated(moments, penalty, dim, share, fixed=True)
    ends = [_iterated(moments, penalty, dim, begin, fixed=False) for begin in (1.0, 0.0)]
    scale = max(one.thermal_variance for one in ends)
    return max(ends, key=lambda one: _evidence(one, moments, dim, scale))


def _iterated(moments: WindowMoments, penalty: np.ndarray, dim: int, lam: float, fixed: bool) -> PackingForces:
    independent = moments.frames
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
        found = 1.0 if found > MISFIT else found
        if fixed or abs(found - lam) < 1e-3:
            break
        lam = found
    return PackingForces(solution, equations, lam, independent, tau2, thermal)


def _evidence(one: PackingForces, moments: WindowMoments, dim: int, scale: float) -> float:
    """What the forces explain, (b·c - c·A c/2)/k, less the price of a static force on every particle in every window,
    dim/2 log(1 + T tau²/k). `scale`: k, the same for all that are compared."""
    A, B, c = one.equations.A, one.equations.B, one.solution.coefficients
    gain = float(B @ c - 0.5 * c @ A @ c) / max(scale, 1e-12)
    price = 0.5 * dim * moments.means * np.log1p(one.independent * one.static_variance / max(scale, 1e-12))
    return gain - float(price)


def _independent(moments: WindowMoments, c: np.ndarray, dim: int, spread: float) -> float:
    """T²/sum_tt' ρ(t - t') frames in a window, ρ falling exponentially: fewer than T if a force lasts for longer than a
    frame. ρ(1) is the covariance one frame apart, less that at the longest lag, which is of static forces."""
    T = moments.frames
    if moments.pairs.min() < 100 or not spread > 0:
        return T
    near, far = (float(c @ one @ c) / n for one, n in zip(moments.covariance, moments.pairs))
    rho = (near - far) / (dim * spread)
    if not rho > 0.1:
        return T
    rho = min(rho, 0.95)
    lags = np.arange(1, max(2, round(T)))
    return max(2.0, T**2 / (T + 2 * float(((T - lags) * rho**lags).sum())))
