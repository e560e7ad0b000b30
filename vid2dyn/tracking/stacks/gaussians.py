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
from typing import NamedTuple

import numpy as np
from numba import njit

Y, X, Z, AMPLITUDE, BACKGROUND, MOVE, CHI2, VOXELS, ALONE_STD = range(9)
"""Columns of a table of spots, (N, `SPOT_COLUMNS`): place [px, px, planes], brightness at the centre and background
[grey levels], last move in widths, mean of (residual² / variance), voxels in its box that are not saturated; from
`ALONE_STD` on the standard errors of y, x, z and of the brightness that it would have alone."""
SPOT_COLUMNS = 12
WINDOW = 2.5                      # widths around the centre that are fitted
REACH = 4.0                       # widths at which the light of a neighbour is neglected: 3e-4 of its brightness
NEIGHBOUR = WINDOW + REACH        # widths along any axis within which the light of a spot falls into another's box
UNSETTLED = 1e3
AT_REST = 2e-4                    # widths: spots that moved less are done
LANES = 16                        # pixels of a row that are summed side by side
NEVER = 3e38                      # grey level that no voxel reaches: nothing is saturated
_STEP = 0.5                       # longest step, in widths
_ALONE, _LONE_REST = 4.5, 1e-2    # widths to the nearest beyond which a spot is alone, and at rest with such moves
_SMALL = 0.05                     # widths: moves that may be stretched
_EARLY, _DIM = 2, 3.0             # sweeps after which a spot dimmer than so many standard errors is given up
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


@njit(cache=True, nogil=True, error_model="numpy")
def longest(w, u):
    """Voxels of a box along its longest axis, a multiple of `LANES`."""
    return (int(2 * REACH * max(w, u)) + 3 + LANES - 1) // LANES * LANES


class Room(NamedTuple):
    """Arrays that a visit writes to, float32; `row` is the length of a row of a box, a multiple of `LANES`.

    Parameters
    ----------
    grey, near : (deep, wide, row) arrays
        Grey levels of the box, and the light of neighbours in it.
    live : (row,) array
        1 for the pixels of a row, 0 behind them.
    profile, other : (6, longest) arrays
        q, q', p(y), p'(y), p(x), p'(x) of the spot; and of a neighbour.
    weight, left, pulled : (deep · wide, row) arrays
        1/v, residual, and their product.
    squares, factors : (deep · wide, 10), (deep · wide, 4) arrays
        Of every row the factors (q p', q p, q' p, 1), and their products.
    """

    grey: np.ndarray
    near: np.ndarray
    live: np.ndarray
    profile: np.ndarray
    other: np.ndarray
    weight: np.ndarray
    left: np.ndarray
    pulled: np.ndarray
    squares: np.ndarray
    factors: np.ndarray


