"""Bands of fluids with hidden entropy hold the truth as often as they say: scripts/bench_fluid_bands.py; --cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest
from scipy.stats import binom

pytestmark = pytest.mark.case

SEEDS = range(3000, 3012)
"""Nothing was chosen by looking at these."""


@pytest.fixture(scope="module")
def bands(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_fluid_bands")


@pytest.mark.parametrize("gas", ["usual", "warm", "no conduction"])
def test_bands_of_gases_hold(bands: ModuleType, gas: str) -> None:
    """Misses of 12 vortices are chance (1e-6 each, bound as in test_bands_figures; a coverage below .4 would be
    seen), and the conductivity of a gas in which heat spreads ten times as fast as momentum is not a small part of it.
    """
    fits = [bands.fitted(gas, seed) for seed in SEEDS]
    for name in fits[0].holds:
        missed = sum(1 - one.holds[name] for one in fits)
        assert math.e * float(binom.sf(math.ceil(missed) - 1, len(fits), 0.05)) > 1e-6, name
    if gas == "warm":
        middle = sorted(one.ratio["conductivity"] for one in fits)[len(fits) // 2]
        assert 0.5 < middle < 2.5
