"""Steps of an overdamped sheet whose friction acts on nodes and on pairs: R(x) v = F(x) + noise, R solved each step.

R = node_friction 1 + sum_pairs c_ij e_ij e_ij^T (on relative velocities), and the noise has covariance 2 kT R/h, made
of its root: one normal number for each node and axis, one for each pair along its line. With friction that depends on
positions dx = R⁻¹ F dt + noise needs the drift kT div R⁻¹. The midpoint scheme of Fixman (J. Chem. Phys. 69, 1527,
1978) supplies it: the same random *forces* act at x and at x + h v/2, so that <v(mid)> has the term
(h/2) d_k M_ij <v_k f_j> = kT d_k M_ik, with M = R⁻¹. Without noise it is the midpoint rule, of second order.

The needle moves all its particles together. Its place is prescribed, or follows m z'' = F(t) - k z - d z' + force of
the film, by the midpoint rule as well. kT = 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.core.conjugate_gradients import conjugate_gradients
from vid2dyn.core.pair_noise import normal, pair_key, step_key
from vid2dyn.simulators.brownian.forces import moved, neighbours
from vid2dyn.simulators.interface.packing import LONGEST_STEP, RENEW, SKIN
from vid2dyn.simulators.interface.pair_laws import PairLaw, Pairs, add_pair_forces, update_pairs

FREE, NEEDLE, WALL = 0, 1, 2
_MOST_ITERATIONS = 2000


class Sheet(NamedTuple):
    """What does not change during a run.

    Parameters
    ----------
    species, body : (n,) int arrays
        0 small, 1 large; FREE, NEEDLE or WALL.
    lengths : (2,) array
        Periods (y, x) [µm].
    law : PairLaw
    node_friction : float
        Drag of a particle against the fluid below it [kT s/µm²].
    flow : float
        1 if this fluid moves with the needle at the needle, stands at the wall, linear between; 0 if it is at rest.
    low, high : float
        Where the free region begins (needle) and ends (wall) along y [µm].
    temperature : float
        1, or 0 without noise.
    tolerance : float
        Relative residual of R v.
    """

    species: np.ndarray
    body: np.ndarray
    lengths: np.ndarray
    law: PairLaw
    node_friction: float
    flow: float
    low: float
    high: float
    temperature: float
    tolerance: float


class Drive(NamedTuple):
    """How the needle moves: `forced` 0: z = amplitude sin(omega t) [µm]; 1: F = amplitude sin(omega t) [kT/µm].

    `mass` [kT s²/µm²], `stiffness` [kT/µm²] and `drag` [kT s/µm²] of the needle, which only a forced one needs.
    """

    forced: int
    amplitude: float
    omega: float
    mass: float
    stiffness: float
    drag: float


@njit(cache=True, error_model="numpy")
def _rubbing(pairs):  # type: ignore[no-untyped-def]
    """The pairs that have friction, about one in five: particles (m, 2) and e sqrt(c) (m, 2)."""
    both, root, m = np.empty((len(pairs.first), 2), np.int64), np.empty((len(pairs.first), 2)), 0
    for p in range(len(pairs.first)):
        if pairs.friction[p] > 0.0:
            size = math.sqrt(pairs.friction[p])
            both[m, 0], both[m, 1] = pairs.first[p], pairs.second[p]
            root[m, 0], root[m, 1] = size * pairs.unit[p, 0], size * pairs.unit[p, 1]
            m += 1
    return both[:m], root[:m]


@njit(cache=True, error_model="numpy")
def _apply(operator, x, out):  # type: ignore[no-untyped-def]
    both, root, body, node, _ = operator
    for i in range(len(x)):
        out[i, 0], out[i, 1] = node * x[i, 0], node * x[i, 1]
    for p in range(len(both)):
        i, j = both[p, 0], both[p, 1]
        t = root[p, 0] * (x[i, 0] - x[j, 0]) + root[p, 1] * (x[i, 1] - x[j, 1])
        f0, f1 = t * root[p, 0], t * root[p, 1]
        out[i, 0] += f0
        out[i, 1] += f1
        out[j, 0] -= f0
        out[j, 1] -= f1
    for i in range(len(x)):
        if body[i] != FREE:
            out[i, 0], out[i, 1] = 0.0, 0.0


@njit(cache=True, error_model="numpy")
def _precondition(operator, residual, out):  # type: ignore[no-untyped-def]
    inverse = operator[4]
    for i in range(len(residual)):
        out[i, 0], out[i, 1] = inverse[i] * residual[i, 0], inverse[i] * residual[i, 1]
    return out


@njit(cache=True, error_model="numpy")
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(a)):
        total += a[i, 0] * b[i, 0] + a[i, 1] * b[i, 1]
    return total


@njit(cache=True, error_model="numpy")
def _advance_both(step, direction, image, x, residual):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        for c in range(2):
            x[i, c] += step * direction[i, c]
            residual[i, c] -= step * image[i, c]


@njit(cache=True, error_model="numpy")
def _turn(factor, z, direction):  # type: ignore[no-untyped-def]
    for i in range(len(z)):
        for c in range(2):
            direction[i, c] = z[i, c] + factor * direction[i, c]


@njit(cache=True, error_model="numpy")
def solve_velocities(x, right, w, sheet, pairs, v):  # type: ignore[no-untyped-def]
    """v (n, 2) [µm/s] with R v = right + (fluid and held particles); returns the iterations, -1 if they do not end.

    `right` (n, 2) forces [kT/µm]; w: velocity of the needle along x [µm/s]. `v` holds a first guess of the free
    particles on entry.
    """
    n, body, node = len(x), sheet.body, sheet.node_friction
    inverse, residual, image = np.full(n, node), np.empty((n, 2)), np.empty((n, 2))
    for p in range(len(pairs.first)):
        inverse[pairs.first[p]] += 0.5 * pairs.friction[p]
        inverse[pairs.second[p]] += 0.5 * pairs.friction[p]
    for i in range(n):
        inverse[i] = 1.0 / inverse[i] if inverse[i] > 0.0 else 0.0
        if body[i] != FREE:
            v[i, 0], v[i, 1] = 0.0, (w if body[i] == NEEDLE else 0.0)
    both, root = _rubbing(pairs)
    operator = both, root, body, node, inverse
    _apply(operator, v, image)
    scale = 0.0
    for i in range(n):
        flow = node * sheet.flow * w * (sheet.high - x[i, 0]) / (sheet.high - sheet.low)
        for c in range(2):
            residual[i, c] = 0.0
            if body[i] == FREE:
                whole = right[i, c] + (flow if c == 1 else 0.0)
                residual[i, c] = whole - image[i, c]
                scale += inverse[i] * whole * whole
    direction, change, scratch = np.empty((n, 2)), np.empty((n, 2)), np.empty((n, 2))
    size = _dot(_precondition(operator, residual, scratch), residual)
    if size <= sheet.tolerance * sheet.tolerance * scale or size == 0.0:
        return 0
    relative = min(1.0, sheet.tolerance * math.sqrt(max(scale, 1e-300) / size))
    count = conjugate_gradients(_apply, _precondition, _dot, _advance_both, _turn, operator,
                                (residual, change, direction, image, scratch), max(relative, 1e-13), _MOST_ITERATIONS)
    for i in range(n):
        if body[i] == FREE:
            for c in range(2):
                v[i, c] += change[i, c]
    return count


@njit(cache=True, error_model="numpy")
def _draw_noise(sheet, pairs, seed, step, h, noise):  # type: ignore[no-untyped-def]
    """noise (n, 2) = random forces of covariance 2 R/h; also on held particles, from their pairs."""
    noise[:] = 0.0
    key = step_key(seed, step)
    size = math.sqrt(2.0 * sheet.node_friction / h)
    for i in range(len(noise)):
        if sheet.body[i] == FREE:
            own = pair_key(key, i, i)
            noise[i, 0], noise[i, 1] = size * normal(own, 0), size * normal(own, 1)
    for p in range(len(pairs.first)):
        if pairs.friction[p] > 0.0:
            i, j = pairs.first[p], pairs.second[p]
            t = math.sqrt(2.0 * pairs.friction[p] / h) * normal(pair_key(key, i, j), 0)
            for c in range(2):
                noise[i, c] += t * pairs.unit[p, c]
                noise[j, c] -= t * pairs.unit[p, c]


@njit(cache=True, error_model="numpy")
def force_on(which, pairs, body, v):  # type: ignore[no-untyped-def]
    """Force along x on the particles of body `which` by the others [kT/µm]: (pair forces, pair friction)."""
    elastic, viscous = 0.0, 0.0
    for p in range(len(pairs.first)):
        i, j = pairs.first[p], pairs.second[p]
        sign = (1.0 if body[i] == which else 0.0) - (1.0 if body[j] == which else 0.0)
        if sign != 0.0:
            along = pairs.unit[p, 0] * (v[i, 0] - v[j, 0]) + pairs.unit[p, 1] * (v[i, 1] - v[j, 1])
            elastic += sign * pairs.force[p] * pairs.unit[p, 1]
            viscous -= sign * pairs.friction[p] * along * pairs.unit[p, 1]
    return elastic, viscous


@njit(cache=True, error_model="numpy")
def _needle_noise(noise, sheet, drive, seed, step, h):  # type: ignore[no-untyped-def]
    """Random force on the whole needle along x [kT/µm]."""
    total = 0.0
    for i in range(len(noise)):
        if sheet.body[i] == NEEDLE:
            total += noise[i, 1]
    n = len(noise)
    return total + math.sqrt(2.0 * drive.drag / h) * normal(pair_key(step_key(seed, step), n, n), 0)


@njit(cache=True, error_model="numpy")
def _place_needle(x, home, body, z):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        if body[i] == NEEDLE:
            x[i, 1] = home[i] + z


@njit(cache=True, error_model="numpy")
def _listed(x, lengths, reach):  # type: ignore[no-untyped-def]
    listed = neighbours(x, lengths, reach)
    n = len(listed)
    return Pairs(listed[:, 0].copy(), listed[:, 1].copy(), np.zeros((n, 2)), np.zeros(n), np.zeros(n), np.zeros(n))


@njit(cache=True, error_model="numpy")
def advance(x, home, needle, sheet, drive, begin, seed, first, steps, h, average):  # type: ignore[no-untyped-def]
    """`steps` steps of length h [s] from time `begin` [s] on; x and needle (z, z') are changed in place.

    `first`: number of the first step, which no other step shares, for its noise. `home` (n,): x of the needle's
    particles at z = 0; `average` (n, 2) becomes the trapezoid mean of x. Returns False
    if a solution did not converge or a particle jumped.
    """
    n = len(x)
    pairs, reference = _listed(x, sheet.lengths, sheet.law.cutoff + SKIN), x.copy()
    force, noise, right, v, middle = (np.zeros((n, 2)), np.zeros((n, 2)), np.zeros((n, 2)), np.zeros((n, 2)),
                                      np.empty((n, 2)))
    average[:] = 0.0
    for s in range(steps):
        step = first + s
        t = begin + s * h
        if moved(x, reference) > RENEW:
            pairs, reference = _listed(x, sheet.lengths, sheet.law.cutoff + SKIN), x.copy()
        if drive.forced == 0:
            needle[1] = drive.amplitude * drive.omega * math.cos(drive.omega * t)
        update_pairs(x, sheet.species, sheet.lengths, sheet.law, pairs)
        add_pair_forces(pairs, force)
        if sheet.temperature > 0.0:
            _draw_noise(sheet, pairs, seed, step, h, noise)
        for i in range(n):
            for c in range(2):
                right[i, c] = force[i, c] + noise[i, c]
        if solve_velocities(x, right, needle[1], sheet, pairs, v) < 0:
            return False
        half, speed = 0.0, 0.0
        if drive.forced == 0:
            half = drive.amplitude * math.sin(drive.omega * (t + 0.5 * h))
            speed = drive.amplitude * drive.omega * math.cos(drive.omega * (t + 0.5 * h))
        else:
            elastic, viscous = force_on(NEEDLE, pairs, sheet.body, v)
            push = _needle_noise(noise, sheet, drive, seed, step, h) if sheet.temperature > 0.0 else 0.0
            half = needle[0] + 0.5 * h * needle[1]
            speed = needle[1] + 0.5 * h / drive.mass * (
                drive.amplitude * math.sin(drive.omega * t) - drive.stiffness * needle[0] - drive.drag * needle[1]
                + elastic + viscous + push)
        for i in range(n):
            for c in range(2):
                middle[i, c] = x[i, c] + 0.5 * h * v[i, c]
        _place_needle(middle, home, sheet.body, half)
        update_pairs(middle, sheet.species, sheet.lengths, sheet.law, pairs)
        add_pair_forces(pairs, force)
        for i in range(n):
            for c in range(2):
                right[i, c] = force[i, c] + noise[i, c]
        if solve_velocities(middle, right, speed, sheet, pairs, v) < 0:
            return False
        if drive.forced == 0:
            needle[0] = drive.amplitude * math.sin(drive.omega * (t + h))
        else:
            elastic, viscous = force_on(NEEDLE, pairs, sheet.body, v)
            push = _needle_noise(noise, sheet, drive, seed, step, h) if sheet.temperature > 0.0 else 0.0
            needle[1] += h / drive.mass * (drive.amplitude * math.sin(drive.omega * (t + 0.5 * h))
                                           - drive.stiffness * half - drive.drag * speed + elastic + viscous + push)
            needle[0] += h * speed
        for i in range(n):
            for c in range(2):
                old = x[i, c]
                if sheet.body[i] == FREE:
                    x[i, c] += h * v[i, c]
                elif sheet.body[i] == NEEDLE and c == 1:
                    x[i, c] = home[i] + needle[0]
                average[i, c] += 0.5 * (old + x[i, c]) / steps
                if not abs(x[i, c] - old) < LONGEST_STEP:
                    return False
    return True


@njit(cache=True, error_model="numpy")
def measure(x, needle, sheet, force, v):  # type: ignore[no-untyped-def]
    """What acts in a frame, without random forces; `force` and `v` (n, 2) are filled.

    Returns (6,): shear stress of pair forces and of pair friction, averaged over the free region [kT/µm²]; force along
    x on the needle by pair forces and by friction; on the wall; and the part of the needle's force that the drag of
    the fluid makes [kT/µm].

    The plane at height y carries stress(y) · width = sum over pairs that cross it. Its mean over the free region
    is a sum over pairs of their share of y. From the needle to y the drag changes it, so that, for any state,
    force on needle = -width · stress + sum_i (drag force on i) (high - y_i)/(high - low).
    """
    n = len(x)
    pairs = _listed(x, sheet.lengths, sheet.law.cutoff)
    update_pairs(x, sheet.species, sheet.lengths, sheet.law, pairs)
    add_pair_forces(pairs, force)
    v[:] = 0.0
    solve_velocities(x, force, needle[1], sheet, pairs, v)
    out, height = np.zeros(6), sheet.high - sheet.low
    for p in range(len(pairs.first)):
        i, j = pairs.first[p], pairs.second[p]
        y = min(max(x[i, 0], sheet.low), sheet.high), min(max(x[j, 0], sheet.low), sheet.high)
        share = (y[0] - y[1]) / height
        along = pairs.unit[p, 0] * (v[i, 0] - v[j, 0]) + pairs.unit[p, 1] * (v[i, 1] - v[j, 1])
        out[0] += share * pairs.force[p] * pairs.unit[p, 1] / sheet.lengths[1]
        out[1] -= share * pairs.friction[p] * along * pairs.unit[p, 1] / sheet.lengths[1]
    out[2], out[3] = force_on(NEEDLE, pairs, sheet.body, v)
    out[4] = sum(force_on(WALL, pairs, sheet.body, v))
    for i in range(n):
        if sheet.body[i] == FREE:
            flow = sheet.flow * needle[1] * (sheet.high - x[i, 0]) / height
            y = min(max(x[i, 0], sheet.low), sheet.high)
            out[5] -= sheet.node_friction * (v[i, 1] - flow) * (sheet.high - y) / height
    return out
