"""Positions that jump from one end to the other: a periodic box that a table does not name.

A simulation writes positions folded into its box. Read as open space, every passage through an edge is a step as long
as the box, and mean squared displacements, D and forces are those of these jumps. They can be told from wrong links and
from hops between two traps: all have nearly one length, that of the whole range of the coordinates, and the coordinates
fill the range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vid2dyn.data.box import Box
from vid2dyn.data.units import Units

_FEWEST = 5                       # jumps from end to end: fewer may be links that are wrong
_ALIKE = 0.95                     # of the jumps over half the range, those that reach from end to end
_STEPS = 3.0                      # how far from the ends they begin and stop, over the 99 % quantile of all other steps
_FILLED = 0.2                     # positions in the middle half; 0.5 where all places are alike


@dataclass(frozen=True)
class Wrapped:
    """Jumps from end to end along one axis.

    Parameters
    ----------
    axis : str
        "y", "x" or "z".
    length : float
        Range of the coordinates, in their unit: the edge of the box, a little short.
    count : int
        Jumps.
    usual : float
        99 % of the other steps are shorter.
    """

    axis: str
    length: float
    count: int
    usual: float


def wrapped_axes(table: pd.DataFrame) -> list[Wrapped]:
    """Axes of a table sorted by (particle, frame) along which positions look folded into a box.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(0.0, 0.2, (20, 200)).cumsum(axis=1)
    >>> table = pd.DataFrame({"particle": np.repeat(np.arange(20), 200), "x": (x % 8.0).ravel(), "y": x.ravel()})
    >>> [(one.axis, round(one.length)) for one in wrapped_axes(table)]
    [('x', 8)]
    """
    if len(table) <= _FEWEST:
        return []
    particle = table["particle"].to_numpy()
    same, found = (particle[1:] == particle[:-1]) & (particle[1:] >= 0), []
    for axis in (name for name in ("y", "x", "z") if name in table):
        x = table[axis].to_numpy()
        low, high = float(x.min()), float(x.max())
        length, step = high - low, np.abs(np.diff(x)[same])
        far = step > 0.5 * length
        count = int(far.sum())
        if count < _FEWEST or count == len(step):
            continue
        usual = float(np.quantile(step[~far], 0.99))
        reach = _STEPS * usual
        if reach > 0.25 * length or (step[far] > length - reach).mean() < _ALIKE:
            continue
        if (np.abs(x - 0.5 * (low + high)) < 0.25 * length).mean() >= _FILLED:
            found.append(Wrapped(axis, length, count, usual))
    return found


def about_wrapped(table: pd.DataFrame, units: Units, box: Box) -> tuple[str, ...]:
    """What to say of tracks in open space that look folded into a box; nothing where they do not."""
    found = wrapped_axes(table) if box.lengths is None else []
    if not found:
        return ()
    um, unit = (units.um, "µm") if units.micrometre_per_pixel is not None else (1.0, "px")
    times = sum(one.count for one in found)
    edges = " and ".join(f"{one.length * um:.3g} {unit} along {one.axis}" for one in found)
    return (f"Positions jump by {edges}, from one end of the coordinates to the other, {times} "
            f"times; 99 % of the other steps are below {max(one.usual for one in found) * um:.2g} {unit}. That looks "
            "like a periodic box that the table does not name; D and forces are those of the jumps, far too large. "
            "Give the box, such as vd.open(path, box=vd.Periodic((20.0, 20.0))) with its exact edges in µm in the "
            "order y, x, or unwrap the positions.",)
