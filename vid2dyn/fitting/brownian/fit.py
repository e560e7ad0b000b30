"""Fit of Brownian colloids: from trajectories to a `BrownianModel`.

1. Times that cannot be trusted and particles seen twice are left out (`preparation`).
2. Without forces or with traps alone the likelihood is exact and is maximised (`free_or_trapped`: `likelihood`,
   `trap`); so it is where a column of the table sets the mobility (`structure`). With pair forces, score matching
   gives the forces and indirect inference takes out what noise, blur and frame rate did (`pair_forces`: `design`,
   `indirect`).
3. The last fifth of the frames evaluates a model fitted without them: likelihood per step, calibration of the residuals
   (`evidence`).
4. What a user should know before trusting the model is put into words (`model_warnings`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import vid2dyn
from vid2dyn.core.checkpoint import PathLike, digest_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.evidence import laws
from vid2dyn.fitting.brownian.free_or_trapped import fit_free_or_trapped
from vid2dyn.fitting.brownian.model_warnings import residual_warnings, resolution_warning
from vid2dyn.fitting.brownian.pair_forces import checkpoint_of, fit_pair_forces
from vid2dyn.fitting.brownian.preparation import prepared
from vid2dyn.fitting.brownian.records import FitResult
from vid2dyn.fitting.brownian.structure import fit_structure
from vid2dyn.fitting.course import RunControl
from vid2dyn.model.brownian import BrownianModel


def fit_brownian(tracks: Trajectories, recipe: Brownian, seed: int = 0, progress: Progress = silent, *,
                 checkpoint: PathLike | None = None, stop: int | None = None,
                 keep_partial: bool = False) -> BrownianModel:
    """Learn Brownian dynamics.

    Parameters
    ----------
    tracks : Trajectories
        Linked, with micrometre_per_pixel and frames_per_second; the exposure counts as 0 if unknown (a warning
        says so).
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
    if not isinstance(tracks, Trajectories):
        raise DataError(f"vd.Brownian learns from trajectories, not from {type(tracks).__name__}; for fields give "
                        "vd.GradientFlow().")
    if not tracks.n_particles:
        raise DataError("These trajectories are not linked (particle = -1 everywhere), so nothing is known of how "
                        "particles move. Track the video with vd.track, or give the table a column 'particle'.")
    data, warnings = prepared(tracks, recipe)
    if recipe.structure is not None:
        found = fit_structure(data, progress)
    elif recipe.cutoff is not None:
        control = RunControl(checkpoint_of(checkpoint, data, seed), stop, keep_partial, progress)
        found = fit_pair_forces(data, seed, control)
    else:
        found = fit_free_or_trapped(data, progress)
    model = BrownianModel(found.arrays, recipe_of(found.recipe), data.tracks.units, data.tracks.box)
    column = None if found.recipe.structure is None else data.tracks.dataframe[found.recipe.structure].to_numpy()
    measured = laws(model.dynamics(), data.recording, recipe.cutoff, column)
    warnings = _all_warnings(warnings, found, model, data.tracks)
    report = {**found.evaluation, "laws": measured, "parameters": _parameters(model), "warnings": warnings,
              "seed": seed, "data_sha256": _digest(data.tracks),
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__}}
    return dataclasses.replace(model, report=report)


def _all_warnings(of_data: list[str], found: FitResult, model: BrownianModel, tracks: Trajectories) -> list[str]:
    """That the fit was stopped comes first, then what is said of the data, the fit and the model."""
    return [*([found.stopped] if found.stopped else []), *of_data, *found.warnings,
            *residual_warnings(model, found.evaluation), *resolution_warning(tracks, model)]


def _parameters(model: BrownianModel) -> dict[str, Any]:
    """Headline numbers with errors, for the report."""
    numbers = {"diffusion": model.diffusion(), "diffusion_stderr": model.standard_error("diffusion"),
               "localisation_error": model.localisation_error(),
               "localisation_error_stderr": model.standard_error("localisation_error")}
    if "trap" in model.arrays:
        numbers |= {"trap_stiffness": model.trap_stiffness(),
                    "trap_stiffness_stderr": model.standard_error("trap_stiffness")}
    return numbers


def _digest(tracks: Trajectories) -> str:
    return digest_of(tracks.frame.tobytes(), np.ascontiguousarray(tracks.positions).tobytes())
