"""Space as an object: how far apart two particles are, and where a particle is after it left.

The same methods serve numpy arrays and torch tensors, so physics never asks whether space is
periodic. Lengths in µm. A box is centred nowhere: `Periodic` spans [0, L) on every axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError


class Box(ABC):
    """Where particles live: gives displacements and keeps positions inside."""

    lengths: tuple[float, ...] | None

    @abstractmethod
    def displacement(self, a: Any, b: Any) -> Any:
        """Shortest vector a - b, shape (..., dim), numpy or torch, same units as the input."""

    @abstractmethod
    def wrap(self, x: Any) -> Any:
        """Positions moved back into the box, shape (..., dim)."""

    def relative_velocity(self, a: Any, b: Any, velocity_a: Any, velocity_b: Any) -> Any:
        """Velocity of a minus that of the image of b which `displacement(a, b)` points from, shape (..., dim)."""
        return velocity_a - velocity_b

    def after(self, time: float) -> Box:
        """The box a `time` [s] later; only boxes that move differ."""
        return self

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, as stored in files; `Box.from_dict` reads it."""

    @staticmethod
    def from_dict(table: dict[str, Any]) -> Box:
        """The box that `to_dict` wrote."""
        kinds: dict[str, type[Box]] = {"free": Free, "periodic": Periodic, "lees_edwards": LeesEdwards}
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
        try:
            lengths = tuple(float(length) for length in self.lengths)
        except (TypeError, ValueError):
            lengths = ()
        if not lengths or not all(np.isfinite(length) and length > 0 for length in lengths):
            raise ConfigError(f"Periodic(lengths={self.lengths!r}): give one edge for every axis, each a positive "
                              "length in µm, such as (20.0, 20.0).")
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


@dataclass(frozen=True)
class LeesEdwards(Box):
    """Periodic box under steady shear: images above move along x faster than images below.

    The flow is along x and its gradient along y (columns 1 and 0): v_x = shear_rate · y. The image n boxes up in y
    is displaced by n · offset along x, offset = strain · L_y, and moves n · shear_rate · L_y faster (Lees and
    Edwards, J. Phys. C 5, 1921, 1972). The offset grows with time: `after(t)` is the box a time t later.

    Particles may be wrapped or not. A particle that is never wrapped keeps its laboratory velocity and drifts on in
    unbounded shear; its y, its offset and its velocity then always belong to the same image, and the sum of the
    momenta is conserved. Whoever wraps positions wraps velocities with them (`wrap_velocity`).

    Parameters
    ----------
    lengths : sequence of float
        Edge of the box on every axis, in the order of the position columns (y, x[, z]) [µm].
    shear_rate : float
        dv_x/dy [1/s]; either sign.
    strain : float
        Shear strain so far, shear_rate times the time since the images were straight above each other; of a
        recording: at its frame 0.

    Notes
    -----
    `displacement` gives the shortest vector for every pair nearer than half the shortest edge, which is all that a
    cutoff below half the box can ask for.

    Examples
    --------
    >>> box = LeesEdwards((10.0, 10.0), shear_rate=0.5).after(4.0)
    >>> box.strain, box.offset, box.velocity_jump
    (2.0, 20.0, 5.0)
    >>> top, bottom = np.array([9.5, 3.0]), np.array([0.5, 3.0])
    >>> LeesEdwards((10.0, 10.0), 0.5, strain=0.1).displacement(top, bottom).tolist()
    [-1.0, -1.0]
    """

    lengths: tuple[float, ...]
    shear_rate: float
    strain: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", Periodic(self.lengths).lengths)
        if len(self.lengths) < 2:
            raise ConfigError("LeesEdwards: shear needs two axes or more, lengths=(L_y, L_x[, L_z]) in µm.")
        for key in ("shear_rate", "strain"):
            try:
                value = float(getattr(self, key))
            except (TypeError, ValueError):
                value = float("nan")
            if not np.isfinite(value):
                raise ConfigError(f"LeesEdwards({key}={getattr(self, key)!r}): give a finite number.")
            object.__setattr__(self, key, value)

    @property
    def offset(self) -> float:
        """How far the image one box up is displaced along x [µm]; not reduced to one period."""
        return self.strain * self.lengths[0]

    @property
    def velocity_jump(self) -> float:
        """How much faster along x the image one box up moves [µm/s]."""
        return self.shear_rate * self.lengths[0]

    def after(self, time: float) -> LeesEdwards:
        """The box a `time` [s] later."""
        return LeesEdwards(self.lengths, self.shear_rate, self.strain + self.shear_rate * time)

    def displacement(self, a: Any, b: Any) -> Any:
        d = a - b
        d = d - self._image_shift(self._images(d), self.lengths[0], self.offset, d)
        edge = _like(self.lengths, d)
        others = _like((0.0,) + (1.0,) * (len(self.lengths) - 1), d)
        return d - edge * others * (d / edge).round()

    def relative_velocity(self, a: Any, b: Any, velocity_a: Any, velocity_b: Any) -> Any:
        """Velocity of a minus that of the image of b which `displacement(a, b)` points from, shape (..., dim)."""
        d = a - b
        return velocity_a - velocity_b - self._image_shift(self._images(d), 0.0, self.velocity_jump, d)

    def wrap(self, x: Any) -> Any:
        edge = _like(self.lengths, x)
        return (x - self._image_shift(x[..., 0] // self.lengths[0], self.lengths[0], self.offset, x)) % edge

    def wrap_velocity(self, x: Any, velocity: Any) -> Any:
        """Velocities that belong to `wrap(x)`, shape (..., dim) [µm/s]; x before it is wrapped."""
        return velocity - self._image_shift(x[..., 0] // self.lengths[0], 0.0, self.velocity_jump, x)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "lees_edwards", "lengths": list(self.lengths), "shear_rate": self.shear_rate,
                "strain": self.strain}

    def _images(self, d: Any) -> Any:
        """How many boxes apart in y."""
        return (d[..., 0] / self.lengths[0]).round()

    def _image_shift(self, images: Any, up: float, along: float, like: Any) -> Any:
        """`images` times the vector (up, along[, 0])."""
        return images[..., None] * _like((up, along) + (0.0,) * (len(self.lengths) - 2), like)


def _like(lengths: tuple[float, ...], x: Any) -> Any:
    """`lengths` as an array of the same library, type and device as `x`."""
    if isinstance(x, np.ndarray):
        return np.asarray(lengths, dtype=x.dtype)
    return x.new_tensor(lengths)
