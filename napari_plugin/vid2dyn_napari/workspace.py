"""What all sections of the panel work on: the session, the worker, the layers that show them, and the time on show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from vid2dyn_napari import layers, styles
from vid2dyn_napari.followers import Follower
from vid2dyn_napari.session import Session, Step
from vid2dyn_napari.worker import Worker

if TYPE_CHECKING:
    import napari.viewer


class Workspace(QObject):
    """The interface that a section gets: one session, one worker, and the layers in one viewer.

    Sections change the session through the worker, call `changed` when it did, and put layers into the viewer by name.
    The panel listens to `session_changed` and `buttons_changed` and refreshes its sections.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers go.
    parent : QObject, optional
        The panel; this object goes when it goes.
    """

    time_changed = Signal(float)
    """The slider moved: time [s], or frames where the frame rate is unknown."""

    session_changed = Signal()
    """Something was opened, tracked, fitted or rolled out."""

    buttons_changed = Signal()
    """What can be started now may have changed."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.session = Session()
        self.worker = Worker(self)
        self.worker.ended.connect(self.buttons_changed)
        self.ours: dict[str, Any] = {}
        self.followers: dict[str, Follower] = {}
        self.sections: Mapping[str, Any] = {}
        """Sections by title, set by the panel: a section unfolds another, or reads and fills its form."""
        self.closed = False
        self.viewer.dims.events.current_step.connect(self._moved)

    # ---------------------------------------------------------------- session

    def changed(self) -> None:
        """Tell all sections that the session changed."""
        self.session_changed.emit()
        self.buttons_changed.emit()

    def refresh_buttons(self) -> None:
        """Tell the panel that a verb was started or ended."""
        self.buttons_changed.emit()

    def show_data(self) -> None:
        """Replace our layers by those of what is open now."""
        for name in list(self.ours):
            self.drop(name)
        session = self.session
        for thing in (session.video, session.tracks):
            if thing is not None:
                self.show_thing(thing, session.name if thing is session.video else "")
        if session.video is None and session.tracks is not None:
            self.follow("data particles", session.tracks, layers.columns(session.tracks)[0], 0.0)
        self.show_overlays()
        self.changed()

    # ---------------------------------------------------------------- layers

    def show_thing(self, thing: Any, name: str = "", offset: float = 0.0, **more: Any) -> Any:
        """Add the layer of a Video, Trajectories or Fields, replacing one of the same name; returns it."""
        data, settings, kind = layers.layers_of(thing, name)[0]
        first, *rest = settings.get("translate", (0.0, 0.0, 0.0))
        settings["translate"] = (first, *rest[:-1], rest[-1] + offset)
        settings["metadata"] = {**settings.get("metadata", {}), **more.pop("metadata", {})}
        return self.show_layer(data, {**settings, **more}, kind)

    def show_layer(self, data: Any, settings: dict[str, Any], kind: str) -> Any:
        """Add a layer of ours, replacing one of the same name."""
        from napari.layers import Layer

        name = settings["name"]
        self.drop(name)
        layer = Layer.create(data, settings, kind)
        self.ours[name] = layer
        self.viewer.add_layer(layer)
        return layer

    def drop(self, name: str) -> None:
        """Remove a layer of ours, if it is there."""
        layer = self.ours.pop(name, None)
        self.followers.pop(name, None)
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def follow(self, name: str, tracks: Any, column: str, offset: float, limits: Any = None) -> Follower:
        """Particles of the frame on show, coloured by a column, as a layer that follows the slider."""
        follower = Follower(tracks, column, offset, limits)
        layer = self.show_layer(*follower.layer(name))
        follower.attach(layer)
        self.followers[name] = follower
        follower.show(self.time)
        return follower

    def show_overlays(self) -> None:
        """A scale bar and the time in seconds on the canvas; the slider's label says what it counts."""
        overlays = self.viewer.canvas.overlays
        overlays.scale_bar.visible = self.session.fields is None
        overlays.text.visible = True
        overlays.text.position = "top_left"
        overlays.text.font_size = 14
        if self.session.fields is not None:
            self.show_fields()
        else:
            self.viewer.dims.set_current_step(0, 0)
            self._moved()

    def show_fields(self) -> None:
        """Densities of data and model, times side by side; the canvas says what is across and what is down."""
        session = self.session
        span = max(float(np.ptp(f.times)) for f in (session.fields, session.future) if f is not None)
        places = [("density", session.fields, 0.0, {}), ("model", session.future, 1.0 + styles.GAP,
                                                         {"model": session.model})]
        for name, fields, offset, about in places:
            if fields is not None:
                data, settings, kind = layers.fields_layer(fields, name, offset, span)
                settings["metadata"] |= about
                self.show_layer(data, settings, kind)
        beside = "" if session.future is None else ": data, model"
        self.viewer.canvas.overlays.text.text = f"ring across, time down to {span:.3g}{beside}"
        self.viewer.reset_view()

    # ---------------------------------------------------------------- time

    @property
    def time(self) -> float:
        """Where the slider stands [s], or [frames]."""
        dims = self.viewer.dims
        return float(dims.point[0]) if dims.ndim >= 3 else 0.0

    @property
    def frame(self) -> int:
        """The frame on show."""
        data = self.session.video if self.session.video is not None else self.session.tracks
        if data is None:
            return 0
        return round(self.time / layers.scale(data.units)[0][0])

    def _moved(self, _: Any = None) -> None:
        if self.closed:
            return
        for follower in self.followers.values():
            follower.show(self.time)
        self.label_time()
        self.time_changed.emit(self.time)

    def label_time(self) -> None:
        """Where the slider stands in seconds, on the canvas and as the slider's own label; napari counts frames."""
        data = self.session.video if self.session.video is not None else self.session.tracks
        dims = self.viewer.dims
        if data is None or dims.ndim < 3:
            return
        rate = data.units.frames_per_second
        label = f"frame {self.frame}" if rate is None else layers.seconds(self.time, 1.0 / rate)
        self.viewer.canvas.overlays.text.text = label
        if dims.axis_labels[0] != label:
            dims.set_axis_label(0, label)

    def close(self) -> None:
        """Cancel what runs and let go of the viewer."""
        self.closed = True
        self.session.drop_running()
        self.worker.close()
        self.viewer.dims.events.current_step.disconnect(self._moved)


def origin(layer: Any, carried: Any) -> Step:
    """How a layer's data came to be, as far as one can tell."""
    made = layer.metadata.get("simulate")
    if made is not None:
        return Step("simulate", dict(made))
    path = getattr(carried, "path", None) or getattr(layer.source, "path", None)
    if path is not None and Path(path).exists():
        return Step("open", {"path": Path(path), "calibration": {}})
    return Step("table", {})
