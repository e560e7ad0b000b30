"""A harmonic trap that all particles share, such as that of optical tweezers or of a magnetic field.

    E = k |x - c|²/2,      force on a particle: -k (x - c)

In the parameters k and b = k (c - o), with an origin o in the middle of the data, E = k |x - o|²/2 - b·(x - o) + const
is linear; the centre is o + b/k.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from vid2dyn.core.errors import ConfigError
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import Configuration, Energy, Exports, Parameters, Quantity, Scene, Tables

WIDE = 1e3
"""Standard deviation of the stiffness in the prior, in kT over the squared half-width of where particles were."""


@dataclass(frozen=True)
class HarmonicTrap(Energy):
    """Harmonic trap around a centre that all particles share.

    Parameters
    ----------
    centre : tuple of float, optional
        Centre of the trap along each axis (y, x, z) [µm]. None: it is learned.
    origin : tuple of float, optional
        Place from which a centre that is learned is counted [µm]; the data decide it.
    size : float, optional
        Half-width of the region in which particles were [µm], the scale of the prior; the data decide it.

    Examples
    --------
    >>> term = HarmonicTrap(centre=(0.0, 0.0))
    >>> from vid2dyn.data.box import Free
    >>> at = Configuration.of(np.array([[1.0, 0.0]]), Free(), 0.0)
    >>> term.force(np.array([2.0]), at).tolist()
    [[-2.0, 0.0]]
    """

    exports: ClassVar[Exports] = Exports(
        why_not="LAMMPS ties particles to where they start (fix spring/self), not to a centre")

    centre: tuple[float, ...] | None = None
    origin: tuple[float, ...] | None = None
    size: float | None = None

    def __post_init__(self) -> None:
        for name in ("centre", "origin"):
            value = getattr(self, name)
            if value is None:
                continue
            value = tuple(np.ravel(value).astype(float).tolist())
            if not np.isfinite(value).all():
                raise ConfigError(f"HarmonicTrap: {name} = {value} must be finite numbers, one for each axis [µm].")
            object.__setattr__(self, name, value)

    def settled(self, scene: Scene) -> HarmonicTrap:
        for name in ("centre", "origin"):
            value = getattr(self, name)
            if value is not None and len(value) != scene.dim:
                raise ConfigError(f"HarmonicTrap: {name} = {value} has {len(value)} coordinates, the particles "
                                  f"{scene.dim}; give one for each axis in the order y, x, z.")
        middle = tuple((0.5 * (scene.low + scene.high)).tolist())
        size = 0.5 * float(np.max(scene.high - scene.low)) or 1.0
        return dataclasses.replace(self, origin=self.centre or self.origin or middle, size=self.size or size)

    @property
    def _origin(self) -> np.ndarray:
        return np.asarray(self.centre or self.origin or (), float)

    @property
    def count(self) -> int:
        return 1 if self.centre is not None else 1 + len(self._origin)

    def parameters(self, scene: Scene) -> Parameters:
        size = self.size or 1.0
        wide = WIDE * scene.kT / size**2
        names = ("k", *(f"b_{axis}" for axis in "yxz"[:self.count - 1]))
        precision = np.diag([wide**-2, *[(wide * size) ** -2] * (self.count - 1)])
        return Parameters(names, "energy/µm², energy/µm", np.zeros(self.count), precision)

    def force_slopes(self, at: Configuration) -> np.ndarray:
        out = np.zeros((self.count, at.n, at.dim))
        out[0] = -(at.position - self._origin)
        for axis in range(self.count - 1):
            out[1 + axis, :, axis] = 1.0
        return out

    def energy(self, theta: np.ndarray, snapshot: Snapshot) -> torch.Tensor:
        d = snapshot.position - torch.as_tensor(self._origin, dtype=snapshot.position.dtype)
        total = 0.5 * float(theta[0]) * (d * d).sum()
        if self.count > 1:
            total = total - (torch.as_tensor(np.asarray(theta[1:], float), dtype=d.dtype) * d).sum()
        return total

    def centre_of(self, theta: np.ndarray) -> np.ndarray:
        """c (dim,) [µm]; not a number where there is no stiffness."""
        if self.count == 1:
            return self._origin
        return self._origin + np.asarray(theta[1:], float) / theta[0] if theta[0] != 0 else np.full(self.count - 1,
                                                                                                  np.nan)

    def freeze(self, theta: np.ndarray, tables: Tables) -> None:
        """A stiffness that is not positive holds nothing, and the rollout has no trap then."""
        if theta[0] > 0:
            tables.set("traps", {"stiffness": float(theta[0]), "centre": self.centre_of(theta)})

    def quantities(self) -> tuple[Quantity, ...]:
        found = [Quantity("trap_stiffness", "trap stiffness", "energy/µm²", lambda theta, x: np.asarray(theta[0]), "",
                          "force of the trap on a particle 1 µm away from its centre")]
        for axis in range(self.count - 1):
            def place(theta: np.ndarray, x: object, axis: int = axis) -> np.ndarray:
                return np.asarray(self.centre_of(theta)[axis])

            found.append(Quantity(f"trap_centre_{'yxz'[axis]}", f"trap centre along {'yxz'[axis]}", "µm", place, ""))
        return tuple(found)
