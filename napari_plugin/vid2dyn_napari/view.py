"""What `vid2dyn view` calls: napari with the panel and whatever was named."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import vid2dyn as vd

RUN = ("tracks.parquet", "model.vid2dyn", "rollout.parquet")
"""Files of a run's folder, as `vid2dyn run` names them."""


def view(paths: Iterable[Path], show: bool = True) -> Any:
    """Open napari with the panel, and in it recordings, tracks, models, fields, or the folder of a run.

    Parameters
    ----------
    paths : iterable of Path
    show : bool
        Run napari's event loop and return when the window is closed; False returns the viewer at once.

    Raises
    ------
    DataError
        When a path is not there or cannot be read; before a window opens.
    ConfigError
        Without a display, where Qt would end the process.
    """
    wanted = [file for path in paths for file in members(Path(path))]
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise vd.ConfigError("view: there is no display (DISPLAY is not set). Run it where there is a screen, over "
                             "ssh -X, or under xvfb-run.")
    import napari

    from vid2dyn_napari.panel import open_panel

    viewer = napari.Viewer(title="vid2dyn", show=show)
    panel = open_panel(viewer)
    fill(panel, wanted)
    if show:
        napari.run()
    return viewer


def members(path: Path) -> list[Path]:
    """The files behind a path: of a run's folder what it holds, else the path itself."""
    if not path.exists():
        raise vd.DataError(f"{path}: no such file or folder. Give a recording, .parquet, .vid2dyn or .fields file, or "
                           "the folder of a run (runs/NAME/MOVIE).")
    if path.is_dir():
        found = [path / name for name in RUN if (path / name).is_file()]
        if found:
            return found
        runs = sorted(folder.parent for folder in path.glob("*/tracks.parquet"))
        if runs:
            raise vd.DataError(f"{path}: holds {len(runs)} runs; name one of them: "
                               f"{', '.join(run.name for run in runs[:8])}.")
    return [path]


def fill(panel: Any, files: list[Path]) -> None:
    """Open files in the panel: a recording first, then its tracks, the model and its rollout."""
    session = panel.session
    for file in sorted(files, key=lambda f: RUN.index(f.name) if f.name in RUN else -1):
        if file.name == "rollout.parquet" and session.ready("data"):
            future: Any = vd.load(file)
            session.future = future
            continue
        video = session.video
        found = session.open(file)
        if video is not None and isinstance(found, vd.Trajectories):
            session.video = video                         # tracks and the recording they came from
    panel.workspace.show_data()
    for name in ("Open",):
        if session.ready("video") or session.ready("data"):
            panel.sections[name].show_opened(session.video if session.ready("video") else session.data)
    if session.ready("model"):
        panel.sections["Open"].unfold(False)
        panel.sections["Learned model"].unfold()
    if session.ready("data", "model", "future"):
        panel.sections["Roll out"].unfold()
        panel.sections["Roll out"].compare()
