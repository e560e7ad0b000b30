"""What springs and dashpots of a solid share: a function of the reference length as a spline that ends at a cutoff."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.terms.base import BondTerm, Parameters, Scene, checked_positive, checked_reach
from vid2dyn.dynamics.terms.splines import RadialSpline

SWING = 1.0
"""Standard deviation of the third differences of the coefficients in the prior, relative to the size of the function.
"""
SIZE = 30.0
"""Standard deviation of the coefficients in the prior, relative to the size of the function."""


@dataclass(frozen=True)
class BondSpline(BondTerm):
    """A function of the reference length of a bond, a spline with two continuous derivatives at the cutoff."""

    cutoff: float
    knots: int = 8
    inner: float | None = None

    def __post_init__(self) -> None:
        checked_positive(type(self).__name__, cutoff=self.cutoff)
        if self.knots < 4:
            raise ConfigError(f"{type(self).__name__}: knots = {self.knots}; use at least 4.")
        if self.inner is not None and not 0 <= self.inner < self.cutoff:
            raise ConfigError(f"{type(self).__name__}: inner = {self.inner!r} must lie between 0 and the cutoff.")

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def count(self) -> int:
        return self.knots

    def settled(self, scene: Scene) -> Self:
        checked_reach(type(self).__name__, self.cutoff, scene.box)
        if self.inner is not None:
            return self
        closest = float(np.nanmin(np.where(np.isfinite(scene.closest), scene.closest, np.nan)))
        return dataclasses.replace(self, inner=0.98 * min(closest, 0.8 * self.cutoff) if closest > 0 else 0.0)

    def spline(self) -> RadialSpline:
        """The basis."""
        return RadialSpline(self.inner or 0.0, self.cutoff, self.knots)

    def basis(self, length: np.ndarray) -> np.ndarray:
        """(bonds, count) the splines at reference lengths [µm]; inside `inner`, where no bond was, the values there."""
        return self.spline()(np.maximum(np.asarray(length, float), self.inner or 0.0))[0]

    def function(self, theta: np.ndarray, length: np.ndarray) -> np.ndarray:
        """The function at reference lengths of any shape [µm]."""
        length = np.asarray(length, float)
        return (self.basis(length.ravel()) @ np.asarray(theta, float)).reshape(length.shape)

    def _numbers(self, label: str, unit: str, *, positive: bool) -> Parameters:
        fall = (1.0 - (np.arange(self.knots) + 0.5) / (self.knots + 2)) ** 2
        precision = self.spline().roughness() / SWING**2 + np.eye(self.knots) / SIZE**2
        return Parameters(tuple(f"{label}_{k}" for k in range(self.knots)), unit, fall, precision, positive)
