"""Friction of pairs, along and across the line of their centres, as splines of the distance.

    force on i = - sum_j [γ_across (I - e eᵀ) + γ_along e eᵀ] v_ij,   noise of covariance 2 kT γ dt, opposite at its
    ends

(Español & Warren, Europhys. Lett. 30, 191, 1995, for the part along; Español, PRE 52, 1734, 1995, for both.) Momentum
is conserved, so velocities of the rollout flow as a fluid's do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.dynamics.terms.base import Configuration, Exports, PairColumns, Tables
from vid2dyn.dynamics.terms.radial_friction import RadialFriction


@dataclass(frozen=True)
class PairFriction(RadialFriction):
    """Friction γ(r) of every pair, along and across its line of centres; it ends smoothly at the cutoff.

    Parameters
    ----------
    cutoff : float
        Range [µm], at most half the box.
    knots : int
        Number of splines, of either direction.
    learn_range : bool
        Whether a shorter range is taken where it predicts held-out motion as well.
    inner : tuple of float, optional
        Distance of each pair of species inside which γ is constant [µm]; the data decide it.
    species : tuple of str, optional
        Names of the species; the data decide it.
    law : {"radial", "transport"}
        How friction depends on the state. "radial": on the distance alone. "transport": multiplied by the volumes and
        the temperature of both particles, so that viscosities do not depend on the state; only where particles have
        heat of their own (entropy=True).

    Examples
    --------
    >>> term = PairFriction(cutoff=1.0, knots=4, inner=(0.0,), species=("",))
    >>> term.count
    8
    """

    exports: ClassVar[Exports] = Exports(stock="pair_style dpd/ext/tstat")

    law: Literal["radial", "transport"] = "radial"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.law not in ("radial", "transport"):
            raise ConfigError(f"PairFriction: law = {self.law!r}; choose 'radial' or 'transport'.")

    @property
    def needs_entropy(self) -> bool:
        return self.law == "transport"

    def pair_columns(self, at: Configuration) -> PairColumns:
        if self.needs_entropy:
            raise ModelError("PairFriction(law=\"transport\") depends on volumes and temperatures, which a list at one "
                             "temperature has not; use law=\"radial\", or entropy=True.")
        return super().pair_columns(at)

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        for k in range(len(self.kinds)):
            value, slope = self.of_kind(theta, tables.r, k), self.of_kind(theta, tables.r, k, 1)
            tables.pair_friction[k] += np.stack([value[0], slope[0], value[1], slope[1]], axis=1)
