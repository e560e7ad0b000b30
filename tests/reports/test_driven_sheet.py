"""The section of driven sheets: what it shows, and what it says where it cannot."""

from __future__ import annotations

import pytest

import vid2dyn as vd
from vid2dyn.reports.sections.base import Content
from vid2dyn.reports.sections.driven_sheet import DrivenSheet


@pytest.fixture(scope="module")
def content():
    film = vd.simulators.Needle(gap=60.0, width=60.0, frames=60, strain=0.05, frequency=0.5).run(seed=4)
    recipe = vd.Brownian(cutoff=14.0, species="species", packed=True, held="held", diffusion=0.4, flow="profile")
    model = vd.fit(film, recipe, seed=0)
    return Content(film, model, model.rollout(film, steps=60, seed=0, observed=False))


def test_a_driven_sheet_is_shown(content, tmp_path):
    section = DrivenSheet().build(content)
    assert len(section.figures) == 3
    rows = dict(section.table["rows"])
    assert float(rows["whole cycles"]) == 1
    assert float(rows["G' of the data"].split()[0]) > float(rows["G'' of the data"].split()[0]) > 0
    assert "rollout: work of the last cycle" in rows
    page = vd.report(tmp_path / "page.html", tracks=content.data, model=content.model, rollout=content.rollout)
    assert "How the sheet answers its drive" in page.read_text(encoding="utf-8")


def test_what_it_cannot_show_it_says(content):
    short = Content(content.data.between(0, 25), content.model)
    section = DrivenSheet().build(short)
    assert any("of a cycle" in text for text in section.doubts)
    assert len(section.figures) == 1
    assert not DrivenSheet().applies(Content(content.data, None))
