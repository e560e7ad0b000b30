"""A list of pairs with a skin, renewed before a particle could have come in from beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vid2dyn.core.errors import ModelError
from vid2dyn.data.box import Box
from vid2dyn.dynamics.fluid.sdpd import Pairs
from vid2dyn.dynamics.snapshot import neighbour_pairs


@dataclass(frozen=True)
class PairList:
    """Pairs (p, 2) nearer than cutoff + skin at the positions `listed` (n, dim)."""

    pairs: torch.Tensor
    listed: torch.Tensor
    cutoff: float
    skin: float

    @classmethod
    def of(cls, position: torch.Tensor, cutoff: float, box: Box, *, reach: float = 0.0) -> PairList:
        """A new list with a skin of 15 % of the cutoff or more: twice the distance `reach` any particle may go.

        In a periodic box the skin ends where cutoff + skin is half the shortest edge.
        """
        skin = max(0.15 * cutoff, 2.0 * reach)
        if box.lengths is not None:
            skin = max(0.0, min(skin, 0.5 * min(box.lengths) - cutoff))
        pairs = neighbour_pairs(position.detach().cpu().numpy(), cutoff + skin, box)
        return cls(torch.as_tensor(pairs, device=position.device), position, cutoff, skin)

    def covers(self, position: torch.Tensor, *, reach: float = 0.0) -> bool:
        """Whether every pair within the cutoff is in the list, also after a further distance `reach` of each."""
        moved = (position - self.listed).square().sum(1).max().sqrt() if len(position) else 0.0
        return bool(2.0 * (float(moved) + reach) < self.skin)

    def separation(self, position: torch.Tensor, box: Box) -> torch.Tensor:
        """(p, dim) vectors from the second to the first particle of every listed pair."""
        first, second = self.pairs.unbind(1)
        return box.displacement(position[first], position[second])

    def near(self, position: torch.Tensor, box: Box) -> Pairs:
        """Geometry of the pairs within the cutoff.

        Raises
        ------
        ModelError
            When two particles are in one place.
        """
        separation = self.separation(position, box)
        square = (separation * separation).sum(1)
        rows = torch.nonzero(square < self.cutoff**2)[:, 0]
        r = square[rows].sqrt()
        first, second = self.pairs[rows].unbind(1)
        if len(r) and not float(r.min()) > 1e-12 * self.cutoff:
            p = int(torch.argmin(r))
            raise ModelError(f"particles {int(first[p])} and {int(second[p])} are in one place; their line of centres "
                             "has no direction. Start from a state in which particles do not overlap.")
        return Pairs(first, second, r, separation[rows] / r[:, None])
