"""Friction, heat conduction and their noise, pair by pair: exact conservation, exact invariant density.

With positions fixed, the friction of one pair moves only the relative velocity w = v_i - v_j. Its work goes in equal
parts to both internal energies, U_i = a_i - m w²/8 and U_j = a_j - m w²/8 with constant a. So it is a diffusion of w
alone, with diffusivity D = 4 K/m² (from m dv_i = sqrt(2 kB) f, Cov f = K dt, dw = 2 dv_i), reversible with respect to

    pi(w) dw,   pi = exp(S_i + S_j)/(T_i T_j),

where 1/(T_i T_j) is there because the reference measure is dr dv dS, and dS = dU/T at fixed V. For the ideal gas
exp(S_i)/T_i is proportional to U_i^(C - 1). Its drift D grad ln pi + div D is -G w with

    G = (K/m)(1/T_i + 1/T_j)[1 - 1/C + h²(1/T_i² + 1/T_j²)/(4 C)],   h = 2 T_i T_j/(T_i + T_j)

(the last term only where K is proportional to h), which are the terms M grad S and kB div M of the model. A step is
an Ornstein-Uhlenbeck process, accepted or not by Metropolis and Hastings with the exact pi; see `_propose_constant`
and `_propose_radial` for which coefficients it takes so that rejections are of order dt^(3/2). So pi is kept exactly
at every dt, each update is its own time reversal, and energy and momentum of the pair are kept to rounding. Heat
conduction is the same with U_i - U_j in place of w, at constant U_i + U_j: pi is Beta(C, C).

At kB = 0 both become ordinary decays, stepped by the midpoint rule for the rate: second order.

`v` (n, 3) and `u` (n,) are changed in place; `key` is `physics.pair_key` of the pair.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.simulators.fluid.sdpd.physics import two_normals, uniform


@njit(cache=True, inline="always")
def _mean_temperature(ui, uj, fluid):  # type: ignore[no-untyped-def]
    """h = 2 T_i T_j/(T_i + T_j), and d ln h/dU where both energies grow alike."""
    c = fluid.heat_capacity
    h = 2.0 * ui * uj / (ui + uj) / c
    return h, 0.5 * h * c * (1.0 / (ui * ui) + 1.0 / (uj * uj))


@njit(cache=True, inline="always")
def _frozen(rate, diffusivity, dt):  # type: ignore[no-untyped-def]
    """Factor and variance of the Ornstein-Uhlenbeck process over dt."""
    if rate * dt < 1e-12:
        return 1.0 - rate * dt, 2.0 * diffusivity * dt
    a = math.exp(-rate * dt)
    return a, diffusivity * (1.0 - a * a) / rate


@njit(cache=True)
def _propose_constant(w2, along, across2, g_along, pg, g2, ui, uj, f, dt, fluid):  # type: ignore[no-untyped-def]
    """K proportional to h: factors and roots of variance (along, across), heat, log of the ratio to accept with.

    w' = a w + sqrt(h) b g with constant a, b. Were h that of the start, the ratio would differ from 1 by sqrt(dt) and
    rejections would damp the noise by as much. So h is that of the middle, U - m (w² + w'²)/16 + const, the same for
    the way back: y = sqrt(h) solves y² = h(y), and the density of w' gets the factor det(dg/dw') of the implicit map,
    proportional to 1 + (m/16)(d ln h/dU)(w' - a w)·w'.
    """
    c, eighth = fluid.heat_capacity, fluid.mass / 8.0
    rate = 2.0 * f / fluid.mass * (1.0 - 0.5 / c)
    diff = 4.0 * f / fluid.mass**2
    a_per, b_per = _frozen(rate * fluid.alpha, diff * fluid.alpha, dt)
    a_par, b_par = _frozen(rate * (fluid.alpha + fluid.beta), diff * (fluid.alpha + fluid.beta), dt)
    r_per, r_par = math.sqrt(b_per), math.sqrt(b_par)
    # w'² = start + 2 y cross + y² noise
    start = (a_par * along) ** 2 + a_per * a_per * across2
    cross = a_par * along * r_par * g_along + a_per * r_per * pg
    noise = b_par * g_along * g_along + b_per * (g2 - g_along * g_along)
    h, slope = _mean_temperature(ui, uj, fluid)
    y = math.sqrt(h)
    heat = 0.0
    for _ in range(30):
        heat = eighth * (w2 - start - 2.0 * y * cross - y * y * noise)
        if ui + heat <= 0.0 or uj + heat <= 0.0:
            return a_par, r_par, a_per, r_per, heat, -np.inf
        h, slope = _mean_temperature(ui + 0.5 * heat, uj + 0.5 * heat, fluid)
        better = math.sqrt(h)
        done = abs(better - y) <= 1e-15 * y
        y = better
        if done:
            break
    heat = eighth * (w2 - start - 2.0 * y * cross - y * y * noise)
    new_along = a_par * along + y * r_par * g_along
    new_across2 = a_per**2 * across2 + 2.0 * y * a_per * r_per * pg + y * y * b_per * (g2 - g_along * g_along)
    # w·w' along and across
    dot_par, dot_per = along * new_along, a_per * across2 + y * r_per * pg
    there = 1.0 + 0.5 * eighth * slope * (new_along**2 - a_par * dot_par + new_across2 - a_per * dot_per)
    back = 1.0 + 0.5 * eighth * slope * (along**2 - a_par * dot_par + across2 - a_per * dot_per)
    if there < 0.1 or back < 0.1:
        return a_par, r_par, a_per, r_per, heat, -np.inf
    gauss = 0.5 * ((1.0 - a_par**2) * (new_along**2 - along**2) / b_par
                   + (1.0 - a_per**2) * (new_across2 - across2) / b_per) / h
    ratio = gauss + math.log(back / there) + (c - 1.0) * math.log((1.0 + heat / ui) * (1.0 + heat / uj))
    return a_par, y * r_par, a_per, y * r_per, heat, ratio


@njit(cache=True)
def _propose_radial(w2, along, across2, g_along, pg, g2, ui, uj, f, dt, fluid):  # type: ignore[no-untyped-def]
    """K a function of distance alone: constant diffusivity, rate frozen at the start (for the way back, at the end)."""
    c, eighth = fluid.heat_capacity, fluid.mass / 8.0
    per, par = fluid.alpha, fluid.alpha + fluid.beta
    k = f * fluid.temperature
    diff = 4.0 * k / fluid.mass**2
    rate = 2.0 * k / fluid.mass / _mean_temperature(ui, uj, fluid)[0] * (1.0 - 1.0 / c)
    a_per, b_per = _frozen(rate * per, diff * per, dt)
    a_par, b_par = _frozen(rate * par, diff * par, dt)
    r_par, r_per = math.sqrt(b_par), math.sqrt(b_per)
    new_along = a_par * along + r_par * g_along
    new_across2 = a_per**2 * across2 + 2.0 * a_per * r_per * pg + b_per * (g2 - g_along * g_along)
    heat = eighth * (w2 - new_along**2 - new_across2)
    if ui + heat <= 0.0 or uj + heat <= 0.0:
        return a_par, r_par, a_per, r_per, heat, -np.inf
    there = -0.5 * g2 - 0.5 * math.log(b_par) - 0.5 * (fluid.dim - 1) * math.log(b_per)
    rate = 2.0 * k / fluid.mass / _mean_temperature(ui + heat, uj + heat, fluid)[0] * (1.0 - 1.0 / c)
    c_per, v_per = _frozen(rate * per, diff * per, dt)
    c_par, v_par = _frozen(rate * par, diff * par, dt)
    left = across2 - 2.0 * c_per * (a_per * across2 + r_per * pg) + c_per**2 * new_across2
    back = (-0.5 * (along - c_par * new_along) ** 2 / v_par - 0.5 * left / v_per - 0.5 * math.log(v_par)
            - 0.5 * (fluid.dim - 1) * math.log(v_per))
    gain = (c - 1.0) * math.log((1.0 + heat / ui) * (1.0 + heat / uj))
    return a_par, r_par, a_per, r_per, heat, gain + back - there


@njit(cache=True)
def _decay(w2, along, across2, ui, uj, f, dt, fluid):  # type: ignore[no-untyped-def]
    """kB = 0: factors along and across and the heat, with the rate of the middle of the step."""
    heat, a_par, a_per = 0.0, 1.0, 1.0
    for part in (0.5, 1.0):
        h = _mean_temperature(ui + heat, uj + heat, fluid)[0]
        rate = 2.0 * f / fluid.mass * (1.0 if fluid.constant else fluid.temperature / h)
        a_par = math.exp(-rate * (fluid.alpha + fluid.beta) * part * dt)
        a_per = math.exp(-rate * fluid.alpha * part * dt)
        heat = fluid.mass / 8.0 * (w2 - a_par**2 * along**2 - a_per**2 * across2)
    return a_par, a_per, heat


@njit(cache=True)
def apply_friction(i, j, e0, e1, e2, f, jump, dt, key, v, u, fluid):  # type: ignore[no-untyped-def]
    """Friction of one pair over dt: changes v and u of both. True if accepted.

    e is the unit vector from j to i, f is F/(d_i d_j), or F/density² where coefficients depend on distance alone;
    `jump` the velocity of the image of j.
    """
    w0, w1, w2 = v[i, 0] - v[j, 0], v[i, 1] - v[j, 1] - jump, v[i, 2] - v[j, 2]
    along = e0 * w0 + e1 * w1 + e2 * w2
    p0, p1, p2 = w0 - along * e0, w1 - along * e1, w2 - along * e2
    across2 = p0 * p0 + p1 * p1 + p2 * p2
    square = along * along + across2
    g0, g1, g2, g = 0.0, 0.0, 0.0, 0.0
    r_par, r_per = 0.0, 0.0
    if fluid.noisy:
        g0, g1 = two_normals(key, 0)
        g2 = two_normals(key, 2)[0] if fluid.dim == 3 else 0.0
        g = e0 * g0 + e1 * g1 + e2 * g2
        pg = p0 * g0 + p1 * g1 + p2 * g2
        size = g0 * g0 + g1 * g1 + g2 * g2
        if fluid.constant:
            a_par, r_par, a_per, r_per, heat, ratio = _propose_constant(square, along, across2, g, pg, size, u[i], u[j],
                                                                        f, dt, fluid)
        else:
            a_par, r_par, a_per, r_per, heat, ratio = _propose_radial(square, along, across2, g, pg, size, u[i], u[j],
                                                                      f, dt, fluid)
        if math.log(uniform(key, 4)) > ratio:
            return False
    else:
        a_par, a_per, heat = _decay(square, along, across2, u[i], u[j], f, dt, fluid)
    step = (a_par - a_per) * along + (r_par - r_per) * g
    c0 = 0.5 * (step * e0 + (a_per - 1.0) * w0 + r_per * g0)
    c1 = 0.5 * (step * e1 + (a_per - 1.0) * w1 + r_per * g1)
    c2 = 0.5 * (step * e2 + (a_per - 1.0) * w2 + r_per * g2)
    v[i, 0] += c0
    v[i, 1] += c1
    v[i, 2] += c2
    v[j, 0] -= c0
    v[j, 1] -= c1
    v[j, 2] -= c2
    u[i] += heat
    u[j] += heat
    return True


@njit(cache=True, inline="always")
def _tilt(q, half, fluid):  # type: ignore[no-untyped-def]
    """A coordinate in which heat diffuses with constant diffusivity, and the log of the density of it.

    For C² = 2 kappa f T_i T_j: q = half sin(phi), half = (U_i + U_j)/2. Otherwise q itself.
    """
    n = fluid.heat_capacity - 1.0
    if fluid.constant:
        s = q / half
        return math.asin(s), (n + 0.5) * math.log(1.0 - s * s)
    return q, n * math.log(half * half - q * q)


@njit(cache=True, inline="always")
def _tilt_rate(phi, half, diff, fluid):  # type: ignore[no-untyped-def]
    """-drift/phi of that coordinate: diff times -d log density/d phi over phi."""
    n = fluid.heat_capacity - 1.0
    if fluid.constant:
        return diff * (2.0 * n + 1.0) * (math.tan(phi) / phi if abs(phi) > 1e-8 else 1.0)
    return 2.0 * diff * n / (half * half - phi * phi)


@njit(cache=True)
def apply_conduction(i, j, f, dt, key, u, fluid):  # type: ignore[no-untyped-def]
    """Heat conduction of one pair over dt: changes u of both. True if accepted."""
    c, half, q = fluid.heat_capacity, 0.5 * (u[i] + u[j]), 0.5 * (u[i] - u[j])
    if fluid.noisy:
        diff = 2.0 * fluid.kappa * f * (1.0 / (c * c) if fluid.constant else fluid.temperature**2)
        phi, density = _tilt(q, half, fluid)
        a, b = _frozen(_tilt_rate(phi, half, diff, fluid), diff, dt)
        g = two_normals(key, 5)[0]
        moved = a * phi + math.sqrt(b) * g
        if abs(moved) >= (0.5 * math.pi if fluid.constant else half):
            return False
        new = half * math.sin(moved) if fluid.constant else moved
        there = -0.5 * g * g - 0.5 * math.log(b) + density
        a, b = _frozen(_tilt_rate(moved, half, diff, fluid), diff, dt)
        back = -0.5 * (phi - a * moved) ** 2 / b - 0.5 * math.log(b) + _tilt(new, half, fluid)[1]
        if math.log(uniform(key, 7)) > back - there:
            return False
    else:
        new = q
        for part in (0.5, 1.0):
            cold = 1.0 if fluid.constant else fluid.temperature**2 * c * c / (half * half - new * new)
            new = q * math.exp(-4.0 * fluid.kappa * f / c * cold * part * dt)
    # the same number is taken from one as is given to the other: the sum is kept to rounding
    u[i] += new - q
    u[j] -= new - q
    return True
