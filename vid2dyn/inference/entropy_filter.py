"""Entropy carried over one step by what was seen of it: heat and conduction, and a Kalman update of the energies at the
end of every window.

Formulas and reasons are in `vid2dyn.inference.score`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.inference import heat_sums, sums
from vid2dyn.inference.fluid_window import FluidWindow
from vid2dyn.inference.heat import conducted, conduction_weights, entropy_gained
from vid2dyn.inference.step import MODES, StepState, share_unknown

INFORMATION = np.array([3.1, 2.45, 1.2, 0.3])
"""What a step tells of the patterns of MODES, over the mean: rough ones push and shake several particles against each
other.

Measured in the gas with 16 neighbours; how sharp the filter is depends on it, not what it settles to.
"""


@dataclass(frozen=True, eq=False)
class ObservedHeat:
    """What a window says of the heat that nobody saw: (n,), its slopes (thermal, n), and the shares of the variance of
    U that are then unknown (of MODES)."""

    heat: np.ndarray
    heat_of: np.ndarray
    unknown: np.ndarray


def carry_entropy(step: StepState, x: np.ndarray, seen: ObservedHeat | None = None
                  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """S and its slopes after the step, and the shares of the variance of U that are then unknown (of MODES).

    x: C⁻¹ R of the step, (n, dim); seen: what the window that ends with it says.
    """
    geometry, middle = step.geometry, step.middle
    dt, n = geometry.dt, geometry.n
    w2 = sums.squares(*geometry.ends, geometry.pairs.w)
    xw = sums.mixed(*geometry.ends, x, geometry.pairs.w)
    work = 0.5 * dt * (middle.friction[0] * w2[0] + middle.friction[1] * w2[1]) \
        - dt * (middle.across * xw[0] + middle.along * xw[1])
    i, j, _ = geometry.ends
    heat = np.bincount(i, work, n) + np.bincount(j, work, n)
    T, soft = middle.T, middle.gas.softness
    heat, heat_of, evened = conducted(geometry, step.numbers, soft, step.start.T, step.start.T_of, heat, dt)
    unknown = step.unknown
    if seen is not None:
        heat, heat_of, unknown = heat + seen.heat, heat_of + seen.heat_of, seen.unknown
    gain = heat / T
    # T is that of the middle as expected
    rise = step.entropy_rise
    series = gain * (1.0 - 0.5 * soft * (gain - 2.0 * rise))
    S = step.start.S + entropy_gained(gain * np.exp(np.clip(soft * rise, -1.0, 1.0)), soft, series)
    S_of = step.start.S_of + heat_of / T - gain * middle.T_of / T
    return S, S_of, 1.0 - (1.0 - unknown) * np.exp(-2.0 * evened * MODES)


def observed_heat(window: FluidWindow, x: np.ndarray) -> ObservedHeat:
    """What a window says of the heat that nobody saw: a Kalman update of U. x: C⁻¹ R of the window.

    δU/T has the covariance c P, P the share of its own that is not known: a function of the operator by which
    conduction evens out temperatures, followed at MODES. So with ℓ_i = ∂ log p/∂ ln T_i, δU = T P ℓ; the total
    stays. The mean of ℓ² is what the window tells (INFORMATION of every mode). ℓ has two parts, of like size: hot
    particles push harder, and shake harder.
    """
    last = window.steps[-1]
    geometry, numbers, middle, unknown = last.geometry, last.numbers, last.middle, last.unknown
    if not numbers.softness > 0:
        return ObservedHeat(np.zeros(geometry.n), np.zeros_like(last.start.S_of), unknown)
    pushes, shakes, slopes = [], [], []
    for step, shares in zip(window.steps, _shares(window), strict=True):
        T = step.middle.T
        push = geometry.dt * step.geometry.volume * step.middle.gas.molecules * T * step.pressure_slopes(x)
        shake = _noise_slopes(step, x, window.shown, shares)
        per_T = step.middle.T_of / T
        ln_of = 2.0 * per_T
        ln_of += step.middle.molecules_slopes()
        pushes.append(push)
        shakes.append(shake)
        slopes.append(np.concatenate([(push + shake)[None], push * ln_of + shake * per_T]))
    push, shake = np.sum(pushes, axis=0), np.sum(shakes, axis=0)
    known = float((push * push + shake * shake).mean())
    i, j, _ = geometry.ends
    flow = conduction_weights(geometry, numbers.layout)
    heat = middle.T * heat_sums.smoothed(i, j, flow, MODES, unknown, np.sum(slopes, axis=0))
    heat -= heat.mean(axis=1, keepdims=True)
    soft = float(middle.gas.softness.mean())
    share = share_unknown(unknown)
    # `known` counts beside what is unknown already
    per_window = soft * known / max(1.0 - share * soft * known, 0.5)
    return ObservedHeat(heat[0], heat[1:], unknown / (1.0 + unknown * per_window * INFORMATION))


def _shares(window: FluidWindow) -> list[np.ndarray]:
    """Of the trace of C⁻¹ C, what pairs of every step have: together the rank of C, (pairs,) each; empty where T does
    not act on noise."""
    geometry, steps = window.first.geometry, window.steps
    if not window.first.numbers.layout.power:
        return [np.empty(0)] * len(steps)
    block = np.sum([sums.blocks(*s.geometry.ends, s.middle.across, s.middle.along, geometry.n) for s in steps], axis=0)
    block[np.trace(block, axis1=1, axis2=2) <= 0] = np.eye(geometry.dim)
    across, along = (np.concatenate(of) for of in zip(*((s.middle.across, s.middle.along) for s in steps), strict=True))
    found = heat_sums.shares(*window.ends, across, along, np.linalg.inv(block))
    return np.split(found, np.cumsum([len(s.middle.across) for s in steps])[:-1])


def _noise_slopes(step: StepState, x: np.ndarray, shown: float, shares: np.ndarray) -> np.ndarray:
    """What a step adds to ∂ log p/∂ ln T of every particle through noise and friction, (n,).

    The trace of C⁻¹ ∂C is shared out over the pairs to first order (`heat_sums.shares`); shares: see `_shares`.
    """
    geometry, middle = step.geometry, step.middle
    i, j, _ = geometry.ends
    n, D, dt, T, layout = geometry.n, geometry.dim, geometry.dt, middle.T, step.numbers.layout
    across, along = middle.across, middle.along
    if layout.power:
        # ln K has the slope T_j/(T_i + T_j) in ln T_i; friction K (1/T_i + 1/T_j)/2 has none
        x2 = sums.squares(*geometry.ends, x[i] - x[j])
        slope = shown * dt * (across * x2[0] + along * x2[1]) - 0.5 * shares
        on_i = T[j] / (T[i] + T[j])
        return np.bincount(i, slope * on_i, n) + np.bincount(j, slope * (1 - on_i), n)
    xw = sums.mixed(*geometry.ends, x, geometry.pairs.w)
    size = (D - 1) * across + along
    slope = 0.5 * dt * (across * xw[0] + along * xw[1] - size / layout.mass / shown)
    return (np.bincount(i, slope, n) + np.bincount(j, slope, n)) / T
