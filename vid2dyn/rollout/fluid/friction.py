"""The dissipative half of a compiled step: Crank-Nicolson friction and noise, the heat of it, conduction, bath.

    (2 m + dt L) v̄ = 2 m v + R,   v' = 2 v̄ - v,   dU_i = -1/2 sum_j dp_ij · v̄_ij + conduction

with dp_ij = R_ij - dt ζ_ij v̄_ij the impulse of a pair (what the first particle gets, the second loses). Momentum and
energy are exact for any impulses, so the tolerance of the solver touches only their statistics. Conduction is a second
Crank-Nicolson step, for the temperatures, with coefficients limited so that every new temperature is an average of old
ones: heat never overshoots, two particles relax exactly exponentially, and entropy rises when noise is off.
"""

from __future__ import annotations

import math

from numba import njit, prange

from vid2dyn.core.conjugate_gradients import conjugate_gradients, unchanged
from vid2dyn.core.pair_noise import normal, pair_key, step_key
from vid2dyn.rollout.fluid.lookup import entropy_of
from vid2dyn.rollout.fluid.pairs import apply_friction, gather, laplacian


@njit(cache=True, error_model="numpy")
def _row_dot(a, b, i):  # type: ignore[no-untyped-def]
    total = 0.0
    for c in range(a.shape[1]):
        total += a[i, c] * b[i, c]
    return total


@njit(cache=True, error_model="numpy")
def dot(a, b):  # type: ignore[no-untyped-def]
    """Sum of a·b over the rows of two (n, k) arrays, the same bits for any order of the rows.

    The terms are added as whole numbers, on a scale set by the largest one, to 1/n of 1e-18 of it.
    """
    largest = 0.0
    for i in range(len(a)):
        largest = max(largest, abs(_row_dot(a, b, i)))
    if not (largest > 0.0 and math.isfinite(largest)):
        return largest
    scale = math.ldexp(1.0, 61 - math.frexp(float(len(a)))[1] - math.frexp(largest)[1])
    total = 0
    for i in range(len(a)):
        total += int(_row_dot(a, b, i) * scale)
    return float(total) / scale


@njit(error_model="numpy")
def _apply_friction(operator, x, out):  # type: ignore[no-untyped-def]
    lists, e, friction, mass, free = operator
    laplacian(lists, e, friction, mass, free, x, out)


@njit(cache=True, error_model="numpy")
def solve(lists, e, friction, free, mass, tolerance, residual, change, direction, image):  # type: ignore[no-untyped-def]
    """Conjugate gradients for (2 m + dt L) change = residual; returns the number of iterations, -1 if too many.

    `residual` starts as the right-hand side, R - dt L v, which knows nothing of a common velocity. All four arrays are
    (n, 3) and overwritten.
    """
    operator = lists, e, friction, mass, free
    return conjugate_gradients(_apply_friction, unchanged, dot, _advance, _turn, operator,
                               (residual, change, direction, image, image), tolerance, 1000)


@njit(cache=True, parallel=True, error_model="numpy")
def _advance(step, direction, image, x, residual):  # type: ignore[no-untyped-def]
    for i in prange(len(x)):
        for c in range(x.shape[1]):
            x[i, c] += step * direction[i, c]
            residual[i, c] -= step * image[i, c]


@njit(cache=True, parallel=True, error_model="numpy")
def _turn(factor, z, direction):  # type: ignore[no-untyped-def]
    for i in prange(len(direction)):
        for c in range(direction.shape[1]):
            direction[i, c] = z[i, c] + factor * direction[i, c]


@njit(cache=True, parallel=True, error_model="numpy")
def add_to(out, term, factor):  # type: ignore[no-untyped-def]
    """out += factor term, in place, arrays of one shape (rows, 3)."""
    for i in prange(len(out)):
        for c in range(3):
            out[i, c] += factor * term[i, c]


@njit(cache=True, parallel=True, error_model="numpy")
def add_half(v, impulse, mass):  # type: ignore[no-untyped-def]
    """v_i += impulse_i / 2 m_i, (n, 3)."""
    for i in prange(len(v)):
        factor = 0.5 / mass[i]
        for c in range(3):
            v[i, c] += factor * impulse[i, c]


