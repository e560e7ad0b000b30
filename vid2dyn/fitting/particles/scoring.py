"""Fisher scoring of any likelihood: a step within bounds, a search along it, error bars, and checkpoints bit for bit.

A likelihood (`Likelihood`) gives the score of its blocks (windows, steps) and the expected information at some numbers;
this file does the rest. A step solves information · step = score, with the prior in both; numbers that would pass their
bound go there and the others are asked again (an active set). Information is that of the model at the numbers it is
asked at, so steps overshoot where covariances are near zero there. They may also end where there is no likelihood at
all: covariances without an inverse, heat that cannot be followed. The slope along a step tells, and the step is cut
(`_searched`).

Everything random in a score is keyed on seed and block, so it is a smooth function, and a fit that was killed goes on
from its checkpoint to the same bytes.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress, silent

CUTS = 6
"""Most times that a step is cut."""
SHORTEST, LONGEST = 0.1, 0.7
"""Least and most of it that is left by a cut."""
NOTHING_GAINED = 0.9
"""What is left to gain after a step that brought nothing, over what it was before."""
LEAST_PACE = 0.03
"""Least part of a step that is tried first."""
JUDGED = 2
"""Iterations between those that are judged while somebody watches."""
SEEN = 1e-4
"""Least information in a direction, over the largest, for the scatter of its scores to count."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A likelihood at some numbers.

    Parameters
    ----------
    vector : (numbers,) array
    scores : (blocks, numbers) array
        Slope of the log-likelihood of every block.
    information : (numbers, numbers) array
        Of all blocks.
    """

    vector: np.ndarray
    scores: np.ndarray
    information: np.ndarray


class Likelihood(ABC):
    """What scoring asks of data and a model with numbers."""

    what: str
    """Name of the fit in progress messages."""
    overshoot: float = 0.5
    """How much the log-likelihood may fall at the end of a step, over what it rises at the start, before it is cut."""

    @property
    def pieces(self) -> int:
        """Parts of an evaluation that progress is told of."""
        return 1

    @abstractmethod
    def start(self) -> np.ndarray:
        """Numbers to begin with, (numbers,)."""

    @abstractmethod
    def scored(self, vector: np.ndarray, told: Callable[[int], None] = lambda piece: None) -> Scored:
        """Score and information; `told` is called with the number of every piece.

        Raises
        ------
        ModelError
            Where there is no likelihood.
        """

    @abstractmethod
    def prior(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Precision of a Gaussian prior, (numbers, numbers), and its slope at some numbers."""

    @abstractmethod
    def lowest(self, vector: np.ndarray) -> np.ndarray:
        """Bounds of the next numbers, -inf where there is none."""

    @abstractmethod
    def after(self, vector: np.ndarray, step: np.ndarray) -> np.ndarray:
        """The numbers after a step: no bold steps in what the others lean on. Bounds are seen to."""

    def learned(self, vector: np.ndarray) -> np.ndarray:
        """Which numbers are learned, bool; the others stay."""
        return np.ones(len(vector), bool)

    def allowed(self, vector: np.ndarray) -> np.ndarray:
        """Numbers that scoring may begin with in place of these."""
        return vector

    def watched(self, vector: np.ndarray) -> tuple[float, float] | None:
        """Log-likelihood of a datum, of data learned from and held out, if it is to be had; asked where somebody
        watches, after every second iteration."""
        return None


@dataclass(frozen=True)
class Limits:
    """When scoring ends: decrement below `tolerance` (nats) or `iterations` done; `stop`, `keep_partial` as in
    `vid2dyn.fit`."""

    iterations: int
    tolerance: float
    stop: int | None = None
    keep_partial: bool = False


@dataclass(frozen=True, eq=False)
class Learned:
    """Where scoring has ended.

    Parameters
    ----------
    at : Scored
        The numbers, with their score.
    total : (numbers, numbers) array
        Information with that of the prior.
    done : int
        Iterations.
    decrements : tuple of float
        What a quadratic log-likelihood would have gained within the bounds before each of them [nats].
    left_off : bool
        Stopped before the end, but after an iteration.
    blocked : str
        Why there is no likelihood further on, where that is what ended the scoring.
    """

    at: Scored
    total: np.ndarray
    done: int
    decrements: tuple[float, ...]
    left_off: bool = False
    blocked: str = ""

    @property
    def vector(self) -> np.ndarray:
        """The numbers."""
        return self.at.vector


def learn(likelihood: Likelihood, limits: Limits, place: Checkpoint = NOWHERE, progress: Progress = silent,
          start: np.ndarray | None = None) -> Learned:
    """Scoring until a limit is met; a checkpoint after every iteration.

    Raises
    ------
    ModelError
        Where there is no likelihood at the start, or when numbers stop being finite.
    """
    kept, what = place.load(), likelihood.what
    if kept is not None:
        vector, done = kept["vector"], int(kept["done"])
        decrements = tuple(np.atleast_1d(kept["decrements"]).tolist())
    else:
        vector, done, decrements = likelihood.start() if start is None else start, 0, ()
    state: Learned | None = None

    def scored(vector: np.ndarray) -> Scored:
        """As one of iterations + 1 evaluations, of which `done` are behind."""
        at = done if state is None else done + 1
        return likelihood.scored(vector, lambda piece: progress(
            at * likelihood.pieces + piece, (limits.iterations + 1) * likelihood.pieces, what))

    try:
        here = scored(likelihood.allowed(vector))
        while True:
            new, decrement, total = ascent(likelihood, here)
            state = Learned(here, total, done, decrements)
            stopped = limits.stop is not None and done >= limits.stop
            if stopped or done >= limits.iterations or (decrements and abs(decrements[-1]) < limits.tolerance):
                progress(limits.iterations, limits.iterations, what)
                return replace(state, left_off=stopped)
            progress(done * likelihood.pieces, (limits.iterations + 1) * likelihood.pieces, what)
            if not np.isfinite(new).all():
                raise ModelError("The fit diverged: a number is not finite. The velocities may not be those of "
                                 "particles of this mass and frame rate; check both.")
            try:
                here = _searched(likelihood, here, new, limits.tolerance, scored, pace(decrements))
            except ModelError as error:
                return replace(state, blocked=str(error))
            done, decrements = done + 1, (*decrements, decrement)
            progress.converging(done, abs(decrement), f"{what}: nats left to gain")
            place.save({"vector": here.vector, "done": done, "decrements": np.array(decrements)})
            if progress.wants_likelihood and (done % JUDGED == 1 or abs(decrement) < limits.tolerance):
                with contextlib.suppress(ModelError):                                      # the next step goes less far
                    if (judged := likelihood.watched(here.vector)) is not None:
                        progress.likelihood(done, *judged, what)
    except Cancelled:
        if not limits.keep_partial or state is None or not state.done:
            raise
        return replace(state, left_off=True)


