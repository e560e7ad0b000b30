"""The internal energy U(S, V) of a fluid particle as a term: heat of its own and the volume its neighbours leave it.

    E = sum_i U(S_i, V_i),      V_i = 1/d_i,      d_i = W(0) + sum_j W(r_ij),      T = ∂U/∂S,      P = -∂U/∂V

Nobody sees S. It is inferred from motion by the estimator of the fluid (`vid2dyn.fitting.particles.fit`), which learns
the six numbers of `vid2dyn.dynamics.terms.gas` or the net of `vid2dyn.dynamics.terms.convex_net`; so this term is not
linear in its numbers, and stands only in lists with entropy=True. The classes of torch that a fluid is built of are in
`vid2dyn.dynamics.terms.equations_of_state`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import (
    Configuration,
    Energy,
    Exports,
    Parameters,
    Scene,
    Tables,
    checked_positive,
    refuse_one_temperature,
)


@dataclass(frozen=True)
class EquationOfState(Energy):
    """Internal energy U(S, V) of every particle: a gas whose heat capacity may bend, with a cold part.

    Parameters
    ----------
    cutoff : float
        Range of the kernel that says what the volume of a particle is [µm], at most half the box. One that holds 15 to
        60 neighbours is a good choice.
    form : {"gas", "net"}
        How U depends on S and V. "gas": a gas whose heat capacity may bend, five numbers; the better choice for few
        data. "net": a convex, monotone net, so that heat capacity and pressure may depend on both in any way that is
        stable. It takes two to three times as long.
    units : int
        Size of the net.
    bend : bool
        Whether the heat capacity of form "gas" may change with temperature. If not, it is one number. (That of a net
        may.)
    cold : bool
        Whether the pressure has a part that does not depend on temperature, beside that of a gas.

    Examples
    --------
    >>> EquationOfState(cutoff=0.2).needs_entropy
    True
    """

    exports: ClassVar[Exports] = Exports(why_not="LAMMPS has heat of particles (dpd/fdt/energy), but not this U(S, V)")

    cutoff: float
    form: Literal["gas", "net"] = "gas"
    units: int = 8
    bend: bool = True
    cold: bool = True

    def __post_init__(self) -> None:
        checked_positive("EquationOfState", cutoff=self.cutoff)
        if self.form not in ("gas", "net"):
            raise ConfigError(f"EquationOfState: form = {self.form!r}; choose 'gas' or 'net'.")
        if not 1 <= self.units <= 32:
            raise ConfigError(f"EquationOfState: units = {self.units}; use 1 to 32 (8 describe a smooth function).")

    @property
    def needs_entropy(self) -> bool:
        return True

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def count(self) -> int:
        refuse_one_temperature("EquationOfState")

    def parameters(self, scene: Scene) -> Parameters:
        refuse_one_temperature("EquationOfState")

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        refuse_one_temperature("EquationOfState")

    def force_slopes(self, at: Configuration) -> np.ndarray:
        refuse_one_temperature("EquationOfState")

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        refuse_one_temperature("EquationOfState")
