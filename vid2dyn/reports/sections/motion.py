"""How the particles move: mean squared displacement with the line of the diffusion estimate."""

from __future__ import annotations

from vid2dyn.core.describe import with_error
from vid2dyn.reports import figures
from vid2dyn.reports.drawing import EstimatedMSD
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class Motion(ReportSection):
    """Mean squared displacement with the line of the diffusion estimate."""

    order = 20.0

    def applies(self, content: Content) -> bool:
        """Where displacements gave an estimate."""
        return content.measured is not None

    def build(self, content: Content) -> Section | None:
        """The picture, and a table of D along each axis; None where there is no mean squared displacement."""
        tracks, measured = content.data, content.measured
        found = content.attempt(lambda: EstimatedMSD.of(tracks, measured), "Mean squared displacement")
        if found is None:
            return None
        plot = figures.msd(found)
        caption = (f"Mean squared displacement{', common drift taken out' if found.drift_removed else ''}. Points "
                   "above the line at long times mean flow, below it confinement or interactions.")
        rows = [[f"D along {axis}", with_error(value, error, "µm²/s")]
                for axis, value, error in zip(measured.axes, measured.D_per_axis, measured.D_per_axis_stderr)]
        rows += [["estimated from", f"{measured.method}, lags {measured.lags[0]} to {measured.lags[-1]} frames"],
                 ["displacements", f"{measured.n_displacements} of {measured.n_tracks} tracks"],
                 ["common drift", "taken out" if measured.drift_removed else "kept"]]
        lead = f"Displacements give D = {with_error(measured.D, measured.D_stderr, 'µm²/s')}."
        return Section("motion", "How the particles move", lead, [figure(plot, caption)],
                       {"head": [], "rows": rows}, content.doubts)
