"""Normal equations of a few unknowns, solved by elimination; compiled."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def solve(m, rhs, n, least):
    """rhs[:n] becomes the solution of the symmetric positive system whose upper triangle is m; False where it is
    singular: where elimination leaves a pivot of `least` or below. m is overwritten."""
    for k in range(n):
        if not m[k, k] > least:
            return False
        inverse = 1.0 / m[k, k]
        for i in range(k + 1, n):
            f = m[k, i] * inverse
            for j in range(i, n):
                m[i, j] -= f * m[k, j]
            rhs[i] -= f * rhs[k]
        m[k, k] = inverse
    for k in range(n - 1, -1, -1):
        total = rhs[k]
        for j in range(k + 1, n):
            total -= m[k, j] * rhs[j]
        rhs[k] = total * m[k, k]
    return True
