"""Writes the references of Python and of the command line from the package, before pages are read.

`docs/api/` gets a page for every public class and one for the functions of each room; `docs/cli/` a page for every
command. What they say is in docstrings and in the dataclasses of the settings: there is no second text to keep in step.
Files are written only where they change, so that a second build reads only what is new.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from vid2dyn.core.describe import type_name
from vid2dyn.core.registry import parts

ROOMS = {
    "vid2dyn": "The verbs, the data, the dynamics and the errors: what `import vid2dyn as vd` gives.",
    "vid2dyn.terms": "Energies and frictions of which a `Metriplectic` model is made.",
    "vid2dyn.model": "What a fitted model can say. Models are made by `vd.fit` and read by `vd.load`.",
    "vid2dyn.analysis": "Numbers with error bars, of tracks and of pictures.",
    "vid2dyn.tracking": "Detection, fits and linking, for those who take the tracker apart; others use `vd.track`.",
    "vid2dyn.simulators": "Data whose truth is known, and a microscope that looks at them.",
    "vid2dyn.readers": "Formats of recordings. `vd.open` chooses by the suffix; settings are its keywords.",
    "vid2dyn.convert": "Tables of other programs.",
    "vid2dyn.export": "Models for other programs.",
    "vid2dyn.results": "What the verbs return, where it is not tracks, a model or a result of `vd.analysis`.",
    "vid2dyn.bases": "What a part of your own inherits.",
    "vid2dyn.testing": "Tests that a part of your own inherits.",
}
RESULTS = ["vid2dyn.assessment.table:Assessment", "vid2dyn.reports.suggestion:Suggestion",
           "vid2dyn.encoders.patches.trained:TrainedPatchEncoder", "vid2dyn.runs.one:Outcome"]
BASES = ["vid2dyn.dynamics.recipes.base:Recipe", "vid2dyn.reports.sections.base:ReportSection",
         "vid2dyn.reports.sections.base:Section", "vid2dyn.dynamics.terms.base:PairEnergy",
         "vid2dyn.dynamics.terms.base:Parameters", "vid2dyn.dynamics.terms.base:Quantity",
         "vid2dyn.dynamics.terms.base:NodeColumns", "vid2dyn.data.video:VideoInfo"]


def public(room: str) -> dict[str, Any]:
    """Public classes and functions of a room, by the name under which they are imported."""
    if room == "vid2dyn.model":
        import vid2dyn

        found = {"vid2dyn.Model": vid2dyn.Model}
        waiting = list(found.values())
        for recipe in parts("dynamics").values():
            importlib.import_module(recipe.model.partition(":")[0])                 # type: ignore[attr-defined]
        for name in ("solid", "term_list", "metriplectic"):
            importlib.import_module(f"vid2dyn.model.{name}")
        while waiting:
            for child in waiting.pop().__subclasses__():
                if child.__module__.startswith("vid2dyn.") and not child.__name__.startswith("_"):
                    found[f"{child.__module__}.{child.__name__}"] = child
                    waiting.append(child)
        return {name: value for name, value in found.items() if name != "vid2dyn.Model"}
    if room in ("vid2dyn.results", "vid2dyn.bases"):
        pairs = [word.split(":") for word in (RESULTS if room == "vid2dyn.results" else BASES)]
        return {f"{module}.{name}": getattr(importlib.import_module(module), name) for module, name in pairs}
    if room == "vid2dyn.readers":
        found = {f"{kind.__module__}.{name}": kind for name, kind in parts("readers").items()
                 if kind.__module__.startswith("vid2dyn.")}
        return {"vid2dyn.readers.Reader": importlib.import_module(room).Reader, **found}
    module = importlib.import_module("vid2dyn.dynamics.terms" if room == "vid2dyn.terms" else room)
    values = {f"{room}.{name}": getattr(module, name) for name in module.__all__}
    return {name: value for name, value in values.items() if inspect.isclass(value) or inspect.isroutine(value)}


def first_line(value: Any) -> str:
    """What a class or function is, in a line."""
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


def title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n\n"


def class_page(name: str, kind: type) -> str:
    options = ":members:\n"
    if not issubclass(kind, (tuple, int, BaseException)):
        options += "   :inherited-members:\n"
    return title(kind.__name__) + f".. autoclass:: {name}\n   {options}"


def room_pages() -> Iterator[tuple[str, str]]:
    """(file name, text) of the pages of the reference of Python."""
    toc = title("Python reference") + ("Every public name, from its docstring. Lengths are in µm, times in s, energies "
                                       "in kT, unless a docstring says otherwise.\n\n")
    rooms = []
    for room, about in ROOMS.items():
        values = public(room)
        kinds = {name: value for name, value in sorted(values.items()) if inspect.isclass(value)}
        functions = {name: value for name, value in sorted(values.items()) if not inspect.isclass(value)}
        text = title({"vid2dyn.results": "Results of the verbs", "vid2dyn.bases": "Bases of parts"}.get(room, room))
        text += about + "\n\n"
        if kinds:
            text += ".. list-table::\n   :widths: 30 70\n\n"
            for name, kind in kinds.items():
                text += f"   * - :doc:`{kind.__name__} <{name}>`\n     - {first_line(kind)}\n"
            text += "\n.. toctree::\n   :hidden:\n\n" + "".join(f"   {name}\n" for name in kinds) + "\n"
        for name in functions:
            text += f".. autofunction:: {name}\n\n"
        rooms.append(room)
        yield f"{room}.rst" if room != "vid2dyn" else "vid2dyn.rst", text
        for name, kind in kinds.items():
            yield f"{name}.rst", class_page(name, kind)
    toc += ".. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {room}\n" for room in rooms)
    yield "index.rst", toc


def command_pages() -> Iterator[tuple[str, str]]:
    """(file name, text) of the pages of the command line."""
    from vid2dyn.cli.commands import app

    toc = title("Command line") + (
        "Every command and option, as ``--help`` shows them. Options that are settings are the constructor arguments "
        "of the class that holds them; settings of a part that is chosen by its name are given as ``--set key=value``, "
        "and ``vid2dyn list`` shows them. Exit codes: 0 done, 2 wrong input or settings, 130 cancelled with Ctrl-C."
        "\n\n")
    root = inspect.signature(app.registered_callback.callback)                     # type: ignore[union-attr, arg-type]
    toc += "Before the command:\n\n" + "".join(option_text(one) for one in root.parameters.values())
    commands = {command.name: command for command in app.registered_commands}
    toc += ".. toctree::\n   :hidden:\n\n" + "".join(f"   {name}\n" for name in commands) + "\n"
    toc += ".. list-table::\n   :widths: 20 80\n\n"
    for name, command in commands.items():
        about, _, more = plain_text(command.help).partition("\n\n")
        toc += f"   * - :doc:`vid2dyn {name} <{name}>`\n     - {about}\n"
        parameters = inspect.signature(command.callback).parameters.values()       # type: ignore[arg-type]
        arguments = [one for one in parameters if isinstance(details(one), ArgumentInfo)]
        words = [f"{one.name.strip('_').upper()}{'...' if 'list' in str(one.annotation) else ''}" for one in arguments]
        words = [f"[{word}]" if one.default is not one.empty else word for word, one in zip(words, arguments)]
        text = title(f"vid2dyn {name}") + f"{about}\n\n.. code-block:: text\n\n"
        text += "   " + " ".join(["vid2dyn", str(name), *words, "[OPTIONS]"]) + "\n\n" + (f"{more}\n\n" if more else "")
        text += "".join(f"``{word}``\n   {plain_text(details(one).help)}\n\n" for word, one in zip(words, arguments))
        panels: dict[str, list[inspect.Parameter]] = {}
        for one in parameters:
            if not isinstance(details(one), ArgumentInfo):
                panels.setdefault(details(one).rich_help_panel or "Options", []).append(one)
        for panel in sorted(panels, key="Options".__eq__):
            text += f"{panel}\n{'-' * len(panel)}\n\n" + "".join(option_text(one) for one in panels[panel])
        yield f"{name}.rst", text
    yield "index.rst", toc


def details(parameter: inspect.Parameter) -> Any:
    """What typer is told about a parameter: an argument or an option."""
    annotation = parameter.annotation
    if isinstance(annotation, str):                        # a module whose annotations are text
        from vid2dyn.cli import options

        annotation = eval(annotation, vars(options))
    return next(one for one in annotation.__metadata__ if isinstance(one, (ArgumentInfo, OptionInfo)))


def option_text(parameter: inspect.Parameter) -> str:
    """An entry of a definition list: names, type, help and default of an option."""
    option = details(parameter)
    given = [option.default, *(option.param_decls or ())]    # typer takes the first name for a default
    names = [name for name in given if isinstance(name, str) and name.startswith("-")] or [
        "--" + parameter.name.strip("_").replace("_", "-")]
    hint = parameter.annotation if isinstance(parameter.annotation, str) else type_name(parameter.annotation.__origin__)
    flag = hint.startswith(("bool", "Annotated[bool"))
    own = option.metavar or {"Path": "path", "int": "integer", "float": "number", "str": "text"}.get(
        hint.removesuffix(" or None").removeprefix("Annotated[").partition(",")[0], hint)
    default = "" if flag or parameter.default in (None, parameter.empty, "") else f" [default: {parameter.default}]"
    if flag and parameter.default is None:
        names.append(f"--no-{names[0].removeprefix('--')}")
    return (f"``{'``, ``'.join(names)}``{'' if flag else f' *{own}*'}\n   {plain_text(option.help)}{default}\n\n")


def plain_text(text: str | None) -> str:
    """Help without the escapes of the terminal, with those of the page (``*`` and ``|`` are no markup there)."""
    return re.sub(r"([*|_])(?=\W|$)|(?<=\W)([*|])", lambda found: "\\" + found[0], (text or "").replace("\\[", "["))


def write(folder: Path, pages: Iterator[tuple[str, str]]) -> None:
    """Write pages that changed, remove those that are no more."""
    folder.mkdir(exist_ok=True)
    names = set()
    for name, text in pages:
        names.add(name)
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def generate(app: Any) -> None:
    write(Path(app.srcdir) / "api", room_pages())
    write(Path(app.srcdir) / "cli", command_pages())


def with_headed_examples(lines: list[str]) -> list[str]:
    """A docstring whose example follows a list (of parameters, of errors) without a heading, with that heading.

    >>> with_headed_examples(["Sum.", "", "Parameters", "----------", "a : int", "", ">>> 1 + 1"])[-4:]
    ['', 'Examples', '--------', '>>> 1 + 1']
    """
    found: list[str] = []
    heading = ""
    for before, line in zip(["", *lines], lines):
        if before and line and set(line) == {"-"}:
            heading = before
        if line.startswith(">>>") and not before and heading and heading != "Examples":
            found += ["Examples", "--------"]
            heading = "Examples"
        found.append(line)
    return found


def sections(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Numpy-style sections as autodoc reads them. Types stay words: they are no references.

    (The extension sphinx.ext.napoleon itself takes what stands before a colon in the text of a property for its type.)
    """
    from sphinx.ext.napoleon import Config, NumpyDocstring

    words = Config(napoleon_google_docstring=False, napoleon_use_param=False, napoleon_use_rtype=False,
                   napoleon_use_ivar=True)
    kind = "method" if what in ("property", "attribute", "data") else what
    lines[:] = NumpyDocstring(with_headed_examples(lines), words, app, kind, name, value, options).lines()


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-docstring", sections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
