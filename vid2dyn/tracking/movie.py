"""A movie in, trajectories out: detection and linking hand in hand, one frame at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import sha256
from vid2dyn.core.progress import Cancelled, Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video
from vid2dyn.tracking.automatic import chosen_settings, frame_numbers, needs_frames
from vid2dyn.tracking.columns import (
    BY_WIDTH,
    CLASS_COLUMNS,
    SIZE_COLUMNS,
    SIZE_COLUMNS_UM,
    SIZE_OF_IMAGE,
    SIZE_OF_IMAGE_STD,
    SPECIES,
    SPECIES_P,
)
from vid2dyn.tracking.detections import OVERLAP, checked, count_crowded, features_of, search_threads
from vid2dyn.tracking.filters import keep
from vid2dyn.tracking.link.linker import NearestLinks
from vid2dyn.tracking.preparation import PreparedVideo, prepared, prepared_settings, region_of
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.species import species_of_tracks
from vid2dyn.tracking.stacks.choice import N_STACKS, check_stack_settings, stack_settings
from vid2dyn.tracking.stacks.linking import stream_of

CHOSEN = ("minmass", "spot", "spot_width", "axial_width", "invert", "class_sizes")
"""Settings that are chosen from the movie where they are automatic."""
_TEXT: Any = "str" if int(pd.__version__.partition(".")[0]) >= 3 else "string"
"""A column of text also where there are no rows: parts of a movie have to fit together."""


def track(video: Video, settings: Track | None = None, progress: Progress = silent, *,
          keep_partial: bool = False) -> Trajectories:
    """Find and link the particles of a movie.

    Parameters
    ----------
    video : Video
        Decoded once, in order, a few frames in memory; the table of detections is what grows.
    settings : Track, optional
        See there; default: all defaults.
    progress : Progress
        Called once a frame.
    keep_partial : bool
        If `progress` cancels, return the frames that are done: the tracks that `settings` with ``stop`` after them and
        ``minmass = tracks.info["minmass"]`` give, which are then the parameters in `info`.

    Returns
    -------
    Trajectories
        Columns frame, particle, y, x, y_std, x_std [px], mass, size, ecc, signal, raw_mass, flag; where sizes differ
        (`Track.sizes`) size_um, size_um_std [µm] (size_px, size_px_std without a calibration), and with classes
        species and p_species; of stacks frame, particle, y, x, z, y_std, x_std, z_std [px], mass, signal, flag.
        `field_of_view` is
        the frame, `info` holds source, sha256, codec, inter_coded, parameters, minmass, spot and spot_width
        (those in force), versions and warnings.

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
    >>> from vid2dyn.data.units import Units
    >>> from vid2dyn.data.video import Video, VideoInfo
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
    plan = plan_of(video, settings or Track())
    found: list[np.ndarray] = []
    count = DetectionCount(plan.start)

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        for number, features in features_of(video, plan.in_force, plan.start, plan.stop):
            found.append(features)
            count.add([len(features)], count_crowded(features, plan.in_force))
            yield number, features
            try:
                progress(number + 1 - plan.start, plan.stop - plan.start, "tracking")
            except Cancelled:
                if not (keep_partial and count.rows):
                    raise
                return

    linker = NearestLinks(plan.in_force, lambda settings: stream_of(settings, plan.dim))
    particle = list(linker(frames()))
    if not count.rows:
        raise DataError(plan.no_particle(video))
    if len(count.counts) < plan.stop - plan.start:
        plan = plan.until(plan.start + len(count.counts))
    table = rows(count.frame(), np.concatenate(particle), found, plan.in_force, video.units)
    found.clear()
    tracks = Trajectories.from_dataframe(table, units=video.units, field_of_view=view_of(video),
                                         info=plan.provenance(video, [*count.notes(plan), *linker.notes()]),
                                         region=region_of(video, plan.settings))
    return keep(tracks, min_length=plan.settings.min_length)


