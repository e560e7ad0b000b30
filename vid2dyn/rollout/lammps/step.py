"""The step of `vid2dyn.rollout.fluid` as a callback of LAMMPS: the same formulas, the same noise, sums over processes.

LAMMPS moves the particles (`fix nve`), keeps neighbour lists, and moves particles from process to process. Where it
asks for forces, after the positions have moved, this callback makes the dissipative half of the step as well:

    kick, drift        fix nve
    callback           forces F(x, S); v + F dt/2m is the velocity after the conservative half; friction and noise by
                       Crank-Nicolson (`vid2dyn.rollout.fluid.friction`), heat, conduction, entropies, bath; forces
                       F'(x, S') at the new entropies; leaves F' and the new velocity minus F' dt/2m
    kick               fix nve, which adds F' dt/2m and, in the next step, starts with F'

So it is the same method as that of our own engine, with the same error in dt, and both agree step by step to rounding:
conjugate gradients run over all processes, with one message to each neighbour and two sums over all processes an
iteration. Noise is keyed on ids, so both sides of a border draw the same numbers, and what a pair exchanges is computed
on both sides from the same values: momentum is exact.

Axes of LAMMPS are (x, y, z), those of vid2dyn (y, x, z): components of noise and one-body tables change places here.

Pairs are kept once a process (`newton off`): of a pair across a border each side has one end. Sums run over the pairs
in the order of LAMMPS's lists, which is all that differs between one process and several.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import cfunc, njit, types

from vid2dyn.core.pair_noise import normal, pair_key, step_key
from vid2dyn.rollout.fluid.lookup import (
    Tables,
    cubic,
    cubic_slope,
    density_energy,
    entropy_of,
    first_row,
    inside,
    thermodynamics,
)
from vid2dyn.rollout.fluid.one_body import external
from vid2dyn.rollout.fluid.pairs import OWN, inverse_temperature
from vid2dyn.rollout.lammps import control as c
from vid2dyn.rollout.lammps.halo import covered, forward, renew_halo, summed
from vid2dyn.rollout.lammps.native import (
    call_double,
    call_int,
    call_word,
    double_room,
    doubles,
    integer_room,
    integers,
    numbers,
    room,
    words,
)

DENSITY, T, SOFTNESS, PUSH = range(4)
"""Columns of the state of a particle: density, temperature, 1/heat capacity, P/d²."""
LIMIT = 1000
"""Most iterations of a solver."""
_NEIGHBOUR = 0x1FFFFFFF


@njit(cache=True)
def _array(control, slot):  # type: ignore[no-untyped-def]
    """An array of the model with three axes."""
    a, b, d = control[slot + 1], control[slot + 2], control[slot + 3]
    return doubles(control[slot], a, b * d).reshape((a, b, d))


@njit(cache=True)
def _matrix(control, slot):  # type: ignore[no-untyped-def]
    """An array of the model with two axes."""
    return doubles(control[slot], control[slot + 1], control[slot + 2])


@njit(cache=True)
def tables_of_model(control, values):  # type: ignore[no-untyped-def]
    """The tables as `vid2dyn.rollout.fluid.lookup` reads them."""
    species = control[c.SPECIES]
    kind = words(control[c.KIND], species * species).reshape((species, species))
    return Tables(_matrix(control, c.RADIAL), control[c.RADIAL_ROWS],
                  numbers(control[c.ALONE], species), _array(control, c.PAIRS), kind,
                  _array(control, c.NODES), numbers(control[c.EOS_GRID], 4), _matrix(control, c.DENSITY),
                  numbers(control[c.SPAN], 2), values[c.TEMPERATURE], values[c.CUTOFF])


@njit(cache=True)
def _fail(control, values, code, who, wrong, wrong_too):  # type: ignore[no-untyped-def]
    """Remember the first thing that went wrong here."""
    if control[c.CODE] == c.FINE:
        control[c.CODE], control[c.WHO] = code, who
        values[c.WRONG], values[c.WRONG_TOO] = wrong, wrong_too


@njit(cache=True)
def _renew_list(control, n, m, ids, x):  # type: ignore[no-untyped-def]
    """Copy LAMMPS's half list: pairs (first, second), first one of ours; and find the owners of ghosts."""
    handle, which = control[c.LAMMPS], control[c.LIST]
    rows = call_int(control[c.LIST_SIZE], (handle, which))
    answer = np.zeros(3, np.int64)
    into = answer.ctypes.data
    total = 0
    for element in range(rows):
        call_int(control[c.NEIGHBOURS], (handle, which, np.int64(element), into, into + 8, into + 16))
        total += integers(np.int64(into) + 8, 1)[0]
    first, second = integer_room(control, c.LISTED_FIRST, total), integer_room(control, c.LISTED_SECOND, total)
    p = 0
    for element in range(rows):
        call_int(control[c.NEIGHBOURS], (handle, which, np.int64(element), into, into + 8, into + 16))
        i = integers(np.int64(into), 1)[0]
        found = integers(answer[2], integers(np.int64(into) + 8, 1)[0])
        for q in range(len(found)):
            first[p], second[p] = i, found[q] & _NEIGHBOUR
            p += 1
    control[c.LISTED] = total
    renew_halo(control, n, m, ids, x)
    if not covered(control, n, m):
        _fail(control, numbers(control[c.NUMBERS], c.COUNT_OF_NUMBERS), c.NO_OWNER, 0, 0.0, 0.0)


