"""What every command shares: options made from settings, a bar with the time left, errors without a traceback."""

from __future__ import annotations

import functools
import inspect
import json
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from vid2dyn import pipeline
from vid2dyn.cli.terminal import bars, errors, interrupt_after_compilation, notes, printed_at_the_end, say
from vid2dyn.core.config import parts_in
from vid2dyn.core.config import settings as settings_of
from vid2dyn.core.describe import default_text, setting_help, type_name
from vid2dyn.core.errors import ConfigError, Vid2DynError
from vid2dyn.core.files import check_writable
from vid2dyn.core.registry import did_you_mean, family_of

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="Video of moving particles in, a thermodynamically consistent stochastic model out.")


def _version(wanted: bool) -> None:
    if wanted:
        import vid2dyn

        typer.echo(f"vid2dyn {vid2dyn.__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Show the version and leave.")] = False,
          log: Annotated[str, typer.Option("--log", help="File that says what was done when, line by line; - for "
                                                         "standard error.")] = "") -> None:
    if not log:
        return
    import logging

    try:
        handler = logging.StreamHandler() if log == "-" else logging.FileHandler(log, encoding="utf-8", delay=False)
    except OSError as error:
        typer.echo(f"{log}: cannot be written ({error.strerror}); choose another file for --log.", err=True)
        raise typer.Exit(2) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("vid2dyn")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)


