"""Whatever is given to a verb, the answer is the result or one message that says what to give instead."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vid2dyn as vd

UNITS = vd.Units(1.0, 10.0, exposure=0.0)


def tracks(n: int = 3, frames: int = 30, seed: int = 0) -> vd.Trajectories:
    rng = np.random.default_rng(seed)
    path = rng.uniform(0, 500, (1, n, 2)) + rng.normal(0, 0.3, (frames, n, 2)).cumsum(0)
    return vd.Trajectories.from_dense(path, UNITS, field_of_view=(500.0, 500.0))


WRONG = [None, 3, 2.5, "no such file.parquet", [1, 2], {}, np.zeros((4, 3, 2)), tracks().dataframe, Path("none.tif")]


@pytest.mark.parametrize("wrong", WRONG, ids=[type(w).__name__ for w in WRONG])
@pytest.mark.parametrize("verb", ["open", "load", "track", "suggest", "diffusion", "fit", "simulate", "render",
                                  "compare", "report",
                                  "rollout"])
def test_wrong_things_are_named(verb: str, wrong, tmp_path) -> None:
    calls = {"compare": lambda: vd.compare(tracks(), wrong), "report": lambda: vd.report(tmp_path / "r.html",
                                                                                         tracks=wrong),
             "rollout": lambda: model().rollout(wrong, steps=3)}
    with pytest.raises(vd.Vid2DynError):
        calls.get(verb, lambda: getattr(vd, verb)(wrong))()


@functools.cache
def model() -> vd.Model:
    return vd.fit(tracks(10, 40), vd.Brownian(), seed=0)


def test_dilute_samples_are_compared_and_reported(tmp_path) -> None:
    """g(r) of three particles is zero within range: a comparison without a number there, not a division by zero."""
    result = vd.compare(tracks(), tracks(seed=1))
    assert result.rdf is None or np.isnan(result.rdf.relative_rmse)
    assert np.isfinite(result.msd.relative_rmse)
    assert "MSD" in str(result)
    page = vd.report(tmp_path / "r.html", tracks=tracks(), rollout=tracks(seed=1))
    assert page.exists()


@pytest.mark.parametrize("call", [
    lambda: vd.fit(tracks(10, 40), "Brownian"), lambda: vd.fit(tracks(10, 40), vd.Brownian(), seed=-1),
    lambda: vd.fit(tracks(10, 40), vd.Brownian(), seed="x"), lambda: vd.simulate("Brownian"),
    lambda: model().rollout(tracks(10, 40), steps=0), lambda: model().rollout(tracks(10, 40), steps=None),
    lambda: model().rollout(tracks(10, 40), steps=10**14), lambda: vd.diffusion(tracks().rows(np.zeros(90, bool))),
    lambda: vd.fit(tracks().rows(np.zeros(90, bool))),
    lambda: vd.Trajectories.from_dataframe(pd.DataFrame({"frame": [0, 2**31 - 2], "y": 0.0, "x": 0.0})),
])
def test_settings_that_make_no_sense_are_named(call) -> None:
    with pytest.raises(vd.Vid2DynError):
        call()


def test_a_nested_setting_may_be_a_word() -> None:
    from vid2dyn.core.config import build

    found = build(vd.simulators.Brownian, {"pair": "Yukawa"}, "--set")
    assert isinstance(found.pair, vd.simulators.Yukawa)
    for wrong in ("Yukaw", 3, True, [1]):
        with pytest.raises(vd.ConfigError, match="pair"):
            build(vd.simulators.Brownian, {"pair": wrong}, "--set")


def test_verbs_take_tables_with_their_calibration() -> None:
    """A DataFrame with frame rate and length per pixel is as good as tracks; tracks keep the ones they have."""
    tracks = vd.simulate(vd.simulators.Brownian(n_particles=20, frames=40), seed=1)
    table, units = tracks.dataframe, tracks.units
    given = {"frames_per_second": units.frames_per_second, "micrometre_per_pixel": units.micrometre_per_pixel,
             "exposure": units.exposure}
    assert vd.diffusion(table, **given).D == vd.diffusion(tracks).D
    of_table, of_tracks = vd.fit(table, vd.Brownian(), **given), vd.fit(tracks.replace(field_of_view=None))
    assert of_table.diffusion() == of_tracks.diffusion()
    assert "frames_per_second" in inspect.signature(vd.fit).parameters
    with pytest.raises(vd.DataError, match="from_dataframe"):
        vd.diffusion(table)
    with pytest.raises(vd.ConfigError, match="have their calibration already"):
        vd.diffusion(tracks, frames_per_second=3.0)
    with pytest.raises(vd.ConfigError, match="unknown key 'frames_per_secnd'"):
        vd.fit(table, frames_per_secnd=3.0)
    fields = vd.simulate(vd.simulators.Arrhenius(sites=40), seed=0)
    with pytest.raises(vd.ConfigError, match=r"unknown key 'checkpont'\. Did you mean 'checkpoint'"):
        vd.fit(fields, checkpont="a")
    with pytest.raises(vd.ConfigError, match="fields have their units already"):
        vd.fit(fields, frames_per_second=3.0)
