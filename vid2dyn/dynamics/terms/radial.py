"""Functions of the distance of a pair: kernels and pair coefficients, in one pass with their slope.

All vanish at the cutoff: kernels with two derivatives (forces and their stiffness are continuous), coefficients with
one (their roots, the noise amplitudes, are differentiable there). Learned ones depend on u = (r/cutoff)², so they are
smooth where two particles meet, and carry the factor (1 - u)^power.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.nets import MLP, UniformSpline

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(12)


class Radial(nn.Module, ABC):
    """f(r) on [0, cutoff), zero beyond; `forward` returns (f, df/dr), each of the shape of r, (p,)."""

    cutoff: float

    @abstractmethod
    def forward(self, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Value and slope at distances r."""

    def value(self, r: torch.Tensor) -> torch.Tensor:
        """f(r) alone."""
        return self(r)[0]

    @property
    def device(self) -> torch.device:
        """Where the parameters or constants are."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

    def breaks(self) -> np.ndarray:
        """Places in [0, 1] (times the cutoff) between which f is smooth, for quadrature."""
        return np.linspace(0, 1, 9)

    def integral(self, dim: int) -> torch.Tensor:
        """∫ f d^dim r over the ball, by Gauss-Legendre quadrature between the breaks (12 points each)."""
        edge = self.breaks()
        half = np.diff(edge) / 2
        s = (edge[:-1] + half)[:, None] + half[:, None] * _NODE
        r = torch.as_tensor(s.ravel() * self.cutoff, device=self.device)
        measure = torch.as_tensor((half[:, None] * _WEIGHT).ravel() * self.cutoff, device=self.device)
        return (measure * sphere(dim) * r ** (dim - 1) * self.value(r)).sum()


def sphere(dim: int) -> float:
    """Surface of the unit sphere in `dim` dimensions.

    >>> round(sphere(3) / math.pi, 12)
    4.0
    """
    return 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)


def _checked(cutoff: float) -> float:
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise ModelError(f"cutoff = {cutoff!r} must be a positive length.")
    return float(cutoff)


class SplineRadial(Radial):
    """Cubic spline in u = (r/cutoff)² with positive coefficients, times (1 - u)^power.

    Parameters
    ----------
    cutoff : float
    knots : int
        Intervals of the spline.
    power : int
        3 for kernels (C2 at the cutoff), 2 for pair coefficients.
    start : float
        Every coefficient at the start.

    Examples
    --------
    >>> f = SplineRadial(2.0, knots=6)
    >>> [abs(v.item()) for v in f(torch.tensor([2.0], dtype=torch.float64))]
    [0.0, 0.0]
    """

    def __init__(self, cutoff: float, *, knots: int = 10, power: int = 2, start: float = 1.0) -> None:
        super().__init__()
        self.cutoff, self.power = _checked(cutoff), power
        self.spline = UniformSpline(knots, positive=True, start=start)

    def forward(self, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u = (r / self.cutoff) ** 2
        value, slope, _ = self.spline(u)
        return _ended(value, slope, u, r, self.cutoff, self.power)

    def breaks(self) -> np.ndarray:
        return np.sqrt(np.linspace(0, 1, self.spline.knots + 1))

    def fit(self, function: Callable[[torch.Tensor], torch.Tensor]) -> SplineRadial:
        """Set to the closest spline to `function` of r (tensor to tensor); returns itself."""
        def shape(u: torch.Tensor) -> torch.Tensor:
            u = u.clamp(max=1 - 1e-3)
            return function(self.cutoff * u.sqrt()) / (1 - u) ** self.power
        self.spline.fit(shape)
        return self


class NetRadial(Radial):
    """Net of u = (r/cutoff)² made positive by softplus, times (1 - u)^power.

    Parameters
    ----------
    cutoff : float
    width, depth : int
        Units in a layer, and number of layers, of the net.
    power : int
        3 for kernels (C2 at the cutoff), 2 for pair coefficients.

    Examples
    --------
    >>> f = NetRadial(2.0, width=8)
    >>> bool(f.value(torch.tensor([0.5], dtype=torch.float64)) > 0)
    True
    """

    def __init__(self, cutoff: float, *, width: int = 50, depth: int = 2, power: int = 2,
                 generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.cutoff, self.power = _checked(cutoff), power
        self.net = MLP(1, 1, width=width, depth=depth, generator=generator)

    def forward(self, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u = (r / self.cutoff) ** 2
        value, slope = self.net.value_and_slope(u)
        return _ended(torch.logaddexp(value, value.new_zeros(())), torch.sigmoid(value) * slope, u, r,
                      self.cutoff, self.power)


def _ended(value: torch.Tensor, slope: torch.Tensor, u: torch.Tensor, r: torch.Tensor, cutoff: float,
           power: int) -> tuple[torch.Tensor, torch.Tensor]:
    """g(u) (1 - u)^power and its derivative with respect to r, from g and dg/du."""
    w = (1 - u).clamp(min=0.0)
    fall = w ** (power - 1)
    return value * fall * w, (slope * w - power * value) * fall * (2 * r / cutoff**2)


class Lucy(Radial):
    """Lucy's quartic (1 + 3s)(1 - s)³ times an amplitude, s = r/cutoff: a kernel without parameters.

    Lucy, Astron. J. 82, 1013 (1977); the kernel of Español & Revenga, PRE 67, 026705 (2003), eq. 4.

    >>> k = Kernel(Lucy(0.2), dim=3)
    >>> round(float(k.value(torch.tensor([0.0], dtype=torch.float64)) * 16 * math.pi * 0.2**3), 9)
    105.0
    """

    amplitude: torch.Tensor

    def __init__(self, cutoff: float, amplitude: float = 1.0) -> None:
        super().__init__()
        self.cutoff = _checked(cutoff)
        self.register_buffer("amplitude", torch.tensor(float(amplitude), dtype=torch.float64))

    def forward(self, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        s = r / self.cutoff
        w = (1 - s).clamp(min=0.0)
        return self.amplitude * (1 + 3 * s) * w**3, -12 * self.amplitude / self.cutoff * s * w**2


class LucyWeight(Radial):
    """(1 - s)² times an amplitude: -W'(r)/r of Lucy's kernel, the weight of its viscous forces.

    >>> LucyWeight(1.0, 2.0).value(torch.tensor([0.5], dtype=torch.float64)).tolist()
    [0.5]
    """

    amplitude: torch.Tensor

    def __init__(self, cutoff: float, amplitude: float = 1.0) -> None:
        super().__init__()
        self.cutoff = _checked(cutoff)
        self.register_buffer("amplitude", torch.tensor(float(amplitude), dtype=torch.float64))

    def forward(self, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        w = (1 - r / self.cutoff).clamp(min=0.0)
        return self.amplitude * w**2, -2 * self.amplitude / self.cutoff * w


class Kernel(Radial):
    """A positive radial function divided by its integral, ∫ W d^dim r = 1: sums of it are number densities.

    Parameters
    ----------
    shape : Radial
        C2 at the cutoff: `Lucy`, or a learned function with power = 3.
    dim : int
        Dimensions of space.

    Examples
    --------
    >>> W = Kernel(SplineRadial(1.5, power=3), dim=2)
    >>> round(float(W.integral(2).detach()), 12)
    1.0
    """

    def __init__(self, shape: Radial, dim: int) -> None:
        super().__init__()
        self.shape, self.dim, self.cutoff = shape, dim, shape.cutoff

    def forward(self, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norm = self.shape.integral(self.dim)
        value, slope = self.shape(r)
        return value / norm, slope / norm

    def breaks(self) -> np.ndarray:
        return self.shape.breaks()

    def at_zero(self) -> torch.Tensor:
        """W(0), a scalar: what a particle contributes to its own density."""
        return self.value(torch.zeros(1, dtype=torch.float64, device=self.device))[0]
