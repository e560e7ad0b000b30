"""Noise keyed on pairs: the same for any order, normal, and independent across pairs, channels, steps and seeds.

False alarm 1e-6 a comparison; with 2 million numbers an error of 0.5 % of the amplitude is 10 standard errors.
"""

import numpy as np
import pytest
from scipy import stats

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.pair_noise import normal, pair_key, pair_normals, step_key

I, J = np.triu_indices(1000, 1)


@pytest.fixture(scope="module")
def numbers():
    found = pair_normals(0, 0, I, J, channels=4)
    found.flags.writeable = False
    return found


def passes(z):
    """Whether numbers can be standard normal: Kolmogorov-Smirnov and the second and fourth moments."""
    z = z.ravel()
    variance = (np.mean(z**2) - 1) / np.sqrt(2 / z.size)
    fourth = (np.mean(z**4) - 3) / np.sqrt(96 / z.size)
    return stats.kstest(z, "norm").pvalue > 1e-6 and abs(variance) < 4.9 and abs(fourth) < 4.9


def uncorrelated(a, b):
    return abs((a * b).sum()) < 4.9 * np.sqrt(a.size)


def test_normal(numbers):
    assert passes(numbers)
    assert not passes(1.005 * numbers)
    assert not passes(0.02 + numbers)


def test_tails(numbers):
    """Beyond 3.44 the tail has an algorithm of its own."""
    for edge in (2.5, 3.2, 3.5, 4.2):
        expected = 2 * stats.norm.sf(edge) * numbers.size
        assert abs((np.abs(numbers) > edge).sum() - expected) < 4.9 * np.sqrt(expected)
    assert 4.5 < np.abs(numbers).max() < 7.0


def test_keys_are_independent(numbers):
    assert uncorrelated(numbers[:, 0], numbers[:, 1])
    assert uncorrelated(numbers[1:], numbers[:-1])
    for seed, step in ((0, 1), (1, 0), (2**40, 7)):
        other = pair_normals(seed, step, I, J, channels=4)
        assert uncorrelated(numbers, other)
        assert uncorrelated(numbers**2 - 1, (other**2 - 1) / 2)
    swapped = pair_normals(1, 2, I, J, channels=1), pair_normals(2, 1, I, J, channels=1)
    assert uncorrelated(*swapped)


def test_many_steps_of_one_pair():
    steps = np.array([pair_normals(3, k, np.array([5]), np.array([9]), channels=2)[0] for k in range(20000)])
    assert passes(steps)
    assert uncorrelated(steps[1:], steps[:-1])
    own = np.array([pair_normals(3, k, np.array([5]), np.array([5]), channels=2)[0] for k in range(20000)])
    assert uncorrelated(steps, own)


def test_order_does_not_matter_and_single_numbers_are_the_same_bits(numbers):
    mixed = np.random.default_rng(0).permutation(len(I))
    assert (pair_normals(0, 0, J[mixed], I[mixed], channels=4) == numbers[mixed]).all()
    shared = step_key(0, 0)
    for p in (0, 17, 4321):
        assert [normal(pair_key(shared, J[p], I[p]), k) for k in range(4)] == numbers[p].tolist()


def test_the_stream_does_not_change():
    """Saved runs go on with the numbers they had."""
    found = pair_normals(7, 11, np.array([3, 2_000_000_000]), np.array([8, 5]), channels=2)
    np.testing.assert_allclose(found, STREAM, rtol=1e-15)


STREAM = np.array([[1.035546670308096, 1.5630094424435477], [0.8162549326769735, 0.44105667530062065]])


@pytest.mark.parametrize(("seed", "step"), [(-1, 0), (0, -1), (2**63, 0)])
def test_bad_keys_are_refused(seed, step):
    with pytest.raises(ConfigError, match="whole number from 0"):
        pair_normals(seed, step, I[:1], J[:1], channels=1)
