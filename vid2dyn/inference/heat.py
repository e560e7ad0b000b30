"""Heat in one step of a fluid whose entropy nobody sees: what friction lets expect, and conduction.

Formulas and reasons are in `vid2dyn.inference.score`.
"""

from __future__ import annotations

import math

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.inference import heat_sums, sums
from vid2dyn.inference.geometry import StepGeometry
from vid2dyn.inference.local_state import LocalState

SHARE = 0.25
"""Largest share of a temperature difference that one substep of conduction may carry."""
SUBSTEPS = 2000
"""Most of them: more mean that heat is even within a small part of a step, as no fluid of use has it."""
LARGE = 0.5
"""Change of ln T beyond which entropy gained is not taken from its series."""


class UnusableNumbersError(ModelError):
    """Numbers of a fluid with which the temperatures of the data are not followed: no likelihood at all."""

    def __init__(self, what: str) -> None:
        super().__init__(f"With these numbers of the fluid the heat of the particles cannot be followed: {what}. The "
                         "velocities may not be those of particles of this mass and frame rate, or they do not move "
                         "as a fluid with heat of its own does: check both, film faster, or fit one temperature "
                         "(entropy=False with listed terms).")


def entropy_gained(gain: np.ndarray, softness: np.ndarray, series: np.ndarray) -> np.ndarray:
    """ΔS of heat `gain` times the T before it, at constant heat capacity: c ln(1 + gain/c); (n,).

    Where little happens its series, which the caller has, is taken. Nothing loses more than nine tenths of its heat.

    >>> float(entropy_gained(np.array([30.0]), np.array([1 / 30]), np.array([0.0]))[0])
    20.79441541679836
    """
    change = softness * gain
    large = np.abs(change) > LARGE
    if not large.any():
        return series
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(large, np.log1p(np.maximum(change, -0.9)) / softness, series)


def expected_heat(state: LocalState) -> tuple[np.ndarray, np.ndarray]:
    """Heat of friction over the step that its first velocities let expect, and its slopes, (n,), (thermal, n).

    Of the work of friction on the motion, half to each of a pair, less what noise gives to the motion.
    """
    geometry, mass = state.geometry, state.numbers.layout.mass
    i, j, _ = geometry.ends
    half = 0.5 / mass * geometry.momentum
    w2 = sums.squares(*geometry.ends, geometry.pairs.w - half[i] + half[j])
    lost = 0.5 * geometry.dt * (state.friction[0] * w2[0] + state.friction[1] * w2[1])
    gained = geometry.dt / mass * ((geometry.dim - 1) * state.across + state.along)
    ln_K, beta = state.pair_slopes()
    work = np.concatenate([(lost - gained)[None],
                           lost * (ln_K + beta / state.inverse_temperature) - gained * ln_K])
    heat = np.zeros((len(work), geometry.n))
    heat_sums.gathered(i, j, work, heat)
    return heat[0], heat[1:]


def conduction_weights(geometry: StepGeometry, layout: Layout) -> np.ndarray:
    """Conduction of every pair, per C² and temperature difference."""
    i, j, _ = geometry.ends
    flow = (1.0 - geometry.u) ** 2
    return flow * geometry.volume[i] * geometry.volume[j] if layout.power else flow


def conducted(geometry: StepGeometry, numbers: FluidNumbers, softness: np.ndarray, T: np.ndarray, T_of: np.ndarray,
              heat: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Heat with that of conduction over dt from T on, the slopes of the latter, and the mean of rate times dt.

    softness: 1/c of every particle, (n,).
    """
    layout, kappa = numbers.layout, numbers.conduction
    heat_of = np.zeros_like(T_of)
    if not (kappa > 0 or layout.active[Thermal.CONDUCTION]):
        return heat, heat_of, 0.0
    i, j, _ = geometry.ends
    flow = conduction_weights(geometry, layout)
    rate = kappa * (np.bincount(i, flow, geometry.n) + np.bincount(j, flow, geometry.n)) * softness
    if not layout.power:
        rate = rate / T**2
    fastest = dt * float(rate.max(initial=0.0)) / SHARE
    if not fastest <= SUBSTEPS:
        raise UnusableNumbersError(f"conduction evens out temperatures {fastest * SHARE:.3g} times in a step")
    parts = max(1, math.ceil(fastest))
    out, slope = np.empty(geometry.n), np.empty_like(heat_of)
    for _ in range(parts):
        heat_sums.conduct(i, j, flow, T, T_of, layout.power, out, slope)
        change, change_of = kappa * dt / parts * out, kappa * dt / parts * slope
        change_of[Thermal.CONDUCTION] += dt / parts * out
        heat, heat_of = heat + change, heat_of + change_of
        T, T_of = T + softness * change, T_of + softness * change_of
    return heat, heat_of, dt * float(rate.mean())
