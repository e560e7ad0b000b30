"""What the numbers of a fluid mean: radial functions, transport coefficients, the `Fluid` itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.dynamics.fluid.radial_splines import spline


def radial(numbers: FluidNumbers, r: np.ndarray) -> np.ndarray:
    """A² and B² at distances r, (2, n); zero beyond the cutoff."""
    layout = numbers.layout
    u = np.minimum((r / layout.cutoff) ** 2, 1.0)
    out = np.empty((2, len(u)))
    spline(u, numbers.friction, layout.knots, out)
    return out


def transport(numbers: FluidNumbers) -> tuple[float, float, float]:
    """η, ζ and κ of the continuum.

    With K = T_ij V_i V_j [a (I - e eᵀ) + b e eᵀ], a = A²/2, b = A² (1 - 1/D) + B²/D, and the moments
    α = ∫ r² a d^D r/D, β = ∫ r² b d^D r/D: η = [α + (β - α)/(D + 2)]/2, ζ = η (D + 2)/D - α, κ = ∫ r² C² d^D r/(2 D)
    (Español & Revenga 2003; derivation in `vid2dyn.simulators.fluid.sdpd.gas`). For law = "radial" they are those of
    the state V0, T0: friction is then proportional to 1/T.
    """
    layout, D = numbers.layout, numbers.layout.dim
    node, weight = np.polynomial.legendre.leggauss(24)
    edges = np.sqrt(np.linspace(0, 1, layout.knots + 1)) * layout.cutoff
    half = np.diff(edges) / 2
    r = ((edges[:-1] + half)[:, None] + half[:, None] * node).ravel()
    measure = (half[:, None] * weight).ravel() * (2 * np.pi ** (D / 2) / math.gamma(D / 2)) * r ** (D + 1) / D
    A2, B2 = radial(numbers, r)
    scale = 1.0 if layout.power else math.exp(-numbers.log_temperature) / layout.volume**2
    alpha = scale * float(measure @ (0.5 * A2))
    beta = scale * float(measure @ (A2 * (1 - 1 / D) + B2 / D))
    eta = 0.5 * (alpha + (beta - alpha) / (D + 2))
    heat = numbers.conduction * float(measure @ (1 - (r / layout.cutoff) ** 2) ** 2) / 2
    if not layout.power:
        heat = heat * math.exp(-2 * numbers.log_temperature) / layout.volume**2
    return eta, eta * (D + 2) / D - alpha, heat


def fluid_of(numbers: FluidNumbers) -> Any:
    """The `Fluid` of these numbers: brackets, tables, rollouts."""
    import torch

    from vid2dyn.dynamics.fluid.sdpd import Fluid
    from vid2dyn.dynamics.nets import inverse_softplus
    from vid2dyn.dynamics.terms.convex_net import ConvexNetGas
    from vid2dyn.dynamics.terms.equations_of_state import EquationOfState
    from vid2dyn.dynamics.terms.gas import Gas
    from vid2dyn.dynamics.terms.radial import Kernel, Lucy, SplineRadial

    layout = numbers.layout

    def radial_spline(coefficients: np.ndarray) -> SplineRadial:
        shape = SplineRadial(layout.cutoff, knots=layout.knots)
        with torch.no_grad():
            shape.spline.raw.copy_(inverse_softplus(torch.as_tensor(np.maximum(coefficients, 1e-280))))
        return shape

    log_T0, a, n, q, k1, k2 = (float(v) for v in numbers.gas)
    gas: EquationOfState = Gas(math.exp(log_T0), max(a, 1e-6), n, layout.volume, bend=q, cold=(k1, k2))
    if layout.units:
        gas = ConvexNetGas(math.exp(log_T0), max(a, 1e-6), n, layout.volume, numbers.net, cold=(k1, k2))
    A2, B2 = numbers.friction
    return Fluid(Kernel(Lucy(layout.cutoff), layout.dim), gas, radial_spline(A2), radial_spline(B2),
                 radial_spline(np.full(layout.coefficients, float(numbers.conduction))), mass=layout.mass,
                 law="transport" if layout.power else "radial")
