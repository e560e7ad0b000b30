"""Plots in the panel: matplotlib in napari's colours, a cursor that moves cheaply, cuts that can be dragged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.widgets import AxesWidget, ToolLineHandles
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy

from vid2dyn.reports import drawing
from vid2dyn_napari import styles
from vid2dyn_napari.budgets import Budget
from vid2dyn_napari.curves import Histogram, Learned
from vid2dyn_napari.sheets import MeasuredSheet

_STYLE: Any = {
    "font.size": 8, "axes.facecolor": styles.BACK, "figure.facecolor": styles.BACK, "axes.edgecolor": styles.FAINT,
    "axes.labelcolor": styles.INK, "text.color": styles.INK, "xtick.color": styles.INK, "ytick.color": styles.INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 8.5, "axes.labelsize": 8,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "legend.frameon": False, "lines.linewidth": 1.4,
    "font.family": "DejaVu Sans", "mathtext.default": "regular", "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 5),
}


PANEL = drawing.Style(data=styles.DATA, model=styles.MODEL, truth=styles.TRUTH, estimate=styles.INK, muted=styles.NOISE,
                      shade="#343b45", shade_label=None, band=0.3, error=0.3, marker=2.5, width=1.2, thin=1.0,
                      truth_width=1.2)
GRAB = 12
"""Pixels from a cut within which the mouse takes it."""


class CutLine(AxesWidget):
    """A vertical line that can be dragged along x.

    Matplotlib's own `SpanSelector` selects a range with two edges, and `Slider` has axes of its own; a cut is one edge,
    on the axes of its histogram.

    Parameters
    ----------
    axes : Axes
    place : float
        Where it stands at first.
    moved : callable
        Draws the animated lines again.
    dropped : callable
        Gets the place where the line was let go.
    """

    def __init__(self, axes: Axes, place: float, moved: Callable[[], None], dropped: Callable[[float], None]) -> None:
        super().__init__(axes)
        self.handles = ToolLineHandles(axes, [place], "horizontal", line_props={"color": styles.TRUTH, "lw": 1.6})
        self.handles.set_visible(True)
        self.moved, self.dropped = moved, dropped
        self.lock = axes.figure.canvas.widgetlock
        """Held while the line is dragged."""
        for event, handler in (("button_press_event", self._press), ("motion_notify_event", self._move),
                             ("button_release_event", self._release)):
            self.connect_event(event, handler)           # type: ignore[arg-type]    # its annotation means the name

    @property
    def line(self) -> Line2D:
        """What is drawn."""
        return self.handles.artists[0]

    @property
    def place(self) -> float:
        """Where it stands."""
        return float(self.handles.positions[0])

    def remove(self) -> None:
        """Hear no more of the mouse."""
        self.disconnect_events()
        if self.lock.isowner(self):
            self.lock.release(self)

    def _press(self, event: Any) -> None:
        near = event.inaxes is self.ax and self.handles.closest(event.x, event.y)[1] < GRAB
        if near and not self.ignore(event) and self.lock.available(self):
            self.lock(self)

    def _move(self, event: Any) -> None:
        if self.lock.isowner(self) and event.inaxes is self.ax:
            self.handles.set_data([float(np.clip(event.xdata, *self.ax.get_xlim()))])
            self.moved()

    def _release(self, _: Any) -> None:
        if self.lock.isowner(self):
            self.lock.release(self)
            self.dropped(self.place)


class Canvas(FigureCanvasQTAgg):
    """A grid of axes.

    Parameters
    ----------
    height : int
        Of one row [px].
    """

    cut = Signal(str, float)
    """A dragged line was let go: its name and its place."""

    def __init__(self, height: int = 150) -> None:
        super().__init__(Figure(layout="constrained", facecolor=styles.BACK))
        self.row = height
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(2)
        self.cursors: list[tuple[Axes, Line2D]] = []
        self.cuts: dict[str, CutLine] = {}
        self.background: Any = None
        self.cursor_at: float | None = None
        self.mpl_connect("draw_event", self._drawn)

    def show_plots(self, draw: Sequence[Sequence[Callable[[Axes], None]]]) -> None:
        """Rows of plots: one axes for each function, which draws on it."""
        self.clear()
        draw = [line for line in draw if line]
        if not draw:
            return
        rows = len(draw)
        self.setFixedHeight(rows * self.row)
        # a section that is closed has no size yet, and axes of no size cannot be drawn on
        self.figure.set_size_inches(max(self.width(), 300) / self.figure.dpi, rows * self.row / self.figure.dpi,
                                    forward=False)
        with matplotlib.rc_context(_STYLE):
            grid = self.figure.add_gridspec(rows, 1)
            for r, line in enumerate(draw):
                cells = grid[r].subgridspec(1, len(line))
                for k, function in enumerate(line):
                    function(self.figure.add_subplot(cells[k]))
        self.draw_idle()

    def clear(self) -> None:
        """Nothing to see."""
        for cut in self.cuts.values():
            cut.remove()
        self.figure.clear()
        self.cursors, self.cuts, self.background = [], {}, None
        self.setFixedHeight(2)

    def wheelEvent(self, event: Any) -> None:
        """The wheel scrolls the panel, not the plot."""
        event.ignore()

    # ---------------------------------------------------------------- lines that move

    def add_cursor(self, axes: Axes) -> None:
        """A vertical line that follows `move_cursor`; matplotlib's `Cursor` follows the mouse, this one the slider."""
        self.cursors.append((axes, axes.axvline(0.0, color=styles.TRUTH, lw=1.0, animated=True)))

    def move_cursor(self, x: float) -> None:
        """Move the cursor without drawing the plots again."""
        self.cursor_at = x
        if self.cursors:
            self.redraw_lines()

    def add_cut(self, axes: Axes, name: str, place: float) -> None:
        """A line that can be dragged along x; `cut` says where it was let go."""
        self.cuts[name] = CutLine(axes, place, self.redraw_lines, lambda x: self.cut.emit(name, x))

    def redraw_lines(self) -> None:
        """Cursors and cuts at their places, on the plots as they were drawn last."""
        if self.background is not None:
            self.restore_region(self.background)
            self._draw_lines()
            self.blit(self.figure.bbox)

    def _drawn(self, _: Any) -> None:
        self.background = self.copy_from_bbox(self.figure.bbox)
        self._draw_lines()

    def _draw_lines(self) -> None:
        if self.cursor_at is not None:
            for axes, line in self.cursors:
                line.set_xdata([self.cursor_at, self.cursor_at])
                axes.draw_artist(line)
        for cut in self.cuts.values():
            cut.ax.draw_artist(cut.line)


