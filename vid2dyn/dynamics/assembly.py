"""A list of terms with its numbers as one thing: dynamics in torch, tables for the compiled rollout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vid2dyn.dynamics.base import Potential
from vid2dyn.dynamics.bracket import Bracket, Canonical
from vid2dyn.dynamics.fluid.friction import TotalEntropy
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.frozen_parts import ExternalTable, FrozenMemory, HarmonicTraps
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import Energy, Friction, Tables
from vid2dyn.dynamics.terms.friction import Sum

ROWS = 2049
"""Rows of the radial tables: cubic pieces of a 2000th of the range, errors below 1e-8 of the function."""


def freeze(terms: Sequence[Energy | Friction], numbers: Sequence[np.ndarray], *, kT: float,
           mass: Sequence[float] | np.ndarray, dim: int, fallback: float = 1.0, reach: float = 0.0) -> FrozenFluid:
    """Tables of settled terms at one temperature.

    Parameters
    ----------
    terms, numbers : sequences
        Terms and the parameters of each.
    kT : float
        [energy]
    mass : sequence of float
        Of each species.
    dim : int
    fallback : float
        Range of the neighbour lists where no term joins pairs [µm].
    reach : float
        Least range of the tables [µm].
    """
    cutoff = max(max((term.reach for term in terms), default=0.0), reach) or fallback
    species = len(mass)
    tables = Tables(np.linspace(0.0, cutoff, ROWS), species * (species + 1) // 2, species, dim)
    for term, theta in zip(terms, numbers, strict=True):
        term.freeze(theta, tables)
    for table in (tables.pair_energy, tables.pair_friction):
        table[:, -1] = 0.0
    tables.pair_friction[..., ::2] = np.maximum(tables.pair_friction[..., ::2], 0.0)
    others = dict(tables.others)
    for name, kind in (("external", ExternalTable), ("traps", HarmonicTraps)):
        if name in others:
            others[name] = kind(**others[name])
    return FrozenFluid(
        dim, float(mass[0]) if species == 1 else tuple(float(m) for m in mass), cutoff, temperature=kT, species=species,
        pair_energy=tables.pair_energy if tables.pair_energy.any() else None,
        pair_friction=tables.pair_friction if tables.pair_friction.any() else None,
        drag=tables.drag if tables.drag.any() else None,
        memory=tuple(FrozenMemory(tau, table) for tau, table in tables.memory), **others)


class _HeatBath(Potential):
    """E = sum of the energies + kinetic energy + kT S: one temperature, entropy keeps the account of heat."""

    def __init__(self, potentials: Sequence[Potential], mass: np.ndarray, kT: float) -> None:
        self.potentials, self.mass, self.kT = potentials, mass, kT

    def energy(self, snapshot: Snapshot) -> torch.Tensor:
        v = snapshot.column("velocity")
        of = torch.zeros(len(v), dtype=torch.long) if snapshot.species is None else snapshot.species
        mass = torch.as_tensor(self.mass, dtype=v.dtype)[of]
        total = 0.5 * (mass[:, None] * v * v).sum() + self.kT * snapshot.column("entropy").sum()
        for potential in self.potentials:
            total = total + potential.energy(snapshot)
        return total


def bracket(energies: Sequence[tuple[Energy, np.ndarray]], frictions: Sequence[tuple[Friction, np.ndarray]], *,
            kT: float, mass: float) -> Bracket:
    """The metriplectic dynamics of terms with their numbers: what the compiled rollout is tested against."""
    potentials = [term.potential(theta) for term, theta in energies]
    friction = Sum(*(term.matrix(theta, mass, kT) for term, theta in frictions))
    friction.columns = ("velocity", "entropy")
    energy = _HeatBath(potentials, np.atleast_1d(np.asarray(mass, float)), kT)
    return Bracket(energy, TotalEntropy(), Canonical(mass), friction)
