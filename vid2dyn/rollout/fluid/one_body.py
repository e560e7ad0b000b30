"""Forces on single particles in a compiled step: external potential on a grid, harmonic traps. Positions as they are.

The exact step needs a mean force with F̄·(x' - x) = -ΔΦ. Of a trap it is the force half-way. Of the external potential
it is the gradient by Gauss' rule of two points along the step, corrected along the step so that the work is exact
(Gonzalez, J. Nonlinear Sci. 6, 449, 1996, eq. 17, whose mid-point gradient this replaces).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit, prange

if TYPE_CHECKING:
    from vid2dyn.dynamics.fluid.frozen import FrozenFluid

_GAUSS = 0.5 / math.sqrt(3.0)
_NEAR = 1e-4
"""Steps shorter than this many grid spacings need no correction: Gauss' rule is exact to rounding."""

ABSENT, OPEN, PERIODIC = 0, 1, 2


class OneBody(NamedTuple):
    """What the kernels read of an external potential and traps.

    values (m, m, m): coefficients on the axes y, x, z, one where the potential does not depend on it, length 0 without
    potential; grid (3, 3): origin, 1/spacing, and ABSENT, OPEN or PERIODIC of each axis; stiffness of traps, 0 without;
    centre (1, 3) for all particles or (ids, 3).
    """

    values: np.ndarray
    grid: np.ndarray
    stiffness: float
    centre: np.ndarray


def one_body_of(frozen: FrozenFluid) -> OneBody | None:
    """The parts of a model that act on single particles; None if there are none."""
    external, traps = frozen.external, frozen.traps
    if external is None and traps is None:
        return None
    values, grid = np.empty((0, 0, 0)), np.zeros((3, 3))
    if external is not None:
        order = np.argsort(external.axes)
        shape = [1, 1, 1]
        for k in order:
            axis = external.axes[k]
            shape[axis] = external.values.shape[k]
            grid[axis] = external.origin[k], 1.0 / external.spacing[k], PERIODIC if external.periodic[k] else OPEN
        values = np.ascontiguousarray(external.values.transpose(order).reshape(shape))
    centre = np.zeros((1, 3))
    if traps is not None:
        given = np.atleast_2d(traps.centre)
        centre = np.zeros((len(given), 3))
        centre[:, :frozen.dim] = given
    return OneBody(values, grid, 0.0 if traps is None else float(traps.stiffness), centre)


