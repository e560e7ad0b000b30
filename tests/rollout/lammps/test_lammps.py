"""LAMMPS against our own engine, step by step; one process against two; what stops a run; what is refused."""

from __future__ import annotations

import dataclasses
import functools
import os
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
from vid2dyn.dynamics.fluid.carried_heat import CarriedHeat
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


def hot(n: int = 200) -> tuple[FrozenFluid, FluidFrame, FluidRollout]:
    """Soft particles that carry heat, on which their forces depend."""
    frozen, start, settings = soft(n)
    entropy = np.random.default_rng(2).normal(size=n) * np.sqrt(8.0)
    return (CarriedHeat(8.0, 0.7, 2.0, frozen.cutoff, 1.0).added_to(frozen),
            dataclasses.replace(start, entropy=entropy), settings)


def hot_mixture(n: int = 200) -> tuple[FrozenFluid, FluidFrame, FluidRollout]:
    """Two species that carry heat: densities differ between kinds of pairs."""
    _, start, settings = hot(n)
    tables = SoftParticleTables(3, mass=(1.0, 2.5), repulsion=(25.0, 10.0, 15.0), across=1.0)
    return (CarriedHeat(8.0, 0.7, 2.0, tables.cutoff, (1.0, 0.6)).added_to(tables.freeze()),
            dataclasses.replace(start, species=np.random.default_rng(3).integers(0, 2, n)), settings)


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


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


CASES: dict[str, Callable[[], tuple[FrozenFluid, FluidFrame, FluidRollout]]] = {
    "soft": soft, "gas": gas, "hot": hot, "hot mixture": hot_mixture, "plane gas": lambda: gas(150, 2),
    "everything": lambda: everything(Periodic((1.0,))), "everything, free": lambda: everything(Free()),
    "everything, plane": lambda: everything(Periodic((1.0,)), 2)}


@functools.cache
def ours(case: str) -> FluidTrajectories:
    """50 steps of our own engine."""
    frozen, start, settings = CASES[case]()
    return fluid_paths(frozen, start, settings, steps=STEPS, every=STEPS, seed=SEED)


@functools.cache
def theirs(case: str, ranks: int) -> FluidTrajectories:
    """The same in LAMMPS."""
    return lammps_paths(*CASES[case](), LammpsRun(STEPS, STEPS, SEED), ranks=ranks)


@needs_lammps
@pytest.mark.parametrize(("case", "ranks"), [("soft", 1), ("gas", 1), *((case, 2) for case in CASES)])
def test_same_steps_as_our_engine(case: str, ranks: int) -> None:
    expected, found = ours(case), theirs(case, ranks)
    assert distance(found.position, expected.position) <= IDENTICAL
    assert distance(found.velocity, expected.velocity) <= 100 * IDENTICAL * np.abs(expected.velocity).max()
    assert distance(found.entropy, expected.entropy) <= 1e-9
    assert distance(expected.position[0], expected.position[-1]) > 1e-3, "nothing moved"


@needs_lammps
def test_one_process_and_two_agree_and_keep_momentum_and_energy() -> None:
    one, two = theirs("gas", 1), theirs("gas", 2)
    assert distance(one.position, two.position) <= IDENTICAL
    frozen, start, _ = gas()
    for run in (one, two):
        assert np.abs(run.velocity[-1].sum(axis=0) - start.velocity.sum(axis=0)).max() <= 1e-10
    before, after, reference = (sum(fluid_energy(frozen, state)) for state in (start, two.last, ours("gas").last))
    assert after == pytest.approx(reference, rel=1e-12)
    assert abs(after - before) < 1e-3 * len(start.position)


@needs_lammps
def test_a_planted_error_of_one_step_of_noise_is_seen() -> None:
    """Another seed moves particles by far more than what counts as identical: the comparison can fail."""
    frozen, start, settings = soft()
    other = lammps_paths(frozen, start, settings, LammpsRun(STEPS, STEPS, SEED + 1))
    assert distance(other.position, ours("soft").position) > 1e-3


@needs_lammps
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    frozen, start, settings = gas(120)
    run = LammpsRun(30, 5, SEED, checkpoint_every=2)
    whole = lammps_paths(frozen, start, settings, run, folder=tmp_path / "whole")

    class Stop:
        def __call__(self, done: int, total: int, what: str) -> None:
            if done >= 3:
                raise Cancelled

    with pytest.raises(Cancelled):
        lammps_paths(frozen, start, settings, run, folder=tmp_path / "parts", progress=Stop())      # type: ignore[arg-type]
    assert (tmp_path / "parts" / "checkpoint.npz").exists()
    again = lammps_paths(frozen, start, settings, run, folder=tmp_path / "parts")
    for name in ("position", "velocity", "entropy"):
        assert getattr(whole, name).tobytes() == getattr(again, name).tobytes()
    lammps_paths(frozen, start, settings, LammpsRun(10, 5, SEED, 2), folder=tmp_path / "longer")
    longer = lammps_paths(frozen, start, settings, run, folder=tmp_path / "longer")
    assert longer.position.tobytes() == whole.position.tobytes()
    with pytest.raises(ConfigError, match="another run"):
        lammps_paths(frozen, start, settings, LammpsRun(30, 5, SEED + 1, 2), folder=tmp_path / "parts")


