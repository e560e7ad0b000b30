"""A movie in, trajectories out: detection and linking hand in hand, one frame at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.config import recipe
from vid2dyn.errors import DataError
from vid2dyn.files import sha256
from vid2dyn.progress import Progress, silent
from vid2dyn.tracking.detect import COLUMNS, CrockerGrier, Detector, finite
from vid2dyn.tracking.filters import keep
from vid2dyn.tracking.link import Linker, NearestLinks
from vid2dyn.tracking.minmass import automatic_minmass
from vid2dyn.tracking.settings import Track
from vid2dyn.trajectories import Trajectories
from vid2dyn.video import Video

_LOOKED_AT = 5                    # frames that choose minmass


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
        Columns frame, particle, y, x, y_std, x_std [px], mass, size, ecc, signal, raw_mass. `field_of_view` is
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
    table, empty = _table(video, in_force, stop, CrockerGrier(in_force), NearestLinks(in_force), progress)
    if not len(table):
        raise DataError(_nothing(video, settings, minmass))
    tracks = Trajectories.from_dataframe(table, units=video.units, field_of_view=video.shape,
                                         info=_provenance(video, settings, minmass, empty))
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
           progress: Progress) -> tuple[pd.DataFrame, list[int]]:
    """All detections with particle numbers, and the frames without any."""
    found: list[np.ndarray] = []
    total = stop - settings.start

    def positions() -> Iterator[tuple[int, np.ndarray]]:
        for done, frame in enumerate(video.frames(settings.start, stop)):
            number = settings.start + done
            found.append(detector(_checked(frame, number, video)))
            yield number, found[-1][:, :2]
            progress(done + 1, total, "tracking")

    particles = list(linker(positions()))
    counts = np.array([len(features) for features in found])
    frames = np.repeat(np.arange(len(found), dtype=np.int32) + np.int32(settings.start), counts)
    columns = np.concatenate(found) if found else np.empty((0, len(COLUMNS)))
    numbers = np.concatenate(particles) if particles else np.empty(0, np.int64)
    table = pd.concat([pd.DataFrame({"frame": frames, "particle": numbers}),
                       pd.DataFrame(columns, columns=list(COLUMNS), copy=False)], axis=1)
    return table, (np.flatnonzero(counts == 0) + settings.start).tolist()


def _provenance(video: Video, settings: Track, minmass: float, empty: list[int]) -> dict[str, Any]:
    info = video.info
    warnings = list(video.warnings)
    if empty:
        first = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        warnings.append(f"{len(empty)} frames hold no particle: {first}.")
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
