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


@numba.njit(cache=True, nogil=True)
def _box(occupied, position, felt, reach, accept, trials, state):  # type: ignore[no-untyped-def]
    """Exclusion with a box kernel: felt[i] counts the particles within `reach` of i and stands for U_i.

    A hop i -> j = i + s changes four counts: i - s reach and j lose one, i and j + s reach gain one.
    """
    n, particles = len(occupied), len(position)
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        p = _below(word, particles)
        i = position[p]
        low = word & _LOW
        right = (low & _1) == _1
        if right:
            j = i + 1
            if j == n:
                j = 0
        else:
            j = i - 1
            if j < 0:
                j = n - 1
        if occupied[j] or (low >> _1) >= accept[felt[i]]:
            continue
        occupied[i] = 0
        occupied[j] = 1
        position[p] = j
        if reach > 0:
            far, gone = (j + reach, i - reach) if right else (j - reach, i + reach)
            if far >= n:
                far -= n
            elif far < 0:
                far += n
            if gone < 0:
                gone += n
            elif gone >= n:
                gone -= n
            felt[gone] -= 1
            felt[j] -= 1
            felt[i] += 1
            felt[far] += 1
    return state


@numba.njit(cache=True, nogil=True)
def _short(occupied, position, reach, accept, trials, state):  # type: ignore[no-untyped-def]
    """Exclusion with any kernel of short range: U_i is looked up by the 2 reach neighbours of i as a bit pattern."""
    n, particles = len(occupied), len(position)
    for _ in range(trials):
        state += _GOLDEN
        word = _word(state)
        p = _below(word, particles)
        i = position[p]
        low = word & _LOW
        j = i + 1 if (low & _1) == _1 else i - 1
        if j == n:
            j = 0
        elif j < 0:
            j = n - 1
        if occupied[j]:
            continue
        pattern = 0
        for r in range(1, reach + 1):
            a, b = i - r, i + r
            if a < 0:
                a += n
            if b >= n:
                b -= n
            pattern = (pattern << 2) | (occupied[a] << 1) | occupied[b]
        if (low >> _1) < accept[pattern]:
            occupied[i] = 0
            occupied[j] = 1
            position[p] = j
    return state


@numba.njit(cache=True, parallel=True)
def exclusion(values, trials, seeds, box, reach, accept):  # type: ignore[no-untyped-def]
    """Run all realisations: values (R, T, N) holds the starts in [:, 0] and receives the states at later times.

    `trials` (R, T - 1), `seeds` (R,) uint64; `accept` thresholds by count (box) or by pattern (not box).
    """
    realisations, times, n = values.shape
    for k in numba.prange(realisations):
        occupied = values[k, 0].copy()
        position = np.flatnonzero(occupied)
        felt = np.zeros(n, np.int32)
        if box and reach > 0:
            _recount(occupied, reach, felt)
        state = seeds[k]
        for t in range(1, times):
            if len(position):
                if box:
                    state = _box(occupied, position, felt, reach, accept, trials[k, t - 1], state)
                else:
                    state = _short(occupied, position, reach, accept, trials[k, t - 1], state)
            values[k, t] = occupied


@numba.njit(cache=True)
def _recount(occupied, reach, felt):  # type: ignore[no-untyped-def]
    """felt[i] = particles within `reach` of i on the ring, i itself left out."""
    n = len(occupied)
    for i in range(n):
        felt[i] = 0
        for r in range(1, reach + 1):
            felt[i] += occupied[(i + r) % n] + occupied[(i - r) % n]


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
                if count[i] == 0:
                    continue
                j = i + 1 if (word & _1) == _1 else i - 1
                if j == n:
                    j = 0
                elif j < 0:
                    j = n - 1
                count[i] -= 1
                count[j] += 1
                if not constant:
                    position[p] = j
            values[k, t] = count
