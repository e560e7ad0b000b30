"""Every pair of the SDPD gas once, block of cells after block of cells, in an order that threads cannot change.

`place`, `first` and `ids` come from `cells.sort_into_cells`, `blocks` from `cells.sweep_blocks`.
"""

from __future__ import annotations

import math

from numba import njit, prange

from vid2dyn.simulators.fluid.sdpd.cells import colour_of, neighbour_cell
from vid2dyn.simulators.fluid.sdpd.physics import lucy_f, pair_key
from vid2dyn.simulators.fluid.sdpd.updates import apply_conduction, apply_friction


@njit(cache=True)
def _pair(i, j, d0, d1, d2, jump, dt, key, step, backward, v, u, density, ids, fluid):  # type: ignore[no-untyped-def]
    """Friction and conduction of one pair if it is within the cutoff; in the opposite order when `backward`."""
    r2 = d0 * d0 + d1 * d1 + d2 * d2
    if r2 >= fluid.cutoff**2:
        return 0
    r = math.sqrt(r2)
    f = lucy_f(r, fluid) / (density[i] * density[j] if fluid.constant else fluid.density**2)
    if f <= 0.0:
        return 0
    own = pair_key(key, step, ids[i], ids[j])
    rejected = 0
    if backward and fluid.kappa > 0.0:
        rejected += not apply_conduction(i, j, f, dt, own, u, fluid)
    if fluid.alpha + fluid.beta > 0.0:
        inverse = 1.0 / r if r > 0.0 else 0.0
        rejected += not apply_friction(i, j, d0 * inverse, d1 * inverse, d2 * inverse, f, jump, dt, own, v, u, fluid)
    if not backward and fluid.kappa > 0.0:
        rejected += not apply_conduction(i, j, f, dt, own, u, fluid)
    return rejected


@njit(cache=True)
def _cell_pair(c, block, backward, dt, key, step, place, v, u, density, ids, first, space, fluid):  # type: ignore[no-untyped-def]
    """All pairs between cell c and its neighbour of the block, or within c; one after another."""
    other, s0, s1, s2, up = neighbour_cell(c, block[0], block[1], block[2], space)
    rejected = 0
    na, nb = first[c + 1] - first[c], first[other + 1] - first[other]
    for k in range(na * nb):
        k = na * nb - 1 - k if backward else k
        i, j = first[c] + k // nb, first[other] + k % nb
        if other == c and j <= i:
            continue
        # the neighbour is an image shifted by s, moving with up * jump
        rejected += _pair(i, j, place[i, 0] - place[j, 0] - s0, place[i, 1] - place[j, 1] - s1,
                          place[i, 2] - place[j, 2] - s2, up * space.jump, dt, key, step, backward, v, u, density,
                          ids, fluid)
    return rejected


@njit(cache=True, parallel=True)
def sweep(dt, key, step, backward, place, v, u, density, ids, first, blocks, space, fluid):  # type: ignore[no-untyped-def]
    """Every pair once, in an order that does not depend on threads; the exact opposite order when `backward`.

    Returns how many updates Metropolis rejected.
    """
    rejected = 0
    cells = first.shape[0] - 1
    for b in range(blocks.shape[0]):
        block = blocks[blocks.shape[0] - 1 - b if backward else b]
        count = 0
        for c in prange(cells):
            if block[4] < 0 or colour_of(c, block[3], space) == block[4]:
                count += _cell_pair(c, block, backward, dt, key, step, place, v, u, density, ids, first, space, fluid)
        rejected += count
    return rejected
