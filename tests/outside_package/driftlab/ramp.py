"""A pair potential of the simulators: a linear ramp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.simulators import AnalyticPairPotential


@dataclass(frozen=True)
class Ramp(AnalyticPairPotential):
    """A linear ramp.

    Parameters
    ----------
    height : float
        Energy at contact [kT].
    width : float
        Distance at which it ends [µm].
    """

    height: float = 2.0
    width: float = 2.0

    @property
    def reach(self) -> float:
        """Distance beyond which there is no force [µm]."""
        return self.width

    def bare(self, r: np.ndarray) -> np.ndarray:
        """Energy [kT] at distances within reach."""
        return self.height * (1 - r / self.width)

    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        """Its derivative [kT/µm]."""
        return np.full_like(r, -self.height / self.width)
