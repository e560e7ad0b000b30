"""Compiled forces of a solid between two states, so that their work is the change of its energy to rounding.

The force of an energy E over a step from x to x' is a discrete gradient (Gonzalez, J. Nonlinear Sci. 6, 449, 1996):
F·(x' - x) = -(E' - E) exactly, and F = -∇E where x' = x. Every energy here is a function of a few numbers q of a bond
or a node, and its secant [E(q') - E(q)]/(q' - q) is in closed form, without differences of numbers nearly alike:

- springs: q = r², (k/2)(r - R)² has the secant k (r + r' - 2R)/(2 (r + r')), and r'² - r² = (x + x')·(x' - x);
- volumes: E(d(r²)), the product of the secants of both, the kernel being a polynomial of s = r/h;
- deformation gradient: tr C and det C, whose changes are those of C = FᵀF with F̄ = (F + F')/2 (Gonzalez, CMAME 190,
  1763, 2000); what is not affine is quadratic in x, and its force that of the middle.

So momentum, angular momentum and energy hold at every time step. The same functions with x' = x are the plain forces.
Where a motion runs away numbers become infinite or nan, which callers look for (error_model="numpy").
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.dynamics.terms.bonds import FrozenSolid


@njit(cache=True, nogil=True, error_model="numpy")
def forces_between(x, y, v, solid, force, heating):  # type: ignore[no-untyped-def]
    """Force on every node over a step from x to y with mean velocity v, into `force` (n, dim), and the rate at which
    the dashpots heat each, into `heating` (n,)."""
    force[:] = 0.0
    heating[:] = 0.0
    deformed = solid.shear != 0.0 or solid.bulk != 0.0 or solid.hourglass != 0.0
    if x.shape[1] == 2 and solid.edge.max() == 0.0:
        _plane_bonds(x, y, v, solid.first, solid.second, solid.length, solid.stiffness, solid.friction, force, heating)
        if solid.volume_modulus == 0.0 and not deformed:
            return
    d = np.empty_like(solid.apart)
    _bond_vectors(x, solid.first, solid.second, solid.edge, d)
    same = x.ctypes.data == y.ctypes.data               # one state, plain forces: half of the work
    e = d
    if not same:
        e = np.empty_like(solid.apart)
        _bond_vectors(y, solid.first, solid.second, solid.edge, e)
    if x.shape[1] != 2 or solid.edge.max() != 0.0:
        _bonds(d, e, v, solid.first, solid.second, solid.length, solid.stiffness, solid.friction, force, heating)
    if solid.volume_modulus != 0.0:
        _volumes(d, e, solid.first, solid.second, solid.volume_modulus, solid.volume_range, solid.kernel_height,
                 solid.rest_density, force)
    if deformed:
        _deformations(d, e, solid.first, solid.second, solid.apart, solid.weight, solid.metric, solid.node_volume,
                      solid.spread, solid.shear, solid.bulk, solid.hourglass, same, force)


@njit(cache=True, nogil=True, error_model="numpy")
def node_energies(x, solid, out):  # type: ignore[no-untyped-def]
    """Energy of every node into `out` (n,): half of that of its springs, and its own."""
    n, dim = x.shape
    first, second, length, stiffness = solid.first, solid.second, solid.length, solid.stiffness
    out[:] = 0.0
    d = np.empty_like(solid.apart)
    _bond_vectors(x, first, second, solid.edge, d)
    density = np.full(n, solid.kernel_height)
    volume = solid.volume_modulus != 0.0
    for b in range(len(first)):
        i, j = first[b], second[b]
        r2 = 0.0
        for a in range(dim):
            r2 += d[b, a] * d[b, a]
        r = np.sqrt(r2)
        stretch = r - length[b]
        e = 0.25 * stiffness[b] * stretch * stretch
        out[i] += e
        out[j] += e
        if volume:
            s = min(r / solid.volume_range, 1.0)
            W = solid.kernel_height * (1 + 3 * s) * (1 - s) ** 3
            density[i] += W
            density[j] += W
    if volume:
        for i in range(n):
            D = solid.rest_density[i]
            out[i] += 0.5 * solid.volume_modulus * (D / density[i] - 1.0) ** 2 / D
    if solid.shear != 0.0 or solid.bulk != 0.0 or solid.hourglass != 0.0:
        F = np.zeros((n, dim, dim))
        _gradients(d, first, second, solid.apart, solid.weight, solid.metric, F)
        for i in range(n):
            J = _determinant(F[i])
            trace = 0.0
            for a in range(dim):
                for c in range(dim):
                    trace += F[i, a, c] ** 2
            out[i] += solid.node_volume[i] * (0.5 * solid.shear * (trace * (J * J) ** (-1.0 / dim) - dim)
                                              + 0.5 * solid.bulk * (J - 1.0) ** 2)
        apart, weight, spread, V = solid.apart, solid.weight, solid.spread, solid.node_volume
        for b in range(len(first)):
            for end in range(2):
                i = first[b] if end == 0 else second[b]
                left = 0.0
                for a in range(dim):
                    z = d[b, a]
                    for c in range(dim):
                        z -= F[i, a, c] * apart[b, c]
                    left += z * z
                out[i] += 0.5 * solid.hourglass * V[i] * spread[i] * weight[b] * left


@njit(cache=True, nogil=True, error_model="numpy")
def _bond_vectors(x, first, second, edge, out):  # type: ignore[no-untyped-def]
    """Vectors from the second to the first node of every bond, of the nearest image in a periodic box."""
    for b in range(len(first)):
        i, j = first[b], second[b]
        for a in range(x.shape[1]):
            d = x[i, a] - x[j, a]
            if edge[a] > 0.0:
                d -= edge[a] * math.floor(d / edge[a] + 0.5)
            out[b, a] = d


@njit(cache=True, nogil=True, error_model="numpy")
def _plane_bonds(x, y, v, first, second, length, k, c, force, heating):  # type: ignore[no-untyped-def]
    """`_bonds` of a free sheet, by far the most common solid, without inner loops."""
    for b in range(len(first)):
        i, j = first[b], second[b]
        d0, d1, e0, e1 = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], y[i, 0] - y[j, 0], y[i, 1] - y[j, 1]
        s0, s1 = d0 + e0, d1 + e1
        total = np.sqrt(d0 * d0 + d1 * d1) + np.sqrt(e0 * e0 + e1 * e1)
        u = s0 * (v[i, 0] - v[j, 0]) + s1 * (v[i, 1] - v[j, 1])
        brake = c[b] * u / (s0 * s0 + s1 * s1)
        pull = -0.5 * k[b] * (1.0 - 2.0 * length[b] / total) - brake
        force[i, 0] += pull * s0
        force[i, 1] += pull * s1
        force[j, 0] -= pull * s0
        force[j, 1] -= pull * s1
        heat = 0.5 * brake * u
        heating[i] += heat
        heating[j] += heat


@njit(cache=True, nogil=True, error_model="numpy")
def _bonds(d, e, v, first, second, length, k, c, force, heating):  # type: ignore[no-untyped-def]
    """Springs by their secant; dashpots along the line of centres in the middle of the step."""
    dim = d.shape[1]
    for b in range(len(first)):
        i, j = first[b], second[b]
        before, after, size, u = 0.0, 0.0, 0.0, 0.0
        for a in range(dim):
            before += d[b, a] * d[b, a]
            after += e[b, a] * e[b, a]
            line = d[b, a] + e[b, a]
            size += line * line
            u += line * (v[i, a] - v[j, a])
        total = np.sqrt(before) + np.sqrt(after)
        # -(secant of the spring) (x + x') - c (ē·v) ē, ē = (x + x')/|x + x'|
        brake = c[b] * u / size
        pull = -0.5 * k[b] * (1.0 - 2.0 * length[b] / total) - brake
        for a in range(dim):
            f = pull * (d[b, a] + e[b, a])
            force[i, a] += f
            force[j, a] -= f
        heat = 0.5 * brake * u
        heating[i] += heat
        heating[j] += heat


@njit(cache=True, nogil=True, error_model="numpy")
def _volumes(d, e, first, second, modulus, h, top, rest, force):  # type: ignore[no-untyped-def]
    n, dim = force.shape
    before, after = np.full(n, top), np.full(n, top)
    secant = np.empty(len(first))
    for b in range(len(first)):
        i, j = first[b], second[b]
        r2, q2 = 0.0, 0.0
        for a in range(dim):
            r2 += d[b, a] * d[b, a]
            q2 += e[b, a] * e[b, a]
        s, t = np.sqrt(r2) / h, np.sqrt(q2) / h
        W = top * (1 + 3 * s) * (1 - s) ** 3 if s < 1.0 else 0.0
        U = top * (1 + 3 * t) * (1 - t) ** 3 if t < 1.0 else 0.0
        before[i] += W
        before[j] += W
        after[i] += U
        after[j] += U
        if s < 1.0 and t < 1.0:
            # W = top (1 - 6 s² + 8 s³ - 3 s⁴), its secant in s²
            cubic = (s * s + s * t + t * t) / (s + t)
            secant[b] = top * (-6.0 + 8.0 * cubic - 3.0 * (s * s + t * t)) / (h * h)
        elif s >= 1.0 and t >= 1.0:
            secant[b] = 0.0
        else:
            secant[b] = (U - W) / (q2 - r2)
    slope = np.empty(n)
    for i in range(n):
        # secant of K (D/d - 1)²/2D in d: with g = D/d the product of (g + g' - 2)/2D and -D/(d d')
        g = rest[i] / before[i] + rest[i] / after[i]
        slope[i] = -0.5 * modulus * (g - 2.0) / (before[i] * after[i])
    for b in range(len(first)):
        i, j = first[b], second[b]
        push = -(slope[i] + slope[j]) * secant[b]
        for a in range(dim):
            f = push * (d[b, a] + e[b, a])
            force[i, a] += f
            force[j, a] -= f


@njit(cache=True, nogil=True, error_model="numpy")
def _gradients(d, first, second, apart, weight, metric, out):  # type: ignore[no-untyped-def]
    """F of every node into `out` (n, dim, dim) of zeros."""
    dim = d.shape[1]
    for b in range(len(first)):
        i, j = first[b], second[b]
        for a in range(dim):
            w = weight[b] * d[b, a]
            for c in range(dim):
                out[i, a, c] += w * apart[b, c]
                out[j, a, c] += w * apart[b, c]
    row = np.empty(dim)
    for i in range(len(out)):
        for a in range(dim):
            for c in range(dim):
                row[c] = 0.0
                for k in range(dim):
                    row[c] += out[i, a, k] * metric[i, k, c]
            for c in range(dim):
                out[i, a, c] = row[c]


@njit(cache=True, nogil=True, error_model="numpy")
def _determinant(m):  # type: ignore[no-untyped-def]
    if len(m) == 1:
        return m[0, 0]
    if len(m) == 2:
        return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    return (m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]) - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
            + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]))


@njit(cache=True, nogil=True, error_model="numpy")
def _add_cofactors(m, factor, out):  # type: ignore[no-untyped-def]
    """out += factor · cofactors of a symmetric matrix, the slope of its determinant."""
    if len(m) == 1:
        out[0, 0] += factor
    elif len(m) == 2:
        out[0, 0] += factor * m[1, 1]
        out[1, 1] += factor * m[0, 0]
        out[0, 1] -= factor * m[1, 0]
        out[1, 0] -= factor * m[0, 1]
    else:
        for a in range(3):
            for c in range(3):
                p, q, r, s = (a + 1) % 3, (a + 2) % 3, (c + 1) % 3, (c + 2) % 3
                out[a, c] += factor * (m[p, r] * m[q, s] - m[p, s] * m[q, r])


@njit(cache=True, nogil=True, error_model="numpy")
def _deformations(d, e, first, second, apart, weight, metric, volume, spread, shear, bulk, hourglass,  # type: ignore[no-untyped-def]
                  same, force):
    n, dim = force.shape
    F = np.zeros((n, dim, dim))
    _gradients(d, first, second, apart, weight, metric, F)
    G = F
    if not same:
        G = np.zeros((n, dim, dim))
        _gradients(e, first, second, apart, weight, metric, G)
    pull = np.empty((n, dim, dim))
    C, B, mean, cof = np.empty((dim, dim)), np.empty((dim, dim)), np.empty((dim, dim)), np.empty((dim, dim))
    for i in range(n):
        tc, tb = 0.0, 0.0
        for a in range(dim):
            for c in range(dim):
                p, q = 0.0, 0.0
                for k in range(dim):
                    p += F[i, k, a] * F[i, k, c]
                    q += G[i, k, a] * G[i, k, c]
                C[a, c], B[a, c], mean[a, c] = p, q, 0.5 * (p + q)
            tc += C[a, a]
            tb += B[a, a]
        # det C' - det C = (mean cofactors) : (C' - C), by Simpson's rule exact up to three dimensions
        cof[:] = 0.0
        _add_cofactors(C, 1.0 / 6.0, cof)
        _add_cofactors(mean, 4.0 / 6.0, cof)
        _add_cofactors(B, 1.0 / 6.0, cof)
        J, I = _determinant(F[i]), _determinant(G[i])
        # with w = (det C)^(1/dim): secant of 1/w in det C = w^dim
        w, u = abs(J) ** (2.0 / dim), abs(I) ** (2.0 / dim)
        powers = 0.0
        for k in range(dim):
            powers += u ** (dim - 1 - k) * w**k
        by_trace = 0.25 * shear * (1.0 / w + 1.0 / u)
        by_det = -0.25 * shear * (tc + tb) / (w * u * powers) + 0.5 * bulk * (J + I - 2.0) / (J + I)
        for a in range(dim):
            for c in range(dim):
                cof[a, c] *= by_det
            cof[a, a] += by_trace
        # dE/dF̄ = V 2 F̄ S, then times the metric
        for a in range(dim):
            for c in range(dim):
                total = 0.0
                for k in range(dim):
                    total += (F[i, a, k] + G[i, a, k]) * cof[k, c]
                mean[a, c] = volume[i] * total
        for a in range(dim):
            for c in range(dim):
                total = 0.0
                for k in range(dim):
                    total += mean[a, k] * metric[i, k, c]
                pull[i, a, c] = total
    for i in range(n):
        for a in range(dim):
            for c in range(dim):
                F[i, a, c] += G[i, a, c]
    for b in range(len(first)):
        i, j = first[b], second[b]
        for a in range(dim):
            at_i, at_j, f = d[b, a] + e[b, a], d[b, a] + e[b, a], 0.0
            for c in range(dim):
                at_i -= F[i, a, c] * apart[b, c]
                at_j -= F[j, a, c] * apart[b, c]
                f += (pull[i, a, c] + pull[j, a, c]) * apart[b, c]
            f += 0.5 * hourglass * (volume[i] * spread[i] * at_i + volume[j] * spread[j] * at_j)
            f *= -weight[b]
            force[i, a] += f
            force[j, a] -= f


def energy_of(position: np.ndarray, solid: FrozenSolid) -> float:
    """Energy of a solid at positions (n, dim) [energy]."""
    out = np.empty(len(position))
    node_energies(position, solid, out)
    return float(out.sum())
