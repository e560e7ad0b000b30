"""What compiled loops need of numpy, in a form that compiles quickly: selection and copies.

numba's own `np.median`, `np.percentile`, `np.partition` and `np.sort` give the same numbers, but take one to three
seconds each to compile in every program that calls them for the first time; these take a tenth. So does `a[:] = b`
with an array b: two seconds, for the words of an error about unequal shapes.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def numbers_of(mask):
    """The numbers (M,) int64 of the entries of a boolean array that are True.

    Examples
    --------
    >>> numbers_of(np.array([True, False, True])).tolist()
    [0, 2]
    """
    numbers, count = np.empty(mask.size, np.int64), 0
    for i in range(mask.size):
        if mask[i]:
            numbers[count] = i
            count += 1
    return numbers[:count].copy()


@njit(cache=True, nogil=True)
def copy_rows(values, out):
    """out[:] = values, for (n, k) arrays.

    Examples
    --------
    >>> import numpy as np
    >>> out = np.zeros((1, 2))
    >>> copy_rows(np.array([[1.0, 2.0]]), out)
    >>> out.tolist()
    [[1.0, 2.0]]
    """
    for i in range(values.shape[0]):
        for c in range(values.shape[1]):
            out[i, c] = values[i, c]


@njit(cache=True, nogil=True)
def nth_smallest(values, n):
    """The n-th smallest of `values`, counted from 0, which are rearranged: smaller ones before place n, larger after.

    Hoare's FIND (Commun. ACM 4, 321, 1961), its parts made by exchanges without a branch (N. Lomuto): what a number
    is compared with is chance, and a branch on chance costs more than the exchange.

    Parameters
    ----------
    values : (N,) float64 array, C-contiguous
        Without NaN; rearranged.
    n : int
        0 <= n < N.

    Examples
    --------
    >>> import numpy as np
    >>> nth_smallest(np.array([3.0, 1.0, 2.0, 5.0]), 1)
    2.0
    """
    low, high = 0, values.size - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot, below = max(min(a, b), min(max(a, b), c)), low
        for i in range(low, high + 1):
            kept = values[i]
            values[i] = values[below]
            values[below] = kept
            below += kept < pivot
        if n < below:
            high = below - 1
            continue
        above = below
        for i in range(below, high + 1):                   # those alike: a grey level may be that of most
            kept = values[i]
            values[i] = values[above]
            values[above] = kept
            above += kept <= pivot
        if n < above or above == below:                    # the latter: NaN
            break
        low = above
    return values[n]


@njit(cache=True, nogil=True)
def median(values):
    """The median of `values`, which are rearranged; of an even number the mean of the two in the middle.

    Parameters
    ----------
    values : (N,) float64 array, C-contiguous
        N > 0, without NaN; rearranged.

    Examples
    --------
    >>> import numpy as np
    >>> median(np.array([3.0, 1.0, 2.0, 5.0]))
    2.5
    """
    half = values.size // 2
    upper = nth_smallest(values, half)
    if values.size % 2:
        return upper
    lower = values[0]                                      # the largest of those before
    for i in range(1, half):
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)


@njit(cache=True, nogil=True)
def quantile(values, part):
    """The quantile of `values` as numpy has it, between two of them; they are rearranged.

    Parameters
    ----------
    values : (N,) float64 array, C-contiguous
        N > 0, without NaN; rearranged.
    part : float
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> quantile(np.array([3.0, 1.0, 2.0, 5.0]), 0.25)
    1.75
    """
    place = part * (values.size - 1)
    n = int(place)
    lower = nth_smallest(values, n)
    if n + 1 == values.size:
        return lower
    upper = values[n + 1]                                  # the smallest of those after
    for i in range(n + 2, values.size):
        upper = min(upper, values[i])
    return lower * (1 - (place - n)) + upper * (place - n)
