"""Colloids that break one assumption of a Brownian model at a time: what an instrument has to notice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator
from vid2dyn.simulators.brownian.departing_motion import advance
from vid2dyn.simulators.brownian.equilibrate import lattice, metropolis
from vid2dyn.simulators.brownian.pair_base import no_pair_table
from vid2dyn.simulators.brownian.pair_potentials import AnalyticPairPotential
from vid2dyn.simulators.camera.observation import observe

_SWEEPS = 1500
_NOT_NEGATIVE = ("swim_speed", "rotational_diffusion", "size_spread", "gravity", "well_barrier", "missing",
                 "swap_probability", "correlated_errors", "trap_stiffness", "exposure", "localisation_error",
                 "equilibration")
_SHARES = ("second_share", "stuck_share", "missing", "swap_probability", "correlated_errors")


@dataclass(frozen=True)
class Departures(Simulator):
    """Colloids in a plane, with faults: drift, flows, swimming, mixtures, odd forces, missing detections, swaps.

    dx = D F dt + sqrt(2 D dt) N(0, 1) by Euler-Maruyama, with F from pairs, traps and the faults below; without a fault
    it is `Brownian` by a simpler scheme. Every fault is off by default, so that each can be tried alone.

    Parameters
    ----------
    n_particles, frames : int
        Number of particles, and of frames recorded.
    frames_per_second : float
        Frame rate of the recording [1/s].
    diffusion : float
        Diffusion coefficient D of a single particle [µm²/s].
    pair : AnalyticPairPotential, optional
        Pair potential of the particles.
    box_length : float or None
        Edge of the periodic box [µm]; None or inf: unbounded space.
    spacing : float
        Distance of the starting places of particles in unbounded space [µm].
    trap : {"none", "shared", "each"}
        Kind of harmonic trap.
    trap_stiffness : float
        Stiffness of the traps [kT/µm²].
    exposure, localisation_error : float
        Time for which the shutter is open [s], and standard deviation of the noise on each coordinate [µm].
    stated_exposure : float, optional
        Exposure that the recording states where that is wrong [s].
    substeps : int
        Time steps per frame.
    equilibration : float
        Time before the first frame [s].
    drift : float
        Speed of the stage along the second axis [µm/s]: everything moves in the picture, traps too.
    drift_period : float, optional
        Period of a stage that swings, with `drift` as its largest speed [s]; by default it moves on.
    shear_rate : float
        Flow along the second axis, so fast at one µm along the first [1/s].
    circulation : float
        Force that turns particles around the centre of their trap [kT/µm²].
    swim_speed, rotational_diffusion : float
        Speed of particles that propel themselves [µm/s], and how fast they turn [1/s].
    transverse : float
        Pair force across the line of centres over that along it.
    second_share, second_diffusion, second_strength : float
        Share of particles of a second kind, their D over that of the first, and how strongly they feel pair forces (the
        force of a pair is multiplied by that of both).
    stuck_share : float
        Share of particles that do not move.
    size_spread : float
        Relative standard deviation of the sizes of the particles: D of each is inversely proportional to its size.
    size_exponent : float
        How the logarithm of the strength with which a particle feels pair forces grows with its relative size; for
        Yukawa forces half the diameter over the screening length.
    diffusion_gradient : float
        D is 1 + gradient · sin(2π y/L) times as large at y (L: the box, or the extent of the start).
    aligned : float
        D along the second axis over that along the first.
    gravity : float
        Force towards a soft wall at y = 0 [kT/µm].
    well_barrier, well_place : float
        Barrier [kT] of a double well along the second axis, and where its minima are [µm].
    hurst : float
        Exponent of fractional Brownian motion, for particles without forces; 0.5 is free diffusion.
    missing : float
        Probability that a detection is missing; the particle keeps its number.
    broken_tracks : bool
        Whether a particle gets a new number after every gap.
    swap_probability : float
        Probability, per particle and frame, that it changes its number with that of its nearest neighbour.
    correlated_errors : float
        Correlation of the localisation errors of successive frames.

    Examples
    --------
    >>> tracks = Departures(n_particles=20, frames=30, drift=1.0).run(seed=0)
    >>> tracks.n_particles, tracks.info["truth"]["simulator"]["drift"]
    (20, 1.0)
    """

    n_particles: int = 200
    frames: int = 300
    frames_per_second: float = 100.0
    diffusion: float = 0.4
    pair: AnalyticPairPotential | None = None
    box_length: float | None = 22.4
    spacing: float = 2.0
    trap: Literal["none", "shared", "each"] = "none"
    trap_stiffness: float = 0.0
    exposure: float = 0.0
    localisation_error: float = 0.02
    stated_exposure: float | None = None
    substeps: int = 12
    equilibration: float = 0.3
    drift: float = 0.0
    drift_period: float | None = None
    shear_rate: float = 0.0
    circulation: float = 0.0
    swim_speed: float = 0.0
    rotational_diffusion: float = 1.0
    transverse: float = 0.0
    second_share: float = 0.0
    second_diffusion: float = 1.0
    second_strength: float = 1.0
    stuck_share: float = 0.0
    size_spread: float = 0.0
    size_exponent: float = 1.67
    diffusion_gradient: float = 0.0
    aligned: float = 1.0
    gravity: float = 0.0
    well_barrier: float = 0.0
    well_place: float = 0.3
    hurst: float = 0.5
    missing: float = 0.0
    broken_tracks: bool = False
    swap_probability: float = 0.0
    correlated_errors: float = 0.0

    def __post_init__(self) -> None:
        if self.box_length is not None and math.isinf(self.box_length):
            object.__setattr__(self, "box_length", None)
        if self.n_particles < 1 or self.frames < 1 or self.substeps < 1:
            raise ConfigError("Departures: n_particles, frames and substeps are whole numbers of at least 1.")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"Departures({name}={getattr(self, name)!r}): it must be zero or positive.")
        for name in _SHARES:
            if not getattr(self, name) <= 1:
                raise ConfigError(f"Departures({name}={getattr(self, name)!r}): it is a share, at most 1.")
        if (self.trap == "none") != (self.trap_stiffness == 0):
            raise ConfigError("Departures: give both a kind of trap and its stiffness, or neither.")
        if not 0 < self.hurst < 1 or (self.hurst != 0.5 and (self.pair is not None or self.trap != "none")):
            raise ConfigError(f"Departures(hurst={self.hurst!r}): between 0 and 1, and for free particles only.")
        if self.exposure * self.frames_per_second > 1 + 1e-9:
            raise ConfigError(f"Departures(exposure={self.exposure:g}): longer than a frame.")

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate and observe: `Trajectories` with the truth in `.info["truth"]`."""
        motion, camera, faults = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        path = self._fractional(motion) if self.hurst != 0.5 else self._path(motion, progress)
        if self.drift and self.drift_period is not None:
            t = np.arange(self.frames) / self.frames_per_second
            path[:, :, 1] += (self.drift * self.drift_period / (2 * np.pi)
                              * np.sin(2 * np.pi * t / self.drift_period))[:, None]
        elif self.drift:
            path[:, :, 1] += self.drift * np.arange(self.frames)[:, None] / self.frames_per_second
        path = self._swapped(path, faults)
        noise = self.localisation_error * _correlated(camera, path.shape, self.correlated_errors)
        stated = self.exposure if self.stated_exposure is None else self.stated_exposure
        units = Units(0.1, self.frames_per_second, stated)
        box = Free() if self.box_length is None or self.shear_rate else Periodic((self.box_length,) * 2)
        info = {"source": "simulated", "truth": self._truth(seed)}
        tracks = observe(path + noise, units, faults, gap_probability=self.missing, box=box, info=info)
        stderr = self.localisation_error / units.um
        table = tracks.dataframe.assign(y_std=stderr, x_std=stderr)
        if self.broken_tracks:
            new = np.r_[True, (np.diff(table["particle"]) != 0) | (np.diff(table["frame"]) != 1)]
            table = table.assign(particle=np.cumsum(new) - 1)
        return tracks.replace(dataframe=table)

    def _path(self, rng: np.random.Generator, progress: Progress) -> np.ndarray:
        """(frames, n, 2) mean positions during the exposures [µm], before the stage moves."""
        n = self.n_particles
        strength, D = self._kinds(rng)
        length = self.box_length or 0.0
        x, centres, extent = self._start(rng)
        pair = no_pair_table() if self.pair is None else self.pair.table()
        table = (pair.start, pair.per_length, pair.cutoff, pair.force)
        fault = (self.trap_stiffness, self.circulation, self.transverse, self.gravity, 200.0 if self.gravity else 0.0,
                 self.well_barrier, self.well_place)
        flow = (0.0, self.shear_rate, self.swim_speed, self.rotational_diffusion)
        noise = (self.diffusion_gradient, extent, self.aligned)
        h = 1 / self.frames_per_second / self.substeps
        opened = round(self.exposure * self.frames_per_second * self.substeps)
        angle = rng.uniform(0, 2 * np.pi, n)
        path, unrecorded = np.empty((self.frames, n, 2)), np.empty((n, 2))
        before = math.ceil(self.equilibration * self.frames_per_second)
        for frame in range(-before, self.frames):
            advance(x, angle, rng, D, h, self.substeps, opened, centres, length, table, strength, fault, flow, noise,
                    unrecorded if frame < 0 else path[frame])
            progress(frame + before + 1, before + self.frames, "simulating")
        return path

    def _kinds(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Strength of pair forces and D of every particle."""
        n = self.n_particles
        larger = np.clip(self.size_spread * rng.standard_normal(n), -0.6, 0.6)
        strength = np.exp(self.size_exponent * larger)
        second = rng.permutation(n) < round(self.second_share * n)
        stuck = rng.permutation(n) < round(self.stuck_share * n)
        D = self.diffusion / (1 + larger) * np.where(second, self.second_diffusion, 1.0) * ~stuck
        return strength * np.where(second, self.second_strength, 1.0), D

    def _start(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """Starting places, centres of traps, and how far they extend [µm]."""
        n = self.n_particles
        length = self.box_length or self.spacing * math.ceil(round(n**0.5, 9))
        x, spacing = lattice(n, 2, length)
        centres = x.copy() if self.trap == "each" else np.full_like(x, 0.5 * length)
        if self.trap != "none":
            return centres + rng.standard_normal(x.shape) / math.sqrt(self.trap_stiffness), centres, length
        if self.box_length is None:
            return x + 0.02 * spacing * rng.uniform(-1, 1, x.shape), centres, length
        if self.pair is None:
            return rng.uniform(0, length, x.shape), centres, length
        pair = self.pair.table()
        metropolis(x, rng, _SWEEPS, spacing / 4, np.full(2, length), (pair.start, pair.per_length, pair.cutoff,
        pair.energy),
                   0.0, centres)
        return x, centres, length

    def _fractional(self, rng: np.random.Generator) -> np.ndarray:
        """(frames, n, 2) fractional Brownian motion with the MSD of free diffusion after one frame, by its spectrum.

        Davies and Harte, Biometrika 74, 95 (1987).
        """
        lag = np.arange(self.frames + 1, dtype=float)
        two = 2 * self.hurst
        covariance = 0.5 * ((lag + 1) ** two - 2 * lag**two + np.abs(lag - 1) ** two)
        spectrum = np.fft.fft(np.r_[covariance, covariance[-2:0:-1]]).real.clip(min=0.0)
        size = len(spectrum)
        parts = rng.standard_normal((2, size, 2 * self.n_particles))
        draw = parts[0] + 1j * parts[1]
        steps = np.fft.fft(np.sqrt(spectrum / size)[:, None] * draw, axis=0).real[: self.frames]
        steps *= math.sqrt(2 * self.diffusion / self.frames_per_second)
        start, _, _ = self._start(rng)
        return start + np.cumsum(steps, axis=0).reshape(self.frames, self.n_particles, 2)

    def _swapped(self, path: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The path with identities exchanged between nearest neighbours now and then, for good."""
        if self.swap_probability == 0:
            return path
        out, order = path.copy(), np.arange(self.n_particles)
        for frame in range(self.frames):
            for i in np.flatnonzero(rng.random(self.n_particles) < 0.5 * self.swap_probability):
                apart = ((path[frame] - path[frame, i]) ** 2).sum(axis=1)
                apart[i] = np.inf
                j = int(np.argmin(apart))
                a, b = int(np.flatnonzero(order == i)[0]), int(np.flatnonzero(order == j)[0])
                order[a], order[b] = order[b], order[a]
            out[frame] = path[frame, order]
        return out

    def _truth(self, seed: int) -> dict[str, Any]:
        return {"simulator": recipe(self), "seed": seed, "diffusion": self.diffusion,
                "pair": None if self.pair is None else recipe(self.pair), "trap_stiffness": self.trap_stiffness,
                "localisation_error": self.localisation_error}


def _correlated(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> np.ndarray:
    """Standard normal numbers, correlated from frame to frame (first order autoregression)."""
    out = rng.standard_normal(shape)
    for k in range(1, shape[0] if correlation else 1):
        out[k] = correlation * out[k - 1] + math.sqrt(1 - correlation**2) * out[k]
    return out
