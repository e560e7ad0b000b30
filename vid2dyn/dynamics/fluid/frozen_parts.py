"""Parts of a frozen model that are more than a table of distance: external potential, traps, memory of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.grid_splines import spline_weights


@dataclass(frozen=True)
class ExternalTable:
    """Potential of one particle on a grid in space: a tensor product of uniform cubic B-splines (C2).

    Along an axis with origin o, spacing h and coefficients c_0 ... c_(m-1), u = (x - o)/h and k = floor(u),

        f(u) = [(1-t)³ c_k + (3t³ - 6t² + 4) c_(k+1) + (-3t³ + 3t² + 3t + 1) c_(k+2) + t³ c_(k+3)]/6,   t = u - k.

    An open axis covers o <= x <= o + (m - 3) h, and beyond f goes on linearly along that axis. On a periodic axis
    indices are taken modulo m: the period is m h. Positions are not wrapped: an open axis sees a particle that crossed
    a periodic box where it is, not where its image is.

    Parameters
    ----------
    values : array with 1 to 3 axes
        Coefficients c [energy].
    origin, spacing : tuples of floats
        o and h of each axis of `values`.
    axes : tuple of ints
        Which coordinate of a position (0: y, 1: x, 2: z) each axis of `values` is; others do not matter.
    periodic : tuple of bools, optional
        Default: all open.

    Raises
    ------
    ModelError
        For wrong shapes or numbers that are not finite.

    Examples
    --------
    >>> table = ExternalTable(np.arange(6.0), origin=(0.0,), spacing=(0.5,), axes=(0,))   # rises by 2 a length
    >>> energy, gradient = table(np.array([[0.25, 9.0], [2.0, 9.0]]))
    >>> energy.round(12).tolist(), gradient.round(12).tolist()
    ([1.5, 5.0], [[2.0, 0.0], [2.0, 0.0]])
    """

    values: np.ndarray
    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    axes: tuple[int, ...]
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=float)
        object.__setattr__(self, "values", values)
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * values.ndim)
        if not 1 <= values.ndim <= 3 or not np.isfinite(values).all():
            raise ModelError(f"ExternalTable: values of shape {values.shape} must be finite, with 1 to 3 axes.")
        for name in ("origin", "spacing", "axes", "periodic"):
            if len(getattr(self, name)) != values.ndim:
                raise ModelError(f"ExternalTable: {name} needs {values.ndim} entries, one for each axis of values.")
        if len(set(self.axes)) != len(self.axes) or not set(self.axes) <= {0, 1, 2}:
            raise ModelError(f"ExternalTable: axes = {self.axes} must be different numbers out of 0, 1, 2.")
        if not np.isfinite([*self.origin, *self.spacing]).all() or not min(self.spacing) > 0:
            raise ModelError(f"ExternalTable: origin {self.origin} and spacing {self.spacing} must be finite, spacing "
                             "positive.")
        for count, closed in zip(values.shape, self.periodic):
            if count < (1 if closed else 4):
                raise ModelError(f"ExternalTable: an open axis needs 4 coefficients or more, a periodic one 1; there "
                                 f"are {count}.")

    def __call__(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy (n,) and its gradient (n, dim) at positions (n, dim); plain numpy, for plots and tests."""
        x = np.asarray(position, dtype=float)
        weights = [spline_weights(x[:, axis], *rest) for axis, *rest in zip(self.axes, self.origin, self.spacing,
                                                                            self.values.shape, self.periodic)]
        energy, gradient = np.zeros(len(x)), np.zeros_like(x)
        for corner in np.ndindex(*(4,) * self.values.ndim):
            c = self.values[tuple(index[:, k] for (index, _, _), k in zip(weights, corner))]
            energy += c * np.prod([w[:, k] for (_, w, _), k in zip(weights, corner)], axis=0)
            for a, axis in enumerate(self.axes):
                gradient[:, axis] += c * np.prod([(s if b == a else w)[:, k]
                                                  for b, ((_, w, s), k) in enumerate(zip(weights, corner))], axis=0)
        return energy, gradient


@dataclass(frozen=True)
class HarmonicTraps:
    """k |r - c|²/2 around a centre that all share, or around one for each particle.

    Parameters
    ----------
    stiffness : float
        k [energy/length²], not negative.
    centre : (dim,) or (particles, dim) array
        c; row i belongs to the particle with id i. Distances are plain ones: no nearest image is taken in a periodic
        box, so a particle that left through a border is pulled all the way back.

    Raises
    ------
    ModelError
        For a negative stiffness or a centre that is not finite.
    """

    stiffness: float
    centre: np.ndarray

    def __post_init__(self) -> None:
        centre = np.asarray(self.centre, dtype=float)
        object.__setattr__(self, "centre", centre)
        if not (np.isfinite(self.stiffness) and self.stiffness >= 0):
            raise ModelError(f"HarmonicTraps: stiffness = {self.stiffness!r} must be a finite number >= 0.")
        if centre.ndim not in (1, 2) or not np.isfinite(centre).all():
            raise ModelError(f"HarmonicTraps: centre of shape {centre.shape} must be finite, (dim,) or (particles, "
                             "dim).")


@dataclass(frozen=True)
class FrozenMemory:
    """One mode of pair memory: a vector ξ of every pair within the range, with energy |ξ|²/2.

        dξ = [g v_ij - ξ/τ] dt + sqrt(2 T/τ) dW,   force on i: -g ξ, on j: +g ξ,

    with g = g_along e eᵀ + g_across (I - e eᵀ),

    so that d(m v²/2) = -ξ·g v_ij dt goes into d(|ξ|²/2) = +ξ·g v_ij dt. Without forces the pair feels friction with the
    memory kernel g² exp(-t/τ), and g² τ at rest.

    Parameters
    ----------
    tau : float
        τ [time].
    table : (kinds, rows, 4) array
        g_across, its slope, g_along, its slope [(mass/time²)^½], on the grid of radial tables; either sign.
    """

    tau: float
    table: np.ndarray

    def __post_init__(self) -> None:
        if not (np.isfinite(self.tau) and self.tau > 0):
            raise ModelError(f"FrozenMemory: tau = {self.tau!r} must be a positive number.")
