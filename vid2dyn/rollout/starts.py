"""States larger than the data: a box of data set beside itself, or particles put onto a grid at a density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.paths import fluid_paths
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout


def replicated(frame: FluidFrame, times: Sequence[int], seed: int = 0) -> FluidFrame:
    """A state set beside itself in a periodic box; velocities change places among all particles of a species.

    Copies would move alike for ever: with velocities that have changed places they part within a collision, at the same
    temperature and the same momentum.

    Parameters
    ----------
    times : sequence of int
        How many copies along each axis (y, x[, z]).
    seed : int

    Raises
    ------
    ConfigError
        Where the box is not periodic.

    Examples
    --------
    >>> small = FluidFrame(np.zeros((1, 2)), np.ones((1, 2)), np.zeros(1), Periodic((2.0, 3.0)))
    >>> large = replicated(small, (1, 2))
    >>> large.position.tolist(), large.box.lengths
    ([[0.0, 0.0], [0.0, 3.0]], (2.0, 6.0))
    """
    if not isinstance(frame.box, Periodic):
        raise ConfigError(f"Only a periodic box can be set beside itself, not {frame.box!r}.")
    if len(times) != len(frame.box.lengths) or any(int(k) != k or k < 1 for k in times):
        raise ConfigError(f"replicate = {tuple(times)}: give a whole number of copies for each of the "
                          f"{len(frame.box.lengths)} axes.")
    edge = np.array(frame.box.lengths)
    inside = frame.box.wrap(frame.position)
    shifts = np.array(list(np.ndindex(*(int(k) for k in times))), dtype=float) * edge
    copies = len(shifts)
    position = (inside[None] + shifts[:, None]).reshape(-1, len(edge))
    velocity, entropy = np.tile(frame.velocity, (copies, 1)), np.tile(frame.entropy, copies)
    species = None if frame.species is None else np.tile(frame.species, copies)
    rng = np.random.default_rng(seed)
    for kind in range(1 if species is None else int(species.max()) + 1):
        rows = np.arange(len(position)) if species is None else np.flatnonzero(species == kind)
        velocity[rows] = velocity[rng.permutation(rows)]
    return FluidFrame(position, velocity, entropy, Periodic(tuple(edge * np.array(times))), species=species)


def relaxing(frozen: FrozenFluid, settings: FluidRollout) -> FluidRollout:
    """Settings under which a start comes to rest: a bath at the temperature of the model takes what a start from a grid
    sets free, within 25 time steps. A fluid with entropy keeps its energy and needs none.
    """
    if frozen.temperature is None:
        return settings
    return replace(settings, bath_friction=float(frozen.masses.mean()) / (25.0 * settings.dt),
                   bath_temperature=float(frozen.temperature))


def relaxed(frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, *, steps: int = 300,
            seed: int = 0) -> FluidFrame:
    """A start after some steps of `relaxing`, without momentum; for boxes that one process can move in a moment."""
    last = fluid_paths(frozen, start, relaxing(frozen, settings), steps=steps, every=steps, seed=seed).last
    return at_rest(frozen, last)


def at_rest(frozen: FrozenFluid, state: FluidFrame) -> FluidFrame:
    """The same state, counted from step 0, without the momentum that a bath has given it."""
    mass = frozen.masses[np.zeros(len(state.position), int) if state.species is None else state.species][:, None]
    velocity = state.velocity - (mass * state.velocity).sum(axis=0) / mass.sum()
    return replace(state, position=state.box.wrap(state.position), velocity=velocity, step=0)


def seeded(particles: int, lengths: Sequence[float], kT: float, mass: Sequence[float] | np.ndarray, *,
           species: np.ndarray | None = None, seed: int = 0) -> FluidFrame:
    """Particles on a shaken grid that fills a periodic box, with velocities of a temperature and no momentum.

    Parameters
    ----------
    particles : int
    lengths : sequence of float
        Edges of the box (y, x[, z]) [µm].
    kT : float
        [energy]
    mass : sequence of float
        Of each species.
    species : (particles,) int array, optional
    seed : int

    Examples
    --------
    >>> state = seeded(1000, (10.0, 10.0, 10.0), kT=1.0, mass=[2.0])
    >>> state.position.shape, bool(abs(state.velocity.sum()) < 1e-9)
    ((1000, 3), True)
    """
    rng = np.random.default_rng(seed)
    edge = np.asarray(lengths, float)
    dim = len(edge)
    spacing = (float(edge.prod()) / particles) ** (1.0 / dim)
    count = np.maximum(1, np.round(edge / spacing)).astype(int)
    while int(count.prod()) < particles:
        count[np.argmax(edge / count)] += 1
    places = np.sort(rng.permutation(int(count.prod()))[:particles])
    grid = np.stack(np.unravel_index(places, tuple(count)), axis=1)
    position = (grid + 0.5 + 0.1 * rng.uniform(-1, 1, (particles, dim))) / count * edge
    kinds = np.zeros(particles, np.int64) if species is None else species
    weight = np.asarray(mass, float)[kinds][:, None]
    velocity = rng.standard_normal((particles, dim)) * np.sqrt(kT / weight)
    velocity -= (weight * velocity).sum(axis=0) / weight.sum()
    if particles > 1:
        velocity *= math.sqrt(dim * (particles - 1) * kT / float((weight * velocity**2).sum()))
    return FluidFrame(position, velocity, np.zeros(particles), Periodic(tuple(edge)), species=species)
