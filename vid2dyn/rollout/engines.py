"""The engines that a fitted model of particles runs in: our own compiled loop, or LAMMPS on many processes."""

from __future__ import annotations

import os
from typing import NamedTuple

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress
from vid2dyn.core.registry import did_you_mean
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, FluidTrajectories, fluid_paths

ENGINES = ("vid2dyn", "lammps")


class Prepared(NamedTuple):
    """A rollout that is ready to run: tables, first state, time step, and time steps to a frame."""

    frozen: FrozenFluid
    start: FluidFrame
    settings: FluidRollout
    substeps: int


def checked_engine(engine: str, ranks: int = 1, checkpoint: str | os.PathLike[str] | None = None) -> str:
    """The engine, or `ConfigError`: for an unknown one, or settings that only LAMMPS has.

    >>> checked_engine("lammps", ranks=2)
    'lammps'
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine = {engine!r}: there are {' and '.join(ENGINES)}.{did_you_mean(engine, ENGINES)}")
    if engine != "lammps" and (ranks != 1 or checkpoint is not None):
        raise ConfigError('ranks and checkpoint are of engine="lammps"; our own engine uses threads in one process.')
    return engine


def paths_in(engine: str, frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, *, steps: int, every: int,
             seed: int, progress: Progress, ranks: int = 1,
             checkpoint: str | os.PathLike[str] | None = None) -> FluidTrajectories:
    """A rollout in one of the `ENGINES`; the same step, the same noise, the same frames."""
    if checked_engine(engine, ranks, checkpoint) == "vid2dyn":
        return fluid_paths(frozen, start, settings, steps=steps, every=every, seed=seed, progress=progress)
    from vid2dyn.rollout.lammps.launch import lammps_paths
    from vid2dyn.rollout.lammps.package import LammpsRun

    frames = steps // every
    run = LammpsRun(steps, every, seed, 0 if checkpoint is None else max(1, frames // 10))
    return lammps_paths(frozen, start, settings, run, ranks=ranks, folder=checkpoint, progress=progress)
