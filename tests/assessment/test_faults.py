"""Planted faults fail their own test, and clean recordings fail none: small versions of scripts/assess_power.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.assessment.table import LINES, TESTS, Assessment
from vid2dyn.reports.page import contents

S = vd.simulators
COLUMNS = ["test", "assumption", "statistic", "p", "effect", "unit", "failed", "advice"]


def free(**fault: Any) -> vd.Trajectories:
    """100 particles without forces in 150 frames."""
    return S.Departures(**{"n_particles": 100, "frames": 150, "box_length": 16.0, **fault}).run(seed=3)


def traps(**fault: Any) -> vd.Trajectories:
    """30 particles in traps of their own."""
    return S.Departures(**{"n_particles": 30, "frames": 300, "trap": "each", "trap_stiffness": 12.5,
                           "box_length": None, "spacing": 4.0, **fault}).run(seed=3)


def failed(tracks: vd.Trajectories, recipe: vd.Brownian) -> list[str]:
    """Tests that fail, worst first."""
    return [row["test"] for row in vd.fit(tracks, recipe, seed=0).report["assessment"] if row["failed"]]


def test_clean_recordings_fail_nothing() -> None:
    assert failed(free(), vd.Brownian()) == []
    assert failed(free(exposure=0.01), vd.Brownian()) == []
    assert failed(traps(), vd.Brownian(trap="each")) == []


@pytest.mark.parametrize(("fault", "test"), [
    ({"second_share": 0.5, "second_diffusion": 0.25}, "one D for all particles"),
    ({"stuck_share": 0.3}, "one D for all particles"),
    ({"aligned": 1.8}, "isotropy"),
    ({"diffusion_gradient": 0.6}, "D against place"),
    ({"shear_rate": 1.0, "box_length": None}, "force against place"),
    ({"swim_speed": 6.0, "rotational_diffusion": 5.0}, "persistence"),
    ({"hurst": 0.3}, "memory over 2-3 frames"),
    ({"correlated_errors": 0.7, "localisation_error": 0.09}, "memory over 2-3 frames"),
], ids=lambda one: one if isinstance(one, str) else "-".join(one))
def test_faults_of_free_particles(fault: dict[str, Any], test: str) -> None:
    assert test in failed(free(**fault), vd.Brownian())


@pytest.mark.parametrize(("fault", "test"), [
    ({"circulation": 8.0}, "circulation"),
    ({"well_barrier": 1.5, "well_place": 0.35, "frames": 600}, "shape of the trap"),
], ids=["circulation", "double-well"])
def test_faults_of_traps(fault: dict[str, Any], test: str) -> None:
    assert failed(traps(**fault), vd.Brownian(trap="each"))[0] == test


def test_circulation_is_not_taken_for_a_force_between_neighbours() -> None:
    """Whoever circulates passes neighbours, held in their own traps, on the near side: this recording had a transverse
    pair force of 1.2 kT/µm."""
    one = S.Departures(n_particles=40, frames=400, trap="each", trap_stiffness=12.5, box_length=None, spacing=4.0,
                       diffusion=0.4, circulation=6.0).run(seed=700)
    found = failed(one, vd.Brownian(trap="each"))
    assert found[0] == "circulation"
    assert "transverse pair force" not in found


def test_an_exposure_that_is_not_the_stated_one() -> None:
    one = S.Departures(n_particles=1, frames=6000, trap="shared", trap_stiffness=12.5, box_length=None, exposure=0.01,
                       stated_exposure=0.0, localisation_error=0.005).run(seed=0)
    assert failed(one, vd.Brownian(trap="shared"))[0] == "memory over 1 frame"


@pytest.fixture(scope="module")
def stuck() -> tuple[vd.Trajectories, Any]:
    """A recording with stuck particles that drift apart, and its model."""
    tracks = free(stuck_share=0.3, aligned=1.5, shear_rate=0.8, box_length=None)
    return tracks, vd.fit(tracks, vd.Brownian(), seed=0)


def test_what_fails_is_said_everywhere(stuck: tuple[vd.Trajectories, Any], tmp_path: Any) -> None:
    tracks, model = stuck
    rows = model.report["assessment"]
    assert list(rows[0]) == COLUMNS
    names = [row["test"] for row in rows if row["failed"]]
    assert len(names) > LINES
    assert f"{len(names)} assumptions fail: {names[0]}" in repr(model)
    said = [text for text in model.report["warnings"] if "It does not hold" in text or "assumptions fail" in text]
    assert 1 < len(said) <= LINES
    page = contents(tracks, model=model)
    section = next(one for one in page["sections"] if one.id == "assessment")
    assert section.table is not None
    assert [row[1] for row in section.table["rows"]].count("FAILS") == len(names)
    assert len(section.doubts) == 5
    model.save(tmp_path / "m.vid2dyn")
    assert vd.load(tmp_path / "m.vid2dyn").report["assessment"] == rows


def test_assess_alone_says_the_same_as_the_fit(stuck: tuple[vd.Trajectories, Any]) -> None:
    tracks, model = stuck
    found = vd.assess(tracks, model)
    assert isinstance(found, Assessment)
    rows, fitted = found.rows(), model.report["assessment"]
    beside = [row for row in rows if row["test"].startswith("rollout: ")]      # of vd.assess alone: they take seconds
    assert [row["test"] for row in beside] == ["rollout: motion", "rollout: neighbours"]
    assert [row for row in rows if row not in beside] == fitted
    assert list(found.dataframe.columns) == COLUMNS
    assert len(found.warnings) == LINES
    assert "FAILS" in str(found)


def test_only_models_with_tests_are_assessed() -> None:
    with pytest.raises(vd.ModelError, match="no tests for the text"):
        vd.assess(free(), "model")  # type: ignore[arg-type]


def test_names_of_tests_are_their_own() -> None:
    assert len({one.name for one in TESTS}) == len(TESTS)
    assert all(one.unit and one.question for one in TESTS)


def test_several_recordings_share_a_table() -> None:
    films = [free(), free(stuck_share=0.3)]
    rows = vd.fit(films, vd.Brownian(), seed=0).report["assessment"]
    assert [row["test"] for row in rows].count("isotropy") == 2
    assert any(row["failed"] and row["test"] == "one D for all particles" for row in rows)


def test_few_steps_say_nothing() -> None:
    film = S.Departures(n_particles=3, frames=12, box_length=None).run(seed=0)
    model = vd.fit(film, vd.Brownian(), seed=0)
    assert np.isfinite(model.diffusion())
    assert not any(row["failed"] for row in model.report["assessment"])
