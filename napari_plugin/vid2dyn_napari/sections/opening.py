"""Open: a recording, tracks, a model, lattice fields, a sample or a simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QComboBox, QFileDialog, QLineEdit, QSpinBox, QToolButton, QVBoxLayout, QWidget

import vid2dyn as vd
from vid2dyn_napari import layers, samples
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row, sentence
from vid2dyn_napari.session import Step
from vid2dyn_napari.workspace import Workspace, origin

_SAMPLES = ("charged colloids (video)", "ideal gas (simulated)", "hops on a ring (simulated)")


class Open(Section):
    """Path, calibration, samples and simulators."""

    title = "Open"
    help = "Choose a recording (or saved tracks, a model, lattice fields) and give its frame rate and pixel size."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.path = QLineEdit()
        self.path.setPlaceholderText("movie, TIFF stack, folder of images, .parquet, .vid2dyn, .fields")
        self.browse = button("Browse", self.choose, "Choose a file.")
        self.body.addWidget(row(self.path, self.browse))
        self.units: Form = form(vd.Units, first=("frames_per_second", "micrometre_per_pixel", "exposure"))
        self.body.addWidget(self.units)
        self.open_button = button("Open", self.open_path,
                                  "Open the file; a calibration typed here overrules the file's.")
        self.layer_button = button("Use selected layer", self.use_layer,
                                   "Take the tracks of the selected layer, or the file behind the selected image.")
        self.body.addWidget(row(self.open_button, self.layer_button))
        self.sample = QComboBox()
        self.sample.addItems(_SAMPLES)
        self.sample_button = button("Open sample", self.open_sample, "Data whose truth is known, to try the panel.")
        self.body.addWidget(row(self.sample, self.sample_button))
        self.body.addWidget(self._simulation())
        self.path.returnPressed.connect(self.open_path)
        self.verbs = {
            self.open_button: (), self.layer_button: (), self.sample_button: (), self.simulate_button: ()}
        self.filled: dict[str, Any] = {}
        self.opened_path: Path | None = None
        self.finish()

    def _simulation(self) -> QWidget:
        """Any registered simulator with its form, folded away."""
        box = QWidget()
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        unfold = QToolButton()
        unfold.setText("▸ simulate instead")
        unfold.setCheckable(True)
        unfold.setStyleSheet("QToolButton { border: none; background: transparent; padding: 1px; }")
        self.simulator = QComboBox()
        self.known: dict[str, type] = {}
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setPrefix("seed ")
        self.simulate_button = button("Simulate", self.simulate, "Make data whose truth is known.")
        self.simulator_form: Form | None = None
        inside = QWidget()
        inner = QVBoxLayout(inside)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(row(self.simulator, self.seed, self.simulate_button))
        inner.addWidget(sentence("Fields left empty keep their defaults; hover for what they mean."))

        def chosen(name: str) -> None:
            if self.simulator_form is not None:
                self.simulator_form.deleteLater()
                self.simulator_form = None
            if name:
                self.simulator_form = form(self.known[name])
                inner.addWidget(self.simulator_form)

        def toggled(on: bool) -> None:
            unfold.setText(f"{'▾' if on else '▸'} simulate instead")
            if on and not self.known:                # importing every simulator takes a moment: only when wanted
                self.known = vd.core.registry.parts("simulators")
                self.simulator.addItems(list(self.known))
            inside.setVisible(on)

        unfold.toggled.connect(toggled)
        self.simulator.currentTextChanged.connect(chosen)
        column.addWidget(unfold)
        column.addWidget(inside)
        inside.hide()
        self.unfold_simulation = unfold
        return box

    # ---------------------------------------------------------------- actions

    def choose(self) -> None:
        """Ask for a file."""
        chosen, _ = QFileDialog.getOpenFileName(self, "Open with vid2dyn", self.path.text())
        if chosen:
            self.path.setText(chosen)

    def open_path(self) -> None:
        """Open what the path says, with the calibration of the form."""
        text = self.path.text().strip().strip('"')
        if not text:
            self.say("Give a path first: type it, browse, or open a sample.", "error")
            return
        calibration = self.guarded(self.units.values)
        if calibration is None:
            return
        path = Path(text).expanduser()
        # what an earlier file said about itself is not what the user says about this one
        typed = {key: value for key, value in calibration.items() if self.filled.get(key) != value}
        step = self.workspace.session.steps.get("open")
        if step is not None and path == self.opened_path:
            before = {k: v for k, v in step.arguments.get("calibration", {}).items() if k in calibration}
            typed = {**before, **typed}
        known = typed if path.suffix not in (".vid2dyn", ".fields") else {}
        self.start(lambda progress: self.workspace.session.open(path, **known), self._opened, f"opening {path.name}")

    def open_sample(self) -> None:
        """A sample with known truth."""
        which = self.sample.currentIndex()
        if which == 0:
            self.units.fill({})
            self.filled = {}
            self.start(lambda progress: self.workspace.session.open(samples.CLIP), self._opened, "opening")
        else:
            made = samples.gas_settings() if which == 1 else samples.lattice_settings()
            self.start(lambda progress: self.workspace.session.simulate(made, 0, progress), self._opened, "simulating")

    def simulate(self) -> None:
        """The chosen simulator with the settings of its form."""
        if self.simulator_form is None:
            return
        made = self.guarded(self.simulator_form.build)
        if made is not None:
            seed, session = self.seed.value(), self.workspace.session
            self.start(lambda progress: session.simulate(made, seed, progress), self._opened, "simulating")

    def use_layer(self) -> None:
        """Tracks of the selected layer, or the file behind the selected image."""
        self.guarded(self._use_layer)

    def _use_layer(self) -> None:
        layer = self.workspace.viewer.layers.selection.active
        if layer is None:
            raise vd.DataError("No layer is selected. Click one in the layer list; a tracks layer gives its tracks, an "
                               "image layer the file it was read from.")
        carried = layer.metadata.get("vid2dyn") if isinstance(layer.metadata, dict) else None
        if isinstance(carried, vd.Video | vd.Fields):
            self.workspace.session.take(carried, origin(layer, carried))
            self._opened(carried)
        elif hasattr(layer, "tail_length"):
            data, settings, _ = layer.as_layer_data_tuple()
            tracks = layers.from_layer(data, settings)
            tracks = tracks.with_units(**self.units.values())
            self.workspace.session.take(tracks, Step("table", {}))
            self._opened(tracks)
        elif layer.source.path:
            self.path.setText(str(layer.source.path))
            self.open_path()
        else:
            raise vd.DataError(f"The layer {layer.name!r} holds neither tracks nor a file that vid2dyn can read again. "
                               "Save it as .tif and open that file.")

    # ---------------------------------------------------------------- afterwards

    def _opened(self, found: Any) -> None:
        if isinstance(found, vd.Model):
            self.say(f"{found!r}".strip("<>"), "good")
            self.workspace.changed()
            self.workspace.sections["Learned model"].unfold()
            return
        self.workspace.show_data()
        self.show_opened(found)
        nearest = {vd.Video: "Detect", vd.Trajectories: "Track and check", vd.Fields: "Fit"}
        for kind, section in nearest.items():
            if isinstance(found, kind):
                moving = isinstance(found, vd.Trajectories) and found.velocities is not None
                self.workspace.sections["Fit" if moving else section].unfold()

    def show_opened(self, found: Any) -> None:
        """Say what is open, and show its calibration."""
        self.filled = {k: v for k, v in found.units.to_dict().items() if v is not None} \
            if hasattr(found, "units") else {}
        self.units.fill(self.filled)
        self.opened_path = self.workspace.session.steps["open"].arguments.get("path")
        if self.opened_path is not None:
            self.path.setText(str(self.opened_path))
        notes = list(getattr(found, "warnings", ()))
        wanted = {"frames_per_second": "frame rate", "micrometre_per_pixel": "µm per pixel"}
        if isinstance(found, vd.Video):
            wanted["exposure"] = "exposure"
            if found.is_stack:
                wanted["micrometre_per_plane"] = "µm per plane of the stack"
        units = getattr(found, "units", None)
        missing = [word for key, word in wanted.items() if units is not None and getattr(units, key) is None]
        if missing:
            notes.append(f"Not known yet: {', '.join(missing)}. Fill it in above and press Open again.")
        text = f"{found!r}".strip("<>")
        self.say("\n".join([text, *notes]), "note" if notes else "good")
