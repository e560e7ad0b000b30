"""Energy of the volumes of the nodes of a solid.

    E = sum_i V_i K (J_i - 1)²/2,     J_i = D_i/d_i,   d_i = W(0) + sum over bonds of W(r),   V_i = 1/D_i

d_i is the density of a node with Lucy's kernel W over its bonds, D_i that in the reference frame, J_i the volume over
that at rest. Springs along lines of centres alone have a fixed ratio of bulk to shear modulus (2 in the plane, Cauchy's
relation); this energy sets the bulk modulus free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import (
    BondTerm,
    Configuration,
    Energy,
    Parameters,
    Quantity,
    Scene,
    checked_positive,
    checked_reach,
)
from vid2dyn.dynamics.terms.bonds import BondTables, lucy, lucy_height


@dataclass(frozen=True)
class NodeVolume(BondTerm, Energy):
    """Resistance of every node to a change of its volume, one modulus for all.

    Parameters
    ----------
    cutoff : float
        Range of the density that says what the volume of a node is [µm], in the reference frame and now.

    Examples
    --------
    >>> NodeVolume(cutoff=0.15).count
    1
    """

    cutoff: float

    def __post_init__(self) -> None:
        checked_positive("NodeVolume", cutoff=self.cutoff)

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def count(self) -> int:
        return 1

    def settled(self, scene: Scene) -> NodeVolume:
        checked_reach("NodeVolume", self.cutoff, scene.box)
        return self

    def parameters(self, scene: Scene) -> Parameters:
        return Parameters(("volume_modulus",), "energy/µm^dim", np.ones(1), np.full((1, 1), 1e-3))

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        dim = snapshot.position.shape[1]
        height = lucy_height(self.cutoff, dim)

        def density(r: torch.Tensor) -> torch.Tensor:
            s = (r / self.cutoff).clamp(max=1.0)
            W = height * (1 + 3 * s) * (1 - s) ** 3
            first, second = snapshot.column("bonds").unbind(1)
            start = torch.full((len(snapshot.position),), height, dtype=r.dtype)
            return start.index_add(0, first, W).index_add(0, second, W)

        rest = density(torch.linalg.vector_norm(snapshot.reference_vectors(), dim=1))
        now = density(torch.linalg.vector_norm(snapshot.bond_vectors(), dim=1))
        return 0.5 * float(theta[0]) * ((rest / now - 1.0) ** 2 / rest).sum()

    def force_slopes(self, at: Configuration) -> np.ndarray:
        bonds = at.needed_bonds()
        e, r = bonds.lines(at.position)
        rest = bonds.density(self.cutoff)
        now = lucy(np.zeros(1), self.cutoff, at.dim)[0] + bonds.on_nodes(lucy(r, self.cutoff, at.dim))
        # dE_i/dd_i = -(J - 1)/d², since V dJ/dd = -1/d²
        slope = -(rest / now - 1.0) / now**2
        s = np.minimum(r / self.cutoff, 1.0)
        steep = -12 * lucy_height(self.cutoff, at.dim) * s * (1 - s) ** 2 / self.cutoff
        push = -(slope[bonds.first] + slope[bonds.second]) * steep
        out = np.zeros((1, at.n, at.dim))
        for end, sign in ((bonds.first, 1.0), (bonds.second, -1.0)):
            np.add.at(out[0], end, sign * push[:, None] * e)
        return out

    def freeze_bonds(self, theta: np.ndarray, tables: BondTables) -> None:
        tables.set(volume_modulus=float(theta[0]), volume_range=self.cutoff,
                   kernel_height=lucy_height(self.cutoff, tables.bonds.dim),
                   rest_density=tables.bonds.density(self.cutoff))

    def quantities(self) -> tuple[Quantity, ...]:
        return (Quantity("volume_modulus", "modulus of the volume of a node", "energy/µm^dim",
                         lambda theta, x: np.asarray(float(theta[0])), "",
                         "Resistance to a change of volume beside that of the springs."),)
