"""What a page says and does not say: one verdict at the top, numbers as one reads them, advice that fits the data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.describe import plain, with_error
from vid2dyn.reports import figures, page
from vid2dyn.reports.headline import checks


def text_of(path: Path) -> str:
    text = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.fixture(scope="module")
def filmed() -> tuple[vd.Video, vd.Trajectories]:
    gas = vd.simulators.Brownian(n_particles=60, frames=90, box_length=12.8, diffusion=0.4, exposure=0.01)
    video = vd.render(gas, vd.simulators.Renderer(height=128, width=128), seed=1)
    return video, vd.track(video, diameter=11, search_range=7, invert=False)


def test_a_remark_is_not_below_a_green_box(filmed: tuple[vd.Video, vd.Trajectories],
                                           monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    video, tracks = filmed
    plain_content = page.contents

    def with_remark(*given: object, **more: object) -> dict[str, object]:
        content = plain_content(*given, **more)                          # type: ignore[arg-type]
        content["warnings"] = []
        content["sections"][0].doubts.append("Look at this.")
        content["remarks"] = [section for section in content["sections"] if section.doubts]
        return content

    monkeypatch.setattr(page, "contents", with_remark)
    html = vd.report(tmp_path / "page.html", tracks=tracks, video=video).read_text(encoding="utf-8")
    assert 'class="fine"' not in html
    assert '<a href="#seen">What was seen</a>' in html
    assert "Look at this." in html


def test_edges_and_D_without_tracking_are_said(filmed: tuple[vd.Video, vd.Trajectories], tmp_path: Path) -> None:
    video, tracks = filmed
    said = text_of(vd.report(tmp_path / "page.html", tracks=tracks, video=video))
    assert "px of the frame hold no detection" in said
    row = re.search(r"D without tracking, from the wave numbers of the pictures (\S+) ± (\S+) µm²/s", said)
    assert row
    assert abs(float(row[1]) - 0.4) < 5 * float(row[2])
    assert "change diameter" in said
    part = tracks.replace(region=vd.data.region.Region.of([[0, 0], [127, 127]], (128, 128)))
    assert "region of interest only" in text_of(vd.report(tmp_path / "part.html", tracks=part, video=video))


def test_simulated_data_are_not_told_to_change_the_diameter(tmp_path: Path) -> None:
    tracks = vd.simulate(vd.simulators.Brownian(n_particles=20, frames=40), seed=0)
    model = vd.fit(tracks, vd.Brownian())
    said = text_of(vd.report(tmp_path / "page.html", tracks=tracks, model=model, rollout=model.rollout(tracks, 30)))
    assert "diameter" not in said
    assert "Tracks of a simulation, as they were made" in said
    assert "mean velocities, displacement over frame interval" in said, "VACF of positions"
    given = vd.Trajectories.from_dataframe(tracks.dataframe, units=tracks.units)
    assert "Tracks as they were given" in text_of(vd.report(tmp_path / "given.html", tracks=given))


def test_numbers_as_one_reads_them() -> None:
    assert with_error(-0.0001, 0.02) == "0.000 ± 0.020"
    assert plain(-0.0) == "0"
    rows = dict(checks({"laws": {"energy_drift": 3e-17, "momentum_drift": 2e-5}}))
    assert "0 to rounding" in rows.values()
    assert "2e-05" in rows.values()
    assert figures.label("lag [s]") == "lag (s)"


def test_dense_movies_are_drawn_as_a_close_up() -> None:
    yx = np.random.default_rng(0).uniform(0, 2000, (9000, 2))
    top, bottom, left, right = figures.close_up((2000, 2000), yx, 9)
    assert (bottom - top, right - left) == (540, 540)
    assert figures.close_up((400, 400), yx, 9) == (0, 400, 0, 400)
    tracks = [np.cumsum(np.ones((5, 2)), axis=0) + place for place in yx[:2000]]
    drawn = figures.in_the_middle(tracks)
    assert len(drawn) == figures.MAX_TRACKS
    assert np.ptp([one.mean(axis=0) for one in drawn], axis=0).max() < 0.6 * 2000
    assert len(figures.in_the_middle(tracks[:10])) == 10