@njit(cache=True, error_model="numpy")
def _geometry(control, tables, n, m, ids, species, x, pairs, state):  # type: ignore[no-untyped-def]
    """Pairs within the cutoff with all that depends on distance, densities; returns how many."""
    first, second, e, pull, slope, rough, spread = pairs
    listed = control[c.LISTED]
    listed_first, listed_second = integers(control[c.LISTED_FIRST], listed), integers(control[c.LISTED_SECOND], listed)
    fluid, bound, cutoff = len(tables.radial) > 0, len(tables.pairs) > 0, tables.cutoff
    per_length, own_per_length = tables.rows / cutoff, tables.pairs.shape[1] / cutoff
    last, own_last = tables.rows - 1, tables.pairs.shape[1] - 1
    if fluid:
        for i in range(m):
            state[i, DENSITY] = tables.alone[species[i] - 1]
    count, squared = 0, cutoff * cutoff
    for p in range(listed):
        i, j = listed_first[p], listed_second[p]
        dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
        r2 = dx * dx + dy * dy + dz * dz
        if r2 >= squared:
            continue
        r = math.sqrt(r2)
        if not r < cutoff:
            continue
        q = count
        count += 1
        first[q], second[q] = i, j
        one = 1.0 / r
        e[q, 0], e[q, 1], e[q, 2] = dx * one, dy * one, dz * one
        if not r > 1e-12 * cutoff and control[c.CODE] == c.FINE:
            control[c.CODE], control[c.WHO], control[c.WHO_TOO] = c.COINCIDE, ids[i] - 1, ids[j] - 1
        if fluid:
            k = min(int(r * per_length), last)
            t = r * per_length - k
            k += first_row(tables, species[i] - 1, species[j] - 1)
            W = cubic(tables.radial, k, 0, t)
            slope[q] = cubic_slope(tables.radial, k, 0, t) * per_length
            for a in range(3):
                spread[q, a] = max(cubic(tables.radial, k, 4 + 4 * a, t), 0.0)
            state[i, DENSITY] += W
            state[j, DENSITY] += W
        if bound:
            of_kind = tables.pairs[tables.kind[species[i] - 1, species[j] - 1]]
            k = min(int(r * own_per_length), own_last)
            t = r * own_per_length - k
            pull[q] = cubic_slope(of_kind, k, 0, t) * own_per_length
            rough[q, 0] = max(cubic(of_kind, k, 4, t), 0.0)
            rough[q, 1] = max(cubic(of_kind, k, 8, t), 0.0)
    return count


@njit(cache=True, error_model="numpy")
def _state_of(control, values, tables, n, m, ids, S, U, state):  # type: ignore[no-untyped-def]
    """Energy, temperature, 1/c and push of our particles from density and S; then those of the ghosts."""
    one = tables.temperature
    for i in range(n):
        density = state[i, DENSITY]
        if one > 0.0:
            state[i, T], state[i, SOFTNESS], state[i, PUSH] = one, 0.0, 0.0
            if len(tables.density) > 0:
                _, state[i, PUSH] = density_energy(tables.density, tables.span, density)
            continue
        volume = -math.log(density)
        if inside(tables.nodes, tables.grid, S[i], volume):
            U[i], state[i, T], bend, PV = thermodynamics(tables.nodes, tables.grid, S[i], volume)
            state[i, SOFTNESS] = bend / state[i, T]
            state[i, PUSH] = PV / density
        else:
            _fail(control, values, c.LEFT_TABLE, ids[i] - 1, density, S[i])
            # finite, because other processes use it before the next sum tells them to stop
            state[i, T], state[i, SOFTNESS], state[i, PUSH] = 1.0, 0.0, 0.0
    if one > 0.0 and len(tables.density) == 0:
        for i in range(n, m):
            state[i, T], state[i, SOFTNESS], state[i, PUSH] = one, 0.0, 0.0
    else:
        forward(control, state)


