"""What a fitted list of terms can say and do: every function comes from the term that brought it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import ndtri

from vid2dyn.core.config import build
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.registry import did_you_mean
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.fluid.carried_heat import can_carry
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import Cut, Energy, Friction, Quantity
from vid2dyn.inference.species import species_numbers
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms
from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber, Model, checked_level, drawn_from
from vid2dyn.model.particle_heat import NUMBERS as OF_HEAT
from vid2dyn.model.particle_heat import ParticleHeat
from vid2dyn.rollout.engines import Prepared, checked_engine, paths_in
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout
from vid2dyn.rollout.fluid.time_step import stable_step

START_WINDOWS = 40
"""Most windows at the beginning of a recording that tell the entropies at its first frame."""


@dataclass(frozen=True, eq=False)
class TermListModel(Model):
    """A fitted list of terms, made by `vd.fit` and `vd.load`; energies in mass · µm²/s², entropy in kB.

    `arrays`: "theta" (numbers of all terms, energies first), "kT", "unexplained" (ν), "covariance" (of θ, ln kT, ν),
    "mass" of each species, "support" (closest and longest distance of each kind of pairs); where particles carry heat
    of their own those of `vid2dyn.model.particle_heat`; "noise_theta" where the noise of windows shows other parts of
    friction than late motion (`report["late_friction"]`). The recipe holds the terms as they were settled by the data.

    What the terms have of functions are methods here, by their names: ``model.pair_potential(r)``,
    ``model.pair_friction_along(r)``; of mixtures with the pair of species, ``model.pair_potential(r, ("A", "B"))``.
    """

    explains_displacements: ClassVar[bool] = False
    engines: ClassVar[tuple[str, ...]] = ("vid2dyn", "lammps")

    # ---------------------------------------------------------------- what it is made of

    @cached_property
    def terms_recipe(self) -> Metriplectic:
        """The recipe with settled terms."""
        return build(Metriplectic, self.recipe, "model")

    @property
    def terms(self) -> tuple[Energy | Friction, ...]:
        """Settled terms, energies first."""
        return (*self.terms_recipe.energy, *self.terms_recipe.friction)

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the species; one empty name where particles are all alike."""
        return tuple(self.report.get("species", ("",)))

    def numbers_of(self, theta: np.ndarray | None = None) -> list[np.ndarray]:
        """The parameters of every term."""
        theta = self.arrays["theta"] if theta is None else theta
        found, at = [], 0
        for term in self.terms:
            found.append(theta[at:at + term.count])
            at += term.count
        return found

    @cached_property
    def _quantities(self) -> dict[str, list[tuple[int, Quantity]]]:
        """Functions by name, with the number of the term that has each."""
        found: dict[str, list[tuple[int, Quantity]]] = {}
        for k, term in enumerate(self.terms):
            for quantity in term.quantities():
                found.setdefault(quantity.name, []).append((k, quantity))
        return found

    # ---------------------------------------------------------------- what it says

    def kT(self) -> float:
        """Temperature [energy]."""
        return float(np.ravel(self.arrays["kT"])[0])

    @property
    def mass(self) -> Any:
        """Of a particle; an array where species differ."""
        mass = self.arrays["mass"]
        return float(mass[0]) if len(mass) == 1 else mass

    @cached_property
    def heat(self) -> ParticleHeat | None:
        """Heat that particles carry; None: they have one temperature."""
        return ParticleHeat(self.arrays, int(self.report["window"]["frames"])) if "heat" in self.arrays else None

    def heat_capacity(self) -> float:
        """C of a particle [kB]; infinite where particles have one temperature."""
        return math.inf if self.heat is None else self.heat.value("heat_capacity")

    @property
    def cutoff(self) -> float:
        """Longest range of any term [µm]."""
        return max((term.reach for term in self.terms), default=0.0)

    def __getattr__(self, name: str) -> Callable[..., np.ndarray]:
        if name.startswith("_") or name not in self._quantities:
            known = () if name.startswith("_") else tuple(self._quantities)
            raise AttributeError(f"This model has no {name!r}.{did_you_mean(name, known)}"
                                 + (f" Its terms have {', '.join(known)}." if known else ""))

        def quantity(x: Any = None, species: tuple[str, ...] | str | None = None) -> Any:
            value = self._value(name, self._argument(name, x), species, self.arrays["theta"])
            return float(value) if x is None else value

        quantity.__name__ = name
        quantity.__doc__ = "; ".join(sorted({f"{q.label} [{q.unit}]" for _, q in self._quantities[name]}))
        return quantity

    def pair_friction(self, r: Any, species: tuple[str, str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Friction of a pair along and across its line of centres [mass/s]; r in µm."""
        r = np.asarray(r, float)
        theta = self.arrays["theta"]
        along, across = (self._value(f"pair_friction_{way}", r, species, theta) for way in ("along", "across"))
        return along, across

    def _argument(self, name: str, x: Any) -> np.ndarray | None:
        """The argument of a quantity, or None of a number."""
        if self._quantities[name][0][1].is_number:
            if x is not None:
                raise ModelError(f"{name} is a number: call {name}() without an argument, or with species=...")
            return None
        if x is None:
            raise ModelError(f"{name} is a function of {self._quantities[name][0][1].argument}: give its argument.")
        return np.asarray(x, float)

    def _value(self, name: str, x: np.ndarray | None, species: tuple[str, ...] | str | None,
               theta: np.ndarray) -> np.ndarray:
        """A quantity at some numbers; terms that share a name add up."""
        numbers = self.numbers_of(theta)
        kinds = {quantity.species for _, quantity in self._quantities[name]} - {()}
        wanted: tuple[str, ...] = ()
        if kinds:
            species = (species,) if isinstance(species, str) else species
            if species is None:
                raise ModelError(f"{name} differs between pairs of species; say which: "
                                 f"{name}(r, {sorted(kinds)[0]!r}). There are {', '.join(map(str, sorted(kinds)))}.")
            wanted = tuple(species) if tuple(species) in kinds else tuple(reversed(tuple(species)))
            if wanted not in kinds:
                raise ModelError(f"{name}: no pair of species {tuple(species)!r}; there are "
                                 f"{', '.join(map(str, sorted(kinds)))}.")
        parts = [quantity.value(numbers[k], x) for k, quantity in self._quantities[name]
                 if quantity.species in (wanted, ())]
        return np.sum(parts, axis=0)

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level, each point by itself.

        ``model.band("kT")``, ``model.band("heat_capacity")``, ``model.band("pair_potential", r)``, of a mixture
        ``model.band("pair_potential", (r, ("A", "B")))``. From the information of the data (Laplace), widened by the
        scatter of the score from window to window. It leaves out what the list of terms cannot say, and the memory
        correction of the friction.
        """
        level = checked_level(name, level)
        if name in OF_HEAT and self.heat is not None:
            return self.heat.band(name, level)
        covariance = self.arrays["covariance"]
        z = float(ndtri(0.5 + 0.5 * level))
        if name == "kT":
            error = z * math.sqrt(max(float(covariance[-2, -2]), 0.0))
            return np.asarray(self.kT() * math.exp(-error)), np.asarray(self.kT() * math.exp(error))
        if name not in self._quantities:
            raise ModelError(f"This model has no band {name!r}.{did_you_mean(name, self._quantities)} It has "
                             f"{', '.join(('kT', *self._quantities))}.")
        x, species = x if isinstance(x, tuple) else (x, None)
        x, theta = self._argument(name, x), self.arrays["theta"]
        value = self._value(name, x, species, theta)
        slopes = np.zeros((*value.shape, len(theta)))
        touched = {k for k, q in self._quantities[name]}
        at = 0
        for k, part in enumerate(self.numbers_of()):
            for j in range(at, at + len(part)) if k in touched else ():
                step = np.zeros_like(theta)
                step[j] = 1e-3 * max(math.sqrt(max(float(covariance[j, j]), 0.0)), 1e-9 * abs(float(theta[j])) + 1e-12)
                slopes[..., j] = (self._value(name, x, species, theta + step)
                                  - self._value(name, x, species, theta - step)) / (2 * step[j])
            at += len(part)
        size = len(theta)
        error = z * np.sqrt(np.maximum(np.einsum("...a,ab,...b->...", slopes, covariance[:size, :size], slopes), 0.0))
        return value - error, value + error

    def parameters(self) -> dict[str, Any]:
        """Numbers for the report, with their bands."""
        low, high = self.band("kT")
        return {"kT": [self.kT(), float(low), float(high)]}

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """Temperature, friction of a particle, memory time."""
        low, high = (float(edge) for edge in self.band("kT"))
        found = [LearnedNumber("Temperature kT", self.kT(), low, high, "energy", "energy units of mass · µm²/s²",
                               truth="kT")]
        if self.heat is not None:
            found += self.heat.numbers()
        window = self.report.get("window")
        if window:
            level, error = window["friction"], 1.96 * window["friction_stderr"]
            many = f"{window['frames']} frame{'s' * (window['frames'] != 1)}"
            detail = (f"plateau of friction against window; windows of {many} show "
                      f"{100 * window['shown']:.0f} % of it" if window["plateau"] else "no plateau: see the picture")
            found.append(LearnedNumber("Friction of a particle", level, level - error, level + error, "mass/s", detail))
        for name, entries in self._quantities.items():
            for kind in dict.fromkeys(q.species for _, q in entries if q.is_number):
                one = next(q for _, q in entries if q.species == kind)
                value = float(self._value(name, None, kind or None, self.arrays["theta"]))
                low, high = (float(edge) for edge in self.band(name, (None, kind) if kind else None))
                found.append(LearnedNumber(f"{_begun(one.label)}{_of(kind)}", value, low, high, one.unit,
                                           one.caption))
        return tuple(found)

    def functions(self) -> LearnedFunctions:
        """Every function of the terms."""
        drawn = []
        for name, entries in self._quantities.items():
            for number, kind in enumerate(dict.fromkeys(q.species for _, q in entries if not q.is_number)):
                term, one = next((self.terms[k], q) for k, q in entries if q.species == kind)
                for cut in one.cuts or (self._of_distance(one, term.reach, number),):
                    drawn.append(LearnedFunction(
                        name, cut.x, (cut.at, kind) if kind else (cut.at,), cut.support, cut.along,
                        f"{one.label}{_of(kind)} ({one.unit})",
                        f"{_begun(one.label)}{_of(kind)}. {one.caption} It was seen where it is shaded."))
        return LearnedFunctions("What the terms have learned", self._of_terms(), tuple(drawn))

    def _of_distance(self, one: Quantity, reach: float, kind: int) -> Cut:
        """Distances at which a function of them is drawn: from the closest that was seen to the range."""
        support = self.arrays["support"]
        low = float(support[min(kind, len(support) - 1), 0])
        r = np.linspace(max(0.97 * low, 0.02 * self.cutoff), max(reach, 1.001 * low), 160)
        return Cut(one.argument, r, r, (low, float(reach)))

    def _of_terms(self) -> str:
        """What terms add, in sentences."""
        entries = [e for e in self.report.get("terms", []) if e["adds"] is not None]
        said = [f"{e['term']} adds {e['adds']:.3g} ± {e['stderr']:.1g} nats per particle and second on motion that was "
                "set aside" + ("" if e["kept"] else " and was left out") for e in entries]
        ranges = [f"the range of {e['term']} went from {e['from']:g} to {e['to']:g} µm" for e in
                  self.report.get("ranges", []) if e["kept"]]
        heat = self.report.get("heat", {})
        if heat.get("identified"):
            said.append(f"following the heat of the particles adds {heat['adds']:.2g} ± {heat['stderr']:.1g} nats per "
                        "particle and second on motion that was set aside")
        if not said and not ranges:
            return "Learned from positions and velocities."
        return _begun("; ".join([*said, *ranges])) + "."

    def __repr__(self) -> str:
        return (f"<TermListModel: {', '.join(term.title() for term in self.terms)}; kT = {self.kT():.4g}, friction of "
                f"a particle {self.report.get('window', {}).get('friction', math.nan):.4g}>")

    def drawn(self, rng: np.random.Generator) -> Self:
        """See `Model.drawn`; the heat of particles is kept as it is."""
        arrays, size = dict(self.arrays), len(self.arrays["theta"])
        moved = drawn_from(arrays["covariance"], rng)
        arrays["theta"] = arrays["theta"] + moved[:size]
        arrays["kT"] = arrays["kT"] * np.exp(moved[size])
        return dataclasses.replace(self, arrays=arrays)

    @property
    def has_forces(self) -> bool:
        """Whether energies are in the list."""
        return bool(self.terms_recipe.energy)

    # ---------------------------------------------------------------- what it does

    def frozen(self) -> FrozenFluid:
        """Tables for compiled rollouts and exporters; with the heat of particles where they can have it."""
        dim = len(self.box.lengths) if self.box.lengths is not None else int(self.report.get("dim", 2))
        found = freeze(self.terms, self.numbers_of(), kT=self.kT(), mass=self.arrays["mass"], dim=dim)
        return found if self.heat is None or not can_carry(found) else self.heat.carried().added_to(found)

    def entropy(self, tracks: Trajectories, progress: ProgressLike = None) -> np.ndarray:
        """Best estimate of S of every row of `tracks` [kB], (rows,), from motion alone; 0 on average.

        It changes from window to window (``report["window"]["frames"]``) and is interpolated between their middles. The
        correlation with the true S that such an estimate can have is ``report["heat"]["attainable_correlation"]``.

        Raises
        ------
        ModelError
            If particles carry no heat in this model.
        DataError
            For recordings shorter than one window, missing particles or velocities.
        """
        data, _ = self.start(tracks)
        if not self._same_windows(data):
            raise DataError(f"The frames of this recording are {data.dt:.4g} s apart, and heat shows in windows of "
                            f"{self.report['window']['frames']} frames and {self.report['window']['seconds']:.4g} s: "
                            "give a recording at the frame rate of the data that the model was fitted to.")
        with showing(progress) as shown:
            z, _ = self._carried(data, 0, shown)
        if not len(z):
            raise DataError(f"The recording has {data.count + 1} frames, and the heat of particles shows in windows of "
                            f"{self.report['window']['frames']} steps: give a longer one.")
        frames = int(self.report["window"]["frames"])
        S = self._own_heat().entropy(z)
        middles = frames * (np.arange(len(S)) + 0.5)
        at = tracks.frame - data.first_frame
        upper = np.clip(np.searchsorted(middles, at), 1, max(len(S) - 1, 1))
        weight = np.clip((at - middles[upper - 1]) / frames, 0.0, 1.0) if len(S) > 1 else np.zeros(len(at))
        column = np.searchsorted(data.names, tracks.particle)
        linked = tracks.particle >= 0
        out = np.full(len(tracks), np.nan)
        low, high = S[(upper - 1)[linked], column[linked]], S[np.minimum(upper, len(S) - 1)[linked], column[linked]]
        out[linked] = low + weight[linked] * (high - low)
        return out

    def _same_windows(self, data: FluidSteps) -> bool:
        """Whether windows of as many frames are as long as those that the model was learned from."""
        window = self.report["window"]
        return abs(int(window["frames"]) * data.dt / float(window["seconds"]) - 1.0) < 1e-6

    def _own_heat(self) -> ParticleHeat:
        if self.heat is None:
            raise ModelError("In this model particles have one temperature: they carry no heat of their own. Fit with "
                             "entropy=True; the report says whether the data tell of it.")
        return self.heat

    def _carried(self, data: FluidSteps, seed: int, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
        """How hot particles are, window by window, and how much of that is not known; see `ParticleHeat.estimates`."""
        recipe = self.terms_recipe
        theta = self.arrays.get("noise_theta", self.arrays["theta"])
        numbers = Numbers(theta, self.kT(), float(np.ravel(self.arrays["unexplained"])[0]))
        return self._own_heat().estimates(data, Terms(recipe.energy, recipe.friction, self.arrays["mass"]), numbers,
                                          float(self.report["window"]["shown"]), seed, progress)

    def start(self, tracks: Trajectories) -> tuple[FluidSteps, FluidFrame]:
        """The first frame of tracks as a rollout takes it, entropies at zero.

        Raises
        ------
        DataError
            If velocities, particles or species are missing.
        """
        data = FluidSteps.of(tracks, self.cutoff, least=1)
        species = None
        if self.terms_recipe.species is not None:
            species = species_numbers(tracks, self.terms_recipe.species, data.names, self.species)
            data = dataclasses.replace(data, species=species)
        box = data.box.after(data.first_frame * data.dt)
        return data, FluidFrame(data.position[0], data.velocity[0], np.zeros(data.n), box, species=species)

    def ready(self, tracks: Trajectories, steps: int, *, substeps: int | None = None, noise: bool = True,
              exact: bool = False, seed: int = 0) -> Prepared:
        """What `rollout` runs, before it runs: for exporters and for runs of one's own. Arguments of `rollout`."""
        data, first = self.start(tracks)
        if steps < 1:
            raise DataError(f"steps = {steps}: a rollout makes at least one.")
        frozen = self.frozen()
        if frozen.eos is not None:
            first = dataclasses.replace(first, entropy=self._start_entropy(data, seed, noise))
        if substeps is None:
            substeps = max(1, math.ceil(data.dt / stable_step(frozen, first)))
        return Prepared(frozen, first, FluidRollout(data.dt / substeps, "exact" if exact else "verlet", noise=noise),
                        substeps)

    def _frames(self, tracks: Trajectories) -> int:
        """Steps from the first frame to the last."""
        return FluidSteps.of(tracks, self.cutoff, least=1).count

    def rollout(self, tracks: Trajectories, steps: int | None = None, seed: int = 0, *, substeps: int | None = None,
                noise: bool = True, exact: bool = False, engine: str = "vid2dyn", ranks: int = 1,
                checkpoint: str | os.PathLike[str] | None = None,
                progress: ProgressLike = None) -> Trajectories:
        """Run the particles from the first frame of `tracks` on, at their frame rate and in their space.

        Parameters
        ----------
        tracks : Trajectories
            The first frame is the start.
        steps : int, optional
            Frames to make after the first; default: as many as `tracks` has.
        substeps : int, optional
            Time steps to a frame; default: as many as Verlet needs (`vid2dyn.rollout.fluid.time_step`).
        noise : bool
            False: kB = 0.
        exact : bool
            The discrete gradient, which conserves energy to rounding, in place of Verlet.
        engine : str
            "vid2dyn", or "lammps": the same step with the same noise inside LAMMPS, for many particles on many
            processes (needs ``vid2dyn[lammps]``). Both agree step by step to rounding.
        ranks : int
            Processes of LAMMPS.
        checkpoint : path, optional
            Folder in which a run of LAMMPS keeps its frames and states; it goes on there when it was stopped.
        progress : bool or callable, optional
            True shows bars with the time left; a function is called with (done, total, what).

        Raises
        ------
        DataError
            If velocities or particles are missing, or `steps` is not positive.
        ModelError
            If particles come too close or move too fast for the time step.
        """
        checked_engine(engine, ranks, checkpoint)
        steps = self._frames(tracks) if steps is None else steps
        frozen, first, settings, substeps = self.ready(tracks, steps, substeps=substeps, noise=noise, exact=exact,
                                                       seed=seed)
        with showing(progress) as progress:
            paths = paths_in(engine, frozen, first, settings, steps=steps * substeps, every=substeps, seed=seed,
                             progress=progress, ranks=ranks, checkpoint=checkpoint)
        info = {"rollout": {"seed": seed, "substeps": substeps, "recipe": self.recipe, "engine": engine}}
        made = Trajectories.from_dense(paths.position, tracks.units, velocity=paths.velocity, entropy=paths.entropy,
                                       box=first.box, info=info)
        if first.species is None:
            return made
        column = np.array(self.species, dtype=object)[first.species][made.particle]
        return made.replace(dataframe=made.dataframe.assign(**{str(self.terms_recipe.species): column}))


    def _start_entropy(self, data: FluidSteps, seed: int, noise: bool) -> np.ndarray:
        """Entropies at the first frame [kB]: what its first frames tell, and a draw of what they leave open."""
        heat = self._own_heat()
        few = data.between(0, min(data.count, START_WINDOWS * heat.frames))
        z, left = np.empty((0, data.n)), np.empty(0)
        if self._same_windows(data):
            z, left = self._carried(few, seed, silent)
        middle, share = (z[0], float(left[0])) if len(z) else (np.zeros(data.n), 1.0)
        if noise:
            rng = np.random.default_rng([seed, 0x53])
            middle = middle + math.sqrt(max(share, 0.0)) * rng.standard_normal(data.n)
        return heat.entropy(middle)


def _of(kind: tuple[str, ...]) -> str:
    """' of A and B', or nothing.

    >>> _of(("A", "B")), _of(())
    (' of A and B', '')
    """
    return f" of {' and '.join(kind)}" if kind else ""


def _begun(words: str) -> str:
    """With a capital at the beginning, and the others as they are.

    >>> _begun("height of the Gaussian")
    'Height of the Gaussian'
    """
    return words[:1].upper() + words[1:]
