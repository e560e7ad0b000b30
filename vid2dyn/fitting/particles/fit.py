"""Fit of a metriplectic fluid whose entropy nobody sees.

What is learned is a vector of some twenty numbers (`vid2dyn.dynamics.fluid.numbers`), from the full covariance of the
observed velocity changes, with entropy carried by the model (`vid2dyn.inference.score`). Entropy is never a
target: it acts through T and P only, so nothing is gained by making it small. Gauge: kB = 1 and the mass is given, so
noise over friction is a temperature in energy, and dS = heat/T has its unit; the origin of S is the mean state of
the first frame. Twenty numbers allow Fisher scoring, with exact information, in place of thousands of gradient steps.

Order: start values from moments (a net starts from the gas that was fitted first); scoring on the training steps; the
isothermal variant in the same way; both judged on steps that none of them saw; with a single trajectory, scoring is
then taken up again with all steps.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.stats import chi2

import vid2dyn
from vid2dyn.core.checkpoint import Checkpoint, PathLike
from vid2dyn.core.config import recipe as recipe_of
from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.dynamics.terms.base import Energy, Parameters, Scene, Term
from vid2dyn.dynamics.terms.convex_net import start_units
from vid2dyn.dynamics.terms.pair_potential import PairPotential
from vid2dyn.fitting.course import checked, stopped_early
from vid2dyn.fitting.particles import evidence, selection
from vid2dyn.fitting.particles.certainty import certainty
from vid2dyn.fitting.particles.fluid_windows import NoiseByWindow, louder
from vid2dyn.fitting.particles.laws import laws
from vid2dyn.fitting.particles.motion_checks import scene_of
from vid2dyn.fitting.particles.scoring import (
    SHAPE,
    Prior,
    ScoringLimits,
    ScoringTask,
    checkpoint_key,
    learn,
    moments,
    prior_of,
    score_and_information,
)
from vid2dyn.inference.heat import UnusableNumbersError
from vid2dyn.inference.start import fit_start, start_pattern
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.model.base import Model
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
    """Trajectories for training, each up to a step, and what judges: a trajectory from a step on."""

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

    `starts`: σ at the first frame of every trajectory learned from; `decrements`: what each iteration was expected to
    gain [nats]; `blocked`: why the scoring ended early, if it did.
    """

    numbers: FluidNumbers
    prior: Prior
    starts: tuple[np.ndarray, ...]
    decrements: tuple[float, ...]
    left_off: bool
    blocked: str = ""

    @property
    def layout(self) -> Layout:
        """Which number is what, and which were learned."""
        return self.numbers.layout


@dataclass(frozen=True, eq=False)
class FittingRun:
    """What all parts of one fit share."""

    split: Split
    recipe: Metriplectic
    seed: int
    progress: Progress
    further: tuple[Parameters, ...] = ()
    """Of the energies beside the equation of state."""
    louder: float = 1.0
    """Noise of windows over that of single steps, by which moments see too little."""


