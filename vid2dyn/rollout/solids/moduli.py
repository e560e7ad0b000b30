"""Moduli and viscosities of a solid: what an affine strain of its inner part costs, what an affine flow of it heats.

Every energy and friction of a solid is linear in its numbers, so the moduli are too, and come with exact slopes. Where
nodes do not move affinely under an affine strain of the edges (disorder), these are upper bounds of what a stress at
the edges shows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import ConvexHull, QhullError, Voronoi

from vid2dyn.core.errors import DataError
from vid2dyn.dynamics.terms.bonds import Bonds, FrozenSolid
from vid2dyn.rollout.solids.forces import forces_between, node_energies

STRAIN = 1e-3
"""Of the second differences of the energy."""
NAMES = ("shear_modulus", "bulk_modulus", "shear_viscosity", "bulk_viscosity")


def inner_nodes(bonds: Bonds, reach: float) -> tuple[np.ndarray, float]:
    """Nodes further than the longest bond from the edges of the solid, (n,) bool, and the area (volume) of their cells.

    Raises
    ------
    DataError
        When there are none.
    """
    X = bonds.reference
    if bonds.box.lengths is not None:
        return np.ones(len(X), bool), float(np.prod(bonds.box.lengths))
    try:
        hull = ConvexHull(X)
    except QhullError:
        raise DataError("The reference positions lie on a line: a solid has an area.") from None
    depth = -(X @ hull.equations[:, :-1].T + hull.equations[:, -1]).max(axis=1)
    inside = depth > reach * (1 + 1e-9)
    if not inside.any():
        raise DataError(f"No node is further than the longest bond, {reach:g} µm, from the edges of the solid: there "
                        "is no inner part whose modulus could be told. Give a larger sheet or shorter bonds.")
    cells = Voronoi(X)
    area = sum(ConvexHull(cells.vertices[cells.regions[cells.point_region[i]]]).volume for i in np.flatnonzero(inside))
    return inside, float(area)


def moduli_of(solid: FrozenSolid, bonds: Bonds, inside: np.ndarray, area: float) -> np.ndarray:
    """Shear modulus, bulk modulus [energy/µm^dim], shear viscosity, bulk viscosity [energy s/µm^dim], (4,).

    The shear modulus is C_abab for shear along the axes, mean over pairs of axes; a grid has another one along its
    diagonals.
    """
    X, dim = bonds.reference - bonds.reference.mean(axis=0), bonds.dim
    X = np.ascontiguousarray(X)
    energies, heating, force = np.empty(len(X)), np.empty(len(X)), np.empty_like(X)

    def stored(strain: np.ndarray) -> float:
        node_energies(np.ascontiguousarray(X + X @ strain.T), solid, energies)
        return float(energies[inside].sum())

    def heated(rate: np.ndarray) -> float:
        forces_between(X, X, np.ascontiguousarray(X @ rate.T), solid, force, heating)
        return float(heating[inside].sum())

    shears = [np.outer(np.eye(dim)[a], np.eye(dim)[b]) for a in range(dim) for b in range(a + 1, dim)]
    rest = stored(np.zeros((dim, dim)))

    def bend(strain: np.ndarray) -> float:
        return (stored(STRAIN * strain) + stored(-STRAIN * strain) - 2 * rest) / STRAIN**2

    mu, eta = (_mean(work, shears) for work in (bend, heated))
    kappa, zeta = (work(np.eye(dim)) / dim**2 for work in (bend, heated))
    return np.array([mu, kappa, eta, zeta]) / area


def _mean(work: Callable[[np.ndarray], float], strains: list[np.ndarray]) -> float:
    return sum(work(s) for s in strains) / max(len(strains), 1)
