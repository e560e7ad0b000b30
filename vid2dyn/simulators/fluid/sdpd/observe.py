"""What can be summed over the pairs of an SDPD configuration, with the cells of the simulator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
from numba import njit

from vid2dyn.simulators.fluid.sdpd.cells import Space, cell_counts, neighbour_cell, sort_into_cells
from vid2dyn.simulators.fluid.sdpd.physics import lucy_f
from vid2dyn.simulators.fluid.sdpd.settings import GasSettings
from vid2dyn.simulators.fluid.sdpd.steps import densities


@contextmanager
def threads(number: int) -> Iterator[None]:
    """At most `number` threads in the compiled loops of this block; what was set before is put back."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(number, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _cells(x: np.ndarray, sim: GasSettings, strain: float):  # type: ignore[no-untyped-def]
    lengths = np.full(3, float(sim.box_length))
    offset = strain * lengths[0]
    wrapped = np.zeros((len(x), 3))
    wrapped[:, :sim.dim] = x[:, :sim.dim]
    wrapped[:, 1] -= offset * np.floor(wrapped[:, 0] / lengths[0])
    wrapped[:, :sim.dim] %= sim.box_length
    tilt = offset - lengths[1] * math.floor(offset / lengths[1] + 0.5)
    count = cell_counts(lengths, sim.cutoff, sim.dim, strain != 0)
    space = Space(lengths, count, tilt, 0.0)
    return (*sort_into_cells(wrapped, space, sim.dim), space)


def densities_at(x: np.ndarray, sim: GasSettings, strain: float = 0.0) -> np.ndarray:
    """d_i = sum_j W(r_ij) + W(0) at positions x (N, dim or 3) [1/µm^dim], (N,)."""
    place, order, first, space = _cells(x, sim, strain)
    out = np.empty(len(x))
    with threads(sim.threads):
        out[order] = densities(place, first, space, sim.fluid)
    return out


@njit(cache=True)
def _second_moment(place, first, density, space, fluid):  # type: ignore[no-untyped-def]
    """Sum over pairs of r² F, weighted as the pair coefficients weigh it."""
    total = 0.0
    for c in range(first.shape[0] - 1):
        for k in range(27 if fluid.dim == 3 else 9):
            dz = k // 9 - 1 if fluid.dim == 3 else 0
            other, s0, s1, s2, _ = neighbour_cell(c, (k % 9) // 3 - 1, k % 3 - 1, dz, space)
            for i in range(first[c], first[c + 1]):
                for j in range(first[other], first[other + 1]):
                    d0, d1 = place[i, 0] - place[j, 0] - s0, place[i, 1] - place[j, 1] - s1
                    d2 = place[i, 2] - place[j, 2] - s2
                    r2 = d0 * d0 + d1 * d1 + d2 * d2
                    if 0.0 < r2 < fluid.cutoff**2:
                        weight = density[i] * density[j] if fluid.constant else fluid.density**2
                        total += 0.5 * r2 * lucy_f(math.sqrt(r2), fluid) / weight
    return total


def kernel_sum_at(x: np.ndarray, sim: GasSettings, strain: float = 0.0) -> float:
    """(2/(dim volume)) sum over pairs of r² F/(d_i d_j): 1 for a continuum."""
    place, _, first, space = _cells(x, sim, strain)
    with threads(sim.threads):
        density = densities(place, first, space, sim.fluid)
    return 2.0 / (sim.dim * sim.box_length**sim.dim) * _second_moment(place, first, density, space, sim.fluid)
