"""Free particles whose mobility is set by a column of the table, such as a variable read off the images.

The comparison is one mobility for all, with the noise free to depend on the column in the same way: what the image
shows sets how well a particle is localised, and only mobility may bring a gain.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.evidence import calibration
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.mobility import FEWEST_TRACKS, Mobility, Steps, covariance, fit_mobility
from vid2dyn.fitting.brownian.recording import Recording

FEWEST_STEPS = 200
KNOTS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""Quantiles of the column between which log D is linear."""


def fit_structure(tracks: Trajectories, recording: Recording, recipe: Brownian, fixed: float | None,
                  late: np.ndarray) -> tuple[str, dict[str, np.ndarray], dict[str, Any], list[str]]:
    """Mobility as a function of the column that `recipe.structure` names.

    Of several columns (latent_0, latent_1, ... for "latent") the one is taken that explains the motion in the early
    frames best; `late` steps judge it, against one mobility for all.

    Returns
    -------
    Name of the column, arrays of the model, verdict, warnings.

    Raises
    ------
    DataError, ModelError
        When there is no such column, or it is constant or has values that are not numbers.
    """
    candidates = {}
    for name in columns_named(tracks, str(recipe.structure)):
        values, middle, spread = _standardised(tracks, name)
        steps = Steps.of(recording, values, recipe.structure_delay)
        if len(steps.dx) < FEWEST_STEPS:
            raise DataError(f"Only {len(steps.dx)} steps of particles seen {recipe.structure_delay} detections before; "
                            f"a mobility that depends on {name} needs at least {FEWEST_STEPS}. Film or link longer "
                            "tracks.")
        early = steps.where(~late[steps.among])
        start = _start(recording, fixed)
        plain = fit_mobility(early, np.zeros(1), [start], fixed)
        knots = np.unique(np.quantile(steps.c, KNOTS))
        if len(knots) < 2:
            raise ModelError(f"Column {name!r} is the same almost everywhere; a mobility cannot depend on it.")
        model = fit_mobility(early, knots, [start, plain], fixed)
        gain = float((model.residuals(early).log_likelihood - plain.residuals(early).log_likelihood).mean())
        candidates[name] = (gain, steps, plain, model, middle, spread)
    name = max(candidates, key=lambda key: candidates[key][0])
    _, steps, plain, model, middle, spread = candidates[name]
    verdict = _verdict(steps.where(late[steps.among]), plain, model)
    final = fit_mobility(steps, model.knots, [model], fixed)
    arrays = _arrays(recording, steps, final, covariance(steps, final, fixed), middle, spread)
    held = verdict["held_out"]
    seen = model.residuals(steps.where(~late[steps.among]))
    held["train_log_likelihood_per_step"] = float(seen.log_likelihood.mean())
    verdict["structure"] = {
        "column": name, "gain_per_step": held["gain_per_step"], "gain_per_step_stderr": held["gain_per_step_stderr"],
        "gain_on_early_frames": {key: found[0] for key, found in candidates.items()}}
    warnings = []
    if not held["gain_per_step"] > 3 * held["gain_per_step_stderr"]:
        warnings.append(f"On frames it did not see, knowing {name} predicts the steps no better than one mobility for "
                        "all particles: within the errors the structure does not set the mobility in these data.")
    return name, arrays, verdict, warnings


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


def _verdict(late: Steps, plain: Mobility, model: Mobility) -> dict[str, Any]:
    """Log-likelihood of unseen steps with and without the structure; the error from the scatter between tracks."""
    one, other = model.residuals(late), plain.residuals(late)
    gain = one.log_likelihood - other.log_likelihood
    tracks, of = np.unique(late.track, return_inverse=True)
    error = float("nan")
    if gain.size:
        scatter = gain - gain.mean()
        parts = np.bincount(of, scatter) if len(tracks) >= FEWEST_TRACKS else scatter
        error = float(np.sqrt((parts**2).sum())) / gain.size
    mean = {key: float(value.mean()) if gain.size else float("nan")
            for key, value in (("one", one.log_likelihood), ("other", other.log_likelihood), ("gain", gain))}
    held = {"log_likelihood_per_step": mean["one"], "free_diffusion_log_likelihood_per_step": mean["other"],
            "gain_per_step": mean["gain"], "gain_per_step_stderr": error, "steps": int(gain.size)}
    return {"held_out": held, "calibration": calibration(one)}


def _arrays(recording: Recording, steps: Steps, fitted: Mobility, cov: np.ndarray, middle: float,
            spread: float) -> dict[str, np.ndarray]:
    """What the model keeps; D and the noise are means over the detections, with errors carried over linearly."""
    k = len(fitted.knots)
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
    return {"diffusion": np.array([D.mean(), math.sqrt(max(slope @ cov[:k, :k] @ slope, 0.0))]),
            "localisation": np.array([sigma, error]), "noise_scale": np.array([float(scale.mean()), noise_stderr]),
            "structure_knots": middle + spread * fitted.knots, "structure_log_diffusion": fitted.numbers[:k],
            "structure_covariance": cov[:k, :k]}
