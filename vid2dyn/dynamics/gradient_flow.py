"""Gradient flow of fields on the root-first base: mass moves across faces, downhill in free energy.

    dρ = -M ∇U dt + sqrt(2 M) dW,    U = q sum_k f(ρ_k),    M = (n²/q) sum over faces m(ρ_face) (e_i - e_j)(e_i - e_j)ᵀ

for n cells of q sites on a ring of length 1; faces are the pairs, ± sqrt(m) the two ends of the root, so mass is
conserved in drift and noise. With the face's density the mean of its two sides, ∇·M = 0: m depends on ρ_i + ρ_j (and,
with an even kernel, on others symmetrically), along which (e_i - e_j) does not move. As n grows,
ρ_t = (m f'(ρ)_x)_x with noise of variance 2m/N (N = n q sites), the fluctuating hydrodynamics of lattice processes
(Spohn 1991; Huang et al., arXiv 2312.05810).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.data.box import Free
from vid2dyn.dynamics.base import FrictionMatrix, Overdamped, Potential, Root
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.landscape import Landscape


def ring(rho: torch.Tensor) -> Snapshot:
    """Cells of a ring as a snapshot: the densities are the state, faces between neighbours the pairs."""
    n = len(rho)
    cell = torch.arange(n, device=rho.device)
    return Snapshot(rho[:, None], torch.stack([cell, (cell + 1) % n], dim=1), Free())


@dataclass(frozen=True, eq=False)
class _OnRing:
    """A landscape on cells of q = `sites` sites each."""

    landscape: Landscape
    sites: float

    def of(self, function: Callable[[np.ndarray], np.ndarray], snapshot: Snapshot) -> torch.Tensor:
        """A function of the densities, computed by numpy."""
        return torch.as_tensor(function(snapshot.position[:, 0].detach().cpu().numpy())).to(snapshot.position)


class FreeEnergy(_OnRing, Potential):
    """U = q sum_k [f(ρ_k) - ...] [kT], see `Landscape`."""

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        return self.sites * len(snapshot.position) * self.of(self.landscape.total, snapshot)

    def gradient(self, snapshot: Snapshot, columns: tuple[str, ...] = ("position",)) -> torch.Tensor:
        return self.sites * self.of(self.landscape.chemical_potential, snapshot)[:, None]


class FaceMobility(_OnRing, FrictionMatrix):
    """M of the module docstring by its root: ± n sqrt(m/q) at the two sides of every face of `ring`."""

    def root(self, snapshot: Snapshot) -> Root:
        block = len(snapshot.position) * torch.sqrt(self.of(self.landscape.face_mobility, snapshot) / self.sites)
        return Root(first=block[:, None, None], second=-block[:, None, None], pairs=snapshot.pairs)

    def divergence(self, snapshot: Snapshot) -> torch.Tensor:
        return torch.zeros_like(snapshot.position)


def flow_dynamics(landscape: Landscape, sites: float) -> Overdamped:
    """The flow of a landscape on cells of `sites` sites."""
    return Overdamped((FreeEnergy(landscape, sites),), FaceMobility(landscape, sites))
