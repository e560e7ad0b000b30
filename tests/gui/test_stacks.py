"""Recordings of stacks in the panel: layers in three dimensions, and the way from the file to the rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn_napari import layers

LONG = 120_000


def section(panel: Any, name: str) -> Any:
    found = panel.sections[name]
    found.unfold()
    return found


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def done(qtbot: Any, panel: Any) -> None:
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)


def beads(frames: int = 6) -> Any:
    sim = vd.simulators.Brownian(n_particles=25, frames=frames, dim=3, box_length=8.0, frames_per_second=50.0,
                                 diffusion=0.2)
    return vd.render(sim, vd.simulators.StackRenderer(planes=24, height=64, width=64, micrometre_per_plane=0.25), 1)


def test_layers_of_stacks_have_depth() -> None:
    video = beads()
    data, settings, kind = layers.layers_of(video)[0]
    assert kind == "image"
    assert data.ndim == 4
    assert data.shape == (6, 24, 64, 64)
    assert np.array_equal(data[2, 5], video[2][5])
    assert data[1:3, :, 4].shape == (2, 24, 64)
    assert settings["scale"] == pytest.approx((0.02, 0.25, 0.1, 0.1))
    assert settings["axis_labels"] == ("t", "z", "y", "x")
    tracks = video.truth
    data, settings, kind = layers.layers_of(tracks)[0]
    assert kind == "tracks"
    assert data.shape[1] == 5
    assert settings["scale"] == pytest.approx((0.02, 0.1, 0.1, 0.1))
    assert np.allclose(data[:, 2] * 0.1, tracks.positions[:, 2])
    foreign = layers.from_layer(data, {**settings, "metadata": {}})
    assert np.allclose(foreign.positions, tracks.positions)


def test_tracks_without_planes_are_seen_from_above() -> None:
    tracks = vd.simulate(vd.simulators.Brownian(n_particles=5, frames=6, dim=3, box_length=8.0), seed=0)
    assert layers.layers_of(tracks)[0][0].shape[1] == 4


@pytest.mark.window
def test_the_way_of_a_stack(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    beads(20).save(tmp_path / "beads.tif")
    opening = section(panel, "Open")
    opening.path.setText(str(tmp_path / "beads.tif"))
    click(qtbot, opening.open_button)
    done(qtbot, panel)
    assert panel.session.video.is_stack, opening.message.text()
    assert opening.units.values()["micrometre_per_plane"] == 0.25
    assert panel.viewer.dims.ndim == 4
    detect = section(panel, "Detect")
    detect.preview_later()
    qtbot.waitUntil(lambda: "preview" in panel.workspace.ours, timeout=LONG)
    assert panel.workspace.ours["preview"].data.shape[1] == 3
    assert "planes deep" in detect.message.text()
    tracking = section(panel, "Track and check")
    tracking.form.fill({"search_range": 8.0})
    click(qtbot, tracking.track_button)
    done(qtbot, panel)
    assert panel.session.ready("tracks"), tracking.message.text()
    assert panel.session.tracks.dim == 3
    assert panel.workspace.ours["tracks"].data.shape[1] == 5
    fit = section(panel, "Fit")
    click(qtbot, fit.fit_button)
    done(qtbot, panel)
    assert panel.session.model is not None, fit.message.text()
    roll = section(panel, "Roll out")
    click(qtbot, roll.run_button)
    done(qtbot, panel)
    assert {"model", "model particles"} <= set(panel.workspace.ours), roll.message.text()
