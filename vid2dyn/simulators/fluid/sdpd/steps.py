"""One step of the SDPD gas after another, compiled: drift, kick, pairs, kick, drift.

The step is a palindrome: half a drift, half a kick, friction with conduction and noise pair by pair, half a kick, half
a drift; the order of the pairs turns round from step to step. Drift and kick at fixed S are Verlet's (positions
first), second order and reversible; pairs conserve energy and momentum to rounding and keep the invariant density
exactly. Two steps are therefore exactly their own time reversal (velocities reversed), and the only error of the
stationary state is that of Verlet's energy, which is of order dt² and does not grow.

`place` and `first` come from `cells.sort_into_cells`: positions in the tilted box and where each cell begins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from vid2dyn.simulators.fluid.sdpd.cells import Space, neighbour_cell, sort_into_cells, wrap
from vid2dyn.simulators.fluid.sdpd.pairs import sweep
from vid2dyn.simulators.fluid.sdpd.physics import energy_of, lucy, lucy_f


class Drive(NamedTuple):
    """What is done to the gas from outside.

    `shear_rate` of the box; `acceleration` of the Taylor-Green force; `held_energy` per gas (NaN: not held), to which
    the sum of internal and peculiar kinetic energies is brought in every step by scaling all internal energies.
    """

    shear_rate: float
    acceleration: float
    held_energy: float


@njit(cache=True, parallel=True)
def densities(place, first, space, fluid):  # type: ignore[no-untyped-def]
    """d_i = sum_j W(r_ij) + W(0) [1/µm^dim], (n,)."""
    density = np.empty(place.shape[0])
    for c in prange(first.shape[0] - 1):
        for i in range(first[c], first[c + 1]):
            density[i] = lucy(0.0, fluid)
        for k in range(27 if fluid.dim == 3 else 9):
            dz = k // 9 - 1 if fluid.dim == 3 else 0
            other, s0, s1, s2, _ = neighbour_cell(c, (k % 9) // 3 - 1, k % 3 - 1, dz, space)
            for i in range(first[c], first[c + 1]):
                for j in range(first[other], first[other + 1]):
                    d0 = place[i, 0] - place[j, 0] - s0
                    d1 = place[i, 1] - place[j, 1] - s1
                    d2 = place[i, 2] - place[j, 2] - s2
                    r2 = d0 * d0 + d1 * d1 + d2 * d2
                    if r2 < fluid.cutoff**2 and i != j:
                        density[i] += lucy(math.sqrt(r2), fluid)
    return density


@njit(cache=True, parallel=True)
def forces(place, first, u, density, space, fluid):  # type: ignore[no-untyped-def]
    """F_i = sum_j (P_i/d_i² + P_j/d_j²) F(r_ij) r_ij; P = (gas/C) U d, so P/d² = (gas/C) U/d. (n, 3).

    The sign: dE = -sum P_i dV_i at fixed S, dV_i = -dd_i/d_i², dd_i = W'(r) dr and F = -W'/r: pressure pushes apart.
    """
    out = np.zeros(place.shape)
    weight = (fluid.gas / fluid.heat_capacity) * u / density
    for c in prange(first.shape[0] - 1):
        for k in range(27 if fluid.dim == 3 else 9):
            dz = k // 9 - 1 if fluid.dim == 3 else 0
            other, s0, s1, s2, _ = neighbour_cell(c, (k % 9) // 3 - 1, k % 3 - 1, dz, space)
            for i in range(first[c], first[c + 1]):
                for j in range(first[other], first[other + 1]):
                    d0 = place[i, 0] - place[j, 0] - s0
                    d1 = place[i, 1] - place[j, 1] - s1
                    d2 = place[i, 2] - place[j, 2] - s2
                    r2 = d0 * d0 + d1 * d1 + d2 * d2
                    if r2 < fluid.cutoff**2:
                        push = (weight[i] + weight[j]) * lucy_f(math.sqrt(r2), fluid)
                        out[i, 0] += push * d0
                        out[i, 1] += push * d1
                        out[i, 2] += push * d2
    return out


@njit(cache=True)
def taylor_green(x, lengths):  # type: ignore[no-untyped-def]
    """Unit Taylor-Green flow at x: u_y = -cos(k_x x) sin(k_y y) k_x/k_y, u_x = sin(k_x x) cos(k_y y); (n, 3)."""
    out = np.zeros(x.shape)
    ky, kx = 2 * math.pi / lengths[0], 2 * math.pi / lengths[1]
    out[:, 0] = -np.cos(kx * x[:, 1]) * np.sin(ky * x[:, 0]) * kx / ky
    out[:, 1] = np.sin(kx * x[:, 1]) * np.cos(ky * x[:, 0])
    return out


@njit(cache=True)
def _kick(v, force, push, dt, fluid):  # type: ignore[no-untyped-def]
    """Velocities after dt of the forces and of an acceleration `push`."""
    for i in range(v.shape[0]):
        for c in range(fluid.dim):
            v[i, c] += dt * (force[i, c] / fluid.mass + push[i, c])


@njit(cache=True)
def _push(place, drive, space):  # type: ignore[no-untyped-def]
    """Acceleration by the Taylor-Green force, less its mean: the force gives the gas no momentum."""
    if drive.acceleration == 0.0:
        return np.zeros(place.shape)
    push = drive.acceleration * taylor_green(place, space.lengths)
    for c in range(3):
        push[:, c] -= push[:, c].mean()
    return push


@njit(cache=True)
def _hold(x, v, u, drive, fluid):  # type: ignore[no-untyped-def]
    """Heat taken out so that internal and peculiar kinetic energy are what `drive` holds; scales all U alike."""
    kinetic = 0.0
    for i in range(v.shape[0]):
        flow = drive.shear_rate * x[i, 0]
        kinetic += v[i, 0] ** 2 + (v[i, 1] - flow) ** 2 + v[i, 2] ** 2
    total = u.sum()
    heat = total + 0.5 * fluid.mass * kinetic - drive.held_energy
    u *= 1.0 - heat / total
    return heat


@njit(cache=True)
def _space(lengths, count, strain, shear_rate):  # type: ignore[no-untyped-def]
    """The box at a strain: offset of the image above, reduced to half an edge."""
    offset = strain * lengths[0]
    tilt = offset - lengths[1] * math.floor(offset / lengths[1] + 0.5)
    return Space(lengths, count, tilt, shear_rate * lengths[0])


@njit(cache=True)
def advance(x, v, s, image, ids, lengths, count, blocks, drive, fluid, key, start, steps, dt):  # type: ignore[no-untyped-def]
    """`steps` steps from step number `start` (time start · dt) on.

    The state (x, v wrapped; s, image, ids) comes back in new arrays, sorted by cells, then heat taken out, rejected
    pair updates, and the step that failed (-1: none): its internal energy, density or position was not finite.
    """
    heat, rejected = 0.0, 0
    dissipative = fluid.alpha + fluid.beta + fluid.kappa > 0.0
    for step in range(start, start + steps):
        x = x + 0.5 * dt * v
        strain = drive.shear_rate * dt * (step + 0.5)
        if not np.isfinite(x.sum()):
            return x, v, s, image, ids, heat, rejected, step
        wrap(x, v, image, lengths, strain * lengths[0], drive.shear_rate * lengths[0], fluid.dim)
        space = _space(lengths, count, strain, drive.shear_rate)
        place, order, first = sort_into_cells(x, space, fluid.dim)
        x, v, s, image, ids = x[order], v[order], s[order], image[order], ids[order]
        density = densities(place, first, space, fluid)
        u = np.empty_like(s)
        for i in range(s.shape[0]):
            u[i] = energy_of(s[i], density[i], fluid)
        before = u.copy()
        push = _push(place, drive, space)
        _kick(v, forces(place, first, u, density, space, fluid), push, 0.5 * dt, fluid)
        if not math.isnan(drive.held_energy):
            heat += _hold(x, v, u, drive, fluid)
        if dissipative:
            rejected += sweep(dt, key, step, step % 2 == 1, place, v, u, density, ids, first, blocks, space, fluid)
        if not u.min() > 0.0 or not np.isfinite(u.sum()):
            return x, v, s, image, ids, heat, rejected, step
        _kick(v, forces(place, first, u, density, space, fluid), push, 0.5 * dt, fluid)
        s = s + fluid.heat_capacity * np.log(u / before)
        x = x + 0.5 * dt * v
    return x, v, s, image, ids, heat, rejected, -1
