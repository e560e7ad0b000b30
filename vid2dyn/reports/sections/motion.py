"""How the particles move: mean squared displacement with the line of the diffusion estimate."""

from __future__ import annotations

from typing import Any

import numpy as np

from vid2dyn.core.describe import with_error
from vid2dyn.core.errors import Vid2DynError
from vid2dyn.reports import figures
from vid2dyn.reports.drawing import EstimatedMSD
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure

APART, LEAST = 5.0, 0.1
"""Standard errors, and part of D, by which the estimate without tracking differs where a page says so."""
LOOKED_AT, SQUARE = 300, 512
"""Frames that the second opinion is taken from, and the edge of the square in their middle [px], at most."""


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
        untracked = _untracked(content)
        if untracked is not None:
            apart = (untracked.D - measured.D) / np.hypot(untracked.D_stderr, measured.D_stderr)
            rows.append(["D without tracking, from the wave numbers of the pictures",
                         f"{with_error(untracked.D, untracked.D_stderr, 'µm²/s')}, {abs(apart):.1f} standard errors "
                         f"{'above' if apart > 0 else 'below'}"])
            if abs(apart) > APART and abs(untracked.D / measured.D - 1) > LEAST:
                both = [with_error(one.D, one.D_stderr, "µm²/s") for one in (untracked, measured)]
                content.doubts.append(
                    f"Differential dynamic microscopy, which finds no particles, gives D = {both[0]} of the same "
                    f"movie; displacements give {both[1]}. Wrong links, particles that are not tracked, forces (it "
                    "sees their collective motion) or motion along the line of sight make them differ.")
        lead = f"Displacements give D = {with_error(measured.D, measured.D_stderr, 'µm²/s')}."
        return Section("motion", "How the particles move", lead, [figure(plot, caption)],
                       {"head": [], "rows": rows}, content.doubts)


def _untracked(content: Content) -> Any:
    """D of the frames that were tracked, without tracking; None where there is no movie or nothing to say."""
    from vid2dyn.analysis import differential_dynamics

    video, tracks = content.video, content.data
    if video is None or (content.model is not None and not content.model.explains_displacements):
        return None
    start = int(tracks.frame.min())
    stop = min(int(tracks.frame.max()) + 1, start + LOOKED_AT)
    middle = [slice(max(0, (edge - SQUARE) // 2), max(0, (edge - SQUARE) // 2) + min(edge, SQUARE))
              for edge in video.shape]
    try:
        return differential_dynamics(video[start:stop, middle[0], middle[1]])
    except Vid2DynError:                                   # a second opinion that there is none of is no warning
        return None
