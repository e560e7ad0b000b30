"""Even kernels on a ring: the shape in which long-ranged forces between lattice sites are learned.

A force of long range adds ``-1/2 sum over pairs of J(r) ρ ρ'`` to the free energy and a factor to the mobility. Here
J is a sum of hats w_j(r) on [1, reach], each of unit sum over both sides, and acts through

    u_j = w_j * ρ - ρ

which is zero for a uniform density. So f'' and m keep their meaning for slowly varying densities, whatever J is, and
the energy that J adds, sum over pairs of J(r) (ρ - ρ')² / 4, is that of gradients: this is the gauge in which a local
free energy and a kernel can be told apart. Evenness makes the force the derivative of an energy, and the mobility of a
face symmetric in its two ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ConfigError


@dataclass(frozen=True)
class EvenKernels:
    """Hats in distance, as many as `count`, from 0 to `reach`; the last one ends abruptly.

    Parameters
    ----------
    reach : int
        Longest distance [sites].
    count : int
        Number of hats.
    sites : int
        Number of sites of the ring.

    Examples
    --------
    >>> kernels = EvenKernels(reach=10, count=3, sites=100)
    >>> bool(np.allclose(kernels.weights().sum(axis=0), 0.5))                     # the other half is at -r
    True
    >>> bool(np.allclose(kernels.apply(np.full(50, 0.3)), 0.0))                    # on a ring of 50 cells
    True
    """

    reach: int
    count: int
    sites: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.reach:
            raise ConfigError(f"EvenKernels: count = {self.count} for a reach of {self.reach} sites; give 1 to reach.")
        if 2 * self.reach >= self.sites:
            raise ConfigError(f"EvenKernels: a reach of {self.reach} on {self.sites} sites; a site would be met from "
                              "both sides. Give less than half the ring.")

    def weights(self) -> np.ndarray:
        """(reach, count) w_j(r) at r = 1, ..., reach; half its sum lies at -r."""
        r = np.arange(1, self.reach + 1)
        if self.count == 1:
            hats = np.ones((self.reach, 1))
        else:
            hats = np.clip(1 - np.abs(r[:, None] * (self.count - 1) / self.reach - np.arange(self.count)), 0, None)
        return hats / (2 * hats.sum(axis=0))

    def roughness(self) -> np.ndarray:
        """(count, count): summed squared differences of J from hat to hat, times 2 reach; zero for a box."""
        heights = 2 * self.reach * self.weights().max(axis=0)
        steps = np.diff(np.diag(heights), axis=0)
        return steps.T @ steps

    def transform(self, waves: np.ndarray) -> np.ndarray:
        """(waves, count) sum over r of w_j(r) cos(2π wave r / sites): 1 for wave 0."""
        r = np.arange(1, self.reach + 1)
        return 2 * np.cos(2 * np.pi * np.asarray(waves, dtype=float)[:, None] * r / self.sites) @ self.weights()

    def apply(self, rho: np.ndarray) -> np.ndarray:
        """(..., cells, count) u_j = w_j * ρ - ρ on a ring of any number of cells."""
        n = rho.shape[-1]
        wave = np.fft.rfft(rho, axis=-1)
        change = self.transform(np.arange(wave.shape[-1])) - 1
        return np.fft.irfft(wave[..., None] * change, n=n, axis=-2)

    def matrix(self, coefficients: np.ndarray, cells: int) -> np.ndarray:
        """(cells, cells) symmetric matrix of ρ -> sum_j c_j u_j."""
        return self.apply(np.eye(cells)) @ coefficients