@njit(cache=True, nogil=True)
def room_for(w, u):
    """`Room` for spots of widths w, u."""
    deep, wide, size = int(2 * WINDOW * u) + 2, int(2 * WINDOW * w) + 2, longest(w, u)
    row = (wide + LANES - 1) // LANES * LANES
    rows = deep * wide
    return Room(np.zeros((deep, wide, row), np.float32), np.zeros((deep, wide, row), np.float32),
                np.zeros(row, np.float32), np.zeros((6, size), np.float32), np.zeros((6, size), np.float32),
                np.zeros((rows, row), np.float32), np.zeros((rows, row), np.float32),
                np.zeros((rows, row), np.float32), np.zeros((rows, 10), np.float32), np.zeros((rows, 4), np.float32))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def load(stack, spots, i, start, neighbour, box, w, u, full, room):
    """Fill the room of a visit to spot i; returns the number of voxels that are not saturated."""
    z0, nz, y0, ny, x0, nx = box
    used = nz * ny * nx
    for c in range(nz):
        for a in range(ny):
            line, row = stack[z0 + c, y0 + a], room.grey[c, a]
            for b in range(nx):
                row[b] = line[x0 + b]
                used -= row[b] >= full
    near = room.near
    near[:nz, :ny] = np.float32(0.0)
    for k in range(start[i], start[i + 1]):
        j = neighbour[k]
        if spots[j, AMPLITUDE] > 0.0:
            add_spot(near[:nz, :ny, :nx], spots[j], spots[j, AMPLITUDE], y0, x0, z0, w, u, room.other)
    axial(spots[i, Z], z0, nz, u, room.profile[0], room.profile[1])
    lateral(spots[i, Y], y0, ny, w, room.profile[2], room.profile[3])
    room.profile[4:] = np.float32(0.0)
    lateral(spots[i, X], x0, nx, w, room.profile[4], room.profile[5])
    room.live[:] = np.float32(0.0)
    room.live[:nx] = np.float32(1.0)
    return used


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _weigh_lanes(grey, near, px, live, light, ground, offset, gain, floor, top, weight, left, pulled):
    """Weights, residuals and their products of `LANES` pixels: as many as a vector unit takes, or two."""
    for t in range(LANES):
        model = ground + light * px[t] + near[t]
        v = live[t] / max(offset + gain * model, floor)
        v = v if grey[t] < top else np.float32(0.0)
        away = grey[t] - model
        weight[t] = v
        left[t] = away
        pulled[t] = v * away


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _weigh(room, spot, nz, ny, noise_model, full):
    """Fill weights, residuals and factors of all rows; how many rows there are."""
    offset, gain, floor = np.float32(noise_model[0]), np.float32(noise_model[1]), np.float32(noise_model[2])
    amplitude, ground, top = np.float32(spot[AMPLITUDE]), np.float32(spot[BACKGROUND]), np.float32(full)
    profile, px, live, one = room.profile, room.profile[4], room.live, np.float32(1.0)
    rows = 0
    for c in range(nz):
        q, dq = profile[0, c], profile[1, c]
        for a in range(ny):
            p, dp = profile[2, a], profile[3, a]
            uy, ux, uz = q * dp, q * p, dq * p
            square, factor = room.squares[rows], room.factors[rows]
            square[0], square[1], square[2], square[3] = uy * uy, uy * ux, uy * uz, uy
            square[4], square[5], square[6] = ux * ux, ux * uz, ux
            square[7], square[8], square[9] = uz * uz, uz, one
            factor[0], factor[1], factor[2], factor[3] = uy, ux, uz, one
            light = amplitude * ux
            for base in range(0, live.size, LANES):
                _weigh_lanes(room.grey[c, a, base:base + LANES], room.near[c, a, base:base + LANES],
                             px[base:base + LANES], live[base:base + LANES], light, ground, offset, gain, floor, top,
                             room.weight[rows, base:base + LANES], room.left[rows, base:base + LANES],
                             room.pulled[rows, base:base + LANES])
            rows += 1
    return rows


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def normal_matrix(room, spot, nz, ny, noise_model, full, normal, pull):
    """Normal matrix (5, 5) and right-hand side (5,) of one step; returns the sum of weighted squared residuals.

    The derivatives by y, x, z, A, b are A q p', A q p, A q' p, q p, 1 (factors of the row) times p, p', p, p, 1 (of x).
    So the weights are summed over the rows with the factors of the rows and their products, as products of matrices,
    and the factors of x come in at the end.
    """
    rows = _weigh(room, spot, nz, ny, noise_model, full)
    sums = np.dot(room.squares[:rows].T, room.weight[:rows])
    pulls = np.dot(room.factors[:rows].T, room.pulled[:rows])
    misfit = float(np.dot(room.pulled[:rows].reshape(-1), room.left[:rows].reshape(-1)))
    big, px, dx = spot[AMPLITUDE], room.profile[4], room.profile[5]
    normal[:, :] = 0.0
    pull[:] = 0.0
    for t in range(room.live.size):
        f, d = float(px[t]), float(dx[t])
        ff, fd, dd = f * f, f * d, d * d
        normal[0, 0] += big * big * ff * sums[0, t]
        normal[0, 1] += big * big * fd * sums[1, t]
        normal[0, 2] += big * big * ff * sums[2, t]
        normal[0, 3] += big * ff * sums[1, t]
        normal[0, 4] += big * f * sums[3, t]
        normal[1, 1] += big * big * dd * sums[4, t]
        normal[1, 2] += big * big * fd * sums[5, t]
        normal[1, 3] += big * fd * sums[4, t]
        normal[1, 4] += big * d * sums[6, t]
        normal[2, 2] += big * big * ff * sums[7, t]
        normal[2, 3] += big * ff * sums[5, t]
        normal[2, 4] += big * f * sums[8, t]
        normal[3, 3] += ff * sums[4, t]
        normal[3, 4] += f * sums[6, t]
        normal[4, 4] += sums[9, t]
        pull[0] += big * f * pulls[0, t]
        pull[1] += big * d * pulls[1, t]
        pull[2] += big * f * pulls[2, t]
        pull[3] += f * pulls[1, t]
        pull[4] += pulls[3, t]
    for i in range(5):
        for j in range(i):
            normal[i, j] = normal[j, i]
    return misfit


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
def inverse_diagonal(factor, size, out, column):
    """Roots of the first four diagonal elements of the inverse of a matrix, whose Cholesky factor is given."""
    for k in range(4):
        square = 0.0
        for i in range(k, size):
            total = 1.0 if i == k else 0.0
            for m in range(k, i):
                total -= factor[i, m] * column[m]
            column[i] = total / factor[i, i]
            square += column[i] * column[i]
        out[k] = math.sqrt(square)


