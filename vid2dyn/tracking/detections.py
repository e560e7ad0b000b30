"""The features of a stretch of a movie: what detection hands to linking, in memory or in a file.

Detection looks at one frame at a time, so a movie can be cut anywhere and the stretches searched in any order by any
number of processes; the stretches put together are the same as the whole.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numba
import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.video import Video
from vid2dyn.tracking.columns import BY_WIDTH, COLUMNS, POSITION, SIZED_COLUMNS, STACK_COLUMNS
from vid2dyn.tracking.detect.base import Detector, finite
from vid2dyn.tracking.detect.factory import detector
from vid2dyn.tracking.preparation import placed, prepared
from vid2dyn.tracking.settings import Track
from vid2dyn.tracking.stacks.choice import stack_detector
from vid2dyn.tracking.stacks.detector import StackDetector

OVERLAP = 1.3                     # diameters within which a neighbour's light falls into the mask
_GROUP, _GROUP_BYTES = 8, 4 << 20  # frames decoded in a row, at most, and their memory: see `_group_of`


@dataclass(frozen=True, eq=False)
class Features:
    """Detections in frames start, ..., start + len(counts) - 1.

    Parameters
    ----------
    start : int
        First frame.
    counts : (frames,) int64 array
        Detections of each frame.
    columns : (rows, 10 or 14) float64 array
        `COLUMNS` of every detection, frame after frame, and where sizes differ four more; of stacks (rows, 9),
        `STACK_COLUMNS`.
    crowded : int
        Detections whose centroid is bent by a neighbour nearer than 1.3 diameters; 0 where spots are fitted.
    """

    start: int
    counts: np.ndarray
    columns: np.ndarray
    crowded: int

    @property
    def frame(self) -> np.ndarray:
        """(rows,) int32 frame of every detection."""
        return np.repeat(np.arange(self.start, self.start + len(self.counts), dtype=np.int32), self.counts)

    def frames(self) -> Iterator[tuple[int, np.ndarray]]:
        """(frame number, (N, 10) detections) in order."""
        ends = np.cumsum(self.counts)
        for k, end in enumerate(ends):
            yield self.start + k, self.columns[end - self.counts[k]:end]

    def save(self, path: Path, key: str) -> None:
        """Write a parquet file with checksums, whole or not at all, that says what it was made from."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        header = {"key": key, "start": self.start, "counts": self.counts.tolist(), "crowded": self.crowded}
        named = dict(zip(_stored(self.columns.shape[1]), self.columns.T))
        table = pa.table(named, metadata={b"vid2dyn": json.dumps(header).encode()})
        with atomic(path) as scratch:
            pq.write_table(table, scratch, write_page_checksum=True)

    @classmethod
    def load(cls, path: Path, key: str) -> Features | None:
        """What `save` wrote; None where nothing is there, or something else, or it is damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, page_checksum_verification=True)
            header = json.loads((table.schema.metadata or {})[b"vid2dyn"])
            columns = np.column_stack([table.column(name).to_numpy() for name in table.column_names])
            found = cls(header["start"], np.array(header["counts"], dtype=np.int64), columns, header["crowded"])
        except (OSError, KeyError, ValueError, pa.ArrowException):
            return None
        return found if header["key"] == key and found.counts.sum() == len(columns) else None


def search_threads() -> int:
    """Frames that are searched side by side: numba's threads, of which a worker process has its share of the cores."""
    return int(numba.config.NUMBA_NUM_THREADS)                                    # type: ignore[attr-defined]


def features_of(video: Video, settings: Track, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
    """(frame number, (N, 10) detections) of frames start <= frame < stop, in order.

    `search_threads` frames are searched side by side, with the same result for any number. Threads take turns at the
    decoder; a single one has the next frame decoded meanwhile.

    Parameters
    ----------
    settings : Track
        With the `minmass` in force.

    Raises
    ------
    DataError
        A frame that is not grey, not of the movie's size, or holds NaN pixels; after the frames before it.
    """
    # trackpy's detector holds the lock of Python
    threads = 1 if settings.compat == "trackpy" else search_threads()
    video = prepared(video, settings)
    frames = video.frames(start, stop)
    find = stack_detector(video, settings) if video.is_stack else detector(settings)
    group = _group_of(video, stop - start, threads)
    if threads == 1:
        coming = frames if video.in_memory else _prefetched(frames, group)
        try:
            for number, frame in enumerate(coming, start):
                yield number, placed(video, find(checked(frame, number, video)))
        finally:
            getattr(coming, "close", lambda: None)()
        return
    search = _Search(video, find, start, frames, group)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="locate")
    running: deque[Future[None]] = deque()
    try:
        for number in range(start, stop):
            while True:
                while running and running[0].done():
                    running.popleft()
                while len(running) <= threads and len(search.done) <= (threads + 1) * group:
                    running.append(pool.submit(search.next))
                if number in search.done:
                    break
                running.popleft().result()
            found = search.done.pop(number)
            if found is None:
                return
            if isinstance(found, Exception):
                raise found
            yield number, found
    finally:
        search.stopped = True
        pool.shutdown(wait=True, cancel_futures=True)
        getattr(search.frames, "close", lambda: None)()


