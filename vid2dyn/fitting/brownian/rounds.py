"""Rounds of the correction of a Brownian fit: told one by one, kept in a checkpoint, the best one remembered.

Round 1 is the estimate before any correction, every further one films the model and corrects (`indirect`). The best
round is the one that changed the forces least: the last one if corrections settle, another one if they swing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vid2dyn.core.checkpoint import Checkpoint
from vid2dyn.core.progress import Progress
from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.regression import Solution, regularised, sandwich
from vid2dyn.fitting.brownian.synthetic import Parameters
from vid2dyn.fitting.course import Course


class Stopped(Exception):
    """As many rounds are done as were asked for."""


@dataclass(frozen=True, eq=False)
class Round:
    """What one round found, and what undoes the estimator's errors according to it.

    `change`: of the coefficients, in this round, and its relative `size`. `train`: parameters learned without the data
    kept aside.
    """

    parameters: Parameters
    train: Parameters
    distortion: np.ndarray
    change: np.ndarray
    size: float
    smoothness: float

    def covariance(self, seen: ForceMoments, penalty: np.ndarray, dt: float) -> np.ndarray:
        """Of the coefficients, without films: scatter over blocks of time, roughness the penalty may have taken away
        (see `indirect`), and the change of the last round as one error."""
        K = np.linalg.inv(regularised(seen.A, penalty, self.smoothness))
        naive = K @ seen.B
        roughness = 2 * self.smoothness / (self.parameters.diffusion * dt) * K @ penalty @ K
        undo = np.linalg.inv(self.distortion)
        scatter = undo @ (K @ sandwich(seen, naive) @ K + roughness) @ undo.T
        return scatter + np.outer(self.change, self.change)


class Rounds:
    """The course of a fit, and where it is.

    Parameters
    ----------
    judge : callable
        Parameters -> (train, held-out) log-likelihood of a datum.
    place : Checkpoint
    stop : int, optional
        Rounds after which `go_on` raises `Stopped`.
    first : Parameters
        Field and centres, which no round changes.
    """

    def __init__(self, judge: Callable[[Parameters], tuple[float, float]], place: Checkpoint, stop: int | None,
                 first: Parameters, progress: Progress) -> None:
        self.judge, self.place, self.stop, self.first, self.progress = judge, place, stop, first, progress
        self.course = Course("log-likelihood per particle and step")
        self.best: Round | None = None
        self.best_round = 0
        self.attempt = 0
        self.corrections: list[float] = []
        self.now: Parameters | None = None
        self._resume()

    def _resume(self) -> None:
        state = self.place.load()
        if state is None:
            return
        self.course.again(self.progress, state["train"].tolist(), state["held_out"].tolist())
        self.attempt, self.corrections = int(state["attempt"]), state["corrections"].tolist()
        self.now = self._parameters(state, "now") if state["going"] else None
        self.best_round = int(state["best_round"])
        self.best = Round(self._parameters(state, "best"), self._parameters(state, "best_train"), state["distortion"],
                          state["change"], state["size"], state["smoothness"])

    def _parameters(self, state: dict[str, Any], name: str) -> Parameters:
        diffusion, noise_scale, *coefficients = state[name]
        return replace(self.first, coefficients=np.array(coefficients), diffusion=float(diffusion),
                       noise_scale=float(noise_scale))

    def go_on(self) -> None:
        """Before more work: `Stopped` if enough rounds are done."""
        if self.stop is not None and self.course.rounds >= self.stop:
            raise Stopped

    def begin(self, attempt: int) -> None:
        """A new attempt, with a smoother estimate."""
        if attempt != self.attempt:
            self.attempt, self.corrections, self.now = attempt, [], None

    def tell(self, found: Round, last: bool = False) -> None:
        """One more round is done. The `last` of an attempt is not kept on disk, as what it found beside the numbers is
        needed to end."""
        self.course.tell(self.progress, *self.judge(found.train))
        if np.isfinite(found.size):
            self.corrections.append(found.size)
            self.now = found.parameters
        if self.best is None or found.size <= self.best.size:
            self.best, self.best_round = found, self.course.rounds
        if not last:
            self._keep()

    def _keep(self) -> None:
        """Write the checkpoint."""
        best, now = self.best, self.now
        assert best is not None
        self.place.save({
            "train": self.course.train, "held_out": self.course.held_out, "attempt": self.attempt,
            "corrections": self.corrections, "going": int(now is not None), "best_round": self.best_round,
            "now": _numbers(now or best.parameters), "best": _numbers(best.parameters),
            "best_train": _numbers(best.train), "distortion": best.distortion, "change": best.change,
            "size": float(best.size), "smoothness": float(best.smoothness)})


def _numbers(p: Parameters) -> np.ndarray:
    return np.concatenate([[p.diffusion, p.noise_scale], p.coefficients])


def before_correction(p: Parameters, train: Parameters, naive: Solution) -> Round:
    """Round 1."""
    size = len(naive.coefficients)
    return Round(p, train, np.eye(size), np.zeros(size), math.inf, naive.smoothness)
