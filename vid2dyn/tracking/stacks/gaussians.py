"""Gaussian spots in a stack, fitted together: weighted least squares, every spot in turn; compiled.

The model of voxel (z, y, x), with A, b the brightness and background of a spot, w and u its lateral and axial widths:

    I = b + Σ A p(y) p(x) q(z),    p(y) = w √(π/2) [erf((y + ½ - y0)/√2 w) - erf((y - ½ - y0)/√2 w)],
                                   q(z) = exp(-(z - z0)²/2u²)

that is a Gaussian integrated over the pixels of a plane and sampled at its depth. Voxels carry independent noise of
variance v(I) = offset + gain I (`vid2dyn.tracking.sensor_noise`) and weigh 1/v, v taken from the model and not from the
noisy voxel, which would favour dark ones. A visit to a spot takes one Gauss-Newton step for its (y0, x0, z0, A, b)
on the voxels within 2.5 widths, from which the neighbours are subtracted; sweeps go on until nothing moves, so that all
spots are fitted together without a matrix for all of them. Where neighbours do not move, that is the joint least
squares of the crowd.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

Y, X, Z, AMPLITUDE, BACKGROUND, MOVE, CHI2, VOXELS = range(8)
"""Columns of a table of spots, (N, `SPOT_COLUMNS`): place [px, px, planes], brightness at the centre and background
[grey levels], last move in widths, mean of (residual² / variance), voxels in its box that are not saturated."""
SPOT_COLUMNS = 8
WINDOW = 2.5                      # widths around the centre that are fitted
REACH = 4.0                       # widths at which the light of a neighbour is neglected: 3e-4 of its brightness
NEIGHBOUR = WINDOW + REACH        # widths along any axis within which the light of a spot falls into another's box
UNSETTLED = 1e3
AT_REST = 2e-4                    # widths: spots that moved less are done
_STEP = 0.5                       # longest step, in widths
_LEAST = 0.2                      # of its brightness that a spot keeps in one step, at least


@njit(cache=True, nogil=True, inline="always")
def window(centre, width, size, reach):
    """First voxel and number of voxels within `reach` widths of a centre, inside 0 ... size - 1."""
    first = max(math.ceil(centre - reach * width), 0)
    last = min(math.floor(centre + reach * width), size - 1)
    return first, max(last - first + 1, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def lateral(centre, first, size, width, value, slope):
    """Profile p at pixels first, ..., and its derivative by the centre."""
    scale = 1.0 / (math.sqrt(2.0) * width)
    factor = width * math.sqrt(0.5 * math.pi)
    low = (first - 0.5 - centre) * scale
    before, edge = math.erf(low), math.exp(-low * low)
    for m in range(size):
        high = (first + m + 0.5 - centre) * scale
        after, end = math.erf(high), math.exp(-high * high)
        value[m] = factor * (after - before)
        slope[m] = edge - end
        before, edge = after, end


@njit(cache=True, nogil=True, error_model="numpy")
def axial(centre, first, size, width, value, slope):
    """Profile q at planes first, ..., and its derivative by the centre."""
    scale = 1.0 / (width * width)
    for m in range(size):
        d = first + m - centre
        value[m] = math.exp(-0.5 * d * d * scale)
        slope[m] = value[m] * d * scale


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def add_spot(canvas, place, amplitude, y0, x0, z0, w, u, profile):
    """Add the light of a spot to `canvas`, whose first voxel is (z0, y0, x0); `profile` (6, longest) is room."""
    depth, height, width = canvas.shape
    fz, nz = window(place[Z] - z0, u, depth, REACH)
    fy, ny = window(place[Y] - y0, w, height, REACH)
    fx, nx = window(place[X] - x0, w, width, REACH)
    if nz == 0 or ny == 0 or nx == 0:
        return
    axial(place[Z] - z0, fz, nz, u, profile[0], profile[1])
    lateral(place[Y] - y0, fy, ny, w, profile[2], profile[3])
    lateral(place[X] - x0, fx, nx, w, profile[4], profile[5])
    along = profile[4]
    for c in range(nz):
        for a in range(ny):
            level = np.float32(amplitude * profile[0, c] * profile[2, a])
            row = canvas[fz + c, fy + a]
            for b in range(nx):
                row[fx + b] += level * along[b]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _sums(stack, others, place, amplitude, background, box, profile, noise_model, full, row, normal, pull):
    """Normal matrix (5, 5), right-hand side (5,) of one step, and sum of weighted squared residuals and of voxels."""
    z0, nz, y0, ny, x0, nx = box
    offset, gain, floor = noise_model
    px, dx = profile[4], profile[5]
    normal[:, :] = 0.0
    pull[:] = 0.0
    misfit, used = 0.0, 0.0
    for c in range(nz):
        q, dq = profile[0, c], profile[1, c]
        for a in range(ny):
            p, dp = profile[2, a], profile[3, a]
            light = np.float32(amplitude * q * p)
            line, near = stack[z0 + c, y0 + a], others[c, a]
            s = sp = sd = spp = spd = sdd = r0 = rp = rd = rr = n = np.float32(0.0)   # sums over a row, vectorised
            for b in range(nx):
                grey = np.float32(line[x0 + b])
                model = np.float32(background) + light * px[b] + near[b]
                weight = np.float32(1.0) / max(np.float32(offset) + np.float32(gain) * model, np.float32(floor))
                weight *= np.float32(grey < full)
                left = grey - model
                wp, wd, wr = weight * px[b], weight * dx[b], weight * left
                s += weight
                sp += wp
                sd += wd
                spp += wp * px[b]
                spd += wp * dx[b]
                sdd += wd * dx[b]
                r0 += wr
                rp += wr * px[b]
                rd += wr * dx[b]
                rr += wr * left
                n += np.float32(grey < full)
            # columns: A q dp p(x), A q p d(x), A dq p p(x), q p p(x), 1
            fy, fx, fz, fa = amplitude * q * dp, amplitude * q * p, amplitude * dq * p, q * p
            normal[0, 0] += fy * fy * spp
            normal[0, 1] += fy * fx * spd
            normal[0, 2] += fy * fz * spp
            normal[0, 3] += fy * fa * spp
            normal[0, 4] += fy * sp
            normal[1, 1] += fx * fx * sdd
            normal[1, 2] += fx * fz * spd
            normal[1, 3] += fx * fa * spd
            normal[1, 4] += fx * sd
            normal[2, 2] += fz * fz * spp
            normal[2, 3] += fz * fa * spp
            normal[2, 4] += fz * sp
            normal[3, 3] += fa * fa * spp
            normal[3, 4] += fa * sp
            normal[4, 4] += s
            pull[0] += fy * rp
            pull[1] += fx * rd
            pull[2] += fz * rp
            pull[3] += fa * rp
            pull[4] += r0
            misfit += float(rr)
            used += float(n)
    for i in range(5):
        for j in range(i):
            normal[i, j] = normal[j, i]
    return misfit, used


@njit(cache=True, nogil=True, error_model="numpy")
def solve(matrix, right, size):
    """Cholesky in place: `right` becomes the solution; False where the matrix is not positive definite."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not total > 1e-12 * matrix[i, i]:
                    return False
                matrix[i, i] = math.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(size):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def longest(w, u):
    """Voxels of a box along its longest axis."""
    return int(2 * REACH * max(w, u)) + 3


