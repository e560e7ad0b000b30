"""Conjugate gradients on the weighted graph of pairs; the matrix is never formed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from vid2dyn.core.errors import ModelError


def conjugate_gradients(apply: Callable[[torch.Tensor], torch.Tensor], right: torch.Tensor, *,
                        tolerance: float = 1e-12, limit: int = 1000) -> tuple[torch.Tensor, int]:
    """x with A x = right for a symmetric positive definite A; (x, iterations).

    Parameters
    ----------
    apply : callable
        x to A x, tensors of the shape of `right`.
    right : tensor
        Any shape.
    tolerance : float
        Of |A x - right| relative to |right|.

    Raises
    ------
    ModelError
        When A is not positive definite or the iteration does not end.

    Examples
    --------
    >>> x, _ = conjugate_gradients(lambda x: 4 * x, torch.ones(3, dtype=torch.float64))
    >>> x.tolist()
    [0.25, 0.25, 0.25]
    """
    x = torch.zeros_like(right)
    residual, direction = right, right
    square = float((residual * residual).sum())
    goal = tolerance**2 * square
    for iteration in range(limit):
        if square <= goal:
            return x, iteration
        image = apply(direction)
        bend = float((direction * image).sum())
        if not bend > 0:
            break
        along = square / bend
        x = x + along * direction
        residual = residual - along * image
        new = float((residual * residual).sum())
        direction = residual + (new / square) * direction
        square = new
    raise ModelError("the implicit step has no solution (not finite, or friction that feeds energy in: a heat capacity "
                     "below 1 kB makes the pair temperature negative). Take a smaller dt, or a larger heat capacity.")
