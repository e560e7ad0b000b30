"""Species of particles, named by a column of the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.core.registry import did_you_mean
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.recipes.brownian import species_name
from vid2dyn.inference.steps import FluidSteps


def species_of(tracks: Trajectories, column: str, particles: np.ndarray) -> np.ndarray:
    """Name of the species of every particle (n,), from a column of the table.

    Raises
    ------
    DataError
        For a column that is absent, or a particle that changes.
    """
    table = tracks.dataframe
    if column not in table:
        raise DataError(f"There is no column {column!r} that names the species; the table has "
                        f"{', '.join(map(str, table.columns))}.{did_you_mean(column, table.columns)}")
    linked = table[table["particle"] >= 0]
    names = linked.groupby("particle")[column].agg(["first", "nunique"])
    changing = names.index[names["nunique"] != 1]
    if len(changing):
        raise DataError(f"Particle {changing[0]} has {int(names['nunique'][changing[0]])} values of {column!r}: a "
                        "species is the same in all frames. Correct the column.")
    return names["first"].reindex(particles).map(species_name).to_numpy(dtype=object)


def with_species(recordings: Sequence[Trajectories], parts: Sequence[FluidSteps],
                 column: str | None) -> tuple[tuple[FluidSteps, ...], tuple[str, ...]]:
    """The recordings with the number of the species of every particle, and the names of the species.

    Raises
    ------
    DataError
        For a species with a single member: it has no pair of its own kind.
    """
    if column is None:
        return tuple(parts), ("",)
    named = [species_of(tracks, column, part.names) for tracks, part in zip(recordings, parts, strict=True)]
    names = tuple(sorted({str(name) for one in named for name in one}))
    for name in names:
        most = max(int((one == name).sum()) for one in named)
        if most < 2:
            raise DataError(f"Species {name!r} of column {column!r} has a single member: pairs of its own kind cannot "
                            "be learned. Leave the particle out, or count it to another species.")
    found = []
    for part, one in zip(parts, named, strict=True):
        number = {name: k for k, name in enumerate(names)}
        found.append(dataclasses.replace(part, species=np.array([number[str(name)] for name in one], np.int64)))
    return tuple(found), names


def species_numbers(tracks: Trajectories, column: str, particles: np.ndarray, species: Sequence[str]) -> np.ndarray:
    """Number of the species of every particle among `species`, (n,).

    Raises
    ------
    DataError
        For a species that is not among them.
    """
    names = species_of(tracks, column, particles)
    number = {name: k for k, name in enumerate(species)}
    unknown = sorted({str(name) for name in names} - set(number))
    if unknown:
        raise DataError(f"Species {', '.join(map(repr, unknown))} of column {column!r} were not learned; the model "
                        f"knows {', '.join(map(repr, species))}.")
    return np.array([number[str(name)] for name in names], np.int64)
