"""Can the error bars be trusted? Held-out likelihood, calibration, laws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vid2dyn.reports import figures
from vid2dyn.reports.headline import checks
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class Trust(ReportSection):
    """Held-out likelihood and calibration of the whitened residuals."""

    order = 50.0

    def applies(self, content: Content) -> bool:
        """Where there is a model that is not judged by its windows (`Windows`)."""
        return content.model is not None and "windows" not in content.model.report

    def build(self, content: Content) -> Section:
        """Histogram of the residuals, where the report has one, and the table of checks."""
        report = content.model.report
        calibration = report.get("calibration", {})
        drawn = []
        if isinstance(calibration.get("z"), Mapping) and {"edges", "counts"} <= set(calibration["z"]):
            z = calibration["z"]
            drawn.append(figure(figures.whitened(np.asarray(z["edges"], float), np.asarray(z["counts"], float)),
                                "Whitened residuals. If the model explains the motion they follow the black curve."))
        return Section("trust", "Can the error bars be trusted?", "Residuals divided by their predicted spread should "
                       "be independent standard normal numbers. Held-out frames are judged by a model fitted without "
                       "them. In brackets: what is expected.", drawn,
                       {"head": ["check", "value"], "rows": checks(report)})
