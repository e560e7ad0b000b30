"""How the particles move: mean squared displacement with the line of the diffusion estimate."""

from __future__ import annotations

import numpy as np

from vid2dyn.core.describe import with_error
from vid2dyn.reports import figures
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class Motion(ReportSection):
    """Mean squared displacement with the line of the diffusion estimate."""

    order = 20.0

    def applies(self, content: Content) -> bool:
        """Where displacements gave an estimate."""
        return content.measured is not None

    def build(self, content: Content) -> Section | None:
        """The picture, and a table of D along each axis; None where there is no mean squared displacement."""
        from vid2dyn.analysis import drift, msd

        tracks, measured = content.data, content.measured
        removed = measured.drift_removed and tracks.drift is None
        still = tracks.without_drift(drift(tracks)) if removed else tracks
        found = content.attempt(lambda: msd(still), "Mean squared displacement")
        if found is None:
            return None
        good = np.isfinite(found.value) & (found.value > 0)
        lag, noise = found.lag[good], measured.localisation_error
        noise = noise if noise is not None and np.isfinite(noise) else 0.0
        blur = 2 * tracks.units.blur * tracks.units.dt
        line = 2 * tracks.dim * (measured.D * (lag - blur) + noise**2)
        plot = figures.msd(lag, found.value[good], found.stderr[good], np.where(line > 0, line, np.nan))
        caption = (f"Mean squared displacement{', common drift taken out' if removed else ''}. Points above the line "
                   "at long times mean flow, below it confinement or interactions.")
        rows = [[f"D along {axis}", with_error(value, error, "µm²/s")]
                for axis, value, error in zip(measured.axes, measured.D_per_axis, measured.D_per_axis_stderr)]
        rows += [["estimated from", f"{measured.method}, lags {measured.lags[0]} to {measured.lags[-1]} frames"],
                 ["displacements", f"{measured.n_displacements} of {measured.n_tracks} tracks"],
                 ["common drift", "taken out" if measured.drift_removed else "kept"]]
        lead = f"Displacements give D = {with_error(measured.D, measured.D_stderr, 'µm²/s')}."
        return Section("motion", "How the particles move", lead, [figure(plot, caption)],
                       {"head": [], "rows": rows}, content.doubts)
