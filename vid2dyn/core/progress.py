"""How long work tells the outside how far it is, and how the outside stops it.

A long function takes `progress: Progress = silent` and calls `progress(done, total, what)`.
The command line shows a bar with the time left, napari a progress widget, tests a list.
To cancel, the callback raises `Cancelled`; the function then leaves nothing half-written.
"""

from __future__ import annotations

from typing import Protocol


class Cancelled(Exception):
    """Raised by a progress callback to stop the work; not an error."""


class Progress(Protocol):
    """`progress(done, total, what)`: `done` of `total` units of the step named `what` are finished."""

    def __call__(self, done: int, total: int, what: str) -> None: ...


def converging(progress: Progress, step: int, left: float, what: str) -> None:
    """Tell a callback that draws curves how far a fit still is from its end.

    Called by iterative fits beside `progress`; a callback that wants it has a method ``converging(step, left, what)``,
    with `what` saying in which sense: "nats left to gain", "relative correction". Others hear nothing.

    >>> class Chart:
    ...     def __call__(self, done, total, what): ...
    ...     def converging(self, step, left, what): print(step, left, what)
    >>> converging(Chart(), 3, 0.25, "relative correction")
    3 0.25 relative correction
    >>> converging(silent, 3, 0.25, "relative correction")
    """
    tell = getattr(progress, "converging", None)
    if tell is not None:
        tell(step, left, what)


def likelihood(progress: Progress, step: int, train: float, held_out: float, what: str) -> None:
    """Tell a callback that draws curves what a fit is worth after `step` iterations.

    `train` and `held_out` are log-likelihoods of one datum [nats], of data learned from and of data that this
    iteration's numbers have not seen; `what` names the fit. A callback that wants them has a method
    ``likelihood(step, train, held_out, what)``; others hear nothing.

    >>> class Chart:
    ...     def __call__(self, done, total, what): ...
    ...     def likelihood(self, step, train, held_out, what): print(step, train, held_out, what)
    >>> likelihood(Chart(), 1, 1.5, 1.4, "fit")
    1 1.5 1.4 fit
    >>> likelihood(silent, 1, 1.5, 1.4, "fit")
    """
    tell = getattr(progress, "likelihood", None)
    if tell is not None:
        tell(step, train, held_out, what)


def listens(progress: Progress, to: str) -> bool:
    """Whether a callback has the method `to`, so that what it costs to tell is not spent in vain."""
    return hasattr(progress, to)


def silent(done: int, total: int, what: str) -> None:
    """The progress callback that shows nothing."""
