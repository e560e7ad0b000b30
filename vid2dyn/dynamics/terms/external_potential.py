"""Energy of a particle by where it is: channels, optical landscapes, gravity, walls that are soft.

    E = sum_i f(x_i),      f a tensor product of uniform cubic B-splines over the chosen axes (`grid_splines`)

Only differences of f act. f is counted from the mean of its coefficients.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError
from vid2dyn.data.box import LeesEdwards
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import Configuration, Cut, Energy, Exports, Parameters, Quantity, Scene, Tables
from vid2dyn.dynamics.terms.grid_splines import Axis, grid_value, local_basis

SWING = 3.0
"""Standard deviation of the second differences of the coefficients in the prior [kT]."""
SIZE = 30.0
"""Standard deviation of the coefficients in the prior [kT]."""
MEAN = 1e-2
"""Standard deviation of their mean, which does nothing to the motion [kT]."""


@dataclass(frozen=True)
class ExternalPotential(Energy):
    """Energy of a particle by its place, the same for all particles and at all times.

    Parameters
    ----------
    axes : tuple of int
        Coordinates that the energy depends on: 0 is y, 1 is x, 2 is z. (0,) is a function of y alone, (0, 1) a
        landscape in the plane.
    knots : int
        Number of splines along each axis. More of them resolve finer structure and need more data.
    origin : tuple of float, optional
        Where the grid begins along each of the axes [µm]; the data decide it.
    spacing : tuple of float, optional
        Distance of the grid points along each of the axes [µm]; the data decide it.
    periodic : tuple of bool, optional
        Whether the grid closes on itself along each of the axes; the box of the data decides it.

    Examples
    --------
    >>> term = ExternalPotential(axes=(0,), knots=8, origin=(0.0,), spacing=(1.0,), periodic=(False,))
    >>> term.count, [axis.end for axis in term.grid]
    (8, [5.0])
    """

    exports: ClassVar[Exports] = Exports(why_not="LAMMPS reads no potential on a grid")

    axes: tuple[int, ...] = (0,)
    knots: int = 12
    origin: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    periodic: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        axes = tuple(int(a) for a in np.ravel(self.axes))
        object.__setattr__(self, "axes", axes)
        if not 1 <= len(axes) <= 2 or len(set(axes)) != len(axes) or not set(axes) <= {0, 1, 2}:
            raise ConfigError(f"ExternalPotential: axes = {axes}; give one or two different ones of 0 (y), 1 (x), "
                              "2 (z).")
        if self.knots < 5:
            raise ConfigError(f"ExternalPotential: knots = {self.knots}; use at least 5.")
        for name in ("origin", "spacing", "periodic"):
            value = getattr(self, name)
            if value is None:
                continue
            value = tuple(np.ravel(value).tolist())
            object.__setattr__(self, name, value)
            if len(value) != len(axes):
                raise ConfigError(f"ExternalPotential: {name} = {value}; give one for each of the axes {axes}.")

    def settled(self, scene: Scene) -> ExternalPotential:
        if max(self.axes) >= scene.dim:
            raise ConfigError(f"ExternalPotential: axes = {self.axes}; the particles have axes 0 to {scene.dim - 1}.")
        if isinstance(scene.box, LeesEdwards) and (1 in self.axes or len(self.axes) > 1):
            raise ConfigError("ExternalPotential: the images of a sheared box slide along x (axis 1), so that no "
                              "potential along x is the same for all of them. Use axes=(0,) or axes=(2,).")
        grid = []
        for place, axis in enumerate(self.axes):
            closed = scene.box.lengths is not None if self.periodic is None else self.periodic[place]
            if closed and scene.box.lengths is not None:
                grid.append(Axis.over(0.0, scene.box.lengths[axis], self.knots, periodic=True))
            else:
                low, high = float(scene.low[axis]), float(scene.high[axis])
                room = 1e-6 * max(high - low, 1e-6)
                grid.append(Axis.over(low - room, high + room, self.knots, periodic=closed))
        return dataclasses.replace(
            self, origin=self.origin or tuple(a.origin for a in grid),
            spacing=self.spacing or tuple(a.spacing for a in grid), periodic=tuple(a.periodic for a in grid))

    @property
    def grid(self) -> tuple[Axis, ...]:
        """The axes of the splines of a settled term."""
        if self.origin is None or self.spacing is None:
            raise ConfigError("ExternalPotential: origin and spacing are not known yet; the data decide them.")
        closed = self.periodic or (False,) * len(self.axes)
        return tuple(Axis(float(o), float(h), self.knots, bool(p))
                     for o, h, p in zip(self.origin, self.spacing, closed, strict=True))

    @property
    def count(self) -> int:
        return self.knots ** len(self.axes)

    def parameters(self, scene: Scene) -> Parameters:
        one = np.eye(self.knots)
        rough = np.zeros((self.count, self.count))
        for place, axis in enumerate(self.grid):
            matrix = axis.roughness()
            for other in range(len(self.axes)):
                matrix = matrix if other == place else (np.kron(one, matrix) if other < place else np.kron(matrix, one))
            rough += matrix
        precision = (rough / SWING**2 + np.eye(self.count) / SIZE**2
                     + np.full((self.count, self.count), self.count**-2.0) / MEAN**2) / scene.kT**2
        names = tuple("f_" + "_".join(map(str, k)) for k in np.ndindex(*(self.knots,) * len(self.axes)))
        return Parameters(names, "energy", np.zeros(self.count), precision)

    def force_slopes(self, at: Configuration) -> np.ndarray:
        which, _, slope = local_basis(self.grid, at.position[:, self.axes])
        out = np.zeros((self.count, at.n, at.dim))
        rows = np.arange(at.n)
        for a, axis in enumerate(self.axes):
            for column in range(which.shape[1]):
                np.add.at(out[:, :, axis], (which[:, column], rows), -slope[a, :, column])
        return out

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        return grid_value(self.grid, _centred(theta), snapshot.position[:, self.axes]).sum()

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        tables.set("external", {"values": _centred(theta).reshape((self.knots,) * len(self.axes)), "axes": self.axes,
                                "origin": self.origin, "spacing": self.spacing, "periodic": self.periodic})

    def quantities(self) -> tuple[Quantity, ...]:
        def value(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
            places = np.asarray(x, float)
            if len(self.axes) == 1:
                places = places[..., None]
            which, weight, _ = local_basis(self.grid, places.reshape(-1, len(self.axes)))
            return (weight * _centred(theta)[which]).sum(axis=1).reshape(places.shape[:-1])

        def push(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
            places = np.asarray(x, float)[..., None]
            which, _, slope = local_basis(self.grid, places.reshape(-1, 1))
            return -(slope[0] * _centred(theta)[which]).sum(axis=1).reshape(places.shape[:-1])

        names = "yxz"
        place = "(" + ", ".join(names[a] for a in self.axes) + ")" if len(self.axes) > 1 else names[self.axes[0]]
        found = [Quantity("external_potential", "external potential", "energy", value, f"{place} [µm]",
                          "Counted from its mean; only differences act.", cuts=self._cuts())]
        if len(self.axes) == 1:
            found.append(Quantity("external_force", f"external force along {place}", "energy/µm", push,
                                  f"{place} [µm]", "Slope of the external potential, downhill.", cuts=self._cuts()))
        return tuple(found)

    def _cuts(self) -> tuple[Cut, ...]:
        """A line along every axis through the middle of the grid."""
        if self.origin is None or self.spacing is None:
            return ()
        found = []
        for place, (number, axis) in enumerate(zip(self.axes, self.grid, strict=True)):
            x = np.linspace(axis.origin, axis.end, 161)
            at = np.stack([x if k == place else np.full(len(x), 0.5 * (a.origin + a.end))
                           for k, a in enumerate(self.grid)], axis=1)
            through = "" if len(self.axes) == 1 else ", through the middle"
            found.append(Cut(f"{'yxz'[number]} [µm]{through}", x, at if len(self.axes) > 1 else x,
                             (axis.origin, axis.end)))
        return tuple(found)


def _centred(theta: np.ndarray) -> np.ndarray:
    theta = np.asarray(theta, float)
    return theta - theta.mean()
