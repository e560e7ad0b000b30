"""Tracks found against the true ones of a rendered recording: were the right detections joined?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True)
class LinkScore:
    """What `score_links` found. A link joins two detections that follow each other in one track.

    Parameters
    ----------
    recall : float
        Part of the true links, of one frame to the next, that was found.
    recall_of_detected : float
        The same among the true links of which both ends were detected: what linking alone can miss.
    precision : float
        Part of the found links, gaps included, that join two detections of one particle.
    jaccard : float
        True links found / (true links + found links that are none), as in the particle tracking challenge
        (Chenouard et al., Nature Methods 11, 281 (2014)).
    links, true_links : int
        Found links, and true ones in the frames searched.
    """

    recall: float
    recall_of_detected: float
    precision: float
    jaccard: float
    links: int
    true_links: int


def score_links(found: Trajectories, truth: Trajectories, reach: float = 3.0) -> LinkScore:
    """Compare the links of `found` with those of `truth`.

    Detections are first matched with true positions frame by frame, at the least sum of squared distances with at
    most one partner each; a link is right if both its ends are detections of the same true particle.

    Parameters
    ----------
    found, truth : Trajectories
        On the same pixels and frames. Only frames between the first and last detection count.
    reach : float
        Farthest a detection may be from the true position [px].

    Raises
    ------
    DataError
        Nothing found, or no true link in the frames searched.
    ConfigError
        When `reach` is not positive.

    Examples
    --------
    Two particles that swap their names half-way: of four true links two are found, of four found ones two are right.

    >>> from vid2dyn.data.units import Units
    >>> true = Trajectories.from_dense(np.array([[[0.0, 0.0], [9.0, 9.0]]] * 3), Units(1.0, 10.0))
    >>> swapped = true.dataframe.assign(particle=[0, 0, 1, 1, 1, 0])
    >>> result = score_links(Trajectories.from_dataframe(swapped), true)
    >>> result.recall, result.precision, result.links
    (0.5, 0.5, 4)
    """
    if not reach > 0:
        raise ConfigError(f"reach = {reach!r}: give a positive distance in pixels.")
    if not len(found):
        raise DataError("There is no detection to score.")
    truth = truth.linked().between(int(found.frame.min()), int(found.frame.max()) + 1)
    partner = match(found, truth, reach)
    row = np.flatnonzero((found.particle[1:] == found.particle[:-1]) & (found.particle[1:] >= 0))
    a, b = partner[row], partner[row + 1]
    same = (a >= 0) & (b >= 0) & (truth.particle[a] == truth.particle[b])
    step = found.frame[row + 1] - found.frame[row] == 1
    true_row = np.flatnonzero((truth.particle[1:] == truth.particle[:-1]) & (np.diff(truth.frame) == 1))
    if not len(true_row):
        raise DataError("The truth holds no link in the frames searched; are these the same frames?")
    seen = np.zeros(len(truth), bool)
    seen[partner[partner >= 0]] = True
    detected = int((seen[true_row] & seen[true_row + 1]).sum())
    right = int((same & step).sum())
    return LinkScore(right / len(true_row), right / detected if detected else 0.0,
                     float(same.mean()) if len(row) else 0.0, right / (len(true_row) + int((~same).sum())),
                     len(row), len(true_row))


def match(found: Trajectories, truth: Trajectories, reach: float = 3.0) -> np.ndarray:
    """(rows of found,) row of `truth` that each detection belongs to, -1 for none; frame by frame, one to one."""
    axes = list(found.axes)
    here, there = found.dataframe[axes].to_numpy(), truth.dataframe[axes].to_numpy()
    partner = np.full(len(found), -1)
    for mine, theirs in _by_frame(found.frame, truth.frame):
        near = cKDTree(here[mine]).sparse_distance_matrix(cKDTree(there[theirs]), reach, output_type="coo_matrix")
        n, m = near.shape
        alone = np.arange(n)                           # a column of one's own: not to be matched
        table = coo_matrix((np.concatenate([1 + near.data**2, np.full(n, 1 + reach**2)]), (
            np.concatenate([near.row, alone]), np.concatenate([near.col, m + alone]))), (n, m + n)).tocsr()
        chosen = min_weight_full_bipartite_matching(table)[1]
        real = chosen < m
        partner[mine[real]] = theirs[chosen[real]]
    return partner


def _by_frame(a: np.ndarray, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows of a, rows of b) for every frame that both hold."""
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    both = np.intersect1d(a, b)

    def rows(order: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
        ordered = values[order]
        return [order[i:j] for i, j in zip(np.searchsorted(ordered, both), np.searchsorted(ordered, both, "right"))]

    return list(zip(rows(order_a, a), rows(order_b, b)))