def fit_metriplectic(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic, seed: int = 0,
                     progress: Progress = silent, *, checkpoint: PathLike | None = None, stop: int | None = None,
                     keep_partial: bool = False) -> Model:
    """Learn a fluid from velocities.

    Parameters
    ----------
    tracks : Trajectories, or several
        Of several, all but the last are learned from and the last one judges. An entropy column is not read.
    recipe : Metriplectic
    seed : int
        Of the probes of the score, and of the structure-free variant.
    checkpoint, stop, keep_partial
        See `vid2dyn.fit`; a round is an iteration of the fluid itself. A fit that was stopped has learned from the
        training steps alone and was not judged.

    Raises
    ------
    DataError
        For positions without velocities, numbers that are not finite, missing particles, too few frames, particles in
        one place, or particles that do not move.
    ModelError
        When the velocities show no friction or the fit diverges.
    """
    if checkpoint is not None:
        recipe = dataclasses.replace(recipe, checkpoint=str(checkpoint))
    if not recipe.is_solid:
        _refuse_held(tracks)
    if recipe.is_solid:
        from vid2dyn.fitting.particles.solids.fit import fit_solid

        return fit_solid(tracks, recipe, seed, progress, stop=checked(stop), keep_partial=keep_partial)
    recipe = recipe.short_form
    if not recipe.is_fluid:
        from vid2dyn.fitting.particles.term_lists import fit_terms

        return fit_terms(tracks, recipe, seed, progress, stop=checked(stop), keep_partial=keep_partial)
    split, recipe, further = _with_further(_split(tracks, recipe), recipe)
    run = FittingRun(split, recipe, seed, progress, further)
    layout = _layout(split.train, recipe)
    gas = _fit_gas_form(run, layout) if layout.units else None
    begin = _with_units(gas.numbers, layout) if gas else moments(split.train, layout)
    full = _fit_variant(run, split.train, begin, "fluid", checked(stop), keep_partial)
    warnings: list[str] = []
    held_out: dict[str, Any] = {}
    identified, learned_from = True, split.train
    if not full.left_off:
        try:
            run, full, gas = _in_windows(run, full, gas)
            run, full, found, said = _earned(run, full)
            split, recipe = run.split, run.recipe
            warnings += said
            held_out, identified, final = _compared(run, full, gas)
            held_out |= found
            full, learned_from = final, split.everything
        except Cancelled:
            if not keep_partial:
                raise
            full = dataclasses.replace(full, left_off=True)
    if "heat_not_followed" in held_out:
        warnings.append("The fluid with heat of its own was given up on steps that were set aside, and the model has "
                        f"one temperature. {held_out['heat_not_followed']}")
    elif not identified:
        warnings.append("Entropy not identifiable from these data: a fluid at one temperature predicts velocities that "
                        "were set aside as well. The model has one temperature.")
    known = certainty(learned_from, full.starts, full.numbers, full.prior, seed)
    if (remembering := known.warning()) is not None:
        warnings.insert(0, remembering)
    arrays = {"theta": full.numbers.vector, "covariance": known.covariance, "support": known.support,
              **full.layout.to_arrays()}
    first = tracks if isinstance(tracks, Trajectories) else tracks[0]
    used = recipe_of(dataclasses.replace(recipe, checkpoint=None))
    model = MetriplecticModel(arrays, used, first.units, first.box, {"entropy_identifiable": identified})
    if full.left_off:
        held_out["stopped_early"], warning = stopped_early(
            len(full.decrements), recipe.iterations, f"About {abs(full.decrements[-1]):.2g} nats were still to be "
            "gained; held-out steps were not judged, and whether entropy is identifiable was not tested.")
        warnings.insert(0, warning)
    elif full.blocked:
        warnings.append(f"The fit stopped after {len(full.decrements)} iterations with about "
                        f"{abs(full.decrements[-1]):.2g} nats still to be gained, because there is no way on. "
                        f"{full.blocked}")
    elif full.decrements and abs(full.decrements[-1]) > 10 * recipe.tolerance:
        warnings.append(f"The fit stopped after {len(full.decrements)} iterations with about "
                        f"{abs(full.decrements[-1]):.2g} nats still to be gained; raise iterations.")
    report = {**held_out, "entropy_identifiable": identified, "excess_scatter": known.excess,
              "window": known.window(learned_from[0].dt),
              "laws": laws(model, learned_from[0], full.starts[0]),
              "parameters": _parameters(model), "warnings": warnings, "seed": seed,
              "decrements": list(full.decrements), "data_sha256": _digest(split),
              "versions": {"vid2dyn": vid2dyn.__version__, "numpy": np.__version__, "torch": torch.__version__}}
    return dataclasses.replace(model, report=report)


def _in_windows(run: FittingRun, full: FittedVariant,
                gas: FittedVariant | None) -> tuple[FittingRun, FittedVariant, FittedVariant | None]:
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


def _earned(run: FittingRun, full: FittedVariant
            ) -> tuple[FittingRun, FittedVariant, dict[str, Any], list[str]]:
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


def _ranged(run: FittingRun, full: FittedVariant) -> tuple[FittingRun, FittedVariant, list[dict[str, Any]]]:
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


def _further_numbers(run: FittingRun, variant: FittedVariant) -> list[np.ndarray]:
    """Of every further energy."""
    counts = [term.count for term in run.recipe.fluid.further]
    return np.split(variant.numbers.vector[variant.layout.further], np.cumsum(counts)[:-1])


def _scene(run: FittingRun) -> Scene:
    """What the further energies are settled by."""
    reach = max((term.reach for term in run.recipe.fluid.further), default=0.0)
    return scene_of(run.split.train, ("",), np.full(1, run.recipe.fluid_mass), reach)


def _fit_with(run: FittingRun, full: FittedVariant, further: tuple[Energy, ...], numbers: np.ndarray,
              iterations: int, what: str) -> tuple[FittingRun, FittedVariant]:
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