def ascent(likelihood: Likelihood, here: Scored) -> tuple[np.ndarray, float, np.ndarray]:
    """The numbers after a step within bounds, its decrement, and information with the prior."""
    vector = here.vector
    precision, pull = likelihood.prior(vector)
    slope, total = here.scores.sum(axis=0) + pull, here.information + precision
    low = likelihood.lowest(vector)
    free, step = likelihood.learned(vector), np.zeros(len(vector))
    for _ in range(len(vector)):
        at = np.flatnonzero(free)
        size = np.sqrt(np.maximum(np.diag(total)[at], 1e-300))
        right = slope[at] - total[at] @ np.where(free, 0.0, step)
        step[at] = np.linalg.lstsq(total[np.ix_(at, at)] / size[:, None] / size, right / size, rcond=1e-12)[0] / size
        # a number that would pass its bound goes there, and the others are asked again
        out = free & (vector + step < low)
        if not out.any():
            break
        step[out] = (low - vector)[out]
        free = free & ~out
    decrement = float(slope @ step - 0.5 * step @ total @ step)
    return np.maximum(likelihood.after(vector, step), low), decrement, total


def pace(decrements: Sequence[float]) -> float:
    """Part of the next step to go: halved whenever one before brought nothing, as those do that come back from where
    they overshot, and longer again afterwards.

    A net of an equation of state has directions in which the likelihood bends nine times as much as its information
    says. Steps went to and fro there, each within what `overshoot` allows.

    >>> pace([8.0, 1.0]), pace([8.0, 8.5]), pace([8.0, 8.5, 2.0])
    (1.0, 0.5, 0.6)
    """
    part = 1.0
    for before, after in itertools.pairwise(map(abs, decrements)):
        part = max(0.5 * part, LEAST_PACE) if after > NOTHING_GAINED * before else min(1.2 * part, 1.0)
    return part


def _searched(likelihood: Likelihood, here: Scored, new: np.ndarray, tolerance: float,
              scored: Callable[[np.ndarray], Scored], part: float = 1.0) -> Scored:
    """The end of a step, of which a `part` is tried first, or a place nearer to its start where the log-likelihood
    falls at its end.

    As long as it falls by more than `overshoot` of what it rises at the start, the step is cut to where the slopes let
    expect the maximum, or where there is no likelihood at its end, to a part. Steps overshoot where the curvature grows
    along them (valleys that bend, covariances that come down to zero), so the slope is taken to fall as the square of
    the way: a fluid needs a quarter fewer evaluations than with a slope that falls evenly.

    Raises
    ------
    ModelError
        When there is no likelihood anywhere along the step.
    """
    along = new - here.vector
    rise = float(_slope(likelihood, here) @ along)
    for cut in range(CUTS + 1):
        try:
            ahead = scored(here.vector + part * along)
        except ModelError:
            if cut == CUTS:
                raise
            part *= SHORTEST
            continue
        fall = -float(_slope(likelihood, ahead) @ along)
        if fall <= max(likelihood.overshoot * rise, tolerance / part) or cut == CUTS:
            break
        part *= min(max(math.sqrt(max(rise, 0.0) / (max(rise, 0.0) + fall)), SHORTEST), LONGEST)
    return ahead


def _slope(likelihood: Likelihood, at: Scored) -> np.ndarray:
    """Of the log-likelihood with the prior."""
    return at.scores.sum(axis=0) + likelihood.prior(at.vector)[1]


def inverse(total: np.ndarray) -> np.ndarray:
    """Of an information, on the scale of its numbers."""
    size = np.sqrt(np.maximum(np.diag(total), 1e-300))
    return np.linalg.pinv(total / size[:, None] / size, rcond=1e-10, hermitian=True) / size[:, None] / size


def widened(total: np.ndarray, information: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Covariance of the numbers, widened by how much more scores scatter than they should, and that ratio.

    Parameters
    ----------
    total : (numbers, numbers) array
        Information with the prior.
    information : (numbers, numbers) array
        That the model expects of one block.
    scores : (blocks, numbers) array
    """
    size = np.sqrt(np.maximum(np.diag(total), 1e-300))
    values, vectors = np.linalg.eigh(information / size[:, None] / size)
    good, count = values > SEEN * values.max(), len(scores)
    # whitened: 1 in every direction if the model is right; the mean score is that of the prior
    white = ((scores - scores.mean(axis=0)) / size) @ vectors[:, good] / np.sqrt(values[good])
    excess = float((white**2).mean()) * count / max(1, count - 1)
    return inverse(total) * max(1.0, excess), excess
