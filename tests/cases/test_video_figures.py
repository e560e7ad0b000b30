"""Figures of the whole chain on rendered film: what scripts/bench_video.py prints, asserted. Run with --cases."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.case
SHUTTER = pytest.mark.parametrize("shutter", [0.0, 1.0], ids=["flash", "open"])


@SHUTTER
@pytest.mark.parametrize("snr", [5.0, 15.0, 50.0])
def test_diffusion_from_film(bench_video: ModuleType, snr: float, shutter: float) -> None:
    """Mean of two films within 3 %; lag-1 steps, the planted estimator, miss by more under blur and under noise."""
    films = [bench_video.free_film(snr, shutter, seed) for seed in bench_video.fresh(2)]
    assert abs(np.mean([f.D for f in films]) - 1) < 0.03
    assert abs(np.mean([f.D_covariance for f in films]) - 1) < 0.03
    if shutter == 1.0:
        assert np.mean([f.lag1 for f in films]) < 0.9


@SHUTTER
def test_trap_stiffness_from_film(bench_video: ModuleType, shutter: float) -> None:
    """Mean of three films within 5 %; regression on the flash films gives twice the truth."""
    films = [bench_video.trap_film(shutter, seed) for seed in bench_video.fresh(3)]
    assert abs(np.mean([f.k for f in films]) - 1) < 0.05
    if shutter == 0.0:
        assert np.mean([f.naive for f in films]) > 1.8


@SHUTTER
def test_wca_potential_from_film(bench_video: ModuleType, shutter: float) -> None:
    """Within 0.1 kT at every r with at least 100 pairs, mean of six films (one alone scatters by 0.035)."""
    films = [bench_video.pair_film("wca", shutter, seed) for seed in bench_video.fresh(6)]
    assert np.mean([f.max_dU for f in films]) < 0.1
    assert np.mean([f.cover_potential for f in films]) > 0.9
    assert abs(np.mean([f.D for f in films]) - 1) < 0.03


@SHUTTER
def test_yukawa_potential_from_film(bench_video: ModuleType, shutter: float) -> None:
    """300 frames hold no more: even an ideal observer errs by 0.2 kT where pairs are rarest (7 kT, `dU_floor`)."""
    films = [bench_video.pair_film("yukawa", shutter, seed) for seed in bench_video.fresh(3)]
    assert np.mean([f.max_dU for f in films]) < 2.5 * np.mean([f.dU_floor for f in films])
    assert np.mean([f.rms_dU for f in films]) < 0.2
    assert np.mean([f.cover_potential for f in films]) > 0.9
    assert abs(np.mean([f.D for f in films]) - 1) < 0.03
