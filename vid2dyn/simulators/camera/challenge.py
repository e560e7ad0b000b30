"""A family of recordings that trackers are compared on: three kinds of motion, three densities, four signal levels.

Re-created after the particle tracking challenge (Chenouard et al., Nature Methods 11, 281 (2014)): Brownian
particles (its vesicles), particles that keep their direction (its microtubule ends), and particles that switch between
the two (its receptors), which appear and vanish everywhere in the field, in Poisson noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator, TruePositions
from vid2dyn.simulators.camera.observation import observe
from vid2dyn.simulators.camera.renderer import Renderer

SCENARIOS = ("brownian", "directed", "switching")
DENSITIES = {"low": 100, "mid": 500, "high": 1000}
"""Particles in view of 512 x 512 px."""
SNRS = (1, 2, 4, 7)
_MARGIN = 24                      # px around the frame in which particles live too
_BACKGROUND = 10.0                # photons in a pixel


@dataclass(frozen=True)
class TrackingChallenge(Simulator):
    """Particles that appear, move and vanish, for scores of linking; lengths in pixels, times in frames.

    Every particle lives for a geometric number of frames and is replaced by a new one somewhere else. Per frame,
    a Brownian one moves by N(0, step²) along each axis; a directed one by `speed` along its direction, which turns
    by N(0, turn²), plus N(0, (step/4)²); a switching one changes between the two with probability `switch`.

    Parameters
    ----------
    scenario : {"brownian", "directed", "switching"}
        Kind of motion of the particles.
    density : {"low", "mid", "high"}
        Number of particles in a frame of 512 x 512 px: 100, 500 or 1,000.
    frames : int
        Number of frames recorded.
    height : int
        Height of a frame [px].
    width : int
        Width of a frame [px].
    step : float
        Standard deviation of a Brownian displacement along an axis [px per frame].
    speed : float
        Speed of directed motion [px per frame].
    turn : float
        Standard deviation of the change of direction [rad per frame].
    switch : float
        Probability that a particle changes its kind of motion in a frame.
    lifetime : float
        Mean number of frames for which a particle exists.

    Raises
    ------
    ConfigError
        For an unknown scenario or density, or a number out of range.

    Examples
    --------
    >>> sim = TrackingChallenge("directed", "low", frames=10)
    >>> tracks = sim.run(seed=0)
    >>> 70 < len(tracks) / 10 < 130, tracks.field_of_view
    (True, (512.0, 512.0))
    >>> from vid2dyn.simulators import render
    >>> video = render(sim, sim.camera(snr=4), seed=0)
    >>> len(video), video.shape
    (10, (512, 512))
    """

    scenario: Literal["brownian", "directed", "switching"] = "brownian"
    density: Literal["low", "mid", "high"] = "mid"
    frames: int = 100
    height: int = 512
    width: int = 512
    step: float = 2.0
    speed: float = 4.0
    turn: float = 0.1
    switch: float = 0.05
    lifetime: float = 40.0

    def __post_init__(self) -> None:
        for key, known in (("scenario", SCENARIOS), ("density", tuple(DENSITIES))):
            if getattr(self, key) not in known:
                raise ConfigError(f"TrackingChallenge({key}={getattr(self, key)!r}): known are {', '.join(known)}.")
        for key, lowest in (("frames", 1), ("height", 16), ("width", 16), ("lifetime", 1)):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) >= lowest):
                raise ConfigError(f"TrackingChallenge({key}={getattr(self, key)!r}): give at least {lowest}.")
        for key in ("step", "speed", "turn"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) >= 0):
                raise ConfigError(f"TrackingChallenge({key}={getattr(self, key)!r}): give 0 or more.")
        if not 0 <= self.switch <= 1:
            raise ConfigError(f"TrackingChallenge(switch={self.switch!r}): a probability lies between 0 and 1.")

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """What a perfect tracker would find: every particle in view in every frame, without noise."""
        path = self.path(seed, progress=progress)
        corner = np.array(path.centre) - 0.5 * (np.array([self.height, self.width]) - 1)
        return observe(path.middle - corner, path.units, np.random.default_rng(0),
                       field_of_view=(self.height, self.width), info={"source": "simulated", "truth": path.truth})

    def path(self, seed: int = 0, parts: int = 1, progress: Progress = silent) -> TruePositions:
        """The true path, a flash in each frame; NaN before a particle appears and after it has vanished."""
        rng = np.random.default_rng(seed)
        size = np.array([self.height + 2.0 * _MARGIN, self.width + 2.0 * _MARGIN])
        n = max(round(DENSITIES[self.density] * size[0] * size[1] / 512**2), 1)
        lives = _lives(rng, n, self.frames, self.lifetime)
        places = np.full((self.frames, len(lives), 2), np.nan)
        position = rng.uniform(0, size, (len(lives), 2))
        angle = rng.uniform(0, 2 * np.pi, len(lives))
        directed = rng.uniform(size=len(lives)) < {"brownian": 0.0, "directed": 1.0, "switching": 0.5}[self.scenario]
        for k in range(self.frames):
            alive = (lives[:, 0] <= k) & (k < lives[:, 1])
            places[k, alive] = position[alive]
            if self.scenario == "switching":
                directed ^= rng.uniform(size=len(lives)) < self.switch
            angle += self.turn * rng.standard_normal(len(lives))
            along = self.speed * np.stack([np.sin(angle), np.cos(angle)], axis=1)
            shake = self.step * np.where(directed, 0.25, 1.0)[:, None] * rng.standard_normal((len(lives), 2))
            position[alive] += (shake + directed[:, None] * along)[alive]
            progress(k + 1, self.frames, "simulating")
        whole = np.broadcast_to(places[:, None], (self.frames, parts, len(lives), 2))
        return TruePositions(whole, places, np.zeros_like(places), Units(1.0, 10.0, 0.0), truth=self._truth(seed),
                    centre=(0.5 * (size[0] - 1), 0.5 * (size[1] - 1)))

    def camera(self, snr: float = 4.0, spot_sigma: float = 2.0) -> Renderer:
        """A camera that counts photons, at (peak - background)/sqrt(peak) = `snr`, as the challenge defines it."""
        if not snr > 0:
            raise ConfigError(f"snr = {snr!r}: give a positive ratio; the challenge has {', '.join(map(str, SNRS))}.")
        amplitude = 0.5 * (snr**2 + math.sqrt(snr**4 + 4 * snr**2 * _BACKGROUND))
        return Renderer(height=self.height, width=self.width, spot_sigma=spot_sigma, amplitude=amplitude,
                        background=_BACKGROUND, gain=1.0, read_noise=0.0)

    def _truth(self, seed: int) -> dict[str, Any]:
        return {"simulator": recipe(self), "seed": seed}


def _lives(rng: np.random.Generator, n: int, frames: int, lifetime: float) -> np.ndarray:
    """(lives, 2) first frame and the one after the last: `n` at any time, each followed by another."""
    spans = []
    for _ in range(n):
        begin = 0
        while begin < frames:                          # lifetimes have no memory: the first is as long as any
            end = begin + int(rng.geometric(1 / lifetime))
            spans.append((begin, end))
            begin = end
    return np.array(spans)