@njit(cache=True, nogil=True, error_model="numpy")
def _pace(spots, start, neighbour, w, u):
    """Moves at which every spot is at rest, and factors by which steps are stretched.

    A spot that stands alone is at rest after a step of 0.01 widths, which leaves the square of that. Of two spots d
    widths apart the columns have correlations about ρ = exp(-d²/4), and sweeps converge by ρ²; steps longer by
    2/(1 + √(1 - ρ²)) make the most of it (successive over-relaxation, Young, Trans. Am. Math. Soc. 76, 92, 1954).
    """
    rest, stretch = np.empty(len(spots)), np.ones(len(spots))
    for i in range(len(spots)):
        nearest = 1e30
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            if spots[j, AMPLITUDE] > 0.0:
                nearest = min(nearest, ((spots[j, Y] - spots[i, Y]) / w) ** 2 + ((spots[j, X] - spots[i, X]) / w) ** 2
                              + ((spots[j, Z] - spots[i, Z]) / u) ** 2)
        rest[i] = AT_REST if nearest < _ALONE * _ALONE else _LONE_REST
        if nearest < _ALONE * _ALONE:
            stretch[i] = 2.0 / (1.0 + math.sqrt(1.0 - math.exp(-0.5 * max(nearest, 0.5))))
    return rest, stretch


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
    room = room_for(w, u)
    normal, pull, column = np.empty((5, 5)), np.empty(5), np.empty(5)
    moved = np.zeros(len(spots), np.bool_)
    rest, stretch = _pace(spots, start, neighbour, w, u)
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
            used = load(stack, spots, i, start, neighbour, (z0, nz, y0, ny, x0, nx), w, u, full, room)
            misfit = normal_matrix(room, spots[i], nz, ny, noise_model, full, normal, pull)
            spots[i, CHI2], spots[i, VOXELS] = misfit / max(used - 5.0, 1.0), used
            if used < 10 or not solve(normal, pull, 5):
                spots[i, AMPLITUDE] = 0.0
                continue
            inverse_diagonal(normal, 5, spots[i, ALONE_STD:], column)
            largest = max(abs(pull[0]) / w, abs(pull[1]) / w, abs(pull[2]) / u)
            part = stretch[i] if sweep >= _EARLY and largest <= _SMALL else 1.0
            part = part if part * largest <= _STEP else _STEP / largest
            spots[i, Y] += part * pull[0]
            spots[i, X] += part * pull[1]
            spots[i, Z] += part * pull[2]
            part = max(part, 1.0)
            spots[i, AMPLITUDE] = max(spots[i, AMPLITUDE] + part * pull[3], _LEAST * spots[i, AMPLITUDE])
            spots[i, BACKGROUND] += part * pull[4]
            spots[i, MOVE] = largest
            if sweep >= _EARLY and spots[i, AMPLITUDE] < _DIM * spots[i, ALONE_STD + 3]:
                spots[i, AMPLITUDE] = 0.0
            if not (-0.5 <= spots[i, Y] <= height - 0.5 and -0.5 <= spots[i, X] <= width - 0.5
                    and -0.5 <= spots[i, Z] <= depth - 0.5):
                spots[i, AMPLITUDE] = 0.0
            if largest > rest[i] or spots[i, AMPLITUDE] <= 0.0:
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
                    if spots[i, MOVE] > 5 * rest[j] or spots[i, AMPLITUDE] <= 0.0:
                        active[j] = spots[j, AMPLITUDE] > 0.0
        moved[:] = False
        if not any_moved:
            return sweep + 1
    return sweeps
