"""What one step of a fluid says by its positions alone: pairs, kernel weights, volumes, change of momentum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.inference import sums
from vid2dyn.inference.steps import FluidSteps, StepPairs

ROUNDING = 1e-13
"""Part of the largest number of a row below which what is left of it is rounding."""


@dataclass(frozen=True, eq=False)
class StepGeometry:
    """One step before anything is known of entropies.

    Parameters
    ----------
    pairs : StepPairs
    n, dim : int
    dt : float
        [s]
    slope, bend, u : (pairs,) arrays
        W', W'' + (dim - 1) W'/r and (r/cutoff)² of every pair.
    volume : (n,) array
        V of every particle [µm^dim].
    momentum : (n, dim) array
        m (v' - v).
    force_slopes, stiffness_slopes : (forces, n, dim), (forces,) arrays
        Forces and -∇·F of every number of further energies.
    """

    pairs: StepPairs
    n: int
    dim: int
    dt: float
    slope: np.ndarray
    bend: np.ndarray
    u: np.ndarray
    volume: np.ndarray
    momentum: np.ndarray
    force_slopes: np.ndarray
    stiffness_slopes: np.ndarray

    def balanced(self, rows: np.ndarray) -> np.ndarray:
        """Rows (..., n, dim) less their means over every group of particles that pairs connect: what pair forces can
        give. A group alone feels them not at all."""
        group, share = self._groups
        each = rows.reshape(-1, self.n, self.dim)
        left = each - np.stack([(share @ row)[group] for row in each])
        # of a uniform force only rounding is left, which no pair force gives and no solver may be asked for
        left[np.abs(left) < ROUNDING * np.abs(each).max(axis=(1, 2), keepdims=True)] = 0.0
        return left.reshape(rows.shape)

    @cached_property
    def _groups(self) -> tuple[np.ndarray, csr_array]:
        """Number of the group of every particle, and the matrix (groups, n) that takes means over groups."""
        links = coo_array((np.ones(len(self.u)), (self.pairs.first, self.pairs.second)), shape=(self.n, self.n))
        count, group = connected_components(links, directed=False)
        size = np.bincount(group, minlength=count)
        return group, csr_array((1.0 / size[group], (group, np.arange(self.n))), shape=(count, self.n))

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of both ends of every pair and the unit vector from second to first, as the sums take them."""
        return self.pairs.first, self.pairs.second, self.pairs.e

    @classmethod
    def of(cls, data: FluidSteps, t: int, layout: Layout) -> StepGeometry:
        """Of step t of a trajectory."""
        pairs = data.pairs(t)
        s = pairs.r / data.cutoff
        norm = layout.kernel_norm
        weight = norm * (1 + 3 * s) * (1 - s) ** 3
        slope = -12.0 * norm / data.cutoff * s * (1 - s) ** 2
        bend = -12.0 * norm / data.cutoff**2 * (1 - s) * (1 - 3 * s + (data.dim - 1) * (1 - s))
        density = sums.density(pairs.first, pairs.second, weight, norm, data.n)
        momentum = layout.mass * (data.velocity[t + 1] - data.velocity[t])
        return cls(pairs, data.n, data.dim, data.dt, slope, bend, s * s, 1.0 / density, momentum, *data.forces(t))
