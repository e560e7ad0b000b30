"""A simulated path as a video whose truth is known, drawn on demand or written to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.simulators.base import TruePositions
from vid2dyn.simulators.camera.movie_files import write_movie
from vid2dyn.simulators.camera.observation import observe
from vid2dyn.simulators.camera.renderer import Renderer
from vid2dyn.simulators.camera.stack_renderer import RenderedStacks, StackRenderer


def render(source: Any, renderer: Renderer | StackRenderer | None = None, seed: int = 0, *,
           to: str | os.PathLike[str] | None = None, codec: str | None = None, crf: int | None = None,
           progress: Progress = silent) -> RenderedVideo | RenderedStacks:
    """A simulation as a video.

    Parameters
    ----------
    source : Simulator or TruePositions
        A simulator with a `path` method (`Brownian`), which is run with `seed`, or its path. Two dimensions,
        three for a `StackRenderer`.
        In a periodic box the frame must not be larger than the box; leave a margin of some spot widths.
    renderer : Renderer or StackRenderer, optional
        Microscope and camera; default 256 x 256 px.
    seed : int
        Of the simulation and of the picture.
    to : path, optional
        Also write the movie and its truth: see `RenderedVideo.save`.
    codec, crf : optional
        Passed to `RenderedVideo.save`.

    Returns
    -------
    RenderedVideo
        Frames drawn when asked for; `.truth` holds the detections a perfect tracker would make.

    Raises
    ------
    ConfigError
        When the path is not two-dimensional or the frame does not fit into the periodic box.

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian
    >>> video = render(Brownian(n_particles=30, frames=5, exposure=0.01), Renderer(height=64, width=80), seed=3)
    >>> len(video), video[4].shape, video.truth.field_of_view
    (5, (64, 80), (64.0, 80.0))
    """
    renderer = renderer or Renderer()
    if not isinstance(source, TruePositions):
        if not hasattr(source, "path"):
            raise ConfigError(f"render({type(source).__name__}): only simulators with a method path(seed, parts) can "
                              "be drawn, such as Brownian; or give simulators.TruePositions.")
        source = source.path(seed, parts=renderer.subframes, progress=progress)
    video = RenderedVideo(source, renderer, seed) if isinstance(renderer, Renderer) else renderer.video(source, seed)
    if to is not None:
        video.save(to, codec=codec, crf=crf, progress=progress)
    return video


class RenderedVideo(Video):
    """Frames of a simulated path, each drawn when it is asked for, the same at every call.

    Parameters
    ----------
    path : simulators.TruePositions
        Where the particles were, two-dimensional.
    renderer : Renderer
        Microscope and camera; it looks at the middle of the box, or of the particles at the start.
    seed : int
        Seed of the particles' widths and brightnesses, and of the noise.
    """

    def __init__(self, path: TruePositions, renderer: Renderer, seed: int = 0) -> None:
        frames, _, n, dim = path.positions.shape
        if dim != 2:
            raise ConfigError(f"The path has {dim} dimensions; the renderer draws 2 (give Brownian(dim=2)).")
        super().__init__(VideoInfo(Path(f"rendered-{seed}"), frames, renderer.height, renderer.width,
                                   renderer.dtype, path.units, codec="raw", inter_coded=False))
        self.simulated, self.renderer, self.seed = path, renderer, seed
        self.corner = _corner(path, renderer)
        self._scene = renderer.scene(seed, n)

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames start, ..., stop - 1, drawn in order, one held at a time."""
        state = self.simulated.state
        for k in range(start, stop):
            yield self._scene.frame(k, self.points(k), None if state is None else state[k])

    def points(self, index: int) -> np.ndarray:
        """(S, N, 2) positions [px] in the frame's axes during the exposure of frame `index`."""
        moments = self.simulated.positions[index]
        inside = (moments if self.units.exposure else moments[:1]) - self.corner    # a flash needs one picture
        shift = self._shift(inside.mean(axis=0))
        return (inside + shift) / self.units.um

    @property
    def truth(self) -> Trajectories:
        """What a perfect tracker would find: exposure-averaged positions inside the frame [px].

        Further columns: `simulated` (number in the simulation; `particle` changes when one leaves and
        returns), `y_middle, x_middle` (position at mid-exposure [px]), `force_y, force_x` (force there
        [kT/µm]), `state` of particles with a hidden one, and the columns of the
        path. `.info["truth"]` holds the parameters of simulation
        and camera.
        """
        path, um = self.simulated, self.units.um
        shift = self._shift(path.mean - self.corner)
        middle = (path.middle - self.corner + shift) / um
        number = np.broadcast_to(np.arange(path.middle.shape[1]), path.middle.shape[:2])
        columns = {"simulated": number, "y_middle": middle[..., 0], "x_middle": middle[..., 1],
                   "force_y": path.forces[..., 0], "force_x": path.forces[..., 1]}
        if path.state is not None:
            columns["state"] = path.state
        columns |= path.columns
        info = {"source": "rendered", "inter_coded": False, "codec": "raw",
                "truth": {**path.truth, "renderer": recipe(self.renderer), "render_seed": self.seed,
                          "corner_um": self.corner.tolist()}}
        return observe(path.mean - self.corner, self.units, np.random.default_rng(0), box=path.box, info=info,
                       field_of_view=(self.renderer.height, self.renderer.width), columns=columns)

    def save(self, path: str | os.PathLike[str], codec: str | None = None, crf: int | None = None,
             progress: Progress = silent) -> Path:
        """Write the movie, and its truth beside it as `<name>.truth.parquet`; each whole or not at all.

        Parameters
        ----------
        path : path
            `.tif` (OME-TIFF, zlib, with calibration), `.avi`, `.mkv` or `.mp4`.
        codec : str, optional
            "ffv1" (lossless, default of .avi and .mkv), "mjpeg" or "h264" (default of .mp4) for movies.
        crf : int, optional
            Quality of h264: 0 lossless, 18 good, 28 coarse.

        Raises
        ------
        ConfigError
            For an unknown suffix or codec, or one that cannot hold this size or depth.
        """
        target = write_movie(self, path, codec=codec, crf=crf, progress=progress)
        name = target.name.removesuffix(target.suffix).removesuffix(".ome")
        self.truth.save(target.with_name(f"{name}.truth.parquet"))
        return target

    def _shift(self, x: np.ndarray) -> np.ndarray:
        """Periodic shift that brings each particle nearest to the middle of the frame."""
        middle = 0.5 * (np.array(self.shape) - 1) * self.units.um
        return middle + self.simulated.box.displacement(x, np.broadcast_to(middle, x.shape)) - x


def _corner(path: TruePositions, renderer: Renderer) -> np.ndarray:
    """Where the centre of the first pixel lies in the simulation [µm]."""
    size = np.array([renderer.height, renderer.width]) * path.units.um
    box: Box = path.box
    if isinstance(box, Periodic):
        room = np.array(box.lengths)
        if (size > room + 1e-9).any():
            raise ConfigError(f"A frame of {size[0]:g} x {size[1]:g} µm does not fit into the periodic box of "
                              f"{room[0]:g} x {room[1]:g} µm: particles would be seen twice. Give a longer "
                              "box_length, fewer pixels or a smaller micrometre_per_pixel.")
        centre = 0.5 * room
    else:
        assert isinstance(box, Free)
        centre = path.middle[0].mean(axis=0) if path.centre is None else np.array(path.centre)
    return centre - 0.5 * size + 0.5 * path.units.um
