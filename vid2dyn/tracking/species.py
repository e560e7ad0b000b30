"""The species of a track: what the images of a particle say together."""

from __future__ import annotations

import numpy as np

from vid2dyn.tracking.columns import species_names

_MOST = 20.0
"""Logarithm of the odds that one image counts for, at most: one bad image does not outvote a track."""


def species_of_tracks(particle: np.ndarray, kind: np.ndarray, p: np.ndarray,
                      classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) names of the species and (N,) their probabilities, the same for all detections of a track.

    Probabilities of the images of a particle are multiplied, as if independent. Detections that belong to no track
    (particle -1) speak for themselves.

    Parameters
    ----------
    particle : (N,) int64 array
        Sorted.
    kind, p : (N,) arrays
        Class of each detection, 0 to classes - 1, and its probability.

    Examples
    --------
    >>> names, p = species_of_tracks(np.array([3, 3, 3, 7]), np.array([0, 1, 0, 1]), np.array([.9, .6, .9, .8]), 2)
    >>> names.tolist(), p.round(3).tolist()
    (['small', 'small', 'small', 'large'], [0.982, 0.982, 0.982, 0.8])
    """
    if not len(particle):
        return np.empty(0, object), np.empty(0)
    classes = max(classes, 1)
    track = np.where(particle >= 0, particle, -1 - np.arange(len(particle)))
    _, group = np.unique(track, return_inverse=True)
    rest = np.clip((1 - p) / max(classes - 1, 1), 1e-300, 1.0)
    odds = np.minimum(np.log(np.clip(p, 1e-300, 1.0) / rest), _MOST)
    score = np.zeros((group.max() + 1, classes))
    np.add.at(score, (group, kind.astype(np.int64)), odds)
    score -= score.max(axis=1, keepdims=True)
    weight = np.exp(score)
    probability = weight / weight.sum(axis=1, keepdims=True)
    best = score.argmax(axis=1)
    names = np.array(species_names(classes), dtype=object)
    return names[best[group]], probability[np.arange(len(best)), best][group]
