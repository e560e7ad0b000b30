"""Mobility and pair strength by a column of the table, with pair forces present: particles in classes of the column.

A column such as a variable read off the images (`vd.encode`) may say that particles differ in size or charge. With pair
forces it is not enough that each has its own mobility: forces between them differ, too. Particles are put into up to
three classes by the median of the column over their track, each with a third of the particles, and the classes are
learned as the species of a mixture are: a D for each, a potential for every pair (`pair_forces`). What that adds to the
prediction of motion that was set aside, over one kind of particles, is judged beside it, with its error from the
scatter between tracks.

A class is all that is used of the column. That what changes along a track is left out is said where it is much.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Cancelled
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.brownian import species_pairs
from vid2dyn.dynamics.recipes.brownian import Brownian
from vid2dyn.fitting.brownian.evidence import StepModel, held_out_steps, trusted_steps
from vid2dyn.fitting.brownian.mobility import FEWEST_TRACKS
from vid2dyn.fitting.brownian.pair_forces import fit_pair_forces, trained_without_held_out
from vid2dyn.fitting.brownian.records import FitData, FitResult
from vid2dyn.fitting.brownian.structure import columns_named
from vid2dyn.fitting.course import RunControl
from vid2dyn.model.brownian import SplineRange

NAMES = {2: ("1 low", "2 high"), 3: ("1 low", "2 middle", "3 high")}
MEMBERS = 30
"""Tracks of a class; with fewer there are two classes."""
LASTING = 0.5
"""Share of the column's variance that has to lie between tracks; below, a warning says so."""


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes of a column.

    Parameters
    ----------
    column : str
    names : tuple of str
    edges : (classes - 1,) array
        Values of the column between them.
    values : (classes,) array
        Median of the column in each.
    lasting : float
        Share of the variance of the column that lies between tracks.
    """

    column: str
    names: tuple[str, ...]
    edges: np.ndarray
    values: np.ndarray
    lasting: float

    @classmethod
    def of(cls, tracks: Sequence[Trajectories], name: str) -> Classes:
        """Of recordings.

        Raises
        ------
        DataError
            Without that column, for several that go by this name, values that are not numbers, or too few tracks.
        ModelError
            For a column that is the same for half of the particles.
        """
        columns = columns_named(tracks[0], name)
        if len(columns) > 1:
            raise DataError(f"structure = {name!r} means {', '.join(columns)}. With pair forces say which one: "
                            f"structure = {columns[0]!r}.")
        (column,) = columns
        medians = np.concatenate([track_medians(one, column)[1] for one in tracks])
        if len(medians) < 2 * FEWEST_TRACKS:
            raise DataError(f"structure = {column!r}: {len(medians)} tracks; classes of it need at least "
                            f"{2 * FEWEST_TRACKS}. Film more particles.")
        names = NAMES[3 if len(medians) >= 3 * MEMBERS else 2]
        edges = np.quantile(medians, np.arange(1, len(names)) / len(names))
        which = np.searchsorted(edges, medians, side="right")
        if len(np.unique(which)) < len(names) or len(np.unique(edges)) < len(edges):
            raise ModelError(f"Column {column!r} is the same for half of the particles or more; classes cannot be made "
                             "of it. If it names species, give species = in place of structure.")
        values = np.array([np.median(medians[which == k]) for k in range(len(names))])
        everything = np.concatenate([one.dataframe[column].to_numpy(float) for one in tracks])
        return cls(column, names, edges, values, float(medians.var() / max(everything.var(), 1e-300)))

    @property
    def key(self) -> str:
        """Column of the table that names the class."""
        return f"{self.column} class"

    def named(self, tracks: Trajectories) -> Trajectories:
        """The tracks with that column."""
        particles, medians = track_medians(tracks, self.column)
        which = np.searchsorted(self.edges, medians, side="right")
        row = np.clip(np.searchsorted(particles, tracks.particle), 0, len(particles) - 1)
        name = np.array(self.names, dtype=object)[which[row]]
        return tracks.replace(dataframe=tracks.dataframe.assign(**{self.key: name}))


def track_medians(tracks: Trajectories, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Particles and the median of a column over the track of each.

    Raises
    ------
    DataError
        Without that column, or for values that are not numbers.
    """
    if column not in tracks.dataframe:
        raise DataError(f"structure = {column!r}: no such column in one of the recordings; they have "
                        f"{', '.join(map(str, tracks.dataframe.columns))}.")
    values = tracks.dataframe[column].to_numpy(float)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"Column {column!r} has {(~np.isfinite(values)).sum()} values that are not numbers, the first "
                        f"in row {row}. Drop those rows, or encode the recording again.")
    linked = tracks.dataframe[tracks.particle >= 0]
    medians = linked.groupby("particle")[column].median()
    return medians.index.to_numpy(), medians.to_numpy(float)


