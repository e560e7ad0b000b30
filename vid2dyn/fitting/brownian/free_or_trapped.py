"""Particles that do not interact: free diffusion and harmonic traps, by maximum likelihood.

Of several recordings the sum of the likelihoods is maximised: one D (of each species) and one stiffness, noise and
centres of each recording.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.fitting.brownian.arrays import Noise, common_arrays, recording_arrays
from vid2dyn.fitting.brownian.evidence import StepModel, held_out_evidence, step_likelihoods
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion, shared_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.recordings_alone import (
    Compared,
    RecordingsAlone,
    scatter_of_free,
    shared_stderr,
)
from vid2dyn.fitting.brownian.records import TOO_SHORT, FitData, FitResult
from vid2dyn.fitting.brownian.species import names_array
from vid2dyn.fitting.brownian.trap import fit_shared_traps, fit_traps
from vid2dyn.fitting.course import one_round
from vid2dyn.model.brownian import Measured


@dataclasses.dataclass(frozen=True, eq=False)
class _Found:
    """Arrays of the model, what the likelihood of each recording's steps depends on, what the recordings say alone."""

    arrays: dict[str, np.ndarray]
    models: list[StepModel]
    alone: RecordingsAlone | None = None


def fit_free_or_trapped(data: tuple[FitData, ...], progress: Progress) -> FitResult:
    """D, noise and trap; as they are without the last frames, they are evaluated on these."""
    fit = _free if data[0].recipe.trap == "none" else _trapped
    found, warnings = fit(data, data), []
    try:
        models = fit(tuple(one.before_held_out() for one in data), data).models
        recordings = [one.judged() for one in data]
    except (DataError, ModelError) as error:
        models, recordings = found.models, [one.recording for one in data]
        warnings.append(TOO_SHORT.format(error))
    evaluation = held_out_evidence(recordings, models)
    evaluation["course"] = one_round(progress, "log-likelihood per particle and step",
                                     *step_likelihoods(recordings, models))
    return FitResult(found.arrays, evaluation, data[0].recipe, warnings, recordings=found.alone, models=tuple(models))


def _free(data: tuple[FitData, ...], judged: tuple[FitData, ...]) -> _Found:
    """One D for all, or for each species, and the noise of each recording and species; models of `judged`."""
    species, fixed = max(1, len(data[0].species)), data[0].noise_scale
    D, D_stderr = np.ones(species), np.zeros(species)
    noise, noise_stderr = np.ones((len(data), species)), np.zeros((len(data), species))
    compared = []
    for s in range(species):
        parts = [one.recording.of_species(s) for one in data]
        there = [r for r, part in enumerate(parts) if len(part.steps) >= 10 or len(data) == 1]
        if len(data) == 1:
            found, errors = free_diffusion(parts[0], fixed), jackknife(parts[0], fixed)
            D[s], noise[0, s] = found.diffusion, found.noise_scale
            D_stderr[s], noise_stderr[0, s] = errors.diffusion, errors.noise_scale
            continue
        shared = shared_diffusion([parts[r] for r in there], fixed)
        D[s], noise[there, s], noise_stderr[there, s] = shared.diffusion, shared.noise_scales, shared.noise_stderr
        values, stderr, freedom, weights = (np.full(len(data), np.nan) for _ in range(4))
        weights[:] = 0.0
        weights[there] = shared.information / shared.information.sum()
        for r in there:
            own = free_diffusion(parts[r], fixed)
            scatter = scatter_of_free(parts[r], own.diffusion, own.noise_scale, fixed is not None)
            values[r], stderr[r], freedom[r] = own.diffusion, scatter.log_diffusion * own.diffusion, scatter.freedom
        D_stderr[s] = shared_stderr(values, weights, stderr, D[s])
        compared.append(Compared("diffusion" if species == 1 else f"diffusion of species {s}", values, stderr, freedom))
    scales = Noise(noise, noise_stderr)
    arrays = {**common_arrays(data, D, D_stderr, scales), **recording_arrays(data, scales)}
    if data[0].species:
        arrays["species"] = names_array(data[0].species)
    models = [StepModel.of(one.recording, (), 0.0, np.zeros_like(one.recording.position), D, noise[r])
              for r, one in enumerate(judged)]
    return _Found(arrays, models, RecordingsAlone(tuple(compared), D_stderr) if len(data) > 1 else None)


def _trapped(data: tuple[FitData, ...], judged: tuple[FitData, ...]) -> _Found:
    """Arrays of the model, and what the likelihood of the steps of `judged` depends on."""
    recipe, recordings = data[0].recipe, [one.recording for one in data]
    shared = recipe.trap == "shared"
    alone = None
    if len(data) == 1:
        traps = [fit_traps(recordings[0], shared=shared, noise_scale=data[0].noise_scale,
                           stationary=bool(recipe.stationary))]
    else:
        traps, alone = fit_shared_traps(recordings, shared=shared, noise_scale=data[0].noise_scale,
                                        stationary=bool(recipe.stationary))
    first = traps[0]
    stiffness_stderr, diffusion_stderr, _ = np.sqrt(np.maximum(np.diag(first.covariance), 0.0)).tolist()
    noise = Noise(np.array([[trap.noise_scale] for trap in traps]),
                  np.array([[np.sqrt(max(trap.covariance[2, 2], 0.0))] for trap in traps]))
    arrays = {"trap": Measured(first.stiffness, stiffness_stderr).array(),
              "centres": np.concatenate([trap.centres for trap in traps]),
              **common_arrays(data, np.array([first.diffusion]), np.array([diffusion_stderr]), noise),
              **recording_arrays(data, noise)}
    models = []
    if not shared:
        tracks = [linked_tracks(recording) for recording in recordings]
        arrays["centre_tracks"] = np.concatenate(tracks)
        if len(data) > 1:
            arrays["centre_recordings"] = np.repeat(np.arange(len(data)), [len(one) for one in tracks])
    for one, trap, recording in zip(judged, traps, recordings):
        rows = np.zeros(len(one.recording.position), dtype=int)
        if not shared:
            names = linked_tracks(recording)
            rows = np.minimum(np.searchsorted(names, one.recording.track), len(names) - 1)
        models.append(StepModel((), trap.stiffness, trap.centres[rows], trap.diffusion, trap.noise_scale))
    return _Found(arrays, models, alone)


def linked_tracks(recording: Recording) -> np.ndarray:
    """Names of all tracks, ascending."""
    return np.unique(recording.track[recording.track >= 0])


def jackknife(recording: Recording, noise_scale: float | None, groups: int = 20) -> FreeDiffusion:
    """Standard errors of D and the noise scale, leaving out one group of tracks at a time (or of times)."""
    tracks = linked_tracks(recording)
    if len(tracks) >= groups:
        part = np.searchsorted(tracks, recording.track) % groups
    else:
        part = (recording.frame - recording.frame.min()) * groups // (int(np.ptp(recording.frame)) + 1)
    found = []
    for g in range(groups):
        steps = recording.steps[part[recording.steps] != g]
        if len(steps) >= 10:
            one = free_diffusion(dataclasses.replace(recording, steps=steps), noise_scale)
            found.append((one.diffusion, one.noise_scale))
    if len(found) < 3:
        return FreeDiffusion(float("nan"), float("nan"))
    values = np.array(found)
    n = len(values)
    error = np.sqrt((n - 1) / n * ((values - values.mean(axis=0)) ** 2).sum(axis=0))
    return FreeDiffusion(*error.tolist())
