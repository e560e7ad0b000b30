"""Cells of the SDPD gas: who is near whom, linear in the number of particles, in a straight or a sheared box.

Cells are laid out in the sheared lattice (parallelepipeds of tilt at most half an edge), where neighbours of cells
are as in a straight box. `Space` says where. Particles are sorted into cells, so those of a cell lie side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.simulators.cells import cell_on_axis, order_by_cell


class Space(NamedTuple):
    """The box at one instant. Arrays have three entries (y, x, z); in two dimensions z is one cell.

    `tilt` is the offset along x of the image one box up, reduced to [-L_x/2, L_x/2]; `jump` its velocity.
    """

    lengths: np.ndarray
    cells: np.ndarray
    tilt: float
    jump: float


@njit(cache=True)
def wrap(x, v, image, lengths, offset, jump, dim):  # type: ignore[no-untyped-def]
    """Particles moved back into the box, with the velocity of their image; `image` counts the boxes they left."""
    for i in range(x.shape[0]):
        for c in range(dim):
            n = math.floor(x[i, c] / lengths[c])
            if n != 0:
                x[i, c] -= n * lengths[c]
                image[i, c] += n
                if c == 0:
                    x[i, 1] -= n * offset
                    v[i, 1] -= n * jump


@njit(cache=True)
def sort_into_cells(x, space, dim):  # type: ignore[no-untyped-def]
    """Positions in the tilted box, particles in the order of their cells, and where each cell begins."""
    n = x.shape[0]
    count, lengths, slope = space.cells, space.lengths, space.tilt / space.lengths[0]
    place = x.copy()
    cell = np.empty(n, np.int64)
    for i in range(n):
        k = 0
        for c in range(3):
            lattice = 0.0
            if c < dim:
                lattice = place[i, c]
                if c == 1:
                    lattice -= slope * place[i, 0]
                boxes = math.floor(lattice / lengths[c])
                lattice -= boxes * lengths[c]
                place[i, c] -= boxes * lengths[c]
            k = k * count[c] + cell_on_axis(lattice / lengths[c], count[c])
        cell[i] = k
    order, first = order_by_cell(cell, count[0] * count[1] * count[2])
    return place[order], order, first


@njit(cache=True, inline="always")
def neighbour_cell(c, dy, dx, dz, space):  # type: ignore[no-untyped-def]
    """The cell at (dy, dx, dz) of cell c, the image it stands for (shift in y, x, z), and its boxes in y."""
    ny, nx, nz = space.cells[0], space.cells[1], space.cells[2]
    y, x, z = c // (nx * nz) + dy, (c // nz) % nx + dx, c % nz + dz
    up, along, deep = 0, 0, 0
    if y < 0:
        y += ny
        up = -1
    elif y >= ny:
        y -= ny
        up = 1
    if x < 0:
        x += nx
        along = -1
    elif x >= nx:
        x -= nx
        along = 1
    if z < 0:
        z += nz
        deep = -1
    elif z >= nz:
        z -= nz
        deep = 1
    return ((y * nx + x) * nz + z, up * space.lengths[0], along * space.lengths[1] + up * space.tilt,
            deep * space.lengths[2], up)


def cell_counts(lengths: np.ndarray, cutoff: float, dim: int, sheared: bool) -> np.ndarray:
    """Cells along y, x, z. In a sheared box they are wider along x: |dx| + |tilt/L_y dy| <= cutoff sqrt(1 + slope²)."""
    steepest = 0.5 * lengths[1] / lengths[0] if sheared else 0.0
    widths = np.array([cutoff, cutoff * math.sqrt(1 + steepest**2), cutoff])
    count = np.maximum(np.floor(lengths / widths * (1 + 1e-12)), 1).astype(np.int64)
    count[dim:] = 1
    return count


def sweep_blocks(count: np.ndarray, dim: int) -> np.ndarray:
    """(blocks, 5) int: dy, dx, dz, axis, colour. Pairs of cells in one block share no cell, so threads may take them.

    A block holds the pairs (c, c + direction) with c of one colour along the first axis in which the direction
    points: even, odd, and the last one where the count is odd. Direction 0 is the inside of the cells.
    """
    blocks = [(0, 0, 0, 0, -1)]
    depth = (-1, 0, 1) if dim == 3 else (0,)
    for direction in [(a, b, g) for a in (-1, 0, 1) for b in (-1, 0, 1) for g in depth if (a, b, g) > (0, 0, 0)]:
        axis = next(k for k in range(3) if direction[k])
        blocks += [(*direction, axis, colour) for colour in range(2 + int(count[axis]) % 2)]
    return np.array(blocks, dtype=np.int64)


@njit(cache=True, inline="always")
def colour_of(c, axis, space):  # type: ignore[no-untyped-def]
    """0 even, 1 odd, 2 the last of an odd number of cells along `axis`."""
    nx, nz = space.cells[1], space.cells[2]
    at = c // (nx * nz) if axis == 0 else ((c // nz) % nx if axis == 1 else c % nz)
    return 2 if (at == space.cells[axis] - 1 and at % 2 == 0) else at % 2
