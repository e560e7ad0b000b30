"""A run of the SDPD gas: the flow it starts with, what drives it, and its frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress
from vid2dyn.simulators.fluid.sdpd.cells import cell_counts, sweep_blocks
from vid2dyn.simulators.fluid.sdpd.observe import densities_at
from vid2dyn.simulators.fluid.sdpd.settings import GasSettings
from vid2dyn.simulators.fluid.sdpd.steps import Drive, advance, taylor_green


def flow_at(x: np.ndarray, sim: GasSettings) -> np.ndarray:
    """Velocity of the flow at positions x (N, 3) [µm/s], (N, 3); a vortex has no total momentum."""
    flow = np.zeros_like(x)
    if sim.flow == "shear":
        flow[:, 1] = sim.shear_rate * x[:, 0]
    elif sim.flow != "rest":
        flow = sim.flow_speed * taylor_green(x, np.full(3, sim.box_length))
        flow -= flow.mean(axis=0)
    return flow


def drive_of(sim: GasSettings, x: np.ndarray, v: np.ndarray, s: np.ndarray) -> Drive:
    """What is done to the gas from outside, given the state it starts from."""
    acceleration, held = 0.0, math.nan
    if sim.flow == "forced_taylor_green":
        k2 = 2 * (2 * math.pi / sim.box_length) ** 2
        acceleration = sim.shear_viscosity * k2 * sim.flow_speed * sim.volume0 / sim.mass
    if sim.hold_energy:
        peculiar = v.copy()
        peculiar[:, 1] -= sim.shear_rate * x[:, 0]
        held = float(sim.internal_energy(s, 1 / densities_at(x, sim)).sum() + 0.5 * sim.mass * (peculiar**2).sum())
    return Drive(float(sim.shear_rate), acceleration, held)


class Frames:
    """Positions, velocities (T, N, dim), entropies (T, N), heat taken out up to each frame, updates rejected."""

    def __init__(self, sim: GasSettings) -> None:
        shape = (sim.frames, sim.n_particles)
        self.sim = sim
        self.position, self.velocity = np.empty((*shape, sim.dim)), np.empty((*shape, sim.dim))
        self.entropy, self.heat, self.rejected = np.empty(shape), np.zeros(sim.frames), 0

    def write(self, frame: int, x: np.ndarray, v: np.ndarray, s: np.ndarray, image: np.ndarray,
              ids: np.ndarray) -> None:
        """One frame, positions and velocities of the images that the particles have come to be."""
        sim = self.sim
        edge, climbed = sim.box_length, image[:, 0]
        self.position[frame, ids] = (x + image * edge)[:, :sim.dim]
        self.position[frame, ids, 1] += climbed * sim.shear_rate * frame * sim.substeps * sim.time_step * edge
        self.velocity[frame, ids] = v[:, :sim.dim]
        self.velocity[frame, ids, 1] += climbed * sim.shear_rate * edge
        self.entropy[frame, ids] = s

    def as_truth(self) -> dict[str, Any]:
        """What of it belongs to the truth."""
        return {"heat_taken": self.heat.tolist(), "rejected_pair_updates": int(self.rejected)}


def record(sim: GasSettings, x: np.ndarray, v: np.ndarray, s: np.ndarray, key: np.uint64, progress: Progress) -> Frames:
    """All frames from a state (N, 3), (N, 3), (N,); `ConfigError` if a step fails."""
    n, lengths = sim.n_particles, np.full(3, float(sim.box_length))
    count = cell_counts(lengths, sim.cutoff, sim.dim, sim.flow == "shear")
    fixed = lengths, count, sweep_blocks(count, sim.dim), drive_of(sim, x, v, s), sim.fluid, key
    image, ids, frames = np.zeros((n, 3), np.int64), np.arange(n), Frames(sim)
    for frame in range(sim.frames):
        if frame:
            x, v, s, image, ids, heat, rejected, failed = advance(x, v, s, image, ids, *fixed,
                                                                  (frame - 1) * sim.substeps, sim.substeps,
                                                                  sim.time_step)
            if failed >= 0:
                raise ConfigError(f"SDPD: step {failed} (frame {frame}) left no finite positive internal energy; "
                                  f"give more substeps than {sim.substeps}, or less driving.")
            frames.heat[frame] = frames.heat[frame - 1] + heat
            frames.rejected += rejected
        frames.write(frame, x, v, s, image, ids)
        progress(frame + 1, sim.frames, "simulating")
    return frames
