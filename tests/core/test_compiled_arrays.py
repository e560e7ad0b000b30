"""Selection in compiled loops gives numpy's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.core.compiled_arrays import copy_rows, median, nth_smallest, numbers_of, quantile


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


@pytest.mark.parametrize("part", [0.1, 0.9, 1.0])
def test_selection_ends_where_there_is_nan(part: float) -> None:
    """What it finds then means nothing, but a comparison that is never true must not keep it going."""
    values = np.random.default_rng(0).normal(size=500)
    values[np.random.default_rng(1).random(500) < part] = np.nan
    for place in (0, 250, 499):
        nth_smallest(values.copy(), place)


def test_numbers_of_a_mask_are_those_of_numpy() -> None:
    mask = np.random.default_rng(0).random(100) < 0.3
    np.testing.assert_array_equal(numbers_of(mask), np.flatnonzero(mask))
    assert numbers_of(mask[:0]).tolist() == []


def test_rows_are_copied() -> None:
    values, out = np.arange(6.0).reshape(3, 2), np.zeros((3, 2))
    copy_rows(values, out)
    np.testing.assert_array_equal(out, values)
