"""Sheet: species, order and rearrangements of a layer as colours, its drive, and its stress-strain loops."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QLabel

from vid2dyn_napari import layers, plots, styles
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row, sentence
from vid2dyn_napari.sheets import MeasuredSheet, SheetSettings, measure
from vid2dyn_napari.workspace import Workspace

LAYER = "sheet"
"""Name of the layer of coloured particles."""
FOUND = ("log10 d2min", "strain", "psi6")
"""Columns that `measure` adds."""


class Sheet(Section):
    """Form, colours, loops."""

    title = "Sheet"
    help = ("Layers of packed particles: species, where the sheet rearranges (D²min over half a cycle), how ordered it "
            "is, and the stress of the learned forces against the strain.")

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.form: Form = form(SheetSettings)
        self.body.addWidget(self.form)
        self.measure_button = button("Measure", self.measure, "Order, local strain, rearrangements, drive and stress.")
        self.colour = QComboBox()
        self.colour.setToolTip("Colour the particles of the frame on show by this column.")
        self.body.addWidget(row(self.measure_button, QLabel("colour by"), self.colour, stretch=2))
        self.legend = sentence("")
        self.body.addWidget(self.legend)
        self.canvas = plots.Canvas(170)
        self.body.addWidget(self.canvas)
        self.result = sentence("")
        self.body.addWidget(self.result)
        self.verbs = {self.measure_button: ("tracks",)}
        self.colour.currentTextChanged.connect(lambda _: self.guarded(self.show_colours))
        workspace.time_changed.connect(self.canvas.move_cursor)
        self.seen: Any = None
        self.coloured: Any = None
        self.shown: Any = None
        self.finish()

    def refresh(self) -> None:
        """Other tracks: what was measured is gone; a section that is open shows their species."""
        tracks = self.workspace.session.tracks
        if tracks is not self.seen:
            self.seen = self.coloured = tracks
            self.canvas.clear()
            self.result.setText("")
            self._list_columns("species")
        # a layer that is added is a change of its own: show what is not shown yet
        if self.is_open and (LAYER not in self.workspace.ours or self.shown is not self.coloured):
            self.show_colours()

    def leave(self) -> None:
        """No colours behind a closed section."""
        self.workspace.drop(LAYER)

    # ---------------------------------------------------------------- measuring

    def measure(self) -> None:
        """Measure, off the GUI thread."""
        settings = self.guarded(self.form.build)
        if settings is None:
            return
        session = self.workspace.session
        self.start(lambda progress: measure(session, settings, progress), self._show_found, "measuring")

    def _show_found(self, found: MeasuredSheet) -> None:
        if self.workspace.session.tracks is not self.seen:
            return
        self.coloured = found.tracks
        self._list_columns(FOUND[0])
        self.show_colours()
        draw = [[plots.stress_strain(found.loops)]] if found.loops else []
        self.canvas.show_plots([*draw, [plots.rearranging(found, self.canvas)]])
        self.canvas.move_cursor(self.workspace.time)
        self.result.setText(summary(found))

    # ---------------------------------------------------------------- colours

    def _list_columns(self, first: str) -> None:
        """Columns to colour by, `first` chosen where it is there."""
        names = [] if self.coloured is None else [
            *(name for name in FOUND if name in self.coloured.dataframe), *layers.columns(self.coloured)]
        self.colour.blockSignals(True)
        self.colour.clear()
        self.colour.addItems(names)
        self.colour.setCurrentIndex(max(self.colour.findText(first), 0))
        self.colour.blockSignals(False)

    def show_colours(self) -> None:
        """The particles of the frame on show over the recording."""
        column = self.colour.currentText()
        if self.coloured is None or not column or not self.is_open:
            self.workspace.drop(LAYER)
            self.legend.setText("")
            return
        self.shown = self.coloured
        follower = self.workspace.follow(LAYER, self.coloured, column, 0.0)
        self.legend.setText(legend(follower))


def legend(follower: Any) -> str:
    """What the colours mean; HTML."""
    kinds = follower.by_frame.kinds
    if kinds:
        return "&nbsp;&nbsp;".join(f"<span style='color:{styles.KINDS[k % len(styles.KINDS)]}'>●</span> {name}"
                                   for k, name in enumerate(kinds))
    if follower.column == "particle":
        return ""
    low, high = follower.limits
    unit = {"log10 d2min": " (µm²)", "speed": " per s or frame"}.get(follower.column, "")
    dark, bright = (f"rgb({', '.join(str(round(255 * c)) for c in follower.colours(end)[:3])})" for end in (0.15, 0.95))
    return (f"{follower.column}{unit}: <span style='color:{dark}'>●</span> {low:.3g} &nbsp;to&nbsp; "
            f"<span style='color:{bright}'>●</span> {high:.3g}; grey: not known")


def summary(found: MeasuredSheet) -> str:
    """The numbers and what to know before believing them; HTML."""
    rows = []
    if found.drive is not None:
        rows += [("drive", f"{found.drive.frequency:.4g} /s, ± {found.drive.amplitude:.4g} µm, "
                           f"{found.drive.count} whole cycle{'s' * (found.drive.count != 1)}")]
    for label, one, _ in found.loops:
        rows += [(f"G', G'' of the {label}", f"<b>{one.storage:.4g} ± {one.storage_stderr:.2g}</b>, "
                                             f"<b>{one.loss:.4g} ± {one.loss_stderr:.2g}</b> kT/µm²")]
    rows += [("neighbours within", f"{found.cutoff:.3g} µm"), ("D²min over", f"{found.lag} frames")]
    table = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td>{value}</td></tr>" for name, value in rows)
    notes = "".join(f"<br><span style='color:#ffd166'>▲ {note}</span>" for note in found.notes)
    return f"<table>{table}</table>{notes}"
