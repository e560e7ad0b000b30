"""The likelihood of a fluid as scoring sees it: start from moments, prior, bounds, score and information.

The likelihood itself is `vid2dyn.inference.score`. It is that of a whole recording from its first frame on, since
entropy is carried through it. S is zero in the mean at the first frame of the first recording; how much warmer or
colder every further one starts is one more number, learned beside those of the fluid (shifts of S, which stand last).
Found anew from its first steps at all numbers instead, it is not where the likelihood of the whole recording is
highest, and scoring does not settle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.terms.base import Parameters
from vid2dyn.dynamics.terms.convex_net import WIDTHS, start_units
from vid2dyn.fitting.particles.scoring import Likelihood, Scored
from vid2dyn.inference import sums
from vid2dyn.inference.geometry import StepGeometry
from vid2dyn.inference.heat import UnusableNumbersError
from vid2dyn.inference.score import sweep
from vid2dyn.inference.step import evaluate_state
from vid2dyn.inference.steps import FluidSteps

EVERY = 10
"""Steps between those whose information is worked out."""
OWN = 0.5
"""Least part of the pressure that the gas starts with beside energies that can do the same."""
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
STRIDE_START = 0.3
"""Largest change of ln T at the start of a further recording in one iteration."""
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
    theta[Thermal.SOFTNESS] = gas_softness(theta[Thermal.MOLECULES])
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


def gas_softness(molecules: float) -> float:
    """Of a gas of molecules with three degrees of freedom."""
    return 1.0 / (1.5 * max(molecules, 1e-6))


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
                          every: int = EVERY,
                          shifts: Sequence[float] | np.ndarray = ()) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all windows, one trajectory after the other, (windows, numbers), and their information.

    shifts: of S at the start of every trajectory but the first; its numbers stand last. Without them all trajectories
    start as they are given.
    """
    count = numbers.layout.size
    scores, information = [], np.zeros((count + len(shifts), count + len(shifts)))
    for k, (part, start) in enumerate(zip(data, starts, strict=True)):
        own, rows = numbers, np.arange(count)
        if k and len(shifts):
            own, rows[Thermal.START] = numbers.starting(shifts[k - 1]), count + k - 1
        found = sweep(part, own, start, information_every=max(1, every // part.frames), seed=seed)
        scores.append(np.zeros((len(found.score), len(information))))
        scores[-1][:, rows] = found.score
        information[np.ix_(rows, rows)] += found.information
    return np.concatenate(scores), information


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
class FluidLikelihood(Likelihood):
    """Of recordings of a fluid.

    Parameters
    ----------
    data : sequence of FluidSteps
        Trajectories learned from.
    begin : FluidNumbers
        Numbers to begin with.
    believed : Prior
    patterns : callable
        Numbers -> σ at the first frame of every trajectory, up to its shift.
    seed : int
        Of the probes.
    shifts : tuple of float
        Of S at the start of every trajectory but the first, to begin with. Empty: all start as the first, as where
        there is no heat.
    judge : callable, optional
        Numbers -> log-likelihood per particle and step, of data learned from and held out; costs a third of an
        iteration.
    what : str

    Steps may overshoot: from there the next one comes back, while every cut costs a sweep over all data. Four small
    gases took a tenth more sweeps with the half of windows (`overshoot`); with ten times the rise, one did not find the
    way back in 30 iterations.
    """

    overshoot = 3.0
    data: Sequence[FluidSteps]
    begin: FluidNumbers
    believed: Prior
    patterns: Callable[[FluidNumbers], Sequence[np.ndarray]]
    seed: int
    shifts: tuple[float, ...] = ()
    judge: Callable[[FluidNumbers], tuple[float, float]] | None = None
    what: str = "fit"

    def numbers(self, vector: np.ndarray) -> FluidNumbers:
        """Those of the fluid."""
        return self.begin.at(vector[:self.begin.layout.size])

    def starts(self, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        """σ at the first frame of every trajectory."""
        shifts = [0.0, *vector[self.begin.layout.size:]] if self.shifts else [0.0] * len(self.data)
        return tuple(sigma + by for sigma, by in zip(self.patterns(self.numbers(vector)), shifts, strict=True))

    def evaluated(self, vector: np.ndarray, every: int) -> Scored:
        """Score, and information from every so many steps."""
        numbers = self.numbers(vector)
        return Scored(vector, *score_and_information(self.data, self.patterns(numbers), numbers, self.seed, every,
                                                     vector[numbers.layout.size:]))

    def start(self) -> np.ndarray:
        return np.concatenate([self.begin.vector, self.shifts])

    def scored(self, vector: np.ndarray, told: Callable[[int], None] = lambda piece: None) -> Scored:
        found = self.evaluated(vector, EVERY)
        if not (np.isfinite(found.scores).all() and np.isfinite(found.information).all()):
            raise UnusableNumbersError("the slope of the likelihood is not a number")
        return found

    def prior(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """That of a shift: a factor of e in temperature."""
        shifts = np.full(len(self.shifts), float(self.begin.softness) ** 2)
        precision = block_diag(self.believed.precision, np.diag(shifts))
        return precision, -precision @ (vector - self._with_shifts(self.believed.mean, 0.0))

    def learned(self, vector: np.ndarray) -> np.ndarray:
        return self._with_shifts(self.begin.layout.active, True)

    def lowest(self, vector: np.ndarray) -> np.ndarray:
        bounds = np.where(self.believed.positive, 0.0, floor(self.numbers(vector)))
        return self._with_shifts(np.where(self.begin.layout.active, bounds, -np.inf), -np.inf)

    def after(self, vector: np.ndarray, step: np.ndarray) -> np.ndarray:
        layout, numbers = self.begin.layout, self.numbers(vector)
        limit = np.full(len(vector), np.inf)
        limit[layout.size:] = STRIDE_START / max(float(numbers.softness), 1e-100)
        limit[[Thermal.LOG_TEMPERATURE, Thermal.BEND]] = 0.3, 0.3
        limit[Thermal.MOLECULES] = STRIDE * np.abs(vector[Thermal.MOLECULES])
        # a fluid that was taken for one at one temperature finds its way back
        limit[Thermal.SOFTNESS] = STRIDE * max(vector[Thermal.SOFTNESS], gas_softness(vector[Thermal.MOLECULES]))
        limit[[Thermal.COLD_PRESSURE, Thermal.COLD_STIFFNESS]] = STRIDE * max(abs(vector[Thermal.MOLECULES]), 1.0)
        limit[Thermal.CONDUCTION] = STRIDE_CONDUCTION * max(numbers.conduction, even_conduction(numbers), 1e-100)
        limit[layout.net] = STRIDE_NET
        with np.errstate(divide="ignore", invalid="ignore"):
            shrink = float(np.nanmin(np.where(np.abs(step) > limit, limit / np.abs(step), 1.0)))
        return vector + shrink * step

    def watched(self, vector: np.ndarray) -> tuple[float, float] | None:
        return None if self.judge is None else self.judge(self.numbers(vector))

    def _with_shifts(self, values: np.ndarray, fill: float) -> np.ndarray:
        return np.concatenate([values, np.full(len(self.shifts), fill, values.dtype)])
