"""Fit: choose the kind of dynamics, learn, watch what data kept aside say, stop with the best so far, go on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QSpinBox

import vid2dyn as vd
from vid2dyn.dynamics.recipes.base import DEFAULT_DYNAMICS
from vid2dyn_napari import plots, truth
from vid2dyn_napari.forms import Form, PartEntry, PartListField, TextField, form
from vid2dyn_napari.section import Section, button, row, sentence
from vid2dyn_napari.workspace import Workspace

CANCEL_TIMEOUT, FINISH_TIMEOUT = 900, 20_000
"""Milliseconds for a fit to notice that it is to stop, and to build the model it keeps."""


class Fit(Section):
    """Kinds of dynamics from the registry, their form, how the fit converges, the checks."""

    title = "Fit"
    help = "Choose the kind of dynamics to learn; for forces between colloids give the distance where they end."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
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
        self.fit_button = button("Fit", self.fit, "Learn the model with the settings of the form.")
        self.resume_button = button("Resume", self.resume, "Continue the stopped fit; the final model is the same as "
                                    "without the stop.")
        self.resume_button.hide()
        self.body.addWidget(row(self.fit_button, self.resume_button))
        self.cancel_button.setText("Stop and keep")
        self.cancel_button.setToolTip("Stop now and keep the best model so far; Resume goes on from there.")
        self.canvas = plots.Canvas(135)
        self.body.addWidget(self.canvas)
        self.result = sentence("")
        self.body.addWidget(self.result)
        self.kinds: dict[str, Any] = vd.core.registry.parts("dynamics")
        self.verbs = {self.fit_button: ("data",), self.resume_button: ("data",)}
        self.kind.currentTextChanged.connect(self._show_form)
        self.data_shown: Any = None
        self.convergence: dict[str, tuple[list[int], list[float]]] = {}
        self.likelihoods: dict[str, tuple[list[int], list[float], list[float]]] = {}
        self.baseline: tuple[str, float] | None = None
        self.redraw = QTimer(self)
        self.redraw.setSingleShot(True)
        self.redraw.timeout.connect(self._draw)
        workspace.worker.converging.connect(self._add_convergence)
        workspace.worker.likelihood.connect(self._add_likelihood)
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.requested: tuple[Any, int] | None = None
        self.model_shown: Any = None
        self.awaiting_model = False
        self.finish()
        self._list_kinds("trajectories")

    def _list_kinds(self, data: str) -> None:
        """The kinds that learn from such data."""
        names = [name for name, cls in self.kinds.items() if cls.learns_from == data]
        if names != [self.kind.itemText(k) for k in range(self.kind.count())]:
            self.kind.blockSignals(True)
            self.kind.clear()
            self.kind.addItems(names)
            self.kind.blockSignals(False)
            self._show_form(self.kind.currentText())

    def _show_form(self, name: str) -> None:
        if self.form is not None:
            self.body.removeWidget(self.form)
            self.form.hide()                               # deleted later, and in the way of the new one till then
            self.form.deleteLater()
            self.form = None
        if name:
            cls = self.kinds[name]
            self.form = form(cls, first=cls.shown_first or list(vd.core.config.settings(cls))[:5])
            for field in self._lists():
                field.added.connect(self._give_range)
            self.body.insertWidget(self.place, self.form)
            self.about.setText((cls.__doc__ or "").strip().partition("\n")[0])

    def refresh(self) -> None:
        """Other data: other kinds; a model that is gone takes its checks along."""
        session = self.workspace.session
        self._list_kinds("fields" if session.fields is not None else "trajectories")
        if session.model is not self.model_shown:
            self.model_shown = session.model
            self.result.setText("" if session.model is None else report_of(session.model))
            self._read_course({} if session.model is None else session.model.report)
        data = session.data if session.ready("data") else None
        if data is not self.data_shown:
            self.data_shown = data
            self._discard_checkpoint()
            self.requested = None
            if data is None:
                return
            moving = getattr(self.data_shown, "velocities", None) is not None
            wanted = [name for name, cls in self.kinds.items() if moving and cls.needs_velocities]
            if session.fields is None:
                self.kind.setCurrentText(wanted[0] if wanted else DEFAULT_DYNAMICS["trajectories"])
            self._prefill()

    def _prefill(self) -> None:
        """Required settings that the simulator of the data knows: the range of the kernel, the mass."""
        simulator = truth.true_simulator(self.workspace.session.truth)
        for name in ("cutoff", "mass"):
            field = None if self.form is None else self.form.fields.get(name)
            if name == "cutoff" and any(listed.entries for listed in self._lists()):
                continue                                   # listed terms have a range each
            known = getattr(simulator, name, None)
            if field is not None and self.kinds[self.kind.currentText()].needs_velocities and known is not None:
                field.show_value(float(known) if isinstance(known, int | float) else known)   # of a mixture a tuple

    def _lists(self) -> list[PartListField]:
        """Fields of the form that are lists of terms."""
        return [] if self.form is None else [f for f in self.form.fields.values() if isinstance(f, PartListField)]

    def _give_range(self, entry: PartEntry) -> None:
        """A term that was added begins with the range that is there: the one typed for the short form, which goes away
        with it, or that of another term."""
        assert self.form is not None
        own = self.form.fields.get("cutoff")
        ranges = [own, *(one.form.fields.get("cutoff") for field in self._lists() for one in field.entries)]
        known = [field.edit.text() for field in ranges if isinstance(field, TextField) and field.edit.text().strip()]
        new = entry.form.fields.get("cutoff")
        if known and isinstance(new, TextField):
            new.edit.setText(known[0])
        if isinstance(own, TextField) and own.default is None:
            own.show_value(None)

    # ---------------------------------------------------------------- fitting

    def fit(self) -> None:
        """Learn the model that the form describes, from the beginning."""
        recipe = None if self.form is None else self.guarded(self.form.build)
        if recipe is None:
            return
        self._discard_checkpoint()
        self.requested = (recipe, self.seed.value())
        self.resume()

    def resume(self) -> None:
        """Go on with the fit that was asked for last."""
        if self.requested is None:
            return
        (recipe, seed), session = self.requested, self.workspace.session
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="vid2dyn")
        place = Path(self.folder.name) / "fit"
        self.convergence, self.likelihoods, self.baseline = {}, {}, None
        self.canvas.clear()
        self.result.setText("")
        self.resume_button.hide()
        self.awaiting_model = True
        self.start(lambda progress: session.fit(recipe, seed, progress, place), self._show_model, "fitting",
                   CANCEL_TIMEOUT, FINISH_TIMEOUT, cancelled=self._cancelled_text)

    def _cancelled_text(self) -> str:
        """The message after a fit that was stopped without a model."""
        kept = self.folder is not None and any(Path(self.folder.name).iterdir())
        self.awaiting_model = False
        self.resume_button.setVisible(kept)
        self.workspace.refresh_buttons()
        return "Cancelled; the model from before is still there. " + (
            "Resume goes on from the last finished round." if kept else
            "No round was finished yet, so nothing was kept.")

    def _discard_checkpoint(self) -> None:
        """Delete the checkpoint: there is no stopped fit to continue."""
        self.resume_button.hide()
        if self.folder is not None:
            for path in Path(self.folder.name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _show_model(self, model: Any) -> None:
        self.workspace.changed()
        early = model.report.get("stopped_early")
        if early is None:
            self._discard_checkpoint()
        else:
            self.resume_button.show()
            self.say(f"Stopped after round {early['rounds']} of {early['of']}: this is the best model so far. "
                     "Resume goes on from there.", "note")
        self.workspace.sections["Learned model"].unfold()

    # ---------------------------------------------------------------- live

    def _add_convergence(self, step: int, left: float, what: str) -> None:
        steps, values = self.convergence.setdefault(what, ([], []))
        steps.append(step)
        values.append(left)
        self._redraw_later()

    def _add_likelihood(self, step: int, train: float, held_out: float, what: str) -> None:
        steps, seen, unseen = self.likelihoods.setdefault(what, ([], [], []))
        steps.append(step)
        seen.append(train)
        unseen.append(held_out)
        self._redraw_later()

    def _read_course(self, report: Mapping[str, Any]) -> None:
        """Curves from the report of the model that is there now, and free diffusion to compare with."""
        course, left = report.get("course"), report.get("decrements")
        if course:
            rounds = list(range(1, len(course["train"]) + 1))
            self.likelihoods = {course["what"]: (rounds, course["train"], course["held_out"])}
        elif not self.awaiting_model:
            self.likelihoods = {}
        if not self.awaiting_model:
            found = [abs(value) for value in left or ()]
            self.convergence = {"nats left to gain": (list(range(1, len(found) + 1)), found)} if found else {}
        self.awaiting_model = False
        free = report.get("held_out", {}).get("free_diffusion_log_likelihood_per_step")
        self.baseline = ("free diffusion", free) if free is not None and course and len(course["train"]) > 1 else None
        self._redraw_later()

    def _redraw_later(self) -> None:
        if not self.redraw.isActive():
            self.redraw.start(300)

    def _draw(self) -> None:
        if self.workspace.closed:
            return
        self.canvas.show_plots([[plots.likelihoods(self.likelihoods, self.baseline)] if self.likelihoods else [],
                                [plots.convergence(self.convergence)] if self.convergence else []])


def report_of(model: Any) -> str:
    """The model in a line, its checks as a table, its warnings; HTML."""
    rows = "".join(f"<tr><td>{name}&nbsp;&nbsp;</td><td><b>{value}</b></td></tr>"
                   for name, value in vd.reports.headline.checks(model.report))
    notes = "".join(f"<br><span style='color:#ffd166'>▲ {note}</span>" for note in model.report.get("warnings", ()))
    return f"<b>{repr(model).strip('<>')}</b><table>{rows}</table>{notes}"
