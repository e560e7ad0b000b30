"""Which settings suit a recording of stacks: the diameter of the spots and how far particles move, along the depth too.

The size is asked of the brightest voxels over the depth, seen as a flat image; motion of detections in three
dimensions. Two stacks are in memory at a time.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Progress
from vid2dyn.data.video import Video
from vid2dyn.tracking.columns import StackFeature
from vid2dyn.tracking.detect.spot_scale import highest_peak, scale_response
from vid2dyn.tracking.proposal import (
    Proposal,
    ambiguous_share,
    largest_mask,
    motion_notes,
    motion_of,
    size_of_mask,
    with_search_range,
)
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.stacks.choice import N_STACKS, check_stack_settings, stack_detector, stack_settings
from vid2dyn.tracking.stacks.detector import prepared

_PAIRS = 3                        # of successive stacks
_CLEARLY_DARK = 2.0               # times the bright spots: dark ones may be the particles


def propose_for_stacks(video: Video, given: Track, progress: Progress) -> Proposal:
    """See `vid2dyn.tracking.suggest.propose`. Dark particles have to be said (invert = true).

    Raises
    ------
    DataError
        Where nothing stands out of the noise, the particles look dark, or the recording has a single stack.
    """
    check_stack_settings(video, given)
    stop = len(video) if given.stop is None else min(given.stop, len(video))
    if stop - given.start < 2:
        raise DataError(f"{video.path}: a single stack says nothing about motion; choose search_range by hand.")
    numbers = [int(k) for k in np.unique(np.linspace(given.start, stop - 2, _PAIRS).round())]
    flat = video.shape[1:]
    seen = [_projections(video, k, bool(given.invert)) for k in numbers]
    scales, response = scale_response([brightest for brightest, _ in seen])
    strength, width = highest_peak(scales, response[0])
    dark = highest_peak(scales, scale_response([darkest for _, darkest in seen])[1][1])[0]
    if given.invert is None and dark > _CLEARLY_DARK * strength:
        raise DataError(f"{video.path}: over the depth, dark spots are much stronger than bright ones. Give invert = "
                        "true to find dark particles in stacks, or invert = false to insist on bright ones.")
    if not response[0].any():
        raise DataError(f"{video.path}: nothing in the stacks stands out of the noise; there is no size to propose. "
                        "Check that they show bright particles (invert = true for dark ones), or choose a diameter.")
    diameter = given.diameter if given.diameter != Track().diameter else size_of_mask(width, flat)
    base = dataclasses.replace(given, diameter=min(diameter, largest_mask(flat)),
                               search_range=min(given.search_range, max(flat)))
    in_force, choice = stack_settings(video, base, numbers[:N_STACKS])
    find = stack_detector(video, in_force)
    found, mass = [], []
    for done, k in enumerate(numbers):
        first, second = find(video[k]), find(video[k + 1])
        found.append((first[:, :StackFeature.Y_STD], second[:, :StackFeature.Y_STD]))
        mass.append(first[:, StackFeature.MASS])
        progress(done + 1, len(numbers), "looking at stacks")
    motion = motion_of(found, video)
    track = base if given.search_range != Track().search_range else with_search_range(base, motion)
    ambiguous = ambiguous_share(found, track)
    return Proposal(track, scales, response, in_force.spot_width or width, np.concatenate(mass), motion.displacement,
                    motion.step, motion.drift, motion.spacing, ambiguous, numbers[0], found[0][0][:, :2],
                    (*choice, *motion_notes(track, motion, ambiguous)))


def _projections(video: Video, number: int, invert: bool) -> tuple[np.ndarray, np.ndarray]:
    """The brightest and the darkest voxel over the depth, of the stack with bright particles."""
    stack = prepared(video[number], invert)[0]
    return stack.max(axis=0), stack.min(axis=0)
