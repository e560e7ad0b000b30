"""The cheapest way to pair rows with columns when a row may also stay alone, exactly.

    minimise  sum over paired rows of cost(row, column)  +  sum over rows alone of alone(row)

every column in at most one pair. Shortest augmenting paths with node potentials (Jonker and Volgenant, Computing 38,
325 (1987)) on a sparse table: a search sees only what competes with the row at hand, so that n rows cost about n
where a dense method costs n³. The worst case remains; `budget` bounds it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

UNPAIRED = -1


class Choices(NamedTuple):
    """What every row may take, as `assign` has it: columns ``column[start[i]:start[i + 1]]`` at `cost`, or none."""

    start: np.ndarray
    column: np.ndarray
    cost: np.ndarray
    alone: np.ndarray


class Matching(NamedTuple):
    """Pairs so far, and the node potentials that prove them the cheapest.

    `pair` (rows,) is the column of each row and `holder` (columns,) the row of each column, `UNPAIRED` for none;
    cost - row_price - column_price >= 0 for every choice, 0 for pairs.
    """

    pair: np.ndarray
    holder: np.ndarray
    row_price: np.ndarray
    column_price: np.ndarray


class Search(NamedTuple):
    """Memory of a search for the cheapest chain of changes, by column, left as it was found.

    `distance` is the least reduced cost of a chain to the column (inf: not reached), `origin` the row it comes from,
    `settled` whether that is final; `heap` and `keys` hold the queue, `reached` the columns that have a distance.
    """

    distance: np.ndarray
    origin: np.ndarray
    settled: np.ndarray
    heap: np.ndarray
    keys: np.ndarray
    reached: np.ndarray


@njit(cache=True, nogil=True)
def assign(start: np.ndarray, column: np.ndarray, cost: np.ndarray, alone: np.ndarray, n_columns: int,
           budget: int) -> tuple[np.ndarray, int, int]:
    """Pair rows with columns at the least total cost.

    Parameters
    ----------
    start, column : int64 arrays
        Row i may take ``column[start[i]:start[i + 1]]``, each at most once.
    cost : float array
        Of each of those pairs.
    alone : (rows,) float array
        Cost of leaving a row alone.
    n_columns : int
        Columns there are.
    budget : int
        Pairs looked at before the rows not yet settled take the cheapest column that is free, or none.

    Returns
    -------
    pair : (rows,) int64 array
        Column of each row, -1 where it stays alone.
    work : int
        Pairs looked at.
    unsettled : int
        Rows for which the budget did not suffice; 0 means that the result is the optimum.

    Examples
    --------
    Two particles, two features: the nearer pair would leave the other particle alone, at a cost of 9.

    >>> start, column, cost = np.array([0, 2, 3]), np.array([0, 1, 0]), np.array([1.0, 4.0, 2.0])
    >>> assign(start, column, cost, np.array([9.0, 9.0]), 2, 1000)[0].tolist()
    [1, 0]
    """
    n = len(start) - 1
    choices = Choices(start, column, cost, alone)
    matching = Matching(np.full(n, UNPAIRED, np.int64), np.full(n_columns, UNPAIRED, np.int64), np.empty(n),
                        np.zeros(n_columns))
    pair, holder, row_price, _ = matching
    waiting, n_waiting = np.empty(n, np.int64), 0
    for i in range(n):                              # every row takes its cheapest choice if that is free
        best, choice = alone[i], UNPAIRED
        for k in range(start[i], start[i + 1]):
            if cost[k] < best:
                best, choice = cost[k], column[k]
        row_price[i] = best
        if choice != UNPAIRED:
            if holder[choice] == UNPAIRED:
                pair[i], holder[choice] = choice, i
            else:
                waiting[n_waiting] = i
                n_waiting += 1
    search = Search(np.full(n_columns, np.inf), np.empty(n_columns, np.int64), np.zeros(n_columns, np.bool_),
                    np.empty(len(column) + 1, np.int64), np.empty(len(column) + 1), np.empty(n_columns, np.int64))
    work = unsettled = 0
    for w in range(n_waiting):
        i = waiting[w]
        if work > budget:
            unsettled += 1
            _take_free(i, choices, pair, holder)
        else:
            work += _augment(i, choices, matching, search)
    return pair, work, unsettled


@njit(cache=True, nogil=True)
def _take_free(i: int, choices: Choices, pair: np.ndarray, holder: np.ndarray) -> None:
    start, column, cost, alone = choices
    best = alone[i]
    for k in range(start[i], start[i + 1]):
        if cost[k] < best and holder[column[k]] == UNPAIRED:
            best, pair[i] = cost[k], column[k]
    if pair[i] != UNPAIRED:
        holder[pair[i]] = i


@njit(cache=True, nogil=True)
def _augment(first: int, choices: Choices, matching: Matching, search: Search) -> int:
    """Give row `first` a place along the cheapest chain of changes; how many pairs were looked at.

    Dijkstra on reduced costs cost - row_price - column_price >= 0. A chain ends at a free column, or at a row that
    gives up its column and stays alone.
    """
    start, column, cost, alone = choices
    pair, holder, row_price, column_price = matching
    distance, origin, settled, heap, keys, reached = search
    i, here, n_reached, work = first, 0.0, 0, 0
    size: int = np.int64(0)  # type: ignore[assignment]                # not literals: what they go to is compiled once
    end_column: int = np.int64(UNPAIRED)  # type: ignore[assignment]
    end_row, best = UNPAIRED, np.inf
    while True:
        to_alone = here + alone[i] - row_price[i]
        if to_alone < best:
            best, end_row, end_column = to_alone, i, UNPAIRED
        for k in range(start[i], start[i + 1]):
            work += 1
            j = column[k]
            if settled[j]:
                continue
            through = here + cost[k] - row_price[i] - column_price[j]
            if through < distance[j] and through < best:
                if distance[j] == np.inf:
                    reached[n_reached] = j
                    n_reached += 1
                distance[j], origin[j] = through, i
                if holder[j] == UNPAIRED:
                    best, end_row, end_column = through, i, j
                else:
                    size = _push(heap, keys, size, through, j)
        j = UNPAIRED
        while size > 0 and j == UNPAIRED:
            key, top = keys[0], heap[0]
            size = _pop(heap, keys, size)
            if not settled[top] and key == distance[top]:
                j = top
        if j == UNPAIRED or distance[j] >= best:
            break
        settled[j] = True
        here, i = distance[j], holder[j]
    row_price[first] += best
    for s in range(n_reached):                         # prices that keep every reduced cost >= 0, and pairs at 0
        j = reached[s]
        if settled[j]:
            row_price[holder[j]] += best - distance[j]
            column_price[j] -= best - distance[j]
    _apply_chain(first, end_row, end_column, pair, holder, origin)
    for s in range(n_reached):
        distance[reached[s]], settled[reached[s]] = np.inf, False
    return work


@njit(cache=True, nogil=True)
def _apply_chain(first: int, row: int, place: int, pair: np.ndarray, holder: np.ndarray, origin: np.ndarray) -> None:
    """Every row along the chain takes over the column that the next one leaves; the last takes `place`."""
    while True:
        left = pair[row]
        pair[row] = place
        if place != UNPAIRED:
            holder[place] = row
        if row == first:
            return
        place, row = left, origin[left]


@njit(cache=True, nogil=True)
def _push(heap: np.ndarray, keys: np.ndarray, size: int, key: float, value: int) -> int:
    at = size
    while at > 0 and keys[(at - 1) // 2] > key:
        keys[at], heap[at] = keys[(at - 1) // 2], heap[(at - 1) // 2]
        at = (at - 1) // 2
    keys[at], heap[at] = key, value
    return size + 1


@njit(cache=True, nogil=True)
def _pop(heap: np.ndarray, keys: np.ndarray, size: int) -> int:
    size -= 1
    key, value, at = keys[size], heap[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[at], heap[at] = keys[child], heap[child]
        at = child
    keys[at], heap[at] = key, value
    return size
