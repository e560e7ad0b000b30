"""What springs and dashpots of a solid share: a function of the reference length as a spline.

Uniform cubic B-splines on [inner, cutoff], zero beyond. The reference length of a bond never changes, so no force jumps
where the function ends at the cutoff, and nothing holds it to zero there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.terms.base import BondTerm, Parameters, Scene, checked_positive, checked_reach
from vid2dyn.dynamics.terms.splines import bspline

SWING = 1.0
"""Standard deviation of the third differences of the coefficients in the prior, relative to the size of the function.
"""
SIZE = 30.0
"""Standard deviation of the coefficients in the prior, relative to the size of the function."""


@dataclass(frozen=True)
class BondSpline(BondTerm):
    """A function of the reference length of a bond, a cubic spline up to the cutoff."""

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

    def basis(self, length: np.ndarray) -> np.ndarray:
        """(bonds, count) the splines at reference lengths [µm]; inside `inner`, where no bond was, the values there.

        >>> from vid2dyn.dynamics.terms.bond_energy import BondEnergy
        >>> BondEnergy(cutoff=1.0, inner=0.4).basis(np.array([0.3, 0.7, 1.0])).sum(axis=1).round(12).tolist()
        [1.0, 1.0, 0.0]
        """
        length, inner = np.asarray(length, float), self.inner or 0.0
        pieces = self.knots - 3
        s = np.clip((length - inner) / (self.cutoff - inner), 0.0, 1.0) * pieces
        first = np.minimum(s.astype(np.int64), pieces - 1)
        out = np.zeros((len(length), self.knots))
        for m, value in enumerate(bspline(s - first)[0]):
            out[np.arange(len(length)), first + m] = value
        out[length >= self.cutoff] = 0.0
        return out

    def function(self, theta: np.ndarray, length: np.ndarray) -> np.ndarray:
        """The function at reference lengths of any shape [µm]."""
        length = np.asarray(length, float)
        return (self.basis(length.ravel()) @ np.asarray(theta, float)).reshape(length.shape)

    def _numbers(self, label: str, unit: str, *, positive: bool) -> Parameters:
        # at the middles of the splines a shape that falls as most do
        fall = np.clip(1.0 - (np.arange(self.knots) - 1.0) / (self.knots - 3), 0.05, 1.0) ** 2
        bend = np.diff(np.eye(self.knots), 3, axis=0)
        precision = bend.T @ bend / SWING**2 + np.eye(self.knots) / SIZE**2
        return Parameters(tuple(f"{label}_{k}" for k in range(self.knots)), unit, fall, precision, positive)
