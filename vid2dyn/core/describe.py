"""Settings and numbers as a user reads them.

The docstring of a configurable dataclass is the only description of its settings; the command line's
``--help``, ``vid2dyn list`` and the panels read it from there. Numbers are written with as many digits as their error
allows.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
import typing
from typing import Any

from vid2dyn.core.config import settings

_ENTRY = re.compile(r"^(?P<names>\w+(?:\s*,\s*\w+)*)\s*:\s*(?P<kind>.*)$")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a numpy-style list: names that share a description, their type, and the lines of the text."""

    names: tuple[str, ...]
    kind: str
    lines: list[str]


def described(text: str) -> list[Entry]:
    r"""What a numpy-style docstring lists under Parameters and Attributes, in order.

    >>> described("Sum.\n\nParameters\n----------\na, b : float\n    Summands.")
    [Entry(names=('a', 'b'), kind='float', lines=['Summands.'])]
    """
    found: list[Entry] = []
    inside = False
    lines = inspect.cleandoc(text).splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        if line and following and set(following) == {"-"}:
            inside = line.strip() in ("Parameters", "Attributes")
        elif inside and line.strip() and set(line) != {"-"}:
            entry = _ENTRY.match(line)
            if entry:
                found.append(Entry(tuple(name.strip() for name in entry["names"].split(",")), entry["kind"], []))
            elif line.startswith(" ") and found:
                found[-1].lines.append(line.strip())
    return found


def setting_help(cls: type) -> dict[str, str]:
    """Setting name -> what its class says about it (numpy-style docstring), one line each.

    What the docstring does not say of an inherited setting is taken from the class that it comes from; a setting that
    none explains gets an empty text.

    >>> from vid2dyn.data.units import Units
    >>> setting_help(Units)["frames_per_second"]
    'Frame rate of the recording [1/s].'
    """
    texts: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        texts |= {name: " ".join(entry.lines) for entry in described(vars(ancestor).get("__doc__") or "")
                  for name in entry.names if entry.lines}
    return {name: texts.get(name, "") for name in settings(cls)}


def type_name(hint: Any) -> str:
    """A type hint as a user reads it.

    >>> type_name(float | None), type_name(tuple[int, ...])
    ('float', 'tuple[int, ...]')
    >>> type_name(tuple[typing.Literal["a", "b"], ...])
    'tuple[a | b, ...]'
    """
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(type_name(m) for m in typing.get_args(hint) if m is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(str(a) for a in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"tuple[{', '.join('...' if m is Ellipsis else type_name(m) for m in typing.get_args(hint))}]"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def default_text(default: Any) -> str:
    """A default as a user reads it: 'required', 'not set' for None, 'empty' for a list of nothing, or the value.

    >>> default_text(3.0), default_text(None), default_text(dataclasses.MISSING), default_text(())
    ('3.0', 'not set', 'required', 'empty')
    """
    if default is dataclasses.MISSING:
        return "required"
    if default == ():
        return "empty"
    return "not set" if default is None else str(default)


def with_error(value: float, stderr: float | None, unit: str = "") -> str:
    """A number as one reads it: as many digits as its error allows.

    >>> with_error(0.40512, 0.0042, "µm²/s")
    '0.4051 ± 0.0042 µm²/s'
    >>> with_error(18.2, None, "nm")
    '18.2 nm'
    """
    if stderr is None or not math.isfinite(stderr) or stderr <= 0:
        return f"{unsigned_zero(f'{value:.3g}')} {unit}".strip()
    digits = max(0, 1 - math.floor(math.log10(stderr)))
    return f"{unsigned_zero(f'{value:.{digits}f}')} ± {stderr:.{digits}f} {unit}".strip()


def unsigned_zero(text: str) -> str:
    """A number as text without the sign that rounding leaves at zero.

    >>> unsigned_zero("-0.00"), unsigned_zero("-0.01"), unsigned_zero("-0"), unsigned_zero("-0.0e+00")
    ('0.00', '-0.01', '0', '0.0e+00')
    """
    digits = text.removeprefix("-").partition("e")[0]
    return text.removeprefix("-") if digits and set(digits) <= set("0.") else text


def plain(value: Any) -> str:
    """A setting or a check as text."""
    return unsigned_zero(f"{value:.4g}") if isinstance(value, float) else str(value)
