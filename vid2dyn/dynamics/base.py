"""The sentence that holds vid2dyn together, in code.

    A model is potentials on the state plus a friction matrix M = G Gᵀ on nodes and pairs.

A `Potential` gives an energy. A `FrictionMatrix` gives only its root G, as blocks on nodes and on the two
ends of pairs. Drift, noise, covariance and conservation laws follow here, once, for every model:

    dx = [-M ∇U + kT ∇·M] dt + sqrt(2 kT) G dW,     Cov = 2 kT M dt          (Öttinger, Beyond
    Equilibrium Thermodynamics, 2005, §1.2.5: fluctuation-dissipation by construction)

M is symmetric and positive semidefinite because it is never stored, only its root. A column of the state is
conserved when the two ends of every pair block of G cancel in it and it has no node block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from vid2dyn.dynamics.snapshot import Snapshot


@dataclass(frozen=True)
class Root:
    """G, the root of a friction matrix, as small blocks.

    Parameters
    ----------
    node : (n, c, k) tensor or None
        c columns of the state driven by k noise channels of each node.
    first, second : (p, c, k) tensors or None
        The two ends of k noise channels of each pair.
    pairs : (p, 2) int tensor or None
        Nodes at the ends.
    """

    node: torch.Tensor | None = None
    first: torch.Tensor | None = None
    second: torch.Tensor | None = None
    pairs: torch.Tensor | None = None

    def transpose_times(self, v: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Gᵀ v for v of shape (n, c): (n, k) on nodes and (p, k) on pairs."""
        on_nodes = None if self.node is None else torch.einsum("nck,nc->nk", self.node, v)
        on_pairs = None
        if self.first is not None and self.second is not None and self.pairs is not None:
            on_pairs = torch.einsum("pck,pc->pk", self.first, v[self.pairs[:, 0]])
            on_pairs = on_pairs + torch.einsum("pck,pc->pk", self.second, v[self.pairs[:, 1]])
        return on_nodes, on_pairs

    def times(self, on_nodes: torch.Tensor | None, on_pairs: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
        """G z for channels z; the result has the shape of `like`, (n, c)."""
        out = torch.zeros_like(like)
        if self.node is not None and on_nodes is not None:
            out = out + torch.einsum("nck,nk->nc", self.node, on_nodes)
        if self.first is not None and self.second is not None and self.pairs is not None and on_pairs is not None:
            out = out.index_add(0, self.pairs[:, 0], torch.einsum("pck,pk->pc", self.first, on_pairs))
            out = out.index_add(0, self.pairs[:, 1], torch.einsum("pck,pk->pc", self.second, on_pairs))
        return out

    def channels(self, like: torch.Tensor,
                 generator: torch.Generator) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """One standard normal number for every noise channel."""
        def draw(block: torch.Tensor | None) -> torch.Tensor | None:
            if block is None:
                return None
            shape = (block.shape[0], block.shape[2])
            return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        return draw(self.node), draw(self.first)


class Potential(ABC):
    """An energy on the state [kT]."""

    @abstractmethod
    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        """Total energy, a scalar tensor [kT]."""

    def gradient(self, snapshot: Snapshot, columns: tuple[str, ...] = ("position",)) -> torch.Tensor:
        """Gradient with respect to the named columns of the state, (n, c), by automatic differentiation.

        With the default ∇U is (n, dim) [kT/µm].
        """
        state = snapshot.state(columns).detach().requires_grad_(True)
        with torch.enable_grad():
            energy = self.energy(snapshot.with_state(columns, state))
            if not energy.requires_grad:
                return torch.zeros_like(state)
            (gradient,) = torch.autograd.grad(energy, state, allow_unused=True, materialize_grads=True)
        return gradient


class FrictionMatrix(ABC):
    """M = G Gᵀ; a subclass writes only `root` (and `divergence` where M depends on the state).

    `columns` names the columns of the state that M moves: positions of overdamped particles, velocities and entropies
    of fluids. What M does not move it does not know.
    """

    columns: tuple[str, ...] = ("position",)

    @abstractmethod
    def root(self, snapshot: Snapshot) -> Root:
        """G at this state."""

    def divergence(self, snapshot: Snapshot) -> torch.Tensor:
        """∇·M, shape (n, c), by automatic differentiation of M's columns: exact, for small systems.

        Subclasses on large systems give it in closed form and are tested against this.
        """
        state = snapshot.state(self.columns).detach()
        out = torch.zeros_like(state)
        for b in range(state.numel()):
            unit = torch.zeros_like(state)
            unit.view(-1)[b] = 1.0
            out += torch.autograd.functional.jvp(
                lambda x, unit=unit: self.times(snapshot.with_state(self.columns, x), unit), state, unit)[1]
        return out

    def times(self, snapshot: Snapshot, v: torch.Tensor) -> torch.Tensor:
        """M v, shape (n, c), without forming M."""
        root = self.root(snapshot)
        return root.times(*root.transpose_times(v), like=v)

    def noise(self, snapshot: Snapshot, generator: torch.Generator) -> torch.Tensor:
        """One draw of G ξ, covariance M, shape (n, c)."""
        like = snapshot.state(self.columns)
        root = self.root(snapshot)
        return root.times(*root.channels(like, generator), like=like)

    def dense(self, snapshot: Snapshot) -> torch.Tensor:
        """M as an (n c, n c) matrix, node-major; for tests and small systems."""
        n, c = snapshot.state(self.columns).shape
        root = self.root(snapshot)
        basis = torch.eye(n * c, dtype=snapshot.position.dtype, device=snapshot.position.device).reshape(n * c, n, c)
        return torch.stack([root.times(*root.transpose_times(e), like=e).reshape(-1) for e in basis], dim=1)


class Dynamics(ABC):
    """Potentials and a friction matrix; drift and noise follow."""

    potentials: tuple[Potential, ...]
    friction: FrictionMatrix

    @abstractmethod
    def drift(self, snapshot: Snapshot) -> torch.Tensor:
        """Deterministic part of dx/dt, shape (n, c)."""

    @abstractmethod
    def noise(self, snapshot: Snapshot, dt: float, generator: torch.Generator) -> torch.Tensor:
        """Random part of one step of length dt, shape (n, c)."""

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        """Sum of all potentials [kT]."""
        return torch.stack([p.energy(snapshot) for p in self.potentials]).sum() if self.potentials \
            else snapshot.position.new_zeros(())


class Overdamped(Dynamics):
    """Positions only, one temperature: dx = [-M ∇U + kT ∇·M] dt + sqrt(2 kT M) dW, energies in kT.

    With a constant M = D on every node this is Brownian motion; with pair blocks, hydrodynamic coupling.

    Parameters
    ----------
    potentials : sequence of Potential
        Energies [kT].
    friction : FrictionMatrix
        Mobility times kT [µm²/s]: the diffusion matrix.
    """

    def __init__(self, potentials: tuple[Potential, ...], friction: FrictionMatrix) -> None:
        self.potentials = tuple(potentials)
        self.friction = friction

    def drift(self, snapshot: Snapshot) -> torch.Tensor:
        gradient = torch.zeros_like(snapshot.position)
        for potential in self.potentials:
            gradient = gradient + potential.gradient(snapshot)
        return self.friction.divergence(snapshot) - self.friction.times(snapshot, gradient)

    def noise(self, snapshot: Snapshot, dt: float, generator: torch.Generator) -> torch.Tensor:
        return (2.0 * dt) ** 0.5 * self.friction.noise(snapshot, generator)
