"""What the voxels of a stack know about a place: standard errors, and the Cramér-Rao bound; compiled.

Derivation. Let voxel m have the expected grey level μ_m(θ) and independent noise of variance v_m = v(μ_m), with
θ = (y0, x0, z0, A, b). For Gaussian noise the Fisher information is

    F_kl = Σ_m ∂_k μ_m ∂_l μ_m / v_m  [+ ½ Σ_m ∂_k v_m ∂_l v_m / v_m²],

and no unbiased estimate has a covariance below F⁻¹ (Cramér 1946; Kay, Fundamentals of Statistical Signal Processing I,
eq. 3.31). The bracket is what the size of the noise tells about the place: with v = offset + gain μ it is the first sum
times gain²/(2 v), below 2 % wherever a voxel counts more than some ten photons, and left out, as for Poisson noise,
whose information is the first sum alone (∂μ ∂μ/μ).

A lone spot, white noise v = n², wide box: with μ = b + A p p q (`gaussians`), p and q nearly Gaussians of widths w, u,
∂_x μ = A p p q (x - x0)/w². Columns of the three coordinates are odd about the centre, those of A and b even, so that
F is diagonal in the coordinates, and sums become integrals over the voxels,

    F_xx = (A²/n² w⁴) ∫ x² exp(-(x² + y²)/w² - z²/u²) = (A²/n² w⁴) · (√π w³/2)(√π w)(√π u) = π^(3/2) A² u / (2 n²)

    std(x) = std(y) = (n/A) √(2/(π^(3/2) u)) px,         std(z) = (n/A) √(2 u/(π^(3/2) w²)) planes:

the second by F_zz = (A²/n² u⁴)(√π u³/2)(√π w)² = π^(3/2) A² w²/(2 n² u). Both are independent of where between the
voxels the centre lies. A wide spot does not cost lateral accuracy, more planes improve it: u counts the planes that
see the spot. With shot noise the sums below, with v from the fitted model, take the place of the integrals.

Crowds. Of spots that overlap the matrix is that of all their parameters together; the block of a spot in its inverse
is what not knowing the neighbours costs. Entry (k, l) of two spots sums over the voxels that lie in both boxes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.stacks.gaussians import (
    ALONE_STD,
    AMPLITUDE,
    BACKGROUND,
    WINDOW,
    X,
    Y,
    Z,
    add_spot,
    axial,
    inverse_diagonal,
    lateral,
    longest,
    solve,
    window,
)

MAX_NEIGHBOURS = 8
"""Neighbours whose errors are followed into a spot's own; the nearest count."""
COUPLED = 4.5
"""Widths within which a neighbour is followed; beyond, its columns are nearly orthogonal (exp(-d²/4) < 0.7 %)."""


def bound_alone(amplitude: float, noise: float, width: float, axial_width: float) -> tuple[float, float]:
    """Cramér-Rao bound of a lone spot in white noise: lateral [px] and axial [planes], see the module.

    >>> lateral, depth = bound_alone(100.0, 5.0, 2.0, 2.0)
    >>> round(lateral, 4), round(depth, 4)
    (0.0212, 0.0212)
    """
    scale = noise / amplitude * math.sqrt(2 / math.pi**1.5)
    return scale / math.sqrt(axial_width), scale * math.sqrt(axial_width) / width


@njit(cache=True, nogil=True, error_model="numpy")
def _columns(place, amplitude, first, size, w, u, profile):
    """Profiles and slopes of a spot along z, y, x over a box; `profile` (6, longest)."""
    axial(place[Z], first[0], size[0], u, profile[0], profile[1])
    lateral(place[Y], first[1], size[1], w, profile[2], profile[3])
    lateral(place[X], first[2], size[2], w, profile[4], profile[5])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _product(one, two, a_one, a_two, inverse, first, size, corner, out, ground):
    """out (4, 4) = Σ J_k J_l / v of two spots over a box; ground (5,) = Σ J_k / v of the second, and Σ 1/v."""
    out[:, :] = 0.0
    ground[:] = 0.0
    j, g = np.empty(4), np.empty(4)
    for c in range(size[0]):
        for a in range(size[1]):
            row = inverse[first[0] + c - corner[0], first[1] + a - corner[1]]
            s00 = s01 = s10 = s11 = t0 = t1 = t = np.float32(0.0)
            base = first[2] - corner[2]
            for b in range(size[2]):
                weight = row[base + b]
                p, d = weight * one[4, b], weight * one[5, b]
                t0 += weight * two[4, b]
                t1 += weight * two[5, b]
                s00 += p * two[4, b]
                s01 += p * two[5, b]
                s10 += d * two[4, b]
                s11 += d * two[5, b]
                t += weight
            j[0], j[1] = a_one * one[0, c] * one[3, a], a_one * one[0, c] * one[2, a]
            j[2], j[3] = a_one * one[1, c] * one[2, a], one[0, c] * one[2, a]
            g[0], g[1] = a_two * two[0, c] * two[3, a], a_two * two[0, c] * two[2, a]
            g[2], g[3] = a_two * two[1, c] * two[2, a], two[0, c] * two[2, a]
            for k in range(4):
                for m in range(4):
                    s = (s11 if m == 1 else s10) if k == 1 else (s01 if m == 1 else s00)
                    out[k, m] += j[k] * g[m] * s
                ground[k] += g[k] * (t1 if k == 1 else t0)
            ground[4] += t


