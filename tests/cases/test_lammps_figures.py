"""What scripts/bench_lammps.py prints of learned models in LAMMPS, asserted."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from vid2dyn.core.errors import ConfigError
from vid2dyn.rollout.lammps.launch import launcher

pytestmark = pytest.mark.case


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> ModuleType:
    try:
        launcher(2)
    except ConfigError as error:
        pytest.skip(str(error))
    return script("bench_lammps")


def test_identity(bench: ModuleType) -> None:
    for found in bench.part_identity(None).values():
        assert max(found["one"], found["two"], found["one_two"]) <= 1e-12
        assert found["momentum"] <= 1e-10


def test_cost(bench: ModuleType) -> None:
    for found in bench.part_cost(200).values():
        assert found["over_dpd"] <= 2.5
        assert found["over_table"] <= 1.0


def test_two_processes(bench: ModuleType) -> None:
    """Work is CPU time without waiting for messages, which holds on a busy machine too; the clock is printed."""
    found = bench.part_ranks(200)
    assert found["work_speed_up"] >= 1.6
    assert found["work_weak"] >= 0.8


def test_a_million_particles(bench: ModuleType) -> None:
    found = bench.part_million(200)
    assert found["1000000"]["GB"] < 12
    assert found["bytes_a_particle"] < 4000


def test_statistics_of_a_large_box(bench: ModuleType) -> None:
    """Each curve within its standard error: rms of z is about 1.1 (errors come from eight runs) and 2 would be seen."""
    for found in bench.part_statistics(200).values():
        assert found["rms_z"] < 2.0


def test_viscosity(bench: ModuleType) -> None:
    found = bench.part_viscosity(200)
    assert abs(found["large"] - found["small"]) < 5 * found["small_stderr"]
    assert abs(found["gas"] - found["gas_pairs"]) < 0.05 + 5 * found["gas_stderr"]
