"""Slow cases of the SDPD gas: what scripts/bench_sdpd.py prints, asserted.

|z| < 4.9 for errors from 16 blocks or seeds is a false-alarm rate of 2e-4 a number (Student); what is detected is
stated with each.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from vid2dyn.analysis import stress
from vid2dyn.simulators import SDPD

pytestmark = pytest.mark.case
Z = 4.9


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_sdpd")


@pytest.mark.parametrize("factor", [1, 4])
def test_default_gas_at_rest(bench: ModuleType, factor: int) -> None:
    """N = 500 at 0.25 ms and four times that: within 0.5 % or 3 standard errors (fluctuations of U: 1 % errors)."""
    found = bench.equilibrium(2500, frames_per_second=4000.0 / factor, seed=2)
    for key in ("kinetic", "T", "T fluctuation", "kinetic fluctuation", "<P>/(atoms T <d>)"):
        ratio, error = found[key]
        assert abs(ratio - 1) < max(0.005, 3.5 * error), key
        assert error < {"kinetic": 0.01, "kinetic fluctuation": 0.25}.get(key, 0.012), key
    assert abs(found["mean ln U - theory"][0]) < max(5e-4, 3.5 * found["mean ln U - theory"][1])
    assert found["Maxwell p"] > 1e-6
    assert found["|dE|/(N kT)"] < (1e-3 if factor == 1 else 1e-2)
    assert found["momentum"] < 1e-11


def test_viscosity_from_shear_and_from_a_vortex(bench: ModuleType) -> None:
    """2-D, 64 neighbours: nominal to 5 % under shear, where stress, heat and kernel sum agree; the vortex to its 4 %.

    The shear stress is known to 0.5 %, so 2.5 % is detected; the vortex detects 25 %.
    """
    fluid = bench.FLUIDS["2-D, 64 neighbours, C = 15"]
    sheared = bench.shear(15.0, 1000, **fluid)
    assert abs(sheared["sum"][0] - 1) < 0.05
    assert sheared["sum"][1] < 0.006
    assert abs(sheared["from heat"][0] - sheared["sum"][0]) < Z * sheared["from heat"][1]
    assert sheared["from heat"][1] < 0.03
    gas = SDPD(**fluid)
    assert sheared["friction"][0] == pytest.approx(sheared["kernel sum"] * bench.kB_factor(gas), rel=0.01)
    vortex = bench.vortex(8, equilibration=10, **fluid)
    expected = vortex["friction at k"] + sheared["kinetic"][0] + sheared["pressure"][0]
    assert abs(vortex["decay"][0] - expected) < Z * vortex["decay"][1]
    assert vortex["decay"][1] < 0.06


def test_defaults_flow_as_their_parts_say(bench: ModuleType) -> None:
    """3-D, 17 neighbours: far from nominal (the pressure of the arrangement carries as much as friction), and the heat
    taken out still is the work of the stress, to 3 %."""
    sheared = bench.shear(15.0, 1000)
    assert abs(sheared["from heat"][0] - sheared["sum"][0]) < Z * np.hypot(sheared["from heat"][1], sheared["sum"][1])
    assert sheared["from heat"][1] < 0.04
    assert 0.4 < sheared["pressure"][0] < 1.0
    assert sheared["friction"][0] < sheared["kernel sum"]


def test_gas_at_rest_is_its_own_time_reversal() -> None:
    """<A(t) B(t + s)> = <B(t) A(t + s)> for the carried and the pressed shear stress, of fluctuations 1.

    Known to 0.05; pair updates are tested to 0.3 % elsewhere, the conservative part to rounding.
    """
    gas = SDPD(n_particles=60, box_length=0.7, heat_capacity=10.0, shear_viscosity=10.0, bulk_viscosity=5.0,
               conductivity=1000.0, frames=4000, frames_per_second=400.0, substeps=1)
    sigma = stress(gas.run(seed=3), gas)
    a, b = sigma.kinetic[:, 1, 0], sigma.pressure[:, 1, 0]
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    for lag in (1, 2, 4, 8):
        difference = a[:-lag] * b[lag:] - b[:-lag] * a[lag:]
        blocks = np.array([block.mean() for block in np.array_split(difference, 24)])
        error = blocks.std(ddof=1) / np.sqrt(24)
        assert abs(difference.mean()) < Z * error
        assert error < 0.08


def test_cost_is_linear_in_particles(bench: ModuleType) -> None:
    small, large = (min(bench.seconds_per_step(n) for _ in range(2)) for n in (4_000, 40_000))
    assert large < 20 * small
