"""Parts of a table of tracks: by length, by ranges, by number, one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError


@pytest.fixture
def tracks() -> vd.Trajectories:
    """Particle 2 with four detections, 5 with two, and one that was never linked."""
    table = pd.DataFrame({"frame": [0, 1, 2, 3, 0, 4, 2], "particle": [2, 2, 2, 2, 5, 5, -1],
                          "y": np.arange(7.0), "x": np.arange(7.0) + 10, "mass": [10.0, 20, 30, 40, 5, 7, 100],
                          "name": list("aaaabbc")})
    return vd.Trajectories.from_dataframe(table, frames_per_second=10, micrometre_per_pixel=0.5)


def test_filter_by_length_and_range(tracks, tmp_path: Path):
    assert tracks.filter().dataframe.equals(tracks.dataframe)
    assert tracks.filter(min_length=3).particle.tolist() == [2] * 4
    assert tracks.filter(max_length=3).particle.tolist() == [5] * 2
    assert sorted(tracks.filter(mass=(20, None)).dataframe["mass"]) == [20, 30, 40, 100]
    # lengths are counted after ranges
    with pytest.raises(DataError, match="nothing is left of 2 tracks and 7 detections"):
        tracks.filter(min_length=4, mass=(None, 39))
    # the median of a track, and of a lone detection its own value
    kept = tracks.filter(per="track", mass=(24, 99))
    assert sorted(kept.dataframe["mass"]) == [10, 20, 30, 40]
    assert sorted(tracks.filter(per="track", mass=(50, None)).dataframe["mass"]) == [100]
    twice = tracks.filter(min_length=2).filter(mass=(6, None))
    assert [entry["left_out"] for entry in twice.info["filters"]] == [1, 1]
    loaded = vd.load(twice.save(tmp_path / "t.parquet"))
    assert loaded.info["filters"] == twice.info["filters"]
    assert loaded.units == tracks.units


def test_one_and_several_particles(tracks):
    assert tracks[5].frame.tolist() == [0, 4]
    assert tracks[np.int64(5)].dataframe.equals(tracks[[5]].dataframe)
    assert tracks[[5, 2]].particle.tolist() == [2, 2, 2, 2, 5, 5]
    assert [one.particle[0] for one in tracks] == [2, 5]
    assert [len(one) for one in tracks] == [4, 2]
    assert all(one.units == tracks.units for one in tracks)
    whole = pd.concat([one.dataframe for one in tracks], ignore_index=True)
    assert whole.equals(tracks.linked().dataframe)
    assert list(tracks.rows(tracks.particle < 0)) == []


def test_notebooks_show_tables(tracks):
    """With what is to be known, names escaped."""
    shown = tracks.replace(info={"warnings": ["a < b"]})._repr_html_()
    assert "<table" in shown
    assert "a &lt; b" in shown
    assert "2 tracks, 7 detections" in shown


@pytest.mark.parametrize(("asked", "words"), [
    ({"mas": (1, 2)}, r"no column 'mas'.*mass"), ({"mass": 3}, r"give the lowest and the highest"),
    ({"mass": (5, 1)}, "no number lies between"), ({"name": (0, 1)}, "holds no numbers"),
    ({"min_length": 0}, "1 or more"), ({"max_length": 1.5}, "1 or more"), ({"per": "frame"}, "'detection' or 'track'"),
    ({"mass": (float("nan"), 1)}, "no number lies between")])
def test_filters_that_cannot_be(tracks, asked, words):
    with pytest.raises(ConfigError, match=words):
        tracks.filter(**asked)


@pytest.mark.parametrize(("index", "words"), [
    (7, "no particle 7 .*from 2 to 5"), ([2, 9], "no particle 9"), ("a", "number of a particle"),
    (slice(0, 2), "number of a particle"), ([], "number of a particle"), (1.0, "number of a particle")])
def test_particles_that_are_not_there(tracks, index, words):
    with pytest.raises(DataError, match=words):
        tracks[index]
