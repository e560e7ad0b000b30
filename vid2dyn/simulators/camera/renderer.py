"""Rendered truth: from the paths of particles to the frames of a camera.

    path over the exposure -> spots -> illumination, haze, dirt, flicker -> photons -> camera -> 8 or 16 bit

Frame k depends only on (settings, path, seed, k): frames may be drawn in any order, or again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vid2dyn.core.configurable import Configurable
from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.camera import spots as _spots
from vid2dyn.simulators.camera.spot_layers import KINDS, NO_PROFILE, layers_in_state, spot_layer

_POSITIVE = ("height", "width", "spot_sigma", "subframes", "state_width", "state_brightness")
_NOT_NEGATIVE = ("spot_sigma_scatter", "amplitude_scatter", "background", "flicker", "dirt", "haze", "gain",
                 "read_noise", "fixed_pattern")


@dataclass(frozen=True)
class Renderer(Configurable):
    """Microscope and camera.

    Grey levels: a frame is `gain · Poisson(light/gain) · (1 + fixed pattern) + read_noise · N(0, 1)`,
    rounded and cut to the range of the camera; `light` = (background + spots + haze + dirt) · illumination ·
    flicker is given in grey levels too. The variance of a pixel is gain · light + read_noise² (+ 1/12).

    Parameters
    ----------
    height : int
        Height of a frame [px].
    width : int
        Width of a frame [px].
    spot : {"gaussian", "ring", "disc"}
        Shape of a particle's image: in focus, defocused (bright ring of radius 2 sigma), or large (disc of radius
        2 sigma with a soft edge; an amplitude above the camera's range saturates it).
    spot_sigma : float
        Width sigma of a particle's image [px].
    spot_sigma_scatter : float
        Relative scatter of the width from particle to particle (log-normal).
    amplitude : float
        Brightness of a particle at its centre [grey levels]; a negative one draws dark particles. A Gaussian spot holds
        2π · amplitude · spot_sigma² in all.
    amplitude_scatter : float
        Relative scatter of the amplitude from particle to particle (log-normal).
    background : float
        Brightness where no particle is [grey levels].
    illumination_gradient : float
        Relative change of the illumination from the left edge of the frame to the right.
    flicker : float
        Relative standard deviation of the lamp's brightness from frame to frame.
    dirt : int
        Number of specks of dirt, which do not move.
    haze : float
        Amplitude of a slowly moving cloud of light [grey levels].
    gain : float
        Grey levels per photoelectron; 0 leaves the shot noise out.
    read_noise : float
        Standard deviation of the camera's own noise [grey levels].
    fixed_pattern : float
        Relative standard deviation of the sensitivity from pixel to pixel.
    bit_depth : {8, 16}
        Number of bits of a pixel.
    subframes : int
        Number of points of the motion that are drawn in one exposure, 8 or more.
    state_width : float
        Width of the image of a particle in hidden state 1 over that in state 0 (`HiddenState`).
    state_brightness : float
        Light of a particle in hidden state 1 over that in state 0.
    state_spot : {"same", "gaussian", "ring", "disc"}
        Shape of the image of a particle in hidden state 1, of the same light.

    Raises
    ------
    ConfigError
        For a value out of range.

    Examples
    --------
    >>> scene = Renderer(height=32, width=32, gain=0, read_noise=0, bit_depth=16).scene(seed=0, n_particles=1)
    >>> frame = scene.frame(0, np.full((8, 1, 2), 16.0))
    >>> frame.shape, int(frame.max()), int(frame[0, 0])       # 20 + 100, less what the pixel's area averages away
    ((32, 32), 118, 20)
    """

    height: int = 256
    width: int = 256
    spot: Literal["gaussian", "ring", "disc"] = "gaussian"
    spot_sigma: float = 2.0
    spot_sigma_scatter: float = 0.0
    amplitude: float = 100.0
    amplitude_scatter: float = 0.0
    background: float = 20.0
    illumination_gradient: float = 0.0
    flicker: float = 0.0
    dirt: int = 0
    haze: float = 0.0
    gain: float = 0.5
    read_noise: float = 2.0
    fixed_pattern: float = 0.0
    bit_depth: Literal[8, 16] = 8
    subframes: int = 8
    state_width: float = 1.0
    state_brightness: float = 1.0
    state_spot: Literal["same", "gaussian", "ring", "disc"] = "same"

    def __post_init__(self) -> None:
        for key in (*_POSITIVE, *_NOT_NEGATIVE, "amplitude", "illumination_gradient"):
            value = getattr(self, key)
            if not math.isfinite(value):
                raise ConfigError(f"Renderer({key}={value!r}): give a finite number.")
            if (key in _POSITIVE and value <= 0) or (key in _NOT_NEGATIVE and value < 0):
                raise ConfigError(f"Renderer({key}={value!r}): it must be {'' if key in _POSITIVE else 'zero or '}"
                                  "positive.")
        for key, known in (("spot", tuple(KINDS)), ("state_spot", ("same", *KINDS))):
            if getattr(self, key) not in known:
                raise ConfigError(f"Renderer({key}={getattr(self, key)!r}): known are {', '.join(known)}.")
        if self.bit_depth not in (8, 16):
            raise ConfigError(f"Renderer(bit_depth={self.bit_depth!r}): cameras here have 8 or 16 bit.")
        if self.subframes < 8:
            raise ConfigError(f"Renderer(subframes={self.subframes}): fewer than 8 points of the path make the "
                              "motion blur coarse; give 8 or more.")
        if abs(self.illumination_gradient) >= 2:
            raise ConfigError(f"Renderer(illumination_gradient={self.illumination_gradient:g}): below -2 or above "
                              "2 an edge of the frame would be darker than dark.")

    @property
    def dtype(self) -> str:
        """numpy type of a frame."""
        return f"uint{self.bit_depth}"

    def scene(self, seed: int, n_particles: int) -> Scene:
        """Everything that is drawn once: the particles' widths and brightnesses, dirt, illumination, sensitivity."""
        return Scene(self, seed, n_particles)


