"""The tracks hold what was there: every particle in every frame, and each under its own name."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, norm

from vid2dyn.assessment.base import AssumptionTest, Finding
from vid2dyn.assessment.quantities import Quantities
from vid2dyn.assessment.steps import Steps


class _Judged(AssumptionTest):
    """A test that judges by itself."""

    def measure(self, steps: Steps) -> Quantities | None:
        return None

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 0.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        return ""


class Complete(_Judged):
    """Particles that end or begin inside the view: lost for longer than a gap that can be filled."""

    name = "missing neighbours"
    question = "all neighbours are seen"
    unit = "% of the tracks' ends"
    margin = 0.5

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        if steps.cutoff is None or not steps.detection.seen:
            return None
        seen, lost = steps.detection.seen, steps.detection.lost
        share = lost / max(seen + lost, 1)
        p = float(binom.sf(lost - 1, seen + lost, self.margin / 100))
        return self.finding(float(norm.isf(max(p, 1e-300))), p, 100 * share, (
            f"{share:.1%} of the detections are the end or the beginning of a track inside the view: particles are "
            "lost for longer than can be filled in, and their neighbours are pushed by nobody. The pair potential "
            "comes out too weak, by about twice the part that is missing. Lower minmass, raise memory and "
            "search_range."))


class OwnNames(_Judged):
    """The linker's own doubts."""

    name = "ambiguous links"
    question = "links are no guesses"
    unit = "warnings"

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        if not steps.links:
            return None
        return self.finding(float(len(steps.links)), 0.0, float(len(steps.links)), (
            f"The linker warned: {steps.links[0]} D and forces of the model have the same error."))


class Noise(_Judged):
    """A localisation variance below zero: the exposure is not what was stated."""

    name = "exposure"
    question = "exposure and localisation error go together"
    unit = "standard errors below zero"

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        scale, stderr = steps.noise_scale
        if not np.isfinite(stderr) or stderr <= 0:
            return None
        below = max(-scale / stderr, 0.0)
        p = float(norm.cdf(scale / stderr))
        return self.finding(below, p, below, (
            "The variance of the localisation error comes out negative: the shutter was open for longer or shorter "
            "than stated (an exposure that is not given counts as zero), the particles swim or are carried, or the "
            "errors of successive frames are correlated. The localisation error is not "
            "known; D rests on the exposure. Check exposure=... in s."))
