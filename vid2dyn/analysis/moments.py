"""Averages over tracks with standard errors that survive correlations.

A term is one sampled quantity (a squared displacement, a product of two displacements) with a weight,
a particle and a frame. Terms of one particle are correlated in time, and terms of one moment are
correlated between particles (vibration, flow, drift, flicker). Both are kept: terms are summed into
cells (particle x block of frames), and the variance of a ratio of sums is the two-way cluster
variance of its linearised cell sums,

    V = V_particles + V_blocks - V_cells      (Cameron, Gelbach, Miller, J. Bus. Econ. Stat. 29, 238 (2011))

never below V_cells. A grouping with fewer than `_ENOUGH` groups says nothing and counts as V_cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.box import LeesEdwards
from vid2dyn.data.trajectories import Trajectories

_ENOUGH = 10
_BLOCKS = 20


@dataclass(frozen=True)
class Terms:
    """Samples of `c` quantities.

    Parameters
    ----------
    row : (n,) int array
        Row of the table in which each sample starts; tells its particle and frame.
    value : (n, c) array
        The samples.
    weight : (n,) array
        Their weights in the average (for a de-meaned product: the factor its expectation lost).
    """

    row: np.ndarray
    value: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class DisplacementMoments:
    """Weighted means of several quantities and what their joint errors follow from.

    Parameters
    ----------
    mean : (m,) array
        sum(value * weight) / sum(weight); NaN where there was no sample.
    influence : (cells, m) array
        Linearised contribution of each cell to the error of each mean.
    particle, block : (cells,) int arrays
        Which particle and which block of frames each cell is.
    count : (m,) int array
        Number of samples.
    """

    mean: np.ndarray
    influence: np.ndarray
    particle: np.ndarray
    block: np.ndarray
    count: np.ndarray

    def combine(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and standard error of `weights @ mean`, for weights of shape (m,) or (k, m)."""
        weights = np.atleast_2d(np.asarray(weights, dtype=float))
        values = self.influence @ weights.T
        # what was never seen and is not asked for has no part: 0 times NaN would be NaN
        mean = np.where(np.isnan(self.mean) & (weights == 0).all(axis=0), 0.0, self.mean)
        return weights @ mean, np.sqrt(self._variance(values))

    @property
    def stderr(self) -> np.ndarray:
        """(m,) standard errors of the means."""
        return np.sqrt(self._variance(self.influence))

    def _variance(self, u: np.ndarray) -> np.ndarray:
        cells = _grouped(u, np.arange(len(u)))
        v_cells = cells if cells is not None else np.full(u.shape[1], np.inf)
        v_particle, v_block = _grouped(u, self.particle), _grouped(u, self.block)
        with np.errstate(invalid="ignore"):                  # infinite with too few cells, replaced below
            total = (v_cells if v_particle is None else v_particle) - v_cells + (
                v_cells if v_block is None else v_block)
        return np.where(np.isfinite(v_cells), np.maximum(total, v_cells), np.inf)


def _grouped(u: np.ndarray, label: np.ndarray) -> np.ndarray | None:
    """Variance of the column sums of `u` from its sums over groups; None with too few groups."""
    names, index = np.unique(label, return_inverse=True)
    groups = names.size
    if groups < (3 if groups == len(u) else _ENOUGH):
        return None
    sums = np.stack([np.bincount(index, column, groups) for column in u.T], axis=1)
    return (sums**2).sum(axis=0) * groups / (groups - 1)


def moments(tracks: Trajectories, terms: Iterable[Terms], longest: int) -> DisplacementMoments:
    """Means of all columns of all `terms`, in order, with their joint errors.

    Parameters
    ----------
    tracks : Trajectories
        Table that the rows of the terms point into.
    terms : iterable of Terms
        Taken one at a time and not kept.
    longest : int
        Number of frames the longest term spans: a block of frames is at least twice that, if the
        recording is long enough for ten such blocks.

    Raises
    ------
    DataError
        When no particle was ever linked.
    """
    frame = tracks.frame.astype(np.int64)
    if not len(frame) or not (tracks.particle >= 0).any():
        raise DataError("There are no linked tracks in the table (column 'particle' is absent or -1 everywhere); "
                        "track the movie with a search range, or link the detections first.")
    span = int(frame.max() - frame.min() + 1)
    length = max(3, -(-span // _BLOCKS), min(2 * longest, span // _ENOUGH))
    block = (frame - frame.min()) // length
    _, particle = np.unique(tracks.particle, return_inverse=True)
    cells, cell = np.unique(particle * (span // length + 1) + block, return_inverse=True)
    means, counts, columns = [], [], []
    used = np.zeros(cells.size, dtype=bool)
    for term in terms:
        total = term.weight.sum()
        where = cell[term.row]
        used[where] = True
        for value in term.value.T:
            mean = (value.sum() / total) if total > 0 else np.nan
            deviation = np.nan_to_num((value - mean * term.weight) / total) if total > 0 else 0.0 * value
            means.append(mean)
            counts.append(len(term.row))
            columns.append(np.bincount(where, deviation, cells.size))
    # A cell without a single sample must not count as a group.
    blocks = span // length + 1
    return DisplacementMoments(np.array(means), np.stack([column[used] for column in columns], axis=1),
                               (cells // blocks)[used], (cells % blocks)[used], np.array(counts))


def unwrapped(tracks: Trajectories) -> np.ndarray:
    """(rows, dim) positions [µm] followed through the box: jumps by a box length between rows taken out.

    In a free box these are the positions themselves. In a sheared box the flow is taken out too: x less the integral
    of shear_rate · y along the track (trapezoids), so that what is left is motion relative to the flow.
    """
    positions, box = tracks.positions, tracks.box
    if box.lengths is None or len(positions) < 2:
        return positions
    same = tracks.particle[1:] == tracks.particle[:-1]
    edge = np.asarray(box.lengths)
    if not isinstance(box, LeesEdwards):
        return positions + _crossed(positions, same, edge) * edge
    positions = positions.copy()
    climbed = _crossed(positions[:, :1], same, edge[:1])[:, 0]
    time = tracks.frame * tracks.units.dt
    positions[:, 0] += climbed * edge[0]
    positions[:, 1] += climbed * (box.strain + box.shear_rate * time) * edge[0]
    height = positions[:, 0]
    carried = np.where(same, box.shear_rate * np.diff(time) * 0.5 * (height[1:] + height[:-1]), 0.0)
    positions[:, 1] -= _along(carried, same)
    positions[:, 1:] += _crossed(positions[:, 1:], same, edge[1:]) * edge[1:]
    return positions


def _crossed(positions: np.ndarray, same: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Boxes to be added to every row so that no step along a track is longer than half a box: whole numbers.

    Whole boxes are summed along each track: exact, unlike a running sum of steps.
    """
    return _along(-np.round(np.where(same[:, None], np.diff(positions, axis=0), 0.0) / edge), same)


def _along(steps: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Running sum of `steps` between rows, beginning with 0 in each track."""
    total = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
    first = np.flatnonzero(np.r_[True, ~same])
    return total - total[np.repeat(first, np.diff(np.r_[first, len(total)]))]


def common_motion(value: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacements less their mean over all particles that start in the same frame.

    Returns
    -------
    residual : (n, dim) array
    number : (n,) array
        How many particles each mean was taken over.
    """
    _, index = np.unique(frame, return_inverse=True)
    number = np.bincount(index)
    mean = np.stack([np.bincount(index, column) for column in value.T], axis=1) / number[:, None]
    return value - mean[index], number[index].astype(float)
