"""Compiled pieces: neighbour pairs, forces, energies, one frame of Brownian motion.

Positions are (N, dim) arrays in µm; `lengths` (dim,) are the periodic edges, 0 where space is unbounded.
A `table` is (start, per_length, cutoff, cubic) of `pair_potentials.Table`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.simulators.cells import cell_on_axis, cell_starts


class ForceField(NamedTuple):
    """What acts on the particles, packed for the compiled kernels.

    Parameters
    ----------
    lengths : (dim,) array
        Edges of the periodic box [µm]; 0 where space is unbounded.
    table : (start, per_length, cutoff, cubic)
        Pair force against distance, see `pair_base.Table` [µm, 1/µm, µm, kT/µm].
    stiffness : float
        Stiffness of the harmonic traps [kT/µm²].
    centres : (N, dim) array
        Centre of the trap of every particle [µm].
    """

    lengths: np.ndarray
    table: Any
    stiffness: float
    centres: np.ndarray


class FrameAverages(NamedTuple):
    """What one frame records of the motion; the arrays are filled by `advance_frame`.

    Parameters
    ----------
    parts : (S, N, dim) array
        Mean position in each of the S equal parts of the exposure [µm].
    middle : (N, dim) array
        Position at the middle of the exposure [µm].
    force : (N, dim) array
        Force at the middle of the exposure [kT/µm].
    """

    parts: np.ndarray
    middle: np.ndarray
    force: np.ndarray


@njit(cache=True, inline="always")
def _nearest(d, length):
    """Difference d on one axis, to the nearest periodic image (length 0: unbounded)."""
    return d - length * math.floor(d / length + 0.5) if length > 0.0 else d


@njit(cache=True, inline="always")
def lookup(r, start, per_length, cubic):
    """Cubic table at r; constant below its start, last interval up to its end."""
    s = max(r - start, 0.0)
    m = min(int(s * per_length), cubic.shape[0] - 1)
    s -= m / per_length
    return cubic[m, 0] + s * (cubic[m, 1] + s * (cubic[m, 2] + s * cubic[m, 3]))


@njit(cache=True)
def _cells(x, lengths, reach):
    """Cells on each axis, at least `reach` wide, and the cell (n, 3) of every particle."""
    n, dim = x.shape
    count = np.ones(3, np.int64)
    cell = np.zeros((n, 3), np.int64)
    most = max(int(n ** (1.0 / dim)), 1)        # more cells than particles would only cost memory
    for k in range(dim):
        low, size = 0.0, lengths[k]
        if size <= 0.0:
            low = high = x[0, k]
            for i in range(1, n):
                low, high = min(low, x[i, k]), max(high, x[i, k])
            size = high - low + 1e-9
        count[k] = max(min(int(size / reach), most), 1)
        if count[k] < 3:                        # with 2 cells an axis, neighbours would be met twice
            count[k] = 1
        for i in range(n):
            f = (x[i, k] - low) / size
            cell[i, k] = cell_on_axis(f - math.floor(f), count[k])
    return count, cell


@njit(cache=True)
def neighbours(x, lengths, reach):
    """Pairs i < j closer than `reach`: (P, 2) array. Cell list where the box holds 3 cells an axis."""
    n, dim = x.shape
    if reach <= 0.0:
        return np.empty((0, 2), np.int64)
    count, cell = _cells(x, lengths, reach)
    flat, span = np.empty(n, np.int64), np.empty(3, np.int64)
    for i in range(n):
        flat[i] = (cell[i, 0] * count[1] + cell[i, 1]) * count[2] + cell[i, 2]
    for k in range(3):
        span[k] = 0 if count[k] < 3 else 1
    first = cell_starts(flat, count[0] * count[1] * count[2])
    filled, member = first[:-1].copy(), np.empty(n, np.int64)
    pairs = np.empty((8 * n + 16, 2), np.int64)
    found = 0
    for i in range(n):
        for a in range(-span[0], span[0] + 1):
            for b in range(-span[1], span[1] + 1):
                for e in range(-span[2], span[2] + 1):
                    p = (cell[i, 0] + a) % count[0]
                    q = (cell[i, 1] + b) % count[1]
                    s = (cell[i, 2] + e) % count[2]
                    c = (p * count[1] + q) * count[2] + s
                    for m in range(filled[c] - 1, first[c] - 1, -1):       # only earlier particles are in cells yet
                        j = member[m]
                        r2 = 0.0
                        for k in range(dim):
                            r2 += _nearest(x[i, k] - x[j, k], lengths[k]) ** 2
                        if r2 < reach * reach:
                            if found == pairs.shape[0]:
                                larger = np.empty((2 * found, 2), np.int64)
                                copy_rows(pairs, larger)
                                pairs = larger
                            pairs[found, 0], pairs[found, 1] = j, i
                            found += 1
        member[filled[flat[i]]] = i
        filled[flat[i]] += 1
    return pairs[:found]


@njit(cache=True)
def add_forces(x, pairs, field, force):
    """Force [kT/µm] on every particle into `force`: pairs of the list, and traps -k (x - centre); see `ForceField`."""
    n, dim = x.shape
    lengths, table, stiffness, centres = field
    start, per_length, cutoff, cubic = table
    for i in range(n):
        for k in range(dim):
            force[i, k] = -stiffness * (x[i, k] - centres[i, k])
    d = np.empty(dim)
    for p in range(pairs.shape[0]):
        i, j = pairs[p, 0], pairs[p, 1]
        r2 = 0.0
        for k in range(dim):
            d[k] = _nearest(x[i, k] - x[j, k], lengths[k])
            r2 += d[k] * d[k]
        if 0.0 < r2 < cutoff * cutoff:
            r = math.sqrt(r2)
            f = lookup(r, start, per_length, cubic) / r
            for k in range(dim):
                force[i, k] += f * d[k]
                force[j, k] -= f * d[k]


@njit(cache=True)
def moved(x, reference):
    """Largest squared displacement since the neighbour list was made."""
    largest = 0.0
    for i in range(x.shape[0]):
        r2 = 0.0
        for k in range(x.shape[1]):
            r2 += (x[i, k] - reference[i, k]) ** 2
        largest = max(largest, r2)
    return largest


@njit(cache=True)
def advance_frame(x, rng, diffusion, schedule, field, averages):
    """One frame of overdamped Langevin motion; x is changed in place.

    dx = D F dt + sqrt(2 D dt) N(0, 1), D in µm²/s and F in kT/µm, by the stochastic Heun scheme
    (additive noise: weak order 2). `schedule` is (steps while the shutter is open, their length [s], steps
    while closed, their length); `field` is a `ForceField`, `averages` a `FrameAverages`, which is filled. A trapezoid
    between two steps misses the Brownian bridge, whose mean over a step h is N(0, 2 D h/12): it is drawn too, so
    that the blur of free diffusion is exact for any step.
    """
    n, dim = x.shape
    n_open, h_open, n_closed, h_closed = schedule
    lengths, table = field.lengths, field.table
    parts, middle, force_middle = averages
    skin = 0.25 * table[2]                      # renewed after 0.35 skin each: 0.15 is left for one step
    pairs, reference = neighbours(x, lengths, table[2] + skin), x.copy()
    f0, f1, trial = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    parts[:] = 0.0
    per_part = max(n_open // parts.shape[0], 1)
    for step in range(n_open + n_closed):
        is_open = step < n_open
        h = h_open if is_open else h_closed
        if table[2] > 0.0 and moved(x, reference) > 0.1225 * skin * skin:
            pairs, reference = neighbours(x, lengths, table[2] + skin), x.copy()
        add_forces(x, pairs, field, f0)
        if step == n_open // 2:
            copy_rows(x, middle)
            copy_rows(f0, force_middle)
        amplitude = math.sqrt(2 * diffusion * h)
        for i in range(n):
            for k in range(dim):
                kick = amplitude * rng.standard_normal()
                trial[i, k] = x[i, k] + diffusion * h * f0[i, k] + kick
                f0[i, k] = kick + 0.5 * diffusion * h * f0[i, k]    # noise and half the drift stay in the step
        add_forces(trial, pairs, field, f1)
        bridge = math.sqrt(diffusion * h / 6)
        for i in range(n):
            for k in range(dim):
                old = x[i, k]
                x[i, k] = old + f0[i, k] + 0.5 * diffusion * h * f1[i, k]
                if is_open:
                    average = 0.5 * (old + x[i, k]) + bridge * rng.standard_normal()
                    parts[step // per_part, i, k] += average / per_part
    if n_open == 0:
        for part in range(parts.shape[0]):
            copy_rows(middle, parts[part])
