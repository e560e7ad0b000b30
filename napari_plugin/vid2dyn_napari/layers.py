"""Data as layers of napari and back: pure functions, no Qt and no viewer.

A layer is what napari's readers return: ``(data, keyword arguments, type)``. Axes are (t, y, x), of stacks
(t, z, y, x), with scales in s and µm where the calibration is known, else in frames and pixels, so that data and model
share one slider of time.
Every layer carries its object in ``metadata["vid2dyn"]``; analysis uses that, never the reduced copy that is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import vid2dyn as vd
from vid2dyn_napari import styles

Layer = tuple[Any, dict[str, Any], str]
KINDS = ("species", "body", "held")
"""Columns that name the kind of a particle."""
_COLUMNS = ("y_std", "x_std", "mass", "size", "ecc", "signal", "size_um", "size_px", "p_species")


class LazyFrames:
    """A Video as napari's image data: (T, H, W) or (T, Z, H, W), decoded when looked at, never all at once.

    Parameters
    ----------
    video : Video
    """

    def __init__(self, video: Any) -> None:
        self.video = video
        self.shape = (len(video), *video.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(video.info.dtype)
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Frames as an array; an integer in the first place drops that axis, as in numpy."""
        key = key if isinstance(key, tuple) else (key,)
        key = tuple(k for k in key if k is not Ellipsis) if Ellipsis in key else key
        frames, rest = (key[0], key[1:]) if key else (slice(None), ())
        if isinstance(frames, slice):
            chosen = range(*frames.indices(len(self)))
            return np.stack([self.video[i] for i in chosen])[(slice(None), *rest)] if len(chosen) else \
                np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        if np.ndim(frames):
            return np.stack([self.video[int(i)] for i in frames])[(slice(None), *rest)]
        return self.video[int(frames)][rest]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def seconds(time: float, step: float) -> str:
    """A time as one reads it, with as many digits as a step needs to be right within a tenth.

    >>> seconds(0.75, 1 / 80), seconds(12.0, 0.5), seconds(3e-5, 1e-5), seconds(0.03, 1 / 2000)
    ('0.750 s', '12.0 s', '0.00003 s', '0.0300 s')
    """
    digits = next((d for d in range(9) if abs(round(step, d) - step) <= 0.1 * step), 9)
    return f"{time:.{digits}f} s"


def scale(units: Any) -> tuple[tuple[float, float, float], tuple[str, str, str]]:
    """Size of a frame and a pixel, and their units: (s, µm, µm) as far as they are known.

    >>> scale(vd.Units(micrometre_per_pixel=0.5, frames_per_second=10.0))
    ((0.1, 0.5, 0.5), ('s', 'um', 'um'))
    """
    time, length = units.frames_per_second, units.micrometre_per_pixel
    return ((1.0 if time is None else 1.0 / time, length or 1.0, length or 1.0),
            ("pixel" if time is None else "s", *(("um" if length else "pixel",) * 2)))


def is_deep(tracks: Any) -> bool:
    """Whether tracks are drawn in three dimensions: those of stacks are; others with a depth are seen from above."""
    return tracks.dim == 3 and tracks.units.micrometre_per_plane is not None


def _common(units: Any, name: str, thing: Any, offset: float = 0.0, depth: float | None = None) -> dict[str, Any]:
    """`depth`: size of a step along z [px]; None for flat layers."""
    sizes, names = scale(units)
    labels, places = ("t", "y", "x"), (0.0, 0.0, offset)
    if depth is not None:
        sizes, names = (sizes[0], sizes[1] * depth, *sizes[1:]), (*names, names[1])   # type: ignore[assignment]
        labels, places = ("t", "z", "y", "x"), (0.0, 0.0, 0.0, offset)               # type: ignore[assignment]
    return {"name": name, "scale": sizes, "units": names, "axis_labels": labels, "translate": places,
            "metadata": {"vid2dyn": thing}}


