"""A session as a Python script and as an experiment file. Pure text; floats come back as they were."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vid2dyn as vd

HEAD = '''"""What was done in the panel, as a script. Run it: python {name} [folder for the results]

Written by vid2dyn {version}; every setting is named, also those at their defaults, so that it stays what was run.
"""

import sys
from pathlib import Path

import vid2dyn as vd

out = Path(sys.argv[1] if len(sys.argv) > 1 else {out})
out.mkdir(parents=True, exist_ok=True)
'''


_WIDTH = 90
"""Characters of a line of arguments."""


def script(steps: Mapping[str, Any], *, fields: bool, out: str, name: str = "session.py") -> str:
    """The steps of a session as a Python script."""
    if "open" not in steps:
        raise vd.ConfigError("Nothing was opened yet, so there is nothing to write. Open a recording first.")
    data = "fields" if fields else "tracks"
    lines = [*_source(steps["open"], data), *_tracking(steps, data)]
    if "fit" in steps:
        lines += _model(steps["fit"], data)
    if "rollout" in steps:
        arguments = ", ".join(f"{key}={_literal(value)}" for key, value in steps["rollout"].arguments.items())
        lines.append(f"future = model.rollout({data}, {arguments})")
        lines.append(f'future.save(out / "rollout{".fields" if fields else ".parquet"}")')
        if not fields:
            lines.append("print(vd.compare(tracks, future))")
    if fields or "track" in steps or steps["open"].verb == "simulate":
        known = [f"{key}={value}" for key, value, there in (
            ("model", "model", "fit" in steps), ("rollout", "future", "rollout" in steps),
            ("video", "video", "track" in steps)) if there]
        lines.append(f'vd.report(out / "report.html", tracks={data}{"".join(", " + k for k in known)})')
    return HEAD.format(out=quoted(out), version=vd.__version__,
                       name="".join(c for c in name if c.isalnum() or c in "._- ")) + "\n" + "\n".join(lines) + "\n"


def _source(step: Any, data: str) -> list[str]:
    given = step.arguments
    if step.verb == "simulate":
        return [f"{data} = vd.simulate({call(given['simulator'])}, seed={given['seed']})",
                f'{data}.save(out / "{data}{".fields" if data == "fields" else ".parquet"}")']
    if step.verb == "table":                     # tracks that no file holds: exported beside the script
        return ['tracks = vd.load(Path(__file__).with_name("tracks.parquet"))']
    path = quoted(Path(given["path"]).absolute())
    options = "".join(f", {key}={_literal(value)}" for key, value in given["calibration"].items())
    suffix = Path(given["path"]).suffix
    if suffix in (".parquet", ".fields"):
        units = f".with_units({options[2:]})" if options else ""
        return [f"{data} = vd.load({path}){units}"]
    if suffix.lower() in vd.core.files.TABLES:
        return [f"tracks = vd.open({path}{options})"]
    return [f"video = vd.open({path}{options})"]


def _tracking(steps: Mapping[str, Any], data: str) -> list[str]:
    lines = []
    if "track" in steps:
        arguments = _arguments(steps["track"].arguments["settings"])
        lines.append(f"tracks = vd.track(video{', ' if arguments else ''}{arguments})")
    if "edit" in steps and steps["open"].verb != "table":          # those were exported as they are now
        edits = "".join(f"    {_literal(edit)},\n" for edit in steps["edit"].arguments["edits"])
        lines.append(f"tracks = vd.curate(tracks, [\n{edits}])")
    return [*lines, 'tracks.save(out / "tracks.parquet")', "print(vd.diffusion(tracks))"] if lines else []


def _model(step: Any, data: str) -> list[str]:
    if step.verb == "load":
        path = quoted(Path(step.arguments["path"]).absolute())
        return [f"model = vd.load({path})"]
    options = "".join(f", {key}={value}" for key, value in step.arguments.items() if key != "recipe")
    return [f"model = vd.fit({data}, {call(step.arguments['recipe'])}{options})",
            'model.save(out / "model.vid2dyn")', "print(model)"]


def quoted(text: str | os.PathLike[str]) -> str:
    """A text or path as a literal of Python, whatever it holds: a name is data, never code.

    >>> quoted('a"; import os; "'), quoted("C:\\\\Users"), quoted("µm")
    ('"a\\\\"; import os; \\\\""', '"C:\\\\\\\\Users"', '"µm"')
    """
    plain = os.fspath(text)
    return json.dumps(plain, ensure_ascii=not plain.isprintable())


def ran(part: Any) -> dict[str, Any]:
    """All settings of a dataclass, in order: a default may be another one in a later version.

    >>> ran(vd.simulators.Soft(amplitude=3.0))
    {'amplitude': 3.0, 'range': 2.0, 'shape': 'harmonic'}
    """
    return {name: getattr(part, name) for name in vd.core.config.settings(type(part))}


def call(part: Any) -> str:
    """The constructor call of a configurable part, with all of its settings.

    >>> call(vd.simulators.Soft(amplitude=3.0))
    'vd.simulators.Soft(amplitude=3.0, range=2.0, shape="harmonic")'
    """
    name, module = type(part).__name__, type(part).__module__
    if name in vd.__all__ and getattr(vd, name) is type(part):
        home = f"vd.{name}"
    elif module.startswith("vid2dyn.simulators."):
        home = f"vd.simulators.{name}"
    elif isinstance(part, vd.terms.Energy | vd.terms.Friction):        # those of other packages too
        home = f"vd.terms.{name}"
    else:
        home = f"{module.replace('vid2dyn', 'vd', 1)}.{name}"
    return f"{home}({_arguments(part)})"


def _arguments(part: Any) -> str:
    """Settings as arguments, on as many lines as they need.

    >>> print(_arguments(vd.simulators.Yukawa(amplitude=3.0)))
    amplitude=3.0, screening_length=0.3, diameter=1.0, cutoff=None
    """
    lines = [""]
    for item in (f"{name}={_literal(value)}" for name, value in ran(part).items()):
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH:
            lines.append("")
        lines[-1] += f"{item}, "
    return "\n    ".join(line.rstrip() for line in lines).rstrip(",")


def _literal(value: Any) -> str:
    """Python source of a setting; a number comes back as it was."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return call(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        inner = ", ".join(_literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    value = value.item() if hasattr(value, "item") else value
    return quoted(value) if isinstance(value, str) else repr(value)