def rows(frame: np.ndarray, particle: np.ndarray, found: Sequence[np.ndarray], settings: Track,
         units: Units) -> pd.DataFrame:
    """The table of detections by (particle, frame): frame int32, particle int64, then `COLUMNS` (flag int32, the
    others float64); from frames in order and `found`, whose (N, 10) arrays (of stacks `STACK_COLUMNS`) follow each
    other.

    Where sizes differ (N, 14): size_um and size_um_std follow [µm], or without a calibration size_px and size_px_std
    [px]; and with classes `CLASS_COLUMNS`.
    """
    order = np.argsort(particle, kind="stable")
    table: dict[str, Any] = {"frame": frame[order], "particle": particle[order]}

    def column(k: int) -> np.ndarray:                         # one at a time: fresh memory is what takes long
        return np.concatenate([block[:, k] for block in found])[order]

    every = BY_WIDTH[found[0].shape[1]]
    with ThreadPoolExecutor(search_threads(), thread_name_prefix="columns") as pool:   # numpy lets go of the lock
        table |= zip(every, pool.map(column, range(len(every))))
    table["flag"] = table["flag"].astype(np.int32)
    if settings.sizes != "one":
        size, error, kind, p = (np.concatenate([block[:, k] for block in found])[order]
                                for k in (SIZE_OF_IMAGE, SIZE_OF_IMAGE_STD, SPECIES, SPECIES_P))
        um = units.micrometre_per_pixel
        columns = SIZE_COLUMNS if um is None else SIZE_COLUMNS_UM
        table |= dict(zip(columns, (size * (um or 1.0), error * (um or 1.0))))
        if settings.sizes != "each":
            names, p_species = species_of_tracks(table["particle"], kind, p, len(settings.class_sizes or ()))
            table[CLASS_COLUMNS[0]], table[CLASS_COLUMNS[1]] = pd.array(names, dtype=_TEXT), p_species
    return pd.DataFrame(table, copy=False)


@dataclass(frozen=True)
class Plan:
    """What is searched for, and where.

    Parameters
    ----------
    settings : Track
        As given.
    in_force : Track
        The same with `minmass`, `spot` and `spot_width` chosen.
    start, stop : int
        First frame and the one after the last.
    choice : tuple of str
        What a user should know about what was chosen.
    dim : int
        Axes of a position: 3 in stacks.
    """

    settings: Track
    in_force: Track
    start: int
    stop: int
    choice: tuple[str, ...] = ()
    dim: int = 2

    def provenance(self, video: Video, notes: Iterable[str], digest: str | None = None) -> dict[str, Any]:
        """`Trajectories.info`; `digest` is the file's SHA-256 where it is known already."""
        info = video.info
        warnings = [*video.warnings, *self.choice, *notes]
        if info.inter_coded:
            warnings.append(f"The movie is compressed from frame to frame ({info.codec}): that smooths and correlates "
                            "the noise of pixels, so y_std and x_std are too small.")
        elif info.lossy:
            warnings.append(f"The pictures are compressed with loss ({info.codec}): that takes noise out of the "
                            "pixels, so y_std and x_std are too small, by a factor of 2 to 3 in test films. D and fits "
                            "learn the errors from the motion and are right; record without loss where y_std and x_std "
                            "matter.")
        if digest is None and video.path.exists():
            digest = sha256(video.path)
        part: dict[str, Any] = {"part": info.part} if info.part else {}
        if video.is_stack:
            part |= {"axial_width": self.in_force.axial_width, "planes": info.planes}
        sizes = {} if self.in_force.sizes == "one" else {"class_sizes": list(self.in_force.class_sizes or ())}
        return {"source": video.path.name, **part, "sha256": digest, "codec": info.codec,
                "inter_coded": info.inter_coded, "lossy": info.lossy, "bits_per_pixel": info.bits_per_pixel,
                "parameters": recipe(self.settings),
                "minmass": float(self.in_force.minmass or 0.0),
                "spot": self.in_force.spot, "spot_width": self.in_force.spot_width,
                "invert": bool(self.in_force.invert), **sizes, "warnings": warnings,
                "versions": dict(_versions())}

    def chosen(self) -> dict[str, Any]:
        """Name and value of the settings that may have been chosen."""
        return {name: getattr(self.in_force, name) for name in CHOSEN}

    def until(self, stop: int) -> Plan:
        """The plan of a movie that was left at frame `stop`: settings that repeat it, what was chosen included."""
        settings = dataclasses.replace(self.settings, stop=stop, **self.chosen())
        return Plan(settings, dataclasses.replace(self.in_force, stop=stop), self.start, stop, self.choice, self.dim)

    def no_particle(self, video: Video) -> str:
        """What to try when no frame held a particle."""
        dark = bool(self.in_force.invert)
        side = "dark (invert = true)" if dark else "bright (invert = false)"
        how = "chosen from the noise" if self.settings.minmass is None else "as given"
        return (f"{video.path}: no particle in any frame. The search was for {side} spots of diameter "
                f"{self.settings.diameter} px with a summed brightness (minmass) above {self.in_force.minmass:.4g}, "
                f"{how}. Try invert = {str(not dark).lower()}, a diameter that matches the image of one particle, or a "
                "smaller minmass.")


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in ("vid2dyn", "trackpy", "numpy"))


