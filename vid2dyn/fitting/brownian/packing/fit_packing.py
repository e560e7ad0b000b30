"""Fit of packed particles: pair forces, labels and noise, in the order that works.

1. Pair forces with every mean force of a window taken out (λ = 1): wrong labels do little harm (`window_moments`).
2. Labels by the balance of mean forces, or found by it (`labels`); only particles whose neighbours are all surely
   labelled count from here on. In turn with the forces until no label changes.
3. The joint fit: tau² by evidence (`static_forces`), the noise of the positions followed back to none (`noise_free`).

4. With `pair_friction` in the recipe: friction against the fluid and of pairs from how the collective motion relaxes
   under these forces (`friction`).

D is that of a particle in its cage, and is learned only from frames closer in time than a cage relaxes, or from the
friction.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian.arrays import Noise, common_arrays, recording_arrays
from vid2dyn.fitting.brownian.design import Field
from vid2dyn.fitting.brownian.evidence import HELD_OUT
from vid2dyn.fitting.brownian.likelihood import free_diffusion
from vid2dyn.fitting.brownian.packing.friction import FoundFriction, found_friction
from vid2dyn.fitting.brownian.packing.labels import (
    SURE,
    Labels,
    balanced,
    mean_forces,
    strengths,
)
from vid2dyn.fitting.brownian.packing.noise_free import without_noise
from vid2dyn.fitting.brownian.packing.packing_warnings import (
    Found,
    friction_warnings,
    packing_warnings,
    stated_errors,
)
from vid2dyn.fitting.brownian.packing.static_forces import PackingForces, solved
from vid2dyn.fitting.brownian.packing.window_moments import WindowMoments, window_moments, windows_of
from vid2dyn.fitting.brownian.pair_forces import RESOLVED, pair_distances, support_of
from vid2dyn.fitting.brownian.preparation import rows_held
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.fitting.brownian.regression import regularised, sandwich
from vid2dyn.fitting.brownian.species import names_array
from vid2dyn.model.brownian import SplineRange

KNOTS = 48
"""Fewest splines of a pair potential: with 24 a fit of forces that cancel has a tail 15 % low."""
LABEL_KNOTS = 16
"""Splines while labels are sought: forces within a tenth are enough, and with few numbers noise and wrong labels do
little."""
ROUNDS = 5
"""Most rounds of labels and forces."""
WINDOWS = 10
"""Windows that a recording is cut into, if they then hold 10 to 60 frames."""
_LAG = 6
_LABEL_WINDOWS = 8
FOUND = ("strong", "weak")
"""Names of species that were found."""


@dataclass(frozen=True, eq=False)
class LabelledData:
    """A recording whose labels may have changed.

    Parameters
    ----------
    data : FitData
    number : (n,) array
        Which track each detection is of, 0, 1, ...; -1: none.
    windows : list of (rows,) arrays
        That forces are learned from, and, the later ones, held out.
    labels : Labels or None
        What the balance of forces says; None: labels are taken as given.
    """

    data: FitData
    number: np.ndarray
    windows: list[np.ndarray]
    labels: Labels | None = None

    @property
    def recording(self) -> Recording:
        """With the labels, and weight for detections only whose neighbours are surely labelled."""
        recording = self.data.recording
        if self.labels is None:
            return recording
        of_row = np.where(self.number >= 0, self.labels.species[self.number], recording.species if recording.species is
                          not None else 0)
        return dataclasses.replace(recording, species=of_row, weight=recording.weight * self._surely())

    def _surely(self) -> np.ndarray:
        """(n,) 1 where no neighbour within the cutoff has a doubtful label."""
        assert self.labels is not None
        assert isinstance(self.data.recipe.cutoff, float)
        recording, out = self.data.recording, np.ones(len(self.number))
        doubtful = np.where(self.number >= 0, self.labels.margin[self.number] < SURE, True)
        for rows in self.windows:
            pairs = neighbour_pairs(recording.position[rows], self.data.recipe.cutoff, recording.box,
                                    recording.frame[rows])
            i, j = rows[pairs[:, 0]], rows[pairs[:, 1]]
            out[i[doubtful[j]]] = 0.0
            out[j[doubtful[i]]] = 0.0
        out[doubtful] = 0.0
        return out


@dataclass(frozen=True, eq=False)
class _Task:
    """What the steps of a fit share: recordings with their labels, bases of the potentials, seed."""

    several: list[LabelledData]
    field: Field
    seed: int

    @property
    def dim(self) -> int:
        return self.several[0].data.recording.dim

    def moments(self) -> tuple[WindowMoments, WindowMoments | None]:
        """Of the windows that are learned from, and of those held out; the sum of both is of all."""
        train: list[WindowMoments] = []
        held: list[WindowMoments] = []
        for r, one in enumerate(self.several):
            recording, count = one.recording, _held_windows(one)
            noise = _noise_of(one.data)
            for windows, into, k in ((one.windows[: len(one.windows) - count], train, 0),
                                     (one.windows[len(one.windows) - count:], held, 1)):
                if windows:
                    lag = max(2, min(_LAG, min(len(np.unique(recording.frame[rows])) for rows in windows) - 1))
                    into.append(without_noise(recording, noise, _Moments(self.field, windows, lag),
                                              np.random.default_rng([self.seed, r, k])))
        return _sum(train), _sum(held) if held else None

    def solved(self, share: float | None) -> PackingForces:
        """Forces from all windows."""
        train, held = self.moments()
        return solved(train if held is None else train + held, self.field.penalty(), self.dim, share)

    def potentials(self, found: PackingForces) -> tuple[PairPotential, ...]:
        return tuple(PairPotential(spline, found.solution.coefficients[self.field.part(k)])
                     for k, spline in enumerate(self.field.splines))


@dataclass(frozen=True)
class _Moments:
    """Recording -> its moments over some windows."""

    field: Field
    windows: list[np.ndarray]
    lag: int

    def __call__(self, recording: Recording) -> WindowMoments:
        return window_moments(recording, self.field, self.windows, self.lag)


def fit_packing(data: tuple[FitData, ...], seed: int, progress: Progress) -> FitResult:
    """Pair potentials of packed particles, see the module docstring.

    Raises
    ------
    DataError, ModelError
        When too few pairs come within the cutoff, or no particle has all its neighbours in view.
    """
    recipe = data[0].recipe
    assert isinstance(recipe.cutoff, float)
    distances = pair_distances(data, recipe.cutoff)
    task = _Task([_laid_out(one) for one in data], _field(distances, data, LABEL_KNOTS), seed)
    rounds, history = (ROUNDS if recipe.labels != "given" else 0), []
    progress(0, 2 + rounds, "fit of packed particles")
    if recipe.labels == "found":
        several, apart = _found_labels(task, task.solved(1.0))
        data = tuple(one.data for one in several)
        distances = pair_distances(data, recipe.cutoff)
        task = _Task(several, _field(distances, data, LABEL_KNOTS), seed)
        history.append({"groups_apart": apart})
    for k in range(rounds):
        several, changed = _relabelled(task, task.solved(1.0 if k == 0 else None))
        task = dataclasses.replace(task, several=several)
        history.append({"changed": changed})
        progress(k + 1, 2 + rounds, "fit of packed particles")
        if not changed:
            break
    if rounds:                     # pairs of wrong labels are closer than right ones ever come: no force is seen there
        distances = pair_distances(tuple(dataclasses.replace(one.data, recording=dataclasses.replace(
            one.data.recording, species=one.recording.species)) for one in task.several), recipe.cutoff)
    task = dataclasses.replace(task, field=_field(distances, data, max(recipe.knots, KNOTS)))
    if rounds:                                           # once more, with forces that are right to a few per cent
        several, changed = _relabelled(task, task.solved(None))
        task = dataclasses.replace(task, several=several)
        history.append({"changed": changed})
    train, held = task.moments()
    moments, penalty = (train if held is None else train + held), task.field.penalty()
    final, windowed = (solved(moments, penalty, task.dim, share) for share in (None, 1.0))
    progress(2 + rounds, 2 + rounds, "fit of packed particles")
    found = _found(task, final, windowed, distances, not data[0].species)
    evaluation: dict[str, Any] = {"packing": found.report(), "calibration": {},
                                  "held_out": _held_out(task, train, held)}
    if history:
        evaluation["labels"] = {"rounds": history, "unsure": found.unsure, "changed": _changed(task)}
    arrays = _arrays(task, data, final, distances)
    warnings = packing_warnings(found, data)
    if recipe.pair_friction is not None:
        by_hand = [rows_held(one.data.recording, one.data.tracks, str(recipe.held)) for one in task.several]
        friction = found_friction([one.recording for one in task.several], by_hand, task.potentials(final),
                              min(found.neighbour_distance, 0.9 * recipe.pair_friction), recipe.pair_friction,
                              recipe.diffusion, found.diffusion, found.force_error)
        warnings += friction_warnings(friction, found, recipe)
        if friction is not None:
            arrays |= _friction_arrays(friction, arrays)
            evaluation["friction"] = friction.report()
    return FitResult(arrays, evaluation, recipe, warnings)


# ---------------------------------------------------------------------- pieces

def _laid_out(one: FitData) -> LabelledData:
    """Tracks numbered, frames cut into windows."""
    recording, recipe = one.recording, one.recipe
    frames = int(np.ptp(recording.frame)) + 1
    if frames < 6:
        raise DataError("A fit of packed particles needs 6 frames or more, to tell mean forces from thermal ones; "
                        f"these tracks have {frames}.")
    if not ((recording.weight > 0) & (recording.track >= 0)).any():
        raise ModelError("No particle has all its neighbours in view and is not held: nothing says what the forces "
                         "are. Film a larger field, or give a shorter cutoff.")
    names, number = np.unique(recording.track, return_inverse=True)
    length = recipe.window or int(np.clip(frames // WINDOWS, 10, 60))
    return LabelledData(one, number - int(names[0] < 0), windows_of(recording, min(length, frames)))


def _field(distances: list[np.ndarray], data: tuple[FitData, ...], knots: int) -> Field:
    """Bases of the pair potentials."""
    recipe, splines = data[0].recipe, []
    assert isinstance(recipe.cutoff, float)
    for mine in distances:
        inner = float(mine[min(RESOLVED, len(mine) - 1)])
        splines.append(RadialSpline(0.0 if inner < 0.1 * recipe.cutoff else inner, recipe.cutoff, knots))
    return Field(splines[0], "none", np.zeros(data[0].recording.dim), tuple(splines[1:]))


def _held_windows(one: LabelledData) -> int:
    """Windows at the end that are held out."""
    return max(1, round(HELD_OUT * len(one.windows))) if len(one.windows) >= 3 else 0


def _sum(parts: list[WindowMoments]) -> WindowMoments:
    total = parts[0]
    for one in parts[1:]:
        total = total + one
    return total


def _noise_of(data: FitData) -> np.ndarray:
    """(n, dim) variance of the noise of the positions, less what an exposure takes from their spread [µm²]."""
    recording, recipe = data.recording, data.recipe
    stated = recording.variance if stated_errors(data) else np.zeros_like(recording.variance)
    return stated - (0.0 if recipe.diffusion is None else 2 * recipe.diffusion * recording.dt * recording.blur)


def _some_windows(one: LabelledData) -> list[np.ndarray]:
    """Windows that the balance of forces is judged by, spread over the recording."""
    return one.windows[:: max(1, len(one.windows) // _LABEL_WINDOWS)]


def _relabelled(task: _Task, found: PackingForces) -> tuple[list[LabelledData], int]:
    """Labels that balance the mean forces, and how many changed."""
    out, changed = [], 0
    for one in task.several:
        recording = dataclasses.replace(one.recording, weight=one.data.recording.weight)
        assert recording.species is not None
        species = np.zeros(one.number.max() + 1, np.int64)
        species[one.number[one.number >= 0]] = recording.species[one.number >= 0]
        balance = mean_forces(recording, one.number, _some_windows(one), task.potentials(found))
        labels = balanced(balance, species)
        changed += labels.changed
        out.append(dataclasses.replace(one, labels=labels))
    return out, changed


def _found_labels(task: _Task, found: PackingForces) -> tuple[list[LabelledData], float]:
    """Two species by the strengths that balance the mean forces, and how far apart they are in their spread."""
    out, aparts = [], []
    for one in task.several:
        balance = mean_forces(one.recording, one.number, _some_windows(one), task.potentials(found))
        groups, apart = strengths(balance).groups()
        aparts.append(apart)
        of_row = np.where(one.number >= 0, groups[one.number], 0)
        data = dataclasses.replace(one.data, species=FOUND,
                                   recording=dataclasses.replace(one.data.recording, species=of_row))
        out.append(dataclasses.replace(one, data=data))
    return out, float(np.mean(aparts))


def _changed(task: _Task) -> int:
    """Particles whose label is not the one they came with."""
    count = 0
    for one in task.several:
        given = one.data.recording.species
        if one.labels is not None and given is not None:
            rows = np.unique(one.number, return_index=True)[1]
            rows = rows[one.number[rows] >= 0]
            count += int((one.labels.species[one.number[rows]] != given[rows]).sum())
    return count


def _found(task: _Task, final: PackingForces, windowed: PackingForces, distances: list[np.ndarray],
           alike: bool) -> Found:
    """Numbers that tell whether the fit can be trusted."""
    one = task.several[0]
    together = np.sort(np.concatenate(distances))
    rows = sum(int((some.data.recording.weight > 0).sum()) for some in task.several)
    near = float(np.median(together[: max(10, min(3 * rows, len(together)))]))     # six neighbours: three pairs each
    at = np.array([max(near, spline.inner) for spline in task.field.splines])
    learned, plain = (np.array([float(phi.force(r)) for phi, r in zip(task.potentials(some), at)])
                      for some in (final, windowed))
    apart, left = 0.0, 1.0
    if alike and len(task.field.splines) == 1:
        d = strengths(mean_forces(one.recording, one.number, _some_windows(one), task.potentials(windowed)))
        apart, left = d.groups()[1], d.left
    noise = _noise_of(one.data)
    unsure = [(some.labels.margin < SURE).mean() for some in task.several if some.labels is not None]
    free = free_diffusion(one.data.recording, 1.0 if stated_errors(one.data) else 0.0)
    scatter = _scatter(windowed, task.field)
    error = np.sqrt([float(d @ scatter[part, part] @ d) for k, (spline, r) in enumerate(zip(task.field.splines, at))
                     for part, d in ((task.field.part(k), spline(np.array([r]))[1][0]),)])
    return Found(near, float(np.abs(learned).mean()), float((learned / plain).mean()),
                 float(np.sqrt((error**2 / plain**2).mean() / len(at))),
                 float(np.sqrt((error**2).mean()) / max(float(np.abs(learned).mean()), 1e-12)),
                 float(np.sqrt(final.static_variance)),
                 float(np.sqrt(final.thermal_variance)), final.share,
                 final.independent, sum(len(some.windows) for some in task.several),
                 float(np.sqrt(max(noise.mean(), 0.0))), float(np.mean(unsure)) if unsure else 0.0, apart, left,
                 free.diffusion, one.data.recording.dt)


def _held_out(task: _Task, train: WindowMoments, held: WindowMoments | None) -> dict[str, Any]:
    """What forces learned from the first windows say of the last ones, over none at all.

    In the quasi-likelihood of the window moments, (c·b - c·A c/2)/k per detection: forces of variance k, whose mean and
    divergence balance. It judges forces, not motion: neither D nor friction enters.
    """
    if held is None:
        return {"gain_per_step": float("nan"), "gain_per_step_stderr": float("nan"), "steps": 0,
                "log_likelihood_per_step": float("nan"), "free_diffusion_log_likelihood_per_step": 0.0}
    found = solved(train, task.field.penalty(), task.dim)
    equations, c = held.at(found.share, found.independent), found.solution.coefficients
    scale = max(found.thermal_variance, 1e-12) * held.detections
    loss = (equations.b @ c - 0.5 * np.einsum("kab,a,b->k", equations.a, c, c)) / scale
    return {"gain_per_step": float(loss.sum()), "gain_per_step_stderr": float(loss.std(ddof=1) * np.sqrt(len(loss))),
            "log_likelihood_per_step": float(loss.sum()), "free_diffusion_log_likelihood_per_step": 0.0,
            "steps": int(held.detections)}


def _scatter(found: PackingForces, field: Field) -> np.ndarray:
    """Covariance of the coefficients: from the scatter between strips, and roughness that the penalty may have taken
    away (as in `indirect`; the variance of b per unit of A is that of the thermal force)."""
    penalty, smoothness = field.penalty(), found.solution.smoothness
    K = np.linalg.inv(regularised(found.equations.A, penalty, smoothness))
    scatter = K @ sandwich(found.equations, found.solution.coefficients) @ K
    return scatter + 2 * smoothness * found.thermal_variance * K @ penalty @ K


def _friction_arrays(found: FoundFriction, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Frictions, and D of a particle in its cage that follows from them, for every species."""
    error = np.sqrt(np.maximum(np.diag(found.covariance), 0.0))
    known = found.given is not None
    # D is nearly the inverse of the friction of its pairs: their relative errors are the same
    D_error = 0.0 if known else found.diffusion * float(error[1]) / max(found.pair.amplitude, 1e-12)
    D = np.array([found.diffusion if not known else found.given, D_error])
    out = {"node_friction": np.array([found.node, error[0]]),
           "pair_friction": np.array([found.pair.amplitude, found.pair.near, found.pair.cutoff]),
           "friction_covariance": found.covariance, "diffusion": D}
    if "species_diffusion" in arrays:
        out["species_diffusion"] = np.tile(D, (len(arrays["species_diffusion"]), 1))
    return out


