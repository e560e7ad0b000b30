"""What was seen: a frame with its detections, and the tracks from above."""

from __future__ import annotations

import numpy as np

from vid2dyn.data.trajectories import Trajectories
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
            yx, size = here[["y", "x"]].to_numpy(), float(np.mean(diameter))
            flat = video.projected()
            top, bottom, left, right = figures.close_up(flat.shape, yx, size)
            part = "" if (bottom - top, right - left) == tuple(flat.shape) else \
                f" Drawn are rows {top} to {bottom - 1} and columns {left} to {right - 1}."
            drawn.append(figure(figures.detections(flat[at], yx, size),
                                f"Frame {at} with its {len(here)} detections"
                                f"{', the brightest voxel over the depth' * video.is_stack}. "
                                f"Every particle should wear one circle.{short}{part}{_edges(tracks)}"))
        scale, unit = (tracks.units.micrometre_per_pixel, "µm") if tracks.units.micrometre_per_pixel else (1.0, "px")
        linked = tracks.linked()
        if len(linked):
            yx = linked.dataframe[["y", "x"]].to_numpy() * scale
            cuts = np.flatnonzero(np.diff(linked.particle)) + 1
            extent = None if tracks.field_of_view is None else tuple(scale * edge for edge in tracks.field_of_view[:2])
            shown = min(linked.n_particles, figures.MAX_TRACKS)
            those = f"all {shown}" if shown == linked.n_particles else \
                f"the {shown} of {linked.n_particles} nearest to the middle"
            drawn.append(figure(figures.paths(np.split(yx, cuts), extent, unit),  # type: ignore[arg-type]
                                f"Tracks, {those}. One colour each. Straight jumps would be wrong links."))
        lead = ("If detections or tracks look wrong here, everything below is wrong too: change diameter, minmass or "
                "search_range and track again." if tracks.info.get("parameters") else
                "Tracks of a simulation, as they were made." if content.truth or "rollout" in tracks.info else
                "Tracks as they were given. If they look wrong here, everything below is wrong too.")
        return Section("seen", "What was seen", lead, drawn)


def _edges(tracks: Trajectories) -> str:
    """What the edges of the frame, or of a region of interest, mean for densities."""
    if tracks.region is not None:
        return (" Particles were looked for in a region of interest only; its edges count like those of the view in "
                "densities, g(r) and forces.")
    if tracks.field_of_view is None or len(tracks) < 2:
        return ""
    yx = tracks.dataframe[["y", "x"]].to_numpy(dtype=float)
    margin = min(float(yx.min()), *(edge - 1 - yx[:, k].max() for k, edge in enumerate(tracks.field_of_view[:2])))
    if margin < 1.0:
        return ""
    return (f" The outermost {margin:.0f} px of the frame hold no detection, because images that the edge cuts are not "
            "located; densities and g(r) refer to the area inside.")
