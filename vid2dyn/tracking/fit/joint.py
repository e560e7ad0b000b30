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
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.tracking.columns import AMPLITUDE, BACKGROUND, MISFIT, MOVE, WIDTH, X, Y
from vid2dyn.tracking.fit.gaussians import (
    LONGEST,
    P_AMPLITUDE,
    P_BACKGROUND,
    P_X,
    P_Y,
    image_sums,
    square,
    whole_vectors,
)
from vid2dyn.tracking.fit.overlap import coupling, cross_sums, inverse, own_sums

NEAR = 6.0
"""Distance below which spots are fitted together [widths]: alone, each would be pulled by 0.0007 w there (and by
0.01 w at 5 w: the pull is d exp(-d² / 4) widths at a distance of d widths)."""
COUPLED = 4.5
"""Distance below which the error of one spot changes that of the other [widths]."""
_TURNS = 30                        # of the linear system, at most
_SOLVED = 0.1                      # of the rest that a turn may still move a spot
_OFF = 0.8                         # pixels between a spot and the middle of its square, at most: half a pixel would let
                                   # a spot between two pixels go back and forth with its square for ever
_LITTLE = 10.0                     # rests that a neighbour may move without linearising anew


class LinearSystem(NamedTuple):
    """p_k + sum_t C_t p_column[t] = base_k for the spots k that take part in a pass, t from first[k] to first[k + 1].

    Parameters
    ----------
    first : (K + 1,) int64 array
    column : (T,) int64 array
        Number, among those that take part, of the neighbour that a coupling belongs to.
    coupling : (T, 12) array
        Inverse of M_i times C_ij, rows (A, b, y, x), columns (A, y, x): the background of a neighbour does not couple.
    base : (K, 4) array
        Inverse of M_i times D_i.
    relaxation : (K,) array
        How many times as far as the solution of its own equation a spot goes in a turn.
    """

    first: np.ndarray
    column: np.ndarray
    coupling: np.ndarray
    base: np.ndarray
    relaxation: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _relaxation(distance):
    """Over-relaxation for a spot whose nearest neighbour is that many widths away.

    Taking turns leaves the part ρ of the error of two equal spots: .98, .88, .64, .36, .14, .04 at a distance of 1, 1.5
    ... 3.5 widths (eigenvalues of two turns, computed). Going 2/(1 + sqrt(1 - ρ)) times as far leaves that less 1
    (Young, Trans. AMS 76, 92, 1954); this is that curve, a little above it since a third neighbour raises ρ.
    """
    return 1.0 + 0.75 * max(0.0, min(1.0, (3.4 - distance) / 2.4)) ** 1.6


