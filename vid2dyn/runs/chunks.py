"""One movie in pieces: found by any number of processes in any order, linked in one stream, the same bytes always.

::

    vid2dyn track movie.avi --workers 2                 # two processes on this machine
    vid2dyn track movie.avi --chunk 3/16                # the third sixteenth: one task of an array on a cluster
    vid2dyn track movie.avi                             # what is missing, then the links: movie.parquet

What is finished lies beside the output until that is written::

    movie.parts/source.json             SHA-256 of the movie
    movie.parts/<key>/plan.json         minmass, ... as chosen; <key> names the movie's content and how it is searched
    movie.parts/<key>/00000100.parquet  features of the frames from 100 on
    movie.parts/<key>/links-<key>/      particle numbers, and the state of the linker after each part
    movie.parts/<key>/manifest.json     hashes of the parts and of the output

A killed run goes on from the last finished part when it is repeated. Other links (search_range, memory, ...) use the
same parts. Memory holds one part, the particles in sight, and a few ten thousand rows of the output.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vid2dyn import __version__, pipeline
from vid2dyn.core.config import recipe, settings
from vid2dyn.core.errors import ConfigError, DataError, Vid2DynError, Vid2DynWarning
from vid2dyn.core.files import atomic, check_writable, locked, sha256
from vid2dyn.core.progress import Progress, silent
from vid2dyn.core.showing import as_progress
from vid2dyn.core.workers import in_processes
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video
from vid2dyn.runs.stages import fingerprint
from vid2dyn.tracking import Track
from vid2dyn.tracking.assemble import linked_features, write_tracks
from vid2dyn.tracking.detections import Features, find_features
from vid2dyn.tracking.movie import CHOSEN, Plan, plan_of, view_of
from vid2dyn.tracking.preparation import images_of, region_of

PART = 100
"""Frames in a part: what a kill can cost."""
_OF_LINKS = ("search_range", "memory", "min_length", "range_growth", "predictor", "link_cost",
             "axial_search_range")


@dataclass(frozen=True)
class Tracked:
    """What became of a movie.

    Parameters
    ----------
    path : Path
        The tracks.
    n_particles, n_detections, n_frames : int
        In the file.
    warnings : tuple of str
        What a user should know.
    """

    path: Path
    n_particles: int
    n_detections: int
    n_frames: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.n_particles} tracks, {self.n_detections} detections in {self.n_frames} frames"


def track_movie(path: str | os.PathLike[str], out: str | os.PathLike[str], settings: Track | None = None, *,
                workers: int = 1, parts: str | os.PathLike[str] | None = None, part_frames: int = PART,
                keep_parts: bool = False, progress: Progress = silent, **options: Any) -> Tracked:
    """Find and link the particles of a movie into a file; the bytes are those of ``vd.track(path).save(out)``.

    Parameters
    ----------
    path : path
        Movie, opened by every worker for itself.
    out : path
        Tracks (.parquet).
    settings : Track, optional
    workers : int
        Processes that find particles.
    parts : path, optional
        Folder for what is finished; default: `out` with the suffix .parts. Removed at the end.
    part_frames : int
        Frames in a part. The result does not depend on it.
    keep_parts : bool
        Leave the parts, to link them again with another search range.
    **options
        Of `vd.open`.

    Raises
    ------
    ConfigError, DataError
        As `vd.track`; `DataError` when a worker process dies.
    """
    if workers < 1:
        raise ConfigError(f"workers = {workers}: at least one process has to do the work.")
    place = _parts_of(out, parts)
    if part_frames < 1:
        raise ConfigError(f"part_frames = {part_frames}: a part has at least one frame.")
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{place}: is a file; finished parts go to a folder of this name. Choose another (parts).")
    check_writable(out, path)
    try:
        with locked(place):
            return _tracked(Path(path), Path(out), place, settings or Track(), workers, part_frames, keep_parts,
            progress,
                            options)
    finally:
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def _tracked(path: Path, out: Path, place: Path, settings: Track, workers: int, part_frames: int, keep_parts: bool,
             progress: Progress, options: Mapping[str, Any]) -> Tracked:
    """`track_movie` in a folder that is its own."""
    try:
        work = _prepare(path, place, settings, options, part_frames)
        work.find(work.ranges(), workers, progress)
        tracked = _link(work, out, progress)
    except Vid2DynError:
        if not list(place.glob("*/[0-9]*.parquet")):       # nothing that a repetition could go on from
            _clear(place)
        raise
    if not keep_parts:
        _clear(place)
    return tracked


def _link(work: _Work, out: Path, progress: Progress) -> Tracked:
    """The links of parts that are all there, and the tracks."""
    folder = work.folder / f"links-{fingerprint(recipe(work.plan.settings))[:12]}"
    link = linked_features(work.plan, work.load, work.ranges(), folder, progress)
    if not link.count.rows:
        shutil.rmtree(work.folder)                     # empty parts are of no use to anybody
        raise DataError(work.plan.no_particle(work.video))
    if work.path.exists() and _digest(work.path, work.folder.parent / "source.json") != work.digest:
        raise DataError(f"{work.path}: changed while it was tracked. Repeat the command when it is complete.")
    provenance = work.plan.provenance(work.video, link.notes, work.digest if work.path.exists() else None)
    about = {"units": work.video.units, "field_of_view": view_of(work.video),
             "region": region_of(work.video, work.plan.settings)}
    n_particles, n_rows, n_frames = write_tracks(out, link, work.load, work.ranges(), folder, about, provenance)
    work.write_manifest(out)
    logging.getLogger("vid2dyn.runs").info("%s: %d tracks in %d frames written to %s", work.path.name, n_particles,
                                           n_frames, out)
    return Tracked(out, n_particles, n_rows, n_frames, tuple(provenance["warnings"]))


def _clear(parts: Path) -> None:
    """Remove what was made here, and the folder itself if that was all; a user's own files stay."""
    for plan in parts.glob(f"{'[0-9a-f]' * 16}/plan.json"):
        shutil.rmtree(plan.parent)
    for file in (*parts.glob("source.json"), *parts.glob(".source.*.json")):
        file.unlink()
    if parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()


