"""The fit of a fluid whose entropy nobody sees: an equation of state, and energies beside it.

What is learned is a vector of some twenty numbers (`vid2dyn.dynamics.fluid.numbers`), from the full covariance of the
observed velocity changes, with entropy carried by the model (`vid2dyn.inference.score`). Entropy is never a
target: it acts through T and P only, so nothing is gained by making it small. Gauge: kB = 1 and the mass is given, so
noise over friction is a temperature in energy, and dS = heat/T has its unit; the origin of S is the mean state of
the first frame. Twenty numbers allow Fisher scoring, with exact information, in place of thousands of gradient steps.

Order: start values from moments (a net starts from the gas that was fitted first); scoring on the training steps;
windows, if the noise remembers; energies beside the equation of state earn their place; the isothermal variant in the
same way; both judged on steps that none of them saw; with a single trajectory, scoring is then taken up again with all
steps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.stats import chi2

from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import Energy, Friction, Parameters, Scene, Term
from vid2dyn.dynamics.terms.convex_net import start_units
from vid2dyn.dynamics.terms.pair_potential import PairPotential
from vid2dyn.encoders.entropy import invariants
from vid2dyn.fitting.particles import evidence, selection
from vid2dyn.fitting.particles.certainty import certainty
from vid2dyn.fitting.particles.fluid_likelihood import SHAPE, FluidLikelihood, Prior, moments, prior_of
from vid2dyn.fitting.particles.fluid_windows import NoiseByWindow, louder
from vid2dyn.fitting.particles.laws import laws
from vid2dyn.fitting.particles.learner import Fit, Learner, Run
from vid2dyn.fitting.particles.motion_checks import scene_of
from vid2dyn.fitting.particles.recordings import Recordings
from vid2dyn.fitting.particles.scoring import Learned, Limits, inverse, learn
from vid2dyn.inference.heat import UnusableNumbersError
from vid2dyn.inference.start import fit_shift, fit_start, start_pattern
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.metriplectic import MetriplecticModel

ISOTHERMAL = (Thermal.SOFTNESS, Thermal.BEND, Thermal.COLD_PRESSURE, Thermal.CONDUCTION)
"""Numbers that a fluid at one temperature does not have."""
BLOCKS = 8
"""Of time, of the error of a gain."""
WINDOWED = 3
"""Most times that the windows in which a fluid is read are chosen."""
SAME = 0.03
"""Relative change of the share that they show below which they stay."""
LEAST_WINDOWS = 8
"""Of a trajectory."""
NOTHING = 0.3
"""Pair energy [kT] below which there is none that a range would have to hold."""


@dataclass(frozen=True, eq=False)
class FittedVariant:
    """A fitted fluid, or one without some of its parts."""

    likelihood: FluidLikelihood
    learned: Learned

    @property
    def numbers(self) -> FluidNumbers:
        return self.likelihood.numbers(self.learned.vector)

    @property
    def layout(self) -> Layout:
        """Which number is what, and which were learned."""
        return self.numbers.layout

    @cached_property
    def starts(self) -> tuple[np.ndarray, ...]:
        """σ at the first frame of every trajectory learned from."""
        return self.likelihood.starts(self.learned.vector)


@dataclass(frozen=True, eq=False)
class FluidRun:
    """What all variants of one fluid share, as its windows and terms are now."""

    shared: Run
    recordings: Recordings
    recipe: Metriplectic
    further: tuple[Parameters, ...] = ()
    """Of the energies beside the equation of state."""
    louder: float = 1.0
    """Noise of windows over that of single steps, by which moments see too little."""

    @property
    def seed(self) -> int:
        return self.shared.seed

    @property
    def train(self) -> tuple[FluidSteps, ...]:
        """What is learned from before the judgement."""
        return self.recordings.train

    @property
    def everything(self) -> tuple[FluidSteps, ...]:
        """What the final numbers are learned from."""
        return self.recordings.parts if self.recordings.alone else self.train

    @property
    def judged_from(self) -> int:
        """Step of the judge from which on it judges; up to there entropy is carried by what was seen."""
        recordings = self.recordings
        return recordings.judged_from or min(self.recipe.window, recordings.judge.count // 2)

    @property
    def limits(self) -> Limits:
        """Of the scoring of a variant."""
        return Limits(self.recipe.iterations, self.recipe.tolerance)

    def start(self, numbers: FluidNumbers, data: FluidSteps) -> np.ndarray:
        """σ at the first frame of a trajectory that the numbers were not learned from."""
        return fit_start(data, numbers, self.recipe.start, self.recipe.window, self.seed)

    def held_out(self, variant: FittedVariant) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood per particle and step of steps that were set aside, and χ² of their residuals."""
        judge = self.recordings.judge
        start = variant.starts[0] if self.recordings.alone else self.start(variant.numbers, judge)
        return evidence.held_out_likelihood(judge, variant.numbers, start, self.judged_from)

    def pattern(self, numbers: FluidNumbers, data: FluidSteps) -> np.ndarray:
        """The same up to a common number."""
        return start_pattern(data, numbers, self.recipe.start)

    def shifts(self, numbers: FluidNumbers, data: Sequence[FluidSteps]) -> tuple[float, ...]:
        """That number of every trajectory but the first, which says where S is zero; none without heat of particles."""
        if not numbers.layout.active[Thermal.SOFTNESS]:
            return ()
        return tuple(fit_shift(part, numbers, self.recipe.start, self.recipe.window, self.seed) for part in data[1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class FluidFit(Fit):
    """A fluid as far as it has come: the run as it is now, the fluid, the gas of a net, whether it carries entropy."""

    run: FluidRun
    full: FittedVariant
    gas: FittedVariant | None = None
    identified: bool = True

    @classmethod
    def of(cls, run: FluidRun, full: FittedVariant, gas: FittedVariant | None, **more: Any) -> FluidFit:
        """As it is."""
        return cls(learned=full.learned, run=run, full=full, gas=gas, **more)


class FluidLearner(Learner[FluidFit]):
    """A fluid with an equation of state, from the likelihood of whole recordings."""

    @staticmethod
    def layout_of(recipe: Metriplectic) -> tuple[float, int]:
        return recipe.fluid_cutoff, recipe.window + 2

    def first_look(self, run: Run) -> FluidFit:
        fluid = FluidRun(run, run.recordings, run.recipe)
        if run.recipe.fluid.further:
            fluid = _with_further(fluid, run.recipe.fluid.further, settle=True)
        layout = _layout(fluid.train, fluid.recipe)
        gas = _fit_gas_form(fluid, layout) if layout.units else None
        begin = _with_units(gas.numbers, layout) if gas else moments(fluid.train, layout)
        full = _fit_variant(fluid, fluid.train, begin, "fluid",
                            dataclasses.replace(fluid.limits, stop=run.stop, keep_partial=run.keep_partial))
        return FluidFit.of(fluid, full, gas)

    def stages(self, fit: FluidFit) -> Iterator[FluidFit]:
        run, full, gas = _in_windows(fit.run, fit.full, fit.gas)
        yield FluidFit.of(run, full, gas)
        found: dict[str, Any] = {}
        said: list[str] = []
        if run.recipe.select and run.further:
            of = selection.selected(FluidCandidate(run, full))
            run, full, said, found = of.left.run, of.left.full, of.warnings, {"ranges": of.ranges, "terms": of.terms}
            yield FluidFit.of(run, full, gas, found=found, warnings=tuple(said))
        said += selection.degenerate_terms(FluidCandidate(run, full).places, full.learned.at.information)
        judged, identified, full = _compared(run, full, gas)
        if "heat_not_followed" in judged:
            said.append("The fluid with heat of its own was given up on steps that were set aside, and the model has "
                        f"one temperature. {judged['heat_not_followed']}")
        elif not identified:
            said.append("Entropy not identifiable from these data: a fluid at one temperature predicts velocities that "
                        "were set aside as well. The model has one temperature.")
        yield FluidFit.of(run, full, gas, found=judged | found, warnings=tuple(said), identified=identified)

    def judged(self, fit: FluidFit, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Every recording starts at a temperature of its own, whose error is that of so many numbers."""
        part, numbers = fit.run.recordings.parts[number], fit.full.numbers
        lls, chi2 = evidence.held_out_likelihood(part, numbers, fit.run.start(numbers, part), 0)
        known = min(fit.run.recipe.window, part.count) * part.n * part.dim
        return lls * part.frames, chi2, math.sqrt(2.0 / known)

    def described(self, fit: FluidFit) -> tuple[MetriplecticModel, dict[str, Any], list[str]]:
        run, full, data = fit.run, fit.full, fit.full.likelihood.data
        known = certainty(full.likelihood, full.learned.vector)
        arrays = {"theta": full.numbers.vector, "covariance": known.covariance, "support": known.support,
                  **full.layout.to_arrays()}
        used = recipe_of(dataclasses.replace(run.recipe, checkpoint=None))
        model = MetriplecticModel(arrays, used, run.recordings.units, data[0].box,
                                  {"entropy_identifiable": fit.identified})
        kept = laws(model, data[0], full.starts[0])
        found = {"entropy_identifiable": fit.identified, "excess_scatter": known.excess,
                 "window": known.window(data[0].dt), "laws": kept,
                 "parameters": _parameters(model)}
        warnings = [said for said in (known.warning(),) if said is not None]
        if not kept:
            warnings.append("The laws were not checked: in a short run of the fluid a particle lost all its heat in "
                            "one step, however short. Its conduction is hardly known (see its band); do not run it. "
                            "A longer recording, or friction without Conduction, is what helps.")
        return model, found, warnings


def _in_windows(run: FluidRun, full: FittedVariant,
                gas: FittedVariant | None) -> tuple[FluidRun, FittedVariant, FittedVariant | None]:
    """Everything read in windows as long as the memory of the noise asks for, and fitted anew; without a memory as it
    was."""
    for _ in range(WINDOWED):
        now = run.train[0]
        noise, _ = NoiseByWindow.of(run.train, full.starts, full.numbers)
        frames, shown = noise.chosen(now.dt, full.layout.mass, run.recipe.window_frames)
        frames = min(frames, max(1, min(part.count for part in run.train) // LEAST_WINDOWS))
        if frames == now.frames and abs(shown / now.shown - 1.0) < SAME:
            break
        read = run.recordings.mapped(lambda part, k=frames, c=shown: part.in_windows(k, c))  # type: ignore[misc]
        ratio = noise.ratio(frames) / shown if now.frames == 1 and frames > 1 and shown < 1.0 else 1.0
        run = dataclasses.replace(run, recordings=read, louder=run.louder * ratio)
        what = f"in windows of {frames}, {shown:.2f} shown"
        if gas is not None:
            gas = _fit_variant(run, run.train, louder(gas.numbers, ratio), f"gas form of the fluid, {what}")
        full = _fit_variant(run, run.train, louder(full.numbers, ratio), f"fluid, {what}")
    return run, full, gas


@dataclass(frozen=True, eq=False)
class FluidCandidate(selection.Candidate):
    """A fluid with energies beside the equation of state.

    The cutoff of the equation of state, with its density and friction, says what a volume is and stays as given. What
    is carried makes likelihoods of neighbouring steps alike: they are taken in blocks.
    """

    run: FluidRun
    full: FittedVariant
    blocks: int | None = BLOCKS

    @property
    def seconds(self) -> float:                                                                # type: ignore[override]
        """Of a step: likelihoods are per step, whatever the windows."""
        return self.run.recordings.judge.dt

    @property
    def further(self) -> tuple[Energy, ...]:
        """The energies beside the equation of state, which comes first."""
        return self.run.recipe.fluid.further

    @property
    def terms(self) -> tuple[Energy | Friction, ...]:
        return (self.run.recipe.fluid.state, *self.further, *self.run.recipe.friction)

    def held_out(self) -> np.ndarray:
        return self.run.held_out(self.full)[0]

    def fitted(self, what: str, terms: Sequence[Energy | Friction | None],
               iterations: int | None = None) -> FluidCandidate:
        new = terms[1:1 + len(self.further)]
        kept = [selection.mapped(self.further, self.theta, term, k) for k, term in enumerate(new) if term is not None]
        run = _with_further(self.run, tuple(term for term in new if isinstance(term, Energy)))
        first, layout = self.full.layout.further.start, self.full.layout
        theta = np.concatenate([self.full.numbers.vector[:first], *kept])
        layout = dataclasses.replace(layout, forces=len(theta) - first, active=np.concatenate(
            [layout.active[:first], np.ones(len(theta) - first, bool)]))
        limits = run.limits if iterations is None else dataclasses.replace(
            run.limits, iterations=min(iterations, run.limits.iterations))
        return FluidCandidate(run, _fit_variant(run, run.train, FluidNumbers(theta, layout), f"fluid, {what}",
                                                limits))

    def without(self, places: Sequence[int]) -> FluidCandidate:
        return self.fitted("without numbers " + " ".join(map(str, places)),
                           [None if k in places else term for k, term in enumerate(self.terms)])

    def resized(self, place: int, what: Literal["shorter", "longer"]) -> Term | None:
        """Shorter is a pair potential only if that gains much.

        A few steps of a gas predict as well with almost any range, and a potential that has to end too early is bent
        far inside. So the range is 1.2 times the distance beyond which the energy is below `NOTHING`, its error
        included.
        """
        if not self.may_go(place):
            return None
        term, theta = self.terms[place], self.theta[place - 1]
        if what == "longer":
            return selection.longer(term, theta, _scene(self.run))
        if not isinstance(term, PairPotential):
            return None
        r = np.linspace(0.1, 1.0, 361) * term.reach
        most = np.zeros(len(r))
        for kind in range(len(term.kinds)):
            basis = np.stack([term.of_kind(one, r, kind) for one in np.eye(term.count)], axis=1)
            error = np.sqrt(np.einsum("rk,kl,rl->r", basis, self.covariances[place - 1], basis))
            most = np.maximum(most, np.abs(basis @ theta) + 1.96 * error)
        # of what is learned: velocities have the flow that they are in, too
        beyond = np.flatnonzero(most > NOTHING * np.exp(self.full.numbers.log_temperature))
        reach = 1.2 * float(r[beyond[-1]]) if len(beyond) else term.reach
        return term.with_reach(round(reach, 4)) if reach < 0.9 * term.reach else None

    def may_go(self, place: int) -> bool:
        return 1 <= place <= len(self.further)

    def has_to_add(self, place: int, error: float) -> float:
        """A short recording sets few steps aside. So an energy that the steps learned from show beyond doubt (Wald's χ²
        of its numbers, false alarm 1e-6) stays as long as those set aside are not predicted worse with it."""
        theta, covariance = self.theta[place - 1], self.covariances[place - 1]
        return 0.0 if theta @ np.linalg.solve(covariance, theta) > chi2.isf(1e-6, len(theta)) else 2 * error

    @property
    def places(self) -> list[tuple[str, slice]]:
        """Titles of the energies with the places of their numbers, of the equation of state first."""
        ends = [self.full.layout.further.start + int(end) for end in np.cumsum([0, *(t.count for t in self.further)])]
        return [(self.terms[0].title(), slice(0, self.full.layout.thermal)),
                *((t.title(), slice(a, b)) for t, a, b in zip(self.further, ends[:-1], ends[1:], strict=True))]

    @property
    def theta(self) -> list[np.ndarray]:
        """Numbers of every further energy."""
        return [self.full.numbers.vector[own] for _, own in self.places[1:]]

    @cached_property
    def covariances(self) -> list[np.ndarray]:
        """Of the numbers of every further energy."""
        learned = self.full.learned
        rows = np.flatnonzero(self.full.likelihood.learned(learned.vector))
        covariance = np.zeros(learned.total.shape)
        covariance[np.ix_(rows, rows)] = inverse(learned.total[np.ix_(rows, rows)])
        return [covariance[own, own] for _, own in self.places[1:]]


def _scene(run: FluidRun) -> Scene:
    """What the further energies are settled by."""
    reach = max((term.reach for term in run.recipe.fluid.further), default=0.0)
    return scene_of(run.train, ("",), np.full(1, run.recipe.fluid_mass), reach)


def _with_further(run: FluidRun, further: tuple[Energy, ...], settle: bool = False) -> FluidRun:
    """The run with these energies beside the equation of state; `settle`: by the data."""
    state, friction = run.recipe.fluid.state, run.recipe.friction
    run = dataclasses.replace(run, recipe=run.recipe.settled_as((state, *further), friction))
    parameters: tuple[Parameters, ...] = ()
    if further:
        scene = _scene(run)
        further = tuple(term.settled(scene) for term in further) if settle else further
        parameters = tuple(term.parameters(scene) for term in further)
    return dataclasses.replace(run, recordings=run.recordings.mapped(lambda part: part.with_further(further)),
                               further=parameters, recipe=run.recipe.settled_as((state, *further), friction))


def _fit_gas_form(run: FluidRun, layout: Layout) -> FittedVariant:
    """The gas that a net starts from, and is compared with."""
    gas = layout.as_gas
    active = gas.active.copy()
    active[Thermal.BEND] = run.recipe.fluid.state.bend
    return _fit_variant(run, run.train, moments(run.train, gas.only(active)), "gas form of the fluid")


def _with_units(gas: FluidNumbers, layout: Layout) -> FluidNumbers:
    """The numbers of a net close to a gas."""
    before, after = gas.vector[:gas.layout.thermal], gas.vector[gas.layout.thermal:]
    return FluidNumbers(np.concatenate([before, start_units(layout.units), after]), layout)


def _compared(run: FluidRun, full: FittedVariant,
              gas: FittedVariant | None) -> tuple[dict[str, Any], bool, FittedVariant]:
    """Held-out likelihoods, whether entropy is identifiable, and the variant that is left, fitted to all steps.

    gas: of a net the fluid with the form of a gas, for comparison.
    """
    held_out: dict[str, Any] = {}
    identified = True
    if "isothermal" in run.recipe.compare:
        # at one temperature n and k1 are one number
        cold = full.layout.as_gas.without(*ISOTHERMAL)
        even = louder(moments(run.train, full.layout.as_gas), run.louder).vector
        even[list(ISOTHERMAL)] = 0.0
        isothermal = _fit_variant(run, run.train, FluidNumbers(even, cold), "isothermal member")
        try:
            held_out, identified = _held_out_comparison(run, full, isothermal, gas)
        except UnusableNumbersError as error:
            held_out, identified = {"heat_not_followed": str(error)}, False
        full = full if identified else isothermal
    if run.recordings.alone:
        full = _fit_variant(run, run.everything, full.numbers, "fluid, all steps",
                            prior=full.likelihood.believed)
    return held_out, identified, full


def _layout(data: Sequence[FluidSteps], recipe: Metriplectic) -> Layout:
    """What is learned; V0 is the mean volume at the first frame."""
    part = data[0]
    box = part.box.after(part.first_frame * part.dt)
    x = invariants(part.position[0], part.velocity[0], box, part.cutoff).log_volume
    state, friction, conduction, further = recipe.fluid
    net = state.form == "net"
    layout = Layout(part.dim, state.cutoff, recipe.fluid_mass, float(np.exp(x).mean()), friction.knots,
                    int(friction.law == "transport"), units=state.units if net else 0,
                    forces=sum(term.count for term in further))
    fixed = {Thermal.START: True, Thermal.BEND: net or not state.bend, Thermal.COLD_PRESSURE: not state.cold,
             Thermal.COLD_STIFFNESS: not state.cold, Thermal.CONDUCTION: conduction is None}
    return layout.without(*(number for number, left_out in fixed.items() if left_out))


def _fit_variant(run: FluidRun, data: Sequence[FluidSteps], first: FluidNumbers, what: str,
                 limits: Limits | None = None, prior: Prior | None = None) -> FittedVariant:
    """One variant by scoring from `first` on. Without a `prior`, that of `first`: numbers learned from the same data
    have to bring theirs."""
    recipe, seed, layout = run.recipe, run.seed, first.layout
    if prior is None:
        prior = prior_of(first, run.further)
    fixed = np.isin(np.arange(layout.size), [*SHAPE, Thermal.START])
    theta = np.where(layout.active, first.vector, np.where(fixed, 0.0, first.vector))

    def patterns(numbers: FluidNumbers) -> tuple[np.ndarray, ...]:
        return tuple(run.pattern(numbers, part) for part in data)

    def judge(numbers: FluidNumbers) -> tuple[float, float]:
        return _mean_likelihoods(run, numbers)

    place = run.shared.place(what, tuple(data), repr(recipe.energy), *layout.to_arrays().values())
    begin = FluidNumbers(theta, layout)
    likelihood = FluidLikelihood(data, begin, prior, patterns, seed, run.shifts(begin, data),
                                 judge if data is run.train else None, what)
    return FittedVariant(likelihood, learn(likelihood, limits or run.limits, place, run.shared.progress))


def _mean_likelihoods(run: FluidRun, numbers: FluidNumbers) -> tuple[float, float]:
    """Log-likelihood per particle and step of some steps learned from, and of some held out."""
    recordings, recipe = run.recordings, run.recipe
    train, judge = recordings.train[0], recordings.judge
    if recordings.alone:
        train = judge
    seen = later = evidence.some_likelihoods(train, numbers, start_pattern(train, numbers, recipe.start))
    first = -(-run.judged_from // judge.frames)
    if recordings.alone:
        seen = seen[:first]
    else:
        later = evidence.some_likelihoods(judge, numbers, run.start(numbers, judge))
    return float(np.nanmean(seen)), float(np.nanmean(later[first:]))


def _held_out_comparison(run: FluidRun, full: FittedVariant, isothermal: FittedVariant,
                         gas: FittedVariant | None) -> tuple[dict[str, Any], bool]:
    """Held-out likelihoods side by side; True if entropy is identifiable."""
    progress, data = run.shared.progress, run.recordings.judge
    progress(0, 3, "judging")
    ours, calibrated = run.held_out(full)
    progress(1, 3, "judging")
    theirs, _ = run.held_out(isothermal)
    entropy_gain, error = selection.gain(ours, theirs, BLOCKS)
    held = {"log_likelihood_per_step": float(ours.mean()), "steps": len(ours),
            "trajectory": run.recordings.judging,
            "isothermal_log_likelihood_per_step": float(theirs.mean()),
            "entropy_gain_per_step": entropy_gain, "entropy_gain_per_step_stderr": error}
    if gas is not None:
        of_gas, _ = run.held_out(gas)
        net_gain, net_error = selection.gain(ours, of_gas, BLOCKS)
        held |= {"gas_form_log_likelihood_per_step": float(of_gas.mean()), "net_gain_per_step": net_gain,
                 "net_gain_per_step_stderr": net_error}
    progress(2, 3, "judging")
    # the network predicts single steps, whose noise is not that of windows
    if "unconstrained" in run.recipe.compare and data.frames == 1:
        stops = [part.count for part in run.train]
        net, _, tick = evidence.train_unconstrained(run.train, stops, run.seed, progress=progress)
        free = evidence.unconstrained_likelihood(net, data, run.judged_from, tick)
        structure_gain, gain_error = selection.gain(ours, free, BLOCKS)
        held |= {"unconstrained_log_likelihood_per_step": float(free.mean()),
                 "structure_gain_per_step": structure_gain, "structure_gain_per_step_stderr": gain_error}
    progress(3, 3, "judging")
    calibration = {"chi2": float(calibrated.mean()), "numbers": int(len(calibrated) * data.n * data.dim)}
    return {"held_out": held, "calibration": calibration}, bool(entropy_gain > 2 * error and entropy_gain > 0)


def _parameters(model: MetriplecticModel) -> dict[str, Any]:
    """Numbers at the middle of the data, with their bands."""
    S, V = model.median_state
    out: dict[str, Any] = {"S": S, "V": V}
    for name in ("temperature", "pressure"):
        low, high = model.band(name, (S, V))
        out[name] = [float(getattr(model, name)(S, V)), float(low), float(high)]
    for name in ("shear_viscosity", "bulk_viscosity", "conductivity"):
        low, high = model.band(name)
        out[name] = [float(getattr(model, name)()), float(low), float(high)]
    return out


