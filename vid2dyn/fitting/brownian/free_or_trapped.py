"""Particles that do not interact: free diffusion and harmonic traps, by maximum likelihood."""

from __future__ import annotations

import dataclasses

import numpy as np

from vid2dyn.core.progress import Progress
from vid2dyn.fitting.brownian.evidence import StepModel, held_out_evidence, held_out_steps, step_likelihoods
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion, free_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.fitting.brownian.trap import fit_traps
from vid2dyn.fitting.course import one_round
from vid2dyn.model.brownian import Measured


def fit_free_or_trapped(data: FitData, progress: Progress) -> FitResult:
    """D, noise and trap, evaluated on the last frames."""
    recording, held_out = data.recording, held_out_steps(data.recording)
    if data.recipe.trap == "none":
        found = free_diffusion(recording, data.noise_scale)
        stderr = jackknife(recording, data.noise_scale)
        arrays = common_arrays(recording, found, stderr)
        model = StepModel(None, 0.0, np.zeros_like(recording.position), found.diffusion, found.noise_scale)
    else:
        arrays, model = _trapped(data)
    evaluation = held_out_evidence(recording, held_out, model)
    evaluation["course"] = one_round(progress, "log-likelihood per particle and step",
                                     *step_likelihoods(recording, held_out, model))
    return FitResult(arrays, evaluation, data.recipe)


def _trapped(data: FitData) -> tuple[dict[str, np.ndarray], StepModel]:
    """Arrays of the model, and what the likelihood of its steps depends on."""
    recording = data.recording
    trap = fit_traps(recording, shared=data.recipe.trap == "shared", noise_scale=data.noise_scale,
                     stationary=data.recipe.stationary)
    stiffness_stderr, diffusion_stderr, noise_stderr = np.sqrt(np.maximum(np.diag(trap.covariance), 0.0)).tolist()
    arrays = {"trap": Measured(trap.stiffness, stiffness_stderr).array(), "centres": trap.centres,
              **common_arrays(recording, FreeDiffusion(trap.diffusion, trap.noise_scale),
                              FreeDiffusion(diffusion_stderr, noise_stderr))}
    rows = np.zeros(len(recording.position), dtype=int)
    if data.recipe.trap == "each":
        arrays["centre_tracks"] = tracks = linked_tracks(recording)
        rows = np.searchsorted(tracks, np.maximum(recording.track, tracks.min()))
    return arrays, StepModel(None, trap.stiffness, trap.centres[rows], trap.diffusion, trap.noise_scale)


def linked_tracks(recording: Recording) -> np.ndarray:
    """Names of all tracks, ascending."""
    return np.unique(recording.track[recording.track >= 0])


def common_arrays(recording: Recording, found: FreeDiffusion, stderr: FreeDiffusion) -> dict[str, np.ndarray]:
    """The arrays every model has; the noise also as a typical standard error of a position."""
    noise_stderr = stderr.noise_scale
    stated = float(np.sqrt(recording.variance.mean()))
    scale = max(found.noise_scale, 0.0)
    sigma = stated * scale**0.5
    error = stated * noise_stderr / (2 * scale**0.5) if scale * stated > 3 * noise_stderr * stated else \
        stated * max(noise_stderr, 0.0) ** 0.5
    return {"diffusion": Measured(found.diffusion, stderr.diffusion).array(),
            "localisation": Measured(sigma, error).array(),
            "noise_scale": Measured(found.noise_scale, noise_stderr).array()}


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
