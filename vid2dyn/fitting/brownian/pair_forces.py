"""Pair forces, and traps beside them: spline potentials by score matching, freed of what noise and blur do to them.

Of several recordings the potentials, D and the stiffness are shared (`joint`); of a mixture there is a potential for
every pair of species and a D for each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

import vid2dyn
from vid2dyn.core.checkpoint import Checkpoint, PathLike, key_of
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.core.showing import as_progress
from vid2dyn.dynamics.brownian import species_pairs
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.potentials import HarmonicTrap
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.arrays import Noise, common_arrays, recording_arrays
from vid2dyn.fitting.brownian.design import Field, kinds_of_pairs
from vid2dyn.fitting.brownian.evidence import HELD_OUT, StepModel, held_out_evidence, step_likelihoods
from vid2dyn.fitting.brownian.free_or_trapped import jackknife, linked_tracks
from vid2dyn.fitting.brownian.hidden import hidden_below
from vid2dyn.fitting.brownian.indirect import FittedForces, Refinement, RefinementSettings, refine
from vid2dyn.fitting.brownian.joint import JointParameters, joint_shapes, unknowns
from vid2dyn.fitting.brownian.model_warnings import CORRECTED, UNCORRECTED, UNSETTLED, stationarity_warning
from vid2dyn.fitting.brownian.packing.packing_warnings import packed_warnings
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.recordings_alone import BLOCKS
from vid2dyn.fitting.brownian.records import TOO_SHORT, FitData, FitResult
from vid2dyn.fitting.brownian.response import FEW
from vid2dyn.fitting.brownian.species import names_array
from vid2dyn.fitting.brownian.synthetic import SyntheticRecordings
from vid2dyn.fitting.course import RunControl, stopped_early
from vid2dyn.model.brownian import Measured, SplineRange

RESOLVED = 50
"""Pairs nearer than the shortest distance that the spline resolves."""

FEWEST_PAIRS = 500
"""Pairs within the cutoff, of all recordings, without which there is no pair potential."""

FILLED = 0.4
"""Relative error of pair forces, over the share of neighbours that were missed and put back."""

REPLICAS, REPLICAS_OF_MANY = 8, 4
"""Synthetic recordings of each recording in the last round; of many recordings each needs fewer."""


def fit_pair_forces(data: tuple[FitData, ...], seed: int, control: RunControl) -> FitResult:
    """The pair potentials, D, noise and trap, evaluated on frames that a second fit has not seen.

    Raises
    ------
    DataError, ModelError
        When too few pairs come within the cutoff, or when the field of view is too small.
    """
    recipe, recordings = data[0].recipe, [one.recording for one in data]
    assert isinstance(recipe.cutoff, float)
    distances = pair_distances(data, recipe.cutoff)
    first = _starting_parameters(data, distances, recipe.cutoff)

    def likelihoods(p: JointParameters) -> tuple[float, float]:
        return step_likelihoods(recordings, step_models(recordings, p, p))

    replicas = REPLICAS if len(data) < BLOCKS else REPLICAS_OF_MANY
    found = refine(_synthetic(data, seed), first, likelihoods,
                   RefinementSettings(data[0].noise_scale, bool(recipe.stationary), replicas, HELD_OUT), control)
    if found.stopped_after is not None:     # no simulation says how well D and the noise are known: the data do
        found = dataclasses.replace(found, fitted=_with_errors_of_data(data, found))
    stopped, after = None, found.stopped_after
    seen, judged, warnings = _trained(data, seed, control, found)
    evaluation = held_out_evidence(seen, judged)
    evaluation["course"] = found.course.report()
    if after is not None:
        evaluation["stopped_early"], stopped = stopped_early(
            after.rounds, after.of, CORRECTED if after.kept > 1 else UNCORRECTED, after.kept)
    if not found.fitted.settled:
        warnings.append(UNSETTLED)
    if recipe.stationary and after is None:
        for r, one in enumerate(data):
            said = stationarity_warning(one.recording, found.fitted.parameters.of(r))
            warnings += [f"{one.name}: {text}" for text in said] if len(data) > 1 else said
    found = dataclasses.replace(found, fitted=_with_errors_of_filled_places(found.fitted, recordings))
    p = found.fitted.parameters
    hidden = _hidden(data, distances, p)
    if hidden.any() and after is None:
        found = dataclasses.replace(found, fitted=_with_errors_of_hidden_forces(found.fitted))
    warnings += packed_warnings(data, [p.of(r).pairs for r in range(len(data))], [shape.field for shape in p.shapes])
    arrays = _arrays(data, distances, found)
    if hidden.any():
        cutoffs = np.array([one.cutoff for one in p.field.splines])
        arrays["hidden"] = np.where(hidden > 0, cutoffs, 0.0)
    return FitResult(arrays, evaluation, recipe, warnings, stopped, found.fitted.recordings, tuple(judged))


def _hidden(data: tuple[FitData, ...], distances: Sequence[np.ndarray], p: JointParameters) -> np.ndarray:
    """(kinds,) distance [µm] below which noise hides the potential of a pair of species; 0: nowhere."""
    species = max(1, len(data[0].species))
    variance, count = np.zeros(species), np.zeros(species)
    for r, one in enumerate(data):
        recording = one.recording
        for s in range(species):
            rows = slice(None) if recording.species is None else recording.species == s
            stated, blurred = recording.variance[rows], 2 * p.diffusion[s] * recording.dt * recording.blur
            if len(stated):
                seen = max(float(p.noise_scales[r, s]), 0.0) * float(stated.mean()) - blurred
                variance[s] += len(stated) * seen
                count[s] += len(stated)
    variance = variance / np.maximum(count, 1)
    return np.array([hidden_below(mine, 0.5 * float(variance[a] + variance[b]), data[0].recording.dim)
                     for (a, b), mine in zip(species_pairs(species), distances, strict=True)])


def _with_errors_of_hidden_forces(fitted: FittedForces) -> FittedForces:
    """With what steep forces that noise hides leave unknown of D: by how much they slow it. Half of what the learned
    forces slow (measured for WCA and Morse at a noise of 80 % of a step: D 4 to 6 % low)."""
    return dataclasses.replace(fitted, diffusion_stderr=np.hypot(
        fitted.diffusion_stderr, 0.5 * np.abs(1 / fitted.slowing - 1) * fitted.parameters.diffusion))


def _with_errors_of_filled_places(fitted: FittedForces, recordings: Sequence[Recording]) -> FittedForces:
    """With what is unknown of neighbours that were missed and put back on straight lines: the strength of all pair
    forces, by `FILLED` of their share, as one error. (Yukawa, five films with 30 % missing: U(1.4) 11 % low, by -.58
    to +.07 kT, where ± .18 was said with 0 and with 30 %.)"""
    filled = sum(one.filled for one in recordings)
    if not filled:
        return fitted
    share = FILLED * filled / sum(len(one.position) for one in recordings)
    pairs = np.zeros_like(fitted.parameters.coefficients)
    knots = fitted.parameters.field.knots
    pairs[:knots] = share * fitted.parameters.coefficients[:knots]
    return dataclasses.replace(fitted, covariance=fitted.covariance + np.outer(pairs, pairs))


def _trained(data: tuple[FitData, ...], seed: int, control: RunControl,
             found: Refinement) -> tuple[list[Recording], list[StepModel], list[str]]:
    """Recordings on whose held-out frames a model of each is judged, these models, and what is to be said of them.

    A fit that was stopped has no time for a second one: forces of the first frames are corrected by what the rounds
    found with all of them.
    """
    said: list[str] = []
    try:
        if found.stopped_after is None:
            models = trained_without_held_out(data, seed, control.progress)
            return [one.judged() for one in data], models, said
    except (DataError, ModelError, np.linalg.LinAlgError) as error:
        said.append(TOO_SHORT.format(error))
    except Cancelled:
        if not control.keep_partial:
            raise
    recordings = [one.recording for one in data]
    return recordings, step_models(recordings, found.train, found.fitted.parameters), said


def trained_without_held_out(data: tuple[FitData, ...], seed: int, progress: Progress) -> list[StepModel]:
    """The model of each recording, learned by the same procedure from the frames before the held-out ones alone.

    Nothing that was found with the last frames enters, or their likelihood would be praised for what it was told:
    simulations, corrections, smoothness, centres of traps and the shortest distance are those of the first frames.

    Raises
    ------
    DataError, ModelError
        When these are too few.
    """
    found, early = refined_without_held_out(data, seed, progress)
    p = found.parameters
    return step_models([one.recording for one in data], p, p, [one.recording for one in early])


def refined_without_held_out(data: tuple[FitData, ...], seed: int,
                             progress: Progress) -> tuple[FittedForces, tuple[FitData, ...]]:
    """What `trained_without_held_out` makes its models of, and the frames it was learned from."""
    early = tuple(one.before_held_out() for one in data)
    assert isinstance(data[0].recipe.cutoff, float)
    first = _starting_parameters(early, pair_distances(early, data[0].recipe.cutoff), data[0].recipe.cutoff)
    settings = RefinementSettings(data[0].noise_scale, bool(data[0].recipe.stationary), FEW)
    quiet = as_progress(lambda done, total, what: progress(done, total, "judging"))
    found = refine(_synthetic(early, seed), first, lambda p: (math.nan, math.nan), settings, RunControl(progress=quiet))
    return found.fitted, early


def _synthetic(data: tuple[FitData, ...], seed: int) -> list[SyntheticRecordings]:
    """What makes recordings of a model as each of these was made."""
    return [SyntheticRecordings(one.recording, view_of(one), one.recipe.trap, seed=[seed] if r == 0 else [seed, 7, r],
                                stationary=bool(one.recipe.stationary)) for r, one in enumerate(data)]


def checkpoint_of(path: PathLike | None, data: tuple[FitData, ...], seed: int) -> Checkpoint:
    """The checkpoint of the rounds; its key is a digest of everything they depend on."""
    settings, arrays = [], []
    for one in data:
        recording = one.recording
        settings.append(repr((recipe_of(one.recipe), seed, recording.dt, recording.exposure, recording.box.to_dict(),
                              vid2dyn.__version__)))
        arrays += [recording.position, recording.frame, recording.track, recording.variance, recording.weight,
                   *([] if recording.species is None else [recording.species])]
    return Checkpoint(path, key_of(" and ".join(settings), *arrays))


def _with_errors_of_data(data: tuple[FitData, ...], found: Refinement) -> FittedForces:
    """Errors of D and the noise from leaving out particles (of several recordings: in each, as independent)."""
    noise = np.full((len(data), max(1, len(data[0].species))), np.nan)
    D = np.full_like(noise, np.nan)
    for r, one in enumerate(data):
        for s in range(len(noise[r])):
            some = one.recording.of_species(s)
            if len(some.steps) >= 10:
                errors = jackknife(some, one.noise_scale, groups=8)
                D[r, s], noise[r, s] = errors.diffusion, errors.noise_scale
    together = D[0] if len(D) == 1 else np.nansum(1 / D**2, axis=0) ** -0.5
    return dataclasses.replace(found.fitted, diffusion_stderr=together, noise_stderr=noise)


def _starting_parameters(data: tuple[FitData, ...], distances: Sequence[np.ndarray], cutoff: float) -> JointParameters:
    """Which functions are fitted, and the centres of own traps (means of the tracks)."""
    recipe, splines = data[0].recipe, []
    for mine in distances:
        inner = float(mine[min(RESOLVED, len(mine) - 1)])
        splines.append(RadialSpline(0.0 if inner < 0.1 * cutoff else inner, cutoff, recipe.knots))
    fields, centres = [], []
    for one in data:
        recording = one.recording
        fields.append(Field(splines[0], recipe.trap, recording.position.mean(axis=0), tuple(splines[1:])))
        centres.append(_track_means(recording) if recipe.trap == "each" else None)
    shapes = joint_shapes(fields, centres)
    species = max(1, len(data[0].species))
    return JointParameters(shapes, np.zeros(unknowns(shapes)), np.ones(species), np.ones((len(data), species)))


def _track_means(recording: Recording) -> np.ndarray:
    """(tracks, dim) mean position of each track [µm]."""
    linked = recording.track >= 0
    which = np.unique(recording.track[linked], return_inverse=True)[1]
    count = np.bincount(which)
    return np.stack([np.bincount(which, recording.position[linked][:, c]) / count
                     for c in range(recording.dim)], axis=1)


def view_of(data: FitData) -> np.ndarray | None:
    """(dim,) sides of where particles are found [µm], of tracks in free space; None where the field of view is unknown
    or the box is periodic."""
    return None if data.recording.area is None else data.recording.area[1]


def step_models(recordings: Sequence[Recording], forces: JointParameters, rest: JointParameters,
                learned_from: Sequence[Recording] | None = None) -> list[StepModel]:
    """Of each recording: pair potentials and trap stiffness of `forces`; trap centres, D and noise of `rest`.

    `learned_from`: the recordings whose tracks have the centres, where these are not the same.
    """
    models = []
    for r, recording in enumerate(recordings):
        of_forces, other = forces.of(r), rest.of(r)
        trap = of_forces.trap
        centres = _centres(recording, other.trap, (learned_from or recordings)[r])
        models.append(StepModel.of(recording, of_forces.pairs, 0.0 if trap is None else trap.stiffness, centres,
                                   rest.diffusion, rest.noise_scales[r]))
    return models


def _arrays(data: tuple[FitData, ...], distances: Sequence[np.ndarray], found: Refinement) -> dict[str, np.ndarray]:
    """Arrays of the model, see `BrownianModel`."""
    fitted, p = found.fitted, found.fitted.parameters
    first, splines = p.of(0), p.field.splines
    ranges = np.array([SplineRange(one.inner, one.cutoff, float(one.knots)) for one in splines])
    support = np.array([support_of(mine, one.cutoff) for mine, one in zip(distances, splines)])
    knots = p.field.knots
    noise = Noise(p.noise_scales, fitted.noise_stderr)
    arrays = {
        "spline": ranges[0] if len(splines) == 1 else ranges,
        "coefficients": p.coefficients[:knots], "covariance": fitted.covariance[:knots, :knots],
        "core_stiffness": np.array([pair.core_stiffness for pair in first.pairs]),
        "support": support[0] if len(splines) == 1 else support,
        "end": np.array([_error_at_end(one, fitted.covariance[part, part])
                         for one, part in zip(splines, map(p.field.part, range(len(splines))), strict=True)]),
        **common_arrays(data, p.diffusion, fitted.diffusion_stderr, noise), **recording_arrays(data, noise)}
    if data[0].species:
        arrays["species"] = names_array(data[0].species)
    if first.trap is not None:
        arrays["trap"] = Measured(first.trap.stiffness, float(np.sqrt(fitted.covariance[knots, knots]))).array()
        traps = [p.of(r).trap for r in range(len(data))]
        arrays["centres"] = np.concatenate([trap.centre for trap in traps if trap is not None])
        if data[0].recipe.trap == "each":
            tracks = [linked_tracks(one.recording) for one in data]
            arrays["centre_tracks"] = np.concatenate(tracks)
            if len(data) > 1:
                arrays["centre_recordings"] = np.repeat(np.arange(len(data)), [len(one) for one in tracks])
    return arrays


def _error_at_end(spline: RadialSpline, covariance: np.ndarray) -> tuple[float, float]:
    """Where the last two knot intervals begin [µm], and the error of the force there [kT/µm].

    Beyond, the spline vanishes with one and two functions, and its covariance goes to zero whatever the truth does. Of
    r^-3 ended at 5 µm, U = .03 kT at 4.3 µm was found as .00 ± .014, F = .06 kT/µm at 4.6 µm as .01 ± .02.
    """
    slope = spline(np.array([spline.end]))[1][0]
    return spline.end, float(np.sqrt(max(slope @ covariance @ slope, 0.0)))


def pair_distances(data: tuple[FitData, ...], cutoff: float) -> list[np.ndarray]:
    """For every pair of species: sorted distances of all pairs within the cutoff of a trusted detection [µm]."""
    kinds = len(species_pairs(max(1, len(data[0].species))))
    found: list[list[np.ndarray]] = [[] for _ in range(kinds)]
    for one in data:
        recording = one.recording
        for block in recording.blocks(max(1, len(recording.position) // 20_000)):
            x = recording.position[block]
            pairs = neighbour_pairs(x, cutoff, recording.box, recording.frame[block])
            pairs = pairs[(recording.weight[block][pairs] > 0).any(axis=1)]
            r = np.linalg.norm(recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1)
            if kinds == 1:
                found[0].append(r)
                continue
            which = kinds_of_pairs(recording, block, pairs, kinds)
            for kind in range(kinds):
                found[kind].append(r[which == kind])
    distances = [np.sort(np.concatenate(mine)) for mine in found]
    for kind, mine in enumerate(distances):
        if len(mine) < FEWEST_PAIRS:
            _too_few(data[0].species, kind, len(mine), cutoff)
    return distances


def _too_few(species: tuple[str, ...], kind: int, count: int, cutoff: float) -> None:
    """Raise what says that there is too little for a pair potential."""
    if not species:
        raise ModelError(f"Only {count} pairs of particles come within cutoff = {cutoff:g} µm of each "
                         f"other; a pair force needs at least {FEWEST_PAIRS}. Film more frames or denser samples, "
                         "raise the cutoff, or fit without pair force: cutoff = None.")
    a, b = species_pairs(len(species))[kind]
    raise ModelError(f"Only {count} pairs of {species[a]!r} and {species[b]!r} come within cutoff = {cutoff:g} µm of "
                     f"each other; a pair potential of its own needs at least {FEWEST_PAIRS}. Film more frames or "
                     "denser samples, raise the cutoff, give several recordings (vd.fit([a, b], ...)), or put the two "
                     "species under one name.")


def support_of(distances: np.ndarray, cutoff: float) -> tuple[float, float]:
    """Range of r in which every 1/60 of the cutoff holds at least 100 pairs."""
    counts, edges = np.histogram(distances, bins=60, range=(0.0, cutoff))
    full = np.flatnonzero(counts >= 100)
    return (float(edges[full[0]]), float(edges[full[-1] + 1])) if full.size else (float(distances[0]), cutoff)


def _centres(recording: Recording, trap: HarmonicTrap | None, learned_from: Recording) -> np.ndarray:
    """(n, dim) centre of the trap of each detection (zeros where there is none); those of a track that was not learned
    from mean nothing."""
    if trap is None:
        return np.zeros_like(recording.position)
    if len(trap.centre) == 1:
        return np.broadcast_to(trap.centre, recording.position.shape)
    tracks = linked_tracks(learned_from)
    return trap.centre[np.clip(np.searchsorted(tracks, recording.track), 0, len(tracks) - 1)]
