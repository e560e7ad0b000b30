"""A learned fluid as what `vid2dyn.analysis.energy_budget` asks for: its energy is the one its rollout conserves."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd


@pytest.fixture(scope="module")
def gas() -> vd.simulators.SDPD:
    return vd.simulators.SDPD(n_particles=100, frames=40, box_length=0.6, equilibration=5)


@pytest.fixture(scope="module")
def tracks(gas: vd.simulators.SDPD) -> vd.Trajectories:
    return vd.simulate(gas, seed=0)


@pytest.fixture(scope="module")
def model(gas: vd.simulators.SDPD, tracks: vd.Trajectories) -> vd.Model:
    return vd.fit(tracks, vd.Metriplectic(cutoff=gas.cutoff, mass=gas.mass, iterations=2, compare=()))


def test_temperature_and_pressure_are_slopes_of_the_energy(model: vd.Model) -> None:
    (s_low, s_high), (v_low, v_high) = model.support["S"], model.support["V"]
    S, V = (a.ravel() for a in np.meshgrid(np.linspace(s_low, s_high, 5), np.linspace(v_low, v_high, 5)))
    h, k = 1e-4 * (s_high - s_low), 1e-4 * (v_high - v_low)
    slope_S = (model.internal_energy(S + h, V) - model.internal_energy(S - h, V)) / (2 * h)
    slope_V = (model.internal_energy(S, V + k) - model.internal_energy(S, V - k)) / (2 * k)
    assert np.allclose(slope_S, model.temperature(S, V), rtol=1e-6)
    assert np.allclose(-slope_V, model.pressure(S, V), rtol=1e-6)


def test_kernel_is_that_of_the_gas(model: vd.Model, gas: vd.simulators.SDPD) -> None:
    r = np.linspace(0, 1.2 * gas.cutoff, 25)
    assert np.allclose(model.kernel(r), gas.kernel(r), rtol=1e-12, atol=1e-12)
    assert (model.mass, model.cutoff) == (gas.mass, gas.cutoff)


def test_the_exact_rollout_conserves_the_energy_of_the_account(model: vd.Model, tracks: vd.Trajectories) -> None:
    future = model.rollout(tracks, steps=10, seed=0, exact=True)
    found = vd.analysis.thermodynamics(future, model)
    assert found.energy_drift < 1e-6
    assert np.ptp(found.kinetic) > 1e-3, "heat and motion do exchange"
    wrong = future.replace(dataframe=future.dataframe.assign(entropy=1.05 * future.dataframe["entropy"]))
    assert vd.analysis.thermodynamics(wrong, model).energy_drift > 1e-4, "a wrong account must show"
