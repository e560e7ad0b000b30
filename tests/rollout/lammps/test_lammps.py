"""LAMMPS against our own engine, step by step; one process against two; what stops a run; what is refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.progress import Cancelled
from vid2dyn.data.box import Box, Free, LeesEdwards, Periodic
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.engines import checked_engine
from vid2dyn.rollout.fluid.example import SoftParticleTables, ideal_gas, lattice
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, FluidTrajectories, fluid_energy, fluid_paths
from vid2dyn.rollout.lammps.grid import processor_grid
from vid2dyn.rollout.lammps.launch import lammps_paths, launcher, watch
from vid2dyn.rollout.lammps.package import LammpsRun, write_package

STEPS = 50
SEED = 7
IDENTICAL = 1e-12
"""Largest difference of positions after 50 noisy steps [µm, with boxes of 1 to 6 µm]."""

try:
    launcher(2)
    absent = ""
except ConfigError as error:
    absent = str(error)
needs_lammps = pytest.mark.skipif(bool(absent), reason=absent)


def soft(n: int = 200, dim: int = 3) -> tuple[FrozenFluid, FluidFrame, FluidRollout]:
    """Soft particles at one temperature with friction along and across."""
    x, v, edge = lattice(n, dim, volume=1 / 3)
    start = FluidFrame(x, v, np.zeros(n), Periodic((edge,) * dim))
    return SoftParticleTables(dim, across=1.5).freeze(), start, FluidRollout(dt=0.01)


def gas(n: int = 200, dim: int = 3) -> tuple[FrozenFluid, FluidFrame, FluidRollout]:
    """A gas with entropy, friction and conduction."""
    x, v, edge = lattice(n, dim, volume=1 / 500 if dim == 3 else 1 / 200)
    start = FluidFrame(x, v, np.zeros(n), Periodic((edge,) * dim))
    return ideal_gas(dim, **({} if dim == 3 else {"volume": 1 / 200})), start, FluidRollout(dt=5e-4)


def everything(box: Box, dim: int = 3, n: int = 200) -> tuple[FrozenFluid, FluidFrame, FluidRollout]:
    """Two species, energy of density, traps, an external potential, drag; ids that are not row numbers."""
    x, v, edge = lattice(n, dim, volume=1 / 3)
    rng = np.random.default_rng(1)
    tables = SoftParticleTables(dim, mass=(1.0, 2.5), repulsion=(25.0, 10.0, 15.0), across=1.0)
    frozen = dataclasses.replace(tables.everything(edge), memory=(), drag=np.array([0.3, 0.7]))
    if isinstance(box, Periodic):
        box = Periodic((edge,) * dim)
    start = FluidFrame(x, v, np.zeros(n), box, rng.permutation(n), species=rng.integers(0, 2, n))
    return frozen, start, FluidRollout(dt=0.005)


def ours(model: tuple[FrozenFluid, FluidFrame, FluidRollout], every: int = STEPS) -> FluidTrajectories:
    frozen, start, settings = model
    return fluid_paths(frozen, start, settings, steps=STEPS, every=every, seed=SEED)


def theirs(model: tuple[FrozenFluid, FluidFrame, FluidRollout], ranks: int) -> FluidTrajectories:
    return lammps_paths(*model, LammpsRun(STEPS, STEPS, SEED), ranks=ranks)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


CASES: dict[str, Callable[[], tuple[FrozenFluid, FluidFrame, FluidRollout]]] = {
    "soft": soft, "gas": gas, "plane soft": lambda: soft(150, 2), "plane gas": lambda: gas(150, 2),
    "everything": lambda: everything(Periodic((1.0,))), "everything, free": lambda: everything(Free()),
    "everything, plane": lambda: everything(Periodic((1.0,)), 2)}


@needs_lammps
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ranks", [1, 2])
def test_same_steps_as_our_engine(case: str, ranks: int) -> None:
    model = CASES[case]()
    expected, found = ours(model), theirs(model, ranks)
    assert distance(found.position, expected.position) <= IDENTICAL
    assert distance(found.velocity, expected.velocity) <= 100 * IDENTICAL * np.abs(expected.velocity).max()
    assert distance(found.entropy, expected.entropy) <= 1e4 * IDENTICAL
    assert distance(expected.position[0], expected.position[-1]) > 1e-3, "nothing moved"
