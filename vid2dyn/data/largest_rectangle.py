"""The largest upright rectangle inside a mask, compiled: the stack of rising heights under every row."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def largest_rectangle(mask):
    """First row and column, height and width of the largest rectangle of pixels that are all True.

    >>> largest_rectangle(np.array([[True, True, False], [True, True, True]]))
    (0, 0, 2, 2)
    """
    rows, columns = mask.shape
    height = np.zeros(columns + 1, np.int64)                  # the last one stays 0 and empties the stack
    first, tall = np.empty(columns + 2, np.int64), np.empty(columns + 2, np.int64)
    best, where = 0, (0, 0, 0, 0)
    for row in range(rows):
        depth = 0
        for column in range(columns + 1):
            if column < columns:
                height[column] = height[column] + 1 if mask[row, column] else 0
            begin = column
            while depth > 0 and tall[depth - 1] >= height[column]:
                depth -= 1
                begin = first[depth]
                area = tall[depth] * (column - begin)
                if area > best:
                    best = area
                    where = (row - tall[depth] + 1, begin, tall[depth], column - begin)
            if height[column] > 0:
                first[depth], tall[depth] = begin, height[column]
                depth += 1
    return where
