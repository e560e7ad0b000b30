"""The friction matrix of a fluid by its root, its divergence in closed form, and the bracket they make.

Channels of a pair: dim numbers for momentum, one for heat. With R = sqrt(K) the two ends of G are

    velocity i:  R/m            velocity j: -R/m
    entropy  i: -vᵀR/(2 T_i)    entropy  j: -vᵀR/(2 T_j)       momentum channels
    entropy  i:  C/T_i          entropy  j: -C/T_j             heat channel

so Gᵀ∇E = Rᵀ(v_i - v_j) - Rᵀv/2 - Rᵀv/2 = 0 and C - C = 0: energy is conserved channel by channel, momentum because
the velocity rows of the two ends cancel.
"""

from __future__ import annotations

import torch

from vid2dyn.dynamics.base import FrictionMatrix, Potential, Root
from vid2dyn.dynamics.bracket import Bracket, Canonical
from vid2dyn.dynamics.fluid.sdpd import Fluid, Pairs
from vid2dyn.dynamics.snapshot import Snapshot


class FluidFriction(FrictionMatrix):
    """M of a `Fluid` on velocities and entropies: shear and bulk friction and exchange of heat.

    Parameters
    ----------
    fluid : Fluid
        Functions.
    """

    columns = ("velocity", "entropy")

    def __init__(self, fluid: Fluid) -> None:
        self.fluid = fluid

    def root(self, snapshot: Snapshot) -> Root:
        fluid, pairs = self.fluid, Pairs.of(snapshot)
        density = fluid.density(snapshot, pairs)
        thermo = fluid.thermo(snapshot, density)
        c = fluid.coefficients(pairs, thermo, density)
        dim, v = snapshot.position.shape[1], snapshot.relative_velocity()
        line = pairs.e[:, :, None] * pairs.e[:, None, :]
        eye = torch.eye(dim, dtype=line.dtype, device=line.device)
        R = _sqrt(c.across)[:, None, None] * (eye - line) + _sqrt(c.along)[:, None, None] * line
        work = -0.5 * torch.einsum("pa,pab->pb", v, R)
        C = _sqrt(c.heat)
        ends = []
        for end, sign in ((pairs.first, 1.0), (pairs.second, -1.0)):
            T = thermo.T[end]
            block = torch.zeros(len(v), dim + 1, dim + 1, dtype=R.dtype, device=R.device)
            block[:, :dim, :dim] = sign * R / fluid.mass
            block[:, dim, :dim] = work / T[:, None]
            block[:, dim, dim] = sign * C / T
            ends.append(block)
        return Root(first=ends[0], second=ends[1], pairs=snapshot.pairs)

    def divergence(self, snapshot: Snapshot) -> torch.Tensor:
        """∇·M over velocities and entropies, (n, dim + 1), in closed form.

        With s = 1/c the inverse heat capacity, dT/dS = T s; h = T_ij the pair's temperature; p the power of it in K
        (h^p) and C² ((T_i T_j)^p); k = v·K v/4:

            velocity i:  sum_j 1/(2 m) [s_i/T_i + s_j/T_j - p (g_i + g_j)] K v_ij,     g = s h/(2 T²)
            entropy  i:  sum_j { -tr K/(m T_i) + s_i/T_i² [p (k h/(2 T_i) + C²) - 2 (k + C²)]
                                 + s_j/(T_i T_j) [p (k h/(2 T_j) - C²) - (k - C²)] }
        """
        fluid, pairs = self.fluid, Pairs.of(snapshot)
        density = fluid.density(snapshot, pairs)
        thermo = fluid.thermo(snapshot, density)
        c, p, m = fluid.coefficients(pairs, thermo, density), fluid.power, fluid.mass
        v, dim = snapshot.relative_velocity(), snapshot.position.shape[1]
        Kv = c.times(pairs.e, v)
        k, C2, h = 0.25 * (v * Kv).sum(1), c.heat, c.harmonic
        trace = c.along + (dim - 1) * c.across
        Ti, Tj = thermo.T[pairs.first], thermo.T[pairs.second]
        si, sj = thermo.softness[pairs.first], thermo.softness[pairs.second]
        bend = si / Ti + sj / Tj - 0.5 * p * h * (si / Ti**2 + sj / Tj**2)
        push = (0.5 / m) * bend[:, None] * Kv

        def heat(Ta: torch.Tensor, sa: torch.Tensor, Tb: torch.Tensor, sb: torch.Tensor) -> torch.Tensor:
            own = sa / Ta**2 * (p * (k * h / (2 * Ta) + C2) - 2 * (k + C2))
            other = sb / (Ta * Tb) * (p * (k * h / (2 * Tb) - C2) - (k - C2))
            return -trace / (m * Ta) + own + other

        velocity = pairs.sum(push, -push, snapshot.column("velocity"))
        entropy = pairs.sum(heat(Ti, si, Tj, sj), heat(Tj, sj, Ti, si), snapshot.column("entropy"))
        return torch.cat([velocity, entropy[:, None]], dim=1)


class FluidEnergy(Potential):
    """E = sum U(S_i, V_i) + m v_i²/2, with its gradient in closed form."""

    def __init__(self, fluid: Fluid) -> None:
        self.fluid = fluid

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        return self.fluid.energy(snapshot)

    def gradient(self, snapshot: Snapshot, columns: tuple[str, ...] = ("position",)) -> torch.Tensor:
        pairs = Pairs.of(snapshot)
        density = self.fluid.density(snapshot, pairs)
        thermo = self.fluid.thermo(snapshot, density)
        parts = {
            "position": lambda: -self.fluid.pressure_forces(pairs, density, thermo.P, snapshot.position),
            "velocity": lambda: self.fluid.mass * snapshot.column("velocity"),
            "entropy": lambda: thermo.T[:, None],
        }
        return torch.cat([parts[name]() for name in columns], dim=1)


class TotalEntropy(Potential):
    """S = sum of the entropies of the particles [kB]."""

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        return snapshot.column("entropy").sum()


def bracket(fluid: Fluid, *, kB: float = 1.0) -> Bracket:
    """The metriplectic dynamics of a fluid.

    >>> gas = Fluid.ideal_gas(cutoff=1.0, mass=1.0, heat_capacity=15.0, molecules=10.0, dim=2)
    >>> x = torch.tensor([[0.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    >>> state = Snapshot.of(x, 1.0, velocity=torch.zeros_like(x), entropy=torch.zeros(2, dtype=torch.float64))
    >>> bracket(gas).drift(state).shape
    torch.Size([2, 5])
    """
    return Bracket(FluidEnergy(fluid), TotalEntropy(), Canonical(float(fluid.mass)), FluidFriction(fluid), kB=kB)


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    """Square root with derivative zero, not infinite, where x = 0: a pair at the cutoff has no amplitude."""
    return torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, torch.ones_like(x))), torch.zeros_like(x))
