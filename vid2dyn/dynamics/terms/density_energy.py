"""Energy of a particle by how many neighbours it has: forces of many bodies, such as cohesion and crowding.

    E = sum_i u(d_i),   d_i = W(0) + sum_j W(r_ij),   force on i = -sum_j [u'(d_i) + u'(d_j)] W'(r_ij) e_ij

W is Lucy's kernel (Lucy, Astron. J. 82, 1013, 1977), (1 + 3s)(1 - s)³ for s = r/cutoff, divided by its integral, so
that d is a number density; it has two continuous derivatives at the cutoff. u is a cubic spline in d, linear beyond the
densities that were seen. This is the energy of many-body dissipative particle dynamics (Pagonabarraga & Frenkel, J.
Chem. Phys. 115, 5015, 2001, eq. 9) and of embedded atoms.

Two parts of u say little or nothing. Its constant does nothing: u is counted from its value in the middle of the
densities. Its part linear in d is the pair potential 2 W(r): beside a PairPotential that reaches as far, only their sum
is known.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import (
    Configuration,
    Cut,
    Energy,
    Exports,
    Parameters,
    Quantity,
    Scene,
    Tables,
    checked_positive,
    checked_reach,
    spread_along,
)
from vid2dyn.dynamics.terms.grid_splines import Axis, grid_value

SWING = 3.0
"""Standard deviation of the second differences of the coefficients in the prior [kT]."""
SIZE = 100.0
"""Standard deviation of the coefficients in the prior [kT]."""
ROWS = 4097
"""Rows of the table of u for the compiled rollout."""


@dataclass(frozen=True)
class DensityEnergy(Energy):
    """Energy u(d) of every particle by the number density d of particles around it.

    Parameters
    ----------
    cutoff : float
        Range of the kernel that counts neighbours [µm], at most half the box. One that holds 10 to 40 of them is a
        good choice.
    knots : int
        Number of splines in the density.
    learn_range : bool
        Whether a shorter range is taken where it predicts held-out motion as well.
    densities : tuple of float, optional
        Lowest and highest density that u resolves [1/µm², in space 1/µm³]; the data decide it.

    Examples
    --------
    >>> term = DensityEnergy(cutoff=1.0, knots=8, densities=(1.0, 6.0))
    >>> term.count, term.reach
    (8, 1.0)
    """

    exports: ClassVar[Exports] = Exports(stock="pair_style eam/alloy")

    cutoff: float
    knots: int = 8
    learn_range: bool = False
    densities: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        checked_positive("DensityEnergy", cutoff=self.cutoff)
        if self.knots < 5:
            raise ConfigError(f"DensityEnergy: knots = {self.knots}; use at least 5.")
        if self.densities is not None:
            low, high = (float(d) for d in self.densities)
            if not 0 <= low < high < math.inf:
                raise ConfigError(f"DensityEnergy: densities = {self.densities}; give 0 <= lowest < highest.")
            object.__setattr__(self, "densities", (low, high))

    @property
    def reach(self) -> float:
        return self.cutoff

    @property
    def count(self) -> int:
        return self.knots

    def settled(self, scene: Scene) -> DensityEnergy:
        checked_reach("DensityEnergy", self.cutoff, scene.box)
        if self.densities is not None:
            return self
        seen = [self.density(at) for at in scene.sampled]
        own = self.kernel(np.zeros(1), scene.dim)[0][0]
        low, high = (float(d) for d in np.quantile(np.concatenate(seen), (0.001, 0.999))) if seen else (own, 10 * own)
        return dataclasses.replace(self, densities=(max(low, 0.0), max(high, low + 0.1 * own)))

    def with_reach(self, reach: float) -> DensityEnergy | None:
        """Densities by a shorter kernel are others: only the data can say their range (`settled`)."""
        return None

    def kernel(self, r: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """W [1/µm^dim] and dW/dr at distances r."""
        h = self.cutoff
        size = 5.0 / (math.pi * h**2) if dim == 2 else 105.0 / (16.0 * math.pi * h**3)
        s = np.minimum(np.asarray(r, float) / h, 1.0)
        return size * (1 + 3 * s) * (1 - s) ** 3, -12.0 * size / h * s * (1 - s) ** 2

    def density(self, at: Configuration) -> np.ndarray:
        """d of every particle, (n,)."""
        W, _ = self.kernel(at.r, at.dim)
        own = self.kernel(np.zeros(1), at.dim)[0][0]
        return own + np.bincount(at.first, W, at.n) + np.bincount(at.second, W, at.n)

    @property
    def axis(self) -> Axis:
        """The grid of the splines of a settled term."""
        if self.densities is None:
            raise ConfigError("DensityEnergy: the densities are not known yet; the data decide them (settled).")
        return Axis.over(*self.densities, self.knots)

    def parameters(self, scene: Scene) -> Parameters:
        precision = self.axis.roughness() / SWING**2 + np.eye(self.knots) / SIZE**2
        return Parameters(tuple(f"u_{k}" for k in range(self.knots)), "energy", np.zeros(self.knots),
                          precision / scene.kT**2)

    def force_slopes(self, at: Configuration) -> np.ndarray:
        which, _, slope = self.axis.weights(self.density(at))
        _, fall = self.kernel(at.r, at.dim)
        out = np.zeros((self.count, at.n, at.dim))
        for end in (at.first, at.second):
            spread_along(at.first, at.second, at.e, which[end], -slope[end] * fall[:, None], out)
        return out

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        r, h, dim = snapshot.distance(), self.cutoff, snapshot.position.shape[1]
        own = float(self.kernel(np.zeros(1), dim)[0][0])
        s = (r / h).clamp(max=1.0)
        W = own * (1 + 3 * s) * (1 - s) ** 3
        d = torch.full_like(snapshot.position[:, 0], own)
        d = d.index_add(0, snapshot.pairs[:, 0], W).index_add(0, snapshot.pairs[:, 1], W)
        constant = float(self._u(np.asarray(theta, float), np.atleast_1d(self._middle))[0])
        return (grid_value((self.axis,), np.asarray(theta, float), d[:, None]) - constant).sum()

    @property
    def _middle(self) -> float:
        return 0.5 * (self.axis.origin + self.axis.end)

    def _u(self, theta: np.ndarray, d: np.ndarray, order: int = 0) -> np.ndarray:
        """u without its gauge, or u' (order 1)."""
        d = np.asarray(d, float)
        which, *parts = self.axis.weights(d.ravel())
        return (parts[order] * np.asarray(theta, float)[which]).sum(axis=1).reshape(d.shape)

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        W, fall = self.kernel(tables.r, tables.dim)
        d = np.linspace(self.axis.origin, self.axis.end, ROWS)
        tables.set("kernel", np.stack([W, fall], axis=1))
        tables.set("density_energy", np.stack([self._u(theta, d) - self._u(theta, np.array([self._middle])),
                                               self._u(theta, d, 1)], axis=1))
        tables.set("density_range", (self.axis.origin, self.axis.end))

    def quantities(self) -> tuple[Quantity, ...]:
        def energy(theta: np.ndarray, d: np.ndarray) -> np.ndarray:
            return self._u(theta, d) - self._u(theta, np.array([self._middle]))[0]

        def slope(theta: np.ndarray, d: np.ndarray) -> np.ndarray:
            return self._u(theta, d, 1)

        cuts: tuple[Cut, ...] = ()
        if self.densities is not None:
            d = np.linspace(*self.densities, 161)
            cuts = (Cut("density [1/µm^dim]", d, d, self.densities),)
        argument = "density [1/µm^dim]"
        return (Quantity("density_energy", "density energy", "energy", energy, argument,
                         "Energy of a particle by the density around it, counted from the middle of those seen.",
                         cuts=cuts),
                Quantity("density_energy_slope", "slope of the density energy", "energy µm^dim", slope, argument,
                         "Positive where neighbours push each other away.", cuts=cuts))
