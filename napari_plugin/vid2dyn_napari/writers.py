"""What napari calls to save layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vid2dyn as vd
from vid2dyn_napari.layers import from_layer


def write_tracks(path: str, data: Any, settings: dict[str, Any]) -> list[str]:
    """A tracks layer as .parquet (everything vid2dyn knows of it) or .csv (the table)."""
    tracks = from_layer(data, settings)
    if Path(path).suffix == ".csv":
        save_csv(tracks, path)
    else:
        tracks.save(path)
    return [path]


def save_csv(tracks: Any, path: Any) -> None:
    """The table of detections as text, whole or not at all."""
    with vd.core.files.atomic(path) as scratch:
        tracks.dataframe.to_csv(scratch, index=False)


def write_model(path: str, data: Any, settings: dict[str, Any]) -> list[str]:
    """The model whose rollout a tracks layer shows."""
    model = (settings.get("metadata") or {}).get("model")
    if model is None:
        raise vd.DataError(f"{path}: this layer is not the rollout of a model. Select the layer that the section "
                           "Roll out made, or save the model in the section Export.")
    model.save(path)
    return [path]
