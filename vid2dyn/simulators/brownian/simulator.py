"""Brownian colloids: overdamped Langevin dynamics as a camera sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vid2dyn.core.config import recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.simulators.base import Simulator, TruePositions
from vid2dyn.simulators.brownian.checks import check_ranges, check_space, check_trap
from vid2dyn.simulators.brownian.equilibrate import lattice, metropolis
from vid2dyn.simulators.brownian.forces import ForceField, FrameAverages, advance_frame
from vid2dyn.simulators.brownian.pair_base import no_pair_table
from vid2dyn.simulators.brownian.pair_potentials import AnalyticPairPotential
from vid2dyn.simulators.camera.observation import observe

Schedule = tuple[int, float, int, float]

_STEP = 0.05       # relaxation per step of the stiffest pair or trap: the Heun scheme then errs by 0.06 %
_SWEEPS = 2000     # Monte Carlo sweeps before the dynamics
_SPACING = 2.0     # µm between starting places where nothing else says


@dataclass(frozen=True)
class Brownian(Simulator):
    """Colloids in a solvent, with pair forces, traps and hydrodynamic coupling.

    dx = D F dt + sqrt(2 D dt) N(0, 1), F = -grad(pair energies + trap energies) in kT/µm, by the
    stochastic Heun scheme; with `hydrodynamic_radius`, D becomes the Rotne-Prager matrix. Particles start on
    a lattice, are brought to the Boltzmann distribution by Monte Carlo where one exists (a box or traps),
    and then move for `equilibration`. What is returned went through `observation.observe`.

    Parameters
    ----------
    n_particles : int
        Number of particles.
    frames : int
        Number of frames recorded.
    frames_per_second : float
        Frame rate of the recording [1/s].
    diffusion : float
        Diffusion coefficient D of a single particle [µm²/s].
    dim : {1, 2, 3}
        Number of dimensions of space.
    pair : AnalyticPairPotential, optional
        Pair potential of the particles, such as Yukawa; by default they do not interact.
    box_length : float or None
        Edge of the periodic box [µm]; None or inf stands for unbounded space. The default holds 200 particles in two
        dimensions at a mean spacing of 2 µm.
    trap : {"none", "shared", "each"}
        Kind of harmonic trap: none, one for all particles at the middle ("shared"), or one for each particle on a
        lattice ("each").
    trap_stiffness : float
        Stiffness of the traps [kT/µm²].
    hydrodynamic_radius : float, optional
        Hydrodynamic radius of the particles [µm]: they are then coupled through the solvent, in unbounded space only
        (dense: up to about 500 particles). By default the coupling is left out.
    substeps : int, optional
        Least number of time steps per frame. By default each step is at most 5 % of the relaxation time 1/(2 D U'') of
        the stiffest pair or 1/(D k) of the trap; the variance of a trapped particle is then 0.06 % low. A multiple of
        16 steps falls into the exposure.
    equilibration : float, optional
        Time for which the dynamics runs before the first frame [s]; by default that of 10 frames.
    exposure : float
        Time for which the shutter is open in each frame [s]; from 0 to 1/frames_per_second.
    localisation_error : float
        Standard deviation of the noise on each coordinate [µm].
    localisation_scatter : float
        Relative scatter of the localisation error from particle to particle (log-normal).
    gap_probability : float
        Probability that a detection is missing.
    micrometre_per_pixel : float
        Length of one pixel [µm]; the table of detections is in pixels.

    Raises
    ------
    ConfigError
        At construction, for arguments out of range: exposure longer than a frame, a box shorter than
        twice the cutoff, particles too dense to place.

    Examples
    --------
    >>> sim = Brownian(n_particles=50, frames=20, trap="each", trap_stiffness=4.0, box_length=None)
    >>> tracks = sim.run(seed=1)
    >>> tracks.info["truth"]["diffusion"], tracks.dim
    (0.405, 2)

    Positions are never wrapped: a particle that crosses the edge of the periodic box goes on counting, so
    displacements between frames need no box; distances between particles need `tracks.box.displacement`.
    """

    n_particles: int = 200
    frames: int = 300
    frames_per_second: float = 100.0
    diffusion: float = 0.405
    dim: int = 2
    pair: AnalyticPairPotential | None = None
    box_length: float | None = 28.0
    trap: Literal["none", "shared", "each"] = "none"
    trap_stiffness: float = 0.0
    hydrodynamic_radius: float | None = None
    substeps: int | None = None
    equilibration: float | None = None
    exposure: float = 0.0
    localisation_error: float = 0.0
    localisation_scatter: float = 0.0
    gap_probability: float = 0.0
    micrometre_per_pixel: float = 0.1

    def __post_init__(self) -> None:
        if self.box_length is not None and math.isinf(self.box_length):
            object.__setattr__(self, "box_length", None)
        check_ranges(vars(self))
        check_trap(self.trap, self.trap_stiffness, self.box_length)
        check_space(self.n_particles, self.dim, self.box_length, self.pair, self.hydrodynamic_radius)

    def run(self, seed: int = 0, progress: Progress = silent) -> Trajectories:
        """Simulate and observe: `Trajectories` with `y_std, x_std` and `.info["truth"]`."""
        path = self.path(seed, progress=progress)
        rng = np.random.default_rng(_streams(seed)[3])
        return observe(path.positions, path.units, rng, localisation_error=self.localisation_error,
                       localisation_scatter=self.localisation_scatter, gap_probability=self.gap_probability,
                       box=path.box, info={"source": "simulated", "truth": path.truth})

    def path(self, seed: int = 0, parts: int = 1, progress: Progress = silent) -> TruePositions:
        """The true path, with the exposure cut into `parts` (1, 2, 4, 8 or 16 keep the same path).

        Raises
        ------
        ConfigError
            When `parts` is not positive.
        """
        if parts < 1:
            raise ConfigError(f"parts = {parts}: the exposure has at least one part.")
        start, equilibrate, dynamics, _ = (np.random.default_rng(s) for s in _streams(seed))
        x, centres = self._start(start, equilibrate)
        schedule = self._schedule(math.lcm(16, parts))
        shape = (self.n_particles, self.dim)
        path = TruePositions(np.empty((self.frames, parts, *shape)), np.empty((self.frames, *shape)),
                             np.empty((self.frames, *shape)), self.units, self.box,
                             self._truth(seed, centres, schedule))
        before = 10 if self.equilibration is None else math.ceil(self.equilibration * self.frames_per_second)
        unrecorded = FrameAverages(np.empty((parts, *shape)), np.empty(shape), np.empty(shape))
        advance = self._stepper(dynamics, schedule, centres)
        for frame in range(-before, self.frames):
            advance(x, unrecorded if frame < 0 else FrameAverages(path.positions[frame], path.middle[frame],
                                                                  path.forces[frame]))
            progress(frame + before + 1, before + self.frames, "simulating")
        return path

    @property
    def units(self) -> Units:
        """Calibration of the recording."""
        return Units(self.micrometre_per_pixel, self.frames_per_second, self.exposure,
                     particle_radius=self.hydrodynamic_radius)

    @property
    def box(self) -> Box:
        """Space the particles live in."""
        return Free() if self.box_length is None else Periodic((self.box_length,) * self.dim)

    def _stepper(self, rng: np.random.Generator, schedule: Schedule,
                 centres: np.ndarray) -> Callable[[np.ndarray, FrameAverages], None]:
        """`advance(x, averages)`: one frame; x is changed in place and `averages` filled."""
        table = no_pair_table() if self.pair is None else self.pair.table()
        forces = (table.start, table.per_length, table.cutoff, table.force)
        field = ForceField(np.full(self.dim, self.box_length or 0.0), forces, float(self.trap_stiffness), centres)
        if self.hydrodynamic_radius is None:
            return lambda x, averages: advance_frame(x, rng, self.diffusion, schedule, field, averages)
        from vid2dyn.simulators.brownian.hydrodynamics import advance_frame_coupled

        radius = float(self.hydrodynamic_radius)
        return lambda x, averages: advance_frame_coupled(x, rng, self.diffusion, schedule, field, radius, averages)

    def _start(self, rng: np.random.Generator, thermal: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Positions from the Boltzmann distribution (where it exists) and the centres of the traps."""
        length = self.box_length or _open_length(self)
        x, spacing = lattice(self.n_particles, self.dim, length)
        centres = x.copy() if self.trap == "each" else np.full_like(x, 0.5 * length)
        if self.trap == "none" and self.box_length is None:
            return x + 0.05 * spacing * rng.uniform(-1, 1, x.shape), centres
        if self.pair is None:
            if self.trap == "none":
                return rng.uniform(0, length, x.shape), centres
            return centres + rng.standard_normal(x.shape) / math.sqrt(self.trap_stiffness), centres
        reach = spacing / 4
        if self.trap != "none":
            reach = min(reach, 2 / math.sqrt(self.trap_stiffness))
        table = self.pair.table()
        energies = (table.start, table.per_length, table.cutoff, table.energy)
        metropolis(x, thermal, _SWEEPS, reach, np.full(self.dim, self.box_length or 0.0), energies,
                   float(self.trap_stiffness), centres)
        return x, centres

    def _schedule(self, multiple: int) -> Schedule:
        """Steps while the shutter is open, their length [s], steps while it is closed, their length [s]."""
        frame = 1 / self.frames_per_second
        longest = frame / (self.substeps or 1)
        stiffest = max(self.trap_stiffness, 2 * self.pair.stiffness if self.pair else 0.0)
        if self.substeps is None and stiffest > 0:
            longest = min(longest, _STEP / (self.diffusion * stiffest))
        closed = max(frame - self.exposure, 0.0)
        n_open = multiple * math.ceil(self.exposure / longest / multiple - 1e-9)
        n_closed = math.ceil(closed / longest - 1e-9) if closed > 1e-9 * frame else 0
        return n_open, self.exposure / max(n_open, 1), n_closed, closed / max(n_closed, 1)

    def _truth(self, seed: int, centres: np.ndarray, schedule: Schedule) -> dict[str, Any]:
        return {"simulator": recipe(self), "seed": seed, "diffusion": self.diffusion,
                "pair": None if self.pair is None else recipe(self.pair),
                "trap_stiffness": self.trap_stiffness, "localisation_error": self.localisation_error,
                "centres": centres.tolist() if self.trap != "none" else None,
                "substeps": schedule[0] + schedule[2]}


def _streams(seed: int) -> list[np.random.SeedSequence]:
    """Independent streams for start, equilibration, dynamics and observation."""
    return np.random.SeedSequence(seed).spawn(4)


def _open_length(sim: Brownian) -> float:
    """Edge of the lattice [µm] that unbounded particles start on: no neighbour costs more than 1 kT."""
    spacing = _SPACING
    if sim.pair is not None and sim.trap != "each":
        r = np.linspace(sim.pair.core, sim.pair.reach, 2001)[1:]
        above_kT = np.flatnonzero(np.abs(sim.pair.energy(r)) > 1.0)
        spacing = 1.05 * float(r[above_kT[-1]]) if above_kT.size else sim.pair.reach
    return spacing * math.ceil(round(sim.n_particles ** (1 / sim.dim), 9))
