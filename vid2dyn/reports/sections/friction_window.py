"""Over how long must one look to see all of the friction? Friction against the length of the windows learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from vid2dyn.core.describe import with_error
from vid2dyn.reports.figures import DATA, MODEL, MUTED, PAGE, picture
from vid2dyn.reports.sections.base import Content, ReportSection, Section, figure


class FrictionWindow(ReportSection):
    """Friction seen over windows of many lengths, the window that was chosen, and what each term adds."""

    order: ClassVar[float] = 35.0

    def applies(self, content: Content) -> bool:
        """Where a model was learned from windows of the motion of particles."""
        window = content.model.report.get("window") if content.model is not None else None
        return isinstance(window, Mapping) and "friction_against_window" in window

    def build(self, content: Content) -> Section:
        """The curve with the chosen window, and the table of terms."""
        report = content.model.report
        window = report["window"]
        rows = np.array(window["friction_against_window"], float).reshape(-1, 4)
        caption = _caption(window, report.get("late_friction") or {})
        doubts = [] if window["plateau"] else [_advice(window)]
        drawn = figure(picture(lambda axes: _draw(axes, rows, window)), caption)
        return Section("friction-window", "Friction against window", "Noise of real particles remembers: below its "
                       "memory time it has not yet grown as much as friction says. Friction is read where the curve is "
                       "flat.", [drawn], _terms(content.model), doubts)


def _draw(axes: Axes, rows: np.ndarray, window: Mapping[str, Any]) -> None:
    seconds, friction, error = rows[:, 1], rows[:, 2], rows[:, 3]
    level, spread = float(window["friction"]), 1.96 * float(window["friction_stderr"])
    if np.isfinite(spread):
        axes.axhspan(level - spread, level + spread, color=MODEL, alpha=PAGE.band, lw=0)
    axes.axhline(level, color=MODEL, lw=PAGE.width,
                 label="friction of the model" if window["plateau"] else "friction of the model (no plateau)")
    axes.axvline(float(window["seconds"]), color=MUTED, lw=1.0, ls="--", label="window learned from")
    axes.errorbar(seconds, friction, yerr=1.96 * error, fmt="o", ms=PAGE.marker, color=DATA, capsize=0,
                  label="seen over windows, 95 %")
    top = max(float(np.max(friction)), level + min(spread, level))
    axes.set(xscale="log", xlabel="length of the window (s)", ylabel="friction of a particle (mass/s)",
             ylim=(min(0.0, float(np.min(friction))), 1.2 * top))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="lower right")


def _caption(window: Mapping[str, Any], late: Mapping[str, Any]) -> str:
    """What the curve says, in sentences."""
    frames, seconds, shown = int(window["frames"]), float(window["seconds"]), float(window.get("shown", 1.0))
    times = [float(t) for t in window.get("memory_times", [])]
    said = ["Friction of a particle as windows of each length show it, forces taken off."]
    if window["plateau"]:
        said.append("It reaches a plateau: the noise has forgotten itself within the longer windows.")
    else:
        said.append("There is no plateau.")
    said.append(f"The model was learned from windows of {frames} frame{'s' * (frames != 1)} ({seconds:.3g} s), which "
                f"show {100 * shown:.0f} % of the friction.")
    if times:
        said.append(f"Memory: {', '.join(f'{t:.2g} s' for t in times)}.")
    if late.get("taken"):
        lags = late["lags"]
        said.append("How friction is divided, along and across the line of centres, near and far, is that of the drift "
                    f"{lags[0]:.2g} to {lags[-1]:.2g} s later: the parts settle at different times, and a rollout with "
                    "them is nearer to the velocity correlation of the data.")
    return " ".join(said)


def _advice(window: Mapping[str, Any]) -> str:
    """What to do without a plateau."""
    rows = window["friction_against_window"]
    return (f"Friction goes from {rows[0][2]:.3g} to {rows[-1][2]:.3g} mass/s over windows of {rows[0][1]:.3g} to "
            f"{rows[-1][1]:.3g} s and does not settle: friction and motion over long times are not known from these "
            "frames alone. If velocities turn around between frames film faster, otherwise record longer; or add the "
            "term PairMemory, which learns the memory.")


def _terms(model: Any) -> dict[str, Any] | None:
    """What each term adds to the prediction of motion that was set aside."""
    entries = model.report.get("terms") or [{"term": term.title(), "range": term.reach, "adds": None, "kept": True}
                                            for term in getattr(model, "terms", ())]
    if not entries:
        return None
    rows = []
    for entry in entries:
        adds = "not judged" if entry["adds"] is None else with_error(float(entry["adds"]), entry.get("stderr"))
        rows.append([entry["term"], f"{entry['range']:.3g}" if entry["range"] else "no pairs", adds,
                     "yes" if entry["kept"] else "no, it adds nothing"])
    return {"head": ["term", "range (µm)", "adds (nats per particle and second)", "kept"], "rows": rows}
