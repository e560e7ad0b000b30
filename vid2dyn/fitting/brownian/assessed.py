"""Is a fitted Brownian model allowed? Its steps, whitened, for the tests of `vid2dyn.assessment`.

The residuals of the one-step likelihood (`likelihood`) are independent standard normal numbers only where a force
hardly changes within a frame and within the noise; WCA particles at 10 ms have 1.13 times the variance although the
model is right. So the same residuals are taken of a recording that the model itself makes (`synthetic`), and the tests
compare the two.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vid2dyn.assessment.base import Finding
from vid2dyn.assessment.rollouts import RUNS
from vid2dyn.assessment.steps import Detection, Neighbours, Steps
from vid2dyn.assessment.table import Assessment, assessed, combined
from vid2dyn.core.config import build
from vid2dyn.core.errors import ConfigError, DataError, ModelError, Vid2DynError
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.brownian import species_pairs
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential
from vid2dyn.fitting.brownian.assessed_rollouts import findings_of_rollouts
from vid2dyn.fitting.brownian.evidence import StepModel, force_and_stiffness, trusted_steps
from vid2dyn.fitting.brownian.likelihood import residuals
from vid2dyn.fitting.brownian.pair_forces import view_of
from vid2dyn.fitting.brownian.preparation import prepared_recordings
from vid2dyn.fitting.brownian.recording import Recording, steps_of
from vid2dyn.fitting.brownian.records import FitData
from vid2dyn.fitting.brownian.structure_classes import Classes, recipe_of_classes
from vid2dyn.fitting.brownian.synthetic import SyntheticRecordings
from vid2dyn.model.brownian import BrownianModel

MOST, OF_CONTROL = 60_000, 15_000
"""Detections that are looked at, of the data and of the control recording; they bound the time."""
PAIRED, PAIRED_ALONE = 12_000, 30_000
"""Detections whose neighbours are looked at; of particles that were fitted without pair force, whose neighbours say
whether there is one."""
BEYOND = 1.5
"""How far neighbours are looked for, in cutoffs."""


@dataclasses.dataclass(frozen=True, eq=False)
class ModelNumbers:
    """The numbers of a model as simulations take them (see `SyntheticRecordings`)."""

    pairs: tuple[PairPotential, ...]
    trap: HarmonicTrap | None
    diffusion: np.ndarray
    noise_scale: np.ndarray


def assess_data(data: Sequence[FitData], model: BrownianModel, seed: int = 0) -> Assessment:
    """The table of tests of a model and the recordings that it was fitted to.

    Parameters
    ----------
    data : sequence of FitData
    model : BrownianModel
    seed : int
        Of the control recordings.
    """
    tables: list[list[Finding]] = []
    for r, one in enumerate(data):
        numbers, centre = numbers_of(model, one, r if len(data) > 1 else None)
        recording = one.recording
        if "structure_knots" not in model.arrays:          # its column is read row by row
            recording, centre = shortened(recording, centre, MOST)
        steps = steps_of_recording(recording, numbers, centre, one, model)
        if steps is None:
            continue
        control = None
        if numbers.pairs:
            control = _control(recording, view_of(one), numbers, one, model, [seed, 11, r])
        named = one.name if len(data) > 1 else ""
        tables.append([dataclasses.replace(found, recording=named) for found in assessed(steps, control).findings])
    return combined(tables)


def numbers_of(model: BrownianModel, data: FitData, recording: int | None) -> tuple[ModelNumbers, np.ndarray | None]:
    """Numbers of the model as they hold in a recording, and (n, dim) centre of the trap of each detection, or None."""
    arrays = model.arrays
    species = len(model.species) if data.recording.species is not None else 1
    D = arrays["species_diffusion"][:, 0] if species > 1 else arrays["diffusion"][:1]
    scale = np.full(species, float(arrays["noise_scale"][0]))
    if recording is not None and "recording_noise_scale" in arrays:
        scale = arrays["recording_noise_scale"][recording, :, 0]
    elif species > 1 and "species_localisation" in arrays:
        stated = [data.recording.variance[data.recording.species == s].mean() for s in range(species)]
        scale = arrays["species_localisation"][:, 0] ** 2 / np.array(stated)
    if "trap" not in arrays:
        return ModelNumbers(model.pairs, None, np.asarray(D), scale), None
    stiffness, centres = model.trap_stiffness(), arrays["centres"]
    if "centre_tracks" not in arrays:
        middle = centres[min(recording or 0, len(centres) - 1)]
        return ModelNumbers(model.pairs, HarmonicTrap(stiffness, middle[None]), np.asarray(D), scale), \
            np.broadcast_to(middle, data.recording.position.shape)
    mine = np.arange(len(centres)) if recording is None else np.flatnonzero(arrays["centre_recordings"] == recording)
    tracks = arrays["centre_tracks"][mine]
    place = np.clip(np.searchsorted(tracks, data.recording.track), 0, len(tracks) - 1)
    return ModelNumbers(model.pairs, HarmonicTrap(stiffness, centres[mine]), np.asarray(D), scale), \
        centres[mine][place]


def shortened(recording: Recording, centre: np.ndarray | None, most: int) -> tuple[Recording, np.ndarray | None]:
    """Stretches of whole frames, evenly spread over a recording, that hold at most `most` detections."""
    n = len(recording.position)
    if n <= most:
        return recording, centre
    frames = np.unique(recording.frame)
    each = max(40, int(len(frames) * most / n / 8))
    starts = np.linspace(0, max(len(frames) - each, 0), max(1, int(len(frames) * most / n / each))).astype(int)
    kept = np.zeros(len(frames), bool)
    for start in starts:
        kept[start: start + each] = True
    rows = np.flatnonzero(kept[np.searchsorted(frames, recording.frame)])
    names = ("position", "frame", "track", "variance", "weight", "weight_slope")
    short = dataclasses.replace(recording, **{name: getattr(recording, name)[rows] for name in names},
                                species=None if recording.species is None else recording.species[rows],
                                steps=steps_of(recording.track[rows], recording.frame[rows]))
    return short, None if centre is None else centre[rows]


def steps_of_recording(recording: Recording, numbers: ModelNumbers, centre: np.ndarray | None, data: FitData,
                       model: BrownianModel, *, of_control: bool = False) -> Steps | None:
    """Whitened steps of a recording under a model; None where there are too few."""
    if len(recording.steps) < 40:
        return None
    D: float | np.ndarray = float(numbers.diffusion[0])
    scale: float | np.ndarray = float(numbers.noise_scale[0])
    if recording.species is not None and len(numbers.diffusion) > 1:
        D, scale = numbers.diffusion[recording.species], numbers.noise_scale[recording.species]
    elif not of_control and "structure_knots" in model.arrays:
        D = np.asarray(model.diffusion(_column(data, recording, model)))
    stiffness = 0.0 if numbers.trap is None else numbers.trap.stiffness
    middle = np.zeros_like(recording.position) if centre is None else centre
    one = StepModel(numbers.pairs, stiffness, middle, D, scale)
    trusted = trusted_steps(recording)
    if trusted.sum() < 40:
        return None
    force, hessian = force_and_stiffness(recording, one.pairs, one.stiffness, one.centre)
    found = residuals(recording, force, hessian, D, scale, trusted)
    rows = recording.steps[trusted]
    finite = np.isfinite(found.white).all()
    if not finite:
        return None
    run = _runs(found.follows)
    position = recording.position[rows]
    if recording.box.lengths is not None:
        position = position % np.asarray(recording.box.lengths, dtype=float)
    typical_D = float(np.mean(D))
    typical_noise = float(np.mean(np.asarray(scale)) * recording.variance.mean())
    linked = int((recording.track >= 0).sum())
    arrays = model.arrays
    noise = tuple(float(value) for value in arrays["noise_scale"][:2]) if not of_control else (math.nan, math.nan)
    return Steps(
        found.white, run, recording.track[rows], recording.frame[rows], position, force[rows],
        None if centre is None else recording.position[rows] - middle[rows], typical_D, recording.dt,
        response(typical_D, typical_noise, recording), _cutoff(data), data.recipe.stationary is not False,
        () if of_control else _end_energies(model), _neighbours(recording, rows, data),
        Detection(linked, recording.filled, recording.lost), (noise[0], noise[1]),
        () if of_control else _linker_notes(data.tracks))


def response(diffusion: float, noise: float, recording: Recording) -> float:
    """Mean whitened residual that a steady force of 1 kT/µm makes [µm/kT].

    Steps have variance c0 = V (1 - 2R) + 2Λ and covariance c1 = R V - Λ, those of a moving average with coefficient θ
    and innovations of variance s = c0/(1 + θ²); a mean step D dt comes out of the innovations as D dt/((1 + θ) √s).
    """
    V = 2 * diffusion * recording.dt
    c0 = V * (1 - 2 * recording.blur) + 2 * max(noise, 0.0)
    ratio = float(np.clip((recording.blur * V - max(noise, 0.0)) / c0, -0.4999, 0.4999))
    theta = 0.0 if abs(ratio) < 1e-9 else (1 - math.sqrt(1 - 4 * ratio**2)) / (2 * ratio)
    return diffusion * recording.dt / ((1 + theta) * math.sqrt(c0 / (1 + theta**2)))


def _runs(follows: np.ndarray) -> np.ndarray:
    """(m,) number of steps of the same stretch before each."""
    place = np.arange(len(follows))
    return place - np.maximum.accumulate(np.where(follows, 0, place))


def _cutoff(data: FitData) -> float | None:
    cutoff = data.recipe.cutoff
    return None if isinstance(cutoff, str) else cutoff


def _column(data: FitData, recording: Recording, model: BrownianModel) -> np.ndarray:
    """The structural variable at the detections; the recording must be whole."""
    values = data.tracks.dataframe[str(model.recipe["structure"])].to_numpy(dtype=float)
    if len(values) != len(recording.position):
        raise DataError("a model with a structural variable is assessed on its whole recording")
    return values


def _end_energies(model: BrownianModel) -> tuple[tuple[float, float], ...]:
    """Energy at 0.85 of the cutoff and its standard error [kT], for every pair of species."""
    if not model.pairs:
        return ()
    names = model.species
    kinds: list[Any] = [(names[a], names[b]) for a, b in species_pairs(len(names))] if names else [None]
    found = []
    for kind, pair in zip(kinds, model.pairs):
        r = np.array([0.85 * pair.spline.cutoff])
        low, high = model.band("pair_potential", r if kind is None else (r, kind), 0.682689492137)
        if np.isfinite(high[0] - low[0]):                       # it has no band where noise hides it
            found.append((float(model.pair_potential(r, kind)[0]), 0.5 * float(high[0] - low[0])))
    return tuple(found)


def _neighbours(recording: Recording, rows: np.ndarray, data: FitData) -> Neighbours | None:
    """Neighbours of the steps in some of the frames."""
    frames, count = np.unique(recording.frame, return_counts=True)
    if count.mean() < 2:
        return None
    cutoff = _cutoff(data)
    dim = recording.dim
    size = np.ptp(recording.position, axis=0)
    limit = math.inf
    if recording.box.lengths is not None:
        size = np.asarray(recording.box.lengths, dtype=float)
        limit = 0.499 * float(size.min())
    spacing = float((np.prod(np.maximum(size, 1e-9)) / count.mean()) ** (1 / dim))
    reach = min(BEYOND * cutoff if cutoff is not None else 1.5 * spacing, limit)
    every = max(1, math.ceil(len(recording.position) / (PAIRED if cutoff is not None else PAIRED_ALONE)))
    chosen = frames[::every]
    inside = np.flatnonzero(np.isin(recording.frame, chosen))
    try:
        pairs = inside[neighbour_pairs(recording.position[inside], reach, recording.box, recording.frame[inside])]
    except ConfigError:
        return None
    if not len(pairs):
        return None
    place = np.full(len(recording.position), -1)
    place[rows] = np.arange(len(rows))
    i, j = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])
    kept = place[i] >= 0
    i, j = i[kept], j[kept]
    e = recording.box.displacement(recording.position[i], recording.position[j])
    r = np.maximum(np.linalg.norm(e, axis=1), 1e-9)
    seen = np.flatnonzero(np.isin(recording.frame[rows], chosen))
    return Neighbours(place[i], place[j], e / r[:, None], r, reach, seen)


def _control(recording: Recording, view: np.ndarray | None, numbers: ModelNumbers, data: FitData,
             model: BrownianModel, seed: list[int]) -> Steps | None:
    """The same steps of a recording that the model makes; None where it cannot be simulated."""
    recipe = data.recipe
    try:
        made = SyntheticRecordings(recording, view, recipe.trap, seed=seed, stationary=recipe.stationary is not False)
        made.frames = max(8, min(made.frames, OF_CONTROL // max(1, len(made.start))))
        one = next(iter(made.recordings(numbers, 0.0, 1)))
        seen, free = one.steps, one.free_steps
        centre = None
        if numbers.trap is not None:
            middle = numbers.trap.centre
            centre = np.broadcast_to(middle[0], seen.position.shape) if len(middle) == 1 else middle[seen.track]
        found = steps_of_recording(seen, numbers, centre, data, model, of_control=True)
        if found is None:
            return None
        D, scale = (values[seen.species] if seen.species is not None and len(values) > 1 else float(values[0])
                    for values in (numbers.diffusion, numbers.noise_scale))
        chance = StepModel((), 0.0, np.zeros_like(free.position), D, scale).residuals(free, trusted_steps(free))[0]
        return dataclasses.replace(found, companion=chance.white)
    except (Vid2DynError, np.linalg.LinAlgError, StopIteration):
        return None


def _linker_notes(tracks: Trajectories) -> tuple[str, ...]:
    """What the linker warned of: that links are guesses."""
    return tuple(str(text) for text in tracks.info.get("warnings", ()) if "guess" in str(text)
                 or "taken for each other" in str(text) or "jumps from one particle" in str(text))


def assess_brownian(tracks: Trajectories | Sequence[Trajectories], model: BrownianModel, seed: int = 0) -> Assessment:
    """The table of tests; see `vid2dyn.pipeline.assess`."""
    several = [tracks] if isinstance(tracks, Trajectories) else list(tracks)
    if model.recipe.get("packed"):
        raise ModelError("vd.assess looks at how particles move, and a packed model (packed = True) says forces only: "
                         "in a cage nothing is learned of their motion. See the warnings of the model.")
    recipe = build(Brownian, {key: value for key, value in model.recipe.items() if key != "kind"}, "assess")
    if "class_edges" in model.arrays:
        classes = Classes.of(several, str(recipe.structure))
        several, recipe = [classes.named(one) for one in several], recipe_of_classes(recipe, classes)
    data, _ = prepared_recordings(several, recipe)
    tables = [list(assess_data(data, model, seed).findings)]
    for r, one in enumerate(data):
        which = r if len(data) > 1 else None
        drawn = [numbers_of(model.drawn(np.random.default_rng([seed, 19, k])), one, which)[0] for k in range(RUNS)]
        beside = findings_of_rollouts(one, drawn, [seed, 17, r])
        tables.append([dataclasses.replace(found, recording=one.name if len(data) > 1 else "") for found in beside])
    return combined(tables)
