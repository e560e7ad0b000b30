"""Checks of recordings before inertial particles are learned from them: velocities, units, temperature, distances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vid2dyn.dynamics.terms.base import Configuration, Scene, kinds_of_pairs
from vid2dyn.inference.steps import FluidSteps

SAMPLED = 40
"""Frames looked at for distances."""
CLOSEST = 5e-4
"""Share of the pairs that lie below the closest distance that is resolved."""
BLOCKS = 16
SHOWN = 8
"""Frames that terms are shown when they settle themselves."""


def velocity_warnings(parts: Sequence[FluidSteps]) -> list[str]:
    """Whether velocities are those of the displacements: units, wrapped positions in open space."""
    found = []
    for k, part in enumerate(parts):
        of = f"Recording {k + 1}: " if len(parts) > 1 else ""
        rows = np.unique(np.linspace(0, part.count - 1, min(part.count, SAMPLED)).astype(int))
        moved = part.box.displacement(part.position[rows + 1], part.position[rows]) / part.dt
        mean = 0.5 * (part.velocity[rows + 1] + part.velocity[rows])
        ratio = float((moved * mean).sum() / max((mean * mean).sum(), 1e-300))
        size = float(np.median(np.abs(moved)) / max(float(np.median(np.abs(mean))), 1e-300))
        if not 0.8 < size < 1.25:
            found.append(f"{of}velocities do not fit the positions: particles move {size:.3g} times as fast as their "
                         "velocity columns say. Give velocities in the unit of the positions per second (pixels per "
                         "second in the table), and check frames_per_second; temperatures and friction are wrong by "
                         "such factors.")
        elif not 0.8 < ratio < 1.25:
            jumps = np.abs(moved - mean) * part.dt
            found.append(f"{of}positions jump by up to {float(jumps.max()):.3g} µm where velocities say otherwise: "
                         "they may be wrapped into a box that the table does not name. Give box=vd.Periodic(...), or "
                         "unwrap them.")
    return found


def motion_temperature(parts: Sequence[FluidSteps], mass: np.ndarray) -> tuple[float, float]:
    """kT of the velocities about their mean [energy], and its error relative to it, from blocks of time."""
    series = []
    for part in parts:
        v = part.velocity - part.velocity.mean(axis=1, keepdims=True)
        rate = getattr(part.box, "shear_rate", 0.0)
        if rate:
            y = part.position[:, :, 0]
            v = part.velocity.copy()
            v[:, :, 1] -= rate * y
            v -= v.mean(axis=1, keepdims=True)
        of = (mass[part.species][None, :, None] * v * v).sum(axis=(1, 2)) / ((part.n - 1) * part.dim)
        series.append(of)
    kT = float(np.average([s.mean() for s in series], weights=[len(s) for s in series]))
    blocks = [b.mean() for s in series for b in np.array_split(s, min(BLOCKS, max(2, len(s) // 4)))]
    error = float(np.std(blocks, ddof=1) / math.sqrt(len(blocks))) if len(blocks) > 1 else kT
    return kT, max(error / kT, 1e-3)


def scene_of(parts: Sequence[FluidSteps], species: tuple[str, ...], mass: np.ndarray, reach: float) -> Scene:
    """What terms settle themselves by."""
    kinds = len(kinds_of_pairs(species))
    seen: list[list[np.ndarray]] = [[] for _ in range(kinds)]
    sampled = []
    for part in parts:
        for frame in np.unique(np.linspace(0, part.count, max(2, SAMPLED // len(parts))).astype(int)):
            at = Configuration.of(part.position[frame], part.box.after((part.first_frame + frame) * part.dt), reach,
                                  part.species, kinds_among=len(species))
            sampled.append(at)
            for kind in range(kinds):
                seen[kind].append(at.r[at.kind == kind])
    closest = np.full(kinds, np.inf)
    for kind, many in enumerate(seen):
        r = np.sort(np.concatenate(many)) if many else np.empty(0)
        if len(r):
            closest[kind] = r[min(len(r) - 1, max(3, int(CLOSEST * len(r))))]
    low = np.min([part.position.min(axis=(0, 1)) for part in parts], axis=0)
    high = np.max([part.position.max(axis=(0, 1)) for part in parts], axis=0)
    kT, _ = motion_temperature(parts, mass)
    return Scene(parts[0].dim, parts[0].box, species, kT, parts[0].dt, closest, low, high,
                 tuple(sampled[::max(1, len(sampled) // SHOWN)]))
