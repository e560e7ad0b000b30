"""Heat in one step of a fluid whose entropy nobody sees: what friction lets expect, what is seen, entropy carried on.

Formulas and reasons are in `vid2dyn.inference.score`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vid2dyn.inference import heat_sums as warm
from vid2dyn.inference import sums

if TYPE_CHECKING:
    from vid2dyn.inference.step import Step

MODES = np.array([0.05, 0.3, 0.9, 1.5])
"""How fast patterns of temperature even out whose uncertainty is followed, in units of the mean rate of a particle.

Rough patterns come and go with conduction and hardly get known; smooth ones last, and get known in the end.
"""
TOLD = np.array([3.1, 2.45, 1.2, 0.3])
"""What a step tells of these patterns, over the mean: rough ones push and shake several particles against each other.

Measured in the gas with 16 neighbours; how sharp the filter is depends on it, not what it settles to.
"""
SHARE = 0.25
"""Largest share of a temperature difference that one substep of conduction may carry."""


def share_unknown(unknown: np.ndarray) -> float:
    """Of the variance of one particle's U, of the shares of MODES: most modes are nearly as fast as the mean."""
    return float(0.1 * unknown[1] + 0.9 * unknown[2])


def expected_heat(step: Step) -> tuple[np.ndarray, np.ndarray]:
    """Heat of friction over the step that its first velocities let expect, and its slopes, (n,), (thermal, n).

    Of the work of friction on the motion, half to each of a pair, less what noise gives to the motion.
    """
    i, j, _ = step.ends
    half = 0.5 / step.layout.mass * step.momentum
    w2 = sums.squares(*step.ends, step.pairs.w - half[i] + half[j])
    rubbed = 0.5 * step.dt * (step.rub[0] * w2[0] + step.rub[1] * w2[1])
    shaken = step.dt / step.layout.mass * ((step.dim - 1) * step.across + step.along)
    ln_K, beta = step.pair_slopes()
    work = np.concatenate([(rubbed - shaken)[None], rubbed * (ln_K + beta / step.mean_beta) - shaken * ln_K])
    heat = np.zeros((len(work), step.n))
    warm.gathered(i, j, work, heat)
    return heat[0], heat[1:]


def carried(step: Step, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """S and its slopes after the step, and the shares of the variance of U that are then unknown (of MODES)."""
    dt, state = step.dt, step.state
    w2 = sums.squares(*step.ends, step.pairs.w)
    xw = sums.mixed(*step.ends, x, step.pairs.w)
    work = 0.5 * dt * (step.rub[0] * w2[0] + step.rub[1] * w2[1]) \
        - dt * (step.across * xw[0] + step.along * xw[1])
    i, j, _ = step.ends
    heat = np.bincount(i, work, step.n) + np.bincount(j, work, step.n)
    heat, heat_of, evened = conducted(step, *step.start, heat, dt)
    seen, seen_of, unknown = _seen(step, x, xw)
    T, soft = state.T, state.softness
    gain = (heat + seen) / T
    # T is that of the middle as expected
    S = step.S + gain * (1.0 - 0.5 * soft * (gain - 2.0 * step.risen))
    S_of = step.S_of + (heat_of + seen_of) / T - gain * step.T_of / T
    return S, S_of, 1.0 - (1.0 - unknown) * np.exp(-2.0 * evened * MODES)


def _seen(step: Step, x: np.ndarray, xw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the step says of the heat that nobody saw: a Kalman update of U.

    δU/T has the covariance c P, P the share of its own that is not known: a function of the operator by which
    conduction evens out temperatures, followed at MODES. So with ℓ_i = ∂ log p/∂ ln T_i, δU = T P ℓ; the total
    stays. The mean of ℓ² is what the step tells (TOLD of every mode). ℓ has two parts, of like size: hot particles
    push harder, and shake harder.
    """
    state, unknown = step.state, step.unknown
    if not step.theta[1] > 0:
        return np.zeros(step.n), np.zeros_like(step.S_of), unknown
    push = step.dt * step.V * step.theta[2] * state.T * step.pulled(x)
    shake = _shaken(step, x, xw)
    known = float((push * push + shake * shake).mean())
    per_T = step.T_of / state.T
    ln_of = 2.0 * per_T
    ln_of[2] += 1.0 / max(step.theta[2], 1e-9)
    told = np.concatenate([(push + shake)[None], push * ln_of + shake * per_T])
    i, j, _ = step.ends
    heat = state.T * warm.smoothed(i, j, _flow(step), MODES, unknown, told)
    heat -= heat.mean(axis=1, keepdims=True)
    soft = float(state.softness.mean())
    share = share_unknown(unknown)
    # `known` is what is told beside what is unknown already
    per_step = soft * known / max(1.0 - share * soft * known, 0.5)
    return heat[0], heat[1:], unknown / (1.0 + unknown * per_step * TOLD)


def _shaken(step: Step, x: np.ndarray, xw: np.ndarray) -> np.ndarray:
    """∂ log p/∂ ln T of every particle through noise and friction, (n,).

    The trace of C⁻¹ ∂C is shared out over the pairs to first order (`_fluid_heat_sums.shares`).
    """
    i, j, _ = step.ends
    D, dt, T = step.dim, step.dt, step.T
    if step.layout.power:
        # ln K has the slope T_j/(T_i + T_j) in ln T_i; friction K (1/T_i + 1/T_j)/2 has none
        x2 = sums.squares(*step.ends, x[i] - x[j])
        block = sums.blocks(*step.ends, step.across, step.along, step.n)
        block[np.trace(block, axis1=1, axis2=2) <= 0] = np.eye(D)
        told = dt * (step.across * x2[0] + step.along * x2[1]) \
            - 0.5 * warm.shares(*step.ends, step.across, step.along, np.linalg.inv(block))
        on_i = T[j] / (T[i] + T[j])
        return np.bincount(i, told * on_i, step.n) + np.bincount(j, told * (1 - on_i), step.n)
    size = (D - 1) * step.across + step.along
    told = 0.5 * dt * (step.across * xw[0] + step.along * xw[1] - size / step.layout.mass)
    return (np.bincount(i, told, step.n) + np.bincount(j, told, step.n)) / T


def _flow(step: Step) -> np.ndarray:
    """Conduction of every pair, per C² and temperature difference."""
    i, j, _ = step.ends
    flow = (1.0 - step.u) ** 2
    return flow * step.V[i] * step.V[j] if step.layout.power else flow


def conducted(step: Step, T: np.ndarray, T_of: np.ndarray, heat: np.ndarray,
              dt: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Heat with that of conduction over dt from T on, the slopes of the latter, and the mean of rate times dt."""
    layout, kappa = step.layout, step.theta[6]
    heat_of = np.zeros_like(step.S_of)
    if not (kappa > 0 or layout.active[6]):
        return heat, heat_of, 0.0
    i, j, _ = step.ends
    flow, soft = _flow(step), step.state.softness
    rate = kappa * (np.bincount(i, flow, step.n) + np.bincount(j, flow, step.n)) * soft
    if not layout.power:
        rate = rate / T**2
    parts = max(1, math.ceil(dt * float(rate.max()) / SHARE))
    out, slope = np.empty(step.n), np.empty_like(heat_of)
    for _ in range(parts):
        warm.conduct(i, j, flow, T, T_of, layout.power, out, slope)
        change, change_of = kappa * dt / parts * out, kappa * dt / parts * slope
        change_of[6] += dt / parts * out
        heat, heat_of = heat + change, heat_of + change_of
        T, T_of = T + soft * change, T_of + soft * change_of
    return heat, heat_of, dt * float(rate.mean())
