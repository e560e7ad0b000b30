"""Tracks edited in the panel: each edit, undo, the session's script and its file."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn_napari.session import Session

CLIP = Path(__file__).resolve().parents[2] / "sample_data" / "clip.tif"
SETTINGS = vd.tracking.Track(diameter=9, search_range=5, memory=2, min_length=5, stop=40)


def tracked() -> Session:
    session = Session()
    session.open(CLIP)
    session.track(SETTINGS)
    return session


def test_a_session_records_undoes_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = tracked()
    before = session.tracks
    session.fit(vd.Brownian(cutoff=None), seed=0)
    session.edit({"edit": "delete", "particles": [0]})
    assert session.model is None, "learned from other tracks"
    session.edit({"edit": "split", "particle": 1, "frame": 20})
    session.edit({"edit": "cut", "region": [[0.0, 0.0], [30.0, 30.0]]})
    wanted = session.tracks
    session.edit({"edit": "delete", "particles": [2, 3]})
    session.undo()
    assert session.tracks.dataframe.equals(wanted.dataframe)
    script = tmp_path / "session.py"
    script.write_text(session.script(), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["session.py", str(tmp_path / "again")])
    runpy.run_path(str(script), run_name="__main__")
    again = vd.load(tmp_path / "again" / "tracks.parquet")
    assert again.dataframe.equals(wanted.dataframe)
    assert again.info["edits"] == wanted.info["edits"]
    with pytest.raises(vd.ConfigError, match="edited by hand"):
        session.toml()
    for _ in range(3):
        session.undo()
    assert session.tracks is before
    with pytest.raises(vd.DataError, match="no edit to take back"):
        session.undo()


@pytest.mark.window
def test_edits_in_the_panel(panel: Any, qtbot: Any) -> None:
    workspace, session = panel.workspace, panel.session
    session.open(CLIP)
    session.track(SETTINGS)
    workspace.show_data()
    section = panel.sections["Edit tracks"]
    section.unfold()
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=60_000)
    panel.viewer.dims.set_current_step(0, 10)
    tracks = session.tracks
    row = tracks.dataframe[tracks.frame == 10].iloc[3]
    um = tracks.units.micrometre_per_pixel
    section.choose_at(np.array([row.y + 0.3, row.x]) * um)
    assert section.chosen.text() == str(int(row.particle))
    assert len(workspace.ours["chosen"].data) == (tracks.particle == row.particle).sum()
    section.split_button.click()
    assert session.tracks.n_particles == tracks.n_particles + 1
    new = session.tracks.particle.max()
    assert workspace.ours["tracks"].data[:, 0].max() == new
    section.chosen.setText(f"{int(row.particle)}, {new}")
    section.merge_button.click()
    assert session.tracks.dataframe.equals(tracks.dataframe)
    section.undo_button.click()
    assert session.tracks.n_particles == tracks.n_particles + 1
    section.delete_button.click()
    assert "Choose 1 particle" in section.message.text()
    section.chosen.setText(str(new))
    section.delete_button.click()
    assert new not in session.tracks.particle
    for field, text in ((section.first, "5"), (section.last, "15"), (section.reach, "5")):
        field.setText(text)
    section.relink_button.click()
    section.region_button.click()
    workspace.ours["cut region"].add_rectangles(np.array([[0, 0], [0, 40], [40, 40], [40, 0]]))
    section.cut_button.click()
    inside = (session.tracks.dataframe.y <= 40) & (session.tracks.dataframe.x <= 40)
    assert not inside.any()
    assert "cut region" not in workspace.ours
    assert [edit["edit"] for edit in session.tracks.info["edits"]] == ["split", "delete", "relink", "cut"]
    assert "cut inside<br>relink, frames 5 to 15<br>delete" in section.list.text()
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=60_000)
