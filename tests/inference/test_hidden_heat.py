"""Heat in local scores: put in and got out, at the stated false-alarm rate, and as good as the best estimate can be."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.fitting.particles.particle_heat import FINDING
from vid2dyn.inference.hidden_heat import MEMORY, SEGMENT, HiddenHeat, Persistence, estimated, segments

NOISE = np.array([[[3.0, 0.6], [0.6, 2.0]], [[0.4, 0.1], [0.1, 0.3]], [[-0.1, 0.0], [0.0, 0.1]]])
TRUTH = HiddenHeat(np.array([0.3, 0.2]), 4.0, 0.5, NOISE)


def observed(truth: HiddenHeat, windows: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """y (2, windows, n) and the normal number behind it (windows, n), exactly as the model has it."""
    rng = np.random.default_rng(seed)
    fade = np.exp(-truth.time / truth.relaxation)
    hidden = np.empty((windows, n))
    hidden[0] = rng.normal(size=n)
    for t in range(1, windows):
        hidden[t] = fade * hidden[t - 1] + np.sqrt(1 - fade**2) * rng.normal(size=n)
    root = np.linalg.cholesky(truth.noise_of(windows))
    noise = (root @ rng.normal(size=(2 * windows, n))).reshape(2, windows, n)
    return truth.loadings[:, None, None] * hidden + noise, hidden


def test_put_in_and_got_out() -> None:
    """120 windows of 2,000 particles; every number within 5 standard errors of it (false alarm 6e-7)."""
    y, _ = observed(TRUTH, 120, 2000, 1)
    found = estimated(Persistence.of([y], 0.5))
    error = np.sqrt(np.diag(found.covariance))
    apart = np.append(found.heat.loadings - TRUTH.loadings, np.log(found.heat.relaxation / TRUTH.relaxation))
    assert (np.abs(apart) < 5 * error).all()
    assert (error < [0.02, 0.02, 0.2]).all()
    assert found.gained > FINDING
    assert found.heat.heat_capacity == pytest.approx(1 / 0.09, rel=0.2)
    assert found.heat.exponent == pytest.approx(2 / 3, rel=0.2)
    np.testing.assert_allclose(found.heat.noise, NOISE, atol=0.05)
    # a quarter less or a third more would not have passed
    for factor in (0.75, 1.3):
        assert (np.abs(found.heat.loadings - factor * TRUTH.loadings) > 5 * error[:2]).any()


def test_nothing_is_found_where_there_is_nothing() -> None:
    """40 recordings: gains are those of three squared normal numbers, times the search for τ: all far below FINDING."""
    nothing = HiddenHeat(np.zeros(2), 4.0, 0.5, NOISE)
    gains = [estimated(Persistence.of([observed(nothing, 60, 100, seed)[0]], 0.5)).gained for seed in range(40)]
    assert max(gains) < 0.6 * FINDING
    assert 1.0 < float(np.mean(gains)) < 9.0


def test_the_estimate_is_as_good_as_it_says() -> None:
    y, hidden = observed(TRUTH, 100, 3000, 2)
    z, left = TRUTH.smoothed(y)
    assert float(np.corrcoef(z.ravel(), hidden.ravel())[0, 1]) == pytest.approx(TRUTH.attainable(100), abs=0.01)
    # variance of what is left, window by window: 3,000 particles, five standard errors are 13 %
    np.testing.assert_allclose(((z - hidden) ** 2).mean(axis=1), left, rtol=0.15)
    assert left[50] < left[0]


def test_gain_is_the_difference_of_two_gaussians() -> None:
    y, _ = observed(TRUTH, 12, 5, 3)
    whole = TRUTH._blocks(12)[0]
    fade = np.exp(-np.arange(MEMORY) * 0.5 / 4.0)[:, None, None]
    plain = HiddenHeat(TRUTH.loadings, 4.0, 0.5, NOISE + fade * np.outer(TRUTH.loadings, TRUTH.loadings)).noise_of(12)
    flat = y.reshape(24, 5)

    def density(C: np.ndarray) -> np.ndarray:
        return -0.5 * np.einsum("an,ab,bn->n", flat, np.linalg.inv(C), flat) - 0.5 * np.linalg.slogdet(C)[1]

    np.testing.assert_allclose(TRUTH.gain(y), density(whole) - density(plain), rtol=1e-8, atol=1e-8)


def test_strong_heat_has_a_gain() -> None:
    """Where heat outweighs the noise, its covariance cut off at the memory has negative eigenvalues."""
    strong = HiddenHeat(np.array([2.0, 1.5]), 20.0, 0.5, 0.1 * NOISE)
    y, _ = observed(strong, 60, 50, 6)
    assert (strong.gain(y) > 0).mean() > 0.9


def test_long_recordings_are_smoothed_in_pieces() -> None:
    """The pieces overlap by 60 windows, 7 relaxation times: what they leave out is below a thousandth."""
    y, _ = observed(TRUTH, SEGMENT, 20, 4)
    y = np.concatenate([y, y[:, ::-1]], axis=1)
    z, _ = TRUTH.smoothed(y)
    whole, with_it = TRUTH._blocks(y.shape[1])
    exact = np.linalg.solve(whole, with_it).T @ y.reshape(-1, 20)
    assert np.abs(z - exact).max() < 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("count", [1, 5, 239, 240, 241, 700, 1301])
def test_segments_cover_every_window_once(count: int) -> None:
    kept = [t for start, stop, first, last in segments(count) for t in range(first, last)
            if start <= first and last <= stop and stop - start <= SEGMENT]
    assert kept == list(range(count))


def test_one_coupling_alone() -> None:
    """Without pair forces there is the noise alone."""
    one = HiddenHeat(np.array([0.5]), 3.0, 0.5, NOISE[:, :1, :1])
    y, _ = observed(TRUTH, 100, 2000, 5)
    found = estimated(Persistence.of([y[:1]], 0.5))
    assert found.heat.loadings.shape == (1,)
    assert found.heat.exponent == 0.0
    assert found.heat.loadings[0] == pytest.approx(0.3, rel=0.3)
    assert one.smoothed(y[:1])[0].shape == (100, 2000)
