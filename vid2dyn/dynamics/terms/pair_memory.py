"""Friction of pairs with memory: the force answers to relative velocities of the recent past, and its noise remembers.

    force on i = - sum_j ∫ K(r, t - t') v_ij(t') dt' + noise,       K = γ(r) [2 w_0 δ(t) + sum_m w_m exp(-t/τ_m)/τ_m]

Metriplectic by construction: every pair within the range carries one vector ξ a mode, with the energy |ξ|²/2,

    dξ = [g v_ij - ξ/τ] dt + sqrt(2 kT/τ) dW,       force on i: -g ξ,   on j: +g ξ,       g² = w γ/τ.

The coupling ±g is antisymmetric (it moves energy between ξ and the motion, and momentum is exact), the damping 1/τ is
friction with its noise, and a pair that comes into the range draws ξ from equilibrium. γ is the friction of slow
motion: what `PairFriction` calls γ. All modes share its dependence on distance.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.dynamics.terms.base import Exports, Tables
from vid2dyn.dynamics.terms.radial_friction import RadialFriction


@dataclass(frozen=True)
class PairMemory(RadialFriction):
    """Friction γ(r) of every pair, along and across its line of centres, spread over the recent past.

    Parameters
    ----------
    cutoff : float
        Range [µm], at most half the box.
    knots : int
        Number of splines, of either direction.
    learn_range : bool
        Whether a shorter range is taken where it predicts held-out motion as well.
    inner : tuple of float, optional
        Distance of each pair of species inside which γ is constant [µm]; the data decide it.
    species : tuple of str, optional
        Names of the species; the data decide it.
    modes : int
        Most memory times that are tried; held-out motion decides how many there are.
    times : tuple of float, optional
        Memory times τ [s]; the data decide them.
    weights : tuple of float, optional
        Share of the friction in each of them; what is missing to one acts at once. The data decide them.

    Examples
    --------
    >>> term = PairMemory(cutoff=1.0, knots=4, inner=(0.0,), species=("",), times=(0.05,), weights=(0.8,))
    >>> term.count, round(float(term.kernel(np.array([0.0]))[0]), 3)
    (8, 16.0)
    """

    exports: ClassVar[Exports] = Exports(
        step=False, why_not="LAMMPS cannot carry a vector of every pair across a border; fit PairFriction, the "
                            "friction that memory adds up to")

    temporal: ClassVar[bool] = True

    cutoff: float
    knots: int = 8
    learn_range: bool = True
    inner: tuple[float, ...] | None = None
    species: tuple[str, ...] | None = None
    modes: int = 2
    times: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.modes <= 3:
            raise ConfigError(f"PairMemory: modes = {self.modes}; give 1, 2 or 3.")
        for name in ("times", "weights"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(float(v) for v in value))
        if (self.times is None) != (self.weights is None) or len(self.times or ()) != len(self.weights or ()):
            raise ConfigError("PairMemory: give as many weights as times, or neither.")
        weights = self.weights or ()
        if not all(v > 0 for v in (*(self.times or ()), *weights)) or sum(weights) > 1 + 1e-9:
            raise ConfigError(f"PairMemory: times {self.times} and weights {self.weights} must be positive, and "
                              "weights at most one together.")

    def remembering(self, times: tuple[float, ...], weights: tuple[float, ...]) -> PairMemory:
        """The same term with memory times; one whose times were given stays as it is."""
        return self if self.times is not None else dataclasses.replace(self, times=times, weights=weights)

    def kernel(self, t: np.ndarray) -> np.ndarray:
        """K(t)/γ of what does not act at once [1/s], t in s."""
        t = np.asarray(t, float)
        return np.sum([w / tau * np.exp(-t / tau) for tau, w in zip(self.times or (), self.weights or (), strict=True)]
                      or [np.zeros_like(t)], axis=0)

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        if self.times is None or self.weights is None:
            raise ModelError("PairMemory has no memory times yet: fit it, or give times and weights.")
        at_once = max(0.0, 1.0 - sum(self.weights))
        of_modes = [np.zeros((len(self.kinds), len(tables.r), 4)) for _ in self.times]
        for k in range(len(self.kinds)):
            value, slope = (np.maximum(self.of_kind(theta, tables.r, k), 0.0), self.of_kind(theta, tables.r, k, 1))
            tables.pair_friction[k] += at_once * np.stack([value[0], slope[0], value[1], slope[1]], axis=1)
            root = np.sqrt(value)
            # where γ has come down to nothing its root has no slope
            with np.errstate(divide="ignore", invalid="ignore"):
                steep = np.where(value > 1e-9 * value.max(), 0.5 * slope / root, 0.0)
            for table, tau, w in zip(of_modes, self.times, self.weights, strict=True):
                table[k] = np.sqrt(w / tau) * np.stack([root[0], steep[0], root[1], steep[1]], axis=1)
                table[k, -1] = 0.0
        tables.memory += list(zip(self.times, of_modes, strict=True))
