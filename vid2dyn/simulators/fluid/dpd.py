"""Dissipative particle dynamics: particles with inertia in a bath of one temperature, entropy of no consequence."""

from __future__ import annotations

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

    A mixture has `species`, to which particles belong in turn; mass is then given for each, and repulsion and friction
    for each pair of them.

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
    mass : float or tuple of float
        Mass of a particle [energy s²/µm²]; one number for all, or one for each species.
    kT : float
        Temperature [energy].
    repulsion : float or tuple of float
        Strength a of the conservative force [energy/µm]; one number for all pairs, or one for each pair of species in
        the order AA, AB, ..., BB, ...
    friction : float or tuple of float
        Strength gamma of the pair friction [energy s/µm²]; one number for all pairs, or one for each pair of species in
        the order AA, AB, ..., BB, ...
    equilibration : int
        Number of frames before the first one recorded.
    species : tuple of str
        Names of the species of a mixture, written into the column "species" of the table; particles belong to them in
        turn. Empty: all particles are alike.

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
    mass: float | tuple[float, ...] = 1.0
    kT: float = 1.0
    repulsion: float | tuple[float, ...] = 25.0
    friction: float | tuple[float, ...] = 4.5
    equilibration: int = 200
    species: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "species", tuple(self.species))
        sorts = max(1, len(self.species))
        for key, several in (("mass", sorts), ("repulsion", sorts * (sorts + 1) // 2),
                             ("friction", sorts * (sorts + 1) // 2)):
            value = getattr(self, key)
            if not isinstance(value, int | float):
                object.__setattr__(self, key, tuple(float(one) for one in value))
                if len(value) != several:
                    raise ConfigError(f"DPD({key}={value!r}): give one number, or {several} for {sorts} species.")
        if len(set(self.species)) != len(self.species):
            raise ConfigError(f"DPD(species={self.species!r}): give each species a name of its own.")
        for key in ("frames_per_second", "box_length", "cutoff", "mass", "kT"):
            value = getattr(self, key)
            if not (np.isfinite(value).all() and np.min(value) > 0):
                raise ConfigError(f"DPD({key}={value!r}): give a finite positive number.")
        for key in ("repulsion", "friction"):
            value = getattr(self, key)
            if not (np.isfinite(value).all() and np.min(value) >= 0):
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
        of = np.arange(n) % max(1, len(self.species))
        mass = np.broadcast_to(np.asarray(self.mass, float), (max(1, len(self.species)),))[of]
        v = rng.normal(size=(n, dim)) * np.sqrt(self.kT / mass)[:, None]
        v -= (mass[:, None] * v).sum(axis=0) / mass.sum()
        position, velocity = np.empty((self.frames, n, dim)), np.empty((self.frames, n, dim))
        dt = 1.0 / (self.frames_per_second * self.substeps)
        total = self.equilibration + self.frames
        for frame in range(total):
            if frame >= self.equilibration:
                position[frame - self.equilibration], velocity[frame - self.equilibration] = x, v
            for _ in range(self.substeps if frame < total - 1 else 0):
                self._step(x, v, of, mass, dt, rng)
            progress(frame + 1, total, "simulating")
        truth = {"simulator": recipe(self), "seed": seed, "kT": self.kT}
        made = Trajectories.from_dense(position, Units(1.0, self.frames_per_second), velocity=velocity,
                                       box=Periodic((self.box_length,) * dim),
                                       info={"source": "simulated", "truth": truth})
        if not self.species:
            return made
        names = np.array(self.species, dtype=object)[of]
        return made.replace(dataframe=made.dataframe.assign(species=names[made.particle]))

    def true_function(self, name: str, x: np.ndarray) -> np.ndarray | None:
        """Pair potential a cutoff (1 - s)²/2, its force, and friction gamma (1 - s)² along the line of centres; not of
        mixtures, where they differ between pairs of species."""
        if self.species:
            return None
        s = np.clip(1.0 - np.asarray(x, float) / self.cutoff, 0.0, None)
        known = {"pair_potential": 0.5 * np.max(self.repulsion) * self.cutoff * s**2,
                 "pair_force": np.max(self.repulsion) * s,
                 "pair_friction_along": np.max(self.friction) * s**2, "pair_friction_across": 0.0 * s}
        return known.get(name)

    def _between(self, values: float | tuple[float, ...]) -> np.ndarray:
        """A number of every pair of species as a symmetric table."""
        sorts = max(1, len(self.species))
        rows, columns = np.triu_indices(sorts)
        out = np.empty((sorts, sorts))
        out[rows, columns] = values
        out[columns, rows] = values
        return out

    def _step(self, x: np.ndarray, v: np.ndarray, of: np.ndarray, mass: np.ndarray, dt: float,
              rng: np.random.Generator) -> None:
        """Half a drift, half a kick, friction and noise, half a kick, half a drift; in place."""
        x += 0.5 * dt * v
        pairs = self._pairs(x)
        half = 0.5 * dt * self._between(self.repulsion)
        _kick(x, v, of, mass, pairs, half, self.cutoff, self.box_length)
        rng.shuffle(pairs)
        _apply_friction(x, v, of, mass, pairs, rng.standard_normal(len(pairs)), dt * self._between(self.friction),
                        self.kT, self.cutoff, self.box_length)
        _kick(x, v, of, mass, pairs, half, self.cutoff, self.box_length)
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
def _kick(x, v, of, mass, pairs, push, cutoff, edge):  # type: ignore[no-untyped-def]
    e = np.empty(x.shape[1])
    for i, j in pairs:
        s = _line(x, i, j, edge, e) / cutoff
        for c in range(x.shape[1]):
            d = push[of[i], of[j]] * max(1.0 - s, 0.0) * e[c]
            v[i, c] += d / mass[i]
            v[j, c] -= d / mass[j]


@njit(cache=True)
def _apply_friction(x, v, of, mass, pairs, normals, drag, kT, cutoff, edge):  # type: ignore[no-untyped-def]
    """The relative velocity u along e decays by exp(-drag w/μ) and turns to Normal(0, kT/μ), μ the reduced mass."""
    e = np.empty(x.shape[1])
    for p in range(len(pairs)):
        i, j = pairs[p]
        w = max(1.0 - _line(x, i, j, edge, e) / cutoff, 0.0) ** 2
        u = 0.0
        for c in range(x.shape[1]):
            u += e[c] * (v[i, c] - v[j, c])
        reduced = mass[i] * mass[j] / (mass[i] + mass[j])
        a = np.exp(-drag[of[i], of[j]] / reduced * w)
        change = reduced * ((a - 1.0) * u + np.sqrt(kT / reduced * (1.0 - a * a)) * normals[p])
        for c in range(x.shape[1]):
            v[i, c] += change / mass[i] * e[c]
            v[j, c] -= change / mass[j] * e[c]
