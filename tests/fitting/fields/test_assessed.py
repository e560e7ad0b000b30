"""Is a gradient flow allowed? On its own data, on another draw of the same process, and on other processes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import DataError, ModelError

PROCESS = vd.simulators.Arrhenius(sites=120, kernel=(1.0,), realisations=600, windows=(20.0, 40.0, 80.0))


@pytest.fixture(scope="module")
def model() -> vd.model.Model:
    return vd.fit(vd.simulate(PROCESS, seed=1), vd.GradientFlow())


def test_the_same_process_is_allowed(model):
    for seed in (1, 2):
        table = vd.assess(vd.simulate(PROCESS, seed=seed), model)
        assert {one.test for one in table.findings} == {
            "strength of the mobility", "strength of the drift", "plateau", "drift of the mean", "rollout: profile",
            "law: mass"}
        assert min(one.p for one in table.findings) > 1e-4
        assert table.warnings == []


def test_another_rate_of_hops_is_named(model):
    """Half as many hops: fluctuations and drift are half as strong."""
    slower = vd.simulate(dataclasses.replace(PROCESS, windows=(10.0, 20.0, 40.0)), seed=3)
    slower = vd.Fields(slower.values, 2 * slower.times, slower.starts)
    table = vd.assess(slower, model)
    failed = {one.test: one for one in table.failed}
    assert failed["strength of the mobility"].effect == pytest.approx(50, abs=10)
    assert "0.5" in failed["strength of the mobility"].advice


def test_mass_that_is_lost_is_named(model):
    fields = vd.simulate(PROCESS, seed=1)
    leaking = fields.values.copy()
    leaking[:, -1, ::5] = 0
    table = vd.assess(vd.Fields(leaking, fields.times, fields.starts), model)
    assert "law: mass" in [one.test for one in table.failed]
    assert "rollout: profile" in [one.test for one in table.failed]


def test_several_recordings_are_named(model, tmp_path):
    path = vd.simulate(PROCESS, seed=4).save(tmp_path / "again.fields")
    table = vd.assess([vd.simulate(PROCESS, seed=1), path], model)
    assert len({one.recording for one in table.findings}) == 2
    assert np.isfinite([one.p for one in table.findings]).all()


def test_wrong_data_are_refused_in_words(model):
    with pytest.raises(DataError, match="tested on fields"):
        vd.assess(vd.simulate(vd.simulators.Brownian(n_particles=3, frames=8)), model)
    with pytest.raises(ModelError, match="60 cells"):
        vd.assess(vd.simulate(dataclasses.replace(PROCESS, sites=60, realisations=30)), model)
