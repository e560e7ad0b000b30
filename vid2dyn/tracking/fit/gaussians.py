"""Gaussian spots fitted by least squares, each on its own or together with its neighbours; compiled.

A spot is `A exp(-((y - y0)² + (x - x0)²) / (2 w²)) + b` on the pixels within about 2.5 w of its centre; b is the
background there. One step solves the linearised problem for A, b, y0, x0 (and w where it is free) of one spot, the
light of its neighbours as it stands taken out. For a spot on its own and a fixed w that is the iterated centroid
under a Gaussian window of the spot's width, with the background taken out exactly; its error is the Cramér-Rao bound.
Spots in a crowd take turns until none of them moves (Gauss-Seidel). That serves where their widths are free; the joint
fit with one width for all, which is what places them, is `vid2dyn.tracking.fit.joint`.

The sums over pixels that involve only models are products of sums along y and along x, so that a neighbour costs two
short rows of numbers and no pass over pixels. Only sums with the image itself see every pixel.

Compiled without fastmath, as are `information` and `crowd`: with it, freshly compiled code and the same code from
numba's cache gave positions that differ by 1e-6 px, and a movie tracked by several processes has to be the same to
the last bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, MISFIT, MOVE, WIDTH, X, Y
from vid2dyn.tracking.fit.nearby import neighbours_of
from vid2dyn.tracking.fit.normal_equations import solve

P_AMPLITUDE, P_BACKGROUND, P_Y, P_X, P_WIDTH = range(5)
"""Unknowns of the linear problem of one spot, and the rows and columns of its normal equations: A and b [grey levels],
A dy / w², A dx / w² and A dw / w³. They multiply g, 1, g dy, g dx and g (dy² + dx²)."""

REACH = 2.5
"""Half edge of the fitted square [widths]: 0.3 % of the information on the position lies outside."""
LONGEST = 129
"""Most pixels along an edge of the fitted square."""


class Workspace(NamedTuple):
    """Memory that `step` needs, made once: profiles along y, x and of a neighbour; weights of columns; sums of columns;
    sums along each axis; normal equations, their right-hand side, and a copy of that."""

    profiles: np.ndarray
    weights: np.ndarray
    column_sums: np.ndarray
    axis_sums: np.ndarray
    matrix: np.ndarray
    solution: np.ndarray
    given: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def sample_gaussian(centre, first, size, width, out):
    """out[k] = exp(-(first + k - centre)² / (2 width²)), by recurrence: three exponentials in all."""
    s = 1.0 / (width * width)
    u = first - centre
    value, ratio, factor = math.exp(-0.5 * u * u * s), math.exp(-(u + 0.5) * s), math.exp(-s)
    for k in range(size):
        out[k] = value
        value *= ratio
        ratio *= factor


@njit(cache=True, nogil=True)
def square(centre, width, edge):
    """First pixel and number of pixels of the fitted square along one axis of a frame of `edge` pixels."""
    half = min(max(int(REACH * width + 0.5), 2), LONGEST // 2)
    middle = math.floor(centre + 0.5)
    first = max(middle - half, 0)
    return first, max(min(middle + half, edge - 1) - first + 1, 0)


@njit(cache=True, nogil=True)
def _moments(g, centre, first, size, out):
    """out[0..4] = sum g² d^k, out[5..7] = sum g d^k, d = pixel - centre."""
    s0 = s1 = s2 = s3 = s4 = p0 = p1 = p2 = 0.0
    for k in range(size):
        d = first + k - centre
        v = g[k]
        e = v * v
        p0 += v
        p1 += v * d
        p2 += v * d * d
        s0 += e
        e *= d
        s1 += e
        e *= d
        s2 += e
        e *= d
        s3 += e
        s4 += e * d
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = s0, s1, s2, s3, s4, p0, p1, p2


@njit(cache=True, nogil=True)
def _overlap(g, other, centre, first, size, out):
    """out[0..2] = sum g d^k other, out[3] = sum other."""
    h0 = h1 = h2 = total = 0.0
    for k in range(size):
        d = first + k - centre
        v = g[k] * other[k]
        h0 += v
        h1 += v * d
        h2 += v * d * d
        total += other[k]
    out[0], out[1], out[2], out[3] = h0, h1, h2, total


@njit(cache=True, nogil=True)
def image_sums(image, level, y0, ny, cy, gy, x0, nx, weights, columns, free, squared, data):
    """data[0..4] = sums of (image - level) times g, 1, g dy, g dx, g (dy² + dx²); the sum of its squares is returned.

    That is 0 unless `squared`, as is the last sum of `data` unless `free`. The fitted square has `ny` rows from `y0`;
    `cy` is the centre of the spot there and `gy` its profile. What each of `nx` columns from `x0` is summed with are
    `weights` (4, nx and more) float32 = gx, 1, gx dx, gx dx², zero beside the fitted square. `columns` (5, nx and more)
    float32 is scratch. Columns are summed first, eight at a time: nothing is added across a vector but at the very end.

    No array is made for a part of another one: each costs counting its users, longer than a row takes. Places are
    unsigned, so that none can count from the end: a test of that in the loop would keep it from working on vectors.
    """
    x, wide = np.uint64(x0), np.uint64(nx)
    for b in range(wide):
        columns[0, b] = columns[1, b] = columns[2, b] = columns[3, b] = columns[4, b] = np.float32(0.0)
    for a in range(ny):
        y = np.uint64(y0 + a)
        d = y0 + a - cy
        g0 = np.float32(gy[a])
        g1, g2 = np.float32(gy[a] * d), np.float32(gy[a] * d * d)
        if free:
            for b in range(wide):
                columns[3, b] += g2 * (np.float32(image[y, x + b]) - level)
        if squared:
            for b in range(wide):
                v = np.float32(image[y, x + b]) - level
                columns[4, b] += v * v
        for b in range(wide):
            v = np.float32(image[y, x + b]) - level
            columns[0, b] += g0 * v
            columns[1, b] += v
            columns[2, b] += g1 * v
    d0 = d1 = d2 = d3 = d4 = squares = np.float32(0.0)
    for b in range(wide):
        squares += weights[1, b] * columns[4, b]
        d0 += weights[0, b] * columns[0, b]
        d1 += weights[1, b] * columns[1, b]
        d2 += weights[0, b] * columns[2, b]
        d3 += weights[2, b] * columns[0, b]
        d4 += weights[3, b] * columns[0, b] + weights[0, b] * columns[3, b]
    data[0], data[1], data[2], data[3], data[4] = d0, d1, d2, d3, d4
    return squares


@njit(cache=True, nogil=True)
def whole_vectors(x0, nx, width):
    """The columns x0 ... x0 + nx - 1 widened to a multiple of eight within the frame: first and number."""
    wide = (nx + 7) // 8 * 8
    return (min(x0, width - wide), wide) if wide <= width else (x0, nx)


@njit(cache=True, nogil=True)
def _normal(my, mx, ny, nx, m):
    """Sums of products of the five columns g, 1, g dy, g dx, g (dy² + dx²)."""
    m[0, 0] = my[0] * mx[0]
    m[0, 1] = my[5] * mx[5]
    m[0, 2] = my[1] * mx[0]
    m[0, 3] = my[0] * mx[1]
    m[0, 4] = my[2] * mx[0] + my[0] * mx[2]
    m[1, 1] = ny * nx
    m[1, 2] = my[6] * mx[5]
    m[1, 3] = my[5] * mx[6]
    m[1, 4] = my[7] * mx[5] + my[5] * mx[7]
    m[2, 2] = my[2] * mx[0]
    m[2, 3] = my[1] * mx[1]
    m[2, 4] = my[3] * mx[0] + my[1] * mx[2]
    m[3, 3] = my[0] * mx[2]
    m[3, 4] = my[2] * mx[1] + my[0] * mx[3]
    m[4, 4] = my[4] * mx[0] + 2.0 * my[2] * mx[2] + my[0] * mx[4]


@njit(cache=True, nogil=True)
def workspace():
    """A `Workspace` of zeros."""
    return Workspace(np.zeros((3, LONGEST)), np.zeros((4, LONGEST + 7), np.float32),
                     np.zeros((5, LONGEST + 7), np.float32), np.zeros((4, 8)), np.zeros((5, 5)), np.zeros(5),
                     np.zeros(5))


@njit(cache=True, nogil=True)
def step(image, spots, i, others, free, bounds, work):
    """One step of spot `i` beside its neighbours `others`; its row of `spots` is changed.

    Where `free`, its width is fitted too, within `bounds`: least and greatest width [px]. `work` is a `Workspace`.
    """
    rows, weights, columns, sums, m, rhs, given = work
    gy, gx, other = rows[0], rows[1], rows[2]
    cy, cx, w = spots[i, Y], spots[i, X], spots[i, WIDTH]
    y0, ny = square(cy, w, image.shape[0])
    x0, nx = square(cx, w, image.shape[1])
    if ny < 3 or nx < 3:
        spots[i, MOVE] = 0.0
        return
    sample_gaussian(cy, y0, ny, w, gy)
    sample_gaussian(cx, x0, nx, w, gx)
    from_x, wide = whole_vectors(x0, nx, image.shape[1])
    for b in range(wide):
        k = from_x + b - x0
        inside = 0 <= k < nx
        v, d = gx[k] if inside else 0.0, x0 + k - cx
        weights[0, b], weights[1, b], weights[2, b], weights[3, b] = v, 1.0 if inside else 0.0, v * d, v * d * d
    level = np.float32(spots[i, BACKGROUND])                        # near the background: squares stay small numbers
    squares = image_sums(image, level, y0, ny, cy, gy, from_x, wide, weights, columns, free,
                         np.bool_(True), rhs)              # not the literal, for which it would be compiled again
    for j in others:
        v, q = spots[j, WIDTH], spots[j, AMPLITUDE]
        sample_gaussian(spots[j, Y], y0, ny, v, other)
        _overlap(gy, other, cy, y0, ny, sums[2])
        sample_gaussian(spots[j, X], x0, nx, v, other)
        _overlap(gx, other, cx, x0, nx, sums[3])
        hy, hz = sums[2], sums[3]
        rhs[P_AMPLITUDE] -= q * hy[0] * hz[0]
        rhs[P_BACKGROUND] -= q * hy[3] * hz[3]
        rhs[P_Y] -= q * hy[1] * hz[0]
        rhs[P_X] -= q * hy[0] * hz[1]
        rhs[P_WIDTH] -= q * (hy[2] * hz[0] + hy[0] * hz[2])
    _moments(gy, cy, y0, ny, sums[0])
    _moments(gx, cx, x0, nx, sums[1])
    _normal(sums[0], sums[1], ny, nx, m)
    unknowns = 5 if free else 4
    for k in range(5):
        given[k] = rhs[k]
    if not solve(m, rhs, unknowns, 1e-12 * m[1, 1]):
        spots[i, MOVE] = 0.0
        return
    for k in range(unknowns):                              # what a least-squares solution leaves of the squares
        squares -= given[k] * rhs[k]
    spots[i, MISFIT] = max(squares, 0.0) / max(ny * nx - 4, 1)
    rhs[P_BACKGROUND] += level
    _move(spots, i, rhs, free, bounds)


@njit(cache=True, nogil=True)
def _move(spots, i, solution, free, bounds):
    """Spot `i` moved to the solution of the linear problem, half a width at most."""
    w, amplitude = spots[i, WIDTH], solution[P_AMPLITUDE]
    spots[i, AMPLITUDE], spots[i, BACKGROUND] = amplitude, solution[P_BACKGROUND]
    if amplitude <= 0.0:
        spots[i, MOVE] = 0.0
        return
    scale = w * w / amplitude
    dy, dx = solution[P_Y] * scale, solution[P_X] * scale
    far = math.sqrt(dy * dy + dx * dx)
    if far > 0.5 * w:
        dy, dx = dy * 0.5 * w / far, dx * 0.5 * w / far
    spots[i, Y] += dy
    spots[i, X] += dx
    spots[i, MOVE] = far
    if free:
        wider = w + min(max(solution[P_WIDTH] * scale * w, -0.2 * w), 0.2 * w)
        spots[i, WIDTH] = min(max(wider, bounds[0]), bounds[1])
        spots[i, MOVE] = max(far, abs(spots[i, WIDTH] - w))


@njit(cache=True, nogil=True)
def fit_alone(image, spots, which, free, bounds, most, tolerance):
    """Spots `which` (N,) fitted as if nothing were near, until they move less than `tolerance` [px]."""
    work = workspace()
    nothing = np.empty(0, np.int64)
    for i in which:
        for _ in range(most):
            step(image, spots, i, nothing, free, bounds, work)
            if spots[i, MOVE] < tolerance:
                break


@njit(cache=True, nogil=True)
def fit_together(image, spots, which, near, free, bounds, most, tolerance):
    """Spots `which` take turns until none moves more than `tolerance` [px]; the number of rounds, `most` at most.

    `near` is a `Neighbours`, `free[i]` whether the width of spot i is fitted. A spot whose neighbours and itself are at
    rest (last move below `tolerance`) is passed over.
    """
    work = workspace()
    for rounds in range(most):
        moving = False
        for i in which:
            others = neighbours_of(near, i)
            unsettled = spots[i, MOVE] >= tolerance
            for j in others:
                unsettled = unsettled or spots[j, MOVE] >= tolerance
            if unsettled:
                step(image, spots, i, others, free[i], bounds, work)
                moving = moving or spots[i, MOVE] >= tolerance
        if not moving:
            return rounds + 1
    return most
