"""The joint fit: all spots of a frame at once by Gauss-Newton, neighbours coupled; compiled.

The model is that of `vid2dyn.tracking.fit.gaussians`, with one width for all. A pass linearises it around where the
spots are,

    M_i p_i + sum_j C_ij p_j = D_i,     p = (A, b, A dy / w², A dx / w²),

with D_i the sums of the image times the columns of spot i over its square, M_i those of these columns with each other
and C_ij with the columns of a neighbour j: products of sums along y and along x. Only D_i needs the pixels. The linear
system is solved by turns that see no pixels (block Gauss-Seidel, a dozen multiplications a couple), so that three or
four passes over the image do what takes a dozen where spots take turns with the image itself.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.fit.gaussians import LONGEST, eights, image_sums, square
from vid2dyn.tracking.fit.overlap import coupling, cross_sums, inverse, own_sums

NEAR = 6.0
"""Distance below which spots are fitted together [widths]: alone, each would be pulled by 0.0007 w there (and by
0.01 w at 5 w: the pull is d exp(-d² / 4) widths at a distance of d widths)."""
COUPLED = 4.5
"""Distance below which the error of one spot is felt in the other's [widths]."""
_TURNS = 30                        # of the linear system, at most
_SOLVED = 0.1                      # of the rest that a turn may still move a spot
_OFF = 0.8                         # pixels between a spot and the middle of its square, at most: half a pixel would let
                                   # a spot between two pixels go back and forth with its square for ever
_LITTLE = 10.0                     # rests that a neighbour may move without linearising anew


@njit(cache=True, nogil=True, error_model="numpy")
def _relaxation(distance):
    """Over-relaxation for a spot whose nearest neighbour is that many widths away.

    Taking turns leaves the part ρ of the error of two equal spots: .98, .88, .64, .36, .14, .04 at a distance of 1, 1.5
    ... 3.5 widths (eigenvalues of two turns, computed). Going 2/(1 + sqrt(1 - ρ)) times as far leaves that less 1
    (Young, Trans. AMS 76, 92, 1954); this is that curve, a little above it since a third neighbour raises ρ.
    """
    return 1.0 + 0.75 * max(0.0, min(1.0, (3.4 - distance) / 2.4)) ** 1.6


