"""What the compiled rollout computes pair by pair and sums over the pairs of each particle: geometry, forces, friction.

Every kernel is either a loop over pairs, which writes only to its pair, or a loop over particles, which writes only to
its particle and sums in the order of the ids. `lists` is what `lists.neighbour_pairs` returns. A pair beyond
the cutoff has zeros everywhere. A part that the model does not have is an array of length 0, and its lines are skipped.

What a kernel reads may come in a record; what it writes has to be an argument of its own: numba takes for dead what a
parallel loop writes into an array out of a tuple, and leaves it out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from vid2dyn.core.pair_noise import normal, pair_key, step_key
from vid2dyn.rollout.fluid.lists import separation
from vid2dyn.rollout.fluid.lookup import cubic, cubic_slope, density_energy, first_row, inside, thermodynamics


class Geometry(NamedTuple):
    """Of every pair at the present positions.

    e (pairs, 3): unit vector from the second to the first particle; value, slope (pairs,): W and W'; radial (pairs, 3):
    across, along and C²; turns (pairs,): borders of the sheared axis between the two; pull (pairs,): φ'; rough
    (pairs, 2): γ across and along. Without kernel and friction of a fluid `value` is 0, `slope` and `radial` absent;
    without tables of pairs `pull` and `rough` are.
    """

    e: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    radial: np.ndarray
    turns: np.ndarray
    pull: np.ndarray
    rough: np.ndarray


class ParticleState(NamedTuple):
    """Of every particle: density, entropy, energy, temperature, 1/c and push = P/d²; (n,) each."""

    density: np.ndarray
    S: np.ndarray
    U: np.ndarray
    T: np.ndarray
    softness: np.ndarray
    push: np.ndarray


class Exchange(NamedTuple):
    """What the pairs exchange in one step, (pairs, ...).

    friction (pairs, 2): dt times the friction across e, and along e minus across; impulse (pairs, 3): the random one,
    covariance 2 kB K dt; conduction (pairs,): C² dt; heat (pairs,): one normal number, later what the first receives.
    """

    friction: np.ndarray
    impulse: np.ndarray
    conduction: np.ndarray
    heat: np.ndarray


class FrictionLaw(NamedTuple):
    """How pair coefficients depend on state: powers of temperature and volume (docstring of `frozen`), dimensions."""

    temperature_power: int
    volume_power: int
    dim: int


class StepNoise(NamedTuple):
    """Time step, kB (0: no noise), seed and number of the step."""

    dt: float
    kB: float
    seed: int
    step: int


@njit(cache=True, parallel=True, error_model="numpy")
def update_geometry(x, species, space, lists, tables,
                    e, value, slope, radial, turns, pull, rough):  # type: ignore[no-untyped-def]
    """`Geometry` of every pair at positions x."""
    first, second, table, cutoff = lists.first, lists.second, tables.radial, tables.cutoff
    per_length, mixed = tables.rows / cutoff, tables.rows < len(table)
    own, kind = tables.pairs, tables.kind
    own_per_length = own.shape[1] / cutoff
    fluid, bound = len(slope) > 0, len(pull) > 0
    for p in prange(len(first)):
        dx, dy, dz, turned = separation(x, first[p], second[p], space)
        r = math.sqrt(dx * dx + dy * dy + dz * dz)
        turns[p] = turned
        if r < cutoff:
            e[p, 0], e[p, 1], e[p, 2] = dx / r, dy / r, dz / r
            if fluid:
                k = min(int(r * per_length), tables.rows - 1)
                t = r * per_length - k
                if mixed:
                    k += first_row(tables, species[first[p]], species[second[p]])
                value[p], slope[p] = cubic(table, k, 0, t), cubic_slope(table, k, 0, t) * per_length
                for c in range(3):
                    radial[p, c] = max(cubic(table, k, 4 + 4 * c, t), 0.0)
            else:
                value[p] = 0.0
            if bound:
                of_kind = own[kind[species[first[p]], species[second[p]]]]
                k = min(int(r * own_per_length), len(of_kind) - 1)
                t = r * own_per_length - k
                pull[p] = cubic_slope(of_kind, k, 0, t) * own_per_length
                rough[p, 0] = max(cubic(of_kind, k, 4, t), 0.0)
                rough[p, 1] = max(cubic(of_kind, k, 8, t), 0.0)
            if not r > 1e-12 * cutoff:
                value[p] = np.nan                        # they coincide: this stops the run
        else:
            value[p] = 0.0
            e[p, 0] = e[p, 1] = e[p, 2] = 0.0
            if fluid:
                slope[p] = radial[p, 0] = radial[p, 1] = radial[p, 2] = 0.0
            if bound:
                pull[p] = rough[p, 0] = rough[p, 1] = 0.0


@njit(cache=True, parallel=True, error_model="numpy")
def densities(lists, value, species, tables, density):  # type: ignore[no-untyped-def]
    """density_i = what it is alone + sum of value[p] over the pairs of i."""
    row, arrive, incoming = lists.row, lists.arrive, lists.incoming
    for i in prange(len(density)):
        d = tables.alone[species[i]]
        for k in range(arrive[i], arrive[i + 1]):
            d += value[incoming[k]]
        for p in range(row[i], row[i + 1]):
            d += value[p]
        density[i] = d


@njit(cache=True, error_model="numpy")
def pair_energies(x, species, space, lists, tables):  # type: ignore[no-untyped-def]
    """φ of every pair, (pairs,)."""
    out, own_per_length = np.zeros(len(lists.first)), tables.pairs.shape[1] / tables.cutoff
    for p in range(len(lists.first)):
        i, j = lists.first[p], lists.second[p]
        dx, dy, dz, _ = separation(x, i, j, space)
        place = math.sqrt(dx * dx + dy * dy + dz * dz) * own_per_length
        k = int(place)
        if k < tables.pairs.shape[1]:
            out[p] = cubic(tables.pairs[tables.kind[species[i], species[j]]], k, 0, place - k)
    return out


@njit(cache=True, parallel=True, error_model="numpy")
def equation_of_state(tables, density, S, U, T, softness, push):  # type: ignore[no-untyped-def]
    """U, T, 1/c and P/d² of every particle from its density and S; NaN where the state lies outside the table.

    At one temperature U = T S + u(d) has no table in S to leave, and P/d² = du/dd.
    """
    nodes, grid, one = tables.nodes, tables.grid, tables.temperature
    for i in prange(len(S)):
        if one > 0.0:
            T[i], softness[i], U[i], push[i] = one, 0.0, one * S[i], 0.0
            if len(tables.density) > 0:
                u, push[i] = density_energy(tables.density, tables.span, density[i])
                U[i] += u
            continue
        x = -math.log(density[i])
        if inside(nodes, grid, S[i], x):
            U[i], T[i], curvature, PV = thermodynamics(nodes, grid, S[i], x)
            softness[i] = curvature / T[i]
            push[i] = PV / density[i]
        else:
            U[i] = T[i] = softness[i] = push[i] = np.nan


@njit(cache=True, parallel=True, error_model="numpy")
def kick(lists, geometry, push, body, time, mass, v):  # type: ignore[no-untyped-def]
    """v_i += time/m_i [body_i - sum_j {(push_i + push_j) slope_ij + pull_ij} e_ij], push = P/d², slope = W'."""
    e, slope, pull = geometry.e, geometry.slope, geometry.pull
    fluid, bound = len(slope) > 0, len(pull) > 0
    row, first, second, arrive, incoming = lists.row, lists.first, lists.second, lists.arrive, lists.incoming
    for i in prange(len(v)):
        fx, fy, fz, mine = body[i, 0], body[i, 1], body[i, 2], push[i]
        for k in range(arrive[i], arrive[i + 1] if fluid else arrive[i]):
            p = incoming[k]
            s = (mine + push[first[p]]) * slope[p]
            fx, fy, fz = fx + s * e[p, 0], fy + s * e[p, 1], fz + s * e[p, 2]
        for p in range(row[i], row[i + 1] if fluid else row[i]):
            s = (mine + push[second[p]]) * slope[p]
            fx, fy, fz = fx - s * e[p, 0], fy - s * e[p, 1], fz - s * e[p, 2]
        for k in range(arrive[i], arrive[i + 1] if bound else arrive[i]):
            p = incoming[k]
            fx, fy, fz = fx + pull[p] * e[p, 0], fy + pull[p] * e[p, 1], fz + pull[p] * e[p, 2]
        for p in range(row[i], row[i + 1] if bound else row[i]):
            fx, fy, fz = fx - pull[p] * e[p, 0], fy - pull[p] * e[p, 1], fz - pull[p] * e[p, 2]
        factor = time / mass[i]
        v[i, 0] += factor * fx
        v[i, 1] += factor * fy
        v[i, 2] += factor * fz