@njit(cache=True, error_model="numpy", inline="always")
def _basis(x, grid, axis, count):  # type: ignore[no-untyped-def]
    """(first coefficient, how many, weights, slopes) at coordinate x of one axis."""
    if grid[axis, 2] == ABSENT:
        return 0, 1, (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    u = (x - grid[axis, 0]) * grid[axis, 1]
    inside, k = u, math.floor(u)
    if grid[axis, 2] == OPEN:
        inside = min(max(u, 0.0), count - 3.0)
        k = min(int(inside), count - 4)
    t = inside - k
    one, beyond, per_length = 1.0 - t, u - inside, grid[axis, 1]
    s0, s1, s2, s3 = -0.5 * one * one, (1.5 * t - 2.0) * t, (1.0 - 1.5 * t) * t + 0.5, 0.5 * t * t
    w0, w1 = one * one * one / 6.0, (0.5 * t - 1.0) * t * t + 2.0 / 3.0
    w2, w3 = ((0.5 - 0.5 * t) * t + 0.5) * t + 1.0 / 6.0, t * t * t / 6.0
    return (k, 4, (w0 + s0 * beyond, w1 + s1 * beyond, w2 + s2 * beyond, w3 + s3 * beyond),
            (s0 * per_length, s1 * per_length, s2 * per_length, s3 * per_length))


@njit(cache=True, error_model="numpy")
def external(values, grid, x, y, z):  # type: ignore[no-untyped-def]
    """The potential and its gradient at one point: (Φ, ∂Φ/∂x, ∂Φ/∂y, ∂Φ/∂z), of the axes 0, 1, 2."""
    i, ni, w0, s0 = _basis(x, grid, 0, values.shape[0])
    j, nj, w1, s1 = _basis(y, grid, 1, values.shape[1])
    k, nk, w2, s2 = _basis(z, grid, 2, values.shape[2])
    energy = gx = gy = gz = 0.0
    for a in range(ni):
        plane = values[(i + a) % values.shape[0]]
        for b in range(nj):
            row = plane[(j + b) % values.shape[1]]
            f = g = 0.0
            for c in range(nk):
                value = row[(k + c) % values.shape[2]]
                f += w2[c] * value
                g += s2[c] * value
            energy += w0[a] * w1[b] * f
            gx += s0[a] * w1[b] * f
            gy += w0[a] * s1[b] * f
            gz += w0[a] * w1[b] * g
    return energy, gx, gy, gz


@njit(cache=True, parallel=True, error_model="numpy")
def add_force(x, ids, parts, out):  # type: ignore[no-untyped-def]
    """out_i += force on particle i at x_i, (n, 3)."""
    values, grid, stiffness, centre = parts
    for i in prange(len(x)):
        if len(values) > 0:
            _, gx, gy, gz = external(values, grid, x[i, 0], x[i, 1], x[i, 2])
            out[i, 0], out[i, 1], out[i, 2] = out[i, 0] - gx, out[i, 1] - gy, out[i, 2] - gz
        if stiffness > 0.0:
            own = ids[i] if len(centre) > 1 else 0
            for c in range(3):
                out[i, c] -= stiffness * (x[i, c] - centre[own, c])


@njit(cache=True, parallel=True, error_model="numpy")
def add_mean_force(x, after, ids, parts, out):  # type: ignore[no-untyped-def]
    """out_i += mean force on particle i between x_i and after_i, whose work is the loss of potential energy."""
    values, grid, stiffness, centre = parts
    finest = max(grid[0, 1], grid[1, 1], grid[2, 1])
    for i in prange(len(x)):
        dx, dy, dz = after[i, 0] - x[i, 0], after[i, 1] - x[i, 1], after[i, 2] - x[i, 2]
        if len(values) > 0:
            low, high = 0.5 - _GAUSS, 0.5 + _GAUSS
            _, ax, ay, az = external(values, grid, x[i, 0] + low * dx, x[i, 1] + low * dy, x[i, 2] + low * dz)
            _, bx, by, bz = external(values, grid, x[i, 0] + high * dx, x[i, 1] + high * dy, x[i, 2] + high * dz)
            gx, gy, gz = 0.5 * (ax + bx), 0.5 * (ay + by), 0.5 * (az + bz)
            squared = dx * dx + dy * dy + dz * dz
            if squared * finest * finest > _NEAR * _NEAR:
                gained = (external(values, grid, after[i, 0], after[i, 1], after[i, 2])[0]
                          - external(values, grid, x[i, 0], x[i, 1], x[i, 2])[0])
                missing = (gained - gx * dx - gy * dy - gz * dz) / squared
                gx, gy, gz = gx + missing * dx, gy + missing * dy, gz + missing * dz
            out[i, 0], out[i, 1], out[i, 2] = out[i, 0] - gx, out[i, 1] - gy, out[i, 2] - gz
        if stiffness > 0.0:
            own = ids[i] if len(centre) > 1 else 0
            for c in range(3):
                out[i, c] -= stiffness * (0.5 * (x[i, c] + after[i, c]) - centre[own, c])


@njit(cache=True, error_model="numpy")
def energies(x, ids, parts):  # type: ignore[no-untyped-def]
    """Potential energy of every particle, (n,)."""
    values, grid, stiffness, centre = parts
    out = np.zeros(len(x))
    for i in range(len(x)):
        if len(values) > 0:
            out[i] = external(values, grid, x[i, 0], x[i, 1], x[i, 2])[0]
        own = ids[i] if len(centre) > 1 else 0
        for c in range(3):
            out[i] += 0.5 * stiffness * (x[i, c] - centre[own, c]) ** 2
    return out
