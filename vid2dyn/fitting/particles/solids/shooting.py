"""The likelihood of a recording of a solid: shoot from its first frame, compare every frame after it.

    seen = (motion of the model from the start, held nodes where they were) + N(0, σ²)

with one σ for positions and one for velocities, both found from what is left. A solid that is held and has friction
forgets errors of its start, and errors of single frames enter no force: they stay what they are, errors of what is
compared. Forces from noisy positions and accelerations from noisy velocities, frame by frame, are never formed.
(In system identification: output error, Ljung, System Identification, 1999, §4.3.) With noise of the sheet itself
the estimate stays consistent; its bands come from the scatter of the score over the sheet.

The slopes of the motion in the parameters are differences of whole motions, one for each parameter, in lockstep.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np

from vid2dyn.core.progress import Progress, silent
from vid2dyn.dynamics.terms.base import BondTerm
from vid2dyn.dynamics.terms.bonds import Bonds, BondTables, FrozenSolid
from vid2dyn.inference.solid_motion import DRAWS, SolidMotion
from vid2dyn.rollout.solids.paths import SolidState, explicit_substeps, frames_along, rates_of
from vid2dyn.rollout.solids.steps import bends

BLOCK = 16
"""Frames that are held in memory at a time."""
STEP = 1e-5
"""Step of the differences, relative to the size of a function."""
THREADS = 2
"""Motions that run at the same time."""


@dataclass(frozen=True, eq=False)
class SolidTerms:
    """Terms of a solid on the bonds of one recording.

    Parameters
    ----------
    terms : sequence of BondTerm
        Settled, energies first.
    bonds : Bonds
    mass : float
        Of a node.
    """

    terms: tuple[BondTerm, ...]
    bonds: Bonds
    mass: float

    @property
    def count(self) -> int:
        """Numbers of all terms."""
        return sum(term.count for term in self.terms)

    @property
    def slices(self) -> list[slice]:
        """Which numbers are of which term."""
        ends = np.cumsum([0, *(term.count for term in self.terms)])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def frozen(self, theta: np.ndarray) -> FrozenSolid:
        """The solid with numbers `theta`."""
        tables = BondTables(self.bonds)
        for term, part in zip(self.terms, self.slices):
            term.freeze_bonds(theta[part], tables)
        return tables.frozen()

    def masses(self) -> np.ndarray:
        """Of every node."""
        return np.full(self.bonds.n, self.mass)


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recording with the terms on its bonds."""

    motion: SolidMotion
    terms: SolidTerms

    def strained(self, solid: FrozenSolid, strain: np.ndarray) -> FrozenSolid:
        """The solid whose reference frame is deformed by a small symmetric strain (dim, dim)."""
        apart = solid.apart @ (np.eye(len(strain)) + strain)
        return solid._replace(length=np.sqrt((apart**2).sum(axis=1)))


@dataclass
class Residuals:
    """Sums over a recording of what is left, r, and of its slopes J in the numbers; positions first, then velocities.

    Parameters
    ----------
    squares, counts : (2,) arrays
        r·r and how many numbers.
    scores : (2, P) array
        J r.
    information : (2, P, P) array
        J Jᵀ.
    of_nodes : (2, n, P) array
        The score of every node.
    of_paths : (2, draws, P) array
        How the score would change with other paths of the edges (`SolidMotion.other_path`); zeros where not asked.
    """

    squares: np.ndarray
    counts: np.ndarray
    scores: np.ndarray
    information: np.ndarray
    of_nodes: np.ndarray
    of_paths: np.ndarray

    @classmethod
    def nothing(cls, nodes: int, count: int) -> Residuals:
        """Sums over nothing."""
        return cls(np.zeros(2), np.zeros(2), np.zeros((2, count)), np.zeros((2, count, count)),
                   np.zeros((2, nodes, count)), np.zeros((2, DRAWS, count)))

    def joined(self, other: Residuals) -> Residuals:
        """With those of another recording, whose nodes are other ones."""
        return Residuals(self.squares + other.squares, self.counts + other.counts, self.scores + other.scores,
                         self.information + other.information,
                         np.concatenate([self.of_nodes, other.of_nodes], axis=1), self.of_paths + other.of_paths)

    def add(self, kind: int, left: np.ndarray, slopes: np.ndarray) -> None:
        """Frames of what is left (F, n, dim), NaN where nothing was seen, with its slopes (P, F, n, dim)."""
        seen = np.isfinite(left)
        r = np.where(seen, left, 0.0)
        self.squares[kind] += float((r * r).sum())
        self.counts[kind] += int(seen.sum())
        if len(slopes):
            J = np.where(seen, slopes, 0.0)
            of_nodes = np.einsum("pfna,fna->np", J, r)
            self.of_nodes[kind] += of_nodes
            self.scores[kind] += of_nodes.sum(axis=0)
            flat = J.reshape(len(J), -1)
            self.information[kind] += flat @ flat.T


