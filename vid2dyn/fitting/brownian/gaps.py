"""Neighbours that the camera missed, put back where they must have been.

A particle that nobody saw pushes its neighbours all the same. Left out, it makes the score of the others wrong: with a
twentieth of the detections missing a potential of 1.5 kT came out as 0.3 kT. Where a track goes on after a gap, the
particle was between the two places: with Brownian steps of variance s² per axis and frame, k of g missing frames on, it
is normal about the straight line with variance s² k (g + 1 - k)/(g + 1), at most s² (g + 1)/4 (Brownian bridge). It is
put there as a neighbour that has no weight of its own. A track that ends and one that begins are taken for one particle
where they cannot be taken for others. Gaps too long for this, and tracks that end or begin for good inside the view,
are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.analysis.radial_distribution import detectable_area
from vid2dyn.data.box import Box
from vid2dyn.data.trajectories import Trajectories

WIDEST = 0.05
"""Largest standard deviation of a place in a gap, over the cutoff."""
LONGEST = 30
"""Frames of a gap, at most."""
NEAR = 4.5
"""Standard deviations within which the end of a track and the beginning of another are one particle."""


@dataclass(frozen=True, eq=False)
class Filled:
    """Places of particles that were missed.

    Parameters
    ----------
    position, frame, before : (m, dim), (m,), (m,) arrays
        Where [µm] and when, and the row of the last detection before.
    long_position, long_frame : (l, dim), (l,) arrays
        Of gaps too long to say.
    lost : int
        Tracks that end or begin inside the view, inside the recording.
    """

    position: np.ndarray
    frame: np.ndarray
    before: np.ndarray
    long_position: np.ndarray
    long_frame: np.ndarray
    lost: int


def filled_gaps(tracks: Trajectories, cutoff: float) -> Filled:
    """What was missed between detections; rows of `tracks` are sorted by (particle, frame)."""
    position, frame, particle = tracks.positions, tracks.frame.astype(np.int64), tracks.particle
    linked = particle >= 0
    same = (particle[1:] == particle[:-1]) & linked[1:]
    apart = np.diff(frame)
    one = np.flatnonzero(same & (apart == 1))
    step = tracks.box.displacement(position[one + 1], position[one])
    square = float(np.median((step**2).sum(axis=1)) / _MEDIAN[tracks.dim]) if len(one) else 0.0
    longest = min(LONGEST, int(4 * (WIDEST * cutoff) ** 2 / max(square, 1e-300)) - 1)
    inside = np.flatnonzero(same & (apart > 1))
    first, second = inside, inside + 1
    ends, begins = _ends(tracks, position, particle, linked)
    joined = _joined(position, frame, tracks.box, ends, begins, square, longest)
    first, second = np.r_[first, joined[0]], np.r_[second, joined[1]]
    # what is missed at the very beginning and end of a recording has no other side to be joined to
    lost = int((frame[np.setdiff1d(ends, joined[0])] < frame.max() - longest).sum()
               + (frame[np.setdiff1d(begins, joined[1])] > frame.min() + longest).sum())
    length = frame[second] - frame[first] - 1
    kept, long = (length > 0) & (length <= longest), length > longest
    x, t, row = _between(position, frame, tracks.box, first[kept], second[kept])
    y, s, _ = _between(position, frame, tracks.box, first[long], second[long])
    return Filled(x, t, row, y, s, lost)


_MEDIAN = {1: 0.4549, 2: 1.3863, 3: 2.3660}
"""Median of chi-square: squared steps over their variance per axis; a few wrong links do not move it."""


def _between(position: np.ndarray, frame: np.ndarray, box: Box, first: np.ndarray,
             second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places on the straight line between two detections, in every frame between."""
    length = frame[second] - frame[first] - 1
    rows = np.repeat(np.arange(len(first)), length)
    k = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + 1
    share = (k / (length[rows] + 1))[:, None]
    across = box.displacement(position[second], position[first])
    return position[first][rows] + share * across[rows], frame[first][rows] + k, first[rows]


def _ends(tracks: Trajectories, position: np.ndarray, particle: np.ndarray,
          linked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which tracks end and begin inside the view."""
    new = np.r_[True, particle[1:] != particle[:-1]]
    begins, ends = np.flatnonzero(new & linked), np.flatnonzero(np.r_[new[1:], True] & linked)
    if tracks.box.lengths is None:
        low, high = position.min(axis=0), position.max(axis=0)
        if tracks.field_of_view is not None:
            seen = len(tracks.field_of_view)
            corner, sides = detectable_area(tracks) if tracks.region is None else tracks.view()
            low, high = np.r_[corner, low[seen:]], np.r_[corner + sides, high[seen:]]
        margin = 0.05 * (high - low)
        begins, ends = (rows[((position[rows] > low + margin) & (position[rows] < high - margin)).all(axis=1)]
                        for rows in (begins, ends))
        if tracks.region is not None:
            within = tracks.region.distance(*(position[:, :2] / tracks.units.um).T)[0] * tracks.units.um > margin.min()
            begins, ends = begins[within[begins]], ends[within[ends]]
    return ends, begins


def _joined(position: np.ndarray, frame: np.ndarray, box: Box, ends: np.ndarray, begins: np.ndarray, square: float,
            longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (end, beginning) that can only be one particle: each is the other's only candidate."""
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    if not len(ends) or not len(begins) or longest < 1 or square <= 0:
        return none
    reach = NEAR * np.sqrt(square * (longest + 1))
    edge = None if box.lengths is None else np.asarray(box.lengths, dtype=float)
    x, y = position[ends], position[begins]
    if edge is not None:
        x, y = x % edge, y % edge
        if reach >= 0.5 * edge.min():
            return none
    near = cKDTree(y, boxsize=edge).query_ball_point(x, reach)
    a = np.repeat(np.arange(len(ends)), [len(one) for one in near])
    b = np.fromiter((k for one in near for k in one), np.int64, len(a))
    gap = frame[begins[b]] - frame[ends[a]]
    apart = (box.displacement(position[begins[b]], position[ends[a]]) ** 2).sum(axis=1)
    kept = (gap >= 1) & (gap <= longest + 1) & (apart < NEAR**2 * square * np.maximum(gap, 1))
    a, b, apart = a[kept], b[kept], (apart / np.maximum(gap, 1))[kept]
    order = np.lexsort((apart, gap[kept]))                 # short gaps first, then near ones
    a, b = a[order], b[order]
    _, first_a = np.unique(a, return_index=True)
    _, first_b = np.unique(b, return_index=True)
    both = np.intersect1d(first_a, first_b)                # each is the other's best
    return ends[a[both]], begins[b[both]]
