"""A fluid whose every function is known, as tables: for examples, tests and benchmarks of the compiled rollout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.frozen_parts import ExternalTable, FrozenMemory, HarmonicTraps


@dataclass(frozen=True)
class IdealGasTables:
    """U = c T0 (V0/V)^(atoms/c) exp(S/c), a quintic kernel, and coefficients amplitude (1 - r/cutoff)².

    Parameters
    ----------
    dim : int
    cutoff, mass, heat_capacity, atoms, volume, temperature : float
        Constants of the gas; volume is V0.
    shear, bulk, heat : float
        A², B², C² at r = 0; with `power` 1 at temperature 1 and volume V0.
    power : int
        Of temperature and volume in the coefficients, 0 or 1.
    rows, nodes : int
        Lengths of the radial tables and of both axes of the equation of state.
    entropy_span, volume_span : float
        Half ranges of the table: of S/c around 0 and of ln V around ln V0.
    """

    dim: int = 3
    cutoff: float = 0.2
    mass: float = 1.0
    heat_capacity: float = 30.0
    atoms: float = 20.0
    volume: float = 1 / 500
    temperature: float = 1.0
    shear: float = 40.0
    bulk: float = 20.0
    heat: float = 4000.0
    power: int = 0
    rows: int = 1025
    nodes: int = 161
    entropy_span: float = 1.5
    volume_span: float = 2.5

    def freeze(self) -> FrozenFluid:
        """The tables."""
        cutoff, c = self.cutoff, self.heat_capacity
        r = np.linspace(0.0, cutoff, self.rows)
        s, one = r / cutoff, 1.0 - r / cutoff
        norm = {2: 7.0 / (math.pi * cutoff**2), 3: 21.0 / (2.0 * math.pi * cutoff**3)}[self.dim]
        kernel = norm * np.stack([one**4 * (1.0 + 4.0 * s), -20.0 * s * one**3 / cutoff], axis=1)
        shape = np.stack([one**2, -2.0 * one / cutoff], axis=1) / self.volume ** (2 * self.power)
        S = np.linspace(-self.entropy_span, self.entropy_span, self.nodes) * c
        x0 = math.log(self.volume)
        x = np.linspace(x0 - self.volume_span, x0 + self.volume_span, self.nodes)
        bend = self.atoms / c
        U = c * self.temperature * np.exp(S[:, None] / c - bend * (x - x0))
        eos = np.stack([U, U / c, -bend * U, -bend / c * U], axis=-1)
        return FrozenFluid(self.dim, self.mass, cutoff, kernel, self.shear * shape, self.bulk * shape,
                           self.heat * shape, self.power, self.power, (S[0], S[-1]), (x[0], x[-1]), eos)


def ideal_gas(dim: int = 3, **constants: Any) -> FrozenFluid:
    """`IdealGasTables` with some constants changed, as tables."""
    return IdealGasTables(dim, **constants).freeze()


def lattice(n: int, dim: int = 3, *, volume: float = 1 / 500, kT_per_mass: float = 1.0,
            seed: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """(positions, velocities, edge): n particles on a shaken square or cubic grid, at rest as a whole."""
    rng = np.random.default_rng(seed)
    side, edge = math.ceil(round(n ** (1 / dim), 9)), (n * volume) ** (1 / dim)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)[:n]
    x = (grid + 0.5 + 0.1 * rng.standard_normal((n, dim))) / side * edge
    v = math.sqrt(kT_per_mass) * rng.standard_normal((n, dim))
    return x, v - v.mean(axis=0), edge


@dataclass(frozen=True)
class SoftParticleTables:
    """Soft spheres at one temperature (dissipative particle dynamics): φ = a (c - r)²/2c, γ_along = gamma (1 - r/c)².

    Groot & Warren, J. Chem. Phys. 107, 4423 (1997), with a part of the friction across the line of centres and more
    species: with several numbers of `repulsion` there is one for each kind of pair (`pair_kind`).

    Parameters
    ----------
    dim : int
    cutoff, temperature : float
        c and T.
    mass : tuple of floats
        Of each species.
    repulsion : tuple of floats
        a of each kind of pair.
    friction, across : float
        gamma, and the friction across the line of centres at r = 0.
    rows : int
        Length of the tables.
    """

    dim: int = 3
    cutoff: float = 1.0
    temperature: float = 1.0
    mass: tuple[float, ...] = (1.0,)
    repulsion: tuple[float, ...] = (25.0,)
    friction: float = 4.5
    across: float = 0.0
    rows: int = 513

    def freeze(self, **parts: Any) -> FrozenFluid:
        """The tables, with more parts of `FrozenFluid` if wanted."""
        c = self.cutoff
        r = np.linspace(0.0, c, self.rows)
        one = 1.0 - r / c
        a = np.array(self.repulsion)[:, None, None]
        energy = a * np.stack([0.5 * c * one**2, -one], axis=1)
        weight = np.stack([one**2, -2.0 * one / c], axis=1)
        friction = np.concatenate([self.across * weight, self.friction * weight], axis=1)
        return FrozenFluid(self.dim, self.mass if len(self.mass) > 1 else self.mass[0], c,
                           **{"temperature": self.temperature, "species": len(self.mass), "pair_energy": energy,
                              "pair_friction": np.broadcast_to(friction, (len(a), *friction.shape)), **parts})

    def memory(self, tau: float, strength: float, across: float = 0.3) -> FrozenMemory:
        """One mode of pair memory with g_along = strength (1 - r/c)², g_across that share of it, for every kind."""
        r = np.linspace(0.0, self.cutoff, self.rows)
        one = 1.0 - r / self.cutoff
        g = np.stack([across * one**2, -2.0 * across * one / self.cutoff, one**2, -2.0 * one / self.cutoff], axis=1)
        return FrozenMemory(tau, np.broadcast_to(strength * g, (len(self.repulsion), *g.shape)))

    def everything(self, edge: float, *, single: bool = True, seed: int = 0) -> FrozenFluid:
        """All parts at once: energy of pairs and of density, two frictions, conduction, memory in two modes.

        With `single` also what acts on particles one by one and keeps energy: traps and an external potential of period
        `edge` on two axes.
        """
        c = self.cutoff
        one = 1.0 - np.linspace(0.0, c, self.rows) / c
        kernel = {2: 6.0, 3: 15.0}[self.dim] / (math.pi * c**self.dim) * np.stack([one**2, -2.0 * one / c], axis=1)
        weight = np.stack([one**2, -2.0 * one / c], axis=1)
        d = np.linspace(kernel[0, 0], 4.0 * kernel[0, 0], 129)
        energy = 0.05 / kernel[0, 0] * np.stack([d**2, 2.0 * d], axis=1)
        values = self.temperature * np.random.default_rng(seed).standard_normal((6, 5))
        parts: dict[str, Any] = {
            "kernel": kernel, "shear": 0.8 * weight, "bulk": 0.5 * weight, "heat": 3.0 * weight, "temperature_power": 1,
            "density_energy": energy, "density_range": (d[0], d[-1]),
            "memory": (self.memory(0.05, 8.0), self.memory(0.4, -2.0, across=-0.5))}
        if single:
            parts["external"] = ExternalTable(values, (0.3, -0.2), (edge / 6, edge / 5), (1, 0), (True, True))
            parts["traps"] = HarmonicTraps(0.5, np.full(self.dim, 0.5 * edge))
        return self.freeze(**parts)
