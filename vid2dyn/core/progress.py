"""How long work reports how far it is, and how the caller stops it.

Within the package `progress` is always a `Progress`; what a user may give in its place, `vid2dyn.core.showing` says. To
cancel, it raises `Cancelled`; the function then leaves nothing half-written.
"""

from __future__ import annotations


class Cancelled(Exception):
    """Raised by a progress callback to stop the work; not an error."""


class Progress:
    """What long work calls while it goes on; every method of this class does nothing.

    A subclass overrides what it wants to know. All methods are called in the thread that does the work.

    >>> class Chart(Progress):
    ...     def likelihood(self, step, train, held_out, what):
    ...         print(f"{what}, round {step}: {train} {held_out}")
    >>> chart = Chart()
    >>> chart(3, 10, "fit")
    >>> chart.likelihood(1, 1.5, 1.4, "fit")
    fit, round 1: 1.5 1.4
    """

    def __call__(self, done: int, total: int, what: str) -> None:
        """`done` of `total` units of the step named `what` are finished; raise `Cancelled` here to stop the work."""

    def converging(self, step: int, left: float, what: str) -> None:
        """How far a fit is from its end after iteration `step`.

        `what` says in which sense `left` is meant: "nats left to gain", "relative correction of the forces".
        """

    def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        """Log-likelihoods of one datum [nats] after iteration `step` of the fit named `what`.

        `train` is of the data learned from, `held_out` of data that this iteration's numbers have not seen.
        """

    @property
    def wants_likelihood(self) -> bool:
        """Whether `likelihood` does anything: where it is costly, it is computed only then."""
        return type(self).likelihood is not Progress.likelihood

    def close(self) -> None:
        """The work is over: done, failed or cancelled."""


silent = Progress()
"""The progress that shows nothing."""
