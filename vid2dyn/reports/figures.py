"""Figures of the report: arrays in, a picture as a data URI out.

No pyplot: every function makes its own `Figure`, so a report can be made without a display and in
workers. The same numbers give the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from vid2dyn.reports import drawing
from vid2dyn.reports.drawing import EstimatedMSD, LearnedCurve, Style

DATA, MODEL, TRUTH, MUTED = "#1f5fa8", "#d1495b", "#222222", "#8a94a0"
PAGE = Style(data=DATA, model=MODEL, truth=TRUTH, estimate=TRUTH, muted=MUTED, shade="#dfe9f4",
             shade_label="seen in the data", band=0.25, error=0.22, marker=3.5, width=1.6, thin=1.2, truth_width=1.3)
_STYLE: Any = {
    "font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.edgecolor": "#5b6570", "axes.labelcolor": "#2b333b", "xtick.color": "#5b6570", "ytick.color": "#5b6570",
    "legend.frameon": False, "legend.fontsize": 8.5, "lines.linewidth": 1.6, "svg.hashsalt": "vid2dyn",
    "font.family": "DejaVu Sans", "mathtext.default": "regular",
}
MAX_TRACKS = 400
"""Tracks drawn at most: more cannot be told apart on a page, and the page stays small."""


def picture(draw: Callable[[Axes], None], width: float = 5.2, height: float = 3.5, raster: bool = False) -> str:
    """A data URI of what `draw(axes)` draws: SVG, or PNG where there are pixels or very many lines.

    >>> picture(lambda axes: None)[:26]
    'data:image/svg+xml;base64,'
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        stream = io.BytesIO()
        if raster:
            figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
        else:
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    kind = "png" if raster else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def detections(frame: np.ndarray, yx: np.ndarray, diameter: float) -> str:
    """A frame with a circle around every detection.

    Parameters
    ----------
    frame : (H, W) array
        Grey values.
    yx : (N, 2) array
        Positions [px].
    diameter : float
        Of the circles [px]. Of a frame in which they would be too small to see, the part around the middle of the
        detections is drawn (`close_up`).
    """
    top, bottom, left, right = close_up(frame.shape, yx, diameter)
    height, width = bottom - top, right - left

    def draw(axes: Axes) -> None:
        low, high = np.percentile(frame[top:bottom, left:right], (0.5, 99.8))
        axes.imshow(frame, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
        points = 72.0 * 5.0 / max(height, width)             # points per pixel of a picture 5 inches wide
        axes.scatter(yx[:, 1], yx[:, 0], s=(diameter * points) ** 2, facecolors="none", edgecolors="#ffb000",
                     linewidths=min(1.0, 0.12 * diameter * points))
        axes.set(xlim=(left - 0.5, right - 0.5), ylim=(bottom - 0.5, top - 0.5), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)

    return picture(draw, 5.2, 5.2 * height / width, raster=True)


def close_up(shape: tuple[int, ...], yx: np.ndarray, diameter: float) -> tuple[int, int, int, int]:
    """First row, row after the last, first column, column after the last of the part of a frame that is drawn: all of
    it where circles are 6 points wide or more, else a window about the median of the detections in which they are.

    >>> close_up((512, 512), np.zeros((5, 2)), 11), close_up((2048, 2048), np.full((5, 2), 1000.0), 9)
    ((0, 512, 0, 512), (730, 1270, 730, 1270))
    """
    side = max(60, round(60 * diameter))
    middle = np.median(yx, axis=0) if len(yx) else 0.5 * np.array(shape[:2])
    found: list[int] = []
    for edge, at in zip(shape[:2], middle):
        start = 0 if edge <= side else int(np.clip(round(at - side / 2), 0, edge - side))
        found += [start, min(start + side, edge)]
    return found[0], found[1], found[2], found[3]


def in_the_middle(segments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The tracks that are drawn: all, or of more than `MAX_TRACKS` that many around the middle of all."""
    if len(segments) <= MAX_TRACKS:
        return list(segments)
    place = np.array([segment.mean(axis=0) for segment in segments])
    away = np.abs(place - np.median(place, axis=0)).max(axis=1)
    return [segments[k] for k in np.sort(np.argsort(away, kind="stable")[:MAX_TRACKS])]


def label(text: str) -> str:
    """A label in the page's style of units.

    >>> label("r [µm]"), label("g(r)")
    ('r (µm)', 'g(r)')
    """
    return text[:text.rindex("[")] + f"({text[text.rindex('[') + 1:-1]})" if text.endswith("]") else text


def paths(segments: Sequence[np.ndarray], extent: tuple[float, float] | None, unit: str) -> str:
    """Tracks seen from above, coloured by start-to-end time.

    Parameters
    ----------
    segments : sequence of (n, 2) arrays
        Positions (y, x) of each track in time, in `unit`; of more than `MAX_TRACKS` those in the middle are drawn.
    extent : (height, width), optional
        Of the field of view.
    """
    longest = sorted(in_the_middle(segments), key=len, reverse=True)
    part = len(longest) < len(segments)

    def draw(axes: Axes) -> None:
        colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.95, 12))
        order = np.random.default_rng(0).permutation(len(longest))
        axes.add_collection(LineCollection([s[:, ::-1] for s in longest], linewidths=0.9,
                                           colors=[colours[i % 12] for i in order]))
        axes.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})", aspect="equal")
        if extent and not part:
            axes.set(xlim=(0, extent[1]), ylim=(extent[0], 0))
        else:
            axes.autoscale()
            axes.invert_yaxis()

    return picture(draw, 5.2, 5.2 * (extent[0] / extent[1] if extent and not part else 1.0), raster=True)


def msd(found: EstimatedMSD) -> str:
    """Mean squared displacement [µm²] against lag time [s] and the line of the estimate, on logarithmic axes."""
    def draw(axes: Axes) -> None:
        drawing.msd(axes, found, PAGE, "free diffusion with blur and noise")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.legend()

    return picture(draw)


def curves(curve: Any) -> str:
    """Data and rollout of one `Curve` of a comparison, each with its standard error as a band."""
    def draw(axes: Axes) -> None:
        if curve.name != "MSD":
            axes.axhline(1.0 if curve.name == "RDF" else 0.0, color=MUTED, lw=0.8, ls=":")
        drawing.comparison(axes, curve, PAGE, "model rollout")
        axes.set(xlabel=label(curve.x_label), ylabel=label(curve.y_label))
        axes.legend()

    return picture(draw)


def potential(curve: LearnedCurve) -> str:
    """Pair potential [kT] against distance [µm] with its 95 % band; the sampled range is shaded."""
    def draw(axes: Axes) -> None:
        drawing.learned(axes, curve, PAGE, zero=True)
        axes.set(xlabel="distance r (µm)", ylabel="pair potential (kT)", xlim=(curve.x[0], curve.x[-1]))
        drawing.keep_in_view(axes, curve.visible(), 0.12, 0.1)
        axes.legend()

    return picture(draw)


def learned(curve: LearnedCurve, x_label: str, y_label: str) -> str:
    """A learned function with its 95 % band; where the data were is shaded."""
    def draw(axes: Axes) -> None:
        drawing.learned(axes, curve, PAGE)
        if curve.support is not None:
            shown = curve.visible()
            least = 1e-3 * abs(shown.max()) if shown.size else 0.0
            drawing.keep_in_view(axes, shown, 0.15, max(least, 1e-12))
            axes.set_xlim(curve.x[0], curve.x[-1])
        axes.set(xlabel=label(x_label), ylabel=label(y_label))
        axes.legend()

    return picture(draw)


def whitened(edges: np.ndarray, counts: np.ndarray) -> str:
    """Histogram of the whitened residuals beside the standard normal density they should follow."""
    def draw(axes: Axes) -> None:
        widths = np.diff(edges)
        density = counts / max(float((counts * widths).sum()), 1e-300)
        axes.bar(edges[:-1], density, widths, align="edge", color=DATA, alpha=0.45, lw=0, label="residuals")
        z = np.linspace(min(-4.0, edges[0]), max(4.0, edges[-1]), 200)
        axes.plot(z, np.exp(-z**2 / 2) / np.sqrt(2 * np.pi), color=TRUTH, lw=1.3, label="standard normal")
        axes.set(xlabel="residual / predicted standard deviation", ylabel="density", xlim=(-4.5, 4.5))
        axes.legend()

    return picture(draw)
