"""Are the windows of a field short and long enough? Covariance of every window over that of the model."""

from __future__ import annotations

from matplotlib.axes import Axes

from vid2dyn.reports.figures import DATA, MUTED, picture
from vid2dyn.reports.headline import checks
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class Windows(ReportSection):
    """Covariance of the increments over every window, data over model: one, on the plateau."""

    order = 50.0

    def applies(self, content: Content) -> bool:
        """Where the model was learned from increments over windows."""
        return content.model is not None and "windows" in content.model.report

    def build(self, content: Content) -> Section:
        """The plateau, and the table of checks."""
        windows = content.model.report["windows"]

        def draw(axes: Axes) -> None:
            axes.axhline(1.0, color=MUTED, lw=0.8, ls=":")
            for used, marker in ((True, "o"), (False, "x")):
                some = [w for w in windows if w["used"] is used]
                if some:
                    axes.errorbar([w["width"] for w in some], [w["covariance_ratio"] for w in some],
                                  yerr=[1.96 * w["stderr"] for w in some], fmt=marker, ms=4, color=DATA,
                                  label="used for the mobility" if used else "too long: drift only")
            axes.set(xlabel="window", ylabel="covariance, data over model", xscale="log")
            axes.legend()

        caption = ("Plateau of windows. Away from one at short windows: hops still remember; at long ones: diffusion "
                   "over an element is not what the correction takes it for.")
        return Section("trust", "Are the windows short and long enough?", "The covariance of increments over a "
                       "window, corrected for what relaxes in it, must not depend on its length.",
                       [figure(picture(draw), caption)],
                       {"head": ["check", "value"], "rows": checks(content.model.report)})