@njit(cache=True, error_model="numpy")
def _forces(control, tables, count, n, ids, x, image, pairs, state, force):  # type: ignore[no-untyped-def]
    """Conservative forces, (owned and ghosts, 3); those of ghosts are not complete and not used."""
    first, second, e, pull, slope = pairs[0], pairs[1], pairs[2], pairs[3], pairs[4]
    force[:] = 0.0
    fluid, bound = len(tables.radial) > 0, len(tables.pairs) > 0
    for p in range(count):
        i, j = first[p], second[p]
        s = 0.0
        if fluid:
            s += (state[i, PUSH] + state[j, PUSH]) * slope[p]
        if bound:
            s += pull[p]
        for a in range(3):
            along = s * e[p, a]
            force[i, a] -= along
            force[j, a] += along
    if control[c.HAS_ONE_BODY] != 0:
        _one_body(control, n, ids, x, image, force)


@njit(cache=True, error_model="numpy")
def _one_body(control, n, ids, x, image, force):  # type: ignore[no-untyped-def]
    """Forces of the external potential and of traps, at positions that were never wrapped."""
    values, grid = _array(control, c.EXTERNAL), doubles(control[c.EXTERNAL_GRID], 3, 3)
    centre = _matrix(control, c.CENTRE)
    stiffness = numbers(control[c.NUMBERS], c.COUNT_OF_NUMBERS)[c.STIFFNESS]
    low, high = numbers(control[c.BOX_LOW], 3), numbers(control[c.BOX_HIGH], 3)
    at = np.empty(3)
    for i in range(n):
        turns = image[i]
        for a in range(3):
            at[a] = x[i, a]
            if control[c.PERIODIC + a] != 0:
                at[a] += (((turns >> (10 * a)) & 1023) - 512) * (high[a] - low[a])
        if len(values) > 0:
            _, gy, gx, gz = external(values, grid, at[1], at[0], at[2])
            force[i, 0], force[i, 1], force[i, 2] = force[i, 0] - gx, force[i, 1] - gy, force[i, 2] - gz
        if stiffness > 0.0:
            own = ids[i] - 1 if len(centre) > 1 else 0
            for a in range(3):
                force[i, a] -= stiffness * (at[a] - centre[own, 1 - a if a < 2 else a])


