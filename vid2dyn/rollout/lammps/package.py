"""A model and a start as a folder that LAMMPS can run: arrays without pickle, settings as JSON.

    model.npz    tables of the model as the compiled step reads them (`vid2dyn.rollout.fluid.lookup.Tables`)
    start.npz    position, velocity (n, dim), entropy, species, ids (n,), step
    run.json     what is run: time step, frames, seed, box

Lengths, times and energies are those of the model: µm, s and mass · µm²/s², in LAMMPS `units lj`, which attaches no
unit. Columns are (y, x[, z]) as everywhere in vid2dyn. `vid2dyn.rollout.lammps.driver` runs it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.files import atomic
from vid2dyn.data.box import LeesEdwards
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.engine import bath_of
from vid2dyn.rollout.fluid.one_body import one_body_of
from vid2dyn.rollout.fluid.state import FluidFrame, FluidRollout
from vid2dyn.rollout.fluid.tables import tables_of

SCHEMA = 1


@dataclass(frozen=True)
class LammpsRun:
    """How a model runs in LAMMPS, beside its time step (`FluidRollout`).

    Parameters
    ----------
    steps, every : int
        Steps in all and between two frames.
    seed : int
        Of the noise, 0 to 2^63 - 1: the same numbers as those of our own engine.
    checkpoint_every : int
        Frames after which the state is kept to go on from; 0: only at the end. The run itself starts anew from what it
        kept, so a run that was stopped and goes on gives the same bytes on one process.
    skin : float, optional
        How far beyond the cutoff neighbour lists reach [µm]; default: what particles travel in 24 steps, at least 5 %
        and at most 40 % of the cutoff.
    ghost_cutoff : float, optional
        How far across a border particles are known [µm]; default: cutoff + skin, the least that works.

    Raises
    ------
    ConfigError
        For numbers that are not whole or have the wrong sign.
    """

    steps: int
    every: int = 1
    seed: int = 0
    checkpoint_every: int = 0
    skin: float | None = None
    ghost_cutoff: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("every", 1), ("seed", 0), ("checkpoint_every", 0)):
            value = getattr(self, name)
            if int(value) != value or not least <= value < 2**63:
                raise ConfigError(f"LammpsRun({name}={value!r}): give a whole number of at least {least}.")
        for name in ("skin", "ghost_cutoff"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ConfigError(f"LammpsRun({name}={value!r}): give a positive length in µm.")
        if self.steps % self.every:
            raise ConfigError(f"LammpsRun: steps = {self.steps} is no multiple of every = {self.every}, the steps from "
                              "frame to frame.")


def write_package(folder: str | os.PathLike[str], frozen: FrozenFluid, start: FluidFrame, settings: FluidRollout,
                  run: LammpsRun, info: dict[str, Any] | None = None) -> Path:
    """Write the folder. One that holds the same run already, perhaps with fewer steps, stays, so that it can go on.

    Raises
    ------
    ModelError
        When the model has a part that this step does not have in LAMMPS.
    ConfigError
        When the box is too small, sheared, or a length does not fit; when the folder holds something else.
    """
    refuse(frozen, settings)
    cutoff = float(frozen.cutoff)
    check_box(frozen, start)
    skin = run.skin if run.skin is not None else _skin(frozen, start, settings.dt)
    reach = cutoff + skin
    ghost_cutoff = reach if run.ghost_cutoff is None else run.ghost_cutoff
    if ghost_cutoff < reach * (1 - 1e-12):
        raise ConfigError(f"ghost_cutoff = {ghost_cutoff:g} µm is shorter than cutoff + skin = {cutoff:g} + {skin:g} = "
                          f"{reach:g} µm: neighbours beyond a border would be missed. Give at least {reach:g}, or "
                          "leave it out.")
    if start.ids is None or start.ids.max() >= 2**31 - 1:
        raise ConfigError("LAMMPS numbers particles up to 2^31 - 2; give smaller ids.")
    arrays, scalars = _model(frozen, settings)
    species = np.zeros(len(start.position), np.int64) if start.species is None else start.species
    state = {"position": start.position, "velocity": start.velocity, "entropy": start.entropy, "species": species,
             "ids": start.ids, "step": np.array(start.step)}
    table: dict[str, Any] = {"schema": SCHEMA, "model": scalars, "box": start.box.to_dict(), "info": info or {},
                             "run": {**asdict(run), "skin": skin, "ghost_cutoff": ghost_cutoff}}
    table["identity"] = _identity(arrays, state, table)
    folder = Path(folder)
    _check_free(folder, table["identity"])
    folder.mkdir(parents=True, exist_ok=True)
    _write_npz(folder / "model.npz", arrays)
    _write_npz(folder / "start.npz", state)
    with atomic(folder / "run.json") as scratch:
        scratch.write_text(json.dumps(table, indent=1, sort_keys=True))
    return folder


def open_package(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """`run.json` of a package.

    Raises
    ------
    DataError
        If there is none.
    """
    try:
        return json.loads((Path(folder) / "run.json").read_text())       # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no package for LAMMPS ({error}); make one with vd.export.lammps.") from None


def _identity(arrays: dict[str, np.ndarray], state: dict[str, np.ndarray], table: dict[str, Any]) -> str:
    """A number that is the same for the same run, however many steps of it are made and how often it is kept."""
    digest = hashlib.sha256()
    for part in (arrays, state):
        for name in sorted(part):
            digest.update(name.encode() + np.ascontiguousarray(part[name]).tobytes())
    run = {name: value for name, value in table["run"].items() if name not in ("steps", "checkpoint_every")}
    digest.update(json.dumps([table["model"], table["box"], run], sort_keys=True).encode())
    return digest.hexdigest()


def _check_free(folder: Path, identity: str) -> None:
    """The folder is new, empty, or holds this very run."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder.")
    if not (folder / "run.json").exists():
        raise ConfigError(f"{folder} exists and holds something else; give a new folder, so that nothing is "
                          "overwritten.")
    if open_package(folder).get("identity") != identity:
        raise ConfigError(f"{folder} holds another run (model, start, seed or settings differ), so this one cannot go "
                          "on from it. Give a new folder, or remove that one.")


