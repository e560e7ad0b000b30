"""Images around particles: cut out, freed of background, and measured with two fixed numbers as a yardstick."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.core.progress import Progress
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video

TILES = 4
"""Tiles along each axis on which the background is compared to see how far the illumination varies."""


def cut(frame: np.ndarray, y: np.ndarray, x: np.ndarray, size: int) -> np.ndarray:
    """(n, size, size) float32 images around positions [px], less the median of what lies outside their circle.

    Cut at whole pixels, so that nothing is interpolated; beyond the edge of the frame its last pixel is repeated.

    >>> frame = np.zeros((20, 20)); frame[7, 9] = 5.0
    >>> patch = cut(frame + 3.0, np.array([7.2]), np.array([8.9]), 5)[0]
    >>> float(patch[2, 2]), float(patch.sum())
    (5.0, 5.0)
    """
    half = size // 2
    offset = np.arange(-half, half + 1)
    rows = np.clip(np.rint(y).astype(int)[:, None] + offset, 0, frame.shape[0] - 1)
    columns = np.clip(np.rint(x).astype(int)[:, None] + offset, 0, frame.shape[1] - 1)
    patches = frame[rows[:, :, None], columns[:, None, :]].astype(np.float32)
    background = np.median(patches[:, outside(size)], axis=1)
    return patches - background[:, None, None]


def outside(size: int) -> np.ndarray:
    """(size, size) bool: pixels on the rim of the inscribed circle and beyond, taken for background."""
    return radius(size) >= size // 2


def radius(size: int) -> np.ndarray:
    """(size, size) distance from the middle [px]."""
    offset = np.arange(size) - size // 2
    return np.hypot(offset[:, None], offset[None, :])


def window(size: int) -> np.ndarray:
    """(size, size) float32: 1 in the middle, smoothly 0 at the rim: what lies beyond is the neighbours'."""
    t = np.clip((radius(size) / (0.5 * size) - 0.5) / 0.5, 0.0, 1.0)
    return (1 - t * t * (3 - 2 * t)).astype(np.float32)


def brightness_and_width(patches: np.ndarray) -> np.ndarray:
    """(n, 2) the fixed yardstick: light under the window [grey levels], and root mean square radius under it [px].

    >>> y, x = np.mgrid[-10:11, -10:11]
    >>> brightness_and_width(np.exp(-(y**2 + x**2) / 8)[None].astype(np.float32)).round(1).tolist()
    [[25.1, 2.8]]
    """
    size = patches.shape[1]
    under = patches.reshape(len(patches), -1).astype(float) * window(size).ravel()
    light = under.sum(axis=1)
    second = under @ (radius(size).ravel() ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.sqrt(np.clip(np.where(light != 0, second / light, 0.0), 0.0, (0.5 * size) ** 2))
    return np.column_stack([light, width])


def patches_of(video: Video, tracks: Trajectories, rows: np.ndarray, size: int, progress: Progress,
               what: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, their images), frame by frame in order; one frame is held at a time.

    Raises
    ------
    DataError
        When a detection lies in a frame that the recording does not have, or a frame has pixels that are not numbers.
    """
    table = tracks.with_drift().dataframe
    frame = table["frame"].to_numpy()[rows]
    if not len(rows):
        return
    if int(frame.max()) >= len(video):
        raise DataError(f"The tracks go on to frame {int(frame.max())}, but {video.path} ends with frame "
                        f"{len(video) - 1}: these are not the tracks of this recording.")
    order = np.argsort(frame, kind="stable")
    numbers, first = np.unique(frame[order], return_index=True)
    groups = dict(zip(numbers.tolist(), np.split(rows[order], first[1:])))
    y, x = table["y"].to_numpy(), table["x"].to_numpy()
    start, stop = int(numbers[0]), int(numbers[-1]) + 1
    for number, image in enumerate(video.frames(start, stop), start=start):
        if number in groups:
            here = groups[number]
            found = cut(image, y[here], x[here], size)
            if not np.isfinite(found).all():
                raise DataError(f"{video.path}: frame {number} has pixels that are not numbers around its particles; "
                                "the patch encoder cannot read it.")
            yield here, found
        progress(number + 1 - start, stop - start, what)


def illumination_varies(video: Video, looked_at: int = 20) -> float:
    """Relative standard deviation of the background over places and times: how far brightness is the lamp's.

    Medians of TILES x TILES tiles of a few frames; what a relative gradient or flicker of the lamp makes of the
    background it makes of the particles too. A dark background says nothing (0), and at most 0.3 is said.
    """
    levels = []
    for k in np.unique(np.linspace(0, len(video) - 1, looked_at).round().astype(int)):
        image = np.asarray(video[int(k)], dtype=float)
        tiles = [np.array_split(band, TILES, axis=1) for band in np.array_split(image, TILES, axis=0)]
        levels.append([float(np.median(tile)) for band in tiles for tile in band])
    level = np.array(levels)
    if level.min() <= 0:
        return 0.0
    return float(min(np.log(level).std(), 0.3))