@njit(cache=True, error_model="numpy")
def _exchange(control, values, tables, count, ids, pairs, state, exchange, step):  # type: ignore[no-untyped-def]
    """Friction (times dt), random impulse, conduction and noise of heat of every pair; see `fluid.pairs.Exchange`."""
    first, second, e, rough, spread = pairs[0], pairs[1], pairs[2], pairs[5], pairs[6]
    friction, impulse, conduction, heat_noise = exchange
    fluid, bound, conducts = len(tables.radial) > 0, len(tables.pairs) > 0, control[c.CONDUCTS] != 0
    dim, powers = control[c.DIM], (control[c.TEMPERATURE_POWER], control[c.VOLUME_POWER])
    dt, kB, one = values[c.DT], values[c.KB], tables.temperature > 0.0
    shared = step_key(control[c.SEED], step)
    root = math.sqrt(2.0 * kB * dt)
    for p in range(count):
        i, j = first[p], second[p]
        friction[p, 0] = friction[p, 1] = impulse[p, 0] = impulse[p, 1] = impulse[p, 2] = 0.0
        key = pair_key(shared, ids[i] - 1, ids[j] - 1)
        sign = 1.0 if ids[i] < ids[j] else -1.0
        Ti, Tj = state[i, T], state[j, T]
        ci, cj = kB * state[i, SOFTNESS], kB * state[j, SOFTNESS]
        if fluid:
            across, along, heat = spread[p, 0], spread[p, 1], spread[p, 2]
            if powers[1] == 1:
                volumes = 1.0 / (state[i, DENSITY] * state[j, DENSITY])
                across, along, heat = across * volumes, along * volumes, heat * volumes
            if powers[0] == 1:
                mean = 2.0 * Ti * Tj / (Ti + Tj)
                across, along, heat = across * mean, along * mean, heat * Ti * Tj
            if conducts:
                conduction[p], heat_noise[p] = dt * heat, 0.0
            if across + along + heat > 0.0:
                rate = 0.5 * dt * (inverse_temperature(Ti, Tj, ci, powers[0])
                                   + inverse_temperature(Tj, Ti, cj, powers[0]))
                friction[p, 0], friction[p, 1] = rate * across, rate * (along - across)
                if kB > 0.0:
                    a, b, z = normal(key, 1), normal(key, 0), 0.0
                    if dim == 3:
                        z = normal(key, 2)
                    sideways, forwards = sign * root * math.sqrt(across), sign * root * math.sqrt(along)
                    ahead = (forwards - sideways) * (a * e[p, 0] + b * e[p, 1] + z * e[p, 2])
                    impulse[p, 0] = sideways * a + ahead * e[p, 0]
                    impulse[p, 1] = sideways * b + ahead * e[p, 1]
                    impulse[p, 2] = sideways * z + ahead * e[p, 2]
                    if heat > 0.0 and conducts:
                        heat_noise[p] = sign * normal(key, dim)
        if bound:
            across, along = rough[p, 0], rough[p, 1]
            if across + along > 0.0:
                if one:
                    mean, rate = Ti, dt
                else:
                    mean = 2.0 * Ti * Tj / (Ti + Tj)
                    rate = 0.5 * dt * mean * (inverse_temperature(Ti, Tj, ci, 1) + inverse_temperature(Tj, Ti, cj, 1))
                friction[p, 0] += rate * across
                friction[p, 1] += rate * (along - across)
                if kB > 0.0:
                    a, b, z = normal(key, OWN + 1), normal(key, OWN), 0.0
                    if dim == 3:
                        z = normal(key, OWN + 2)
                    own_root = sign * math.sqrt(2.0 * kB * dt * mean)
                    sideways, forwards = own_root * math.sqrt(across), own_root * math.sqrt(along)
                    ahead = (forwards - sideways) * (a * e[p, 0] + b * e[p, 1] + z * e[p, 2])
                    impulse[p, 0] += sideways * a + ahead * e[p, 0]
                    impulse[p, 1] += sideways * b + ahead * e[p, 1]
                    impulse[p, 2] += sideways * z + ahead * e[p, 2]


@njit(cache=True, error_model="numpy")
def _subtract_friction(count, pairs, friction, v, impulse, out):  # type: ignore[no-untyped-def]
    """out += and -= impulse - friction · v of every pair at its two ends."""
    first, second, e = pairs[0], pairs[1], pairs[2]
    for p in range(count):
        i, j = first[p], second[p]
        x, y, z = v[i, 0] - v[j, 0], v[i, 1] - v[j, 1], v[i, 2] - v[j, 2]
        ahead = friction[p, 1] * (e[p, 0] * x + e[p, 1] * y + e[p, 2] * z)
        x = impulse[p, 0] - friction[p, 0] * x - ahead * e[p, 0]
        y = impulse[p, 1] - friction[p, 0] * y - ahead * e[p, 1]
        z = impulse[p, 2] - friction[p, 0] * z - ahead * e[p, 2]
        out[i, 0], out[i, 1], out[i, 2] = out[i, 0] + x, out[i, 1] + y, out[i, 2] + z
        out[j, 0], out[j, 1], out[j, 2] = out[j, 0] - x, out[j, 1] - y, out[j, 2] - z


@njit(cache=True, error_model="numpy")
def _settle_impulse(count, pairs, friction, v, impulse):  # type: ignore[no-untyped-def]
    """impulse -= friction · v, (pairs, 3)."""
    first, second, e = pairs[0], pairs[1], pairs[2]
    for p in range(count):
        i, j = first[p], second[p]
        x, y, z = v[i, 0] - v[j, 0], v[i, 1] - v[j, 1], v[i, 2] - v[j, 2]
        ahead = friction[p, 1] * (e[p, 0] * x + e[p, 1] * y + e[p, 2] * z)
        impulse[p, 0] -= friction[p, 0] * x + ahead * e[p, 0]
        impulse[p, 1] -= friction[p, 0] * y + ahead * e[p, 1]
        impulse[p, 2] -= friction[p, 0] * z + ahead * e[p, 2]


