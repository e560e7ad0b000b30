"""The conservative half of a compiled step with exact energy: a secant discrete gradient.

    x' = x + dt v̄,   v' = v + dt F̄/m,   v̄ = (v + v')/2,
    F̄_i = -sum_j [(ϖ_i + ϖ_j) w̄_ij + φ̄_ij] (r_ij + r'_ij),   ϖ = ΔU/Δd,   w̄ = ΔW/Δ(r²),   φ̄ = Δφ/Δ(r²)

ϖ, w̄ and φ̄ are quotients of differences between the two ends of the step (the derivative where these are too close), so
sum_i F̄_i · (x'_i - x_i) = -ΔU to rounding; it is antisymmetric and central, so momentum and angular momentum are exact
as well (Gonzalez, J. Nonlinear Sci. 6, 449, 1996, §4). Solved by fixed-point iteration.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from vid2dyn.rollout.fluid.lists import Pairs, separation
from vid2dyn.rollout.fluid.lookup import (
    Tables,
    cubic,
    cubic_slope,
    density_energy,
    first_row,
    inside,
    internal_energy,
    thermodynamics,
)
from vid2dyn.rollout.fluid.pairs import ParticleState, densities

NEAR = 1e-4
"""Relative change below which a quotient of differences becomes the mean of the derivative by Gauss' rule of two points
(error NEAR⁴/4320; the quotient would lose eps/NEAR to cancellation, which keeps the iteration restless)."""
_GAUSS = 0.5 / math.sqrt(3.0)
_ROUNDING = 1e-13
"""Changes of velocity below this many cutoffs a step are rounding: at rest there is no speed to compare with."""


class Motion(NamedTuple):
    """Of every particle: position and velocity at the start, mean velocity of the step, body force (n, 3) each; free
    (n,) is 1, or 0 for a particle moved by hand; mass and species (n,)."""

    x: np.ndarray
    v: np.ndarray
    mean: np.ndarray
    body: np.ndarray
    free: np.ndarray
    mass: np.ndarray
    species: np.ndarray


class Secants(NamedTuple):
    """Of every pair: vectors r at the start and r + r' (pairs, 3), w̄, W(r') and φ̄ (pairs,)."""

    before: np.ndarray
    middle: np.ndarray
    chord: np.ndarray
    value: np.ndarray
    own: np.ndarray


@njit(cache=True, parallel=True, error_model="numpy")
def stretch(x, space, lists, out):  # type: ignore[no-untyped-def]
    """out (pairs, 3) = vectors from the second to the first particle, nearest images."""
    first, second = lists.first, lists.second
    for p in prange(len(first)):
        out[p, 0], out[p, 1], out[p, 2], _ = separation(x, first[p], second[p], space)


@njit(cache=True, error_model="numpy", inline="always")
def _radial(table, r, cutoff):  # type: ignore[no-untyped-def]
    """Value and slope of the first function of a table, 0 beyond the cutoff."""
    if r >= cutoff:
        return 0.0, 0.0
    place = r * len(table) / cutoff
    k = min(int(place), len(table) - 1)
    return cubic(table, k, 0, place - k), cubic_slope(table, k, 0, place - k) * len(table) / cutoff


@njit(cache=True, error_model="numpy", inline="always")
def _chord(table, before2, grown, value, cutoff):  # type: ignore[no-untyped-def]
    """Δf/Δ(r²) of a function that is `value` at the end, where r² = before2 + grown."""
    if abs(grown) > NEAR * before2:
        return (value - _radial(table, math.sqrt(before2), cutoff)[0]) / grown
    r = math.sqrt(before2 + (0.5 - _GAUSS) * grown)
    s = math.sqrt(before2 + (0.5 + _GAUSS) * grown)
    return 0.25 * (_radial(table, r, cutoff)[1] / r + _radial(table, s, cutoff)[1] / s)


@njit(cache=True, parallel=True, error_model="numpy")
def _secants(x, species, space, lists, tables, before, middle, chord, value, own):  # type: ignore[no-untyped-def]
    """`Secants` of every pair, from the vectors r before and positions x after."""
    table, pair_tables, kind, cutoff = tables.radial, tables.pairs, tables.kind, tables.cutoff
    first, second = lists.first, lists.second
    fluid, bound, mixed = len(chord) > 0, len(own) > 0, tables.rows < len(table)
    for p in prange(len(first)):
        dx, dy, dz, _ = separation(x, first[p], second[p], space)
        bx, by, bz = before[p, 0], before[p, 1], before[p, 2]
        after2, before2 = dx * dx + dy * dy + dz * dz, bx * bx + by * by + bz * bz
        middle[p, 0], middle[p, 1], middle[p, 2] = dx + bx, dy + by, dz + bz
        value[p] = 0.0
        if fluid:
            chord[p] = 0.0
        if bound:
            own[p] = 0.0
        if min(after2, before2) < cutoff * cutoff:
            after = math.sqrt(after2)
            # r'² - r² without the cancellation
            grown = (dx - bx) * (dx + bx) + (dy - by) * (dy + by) + (dz - bz) * (dz + bz)
            if fluid:
                of_fluid = table
                if mixed:
                    start = first_row(tables, species[first[p]], species[second[p]])
                    of_fluid = table[start:start + tables.rows]
                W, _ = _radial(of_fluid, after, cutoff)
                value[p] = W
                chord[p] = _chord(of_fluid, before2, grown, W, cutoff)
            if bound:
                of_kind = pair_tables[kind[species[first[p]], species[second[p]]]]
                own[p] = _chord(of_kind, before2, grown, _radial(of_kind, after, cutoff)[0], cutoff)


@njit(cache=True, error_model="numpy")
def _isothermal_secant(table, span, d, new):  # type: ignore[no-untyped-def]
    """Δu/Δd from density d to `new` of the energy of a density, 0 without."""
    if len(table) == 0:
        return 0.0
    if abs(new - d) > NEAR * d:
        return (density_energy(table, span, new)[0] - density_energy(table, span, d)[0]) / (new - d)
    a, b = d + (0.5 - _GAUSS) * (new - d), d + (0.5 + _GAUSS) * (new - d)
    return 0.5 * (density_energy(table, span, a)[1] + density_energy(table, span, b)[1])


@njit(cache=True, parallel=True, error_model="numpy")
def _energy_secants(tables, state, after, push):  # type: ignore[no-untyped-def]
    """push = ϖ = ΔU/Δd of every particle, from density and U before and density after; NaN outside the table."""
    nodes, grid = tables.nodes, tables.grid
    density, S, U = state.density, state.S, state.U
    for i in prange(len(S)):
        d, new = density[i], after[i]
        if tables.temperature > 0.0:
            push[i] = _isothermal_secant(tables.density, tables.span, d, new)
            continue
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
def _mean_velocity(lists, secants, push, motion, dt, mean, moved):  # type: ignore[no-untyped-def]
    """mean = v + dt/2m [body + F̄] of free particles; moved_i = largest change of a component."""
    middle, chord, own = secants.middle, secants.chord, secants.own
    v, body, free, mass = motion.v, motion.body, motion.free, motion.mass
    fluid, bound = len(chord) > 0, len(own) > 0
    row, first, second, arrive, incoming = lists.row, lists.first, lists.second, lists.arrive, lists.incoming
    for i in prange(len(v)):
        fx, fy, fz, mine = body[i, 0], body[i, 1], body[i, 2], push[i]
        if free[i] == 0.0:
            moved[i] = 0.0
            continue
        for k in range(arrive[i], arrive[i + 1] if fluid else arrive[i]):
            p = incoming[k]
            s = (mine + push[first[p]]) * chord[p]
            fx, fy, fz = fx + s * middle[p, 0], fy + s * middle[p, 1], fz + s * middle[p, 2]
        for p in range(row[i], row[i + 1] if fluid else row[i]):
            s = (mine + push[second[p]]) * chord[p]
            fx, fy, fz = fx - s * middle[p, 0], fy - s * middle[p, 1], fz - s * middle[p, 2]
        for k in range(arrive[i], arrive[i + 1] if bound else arrive[i]):
            p = incoming[k]
            fx, fy, fz = fx + own[p] * middle[p, 0], fy + own[p] * middle[p, 1], fz + own[p] * middle[p, 2]
        for p in range(row[i], row[i + 1] if bound else row[i]):
            fx, fy, fz = fx - own[p] * middle[p, 0], fy - own[p] * middle[p, 1], fz - own[p] * middle[p, 2]
        half = 0.5 * dt / mass[i]
        a, b, c = v[i, 0] + half * fx, v[i, 1] + half * fy, v[i, 2] + half * fz
        moved[i] = max(abs(a - mean[i, 0]), abs(b - mean[i, 1]), abs(c - mean[i, 2]))
        mean[i, 0], mean[i, 1], mean[i, 2] = a, b, c


@njit(cache=True, parallel=True)
def drift(x, v, dt, out):  # type: ignore[no-untyped-def]
    """out = x + dt v."""
    for i in prange(len(x)):
        for c in range(3):
            out[i, c] = x[i, c] + dt * v[i, c]


def exact_move(motion: Motion, state: ParticleState, secants: Secants, lists: Pairs, space: np.ndarray, tables: Tables,
               dt: float, update_body: Callable[[np.ndarray], None] | None = None) -> tuple[int, np.ndarray]:
    """Solve for `motion.mean` = v̄, which starts as a guess; (number of iterations or -1, last changes of v̄ (n,)).

    `secants.before` are the pair vectors and `state` what holds at the start, `space` the box at the end of the step;
    `state.push` is overwritten. `update_body`, given the positions after the step, sets `motion.body`.
    """
    last = np.inf
    after, density, change = np.empty_like(motion.x), np.empty_like(state.density), np.empty_like(state.density)
    for iteration in range(1, 61):
        drift(motion.x, motion.mean, dt, after)
        if update_body is not None:
            update_body(after)
        _secants(after, motion.species, space, lists, tables, *secants)
        if len(tables.radial):
            densities(lists, secants.value, motion.species, tables, density)
        _energy_secants(tables, state, density, state.push)
        _mean_velocity(lists, secants, state.push, motion, dt, motion.mean, change)
        moved, scale = change.max(), np.abs(motion.mean).max()
        if not np.isfinite(moved):
            return -1, change
        # converged, or as far as rounding lets it: quotients of small differences keep a last digit restless
        if moved <= 1e-14 * scale or (moved <= 1e-11 * scale + _ROUNDING * tables.cutoff / dt and moved >= 0.3 * last):
            return iteration, change
        last = moved
    return -1, change
