"""Figures of the learner on simulated tracks: what scripts/bench_fit.py prints, asserted. Minutes: run with --cases."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.case

# mean relative L2 error of the pair force over 3 seeds; issue: Yukawa .08 at 30 % and .12 at 80 %, others .2 at 30 %
LIMITS = {("yukawa", 0.3): 0.08, ("yukawa", 0.8): 0.12, ("wca", 0.3): 0.2, ("morse", 0.3): 0.2}


@pytest.mark.parametrize("shutter", [0.0, 1.0], ids=["flash", "open"])
@pytest.mark.parametrize(("pair", "noise"), LIMITS)
def test_pair_force_under_noise(bench_fit: ModuleType, pair: str, noise: float, shutter: float) -> None:
    """The planted error is the hand-made regression on the same tracks, which must miss the limit."""
    results = [bench_fit.pair_case(pair, noise, shutter, 300, seed) for seed in bench_fit.fresh(3)]
    limit = LIMITS[pair, noise]
    assert np.mean([r.rel for r in results]) < limit
    assert np.mean([r.lag1 for r in results]) > limit
    assert abs(np.mean([r.D for r in results]) - 1) < 0.02


def test_clean_yukawa_force_is_near_the_fisher_bound(bench_fit: ModuleType) -> None:
    results = [bench_fit.pair_case("yukawa", 0.0, 0.0, 300, seed) for seed in bench_fit.fresh(3)]
    assert np.mean([r.rel for r in results]) < 1.3 * np.mean([r.bound for r in results])
    assert abs(np.mean([r.D for r in results]) - 1) < 0.02
    # forces slow what is seen of diffusion: an estimate that knows no forces is further off
    assert np.mean([abs(r.D_covariance - 1) for r in results]) > np.mean([abs(r.D - 1) for r in results])


@pytest.mark.parametrize("trap", ["each", "shared"])
@pytest.mark.parametrize("shutter", [0.0, 1.0], ids=["flash", "open"])
@pytest.mark.parametrize(("frames", "limit"), [(300, 0.03), (2000, 0.015)])
def test_trap_stiffness(bench_fit: ModuleType, trap: str, shutter: float, frames: int, limit: float) -> None:
    """Mean of 3 seeds; the statistical floor of one is 1.3 % and 0.5 %. Regression misses by 11-20 % either way."""
    results = [bench_fit.trap_case(trap, 0.1, 0.3, shutter, frames, seed) for seed in bench_fit.fresh(3)]
    assert abs(np.mean([r.k for r in results]) - 1) < limit
    assert abs(np.mean([r.D for r in results]) - 1) < 0.01
    assert abs(np.mean([r.naive for r in results]) - 1) > 2 * limit
    assert all(abs(r.k - 1) < 4.9 * r.k_stderr for r in results)


def test_time_and_memory(bench_fit: ModuleType) -> None:
    """300 frames within 1 GB; time is printed by the script, since a shared machine would make a test of it fail."""
    bench_fit.pair_case("yukawa", 0.3, 0.0, 300, 0)
    assert bench_fit.peak_memory() < 1.0
