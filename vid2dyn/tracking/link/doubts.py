"""How much of what was linked is a guess: kept as linking goes on, in a few numbers, and said in plain words.

Three signs. Particles that move by more than a quarter of the distance of neighbours are linked to others now and then,
whatever the search range: the shorter links win, and the motion comes out too slow. Where the search range cuts the
distribution of displacements, many links are nearly as long as it. Where
particles are mistaken for each other, links of particles that had a choice are far longer than the others: a Gaussian
step exceeds `_FAR` times the median square once in 10^4, a jump to a neighbour always does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

_BINS, _LOWEST = 80, 2.0**-20     # of the squared displacement over the squared search range, in powers of 2^(1/4)
_FAR = 13.3                       # times the median square: a Gaussian in the plane exceeds it with 2^-13.3
_NEAR_EDGE = 0.81                 # squared: links longer than 0.9 search ranges
_CUT = 0.02                       # part of the links that may be so long
_JUMPS = 0.05                     # part of the mean squared displacement that such jumps may make
_CHOICES = 0.25                   # part of the links with a choice, beyond which a cut distribution means guessing
_MANY = 0.05                      # part of the links beyond which long ones are no jumps but a second population
_LARGE_STEP = 0.25                # of the distance of neighbours: the root mean square of a step along an axis
_EVERY, _ASKED = 25, 400          # frames from one look at the distance of neighbours to the next; particles asked
_FEW = 50                         # links that say something


class Doubts:
    """Counts of links by their length, of those of particles that had a choice, and of those that had none.

    Examples
    --------
    >>> doubts = Doubts()
    >>> square = np.random.default_rng(0).exponential(0.02, 1000)
    >>> doubts.add(square, np.ones(1000, bool))
    >>> doubts.notes(5.0)
    []
    >>> doubts.add(np.full(30, 0.8), np.ones(30, bool))                 # jumps to neighbours
    >>> len(doubts.notes(5.0))
    1
    """

    def __init__(self, dim: int = 2) -> None:
        self.dim = dim
        self.alone = np.zeros(_BINS, np.int64)
        self.contested = np.zeros(_BINS, np.int64)
        self.edge = 0
        self.frames = 0
        self.spacings: list[float] = []

    def add(self, square: np.ndarray, contested: np.ndarray) -> None:
        """Links of one frame: squared displacements over the squared search range, and which had a choice."""
        self.frames += 1
        self.edge += _count(square, contested, self.alone, self.contested)

    def add_links(self, linked: np.ndarray, feature: np.ndarray, expected: np.ndarray, position: np.ndarray,
                  search_range: float, start: np.ndarray, column: np.ndarray) -> None:
        """Links of one frame.

        Parameters
        ----------
        linked, feature : (links,) int arrays
            Rows of `expected` and `position` that belong together.
        expected, position : (n, dim) and (N, dim) arrays
            Where particles are expected, and the features of the frame [px].
        search_range : float
            [px]
        start, column : int arrays
            What each particle could have become: see `vid2dyn.tracking.link.candidates`.
        """
        if self.frames % _EVERY == 0 and len(position) > 1:
            asked = position[:: max(1, len(position) // _ASKED)]
            spacing = float(np.median(cKDTree(position).query(asked, k=2)[0][:, 1]))
            self.spacings.append(spacing / search_range)
        self.frames += 1
        self.edge += _count_links(linked, feature, expected, position, float(search_range**2), start, column,
                                  self.alone, self.contested)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays that `restore` takes."""
        return {"alone": self.alone, "contested": self.contested, "edge": np.asarray(self.edge),
                "linked_frames": np.asarray(self.frames), "spacings": np.asarray(self.spacings, dtype=float)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state`."""
        self.alone, self.contested = np.array(state["alone"]), np.array(state["contested"])
        self.edge, self.frames = int(state["edge"]), int(state["linked_frames"])
        self.spacings = np.asarray(state["spacings"], dtype=float).tolist()

    def notes(self, search_range: float) -> list[str]:
        """What a user should know about the links, in plain words."""
        every = self.alone + self.contested
        total = int(every.sum())
        if total < _FEW:
            return []
        square = _LOWEST * 2 ** ((np.arange(_BINS) + 0.5) / 4)
        choice = self.contested.sum() / total
        notes = []
        if self.edge > _CUT * total:
            guess = (f" {choice:.0%} of the particles had more than one candidate within it, so that many links are "
                     "guesses."
                     if choice > _CHOICES else "")
            notes.append(f"{self.edge / total:.0%} of the links are longer than 0.9 of the search range "
                         f"({search_range:g} px): "
                         "it cuts the distribution of displacements, and a diffusion coefficient follows the "
                         f"range.{guess} "
                         "Record at a higher frame rate, or compare search ranges (vd.suggest).")
        median = square[np.searchsorted(np.cumsum(every), 0.5 * total)]
        far = square > _FAR * median
        jumps, moved = int(self.contested[far].sum()), float((every * square).sum())
        share = float((self.contested[far] * square[far]).sum()) / moved
        if share > _JUMPS and jumps < _MANY * total and jumps > total * 2.0 ** -_FAR + 5 * np.sqrt(total * 2.0 **
        -_FAR) + 3:
            notes.append(f"{jumps} links ({jumps / total:.2%}) of particles that had another candidate are more than "
                         f"{np.sqrt(_FAR):.1f} times as long as the typical one and make {share:.0%} of the mean "
                         "squared "
                         "displacement: probably jumps from one particle to another (missed detections, a search "
                         "range beyond "
                         "the distance of neighbours). Try search_range = "
                         f"{search_range * np.sqrt(_FAR * median):.2g}, and "
                         "compare diffusion coefficients.")
        step = np.sqrt(moved / (self.dim * total))
        spacing = float(np.median(self.spacings)) if self.spacings else np.inf
        if step > _LARGE_STEP * spacing and not notes:
            notes.append(f"Particles move by {step * search_range:.2g} px per frame along each axis (root mean "
                         "square) and "
                         f"their nearest neighbours are {spacing * search_range:.2g} px away: some are taken for each "
                         "other, "
                         "and a diffusion coefficient is off by ten per cent or more. Record at a higher frame rate, "
                         "or "
                         "fewer particles at a time.")
        return notes


@njit(cache=True, nogil=True)
def _count(square: np.ndarray, contested: np.ndarray, alone: np.ndarray, choosing: np.ndarray) -> int:
    """Links by their squared length added to the counts of those that had no choice and of those that had; how many
    are nearly as long as the search range."""
    edge = 0
    for i in range(len(square)):
        k = min(int(4.0 * math.log2(max(square[i], _LOWEST) / _LOWEST)), _BINS - 1)
        if contested[i]:
            choosing[k] += 1
        else:
            alone[k] += 1
        edge += square[i] > _NEAR_EDGE
    return edge


@njit(cache=True, nogil=True)
def _count_links(linked: np.ndarray, feature: np.ndarray, expected: np.ndarray, position: np.ndarray, unit: float,
                 start: np.ndarray, column: np.ndarray, alone: np.ndarray, choosing: np.ndarray) -> int:
    """`_count` of links between rows `linked` of `expected` and `feature` of `position`, their squared lengths over
    `unit`; a particle had a choice if it had another candidate, or one of its candidates another particle."""
    wanted = np.zeros(len(position), np.int64)
    for j in column:
        wanted[j] += 1
    square, rival = np.zeros(len(linked)), np.zeros(len(linked), np.bool_)
    for k in range(len(linked)):
        i = linked[k]
        rival[k] = start[i + 1] - start[i] > 1
        for t in range(start[i], start[i + 1]):
            rival[k] |= wanted[column[t]] > 1
        for axis in range(position.shape[1]):
            square[k] += (position[feature[k], axis] - expected[i, axis]) ** 2
        square[k] /= unit
    return _count(square, rival, alone, choosing)
