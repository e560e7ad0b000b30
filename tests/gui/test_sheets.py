"""Sheets in the panel: species as colours, edges marked by hand, D²min, packed tracking and fit, loops of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn_napari import layers
from vid2dyn_napari.followers import Follower
from vid2dyn_napari.session import Session, Step
from vid2dyn_napari.sheets import SheetSettings, measure, spacing

LONG = 120_000
FILM = vd.simulators.Needle(gap=35.0, width=40.0, frames=41, strain=0.05, frequency=1.0, frames_per_second=40.0,
                            equilibration=0.05)
PACKED = {"cutoff": 14.0, "species": "species", "packed": True, "held": "held", "diffusion": 0.4}


@pytest.fixture(scope="module")
def film() -> Any:
    return vd.simulate(FILM, seed=4)


def section(panel: Any, name: str) -> Any:
    found = panel.sections[name]
    found.unfold()
    return found


def click(qtbot: Any, panel: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)


def test_kinds_of_particles_are_colours(film: Any) -> None:
    assert layers.columns(film)[0] == "species"
    assert {"body", "held"} <= set(layers.columns(film))
    follower = Follower(film, "species")
    assert follower.by_frame.kinds == ("large", "small")
    value = follower.by_frame(3)[1]
    names = film.dataframe["species"].to_numpy()[film.frame == 3]
    assert np.array_equal(value == 1, names == "small")
    colours = follower.coloured(np.array([0.0, 1.0]))
    assert not np.allclose(colours[0], colours[1])
    unknown = Follower(film.replace(dataframe=film.dataframe.assign(psi6=np.nan)), "psi6")
    assert np.allclose(unknown.coloured(np.array([np.nan]))[0], unknown.coloured(np.array([np.nan, 0.5]))[0])


def test_what_is_measured_is_what_the_analysis_says(film: Any) -> None:
    session = Session()
    session.simulate(FILM, seed=4)
    found = measure(session, SheetSettings())
    assert found.drive.frequency == pytest.approx(1.0, abs=1e-6)
    assert found.lag == 20
    assert found.cutoff == pytest.approx(1.5 * FILM.spacing, rel=0.1) == 1.5 * spacing(film)
    d2 = vd.analysis.d2min(film, found.cutoff, 20).dataframe
    merged = found.tracks.dataframe.merge(d2[["frame", "particle", "d2min"]], on=["frame", "particle"])
    known = merged["d2min"] > 0.01 * d2["d2min"].median()
    assert np.allclose(10 ** merged["log10 d2min"][known], merged["d2min"][known])
    late = found.tracks.frame > film.frame.max() - 20
    assert found.tracks.dataframe["log10 d2min"][late].isna().all()
    assert found.tracks.dataframe["psi6"].between(0, 1).all()
    assert not found.loops
    assert any("Fit pair forces" in note for note in found.notes)


def test_what_cannot_be_measured_is_said(film: Any) -> None:
    session = Session()
    session.take(film.replace(dataframe=film.dataframe.drop(columns=["held", "body"])), Step("table"))
    found = measure(session, SheetSettings(cutoff=10.0, lag=5))
    assert found.drive is None
    assert (found.cutoff, found.lag) == (10.0, 5)
    assert any("mark edges in Edit tracks" in note for note in found.notes)
    still = film.replace(dataframe=film.dataframe.drop(columns=["body"])).between(0, 12)
    session.take(still, Step("table"))
    assert any("of a cycle" in note for note in measure(session, SheetSettings()).notes)


@pytest.mark.window
def test_from_marked_edges_to_loops(panel: Any, qtbot: Any, film: Any) -> None:
    session, workspace = panel.session, panel.workspace
    plain = film.replace(dataframe=film.dataframe.drop(columns=["held", "body"]))
    session.take(plain, Step("table"))
    workspace.show_data()
    sheet = section(panel, "Sheet")
    assert sheet.colour.currentText() == "species"
    assert "sheet" in workspace.ours, sheet.message.text()
    assert "large" in sheet.legend.text()
    assert len(np.unique(workspace.ours["sheet"].face_color, axis=0)) == 2
    edit = section(panel, "Edit tracks")
    um = film.units.um
    for number, (low, high) in enumerate(((-1.0, FILM.low), (FILM.high, 1e3)), start=1):
        edit.region_button.click()
        workspace.ours["cut region"].add_rectangles(np.array(
            [[low, -99.0], [low, 999.0], [high, 999.0], [high, -99.0]]) / um)
        edit.edge.setValue(number)
        edit.hold_button.click()
        assert "moved by hand" in edit.message.text()
    held = session.tracks.dataframe["held"].to_numpy()
    assert set(held) == {0, 1, 2}
    assert np.array_equal(held > 0, film.dataframe["held"])
    assert "hold a region as edge 2" in edit.list.text()
    assert [edit["edit"] for edit in session.edits] == ["hold", "hold"]
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)
    fit = section(panel, "Fit")
    fit.kind.setCurrentText("Brownian")
    fit.form.fill(PACKED)
    click(qtbot, panel, fit.fit_button)
    assert session.model is not None, fit.message.text()
    assert session.model.recipe["packed"]
    assert len(section(panel, "Learned model").canvas.figure.axes) >= 3
    click(qtbot, panel, section(panel, "Roll out").run_button)
    assert session.future is not None, panel.sections["Roll out"].message.text()
    sheet = section(panel, "Sheet")
    click(qtbot, panel, sheet.measure_button)
    text = sheet.result.text()
    assert "G', G'' of the data" in text, text + sheet.message.text()
    assert "G', G'' of the model" in text
    assert sheet.colour.currentText() == "log10 d2min"
    assert len(sheet.canvas.figure.axes) == 2
    assert len(sheet.canvas.figure.axes[0].lines) == 2
    before = workspace.ours["sheet"].face_color.copy()
    panel.viewer.dims.set_current_step(0, 10)
    assert not np.allclose(before, workspace.ours["sheet"].face_color), "colours follow the slider"
    sheet.unfold(False)
    assert "sheet" not in workspace.ours


@pytest.mark.window
def test_packed_tracking_gives_species(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    small = vd.simulators.Needle(gap=30.0, width=40.0, frames=4, strain=0.0, equilibration=0.0,
                                 frames_per_second=500.0)
    video = vd.render(small, small.camera("ring"), seed=1)
    video.save(tmp_path / "rings.tif")
    opening = section(panel, "Open")
    opening.path.setText(str(tmp_path / "rings.tif"))
    click(qtbot, panel, opening.open_button)
    detect = section(panel, "Detect")
    detect.form.fill({"diameter": 13, "sizes": "two", "spot": "ring", "class_sizes": (4.55, 6.22), "invert": False})
    detect.preview_later()
    qtbot.waitUntil(lambda: "preview" in panel.workspace.ours, timeout=LONG)
    tracking = section(panel, "Track and check")
    tracking.form.fill({"search_range": 6.0, "predictor": "profile", "min_length": 2})
    click(qtbot, panel, tracking.track_button)
    tracks = panel.session.tracks
    assert tracks is not None, tracking.message.text()
    assert set(tracks.dataframe["species"]) == {"small", "large"}
    sheet = section(panel, "Sheet")
    assert "small" in sheet.legend.text()
    assert 'sizes="two"' in panel.session.script()
