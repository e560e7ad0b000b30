"""How a public name or setting ends: it works on, with a warning, for two minor versions and a year at least."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def deprecated(what: str, instead: str, *, since: str, until: str, stacklevel: int = 2) -> None:
    """Warn that something works on, but for how long, and what takes its place.

    A `FutureWarning`: Python shows it to everybody, where a `DeprecationWarning` is seen by developers alone.

    Parameters
    ----------
    what, instead : str
        What was used, and what to write in its place, as a user writes them.
    since, until : str
        Version that says so first, and the first version without it.
    stacklevel : int
        1 names the line of the call of this function as the place; 2 the one above it.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     deprecated("Track(size=9)", "Track(diameter=9)", since="0.3", until="0.5")
    >>> print(said[0].message)
    Track(size=9) is deprecated since vid2dyn 0.3 and ends with 0.5. Write Track(diameter=9) in its place.
    """
    warnings.warn(f"{what} is deprecated since vid2dyn {since} and ends with {until}. Write {instead} in its place.",
                  FutureWarning, stacklevel=stacklevel + 1)


def renamed(old: str, new: str, *, since: str, until: str) -> Callable[[F], F]:
    """For a function that was called `old`: works as the new one does, and says what its name is.

    Examples
    --------
    >>> import warnings
    >>> def double(x):
    ...     return 2 * x
    >>> twice = renamed("vd.twice", "vd.double", since="0.3", until="0.5")(double)
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     print(twice(2), len(said))
    4 1
    """
    def of(function: F) -> F:
        @functools.wraps(function)
        def called(*arguments: Any, **options: Any) -> Any:
            deprecated(old, new, since=since, until=until, stacklevel=2)
            return function(*arguments, **options)

        return called  # type: ignore[return-value]

    return of
