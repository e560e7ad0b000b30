"""Which settings suit a movie: size and sign of the spots, the least brightness, and how far particles move.

Size and sign come from `vid2dyn.tracking.detect.spot_scale`, the search range from displacements between successive
frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.video import Video
from vid2dyn.tracking.automatic import settings_in_force
from vid2dyn.tracking.columns import POSITION, Feature
from vid2dyn.tracking.detect.factory import detector
from vid2dyn.tracking.detect.spot_scale import highest_peak, scale_response
from vid2dyn.tracking.detections import checked
from vid2dyn.tracking.link.candidates import candidates
from vid2dyn.tracking.link.linker import LinkStream
from vid2dyn.tracking.preparation import prepared
from vid2dyn.tracking.settings import Track

MASK = 4.6
"""Diameters of a mask per width of a Gaussian spot: it holds 93 % of the light."""
_PAIRS = 4                        # pairs of successive frames looked at
_MORE_PAIRS = 24                  # pairs that may take the place of empty ones
_FULL = 2                         # of them searched without a limit of brightness, for the picture
_FAR = 3.7                        # widths of a Brownian step that one in a thousand exceeds, in two dimensions
_LEAST_RANGE = 2.0                # px
_BOTH = 0.5                       # of the stronger response: the other sign is there too
_SAME_PARTICLE = 0.7                      # diameters to the next mark on the same particle, at most
_CLEARLY = 0.1                    # difference of the parts of doubled marks that settles the sign


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
    displacement : (m, 2) array
        Between successive frames [px].
    step : float
        Standard deviation of a displacement along an axis, about the common motion [px].
    drift : (2,) array
        Common motion [px per frame].
    spacing : float
        Median distance to the nearest neighbour [px].
    ambiguous : float
        Part of the particles with more than one candidate within the search range.
    example : int
        Frame that is shown.
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
    notes: tuple[str, ...]


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
        raise DataError(f"{video.path}: vd.suggest looks at flat images. Of stacks vd.track measures the widths of the "
                        "spots by itself; look at one plane for the diameter: vd.open(..., z=0).")
    video = prepared(video, given)
    frames = _pairs(video, given)
    scales, response = scale_response([a for _, a, _ in frames])
    default = Track()
    (dark, width), sign_notes = _sign(scales, response, given, frames)
    diameter = given.diameter if given.diameter != default.diameter else _diameter(width, video.shape)
    diameter = min(diameter, _largest(video.shape))
    invert = dark if given.invert is None else given.invert
    base = dataclasses.replace(given, diameter=diameter, invert=invert,
                               search_range=min(given.search_range, max(video.shape)))
    in_force = settings_in_force([a for _, a, _ in frames[:_FULL]], base)
    find = detector(in_force)
    found = []
    for done, (_, a, b) in enumerate(frames):
        found.append((find(a)[:, POSITION], find(b)[:, POSITION]))
        progress(done + 1, len(frames), "looking at frames")
    everything = detector(dataclasses.replace(in_force, minmass=0.0))
    mass = np.concatenate([everything(a)[:, Feature.MASS] for _, a, _ in frames[:_FULL]])
    displacement, drift, step, spacing = _motion(found, video)
    search_range = given.search_range if given.search_range != default.search_range else \
        _range(displacement, drift, step)
    ambiguous = _ambiguous(found, search_range)
    track = dataclasses.replace(base, minmass=float(f"{in_force.minmass:.4g}"), search_range=search_range)
    notes = (*sign_notes, *_notes(track, step, drift, spacing, ambiguous))
    return Proposal(track, scales, response, width, mass, displacement, step, drift, spacing, ambiguous,
                    frames[0][0], notes)


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
    diameter = given.diameter if given.diameter != Track().diameter else _diameter(width, frames[0][1].shape)
    chosen = [a for _, a, _ in frames[:_FULL]]
    settings = dataclasses.replace(given, invert=invert, diameter=diameter,
                                   search_range=min(given.search_range, max(frames[0][1].shape)))
    find = detector(settings_in_force(chosen, settings))
    found = [find(frame)[:, POSITION] for frame in chosen]
    nearest = [cKDTree(a).query(a, k=2)[0][:, 1] for a in found if len(a) > 1]
    return float((np.concatenate(nearest) < _SAME_PARTICLE * diameter).mean()) if nearest else 1.0


def _diameter(width: float, shape: tuple[int, ...]) -> int:
    """Of the mask for spots of that width, in a frame of that shape [px]."""
    return min(_odd(MASK * width), _largest(shape))


def _largest(shape: tuple[int, ...]) -> int:
    return (min(shape) - 1) // 4 * 2 - 1


def _odd(value: float) -> int:
    """The smallest odd number of at least `value`, and 3 or more."""
    return max(2 * math.ceil((value - 1) / 2) + 1, 3)


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


def _motion(found: Sequence[tuple[np.ndarray, np.ndarray]],
            video: Video) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Displacements, their median, their width along an axis, and the distance of neighbours."""
    nearest = [cKDTree(a).query(a, k=2)[0][:, 1] for a, _ in found if len(a) > 1]
    spacing = float(np.median(np.concatenate(nearest))) if nearest else float(max(video.shape))
    reach = min(max(0.5 * spacing, _LEAST_RANGE), 0.25 * max(video.shape))
    moved = []
    for a, b in found:
        stream = LinkStream(Track(search_range=reach))
        first, second = stream.step(0, a), stream.step(1, b)
        _, i, j = np.intersect1d(first, second, return_indices=True)
        moved.append(b[j] - a[i])
    displacement = np.concatenate(moved) if moved else np.empty((0, 2))
    if not len(displacement):
        raise DataError(f"{video.path}: no particle is found again in the next frame; choose search_range by hand, "
                        "or check diameter and minmass.")
    drift = np.median(displacement, axis=0)
    step = float(np.median(np.linalg.norm(displacement - drift, axis=1))) / math.sqrt(2 * math.log(2))
    return displacement, drift, step, spacing


