"""Snapshot: nodes joined by pairs, the state that every model acts on.

One snapshot may hold many independent systems (replicas, the frames of a movie): `group` numbers
them, and pairs join only nodes of one group. Arrays are torch tensors; `neighbour_pairs` is plain numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.box import Box, Free
from vid2dyn.errors import ConfigError
from vid2dyn.neighbours import close_pairs_in_groups


def neighbour_pairs(positions: np.ndarray, cutoff: float, box: Box, group: np.ndarray | None = None) -> np.ndarray:
    """All pairs i < j closer than `cutoff`, each once; cost linear in the number of nodes.

    Parameters
    ----------
    positions : (n, dim) array
        [µm]; periodic boxes wrap them.
    cutoff : float
        [µm]; at most half of the smallest periodic edge, so that a pair has one nearest image.
    group : (n,) int array, optional
        Nodes of different groups never pair.

    Returns
    -------
    (pairs, 2) int array, the smaller number first.

    >>> neighbour_pairs(np.array([[0.0, 0.0], [9.9, 0.0], [5.0, 5.0]]), 1.0, Free()).tolist()
    []
    """
    positions = np.asarray(positions, dtype=float)
    if len(positions) < 2:
        return np.empty((0, 2), dtype=np.int64)
    edge = np.zeros(positions.shape[1])
    if box.lengths is not None:
        edge = np.asarray(box.lengths, dtype=float)
        if cutoff > 0.5 * edge.min():
            raise ConfigError(f"cutoff = {cutoff:g} µm is more than half of the box edge {edge.min():g} µm; a particle "
                              "would meet its own image. Choose a smaller cutoff or a larger box.")
    if group is None:
        return close_pairs_in_groups(np.ascontiguousarray(positions), np.array([0, len(positions)]), edge, cutoff)
    order = np.argsort(group, kind="stable")
    _, start = np.unique(np.asarray(group)[order], return_index=True)
    pairs = close_pairs_in_groups(positions[order], np.append(start, len(order)), edge, cutoff)
    return np.sort(order[pairs], axis=1)


@dataclass(frozen=True)
class Snapshot:
    """Nodes with positions, joined by pairs.

    Parameters
    ----------
    position : (n, dim) tensor
        [µm].
    pairs : (p, 2) int tensor
        Each interacting pair once.
    box : Box
        Space.
    index : (n,) int tensor or None
        Which particle a node is, where particles differ (one trap each); None: all alike.

    >>> snapshot = Snapshot.of(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), cutoff=2.0)
    >>> snapshot.distance().tolist()
    [1.0]
    """

    position: torch.Tensor
    pairs: torch.Tensor
    box: Box
    index: torch.Tensor | None = None

    @classmethod
    def of(cls, position: torch.Tensor, cutoff: float | None, box: Box | None = None,
           group: np.ndarray | None = None, index: torch.Tensor | None = None) -> Snapshot:
        """Snapshot with the pairs closer than `cutoff` (None: no pairs)."""
        box = box or Free()
        if cutoff is None:
            pairs = np.empty((0, 2), dtype=np.int64)
        else:
            pairs = neighbour_pairs(position.detach().cpu().numpy(), cutoff, box, group)
        return cls(position, torch.as_tensor(pairs, device=position.device), box, index)

    def separation(self) -> torch.Tensor:
        """(p, dim) vectors from the second to the first node of each pair [µm]."""
        first, second = self.pairs.unbind(1)
        return self.box.displacement(self.position[first], self.position[second])

    def distance(self) -> torch.Tensor:
        """(p,) distances [µm]."""
        return torch.linalg.vector_norm(self.separation(), dim=1)

    def at(self, position: torch.Tensor) -> Snapshot:
        """The same nodes and pairs at other positions (to differentiate with respect to them)."""
        return Snapshot(position, self.pairs, self.box, self.index)
