"""Density in time, of data and of the model's rollout."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from vid2dyn.data.fields import Fields
from vid2dyn.reports.figures import DATA, MODEL, picture
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure

TIMES = 5
"""Profiles drawn at most."""


class Profiles(ReportSection):
    """Mean density of the first start in time, of data and of the model's rollout."""

    order = 10.0

    def applies(self, content: Content) -> bool:
        """Wherever there are fields."""
        return content.of_fields

    def build(self, content: Content) -> Section:
        """One picture of the data and one of the rollout."""
        drawn = [figure(_profiles(content.data, DATA),
                        "Mean density of the first start. What the model was learned from.")]
        if content.rollout is not None:
            drawn.append(figure(_profiles(content.rollout, MODEL),
                                "The model's rollout. It starts from the mean density and runs on."))
        return Section("seen", "Density in time", "Starts should cover the densities that matter, with slopes.", drawn)


def _profiles(data: Fields, colour: str) -> str:
    mean = data.mean()[0]
    groups = max(g for g in range(1, 101) if data.n_cells % g == 0)
    cells = mean.reshape(len(mean), groups, -1).mean(axis=2)
    shown = np.unique(np.linspace(0, len(mean) - 1, min(TIMES, len(mean))).astype(int))

    def lines(axes: Axes) -> None:
        for n, t in enumerate(shown):
            axes.plot((np.arange(groups) + 0.5) / groups, cells[t], color=colour, alpha=1 - 0.7 * n / TIMES,
                      label=f"t = {data.times[t]:.3g}")
        axes.set(xlabel="position on the ring", ylabel="density per cell")
        axes.legend()

    return picture(lines)
