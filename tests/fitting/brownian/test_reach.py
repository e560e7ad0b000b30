"""cutoff = "auto": which ranges are tried, which is taken, and what the model says of it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.errors import ConfigError, ModelError, Vid2DynError
from vid2dyn.fitting.brownian import reach
from vid2dyn.fitting.brownian.preparation import prepared_recordings
from vid2dyn.fitting.brownian.reach import (
    _Candidate,
    _compared,
    first_frames,
    no_pair_force,
    widest_cutoff,
    with_cutoff,
)
from vid2dyn.fitting.brownian.recording import Recording

AUTO = vd.Brownian(cutoff="auto", knots=12)


def film(seed=0, **settings):
    return sims.Brownian(**{"n_particles": 60, "frames": 60, "box_length": 12.0, "localisation_error": 0.02,
                            "pair": sims.Yukawa(amplitude=10.0, screening_length=0.3), **settings}).run(seed)


@pytest.fixture(scope="module")
def crowd():
    return film()


@pytest.fixture(scope="module")
def model(crowd):
    return vd.fit(crowd, AUTO)


def test_the_model_says_what_was_chosen_and_what_each_range_adds(crowd, model):
    """Yukawa of range 0.3 µm at 1 µm diameter: nearer than 1.3 µm cuts off what matters, 4.5 µm is the farthest."""
    found = model.report["range"]
    ranges = [one["cutoff"] for one in found["candidates"]]
    assert model.recipe["cutoff"] == found["cutoff"]
    assert found["cutoff"] in ranges
    assert 1.3 < found["cutoff"] < 4.0
    chosen = found["candidates"][ranges.index(found["cutoff"])]
    assert chosen["below_best_per_step"] <= chosen["below_best_per_step_stderr"]
    assert chosen["energy_beyond"] <= reach.NOTHING
    for shorter in found["candidates"][:ranges.index(found["cutoff"])]:
        worse = shorter["below_best_per_step"] > shorter["below_best_per_step_stderr"]
        assert worse or shorter["energy_beyond"] > reach.NOTHING
    page = vd.reports.page.contents(crowd, model)
    assert any(section.id == "range" for section in page["sections"])


def test_it_is_the_fit_with_that_cutoff(crowd, model):
    same = vd.fit(crowd, vd.Brownian(cutoff=model.report["range"]["cutoff"], knots=12))
    assert all(np.array_equal(model.arrays[name], same.arrays[name]) for name in same.arrays)


def test_a_stopped_search_goes_on(crowd, model, tmp_path, monkeypatch):
    """Candidates that are done are not fitted again."""
    place, fits = tmp_path / "fit", []
    judged = reach._judged

    def counted(*arguments):
        if len(fits) == 3:
            raise KeyboardInterrupt
        fits.append(1)
        return judged(*arguments)

    monkeypatch.setattr(reach, "_judged", counted)
    with pytest.raises(KeyboardInterrupt):
        vd.fit(crowd, AUTO, checkpoint=place)
    monkeypatch.setattr(reach, "_judged", lambda *a: fits.append(1) or judged(*a))
    resumed = vd.fit(crowd, AUTO, checkpoint=place)
    assert len(fits) == reach.CANDIDATES
    assert resumed.report == model.report


def candidates(energy):
    rng, ranges = np.random.default_rng(0), np.array([1.0, 1.5, 2.0, 3.0])
    base = rng.normal(size=2000)
    steps = [_Candidate(c, base + shift + 0.02 * rng.normal(size=2000), np.zeros(2000), np.where(ranges < c, energy, 0))
             for c, shift in zip(ranges, (-0.1, -0.01, 0.0, 0.0001))]
    return steps, ranges, np.repeat(np.arange(40), 50), base - 0.2


def test_the_shortest_that_is_not_worse_by_its_error():
    entry, chosen = _compared(*candidates(np.array([2.0, 1.0, 0.05, 0.0])))
    assert chosen == 2.0
    adds = [one["adds_per_step"] for one in entry["candidates"]]
    assert adds[:3] == pytest.approx([0.1, 0.09, 0.01], abs=0.003)
    assert [one["energy_beyond"] for one in entry["candidates"]] == [2.0, 1.0, 0.05, 0.0]


def test_a_range_that_cuts_energy_off_is_not_taken():
    """The likelihood of a step hardly notices a soft tail of .3 kT, which moves the potential everywhere."""
    assert _compared(*candidates(np.array([2.0, 1.0, -0.3, 0.0])))[1] == 3.0


def test_steps_within_which_the_force_changes_have_no_say():
    """A fit that finds another core predicts pairs in contact worse or better, by their linear likelihood; ranges are
    not judged by that."""
    steps, *rest = candidates(np.zeros(4))
    stiff = np.arange(2000) % 3 == 0
    touching = [dataclasses.replace(one, log_likelihood=one.log_likelihood + stiff * shift, stiffness=1.6 * stiff)
                for one, shift in zip(steps, (0.0, 0.0, -9.0, 9.0))]
    assert _compared(touching, *rest)[1] == _compared(steps, *rest)[1] == 2.0


def with_gaps(tracks):
    return tracks.rows(np.random.default_rng(0).random(len(tracks)) > 0.1)


def test_of_a_long_film_the_first_frames_choose(crowd):
    (one,), _ = prepared_recordings([with_gaps(crowd)], vd.Brownian(cutoff=2.5))
    (less,) = first_frames((one,), 1200)
    assert less.recording.frame.max() == less.tracks.frame.max() == 21
    again = Recording.of(less.tracks, 2.5)
    assert np.array_equal(less.recording.position[:len(less.tracks)], again.position[:len(less.tracks)])
    (same,) = with_cutoff((one,), 0.9)
    assert one.recording.filled != same.recording.filled
    for other in (same, one):
        assert len(other.stated) == len(other.recording.variance) == len(other.recording.position)
        assert len(other.before_held_out().recording.steps)
    assert first_frames((one,), 10**6)[0] is one


def test_marks_that_the_tracker_does_not_tell_apart_are_no_bound_pairs():
    """Every particle twice, .2 µm apart, by spots of .16 µm: their motion is that of a molecule, or of two marks."""
    tracks = film(box_length=40.0, pair=None)
    rows = tracks.dataframe
    again = rows.assign(x=rows["x"] + 2.0, particle=rows["particle"] + 1000)
    info = {"parameters": {"diameter": 7}, "spot_width": 1.6}
    double = tracks.replace(dataframe=pd.concat([rows, again], ignore_index=True), info=info)
    found = reach.not_told_apart([double])
    assert found["cutoff"] is None
    assert "100 % of the detections have another one within 0.48 µm" in found["says"]
    assert reach.not_told_apart([double.replace(info={})]) is None
    assert reach.not_told_apart([film(box_length=40.0).replace(info=info)]) is None


def test_where_no_range_can_be_tried_the_model_without_one_stays(crowd, monkeypatch):
    monkeypatch.setattr(reach, "_judged", lambda *a: (np.empty((2, 0)), np.empty(0)))
    found, told = vd.fit(crowd, AUTO), vd.fit(crowd, dataclasses.replace(AUTO, cutoff=None))
    assert found.report["range"]["says"].startswith("A pair force shows and could not be fitted: no range gave")
    assert any(row["failed"] and row["test"] == "force at the cutoff" for row in found.report["assessment"])
    assert found.report["warnings"] == told.report["warnings"]


def test_ranges_are_judged_where_neighbours_are_in_view(crowd):
    """A third of a view of 12 µm leaves no particle that is 1.5 ranges from every edge."""
    seen = crowd.replace(box=vd.Free(), field_of_view=(120, 120))
    (one,), _ = prepared_recordings([seen], vd.Brownian(cutoff=3.95))
    assert not (one.recording.weight > 0.99).any()
    (less,) = reach._judging((one,))
    judged = (reach.held_out_steps(less.recording) & reach.trusted_steps(less.recording)).sum()
    assert judged >= reach.FEWEST
    assert 1.0 < less.recipe.cutoff < 3.95
    with pytest.raises(ModelError, match="fewer than 200 steps"):
        reach._judging(first_frames((one,), 200))


@pytest.mark.parametrize(("settings", "says"), [
    ({"pair": None, "box_length": 18.0}, "No pair force shows"), ({"n_particles": 1}, "too few particles"),
    ({"pair": None, "trap": "shared", "trap_stiffness": 2.0, "box_length": None}, "No pair force shows")])
def test_particles_that_do_not_interact_are_fitted_as_if_that_was_said(settings, says):
    tracks = film(**settings)
    recipe = vd.Brownian(trap=settings.get("trap", "none"))
    found, told = vd.fit(tracks, recipe), vd.fit(tracks, dataclasses.replace(recipe, cutoff=None))
    assert recipe.cutoff == "auto"
    assert found.recipe["cutoff"] is None
    assert all(np.array_equal(found.arrays[name], told.arrays[name]) for name in told.arrays)
    assert {name: value for name, value in found.report.items() if name != "range"} == told.report
    assert says in found.report["range"]["says"]
    assert any(says in note for note in found.remarks())
    assert [one.lead for one in vd.reports.page.contents(tracks, found)["sections"] if one.id == "range"] == [
        found.report["range"]["says"]]


def test_what_could_be_hidden_is(crowd):
    """The force that a report calls possible is above that of a potential which does not show, and a strong one
    shows (false alarms of the test: 1 in 200 for its whole table)."""
    def shell_force(model):
        (row,) = [one for one in model.report["assessment"] if one["test"] == "force at the cutoff"]
        return row

    none = shell_force(vd.fit(film(pair=None, box_length=14.0), vd.Brownian(cutoff=None)))
    some = shell_force(vd.fit(crowd, vd.Brownian(cutoff=None)))
    assert none["hidden"] > none["effect"]
    assert some["effect"] > none["hidden"]
    assert some["failed"]
    assert not none["failed"]


@pytest.mark.parametrize("settings", [{"structure": "size"}, {"trap": "each"}])
def test_with_a_column_or_own_traps_no_range_is_looked_for(settings):
    recipe = vd.Brownian(**settings)
    said = no_pair_force({"assessment": [{"test": "force at the cutoff", "failed": True}]}, recipe)
    assert said["cutoff"] is None
    assert "give its range" in said["says"]
    assert "pair force" not in recipe.summary


def test_ranges_end_where_the_box_or_the_view_does():
    def widest(view=None, **settings):
        return widest_cutoff([Recording.of(film(frames=12, **settings), None)], [view])

    assert widest(n_particles=4) == pytest.approx(6.0)                           # half the box
    assert widest() == pytest.approx(3 * 12 / np.sqrt(60), rel=0.01)             # three mean spacings
    seen = Recording.of(film(frames=12).replace(box=vd.Free()), None)
    assert widest_cutoff([seen], [np.array([6.0, 9.0])]) == pytest.approx(2.0)   # a third of the view
    with pytest.raises(ModelError, match="fewer than two particles"):
        widest(n_particles=1)


def test_what_is_no_range():
    with pytest.raises(ConfigError, match="give a length in µm, or 'auto'"):
        vd.Brownian(cutoff="long")
    with pytest.raises(Vid2DynError, match="half of the box edge"):
        vd.fit(film(frames=12), vd.Brownian(cutoff=6.1))
    with pytest.raises(Vid2DynError, match="half of the box edge"):
        vd.fit([film(frames=12), film(1, frames=12)], vd.Brownian(cutoff=6.1))
