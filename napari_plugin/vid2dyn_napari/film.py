"""An annotated film: the recording with rings and tails, the model beside it, time and scale bar in the picture."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

import vid2dyn as vd
from vid2dyn_napari import layers

TAIL = 12
"""Frames of a tail."""

SIZE = 640
"""Least edge of one side [px of the film]."""


def write_film(path: str | os.PathLike[str], tracks: Any, *, video: Any = None, future: Any = None,
               seconds_per_second: float | None = None, progress: vd.Progress = vd.core.progress.silent) -> Path:
    """Write an .mp4 (H.264), whole or not at all.

    Parameters
    ----------
    tracks : Trajectories
        Drawn on the recording if there is one, else on black.
    video, future
        The recording, and the rollout of a model to draw beside it.
    seconds_per_second : float, optional
        Speed; default: as recorded, but between 5 and 60 pictures a second.
    progress : Progress, optional

    Raises
    ------
    DataError
        When there is nothing to draw.
    """
    import av

    path = Path(path)
    if not len(tracks):
        raise vd.DataError(f"{path}: there are no detections to draw. Track the particles first.")
    frames = range(int(tracks.frame.min()), int(tracks.frame.max()) + 1)
    left = Side(tracks, "data", video)
    sides = [left] + ([Side(future, "model", None, left)] if future is not None else [])
    fps = tracks.units.frames_per_second or 25.0
    rate = Fraction(min(max(fps * (seconds_per_second or 1.0), 5.0), 60.0)).limit_denominator(1000)
    with vd.core.files.atomic(path) as scratch, av.open(str(scratch), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for k, frame in enumerate(frames):
            progress(k, len(frames), "film")
            picture = np.concatenate([side.picture(frame, k) for side in sides], axis=1)
            if k == 0:
                stream.width, stream.height = picture.shape[1], picture.shape[0]
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


class Side:
    """One half of the film.

    Parameters
    ----------
    tracks : Trajectories
    title : str
    video : Video or None
        What is behind the tracks.
    like : Side, optional
        Same size and scale as this one.
    """

    def __init__(self, tracks: Any, title: str, video: Any, like: Side | None = None) -> None:
        video = None if video is None else video.projected()     # stacks are seen from above
        self.tracks, self.title, self.video = tracks, title, video
        y, x = layers.positions(tracks)
        self.yx = np.column_stack([y, x])
        self.first = int(tracks.frame.min())
        self.low: np.ndarray
        self.zoom: float
        self.shape: tuple[int, int]
        if like is not None:
            self.low, self.zoom, self.shape = like.low, like.zoom, like.shape
        elif video is not None:
            # the centre of the first pixel is (0, 0), so its corner is half a pixel away
            self.low, self.zoom, self.shape = _frame(np.full(2, -0.5), np.asarray(video.shape, float))
        else:
            span = np.ptp(self.yx, axis=0) + 1e-9
            self.low, self.zoom, self.shape = _frame(self.yx.min(axis=0) - 0.05 * span, 1.1 * span)
        self.order = np.argsort(tracks.frame, kind="stable")
        self.frames = tracks.frame[self.order]
        colours = np.array(matplotlib.colormaps["turbo"](np.linspace(0.08, 0.95, 32)))[:, :3]
        self.colours = [tuple(int(255 * v) for v in colour) for colour in colours]
        self.limits = None
        if video is not None:
            few = np.stack([video[i] for i in np.unique(np.linspace(0, len(video) - 1, 3).astype(int))])
            self.limits = tuple(float(v) for v in np.percentile(few, (0.5, 99.9)))

    def picture(self, frame: int, k: int) -> np.ndarray:
        """(H, W, 3) picture of `frame`, the k-th of the film."""
        image = Image.fromarray(self._back(frame))
        draw = ImageDraw.Draw(image)
        at = frame if self.video is not None or self.title == "data" else self.first + k
        for n, (line, here) in enumerate(self._tails(at)):
            colour = self.colours[n * 7 % len(self.colours)]
            if len(line) > 1:
                draw.line([tuple(p) for p in line[:, ::-1]], fill=colour, width=2)
            if here is not None:
                r = 3.5
                draw.ellipse([here[1] - r, here[0] - r, here[1] + r, here[0] + r], outline=colour, width=2)
        self._draw_labels(draw, at)
        return np.asarray(image)

    def _back(self, frame: int) -> np.ndarray:
        if self.video is None or self.limits is None:
            return np.full((*self.shape, 3), 16, np.uint8)
        low, high = self.limits
        grey = np.clip((self.video[frame].astype(float) - low) / max(high - low, 1e-9), 0, 1)
        large = Image.fromarray((255 * grey).astype(np.uint8)).resize((self.shape[1], self.shape[0]),
                                                                      Image.Resampling.BILINEAR)
        return np.repeat(np.asarray(large)[..., None], 3, axis=2)

    def _tails(self, frame: int) -> Any:
        """For every particle near `frame`: its path (n, 2) in pixels of the film, and where it is now or None."""
        a, b = np.searchsorted(self.frames, (frame - TAIL, frame + 1))
        rows = np.sort(self.order[a:b])                   # sorted by particle, then frame
        particle = self.tracks.particle[rows]
        where = (self.yx[rows] - self.low) * self.zoom
        now = self.tracks.frame[rows] == frame
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(particle)) + 1):
            if len(part):
                line = where[part]
                jumps = np.flatnonzero(np.abs(np.diff(line, axis=0)).max(axis=1) > 0.4 * min(self.shape))
                line = line[jumps[-1] + 1:] if len(jumps) else line       # through the edge of a periodic box
                yield line, where[part[-1]] if now[part[-1]] else None

    def _draw_labels(self, draw: ImageDraw.ImageDraw, frame: int) -> None:
        units, font = self.tracks.units, ImageFont.truetype(findfont("DejaVu Sans"), 18)      # it has a µ
        fps = units.frames_per_second
        draw.text((10, 8), self.title, fill=(255, 255, 255), font=font)
        draw.text((self.shape[1] - 10, 8), f"{frame / fps:.2f} s" if fps else f"frame {frame}", fill=(255, 255, 255),
                  font=font, anchor="ra")
        if units.micrometre_per_pixel:
            per = self.zoom / units.micrometre_per_pixel
            length = next((v for v in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1) if v * per < 0.3 * self.shape[1]), 0.1)
            y, x = self.shape[0] - 16, 12
            draw.line([(x, y), (x + length * per, y)], fill=(255, 255, 255), width=4)
            draw.text((x, y - 28), f"{length:g} µm", fill=(255, 255, 255), font=font)


def _frame(low: np.ndarray, span: np.ndarray) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Where the picture starts [px], its magnification, and its size, even for the encoder."""
    zoom = max(1.0, SIZE / float(span.max()))
    zoom = min(zoom, 1600 / float(span.max())) if span.max() > 1600 else zoom
    height, width = (2 * max(8, int(np.ceil(edge * zoom / 2))) for edge in span)
    return low, zoom, (height, width)
