"""The tables of a `FrozenFluid` as a compiled loop reads them: cubics per interval, cells of a bicubic surface.

The same Hermite polynomials as in `vid2dyn.dynamics.fluid.frozen`, so both agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.dynamics.fluid.frozen import FrozenFluid, pair_kind, read_radial


class Tables(NamedTuple):
    """What the kernels read of a `FrozenFluid`; a part that it does not have is an array of length 0.

    radial (intervals, 16): `radial_table`; pairs (kinds, intervals, 12): `pair_table`; kind (species, species): number
    of the kind of a pair; nodes, grid: `eos_table`; density (intervals, 4), span (2,): `density_table`; temperature:
    that of all particles, or 0 where the equation of state has it; cutoff: range of the pairs.
    """

    radial: np.ndarray
    pairs: np.ndarray
    kind: np.ndarray
    nodes: np.ndarray
    grid: np.ndarray
    density: np.ndarray
    span: np.ndarray
    temperature: float
    cutoff: float


def tables_of(frozen: FrozenFluid) -> Tables:
    """All tables of a model."""
    every = range(frozen.species)
    kind = np.array([[pair_kind(a, b, frozen.species) for b in every] for a in every], dtype=np.int64)
    return Tables(radial_table(frozen), pair_table(frozen), kind, *eos_table(frozen), *density_table(frozen),
                  float(frozen.temperature or 0.0), float(frozen.cutoff))


def radial_table(frozen: FrozenFluid) -> np.ndarray:
    """(intervals, 16): coefficients of 1, t, t², t³ of W, across, along and C², t in [0, 1] the place in the interval.

    `across` and `along` are the two radial parts of K (docstring of `vid2dyn.dynamics.fluid.frozen`). Tables of fewer
    rows are read on the grid of the longest one; absent ones are zero.
    """
    given = [frozen.kernel, frozen.shear, frozen.bulk, frozen.heat]
    kernel, shear, bulk, heat = same_rows(given, frozen.cutoff)
    if not len(kernel):
        return np.empty((0, 16))
    along = shear * (1.0 - 1.0 / frozen.dim) + bulk / frozen.dim
    parts = (kernel, 0.5 * shear, along, heat)
    return np.concatenate([cubics(part, frozen.cutoff / (len(kernel) - 1)) for part in parts], axis=1)


def pair_table(frozen: FrozenFluid) -> np.ndarray:
    """(kinds, intervals, 12): cubics, as in `radial_table`, of φ and of γ across and along."""
    energy, friction = frozen.pair_energy, frozen.pair_friction
    kinds = []
    for k in range(frozen.kinds if energy is not None or friction is not None else 0):
        parts = same_rows([None if energy is None else energy[k], None if friction is None else friction[k, :, :2],
                           None if friction is None else friction[k, :, 2:]], frozen.cutoff)
        kinds.append(np.concatenate([cubics(part, frozen.cutoff / (len(part) - 1)) for part in parts], axis=1))
    return np.stack(kinds) if kinds else np.empty((0, 0, 12))


def same_rows(tables: Sequence[np.ndarray | None], cutoff: float) -> list[np.ndarray]:
    """Radial tables on the grid of the longest one, zeros in place of absent ones; no rows if all are absent."""
    rows = max(0 if table is None else len(table) for table in tables)
    r = np.linspace(0.0, cutoff, rows)

    def read(table: np.ndarray | None) -> np.ndarray:
        if table is None:
            return np.zeros((rows, 2))
        return table if len(table) == rows else np.stack(read_radial(table, cutoff, r), axis=1)

    return [read(table) for table in tables]


def cubics(table: np.ndarray, h: float) -> np.ndarray:
    """(intervals, 4) coefficients of the Hermite polynomials through rows of (value, slope), h apart."""
    low, high, left, right = table[:-1, 0], table[1:, 0], h * table[:-1, 1], h * table[1:, 1]
    return np.stack([low, left, 3 * (high - low) - 2 * left - right, 2 * (low - high) + left + right], axis=1)


def eos_table(frozen: FrozenFluid) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, grid): U, hS U_S, hx U_x, hS hx U_Sx at the nodes, and [S_0, 1/hS, x_0, 1/hx] with x = ln V."""
    if frozen.eos is None or frozen.entropy is None or frozen.log_volume is None:
        return np.empty((0, 0, 4)), np.empty(0)
    nS, nx = frozen.eos.shape[:2]
    hS = (frozen.entropy[1] - frozen.entropy[0]) / (nS - 1)
    hx = (frozen.log_volume[1] - frozen.log_volume[0]) / (nx - 1)
    nodes = np.ascontiguousarray(frozen.eos * np.array([1.0, hS, hx, hS * hx]), dtype=float)
    return nodes, np.array([frozen.entropy[0], 1.0 / hS, frozen.log_volume[0], 1.0 / hx])


def density_table(frozen: FrozenFluid) -> tuple[np.ndarray, np.ndarray]:
    """(density, span): cubics (intervals, 4) of u(d), and [first density, intervals a density]."""
    table, span = frozen.density_energy, frozen.density_range
    if table is None or span is None:
        return np.empty((0, 4)), np.zeros(2)
    h = (span[1] - span[0]) / (len(table) - 1)
    return cubics(table, h), np.array([span[0], 1.0 / h])


@njit(cache=True, error_model="numpy", inline="always")
def cubic(table, k, c, t):  # type: ignore[no-untyped-def]
    """The cubic that starts in column c of interval k, at t."""
    return table[k, c] + t * (table[k, c + 1] + t * (table[k, c + 2] + t * table[k, c + 3]))


@njit(cache=True, error_model="numpy", inline="always")
def cubic_slope(table, k, c, t):  # type: ignore[no-untyped-def]
    """Its derivative with respect to t."""
    return table[k, c + 1] + t * (2.0 * table[k, c + 2] + 3.0 * t * table[k, c + 3])


