"""What compiled loops read of a model: its tables as one record, and how a value is looked up in them. Without torch.

The tables come from `vid2dyn.rollout.fluid.tables`; the Hermite polynomials are those of
`vid2dyn.dynamics.fluid.frozen`. Runs of LAMMPS import this file on every process, so it imports little.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit


class Tables(NamedTuple):
    """What the kernels read of a `FrozenFluid`; a part that it does not have is an array of length 0.

    radial (intervals, 16): `radial_table`; where kinds of pairs differ the kinds one after another, `rows` intervals
    each; alone (species,): density of a particle without neighbours; pairs (kinds, intervals, 12): `pair_table`; kind
    (species, species): number of the kind of a pair; nodes, grid: `eos_table`; density (intervals, 4), span (2,):
    `density_table`; temperature: that of all particles, or 0 where the equation of state has it; cutoff: range of the
    pairs.
    """

    radial: np.ndarray
    rows: int
    alone: np.ndarray
    pairs: np.ndarray
    kind: np.ndarray
    nodes: np.ndarray
    grid: np.ndarray
    density: np.ndarray
    span: np.ndarray
    temperature: float
    cutoff: float


@njit(cache=True, error_model="numpy", inline="always")
def first_row(tables, a, b):  # type: ignore[no-untyped-def]
    """First interval of `tables.radial` for a pair of species a and b."""
    if tables.rows < len(tables.radial):
        return tables.rows * tables.kind[a, b]
    return 0


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
