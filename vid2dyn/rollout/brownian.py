"""Rollout: a model run forward in time.

`integrate` steps any `Dynamics` (torch, Euler-Maruyama): the plain statement of the equation, and the test
of the fast path. `brownian_paths` is that fast path: radial force from a table, neighbour list from cells, compiled,
replicas over threads; every replica has its own generator, so the number of threads changes nothing.

The compiled step is the stochastic Heun method, order 2 weak for additive noise (Kloeden & Platen 1992, §15.1):

    x* = x + D h F(x) + sqrt(2 D h) ξ,      x' = x + D h [F(x) + F(x*)]/2 + sqrt(2 D h) ξ

Both moves and stationary averages are then right to second order in h. (Leimkuhler & Matthews' cheaper step has the
same stationary order, but its noise (ξ + ξ')/2 is correlated from step to step and shows as blur at the frame rate.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import torch

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.core.errors import ModelError
from vid2dyn.core.neighbours import close_pairs, displace
from vid2dyn.data.box import Box
from vid2dyn.dynamics.base import Dynamics
from vid2dyn.dynamics.brownian import pair_kinds, species_count
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential

TABLE = 4096
"""Entries of the force table; linear interpolation is then exact to 1e-6 of the largest force."""


def integrate(dynamics: Dynamics, position: torch.Tensor, *, box: Box, cutoff: float | None, dt: float, steps: int,
              generator: torch.Generator) -> torch.Tensor:
    """Euler-Maruyama steps of any first-order dynamics: positions (steps + 1, n, dim) [µm].

    Order 1/2 strong, 1 weak (Kloeden & Platen 1992, §10.2). Not wrapped into the box.
    """
    positions = [position]
    for _ in range(steps):
        snapshot = Snapshot.of(positions[-1], cutoff, box, index=torch.arange(len(position)))
        positions.append(positions[-1] + dynamics.drift(snapshot) * dt + dynamics.noise(snapshot, dt, generator))
    return torch.stack(positions)


@dataclass(frozen=True)
class FrozenBrownian:
    """Brownian dynamics reduced to numbers a compiled loop can use.

    Parameters
    ----------
    diffusion : float or (n,) array
        Of all particles, or of each [µm²/s].
    force : (TABLE + 1,) or (pairs of species, TABLE + 1) array
        Pair force [kT/µm] at r = 0 ... cutoff, evenly spaced; of a mixture in the order of `species_pairs`.
    cutoff : float
        [µm]; 0: no pairs.
    stiffness : float
        Of the traps [kT/µm²]; 0: none.
    centre : (n, dim) array
        Trap centres [µm], one row a particle.
    species : (n,) int array, optional
        Number of the species of each particle; None: all alike.
    """

    diffusion: float | np.ndarray
    force: np.ndarray
    cutoff: float
    stiffness: float
    centre: np.ndarray
    species: np.ndarray | None = None

    @classmethod
    def freeze(cls, diffusion: float, pair: PairPotential | None, trap: HarmonicTrap | None, n: int,
               dim: int) -> FrozenBrownian:
        """Tables for n particles in dim dimensions."""
        cutoff = 0.0 if pair is None else pair.spline.cutoff
        force = np.zeros(2) if pair is None else pair.force(np.linspace(0.0, cutoff, TABLE + 1))
        centre = np.zeros((n, dim)) if trap is None else np.broadcast_to(trap.centre, (n, dim)).copy()
        return cls(diffusion, force, cutoff, 0.0 if trap is None else trap.stiffness, centre)

    @classmethod
    def of_mixture(cls, diffusion: np.ndarray, pairs: Sequence[PairPotential], species: np.ndarray,
                   dim: int) -> FrozenBrownian:
        """Tables for particles of several species.

        Parameters
        ----------
        diffusion : (species,) array
            [µm²/s].
        pairs : sequence of PairPotential
            Of every pair of species, in the order of `species_pairs`; empty: no forces.
        species : (n,) int array
            Number of the species of each particle.
        """
        cutoff = max((pair.spline.cutoff for pair in pairs), default=0.0)
        r = np.linspace(0.0, cutoff, TABLE + 1)
        force = np.stack([pair.force(r) for pair in pairs]) if pairs else np.zeros(2)
        return cls(np.asarray(diffusion, float)[species], force, cutoff, 0.0, np.zeros((len(species), dim)),
                   np.asarray(species, np.int64) if pairs else None)

    def substeps(self, dt: float, exposure: float = 0.0, accuracy: float = 0.15, limit: int = 400) -> int:
        """Steps a frame so that 2 D h (stiffness of one pair) stays under `accuracy`; at least 8 if shutter is open."""
        stiffest = self.stiffness
        if self.cutoff > 0:
            intervals = self.force.shape[-1] - 1
            stiffest = max(stiffest, float(np.abs(np.diff(self.force)).max()) * intervals / self.cutoff)
        needed = math.ceil(2 * float(np.max(self.diffusion)) * dt * stiffest / accuracy)
        return int(min(max(needed, 8 if exposure > 0 else 2), limit))


@dataclass(frozen=True)
class FrameTiming:
    """When frames of a rollout are taken.

    Parameters
    ----------
    dt, exposure : float
        Frame interval and shutter time [s].
    frames, burn : int
        Frames kept, and thrown away before them.
    """

    dt: float
    frames: int
    exposure: float = 0.0
    burn: int = 0


@dataclass(frozen=True)
class SamplePaths:
    """Positions of `brownian_paths`, each (replicas, frames, n, dim) [µm].

    `instant`: where particles are at the start of each frame; `average`: their mean over the exposure
    (equal to `instant` if that is zero); `free`: `average` of particles with the same noise and no forces.
    """

    instant: np.ndarray
    average: np.ndarray
    free: np.ndarray


def brownian_paths(frozen: FrozenBrownian, start: np.ndarray, box: Box, timing: FrameTiming,
                   generators: Sequence[np.random.Generator], *, substeps: int | None = None,
                   threads: int = 2) -> SamplePaths:
    """Run Brownian particles.

    Parameters
    ----------
    start : (n, dim) array
        [µm].
    timing : FrameTiming
    generators : sequence of numpy.random.Generator
        One for each replica (`numpy.random.default_rng(seed).spawn(replicas)`); results do not depend on `threads`.
    substeps : int, optional
        Steps a frame; default: `FrozenBrownian.substeps`.

    Raises
    ------
    ModelError
        If positions stop being finite (names the replica and the remedy).
    """
    start = np.ascontiguousarray(start, dtype=float)
    dt, exposure, frames = timing.dt, timing.exposure, timing.frames
    substeps = substeps or frozen.substeps(dt, exposure)
    edge = np.zeros(start.shape[1]) if box.lengths is None else np.asarray(box.lengths, dtype=float)
    open_steps = 0 if exposure == 0 else max(1, round(exposure / dt * substeps))
    shape = (len(generators), frames, *start.shape)
    out = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    tables = np.atleast_2d(frozen.force)
    species = np.zeros(len(start), np.int64) if frozen.species is None else frozen.species
    forces = RadialForces(tables, float(frozen.cutoff), float(frozen.stiffness), frozen.centre, species,
                          pair_kinds(species_count(len(tables))))
    diffusion = np.broadcast_to(np.asarray(frozen.diffusion, dtype=float), len(start)).copy()
    steps = StepCounts(dt / substeps, substeps, timing.burn, frames, open_steps)

    def run(b: int) -> None:
        _replica(start.copy(), edge, forces, diffusion, steps, generators[b], out[0][b], out[1][b], out[2][b])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(len(generators))))
    broken = np.flatnonzero(~np.isfinite(out[0][:, -1]).all(axis=(1, 2)))
    if broken.size:
        raise ModelError(f"The rollout left the numbers (replica {broken[0]}): forces too stiff for {substeps} steps a "
                         "frame. Ask for more substeps.")
    return SamplePaths(*out)


class RadialForces(NamedTuple):
    """What acts on the particles, as the loop reads it: `FrozenBrownian` without its diffusion."""

    force: np.ndarray
    cutoff: float
    stiffness: float
    centre: np.ndarray
    species: np.ndarray
    kinds: np.ndarray


class StepCounts(NamedTuple):
    """Length of a step [s], steps a frame, frames thrown away and kept, steps of a frame with the shutter open."""

    step: float
    substeps: int
    burn: int
    frames: int
    open_steps: int


@numba.njit(cache=True, error_model="numpy")
def _forces(x, first, second, edge, forces, e, f):  # type: ignore[no-untyped-def]
    """f = force on every particle [kT/µm] from listed pairs and traps; e is scratch."""
    tables, cutoff, stiffness, centre, species, kinds = forces
    n, dim = x.shape
    for i in range(n):
        for c in range(dim):
            f[i, c] = -stiffness * (x[i, c] - centre[i, c])
    if cutoff <= 0.0:
        return
    per_length = (tables.shape[1] - 1) / cutoff
    mixed = tables.shape[0] > 1
    flat = dim == 2                             # the everyday case, spelt out: half the time of the loop over axes
    for p in range(len(first)):
        i, j = first[p], second[p]
        e0, e1 = 0.0, 0.0
        if flat:
            e0, e1 = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1]
            if edge[0] > 0.0:
                e0 -= edge[0] * math.floor(e0 / edge[0] + 0.5)
            if edge[1] > 0.0:
                e1 -= edge[1] * math.floor(e1 / edge[1] + 0.5)
            r2 = e0 * e0 + e1 * e1
        else:
            r2 = displace(x, i, j, edge, e)
        if r2 >= cutoff * cutoff:
            continue
        r = math.sqrt(r2)
        u = r * per_length
        a = int(u)
        kind = kinds[species[i], species[j]] if mixed else 0
        fr = (tables[kind, a] + (u - a) * (tables[kind, a + 1] - tables[kind, a])) / max(r, 1e-12)
        if flat:
            f[i, 0] += fr * e0
            f[i, 1] += fr * e1
            f[j, 0] -= fr * e0
            f[j, 1] -= fr * e1
        else:
            for c in range(dim):
                f[i, c] += fr * e[c]
                f[j, c] -= fr * e[c]


@numba.njit(cache=True, nogil=True)
def _replica(x, edge, forces, diffusion, steps, rng, instant, average, free):  # type: ignore[no-untyped-def]
    """One replica; writes into the three output arrays."""
    n, dim = x.shape
    h, substeps, burn, frames, open_steps = steps
    cutoff = forces.cutoff
    kicks, kick = np.empty(n), 0.0
    for i in range(n):
        kicks[i] = math.sqrt(2.0 * diffusion[i] * h)
        kick = max(kick, kicks[i])
    skin = min(0.3 * cutoff, 0.5) + 12.0 * kick
    e, f, g = np.zeros(dim), np.zeros((n, dim)), np.zeros((n, dim))
    unforced, trial = x.copy(), x.copy()
    listed = x.copy()
    first, second = np.empty(0, np.int64), np.empty(0, np.int64)
    fresh = True
    for step in range((burn + frames) * substeps):
        k, q = step // substeps - burn, step % substeps
        if k >= 0:
            if q == 0:
                copy_rows(x, instant[k])
            if open_steps == 0 and q == 0:
                copy_rows(x, average[k])
                copy_rows(unforced, free[k])
            elif q < open_steps:
                for i in range(n):
                    for c in range(dim):
                        average[k, i, c] += x[i, c] / open_steps
                        free[k, i, c] += unforced[i, c] / open_steps
        if cutoff > 0.0:
            moved = 0.0
            for i in range(n):
                r2 = 0.0
                for c in range(dim):
                    r2 += (x[i, c] - listed[i, c]) ** 2
                moved = max(moved, r2)
            # room for the trial position too, which is one random step ahead
            if fresh or not math.sqrt(moved) < 0.5 * skin - 5.0 * kick:
                first, second = close_pairs(x, edge, cutoff + skin)
                copy_rows(x, listed)
                fresh = False
        _forces(x, first, second, edge, forces, e, f)
        for i in range(n):
            for c in range(dim):
                push = kicks[i] * rng.standard_normal()
                unforced[i, c] += push
                x[i, c] += push
                trial[i, c] = x[i, c] + diffusion[i] * h * f[i, c]
        _forces(trial, first, second, edge, forces, e, g)
        for i in range(n):
            for c in range(dim):
                x[i, c] += 0.5 * diffusion[i] * h * (f[i, c] + g[i, c])
        if not np.isfinite(x[0, 0]):
            instant[:] = np.nan
            return
