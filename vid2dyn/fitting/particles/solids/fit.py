"""Fit of a solid: from the motion of a driven sheet to the stiffness and friction of its bonds.

Order: what was recorded (reference frame, held nodes, gaps); a first size of every term from the momentum of smooth
parts (`beginning`); Gauss-Newton on the motion shot from the first frame (`shooting`, `rounds`); the part of the
recording that was set aside, or the last recording, judges; a second member whose energy is that of the deformation
gradient; the temperature, where the table tells entropies; error bars, laws, and what is to be said.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import block_diag

import vid2dyn
from vid2dyn.core.checkpoint import NOWHERE, Checkpoint, key_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import BondTerm, Energy, Scene
from vid2dyn.dynamics.terms.bond_energy import BondEnergy
from vid2dyn.dynamics.terms.bonds import Bonds
from vid2dyn.dynamics.terms.deformation_energy import DeformationEnergy
from vid2dyn.fitting.course import stopped_early
from vid2dyn.fitting.particles.solids.beginning import sizes_of_terms
from vid2dyn.fitting.particles.solids.rounds import SolidFit, SolidTask, fitted
from vid2dyn.fitting.particles.solids.shooting import Recorded, SolidTerms
from vid2dyn.fitting.particles.solids.warnings import warnings_of
from vid2dyn.inference.solid_motion import SolidMotion
from vid2dyn.model.solid import SolidModel
from vid2dyn.rollout.solids.paths import SolidState, explicit_substeps, frames_along, rates_of
from vid2dyn.rollout.solids.steps import bends

LEAST = 12
"""Frames below which a solid is not fitted."""
COMPARED = 8
"""Most rounds of a fit that is made for comparison."""
SHORT = 120
"""Frames up to which a recording is not worth a first fit to a part of it."""
BEGUN = 0.3
"""Share of the largest displacement that is seen in that part."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Recordings to learn from, and the frames of one that judge.

    Parameters
    ----------
    train : tuple of SolidMotion
    judge : SolidMotion
    first : int
        Frame of the judge from which on it judges; before, it was learned from.
    """

    train: tuple[SolidMotion, ...]
    judge: SolidMotion
    first: int


def fit_solid(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic, seed: int = 0,
              progress: Progress = silent, *, stop: int | None = None, keep_partial: bool = False) -> SolidModel:
    """Learn the numbers of terms on bonds; arguments of `vid2dyn.fit`.

    Raises
    ------
    DataError
        Without held nodes, for held nodes that are missing in some frame, nodes that are missing in the reference
        frame, too few frames, or nodes without bonds.
    ModelError
        When no stiffness is seen.
    """
    several = [tracks] if isinstance(tracks, Trajectories) else list(tracks)
    split = _split(several, recipe)
    first = split.train[0]
    terms = tuple(t for t in (*recipe.energy, *recipe.friction) if isinstance(t, BondTerm))
    reach = max(t.reach for t in terms)
    bonds = [_bonds(motion, reach) for motion in (*split.train, split.judge)]
    scene = _scene((*split.train, split.judge), bonds)
    settled = tuple(t.settled(scene) for t in terms)
    fit = _learn(settled, split, bonds, scene, recipe, seed, progress, "fitting a solid", stop, keep_partial)
    used = recipe.settled_as([t for t in settled if isinstance(t, Energy)],
                             [t for t in settled if not isinstance(t, Energy)])   # type: ignore[misc]
    known = SolidTerms(settled, bonds[-1], recipe.mass_of_node)
    judged = _judged(split, known, fit)
    members = [{"energy": [t.title() for t in used.energy], **judged, "adopted": True}]
    warnings: list[str] = []
    if not fit.left_off and "deformation" in recipe.compare:
        other = _second_member(settled, split, bonds, scene, recipe, seed, progress)
        if other is not None:
            members.append(other)
    arrays = {"theta": fit.theta, "covariance": fit.covariance, "mass": np.atleast_1d(recipe.mass_of_node),
              "reference": first.reference, "support": np.array([bonds[0].length.min(), bonds[0].length.max()]),
              "noise": fit.sigma}
    report: dict[str, Any] = {
        "held_out": {**judged, "trajectory": "the rest of the same one" if split.first else "another one"},
        "noise": {"position": float(fit.sigma[0]), "velocity": float(fit.sigma[1])}, "members": members,
        "bond_lengths": len(np.unique(np.round(bonds[0].length / bonds[0].length.min(), 4))),
        "reference": {"strain": fit.strain.tolist(), "stderr": fit.strain_error.tolist(),
                      "share": fit.strain_share},
        "particles": first.n, "held": int((first.held > 0).sum()), "dim": first.dim, "seed": seed,
        "decrements": list(fit.decrements), "data_sha256": _digest(split.train),
        "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__}}
    if fit.left_off:
        entry, said = stopped_early(len(fit.decrements), recipe.iterations, "Its numbers may still change.")
        report["stopped_early"] = entry
        warnings.append(said)
    model = SolidModel(arrays, recipe_of(dataclasses.replace(used, checkpoint=None)), several[0].units, several[0].box,
                       report)
    balance, temperature = _heat(model, first, recipe.entropy)
    if temperature is not None:
        model = dataclasses.replace(model, arrays={**arrays, "kT": np.array(temperature)})
    report |= {"laws": balance, "entropy_identifiable": temperature is not None,
               "warnings": warnings + warnings_of(model, fit, bonds[0], recipe, members), "parameters": {}}
    model = dataclasses.replace(model, report=report)
    try:
        report["parameters"] = model.parameters()
    except DataError as error:                                # a sheet without an inner part
        report["warnings"].append(str(error))
    return dataclasses.replace(model, report=report)


# ---------------------------------------------------------------- the data

def _split(several: Sequence[Trajectories], recipe: Metriplectic) -> Judged:
    if not several:
        raise DataError("No trajectories were given.")
    for one in several:
        if not isinstance(one, Trajectories):
            raise DataError(f"vd.Metriplectic learns from trajectories, not from {type(one).__name__}.")
    motions = [SolidMotion.of(one, recipe.reference_frame) for one in several]
    for motion in motions:
        if motion.frames < LEAST:
            raise DataError(f"The recording has {motion.frames} frames; a solid needs at least {LEAST}.")
        free = motion.held == 0
        if not free.any():
            raise DataError("All nodes are held: there is no free node to learn from.")
        away = motion.position[:, free] - motion.reference[free]
        if not np.nanmax(np.abs(away)) > 0:
            raise DataError("No free node ever moves: there is nothing to learn from.")
    if len(motions) > 1:
        return Judged(tuple(motions[:-1]), motions[-1], 0)
    whole = motions[0]
    frames = max(LEAST, round((1 - recipe.held_out) * whole.frames))
    return Judged((whole.between(0, frames),), whole, min(frames, whole.frames - 1))


def _bonds(motion: SolidMotion, reach: float) -> Bonds:
    try:
        bonds = Bonds.of(motion.reference, reach, motion.box)
    except ConfigError as error:
        raise DataError(f"Reference frame: {error}") from None
    alone = (bonds.on_nodes(np.ones(len(bonds.length))) == 0) & (motion.held == 0)
    if alone.any():
        raise DataError(f"Node {motion.names[np.argmax(alone)]} has no neighbour within {reach:g} µm in the reference "
                        f"frame ({int(alone.sum())} nodes): nothing would hold it. Give a longer cutoff, or remove "
                        "these nodes.")
    return bonds


def _scene(motions: Sequence[SolidMotion], bonds: Sequence[Bonds]) -> Scene:
    reference = np.concatenate([motion.reference for motion in motions])
    closest = np.array([min(one.length.min() for one in bonds)])
    return Scene(motions[0].dim, motions[0].box, ("",), 1.0, motions[0].dt, closest, reference.min(axis=0),
                 reference.max(axis=0))


def _digest(motions: Sequence[SolidMotion]) -> str:
    digest = hashlib.sha256()
    for motion in motions:
        for array in (motion.position, motion.velocity, motion.held):
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- learning and judging

def _learn(terms: tuple[BondTerm, ...], split: Judged, bonds: Sequence[Bonds], scene: Scene, recipe: Metriplectic,
           seed: int, progress: Progress, what: str, stop: int | None = None, keep_partial: bool = False, *,
           compared: bool = False) -> SolidFit:
    """Size of every term first, then Gauss-Newton."""
    recordings = tuple(Recorded(motion, SolidTerms(terms, its, recipe.mass_of_node))
                       for motion, its in zip(split.train, bonds))
    numbers = [term.parameters(scene) for term in terms]
    sizes = sizes_of_terms(recordings, np.concatenate([p.start for p in numbers]))
    start = np.concatenate([p.start * size for p, size in zip(numbers, sizes)])
    task = SolidTask(
        recordings, np.concatenate([np.full(p.count, size) for p, size in zip(numbers, sizes)]),
        block_diag(*(p.precision / size**2 for p, size in zip(numbers, sizes))),
        np.concatenate([np.full(p.count, p.positive) for p in numbers]),
        min(recipe.iterations, COMPARED) if compared else recipe.iterations, recipe.tolerance)
    place = NOWHERE
    if recipe.checkpoint is not None and not compared:
        arrays = [a for m in split.train for a in (m.position, m.held, m.reference)]
        settings = recipe_of(dataclasses.replace(recipe, checkpoint=None))
        place = Checkpoint(Path(recipe.checkpoint), key_of(repr((settings, seed, vid2dyn.__version__)), *arrays))
    parts = tuple(dataclasses.replace(one, motion=_begun(one.motion)) for one in recordings)
    if sum(p.motion.frames for p in parts) < 0.6 * sum(r.motion.frames for r in recordings) and place.load() is None:
        part = dataclasses.replace(task, recordings=parts, tolerance=max(10.0, task.tolerance))
        start = fitted(part, start, progress, what=f"{what}, its beginning").theta
    strains = not compared and any(isinstance(term, BondEnergy) for term in terms)
    return fitted(task, start, progress, what=what, place=place, stop=stop, keep_partial=keep_partial, strains=strains)


def _begun(motion: SolidMotion) -> SolidMotion:
    """The frames until a good part of the motion is seen: enough to come near, at a fraction of the work."""
    free = motion.held == 0
    with np.errstate(invalid="ignore"):
        away = np.sqrt(np.nanmean((motion.position[:, free] - motion.reference[free]) ** 2, axis=(1, 2)))
    there = int(np.argmax(away >= BEGUN * np.nanmax(away)))
    return motion.between(0, min(motion.frames, max(SHORT, there + SHORT // 2)))


def _judged(split: Judged, terms: SolidTerms, fit: SolidFit) -> dict[str, Any]:
    """Error of the motion of the judge, shot from its first frame, over the frames that were not learned from."""
    motion = split.judge
    solid, mass = terms.frozen(fit.theta), terms.masses()
    free = motion.held == 0
    state = SolidState(*motion.start(float(np.nan_to_num(fit.sigma[1]))), motion.held, mass)
    substeps = explicit_substeps(rates_of(solid, motion.reference, mass), motion.dt)
    places, _ = frames_along(solid, state, motion.path, bends(motion.path), motion.dt, substeps)
    first = max(split.first, 1)
    seen = motion.position[first:, free]
    off, moved = seen - places[first - 1:, free], seen - motion.reference[free]
    if not np.isfinite(places).all():
        return {"displacement_error": math.inf, "rms_error": math.inf, "noise": math.nan, "frames": len(seen)}
    error2, size2 = float(np.nanmean(off**2)), float(np.nanmean(moved**2))
    # what changes from frame to frame without memory is the noise of the record, and no error of the motion
    noise2 = min(0.5 * float(np.nanmean(np.diff(off, axis=0) ** 2)), error2) if len(off) > 2 else 0.0
    return {"displacement_error": math.sqrt((error2 - noise2) / max(size2 - noise2, 1e-300)),
            "rms_error": math.sqrt(error2), "noise": math.sqrt(noise2), "frames": len(seen)}


def _second_member(terms: tuple[BondTerm, ...], split: Judged, bonds: Sequence[Bonds], scene: Scene,
                   recipe: Metriplectic, seed: int, progress: Progress) -> dict[str, Any] | None:
    """The same frictions with the energy of the deformation gradient in place of springs, judged as the model is."""
    springs = [t for t in terms if isinstance(t, BondEnergy)]
    if not springs or any(isinstance(t, DeformationEnergy) for t in terms):
        return None
    term = DeformationEnergy(springs[0].reach).settled(scene)
    other = (term, *(t for t in terms if not isinstance(t, Energy)))
    entry: dict[str, Any] = {"energy": [term.title()], "adopted": False}
    try:
        # how each predicts is told by its energy, not by the last digits: the beginning of the motion is enough
        part = dataclasses.replace(split, train=tuple(_begun(motion) for motion in split.train))
        fit = _learn(other, part, bonds, scene, recipe, seed, progress, "deformation gradient, to compare",
                     compared=True)
        known = SolidTerms(other, bonds[-1], recipe.mass_of_node)
        return entry | _judged(split, known, fit) | {"numbers": fit.theta[:term.count].tolist()}
    except (ModelError, DataError) as error:
        return entry | {"displacement_error": math.inf, "why": str(error)}


def _heat(model: SolidModel, motion: SolidMotion, asked: bool) -> tuple[dict[str, float], tuple[float, float] | None]:
    """Laws over the recording, and the temperature: heat of the dashpots against the entropies of the table.

    T of least squares Q = T S over free nodes and frames, its standard error from the scatter over nodes.
    """
    try:
        made = model.run(motion, motion.path)
    except ModelError:
        return {"energy_drift": math.inf}, None
    size = max(float(np.abs(made.work).max()), float((made.stored + made.kinetic).max()), 1e-300)
    laws = {"energy_imbalance": float(np.abs(made.imbalance).max()) / size,
            "least_heat_of_a_frame": float(np.diff(made.heat.sum(axis=1)).min())}
    if not asked or motion.entropy is None:
        return laws, None
    free = motion.held == 0
    S = motion.entropy - motion.entropy[0]
    seen = np.isfinite(S) & free
    if not (np.abs(S[seen]) > 0).any():
        return laws, None
    top = np.where(seen, S * made.heat, 0.0).sum(axis=0)[free]
    bottom = np.where(seen, S * S, 0.0).sum(axis=0)[free]
    T = float(top.sum() / bottom.sum())
    error = float(np.sqrt(((top - T * bottom) ** 2).sum()) / bottom.sum())
    return laws, (T, error) if T > 0 else None
