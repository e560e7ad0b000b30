"""Bonds: pairs of nodes that were neighbours in the reference frame of a solid, and what compiled loops need of them.

A solid remembers where its nodes were when it was at rest. Its pairs are those of the reference positions, for ever,
and each has a reference length. Energies depend on lengths now and then, so they do not know how the solid is turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.data.box import Box
from vid2dyn.dynamics.snapshot import neighbour_pairs


@dataclass(frozen=True, eq=False)
class Bonds:
    """Pairs within some range in the reference frame.

    Parameters
    ----------
    reference : (n, dim) array
        Positions in the reference frame [µm].
    first, second : (bonds,) int arrays
    length : (bonds,) array
        Reference lengths R0 [µm].
    box : Box
    """

    reference: np.ndarray
    first: np.ndarray
    second: np.ndarray
    length: np.ndarray
    box: Box

    @classmethod
    def of(cls, reference: np.ndarray, reach: float, box: Box) -> Bonds:
        """All pairs closer than `reach` [µm] in the reference frame.

        Raises
        ------
        ConfigError
            When two nodes are in one place.

        Examples
        --------
        >>> from vid2dyn.data.box import Free
        >>> Bonds.of(np.array([[0.0, 0.0], [0.0, 0.5], [0.0, 1.5]]), 0.8, Free()).length.tolist()
        [0.5]
        """
        reference = np.asarray(reference, float)
        pairs = neighbour_pairs(reference, reach, box)
        first, second = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        length = np.sqrt((box.displacement(reference[first], reference[second]) ** 2).sum(axis=1))
        if len(length) and not length.min() > 1e-9 * reach:
            k = int(np.argmin(length))
            raise ConfigError(f"Nodes {first[k]} and {second[k]} (counted from 0 in the order of their numbers) are in "
                              "one place in the reference frame: their bond has no direction. Remove one.")
        return cls(reference, first, second, length, box)

    @property
    def n(self) -> int:
        """Nodes."""
        return len(self.reference)

    @property
    def dim(self) -> int:
        """Space dimensions."""
        return self.reference.shape[1]

    @cached_property
    def apart(self) -> np.ndarray:
        """(bonds, dim) vectors from the second to the first node in the reference frame [µm]."""
        return self.box.displacement(self.reference[self.first], self.reference[self.second])

    def lines(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors from the second to the first node, (bonds, dim), and lengths, (bonds,), at positions [µm]."""
        apart = self.box.displacement(position[self.first], position[self.second])
        r = np.sqrt((apart**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(r[:, None] > 0, apart / r[:, None], 0.0), r

    def on_nodes(self, values: np.ndarray) -> np.ndarray:
        """Sum of the values of all bonds of each node, (n,)."""
        return np.bincount(self.first, values, self.n) + np.bincount(self.second, values, self.n)

    def density(self, cutoff: float) -> np.ndarray:
        """d_i = W(0) + sum_j W(R_ij) in the reference frame with Lucy's kernel, (n,) [1/µm^dim]."""
        return lucy(np.zeros(1), cutoff, self.dim)[0] + self.on_nodes(lucy(self.length, cutoff, self.dim))


def lucy(r: np.ndarray, cutoff: float, dim: int) -> np.ndarray:
    """Lucy's kernel W(r) = w (1 + 3s)(1 - s)³, s = r/cutoff, ∫W = 1 (Lucy, Astron. J. 82, 1013, 1977).

    >>> r = np.linspace(0, 1, 2001)
    >>> round(float(np.trapezoid(2 * np.pi * r * lucy(r, 1.0, 2), r)), 6)
    1.0
    """
    s = np.minimum(r / cutoff, 1.0)
    return lucy_height(cutoff, dim) * (1 + 3 * s) * (1 - s) ** 3


def lucy_height(cutoff: float, dim: int) -> float:
    """W(0)."""
    return {1: 5 / 4 / cutoff, 2: 5 / math.pi / cutoff**2, 3: 105 / 16 / math.pi / cutoff**3}[dim]


class FrozenSolid(NamedTuple):
    """A solid as compiled loops read it: bonds with their numbers, energies of nodes.

    Parameters
    ----------
    first, second, length : (bonds,) arrays
    stiffness, friction : (bonds,) arrays
        k [energy/µm²] of the springs, c [mass/s] of the dashpots.
    edge : (dim,) array
        Of the periodic box [µm]; 0: free.
    volume_modulus, volume_range : float
        K [energy/µm^dim] of the volumes of nodes and the range of their density [µm]; 0: no such energy.
    kernel_height : float
        Lucy's W(0) for this range.
    rest_density : (n,) array
        d_i in the reference frame.
    shear, bulk, hourglass : float
        Moduli of the deformation gradient [energy/µm^dim]; all 0: no such energy.
    weight : (bonds,) array
        w of a bond in the deformation gradient.
    apart : (bonds, dim) array
        Reference vectors [µm].
    metric : (n, dim, dim) array
        Inverse of sum w X Xᵀ over the bonds of a node.
    node_volume : (n,) array
        [µm^dim]
    spread : (n,) array
        1/sum w R0² of the bonds of a node.
    """

    first: np.ndarray
    second: np.ndarray
    length: np.ndarray
    stiffness: np.ndarray
    friction: np.ndarray
    edge: np.ndarray
    volume_modulus: float
    volume_range: float
    kernel_height: float
    rest_density: np.ndarray
    shear: float
    bulk: float
    hourglass: float
    weight: np.ndarray
    apart: np.ndarray
    metric: np.ndarray
    node_volume: np.ndarray
    spread: np.ndarray


@dataclass(eq=False)
class BondTables:
    """What terms on bonds add to while a model of a solid is frozen.

    Parameters
    ----------
    bonds : Bonds
        All bonds within the longest range of any term.
    """

    bonds: Bonds
    stiffness: np.ndarray = field(init=False)
    friction: np.ndarray = field(init=False)
    others: dict[str, object] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.stiffness, self.friction = np.zeros((2, len(self.bonds.length)))

    def set(self, **parts: object) -> None:
        """Further fields of `FrozenSolid`, of which there can be one of each.

        Raises
        ------
        ModelError
            When another term has set it.
        """
        for name in parts:
            if name in self.others:
                raise ModelError(f"Two terms of this model are of the same kind ({name.replace('_', ' ')}); the "
                                 "compiled rollout holds one of them. Leave one out.")
        self.others |= parts

    def frozen(self) -> FrozenSolid:
        """The tables as one thing."""
        b, n, dim = len(self.bonds.length), self.bonds.n, self.bonds.dim
        edge = np.zeros(dim) if self.bonds.box.lengths is None else np.asarray(self.bonds.box.lengths, float)
        nothing: dict[str, object] = {
            "volume_modulus": 0.0, "volume_range": 1.0, "kernel_height": 0.0, "rest_density": np.ones(n), "shear": 0.0,
            "bulk": 0.0, "hourglass": 0.0, "weight": np.zeros(b), "metric": np.zeros((n, dim, dim)),
            "node_volume": np.ones(n), "spread": np.ones(n)}
        return FrozenSolid(self.bonds.first, self.bonds.second, self.bonds.length, self.stiffness, self.friction, edge,
                           apart=np.ascontiguousarray(self.bonds.apart), **(nothing | self.others))  # type: ignore[arg-type]
