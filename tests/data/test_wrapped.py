"""Tables of periodic simulations whose box is not given: said where they come in and wherever they are used."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd
from vid2dyn.data.wrapped import about_wrapped, wrapped_axes

EDGE, UNITS = 13.0, vd.Units(0.1, 50.0, exposure=0.0)
SAID = "looks like a periodic box"


def table(x: np.ndarray, y: np.ndarray | None = None) -> pd.DataFrame:
    """A table [px] of (particles, frames) positions [px]."""
    n, frames = x.shape
    return pd.DataFrame({"frame": np.tile(np.arange(frames), n), "particle": np.repeat(np.arange(n), frames),
                         "y": (x[::-1] if y is None else y).ravel(), "x": x.ravel()})


@pytest.fixture(scope="module")
def simulated() -> vd.Trajectories:
    """Free particles in a periodic box of 13 µm, D = 0.5 µm²/s: one in 34 leaves through an edge in a second."""
    rng = np.random.default_rng(2)
    steps = rng.normal(0.0, np.sqrt(2 * 0.5 / 50.0), (120, 60, 2))
    steps[0] = rng.uniform(0.0, EDGE, (60, 2))
    return vd.Trajectories.from_dense(np.cumsum(steps, axis=0) % EDGE, UNITS, box=vd.Periodic((EDGE, EDGE)))


def test_a_box_that_is_missing_is_said_with_its_size(simulated: vd.Trajectories, tmp_path: Path) -> None:
    path = tmp_path / "tracks.csv"
    simulated.dataframe.to_csv(path, index=False)
    calibration = {"frames_per_second": 50.0, "micrometre_per_pixel": 0.1, "exposure": 0.0}
    with pytest.warns(vd.Vid2DynWarning, match=SAID) as caught:
        tracks = vd.open(path, **calibration)
    said = next(str(one.message) for one in caught if SAID in str(one.message))
    assert "13 µm along y and 13 µm along x" in said
    assert said in tracks.info["warnings"]
    for later in (vd.diffusion(tracks).warnings, vd.fit(tracks, vd.Brownian(cutoff=None)).report["warnings"]):
        assert said in later, "it travels to D and to the fit"
    with warnings.catch_warnings():
        warnings.simplefilter("error", vd.Vid2DynWarning)
        inside = vd.open(path, box=vd.Periodic((EDGE, EDGE)), **calibration)
    assert inside.box == vd.Periodic((EDGE, EDGE))
    found = vd.diffusion(inside)
    assert abs(found.D - 0.5) < 5 * found.D_stderr
    assert not [note for note in found.warnings if SAID in note]


def test_a_box_is_for_tables_that_name_none(simulated: vd.Trajectories, tmp_path: Path) -> None:
    dump = vd.convert.write_table(simulated, tmp_path / "tracks.lammpstrj")
    with pytest.raises(vd.ConfigError, match="states its box itself"):
        vd.open(dump, box=vd.Periodic((EDGE, EDGE)))
    with pytest.raises(vd.ConfigError, match="belongs to tables"):
        vd.open(Path(__file__).parents[2] / "sample_data" / "clip.tif", box=vd.Periodic((EDGE, EDGE)))


def test_a_box_given_to_trackmate_takes_the_word_back(simulated: vd.Trajectories, tmp_path: Path) -> None:
    path = vd.convert.write_table(simulated, tmp_path / "tracks.xml")
    with pytest.warns(vd.Vid2DynWarning, match=SAID):
        vd.open(path, frames_per_second=50.0)
    tracks = vd.open(path, box=vd.Periodic((EDGE, EDGE)), frames_per_second=50.0)
    assert not [note for note in tracks.info["warnings"] if SAID in note]


def test_one_axis_alone_and_slow_particles() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 80, (40, 1)) + rng.normal(0.02, 0.2, (40, 300)).cumsum(axis=1)
    assert [one.axis for one in wrapped_axes(table(x % 80.0, x))] == ["x"]
    assert "px along x" in about_wrapped(table(x % 80.0, x), vd.Units(), vd.data.box.Free())[0]


@pytest.mark.parametrize("what", ["open space", "wrong links", "two traps", "a stage that jumps", "long steps"])
def test_other_jumps_are_none(what: str) -> None:
    """Wrong links have all lengths, hops between traps leave the middle empty."""
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 100, (50, 1)) + rng.normal(0, 0.5, (50, 200)).cumsum(axis=1)
    if what == "wrong links":
        swap = rng.random((50, 200)) < 0.01
        x = np.where(swap, rng.uniform(0, 100, x.shape), x)
    elif what == "two traps":
        x = 60.0 * (np.cumsum(rng.random((50, 200)) < 0.05, axis=1) % 2) + rng.normal(0, 1.0, (50, 200))
    elif what == "a stage that jumps":
        x = x + 70.0 * (np.arange(200) // 40 % 2)
    elif what == "long steps":
        x = rng.uniform(0, 100, (50, 200))
    assert wrapped_axes(table(x)) == []