def _arrays(task: _Task, data: tuple[FitData, ...], final: PackingForces,
            distances: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of the model, see `BrownianModel`."""
    recipe, splines = data[0].recipe, task.field.splines
    c = final.solution.coefficients
    species = max(1, len(data[0].species))
    free = [free_diffusion(one.recording, 1.0 if stated_errors(one) else 0.0) for one in data]
    D = np.full(species, recipe.diffusion or float(np.mean([one.diffusion for one in free])))
    error = np.full(species, 0.0 if recipe.diffusion else 0.5 * D[0])
    noise = Noise(np.tile([[1.0 if stated_errors(one) else 0.0] for r, one in enumerate(data)],
                          (1, species)), np.full((len(data), species), 0.0))
    ranges = np.array([SplineRange(one.inner, one.cutoff, float(one.knots)) for one in splines])
    support = np.array([support_of(mine, one.cutoff) for mine, one in zip(distances, splines)])
    core = [max(float(-np.gradient(phi.force(r := np.linspace(phi.spline.inner, 1.1 * phi.spline.inner, 20)), r).max()),
                0.0) for phi in task.potentials(final)]
    arrays = {"spline": ranges[0] if len(splines) == 1 else ranges, "coefficients": c,
              "covariance": _scatter(final, task.field),
              "core_stiffness": np.array(core), "support": support[0] if len(splines) == 1 else support,
              **common_arrays(data, D, error, noise), **recording_arrays(data, noise)}
    if data[0].species:
        arrays["species"] = names_array(data[0].species)
    labelled = [one for one in task.several if one.labels is not None]
    if labelled:
        tracks, which, sure = [], [], []
        for one in labelled:
            assert one.labels is not None
            rows = np.unique(one.number, return_index=True)[1]
            rows = rows[one.number[rows] >= 0]
            tracks.append(one.data.recording.track[rows])
            which.append(one.labels.species[one.number[rows]])
            sure.append(one.labels.margin[one.number[rows]])
        arrays |= {"label_tracks": np.concatenate(tracks), "label_species": np.concatenate(which),
                   "label_margins": np.concatenate(sure),
                   "label_recordings": np.repeat(np.arange(len(tracks)), [len(one) for one in tracks])}
    return arrays
