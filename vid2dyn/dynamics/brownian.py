"""Brownian colloids, the everyday case: positions only, solvent friction, kT known.

    dx_i = D F_i dt + sqrt(2 D) dW_i,     F_i = -∇_i [ sum_pairs phi(r_ij) + trap ] / kT

Video of Brownian particles has no usable velocity (its variance is 2D/dt + 2σ²/dt², not kT/m), so the model
is overdamped. `vd.Brownian` is what a user writes; `brownian_dynamics` makes potentials and friction matrix of it.
"""

from __future__ import annotations

import numpy as np
import torch

from vid2dyn.dynamics.base import Overdamped, Potential
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.friction import SolventMobility, StructuredMobility
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential


def species_pairs(count: int) -> list[tuple[int, int]]:
    """The pairs of `count` species, in the order in which everything lists them.

    >>> species_pairs(2), species_pairs(1)
    ([(0, 0), (0, 1), (1, 1)], [(0, 0)])
    """
    return [(a, b) for a in range(count) for b in range(a, count)]


def pair_kinds(count: int) -> np.ndarray:
    """(count, count) place in `species_pairs` of a pair of two species, in either order.

    >>> pair_kinds(2).tolist()
    [[0, 1], [1, 2]]
    """
    kinds = np.zeros((count, count), dtype=np.int64)
    for k, (a, b) in enumerate(species_pairs(count)):
        kinds[a, b] = kinds[b, a] = k
    return kinds


def species_count(pairs: int) -> int:
    """Number of species that have so many pairs.

    >>> [species_count(pairs) for pairs in (0, 1, 3, 6)]
    [0, 1, 2, 3]
    """
    return round((np.sqrt(8 * pairs + 1) - 1) / 2)


class MixturePotential(Potential):
    """Pair potentials of a mixture, one for every pair of species; `structure` of a node is the number of its species.

    Parameters
    ----------
    pairs : tuple of PairPotential
        In the order of `species_pairs`.

    Examples
    --------
    >>> from vid2dyn.dynamics.terms.splines import RadialSpline
    >>> like, unlike = (PairPotential(RadialSpline(0.5, 2.0, 8), c * np.linspace(3, 0, 8)) for c in (1.0, 0.0))
    >>> snapshot = Snapshot.of(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 1.2,
    ...                        structure=torch.tensor([0.0, 0.0, 1.0]))
    >>> energy = MixturePotential((like, unlike, like)).energy(snapshot)
    >>> bool(torch.isclose(energy, torch.tensor(like.value(1.0).item())))
    True
    """

    def __init__(self, pairs: tuple[PairPotential, ...]) -> None:
        self.pairs = pairs

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        species = snapshot.column("structure").long()
        kinds = torch.as_tensor(pair_kinds(species_count(len(self.pairs))))[species[snapshot.pairs[:, 0]],
                                                                                 species[snapshot.pairs[:, 1]]]
        total = snapshot.position.sum() * 0.0
        for k, phi in enumerate(self.pairs):
            some = Snapshot(snapshot.position, snapshot.pairs[kinds == k], snapshot.box)
            total = total + phi.energy(some)
        return total


def brownian_dynamics(diffusion: float | StructuredMobility, pair: PairPotential | MixturePotential | None = None,
             trap: HarmonicTrap | None = None) -> Overdamped:
    """The dynamics of Brownian colloids on the root-first base.

    Parameters
    ----------
    diffusion : float or StructuredMobility
        [µm²/s]; or as a function of a structural variable.
    pair, trap : potentials or None
        [kT].
    """
    potentials: tuple[Potential, ...] = tuple(p for p in (pair, trap) if p is not None)
    friction = diffusion if isinstance(diffusion, StructuredMobility) else SolventMobility(diffusion)
    return Overdamped(potentials, friction)
