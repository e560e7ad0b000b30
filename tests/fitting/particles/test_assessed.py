"""Is a fluid, or a list of terms, allowed? Residuals, laws and rollouts beside the data."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import DataError
from vid2dyn.fitting.particles.assessed import of_laws, of_residuals
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

GAS = SDPD(n_particles=64, dim=2, box_length=0.64, frames=61, flow="taylor_green", flow_speed=30.0, equilibration=4,
           substeps=5)


@pytest.fixture(scope="module")
def tracks() -> vd.Trajectories:
    return GAS.run(seed=1)


@pytest.fixture(scope="module")
def model(tracks) -> vd.model.Model:
    return vd.fit(tracks, vd.Metriplectic(cutoff=0.2, mass=0.5, knots=2, compare=(), window=16, iterations=5))


def test_a_gas_is_allowed(model, tracks):
    table = vd.assess(tracks, model)
    assert {one.test for one in table.findings} >= {
        "size of the residuals", "residuals against time", "memory over 2 frames", "law: momentum", "law: energy",
        "law: entropy", "rollout: motion", "rollout: neighbours", "rollout: velocities"}
    assert min(one.p for one in table.findings) > 1e-4


def test_velocities_with_noise_of_their_own_are_named(model, tracks):
    """Noise of .8 of the size of a step: larger residuals that turn back, and velocities that do not last."""
    v = tracks.velocities.reshape(GAS.n_particles, -1, 2)
    x = tracks.positions.reshape(GAS.n_particles, -1, 2)
    noise = 0.8 * np.diff(v, axis=1).std() * np.random.default_rng(0).standard_normal(v.shape)
    noisy = vd.Trajectories.from_dense(x.swapaxes(0, 1), tracks.units, box=tracks.box,
                                       velocity=(v + noise).swapaxes(0, 1))
    failed = {one.test: one for one in vd.assess(noisy, model).failed}
    assert {"size of the residuals", "memory over 2 frames"} <= set(failed)
    assert "times as much as the model says" in failed["size of the residuals"].advice


def test_tracks_without_velocities_are_refused(model):
    with pytest.raises(DataError, match="velocities"):
        vd.assess(vd.simulate(vd.simulators.Brownian(n_particles=8, frames=30)), model)


def test_a_law_that_is_broken_is_a_failure():
    kept = of_laws({"momentum_drift": 1e-15, "energy_drift": 1e-12, "least_entropy_production": 1e-3})
    assert [one.p for one in kept] == [1.0, 1.0, 1.0]
    broken = of_laws({"energy_drift": 1e-2, "least_entropy_production": -0.5})
    assert [one.p for one in broken] == [0.0, 0.0]
    assert "report it" in broken[0].advice


def test_few_steps_say_nothing():
    assert of_residuals(np.ones(8), [], "frames") == []