def refuse(frozen: FrozenFluid, settings: FluidRollout | None = None) -> None:
    """Stops if a model or the settings of a step need what the step in LAMMPS does not have; names each."""
    missing = []
    if frozen.memory:
        missing.append("memory of pairs (LAMMPS cannot carry a vector of every pair across a border; fit PairFriction, "
                       "the friction that memory adds up to)")
    if settings is not None:
        if settings.conservative != "verlet":
            missing.append("exact=True, the discrete gradient (LAMMPS moves particles by Verlet)")
        if settings.held is not None:
            missing.append("particles moved by hand (Held)")
        if len(settings.force):
            missing.append("body forces of FluidRollout")
    if missing:
        raise ModelError(f"Not possible in LAMMPS: {'; '.join(missing)}. Use engine=\"vid2dyn\".")


def check_box(frozen: FrozenFluid, start: FluidFrame) -> None:
    """Stops for a sheared box, or one smaller than twice the range."""
    if isinstance(start.box, LeesEdwards):
        raise ConfigError("A sheared box (LeesEdwards) does not run in LAMMPS: velocities jump at its border, and the "
                          'messages between processes do not know of it. Use engine="vid2dyn".')
    if start.position.shape[1] != frozen.dim:
        raise ConfigError(f"The state has {start.position.shape[1]} dimensions and the model {frozen.dim}.")
    if frozen.species > 1 and start.species is None:
        raise ConfigError(f"The model has {frozen.species} species; give every particle's species with the state.")
    lengths = start.box.lengths
    if lengths is not None and frozen.cutoff > 0.5 * min(lengths) * (1 + 1e-12):
        raise ConfigError(f"cutoff = {frozen.cutoff:g} µm is more than half of the box edge {min(lengths):g} µm; a "
                          "particle would meet its own image. Choose a larger box or a shorter cutoff.")


def _skin(frozen: FrozenFluid, start: FluidFrame, dt: float) -> float:
    """Lists that last for about two dozen steps."""
    speed = float(np.linalg.norm(start.velocity, axis=1).max())
    if frozen.temperature is not None:
        speed = max(speed, 4.0 * float(np.sqrt(frozen.temperature / frozen.masses.min())))
    return float(np.clip(24.0 * dt * speed, 0.05 * frozen.cutoff, 0.4 * frozen.cutoff))


def _model(frozen: FrozenFluid, settings: FluidRollout) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and numbers of the model, in the form the compiled step reads."""
    tables, alone = tables_of(frozen), one_body_of(frozen)
    kB = frozen.kB if settings.noise else 0.0
    bath = bath_of(frozen, settings, kB)
    conducts = frozen.heat is not None and bool((frozen.heat != 0.0).any())
    friction = [table for table in (frozen.shear, frozen.bulk, frozen.pair_friction) if table is not None]
    arrays = {"radial": tables.radial, "pairs": tables.pairs, "kind": tables.kind, "nodes": tables.nodes,
              "eos_grid": tables.grid if len(tables.grid) else np.zeros(4), "density": tables.density,
              "span": tables.span, "mass": frozen.masses, "alone": frozen.alone,
              "external": np.empty((0, 0, 0)) if alone is None else alone.values,
              "external_grid": np.zeros((3, 3)) if alone is None else alone.grid,
              "centre": np.zeros((1, 3)) if alone is None else alone.centre,
              "keep": np.ones(frozen.species) if bath is None else bath[0],
              "kick": np.zeros(frozen.species) if bath is None else bath[1]}
    scalars = {"dim": frozen.dim, "species": frozen.species, "radial_rows": tables.rows,
               "temperature": float(frozen.temperature or 0.0),
               "cutoff": float(frozen.cutoff), "temperature_power": frozen.temperature_power,
               "volume_power": frozen.volume_power, "conducts": conducts,
               "dissipates": conducts or any(bool((table != 0.0).any()) for table in friction),
               "bath": bath is not None, "one_body": alone is not None,
               "stiffness": 0.0 if alone is None else alone.stiffness, "kB": kB, "dt": settings.dt,
               "tolerance": settings.tolerance}
    return arrays, scalars


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic(path) as scratch:
        np.savez(scratch, **arrays)                            # type: ignore[arg-type]
