"""What the energies beside the equation of state of a fluid say, and their tables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.terms.base import Energy
from vid2dyn.dynamics.terms.equation_of_state import EquationOfState
from vid2dyn.model.term_list import TermListModel


@dataclass(frozen=True, eq=False)
class FurtherEnergies(TermListModel):
    """The list of those energies alone, at the temperature of the fluid in its middle state.

    `arrays` and recipe are as those of `TermListModel`; the recipe is that of the whole fluid.
    """

    @property
    def terms(self) -> tuple[Energy, ...]:  # type: ignore[override]
        """Energies beside the equation of state."""
        return tuple(term for term in self.terms_recipe.energy if not isinstance(term, EquationOfState))

    def has(self, name: str) -> bool:
        """Whether they have a function or a number of this name."""
        return name in self._quantities

    def added_to(self, fluid: FrozenFluid, dim: int) -> FrozenFluid:
        """The tables of a fluid, made for the range of these terms too, with those of the terms."""
        own = freeze(self.terms, self.numbers_of(), kT=self.kT(), mass=self.arrays["mass"], dim=dim, reach=fluid.cutoff)
        eos = fluid.eos
        if own.density_energy is not None and eos is not None and fluid.log_volume is not None:
            # the same kernel and range: a part of U(S, V)
            V = np.exp(np.linspace(*fluid.log_volume, eos.shape[1]))
            u, _, P = own.energy(np.zeros_like(V), V)
            eos = eos + np.stack([u, 0.0 * u, -P * V, 0.0 * u], axis=1)
        return dataclasses.replace(fluid, eos=eos, pair_energy=own.pair_energy, external=own.external, traps=own.traps)
