"""Rendered truth in three dimensions: from the paths of particles to stacks of planes.

    path over the exposure -> spots, blurred along z -> photons -> camera -> 8 or 16 bit

Stack k depends only on (settings, path, seed, k). All planes of a stack are taken at the same time: the model of a
microscope that scans the depth much faster than particles move.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numba import njit

from vid2dyn.core.config import recipe
from vid2dyn.core.configurable import Configurable
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.simulators.base import TruePositions
from vid2dyn.simulators.camera.movie_files import write_movie
from vid2dyn.simulators.camera.observation import observe

_REACH = 5.0   # widths around the centre that are drawn: the Gaussian has fallen to 4e-6 there
_POSITIVE = ("planes", "height", "width", "micrometre_per_plane", "spot_sigma", "axial_sigma", "subframes")
_NOT_NEGATIVE = ("amplitude", "amplitude_scatter", "background", "gain", "read_noise")


@dataclass(frozen=True)
class StackRenderer(Configurable):
    """Microscope and camera that take stacks of planes.

    Grey levels: a voxel is `gain · Poisson(light/gain) + read_noise · N(0, 1)`, rounded and cut to the range of the
    camera; `light` = background + spots. A spot is a Gaussian, integrated over the pixels of a plane and sampled at
    the depths of the planes, as planes are optical sections without thickness.

    Parameters
    ----------
    planes : int
        Number of planes of a stack.
    height : int
        Height of a plane [px].
    width : int
        Width of a plane [px].
    micrometre_per_plane : float
        Distance of neighbouring planes [µm].
    spot_sigma : float
        Width sigma of a particle's image within a plane [px].
    axial_sigma : float
        Width sigma of a particle's image along the depth [planes].
    amplitude : float
        Brightness of a particle at its centre [grey levels].
    amplitude_scatter : float
        Relative scatter of the amplitude from particle to particle (log-normal).
    background : float
        Brightness where no particle is [grey levels].
    gain : float
        Grey levels per photoelectron; 0 leaves the shot noise out.
    read_noise : float
        Standard deviation of the camera's own noise [grey levels].
    bit_depth : {8, 16}
        Number of bits of a voxel.
    subframes : int
        Number of points of the motion that are drawn in one exposure, 8 or more.

    Raises
    ------
    ConfigError
        For a value out of range.

    Examples
    --------
    >>> stack = StackRenderer(planes=16, height=32, width=32, gain=0, read_noise=0).scene(seed=0, n_particles=1)
    >>> image = stack.frame(0, np.array([[[16.0, 16.0, 8.0]]]))           # y, x [px], z [planes]
    >>> image.shape, int(image.max()), int(image[0, 0, 0])               # 20 + 100, less what a pixel averages away
    ((16, 32, 32), 118, 20)
    """

    planes: int = 32
    height: int = 128
    width: int = 128
    micrometre_per_plane: float = 0.2
    spot_sigma: float = 2.0
    axial_sigma: float = 2.0
    amplitude: float = 100.0
    amplitude_scatter: float = 0.0
    background: float = 20.0
    gain: float = 0.5
    read_noise: float = 2.0
    bit_depth: Literal[8, 16] = 8
    subframes: int = 8

    def __post_init__(self) -> None:
        for key in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, key)
            if not math.isfinite(value) or value < 0 or (key in _POSITIVE and value == 0):
                raise ConfigError(f"StackRenderer({key}={value!r}): it must be "
                                  f"{'' if key in _POSITIVE else 'zero or '}positive.")
        if self.bit_depth not in (8, 16):
            raise ConfigError(f"StackRenderer(bit_depth={self.bit_depth!r}): cameras here have 8 or 16 bit.")
        if self.subframes < 8:
            raise ConfigError(f"StackRenderer(subframes={self.subframes}): fewer than 8 points of the path make the "
                              "motion blur coarse; give 8 or more.")

    @property
    def dtype(self) -> str:
        """numpy type of a voxel."""
        return f"uint{self.bit_depth}"

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Planes, height and width."""
        return self.planes, self.height, self.width

    def scene(self, seed: int, n_particles: int) -> StackScene:
        """What is drawn once: the brightnesses of the particles."""
        return StackScene(self, seed, n_particles)

    def video(self, path: TruePositions, seed: int) -> RenderedStacks:
        """The recording of a path; see `vid2dyn.simulators.render`."""
        return RenderedStacks(path, self, seed)


