"""Figures of stacks beside trackpy: what scripts/bench_stacks.py prints, asserted. Run with --cases."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.case


def test_beside_trackpy_on_the_same_stacks(bench_stacks: ModuleType) -> None:
    """64 x 256 x 256 voxels with 500 spots: complete, at the bound, with errors that are right, and 5 times as fast.

    Of 1,460 spots the RMSE over the bound has a standard error of 1.9 %, std(z) the same; the limits leave two of them
    and more.
    """
    ours, theirs = bench_stacks.compare(stacks=4)
    assert ours.hits / ours.spots >= max(theirs.hits / theirs.spots, 0.99)
    assert ours.hits_inside / ours.inside >= theirs.hits_inside / theirs.inside
    assert ours.hits / ours.found >= min(theirs.hits / theirs.found, 0.995)
    assert (ours.rmse <= 1.1).all()
    assert (np.abs(ours.z_std - 1) <= 0.05).all()
    assert theirs.seconds / ours.seconds >= 5


@pytest.mark.parametrize("exposure", [0.0, 0.01, 0.02], ids=["flash", "half", "open"])
def test_diffusion_from_films_of_stacks(bench_stacks: ModuleType, exposure: float) -> None:
    """Mean of three films within 3 %: each has a standard error of 1.4 %, that of the true positions."""
    assert abs(np.mean([bench_stacks.film_diffusion(seed, exposure=exposure) for seed in (0, 1, 2)]) - 1) < 0.03
