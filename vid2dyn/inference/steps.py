"""Trajectories with velocities laid out for the likelihood of a fluid: steps and, for each, its pairs.

Pairs, distances and densities of a step are those of the mean position over it given both of its velocities,

    x + v dt/2 + (v' - v) dt/6

(for a constant acceleration, and for the path of a Brownian velocity between two values). The last term matters: the
noise of a step moves particles while it acts, and the forces they then meet take back (omega dt)²/3 of its variance,
omega the frequency of sound at the distance of neighbours. As the forces so depend on v', the likelihood has a Jacobian
(`step.StepState.stiffness`). Relative velocities are those of the middle, (v + v')/2, as Crank and Nicolson take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vid2dyn.core.errors import DataError
from vid2dyn.data.box import Box
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.base import Configuration, Energy

KEEP = 400e6
"""Bytes of pair lists kept between sweeps; beyond, they are searched anew."""


@dataclass(frozen=True, eq=False)
class StepPairs:
    """Pairs of one step: rows of both ends, unit vector from second to first (p, dim), distance (p,), and relative
    velocity in the middle of the step (p, dim)."""

    first: np.ndarray
    second: np.ndarray
    e: np.ndarray
    r: np.ndarray
    w: np.ndarray


@dataclass(frozen=True, eq=False)
class FluidSteps:
    """One trajectory: position, velocity (T + 1, n, dim) [µm, µm/s], dt [s], space, cutoff [µm].

    species: (n,) int, number of the species of every particle; names: (n,) int, the particles in the table; further:
    energies that act beside an equation of state, each with a range of its own; frames, shown: of the windows in which
    a fluid is read, and the share of the noise that they show (`vid2dyn.inference.fluid_window`).
    """

    position: np.ndarray
    velocity: np.ndarray
    dt: float
    box: Box
    cutoff: float
    first_frame: int = 0
    species: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    names: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    further: tuple[Energy, ...] = ()
    frames: int = 1
    shown: float = 1.0
    _kept: dict[int, StepPairs] = field(default_factory=dict, repr=False)
    _forces: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """Steps."""
        return len(self.position) - 1

    @property
    def n(self) -> int:
        """Particles."""
        return self.position.shape[1]

    @property
    def dim(self) -> int:
        return self.position.shape[2]

    @classmethod
    def of(cls, tracks: Trajectories, cutoff: float, *, least: int = 8) -> FluidSteps:
        """From a table.

        Raises
        ------
        UnitsError
            Without a frame rate and a length of a pixel.
        DataError
            With fewer than `least` frames or two particles, particles that are missing in some frame, or velocities
            that are absent or not finite.
        """
        tracks.units.require("micrometre_per_pixel", "frames_per_second", for_what="Fitting a Metriplectic model")
        if tracks.velocities is None:
            raise DataError("vd.Metriplectic learns from velocities, and the table has none (columns vy, vx): velocity "
                            "differences of video are mostly localisation noise. For colloids in a solvent use "
                            "vd.Brownian; for particles with inertia give simulated or measured velocities.")
        linked = tracks.linked()
        position, seen, frames, particles = linked.dense()
        if len(frames) < least:
            raise DataError(f"The trajectory has {len(frames)} frame{'s' * (len(frames) != 1)}; vd.Metriplectic needs "
                            f"at least {least}, one more than its window. Give a longer recording or a shorter window.")
        if len(particles) < 2:
            raise DataError(f"{len(particles)} particle: pair forces need at least two.")
        if not seen.all():
            t, k = np.argwhere(~seen)[0]
            raise DataError(f"Particle {particles[k]} is missing from frame {frames[t]} ({(~seen).sum()} detections "
                            "are missing in all): its heat cannot be followed. Keep the stretch of frames in which all "
                            "particles are there (tracks.between) or remove the particle.")
        velocity = np.empty_like(position)
        column = np.searchsorted(particles, linked.particle)
        assert linked.velocities is not None
        velocity[linked.frame - frames[0], column] = linked.velocities
        bad = np.argwhere(~np.isfinite(velocity).all(axis=2))
        if len(bad):
            t, k = bad[0]
            raise DataError(f"The velocity of particle {particles[k]} in frame {frames[t]} is not a number ({len(bad)} "
                            "such rows): columns vy, vx must be finite in every row. Remove those frames.")
        return cls(position, velocity, tracks.units.dt, tracks.box, float(cutoff), int(frames[0]),
                   np.zeros(len(particles), np.int64), np.asarray(particles, np.int64))

    def between(self, start: int, stop: int) -> FluidSteps:
        """Steps start <= step < stop."""
        return FluidSteps(self.position[start:stop + 1], self.velocity[start:stop + 1], self.dt, self.box, self.cutoff,
                          self.first_frame + start, self.species, self.names, self.further, self.frames, self.shown)

    def in_windows(self, frames: int, shown: float = 1.0) -> FluidSteps:
        """The same steps read in windows of so many."""
        return replace(self, frames=frames, shown=shown)

    def with_further(self, energies: Sequence[Energy]) -> FluidSteps:
        """The same with energies beside the equation of state."""
        return replace(self, further=tuple(energies), _kept={}, _forces={})

    def place(self, t: int) -> np.ndarray:
        """Mean position of every particle over step t, (n, dim)."""
        return self.position[t] + self.dt * (self.velocity[t] / 3 + self.velocity[t + 1] / 6)

    def forces(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Of step t, of every number of the further energies: forces (numbers, n, dim) and -∇·F (numbers,)."""
        if not self.further:
            return np.empty((0, self.n, self.dim)), np.empty(0)
        if t in self._forces:
            return self._forces[t]
        box = self.box.after((self.first_frame + t + 0.5) * self.dt)
        at = Configuration.of(self.place(t), box, max(term.reach for term in self.further), self.species,
                              names=self.names)
        found = (np.concatenate([term.force_slopes(at) for term in self.further]),
                 np.concatenate([term.stiffness_slopes(at, np.ones(self.n)) for term in self.further]))
        if (len(self._forces) + 1) * found[0].nbytes < KEEP:
            self._forces[t] = found
        return found

    def pairs(self, t: int) -> StepPairs:
        """Pairs of step t, each once.

        Raises
        ------
        DataError
            When two particles are in one place.
        """
        if t in self._kept:
            return self._kept[t]
        x = self.place(t)
        box = self.box.after((self.first_frame + t + 0.5) * self.dt)
        pairs = neighbour_pairs(x, self.cutoff, box)
        i, j = pairs[:, 0], pairs[:, 1]
        apart = box.displacement(x[i], x[j])
        r = np.sqrt((apart**2).sum(axis=1))
        if len(r) and not r.min() > 1e-12 * self.cutoff:
            k = int(np.argmin(r))
            raise DataError(f"Particles {i[k]} and {j[k]} (counted in the order of their numbers) are in one place in "
                            f"frame {self.first_frame + t}: their line of centres has no direction. Remove one.")
        middle = 0.5 * (self.velocity[t] + self.velocity[t + 1])
        w = box.relative_velocity(x[i], x[j], middle[i], middle[j])
        found = StepPairs(i.astype(np.int64), j.astype(np.int64), apart / r[:, None], r, np.ascontiguousarray(w))
        if (len(self._kept) + 1) * len(r) * (24 + 16 * self.dim) < KEEP:
            self._kept[t] = found
        return found
