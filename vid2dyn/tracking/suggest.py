"""Which settings suit a movie: size and sign of the spots, the least brightness, and how far particles move.

Size and sign come from `vid2dyn.tracking.detect.spot_scale`, the search range from displacements between successive
frames. Where the images of particles differ too much for one width, classes of sizes or a size for each are proposed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.video import Video
from vid2dyn.tracking.automatic import UNLIKE, chosen_settings, settings_in_force, sizes_differ
from vid2dyn.tracking.columns import POSITION, Feature
from vid2dyn.tracking.detect.factory import detector
from vid2dyn.tracking.detect.spot_scale import highest_peak, scale_response
from vid2dyn.tracking.detections import checked
from vid2dyn.tracking.preparation import prepared
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
from vid2dyn.tracking.stacks.suggest import propose_for_stacks

_PAIRS = 4                        # pairs of successive frames looked at
_MORE_PAIRS = 24                  # pairs that may take the place of empty ones
_FULL = 2                         # of them searched without a limit of brightness, for the picture
_BOTH = 0.5                       # of the stronger response: the other sign is there too
_SAME_PARTICLE = 0.7                      # diameters to the next mark on the same particle, at most
_CLEARLY = 0.1                    # difference of the parts of doubled marks that settles the sign


def propose(video: Video, given: Track | None = None, progress: Progress = silent) -> Proposal:
    """Settings for a movie, from a few pairs of its frames.

    Parameters
    ----------
    video : Video
    given : Track, optional
        Whatever differs from the default in it is kept (diameter, minmass, invert, search_range, ...).

    Raises
    ------
    DataError
        Where nothing stands out of the noise, or the movie has a single frame.

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian, Renderer, render
    >>> clip = render(Brownian(n_particles=60, frames=8, box_length=25.6), Renderer(spot_sigma=2.0), seed=0)
    >>> found = propose(clip)
    >>> found.track.diameter, found.track.invert, bool(abs(found.spot_width - 2) < 0.3)
    (11, False, True)
    """
    given = given or Track()
    if video.is_stack:
        return propose_for_stacks(video, given, progress)
    video = prepared(video, given)
    frames = _pairs(video, given)
    scales, response = scale_response([a for _, a, _ in frames])
    default = Track()
    (dark, width), sign_notes = _sign(scales, response, given, frames)
    diameter = given.diameter if given.diameter != default.diameter else size_of_mask(width, video.shape)
    diameter = min(diameter, largest_mask(video.shape))
    invert = dark if given.invert is None else given.invert
    base = dataclasses.replace(given, diameter=diameter, invert=invert,
                               search_range=min(given.search_range, max(video.shape)))
    looked_at = [a for _, a, _ in frames[:_FULL]]
    in_force, choice = chosen_settings(looked_at, base, lossy=video.info.with_loss)
    if given.sizes == default.sizes and sizes_differ(looked_at, in_force):
        base, in_force, choice = _several_sizes(looked_at, base, in_force)
    find = detector(in_force)
    found = []
    for done, (_, a, b) in enumerate(frames):
        found.append((find(a)[:, POSITION], find(b)[:, POSITION]))
        progress(done + 1, len(frames), "looking at frames")
    everything = detector(dataclasses.replace(in_force, minmass=0.0))
    mass = np.concatenate([everything(a)[:, Feature.MASS] for a in looked_at])
    motion = motion_of(found, video)
    track = base if base.sizes != default.sizes else \
        dataclasses.replace(base, minmass=float(f"{in_force.minmass:.4g}"))
    if given.search_range == default.search_range:
        track = with_search_range(track, motion)
    ambiguous = ambiguous_share(found, track)
    notes = (*sign_notes, *choice, *motion_notes(track, motion, ambiguous))
    return Proposal(track, scales, response, width, mass, motion.displacement, motion.step, motion.drift,
                    motion.spacing, ambiguous, frames[0][0], found[0][0], notes)


def _several_sizes(frames: Sequence[np.ndarray], base: Track,
                   one: Track) -> tuple[Track, Track, tuple[str, ...]]:
    """What is proposed and in force where images differ in size, and a word: classes where the movie shows any (or
    images touch, which a measured profile takes apart), else a size for each; `one` where neither can be measured."""
    try:
        in_force, notes = chosen_settings(frames, dataclasses.replace(base, sizes="classes"))
        classes = in_force.class_sizes or ()
        if len(classes) > 1 or in_force.spot != "gaussian":
            return (dataclasses.replace(base, sizes="classes"), in_force,
                    (*notes, "Images differ in size or touch: sizes = 'classes' is proposed, which fits each class "
                             "with its own. It takes several times as long as one size."))
        in_force, notes = chosen_settings(frames, dataclasses.replace(base, sizes="each"))
    except DataError as error:
        return base, one, (f"Images differ in size, but sizes could not be measured: {error}",)
    low, high = in_force.class_sizes[0], in_force.class_sizes[-1]                   # type: ignore[index]
    if high < UNLIKE * low:
        return base, one, ()
    return (dataclasses.replace(base, sizes="each"), in_force,
            (*notes, f"Images differ in size, from {low:.2g} to {high:.2g} px, without classes: sizes = 'each' is "
                     "proposed, a size for every particle. It takes several times as long as one size."))


def _sign(scales: np.ndarray, response: np.ndarray, given: Track,
          frames: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> tuple[tuple[bool, float], tuple[str, ...]]:
    """Whether spots are dark, and their width; and a note where both signs are there.

    The sign with the stronger response. Where the other one is nearly as strong (bright cores with dark rings, or
    particles above and below the focus), the one that marks particles once: a rim around a spot of the other sign gets
    several marks, nearer to each other than neighbours in contact are.
    """
    peaks = [highest_peak(scales, r) for r in response]
    (bright, _), (dark, _) = peaks
    if not max(bright, dark) > 0:
        raise DataError("Nothing in the frames stands out of the noise; there is no size to propose. Check that the "
                        "movie shows particles, or choose diameter and minmass by hand.")
    sign = dark > bright
    if given.invert is not None or min(bright, dark) < _BOTH * max(bright, dark):
        sign = sign if given.invert is None else given.invert
        return (sign, peaks[sign][1]), ()
    shares = [_doubly_marked(given, bool(dark_ones), peaks[dark_ones][1], frames) for dark_ones in (0, 1)]
    if abs(shares[0] - shares[1]) > _CLEARLY and min(shares) < 0.5:
        sign = shares[1] < shares[0]
    if shares[sign] < _CLEARLY or shares[sign] > 0.5:          # one mark a particle; or a packing
        return (sign, peaks[sign][1]), ()
    names = ("bright", "dark")
    return (sign, peaks[sign][1]), (
        f"There are bright and dark spots of similar strength: rings, or particles above and below the focus. "
        f"{names[sign].capitalize()} ones are proposed (invert = {str(sign).lower()}); of the marks on them "
        f"{100 * shares[sign]:.0f} % have another one within {_SAME_PARTICLE:g} diameters, of those on "
        f"{names[not sign]} ones {100 * shares[not sign]:.0f} %. Look at the picture of the detections.",)


def _doubly_marked(given: Track, invert: bool, width: float,
                   frames: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> float:
    """Part of the detections with another one within `_SAME_PARTICLE` diameters, for one sign; 1 where none are."""
    diameter = given.diameter if given.diameter != Track().diameter else size_of_mask(width, frames[0][1].shape)
    chosen = [a for _, a, _ in frames[:_FULL]]
    settings = dataclasses.replace(given, invert=invert, diameter=diameter,
                                   search_range=min(given.search_range, max(frames[0][1].shape)))
    find = detector(settings_in_force(chosen, settings))
    found = [find(frame)[:, POSITION] for frame in chosen]
    nearest = [cKDTree(a).query(a, k=2)[0][:, 1] for a in found if len(a) > 1]
    return float((np.concatenate(nearest) < _SAME_PARTICLE * diameter).mean()) if nearest else 1.0


def _pairs(video: Video, given: Track) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(frame number, frame, the next one), spread over the movie."""
    stop = len(video) if given.stop is None else min(given.stop, len(video))
    if stop - given.start < 2:
        raise DataError(f"{video.path}: a single frame says nothing about motion; choose search_range by hand.")
    numbers = np.unique(np.linspace(given.start, stop - 2, _PAIRS).round().astype(int))
    found = [_pair(video, int(k)) for k in numbers]
    full = [pair for pair in found if _holds_something(pair)]
    if len(full) == len(found):
        return found
    # Movies begin before the particles arrive, and blink: pairs elsewhere take the place of empty ones.
    others = np.unique(np.linspace(given.start, stop - 2, _MORE_PAIRS).round().astype(int))
    order = np.random.default_rng(0).permutation(np.setdiff1d(others, numbers))
    for k in order:
        if len(full) >= len(found):
            break
        pair = _pair(video, int(k))
        full += [pair] if _holds_something(pair) else []
    return sorted(full, key=lambda pair: pair[0]) if full else found


def _pair(video: Video, k: int) -> tuple[int, np.ndarray, np.ndarray]:
    return k, checked(video[k], k, video), checked(video[k + 1], k + 1, video)


def _holds_something(pair: tuple[int, np.ndarray, np.ndarray]) -> bool:
    """Whether spots of any size and sign stand out of the noise in both frames."""
    return all(scale_response([frame])[1].any() for frame in pair[1:])
