"""Steps that are no motion: links from one particle to another, taken apart before anything is learned.

Displacements of a colloid are a normal body; identity swaps add a tail that begins far outside it, at the distance of
neighbours. .7 % of such steps made D = 0.4 µm²/s come out as 0.95. A step is in the tail if its square exceeds what its
particle's own median square allows once in 1/`FAR` steps (a median, so that neither the tail nor fast and slow
particles move the limit). Links in the tail are cut, if it is a tail of its own: the part of the body next to it,
which a smooth heavy tail would fill, must hold less. The body loses `FAR` of its steps, so D keeps its value.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from vid2dyn.analysis.moments import unwrapped
from vid2dyn.data.trajectories import Trajectories

FAR = 1e-6
OWN = 20
"""Steps of a particle that tell how far it usually goes."""
MOST = 0.05
"""Share of steps beyond which they are no exceptions."""
FEWEST = 4
"""Steps in the tail below which it is chance."""


def without_wrong_links(tracks: Trajectories) -> tuple[Trajectories, list[str]]:
    """Tracks cut at steps that are no motion, and what to say of them.

    Examples
    --------
    >>> import vid2dyn as vd
    >>> film = vd.simulators.Departures(n_particles=60, frames=60, swap_probability=0.02)
    >>> cut, said = without_wrong_links(film.run(seed=0))
    >>> cut.n_particles > 60, "identity swaps" in said[0]
    (True, True)
    """
    i, j = tracks.lagged(1)
    if len(i) < 100:
        return tracks, []
    position = unwrapped(tracks)
    step = position[j] - position[i]
    step = step - np.median(step, axis=0)
    square = (step**2).sum(axis=1)
    particle = np.unique(tracks.particle[i], return_inverse=True)[1]
    n = np.bincount(particle)
    order = np.lexsort((square, particle))
    median = square[order][np.cumsum(n) - n + n // 2]
    known = (n >= OWN) & (median > 0)
    if not known.any():
        return tracks, []
    typical = np.where(known, median, np.median(median[known]))[particle]
    relative = square / typical * chi2.median(tracks.dim) / (1 + 4 / np.sqrt(np.maximum(n, OWN)[particle]))
    limit = float(chi2.isf(FAR, tracks.dim))
    far = relative > limit
    beside = int(((relative > 0.5 * limit) & ~far).sum()) - len(i) * float(chi2.sf(0.5 * limit, tracks.dim))
    count, share = int(far.sum()), float(far.mean())
    if count < FEWEST or share > MOST or 2 * beside > count:
        return tracks, []
    part = float(square[far].sum() / square.sum())
    new = np.zeros(len(tracks), np.int64)
    new[j[far]] = 1
    label = np.unique(np.stack([tracks.particle, np.cumsum(new)], axis=1), axis=0, return_inverse=True)[1].ravel()
    table = tracks.dataframe.assign(particle=np.where(tracks.particle >= 0, label, -1))
    return tracks.replace(dataframe=table), [
        f"{count} of {len(i)} steps ({share:.2%}) are far longer than their particle's usual ones and make {part:.0%} "
        "of the mean square: links from one particle to another (identity swaps), or real jumps. They were cut, so "
        "that D and forces are those of the other steps. Link again with a smaller search_range."]
