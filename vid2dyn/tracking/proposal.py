"""What is proposed for a recording, and what displacements between its frames say about the search range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.core.errors import DataError
from vid2dyn.data.video import Video
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.stacks.linking import stream_of

MASK = 4.6
"""Diameters of a mask per width of a Gaussian spot: it holds 93 % of the light."""
_FAR = {2: 3.7, 3: 4.0}           # widths of a Brownian step that one in a thousand exceeds, by dimensions
_MEDIAN = {2: math.sqrt(2 * math.log(2)), 3: 1.538}            # and half of them
_LEAST_RANGE = 2.0                # px
_LIKE = 1.3                       # ratio of the ranges along and across the depth that one number serves


@dataclass(frozen=True, eq=False)
class Proposal:
    """Settings and the evidence for them.

    Parameters
    ----------
    track : Track
        Proposed: diameter, invert, minmass and search_range, the rest as by default or as given.
    scales : (k,) array
        Widths of spots looked for [px].
    response : (2, k) array
        How much there is of each, bright spots first, dark ones second [grey levels²].
    spot_width : float
        Of a typical spot, as that of a Gaussian [px].
    mass : (n,) array
        Summed brightness of everything found in the frames looked at, without a limit [grey levels].
    displacement : (m, dim) array
        Between successive frames [px].
    step : float
        Standard deviation of a displacement along an axis of the plane, about the common motion [px].
    drift : (dim,) array
        Common motion [px per frame].
    spacing : float
        Median distance to the nearest neighbour [px].
    ambiguous : float
        Part of the particles with more than one candidate within the search range.
    example : int
        Frame that is shown.
    found : (n, 2) array
        y and x of what is found there [px].
    notes : tuple of str
        What a user should know, in plain words.
    """

    track: Track
    scales: np.ndarray
    response: np.ndarray
    spot_width: float
    mass: np.ndarray
    displacement: np.ndarray
    step: float
    drift: np.ndarray
    spacing: float
    ambiguous: float
    example: int
    found: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Motion:
    """Of particles between successive frames.

    Parameters
    ----------
    displacement : (m, dim) array
        [px]
    drift : (dim,) array
        Their median [px per frame].
    step : float
        Their standard deviation along an axis of the plane, about the drift [px].
    spacing : float
        Median distance to the nearest neighbour [px].
    """

    displacement: np.ndarray
    drift: np.ndarray
    step: float
    spacing: float


def motion_of(found: Sequence[tuple[np.ndarray, np.ndarray]], video: Video) -> Motion:
    """From the positions (N, dim) in pairs of successive frames [px].

    Raises
    ------
    DataError
        Where no particle is found again.
    """
    dim = found[0][0].shape[1]
    nearest = [cKDTree(a).query(a, k=2)[0][:, 1] for a, _ in found if len(a) > 1]
    spacing = float(np.median(np.concatenate(nearest))) if nearest else float(max(video.shape))
    reach = min(max(0.5 * spacing, _LEAST_RANGE), 0.25 * max(video.shape))
    moved = []
    for a, b in found:
        stream = stream_of(Track(search_range=reach), dim)
        first, second = stream.step(0, a), stream.step(1, b)
        _, i, j = np.intersect1d(first, second, return_indices=True)
        moved.append(b[j] - a[i])
    displacement = np.concatenate(moved) if moved else np.empty((0, dim))
    if not len(displacement):
        raise DataError(f"{video.path}: no particle is found again in the next frame; choose search_range by hand, "
                        "or check diameter and minmass.")
    drift = np.median(displacement, axis=0)
    flat = (displacement - drift)[:, :2]
    step = float(np.median(np.linalg.norm(flat, axis=1))) / _MEDIAN[2]
    return Motion(displacement, drift, step, spacing)


def with_search_range(settings: Track, motion: Motion) -> Track:
    """`settings` with search ranges that one step in a thousand exceeds, rounded up to half a pixel.

    In stacks that along the depth is given where it is clearly another one.
    """
    dim = motion.displacement.shape[1]
    lateral = _range(motion.displacement[:, :2], motion.drift[:2], _FAR[dim])
    if dim == 2:
        return dataclasses.replace(settings, search_range=lateral)
    axial = _range(motion.displacement[:, 2:], motion.drift[2:], _FAR[dim])
    if max(axial, lateral) <= _LIKE * min(axial, lateral):
        return dataclasses.replace(settings, search_range=max(axial, lateral), axial_search_range=None)
    return dataclasses.replace(settings, search_range=lateral, axial_search_range=axial)


def _range(displacement: np.ndarray, drift: np.ndarray, far: float) -> float:
    moved = np.linalg.norm(displacement - drift, axis=1)
    median = _MEDIAN[2] if displacement.shape[1] == 2 else 0.6745
    seen = float(np.quantile(np.linalg.norm(displacement, axis=1), 0.99))
    farthest = max(far * float(np.median(moved)) / median + float(np.linalg.norm(drift)), 1.1 * seen, _LEAST_RANGE)
    return math.ceil(2 * farthest) / 2


def ambiguous_share(found: Sequence[tuple[np.ndarray, np.ndarray]], settings: Track) -> float:
    """Part of the particles with more than one candidate within the search range of `settings`."""
    counts = []
    for a, b in found:
        if len(a) and len(b):
            scale = depth_scale(settings, a.shape[1])
            counts.append(cKDTree(b * scale).query_ball_point(a * scale, settings.search_range, return_length=True))
    return float((np.concatenate(counts) > 1).mean()) if counts else 0.0


def depth_scale(settings: Track, dim: int) -> np.ndarray:
    """(dim,) factors of coordinates in which the search range is the same along all axes."""
    deep = settings.axial_search_range
    return np.array([1.0, 1.0, 1.0 if deep is None else settings.search_range / deep][:dim])


def size_of_mask(width: float, shape: tuple[int, ...]) -> int:
    """Diameter of the mask for spots of that width, in a frame of that shape [px]."""
    return min(_odd(MASK * width), largest_mask(shape))


def largest_mask(shape: tuple[int, ...]) -> int:
    """Largest diameter that a frame of that (height, width) takes [px]."""
    return (min(shape) - 1) // 4 * 2 - 1


def _odd(value: float) -> int:
    """The smallest odd number of at least `value`, and 3 or more."""
    return max(2 * math.ceil((value - 1) / 2) + 1, 3)


def motion_notes(track: Track, motion: Motion, ambiguous: float) -> tuple[str, ...]:
    """What a user should know about links, in plain words."""
    notes, step, drift, spacing = [], motion.step, motion.drift, motion.spacing
    if step > 0.2 * spacing:
        notes.append(f"Particles move by {step:.3g} px per frame along each axis (standard deviation) and their "
                     f"nearest neighbours are {spacing:.3g} px away, so that many links will be wrong. Record at a "
                     "higher frame rate, or fewer particles at a time.")
    elif ambiguous > 0.3:
        notes.append(f"{100 * ambiguous:.0f} % of the particles have more than one candidate within search_range = "
                     f"{track.search_range:g} px, so that some links may be wrong. Compare the diffusion coefficient "
                     "at a smaller search_range.")
    if np.linalg.norm(drift) > max(2 * step, 1.0):
        along = ", ".join("yxz"[:len(drift)])
        predictor = "affine" if len(drift) == 2 else "velocity"
        notes.append(f"All particles drift by ({', '.join(f'{v:.2g}' for v in drift)}) px per frame along ({along}). "
                     f'With predictor = "{predictor}" a smaller search_range suffices, which makes links safer.')
    return tuple(notes)
