"""Roll out: the model left to run beside the data, on one slider of time; budgets and statistics of both."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QSlider

import vid2dyn as vd
from vid2dyn_napari import budgets, layers, plots, styles, truth
from vid2dyn_napari.forms import Form, form
from vid2dyn_napari.section import Section, button, row
from vid2dyn_napari.workspace import Workspace

MAX_TIMES = 20
"""Times of the data up to which the true process is simulated again."""


class Rollout(Section):
    """Form, layers beside the data, overlays."""

    title = "Roll out"
    help = "Run the model from the first frame of the data, and compare both."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.forms: dict[type, Form] = {
            kind: form(kind) for kind in (vd.runs.experiment.Rollout, vd.runs.experiment.FieldRollout)}
        for one in self.forms.values():
            self.body.addWidget(one)
        self.truth_box = QCheckBox("compare with the true process, exactly and by Monte Carlo")
        self.truth_box.setToolTip("For simulated lattices: the exact limit, and fresh realisations to the same times.")
        self.truth_box.setChecked(True)
        self.body.addWidget(self.truth_box)
        self.run_button = button("Roll out", self.run, "Run the model and compare it with the data.")
        self.colour = QComboBox()
        self.colour.setToolTip("Colour the particles of data and model by this column.")
        self.colour_row = row(QLabel("colour by"), self.colour, stretch=1)
        self.body.addWidget(row(self.run_button, self.colour_row))
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.time_label = QLabel("")
        self.time_row = row(self.slider, self.time_label)
        self.body.addWidget(self.time_row)
        self.canvas = plots.Canvas(150)
        self.body.addWidget(self.canvas)
        self.verbs = {self.run_button: ("data", "model")}
        self.colour.currentTextChanged.connect(lambda _: self.guarded(self._colour_particles))
        self.slider.valueChanged.connect(lambda _: self._draw_profiles())
        workspace.time_changed.connect(self.canvas.move_cursor)
        self.lattice: Any = None
        self.seen: Any = None
        self.finish()
        self.refresh()

    def refresh(self) -> None:
        """Other data: another form; a rollout that is gone takes its plots along."""
        fields = self.workspace.session.fields is not None
        for kind, one in self.forms.items():
            one.setVisible((kind is vd.runs.experiment.FieldRollout) == fields)
        self.truth_box.setVisible(fields)
        self.colour_row.setVisible(not fields)
        session = self.workspace.session
        if fields and session.fields is not self.seen:       # four times as long as the data, in even steps
            self.seen = session.fields
            form_ = self.forms[vd.runs.experiment.FieldRollout]
            steps = int(vd.core.config.settings(vd.runs.experiment.FieldRollout)["steps"][1])
            form_.fields["dt"].show_value(float(f"{4 * session.fields.times[-1] / steps:.1g}"))
        if self.workspace.session.future is None:
            self.canvas.clear()
            self.lattice = None
            self.time_row.hide()
            for name in ("model", "model particles"):
                self.workspace.drop(name)
            self._list_columns()

    # ---------------------------------------------------------------- running

    def run(self) -> None:
        """Roll out, compare, and take the budgets; all off the GUI thread."""
        session = self.workspace.session
        fields = session.fields is not None
        kind = vd.runs.experiment.FieldRollout if fields else vd.runs.experiment.Rollout
        settings = self.guarded(self.forms[kind].build)
        if settings is None:
            return
        if fields:
            simulator = truth.true_simulator(session.truth) if self.truth_box.isChecked() else None
            self.start(lambda progress: rollout_of_fields(session, settings, simulator, progress), self._show_fields,
                       "rolling out")
        else:
            self.start(lambda progress: rollout_and_compare(session, settings, progress), self._show_rollout,
                       "rolling out")

    def compare(self) -> None:
        """Show a rollout that was read from a file beside the data."""
        session = self.workspace.session
        if session.fields is None:
            self.start(lambda progress: comparison_of(session, session.future, progress), self._show_rollout,
                       "comparing")

    def _show_rollout(self, found: tuple[Any, Any, list[tuple[str, Any, str]]]) -> None:
        future, comparison, found_budgets = found
        session, workspace = self.workspace.session, self.workspace
        place = layers.width(session.tracks, session.video) * (1 + styles.GAP)
        workspace.show_thing(future, "model", place, metadata={"model": session.model})
        self.offset = place
        self._list_columns()
        self._colour_particles()
        draw = []
        for name in dict.fromkeys(key for _, budget, _ in found_budgets for key in budget.series):
            draw.append(plots.series(name, found_budgets, self.canvas))
        draw += [plots.comparison(curve) for curve in comparison.curves]
        self.canvas.show_plots(plots.in_rows(draw))
        self.canvas.move_cursor(workspace.time)
        workspace.viewer.reset_view()
        self.say("\n".join(comparison.notes), "note")
        workspace.refresh_buttons()

    def _list_columns(self) -> None:
        """Columns to colour by."""
        session = self.workspace.session
        tracks = session.future if session.future is not None else session.tracks
        names = [] if tracks is None else layers.columns(tracks)
        if session.tracks is not None:                     # first what data and model both have
            both = layers.columns(session.tracks)
            names.sort(key=lambda name: name not in both)
        if names != [self.colour.itemText(k) for k in range(self.colour.count())]:
            self.colour.blockSignals(True)
            self.colour.clear()
            self.colour.addItems(names)
            self.colour.blockSignals(False)

    def _colour_particles(self) -> None:
        """Particles of data and model, coloured alike."""
        session, column = self.workspace.session, self.colour.currentText()
        if session.future is None or not hasattr(session.future, "dataframe") or not column:
            return
        limits = None
        sides = [("data particles", session.tracks, 0.0)] if session.video is None and column in layers.columns(
            session.tracks) else []
        for name, tracks, offset in [*sides, ("model particles", session.future, self.offset)]:
            follower = self.workspace.follow(name, tracks, column, offset, limits)
            limits = follower.limits
            if column == "entropy" and tracks is session.tracks:
                # a model counts entropy from the mean of the first frame
                origin = truth.first_entropy(tracks) or 0.0
                limits = (limits[0] - origin, limits[1] - origin)

    # ---------------------------------------------------------------- lattice

    def _show_fields(self, found: Any) -> None:
        self.lattice = found
        session = self.workspace.session
        self.workspace.show_fields()
        self.slider.setRange(0, len(session.future.times) - 1)
        self.slider.setValue(len(session.future.times) // 2)
        self.time_row.show()
        self._draw_profiles()
        self.say(found["note"], "note")
        self.workspace.refresh_buttons()

    def _draw_profiles(self) -> None:
        """Densities at the time of the slider: model, exact, Monte Carlo."""
        if self.lattice is None or self.workspace.session.future is None:
            return
        future, k = self.workspace.session.future, self.slider.value()
        self.time_label.setText(f"t = {future.times[k]:.3g}")
        draw = []
        for start in range(len(future.values)):
            lines: list[Any] = []
            carlo, exact = self.lattice["carlo"], self.lattice["exact"]
            if carlo is not None:
                some = carlo.values[carlo.starts == start][:, k].astype(float)
                block = max(1, some.shape[1] // 50)
                mean = some.reshape(len(some), -1, block).mean(axis=2)
                value, error = (np.repeat(v, block) for v in (mean.mean(axis=0), mean.std(axis=0) / len(some) ** 0.5))
                lines.append(("Monte Carlo", value, error, styles.DATA))
            lines.append(("model", future.values[start, k], None, styles.MODEL))
            if exact is not None:
                lines.append(("exact", exact[start][k], None, styles.TRUTH))
            draw.append(plots.profile(lines, f"start {start + 1}, t = {future.times[k]:.3g}"))
        self.canvas.show_plots([[one] for one in draw])


def rollout_and_compare(session: Any, settings: Any, progress: Any) -> tuple[Any, Any, list[tuple[str, Any, str]]]:
    """The rollout of particles, the comparison with the data, and the budgets of both."""
    options = {} if session.model is None else session.model.engine_options(settings.engine, settings.ranks)
    return comparison_of(session, session.rollout(settings.steps, settings.seed, progress, **options), progress)


def comparison_of(session: Any, future: Any, progress: Any) -> tuple[Any, Any, list[tuple[str, Any, str]]]:
    """A rollout with what `Rollout` shows of it."""
    comparison = vd.compare(session.tracks, future)
    sides = (("data", session.tracks, styles.DATA), ("model", future, styles.MODEL))
    found_budgets = [(name, budgets.budget(tracks, session.model, session.truth, progress=progress), colour)
               for name, tracks, colour in sides]
    return future, comparison, [side for side in found_budgets if side[1] is not None]


def rollout_of_fields(session: Any, settings: Any, simulator: Any, progress: Any,
                      realisations: int = 200) -> dict[str, Any]:
    """The rollout of fields, the exact flow from the same profiles, and fresh realisations of the true process."""
    options = {key: value for key, value in (("dt", settings.dt), ("cells", settings.cells)) if value is not None}
    if settings.noise:
        options["noise"] = True
    future = session.rollout(settings.steps, settings.seed, progress, **options)
    found: dict[str, Any] = {"exact": None, "carlo": None, "note": ""}
    if simulator is None or not hasattr(simulator, "limit"):
        return found
    profiles = simulator.profiles() if hasattr(simulator, "profiles") else future.values[:, 0]
    found["exact"] = truth.exact_flow(simulator, profiles, future.times)
    found["note"] = "" if found["exact"] is not None else "The exact mobility of this process is not known."
    if future.times[-1] > MAX_TIMES * session.fields.times[-1]:
        found["note"] = (f"{found['why']} Monte Carlo is left out: it would run more than {MAX_TIMES} times as long as "
                        "the data do.").strip()
        return found
    found["carlo"] = truth.monte_carlo(simulator, future.times, realisations, settings.seed, progress)
    return found
