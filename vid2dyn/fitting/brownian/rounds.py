"""Rounds of the correction of a Brownian fit: recorded one by one, kept in a checkpoint, the best one remembered.

Round 1 is the estimate before any correction; every further one makes recordings of the model and corrects
(`indirect`). The best round is the one that changed the forces least: the last one if corrections settle, another one
if they swing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.dynamics.brownian import species_pairs
from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.joint import JointParameters
from vid2dyn.fitting.brownian.regression import Solution, regularised, sandwich
from vid2dyn.fitting.course import Course, RunControl


class Stopped(Exception):
    """Raised when as many rounds are done as were asked for."""


@dataclass(frozen=True, eq=False)
class Round:
    """What one round found, and what undoes the estimator's errors according to it.

    `change`: of the coefficients, in this round, and its relative `size`. `train`: parameters learned without the data
    kept aside.
    """

    parameters: JointParameters
    train: JointParameters
    distortion: np.ndarray
    change: np.ndarray
    size: float
    smoothness: float

    def covariance(self, seen: ForceMoments, penalty: np.ndarray, dt: float) -> np.ndarray:
        """Covariance of the coefficients, without synthetic recordings.

        Scatter over blocks of time, roughness the penalty may have taken away (see `indirect`), and the change of the
        last round as one error.
        """
        K = np.linalg.inv(regularised(seen.A, penalty, self.smoothness))
        naive = K @ seen.B
        roughness = 2 * self.smoothness / noise_unit(self.parameters, dt) * K @ penalty @ K
        undo = np.linalg.inv(self.distortion)
        scatter = undo @ (K @ sandwich(seen, naive) @ K + roughness) @ undo.T
        return scatter + np.outer(self.change, self.change)


def noise_unit(p: JointParameters, dt: float) -> np.ndarray | float:
    """D dt, by which the noise of b is measured [µm²]; of a mixture (unknowns, unknowns), with D of the two ends."""
    if len(p.diffusion) == 1:
        return float(p.diffusion[0]) * dt
    D = np.full(len(p.coefficients), p.diffusion.mean())
    for kind, (a, b) in enumerate(species_pairs(len(p.diffusion))):
        if p.field.splines:
            D[p.field.part(kind)] = 0.5 * (p.diffusion[a] + p.diffusion[b])
    return np.sqrt(np.outer(D, D)) * dt


class Rounds:
    """The course of a fit, and where it is.

    Parameters
    ----------
    evaluate : callable
        JointParameters -> (train, held-out) log-likelihood of a datum.
    first : JointParameters
        Force functions and centres, which no round changes.
    control : RunControl
        Checkpoint, callback, and the rounds after which `check_stop` raises `Stopped`.

    Attributes
    ----------
    course : Course
        Likelihoods of all rounds.
    best, best_round : Round or None, int
        The round that changed the forces least, and its number.
    attempt : int
        How often the smoothness was raised.
    corrections : list of float
        Relative size of each correction of this attempt.
    current : JointParameters or None
        Found by the last round of this attempt; None before the first.
    """

    def __init__(self, evaluate: Callable[[JointParameters], tuple[float, float]], first: JointParameters,
                 control: RunControl) -> None:
        self.evaluate, self.first, self.control = evaluate, first, control
        self.course = Course("log-likelihood per particle and step")
        self.best: Round | None = None
        self.best_round = 0
        self.attempt = 0
        self.corrections: list[float] = []
        self.current: JointParameters | None = None
        self._resume()

    def _resume(self) -> None:
        state = self.control.place.load()
        if state is None:
            return
        self.course.replay(self.control.progress, state["train"].tolist(), state["held_out"].tolist())
        self.attempt, self.corrections = int(state["attempt"]), state["corrections"].tolist()
        self.current = self._parameters(state, "now") if state["going"] else None
        self.best_round = int(state["best_round"])
        self.best = Round(self._parameters(state, "best"), self._parameters(state, "best_train"), state["distortion"],
                          state["change"], state["size"], state["smoothness"])

    def _parameters(self, state: dict[str, Any], name: str) -> JointParameters:
        return self.first.with_numbers(np.array(state[name]))

    def check_stop(self) -> None:
        """Raise `Stopped` if as many rounds are done as were asked for."""
        if self.control.stop is not None and self.course.rounds >= self.control.stop:
            raise Stopped

    def start_attempt(self, attempt: int) -> None:
        """Forget the corrections of an earlier attempt; this one has a smoother estimate."""
        if attempt != self.attempt:
            self.attempt, self.corrections, self.current = attempt, [], None

    def record(self, found: Round, last: bool = False) -> None:
        """Add one more round. The `last` of an attempt is not kept on disk, as what it found beside the numbers is
        needed to end."""
        self.course.record(self.control.progress, *self.evaluate(found.train))
        if np.isfinite(found.size):
            self.corrections.append(found.size)
            self.current = found.parameters
        if self.best is None or found.size <= self.best.size:
            self.best, self.best_round = found, self.course.rounds
        if not last:
            self._save()

    def _save(self) -> None:
        """Write the checkpoint."""
        best, current = self.best, self.current
        assert best is not None
        self.control.place.save({
            "train": self.course.train, "held_out": self.course.held_out, "attempt": self.attempt,
            "corrections": self.corrections, "going": int(current is not None), "best_round": self.best_round,
            "now": (current or best.parameters).numbers(), "best": best.parameters.numbers(),
            "best_train": best.train.numbers(), "distortion": best.distortion, "change": best.change,
            "size": float(best.size), "smoothness": float(best.smoothness)})


def before_correction(p: JointParameters, train: JointParameters, naive: Solution) -> Round:
    """Round 1."""
    size = len(naive.coefficients)
    return Round(p, train, np.eye(size), np.zeros(size), math.inf, naive.smoothness)