class StackScene:
    """The brightnesses of the particles; `frame` takes a stack of them."""

    def __init__(self, renderer: StackRenderer, seed: int, n_particles: int) -> None:
        self.renderer, self.seed = renderer, seed
        spread = math.sqrt(math.log1p(renderer.amplitude_scatter**2))
        normal = np.random.default_rng(np.random.SeedSequence((seed, 0))).standard_normal(n_particles)
        self.amplitude = renderer.amplitude * np.exp(spread * normal - 0.5 * spread**2)

    def light(self, points: np.ndarray) -> np.ndarray:
        """Expected light [grey levels], (planes, height, width).

        Parameters
        ----------
        points : (S, N, 3) array
            Positions during the exposure: y, x [px] and z [planes].
        """
        r = self.renderer
        canvas = np.full(r.voxels, float(r.background))
        for part in points:
            _draw(canvas, np.ascontiguousarray(part, dtype=float), r.spot_sigma, r.axial_sigma,
                  self.amplitude / len(points))
        return canvas

    def frame(self, index: int, points: np.ndarray) -> np.ndarray:
        """Stack `index` as the camera gives it, (planes, height, width) of the renderer's type."""
        r = self.renderer
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 1, index)))
        image = self.light(points)
        if r.gain:
            image = r.gain * rng.poisson(image / r.gain)
        if r.read_noise:
            image = image + r.read_noise * rng.standard_normal(image.shape)
        return np.clip(np.rint(image), 0, 2**r.bit_depth - 1).astype(r.dtype)


