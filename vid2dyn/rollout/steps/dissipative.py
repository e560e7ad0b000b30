"""The irreversible half of a step: friction, noise and conduction; formulas in the package's docstring."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.pair_noise import pair_normals
from vid2dyn.dynamics.fluid.sdpd import Coefficients, Fluid, Pairs
from vid2dyn.dynamics.terms.equations_of_state import Thermo
from vid2dyn.rollout.steps.solvers import conjugate_gradients


@dataclass(frozen=True)
class Dissipation:
    """Everything about the pairs that friction and conduction of one step share.

    Parameters
    ----------
    fluid : Fluid
    pairs : Pairs
        Within the cutoff.
    thermo : Thermo
        Of every particle, at the start of the half-step.
    coefficients : Coefficients
        K and C² of every pair.
    kB : float
        1, or 0 without noise.
    held : (n,) bool tensor or None
        Particles whose velocity and temperature do not change.
    """

    fluid: Fluid
    pairs: Pairs
    thermo: Thermo
    coefficients: Coefficients
    kB: float
    held: torch.Tensor | None = None

    def inverse_temperature(self) -> torch.Tensor:
        """b_ij of every pair, (p,), with the terms of kB ∇·M that act on velocities."""
        i, j = self.pairs.first, self.pairs.second
        T, soft = self.thermo.T, self.kB * self.thermo.softness
        beta, bend = (1 - soft) / T, soft / (2 * T**2)
        b = beta[i] + beta[j]
        if self.fluid.power:
            b = b + self.coefficients.harmonic * (bend[i] + bend[j])
        return 0.5 * b

    def noise(self, seed: int, step: int, names: np.ndarray) -> torch.Tensor:
        """(p, dim + 1) standard normals of every pair, as its first particle receives them (the second: minus)."""
        first, second = self.pairs.first.cpu().numpy(), self.pairs.second.cpu().numpy()
        a, b = names[first], names[second]
        draw = pair_normals(seed, step, a, b, channels=self.fluid.dim + 1)
        draw[a > b] *= -1.0
        return torch.as_tensor(draw).to(self.pairs.r)

    def free(self, x: torch.Tensor) -> torch.Tensor:
        """x with the rows of held particles set to zero."""
        if self.held is None:
            return x
        return torch.where(self.held.reshape(-1, *[1] * (x.ndim - 1)), torch.zeros_like(x), x)

    def apply_friction(self, velocity: torch.Tensor, relative: torch.Tensor, dt: float,
            normals: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """New velocities (n, dim) and the heat of friction and noise in every particle (n,).

        `relative` (p, dim) is the relative velocity of every pair, which in a sheared box is not a mere difference.
        """
        pairs, c, m = self.pairs, self.coefficients, self.fluid.mass
        b = (dt * self.inverse_temperature())
        drag = Coefficients(b * c.across, b * c.along, c.heat, c.harmonic)

        def laplacian(v: torch.Tensor) -> torch.Tensor:
            f = drag.times(pairs.e, v[pairs.first] - v[pairs.second])
            return self.free(2 * m * v + pairs.sum(f, -f, v))

        kick = -drag.times(pairs.e, relative)
        random = torch.zeros_like(kick)
        if normals is not None and self.kB:
            root = Coefficients(c.across.clamp(min=0).sqrt(), c.along.clamp(min=0).sqrt(), c.heat, c.harmonic)
            random = math.sqrt(2 * self.kB * dt) * root.times(pairs.e, normals[:, :-1])
        right = self.free(pairs.sum(kick + random, -(kick + random), velocity))
        half, _ = conjugate_gradients(laplacian, right)
        impulse = kick + random - drag.times(pairs.e, half[pairs.first] - half[pairs.second])
        # from the impulses, not from the solution: momentum is then exact however well the solver has done
        change = self.free(pairs.sum(impulse, -impulse, velocity)) / m
        mean = relative + 0.5 * (change[pairs.first] - change[pairs.second])
        heat = -0.5 * (impulse * mean).sum(1)
        return velocity + change, pairs.sum(heat, heat, self.thermo.U)

    def conduct(self, dt: float, normals: torch.Tensor | None) -> torch.Tensor:
        """Heat received from neighbours by every particle in the time dt, (n,)."""
        pairs, T, soft = self.pairs, self.thermo.T, self.thermo.softness
        i, j = pairs.first, pairs.second
        C2 = self.coefficients.heat
        if not bool((C2 > 0).any()):
            return torch.zeros_like(T)
        w = C2 / (T[i] * T[j])
        z = dt * pairs.sum(w, w, T) * soft
        z = torch.maximum(z[i], z[j]).clamp(min=1e-8)
        limited = dt * torch.tanh(z) / z
        w, C2 = w * limited, C2 * limited
        right = w * (T[j] - T[i])
        if self.kB and not self.fluid.power:
            right = right - self.kB * C2 * (soft[i] / T[i] - soft[j] / T[j])
        if self.kB and normals is not None:
            right = right + (2 * self.kB * C2).sqrt() * normals[:, -1]
        # y = half the change of T; where 1/c = 0 temperatures cannot change, and neither does y
        rigid = soft <= 0
        if self.held is not None:
            rigid = rigid | self.held
        capacity = torch.where(rigid, torch.ones_like(soft), 2.0 / torch.where(rigid, torch.ones_like(soft), soft))

        def keep(y: torch.Tensor) -> torch.Tensor:
            return torch.where(rigid, torch.zeros_like(y), y)

        def laplacian(y: torch.Tensor) -> torch.Tensor:
            q = w * (y[i] - y[j])
            return keep(capacity * y + pairs.sum(q, -q, y))

        y, _ = conjugate_gradients(laplacian, keep(pairs.sum(right, -right, T)))
        heat = right - w * (y[i] - y[j])
        return pairs.sum(heat, -heat, T)
