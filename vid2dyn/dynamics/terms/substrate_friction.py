"""Drag of every particle against what is at rest: a solvent, a substrate, a gas.

    force on i = -γ v_i,      noise of covariance 2 kT γ dt

Momentum is not conserved. The bath has the temperature of the particles.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vid2dyn.dynamics.terms.base import (
    Configuration,
    Exports,
    Friction,
    NodeColumns,
    Parameters,
    Quantity,
    Scene,
    Tables,
)


@dataclass(frozen=True)
class SubstrateFriction(Friction):
    """Drag γ of every particle against a solvent or substrate at rest, one number for each species.

    Parameters
    ----------
    species : tuple of str, optional
        Names of the species; the data decide it.

    Examples
    --------
    >>> SubstrateFriction(species=("A", "B")).count
    2
    """

    exports: ClassVar[Exports] = Exports(stock="fix langevin")

    species: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", None if self.species is None else tuple(self.species))

    def settled(self, scene: Scene) -> SubstrateFriction:
        return dataclasses.replace(self, species=self.species or scene.species)

    @property
    def count(self) -> int:
        return len(self.species or ("",))

    def parameters(self, scene: Scene) -> Parameters:
        names = tuple(f"drag[{name}]" if self.count > 1 else "drag" for name in self.species or ("",))
        return Parameters(names, "mass/s", np.ones(self.count), 1e-6 * np.eye(self.count), positive=True)

    def node_columns(self, at: Configuration) -> NodeColumns:
        return NodeColumns(at.species[:, None] if self.count > 1 else np.zeros((at.n, 1), np.int64), np.ones((at.n, 1)))

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        tables.drag += np.asarray(theta, float)

    def quantities(self) -> tuple[Quantity, ...]:
        found = []
        for k, name in enumerate(self.species or ("",)):
            def drag(theta: np.ndarray, x: object, k: int = k) -> np.ndarray:
                return np.asarray(theta[k])

            found.append(Quantity("drag", "drag", "mass/s", drag, "", "friction against what is at rest",
                                  (name,) if self.count > 1 else ()))
        return tuple(found)
