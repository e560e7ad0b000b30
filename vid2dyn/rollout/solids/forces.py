"""Compiled forces of a solid between two states, so that their work is the change of its energy to rounding.

The force of an energy E over a step from x to x' is a discrete gradient (Gonzalez, J. Nonlinear Sci. 6, 449, 1996):
F·(x' - x) = -(E' - E) exactly, and F = -∇E where x' = x. Every energy here is a function of a few numbers q of a bond
or a node, and its secant [E(q') - E(q)]/(q' - q) is in closed form, without differences of numbers nearly alike:

- springs: q = r², (k/2)(r - R)² has the secant k (r + r' - 2R)/(2 (r + r')), and r'² - r² = (x + x')·(x' - x);
- volumes: E(d(r²)), the product of the secants of both, the kernel being a polynomial of s = r/h;
- deformation gradient: tr C and det C, whose changes are those of C = FᵀF with F̄ = (F + F')/2 (Gonzalez, CMAME 190,
  1763, 2000); what is not affine is quadratic in x, and its force that of the middle.

So momentum, angular momentum and energy hold at every time step. The same functions with x' = x are the plain forces.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vid2dyn.dynamics.terms.bonds import FrozenSolid


@njit(cache=True, nogil=True)
def forces_between(x, y, v, solid, force, heating):  # type: ignore[no-untyped-def]
    """Force on every node over a step from x to y with mean velocity v, into `force` (n, dim), and the rate at which
    the dashpots heat each, into `heating` (n,)."""
    force[:] = 0.0
    heating[:] = 0.0
    _bonds(x, y, v, solid, force, heating)
    if solid.volume_modulus != 0.0:
        _volumes(x, y, solid, force)
    if solid.shear != 0.0 or solid.bulk != 0.0 or solid.hourglass != 0.0:
        _deformations(x, y, solid, force)


@njit(cache=True, nogil=True)
def node_energies(x, solid, out):  # type: ignore[no-untyped-def]
    """Energy of every node into `out` (n,): half of that of its springs, and its own."""
    n, dim = x.shape
    out[:] = 0.0
    density = np.full(n, solid.kernel_height)
    volume = solid.volume_modulus != 0.0
    for b in range(len(solid.first)):
        i, j = solid.first[b], solid.second[b]
        r2 = 0.0
        for a in range(dim):
            d = _apart(x, i, j, a, solid.edge)
            r2 += d * d
        r = np.sqrt(r2)
        stretch = r - solid.length[b]
        e = 0.25 * solid.stiffness[b] * stretch * stretch
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
        F = _gradients(x, solid)
        for i in range(n):
            J = _determinant(F[i])
            trace = 0.0
            for a in range(dim):
                for c in range(dim):
                    trace += F[i, a, c] ** 2
            out[i] += solid.node_volume[i] * (0.5 * solid.shear * (trace * (J * J) ** (-1.0 / dim) - dim)
                                              + 0.5 * solid.bulk * (J - 1.0) ** 2)
        z = np.empty(dim)
        for b in range(len(solid.first)):
            for end in range(2):
                i = solid.first[b] if end == 0 else solid.second[b]
                _left_over(x, F, solid, b, i, z)
                rough = solid.hourglass * solid.node_volume[i] * solid.spread[i] * solid.weight[b]
                out[i] += 0.5 * rough * (z * z).sum()


@njit(cache=True, nogil=True)
def _apart(x, i, j, a, edge):  # type: ignore[no-untyped-def]
    """Component a of the vector from j to i, the nearest image in a periodic box."""
    d = x[i, a] - x[j, a]
    if edge[a] > 0.0:
        d -= edge[a] * np.round(d / edge[a])
    return d


@njit(cache=True, nogil=True)
def _bonds(x, y, v, solid, force, heating):  # type: ignore[no-untyped-def]
    """Springs by their secant; dashpots along the line of centres in the middle of the step."""
    dim = x.shape[1]
    line = np.empty(dim)
    for b in range(len(solid.first)):
        i, j = solid.first[b], solid.second[b]
        before, after, size, u = 0.0, 0.0, 0.0, 0.0
        for a in range(dim):
            d, e = _apart(x, i, j, a, solid.edge), _apart(y, i, j, a, solid.edge)
            before += d * d
            after += e * e
            line[a] = d + e
            size += line[a] * line[a]
            u += line[a] * (v[i, a] - v[j, a])
        total = np.sqrt(before) + np.sqrt(after)
        # -(secant of the spring) (x + x') - c (ē·v) ē, ē = (x + x')/|x + x'|
        pull = -0.5 * solid.stiffness[b] * (total - 2.0 * solid.length[b]) / total - solid.friction[b] * u / size
        for a in range(dim):
            force[i, a] += pull * line[a]
            force[j, a] -= pull * line[a]
        heat = 0.5 * solid.friction[b] * u * u / size
        heating[i] += heat
        heating[j] += heat


@njit(cache=True, nogil=True)
def _volumes(x, y, solid, force):  # type: ignore[no-untyped-def]
    n, dim = x.shape
    h, top = solid.volume_range, solid.kernel_height
    before, after = np.full(n, top), np.full(n, top)
    secant = np.empty(len(solid.first))
    for b in range(len(solid.first)):
        i, j = solid.first[b], solid.second[b]
        r2, q2 = 0.0, 0.0
        for a in range(dim):
            r2 += _apart(x, i, j, a, solid.edge) ** 2
            q2 += _apart(y, i, j, a, solid.edge) ** 2
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
        D = solid.rest_density[i]
        # secant of K (D/d - 1)²/2D in d: with g = D/d the product of (g + g' - 2)/2D and -D/(d d')
        g = D / before[i] + D / after[i]
        slope[i] = -0.5 * solid.volume_modulus * (g - 2.0) / (before[i] * after[i])
    for b in range(len(solid.first)):
        i, j = solid.first[b], solid.second[b]
        push = -(slope[i] + slope[j]) * secant[b]
        for a in range(dim):
            f = push * (_apart(x, i, j, a, solid.edge) + _apart(y, i, j, a, solid.edge))
            force[i, a] += f
            force[j, a] -= f


@njit(cache=True, nogil=True)
def _gradients(x, solid):  # type: ignore[no-untyped-def]
    """F of every node, (n, dim, dim)."""
    n, dim = x.shape
    out = np.zeros((n, dim, dim))
    for b in range(len(solid.first)):
        i, j = solid.first[b], solid.second[b]
        for a in range(dim):
            d = solid.weight[b] * _apart(x, i, j, a, solid.edge)
            for c in range(dim):
                out[i, a, c] += d * solid.apart[b, c]
                out[j, a, c] += d * solid.apart[b, c]
    one = np.empty((dim, dim))
    for i in range(n):
        for a in range(dim):
            for c in range(dim):
                total = 0.0
                for k in range(dim):
                    total += out[i, a, k] * solid.metric[i, k, c]
                one[a, c] = total
        out[i] = one
    return out


@njit(cache=True, nogil=True)
def _determinant(m):  # type: ignore[no-untyped-def]
    if len(m) == 1:
        return m[0, 0]
    if len(m) == 2:
        return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    return (m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]) - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
            + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]))


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _left_over(x, F, solid, b, i, z):  # type: ignore[no-untyped-def]
    """z = x - F X of bond b by the gradient of node i."""
    for a in range(len(z)):
        z[a] = _apart(x, solid.first[b], solid.second[b], a, solid.edge)
        for c in range(len(z)):
            z[a] -= F[i, a, c] * solid.apart[b, c]


@njit(cache=True, nogil=True)
def _deformations(x, y, solid, force):  # type: ignore[no-untyped-def]
    n, dim = x.shape
    F, G = _gradients(x, solid), _gradients(y, solid)
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
        J, I = abs(_determinant(F[i])), abs(_determinant(G[i]))
        # with w = (det C)^(1/dim): secant of 1/w in det C = w^dim
        w, u = J ** (2.0 / dim), I ** (2.0 / dim)
        powers = 0.0
        for k in range(dim):
            powers += u ** (dim - 1 - k) * w**k
        by_trace = 0.25 * solid.shear * (1.0 / w + 1.0 / u)
        by_det = -0.25 * solid.shear * (tc + tb) / (w * u * powers) + 0.5 * solid.bulk * (J + I - 2.0) / (J + I)
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
                mean[a, c] = solid.node_volume[i] * total
        for a in range(dim):
            for c in range(dim):
                total = 0.0
                for k in range(dim):
                    total += mean[a, k] * solid.metric[i, k, c]
                pull[i, a, c] = total
    z, zz = np.empty(dim), np.empty(dim)
    for b in range(len(solid.first)):
        i, j = solid.first[b], solid.second[b]
        for end in range(2):
            node = i if end == 0 else j
            _left_over(x, F, solid, b, node, z)
            _left_over(y, G, solid, b, node, zz)
            rough = 0.5 * solid.hourglass * solid.node_volume[node] * solid.spread[node]
            for a in range(dim):
                f = rough * (z[a] + zz[a])
                for c in range(dim):
                    f += pull[node, a, c] * solid.apart[b, c]
                f *= -solid.weight[b]
                force[i, a] += f
                force[j, a] -= f


def energy_of(position: np.ndarray, solid: FrozenSolid) -> float:
    """Energy of a solid at positions (n, dim) [energy]."""
    out = np.empty(len(position))
    node_energies(position, solid, out)
    return float(out.sum())
