"""Free particles whose mobility is set by a column of the table, such as a variable read off the images.

The comparison is one mobility for all, with the noise free to depend on the column in the same way: what the image
shows sets how well a particle is localised, and only mobility may bring a gain.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.fitting.brownian.evidence import calibration, earlier_steps, held_out_steps, without_held_out
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.mobility import FEWEST_TRACKS, Mobility, Steps, covariance, fit_mobility
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.fitting.course import one_round
from vid2dyn.model.brownian import Measured

FEWEST_STEPS = 200
KNOTS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""Quantiles of the column between which log D is linear."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """What was found with one column: fits to the early frames, with and without it.

    `gain`: log-likelihood per early step of `model` over `plain`, one mobility for all. `middle`, `spread`: mean and
    standard deviation of the column, which `steps` has standardised.
    """

    gain: float
    steps: Steps
    plain: Mobility
    model: Mobility
    middle: float
    spread: float


def fit_structure(recordings: tuple[FitData, ...], progress: Progress) -> FitResult:
    """Mobility as a function of the column that `recipe.structure` names.

    Of several columns (latent_0, latent_1, ... for "latent") the one is taken that explains the motion in the early
    frames best; steps of the held-out frames evaluate it, against one mobility for all.

    Raises
    ------
    DataError, ModelError
        When there is no such column, or it is constant or has values that are not numbers; for several recordings.
    """
    if len(recordings) > 1:
        raise ModelError(f"structure = {recordings[0].recipe.structure!r}: a mobility that depends on a column is "
                         "learned from one recording. Fit each alone, or without structure.")
    (data,) = recordings
    recording, fixed, late = data.recording, data.noise_scale, held_out_steps(data.recording)
    before = earlier_steps(recording)
    names = columns_named(data.tracks, str(data.recipe.structure))
    candidates = {name: _candidate(data, name, before) for name in names}
    name = max(candidates, key=lambda key: candidates[key].gain)
    best = candidates[name]
    steps, model = best.steps, best.model
    evaluation = _held_out_evaluation(steps.where(late[steps.among]), best.plain, model)
    final = fit_mobility(steps, model.knots, [model], fixed)
    arrays = _arrays(recording, best, final, covariance(steps, final, fixed))
    held = evaluation["held_out"]
    seen = model.residuals(steps.where(before[steps.among]))
    held["train_log_likelihood_per_step"] = float(seen.log_likelihood.mean())
    evaluation["structure"] = {
        "column": name, "gain_per_step": held["gain_per_step"], "gain_per_step_stderr": held["gain_per_step_stderr"],
        "gain_on_early_frames": {key: found.gain for key, found in candidates.items()}}
    evaluation["course"] = one_round(progress, "log-likelihood per particle and step",
                                     held["train_log_likelihood_per_step"], held["log_likelihood_per_step"])
    warnings = []
    if not held["gain_per_step"] > 3 * held["gain_per_step_stderr"]:
        warnings.append(f"On frames it did not see, knowing {name} predicts the steps no better than one mobility for "
                        "all particles: within the errors the structure does not set the mobility in these data.")
    return FitResult(arrays, evaluation, dataclasses.replace(data.recipe, structure=name), warnings)


def _candidate(data: FitData, name: str, before: np.ndarray) -> Candidate:
    """Fits to the early frames with one column."""
    fixed = data.noise_scale
    values, middle, spread = _standardised(data.tracks, name)
    steps = Steps.of(data.recording, values, data.recipe.structure_delay)
    if len(steps.dx) < FEWEST_STEPS:
        raise DataError(f"Only {len(steps.dx)} steps of particles seen {data.recipe.structure_delay} detections "
                        f"before; a mobility that depends on {name} needs at least {FEWEST_STEPS}. Film or link longer "
                        "tracks.")
    early = steps.where(before[steps.among])
    start = _start(without_held_out(data.recording), fixed)
    plain = fit_mobility(early, np.zeros(1), [start], fixed)
    knots = np.unique(np.quantile(steps.c, KNOTS))
    if len(knots) < 2:
        raise ModelError(f"Column {name!r} is the same almost everywhere; a mobility cannot depend on it.")
    model = fit_mobility(early, knots, [start, plain], fixed)
    gain = float((model.residuals(early).log_likelihood - plain.residuals(early).log_likelihood).mean())
    return Candidate(gain, steps, plain, model, middle, spread)


def columns_named(tracks: Trajectories, name: str) -> list[str]:
    """The column `name`, or the columns name_0, name_1, ... of the table."""
    table = tracks.dataframe.columns
    if name in table:
        return [name]
    found = [c for c in table if re.fullmatch(re.escape(name) + r"_\d+", str(c))]
    if not found:
        raise DataError(f"structure = {name!r}: no such column; the tracks have {', '.join(map(str, table))}. "
                        "vd.encode(video, tracks) makes latent_0, latent_1, ... from the images.")
    return found


def _standardised(tracks: Trajectories, name: str) -> tuple[np.ndarray, float, float]:
    """(values - mean)/standard deviation, mean, standard deviation."""
    values = tracks.dataframe[name].to_numpy(dtype=float)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(f"Column {name!r} has {bad.size} values that are not numbers, the first in row {bad[0]}. "
                        "Drop those rows, or encode the recording again.")
    spread = float(values.std())
    if not spread > 0:
        raise ModelError(f"Column {name!r} is constant; a mobility cannot depend on it.")
    return (values - values.mean()) / spread, float(values.mean()), spread


def _start(recording: Recording, fixed: float | None) -> Mobility:
    free = free_diffusion(recording, fixed)
    return Mobility(np.zeros(1), np.array([math.log(free.diffusion), max(free.noise_scale, 1e-3), 0.0]))


def _held_out_evaluation(late: Steps, plain: Mobility, model: Mobility) -> dict[str, Any]:
    """Log-likelihood of unseen steps with and without the structure; the error from the scatter between tracks."""
    one, other = model.residuals(late), plain.residuals(late)
    gain = one.log_likelihood - other.log_likelihood
    tracks, of = np.unique(late.track, return_inverse=True)
    error = float("nan")
    if gain.size:
        scatter = gain - gain.mean()
        parts = np.bincount(of, scatter) if len(tracks) >= FEWEST_TRACKS else scatter
        error = float(np.sqrt((parts**2).sum())) / gain.size
    with_it, without, mean_gain = (float(value.mean()) if gain.size else float("nan")
                                   for value in (one.log_likelihood, other.log_likelihood, gain))
    held = {"log_likelihood_per_step": with_it, "free_diffusion_log_likelihood_per_step": without,
            "gain_per_step": mean_gain, "gain_per_step_stderr": error, "steps": int(gain.size)}
    return {"held_out": held, "calibration": calibration(one)}


def _arrays(recording: Recording, best: Candidate, fitted: Mobility, cov: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of the model; D and the noise are means over the detections, with errors carried over linearly."""
    k, steps = len(fitted.knots), best.steps
    D = fitted.diffusion(steps.c)
    hats = np.stack([np.interp(steps.c, fitted.knots, row) for row in np.eye(k)], axis=1)
    slope = (D[:, None] * hats).mean(axis=0)
    scale = fitted.noise_scale(steps.c)
    variance = float((scale[:, None] * steps.before).mean())
    stated = float(recording.variance.mean())
    sigma = math.sqrt(max(variance, 0.0))
    noise_stderr = math.sqrt(max(cov[k, k], 0.0)) if len(cov) > k else 0.0
    error = stated * noise_stderr / (2 * sigma) if sigma**2 > 3 * stated * noise_stderr else \
        math.sqrt(stated * noise_stderr)
    return {"diffusion": Measured(D.mean(), math.sqrt(max(slope @ cov[:k, :k] @ slope, 0.0))).array(),
            "localisation": Measured(sigma, error).array(),
            "noise_scale": Measured(float(scale.mean()), noise_stderr).array(),
            "structure_knots": best.middle + best.spread * fitted.knots,
            "structure_log_diffusion": fitted.log_diffusion, "structure_covariance": cov[:k, :k]}
