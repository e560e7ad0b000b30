"""Cost, memory and laws of the compiled fluid: what scripts/bench_fluid_speed.py prints, asserted. Run with --cases."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

pytestmark = pytest.mark.case


@pytest.fixture(scope="module")
def bench(script: Callable[[str], ModuleType]) -> ModuleType:
    """The script as a module."""
    return script("bench_fluid_speed")


def test_step_in_yardsticks(bench: ModuleType) -> None:
    """Asked: 0.15; the exact step costs about half as much again."""
    found = bench.part_step(repeats=6)
    assert found["Verlet, 1 thread"] < 0.15
    assert found["exact, 1 thread"] < 0.3


def test_memory_of_100_000_particles(bench: ModuleType) -> None:
    assert bench.part_memory()["peak"] < 4e9


def test_cost_and_memory_grow_linearly(bench: ModuleType) -> None:
    """A million particles cost a particle at most three times what a thousand do: these fit into the cache."""
    rows = bench.part_growth()
    each = [row["seconds"] / row["n"] for row in rows]
    assert max(each) < 3 * min(each)
    assert max(row["resident"] / row["n"] for row in rows[2:]) < 5e3


def test_laws_over_10_000_steps(bench: ModuleType) -> None:
    found = bench.part_laws()
    assert found["exact dE"] < 1e-10
    assert found["verlet dE"] < 4e-3             # .76e-3 rms, a random walk: see test_rollout_figures
    assert max(found["exact momentum"], found["verlet momentum"]) < 1e-13
    assert found["least entropy production"] >= 0
