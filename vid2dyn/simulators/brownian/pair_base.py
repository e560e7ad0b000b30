"""What every pair potential has: a smooth end, a force, a table for the compiled kernels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from vid2dyn.core.configurable import Configurable
from vid2dyn.core.errors import ConfigError

_SWITCH_FROM = 0.8   # the smooth end takes the last fifth of the range
_CORE_ENERGY = 200.0  # kT; no thermal particle climbs that high, the table starts there
_KNOTS = 8192


class Table(NamedTuple):
    """Energy and force as cubics in r between equidistant knots, for compiled kernels.

    On interval m = floor((r - start) * per_length), with s = r - start - m / per_length,
    value = c0 + s (c1 + s (c2 + s c3)). Below `start` the force stays constant.
    """

    start: float
    per_length: float
    cutoff: float
    energy: np.ndarray  # (intervals, 4) kT, kT/µm, ...
    force: np.ndarray   # (intervals, 4) kT/µm, kT/µm², ...


class AnalyticPairPotential(Configurable, ABC):
    """Energy of two particles as a function of their distance.

    A potential is a frozen dataclass with `bare`, `bare_slope`, `reach` and, where it does not end by
    itself, the smooth end `U(r) = bare(r) S(t)`, `S = 1 - 10 t³ + 15 t⁴ - 6 t⁵`,
    `t = (r/reach - 0.8)/0.2`, which keeps energy, force and curvature continuous.
    """

    ends_by_itself = False

    @property
    @abstractmethod
    def reach(self) -> float:
        """Distance beyond which the energy is exactly zero [µm]."""

    @abstractmethod
    def bare(self, r: np.ndarray) -> np.ndarray:
        """The textbook formula [kT] at distances r [µm], before the smooth end."""

    @abstractmethod
    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        """Derivative of `bare` [kT/µm]."""

    def energy(self, r: Any) -> np.ndarray:
        """Energy of a pair [kT] at distances r > 0 [µm], any shape.

        >>> from vid2dyn.simulators.brownian.pair_potentials import Yukawa
        >>> round(float(Yukawa(amplitude=10, screening_length=0.3, diameter=1.0).energy(1.0)), 6)
        10.0
        """
        r = np.asarray(r, dtype=float)
        inside = np.minimum(r, self.reach)
        with np.errstate(over="ignore"):
            return np.where(r < self.reach, self.bare(inside) * self._switch(inside)[0], 0.0)

    def force(self, r: Any) -> np.ndarray:
        """Force -dU/dr [kT/µm] at distances r > 0 [µm]; positive pushes the pair apart."""
        r = np.asarray(r, dtype=float)
        inside = np.minimum(r, self.reach)
        value, slope = self._switch(inside)
        with np.errstate(over="ignore"):
            force = -(self.bare_slope(inside) * value + self.bare(inside) * slope)
        return np.where(r < self.reach, force, 0.0)

    def curvature(self, r: Any) -> np.ndarray:
        """Second derivative of the energy [kT/µm²], by central differences of the force."""
        r = np.asarray(r, dtype=float)
        h = 1e-5 * self.reach
        return -(self.force(r + h) - self.force(r - h)) / (2 * h)

    def _switch(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smooth end and its derivative in r."""
        if self.ends_by_itself:
            return np.ones_like(r), np.zeros_like(r)
        width = (1 - _SWITCH_FROM) * self.reach
        t = np.clip((r - _SWITCH_FROM * self.reach) / width, 0.0, 1.0)
        return 1 - t**3 * (10 - t * (15 - 6 * t)), -30 * t**2 * (1 - t) ** 2 / width

    @property
    def core(self) -> float:
        """Distance [µm] inside which the energy exceeds 200 kT; nearly 0 for a soft potential."""
        r = np.geomspace(1e-4, 1.0, 4001) * self.reach
        high = np.flatnonzero(~(self.energy(r) < _CORE_ENERGY))
        return float(r[high[-1] + 1]) if high.size else float(r[0])

    @property
    def stiffness(self) -> float:
        """Largest curvature [kT/µm²] met by thermal pairs: where the energy is within 4 kT of zero.

        It sets the time step of a simulation.
        """
        r = np.linspace(self.core, self.reach, 20001)[1:-1]
        met = self.energy(r) < 4.0
        return float(np.abs(self.curvature(r[met])).max())

    def table(self) -> Table:
        """The potential for compiled kernels: 8192 cubic pieces, relative error below 1e-6."""
        r = np.linspace(self.core, self.reach, _KNOTS + 1)
        just_inside = np.append(r[:-1], r[-1] * (1 - 1e-13))  # the end may be steep: take it from inside
        energy, force = (np.ascontiguousarray(CubicSpline(r, values).c[::-1].T)
                         for values in (self.energy(just_inside), self.force(just_inside)))
        return Table(float(r[0]), _KNOTS / float(r[-1] - r[0]), self.reach, energy, force)


def no_pair_table() -> Table:
    """The table of particles that do not see each other."""
    return Table(0.0, 1.0, 0.0, np.zeros((1, 4)), np.zeros((1, 4)))


def check_arguments(pair: AnalyticPairPotential, positive: tuple[str, ...], longer_than: float = 0.0) -> None:
    """Range of the arguments, checked once at construction."""
    name = type(pair).__name__
    for key, value in vars(pair).items():
        if isinstance(value, str) or value is None:
            continue
        if not math.isfinite(value):
            raise ConfigError(f"{name}({key}={value!r}): give a finite number.")
        if key in positive and value <= 0:
            raise ConfigError(f"{name}({key}={value!r}): it must be positive.")
    cutoff = getattr(pair, "cutoff", None)
    if cutoff is not None and cutoff <= longer_than:
        raise ConfigError(f"{name}(cutoff={cutoff!r}): the cutoff must lie beyond {longer_than:g} µm; "
                          "leave it out for the default.")
