"""Every fault of scripts/assess_power.py is cured or noticed, and clean recordings are left alone: run with --cases."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from scipy.stats import binom

pytestmark = pytest.mark.case

SEEDS, CLEAN = 3, 40
PROMISED = 0.01
"""False alarms of the whole table."""


@pytest.fixture(scope="module")
def power(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("assess_power")


def names(which: str) -> list[str]:
    """Rows of the script, read without running it."""
    from pathlib import Path

    text = (Path(__file__).parents[2] / "scripts" / "assess_power.py").read_text(encoding="utf-8")
    part = text.partition(f"{which}: dict[str, Row] = {{")[2].partition("\n}")[0]
    return [line.partition('"')[2].partition('":')[0] for line in part.splitlines() if line.startswith('    "')]


@pytest.mark.parametrize("name", names("FAULTS"))
def test_no_fault_is_silent(power: ModuleType, name: str) -> None:
    """In each of three recordings the truth is inside the bands or a test that names the cause fails."""
    found = [power.asked(name, seed) for seed in range(100, 100 + SEEDS)]
    assert all(one["noticed"] or one["cured"] for one in found)


@pytest.mark.parametrize("name", names("CLEAN"))
def test_clean_recordings_have_no_warning(power: ModuleType, name: str) -> None:
    """Of 40 recordings as many as 1 % by chance, with one false alarm of this test in 1e6: 7 at most."""
    alarms = sum(bool(power.asked(name, seed)["failed"]) for seed in range(100, 100 + CLEAN))
    assert binom.sf(alarms - 1, CLEAN, PROMISED) > 1e-6