def video_layer(video: Any, name: str = "video") -> Layer:
    """A recording, lazily; contrast from a few of its frames."""
    few = np.stack([video[i] for i in np.unique(np.linspace(0, len(video) - 1, 3).astype(int))])
    low, high = (float(v) for v in np.percentile(few[..., ::2, ::2], (0.5, 99.9)))
    limits = (low, high if high > low else low + 1.0)
    depth = None
    if video.is_stack:                                       # unknown distances are drawn as one pixel, and asked for
        depth = (video.units.micrometre_per_plane or 1.0) / (video.units.micrometre_per_pixel or 1.0)
    return LazyFrames(video), {**_common(video.units, name, video, depth=depth), "contrast_limits": limits,
                               "colormap": "gray"}, "image"


def shown(tracks: Any, limit: int = styles.MAX_VERTICES) -> tuple[Any, int]:
    """Linked detections to draw, whole tracks spread evenly over the numbers, and how many tracks were left out.

    >>> tracks = vd.simulate(vd.simulators.Brownian(n_particles=10, frames=20, box_length=10.0), seed=0)
    >>> few, left_out = shown(tracks, limit=100)
    >>> few.n_particles, left_out
    (5, 5)
    """
    particle = tracks.particle
    first = int(np.searchsorted(particle, 0))                # rows are sorted by particle, -1 is unlinked
    starts = first + np.flatnonzero(np.diff(particle[first:], prepend=-1))
    if not len(starts) or len(particle) - first <= limit:
        return (tracks.linked() if first else tracks), 0
    length = np.diff(np.append(starts, len(particle)))
    order = np.argsort(np.arange(len(starts)) * 0.618033988749895 % 1.0, kind="stable")
    count = max(1, int(np.searchsorted(np.cumsum(length[order]), limit, side="right")))
    keep = np.zeros(len(starts), dtype=bool)
    keep[order[:count]] = True
    mask = np.concatenate([np.zeros(first, dtype=bool), np.repeat(keep, length)])
    return tracks.rows(mask), len(starts) - count


def tracks_layer(tracks: Any, name: str = "tracks", offset: float = 0.0, limit: int = styles.MAX_VERTICES,
                 tail: float = styles.TAIL) -> Layer:
    """Trajectories as a tracks layer (id, t, y, x), of stacks (id, t, z, y, x); at most `limit` vertices are drawn.

    Parameters
    ----------
    offset : float
        Moves the layer along x [µm, or px]: the model beside the data.
    tail : float
        Length of tails [s], or that many hundred frames where the frame rate is unknown; an eighth of the recording
        at most.
    """
    few, left_out = shown(tracks, limit)
    table = few.dataframe
    frame = table["frame"].to_numpy(float)
    yx = positions(few)
    data = np.column_stack([segments(few, yx), frame, *places(few)])
    settings = _common(tracks.units, name, tracks, offset, 1.0 if is_deep(tracks) else None)
    # of a fast recording the tails would be all of it
    frames = max(2, min(round(tail * (tracks.units.frames_per_second or 100.0)), round(0.12 * tracks.n_frames)))
    settings["metadata"] = {"vid2dyn": tracks, "left_out": left_out}
    columns = [column for column in (*_COLUMNS, "entropy") if column in table]
    features = table[columns].reset_index(drop=True)
    settings |= {"tail_length": min(frames, 300), "head_length": 0, "tail_width": 2, "colormap": "turbo",
                 "features": features, "hide_completed_tracks": True}
    return data, settings, "tracks"


