"""Friction of the bonds of a solid: dashpots along the line of the two nodes.

    force on i = - sum over bonds of c(R0) (e·v_ij) e,     noise 2 kT c dt, opposite at its ends

(Español & Warren, Europhys. Lett. 30, 191, 1995, eq. 10, on pairs of the reference frame.) Momentum and angular
momentum are conserved; a sheet that turns as a whole is not braked. What the dashpots take from the motion is heat of
the nodes, half to each end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.dynamics.terms.base import Configuration, Friction, PairColumns, Parameters, Quantity, Scene
from vid2dyn.dynamics.terms.bond_splines import BondSpline
from vid2dyn.dynamics.terms.bonds import BondTables


@dataclass(frozen=True)
class BondDashpot(BondSpline, Friction):
    """Dashpots between nodes of a solid that were closer than the cutoff in its reference frame.

    Parameters
    ----------
    cutoff : float
        Longest bond in the reference frame [µm].
    knots : int
        Number of splines of the friction c(R0). More of them resolve finer structure and need bonds of many lengths.
    inner : float, optional
        Shortest reference length that is resolved [µm]; the data decide it.

    Examples
    --------
    >>> term = BondDashpot(cutoff=0.15, inner=0.05)
    >>> term.count, term.reach
    (8, 0.15)
    """

    def parameters(self, scene: Scene) -> Parameters:
        return self._numbers("c", "mass/s", positive=True)

    def bond_columns(self, at: Configuration) -> PairColumns:
        value = self.basis(at.needed_bonds().length)
        which = np.broadcast_to(np.arange(self.count), value.shape)
        return PairColumns(which, np.zeros_like(value), value)

    def freeze_bonds(self, theta: np.ndarray, tables: BondTables) -> None:
        tables.friction += self.function(theta, tables.bonds.length)

    def quantities(self) -> tuple[Quantity, ...]:
        return (Quantity("bond_friction", "friction of a bond", "mass/s", self.function, "reference length [µm]",
                         "Of the dashpots between nodes, by their length in the reference frame."),)
