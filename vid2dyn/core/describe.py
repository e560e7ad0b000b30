"""What a setting means, in the words of its class.

The docstring of a configurable dataclass is the only description of its settings; the command line's
``--help``, ``vid2dyn list`` and the panels read it from there.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from typing import Any

from vid2dyn.core.config import settings

_ENTRY = re.compile(r"^(?P<names>\w+(?:\s*,\s*\w+)*)\s*:\s*(?P<kind>.*)$")


def setting_help(cls: type) -> dict[str, str]:
    """Setting name -> what its class says about it (numpy-style docstring), one line each.

    A setting that the docstring does not mention has the text of the class that it is inherited from; one that no class
    mentions gets an empty text.

    >>> from vid2dyn.data.units import Units
    >>> setting_help(Units)["frames_per_second"]
    'Frame rate of the recording [1/s].'
    """
    described: dict[str, list[str]] = {}
    for parent in reversed(cls.__mro__[:-1]):
        described |= _entries(parent.__doc__ or "")
    return {name: " ".join(described.get(name, [])) for name in settings(cls)}


def _entries(text: str) -> dict[str, list[str]]:
    """Name -> lines of its description, from the parameters and attributes of a docstring."""
    described: dict[str, list[str]] = {}
    current: list[str] = []
    inside = False
    lines = inspect.cleandoc(text).splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        if line and following and set(following) == {"-"}:
            inside = line.strip() in ("Parameters", "Attributes")
            current = []
            continue
        if not inside or not line.strip() or set(line) == {"-"}:
            continue
        entry = _ENTRY.match(line)
        if entry:
            current = []
            for name in entry["names"].split(","):
                described[name.strip()] = current
        elif line.startswith(" "):
            current.append(line.strip())
    return described


def type_name(hint: Any) -> str:
    """A type hint as a user reads it.

    >>> type_name(float | None), type_name(tuple[int, ...])
    ('float', 'tuple[int, ...]')
    """
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(type_name(m) for m in typing.get_args(hint) if m is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(str(a) for a in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def default_text(default: Any) -> str:
    """A default as a user reads it: 'required', 'not set' for None, or the value.

    >>> default_text(3.0), default_text(None), default_text(dataclasses.MISSING)
    ('3.0', 'not set', 'required')
    """
    if default is dataclasses.MISSING:
        return "required"
    return "not set" if default is None else str(default)
