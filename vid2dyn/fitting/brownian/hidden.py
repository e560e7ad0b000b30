"""Below which distance localisation noise hides a pair potential: where no band can be given.

Particles at distance r are seen at r plus the noise of both, of standard deviation s = sqrt(2 (Λ - R V)) along the line
between them (`indirect`: blur counts as negative noise). A steep repulsion makes the density of pairs rise from nothing
to its plenty within a width; noise alone, of a wall, would show a rise from 5 to 60 % of the largest density over
1.90 s (normal distribution function). Where the seen rise is hardly wider, the data say where the wall is and not how
steep: what the correction makes of it is the prior's, and the forces near it, and D with them, are not known.
"""

from __future__ import annotations

import math

import numpy as np

LOW, HIGH, RISE = 0.05, 0.6, 1.898
"""Parts of the largest density of pairs, and over how many standard deviations noise makes a wall rise between them."""

WIDER = 1.35
"""Ratio of the seen rise to that of a wall below which noise hides it. Measured at a noise of 80 % of a step: WCA and
Morse 1.0 to 1.2 (bands of the force hold half of the truth), Yukawa 1.5 to 1.9, dipolar 1.7 to 2.0 (they hold); at 30 %
WCA and Morse 1.5 and 1.8 (they hold)."""

BINS = 4.0
"""Bins of the density of pairs in a standard deviation."""

FEWEST = 300
"""Pairs in the bins up to the largest density, without which nothing is said."""


def rise_of_density(distances: np.ndarray, spread: float, dim: int) -> tuple[float, float] | None:
    """(r at LOW, r at HIGH) of the largest density of pairs [µm]; None where there are too few.

    Parameters
    ----------
    distances : (pairs,) array
        Sorted [µm].
    spread : float
        Standard deviation of the noise of a distance [µm].
    dim : int
    """
    if not spread > 0 or len(distances) < FEWEST:
        return None
    width = max(spread / BINS, float(distances[-1]) / 400)
    edges = np.arange(0.0, float(distances[-1]) + width, width)
    middle = 0.5 * (edges[1:] + edges[:-1])
    count = np.histogram(distances, edges)[0]
    kernel = np.array([0.25, 0.5, 0.25])
    density = np.convolve(count / middle ** (dim - 1), kernel, mode="same")[:-1]     # the last bin may be cut
    # what chance alone makes the largest of is not the plenty: bins with few pairs do not count
    peak = int(np.argmax(np.where(count[:-1] >= 30, density, 0.0)))
    if count[: peak + 1].sum() < FEWEST:
        return None

    def reaches(part: float) -> float:
        first = int(np.argmax(density >= part * density[peak]))
        if first == 0:
            return float(middle[0])
        share = (part * density[peak] - density[first - 1]) / (density[first] - density[first - 1])
        return float(middle[first - 1] + share * width)

    return reaches(LOW), reaches(HIGH)


def hidden_below(distances: np.ndarray, noise_variance: float, dim: int) -> float:
    """Distance [µm] below which no band can be given, the largest one seen; 0 where noise hides nothing.

    What is missing of a smoothed wall comes back as waves beside it: beyond 2 s from it bands of WCA, beyond 4 s those
    of Morse (noise 80 % of a step) held half of the truth, so no part of such a potential has a band.

    Parameters
    ----------
    distances : (pairs,) array
        Sorted distances of pairs as seen [µm].
    noise_variance : float
        Λ - R V, of one particle along one axis [µm²].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> wall = np.sort(1.2 + 1.5 * rng.random(20_000))
    >>> hidden_below(np.sort(wall + 0.1 * rng.normal(size=wall.size)), 0.005, 1) > 2.7
    True
    >>> hidden_below(np.sort(wall + 0.4 * rng.random(wall.size)), 0.001, 1)
    0.0
    """
    spread = math.sqrt(2 * max(noise_variance, 0.0))
    rise = rise_of_density(distances, spread, dim)
    if rise is None or rise[1] - rise[0] >= WIDER * RISE * spread:
        return 0.0
    return math.nextafter(float(distances[-1]), math.inf)
