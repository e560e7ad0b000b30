"""Recording: trajectories laid out for estimation, in µm and s.

Real and simulated data enter the estimators through the same object, so that whatever an estimator does
wrong, it does wrong on both (see `indirect`).

A microscope sees a window. A particle near its edge feels neighbours that nobody sees, so it must not be asked
for its force: every detection has a weight, zero within one cutoff of the edge and rising smoothly to one. The
slope of the weight enters score matching (integration by parts), which keeps it unbiased. The edge is that of the
places where particles are found (`detectable_area`): nearer to the edge of a frame than about half an image detectors
find none, and forces that count from the frame miss these neighbours (2 % of them in a packing).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.analysis.radial_distribution import detectable_area, detectable_region
from vid2dyn.core.errors import DataError
from vid2dyn.data.box import Box
from vid2dyn.data.region import Region
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.fitting.brownian.gaps import Filled, filled_gaps

ENOUGH = 0.6
"""Part of the weight of all detections that must be left where those that miss a neighbour are left out."""

RAMP = 0.5
"""Width over which the edge weight rises, in cutoffs."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Detections in µm, sorted by (track, frame); every node, linked or not, is a neighbour.

    Parameters
    ----------
    position : (n, dim) array
        [µm].
    frame, track : (n,) int arrays
        Track -1: unlinked, a neighbour without a displacement.
    variance : (n, dim) array
        Localisation variance as stated [µm²], or ones where nothing is stated.
    weight, weight_slope : (n,), (n, dim) arrays
        Edge weight and its gradient [1/µm].
    box : Box
        Space.
    dt, exposure : float
        [s].
    """

    position: np.ndarray
    frame: np.ndarray
    track: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    weight_slope: np.ndarray
    box: Box
    dt: float
    exposure: float
    steps: np.ndarray
    """(m,) rows i whose particle is seen again in the next frame, at row i + 1."""
    species: np.ndarray | None = None
    """(n,) number of the species of each detection; None: all alike."""
    filled: int = 0
    """How many of the rows, the last ones, are places of missed particles (`gaps`): neighbours without weight."""
    lost: int = 0
    """Tracks that end or begin inside the view: particles that are missing for longer."""
    area: tuple[np.ndarray, np.ndarray] | None = None
    """Corner and sides [µm] of where particles are found (`detectable_area`); None without a field of view."""

    @property
    def blur(self) -> float:
        """R = t_E / (6 dt)."""
        return self.exposure / (6 * self.dt)

    @property
    def dim(self) -> int:
        return self.position.shape[1]

    def of_species(self, species: int) -> Recording:
        """The same detections with the steps of one species only."""
        if self.species is None:
            return self
        return replace(self, steps=self.steps[self.species[self.steps] == species])

    def where(self, rows: np.ndarray) -> Recording:
        """Some of the detections (bool for each), with the steps between those that are left."""
        track, frame = self.track[rows], self.frame[rows]
        return replace(self, position=self.position[rows], frame=frame, track=track, variance=self.variance[rows],
                       weight=self.weight[rows], weight_slope=self.weight_slope[rows], steps=steps_of(track, frame),
                       species=None if self.species is None else self.species[rows],
                       filled=int(np.count_nonzero(rows[len(rows) - self.filled:])))

    @classmethod
    def of(cls, tracks: Trajectories, cutoff: float | None, species: np.ndarray | None = None) -> Recording:
        """From a table. `cutoff` [µm] sets how far from the edge of view a force can be known; `species` (n,) numbers
        the species of its rows."""
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a Brownian model")
        position = tracks.positions
        sigma = tracks.sigma
        if sigma is None or not (sigma > 0).any():
            variance = np.ones_like(position)
        else:
            variance = np.maximum(sigma**2, 1e-3 * float(np.median(sigma[sigma > 0])) ** 2)
        frame, track = tracks.frame.astype(np.int64), tracks.particle
        weight, slope, area = np.ones(len(position)), np.zeros_like(position), None
        if tracks.field_of_view is not None and tracks.box.lengths is None and len(tracks):
            area = detectable_area(tracks)
            if cutoff is not None:
                region = None if tracks.region is None else detectable_region(tracks)
                weight, slope = edge_weight(position, *area, cutoff, tracks.units.um, region)
        plain = cls(position, frame, track, variance, weight, slope, tracks.box, tracks.units.dt,
                    tracks.units.exposure or 0.0, steps_of(track, frame), species, area=area)
        return plain if cutoff is None else plain.with_missed(filled_gaps(tracks, cutoff), cutoff)

    def with_missed(self, missed: Filled, cutoff: float) -> Recording:
        """Without weight near what was missed, where that costs little; else with what was missed as neighbours.

        To leave out detections that miss a neighbour needs no assumption on where that one was. With more gaps hardly a
        detection would be left, and gaps that are short enough are filled.
        """
        count = len(missed.frame)
        if not count and not len(missed.long_frame):
            return replace(self, lost=missed.lost)
        weight, slope = _without_missing_neighbours(
            self, cutoff, np.concatenate([missed.position, missed.long_position]),
            np.concatenate([missed.frame, missed.long_frame]))
        if not count or weight.sum() >= ENOUGH * self.weight.sum():
            return replace(self, weight=weight, weight_slope=slope, lost=missed.lost)
        weight, slope = self.weight, self.weight_slope
        if len(missed.long_frame):
            weight, slope = _without_missing_neighbours(self, cutoff, missed.long_position, missed.long_frame)
        before = missed.before
        return replace(
            self, position=np.concatenate([self.position, missed.position]),
            frame=np.concatenate([self.frame, missed.frame]), track=np.concatenate([self.track, np.full(count, -1)]),
            variance=np.concatenate([self.variance, self.variance[before]]),
            weight=np.concatenate([weight, np.zeros(count)]),
            weight_slope=np.concatenate([slope, np.zeros((count, self.dim))]),
            species=None if self.species is None else np.concatenate([self.species, self.species[before]]),
            filled=count, lost=missed.lost)

    @classmethod
    def simulated(cls, path: np.ndarray, variance: np.ndarray, box: Box, dt: float, exposure: float,
                  species: np.ndarray | None = None) -> Recording:
        """From a dense path (frames, n, dim) [µm] in which everything is seen; `species` (n,) of its particles."""
        frames, n, dim = path.shape
        position = path.transpose(1, 0, 2).reshape(-1, dim)
        frame = np.tile(np.arange(frames), n)
        track = np.repeat(np.arange(n), frames)
        flat = np.broadcast_to(variance, path.shape).transpose(1, 0, 2).reshape(-1, dim)
        return cls(position, frame, track, flat, np.ones(n * frames), np.zeros((n * frames, dim)), box, dt,
                   exposure, steps_of(track, frame), None if species is None else np.repeat(species, frames))

    def blocks(self, count: int) -> list[np.ndarray]:
        """Rows of `count` consecutive stretches of time, about equal in detections."""
        order = np.argsort(self.frame, kind="stable")
        frames, first = np.unique(self.frame[order], return_index=True)
        if frames.size < 2:
            raise DataError(f"The trajectories span {frames.size} frame; a model of motion needs at least 3.")
        cuts = np.linspace(0, frames.size, min(count, frames.size) + 1).astype(int)[1:-1]
        return [np.sort(rows) for rows in np.split(order, first[cuts])]


def edge_weight(position: np.ndarray, corner: np.ndarray, view: np.ndarray, cutoff: float, pixel: float = 1.0,
                region: Region | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weight 0 within one cutoff of the edge of view, smooth (C1) to 1 half a cutoff further in; and its gradient.

    `view` is (height, width[, depth]) [µm] from `corner` on: the centre of the first pixel is 0, so the image starts
    half a pixel before it. Of a region of interest (whose pixels are `pixel` µm wide) the distance is that to its edge,
    and the gradient that of the same distance.
    """
    if region is not None:
        value, gradient = region.distance(*(position[:, :2] / pixel).T)
        t = np.clip((value * pixel - cutoff) / (RAMP * cutoff), 0.0, 1.0)
        if not t.any():
            raise DataError(f"The region of interest is too small for cutoff = {cutoff:g} µm: no particle has all its "
                            "neighbours in it. Choose a smaller cutoff or a larger region.")
        slope = 6 * t * (1 - t) / (RAMP * cutoff)
        return t * t * (3 - 2 * t), slope[:, None] * gradient
    if (view <= 2 * cutoff * (1 + 0.5 * RAMP)).any():
        raise DataError(f"The field of view ({' x '.join(f'{v:.3g}' for v in view)} µm) is too small for cutoff = "
                        f"{cutoff:g} µm: no particle has all its neighbours in view. Choose a cutoff below "
                        f"{view.min() / 3:.2g} µm.")
    weight = np.ones(len(position))
    log_slope = np.zeros_like(position)
    for axis in range(len(view)):
        x = position[:, axis] - corner[axis]
        for inward, distance in ((1.0, x), (-1.0, view[axis] - x)):
            t = np.clip((distance - cutoff) / (RAMP * cutoff), 0.0, 1.0)
            rise, slope = t * t * (3 - 2 * t), 6 * t * (1 - t) / (RAMP * cutoff)
            weight *= rise
            with np.errstate(divide="ignore", invalid="ignore"):
                log_slope[:, axis] += inward * np.where(rise > 0, slope / rise, 0.0)
    return weight, weight[:, None] * log_slope


def _without_missing_neighbours(recording: Recording, cutoff: float, lost: np.ndarray,
                                when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight and slope, zero for detections that may miss a neighbour: one that was lost nearby at that time."""
    far = 4.0 * cutoff                                        # frames apart on an extra axis: see neighbour_pairs
    seen, edge = recording.position, None
    if recording.box.lengths is not None:
        lengths = np.asarray(recording.box.lengths, dtype=float)
        lost, seen = lost % lengths, seen % lengths
        edge = np.append(lengths, 0.0)                        # 0: no images
    tree = cKDTree(np.column_stack([lost, when * far]), boxsize=edge)
    distance, _ = tree.query(np.column_stack([seen, recording.frame * far]), distance_upper_bound=1.2 * cutoff)
    whole = ~np.isfinite(distance)
    return recording.weight * whole, recording.weight_slope * whole[:, None]


def steps_of(track: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """(m,) rows whose particle is seen again in the next frame, at the next row; rows sorted by (track, frame)."""
    return np.flatnonzero((track[1:] == track[:-1]) & (track[1:] >= 0) & (frame[1:] == frame[:-1] + 1))
