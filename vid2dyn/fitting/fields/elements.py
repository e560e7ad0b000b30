"""Test functions on a ring, and what an ensemble of fields says through them.

Periodic B-splines γ_i of degree 1 or 2 on `elements` intervals of length δ; ``Y_i = (1/N) sum_k η_k γ_i(k/N)``. Mass is
kept because sum_i γ_i = 1. `Statistics` keeps, for every start, window between two times, and group of realisations,
the sums of D = Y(later) - Y(earlier) and of D Dᵀ: all that a fit needs, however many realisations there were. Groups
are left out one at a time for error bars (jackknife).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.fields import Fields

CHUNK = 50_000_000
"""Numbers of a field worked on at once."""

LOUD = 6.0
"""Standard deviations at which a wave of the mean density counts as seen."""


@dataclass(frozen=True)
class Elements:
    """Periodic B-splines on `sites` lattice points.

    Parameters
    ----------
    sites, elements : int
        `sites` must be a multiple of `elements`.
    degree : {1, 2}
        1: hats, as in Huang et al. (arXiv 2312.05810); 2: smooth, so that short windows disturb less.

    Examples
    --------
    >>> e = Elements(sites=16, elements=4, degree=2)
    >>> bool(np.allclose(e.values().sum(axis=1), 1.0)), bool(np.allclose(e.slopes().sum(axis=1), 0.0))
    (True, True)
    """

    sites: int
    elements: int
    degree: int = 2

    def __post_init__(self) -> None:
        if self.degree not in (1, 2):
            raise DataError(f"degree = {self.degree}: test functions have degree 1 or 2.")
        if self.elements < 4 or self.sites % self.elements:
            good = [n for n in range(4, self.sites // 4 + 1) if self.sites % n == 0]
            raise DataError(f"elements = {self.elements} do not divide {self.sites} cells evenly; possible: "
                            f"{', '.join(map(str, good)) or 'none'}.")
        if self.sites // self.elements < 4:
            raise DataError(f"elements = {self.elements} leave {self.sites // self.elements} cells each; use fewer "
                            "elements or a finer lattice: at least 4.")

    @property
    def points(self) -> int:
        """Places on the ring at which integrals over test functions are summed: 6 for every smooth element, all bonds
        for hats. What smooth slopes have beyond is 1e-3 of their square."""
        return self.sites if self.degree == 1 else min(self.sites, 6 * self.elements)

    def values(self, offset: float = 0.0) -> np.ndarray:
        """(sites, elements) γ_i at the sites, or `offset` sites to their right."""
        s = (np.arange(self.sites) + offset) * self.elements / self.sites
        u = (s[:, None] - np.arange(self.elements) + self.elements / 2) % self.elements - self.elements / 2
        u = np.abs(u)
        if self.degree == 1:
            return np.clip(1 - u, 0, None)
        return np.where(u < 0.5, 0.75 - u**2, 0.5 * np.clip(1.5 - u, 0, None) ** 2)

    def slopes(self) -> np.ndarray:
        """(sites, elements) N [γ_i(next site) - γ_i(site)] on the bond to the right of each site."""
        values = self.values()
        return self.sites * (np.roll(values, -1, axis=0) - values)

    def slope_waves(self) -> np.ndarray:
        """(sites // 2 + 1, elements) transform of `slopes`, for `resampled`."""
        return np.fft.rfft(self.slopes(), axis=0) / self.sites


def resampled(waves: np.ndarray, points: int, axis: int) -> np.ndarray:
    """Values at `points` even places of a ring whose waves, rfft over the number of sites, are given along `axis`."""
    shape = list(waves.shape)
    shape[axis] = points // 2 + 1
    return np.fft.irfft(waves[tuple(slice(k) for k in shape)] * points, n=points, axis=axis)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sums over realisations; S starts, W windows, G groups, n elements.

    `count` (S, G); `density` (S, W + 1, G, sites); `D` (S, W, G, n); `DD` (S, W, G, n, n); `widths` (W,) of windows.
    """

    elements: Elements
    widths: np.ndarray
    count: np.ndarray
    density: np.ndarray
    D: np.ndarray
    DD: np.ndarray

    @classmethod
    def of(cls, fields: Fields, elements: Elements, groups: int = 10) -> Statistics:
        """Project and sum, some realisations at a time."""
        if len(fields.times) < 2:
            raise DataError("These fields hold a single time; fluctuations need at least two. Simulate with windows.")
        starts = np.unique(fields.starts)
        if min(np.sum(fields.starts == s) for s in starts) < 2 * groups:
            raise DataError(f"Fewer than {2 * groups} realisations of a start: covariances over realisations, and "
                            "their error bars, need more.")
        n, W, S = elements.elements, len(fields.times) - 1, len(starts)
        count = np.zeros((S, groups))
        density, D = np.zeros((S, W + 1, groups, elements.sites)), np.zeros((S, W, groups, n))
        DD = np.zeros((S, W, groups, n, n))
        gamma = elements.values() / elements.sites
        some = max(1, CHUNK // fields.values[0].size)
        for s, start in enumerate(starts):
            rows = np.flatnonzero(fields.starts == start)
            for g in range(groups):
                mine = rows[g::groups]
                count[s, g] = len(mine)
                for first in range(0, len(mine), some):
                    values = fields.values[mine[first:first + some]]
                    density[s, :, g] += values.sum(axis=0)
                    d = np.diff(values.astype(float) @ gamma, axis=1)
                    D[s, :, g] += d.sum(axis=0)
                    DD[s, :, g] += np.einsum("rwi,rwj->wij", d, d, optimize=True)
        return cls(elements, np.diff(fields.times), count, density, D, DD)

    def of_starts(self, some: np.ndarray) -> Statistics:
        """Only some of the starts (bool for each)."""
        return Statistics(self.elements, self.widths, self.count[some], self.density[some], self.D[some], self.DD[some])

    @property
    def groups(self) -> int:
        return self.count.shape[1]

    def without(self, group: int | None) -> IncrementMoments:
        """Means and covariances, one group left out (None: all)."""
        keep = np.arange(self.groups) != (-1 if group is None else group)
        count = self.count[:, keep].sum(axis=1)
        density = self.density[:, :, keep].sum(axis=2) / count[:, None, None]
        D = self.D[:, :, keep].sum(axis=2) / count[:, None, None]
        DD = self.DD[:, :, keep].sum(axis=2) / count[:, None, None, None]
        covariance = (DD - D[..., :, None] * D[..., None, :]) * (count / (count - 1))[:, None, None, None]
        return IncrementMoments(self.elements, self.widths, count, density, D, covariance, self._wave_noise(keep))

    def _wave_noise(self, keep: np.ndarray) -> np.ndarray:
        """(S,) standard error of the amplitude of a wave of the mean density, from the scatter of the groups."""
        share = self.density[:, :, keep] / self.count[:, None, keep, None]
        waves = np.fft.rfft(share, axis=3)[..., 1:self.elements.elements + 1] / self.elements.sites
        away = np.abs(waves - waves.mean(axis=2, keepdims=True)) ** 2
        groups = int(keep.sum())
        return np.sqrt(away.sum(axis=2).mean(axis=(1, 2)) / (groups - 1) / groups)


@dataclass(frozen=True, eq=False)
class IncrementMoments:
    """`count` (S,) realisations; mean `density` (S, W + 1, sites); mean `D` (S, W, n) and `covariance` (S, W, n, n);
    `noise` (S,) standard error of a wave of the mean density."""

    elements: Elements
    widths: np.ndarray
    count: np.ndarray
    density: np.ndarray
    D: np.ndarray
    covariance: np.ndarray
    noise: np.ndarray

    def smooth(self) -> np.ndarray:
        """(S, W + 1, sites) mean density less the waves beyond the last that stands out of the noise by LOUD standard
        deviations."""
        wave = np.fft.rfft(self.density, axis=2) / self.elements.sites
        k = np.arange(wave.shape[2])
        last = np.where(np.abs(wave) > LOUD * self.noise[:, None, None], k, 0).max(axis=(1, 2))
        wave = np.where(k <= last[:, None, None], wave, 0.0)
        return np.fft.irfft(wave * self.elements.sites, n=self.elements.sites, axis=2)

    def profiles(self) -> tuple[np.ndarray, np.ndarray]:
        """(S, W, points) smooth density, and its slope, at `Elements.points` places half a site to the right of sites,
        mean over each window.

        What chance adds to a slope would bend the regression of drift on slope down (3 % of D with 50 elements); the
        mean of a window's two ends does not correlate with its increment.
        """
        N, points, smooth = self.elements.sites, self.elements.points, self.smooth()
        wave = np.fft.rfft(0.5 * (smooth[:, 1:] + smooth[:, :-1]), axis=2) / N
        k = np.arange(wave.shape[2])
        right = np.exp(1j * np.pi * k / N)                                     # half a site to the right
        slope = 2j * N * np.sin(np.pi * k / N)                                 # (next - this) N, from the middle
        return resampled(wave * right, points, 2), resampled(wave * right * slope, points, 2)
