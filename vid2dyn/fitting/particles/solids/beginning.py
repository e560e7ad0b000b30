"""Where the fit of a solid begins: one size for each term, from the momentum of smooth parts of the sheet.

For any weights w_i that vanish on held nodes, Newton's law summed over nodes with these weights and over a window says

    sum_i w_i·m [v_i(t + L) - v_i(t)] = ∫ sum_i w_i·F_i dt

(the principle of virtual power; as the virtual fields method, Grédiac, Eur. J. Mech. A 8, 309, 1989). Forces inside a
smooth part cancel, and what is left of the noise of single nodes is averaged over the sheet and the window. With the
shape of every term fixed, its size follows from linear least squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.terms.base import Energy
from vid2dyn.fitting.particles.solids.shooting import Recorded
from vid2dyn.rollout.solids.forces import forces_between

WINDOWS = 24
"""Windows of a recording."""
FRAMES = 400
"""Most frames whose forces are evaluated."""


def sizes_of_terms(recordings: Sequence[Recorded], shapes: np.ndarray) -> np.ndarray:
    """Size of every term, (terms,), where `shapes` (P,) are the numbers of all terms up to their sizes.

    Raises
    ------
    ModelError
        When nothing resists the motion that was seen.
    """
    rows, right = [], []
    for one in recordings:
        a, b = _balance(one, shapes)
        rows.append(a)
        right.append(b)
    A, b = np.concatenate(rows), np.concatenate(right)
    scale = np.maximum(np.sqrt((A * A).sum(axis=0)), 1e-300)
    found = nnls(A / scale, b)[0] / scale
    energies = [k for k, term in enumerate(recordings[0].terms.terms) if isinstance(term, Energy)]
    if not (found[energies] > 0).any():
        raise ModelError("No stiffness is seen: the free nodes do not speed up the way that springs on these bonds "
                         "would pull them. Either the solid hardly moves, or the frames are too far apart for its "
                         "inertia to show, or the reference frame is deformed, or bonds are too short (cutoff).")
    # a term of which nothing is seen begins small, not at zero: its size may come out of the noise of the others
    least = np.array([0.05 * _alike(recordings[0], found, k) for k in range(len(found))])
    return np.maximum(found, least)


def _alike(recorded: Recorded, found: np.ndarray, k: int) -> float:
    """A size of a term that is comparable with the strongest energy: energies as they are, frictions by a frame."""
    terms = recorded.terms.terms
    kind = isinstance(terms[k], Energy)
    strongest = float(max(found[j] for j, term in enumerate(terms) if isinstance(term, Energy)))
    return strongest if kind else strongest * recorded.motion.dt


def _balance(recorded: Recorded, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of windows the weighted forces of every term, summed (rows, terms), and changes of weighted momentum (rows,)."""
    motion, terms = recorded.motion, recorded.terms
    x = motion.filled()
    stride = max(1, motion.frames // FRAMES)
    frames = np.arange(1, motion.frames - 1, stride)
    if len(frames) < 8:
        raise ModelError(f"{motion.frames} frames are too few for a fit of a solid: give at least 10.")
    slope = (x[2:] - x[:-2]) / (2 * motion.dt)
    v = slope if motion.velocity is None else np.where(np.isfinite(motion.velocity), motion.velocity, 0.0)[1:-1]
    if motion.velocity is not None:
        gaps = ~np.isfinite(motion.velocity[1:-1])
        v = np.where(gaps, slope, v)
    weights = _weights(motion.reference, motion.held)
    solids = []
    for part in terms.slices:
        only = np.zeros(len(shapes))
        only[part] = shapes[part]
        solids.append(terms.frozen(only))
    force, heating = np.empty_like(x[0]), np.empty(motion.n)
    power = np.empty((len(frames), len(weights), motion.dim, len(solids)))
    for row, t in enumerate(frames):
        for k, solid in enumerate(solids):
            forces_between(x[t], x[t], v[t - 1], solid, force, heating)
            power[row, :, :, k] = weights @ force
    momentum = terms.mass * np.einsum("wn,tna->twa", weights, v[frames - 1])
    length = max(1, len(frames) // WINDOWS)
    starts = np.arange(0, len(frames) - length, length)
    steps = 0.5 * (power[1:] + power[:-1]) * (stride * motion.dt)
    total = np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])
    left = total[starts + length] - total[starts]
    right = momentum[starts + length] - momentum[starts]
    return left.reshape(-1, len(solids)), right.ravel()


def _weights(reference: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(fields, n) smooth weights that vanish on held nodes: the distance to them times polynomials of second degree."""
    middle = reference.mean(axis=0)
    X = (reference - middle) / np.maximum(np.ptp(reference, axis=0), 1e-300)
    dim = X.shape[1]
    away = np.ones(len(X))
    if held.any():
        away = cKDTree(reference[held > 0]).query(reference)[0]
        away = away / max(float(away.max()), 1e-300)
    fields = [np.ones(len(X)), *(X[:, a] for a in range(dim)),
              *(X[:, a] * X[:, b] for a in range(dim) for b in range(a, dim))]
    return np.stack([away * one for one in fields])
