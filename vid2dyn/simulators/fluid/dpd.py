"""Dissipative particle dynamics: particles with inertia in a bath of one temperature, entropy of no consequence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator


@dataclass(frozen=True)
class DPD(Simulator):
    """Soft particles with pair friction and pair noise at constant temperature (Groot & Warren, JCP 107, 4423, 1997).

        m dv_i = sum_j [a (1 - s) e - gamma (1 - s)² e e·v_ij] dt + sqrt(2 gamma kT) (1 - s) e dW_ij,   s = r/cutoff

    Verlet for the soft force; friction and noise pair by pair with the exact Ornstein-Uhlenbeck process of the
    relative velocity along the line of centres (Shardlow, SIAM J. Sci. Comput. 24, 1267, 2003), in random order. So
    momentum is kept to rounding and the stationary state of the velocities is exact at every time step. Heat goes into
    a bath that is not counted: this is what a learner of entropies must not find one in.

    Parameters
    ----------
    n_particles : int
        Number of particles.
    frames : int
        Number of frames recorded; the first is the start, after `equilibration` frames.
    frames_per_second : float
        Frame rate [1/s].
    substeps : int
        Number of time steps from frame to frame.
    dim : {2, 3}
        Number of space dimensions.
    box_length : float
        Edge of the periodic box [µm], at least 2 cutoffs.
    cutoff : float
        Range of all pair forces [µm].
    mass : float
        Mass of a particle [energy s²/µm²].
    kT : float
        Temperature [energy].
    repulsion : float
        Strength a of the conservative force [energy/µm].
    friction : float
        Strength gamma of the pair friction [energy s/µm²].
    equilibration : int
        Number of frames before the first one recorded.

    Raises
    ------
    ConfigError
        For arguments out of range.

    Examples
    --------
    >>> tracks = DPD(n_particles=60, frames=4, box_length=2.5).run(seed=1)
    >>> tracks.velocities.shape, bool(abs(tracks.velocities.sum()) < 1e-9)
    ((240, 3), True)
    """

    n_particles: int = 300
    frames: int = 300
    frames_per_second: float = 50.0
    substeps: int = 2
    dim: int = 3
    box_length: float = 4.5
    cutoff: float = 1.0
    mass: float = 1.0
    kT: float = 1.0
    repulsion: float = 25.0
    friction: float = 4.5
    equilibration: int = 200

    def __post_init__(self) -> None:
        for key in ("frames_per_second", "box_length", "cutoff", "mass", "kT"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"DPD({key}={value!r}): give a finite positive number.")
        for key in ("repulsion", "friction"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"DPD({key}={value!r}): give a finite number, zero or more.")
        for key, least in (("n_particles", 2), ("frames", 1), ("substeps", 1), ("equilibration", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"DPD({key}={getattr(self, key)!r}): give a whole number, {least} or more.")
        if self.dim not in (2, 3):
            raise ConfigError(f"DPD(dim={self.dim!r}): the fluid has 2 or 3 dimensions.")
        if self.box_length < 2 * self.cutoff:
            raise ConfigError(f"DPD(box_length={self.box_length:g}, cutoff={self.cutoff:g}): the box must hold two "
                              "cutoffs; take a larger box with more particles, or a shorter cutoff.")

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate: `Trajectories` with velocities, positions never wrapped."""
        rng = np.random.default_rng(seed)
        n, dim = self.n_particles, self.dim
        x = rng.uniform(0, self.box_length, (n, dim))
        v = rng.normal(size=(n, dim)) * math.sqrt(self.kT / self.mass)
        v -= v.mean(axis=0)
        position, velocity = np.empty((self.frames, n, dim)), np.empty((self.frames, n, dim))
        dt = 1.0 / (self.frames_per_second * self.substeps)
        total = self.equilibration + self.frames
        for frame in range(total):
            if frame >= self.equilibration:
                position[frame - self.equilibration], velocity[frame - self.equilibration] = x, v
            for _ in range(self.substeps if frame < total - 1 else 0):
                self._step(x, v, dt, rng)
            progress(frame + 1, total, "simulating")
        truth = {"simulator": recipe(self), "seed": seed, "kT": self.kT}
        return Trajectories.from_dense(position, Units(1.0, self.frames_per_second), velocity=velocity,
                                       box=Periodic((self.box_length,) * dim),
                                       info={"source": "simulated", "truth": truth})

    def _step(self, x: np.ndarray, v: np.ndarray, dt: float, rng: np.random.Generator) -> None:
        """Half a drift, half a kick, friction and noise, half a kick, half a drift; in place."""
        x += 0.5 * dt * v
        pairs = self._pairs(x)
        half = 0.5 * dt * self.repulsion / self.mass
        _kick(x, v, pairs, half, self.cutoff, self.box_length)
        rng.shuffle(pairs)
        _apply_friction(x, v, pairs, rng.standard_normal(len(pairs)), 2 * self.friction * dt / self.mass,
                        2 * self.kT / self.mass, self.cutoff, self.box_length)
        _kick(x, v, pairs, half, self.cutoff, self.box_length)
        x += 0.5 * dt * v

    def _pairs(self, x: np.ndarray) -> np.ndarray:
        from scipy.spatial import cKDTree

        tree = cKDTree(x % self.box_length, boxsize=self.box_length * (1 + 1e-15))
        return tree.query_pairs(self.cutoff, output_type="ndarray")


@njit(cache=True)
def _line(x, i, j, edge, e):  # type: ignore[no-untyped-def]
    """Unit vector from j to i into e; returns the distance."""
    r2 = 0.0
    for c in range(x.shape[1]):
        e[c] = x[i, c] - x[j, c]
        e[c] -= edge * np.round(e[c] / edge)
        r2 += e[c] * e[c]
    r = max(np.sqrt(r2), 1e-300)
    for c in range(x.shape[1]):
        e[c] /= r
    return r


@njit(cache=True)
def _kick(x, v, pairs, push, cutoff, edge):  # type: ignore[no-untyped-def]
    e = np.empty(x.shape[1])
    for i, j in pairs:
        s = _line(x, i, j, edge, e) / cutoff
        for c in range(x.shape[1]):
            d = push * max(1.0 - s, 0.0) * e[c]
            v[i, c] += d
            v[j, c] -= d


@njit(cache=True)
def _apply_friction(x, v, pairs, normals, rate, variance, cutoff, edge):  # type: ignore[no-untyped-def]
    """The relative velocity u along e decays by exp(-rate w) and is drawn towards Normal(0, variance)."""
    e = np.empty(x.shape[1])
    for p in range(len(pairs)):
        i, j = pairs[p]
        w = max(1.0 - _line(x, i, j, edge, e) / cutoff, 0.0) ** 2
        u = 0.0
        for c in range(x.shape[1]):
            u += e[c] * (v[i, c] - v[j, c])
        a = np.exp(-rate * w)
        change = 0.5 * ((a - 1.0) * u + np.sqrt(variance * (1.0 - a * a)) * normals[p])
        for c in range(x.shape[1]):
            v[i, c] += change * e[c]
            v[j, c] -= change * e[c]
