"""What is done to tracks before Brownian dynamics are learned from them: times and rows that mislead are left out."""

from __future__ import annotations

import dataclasses

import numpy as np

from vid2dyn.analysis import diffusion
from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.doubles import without_doubles
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData

UNINFORMED = 4.0
"""Noise scale beyond which the stated errors say nothing of which position is good: all then count alike. Else a few
wrong links raise the scale, and the positions with large stated errors are blamed for them (D 3 % low at SNR 50)."""


def prepared(tracks: Trajectories, recipe: Brownian) -> tuple[FitData, list[str]]:
    """The data as the fit uses them, and warnings that say what was left out or assumed.

    Raises
    ------
    UnitsError, DataError
        When a calibration is missing, or when there is too little data.
    """
    tracks, warnings = trusted_lags(tracks)
    if recipe.cutoff is not None:
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a Brownian model")
        tracks, doubled = without_doubles(tracks, recipe.cutoff)
        warnings += doubled
    recording = Recording.of(tracks, recipe.cutoff)
    if tracks.units.exposure is None:
        warnings.append("The exposure is unknown and taken as zero; if the shutter was open for long, the localisation "
                        "error is too small by what motion blur adds.")
    if recipe.localisation == "table":
        if tracks.sigma is None:
            raise DataError("localisation = 'table' needs columns y_std and x_std, which these trajectories lack.")
        return FitData(tracks, recording, recipe, 1.0), warnings
    if free_diffusion(recording).noise_scale > UNINFORMED:
        even = np.full_like(recording.variance, recording.variance.mean())
        recording = dataclasses.replace(recording, variance=even)
    return FitData(tracks, recording, recipe, None), warnings


def trusted_lags(tracks: Trajectories) -> tuple[Trajectories, list[str]]:
    """The tracks, thinned to the first lag at which the errors of successive positions no longer agree."""
    if len(tracks.lagged(1)[0]) < 10:
        raise DataError(f"Only {len(tracks.lagged(1)[0])} displacements between neighbouring frames in "
                        f"{tracks.n_particles} tracks; a fit needs at least 10. Track more frames, or raise "
                        "search_range and memory so that tracks hold together.")
    found = diffusion(tracks)
    if found.method != "slope":
        return tracks, []
    stride = int(min(found.lags))
    thin = tracks.rows(tracks.frame % stride == 0)
    table = thin.dataframe.assign(frame=(thin.frame // stride).astype(np.int32))
    if tracks.sigma is not None:        # pixels that share errors cannot tell which detections are the better ones
        alike = float(np.sqrt(np.mean(tracks.sigma**2))) / tracks.units.um
        table = table.assign(**{f"{axis}_std": alike for axis in tracks.axes})
    fps = tracks.units.frames_per_second
    assert fps is not None
    units = dataclasses.replace(tracks.units, frames_per_second=fps / stride)
    return thin.replace(dataframe=table, units=units), [
        f"Localisation errors of successive frames are correlated (compression or vibration), so short times cannot be "
        f"trusted: only one frame in {stride} was used for the fit."]
