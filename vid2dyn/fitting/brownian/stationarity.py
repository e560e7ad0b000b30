"""stationary = "auto": may where particles are be used to learn forces, or only how they move?

Score matching takes positions for samples of exp(-U). In a sample that relaxes, spreads or settles they are not, and
potentials can come out with the wrong sign. So the surroundings of the particles (how many neighbours within several
distances) are followed over time, region by region (`vid2dyn.core.trends`): at equilibrium their trend is zero in the
mean over regions, however slowly a sample relaxes. If it is not, forces are learned from motion alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as t_distribution

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.trends import trend_over_regions
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.records import FitData

ALPHA = 1e-4
"""Probability that a recording at equilibrium is taken for one that relaxes; it is then fitted from motion alone, which
is right and less precise."""
RANGES = (0.4, 0.6, 0.8, 1.0)
"""Distances within which neighbours are counted, over the cutoff."""
MOST = 20_000
"""Detections that are looked at, in evenly spaced frames."""


def decided(data: tuple[FitData, ...]) -> tuple[tuple[FitData, ...], list[str]]:
    """The data with True or False in place of "auto" in their recipe, and what to say of it."""
    recipe = data[0].recipe
    if recipe.stationary != "auto":
        return data, []
    said = []
    if recipe.cutoff is not None and recipe.trap != "each":
        for one in data:
            found = changing_surroundings([one.recording], float(recipe.cutoff))
            if found is not None:
                said.append((f"{one.name}: " if len(data) > 1 else "") + found)
    return with_stationary(data, not said), said


def with_stationary(data: Sequence[FitData], stationary: bool) -> tuple[FitData, ...]:
    """The same data under a recipe that says whether they are at equilibrium."""
    recipe = dataclasses.replace(data[0].recipe, stationary=stationary)
    return tuple(dataclasses.replace(one, recipe=recipe) for one in data)


def changing_surroundings(recordings: Sequence[Recording], cutoff: float) -> str | None:
    """A sentence if particles gain or lose neighbours over time, more than chance does; None if not."""
    (recording,) = recordings
    frames = np.unique(recording.frame)
    chosen = frames[:: max(1, int(np.ceil(len(recording.position) / MOST)))]
    rows = np.flatnonzero(np.isin(recording.frame, chosen))
    x = recording.position[rows]
    try:
        pairs = neighbour_pairs(x, cutoff, recording.box, recording.frame[rows])
    except ConfigError:
        return None
    kept = np.flatnonzero((recording.weight[rows] > 0.99) & (recording.track[rows] >= 0))
    if len(pairs) < 500 or len(kept) < 500:
        return None
    distance = np.linalg.norm(recording.box.displacement(x[pairs[:, 0]], x[pairs[:, 1]]), axis=1)
    time = recording.frame[rows][kept].astype(float)
    time = 2 * (time - time.min()) / max(np.ptp(time), 1.0) - 1
    place = x[kept] if recording.box.lengths is None else x[kept] % np.asarray(recording.box.lengths, dtype=float)
    best, said = ALPHA, None
    for reach in cutoff * np.array(RANGES):
        ramp = np.maximum(1 - distance / reach, 0.0)
        number = (np.bincount(pairs[:, 0], ramp, len(rows)) + np.bincount(pairs[:, 1], ramp, len(rows)))[kept]
        if number.mean() < 0.05:
            continue
        found = trend_over_regions(number / number.mean(), time, place, recording.track[rows][kept])
        if found is None:
            continue
        slope, stderr, freedom = found
        p = len(RANGES) * 2 * float(t_distribution.sf(abs(slope) / stderr, freedom))
        if p < best:
            best, said = p, (
                f"The sample is not at rest: particles have {200 * abs(slope):.0f} % "
                f"{'more' if slope > 0 else 'fewer'} neighbours within {reach:.2g} µm at the end than at the beginning "
                f"(p = {p:.1g}): it relaxes, spreads or settles. Forces were learned from motion alone (stationary = "
                "False), so bands are wider. For the equilibrium estimate film after the sample has come to rest.")
    return said
