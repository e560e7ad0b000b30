"""Fit: choose the kind of dynamics, learn, and see what the data that were kept aside say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QSpinBox

import vid2dyn as vd
from vid2dyn_napari import plots
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row, sentence

if TYPE_CHECKING:
    from vid2dyn_napari.panel import Panel

_FIRST = {"Brownian": ("cutoff", "trap", "stationary"), "GradientFlow": ("knots", "force_range")}


class Fit(Section):
    """Kinds of dynamics from the registry, their form, the live loss, the checks."""

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
        self.loss: tuple[list[int], list[float], list[float]] = ([], [], [])
        self.redraw = QTimer(self)
        self.redraw.setSingleShot(True)
        self.redraw.timeout.connect(self._draw_loss)
        panel.worker.scored.connect(self._scored)
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
        self._offer("fields" if self.panel.session.fields is not None else "trajectories")
        if self.panel.session.model is None:
            self.result.setText("")

    # ---------------------------------------------------------------- fitting

    def fit(self) -> None:
        """Learn the model that the form describes."""
        recipe = None if self.form is None else self.guarded(self.form.build)
        if recipe is None:
            return
        session, seed = self.panel.session, self.seed.value()
        self.loss = ([], [], [])
        self.canvas.clear()
        self.result.setText("")
        self.start(lambda progress: session.fit(recipe, seed, progress), self._fitted, "fitting",
                   cancelled="Cancelled. The model before, if there was one, is still there.")

    def _fitted(self, model: Any) -> None:
        self.result.setText(report_of(model))
        self.panel.changed()
        self.panel.sections["Learned model"].unfold()

    def _scored(self, step: int, train: float, held_out: float) -> None:
        for values, value in zip(self.loss, (step, train, held_out)):
            values.append(value)                                                        # type: ignore[arg-type]
        if not self.redraw.isActive():
            self.redraw.start(500)

    def _draw_loss(self) -> None:
        if self.loss[0] and not self.panel.closed:
            self.canvas.show_plots([[plots.losses(*self.loss)]])


def recipe_base() -> type:
    """What all kinds of dynamics inherit."""
    return vd.experiment.base_of("vid2dyn.dynamics")


def report_of(model: Any) -> str:
    """The model in a line, its checks as a table, its warnings; HTML."""
    rows = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td><b>{value}</b></td></tr>"
                   for name, value in vd.headline.checks(model.report))
    notes = "".join(f"<br><span style='color:#ffd166'>▲ {note}</span>" for note in model.report.get("warnings", ()))
    return f"<b>{repr(model).strip('<>')}</b><table>{rows}</table>{notes}"
