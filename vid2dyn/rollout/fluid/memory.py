"""Pair memory in a compiled step: a vector ξ of every pair and mode, driven by the relative velocity, damped, random.

    m_i dv_i = ... - sum_j g ξ dt,    dξ = [g v_ij - ξ/τ] dt + sqrt(2 T/τ) dW        (`FrozenMemory`)

The coupling is one mid-point step together with the friction ζ and its noise R. With v̄, ξ̄ the means of before and after

    ξ' = ξ + dt g v̄_ij,  so  ξ̄ = ξ + (dt/2) g v̄_ij
    m_i (v'_i - v_i) = sum_j [R_ij - dt ζ v̄_ij - dt g ξ̄] = sum_j [(R_ij - dt g ξ) - (dt ζ + (dt²/2) g²) v̄_ij]

ξ' is gone from the system for v̄: to the solver of the friction, a mode is a friction (dt/2) g² more and an impulse
-dt g ξ. The coupling changes m v²/2 by -dt ξ̄·g v̄_ij and |ξ|²/2 by ξ̄·(ξ' - ξ) = dt ξ̄·g v̄_ij, so it keeps the sum, and
as a mid-point rule it keeps the variances T/m of v and T of ξ at any dt, with friction and noise beside it. Damping and
noise of ξ follow exactly, ξ -> a ξ + sqrt(T (1 - a²)) N with a = exp(-dt/τ).

At constant velocity this gives ξ̄ = (dt/2) coth(dt/2τ) g v where τ g v is due. g is therefore taken as
g [(2τ/dt) tanh(dt/2τ)]^½: the friction g² τ of slow motions is right at every dt, and for dt ≫ τ the mode becomes the
plain friction g² τ with its noise. Correlations of velocities, and of positions, are of second order in dt: read
backwards in time, the splitting is the same steps in the opposite order, which changes the sign of its error of first
order.

A pair within the cutoff at the end of this step's motion that was not in the step before draws ξ from equilibrium; one
that parted forgets it. All that a pair's ξ gains in energy is taken from the heat of its two particles, half from each,
and what it loses goes there: energy is exact whatever the solver of the friction left over. Whether a pair was together
is kept beside ξ, so the moment when lists are made anew changes nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from vid2dyn.core.pair_noise import normal, pair_key, step_key
from vid2dyn.dynamics.fluid.frozen import FrozenFluid
from vid2dyn.rollout.fluid.lists import Pairs, separation
from vid2dyn.rollout.fluid.lookup import cubic
from vid2dyn.rollout.fluid.state import PairMemory
from vid2dyn.rollout.fluid.tables import cubics, same_rows

CHANNEL = 16
"""First channel of a pair's noise that memory uses: six for each mode, three of the bath and three of the beginning."""


class Modes(NamedTuple):
    """All modes of a model, for one dt.

    table (modes, kinds, intervals, 8): cubics of g across and along, with the factor for dt; keep (modes,): a;
    kind (species, species): number of the kind of a pair; cutoff, temperature.
    """

    table: np.ndarray
    keep: np.ndarray
    kind: np.ndarray
    cutoff: float
    temperature: float


def modes_of(frozen: FrozenFluid, kind: np.ndarray, dt: float) -> Modes | None:
    """None if a model has no memory."""
    if not frozen.memory or frozen.temperature is None:
        return None
    tables = []
    for k in range(frozen.kinds):
        columns = [mode.table[k, :, c:c + 2] for mode in frozen.memory for c in (0, 2)]
        tables.append([cubics(part, frozen.cutoff / (len(part) - 1)) for part in same_rows(columns, frozen.cutoff)])
    parts = np.array(tables)                                            # kinds, 2 modes, intervals, 4
    half = np.array([0.5 * dt / mode.tau for mode in frozen.memory])
    table = np.concatenate([parts[:, ::2], parts[:, 1::2]], axis=3).transpose(1, 0, 2, 3)
    table = table * np.sqrt(np.tanh(half) / half)[:, None, None, None]
    return Modes(np.ascontiguousarray(table), np.exp(-2.0 * half), kind, frozen.cutoff, float(frozen.temperature))


class PairVectors(NamedTuple):
    """Of every pair of a neighbour list: ξ (pairs, modes, 3) and whether it was together at the last step (pairs,).

    ξ means nothing where it was not.
    """

    xi: np.ndarray
    together: np.ndarray

    @classmethod
    def none(cls, pairs: int, modes: int) -> PairVectors:
        """No pair has been together."""
        return cls(np.zeros((pairs, modes, 3)), np.zeros(pairs, np.bool_))


class Grip(NamedTuple):
    """Scratch of one step: g across, and along minus across (pairs, modes, 2), and sum of |ξ|² before it (pairs,)."""

    g: np.ndarray
    before: np.ndarray


