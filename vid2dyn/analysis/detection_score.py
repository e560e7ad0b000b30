"""Positions found against the true ones of a rendered recording.

`score` takes whole recordings; `DetectionScore.of` positions of single frames, with what the error bars say and how
far sub-pixel positions and pair distances are from the truth. `joint_bound` is the Cramér-Rao bound of a few spots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import ndtr
from scipy.stats import kstest

from vid2dyn.core.errors import DataError
from vid2dyn.data.trajectories import Trajectories


@dataclass(frozen=True)
class Score:
    """What `score` found.

    Parameters
    ----------
    recall, precision : float
        Part of the true positions that was found, and part of the found ones that is true.
    rmse : float
        Root mean squared error of the matched positions along one axis [µm].
    rmse_stderr : float
        Its standard error, from frames as independent blocks [µm].
    matched : int
        Number of matches.
    """

    recall: float
    precision: float
    rmse: float
    rmse_stderr: float
    matched: int


def score(found: Trajectories, truth: Trajectories, reach: float = 3.0) -> Score:
    """Match the detections of every frame with true positions that are mutually nearest.

    Parameters
    ----------
    found, truth : Trajectories
        On the same pixels and frames.
    reach : float
        Farthest a match may be [px].

    Raises
    ------
    DataError
        If nothing matches.

    Examples
    --------
    >>> from vid2dyn.data.units import Units
    >>> true = Trajectories.from_dense(np.array([[[1.0, 1.0], [5.0, 5.0]]]), Units(0.1, 10.0))
    >>> found = true.rows(np.array([True, False]))
    >>> result = score(found, true)
    >>> result.recall, result.precision, result.rmse
    (0.5, 1.0, 0.0)
    """
    columns = list(found.axes)
    squares = []
    for frame in np.unique(found.frame):
        a = found.dataframe.loc[found.frame == frame, columns].to_numpy()
        b = truth.dataframe.loc[truth.frame == frame, columns].to_numpy()
        if not len(b):
            continue
        distance, forth = cKDTree(b).query(a)
        back = cKDTree(a).query(b)[1]
        match = (distance < reach) & (back[forth] == np.arange(len(a)))
        if match.any():
            squares.append(((a - b[forth]) ** 2)[match].mean(axis=1))
    if not squares:
        raise DataError(f"No detection lies within {reach:g} px of a true position; are these the same frames?")
    matched = sum(map(len, squares))
    rmse = float(np.sqrt(np.concatenate(squares).mean()))
    scatter = np.std([s.mean() for s in squares]) / np.sqrt(len(squares))
    seen = np.isin(truth.frame, np.unique(found.frame)).sum()
    um = found.units.um
    return Score(matched / int(seen), matched / len(found), rmse * um,
                 float(scatter / (2 * rmse)) * um if rmse else 0.0, matched)


def matches(found: np.ndarray, truth: np.ndarray, reach: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows (i, j) of found (N, 2) and true (M, 2) positions of a frame that are mutually nearest within `reach` [px].

    >>> matches(np.array([[0.0, 0.0], [9.0, 9.0]]), np.array([[8.0, 9.0], [30.0, 30.0]]))
    (array([1]), array([0]))
    """
    if not len(found) or not len(truth):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    distance, forth = cKDTree(truth).query(found)
    back = cKDTree(found).query(truth)[1]
    hit = np.flatnonzero((distance < reach) & (back[forth] == np.arange(len(found))))
    return hit, forth[hit]


@dataclass(frozen=True)
class DetectionScore:
    """Detections of one or many frames against the truth.

    Parameters
    ----------
    found, true, matched : int
        How many.
    error : (K, 2) array
        Found minus true position of every match [px].
    std : (K, 2) array
        Stated standard errors [px]; NaN where none were stated.
    phase : (F, 2) array
        Found positions, for the test of their sub-pixel parts [px].
    """

    found: int
    true: int
    matched: int
    error: np.ndarray
    std: np.ndarray
    phase: np.ndarray

    @classmethod
    def of(cls, frames: Iterable[tuple[np.ndarray, np.ndarray]], reach: float = 3.0) -> DetectionScore:
        """From pairs (features, truth) of frames.

        Parameters
        ----------
        frames : iterable of ((N, 2 or more), (M, 2)) arrays
            Columns y, x [px] and, if there are more, y_std, x_std next.
        reach : float
            Farthest a match may be [px].

        Examples
        --------
        >>> truth = np.array([[5.0, 5.0], [20.0, 20.0]])
        >>> result = DetectionScore.of([(truth[:1] + 0.1, truth)])
        >>> result.recall, result.precision, round(result.rmse, 3)
        (0.5, 1.0, 0.1)
        """
        found = true = 0
        parts: list[list[np.ndarray]] = [[], [], []]
        for features, truth in frames:
            i, j = matches(features[:, :2], truth, reach)
            found, true = found + len(features), true + len(truth)
            std = features[i, 2:4] if features.shape[1] >= 4 else np.full((len(i), 2), np.nan)
            for part, value in zip(parts, (features[i, :2] - truth[j], std, features[:, :2])):
                part.append(value)
        error, std, phase = (np.concatenate(part) if part else np.empty((0, 2)) for part in parts)
        return cls(found, true, len(error), error, std, phase)

    @property
    def recall(self) -> float:
        """Part of the true positions that was found."""
        return self.matched / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """Part of the found positions that is true."""
        return self.matched / self.found if self.found else float("nan")

    @property
    def rmse(self) -> float:
        """Root mean squared error along one axis [px]."""
        return float(np.sqrt(np.mean(self.error**2))) if self.matched else float("nan")

    @property
    def z_std(self) -> float:
        """Standard deviation of error / stated error; 1 where error bars are right."""
        return float(np.std(self.error / self.std)) if self.matched else float("nan")

    @property
    def phase_p(self) -> float:
        """p of uniform sub-pixel positions (Kolmogorov-Smirnov, both axes, the smaller one twice)."""
        return phase_p(self.phase)


