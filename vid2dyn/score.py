"""Positions found against the true ones of a rendered recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.errors import DataError
from vid2dyn.trajectories import Trajectories


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
    >>> from vid2dyn.units import Units
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
