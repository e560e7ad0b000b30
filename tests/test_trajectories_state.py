"""Velocities and entropies that a simulation knows travel with its trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vid2dyn.box import LeesEdwards
from vid2dyn.trajectories import Trajectories
from vid2dyn.units import Units


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
