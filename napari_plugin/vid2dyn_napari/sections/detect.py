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
        self.draw_button = button("Draw region", self.draw,
                                  "Draw a polygon or a rectangle: only particles inside are looked for. Its corners go "
                                  "into the setting roi.")
        self.whole_button = button("Whole frame", self.whole_frame, "Take the region away.")
        self.seen = QCheckBox("show frames as searched")
        self.seen.setToolTip("The movie as detection sees it: cut to the region, flat field, bleaching and background "
                             "corrected, as a layer named \"prepared\".")
        self.body.addWidget(row(self.draw_button, self.whole_button, self.seen, stretch=2))
        self.verbs = {self.suggest_button: ("video",), self.draw_button: ("video",), self.whole_button: ("video",)}
        self.finish()
        self.latest = Latest(self)
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.timeout.connect(self.preview)
        self.in_force: tuple[Any, Any] | None = None
        self.shown: Any = None
        self.looked: Any = None
        self.seen.toggled.connect(self.show_prepared)
        self.form.changed.connect(self._roi_typed)
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
        self.looked = None
        for name in ("preview", "prepared"):
            self.workspace.drop(name)

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
        if self.seen.isChecked():
            self._show_frames(video, settings)
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
        wide = f"; {in_force.spot_width:.2g} px wide, {in_force.axial_width:.2g} planes deep" if video.is_stack else ""
        self.say(f"{len(features)} particles in frame {frame}{brighter}{wide}; {1e3 * seconds:.0f} ms.",
                 "good" if len(features) else "note")

    # ---------------------------------------------------------------- region of interest, frames as searched

    def draw(self) -> None:
        """A layer of shapes to draw the region in; what is drawn last counts."""
        video = self.workspace.session.video
        layer = self.workspace.ours.get("region")
        if layer is None or layer not in self.workspace.viewer.layers:
            layer = self.region_layer([])
        self.workspace.viewer.layers.selection.active = layer
        layer.mode = "add_polygon"
        if self.workspace.viewer.dims.ndisplay != 2 or video is None:
            self.workspace.viewer.dims.ndisplay = 2
        self.say("Click the corners in the picture, the last one twice. Other shapes of the layer's own buttons "
                 "(rectangle, free line) do as well.", "note")

    def region_layer(self, shapes: list[np.ndarray]) -> Any:
        """The layer of shapes with `shapes` in it, corners (y, x) [px]."""
        sizes, names = layers.scale(self.workspace.session.video.units)
        layer = self.workspace.show_layer(shapes, {
            "name": "region", "ndim": 2, "scale": sizes[1:], "units": names[1:], "axis_labels": ("y", "x"),
            "face_color": "transparent", "edge_color": styles.RING, "edge_width": 1, "shape_type": "polygon"}, "shapes")
        layer.events.data.connect(lambda event: self._drawn(layer))
        return layer

    def _drawn(self, layer: Any) -> None:
        """The last shape of the layer is the region."""
        mine = self.workspace.ours.get("region") is layer
        if self.workspace.closed or not mine or not len(layer.data):
            return
        roi = corners_of(layer.data[-1])
        field = self.form.fields["roi"]
        if len(roi) > 1 and roi != field.value():
            field.show_value(roi)
            self.form.changed.emit()

    def whole_frame(self) -> None:
        """No region."""
        self.workspace.drop("region")
        self.form.fields["roi"].show_value(None)
        self.form.changed.emit()

    def _roi_typed(self) -> None:
        """Another region than the one on show: the drawing goes."""
        layer: Any = self.workspace.ours.get("region")
        try:
            roi = self.form.fields["roi"].value()
        except ValueError:
            return
        shapes = [] if layer is None else list(layer.data)
        if shapes and roi != corners_of(shapes[-1]):
            self.workspace.drop("region")

    def show_prepared(self, on: bool) -> None:
        """Show or hide the layer of prepared frames."""
        self.looked = None
        if on:
            self.preview_later()
        else:
            self.workspace.drop("prepared")

    def _show_frames(self, video: Any, settings: Any) -> None:
        looked = vd.tracking.prepared(video, settings)
        if looked is self.looked:
            return
        self.looked = looked
        viewer = self.workspace.viewer
        active = viewer.layers.selection.active
        data, about, kind = layers.video_layer(looked, "prepared")
        sizes = layers.scale(video.units)[0]
        top, left = getattr(looked, "origin", (0, 0))
        about["translate"] = (0.0, top * sizes[1], left * sizes[2])
        layer = self.workspace.show_layer(data, about, kind)
        below = [k for k, other in enumerate(viewer.layers) if other._type_string == "image" and other is not layer]
        viewer.layers.move(viewer.layers.index(layer), max(below, default=-1) + 1)
        viewer.layers.selection.active = active if active in viewer.layers else None

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


def corners_of(shape: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Corners (y, x) of a drawn shape to a tenth of a pixel; two opposite ones of an upright rectangle.

    >>> corners_of(np.array([[1, 2], [1, 8], [5, 8], [5, 2]]))
    ((1.0, 2.0), (5.0, 8.0))
    """
    yx = np.round(np.asarray(shape, dtype=float)[:, -2:], 1)
    if len(yx) == 4 and all(len(np.unique(yx[:, k])) == 2 for k in (0, 1)):
        yx = np.stack([yx.min(axis=0), yx.max(axis=0)])
    return tuple((float(y), float(x)) for y, x in yx)


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
    looked = vd.tracking.prepared(video, settings)
    if known is not None and known[0] == settings:
        in_force = known[1]
    elif video.is_stack:
        in_force = vd.tracking.plan_of(video, settings).in_force
    else:
        few = vd.tracking.frame_numbers(video, 0, len(video))
        in_force = vd.tracking.settings_in_force([looked[k] for k in few],
                                                 vd.tracking.prepared_settings(video, settings),
                                                 lossy=video.info.with_loss)
    image = looked[frame]
    begin = time.perf_counter()
    find = vd.tracking.stack_detector(video, in_force) if video.is_stack else vd.tracking.detector(in_force)
    features = vd.tracking.placed(looked, find(image))
    return features, in_force, time.perf_counter() - begin


def points_of(features: np.ndarray, video: Any) -> np.ndarray:
    """Places [px] in the order of the axes of layers: (N, 2) y, x, of stacks (N, 3) z, y, x."""
    columns = vd.tracking.StackFeature
    return features[:, [columns.Z, columns.Y, columns.X]] if video.is_stack else features[:, :2]
