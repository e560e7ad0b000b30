"""A jammed start: particles at random places, brought to mechanical equilibrium."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Progress
from vid2dyn.simulators.brownian.forces import moved, neighbours
from vid2dyn.simulators.interface.pair_laws import PairLaw, add_pair_forces, pairs_of, update_pairs

SKIN = 2.0
"""Pairs are listed this much beyond the cutoff [µm]."""
RENEW = 0.16 * SKIN**2
"""Squared displacement after which the list is renewed: 0.4 of the skin, the rest is left for one step."""
LONGEST_STEP = 0.1 * SKIN
"""Longest displacement in a step [µm]; thermal ones are ten times shorter."""
_CHUNK = 200
_MOST_CHUNKS = 400


def jammed(rng: np.random.Generator, species: np.ndarray, lengths: np.ndarray, law: PairLaw, tolerance: float,
           progress: Progress, free: np.ndarray | None = None, start: np.ndarray | None = None) -> np.ndarray:
    """(n, 2) positions at which the largest net force is below `tolerance` [kT/µm], found by FIRE.

    Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), with equal masses; steps are at most a twentieth of the spacing.
    `free` (n,) bool: those that may move; `start`: where from (default: uniformly random).

    Raises
    ------
    ConfigError
        If the forces do not balance in 80,000 steps.
    """
    n = len(species)
    x = rng.uniform(0.0, 1.0, (n, 2)) * lengths if start is None else start.copy()
    mask = np.ones(n) if free is None else free.astype(float)
    v, control = np.zeros((n, 2)), np.array([1e-3, 0.1, 0.0])
    largest = math.inf
    for chunk in range(_MOST_CHUNKS):
        done = 0
        while done < _CHUNK:
            pairs = pairs_of(neighbours(x, lengths, law.cutoff + SKIN))
            done, largest = _fire(x, v, mask, species, lengths, law, pairs, control, done, tolerance)
            if largest < tolerance:
                progress(_MOST_CHUNKS, _MOST_CHUNKS, "packing")
                return x
        progress(chunk + 1, _MOST_CHUNKS, "packing")
    raise ConfigError(f"Needle: the packing still has net forces of {largest:.3g} kT/µm after {_CHUNK * _MOST_CHUNKS} "
                      "steps; give another seed, or a shorter cutoff.")


@njit(cache=True)
def _fire(x, v, mask, species, lengths, law, pairs, control, done, tolerance):  # type: ignore[no-untyped-def]
    """FIRE until the list of pairs must be renewed; returns (steps done, largest net force). control: dt, alpha, n+."""
    n = len(x)
    reference, force = x.copy(), np.zeros((n, 2))
    longest_step = 0.05 * law.spacing
    largest = np.inf
    while done < _CHUNK and moved(x, reference) < RENEW:
        update_pairs(x, species, lengths, law, pairs)
        add_pair_forces(pairs, force)
        power, ff, vv, largest = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            for c in range(2):
                force[i, c] *= mask[i]
                power += force[i, c] * v[i, c]
                ff += force[i, c] ** 2
                vv += v[i, c] ** 2
                largest = max(largest, abs(force[i, c]))
        if largest < tolerance:
            break
        if power > 0.0:
            mix = math.sqrt(vv / max(ff, 1e-300))
            for i in range(n):
                for c in range(2):
                    v[i, c] = (1.0 - control[1]) * v[i, c] + control[1] * mix * force[i, c]
            control[2] += 1.0
            if control[2] > 5.0:
                control[0] = min(1.1 * control[0], 0.02)
                control[1] *= 0.99
        else:
            v[:] = 0.0
            control[0], control[1], control[2] = max(0.5 * control[0], 1e-5), 0.1, 0.0
        for i in range(n):
            for c in range(2):
                v[i, c] += control[0] * force[i, c]
                step = control[0] * v[i, c]
                if abs(step) > longest_step:
                    step = math.copysign(longest_step, step)
                    v[i, c] = step / control[0]
                x[i, c] += step
        done += 1
    return done, largest


__all__ = ["LONGEST_STEP", "RENEW", "SKIN", "jammed"]