@njit(cache=True, nogil=True, error_model="numpy")
def fit_together(stack, spots, start, neighbour, w, u, noise_model, full, sweeps, active):
    """Sweep over the spots until none moves; `spots` is changed in place.

    Parameters
    ----------
    stack : (Z, H, W) array
        Grey levels.
    spots : (N, `SPOT_COLUMNS`) array
        Starting values; those whose fit fails have brightness 0 afterwards.
    start, neighbour : (N + 1,), (links,) int64 arrays
        The spots whose light reaches spot i are ``neighbour[start[i]:start[i + 1]]``.
    w, u : float
        Lateral width [px], axial width [planes].
    noise_model : (offset, gain, floor)
        Variance of a voxel: max(offset + gain · level, floor) [grey levels²].
    full : float
        Grey level from which on a voxel is saturated and does not count.
    sweeps : int
        At most so many.
    active : (N,) bool array
        Spots to fit; others only lend their light. Those still moving at the end stay True.

    Returns
    -------
    int
        Sweeps made.
    """
    depth, height, width = stack.shape
    size = longest(w, u)
    profile = np.empty((6, size), np.float32)
    own = np.empty((6, size), np.float32)
    others = np.empty((size, size, size), np.float32)
    row = np.empty(size, np.float32)
    normal, pull = np.empty((5, 5)), np.empty(5)
    moved = np.zeros(len(spots), np.bool_)
    for sweep in range(sweeps):
        any_moved = False
        for i in range(len(spots)):
            if not active[i] or spots[i, AMPLITUDE] <= 0.0:
                continue
            z0, nz = window(spots[i, Z], u, depth, WINDOW)
            y0, ny = window(spots[i, Y], w, height, WINDOW)
            x0, nx = window(spots[i, X], w, width, WINDOW)
            if nz < 2 or ny < 3 or nx < 3:
                spots[i, AMPLITUDE] = 0.0
                continue
            near = others[:nz, :ny, :nx]
            near[:, :, :] = 0.0
            for k in range(start[i], start[i + 1]):
                j = neighbour[k]
                if spots[j, AMPLITUDE] > 0.0:
                    add_spot(near, spots[j], spots[j, AMPLITUDE], y0, x0, z0, w, u, profile)
            axial(spots[i, Z], z0, nz, u, own[0], own[1])
            lateral(spots[i, Y], y0, ny, w, own[2], own[3])
            lateral(spots[i, X], x0, nx, w, own[4], own[5])
            misfit, used = _sums(stack, near, spots[i], spots[i, AMPLITUDE], spots[i, BACKGROUND],
                                 (z0, nz, y0, ny, x0, nx), own, noise_model, full, row, normal, pull)
            spots[i, CHI2], spots[i, VOXELS] = misfit / max(used - 5.0, 1.0), used
            if used < 10 or not solve(normal, pull, 5):
                spots[i, AMPLITUDE] = 0.0
                continue
            largest = max(abs(pull[0]) / w, abs(pull[1]) / w, abs(pull[2]) / u)
            part = 1.0 if largest <= _STEP else _STEP / largest
            spots[i, Y] += part * pull[0]
            spots[i, X] += part * pull[1]
            spots[i, Z] += part * pull[2]
            spots[i, AMPLITUDE] = max(spots[i, AMPLITUDE] + pull[3], _LEAST * spots[i, AMPLITUDE])
            spots[i, BACKGROUND] += pull[4]
            spots[i, MOVE] = largest
            if not (-0.5 <= spots[i, Y] <= height - 0.5 and -0.5 <= spots[i, X] <= width - 0.5
                    and -0.5 <= spots[i, Z] <= depth - 0.5):
                spots[i, AMPLITUDE] = 0.0
            if largest > AT_REST or spots[i, AMPLITUDE] <= 0.0:
                any_moved = True
                moved[i] = True
        # who rests among neighbours that rest is done; who moved wakes its neighbours
        for i in range(len(spots)):
            if active[i]:
                active[i] = moved[i] and spots[i, AMPLITUDE] > 0.0
        for i in range(len(spots)):
            if moved[i]:
                for k in range(start[i], start[i + 1]):
                    j = neighbour[k]
                    if spots[i, MOVE] > 5 * AT_REST or spots[i, AMPLITUDE] <= 0.0:
                        active[j] = spots[j, AMPLITUDE] > 0.0
        moved[:] = False
        if not any_moved:
            return sweep + 1
    return sweeps
