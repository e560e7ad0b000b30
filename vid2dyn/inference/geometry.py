"""What one step of a fluid says by its positions alone: pairs, kernel weights, volumes, change of momentum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.inference import sums
from vid2dyn.inference.steps import FluidSteps, StepPairs


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
        return cls(pairs, data.n, data.dim, data.dt, slope, bend, s * s, 1.0 / density, momentum)
