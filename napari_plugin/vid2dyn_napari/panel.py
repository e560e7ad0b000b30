"""The dock widget: sections in a column, the session they share, and the layers that show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

import vid2dyn as vd
from vid2dyn_napari import layers, styles
from vid2dyn_napari.followers import Follower
from vid2dyn_napari.sections import SECTIONS
from vid2dyn_napari.session import Session, Step
from vid2dyn_napari.worker import Worker

if TYPE_CHECKING:
    import napari.viewer


class Panel(QWidget):
    """From a video to a learned model, rolled out beside the data.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers go.
    """

    time_changed = Signal(float)
    """The slider moved: time [s], or frames where the frame rate is unknown."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.session = Session()
        self.worker = Worker(self)
        self.worker.ended.connect(self.refresh_buttons)
        self.ours: dict[str, Any] = {}
        self.followers: dict[str, Follower] = {}
        self.closed = False
        self._watched: QWidget | None = None
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        self.sections: dict[str, Any] = {}
        for number, kind in enumerate(SECTIONS, start=1):
            section = kind(self, number)
            self.sections[kind.title] = section
            column.addWidget(section)
        column.addStretch(1)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.area)
        self.setMinimumWidth(styles.PANEL_WIDTH)
        self.viewer.dims.events.current_step.connect(self._moved)
        self.viewer.layers.events.inserted.connect(self._inserted)
        self.sections["Open"].unfold()
        for layer in self.viewer.layers:
            self._adopt(layer)
        self.changed()

    # ---------------------------------------------------------------- session

    def changed(self) -> None:
        """Tell all sections that the session changed."""
        for section in self.sections.values():
            section.guarded(section.refresh)
        self.refresh_buttons()

    def refresh_buttons(self) -> None:
        """What can be started now: nothing while a verb runs."""
        for section in self.sections.values():
            for button, needs in getattr(section, "verbs", {}).items():
                button.setEnabled(not self.worker.busy and self.session.ready(*needs))

    def show_data(self) -> None:
        """Replace our layers by those of what is open now, and move on to the next section."""
        for name in list(self.ours):
            self.drop(name)
        session = self.session
        for thing in (session.video, session.tracks):
            if thing is not None:
                self.show_thing(thing, session.name if thing is session.video else "")
        if session.video is None and session.tracks is not None:
            self.follow("data particles", session.tracks, layers.columns(session.tracks)[0], 0.0)
        self._overlays()
        self.changed()

    def _adopt(self, layer: Any) -> None:
        """Take what a layer from napari's own menus carries, if nothing is open yet."""
        carried = layer.metadata.get("vid2dyn") if isinstance(layer.metadata, dict) else None
        if carried is None or any(layer is ours for ours in self.ours.values()):
            return
        session = self.session
        if not session.ready("video") and not session.ready("data") and isinstance(
                carried, vd.Video | vd.Trajectories | vd.Fields):
            session.take(carried, origin(layer, carried))
            self.ours[layer.name] = layer
            self.sections["Open"].opened_now(carried)
            self._overlays()
        elif isinstance(carried, vd.Model):
            session.open(layer.metadata["path"])

    def _inserted(self, event: Any) -> None:
        if not self.closed:
            self._adopt(event.value)
            self.changed()
            self._tell_time()                              # a layer that is added names the axis again

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

    def _overlays(self) -> None:
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
        self._tell_time()
        self.time_changed.emit(self.time)

    def _tell_time(self) -> None:
        """Where the slider stands in seconds, on the canvas and as the slider's own label; napari counts frames."""
        data = self.session.video if self.session.video is not None else self.session.tracks
        dims = self.viewer.dims
        if data is None or dims.ndim < 3:
            return
        rate = data.units.frames_per_second
        said = f"frame {self.frame}" if rate is None else layers.seconds(self.time, 1.0 / rate)
        self.viewer.canvas.overlays.text.text = said
        if dims.axis_labels[0] != said:
            dims.set_axis_label(0, said)

    # ---------------------------------------------------------------- the end

    def showEvent(self, event: Any) -> None:
        """Watch the window, so that its end is ours."""
        super().showEvent(event)
        if self._watched is None:
            self._watched = self.window()
            if self._watched is not None:
                self._watched.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stop everything when the window closes."""
        if event is not None and event.type() == QEvent.Type.Close and watched is self._watched:
            self.stop()
        return False

    def closeEvent(self, event: Any) -> None:
        """Stop everything when the panel closes."""
        self.stop()
        super().closeEvent(event)

    def stop(self) -> None:
        """Cancel what runs and let go of the viewer."""
        if self.closed:
            return
        self.closed = True
        self.session.abandon()
        self.worker.close()
        for section in self.sections.values():
            section.leave()
        self.viewer.dims.events.current_step.disconnect(self._moved)
        self.viewer.layers.events.inserted.disconnect(self._inserted)


def origin(layer: Any, carried: Any) -> Step:
    """How a layer's data came to be, as far as one can tell."""
    made = layer.metadata.get("simulate")
    if made is not None:
        return Step("simulate", dict(made))
    path = getattr(carried, "path", None) or getattr(layer.source, "path", None)
    if path is not None and Path(path).exists():
        return Step("open", {"path": Path(path), "calibration": {}})
    return Step("table", {})


def open_panel(viewer: napari.viewer.Viewer) -> Any:
    """The panel in a viewer, opened if it is not there; what `vid2dyn view` calls."""
    _, widget = viewer.window.add_plugin_dock_widget("vid2dyn", "Video to model")
    return widget


def open_here() -> Any:
    """The panel in the viewer that is open; what the menus Layers > Track and Layers > Visualize call."""
    import napari

    viewer = napari.current_viewer()
    return None if viewer is None else open_panel(viewer)


def nearest(values: np.ndarray, value: float) -> int:
    """Index of the nearest."""
    return int(np.abs(np.asarray(values) - value).argmin())