def _fit_without(run: FittingRun, full: FittedVariant, places: Sequence[int],
                 iterations: int) -> tuple[FittingRun, FittedVariant]:
    """The fluid without some of the further energies, fitted from where it is with them."""
    terms, parts = run.recipe.fluid.further, _further_numbers(run, full)
    kept = [k for k in range(len(terms)) if k not in places]
    numbers = np.concatenate([np.zeros(0), *(parts[k] for k in kept)])
    what = "fluid without " + " and ".join(str(k) for k in places)
    return _fit_with(run, full, tuple(terms[k] for k in kept), numbers, iterations, what)


def _shown(run: FittingRun, full: FittedVariant) -> list[bool]:
    """Of every further energy, whether its numbers differ from zero: Wald's χ², false alarm 1e-6."""
    return [bool(theta @ np.linalg.solve(covariance, theta) > chi2.isf(1e-6, len(theta))) for theta, covariance in
            zip(_further_numbers(run, full), _further_covariance(run, full), strict=True)]


def _further_covariance(run: FittingRun, full: FittedVariant) -> list[np.ndarray]:
    """Of the numbers of every further energy."""
    layout = full.layout
    _, information, _ = score_and_information(run.split.train, full.starts, full.numbers, run.seed)
    rows = np.flatnonzero(layout.active)
    total = (information + full.prior.precision)[np.ix_(rows, rows)]
    size = np.sqrt(np.diag(total))
    covariance = np.zeros((layout.size, layout.size))
    covariance[np.ix_(rows, rows)] = np.linalg.inv(total / size[:, None] / size) / size[:, None] / size
    found, first = [], layout.further.start
    for term in run.further:
        own = slice(first, first + term.count)
        found.append(covariance[own, own])
        first = own.stop
    return found


def _judged(run: FittingRun, variant: FittedVariant) -> np.ndarray:
    """Log-likelihood per particle of steps that were set aside."""
    split = run.split
    start = variant.starts[0] if split.same else fit_start(split.judge, variant.numbers, run.recipe.start,
                                                           run.recipe.window, run.seed)
    return evidence.held_out_likelihood(split.judge, variant.numbers, start, split.judged_from)[0]


def _fit_gas_form(run: FittingRun, layout: Layout) -> FittedVariant:
    """The gas that a net starts from, and is compared with."""
    gas = layout.as_gas
    active = gas.active.copy()
    active[Thermal.BEND] = run.recipe.fluid.state.bend
    return _fit_variant(run, run.split.train, moments(run.split.train, gas.only(active)), "gas form of the fluid")


def _with_units(gas: FluidNumbers, layout: Layout) -> FluidNumbers:
    """The numbers of a net close to a gas."""
    before, after = gas.vector[:gas.layout.thermal], gas.vector[gas.layout.thermal:]
    return FluidNumbers(np.concatenate([before, start_units(layout.units), after]), layout)


def _refuse_held(tracks: Trajectories | Sequence[Trajectories]) -> None:
    """`DataError` for nodes of a solid whose edges are driven: they are not particles of a fluid at one temperature."""
    for one in [tracks] if isinstance(tracks, Trajectories) else tracks:
        held = one.dataframe["held"].to_numpy() if isinstance(one, Trajectories) and "held" in one.dataframe else ()
        try:
            driven = bool(np.any(np.asarray(held, float) != 0))
        except (TypeError, ValueError):
            driven = True
        if driven:
            raise DataError("The column \"held\" names particles whose motion is prescribed: these are nodes of a "
                            "solid with a driven edge, not particles that move by forces and noise alone. Learn a "
                            "solid, vd.Metriplectic(energy=[vd.terms.BondEnergy(cutoff=...)], "
                            "friction=[vd.terms.BondDashpot(cutoff=...)]); or drop the held particles and the column.")


