"""Pair forces, and traps beside them: a spline potential by score matching, freed of what noise and blur do to it."""

from __future__ import annotations

import dataclasses

import numpy as np

import vid2dyn
from vid2dyn.core.checkpoint import Checkpoint, PathLike, key_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.design import Field
from vid2dyn.fitting.brownian.evidence import (
    HELD_OUT,
    StepModel,
    held_out_evidence,
    held_out_steps,
    step_likelihoods,
)
from vid2dyn.fitting.brownian.free_or_trapped import common_arrays, jackknife, linked_tracks
from vid2dyn.fitting.brownian.indirect import Refinement, RefinementSettings, refine
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion
from vid2dyn.fitting.brownian.model_warnings import CORRECTED, UNCORRECTED, UNSETTLED, stationarity_warning
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.fitting.brownian.synthetic import Parameters, SyntheticRecordings
from vid2dyn.fitting.course import RunControl, stopped_early
from vid2dyn.model.brownian import Measured, SplineRange

RESOLVED = 50
"""Pairs nearer than the shortest distance that the spline resolves."""


def fit_pair_forces(data: FitData, seed: int, control: RunControl) -> FitResult:
    """The pair potential, D, noise and trap, evaluated on frames that a second fit has not seen.

    Raises
    ------
    DataError, ModelError
        When too few pairs come within the cutoff, or when the field of view is too small.
    """
    recording, held_out, cutoff = data.recording, held_out_steps(data.recording), data.recipe.cutoff
    assert cutoff is not None
    distances = pair_distances(recording, cutoff)
    first = _starting_parameters(data, distances, cutoff)

    def likelihoods(p: Parameters) -> tuple[float, float]:
        return step_likelihoods(recording, held_out, _step_model(recording, p, p))

    synthetic = SyntheticRecordings(recording, _view(data), data.recipe.trap, seed=seed,
                                    stationary=data.recipe.stationary)
    found = refine(recording, synthetic, first, likelihoods,
                   RefinementSettings(data.noise_scale, data.recipe.stationary, held_out=HELD_OUT), control)
    if found.stopped_after is not None:     # no simulation says how well D and the noise are known: the data do
        errors = jackknife(recording, data.noise_scale, groups=8)
        found = dataclasses.replace(found, fitted=dataclasses.replace(
            found.fitted, diffusion_stderr=errors.diffusion, noise_stderr=errors.noise_scale))
    evaluation = held_out_evidence(recording, held_out,
                                   _step_model(recording, found.train, found.fitted.parameters))
    evaluation["course"] = found.course.report()
    stopped, warnings = None, []
    if (after := found.stopped_after) is not None:
        evaluation["stopped_early"], stopped = stopped_early(
            after.rounds, after.of, CORRECTED if after.kept > 1 else UNCORRECTED, after.kept)
    if not found.fitted.settled:
        warnings.append(UNSETTLED)
    if data.recipe.stationary and after is None:
        warnings += stationarity_warning(recording, found.fitted.parameters)
    return FitResult(_arrays(data, distances, found), evaluation, data.recipe, warnings, stopped)


def checkpoint_of(path: PathLike | None, data: FitData, seed: int) -> Checkpoint:
    """The checkpoint of the rounds; its key is a digest of everything they depend on."""
    recording = data.recording
    settings = (recipe_of(data.recipe), seed, recording.dt, recording.exposure, recording.box.to_dict(),
                vid2dyn.__version__)
    return Checkpoint(path, key_of(repr(settings), recording.position, recording.frame, recording.track,
                                   recording.variance, recording.weight))


def _starting_parameters(data: FitData, distances: np.ndarray, cutoff: float) -> Parameters:
    """Which functions are fitted, and the centres of own traps (means of the tracks)."""
    recording = data.recording
    inner = float(distances[min(RESOLVED, len(distances) - 1)])
    if inner < 0.1 * cutoff:
        inner = 0.0
    field = Field(RadialSpline(inner, cutoff, data.recipe.knots), data.recipe.trap, recording.position.mean(axis=0))
    centres = None
    if data.recipe.trap == "each":
        linked = recording.track >= 0
        which = np.unique(recording.track[linked], return_inverse=True)[1]
        count = np.bincount(which)
        centres = np.stack([np.bincount(which, recording.position[linked][:, c]) / count
                            for c in range(recording.dim)], axis=1)
    return Parameters(field, np.zeros(field.size), 1.0, 1.0, centres)


