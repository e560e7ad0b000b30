"""Successive residuals are independent: no correlated errors, no wrong exposure, no memory, no active motion."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from vid2dyn.assessment.base import AssumptionTest
from vid2dyn.assessment.quantities import Quantities, means
from vid2dyn.assessment.steps import Steps


class _Memory(AssumptionTest):
    """Correlations of residuals some frames apart.

    A stationary series with correlations ρ_l has the long-time D (1 + 2 Σ ρ_l) times the short-time one (Green-Kubo);
    the effect is 2 Σ ρ_l over the lags of the test.
    """

    unit = "% of D"
    bias = 0.02
    lags: ClassVar[tuple[int, ...]]
    together: ClassVar[bool] = False
    """Whether only the sum over the lags is looked at: what persists adds up, errors do not."""

    def measure(self, steps: Steps) -> Quantities | None:
        products = self._products(steps, steps.white)
        if products is None:
            return None
        if steps.companion is not None and (chance := self._products(steps, steps.companion)) is not None:
            alike = ((products - products.mean(axis=0)) * chance).sum(axis=0) / (chance**2).sum(axis=0)
            products = products - alike * chance
        return means(products, steps.cluster)

    def _products(self, steps: Steps, z: np.ndarray) -> np.ndarray | None:
        """(m, lags or 1) products of residuals with earlier ones, over their mean square; None where they are few."""
        products = np.zeros((len(z), len(self.lags)))
        for k, lag in enumerate(self.lags):
            rows = steps.later(lag)
            if len(rows) < 100:
                return None
            products[rows, k] = (z[rows] * z[rows - lag]).mean(axis=1) * (len(z) / len(rows))
        if self.together:
            products = products.sum(axis=1, keepdims=True)
        return products / float((z**2).mean())

    def effect(self, found: Quantities, steps: Steps) -> float:
        return 200.0 * float(max(abs(found.value.sum()), np.abs(found.value).max()))


class NextFrame(_Memory):
    """Lag 1."""

    name = "memory over 1 frame"
    question = "residuals of successive frames are independent"
    lags = (1,)
    margin = 3.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        sign = "go on in the same direction" if found.value[0] > 0 else "turn back"
        return (f"Successive steps {sign} (correlation {found.value[0]:+.3f}) more than noise and exposure explain: "
                "the exposure is not what was stated, localisation errors are correlated, or forces are missing. D "
                "and the localisation error share the error. Check the exposure (exposure=... in s); compare the D of "
                "every second frame.")


class FewFrames(_Memory):
    """Lags 2 and 3."""

    name = "memory over 2-3 frames"
    question = "residuals two and three frames apart are independent"
    lags = (2, 3)
    margin = 3.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        if found.value.sum() > 0:
            return ("Steps remember their direction: active or inertial motion, vibration, or localisation errors that "
                    "neighbouring frames share. D depends on the time over which it is taken. Look at the MSD; record "
                    "raw or intra-coded movies.")
        return ("Steps are taken back later: a viscoelastic medium (subdiffusion), a cage or trap that the model "
                "lacks, or slow localisation errors. D depends on the time over which it is taken. Look at the MSD, "
                "add a trap or pair forces.")


class Persistence(_Memory):
    """Lags 2 to 15 together: directed motion."""

    name = "persistence"
    question = "particles do not keep their direction"
    lags = tuple(range(2, 16))
    together = True
    bias = 0.04
    margin = 6.0

    def advice(self, found: Quantities, steps: Steps) -> str:
        if found.value[0] < 0:
            return ("Over 2 to 15 frames particles come back more than the model says: a trap, cage or viscoelastic "
                    "medium that it lacks. The long-time D is lower than the one reported.")
        return ("Particles keep their direction over 2 to 15 frames: they swim (active motion) or a flow carries them. "
                "The D reported is not an equilibrium diffusion coefficient, and forces from positions alone "
                "(stationary = True) are effective ones. Look at the MSD; fit with stationary = False.")
