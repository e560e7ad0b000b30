"""The numbers a fluid is learned as, in one vector: equation of state, conduction, radial friction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from vid2dyn.dynamics.terms.gas import NAMES

GAS = slice(0, len(NAMES))
"""Where the numbers of the equation of state stand, in the order of `vid2dyn.dynamics.terms.gas.NAMES`."""


class Thermal(IntEnum):
    """Places of the thermal numbers: those of the equation of state, conduction, entropy at the start.

    Arrays of slopes in the thermal numbers have their rows in this order.
    """

    LOG_TEMPERATURE = 0
    """ln T0"""
    SOFTNESS = 1
    """a = 1/c, inverse heat capacity"""
    MOLECULES = 2
    """n = P V/T"""
    BEND = 3
    """q, how the heat capacity changes with temperature"""
    COLD_PRESSURE = 4
    """k1 of the cold part"""
    COLD_STIFFNESS = 5
    """k2 of the cold part"""
    CONDUCTION = 6
    """amplitude of C²"""
    START = 7
    """shift of S at the start"""


@dataclass(frozen=True, eq=False)
class Layout:
    """Which number stands where, and what is fixed.

    The vector is [6 numbers of the gas (`vid2dyn.dynamics.terms.gas.NAMES`), amplitude of C², shift of S at the start,
    knots + 3 coefficients of A², knots + 3 of B²]; `Thermal` names the first eight. Radial functions are cubic splines
    of u = (r/cutoff)² times (1 - u)²; that of C² is the amplitude times (1 - u)².

    Parameters
    ----------
    dim : int
    cutoff, mass, volume : float
        volume: V0 of the equation of state.
    knots : int
    power : int
        1: A², B² times V_i V_j T_ij and C² times V_i V_j T_i T_j; 0: functions of distance alone.
    active : (size,) bool array
        Numbers that are learned; default all.
    """

    dim: int
    cutoff: float
    mass: float
    volume: float
    knots: int
    power: int
    active: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    thermal = len(Thermal)

    def __post_init__(self) -> None:
        if not len(self.active):
            object.__setattr__(self, "active", np.ones(self.size, bool))

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.thermal + 2 * self.coefficients

    @property
    def coefficients(self) -> int:
        """Number of coefficients of A², and of B²."""
        return self.knots + 3

    @property
    def radial(self) -> slice:
        """Where the coefficients of A² and B² stand, those of A² first."""
        return slice(self.thermal, self.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Of every number."""
        count = range(self.coefficients)
        return (*NAMES, "C²", "start", *(f"A² {k}" for k in count), *(f"B² {k}" for k in count))

    @property
    def kernel_norm(self) -> float:
        """W(0) of Lucy's kernel [1/µm^dim]."""
        return 5.0 / (math.pi * self.cutoff**2) if self.dim == 2 else 105.0 / (16.0 * math.pi * self.cutoff**3)

    def only(self, active: np.ndarray) -> Layout:
        """The same with other numbers learned."""
        return replace(self, active=active)

    def without(self, *fixed: Thermal) -> Layout:
        """The same with some of the thermal numbers not learned."""
        active = self.active.copy()
        active[list(fixed)] = False
        return self.only(active)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As a model file keeps it: "layout" (dim, cutoff, mass, volume, knots, power) and "active"."""
        return {"active": self.active.astype(np.int64),
                "layout": np.array([self.dim, self.cutoff, self.mass, self.volume, self.knots, self.power])}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Layout:
        """The inverse of `to_arrays`.

        >>> layout = Layout(2, 1.0, 1.0, 0.1, 3, 1)
        >>> Layout.of_arrays(layout.to_arrays()).names == layout.names
        True
        """
        dim, cutoff, mass, volume, knots, power = arrays["layout"]
        return cls(int(dim), float(cutoff), float(mass), float(volume), int(knots), int(power),
                   arrays["active"].astype(bool))


@dataclass(frozen=True, eq=False)
class FluidNumbers:
    """Values of all numbers of a fluid, by name.

    Parameters
    ----------
    vector : (layout.size,) array
        In the order of `layout`.
    layout : Layout

    Examples
    --------
    >>> layout = Layout(2, 1.0, 1.0, 0.1, 3, 1)
    >>> numbers = FluidNumbers(np.arange(20.0), layout)
    >>> float(numbers.conduction), numbers.gas.tolist(), numbers.friction.shape
    (6.0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], (2, 6))
    """

    vector: np.ndarray
    layout: Layout

    def at(self, vector: np.ndarray) -> FluidNumbers:
        """Other values in the same layout."""
        return FluidNumbers(vector, self.layout)

    @property
    def gas(self) -> np.ndarray:
        """Numbers of the equation of state, as `vid2dyn.dynamics.terms.gas.gas_state` takes them."""
        return self.vector[GAS]

    @property
    def log_temperature(self) -> float:
        """ln T0."""
        return self.vector[Thermal.LOG_TEMPERATURE]

    @property
    def softness(self) -> float:
        """a = 1/c at the state T0, V0."""
        return self.vector[Thermal.SOFTNESS]

    @property
    def molecules(self) -> float:
        """n = P V/T of the gas."""
        return self.vector[Thermal.MOLECULES]

    @property
    def bend(self) -> float:
        """q."""
        return self.vector[Thermal.BEND]

    @property
    def cold_stiffness(self) -> float:
        """k2."""
        return self.vector[Thermal.COLD_STIFFNESS]

    @property
    def conduction(self) -> float:
        """Amplitude of C²."""
        return self.vector[Thermal.CONDUCTION]

    @property
    def start(self) -> float:
        """Shift of S at the start."""
        return self.vector[Thermal.START]

    @property
    def friction(self) -> np.ndarray:
        """(2, knots + 3) coefficients of A² and B²."""
        return np.ascontiguousarray(self.vector[self.layout.radial].reshape(2, -1))
