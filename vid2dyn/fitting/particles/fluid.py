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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.stats import chi2

from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import Energy, Parameters, Scene, Term
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
from vid2dyn.fitting.particles.scoring import Learned, Limits, inverse, learn
from vid2dyn.inference.heat import UnusableNumbersError
from vid2dyn.inference.start import fit_start, start_pattern
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.metriplectic import MetriplecticModel

ISOTHERMAL = (Thermal.SOFTNESS, Thermal.BEND, Thermal.COLD_PRESSURE, Thermal.CONDUCTION)
"""Numbers that a fluid at one temperature does not have."""
WITHOUT = 8
"""Most iterations of a fit without one of the further energies: one that is missed is missed long before the end."""
WINDOWED = 3
"""Most times that the windows in which a fluid is read are chosen."""
SAME = 0.03
"""Relative change of the share that they show below which they stay."""
LEAST_WINDOWS = 8
"""Of a trajectory."""
NOTHING = 0.3
"""Pair energy [kT] below which there is none that a range would have to hold."""


@dataclass(frozen=True, eq=False)
class Split:
    """Trajectories for training, and what judges: a trajectory from a step on, up to which entropy is carried by what
    was seen."""

    train: tuple[FluidSteps, ...]
    judge: FluidSteps
    judged_from: int
    same: bool
    """Whether the judge is the rest of the only trajectory."""

    @property
    def everything(self) -> tuple[FluidSteps, ...]:
        """What the final numbers are learned from."""
        return (self.judge,) if self.same else self.train


@dataclass(frozen=True, eq=False)
class FittedVariant:
    """A fitted fluid, or one without some of its parts.

    `starts`: σ at the first frame of every trajectory learned from.
    """

    numbers: FluidNumbers
    prior: Prior
    starts: tuple[np.ndarray, ...]
    learned: Learned

    @property
    def layout(self) -> Layout:
        """Which number is what, and which were learned."""
        return self.numbers.layout


@dataclass(frozen=True, eq=False)
class FluidRun:
    """What all variants of one fluid share, as its windows and terms are now."""

    shared: Run
    split: Split
    recipe: Metriplectic
    further: tuple[Parameters, ...] = ()
    """Of the energies beside the equation of state."""
    louder: float = 1.0
    """Noise of windows over that of single steps, by which moments see too little."""

    @property
    def seed(self) -> int:
        return self.shared.seed

    def laid_out(self, part: FluidSteps) -> FluidSteps:
        """A recording with the energies and windows of those learned from."""
        like = self.split.train[0]
        return part.with_further(like.further).in_windows(like.frames, like.shown)

    def starts(self, variant: FittedVariant, data: FluidSteps) -> np.ndarray:
        """σ at the first frame of a trajectory that the variant was not learned from."""
        return fit_start(data, variant.numbers, self.recipe.start, self.recipe.window, self.seed)

    def patterns(self, data: Sequence[FluidSteps], numbers: FluidNumbers) -> tuple[np.ndarray, ...]:
        """σ at the first frame of every trajectory that is learned from; the first one says where S is zero."""
        recipe = self.recipe
        return (start_pattern(data[0], numbers, recipe.start),
                *(fit_start(part, numbers, recipe.start, recipe.window, self.seed) for part in data[1:]))


@dataclass(frozen=True, eq=False, kw_only=True)
class FluidFit(Fit):
    """A fluid as far as it has come: the run as it is now, the fluid, the gas of a net, whether it carries entropy."""

    run: FluidRun
    full: FittedVariant
    gas: FittedVariant | None = None
    identified: bool = True
    learned_from: tuple[FluidSteps, ...] = ()

    @classmethod
    def of(cls, run: FluidRun, full: FittedVariant, gas: FittedVariant | None, **more: Any) -> FluidFit:
        """As it is."""
        return cls(learned=full.learned, run=run, full=full, gas=gas, **{"learned_from": run.split.train, **more})


