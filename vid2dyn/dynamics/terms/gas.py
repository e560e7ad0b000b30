"""Equation of state of few numbers for fluids whose entropy nobody sees: a gas with a cold part.

    U(S, V) = u(σ) + cold(V),   σ = S - n x,   x = ln(V/V0),
    T = u'(σ) = T0 (1 + q a σ)^(1/q)          q -> 0: T0 exp(a σ), the ideal gas of heat capacity 1/a
    P = n T/V - T0 (k1 + k2 x)/V

1/c = a/y with y = 1 + q a σ is the inverse heat capacity, so it may change with temperature (q > 0: it falls as T
rises); n is how many molecules push, and the cold part may pull (cohesion) and stiffen. a = 0 is the fluid at one
temperature: T0 and P(V), S without influence. S is counted from the state T = T0, V = V0, as only differences of
entropy act.

Where y would fall below LEAST (cold if q > 0, hot if q < 0) the heat capacity stays LEAST/a: there u' goes on as an
exponential, with the same value and slope. So T, P and 1/c are finite and T > 0 at every S and V, and a table of U may
cover any range. Without that, T would be zero, or without bounds, beyond a line σ = -1/(q a) through the states: at
n = 40 molecules a volume a tenth smaller moves that line by four kB.

One formula serves numpy (the estimator) and torch (`Gas`, which a `Fluid` is built from).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.equations_of_state import EquationOfState, Thermo

NAMES = ("ln T0", "a", "n", "q", "k1", "k2")
"""Order of the numbers wherever they stand in one vector."""
LEAST = 0.1
"""Smallest heat capacity, in units of 1/a."""
_BEYOND = math.log(LEAST) + 1.0 / LEAST - 1.0
"""q (ln T/T0 - a σ/LEAST) beyond: ln T and its slope are those of y = LEAST there."""


@dataclass(frozen=True)
class GasState:
    """T, P, softness 1/c and their slopes in S, each (n,), and in the numbers, each (numbers, n).

    `molecules`: how much heat pushes, V ∂P/∂S / (∂T/∂S), as V ∂P/∂T of a gas, with its slopes.
    """

    T: np.ndarray
    P: np.ndarray
    softness: np.ndarray
    T_S: np.ndarray
    P_S: np.ndarray
    softness_S: np.ndarray
    T_of: np.ndarray
    P_of: np.ndarray
    softness_of: np.ndarray
    molecules: np.ndarray
    molecules_S: np.ndarray
    molecules_of: np.ndarray


def gas_state(theta: np.ndarray, S: np.ndarray, V: np.ndarray, volume: float) -> GasState:
    """T(S, V), P(S, V) and their slopes in S and in the six numbers of `NAMES`.

    Examples
    --------
    >>> state = gas_state(np.array([0.0, 1 / 60, 40.0, 0.0, 0.0, 0.0]), np.zeros(1), np.full(1, 0.002), 0.002)
    >>> state.T.tolist(), (state.P * 0.002).tolist(), round(1 / float(state.softness[0]), 9)
    ([1.0], [40.0], 60.0)
    """
    log_T0, a, n, q, k1, k2 = theta
    x = np.log(V / volume)
    sigma = S - n * x
    z = a * sigma
    y = 1.0 + q * a * sigma
    beyond = y < LEAST
    y = np.maximum(y, LEAST)
    # ln(1 + q z)/q and its slope in q, by their series where q z is small
    small = np.abs(q * z) < 1e-5
    safe = q if abs(q) > 1e-12 else 1.0
    rise = np.where(small, z * (1.0 - 0.5 * q * z), np.log(y) / safe)
    bend = np.where(small, -0.5 * z * z, (z / y - rise) / safe)
    rise, bend = np.where(beyond, z / LEAST + _BEYOND / safe, rise), np.where(beyond, -_BEYOND / safe**2, bend)
    T = np.exp(log_T0 + rise)
    soft = a / y
    one = np.ones_like(T)
    T_of = T * np.stack([one, sigma / y, -x * soft, bend, 0 * one, 0 * one])
    push = math.exp(log_T0) / V
    P = n * T / V - push * (k1 + k2 * x)
    P_of = n * T_of / V
    P_of[0] -= push * (k1 + k2 * x)
    P_of[2] += T / V
    P_of[4], P_of[5] = -push, -push * x
    soft_of = np.zeros_like(T_of)
    soft_of[1], soft_of[2], soft_of[3] = 1.0 / y**2, x * q * soft**2, -z * a / y**2
    soft_of[1:4, beyond] = np.array([[1.0 / LEAST], [0.0], [0.0]])
    molecules_of = np.zeros_like(T_of)
    molecules_of[2] = 1.0
    return GasState(T, P, soft, T * soft, n * T * soft / V, np.where(beyond, 0.0, -q * soft**2), T_of, P_of, soft_of,
                    n * one, 0 * one, molecules_of)


class Gas(EquationOfState):
    """The same in torch, with energy and second derivatives.

    Parameters
    ----------
    temperature : float
        T0 > 0, at S = 0 and V = volume.
    softness : float
        a = 1/c > 0 there.
    molecules : float
        n >= 0.
    volume : float
        V0.
    bend : float
        q; the heat capacity grows with σ if positive.
    cold : (float, float)
        k1, k2.

    Raises
    ------
    ModelError
        When T0, a or V0 is not positive. (For a = 0 take `Isothermal`.)

    Examples
    --------
    >>> gas = Gas(2.0, 1 / 15, 10.0, 1.0)
    >>> state = gas(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    >>> state.T.tolist(), state.P.tolist()
    ([2.0], [20.0])
    """

    numbers: torch.Tensor

    def __init__(self, temperature: float, softness: float, molecules: float, volume: float, *, bend: float = 0.0,
                 cold: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("softness", softness), ("volume", volume)):
            if not (math.isfinite(value) and value > 0):
                raise ModelError(f"Gas: {name} = {value!r} must be a positive number.")
        self.register_buffer("numbers", torch.tensor([temperature, softness, molecules, bend, *cold, volume],
                                                     dtype=torch.float64))

    def forward(self, S: torch.Tensor, V: torch.Tensor) -> Thermo:
        T0, a, n, q, k1, k2, V0 = self.numbers.to(S)
        x = torch.log(V / V0)
        sigma = S - n * x
        z, y = a * sigma, (1.0 + q * a * sigma).clamp(min=LEAST)
        flat = float(q.abs()) < 1e-9
        T = T0 * torch.exp(z if flat else torch.log(y) / q)
        # counted from the state T0, V0: at a large heat capacity U itself would drown its changes
        u = T0 * torch.expm1(z) / a if flat else T0 * torch.expm1((1.0 + 1.0 / q) * torch.log(y)) / (a * (1.0 + q))
        if not flat:
            more = z / LEAST - (LEAST - 1.0) / (q * LEAST)                  # a (σ - σ(LEAST))/LEAST
            more = torch.where(1.0 + q * z < LEAST, more, torch.zeros_like(more))
            u, T = u + T * torch.expm1(more) * LEAST / a, T * torch.exp(more)
        soft = a / y
        U = u + T0 * (k1 * x + 0.5 * k2 * x * x)
        P = n * T / V - T0 * (k1 + k2 * x) / V
        T_S = T * soft
        U_VV = n * T / V**2 * (1.0 + n * soft) + T0 * (k2 - k1 - k2 * x) / V**2
        return Thermo(U, T, P, T_S, -n * T_S / V, U_VV)
