"""What inertial particles are learned from: recordings with velocities, checked, and what of them judges.

Of several recordings all but the last are learned from, and the last one judges; of a single one its last part does.
Nothing that is learned before the judgement has seen what judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import vid2dyn
from vid2dyn.core.checkpoint import digest_of, key_of
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.fitting.particles.motion_checks import velocity_warnings
from vid2dyn.inference.species import with_species
from vid2dyn.inference.steps import FluidSteps

ASIDE = 4
"""Least steps of a single recording that judge."""
APART, LEAST_APART = 5.0, 0.03
"""By how much χ² of a recording may differ from that of the others: standard errors (a false alarm of 6e-7), and least
size."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings of one sample, laid out for the likelihood.

    Parameters
    ----------
    parts : tuple of FluidSteps
        All of them, whole.
    train : tuple of FluidSteps
        What is learned from: all but the last, or the first part of the only one.
    judged_from : int
        Step of the last one from which on it judges.
    species : tuple of str
        Names; one without a name where the recipe has no column of species.
    mass : (species,) array
    units : Units
        Of the first.
    warnings : tuple of str
        About the data.
    """

    parts: tuple[FluidSteps, ...]
    train: tuple[FluidSteps, ...]
    judged_from: int
    species: tuple[str, ...]
    mass: np.ndarray
    units: Units
    warnings: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether the judge is the rest of the only recording."""
        return len(self.parts) == 1

    @property
    def judge(self) -> FluidSteps:
        """The last recording, whole."""
        return self.parts[-1]

    @property
    def unseen(self) -> FluidSteps:
        """What of the judge nobody learns from."""
        return self.judge.between(self.judged_from, self.judge.count) if self.judged_from else self.judge

    @property
    def judging(self) -> str:
        """For the report: what judges."""
        return "the rest of the same one" if self.alone else "another one"

    @classmethod
    def of(cls, tracks: Sequence[Trajectories], recipe: Metriplectic, reach: float, least: int) -> Recordings:
        """Recordings of at least so many frames with pairs up to a distance.

        Raises
        ------
        DataError
            Without trajectories or velocities, for numbers that are not finite, missing particles, too few frames,
            velocities that never change, recordings that differ in dimensions or frame rate, or a species column that
            is absent or changes.
        ConfigError
            For a mass for each of more or fewer species.
        """
        if not tracks:
            raise DataError("No trajectories were given.")
        for one in tracks:
            if not isinstance(one, Trajectories):
                raise DataError(f"vd.Metriplectic learns from trajectories, not from {type(one).__name__}; for fields "
                                "give vd.GradientFlow().")
            _refuse_held(one)
        parts = tuple(FluidSteps.of(one, reach, least=least) for one in tracks)
        for part in parts:
            if not (np.diff(part.velocity, axis=0) != 0).any():
                raise DataError("No velocity ever changes: there is neither noise nor force to learn from (temperature "
                                "zero). Check the velocity columns.")
            if part.dim != parts[0].dim or abs(part.dt / parts[0].dt - 1) > 1e-9:
                raise DataError("The trajectories differ in dimensions or frame rate; fit them one by one.")
        if parts[0].dim not in (2, 3):
            raise DataError(f"The trajectories have {parts[0].dim} dimension; particles move in 2 or 3.")
        parts, species = with_species(tracks, parts, recipe.species)
        warnings = (*velocity_warnings(parts), *_ignored_species(tracks, recipe))
        of, whole = (species, _masses(recipe, species), tracks[0].units, warnings), parts[0]
        if len(parts) > 1:
            return cls(parts, parts[:-1], 0, *of)
        stop = whole.count - max(ASIDE, round(recipe.held_out * whole.count))
        return cls(parts, (whole.between(0, stop),), stop, *of)

    def mapped(self, change: Callable[[FluidSteps], FluidSteps]) -> Recordings:
        """The same recordings, each changed."""
        parts = tuple(map(change, self.parts))
        return replace(self, parts=parts, train=tuple(map(change, self.train)) if self.alone else parts[:-1])

    def digest(self) -> str:
        """Of all positions and velocities."""
        return digest_of(*(a.tobytes() for part in self.parts for a in (part.position, part.velocity)))


