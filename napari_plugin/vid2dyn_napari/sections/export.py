"""Export: files of everything, and the session itself as a script and an experiment file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QVBoxLayout, QWidget

from vid2dyn_napari import saving
from vid2dyn_napari.section import Section, button, row
from vid2dyn_napari.workspace import Workspace

_OFF = ("tracks.csv", "tracks.xml", "film.mp4")


class Export(Section):
    """A folder, the files to write, and the button that writes them."""

    title = "Export"
    help = "Write files, a report page, and a script that repeats all of it without napari."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("folder for the files")
        self.folder.setText(str(Path.home() / "vid2dyn_session"))
        self.body.addWidget(row(self.folder, button("Browse", self.choose, "Choose a folder.")))
        self.list = QWidget()
        self.boxes: dict[str, QCheckBox] = {}
        self.column = QVBoxLayout(self.list)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(2)
        self.body.addWidget(self.list)
        self.export_button = button("Export", self.export, "Write the files that are ticked.")
        self.body.addWidget(self.export_button)
        self.verbs = {self.export_button: ()}
        self.finish()

    def refresh(self) -> None:
        """A box for every file that can be written now."""
        possible = saving.choices(self.workspace.session)
        for name in [name for name in self.boxes if name not in possible]:
            self.boxes.pop(name).deleteLater()
        for name, what in possible.items():
            if name not in self.boxes:
                box = QCheckBox(f"{name}   {what}")
                box.setChecked(name not in _OFF)
                self.boxes[name] = box
                self.column.addWidget(box)

    def choose(self) -> None:
        """Ask for a folder."""
        chosen = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    def export(self) -> None:
        """Write the ticked files, off the GUI thread."""
        wanted = [name for name, box in self.boxes.items() if box.isChecked()]
        folder, session = self.folder.text().strip(), self.workspace.session
        if not wanted or not folder:
            self.say("Open something first." if not self.boxes else "Tick a file and name a folder.", "error")
            return
        self.start(lambda progress: saving.write(session, folder, wanted, progress), self._exported, "writing")

    def _exported(self, paths: list[Path]) -> None:
        self.say(f"Written to {paths[0].parent}: {', '.join(path.name for path in paths)}.", "good")
