"""The functions that a model lists (`Model.functions`), with bands, and the exact ones where theory gives them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.model.base import LearnedFunction
from vid2dyn.reports import figures
from vid2dyn.reports.drawing import LearnedCurve
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure

UP_TO_A_LINE = ("free_energy",)
"""Functions known up to a straight line: the exact one is drawn with that of the learned one."""


class Functions(ReportSection):
    """The functions that a model lists, each with its band."""

    order = 30.0

    def applies(self, content: Content) -> bool:
        """Where the model lists functions."""
        return content.model is not None and content.model.functions() is not None

    def build(self, content: Content) -> Section:
        """One picture for each function, under the heading that the model gives them."""
        found = content.model.functions()
        drawn = [figure(_drawn(content, function), function.caption) for function in found.functions]
        return Section("learned" if content.of_fields else "interactions", found.title, found.lead, drawn)


def _drawn(content: Content, function: LearnedFunction) -> str:
    """A learned function with its band; the range of the data is shaded, but of fields all that is shown was seen."""
    model: Any = content.model
    x, value = function.x, np.asarray(getattr(model, function.name)(*function.at))
    band, truth = model.band(function.name, function.where), content.true_function(function.name, x)
    if truth is not None and function.name in UP_TO_A_LINE:
        truth = truth + np.polyval(np.polyfit(x, value - truth, 1), x)
    support = None if content.of_fields else function.support
    return figures.learned(LearnedCurve(x, value, band, support, truth), function.x_label, function.y_label)
