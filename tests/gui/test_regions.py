"""The region of interest drawn in the panel, and frames as detection sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd

pytestmark = pytest.mark.window
CLIP = Path(__file__).resolve().parents[2] / "sample_data" / "clip.tif"
LONG = 120_000
CORNERS = np.array([[20.0, 20.0], [20.0, 90.0], [100.0, 110.0], [90.0, 30.0]])


def detect_of(panel: Any, qtbot: Any) -> Any:
    opening = panel.sections["Open"]
    opening.path.setText(str(CLIP))
    opening.open_button.click()
    qtbot.waitUntil(lambda: not panel.worker.busy, timeout=LONG)
    detect = panel.sections["Detect"]
    detect.unfold()
    detect.form.fields["diameter"].edit.setText("9")
    return detect


def test_a_region_is_drawn_previewed_tracked_and_written(panel: Any, qtbot: Any) -> None:
    detect = detect_of(panel, qtbot)
    detect.draw_button.click()
    layer = panel.workspace.ours["region"]
    assert layer.mode == "add_polygon"
    layer.add_polygons([CORNERS])
    assert detect.form.values()["roi"] == tuple(map(tuple, CORNERS.tolist()))
    qtbot.waitUntil(lambda: "preview" in panel.workspace.ours, timeout=LONG)
    region = vd.data.region.Region.of(CORNERS.tolist(), panel.session.video.shape)

    def only_inside() -> bool:
        yx = panel.workspace.ours["preview"].data
        return len(yx) > 0 and bool(region.contains(yx[:, 0], yx[:, 1]).all())

    qtbot.waitUntil(only_inside, timeout=LONG)
    tracking = panel.sections["Track and check"]
    tracking.unfold()
    tracking.form.fields["stop"].edit.setText("40")
    tracking.track_button.click()
    qtbot.waitUntil(lambda: not panel.worker.busy and panel.session.tracks is not None, timeout=LONG)
    tracks = panel.session.tracks
    assert (tracks.region.mask == region.mask).all()
    assert "roi=((20.0, 20.0), (20.0, 90.0), (100.0, 110.0), (90.0, 30.0))" in panel.session.script()
    assert "roi = [[20.0, 20.0], [20.0, 90.0], [100.0, 110.0], [90.0, 30.0]]" in panel.session.toml()
    again = vd.track(panel.session.video, panel.session.steps["track"].arguments["settings"])
    assert again.dataframe.equals(tracks.dataframe)
    detect.unfold()
    detect.whole_button.click()
    assert "roi" not in detect.form.values()
    assert "region" not in panel.workspace.ours


def test_frames_as_searched_are_shown_where_they_belong(panel: Any, qtbot: Any) -> None:
    detect = detect_of(panel, qtbot)
    detect.form.fields["background"].show_value("median")
    detect.form.fields["roi"].show_value(((60.0, 60.0), (99.0, 109.0)))
    detect.seen.setChecked(True)
    qtbot.waitUntil(lambda: "prepared" in panel.workspace.ours, timeout=LONG)
    layer, video = panel.workspace.ours["prepared"], panel.session.video
    looked = vd.tracking.prepared(video, detect.form.build())
    assert np.array_equal(np.asarray(layer.data[5]), looked[5])
    um = video.units.micrometre_per_pixel
    assert layer.translate[1:] == pytest.approx(np.array(looked.origin) * um)
    detect.seen.setChecked(False)
    assert "prepared" not in panel.workspace.ours
