"""Friction, heat conduction and their noise, pair by pair: exact conservation, exact invariant density.

With positions fixed, the friction of one pair moves only the relative velocity w = v_i - v_j. Its work goes in equal
parts to both internal energies, U_i = a_i - m w²/8 and U_j = a_j - m w²/8 with constant a. So it is a diffusion of w
alone, with diffusivity D = 4 K/m² (from m dv_i = sqrt(2 kB) f, Cov f = K dt, dw = 2 dv_i), reversible with respect to

    pi(w) dw,   pi = exp(S_i + S_j)/(T_i T_j),

where 1/(T_i T_j) is there because the reference measure is dr dv dS, and dS = dU/T at fixed V. For the ideal gas
exp(S_i)/T_i is proportional to U_i^(C - 1). Its drift D grad ln pi + div D is -G w with

    G = (K/m)(1/T_i + 1/T_j)[1 - 1/C + h²(1/T_i² + 1/T_j²)/(4 C)],   h = 2 T_i T_j/(T_i + T_j)

(the last term only where K is proportional to h), which are the terms M grad S and kB div M of the model. A step is
the Ornstein-Uhlenbeck process with G and D frozen at its start, accepted or not by Metropolis and Hastings with the
exact pi; rejections are rare (of order dt^(3/2)/C). So pi is kept exactly at every dt, each update is its own time
reversal, and energy and momentum of the pair are kept to rounding. Heat conduction is the same with w replaced by
U_i at constant U_i + U_j: pi is Beta(C, C), and for C² = 2 kappa F/(d_i d_j) T_i T_j the drift is exactly linear.

At kB = 0 both become ordinary decays, stepped by the midpoint rule for the rate: second order.
"""

from __future__ import annotations

import math

from numba import njit, prange

from vid2dyn.simulators._sdpd_cells import colour_of, neighbour_cell
from vid2dyn.simulators._sdpd_physics import lucy_f, pair_key, two_normals, uniform


@njit(cache=True, inline="always")
def _friction(ui, uj, f, fluid):  # type: ignore[no-untyped-def]
    """k/m of the friction matrix per unit of alpha or beta, times 1/T_i + 1/T_j and its kB terms: rate and diffusivity.

    f is F/(d_i d_j), or F/density² where coefficients depend on the distance alone.
    """
    c = fluid.heat_capacity
    ti, tj = ui / c, uj / c
    h = 2.0 * ti * tj / (ti + tj)
    k = f * (h if fluid.constant else fluid.temperature)
    rate = 2.0 * k / (fluid.mass * h)
    if fluid.noisy:
        extra = h * h * (1.0 / (ti * ti) + 1.0 / (tj * tj)) / 4.0 if fluid.constant else 0.0
        rate *= 1.0 + (extra - 1.0) / c
    return rate, 4.0 * k / fluid.mass**2


@njit(cache=True, inline="always")
def _frozen(rate, diffusivity, dt):  # type: ignore[no-untyped-def]
    """Factor and variance of the Ornstein-Uhlenbeck process over dt."""
    if rate * dt < 1e-12:
        return 1.0 - rate * dt, 2.0 * diffusivity * dt
    a = math.exp(-rate * dt)
    return a, diffusivity * (1.0 - a * a) / rate


