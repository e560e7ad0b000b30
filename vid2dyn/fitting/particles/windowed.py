"""Fisher scoring of a list of terms on windows of motion, from a checkpoint bit for bit.

Start: forces by least squares, friction amplitudes so that the mean noise is right. Then steps of Fisher scoring with
exact scores (`vid2dyn.inference.window_score`), friction at least zero. The information, which changes slowly, comes
from every few windows. Nothing is random but the probes, which are keyed on seed, recording and first frame of the
window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import nnls

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.dynamics.terms.base import Parameters, Scene
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers, WindowModel
from vid2dyn.inference.windows import Terms, Window, mixing, window

KEEP = 1.5e9
"""Bytes of windows kept in memory; the others are read anew in every iteration."""
INFORMATION = 12
"""Windows that the information is taken from."""
LEAST_NOISE = 1e-3
"""Least unexplained noise, as a share of all noise: it keeps covariances regular."""
FIRST_NOISE = 0.3
"""Unexplained noise at the start, as the same share: with little of it scoring listens first to the few directions that
a rough guess of the friction leaves without noise."""
DEEPEST = 0.1
"""Least part of a friction amplitude, or of the unexplained noise, that is left after one iteration."""
CUTS = 6
"""Most times that a step is cut."""
SHORTEST, LONGEST = 0.1, 0.7
"""Least and most of it that is left by a cut."""
BOLDEST = 0.5
"""Largest change of ln kT in one iteration."""


@dataclass(frozen=True, eq=False)
class Observed:
    """What is learned from: recordings, windows in them, and a first frame of each.

    Parameters
    ----------
    recordings : tuple of FluidSteps
    starts : tuple of (recording, first frame)
    frames : int
        k.
    shown : float
        Share of the noise that a window shows.
    log_kT, log_kT_error : float
        Of the velocities alone, where they are at equilibrium; an infinite error: they do not count.
    """

    recordings: tuple[FluidSteps, ...]
    starts: tuple[tuple[int, int], ...]
    frames: int
    shown: float
    log_kT: float = 0.0
    log_kT_error: float = math.inf

    def only(self, most: int) -> Observed:
        """The same with at most so many windows, evenly taken."""
        if len(self.starts) <= most:
            return self
        rows = np.unique(np.linspace(0, len(self.starts) - 1, most).round().astype(int))
        return replace(self, starts=tuple(self.starts[k] for k in rows))

    def of(self, recordings: tuple[FluidSteps, ...], most: int) -> Observed:
        """At most so many windows of other recordings, of the same length."""
        return replace(self, recordings=recordings, starts=window_starts(recordings, self.frames, most))


def window_starts(recordings: Sequence[FluidSteps], frames: int, most: int,
                  first: int = 0) -> tuple[tuple[int, int], ...]:
    """First frames of windows that do not overlap, evenly over all recordings; `first`: frame to begin with."""
    total = sum(max(0, part.count - first) for part in recordings)
    found = []
    for r, part in enumerate(recordings):
        room = max(0, part.count - first)
        count = min(room // frames, max(1, round(most * room / max(total, 1))))
        found += [(r, int(start)) for start in np.linspace(first, part.count - frames, count)] if count else []
    return tuple(found)


@dataclass(frozen=True, eq=False)
class WindowSet:
    """Windows of some terms, kept in memory as far as there is room."""

    seen: Observed
    terms: Terms
    seed: int = 0
    _kept: dict[tuple[int, int], Window] = field(default_factory=dict, repr=False)

    def window(self, place: tuple[int, int]) -> Window:
        """The window that starts there."""
        if place not in self._kept:
            part = self.seen.recordings[place[0]]
            found = window(part, place[0], place[1], self.seen.frames, self.terms)
            if (len(self._kept) + 1) * (found.columns.nbytes + found.impulse.nbytes) > KEEP:
                return found
            self._kept[place] = found
        return self._kept[place]

    def models(self, numbers: Numbers) -> Iterator[tuple[tuple[int, int], WindowModel, np.random.Generator]]:
        """Every window under some numbers, with its random numbers."""
        seen, terms = self.seen, self.terms
        for place in seen.starts:
            part = seen.recordings[place[0]]
            yield place, WindowModel(
                self.window(place), mixing(part, place[1], seen.frames, terms),
                mixing(part, place[1], seen.frames, terms, single=True), terms, numbers,
                1.0 / terms.mass[part.species], seen.shown), np.random.default_rng([self.seed, *place])


@dataclass(frozen=True, eq=False)
class Learned:
    """Where scoring is or has ended.

    Parameters
    ----------
    numbers : Numbers
    done : int
        Iterations.
    decrements : tuple of float
        What each was expected to gain [nats].
    information : (numbers, numbers) array
        Of the data, and with the prior (`total`).
    scores : (windows, numbers) array
        At the numbers before the last step.
    chi2 : (windows,) array
        R·C⁻¹R over its expectation.
    left_off : bool
        Stopped before the end.
    """

    numbers: Numbers
    done: int = 0
    decrements: tuple[float, ...] = ()
    information: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    total: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    scores: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    chi2: np.ndarray = field(default_factory=lambda: np.empty(0))
    left_off: bool = False


@dataclass(frozen=True, eq=False)
class Task:
    """What is learned, from what, and until when.

    Parameters
    ----------
    windows : WindowSet
    scene : Scene
    iterations : int
    tolerance : float
        The end: less than this is left to be gained [nats].
    what : str
        For progress.
    """

    windows: WindowSet
    scene: Scene
    iterations: int
    tolerance: float
    what: str
    stop: int | None = None
    keep_partial: bool = False

    @property
    def terms(self) -> Terms:
        """Of the windows."""
        return self.windows.terms

    def parameters(self) -> list[Parameters]:
        """Of every term."""
        terms = self.terms
        return [term.parameters(self.scene) for term in (*terms.energies, *terms.frictions)]


def start_numbers(task: Task) -> Numbers:
    """Forces by least squares; friction amplitudes from the noise of every particle, by least squares that keeps them
    positive.
    """
    windows, terms = task.windows, task.terms
    P, F = terms.of_energies, terms.of_frictions
    known = task.parameters()
    theta = np.concatenate([np.zeros(0), *(p.start for p in known)])
    normal, right = np.zeros((P, P)), np.zeros(P)
    few = windows.seen.only(INFORMATION).starts
    for place in few:
        one = windows.window(place)
        flat = one.columns[:P].reshape(P, one.impulse.size)
        normal += flat @ flat.T
        right += flat @ one.impulse.ravel()
    if P:
        size = np.sqrt(np.diag(normal)) + 1e-12 * math.sqrt(np.trace(normal) + 1e-300)
        theta[:P] = -np.linalg.solve(normal / size[:, None] / size + 1e-8 * np.eye(P), right / size) / size
    kT = task.scene.kT
    if not F:
        return Numbers(theta, kT, 1.0)
    rows, values = [], []
    for place in few:
        one, part = windows.window(place), windows.seen.recordings[place[0]]
        left = one.impulse + np.tensordot(theta[:P], one.columns[:P], axes=1)
        mix = mixing(part, place[1], windows.seen.frames, terms)
        rows.append(_diagonals(mix, F, part.dim))
        values.append((left**2).mean(axis=1))
    A, b = 2.0 * kT * windows.seen.shown * np.concatenate(rows), np.concatenate(values)
    weight = 1.0 / (A.mean(axis=1) * b.mean() / max(A.mean(), 1e-300) + b.mean())
    phi, _ = nnls(A * weight[:, None], b * weight)
    guess = theta[P:] * b.mean() / max(float((A @ theta[P:]).mean()), 1e-300)
    theta[P:] = np.maximum(phi, 0.05 * guess)
    friction = mean_friction(task.windows, theta)
    if not friction > 0:
        raise ModelError("The motion shows no friction within the range of the friction terms: what is left of the "
                         "momentum changes when forces are taken off is zero. Check velocities and cutoff.")
    return Numbers(theta, kT, FIRST_NOISE * float(b.mean()) / (2.0 * kT * windows.seen.shown * mix.length))


def least_noise(task: Task) -> float:
    """Least unexplained noise [mass/s], a share of all noise of the data: a share of the friction that is being learned
    would move while it is.
    """
    return LEAST_NOISE / FIRST_NOISE * start_numbers(task).unexplained if task.terms.of_frictions else 0.0


def _diagonals(mix, count: int, dim: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Mean over directions of the diagonal blocks of ∂A/∂φ_k, (n, count)."""
    n = len(mix.node_which)
    out = np.zeros((n, count))
    size = ((dim - 1) * mix.columns.across + mix.columns.along) / dim
    for ends in (mix.first, mix.second):
        np.add.at(out, (ends[:, None], mix.columns.which), size)
    for m in range(mix.node_which.shape[1]):
        np.add.at(out, (np.arange(n), mix.node_which[:, m]), mix.node_drag[:, m])
    return out


