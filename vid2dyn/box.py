"""Space as an object: how far apart two particles are, and where a particle is after it left.

The same methods serve numpy arrays and torch tensors, so physics never asks whether space is
periodic. Lengths in µm. A box is centred nowhere: `Periodic` spans [0, L) on every axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.errors import ConfigError


class Box(ABC):
    """Where particles live: gives displacements and keeps positions inside."""

    lengths: tuple[float, ...] | None

    @abstractmethod
    def displacement(self, a: Any, b: Any) -> Any:
        """Shortest vector a - b, shape (..., dim), numpy or torch, same units as the input."""

    @abstractmethod
    def wrap(self, x: Any) -> Any:
        """Positions moved back into the box, shape (..., dim)."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, as stored in files; `Box.from_dict` reads it."""

    @staticmethod
    def from_dict(table: dict[str, Any]) -> Box:
        """The box that `to_dict` wrote."""
        kinds: dict[str, type[Box]] = {"free": Free, "periodic": Periodic}
        arguments = dict(table)
        kind = arguments.pop("kind", None)
        if kind not in kinds:
            raise ConfigError(f"Box kind {kind!r} is unknown; known: {', '.join(sorted(kinds))}.")
        return kinds[kind](**arguments)


@dataclass(frozen=True)
class Free(Box):
    """Unbounded space.

    >>> float(Free().displacement(np.array([3.0]), np.array([1.0]))[0])
    2.0
    """

    lengths = None

    def displacement(self, a: Any, b: Any) -> Any:
        return a - b

    def wrap(self, x: Any) -> Any:
        return x

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "free"}


@dataclass(frozen=True)
class Periodic(Box):
    """Rectangular box with periodic images.

    Parameters
    ----------
    lengths : sequence of float
        Edge of the box on every axis, in the order of the position columns (y, x[, z]) [µm].

    >>> box = Periodic((10.0, 10.0))
    >>> box.displacement(np.array([9.5, 5.0]), np.array([0.5, 5.0])).tolist()
    [-1.0, 0.0]
    """

    lengths: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = tuple(float(length) for length in self.lengths)
        if not lengths or not all(np.isfinite(length) and length > 0 for length in lengths):
            raise ConfigError(f"Periodic(lengths={self.lengths!r}): every edge must be a positive length in µm.")
        object.__setattr__(self, "lengths", lengths)

    def displacement(self, a: Any, b: Any) -> Any:
        d = a - b
        edge = _like(self.lengths, d)
        return d - edge * (d / edge).round()

    def wrap(self, x: Any) -> Any:
        edge = _like(self.lengths, x)
        return x % edge

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "periodic", "lengths": list(self.lengths)}


def _like(lengths: tuple[float, ...], x: Any) -> Any:
    """`lengths` as an array of the same library, type and device as `x`."""
    if isinstance(x, np.ndarray):
        return np.asarray(lengths, dtype=x.dtype)
    return x.new_tensor(lengths)
