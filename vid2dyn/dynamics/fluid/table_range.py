"""Over which entropies and volumes a fluid is tabulated, and how finely.

A table is a rectangle in S and x = ln V. It has to hold the states it starts from, whatever the rollout visits, and
nothing where T is not a number of use: over hundreds of heat capacities T = T0 exp(S/c) is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vid2dyn.core.errors import ModelError
from vid2dyn.dynamics.fluid.numbers import FluidNumbers
from vid2dyn.dynamics.terms.gas import GasState

LARGEST = 600.0
"""Of |ln T/T0| in a table."""
FINEST = 0.25
"""Largest change of ln T from node to node. The error of the table is below (this)⁴/384 of U, 1e-5."""
FEWEST, MOST = 257, 2049
"""Nodes along one axis."""


@dataclass(frozen=True)
class TableRange:
    """First and last S [kB] and ln V of a table, and its nodes along both."""

    entropy: tuple[float, float]
    log_volume: tuple[float, float]
    nodes: tuple[int, int] = (FEWEST, FEWEST)


def table_range(numbers: FluidNumbers, S: np.ndarray, log_volume: np.ndarray, below: float, above: float,
                aside: float, *, least: tuple[int, int] = (FEWEST, FEWEST)) -> TableRange:
    """A table that holds the states S [kB], ln V, each (n,), with room below and above in S and aside in ln V.

    Where T at a corner would be beyond all use there is less room, but the states are always inside.

    Raises
    ------
    ModelError
        When the states themselves have no temperature.
    """
    for _ in range(60):
        entropy = float(S.min()) - below, float(S.max()) + above
        volume = float(log_volume.min()) - aside, float(log_volume.max()) + aside
        # T rises with S and falls with V: it is smallest and largest at two of the corners
        corners = _state(numbers, np.array([entropy[0], entropy[0], entropy[1], entropy[1]]),
                         np.array([*volume, *volume]))
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.abs(np.log(corners.T) - numbers.log_temperature)
        if (far <= LARGEST).all():                                                        # False for NaN
            break
        below, above, aside = 0.5 * below, 0.5 * above, 0.5 * aside
    else:
        raise ModelError(f"Entropies {float(S.min()):.4g} to {float(S.max()):.4g} kB at volumes "
                         f"{math.exp(float(log_volume.min())):.4g} to {math.exp(float(log_volume.max())):.4g} have no "
                         f"temperature in this fluid of heat capacity {1 / max(numbers.softness, 1e-12):.3g} kB: its "
                         "numbers are not those of these states.")
    middle = _state(numbers, np.linspace(*entropy, 17).repeat(17), np.tile(np.linspace(*volume, 17), 17))
    steep = float(middle.softness.max()) * (entropy[1] - entropy[0]), \
        float((middle.softness * middle.molecules).max()) * (volume[1] - volume[0])
    counts = [max(few, min(1 + math.ceil(rise / FINEST), MOST)) for few, rise in zip(least, steep, strict=True)]
    return TableRange(entropy, volume, (counts[0], counts[1]))


def _state(numbers: FluidNumbers, S: np.ndarray, log_volume: np.ndarray) -> GasState:
    with np.errstate(all="ignore"):
        return numbers.state(S, np.exp(log_volume))