def friction_slopes(windows: WindowSet) -> np.ndarray:
    """Slopes of Γ of a particle, mean over particles, directions and some windows, in the amplitudes, (amplitudes,)."""
    terms, found = windows.terms, []
    for place in windows.seen.only(4).starts:
        part = windows.seen.recordings[place[0]]
        mix = mixing(part, place[1], windows.seen.frames, terms)
        found.append(_diagonals(mix, terms.of_frictions, part.dim).mean(axis=0) / mix.length)
    return np.mean(found, axis=0)


def mean_friction(windows: WindowSet, theta: np.ndarray) -> float:
    """Γ of a particle [mass/s]; see `friction_slopes`."""
    return float(friction_slopes(windows) @ theta[windows.terms.of_energies:])


def score_all(task: Task, numbers: Numbers, done: int = 0, progress: Progress = silent) -> Learned:
    """Score of every window and the information, at some numbers."""
    windows = task.windows
    starts = windows.seen.starts
    every = max(1, len(starts) // INFORMATION)
    size = len(numbers.vector)
    information, counted = np.zeros((size, size)), 0
    scores, chi2 = np.zeros((len(starts), size)), np.zeros(len(starts))
    for w, (_, model, rng) in enumerate(windows.models(numbers)):
        progress(done * len(starts) + w, (task.iterations + 1) * len(starts), task.what)
        wanted = w % every == every // 2
        found = model.scored(rng, information=wanted)
        scores[w], chi2[w] = found.score, found.chi2 / max(1, found.freedom)
        if found.information is not None:
            information += found.information
            counted += 1
    return Learned(numbers, information=information * len(starts) / max(1, counted), scores=scores, chi2=chi2)


def prior(task: Task, numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Precision of all numbers and the slope of the prior at `numbers`."""
    seen, terms = task.windows.seen, task.terms
    size = len(numbers.vector)
    precision, slope = np.zeros((size, size)), np.zeros(size)
    # a friction that has come down to zero is still a friction, with a prior of finite width
    least = max(1e-3 * float(numbers.theta[terms.of_energies:].mean()), 1e-100) if terms.of_frictions else 1.0
    for (_, place), known in zip(terms.slices(), task.parameters(), strict=True):
        theta = numbers.theta[place]
        scale = max(float(theta.mean()), least) if known.positive else 1.0
        precision[place, place] = known.precision / scale**2
        slope[place] = -precision[place, place] @ theta
    precision[-2, -2] = seen.log_kT_error**-2
    slope[-2] = -precision[-2, -2] * (math.log(numbers.kT) - seen.log_kT)
    return precision, slope


def learn(task: Task, place: Checkpoint = NOWHERE, progress: Progress = silent,
          start: Numbers | None = None) -> Learned:
    """Scoring until nothing is left to be gained; a checkpoint after every iteration.

    Raises
    ------
    ModelError
        When numbers stop being finite.
    """
    kept = place.load()
    if kept is not None:
        state = Learned(Numbers.of(kept["vector"]), int(kept["done"]),
                        tuple(np.atleast_1d(kept["decrements"]).tolist()))
    else:
        state = Learned(start or start_numbers(task))
    floor, scored = least_noise(task), None
    state = replace(state, numbers=replace(state.numbers, unexplained=max(state.numbers.unexplained, floor)))
    try:
        while True:
            finished = state.done >= task.iterations or (bool(state.decrements)
                                                         and abs(state.decrements[-1]) < task.tolerance)
            stopped = task.stop is not None and state.done >= task.stop
            scored = scored or score_all(task, state.numbers, state.done, progress)
            new, decrement, total = _improved(task, state.numbers, scored, floor)
            if finished or stopped:
                progress(task.iterations, task.iterations, task.what)
                return replace(scored, done=state.done, decrements=state.decrements, total=total,
                               left_off=stopped and not finished)
            if not np.isfinite(new.vector).all():
                raise ModelError("The fit diverged: a number is not finite. The velocities may not be those of "
                                 "particles of this mass and frame rate; check both.")
            ahead = _searched(task, scored, new, state.done, progress)
            state = replace(scored, numbers=ahead.numbers, done=state.done + 1,
                            decrements=(*state.decrements, decrement), total=total)
            scored = ahead
            progress.converging(state.done, abs(decrement), f"{task.what}: nats left to gain")
            place.save({"vector": state.numbers.vector, "done": state.done, "decrements": np.array(state.decrements)})
    except Cancelled:
        if not task.keep_partial or not len(state.scores):
            raise
        return replace(state, left_off=True)


def _searched(task: Task, here: Learned, new: Numbers, done: int, progress: Progress) -> Learned:
    """Scores at the end of a step, or nearer to its start where the log-likelihood falls at its end.

    Fisher scoring of covariances overshoots where some of them are near zero: what is learned then comes from those
    alone. The slope along the step tells: as long as it falls by more than half of what it rises at the start, the step
    is cut to where the two slopes let expect the maximum, or where covariances have no inverse at its end, to a part.

    Raises
    ------
    ModelError
        When there is no likelihood anywhere along the step.
    """
    before = here.numbers.vector
    along = new.vector - before
    rise = float(_slope(task, here) @ along)
    part = 1.0
    for cut in range(CUTS + 1):
        try:
            ahead = score_all(task, Numbers.of(before + part * along), done + 1, progress)
        except ModelError:
            if cut == CUTS:
                raise
            part *= SHORTEST
            continue
        fall = -float(_slope(task, ahead) @ along)
        if fall <= max(0.5 * rise, task.tolerance / part) or cut == CUTS:
            break
        part *= min(max(max(rise, 0.0) / (max(rise, 0.0) + fall), SHORTEST), LONGEST)
    return ahead


def _slope(task: Task, scored: Learned) -> np.ndarray:
    """Of the log-likelihood with the prior."""
    return scored.scores.sum(axis=0) + prior(task, scored.numbers)[1]


def _improved(task: Task, numbers: Numbers, scored: Learned,
              least: float = 0.0) -> tuple[Numbers, float, np.ndarray]:
    """The numbers after a step within bounds, its decrement, and information with the prior."""
    terms, vector = task.terms, numbers.vector
    precision, pull = prior(task, numbers)
    slope, total = scored.scores.sum(axis=0) + pull, scored.information + precision
    low = np.full(len(vector), -np.inf)
    low[terms.of_energies:-2] = DEEPEST * vector[terms.of_energies:-2]
    low[-1] = max(least, DEEPEST * vector[-1])
    free, step = np.ones(len(vector), bool), np.zeros(len(vector))
    for _ in range(len(vector)):
        at = np.flatnonzero(free)
        size = np.sqrt(np.maximum(np.diag(total)[at], 1e-300))
        right = slope[at] - total[at] @ np.where(free, 0.0, step)
        step[at] = np.linalg.lstsq(total[np.ix_(at, at)] / size[:, None] / size, right / size, rcond=1e-12)[0] / size
        out = free & (vector + step < low)
        if not out.any():
            break
        step[out] = (low - vector)[out]
        free &= ~out
    decrement = float(slope @ step - 0.5 * step @ total @ step)
    shrink = min(1.0, BOLDEST / max(abs(float(step[-2])), 1e-300))
    new, change = vector + shrink * step, shrink * float(step[-2])
    # noise shows kT times friction: a step in that product and in ln kT is the same to first order, and does not let kT
    # run away while friction goes to zero
    noisy = np.r_[terms.of_energies:len(vector) - 2, len(vector) - 1]
    new[noisy] = math.exp(-change) * (new[noisy] + change * vector[noisy])
    return Numbers.of(np.maximum(new, low)), decrement, total
