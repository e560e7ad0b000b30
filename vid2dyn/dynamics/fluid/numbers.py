"""The numbers a fluid is learned as, in one vector: equation of state, conduction, radial friction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.convex_net import UNIT, net_state
from vid2dyn.dynamics.terms.gas import NAMES, GasState, gas_state

_NEWTON = 60
GAS = slice(0, len(NAMES))
"""Where the numbers of the equation of state stand, in the order of `vid2dyn.dynamics.terms.gas.NAMES`."""


class Thermal(IntEnum):
    """Places of the thermal numbers: those of the equation of state, conduction, entropy at the start.

    Those of the units of a net follow. Arrays of slopes in the thermal numbers have their rows in this order.
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
    4 numbers of each unit of a net (`vid2dyn.dynamics.terms.convex_net`), knots + 3 coefficients of A², knots + 3 of
    B², those of further energies]; `Thermal` names the first eight. Radial functions are cubic splines of
    u = (r/cutoff)² times (1 - u)²; that of C² is the amplitude times (1 - u)².

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
    units : int
        Of the net that the equation of state is; 0: it is a gas with a cold part.
    forces : int
        Numbers of energies beside the equation of state, which forces are linear in.
    """

    dim: int
    cutoff: float
    mass: float
    volume: float
    knots: int
    power: int
    active: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    units: int = 0
    forces: int = 0

    def __post_init__(self) -> None:
        if not len(self.active):
            object.__setattr__(self, "active", np.ones(self.size, bool))

    @property
    def thermal(self) -> int:
        """Thermal numbers: those that stand before the radial functions."""
        return len(Thermal) + len(UNIT) * self.units

    @property
    def net(self) -> slice:
        """Where the numbers of the units stand."""
        return slice(len(Thermal), self.thermal)

    @cached_property
    def state_numbers(self) -> slice | np.ndarray:
        """Where the numbers of the equation of state stand, in the order of the slopes of `FluidNumbers.state`."""
        return np.r_[GAS, self.net] if self.units else GAS

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.thermal + 2 * self.coefficients + self.forces

    @property
    def coefficients(self) -> int:
        """Number of coefficients of A², and of B²."""
        return self.knots + 3

    @property
    def radial(self) -> slice:
        """Where the coefficients of A² and B² stand, those of A² first."""
        return slice(self.thermal, self.size - self.forces)

    @property
    def further(self) -> slice:
        """Where the numbers of further energies stand."""
        return slice(self.size - self.forces, self.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Of every number."""
        count = range(self.coefficients)
        return (*NAMES, "C²", "start", *(f"{name} {k}" for name in UNIT for k in range(self.units)),
                *(f"A² {k}" for k in count), *(f"B² {k}" for k in count), *(f"force {k}" for k in range(self.forces)))

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

    @property
    def as_gas(self) -> Layout:
        """The same with the equation of state of a gas."""
        if not self.units:
            return self
        return replace(self, units=0, active=np.delete(self.active, np.r_[self.net]))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As a model file keeps it: "active", and "layout" (dim, cutoff, mass, volume, knots, power, and where there
        are any the units of a net and the numbers of further energies)."""
        fixed = [self.dim, self.cutoff, self.mass, self.volume, self.knots, self.power]
        some = [self.units, self.forces] if self.units or self.forces else []
        return {"active": self.active.astype(np.int64), "layout": np.array(fixed + some)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Layout:
        """The inverse of `to_arrays`.

        >>> layout = Layout(2, 1.0, 1.0, 0.1, 3, 1)
        >>> Layout.of_arrays(layout.to_arrays()).names == layout.names
        True
        """
        dim, cutoff, mass, volume, knots, power, *some = arrays["layout"]
        return cls(int(dim), float(cutoff), float(mass), float(volume), int(knots), int(power),
                   arrays["active"].astype(bool), *(int(count) for count in some))


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
    def net(self) -> np.ndarray:
        """Numbers of the units of a net, as `vid2dyn.dynamics.terms.convex_net.net_state` takes them."""
        return self.vector[self.layout.net]

    def state(self, S: np.ndarray, V: np.ndarray) -> GasState:
        """T, P and 1/c at entropies S and volumes V, (n,), with slopes in the numbers at `Layout.state_numbers`."""
        if self.layout.units:
            return net_state(self.gas, self.net, S, V, self.layout.volume)
        return gas_state(self.gas, S, V, self.layout.volume)

    def entropy_at(self, sigma: np.ndarray, expansion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S at volumes V0 exp(expansion) of particles as warm as those of entropy σ at V0 are, and its slopes.

        Parameters
        ----------
        sigma, expansion : (n,) arrays
            σ without the number `start`, which is added here.

        Returns
        -------
        S : (n,) array
        slopes : (thermal, n) array
        """
        sigma = sigma + self.start
        S, slopes = sigma + self.molecules * expansion, np.zeros((self.layout.thermal, len(sigma)))
        if not self.layout.units:
            slopes[Thermal.MOLECULES], slopes[Thermal.START] = expansion, 1.0
            return S, slopes
        volume = self.layout.volume
        before = self.state(sigma, np.full(len(sigma), volume))
        for _ in range(_NEWTON):
            after = self.state(S, volume * np.exp(expansion))
            # T grows as an exponential of S, so its logarithm is nearly a line
            change = np.log(before.T / after.T) / after.softness
            S = S + change
            if not np.abs(change).max(initial=0.0) > 1e-12 * (1.0 + np.abs(S).max(initial=0.0)):
                break
        else:
            raise ModelError("The entropies of the first frame were not found: the equation of state has no state of "
                             "even temperature there. Its numbers have gone astray; fit with form='gas'.")
        slopes[self.layout.state_numbers] = (before.T_of - after.T_of) / after.T_S
        slopes[Thermal.START] = before.T_S / after.T_S
        return S, slopes

    @property
    def log_temperature(self) -> float:
        """ln T0."""
        return self.vector[Thermal.LOG_TEMPERATURE]

    @cached_property
    def _middle(self) -> GasState:
        """At S = 0, V = V0."""
        return self.state(np.zeros(1), np.full(1, self.layout.volume))

    @property
    def softness(self) -> float:
        """1/c at the state T0, V0: a of the gas."""
        return float(self._middle.softness[0]) if self.layout.units else self.vector[Thermal.SOFTNESS]

    @property
    def molecules(self) -> float:
        """V ∂P/∂T at the state T0, V0: n of the gas."""
        return float(self._middle.molecules[0]) if self.layout.units else self.vector[Thermal.MOLECULES]

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

    def starting(self, shift: float) -> FluidNumbers:
        """The same with this shift of S at the start, which is learned."""
        vector, active = self.vector.copy(), self.layout.active.copy()
        vector[Thermal.START], active[Thermal.START] = shift, True
        return FluidNumbers(vector, self.layout.only(active))

    @property
    def further(self) -> np.ndarray:
        """Numbers of further energies."""
        return self.vector[self.layout.further]

    @property
    def friction(self) -> np.ndarray:
        """(2, knots + 3) coefficients of A² and B²."""
        return np.ascontiguousarray(self.vector[self.layout.radial].reshape(2, -1))