@njit(cache=True, error_model="numpy", inline="always")
def inverse_temperature(T, other, softness, power):  # type: ignore[no-untyped-def]
    """1/T with the kB ∇·M term of a friction that depends on T_ij^power (reference measure dS)."""
    return (1.0 - softness * (1.0 - power * other / (T + other))) / T


@njit(cache=True, parallel=True, error_model="numpy")
def friction_and_noise(lists, geometry, state, ids, law, noise,
                       friction, impulse, conduction, heat_noise):  # type: ignore[no-untyped-def]
    """`Exchange` of one step, at the temperatures of its start."""
    first, second, e, radial = lists.first, lists.second, geometry.e, geometry.radial
    density, T, softness = state.density, state.T, state.softness
    dt, kB, seed, step = noise
    shared = step_key(seed, step)
    p_T, p_V, dim = law
    root = math.sqrt(2.0 * kB * dt)
    for p in prange(len(first)):
        i, j = first[p], second[p]
        across, along, heat = radial[p, 0], radial[p, 1], radial[p, 2]
        if p_V == 1:
            volumes = 1.0 / (density[i] * density[j])
            across, along, heat = across * volumes, along * volumes, heat * volumes
        if p_T == 1:
            mean = 2.0 * T[i] * T[j] / (T[i] + T[j])
            across, along, heat = across * mean, along * mean, heat * T[i] * T[j]
        rate = 0.5 * dt * (inverse_temperature(T[i], T[j], kB * softness[i], p_T)
                           + inverse_temperature(T[j], T[i], kB * softness[j], p_T))
        friction[p, 0], friction[p, 1] = rate * across, rate * (along - across)
        conduction[p] = dt * heat
        impulse[p, 0] = impulse[p, 1] = impulse[p, 2] = heat_noise[p] = 0.0
        if kB > 0.0 and across + along + heat > 0.0:
            key = pair_key(shared, ids[i], ids[j])
            a, b, c = normal(key, 0), normal(key, 1), 0.0
            if dim == 3:
                c = normal(key, 2)
            sideways, forward = root * math.sqrt(across), root * math.sqrt(along)
            ahead = (forward - sideways) * (a * e[p, 0] + b * e[p, 1] + c * e[p, 2])
            impulse[p, 0] = sideways * a + ahead * e[p, 0]
            impulse[p, 1] = sideways * b + ahead * e[p, 1]
            impulse[p, 2] = sideways * c + ahead * e[p, 2]
            if heat > 0.0:
                heat_noise[p] = normal(key, dim)


