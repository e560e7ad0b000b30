"""Metriplectic dynamics: two potentials and two matrices, one of which has a root.

    dx = [L ∇E + M ∇S + kB ∇·M] dt + sqrt(2 kB) G dW,    M = G Gᵀ,   L = -Lᵀ,   L ∇S = 0,   M ∇E = 0

(Grmela & Öttinger, PRE 56, 6620, 1997; noise: Öttinger, Beyond Equilibrium Thermodynamics, 2005, eq. 1.57.)
Energy is conserved in every realisation, entropy rises on average, and the invariant density is

    exp(S(x)/kB) δ(E(x) - E0) δ(momentum)   with respect to dr dv dS, the product over particles of d^dim r d^dim v dS.

The reference measure belongs to the statement: ∇·M is the divergence in these coordinates. In internal energies in
place of entropies the same density is exp(S/kB) prod_i dU_i/T_i, so an inverse temperature that acts on energies is
β = ∂(S - kB ln T)/∂U = (1 - kB/c)/T with the heat capacity c; the steps in `vid2dyn.rollout.steps` are written in it.

Overdamped dynamics and gradient flow are the same sentence at one temperature, with L = 0 and the heat in a bath that
is not counted: M ∇S becomes -M ∇U/T (`vid2dyn.dynamics.base.Overdamped`). A fluid at one temperature is a `Fluid`
whose equation of state is `Isothermal`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from vid2dyn.dynamics.base import Dynamics, FrictionMatrix, Potential
from vid2dyn.dynamics.snapshot import Snapshot


class PoissonMatrix(ABC):
    """L, antisymmetric: the reversible part."""

    @abstractmethod
    def times(self, snapshot: Snapshot, gradient: torch.Tensor) -> torch.Tensor:
        """L times a gradient over all columns of the bracket, (n, c) to (n, c)."""


class Canonical(PoissonMatrix):
    """Newton: r' = ∂E/∂v / m, v' = -∂E/∂r / m, and nothing else moves.

    Parameters
    ----------
    mass : float
        m of a particle.
    """

    def __init__(self, mass: float) -> None:
        self.mass = float(mass)

    def times(self, snapshot: Snapshot, gradient: torch.Tensor) -> torch.Tensor:
        dim = snapshot.position.shape[1]
        slope_r, slope_v, rest = gradient[:, :dim], gradient[:, dim:2 * dim], gradient[:, 2 * dim:]
        return torch.cat([slope_v / self.mass, -slope_r / self.mass, torch.zeros_like(rest)], dim=1)


class Bracket(Dynamics):
    """dx = [L ∇E + M ∇S + kB ∇·M] dt + sqrt(2 kB) G dW on positions, velocities and entropies.

    Parameters
    ----------
    energy, entropy : Potential
        E and S on the state.
    poisson : PoissonMatrix
        L.
    friction : FrictionMatrix
        M by its root, on some of the columns.
    kB : float
        1 (entropy is counted in kB); 0 switches off the noise and kB ∇·M together. One without the other breaks the
        energy balance.
    """

    columns = ("position", "velocity", "entropy")

    def __init__(self, energy: Potential, entropy: Potential, poisson: PoissonMatrix, friction: FrictionMatrix, *,
                 kB: float = 1.0) -> None:
        self.potentials = (energy,)
        self.entropy_of = entropy
        self.poisson = poisson
        self.friction = friction
        self.kB = float(kB)

    def drift(self, snapshot: Snapshot) -> torch.Tensor:
        """[L ∇E + M ∇S + kB ∇·M], (n, 2 dim + 1): rates of position, velocity, entropy."""
        energy = self.potentials[0].gradient(snapshot, self.columns)
        entropy = self.entropy_of.gradient(snapshot, self.friction.columns)
        heat = self.friction.times(snapshot, entropy)
        if self.kB:
            heat = heat + self.kB * self.friction.divergence(snapshot)
        return self.poisson.times(snapshot, energy) + self._all_columns(snapshot, heat)

    def noise(self, snapshot: Snapshot, dt: float, generator: torch.Generator) -> torch.Tensor:
        """sqrt(2 kB dt) G ξ, (n, 2 dim + 1)."""
        return self._all_columns(snapshot, (2.0 * self.kB * dt) ** 0.5 * self.friction.noise(snapshot, generator))

    def entropy(self, snapshot: Snapshot) -> torch.Tensor:
        """Total entropy, a scalar [kB]."""
        return self.entropy_of.energy(snapshot)

    def _all_columns(self, snapshot: Snapshot, change: torch.Tensor) -> torch.Tensor:
        """Friction's columns put in their place among all, zeros elsewhere."""
        place = {}
        at = 0
        for name in self.friction.columns:
            width = snapshot.column(name).reshape(len(change), -1).shape[1]
            place[name] = change[:, at:at + width]
            at += width
        blocks = [place.get(name, torch.zeros_like(snapshot.column(name).reshape(len(change), -1)))
                  for name in self.columns]
        return torch.cat(blocks, dim=1)