@njit(cache=True, parallel=True, error_model="numpy")
def subtract(a, b, out):  # type: ignore[no-untyped-def]
    """out = a - b, (rows, 3); out may be either."""
    for i in prange(len(out)):
        for c in range(3):
            out[i, c] = a[i, c] - b[i, c]


@njit(cache=True, parallel=True, error_model="numpy")
def pair_work(lists, geometry, impulse, v, jump, out):  # type: ignore[no-untyped-def]
    """out = -1/2 impulse · (relative velocity) of every pair: the heat that each of the two receives."""
    first, second, turns = lists.first, lists.second, geometry.turns
    for p in prange(len(first)):
        i, j = first[p], second[p]
        out[p] = -0.5 * (impulse[p, 0] * (v[i, 0] - v[j, 0]) + impulse[p, 1] * (v[i, 1] - v[j, 1] - jump * turns[p])
                         + impulse[p, 2] * (v[i, 2] - v[j, 2]))


@njit(cache=True, error_model="numpy")
def exchange_momentum(lists, geometry, exchange, v, jump, body, tolerance, scratch, on_pairs, work):  # type: ignore[no-untyped-def]
    """Friction and noise of one step: v after it, `exchange.impulse` and `work`, the heat of each end of a pair.

    body: (mass, free) of the particles, (n,) each; scratch: four (n, 3) arrays; on_pairs: (pairs, 3) scratch. Returns
    the number of iterations; -1 if the solver gave up, with what it left over in the first array of `scratch`. One
    function, as a call from Python costs as much as its loop over the pairs of a hundred particles.
    """
    mass, free = body
    residual, change, direction, image = scratch
    friction, impulse = exchange.friction, exchange.impulse
    # the change of velocity, not the velocity, is solved for: a common motion costs no digits
    apply_friction(lists, geometry, friction, v, jump, on_pairs)
    subtract(impulse, on_pairs, on_pairs)
    gather(lists, on_pairs, free, residual)
    count = solve(lists, geometry.e, friction, free, mass, tolerance, residual, change, direction, image)
    if count < 0:
        return count
    add_to(change, v, 1.0)
    apply_friction(lists, geometry, friction, change, jump, on_pairs)
    subtract(impulse, on_pairs, impulse)
    gather(lists, impulse, free, residual)
    add_half(v, residual, mass)                # now the mean of before and after
    pair_work(lists, geometry, impulse, v, jump, work)
    add_half(v, residual, mass)
    return count


@njit(cache=True, parallel=True, error_model="numpy")
def relaxation(lists, conduction, T, softness, out):  # type: ignore[no-untyped-def]
    """out_i = dt/c_i sum_j w_ij, w = C²/(T_i T_j): how many times T_i would relax in this step, to first order."""
    row, first, second, arrive, incoming = lists.row, lists.first, lists.second, lists.arrive, lists.incoming
    for i in prange(len(out)):
        total = 0.0
        for k in range(arrive[i], arrive[i + 1]):
            p = incoming[k]
            total += conduction[p] / (T[i] * T[first[p]])
        for p in range(row[i], row[i + 1]):
            total += conduction[p] / (T[i] * T[second[p]])
        out[i] = total * softness[i]


@njit(cache=True, parallel=True, error_model="numpy")
def heat_flows(lists, conduction, T, softness, relax, power, kB, heat):  # type: ignore[no-untyped-def]
    """conduction = w dt of every pair and heat = what its first particle receives at the temperatures of the start.

    `heat` comes as one normal number of each pair, `conduction` as C² dt. Both are limited: C² is multiplied by
    tanh(z)/z, z the larger relaxation of the two ends. Power 0 of T in C² leaves a term of kB ∇·M.
    """
    first, second = lists.first, lists.second
    for p in prange(len(first)):
        i, j, noise = first[p], second[p], heat[p]
        heat[p] = 0.0
        if conduction[p] > 0.0:
            z = max(relax[i], relax[j], 1e-8)
            C2 = conduction[p] * math.tanh(z) / z
            w = C2 / (T[i] * T[j])
            conduction[p] = w
            heat[p] = w * (T[j] - T[i]) + math.sqrt(2.0 * kB * C2) * noise
            if power == 0:
                heat[p] -= kB * C2 * (softness[i] / T[i] - softness[j] / T[j])