@njit(cache=True, nogil=True)
def _awake(spots, start, index, rest, near, last, slot, member):
    """Which spots take part in the next pass: `member`, and their place there in `slot` (-1: none); how many.

    A spot at rest is woken by a neighbour that moved; one that took part in the last pass (`last`), which saw that
    coming, only by one that moved far.
    """
    count = 0
    for i in range(spots.shape[0]):
        awake = spots[i, 5] >= rest[i]
        limit = _LITTLE * rest[i] if last[i] else rest[i]
        if not awake:
            for t in range(start[i], start[i + 1]):
                j = index[t]
                far = (spots[j, 0] - spots[i, 0]) ** 2 + (spots[j, 1] - spots[i, 1]) ** 2 > near
                awake = awake or spots[j, 5] >= (_LITTLE * limit if far else limit)
        slot[i] = count if awake else -1
        if awake:
            member[count] = i
            count += 1
    for i in range(spots.shape[0]):
        last[i] = slot[i] >= 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def fit_jointly(image, spots, start, index, coupled, still, most, touched):
    """Spots moved to where all of them fit together; the number of passes.

    Parameters
    ----------
    image : (H, W) float32 array
    spots : (N, 7) array
        Columns as in `vid2dyn.tracking.fit.gaussians`, all of one width; changed. A spot at rest (last move below its
        rest) whose neighbours are at rest is passed over.
    start, index
        Neighbours, see `vid2dyn.tracking.fit.nearby`.
    coupled : float
        Distance below which a neighbour is solved for together with a spot; the light of farther ones is taken out as
        it stands [px].
    still : (N,) array
        Moves below which spots are at rest [px].
    most : int
        Passes at most.
    touched : (N,) bool array
        True is written for spots that took part.
    """
    n = spots.shape[0]
    slot, member, last = np.full(n, -1), np.empty(n, np.int64), np.zeros(n, np.bool_)
    first, column = np.zeros(n + 1, np.int64), np.empty(index.size, np.int64)
    block, base, now = np.empty((index.size, 12)), np.empty((n, 4)), np.empty((n, 4))
    beyond, middle, stride = np.empty(n), np.full((n, 2), np.nan), np.zeros((n, 2))
    rows_y, rows_x = np.zeros((3, LONGEST)), np.zeros((3, LONGEST))
    weights, columns = np.zeros((4, LONGEST + 7), np.float32), np.zeros((5, LONGEST + 7), np.float32)
    data, solver = np.zeros(5), np.zeros((4, 4))
    near = coupled * coupled
    width = s = factor = 0.0
    for done in range(most):
        count = _awake(spots, start, index, still, near, last, slot, member)
        if count == 0:
            return done
        pairs = 0
        for k in range(count):
            i = member[k]
            touched[i] = True
            first[k] = pairs
            cy, cx, w = spots[i, 0], spots[i, 1], spots[i, 3]
            if w != width:
                width, s = w, 1.0 / (w * w)
                factor = math.exp(-s)
            for axis in range(2):
                if not abs(spots[i, axis] - middle[i, axis]) < _OFF:
                    middle[i, axis] = math.floor(spots[i, axis] + 0.5)
            y0, ny = square(middle[i, 0], w, image.shape[0])
            x0, nx = square(middle[i, 1], w, image.shape[1])
            base[k, :] = 0.0
            now[k, 0], now[k, 1], now[k, 2], now[k, 3] = spots[i, 2], 0.0, 0.0, 0.0
            base[k, 0] = spots[i, 2]
            beyond[k] = 1.0
            if ny < 3 or nx < 3:
                spots[i, 6] = 0.0
                continue
            y, x = own_sums(y0, ny, cy, s, factor, rows_y), own_sums(x0, nx, cx, s, factor, rows_x)
            if not inverse(y, x, float(ny * nx), solver):
                continue
            from_x, wide = eights(x0, nx, image.shape[1])
            shift = x0 - from_x
            for b in range(wide):
                weights[0, b] = weights[1, b] = weights[2, b] = np.float32(0.0)
            for b in range(nx):
                weights[0, b + shift], weights[1, b + shift] = rows_x[0, b], np.float32(1.0)
                weights[2, b + shift] = rows_x[1, b]
            level = np.float32(spots[i, 4])
            squares = image_sums(image, level, rows_y[0], y0, ny, cy, from_x, wide, weights, columns, False,
                                 start[i] == start[i + 1], data)
            nearest, close = 1e300, 0
            for t in range(start[i], start[i + 1]):
                j = index[t]
                dy, dx = cy - spots[j, 0], cx - spots[j, 1]
                hy = cross_sums(rows_y, y0, ny, spots[j, 0], s, factor)
                hx = cross_sums(rows_x, x0, nx, spots[j, 1], s, factor)
                distance = dy * dy + dx * dx
                if distance < near and slot[j] >= 0:
                    coupling(hy, hx, dy, dx, solver, block[pairs])
                    column[pairs] = slot[j]
                    pairs += 1
                    close += 1
                    nearest = min(nearest, distance)
                else:
                    q = spots[j, 2]
                    data[0] -= q * hy[0] * hx[0]
                    data[1] -= q * hy[3] * hx[3]
                    data[2] -= q * hy[1] * hx[0]
                    data[3] -= q * hy[0] * hx[1]
            left = squares
            for q in range(4):
                total = 0.0
                for r in range(4):
                    total += solver[q, r] * data[r]
                base[k, q] = total
                left -= total * data[q]
            spots[i, 6] = max(left, 0.0) / max(ny * nx - 4, 1)
            if not close:
                now[k, :] = base[k, :]
            elif close <= 3:
                beyond[k] = _relaxation(math.sqrt(nearest) / w)
        first[count] = pairs
        _settle(spots, member, count, first, column, block, base, now, beyond, still)
        for k in range(count):
            _place(spots, member[k], now[k], stride)
    return most


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(spots, member, count, first, column, block, base, now, beyond, still):
    """The linear system solved by turns; who and whose neighbours did not move is passed over."""
    due = first[:count] < first[1:count + 1]
    for _ in range(_TURNS):
        moving = False
        for k in range(count):
            if not due[k]:
                continue
            due[k] = False
            n0, n1, n2, n3 = base[k, 0], base[k, 1], base[k, 2], base[k, 3]
            for t in range(first[k], first[k + 1]):
                j = column[t]
                p, q, r = now[j, 0], now[j, 2], now[j, 3]
                n0 -= block[t, 0] * p + block[t, 1] * q + block[t, 2] * r
                n1 -= block[t, 3] * p + block[t, 4] * q + block[t, 5] * r
                n2 -= block[t, 6] * p + block[t, 7] * q + block[t, 8] * r
                n3 -= block[t, 9] * p + block[t, 10] * q + block[t, 11] * r
            w, f = spots[member[k], 3], beyond[k]
            d0, d2, d3 = n0 - now[k, 0], n2 - now[k, 2], n3 - now[k, 3]
            now[k, 0] = max(now[k, 0] + f * d0, 0.0)          # no light is negative: what keeps a packing from swinging
            now[k, 1] += f * (n1 - now[k, 1])
            now[k, 2], now[k, 3] = _within(now[k, 2] + f * d2, now[k, 3] + f * d3, 0.5 * now[k, 0] / w)
            if max(abs(d2), abs(d3), abs(d0) / w) * w * w > _SOLVED * still[member[k]] * max(now[k, 0], 1e-9):
                moving = True
                due[k] = True
                for t in range(first[k], first[k + 1]):
                    due[column[t]] = True
        if not moving:
            break


@njit(cache=True, nogil=True)
def _within(a, b, limit):
    """The vector (a, b) cut to the length `limit`."""
    square_of = a * a + b * b
    if square_of <= limit * limit:
        return a, b
    part = limit / math.sqrt(square_of)
    return a * part, b * part


@njit(cache=True, nogil=True, error_model="numpy")
def _place(spots, i, p, stride):
    """Spot `i` moved towards the solution `p`, half a width at most; half as far where that takes back the last move.

    `stride` (N, 2) holds the last moves. What does not look like the model goes too far, back and forth for ever.
    """
    w = spots[i, 3]
    if p[0] <= 0.0:
        spots[i, 2], spots[i, 4], spots[i, 5] = p[0], spots[i, 4] + p[1], 0.0
        return
    scale = w * w / p[0]
    dy, dx = p[2] * scale, p[3] * scale
    far = math.sqrt(dy * dy + dx * dx)
    part = min(1.0, 0.5 * w / far) if far > 0.0 else 1.0
    back = dy * stride[i, 0] + dx * stride[i, 1]
    if back < -0.5 * (stride[i, 0] ** 2 + stride[i, 1] ** 2):
        part *= 0.5
    spots[i, 0] += part * dy
    spots[i, 1] += part * dx
    spots[i, 2] += part * (p[0] - spots[i, 2])
    spots[i, 4] += part * p[1]
    spots[i, 5] = part * far
    stride[i, 0], stride[i, 1] = part * dy, part * dx
