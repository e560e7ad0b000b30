"""Compiled rollout of a metriplectic model: tables in, trajectories out, numba threads, no torch.

One loop runs any list of terms: what a model does not have is an empty table (`vid2dyn.dynamics.fluid.frozen`). The
state is positions, velocities and entropies (x, v, S), pairs are those closer than the cutoff. One step of dt:

1. Conservative flow at fixed S, F_i = -sum_j [(P_i/d_i² + P_j/d_j²) W'(r_ij) + φ'(r_ij)] e_ij - ∇Φ(x_i), with pair
   energies φ and potentials Φ of single particles. "verlet": second order, reversible, energy error of order dt².
   "exact": secant discrete gradient, energy to rounding, about three times the cost.
2. Friction and noise at frozen T: (2 m + dt L) v̄ = 2 m v + R by conjugate gradients, Cov R_ij = 2 kB K_ij dt; the
   stationary variance of the velocities is right at every dt. The impulses warm their two particles,
   dU_i = -1/2 sum_j dp_ij · v̄_ij, so energy and momentum are exact whatever the solver's tolerance. Memory of pairs
   is coupled in the same solution (`vid2dyn.rollout.fluid.memory`).
3. Conduction, Crank-Nicolson with an exponential limit: no temperature ever overshoots those of its neighbours.
4. S from U(S, V) by Newton, or S += heat/T at one temperature for all; then the baths of drag, if there are any.

The reference measure is dx dv dS: the stationary density is exp(sum S/kB) at given energy and momentum. The terms of
kB ∇·M that belong to it, from dT/dS = T/c, multiply the 1/T of friction by 1 - kB/c (1 - p T_j/(T_i + T_j)) and that
of conduction by 1 - kB (1 - p)/c, with the heat capacity c and p = `temperature_power` of the tables. Without noise kB
is 0 and they vanish; then no step's entropy production is negative.

The method is that of the torch steps in `vid2dyn.rollout.steps`, with the same noise, so the two agree step by step to
the error of the tables.

Noise is keyed on (seed, step, ids of the pair) and sums follow the ids: the same seed gives the same bits for any
number of threads, any order of the particles, and a run continued from its last state.

Energies, lengths and times are in the units of the tables; kB = 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import LeesEdwards, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.engine import Engine
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout, Held, PairMemory, Wave

__all__ = ["SMALL", "FluidFrame", "FluidRollout", "FluidTrajectories", "Held", "PairMemory", "Wave", "fluid_energy",
           "fluid_frames", "fluid_paths"]

SMALL = 8000
"""Particles below which one thread is used unless more are asked for."""


@dataclass(frozen=True)
class FluidTrajectories:
    """What `fluid_paths` returns: position, velocity (frames, n, dim), entropy (frames, n); first and last state.

    The first frame is the start; `interval` is the time between frames. Particles are in the order of the start.
    """

    position: np.ndarray
    velocity: np.ndarray
    entropy: np.ndarray
    first: FluidFrame
    last: FluidFrame
    interval: float

    def trajectories(self, info: Mapping[str, Any] | None = None) -> Trajectories:
        """The same as a table, lengths in µm and times in s, with velocities and entropies.

        Positions are not wrapped; of a sheared box the strain is that of frame 0.

        >>> paths = fluid_paths(*_example(), FluidRollout(dt=1e-3), steps=2)
        >>> tracks = paths.trajectories()
        >>> len(tracks), round(tracks.units.dt, 9), tracks.velocities.shape
        (192, 0.001, (192, 3))
        """
        units = Units(micrometre_per_pixel=1.0, frames_per_second=1.0 / self.interval)
        return Trajectories.from_dense(self.position, units, velocity=self.velocity, entropy=self.entropy,
                                       box=self.first.box, info=info)


def fluid_frames(frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, *, steps: int, every: int = 1,
                 seed: int = 0, threads: int | None = None, progress: Progress = silent) -> Iterator[FluidFrame]:
    """The states of a rollout, one by one: the start, then after every `every` steps. Memory does not grow.

    Parameters
    ----------
    steps, every : int
        Steps in all and between two states.
    seed : int
        Of the noise, 0 to 2^63 - 1.
    threads : int, optional
        Default: one below `SMALL` particles, where threads spend their time waiting for each other, else as many as
        numba has. The result does not depend on it.

    Raises
    ------
    ConfigError
        Before the first step, for a cutoff over half the box or a state of other dimension than the tables.
    ModelError
        When a state leaves the tables, particles coincide, or dt is too large: with step, particle and remedy.
    """
    if threads is None and len(start.position) < SMALL:
        threads = 1
    engine = _engine(frozen, start, settings, seed, threads)
    yield start
    reported = time.monotonic()
    for done in range(1, steps + 1):
        with _threads(threads):
            engine.step()
        if done == steps or time.monotonic() - reported > 0.1:
            progress(done, steps, "rolling out the fluid")
            reported = time.monotonic()
        if done % every == 0:
            yield _state(engine, start)


def fluid_paths(frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, *, steps: int, every: int = 1,
                seed: int = 0, threads: int | None = None, progress: Progress = silent) -> FluidTrajectories:
    """A rollout as arrays; arguments and errors of `fluid_frames`.

    Memory: 8 (2 dim + 1) bytes a particle and frame. A progress callback that raises stops it at once.

    Examples
    --------
    >>> from vid2dyn.rollout.fluid.paths import _example
    >>> fluid, start = _example()
    >>> paths = fluid_paths(fluid, start, FluidRollout(dt=1e-3), steps=4, every=2, seed=1)
    >>> paths.position.shape, bool(abs(paths.velocity[-1].sum() - start.velocity.sum()) < 1e-12)
    ((3, 64, 3), True)
    """
    frames = 1 + steps // every
    position = np.empty((frames, *start.position.shape))
    velocity, entropy = np.empty_like(position), np.empty(position.shape[:2])
    last = start
    for k, last in enumerate(fluid_frames(frozen, start, settings, steps=steps, every=every, seed=seed,
                                          threads=threads, progress=progress)):
        position[k], velocity[k], entropy[k] = last.position, last.velocity, last.entropy
    return FluidTrajectories(position, velocity, entropy, start, last, every * settings.dt)


def fluid_energy(frozen: FrozenFluid, state: FluidFrame) -> tuple[float, float]:
    """(kinetic, internal) energy of a state, from the tables; internal: all that is not kinetic.

    Of a sheared fluid the kinetic energy is that of laboratory velocities, so it depends on which image each is in.
    """
    return _engine(frozen, state, FluidRollout(dt=1e-12), 0, 1).energy()


def _engine(frozen: FrozenFluid, state: FluidFrame, settings: FluidRollout, seed: int, threads: int | None) -> Engine:
    """Everything checked once, at the door."""
    dim = state.position.shape[1]
    if dim != frozen.dim:
        raise ConfigError(f"The state has {dim} dimensions and the frozen fluid {frozen.dim}.")
    _check_one_body(frozen, state)
    if state.box.lengths is not None:
        if len(state.box.lengths) != dim:
            raise ConfigError(f"The box has {len(state.box.lengths)} axes and the state {dim}.")
        if isinstance(state.box, LeesEdwards) and frozen.cutoff > 0.45 * (1 + 1e-9) * min(state.box.lengths):
            raise ConfigError(f"cutoff = {frozen.cutoff:g} is more than 0.45 of the edge {min(state.box.lengths):g} of "
                              "a sheared box; its neighbour lists need room. Choose a larger box or a shorter cutoff.")
        if frozen.cutoff > 0.5 * min(state.box.lengths):
            raise ConfigError(f"cutoff = {frozen.cutoff:g} is more than half of the box edge {min(state.box.lengths):g}"
                              "; a particle would meet its own image. Choose a larger box or a shorter cutoff.")
    if state.species is None and frozen.species > 1:
        raise ConfigError(f"The model has {frozen.species} species; give every particle's species with the state.")
    if state.species is not None and state.species.max() >= frozen.species:
        raise ConfigError(f"The state has a particle of species {state.species.max()}; the model knows species 0 to "
                          f"{frozen.species - 1}.")
    _check_memory(frozen, state)
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed = {seed!r} must be a whole number from 0 to 2^63 - 1.")
    held = settings.held
    if held is not None and np.shape(held.rows) != (len(state.position),):
        raise ConfigError(f"Held: rows has shape {np.shape(held.rows)}; give True or False for each of the "
                          f"{len(state.position)} particles.")
    for k, mode in enumerate(settings.force):
        if len(mode.amplitude) != dim or len(mode.wave) != dim:
            raise ConfigError(f"FluidRollout: mode {k} of the force needs {dim} components of amplitude and wave.")
    with _threads(threads):
        return Engine(frozen, state, settings, seed)


def _state(engine: Engine, start: FluidFrame) -> FluidFrame:
    """The engine's state with rows in the order of the start."""
    assert start.ids is not None
    row = np.empty(len(start.ids), np.int64)
    row[np.argsort(start.ids)] = np.argsort(engine.ids)
    box = start.box
    if isinstance(box, LeesEdwards):
        box = LeesEdwards(box.lengths, box.shear_rate, engine.strain)
    return FluidFrame(engine.x[row, :engine.dim], engine.v[row, :engine.dim], engine.state.S[row], box, start.ids,
                      engine.step_number, start.species, engine.remembered())


