"""A TOML table is a constructor call.

Every configurable part is a frozen dataclass. Its constructor arguments are the TOML keys, the
fields of the form in napari and the recipe in the model file; there is no second list of settings.
pydantic checks types; an unknown key is refused with a suggestion. A nested part (the pair potential
of a simulator) is a sub-table whose `kind` names the class, a list of parts (the energies of a model) an array of such
tables. TOML has no None: where that is not the default, files write "none".

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Trap:
...     stiffness: float
...     shared: bool = True
>>> build(Trap, {"stiffness": 2}, where="[trap]")
Trap(stiffness=2.0, shared=True)
>>> recipe(Trap(3.0))
{'kind': 'Trap', 'stiffness': 3.0, 'shared': True}
"""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from vid2dyn.core.errors import ConfigError, Vid2DynError
from vid2dyn.core.registry import did_you_mean, kinds_of

T = TypeVar("T")


def settings(cls: type) -> dict[str, tuple[Any, Any]]:
    """Constructor arguments of a dataclass: name -> (type, default or `dataclasses.MISSING`)."""
    hints = _hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found[field.name] = (hints[field.name], default)
    return found


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


@cache
def _check_of(cls: type, name: str) -> Any:
    """What checks a value of a constructor argument, and converts it; making one takes longer than tracking a frame."""
    import pydantic

    return pydantic.TypeAdapter(_hints(cls)[name])


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """`cls(**table)` with every key and type checked.

    Parameters
    ----------
    cls : type
        A frozen dataclass.
    table : mapping
        Keys are constructor arguments; a mapping as value builds a nested part.
    where : str
        Said in errors, e.g. ``"experiment.toml [track]"``.

    Raises
    ------
    ConfigError
        For an unknown key, a missing one, or a value of the wrong type or range.
    """
    import pydantic

    known = settings(cls)
    table = {key: value for key, value in table.items() if key != "kind"}
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}.{did_you_mean(key, known)} "
                              f"{cls.__name__} takes: {', '.join(known)}.")
    arguments = {}
    for key, (hint, default) in known.items():
        if key not in table:
            if default is dataclasses.MISSING:
                raise ConfigError(f"{where}: {cls.__name__} needs {key!r}.")
            continue
        value = None if table[key] == "none" and none_in_words(hint, default) else table[key]
        nested = parts_in(hint)
        if nested and isinstance(value, str) and str not in typing.get_args(hint):
            value = {"kind": value}                        # pair = "Yukawa" is pair.kind = "Yukawa"
        if nested and isinstance(value, Mapping):
            value = _build_nested(nested, value, f"{where}.{key}")
            if typing.get_origin(hint) is tuple:
                value = (value,)
        elif nested and isinstance(value, list | tuple) and _admits_several(hint):
            value = tuple(_build_nested(nested, one, f"{where}.{key}[{k}]") if isinstance(one, Mapping) else one
                          for k, one in enumerate(value))
        elif nested and value is not None and not isinstance(value, tuple(nested)) and not _admits(hint, value):
            raise ConfigError(f"{where}: {key} = {value!r} does not fit {cls.__name__}: give a table with a kind, one "
                              "of "
                              f"{', '.join(sorted(name for base in nested for name in kinds_of(base)))}.")
        elif not nested:
            try:
                value = _check_of(cls, key).validate_python(value)  # type: ignore[arg-type]
            except pydantic.ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise ConfigError(f"{where}: {key} = {value!r} does not fit {cls.__name__}: {reason}.") from None
        arguments[key] = value
    try:
        return cls(**arguments)
    except Vid2DynError as error:
        raise type(error)(f"{where}: {error}") from None


def none_in_words(hint: Any, default: Any) -> bool:
    """Whether files write "none" for None, as TOML has no word for it: where a key that is absent means something else,
    and "none" nothing of its own.

    >>> none_in_words(float | None, 3.0), none_in_words(float | None, None), none_in_words(str | None, "a")
    (True, False, False)
    """
    members = typing.get_args(hint)
    words = [word for member in members if typing.get_origin(member) is typing.Literal
             for word in typing.get_args(member)]
    return types.NoneType in members and default is not None and str not in members and "none" not in words


def _admits_several(hint: Any) -> bool:
    """Whether a hint asks for a tuple of parts."""
    return tuple in (typing.get_origin(hint), *map(typing.get_origin, typing.get_args(hint)))


def _admits(hint: Any, value: Any) -> bool:
    """Whether a hint that names parts takes this plain value too ("auto", a number)."""
    for member in typing.get_args(hint):
        if typing.get_origin(member) is typing.Literal:
            if value in typing.get_args(member):
                return True
        elif inspect.isclass(member) and member in (str, int, float, bool) and isinstance(value, member):
            return True
    return False


def recipe(part: Any) -> dict[str, Any]:
    """The constructor call of a configurable part as a plain dictionary (JSON and TOML can hold it)."""
    table: dict[str, Any] = {"kind": type(part).__name__}
    for name in settings(type(part)):
        table[name] = _plain(getattr(part, name))
    return table


def parts_in(hint: Any) -> list[type]:
    """The configurable classes a type hint admits: `Pair | None` and `tuple[Pair, ...]` -> [Pair]."""
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) else (hint,)
    return [m for m in members if inspect.isclass(m) and (dataclasses.is_dataclass(m) or inspect.isabstract(m))]


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file; `ConfigError` names the file and the line of a syntax error."""
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such settings file (working directory: {Path.cwd()}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return recipe(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _build_nested(bases: list[type], table: Mapping[str, Any], where: str) -> Any:
    known: dict[str, type] = {}
    for base in bases:
        known |= kinds_of(base)
    kind = table.get("kind", next(iter(known)) if len(known) == 1 else None)
    if kind is None:
        raise ConfigError(f"{where}: say which with kind = one of {', '.join(sorted(known))}.")
    if kind not in known:
        raise ConfigError(f"{where}: unknown kind {kind!r}.{did_you_mean(str(kind), known)} "
                          f"Known: {', '.join(sorted(known))}.")
    return build(known[kind], table, where)
