"""Particles that the tracker saw twice in one frame, left out before forces are learned.

A spot smeared by its motion is sometimes taken for two. Among particles that keep each other at a distance such a pair
stands where no other does, and a fit of forces bends its potential to allow for it: two doubles among 73,000
detections moved a hard core by .13 kT. So pairs are left out, both rows, where there is a gap: nearer than half of the
next nearest pair, at which a core begins (the next `CORE` pairs within a quarter of it). Particles that pass each other
freely have no core: their nearest pairs thin out as the distance, by a factor of 4 over so many.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from vid2dyn.data.trajectories import Trajectories

GAP = 2.0
"""Distance of the core over that of a double, at least."""
CORE = 20
WIDTH = 1.25
"""Distance over which the first `CORE` pairs of a core spread, at most."""
SHARE = 1e-3
"""Largest share of the detections that can be doubles: more of them are something else."""


def without_doubles(tracks: Trajectories, reach: float) -> tuple[Trajectories, list[str]]:
    """Tracks without the rows of doubles, and what to say of them.

    Parameters
    ----------
    tracks : Trajectories
    reach : float
        Largest distance looked at [µm].

    Examples
    --------
    >>> import pandas as pd
    >>> y, x = np.divmod(np.arange(100.0), 10)
    >>> table = pd.DataFrame({"frame": 0, "particle": np.arange(101), "y": [*y, 5.0], "x": [*x, 5.1]})
    >>> lattice = Trajectories.from_dataframe(table, frames_per_second=1, micrometre_per_pixel=1)
    >>> kept, warnings = without_doubles(lattice, reach=3.0)
    >>> len(kept.dataframe), warnings[0][:36]
    (99, '1 particle was taken for two, 0.1 µm')
    """
    position, frame = tracks.positions, tracks.frame.astype(float)
    most = max(1, int(SHARE * len(position)))
    if len(position) < 2 * CORE:
        return tracks, []
    # frames lie apart on an extra axis
    places = np.column_stack([position, 2.0 * reach * frame])
    distance, partner = cKDTree(places).query(places, k=2, distance_upper_bound=reach)
    nearest, partner = distance[:, 1], partner[:, 1]
    rows = np.flatnonzero(np.isfinite(nearest))
    # every pair once
    rows = rows[(partner[rows] > rows) | (partner[np.minimum(partner[rows], len(partner) - 1)] != rows)]
    rows = rows[np.argsort(nearest[rows], kind="stable")]
    r = nearest[rows]
    for count in range(1, min(most, len(r) - CORE) + 1):
        if r[count] > GAP * r[count - 1] and r[count + CORE - 1] < WIDTH * r[count]:
            out = np.zeros(len(position), bool)
            out[rows[:count]] = out[partner[rows[:count]]] = True
            word = "particle was" if count == 1 else "particles were"
            warning = (f"{count} {word} taken for two, {r[0]:.2g} µm apart where no other pair is nearer than "
                       f"{r[count]:.2g} µm: left out. (Motion within the exposure splits spots.)")
            return tracks.rows(~out), [warning]
    return tracks, []
