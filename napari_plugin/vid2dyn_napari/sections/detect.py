"""Detect: settings of the search for particles, with a live preview on the frame on show."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox

import vid2dyn as vd
from vid2dyn_napari import layers, styles
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row
from vid2dyn_napari.worker import Latest
from vid2dyn_napari.workspace import Workspace

LINK_SETTINGS = ("search_range", "memory", "min_length", "range_growth", "predictor", "link_cost", "start", "stop")
"""Settings of `Track` that belong to the section Track and check."""


class Detect(Section):
    """Form, preview and suggestion."""

    title = "Detect"
    help = "Set the diameter until every particle in this frame has one ring around it."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        names = [name for name in vd.core.config.settings(vd.tracking.Track) if name not in LINK_SETTINGS]
        self.form: Form = form(vd.tracking.Track, only=names, first=("diameter", "minmass", "invert", "spot"))
        self.body.addWidget(self.form)
        self.live = QCheckBox("live preview on this frame")
        self.live.setToolTip("Search the frame on show whenever a setting or the slider changes.")
        self.live.setChecked(True)
        self.suggest_button = button("Suggest settings", self.suggest,
                                     "Propose diameter, minmass and search range from a few frames.")
        self.body.addWidget(row(self.live, self.suggest_button))
        self.verbs = {self.suggest_button: ("video",)}
        self.finish()
        self.latest = Latest(self)
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.timeout.connect(self.preview)
        self.in_force: tuple[Any, Any] | None = None
        self.shown: Any = None
        for signal in (self.form.changed, self.live.toggled, self.opened, workspace.time_changed):
            signal.connect(self.preview_later)

    def refresh(self) -> None:
        """Another recording: show its detections."""
        if self.shown is not self.workspace.session.video:
            self.shown, self.in_force = self.workspace.session.video, None
            self.preview_later()

    def leave(self) -> None:
        """No preview behind a closed section."""
        self.timer.stop()
        self.latest.close()
        self.workspace.drop("preview")

    def preview_later(self, *_: Any) -> None:
        """Preview after a pause without changes."""
        if self.workspace.closed:
            return
        if self.is_open and self.live.isChecked() and self.workspace.session.video is not None:
            self.timer.start(int(styles.preference("preview_delay")))
        else:
            self.timer.stop()
            self.workspace.drop("preview")

    def preview(self) -> None:
        """Search the frame on show, off the GUI thread; the newest request wins."""
        video = self.workspace.session.video
        if video is None or not self.is_open:
            return
        settings = self.guarded(self.form.build)
        if settings is None:
            self.workspace.drop("preview")
            return
        frame = int(np.clip(self.workspace.frame, 0, len(video) - 1))
        known = self.in_force

        def verb(_: Any) -> Any:
            return find_in_frame(video, settings, frame, known)

        self.latest.ask(verb, lambda found: self._show(settings, frame, found), self._failed)

    def _failed(self, error: Exception) -> None:
        self.workspace.drop("preview")
        self.fail(error)

    def _show(self, settings: Any, frame: int, found: tuple[np.ndarray, Any, float]) -> None:
        if not self.is_open or not self.live.isChecked() or self.workspace.closed:
            return
        features, in_force, seconds = found
        self.in_force = (settings, in_force)
        video = self.workspace.session.video
        sizes, names = layers.scale(video.units)
        features = points_of(features, video)
        more = 1 if video.is_stack else 0
        existing = self.workspace.ours.get("preview")
        if existing is not None and existing in self.workspace.viewer.layers:
            existing.data = features
            existing.size = settings.diameter
            existing.selected_data = set()
        else:
            active = self.workspace.viewer.layers.selection.active
            self.workspace.show_layer(features, {
                "name": "preview", "scale": (*sizes[1:], *sizes[2:] * more),
                "units": (*names[1:], *names[2:] * more), "size": settings.diameter,
                "projection_mode": "rescale_spherical" if video.is_stack else "none",
                "face_color": "transparent", "border_color": styles.RING, "border_width": 0.1,
                "axis_labels": ("z", "y", "x")[1 - more:], "opacity": 0.9}, "points")
            self.workspace.viewer.layers.selection.active = active
        automatic = " (chosen from the noise)" if settings.minmass is None else ""
        brighter = f", brighter than minmass {in_force.minmass:.4g}{automatic}" if in_force.minmass else ""
        wide = f"; {in_force.spot_width:.2g} px wide, {in_force.axial_width:.2g} planes deep" * more
        self.say(f"{len(features)} particles in frame {frame}{brighter}{wide}; {1e3 * seconds:.0f} ms.",
                 "good" if len(features) else "note")

    def suggest(self) -> None:
        """Fill both forms with proposed settings."""
        video = self.workspace.session.video
        self.start(lambda progress: vd.suggest(video, progress=progress), self._fill_in, "measuring")

    def _fill_in(self, found: Any) -> None:
        settings = found.changed()
        self.form.fill(settings)
        self.workspace.sections["Track and check"].form.fill(settings)
        self.say(" ".join(found.warnings) or "Settings filled in, the search range in the next section too.",
                 "note" if found.warnings else "good")
        self.preview_later()


def find_in_frame(video: Any, settings: Any, frame: int,
                  known: tuple[Any, Any] | None) -> tuple[np.ndarray, Any, float]:
    """Features in one frame, the settings in force, and the seconds of the search.

    `known` are settings and those in force for them, from a frame before.

    Raises
    ------
    ConfigError
        When a length is larger than the frame.
    """
    settings.fits(video.info.height, video.info.width)
    if known is not None and known[0] == settings:
        in_force = known[1]
    elif video.is_stack:
        in_force = vd.tracking.plan_of(video, settings).in_force
    else:
        few = vd.tracking.frame_numbers(video, 0, len(video))
        in_force = vd.tracking.settings_in_force([video[k] for k in few], settings)
    image = video[frame]
    begin = time.perf_counter()
    find = vd.tracking.stack_detector(video, in_force) if video.is_stack else vd.tracking.detector(in_force)
    features = find(image)
    return features, in_force, time.perf_counter() - begin


def points_of(features: np.ndarray, video: Any) -> np.ndarray:
    """Places [px] in the order of the axes of layers: (N, 2) y, x, of stacks (N, 3) z, y, x."""
    columns = vd.tracking.StackFeature
    return features[:, [columns.Z, columns.Y, columns.X]] if video.is_stack else features[:, :2]
