"""What users configure refuses arguments of the wrong kind by name, before any range is looked at.

Settings files and the command line are checked by `vid2dyn.core.config.build`; this is the same door for calls in
Python, where ``Brownian(pair="Yukawa")`` would else fail somewhere in the mathematics.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
import types
import typing
from typing import Any

import numpy as np

from vid2dyn.core.config import settings
from vid2dyn.core.describe import type_name
from vid2dyn.core.errors import ConfigError

_PLAIN = (bool, int, float, str)


class Configurable:
    """Base of simulators, recipes, terms, readers and `Track`: frozen dataclasses whose fields are settings.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Trap(Configurable):
    ...     stiffness: float
    ...     shared: bool = True
    >>> Trap(2)
    Trap(stiffness=2, shared=True)
    >>> Trap("stiff")
    Traceback (most recent call last):
    ...
    vid2dyn.core.errors.ConfigError: Trap: stiffness = 'stiff'; give a number.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__post_init__")
        if own is None:
            return

        @functools.wraps(own)
        def checked(self: Any) -> None:
            check_kinds(self)
            own(self)

        cls.__post_init__ = checked  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        check_kinds(self)


def check_kinds(part: Any) -> None:
    """Raise `ConfigError` for the first setting whose value is of another kind than its type hint."""
    for name, hint in _hints(type(part)).items():  # type: ignore[arg-type]
        value = getattr(part, name)
        if not fits(hint, value):
            raise ConfigError(f"{type(part).__name__}: {name} = {value!r}; give {_asked_for(hint)}.")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    try:
        return {name: hint for name, (hint, _) in settings(cls).items()}
    except (NameError, TypeError):                # hints of somebody else's class that cannot be read: nothing to check
        return {}


def fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the kind that a type hint names; ranges and words are checked by the class itself.

    >>> fits(float | None, 3), fits(float, "3"), fits(int, 3.0), fits(int, 3.5), fits(tuple[float, ...], [1, 2.0])
    (True, False, True, False, True)
    >>> fits(typing.Literal["a", "b"], 3.0), fits(float | typing.Literal["auto"], [1]), fits(bool, "yes")
    (True, False, False)
    """
    if hint is None or hint is types.NoneType:
        return value is None
    origin = typing.get_origin(hint)
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return any(fits(member, value) for member in typing.get_args(hint))
    if origin is typing.Literal:
        return value is None or isinstance(value, str | int | float | bool)
    if origin in (tuple, list):
        given = typing.get_args(hint)
        members = [member for member in given if member is not Ellipsis]
        if isinstance(value, str | bytes):
            return False
        if isinstance(value, tuple | list | np.ndarray):
            if origin is tuple and given and Ellipsis not in given:                     # so many, each of its own kind
                return len(value) == len(members) and all(map(fits, members, value))
            return all(any(fits(member, one) for member in members) for one in value)
        parts = [member for member in members if inspect.isclass(member) and member not in _PLAIN]
        return any(fits(member, value) for member in parts)                  # one part stands for a list of it
    if origin is dict:
        key, item = typing.get_args(hint)
        return isinstance(value, dict) and all(fits(key, k) and fits(item, v) for k, v in value.items())
    if inspect.isclass(origin):
        return isinstance(value, origin)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return isinstance(value, numbers.Real | np.number) and _whole(value)
    if hint is float:
        return isinstance(value, numbers.Real | np.number) or (isinstance(value, np.ndarray) and value.ndim == 0)
    if hint is str:
        return isinstance(value, str | os.PathLike)
    return not inspect.isclass(hint) or isinstance(value, hint)


def _whole(value: Any) -> bool:
    """Also of infinity and numbers that are not finite, which classes refuse in their own words."""
    return not np.isfinite(value) or float(value).is_integer()


def _asked_for(hint: Any) -> str:
    """Words for a type hint."""
    words = {float: "a number", int: "a whole number", bool: "True or False", str: "a text"}
    union = typing.get_origin(hint) is typing.Union or isinstance(hint, types.UnionType)
    members = typing.get_args(hint) if union else (hint,)
    said = [words.get(member) or (f"a {member.__name__}, such as one of {_kinds(member)}" if inspect.isclass(member)
                                  else type_name(member)) for member in members if member is not types.NoneType]
    return " or ".join([*said, *(["None"] if types.NoneType in members else [])])


def _kinds(base: type) -> str:
    from vid2dyn.core.registry import kinds_of

    return ", ".join(f"{name}(...)" for name in sorted(kinds_of(base))) or base.__name__
