"""Force and friction of a pair in a monolayer of dipoles, and lists of the pairs that feel them. Compiled.

Positions are (n, 2) arrays in µm, axes (y, x); `lengths` (2,) the periods. Energies in kT, times in s.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vid2dyn.simulators.brownian.forces import _nearest

SWITCH_FROM = 0.8
"""The smooth end of the force takes the last fifth of its range, as in `AnalyticPairPotential`."""


class PairLaw(NamedTuple):
    """What two particles do to each other.

    Parameters
    ----------
    strength : (3,) array
        A of the bare force A/r⁴ of two small particles, of one of each, of two large ones [kT µm³].
    cutoff : float
        Distance at which the force has ended [µm].
    friction : float
        Friction coefficient of a pair at the mean spacing [kT s/µm²].
    spacing, friction_cutoff : float
        Mean spacing, and where the friction has ended [µm].
    """

    strength: np.ndarray
    cutoff: float
    friction: float
    spacing: float
    friction_cutoff: float


class Pairs(NamedTuple):
    """Listed pairs with what was found at the last positions.

    `first`, `second` (pairs,) particles; `unit` (pairs, 2) from the second to the first; `distance` [µm], `force`
    [kT/µm], positive repels, and `friction` [kT s/µm²] (pairs,).
    """

    first: np.ndarray
    second: np.ndarray
    unit: np.ndarray
    distance: np.ndarray
    force: np.ndarray
    friction: np.ndarray


def pairs_of(listed: np.ndarray) -> Pairs:
    """Room for what is to be found of a (pairs, 2) list."""
    n = len(listed)
    return Pairs(np.ascontiguousarray(listed[:, 0]), np.ascontiguousarray(listed[:, 1]), np.zeros((n, 2)), np.zeros(n),
                 np.zeros(n), np.zeros(n))


@njit(cache=True, inline="always")
def pair_energy_and_force(r, strength, cutoff):  # type: ignore[no-untyped-def]
    """Energy [kT] and force -dU/dr [kT/µm] of U(r) = strength/(3 r³) S(t), S = 1 - 10 t³ + 15 t⁴ - 6 t⁵.

    t = (r/cutoff - 0.8)/0.2 between 0 and 1: energy, force and stiffness end continuously.
    """
    if r >= cutoff:
        return 0.0, 0.0
    energy, force = strength / (3.0 * r**3), strength / r**4
    t = (r / cutoff - SWITCH_FROM) / (1.0 - SWITCH_FROM)
    if t <= 0.0:
        return energy, force
    value = 1.0 - t**3 * (10.0 - t * (15.0 - 6.0 * t))
    slope = -30.0 * t * t * (1.0 - t) ** 2 / ((1.0 - SWITCH_FROM) * cutoff)
    return energy * value, force * value - energy * slope


@njit(cache=True, inline="always")
def pair_friction(r, law):  # type: ignore[no-untyped-def]
    """Friction coefficient along the line of centres [kT s/µm²]: `law.friction` at the mean spacing, smooth to zero."""
    if r >= law.friction_cutoff:
        return 0.0
    return law.friction * ((law.friction_cutoff - r) / (law.friction_cutoff - law.spacing)) ** 2


@njit(cache=True)
def update_pairs(x, species, lengths, law, pairs):  # type: ignore[no-untyped-def]
    """Unit vectors, distances, forces and frictions of the listed pairs at positions x."""
    first, second, unit, distance, force, friction = pairs
    for p in range(len(first)):
        i, j = first[p], second[p]
        d0, d1 = _nearest(x[i, 0] - x[j, 0], lengths[0]), _nearest(x[i, 1] - x[j, 1], lengths[1])
        r2 = d0 * d0 + d1 * d1
        if r2 >= law.cutoff * law.cutoff:
            distance[p], force[p], friction[p] = law.cutoff, 0.0, 0.0
            continue
        r = math.sqrt(r2)
        distance[p] = r
        unit[p, 0], unit[p, 1] = d0 / r, d1 / r
        force[p] = pair_energy_and_force(r, law.strength[species[i] + species[j]], law.cutoff)[1]
        friction[p] = pair_friction(r, law)


@njit(cache=True)
def add_pair_forces(pairs, out):  # type: ignore[no-untyped-def]
    """out (n, 2) = sum of the pair forces [kT/µm]."""
    out[:] = 0.0
    for p in range(len(pairs.first)):
        i, j = pairs.first[p], pairs.second[p]
        for c in range(2):
            f = pairs.force[p] * pairs.unit[p, c]
            out[i, c] += f
            out[j, c] -= f


@njit(cache=True)
def energy_of(pairs, species, law):  # type: ignore[no-untyped-def]
    """Sum of the pair energies [kT]."""
    total = 0.0
    for p in range(len(pairs.first)):
        kind = species[pairs.first[p]] + species[pairs.second[p]]
        total += pair_energy_and_force(pairs.distance[p], law.strength[kind], law.cutoff)[0]
    return total
