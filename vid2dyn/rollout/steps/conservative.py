"""The reversible half of a step: energy exchanged between motion and pressure at fixed entropies.

Verlet is of order 2, symplectic, and keeps the energy up to a bounded error of order dt² (Hairer, Lubich & Wanner,
Geometric Numerical Integration, 2006, ch. I.1 and IX). The secant discrete gradient is of order 2 and keeps it to
rounding (Gonzalez, J. Nonlinear Sci. 6, 449, 1996):

    x' = x + dt v̄,   m v' = m v + dt F̄,   v̄ = (v + v')/2,
    F̄_i = -sum_j (ϖ_i + ϖ_j) w_ij (r_ij + r'_ij),   ϖ = ΔU/Δd at fixed S,   w = ΔW/Δ(r²)

with quotients of differences between both ends of the step (derivatives where these are too close), so that
sum_i F̄_i·(x'_i - x_i) = -ΔU identically; the forces are central and opposite, so momentum and, in free space, angular
momentum are kept too. Fixed-point iteration; 3 to 7 rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from vid2dyn.core.errors import ModelError
from vid2dyn.data.box import Box
from vid2dyn.dynamics.fluid.sdpd import Fluid
from vid2dyn.rollout.steps.pair_list import PairList

NEAR = 1e-4
"""Relative change below which a quotient of differences becomes the mean of the derivative by Gauss' rule of two points
(error NEAR⁴/4320; the quotient would lose eps/NEAR to cancellation, which keeps the iteration restless)."""
_GAUSS = 0.5 / 3**0.5
ROUNDS = 60
"""Most rounds of the fixed-point iteration."""


class SecantForce:
    """F̄ of one step as a function of the positions at its end.

    Parameters
    ----------
    fluid : Fluid
    near : PairList
        Covers the cutoff at both ends of the step.
    position, entropy, density, energy : tensors
        At the start: (n, dim), (n,), (n,), U (n,).
    box, later : Box
        At the start and at the end.
    """

    def __init__(self, fluid: Fluid, near: PairList, position: torch.Tensor, entropy: torch.Tensor,
                 density: torch.Tensor, energy: torch.Tensor, box: Box, later: Box) -> None:
        self.fluid, self.near, self.later = fluid, near, later
        self.entropy, self.density, self.energy = entropy, density, energy
        self.before = near.separation(position, box)
        self.square = (self.before * self.before).sum(1)
        self.weight = fluid.kernel.value(self.square.sqrt())
        self.own = fluid.kernel.at_zero()

    def __call__(self, position: torch.Tensor) -> torch.Tensor:
        """F̄, (n, dim), if the step ends at `position`."""
        first, second = self.near.pairs.unbind(1)
        after = self.near.separation(position, self.later)
        middle = after + self.before
        grown = ((after - self.before) * middle).sum(1)                   # r'² - r² without the cancellation
        weight = self.fluid.kernel.value((after * after).sum(1).sqrt())

        def slope(rows: torch.Tensor, place: float) -> torch.Tensor:
            r = (self.square[rows] + place * grown[rows]).clamp(min=1e-300).sqrt()
            return 0.5 * self.fluid.kernel(r)[1] / r

        secant = _quotient(weight - self.weight, grown, self.square, slope)
        density = self.own + torch.zeros_like(self.density).index_add(0, first, weight).index_add(0, second, weight)
        push = self._push(density)
        f = -((push[first] + push[second]) * secant)[:, None] * middle
        return torch.zeros_like(position).index_add(0, first, f).index_add(0, second, -f)

    def _push(self, density: torch.Tensor) -> torch.Tensor:
        """ϖ = ΔU/Δd, P/d² in the limit."""
        change = density - self.density
        energy = self.fluid.eos(self.entropy, 1.0 / density).U

        def slope(rows: torch.Tensor, place: float) -> torch.Tensor:
            d = self.density[rows] + place * change[rows]
            return self.fluid.eos(self.entropy[rows], 1.0 / d).P / d**2

        return _quotient(energy - self.energy, change, self.density, slope)


def _quotient(rise: torch.Tensor, run: torch.Tensor, scale: torch.Tensor,
              slope: Callable[[torch.Tensor, float], torch.Tensor]) -> torch.Tensor:
    """rise/run, or where run is too small beside scale the mean of `slope(rows, place)` over places from 0 to 1."""
    rows = torch.nonzero(run.abs() <= NEAR * scale)[:, 0]
    if not len(rows):
        return rise / run
    out = rise / torch.where(run == 0, torch.ones_like(run), run)
    out[rows] = 0.5 * (slope(rows, 0.5 - _GAUSS) + slope(rows, 0.5 + _GAUSS))
    return out


@dataclass(frozen=True)
class HeldVelocity:
    """Particles `rows` (n,) bool and the velocities (n, dim) they are given; only held rows are read."""

    rows: torch.Tensor
    velocity: torch.Tensor

    def imposed_on(self, velocity: torch.Tensor) -> torch.Tensor:
        """`velocity` (n, dim) with the rows of held particles replaced."""
        return torch.where(self.rows[:, None], self.velocity, velocity)


def exact_move(force: Callable[[torch.Tensor], torch.Tensor], position: torch.Tensor, velocity: torch.Tensor,
               start: torch.Tensor, dt: float, mass: float, *, held: HeldVelocity | None = None,
               floor: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Positions and velocities after a secant step, and the number of iterations.

    Parameters
    ----------
    force : callable
        End positions to F̄.
    start : (n, dim) tensor
        Force to start the iteration with.
    held : HeldVelocity, optional
        Particles whose mean velocity over the step is given.
    floor : float
        Changes of velocity that are rounding; where everything is at rest there is no speed to compare with.

    Raises
    ------
    ModelError
        When the iteration does not settle (dt too large).
    """
    half = 0.5 * dt / mass
    last = float("inf")
    mean = start_mean = new = velocity + half * start
    if held is not None:
        mean = held.imposed_on(mean)
    for iteration in range(1, ROUNDS + 1):
        new = velocity + half * force(position + dt * mean)
        if held is not None:
            new = held.imposed_on(new)
        moved, scale = float((new - mean).abs().max()), float(new.abs().max())
        mean = new
        # settled, or as far as rounding lets it: quotients of small differences keep the last digits restless
        if moved <= 1e-15 * scale or (moved <= 1e-11 * scale + floor and moved >= 0.3 * last):
            return position + dt * mean, 2.0 * mean - velocity, iteration
        if not moved < 1e3 * (last + scale):
            break
        last = moved
    worst = torch.nan_to_num((new - start_mean).abs().sum(1), nan=float("inf")).argmax()
    raise ModelError(f"the exact step does not settle, least at particle {int(worst)}: forces change too much within "
                     f"one step. Take a smaller dt (now {dt:g}).")