def segments(tracks: Any, yx: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(rows,) numbers of lines to draw: the particles, or new numbers where a line would cross a periodic box."""
    particle = tracks.particle.astype(float)
    lengths = tracks.box.lengths
    if lengths is None or len(particle) < 2:
        return particle
    half = 0.5 * min(lengths) / (tracks.units.micrometre_per_pixel or 1.0)
    cut = np.diff(particle) != 0
    for value in yx:
        cut |= np.abs(np.diff(value)) > half
    return np.concatenate([[0.0], np.cumsum(cut)])


def positions(tracks: Any) -> tuple[np.ndarray, np.ndarray]:
    """y and x [px] as drawn: wrapped into a periodic box; one-dimensional tracks lie on y = 0."""
    table, lengths = tracks.dataframe, tracks.box.lengths
    axes = tracks.axes
    found = []
    for k, axis in enumerate(axes[:2]):
        value = table[axis].to_numpy(float)
        if lengths is not None:
            edge = lengths[k] / (tracks.units.micrometre_per_pixel or 1.0)
            value = np.mod(value, edge)
        found.append(value)
    return (np.zeros_like(found[0]), found[0]) if len(found) == 1 else (found[0], found[1])


def places(tracks: Any) -> tuple[np.ndarray, ...]:
    """Positions [px] as drawn, in the order of the axes of layers: (y, x), of stacks (z, y, x)."""
    yx = positions(tracks)
    return (tracks.dataframe["z"].to_numpy(float), *yx) if is_deep(tracks) else yx


def from_layer(data: np.ndarray, settings: dict[str, Any]) -> Any:
    """Trajectories of a tracks layer: the whole object it carries, or its vertices with the scales as calibration.

    A layer that moves along z gives tracks in three dimensions, if both lengths are known.

    Examples
    --------
    >>> array = np.array([[7, 0, 1.0, 2.0], [7, 1, 1.5, 2.5]])
    >>> tracks = from_layer(array, {"scale": (0.1, 0.5, 0.5), "units": ("s", "um", "um")})
    >>> tracks.units.frames_per_second, tracks.units.micrometre_per_pixel, tracks.dataframe["y"].tolist()
    (10.0, 0.5, [1.0, 1.5])
    """
    carried = (settings.get("metadata") or {}).get("vid2dyn")
    if isinstance(carried, vd.Trajectories):
        return carried
    data = np.asarray(data, dtype=float)
    table = pd.DataFrame({"frame": data[:, 1].astype(int), "particle": data[:, 0].astype(int),
                          "y": data[:, -2], "x": data[:, -1]})
    features = settings.get("features")
    if features is not None:
        table = table.assign(**{c: np.asarray(features[c]) for c in features if c in _COLUMNS})
    sizes = tuple(settings.get("scale") or (1.0,) * (data.shape[1] - 1))
    if data.shape[1] == 5 and np.ptp(data[:, 2]) > 0:
        table["z"] = data[:, 2] * sizes[1] / sizes[-1]       # depths of tables are in pixels
    names = [str(u) for u in settings.get("units") or ("pixel",) * 3]
    second = {"s": 1.0, "second": 1.0, "ms": 1e-3, "millisecond": 1e-3}.get(names[-3])
    micron = {"um": 1.0, "µm": 1.0, "micrometer": 1.0, "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3,
              "millimeter": 1e3}.get(names[-1])
    return vd.Trajectories.from_dataframe(
        table, frames_per_second=None if second is None else 1.0 / (second * sizes[-3]),
        micrometre_per_pixel=None if micron is None else micron * sizes[-1])


class ByFrame:
    """Positions and a column of one frame after the other, found in the time of that frame alone.

    Parameters
    ----------
    tracks : Trajectories
    column : str
        "particle" or a column of the table (entropy, mass, ...); "speed" from successive positions [µm/s or px/frame].
        Of a column of `KINDS` the value is the number of the kind, in the order of `kinds`.
    """

    def __init__(self, tracks: Any, column: str = "particle") -> None:
        frame = tracks.frame
        self.order = np.argsort(frame, kind="stable")
        self.frames = frame[self.order]
        self.places = np.column_stack(places(tracks))
        self.kinds = kinds_of(tracks, column)
        if column == "speed":
            self.value = speed(tracks)
        elif self.kinds:
            self.value = np.searchsorted(self.kinds, tracks.dataframe[column].astype(str)).astype(float)
        else:
            self.value = tracks.dataframe[column].to_numpy(float)
        finite = self.value[np.isfinite(self.value)]
        low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
        self.limits = (float(low), float(high) if high > low else float(low) + 1.0)

    def __call__(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, 2) positions [px], of stacks (n, 3), and (n,) values of the detections in `frame`."""
        a, b = np.searchsorted(self.frames, (frame, frame + 1))
        rows = self.order[a:b]
        return self.places[rows], self.value[rows]


def kinds_of(tracks: Any, column: str) -> tuple[str, ...]:
    """The kinds of particles that a column of `KINDS` names, sorted; empty for other columns.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"frame": 0, "particle": [0, 1], "y": 0.0, "x": 0.0, "species": ["small", "large"]})
    >>> kinds_of(vd.Trajectories.from_dataframe(table), "species")
    ('large', 'small')
    """
    if column not in KINDS or column not in tracks.dataframe:
        return ()
    return tuple(sorted({str(value) for value in tracks.dataframe[column].unique()}))


def speed(tracks: Any) -> np.ndarray:
    """(rows,) speed: recorded where the table has velocities [µm/s], else |step| over one frame; 0 at a track's end."""
    if tracks.velocities is not None:
        return np.linalg.norm(tracks.velocities, axis=1)
    i, j = tracks.lagged(1)
    yx = tracks.dataframe[list(tracks.axes)].to_numpy(float)
    out = np.zeros(len(yx))
    sizes = scale(tracks.units)[0]
    out[i] = np.linalg.norm(yx[j] - yx[i], axis=1) * sizes[1] / sizes[0]
    return out


def columns(tracks: Any) -> list[str]:
    """What particles can be coloured by."""
    table = tracks.dataframe
    return [*(c for c in ("entropy", "species") if c in table), "speed", "particle",
            *(c for c in (*_COLUMNS, "density", *KINDS[1:]) if c in table)]


def width(tracks: Any, video: Any = None) -> float:
    """Width of what the data fill, in the units of their layers: where to put the model beside them."""
    size = scale(tracks.units)[0][2]
    if video is not None:
        return video.info.width * size
    if tracks.field_of_view is not None:
        return float(tracks.field_of_view[1]) * size
    if tracks.box.lengths is not None:
        return float(tracks.box.lengths[-1])
    x = positions(tracks)[1]
    return float(np.ptp(x)) * size if len(x) else 1.0


def fields_layer(fields: Any, name: str = "density", offset: float = 0.0, span: float | None = None) -> Layer:
    """Fields as a picture of the mean density, one plane for each start: time downwards, the ring across.

    Parameters
    ----------
    span : float, optional
        Time that is as long as the ring is wide; default: that of the fields. With one span, times of data and model
        are side by side.
    """
    times, mean = fields.times, fields.mean()
    own = float(times[-1] - times[0]) if len(times) > 1 else 1.0
    rows = len(times)
    if rows > 2 and np.ptp(np.diff(times)) > 1e-6 * own:            # uneven: the nearest time in every row
        rows = 64
        even = np.linspace(times[0], times[-1], rows)
        mean = mean[:, np.abs(times[None, :] - even[:, None]).argmin(axis=1)]
    sizes = (1.0, own / (span or own) / max(rows - 1, 1), 1.0 / fields.n_cells)
    limits = (float(mean.min()), float(max(mean.max(), mean.min() + 1e-9)))
    return mean, {"name": name, "scale": sizes, "axis_labels": ("start", "time", "cell"), "contrast_limits": limits,
                  "translate": (0.0, 0.5 * sizes[1], 0.5 * sizes[2] + offset), "colormap": "viridis",
                  "interpolation2d": "nearest",
                  "metadata": {"vid2dyn": fields, "time_span": own}}, "image"


def layers_of(thing: Any, name: str = "") -> list[Layer]:
    """The layers of a Video, Trajectories or Fields."""
    if isinstance(thing, vd.Video):
        return [video_layer(thing, name or thing.path.stem)]
    if isinstance(thing, vd.Trajectories):
        return [tracks_layer(thing, name or "tracks", limit=int(styles.preference("max_vertices")),
                             tail=styles.preference("tail_seconds"))]
    if isinstance(thing, vd.Fields):
        return [fields_layer(thing, name or "density")]
    raise vd.DataError(f"A {type(thing).__name__} has no layer; open it in the panel (Plugins > vid2dyn).")
