"""What a fitted metriplectic fluid can say and do."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from vid2dyn.core.describe import with_error
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.showing import ProgressLike, showing
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.dynamics.fluid.functions import fluid_of, radial, transport
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout
from vid2dyn.dynamics.fluid.table_range import TableRange, table_range
from vid2dyn.inference.start import carried_entropy, fit_start
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber, Model, checked_level
from vid2dyn.model.further_energies import FurtherEnergies
from vid2dyn.rollout.engines import Prepared, checked_engine, paths_in
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, FluidTrajectories
from vid2dyn.rollout.fluid.time_step import stable_step
from vid2dyn.rollout.fluid.widening import widening_paths

_OF_STATE = ("temperature", "pressure", "heat_capacity")
_OF_DISTANCE = ("shear", "bulk")
_MEDIAN = 2
"""Column of the median in "support"."""
_NUMBERS = ("shear_viscosity", "bulk_viscosity", "conductivity")
_HEADLINE = (("Temperature", "temperature", "energy units of mass · µm²/s², at the median state"),
             ("Pressure", "pressure", "at the median state"),
             ("Shear viscosity", "shear_viscosity", "stress of pair friction in uniform shear"),
             ("Bulk viscosity", "bulk_viscosity", "as it damps sound"))


@dataclass(frozen=True, eq=False)
class MetriplecticModel(Model):
    """A fitted metriplectic fluid, made by `vd.fit` and `vd.load`; energies in mass · µm²/s², entropy in kB.

    Entropy is counted from the mean state of the first frame of the data: S = 0 there. If
    ``report["entropy_identifiable"]`` is False the fluid has one temperature, entropy only keeps the account of heat.

    What further energies of a list say are methods too, by their names: ``model.pair_potential(r)``.

    `arrays` holds "theta" (numbers in the order of `Layout`), their "covariance", "layout" (dim, cutoff, mass, V0,
    knots, power), "active", and "support": quantiles 0, 2.5, 50, 97.5 and 100 % of S, V and r in the data, (3, 5).
    """

    explains_displacements: ClassVar[bool] = False
    engines: ClassVar[tuple[str, ...]] = ("vid2dyn", "lammps")

    @classmethod
    def class_of(cls, arrays: Mapping[str, np.ndarray]) -> type[Model]:
        """Of a list of terms `TermListModel`, of a solid `SolidModel`."""
        from vid2dyn.model.solid import SolidModel
        from vid2dyn.model.term_list import TermListModel

        if "reference" in arrays:
            return SolidModel
        return TermListModel if "mass" in arrays else cls

    # ---------------------------------------------------------------- what it says

    @property
    def layout(self) -> Layout:
        """Which number of "theta" is what."""
        return Layout.of_arrays(self.arrays)

    @property
    def learned(self) -> FluidNumbers:
        """What was learned, by name."""
        return FluidNumbers(self.arrays["theta"], self.layout)

    @cached_property
    def further(self) -> FurtherEnergies | None:
        """Energies beside the equation of state; None where there are none."""
        layout = self.layout
        if not layout.forces:
            return None
        size = layout.forces + 2                                    # ln kT and ν of such lists, which are not learned
        covariance = np.zeros((size, size))
        if "covariance" in self.arrays:
            covariance[:-2, :-2] = self.arrays["covariance"][layout.further, layout.further]
        distances = self.arrays["support"][2, [0, -1]][None]
        arrays = {"theta": self.learned.further, "kT": np.exp(self.learned.vector[:1]), "covariance": covariance,
                  "mass": np.array([layout.mass]), "support": distances}
        return FurtherEnergies(arrays, self.recipe, self.units, self.box, {"dim": layout.dim})

    def __getattr__(self, name: str) -> Any:
        further = None if name.startswith("_") or name == "further" else self.further
        if further is not None and further.has(name):
            return getattr(further, name)
        raise AttributeError(f"This model has no {name!r}.")

    @property
    def support(self) -> dict[str, tuple[float, float]]:
        """Where the data were: the middle 95 % of S [kB], V [µm^dim] and r [µm]."""
        return {name: (float(row[1]), float(row[3])) for name, row in zip("SVr", self.arrays["support"], strict=True)}

    @property
    def median_state(self) -> tuple[float, float]:
        """Medians of S [kB] and V [µm^dim] in the data."""
        entropy, volume, _ = self.arrays["support"][:, _MEDIAN]
        return float(entropy), float(volume)

    def temperature(self, S: Any, V: Any) -> np.ndarray:
        """T = ∂U/∂S of a particle [energy]; S [kB], V [µm^dim]."""
        return self._of(self.learned, "temperature", S, V)

    def pressure(self, S: Any, V: Any) -> np.ndarray:
        """P = -∂U/∂V [energy/µm^dim]; S [kB], V [µm^dim]."""
        return self._of(self.learned, "pressure", S, V)

    def heat_capacity(self, S: Any, V: Any) -> np.ndarray:
        """c = T/(∂T/∂S) at constant volume [kB]; infinite for a fluid at one temperature."""
        return self._of(self.learned, "heat_capacity", S, V)

    def shear(self, r: Any) -> np.ndarray:
        """Radial part of A², shear friction of a pair at distance r [µm]."""
        return self._of(self.learned, "shear", r)

    def bulk(self, r: Any) -> np.ndarray:
        """Radial part of B², bulk friction of a pair at distance r [µm]."""
        return self._of(self.learned, "bulk", r)

    def shear_viscosity(self) -> float:
        """η [energy s/µm^dim] of the continuum: the stress that pair friction carries in uniform shear."""
        return float(self._of(self.learned, "shear_viscosity"))

    def bulk_viscosity(self) -> float:
        """ζ [energy s/µm^dim] of the continuum, as it damps sound."""
        return float(self._of(self.learned, "bulk_viscosity"))

    def conductivity(self) -> float:
        """κ [kB/(µm^(dim - 2) s)] of the continuum."""
        return float(self._of(self.learned, "conductivity"))

    # what `vid2dyn.analysis.energy_budget` asks of a fluid, beside temperature and pressure

    @property
    def mass(self) -> float:
        """Of a particle."""
        return self.layout.mass

    @property
    def cutoff(self) -> float:
        """Range of all pair functions [µm]."""
        return self.layout.cutoff

    def internal_energy(self, S: Any, V: Any) -> np.ndarray:
        """U(S, V) [energy], counted from the mean state of the first frame of the data."""
        import torch

        gas = fluid_of(self.learned).eos
        return gas(torch.as_tensor(np.asarray(S, float)), torch.as_tensor(np.asarray(V, float))).U.detach().numpy()

    def kernel(self, r: Any) -> np.ndarray:
        """W(r) of the densities [1/µm^dim]."""
        import torch

        kernel = fluid_of(self.learned).kernel
        return kernel(torch.as_tensor(np.asarray(r, float)))[0].detach().numpy()

    def _of(self, numbers: FluidNumbers, name: str, *at: Any) -> np.ndarray:
        """A quantity at other numbers than the learned ones too: for bands."""
        if name in _OF_STATE:
            if len(at) != 2:
                raise ModelError(f"{name} is a function of S and V: give both.")
            S, V = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in at))
            if not (V > 0).all():
                raise ModelError(f"{name}: volumes must be positive (got {float(V.min()):.3g}).")
            state = numbers.state(S.ravel(), V.ravel())
            with np.errstate(divide="ignore"):
                value = {"temperature": state.T, "pressure": state.P, "heat_capacity": 1.0 / state.softness}[name]
            return value.reshape(S.shape)
        if name in _OF_DISTANCE:
            r = np.asarray(at[0], dtype=float)
            return radial(numbers, r.ravel())[_OF_DISTANCE.index(name)].reshape(r.shape)
        return np.asarray(transport(numbers)[_NUMBERS.index(name)])

    def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of a learned quantity at a confidence level, each point by itself.

        ``model.band("temperature", (S, V))``, ``model.band("shear", r)``, ``model.band("shear_viscosity")``. From the
        information of the data (Laplace), widened by the scatter of the score over blocks of time. Beyond `support`
        it only says what the family of functions allows.

        Parameters
        ----------
        name : {"temperature", "pressure", "heat_capacity", "shear", "bulk", "shear_viscosity", "bulk_viscosity", \
"conductivity"}
        x : tuple (S, V) or array, optional
            Entropy [kB] and volume [µm^dim] of a function of state; distance [µm] of a function of pairs; nothing for a
            number.
        level : float
            Probability that the band holds the truth.
        """
        level = checked_level(name, level)
        if self.further is not None and self.further.has(name):
            return self.further.band(name, x, level)
        known = (*_OF_STATE, *_OF_DISTANCE, *_NUMBERS)
        if name not in known:
            raise ModelError(f"This model has no band {name!r}; it has {', '.join(known)}.")
        if name in _OF_STATE and not (isinstance(x, tuple) and len(x) == 2):
            raise ModelError(f"{name} is a function of S and V: give both as one tuple, band({name!r}, (S, V)).")
        if name in _OF_DISTANCE and x is None:
            raise ModelError(f"{name} is a function of distance: give r [µm], band({name!r}, r).")
        if name in _NUMBERS and x is not None:
            raise ModelError(f"{name} is one number: band({name!r}) takes no argument but the level.")
        at = x if isinstance(x, tuple) else () if x is None else (x,)
        numbers, covariance = self.learned, self.arrays["covariance"]
        theta = numbers.vector
        value = self._of(numbers, name, *at)
        slopes = []
        for k in range(len(theta)):
            step = np.zeros_like(theta)
            step[k] = 1e-3 * math.sqrt(max(float(covariance[k, k]), 0.0)) or 0.0
            if step[k] == 0.0:
                slopes.append(np.zeros_like(value))
                continue
            slopes.append((self._of(numbers.at(theta + step), name, *at)
                           - self._of(numbers.at(theta - step), name, *at)) / (2 * step[k]))
        G = np.stack(slopes, axis=-1)
        error = np.sqrt(np.maximum(np.einsum("...a,ab,...b->...", G, covariance, G), 0.0))
        error = float(ndtri(0.5 + 0.5 * level)) * error
        return value - error, value + error

    @property
    def has_forces(self) -> bool:
        """Always: pairs of particles of a fluid interact."""
        return True

    def numbers(self) -> tuple[LearnedNumber, ...]:
        """Temperature, pressure and viscosities at the middle of the data."""
        found = []
        for label, key, detail in _HEADLINE:
            value, low, high = self.report["parameters"][key]
            found.append(LearnedNumber(label, value, low, high, detail=detail))
        if self.further is not None:
            found += self.further.numbers()[1:]                                              # the first is kT
        return tuple(found)

    def functions(self) -> LearnedFunctions:
        """T(S) and P(V) through the median state, A²(r) and B²(r), and what the data say of entropy."""
        rows = dict(zip("SVr", self.arrays["support"], strict=True))
        S, V = float(rows["S"][2]), float(rows["V"][2])
        each, many = _around(rows["S"]), _around(rows["V"])
        r = np.linspace(0.02, 1.0, 150) * self.layout.cutoff

        def function(name: str, axis: str, x: np.ndarray, at: tuple[Any, ...], x_label: str, y_label: str,
                     what: str) -> LearnedFunction:
            return LearnedFunction(name, x, at, self.support[axis], x_label, y_label, f"{what}. Trust it where it is "
                                   "shaded: the middle 95 % of the data are there.")

        return LearnedFunctions("What the fluid is", self._of_entropy(), (
            function("temperature", "S", each, (each, V), "entropy S (kB)", "T (energy)",
                     "Temperature against entropy at the median volume"),
            function("pressure", "V", many, (S, many), "volume V (µm^dim)", "P (energy/volume)",
                     "Pressure against volume at the median entropy"),
            function("shear", "r", r, (r,), "distance r (µm)", "shear", "Shear friction of a pair, A²"),
            function("bulk", "r", r, (r,), "distance r (µm)", "bulk", "Bulk friction of a pair, B²"),
            *(() if self.further is None else self.further.functions().functions)))

    def _of_entropy(self) -> str:
        """What the data say of entropy, in a sentence."""
        held: Mapping[str, Any] = self.report.get("held_out", {})
        if "entropy_gain_per_step" not in held:
            return "Learned from velocities; entropy was never given. Its use was not judged."
        gain = with_error(held["entropy_gain_per_step"], held["entropy_gain_per_step_stderr"])
        if self.report["entropy_identifiable"]:
            said = ("Learned from velocities; entropy was never given. Following it predicts velocities that were set "
                    f"aside better than one temperature for all does, by {gain} nats per particle and step.")
            if "net_gain_per_step" in held:
                more = with_error(held["net_gain_per_step"], held["net_gain_per_step_stderr"])
                said += f" The net as equation of state adds {more} to what a gas with a cold part gives."
            return said
        return (f"Entropy not identifiable from these data: following it adds {gain} nats per particle and step on "
                "velocities that were set aside. The model has one temperature.")

    def __repr__(self) -> str:
        S, V = self.median_state
        known = "" if self.report.get("entropy_identifiable", True) else ", entropy not identifiable from these data"
        return (f"<MetriplecticModel: T = {float(self.temperature(S, V)):.4g}, P V/T = "
                f"{float(self.pressure(S, V) * V / self.temperature(S, V)):.4g}, c = "
                f"{float(self.heat_capacity(S, V)):.4g} kB, η = {self.shear_viscosity():.4g}, "
                f"ζ = {self.bulk_viscosity():.4g}{known}>")

    # ---------------------------------------------------------------- what it does

    def entropy(self, tracks: Trajectories, *, window: int | None = None) -> np.ndarray:
        """S of every row of `tracks` [kB], (rows,): from the encoder at the first frame, then carried by what is seen.

        Parameters
        ----------
        tracks : Trajectories
            With velocities and every particle in every frame; an entropy column is not read.
        window : int, optional
            First steps that tell the mean temperature at the start; default: that of the recipe.
        """
        data = self._steps(tracks)
        S = carried_entropy(data, self.learned, self._start(data, window))
        frames, particles = tracks.frame - data.first_frame, tracks.particle
        column = np.searchsorted(np.unique(particles[particles >= 0]), particles)
        out = np.full(len(tracks), np.nan)
        linked = particles >= 0
        out[linked] = S[frames[linked], column[linked]]
        return out

    def _steps(self, tracks: Trajectories) -> FluidSteps:
        data = FluidSteps.of(tracks, self.layout.cutoff, least=2)
        window = self.report.get("window", {})
        # windows as long in time as those that it was learned from
        frames = round(float(window.get("seconds", data.dt)) / data.dt) if window.get("frames", 1) > 1 else 1
        data = data.in_windows(max(1, min(frames, data.count)), float(window.get("shown", 1.0)))
        return data if self.further is None else data.with_further(self.further.terms)

    def steps_of(self, tracks: Trajectories) -> FluidSteps:
        """The steps of a recording as the likelihood of this model reads them."""
        return self._steps(tracks)

    def _start(self, data: FluidSteps, window: int | None = None) -> np.ndarray:
        return fit_start(data, self.learned, str(self.recipe.get("start", "even")),
                         window or int(self.recipe.get("window", 32)))

    def freeze(self, entropy: tuple[float, float], log_volume: tuple[float, float],
               nodes: tuple[int, int] = (257, 257)) -> FrozenFluid:
        """Tables for compiled rollouts and exporters over a range of S [kB] and ln V with so many nodes along each; see
        `vid2dyn.dynamics.fluid.frozen`."""
        further = self.further
        fluid = fluid_of(self.learned).freeze(entropy, log_volume, nodes=nodes,
                                              reach=None if further is None else further.cutoff)
        return fluid if further is None else further.added_to(fluid, self.layout.dim)

    def ready(self, tracks: Trajectories, steps: int, *, substeps: int | None = None, noise: bool = True,
              exact: bool = False) -> Prepared:
        """What `rollout` runs, before it runs: for exporters and for runs of one's own. Arguments of `rollout`."""
        data = self._steps(tracks)
        if steps < 1:
            raise DataError(f"steps = {steps}: a rollout makes at least one.")
        S, log_volume = self._first(data)
        numbers, layout = self.learned, self.layout
        frozen = self._tables(tracks, steps)(1.0)
        first = FluidFrame(data.position[0], data.velocity[0], S, data.box.after(data.first_frame * data.dt))
        if substeps is None:
            state = numbers.state(S, np.exp(log_volume))
            push = np.abs(state.P) * np.exp(log_volume)
            stiff = push * (1.0 + state.molecules * state.softness) + abs(float(numbers.cold_stiffness)) * state.T
            fastest = math.sqrt(float(stiff.max()) / layout.mass) + float(np.abs(data.velocity[0]).max())
            substeps = max(1, math.ceil(data.dt * fastest / (0.1 * layout.cutoff)))
            if self.further is not None:
                substeps = max(substeps, math.ceil(data.dt / stable_step(frozen, first)))
        settings = FluidRollout(data.dt / substeps, "exact" if exact else "verlet", noise=noise)
        return Prepared(frozen, first, settings, substeps)

    def _tables(self, tracks: Trajectories, steps: int) -> Callable[[float], FrozenFluid]:
        """Tables over so many times the range that a rollout of `steps` frames from these tracks is expected to visit.
        """
        data = self._steps(tracks)
        S, log_volume = self._first(data)

        def tables(width: float) -> FrozenFluid:
            span = self._range(S, log_volume, data, steps, width)
            return self.freeze(span.entropy, span.log_volume, span.nodes)

        return tables

    def rollout(self, tracks: Trajectories, steps: int | None = None, seed: int = 0, *, substeps: int | None = None,
                noise: bool = True, exact: bool = False, engine: str = "vid2dyn", ranks: int = 1,
                checkpoint: str | os.PathLike[str] | None = None,
                progress: ProgressLike = None) -> Trajectories:
        """Run the fluid from the first frame of `tracks` on, at their frame rate and in their space.

        Parameters
        ----------
        tracks : Trajectories
            The first frame is the start; its temperature is inferred from the first frames (`entropy`).
        steps : int, optional
            Frames to make after the first; default: as many as `tracks` has.
        substeps : int, optional
            Time steps to a frame; default: sound and particles go at most a tenth of the cutoff in one.
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
            If particles come too close or move too fast for the time step, or the model runs away: if its states leave
            tables of eight times the range that fluctuations and heating let expect.
        """
        checked_engine(engine, ranks, checkpoint)
        steps = self._steps(tracks).count if steps is None else steps
        frozen, first, settings, substeps = self.ready(tracks, steps, substeps=substeps, noise=noise, exact=exact)
        frames = {"steps": steps * substeps, "every": substeps, "seed": seed}
        with showing(progress) as progress:
            if engine == "vid2dyn":
                paths = widening_paths(self._tables(tracks, steps), first, settings, **frames, progress=progress)
            else:
                paths = paths_in(engine, frozen, first, settings, **frames, progress=progress, ranks=ranks,
                                 checkpoint=checkpoint)
        return self._recorded(tracks, paths, seed, substeps, engine)

    def rollouts(self, tracks: Trajectories, seeds: Iterable[int], steps: int | None = None) -> Iterator[Trajectories]:
        """`rollout` with several seeds, which share the start and the tables: entropies of the first frame are
        inferred once."""
        steps = self._steps(tracks).count if steps is None else steps
        _, first, settings, substeps = self.ready(tracks, steps)
        tables = cache(self._tables(tracks, steps))
        for seed in seeds:
            paths = widening_paths(tables, first, settings, steps=steps * substeps, every=substeps, seed=seed)
            yield self._recorded(tracks, paths, seed, substeps, "vid2dyn")

    def _recorded(self, tracks: Trajectories, paths: FluidTrajectories, seed: int, substeps: int,
                  engine: str) -> Trajectories:
        """Paths as a table that begins as `tracks` do."""
        info = {"rollout": {"seed": seed, "substeps": substeps, "recipe": self.recipe, "engine": engine}}
        return Trajectories.from_dense(paths.position, tracks.units, velocity=paths.velocity, entropy=paths.entropy,
                                       box=paths.first.box, info=info)

    def _first(self, data: FluidSteps) -> tuple[np.ndarray, np.ndarray]:
        """S and ln V of the first frame."""
        from vid2dyn.encoders.entropy import invariants

        box = data.box.after(data.first_frame * data.dt)
        x = invariants(data.position[0], data.velocity[0], box, self.layout.cutoff).log_volume
        return self.learned.entropy_at(self._start(data), x - math.log(self.layout.volume))[0], x

    def _range(self, S: np.ndarray, log_volume: np.ndarray, data: FluidSteps, steps: int, width: float) -> TableRange:
        """Of the tables: the start, fluctuations, and what all kinetic energy (or shear) can heat; width 1, 2, 4 ..."""
        numbers, layout = self.learned, self.layout
        c = 1.0 / max(float(numbers.softness), 1e-6)
        T = float(np.exp(numbers.log_temperature))
        kinetic = 0.5 * layout.mass * float((data.velocity[0] ** 2).sum(axis=1).mean())
        rate = getattr(data.box, "shear_rate", 0.0)
        kinetic += abs(self.shear_viscosity()) * rate**2 * layout.volume * steps * data.dt * 3.0
        room = 12 * math.sqrt(c)
        push = float(numbers.molecules)
        heated = c * math.log1p(2.0 * kinetic / (c * T))
        return table_range(numbers, S, log_volume, width * (room + push), width * (room + push + heated), width)


def _around(row: np.ndarray) -> np.ndarray:
    """A grid over the middle 95 % of the data (row of "support") and a tenth more on either side."""
    room = 0.1 * (row[3] - row[1]) + 1e-12
    return np.linspace(row[1] - room, row[3] + room, 120)
