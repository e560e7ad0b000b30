"""Rotne-Prager-Yamakawa coupling: the solvent that one particle moves drags the others.

Mobility in units of the mobility of one particle, D_ij/D, for spheres of radius a at distance r (unbounded
fluid); Rotne and Prager, J. Chem. Phys. 50, 4831 (1969); Yamakawa, J. Chem. Phys. 53, 436 (1970):

    r >= 2a:  3a/(4r) [(1 + 2a²/(3r²)) I + (1 - 2a²/r²) r̂r̂]
    r <  2a:  (1 - 9r/(32a)) I + 3r/(32a) r̂r̂

It is positive definite for every configuration and divergence free in three dimensions. Particles kept in a
plane move with its in-plane block, whose divergence is not zero: the Itô drift D div M then has to be added.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.core.compiled_arrays import copy_rows
from vid2dyn.simulators.brownian.forces import add_forces, neighbours


@njit(cache=True)
def rotne_prager(x, radius):
    """Mobility matrix and its divergence.

    Parameters
    ----------
    x : (N, dim) array
        Positions [µm], dim 2 (a plane in an unbounded three-dimensional fluid) or 3.
    radius : float
        Hydrodynamic radius a [µm].

    Returns
    -------
    mobility : (N·dim, N·dim) array
        D_ij/D, particle-major.
    divergence : (N, dim) array
        sum_j d/dx_j · M_ij [1/µm]; zero in three dimensions.

    Examples
    --------
    >>> m, _ = rotne_prager(np.array([[0.0, 0.0], [0.0, 4.0]]), 1.0)
    >>> m[1, 3].round(6)                          # along the line: 3/(2·4) - 1/4³
    np.float64(0.359375)
    """
    n, dim = x.shape
    mobility = np.eye(n * dim)
    divergence = np.zeros((n, dim))
    unit = np.empty(dim)
    for i in range(n):
        for j in range(i):
            r = 0.0
            for k in range(dim):
                unit[k] = x[i, k] - x[j, k]
                r += unit[k] ** 2
            r = max(math.sqrt(r), 1e-12 * radius)
            if r >= 2 * radius:
                s = radius / r
                across = 0.75 * s * (1 + 2 * s * s / 3)
                along = 0.75 * s * (1 - 2 * s * s)
            else:
                across, along = 1 - 9 * r / (32 * radius), 3 * r / (32 * radius)
            for k in range(dim):
                unit[k] /= r
            for k in range(dim):
                if dim == 2:        # what the third axis would have cancelled: d/dz of along · r̂ z/r at z = 0
                    divergence[i, k] += along * unit[k] / r
                    divergence[j, k] -= along * unit[k] / r
                for m in range(dim):
                    value = along * (unit[k] * unit[m]) + (across if k == m else 0.0)
                    mobility[i * dim + k, j * dim + m] = value
                    mobility[j * dim + k, i * dim + m] = value
    return mobility, divergence


@njit(cache=True)
def advance_frame_coupled(x, rng, diffusion, schedule, field, radius, averages):
    """`forces.advance_frame` with Rotne-Prager coupling of hydrodynamic `radius` [µm]; x is changed in place.

    dx = D (M F + div M) dt + sqrt(2 D dt) L N(0, 1), M = L Lᵀ. M is taken at the start of the step (Itô),
    the force by Heun. O(N³) a step (dense Cholesky).
    """
    n, dim = x.shape
    n_open, h_open, n_closed, h_closed = schedule
    parts, middle, force_middle = averages
    f0, f1 = np.empty_like(x), np.empty_like(x)
    normals = np.empty((n * dim, 2))
    parts[:] = 0.0
    per_part = max(n_open // parts.shape[0], 1)
    for step in range(n_open + n_closed):
        h = h_open if step < n_open else h_closed
        pairs = neighbours(x, field.lengths, 1.5 * field.table[2])
        add_forces(x, pairs, field, f0)
        if step == n_open // 2:
            copy_rows(x, middle)
            copy_rows(f0, force_middle)
        mobility, divergence = rotne_prager(x, radius)
        root = np.linalg.cholesky(mobility)
        for k in range(n * dim):
            normals[k, 0], normals[k, 1] = rng.standard_normal(), rng.standard_normal()
        noise = root @ normals
        kick = math.sqrt(2 * diffusion * h) * noise[:, 0].copy().reshape(n, dim)
        bridge = math.sqrt(diffusion * h / 6) * noise[:, 1].copy().reshape(n, dim)
        drift = (mobility @ f0.copy().reshape(n * dim)).reshape(n, dim)
        add_forces(x + diffusion * h * (drift + divergence) + kick, pairs, field, f1)
        drift = 0.5 * (drift + (mobility @ f1.copy().reshape(n * dim)).reshape(n, dim)) + divergence
        old = x.copy()
        x += diffusion * h * drift + kick
        if step < n_open:
            parts[step // per_part] += (0.5 * (old + x) + bridge) / per_part
    if n_open == 0:
        for part in range(parts.shape[0]):
            copy_rows(middle, parts[part])
