"""What the compiled kernels of the SDPD gas share: constants, Lucy's kernel, counter-based random numbers.

Random numbers are a function of (key, step, pair, channel), not of the order in which they are asked for, so that
neither the number of threads nor the layout in memory changes a trajectory. The mixer is SplitMix64's (Steele, Lea,
Flood, OOPSLA 2014). `fluid` is a `GasParameters` in every kernel of this room.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit


class GasParameters(NamedTuple):
    """Constants of the gas, as the kernels read them (kB = 1); made by `GasSettings.fluid`.

    Energies, lengths and times are in the units of the settings.

    `alpha` and `beta` are the friction constants of Español and Revenga for motion across and along the line of
    centres, `kappa` the conductivity. With `constant` the pair coefficients follow temperature and density such that
    the viscosities are constants; otherwise they depend on the distance alone, with `temperature` and `density`
    (squared) in their place. `noisy` is False for kB = 0.
    """

    dim: int
    mass: float
    cutoff: float
    norm: float
    heat_capacity: float
    gas: float
    volume0: float
    energy0: float
    alpha: float
    beta: float
    kappa: float
    constant: bool
    temperature: float
    density: float
    noisy: bool


@njit(cache=True, inline="always")
def lucy(r, fluid):  # type: ignore[no-untyped-def]
    """W(r) = norm (1 + 3 s)(1 - s)³, s = r/cutoff < 1 [1/µm^dim]."""
    s = r / fluid.cutoff
    return fluid.norm * (1 + 3 * s) * (1 - s) ** 3


@njit(cache=True, inline="always")
def lucy_f(r, fluid):  # type: ignore[no-untyped-def]
    """F(r) = -W'(r)/r = 12 norm (1 - s)²/cutoff² >= 0 [1/µm^(dim + 2)]."""
    s = r / fluid.cutoff
    return 12.0 * fluid.norm * (1 - s) ** 2 / fluid.cutoff**2


@njit(cache=True, inline="always")
def energy_of(s, d, fluid):  # type: ignore[no-untyped-def]
    """U(S, V = 1/d) = U0 (V0 d)^(gas/C) exp(S/C), gas the atoms of a particle."""
    return fluid.energy0 * math.exp((s + fluid.gas * math.log(fluid.volume0 * d)) / fluid.heat_capacity)


@njit(cache=True, inline="always")
def mix(z):  # type: ignore[no-untyped-def]
    """Scrambles 64 bits, one to one."""
    z = np.uint64(z)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, inline="always")
def pair_key(key, step, a, b):  # type: ignore[no-untyped-def]
    """Key of the random numbers of one pair in one step; the order of the pair does not matter."""
    low, high = np.uint64(min(a, b)), np.uint64(max(a, b))
    z = mix(np.uint64(key) + np.uint64(step) * np.uint64(0x9E3779B97F4A7C15))
    return mix(z ^ mix((low << np.uint64(32)) | high))


@njit(cache=True, inline="always")
def uniform(key, channel):  # type: ignore[no-untyped-def]
    """In (0, 1), 53 bits."""
    z = mix(key + np.uint64(channel + 1) * np.uint64(0x9E3779B97F4A7C15))
    return (float(z >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@njit(cache=True, inline="always")
def two_normals(key, channel):  # type: ignore[no-untyped-def]
    """Two independent N(0, 1), by Box and Muller, from channels `channel` and `channel + 1`."""
    size = math.sqrt(-2.0 * math.log(uniform(key, channel)))
    angle = 2.0 * math.pi * uniform(key, channel + 1)
    return size * math.cos(angle), size * math.sin(angle)
