"""Entropy of particles from invariants of one frame: what a trajectory starts from.

For every particle, over its neighbours within the cutoff (sums, so that density counts):

    x_i = ln(V_i/V0),  V_i = 1/(W(0) + sum_j W(r_ij))                          density
    T_i = m/(dim (n_i - dim)) sum_j |v_ij - A_i r_ij - b_i|²/w                  random motion about the local flow

with A_i r + b_i the affine flow that fits the n_i neighbours best. Nothing here knows names, place, directions or a
common velocity. The entropy is that of the equation of state at this volume and temperature,

    S_i = n x_i + σ(T_i),

which is the conditional mean of S_i given what is seen wherever the fluid is in local equilibrium: there positions and
velocities know of the internal energies only through their mean (Español & Revenga: the invariant density factorises).
So no encoder of one frame, learned or not, can know the share of a particle in the thermal fluctuations of energy, of
variance c kB²; it comes, in part, from watching (`vid2dyn.inference.score`).

T_i has few neighbours behind it. It is weighed against the mean of all: w = τ²/(τ² + error²), with the spread τ² that
temperatures have beyond their error. "even" is w = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vid2dyn.data.box import Box
from vid2dyn.dynamics.snapshot import neighbour_pairs


@dataclass(frozen=True, eq=False)
class Invariants:
    """log_volume (n,): ln V; temperature (n,), NaN with too few neighbours; freedoms (n,) behind it."""

    log_volume: np.ndarray
    temperature: np.ndarray
    freedoms: np.ndarray


def invariants(position: np.ndarray, velocity: np.ndarray, box: Box, cutoff: float, mass: float = 1.0) -> Invariants:
    """Invariants of one frame; position, velocity (n, dim) [µm, µm/s].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, flow = rng.uniform(0, 4, (400, 2)), np.array([[0.0, 3.0], [1.0, 0.0]])
    >>> from vid2dyn.data.box import Free
    >>> found = invariants(x, x @ flow + rng.normal(size=x.shape), Free(), 1.0)
    >>> bool(abs(np.nanmean(found.temperature) - 1) < 0.1)
    True
    """
    n, dim = position.shape
    pairs = neighbour_pairs(position, cutoff, box)
    i, j = np.concatenate([pairs, pairs[:, ::-1]]).T
    r = box.displacement(position[j], position[i])
    w = box.relative_velocity(position[j], position[i], velocity[j], velocity[i])
    s = np.minimum(np.sqrt((r * r).sum(axis=1)) / cutoff, 1.0)
    norm = 5.0 / (np.pi * cutoff**2) if dim == 2 else 105.0 / (16.0 * np.pi * cutoff**3)
    density = norm * (1 + np.bincount(i, (1 + 3 * s) * (1 - s) ** 3, n))
    # affine fit over a particle and its neighbours: rows (1, r), the particle itself at r = 0, w = 0
    rows = np.concatenate([np.ones((len(r), 1)), r / cutoff], axis=1)
    normal, right = np.zeros((n, dim + 1, dim + 1)), np.zeros((n, dim + 1, dim))
    np.add.at(normal, i, rows[:, :, None] * rows[:, None, :])
    np.add.at(right, i, rows[:, :, None] * w[:, None, :])
    normal[:, 0, 0] += 1.0
    squares = np.bincount(i, (w * w).sum(axis=1), n)
    count = np.bincount(i, minlength=n) + 1
    enough = count >= dim + 3
    normal[~enough] = np.eye(dim + 1)
    normal += 1e-12 * np.eye(dim + 1)
    fitted = np.linalg.solve(normal, right)
    left = squares - (fitted * right).sum(axis=(1, 2))
    freedoms = np.where(enough, dim * (count - dim - 1.0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        temperature = np.where(enough, mass * left / freedoms, np.nan)
    return Invariants(-np.log(density), temperature, freedoms)


def shrunk(found: Invariants) -> np.ndarray:
    """ln of the temperatures over their mean, each drawn to the mean by its error; (n,), zeros if nothing is known.

    >>> shrunk(Invariants(np.zeros(2), np.array([np.nan, np.nan]), np.zeros(2))).tolist()
    [0.0, 0.0]
    """
    known = np.isfinite(found.temperature) & (found.temperature > 0)
    if known.sum() < 8:
        return np.zeros(len(known))
    mean = float(np.average(found.temperature[known], weights=found.freedoms[known]))
    error = 2.0 / np.where(known, found.freedoms, np.inf)
    away = np.where(known, found.temperature / mean - 1.0, 0.0)
    spread = max(float((away[known] ** 2 - error[known]).mean()), 0.0)
    weight = spread / (spread + error + 1e-12) * known
    return np.log1p(np.maximum(weight * away, -0.9))


def start_of(position: np.ndarray, velocity: np.ndarray, box: Box, cutoff: float, mass: float, softness: float,
             kind: Literal["even", "local"] = "even") -> np.ndarray:
    """σ_i = S_i - n x_i at the first frame up to a common number, (n,) [kB]; S follows with the n of the fluid.

    Parameters
    ----------
    softness : float
        1/c, the inverse heat capacity: a temperature T_i means an entropy σ = c ln(T_i/T).

    >>> start_of(np.zeros((1, 2)), np.zeros((1, 2)), Box.from_dict({"kind": "free"}), 1.0, 1.0, 0.1).tolist()
    [0.0]
    """
    if kind == "even" or not softness > 0:
        return np.zeros(len(position))
    return shrunk(invariants(position, velocity, box, cutoff, mass)) / softness
