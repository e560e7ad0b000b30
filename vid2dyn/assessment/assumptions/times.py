"""Nothing changes over the recording: neither D, nor the surroundings of the particles, nor a force on all."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as t_distribution

from vid2dyn.assessment.base import AssumptionTest, Finding
from vid2dyn.assessment.quantities import Quantities, means, regression
from vid2dyn.assessment.steps import Steps
from vid2dyn.core.trends import trend_over_regions

BLOCKS = 8
"""Stretches of time in which the mean residual of all particles is looked at."""


def scaled_time(steps: Steps) -> np.ndarray:
    """(m,) time that runs from -1 to 1."""
    low, high = steps.frame.min(), steps.frame.max()
    return 2 * (steps.frame - low) / max(high - low, 1) - 1


class SameAtAllTimes(AssumptionTest):
    """Mean squares of the residuals against time."""

    name = "D against time"
    question = "D does not change during the recording"
    unit = "% of D"
    margin = 3.0

    def _functions(self, steps: Steps) -> np.ndarray:
        t = scaled_time(steps)
        found = np.stack([t, t**2], axis=1)
        return found - found.mean(axis=0)

    def measure(self, steps: Steps) -> Quantities | None:
        square = (steps.white**2).mean(axis=1)
        return regression(square / square.mean() - 1, self._functions(steps), steps.cluster)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 100.0 * float((self._functions(steps) @ found.value).std())

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ("D (or the localisation error) changes during the recording: temperature, evaporation, bleaching or "
                "focus. One D is a mean over it. Fit parts of the recording by themselves (tracks.between).")


class NoCommonForce(AssumptionTest):
    """Mean residual of all particles in stretches of time: a drift beside traps, a field that was switched."""

    name = "common drift"
    question = "no common motion is left"
    unit = "µm/s"

    def measure(self, steps: Steps) -> Quantities | None:
        block = np.minimum(((scaled_time(steps) + 1) / 2 * BLOCKS).astype(int), BLOCKS - 1)
        mean = np.stack([np.bincount(block, column, BLOCKS) for column in steps.white.T], axis=1)
        number = np.bincount(block, minlength=BLOCKS)
        if (number < 10).any() or np.abs(mean).max() < 1e-6 * len(steps):
            return None                                       # taken out of the steps of every frame
        scores = np.zeros((len(steps), BLOCKS * steps.dim))
        for a in range(steps.dim):
            scores[np.arange(len(steps)), block * steps.dim + a] = steps.white[:, a]
        found = means(scores, steps.cluster)
        if found is None:
            return None
        unit = steps.response / steps.diffusion
        size = np.repeat(number / len(steps), steps.dim) * unit
        # pieces of tracks lie within stretches of time or not: chance alone gives the variance of every stretch
        variance = (steps.white**2).mean() / np.repeat(np.maximum(number, 1), steps.dim) / unit**2
        return Quantities(found.value / size, np.diag(variance), found.pieces)

    def effect(self, found: Quantities, steps: Steps) -> float:
        square = float((found.value**2).mean() - np.diag(found.covariance).mean())
        return float(np.sqrt(max(square, 0.0) * steps.dim))

    def advice(self, found: Quantities, steps: Steps) -> str:
        return (f"All particles are pushed together at {self.effect(found, steps):.2g} µm/s: the stage drifts, a flow, "
                "or traps that move. Beside one shared trap a moving stage and a moving trap look alike; beside traps "
                "of their own it is taken out where ten or more particles are seen. Take it out first "
                "(tracks.without_drift(vd.analysis.drift(tracks))).")


class Stationary(AssumptionTest):
    """Surroundings of the particles: neighbours within several distances, their trend over time.

    The trend is compared between regions of the sample, which are independent however slowly each of them relaxes
    (`vid2dyn.core.trends`); at equilibrium its mean over regions is zero, as motion looks the same backwards in time.
    """

    name = "equilibrium of positions"
    question = "the arrangement of the particles does not change"
    unit = "% of the neighbours"
    margin = 2.0

    def measure(self, steps: Steps) -> Quantities | None:
        return None

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        near = steps.neighbours
        if near is None or steps.cutoff is None or not steps.stationary or len(near.step) < 500:
            return None
        best = None
        ranges = np.array([0.5, 0.7, 1.0]) * min(near.reach, 1.2 * steps.cutoff)
        for reach in ranges:
            ramp = np.maximum(1 - near.distance / reach, 0.0)
            number = np.bincount(near.step, ramp, len(steps))[near.seen]
            if number.mean() <= 0:
                continue
            found = trend_over_regions(number / number.mean(), scaled_time(steps)[near.seen],
                                       steps.position[near.seen], steps.index[near.seen])
            if found is None:
                continue
            slope, stderr, freedom = found
            change = 100 * 2 * slope
            z = max(abs(change) - self.margin, 0.0) / (200 * stderr)
            p = min(1.0, len(ranges) * 2 * float(t_distribution.sf(z, freedom)))
            if best is None or p < best.p:
                best = self.finding(abs(slope) / stderr, p, abs(change), (
                    f"Particles have {abs(change):.0f} % {'more' if slope > 0 else 'fewer'} neighbours (within "
                    f"{reach:.2g} µm) at the end than at the beginning: the sample relaxes, spreads or settles. "
                    "Potentials from positions (stationary = True) can come out with the wrong sign. Fit with "
                    "stationary = False, or film longer after loading."))
        return best

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 0.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ""
