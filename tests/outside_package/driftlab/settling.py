"""A simulator: particles that diffuse and settle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators import Simulator


@dataclass(frozen=True)
class Settling(Simulator):
    """Independent particles in a plane that diffuse and drift: dx = v dt + sqrt(2 D) dW, exact at every frame.

    Parameters
    ----------
    n_particles : int
        Number of particles.
    frames : int
        Number of frames.
    diffusion : float
        Diffusion coefficient D [µm²/s].
    drift : tuple of float
        Settling velocity v along y and x [µm/s].
    frames_per_second : float
        Frame rate [1/s].
    micrometre_per_pixel : float
        Pixel size [µm].
    """

    n_particles: int = 50
    frames: int = 100
    diffusion: float = 0.4
    drift: tuple[float, float] = (2.0, 0.0)
    frames_per_second: float = 50.0
    micrometre_per_pixel: float = 0.1

    def __post_init__(self) -> None:
        if self.n_particles < 1 or self.frames < 2:
            raise ConfigError(f"Settling: {self.n_particles} particles, {self.frames} frames; give at least 1 and 2.")
        if not self.diffusion >= 0:
            raise ConfigError(f"Settling: diffusion = {self.diffusion!r}; give a number of at least 0 in µm²/s.")

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """The trajectories; `info` holds the settings as truth."""
        rng = np.random.default_rng(seed)
        dt = 1.0 / self.frames_per_second
        start = rng.uniform(0.0, 20.0, (1, self.n_particles, 2))
        noise = rng.normal(size=(self.frames - 1, self.n_particles, 2))
        steps = np.asarray(self.drift) * dt + np.sqrt(2 * self.diffusion * dt) * noise
        path = np.concatenate([start, start + np.cumsum(steps, axis=0)])
        progress(self.frames, self.frames, "settling")
        return Trajectories.from_dense(path, Units(self.micrometre_per_pixel, self.frames_per_second),
                                       info={"truth": recipe(self)})

    def true_function(self, name: str, x: np.ndarray) -> np.ndarray | None:
        """The mean squared displacement 4 D t + v² t²."""
        if name != "mean_squared_displacement":
            return None
        return 4 * self.diffusion * x + (np.asarray(self.drift) ** 2).sum() * x**2
