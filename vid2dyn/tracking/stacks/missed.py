"""Spots that fitting left over: where two are one maximum, the dimmer stands in the residual of the brighter."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.tracking.stacks.gaussians import (
    AMPLITUDE,
    BACKGROUND,
    CHI2,
    MOVE,
    SPOT_COLUMNS,
    UNSETTLED,
    VOXELS,
    X,
    Y,
    Z,
    add_spot,
    axial,
    lateral,
    longest,
    window,
)

_MISFIT = 4.0                     # standard deviations of its chance value by which a misfit is looked into
_AROUND, _KERNEL = 3.0, 1.5       # widths searched around the spot; widths of the spot that is searched for
_BRIGHT = 0.03                    # of the spot beside it: of two that were fitted as one hardly anything is left over
_SHARE = 0.4                      # of its brightness that the new one starts with, at least


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def left_over(stack, spots, start, neighbour, w, u, noise_model, full, least):
    """Starting values of spots in the residuals of those that fit badly, (M, `SPOT_COLUMNS`).

    The brightness a of a spot at voxel m that fits the residuals r best is Σ r p/v over Σ p²/v (p its shape, v the
    variance); where a is `least` standard errors, 1/√(Σ p²/v), there is one. One is taken beside each spot at a time.
    """
    depth, height, width = stack.shape
    offset, gain, floor = noise_model
    room = longest(w, u)
    profile = np.empty((6, room), np.float32)
    residual, weights = np.empty((room, room, room), np.float32), np.empty((room, room, room), np.float32)
    out, count = np.empty((len(spots), SPOT_COLUMNS)), 0
    kz, ky = math.ceil(_KERNEL * u), math.ceil(_KERNEL * w)
    pz, py, slope = np.empty(2 * kz + 1), np.empty(2 * ky + 1), np.empty(2 * max(kz, ky) + 1)
    axial(float(kz), 0, 2 * kz + 1, u, pz, slope)
    lateral(float(ky), 0, 2 * ky + 1, w, py, slope)
    for i in range(len(spots)):
        if spots[i, AMPLITUDE] <= 0.0 or spots[i, CHI2] < 1.0 + _MISFIT * math.sqrt(2.0 / max(spots[i, VOXELS], 1.0)):
            continue
        z0, nz = window(spots[i, Z], u, depth, _AROUND)
        y0, ny = window(spots[i, Y], w, height, _AROUND)
        x0, nx = window(spots[i, X], w, width, _AROUND)
        model, weight = residual[:nz, :ny, :nx], weights[:nz, :ny, :nx]
        model[:, :, :] = spots[i, BACKGROUND]
        add_spot(model, spots[i], spots[i, AMPLITUDE], y0, x0, z0, w, u, profile)
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            if spots[j, AMPLITUDE] > 0.0:
                add_spot(model, spots[j], spots[j, AMPLITUDE], y0, x0, z0, w, u, profile)
        for c in range(nz):
            for a in range(ny):
                for b in range(nx):
                    grey = np.float32(stack[z0 + c, y0 + a, x0 + b])
                    weight[c, a, b] = 1.0 / max(offset + gain * model[c, a, b], floor) if grey < full else 0.0
                    model[c, a, b] = (grey - model[c, a, b]) * weight[c, a, b]
        best, found, bright = least * least, (0, 0, 0), 0.0
        for c in range(nz):
            for a in range(ny):
                for b in range(nx):
                    if model[c, a, b] <= 0.0:              # a maximum of the residual is bright itself
                        continue
                    up = down = 0.0
                    for dc in range(max(-kz, -c), min(kz, nz - 1 - c) + 1):
                        for da in range(max(-ky, -a), min(ky, ny - 1 - a) + 1):
                            q = pz[dc + kz] * py[da + ky]
                            for db in range(max(-ky, -b), min(ky, nx - 1 - b) + 1):
                                p = q * py[db + ky]
                                up += p * model[c + dc, a + da, b + db]
                                down += p * p * weight[c + dc, a + da, b + db]
                    if up > 0.0 and down > 0.0 and up * up / down > best:
                        best, found, bright = up * up / down, (c, a, b), up / down
        if bright > _BRIGHT * spots[i, AMPLITUDE]:
            out[count, Z], out[count, Y], out[count, X] = z0 + found[0], y0 + found[1], x0 + found[2]
            out[count, AMPLITUDE] = max(bright, _SHARE * spots[i, AMPLITUDE])
            out[count, BACKGROUND], out[count, MOVE] = spots[i, BACKGROUND], UNSETTLED
            out[count, CHI2:] = 0.0
            count += 1
    return out[:count]