@njit(cache=True, error_model="numpy")
def _gather(count, pairs, impulse, out):  # type: ignore[no-untyped-def]
    """out = sum of the impulses that a particle receives."""
    first, second = pairs[0], pairs[1]
    out[:] = 0.0
    for p in range(count):
        i, j = first[p], second[p]
        for a in range(3):
            out[i, a] += impulse[p, a]
            out[j, a] -= impulse[p, a]


@njit(cache=True, error_model="numpy")
def _operator(count, n, pairs, friction, mass, species, v, out):  # type: ignore[no-untyped-def]
    """out_i = 2 m_i v_i + sum_j friction_ij v_ij."""
    first, second, e = pairs[0], pairs[1], pairs[2]
    for i in range(len(out)):
        weight = 2.0 * mass[species[i] - 1]
        out[i, 0], out[i, 1], out[i, 2] = weight * v[i, 0], weight * v[i, 1], weight * v[i, 2]
    for p in range(count):
        i, j = first[p], second[p]
        x, y, z = v[i, 0] - v[j, 0], v[i, 1] - v[j, 1], v[i, 2] - v[j, 2]
        ahead = friction[p, 1] * (e[p, 0] * x + e[p, 1] * y + e[p, 2] * z)
        x = friction[p, 0] * x + ahead * e[p, 0]
        y = friction[p, 0] * y + ahead * e[p, 1]
        z = friction[p, 0] * z + ahead * e[p, 2]
        out[i, 0], out[i, 1], out[i, 2] = out[i, 0] + x, out[i, 1] + y, out[i, 2] + z
        out[j, 0], out[j, 1], out[j, 2] = out[j, 0] - x, out[j, 1] - y, out[j, 2] - z


@njit(cache=True, error_model="numpy")
def _dot(n, a, b):  # type: ignore[no-untyped-def]
    """Sum of a·b over our particles."""
    total = 0.0
    for i in range(n):
        for k in range(a.shape[1]):
            total += a[i, k] * b[i, k]
    return total


@njit(cache=True, error_model="numpy")
def _solve(control, values, count, n, pairs, friction, mass, species,
           residual, change, direction, image):  # type: ignore[no-untyped-def]
    """Conjugate gradients for (2 m + dt L) change = residual, over all processes; False: stop, on all of them.

    The first sum also tells whether any process has failed. `change` is kept for ghosts too, from their directions.
    """
    m = len(change)
    change[:] = 0.0
    for i in range(n):
        for a in range(3):
            direction[i, a] = residual[i, a]
    broken = 0.0 if control[c.CODE] == c.FINE else 1.0
    size, broken = summed(control, _dot(n, residual, residual), broken)
    if broken > 0.0 or not math.isfinite(size):
        return False
    goal = values[c.TOLERANCE] * values[c.TOLERANCE] * size
    for _ in range(LIMIT):
        if size <= goal:
            return True
        forward(control, direction)
        _operator(count, n, pairs, friction, mass, species, direction, image)
        below, _ = summed(control, _dot(n, direction, image), 0.0)
        step = size / below
        if not math.isfinite(step):
            break
        new = 0.0
        for i in range(n):
            for a in range(3):
                change[i, a] += step * direction[i, a]
                residual[i, a] -= step * image[i, a]
                new += residual[i, a] * residual[i, a]
        for i in range(n, m):
            for a in range(3):
                change[i, a] += step * direction[i, a]
        new, _ = summed(control, new, 0.0)
        factor = new / size
        for i in range(n):
            for a in range(3):
                direction[i, a] = residual[i, a] + factor * direction[i, a]
        size = new
        control[c.ITERATIONS] += 1
    _fail(control, values, c.FRICTION_UNSETTLED, 0, 0.0, 0.0)
    return False


