"""Snapshot: nodes joined by pairs, the state that every model acts on.

One snapshot may hold many independent systems (replicas, the frames of a movie): `group` numbers
them, and pairs join only nodes of one group. Arrays are torch tensors; `neighbour_pairs` is plain numpy.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.neighbours import close_pairs_in_groups
from vid2dyn.data.box import Box, Free, LeesEdwards


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
    positions = np.ascontiguousarray(positions, dtype=float)
    if len(positions) < 2:
        return np.empty((0, 2), dtype=np.int64)
    edge = np.zeros(positions.shape[1])
    if box.lengths is not None:
        edge = np.asarray(box.lengths, dtype=float)
        if cutoff > 0.5 * edge.min():
            raise ConfigError(f"cutoff = {cutoff:g} µm is more than half of the box edge {edge.min():g} µm; a particle "
                              "would meet its own image. Choose a smaller cutoff or a larger box.")
    if isinstance(box, LeesEdwards):
        return _sheared_pairs(positions, cutoff, box, group)
    if group is None:
        return close_pairs_in_groups(positions, np.array([0, len(positions)]), edge, float(cutoff))
    order = np.argsort(group, kind="stable")
    _, start = np.unique(np.asarray(group)[order], return_index=True)
    pairs = close_pairs_in_groups(positions[order], np.append(start, len(order)), edge, float(cutoff))
    return np.sort(order[pairs], axis=1)


def _sheared_pairs(positions: np.ndarray, cutoff: float, box: LeesEdwards, group: np.ndarray | None) -> np.ndarray:
    """Pairs under sliding images: searched in the coordinates that shear with the images, where these are straight.

    There x' = x - tilt · y with |tilt| <= L_x/(2 L_y), which stretches distances by at most the larger singular value
    of that map; what is too far in truth is dropped.
    """
    slide = box.offset - box.lengths[1] * round(box.offset / box.lengths[1])
    tilt = slide / box.lengths[0]
    straight = positions.copy()
    straight[:, 1] -= tilt * positions[:, 0]
    stretch = 0.5 * (abs(tilt) + math.sqrt(tilt * tilt + 4.0))
    reach = stretch * cutoff * (1 + 1e-12)
    edge = np.asarray(box.lengths, dtype=float)
    label = np.zeros(len(positions), np.int64) if group is None else np.asarray(group)
    order = np.argsort(label, kind="stable")
    _, start = np.unique(label[order], return_index=True)
    pairs = close_pairs_in_groups(straight[order], np.append(start, len(order)), edge, reach)
    pairs = np.sort(order[pairs], axis=1)
    apart = box.displacement(positions[pairs[:, 0]], positions[pairs[:, 1]])
    return pairs[(apart**2).sum(axis=1) < cutoff * cutoff]


@dataclass(frozen=True)
class Snapshot:
    """Nodes with positions, and velocities and entropies where a model has them, joined by pairs.

    Parameters
    ----------
    position : (n, dim) tensor
        [µm].
    pairs : (p, 2) int tensor
        Each interacting pair once.
    box : Box
        Space.
    index : (n,) int tensor or None
        Which particle a node is, where particles differ (one trap each) or their noise is keyed on it; None: all alike.
    velocity : (n, dim) tensor or None
        [µm/s]; in a sheared box those of unwrapped positions.
    entropy : (n,) tensor or None
        [kB].
    structure : (n,) tensor or None
        A structural variable, such as a column that `vd.encode` read off the images.
    species : (n,) int tensor or None
        Number of the species of each node; None: all alike.
    reference : (n, dim) tensor or None
        Positions in the reference frame of a solid [µm], where its bonds have their own lengths.
    bonds : (b, 2) int tensor or None
        Pairs that were neighbours in the reference frame, each once.

    >>> snapshot = Snapshot.of(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), cutoff=2.0)
    >>> snapshot.distance().tolist()
    [1.0]
    """

    position: torch.Tensor
    pairs: torch.Tensor
    box: Box
    index: torch.Tensor | None = None
    velocity: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    structure: torch.Tensor | None = None
    species: torch.Tensor | None = None
    reference: torch.Tensor | None = None
    bonds: torch.Tensor | None = None

    @classmethod
    def of(cls, position: torch.Tensor, cutoff: float | None, box: Box | None = None,
           group: np.ndarray | None = None, index: torch.Tensor | None = None,
           velocity: torch.Tensor | None = None, entropy: torch.Tensor | None = None,
           structure: torch.Tensor | None = None, species: torch.Tensor | None = None) -> Snapshot:
        """Snapshot with the pairs closer than `cutoff` (None: no pairs)."""
        box = box or Free()
        if cutoff is None:
            pairs = np.empty((0, 2), dtype=np.int64)
        else:
            pairs = neighbour_pairs(position.detach().cpu().numpy(), cutoff, box, group)
        return cls(position, torch.as_tensor(pairs, device=position.device), box, index, velocity, entropy, structure,
                   species)

    def with_reference(self, reference: torch.Tensor, reach: float) -> Snapshot:
        """The same nodes as a solid: with reference positions (n, dim) and bonds between those closer than `reach`
        there [µm]."""
        pairs = neighbour_pairs(reference.detach().cpu().numpy(), reach, self.box)
        return dataclasses.replace(self, reference=reference,
                                   bonds=torch.as_tensor(pairs, device=self.position.device))

    def bond_vectors(self) -> torch.Tensor:
        """(b, dim) vectors from the second to the first node of each bond [µm]."""
        first, second = self.column("bonds").unbind(1)
        return self.box.displacement(self.position[first], self.position[second])

    def reference_vectors(self) -> torch.Tensor:
        """(b, dim) the same vectors in the reference frame [µm]."""
        first, second = self.column("bonds").unbind(1)
        reference = self.column("reference")
        return self.box.displacement(reference[first], reference[second])

    def separation(self) -> torch.Tensor:
        """(p, dim) vectors from the second to the first node of each pair [µm]."""
        first, second = self.pairs.unbind(1)
        return self.box.displacement(self.position[first], self.position[second])

    def distance(self) -> torch.Tensor:
        """(p,) distances [µm]."""
        return torch.linalg.vector_norm(self.separation(), dim=1)

    def relative_velocity(self) -> torch.Tensor:
        """(p, dim) velocities of the first node of each pair relative to the second [µm/s]."""
        x, v = self.position, self.column("velocity")
        first, second = self.pairs.unbind(1)
        return self.box.relative_velocity(x[first], x[second], v[first], v[second])

    def at(self, position: torch.Tensor) -> Snapshot:
        """The same nodes and pairs at other positions (to differentiate with respect to them)."""
        return dataclasses.replace(self, position=position)

    def column(self, name: str) -> torch.Tensor:
        """"position", "velocity", "entropy", "structure", "reference" or "bonds" as a tensor.

        Raises
        ------
        ModelError
            When this snapshot has no such column.
        """
        value = getattr(self, name)
        if value is None and name in ("reference", "bonds"):
            raise ModelError("The model is one of a solid and needs reference positions, which this snapshot has not; "
                             "give Snapshot.of(...).with_reference(reference, reach).")
        if value is None:
            raise ModelError(f"The model needs the {name} of every particle, and this snapshot has none; give "
                             f"Snapshot.of(..., {name}=...).")
        return value

    def state(self, columns: tuple[str, ...]) -> torch.Tensor:
        """The named columns side by side, (n, c)."""
        return torch.cat([self.column(name).reshape(len(self.position), -1) for name in columns], dim=1)

    def with_state(self, columns: tuple[str, ...], values: torch.Tensor) -> Snapshot:
        """The same nodes and pairs with the named columns taken from `values` (n, c)."""
        widths = [self.column(name)[0:1].numel() if len(self.position) else 0 for name in columns]
        parts = torch.split(values, widths, dim=1)
        shaped = {name: part.reshape(self.column(name).shape) for name, part in zip(columns, parts)}
        return dataclasses.replace(self, **shaped)  # type: ignore[arg-type]