def plan_of(video: Video, settings: Track) -> Plan:
    """Settings checked against the movie; `spot` and `minmass` chosen from a few of its frames where automatic.

    Raises
    ------
    ConfigError
        A length is larger than the frame.
    DataError
        No frame is left between start and stop.
    """
    settings.fits(video.info.height, video.info.width)
    if video.is_stack:
        check_stack_settings(video, settings)
    stop = len(video) if settings.stop is None else min(settings.stop, len(video))
    if settings.start >= stop:
        raise DataError(f"{video.path}: nothing from start = {settings.start}; the movie has {len(video)} frames.")
    if video.is_stack:
        numbers = sorted({int(k) for k in np.linspace(settings.start, stop - 1, N_STACKS)})
        in_force, choice = stack_settings(video, settings, numbers)
        return Plan(settings, in_force, settings.start, stop, choice, dim=3)
    base = prepared_settings(video, settings)
    looked = prepared(video, settings)
    notes = looked.notes if isinstance(looked, PreparedVideo) else ()
    if not needs_frames(settings):
        return Plan(settings, base, settings.start, stop, notes)
    frames = [checked(looked[k], k, looked) for k in frame_numbers(looked, settings.start, stop)]
    in_force, choice = chosen_settings(frames, base, lossy=video.info.with_loss)
    return Plan(settings, in_force, settings.start, stop, (*notes, *choice))


def view_of(video: Video) -> tuple[float, ...]:
    """Height, width [and depth of a stack] of a frame [px]."""
    flat = (video.info.height, video.info.width)
    return (*flat, video.info.planes * video.units.plane / video.units.um) if video.is_stack else flat


class DetectionCount:
    """Detections counted as they come, frame after frame.

    Parameters
    ----------
    start : int
        First frame.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.counts: list[int] = []
        self.crowded = 0
        self.rows = 0

    def add(self, counts: Iterable[int], crowded: int) -> None:
        """The next frames."""
        before = len(self.counts)
        self.counts.extend(int(c) for c in counts)
        self.rows += sum(self.counts[before:])
        self.crowded += crowded

    def frame(self) -> np.ndarray:
        """(rows,) int32 frame of every detection."""
        return np.repeat(np.arange(self.start, self.start + len(self.counts), dtype=np.int32), self.counts)

    def notes(self, plan: Plan) -> list[str]:
        """What a user should know about the detections, in plain words."""
        empty = np.flatnonzero(np.array(self.counts) == 0) + self.start
        return [*_empty_frames_note(empty, len(self.counts)), *_overlap_note(self.crowded, self.rows, plan.settings)]


def _empty_frames_note(empty: np.ndarray, total: int) -> list[str]:
    if not len(empty):
        return []
    first = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
    cure = " If that is wrong, try invert, another diameter or a smaller minmass." if 2 * len(empty) > total else ""
    return [f"{len(empty)} frames hold no particle: {first}.{cure}"]


def _overlap_note(crowded: int, total: int, settings: Track) -> list[str]:
    if crowded <= 0.1 * total:
        return []
    separation = settings.diameter + 1 if settings.separation is None else settings.separation
    reach = OVERLAP * settings.diameter
    share = 100 * crowded / total
    return [f"{share:.0f} % of the detections have a neighbour within {reach:.0f} px (1.3 diameters). Where images "
            "overlap, centroids are off by up to about 0.5 px, which y_std and x_std do not include, and of two "
            f"particles closer than {separation:g} px one is dropped: do not trust pair forces at such distances."]
