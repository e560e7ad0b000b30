"""The course of a fit in rounds: its likelihood after every round, how it is watched, and where it is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vid2dyn.core.checkpoint import NOWHERE, Checkpoint
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent


@dataclass(frozen=True)
class RunControl:
    """How a fit is watched, kept on disk and stopped; see `vid2dyn.pipeline.fit`.

    Parameters
    ----------
    place : Checkpoint
        Where the state after every round is kept, and from where a fit goes on.
    stop : int, optional
        Rounds after which the fit stops, at least 1.
    keep_partial : bool
        Whether a fit that is cancelled returns the best round so far, rather than raising `Cancelled`.
    progress : Progress
        Callback.

    Raises
    ------
    ConfigError
        If `stop` is less than 1.
    """

    place: Checkpoint = NOWHERE
    stop: int | None = None
    keep_partial: bool = False
    progress: Progress = silent

    def __post_init__(self) -> None:
        checked(self.stop)


@dataclass(eq=False)
class Course:
    """Log-likelihoods of one datum [nats] after every round, of data learned from and of data kept aside.

    Examples
    --------
    >>> course = Course("fit")
    >>> course.record(Progress(), 1.0, 0.9)
    >>> course.report()
    {'what': 'fit', 'train': [1.0], 'held_out': [0.9]}
    """

    what: str
    train: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Rounds that are done."""
        return len(self.train)

    def record(self, progress: Progress, train: float, held_out: float) -> None:
        """Add the likelihoods of one more round, and pass them to a callback that draws them."""
        self.train.append(float(train))
        self.held_out.append(float(held_out))
        progress.likelihood(self.rounds, self.train[-1], self.held_out[-1], self.what)

    def replay(self, progress: Progress, train: Sequence[float], held_out: Sequence[float]) -> None:
        """Record the rounds that a checkpoint has."""
        for one, other in zip(train, held_out, strict=True):
            self.record(progress, one, other)

    def report(self) -> dict[str, Any]:
        """For the report of the model."""
        return {"what": self.what, "train": self.train, "held_out": self.held_out}


def stopped_early(rounds: int, of: int, meaning: str, kept: int | None = None) -> tuple[dict[str, int], str]:
    """Entry of the report and a warning for a model whose fit was stopped after some rounds; `kept`: the best of them.

    >>> stopped_early(2, 5, "The mobility may still change.")[1]
    'Stopped early, after 2 of 5 rounds. The mobility may still change. Fit on for the final model.'
    """
    warning = f"Stopped early, after {rounds} of {of} rounds. {meaning} Fit on for the final model."
    return {"rounds": rounds, "of": of, "kept": kept or rounds}, warning


def checked(stop: int | None) -> int | None:
    """`stop`, at least one round.

    Raises
    ------
    ConfigError
        If it is less.
    """
    if stop is not None and stop < 1:
        raise ConfigError(f"stop = {stop}: a fit leaves off after a number of rounds, at least 1.")
    return stop


def one_round(progress: Progress, what: str, train: float, held_out: float) -> dict[str, Any]:
    """The course, for the report, of a fit that takes one round."""
    course = Course(what)
    course.record(progress, train, held_out)
    return course.report()
