"""A driven viscoelastic sheet: nodes joined by springs and dashpots whose strength falls with their reference length.

    m dv_i = sum_j [-k(R_ij) (r_ij - R_ij) - c(R_ij) e_ij·v_ij] e_ij dt,    T dS_i = 1/2 sum_j c(R_ij) (e_ij·v_ij)² dt

R_ij is the distance of two nodes when the sheet was made, r_ij the one now, e_ij the unit vector from j to i. Springs
and dashpots act along the line of centres and know lengths alone, so the sheet is frame indifferent: a sheet that is
turned round moves as before, turned round. Two edges are held: they follow a path whatever it costs, and the work that
they do is either stored or becomes heat. The published sheet (Hernandez et al., arXiv 2508.12569) is one such drive.

Solved by the classical method of Runge and Kutta, with work and heat as variables of their own, so that energy put in
less energy stored and dissipated measures the error of the step: it falls with the fourth power of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Free
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator, TruePositions

BOTTOM, TOP = 1, 2
"""What the column "held" says of nodes of the two driven edges; 0 is a free node."""


class _Motion(NamedTuple):
    """Of every frame position, velocity, heat and net force of the nodes; their edges; what is known."""

    position: np.ndarray
    velocity: np.ndarray
    heat: np.ndarray
    force: np.ndarray
    edge: np.ndarray
    truth: dict[str, Any]


@dataclass(frozen=True)
class ViscoelasticSheet(Simulator):
    """A square sheet of springs and dashpots between two edges that are moved against each other.

    Every node is joined to those that lie within `cutoff` when the sheet is at rest. With s = R/cutoff the spring has
    the stiffness k(R) = stiffness (1 - s²)², the dashpot the friction c(R) = friction (1 - s)²: both end smoothly. The
    column "held" of the table is 1 on the bottom edge, 2 on the top edge, 0 elsewhere; "entropy" is the heat of a node
    divided by the temperature.

    Parameters
    ----------
    nodes : int
        Number of nodes along an edge; the sheet has its square.
    size : float
        Edge of the sheet [µm].
    jitter : float
        How far nodes lie from a square grid, uniform along either axis, in units of its spacing; 0 is a grid, and up to
        0.3 keeps nodes apart. Nodes of the held edges stay on the edge.
    cutoff : float
        Longest bond [µm].
    stiffness : float
        Stiffness of a spring whose length goes to zero [energy/µm²].
    friction : float
        Friction of a dashpot whose length goes to zero [energy s/µm²].
    mass : float
        Mass of a node [energy s²/µm²].
    temperature : float
        Temperature T of the sheet [energy], which divides heat to give entropy; nothing else depends on it.
    drive : {"triangle", "sine", "none"}
        How the edges move. "triangle": rest, out with constant speed, back with constant speed, rest, as published.
        "sine": rest, then periods of a sine. "none": they stay where they are.
    direction : {"shear", "stretch"}
        Along the edges in opposite directions, or away from each other.
    strain : float
        Relative displacement of the edges at its largest, over the edge of the sheet. Each edge does half of it.
    rest_frames, out_frames, back_frames : int
        Number of frames before the motion, on the way out, and on the way back; a period of the sine is out and back
        together.
    start_velocity : float
        Standard deviation of the velocities of the free nodes along each axis at the start [µm/s].
    held : bool
        Whether the two edges are held. If not, the sheet is free and the drive has no effect.
    position_noise : float
        Standard deviation of the error of recorded positions along each axis [µm].
    velocity_noise : float
        Standard deviation of the error of recorded velocities along each axis [µm/s].
    frames : int
        Number of frames recorded.
    frames_per_second : float
        Frame rate [1/s].
    substeps : int
        Number of time steps from frame to frame.
    micrometre_per_pixel : float
        Length of a pixel [µm]. The distance of nodes is 0.07 µm by default; a movie of it needs pixels of about 0.01
        µm.

    Raises
    ------
    ConfigError
        For arguments out of range, and a time step that is too long for the springs and dashpots.

    Examples
    --------
    >>> tracks = ViscoelasticSheet(nodes=6, cutoff=0.9, frames=3).run(seed=1)
    >>> tracks.n_particles, sorted(set(tracks.dataframe["held"]))
    (36, [0, 1, 2])
    """

    nodes: int = 29
    size: float = 2.0
    jitter: float = 0.0
    cutoff: float = 0.15
    stiffness: float = 2000.0
    friction: float = 200.0
    mass: float = 1.0
    temperature: float = 1.0
    drive: Literal["triangle", "sine", "none"] = "triangle"
    direction: Literal["shear", "stretch"] = "shear"
    strain: float = 0.25
    rest_frames: int = 80
    out_frames: int = 405
    back_frames: int = 400
    start_velocity: float = 0.0
    held: bool = True
    position_noise: float = 0.0
    velocity_noise: float = 0.0
    frames: int = 985
    frames_per_second: float = 100.0
    substeps: int = 10
    micrometre_per_pixel: float = 1.0

    def __post_init__(self) -> None:
        who = "ViscoelasticSheet"
        for key in ("size", "cutoff", "stiffness", "mass", "temperature", "frames_per_second",
                    "micrometre_per_pixel"):
            value = getattr(self, key)
            if not (np.isfinite(value) and value > 0):
                raise ConfigError(f"{who}({key}={value!r}): give a finite positive number.")
        for key in ("friction", "start_velocity", "position_noise", "velocity_noise"):
            value = getattr(self, key)
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{who}({key}={value!r}): give a finite number, zero or more.")
        for key, least in (("nodes", 3), ("frames", 1), ("substeps", 1), ("rest_frames", 0), ("out_frames", 1),
                           ("back_frames", 1)):
            if getattr(self, key) < least:
                raise ConfigError(f"{who}({key}={getattr(self, key)!r}): give a whole number, {least} or more.")
        for key, words in (("drive", ("triangle", "sine", "none")), ("direction", ("shear", "stretch"))):
            if getattr(self, key) not in words:
                raise ConfigError(f"{who}({key}={getattr(self, key)!r}): choose from {', '.join(words)}.")
        if not 0 <= self.jitter <= 0.3:
            raise ConfigError(f"{who}(jitter={self.jitter!r}): give a number from 0 to 0.3, else nodes may meet.")
        if not (np.isfinite(self.strain) and abs(self.strain) < 1):
            raise ConfigError(f"{who}(strain={self.strain!r}): give a number between -1 and 1.")
        spacing = self.size / (self.nodes - 1)
        if not 1.5 * spacing <= self.cutoff <= 0.5 * self.size:
            raise ConfigError(f"{who}(cutoff={self.cutoff:g}): give 1.5 spacings of the nodes ({1.5 * spacing:.3g} µm) "
                              f"or more, so that bonds join diagonals, and at most half the sheet.")
        fastest = self._fastest()
        most = 2.5 * self.frames_per_second * self.substeps
        if fastest > most:
            raise ConfigError(f"{who}: with substeps={self.substeps} a step of "
                              f"{1 / (self.frames_per_second * self.substeps):.3g} s is too long for bonds that relax "
                              f"or swing at {fastest:.3g}/s; give substeps={int(self.substeps * fastest / most) + 1}.")

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate: `Trajectories` with velocities, entropy and the column "held".

        ``info["truth"]`` holds the settings, "bonds" (k and c at all lengths that occur, or 64 of them), the moduli
        "shear_modulus" and "bulk_modulus" [energy/µm²] and the viscosities [energy s/µm²] of the affine sheet, and of
        every frame "boundary_stress" (traction on the top edge along y and x [energy/µm²]) and "energy" (work, stored,
        kinetic, heat).
        """
        rng, made = np.random.default_rng([seed, 1]), self._moved(seed, progress)
        position = made.position + rng.normal(size=made.position.shape) * self.position_noise
        velocity = made.velocity + rng.normal(size=made.velocity.shape) * self.velocity_noise
        tracks = Trajectories.from_dense(position, self._units, velocity=velocity,
                                         entropy=made.heat / self.temperature, box=Free(),
                                         info={"source": "simulated", "truth": made.truth})
        return tracks.replace(dataframe=tracks.dataframe.assign(held=made.edge[tracks.particle]))

    def path(self, seed: int = 0, parts: int = 8, progress: Progress = silent) -> TruePositions:
        """True positions under a flash in every frame, for a camera; nodes are numbered as in `run`."""
        made = self._moved(seed, progress)
        still = np.repeat(made.position[:, None], parts, axis=1)
        return TruePositions(still, made.position, made.force, self._units, truth=made.truth, centre=(0.0, 0.0))

    @property
    def _units(self) -> Units:
        return Units(self.micrometre_per_pixel, self.frames_per_second)

    def _moved(self, seed: int, progress: Progress) -> _Motion:
        """The motion itself, without errors of a record."""
        rng = np.random.default_rng(seed)
        X, edge = self._at_rest(rng)
        first, second, R, k, c = bonds = self._bonds(X)
        pattern = self._pattern(edge)
        x, v = X.copy(), rng.normal(size=X.shape) * self.start_velocity
        v[edge > 0] = 0.0
        heat, work = np.zeros(len(X)), np.zeros(1)
        dt = 1.0 / (self.frames_per_second * self.substeps)
        position, velocity = np.empty((2, self.frames, *X.shape))
        forces, warmth = np.empty((self.frames, *X.shape)), np.empty((self.frames, len(X)))
        account, stress = np.empty((self.frames, 4)), np.empty((self.frames, 2))
        for frame in range(self.frames):
            if frame:
                u, du = self._path(frame - 1)
                _advance(x, v, heat, work, X, pattern, edge, first, second, R, k, c, self.mass, dt, u, du)
            force = np.empty_like(x)
            _forces(x, v, first, second, R, k, c, force, np.empty(len(x)))
            position[frame], velocity[frame], warmth[frame], forces[frame] = x, v, heat, force
            kinetic = 0.5 * self.mass * float((v[edge == 0] ** 2).sum())
            account[frame] = work[0], _stored(x, first, second, R, k), kinetic, heat.sum()
            stress[frame] = -force[edge == TOP].sum(axis=0) / self.size
            progress(frame + 1, self.frames, "simulating")
        truth = self._truth(X, bonds, seed) | {
            "boundary_stress": stress.tolist(),
            "energy": {name: account[:, k].tolist() for k, name in enumerate(("work", "stored", "kinetic", "heat"))}}
        return _Motion(position, velocity, warmth, forces, edge, truth)

    def true_function(self, name: str, x: np.ndarray) -> np.ndarray | None:
        """Stiffness k(R) and friction c(R) of a bond of the reference length R."""
        known = {"bond_stiffness": self._stiffness, "bond_friction": self._friction}
        return known[name](np.asarray(x, float)) if name in known else None

    # ---------------------------------------------------------------- the sheet

    def _stiffness(self, R: np.ndarray) -> np.ndarray:
        return self.stiffness * np.clip(1.0 - (R / self.cutoff) ** 2, 0.0, None) ** 2

    def _friction(self, R: np.ndarray) -> np.ndarray:
        return self.friction * np.clip(1.0 - R / self.cutoff, 0.0, None) ** 2

    def _at_rest(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Places of the nodes (n, 2), axes (y, x), about the origin, and the edge that each belongs to."""
        line = np.linspace(-0.5 * self.size, 0.5 * self.size, self.nodes)
        X = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        row = np.repeat(np.arange(self.nodes), self.nodes)
        ends = (row == 0) | (row == self.nodes - 1)
        away = rng.uniform(-1, 1, X.shape) * self.jitter * self.size / (self.nodes - 1)
        away[ends, 0] = 0.0
        edge = np.where(row == 0, BOTTOM, np.where(row == self.nodes - 1, TOP, 0)) if self.held else np.zeros_like(row)
        return X + away, edge.astype(np.int64)

    def _bonds(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        """Ends, reference length, stiffness and friction of every bond."""
        from scipy.spatial import cKDTree

        pairs = cKDTree(X).query_pairs(self.cutoff, output_type="ndarray")
        pairs = pairs[np.lexsort(pairs.T[::-1])].astype(np.int64)
        first, second = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        R = np.linalg.norm(X[first] - X[second], axis=1)
        return first, second, R, self._stiffness(R), self._friction(R)

    def _pattern(self, edge: np.ndarray) -> np.ndarray:
        """How far each node goes (y, x) when the strain is one; the bottom is at low y."""
        axis = 0 if self.direction == "stretch" else 1
        out = np.zeros((len(edge), 2))
        out[edge == BOTTOM, axis], out[edge == TOP, axis] = -0.5 * self.size, 0.5 * self.size
        return out

    def _path(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Strain and its rate [1/s] at the beginning, middle and end of every step after a frame, (substeps, 3) each.

        A triangle turns at frames, so within a step its rate is one number.
        """
        t = frame + (np.arange(self.substeps)[:, None] + np.array([0.0, 0.5, 1.0])) / self.substeps
        since = t - self.rest_frames
        if self.drive == "none" or frame < self.rest_frames:
            return np.zeros_like(t), np.zeros_like(t)
        if self.drive == "sine":
            turn = 2 * np.pi / (self.out_frames + self.back_frames)
            return (self.strain * np.sin(turn * since),
                    self.strain * turn * self.frames_per_second * np.cos(turn * since))
        if frame < self.rest_frames + self.out_frames:
            rate = self.strain / self.out_frames
            return rate * since, np.full_like(t, rate * self.frames_per_second)
        if frame < self.rest_frames + self.out_frames + self.back_frames:
            rate = self.strain / self.back_frames
            left = self.out_frames + self.back_frames - since
            return rate * left, np.full_like(t, -rate * self.frames_per_second)
        return np.zeros_like(t), np.zeros_like(t)

    def _fastest(self) -> float:
        """Largest rate at which something relaxes or swings [1/s], of a node in the middle of a grid (Gershgorin)."""
        spacing = self.size / (self.nodes - 1)
        reach = int(self.cutoff / spacing) + 1
        y, x = np.meshgrid(*2 * (spacing * np.arange(-reach, reach + 1),), indexing="ij")
        R = np.hypot(y, x)
        inside = (R > 0) & (self.cutoff > R)
        along = np.where(inside, (y**2 + np.abs(x * y)) / np.where(inside, R, 1.0) ** 2, 0.0)
        swing = np.sqrt(2 * (self._stiffness(R) * along).sum() / self.mass)
        relax = 2 * (self._friction(R) * along).sum() / self.mass
        return float(max(swing, relax))

    def _truth(self, X: np.ndarray, bonds: tuple[np.ndarray, ...], seed: int) -> dict[str, Any]:
        """Settings and what theory says of them.

        An affine strain changes the length of a bond along n by R n·ε n, so the energy of an area has the moduli
        C_abcd = sum k R² n_a n_b n_c n_d / area (Born & Huang, 1954, §11), of which the shear modulus is C_yxyx and the
        bulk modulus (C_yyyy + C_xxxx + 2 C_yyxx)/4; friction in place of stiffness gives viscosities. Each bond counts
        half to both of its ends, and nodes further than the cutoff from all edges stand for the sheet. On a grid the
        motion is affine because every node is a centre of inversion; with jitter these are upper bounds.
        """
        first, second, R, k, c = bonds
        lengths = np.unique(np.round(R, 9)) if self.jitter == 0 else np.linspace(R.min(), self.cutoff, 64)
        inside = (np.abs(X) < 0.5 * self.size - self.cutoff).all(axis=1)
        share = 0.5 * (inside[first].astype(float) + inside[second])
        area = max(int(inside.sum()), 1) * (self.size / (self.nodes - 1)) ** 2
        n = (X[first] - X[second]) / R[:, None]
        shear, bulk = R**2 * n[:, 0] ** 2 * n[:, 1] ** 2, R**2 / 4
        found = {"shear_modulus": k * shear, "bulk_modulus": k * bulk, "shear_viscosity": c * shear,
                 "bulk_viscosity": c * bulk}
        return {"simulator": recipe(self), "seed": seed, "temperature": self.temperature,
                "bonds": {"R0": lengths.tolist(), "k": self._stiffness(lengths).tolist(),
                          "c": self._friction(lengths).tolist()},
                **{name: float((share * each).sum() / area) if inside.any() else None for name, each in found.items()}}


@njit(cache=True)
def _forces(x, v, first, second, R, k, c, force, heating):  # type: ignore[no-untyped-def]
    """Force on every node and the heat that it gets, half of that of each of its dashpots."""
    force[:] = 0.0
    heating[:] = 0.0
    for b in range(len(first)):
        i, j = first[b], second[b]
        dy, dx = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1]
        r = np.sqrt(dy * dy + dx * dx)
        dy, dx = dy / r, dx / r
        u = dy * (v[i, 0] - v[j, 0]) + dx * (v[i, 1] - v[j, 1])
        f = -k[b] * (r - R[b]) - c[b] * u
        force[i, 0] += f * dy
        force[i, 1] += f * dx
        force[j, 0] -= f * dy
        force[j, 1] -= f * dx
        q = 0.5 * c[b] * u * u
        heating[i] += q
        heating[j] += q


