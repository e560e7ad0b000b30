"""Real keywords in the signature and the help of functions that hand ``**options`` on.

`vd.track` takes every setting of `Track`, `vd.compare` every option of the function that compares. They are written
once, there; `accepts` shows them in ``inspect.signature``, tab completion and ``help``. Nothing heavy is imported for
it: the signature is made when somebody asks for it, and the help is read from the source text.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import vid2dyn.core as core
from vid2dyn.core.config import settings
from vid2dyn.core.describe import Entry, described
from vid2dyn.core.registry import family, parts, resolve

F = TypeVar("F", bound=Callable[..., Any])
_ROOT = Path(core.__file__).parents[1]
_OPTIONS = re.compile(r"^\*\*\w+\n(?:[ ]+.*\n?|\n(?=[ ]))*", re.MULTILINE)


def accepts(*sources: str, parts_of: str | None = None) -> Callable[[F], F]:
    """Say which keywords the ``**options`` of a function are.

    Parameters
    ----------
    sources : str
        "module:name" of dataclasses, whose settings they are, and of functions, whose keywords they are.
    parts_of : str, optional
        A family of the registry, whose parts' settings are keywords too.

    Examples
    --------
    >>> @accepts("vid2dyn.data.units:Units")
    ... def open_it(path, **calibration):
    ...     \"\"\"Open it.
    ...
    ...     Parameters
    ...     ----------
    ...     **calibration
    ...         Of the camera.
    ...     \"\"\"
    >>> list(inspect.signature(open_it).parameters)[:3]
    ['path', 'micrometre_per_pixel', 'frames_per_second']
    >>> open_it.__doc__.splitlines()[4:6]
    ['micrometre_per_pixel : float, optional', '    Length of one pixel in the sample [µm].']
    """
    def register(function: F) -> F:
        own = inspect.signature(function)
        named = [name for name, p in own.parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        signature = _Signature(list(own.parameters.values()), return_annotation=own.return_annotation)
        signature.sources, signature.parts_of = sources, parts_of
        function.__signature__ = signature                                  # type: ignore[attr-defined]
        if function.__doc__:
            text = "\n".join(_help(sources, parts_of, set(named)))
            function.__doc__ = _OPTIONS.sub(lambda _: text + "\n", inspect.cleandoc(function.__doc__), count=1).rstrip()
        return function

    return register


class _Signature(inspect.Signature):
    """A signature whose keywords are looked up when they are asked for."""

    sources: tuple[str, ...] = ()
    parts_of: str | None = None

    @property
    def parameters(self) -> MappingProxyType[str, inspect.Parameter]:
        return self._complete if self.sources else super().parameters

    @functools.cached_property
    def _complete(self) -> MappingProxyType[str, inspect.Parameter]:
        found = {name: p for name, p in super().parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
        brought = [resolve(source) for source in self.sources]
        for source in [*brought, *(parts(self.parts_of).values() if self.parts_of else ())]:
            for name, parameter in _keywords(source):
                found.setdefault(name, parameter)
        return MappingProxyType(found)


def _keywords(source: Any) -> Iterator[tuple[str, inspect.Parameter]]:
    """Settings of a dataclass, or parameters of a function, as keywords."""
    if dataclasses.is_dataclass(source):
        known: Mapping[str, tuple[Any, Any]] = settings(source)             # type: ignore[arg-type]
        for name, (hint, default) in known.items():
            default = inspect.Parameter.empty if default is dataclasses.MISSING else default
            yield name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        return
    for name, parameter in inspect.signature(source).parameters.items():
        yield name, parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _help(sources: tuple[str, ...], parts_of: str | None, known: set[str]) -> Iterator[str]:
    """Lines of help for all keywords that are not `known`, numpy style."""
    for source in sources:
        module, _, name = source.partition(":")
        for entry in described(_docstrings(_ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")).get(name, "")):
            if not known.intersection(entry.names):
                yield f"{', '.join(entry.names)} : {entry.kind}"
                yield from (f"    {line}" for line in entry.lines)
    if parts_of is None:
        return
    where = family(parts_of)
    said: dict[str, list[tuple[str, Entry]]] = {}
    for file in sorted(_ROOT.joinpath(*where.room.split(".")[1:]).glob("*.py")):
        for part, text in _docstrings(file, where.base.partition(":")[2]).items():
            for entry in described(text):
                for one in entry.names:
                    said.setdefault(one, []).append((part, entry))
    for name, entries in said.items():
        yield f"{name} : {entries[0][1].kind}"
        yield from (f"    {part}: {' '.join(entry.lines)}" for part, entry in entries)


@functools.cache
def _docstrings(file: Path, base: str | None = None) -> dict[str, str]:
    """Class or function -> docstring, of a file that is read, not imported; with `base` only classes that inherit it.

    Empty where there is no source.
    """
    if not file.is_file():
        return {}
    return {node.name: ast.get_docstring(node) or "" for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
            and (base is None or base in [getattr(b, "id", None) for b in getattr(node, "bases", ())])}