@njit(cache=True, error_model="numpy")
def _conduct(control, values, count, n, m, pairs, state, conduction, heat):  # type: ignore[no-untyped-def]
    """Heat of conduction of every pair, what its first particle receives, into `heat`; False: stop, on all processes.

    As in `vid2dyn.rollout.fluid.friction`: coefficients limited by the relaxation of both ends, then Crank-Nicolson for
    the temperatures.
    """
    first, second = pairs[0], pairs[1]
    kB, power = values[c.KB], control[c.TEMPERATURE_POWER]
    relax = double_room(control, c.RELAX, m, 1)
    relax[:] = 0.0
    for p in range(count):
        i, j = first[p], second[p]
        w = conduction[p] / (state[i, T] * state[j, T])
        relax[i, 0] += w
        relax[j, 0] += w
    for i in range(n):
        relax[i, 0] *= state[i, SOFTNESS]
    forward(control, relax)
    residual, y = double_room(control, c.COLUMN_RESIDUAL, m, 1), double_room(control, c.COLUMN_CHANGE, m, 1)
    direction, image = double_room(control, c.COLUMN_DIRECTION, m, 1), double_room(control, c.COLUMN_IMAGE, m, 1)
    residual[:] = 0.0
    y[:] = 0.0
    for p in range(count):
        i, j, noise = first[p], second[p], heat[p]
        heat[p] = 0.0
        if conduction[p] > 0.0:
            Ti, Tj = state[i, T], state[j, T]
            z = max(relax[i, 0], relax[j, 0], 1e-8)
            C2 = conduction[p] * math.tanh(z) / z
            w = C2 / (Ti * Tj)
            conduction[p] = w
            heat[p] = w * (Tj - Ti) + math.sqrt(2.0 * kB * C2) * noise
            if power == 0:
                heat[p] -= kB * C2 * (state[i, SOFTNESS] / Ti - state[j, SOFTNESS] / Tj)
        residual[i, 0] += heat[p]
        residual[j, 0] -= heat[p]
    for i in range(n):
        if not state[i, SOFTNESS] > 0.0:
            residual[i, 0] = 0.0
        direction[i, 0] = residual[i, 0]
    size, _ = summed(control, _dot(n, residual, residual), 0.0)
    if not math.isfinite(size):
        return False
    goal = values[c.TOLERANCE] * values[c.TOLERANCE] * size
    for _ in range(LIMIT):
        if size <= goal:
            for p in range(count):
                heat[p] -= conduction[p] * (y[first[p], 0] - y[second[p], 0])
            return True
        forward(control, direction)
        for i in range(m):
            image[i, 0] = 2.0 / state[i, SOFTNESS] * direction[i, 0] if state[i, SOFTNESS] > 0.0 else 0.0
        for p in range(count):
            i, j = first[p], second[p]
            flow = conduction[p] * (direction[i, 0] - direction[j, 0])
            image[i, 0] += flow
            image[j, 0] -= flow
        for i in range(n):
            if not state[i, SOFTNESS] > 0.0:
                image[i, 0] = 0.0
        below, _ = summed(control, _dot(n, direction, image), 0.0)
        step = size / below
        if not math.isfinite(step):
            break
        for i in range(m):
            y[i, 0] += step * direction[i, 0]
            residual[i, 0] -= step * image[i, 0]
        new, _ = summed(control, _dot(n, residual, residual), 0.0)
        for i in range(n):
            direction[i, 0] = residual[i, 0] + new / size * direction[i, 0]
        size = new
        control[c.ITERATIONS] += 1
    _fail(control, values, c.CONDUCTION_UNSETTLED, 0, 0.0, 0.0)
    return False


@njit(cache=True, error_model="numpy")
def _take_heat(control, values, tables, count, n, m, ids, pairs, impulse, heat, mean, state, U,
               S):  # type: ignore[no-untyped-def]
    """Half the work of friction at mean velocities to each end of a pair, and the heat of conduction; then S."""
    first, second, conducts = pairs[0], pairs[1], control[c.CONDUCTS] != 0
    work = double_room(control, c.WORK, m, 1)
    work[:] = 0.0
    for p in range(count):
        i, j = first[p], second[p]
        half = -0.5 * (impulse[p, 0] * (mean[i, 0] - mean[j, 0]) + impulse[p, 1] * (mean[i, 1] - mean[j, 1])
                       + impulse[p, 2] * (mean[i, 2] - mean[j, 2]))
        work[i, 0] += half
        work[j, 0] += half
        if conducts:
            work[i, 0] += heat[p]
            work[j, 0] -= heat[p]
    for i in range(n):
        if tables.temperature > 0.0:
            S[i] += work[i, 0] / tables.temperature
            continue
        S[i] = entropy_of(tables.nodes, tables.grid, S[i], -math.log(state[i, DENSITY]), U[i] + work[i, 0])
        if not math.isfinite(S[i]):
            _fail(control, values, c.NO_ENTROPY, ids[i] - 1, state[i, DENSITY], U[i] + work[i, 0])


