"""A time step for a model and a state: what the fastest motion in it allows."""

from __future__ import annotations

import math

import numpy as np

from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid import memory, pairs
from vid2dyn.rollout.fluid.engine import Engine
from vid2dyn.rollout.fluid.paths import SMALL, _engine, _threads
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout

PHASE = 0.25
"""Verlet may turn the fastest vibration by this angle in one step [rad]: its energy is right to PHASE²/16, 0.4 %."""
_TURNS = 30
_TINY = 1e-12


def stable_step(frozen: FrozenFluid, state: FluidFrame) -> float:
    """The longest time step at which Verlet is accurate near this state.

    The smallest of

    - 0.25 over the largest frequency: of all forces at this state (largest eigenvalue of M⁻¹ times their slopes, by
      power iteration), and of two particles that collide with 5 kT;
    - 0.5 over the largest rate of friction (Crank-Nicolson is stable beyond it, but no longer follows the decay);
    - 0.5 over the frequency of the coupling to pair memory, and 0.5 of its shortest time τ;
    - 0.1 cutoffs over the largest speed, or three thermal ones.

    Parameters
    ----------
    frozen : FrozenFluid
    state : FluidFrame
        A typical state, best one of the equilibrium; closest pairs decide.

    Returns
    -------
    float
        In the units of the model; infinite for particles that nothing acts on.

    Examples
    --------
    >>> from vid2dyn.rollout.fluid.paths import _example
    >>> 1e-3 < stable_step(*_example()) < 1e-2
    True
    """
    engine = _engine(frozen, state, FluidRollout(dt=_TINY * frozen.cutoff), 0, 1)
    T = float(engine.state.T.mean())
    with _threads(1 if len(state.position) < SMALL else None):
        frequency = math.sqrt(max(_largest_curvature(engine), _collision_curvature(frozen, engine, T)))
        rate, coupling = _rates(engine)
    speed = np.linalg.norm(engine.v - engine.shear_rate * np.eye(3)[1] * engine.x[:, :1], axis=1)
    fastest = float(np.maximum(speed, 3.0 * np.sqrt(T / engine.mass)).max())
    times = [PHASE / max(frequency, 1e-300), 0.5 / max(rate, 1e-300), 0.5 / max(coupling, 1e-300),
             0.1 * frozen.cutoff / max(fastest, 1e-300), *(0.5 * mode.tau for mode in frozen.memory)]
    return min(times)


def _largest_curvature(engine: Engine) -> float:
    """Largest |eigenvalue| of M⁻¹ ∂²E/∂r², by power iteration on differences of the forces."""
    x, h = engine.x, 1e-5 * engine.frozen.cutoff
    mass = engine.mass[:, None]
    u = np.zeros_like(x)
    u[:, :engine.dim] = np.random.default_rng(0).standard_normal((len(x), engine.dim))
    found = 0.0
    for _ in range(_TURNS):
        # the longest displacement is h: the list still holds, and nobody leaves a table
        u /= np.sqrt((u**2).sum(axis=1).max())
        image = (engine.acceleration(x - h * u) - engine.acceleration(x + h * u)) / (2.0 * h)
        size = float((mass * image**2).sum())
        found = math.sqrt(size / float((mass * u**2).sum()))
        if size == 0.0:
            break
        u = image
    engine.acceleration(x)
    return found


def _collision_curvature(frozen: FrozenFluid, engine: Engine, T: float) -> float:
    """Largest φ''(1/m_a + 1/m_b) outside the distance that a pair reaches with 5 kT, or has already gone below."""
    if frozen.pair_energy is None:
        return 0.0
    lists = engine.near.pairs
    reached = max(5.0 * T, float(pairs.pair_energies(engine.x, engine.species, engine.space, lists,
                                                     engine.tables).max(initial=0.0)))
    largest = 0.0
    for a in range(frozen.species):
        for b in range(a, frozen.species):
            table = frozen.pair_energy[engine.tables.kind[a, b]]
            above = np.flatnonzero(table[:, 0] > reached)
            start = above[-1] if len(above) else 0
            bend = np.diff(table[start:, 1]) * (len(table) - 1) / frozen.cutoff
            masses = 1.0 / frozen.masses[a] + 1.0 / frozen.masses[b]
            largest = max(largest, float(np.abs(bend).max(initial=0.0)) * masses)
    return largest


def _rates(engine: Engine) -> tuple[float, float]:
    """Largest rate of friction, and largest frequency of the coupling to memory (Gershgorin's bound over the pairs)."""
    lists, exchange = engine.near.pairs, engine.on_pairs.exchange
    noise = pairs.StepNoise(1.0, 0.0, 0, 0)
    engine.update_exchange(noise)
    friction = exchange.friction
    drag = np.full(len(engine.x), engine.settings.bath_friction)
    if engine.frozen.drag is not None:
        drag += np.asarray(engine.frozen.drag)[engine.species]
    rate = _most(engine, np.maximum(friction[:, 0], friction[:, 0] + friction[:, 1]), drag)
    if engine.modes is None:
        return rate, 0.0
    unused = np.zeros_like(friction), np.zeros((len(friction), 3))
    together, xi = engine.vectors.together.copy(), engine.vectors.xi.copy()
    memory.take_hold(lists, engine.on_pairs.geometry.e, engine.x, engine.space, engine.species, engine.ids, engine.dim,
                     engine.modes, noise, together, xi, *engine.grip, *unused)
    g = engine.grip.g
    square = np.maximum(g[..., 0] ** 2, (g[..., 0] + g[..., 1]) ** 2).sum(axis=1) * together
    return rate, math.sqrt(_most(engine, square, np.zeros_like(drag)))


def _most(engine: Engine, on_pairs: np.ndarray, on_particles: np.ndarray) -> float:
    """max_i [2 sum_j pair_ij + particle_i]/m_i."""
    lists, n = engine.near.pairs, len(engine.x)
    total = (np.bincount(lists.first, on_pairs, n) + np.bincount(lists.second, on_pairs, n)) * 2.0 + on_particles
    return float((total / engine.mass).max())
