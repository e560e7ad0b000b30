"""A section of the report: the mean velocity of the particles."""

from __future__ import annotations

import numpy as np

from vid2dyn.core.describe import with_error
from vid2dyn.reports.sections.base import Content, ReportSection, Section


class NetMotion(ReportSection):
    """Mean velocity along each axis, with its standard error."""

    order = 25.0

    def applies(self, content: Content) -> bool:
        """Where particles were followed and times and lengths are known."""
        if content.of_fields:
            return False
        units = content.data.units
        return bool(units.frames_per_second and units.micrometre_per_pixel and len(content.data.lagged(1)[0]) > 1)

    def build(self, content: Content) -> Section:
        """A table with one row for each axis."""
        tracks = content.data
        i, j = tracks.lagged(1)
        velocity = (tracks.positions[j] - tracks.positions[i]) / tracks.units.dt
        error = velocity.std(axis=0) / np.sqrt(len(velocity))
        rows = [[axis, with_error(float(v), float(e), "µm/s")] for axis, v, e in
                zip(tracks.axes, velocity.mean(axis=0), error)]
        return Section("net-motion", "Net motion", "Mean velocity of all steps: settling, flow or a moving stage.",
                       table={"head": ["axis", "mean velocity"], "rows": rows})