@njit(cache=True, error_model="numpy")
def _bath(control, n, ids, species, keep, kick, v, step):  # type: ignore[no-untyped-def]
    """v = keep v + kick ξ of every particle in its bath."""
    shared = step_key(control[c.SEED], step)
    for i in range(n):
        key = pair_key(shared, ids[i] - 1, ids[i] - 1)
        for a in range(control[c.DIM]):
            channel = 1 - a if a < 2 else a
            v[i, a] = keep[species[i] - 1] * v[i, a] + kick[species[i] - 1] * normal(key, channel)


@njit(cache=True, error_model="numpy")
def _stop(control):  # type: ignore[no-untyped-def]
    """End the run after this step; every process does so at the same one."""
    control[c.STOPPED] = 1
    call_int(control[c.FORCE_STOP], (control[c.LAMMPS],))


@njit(cache=True, error_model="numpy")
def _column(control, name, m):  # type: ignore[no-untyped-def]
    """Array (m,) of float64 of LAMMPS."""
    return numbers(call_word(control[c.EXTRACT_ATOM], (control[c.LAMMPS], control[name])), m)


@njit(cache=True, error_model="numpy")
def _block(address, m):  # type: ignore[no-untyped-def]
    """Array (m, 3) of LAMMPS from the address of its row pointers."""
    return doubles(words(address, 1)[0], m, 3)


@njit(cache=True, error_model="numpy")
def _dissipate(control, values, tables, count, n, m, ids, species, pairs, state, force, v, S, U, mass,
               step):  # type: ignore[no-untyped-def]
    """The dissipative half; v (owned, 3) is left as fix nve needs it. Returns False if the run is to stop."""
    conducts = control[c.CONDUCTS] != 0
    exchange = (double_room(control, c.FRICTION, count, 2), double_room(control, c.IMPULSE, count, 3),
                numbers(room(control, c.CONDUCTION, 8 * count), count if conducts else 0),
                numbers(room(control, c.HEAT, 8 * count), count if conducts else 0))
    friction, impulse, conduction, heat = exchange
    _exchange(control, values, tables, count, ids, pairs, state, exchange, step)
    half = 0.5 * values[c.DT]
    before, residual = double_room(control, c.BEFORE, m, 3), double_room(control, c.RESIDUAL, m, 3)
    for i in range(n):
        for a in range(3):
            before[i, a] = v[i, a] + half / mass[species[i] - 1] * force[i, a]
    if control[c.DISSIPATES] == 0:
        _, broken = summed(control, 0.0, 0.0 if control[c.CODE] == c.FINE else 1.0)
        if broken > 0.0:
            return False
        for i in range(n):
            for a in range(3):
                v[i, a] = before[i, a]
    else:
        forward(control, before)
        residual[:] = 0.0
        _subtract_friction(count, pairs, friction, before, impulse, residual)
        change = double_room(control, c.CHANGE, m, 3)
        if not _solve(control, values, count, n, pairs, friction, mass, species, residual, change,
                      double_room(control, c.DIRECTION, m, 3), double_room(control, c.IMAGE_OF, m, 3)):
            return False
        for i in range(m):
            for a in range(3):
                change[i, a] += before[i, a]
        _settle_impulse(count, pairs, friction, change, impulse)
        _gather(count, pairs, impulse, residual)
        for i in range(n):
            factor = 0.5 / mass[species[i] - 1]
            for a in range(3):
                before[i, a] += factor * residual[i, a]
        if not tables.temperature > 0.0:
            # energy is exact only if both processes take the same mean; at one temperature it is but an account
            forward(control, before)
        else:
            for i in range(n, m):
                for a in range(3):
                    before[i, a] = change[i, a]
        for i in range(n):
            factor = 0.5 / mass[species[i] - 1]
            for a in range(3):
                v[i, a] = before[i, a] + factor * residual[i, a]
        if conducts and not _conduct(control, values, count, n, m, pairs, state, conduction, heat):
            return False
        _take_heat(control, values, tables, count, n, m, ids, pairs, impulse, heat, before, state, U, S)
    if control[c.HAS_BATH] != 0:
        species_count = control[c.SPECIES]
        _bath(control, n, ids, species, numbers(control[c.KEEP], species_count),
              numbers(control[c.KICK], species_count), v, step)
    return True


