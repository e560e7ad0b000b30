"""Friction of overdamped particles against the fluid and against each other: velocities from forces, and their noise.

    R v = F + ξ,    R = γ_i on every node + sum_pairs c(r_ij) e_ij e_ijᵀ on relative velocities,    <ξ ξᵀ> = 2 kT R/h

R is the friction matrix of the house, made of its root: a node has one noise number for each axis, a pair one along its
line, opposite at its two ends. The covariance of the noise is then that of the whole R to the last digit, pair friction
and its noise add no momentum, and no root of a matrix is ever taken. Noise is keyed on (seed, step, pair), so
that neither the order of pairs nor the number of threads changes a bit of it. The equation is solved by conjugate
gradients, with the diagonal as preconditioner. Compiled; kT = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from vid2dyn.core.conjugate_gradients import conjugate_gradients
from vid2dyn.core.errors import ModelError
from vid2dyn.core.pair_noise import normal, pair_key, step_key

TOLERANCE = 1e-6
"""Relative residual of R v."""
_MOST_ITERATIONS = 5000


@dataclass(frozen=True, eq=False)
class FrozenFriction:
    """Friction reduced to numbers that a compiled loop can use.

    Parameters
    ----------
    node : float or (n,) array
        γ of every particle against the fluid [kT s/µm²].
    pair : (entries,) array
        c(r) along the line of centres at r = 0 ... cutoff, evenly spaced [kT s/µm²]; zero at the cutoff.
    cutoff : float
        Range of the friction of pairs [µm]; 0: none.

    Raises
    ------
    ModelError
        If a friction is negative, or a particle would have none.

    Examples
    --------
    >>> FrozenFriction.of_nodes(0.5).node                # D = 0.5 µm²/s, kT = 1
    2.0
    """

    node: float | np.ndarray
    pair: np.ndarray
    cutoff: float

    def __post_init__(self) -> None:
        if not (np.asarray(self.node) > 0).all():
            raise ModelError("Friction against the fluid must be positive: without it nothing holds the mean position "
                             "of free particles.")
        if self.cutoff > 0 and not (np.asarray(self.pair) >= 0).all():
            raise ModelError(f"Friction of pairs is negative ({float(np.min(self.pair)):.3g} kT s/µm²) at some "
                             "distance; a friction takes energy and cannot be.")

    @classmethod
    def of_nodes(cls, diffusion: float | np.ndarray) -> FrozenFriction:
        """Of particles that have friction against the fluid alone, from their D [µm²/s]."""
        return cls(1.0 / np.asarray(diffusion, dtype=float) if np.ndim(diffusion) else 1.0 / float(diffusion),
                   np.zeros(2), 0.0)


class FrictionTables(NamedTuple):
    """As the loop reads it: γ (n,), c(r) at even distances, its range; which particles are free (n,)."""

    node: np.ndarray
    pair: np.ndarray
    cutoff: float
    free: np.ndarray


class RubbingPairs(NamedTuple):
    """The pairs with friction at some positions: particles (m, 2), e sqrt(c) (m, dim) from the second to the first,
    and 1/(diagonal of R) (n,), which is the preconditioner."""

    both: np.ndarray
    root: np.ndarray
    inverse: np.ndarray


def friction_tables(friction: FrozenFriction, free: np.ndarray) -> FrictionTables:
    """For the particles of which `free` (n,) says whether they move by themselves."""
    node = np.broadcast_to(np.asarray(friction.node, dtype=float), len(free)).copy()
    return FrictionTables(node, np.ascontiguousarray(friction.pair, dtype=float), float(friction.cutoff), free)


@numba.njit(cache=True, error_model="numpy")
def contacts_of(x, first, second, edge, tables):  # type: ignore[no-untyped-def]
    """`RubbingPairs` among the listed pairs at positions x; pairs of two held particles are left out."""
    n, dim = x.shape
    inverse = tables.node.copy()
    both, root, m = np.empty((len(first), 2), np.int64), np.empty((len(first), dim)), 0
    last = len(tables.pair) - 1
    if tables.cutoff > 0.0:
        e = np.zeros(3)
        reach2, per_length = tables.cutoff * tables.cutoff, last / tables.cutoff
        for p in range(len(first)):
            i, j = first[p], second[p]
            if not (tables.free[i] or tables.free[j]):
                continue
            r2 = 0.0
            for c in range(dim):
                t = x[i, c] - x[j, c]
                if edge[c] > 0.0:
                    t -= edge[c] * math.floor(t / edge[c] + 0.5)
                e[c] = t
                r2 += t * t
            if r2 >= reach2 or r2 == 0.0:
                continue
            r = math.sqrt(r2)
            u = r * per_length
            a = min(int(u), last - 1)
            friction = tables.pair[a] + (u - a) * (tables.pair[a + 1] - tables.pair[a])
            if friction <= 0.0:
                continue
            both[m, 0], both[m, 1] = i, j
            size = math.sqrt(friction) / r
            for c in range(dim):
                root[m, c] = size * e[c]
            inverse[i] += friction / dim
            inverse[j] += friction / dim
            m += 1
    for i in range(n):
        inverse[i] = 1.0 / inverse[i]
    return RubbingPairs(both[:m], root[:m], inverse)


@numba.njit(cache=True, error_model="numpy")
def _apply(operator, x, out):  # type: ignore[no-untyped-def]
    both, root, node, free, _ = operator
    dim = x.shape[1]
    if dim == 2:                                # the everyday case, spelt out
        for i in range(len(x)):
            out[i, 0] = node[i] * x[i, 0]
            out[i, 1] = node[i] * x[i, 1]
        for p in range(len(both)):
            i, j = both[p, 0], both[p, 1]
            e0, e1 = root[p, 0], root[p, 1]
            t = e0 * (x[i, 0] - x[j, 0]) + e1 * (x[i, 1] - x[j, 1])
            out[i, 0] += t * e0
            out[i, 1] += t * e1
            out[j, 0] -= t * e0
            out[j, 1] -= t * e1
    else:
        for i in range(len(x)):
            for c in range(dim):
                out[i, c] = node[i] * x[i, c]
        for p in range(len(both)):
            i, j = both[p, 0], both[p, 1]
            t = 0.0
            for c in range(dim):
                t += root[p, c] * (x[i, c] - x[j, c])
            for c in range(dim):
                out[i, c] += t * root[p, c]
                out[j, c] -= t * root[p, c]
    for i in range(len(x)):
        if not free[i]:
            for c in range(dim):
                out[i, c] = 0.0


@numba.njit(cache=True, error_model="numpy")
def _precondition(operator, residual, out):  # type: ignore[no-untyped-def]
    inverse = operator[4]
    if residual.shape[1] == 2:
        for i in range(len(residual)):
            out[i, 0] = inverse[i] * residual[i, 0]
            out[i, 1] = inverse[i] * residual[i, 1]
        return out
    for i in range(len(residual)):
        for c in range(residual.shape[1]):
            out[i, c] = inverse[i] * residual[i, c]
    return out


@numba.njit(cache=True, error_model="numpy")
def _dot(a, b):  # type: ignore[no-untyped-def]
    # four sums, which the processor adds at the same time
    x, y = a.reshape(-1), b.reshape(-1)
    s0 = s1 = s2 = s3 = 0.0
    whole = len(x) - len(x) % 4
    for i in range(0, whole, 4):
        s0 += x[i] * y[i]
        s1 += x[i + 1] * y[i + 1]
        s2 += x[i + 2] * y[i + 2]
        s3 += x[i + 3] * y[i + 3]
    for i in range(whole, len(x)):
        s0 += x[i] * y[i]
    return (s0 + s1) + (s2 + s3)


@numba.njit(cache=True, error_model="numpy")
def _advance_both(step, direction, image, x, residual):  # type: ignore[no-untyped-def]
    a, b, c, d = x.reshape(-1), direction.reshape(-1), residual.reshape(-1), image.reshape(-1)
    for i in range(len(a)):
        a[i] += step * b[i]
        c[i] -= step * d[i]


@numba.njit(cache=True, error_model="numpy")
def _turn(factor, z, direction):  # type: ignore[no-untyped-def]
    a, b = z.reshape(-1), direction.reshape(-1)
    for i in range(len(a)):
        b[i] = a[i] + factor * b[i]


@numba.njit(cache=True, error_model="numpy")
def solve_velocities(right, contacts, tables, v):  # type: ignore[no-untyped-def]
    """v (n, dim) of the free particles with R v = right; returns the iterations, -1 if they do not end.

    `v` holds the velocities of held particles, which stay, and a first guess of the free ones. `right` (n, dim): all
    forces, those by the moving fluid (γ u) included.
    """
    n, dim = v.shape
    if len(contacts.both) == 0:
        for i in range(n):
            if tables.free[i]:
                for c in range(dim):
                    v[i, c] = right[i, c] * contacts.inverse[i]
        return 0
    operator = contacts.both, contacts.root, tables.node, tables.free, contacts.inverse
    residual, image = np.empty((n, dim)), np.empty((n, dim))
    _apply(operator, v, image)
    scale = 0.0
    for i in range(n):
        for c in range(dim):
            residual[i, c] = 0.0
            if tables.free[i]:
                residual[i, c] = right[i, c] - image[i, c]
                scale += contacts.inverse[i] * right[i, c] * right[i, c]
    direction, change, scratch = np.empty((n, dim)), np.empty((n, dim)), np.empty((n, dim))
    size = _dot(_precondition(operator, residual, scratch), residual)
    if size <= TOLERANCE * TOLERANCE * scale or size == 0.0:
        return 0
    relative = min(1.0, TOLERANCE * math.sqrt(max(scale, 1e-300) / size))
    count = conjugate_gradients(_apply, _precondition, _dot, _advance_both, _turn, operator,
                                (residual, change, direction, image, scratch), max(relative, 1e-13), _MOST_ITERATIONS)
    for i in range(n):
        if tables.free[i]:
            for c in range(dim):
                v[i, c] += change[i, c]
    return count


@numba.njit(cache=True, error_model="numpy")
def draw_noise(contacts, tables, seed, step, h, pair, node):  # type: ignore[no-untyped-def]
    """Random forces of covariance 2 R/h: those of pairs and those of the fluid, (n, dim) each, are filled.

    Held particles get what their pairs do to them.
    """
    key = step_key(seed, step)
    dim = node.shape[1]
    pair[:] = 0.0
    for i in range(len(node)):
        size = math.sqrt(2.0 * tables.node[i] / h) if tables.free[i] else 0.0
        own = pair_key(key, i, i)
        for c in range(dim):
            node[i, c] = size * normal(own, c) if size > 0.0 else 0.0
    size = math.sqrt(2.0 / h)
    for p in range(len(contacts.both)):
        i, j = contacts.both[p, 0], contacts.both[p, 1]
        t = size * normal(pair_key(key, i, j), 0)
        for c in range(dim):
            pair[i, c] += t * contacts.root[p, c]
            pair[j, c] -= t * contacts.root[p, c]


@numba.njit(cache=True, error_model="numpy")
def add_friction_of_pairs(v, contacts, share, out):  # type: ignore[no-untyped-def]
    """out += share · (force of the friction of pairs at velocities v), opposite at their ends; on held ones, too."""
    dim = v.shape[1]
    for p in range(len(contacts.both)):
        i, j = contacts.both[p, 0], contacts.both[p, 1]
        t = 0.0
        for c in range(dim):
            t += contacts.root[p, c] * (v[i, c] - v[j, c])
        for c in range(dim):
            out[i, c] += share * t * contacts.root[p, c]
            out[j, c] -= share * t * contacts.root[p, c]
