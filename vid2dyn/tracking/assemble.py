"""From parts of a movie to one file of tracks, with memory for one part only.

`linked_features` streams the parts through the linker and leaves the particle numbers of each beside it, with the
state of the linker, so that it can go on from there. `write_tracks` sorts all rows by (particle, frame) through files:
rows go to the bucket of their particle, each bucket fits in memory, and the buckets follow each other.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vid2dyn.core.files import atomic
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.tracking.detections import Features
from vid2dyn.tracking.link.linker import LinkStream
from vid2dyn.tracking.movie import DetectionCount, Plan, rows
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.stacks.linking import stream_of

BUCKET = 1 << 16
"""Rows sorted in memory at a time."""

Load = Callable[[int, int], Features]
"""The features of frames start <= frame < stop."""
Ranges = list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Linked:
    """What linking leaves behind, beside the numbers in files.

    Parameters
    ----------
    count : DetectionCount
        Detections frame by frame.
    lengths : (particles,) int64 array
        Detections of every particle.
    min_length : int
        Tracks with fewer are left out.
    notes : list of str
        What a user should know.
    settings : Track
        In force.
    """

    count: DetectionCount
    lengths: np.ndarray
    min_length: int
    notes: list[str]
    settings: Track


def linked_features(plan: Plan, load: Load, ranges: Ranges, folder: Path, progress: Progress = silent) -> Linked:
    """Link part after part; one already linked in `folder` is not linked again.

    Parameters
    ----------
    load : callable
        Gives the features of a part.
    ranges : list of (int, int)
        Frames of the parts, in order, without a gap.
    folder : Path
        For the numbers and states; its name has to change with the settings.
    """
    stream, count, lengths = stream_of(plan.in_force, plan.dim), DetectionCount(plan.start), np.zeros(0, np.int64)
    relinked = False
    for start, stop in ranges:
        part, file = load(start, stop), _numbers_file(folder, start, stop)
        count.add(part.counts, part.crowded)
        particle = None if relinked else _restored(file, stream, len(part.columns))
        if particle is None:
            relinked = True                            # what follows was linked after another past
            particle = _concatenated([stream.step(*frame) for frame in part.frames()])
            with atomic(file) as scratch:
                np.savez(scratch, numbers=particle, **stream.state())  # type: ignore[arg-type]
        lengths = np.concatenate([lengths, np.zeros(stream.n_particles - len(lengths), np.int64)])
        np.add.at(lengths, particle, 1)
        progress(stop - plan.start, plan.stop - plan.start, "linking")
    return Linked(count, lengths, plan.settings.min_length, [*count.notes(plan), *stream.notes()],
                  plan.in_force)


def write_tracks(out: Path, linked: Linked, load: Load, ranges: Ranges, folder: Path, about: Mapping[str, Any],
                 info: dict[str, Any]) -> tuple[int, int, int]:
    """Write `out` as `Trajectories.save` would; returns the numbers of particles, detections and frames in it.

    Parameters
    ----------
    folder : Path
        Where `linked_features` left the numbers; also for what is being sorted.
    about : mapping
        `units` and `field_of_view` of the trajectories.
    info : dict
        Their `info`.
    """
    kept = linked.lengths >= linked.min_length
    lengths = np.where(kept, linked.lengths, 0)
    bucket = np.where(kept, (np.cumsum(lengths) - lengths) // BUCKET, -1)
    width = load(*ranges[0]).columns.shape[1]
    nothing = rows(np.empty(0, np.int32), np.empty(0, np.int64), [np.empty((0, width))], linked.settings,
                   about["units"])
    template = Trajectories.from_dataframe(nothing, info=info, **about)
    place = Path(tempfile.mkdtemp(dir=folder, prefix="sort-"))
    try:
        frames = [_append_to_buckets(place, bucket, load(*r), _numbers(_numbers_file(folder, *r)).astype(np.int64))
                  for r in ranges]
        template.save_rows(out, _sorted_buckets(place, width, linked.settings, about["units"]))
    finally:
        shutil.rmtree(place)
    seen = [f for pair in frames if pair for f in pair]
    return int(kept.sum()), int(lengths.sum()), max(seen) - min(seen) + 1 if seen else 0


def _append_to_buckets(place: Path, bucket: np.ndarray, part: Features, particle: np.ndarray) -> tuple[int, int] | None:
    """Append the rows of a part to the files of their buckets; first and last frame kept."""
    to = bucket[particle]
    frame = part.frame
    for b in np.unique(to[to >= 0]):
        chosen = to == b
        with open(place / f"{b:06d}", "ab") as stream:
            np.column_stack([frame[chosen], particle[chosen], part.columns[chosen]]).tofile(stream)
    kept = frame[to >= 0]
    return (int(kept[0]), int(kept[-1])) if len(kept) else None


def _sorted_buckets(place: Path, width: int, settings: Track, units: Units) -> Iterator[pd.DataFrame]:
    """Tables sorted by (particle, frame), one after the other."""
    for file in sorted(place.iterdir()):
        values = np.fromfile(file).reshape(-1, 2 + width)
        table = rows(values[:, 0].astype(np.int32), values[:, 1].astype(np.int64), [values[:, 2:]], settings, units)
        yield Trajectories.from_dataframe(table).dataframe


def _numbers_file(folder: Path, start: int, stop: int) -> Path:
    return folder / f"{start:08d}-{stop:08d}.npz"


def _numbers(file: Path) -> np.ndarray:
    with np.load(file, allow_pickle=False) as content:
        return content["numbers"]


def _restored(file: Path, stream: LinkStream, n_rows: int) -> np.ndarray | None:
    """The particle numbers in `file`, with `stream` put to the state after them; None where it is of no use."""
    try:
        with np.load(file, allow_pickle=False) as content:
            numbers, state = content["numbers"], {name: content[name] for name in content.files}
        if len(numbers) != n_rows:
            return None
        stream.restore(state)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return numbers


def _concatenated(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
