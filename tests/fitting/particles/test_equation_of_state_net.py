"""A net as equation of state, fitted beside the gas form: functions, files, rollout, settings in words."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.config import build, recipe
from vid2dyn.dynamics.recipes.metriplectic import Metriplectic
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

FLAT = SDPD(n_particles=64, dim=2, box_length=0.6, frames=61, flow="taylor_green", flow_speed=25.0, equilibration=4,
            substeps=4)
t = vd.terms


def of_form(form: str, **settings) -> Metriplectic:
    return vd.Metriplectic(energy=[t.EquationOfState(0.2, form=form, units=4, **settings)],
                           friction=[t.PairFriction(0.2, knots=2, law="transport"), t.Conduction(0.2)], mass=0.5,
                           compare=(), window=8, tolerance=1.0)


@pytest.fixture(scope="module")
def tracks() -> list[vd.Trajectories]:
    return [FLAT.run(seed=seed) for seed in (3, 4)]


@pytest.fixture(scope="module")
def net(tracks):
    return vd.fit(tracks, of_form("net"))


def test_net_and_gas_form_agree_inside_their_bands(net, tracks):
    """T and P over the middle of the states: each in the band of the other; a shift of 40 % leaves both.

    Held-out likelihoods and figures on the whole gas are in tests/cases/test_equation_of_state_figures.py.
    """
    assert net.layout.units == 4
    gas = vd.fit(tracks, of_form("gas"))
    S, V = (np.quantile(net.arrays["support"][row], [0.25, 0.5, 0.75]) for row in (0, 1))
    for name in ("temperature", "pressure"):
        ours, theirs = getattr(net, name)(S, V), getattr(gas, name)(S, V)
        for model, other in ((net, theirs), (gas, ours)):
            low, high = model.band(name, (S, V))
            assert ((low < other) & (other < high)).all(), (name, ours, theirs, low, high)
            assert not ((low < 1.4 * other) & (1.4 * other < high)).all(), name


def test_it_is_kept_drawn_and_rolled_out(net, tracks, tmp_path):
    loaded = vd.load(net.save(tmp_path / "net.vid2dyn"))
    S, V = np.array([-3.0, 0.0, 5.0]), np.full(3, FLAT.volume0)
    for name in ("temperature", "pressure", "heat_capacity", "internal_energy"):
        assert np.array_equal(getattr(loaded, name)(S, V), getattr(net, name)(S, V)), name
    assert np.array_equal(loaded.band("pressure", (S, V))[0], net.band("pressure", (S, V))[0])
    assert {f.name for f in net.functions().functions} == {"temperature", "pressure", "shear", "bulk"}
    future = loaded.rollout(tracks[1], steps=8, seed=1)
    assert np.array_equal(future.velocities, net.rollout(tracks[1], steps=8, seed=1).velocities)
    assert net.report["laws"]["energy_drift"] < 1e-10
    assert net.report["laws"]["least_entropy_production"] >= 0


def test_form_and_units_are_settings_of_the_term():
    written = recipe(of_form("net"))
    assert written["energy"][0] == {"kind": "EquationOfState", "cutoff": 0.2, "form": "net", "units": 4, "bend": True,
                                    "cold": True}
    assert build(Metriplectic, written, "table") == of_form("net")
    assert of_form("gas").short_form.cutoff == 0.2
    assert of_form("net").short_form == of_form("net")