def _range(displacement: np.ndarray, drift: np.ndarray, step: float) -> float:
    """What one step in a thousand exceeds, the common motion included, rounded up to half a pixel."""
    seen = float(np.quantile(np.linalg.norm(displacement, axis=1), 0.99))
    farthest = max(_FAR * step + float(np.linalg.norm(drift)), 1.1 * seen, _LEAST_RANGE)
    return math.ceil(2 * farthest) / 2


def _ambiguous(found: Sequence[tuple[np.ndarray, np.ndarray]], search_range: float) -> float:
    counts = [np.diff(candidates(a, np.full(len(a), search_range), b)[0]) for a, b in found if len(a)]
    return float((np.concatenate(counts) > 1).mean()) if counts else 0.0


def _notes(track: Track, step: float, drift: np.ndarray, spacing: float, ambiguous: float) -> tuple[str, ...]:
    notes = []
    if step > 0.2 * spacing:
        notes.append(f"Particles move by {step:.3g} px per frame along each axis (standard deviation) and their "
                     f"nearest neighbours are {spacing:.3g} px away, so that many links will be wrong. Record at a "
                     "higher frame rate, or fewer particles at a time.")
    elif ambiguous > 0.3:
        notes.append(f"{100 * ambiguous:.0f} % of the particles have more than one candidate within search_range = "
                     f"{track.search_range:g} px, so that some links may be wrong. Compare the diffusion coefficient "
                     "at a smaller search_range.")
    if np.linalg.norm(drift) > max(2 * step, 1.0):
        notes.append(f"All particles drift by ({drift[0]:.2g}, {drift[1]:.2g}) px per frame along (y, x). With "
                     'predictor = "affine" a smaller search_range suffices, which makes links safer.')
    return tuple(notes)
