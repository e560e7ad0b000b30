"""Compiled lattice processes: uniformisation, one realisation at a time, threads over realisations.

A trial picks a particle and a side and accepts with exp(-U)/r_max if the target is empty (exclusion), or picks a site
and a side (zero range). The number of trials in a time is Poisson; no clock and no list is needed and the law is exact
(Jensen's uniformisation). One 64-bit word a trial: the particle from the upper half, side and acceptance from the
lower. Every realisation has its own splitmix64 stream, so threads change nothing.
"""

from __future__ import annotations

import numba
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32, _1 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32), np.uint64(1)
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
    """Whole number in [0, n) from the upper half of a word (bias n/2^32)."""
    return np.int64(((word >> _32) * np.uint64(n)) >> _32)


def thresholds(acceptance: np.ndarray) -> np.ndarray:
    """Acceptance probabilities as 31-bit thresholds."""
    return np.minimum(np.round(acceptance * CERTAIN), CERTAIN).astype(np.uint64)


@numba.njit(cache=True, inline="always")
def _on_ring(i, n):  # type: ignore[no-untyped-def]
    """i in [-n, 2n) back on the ring; a conditional move, not a branch."""
    i = i - n if i >= n else i
    return i + n if i < 0 else i


@numba.njit(cache=True, inline="always")
def _pattern(occupied, i, side, reach):  # type: ignore[no-untyped-def]
    """Neighbours of i as bits: first the one behind (ahead is the target, empty), then left and right, ever farther."""
    n, pattern = len(occupied), np.int64(0)
    if reach > 0:
        pattern = np.int64(occupied[_on_ring(i - side, n)])
        for r in range(2, reach + 1):
            left, right = np.int64(occupied[_on_ring(i - r, n)]), np.int64(occupied[_on_ring(i + r, n)])
            pattern = (pattern << 2) | (left << 1) | right
    return pattern


@numba.njit(cache=True, nogil=True)
def _exclusion(occupied, position, felt, counted, reach, accept, trials, state):  # type: ignore[no-untyped-def]
    """Trials of one realisation; returns the state of its stream.

    U_i is looked up by felt[i], the particles within `reach` of i (`counted`: box kernels), or by their pattern. Half
    of all trials fail, at random: branches on them would be guessed wrong every other time (three times slower), so a
    failed trial writes back what was there. A hop i -> j = i + side changes four counts, whatever the reach:
    i - side reach and j lose one, i and j + side reach gain one.
    """
    n, particles = len(occupied), len(position)
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        p = _below(word, particles)
        i = position[p]
        low = word & _LOW
        side = np.int64((low & _1) << _1) - 1
        j = _on_ring(i + side, n)
        row = np.int64(felt[i]) if counted else _pattern(occupied, i, side, reach)
        hop = np.int64((low >> _1) < accept[row]) & (1 - np.int64(occupied[j]))
        occupied[i] -= hop
        occupied[j] += hop
        position[p] = i + hop * (j - i)
        if counted:
            felt[_on_ring(i - side * reach, n)] -= hop
            felt[j] -= hop
            felt[i] += hop
            felt[_on_ring(j + side * reach, n)] += hop
    return state


@numba.njit(cache=True, parallel=True)
def exclusion(values, trials, seeds, counted, reach, accept):  # type: ignore[no-untyped-def]
    """Run all realisations: values (R, T, N) holds the starts in [:, 0] and receives the states at later times.

    `trials` (R, T - 1), `seeds` (R,) uint64; `accept` thresholds by count (`counted`) or by pattern.
    """
    realisations, times, n = values.shape
    for k in numba.prange(realisations):
        occupied = values[k, 0].copy()
        position = np.flatnonzero(occupied)
        felt = np.zeros(n, np.int32)
        if counted:
            _recount(occupied, reach, felt)
        state = seeds[k]
        for t in range(1, times):
            if len(position):
                state = _exclusion(occupied, position, felt, counted, reach, accept, trials[k, t - 1], state)
            values[k, t] = occupied


@numba.njit(cache=True)
def _recount(occupied, reach, felt):  # type: ignore[no-untyped-def]
    """felt[i] = particles within `reach` of i on the ring, i itself left out."""
    n = len(occupied)
    within = np.int64(0)
    for r in range(-reach, reach + 1):
        within += np.int64(occupied[_on_ring(r, n)])
    for i in range(n):
        felt[i] = within - np.int64(occupied[i])
        within += np.int64(occupied[_on_ring(i + 1 + reach, n)]) - np.int64(occupied[_on_ring(i - reach, n)])


@numba.njit(cache=True, parallel=True)
def zero_range(values, trials, seeds, constant):  # type: ignore[no-untyped-def]
    """As `exclusion`, for particles that ignore each other: a site is picked where its rate is constant (hop if
    anybody is there), a particle where walkers are independent."""
    realisations, times, n = values.shape
    for k in numba.prange(realisations):
        count = values[k, 0].copy()
        position = np.repeat(np.arange(n), count)
        state = seeds[k]
        for t in range(1, times):
            for _ in range(trials[k, t - 1]):
                state += _GOLDEN
                word = _word(state)
                p = _below(word, n if constant else len(position))
                i = p if constant else position[p]
                hop = count[i] > 0
                j = _on_ring(i + 1 if (word & _1) == _1 else i - 1, n)
                count[i] -= hop
                count[j] += hop
                if not constant:
                    position[p] = j
            values[k, t] = count
