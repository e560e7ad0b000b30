"""What napari calls to open files: recordings, tracks, fields and models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import vid2dyn as vd
from vid2dyn_napari.layers import Layer, layers_of

SAVED = (".parquet", ".fields", ".vid2dyn")


def reader(path: Any) -> Callable[[Any], list[Layer]] | None:
    """A function that reads `path`, or None where it is several paths or not vid2dyn's business."""
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    return read if Path(path).exists() else None


def read(path: Any) -> list[Layer]:
    """Layers of a file; an error of vid2dyn says what is wrong, where, and what to do."""
    path = Path(path[0] if isinstance(path, list) else path)
    if path.suffix == ".vid2dyn":
        return [model_layer(vd.load(path), path)]
    return layers_of(vd.load(path) if path.suffix in SAVED else vd.open(path), path.stem)


def model_layer(model: Any, path: Path) -> Layer:
    """A model as a layer: nothing to see but its name; the panel takes it from the metadata."""
    import numpy as np

    return np.empty((0, 3)), {"name": f"model {path.stem}", "axis_labels": ("t", "y", "x"),
                              "metadata": {"vid2dyn": model, "path": str(path)}}, "points"
