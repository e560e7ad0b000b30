"""Random numbers keyed on a pair: the same for any order of particles, any number of threads, any machine border.

A number is a function of (seed, step, smaller id, larger id, channel) and of nothing else, so momentum noise of a
pair is drawn once wherever it is needed, and a restarted run goes on with the numbers it would have had. Noise of a
single particle is keyed on (id, id), which no pair has.

The 64-bit key is a chain of the splitmix finaliser (Stafford's variant 13; Steele, Lea & Flood, OOPSLA 2014) over the
four integers. A word becomes a standard normal by the ziggurat of Marsaglia & Tsang (J. Stat. Softw. 5(8), 2000) with
Doornik's 53-bit uniforms (ZIGNOR, 2005): seven bits choose the layer, 53 others the place. Plain numba, callable from
compiled loops (`pair_key`, `normal`) and on arrays (`pair_normals`): the same code, so the same bits.

>>> import numpy as np
>>> a = pair_normals(1, 0, np.array([4]), np.array([7]), channels=2)
>>> bool((a == pair_normals(1, 0, np.array([7]), np.array([4]), channels=2)).all())
True
"""

from __future__ import annotations

import math

import numba
import numpy as np

from vid2dyn.core.errors import ConfigError

_LAYERS = 128
_TAIL = 3.442619855899
_AREA = 9.91256303526217e-3


def _ziggurat() -> tuple[np.ndarray, np.ndarray]:
    """Edges of the layers and the fraction of each that lies wholly under the normal density."""
    edge = np.zeros(_LAYERS + 1)
    density = math.exp(-0.5 * _TAIL * _TAIL)
    edge[0], edge[1] = _AREA / density, _TAIL
    for i in range(2, _LAYERS):
        edge[i] = math.sqrt(-2.0 * math.log(_AREA / edge[i - 1] + density))
        density = math.exp(-0.5 * edge[i] * edge[i])
    return edge, edge[1:] / edge[:-1]


_EDGE, _INSIDE = _ziggurat()
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_RETRY = np.uint64(0xD1B54A32D192ED03)
_MUL1, _MUL2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_LOW, _HIGH = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)
_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_MASK = np.uint64(_LAYERS - 1)
_UNIT = 1.0 / 9007199254740992.0


@numba.njit(cache=True, inline="always")
def _mix(z):  # type: ignore[no-untyped-def]
    """Every bit of the 64-bit word z spread over all bits."""
    z = (z ^ (z >> _S30)) * _MUL1
    z = (z ^ (z >> _S27)) * _MUL2
    return z ^ (z >> _S31)


@numba.njit(cache=True, inline="always")
def step_key(seed, step):  # type: ignore[no-untyped-def]
    """uint64 that all pairs of one step share; seed and step are whole numbers >= 0."""
    return _mix(_mix(np.uint64(seed) + _GOLDEN) ^ (np.uint64(step) * _RETRY + _GOLDEN))


@numba.njit(cache=True, inline="always")
def pair_key(key, a, b):  # type: ignore[no-untyped-def]
    """uint64 of the pair of particles named a and b (in either order) in the step whose `step_key` is `key`."""
    low, high = np.uint64(min(a, b)), np.uint64(max(a, b))
    return _mix(_mix(np.uint64(key) + low * _LOW) + high * _HIGH)


@numba.njit(cache=True)
def _rare(word, key, channel, layer, u):  # type: ignore[no-untyped-def]
    """The 1 % of draws that fall into a wedge or the tail; each retry takes the next word of the channel."""
    attempt = np.uint64(0)
    one = np.uint64(1)
    while True:
        attempt += one
        second = _mix(key + channel * _GOLDEN + attempt * _RETRY)
        v = (np.float64(second >> _S11) + 0.5) * _UNIT
        if layer == 0:
            x = -math.log(v) / _TAIL
            attempt += one
            y = -math.log((np.float64(_mix(key + channel * _GOLDEN + attempt * _RETRY) >> _S11) + 0.5) * _UNIT)
            if 2.0 * y > x * x:
                return _TAIL + x if u > 0.0 else -_TAIL - x
            continue                                          # the tail repeats until it hits
        x = u * _EDGE[layer]
        above = math.exp(-0.5 * (_EDGE[layer] * _EDGE[layer] - x * x))
        below = math.exp(-0.5 * (_EDGE[layer + 1] * _EDGE[layer + 1] - x * x))
        if above + v * (below - above) < 1.0:
            return x
        attempt += one
        word = _mix(key + channel * _GOLDEN + attempt * _RETRY)
        layer = np.int64(word & _MASK)
        u = 2.0 * ((np.float64(word >> _S11) + 0.5) * _UNIT) - 1.0
        if abs(u) < _INSIDE[layer]:
            return u * _EDGE[layer]


@numba.njit(cache=True, inline="always")
def normal(key, channel):  # type: ignore[no-untyped-def]
    """Standard normal number of a channel (0, 1, ...) of the pair whose `pair_key` is `key`."""
    # a key that went through Python comes back as a signed number
    key = np.uint64(key)
    k = np.uint64(channel) + np.uint64(1)
    word = _mix(key + k * _GOLDEN)
    layer = np.int64(word & _MASK)
    u = 2.0 * ((np.float64(word >> _S11) + 0.5) * _UNIT) - 1.0
    if abs(u) < _INSIDE[layer]:
        return u * _EDGE[layer]
    return _rare(word, key, k, layer, u)


@numba.njit(cache=True, nogil=True)
def _fill(seed, step, first, second, out):  # type: ignore[no-untyped-def]
    shared = step_key(seed, step)
    for p in range(len(first)):
        key = pair_key(shared, first[p], second[p])
        for k in range(out.shape[1]):
            out[p, k] = normal(key, k)


def pair_normals(seed: int, step: int, first: np.ndarray, second: np.ndarray, *, channels: int) -> np.ndarray:
    """Standard normal numbers of pairs, shape (pairs, channels), float64.

    Parameters
    ----------
    seed, step : int
        Whole numbers from 0 to 2^63 - 1.
    first, second : (pairs,) int arrays
        Names (not rows) of the particles, >= 0, in either order; equal for noise of one particle.
    channels : int
        Numbers wanted of each pair.

    Raises
    ------
    ConfigError
        When seed or step is negative or too large.

    Examples
    --------
    >>> pair_normals(0, 3, np.array([0, 0]), np.array([1, 2]), channels=3).shape
    (2, 3)
    """
    for name, value in (("seed", seed), ("step", step)):
        if not 0 <= int(value) < 2**63:
            raise ConfigError(f"{name} = {value!r} must be a whole number from 0 to 2^63 - 1.")
    first = np.ascontiguousarray(first, dtype=np.int64)
    second = np.ascontiguousarray(second, dtype=np.int64)
    out = np.empty((len(first), channels))
    _fill(int(seed), int(step), first, second, out)
    return out
