"""Edits of tracks: what each does, that it is recorded, that it repeats, and that mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vid2dyn as vd


def three(frames: int = 10) -> vd.Trajectories:
    """Three particles that stand at x = 10, 30, 50."""
    x = np.broadcast_to([[10.0], [30.0], [50.0]], (3, frames))
    return vd.Trajectories.from_dataframe(pd.DataFrame({
        "frame": np.tile(np.arange(frames), 3), "particle": np.repeat(range(3), frames), "y": 5.0, "x": x.ravel()}))


def of(tracks: vd.Trajectories, particle: int) -> list[int]:
    return tracks.dataframe.loc[tracks.particle == particle, "frame"].tolist()


def test_delete_split_merge() -> None:
    tracks = three()
    gone = tracks.edit({"edit": "delete", "particles": [1], "frames": [3, 6]}, {"edit": "delete", "particles": [2]})
    assert of(gone, 1) == [0, 1, 2, 6, 7, 8, 9]
    assert gone.n_particles == 2
    parts = tracks.edit({"edit": "split", "particle": 0, "frame": 4})
    assert of(parts, 0) == [0, 1, 2, 3]
    assert of(parts, 3) == [4, 5, 6, 7, 8, 9]
    whole = parts.edit({"edit": "merge", "particles": [0, 3]})
    assert whole.dataframe.equals(tracks.dataframe)
    assert [one["edit"] for one in whole.info["edits"]] == ["split", "merge"]
    assert "edits" not in tracks.info, "the tracks themselves are not changed"


def test_cut_by_a_region_makes_two_tracks_of_what_passed_through() -> None:
    table = pd.DataFrame({"frame": np.arange(10), "particle": 0, "y": 5.0, "x": np.arange(10.0)})
    tracks = vd.Trajectories.from_dataframe(table)
    cut = tracks.edit({"edit": "cut", "region": [[0.0, 3.5], [0.0, 6.5], [10.0, 6.5], [10.0, 3.5]]})
    assert of(cut, 0) == [0, 1, 2, 3]
    assert of(cut, 1) == [7, 8, 9]
    kept = tracks.edit({"edit": "cut", "region": [[0.0, 3.5], [10.0, 6.5]], "keep": "inside"})
    assert of(kept, 0) == [4, 5, 6]
    early = tracks.edit({"edit": "cut", "region": [[0.0, 3.5], [10.0, 6.5]], "frames": [0, 5]})
    assert of(early, 1) == [5, 6, 7, 8, 9]


def test_edges_that_are_moved_by_hand_are_marked_as_whole_tracks() -> None:
    tracks = three().edit({"edit": "hold", "region": [[0.0, 0.0], [9.0, 20.0]]},
                          {"edit": "hold", "particles": [2], "edge": 2})
    held = tracks.dataframe.groupby("particle")["held"]
    assert held.first().tolist() == held.last().tolist() == [1, 0, 2]
    freed = tracks.edit({"edit": "hold", "particles": [0], "edge": 0})
    assert freed.dataframe.groupby("particle")["held"].first().tolist() == [0, 0, 2]
    table = three().dataframe.assign(held=three().particle == 1)
    marked = three().replace(dataframe=table).edit({"edit": "hold", "particles": [2]})
    assert marked.dataframe.groupby("particle")["held"].first().tolist() == [0, 1, 1], "what was marked stays marked"
    for wrong, said in (({}, "the region in which"), ({"region": [[0, 0], [1, 1]]}, "no particle has its mean place"),
                        ({"particles": [0], "edge": -1}, "edge = -1"), ({"particles": [9]}, "no particle 9")):
        with pytest.raises(vd.Vid2DynError, match=said):
            three().edit({"edit": "hold", **wrong})


def test_relink_repairs_a_swap_and_leaves_the_rest() -> None:
    tracks = three()
    swapped = tracks.dataframe.copy()
    late, two = (swapped.frame >= 4) & (swapped.frame < 7), swapped.particle < 2
    swapped.loc[late & two, "particle"] = 1 - swapped.loc[late & two, "particle"]
    wrong = vd.Trajectories.from_dataframe(swapped)
    mended = wrong.edit({"edit": "relink", "frames": [3, 8], "search_range": 5.0})
    assert mended.dataframe.equals(tracks.dataframe), "both ends go on with the numbers they had"
    broken = tracks.edit({"edit": "split", "particle": 1, "frame": 5})
    assert broken.n_particles == 4
    joined = broken.edit({"edit": "relink", "frames": [3, 8], "search_range": 5.0})
    assert joined.dataframe.equals(tracks.dataframe)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.integers(1, 6), st.integers(0, 2**31), st.floats(0.5, 30.0))
def test_relink_gives_a_valid_table_whatever_it_finds(start: int, length: int, seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"frame": rng.integers(0, 12, 60), "particle": rng.integers(-1, 8, 60),
                          "y": rng.uniform(0, 30, 60), "x": rng.uniform(0, 30, 60)})
    linked = table.particle >= 0
    tracks = vd.Trajectories.from_dataframe(pd.concat([table[linked].drop_duplicates(["frame", "particle"]),
                                                       table[~linked]]))
    edit = {"edit": "relink", "frames": [start, start + length], "search_range": reach}
    if not ((tracks.frame >= start) & (tracks.frame < start + length)).any():
        return
    found = tracks.edit(edit)
    again = vd.Trajectories.from_dataframe(found.dataframe)          # refuses two rows of a particle in a frame
    assert sorted(again.dataframe.x) == sorted(tracks.dataframe.x)
    outside = (found.frame < start)
    before = tracks.dataframe[tracks.frame < start].sort_values(["x"])["particle"].tolist()
    assert found.dataframe[outside].sort_values(["x"])["particle"].tolist() == before


def test_edits_repeat_and_survive_a_file(tmp_path: Path) -> None:
    tracks = three()
    edited = tracks.edit({"edit": "split", "particle": np.int64(0), "frame": 4},
                         {"edit": "delete", "particles": np.array([1])})
    loaded = vd.load(edited.save(tmp_path / "t.parquet"))
    assert loaded.info["edits"] == json.loads(json.dumps(edited.info["edits"]))
    assert vd.curate(tracks, loaded.info["edits"]).dataframe.equals(edited.dataframe)


@pytest.mark.parametrize(("edit", "error", "said"), [
    ({"edit": "delet", "particles": [1]}, vd.ConfigError, "Did you mean 'delete'"),
    ({"edit": "delete", "particle": 1}, vd.ConfigError, "unknown argument 'particle'"),
    ({"edit": "split", "particle": 1}, vd.ConfigError, "needs frame"),
    ({"edit": "delete", "particles": [77]}, vd.DataError, "no particle 77"),
    ({"edit": "merge", "particles": [0, 1]}, vd.DataError, "both seen in frame 0"),
    ({"edit": "split", "particle": 0, "frame": 0}, vd.DataError, "not seen on both sides"),
    ({"edit": "delete", "particles": [0, 1, 2]}, vd.DataError, "nothing is left"),
    ({"edit": "cut", "region": [[0.0, 0.0]]}, vd.ConfigError, "two opposite corners"),
    ({"edit": "relink", "frames": [5, 5], "search_range": 3.0}, vd.ConfigError, "the one after the last"),
])
def test_mistakes_are_named(edit: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        three().edit(edit)
