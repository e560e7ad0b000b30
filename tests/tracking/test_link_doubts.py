"""Linking says when it guesses: ranges that cut, jumps to neighbours, steps too long for the distance of neighbours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn.tracking import LinkStream, Track, relink

UNITS = vd.Units(1.0, 1.0, exposure=0.0)


def sample(n: int = 300, step: float | np.ndarray = 0.7, missed: float = 0.0, frames: int = 50) -> vd.Trajectories:
    rng = np.random.default_rng(0)
    path = rng.uniform(0, 200, (1, n, 2)) + (rng.normal(0, 1, (frames, n, 2)) * np.reshape(step, (-1, 1))).cumsum(0)
    return vd.Trajectories.from_dense(path, UNITS, mask=rng.random((frames, n)) >= missed)


def linked(tracks: vd.Trajectories, **settings) -> tuple[float, str]:
    """D over the truth, and what was said."""
    again = relink(tracks, Track(**settings))
    return vd.diffusion(again).D / 0.245, " ".join(again.info.get("warnings", ()))


@pytest.mark.parametrize("settings", [{"search_range": 4}, {"search_range": 10}, {"search_range": 10, "memory": 3}])
def test_safe_links_are_not_doubted(settings: dict) -> None:
    for n in (40, 150, 300):
        ratio, said = linked(sample(n), **settings)
        assert said == ""
        assert abs(ratio - 1) < 0.1


@pytest.mark.parametrize(("about", "settings", "words"), [
    ({"missed": 0.03}, {"search_range": 10}, "jumps from one particle to another"),
    ({"missed": 0.05}, {"search_range": 10}, "jumps from one particle to another"),
    ({"missed": 0.05, "n": 100}, {"search_range": 15}, "jumps from one particle to another"),
    ({"step": 2.0}, {"search_range": 5}, "cuts the distribution"),
    ({"step": 0.7}, {"search_range": 1.5}, "cuts the distribution"),
    ({"step": 3.0}, {"search_range": 10}, "nearest neighbours are"),
    ({"step": 3.0}, {"search_range": 20}, "nearest neighbours are"),
    ({"step": 6.0}, {"search_range": 12}, "cuts the distribution"),
])
def test_guesses_are_said(about: dict, settings: dict, words: str) -> None:
    ratio, said = linked(sample(**about), **settings)
    assert words in said
    assert abs(ratio * 0.245 / (about.get("step", 0.7) ** 2 / 2) - 1) > 0.04      # and for a reason


def test_two_populations_are_no_jumps() -> None:
    _, said = linked(sample(40, np.where(np.arange(40) < 20, 0.5, 3.5)), search_range=15)
    assert "jumps" not in said


def test_doubts_survive_a_stream_that_is_saved() -> None:
    table = sample(missed=0.05).dataframe.sort_values("frame", kind="stable")
    frames = [(int(k), part[["y", "x"]].to_numpy()) for k, part in table.groupby("frame")]
    settings = Track(search_range=10)
    whole, first = LinkStream(settings), LinkStream(settings)
    for frame in frames:
        whole.step(*frame)
    for frame in frames[:20]:
        first.step(*frame)
    second = LinkStream(settings)
    second.restore(first.state())
    for frame in frames[20:]:
        second.step(*frame)
    assert second.notes() == whole.notes() != []


# ---------------------------------------------------------------- frames without rows are frames

def particles(frame: list[int], x: list[float], **settings) -> int:
    table = pd.DataFrame({"frame": frame, "y": 0.0, "x": np.array(x, dtype=float)})
    return relink(vd.Trajectories.from_dataframe(table, units=UNITS), Track(**settings)).n_particles


@pytest.mark.parametrize(("frame", "memory", "expected"), [
    ([0, 2, 4], 0, 3), ([0, 2, 4], 1, 1), ([0, 3, 6], 1, 3), ([0, 3, 6], 2, 1), ([0, 1, 4], 1, 2), ([0, 1, 4], 2, 1),
    ([0, 10**6], 3, 2), ([0, 1, 2], 0, 1),
])
def test_memory_counts_frames_not_rows(frame: list[int], memory: int, expected: int) -> None:
    assert particles(frame, [5.0] * len(frame), search_range=2, memory=memory) == expected
    for predictor in ("velocity", "affine"):
        assert particles(frame, [5.0] * len(frame), search_range=2, memory=memory, predictor=predictor) == expected
