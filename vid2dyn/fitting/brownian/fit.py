"""Fit of Brownian colloids: from trajectories to a `BrownianModel`.

1. Times that cannot be trusted and particles seen twice are left out (`preparation`).
2. Without forces or with traps alone the likelihood is exact and is maximised (`free_or_trapped`: `likelihood`,
   `trap`); so it is where a column of the table sets the mobility (`structure`). With pair forces, score matching
   gives the forces and indirect inference takes out what noise, blur and frame rate did (`pair_forces`: `design`,
   `indirect`); a column then sets both by classes of particles (`structure_classes`).
3. The last fifth of the frames evaluates a model fitted without them: likelihood per step, calibration of the residuals
   (`evidence`).
4. Every assumption is tested on the residuals, beside a recording that the model makes (`assessed`).
5. What a user should know before trusting the model is put into words (`model_warnings`); of several recordings
   also what each says alone, and which does not belong (`recordings_alone`, `recordings_report`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

import vid2dyn
from vid2dyn.assessment.assumptions.memory import Persistence
from vid2dyn.assessment.assumptions.particles import SameForce, SameMobility
from vid2dyn.core.checkpoint import PathLike, digest_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.showing import as_progress
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.assessed import assess_data
from vid2dyn.fitting.brownian.evidence import laws
from vid2dyn.fitting.brownian.free_or_trapped import fit_free_or_trapped
from vid2dyn.fitting.brownian.model_warnings import residual_warnings, resolution_warning
from vid2dyn.fitting.brownian.packing.fit_packing import fit_packing
from vid2dyn.fitting.brownian.pair_forces import checkpoint_of, fit_pair_forces, view_of
from vid2dyn.fitting.brownian.populations import population_warnings
from vid2dyn.fitting.brownian.preparation import prepared_recordings
from vid2dyn.fitting.brownian.reach import no_pair_force, not_told_apart, widest_cutoff, with_chosen_cutoff
from vid2dyn.fitting.brownian.recordings_report import recordings_report
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.fitting.brownian.stationarity import decided, with_stationary
from vid2dyn.fitting.brownian.structure import fit_structure
from vid2dyn.fitting.brownian.structure_classes import Classes, fit_classes, recipe_of_classes
from vid2dyn.fitting.course import Course, RunControl
from vid2dyn.fitting.recording_names import recording_names
from vid2dyn.model.brownian import BrownianModel

WORKING = ("The sample is not at rest: over the recording the particles move along the learned forces more than "
           "against them, as a sample does that relaxes, spreads or is driven. Forces were learned again from motion "
           "alone (stationary = False), so bands are wider.")
"""Said where the learned forces do work and stationary = "auto"."""


def fit_brownian(tracks: Trajectories | Sequence[Trajectories], recipe: Brownian, seed: int = 0,
                 progress: Progress = silent, *, checkpoint: PathLike | None = None, stop: int | None = None,
                 keep_partial: bool = False) -> BrownianModel:
    """Learn Brownian dynamics.

    Parameters
    ----------
    tracks : Trajectories, or several
        Linked, with micrometre_per_pixel and frames_per_second; the exposure counts as 0 if unknown (a warning
        says so). Several recordings share the physics (pair potentials, D, stiffness of traps), each has its own noise
        scale, drift, field of view, frame rate, exposure and centres of traps. From 8 recordings on error bars are the
        scatter between them; with fewer, recordings are taken to differ by chance alone.
    recipe : Brownian
    seed : int
        Seed of the simulations that measure the estimator's errors; the same seed gives the same model.
    checkpoint, stop, keep_partial
        See `vid2dyn.fit`; for pair forces, whose fit goes in rounds: what is kept is the round that changed the forces
        least, and its bands count that change as an error.

    Raises
    ------
    UnitsError, DataError, ModelError
        When a calibration is missing, when there is too little data, or when the field of view is too small.
    """
    several = [tracks] if isinstance(tracks, Trajectories) else _recordings(tracks)
    for one, name in zip(several, recording_names([one.info for one in several]), strict=True):
        if not one.n_particles:
            raise DataError(f"{'These' if len(several) == 1 else f'{name}: these'} trajectories are not linked "
                            "(particle = -1 everywhere), so nothing is known of how particles move. Track the video "
                            "with vd.track, or give the table a column 'particle'.")
    if recipe.cutoff != "auto":
        return _learned(several, recipe, seed, progress, checkpoint, stop, keep_partial)
    without = _learned(several, dataclasses.replace(recipe, cutoff=None), seed,
                       as_progress(lambda *done: progress(*done)), None, None, keep_partial)
    said = no_pair_force(without.report, recipe) or not_told_apart(several)
    if said is None:
        try:
            return _learned(several, recipe, seed, progress, checkpoint, stop, keep_partial)
        except (DataError, ModelError) as error:
            said = {"cutoff": None, "says": f"A pair force shows and could not be fitted: {str(error).rstrip('.')}. "
                                            "Give its range, cutoff = ... in µm (see vd.analysis.rdf), or film more."}
    course = without.report["course"]
    Course(course["what"]).replay(progress, course["train"], course["held_out"])
    return dataclasses.replace(without, report={**without.report, "range": said})


def _learned(several: list[Trajectories], recipe: Brownian, seed: int, progress: Progress,
             checkpoint: PathLike | None, stop: int | None, keep_partial: bool) -> BrownianModel:
    """The model of this recipe, assessed."""
    classes = None
    if recipe.structure is not None and recipe.cutoff is not None:
        classes = Classes.of(several, recipe.structure)
        several, recipe = [classes.named(one) for one in several], recipe_of_classes(recipe, classes)
    data, warnings, reach = _prepared(several, recipe, seed, progress, checkpoint)
    found = _estimated(data, classes, seed, progress, checkpoint, stop, keep_partial)
    if recipe.stationary == "auto" and data[0].recipe.stationary and found.stopped is None and any(
            "The sample is not at rest" in text for text in found.warnings):
        data = with_stationary(data, False)
        found = _estimated(data, classes, seed, progress, checkpoint, stop, keep_partial)
        warnings.append(WORKING)
    first = data[0]
    model = BrownianModel(found.arrays, recipe_of(found.recipe), first.tracks.units, first.tracks.box)
    column = None if found.recipe.structure is None else first.tracks.dataframe[found.recipe.structure].to_numpy()
    column = first.recording.species if first.recording.species is not None else column
    if recipe.labels == "found":
        named = model.labelled(first.tracks).dataframe["species"]
        column = np.array([max(model.species.index(name), 0) if name in model.species else 0 for name in named])
    cutoff = found.recipe.cutoff
    assert not isinstance(cutoff, str)
    measured = laws(model.dynamics(), first.recording, cutoff, column)
    warnings = _all_warnings(warnings, found, model, data)
    report = {**found.evaluation, "laws": measured, "parameters": _parameters(model), "warnings": warnings,
              "seed": seed, "data_sha256": _digest([one.tracks for one in data]),
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__}}
    if reach is not None:
        report["range"] = reach
    apart: list[str] = []
    if len(data) > 1:
        report["recordings"], apart = recordings_report(data, several, found, model)
        warnings += apart
    if recipe.packed:       # says forces only: in a cage nothing is learned of the motion that these tests are about
        return dataclasses.replace(model, report=report)
    table = assess_data(data, model, seed)
    report["assessment"] = table.rows()
    alike_in_steps = [found.effect / 100 for found in table.findings if found.test == SameMobility.name]
    if any(one.test == Persistence.name and one.sign > 0 for one in table.failed):
        report["parameters"]["persistent"] = True
    if alike_in_steps:
        report["parameters"]["diffusion_spread"] = max(alike_in_steps)
    if not apart:       # a model of recordings that do not belong together is wrong in each of them
        alike = any("The particles are not alike" in text for text in warnings)
        warnings += table.sentences(without=(SameMobility.name, SameForce.name) if alike else ())
    return dataclasses.replace(model, report=report)


def _recordings(tracks: Any) -> list[Trajectories]:
    """The recordings, at least one and all of them trajectories."""
    if not isinstance(tracks, list | tuple) or not tracks or not all(isinstance(one, Trajectories) for one in tracks):
        wrong = [type(one).__name__ for one in tracks if not isinstance(one, Trajectories)] if isinstance(
            tracks, list | tuple) else [type(tracks).__name__]
        raise DataError(f"vd.Brownian learns from trajectories, one or a list of them, not from "
                        f"{wrong[0] if wrong else 'an empty list'}; for fields give vd.GradientFlow().")
    return list(tracks)


def _prepared(tracks: list[Trajectories], recipe: Brownian, seed: int, progress: Progress,
              checkpoint: PathLike | None) -> tuple[tuple[FitData, ...], list[str], dict[str, Any] | None]:
    """The data as the fit uses them, warnings, and, where the range was to be found, what each range adds."""
    if recipe.cutoff != "auto":
        data, warnings = prepared_recordings(tracks, recipe)
        data, moving = decided(data)
        return data, [*warnings, *moving], None
    seen, _ = prepared_recordings(tracks, dataclasses.replace(recipe, cutoff=None))
    widest = widest_cutoff([one.recording for one in seen], [view_of(one) for one in seen])
    data, warnings = prepared_recordings(tracks, dataclasses.replace(recipe, cutoff=widest))
    data, moving = decided(data)
    data, reach, said = with_chosen_cutoff(data, seed, progress, checkpoint)
    return data, [*warnings, *moving, *said], reach


def _estimated(data: tuple[FitData, ...], classes: Classes | None, seed: int, progress: Progress,
               checkpoint: PathLike | None, stop: int | None, keep_partial: bool) -> FitResult:
    """What the estimator for this recipe finds."""
    recipe = data[0].recipe
    if recipe.structure is not None:
        return fit_structure(data, progress)
    if recipe.cutoff is None:
        return fit_free_or_trapped(data, progress)
    if recipe.packed:
        return fit_packing(data, seed, progress)
    control = RunControl(checkpoint_of(checkpoint, data, seed), stop, keep_partial, progress)
    if classes is not None:
        return fit_classes(data, classes, seed, control)
    return fit_pair_forces(data, seed, control)


def _all_warnings(of_data: list[str], found: FitResult, model: BrownianModel, data: tuple[FitData, ...]) -> list[str]:
    """That the fit was stopped comes first, then what is said of the data, the fit and the model."""
    resolution = [text for one in data for text in resolution_warning(one.tracks, model)]
    of_residuals = [] if found.recipe.packed else residual_warnings(model, found.evaluation)
    return [*([found.stopped] if found.stopped else []), *of_data, *found.warnings,
            *of_residuals, *dict.fromkeys(resolution),
            *(population_warnings(data, found.models) if found.models else [])]


def _parameters(model: BrownianModel) -> dict[str, Any]:
    """Headline numbers with errors, for the report.

    `fit_brownian` adds "diffusion_spread", the relative standard deviation of D between particles beyond chance, and
    "persistent" where particles keep their direction, so that D is none of equilibrium.
    """
    numbers = {"diffusion": model.diffusion(), "diffusion_stderr": model.standard_error("diffusion"),
               "localisation_error": model.localisation_error(),
               "localisation_error_stderr": model.standard_error("localisation_error")}
    for name in model.species:
        low, high = model.band("diffusion", name, 0.682689492137)
        numbers |= {f"diffusion_{name}": model.diffusion(species=name),
                    f"diffusion_{name}_stderr": 0.5 * float(high - low)}
    if "trap" in model.arrays:
        numbers |= {"trap_stiffness": model.trap_stiffness(),
                    "trap_stiffness_stderr": model.standard_error("trap_stiffness")}
    return numbers


def _digest(tracks: list[Trajectories]) -> str:
    return digest_of(*(part for one in tracks
                       for part in (one.frame.tobytes(), np.ascontiguousarray(one.positions).tobytes())))
