"""Fit of a metriplectic fluid whose entropy nobody sees.

What is learned is a vector of some twenty numbers (`vid2dyn.dynamics.fluid.numbers`), from the full covariance of the
observed velocity changes, with entropy carried by the model (`vid2dyn.inference.score`). Entropy is never a
target: it acts through T and P only, so nothing is gained by making it small. Gauge: kB = 1 and the mass is given, so
noise over friction is a temperature in energy, and dS = heat/T has its unit; the origin of S is the mean state of
the first frame. Twenty numbers allow Fisher scoring, with exact information, in place of thousands of gradient steps.

Order: start values from moments; scoring on the training steps; the isothermal member in the same way; both judged on
steps that none of them saw; with a single trajectory, scoring is then taken up again with all steps.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vid2dyn
from vid2dyn.core.checkpoint import Checkpoint, PathLike
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.fitting.course import checked, stopped_early
from vid2dyn.fitting.particles import evidence
from vid2dyn.fitting.particles.certainty import certainty
from vid2dyn.fitting.particles.laws import laws
from vid2dyn.fitting.particles.scoring import (
    Prior,
    Progressed,
    checkpoint_key,
    learn,
    moments,
    prior_of,
)
from vid2dyn.inference.start import pattern, started
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.metriplectic import MetriplecticModel


@dataclass(frozen=True, eq=False)
class Split:
    """Trajectories for training, each up to a step, and what judges: a trajectory from a step on."""

    train: tuple[FluidSteps, ...]
    judge: FluidSteps
    judged_from: int
    same: bool
    """Whether the judge is the rest of the only trajectory."""

    @property
    def everything(self) -> tuple[FluidSteps, ...]:
        """What the final numbers are learned from."""
        return (self.judge,) if self.same else self.train


@dataclass(frozen=True, eq=False)
class Member:
    """A fitted member of the family."""

    theta: np.ndarray
    layout: Layout
    prior: Prior
    starts: tuple[np.ndarray, ...]
    decrements: tuple[float, ...]
    left_off: bool


def fit_metriplectic(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic, seed: int = 0,
                     progress: Progress = silent, *, checkpoint: PathLike | None = None, stop: int | None = None,
                     keep_partial: bool = False) -> MetriplecticModel:
    """Learn a fluid from velocities.

    Parameters
    ----------
    tracks : Trajectories, or several
        Of several, all but the last are learned from and the last one judges. An entropy column is not read.
    recipe : Metriplectic
    seed : int
        Of the probes of the score, and of the structure-free member.
    checkpoint, stop, keep_partial
        See `vid2dyn.fit`; a round is an iteration of the fluid itself. A fit that was stopped has learned from the
        training steps alone and was not judged.

    Raises
    ------
    DataError
        For positions without velocities, numbers that are not finite, missing particles, too few frames, particles in
        one place, or particles that do not move.
    ModelError
        When the velocities show no friction or the fit diverges.
    """
    if checkpoint is not None:
        recipe = dataclasses.replace(recipe, checkpoint=str(checkpoint))
    split = _split(tracks, recipe)
    layout = _layout(split.train, recipe)
    full = _learned(split, split.train, layout, moments(split.train, layout), recipe, seed, progress, "fluid",
                    checked(stop), keep_partial)
    warnings: list[str] = []
    verdict: dict[str, Any] = {}
    identified, taught = True, split.train
    if not full.left_off:
        try:
            verdict, identified, final = _judged_and_taught(split, full, recipe, seed, progress)
            full, taught = final, split.everything
        except Cancelled:
            if not keep_partial:
                raise
            full = dataclasses.replace(full, left_off=True)
    if not identified:
        warnings.append("Entropy not identifiable from these data: a fluid at one temperature predicts velocities that "
                        "were set aside as well. The model has one temperature.")
    covariance, excess, support = certainty(taught, full.starts, full.theta, full.layout, full.prior, seed)
    arrays = {"theta": full.theta, "covariance": covariance, "support": support,
              "active": full.layout.active.astype(np.int64),
              "layout": np.array([layout.dim, layout.cutoff, layout.mass, layout.volume, layout.knots, layout.power])}
    first = tracks if isinstance(tracks, Trajectories) else tracks[0]
    used = recipe_of(dataclasses.replace(recipe, checkpoint=None))
    model = MetriplecticModel(arrays, used, first.units, first.box, {"entropy_identifiable": identified})
    if full.left_off:
        verdict["stopped_early"], said = stopped_early(
            len(full.decrements), recipe.iterations, f"About {abs(full.decrements[-1]):.2g} nats were still to be "
            "gained; held-out steps were not judged, and whether entropy is identifiable was not tested.")
        warnings.insert(0, said)
    elif full.decrements and abs(full.decrements[-1]) > 10 * recipe.tolerance:
        warnings.append(f"The fit stopped after {len(full.decrements)} iterations with about "
                        f"{abs(full.decrements[-1]):.2g} nats still to be gained; raise iterations.")
    report = {**verdict, "entropy_identifiable": identified, "excess_scatter": excess,
              "laws": laws(model.arrays["theta"], full.layout, taught[0], full.starts[0]),
              "parameters": _said(model), "warnings": warnings, "seed": seed,
              "decrements": list(full.decrements), "data_sha256": _digest(split),
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__, "torch": torch.__version__}}
    return dataclasses.replace(model, report=report)


def _judged_and_taught(split: Split, full: Member, recipe: Metriplectic, seed: int,
                       progress: Progress) -> tuple[dict[str, Any], bool, Member]:
    """Held-out likelihoods, whether entropy is identifiable, and the member that is left, taught by all steps."""
    verdict: dict[str, Any] = {}
    identified = True
    if "isothermal" in recipe.compare:
        # at one temperature n and k1 are one number
        layout = full.layout
        cold = layout.only(layout.active & ~np.isin(np.arange(layout.size), [1, 3, 4, 6]))
        even = moments(split.train, layout)
        even[[1, 3, 4, 6]] = 0.0
        isothermal = _learned(split, split.train, cold, even, recipe, seed, progress, "isothermal member")
        verdict, identified = _judged(split, full, isothermal, recipe, seed, progress)
        full = full if identified else isothermal
    if split.same:
        full = _learned(split, split.everything, full.layout, full.theta, recipe, seed, progress, "fluid, all steps")
    return verdict, identified, full


def _split(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic) -> Split:
    several = [tracks] if isinstance(tracks, Trajectories) else list(tracks)
    for one in several:
        if not isinstance(one, Trajectories):
            raise DataError(f"vd.Metriplectic learns from trajectories, not from {type(one).__name__}; for fields give "
                            "vd.GradientFlow().")
    if not several:
        raise DataError("No trajectories were given.")
    parts = [FluidSteps.of(one, recipe.cutoff, least=recipe.window + 2) for one in several]
    for part in parts:
        if not (np.diff(part.velocity, axis=0) != 0).any():
            raise DataError("No velocity ever changes: there is neither noise nor force to learn from (temperature "
                            "zero). Check the velocity columns.")
        if part.dim != parts[0].dim or abs(part.dt / parts[0].dt - 1) > 1e-9:
            raise DataError("The trajectories differ in dimensions or frame rate; fit them one by one.")
    if parts[0].dim not in (2, 3):
        raise DataError(f"The trajectories have {parts[0].dim} dimension; a fluid has 2 or 3.")
    if len(parts) > 1:
        return Split(tuple(parts[:-1]), parts[-1], min(recipe.window, parts[-1].count // 2), False)
    whole = parts[0]
    stop = whole.count - max(2, round(recipe.held_out * whole.count))
    return Split((whole.between(0, stop),), whole, stop, True)


def _layout(data: Sequence[FluidSteps], recipe: Metriplectic) -> Layout:
    """What is learned; V0 is the mean volume at the first frame."""
    from vid2dyn.encoders.entropy import invariants

    part = data[0]
    box = part.box.after(part.first_frame * part.dt)
    x = invariants(part.position[0], part.velocity[0], box, part.cutoff).log_volume
    active = np.ones(8 + 2 * (recipe.knots + 3), bool)
    active[7] = False
    active[3], active[4:6], active[6] = recipe.bend, recipe.cold, recipe.conduction
    return Layout(part.dim, recipe.cutoff, recipe.mass, float(np.exp(x).mean()), recipe.knots,
                  int(recipe.law == "transport"), active)


def _learned(split: Split, data: Sequence[FluidSteps], layout: Layout, theta: np.ndarray, recipe: Metriplectic,
             seed: int, progress: Progress, what: str, stop: int | None = None, keep_partial: bool = False) -> Member:
    """One member by scoring; the temperatures at which further trajectories start are found in between."""
    prior = prior_of(theta, layout)
    theta = np.where(layout.active, theta, np.where(np.isin(np.arange(layout.size), [3, 4, 5, 7]), 0.0, theta))

    def starts(numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        first = pattern(data[0], numbers, layout, recipe.start)
        return (first, *(started(part, numbers, layout, recipe.start, recipe.window, seed) for part in data[1:]))

    def judge(numbers: np.ndarray) -> tuple[float, float]:
        return _worth(split, numbers, layout, recipe, seed)

    settings = repr((recipe_of(dataclasses.replace(recipe, checkpoint=None)), seed, what))
    place = None
    if recipe.checkpoint is not None:
        place = Path(f"{recipe.checkpoint}.{what.replace(' ', '-').replace(',', '')}")
    state: Progressed = learn(data, starts, layout, theta=theta, prior=prior, iterations=recipe.iterations,
                              tolerance=recipe.tolerance, seed=seed, stop=stop, keep_partial=keep_partial,
                              place=Checkpoint(place, checkpoint_key(data, layout, settings)),
                              judge=judge if data is split.train else None, progress=progress, what=what)
    return Member(state.theta, layout, prior, starts(state.theta), state.decrements, state.left_off)


def _worth(split: Split, theta: np.ndarray, layout: Layout, recipe: Metriplectic, seed: int) -> tuple[float, float]:
    """Log-likelihood per particle and step of some steps learned from, and of some held out."""
    if split.same:
        data, first = split.judge, split.judged_from
        start = pattern(data, theta, layout, recipe.start)
        found = evidence.some_likelihoods(data, theta, layout, start)
        return float(np.nanmean(found[:first])), float(np.nanmean(found[first:]))
    train, judge = split.train[0], split.judge
    seen = evidence.some_likelihoods(train, theta, layout, pattern(train, theta, layout, recipe.start))
    later = evidence.some_likelihoods(judge, theta, layout,
                                      started(judge, theta, layout, recipe.start, recipe.window, seed))
    return float(np.nanmean(seen)), float(np.nanmean(later[split.judged_from:]))


def _judged(split: Split, full: Member, isothermal: Member, recipe: Metriplectic, seed: int,
            progress: Progress) -> tuple[dict[str, Any], bool]:
    """Held-out likelihoods side by side; True if entropy is identifiable."""
    data, first = split.judge, split.judged_from

    def start(member: Member) -> np.ndarray:
        if split.same:
            return member.starts[0]
        return started(data, member.theta, member.layout, recipe.start, recipe.window, seed)

    progress(0, 3, "judging")
    ours, chi2 = evidence.held_out_likelihood(data, full.theta, full.layout, start(full), first)
    progress(1, 3, "judging")
    theirs, _ = evidence.held_out_likelihood(data, isothermal.theta, isothermal.layout, start(isothermal), first)
    entropy_gain, error = evidence.gain(ours, theirs)
    held = {"log_likelihood_per_step": float(ours.mean()), "steps": len(ours),
            "trajectory": "the rest of the same one" if split.same else "another one",
            "isothermal_log_likelihood_per_step": float(theirs.mean()),
            "entropy_gain_per_step": entropy_gain, "entropy_gain_per_step_stderr": error}
    progress(2, 3, "judging")
    if "unconstrained" in recipe.compare:
        stops = [part.count for part in split.train]
        net, _, tick = evidence.train_unconstrained(split.train, stops, seed, progress=progress)
        free = evidence.unconstrained_likelihood(net, data, first, tick)
        value, doubt = evidence.gain(ours, free)
        held |= {"unconstrained_log_likelihood_per_step": float(free.mean()), "structure_gain_per_step": value,
                 "structure_gain_per_step_stderr": doubt}
    progress(3, 3, "judging")
    calibration = {"chi2": float(chi2.mean()), "numbers": int(len(chi2) * data.n * data.dim)}
    return {"held_out": held, "calibration": calibration}, bool(entropy_gain > 2 * error and entropy_gain > 0)


def _said(model: MetriplecticModel) -> dict[str, Any]:
    """Numbers at the middle of the data, with their bands."""
    S, V = model.arrays["support"][0][2], model.arrays["support"][1][2]
    said: dict[str, Any] = {"S": float(S), "V": float(V)}
    for name in ("temperature", "pressure"):
        low, high = model.band(name, S, V)
        said[name] = [float(getattr(model, name)(S, V)), float(low), float(high)]
    for name in ("shear_viscosity", "bulk_viscosity", "conductivity"):
        low, high = model.band(name)
        said[name] = [float(getattr(model, name)()), float(low), float(high)]
    return said


def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    for part in (*split.everything, split.judge):
        digest.update(part.position.tobytes())
        digest.update(part.velocity.tobytes())
    return digest.hexdigest()
