"""Energy of the deformation gradient of a solid, node by node: the second member beside springs.

    F_i = [sum_j w_ij x_ij X_ijᵀ] [sum_j w_ij X_ij X_ijᵀ]⁻¹,     C = FᵀF,   J = det F
    E_i = V_i [ µ/2 (tr C J^(-2/dim) - dim) + κ/2 (J - 1)² + h/2 sum_j ŵ_ij |x_ij - F_i X_ij|² ]

X and x are the vectors of the bonds of node i in the reference frame and now, w = W(R0) Lucy's kernel. The first part
resists shear and not volume, the second volume alone (neo-Hookean; the split of Flory, Trans. Faraday Soc. 57, 829,
1961). F_i is the least-squares affine map of the bonds, and what it leaves over costs nothing in these two, so that
hourglass motions are free; the third holds them (Ganzenmüller, CMAME 286, 87, 2015, here as an energy of its own).
ŵ is w over sum_j w R0², so that µ, κ and h have one unit. The forces are those of the energy in full, summed over
bonds: they cancel in pairs, and nothing is regressed on strains of single frames.

All of it depends on FᵀF and |x - F X|² alone: a rotation of the whole changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.errors import DataError
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
from vid2dyn.dynamics.terms.bonds import Bonds, BondTables, lucy

NAMES = ("deformation_shear", "deformation_bulk", "deformation_hourglass")
LABELS = ("shear modulus of the deformation gradient", "bulk modulus of the deformation gradient",
          "stiffness against hourglass motion")


@dataclass(frozen=True)
class DeformationEnergy(BondTerm, Energy):
    """Shear and volume energy of the deformation gradient of every node, with an energy of what is not affine.

    Parameters
    ----------
    cutoff : float
        Longest bond in the reference frame that the deformation gradient of a node is made of [µm].

    Examples
    --------
    >>> DeformationEnergy(cutoff=0.15).count
    3
    """

    cutoff: float

    def __post_init__(self) -> None:
        checked_positive("DeformationEnergy", cutoff=self.cutoff)

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def count(self) -> int:
        return 3

    def settled(self, scene: Scene) -> DeformationEnergy:
        checked_reach("DeformationEnergy", self.cutoff, scene.box)
        return self

    def parameters(self, scene: Scene) -> Parameters:
        return Parameters(NAMES, "energy/µm^dim", np.array([1.0, 2.0, 1.0]), 1e-3 * np.eye(3))

    def weights(self, bonds: Bonds) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """w of the bonds, [sum w X Xᵀ]⁻¹ of the nodes, V of the nodes, and 1/sum w R0² of the nodes.

        Raises
        ------
        DataError
            For a node whose bonds do not span space.
        """
        w = lucy(bonds.length, self.cutoff, bonds.dim)
        X = bonds.apart
        dyad = w[:, None, None] * X[:, :, None] * X[:, None, :]
        moment = np.zeros((bonds.n, bonds.dim, bonds.dim))
        np.add.at(moment, bonds.first, dyad)
        np.add.at(moment, bonds.second, dyad)
        size = np.trace(moment, axis1=1, axis2=2)
        flat = np.linalg.eigvalsh(moment)[:, 0] <= 1e-6 * np.maximum(size, 1e-300)
        if flat.any():
            raise DataError(f"Node {int(np.argmax(flat))} (counted from 0 in the order of their numbers) and "
                            f"{int(flat.sum()) - 1} others have too few bonds within {self.cutoff:g} µm for a "
                            "deformation gradient. Give a longer cutoff, or use BondEnergy.")
        return w, np.linalg.inv(moment), 1.0 / bonds.density(self.cutoff), 1.0 / size

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        at = Configuration.of_snapshot(snapshot)
        w, metric, volume, share = (torch.as_tensor(a) for a in self.weights(at.needed_bonds()))
        x, X = snapshot.bond_vectors(), snapshot.reference_vectors()
        dim, n = x.shape[1], len(snapshot.position)
        first, second = snapshot.column("bonds").unbind(1)
        dyad = w[:, None, None] * x[:, :, None] * X[:, None, :]
        F = torch.zeros(n, dim, dim, dtype=x.dtype).index_add(0, first, dyad).index_add(0, second, dyad) @ metric
        C = F.transpose(1, 2) @ F
        J = torch.linalg.det(F)
        trace = C.diagonal(dim1=1, dim2=2).sum(dim=1)
        shear = 0.5 * (trace * torch.linalg.det(C) ** (-1.0 / dim) - dim)
        left = torch.zeros(n, dtype=x.dtype)
        for end in (first, second):
            z = x - torch.einsum("bac,bc->ba", F[end], X)
            left = left.index_add(0, end, 0.5 * w * (z * z).sum(dim=1))
        mu, kappa, hourglass = (float(t) for t in theta)
        return (volume * (mu * shear + 0.5 * kappa * (J - 1.0) ** 2 + hourglass * share * left)).sum()

    def force_slopes(self, at: Configuration) -> np.ndarray:
        bonds = at.needed_bonds()
        w, metric, volume, share = self.weights(bonds)
        x = bonds.box.displacement(at.position[bonds.first], at.position[bonds.second])
        X, dim = bonds.apart, at.dim
        dyad = w[:, None, None] * x[:, :, None] * X[:, None, :]
        F = np.zeros((at.n, dim, dim))
        np.add.at(F, bonds.first, dyad)
        np.add.at(F, bonds.second, dyad)
        F = F @ metric
        J = np.linalg.det(F)
        turned = np.linalg.inv(F).transpose(0, 2, 1)
        trace = (F * F).sum(axis=(1, 2))
        # first Piola-Kirchhoff stresses dE/dF of the first two energies
        scale = np.abs(J) ** (-2.0 / dim)
        stress = (scale[:, None, None] * (F - (trace / dim)[:, None, None] * turned),
                  ((J - 1.0) * J)[:, None, None] * turned)
        out = np.zeros((3, at.n, dim))
        for end in (bonds.first, bonds.second):
            parts = [w[:, None] * np.einsum("bac,bcd,bd->ba", volume[end, None, None] * P[end], metric[end], X)
                     for P in stress]
            z = x - np.einsum("bac,bc->ba", F[end], X)
            parts.append((w * volume[end] * share[end])[:, None] * z)
            for k, pull in enumerate(parts):
                np.add.at(out[k], bonds.first, -pull)
                np.add.at(out[k], bonds.second, pull)
        return out

    def freeze_bonds(self, theta: np.ndarray, tables: BondTables) -> None:
        w, metric, volume, share = self.weights(tables.bonds)
        tables.set(shear=float(theta[0]), bulk=float(theta[1]), hourglass=float(theta[2]), weight=w, metric=metric,
                   node_volume=volume, spread=share)

    def quantities(self) -> tuple[Quantity, ...]:
        found = []
        for k, (name, label) in enumerate(zip(NAMES, LABELS)):
            def modulus(theta: np.ndarray, x: None, k: int = k) -> np.ndarray:
                return np.asarray(float(theta[k]))

            found.append(Quantity(name, label, "energy/µm^dim", modulus, ""))
        return tuple(found)
