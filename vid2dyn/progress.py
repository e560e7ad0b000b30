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


def silent(done: int, total: int, what: str) -> None:
    """The progress callback that shows nothing."""
