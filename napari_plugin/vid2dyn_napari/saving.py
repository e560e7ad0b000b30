"""Everything a session made, as files: tables, model, page, film, experiment file and script. No Qt."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import vid2dyn as vd
from vid2dyn_napari.session import Session
from vid2dyn_napari.writers import save_csv


def choices(session: Session) -> dict[str, str]:
    """File name -> what it is, for everything that this session could write now."""
    found: dict[str, str] = {}
    if session.tracks is not None:
        found |= {"tracks.parquet": "tracks, with calibration and history", "tracks.csv": "tracks, as a plain table",
                  "tracks.xml": "tracks, for TrackMate"}
    if session.fields is not None:
        found["fields.fields"] = "lattice fields"
    if session.model is not None:
        found["model.vid2dyn"] = "learned model"
    if session.future is not None:
        found["rollout.fields" if session.fields is not None else "rollout.parquet"] = "rollout of the model"
    if session.tracks is not None or session.fields is not None:
        found["report.html"] = "report page"
    if session.tracks is not None:
        found["film.mp4"] = "annotated film: data and model side by side"
    if session.steps:
        if "edit" not in session.steps:
            found["session.toml"] = "experiment file for vid2dyn run"
        found["session.py"] = "Python script that does it again"
    return found


def write(session: Session, folder: str | os.PathLike[str], wanted: Iterable[str],
          progress: vd.Progress = vd.core.progress.silent) -> list[Path]:
    """Write the wanted files into a folder, each whole or not at all; returns their paths.

    Raises
    ------
    ConfigError
        For a file that this session cannot write, or a folder that is a file.
    """
    folder, possible = Path(folder).expanduser(), choices(session)
    if folder.exists() and not folder.is_dir():
        raise vd.ConfigError(f"{folder}: is a file; the results go to a folder, choose another name.")
    wanted = list(wanted)
    for name in wanted:
        if name not in possible:
            raise vd.ConfigError(f"{name}: this session has nothing to write there yet; it can write "
                                 f"{', '.join(possible) or 'nothing'}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise vd.ConfigError(f"{folder}: this folder cannot be made ({error.strerror}); choose another.") from None
    for k, name in enumerate(wanted):
        progress(k, len(wanted), name)
        _one(session, folder / name, progress)
    progress(len(wanted), len(wanted), "export")
    return [folder / name for name in wanted]


def _one(session: Session, path: Path, progress: vd.Progress) -> None:
    """One file, by its name."""
    kind = path.name
    if kind == "tracks.csv":
        save_csv(session.tracks, path)
    elif kind == "tracks.xml":
        vd.convert.write_table(session.tracks, path)
    elif kind == "report.html":
        vd.report(path, tracks=session.data, model=session.model, rollout=session.future, video=session.video,
                  truth=session.truth or None, title=session.name)
    elif kind == "film.mp4":
        from vid2dyn_napari.film import write_film

        write_film(path, session.tracks, video=session.video, future=session.future, progress=progress)
    elif kind in ("session.toml", "session.py"):
        text = session.toml(path.parent) if kind.endswith(".toml") else session.script(str(path.parent / "again"))
        with vd.core.files.atomic(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
    else:
        thing = {"tracks": session.tracks, "fields": session.fields, "model": session.model,
                 "rollout": session.future}[path.stem]
        thing.save(path)