@njit(cache=True, nogil=True)
def _select_unsettled(spots, near, rest, close, last, slot, member):
    """Which spots take part in the next pass: `member`, and their place there in `slot` (-1: none); how many.

    Those whose last move exceeds their `rest` [px] do, and those with a neighbour that moved; a spot that took part in
    the last pass (`last`), which allowed for that, only with one that moved far. Neighbours at a squared distance
    beyond `close` [px²] may move farther.
    """
    count = 0
    for i in range(spots.shape[0]):
        unsettled = spots[i, MOVE] >= rest[i]
        limit = _LITTLE * rest[i] if last[i] else rest[i]
        if not unsettled:
            for t in range(near.start[i], near.start[i + 1]):
                j = near.indices[t]
                far = (spots[j, Y] - spots[i, Y]) ** 2 + (spots[j, X] - spots[i, X]) ** 2 > close
                unsettled = unsettled or spots[j, MOVE] >= (_LITTLE * limit if far else limit)
        slot[i] = count if unsettled else -1
        if unsettled:
            member[count] = i
            count += 1
    for i in range(spots.shape[0]):
        last[i] = slot[i] >= 0
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def fit_jointly(image, spots, near, coupled, rest, most, touched):
    """Spots moved to where all of them fit together; the number of passes.

    Parameters
    ----------
    image : (H, W) float32 array
    spots : (N, 7) array
        Table of spots, see `vid2dyn.tracking.columns`, all of one width; changed. A spot at rest (last move below its
        rest) whose neighbours are at rest is passed over.
    near : Neighbours
        See `vid2dyn.tracking.fit.nearby`.
    coupled : float
        Distance below which a neighbour is solved for together with a spot; the light of farther ones is taken out as
        it stands [px].
    rest : (N,) array
        Moves below which spots are at rest [px].
    most : int
        Passes at most.
    touched : (N,) bool array
        True is written for spots that took part.
    """
    n = spots.shape[0]
    slot, member, last = np.full(n, -1), np.empty(n, np.int64), np.zeros(n, np.bool_)
    start, index = near.start, near.indices
    system = LinearSystem(np.zeros(n + 1, np.int64), np.empty(index.size, np.int64), np.empty((index.size, 12)),
                          np.empty((n, 4)), np.empty(n))
    first, column, block, base, relaxation = system
    now, middle, stride = np.empty((n, 4)), np.full((n, 2), np.nan), np.zeros((n, 2))
    rows_y, rows_x = np.zeros((3, LONGEST)), np.zeros((3, LONGEST))
    profile_y = rows_y[0]
    weights, columns = np.zeros((4, LONGEST + 7), np.float32), np.zeros((5, LONGEST + 7), np.float32)
    data, solver = np.zeros(5), np.zeros((4, 4))
    close = coupled * coupled
    width = s = factor = 0.0
    for done in range(most):
        count = _select_unsettled(spots, near, rest, close, last, slot, member)
        if count == 0:
            return done
        pairs = 0
        for k in range(count):
            i = member[k]
            touched[i] = True
            first[k] = pairs
            cy, cx, w = spots[i, Y], spots[i, X], spots[i, WIDTH]
            if w != width:
                width, s = w, 1.0 / (w * w)
                factor = math.exp(-s)
            for axis in range(2):
                if not abs(spots[i, axis] - middle[i, axis]) < _OFF:
                    middle[i, axis] = math.floor(spots[i, axis] + 0.5)
            y0, ny = square(middle[i, Y], w, image.shape[0])
            x0, nx = square(middle[i, X], w, image.shape[1])
            for q in range(4):
                base[k, q] = now[k, q] = 0.0
            now[k, P_AMPLITUDE] = base[k, P_AMPLITUDE] = spots[i, AMPLITUDE]
            relaxation[k] = 1.0
            if ny < 3 or nx < 3:
                spots[i, MISFIT] = 0.0
                continue
            y, x = own_sums(y0, ny, cy, s, factor, rows_y), own_sums(x0, nx, cx, s, factor, rows_x)
            if not inverse(y, x, float(ny * nx), solver):
                continue
            from_x, wide = whole_vectors(x0, nx, image.shape[1])
            shift = x0 - from_x
            for b in range(wide):
                weights[0, b] = weights[1, b] = weights[2, b] = np.float32(0.0)
            for b in range(nx):
                weights[0, b + shift], weights[1, b + shift] = rows_x[0, b], np.float32(1.0)
                weights[2, b + shift] = rows_x[1, b]
            level = np.float32(spots[i, BACKGROUND])
            squares = image_sums(image, level, y0, ny, cy, profile_y, from_x, wide, weights, columns,
                                 np.bool_(False), start[i] == start[i + 1], data)
            nearest, couplings = 1e300, 0
            for t in range(start[i], start[i + 1]):
                j = index[t]
                dy, dx = cy - spots[j, Y], cx - spots[j, X]
                hy = cross_sums(rows_y, y0, ny, spots[j, Y], s, factor)
                hx = cross_sums(rows_x, x0, nx, spots[j, X], s, factor)
                distance = dy * dy + dx * dx
                if distance < close and slot[j] >= 0:
                    coupling(hy, hx, dy, dx, solver, block, pairs)
                    column[pairs] = slot[j]
                    pairs += 1
                    couplings += 1
                    nearest = min(nearest, distance)
                else:
                    q = spots[j, AMPLITUDE]
                    data[P_AMPLITUDE] -= q * hy[0] * hx[0]
                    data[P_BACKGROUND] -= q * hy[3] * hx[3]
                    data[P_Y] -= q * hy[1] * hx[0]
                    data[P_X] -= q * hy[0] * hx[1]
            left = squares
            for q in range(4):
                total = 0.0
                for r in range(4):
                    total += solver[q, r] * data[r]
                base[k, q] = total
                left -= total * data[q]
            spots[i, MISFIT] = max(left, 0.0) / max(ny * nx - 4, 1)
            if not couplings:
                for q in range(4):
                    now[k, q] = base[k, q]
            elif couplings <= 3:
                relaxation[k] = _relaxation(math.sqrt(nearest) / w)
        first[count] = pairs
        _solve_by_turns(spots, member[:count], system, now, rest)
        _move(spots, member[:count], now, stride)
    return most


