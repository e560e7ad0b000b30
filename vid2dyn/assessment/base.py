"""What a test of an assumption is, and what it finds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from vid2dyn.assessment.quantities import Quantities, hotelling, p_value
from vid2dyn.assessment.steps import Steps


@dataclass(frozen=True)
class Finding:
    """What one test found.

    Parameters
    ----------
    test : str
        Its name.
    question : str
        What is tested, as a statement that holds where the model is allowed.
    statistic : float
        The larger, the farther from what chance gives; which, the test says.
    p : float
        Probability of a statistic as large where the assumption holds, this test by itself.
    effect : float
        Size of the departure in its own unit; where nothing is wrong, noise.
    unit : str
    advice : str
        What a departure means for the answer, and what to do.
    bound : float
        Departures below it are taken for allowed.
    recording : str
        Which of several recordings; empty for a single one.
    sign : float
        Of the departure, +1 or -1, where it is of one quantity; else 0.
    hidden : float
        Largest departure, in `unit`, that the steps leave possible at two standard errors; nan where a test has none.
    within : float
        Of a test of pairs that looks up to a distance: that distance [µm]; nan for others.
    """

    test: str
    question: str
    statistic: float
    p: float
    effect: float
    unit: str
    advice: str
    bound: float = 0.0
    recording: str = ""
    sign: float = 0.0
    hidden: float = math.nan
    within: float = math.nan


SAID = 0.05
"""p below which what a departure means is put into words: no table fails at more."""


class AssumptionTest(ABC):
    """Measures quantities that vanish where one assumption of the model holds.

    A test is a class without arguments in a file of this room's `assumptions`; `vid2dyn.assessment.table` lists them.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    """The assumption in a few words, as a statement."""
    unit: ClassVar[str]
    """Unit of the effect."""
    margin: ClassVar[float] = 0.0
    """Effect that is allowed, in that unit."""
    bias: ClassVar[float] = 0.0
    """Standard deviation of what the quantities are where the model is right and forces change within a frame or within
    the noise; the control recording measures it. 0: they vanish by symmetry, no control is needed."""

    @abstractmethod
    def measure(self, steps: Steps) -> Quantities | None:
        """The quantities with their covariance, or None where the steps say nothing of them."""

    @abstractmethod
    def effect(self, found: Quantities, steps: Steps) -> float:
        """Size of the departure in `unit`."""

    @abstractmethod
    def advice(self, found: Quantities, steps: Steps) -> str:
        """What the departure means, and what to do: one or two sentences."""

    def judge(self, steps: Steps, control: Steps | None) -> Finding | None:
        """What the steps of the data say, beside those of a recording that the model made; None if nothing."""
        measured = self.measure(steps)
        if measured is None:
            return None
        found = measured.less(None if control is None or not self.bias else self.measure(control), self.bias)
        if not np.isfinite(found.value).all() or not (np.diag(found.covariance) > 0).all():
            return None
        statistic, effect = hotelling(found), abs(self.effect(found, steps))
        p = p_value(statistic, len(found.value), found.pieces, self.margin / max(effect, 1e-300))
        advice = self.advice(found, steps) if p < SAID else ""
        return replace(self.finding(statistic, p, effect, advice),
                       sign=float(np.sign(found.value[0])) if len(found.value) == 1 else 0.0)

    def finding(self, statistic: float, p: float, effect: float, advice: str) -> Finding:
        """A finding of this test."""
        return Finding(self.name, self.question, float(statistic), float(p), float(effect), self.unit, advice,
                       self.margin)