def verb(name: str | None = None, **groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command.

    It is called with `progress` and, for every group (`settings=Track`), with a dictionary of the
    options of that dataclass that the user gave. Adds ``--quiet`` and ``--debug``.
    """
    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = typing.get_type_hints(function, include_extras=True)
        parameters = [p.replace(annotation=own[p.name], kind=inspect.Parameter.KEYWORD_ONLY)
                      for p in inspect.signature(function).parameters.values()
                      if p.name not in ("progress", *groups)]
        members = {group: _options(cls, group) for group, cls in groups.items()}
        parameters += [option for options in members.values() for option in options]
        parameters += _common_options()

        @functools.wraps(function)
        def command(**given: Any) -> None:
            quiet, debug = given.pop("quiet"), given.pop("debug")
            for group, options in members.items():
                values = {option.name: given.pop(option.name) for option in options}
                given[group] = {key: value for key, value in values.items() if value is not None}
            with errors(debug), notes(), interrupt_after_compilation(), printed_at_the_end(), bars(quiet) as progress:
                given |= {group: _lists(given[group], cls) for group, cls in groups.items()}
                function(**given, progress=progress)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name or function.__name__, help=_paragraphs(function))(command)
        return function

    return register


def _paragraphs(function: Callable[..., None]) -> str:
    """The docstring of a command for ``--help``: lines of a paragraph joined, nothing in it taken for markup."""
    from rich.markup import escape

    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return escape("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def _common_options() -> list[inspect.Parameter]:
    flags = {"quiet": "Show no progress.", "debug": "Show the traceback of an error."}
    return [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False,
                              annotation=Annotated[bool, typer.Option(f"--{name}", help=text)])
            for name, text in flags.items()]


def _options(cls: type, group: str) -> list[inspect.Parameter]:
    """One command-line option for each setting of a dataclass; None means that it was not given."""
    from rich.markup import escape  # or the help would take units such as [px] for markup

    helps = setting_help(cls)
    found = []
    for name, (hint, default) in settings_of(cls).items():
        text = f"{helps[name]} {_choices(hint)}[default: {default_text(default)}]"
        option = typer.Option(help=escape(text), show_default=False, rich_help_panel=group.capitalize())
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                       annotation=Annotated[_simple(hint) | None, option]))
    return found


def _choices(hint: Any) -> str:
    """What may be written where a setting is one of a few words; empty for other settings.

    >>> _choices(typing.Literal["none", "trackpy"]), _choices(float)
    ('One of: none, trackpy. ', '')
    """
    words = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    return f"One of: {', '.join(map(str, words))}. " if words else ""


def _simple(hint: Any) -> Any:
    """The type in which the command line takes a setting; what is not a plain number comes as text."""
    optional = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    members = [m for m in typing.get_args(hint) if m is not type(None)] if optional else [hint]
    return members[0] if len(members) == 1 and members[0] in (bool, int, float, str) else str


def _lists(values: dict[str, Any], cls: type) -> dict[str, Any]:
    """Settings that are lists, given as text ("4.5, 6.2" or "[4.5, 6.2]"), as tuples of what TOML reads in them."""
    hints = {name: hint for name, (hint, _) in settings_of(cls).items()}
    for name, value in values.items():
        several = tuple in (typing.get_origin(hints[name]), *map(typing.get_origin, typing.get_args(hints[name])))
        if several and isinstance(value, str):
            try:
                values[name] = tuple(tomllib.loads(f"value = [{value.strip().strip('[]()')}]")["value"])
            except tomllib.TOMLDecodeError:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: write numbers with commas between, for example "
                                  f"--{name.replace('_', '-')} 4.5,6.2.") from None
    return values


def build_part(family: str, name: str, assignments: list[str] | None) -> Any:
    """The registered part `name` of `family` with settings from ``--set key=value``."""
    from vid2dyn.runs.experiment import part_from

    return part_from({"kind": name, **parse_assignments(assignments or [])}, family, None, f"{name} --set")


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """``["cutoff=3", "pair.kind=Yukawa"]`` as a table; values are TOML, and a bare word is a text.

    >>> parse_assignments(["cutoff=3.5", "pair.kind=Yukawa", "shared=true"])
    {'cutoff': 3.5, 'pair': {'kind': 'Yukawa'}, 'shared': True}
    >>> parse_assignments(['energy=[{kind="HarmonicTrap"}]'])
    {'energy': [{'kind': 'HarmonicTrap'}]}
    """
    lines = []
    for item in assignments:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {item}: write key=value, for example --set cutoff=3.0.")
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            value = json.dumps(value)
        lines.append(f"{key.strip()} = {value}")
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--set {' --set '.join(assignments)}: {error}.") from None


def tracks_at(path: Path, calibration: dict[str, Any] | None = None) -> Any:
    """The trajectories in a file, with calibration given on the command line on top."""
    if path.suffix.lower() in pipeline.TABLES:
        return pipeline.open_recording(path, **(calibration or {}))
    if path.exists() and path.suffix not in (".parquet", ".vid2dyn"):
        raise ConfigError(f"{path}: not a file of tracks. If it is a recording, find its particles first: "
                          f"vid2dyn track {path} --diameter ...")
    found = pipeline.load(path)
    if not hasattr(found, "with_units"):
        raise ConfigError(f"{path}: not tracks but a {type(found).__name__}; give a .parquet file of tracks.")
    return found.with_units(**(calibration or {}))


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Errors name the file that the user gave."""
    try:
        yield
    except Vid2DynError as error:
        if path.name in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def model_at(path: Path) -> Any:
    """The model in a file."""
    found = pipeline.load(path)
    if not hasattr(found, "rollout"):
        raise ConfigError(f"{path}: not a model but {type(found).__name__}; give a .vid2dyn file.")
    return found


def suffix(path: Path, wanted: str, *inputs: Path | None) -> Path:
    """`path`, refused before the work if it ends in something else than its content will be, or cannot be written, or
    is one of the `inputs`."""
    if path.suffix != wanted:
        raise ConfigError(f"--out {path}: the file is written as {wanted}; name it {path.stem}{wanted}.")
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder; give a file name.")
    return check_writable(path, *inputs)


def viewer(paths: list[Path]) -> None:
    """Show paths in the viewer that is installed (entry point group vid2dyn.viewers; napari's plugin is in it)."""
    from importlib.metadata import entry_points

    how = 'Install it with pip install "vid2dyn[gui]" (in a clone: pip install -c constraints.txt -e ".[gui]").'
    found = list(entry_points(group="vid2dyn.viewers"))
    if not found:
        raise ConfigError(f"view: no viewer is installed. {how}")
    try:
        found[0].load()(paths)
    except ImportError as error:                       # a package, a Qt binding, or a library of the system
        if str(error.name).partition(".")[0] == "vid2dyn":
            raise
        raise ConfigError(f"view: {error}. {how} Where a library (.so) is missing, on Debian: apt-get install "
                          "libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libxcb-cursor0 libxcb-icccm4 "
                          "libxcb-keysyms1.") from None


def show_parts(family: str | None) -> None:
    """Print the families, or one of them with every setting."""
    known = families()
    if family is not None and family not in known:
        raise ConfigError(f"list: unknown family {family!r}.{did_you_mean(family, known)} "
                          f"Known: {', '.join(known)}.")
    for name in [family] if family else known:
        say(name)
        found = known[name]()
        width = max(map(len, found))
        for part_name, cls in found.items():
            summary = (inspect.getdoc(cls) or "").partition("\n")[0]
            package = cls.__module__.partition(".")[0]
            say(f"  {part_name:<{width}}  {summary}{'' if package == 'vid2dyn' else f' [from {package}]'}")
            if family and hasattr(cls, "__dataclass_fields__"):
                helps = setting_help(cls)
                for key, (hint, default) in settings_of(cls).items():
                    text = f"{helps[key]} {_where_listed(hint)}".strip()
                    say(f"      {key} ({type_name(hint)}, {default_text(default)})  {text}")


def _where_listed(hint: Any) -> str:
    """What to write for a setting that holds parts, and where these are listed; empty for other settings."""
    names = [name for name in map(family_of, parts_in(hint)) if name is not None]
    if not names:
        return ""
    several = typing.get_origin(hint) is tuple
    return f"{'Each' if several else 'It'} has a kind and settings of its own: vid2dyn list {' or '.join(names)}."


def families() -> dict[str, Callable[[], dict[str, type]]]:
    """Family name -> function that finds its parts: those of the registry, and the rooms with a single part."""
    from vid2dyn.core.registry import FAMILIES, parts

    def renderer() -> dict[str, type]:
        from vid2dyn.simulators import Renderer

        return {"Renderer": Renderer}

    def tracking() -> dict[str, type]:
        from vid2dyn.tracking import Track

        return {"Track": Track}

    def encoders() -> dict[str, type]:
        from vid2dyn.encoders.patches.recipe import PatchEncoder

        return {"PatchEncoder": PatchEncoder}

    return {**{name: functools.partial(parts, name) for name in FAMILIES}, "renderer": renderer, "tracking": tracking,
            "encoders": encoders}
