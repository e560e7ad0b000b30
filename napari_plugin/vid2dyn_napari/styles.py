"""Colours and sizes, in one place."""

DATA, MODEL, TRUTH, NOISE, OK = "#4cb2e6", "#ff6b6b", "#ffd166", "#8a94a0", "#5fd08c"
BACK, INK, FAINT = "#262930", "#e8eaed", "#5a626c"
"""Of plots: napari's dark theme, text, grid."""

KINDS = (DATA, TRUTH, OK, MODEL, "#b48ae0", "#f0f1f2")
"""Of kinds of particles, in the order of their names."""

RING = "#ffb000"
"""Rings of a live preview."""

MAX_VERTICES = 200_000
"""Vertices of a tracks layer: 1e5 draw in 0.2 s, 1e6 in 2 s."""

TAIL = 0.25
"""Length of tails [s]."""

PREVIEW_DELAY = 150
"""Milliseconds without a change before a live preview starts."""

THROTTLE = 0.2
"""Seconds between two reports of progress."""

GAP = 0.08
"""Space between data and model, in widths of the field of view."""

PANEL_WIDTH = 430
"""Of the panel [px]."""


def preference(name: str) -> float:
    """A preference of the plugin (napari's Preferences), or its default where napari keeps none."""
    default = {"max_vertices": MAX_VERTICES, "tail_seconds": TAIL, "preview_delay": PREVIEW_DELAY}[name]
    try:
        from napari.settings import get_plugin_settings

        return float(getattr(get_plugin_settings("vid2dyn").vid2dyn, name))
    except (ImportError, AttributeError, KeyError, ValueError):
        return default