@njit(cache=True)
def _stored(x, first, second, R, k):  # type: ignore[no-untyped-def]
    """Energy of the springs."""
    total = 0.0
    for b in range(len(first)):
        i, j = first[b], second[b]
        stretch = np.sqrt((x[i, 0] - x[j, 0]) ** 2 + (x[i, 1] - x[j, 1]) ** 2) - R[b]
        total += 0.5 * k[b] * stretch * stretch
    return total


@njit(cache=True)
def _advance(x, v, heat, work, X, pattern, edge, first, second, R, k, c, mass, dt, u, du):  # type: ignore[no-untyped-def]
    """Steps of Runge and Kutta from one frame to the next, in place; held nodes are where the path says."""
    n = len(x)
    share = np.array([1.0, 2.0, 2.0, 1.0]) * dt / 6.0
    ahead = np.array([0.0, 0.5, 0.5, 1.0]) * dt
    place = np.array([0, 1, 1, 2])
    force, heating = np.empty_like(x), np.empty(n)
    xs, vs, x0, v0 = np.empty_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x)
    dx, dv = np.zeros_like(x), np.zeros_like(x)
    for step in range(len(u)):
        copy_rows(x, x0)
        copy_rows(v, v0)
        for stage in range(4):
            at = place[stage]
            for i in range(n):
                for a in range(2):
                    if edge[i] > 0:
                        xs[i, a] = X[i, a] + u[step, at] * pattern[i, a]
                        vs[i, a] = du[step, at] * pattern[i, a]
                    else:
                        xs[i, a] = x0[i, a] + ahead[stage] * dx[i, a]
                        vs[i, a] = v0[i, a] + ahead[stage] * dv[i, a]
            _forces(xs, vs, first, second, R, k, c, force, heating)
            for i in range(n):
                heat[i] += share[stage] * heating[i]
                for a in range(2):
                    if edge[i] > 0:
                        work[0] -= share[stage] * force[i, a] * vs[i, a]
                    else:
                        dx[i, a] = vs[i, a]
                        dv[i, a] = force[i, a] / mass
                        x[i, a] += share[stage] * dx[i, a]
                        v[i, a] += share[stage] * dv[i, a]
        for i in range(n):
            if edge[i] > 0:
                for a in range(2):
                    x[i, a] = X[i, a] + u[step, 2] * pattern[i, a]
                    v[i, a] = du[step, 2] * pattern[i, a]