@needs_lammps
@pytest.mark.parametrize("ranks", [1, 2])
def test_what_goes_wrong_on_a_process_stops_all_with_its_message(ranks: int) -> None:
    frozen, start, settings = gas()
    x = start.position.copy()
    x[7] = x[8]
    with pytest.raises(ModelError, match=r"particle 7: it coincides with particle 8.*undefined"):
        lammps_paths(frozen, dataclasses.replace(start, position=x), settings, LammpsRun(10), ranks=ranks)
    with pytest.raises(ModelError, match=r"smaller dt|did not settle|left the tables"):
        lammps_paths(frozen, start, dataclasses.replace(settings, dt=0.05), LammpsRun(50, 50), ranks=ranks)


@needs_lammps
def test_a_run_that_hangs_is_ended_with_all_its_processes() -> None:
    """One process waits for a message that never comes; standard input is closed."""
    program = ("from mpi4py import MPI; import os, sys; print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True)\n"
               "assert sys.stdin.read() == ''\nMPI.COMM_WORLD.recv(source=1 - MPI.COMM_WORLD.rank)")
    from vid2dyn.core.progress import silent

    names = Path(os.environ.get("TMPDIR", "/tmp")) / f"vid2dyn_hang_{os.getpid()}"
    begun = time.monotonic()
    try:
        with pytest.raises(ModelError, match="said nothing for 3 s"):
            watch([*launcher(2), sys.executable, "-c", program, str(names)], silent, patience=3.0)
        assert time.monotonic() - begun < 30
        for name in names.read_text().split():
            assert not Path(f"/proc/{name}").exists() or "Z" in Path(f"/proc/{name}/stat").read_text().split()[2]
    finally:
        names.unlink(missing_ok=True)


def test_bad_input_is_refused_before_anything_starts(tmp_path: Path) -> None:
    frozen, start, settings = soft()
    cases = {
        "exact=True": (frozen, start, dataclasses.replace(settings, conservative="exact"), LammpsRun(10)),
        "memory of pairs": (dataclasses.replace(frozen, memory=(SoftParticleTables().memory(0.1, 1.0),)), start,
                            settings, LammpsRun(10)),
        "half of the box edge": (frozen, dataclasses.replace(start, box=Periodic((1.5, 9.0, 9.0))), settings,
                                 LammpsRun(10)),
        "sheared box": (frozen, dataclasses.replace(start, box=LeesEdwards((5.0, 5.0, 5.0), 0.1)), settings,
                        LammpsRun(10)),
        "ghost_cutoff = 1 µm is shorter": (frozen, start, settings, LammpsRun(10, ghost_cutoff=1.0)),
        "species": (SoftParticleTables(mass=(1.0, 2.0), repulsion=(1.0, 1.0, 1.0)).freeze(), start, settings,
                    LammpsRun(10)),
    }
    for message, arguments in cases.items():
        with pytest.raises((ConfigError, ModelError), match=message):
            write_package(tmp_path / "new", *arguments)                                              # type: ignore[arg-type]
        assert not (tmp_path / "new").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        write_package(tmp_path / "taken", frozen, start, settings, LammpsRun(10))
    with pytest.raises(ConfigError, match="At most 27 processes"):
        processor_grid(64, (4.6, 4.6, 4.6), 1.4)
    with pytest.raises(ConfigError, match="there are vid2dyn and lammps"):
        checked_engine("lamps")
    with pytest.raises(ConfigError, match="ranks and checkpoint"):
        checked_engine("vid2dyn", 2)
    with pytest.raises(ConfigError, match="ranks = 0"):
        launcher(0)
    with pytest.raises(ConfigError, match="no multiple"):
        LammpsRun(10, 3)


def test_without_mpiexec_or_lammps_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from vid2dyn.rollout.lammps import launch

    monkeypatch.setattr(launch, "find_spec", lambda name: None if name == "mpi4py" else object())
    with pytest.raises(ConfigError, match=r"needs mpi4py, which is not there: .*vid2dyn\[lammps\]"):
        launcher(2)
    monkeypatch.setattr(launch, "find_spec", lambda name: object())
    monkeypatch.setattr(launch.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs the program mpiexec"):
        launcher(2)
    assert launcher(1) == []


def test_processes_do_not_load_torch() -> None:
    """A thousand processes would each load it."""
    code = ("import sys, vid2dyn.rollout.lammps.driver, vid2dyn.rollout.lammps.step; "
            "print([m for m in ('torch', 'pandas') if m in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert found.stdout.strip() == "[]"