def _compared(run: FittingRun, full: FittedVariant,
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


def _split(tracks: Trajectories | Sequence[Trajectories], recipe: Metriplectic) -> Split:
    several = [tracks] if isinstance(tracks, Trajectories) else list(tracks)
    for one in several:
        if not isinstance(one, Trajectories):
            raise DataError(f"vd.Metriplectic learns from trajectories, not from {type(one).__name__}; for fields give "
                            "vd.GradientFlow().")
    if not several:
        raise DataError("No trajectories were given.")
    parts = [FluidSteps.of(one, recipe.fluid_cutoff, least=recipe.window + 2) for one in several]
    for part in parts:
        if not (np.diff(part.velocity, axis=0) != 0).any():
            raise DataError("No velocity ever changes: there is neither noise nor force to learn from (temperature "
                            "zero). Check the velocity columns.")
        if part.dim != parts[0].dim or abs(part.dt / parts[0].dt - 1) > 1e-9:
            raise DataError("The trajectories differ in dimensions or frame rate; fit them one by one.")
    if parts[0].dim not in (2, 3):
        raise DataError(f"The trajectories have {parts[0].dim} dimension; a fluid has 2 or 3.")
    if len(parts) > 1:
        return Split(tuple(parts[:-1]), parts[-1], min(recipe.window, parts[-1].count // 2), False)
    whole = parts[0]
    stop = whole.count - max(2, round(recipe.held_out * whole.count))
    return Split((whole.between(0, stop),), whole, stop, True)


def _with_further(split: Split, recipe: Metriplectic) -> tuple[Split, Metriplectic, tuple[Parameters, ...]]:
    """Energies beside the equation of state settled by the data: data and recipe with them, and their numbers."""
    further = recipe.fluid.further
    if not further:
        return split, recipe, ()
    scene = scene_of(split.train, ("",), np.full(1, recipe.fluid_mass), max(term.reach for term in further))
    settled = tuple(term.settled(scene) for term in further)
    recipe = recipe.settled_as((recipe.fluid.state, *settled), recipe.friction)
    split = dataclasses.replace(split, train=tuple(part.with_further(settled) for part in split.train),
                                judge=split.judge.with_further(settled))
    return split, recipe, tuple(term.parameters(scene) for term in settled)


def _layout(data: Sequence[FluidSteps], recipe: Metriplectic) -> Layout:
    """What is learned; V0 is the mean volume at the first frame."""
    from vid2dyn.encoders.entropy import invariants

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


def _fit_variant(run: FittingRun, data: Sequence[FluidSteps], first: FluidNumbers, what: str, stop: int | None = None,
                 keep_partial: bool = False, prior: Prior | None = None) -> FittedVariant:
    """One variant by scoring from `first` on; the temperatures at which further trajectories start are found in
    between. Without a `prior`, that of `first`: numbers learned from the same data have to bring theirs."""
    recipe, seed, layout = run.recipe, run.seed, first.layout
    if prior is None:
        prior = prior_of(first, run.further)
    fixed = np.isin(np.arange(layout.size), [*SHAPE, Thermal.START])
    theta = np.where(layout.active, first.vector, np.where(fixed, 0.0, first.vector))

    def patterns(numbers: FluidNumbers) -> tuple[np.ndarray, ...]:
        return (start_pattern(data[0], numbers, recipe.start),
                *(fit_start(part, numbers, recipe.start, recipe.window, seed) for part in data[1:]))

    def judge(numbers: FluidNumbers) -> tuple[float, float]:
        return _mean_likelihoods(run, numbers)

    settings = repr((recipe_of(dataclasses.replace(recipe, checkpoint=None)), seed, what))
    place = None
    if recipe.checkpoint is not None:
        place = Path(f"{recipe.checkpoint}.{what.replace(' ', '-').replace(',', '')}")
    task = ScoringTask(data, layout, theta, prior, patterns, seed, judge if data is run.split.train else None, what)
    state = learn(task, ScoringLimits(recipe.iterations, recipe.tolerance, stop, keep_partial),
                  Checkpoint(place, checkpoint_key(data, layout, settings)), run.progress)
    numbers = FluidNumbers(state.theta, layout)
    return FittedVariant(numbers, prior, patterns(numbers), state.decrements, state.left_off, state.blocked)


def _mean_likelihoods(run: FittingRun, numbers: FluidNumbers) -> tuple[float, float]:
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


def _held_out_comparison(run: FittingRun, full: FittedVariant, isothermal: FittedVariant,
                         gas: FittedVariant | None) -> tuple[dict[str, Any], bool]:
    """Held-out likelihoods side by side; True if entropy is identifiable."""
    split, progress = run.split, run.progress
    data, first = split.judge, split.judged_from

    def start(variant: FittedVariant) -> np.ndarray:
        if split.same:
            return variant.starts[0]
        return fit_start(data, variant.numbers, run.recipe.start, run.recipe.window, run.seed)

    progress(0, 3, "judging")
    ours, calibrated = evidence.held_out_likelihood(data, full.numbers, start(full), first)
    progress(1, 3, "judging")
    theirs, _ = evidence.held_out_likelihood(data, isothermal.numbers, start(isothermal), first)
    entropy_gain, error = evidence.gain(ours, theirs)
    held = {"log_likelihood_per_step": float(ours.mean()), "steps": len(ours),
            "trajectory": "the rest of the same one" if split.same else "another one",
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


def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    for part in (*split.everything, split.judge):
        digest.update(part.position.tobytes())
        digest.update(part.velocity.tobytes())
    return digest.hexdigest()