@njit(cache=True)
def rub(i, j, e0, e1, e2, f, jump, dt, key, v, u, fluid):  # type: ignore[no-untyped-def]
    """Friction of one pair over dt: changes v and u of both. e is the unit vector from j to i. True if accepted."""
    w0, w1, w2 = v[i, 0] - v[j, 0], v[i, 1] - v[j, 1] - jump, v[i, 2] - v[j, 2]
    along = e0 * w0 + e1 * w1 + e2 * w2
    p0, p1, p2 = w0 - along * e0, w1 - along * e1, w2 - along * e2
    across2 = p0 * p0 + p1 * p1 + p2 * p2
    square = along * along + across2
    ui, uj, eighth = u[i], u[j], fluid.mass / 8.0
    rate, diff = _friction(ui, uj, f, fluid)
    per, par = fluid.alpha, fluid.alpha + fluid.beta
    if not fluid.noisy:
        a_per, a_par = math.exp(-rate * per * 0.5 * dt), math.exp(-rate * par * 0.5 * dt)
        heat = eighth * (square - a_par**2 * along**2 - a_per**2 * across2)
        rate, diff = _friction(ui + heat, uj + heat, f, fluid)
        a_per, a_par = math.exp(-rate * per * dt), math.exp(-rate * par * dt)
        new_along = a_par * along
        q0, q1, q2 = a_per * p0, a_per * p1, a_per * p2
        heat = eighth * (square - new_along**2 - a_per**2 * across2)
    else:
        a_per, b_per = _frozen(rate * per, diff * per, dt)
        a_par, b_par = _frozen(rate * par, diff * par, dt)
        g0, g1 = two_normals(key, 0)
        g2 = two_normals(key, 2)[0] if fluid.dim == 3 else 0.0
        g = e0 * g0 + e1 * g1 + e2 * g2
        new_along = a_par * along + math.sqrt(b_par) * g
        root = math.sqrt(b_per)
        q0 = a_per * p0 + root * (g0 - g * e0)
        q1 = a_per * p1 + root * (g1 - g * e1)
        q2 = a_per * p2 + root * (g2 - g * e2)
        heat = eighth * (square - new_along**2 - q0 * q0 - q1 * q1 - q2 * q2)
        if ui + heat <= 0.0 or uj + heat <= 0.0:
            return False
        noise2 = g0 * g0 + g1 * g1 + g2 * g2
        there = -0.5 * noise2 - 0.5 * math.log(b_par) - 0.5 * (fluid.dim - 1) * math.log(b_per)
        rate, diff = _friction(ui + heat, uj + heat, f, fluid)
        a_per, b_per = _frozen(rate * per, diff * per, dt)
        a_par, b_par = _frozen(rate * par, diff * par, dt)
        d0, d1, d2 = p0 - a_per * q0, p1 - a_per * q1, p2 - a_per * q2
        back = (-0.5 * (along - a_par * new_along) ** 2 / b_par - 0.5 * (d0 * d0 + d1 * d1 + d2 * d2) / b_per
                - 0.5 * math.log(b_par) - 0.5 * (fluid.dim - 1) * math.log(b_per))
        gain = (fluid.heat_capacity - 1.0) * math.log((1.0 + heat / ui) * (1.0 + heat / uj))
        if math.log(uniform(key, 4)) > gain + back - there:
            return False
    c0, c1, c2 = (0.5 * (new_along * e0 + q0 - w0), 0.5 * (new_along * e1 + q1 - w1),
                  0.5 * (new_along * e2 + q2 - w2))
    v[i, 0] += c0
    v[i, 1] += c1
    v[i, 2] += c2
    v[j, 0] -= c0
    v[j, 1] -= c1
    v[j, 2] -= c2
    u[i] = ui + heat
    u[j] = uj + heat
    return True


@njit(cache=True, inline="always")
def _conduction(x, total, f, fluid):  # type: ignore[no-untyped-def]
    """Decay rate of U_i - U_j and diffusivity of U_i = x, for U_i + U_j = total."""
    c = fluid.heat_capacity
    product = x * (total - x)
    if fluid.constant:
        return 4.0 * fluid.kappa * f / c, 2.0 * fluid.kappa * f * product / (c * c)
    diff = 2.0 * fluid.kappa * f * fluid.temperature**2
    return 2.0 * diff * (c - 1.0 if fluid.noisy else c) / product, diff


@njit(cache=True)
def conduct(i, j, f, dt, key, u, fluid):  # type: ignore[no-untyped-def]
    """Heat conduction of one pair over dt: changes u of both. True if accepted."""
    total = u[i] + u[j]
    half, q = 0.5 * total, 0.5 * (u[i] - u[j])
    rate, diff = _conduction(half + q, total, f, fluid)
    if not fluid.noisy:
        middle = q * math.exp(-0.5 * rate * dt)
        rate, diff = _conduction(half + middle, total, f, fluid)
        new = q * math.exp(-rate * dt)
    else:
        a, b = _frozen(rate, diff, dt)
        g = two_normals(key, 5)[0]
        new = a * q + math.sqrt(b) * g
        if abs(new) >= half:
            return False
        there = -0.5 * g * g - 0.5 * math.log(b)
        rate, diff = _conduction(half + new, total, f, fluid)
        a, b = _frozen(rate, diff, dt)
        back = -0.5 * (q - a * new) ** 2 / b - 0.5 * math.log(b)
        gain = (fluid.heat_capacity - 1.0) * math.log((half * half - new * new) / (half * half - q * q))
        if math.log(uniform(key, 7)) > gain + back - there:
            return False
    # the same number is taken from one as is given to the other: the sum is kept to rounding
    u[i] += new - q
    u[j] -= new - q
    return True


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
        rejected += not conduct(i, j, f, dt, own, u, fluid)
    if fluid.alpha + fluid.beta > 0.0:
        inverse = 1.0 / r if r > 0.0 else 0.0
        rejected += not rub(i, j, d0 * inverse, d1 * inverse, d2 * inverse, f, jump, dt, own, v, u, fluid)
    if not backward and fluid.kappa > 0.0:
        rejected += not conduct(i, j, f, dt, own, u, fluid)
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
