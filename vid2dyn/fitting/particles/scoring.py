"""Fisher scoring of a fluid: start from moments, step, stop, and go on from a checkpoint bit for bit."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.terms.base import Parameters
from vid2dyn.dynamics.terms.convex_net import WIDTHS, start_units
from vid2dyn.inference import sums
from vid2dyn.inference.geometry import StepGeometry
from vid2dyn.inference.heat import UnusableNumbersError
from vid2dyn.inference.score import sweep
from vid2dyn.inference.step import evaluate_state
from vid2dyn.inference.steps import FluidSteps

EVERY = 10
"""Steps between those whose information is worked out."""
HALVINGS = 6
"""Most times that a step is halved because there is no likelihood at its end."""
OWN = 0.5
"""Least part of the pressure that the gas starts with beside energies that can do the same."""
JUDGED = 2
"""Iterations between those that are judged while somebody watches."""
STRIDE = 0.4
"""Largest relative change of a positive number in one iteration."""
CONDUCTIONS = 30.0
"""Prior width of the conduction over that which evens out temperatures as fast as friction evens out velocities
(`even_conduction`). Heat spreads 1.4 times as fast as momentum in gases, 100 times in liquid metals, hardly in oils.
With a width of 3, a gas in which it does so 10 times as fast came out with .4 ± .16 of its conductivity."""
STRIDE_CONDUCTION = 3.0
"""Largest change of the conduction in one iteration, over the larger of itself and `even_conduction`."""
STRIDE_NET = 0.7
"""Largest change of a number of the net in one iteration."""
SHAPE = (Thermal.BEND, Thermal.COLD_PRESSURE, Thermal.COLD_STIFFNESS)
"""Numbers that make the fluid differ from an ideal gas; expected near zero."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Gaussian prior of the numbers: (theta - mean)ᵀ precision (theta - mean)/2 is taken off the log-likelihood.

    `positive`: numbers of further energies that must not be negative, (size,) bool.
    """

    mean: np.ndarray
    precision: np.ndarray
    positive: np.ndarray


@dataclass(frozen=True, eq=False)
class ScoringState:
    """Where the scoring is: numbers, iterations done, the decrement of each, information at the numbers.

    `decrement` is what a quadratic log-likelihood would still gain within the bounds [nats].
    """

    theta: np.ndarray
    done: int = 0
    decrements: tuple[float, ...] = ()
    left_off: bool = False
    """Stopped before the end, but after an iteration."""
    before: np.ndarray | None = None
    """Numbers that the last step was made from."""
    blocked: str = ""
    """Why there is no likelihood further on, where that is what ended the scoring."""

    @property
    def pace(self) -> float:
        """Part of the next step to go: halved whenever a step brought nothing, as steps that overshoot do."""
        pace = 1.0
        for before, after in itertools.pairwise(abs(d) for d in self.decrements):
            pace = max(0.5 * pace, 0.03) if after > 0.9 * before else min(1.2 * pace, 1.0)
        return pace

    def save(self, place: Checkpoint) -> None:
        """Write whole or not at all; nothing is rounded."""
        before = self.theta if self.before is None else self.before
        place.save({"done": self.done, "theta": self.theta, "decrements": self.decrements, "before": before})

    @classmethod
    def load(cls, place: Checkpoint) -> ScoringState | None:
        """What `save` wrote for the same data and settings; None where there is none."""
        state = place.load()
        if state is None:
            return None
        return cls(state["theta"], int(state["done"]), tuple(state["decrements"].tolist()), before=state["before"])


def moments(data: Sequence[FluidSteps], layout: Layout) -> FluidNumbers:
    """Start in one pass: radial functions of one shape, T from noise over friction, n from the mean pressure.

    The change of velocity is regressed on the friction of coefficient 1 at the first velocity and on the force of
    P V = 1; what is left over is noise. A gas of three degrees of freedom a molecule is assumed for the heat capacity,
    and a conductivity that evens out temperatures as fast as friction does velocities.
    """
    theta = np.zeros(layout.size)
    theta[Thermal.SOFTNESS], theta[Thermal.MOLECULES] = 1e-6, 1e-9
    theta[layout.radial] = 1.0
    if layout.units:
        theta[layout.net] = start_units(layout.units)
    guess = FluidNumbers(theta, layout)
    columns_in_all = 2 + layout.forces
    normal, right = np.zeros((columns_in_all, columns_in_all)), np.zeros(columns_in_all)
    squares, sizes = 0.0, 0.0
    for part in data:
        for t in range(0, part.count, max(1, part.count // 60)):
            geometry = StepGeometry.of(part, t, layout)
            middle = evaluate_state(geometry, guess, np.zeros(part.n), np.zeros((layout.thermal, part.n))).middle
            drag, push = np.zeros((part.n, part.dim)), np.empty((1, part.n, part.dim))
            i, j, _ = geometry.ends
            half = 0.5 * (part.velocity[t + 1] - part.velocity[t])
            w = np.ascontiguousarray(geometry.pairs.w - half[i] + half[j])
            sums.scatter(*geometry.ends, part.dt * middle.friction[0], part.dt * middle.friction[1], w, drag)
            sums.pressure_forces(*geometry.ends, geometry.slope, geometry.volume[None], push)
            columns = np.stack([-drag.ravel(), part.dt * push.ravel(),
                                *(part.dt * slope.ravel() for slope in geometry.force_slopes)])
            normal += columns @ columns.T
            right += columns @ geometry.momentum.ravel()
            squares += float((geometry.momentum**2).sum())
            trace = float((part.dim - 1) * middle.across.sum() + middle.along.sum())
            sizes += 4 * part.dt * trace
    found: np.ndarray
    if layout.forces:
        # distances and places that were hardly visited say nothing of their numbers
        unit = np.sqrt(np.maximum(np.diag(normal), 1e-300))
        found = np.asarray(np.linalg.lstsq(normal / unit[:, None] / unit, right / unit, rcond=1e-6)[0]) / unit
        alone = np.linalg.solve(normal[:2, :2], right[:2])
        if found[1] < OWN * alone[1]:
            # energies that can do what pressure does may have taken it: a gas without pressure has no heat capacity
            rest, unit = np.r_[0, 2:len(right)], np.delete(unit, 1)
            scaled, left = normal[np.ix_(rest, rest)] / unit[:, None] / unit, right - alone[1] * normal[:, 1]
            others = np.linalg.lstsq(scaled, left[rest] / unit, rcond=1e-6)[0]
            found = np.insert(others / unit, 1, alone[1])
    else:
        found = np.linalg.solve(normal, right)
    left = squares - 2 * found @ right + found @ normal @ found
    friction = float(found[0])
    if not friction > 0:
        raise ModelError("The velocities show no friction between particles (its regression gives "
                         f"{friction:.3g}): a metriplectic fluid does not describe them. Check the velocities, the "
                         "frame rate and the cutoff.")
    # friction c VV (power 1) or c/T (power 0), noise c VV T or c
    noise = left / sizes
    T = noise / friction
    pressure = float(np.maximum(found[1], 0.05 * T))
    theta[layout.radial] = friction if layout.power else noise
    theta[Thermal.LOG_TEMPERATURE], theta[Thermal.MOLECULES] = np.log(T), pressure / T
    theta[Thermal.SOFTNESS] = 1.0 / (1.5 * theta[Thermal.MOLECULES])
    theta[Thermal.CONDUCTION] = even_conduction(guess.at(theta))
    theta[Thermal.START] = 0.0
    theta[layout.further] = found[2:]
    return FluidNumbers(theta, layout)


def even_conduction(numbers: FluidNumbers) -> float:
    """Amplitude of C² with which temperatures even out as fast as friction evens out velocities."""
    layout = numbers.layout
    friction = float(numbers.friction.mean())                  # c VV (power 1), or noise c, so friction c/T (power 0)
    return friction * (1.0 if layout.power else float(np.exp(numbers.log_temperature))) / (
        layout.mass * max(numbers.softness, 1e-6))


def prior_of(numbers: FluidNumbers, further: Sequence[Parameters] = ()) -> Prior:
    """Weak: bend and cold part of the order of the gas, smooth radial functions, conduction up to `CONDUCTIONS` times
    that of `even_conduction`; a net is near the gas of its start, in the widths of
    `vid2dyn.dynamics.terms.convex_net.WIDTHS`; `further`: what further energies believe of themselves."""
    theta, layout = numbers.vector, numbers.layout
    precision = np.zeros((layout.size, layout.size))
    mean = theta.copy()
    n, kappa = max(theta[Thermal.MOLECULES], 1e-6), max(even_conduction(numbers), 1e-100)  # inverse square: a number
    widths = {Thermal.LOG_TEMPERATURE: 3.0, Thermal.SOFTNESS: 3.0 * max(theta[Thermal.SOFTNESS], 1e-6),
              Thermal.MOLECULES: 3.0 * n, Thermal.BEND: 0.5, Thermal.COLD_PRESSURE: n, Thermal.COLD_STIFFNESS: n,
              Thermal.CONDUCTION: CONDUCTIONS * kappa, Thermal.START: 30.0}
    for k, width in widths.items():
        precision[k, k] = width**-2 if layout.active[k] else 1.0
    mean[list(SHAPE)] = 0.0
    if layout.units:
        net = np.arange(layout.size)[layout.net]
        precision[net, net] = np.repeat(WIDTHS, layout.units) ** -2.0
    count = layout.coefficients
    bend = np.diff(np.eye(count), 2, axis=0)
    for row in range(2):
        at = layout.thermal + row * count
        size = max(float(theta[at:at + count].mean()), 1e-300)
        precision[at:at + count, at:at + count] = (bend.T @ bend + 1e-4 * np.eye(count)) / (0.5 * size) ** 2
    positive, at = np.zeros(layout.size, bool), layout.further.start
    for energy in further:
        own = slice(at, at + energy.count)
        mean[own], precision[own, own], positive[own] = 0.0, energy.precision, energy.positive
        at = own.stop
    return Prior(mean, precision, positive)


def score_and_information(data: Sequence[FluidSteps], starts: Sequence[np.ndarray], numbers: FluidNumbers, seed: int,
                          every: int = EVERY) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Sums over trajectories; scores also step by step (a list of (steps, numbers))."""
    found = [sweep(part, numbers, start, information_every=max(1, every // part.frames), seed=seed)
             for part, start in zip(data, starts, strict=True)]
    return (np.sum([s.score.sum(0) for s in found], axis=0), np.sum([s.information for s in found], axis=0),
            [s.score for s in found])


def improved(numbers: FluidNumbers, score: np.ndarray, information: np.ndarray, prior: Prior,
             pace: float = 1.0) -> tuple[np.ndarray, float]:
    """The numbers after a part `pace` of one scoring step within bounds, and the decrement."""
    theta, layout = numbers.vector, numbers.layout
    slope = score - prior.precision @ (theta - prior.mean)
    total = information + prior.precision
    low = np.where(layout.active, np.where(prior.positive, 0.0, floor(numbers)), -np.inf)
    free, step = layout.active.copy(), np.zeros(layout.size)
    for _ in range(layout.size):
        at = np.flatnonzero(free)
        size = np.sqrt(np.diag(total)[at])
        right = slope[at] - total[at] @ np.where(free, 0.0, step)
        step[at] = np.linalg.solve(total[np.ix_(at, at)] / size[:, None] / size, right / size) / size
        # a number that would pass its bound goes there, and the others are asked again
        out = free & (theta + step < low)
        if not out.any():
            break
        step[out] = (low - theta)[out]
        free &= ~out
    decrement = float(slope @ step - 0.5 * step @ total @ step)
    # equation of state: no bold steps in what the others lean on
    limit = np.full(layout.size, np.inf)
    limit[[Thermal.LOG_TEMPERATURE, Thermal.BEND]] = 0.3, 0.3
    for k in (Thermal.SOFTNESS, Thermal.MOLECULES):
        limit[k] = STRIDE * np.abs(theta[k])
    limit[[Thermal.COLD_PRESSURE, Thermal.COLD_STIFFNESS]] = STRIDE * max(abs(theta[Thermal.MOLECULES]), 1.0)
    limit[Thermal.CONDUCTION] = STRIDE_CONDUCTION * max(numbers.conduction, even_conduction(numbers), 1e-100)
    limit[layout.net] = STRIDE_NET
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = float(np.nanmin(np.where(np.abs(step) > limit, limit / np.abs(step), 1.0)))
    return np.where(layout.active, np.maximum(theta + min(shrink, pace) * step, low), theta), decrement


def floor(numbers: FluidNumbers) -> np.ndarray:
    """Lowest value of every number, -inf where it may be negative.

    Friction keeps a little of either kind, as its Laplacian is to be inverted.
    """
    radial = numbers.layout.radial
    out = np.full(numbers.layout.size, -np.inf)
    out[Thermal.SOFTNESS], out[Thermal.MOLECULES], out[Thermal.CONDUCTION] = 1e-7, 1e-6, 0.0
    out[radial] = 2e-3 * np.abs(numbers.vector[radial]).mean()
    return out


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """What is learned from what.

    Parameters
    ----------
    data : sequence of FluidSteps
        Trajectories learned from.
    layout : Layout
    start : (layout.size,) array
        Numbers to begin with.
    prior : Prior
    patterns : callable
        Numbers -> σ at the first frame of every trajectory.
    seed : int
        Of the probes.
    judge : callable, optional
        Numbers -> log-likelihood per particle and step, of data learned from and held out; asked only where somebody
        watches, after every second iteration, as it costs a third of one.
    what : str
        Name of the fit in progress messages.
    """

    data: Sequence[FluidSteps]
    layout: Layout
    start: np.ndarray
    prior: Prior
    patterns: Callable[[FluidNumbers], Sequence[np.ndarray]]
    seed: int
    judge: Callable[[FluidNumbers], tuple[float, float]] | None = None
    what: str = "fit"


@dataclass(frozen=True)
class ScoringLimits:
    """When scoring ends: decrement below `tolerance` (nats) or `iterations` done; `stop`, `keep_partial` as in
    `vid2dyn.fit`."""

    iterations: int
    tolerance: float
    stop: int | None = None
    keep_partial: bool = False


def _scored(task: ScoringTask, state: ScoringState) -> tuple[FluidNumbers, np.ndarray, np.ndarray]:
    """Score and information where the scoring is, or nearer to where it came from if there is no likelihood there.

    Raises
    ------
    ModelError
        When there is none after so many halvings of the step either.
    """
    theta, came_from = state.theta, state.theta if state.before is None else state.before
    for halved in range(HALVINGS + 1):
        numbers = FluidNumbers(theta, task.layout)
        error = UnusableNumbersError("the slope of the likelihood is not a number")
        try:
            score, information, _ = score_and_information(task.data, task.patterns(numbers), numbers, task.seed)
            if np.isfinite(score).all() and np.isfinite(information).all():
                return numbers, score, information
        except UnusableNumbersError as found:
            error = found
        if halved == HALVINGS or np.array_equal(theta, came_from):
            raise error
        theta = 0.5 * (theta + came_from)
    raise AssertionError("not reached")


def learn(task: ScoringTask, limits: ScoringLimits, place: Checkpoint = NOWHERE,
          progress: Progress = silent) -> ScoringState:
    """Scoring until a limit is met.

    A checkpoint is written after every iteration; what is found there under the same key is gone on from, so that a
    run killed anywhere ends with the same bits. Where a step leads to numbers without a likelihood, and parts of it do
    too, the numbers before it are the result (`ScoringState.blocked`).
    """
    iterations, tolerance, stop, what = limits.iterations, limits.tolerance, limits.stop, task.what
    state = ScoringState.load(place) or ScoringState(task.start)
    watched = task.judge is not None and progress.wants_likelihood
    try:
        while state.done < iterations and not (state.decrements and abs(state.decrements[-1]) < tolerance):
            if stop is not None and state.done >= stop:
                return replace(state, left_off=True)
            progress(state.done, iterations, what)
            try:
                numbers, score, information = _scored(task, state)
            except UnusableNumbersError as error:
                if state.before is None:
                    raise
                state = replace(state, theta=state.before, blocked=str(error))
                break
            new, decrement = improved(numbers, score, information, task.prior, state.pace)
            if not np.isfinite(new).all():
                raise ModelError("The fit diverged: a number of the fluid is not finite. The velocities may not be "
                                 "those of particles of this mass and frame rate; check both.")
            state = replace(state, theta=new, done=state.done + 1, decrements=(*state.decrements, decrement),
                            before=numbers.vector)
            progress.converging(state.done, abs(decrement), f"{what}: nats left to gain")
            state.save(place)
            if watched and (state.done % JUDGED == 1 or abs(decrement) < tolerance):
                assert task.judge is not None
                with contextlib.suppress(UnusableNumbersError):                    # the next iteration takes less
                    progress.likelihood(state.done, *task.judge(numbers.at(new)), what)
        progress(iterations, iterations, what)
    except Cancelled:
        if not limits.keep_partial or not state.done:
            raise
        return replace(state, left_off=True)
    return replace(state, left_off=stop is not None and state.done <= stop)
