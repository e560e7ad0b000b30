"""Names to classes: a part is found because its file is there.

A *family* is a room of vid2dyn and the abstract class that its parts inherit. Every public final class of that kind in
a module of the room, or of a room inside it, is a part under its class name. Outside packages add parts through the
family's entry point group; there too the name of the class counts, which settings files and model files hold::

    [project.entry-points."vid2dyn.simulators"]
    MySimulator = "my_package:MySimulator"

Everything that lists parts asks here: TOML tables, the command line, the forms in napari, model files, report pages.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from vid2dyn.core.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """Where the parts of one kind are found: room, base class ("module:name") and entry point group."""

    room: str
    base: str
    group: str


FAMILIES = {
    "dynamics": Family("vid2dyn.dynamics.recipes", "vid2dyn.dynamics.recipes.base:Recipe", "vid2dyn.dynamics"),
    "energies": Family("vid2dyn.dynamics.terms", "vid2dyn.dynamics.terms.base:Energy", "vid2dyn.terms"),
    "frictions": Family("vid2dyn.dynamics.terms", "vid2dyn.dynamics.terms.base:Friction", "vid2dyn.terms"),
    "readers": Family("vid2dyn.readers", "vid2dyn.readers.base:Reader", "vid2dyn.readers"),
    "simulators": Family("vid2dyn.simulators", "vid2dyn.simulators.base:Simulator", "vid2dyn.simulators"),
    "potentials": Family("vid2dyn.simulators.brownian", "vid2dyn.simulators.brownian.pair_base:AnalyticPairPotential",
                         "vid2dyn.simulators"),
    "sections": Family("vid2dyn.reports.sections", "vid2dyn.reports.sections.base:ReportSection", "vid2dyn.sections"),
}


def resolve(reference: str) -> Any:
    """What "module:name" names; the module is imported.

    >>> resolve("vid2dyn.core.errors:ConfigError").__name__
    'ConfigError'
    """
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def family(name: str) -> Family:
    """The family called `name`; `ConfigError` with a suggestion if there is none."""
    if name not in FAMILIES:
        raise ConfigError(f"Unknown family {name!r}.{did_you_mean(name, FAMILIES)} Known: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def base_of(name: str) -> type:
    """The abstract class that the parts of a family inherit."""
    return resolve(family(name).base)


def parts(name: str) -> dict[str, type]:
    """All final classes of a family, by class name, sorted; those of vid2dyn before outside ones of the same name.

    An outside package that cannot be imported is left out with a warning: it must not take vid2dyn down.
    """
    where, base = family(name), base_of(name)
    found: dict[str, type] = {}
    for module in _modules(importlib.import_module(where.room)):
        for key, value in vars(module).items():
            if _is_part(value, base) and value.__module__ == module.__name__ and not key.startswith("_"):
                found[key] = value
    for entry in entry_points(group=where.group):
        try:
            value = entry.load()
        except Exception as error:              # whatever an outside module does at import
            warnings.warn(f"The part {entry.name} of {entry.value} ({where.group}) cannot be imported and is left out: "
                          f"{error!r}. Update or remove that package.", stacklevel=2)
            continue
        if _is_part(value, base):
            found.setdefault(value.__name__, value)
    return dict(sorted(found.items()))


def part(name: str, kind: str) -> type:
    """The part of family `name` called `kind`; `ConfigError` with a suggestion if there is none."""
    known = parts(name)
    if kind not in known:
        raise ConfigError(f"{name}: there is no {kind!r}.{did_you_mean(kind, known)} Known: {', '.join(known)}.")
    return known[kind]


def kinds_of(base: type) -> dict[str, type]:
    """Every final class of kind `base`, by name: the parts of its family, and what else is imported."""
    found = {} if inspect.isabstract(base) else {base.__name__: base}
    children: list[type] = base.__subclasses__()
    for child in children:
        found |= kinds_of(child)
    name = family_of(base)
    if name is not None:
        found |= parts(name)
    return dict(sorted(found.items()))


def family_of(base: type) -> str | None:
    """Name of the family whose parts inherit `base`, or None.

    >>> family_of(base_of("readers"))
    'readers'
    """
    return next((name for name, one in FAMILIES.items() if one.base == f"{base.__module__}:{base.__qualname__}"), None)


def did_you_mean(word: str, known: object) -> str:
    """' Did you mean ...?' for the closest known word, or an empty string.

    >>> did_you_mean("cutof", ["cutoff", "knots"])
    " Did you mean 'cutoff'?"
    """
    import difflib

    close = difflib.get_close_matches(word, [str(k) for k in known], n=1, cutoff=0.5)  # type: ignore[attr-defined]
    return f" Did you mean {close[0]!r}?" if close else ""


def _is_part(value: Any, base: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base) and value is not base and not inspect.isabstract(value)


def _modules(room: ModuleType) -> Iterator[ModuleType]:
    """A room, its files, and those of the rooms inside it."""
    yield room
    for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        yield importlib.import_module(info.name)
