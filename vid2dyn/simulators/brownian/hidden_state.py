"""Particles whose mobility depends on a state that only their image shows.

The planted truth of structural variables: the table of detections carries `state`, and nothing that learns may read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator, TruePositions
from vid2dyn.simulators.camera.observation import observe

_POSITIVE = ("frames_per_second", "diffusion", "diffusion_ratio", "box_length", "micrometre_per_pixel")
_NOT_NEGATIVE = ("switching_rate", "exposure", "localisation_error")


@dataclass(frozen=True)
class HiddenState(Simulator):
    """Free Brownian particles with a hidden state s between 0 and 1: D = diffusion · diffusion_ratio^s.

    Each particle draws its state from the stationary law (1 with probability `share`, else 0; or uniform) and draws
    again at `switching_rate`, so that the autocorrelation of the state is exp(-rate · time) and rate 0 means fixed
    species. States change between frames; within a frame motion is free diffusion, sampled exactly. What the image of
    a state is like, the camera says: `state_width`, `state_brightness`, `state_spot` of `Renderer`.

    Parameters
    ----------
    n_particles : int
        Number of particles.
    frames : int
        Number of frames recorded.
    frames_per_second : float
        Frame rate of the recording [1/s].
    diffusion : float
        Diffusion coefficient of a particle in state 0 [µm²/s].
    diffusion_ratio : float
        Diffusion coefficient in state 1 over that in state 0; with 1 the state does not change the motion.
    share : float
        Probability of state 1 where there are two states.
    continuous : bool
        Whether states are uniform between 0 and 1 rather than either 0 or 1.
    switching_rate : float
        Rate at which a particle draws a new state [1/s]; with 0 it keeps its state.
    box_length : float
        Edge of the periodic box [µm].
    exposure : float
        Time for which the shutter is open in each frame [s]; from 0 to 1/frames_per_second.
    localisation_error : float
        Standard deviation of the noise on each coordinate that `run` adds [µm]; a rendered video has its own noise.
    micrometre_per_pixel : float
        Length of one pixel [µm]; the table of detections is in pixels.

    Raises
    ------
    ConfigError
        For an argument out of range.

    Examples
    --------
    >>> sim = HiddenState(n_particles=400, frames=20, diffusion_ratio=0.25)
    >>> tracks = sim.run(seed=0)
    >>> i, j = tracks.lagged(1)
    >>> slow = tracks.dataframe["state"].to_numpy()[i] == 1
    >>> step = ((tracks.positions[j] - tracks.positions[i])**2).sum(axis=1)
    >>> bool(abs(step[slow].mean() / step[~slow].mean() - 0.25) < 0.02)
    True
    """

    n_particles: int = 60
    frames: int = 200
    frames_per_second: float = 50.0
    diffusion: float = 0.4
    diffusion_ratio: float = 0.3
    share: float = 0.5
    continuous: bool = False
    switching_rate: float = 0.0
    box_length: float = 24.0
    exposure: float = 0.0
    localisation_error: float = 0.0
    micrometre_per_pixel: float = 0.1

    def __post_init__(self) -> None:
        for key, lowest in (("n_particles", 1), ("frames", 1)):
            if getattr(self, key) < lowest or int(getattr(self, key)) != getattr(self, key):
                raise ConfigError(f"HiddenState({key}={getattr(self, key)!r}): give a whole number, 1 or more.")
        for key in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, key)
            if not math.isfinite(value) or value < 0 or (key in _POSITIVE and value == 0):
                raise ConfigError(f"HiddenState({key}={value!r}): it must be {'' if key in _POSITIVE else 'zero or '}"
                                  "positive.")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"HiddenState(share={self.share!r}): a probability lies between 0 and 1.")
        if self.exposure * self.frames_per_second > 1 + 1e-9:
            raise ConfigError(f"HiddenState(exposure={self.exposure:g}): the shutter cannot be open longer than one "
                              f"frame, 1/frames_per_second = {1 / self.frames_per_second:g} s.")

    @property
    def units(self) -> Units:
        """Calibration of the recording."""
        return Units(self.micrometre_per_pixel, self.frames_per_second, self.exposure)

    @property
    def box(self) -> Box:
        """Space the particles live in."""
        return Periodic((self.box_length, self.box_length))

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate and observe: `Trajectories` with a column `state` and `.info["truth"]`."""
        path = self.path(seed, progress=progress)
        assert path.state is not None
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[2])
        return observe(path.positions, path.units, rng, localisation_error=self.localisation_error, box=path.box,
                       info={"source": "simulated", "truth": path.truth}, columns={"state": path.state})

    def path(self, seed: int = 0, parts: int = 1, progress: Progress = silent) -> TruePositions:
        """The true path, with the exposure cut into `parts` (1, 2, 4, 8 or 16 keep the same path)."""
        if parts < 1:
            raise ConfigError(f"parts = {parts}: the exposure has at least one part.")
        motion, change, _ = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        n, pieces = self.n_particles, math.lcm(16, parts)
        positions, middle = np.empty((self.frames, parts, n, 2)), np.empty((self.frames, n, 2))
        state = np.empty((self.frames, n))
        x = motion.uniform(0, self.box_length, (n, 2))
        now = self._draw(change)
        kept = math.exp(-self.switching_rate / self.frames_per_second)
        for frame in range(self.frames):
            if frame:
                now = np.where(change.random(n) < kept, now, self._draw(change))
            state[frame] = now
            D = (self.diffusion * self.diffusion_ratio**now)[:, None]
            h = self.exposure / pieces
            ends = x + np.cumsum(np.sqrt(2 * D * h) * motion.standard_normal((pieces, n, 2)), axis=0)
            starts = np.concatenate([x[None], ends[:-1]])
            # the mean of a Brownian bridge over a step h scatters by 2 D h/12 about the middle of its ends
            mean = 0.5 * (starts + ends) + np.sqrt(D * h / 6) * motion.standard_normal((pieces, n, 2))
            positions[frame] = mean.reshape(parts, -1, n, 2).mean(axis=1)
            middle[frame] = starts[pieces // 2]
            closed = max(1 / self.frames_per_second - self.exposure, 0.0)
            x = ends[-1] + np.sqrt(2 * D * closed) * motion.standard_normal((n, 2))
            progress(frame + 1, self.frames, "simulating")
        return TruePositions(positions, middle, np.zeros_like(middle), self.units, self.box, self._truth(seed),
                             state=state)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) states from the stationary law."""
        u = rng.random(self.n_particles)
        return u if self.continuous else (u < self.share).astype(float)

    def _truth(self, seed: int) -> dict[str, Any]:
        return {"simulator": recipe(self), "seed": seed, "localisation_error": self.localisation_error,
                "diffusion_of_state": [self.diffusion, self.diffusion * self.diffusion_ratio]}
