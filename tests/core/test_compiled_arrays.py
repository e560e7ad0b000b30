"""Selection in compiled loops gives numpy's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.core.compiled_arrays import copy_rows, median, nth_smallest, quantile


@pytest.mark.parametrize("kinds", [2, 7, 10**6])
@pytest.mark.parametrize("order", ["random", "up", "down"])
@pytest.mark.parametrize("n", [1, 2, 3, 16, 101, 1000])
def test_order_statistics_are_those_of_numpy(n: int, order: str, kinds: int) -> None:
    values = np.random.default_rng(n).integers(0, kinds, n).astype(float)
    if order != "random":
        values = np.sort(values) if order == "up" else -np.sort(-values)
    for place in {0, n // 4, n // 2, n - 1}:
        moved = values.copy()
        found = nth_smallest(moved, place)
        assert found == np.sort(values)[place]
        assert (moved[:place] <= found).all()
        assert (moved[place:] >= found).all()
        np.testing.assert_array_equal(np.sort(moved), np.sort(values))
    assert median(values.copy()) == np.median(values)
    for part in (0.001, 0.25, 0.999):
        assert quantile(values.copy(), part) == pytest.approx(np.quantile(values, part), rel=1e-14)


def test_rows_are_copied() -> None:
    values, out = np.arange(6.0).reshape(3, 2), np.zeros((3, 2))
    copy_rows(values, out)
    np.testing.assert_array_equal(out, values)
