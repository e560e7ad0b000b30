"""The tables of a `FrozenFluid` as a compiled loop reads them: cubics per interval, cells of a bicubic surface.

The same Hermite polynomials as in `vid2dyn.dynamics.fluid.frozen`, so both agree to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vid2dyn.dynamics.fluid.frozen import FrozenFluid, pair_kind, read_radial
from vid2dyn.rollout.fluid.lookup import Tables


def tables_of(frozen: FrozenFluid) -> Tables:
    """All tables of a model."""
    every = range(frozen.species)
    kind = np.array([[pair_kind(a, b, frozen.species) for b in every] for a in every], dtype=np.int64)
    radial, rows = radial_table(frozen)
    return Tables(radial, rows, frozen.alone, pair_table(frozen), kind, *eos_table(frozen), *density_table(frozen),
                  float(frozen.temperature or 0.0), float(frozen.cutoff))


def radial_table(frozen: FrozenFluid) -> tuple[np.ndarray, int]:
    """(intervals, 16): coefficients of 1, t, t², t³ of W, across, along and C², t in [0, 1] the place in the interval.

    Where W differs between kinds of pairs the kinds one after another; beside it the number of intervals of one.
    `across` and `along` are the two radial parts of K (docstring of `vid2dyn.dynamics.fluid.frozen`). Tables of fewer
    rows are read on the grid of the longest one; absent ones are zero.
    """
    every = [frozen.kernel] if frozen.kernel is None or frozen.kernel.ndim == 2 else list(frozen.kernel)
    kinds = []
    for one in every:
        kernel, shear, bulk, heat = same_rows([one, frozen.shear, frozen.bulk, frozen.heat], frozen.cutoff)
        if not len(kernel):
            return np.empty((0, 16)), 0
        along = shear * (1.0 - 1.0 / frozen.dim) + bulk / frozen.dim
        parts = (kernel, 0.5 * shear, along, heat)
        kinds.append(np.concatenate([cubics(part, frozen.cutoff / (len(kernel) - 1)) for part in parts], axis=1))
    return np.concatenate(kinds), len(kinds[0])


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
