"""What frictions of pairs share: coefficients along and across the line of centres, as splines of the distance."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.terms.base import (
    Configuration,
    Friction,
    PairColumns,
    Parameters,
    Quantity,
    Scene,
    Tables,
    checked_positive,
    checked_reach,
    kinds_of_pairs,
)
from vid2dyn.dynamics.terms.splines import RadialSpline

WIGGLE = 0.5
"""Standard deviation of the second differences of the amplitudes in the prior, relative to their mean at the start."""


@dataclass(frozen=True)
class RadialFriction(Friction):
    """Friction γ(r) of every pair, along and across its line of centres; it ends smoothly at the cutoff."""

    cutoff: float
    knots: int = 8
    learn_range: bool = True
    inner: tuple[float, ...] | None = None
    species: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        checked_positive(type(self).__name__, cutoff=self.cutoff)
        if self.knots < 2:
            raise ConfigError(f"{type(self).__name__}: knots = {self.knots}; use at least 4.")
        for name in ("inner", "species"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Pairs of species."""
        return kinds_of_pairs(self.species or ("",))

    @property
    def count(self) -> int:
        return 2 * self.knots * len(self.kinds)

    def settled(self, scene: Scene) -> Self:
        checked_reach(type(self).__name__, self.cutoff, scene.box)
        if self.knots < 4:          # fewer are enough for the even splines of a fluid with heat alone
            raise ConfigError(f"{type(self).__name__}: knots = {self.knots}; use at least 4.")
        closest = np.where(np.isfinite(scene.closest), scene.closest, 0.0)
        inner = tuple(float(c) if c > 0.05 * self.cutoff else 0.0 for c in np.minimum(closest, 0.8 * self.cutoff))
        return dataclasses.replace(self, inner=self.inner or inner, species=self.species or scene.species)

    def with_reach(self, reach: float) -> Self | None:
        if not self.learn_range:
            return None
        inner = None if self.inner is None else tuple(min(c, 0.8 * reach) for c in self.inner)
        return dataclasses.replace(self, cutoff=reach, inner=inner)

    def splines(self) -> tuple[RadialSpline, ...]:
        """The basis of every kind of pairs."""
        inner = self.inner or (0.0,) * len(self.kinds)
        return tuple(RadialSpline(c, self.cutoff, self.knots) for c in inner)

    def parameters(self, scene: Scene) -> Parameters:
        label = "gamma"
        names = tuple(f"{label}_{way}[{a}-{b}]_{k}" if len(self.kinds) > 1 else f"{label}_{way}_{k}"
                      for a, b in self.kinds for way in ("across", "along") for k in range(self.knots))
        # the first guess decays like the amplitudes of dissipative particle dynamics, (1 - s)²
        fall = (1.0 - (np.arange(self.knots) + 0.5) / (self.knots + 2)) ** 2
        bend = np.diff(np.eye(self.knots), 2, axis=0)
        rough = bend.T @ bend / WIGGLE**2 + 1e-4 * np.eye(self.knots)
        blocks = 2 * len(self.kinds)
        return Parameters(names, "mass/s", np.tile(fall, blocks), np.kron(np.eye(blocks), rough), positive=True)

    def pair_columns(self, at: Configuration) -> PairColumns:
        which = np.zeros((len(at.r), 8), np.int64)
        across, along = np.zeros((2, len(at.r), 8))
        for k, spline in enumerate(self.splines()):
            rows = at.kind == k if len(self.kinds) > 1 else slice(None)
            # constant inside: nobody was there
            numbers, value, _ = spline.local(np.maximum(at.r[rows], spline.inner))
            first = 2 * k * self.knots
            which[rows] = np.concatenate([numbers + first, numbers + first + self.knots], axis=1)
            zero = np.zeros_like(value)
            across[rows], along[rows] = np.concatenate([value, zero], axis=1), np.concatenate([zero, value], axis=1)
        return PairColumns(which, across, along)

    # ---------------------------------------------------------------- the function itself

    def of_kind(self, theta: np.ndarray, r: np.ndarray, kind: int, order: int = 0) -> np.ndarray:
        """γ across and along (order 0) or their slopes (1) of one kind of pairs, (2, ...)."""
        spline = self.splines()[kind]
        c = np.asarray(theta, float)[2 * kind * self.knots:2 * (kind + 1) * self.knots].reshape(2, self.knots)
        r = np.asarray(r, dtype=float)
        flat = r.ravel()
        basis = spline(np.maximum(flat, spline.inner))[order]
        if order:
            basis = np.where((flat < spline.inner)[:, None], 0.0, basis)
        return (c @ basis.T).reshape(2, *r.shape)

    @abstractmethod
    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        """Add what the compiled rollout needs."""

    def quantities(self) -> tuple[Quantity, ...]:
        found = []
        for k, kind in enumerate(self.kinds):
            for row, way in enumerate(("across", "along")):
                def friction(theta: np.ndarray, r: np.ndarray, k: int = k, row: int = row) -> np.ndarray:
                    return self.of_kind(theta, r, k)[row]

                found.append(Quantity(f"pair_friction_{way}", f"pair friction {way}", "mass/s", friction,
                                      species=kind if len(self.kinds) > 1 else (),
                                      caption=f"Friction {way} the line of centres."))
        return tuple(found)