@njit(cache=True, parallel=True, error_model="numpy")
def _even_out(lists, conduction, softness, y, out):  # type: ignore[no-untyped-def]
    """out_i = 2 c_i y_i + sum_j w (y_i - y_j), (n, 1); 0 where the heat capacity is infinite."""
    row, first, second, arrive, incoming = lists.row, lists.first, lists.second, lists.arrive, lists.incoming
    for i in prange(len(out)):
        out[i, 0] = 0.0
        if softness[i] > 0.0:
            total, mine = 2.0 / softness[i] * y[i, 0], y[i, 0]
            for k in range(arrive[i], arrive[i + 1]):
                p = incoming[k]
                total += conduction[p] * (mine - y[first[p], 0])
            for p in range(row[i], row[i + 1]):
                total += conduction[p] * (mine - y[second[p], 0])
            out[i, 0] = total


@njit(cache=True, parallel=True, error_model="numpy")
def _received(lists, heat, softness, out):  # type: ignore[no-untyped-def]
    """out_i = heat received from all pairs, (n, 1); 0 where the heat capacity is infinite."""
    row, arrive, incoming = lists.row, lists.arrive, lists.incoming
    for i in prange(len(out)):
        total = 0.0
        for k in range(arrive[i], arrive[i + 1]):
            total -= heat[incoming[k]]
        for p in range(row[i], row[i + 1]):
            total += heat[p]
        out[i, 0] = total if softness[i] > 0.0 else 0.0


@njit(cache=True, parallel=True, error_model="numpy")
def _settle(lists, conduction, y, heat):  # type: ignore[no-untyped-def]
    """heat of every pair at the mean temperatures of the step, y half their change."""
    first, second = lists.first, lists.second
    for p in prange(len(first)):
        heat[p] -= conduction[p] * (y[first[p], 0] - y[second[p], 0])


@njit(error_model="numpy")
def _apply_conduction(operator, x, out):  # type: ignore[no-untyped-def]
    lists, conduction, softness = operator
    _even_out(lists, conduction, softness, x, out)


@njit(cache=True, error_model="numpy")
def conduct(lists, conduction, heat, softness, tolerance, columns):  # type: ignore[no-untyped-def]
    """Crank-Nicolson for the temperatures, by conjugate gradients: (2 c + Λ) y = heat received, y half the change of T.

    heat -= w (y_i - y_j) of every pair; returns the number of iterations, -1 if too many. `columns`: (4, n, 1) scratch.
    """
    residual, y, direction, image = columns[0], columns[1], columns[2], columns[3]
    _received(lists, heat, softness, residual)
    count = conjugate_gradients(_apply_conduction, unchanged, dot, _advance, _turn, (lists, conduction, softness),
                                (residual, y, direction, image, image), tolerance, 1000)
    if count >= 0:
        _settle(lists, conduction, y, heat)
    return count


@njit(cache=True, parallel=True, error_model="numpy")
def take_heat(lists, tables, work, heat, free, density, U, S):  # type: ignore[no-untyped-def]
    """U and S after every free particle has received the work and heat of its pairs; S = NaN where there is none."""
    nodes, grid, one = tables.nodes, tables.grid, tables.temperature
    row, arrive, incoming = lists.row, lists.arrive, lists.incoming
    for i in prange(len(U)):
        total = 0.0
        if free[i] == 0.0:
            continue
        for k in range(arrive[i], arrive[i + 1]):
            total += work[incoming[k]] - heat[incoming[k]]
        for p in range(row[i], row[i + 1]):
            total += work[p] + heat[p]
        U[i] += total
        if one > 0.0:
            S[i] += total / one
        else:
            S[i] = entropy_of(nodes, grid, S[i], -math.log(density[i]), U[i])


@njit(cache=True, parallel=True, error_model="numpy")
def bath(v, ids, species, free, dim, keep, kick, noise):  # type: ignore[no-untyped-def]
    """v = keep v + kick ξ, the exact step of a particle with friction against a resting bath; ξ keyed on (id, id).

    keep, kick: (species,).
    """
    shared = step_key(noise.seed, noise.step)
    for i in prange(len(v)):
        key = pair_key(shared, ids[i], ids[i])
        for c in range(dim if free[i] > 0.0 else 0):
            v[i, c] = keep[species[i]] * v[i, c] + kick[species[i]] * normal(key, c)
