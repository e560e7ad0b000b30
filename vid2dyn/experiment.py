"""An experiment file: the tables of a TOML, each a constructor call, read and checked before any work starts.

::

    [video]                       # or [simulate]
    path = "movies/*.tif"         # one file, a folder of images, a pattern or a list; relative to this file
    micrometre_per_pixel = 0.16
    [track]
    diameter = 11
    search_range = 5
    [dynamics]
    kind = "Brownian"
    [fit]
    seed = 0
    [rollout]
    steps = 500
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vid2dyn.config import build, read_toml, recipe, settings
from vid2dyn.errors import ConfigError
from vid2dyn.files import sha256
from vid2dyn.pipeline import open_keys
from vid2dyn.registry import did_you_mean, part
from vid2dyn.units import Units

TABLES = ("video", "simulate", "track", "dynamics", "fit", "rollout")
_STILLS = {".png", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True)
class Fit:
    """Arguments of `vd.fit` beside the trajectories and the dynamics: table [fit].

    Parameters
    ----------
    seed : int
        Seed of every random choice of the fit.
    stop : int, optional
        Leave off after so many rounds, as a fit does that is stopped by hand; automatic = at the end.
    """

    seed: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Rollout:
    """Arguments of `Model.rollout`: table [rollout].

    Parameters
    ----------
    steps : int, optional
        Frames to simulate; automatic = as many as the data have.
    seed : int
        Seed of the thermal noise.
    """

    steps: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 2:
            raise ConfigError(f"steps = {self.steps}: a rollout needs at least 2 frames to compare with the data.")


@dataclass(frozen=True)
class Source:
    """Where the trajectories of one run come from: a movie (or table) to read, or a simulator.

    Parameters
    ----------
    path : Path, optional
        Movie, folder or pattern of images, or table of tracks.
    calibration : dict
        Keyword arguments of `vd.open`.
    simulator : Simulator, optional
        Instead of a path.
    seed : int
        Seed of the simulator.
    truth : dict, optional
        What is known about the sample, to be drawn beside what was found.
    true_positions : Path, optional
        Tracks (.parquet) with the true positions of a rendered recording.
    """

    path: Path | None = None
    calibration: dict[str, Any] = field(default_factory=dict)
    simulator: Any = None
    seed: int = 0
    truth: dict[str, Any] | None = None
    true_positions: Path | None = None

    @property
    def name(self) -> str:
        """A folder name for the results."""
        if self.path is None:
            return type(self.simulator).__name__
        return self.path.parent.name if set(self.path.name) & set("*?[") else self.path.stem

    def key(self) -> dict[str, Any]:
        """Everything the trajectories depend on at this end, as plain data (content, not location)."""
        if self.path is None:
            return {"simulate": recipe(self.simulator), "seed": self.seed}
        files = sorted(self.path.parent.glob(self.path.name)) if set(self.path.name) & set("*?[") else [self.path]
        return {"files": [sha256(f) for f in files], "calibration": self.calibration}

    def truth_key(self) -> list[Any]:
        """The same for what is known beforehand."""
        return [self.truth, self.true_positions and sha256(self.true_positions)]


@dataclass(frozen=True)
class Experiment:
    """A checked experiment: sources and the settings of every stage; `read` makes one from a TOML file."""

    sources: tuple[Source, ...]
    dynamics: Any
    track: Any = None
    fit: Fit = Fit()
    rollout: Rollout = Rollout()


def read(path: str | Path) -> Experiment:
    """The experiment in a TOML file.

    Raises
    ------
    ConfigError
        For a file that is absent or not TOML, an unknown table or key (with the nearest known one), a value
        of the wrong type or range, a missing movie, or neither/both of [video] and [simulate].
    """
    path = Path(path)
    tables = read_toml(path)
    for name, table in tables.items():
        if name not in TABLES:
            raise ConfigError(f"{path}: unknown table [{name}].{did_you_mean(name, TABLES)} "
                              f"Known: {', '.join(f'[{t}]' for t in TABLES)}.")
        if not isinstance(table, Mapping):
            raise ConfigError(f"{path}: {name} = {table!r} is not a table; write [{name}] and the keys below it.")
    if ("video" in tables) == ("simulate" in tables):
        raise ConfigError(f"{path}: give either [video] (a recording) or [simulate] (a simulation)"
                          f"{', not both' if 'video' in tables else ''}.")
    dynamics = part_from(tables.get("dynamics", {}), "vid2dyn.dynamics", "Brownian", f"{path} [dynamics]")
    fit = build(Fit, tables.get("fit", {}), f"{path} [fit]")
    rollout = build(Rollout, tables.get("rollout", {}), f"{path} [rollout]")
    if "simulate" in tables:
        if "track" in tables:
            raise ConfigError(f"{path} [track]: a simulation gives trajectories, there is nothing to track; "
                              "remove the table.")
        return Experiment((_simulation(tables["simulate"], f"{path} [simulate]"),), dynamics, None, fit, rollout)
    from vid2dyn.tracking import Track

    sources = _movies(tables["video"], path)
    only_tables = all(s.path and s.path.suffix.lower() in (".csv", ".xml", ".parquet") for s in sources)
    track = None if only_tables and "track" not in tables else build(
        Track, tables.get("track", {}), f"{path} [track]")
    return Experiment(sources, dynamics, track, fit, rollout)


def part_from(table: Mapping[str, Any], package: str, default: str | None, where: str) -> Any:
    """The registered part of `package` that `table` describes; its `kind` names the class."""
    base = base_of(package)
    kind = table.get("kind", default)
    if not isinstance(kind, str):
        from vid2dyn.registry import parts

        raise ConfigError(f"{where}: say which with kind = one of {', '.join(parts(package, base))}.")
    try:
        cls = part(package, base, kind)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return build(cls, table, where)


def base_of(package: str) -> type:
    """The abstract class that the parts of a package inherit."""
    import importlib

    home, name = {"vid2dyn.simulators": ("simulators.base", "Simulator"), "vid2dyn.readers": ("readers", "Reader"),
                  "vid2dyn.dynamics": ("dynamics.recipes", "Recipe")}[package]
    return getattr(importlib.import_module(f"vid2dyn.{home}"), name)


def _simulation(table: Mapping[str, Any], where: str) -> Source:
    arguments = dict(table)
    seed = arguments.pop("seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"{where}: seed = {seed!r} is not a whole number.")
    return Source(simulator=part_from(arguments, "vid2dyn.simulators", None, where), seed=seed)


def _movies(table: Mapping[str, Any], toml: Path) -> tuple[Source, ...]:
    where = f"{toml} [video]"
    calibration = dict(table)
    given = calibration.pop("path", None)
    if isinstance(given, str):
        given = [given]
    if not given or not all(isinstance(p, str) for p in given):
        raise ConfigError(f'{where}: path = "clip.avi" (or a pattern, or a list) says which movie to read.')
    choices = ["path", *open_keys()]
    for key in calibration:
        if key not in choices:
            raise ConfigError(f"{where}: unknown key {key!r}.{did_you_mean(key, choices)} "
                              f"[video] takes: {', '.join(choices)}.")
    build(Units, {key: value for key, value in calibration.items() if key in settings(Units)}, where)
    return tuple(Source(p, calibration) for pattern in given for p in _matches(pattern, toml, where))


def _matches(pattern: str, toml: Path, where: str) -> list[Path]:
    """Movies behind one entry of `path`. A pattern of still images is one movie, any other is one each."""
    path = toml.parent / pattern
    if not set(pattern) & set("*?["):
        if not path.exists():
            raise ConfigError(f"{where}: path = {pattern!r}: no such file or folder ({path}); "
                              "paths are relative to the settings file.")
        return [path]
    found = sorted(toml.parent.glob(pattern))
    if not found:
        raise ConfigError(f"{where}: nothing matches path = {pattern!r} in {toml.parent}; "
                          "paths are relative to the settings file.")
    return [path] if all(p.suffix.lower() in _STILLS for p in found) else found


