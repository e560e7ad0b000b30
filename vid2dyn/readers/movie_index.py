"""What a movie container holds: time stamps, key frames and how much of it can be read.

Nothing here looks at pixels. Time stamps are in ticks of the container's time base.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.readers.ffv1_checks import damaged

_LOOK_AHEAD = 60
"""Frames looked at for prediction from other frames."""


FORMATS = ("avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,mpegvideo,flv,asf,ogg,mjpeg,nut,dv,h264,hevc,m4v,mxf,"
           "yuv4mpegpipe,ivf,gif,wtv")
"""Containers that are opened; playlists and scripts, which name other files and places of the net, are none of them."""
_STRICT = ("ffv1", "mjpeg", "png", "huffyuv", "ffvhuff", "utvideo")
"""Codings whose frames stand alone: a decoder that complains about one ends there."""
_EITHER = ("jpeg2000", "jpegls", "jpegxl")
"""Codings of single pictures that are used without loss as often as with."""
_REORDER = 33
"""Frames at the end of a cut movie among which some may be missing; H.264 reorders at most 16."""


@dataclass(frozen=True)
class MovieIndex:
    """Frames of a movie in the order in which they are shown.

    Parameters
    ----------
    ticks : (n,) int64 array, or None
        Time stamp of every frame; None where the container's stamps cannot be trusted (AVI with
        B-frames stores none), so that frames can only be counted from the start.
    keys : int64 array
        Frame numbers where decoding can begin; 0 is always one of them.
    n_frames : int
        Frames that can be read.
    stated : int
        Frames that the header promises.
    frames_per_second : float or None
        Mean rate.
    codec : str
        FFmpeg's name of the coding.
    inter_coded : bool
        Whether lossy prediction between frames was found.
    lossy : bool or None
        Whether the coding changes pixels; None for codings that can do both.
    warnings : tuple of str
        Irregular time stamps.
    """

    ticks: np.ndarray | None
    keys: np.ndarray
    n_frames: int
    stated: int
    frames_per_second: float | None
    codec: str
    inter_coded: bool
    lossy: bool | None
    warnings: tuple[str, ...]


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container at `path` and its first video stream; FFmpeg's complaints become `DataError`."""
    try:
        # "file:" and a whole path: a name is never a protocol, and a movie never a list of other files
        container = av.open(f"file:{path.absolute()}", container_options={
            "protocol_whitelist": "file", "format_whitelist": FORMATS})
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: not a movie that can be read ({reason}). Either the suffix is not its real "
                        "format, or it was cut before its table of contents was written (MP4 and MOV keep it at "
                        "the end). Copy or export the movie again.") from None
    with container:
        if not container.streams.video:
            raise DataError(f"{path}: no video stream in this file. Check that it is the movie you meant.")
        stream = container.streams.video[0]
        if stream.codec_context.name in _STRICT:
            stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        stream.thread_type = "SLICE"                         # with whole frames in threads, marks of damage get lost
        yield container, stream


