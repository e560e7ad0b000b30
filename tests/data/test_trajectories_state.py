"""Velocities and entropies that a simulation knows travel with its trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vid2dyn.core.errors import DataError
from vid2dyn.data.box import LeesEdwards
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units


def test_velocity_and_entropy_are_carried_and_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, v, s = rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3))
    x[1, 2] = np.nan
    tracks = Trajectories.from_dense(x, Units(0.5, 10.0), velocity=v, entropy=s, box=LeesEdwards((5.0,) * 3, 0.1, 0.2))
    back = Trajectories.load(tracks.save(tmp_path / "t.parquet"))
    for t in (tracks, back):
        assert t.velocities is not None
        assert t.entropy is not None
        np.testing.assert_array_equal(t.velocities, v[t.frame, t.particle])
        np.testing.assert_array_equal(t.entropy, s[t.frame, t.particle])
    assert len(tracks) == 11
    assert back.box == tracks.box
    bare = Trajectories.from_dense(x, Units(0.5, 10.0))
    assert bare.velocities is None
    assert bare.entropy is None


def test_a_table_is_sorted_and_the_one_given_stays_as_it_was() -> None:
    given = pd.DataFrame({"x": [3.0, 1.0, 2.0, 9.0], "y": [0.0, 0.0, 0.0, 0.0], "particle": [1, 0, 0, -1],
                          "frame": [0, 2, 1, 1], "mass": [7, 8, 9, 1]}, index=[4, 4, 2, 0])
    before = given.copy(deep=True)
    tracks = Trajectories.from_dataframe(given)
    pd.testing.assert_frame_equal(given, before)
    assert tracks.dataframe[["particle", "frame"]].to_numpy().tolist() == [[-1, 1], [0, 1], [0, 2], [1, 0]]
    assert tracks.dataframe["mass"].tolist() == [1, 9, 8, 7]
    unlinked = pd.DataFrame({"frame": [0, 0], "y": [1.0, 2.0], "x": [0.0, 0.0]})       # -1 twice in a frame is no clash
    assert len(Trajectories.from_dataframe(unlinked)) == 2
    with pytest.raises(DataError, match="Particle 0 has two rows in frame 1"):
        Trajectories.from_dataframe(given.assign(frame=[0, 1, 1, 1]))