def checkpoint_key(parts: Sequence[FluidSteps], settings: str, *arrays: np.ndarray) -> str:
    """Digest of everything a fit depends on, the version of vid2dyn included; arrays: further settings."""
    steps = [values for part in parts for values in (part.position, part.velocity, part.species, part.names)]
    about = [(part.dt, part.box.to_dict(), part.cutoff, part.first_frame, part.frames, part.shown) for part in parts]
    return key_of(repr((settings, about, vid2dyn.__version__)), *steps, *arrays)


def compared(parts: Sequence[FluidSteps], judged: Callable[[int], tuple[np.ndarray, np.ndarray, float]],
             progress: Progress = silent) -> tuple[list[dict[str, Any]], list[str]]:
    """For the report: likelihood and χ² of every recording under the shared physics; one far from the others is named.

    judged: of a recording, by its number, see `Learner.judged`.
    """
    found: list[dict[str, Any]] = []
    for k, part in enumerate(parts):
        progress(k, len(parts), "recordings side by side")
        lls, chi2, more = judged(k)
        found.append({"recording": k + 1, "log_likelihood_per_window": float(lls.mean()), "chi2": float(chi2.mean()),
                      "chi2_stderr": math.hypot(math.sqrt(2.0 / (len(chi2) * part.n * part.dim)), more),
                      "windows": len(lls)})
    said = []
    for one in found:
        others = [other["chi2"] for other in found if other is not one]
        middle, value, error = float(np.median(others)), one["chi2"], one["chi2_stderr"]
        spread = max(error, 1.4826 * float(np.median(np.abs(np.array(others) - middle))) if len(others) > 2 else error)
        if abs(value - middle) > max(APART * spread, LEAST_APART):
            said.append(f"Recording {one['recording']} does not belong to the others: its momentum changes are "
                        f"{value:.3g} of what the shared physics says, those of the others {middle:.3g}. Another "
                        "temperature, density or sample; fit it by itself or leave it out.")
    return found, said


def _refuse_held(tracks: Trajectories) -> None:
    """`DataError` for nodes of a solid whose edges are driven: forces and noise alone do not move them."""
    held = tracks.dataframe["held"].to_numpy() if "held" in tracks.dataframe else ()
    try:
        driven = bool(np.any(np.asarray(held, float) != 0))
    except (TypeError, ValueError):
        driven = True
    if driven:
        raise DataError("The column \"held\" names particles whose motion is prescribed: these are nodes of a "
                        "solid with a driven edge, not particles that move by forces and noise alone. Learn a "
                        "solid, vd.Metriplectic(energy=[vd.terms.BondEnergy(cutoff=...)], "
                        "friction=[vd.terms.BondDashpot(cutoff=...)]); or drop the held particles and the column.")


def _masses(recipe: Metriplectic, species: tuple[str, ...]) -> np.ndarray:
    mass = np.atleast_1d(np.asarray(recipe.mass, float))
    if len(mass) not in (1, len(species)):
        raise ConfigError(f"Metriplectic: mass has {len(mass)} numbers for {len(species)} species "
                          f"({', '.join(map(repr, species))}); give one number, or one for each in this order.")
    return np.broadcast_to(mass, (len(species),)).copy()


def _ignored_species(several: Sequence[Trajectories], recipe: Metriplectic) -> list[str]:
    for tracks in several if recipe.species is None else ():
        if "species" in tracks.dataframe and tracks.dataframe["species"].nunique() > 1:
            what_to_do = ("A fluid with an equation of state has one species; for several give listed terms "
                          "(PairPotential and PairFriction) with " if recipe.is_fluid else "Give ")
            return [f"The table names {tracks.dataframe['species'].nunique()} species in its column 'species', and all "
                    "particles were taken to be alike: forces and friction are averages over kinds of pairs. "
                    f"{what_to_do}species=\"species\"."]
    return []
