"""Conduction of heat between particles as a term, C² of `vid2dyn.dynamics.fluid.sdpd`: one amplitude, Lucy's weight.

It is learned with the entropies by the estimator of the fluid (`vid2dyn.fitting.particles.fit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vid2dyn.dynamics.terms.base import (
    Exports,
    Friction,
    Parameters,
    Scene,
    Tables,
    checked_positive,
    refuse_one_temperature,
)


@dataclass(frozen=True)
class Conduction(Friction):
    """Heat that flows between particles from the warmer to the colder one.

    Parameters
    ----------
    cutoff : float
        Range [µm]; that of the equation of state.

    Examples
    --------
    >>> Conduction(cutoff=0.2).reach
    0.2
    """

    exports: ClassVar[Exports] = Exports(why_not="LAMMPS conducts heat in dpd/fdt/energy alone, with a fixed shape")

    cutoff: float

    def __post_init__(self) -> None:
        checked_positive("Conduction", cutoff=self.cutoff)

    @property
    def needs_entropy(self) -> bool:
        return True

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def count(self) -> int:
        refuse_one_temperature("Conduction")

    def parameters(self, scene: Scene) -> Parameters:
        refuse_one_temperature("Conduction")

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        refuse_one_temperature("Conduction")
