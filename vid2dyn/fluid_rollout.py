"""Compiled rollout of a metriplectic fluid: tables in, trajectories out, numba threads, no torch.

The state is positions, velocities and entropies (x, v, S), pairs are those closer than the cutoff. One step of dt:

1. Conservative flow at fixed S, F_i = -sum_j (P_i/d_i² + P_j/d_j²) W'(r_ij) e_ij. "verlet": second order, reversible,
   energy error of order dt². "exact": secant discrete gradient, energy to rounding, about three times the cost.
2. Friction and noise at frozen T: (2 m + dt L) v̄ = 2 m v + R by conjugate gradients, Cov R_ij = 2 kB K_ij dt; the
   stationary variance of the velocities is right at every dt. The impulses warm their two particles,
   dU_i = -1/2 sum_j dp_ij · v̄_ij, so energy and momentum are exact whatever the solver's tolerance.
3. Conduction, Crank-Nicolson with an exponential limit: no temperature ever overshoots those of its neighbours.
4. S from U(S, V) by Newton, then the bath if there is one.

The reference measure is dx dv dS: the stationary density is exp(sum S/kB) at given energy and momentum. The terms of
kB ∇·M that belong to it, from dT/dS = T/c, multiply the 1/T of friction by 1 - kB/c (1 - p T_j/(T_i + T_j)) and that
of conduction by 1 - kB (1 - p)/c, with the heat capacity c and p = `temperature_power` of the tables. Without noise kB
is 0 and they vanish; then no step's entropy production is negative.

The method is that of the torch steps in `vid2dyn.integrators`, with the same noise, so the two agree step by step to
the error of the tables.

Noise is keyed on (seed, step, ids of the pair) and sums follow the ids: the same seed gives the same bits for any
number of threads, any order of the particles, and a run continued from its last state.

Energies, lengths and times are in the units of the tables; kB = 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numba
import numpy as np

from vid2dyn._fluid_engine import Engine
from vid2dyn.box import Box, Free, LeesEdwards, Periodic
from vid2dyn.errors import ConfigError, DataError
from vid2dyn.frozen import FrozenFluid
from vid2dyn.progress import Progress, silent

SMALL = 8000
"""Particles below which one thread is used unless more are asked for."""


@dataclass(frozen=True)
class FluidFrame:
    """A fluid at one moment.

    Parameters
    ----------
    position, velocity : (n, dim) arrays
        Axes (y, x[, z]). Positions may lie outside a periodic box and are not wrapped; across a sheared border a
        particle keeps its laboratory velocity.
    entropy : (n,) array
        [kB].
    box : Box
        Space at this moment (of a sheared one, with the strain so far).
    ids : (n,) int array, optional
        Names of the particles, unique and >= 0: the noise is keyed on them. Default: row numbers.
    step : int
        Steps made so far: the noise is keyed on it, so a run continued from its last state is the same run.

    Raises
    ------
    DataError
        For wrong shapes, numbers that are not finite, or a name given twice.
    """

    position: np.ndarray
    velocity: np.ndarray
    entropy: np.ndarray
    box: Box = field(default_factory=Free)
    ids: np.ndarray | None = None
    step: int = 0

    def __post_init__(self) -> None:
        n = len(self.position)
        ids = np.arange(n) if self.ids is None else np.asarray(self.ids, dtype=np.int64)
        object.__setattr__(self, "ids", ids)
        for name in ("position", "velocity", "entropy"):
            value = np.asarray(getattr(self, name), dtype=float)
            object.__setattr__(self, name, value)
            bad = np.flatnonzero(~np.isfinite(value.reshape(n, -1)).all(axis=1)) if len(value) == n else np.zeros(1)
            if len(value) != n or bad.size:
                raise DataError(f"FluidFrame: {name} of shape {value.shape} must be finite numbers, a row for each of "
                                f"the {n} particles" + (f"; particle {ids[int(bad[0])]} is not." if n else "."))
        if self.position.ndim != 2 or self.position.shape != self.velocity.shape or self.entropy.shape != (n,) or n < 1:
            raise DataError(f"FluidFrame: position {self.position.shape} and velocity {self.velocity.shape} must be "
                            f"(n, dim) and entropy {self.entropy.shape} (n,), with at least one particle.")
        if ids.shape != (n,) or len(np.unique(ids)) != n or (ids < 0).any():
            raise DataError("FluidFrame: ids must be whole numbers >= 0, one for each particle, none twice: pairs of "
                            "equal names would share their noise.")


@dataclass(frozen=True)
class Wave:
    """One mode of a body force, amplitude · sin(wave · x + phase); a constant force has wave 0 and phase π/2.

    Parameters
    ----------
    amplitude, wave : tuples of dim floats
        Force on a particle and wave vector, axes (y, x[, z]).
    phase : float
        [rad].
    """

    amplitude: tuple[float, ...]
    wave: tuple[float, ...]
    phase: float = 0.0


@dataclass(frozen=True)
class FluidRollout:
    """How a frozen fluid is stepped.

    Parameters
    ----------
    dt : float
        Time step.
    conservative : {"verlet", "exact"}
        Verlet, or the discrete gradient with exact energy.
    noise : bool
        False: kB = 0, without fluctuations and without their ∇·M terms.
    bath_friction : float
        Friction of every particle against a substrate at rest [mass/time]; 0: none.
    bath_temperature : float
        Of that substrate [energy/kB]; its noise belongs to it.
    force : sequence of Wave
        Body force on every particle.
    tolerance : float
        Of the friction solver, relative to the change of velocities in the step.

    Examples
    --------
    >>> FluidRollout(dt=5e-4, conservative="exact").dt
    0.0005
    """

    dt: float
    conservative: Literal["verlet", "exact"] = "verlet"
    noise: bool = True
    bath_friction: float = 0.0
    bath_temperature: float = 0.0
    force: Sequence[Wave] = ()
    tolerance: float = 1e-9

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise ConfigError(f"FluidRollout(dt={self.dt!r}): the time step must be a positive number.")
        if self.conservative not in ("verlet", "exact"):
            raise ConfigError(f"FluidRollout(conservative={self.conservative!r}): choose 'verlet' or 'exact'.")
        for name in ("bath_friction", "bath_temperature"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"FluidRollout({name}={value!r}): give a finite number >= 0.")
        if not 0 < self.tolerance < 1e-2:
            raise ConfigError(f"FluidRollout(tolerance={self.tolerance!r}): choose a number between 0 and 0.01.")


@dataclass(frozen=True)
class FluidPaths:
    """What `fluid_paths` returns: position, velocity (frames, n, dim), entropy (frames, n), and the last state.

    The first frame is the start. Rows of particles are in the order of the start.
    """

    position: np.ndarray
    velocity: np.ndarray
    entropy: np.ndarray
    last: FluidFrame


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
    told = time.monotonic()
    for done in range(1, steps + 1):
        with _threads(threads):
            engine.step()
        if done == steps or time.monotonic() - told > 0.1:
            progress(done, steps, "rolling out the fluid")
            told = time.monotonic()
        if done % every == 0:
            yield _state(engine, start)


def fluid_paths(frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, *, steps: int, every: int = 1,
                seed: int = 0, threads: int | None = None, progress: Progress = silent) -> FluidPaths:
    """A rollout as arrays; arguments and errors of `fluid_frames`.

    Memory: 8 (2 dim + 1) bytes a particle and frame. A progress callback that raises stops it at once.

    Examples
    --------
    >>> from vid2dyn.fluid_rollout import _example
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
    return FluidPaths(position, velocity, entropy, last)


