"""An energy: pairs repel or attract by a Gaussian of their distance, of which the height is learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import PairEnergy, Parameters, Quantity, Scene, Tables


@dataclass(frozen=True)
class GaussianPair(PairEnergy):
    """Pair energy h exp(-r²/2w²) (1 - r²/c²)³: a Gaussian that ends smoothly.

    Parameters
    ----------
    cutoff : float
        Distance c at which it ends [µm].
    width : float
        Width w of the Gaussian [µm].
    """

    cutoff: float = 1.5
    width: float = 0.5

    def __post_init__(self) -> None:
        if not (self.cutoff > 0 and self.width > 0):
            raise ConfigError(f"GaussianPair: cutoff = {self.cutoff!r} and width = {self.width!r} must be positive.")

    @property
    def reach(self) -> float:
        """Where it ends [µm]."""
        return self.cutoff

    @property
    def count(self) -> int:
        """The height alone."""
        return 1

    def parameters(self, scene: Scene) -> Parameters:
        """The height, between -100 and 100 kT or so."""
        return Parameters(("height",), "energy", np.zeros(1), np.full((1, 1), (100 * scene.kT) ** -2))

    def shape(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy of height 1, and its slope in r."""
        end = np.clip(1 - (r / self.cutoff) ** 2, 0.0, None)
        bell = np.exp(-0.5 * (r / self.width) ** 2)
        return bell * end**3, -r * bell * end**2 * (end / self.width**2 + 6 / self.cutoff**2)

    def pair_slopes(self, r: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every pair pushes in proportion to the only parameter."""
        return np.zeros((len(r), 1), np.int64), -self.shape(r)[1][:, None]

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        """The definition."""
        r = snapshot.distance()
        end = (1 - (r / self.cutoff) ** 2).clamp(min=0.0)
        return float(theta[0]) * (torch.exp(-0.5 * (r / self.width) ** 2) * end**3).sum()

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        """The same for every kind of pairs."""
        tables.pair_energy += theta[0] * np.stack(self.shape(tables.r), axis=1)

    def quantities(self) -> tuple[Quantity, ...]:
        """The height and the function."""
        def energy(theta: np.ndarray, r: np.ndarray) -> np.ndarray:
            return theta[0] * self.shape(r)[0]

        return (Quantity("gaussian_height", "height of the Gaussian", "energy", lambda theta, x: np.asarray(theta[0]),
                         argument=""),
                Quantity("gaussian_energy", "Gaussian pair energy", "energy", energy, caption="Zero beyond its range."))
