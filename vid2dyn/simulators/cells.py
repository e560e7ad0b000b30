"""Cells of the simulators: which one a particle is in, and particles sorted by them.

The simulators' own, so that what judges the dynamics shares no code with them. Plain numba.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def cell_on_axis(fraction, count):  # type: ignore[no-untyped-def]
    """Cell of `count` on one axis at `fraction` of its length, 0 to 1; rounding does not lead outside."""
    return min(count - 1, max(0, int(fraction * count)))


@njit(cache=True)
def cell_starts(cell, total):  # type: ignore[no-untyped-def]
    """Where each of `total` cells begins in a list of particles sorted by their `cell` (n,); (total + 1,)."""
    first = np.zeros(total + 1, np.int64)
    for i in range(cell.shape[0]):
        first[cell[i] + 1] += 1
    for c in range(total):
        first[c + 1] += first[c]
    return first


@njit(cache=True)
def order_by_cell(cell, total):  # type: ignore[no-untyped-def]
    """(order, first): particles in the order of their `cell` (n,), of one cell as given; where each cell begins."""
    first = cell_starts(cell, total)
    fill = first[:-1].copy()
    order = np.empty(cell.shape[0], np.int64)
    for i in range(cell.shape[0]):
        order[fill[cell[i]]] = i
        fill[cell[i]] += 1
    return order, first
