"""Recordings of a model, simulated the way the data were recorded.

They have the particles, space, frame rate, exposure and localisation noise of the data, so that an estimator can be
tried where the truth is known. See `indirect` for what they are used for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vid2dyn.data.box import Box, Periodic
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential
from vid2dyn.fitting.brownian.design import Field
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.rollout.brownian import FrameTiming, FrozenBrownian, brownian_paths

BURN = 40
"""Frames that a simulation runs before it counts, to forget the noise in its starting positions."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """Everything a Brownian model of one recording consists of, as numbers.

    `diffusion` (species,) [µm²/s] and `noise_scale` (species,) hold one number where all particles are alike.
    """

    field: Field
    coefficients: np.ndarray
    diffusion: np.ndarray
    noise_scale: np.ndarray
    centres: np.ndarray | None = None

    @property
    def pairs(self) -> tuple[PairPotential, ...]:
        """The potential of every pair of species; empty without forces."""
        found = []
        for kind, spline in enumerate(self.field.splines):
            # unseen ground inside the spline is made to repel: 5 kT within a third of the shortest distance seen
            stiffness = 100.0 / spline.inner**2 if spline.inner > 0 else 0.0
            found.append(PairPotential(spline, self.coefficients[self.field.part(kind)], core_stiffness=stiffness))
        return tuple(found)

    @property
    def trap(self) -> HarmonicTrap | None:
        """The trap, or None."""
        if self.field.trap == "none":
            return None
        knots = self.field.knots
        stiffness = float(self.coefficients[knots])
        if self.field.trap == "each":
            assert self.centres is not None
            return HarmonicTrap(stiffness, self.centres)
        return HarmonicTrap(stiffness, self.field.origin + self.coefficients[knots + 1:] / stiffness)


@dataclass(frozen=True, eq=False)
class SyntheticRecording:
    """One simulation, recorded in several ways.

    Parameters
    ----------
    seen : Recording
        As the camera sees it: blurred over the exposure, with localisation noise, and with the noise that is added on
        purpose.
    sharp : Recording
        Positions at an instant, with noise of the variance that noise and blur have together in `seen`.
    true : Recording
        Positions at an instant, without noise.
    steps : Recording
        As `seen`, without the noise that is added on purpose: for the apparent diffusion.
    free_steps : Recording
        As `steps`, of particles without forces that are moved and seen with the same random numbers.
    number : int
        Number of the replica.
    """

    seen: Recording
    sharp: Recording
    true: Recording
    steps: Recording
    free_steps: Recording
    number: int


class SimulatedModel(Protocol):
    """What of a model a simulation needs; see `Parameters`."""

    @property
    def pairs(self) -> tuple[PairPotential, ...]:
        """The potential of every pair of species."""

    @property
    def trap(self) -> HarmonicTrap | None:
        """The trap, or None."""

    @property
    def diffusion(self) -> np.ndarray:
        """(species,) [µm²/s]."""

    @property
    def noise_scale(self) -> np.ndarray:
        """(species,) localisation variance over the stated one."""


class SyntheticRecordings:
    """Makes recordings of a model the way the data were made: same particles, space, frame rate, exposure and noise.

    Parameters
    ----------
    data : Recording
        The data.
    view : (dim,) array or None
        Field of view [µm]: the simulation then runs in a periodic box of that size at the density seen.
    trap : str
        As in `Field`.
    seed : list of int
        Seed of all simulations; each recording of a joint fit has its own.
    stationary : bool
        Whether a simulation runs for a while before it counts.
    """

    def __init__(self, data: Recording, view: np.ndarray | None, trap: str, *, seed: list[int],
                 stationary: bool = True) -> None:
        self.data = data
        self.box: Box = Periodic(tuple(view)) if view is not None and trap == "none" else data.box
        rows = _start(data, trap)
        if view is not None and trap == "none" and data.area is not None:
            corner, sides = data.area                         # of a region of any shape what fills a periodic box
            inside = ((data.position[rows] >= corner) & (data.position[rows] <= corner + sides)).all(axis=1)
            rows = rows[inside] if inside.any() else rows
        self.start = data.position[rows]
        self.species = np.zeros(len(rows), np.int64) if data.species is None else data.species[rows]
        self.frames = max(8, min(_length(data, trap), max(100, 200_000 // max(1, len(self.start)))))
        self.share = float(data.weight.sum()) / (self.frames * len(self.start))
        self.seed = seed
        self.burn = BURN if stationary else 0

    def recordings(self, p: SimulatedModel, added_variance: float, replicas: int) -> Iterator[SyntheticRecording]:
        """One recording a replica, with the same random numbers at every call.

        `added_variance` [µm²]: variance of noise that is added to positions on purpose.
        """
        data, species = self.data, self.species
        n, dim = self.start.shape
        if data.species is None:
            frozen = FrozenBrownian.freeze(float(p.diffusion[0]), p.pairs[0] if p.pairs else None, p.trap, n, dim)
        else:
            frozen = FrozenBrownian.of_mixture(p.diffusion, p.pairs, species, dim)
        motion, camera = np.random.default_rng(self.seed).spawn(2)
        paths = brownian_paths(frozen, self.start, self.box,
                               FrameTiming(data.dt, self.frames, data.exposure, self.burn), motion.spawn(replicas),
                               substeps=frozen.substeps(data.dt, data.exposure, limit=32))
        blurred = (2 * p.diffusion * data.dt * data.blur)[species][:, None]
        scale = np.maximum(p.noise_scale, 0.0)[species][:, None]
        kept = None if data.species is None else species
        for b, rng in enumerate(camera.spawn(replicas)):
            shape = paths.instant[b].shape
            stated = self._stated_variances(rng, shape)
            noise = rng.standard_normal(shape) * np.sqrt(scale * stated)
            total = noise + math.sqrt(added_variance) * rng.standard_normal(shape)
            variance = scale * stated + added_variance
            sharp = total * np.sqrt(np.maximum(variance - blurred, 0.0) / np.where(variance > 0, variance, 1.0))
            seen, blunt, true, steps, free = (
                Recording.simulated(x, stated, self.box, data.dt, data.exposure, kept) for x in (
                    paths.average[b] + total, paths.instant[b] + sharp, paths.instant[b],
                    paths.average[b] + noise, paths.free[b] + noise))
            steps, free = self._interrupted(steps, free, b)
            yield SyntheticRecording(seen, blunt, true, steps, free, b)

    def _interrupted(self, steps: Recording, free: Recording, replica: int) -> tuple[Recording, Recording]:
        """The same with as many missing as in the data: apparent diffusion depends on how long stretches are."""
        data = self.data
        if not data.filled:
            return steps, free
        missing = data.filled / (data.filled + int((data.track >= 0).sum()))
        gone = np.random.default_rng([*self.seed, 13, replica]).random(len(steps.position)) < missing
        kept = steps.steps[~(gone[steps.steps] | gone[steps.steps + 1])]
        return replace(steps, steps=kept), replace(free, steps=kept)

    def _stated_variances(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """(frames, n, dim) drawn from those of the data; each particle from those of its species."""
        data = self.data
        if data.species is None:
            return data.variance[rng.integers(len(data.variance), size=shape[:2])]
        out = np.empty(shape)
        for s in np.unique(self.species):
            of_species = data.variance[data.species == s]
            mine = self.species == s
            out[:, mine] = of_species[rng.integers(len(of_species), size=(shape[0], int(mine.sum())))]
        return out


def _start(data: Recording, trap: str) -> np.ndarray:
    """Rows to start from: the fullest early frame, or every track's first detection (own traps)."""
    if trap == "each":
        linked = np.flatnonzero(data.track >= 0)
        _, first = np.unique(data.track[linked], return_index=True)
        return linked[first]
    early = data.frame <= data.frame.min() + 20
    frames, count = np.unique(data.frame[early], return_counts=True)
    return np.flatnonzero(data.frame == frames[np.argmax(count)])


def _length(data: Recording, trap: str) -> int:
    """Frames of a simulation: of the recording, or of the typical track where every track has its own centre."""
    if trap == "each":
        return int(np.median(np.unique(data.track[data.track >= 0], return_counts=True)[1]))
    return int(np.ptp(data.frame)) + 1
