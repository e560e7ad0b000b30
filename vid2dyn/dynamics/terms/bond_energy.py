"""Energy of the bonds of a solid: springs that have their own length in the reference frame.

    E = sum over bonds of k(R0) (r - R0)²/2

r is the length now, R0 that in the reference frame: the energy of a solid that is turned or moved as a whole is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import Configuration, Energy, Parameters, Quantity, Scene
from vid2dyn.dynamics.terms.bond_splines import BondSpline
from vid2dyn.dynamics.terms.bonds import BondTables


@dataclass(frozen=True)
class BondEnergy(BondSpline, Energy):
    """Springs between nodes of a solid that were closer than the cutoff in its reference frame.

    Parameters
    ----------
    cutoff : float
        Longest bond in the reference frame [µm].
    knots : int
        Number of splines of the stiffness k(R0). More of them resolve finer structure and need bonds of many lengths.
    inner : float, optional
        Shortest reference length that is resolved [µm]; the data decide it.

    Examples
    --------
    >>> term = BondEnergy(cutoff=0.15, inner=0.05)
    >>> term.count, term.reach
    (8, 0.15)
    """

    def parameters(self, scene: Scene) -> Parameters:
        return self._numbers("k", "energy/µm²", positive=False)

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        length = torch.linalg.vector_norm(snapshot.reference_vectors(), dim=1)
        k = torch.as_tensor(self.function(theta, length.detach().cpu().numpy()), dtype=length.dtype)
        return 0.5 * (k * (torch.linalg.vector_norm(snapshot.bond_vectors(), dim=1) - length) ** 2).sum()

    def force_slopes(self, at: Configuration) -> np.ndarray:
        bonds = at.needed_bonds()
        e, r = bonds.lines(at.position)
        push = -self.basis(bonds.length) * (r - bonds.length)[:, None]
        out = np.zeros((at.n, self.count, at.dim))
        for end, sign in ((bonds.first, 1.0), (bonds.second, -1.0)):
            np.add.at(out, end, sign * push[:, :, None] * e[:, None, :])
        return np.ascontiguousarray(out.transpose(1, 0, 2))

    def freeze_bonds(self, theta: np.ndarray, tables: BondTables) -> None:
        tables.stiffness += self.function(theta, tables.bonds.length)

    def quantities(self) -> tuple[Quantity, ...]:
        return (Quantity("bond_stiffness", "stiffness of a bond", "energy/µm²", self.function, "reference length [µm]",
                         "Of the springs between nodes, by their length in the reference frame."),)
