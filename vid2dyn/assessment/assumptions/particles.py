"""All particles are alike: in how far they move, and in how strongly they feel the learned forces.

What a particle shows in the first half of its track says nothing of the second if all are alike; if not, the halves of
one agree: T = Σ w x y / sqrt(Σ w²) of standard normal numbers x, y of both halves. Its tail is that of a difference of
two gamma variables, see `vid2dyn.fitting.brownian.populations`, which tells the two apart in words.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy.special import gammainc, gammaincc, ndtri
from scipy.stats import gamma, norm

from vid2dyn.assessment.base import AssumptionTest, Finding
from vid2dyn.assessment.quantities import Quantities
from vid2dyn.assessment.steps import Steps

FEWEST = 20
"""Steps in half a track, and particles, below which nothing is said."""


class _Alike(AssumptionTest):
    """The first halves of tracks beside the second halves."""

    unit = "% between particles"

    def measure(self, steps: Steps) -> Quantities | None:
        """T as one number with variance 1."""
        halves = self.halves(steps)
        if halves is None:
            return None
        x, y, weight, _ = halves
        return Quantities(np.array([(weight * x * y).sum() / np.sqrt((weight**2).sum())]), np.eye(1), len(x))

    @abstractmethod
    def halves(self, steps: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        """x, y, weight (the information on a relative difference of one), and mean squares of the particles."""

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        halves = self.halves(steps)
        if halves is None or len(halves[0]) < FEWEST:
            return None
        x, y, weight, square = halves
        T = float((weight * x * y).sum() / np.sqrt((weight**2).sum()))
        number = float((weight**2).sum() ** 2 / (weight**4).sum())
        variance = float((weight * x * y).sum() / (weight**2).sum())
        spread = 100 * float(np.sqrt(max(variance, 0.0)))
        noise = 1 / np.sqrt((weight**2).sum())
        shift = (self.margin / 100) ** 2 / noise
        return self.finding(T, tail_of_products(number, T - shift) if shift < T else 1.0, spread,
                            self.words(spread, square))

    @abstractmethod
    def words(self, spread: float, square: np.ndarray) -> str:
        """What a spread means."""

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 0.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ""


def _sums(steps: Steps, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(particles, 2) sums over both halves of each track, steps in them, and which particles have enough."""
    count = np.bincount(steps.index)
    rank = np.arange(len(steps)) - (np.cumsum(count) - count)[steps.index]
    late = rank >= (count // 2)[steps.index]
    sums = np.stack([np.bincount(steps.index[half], values[half], len(count)) for half in (~late, late)], axis=1)
    number = np.stack([np.bincount(steps.index[half], minlength=len(count)) for half in (~late, late)], axis=1)
    return sums, number, np.flatnonzero(count // 2 >= FEWEST)


class SameMobility(_Alike):
    """Mean squares of the steps."""

    name = "one D for all particles"
    question = "all particles diffuse alike"
    margin = 6.0

    def halves(self, steps: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        square = (steps.white**2).sum(axis=1)
        square = square / max(float(square.mean()) / steps.dim, 1e-300)
        sums, number, kept = _sums(steps, square)
        if len(kept) < FEWEST:
            return None
        freedom = (steps.dim * number)[kept]
        p = gammainc(0.5 * freedom, 0.5 * sums[kept])
        z = ndtri(np.clip(p, 1e-12, 1 - 1e-12))
        return z[:, 0], z[:, 1], np.sqrt(0.25 * freedom[:, 0] * freedom[:, 1]), sums[kept].sum(axis=1) / freedom.sum(
            axis=1)

    def words(self, spread: float, square: np.ndarray) -> str:
        stuck = float((square < 0.15 * np.median(square)).mean())
        slow = f" {stuck:.0%} of them hardly move (stuck?)." if stuck > 0.02 else ""
        return (f"D differs from particle to particle by {spread:.0f} % (standard deviation).{slow} One D is a mean "
                "over them: several populations, a distribution of sizes, or stuck particles. Name the kinds "
                "(vd.Brownian(species=...)), or fit each alone.")


class SameForce(_Alike):
    """How strongly each follows the learned forces."""

    name = "one force for all particles"
    question = "all particles feel the same forces"
    margin = 12.0

    def halves(self, steps: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        if not steps.force.any():
            return None
        expected = steps.response * steps.force
        score = (steps.white * expected).sum(axis=1)
        size = (expected**2).sum(axis=1)
        sums, _, kept = _sums(steps, score - size * score.sum() / size.sum())
        sizes = _sums(steps, size)[0][kept]
        if len(kept) < FEWEST or not (sizes > 0).all():
            return None
        z = sums[kept] / np.sqrt(sizes)
        return z[:, 0], z[:, 1], np.sqrt(sizes[:, 0] * sizes[:, 1]), np.ones(len(kept))

    def words(self, spread: float, square: np.ndarray) -> str:
        return (f"Some particles feel the learned forces more strongly than others, by {spread:.0f} % (standard "
                "deviation): sizes or charges differ (polydisperse, several species). The pair potential is a mean "
                "that no pair has, and its tail may have the wrong sign. Name the kinds (vd.Brownian(species=...)), "
                "or fit with stationary = False.")


def tail_of_products(number: float, score: float) -> float:
    """Probability that Σ x y / sqrt(n) of n pairs of normal numbers exceeds `score`.

    >>> 0.4e-6 < tail_of_products(1e5, 4.9) < 0.6e-6
    True
    """
    shape = 0.5 * number
    if shape > 400:                                  # normal but for its kurtosis 6/n (Edgeworth)
        correction = (score**3 - 3 * score) * norm.pdf(score) * 6 / number / 24
        return float(min(1.0, norm.sf(score) + max(correction, 0.0)))
    points = gamma.ppf((np.arange(2000) + 0.5) / 2000, shape)
    return float(gammaincc(shape, np.maximum(points + score * np.sqrt(number), 0.0)).mean())
