"""Learned model: every function with its band, where the data support it, and the truth where it is known."""

from __future__ import annotations

from typing import Any

import numpy as np

import vid2dyn as vd
from vid2dyn_napari import curves, plots, truth
from vid2dyn_napari.section import Section, sentence
from vid2dyn_napari.workspace import Workspace

_NUMBERS = (("diffusion", "diffusion D", "µm²/s", 1.0),
            ("localisation_error", "localisation error", "nm", 1e3),
            ("trap_stiffness", "trap stiffness", "kT/µm²", 1.0),
            ("shear_viscosity", "shear viscosity η", "energy s/{volume}", 1.0),
            ("bulk_viscosity", "bulk viscosity ζ", "energy s/{volume}", 1.0),
            ("conductivity", "conductivity κ", "kB/{per}s", 1.0))


class Learned(Section):
    """Plots and numbers of the model."""

    title = "Learned model"
    help = "What was learned, with 95 % bands; trust a curve only where its background is shaded, where the data were."

    def __init__(self, workspace: Workspace, number: int) -> None:
        super().__init__(workspace, number)
        self.numbers = sentence("")
        self.body.addWidget(self.numbers)
        self.canvas = plots.Canvas(190)
        self.body.addWidget(self.canvas)
        self.shown: Any = None
        self.finish()

    def refresh(self) -> None:
        """Draw the model of the session, once."""
        model = self.workspace.session.model
        if model is None:
            self.shown = None
            self.canvas.clear()
            self.numbers.setText("There is no model yet: fit one, or open a .vid2dyn file.")
            return
        if model is self.shown:
            return
        self.shown = model
        session = self.workspace.session
        found = curves.learned(model, session.truth, session.tracks)
        self.canvas.show_plots(plots.in_rows([plots.function(one) for one in found]))
        early = "".join(f"<span style='color:#ffd166'>▲ {note}</span><br>" for note in model.report.get("warnings", ())
                        if "stopped_early" in model.report and note.startswith("Stopped early"))
        text = numbers(model, truth.true_numbers(session.truth)) or repr(model).strip("<>")
        self.numbers.setText(early + text)


def numbers(model: Any, known_truth: Any) -> str:
    """Single numbers with 95 % bands, and the truth where it is known; HTML."""
    rows = []
    listed = hasattr(model, "terms")                 # a list of terms has the numbers of its terms, in their units
    for name, label, unit, factor in () if listed else _NUMBERS:
        try:
            value = float(getattr(model, name)())
            low, high = (float(np.asarray(edge)) for edge in model.band(name))
        except (AttributeError, TypeError, vd.Vid2DynError):
            continue
        known = _truth(factor * known_truth.get(name, 0.0))
        solid = getattr(getattr(model, "layout", None), "dim", 2) == 3
        unit = unit.format(volume="µm³" if solid else "µm²", per="µm/" if solid else "")
        band = f"{figure(factor * low, 3)} – {figure(factor * high, 3)}"
        cells = (label, f"<b>{figure(factor * value)}</b>", band, unit, known)
        rows.append(cells)
    if not rows:                                     # also a dynamics of another package: what its model says itself
        rows = [(one.label, f"<b>{figure(one.value)}</b>", f"{figure(one.low, 3)} – {figure(one.high, 3)}",
                 one.unit, _truth(known_truth.get(one.truth))) for one in model.numbers()]
    lines = ("<tr>" + "".join(f"<td>{cell}&nbsp;&nbsp;</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{''.join(lines)}</table>" if rows else ""


def _truth(value: float | None) -> str:
    """The true value beside a number; empty where it is not known, or zero."""
    return f"<span style='color:#ffd166'>truth&nbsp;{figure(value, 3)}</span>" if value else ""


def figure(value: float, digits: int = 4) -> str:
    """A few digits, without an exponent where one can do without.

    >>> figure(10567.0), figure(0.40189), figure(2.5e9), figure(49.06, 3)
    ('10570', '0.4019', '2.5e+09', '49.1')
    """
    if 1e3 <= abs(value) < 1e6:
        return f"{float(f'{value:.{digits}g}'):.0f}"
    return f"{value:.{digits}g}"