class FluidLearner(Learner[FluidFit]):
    """A fluid with an equation of state, from the likelihood of whole recordings."""

    @staticmethod
    def layout_of(recipe: Metriplectic) -> tuple[float, int]:
        return recipe.fluid_cutoff, recipe.window + 2

    def first_look(self, run: Run) -> FluidFit:
        recordings, recipe = run.recordings, run.recipe
        judge = recordings.judge
        split = Split(recordings.train, judge, recordings.judged_from if recordings.alone
                      else min(recipe.window, judge.count // 2), recordings.alone)
        fluid = _with_further(FluidRun(run, split, recipe))
        layout = _layout(fluid.split.train, fluid.recipe)
        gas = _fit_gas_form(fluid, layout) if layout.units else None
        begin = _with_units(gas.numbers, layout) if gas else moments(fluid.split.train, layout)
        full = _fit_variant(fluid, fluid.split.train, begin, "fluid", run.stop, run.keep_partial)
        return FluidFit.of(fluid, full, gas)

    def stages(self, fit: FluidFit) -> Iterator[FluidFit]:
        run, full, gas = _in_windows(fit.run, fit.full, fit.gas)
        yield FluidFit.of(run, full, gas)
        run, full, found, said = _earned(run, full)
        yield FluidFit.of(run, full, gas, found=found, warnings=tuple(said))
        judged, identified, full = _compared(run, full, gas)
        if "heat_not_followed" in judged:
            said.append("The fluid with heat of its own was given up on steps that were set aside, and the model has "
                        f"one temperature. {judged['heat_not_followed']}")
        elif not identified:
            said.append("Entropy not identifiable from these data: a fluid at one temperature predicts velocities that "
                        "were set aside as well. The model has one temperature.")
        yield FluidFit.of(run, full, gas, found=judged | found, warnings=tuple(said), identified=identified,
                          learned_from=run.split.everything)

    def judged(self, fit: FluidFit, part: FluidSteps) -> tuple[np.ndarray, np.ndarray]:
        part = fit.run.laid_out(part)
        lls, chi2 = evidence.held_out_likelihood(part, fit.full.numbers, fit.run.starts(fit.full, part), 0)
        return lls * part.frames, chi2

    def described(self, fit: FluidFit) -> tuple[MetriplecticModel, dict[str, Any], list[str]]:
        run, full, data = fit.run, fit.full, fit.learned_from
        known = certainty(data, lambda numbers: run.patterns(data, numbers), full.numbers, full.prior, run.seed)
        arrays = {"theta": full.numbers.vector, "covariance": known.covariance, "support": known.support,
                  **full.layout.to_arrays()}
        used = recipe_of(dataclasses.replace(run.recipe, checkpoint=None))
        first = run.shared.recordings
        model = MetriplecticModel(arrays, used, first.units, first.parts[0].box,
                                  {"entropy_identifiable": fit.identified})
        found = {"entropy_identifiable": fit.identified, "excess_scatter": known.excess,
                 "window": known.window(data[0].dt), "laws": laws(model, data[0], full.starts[0]),
                 "parameters": _parameters(model)}
        return model, found, [said for said in (known.warning(),) if said is not None]


def _in_windows(run: FluidRun, full: FittedVariant,
                gas: FittedVariant | None) -> tuple[FluidRun, FittedVariant, FittedVariant | None]:
    """Everything read in windows as long as the memory of the noise asks for, and fitted anew; without a memory as it
    was."""
    layout, split = full.layout, run.split
    for _ in range(WINDOWED):
        now = split.train[0]
        noise = NoiseByWindow.of(split.train, full.starts, full.numbers)
        frames, shown = noise.chosen(now.dt, layout.mass, run.recipe.window_frames)
        frames = min(frames, max(1, min(part.count for part in split.train) // LEAST_WINDOWS))
        if frames == now.frames and abs(shown / now.shown - 1.0) < SAME:
            break
        split = dataclasses.replace(split, train=tuple(part.in_windows(frames, shown) for part in split.train),
                                    judge=split.judge.in_windows(frames, shown))
        ratio = noise.ratio(frames) / shown if now.frames == 1 and frames > 1 and shown < 1.0 else 1.0
        run = dataclasses.replace(run, split=split, louder=run.louder * ratio)
        what = f"in windows of {frames}, {shown:.2f} shown"
        if gas is not None:
            gas = _fit_variant(run, split.train, louder(gas.numbers, ratio), f"gas form of the fluid, {what}")
        full = _fit_variant(run, split.train, louder(full.numbers, ratio), f"fluid, {what}")
    return run, full, gas


def _earned(run: FluidRun, full: FittedVariant
            ) -> tuple[FluidRun, FittedVariant, dict[str, Any], list[str]]:
    """What every energy beside the equation of state adds to the prediction of motion that was set aside; those that
    add nothing are left out (``select``), with the ranges that they earn. Returns the run and the fluid that are left,
    the entries of the report, and what is to be said.

    A short recording sets few steps aside. So an energy that the steps learned from show beyond doubt (`_shown`) stays
    as long as those set aside are not predicted worse with it.
    """
    if not (run.recipe.select and run.further):
        return run, full, {}, []
    seconds = run.split.judge.dt                 # likelihoods are per step
    run, full, ranges = _ranged(run, full)
    fluid = run.recipe.fluid
    ours, shown = _judged(run, full), _shown(run, full)
    entries: list[dict[str, Any]] = [{"term": fluid.state.title(), "range": fluid.state.reach, "adds": None,
                                      "stderr": None, "kept": True}]
    dropped, said, other = [], [], full
    for place, term in enumerate(fluid.further):
        rest, other = _fit_without(run, full, [place], WITHOUT)
        adds, error = evidence.gain(ours, _judged(rest, other))
        kept = adds > (0.0 if shown[place] else 2 * error)
        entries.append({"term": term.title(), "range": term.reach, "adds": adds / seconds, "stderr": error / seconds,
                        "kept": bool(kept)})
        if not kept:
            dropped.append(place)
            said.append(f"{term.title()} adds nothing to the prediction of motion that was set aside "
                        f"({adds / seconds:.2g} ± {error / seconds:.1g} nats per particle and second) and was left "
                        "out.")
    entries += [{"term": term.title(), "range": term.reach, "adds": None, "stderr": None, "kept": True}
                for term in run.recipe.friction]
    if dropped:
        run, full = _fit_without(run, full, dropped, run.recipe.iterations)
    return run, full, {"ranges": ranges, "terms": entries}, said


def _ranged(run: FluidRun, full: FittedVariant) -> tuple[FluidRun, FittedVariant, list[dict[str, Any]]]:
    """Shorter ranges of the further energies where the data are predicted as well with them, else longer ones where
    they are predicted better. The cutoff of the equation of state, with its density and friction, says what a volume is
    and stays as given.
    """
    entries: list[dict[str, Any]] = []
    ours, seconds = _judged(run, full), run.split.judge.dt
    # not the scene's kT, which is that of velocities with the flow that they are in
    scene = dataclasses.replace(_scene(run), kT=float(np.exp(full.numbers.log_temperature)))
    for what in ("shorter", "longer"):
        old, parts = run.recipe.fluid.further, _further_numbers(run, full)
        covariances = _further_covariance(run, full)
        new = [None if not getattr(term, "learn_range", False) else selection.longer(term, theta, scene)
               if what == "longer" else _shorter(term, theta, covariance, scene)
               for term, theta, covariance in zip(old, parts, covariances, strict=True)]
        changed = [k for k, term in enumerate(new) if term is not None]
        if not changed:
            continue
        settled = tuple(old[k] if term is None else cast(Energy, term) for k, term in enumerate(new))
        mapped = [selection.mapped(old, parts, term, k) for k, term in enumerate(settled)]
        rest, other = _fit_with(run, full, settled, np.concatenate(mapped), WITHOUT, f"{what} ranges")
        theirs = _judged(rest, other)
        adds, error = evidence.gain(theirs, ours)
        kept = adds > (-2 * error if what == "shorter" else 2 * error)
        entries += [{"term": settled[k].title(), "from": old[k].reach, "to": settled[k].reach, "adds": adds / seconds,
                     "stderr": error / seconds, "kept": bool(kept)} for k in changed]
        if kept:
            run, full = _fit_with(run, other, settled, np.concatenate(_further_numbers(rest, other)),
                                  run.recipe.iterations, f"fluid, {what} ranges")
            break
    return run, full, entries


def _shorter(term: Energy, theta: np.ndarray, covariance: np.ndarray, scene: Scene) -> Term | None:
    """The pair potential with a shorter range, or None where that would gain little.

    A few steps of a gas predict as well with almost any range, and a potential that has to end too early is bent far
    inside. So the range is 1.2 times the distance beyond which the energy is below `NOTHING`, its error included.
    """
    if not isinstance(term, PairPotential):
        return None
    r = np.linspace(0.1, 1.0, 361) * term.reach
    most = np.zeros(len(r))
    for kind in range(len(term.kinds)):
        basis = np.stack([term.of_kind(one, r, kind) for one in np.eye(term.count)], axis=1)
        error = np.sqrt(np.einsum("rk,kl,rl->r", basis, covariance, basis))
        most = np.maximum(most, np.abs(basis @ theta) + 1.96 * error)
    beyond = np.flatnonzero(most > NOTHING * scene.kT)
    reach = 1.2 * float(r[beyond[-1]]) if len(beyond) else term.reach
    return term.with_reach(round(reach, 4)) if reach < 0.9 * term.reach else None


def _further_numbers(run: FluidRun, variant: FittedVariant) -> list[np.ndarray]:
    """Of every further energy."""
    counts = [term.count for term in run.recipe.fluid.further]
    return np.split(variant.numbers.vector[variant.layout.further], np.cumsum(counts)[:-1])


def _scene(run: FluidRun) -> Scene:
    """What the further energies are settled by."""
    reach = max((term.reach for term in run.recipe.fluid.further), default=0.0)
    return scene_of(run.split.train, ("",), np.full(1, run.recipe.fluid_mass), reach)


def _fit_with(run: FluidRun, full: FittedVariant, further: tuple[Energy, ...], numbers: np.ndarray,
              iterations: int, what: str) -> tuple[FluidRun, FittedVariant]:
    """The fluid with these further energies in place of its own, and these numbers of theirs to begin with."""
    recipe = run.recipe.settled_as((run.recipe.fluid.state, *further), run.recipe.friction)
    split = dataclasses.replace(run.split, train=tuple(part.with_further(further) for part in run.split.train),
                                judge=run.split.judge.with_further(further))
    rest = dataclasses.replace(run, split=split, recipe=recipe)
    if further:
        scene = _scene(rest)
        rest = dataclasses.replace(rest, further=tuple(term.parameters(scene) for term in further))
    else:
        rest = dataclasses.replace(rest, further=())
    brief = dataclasses.replace(rest, recipe=dataclasses.replace(recipe, iterations=min(iterations, recipe.iterations)))
    first = full.layout.further.start
    layout = dataclasses.replace(full.layout, forces=len(numbers), active=np.concatenate(
        [full.layout.active[:first], np.ones(len(numbers), bool)]))
    begin = FluidNumbers(np.concatenate([full.numbers.vector[:first], numbers]), layout)
    return rest, _fit_variant(brief, split.train, begin, what)


def _fit_without(run: FluidRun, full: FittedVariant, places: Sequence[int],
                 iterations: int) -> tuple[FluidRun, FittedVariant]:
    """The fluid without some of the further energies, fitted from where it is with them."""
    terms, parts = run.recipe.fluid.further, _further_numbers(run, full)
    kept = [k for k in range(len(terms)) if k not in places]
    numbers = np.concatenate([np.zeros(0), *(parts[k] for k in kept)])
    what = "fluid without " + " and ".join(str(k) for k in places)
    return _fit_with(run, full, tuple(terms[k] for k in kept), numbers, iterations, what)


def _shown(run: FluidRun, full: FittedVariant) -> list[bool]:
    """Of every further energy, whether its numbers differ from zero: Wald's χ², false alarm 1e-6."""
    return [bool(theta @ np.linalg.solve(covariance, theta) > chi2.isf(1e-6, len(theta))) for theta, covariance in
            zip(_further_numbers(run, full), _further_covariance(run, full), strict=True)]


def _further_covariance(run: FluidRun, full: FittedVariant) -> list[np.ndarray]:
    """Of the numbers of every further energy."""
    rows = np.flatnonzero(full.layout.active)
    covariance = np.zeros((full.layout.size, full.layout.size))
    covariance[np.ix_(rows, rows)] = inverse(full.learned.total[np.ix_(rows, rows)])
    found, first = [], full.layout.further.start
    for term in run.further:
        own = slice(first, first + term.count)
        found.append(covariance[own, own])
        first = own.stop
    return found


def _judged(run: FluidRun, variant: FittedVariant) -> np.ndarray:
    """Log-likelihood per particle of steps that were set aside."""
    split = run.split
    start = variant.starts[0] if split.same else run.starts(variant, split.judge)
    return evidence.held_out_likelihood(split.judge, variant.numbers, start, split.judged_from)[0]


def _fit_gas_form(run: FluidRun, layout: Layout) -> FittedVariant:
    """The gas that a net starts from, and is compared with."""
    gas = layout.as_gas
    active = gas.active.copy()
    active[Thermal.BEND] = run.recipe.fluid.state.bend
    return _fit_variant(run, run.split.train, moments(run.split.train, gas.only(active)), "gas form of the fluid")


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
    split = run.split
    if "isothermal" in run.recipe.compare:
        # at one temperature n and k1 are one number
        cold = full.layout.as_gas.without(*ISOTHERMAL)
        even = louder(moments(split.train, full.layout.as_gas), run.louder).vector
        even[list(ISOTHERMAL)] = 0.0
        isothermal = _fit_variant(run, split.train, FluidNumbers(even, cold), "isothermal member")
        try:
            held_out, identified = _held_out_comparison(run, full, isothermal, gas)
        except UnusableNumbersError as error:
            held_out, identified = {"heat_not_followed": str(error)}, False
        full = full if identified else isothermal
    if split.same:
        full = _fit_variant(run, split.everything, full.numbers, "fluid, all steps", prior=full.prior)
    return held_out, identified, full


def _with_further(run: FluidRun) -> FluidRun:
    """The run with the energies beside the equation of state settled by the data."""
    further = run.recipe.fluid.further
    if not further:
        return run
    scene = _scene(run)
    settled = tuple(term.settled(scene) for term in further)
    recipe = run.recipe.settled_as((run.recipe.fluid.state, *settled), run.recipe.friction)
    split = dataclasses.replace(run.split, train=tuple(part.with_further(settled) for part in run.split.train),
                                judge=run.split.judge.with_further(settled))
    return dataclasses.replace(run, split=split, recipe=recipe,
                               further=tuple(term.parameters(scene) for term in settled))


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


def _fit_variant(run: FluidRun, data: Sequence[FluidSteps], first: FluidNumbers, what: str, stop: int | None = None,
                 keep_partial: bool = False, prior: Prior | None = None) -> FittedVariant:
    """One variant by scoring from `first` on; the temperatures at which further trajectories start are found in
    between. Without a `prior`, that of `first`: numbers learned from the same data have to bring theirs."""
    recipe, seed, layout = run.recipe, run.seed, first.layout
    if prior is None:
        prior = prior_of(first, run.further)
    fixed = np.isin(np.arange(layout.size), [*SHAPE, Thermal.START])
    theta = np.where(layout.active, first.vector, np.where(fixed, 0.0, first.vector))

    def patterns(numbers: FluidNumbers) -> tuple[np.ndarray, ...]:
        return run.patterns(data, numbers)

    def judge(numbers: FluidNumbers) -> tuple[float, float]:
        return _mean_likelihoods(run, numbers)

    place = run.shared.place(what, tuple(data), repr(recipe.energy), *layout.to_arrays().values())
    likelihood = FluidLikelihood(data, FluidNumbers(theta, layout), prior, patterns, seed,
                                 judge if data is run.split.train else None, what)
    learned = learn(likelihood, Limits(recipe.iterations, recipe.tolerance, stop, keep_partial), place,
                    run.shared.progress)
    numbers = FluidNumbers(learned.vector, layout)
    return FittedVariant(numbers, prior, patterns(numbers), learned)


def _mean_likelihoods(run: FluidRun, numbers: FluidNumbers) -> tuple[float, float]:
    """Log-likelihood per particle and step of some steps learned from, and of some held out."""
    split, recipe = run.split, run.recipe
    if split.same:
        data, first = split.judge, split.judged_from
        found = evidence.some_likelihoods(data, numbers, start_pattern(data, numbers, recipe.start))
        first = -(-first // data.frames)
        return float(np.nanmean(found[:first])), float(np.nanmean(found[first:]))
    train, judge = split.train[0], split.judge
    seen = evidence.some_likelihoods(train, numbers, start_pattern(train, numbers, recipe.start))
    later = evidence.some_likelihoods(judge, numbers,
                                      fit_start(judge, numbers, recipe.start, recipe.window, run.seed))
    return float(np.nanmean(seen)), float(np.nanmean(later[-(-split.judged_from // judge.frames):]))


def _held_out_comparison(run: FluidRun, full: FittedVariant, isothermal: FittedVariant,
                         gas: FittedVariant | None) -> tuple[dict[str, Any], bool]:
    """Held-out likelihoods side by side; True if entropy is identifiable."""
    split, progress = run.split, run.shared.progress
    data, first = split.judge, split.judged_from

    def start(variant: FittedVariant) -> np.ndarray:
        if split.same:
            return variant.starts[0]
        return run.starts(variant, data)

    progress(0, 3, "judging")
    ours, calibrated = evidence.held_out_likelihood(data, full.numbers, start(full), first)
    progress(1, 3, "judging")
    theirs, _ = evidence.held_out_likelihood(data, isothermal.numbers, start(isothermal), first)
    entropy_gain, error = evidence.gain(ours, theirs)
    held = {"log_likelihood_per_step": float(ours.mean()), "steps": len(ours),
            "trajectory": run.shared.recordings.judging,
            "isothermal_log_likelihood_per_step": float(theirs.mean()),
            "entropy_gain_per_step": entropy_gain, "entropy_gain_per_step_stderr": error}
    if gas is not None:
        of_gas, _ = evidence.held_out_likelihood(data, gas.numbers, start(gas), first)
        net_gain, net_error = evidence.gain(ours, of_gas)
        held |= {"gas_form_log_likelihood_per_step": float(of_gas.mean()), "net_gain_per_step": net_gain,
                 "net_gain_per_step_stderr": net_error}
    progress(2, 3, "judging")
    # the network predicts single steps, whose noise is not that of windows
    if "unconstrained" in run.recipe.compare and data.frames == 1:
        stops = [part.count for part in split.train]
        net, _, tick = evidence.train_unconstrained(split.train, stops, run.seed, progress=progress)
        free = evidence.unconstrained_likelihood(net, data, first, tick)
        structure_gain, gain_error = evidence.gain(ours, free)
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


