"""Names to classes: a part is found because its file is there.

A *family* is a package of vid2dyn (`vid2dyn.simulators`) and the abstract class its parts inherit.
Every public final class of that kind, defined in a module of the package, is a part under its
class name. Outside packages add parts through entry points of the group named like the package::

    [project.entry-points."vid2dyn.simulators"]
    MySimulator = "my_package:MySimulator"
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points

from vid2dyn.errors import ConfigError


def parts(package: str, base: type) -> dict[str, type]:
    """All final classes of kind `base` in `package`, by class name, sorted.

    Parameters
    ----------
    package : str
        Dotted name of the package whose modules are looked through.
    base : type
        Abstract class that the parts inherit.
    """
    root = importlib.import_module(package)
    modules = [root] + [importlib.import_module(f"{package}.{info.name}")
                        for info in pkgutil.iter_modules(root.__path__) if not info.name.startswith("_")]
    found: dict[str, type] = {}
    for module in modules:
        for name, value in vars(module).items():
            if (inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
                    and not inspect.isabstract(value) and value is not base and not name.startswith("_")):
                found[name] = value
    for entry in entry_points(group=package):
        found.setdefault(entry.name, entry.load())
    return dict(sorted(found.items()))


def part(package: str, base: type, name: str) -> type:
    """The part called `name`; `ConfigError` with a suggestion if there is none."""
    known = parts(package, base)
    if name not in known:
        raise ConfigError(f"{package} has no part {name!r}.{did_you_mean(name, known)} "
                          f"Known: {', '.join(known)}.")
    return known[name]


def did_you_mean(word: str, known: object) -> str:
    """' Did you mean ...?' for the closest known word, or an empty string.

    >>> did_you_mean("cutof", ["cutoff", "knots"])
    " Did you mean 'cutoff'?"
    """
    import difflib

    close = difflib.get_close_matches(word, [str(k) for k in known], n=1, cutoff=0.5)  # type: ignore[attr-defined]
    return f" Did you mean {close[0]!r}?" if close else ""