def track_chunk(path: str | os.PathLike[str], out: str | os.PathLike[str], settings: Track | None = None, *,
                chunk: str, workers: int = 1, parts: str | os.PathLike[str] | None = None, part_frames: int = PART,
                progress: Progress = silent, **options: Any) -> tuple[int, int]:
    """Find the particles of one chunk of a movie, for `track_movie` to link; other arguments as there.

    Parameters
    ----------
    chunk : str
        "i/n": the i-th of n chunks, counted from 1. Chunks are whole parts, so with few frames some are empty.

    Returns
    -------
    (int, int)
        Parts of this chunk, and of the movie.
    """
    number, count = chunk_of(chunk)
    work = _prepare(Path(path), _parts_of(out, parts), settings or Track(), options, part_frames)
    every = work.ranges()
    mine = every[(number - 1) * len(every) // count: number * len(every) // count]
    work.find(mine, workers, progress)
    return len(mine), len(every)


def chunk_of(text: str) -> tuple[int, int]:
    """"3/16" as (3, 16).

    >>> chunk_of("3/16")
    (3, 16)
    """
    number, slash, count = text.partition("/")
    if slash and number.strip().isdecimal() and count.strip().isdecimal() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise ConfigError(f"chunk = {text!r}: write i/n, the i-th of n chunks counted from 1, for example 3/16.")


@dataclass(frozen=True)
class _Work:
    """A movie, what to find in it, and where the parts go."""

    path: Path
    options: dict[str, Any]
    video: Video
    plan: Plan
    key: str
    digest: str
    folder: Path
    part_frames: int

    def ranges(self) -> list[tuple[int, int]]:
        """(first frame, the one after the last) of every part."""
        n = self.part_frames
        edges = range(self.plan.start // n * n, self.plan.stop, n)
        return [(max(e, self.plan.start), min(e + n, self.plan.stop)) for e in edges]

    def file(self, start: int, stop: int) -> Path:
        return self.folder / f"{start:08d}-{stop:08d}.parquet"

    def load(self, start: int, stop: int) -> Features:
        found = Features.load(self.file(start, stop), self.key)
        if found is None:
            raise DataError(f"{self.file(start, stop)}: absent or damaged; repeat the command to find it again.")
        return found

    def find(self, ranges: list[tuple[int, int]], workers: int, progress: Progress) -> None:
        """Every part that is not there yet."""
        open_parts = [r for r in ranges if Features.load(self.file(*r), self.key) is None]
        total = sum(b - a for a, b in ranges)
        done = total - sum(b - a for a, b in open_parts)
        common = (self.path, self.options, self.plan.in_force, self.key)
        if workers == 1 or len(open_parts) < 2:
            for a, b in open_parts:
                _find(*common, a, b, self.file(a, b), _from(progress, done, total))
                done += b - a
            return
        jobs = [(*common, a, b, self.file(a, b)) for a, b in open_parts]
        for i, _ in in_processes(_find, jobs, min(workers, len(jobs)), [f"{self.path.name}, frames {a} to {b - 1}"
                                                                       for a, b in open_parts]):
            done += open_parts[i][1] - open_parts[i][0]
            progress(done, total, "tracking")

    def write_manifest(self, out: Path) -> None:
        parts = {self.file(*r).name: sha256(self.file(*r)) for r in self.ranges()}
        _write_json(self.folder / "manifest.json", {
            "source": {"name": self.path.name, "sha256": self.digest}, "version": __version__, "key": self.key,
            "parameters": recipe(self.plan.settings), "minmass": self.plan.in_force.minmass, "parts": parts,
            "output": {"name": out.name, "sha256": sha256(out)}})


def _prepare(path: Path, parts: Path, settings: Track, options: Mapping[str, Any], part_frames: int) -> _Work:
    if part_frames < 1:
        raise ConfigError(f"part_frames = {part_frames}: a part has at least one frame.")
    if parts.exists() and not parts.is_dir():
        raise ConfigError(f"{parts}: is a file; finished parts go to a folder of this name. Choose another (parts).")
    video = _opened(path, options)
    digest = _digest(path, parts / "source.json")
    key = fingerprint({"version": __version__, "source": digest, "track": _detection(settings), **images_of(settings),
                       "reader": {
        name: value for name, value in options.items() if name not in _units()}})
    folder = parts / key[:16]
    plan_file = folder / "plan.json"
    try:
        stored = json.loads(plan_file.read_text(encoding="utf-8"))
        known = stored["chosen"]
        if stored["sha256"] != fingerprint({"key": key, "chosen": known}):
            raise ValueError("the plan was changed")
        plan = plan_of(video, dataclasses.replace(settings, **{name: known[name] for name in CHOSEN}))
        plan = dataclasses.replace(plan, settings=settings, choice=tuple(known["choice"]))
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        plan = plan_of(video, settings)
        known = {**plan.chosen(), "choice": list(plan.choice)}
        _write_json(plan_file, {"chosen": known, "sha256": fingerprint({"key": key, "chosen": known})})
    return _Work(path, dict(options), video, plan, key, digest, folder, part_frames)


def _find(path: Path, options: Mapping[str, Any], in_force: Track, key: str, start: int, stop: int, target: Path,
          progress: Progress = silent) -> None:
    """One part, in whatever process."""
    video = _opened_once(path, json.dumps(options, sort_keys=True), key)
    find_features(video, in_force, start, stop, progress).save(target, key)


@functools.lru_cache(maxsize=1)
def _opened_once(path: Path, options: str, key: str) -> Video:
    """The movie (`key` stands for its content), opened once in a worker: an index of a long movie takes a while."""
    return _opened(path, json.loads(options))


def _opened(path: Path, options: Mapping[str, Any]) -> Video:
    with warnings.catch_warnings():                       # they are said with the tracks
        warnings.simplefilter("ignore", Vid2DynWarning)
        video = pipeline.open_recording(path, **options)
    if not isinstance(video, Video):
        raise DataError(f"{path}: holds a table of positions, not a recording; there is nothing to track.")
    return video


def _digest(path: Path, file: Path) -> str:
    """SHA-256 of the movie (of many files: of their hashes), read from `file` where sizes, times and numbers of the
    files are the same."""
    pattern = set(path.name) & set("*?[") and not path.exists()
    files = sorted(path.parent.glob(path.name)) if pattern else [path]
    members = [m for f in files for m in (sorted(f.rglob("*")) if f.is_dir() else [f])]
    # a copy that keeps the time of the last change is another file all the same: its number, and when that was made
    seen = [[m.name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for m in members for s in [m.stat()]]
    try:
        known = json.loads(file.read_text())
        if known["files"] == seen:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = sha256(path) if not pattern else fingerprint([sha256(f) for f in files])
    _write_json(file, {"files": seen, "sha256": digest})
    return digest


def _detection(settings: Track) -> dict[str, Any]:
    return {name: value for name, value in recipe(settings).items() if name not in _OF_LINKS}


def _units() -> dict[str, Any]:
    return settings(Units)


def _from(progress: Progress, done: int, total: int) -> Progress:
    """`progress` of a part as that of the whole."""
    return as_progress(lambda now, of, what: progress(done + now, total, what))


def _parts_of(out: str | os.PathLike[str], parts: str | os.PathLike[str] | None) -> Path:
    return Path(out).with_suffix(".parts") if parts is None else Path(parts)


def _write_json(path: Path, content: Any) -> None:
    with atomic(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
