"""Uniform cubic B-splines on a grid: the shape in which functions of places and of densities are learned.

Along an axis with origin o, spacing h and m coefficients c, u = (x - o)/h and k = floor(u),

    f(u) = [(1-t)³ c_k + (3t³ - 6t² + 4) c_(k+1) + (-3t³ + 3t² + 3t + 1) c_(k+2) + t³ c_(k+3)]/6,   t = u - k,

two continuous derivatives. An open axis covers o <= x <= o + (m - 3) h, and beyond f goes on linearly; on a periodic
one indices are taken modulo m. It is the layout of `vid2dyn.dynamics.fluid.frozen_parts.ExternalTable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch


@dataclass(frozen=True)
class Axis:
    """One axis of a grid: origin, spacing, number of coefficients, whether it closes on itself.

    >>> Axis.over(0.0, 1.0, 7).spacing
    0.25
    """

    origin: float
    spacing: float
    count: int
    periodic: bool = False

    @classmethod
    def over(cls, low: float, high: float, count: int, *, periodic: bool = False) -> Axis:
        """`count` coefficients that cover low to high."""
        return cls(low, (high - low) / (count if periodic else count - 3), count, periodic)

    @property
    def end(self) -> float:
        """Where it ends."""
        return self.origin + self.spacing * (self.count if self.periodic else self.count - 3)

    def weights(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of the four coefficients at x, their weights and the slopes of these in x, (n, 4) each."""
        return spline_weights(x, self.origin, self.spacing, self.count, self.periodic)

    def roughness(self) -> np.ndarray:
        """(count, count) matrix P: c·P c is the summed squared second difference of the coefficients."""
        eye = np.eye(self.count)
        bend = np.diff(np.concatenate([eye, eye[:2]]) if self.periodic else eye, 2, axis=0)
        return bend.T @ bend


def spline_weights(x: np.ndarray, origin: float, spacing: float, count: int,
                   periodic: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices (n, 4) of the coefficients at x along one axis, their weights and the slopes of these."""
    u = (x - origin) / spacing
    inside = u if periodic else np.clip(u, 0.0, count - 3.0)
    k = np.floor(inside).astype(int)
    if not periodic:
        k = np.minimum(k, count - 4)
    t = (inside - k)[:, None]
    one = 1.0 - t
    w = np.concatenate([one**3, (3 * t - 6) * t**2 + 4, ((3 - 3 * t) * t + 3) * t + 1, t**3], axis=1) / 6
    s = np.concatenate([-one**2, (3 * t - 4) * t, (2 - 3 * t) * t + 1, t**2], axis=1) / 2
    w = w + s * (u - inside)[:, None]
    return (k[:, None] + np.arange(4)) % count, w, s / spacing


def local_basis(axes: tuple[Axis, ...], places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The functions that live at places (n, axes): numbers of their coefficients, counted through the grid row by row,
    (n, 4^axes), their values, and their slopes along every axis, (axes, n, 4^axes)."""
    n, size = len(places), 4 ** len(axes)
    which, value = np.zeros((n, size), np.int64), np.ones((n, size))
    slope = np.ones((len(axes), n, size))
    found = [axis.weights(places[:, a]) for a, axis in enumerate(axes)]
    for column, corner in enumerate(product(range(4), repeat=len(axes))):
        for a, ((index, w, s), k) in enumerate(zip(found, corner, strict=True)):
            which[:, column] = which[:, column] * axes[a].count + index[:, k]
            value[:, column] *= w[:, k]
            for b in range(len(axes)):
                slope[b, :, column] *= s[:, k] if a == b else w[:, k]
    return which, value, slope


def grid_value(axes: tuple[Axis, ...], coefficients: np.ndarray, places: torch.Tensor) -> torch.Tensor:
    """f at places (n, axes), (n,), differentiable in them; coefficients flat, row by row."""
    total = torch.as_tensor(coefficients.reshape([axis.count for axis in axes]), dtype=places.dtype)
    index, weight = [], []
    for a, axis in enumerate(axes):
        u = (places[:, a] - axis.origin) / axis.spacing
        inside = u if axis.periodic else u.clamp(0.0, axis.count - 3.0)
        k = inside.detach().floor()
        if not axis.periodic:
            k = k.clamp(max=axis.count - 4.0)
        t = inside - k
        one = 1.0 - t
        w = torch.stack([one**3, (3 * t - 6) * t**2 + 4, ((3 - 3 * t) * t + 3) * t + 1, t**3], 1) / 6
        s = torch.stack([-one**2, (3 * t - 4) * t, (2 - 3 * t) * t + 1, t**2], 1) / 2
        w = w + s * (u - inside)[:, None]
        index.append((k.long()[:, None] + torch.arange(4)) % axis.count)
        weight.append(w)
    out = places.new_zeros(len(places))
    for corner in product(range(4), repeat=len(axes)):
        term = total[tuple(index[a][:, m] for a, m in enumerate(corner))]
        for a, m in enumerate(corner):
            term = term * weight[a][:, m]
        out = out + term
    return out
