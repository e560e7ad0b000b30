"""Do particles carry heat of their own? How long what their motion says of each stays alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from vid2dyn.core.describe import with_error
from vid2dyn.reports.figures import DATA, MODEL, MUTED, PAGE, picture
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class ParticleHeat(ReportSection):
    """Persistence of the local scores, with the heat that explains it."""

    order: ClassVar[float] = 36.0

    def applies(self, content: Content) -> bool:
        """Where heat of particles was looked for."""
        heat = content.model.report.get("heat") if content.model is not None else None
        return isinstance(heat, Mapping) and "persistence" in heat

    def build(self, content: Content) -> Section:
        """One picture for noise, one for pair forces, and what was found."""
        heat = content.model.report["heat"]
        rows = np.array(heat["persistence"], float)
        drawn = [figure(picture(partial(_draw, rows=rows, coupling=c, name=name, heat=heat)), _caption(name, heat))
                 for c, name in enumerate(heat["couplings"])]
        table = {"head": ["what", "value"], "rows": [
            ["following it adds (nats per particle and second, motion set aside)",
             with_error(float(heat["adds"]), float(heat["stderr"]))],
            ["fall of χ² (a finding needs more)", f"{heat['chi2_gained']:.3g} ({heat['chi2_needed']:.3g})"],
            ["correlation of the estimate with the truth, at best", f"{heat['attainable_correlation']:.2f}"],
            ["windows", f"{heat['windows']} of {heat['seconds']:.3g} s"]]}
        return Section("particle-heat", "Heat that particles carry", "Hot particles shake their neighbours harder for "
                       "as long as they are hot. What one window says of a particle is mostly noise; what stays alike "
                       "from window to window is not.", drawn, table, [])


def _draw(axes: Axes, rows: np.ndarray, coupling: int, name: str, heat: Mapping[str, Any]) -> None:
    seconds, seen, error, fitted = rows[:, 0], *(rows[:, 1 + 3 * coupling + k] for k in range(3))
    beyond = seconds > (heat["first_lag"] - 0.5) * heat["seconds"]
    axes.errorbar(seconds[beyond], seen[beyond], yerr=1.96 * error[beyond], fmt="o", ms=PAGE.marker, color=DATA,
                  capsize=0, label="seen, 95 % if nothing persists")
    if heat["identified"]:
        axes.plot(seconds, fitted, color=MODEL, lw=PAGE.width, label="heat of the model")
    axes.axhline(0.0, color=MUTED, lw=1.0)
    top = float(np.max(np.abs(seen[beyond]) + 2 * error[beyond], initial=1e-12))
    axes.set(xlabel="time between windows (s)", ylabel=f"covariance of the strength of {name}",
             ylim=(-0.4 * top, 1.1 * top), xlim=(0.0, float(seconds[-1])))
    axes.legend(loc="upper right")


def _caption(name: str, heat: Mapping[str, Any]) -> str:
    said = f"How alike the relative strength of {name} of a particle is in two windows some time apart."
    if heat["identified"]:
        return f"{said} It fades as the heat of a particle flows to its neighbours."
    return f"{said} The model has one temperature."
