"""Radial friction functions as cubic B-splines, compiled: values of a spline and the transpose of it."""

from __future__ import annotations

from numba import njit


@njit(cache=True)
def spline(u, coefficients, knots, out):  # type: ignore[no-untyped-def]
    """Cubic B-splines of u in [0, 1] on `knots` even intervals, times (1 - u)²: rows of coefficients (k, knots + 3)."""
    for p in range(u.shape[0]):
        k, b = basis(u[p], knots)
        for row in range(coefficients.shape[0]):
            t = 0.0
            for m in range(4):
                t += b[m] * coefficients[row, k + m]
            out[row, p] = t


@njit(cache=True)
def spline_sums(u, weights, knots, out):  # type: ignore[no-untyped-def]
    """The transpose of `spline`: out[row, k] += sum over pairs of weights[row, pair] times the k-th function."""
    for p in range(u.shape[0]):
        k, b = basis(u[p], knots)
        for row in range(weights.shape[0]):
            for m in range(4):
                out[row, k + m] += b[m] * weights[row, p]


@njit(cache=True, inline="always")
def basis(u, knots):  # type: ignore[no-untyped-def]
    """First of the four functions that live at u, and their values."""
    place = min(max(u, 0.0), 1.0) * knots
    k = min(int(place), knots - 1)
    t = place - k
    fall = max(1.0 - u, 0.0) ** 2 / 6.0
    s = 1.0 - t
    return k, (fall * s * s * s, fall * (3.0 * t * t * t - 6.0 * t * t + 4.0),
               fall * (-3.0 * t * t * t + 3.0 * t * t + 3.0 * t + 1.0), fall * t * t * t)
