"""Fit of inertial particles: from recordings with velocities to a model, whatever its terms.

The path is one:

1. recordings are checked, and a part of them is set aside as judge (`recordings`);
2. a first look: all terms as they are given, by Fisher scoring of their numbers (`scoring`);
3. windows as long as the noise remembers (`plateau`, `memory_kernel`, `fluid_windows`);
4. ranges and terms earn their place by the likelihood of motion that nobody learned from (`selection`);
5. the final numbers, and what particles carry: heat, late friction, one temperature or many;
6. error bars, laws, recordings that do not belong, the report.

What depends on the likelihood is a `learner.Learner`. There are two. Terms at one temperature see windows of motion one
by one (`vid2dyn.inference.window_score`). An equation of state needs the entropy of every particle at every frame,
which nobody sees: it is carried from frame to frame by the motion that was seen (`vid2dyn.inference.score`), so its
likelihood is that of a whole recording. Solids on bonds are learned by shooting (`solids`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

import vid2dyn
from vid2dyn.core.checkpoint import PathLike
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.fitting.course import checked, stopped_early
from vid2dyn.fitting.particles.fluid import FluidLearner
from vid2dyn.fitting.particles.learner import Learner, Run
from vid2dyn.fitting.particles.recordings import Recordings, compared
from vid2dyn.fitting.particles.solids.fit import fit_solid
from vid2dyn.fitting.particles.term_lists import TermLearner
from vid2dyn.model.base import Model


def learner_of(recipe: Metriplectic) -> Learner[Any]:
    """The only place that asks which likelihood terms need: an equation of state needs entropy that is carried."""
    return FluidLearner() if recipe.is_fluid else TermLearner()


def fit_metriplectic(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic, seed: int = 0,
                     progress: Progress = silent, *, checkpoint: PathLike | None = None, stop: int | None = None,
                     keep_partial: bool = False) -> Model:
    """Learn inertial particles from velocities.

    Parameters
    ----------
    tracks : Trajectories, or several
        Of several, all but the last are learned from and the last one judges. An entropy column is not read.
    recipe : Metriplectic
    seed : int
        Of the probes of the score, and of the structure-free variant.
    checkpoint, stop, keep_partial
        See `vid2dyn.fit`; a round is an iteration of the first look. A fit that was stopped has learned from the
        training steps alone; windows, ranges and terms, and entropy were judged only if the report says so.

    Raises
    ------
    DataError
        For positions without velocities, numbers that are not finite, missing particles, too few frames, particles in
        one place, particles that do not move, or a species column that is absent or changes.
    ConfigError
        For a range of more than half the box, or a mass for each of more or fewer species.
    ModelError
        When the velocities show no friction or the fit diverges.
    """
    several, stop = [tracks] if isinstance(tracks, Trajectories) else list(tracks), checked(stop)
    if checkpoint is not None:
        recipe = dataclasses.replace(recipe, checkpoint=str(checkpoint))
    if recipe.is_solid:
        return fit_solid(several, recipe, seed, progress, stop=stop, keep_partial=keep_partial)
    recipe = recipe.short_form
    learner = learner_of(recipe)
    recordings = Recordings.of(several, recipe, *learner.layout_of(recipe))
    fit = learner.first_look(Run(recordings, recipe, seed, progress, stop, keep_partial))
    found: dict[str, Any] = {}
    apart: list[str] = []
    try:
        if not fit.learned.left_off:
            for latest in learner.stages(fit):
                fit = latest
            if len(recordings.parts) > 2:
                found["recordings"], apart = compared(recordings.parts, partial(learner.judged, fit), progress)
    except Cancelled:
        if not keep_partial:
            raise
        fit = fit.stopped()
    model, about, said = learner.described(fit)
    learned = fit.learned
    left = abs(learned.decrements[-1]) if learned.decrements else 0.0
    # of numbers that are not settled yet it is not known whether all recordings share them
    settled = not learned.blocked and left <= 10 * recipe.tolerance
    warnings = [*recordings.warnings, *fit.warnings, *(apart if settled else ()), *said]
    still = f"about {left:.2g} nats still to be gained"
    if learned.left_off:
        found["stopped_early"], unfinished = stopped_early(
            learned.done, recipe.iterations, f"About {left:.2g} nats were still to be gained: its numbers may "
            "still change, and ranges, terms and entropy were judged only if the report says so.")
        warnings.insert(0, unfinished)
    elif learned.blocked:
        warnings.append(f"The fit stopped after {learned.done} iterations with {still}, because there is no way "
                        f"on. {learned.blocked}")
    elif not settled:
        warnings.append(f"The fit stopped after {learned.done} iterations with {still}: its numbers are not the "
                        "best ones and their bands too narrow. Raise iterations, take fewer knots, or leave out a "
                        "term.")
    report = {**fit.found, **about, **found, "warnings": warnings, "seed": seed, "decrements": list(learned.decrements),
              "data_sha256": recordings.digest(),
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__, "torch": torch.__version__}}
    return dataclasses.replace(model, report=report)                                          # type: ignore[type-var]