class RenderedStacks(Video):
    """Stacks of a simulated path, each drawn when it is asked for, the same at every call.

    Parameters
    ----------
    path : simulators.TruePositions
        Where the particles were, in three dimensions.
    renderer : StackRenderer
        Microscope and camera; it looks at the middle of the box, or of the particles at the start.
    seed : int
        Seed of the particles' brightnesses and of the noise.
    """

    def __init__(self, path: TruePositions, renderer: StackRenderer, seed: int = 0) -> None:
        frames, _, n, dim = path.positions.shape
        if dim != 3:
            raise ConfigError(f"The path has {dim} dimensions; a stack shows 3 (give Brownian(dim=3)).")
        units = path.units.replace(micrometre_per_plane=renderer.micrometre_per_plane)
        super().__init__(VideoInfo(Path(f"rendered-{seed}"), frames, renderer.height, renderer.width, renderer.dtype,
                                   units, codec="raw", inter_coded=False, planes=renderer.planes))
        self.simulated, self.renderer, self.seed = path, renderer, seed
        self._voxel = np.array([units.um, units.um, renderer.micrometre_per_plane])
        self._size = np.array([renderer.height, renderer.width, renderer.planes])
        self.corner = self._corner()
        self._scene = renderer.scene(seed, n)

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Stacks start, ..., stop - 1, drawn in order, one held at a time."""
        for k in range(start, stop):
            yield self._scene.frame(k, self.points(k))

    def points(self, index: int) -> np.ndarray:
        """(S, N, 3) positions y, x [px], z [planes] during the exposure of stack `index`."""
        moments = self.simulated.positions[index]
        inside = (moments if self.units.exposure else moments[:1]) - self.corner    # a flash needs one picture
        return (inside + self._shift(inside.mean(axis=0))) / self._voxel

    @property
    def truth(self) -> Trajectories:
        """What a perfect tracker would find: exposure-averaged positions inside the stack, all axes in pixels.

        Further columns: `simulated` (number in the simulation; `particle` changes when one leaves and returns) and
        those of the path. ``.info["truth"]`` holds the parameters of simulation and camera.
        """
        path = self.simulated
        number = np.broadcast_to(np.arange(path.middle.shape[1]), path.middle.shape[:2])
        info = {"source": "rendered", "inter_coded": False, "codec": "raw",
                "truth": {**path.truth, "renderer": recipe(self.renderer), "render_seed": self.seed,
                          "corner_um": self.corner.tolist()}}
        return observe(path.mean - self.corner, self.units, np.random.default_rng(0), box=path.box, info=info,
                       field_of_view=tuple((self._size * self._voxel / self.units.um).tolist()),
                       columns={"simulated": number, **path.columns})

    def save(self, path: str | os.PathLike[str], progress: Progress = silent, **codec: Any) -> Path:
        """Write the stacks as OME-TIFF (axes TZYX, with calibration), and their truth as `<name>.truth.parquet`."""
        target = Path(path)
        if target.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"{target}: stacks are written as .tif.")
        write_movie(self, target, progress=progress, **codec)
        name = target.name.removesuffix(target.suffix).removesuffix(".ome")
        self.truth.save(target.with_name(f"{name}.truth.parquet"))
        return target

    def _corner(self) -> np.ndarray:
        """Where the centre of the first voxel lies in the simulation [µm]."""
        size, box = self._size * self._voxel, self.simulated.box
        if isinstance(box, Periodic):
            if (size > np.array(box.lengths) + 1e-9).any():
                raise ConfigError(f"A stack of {' x '.join(f'{edge:g}' for edge in size)} µm (y, x, z) does not fit "
                                  f"into the periodic box of {box.lengths} µm: particles would be seen twice. Give a "
                                  "longer box_length, fewer pixels or planes.")
            centre = 0.5 * np.array(box.lengths)
        else:
            given = self.simulated.centre
            centre = self.simulated.middle[0].mean(axis=0) if given is None else np.array(given)
        return centre - 0.5 * size + 0.5 * self._voxel

    def _shift(self, x: np.ndarray) -> np.ndarray:
        """Periodic shift that brings each particle nearest to the middle of the stack."""
        middle = 0.5 * (self._size - 1) * self._voxel
        return middle + self.simulated.box.displacement(x, np.broadcast_to(middle, x.shape)) - x


@njit(cache=True)
def _draw(canvas, points, sigma, axial, amplitude):
    """Add spots at `points` (N, 3) (y, x [px], z [planes]) of `amplitude` (N,) to `canvas` (planes, height, width).

    Integrated over the area of the pixels, sampled along z; NaN points are left out, spots over the edge are cut.
    """
    planes, height, width = canvas.shape
    along_y, along_x = np.empty(int(2 * _REACH * sigma) + 3), np.empty(int(2 * _REACH * sigma) + 3)
    reach, deep, scale = _REACH * sigma, _REACH * axial, 1 / (math.sqrt(2.0) * sigma)
    per_pixel = sigma * math.sqrt(0.5 * math.pi)
    for i in range(points.shape[0]):
        y, x, z = points[i, 0], points[i, 1], points[i, 2]
        if not (-reach < y < height + reach and -reach < x < width + reach and -deep < z < planes + deep):
            continue
        y0, y1 = max(math.ceil(y - reach), 0), min(math.floor(y + reach), height - 1)
        x0, x1 = max(math.ceil(x - reach), 0), min(math.floor(x + reach), width - 1)
        z0, z1 = max(math.ceil(z - deep), 0), min(math.floor(z + deep), planes - 1)
        for a in range(y0, y1 + 1):
            along_y[a - y0] = per_pixel * (math.erf((a + 0.5 - y) * scale) - math.erf((a - 0.5 - y) * scale))
        for b in range(x0, x1 + 1):
            along_x[b - x0] = per_pixel * (math.erf((b + 0.5 - x) * scale) - math.erf((b - 0.5 - x) * scale))
        for c in range(z0, z1 + 1):
            depth = (c - z) / axial
            level = amplitude[i] * math.exp(-0.5 * depth * depth)
            for a in range(y0, y1 + 1):
                row = level * along_y[a - y0]
                for b in range(x0, x1 + 1):
                    canvas[c, a, b] += row * along_x[b - x0]
