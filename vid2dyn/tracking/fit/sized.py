"""Spots of several sizes fitted together on what they leave of the image; compiled.

The model of a frame is one sum over all spots and one smooth background,

    I(y, x) = B(y, x) + sum_i A_i T_k(r_i / s_i),     r_i the distance from the centre of spot i,

with T_k the profile of the class k of the spot (a Gaussian, or measured in the frame: `vid2dyn.tracking.fit.shapes`)
and s_i its size. Pixels are weighted with the inverse of their variance. Spots take turns (Gauss-Newton,
Gauss-Seidel): each solves for A, y, x and, where sizes are free, log s on its own pixels, and what it leaves of the
image is updated at once, so that a neighbour costs nothing. That is weighted least squares of all pixels: its errors
are those of the inverse of the normal equations, in which the nearest neighbours of a spot take part.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import AMPLITUDE, MISFIT, MOVE, WIDTH, X, Y
from vid2dyn.tracking.fit.normal_equations import solve

A, DY, DX, LOG_SIZE = range(4)
"""Unknowns of a spot: brightness [grey levels], place [px], logarithm of its size."""
FINE = 64
"""Entries of a table of profiles per size."""
_MOST_NEIGHBOURS = 6               # whose errors are followed into a spot's own; the nearest count
_LONGEST_STEP = 0.3                # of a spot in one turn [sizes]
_SINGULAR = 1e-30                  # pivot of the normal equations below which a spot is not determined
_GROWTH = 0.15                     # of the logarithm of its size, at most


class Shapes(NamedTuple):
    """Profiles of the classes.

    Parameters
    ----------
    table : (C, K, 2) array
        Brightness over the largest one, and its slope, at r/s = 0, 1/64, ...
    reach : (C,) array
        r/s beyond which a spot is dark.
    """

    table: np.ndarray
    reach: np.ndarray


def gaussian_shapes(classes: int, reach: float = 4.0) -> Shapes:
    """Gaussians of width s, all the same."""
    u = np.arange(int(reach * FINE) + 3) / FINE
    light = np.exp(-0.5 * u**2)
    return Shapes(np.repeat(np.stack([light, -u * light], axis=1)[None], classes, axis=0), np.full(classes, reach))


@njit(cache=True, nogil=True, inline="always")
def _profile(table, t):
    """Brightness and slope of a profile at t = r/s times 64."""
    k = int(t)
    f = t - k
    return table[k, 0] + f * (table[k + 1, 0] - table[k, 0]), table[k, 1] + f * (table[k + 1, 1] - table[k, 1])


@njit(cache=True, nogil=True)
def add_light(image, spots, i, kind, shapes, sign):
    """`sign` times the light of spot i added to the (H, W) image."""
    table, far = shapes.table[kind[i]], shapes.reach[kind[i]] * spots[i, WIDTH]
    cy, cx, light, scale = spots[i, Y], spots[i, X], sign * spots[i, AMPLITUDE], FINE / spots[i, WIDTH]
    for y in range(max(math.ceil(cy - far), 0), min(math.floor(cy + far), image.shape[0] - 1) + 1):
        dy = y - cy
        half = math.sqrt(max(far * far - dy * dy, 0.0))
        for x in range(max(math.ceil(cx - half), 0), min(math.floor(cx + half), image.shape[1] - 1) + 1):
            dx = x - cx
            t = math.sqrt(dy * dy + dx * dx) * scale
            k = int(t)
            image[y, x] += light * (table[k, 0] + (t - k) * (table[k + 1, 0] - table[k, 0]))


@njit(cache=True, nogil=True)
def remainder(image, background, spots, kind, shapes):
    """(H, W) float64: image less background and all spots."""
    left = np.empty(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            left[y, x] = image[y, x] - background[y, x]
    for i in range(spots.shape[0]):
        add_light(left, spots, i, kind, shapes, -1.0)
    return left


@njit(cache=True, nogil=True)
def _equations(left, weight, spot, table, reach, m, rhs):
    """Normal equations of one spot on what all leave; (sum of w left², pixels that tell)."""
    m[:, :] = 0.0
    rhs[:] = 0.0
    far, scale, inverse = reach * spot[WIDTH], FINE / spot[WIDTH], 1.0 / spot[WIDTH]
    cy, cx, light = spot[Y], spot[X], spot[AMPLITUDE]
    squares, count = 0.0, 0
    for y in range(max(math.ceil(cy - far), 0), min(math.floor(cy + far), left.shape[0] - 1) + 1):
        dy = y - cy
        half = math.sqrt(max(far * far - dy * dy, 0.0))
        for x in range(max(math.ceil(cx - half), 0), min(math.floor(cx + half), left.shape[1] - 1) + 1):
            dx = x - cx
            r = math.sqrt(dy * dy + dx * dx)
            g, slope = _profile(table, r * scale)
            radial = -light * slope * inverse
            gy = gx = 0.0
            if r > 0.0:
                gy, gx = radial * dy / r, radial * dx / r
            gs = radial * r
            w, value = weight[y, x], left[y, x]
            wv = w * value
            squares += wv * value
            count += 1
            rhs[0] += g * wv
            rhs[1] += gy * wv
            rhs[2] += gx * wv
            rhs[3] += gs * wv
            wg, wy, wx = w * g, w * gy, w * gx
            m[0, 0] += wg * g
            m[0, 1] += wg * gy
            m[0, 2] += wg * gx
            m[0, 3] += wg * gs
            m[1, 1] += wy * gy
            m[1, 2] += wy * gx
            m[1, 3] += wy * gs
            m[2, 2] += wx * gx
            m[2, 3] += wx * gs
            m[3, 3] += w * gs * gs
    return squares, count


@njit(cache=True, nogil=True, error_model="numpy")
def fit(left, weight, spots, kind, shapes, near, free, prior, rest, most):
    """Spots take turns until none moves by more than `rest` [sizes], `most` rounds at most; the number of rounds.

    Parameters
    ----------
    left : (H, W) array
        What background and spots leave of the image; kept up to date.
    weight : (H, W) array
        Inverse variance of the pixels.
    spots : (N, 7) array
        Table of spots, see `vid2dyn.tracking.columns`; changed. WIDTH is the size, MISFIT the mean square of what is
        left over its variance. A spot without light of its own gets an amplitude of 0.
    kind : (N,) int64 array
        Class of each spot.
    shapes : Shapes
    near : Neighbours
        Spots whose light overlaps.
    free : bool
        Whether sizes are fitted.
    prior : (3, C) array
        Mean of the logarithm of the size of each class, its inverse variance (0: no prior), largest departure from it.
    """
    m, rhs = np.zeros((4, 4)), np.zeros(4)
    unknowns = 4 if free else 3
    for rounds in range(most):
        moving = False
        for i in range(spots.shape[0]):
            size, c = spots[i, WIDTH], kind[i]
            unsettled = spots[i, MOVE] >= rest
            if not unsettled:
                for t in range(near.start[i], near.start[i + 1]):
                    unsettled = unsettled or spots[near.indices[t], MOVE] >= rest
            if not unsettled:
                continue
            squares, count = _equations(left, weight, spots[i], shapes.table[c], shapes.reach[c], m, rhs)
            spots[i, MISFIT] = squares / max(count - unknowns, 1)
            light = spots[i, AMPLITUDE]
            if free:
                m[3, 3] += prior[1, c]
                rhs[3] += prior[1, c] * (prior[0, c] - math.log(size))
            if count < 8 or not solve(m, rhs, unknowns, _SINGULAR):
                spots[i, MOVE] = 0.0
                continue
            add_light(left, spots, i, kind, shapes, 1.0)
            if not light + rhs[0] > 0.0:
                spots[i, AMPLITUDE], spots[i, MOVE] = 0.0, 0.0
                continue
            dy, dx = rhs[1], rhs[2]
            far = math.sqrt(dy * dy + dx * dx) / size
            if far > _LONGEST_STEP:
                dy, dx = dy * _LONGEST_STEP / far, dx * _LONGEST_STEP / far
            spots[i, AMPLITUDE] = max(light + rhs[0], 0.3 * light)
            spots[i, Y] += dy
            spots[i, X] += dx
            spots[i, MOVE] = far
            if free:
                change = min(max(rhs[3], -_GROWTH), _GROWTH)
                wanted = math.log(size) + change
                wanted = min(max(wanted, prior[0, c] - prior[2, c]), prior[0, c] + prior[2, c])
                spots[i, WIDTH] = math.exp(wanted)
                spots[i, MOVE] = max(far, abs(wanted - math.log(size)))
            add_light(left, spots, i, kind, shapes, -1.0)
            moving = moving or spots[i, MOVE] >= rest
        if not moving:
            return rounds + 1
    return most


@njit(cache=True, nogil=True, error_model="numpy")
def compare_classes(left, weight, spots, kind, shapes, sizes, which, rounds, out, trial):
    """out (N, C), for the spots `which`: squares over variance that are left of its pixels if it were of each class.

    Each spot is fitted anew with the profile and size of every class, all others as they stand, on the same pixels:
    those of the largest class. `trial` (N, C, 3) gets A, y, x of these fits.
    """
    classes = shapes.table.shape[0]
    widest = 0.0
    for c in range(classes):
        widest = max(widest, shapes.reach[c] * sizes[c])
    m, rhs, spot, one = np.zeros((4, 4)), np.zeros(4), np.zeros((1, spots.shape[1])), np.zeros(1, np.int64)
    for i in which:
        add_light(left, spots, i, kind, shapes, 1.0)
        for c in range(classes):
            spot[0, :] = spots[i]
            spot[0, WIDTH] = sizes[c]
            one[0] = c
            for _ in range(rounds):
                add_light(left, spot, 0, one, shapes, -1.0)
                _, count = _equations(left, weight, spot[0], shapes.table[c], shapes.reach[c], m, rhs)
                add_light(left, spot, 0, one, shapes, 1.0)
                if count < 8 or not solve(m, rhs, 3, _SINGULAR):
                    break
                spot[0, AMPLITUDE] = max(spot[0, AMPLITUDE] + rhs[0], 0.1 * spots[i, AMPLITUDE])
                far = math.sqrt(rhs[1] ** 2 + rhs[2] ** 2) / sizes[c]
                part = min(1.0, _LONGEST_STEP / max(far, 1e-9))
                spot[0, Y] += part * rhs[1]
                spot[0, X] += part * rhs[2]
            add_light(left, spot, 0, one, shapes, -1.0)
            out[i, c] = _squares(left, weight, spots[i, Y], spots[i, X], widest)
            add_light(left, spot, 0, one, shapes, 1.0)
            trial[i, c, 0], trial[i, c, 1], trial[i, c, 2] = spot[0, AMPLITUDE], spot[0, Y], spot[0, X]
        add_light(left, spots, i, kind, shapes, -1.0)


@njit(cache=True, nogil=True)
def _squares(left, weight, cy, cx, far):
    """Sum over the pixels within `far` of weight times left²."""
    total = 0.0
    for y in range(max(math.ceil(cy - far), 0), min(math.floor(cy + far), left.shape[0] - 1) + 1):
        half = math.sqrt(max(far * far - (y - cy) ** 2, 0.0))
        for x in range(max(math.ceil(cx - half), 0), min(math.floor(cx + half), left.shape[1] - 1) + 1):
            total += weight[y, x] * left[y, x] ** 2
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def strengths(left, weight, spots, kind, shapes):
    """(N,) brightness over its standard error, all else held."""
    m, rhs, out = np.zeros((4, 4)), np.zeros(4), np.zeros(spots.shape[0])
    for i in range(spots.shape[0]):
        _equations(left, weight, spots[i], shapes.table[kind[i]], shapes.reach[kind[i]], m, rhs)
        out[i] = spots[i, AMPLITUDE] * math.sqrt(m[0, 0])
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def misfits(left, weight, spots, kind, shapes, unknowns):
    """(N,) mean square of what is left around each spot over its variance, and (N,) pixels that say so."""
    out, pixels = np.zeros(spots.shape[0]), np.zeros(spots.shape[0])
    for i in range(spots.shape[0]):
        cy, cx, far = spots[i, Y], spots[i, X], shapes.reach[kind[i]] * spots[i, WIDTH]
        total, count = 0.0, 0
        for y in range(max(math.ceil(cy - far), 0), min(math.floor(cy + far), left.shape[0] - 1) + 1):
            half = math.sqrt(max(far * far - (y - cy) ** 2, 0.0))
            for x in range(max(math.ceil(cx - half), 0), min(math.floor(cx + half), left.shape[1] - 1) + 1):
                total += weight[y, x] * left[y, x] ** 2
                count += 1
        out[i], pixels[i] = total / max(count - unknowns, 1), count
    return out, pixels


@njit(cache=True, nogil=True, inline="always")
def _columns(table, scale, inverse, light, dy, dx, out):
    r = math.sqrt(dy * dy + dx * dx)
    g, slope = _profile(table, r * scale)
    radial = -light * slope * inverse
    out[0] = g
    out[1] = radial * dy / r if r > 0.0 else 0.0
    out[2] = radial * dx / r if r > 0.0 else 0.0
    out[3] = radial * r


@njit(cache=True, nogil=True)
def _shared_block(weight, spots, i, j, kind, shapes, out):
    """(4, 4) sums over the pixels that two spots share: columns of i times columns of j."""
    out[:, :] = 0.0
    far_i, far_j = shapes.reach[kind[i]] * spots[i, WIDTH], shapes.reach[kind[j]] * spots[j, WIDTH]
    yi, xi, yj, xj = spots[i, Y], spots[i, X], spots[j, Y], spots[j, X]
    p, q = np.empty(4), np.empty(4)
    for y in range(max(math.ceil(max(yi - far_i, yj - far_j)), 0),
                   min(math.floor(min(yi + far_i, yj + far_j)), weight.shape[0] - 1) + 1):
        half_i = math.sqrt(max(far_i * far_i - (y - yi) ** 2, 0.0))
        half_j = math.sqrt(max(far_j * far_j - (y - yj) ** 2, 0.0))
        for x in range(max(math.ceil(max(xi - half_i, xj - half_j)), 0),
                       min(math.floor(min(xi + half_i, xj + half_j)), weight.shape[1] - 1) + 1):
            _columns(shapes.table[kind[i]], FINE / spots[i, WIDTH], 1.0 / spots[i, WIDTH], spots[i, AMPLITUDE], y - yi,
                     x - xi, p)
            _columns(shapes.table[kind[j]], FINE / spots[j, WIDTH], 1.0 / spots[j, WIDTH], spots[j, AMPLITUDE], y - yj,
                     x - xj, q)
            for a in range(4):
                v = p[a] * weight[y, x]
                for b in range(4):
                    out[a, b] += v * q[b]


@njit(cache=True, nogil=True, error_model="numpy")
def covariances(left, weight, spots, kind, shapes, near, free, prior):
    """(N, 4) variances of A, y, x, log s of every spot, its neighbours' unknowns eliminated; and (N,) one more turn's
    change of log s, with sizes free for that spot.

    Where sizes are held (not `free`), the variance of log s is that of the spot's own size, all others held.
    """
    n = spots.shape[0]
    own, shared = np.zeros((n, 4, 4)), np.zeros((near.indices.size, 4, 4))
    out, change = np.full((n, 4), np.inf), np.zeros(n)
    gradient = np.zeros((n, 4))
    for i in range(n):
        if spots[i, AMPLITUDE] > 0.0:
            _equations(left, weight, spots[i], shapes.table[kind[i]], shapes.reach[kind[i]], own[i], gradient[i])
            for a in range(4):
                for b in range(a):
                    own[i, a, b] = own[i, b, a]
            if free:
                own[i, 3, 3] += prior[1, kind[i]]
                gradient[i, 3] += prior[1, kind[i]] * (prior[0, kind[i]] - math.log(spots[i, WIDTH]))
            for t in range(near.start[i], near.start[i + 1]):
                if spots[near.indices[t], AMPLITUDE] > 0.0:
                    _shared_block(weight, spots, i, near.indices[t], kind, shapes, shared[t])
    chosen = np.zeros(_MOST_NEIGHBOURS + 1, np.int64)
    full = np.zeros((4 * _MOST_NEIGHBOURS + 4, 4 * _MOST_NEIGHBOURS + 4))
    right = np.zeros(4 * _MOST_NEIGHBOURS + 4)
    each = 4 if free else 3
    for i in range(n):
        if not spots[i, AMPLITUDE] > 0.0:
            continue
        count = _closest(spots, i, near, chosen)
        size = 0
        for a in range(count):                             # neighbours first: they are eliminated
            k = chosen[count - 1 - a]
            mine = 4 if k == i else each
            column = 0
            for b in range(count):
                q = chosen[count - 1 - b]
                theirs = 4 if q == i else each
                block = own[k]
                if q != k:
                    block = _between(near, k, q, shared)
                for r in range(mine):
                    for s in range(theirs):
                        full[size + r, column + s] = block[r, s]
                column += theirs
            for r in range(mine):
                right[size + r] = gradient[k, r]
            size += mine
        variance, step = _last_block(full, right, size, free)
        if variance[1] > 0.0 and variance[2] > 0.0 and variance[0] > 0.0:
            out[i] = variance
            change[i] = step
    return out, change


_NOTHING = np.zeros((4, 4))


@njit(cache=True, nogil=True)
def _between(near, k, q, shared):
    for t in range(near.start[k], near.start[k + 1]):
        if near.indices[t] == q:
            return shared[t]
    return _NOTHING


@njit(cache=True, nogil=True)
def _closest(spots, i, near, chosen):
    """chosen becomes i and its nearest neighbours with light; how many."""
    chosen[0] = i
    count = 1
    distance = np.full(_MOST_NEIGHBOURS + 1, np.inf)
    for t in range(near.start[i], near.start[i + 1]):
        j = near.indices[t]
        if not spots[j, AMPLITUDE] > 0.0:
            continue
        d = (spots[i, Y] - spots[j, Y]) ** 2 + (spots[i, X] - spots[j, X]) ** 2
        if count <= _MOST_NEIGHBOURS:
            place = count
            count += 1
        elif d < distance[_MOST_NEIGHBOURS]:
            place = _MOST_NEIGHBOURS
        else:
            continue
        while place > 1 and distance[place - 1] > d:
            distance[place], chosen[place] = distance[place - 1], chosen[place - 1]
            place -= 1
        distance[place], chosen[place] = d, j
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _last_block(full, right, n, free):
    """Diagonal of the last (4, 4) block of the inverse of full[:n, :n], and the last unknown of the solution.

    Where that is not `free`, the first three are those of a block without it.
    """
    for k in range(n):
        full[k, k] *= 1.0 + 1e-10
    for k in range(n - 4):
        pivot = full[k, k]
        if not pivot > 0.0:
            return np.full(4, -1.0), 0.0
        for a in range(k + 1, n):
            f = full[a, k] / pivot
            if f != 0.0:
                for b in range(k + 1, n):
                    full[a, b] -= f * full[k, b]
                right[a] -= f * right[k]
    m = full[n - 4:n, n - 4:n].copy()
    out, unit, step = np.empty(4), np.empty(4), right[n - 4:n].copy()
    for a in range(4):
        unit[:] = 0.0
        unit[a] = 1.0
        copy = m.copy()
        if not solve(copy, unit, 4 if free or a == 3 else 3, _SINGULAR):
            return np.full(4, -1.0), 0.0
        out[a] = unit[a]
    copy = m.copy()
    solve(copy, step, 4, _SINGULAR)
    return out, step[3]
