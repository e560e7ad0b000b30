"""Moments of displacements with the common motion of all particles taken out, without bias.

Subtracting the mean displacement of N particles takes away 1/N of each particle's own motion. A squared
displacement keeps the factor 1 - 1/N. A product of displacements in two intervals with N and N' particles, M of
them in both, keeps 1 - 1/N - 1/N' + M/(N N'). Sums are divided by sums of these factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from vid2dyn.analysis.moments import DisplacementMoments, Terms, common_motion, moments, unwrapped
from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Displacements:
    """Displacements between consecutive frames.

    Parameters
    ----------
    tracks : Trajectories
    remove : bool
        Whether common motion is taken out.
    position : (rows, dim) array
        Positions [µm], followed through the box.
    rows : (n,) int array
        Row in which each displacement starts.
    value : (n, dim) array
        Displacements [µm], less the common motion if `remove`.
    raw : (n, dim) array
        As recorded.
    number : (n,) array
        Particles that share each displacement's interval.
    """

    tracks: Trajectories
    remove: bool
    position: np.ndarray
    rows: np.ndarray
    value: np.ndarray
    raw: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, tracks: Trajectories, remove: bool) -> Displacements:
        """All displacements over one frame; `DataError` if there are none."""
        position = unwrapped(tracks)
        i, j = tracks.lagged(1)
        if not len(i):
            raise DataError(_no_step(tracks))
        raw = position[j] - position[i]
        residual, number = common_motion(raw, tracks.frame[i])
        return cls(tracks, remove, position, i, residual if remove else raw, raw, number)

    def covariance_terms(self, lag: int) -> Terms:
        """Products of displacements `lag` frames apart, d_n d_{n+lag}, of the same particle, per axis."""
        slot = np.full(len(self.tracks) + lag, -1)
        slot[self.rows] = np.arange(len(self.rows))
        # Consecutive displacements occupy consecutive rows: a chain of lag + 1 of them starts in `first`.
        complete = np.all([slot[self.rows + k] >= 0 for k in range(lag + 1)], axis=0)
        first = np.flatnonzero(complete)
        second = slot[self.rows[first] + lag]
        product = self.value[first] * self.value[second]
        if not self.remove:
            return Terms(self.rows[first], product, np.ones(len(first)))
        _, index = np.unique(self.tracks.frame[self.rows[first]], return_inverse=True)
        both = np.bincount(index)[index] if len(first) else np.empty(0)
        n, m = self.number[first], self.number[second]
        return Terms(self.rows[first], product, 1 - 1 / n - 1 / m + both / (n * m))

    def square_terms(self, lag: int) -> Terms:
        """Squared displacements over `lag` frames per axis, gaps skipped."""
        i, j = self.tracks.lagged(lag)
        step = self.position[j] - self.position[i]
        if not self.remove or not len(i):
            return Terms(i, step**2, np.ones(len(i)))
        residual, number = common_motion(step, self.tracks.frame[i])
        return Terms(i, residual**2, 1 - 1 / number)

    def covariances(self, lags: Sequence[int] = (0, 1, 2)) -> DisplacementMoments:
        """Moments (lag, axis), axis fastest, of displacement covariances [µm²]."""
        return moments(self.tracks, (self.covariance_terms(lag) for lag in lags), max(lags) + 1)

    def mean_squares(self, lags: Sequence[int]) -> DisplacementMoments:
        """Moments of the covariances at lag 0 and 1, then of the squared displacements at `lags` [µm²]."""
        terms = chain((self.covariance_terms(lag) for lag in (0, 1)), (self.square_terms(lag) for lag in lags))
        return moments(self.tracks, terms, max(lags))

    def mean_flow(self) -> DisplacementMoments:
        """Mean displacement per frame along each axis, as recorded [µm]."""
        return moments(self.tracks, [Terms(self.rows, self.raw, np.ones(len(self.rows)))], 2)


def _no_step(tracks: Trajectories) -> str:
    """Why there is no displacement over one frame, and what to do."""
    linked = tracks.linked()
    if tracks.n_frames < 2:
        return "There is one frame: motion is the difference of two. Was the recording cut, or `stop` set to 1?"
    same = linked.particle[1:] == linked.particle[:-1]
    steps = np.diff(linked.frame.astype(np.int64))[same]
    stride = int(np.gcd.reduce(steps)) if len(steps) else 0
    if stride > 1:
        return (f"Every track steps by {stride} frames (or a multiple): frames 0, {stride}, {2 * stride}, ... were "
                "kept. "
                f"Divide the frame numbers by {stride} and give frames_per_second / {stride}.")
    return ("No particle is seen in two consecutive frames, so there is no displacement to measure; link the "
            "detections, or "
            "check search_range and memory.")


def gaussian_variance(w: np.ndarray, c0: float, c1: float, samples: float) -> float:
    """Variance of w[0] c0 + w[1] c1 + w[2] c2 estimated from `samples` displacements of one Gaussian track.

    Isserlis' theorem for a process with autocovariances c0, c1, 0, ...; with w = (1/2, 1, 0)/dt it is the leading
    term D² (6 + 4 e + 2 e²)/N of Vestergaard, Blainey, Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eq. 17.
    """
    a, b = c0**2, c1**2
    matrix = np.array([[2 * a + 4 * b, 4 * c0 * c1, 2 * b],
                       [4 * c0 * c1, a + 3 * b, 2 * c0 * c1],
                       [2 * b, 2 * c0 * c1, a + 2 * b]])
    return float(w @ matrix @ w) / max(samples, 1.0)