def fluid_energy(frozen: FrozenFluid, state: FluidFrame) -> tuple[float, float]:
    """(kinetic, internal) energy of a state, from the tables.

    Of a sheared fluid the kinetic energy is that of laboratory velocities, so it depends on which image each is in.
    """
    engine = _engine(frozen, state, FluidRollout(dt=1e-12), 0, 1)
    return 0.5 * frozen.mass * float((state.velocity**2).sum()), float(np.sort(engine.U).sum())


def _engine(frozen: FrozenFluid, state: FluidFrame, settings: FluidRollout, seed: int, threads: int | None) -> Engine:
    """Everything checked once, at the door."""
    dim = state.position.shape[1]
    if dim != frozen.dim:
        raise ConfigError(f"The state has {dim} dimensions and the frozen fluid {frozen.dim}.")
    if state.box.lengths is not None:
        if len(state.box.lengths) != dim:
            raise ConfigError(f"The box has {len(state.box.lengths)} axes and the state {dim}.")
        if frozen.cutoff > 0.5 * min(state.box.lengths):
            raise ConfigError(f"cutoff = {frozen.cutoff:g} is more than half of the box edge {min(state.box.lengths):g}"
                              "; a particle would meet its own image. Choose a larger box or a shorter cutoff.")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed = {seed!r} must be a whole number from 0 to 2^63 - 1.")
    modes = np.zeros((3, len(settings.force), 3))
    for k, wave in enumerate(settings.force):
        if len(wave.amplitude) != dim or len(wave.wave) != dim:
            raise ConfigError(f"FluidRollout: mode {k} of the force needs {dim} components of amplitude and wave.")
        modes[0, k, :dim], modes[1, k, :dim], modes[2, k, 0] = wave.amplitude, wave.wave, wave.phase
    assert state.ids is not None
    with _threads(threads):
        return Engine(frozen, state.box, state.position, state.velocity, state.entropy, state.ids, dt=settings.dt,
                      exact_energy=settings.conservative == "exact", tolerance=settings.tolerance,
                      kB=frozen.kB if settings.noise else 0.0, seed=seed, step=state.step,
                      bath=(settings.bath_friction, settings.bath_temperature),
                      modes=(modes[0], modes[1], modes[2, :, 0].copy()))


def _state(engine: Engine, start: FluidFrame) -> FluidFrame:
    """The engine's state with rows in the order of the start."""
    assert start.ids is not None
    row = np.empty(len(start.ids), np.int64)
    row[np.argsort(start.ids)] = np.argsort(engine.ids)
    box = start.box
    if isinstance(box, LeesEdwards):
        box = LeesEdwards(box.lengths, box.shear_rate, engine.strain)
    return FluidFrame(engine.x[row, :engine.dim], engine.v[row, :engine.dim], engine.S[row], box, start.ids,
                      engine.step_number)


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
    from vid2dyn._fluid_example import ideal_gas, lattice

    position, velocity, edge = lattice(n, volume=1 / 500)
    return ideal_gas(), FluidFrame(position, velocity, np.zeros(n), Periodic((edge,) * 3))
