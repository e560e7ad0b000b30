"""A friction: pairs slow each other down along their line, in a fixed shape whose strength is learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.terms.base import Configuration, Friction, PairColumns, Parameters, Quantity, Scene, Tables


@dataclass(frozen=True)
class SoftFriction(Friction):
    """Friction γ (1 - r²/c²)² along the line of every pair.

    Parameters
    ----------
    cutoff : float
        Distance c at which it ends [µm].
    """

    cutoff: float = 1.5

    def __post_init__(self) -> None:
        if not self.cutoff > 0:
            raise ConfigError(f"SoftFriction: cutoff = {self.cutoff!r} must be positive.")

    @property
    def reach(self) -> float:
        """Where it ends [µm]."""
        return self.cutoff

    @property
    def count(self) -> int:
        """The strength alone."""
        return 1

    def parameters(self, scene: Scene) -> Parameters:
        """The strength, hardly bounded."""
        return Parameters(("gamma",), "mass/s", np.ones(1), np.full((1, 1), 1e-6), positive=True)

    def shape(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Friction of strength 1, and its slope in r."""
        end = np.clip(1 - (r / self.cutoff) ** 2, 0.0, None)
        return end**2, -4 * r / self.cutoff**2 * end

    def pair_columns(self, at: Configuration) -> PairColumns:
        """Along the line, none across."""
        along = self.shape(at.r)[0][:, None]
        return PairColumns(np.zeros((len(at.r), 1), np.int64), np.zeros_like(along), along)

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        """The same for every kind of pairs; columns 2 and 3 are along the line."""
        tables.pair_friction[:, :, 2:] += theta[0] * np.stack(self.shape(tables.r), axis=1)

    def quantities(self) -> tuple[Quantity, ...]:
        """The function."""
        return (Quantity("soft_friction", "soft friction", "mass/s", lambda theta, r: theta[0] * self.shape(r)[0],
                         caption="Along the line of centres."),)
