"""Trend over time of something that is measured on every particle, with an error that slow relaxation does not fool.

A sample at equilibrium may relax more slowly than a recording lasts, and then its scatter over time says nothing of the
error of a trend. Regions of the sample do: they are independent of each other however slow each of them is, and at
equilibrium the mean trend over regions is zero because motion looks the same backwards in time.
"""

from __future__ import annotations

import numpy as np

REGIONS = 16
"""Regions of the sample, about."""
FEWEST = 5
"""Regions below which nothing is said."""


def trend_over_regions(values: np.ndarray, time: np.ndarray, position: np.ndarray,
                       particle: np.ndarray) -> tuple[float, float, int] | None:
    """Slope of `values` against `time`, its standard error, and degrees of freedom; None with too few regions.

    Parameters
    ----------
    values, time : (n,) arrays
    position : (n, dim) array
        Particles are put into regions of about as many each, by their mean place.
    particle : (n,) int array

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> place, time = rng.uniform(size=(4000, 2)), np.tile(np.linspace(-1, 1, 40), 100)
    >>> slope, stderr, freedom = trend_over_regions(0.1 * time + 0.01 * rng.standard_normal(4000), time, place,
    ...                                             np.repeat(np.arange(100), 40))
    >>> abs(slope - 0.1) < 4 * stderr, freedom
    (True, 15)
    """
    names, which, count = np.unique(particle, return_inverse=True, return_counts=True)
    if len(names) < 2 * FEWEST:
        return None
    mean = np.stack([np.bincount(which, column) / count for column in position.T], axis=1)
    region = _regions(mean)
    centred = time - time.mean()
    inside = region[which]
    number = int(region.max()) + 1
    cross = np.bincount(inside, centred * (values - values.mean()), number)
    size = np.bincount(inside, centred**2, number)
    if number < FEWEST or not (size > 0).all():
        return None
    slope = cross.sum() / size.sum()
    left = cross - slope * size
    stderr = np.sqrt((left**2).sum() * number / (number - 1)) / size.sum()
    return (float(slope), float(stderr), number - 1) if stderr > 0 else None


def _regions(place: np.ndarray) -> np.ndarray:
    """(n,) number of the region of each place: quantiles along each axis, one within the other."""
    n, dim = place.shape
    cuts = max(1, round(min(REGIONS, n / 4) ** (1 / dim)))
    out = np.zeros(n, int)
    for axis in range(dim):
        new = np.zeros(n, int)
        for region in np.unique(out):
            mine = np.flatnonzero(out == region)
            rank = np.argsort(np.argsort(place[mine, axis], kind="stable"), kind="stable")
            new[mine] = region * cuts + rank * cuts // len(mine)
        out = new
    return np.unique(out, return_inverse=True)[1]