OWN = 8
"""First channel of a pair's noise that belongs to the pair friction; the friction and heat of a fluid have 0 to dim."""


@njit(cache=True, parallel=True, error_model="numpy")
def own_friction_and_noise(lists, geometry, state, ids, dim, noise, friction, impulse):  # type: ignore[no-untyped-def]
    """Friction γ and its noise added to those of the fluid; alone they are all there is.

    K = γ T_ij, so that friction is γ times dt whatever the temperatures, but for the terms of kB ∇·M.
    """
    first, second, e, rough, fluid = lists.first, lists.second, geometry.e, geometry.rough, len(geometry.radial) > 0
    T, softness = state.T, state.softness
    dt, kB, seed, step = noise
    shared = step_key(seed, step)
    for p in prange(len(first)):
        i, j = first[p], second[p]
        if not fluid:
            friction[p, 0] = friction[p, 1] = impulse[p, 0] = impulse[p, 1] = impulse[p, 2] = 0.0
        across, along = rough[p, 0], rough[p, 1]
        if across + along > 0.0:
            mean = 2.0 * T[i] * T[j] / (T[i] + T[j])
            rate = 0.5 * dt * mean * (inverse_temperature(T[i], T[j], kB * softness[i], 1)
                                      + inverse_temperature(T[j], T[i], kB * softness[j], 1))
            friction[p, 0] += rate * across
            friction[p, 1] += rate * (along - across)
            if kB > 0.0:
                key = pair_key(shared, ids[i], ids[j])
                a, b, c = normal(key, OWN), normal(key, OWN + 1), 0.0
                if dim == 3:
                    c = normal(key, OWN + 2)
                root = math.sqrt(2.0 * kB * dt * mean)
                sideways, forward = root * math.sqrt(across), root * math.sqrt(along)
                ahead = (forward - sideways) * (a * e[p, 0] + b * e[p, 1] + c * e[p, 2])
                impulse[p, 0] += sideways * a + ahead * e[p, 0]
                impulse[p, 1] += sideways * b + ahead * e[p, 1]
                impulse[p, 2] += sideways * c + ahead * e[p, 2]


