"""Public names of a room that load on first use, listed once: in the stub beside its `__init__.py`.

A room that is slow to import (torch, numba, pandas) writes its names as imports into `__init__.pyi`, where editors and
type checkers see them, and its `__init__.py` says::

    __getattr__, __dir__, __all__ = attach(__name__, __file__)

``from vid2dyn.pipeline import track as track`` in the stub makes `track` an attribute that is imported when it is asked
for; ``from vid2dyn import tracking as tracking`` is a room, and ``open = open_recording`` another name of what was
imported without ``as``. (lazy_loader's `attach_stub` does the same but for such other names.)
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def listed(package: str, file: str) -> dict[str, tuple[str, str]]:
    """Public name -> (module, name there) of every import in the stub beside `file`; rooms have an empty second.

    >>> import vid2dyn
    >>> listed("vid2dyn", vid2dyn.__file__)["open"]
    ('vid2dyn.pipeline', 'open_recording')
    """
    found: dict[str, tuple[str, str]] = {}
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vid2dyn"):
            for alias in node.names:
                room = node.module == package
                imported[alias.name] = (f"{package}.{alias.name}", "") if room else (node.module, alias.name)
                if alias.asname:
                    found[alias.asname] = imported[alias.name]
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            found |= {target.id: imported[node.value.id] for target in node.targets if isinstance(target, ast.Name)}
    return found


def attach(package: str, file: str, others: Callable[[str], Any] | None = None) -> tuple[
        Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package from its stub.

    Parameters
    ----------
    package, file : str
        ``__name__`` and ``__file__`` of the package.
    others : callable, optional
        Asked for names that the stub does not list; raises `AttributeError` if it knows none.
    """
    homes = listed(package, file)

    def load(name: str) -> Any:
        if name in homes:
            home, attribute = homes[name]
            module = importlib.import_module(home)
            if not attribute:
                value = module
            elif hasattr(module, attribute):
                value = getattr(module, attribute)
            else:
                value = importlib.import_module(f"{home}.{attribute}")      # a room of a room
        elif others is not None and not name.startswith("_"):
            value = others(name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*homes, *vars(sys.modules[package])}), sorted(homes)
