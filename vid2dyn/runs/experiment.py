"""An experiment file: the tables of a TOML, each a constructor call, read and checked before any work starts.

::

    [video]                       # or [simulate], or [fields] for densities on a lattice
    path = "movies/*.tif"         # one file, a folder of images, a pattern or a list; relative to this file
    micrometre_per_pixel = 0.16
    [track]
    diameter = 11
    search_range = 5
    [encode]                      # optional: structural variables from the images
    columns = 2
    [dynamics]
    kind = "Brownian"
    [fit]
    seed = 0
    [rollout]
    steps = 500

Parts of which there may be several, such as the energies and frictions of a model, are one table each::

    [dynamics]
    kind = "Metriplectic"
    entropy = false
    [[dynamics.energy]]
    kind = "PairPotential"
    cutoff = 1.0
    [[dynamics.friction]]
    kind = "PairFriction"
    cutoff = 1.0

A simulated lattice needs no more than ``[simulate]`` with ``kind = "Arrhenius"``; its dynamics is a gradient flow, and
[rollout] then takes what `FieldRollout` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vid2dyn.core import files
from vid2dyn.core.config import build, read_toml, settings
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.registry import did_you_mean, part, parts
from vid2dyn.data.units import Units
from vid2dyn.dynamics.recipes.base import DEFAULT_DYNAMICS
from vid2dyn.pipeline import open_keys
from vid2dyn.runs.tables import Encode, Experiment, FieldRollout, Fit, Rollout, Source

__all__ = ["TABLES", "Encode", "Experiment", "FieldRollout", "Fit", "Rollout", "Source", "part_from", "read"]

TABLES = ("video", "simulate", "fields", "track", "encode", "dynamics", "fit", "rollout")
_POSITIONS = (*files.TABLES, ".parquet")
_OF_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""What Windows and macOS leave in folders, as macOS does "._name" on foreign disks: "movies/*" does not mean them."""
_STILLS = {".png", ".jpg", ".jpeg", ".bmp"}


def read(path: str | Path) -> Experiment:
    """The experiment in a TOML file.

    Raises
    ------
    ConfigError
        For a file that is absent or not TOML, an unknown table or key (with the nearest known one), a value
        of the wrong type or range, a missing movie, not exactly one of [video], [simulate] and [fields], or tables
        that do not go together.
    """
    path = Path(path)
    tables = read_toml(path)
    for name, table in tables.items():
        if name not in TABLES:
            raise ConfigError(f"{path}: unknown table [{name}].{did_you_mean(name, TABLES)} "
                              f"Known: {', '.join(f'[{t}]' for t in TABLES)}.")
        if not isinstance(table, Mapping):
            raise ConfigError(f"{path}: {name} = {table!r} is not a table; write [{name}] and the keys below it.")
    given = [name for name in ("video", "simulate", "fields") if name in tables]
    if len(given) != 1:
        raise ConfigError(f"{path}: give either [video] (a recording) or [simulate] (a simulation) or "
                          f"[fields] (densities from a file){', not both' if len(given) > 1 else ''}.")
    sources = _sources(given[0], tables[given[0]], path)
    of_fields = sources[0].of_fields
    wanted = "fields" if of_fields else "trajectories"
    dynamics = part_from(tables.get("dynamics", {}), "dynamics", DEFAULT_DYNAMICS[wanted],
                         f"{path} [dynamics]")
    if dynamics.learns_from != wanted:
        raise ConfigError(f"{path} [dynamics]: {type(dynamics).__name__} learns from {dynamics.learns_from}, and "
                          f"[{given[0]}] gives {wanted}; choose kind = "
                          f"{' or '.join(_learners(wanted))}.")
    fit = build(Fit, tables.get("fit", {}), f"{path} [fit]")
    kind: Any = FieldRollout if of_fields else Rollout
    rollout = build(kind, tables.get("rollout", {}), f"{path} [rollout]")
    movies = given[0] == "video" and not all(s.path and s.path.suffix.lower() in _POSITIONS for s in sources)
    for name, why in (("track", "there is nothing to track"), ("encode", "there are no images to encode")):
        if name in tables and given[0] != "video":
            raise ConfigError(f"{path} [{name}]: [{given[0]}] gives {wanted}, {why}; remove the table.")
    if "encode" in tables and not movies:
        raise ConfigError(f"{path} [encode]: [video] names tables of positions, there are no images to encode; give "
                          "the recording.")
    from vid2dyn.tracking import Track

    track = build(Track, tables.get("track", {}), f"{path} [track]") if movies or "track" in tables else None
    encode = _encode(tables["encode"], path) if "encode" in tables else None
    return Experiment(sources, dynamics, track, fit, rollout, encode)