def _group_of(video: Video, frames: int, threads: int) -> int:
    """How many frames are decoded in a row before the first of them is searched.

    A decoder of movies works with the pictures before; searching a frame drives them out of the processor's cache, and
    decoding takes half as long again. With few frames to go every thread has its share all the same.
    """
    size = int(np.prod(video.shape)) * np.dtype(video.info.dtype).itemsize
    return 1 if video.in_memory else max(1, min(_GROUP, _GROUP_BYTES // max(size, 1), frames // (8 * threads)))


class _Search:
    """Frames searched by any number of threads: `done` holds what was found by number, or what went wrong there; None
    after the last frame."""

    def __init__(self, video: Video, find: Detector | StackDetector, start: int, frames: Iterator[np.ndarray],
                 group: int) -> None:
        self.video, self.find, self.frames, self.next_number = video, find, frames, start
        self.group, self.stopped = group, False
        self.turn = threading.Lock()
        self.done: dict[int, np.ndarray | Exception | None] = {}

    def next(self) -> None:
        """Decode the next frames and search them."""
        with self.turn:
            number, taken = self.next_number, self._taken()
            self.next_number += len(taken)
        for k, frame in enumerate(taken):
            if self.stopped:
                return
            found: np.ndarray | Exception | None = frame
            if isinstance(frame, np.ndarray):
                try:
                    found = placed(self.video, self.find(checked(frame, number + k, self.video)))
                except Exception as error:                 # raised when the frames before it are through
                    found = error
            self.done[number + k] = found

    def _taken(self) -> list[np.ndarray | Exception | None]:
        """A group of frames; fewer, and in the place of the next what went wrong or None, where there are no more."""
        taken: list[np.ndarray | Exception | None] = []
        try:
            while len(taken) < self.group:
                taken.append(next(self.frames, None))
                if taken[-1] is None:
                    break
        except Exception as error:
            taken.append(error)
        return taken


def find_features(video: Video, settings: Track, start: int, stop: int, progress: Progress = silent) -> Features:
    """`features_of` all together; arguments are the same."""
    found: list[np.ndarray] = []
    for number, features in features_of(video, settings, start, stop):
        found.append(features)
        progress(number + 1 - start, stop - start, "tracking")
    width = len(STACK_COLUMNS) if video.is_stack else columns_with(settings)
    return Features(start, np.array([len(f) for f in found], dtype=np.int64),
                    np.concatenate(found) if found else np.empty((0, width)),
                    sum(count_crowded(f, settings) for f in found))


def columns_with(settings: Track) -> int:
    """Columns of a table of features found with these settings."""
    return len(COLUMNS) if settings.sizes == "one" else SIZED_COLUMNS


def _stored(columns: int) -> tuple[str, ...]:
    """Names of the columns of a stored table of features."""
    further = ("size_of_image", "size_of_image_std", "species", "p_species") if columns == SIZED_COLUMNS else ()
    return (*BY_WIDTH[columns], *further)


def count_crowded(features: np.ndarray, settings: Track) -> int:
    """How many detections of one frame are centroids with a neighbour nearer than 1.3 diameters."""
    if settings.compat != "trackpy" or len(features) < 2:
        return 0
    nearest = cKDTree(features[:, POSITION]).query(features[:, POSITION], k=2)[0][:, 1]
    return int((nearest < OVERLAP * settings.diameter).sum())


def checked(frame: np.ndarray, number: int, video: Video) -> np.ndarray:
    """The frame, or `DataError` where tracking cannot use it."""
    frame = np.asarray(frame)
    if frame.ndim != len(video.shape):
        raise DataError(f"{video.path}: frame {number} has shape {frame.shape}; tracking takes grey frames "
                        "(height, width). Convert the movie to grey, or choose one colour channel.")
    if frame.shape != video.shape:
        raise DataError(f"{video.path}: frame {number} is {' x '.join(map(str, frame.shape))} px, the movie "
                        f"{' x '.join(map(str, video.shape))} px. Cut the movie there (start, stop), or crop it to "
                        "one size.")
    return finite(frame, number, str(video.path))


def _prefetched(frames: Iterator[np.ndarray], group: int) -> Iterator[np.ndarray]:
    """The same frames, a group of them decoded in another thread while those before are worked on."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="decode")

    def taken() -> tuple[list[np.ndarray], Exception | None]:
        some: list[np.ndarray] = []
        try:
            some.extend(islice(frames, group))
        except Exception as error:                         # raised when the frames before it are through
            return some, error
        return some, None

    try:
        coming = pool.submit(taken)
        while True:
            some, wrong = coming.result()
            if some and wrong is None:
                coming = pool.submit(taken)
            yield from some
            if wrong is not None:
                raise wrong
            if not some:
                return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        getattr(frames, "close", lambda: None)()
