"""Spots taken for two are left out of a fit of forces; crowds without a core are left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn.fitting.brownian.doubles import without_doubles


def table(frames: list[np.ndarray]) -> vd.Trajectories:
    rows = [pd.DataFrame({"frame": k, "particle": np.arange(len(x)), "y": x[:, 0], "x": x[:, 1]})
            for k, x in enumerate(frames)]
    return vd.Trajectories.from_dataframe(pd.concat(rows), frames_per_second=1, micrometre_per_pixel=0.1)


def packing(seed: int) -> list[np.ndarray]:
    """Twenty frames of particles 10 px apart, shaken by 0.3 px."""
    rng = np.random.default_rng(seed)
    grid = 10.0 * np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=-1).reshape(-1, 2)
    return [grid + rng.normal(0, 0.3, grid.shape) for _ in range(20)]


@pytest.mark.parametrize("doubles", [1, 2])
def test_doubles_among_particles_with_a_core_are_found(doubles):
    frames = packing(0)
    for k in range(doubles):
        frames[3 + k] = np.vstack([frames[3 + k], frames[3 + k][50 + k] + [2.0, 1.0 + k]])
    kept, said = without_doubles(table(frames), reach=1.6)
    # both rows of each, and nothing else
    assert len(kept.dataframe) == 2880 - doubles
    assert len(said) == 1
    assert said[0].startswith(str(doubles))
    assert "µm" in said[0]
    gone = set(kept.dataframe[kept.dataframe.frame == 3].particle) ^ set(range(145))
    assert gone == {50, 144}


def test_nothing_is_left_out_without_doubles_or_without_a_core():
    """Of 200 frames of free particles the two nearest pairs stand apart in one of four; none is taken for doubles."""
    tracks = table(packing(1))
    assert without_doubles(tracks, reach=1.6) == (tracks, [])
    for seed in range(50):
        rng = np.random.default_rng(seed)
        free = table([rng.uniform(0, 300, (200, 2)) for _ in range(10)])
        assert without_doubles(free, reach=3.0) == (free, [])


def test_two_sorts_of_distance_are_not_doubles():
    """Dimers: half of all pairs are near. More than one in a thousand is not a mistake."""
    rng = np.random.default_rng(5)
    frames = [np.vstack([x, x + [3.0, 0.0] + rng.normal(0, 0.1, x.shape)]) for x in packing(2)]
    tracks = table(frames)
    assert without_doubles(tracks, reach=1.6) == (tracks, [])
