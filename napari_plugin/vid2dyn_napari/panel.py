"""The dock widget: sections in a column, which share one workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

import vid2dyn as vd
from vid2dyn_napari import styles
from vid2dyn_napari.sections import SECTIONS
from vid2dyn_napari.workspace import Workspace, origin

if TYPE_CHECKING:
    import napari.viewer


class Panel(QWidget):
    """From a video to a learned model, rolled out beside the data.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers go.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.workspace = Workspace(napari_viewer, self)
        self.session, self.worker = self.workspace.session, self.workspace.worker
        self._watched: QWidget | None = None
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        self.sections: dict[str, Any] = {}
        self.workspace.sections = self.sections
        for number, kind in enumerate(SECTIONS, start=1):
            section = kind(self.workspace, number)
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
        self.workspace.session_changed.connect(self.refresh)
        self.workspace.buttons_changed.connect(self.refresh_buttons)
        self.viewer.layers.events.inserted.connect(self._inserted)
        self.sections["Open"].unfold()
        for layer in self.viewer.layers:
            self._adopt(layer)
        self.workspace.changed()

    @property
    def closed(self) -> bool:
        """Whether the panel let go of the viewer."""
        return self.workspace.closed

    def refresh(self) -> None:
        """The session changed: every section shows what there is now."""
        for section in self.sections.values():
            section.guarded(section.refresh)

    def refresh_buttons(self) -> None:
        """What can be started now: nothing while a verb runs."""
        for section in self.sections.values():
            for button, needs in section.verbs.items():
                button.setEnabled(not self.worker.busy and self.session.ready(*needs))

    # ---------------------------------------------------------------- layers of others

    def _adopt(self, layer: Any) -> None:
        """Take what a layer from napari's own menus carries, if nothing is open yet."""
        workspace, session = self.workspace, self.session
        carried = layer.metadata.get("vid2dyn") if isinstance(layer.metadata, dict) else None
        if carried is None or any(layer is ours for ours in workspace.ours.values()):
            return
        if not session.ready("video") and not session.ready("data") and isinstance(
                carried, vd.Video | vd.Trajectories | vd.Fields):
            session.take(carried, origin(layer, carried))
            workspace.ours[layer.name] = layer
            self.sections["Open"].show_opened(carried)
            workspace.show_overlays()
        elif isinstance(carried, vd.Model):
            session.open(layer.metadata["path"])

    def _inserted(self, event: Any) -> None:
        if not self.closed:
            self._adopt(event.value)
            self.workspace.changed()
            self.workspace.label_time()                    # a layer that is added names the axis again

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
        self.workspace.close()
        for section in self.sections.values():
            section.leave()
        self.viewer.layers.events.inserted.disconnect(self._inserted)


def open_panel(viewer: napari.viewer.Viewer) -> Any:
    """The panel in a viewer, opened if it is not there; what `vid2dyn view` calls."""
    _, widget = viewer.window.add_plugin_dock_widget("vid2dyn", "Video to model")
    return widget


def open_here() -> Any:
    """The panel in the viewer that is open; what the menus Layers > Track and Layers > Visualize call."""
    import napari

    viewer = napari.current_viewer()
    return None if viewer is None else open_panel(viewer)
