"""What was seen: a frame with its detections, and the tracks from above."""

from __future__ import annotations

import numpy as np

from vid2dyn.reports import figures
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class Seen(ReportSection):
    """First frame with its detections, and the tracks from above."""

    order = 10.0

    def applies(self, content: Content) -> bool:
        """Wherever there are particles."""
        return not content.of_fields

    def build(self, content: Content) -> Section:
        """Pictures of detections (with a recording) and of tracks (where particles were linked)."""
        tracks, video = content.data, content.video
        drawn = []
        if video is not None and len(tracks):
            at = int(tracks.frame.min())
            here = tracks.dataframe[tracks.frame == at]
            settings = tracks.info.get("parameters") or {}
            diameter, stubs = settings.get("diameter") or 11, settings.get("min_length") or 1
            short = f" Tracks seen in fewer than {stubs} frames are left out." if stubs > 1 else ""
            image = video.projected()[at]
            drawn.append(figure(figures.detections(image, here[["y", "x"]].to_numpy(), float(np.mean(diameter))),
                                f"Frame {at} with its {len(here)} detections"
                                f"{', the brightest voxel over the depth' * video.is_stack}. "
                                f"Every particle should wear one circle.{short}"))
        scale, unit = (tracks.units.micrometre_per_pixel, "µm") if tracks.units.micrometre_per_pixel else (1.0, "px")
        linked = tracks.linked()
        if len(linked):
            yx = linked.dataframe[["y", "x"]].to_numpy() * scale
            cuts = np.flatnonzero(np.diff(linked.particle)) + 1
            extent = None if tracks.field_of_view is None else tuple(scale * edge for edge in tracks.field_of_view[:2])
            drawn.append(figure(figures.paths(np.split(yx, cuts), extent, unit),  # type: ignore[arg-type]
                                f"Tracks. One colour each, {min(linked.n_particles, figures.MAX_TRACKS)} of "
                                f"{linked.n_particles} drawn. Straight jumps would be wrong links."))
        return Section("seen", "What was seen", "If detections or tracks look wrong here, everything below is wrong "
                       "too: change diameter, minmass or search_range and track again.", drawn)