@njit(cache=True, parallel=True, error_model="numpy")
def apply_friction(lists, geometry, friction, v, jump, out):  # type: ignore[no-untyped-def]
    """out = friction times the relative velocity of every pair, (pairs, 3): what the first particle loses."""
    first, second, e, turns = lists.first, lists.second, geometry.e, geometry.turns
    for p in prange(len(first)):
        i, j = first[p], second[p]
        wx = v[i, 0] - v[j, 0]
        wy = v[i, 1] - v[j, 1] - jump * turns[p]
        wz = v[i, 2] - v[j, 2]
        ahead = friction[p, 1] * (e[p, 0] * wx + e[p, 1] * wy + e[p, 2] * wz)
        out[p, 0] = friction[p, 0] * wx + ahead * e[p, 0]
        out[p, 1] = friction[p, 0] * wy + ahead * e[p, 1]
        out[p, 2] = friction[p, 0] * wz + ahead * e[p, 2]


@njit(cache=True, error_model="numpy", inline="always")
def _drag(p, i, j, e, friction, v):  # type: ignore[no-untyped-def]
    wx, wy, wz = v[i, 0] - v[j, 0], v[i, 1] - v[j, 1], v[i, 2] - v[j, 2]
    ahead = friction[p, 1] * (e[p, 0] * wx + e[p, 1] * wy + e[p, 2] * wz)
    return (friction[p, 0] * wx + ahead * e[p, 0], friction[p, 0] * wy + ahead * e[p, 1],
            friction[p, 0] * wz + ahead * e[p, 2])


@njit(cache=True, parallel=True, error_model="numpy")
def laplacian(lists, e, friction, mass, free, v, out):  # type: ignore[no-untyped-def]
    """out_i = free_i [2 m_i v_i + sum_j friction_ij v_ij], (n, 3): `apply_friction` and `gather` in one.

    Pairs are met at both ends: twice the arithmetic, but nothing is written for the pairs, and memory is what limits.
    """
    row, first, second, arrive, incoming = lists.row, lists.first, lists.second, lists.arrive, lists.incoming
    for i in prange(len(out)):
        weight = 2.0 * mass[i]
        a, b, c = weight * v[i, 0], weight * v[i, 1], weight * v[i, 2]
        for k in range(arrive[i], arrive[i + 1]):
            p = incoming[k]
            x, y, z = _drag(p, first[p], i, e, friction, v)
            a, b, c = a - x, b - y, c - z
        for p in range(row[i], row[i + 1]):
            x, y, z = _drag(p, i, second[p], e, friction, v)
            a, b, c = a + x, b + y, c + z
        out[i, 0], out[i, 1], out[i, 2] = free[i] * a, free[i] * b, free[i] * c


@njit(cache=True, parallel=True, error_model="numpy")
def gather(lists, on_pairs, free, out):  # type: ignore[no-untyped-def]
    """out_i = free_i [sum of on_pairs where i is first - sum where it is second], (n, 3); free is 1, or 0 if held."""
    row, arrive, incoming = lists.row, lists.arrive, lists.incoming
    for i in prange(len(out)):
        a = b = c = 0.0
        for k in range(arrive[i], arrive[i + 1]):
            p = incoming[k]
            a, b, c = a - on_pairs[p, 0], b - on_pairs[p, 1], c - on_pairs[p, 2]
        for p in range(row[i], row[i + 1]):
            a, b, c = a + on_pairs[p, 0], b + on_pairs[p, 1], c + on_pairs[p, 2]
        out[i, 0], out[i, 1], out[i, 2] = free[i] * a, free[i] * b, free[i] * c


@njit(cache=True)
def first_broken(values):  # type: ignore[no-untyped-def]
    """Row of the first value that is not a finite number, -1 if there is none."""
    for i in range(len(values)):
        if not math.isfinite(values[i]):
            return i
    return -1