@njit(cache=True, nogil=True, error_model="numpy")
def _solve_by_turns(spots, member, system, now, rest):
    """`now` (K, 4) becomes the solution of the `LinearSystem` of the spots `member` (over-relaxed Gauss-Seidel).

    A spot that did not move, and whose neighbours did not, is passed over; moves below `rest` (N,) [px] do not count.
    """
    count = member.size
    first, column, block, base, relaxation = system
    due = first[:count] < first[1:count + 1]
    for _ in range(_TURNS):
        moving = False
        for k in range(count):
            if not due[k]:
                continue
            due[k] = False
            amplitude, background = base[k, P_AMPLITUDE], base[k, P_BACKGROUND]
            y, x = base[k, P_Y], base[k, P_X]
            for t in range(first[k], first[k + 1]):
                j = column[t]
                p, q, r = now[j, P_AMPLITUDE], now[j, P_Y], now[j, P_X]
                amplitude -= block[t, 0] * p + block[t, 1] * q + block[t, 2] * r
                background -= block[t, 3] * p + block[t, 4] * q + block[t, 5] * r
                y -= block[t, 6] * p + block[t, 7] * q + block[t, 8] * r
                x -= block[t, 9] * p + block[t, 10] * q + block[t, 11] * r
            w, f = spots[member[k], WIDTH], relaxation[k]
            da, dy, dx = amplitude - now[k, P_AMPLITUDE], y - now[k, P_Y], x - now[k, P_X]
            # no light is negative: what keeps a packing from swinging
            light = max(now[k, P_AMPLITUDE] + f * da, 0.0)
            now[k, P_AMPLITUDE] = light
            now[k, P_BACKGROUND] += f * (background - now[k, P_BACKGROUND])
            now[k, P_Y], now[k, P_X] = _limited(now[k, P_Y] + f * dy, now[k, P_X] + f * dx, 0.5 / w * light)
            if max(abs(dy), abs(dx), abs(da) / w) * w * w > _SOLVED * rest[member[k]] * max(light, 1e-9):
                moving = True
                due[k] = True
                for t in range(first[k], first[k + 1]):
                    due[column[t]] = True
        if not moving:
            break


@njit(cache=True, nogil=True)
def _limited(a, b, limit):
    """The vector (a, b) cut to the length `limit`."""
    if a * a + b * b <= limit * limit:
        return a, b
    part = limit / math.hypot(a, b)                        # a call: root and division are not done for those within
    return a * part, b * part


@njit(cache=True, nogil=True, error_model="numpy")
def _move(spots, member, solution, stride):
    """Spots `member` (K,) moved towards their rows of the solution, half a width at most; half as far where that takes
    back the last move.

    `stride` (N, 2) holds the last moves. What does not look like the model goes too far, back and forth for ever.
    """
    for k in range(member.size):
        i = member[k]
        w, amplitude = spots[i, WIDTH], solution[k, P_AMPLITUDE]
        if amplitude <= 0.0:
            spots[i, AMPLITUDE], spots[i, MOVE] = amplitude, 0.0
            spots[i, BACKGROUND] += solution[k, P_BACKGROUND]
            continue
        scale = w * w / amplitude
        dy, dx = solution[k, P_Y] * scale, solution[k, P_X] * scale
        far = math.sqrt(dy * dy + dx * dx)
        part = min(1.0, 0.5 * w / far) if far > 0.0 else 1.0
        back = dy * stride[i, Y] + dx * stride[i, X]
        if back < -0.5 * (stride[i, Y] ** 2 + stride[i, X] ** 2):
            part *= 0.5
        spots[i, Y] += part * dy
        spots[i, X] += part * dx
        spots[i, AMPLITUDE] += part * (amplitude - spots[i, AMPLITUDE])
        spots[i, BACKGROUND] += part * solution[k, P_BACKGROUND]
        spots[i, MOVE] = part * far
        stride[i, Y], stride[i, X] = part * dy, part * dx