@njit(cache=True, error_model="numpy")
def _advance(control, step, n, ids_at, x_at, f_at):  # type: ignore[no-untyped-def]
    values = numbers(control[c.NUMBERS], c.COUNT_OF_NUMBERS)
    clock = call_double(control[c.WTIME], ())
    handle = control[c.LAMMPS]
    m = n + call_int(control[c.EXTRACT_SETTING], (handle, control[c.GHOSTS]))
    ids, x = integers(ids_at, m), _block(x_at, m)
    out = _block(f_at, n)
    v = _block(call_word(control[c.EXTRACT_ATOM], (handle, control[c.VELOCITY])), n)
    S = _column(control, c.ENTROPY, n)
    species = integers(call_word(control[c.EXTRACT_ATOM], (handle, control[c.TYPE])), m)
    image = integers(call_word(control[c.EXTRACT_ATOM], (handle, control[c.IMAGE])), n)
    mass = numbers(control[c.MASS], control[c.SPECIES])
    tables = tables_of_model(control, values)
    if call_int(control[c.EXTRACT_SETTING], (handle, control[c.AGO])) <= 0 or control[c.CALLS] == 0:
        _renew_list(control, n, m, ids, x)
    control[c.CALLS] += 1
    listed = control[c.LISTED]
    fluid, bound = len(tables.radial) > 0, len(tables.pairs) > 0
    pairs = (integer_room(control, c.FIRST, listed), integer_room(control, c.SECOND, listed),
             double_room(control, c.UNIT, listed, 3),
             numbers(room(control, c.PULL, 8 * listed if bound else 8), listed),
             numbers(room(control, c.SLOPE, 8 * listed if fluid else 8), listed),
             doubles(room(control, c.ROUGH, 16 * listed if bound else 8), listed, 2),
             doubles(room(control, c.SPREAD, 24 * listed if fluid else 8), listed, 3))
    state, U = double_room(control, c.STATE, m, 4), numbers(room(control, c.INTERNAL, 8 * n), n)
    force = double_room(control, c.FORCE, m, 3)
    count = _geometry(control, tables, n, m, ids, species, x, pairs, state)
    _state_of(control, values, tables, n, m, ids, S, U, state)
    _forces(control, tables, count, n, ids, x, image, pairs, state, force)
    if step != control[c.LAST_STEP]:
        control[c.LAST_STEP] = step
        if not _dissipate(control, values, tables, count, n, m, ids, species, pairs, state, force, v, S, U, mass, step):
            _stop(control)
        elif not tables.temperature > 0.0:
            _state_of(control, values, tables, n, m, ids, S, U, state)
            _forces(control, tables, count, n, ids, x, image, pairs, state, force)
        half = 0.5 * values[c.DT]
        for i in range(n):
            for a in range(3):
                v[i, a] -= half / mass[species[i] - 1] * force[i, a]
    lost = control[c.CODE] != c.FINE or control[c.STOPPED] != 0
    for i in range(n):
        for a in range(3):
            # a run that is about to stop keeps finite positions, and LAMMPS does not stop it with its own message
            out[i, a] = 0.0 if lost else force[i, a]
            if lost:
                v[i, a] = 0.0
    values[c.CALLBACK_TIME] += call_double(control[c.WTIME], ()) - clock


def _callback(control_at, step, n, ids_at, x_at, f_at):  # type: ignore[no-untyped-def]
    control = words(control_at, c.SLOTS)
    _advance(control, step, np.int64(n), ids_at, x_at, f_at)


@functools.cache
def callback() -> Any:
    """What `fix external pf/callback` calls, `address` its address; its first argument is that of the control block.

    Compiled here and not as a decorator, which would spend half a minute whenever this file is first imported.
    """
    kinds = types.void(types.intp, types.int64, types.int32, types.intp, types.intp, types.intp)
    return cfunc(kinds, cache=True)(_callback)
