"""Fit of a list of terms: from velocities to forces, friction, kT, and the heat that particles carry.

Order: what the data are (species, velocities, temperature of the motion); friction against window, which chooses the
window (`plateau`); a first fit on few windows; ranges and terms earn their place on windows nobody learned from
(`selection`); the final fit on many windows; with ``entropy=True`` heat that particles carry (`particle_heat`); where
noise remembers, the parts of friction that late drift shows (`late_friction`); error bars, laws. The likelihood is in
`vid2dyn.inference.window_score`, its maximum is found in `windowed`.

Temperature: with ``stationary=True`` it is that of the velocities (equipartition), and friction with its noise, which
tell it by the fluctuation-dissipation theorem, have to agree; the report says both, and a warning if they do not. With
``stationary=False`` friction and noise alone tell it.
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
import torch

import vid2dyn
from vid2dyn.core.checkpoint import NOWHERE, Checkpoint, key_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import Scene
from vid2dyn.dynamics.terms.conduction import Conduction
from vid2dyn.fitting.course import stopped_early
from vid2dyn.fitting.particles import selection
from vid2dyn.fitting.particles.late_friction import NEARER, LateFriction, first_lag, late_friction, misfit
from vid2dyn.fitting.particles.laws import laws_of_terms
from vid2dyn.fitting.particles.memory_kernel import (
    Kernel,
    Shares,
    chosen_kernel,
    noise_shares,
    not_reached,
    share_error,
    share_of,
    unexplained_rise,
)
from vid2dyn.fitting.particles.motion_checks import (
    motion_temperature,
    scene_of,
    unlike_particles,
    velocity_warnings,
)
from vid2dyn.fitting.particles.particle_heat import Finding, find_heat
from vid2dyn.fitting.particles.plateau import Plateau, friction_against_window, share_shown
from vid2dyn.fitting.particles.windowed import (
    Learned,
    Observed,
    Task,
    WindowSet,
    friction_slopes,
    learn,
    prior,
    window_starts,
)
from vid2dyn.inference.species import with_species
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms
from vid2dyn.model.term_list import TermListModel

FEW = 32
"""Windows of the fits by which ranges and terms are chosen."""
MANY = 128
"""Most windows of the final fit."""
WITHOUT = 8
"""Most iterations of a fit without one of the terms: one that is missed leaves covariances that take long to settle,
and is missed by far more than that."""
JUDGED = 24
"""Most windows of the held-out likelihood."""
LEAST = 16
"""Frames below which there is nothing to choose windows from."""
HELD = 1e-4
"""Error of ln kT in the scoring where velocities give it: what friction and noise say is a check, not a correction."""
DISAGREE = 5.0
"""Standard errors by which two temperatures, or a recording, may differ: a false alarm of 6e-7."""


@dataclass(frozen=True, eq=False)
class Split:
    """Recordings learned from (whole, or the first part), and the one that judges (whole, or the rest of the only one).
    """

    train: tuple[FluidSteps, ...]
    judge: FluidSteps
    alone: bool
    """Whether the judge is the rest of the only recording."""


def fit_terms(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic, seed: int = 0,
              progress: Progress = silent, *, stop: int | None = None, keep_partial: bool = False) -> TermListModel:
    """Learn the numbers of a list of terms; arguments of `vid2dyn.fit`.

    Raises
    ------
    DataError
        For positions without velocities, missing particles, too few frames, a species column that is absent or changes.
    ConfigError
        For a range of more than half the box, or a mass for each of more or fewer species.
    ModelError
        When the motion shows no friction or the fit diverges.
    """
    several = [tracks] if isinstance(tracks, Trajectories) else list(tracks)
    reach = max((t.reach for t in recipe.terms), default=0.0)
    parts = _parts(several, reach, recipe)
    parts, species = with_species(several, parts, recipe.species)
    mass = _masses(recipe, species)
    warnings = velocity_warnings(parts)
    if recipe.species is None:
        warnings += _ignored_species(several)
    split = _split(parts, recipe)
    scene = scene_of(split.train, species, mass, reach)
    conducting = max((t.reach for t in recipe.friction if isinstance(t, Conduction)), default=0.0)
    recipe = recipe.settled_as(recipe.energy, [t for t in recipe.friction if not isinstance(t, Conduction)])
    terms = Terms(tuple(t.settled(scene) for t in recipe.energy),
                  tuple(t.settled(scene) for t in recipe.friction), mass)

    plateau = friction_against_window(split.train, terms, scene.kT, progress, recipe.window_frames)
    if (said := plateau.warning()) is not None:
        warnings.append(said)
    frames = min(plateau.chosen, max(1, min(part.count for part in (*split.train, split.judge)) // 4))
    if recipe.window_frames is not None and frames < recipe.window_frames:
        warnings.append(f"window_frames = {recipe.window_frames} is too long for these recordings: windows of {frames} "
                        "frames were used.")
    observed = _observed(split, recipe, frames, plateau, mass)
    settings = repr((recipe_of(dataclasses.replace(recipe, checkpoint=None)), seed, frames))

    def place(what: str) -> Checkpoint:
        if recipe.checkpoint is None:
            return NOWHERE
        return Checkpoint(Path(f"{recipe.checkpoint}.{what}"), checkpoint_key(parts, settings + what))

    def fitted(what: str, terms: Terms, most: int, start: Numbers | None = None, iterations: int = recipe.iterations,
               **options: Any) -> tuple[Task, Learned]:
        windows = WindowSet(observed.only(most), terms, seed)
        task = Task(windows, scene, min(iterations, recipe.iterations), recipe.tolerance, what, **options)
        return task, learn(task, place(what.replace(" ", "-")), progress, start)

    _, first = fitted("terms, first look", terms, FEW, stop=stop, keep_partial=keep_partial)
    judge = selection.Judge(WindowSet(dataclasses.replace(
        observed, recordings=(split.judge,), starts=window_starts((split.judge,), frames, JUDGED)), terms, seed))
    found: dict[str, Any] = {"ranges": [], "terms": []}
    share_doubt = 0.0
    heat, late = Finding({}, {}, []), None
    final = first
    if not first.left_off:
        looked = terms
        try:
            if recipe.select:
                seconds = frames * observed.recordings[0].dt
                terms, start, said_of = _selected(fitted, judge, terms, first, scene, seconds, found)
                warnings += said_of
            else:
                start = first.numbers
            shares = noise_shares(split.train, terms, start, progress)
            judged = noise_shares((split.judge,), terms, start, progress)
            kernel, tried = chosen_kernel(shares, judged, recipe.memory_modes)
            reached = not_reached(shares, kernel)
            warnings += [said for said in (unexplained_rise(shares, kernel), reached) if said is not None]
            terms = _remembering(terms, kernel)
            observed = dataclasses.replace(observed, shown=share_of(shares, kernel, frames))
            share_doubt = share_error(shares, kernel, frames)
            found["window"] = _of_window(plateau, shares, kernel) | {
                "modes_tried": tried, "plateau": plateau.found and reached is None}
            _, final = fitted("terms", terms, MANY, start, keep_partial=keep_partial)
            if final.decrements and abs(final.decrements[-1]) > 10 * recipe.tolerance:
                left = abs(final.decrements[-1])
                warnings.append(f"The fit stopped after {final.done} iterations with about {left:.2g} nats still to be "
                                "gained: its numbers are not the best ones and their bands too narrow. Raise "
                                "iterations, take fewer knots, or leave out a term.")
            if recipe.entropy and not final.left_off:
                heat = _heat(split, terms, final, observed, mass, conducting, seed, progress)
            if kernel.times and not final.left_off:
                lag = first_lag(kernel, frames, split.train[0].dt)
                late, found["late_friction"] = _late(split, terms, final, observed, lag, recipe, scene, seed, progress)
            warnings += selection.degenerate_terms(terms, final)
            warnings += unlike_particles(WindowSet(observed, terms, seed), final.numbers, recipe.species is not None)
            if not split.alone and len(split.train) > 1:
                found["recordings"], named = _recordings(split, terms, final, observed, seed)
                warnings += named
        except Cancelled:
            if not keep_partial:
                raise
            # ranges and terms that were being judged are forgotten with what was found of them
            terms, found, final = looked, {"ranges": [], "terms": []}, dataclasses.replace(first, left_off=True)
    if final.left_off:
        if "window" not in found:
            terms = _remembering(terms, Kernel((plateau.memory,), (1.0,)) if plateau.memory > 0 else Kernel())
        entry, said = stopped_early(final.done, recipe.iterations, "Its numbers may still change, and ranges and terms "
                                    "were judged only if the report says so.")
        found["stopped_early"] = entry
        warnings.insert(0, said)
    kinetic, kinetic_error = motion_temperature(parts, mass)
    covariance, excess = _covariance(final, kinetic_error if recipe.stationary else math.inf)
    of_noise, of_noise_error = _temperature_of_noise(final, excess, recipe.stationary)
    lls, chi2 = judge.log_likelihoods(terms, final.numbers), judge.chi2(terms, final.numbers)
    seconds = frames * observed.recordings[0].dt
    friction, friction_error = _friction(final, WindowSet(observed, terms), covariance)
    share = final.numbers.unexplained / max(friction, 1e-300)
    warnings += _temperature_warnings(of_noise, of_noise_error, kinetic, kinetic_error, recipe)
    if share > 0.15:
        warnings.append(f"{100 * share / (1 + share):.0f} % of the noise is explained by no friction of the list: it "
                        "moves particles one by one. Add SubstrateFriction if there is a solvent or a substrate, or "
                        "give the frictions a longer range.")
    warnings += heat.warnings
    used = dataclasses.replace(recipe.settled_as(terms.energies, terms.frictions), entropy=heat.identified)
    arrays = {"theta": final.numbers.theta, "kT": np.atleast_1d(final.numbers.kT),
              "unexplained": np.atleast_1d(final.numbers.unexplained), "covariance": covariance, "mass": mass,
              "support": _support(parts, terms, scene), **heat.arrays}
    if late is not None:
        of = slice(terms.of_energies, len(final.numbers.theta))
        arrays["theta"] = np.concatenate([final.numbers.theta[:terms.of_energies], late.phi])
        arrays["noise_theta"], arrays["covariance"] = final.numbers.theta, covariance.copy()
        for cross in (np.s_[of, :], np.s_[:, of]):
            arrays["covariance"][cross] = 0.0
        arrays["covariance"][of, of] = late.covariance
    first_tracks = several[0]
    report = {
        "held_out": {"log_likelihood_per_second": float(lls.mean()) / seconds, "windows": len(lls),
                     "trajectory": "the rest of the same one" if split.alone else "another one"},
        "calibration": {"chi2": float(chi2.mean()), "numbers": int(len(chi2) * split.judge.n * split.judge.dim)},
        **found, "window": found.get("window", plateau.report()) | {
            "frames": frames, "seconds": seconds, "shown": observed.shown, "friction": friction,
            "friction_stderr": math.hypot(friction_error, friction * share_doubt)},
        "kT": {"fit": final.numbers.kT, "of_velocities": kinetic, "of_velocities_stderr": kinetic * kinetic_error,
               "of_friction_and_noise": of_noise, "of_friction_and_noise_stderr": of_noise * of_noise_error},
        "unexplained_noise": share, "species": list(species), "excess_scatter": excess,
        "entropy_identifiable": heat.identified, "dim": parts[0].dim, "particles": parts[0].n,
        **({"heat": heat.report} if heat.report else {}),
        "warnings": warnings, "seed": seed, "decrements": list(final.decrements), "data_sha256": _digest(parts),
        "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__, "torch": torch.__version__}}
    model = TermListModel(arrays, recipe_of(dataclasses.replace(used, checkpoint=None)), first_tracks.units,
                              first_tracks.box, report)
    report = report | {"parameters": model.parameters(), "laws": laws_of_terms(model, parts[0])}
    return dataclasses.replace(model, report=report)


# ---------------------------------------------------------------- the data

def checkpoint_key(parts: Sequence[FluidSteps], settings: str) -> str:
    """Digest of everything a fit of terms depends on, the version of vid2dyn included."""
    arrays = [a for part in parts for a in (part.position, part.velocity, part.species, part.names)]
    about = [(part.dt, part.box.to_dict(), part.first_frame) for part in parts]
    return key_of(repr((settings, about, vid2dyn.__version__)), *arrays)


def _parts(several: Sequence[Trajectories], reach: float, recipe: Metriplectic) -> tuple[FluidSteps, ...]:
    if not several:
        raise DataError("No trajectories were given.")
    for one in several:
        if not isinstance(one, Trajectories):
            raise DataError(f"vd.Metriplectic learns from trajectories, not from {type(one).__name__}; for fields give "
                            "vd.GradientFlow().")
    parts = tuple(FluidSteps.of(one, reach, least=LEAST) for one in several)
    for part in parts:
        if not (np.diff(part.velocity, axis=0) != 0).any():
            raise DataError("No velocity ever changes: there is neither noise nor force to learn from (temperature "
                            "zero). Check the velocity columns.")
        if part.dim != parts[0].dim or abs(part.dt / parts[0].dt - 1) > 1e-9:
            raise DataError("The trajectories differ in dimensions or frame rate; fit them one by one.")
    if parts[0].dim not in (2, 3):
        raise DataError(f"The trajectories have {parts[0].dim} dimension; particles move in 2 or 3.")
    return parts


def _masses(recipe: Metriplectic, species: tuple[str, ...]) -> np.ndarray:
    mass = np.atleast_1d(np.asarray(recipe.mass, float))
    if len(mass) not in (1, len(species)):
        raise ConfigError(f"Metriplectic: mass has {len(mass)} numbers for {len(species)} species "
                          f"({', '.join(map(repr, species))}); give one number, or one for each in this order.")
    return np.broadcast_to(mass, (len(species),)).copy()


def _ignored_species(several: Sequence[Trajectories]) -> list[str]:
    for tracks in several:
        if "species" in tracks.dataframe and tracks.dataframe["species"].nunique() > 1:
            return [f"The table names {tracks.dataframe['species'].nunique()} species in its column 'species', and all "
                    "particles were taken to be alike: forces and friction are averages over kinds of pairs. Give "
                    "species=\"species\"."]
    return []


def _split(parts: tuple[FluidSteps, ...], recipe: Metriplectic) -> Split:
    if len(parts) > 1:
        return Split(parts[:-1], parts[-1], False)
    whole = parts[0]
    stop = whole.count - max(4, round(recipe.held_out * whole.count))
    return Split((whole.between(0, stop),), whole.between(stop, whole.count), True)


def _observed(split: Split, recipe: Metriplectic, frames: int, plateau: Plateau, mass: np.ndarray) -> Observed:
    shown = share_shown(frames * split.train[0].dt, plateau.memory) if plateau.found else 1.0
    starts = window_starts(split.train, frames, MANY)
    if not recipe.stationary:
        return Observed(split.train, starts, frames, shown)
    kT, _ = motion_temperature(split.train, mass)
    return Observed(split.train, starts, frames, shown, math.log(kT), HELD)


def _digest(parts: Sequence[FluidSteps]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.position.tobytes())
        digest.update(part.velocity.tobytes())
    return digest.hexdigest()


def _support(parts: Sequence[FluidSteps], terms: Terms, scene: Scene) -> np.ndarray:
    """Closest distance of each kind of pairs and the longest range: where functions of r were seen, (kinds, 2)."""
    closest = np.where(np.isfinite(scene.closest), scene.closest, 0.0)
    return np.stack([closest, np.full(len(closest), terms.reach)], axis=1)


# ---------------------------------------------------------------- ranges and terms

def _selected(fitted: Any, judge: selection.Judge, terms: Terms, first: Learned, scene: Scene, seconds: float,
              found: dict[str, Any]) -> tuple[Terms, Numbers, list[str]]:
    """Terms with the ranges that they earn, without those that add nothing; numbers to go on from; what is to be said.
    """
    numbers, said = first.numbers, []
    ours = judge.log_likelihoods(terms, numbers)
    for what, reach in (("shorter", selection.shorter), ("longer", selection.longer)):
        new = [reach(t, numbers.theta[s], scene) or t for t, s in terms.slices()]
        changed = [(old, t) for (old, _), t in zip(terms.slices(), new, strict=True) if old.reach != t.reach]
        if not changed:
            continue
        candidate = _with(terms, new)
        _, other = fitted(f"terms, {what} ranges", candidate, FEW, _mapped(terms, numbers, candidate))
        theirs = judge.log_likelihoods(candidate, other.numbers)
        adds, error = selection.gain(theirs, ours)
        # a shorter range has to be as good, a longer one better
        kept = adds > (-2 * error if what == "shorter" else 2 * error)
        found["ranges"] += [{"term": t.title(), "from": old.reach, "to": t.reach, "adds": adds / seconds,
                             "stderr": error / seconds, "kept": bool(kept)} for old, t in changed]
        if kept:
            terms, numbers, ours = candidate, other.numbers, theirs
            break
    entries, dropped = [], []
    for place, (term, _) in enumerate(terms.slices()):
        rest = _without(terms, place)
        if not rest.slices() or (term in terms.frictions and len(terms.frictions) == 1):
            entries.append((term.title(), term.reach, math.nan, math.nan, True))
            continue
        _, other = fitted(f"terms, without number {place}", rest, FEW, _numbers_without(terms, numbers, place),
                          WITHOUT)
        adds, error = selection.gain(ours, judge.log_likelihoods(rest, other.numbers))
        kept = adds > 2 * error
        entries.append((term.title(), term.reach, adds / seconds, error / seconds, bool(kept)))
        if not kept:
            dropped.append(place)
            said.append(f"{term.title()} adds nothing to the prediction of motion that was set aside "
                        f"({adds / seconds:.2g} ± {error / seconds:.1g} nats per particle and second) and was left "
                        "out.")
    found["terms"] = [{"term": name, "range": reach, "adds": None if math.isnan(adds) else adds,
                       "stderr": None if math.isnan(error) else error, "kept": kept}
                      for name, reach, adds, error, kept in entries]
    for place in reversed(dropped):
        numbers = _numbers_without(terms, numbers, place)
        terms = _without(terms, place)
    return terms, numbers, said


def _with(terms: Terms, new: Sequence[Any]) -> Terms:
    count = len(terms.energies)
    return dataclasses.replace(terms, energies=tuple(new[:count]), frictions=tuple(new[count:]))


def _mapped(old: Terms, numbers: Numbers, new: Terms) -> Numbers:
    before = [t for t, _ in old.slices()]
    theta = [numbers.theta[s] for _, s in old.slices()]
    return dataclasses.replace(numbers, theta=np.concatenate(
        [selection.mapped(before, theta, t, k) for k, (t, _) in enumerate(new.slices())]))


def _without(terms: Terms, place: int) -> Terms:
    count = len(terms.energies)
    return dataclasses.replace(terms, energies=tuple(t for k, t in enumerate(terms.energies) if k != place),
                               frictions=tuple(t for k, t in enumerate(terms.frictions) if k + count != place))


def _numbers_without(terms: Terms, numbers: Numbers, place: int) -> Numbers:
    kept = [numbers.theta[s] for k, (_, s) in enumerate(terms.slices()) if k != place]
    return dataclasses.replace(numbers, theta=np.concatenate([np.zeros(0), *kept]))


def _heat(split: Split, terms: Terms, final: Learned, observed: Observed, mass: np.ndarray, conducting: float,
          seed: int, progress: Progress) -> Finding:
    """Heat that particles carry, at the numbers that were learned; it flows as far as friction reaches, or as asked."""
    numbers = final.numbers
    theta = [numbers.theta[place] for _, place in terms.slices()]
    frozen = freeze([term for term, _ in terms.slices()], theta, kT=numbers.kT, mass=mass, dim=split.judge.dim)
    reach = min(conducting or terms.friction_reach, frozen.cutoff)
    return find_heat(split.train, split.judge, terms, numbers, observed.frames, observed.shown, frozen, reach, seed,
                     progress)


def _late(split: Split, terms: Terms, final: Learned, observed: Observed, lag: int, recipe: Metriplectic, scene: Scene,
          seed: int, progress: Progress) -> tuple[LateFriction | None, dict[str, Any]]:
    """The parts of friction from drift if they are to be taken, and what the report says of them."""
    windows = WindowSet(observed, terms, seed)
    task = Task(windows, scene, recipe.iterations, recipe.tolerance, "parts of friction")
    of = slice(terms.of_energies, len(final.numbers.theta))
    slopes = friction_slopes(windows)
    late = late_friction(split.train, terms, final.numbers, _covariance(final, math.inf)[0][of, of],
                         prior(task, final.numbers)[0][of, of], slopes, lag, progress)
    if late is None:
        return None, {"taken": False}
    entry = late.report(split.train[0].dt)
    if not late.differs:
        return None, entry | {"taken": False}
    friction = float(slopes @ final.numbers.theta[of])
    other = dataclasses.replace(final.numbers, theta=np.concatenate(
        [final.numbers.theta[:terms.of_energies], late.phi]))
    try:
        before, after = (misfit(split.train[0], terms, numbers, friction, seed, progress)
                         for numbers in (final.numbers, other))
    except ModelError:
        return None, entry | {"taken": False}
    taken = after < NEARER * before
    return late if taken else None, entry | {"misfit": after, "misfit_of_noise": before, "taken": bool(taken)}


# ---------------------------------------------------------------- what is said of it

def _covariance(final: Learned, kinetic_error: float) -> tuple[np.ndarray, float]:
    """Of all parameters and ln kT, ν; widened by how much more the scores of the windows scatter than they should."""
    total = final.total.copy()
    if math.isfinite(kinetic_error):
        total[-2, -2] += kinetic_error**-2 - HELD**-2
    size = np.sqrt(np.maximum(np.diag(total), 1e-300))
    inverse = np.linalg.pinv(total / size[:, None] / size, rcond=1e-10, hermitian=True) / size[:, None] / size
    count = len(final.scores)
    values, vectors = np.linalg.eigh(final.information / size[:, None] / size / count)
    good = values > 1e-4 * values.max()
    scores = final.scores - final.scores.mean(axis=0)
    white = (scores / size) @ vectors[:, good] / np.sqrt(values[good])
    excess = float((white**2).mean()) * count / max(1, count - 1)
    return inverse * max(1.0, excess), excess


def _remembering(terms: Terms, kernel: Kernel) -> Terms:
    """Terms that act with a delay get their memory times."""
    return dataclasses.replace(terms, frictions=tuple(
        t.remembering(kernel.times, kernel.weights) if t.temporal else t for t in terms.frictions))


def _of_window(plateau: Plateau, shares: Shares, kernel: Kernel) -> dict[str, Any]:
    """Friction against window, with what a fitted model takes off, and the memory that it shows."""
    friction, error = shares.share * shares.friction, shares.error * shares.friction
    rows = zip(shares.frames, shares.seconds, friction, error, strict=True)
    return plateau.report() | {
        "friction_against_window": [[int(k), float(t), float(g), float(e)] for k, t, g, e in rows],
        "memory_time": sum(w * t for w, t in zip(kernel.weights, kernel.times, strict=True)),
        "memory_times": list(kernel.times), "memory_weights": list(kernel.weights)}


def _friction(final: Learned, windows: WindowSet, covariance: np.ndarray) -> tuple[float, float]:
    """Γ of a particle and its standard error [mass/s]."""
    of = slice(windows.terms.of_energies, len(final.numbers.theta))
    slopes = friction_slopes(windows)
    return float(slopes @ final.numbers.theta[of]), math.sqrt(max(float(slopes @ covariance[of, of] @ slopes), 0.0))


def _temperature_of_noise(final: Learned, excess: float, held: bool) -> tuple[float, float]:
    """kT by friction and noise alone, and its relative error: where held fast, one step of the score from there."""
    total = final.total.copy()
    if held:
        total[-2, -2] -= HELD**-2
    size = np.sqrt(np.maximum(np.diag(total), 1e-300))
    inverse = np.linalg.pinv(total / size[:, None] / size, rcond=1e-10, hermitian=True) / size[:, None] / size
    # at the maximum every other slope is zero, and that of ln kT is what held it
    step = float(inverse[-2, -2] * final.scores.sum(axis=0)[-2]) if held else 0.0
    error = math.sqrt(max(float(inverse[-2, -2]) * max(1.0, excess), 0.0))
    return final.numbers.kT * math.exp(max(-1.0, min(1.0, step))), error


def _temperature_warnings(fit: float, own: float, kinetic: float, error: float, recipe: Metriplectic) -> list[str]:
    apart = abs(math.log(fit / kinetic))
    if apart <= max(DISAGREE * math.hypot(own, error), 0.1):
        return []
    said = (f"Temperatures disagree: velocities have kT = {kinetic:.4g}, friction and its noise {fit:.4g} (energy in "
            "mass · µm²/s²).")
    if recipe.stationary:
        return [said + " The particles are not at equilibrium (driven, active, cooling), velocities carry noise of "
                "their own, or windows are too short for the memory of the noise. For a sample that is not at "
                "equilibrium give stationary=False."]
    return [said + " The particles are not at equilibrium, or velocities carry noise of their own."]


def _recordings(split: Split, terms: Terms, final: Learned, observed: Observed,
                seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """χ² and likelihood of every recording under the shared physics; one far from the others is named."""
    found, chi = [], []
    everything = (*split.train, split.judge)
    for k, part in enumerate(everything):
        one = dataclasses.replace(observed, recordings=(part,), starts=window_starts((part,), observed.frames, JUDGED))
        judge = selection.Judge(WindowSet(one, terms, seed))
        lls, chi2 = judge.log_likelihoods(terms, final.numbers), judge.chi2(terms, final.numbers)
        error = math.sqrt(2.0 / (len(chi2) * part.n * part.dim))
        found.append({"recording": k + 1, "log_likelihood_per_window": float(lls.mean()), "chi2": float(chi2.mean()),
                      "chi2_stderr": error, "windows": len(lls)})
        chi.append((float(chi2.mean()), error))
    said = []
    for k, (value, error) in enumerate(chi):
        others = [c for j, (c, _) in enumerate(chi) if j != k]
        middle = float(np.median(others))
        spread = max(error, 1.4826 * float(np.median(np.abs(np.array(others) - middle))) if len(others) > 2 else error)
        if abs(value - middle) > max(DISAGREE * spread, 0.03):
            said.append(f"Recording {k + 1} does not belong to the others: its momentum changes are {value:.3g} of "
                        f"what the shared physics says, those of the others {middle:.3g}. Another temperature, density "
                        "or sample; fit it by itself or leave it out.")
    return found, said
