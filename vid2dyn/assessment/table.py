"""All findings in one table, and those that fail at a false-alarm rate of the whole table, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vid2dyn.assessment.assumptions.memory import FewFrames, NextFrame, Persistence
from vid2dyn.assessment.assumptions.pairs import Central, DiesOut, Range, SameForces, Uncoupled
from vid2dyn.assessment.assumptions.particles import SameForce, SameMobility
from vid2dyn.assessment.assumptions.places import HarmonicTraps, NoCirculation, NoField, SameEverywhere
from vid2dyn.assessment.assumptions.scatter import Isotropy, Jumps, Spread, Tails
from vid2dyn.assessment.assumptions.times import NoCommonForce, SameAtAllTimes, Stationary
from vid2dyn.assessment.assumptions.tracking import Complete, Noise, OwnNames
from vid2dyn.assessment.base import AssumptionTest, Finding
from vid2dyn.assessment.steps import Steps

if TYPE_CHECKING:
    import pandas as pd

TESTS: tuple[type[AssumptionTest], ...] = (
    NextFrame, FewFrames, Persistence, Spread, Tails, Jumps, Isotropy, SameMobility, SameForce, SameEverywhere,
    SameAtAllTimes, NoField, NoCommonForce, HarmonicTraps, NoCirculation, Stationary, SameForces, Central, DiesOut,
    Range, Uncoupled, Complete, OwnNames, Noise)
"""All tests, in the order in which they are reported where they are equally bad."""

FALSE_ALARMS = 0.005
"""Probability that the whole table has a failed test where every assumption holds (Holm, Scand. J. Stat. 6, 65, 1979).
Half of what is promised, since p-values that small are themselves known to a factor of two or so."""

LINES = 5
"""Warnings at most."""


@dataclass(frozen=True)
class Assessment:
    """What the tests of a model's assumptions found.

    Parameters
    ----------
    findings : tuple of Finding
        One of each test that had something to say.

    Examples
    --------
    >>> Assessment(()).warnings
    []
    """

    findings: tuple[Finding, ...]

    @cached_property
    def failed(self) -> tuple[Finding, ...]:
        """Findings that reject their assumption at `FALSE_ALARMS` for the whole table, worst first."""
        in_order = sorted(self.findings, key=lambda one: one.p)
        out = []
        for k, one in enumerate(in_order):
            if one.p > FALSE_ALARMS / (len(in_order) - k):
                break
            out.append(one)
        return tuple(sorted(out, key=_badness, reverse=True))

    @property
    def dataframe(self) -> pd.DataFrame:
        """Columns test, holds, statistic, p, effect, unit, failed, advice; worst first."""
        import pandas as pd

        columns = ["test", "assumption", "statistic", "p", "effect", "unit", "failed", "advice"]
        several = any(one.recording for one in self.findings)
        return pd.DataFrame(self.rows(), columns=["recording", *columns] if several else columns)

    @property
    def warnings(self) -> list[str]:
        """At most `LINES` sentences, worst first."""
        return self.sentences()

    def sentences(self, without: Sequence[str] = ()) -> list[str]:
        """`warnings` but for those of some tests, of which something was said already."""
        told = [one for one in self.failed if one.test not in without]
        said = [(f"{one.recording}: " if one.recording else "") + f"It does not hold that {one.question}: {one.advice} "
                f"({one.test}: {one.effect:.2g} {one.unit}, {p_in_words(one.p)})" for one in told]
        if len(said) > LINES:
            others = ", ".join(one.test for one in told[LINES - 1:])
            said = [*said[: LINES - 1], f"{len(told) - LINES + 1} further assumptions fail: {others}. See "
                                        "vd.assess(tracks, model).dataframe."]
        return said

    def rows(self) -> list[dict[str, Any]]:
        """The table as plain values, for reports."""
        failed = {id(one) for one in self.failed}
        rest = sorted((one for one in self.findings if id(one) not in failed), key=lambda one: one.p)
        return [{**({"recording": one.recording} if one.recording else {}), "test": one.test,
                 "assumption": one.question, "statistic": one.statistic, "p": one.p,
                 "effect": one.effect, "unit": one.unit, "failed": id(one) in failed,
                 "advice": one.advice if id(one) in failed else "",
                 **({} if math.isnan(one.hidden) else {"hidden": one.hidden, "within": one.within})}
                for one in [*self.failed, *rest]]

    def __str__(self) -> str:
        return "\n".join(f"{'FAILS' if row['failed'] else 'holds'}  {row['assumption']:<55} {row['effect']:10.3g} "
                         f"{row['unit']:<28} p = {row['p']:.2g}" for row in self.rows())


ROOTS = (Jumps.name, Complete.name, OwnNames.name, NoCommonForce.name, NextFrame.name, NoCirculation.name,
         HarmonicTraps.name, NoField.name, Central.name, Stationary.name, DiesOut.name, Isotropy.name,
         SameMobility.name, SameForce.name, Uncoupled.name, Persistence.name, FewFrames.name, Range.name)
"""Departures that cause others, in the order in which they are said: wrong links also make memory and tails."""


def p_in_words(p: float) -> str:
    """A p-value; far out the tails are not known.

    >>> p_in_words(0.0312), p_in_words(0.0)
    ('p = 0.03', 'p < 1e-15')
    """
    return f"p = {p:.1g}" if p >= 1e-15 else "p < 1e-15"


def _badness(one: Finding) -> tuple[float, float]:
    return (len(ROOTS) - ROOTS.index(one.test) if one.test in ROOTS else 0, -one.p)


def assessed(steps: Steps, control: Steps | None = None) -> Assessment:
    """All tests of the steps of one recording; `control`: the same of a recording that the model made."""
    return combined([[one for kind in TESTS if (one := kind().judge(steps, control)) is not None]])


def combined(findings: Sequence[Sequence[Finding]]) -> Assessment:
    """The findings of several recordings as one table."""
    return Assessment(tuple(one for each in findings for one in each))
