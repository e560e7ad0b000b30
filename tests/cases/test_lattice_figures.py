"""Figures of lattice processes: what scripts/bench_lattice.py prints, asserted. A minute: run with --cases."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.case


def test_bands_cover_the_truth(bench_lattice: ModuleType) -> None:
    """95 % bands of m and f'' over 20 seeds and 9 densities: between 88 and 99.9 %; half the width would hold 2/3."""
    held = bench_lattice.coverage(20)
    for name in ("mobility", "curvature", "diffusion"):
        assert 0.88 < held[name].mean() < 0.999, name


def test_bands_cover_the_truth_of_a_fast_process(bench_lattice: ModuleType) -> None:
    """The same where D goes up to 6 and windows are those of a pilot, 12 seeds; m within 3 %, f'' within 6 % rms."""
    found = bench_lattice.coverage(12, bench_lattice.FAST)
    for name, most in (("mobility", 0.03), ("curvature", 0.06)):
        assert 0.86 < found[name].mean() <= 1.0, name
        assert np.sqrt((found[f"{name} off"] ** 2).mean()) < most, name


def test_trials_cost_little_more_than_random_numbers(bench_lattice: ModuleType) -> None:
    """At most 4 and 8 of the bare loop's random numbers, in processor time of the thread (1.4, 3.0, 4.7 measured)."""
    bare = bench_lattice.seconds(lambda: bench_lattice.bare(bench_lattice.TRIALS, np.uint64(3), bench_lattice.N))
    for name, most in (("exclusion", 4.0), ("nearest neighbour, J = 1", 4.0), ("nearest neighbour, J = -1", 4.0),
                       ("box, L = 50", 8.0), ("box, L = 200", 8.0), ("box, L = 900", 8.0)):
        assert bench_lattice.seconds(bench_lattice.loop(bench_lattice.CASES[name])) < most * bare, name