def _check_memory(frozen: FrozenFluid, state: FluidFrame) -> None:
    """What a state remembers belongs to this model and these particles."""
    memory = state.memory
    if memory is None:
        return
    assert state.ids is not None
    modes, dim = memory.vectors.shape[1:]
    if modes != len(frozen.memory) or dim != frozen.dim:
        raise ConfigError(f"The state remembers {modes} modes in {dim} dimensions; the model has {len(frozen.memory)} "
                          f"modes in {frozen.dim}. Start without memory, or from a state of this model.")
    if not np.isin(memory.pairs, state.ids).all():
        raise ConfigError("The state remembers pairs of particles that are not in it; leave them out of its memory.")


def _check_one_body(frozen: FrozenFluid, state: FluidFrame) -> None:
    """A centre for every particle; a periodic potential that fits into the box."""
    traps, external, lengths = frozen.traps, frozen.external, state.box.lengths
    assert state.ids is not None
    if traps is not None and traps.centre.ndim == 2 and state.ids.max() >= len(traps.centre):
        raise ConfigError(f"The traps have {len(traps.centre)} centres and there is a particle with id "
                          f"{state.ids.max()}; row i of the centres is that of id i.")
    if external is None or lengths is None:
        return
    for axis, count, spacing, closed in zip(external.axes, external.values.shape, external.spacing, external.periodic):
        periods = lengths[axis] / (count * spacing)
        if closed and lengths[axis] > 0 and (abs(periods - round(periods)) > 1e-6 or periods < 0.5):
            raise ConfigError(f"The external potential has period {count * spacing:g} on axis {axis}, which does not "
                              f"fit a whole number of times into the box edge {lengths[axis]:g}.")


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Numba's threads for a while; the caller's own number comes back between two steps."""
    before = numba.get_num_threads()
    try:
        if number is not None:
            numba.set_num_threads(min(max(1, number), numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        yield
    finally:
        numba.set_num_threads(before)


def _example(n: int = 64) -> tuple[FrozenFluid, FluidFrame]:
    """A small ideal gas for the examples, in a periodic box."""
    from vid2dyn.rollout.fluid.example import ideal_gas, lattice

    position, velocity, edge = lattice(n, volume=1 / 500)
    return ideal_gas(), FluidFrame(position, velocity, np.zeros(n), Periodic((edge,) * 3))