@njit(cache=True, nogil=True, error_model="numpy")
def _overlap(spots, i, j, shape, w, u, first, size):
    """First voxel and size (z, y, x) of the intersection of the boxes of two spots; its number of voxels."""
    count = 1
    for axis in range(3):
        column = Z if axis == 0 else (Y if axis == 1 else X)
        width = u if axis == 0 else w
        a, n = window(spots[i, column], width, shape[axis], WINDOW)
        b, m = window(spots[j, column], width, shape[axis], WINDOW)
        first[axis] = max(a, b)
        size[axis] = max(min(a + n, b + m) - first[axis], 0)
        count *= size[axis]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _extent(spots, members, column, width, size):
    """First voxel and number of voxels along an axis of a box that holds the boxes of all members."""
    first, count = window(spots[members[0], column], width, size, WINDOW)
    last = first + count
    for j in members[1:]:
        a, n = window(spots[j, column], width, size, WINDOW)
        first, last = min(first, a), max(last, a + n)
    return first, last - first


@njit(cache=True, nogil=True, error_model="numpy")
def errors(stack, spots, start, neighbour, w, u, noise_model, full, which, out):
    """Standard errors of y, x [px], z [planes] and of the brightness [grey levels] of the spots in `which` (N,), into
    `out` (N, 5); its last column is the number of neighbours that were followed. Other arguments as of `fit_together`,
    which has left the errors of spots that stand alone in `spots`; inf where there are none."""
    depth, height, width = stack.shape
    offset, gain, floor = noise_model
    room = longest(w, u)
    one, two = np.empty((6, room), np.float32), np.empty((6, room), np.float32)
    profile = np.empty((6, room), np.float32)
    first, size, corner = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    deep, wide = int(2 * (COUPLED + WINDOW) * u) + 4, int(2 * (COUPLED + WINDOW) * w) + 4
    light = np.empty((deep, wide, wide), np.float32)
    matrix, block, ground = np.empty((4 * MAX_NEIGHBOURS + 5, 4 * MAX_NEIGHBOURS + 5)), np.empty((4, 4)), np.empty(5)
    column = np.empty(4 * MAX_NEIGHBOURS + 5)
    member, distance = np.empty(MAX_NEIGHBOURS + 1, np.int64), np.empty(MAX_NEIGHBOURS + 1)
    for i in range(len(spots)):
        if not which[i]:
            continue
        out[i] = np.inf
        if spots[i, AMPLITUDE] <= 0.0:
            continue
        members = 1
        member[0] = i
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            far = (((spots[j, Y] - spots[i, Y]) / w) ** 2 + ((spots[j, X] - spots[i, X]) / w) ** 2
                   + ((spots[j, Z] - spots[i, Z]) / u) ** 2)
            if spots[j, AMPLITUDE] <= 0.0 or far > COUPLED * COUPLED:
                continue
            if members > MAX_NEIGHBOURS and far >= distance[MAX_NEIGHBOURS]:
                continue
            place = min(members, MAX_NEIGHBOURS)
            while place > 1 and distance[place - 1] > far:
                member[place], distance[place] = member[place - 1], distance[place - 1]
                place -= 1
            member[place], distance[place] = j, far
            members = min(members + 1, MAX_NEIGHBOURS + 1)
        out[i, 4] = members - 1
        if members == 1:
            for p in range(4):
                out[i, p] = spots[i, ALONE_STD + p]
            continue
        # inverse variance over a box that holds the boxes of all members
        corner[0], nz = _extent(spots, member[:members], Z, u, depth)
        corner[1], ny = _extent(spots, member[:members], Y, w, height)
        corner[2], nx = _extent(spots, member[:members], X, w, width)
        inverse = light[:nz, :ny, :nx]
        inverse[:, :, :] = spots[i, BACKGROUND]
        add_spot(inverse, spots[i], spots[i, AMPLITUDE], corner[1], corner[2], corner[0], w, u, profile)
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            if spots[j, AMPLITUDE] > 0.0:
                add_spot(inverse, spots[j], spots[j, AMPLITUDE], corner[1], corner[2], corner[0], w, u, profile)
        for c in range(nz):
            for a in range(ny):
                for b in range(nx):
                    seen = np.float32(stack[corner[0] + c, corner[1] + a, corner[2] + b]) < full
                    inverse[c, a, b] = 1.0 / max(offset + gain * inverse[c, a, b], floor) if seen else 0.0
        unknowns = 4 * members + 1
        for k in range(unknowns):
            matrix[unknowns - 1, k] = matrix[k, unknowns - 1] = 0.0
        for k in range(members):
            for m in range(k, members):
                count = _overlap(spots, member[k], member[m], (depth, height, width), w, u, first, size)
                if count > 0:
                    a_one, a_two = spots[member[k], AMPLITUDE], spots[member[m], AMPLITUDE]
                    _columns(spots[member[k]], a_one, first, size, w, u, one)
                    _columns(spots[member[m]], a_two, first, size, w, u, two)
                    _product(one, two, a_one, a_two, inverse, first, size, corner, block, ground)
                else:
                    block[:, :] = 0.0
                    ground[:] = 0.0
                for p in range(4):
                    for q in range(4):
                        matrix[4 * k + p, 4 * m + q] = block[p, q]
                        matrix[4 * m + q, 4 * k + p] = block[p, q]
                    if k == 0:                         # the background is that of the first box
                        matrix[4 * m + p, unknowns - 1] = matrix[unknowns - 1, 4 * m + p] = ground[p]
                if k == 0 and m == 0:
                    matrix[unknowns - 1, unknowns - 1] = ground[4]
        _variances(matrix, unknowns, out[i], column)


@njit(cache=True, nogil=True, error_model="numpy")
def _variances(matrix, size, out, column):
    """Roots of the first four diagonal elements of the inverse; inf where the matrix is singular."""
    column[:size] = 0.0
    if solve(matrix, column, size):
        inverse_diagonal(matrix, size, out, column)
    else:
        out[:4] = np.inf
