"""Bands hold the truth as often as they say, or are refused: scripts/bench_bands.py with few seeds; --cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

pytestmark = pytest.mark.case

SEEDS = range(3000, 3008)
"""Nothing was chosen by looking at these."""
MISSED = 0.05
ZIGZAG = 2.0
"""Total variation of the force over the nearer half of what was seen, over that of the truth."""


@pytest.fixture(scope="module")
def bands(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_bands")


def chance(missed: list[float]) -> float:
    """Largest probability of so many misses: a sum of independent numbers between 0 and 1 of mean `MISSED` exceeds t at
    most e times as often as a binomial one does (Bentkus, Ann. Probab. 32, 1650, 2004), however distances depend on
    each other."""
    return math.e * float(binom.sf(math.ceil(sum(missed)) - 1, len(missed), MISSED))


@pytest.mark.parametrize("family", ["yukawa", "wca", "dipolar", "morse"])
def test_bands_of_pair_forces_hold(bands: ModuleType, family: str) -> None:
    """32 recordings of a family, of small and large noise, with a flash and an open shutter: misses of U, F and D are
    chance (1e-6 each; a coverage below .65 would be seen), no force zigzags, and none is said not to be there."""
    fits = [bands.fitted(family, noise, shutter, seed) for noise in bands.NOISES for shutter in bands.SHUTTERS
            for seed in SEEDS]
    for name in ("energy", "force"):
        for part in (slice(None), slice(-4, None)):           # everywhere; where the spline is made to end
            held = [np.array(getattr(one, name), float)[part] for one in fits]
            assert chance([float(1 - np.nanmean(one)) for one in held if np.isfinite(one).any()]) > 1e-6
    assert chance([float(not one.holds_D) for one in fits]) > 1e-6
    assert max(one.zigzag for one in fits) < ZIGZAG
    assert not any("no pair force shows" in text for one in fits for text in one.warnings)
    refused = {(one.noise, None in one.energy) for one in fits}
    steep = family in ("wca", "morse")
    assert refused == {(0.3, False), (0.8, steep)}


def test_bands_of_traps_hold(bands: ModuleType) -> None:
    """The same of D and of the stiffness of traps."""
    fits = [bands.fitted("trap", noise, shutter, seed) for noise in bands.NOISES for shutter in bands.SHUTTERS
            for seed in SEEDS]
    assert chance([float(not one.holds_D) for one in fits]) > 1e-6
    assert chance([float(not one.holds_k) for one in fits]) > 1e-6
