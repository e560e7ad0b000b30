"""p-values of the table are what they say, and a planted departure is found: α = 1e-6 for each test below."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from vid2dyn.assessment.assumptions.particles import tail_of_products
from vid2dyn.assessment.quantities import Quantities, hotelling, means, p_value, regression
from vid2dyn.core.trends import trend_over_regions

ALPHA = 1e-6


def rates(shift: float, count: int = 700, k: int = 3, pieces: int = 60) -> np.ndarray:
    """p of `count` draws of k means over clusters of 5 correlated numbers each, the first of them moved by `shift`."""
    rng = np.random.default_rng(1)
    out = np.empty(count)
    cluster = np.repeat(np.arange(pieces), 5)
    for n in range(count):
        draws = rng.standard_normal((pieces * 5, k)) + rng.standard_normal((pieces, k))[cluster]
        draws[:, 0] += shift
        found = means(draws, cluster)
        assert found is not None
        out[n] = p_value(hotelling(found), k, found.pieces)
    return out


def too_many(p: np.ndarray, level: float) -> bool:
    """Whether more p-values are below a level than chance allows with `ALPHA`."""
    return bool(binom.sf((p < level).sum() - 1, len(p), level) < ALPHA)


@pytest.mark.parametrize("level", [0.2, 0.01])
def test_p_values_of_clustered_means(level: float) -> None:
    """Clusters are correlated inside: right p all the same. A shift of .3 standard deviations of a cluster shows."""
    p = rates(0.0)
    assert not too_many(p, level)
    assert not too_many(1 - p, level)
    assert too_many(rates(0.33), level)


def test_a_margin_is_the_null() -> None:
    """An effect of the size of the margin gives p of the order of one half, twice of it a small one."""
    rng = np.random.default_rng(0)
    p = {}
    for effect in (1.0, 2.0):
        values = effect + 0.1 * rng.standard_normal(400)
        p[effect] = np.array([p_value((v / 0.1) ** 2, 1, 10_000, 1.0 / abs(v)) for v in values])
    assert not too_many(p[1.0], 0.05)
    assert (p[2.0] < 1e-6).mean() > 0.9
    assert p_value(400.0, 2, 200, 0.5) < 1e-10


def test_little_is_taken_from_a_control_that_says_little() -> None:
    data, control = (Quantities(np.array([v]), np.eye(1) * s**2, 100) for v, s in ((1.0, 0.1), (0.5, 1.0)))
    assert data.less(None) is data
    assert data.less(control, 0.0) is data
    whole, share = data.less(control), data.less(control, 0.1)
    assert whole.value[0] == 0.5
    assert share.value[0] == pytest.approx(1 - 0.5 * 0.01 / 1.01)
    assert share.stderr[0] == pytest.approx(np.hypot(0.1, 0.1 * np.sqrt(1 / 1.01)))


def test_regression_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((500, 2))
    found = regression(x @ [0.5, -1.0] + 0.1 * rng.standard_normal(500), x, np.arange(500) // 5)
    assert found is not None
    assert np.allclose(found.value, [0.5, -1.0], atol=5 * 0.1 / np.sqrt(500))
    assert np.allclose(found.stderr, 0.1 / np.sqrt(500), rtol=0.3)


@pytest.mark.parametrize("number", [10, 900])
def test_tail_of_products(number: int) -> None:
    rng = np.random.default_rng(3)
    score = (rng.standard_normal((8_000, number)) * rng.standard_normal((8_000, number))).sum(axis=1) / number**0.5
    beyond, expected = (score > 3.0).sum(), 8_000 * tail_of_products(number, 3.0)
    assert abs(beyond - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_slow_regions_are_no_trend(drift: float) -> None:
    """Walks in 100 particles are far from independent in time; their trend is, between regions. A common one shows."""
    rng = np.random.default_rng(4)
    particle, time = np.repeat(np.arange(100), 50), np.tile(np.linspace(-1, 1, 50), 100)
    place = rng.uniform(size=(100, 2))[particle]
    t = []
    for _ in range(300):
        values = rng.standard_normal((100, 50)).cumsum(axis=1).ravel() / 7 + drift * time
        found = trend_over_regions(values, time, place, particle)
        assert found is not None
        t.append(found[0] / found[1])
    beyond = np.abs(t) > 2.947                                  # 1 % of Student's t with 15 degrees of freedom
    assert (binom.sf(beyond.sum() - 1, 300, 0.01) < ALPHA) == bool(drift)
