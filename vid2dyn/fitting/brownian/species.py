"""Which species each particle is of: the column of the table that says so, checked and numbered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.registry import did_you_mean
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import species_name

FEWEST_MEMBERS = 2
"""Particles of a species; a single one says nothing of how its kind differs from others."""
MOST = 6
"""Species; more than that is a column that numbers something else."""


def species_names(tracks: Sequence[Trajectories], column: str) -> tuple[str, ...]:
    """The species in a column of one or several recordings, sorted.

    Raises
    ------
    DataError
        If the column is missing, has empty values, changes along a track, or holds a single species or too many.
    ModelError
        If a species has a single member.
    """
    members: dict[str, int] = {}
    for one in tracks:
        for name, count in _members(one, column).items():
            members[name] = members.get(name, 0) + count
    if len(members) < 2:
        raise DataError(f"species = {column!r}: all particles are of one species, {next(iter(members))!r}; leave out "
                        "species.")
    if len(members) > MOST:
        raise DataError(f"species = {column!r}: {len(members)} different values; give a column that names at most "
                        f"{MOST} species.")
    for name, count in members.items():
        if count < FEWEST_MEMBERS:
            raise ModelError(f"Species {name!r} of column {column!r} has {count} particle: nothing can be learned of "
                             "how it meets its own kind. Give it the name of another species, or leave it out.")
    return tuple(sorted(members))


def numbered(tracks: Trajectories, column: str, names: tuple[str, ...]) -> np.ndarray:
    """(rows,) number of the species of each row."""
    place = {name: k for k, name in enumerate(names)}
    values, which = _values(tracks, column)
    return np.array([place[name] for name in values], dtype=np.int64)[which]


def names_array(names: tuple[str, ...]) -> np.ndarray:
    """The names as `BrownianModel.arrays` keeps them: JSON text in UTF-8."""
    return np.frombuffer(json.dumps(list(names)).encode("utf-8"), dtype=np.uint8)


def _values(tracks: Trajectories, column: str) -> tuple[list[str], np.ndarray]:
    """Names of the values of a column, and which of them each row has."""
    table = tracks.dataframe
    if column not in table:
        known = [str(c) for c in table]
        raise DataError(f"species = {column!r}: no such column.{did_you_mean(column, known)} The tracks have "
                        f"{', '.join(known)}. Add a column that names the species of each particle.")
    values = table[column]
    empty = np.flatnonzero(values.isna().to_numpy())
    if empty.size:
        raise DataError(f"species = {column!r}: {empty.size} rows say nothing, the first is row {empty[0]} (particle "
                        f"{tracks.particle[empty[0]]}). Name the species of every particle.")
    named = [species_name(value) for value in values.unique()]
    different = sorted(set(named))
    place = {value: different.index(name) for value, name in zip(values.unique(), named)}
    return different, values.map(place).to_numpy(dtype=np.int64)


def _members(tracks: Trajectories, column: str) -> dict[str, int]:
    """Number of particles of each species; `DataError` if one changes."""
    names, which = _values(tracks, column)
    particle = tracks.particle
    linked = particle >= 0
    pairs = np.unique(np.stack([particle[linked], which[linked]], axis=1), axis=0)
    changed = np.flatnonzero(np.diff(pairs[:, 0]) == 0)
    if changed.size:
        first = int(pairs[changed[0], 0])
        both = [names[k] for k in np.unique(which[particle == first])]
        raise DataError(f"species = {column!r}: {np.unique(pairs[changed, 0]).size} particles change their species, "
                        f"the first is particle {first} ({' and '.join(map(repr, both))}). A species is for life: take "
                        "the most frequent value of each particle, or learn a mobility from a column that changes: "
                        "vd.Brownian(structure=...).")
    count = np.bincount(pairs[:, 1], minlength=len(names))
    return {name: int(n) for name, n in zip(names, count) if n}


def several_species(tracks: Trajectories) -> list[Any]:
    """Values of a column named "species" that tells 2 to MOST kinds apart; empty without one."""
    table = tracks.dataframe
    if "species" not in table:
        return []
    values = list(table["species"].dropna().unique())
    return sorted(map(str, values)) if 2 <= len(values) <= MOST else []
