"""What a compiled rollout starts from and how it is asked for: a frame of a fluid, settings of the step, forcing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.box import Box, Free

PrescribedMotion = Callable[[float], tuple[np.ndarray, np.ndarray]]
"""Time to positions and velocities, (n, dim) each."""


@dataclass(frozen=True)
class PairMemory:
    """What pairs within the cutoff remember at one moment.

    Parameters
    ----------
    pairs : (pairs, 2) int array
        Ids of both particles, the smaller one first; each pair once.
    vectors : (pairs, modes, dim) array
        ξ of every mode [energy^½].

    Raises
    ------
    DataError
        For wrong shapes or order, or numbers that are not finite.
    """

    pairs: np.ndarray
    vectors: np.ndarray

    def __post_init__(self) -> None:
        pairs, vectors = np.asarray(self.pairs, dtype=np.int64), np.asarray(self.vectors, dtype=float)
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "vectors", vectors)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or vectors.ndim != 3 or len(vectors) != len(pairs):
            raise DataError(f"PairMemory: pairs {pairs.shape} must be (pairs, 2) and vectors {vectors.shape} (pairs, "
                            "modes, dim).")
        if not np.isfinite(vectors).all():
            raise DataError("PairMemory: vectors must be finite numbers.")
        if not (pairs[:, 0] < pairs[:, 1]).all() or len(np.unique(pairs, axis=0)) != len(pairs):
            raise DataError("PairMemory: name each pair once, the smaller id first.")


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
    species : (n,) int array, optional
        Sort of every particle, 0, 1, ...; default: all 0.
    memory : PairMemory, optional
        Of a model with pair memory; default: every pair draws from equilibrium in the first step.

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
    species: np.ndarray | None = None
    memory: PairMemory | None = None

    def __post_init__(self) -> None:
        n = len(self.position)
        ids = np.arange(n) if self.ids is None else np.asarray(self.ids, dtype=np.int64)
        object.__setattr__(self, "ids", ids)
        for name in ("position", "velocity", "entropy"):
            value = np.asarray(getattr(self, name), dtype=float)
            object.__setattr__(self, name, value)
            if len(value) != n:
                raise DataError(f"FluidFrame: {name} has {len(value)} rows for {n} particles; give one row for each.")
            bad = np.flatnonzero(~np.isfinite(value.reshape(n, -1)).all(axis=1)) if n else np.empty(0, int)
            if bad.size:
                raise DataError(f"FluidFrame: {name} must be finite numbers; that of particle {ids[bad[0]]} is not.")
        if self.position.ndim != 2 or self.position.shape != self.velocity.shape or self.entropy.shape != (n,) or n < 1:
            raise DataError(f"FluidFrame: position {self.position.shape} and velocity {self.velocity.shape} must be "
                            f"(n, dim) and entropy {self.entropy.shape} (n,), with at least one particle.")
        if ids.shape != (n,) or len(np.unique(ids)) != n or (ids < 0).any():
            raise DataError("FluidFrame: ids must be whole numbers >= 0, one for each particle, none twice: pairs of "
                            "equal names would share their noise.")
        if self.species is not None:
            species = np.asarray(self.species)
            if species.shape != (n,) or not np.issubdtype(species.dtype, np.integer) or (species < 0).any():
                raise DataError(f"FluidFrame: species must be whole numbers >= 0, one for each of the {n} particles.")
            object.__setattr__(self, "species", species)


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
class Held:
    """Particles that are moved by hand: a wall, the edge of a needle. They exchange momentum and heat with the others.

    Their entropy does not change: they are kept at their temperature from outside.

    Parameters
    ----------
    rows : (n,) bool array
        Which particles.
    path : callable
        Time (step times dt) to (positions, velocities), each (n, dim); only rows of held particles are read.
    """

    rows: np.ndarray
    path: PrescribedMotion


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
    held : Held, optional
        Particles moved by hand.
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
    held: Held | None = None
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
