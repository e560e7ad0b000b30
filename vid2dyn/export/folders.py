"""`vd.export.lammps`: a folder with everything that LAMMPS needs to run a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.files import atomic
from vid2dyn.data.box import Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.export.stock import write_stock
from vid2dyn.export.tabulated import pair_tables
from vid2dyn.model import Model
from vid2dyn.rollout.engines import Prepared
from vid2dyn.rollout.fluid.state import FluidRollout
from vid2dyn.rollout.fluid.time_step import stable_step
from vid2dyn.rollout.lammps.package import LammpsRun, refuse, write_package
from vid2dyn.rollout.starts import relaxed, replicated, seeded

RELAXED = 50_000
"""Most particles of a start without data that are brought to rest here; larger boxes do it in LAMMPS
(scripts/lammps_large.py)."""
SEEDED = 4000
"""Particles of a box that is filled without data, unless asked otherwise."""


def lammps(model: Model, folder: str | os.PathLike[str], tracks: Trajectories | None = None, *, steps: int = 1000,
           seed: int = 0, substeps: int | None = None, replicate: Sequence[int] | None = None,
           particles: int | None = None, checkpoint_every: int = 100, largest_error: float = 0.1) -> Path:
    """Write a fitted model of particles as a folder that LAMMPS runs.

    step/ is the main road: tables and a start for the compiled step of vid2dyn inside LAMMPS, with the noise of our
    own engine (``mpiexec -n 8 python -m vid2dyn.rollout.lammps.driver FOLDER/step``). stock/ is a plain input file
    with styles of LAMMPS (``lmp -in in.lammps``), where the model has such, with the error of that mapping. tables/
    holds the pair potentials for other programs. README.txt says what was written, and what could not be and why.

    Parameters
    ----------
    model : Model
        A list of terms, or a fluid with entropy.
    folder : path
        New or empty.
    tracks : Trajectories, optional
        The first frame is the start. Default: a periodic box at the density of the data is filled with particles at the
        temperature of the model, and up to 50,000 of them are brought to rest (`relaxed`).
    steps : int
        Frames to make.
    seed : int
        Of the noise, and of a start without data.
    substeps : int, optional
        Time steps to a frame; default: as `model.rollout` chooses.
    replicate : sequence of int, optional
        Copies of the start along each axis (y, x[, z]).
    particles : int, optional
        Of a start without data; default 4000.
    checkpoint_every : int
        Frames between two states that are kept.
    largest_error : float
        Above this a mapping to stock styles is refused.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        For a term that cannot be exported, which is named with the reason, or another kind of model.
    ConfigError
        For an existing folder, or a box that is too small.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not empty; give a new folder, so that nothing is overwritten.")
    said = refuse_terms(model)
    frozen, start, settings, substeps = ready_for(model, tracks, steps, substeps=substeps, particles=particles,
                                                  seed=seed)
    if replicate is not None:
        start = replicated(start, replicate, seed)
    info = {"recipe": model.recipe, "frame": substeps * settings.dt}
    run = LammpsRun(steps * substeps, substeps, seed, checkpoint_every)
    write_package(folder / "step", frozen, start, settings, run, info)
    names = tuple(getattr(model, "species", ("",)))
    try:
        mapping = write_stock(frozen, start, folder / "stock", dt=settings.dt, steps=steps * substeps, every=substeps,
                              seed=seed, species=names, largest_error=largest_error)
        stock = f"stock/   lmp -in in.lammps; error of the mapping: {mapping}"
    except ModelError as error:
        stock = f"stock/   not written. {error}"
    tables = "tables/  not written: the model has no pair potential"
    if frozen.pair_energy is not None:
        pair_tables(frozen, folder / "tables", species=names)
        tables = "tables/  pair potentials: pair.table (LAMMPS), one .csv a kind of pairs (HOOMD-blue, OpenMM)"
    text = "\n".join([
        f"A model of vid2dyn: {model!r}", "",
        f"{len(start.position)} particles, time step {settings.dt:.6g} s, {substeps} to a frame, {steps} frames.", "",
        "step/    mpiexec -n 8 python -m vid2dyn.rollout.lammps.driver step", stock, tables, "", *said, ""])
    with atomic(folder / "README.txt") as scratch:
        scratch.write_text(text, encoding="utf-8")
    return folder


def refuse_terms(model: Model) -> list[str]:
    """What each term is in LAMMPS, a line a term; `ModelError` names those that cannot be exported at all."""
    lines, missing = [], []
    for term in getattr(model, "terms", ()):
        exports = term.exports
        if not exports.step:
            missing.append(f"{type(term).__name__}: {exports.why_not}")
        stock = exports.stock or f"none, {exports.why_not}"
        lines.append(f"{type(term).__name__}: compiled step yes; stock style {stock}")
    if missing:
        raise ModelError(f"Not possible in LAMMPS: {'; '.join(missing)}.")
    if getattr(model, "ready", None) is None:
        raise ModelError(f"A model of kind {model.kind!r} cannot be exported to LAMMPS: its particles have no "
                         "velocities, or it is one of fields. Models of vd.Metriplectic can.")
    return lines


def ready_for(model: Any, tracks: Trajectories | None, steps: int, *, substeps: int | None = None,
              particles: int | None = None, seed: int = 0, relax: bool = True) -> Prepared:
    """Tables, start and time step of a run: from the first frame of tracks, or from a box that is filled.

    Raises
    ------
    ModelError
        If there are no tracks and the density of the data is not known, or the fluid has entropies.
    """
    if tracks is not None:
        if particles is not None:
            raise ConfigError("particles is for a start without tracks; tracks say how many there are. Use replicate.")
        found: Prepared = model.ready(tracks, steps, substeps=substeps)
        refuse(found.frozen, found.settings)
        return found
    if not hasattr(model, "frozen"):
        raise ModelError("A fluid with entropy starts from data, which say its state: give tracks, and "
                         "replicate=(2, 2, 2) for a larger box.")
    count = model.report.get("particles")
    if not isinstance(model.box, Periodic) or count is None:
        raise ModelError("The density of the data is not known to this model (its box is not periodic, or it was "
                         "fitted by an older vid2dyn): give tracks.")
    frozen = model.frozen()
    if frozen.species > 1:
        raise ModelError("A mixture starts from data, which say how many there are of each species: give tracks, and "
                         "replicate=(2, 2, 2) for a larger box.")
    many = particles or SEEDED
    scale = (many / count) ** (1.0 / frozen.dim)
    start = seeded(many, [edge * scale for edge in model.box.lengths], model.kT(), frozen.masses, seed=seed)
    frame = 1.0 / model.units.frames_per_second if model.units.frames_per_second else stable_step(frozen, start)
    if substeps is None:
        substeps = max(1, -int(-frame // stable_step(frozen, start)))
    settings = FluidRollout(frame / substeps)
    if relax and many <= RELAXED:
        start = relaxed(frozen, start, settings, seed=seed)
    return Prepared(frozen, start, settings, substeps)