class Scene:
    """One field of view with the widths and brightnesses of its particles; `frame` takes a picture of it.

    Parameters
    ----------
    renderer : Renderer
    seed : int
        Seed of widths, brightnesses, dirt, haze and noise.
    n_particles : int
        Particles that may come into view.
    """

    def __init__(self, renderer: Renderer, seed: int, n_particles: int) -> None:
        r = self.renderer = renderer
        self.seed = seed
        spread, dirt, haze, pattern = (np.random.default_rng(s) for s in np.random.SeedSequence((seed, 0)).spawn(4))
        self.sigma = r.spot_sigma * _scatter(spread, r.spot_sigma_scatter, n_particles)
        self.amplitude = r.amplitude * _scatter(spread, r.amplitude_scatter, n_particles)
        self.plain = spot_layer(r.spot, self.sigma, self.amplitude)
        across = (np.arange(r.width) + 0.5) / r.width - 0.5
        self.illumination = 1 + r.illumination_gradient * across[None, :]
        self.dirt = np.zeros((r.height, r.width))
        specks = dirt.uniform((0, 0), (r.height, r.width), (r.dirt, 2))
        brightness = 0.5 * r.amplitude * dirt.uniform(-1, 1, r.dirt)
        width = r.spot_sigma * dirt.uniform(1, 3, r.dirt)
        _spots.draw(self.dirt, specks, width, brightness, _spots.GAUSSIAN, NO_PROFILE)
        self.waves = haze.standard_normal((4, 2)) * 2 * np.pi / min(r.height, r.width)
        self.phases, self.pace = haze.uniform(0, 2 * np.pi, 4), haze.uniform(0.005, 0.02, 4)
        self.sensitivity = 1 + r.fixed_pattern * pattern.standard_normal((r.height, r.width))

    def light(self, index: int, points: np.ndarray, flicker: float = 1.0,
              state: np.ndarray | None = None) -> np.ndarray:
        """Expected light [grey levels] of frame `index`, (height, width) float array.

        Parameters
        ----------
        points : (S, N, 2) array
            Positions of the particles during the exposure [px], axes y, x.
        state : (N,) array, optional
            Hidden states, 0 to 1, of particles that have them.
        """
        r = self.renderer
        canvas = self.dirt + r.background
        layers = [self.plain]
        if state is not None:
            other = r.spot if r.state_spot == "same" else r.state_spot
            layers = layers_in_state(self.plain, state, r.spot, other, r.state_width, r.state_brightness)
        for layer in layers:
            amplitude = layer.amplitude / len(points)
            for part in points:
                _spots.draw(canvas, np.ascontiguousarray(part), layer.sigma, amplitude, layer.kind, layer.profile)
        if r.haze:
            canvas += r.haze * self._cloud(index)
        canvas *= self.illumination * flicker
        return np.maximum(canvas, 0.0, out=canvas)

    def frame(self, index: int, points: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """Frame `index` as the camera gives it, (height, width) of the renderer's type; see `light`."""
        r = self.renderer
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 1, index)))
        image = self.light(index, points, max(1 + r.flicker * rng.standard_normal(), 0.0), state)
        if r.gain:
            image = r.gain * rng.poisson(image / r.gain)
        if r.fixed_pattern:
            image = image * self.sensitivity
        if r.read_noise:
            image = image + r.read_noise * rng.standard_normal(image.shape)
        return np.clip(np.rint(image), 0, 2**r.bit_depth - 1).astype(r.dtype)

    def _cloud(self, index: int) -> np.ndarray:
        """Smooth field between 0 and 1 that changes over some hundred frames."""
        y = np.arange(self.renderer.height)[:, None]
        x = np.arange(self.renderer.width)[None, :]
        total = np.zeros((self.renderer.height, self.renderer.width))
        for wave, phase, pace in zip(self.waves, self.phases, self.pace):
            total += np.cos(wave[0] * y + wave[1] * x + phase + pace * index)
        return 0.5 + total / 8


def _scatter(rng: np.random.Generator, relative: float, n: int) -> np.ndarray:
    """Log-normal factors of mean 1 and relative standard deviation `relative`."""
    spread = math.sqrt(math.log1p(relative**2))
    return np.exp(spread * rng.standard_normal(n) - 0.5 * spread**2)