def shoot(recorded: Recorded, solids: Sequence[FrozenSolid], steps: np.ndarray, *, velocity_noise: float = 0.0,
          other_paths: bool = False, progress: Progress = silent, what: str = "shooting") -> Residuals:
    """Motion of the first solid against the recording; the others are moved by `steps` in one parameter each.

    Parameters
    ----------
    recorded : Recorded
    solids : sequence of FrozenSolid
        The solid and, for each parameter, a neighbour.
    steps : (len(solids) - 1,) array
        Of the parameters.
    velocity_noise : float
        Error of the recorded velocities [µm/s], for the start.
    other_paths : bool
        Whether the motion is also shot along other paths of the edges, for `Residuals.of_paths`.

    Returns
    -------
    Residuals
        Infinite squares where the motion runs away.
    """
    motion, mass = recorded.motion, recorded.terms.masses()
    total = motion.frames
    substeps = explicit_substeps(rates_of(solids[0], motion.reference, mass), motion.dt)
    free = motion.held == 0
    found = Residuals.nothing(motion.n, len(steps))
    states = [SolidState(*motion.start(velocity_noise), motion.held, mass) for _ in solids]
    path, bent = motion.path, bends(motion.path)
    others = [motion.other_path(k) for k in range(DRAWS)] if other_paths and motion.doubts else []
    bent_others = [bends(one) for one in others]
    states_there = [SolidState(*motion.start(velocity_noise), motion.held, mass) for _ in others]
    with ThreadPoolExecutor(THREADS) as pool:
        for at in range(1, total, BLOCK):
            stop = min(at + BLOCK, total)
            part, bent_part = path[at - 1:stop], bent[at - 1:stop - 1]
            made = list(pool.map(frames_along, solids, states, repeat(part), repeat(bent_part), repeat(motion.dt),
                                 repeat(substeps)))
            there = list(pool.map(frames_along, repeat(solids[0], len(others)), states_there,
                                  [one[at - 1:stop] for one in others],
                                  [one[at - 1:stop - 1] for one in bent_others], repeat(motion.dt), repeat(substeps)))
            for kind, seen in enumerate((motion.position, motion.velocity)):
                if seen is None:
                    continue
                base = made[0][kind][:, free]
                if not np.isfinite(base).all():
                    found.squares[:] = np.inf
                    return found
                slopes = np.stack([(one[kind][:, free] - base) / step for one, step in zip(made[1:], steps)]
                                  ) if len(steps) else np.empty((0, *base.shape))
                whole = np.zeros((len(steps), stop - at, motion.n, motion.dim))
                whole[:, :, free] = slopes
                left = np.full((stop - at, motion.n, motion.dim), np.nan)
                left[:, free] = seen[at:stop, free] - base
                found.add(kind, left, whole)
                sighted = np.isfinite(left[:, free])
                for k, one in enumerate(there):
                    change = np.where(sighted, base - one[kind][:, free], 0.0)
                    found.of_paths[kind, k] += np.einsum("pfna,fna->p", slopes, change)
            progress(stop, total, what)
    return found


def neighbours(recorded: Recorded, theta: np.ndarray, sizes: np.ndarray, strains: int = 0) -> tuple[
        list[FrozenSolid], np.ndarray]:
    """The solid, one neighbour for each number, and one for each component of a strain of the reference frame.

    `sizes` (P,): scale of each number; `strains`: how many components are asked for, 0 or all.
    """
    solids, steps = [recorded.terms.frozen(theta)], []
    for k in range(len(theta)):
        moved = theta.copy()
        moved[k] += STEP * sizes[k]
        solids.append(recorded.terms.frozen(moved))
        steps.append(STEP * sizes[k])
    for a, b in strain_components(recorded.motion.dim)[:strains]:
        strain = np.zeros((recorded.motion.dim,) * 2)
        strain[a, b] = strain[b, a] = STEP if a == b else 0.5 * STEP
        solids.append(recorded.strained(solids[0], strain))
        steps.append(STEP)
    return solids, np.array(steps)


def strain_components(dim: int) -> list[tuple[int, int]]:
    """Axes of the components of a symmetric strain.

    >>> strain_components(2)
    [(0, 0), (0, 1), (1, 1)]
    """
    return [(a, b) for a in range(dim) for b in range(a, dim)]
