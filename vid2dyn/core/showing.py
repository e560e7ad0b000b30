"""What users may give as `progress`: True for bars, None or False for silence, a function, or a `Progress`.

A public function that takes long opens it at its door::

    with showing(progress) as progress:
        ...
        progress(done, total, "linking")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent

ProgressLike: TypeAlias = Progress | Callable[[int, int, str], Any] | bool | None
"""What a public function takes as `progress`."""


class _Plain(Progress):
    """A function of (done, total, what) as a `Progress`; methods `converging` and `likelihood` are used if there."""

    def __init__(self, function: Callable[[int, int, str], Any]) -> None:
        self.function = function
        self.others = {name: getattr(function, name) for name in ("converging", "likelihood")
                       if hasattr(function, name)}

    def __call__(self, done: int, total: int, what: str) -> None:
        self.function(done, total, what)

    def converging(self, step: int, left: float, what: str) -> None:
        if "converging" in self.others:
            self.others["converging"](step, left, what)

    def likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        if "likelihood" in self.others:
            self.others["likelihood"](step, train, held_out, what)

    @property
    def wants_likelihood(self) -> bool:
        return "likelihood" in self.others


def as_progress(value: ProgressLike) -> Progress:
    """The `Progress` that a user means.

    Parameters
    ----------
    value : bool, None, callable or Progress
        True shows bars where there is somebody to see them: standard error is a terminal, or a notebook runs the code.
        None and False show nothing. A `Progress` is itself, and a function of (done, total, what) is called.

    Raises
    ------
    ConfigError
        If it is none of these.

    Examples
    --------
    >>> as_progress(None) is silent, as_progress(False) is silent
    (True, True)
    >>> as_progress(lambda done, total, what: print(done, "of", total, what))(1, 2, "frames")
    1 of 2 frames
    """
    if value is None or value is False:
        return silent
    if value is True:
        from vid2dyn.core.bars import bars

        return bars()
    if isinstance(value, Progress):
        return value
    if not callable(value) or isinstance(value, type):
        raise ConfigError(f"progress = {value!r}: give True for bars, False for none, a function of (done, total, "
                          "what), or an instance of a subclass of vd.Progress.")
    return _Plain(value)


@contextmanager
def showing(value: ProgressLike) -> Iterator[Progress]:
    """The `Progress` that a user means, for the length of a block; bars made here are closed however the block ends."""
    progress = as_progress(value)
    try:
        yield progress
    finally:
        if value is True:
            progress.close()
