"""Pair potentials of the simulators: energies in kT, distances in µm.

Each class writes its textbook formula and derivative (`bare`, `bare_slope`); the base class ends it
smoothly at the cutoff and tabulates it, so that one compiled kernel serves them all. What `energy`
and `force` return, including the smooth end, is the truth that a simulation is stored with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.brownian.pair_base import AnalyticPairPotential, check_arguments

__all__ = ["WCA", "AnalyticPairPotential", "Dipolar", "Morse", "Soft", "Yukawa"]


@dataclass(frozen=True)
class Yukawa(AnalyticPairPotential):
    """Screened Coulomb repulsion (charged colloids).

    U(r) = amplitude · exp(-(r - diameter)/screening_length) / (r/diameter)
    (Derjaguin-Landau-Verwey-Overbeek, without van der Waals attraction).

    Parameters
    ----------
    amplitude : float
        Energy of two particles in contact, at r = diameter [kT].
    screening_length : float
        Debye length of the solvent [µm].
    diameter : float
        Diameter of a particle [µm].
    cutoff : float, optional
        Distance at which the potential ends [µm]; by default the diameter and 8 screening lengths.
    """

    amplitude: float = 10.0
    screening_length: float = 0.3
    diameter: float = 1.0
    cutoff: float | None = None

    def __post_init__(self) -> None:
        check_arguments(self, positive=("screening_length", "diameter"), longer_than=self.diameter)

    @property
    def reach(self) -> float:
        return self.cutoff or self.diameter + 8 * self.screening_length

    def bare(self, r: np.ndarray) -> np.ndarray:
        return self.amplitude * np.exp(-(r - self.diameter) / self.screening_length) * self.diameter / r

    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        return -self.bare(r) * (1 / self.screening_length + 1 / r)


@dataclass(frozen=True)
class WCA(AnalyticPairPotential):
    """Nearly hard spheres: the repulsive part of Lennard-Jones.

    U(r) = 4 epsilon [(diameter/r)¹² - (diameter/r)⁶] + epsilon for r < 2^(1/6) diameter, else 0
    (Weeks, Chandler, Andersen, J. Chem. Phys. 54, 5237 (1971)).

    Parameters
    ----------
    epsilon : float
        Energy of a pair at r = diameter [kT].
    diameter : float
        Diameter of a particle [µm].
    """

    epsilon: float = 1.0
    diameter: float = 1.0
    ends_by_itself = True

    def __post_init__(self) -> None:
        check_arguments(self, positive=("epsilon", "diameter"))

    @property
    def reach(self) -> float:
        return 2 ** (1 / 6) * self.diameter

    def bare(self, r: np.ndarray) -> np.ndarray:
        u = (self.diameter / r) ** 6
        return 4 * self.epsilon * (u * u - u) + self.epsilon

    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        u = (self.diameter / r) ** 6
        return -24 * self.epsilon * (2 * u * u - u) / r


@dataclass(frozen=True)
class Dipolar(AnalyticPairPotential):
    """Parallel dipoles side by side (superparamagnetic colloids in a perpendicular field).

    U(r) = strength · (diameter/r)³.

    Parameters
    ----------
    strength : float
        Energy of a pair at r = diameter [kT].
    diameter : float
        Diameter of a particle [µm].
    cutoff : float, optional
        Distance at which the potential ends [µm]; by default 5 diameters. The tail is long, and its smooth end is
        part of the true potential.
    """

    strength: float = 10.0
    diameter: float = 1.0
    cutoff: float | None = None

    def __post_init__(self) -> None:
        check_arguments(self, positive=("diameter",), longer_than=self.diameter)

    @property
    def reach(self) -> float:
        return self.cutoff or 5 * self.diameter

    def bare(self, r: np.ndarray) -> np.ndarray:
        return self.strength * (self.diameter / r) ** 3

    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        return -3 * self.bare(r) / r


@dataclass(frozen=True)
class Soft(AnalyticPairPotential):
    """Soft repulsion (microgels, polymer coils): particles can pass through each other.

    shape "harmonic": U(r) = amplitude (1 - r/range)² for r < range, else 0;
    shape "gaussian": U(r) = amplitude exp(-r²/(2 range²)), ended smoothly at 5 ranges.

    Parameters
    ----------
    amplitude : float
        Energy of a pair at r = 0 [kT].
    range : float
        Distance at which the energy vanishes ("harmonic"), or its standard deviation ("gaussian") [µm].
    shape : {"harmonic", "gaussian"}
        Dependence of the energy on the distance: a parabola that ends at `range`, or a Gaussian.
    """

    amplitude: float = 10.0
    range: float = 2.0
    shape: Literal["harmonic", "gaussian"] = "harmonic"

    def __post_init__(self) -> None:
        check_arguments(self, positive=("range",))
        if self.shape not in ("harmonic", "gaussian"):
            raise ConfigError(f"Soft(shape={self.shape!r}): known shapes are 'harmonic' and 'gaussian'.")

    @property
    def ends_by_itself(self) -> bool:  # type: ignore[override]
        return self.shape == "harmonic"

    @property
    def reach(self) -> float:
        return self.range if self.shape == "harmonic" else 5 * self.range

    def bare(self, r: np.ndarray) -> np.ndarray:
        if self.shape == "harmonic":
            return self.amplitude * (1 - r / self.range) ** 2
        return self.amplitude * np.exp(-0.5 * (r / self.range) ** 2)

    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        if self.shape == "harmonic":
            return -2 * self.amplitude * (1 - r / self.range) / self.range
        return -self.bare(r) * r / self.range**2


@dataclass(frozen=True)
class Morse(AnalyticPairPotential):
    """Short-ranged attraction (depletion, DNA-coated colloids).

    U(r) = depth [exp(-2 (r - r0)/width) - 2 exp(-(r - r0)/width)].

    Parameters
    ----------
    depth : float
        Depth of the potential well [kT].
    width : float
        Decay length of the attraction [µm].
    r0 : float
        Distance at which the energy is least [µm].
    cutoff : float, optional
        Distance at which the potential ends [µm]; by default r0 and 10 widths.
    """

    depth: float = 2.0
    width: float = 0.2
    r0: float = 1.0
    cutoff: float | None = None

    def __post_init__(self) -> None:
        check_arguments(self, positive=("depth", "width", "r0"), longer_than=self.r0)

    @property
    def reach(self) -> float:
        return self.cutoff or self.r0 + 10 * self.width

    def bare(self, r: np.ndarray) -> np.ndarray:
        e = np.exp(-(r - self.r0) / self.width)
        return self.depth * (e - 2) * e

    def bare_slope(self, r: np.ndarray) -> np.ndarray:
        e = np.exp(-(r - self.r0) / self.width)
        return -2 * self.depth * (e - 1) * e / self.width