def pictures(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames up to the first damage.

    At damage, what the decoder still holds is asked for: frames that were waiting for their turn to be shown.
    """
    checked = stream.codec_context.name == "ffv1" and bool(stream.codec_context.extradata)
    try:
        for packet in container.demux(stream):
            if packet.size and (packet.is_corrupt or (checked and damaged(bytes(packet)))):
                break
            for frame in packet.decode():
                if frame.is_corrupt:
                    return
                yield frame
            if not packet.size:                              # the end of the stream: the decoder is empty
                return
    except (av.FFmpegError, ValueError):
        pass
    try:
        yield from (frame for frame in stream.decode(None) if not frame.is_corrupt)
    except (av.FFmpegError, ValueError):
        return


def read_index(path: Path) -> MovieIndex:
    """The index of the movie at `path`, without decoding more than a few frames.

    Containers with a complete table of contents and independent frames (raw or MJPEG recordings,
    which can be huge) are not read through; all others are, packet by packet.

    Raises
    ------
    DataError
        For a file that is no movie, or holds not one frame.
    """
    with opened(path) as (container, stream):
        codec = stream.codec_context.codec
        kind = stream.codec_context.name
        time_base, rate = stream.time_base, stream.average_rate
        ticks, key, damaged = _listed(path, stream) or _packets(container, stream)
        avi = container.format.name == "avi"
        stated = stream.frames or _stated(container, time_base, ticks[:, 0])
        endless = not stated and container.duration is None and "matroska" in container.format.name
        lossy = _lossy(kind, codec, stream.codec_context.profile)
        intra = codec.intra_only or (codec.lossless and not codec.lossy) or bool(key.all())
    if not len(ticks):
        raise DataError(f"{path}: not one frame can be read: the movie is empty or was cut in its first frame. "
                        "Record or copy it again.")
    usable = _trustworthy(ticks, key, avi)
    order = np.argsort(ticks[:, 0], kind="stable")
    shown = ticks[order, 0] if usable else None
    keys = np.unique(np.concatenate([[0], np.flatnonzero(key[order])])) if usable else np.zeros(1, np.int64)
    n = len(ticks)
    if damaged or n < stated:
        if shown is not None:
            shown = shown[:_before_gap(shown)]
            keys = keys[keys < len(shown)]
        n = min(n, _readable(path, shown, int(keys[-1])))
        if shown is None and n > 1:
            n = max(1, n - _REORDER // 2)                    # a hole among the last frames would go unseen
        if n == 0:
            raise DataError(f"{path}: not one whole frame can be read: the movie was cut in its first frame. "
                            "Copy it again.")
    shown = None if shown is None else shown[:n]
    fps, warnings = _rate(shown, float(time_base), None if rate is None else float(rate))
    if endless:
        warnings += ("The movie does not say how long it is: its recording was broken off, or the file is damaged. "
                     "Frames at "
                     "its end may be missing.",)
    return MovieIndex(shown, keys[keys < n], n, max(stated, len(ticks)), fps, kind,
                      not intra and _predicted(path), lossy, warnings)


def _lossy(kind: str, codec: Any, profile: str | None) -> bool | None:
    """Whether pixels come back changed; None where the coding does both and the file does not say."""
    if not codec.lossy or not codec.lossless:
        return bool(codec.lossy)
    return None if kind in _EITHER or "4:4:4" in (profile or "") else True   # 4:4:4: the only lossless H.264


def _stated(container: Any, time_base: Any, ticks: np.ndarray) -> int:
    """Frames up to the end that the header states (MKV states no count); 0 where unknown."""
    if container.duration is None or len(container.streams) > 1 or not len(ticks):
        return 0
    shown = np.sort(ticks) * float(time_base)
    rate = container.streams.video[0].average_rate            # of a single frame, what the header says
    step = float(np.median(np.diff(shown))) if len(shown) > 1 else (1 / float(rate) if rate else 0.0)
    end = container.duration / 1e6
    if shown[0] < 0 or step <= 0 or end < shown[-1] + 1.5 * step:
        return 0                                             # dropped frames are no sign of a cut
    return int((end - shown[0]) / step + 0.5)


def _listed(path: Path, stream: Any) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """Index from the container's own table, if it is complete and every frame stands alone."""
    entries = getattr(stream, "index_entries", ())            # PyAV < 14 has none
    if not stream.codec_context.codec.intra_only or not stream.frames or len(entries) != stream.frames:
        return None
    last = entries[len(entries) - 1]
    if last.pos + last.size > path.stat().st_size:
        return None
    ticks = np.array([entry.timestamp for entry in entries], np.int64)
    return np.stack([ticks, ticks], axis=1), np.ones(len(ticks), bool), False


def _packets(container: Any, stream: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """(n, 2) time stamps (shown, decoded) and (n,) key flags up to the first damaged packet, and if there was one.

    A missing stamp is the lowest integer, so that `_trustworthy` sees it.
    """
    absent = np.iinfo(np.int64).min
    rows: list[tuple[int, int, bool]] = []
    damaged = False
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                if packet.is_corrupt:
                    damaged = True
                    break
                rows.append((absent if packet.pts is None else packet.pts,
                             absent if packet.dts is None else packet.dts, packet.is_keyframe))
    except av.FFmpegError:
        damaged = True
    table = np.array(rows, np.int64).reshape(-1, 3)
    return table[:, :2], table[:, 2].astype(bool), damaged


def _trustworthy(ticks: np.ndarray, key: np.ndarray, avi: bool) -> bool:
    """Whether the time stamps name frames: all there, all different, and not AVI's guesses.

    AVI stores no presentation times. FFmpeg makes them up from the decoding order, which is right
    only as long as both orders agree.
    """
    shown = ticks[:, 0]
    if (shown == np.iinfo(np.int64).min).any() or len(np.unique(shown)) < len(shown):
        return False
    return not avi or bool(key.all()) or bool((ticks[:, 0] == ticks[:, 1]).all())


def _before_gap(ticks: np.ndarray) -> int:
    """Frames before the hole that a cut leaves: B-frames are stored after the frame that follows them."""
    step = np.diff(ticks[-_REORDER:])
    if len(step) < 3:
        return len(ticks)
    holes = np.flatnonzero(step > 1.5 * np.median(np.diff(ticks)))
    return len(ticks) if not holes.size else len(ticks) - len(step) + int(holes[0])


def _readable(path: Path, ticks: np.ndarray | None, last_key: int) -> int:
    """Frames that really decode in a damaged movie; those before its last key frame are taken as whole."""
    n = last_key
    with opened(path) as (container, stream):
        if last_key and ticks is not None:
            container.seek(int(ticks[last_key]), stream=stream)
        for frame in pictures(container, stream):
            if ticks is not None:
                if n < len(ticks) and frame.pts is not None and frame.pts < ticks[n]:
                    continue                                 # frames before the key frame that was asked for
                if n >= len(ticks) or frame.pts != ticks[n]:
                    break
            n += 1
    return n


def _rate(ticks: np.ndarray | None, time_base: float,
          stated: float | None) -> tuple[float | None, tuple[str, ...]]:
    """Frames per second, and a warning where intervals differ by more than a tick and 5 %."""
    if ticks is None or len(ticks) < 3:
        return stated, ()
    step = np.diff(ticks)
    usual = float(np.median(step))
    odd = int((np.abs(step - usual) > np.maximum(1.5, 0.05 * usual)).sum())
    mean = (len(ticks) - 1) / (float(ticks[-1] - ticks[0]) * time_base)
    if odd == 0:
        return stated if stated and abs(stated / mean - 1) < 1e-3 else mean, ()
    return mean, (
        f"{odd} of {len(step)} frame intervals differ from the usual {usual * time_base:.4g} s (from "
        f"{step.min() * time_base:.4g} to {step.max() * time_base:.4g} s): frames were dropped or the rate "
        f"varies. Times assume equal steps of {1 / mean:.4g} s; record at a fixed rate.",)


def _predicted(path: Path) -> bool:
    """Whether one of the first frames was predicted from others (P or B picture)."""
    names = {2, 3, 4}                                        # AVPictureType P, B, S
    with opened(path) as (container, stream):
        return any(int(frame.pict_type) in names for frame in islice(pictures(container, stream), _LOOK_AHEAD))
