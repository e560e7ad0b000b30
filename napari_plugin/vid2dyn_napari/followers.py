"""Particles coloured by a column, one frame at a time: a small points layer that follows the slider.

A points layer of a whole movie is slow to scrub; the particles of one frame are a few hundred points.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgba_array

from vid2dyn_napari import layers, styles


class Follower:
    """Shows the particles of the frame nearest to a time.

    Parameters
    ----------
    tracks : Trajectories
    column : str
        See `layers.columns`.
    offset : float
        Moves the layer along x [µm, or px].
    limits : (low, high), optional
        Ends of the colour map; default: from the column.
    """

    def __init__(self, tracks: Any, column: str, offset: float = 0.0, limits: Any = None) -> None:
        self.by_frame = layers.ByFrame(tracks, column)
        self.limits = limits or self.by_frame.limits
        self.offset = offset
        self.sizes, self.names = layers.scale(tracks.units)
        self.deep = layers.is_deep(tracks)
        self.column = column
        self.diameter = marker_size(tracks)
        self.colours = matplotlib.colormaps["twilight" if column == "particle" else "plasma"]
        self.drawn: Any = None
        self.layer_: Any = None

    def layer(self, name: str) -> tuple[np.ndarray, dict[str, Any], str]:
        """An empty layer, to be attached."""
        more = 1 if self.deep else 0                         # lengths along z are those of the other axes
        return np.empty((0, 2 + more)), {
            "name": name, "scale": (*self.sizes[1:], *self.sizes[2:] * more),
            "units": (*self.names[1:], *self.names[2:] * more), "translate": (*(0.0,) * more, 0.0, self.offset),
            "size": self.diameter, "border_width": 0, "axis_labels": ("z", "y", "x")[1 - more:], "opacity": 0.95,
            "projection_mode": "rescale_spherical" if self.deep else "none",
            "metadata": {"column": self.column}}, "points"

    def attach(self, layer: Any) -> None:
        """Use this layer from now on."""
        self.layer_ = layer

    def show(self, time: float) -> None:
        """Particles and colours at a time [s, or frames]."""
        frame = round(time / self.sizes[0])
        if self.layer_ is None or frame == self.drawn:
            return
        self.drawn = frame
        yx, value = self.by_frame(frame)
        with self.layer_.events.blocker_all():
            self.layer_.data = yx
            if len(yx):
                self.layer_.face_color = self.coloured(value)
                self.layer_.size = self.diameter
        self.layer_.selected_data = set()
        self.layer_.refresh()

    def coloured(self, value: np.ndarray) -> np.ndarray:
        """(n, 4) colours; grey where a value is not known."""
        if self.by_frame.kinds:
            return to_rgba_array([styles.KINDS[int(k) % len(styles.KINDS)] for k in value])
        low, high = self.limits
        part = value % 17 / 17 if self.column == "particle" else (value - low) / (high - low)
        out = np.asarray(self.colours(np.clip(np.nan_to_num(part), 0.0, 1.0)))
        out[np.isnan(part)] = to_rgba_array(styles.FAINT)[0]
        return out


def marker_size(tracks: Any) -> float:
    """Diameter of a particle as drawn [px]: as tracked, else half the typical distance of neighbours."""
    settings = tracks.info.get("parameters") or {}
    if settings.get("diameter"):
        return 0.7 * float(np.mean(settings["diameter"]))
    if not len(tracks):
        return 5.0
    first = tracks.frame == tracks.frame.min()
    y, x = layers.positions(tracks)
    area = max(np.ptp(y[first]) * np.ptp(x[first]), 1e-9) if tracks.dim > 1 else 1.0
    return float(0.5 * np.sqrt(area / max(first.sum(), 1)))
