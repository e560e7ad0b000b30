"""The structure-free baseline: the same nets and the same inputs, none of the laws.

    dv_i = sum_j [a e + b v_ij + c e (e·v_ij)] dt + noise,    dS_i = sum_j s dt + noise

with a, b, c, s one net of (r, e·v_ij, |v_ij|², S_i, S_j) for every ordered pair, so that action and reaction need not
cancel, heat need not come from motion, and the amplitude of the noise, another net of the distance summed over
neighbours, is tied to nothing. What a fit of it gains in likelihood over a `Fluid` tells what the structure costs;
what it loses in energy, momentum and stationary averages, what the structure is for.
"""

from __future__ import annotations

import torch
from torch import nn

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.base import Dynamics, FrictionMatrix, Potential, Root
from vid2dyn.dynamics.fluid.sdpd import Pairs
from vid2dyn.dynamics.nets import MLP
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.radial import NetRadial


class NodeNoise(FrictionMatrix):
    """Independent noise on velocities and entropies of every particle: a diagonal root."""

    columns = ("velocity", "entropy")

    def __init__(self, amplitude: nn.Module) -> None:
        self.amplitude = amplitude

    def root(self, snapshot: Snapshot) -> Root:
        scale = self.amplitude(snapshot)
        return Root(node=torch.diag_embed(scale))

    def divergence(self, snapshot: Snapshot) -> torch.Tensor:
        return torch.zeros_like(snapshot.state(self.columns))


class Crowding(nn.Module):
    """Noise amplitudes of a particle, (n, dim + 1), rising from a floor with the neighbours it has."""

    def __init__(self, cutoff: float, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.motion = NetRadial(cutoff, width=width, generator=generator)
        self.heat = NetRadial(cutoff, width=width, generator=generator)
        self.floor = nn.Parameter(torch.full((2,), -3.0, dtype=torch.float64))

    def forward(self, snapshot: Snapshot) -> torch.Tensor:
        pairs, like = Pairs.of(snapshot), snapshot.position[:, 0]
        floor = self.floor.exp()
        motion, heat = (floor[k] + pairs.sum(f, f, like) for k, f in
                        enumerate((self.motion.value(pairs.r), self.heat.value(pairs.r))))
        return torch.cat([motion[:, None].expand(-1, snapshot.position.shape[1]), heat[:, None]], dim=1)


class Unconstrained(Dynamics, nn.Module):
    """Pair nets without conservation laws, on positions, velocities and entropies.

    Parameters
    ----------
    cutoff : float
        Range of the pairs.
    width, depth : int
        Of the nets; 50 and 2 as in the learned functions of a `Fluid`.

    Raises
    ------
    ModelError
        When the cutoff is not positive.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    >>> state = Snapshot.of(x, 1.0, velocity=torch.zeros_like(x), entropy=torch.zeros(2, dtype=torch.float64))
    >>> Unconstrained(1.0, width=8).drift(state).shape
    torch.Size([2, 5])
    """

    columns = ("position", "velocity", "entropy")

    def __init__(self, cutoff: float, *, width: int = 50, depth: int = 2,
                 generator: torch.Generator | None = None) -> None:
        nn.Module.__init__(self)
        if not cutoff > 0:
            raise ModelError(f"Unconstrained: cutoff = {cutoff!r} must be a positive length.")
        self.cutoff = float(cutoff)
        self.net = MLP(5, 4, width=width, depth=depth, generator=generator)
        self.spread = Crowding(cutoff, width, generator)
        self.potentials: tuple[Potential, ...] = ()
        self.friction = NodeNoise(self.spread)

    def drift(self, snapshot: Snapshot) -> torch.Tensor:
        """Rates of position, velocity and entropy, (n, 2 dim + 1)."""
        pairs, S = Pairs.of(snapshot), snapshot.column("entropy")
        v, rate = snapshot.relative_velocity(), torch.zeros_like(snapshot.state(("velocity", "entropy")))
        for here, there, sign in ((pairs.first, pairs.second, 1.0), (pairs.second, pairs.first, -1.0)):
            e, w = sign * pairs.e, sign * v
            along = (e * w).sum(1)
            inputs = torch.stack([pairs.r / self.cutoff, along, (w * w).sum(1), S[here], S[there]], 1)
            # the factor ends all pair terms smoothly at the cutoff, as in the other dynamics
            a, b, c, s = ((1 - (pairs.r / self.cutoff) ** 2).clamp(min=0)[:, None] ** 2 * self.net(inputs)).unbind(1)
            push = (a + c * along)[:, None] * e + b[:, None] * w
            rate = rate.index_add(0, here, torch.cat([push, s[:, None]], dim=1))
        return torch.cat([snapshot.column("velocity"), rate], dim=1)

    def noise(self, snapshot: Snapshot, dt: float, generator: torch.Generator) -> torch.Tensor:
        """sqrt(2 dt) times the node amplitudes times standard normals, (n, 2 dim + 1)."""
        draw = (2.0 * dt) ** 0.5 * self.friction.noise(snapshot, generator)
        return torch.cat([torch.zeros_like(snapshot.position), draw], dim=1)
