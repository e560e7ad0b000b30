"""Compiled lattice processes: uniformisation, one realisation at a time, threads over realisations.

A trial of exclusion picks a bond and, if one of its two sites is occupied, swaps them with exp(-U)/r_max (a bond with
both or none has no hop to make, so bonds need no list of particles); one of a zero-range process picks a site and a
side. The number of trials in a time is Poisson; no clock is needed and the law is exact (Jensen's uniformisation). One
64-bit word a trial: the bond from the upper half, acceptance (or the side) from the lower. Every realisation has its
own splitmix64 stream, so threads change nothing.

What makes them quick: no branch on chance (half of all trials fail, at random; guessed wrong every other time they cost
three times as much), so a failed trial writes back what was there; and unsigned places, for which no index needs a test
for counting from the end.
"""

from __future__ import annotations

import numba
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)
_LOW = np.uint64(0xFFFFFFFF)
CERTAIN = 2**31
"""A threshold that 31 random bits are always below."""


@numba.njit(cache=True, inline="always")
def _word(state):  # type: ignore[no-untyped-def]
    """splitmix64 (Steele, Lea & Flood, OOPSLA 2014): the word of a counter."""
    z = (state ^ (state >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


@numba.njit(cache=True, inline="always")
def _below(word, n):  # type: ignore[no-untyped-def]
    """Whole number in [0, n) from the upper half of a word (bias n/2^32); unsigned."""
    return ((word >> _32) * n) >> _32


@numba.njit(cache=True, inline="always")
def _under(word, threshold):  # type: ignore[no-untyped-def]
    """1 if 31 bits of the lower half are below the threshold, else 0."""
    return np.uint8(((word & _LOW) >> _1) < threshold)


@numba.njit(cache=True, inline="always")
def _turned(i, n):  # type: ignore[no-untyped-def]
    """i in [0, 2n) back on the ring, by the sign of i - n: a choice would be compiled to a branch on chance."""
    over = np.int64(i) - np.int64(n)
    return np.uint64(over + (np.int64(n) & (over >> np.int64(63))))


def thresholds(acceptance: np.ndarray) -> np.ndarray:
    """Acceptance probabilities as 31-bit thresholds."""
    return np.minimum(np.round(acceptance * CERTAIN), CERTAIN).astype(np.uint64)


@numba.njit(cache=True, nogil=True)
def _free(occupied, trials, state):  # type: ignore[no-untyped-def]
    """Trials without forces: what a bond joins is swapped, always."""
    n = np.uint64(len(occupied))
    for _ in range(trials):
        state += _GOLDEN
        i = _below(_word(state), n)
        j = i + _1
        j = _0 if j == n else j
        occupied[i], occupied[j] = occupied[j], occupied[i]
    return state


@numba.njit(cache=True, nogil=True)
def _nearest(occupied, accept, trials, state):  # type: ignore[no-untyped-def]
    """Trials with forces between neighbours: `accept` by the site behind the particle."""
    n = np.uint64(len(occupied))
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        i = _below(word, n)
        j = i + _1
        j = _0 if j == n else j
        left = (n if i == _0 else i) - _1
        right = j + _1
        right = _0 if right == n else right
        a, b = occupied[i], occupied[j]
        behind = left if a else right
        hop = _under(word, accept[occupied[behind]]) & (a ^ b)
        occupied[i], occupied[j] = a ^ hop, b ^ hop
    return state


@numba.njit(cache=True, nogil=True)
def _patterns(occupied, reach, accept, trials, state):  # type: ignore[no-untyped-def]
    """Trials with `accept` by the pattern around the particle: the site behind, then left and right, ever farther.

    On a copy of the ring with reach + 1 sites more at either end, so that no neighbour needs a turn round it.
    """
    n, pad = np.uint64(len(occupied)), np.uint64(reach + 1)
    ring = np.empty(len(occupied) + 2 * (reach + 1), occupied.dtype)
    for k in range(len(ring)):
        ring[k] = occupied[(k - reach - 1) % len(occupied)]
    inner = _2 * pad
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        i = _below(word, n) + pad
        a, b = ring[i], ring[i + _1]
        row = np.uint64(ring[i - _1 if a else i + _2])
        at = i if a else i + _1
        for r in range(2, reach + 1):
            row = (row << _2) | (np.uint64(ring[at - np.uint64(r)]) << _1) | np.uint64(ring[at + np.uint64(r)])
        hop = _under(word, accept[row]) & (a ^ b)
        ring[i], ring[i + _1] = a ^ hop, b ^ hop
        if i < inner or i >= n:                                               # rare: the ends copy each other
            if i == n + pad - _1:
                ring[pad] = ring[n + pad]
            for k in range(pad):
                ring[k], ring[n + pad + k] = ring[n + k], ring[pad + k]
    for i in range(len(occupied)):
        occupied[i] = ring[reach + 1 + i]
    return state


@numba.njit(cache=True, nogil=True)
def _counts(occupied, near, reach, accept, trials, state):  # type: ignore[no-untyped-def]
    """Trials with `accept` by near[i], the particles within `reach` of i (box kernels).

    A hop i -> j to the right changes four counts, whatever the reach: i - reach and j lose one, i and j + reach gain
    one; a hop back does the opposite.
    """
    n = np.uint64(len(occupied))
    back, ahead = n - np.uint64(reach), np.uint64(reach)
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        i = _below(word, n)
        j = i + _1
        j = _0 if j == n else j
        a, b = occupied[i], occupied[j]
        from_ = i if a else j
        hop = _under(word, accept[np.uint64(near[from_])]) & (a ^ b)
        occupied[i], occupied[j] = a ^ hop, b ^ hop
        gain = np.int32(hop & a) - np.int32(hop & b)
        left, right = i + back, j + ahead
        left, right = _turned(left, n), _turned(right, n)
        near[left] -= gain
        near[j] -= gain
        near[i] += gain
        near[right] += gain
    return state


@numba.njit(cache=True, nogil=True)
def _exclusion(occupied, near, counted, reach, accept, trials, state):  # type: ignore[no-untyped-def]
    """Trials of one realisation; returns the state of its stream. `near` is used for `counted` kernels only."""
    if counted:
        return _counts(occupied, near, reach, accept, trials, state)
    if reach == 0:
        return _free(occupied, trials, state)
    if reach == 1:
        return _nearest(occupied, accept, trials, state)
    return _patterns(occupied, reach, accept, trials, state)


@numba.njit(cache=True, parallel=True)
def exclusion(values, trials, seeds, counted, reach, accept):  # type: ignore[no-untyped-def]
    """Run all realisations: values (R, T, N) holds the starts in [:, 0] and receives the states at later times.

    `trials` (R, T - 1), `seeds` (R,) uint64; `accept` thresholds by count (`counted`) or by pattern.
    """
    realisations, times, n = values.shape
    for k in numba.prange(realisations):
        occupied = values[k, 0].copy()
        near = np.zeros(n, np.int32)
        if counted:
            _recount(occupied, reach, near)
        state = seeds[k]
        for t in range(1, times):
            state = _exclusion(occupied, near, counted, reach, accept, trials[k, t - 1], state)
            for i in range(n):
                values[k, t, i] = occupied[i]


@numba.njit(cache=True)
def _recount(occupied, reach, near):  # type: ignore[no-untyped-def]
    """near[i] = particles within `reach` of i on the ring, i itself left out."""
    n = len(occupied)
    within = np.int64(0)
    for r in range(-reach, reach + 1):
        within += np.int64(occupied[r % n])
    for i in range(n):
        near[i] = within - np.int64(occupied[i])
        within += np.int64(occupied[(i + 1 + reach) % n]) - np.int64(occupied[(i - reach) % n])


@numba.njit(cache=True, nogil=True)
def _piles(count, trials, state):  # type: ignore[no-untyped-def]
    """Trials at a constant rate of every pile: a site is picked, and hops if anybody is there."""
    n = np.uint64(len(count))
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        i = _below(word, n)
        right, left = i + _1, (n if i == _0 else i) - _1
        right = _0 if right == n else right
        j = right if word & _1 else left
        hop = np.int16(count[i] > 0)
        count[i] -= hop
        count[j] += hop
    return state


@numba.njit(cache=True, nogil=True)
def _walkers(count, position, trials, state):  # type: ignore[no-untyped-def]
    """Trials of particles that ignore each other: each of them hops."""
    n, particles = np.uint64(len(count)), np.uint64(len(position))
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        p = _below(word, particles)
        i = position[p]
        right, left = i + _1, (n if i == _0 else i) - _1
        right = _0 if right == n else right
        j = right if word & _1 else left
        count[i] -= 1
        count[j] += 1
        position[p] = j
    return state


@numba.njit(cache=True, parallel=True)
def zero_range(values, trials, seeds, constant):  # type: ignore[no-untyped-def]
    """As `exclusion`, for piles with a constant rate or independent walkers."""
    realisations, times, n = values.shape
    for k in numba.prange(realisations):
        count = values[k, 0].copy()
        position = np.repeat(np.arange(n), count).astype(np.uint64)
        state = seeds[k]
        for t in range(1, times):
            if constant:
                state = _piles(count, trials[k, t - 1], state)
            else:
                state = _walkers(count, position, trials[k, t - 1], state)
            for i in range(n):
                values[k, t, i] = count[i]