def phase_p(positions: np.ndarray) -> float:
    """p of the hypothesis that the sub-pixel parts of positions (N, dim) [px] are uniform: Kolmogorov-Smirnov.

    The axes are tested one by one; the smallest p counts, times the number of axes (Bonferroni). Positions have to be
    independent: of a particle that does not move take one.

    >>> rng = np.random.default_rng(0)
    >>> phase_p(rng.uniform(0, 50, (2000, 2))) > 0.01, phase_p(rng.normal(0, 0.2, (2000, 2))) < 1e-9
    (True, True)
    """
    if not len(positions):
        return float("nan")
    axes = positions.shape[1]
    return float(min(1.0, axes * min(kstest(positions[:, k] % 1.0, "uniform").pvalue for k in range(axes))))


def joint_bound(points: np.ndarray, width: float, snr: float) -> np.ndarray:
    """Cramér-Rao bound of the positions of Gaussian spots that overlap.

    White noise; amplitudes, positions and one common background are unknown, the width is known. A spot alone comes
    out as sqrt(2/pi)/snr, times about 1 + 1/(12 width²) for the light that a pixel averages.

    Parameters
    ----------
    points : (N, 2) array
        Centres (y, x) [px], a few.
    width : float
        Standard deviation of the Gaussians [px].
    snr : float
        Brightness at the centre over the noise of a pixel.

    Returns
    -------
    (N, 2) array
        Least standard error of (y, x) [px].

    Examples
    --------
    >>> (joint_bound(np.zeros((1, 2)), 2.5, 25.0) * 25).round(2).tolist()
    [[0.81, 0.81]]
    """
    points = np.atleast_2d(points) - np.floor(np.min(points, axis=0)) + np.ceil(6 * width)
    shape = np.ceil(points.max(axis=0) + 6 * width).astype(int) + 1

    def along(size: int, at: float) -> np.ndarray:
        return np.diff(ndtr((np.arange(size + 1) - 0.5 - at) / width)) * np.sqrt(2 * np.pi) * width

    columns = [np.ones(shape).ravel()]
    for y, x in points:
        h = 1e-4
        gy, gx = along(shape[0], y), along(shape[1], x)
        dy = (along(shape[0], y + h) - along(shape[0], y - h)) / (2 * h)
        dx = (along(shape[1], x + h) - along(shape[1], x - h)) / (2 * h)
        columns += [np.outer(a, b).ravel() for a, b in ((gy, gx), (dy, gx), (gy, dx))]
    jacobian = np.array(columns) * snr
    jacobian[0] /= snr
    bound = np.sqrt(np.diag(np.linalg.inv(jacobian @ jacobian.T)))
    return bound[1:].reshape(-1, 3)[:, 1:]


def pair_distance_bias(frames: Iterable[tuple[np.ndarray, np.ndarray]],
                       reach: float = 3.0) -> tuple[float, float, float]:
    """How far found distances of true pairs are off: mean and its standard error [px], and part of the pairs found.

    Parameters
    ----------
    frames : iterable of ((N, 2 or more), (2 P, 2)) arrays
        Features and truth; true positions 2 k and 2 k + 1 are a pair.
    reach : float
        Farthest a match may be [px].

    Examples
    --------
    >>> truth = np.array([[0.0, 0.0], [0.0, 5.0], [20.0, 0.0], [20.0, 5.0]])
    >>> found = truth + np.array([[0, 0], [0, 0.1], [0, 0], [0, 0.1]])
    >>> [round(v, 3) for v in pair_distance_bias([(found, truth)])]
    [0.1, 0.0, 1.0]
    """
    errors, pairs = [], 0
    for features, truth in frames:
        i, j = matches(features[:, :2], truth, reach)
        place = np.full(len(truth), -1)
        place[j] = i
        row = place.reshape(-1, 2)
        pairs += len(row)
        row = row[(row >= 0).all(axis=1)]
        first, second = row.T
        apart = features[first, :2] - features[second, :2]
        both = np.isin(np.arange(len(truth)), j).reshape(-1, 2).all(axis=1)
        true = (truth[::2] - truth[1::2])[both]
        errors.append(np.linalg.norm(apart, axis=1) - np.linalg.norm(true, axis=1))
    every = np.concatenate(errors) if errors else np.empty(0)
    if not len(every):
        return float("nan"), float("nan"), 0.0
    return float(every.mean()), float(every.std() / np.sqrt(len(every))), len(every) / pairs
