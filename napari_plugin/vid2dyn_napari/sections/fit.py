"""Fit: choose the kind of dynamics, learn, and see what the data that were kept aside say."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QSpinBox

import vid2dyn as vd
from vid2dyn_napari import plots, truth
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row, sentence

if TYPE_CHECKING:
    from vid2dyn_napari.panel import Panel

_FIRST = {"Brownian": ("cutoff", "trap", "stationary"), "Metriplectic": ("cutoff", "mass", "law"),
          "GradientFlow": ("knots", "force_range")}


class Fit(Section):
    """Kinds of dynamics from the registry, their form, how the fit converges, the checks."""

    title = "Fit"
    help = "Say what there is to learn; for forces between colloids give the distance beyond which they feel no other."

    def __init__(self, panel: Panel, number: int) -> None:
        super().__init__(panel, number)
        self.kind = QComboBox()
        self.kind.setToolTip("Kind of dynamics.")
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setPrefix("seed ")
        self.seed.setToolTip("The same seed gives the same model.")
        self.body.addWidget(row(self.kind, self.seed))
        self.about = sentence("")
        self.body.addWidget(self.about)
        self.form: Form | None = None
        self.place = self.body.count()
        self.fit_button = button("Fit", self.fit, "Learn the model.")
        self.body.addWidget(self.fit_button)
        self.canvas = plots.Canvas(150)
        self.body.addWidget(self.canvas)
        self.result = sentence("")
        self.body.addWidget(self.result)
        self.known = vd.registry.parts("vid2dyn.dynamics", recipe_base())
        self.verbs = {self.fit_button: ("data",)}
        self.kind.currentTextChanged.connect(self._chosen)
        self.seen: Any = None
        self.course: dict[str, tuple[list[int], list[float]]] = {}
        self.redraw = QTimer(self)
        self.redraw.setSingleShot(True)
        self.redraw.timeout.connect(self._draw)
        panel.worker.converged.connect(self._converged)
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.finish()
        self._offer("trajectories")

    def _offer(self, data: str) -> None:
        """The kinds that learn from such data."""
        names = [name for name, cls in self.known.items() if cls.learns_from == data]          # type: ignore[attr-defined]
        if names != [self.kind.itemText(k) for k in range(self.kind.count())]:
            self.kind.blockSignals(True)
            self.kind.clear()
            self.kind.addItems(names)
            self.kind.blockSignals(False)
            self._chosen(self.kind.currentText())

    def _chosen(self, name: str) -> None:
        if self.form is not None:
            self.body.removeWidget(self.form)
            self.form.deleteLater()
            self.form = None
        if name:
            cls = self.known[name]
            self.form = form(cls, first=_FIRST.get(name) or list(vd.config.settings(cls))[:5])
            self.body.insertWidget(self.place, self.form)
            self.about.setText((cls.__doc__ or "").strip().partition("\n")[0])

    def refresh(self) -> None:
        """Other data: other kinds; a model that is gone takes its checks along."""
        session = self.panel.session
        self._offer("fields" if session.fields is not None else "trajectories")
        if session.model is None:
            self.result.setText("")
        if session.ready("data") and session.data is not self.seen:
            self.seen = session.data
            moving = getattr(self.seen, "velocities", None) is not None
            wanted = "Metriplectic" if moving else "Brownian"
            if session.fields is None and wanted in self.known:
                self.kind.setCurrentText(wanted)
            self._prefill()

    def _prefill(self) -> None:
        """Required settings that the simulator of the data knows: the range of the kernel, the mass."""
        simulator = truth.true_simulator(self.panel.session.truth)
        for name in ("cutoff", "mass"):
            field = None if self.form is None else self.form.fields.get(name)
            if field is not None and self.kind.currentText() == "Metriplectic" and hasattr(simulator, name):
                field.show_value(float(getattr(simulator, name)))

    # ---------------------------------------------------------------- fitting

    def fit(self) -> None:
        """Learn the model that the form describes."""
        recipe = None if self.form is None else self.guarded(self.form.build)
        if recipe is None:
            return
        session, seed, kept = self.panel.session, self.seed.value(), self._kept(recipe)
        self.course = {}
        self.canvas.clear()
        self.result.setText("")
        goes_on = " Press Fit to go on from the last finished step." if kept is not recipe else ""
        self.start(lambda progress: session.fit(recipe, seed, progress, work=kept), self._fitted, "fitting",
                   cancelled=f"Cancelled; what was there before is still there.{goes_on}")

    def _kept(self, recipe: Any) -> Any:
        """The recipe with a checkpoint, where it can have one: a fit that was cancelled then goes on where it was."""
        if "checkpoint" not in vd.config.settings(type(recipe)) or recipe.checkpoint is not None:
            return recipe
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="vid2dyn")
        return dataclasses.replace(recipe, checkpoint=str(Path(self.folder.name) / "fit"))

    def _fitted(self, model: Any) -> None:
        self.result.setText(report_of(model))
        self.panel.changed()
        self.panel.sections["Learned model"].unfold()

    def _converged(self, step: int, left: float, what: str) -> None:
        steps, values = self.course.setdefault(what, ([], []))
        steps.append(step)
        values.append(left)
        if not self.redraw.isActive():
            self.redraw.start(500)

    def _draw(self) -> None:
        if self.course and not self.panel.closed:
            self.canvas.show_plots([[plots.convergence(self.course)]])


def recipe_base() -> type:
    """What all kinds of dynamics inherit."""
    return vd.experiment.base_of("vid2dyn.dynamics")


def report_of(model: Any) -> str:
    """The model in a line, its checks as a table, its warnings; HTML."""
    rows = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td><b>{value}</b></td></tr>"
                   for name, value in vd.headline.checks(model.report))
    notes = "".join(f"<br><span style='color:#ffd166'>▲ {note}</span>" for note in model.report.get("warnings", ()))
    return f"<b>{repr(model).strip('<>')}</b><table>{rows}</table>{notes}"
