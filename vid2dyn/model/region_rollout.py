"""Rollout of a recording with a region of interest that is no rectangle: run in a box around it, seen inside it.

What the model is run in is periodic: the rectangle around the region. Nobody knows which particles were there outside
of the region, so that part is laid out with pieces of the region as it was seen in other frames, at the density of the
region. What the camera would have followed is what then lies inside the region: who leaves it is lost, who enters it
is new, as in the data, and statistics count its edges the same way on both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.analysis.radial_distribution import detectable_region
from vid2dyn.data.box import Periodic
from vid2dyn.data.region import Region
from vid2dyn.data.trajectories import Trajectories

_APART = 1.0                      # spacings of particles that are left between the region and the edge of the box
_SHIFTS = 40                      # of a piece that are tried, for the one that covers most
_COVERED = 0.01                   # part of the box that may stay bare
_PIECES = 200                     # at most
_TRIES = 200                      # places that are tried for a particle that is missing
_FRAMES = 20                      # that are asked how near to each other particles come
_NEAREST = 0.01                   # quantile of the distances to the nearest neighbour that is kept free at seams


@dataclass(frozen=True, eq=False)
class RegionBox:
    """The rectangle around a region, with what the rollout starts from.

    Parameters
    ----------
    start : Trajectories
        One frame in a periodic box, positions from its corner: the particles of the first frame inside the region, and
        after them those that were put around it, with the columns of the rows they come from.
    seen : Region
        Where particles are found.
    corner : (2,) array
        Of the box in the frame [px].
    added : int
        Particles that were put around.
    recording : Trajectories
        What all this is of.
    """

    start: Trajectories
    seen: Region
    corner: np.ndarray
    added: int
    recording: Trajectories

    @classmethod
    def around(cls, tracks: Trajectories, seed: int) -> RegionBox | None:
        """Of a recording in a plane; None where its region is a rectangle, and so a box of its own.

        Examples
        --------
        >>> from vid2dyn.data.units import Units
        >>> triangle = Region.of([[0, 0], [0, 99], [99, 0]], (100, 100))
        >>> place = np.random.default_rng(0).uniform(0, 10, (5, 400, 2))
        >>> gas = Trajectories.from_dense(place, Units(0.1, 10.0), field_of_view=(100, 100)).replace(region=triangle)
        >>> gas = gas.rows(triangle.contains(gas.dataframe.y, gas.dataframe.x))
        >>> box = RegionBox.around(gas, seed=0)
        >>> 0.4 < box.added / len(box.start) < 0.6
        True
        """
        seen = detectable_region(tracks)
        top, bottom, left, right = seen.bounds
        inside = seen.mask[top:bottom, left:right]
        if inside.all():
            return None
        yx, frame = tracks.dataframe[["y", "x"]].to_numpy(dtype=float), tracks.frame
        within = seen.contains(*yx.T)
        first = np.flatnonzero(within & (frame == frame[within].min())) if within.any() else np.empty(0, np.int64)
        density = max(int(within.sum()), 1) / max(len(np.unique(frame[within])), 1) / seen.area
        gap = math.ceil(_APART / math.sqrt(density))                       # opposite sides of the region do not meet
        inside = np.pad(inside, gap)
        corner = np.array([top, left]) - 0.5 - gap
        yx = yx - corner
        rng = np.random.default_rng([seed, 1])
        place, row = _surroundings(yx, frame, np.flatnonzero(within), first, inside, density, rng)
        place, row = np.concatenate([yx[first], place]), np.concatenate([first, row])
        table = tracks.dataframe.iloc[row].assign(frame=frame.min(), particle=np.arange(len(row)), y=place[:, 0],
                                                  x=place[:, 1]).reset_index(drop=True)
        sides = np.array(inside.shape) * tracks.units.um
        start = tracks.replace(dataframe=table, box=Periodic(tuple(sides.tolist())), field_of_view=None, region=None)
        return cls(start, seen, corner, len(row) - len(first), tracks)

    def followed(self, rollout: Trajectories) -> Trajectories:
        """What of a rollout in the box a camera follows inside the region: a track for every stay there."""
        table = rollout.dataframe
        sides = np.asarray(rollout.box.lengths) / rollout.units.um
        yx = table[["y", "x"]].to_numpy(dtype=float)
        turns = np.floor(yx / sides)
        yx = yx - turns * sides + self.corner
        inside = self.seen.contains(*yx.T)
        kept = table[inside].assign(y=yx[inside, 0], x=yx[inside, 1])
        particle, frame, turns = kept["particle"].to_numpy(), kept["frame"].to_numpy(), turns[inside]
        new = (np.diff(particle) != 0) | (np.diff(frame) != 1) | (np.diff(turns, axis=0) != 0).any(axis=1)
        kept = kept.assign(particle=np.concatenate([[0], np.cumsum(new)])[:len(kept)]).reset_index(drop=True)
        about = {**rollout.info["rollout"], "around_region": {"added": self.added, "box": sides.tolist()}}
        return rollout.replace(dataframe=kept, box=self.recording.box, field_of_view=self.recording.field_of_view,
                               region=self.seen, info={**rollout.info, "rollout": about})


def _surroundings(yx: np.ndarray, frame: np.ndarray, within: np.ndarray, first: np.ndarray, inside: np.ndarray,
                  density: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) of particles beside those of rows `first` [px], in a periodic rectangle, and the rows that they are
    of.

    Parameters
    ----------
    yx, frame : (n, 2) and (n,) arrays
        All detections, from the corner of the rectangle.
    within, first : int arrays
        Rows inside the region, and those of the first frame.
    inside : (height, width) bool array
        The region.
    density : float
        Of the region [1/px²].
    """
    sides = np.array(inside.shape, dtype=float)
    free = _kept_free(yx, frame, within, rng)
    wanted = round(density * (~inside).sum())
    bare, place, row = ~inside, [yx[first]], [first]
    numbers = np.unique(frame[within])
    for _ in range(_PIECES):
        if bare.sum() <= _COVERED * bare.size:
            break
        shifts = rng.integers(0, inside.shape, (_SHIFTS, 2))
        gains = [int((bare & np.roll(inside, shift, axis=(0, 1))).sum()) for shift in shifts]
        shift = shifts[int(np.argmax(gains))]
        piece = within[frame[within] == rng.choice(numbers)]
        moved = (yx[piece] + shift) % sides
        at = np.minimum(moved.astype(int), np.array(inside.shape) - 1)
        piece, moved = piece[bare[at[:, 0], at[:, 1]]], moved[bare[at[:, 0], at[:, 1]]]
        apart = _far(moved, np.concatenate(place), free, sides)
        place.append(moved[apart])
        row.append(piece[apart])
        bare &= ~np.roll(inside, shift, axis=(0, 1))
    there, rows = np.concatenate(place[1:] or [np.empty((0, 2))]), np.concatenate(row[1:] or [np.empty(0, np.int64)])
    if len(there) > wanted:
        chosen = rng.permutation(len(there))[:wanted]
        return there[chosen], rows[chosen]
    outside = np.argwhere(~inside) + 0.5                                   # centres of pixels, from the corner
    for _ in range(_TRIES):
        if len(there) >= wanted or not len(within):
            break
        spot = outside[rng.integers(len(outside), size=wanted - len(there))]
        spot = spot + rng.uniform(-0.5, 0.5, spot.shape)
        spot = spot[_far(spot, np.concatenate([yx[first], there]), free, sides)]
        there, rows = np.concatenate([there, spot]), np.concatenate([rows, rng.choice(within, len(spot))])
    return there, rows


def _kept_free(yx: np.ndarray, frame: np.ndarray, within: np.ndarray, rng: np.random.Generator) -> float:
    """A distance below which hardly any two particles of a frame are seen [px]."""
    numbers = np.unique(frame[within])
    nearest = []
    for number in rng.permutation(numbers)[:_FRAMES]:
        here = yx[within[frame[within] == number]]
        if len(here) > 1:
            nearest.append(cKDTree(here).query(here, k=2)[0][:, 1])
    return float(np.quantile(np.concatenate(nearest), _NEAREST)) if nearest else 0.0


def _far(points: np.ndarray, others: np.ndarray, free: float, sides: np.ndarray) -> np.ndarray:
    """(n,) bool: which points stay so that all are at least `free` away from all others in the periodic rectangle, and
    from each other."""
    stay = np.ones(len(points), bool)
    if not len(points) or free <= 0:
        return stay
    tree = cKDTree(points % sides, boxsize=sides)
    if len(others):
        near = cKDTree(others % sides, boxsize=sides).query(points % sides, distance_upper_bound=free)[0]
        stay = np.isinf(near)
    for a, b in tree.query_pairs(free, output_type="ndarray"):
        stay[b] &= not stay[a]
    return stay
