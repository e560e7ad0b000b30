"""What acts on a fluid from outside: body forces, friction against a substrate, particles moved by hand."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vid2dyn.core.errors import ModelError


class BodyForce(ABC):
    """A force on every particle that depends on place and time."""

    @abstractmethod
    def __call__(self, position: torch.Tensor, time: float) -> torch.Tensor:
        """Forces (n, dim) at positions (n, dim)."""


@dataclass(frozen=True)
class TaylorGreen(BodyForce):
    """The force that holds a Taylor-Green vortex in a periodic box.

    On the first two columns (y, x): F_x = amplitude sin(k x) cos(k y), F_y = -amplitude cos(k x) sin(k y), with
    k = 2π/length; divergence-free, so an incompressible fluid of density ρ answers with v = F d/(2 η k²).

    Parameters
    ----------
    amplitude : float
        Largest force on a particle.
    length : float
        Edge of the box.

    Examples
    --------
    >>> TaylorGreen(2.0, 4.0)(torch.tensor([[0.0, 1.0]]), 0.0).tolist()
    [[0.0, 2.0]]
    """

    amplitude: float
    length: float

    def __call__(self, position: torch.Tensor, time: float) -> torch.Tensor:
        y, x = (2 * math.pi / self.length * position[:, :2]).unbind(1)
        out = torch.zeros_like(position)
        out[:, 0] = -self.amplitude * torch.cos(x) * torch.sin(y) + 0.0
        out[:, 1] = self.amplitude * torch.sin(x) * torch.cos(y)
        return out


@dataclass(frozen=True)
class Bath:
    """Friction of every particle against a substrate at rest: m dv = -drag v dt + sqrt(2 drag T) dW, exact for any dt.

    Parameters
    ----------
    drag : float
        [mass/time], >= 0.
    temperature : float
        T of the substrate, > 0.

    Raises
    ------
    ModelError
        For a negative drag or a temperature that is not positive.
    """

    drag: float
    temperature: float

    def __post_init__(self) -> None:
        if not (self.drag >= 0 and self.temperature > 0):
            raise ModelError(f"Bath: drag = {self.drag!r} must not be negative and temperature = "
                             f"{self.temperature!r} must be positive.")

    def apply(self, velocity: torch.Tensor, mass: float, dt: float, kB: float, normals: torch.Tensor) -> torch.Tensor:
        """Velocities after the time dt; `normals` (n, dim) standard normal numbers."""
        keep = math.exp(-self.drag * dt / mass)
        return keep * velocity + math.sqrt(kB * self.temperature * (1 - keep * keep) / mass) * normals


@dataclass(frozen=True)
class Prescribed:
    """Particles that are moved by hand: a wall, the edge of a needle. They exchange momentum and heat with the others.

    Their entropy does not change: they are kept at their temperature from outside.

    Parameters
    ----------
    held : (n,) bool tensor
        Which particles.
    path : callable
        Time to (positions, velocities), each (n, dim); only rows of held particles are read.
    """

    held: torch.Tensor
    path: Callable[[float], tuple[torch.Tensor, torch.Tensor]]
