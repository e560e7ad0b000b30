"""Thermodynamic state of every particle and friction of every pair at given entropies, with their slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.dynamics.terms.gas import GasState
from vid2dyn.inference.geometry import StepGeometry


@dataclass(frozen=True, eq=False)
class LocalState:
    """A fluid at entropies S; slopes `..._of` are in the thermal numbers, along the first axis.

    Parameters
    ----------
    geometry : StepGeometry
    numbers : FluidNumbers
    S : (n,) array
    S_of : (thermal, n) array
    gas : GasState
        Of every particle, with slopes at fixed S.
    T_of : (thermal, n) array
        Slopes of T, S moving along.
    inverse_temperature : (pairs,) array
        (1/T_i + 1/T_j)/2.
    factor : (pairs,) array
        What multiplies the radial functions A² and B².
    across, along : (pairs,) arrays
        K = across (I - e eᵀ) + along e eᵀ.
    friction : two (pairs,) arrays
        The same of K (1/T_i + 1/T_j)/2.
    """

    geometry: StepGeometry
    numbers: FluidNumbers
    S: np.ndarray
    S_of: np.ndarray
    gas: GasState
    T_of: np.ndarray
    inverse_temperature: np.ndarray
    factor: np.ndarray
    across: np.ndarray
    along: np.ndarray
    friction: tuple[np.ndarray, np.ndarray]

    @property
    def T(self) -> np.ndarray:
        """Temperature of every particle, (n,)."""
        return self.gas.T

    @classmethod
    def at(cls, geometry: StepGeometry, numbers: FluidNumbers, S: np.ndarray, S_of: np.ndarray,
           radial: np.ndarray) -> LocalState:
        """At entropies S (n,) with slopes S_of (thermal, n); radial: A² and B² of the pairs, (2, pairs)."""
        i, j, _ = geometry.ends
        V, layout, D = geometry.volume, numbers.layout, geometry.dim
        gas = numbers.state(S, V)
        T_of = gas.T_S * S_of
        T_of[layout.state_numbers] += gas.T_of
        Ti, Tj = gas.T[i], gas.T[j]
        inverse = 0.5 * (1 / Ti + 1 / Tj)
        factor = np.ones_like(Ti)
        if layout.power:
            factor = V[i] * V[j] / inverse
            factor /= 1.0 + 0.25 * (gas.softness[i] + gas.softness[j])
        across = 0.5 * radial[0] * factor
        along = (radial[0] * (1 - 1 / D) + radial[1] / D) * factor
        return cls(geometry, numbers, S, S_of, gas, T_of, inverse, factor, across, along,
                   (across * inverse, along * inverse))

    def softness_slopes(self) -> np.ndarray:
        """Slopes of 1/c, (thermal, n)."""
        return self._moving(self.gas.softness_S, self.gas.softness_of)

    def molecules_slopes(self) -> np.ndarray:
        """Slopes of ln of `GasState.molecules`, (thermal, n)."""
        return self._moving(self.gas.molecules_S, self.gas.molecules_of) / np.maximum(self.gas.molecules, 1e-9)

    def _moving(self, by_S: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Slopes (thermal, n) of a function of state, S moving along."""
        out = by_S * self.S_of
        out[self.numbers.layout.state_numbers] += of
        return out

    def pair_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of ln K and of the mean 1/T of every pair in the thermal numbers, (thermal, pairs) each."""
        i, j, _ = self.geometry.ends
        T = self.T
        beta = -0.5 * (self.T_of[:, i] / T[i] ** 2 + self.T_of[:, j] / T[j] ** 2)
        if not self.numbers.layout.power:
            return np.zeros_like(beta), beta
        soft, soft_of = self.gas.softness, self.softness_slopes()
        unresolved = -0.25 * (soft_of[:, i] + soft_of[:, j]) / (1.0 + 0.25 * (soft[i] + soft[j]))
        return unresolved - beta / self.inverse_temperature, beta

    def pressure_impulses(self, V: np.ndarray, gas: GasState) -> np.ndarray:
        """P V² of every particle at volumes V and its slopes in the thermal numbers, (1 + thermal, n)."""
        return np.concatenate([gas.P[None], self._moving(gas.P_S, gas.P_of)]) * V**2
