"""Does the model move like the data? Statistics of the data beside those of the rollout."""

from __future__ import annotations

from vid2dyn.reports import figures
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure

_POSITIONS = (" No velocity was recorded: it is that of mean velocities, displacement over frame interval, whose "
              "value at lag 0 is set by D and the interval. Of Brownian motion it falls below zero at one frame by "
              "noise and forces, and is near zero from then on; it says nothing of inertia.")


class Agreement(ReportSection):
    """Radial distribution, mean squared displacement and velocity correlation of data and rollout."""

    order = 40.0

    def applies(self, content: Content) -> bool:
        """Where trajectories were compared with a rollout."""
        return content.comparison is not None

    def build(self, content: Content) -> Section:
        """One picture for each curve, and their differences beside those of noise alone."""
        drawn, rows = [], []
        for curve in content.comparison.curves:
            drawn.append(figure(figures.curves(curve), f"{curve.name} of the data and of the model's rollout."
                                + (_POSITIONS if curve.name == "VACF" and content.data.velocities is None else "")))
            rows.append([curve.name, f"{100 * curve.relative_rmse:.1f} %",
                         f"{100 * curve.relative_rmse_of_noise:.1f} %"])
        table = {"head": ["", "relative RMSE", "from noise alone"], "rows": rows}
        return Section("agreement", "Does the model move like the data?", "The model was started from the first frame "
                       "and left to run with its own thermal noise. Differences beyond the noise alone are real."
                       + _about_region(content), drawn, table)


def _about_region(content: Content) -> str:
    """What was done where the recording has a region of interest that is no rectangle."""
    around = getattr(content.rollout, "info", {}).get("rollout", {}).get("around_region")
    if around is None:
        return ""
    um = content.rollout.units.um
    height, width = (edge * um for edge in around["box"])
    return (f" It ran in a periodic box of {height:.3g} x {width:.3g} µm around the region of interest, in which "
            f"{around['added']} particles were put beside those of the region, as they were seen in it in other frames "
            "and at its density. Counted is what lies inside the region, on both sides alike.")