@njit(cache=True, error_model="numpy")
def density_energy(table, span, d):  # type: ignore[no-untyped-def]
    """u and du/dd of one particle at density d; beyond the table u is linear."""
    u = (d - span[0]) * span[1]
    inside = min(max(u, 0.0), float(len(table)))
    k = min(int(inside), len(table) - 1)
    slope = cubic_slope(table, k, 0, inside - k)
    return cubic(table, k, 0, inside - k) + slope * (u - inside), slope * span[1]


@njit(cache=True, error_model="numpy", inline="always")
def inside(nodes, grid, S, x):  # type: ignore[no-untyped-def]
    """True if (S, x = ln V) lies in the table; False for NaN."""
    u, w = (S - grid[0]) * grid[1], (x - grid[2]) * grid[3]
    return (u >= 0.0) & (u <= nodes.shape[0] - 1) & (w >= 0.0) & (w <= nodes.shape[1] - 1)


@njit(cache=True, error_model="numpy", inline="always")
def _row(nodes, a, b, c, t):  # type: ignore[no-untyped-def]
    """Value and d/dt of column c (0: U, 1: hS U_S) along x, between the nodes b and b + 1 of row a."""
    f0, g0, f1, g1 = nodes[a, b, c], nodes[a, b, c + 2], nodes[a, b + 1, c], nodes[a, b + 1, c + 2]
    second, third = 3.0 * (f1 - f0) - 2.0 * g0 - g1, 2.0 * (f0 - f1) + g0 + g1
    return f0 + t * (g0 + t * (second + t * third)), g0 + t * (2.0 * second + 3.0 * t * third)


@njit(cache=True, error_model="numpy", inline="always")
def _along(f0, g0, f1, g1, t):  # type: ignore[no-untyped-def]
    """Value, slope and curvature in t of the Hermite cubic with ends f and slopes g."""
    second, third = 3.0 * (f1 - f0) - 2.0 * g0 - g1, 2.0 * (f0 - f1) + g0 + g1
    return (f0 + t * (g0 + t * (second + t * third)), g0 + t * (2.0 * second + 3.0 * t * third),
            2.0 * second + 6.0 * t * third)


@njit(cache=True, error_model="numpy")
def thermodynamics(nodes, grid, S, x):  # type: ignore[no-untyped-def]
    """(U, T, T/c = ∂T/∂S, P V) of one particle at entropy S and x = ln V; the state must be `inside`."""
    u, w = (S - grid[0]) * grid[1], (x - grid[2]) * grid[3]
    a, b = min(int(u), nodes.shape[0] - 2), min(int(w), nodes.shape[1] - 2)
    s, t = u - a, w - b
    f0, f0x = _row(nodes, a, b, 0, t)
    g0, g0x = _row(nodes, a, b, 1, t)
    f1, f1x = _row(nodes, a + 1, b, 0, t)
    g1, g1x = _row(nodes, a + 1, b, 1, t)
    U, U_s, U_ss = _along(f0, g0, f1, g1, s)
    U_x, _, _ = _along(f0x, g0x, f1x, g1x, s)
    return U, U_s * grid[1], U_ss * grid[1] * grid[1], -U_x * grid[3]


@njit(cache=True, error_model="numpy")
def internal_energy(nodes, grid, S, x):  # type: ignore[no-untyped-def]
    """U alone; the state must be `inside`."""
    u, w = (S - grid[0]) * grid[1], (x - grid[2]) * grid[3]
    a, b = min(int(u), nodes.shape[0] - 2), min(int(w), nodes.shape[1] - 2)
    t = w - b
    U, _, _ = _along(_row(nodes, a, b, 0, t)[0], _row(nodes, a, b, 1, t)[0],
                     _row(nodes, a + 1, b, 0, t)[0], _row(nodes, a + 1, b, 1, t)[0], u - a)
    return U


@njit(cache=True, error_model="numpy")
def entropy_of(nodes, grid, S, x, U):  # type: ignore[no-untyped-def]
    """S at which the energy is U, by Newton from the guess S; NaN if no such S lies in the table.

    U grows with S (T > 0), so each step keeps the side of the root it was on; a step never leaves the table.
    """
    w = (x - grid[2]) * grid[3]
    b = min(max(int(w), 0), nodes.shape[1] - 2)
    t = w - b
    u, low, high = (S - grid[0]) * grid[1], 0.0, nodes.shape[0] - 1.0
    if not (t >= 0.0 and t <= 1.0 and u >= low and u <= high and math.isfinite(U)):
        return np.nan
    row = -1
    f0 = g0 = f1 = g1 = 0.0
    for _ in range(60):
        a = min(int(u), nodes.shape[0] - 2)
        if a != row:
            row = a
            f0, g0 = _row(nodes, a, b, 0, t)[0], _row(nodes, a, b, 1, t)[0]
            f1, g1 = _row(nodes, a + 1, b, 0, t)[0], _row(nodes, a + 1, b, 1, t)[0]
        value, slope, _ = _along(f0, g0, f1, g1, u - a)
        excess = value - U
        if excess > 0.0:
            high = u
        else:
            low = u
        new = u - excess / slope
        if not (new > low and new < high):
            if abs(excess) <= 4e-16 * abs(slope) * max(1.0, u):
                return grid[0] + u / grid[1]
            new = 0.5 * (low + high)
        if abs(new - u) <= 4e-16 * max(1.0, abs(new)) or high - low <= 4e-16 * max(1.0, high):
            u = new
            break
        u = new
    ends = u <= 1e-12 or u >= nodes.shape[0] - 1.0 - 1e-12
    return np.nan if ends else grid[0] + u / grid[1]
