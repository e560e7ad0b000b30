"""Equations of state U(S, V) of one particle: energy with closed first and second derivatives, in one pass.

kB = 1: S in kB, T = ∂U/∂S in energy, P = -∂U/∂V in energy per volume. T > 0 everywhere by construction; the
learned ones are a convex part that rises with S and falls with V, plus a cold part of V alone, which may pull
(cohesion: negative pressure).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.nets import ConvexNet, ConvexRidges, UniformSpline


@dataclass(frozen=True)
class Thermo:
    """U(S, V) and its derivatives, each a tensor (n,).

    U, T = U_S, P = -U_V, and the second derivatives U_SS, U_SV, U_VV.
    """

    U: torch.Tensor
    T: torch.Tensor
    P: torch.Tensor
    U_SS: torch.Tensor
    U_SV: torch.Tensor
    U_VV: torch.Tensor

    @property
    def softness(self) -> torch.Tensor:
        """1/c = U_SS/T: inverse heat capacity at constant volume [1/kB]; 0 for an infinite bath."""
        return self.U_SS / self.T


class EquationOfState(nn.Module, ABC):
    """U(S, V); a subclass writes `forward`."""

    @abstractmethod
    def forward(self, S: torch.Tensor, V: torch.Tensor) -> Thermo:
        """Energy and derivatives at entropies S [kB] and volumes V, each (n,)."""

    @torch.no_grad()
    def entropy(self, U: torch.Tensor, V: torch.Tensor, start: torch.Tensor, *, iterations: int = 30) -> torch.Tensor:
        """S with U(S, V) = U, by Newton's method from `start`: U is convex and rising in S, so it converges.

        Raises
        ------
        ModelError
            When no entropy has that energy (below the cold energy), naming the particle and the remedy.
        """
        S = start
        soft = self(S, V).softness.clamp(min=1e-3)
        lowest = start - 100.0 / soft                            # colder than that is none: not NaN, but not found
        for _ in range(iterations):
            found = self(S, V)
            # far below, the tangent is flat and would leap over the solution by many heat capacities
            change = torch.minimum((U - found.U) / found.T, 3.0 / soft)
            S = torch.maximum(S + change, lowest)
            if bool((change.abs() <= 4e-16 * (S.abs() + found.U.abs() / found.T)).all()):
                return S
        found = self(S, V)
        lost = ~((U - found.U).abs() <= 1e-12 * (U.abs() + found.U.abs() + found.T))
        if bool(lost.any()):
            k = int(torch.nonzero(lost)[0])
            raise ModelError(f"particle {k} has internal energy {float(U[k]):.4g} at volume {float(V[k]):.4g}, which "
                             "no entropy gives: it lost more heat in one step than it had. Take a smaller dt.")
        return S


class IdealGas(EquationOfState):
    """Ideal gas: U = c T0 exp((S - n ln(V/V0))/c), so T = U/c and P V = n T.

    Parameters
    ----------
    heat_capacity : float
        c, at constant volume [kB]; dim/2 · molecules for a monatomic gas.
    molecules : float
        n, molecules in one particle.
    temperature, volume : float
        T0 at S = 0 and V = V0.

    Examples
    --------
    >>> gas = IdealGas(heat_capacity=15.0, molecules=10.0, temperature=2.0)
    >>> state = gas(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    >>> state.T.tolist(), state.P.tolist()
    ([2.0], [20.0])
    """

    heat_capacity: torch.Tensor
    molecules: torch.Tensor
    temperature: torch.Tensor
    volume: torch.Tensor

    def __init__(self, heat_capacity: float, molecules: float, *, temperature: float = 1.0,
                 volume: float = 1.0) -> None:
        super().__init__()
        for name, value in (("heat_capacity", heat_capacity), ("molecules", molecules), ("temperature", temperature),
                            ("volume", volume)):
            if not (math.isfinite(value) and value > 0):
                raise ModelError(f"IdealGas: {name} = {value!r} must be a positive number.")
            self.register_buffer(name, torch.tensor(float(value), dtype=torch.float64))

    def forward(self, S: torch.Tensor, V: torch.Tensor) -> Thermo:
        c, n = self.heat_capacity, self.molecules
        U = c * self.temperature * torch.exp((S - n * torch.log(V / self.volume)) / c)
        T, P = U / c, (n / c) * U / V
        return Thermo(U, T, P, T / c, -P / c, P / V * (1 + n / c))


class Isothermal(EquationOfState):
    """U = T S + cold(V): an infinite bath at temperature T; S then only keeps the account of heat.

    The isothermal members of the family (dissipative particle dynamics, smoothed or not) are this equation of state:
    with 1/c = 0 friction and noise see one temperature and the divergence is that of the pair coefficients.

    Parameters
    ----------
    temperature : float
        T, positive.
    cold : Cold or None
        Free energy of V alone; None: no pressure (an ideal crowd).
    molecules : float
        Adds the free energy -molecules · T ln V of an ideal gas, so P V = molecules · T.

    Examples
    --------
    >>> state = Isothermal(1.5, molecules=4.0)(torch.zeros(1), torch.full((1,), 2.0))
    >>> state.T.tolist(), state.P.tolist(), state.softness.tolist()
    ([1.5], [3.0], [0.0])
    """

    temperature: torch.Tensor
    molecules: torch.Tensor

    def __init__(self, temperature: float, cold: Cold | None = None, *, molecules: float = 0.0) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature > 0):
            raise ModelError(f"Isothermal: temperature = {temperature!r} must be positive.")
        self.register_buffer("temperature", torch.tensor(float(temperature), dtype=torch.float64))
        self.register_buffer("molecules", torch.tensor(float(molecules), dtype=torch.float64))
        self.cold = cold

    def forward(self, S: torch.Tensor, V: torch.Tensor) -> Thermo:
        T, push = self.temperature.to(S.dtype), (self.molecules * self.temperature).to(S.dtype)
        zero = torch.zeros_like(S)
        U, U_V, U_VV = T * S - push * torch.log(V), -push / V, push / V**2
        if self.cold is not None:
            f, df, ddf = self.cold(V)
            U, U_V, U_VV = U + f, U_V + df, U_VV + ddf
        return Thermo(U, T + zero, -U_V, zero, zero, U_VV)


class Cold(nn.Module):
    """Energy of V alone as a spline of ln(V/volume), linear beyond its range; any sign of slope.

    Parameters
    ----------
    volume, temperature : float
        Scales of volume and of energy.
    reach : float
        The spline covers ln(V/volume) in [-reach, reach].
    knots : int

    Examples
    --------
    >>> cold = Cold(volume=2.0)
    >>> [float(x.abs().detach()) for x in cold(torch.tensor([2.0], dtype=torch.float64))]
    [0.0, 0.0, 0.0]
    """

    volume: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, volume: float, *, temperature: float = 1.0, reach: float = 2.0, knots: int = 10) -> None:
        super().__init__()
        self.reach = float(reach)
        self.register_buffer("volume", torch.tensor(float(volume), dtype=torch.float64))
        self.register_buffer("temperature", torch.tensor(float(temperature), dtype=torch.float64))
        self.spline = UniformSpline(knots, start=0.0)

    def forward(self, V: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """U, dU/dV and d²U/dV² at volumes V, each (n,)."""
        w = 0.5 / self.reach
        f, df, ddf = self.spline(0.5 + w * torch.log(V / self.volume))
        e = self.temperature
        return e * f, e * w * df / V, e * (w * w * ddf - w * df) / V**2


class ConvexEnergy(EquationOfState):
    """Learned U(S, V): a convex part that rises with S and falls with V, plus a cold part.

    U = e f((S - S0)/s, (V - V0)/v) + cold(V), with f a `ConvexRidges` spline or a `ConvexNet`,
    convex in both, so the convex part has T > 0, P > 0 and is thermodynamically stable.

    Parameters
    ----------
    kind : {"spline", "net"}
    temperature : float
        Sets the scale of energy: e = temperature · entropy_width.
    entropy, entropy_width, volume, volume_width : float
        Middle and width of the range that is visited.
    cohesion : bool
        Add the cold part.

    Examples
    --------
    >>> eos = ConvexEnergy("spline", temperature=1.0, volume=0.5, volume_width=0.1, entropy_width=4.0)
    >>> bool((eos(torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)).T > 0).all())
    True
    """

    scale: torch.Tensor
    S0: torch.Tensor
    s: torch.Tensor
    V0: torch.Tensor
    v: torch.Tensor

    def __init__(self, kind: str = "spline", *, temperature: float, volume: float, volume_width: float,
                 entropy: float = 0.0, entropy_width: float = 5.0, cohesion: bool = False,
                 generator: torch.Generator | None = None) -> None:
        super().__init__()
        if kind not in ("spline", "net"):
            raise ModelError(f"ConvexEnergy: kind = {kind!r}; choose 'spline' or 'net'.")
        self.convex = ConvexRidges() if kind == "spline" else ConvexNet(generator=generator)
        for name, value in (("scale", temperature * entropy_width), ("S0", entropy), ("s", entropy_width),
                            ("V0", volume), ("v", volume_width)):
            self.register_buffer(name, torch.tensor(float(value), dtype=torch.float64))
        if min(temperature, entropy_width, volume, volume_width) <= 0:
            raise ModelError("ConvexEnergy: temperature, entropy_width, volume and volume_width must be positive.")
        self.cold = Cold(volume, temperature=temperature) if cohesion else None

    def forward(self, S: torch.Tensor, V: torch.Tensor) -> Thermo:
        f, fx, fy, fxx, fxy, fyy = self.convex((S - self.S0) / self.s, (V - self.V0) / self.v)
        e, s, v = self.scale, self.s, self.v
        U, U_V, U_VV = e * f, e / v * fy, e / v**2 * fyy
        if self.cold is not None:
            g, dg, ddg = self.cold(V)
            U, U_V, U_VV = U + g, U_V + dg, U_VV + ddg
        return Thermo(U, e / s * fx, -U_V, e / s**2 * fxx, e / (s * v) * fxy, U_VV)

    def fit(self, other: EquationOfState, S: torch.Tensor, V: torch.Tensor, *, steps: int = 500) -> ConvexEnergy:
        """Set to follow `other` at states S, V, each (n,): temperature and pressure by L-BFGS; returns itself."""
        with torch.no_grad():
            wanted = other(S, V)
        optimiser = torch.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe",
                                      tolerance_change=1e-14, tolerance_grad=1e-12)

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            found = self(S, V)
            misfit = ((found.T - wanted.T) / wanted.T.mean()).square().mean() \
                + ((found.P - wanted.P) / wanted.P.abs().mean()).square().mean()
            misfit.backward()
            return misfit

        optimiser.step(loss)
        return self
