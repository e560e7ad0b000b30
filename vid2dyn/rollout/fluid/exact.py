"""The conservative half of a compiled step with exact energy: a secant discrete gradient.

    x' = x + dt v̄,   v' = v + dt F̄/m,   v̄ = (v + v')/2,
    F̄_i = -sum_j (ϖ_i + ϖ_j) w̄_ij (r_ij + r'_ij),   ϖ = ΔU/Δd,   w̄ = ΔW/Δ(r²)

ϖ and w̄ are quotients of differences between the two ends of the step (the derivative where these are too close), so
sum_i F̄_i · (x'_i - x_i) = -ΔU to rounding; it is antisymmetric and central, so momentum and angular momentum are exact
as well (Gonzalez, J. Nonlinear Sci. 6, 449, 1996, §4). Solved by fixed-point iteration.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from vid2dyn.rollout.fluid.lists import separation
from vid2dyn.rollout.fluid.pairs import densities
from vid2dyn.rollout.fluid.tables import cubic, cubic_slope, inside, internal_energy, thermodynamics

NEAR = 1e-4
"""Relative change below which a quotient of differences becomes the mean of the derivative by Gauss' rule of two points
(error NEAR⁴/4320; the quotient would lose eps/NEAR to cancellation, which keeps the iteration restless)."""
_GAUSS = 0.5 / math.sqrt(3.0)
_ROUNDING = 1e-13
"""Changes of velocity below this many cutoffs a step are rounding: at rest there is no speed to compare with."""


@njit(cache=True, parallel=True, error_model="numpy")
def stretch(x, space, lists, out):  # type: ignore[no-untyped-def]
    """out (pairs, 3) = vectors from the second to the first particle, nearest images."""
    _, first, second, _, _ = lists
    for p in prange(len(first)):
        out[p, 0], out[p, 1], out[p, 2], _ = separation(x, first[p], second[p], space)


@njit(cache=True, error_model="numpy", inline="always")
def _kernel(table, r, cutoff):  # type: ignore[no-untyped-def]
    """W and dW/dr, 0 beyond the cutoff."""
    if r >= cutoff:
        return 0.0, 0.0
    place = r * len(table) / cutoff
    k = min(int(place), len(table) - 1)
    return cubic(table, k, 0, place - k), cubic_slope(table, k, 0, place - k) * len(table) / cutoff


@njit(cache=True, parallel=True, error_model="numpy")
def _secants(x, space, lists, before, table, cutoff, middle, chord, value):  # type: ignore[no-untyped-def]
    """middle = r + r', chord = w̄ and value = W(r') of every pair, from the vectors r before and positions x after."""
    _, first, second, _, _ = lists
    for p in prange(len(first)):
        dx, dy, dz, _ = separation(x, first[p], second[p], space)
        bx, by, bz = before[p, 0], before[p, 1], before[p, 2]
        after2, before2 = dx * dx + dy * dy + dz * dz, bx * bx + by * by + bz * bz
        middle[p, 0], middle[p, 1], middle[p, 2] = dx + bx, dy + by, dz + bz
        chord[p] = value[p] = 0.0
        if min(after2, before2) < cutoff * cutoff:
            W, _ = _kernel(table, math.sqrt(after2), cutoff)
            value[p] = W
            # r'² - r² without the cancellation
            grown = (dx - bx) * (dx + bx) + (dy - by) * (dy + by) + (dz - bz) * (dz + bz)
            if abs(grown) > NEAR * before2:
                chord[p] = (W - _kernel(table, math.sqrt(before2), cutoff)[0]) / grown
            else:
                r = math.sqrt(before2 + (0.5 - _GAUSS) * grown)
                s = math.sqrt(before2 + (0.5 + _GAUSS) * grown)
                chord[p] = 0.25 * (_kernel(table, r, cutoff)[1] / r + _kernel(table, s, cutoff)[1] / s)


@njit(cache=True, parallel=True, error_model="numpy")
def _energy_secants(nodes, grid, S, density, after, U, push):  # type: ignore[no-untyped-def]
    """push = ϖ = ΔU/Δd of every particle, from density and U before and density after; NaN outside the table."""
    for i in prange(len(S)):
        d, new = density[i], after[i]
        x = -math.log(new)
        if not inside(nodes, grid, S[i], x):
            push[i] = np.nan
        elif abs(new - d) > NEAR * d:
            push[i] = (internal_energy(nodes, grid, S[i], x) - U[i]) / (new - d)
        else:
            a, b = d + (0.5 - _GAUSS) * (new - d), d + (0.5 + _GAUSS) * (new - d)
            push[i] = 0.5 * (thermodynamics(nodes, grid, S[i], -math.log(a))[3] / a
                             + thermodynamics(nodes, grid, S[i], -math.log(b))[3] / b)


@njit(cache=True, parallel=True, error_model="numpy")
def _mean_velocity(lists, middle, chord, push, body, half, free, v, mean, moved):  # type: ignore[no-untyped-def]
    """mean = v + half [body + F̄] of free particles, half = dt/2m; moved_i = largest change of a component."""
    row, first, second, arrive, incoming = lists
    for i in prange(len(v)):
        fx, fy, fz, mine = body[i, 0], body[i, 1], body[i, 2], push[i]
        if free[i] == 0.0:
            moved[i] = 0.0
            continue
        for k in range(arrive[i], arrive[i + 1]):
            p = incoming[k]
            s = (mine + push[first[p]]) * chord[p]
            fx, fy, fz = fx + s * middle[p, 0], fy + s * middle[p, 1], fz + s * middle[p, 2]
        for p in range(row[i], row[i + 1]):
            s = (mine + push[second[p]]) * chord[p]
            fx, fy, fz = fx - s * middle[p, 0], fy - s * middle[p, 1], fz - s * middle[p, 2]
        a, b, c = v[i, 0] + half * fx, v[i, 1] + half * fy, v[i, 2] + half * fz
        moved[i] = max(abs(a - mean[i, 0]), abs(b - mean[i, 1]), abs(c - mean[i, 2]))
        mean[i, 0], mean[i, 1], mean[i, 2] = a, b, c


@njit(cache=True, parallel=True)
def drift(x, v, dt, out):  # type: ignore[no-untyped-def]
    """out = x + dt v."""
    for i in prange(len(x)):
        for c in range(3):
            out[i, c] = x[i, c] + dt * v[i, c]


def exact_move(x: np.ndarray, v: np.ndarray, mean: np.ndarray, before: np.ndarray, space: np.ndarray, lists: tuple,
               table: np.ndarray, cutoff: float, nodes: np.ndarray, grid: np.ndarray, S: np.ndarray,
               density: np.ndarray, U: np.ndarray, push: np.ndarray, body: np.ndarray, free: np.ndarray, half: float,
               dt: float, scratch: tuple[np.ndarray, ...]) -> int:
    """Solve for `mean` = v̄, which starts as a guess; returns the number of iterations, -1 if it does not settle.

    `before` are the pair vectors, density, U and push = P/d² the state at the start, `space` the box at the end of the
    step; `push` is overwritten. scratch: x' (n, 3), density' and change (n,), r + r' (pairs, 3), w̄ and W' (pairs,).
    """
    after, new_density, change, middle, chord, value = scratch
    last = np.inf
    for iteration in range(1, 61):
        drift(x, mean, dt, after)
        _secants(after, space, lists, before, table, cutoff, middle, chord, value)
        densities(lists, value, table[0, 0], new_density)
        _energy_secants(nodes, grid, S, density, new_density, U, push)
        _mean_velocity(lists, middle, chord, push, body, half, free, v, mean, change)
        moved, scale = change.max(), np.abs(mean).max()
        if not np.isfinite(moved):
            return -1
        # converged, or as far as rounding lets it: quotients of small differences keep a last digit restless
        if moved <= 1e-14 * scale or (moved <= 1e-11 * scale + _ROUNDING * cutoff / dt and moved >= 0.3 * last):
            return iteration
        last = moved
    return -1