def nothing_left(settings: Any) -> str:
    """Why a table of tracks may be empty, and what to do."""
    text = "No track is left. "
    if settings.min_length > 1:
        text += f"None is seen in {settings.min_length} frames (min_length): lower it, or give a larger " \
                "search_range or memory. "
    return text + "If the preview of Detect shows no rings either, lower minmass or change the diameter."


def toml(steps: Mapping[str, Any], *, fields: bool, folder: str | os.PathLike[str] | None) -> str:
    """The steps of a session as an experiment file."""
    if "open" not in steps:
        raise vd.ConfigError("Nothing was opened yet, so there is nothing to write. Open a recording first.")
    source = steps["open"]
    if source.verb == "table":
        raise vd.ConfigError("These tracks come from a layer, not from a file: export them as .parquet, open that "
                             "file, and write the experiment file then.")
    if "fit" in steps and steps["fit"].verb == "load":
        raise vd.ConfigError("The model was read from a file; an experiment file fits its own. Write a Python script.")
    if "edit" in steps:
        raise vd.ConfigError("Tracks that were edited by hand are no experiment for other movies: write the Python "
                             "script, which repeats the edits.")
    tables: dict[str, dict[str, Any]] = {}
    if source.verb == "simulate":
        tables["simulate"] = {**_table(source.arguments["simulator"]), "seed": source.arguments["seed"]}
    else:
        tables["fields" if fields else "video"] = {"path": _path(source.arguments["path"], folder),
                                                   **source.arguments["calibration"]}
    if "track" in steps:
        tables["track"] = _table(steps["track"].arguments["settings"], kind=False)
    if "fit" in steps:
        tables["dynamics"] = _table(steps["fit"].arguments["recipe"])
        tables["fit"] = {key: value for key, value in steps["fit"].arguments.items() if key != "recipe"}
    if "rollout" in steps:
        tables["rollout"] = dict(steps["rollout"].arguments)
    return "\n".join(_of_table(name, table) for name, table in tables.items())


def _of_table(name: str, table: Mapping[str, Any]) -> str:
    """A table of the file; lists of parts come last, each part as a table of its own.

    >>> print(_of_table("dynamics", {"energy": (vd.terms.PairPotential(cutoff=1.0),), "mass": 2.0}))
    [dynamics]
    mass = 2.0
    [[dynamics.energy]]
    kind = "PairPotential"
    cutoff = 1.0
    knots = 20
    learn_range = true
    <BLANKLINE>
    """
    lines, parts = [f"[{name}]\n"], []
    for key, value in table.items():
        if isinstance(value, tuple | list) and any(dataclasses.is_dataclass(item) for item in value):
            parts += [f"[[{name}.{key}]]\n" + "".join(f"{k} = {toml_value(v)}\n" for k, v in _table(item).items())
                      for item in value]
        elif value is not None:
            lines.append(f"{key} = {toml_value(value)}\n")
    return "".join([*lines, *parts])


def _path(path: Any, folder: str | os.PathLike[str] | None) -> str:
    """Relative to `folder` if it lies below it, else absolute."""
    absolute = Path(path).absolute()
    if folder is not None and absolute.is_relative_to(Path(folder).absolute()):
        return absolute.relative_to(Path(folder).absolute()).as_posix()
    return absolute.as_posix()


def _table(part: Any, kind: bool = True) -> dict[str, Any]:
    """All settings; those that are not set are left out, which is how a file says it, or "none" where that is not the
    default."""
    defaults, settings = vd.core.config.settings(type(part)), ran(part)
    for name, value in settings.items():
        if value is None and vd.core.config.none_in_words(*defaults[name]):
            settings[name] = "none"
        elif value is None and defaults[name][1] is not None:
            raise vd.ConfigError(f"{type(part).__name__}: {name} = None cannot be written to an experiment file, where "
                                 "a key that is absent has its default. Write a Python script instead.")
    known = {name: value for name, value in settings.items() if value is not None}
    return ({"kind": type(part).__name__} if kind else {}) | known


def toml_value(value: Any) -> str:
    """A TOML value; nested parts are inline tables.

    >>> toml_value(vd.simulators.Soft(amplitude=3.0))
    '{kind = "Soft", amplitude = 3.0, range = 2.0, shape = "harmonic"}'
    >>> toml_value((1, 2.5)), toml_value("µm"), toml_value(True)
    ('[1, 2.5]', '"µm"', 'true')
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "{" + ", ".join(f"{key} = {toml_value(item)}" for key, item in _table(value).items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | os.PathLike):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value.item() if hasattr(value, "item") else value)