@njit(cache=True, parallel=True, error_model="numpy")
def take_hold(lists, e, x, space, species, ids, dim, modes, noise,
              together, xi, g, before, friction, impulse):  # type: ignore[no-untyped-def]
    """`Grip` of every pair at positions x, ξ of pairs that meet; friction += dt²/2 g², impulse -= dt g ξ.

    e (pairs, 3): unit vectors, 0 beyond the cutoff.
    """
    first, second = lists.first, lists.second
    table = modes.table
    per_length = table.shape[2] / modes.cutoff
    dt, kB, seed, step = noise
    shared = step_key(seed, step)
    width = math.sqrt(kB * modes.temperature)
    for p in prange(len(first)):
        i, j = first[p], second[p]
        before[p] = 0.0
        if together[p]:
            for m in range(len(table)):
                before[p] += xi[p, m, 0] ** 2 + xi[p, m, 1] ** 2 + xi[p, m, 2] ** 2
        ex, ey, ez = e[p, 0], e[p, 1], e[p, 2]
        if ex != 0.0 or ey != 0.0 or ez != 0.0:
            dx, dy, dz, _ = separation(x, i, j, space)
            kind, place = modes.kind[species[i], species[j]], math.sqrt(dx * dx + dy * dy + dz * dz) * per_length
            k = min(int(place), table.shape[2] - 1)
            key = pair_key(shared, ids[i], ids[j])
            for m in range(len(table)):
                if not together[p]:
                    for c in range(dim):
                        xi[p, m, c] = width * normal(key, CHANNEL + 6 * m + 3 + c)
                across, along = cubic(table[m, kind], k, 0, place - k), cubic(table[m, kind], k, 4, place - k)
                g[p, m, 0], g[p, m, 1] = across, along - across
                friction[p, 0] += 0.5 * dt * dt * across * across
                friction[p, 1] += 0.5 * dt * dt * (along * along - across * across)
                ahead = dt * (along - across) * (ex * xi[p, m, 0] + ey * xi[p, m, 1] + ez * xi[p, m, 2])
                impulse[p, 0] -= dt * across * xi[p, m, 0] + ahead * ex
                impulse[p, 1] -= dt * across * xi[p, m, 1] + ahead * ey
                impulse[p, 2] -= dt * across * xi[p, m, 2] + ahead * ez
            together[p] = True
        else:
            together[p] = False


@njit(cache=True, parallel=True, error_model="numpy")
def move_on(lists, geometry, ids, v_before, v, jump, dim, modes, noise, g, before,
            together, xi, work):  # type: ignore[no-untyped-def]
    """ξ after the step, from the velocities before and after it; work -= half of what each pair's ξ gained."""
    first, second, e, turns = lists.first, lists.second, geometry.e, geometry.turns
    dt, kB, seed, step = noise
    shared = step_key(seed, step)
    for p in prange(len(first)):
        i, j = first[p], second[p]
        after = 0.0
        if together[p]:
            key = pair_key(shared, ids[i], ids[j])
            wx = 0.5 * (v_before[i, 0] + v[i, 0] - v_before[j, 0] - v[j, 0])
            wy = 0.5 * (v_before[i, 1] + v[i, 1] - v_before[j, 1] - v[j, 1]) - jump * turns[p]
            wz = 0.5 * (v_before[i, 2] + v[i, 2] - v_before[j, 2] - v[j, 2])
            ahead = e[p, 0] * wx + e[p, 1] * wy + e[p, 2] * wz
            for m in range(len(modes.keep)):
                keep, across, line = modes.keep[m], dt * g[p, m, 0], dt * g[p, m, 1] * ahead
                width = math.sqrt(kB * modes.temperature * (1.0 - keep * keep))
                xi[p, m, 0] = keep * (xi[p, m, 0] + across * wx + line * e[p, 0])
                xi[p, m, 1] = keep * (xi[p, m, 1] + across * wy + line * e[p, 1])
                xi[p, m, 2] = keep * (xi[p, m, 2] + across * wz + line * e[p, 2])
                for c in range(dim):
                    xi[p, m, c] += width * normal(key, CHANNEL + 6 * m + c)
                    after += xi[p, m, c] ** 2
        work[p] -= 0.25 * (after - before[p])


@njit(cache=True, parallel=True)
def carry_over(old, old_row, old_xi, old_together, new, start_row, xi, together):  # type: ignore[no-untyped-def]
    """ξ and `together` of the pairs of a new list, from those of the old one.

    start_row (n,): row at the start of a particle in the new order; old_row (n,): row in the old order of that one.
    """
    for p in prange(len(new.first)):
        i, j = old_row[start_row[new.first[p]]], old_row[start_row[new.second[p]]]
        for q in range(old.row[i], old.row[i + 1]):
            if old.second[q] == j:
                together[p] = old_together[q]
                for m in range(xi.shape[1]):
                    for c in range(3):
                        xi[p, m, c] = old_xi[q, m, c]


def vectors_of(memory: PairMemory | None, lists: Pairs, ids: np.ndarray, modes: int) -> PairVectors:
    """What a state remembers, on the pairs of a list."""
    out = PairVectors.none(len(lists.first), modes)
    if memory is None or not len(memory.pairs) or not len(lists.first):
        return out
    names = np.sort(ids)

    def number(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.searchsorted(names, low) * len(names) + np.searchsorted(names, high)

    listed = number(ids[lists.first], ids[lists.second])
    order = np.argsort(listed)
    wanted = number(memory.pairs[:, 0], memory.pairs[:, 1])
    found = order[np.minimum(np.searchsorted(listed, wanted, sorter=order), len(order) - 1)]
    there = listed[found] == wanted
    out.xi[found[there], :, :memory.vectors.shape[2]] = memory.vectors[there]
    out.together[found[there]] = True
    return out


def remembered(vectors: PairVectors, lists: Pairs, ids: np.ndarray, dim: int) -> PairMemory:
    """What a state remembers, pairs in the order of their ids."""
    p = np.flatnonzero(vectors.together)
    names = np.stack([ids[lists.first[p]], ids[lists.second[p]]], axis=1)
    order = np.lexsort((names[:, 1], names[:, 0]))
    return PairMemory(names[order], vectors.xi[p[order], :, :dim])