def in_rows(draw: Sequence[Callable[[Axes], None]], columns: int = 2) -> list[Sequence[Callable[[Axes], None]]]:
    """Plots in rows of so many."""
    return [draw[k:k + columns] for k in range(0, len(draw), columns)]


# -------------------------------------------------------------------- what is drawn


def histogram(found: Histogram, canvas: Canvas | None = None, place: float | None = None) -> Callable[[Axes], None]:
    """Counts of a column; with a canvas, a cut at `place` that can be dragged."""
    def draw(axes: Axes) -> None:
        axes.bar(found.edges[:-1], found.counts, np.diff(found.edges), align="edge", color=styles.DATA, lw=0)
        axes.set(xlabel=found.label, yticks=[])
        axes.set_xlim(found.edges[0], found.edges[-1])
        axes.margins(y=0.05)
        if canvas is not None and place is not None:
            span = found.edges[-1] - found.edges[0]
            edge = 0.01 * span
            canvas.add_cut(axes, found.name, float(np.clip(place, found.edges[0] + edge, found.edges[-1] - edge)))
    return draw


def phases(edges: np.ndarray, y: np.ndarray, x: np.ndarray) -> Callable[[Axes], None]:
    """Sub-pixel parts of y and x."""
    def draw(axes: Axes) -> None:
        axes.stairs(y, edges, color=styles.DATA, label="y", lw=1.3)
        axes.stairs(x, edges, color=styles.OK, label="x", lw=1.3)
        axes.axhline(0.5 * (y.mean() + x.mean()), color=styles.NOISE, ls=":", lw=1)
        axes.set(xlabel="sub-pixel part (px)", yticks=[], ylim=(0, 1.35 * max(y.max(), x.max(), 1)), xlim=(0, 1))
        axes.legend(ncols=2, loc="upper right")
    return draw


def per_frame(frames: np.ndarray, count: np.ndarray) -> Callable[[Axes], None]:
    """Detections in each frame."""
    def draw(axes: Axes) -> None:
        axes.plot(frames, count, color=styles.OK, lw=1)
        axes.set(xlabel="frame", ylabel="particles", ylim=(0, 1.15 * max(count.max(), 1)))
    return draw


def msd(found: drawing.EstimatedMSD) -> Callable[[Axes], None]:
    """MSD, the line of the estimate and the floor of the noise, on logarithmic axes."""
    def draw(axes: Axes) -> None:
        drawing.msd(axes, found, PANEL, "D, blur, noise", floor=True)
        axes.set_ylabel("MSD (µm²)")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.3)
        axes.legend(loc="upper center", ncols=3)
        axes.minorticks_off()
    return draw


def function(found: Learned) -> Callable[[Axes], None]:
    """A learned function with its band, shaded where the data support it, and the truth where it is known."""
    def draw(axes: Axes) -> None:
        drawing.learned(axes, found, PANEL)
        drawing.keep_in_view(axes, found.visible(), 0.12, 1e-6)
        axes.set(title=found.title, xlabel=found.x_label, ylabel=found.y_label, xlim=(found.x[0], found.x[-1]))
        axes.legend()
    return draw


def comparison(curve: Any) -> Callable[[Axes], None]:
    """Data and rollout of one curve, with standard errors as bands."""
    def draw(axes: Axes) -> None:
        drawing.comparison(axes, curve, PANEL, "model")
        axes.set(title=f"{curve.name}: {100 * curve.relative_rmse:.2g} % (noise "
                       f"{100 * curve.relative_rmse_of_noise:.2g} %)",
                 xlabel=curve.x_label.replace("[", "(").replace("]", ")"),
                 ylabel=curve.y_label.replace("[", "(").replace("]", ")"))
        axes.legend()
    return draw


