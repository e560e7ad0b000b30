"""Figures of lattice processes: what scripts/bench_lattice.py prints, asserted. A minute: run with --cases."""

from __future__ import annotations

import time
from types import ModuleType

import pytest

pytestmark = pytest.mark.case


def test_bands_cover_the_truth(bench_lattice: ModuleType) -> None:
    """95 % bands of m and f'' over 20 seeds and 8 densities: between 88 and 99.9 %; half the width would hold 2/3."""
    held = bench_lattice.coverage(20)
    for name in ("mobility", "curvature", "diffusion"):
        assert 0.88 < held[name].mean() < 0.999, name


def test_trials_cost_little_more_than_random_numbers(bench_lattice: ModuleType) -> None:
    """At most 2 and 3 of numba's own random numbers, in processor time of the thread (0.7 to 1.5 measured)."""
    bare = bench_lattice.seconds(lambda: bench_lattice.uniform(bench_lattice.TRIALS), time.thread_time)
    for name, most in (("exclusion", 2.0), ("nearest neighbour, J = 1", 2.0), ("box, L = 200", 3.0)):
        assert bench_lattice.seconds(bench_lattice.loop(bench_lattice.CASES[name])) < most * bare, name
