"""What a fitted model of Brownian colloids can say and do."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import ndtri

from vid2dyn.analysis.radial_distribution import detectable_area, within_area
from vid2dyn.core.checkpoint import digest_of
from vid2dyn.core.describe import with_error
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.memory import need_memory
from vid2dyn.core.registry import did_you_mean
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.base import Overdamped
from vid2dyn.dynamics.brownian import MixturePotential, brownian_dynamics, pair_kinds, species_pairs
from vid2dyn.dynamics.recipes.brownian import species_name
from vid2dyn.dynamics.terms.friction import PairFrictionLaw, StructuredMobility
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber, Model, checked_level, drawn_from
from vid2dyn.model.driven_rollout import Drive, prescribed_of
from vid2dyn.model.region_rollout import RegionBox
from vid2dyn.rollout.brownian import TABLE, FrameTiming, FrozenBrownian, brownian_paths
from vid2dyn.rollout.driven import driven_paths
from vid2dyn.rollout.node_and_pair_friction import FrozenFriction

_KEYS = {"diffusion": "diffusion", "localisation_error": "localisation", "trap_stiffness": "trap",
         "noise_scale": "noise_scale", "node_friction": "node_friction"}
"""Numbers of a model -> names of their arrays."""


class Measured(NamedTuple):
    """A number with its standard error, as `BrownianModel.arrays` keeps it."""

    value: float
    stderr: float

    def array(self) -> np.ndarray:
        """(2,) float64."""
        return np.array(self, dtype=float)


class SplineRange(NamedTuple):
    """Range [µm] and resolution of a pair potential, as `BrownianModel.arrays` keeps them."""

    inner: float
    cutoff: float
    knots: float

    def spline(self) -> RadialSpline:
        """The basis."""
        return RadialSpline(float(self.inner), float(self.cutoff), int(self.knots))


@dataclass(frozen=True, eq=False)
class BrownianModel(Model):
    """A fitted model of Brownian colloids, made by `vd.fit` and `vd.load`.

    `arrays` holds "diffusion" (value, stderr) [µm²/s], "localisation" (typical σ, stderr) [µm], "noise_scale", and
    where present "spline" (inner, cutoff, knots), "coefficients", "covariance", "core_stiffness", "support", "end"
    (where the last two knot intervals begin [µm], error of the force there [kT/µm], of every pair of species),
    "hidden" (distance below which there is no band), "trap" (stiffness, stderr) [kT/µm²], "centres" [µm],
    "centre_tracks", "structure_knots", "structure_log_diffusion", "structure_covariance" (log D at knots of the column
    that `recipe` names).

    Of a mixture "species" are the names (JSON text, UTF-8), "spline" and "support" have a row and "coefficients" a part
    for every pair of species (`species_pairs`), and "species_diffusion", "species_localisation" a row for each species;
    "diffusion", "localisation" and "noise_scale" are then means over the detections. Of several recordings
    "recording_noise_scale" and "recording_localisation" are (recordings, species, 2), "centre_recordings" says where
    each trap is, and a shared trap has one row of "centres" for each recording. Where a structural variable sets
    mobility and pair forces the species are classes of it, with "class_edges" between them and their "class_values".

    Of packed particles with friction between them "node_friction" (value, stderr) [kT s/µm²], "pair_friction"
    (amplitude, at distance, cutoff) and "friction_covariance" of both numbers; D is then that in a cage.
    """

    # ---------------------------------------------------------------- what it says

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the species of a mixture; empty where all particles are alike."""
        kinds = self.recipe.get("species"), self.recipe.get("structure")
        if (kinds == (None, None) and self.recipe.get("labels") != "found") or "species" not in self.arrays:
            return ()
        return tuple(json.loads(bytes(self.arrays["species"]).decode("utf-8")))

    @property
    def _species_column(self) -> str:
        """Column that names the species; of species that were found, the one that `labelled` writes."""
        return str(self.recipe.get("species") or "species")

    def labelled(self, tracks: Trajectories) -> Trajectories:
        """The tracks that this model of packed particles was fitted to, with the species that the balance of forces
        says.

        Writes the column of the species, and `label_margin`: how much likelier this label is than the next best one
        [nats]; near 0 where nothing says it, as for particles near the edge. Rows of other particles keep what they
        had.

        Raises
        ------
        ModelError
            If labels were taken as given.
        DataError
            If none of the particles is one that the model knows.
        """
        if "label_tracks" not in self.arrays:
            raise ModelError("This model took the labels as they are. Fit with packed = True and labels = "
                             "'balanced' or 'found' to have them corrected.")
        mine = self.arrays["label_recordings"] == (self._recording(tracks) or 0)
        known, place = self.arrays["label_tracks"][mine], np.arange(int(mine.sum()))
        order = np.argsort(known)
        at = order[np.minimum(np.searchsorted(known, tracks.particle, sorter=order), len(known) - 1)] if len(
            known) else place
        hit = known[at] == tracks.particle
        if not hit.any():
            raise DataError("None of these particles is one of those that the model was fitted to; give those tracks.")
        names = np.array(self.species, dtype=object)[self.arrays["label_species"][mine][at]]
        column = self._species_column
        before = (tracks.dataframe[column].to_numpy(dtype=object) if column in tracks.dataframe
                  else np.full(len(tracks), "", object))
        margin = np.where(hit, self.arrays["label_margins"][mine][at], 0.0)
        return tracks.replace(dataframe=tracks.dataframe.assign(
            **{column: np.where(hit, names, before).astype(str), "label_margin": margin}))

    @property
    def _pairs(self) -> tuple[PairPotential, ...]:
        """The potential of every pair of species; one where all are alike, none without forces."""
        if "coefficients" not in self.arrays:
            return ()
        found = []
        for kind, row in enumerate(np.atleast_2d(self.arrays["spline"])):
            spline = SplineRange(*row).spline()
            found.append(PairPotential(spline, self.arrays["coefficients"][self._part(kind)],
                                       float(self.arrays["core_stiffness"][kind])))
        return tuple(found)

    @property
    def pairs(self) -> tuple[PairPotential, ...]:
        """The potential of every pair of species; one where all are alike, none without forces."""
        return self._pairs

    def _part(self, kind: int) -> slice:
        """Which coefficients are those of a pair of species."""
        knots = np.atleast_2d(self.arrays["spline"])[:, 2].astype(int)
        return slice(int(knots[:kind].sum()), int(knots[:kind + 1].sum()))

    @property
    def _trap(self) -> HarmonicTrap | None:
        if "trap" not in self.arrays:
            return None
        centres = self.arrays["centres"]
        if "centre_tracks" not in self.arrays:
            centres = centres[:1]                    # one for each recording: the first stands for all
        return HarmonicTrap(self._measured("trap_stiffness").value, centres)

    def _measured(self, name: str) -> Measured:
        """A number of the model with its standard error; `ModelError` if it was not fitted."""
        key = _KEYS.get(name)
        if key is None or key not in self.arrays:
            raise ModelError(f"This model has no {name!r}; it has {', '.join(_KEYS)}, as far as they were fitted.")
        return Measured(*(float(v) for v in self.arrays[key]))

    def standard_error(self, name: str) -> float:
        """Standard error of a number of the model, in its unit.

        Parameters
        ----------
        name : {"diffusion", "localisation_error", "trap_stiffness", "noise_scale"}

        Raises
        ------
        ModelError
            If the model has no such number.
        """
        return self._measured(name).stderr

    def _kind(self, species: Any) -> int:
        """Place of a pair of species among the potentials; `ModelError` if the model has none or it is not one."""
        names = self.species
        if "coefficients" not in self.arrays:
            raise ModelError("This model has no pair force. Fit one: vd.fit(tracks, vd.Brownian(cutoff=3.0)).")
        if not names:
            if species is not None:
                raise ModelError(f"species = {species!r}: this model knows one kind of particles; leave out species, "
                                 'or fit a mixture: vd.fit(tracks, vd.Brownian(cutoff=3.0, species="species")).')
            return 0
        known = ", ".join(f"({names[a]!r}, {names[b]!r})" for a, b in species_pairs(len(names)))
        if species is None or isinstance(species, str) or len(tuple(species)) != 2:
            raise ModelError(f"species = {species!r}: a mixture has a potential for every pair of species; say of "
                             f"which: species = one of {known}.")
        return int(pair_kinds(len(names))[tuple(self._species(one) for one in species)])

    def _species(self, species: Any) -> int:
        """Number of a species; `ModelError` for one that the model does not have."""
        name, names = species_name(species), self.species
        if name not in names:
            raise ModelError(f"species {species!r}: this model has {', '.join(map(repr, names)) or 'no species'}."
                             f"{did_you_mean(name, names)}")
        return names.index(name)

    def pair_potential(self, r: Any, species: tuple[Any, Any] | None = None) -> np.ndarray:
        """phi(r) [kT], zero at the cutoff; r in µm. `species`: which two, for a mixture (``("A", "B")``)."""
        return self._pairs[self._kind(species)].value(np.asarray(r, dtype=float))

    def pair_force(self, r: Any, species: tuple[Any, Any] | None = None) -> np.ndarray:
        """-dphi/dr [kT/µm], positive where particles repel; r in µm. `species`: which two, for a mixture."""
        return self._pairs[self._kind(species)].force(np.asarray(r, dtype=float))

    def diffusion(self, structure: Any = None, *, species: Any = None) -> Any:
        """D [µm²/s] of one particle alone; at values of the structural variable or of a species, where there are such.

        Without an argument: the mean over the detections.
        """
        if species is not None:
            return float(self._of_species("species_diffusion", species)[0])
        if structure is None:
            return self._measured("diffusion").value
        return np.exp(self._hats(structure) @ self._log_diffusion[0]).reshape(np.shape(structure))

    @property
    def _log_diffusion(self) -> tuple[np.ndarray, np.ndarray]:
        """log D at the knots of the structural variable, and its covariance."""
        if "class_values" not in self.arrays:
            return self.arrays["structure_log_diffusion"], self.arrays["structure_covariance"]
        D, error = self.arrays["species_diffusion"].T
        return np.log(D), np.diag((error / D) ** 2)

    def _hats(self, structure: Any) -> np.ndarray:
        """(n, knots) weights of the knots at values of the structural variable."""
        knots = self.arrays.get("structure_knots", self.arrays.get("class_values"))
        if knots is None:
            raise ModelError("This model has one mobility for all. Fit one that depends on a column of the tracks: "
                             'vd.fit(tracks, vd.Brownian(structure="latent")).')
        c = np.asarray(structure, dtype=float).ravel()
        return np.stack([np.interp(c, knots, row) for row in np.eye(len(knots))], axis=1)

    def _of_species(self, name: str, species: Any) -> np.ndarray:
        """(value, stderr) of one species of a mixture."""
        place = self._species(species)
        if name not in self.arrays:
            raise ModelError(f"This model has no {name}.")
        return self.arrays[name][place]

    def localisation_error(self, *, species: Any = None) -> float:
        """Typical standard error of a position [µm], per axis, as learned from the motion; of one species if given."""
        if species is not None:
            return float(self._of_species("species_localisation", species)[0])
        return self._measured("localisation_error").value

    def node_friction(self) -> float:
        """Friction of a packed particle against the fluid [kT s/µm²], where `vd.Brownian(pair_friction=...)` was
        fitted."""
        return self._measured("node_friction").value

    def pair_friction(self, r: Any) -> np.ndarray:
        """Friction of two particles at distance r [µm] along the line of their centres [kT s/µm²]."""
        return self._pair_friction_law(r)

    @property
    def _pair_friction_law(self) -> PairFrictionLaw:
        if "pair_friction" not in self.arrays:
            raise ModelError("This model has no friction between particles. Fit it: vd.Brownian(packed=True, held=..., "
                             "pair_friction=range in µm).")
        return PairFrictionLaw(*(float(v) for v in self.arrays["pair_friction"]))

    def trap_stiffness(self) -> float:
        """k [kT/µm²]."""
        if "trap" not in self.arrays:
            raise ModelError("This model has no trap. Fit one: vd.fit(tracks, vd.Brownian(trap='each')).")
        return self._measured("trap_stiffness").value

    @property
    def support(self) -> tuple[float, float] | None:
        """Distances (nearest, farthest) [µm] between which at least 100 pairs were seen per step of the RDF.

        Of a mixture those between which this holds for any pair of species; see `pair_support` for one of them.
        """
        if "support" not in self.arrays:
            return None
        support = np.atleast_2d(self.arrays["support"])
        return float(support[:, 0].min()), float(support[:, 1].max())

    def pair_support(self, species: tuple[Any, Any] | None = None) -> tuple[float, float]:
        """`support` of a pair of species."""
        nearest, farthest = np.atleast_2d(self.arrays["support"])[self._kind(species)]
        return float(nearest), float(farthest)

    def _hidden(self, kind: int) -> float:
        return float(self.arrays["hidden"][kind]) if "hidden" in self.arrays else 0.0

    def hidden_below(self, species: tuple[Any, Any] | None = None) -> float:
        """Distance [µm] below which localisation noise hides how steep the potential is, so that its bands are nan; 0
        where it hides nothing."""
        return self._hidden(self._kind(species))

    def dynamics(self) -> Overdamped:
        """The potentials and the friction matrix."""
        if "structure_knots" in self.arrays:
            return brownian_dynamics(StructuredMobility(self.arrays["structure_knots"],
                                                        self.arrays["structure_log_diffusion"]))
        pairs = self._pairs
        if self.species:                             # log D is linear between knots: at whole numbers it is exact
            mobility = StructuredMobility(np.arange(len(self.species), dtype=float),
                                          np.log(self.arrays["species_diffusion"][:, 0]))
            return brownian_dynamics(mobility, MixturePotential(pairs) if pairs else None)
        return brownian_dynamics(self.diffusion(), pairs[0] if pairs else None, self._trap)

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level.

        Parameters
        ----------
        name : {"pair_potential", "pair_force", "diffusion", "localisation_error", "trap_stiffness", "node_friction", \
                "pair_friction"}
        x : array, optional
            Distances [µm], for functions of distance; of a mixture the tuple of all arguments,
            ``band("pair_potential", (r, ("A", "B")))``. Values of the structural variable, or the name of a species,
            for "diffusion".
        level : float
            Probability that the band holds the truth, at each x by itself.

        Distances at which localisation noise hides how steep a potential is (`hidden_below`) have no band: nan. At its
        end the learned force is made to vanish smoothly, which the truth need not do as smoothly: over the last two
        knot intervals the error of the force is at least that where they begin, and that of the potential has its
        integral up to the cutoff.
        """
        width = float(ndtri(0.5 + 0.5 * checked_level(name, level)))
        if name in ("pair_potential", "pair_force"):
            r, species = x if isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], tuple) else (x, None)
            kind = self._kind(species)
            pair, part = self._pairs[kind], self._part(kind)
            distance = np.asarray(r, dtype=float).ravel()
            basis = pair.spline(distance)[0 if name == "pair_potential" else 1]
            covariance = self.arrays["covariance"][part, part]
            error = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", basis, covariance, basis), 0.0))
            if "end" in self.arrays:
                (begins, of_force), cutoff = self.arrays["end"][kind], pair.spline.cutoff
                last = (distance > begins) & (distance < cutoff)
                error = (np.hypot(error, of_force * (cutoff - np.clip(distance, begins, cutoff)))
                         if name == "pair_potential" else np.where(last, np.maximum(error, of_force), error))
            value = (pair.value if name == "pair_potential" else pair.force)(distance)
            shape = np.shape(r)
            error = np.where(distance < self._hidden(kind), np.nan, error)
            return (value - width * error).reshape(shape), (value + width * error).reshape(shape)
        of_class = "class_values" in self.arrays and not isinstance(x, str)
        if name in ("diffusion", "localisation_error") and x is not None and self.species and not of_class:
            middle, error = self._of_species({"diffusion": "species_diffusion"}.get(name, "species_localisation"), x)
            return _of_noise(middle, error, width) if name == "localisation_error" else (
                np.asarray(middle - width * error), np.asarray(middle + width * error))
        if name == "diffusion" and x is not None:
            hats = self._hats(x)
            log_diffusion, covariance = self._log_diffusion
            error = np.sqrt(np.einsum("ra,ab,rb->r", hats, covariance, hats))
            value = hats @ log_diffusion
            low, high = (np.exp(value + side * width * error).reshape(np.shape(x)) for side in (-1, 1))
            return low, high
        if name == "pair_friction":
            law = self._pair_friction_law
            share = law(x) / law.amplitude if law.amplitude > 0 else dataclasses.replace(law, amplitude=1.0)(x)
            error = width * float(np.sqrt(self.arrays["friction_covariance"][1, 1]))
            return np.maximum(law.amplitude - error, 0.0) * share, (law.amplitude + error) * share
        known = ("diffusion", "localisation_error", "trap_stiffness", "node_friction")
        if name not in known or _KEYS[name] not in self.arrays:
            raise ModelError(f"This model has no band {name!r}; it has pair_potential, pair_force, diffusion, "
                             "localisation_error, trap_stiffness, node_friction, pair_friction, as far as they were "
                             "fitted.")
        middle, error = self._measured(name)
        if name == "localisation_error":
            return _of_noise(middle, error, width)
        return np.asarray(middle - width * error), np.asarray(middle + width * error)

    def drawn(self, rng: np.random.Generator) -> Self:
        """See `Model.drawn`: D, noise, stiffness and pair potentials; centres of traps and what depends on a column are
        kept."""
        arrays = dict(self.arrays)
        for name in ("diffusion", "noise_scale", "trap", "species_diffusion", "species_localisation",
                     "recording_noise_scale"):
            if name in arrays:
                value, stderr = arrays[name][..., 0], np.nan_to_num(arrays[name][..., 1])
                moved = value + stderr * rng.standard_normal(value.shape)
                moved = np.where(value > 0, np.maximum(moved, 0.1 * value), moved)
                arrays[name] = np.concatenate([moved[..., None], arrays[name][..., 1:]], axis=-1)
        if "coefficients" in arrays:
            arrays["coefficients"] = arrays["coefficients"] + drawn_from(arrays["covariance"], rng)
        return dataclasses.replace(self, arrays=arrays)

    @property
    def has_forces(self) -> bool:
        """Whether pair forces or a trap were fitted."""
        return self.recipe.get("cutoff") is not None or self.recipe.get("trap", "none") != "none"

    @property
    def is_persistent(self) -> bool:
        """Whether the particles of the data keep their direction over 2 to 15 frames (active motion, a flow): D is then
        how far they spread in one frame, no diffusion coefficient of equilibrium."""
        return bool(self.report.get("parameters", {}).get("persistent", False))

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """D, and the stiffness of the trap where there is one."""
        low, high = map(float, self.band("diffusion"))
        what = "forces taken into account" if self.has_forces else "free particles, blur and noise taken into account"
        label = "Diffusion coefficient, model"
        if self.is_persistent:
            label, what = "Spread over one frame, model", (
                "particles keep their direction: over longer times they go farther, and this is no diffusion "
                "coefficient")
        found = [LearnedNumber(label, self.diffusion(), low, high, "µm²/s", what, "diffusion", digits=3)]
        if self.recipe.get("trap", "none") != "none":
            low, high = map(float, self.band("trap_stiffness"))
            found.append(LearnedNumber("Trap stiffness", self.trap_stiffness(), low, high, "kT/µm²",
                                       truth="trap_stiffness", digits=3))
        if self.species:
            found = []
            for name in self.species:
                low, high = map(float, self.band("diffusion", name))
                found.append(LearnedNumber(f"Diffusion coefficient, {name}", self.diffusion(species=name), low, high,
                                           "µm²/s", what, digits=3))
        if self.report.get("friction") is not None:
            low, high = map(float, self.band("node_friction"))
            found.append(LearnedNumber("Friction against the fluid", self.node_friction(), low, high, "kT s/µm²",
                                       "of a particle among the others", "node_friction", digits=3))
            near = self._pair_friction_law.near
            low, high = map(float, self.band("pair_friction", near))
            found.append(LearnedNumber(f"Friction of two particles at {near:.3g} µm", float(self.pair_friction(near)),
                                       low, high, "kT s/µm²", "along the line of centres", digits=3))
        return tuple(found)

    def functions(self) -> LearnedFunctions | None:
        """The pair potentials of a mixture; of one kind of particles the report page shows its own picture."""
        if not self.species or not self._pairs:
            return None
        found = []
        for a, b in species_pairs(len(self.species)):
            both = self.species[a], self.species[b]
            support = self.pair_support(both)
            r = np.linspace(support[0], support[1] + 0.1 * (support[1] - support[0]), 160)
            found.append(LearnedFunction(
                "pair_potential", r, (r, both), support, "r (µm)", f"U {both[0]}-{both[1]} (kT)",
                f"Pair potential of {both[0]} and {both[1]}. Trust it where it is shaded."))
        return LearnedFunctions("How the particles interact", "The energy of two particles at distance r, for every "
                                "pair of species, learned without assuming a formula.", tuple(found))

    def remarks(self) -> tuple[str, ...]:
        """What a structural variable adds to the prediction, or why particles have no forces."""
        if "structure" in self.report:
            held, by = self.report["held_out"], self.report["structure"]
            gain = with_error(by["gain_per_step"], by["gain_per_step_stderr"])
            if "pair_strength" in by:
                sizes = ", ".join(f"{' with '.join(one['classes'])} {with_error(one['strength'], one['stderr'])}"
                                  for one in by["pair_strength"])
                return (f"classes of {by['column']} add {gain} nats per particle and step to the prediction of frames "
                        f"that were set aside, over one kind of particles; pair potentials over their mean: {sizes}",)
            return (f"held-out log-likelihood per particle and step: {held['log_likelihood_per_step']:.4f} with "
                    f"{by['column']}, {held['free_diffusion_log_likelihood_per_step']:.4f} with one mobility for all; "
                    f"gain {gain}",)
        said = self.report.get("range", {}).get("says")
        if not self.has_forces:
            return (f"note: {said or 'free particles, no forces were fitted;'} --set cutoff=3.0 fits pair forces up to "
                    "3 µm, --set trap=each traps.",)
        return () if said is None else (f"note: {said}",)

    def __repr__(self) -> str:
        parts = [f"{'spread over one frame' if self.is_persistent else 'D'} = {self.diffusion():.4g} ± "
                 f"{self.standard_error('diffusion'):.2g} µm²/s"]
        if "structure_knots" in self.arrays:
            lowest, highest = np.exp(self.arrays["structure_log_diffusion"][[0, -1]])
            parts.append(f"{lowest:.3g} to {highest:.3g} µm²/s along {self.recipe['structure']}")
        pairs = self._pairs
        if self.species:
            parts = [f"D = {self.diffusion(species=name):.4g} ± {self.arrays['species_diffusion'][s, 1]:.2g} µm²/s "
                     f"({name})" for s, name in enumerate(self.species)]
        if pairs:
            parts.append(f"{'pair potential' if len(pairs) == 1 else f'{len(pairs)} pair potentials'} to "
                         f"{pairs[0].spline.cutoff:g} µm")
        if "trap" in self.arrays:
            parts.append(f"k = {self.trap_stiffness():.4g} kT/µm²")
        failed = [row["test"] for row in self.report.get("assessment", ()) if row["failed"]]
        doubt = "" if not failed else (f"; {len(failed)} assumption{'s fail' if len(failed) > 1 else ' fails'}: "
                                       f"{', '.join(failed[:5])}{', ...' if len(failed) > 5 else ''}")
        return f"<Model {self.recipe.get('kind', '')}: {', '.join(parts)}{doubt}>"

    # ---------------------------------------------------------------- running it

    def rollout(self, tracks: Trajectories, steps: int = 1000, seed: int = 0, *, observed: bool = True,
                drive: Drive | None = None, progress: ProgressLike = None) -> Trajectories:
        """Run the model from the first frame of `tracks`.

        Parameters
        ----------
        tracks : Trajectories
            Where particles start; its frame rate and exposure are used.
        steps : int
            Frames to make.
        observed : bool
            Show positions as the camera would: averaged over the exposure, with localisation noise; compare these
            with data. False: exact positions at the start of each frame.
        drive : callable, optional
            Of a model with held particles: displacement (y, x) [µm] of the moving edge a time [s] after the start.
            Default: held particles follow `tracks`, which must have as many frames.
        progress : bool or callable, optional
            True shows bars with the time left; a function is called with (done, total, what).

        With held particles ``info["rollout"]["energy"]`` has the potential energy, the work put in and the heat given
        off
        since the start [kT], frame by frame (`vd.analysis.energy_of_cycles`), and of a field of view particles within a
        cutoff of its edge follow the recording, too. A recording with a field of view becomes a periodic box of the
        size of the part in which particles are found (a
        detector leaves a margin along the edges), so that as many particles leave as enter, at the density of the data.
        With a region of interest that is no rectangle it is a box around it, laid out at the density of the region;
        what lies inside the region is returned, a track for every stay there (`vid2dyn.model.region_rollout`).
        Where mobility depends on a structural variable or on the species, every particle keeps what it starts with.
        A recording that the model was fitted to with others has its own noise and trap centres; it is recognised.

        Raises
        ------
        DataError
            If there is nothing to start from or `steps` is not positive.
        """
        if not isinstance(tracks, Trajectories):
            raise DataError(f"A rollout starts from tracks, not from a {type(tracks).__name__}; vd.load reads them.")
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise DataError(f"steps = {steps}: a rollout makes at least one frame.")
        units = tracks.units
        units.require("micrometre_per_pixel", "frames_per_second", for_what="A rollout")
        if self.recipe.get("held"):
            return self._driven_rollout(tracks, int(steps), seed, observed, drive, progress)
        if drive is not None:
            raise ModelError("drive moves held particles, and this model has none. Fit with packed = True and held "
                             "= ...")
        recording = self._recording(tracks)
        around: RegionBox | None = None
        if tracks.region is not None and tracks.box.lengths is None and self._trap is None:
            around = RegionBox.around(self._with_classes(tracks), seed) if tracks.dim == 2 and len(tracks) else None
            tracks = within_area(tracks) if around is None else around.start
        start, centre, box = self._start(tracks, recording)
        need_memory(24.0 * steps * start.size, f"a rollout of {len(start)} particles over {steps} frames. Make fewer")
        structure, species = self._structure(tracks), self._species_of(tracks)
        # free particles of different D: the same motion at D = 1, stretched for each of them
        stretch = np.ones(len(start)) if structure is None else np.sqrt(self.diffusion(structure))
        origin, start = (start, np.zeros_like(start)) if structure is not None else (np.zeros_like(start), start)
        D, space = (self.diffusion(), box) if structure is None else (1.0, Free())
        pairs = self._pairs
        if species is None:
            frozen = FrozenBrownian.freeze(D, pairs[0] if pairs else None, None, len(start), start.shape[1])
        else:
            frozen = FrozenBrownian.of_mixture(self.arrays["species_diffusion"][:, 0], pairs, species, start.shape[1])
        if self._trap is not None:
            frozen = FrozenBrownian(frozen.diffusion, frozen.force, frozen.cutoff, self._trap.stiffness, centre)
        motion, camera = np.random.default_rng(seed).spawn(2)
        out = []
        done = 0
        with showing(progress) as progress:
            while done < steps:
                progress(done, steps, "rollout")
                count = min(steps - done, 200)
                timing = FrameTiming(units.dt, count + 1, units.exposure or 0.0)
                paths = brownian_paths(frozen, start, space, timing, [motion])
                out.append((paths.average if observed else paths.instant)[0, :count])
                start = paths.instant[0, count]
                done += count
            progress(steps, steps, "rollout")
        path = origin + stretch[:, None] * np.concatenate(out)
        sigma = self._rollout_error(recording, species) if observed else 0.0
        path = path + sigma * camera.standard_normal(path.shape)
        future = Trajectories.from_dense(path, units, sigma=sigma, box=box, info={
            "rollout": {"seed": seed, "observed": observed, "recipe": self.recipe}})
        table = future.dataframe
        if species is not None:
            name = self.recipe["structure"] if "class_edges" in self.arrays else self._species_column
            column = np.asarray(tracks.dataframe[name])[tracks.frame == tracks.frame.min()]
            if "class_edges" in self.arrays:         # of a class, not of the frame that the picture was taken in
                column = self.arrays["class_values"][species]
            future = future.replace(dataframe=table.assign(**{name: column[table["particle"]]}))
        elif structure is not None:
            future = future.replace(dataframe=table.assign(
                **{self.recipe["structure"]: structure[table["particle"]]}))
        return future if around is None else around.followed(future)

    def _with_classes(self, tracks: Trajectories) -> Trajectories:
        """With classes by a structural variable: the same median of it in all rows of a track."""
        if "class_edges" not in self.arrays:
            return tracks
        self._check_structure(tracks)
        table, name = tracks.dataframe, str(self.recipe["structure"])
        return tracks.replace(dataframe=table.assign(
            **{name: table[name].groupby(tracks.particle).transform("median")}))

    def _driven_rollout(self, tracks: Trajectories, steps: int, seed: int, observed: bool, drive: Drive | None,
                        progress: ProgressLike) -> Trajectories:
        """`rollout` beside particles that are moved by hand."""
        units, pairs, name = tracks.units, self._pairs, str(self.recipe["held"])
        if "label_tracks" in self.arrays and self.report.get("data_sha256") == digest_of(
                tracks.frame.tobytes(), np.ascontiguousarray(tracks.positions).tobytes()):
            tracks = self.labelled(tracks)
        first = tracks.frame == tracks.frame.min()
        start, species = tracks.positions[first], self._species_of(tracks)
        need_memory(24.0 * steps * start.size, f"a rollout of {len(start)} particles over {steps} frames. Make fewer")
        flow, reach = str(self.recipe.get("flow", "none")), pairs[0].spline.cutoff
        prescribed = prescribed_of(tracks, steps, name, flow, reach, drive)
        if species is None:
            frozen = FrozenBrownian.freeze(self.diffusion(), pairs[0], None, len(start), start.shape[1])
        else:
            frozen = FrozenBrownian.of_mixture(self.arrays["species_diffusion"][:, 0], pairs, species, start.shape[1])
        motion, camera = np.random.default_rng(seed).spawn(2)
        with showing(progress) as progress:
            progress(0, steps, "rollout")
            paths = driven_paths(frozen, start, tracks.box, units.dt, units.exposure or 0.0, prescribed, motion,
                                 friction=self._frozen_friction())
            progress(steps, steps, "rollout")
        sigma = self._rollout_error(None, species) if observed else 0.0
        path = (paths.average if observed else paths.instant)
        path = path + sigma * camera.standard_normal(path.shape)
        future = Trajectories.from_dense(path, units, sigma=sigma, box=tracks.box, info={
            "rollout": {"seed": seed, "observed": observed, "recipe": self.recipe,
                        "energy": {"potential": paths.energy.tolist(), "work": paths.work.tolist(),
                                   "heat": paths.heat.tolist(), "flow_work": paths.flow_work.tolist()}}})
        held = np.zeros(len(start), bool)
        held[prescribed.held] = True
        row = future.particle
        kept = {column: tracks.dataframe[column].to_numpy()[first][row] for column in ("body", self._species_column)
                if column in tracks.dataframe}
        return future.replace(dataframe=future.dataframe.assign(**{name: held[row], **kept}))

    def _frozen_friction(self) -> FrozenFriction | None:
        """Friction on particles and pairs, where it was learned."""
        if "node_friction" not in self.arrays:
            return None
        law = self._pair_friction_law
        return FrozenFriction(self.node_friction(), law(np.linspace(0.0, law.cutoff, TABLE + 1)), law.cutoff)

    def _recording(self, tracks: Trajectories) -> int | None:
        """Which of several recordings these tracks are, if any of those that the model was fitted to."""
        entries = self.report.get("recordings", [])
        if not entries:
            return None
        digest = digest_of(tracks.frame.tobytes(), np.ascontiguousarray(tracks.positions).tobytes())
        return next((r for r, entry in enumerate(entries) if entry.get("data_sha256") == digest), None)

    def _rollout_error(self, recording: int | None, species: np.ndarray | None) -> Any:
        """Standard errors of positions [µm] that the camera adds; (n, 1) where species differ."""
        if recording is not None and "recording_localisation" in self.arrays:
            each = self.arrays["recording_localisation"][recording, :, 0]
            return float(each[0]) if species is None else each[species][:, None]
        if species is not None and "species_localisation" in self.arrays:
            return self.arrays["species_localisation"][:, 0][species][:, None]
        return self.localisation_error()

    def _species_of(self, tracks: Trajectories) -> np.ndarray | None:
        """Numbers of the species of the particles in the first frame; None where all are alike."""
        if not self.species:
            return None
        if "class_edges" in self.arrays:
            return self._classes_of(tracks)
        name = self._species_column
        if name not in tracks.dataframe:
            raise DataError(f"This model is of a mixture, and these tracks have no column {name!r} that says which "
                            f"particle is which of {', '.join(self.species)}; they have "
                            f"{', '.join(map(str, tracks.dataframe.columns))}.")
        first = tracks.frame == tracks.frame.min()
        values = [species_name(value) for value in tracks.dataframe[name].to_numpy()[first]]
        unknown = sorted(set(values) - set(self.species))
        if unknown:
            raise DataError(f"Column {name!r} names {', '.join(map(repr, unknown))}; the model has learned of "
                            f"{', '.join(map(repr, self.species))} only. Fit recordings that hold all of them.")
        return np.array([self.species.index(value) for value in values], dtype=np.int64)

    def _classes_of(self, tracks: Trajectories) -> np.ndarray:
        """Class of the particles in the first frame, by the median of the structural variable over the track of each.
        """
        table, name = tracks.dataframe, str(self.recipe["structure"])
        self._check_structure(tracks)
        first = tracks.frame == tracks.frame.min()
        medians = table[name].groupby(tracks.particle).transform("median").to_numpy(float)[first]
        return np.searchsorted(self.arrays["class_edges"], medians, side="right").astype(np.int64)

    def _check_structure(self, tracks: Trajectories) -> None:
        name = self.recipe["structure"]
        if name not in tracks.dataframe:
            raise DataError(f"The model's mobility depends on {name}, which these tracks lack. Encode their recording "
                            "with the encoder of the data it was fitted to: vd.encode(video, tracks, encoder).")

    def _structure(self, tracks: Trajectories) -> np.ndarray | None:
        """The structural variable of the particles in the first frame; None where the model has none."""
        if "structure_knots" not in self.arrays:
            return None
        self._check_structure(tracks)
        first = tracks.frame == tracks.frame.min()
        return tracks.dataframe[self.recipe["structure"]].to_numpy(dtype=float)[first]

    def _start(self, tracks: Trajectories, recording: int | None) -> tuple[np.ndarray, np.ndarray, Box]:
        """Positions in the first frame, their trap centres, and the box to run in."""
        if not len(tracks):
            raise DataError("The trajectories are empty: a rollout needs a first frame to start from.")
        first = tracks.frame == tracks.frame.min()
        start = tracks.positions[first]
        if not np.isfinite(start).all():
            raise DataError("The first frame holds positions that are not numbers; drop those rows.")
        box: Box = tracks.box
        seen = tracks.field_of_view is not None and len(tracks.field_of_view) == tracks.dim
        if seen and box.lengths is None and self._trap is None and len(tracks) > 1:
            box = Periodic(tuple(detectable_area(tracks)[1].tolist()))     # the density is that of where they are found
        centre = np.zeros_like(start)
        if self._trap is not None:
            row = min(recording or 0, len(self.arrays["centres"]) - 1)
            centre = np.broadcast_to(self.arrays["centres"][row], start.shape).copy()
            if "centre_tracks" in self.arrays:
                mine = self._traps_of(recording)
                place = {int(self.arrays["centre_tracks"][k]): int(k) for k in mine}
                known = [int(p) in place for p in tracks.particle[first]]
                start, rows = start[known], [place[int(p)] for p in tracks.particle[first][known]]
                centre = self._trap.centre[rows].copy()
                if not rows:
                    raise DataError("None of the particles in the first frame has a trap in this model; "
                                    "start from the trajectories it was fitted to.")
        return start, centre, box

    def _traps_of(self, recording: int | None) -> np.ndarray:
        """Rows of "centres" that belong to a recording."""
        if "centre_recordings" not in self.arrays:
            return np.arange(len(self.arrays["centre_tracks"]))
        if recording is None:
            raise DataError("Each trap of this model is that of one particle of one recording, and these tracks are "
                            "none of the recordings it was fitted to. Start from one of them, as given to vd.fit.")
        return np.flatnonzero(self.arrays["centre_recordings"] == recording)


def _of_noise(sigma: float, error: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Band of a localisation error: that of its square, which is what is learned and may be within its error of 0."""
    variance, stderr = sigma**2, (sigma + error) ** 2 - sigma**2
    return np.sqrt(np.maximum(variance - width * stderr, 0.0)), np.sqrt(variance + width * stderr)