def _view(data: FitData) -> np.ndarray | None:
    """(dim,) field of view [µm] of tracks in free space; None where it is unknown or the box is periodic."""
    if data.tracks.field_of_view is None or data.tracks.box.lengths is not None:
        return None
    return np.asarray(data.tracks.field_of_view) * data.tracks.units.um


def _step_model(recording: Recording, forces: Parameters, rest: Parameters) -> StepModel:
    """Pair potential and trap stiffness of `forces`; trap centres, D and noise of `rest`."""
    return StepModel(forces.pair, 0.0 if forces.trap is None else forces.trap.stiffness,
                     _centres(recording, rest), rest.diffusion, rest.noise_scale)


def _arrays(data: FitData, distances: np.ndarray, found: Refinement) -> dict[str, np.ndarray]:
    """Arrays of the model, see `BrownianModel`."""
    recording, fitted, p = data.recording, found.fitted, found.fitted.parameters
    spline = p.field.spline
    assert p.pair is not None
    assert spline is not None
    arrays = {
        "spline": np.array(SplineRange(spline.inner, spline.cutoff, float(spline.knots))),
        "coefficients": p.coefficients[: spline.knots], "covariance": fitted.covariance[: spline.knots, : spline.knots],
        "core_stiffness": np.array([p.pair.core_stiffness]), "support": np.array(_support(distances, spline.cutoff)),
        **common_arrays(recording, FreeDiffusion(p.diffusion, p.noise_scale),
                        FreeDiffusion(fitted.diffusion_stderr, fitted.noise_stderr))}
    if p.trap is not None:
        knots = spline.knots
        arrays["trap"] = Measured(p.trap.stiffness, float(np.sqrt(fitted.covariance[knots, knots]))).array()
        arrays["centres"] = p.trap.centre
        if data.recipe.trap == "each":
            arrays["centre_tracks"] = linked_tracks(recording)
    return arrays


def pair_distances(recording: Recording, cutoff: float) -> np.ndarray:
    """Sorted distances of all pairs within the cutoff of a trusted detection [µm]."""
    found = []
    for block in recording.blocks(max(1, len(recording.position) // 20_000)):
        x = recording.position[block]
        pairs = neighbour_pairs(x, cutoff, recording.box, recording.frame[block])
        pairs = pairs[(recording.weight[block][pairs] > 0).any(axis=1)]
        found.append(np.linalg.norm(recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1))
    distances = np.sort(np.concatenate(found))
    if len(distances) < 500:
        raise ModelError(f"Only {len(distances)} pairs of particles come within cutoff = {cutoff:g} µm of each "
                         "other; a pair force needs at least 500. Film more frames or denser samples, raise the "
                         "cutoff, or fit without pair force: vd.Brownian().")
    return distances


def _support(distances: np.ndarray, cutoff: float) -> tuple[float, float]:
    """Range of r in which every 1/60 of the cutoff holds at least 100 pairs."""
    counts, edges = np.histogram(distances, bins=60, range=(0.0, cutoff))
    full = np.flatnonzero(counts >= 100)
    return (float(edges[full[0]]), float(edges[full[-1] + 1])) if full.size else (float(distances[0]), cutoff)


def _centres(recording: Recording, p: Parameters) -> np.ndarray:
    """(n, dim) centre of the trap of each detection (zeros where there is none)."""
    if p.trap is None:
        return np.zeros_like(recording.position)
    if len(p.trap.centre) == 1:
        return np.broadcast_to(p.trap.centre, recording.position.shape)
    tracks = linked_tracks(recording)
    return p.trap.centre[np.clip(np.searchsorted(tracks, recording.track), 0, len(tracks) - 1)]