def series(name: str, sides: Sequence[tuple[str, Budget, str]], canvas: Canvas) -> Callable[[Axes], None]:
    """One series of the budgets of data and model, with a cursor in time."""
    def draw(axes: Axes) -> None:
        unit = ""
        for label, found, colour in sides:
            if name in found.series:
                value, unit = found.series[name]
                axes.plot(found.time, value, color=colour, label=label, lw=1.2)
        axes.set(title=name, xlabel="time (s)", ylabel=unit)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.3 * (high - low))
        axes.legend(ncols=2, loc="upper right")
        canvas.add_cursor(axes)
    return draw


def stress_strain(loops: Sequence[tuple[str, Any, str]]) -> Callable[[Axes], None]:
    """Stress-strain loops of data and model."""
    def draw(axes: Axes) -> None:
        drawing.stress_strain(axes, loops, 1.1)
        axes.set(title="stress of the learned forces")
        axes.legend(loc="upper left", ncols=2)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.2 * (high - low))
    return draw


def rearranging(found: MeasuredSheet, canvas: Canvas) -> Callable[[Axes], None]:
    """Share of the particles that rearrange in the next `found.lag` frames, with a cursor in time."""
    def draw(axes: Axes) -> None:
        axes.plot(found.time, 100 * found.share, color=styles.OK, lw=1.2)
        axes.set(title=f"particles with D²min above {found.threshold:.2g} µm²",
                 xlabel="start (s)", ylabel="%", ylim=(0, None))
        canvas.add_cursor(axes)
    return draw


def convergence(curves: Mapping[str, tuple[list[int], list[float]]]) -> Callable[[Axes], None]:
    """How far a fit still is from its end, at every step, on a logarithmic axis."""
    def draw(axes: Axes) -> None:
        for name, (steps, left) in curves.items():
            axes.plot(steps, left, "o-", ms=3, label=name)
        low, high = (f(v for _, left in curves.values() for v in left) for f in (min, max))
        if low > 0:
            axes.set(yscale="log", ylim=(low / 1.5, high * (high / low) ** 0.4 * 2))
        names = list(curves)
        last = max((max(steps, default=1) for steps, _ in curves.values()), default=1)
        axes.set(xlabel="round", xlim=(0.8, max(last, 2) + 0.2), title=names[0] if len(names) == 1 else "still to go")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(names) > 1:
            axes.legend(loc="upper right", ncols=2)
    return draw


def likelihoods(curves: Mapping[str, tuple[list[int], list[float], list[float]]],
                level: tuple[str, float] | None = None) -> Callable[[Axes], None]:
    """Log-likelihood of a datum after every round, of data learned from and held out; `level`: of something to beat."""
    def draw(axes: Axes) -> None:
        shown: list[float] = []
        for k, (name, (steps, train, held)) in enumerate(curves.items()):
            of = f", {name}" if len(curves) > 1 else ""
            line = "-" if k == 0 else "--"
            axes.plot(steps, train, "o" + line, ms=3, color=styles.DATA, label=f"train{of}")
            axes.plot(steps, held, "s" + line, ms=3, color=styles.MODEL, label=f"held-out{of}")
            shown += [*train, *held]
        if level is not None:
            axes.axhline(level[1], color=styles.NOISE, ls=":", lw=1.2, label=level[0])
            shown.append(level[1])
        finite = [v for v in shown if np.isfinite(v)]
        if finite:
            room = max(max(finite) - min(finite), 1e-6)
            axes.set_ylim(min(finite) - 0.1 * room, max(finite) + (0.5 + 0.3 * (len(curves) > 1)) * room)
        names = [name for name in curves if name.startswith("log-likelihood")]
        last = max((max(steps, default=1) for steps, *_ in curves.values()), default=1)
        title = names[0] if names else "log-likelihood per particle and step"
        axes.set(xlabel="round", xlim=(0.8, max(last, 2) + 0.2), title=f"{title} (nats)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper center", ncols=3 if len(curves) == 1 else 2)
    return draw


def profile(lines: Sequence[tuple[str, np.ndarray, np.ndarray | None, str]], title: str) -> Callable[[Axes], None]:
    """Densities on the ring: (label, values, standard errors or None, colour), each on cells of its own."""
    def draw(axes: Axes) -> None:
        for label, value, error, colour in lines:
            cells = (np.arange(len(value)) + 0.5) / len(value)
            if error is not None:
                axes.fill_between(cells, value - error, value + error, color=colour, alpha=0.3, lw=0)
            axes.plot(cells, value, "--" if colour == styles.TRUTH else "-", color=colour, label=label, lw=1.2)
        axes.set(title=title, xlabel="place on the ring", ylabel="density (per site)", xlim=(0, 1))
        axes.legend(ncols=3, loc="upper center")
        axes.margins(y=0.2)
    return draw
