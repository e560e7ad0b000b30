"""Track and check: link the particles, and look whether the result can be trusted."""

from __future__ import annotations

import dataclasses
from typing import Any

from qtpy.QtWidgets import QLabel

import vid2dyn as vd
from vid2dyn_napari import curves, plots
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row, sentence
from vid2dyn_napari.sections.detect import LINK_SETTINGS
from vid2dyn_napari.workspace import Workspace

CANCEL_TIMEOUT = 5000
"""Milliseconds that a cancelled tracking may take to finish its frame and link what it has."""


@dataclasses.dataclass(frozen=True)
class Motion:
    """The diffusion estimate and the mean squared displacement behind it."""

    diffusion: Any
    msd: Any


@dataclasses.dataclass(frozen=True)
class Check:
    """What the plots of this section show; `motion` is None where `why` says so."""

    histograms: list[curves.Histogram]
    phase: Any
    counts: Any
    motion: Motion | None
    why: str = ""


class Track(Section):
    """Form, progress, histograms with cuts, D with its warnings."""

    title = "Track and check"
    help = "Link particles from frame to frame; drag the yellow lines to drop detections that are not particles."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.form: Form = form(vd.tracking.Track, only=LINK_SETTINGS, first=("search_range", "memory", "min_length"))
        self.body.addWidget(self.form)
        self.track_button = button("Track", self.track, "Find and link all particles with the settings above.")
        self.hint = QLabel("")
        self.body.addWidget(row(self.track_button, self.hint))
        self.canvas = plots.Canvas(135)
        self.canvas.cut.connect(self.cut)
        self.body.addWidget(self.canvas)
        self.result = sentence("")
        self.body.addWidget(self.result)
        self.verbs = {self.track_button: ("video",)}
        self.checked: Any = None
        self.finish()

    def settings(self) -> Any:
        """All settings of the tracker, from this form and the one of Detect."""
        return self.form.build(**self.workspace.sections["Detect"].form.values())

    def track(self) -> None:
        """Track, then compute what the plots show."""
        settings = self.guarded(self.settings)
        if settings is None:
            return
        session = self.workspace.session

        def verb(progress: Any) -> Any:
            tracks = session.track(settings, progress)
            # a cancelled tracking is shown at once; `refresh` checks it afterwards
            return tracks, None if progress.stop.is_set() else check(tracks)

        self.start(verb, lambda found: self._show_tracks(settings, *found), "tracking", cancel_timeout=CANCEL_TIMEOUT)

    def _show_tracks(self, wanted: Any, tracks: Any, found: Check | None) -> None:
        workspace = self.workspace
        workspace.sections["Detect"].unfold(False)
        self.hint.setText("")
        if found is not None:
            self.show_check(tracks, found)
        workspace.show_thing(tracks, "tracks")
        workspace.changed()
        stop = (tracks.info.get("parameters") or {}).get("stop")
        if stop is not None and stop != wanted.stop:
            self.say(f"Cancelled: the {tracks.n_frames} frames that were done are kept; script and experiment "
                     f"file say stop = {stop}. Press Track again for the whole movie.", "note")

    def refresh(self) -> None:
        """Tracks that were opened rather than made are checked too."""
        tracks = self.workspace.session.tracks
        if tracks is None:
            self.checked = None
            self.canvas.clear()
            self.result.setText("")
        elif tracks is not self.checked and self.is_open and not self.workspace.worker.busy:
            self.checked = tracks
            self.start(lambda progress: check(tracks), lambda found: self.show_check(tracks, found), "checking")

    def show_check(self, tracks: Any, found: Check) -> None:
        """Draw the plots and say what D is."""
        self.checked = tracks
        settings = tracks.info.get("parameters") or {}
        draw = []
        for histogram in found.histograms:
            key, side = curves.CUTS[histogram.name]
            limit = settings.get(key)
            place = limit if limit is not None else histogram.edges[0 if side == "low" else -1]
            draw.append(plots.histogram(histogram, self.canvas, float(place)))
        motion = [] if found.motion is None else [plots.msd(found.motion.msd)]
        self.canvas.show_plots([draw, [plots.phases(*found.phase), plots.per_frame(*found.counts)], motion])
        self.result.setText(self._summary(tracks, found))

    @staticmethod
    def _summary(tracks: Any, found: Check) -> str:
        text = f"{tracks.n_particles} tracks, {len(tracks)} detections in {tracks.n_frames} frames."
        if found.motion is None:
            return f"{text}<br>{found.why}"
        D = found.motion.diffusion
        text += f"<br><b>D = {vd.reports.headline.with_error(D.D, D.D_stderr, 'µm²/s')}</b> from displacements"
        if D.localisation_error is not None and D.localisation_error > 0:
            text += f", localisation error {1e3 * D.localisation_error:.3g} nm"
        notes = dict.fromkeys([*tracks.info.get("warnings", ()), *D.warnings])
        return text + "".join(f"<br><span style='color:#ffd166'>▲ {note}</span>" for note in notes)

    def cut(self, name: str, place: float) -> None:
        """A line was dragged: put its place into the form of Detect."""
        key, side = curves.CUTS[name]
        detect = self.workspace.sections["Detect"].form
        detect.fields[key].show_value(float(f"{place:.4g}"))
        word = "above" if side == "low" else "below"
        self.hint.setText(f"{name} {word} {place:.4g}: press Track")


def check(tracks: Any) -> Check:
    """Everything the plots need; what cannot be computed says why."""
    motion, why = None, ""
    try:
        estimate = vd.diffusion(tracks)
        motion = Motion(estimate, vd.reports.drawing.EstimatedMSD.of(tracks, estimate))
    except vd.Vid2DynError as error:
        why = str(error)
    return Check(curves.histograms(tracks), curves.phase(tracks), curves.counts(tracks), motion, why)
