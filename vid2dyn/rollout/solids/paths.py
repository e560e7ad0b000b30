"""Runs of a solid: from a start along the path of its held nodes, frame by frame, with the account of its energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.terms.bonds import FrozenSolid
from vid2dyn.rollout.solids.forces import energy_of, forces_between
from vid2dyn.rollout.solids.steps import bends, middle_steps, runge_kutta_frames

CONTRACTION = 0.6
"""Largest g of the iteration of `middle_steps`, about: errors shrink to a quarter in each round."""
STABLE = 1.2
"""Longest step of Runge and Kutta times the fastest rate; it is stable up to 2.5 and exact to a thousandth at 1.2."""
POWERS = 40
"""Rounds of the power iteration, which comes within a few percent."""
MARGIN = 1.25
"""What that and a deformed state may add to a rate."""
TOLERANCE = 1e-13
"""Residual of a step over the largest velocity."""
ROUNDS = 400
"""Most rounds of a step."""


class SolidState(NamedTuple):
    """Position (n, dim) [µm] and velocity (n, dim) [µm/s]; held (n,): 0 free, else the number of an edge; mass (n,)."""

    position: np.ndarray
    velocity: np.ndarray
    held: np.ndarray
    mass: np.ndarray


@dataclass(frozen=True, eq=False)
class SolidTrajectories:
    """What a run of F + 1 frames made.

    Parameters
    ----------
    position, velocity : (F + 1, n, dim) arrays
    heat : (F + 1, n) array
        That each node got since the start [energy].
    work, stored, kinetic : (F + 1,) arrays
        Work of all held nodes since the start, energy of the solid now, kinetic energy of the free nodes [energy].
    force : (F + 1, edges, dim) array
        With which each edge is held at the frame, at the velocity with which it came there [energy/µm].
    rounds : int
        Most rounds of the iteration in a step.
    """

    position: np.ndarray
    velocity: np.ndarray
    heat: np.ndarray
    work: np.ndarray
    stored: np.ndarray
    kinetic: np.ndarray
    force: np.ndarray
    rounds: int

    @property
    def imbalance(self) -> np.ndarray:
        """(F + 1,) work less what was stored, moves and became heat [energy]: 0."""
        total = self.stored + self.kinetic + self.heat.sum(axis=1)
        return self.work - (total - total[0])


class Rates(NamedTuple):
    """Largest eigenvalues of friction over mass [1/s] and of stiffness over mass [1/s²], of the solid at rest."""

    friction: float
    stiffness: float

    @property
    def fastest(self) -> float:
        """Largest rate at which something relaxes or swings [1/s]."""
        return max(self.friction, math.sqrt(self.stiffness))


def rates_of(solid: FrozenSolid, reference: np.ndarray, mass: np.ndarray) -> Rates:
    """By power iteration with the forces themselves, whatever the energies are, with a margin for deformed states."""
    rest = np.ascontiguousarray(reference, float)
    still, force, heating = np.zeros_like(rest), np.empty_like(rest), np.empty(len(rest))
    root = np.sqrt(mass)[:, None]
    tiny = 1e-4 * float(solid.length.min())
    found = []
    for friction in (True, False):
        z = np.random.default_rng(len(rest)).normal(size=rest.shape)
        value = 0.0
        for _ in range(POWERS):
            z /= max(float(np.sqrt((z * z).sum())), 1e-300)
            step = z / root * (1.0 if friction else tiny / float(np.abs(z / root).max()))
            if friction:
                forces_between(rest, rest, step, solid, force, heating)
            else:
                moved = rest + step
                forces_between(moved, moved, still, solid, force, heating)
            size = float(np.sqrt((step * root * step * root).sum()))
            z = -force / root / max(size, 1e-300)
            value = float(np.sqrt((z * z).sum()))
            if value == 0.0:
                break
        found.append(MARGIN * value)
    return Rates(*found)


def explicit_substeps(rates: Rates, dt: float) -> int:
    """Time steps from frame to frame that Runge and Kutta need."""
    return max(1, math.ceil(dt * rates.fastest / STABLE))


def middle_substeps(rates: Rates, dt: float) -> int:
    """Time steps from frame to frame for which the iteration of `middle_steps` is short."""
    return max(2, math.ceil(dt * rates.fastest / (2 * CONTRACTION)))


def solid_paths(solid: FrozenSolid, start: SolidState, path: np.ndarray, reference: np.ndarray, dt: float, *,
                substeps: int, progress: Progress = silent) -> SolidTrajectories:
    """Run a solid along the path of its held nodes with the exact step.

    Parameters
    ----------
    solid : FrozenSolid
    start : SolidState
    path : (F + 1, n, dim) array
        Positions of the held nodes at every frame [µm]; those of free ones are not read.
    reference : (n, dim) array
        Positions at rest [µm].
    dt : float
        Time between frames [s].
    substeps : int
        Time steps from frame to frame.

    Raises
    ------
    ModelError
        When a step does not converge or the motion is not finite.
    """
    frames, n, dim = path.shape
    x, v = np.array(start.position, float), np.array(start.velocity, float)
    held, mass = start.held, start.mass
    free, edges = held == 0, int(held.max(initial=0))
    rates, step = rates_of(solid, reference, mass), dt / substeps
    bent = bends(path)
    g = 0.5 * step * (rates.friction + 0.5 * step * rates.stiffness)
    heat, account = np.zeros(n), np.zeros(4 + edges)
    # a sheet at rest moves by rounding: residuals are measured by what a hundredth of the length of a bond would do
    account[3] = 0.01 * rates.stiffness * float(solid.length.mean()) * step
    position, velocity, heats = np.empty((frames, n, dim)), np.empty((frames, n, dim)), np.zeros((frames, n))
    work, stored, kinetic = np.zeros((3, frames))
    forces, force, heating = np.zeros((frames, edges, dim)), np.empty((n, dim)), np.empty(n)
    x[~free] = path[0, ~free]
    for frame in range(frames):
        if frame:
            before, after, bend = path[frame - 1], path[frame], bent[frame - 1]
            middle_steps(x, v, heat, held, before, after, bend, mass, solid, step, substeps, g, TOLERANCE, ROUNDS,
                         account)
            if not np.isfinite(x).all() or account[1] > 1e3 * TOLERANCE:
                raise ModelError(f"The solid breaks loose in frame {frame}: its step does not converge (residual "
                                 f"{account[1]:.2g}). Springs of negative stiffness do that, and edges that move by "
                                 f"more than the distance of nodes in a step; there were {substeps} steps to a frame, "
                                 "give more (substeps).")
        forces_between(x, x, v, solid, force, heating)
        for k in range(edges):
            forces[frame, k] = -force[held == k + 1].sum(axis=0)
        position[frame], velocity[frame], heats[frame] = x, v, heat
        work[frame], stored[frame] = account[0], energy_of(x, solid)
        kinetic[frame] = 0.5 * float((mass[free, None] * v[free] ** 2).sum())
        progress(frame + 1, frames, "rolling out")
    return SolidTrajectories(position, velocity, heats, work, stored, kinetic, forces, int(account[2]))


def frames_along(solid: FrozenSolid, state: SolidState, path: np.ndarray, bent: np.ndarray, dt: float,
                 substeps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames by Runge and Kutta along a path (F + 1, n, dim) with its `bends` (F, n, dim), for fits: positions and
    velocities after the first, (F, n, dim) each. The state is moved along, so that the next frames can follow."""
    places, velocities = np.empty((2, len(path) - 1, *path.shape[1:]))
    runge_kutta_frames(state.position, state.velocity, state.held, path, bent, state.mass, solid, dt / substeps,
                       substeps, places, velocities)
    return places, velocities
