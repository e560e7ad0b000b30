"""Residuals have the spread and the shape that the model says, on every axis, without rare jumps."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.stats import chi2 as chi2_distribution
from scipy.stats import norm, poisson

from vid2dyn.assessment.base import AssumptionTest, Finding
from vid2dyn.assessment.quantities import Quantities, means
from vid2dyn.assessment.steps import Steps

FAR = 1e-6
"""Probability of a step beyond which it counts as a jump."""
OWN = 20
"""Steps of a particle that tell how far it usually goes."""


class Spread(AssumptionTest):
    """Mean square of the residuals."""

    name = "size of the residuals"
    question = "steps scatter as much as the model says"
    unit = "% of the variance"
    margin = 5.0
    bias = 0.1

    def measure(self, steps: Steps) -> Quantities | None:
        found = means((steps.white**2).mean(axis=1), steps.cluster)
        return None if found is None else Quantities(found.value - 1, found.covariance, found.pieces)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 100.0 * float(found.value[0])

    def advice(self, found: Quantities, steps: Steps) -> str:
        return (f"Residuals have {1 + found.value[0]:.2f} times the variance of a recording that the model makes: "
                "mixed particles, drift, vibration, wrong links or forces that are missing. Bands are too narrow. See "
                "the other tests for which.")


class Isotropy(AssumptionTest):
    """Residuals along all axes spread alike and are uncorrelated."""

    name = "isotropy"
    question = "motion is the same along all axes"
    unit = "% of D"
    margin = 2.0
    bias = 0.05

    def measure(self, steps: Steps) -> Quantities | None:
        if steps.dim < 2:
            return None
        z = steps.white
        pairs = list(itertools.combinations(range(steps.dim), 2))
        columns = [0.5 * (z[:, 0] ** 2 - z[:, a] ** 2) for a in range(1, steps.dim)]
        columns += [z[:, a] * z[:, b] for a, b in pairs]
        return means(np.stack(columns, axis=1), steps.cluster)

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 200.0 * float(np.abs(found.value).max())

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ("D differs between the axes, or steps along them are correlated: rod-like particles that are aligned, "
                "a vibration or flow along one axis, pixels that are not square, or a wall nearby. One D is a mean "
                "over directions. Look at D along each axis (vd.diffusion).")


class Jumps(AssumptionTest):
    """Steps that a particle with its own usual step length would make once in 1 / `FAR`."""

    name = "jumps"
    question = "no step is far longer than a particle's usual ones"
    unit = "% of the steps"
    margin = 0.02

    def measure(self, steps: Steps) -> Quantities | None:
        return None

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        """A Poisson count beside that of the control (or of Gaussian steps)."""
        count, share, number = jumps(steps)
        if number < 100:
            return None
        allowed = FAR
        if control is not None:
            seen, _, of = jumps(control)
            allowed = max(FAR, (seen + 2 * np.sqrt(seen)) / max(of, 1))
        p = float(poisson.sf(count - 1, number * (allowed + self.margin / 100)))
        effect = 100.0 * count / number
        return self.finding(float(norm.isf(max(p, 1e-300))), p, effect, (
            f"{count} of {number} steps are far longer than their particle's usual ones and make {share:.0%} of the "
            "mean square: wrong links (identity swaps) or real jumps. D is too large by about that part. Link again "
            "with a smaller search_range, or leave those tracks out."))

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 0.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ""


def jumps(steps: Steps) -> tuple[int, float, int]:
    """(steps that are jumps, their part of the sum of squares, steps looked at).

    The usual length is the median of a particle's own squares, so that fast and slow particles are no jumps.
    """
    square = (steps.white**2).sum(axis=1)
    order = np.lexsort((square, steps.index))
    n = np.bincount(steps.index)
    first = np.cumsum(n) - n
    median = square[order][first + n // 2][steps.index]
    looked = n[steps.index] >= OWN
    limit = chi2_distribution.isf(FAR, steps.dim) / chi2_distribution.median(steps.dim)
    # the median of few steps is itself uncertain, by 1.2/sqrt(n) of itself
    far = looked & (square > limit * median * (1 + 4 / np.sqrt(n[steps.index])))
    return int(far.sum()), float(square[far].sum() / max(square[looked].sum(), 1e-300)), int(looked.sum())


class Tails(AssumptionTest):
    """Fourth moment of the residuals of each particle, jumps left out."""

    name = "normality"
    question = "residuals of a particle are normal"
    unit = "excess kurtosis"
    margin = 0.15
    bias = 0.3

    def measure(self, steps: Steps) -> Quantities | None:
        n = np.bincount(steps.index)
        kept = n[steps.index] >= 2 * OWN
        square = steps.white**2
        if kept.sum() < 200:
            return None
        own = np.bincount(steps.index, square.mean(axis=1)) / np.maximum(n, 1)
        scaled = square / np.maximum(own[steps.index], 1e-300)[:, None]
        # of n d normal numbers divided by their own mean square: E z⁴ = 3 n d / (n d + 2)
        of = n[steps.index] * steps.dim
        fourth = (np.minimum(scaled, 25.0) ** 2).mean(axis=1) * (of + 2) / of - 3
        return means(fourth[kept], steps.cluster[kept])

    def effect(self, found: Quantities, steps: Steps) -> float:
        return float(found.value[0])

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ("Steps of single particles have heavier tails than normal numbers: their mobility changes in time "
                "(binding, a wall, a crowded place), or links are wrong now and then. Error bars are too narrow by "
                f"about {50 * found.value[0] / 2:.0f} %. Look at D against place and time.")
