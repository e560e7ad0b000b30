"""The ideal gas of the script: learned functions, hidden entropy and three flows, as the script prints them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.simulators.fluid.sdpd.gas import SDPD


@pytest.fixture(scope="module")
def ideal_gas(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("reproduce_ideal_gas")


@pytest.fixture(scope="module")
def figures(ideal_gas: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ideal_gas.reproduce(tmp_path_factory.mktemp("gas"), compare=("isothermal",))


@pytest.mark.case
def test_learned_functions_are_exact_ones(figures):
    found = figures["functions"]
    assert found["temperature"] < 0.03
    assert found["pressure"] < 0.03
    assert abs(found["shear_viscosity"]) < 0.05
    assert abs(found["bulk_viscosity"]) < 0.10
    # 4.9 standard errors are passed by chance in 1e-6 cases. (The band of 95 % itself misses in one of twenty: bulk
    # viscosity of the vortex of seed 1 is off by -4.1 ± 3.1 %, of seed 3 by -0.3 ± 3.3 %.)
    for name in ("shear_viscosity", "bulk_viscosity"):
        assert abs(found[name]) < 4.9 / 1.96 * found[f"{name} band"], name
        assert found[f"{name} band"] < 0.05, "the band says something"


@pytest.mark.case
def test_hidden_entropy_of_a_vortex_never_seen(figures):
    found = figures["functions"]
    assert found["S"] >= 0.9
    # no learner can do better than one who knows all functions; 0.01 for chance
    assert found["S"] <= found["S at best"] + 0.01
    assert figures["report"]["entropy_identifiable"] is True


@pytest.mark.case
def test_rollouts_of_three_flows(figures):
    """Within 2, 2, 3 and 1 %; where noise alone gives more, no more than it."""
    for name, row in figures["flows"].items():
        assert row["rdf"] <= 0.02, name
        assert row["msd"] <= max(0.02, row["msd noise"]), name
        assert row["vacf"] <= max(0.03, row["vacf noise"]), name
        assert abs(row["VACF(0)"]) <= max(0.01, row["vacf noise"]), name


@pytest.mark.case
def test_score_has_no_bias_at_the_truth(ideal_gas):
    """Eight vortices of 300 steps; each of six directions beyond 5.2 standard errors by chance in 2e-7 cases.

    Found are errors of 5.2 of those that `bias` gives: 2 % in T, 1.7 % in 1/c, 1.4 % in n, 2 % in A² and B². A planted
    5 % of 1/c is found.
    """
    found = ideal_gas.bias(range(1, 9))
    assert max(abs(z) for z in found["z"]) < 5.2
    assert all(error < limit for error, limit in zip(found["standard error"].values(),
                                                     (0.006, 0.005, 0.004, 0.02, 0.005, 0.005), strict=True))
    planted = ideal_gas.bias(range(1, 9), heat_capacity=0.95)
    assert max(abs(z) for z in planted["z"]) > 5.2
    assert planted["off by"]["1/c"] < -0.025


@pytest.mark.case
def test_noise_that_remembers_is_read_in_windows():
    """Velocities and positions that are means over four frames: noise of a frame then shows a quarter of itself.

    Windows find T and viscosity of the same fluid without the means within 30 % (found: 21 and 5 %); single steps say
    T = 0.3 of it.
    """
    gas = SDPD(n_particles=110, box_length=0.604, frames=131, flow="taylor_green", flow_speed=30.0, equilibration=6,
               substeps=5)
    tracks = gas.run(seed=1)
    v, x = (a.reshape(gas.n_particles, -1, 3) for a in (tracks.velocities, tracks.positions))
    means = [np.stack([a[:, k:k + 126] for k in range(4)]).mean(axis=0).swapaxes(0, 1) for a in (x, v)]
    slow = vd.Trajectories.from_dense(means[0], tracks.units, box=tracks.box, velocity=means[1])
    recipe = vd.Metriplectic(cutoff=0.2, mass=0.5, knots=2, compare=(), window=24, iterations=12, tolerance=1.0)
    plain, found = vd.fit(tracks, recipe), vd.fit(slow, recipe)
    assert plain.report["window"]["frames"] == 1
    assert found.report["window"]["frames"] > 1
    at = plain.median_state
    assert abs(found.temperature(*found.median_state) / plain.temperature(*at) - 1) < 0.3
    assert abs(found.shear_viscosity() / gas.shear_viscosity - 1) < 0.3
