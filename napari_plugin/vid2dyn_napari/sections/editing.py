"""Edit tracks: delete, split, merge, relink, cut and mark by hand; edits can be undone and are in the script."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtWidgets import QLabel, QLineEdit, QSpinBox

import vid2dyn as vd
from vid2dyn_napari import layers, styles
from vid2dyn_napari.section import Section, button, row, sentence
from vid2dyn_napari.sections.detect import corners_of
from vid2dyn_napari.workspace import Workspace

SHOWN = 5
"""Edits that are listed."""
CLICK = 6.0
"""Screen pixels between pressing and letting go that still are a click."""


class Edit(Section):
    """Chosen particles, and what can be done with them."""

    title = "Edit tracks"
    help = "Click particles in the picture to choose them (again to let go), then press what should happen."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.chosen = QLineEdit()
        self.chosen.setPlaceholderText("numbers of particles, such as 3, 17")
        self.chosen.setToolTip("The chosen particles; click them in the picture or type their numbers.")
        self.chosen.textChanged.connect(self.show_chosen)
        self.body.addWidget(row(QLabel("particles"), self.chosen, stretch=1))
        self.delete_button = button("Delete", self.delete, "Take the chosen tracks out.")
        self.split_button = button("Split here", self.split,
                                   "From the frame on show on, the chosen particle is another one.")
        self.merge_button = button("Merge", self.merge, "The chosen tracks are one particle, seen at different times.")
        self.body.addWidget(row(self.delete_button, self.split_button, self.merge_button))
        self.first, self.last, self.reach = QLineEdit(), QLineEdit(), QLineEdit()
        for edit, text, tip in ((self.first, "first frame", "First frame of the stretch."),
                                (self.last, "last frame", "Last frame of the stretch."),
                                (self.reach, "range (px)", "Farthest distance between two frames.")):
            edit.setPlaceholderText(text)
            edit.setToolTip(tip)
        self.relink_button = button("Relink", self.relink,
                                    "Link the detections of this stretch anew; tracks before and after go on.")
        self.body.addWidget(row(self.first, self.last, self.reach, self.relink_button))
        self.region_button = button("Draw region", self.draw, "Draw what should be cut out of all tracks.")
        self.cut_button = button("Cut inside", lambda: self.cut("outside"), "Detections inside the region go.")
        self.crop_button = button("Keep inside", lambda: self.cut("inside"), "Detections outside of the region go.")
        self.body.addWidget(row(self.region_button, self.cut_button, self.crop_button))
        self.edge = QSpinBox()
        self.edge.setRange(0, 100)
        self.edge.setValue(1)
        self.edge.setPrefix("edge ")
        self.edge.setToolTip("Number of the edge that is moved by hand; 0 for free particles.")
        self.hold_button = button("Moved by hand", self.hold, "Mark particles that something moves or holds: chosen "
                                  "ones, else those in the region. Fits take them as neighbours only, rollouts "
                                  "move them along their recorded path (column held).")
        self.body.addWidget(row(self.hold_button, self.edge))
        self.undo_button = button("Undo", self.undo, "Take back the last edit.")
        self.list = sentence("")
        self.body.addWidget(row(self.undo_button, self.list, stretch=1))
        changing = (self.delete_button, self.split_button, self.merge_button, self.relink_button, self.region_button,
                    self.cut_button, self.crop_button, self.hold_button, self.undo_button)
        self.verbs = dict.fromkeys(changing, ("tracks",))
        self.finish()
        self.shown: Any = None
        self.listening = False

    # ---------------------------------------------------------------- choosing

    def refresh(self) -> None:
        """Other tracks: nothing is chosen any more."""
        tracks = self.workspace.session.tracks
        if tracks is not self.shown:
            self.shown = tracks
            self.chosen.clear()
        self.list.setText("<br>".join(described(edit) for edit in self.workspace.session.edits[:-SHOWN - 1:-1])
                          or "no edits yet")
        self._listen(self.is_open and tracks is not None)

    def leave(self) -> None:
        """Clicks mean nothing behind a closed section."""
        self._listen(False)
        for name in ("chosen", "cut region"):
            self.workspace.drop(name)

    def _listen(self, on: bool) -> None:
        callbacks = self.workspace.viewer.mouse_drag_callbacks
        if on and not self.listening:
            callbacks.append(self._clicked)
        elif not on and self.listening and self._clicked in callbacks:
            callbacks.remove(self._clicked)
        self.listening = on

    def _clicked(self, viewer: Any, event: Any) -> Any:
        """A click without a move chooses the nearest particle of the frame on show."""
        region = self.workspace.ours.get("cut region")
        if region is not None and region.mode.startswith("add"):
            return
        start = np.asarray(event.pos, dtype=float)
        yield
        while event.type == "mouse_move":
            yield
        if np.linalg.norm(np.asarray(event.pos, dtype=float) - start) <= CLICK:
            self.choose_at(np.asarray(viewer.cursor.position, dtype=float)[-2:])

    def choose_at(self, place: np.ndarray) -> None:
        """Choose, or let go of, the particle nearest to a place (y, x) [units of the layers]."""
        tracks = self.workspace.session.tracks
        if tracks is None:
            return
        now = tracks.rows((tracks.frame == self.workspace.frame) & (tracks.particle >= 0))
        if not len(now):
            self.say("No particle is tracked in this frame.", "note")
            return
        pixel = np.asarray(place, dtype=float) / np.asarray(layers.scale(tracks.units)[0][1:])
        yx = np.column_stack(layers.positions(now))
        number = int(now.particle[np.argmin(((yx - pixel) ** 2).sum(axis=1))])
        there = self.numbers()
        there = [one for one in there if one != number] if number in there else [*there, number]
        self.chosen.setText(", ".join(map(str, there)))

    def numbers(self) -> list[int]:
        """The chosen particles; `ConfigError` where the text is none."""
        words = self.chosen.text().replace(",", " ").split()
        if not all(word.isdecimal() for word in words):
            raise vd.ConfigError("particles: write their numbers with commas, such as 3, 17.")
        return [int(word) for word in words]

    def show_chosen(self, *_: Any) -> None:
        """Draw the chosen tracks thick over the others."""
        tracks = self.workspace.session.tracks
        try:
            wanted = self.numbers()
        except vd.ConfigError:
            return
        active = self.workspace.viewer.layers.selection.active
        mine = None if tracks is None else tracks.rows(np.isin(tracks.particle, wanted))
        if mine is None or not wanted or not len(mine):
            self.workspace.drop("chosen")
            return
        sizes, names = layers.scale(tracks.units)
        yx = np.column_stack(layers.positions(mine))
        self.workspace.show_layer(yx, {
            "name": "chosen", "scale": sizes[1:], "units": names[1:], "size": 1.5, "face_color": styles.TRUTH,
            "border_width": 0, "axis_labels": ("y", "x"), "opacity": 0.8}, "points")
        if active in self.workspace.viewer.layers:
            self.workspace.viewer.layers.selection.active = active

    # ---------------------------------------------------------------- edits

    def delete(self) -> None:
        """Whole tracks."""
        self._edit(lambda: {"edit": "delete", "particles": self._some(1)})

    def split(self) -> None:
        """At the frame on show."""
        self._edit(lambda: {"edit": "split", "particle": self._some(1, 1)[0], "frame": self.workspace.frame})

    def merge(self) -> None:
        """The chosen ones, into the first of them."""
        self._edit(lambda: {"edit": "merge", "particles": self._some(2)})

    def relink(self) -> None:
        """The stretch of the fields."""
        def edit() -> dict[str, Any]:
            try:
                return {"edit": "relink", "frames": [int(self.first.text()), int(self.last.text()) + 1],
                        "search_range": float(self.reach.text().replace(",", "."))}
            except ValueError:
                raise vd.ConfigError("Relink: give the first and the last frame and the range in px, "
                                     "three numbers.") from None

        self._edit(edit)

    def draw(self) -> None:
        """A layer of shapes; what is drawn last counts."""
        sizes, names = layers.scale(self.workspace.session.tracks.units)
        layer = self.workspace.show_layer([], {
            "name": "cut region", "ndim": 2, "scale": sizes[1:], "units": names[1:], "axis_labels": ("y", "x"),
            "face_color": "transparent", "edge_color": styles.MODEL, "edge_width": 1,
            "shape_type": "polygon"}, "shapes")
        self.workspace.viewer.layers.selection.active = layer
        layer.mode = "add_polygon"
        self.say("Click the corners, the last one twice; then press Cut inside, Keep inside or Moved by hand.", "note")

    def cut(self, keep: str) -> None:
        """What is inside the drawn region, or outside of it."""
        if self._edit(lambda: {"edit": "cut", "region": self._region(), "keep": keep}):
            self.workspace.drop("cut region")

    def hold(self) -> None:
        """The chosen particles, or those in the drawn region, are an edge that is moved by hand."""
        def edit() -> dict[str, Any]:
            numbers = self.numbers()
            where = {"particles": numbers} if numbers else {"region": self._region()}
            return {"edit": "hold", **where, "edge": self.edge.value()}

        if self._edit(edit):
            self.workspace.drop("cut region")
            held = self.workspace.session.tracks.dataframe["held"].to_numpy() > 0
            count = len(np.unique(self.workspace.session.tracks.particle[held]))
            self.say(f"{count} particles are moved by hand.", "good")

    def _region(self) -> list[list[float]]:
        """Corners (y, x) of what was drawn last [px]."""
        layer = self.workspace.ours.get("cut region")
        if layer is None or not len(layer.data):
            raise vd.ConfigError("Draw a region first.")
        return [list(corner) for corner in corners_of(layer.data[-1])]

    def undo(self) -> None:
        """The tracks before the last edit."""
        self._changed(self.guarded(self.workspace.session.undo))

    def _some(self, least: int, most: int | None = None) -> list[int]:
        numbers = self.numbers()
        if len(numbers) < least or (most is not None and len(numbers) > most):
            wanted = f"{least} particle{'s' * (least > 1)}" + ("" if most else " or more")
            raise vd.ConfigError(f"Choose {wanted} first: {len(numbers)} chosen.")
        return numbers

    def _edit(self, edit: Any) -> bool:
        """Apply what `edit()` describes, and show the tracks; whether it went well."""
        return self._changed(self.guarded(lambda: self.workspace.session.edit(edit())))

    def _changed(self, tracks: Any) -> bool:
        if tracks is None:
            return False
        self.say("")
        workspace = self.workspace
        for name in ("chosen", "model", "model particles"):
            workspace.drop(name)
        if "data particles" in workspace.ours:
            workspace.follow("data particles", tracks, layers.columns(tracks)[0], 0.0)
        workspace.show_thing(tracks, "tracks")
        workspace.changed()
        return True


def described(edit: dict[str, Any]) -> str:
    """An edit in a few words.

    >>> described({"edit": "merge", "particles": [3, 9]}), described({"edit": "split", "particle": 3, "frame": 20})
    ('merge 3, 9', 'split 3 at frame 20')
    """
    name = str(edit["edit"])
    if "particles" in edit:
        name += " " + ", ".join(map(str, edit["particles"]))
    if "particle" in edit:
        name += f" {edit['particle']} at frame {edit['frame']}"
    if name == "cut":
        name += " inside" if edit.get("keep") != "inside" else " outside"
    if name.startswith("hold"):
        name += (" a region" if "region" in edit else "") + f" as edge {edit.get('edge', 1)}"
    return name + (f", frames {edit['frames'][0]} to {edit['frames'][1] - 1}" if "frames" in edit else "")