def _learners(data: str) -> list[str]:
    """Kinds of dynamics that learn from such data."""
    found = parts("dynamics")
    return [f'"{name}"' for name, kind in found.items() if kind.learns_from == data]     # type: ignore[attr-defined]


def _sources(kind: str, table: Mapping[str, Any], path: Path) -> tuple[Source, ...]:
    if kind == "simulate":
        return (_simulation(table, f"{path} [simulate]"),)
    if kind == "video":
        return _movies(table, path)
    where = f"{path} [fields]"
    for key in table:
        if key != "path":
            raise ConfigError(f"{where}: unknown key {key!r}.{did_you_mean(key, ['path'])} [fields] takes: path.")
    found = [p for pattern in _paths(table.get("path"), where, "lattice.fields", "fields")
             for p in _matches(pattern, path, where)]
    for one in found:
        if one.suffix != ".fields":
            raise ConfigError(f"{where}: path = {one.name!r}: fields are read from .fields files, as "
                              "vid2dyn simulate and vd.Fields(...).save write them.")
    return tuple(Source(one) for one in found)


def _encode(table: Mapping[str, Any], toml: Path) -> Encode:
    from vid2dyn.encoders.patches.recipe import PatchEncoder

    where, arguments = f"{toml} [encode]", dict(table)
    seed, path = arguments.pop("seed", 0), arguments.pop("path", None)
    if not isinstance(seed, int):
        raise ConfigError(f"{where}: seed = {seed!r} is not a whole number.")
    if path is None:
        return Encode(build(PatchEncoder, arguments, where), None, seed)
    if arguments:
        raise ConfigError(f"{where}: path names an encoder that is trained already; {', '.join(arguments)} cannot be "
                          "changed any more. Remove path to train one, or the other keys.")
    place = toml.parent / str(path)
    if not place.is_file():
        raise ConfigError(f"{where}: path = {path!r}: no such file ({place}); paths are relative to the settings file.")
    return Encode(None, place, seed)


def part_from(table: Mapping[str, Any], family: str, default: str | None, where: str) -> Any:
    """The registered part of `family` that `table` describes; its `kind` names the class."""
    kind = table.get("kind", default)
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: say which with kind = one of {', '.join(parts(family))}.")
    try:
        cls = part(family, kind)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return build(cls, table, where)


def _simulation(table: Mapping[str, Any], where: str) -> Source:
    arguments = dict(table)
    seed = arguments.pop("seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"{where}: seed = {seed!r} is not a whole number.")
    return Source(simulator=part_from(arguments, "simulators", None, where), seed=seed)


def _movies(table: Mapping[str, Any], toml: Path) -> tuple[Source, ...]:
    where = f"{toml} [video]"
    calibration = dict(table)
    given = _paths(calibration.pop("path", None), where, "clip.avi", "movie")
    choices = ["path", *open_keys()]
    for key in calibration:
        if key not in choices:
            raise ConfigError(f"{where}: unknown key {key!r}.{did_you_mean(key, choices)} "
                              f"[video] takes: {', '.join(choices)}.")
    build(Units, {key: value for key, value in calibration.items() if key in settings(Units)}, where)
    return tuple(Source(p, calibration) for pattern in given for p in _matches(pattern, toml, where))


def _paths(given: Any, where: str, example: str, what: str) -> list[str]:
    """Entries of `path`."""
    several = [given] if isinstance(given, str) else given
    if not several or not isinstance(several, list) or not all(isinstance(p, str) for p in several):
        raise ConfigError(f'{where}: path = "{example}" (or a pattern, or a list) says which {what} to read.')
    return several


def _matches(pattern: str, toml: Path, where: str) -> list[Path]:
    """Movies behind one entry of `path`. A pattern of still images is one movie, any other is one each."""
    path = toml.parent / pattern
    if not set(pattern) & set("*?["):
        if not path.exists():
            raise ConfigError(f"{where}: path = {pattern!r}: no such file or folder ({path}); "
                              "paths are relative to the settings file.")
        return [path]
    # pathlib takes no absolute patterns: it looks from the folder of the file, or from the root
    root = Path(path.anchor) if Path(pattern).is_absolute() else toml.parent
    found = sorted(root.glob(str(path.relative_to(path.anchor)) if Path(pattern).is_absolute() else pattern))
    found = [p for p in found if p.name not in _OF_SYSTEMS and not p.name.startswith("._")]
    if not found:
        raise ConfigError(f"{where}: nothing matches path = {pattern!r} in {root}; "
                          "paths are relative to the settings file.")
    return [path] if all(p.suffix.lower() in _STILLS for p in found) else found


