"""Conjugate gradients for compiled loops: one loop, put together by its caller from compiled parts.

Plain numba. The loop is not cached by itself: it is compiled into its callers, whose caches hold it.
"""

from __future__ import annotations

import math

from numba import njit


@njit(inline="always", error_model="numpy")
def conjugate_gradients(apply, precondition, dot, advance, turn, operator, vectors,
                        tolerance, limit):  # type: ignore[no-untyped-def]
    """Solve A x = right for a symmetric positive A; returns the number of iterations, -1 if they do not end.

    Parameters
    ----------
    apply, precondition, dot, advance, turn : compiled functions
        apply(operator, x, out): out = A x.
        precondition(operator, residual, out): an approximate A⁻¹ residual, in `out` or in an array of its own.
        dot(a, b): the scalar product.
        advance(step, direction, image, x, residual): x += step direction, residual -= step image.
        turn(factor, z, direction): direction = z + factor direction.
    operator : tuple
        What `apply` and `precondition` need.
    vectors : tuple of (n, k) arrays
        residual, which starts as the right-hand side; x, direction, image and scratch. All are overwritten.
    tolerance : float
        Of the residual in the norm of the preconditioner, relative to that of the right-hand side.
    limit : int
        Most iterations.
    """
    residual, x, direction, image, scratch = vectors
    z = precondition(operator, residual, scratch)
    for i in range(len(x)):
        for c in range(x.shape[1]):
            x[i, c], direction[i, c] = 0.0, z[i, c]
    size = dot(residual, z)
    goal = tolerance * tolerance * size
    for iteration in range(limit):
        if size <= goal:
            return iteration
        apply(operator, direction, image)
        step = size / dot(direction, image)
        if not math.isfinite(step):
            return -1
        advance(step, direction, image, x, residual)
        z = precondition(operator, residual, scratch)
        new = dot(residual, z)
        turn(new / size, z, direction)
        size = new
    return -1


@njit(inline="always")
def unchanged(operator, residual, out):  # type: ignore[no-untyped-def]
    """No preconditioner."""
    return residual
