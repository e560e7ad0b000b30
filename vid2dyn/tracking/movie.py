"""A movie in, trajectories out: detection and linking hand in hand, one frame at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from vid2dyn.config import recipe
from vid2dyn.errors import DataError
from vid2dyn.files import sha256
from vid2dyn.progress import Progress, silent
from vid2dyn.tracking.detect import COLUMNS, Detector, finite
from vid2dyn.tracking.detectors import detector
from vid2dyn.tracking.filters import keep
from vid2dyn.tracking.link import Linker, NearestLinks
from vid2dyn.tracking.minmass import automatic_minmass
from vid2dyn.tracking.settings import Track
from vid2dyn.trajectories import Trajectories
from vid2dyn.video import Video

_LOOKED_AT = 5                    # frames that choose minmass
_OVERLAP = 1.3                    # diameters within which a neighbour's light falls into the mask


def track(video: Video, settings: Track | None = None, progress: Progress = silent) -> Trajectories:
    """Find and link the particles of a movie.

    Parameters
    ----------
    video : Video
        Decoded once, in order, one frame in memory; the table of detections is what grows.
    settings : Track, optional
        See there; default: all defaults.
    progress : Progress
        Called once a frame.

    Returns
    -------
    Trajectories
        Columns frame, particle, y, x, y_std, x_std [px], mass, size, ecc, signal, raw_mass, flag. `field_of_view` is
        the frame, `info` holds source, sha256, codec, inter_coded, parameters, minmass (the one in force),
        versions and warnings.

    Raises
    ------
    DataError
        No particle in any frame; NaN pixels; a colour frame; too many particles within the search range.
    ConfigError
        A length in the settings is larger than the frame.

    Examples
    --------
    Every video that `vid2dyn.open` returns will do; a made-up one with a spot that moves to the right:

    >>> from pathlib import Path
    >>> from vid2dyn.units import Units
    >>> from vid2dyn.video import Video, VideoInfo
    >>> class Spot(Video):
    ...     def decode(self, start, stop):
    ...         y, x = np.mgrid[:64, :64]
    ...         for t in range(start, stop):
    ...             spot = 100 * np.exp(-((y - 30) ** 2 + (x - 20 - 2 * t) ** 2) / 8)
    ...             yield (10 + spot + np.random.default_rng(t).normal(0, 2, y.shape)).astype(np.uint8)
    >>> video = Spot(VideoInfo(Path("made-up"), 3, 64, 64, "uint8", Units(frames_per_second=10.0)))
    >>> tracks = track(video, Track(diameter=11, search_range=5))
    >>> tracks.n_particles, tracks.dataframe["x"].round().tolist()
    (1, [20.0, 22.0, 24.0])
    """
    settings = settings or Track()
    settings.fits(*video.shape)
    stop = len(video) if settings.stop is None else min(settings.stop, len(video))
    if settings.start >= stop:
        raise DataError(f"{video.path}: nothing from start = {settings.start}; the movie has {len(video)} frames.")
    minmass = settings.minmass
    if minmass is None:
        minmass = automatic_minmass(_spread(video, settings.start, stop), settings)
    in_force = dataclasses.replace(settings, minmass=minmass)
    table, notes = _table(video, in_force, stop, detector(in_force), NearestLinks(in_force), progress)
    if not len(table):
        raise DataError(_nothing(video, settings, minmass))
    tracks = Trajectories.from_dataframe(table, units=video.units, field_of_view=video.shape,
                                         info=_provenance(video, settings, minmass, notes))
    return keep(tracks, min_length=settings.min_length)


def _spread(video: Video, start: int, stop: int) -> list[np.ndarray]:
    """A few frames spread evenly over start <= frame < stop."""
    numbers = np.unique(np.linspace(start, stop - 1, _LOOKED_AT).round().astype(int))
    return [_checked(video[int(k)], int(k), video) for k in numbers]


def _checked(frame: np.ndarray, number: int, video: Video) -> np.ndarray:
    frame = np.asarray(frame)
    if frame.ndim != 2:
        raise DataError(f"{video.path}: frame {number} has shape {frame.shape}; tracking takes grey frames "
                        "(height, width). Convert the movie to grey, or choose one colour channel.")
    return finite(frame, number, str(video.path))


def _table(video: Video, settings: Track, stop: int, detector: Detector, linker: Linker,
           progress: Progress) -> tuple[pd.DataFrame, list[str]]:
    """All detections with particle numbers, and what a user should know about them."""
    found: list[np.ndarray] = []
    crowded: list[int] = []
    total = stop - settings.start

    def positions() -> Iterator[tuple[int, np.ndarray]]:
        for done, frame in enumerate(video.frames(settings.start, stop)):
            number = settings.start + done
            found.append(detector(_checked(frame, number, video)))
            crowded.append(_crowded(found[-1][:, :2], _OVERLAP * settings.diameter))
            yield number, found[-1][:, :2]
            progress(done + 1, total, "tracking")

    particles = list(linker(positions()))
    counts = np.array([len(features) for features in found])
    frames = np.repeat(np.arange(len(found), dtype=np.int32) + np.int32(settings.start), counts)
    columns = np.concatenate(found) if found else np.empty((0, len(COLUMNS)))
    numbers = np.concatenate(particles) if particles else np.empty(0, np.int64)
    table = pd.concat([pd.DataFrame({"frame": frames, "particle": numbers}),
                       pd.DataFrame(columns, columns=list(COLUMNS), copy=False).astype({"flag": np.int32})], axis=1)
    return table, [*_on_empty(np.flatnonzero(counts == 0) + settings.start, total),
                   *_on_overlap(sum(crowded), len(table), settings)]


def _crowded(positions: np.ndarray, reach: float) -> int:
    """How many positions have a neighbour nearer than `reach` [px]."""
    if len(positions) < 2:
        return 0
    nearest = cKDTree(positions).query(positions, k=2)[0][:, 1]
    return int((nearest < reach).sum())


def _on_empty(empty: np.ndarray, total: int) -> list[str]:
    if not len(empty):
        return []
    first = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
    cure = " If that is wrong, try invert, another diameter or a smaller minmass." if 2 * len(empty) > total else ""
    return [f"{len(empty)} frames hold no particle: {first}.{cure}"]


def _on_overlap(crowded: int, total: int, settings: Track) -> list[str]:
    if crowded <= 0.1 * total:
        return []
    separation = settings.diameter + 1 if settings.separation is None else settings.separation
    reach = _OVERLAP * settings.diameter
    share = 100 * crowded / total
    return [f"{share:.0f} % of the detections have a neighbour within {reach:.0f} px (1.3 diameters). Where images "
            "overlap, centroids are off by up to about 0.5 px, which y_std and x_std do not include, and of two "
            f"particles closer than {separation:g} px one is dropped: do not trust pair forces at such distances."]


def _provenance(video: Video, settings: Track, minmass: float, notes: list[str]) -> dict[str, Any]:
    info = video.info
    warnings = [*video.warnings, *notes]
    if info.inter_coded:
        warnings.append(f"The movie is compressed from frame to frame ({info.codec}): that smooths and correlates "
                        "the noise of pixels, so y_std and x_std are too small.")
    return {"source": video.path.name, "sha256": sha256(video.path) if video.path.exists() else None,
            "codec": info.codec, "inter_coded": info.inter_coded, "parameters": recipe(settings),
            "minmass": float(minmass), "warnings": warnings,
            "versions": {name: version(name) for name in ("vid2dyn", "trackpy", "numpy")}}


def _nothing(video: Video, settings: Track, minmass: float) -> str:
    """What to try when no frame held a particle."""
    side = "bright (you said invert = false)" if not settings.invert else "dark (you said invert = true)"
    how = "chosen from the noise" if settings.minmass is None else "as given"
    other = str(not settings.invert).lower()
    return (f"{video.path}: no particle in any frame. Looked for {side} spots of diameter {settings.diameter} px "
            f"with a summed brightness (minmass) above {minmass:.4g}, {how}. Try invert = {other}, a diameter that "
            "matches the image of one particle, or a smaller minmass.")
