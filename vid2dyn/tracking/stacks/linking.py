"""Links in three dimensions: the same assignment, with a search range along the depth of its own."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.core.errors import ConfigError
from vid2dyn.tracking.columns import StackFeature
from vid2dyn.tracking.link.candidates import MAX_CANDIDATES
from vid2dyn.tracking.link.doubts import Doubts
from vid2dyn.tracking.link.linker import BUDGET, LinkStream
from vid2dyn.tracking.link.predict import OpenTracks
from vid2dyn.tracking.settings import Track

_SLACK = 1e-7                     # px: a particle exactly at its reach is within it, whatever the rounding
_FEW = 8                          # candidates asked for at first


class StackLinkStream(LinkStream):
    """Particle numbers of detections y, x, z[, y_std, x_std, z_std] [px], one stack at a time.

    Depths are in pixels too, so that distances are those of the sample. With `axial_search_range` they are multiplied
    by search_range/axial_search_range while linking: the range becomes an ellipsoid.

    Examples
    --------
    >>> stream = StackLinkStream(Track(search_range=3, axial_search_range=6))
    >>> stream.step(0, np.array([[5.0, 5.0, 5.0]])).tolist(), stream.step(1, np.array([[5.0, 5.0, 10.0]])).tolist()
    ([0], [0])
    >>> stream.step(2, np.array([[5.0, 10.0, 10.0]])).tolist()
    [1]
    """

    def __init__(self, settings: Track, budget: int = BUDGET) -> None:
        super().__init__(settings, budget)
        if settings.predictor == "affine":
            raise ConfigError('predictor = "affine" knows flows in a plane; for stacks give "none" or "velocity".')
        deep = settings.axial_search_range
        self.scale = np.array([1.0, 1.0, 1.0 if deep is None else settings.search_range / deep])
        self.open = OpenTracks.none(3)
        self.doubts = Doubts(3)

    def _checked(self, number: int, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features = np.asarray(features, dtype=float)
        position = self._positions(number, features[:, : StackFeature.Z + 1] * self.scale)
        if self.settings.link_cost == "distance":
            return position, np.zeros_like(position)
        if features.shape[1] <= StackFeature.Z_STD:
            raise ConfigError('link_cost = "likelihood" needs the columns y_std, x_std and z_std; use "distance".')
        return position, (features[:, StackFeature.Y_STD: StackFeature.Z_STD + 1] * self.scale) ** 2

    def _candidates(self, expected: np.ndarray, reach: np.ndarray,
                    position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """See `vid2dyn.tracking.link.candidates.candidates`."""
        n, m = len(expected), len(position)
        if n == 0 or m == 0:
            return np.zeros(n + 1, np.int64), np.empty(0, np.int64), np.empty(0), 0
        tree, asked = cKDTree(position), min(_FEW, m)
        while True:
            distance, column = tree.query(expected, k=asked, distance_upper_bound=float(reach.max()) + 2 * _SLACK)
            distance, column = distance.reshape(n, asked), column.reshape(n, asked)
            near = distance <= (reach + _SLACK)[:, None]
            if asked == m or asked > MAX_CANDIDATES or not near[:, -1].any():
                break
            asked = min(2 * asked, m, MAX_CANDIDATES + 1)
        cut = int(near[:, MAX_CANDIDATES:].any(axis=1).sum())
        near[:, MAX_CANDIDATES:] = False
        start = np.concatenate([[0], np.cumsum(near.sum(axis=1))]).astype(np.int64)
        return start, column[near].astype(np.int64), distance[near] ** 2, cut


def stream_of(settings: Track, dim: int) -> LinkStream:
    """The linker of flat images or of stacks."""
    return StackLinkStream(settings) if dim == 3 else LinkStream(settings)