def recipe_of_classes(recipe: Brownian, classes: Classes) -> Brownian:
    """The recipe of the mixture."""
    return dataclasses.replace(recipe, structure=None, species=classes.key)


def fit_classes(data: tuple[FitData, ...], classes: Classes, seed: int, control: RunControl) -> FitResult:
    """The mixture of classes, what it adds over one kind of particles, and how D and strength go with the column."""
    found = fit_pair_forces(data, seed, control)
    recipe = dataclasses.replace(found.recipe, structure=classes.column, species=None)
    arrays = found.arrays | {"class_edges": classes.edges, "class_values": classes.values}
    evaluation, warnings = dict(found.evaluation), list(found.warnings)
    if classes.lasting < LASTING:
        warnings.append(f"{100 * (1 - classes.lasting):.0f} % of the variance of {classes.column} is change along the "
                        "tracks, and with pair forces only the median of each track is used.")
    if found.stopped is None:
        try:
            plain = _alike(data, seed, control)
        except Cancelled:
            if not control.keep_partial:
                raise
            plain = None
        if plain is not None:
            evaluation["structure"] = _judged(data, found, plain, classes)
            told = evaluation["structure"]
            if not told["gain_per_step"] > 3 * told["gain_per_step_stderr"]:
                warnings.append(f"On frames it did not see, knowing {classes.column} predicts the steps no better than "
                                "one kind of particles: within the errors neither mobility nor pair forces depend on "
                                "it in these data.")
    return dataclasses.replace(found, arrays=arrays, evaluation=evaluation, recipe=recipe, warnings=warnings)


def _alike(data: tuple[FitData, ...], seed: int, control: RunControl) -> list[StepModel]:
    """Models of the same recordings with one kind of particles, learned without the held-out frames."""
    alike = tuple(dataclasses.replace(one, species=(), recording=dataclasses.replace(one.recording, species=None),
                                      recipe=dataclasses.replace(one.recipe, species=None)) for one in data)
    return trained_without_held_out(alike, seed, control.progress)


def _judged(data: tuple[FitData, ...], found: FitResult, plain: list[StepModel], classes: Classes) -> dict[str, Any]:
    gains, of = [], []
    for r, (one, ours, theirs) in enumerate(zip(data, found.models, plain, strict=True)):
        recording = one.recording
        some = held_out_steps(recording) & trusted_steps(recording)
        (with_it,) = ours.residuals(recording, some)
        (without,) = theirs.residuals(dataclasses.replace(recording, species=None), some)
        gains.append(with_it.log_likelihood - without.log_likelihood)
        of.append(recording.track[recording.steps][some] + r * (1 << 40))
    gain, (_, track) = np.concatenate(gains), np.unique(np.concatenate(of), return_inverse=True)
    error = float(np.sqrt((np.bincount(track, gain - gain.mean()) ** 2).sum())) / max(1, gain.size)
    diffusion = found.arrays["species_diffusion"]
    strengths = _strengths(found.arrays, classes)
    return {"column": classes.column, "gain_per_step": float(gain.mean()), "gain_per_step_stderr": error,
            "classes": [{"class": name, "value": float(value), "diffusion": float(D), "diffusion_stderr": float(e)}
                        for name, value, (D, e) in zip(classes.names, classes.values, diffusion, strict=True)],
            "pair_strength": strengths}


def _strengths(arrays: dict[str, np.ndarray], classes: Classes) -> list[dict[str, Any]]:
    """Size of every pair potential over that of the mean of all, where all are known, with its error.

    The mean over pairs of particles, of which every class has as many: pairs of two classes count twice. (The potential
    of one kind of particles is no reference: a mixture shows one that is no mean of its own.)
    """
    ranges, support = np.atleast_2d(arrays["spline"]), np.atleast_2d(arrays["support"])
    r = np.linspace(support[:, 0].max(), support[:, 1].min(), 60)
    kinds, parts, at = species_pairs(len(classes.names)), [], 0
    for row in ranges:
        spline = SplineRange(*row).spline()
        parts.append((slice(at, at + spline.knots), spline(r)[0]))
        at += spline.knots
    shares = np.array([1.0 if a == b else 2.0 for a, b in kinds]) / len(classes.names) ** 2
    whole = np.sum([share * basis @ arrays["coefficients"][part]
                    for share, (part, basis) in zip(shares, parts, strict=True)], axis=0)
    weight = whole / max(float(whole @ whole), 1e-300)
    found = []
    for (a, b), (part, basis) in zip(kinds, parts, strict=True):
        functional = weight @ basis
        error = float(np.sqrt(max(functional @ arrays["covariance"][part, part] @ functional, 0.0)))
        found.append({"classes": [classes.names[a], classes.names[b]],
                      "value": 0.5 * float(classes.values[a] + classes.values[b]),
                      "strength": float(functional @ arrays["coefficients"][part]), "stderr": error})
    return found
