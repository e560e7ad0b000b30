"""The numbers a fluid is learned as, in one vector: equation of state, conduction, radial friction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vid2dyn.dynamics.terms.gas import NAMES


@dataclass(frozen=True, eq=False)
class Layout:
    """Which number stands where, and what is fixed.

    The vector is [6 numbers of the gas (`vid2dyn.dynamics.terms.gas.NAMES`), amplitude of C², shift of S at the start,
    knots + 3 coefficients of A², knots + 3 of B²]. Radial functions are cubic splines of u = (r/cutoff)² times
    (1 - u)²; that of C² is the amplitude times (1 - u)².

    Parameters
    ----------
    dim : int
    cutoff, mass, volume : float
        volume: V0 of the equation of state.
    knots : int
    power : int
        1: A², B² times V_i V_j T_ij and C² times V_i V_j T_i T_j; 0: functions of distance alone.
    active : (size,) bool array
        Numbers that are learned.
    """

    dim: int
    cutoff: float
    mass: float
    volume: float
    knots: int
    power: int
    active: np.ndarray

    thermal = len(NAMES) + 2

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.thermal + 2 * (self.knots + 3)

    @property
    def names(self) -> tuple[str, ...]:
        """Of every number."""
        count = range(self.knots + 3)
        return (*NAMES, "C²", "start", *(f"A² {k}" for k in count), *(f"B² {k}" for k in count))

    @property
    def kernel_norm(self) -> float:
        """W(0) of Lucy's kernel [1/µm^dim]."""
        return 5.0 / (math.pi * self.cutoff**2) if self.dim == 2 else 105.0 / (16.0 * math.pi * self.cutoff**3)

    def friction(self, theta: np.ndarray) -> np.ndarray:
        """(2, knots + 3) coefficients of A² and B²."""
        return np.ascontiguousarray(theta[self.thermal:].reshape(2, -1))

    def only(self, active: np.ndarray) -> Layout:
        """The same with other numbers learned."""
        return replace(self, active=active)
