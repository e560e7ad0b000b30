"""Fisher scoring of likelihoods whose maximum is known: bounds, cuts, no way on, checkpoints bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vid2dyn.core.checkpoint import Checkpoint
from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Cancelled, Progress
from vid2dyn.fitting.particles.recordings import compared
from vid2dyn.fitting.particles.scoring import Likelihood, Limits, Scored, learn, widened


@dataclass(frozen=True, eq=False)
class Variances(Likelihood):
    """Normal numbers of variance A θ, θ >= 0: steps overshoot where θ is small, as the information is large there."""

    A: np.ndarray
    squares: np.ndarray
    begin: np.ndarray
    end_of_the_world: float = np.inf
    what: str = "variances"

    def start(self) -> np.ndarray:
        return self.begin

    def scored(self, vector: np.ndarray, told: Callable[[int], None] = lambda piece: None) -> Scored:
        told(0)
        if vector[0] > self.end_of_the_world:
            raise ModelError("no likelihood here")
        C = self.A @ vector
        scores = 0.5 * ((self.squares / C - 1) / C)[:, None] * self.A
        return Scored(vector, scores, 0.5 * (self.A / C[:, None]).T @ (self.A / C[:, None]))

    def prior(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 1e-6 * np.eye(len(vector)), -1e-6 * vector

    def lowest(self, vector: np.ndarray) -> np.ndarray:
        return 0.1 * vector

    def after(self, vector: np.ndarray, step: np.ndarray) -> np.ndarray:
        return vector + step


def variances(**settings) -> Variances:
    A = np.concatenate([np.eye(3), np.random.default_rng(0).uniform(size=(400, 3))])
    truth = np.array([1.0, 4.0, 0.2])
    squares = (A @ truth) * np.random.default_rng(1).normal(size=len(A)) ** 2
    return Variances(A, squares, **{"begin": np.full(3, 0.03), **settings})


def test_the_maximum_is_found_from_far_away() -> None:
    """Starts a hundred times too small and too large end in one place, where the slope is zero."""
    found = [learn(variances(begin=np.full(3, size)), Limits(200, 1e-9)) for size in (0.03, 100.0)]
    for one in found:
        assert np.allclose(one.vector, found[0].vector, rtol=1e-3)
        assert abs(one.decrements[-1]) < 1e-9
        assert not one.left_off
        assert not one.blocked


@dataclass(frozen=True, eq=False)
class Bent(Likelihood):
    """A likelihood that bends more than its information says, so that every whole step lands farther away."""

    bend: float
    overshoot = 3.0
    what: str = "bent"

    def start(self) -> np.ndarray:
        return np.array([1.0, -2.0])

    def scored(self, vector: np.ndarray, told: Callable[[int], None] = lambda piece: None) -> Scored:
        return Scored(vector, -np.array([[self.bend, 1.0]]) * vector, np.eye(2))

    def prior(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((2, 2)), np.zeros(2)

    def lowest(self, vector: np.ndarray) -> np.ndarray:
        return np.full(2, -np.inf)

    def after(self, vector: np.ndarray, step: np.ndarray) -> np.ndarray:
        return vector + step


@pytest.mark.parametrize("bend", [1.0, 2.0, 3.5, 9.0])
def test_steps_that_go_to_and_fro_get_shorter(bend: float) -> None:
    """Each overshoots by no more than is allowed: at a bend of 2 for ever, at 3.5 by 2.5 times as much every time."""
    found = learn(Bent(bend), Limits(60, 1e-6))
    assert found.done < 60, found.decrements
    assert np.abs(found.vector).max() < 1e-2


def test_where_there_is_no_way_on_the_last_numbers_stay() -> None:
    """The maximum lies where there is no likelihood; a start in there is an error."""
    found = learn(variances(end_of_the_world=0.05), Limits(200, 1e-9))
    assert found.vector[0] <= 0.05
    assert "no likelihood here" in found.blocked
    with pytest.raises(ModelError, match="no likelihood here"):
        learn(variances(end_of_the_world=0.01), Limits(200, 1e-9))


class Stop(Progress):
    """Cancels at a call."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, done: int, total: int, what: str) -> None:
        assert 0 <= done <= total
        self.left -= 1
        if self.left < 0:
            raise Cancelled


def test_a_fit_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = learn(variances(), Limits(50, 1e-9))
    place = Checkpoint(tmp_path / "kept", "key")
    for at in (0, 3, 5, 9):
        with pytest.raises(Cancelled):
            learn(variances(), Limits(50, 1e-9), place, Stop(at))
    resumed = learn(variances(), Limits(50, 1e-9), place)
    assert np.array_equal(resumed.vector, whole.vector)
    assert resumed.decrements == whole.decrements
    part = learn(variances(), Limits(50, 1e-9, keep_partial=True), progress=Stop(8))
    assert part.left_off
    assert 0 < part.done < whole.done
    assert np.array_equal(part.vector, learn(variances(), Limits(50, 1e-9, stop=part.done)).vector)


def test_scores_that_scatter_more_widen_the_covariance() -> None:
    """4,000 scores twice as wide as the information says: 4 ± 1.3 %; 10 % are passed by chance in 1e-13 cases."""
    scores = 2.0 * np.random.default_rng(0).normal(size=(4000, 3)) * [1.0, 10.0, 0.1]
    information = np.diag([1.0, 100.0, 0.01])
    covariance, excess = widened(4000 * information, information, scores)
    assert excess == pytest.approx(4.0, rel=0.1)
    assert np.allclose(covariance, np.diag(excess / (4000 * np.diag(information))))


class Part:
    n, dim = 100, 2


def test_a_recording_apart_is_named_and_one_within_the_shared_error_is_not() -> None:
    sizes = [1.0, 1.2, 1.01, 0.99]

    def judged(error: float) -> Callable[[int], tuple[np.ndarray, np.ndarray, float]]:
        return lambda k: (np.zeros(50), np.full(50, sizes[k]), error)

    entries, said = compared([Part()] * 4, judged(0.0))                               # type: ignore[list-item]
    assert [one["recording"] for one in entries] == [1, 2, 3, 4]
    assert [words[:11] for words in said] == ["Recording 2"]
    assert compared([Part()] * 4, judged(0.1))[1] == []                               # type: ignore[list-item]
