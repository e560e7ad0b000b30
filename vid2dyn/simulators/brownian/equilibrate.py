"""Start of a simulation: particles placed without overlap, then Boltzmann-distributed by Metropolis moves.

Monte Carlo knows nothing of time steps, so it reaches equilibrium far sooner than the dynamics does where
potentials are stiff, and without its error.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.simulators.brownian.forces import _nearest, lookup, neighbours


def lattice(n: int, dim: int, length: float) -> tuple[np.ndarray, float]:
    """`n` points of a cubic lattice in [0, length)^dim, spread evenly, and the lattice spacing."""
    per_axis = math.ceil(round(n ** (1 / dim), 9))
    spacing = length / per_axis
    index = np.floor(np.arange(n) * (per_axis**dim / n)).astype(int)
    return (np.stack(np.unravel_index(index, (per_axis,) * dim), axis=1) + 0.5) * spacing, spacing


@njit(cache=True)
def _rows(pairs, n):
    """Neighbours of every particle as rows: `member[first[i]:first[i + 1]]`."""
    first = np.zeros(n + 1, np.int64)
    for p in range(pairs.shape[0]):
        first[pairs[p, 0] + 1] += 1
        first[pairs[p, 1] + 1] += 1
    for i in range(n):
        first[i + 1] += first[i]
    fill = first[:-1].copy()
    member = np.empty(first[n], np.int64)
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        member[fill[i]] = j
        member[fill[j]] = i
        fill[i] += 1
        fill[j] += 1
    return first, member


@njit(cache=True)
def _energy(point, i, x, members, lengths, table, stiffness, centre):
    """Energy [kT] of particle i if it were at `point`."""
    start, per_length, cutoff, cubic = table
    total = 0.0
    for k in range(point.shape[0]):
        total += 0.5 * stiffness * (point[k] - centre[k]) ** 2
    for j in members:
        r2 = 0.0
        for k in range(point.shape[0]):
            r2 += _nearest(point[k] - x[j, k], lengths[k]) ** 2
        if r2 < cutoff * cutoff:
            r = math.sqrt(r2)
            total += lookup(r, start, per_length, cubic)
            if r < start:                       # the table is flat there; a slope keeps particles out
                total += 1e3 * (start - r) * per_length
    return total


@njit(cache=True)
def metropolis(x, rng, sweeps, reach, lengths, table, stiffness, centres):
    """`sweeps` tries to move every particle, in place; the step length is tuned in the first half.

    Metropolis et al., J. Chem. Phys. 21, 1087 (1953); energies in kT. `reach` [µm] is the first and longest step.
    """
    n, dim = x.shape
    skin = max(0.5 * table[2], 6 * reach)       # the list then lasts several sweeps
    far = 0.25 * skin * skin
    reach_now, tried, taken = reach, 0, 0
    first, member = _rows(neighbours(x, lengths, table[2] + skin), n)
    reference, trial = x.copy(), np.empty(dim)
    for sweep in range(sweeps):
        for i in range(n):
            r2 = 0.0
            for k in range(dim):
                trial[k] = x[i, k] + reach_now * (2 * rng.random() - 1)
                r2 += (trial[k] - reference[i, k]) ** 2
            if r2 > far and table[2] > 0.0:
                first, member = _rows(neighbours(x, lengths, table[2] + skin), n)
                reference = x.copy()
            members = member[first[i]:first[i + 1]]
            change = (_energy(trial, i, x, members, lengths, table, stiffness, centres[i])
                      - _energy(x[i], i, x, members, lengths, table, stiffness, centres[i]))
            tried += 1
            if change <= 0.0 or rng.random() < math.exp(-change):
                for k in range(dim):
                    x[i, k] = trial[k]
                taken += 1
        if tried >= 20 * n and 2 * sweep < sweeps:
            reach_now = min(reach_now * (1.2 if taken > 0.4 * tried else 0.8), reach)
            tried, taken = 0, 0
