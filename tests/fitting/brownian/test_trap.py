"""Harmonic traps: the restricted likelihood against dense matrices, and k without bias where centres are unknown.

Statistical tests: false alarm 1e-6; the naive estimate 1/variance about each track's own mean is the planted error.
"""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from vid2dyn import simulators as sims
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.data.box import Free
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.trap import _restricted, fit_traps

D, DT = 0.405, 0.01


# ------------------------------------------------------------------ exact

def autocovariance(k, lag, exposure):
    """S exp(-k D |t|) averaged over both exposures, by quadrature: knows nothing of the closed form."""
    if exposure == 0:
        return np.exp(-k * D * abs(lag)) / k
    nodes, weights = np.polynomial.legendre.leggauss(30)
    s = 0.5 * exposure * (nodes + 1)
    if lag > 0:
        inner = np.exp(-k * D * np.abs(lag + s[:, None] - s[None]))
        return float(weights @ inner @ weights) / 4 / k
    # the kink at equal times: 2/t² * integral (t - u) exp(-kDu) du
    return float(weights @ ((exposure - s) * np.exp(-k * D * s))) * exposure / 2 * 2 / exposure**2 / k


def stretches(follows):
    """Rows of each unbroken stretch."""
    return np.split(np.arange(len(follows)), np.flatnonzero(~follows)[1:])


def dense_restricted(y, follows, group, variance, k, noise, dt, exposure):
    """-log of the normal density of all rows, integrated over a flat prior of one centre a group and axis."""
    loss, centres = 0.0, np.zeros((group.max() + 1, y.shape[1]))
    X = np.eye(group.max() + 1)[group]
    for c in range(y.shape[1]):
        C = np.zeros((len(y), len(y)))
        for rows in stretches(follows):
            for a in rows:
                for b in rows:
                    C[a, b] = autocovariance(k, abs(a - b) * dt, exposure)
        C += noise * np.diag(variance[:, c])
        W = np.linalg.inv(C)
        information = X.T @ W @ X
        centres[:, c] = np.linalg.solve(information, X.T @ W @ y[:, c])
        r = y[:, c] - X @ centres[:, c]
        loss += 0.5 * (r @ W @ r + np.linalg.slogdet(C)[1] + np.linalg.slogdet(information)[1])
    return loss, centres


FOLLOWS = np.array([False, True, True, True, False, True, True, False, True, True, False, True])
TRACK = np.array([0] * 7 + [1] * 5)                       # each track has a gap


def small_case(seed=0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(len(FOLLOWS), 2)) * 0.4 + np.array([3.0, -7.0]) * (1 + TRACK[:, None])
    return y, rng.uniform(0.5, 2, y.shape) * 1e-2


@pytest.mark.parametrize("exposure", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("k", [0.5, 12.0])
def test_the_sweep_is_the_dense_restricted_likelihood(exposure, shared, k):
    """Blur, noise of every detection, gaps, two tracks: equal to a dense matrix to rounding, constants included."""
    y, variance = small_case()
    group = np.zeros_like(TRACK) if shared else TRACK
    loss, centres = _restricted(y, FOLLOWS, group, variance, k, D, 1.3, 0.05, exposure, True)
    # stretches of one track are independent here: that is the model's one approximation, at gaps
    dense, dense_centres = dense_restricted(y, FOLLOWS, group, variance, k, 1.3, 0.05, exposure)
    assert loss == pytest.approx(dense, rel=1e-9)
    np.testing.assert_allclose(centres, dense_centres, rtol=1e-8)
    wrong, _ = dense_restricted(y, FOLLOWS, group, variance, 1.05 * k, 1.3, 0.05, exposure)
    assert wrong != pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("exposure", [0.0, 0.05])
def test_without_equilibrium_first_positions_do_not_count(exposure):
    """Flash or open shutter: the same as the dense likelihood of the residuals r = Y' - a Y alone, where centres enter
    with weight 1 - a."""
    y, variance = small_case(1)
    k, noise, dt = 4.0, 0.7, 0.05
    loss, centres = _restricted(y, FOLLOWS, TRACK, variance, k, D, noise, dt, exposure, False)
    a = np.exp(-k * D * dt)
    rows = np.flatnonzero(FOLLOWS)
    T = np.zeros((len(rows), len(y)))
    T[np.arange(len(rows)), rows] = 1.0
    T[np.arange(len(rows)), rows - 1] = -a
    X = T @ np.eye(2)[TRACK]
    expected = 0.0
    for c in range(2):
        C = noise * np.diag(variance[:, c])
        for part in stretches(FOLLOWS):
            for i in part:
                for j in part:
                    C[i, j] += autocovariance(k, abs(i - j) * dt, exposure)
        S = T @ C @ T.T
        W = np.linalg.inv(S)
        A = X.T @ W @ X
        m = np.linalg.solve(A, X.T @ W @ T @ y[:, c])
        r = T @ y[:, c] - X @ m
        expected += 0.5 * (r @ W @ r + np.linalg.slogdet(S)[1] + np.linalg.slogdet(A)[1])
        np.testing.assert_allclose(centres[:, c], m, rtol=1e-8)
    assert loss == pytest.approx(expected, rel=1e-9)


def test_series_and_closed_form_of_blur_meet():
    """Both sides of the switch at k D t_E = 0.01."""
    y, variance = small_case()
    losses = [_restricted(y, FOLLOWS, TRACK, variance, 1e-2 * f / (D * 0.05), D, 1.0, 0.05, 0.05, True)[0]
              for f in (1 - 1e-10, 1 + 1e-10)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-8)


# ------------------------------------------------------------------ statistical

def trapped(seed, k=6.0, trap="each", **settings):
    return sims.Brownian(**{"n_particles": 500, "frames": 100, "frames_per_second": 50.0, "trap": trap,
                            "trap_stiffness": k, "box_length": None,
                            "exposure": 0.02, "localisation_error": 0.03, **settings}).run(seed=seed)


def mean_and_limit(values):
    values = np.asarray(values)
    return values.mean(axis=0), student.isf(0.5e-6, len(values) - 1) * values.std(axis=0, ddof=1) / len(values) ** 0.5


@pytest.mark.parametrize(("exposure", "films"), [
    (0.0, 3), (0.02, 3), pytest.param(0.0, 40, marks=pytest.mark.case), pytest.param(0.02, 40, marks=pytest.mark.case)])
def test_stiffness_is_unbiased_with_centres_estimated(exposure, films):
    """500 tracks of 4.9 relaxation times a film: k, D and noise without bias. One film finds k to 3.5 %: 3 films refuse
    12 % (the naive 1/variance about each track's mean is 15 to 50 % too large here), 40 films 4 %."""
    k, found, naive = 6.0, [], []
    for seed in range(films):
        tracks = trapped(seed, k, exposure=exposure)
        fit = fit_traps(Recording.of(tracks, None), shared=False, noise_scale=None, stationary=True)
        stated = np.sqrt(np.diag(fit.covariance)) / np.array([k, D, 1.0])
        assert 0.02 < stated[0] < 0.055
        found.append((fit.stiffness / k, fit.diffusion / D, fit.noise_scale))
        naive.append(1 / (tracks.dense()[0].var(axis=0).mean() - 0.03**2) / k)
    z = (np.mean(found, axis=0) - 1) / stated * films**0.5
    limit = norm.isf(0.5e-6)
    assert (np.abs(z) < limit).all()
    assert np.mean(naive) > 1.12
    assert (np.mean(naive) - 1) / stated[0] * films**0.5 > limit
    assert abs(z[1] + 0.1 / stated[1] * films**0.5) > limit    # planted: D 10 % wrong


def test_one_trap_for_all_and_stated_errors():
    """A shared trap: k within 4 %, and the stated error is the scatter over films within a factor 1.8 (14 films: a
    chi-square of 13 lies between 0.31² and 1.8² of its mean with probability 1 - 1e-4)."""
    k, found, stated, centres = 6.0, [], [], []
    for seed in range(14):
        tracks = trapped(seed, k, "shared", n_particles=100, frames_per_second=10.0)
        fit = fit_traps(Recording.of(tracks, None), shared=True, noise_scale=None, stationary=True)
        found.append(fit.stiffness / k)
        stated.append(fit.covariance[0, 0] ** 0.5 / k)
        assert fit.centres.shape == (1, 2)
        centres.append(fit.centres[0])
    mean, limit = mean_and_limit(found)
    assert abs(mean - 1) < limit < 0.06
    assert 0.4 < np.std(found, ddof=1) / np.mean(stated) < 1.8
    assert np.std(centres, axis=0).max() < 0.1                 # 30 particles with 1/sqrt(6) µm spread


def test_a_relaxing_sample_needs_no_equilibrium():
    """Released 5 standard deviations from the centre: first positions misread as equilibrium make k too small; without
    them it is right (12 films, 12 % seen)."""
    k, n, frames = 6.0, 200, 100
    right, misread = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = np.empty((frames, n, 2))
        x[0] = rng.normal(size=(n, 2)) / k**0.5 + 5 / k**0.5
        a = np.exp(-k * D * 0.02)
        for t in range(1, frames):                             # the exact step
            x[t] = a * x[t - 1] + np.sqrt((1 - a * a) / k) * rng.normal(size=(n, 2))
        seen = x + 0.02 * rng.normal(size=x.shape)
        recording = Recording.simulated(seen, np.full(2, 4e-4), Free(), 0.02, 0.0)
        right.append(fit_traps(recording, shared=True, noise_scale=1.0, stationary=False).stiffness / k)
        misread.append(fit_traps(recording, shared=True, noise_scale=1.0, stationary=True).stiffness / k)
    mean, limit = mean_and_limit(right)
    assert abs(mean - 1) < limit < 0.12
    mean, limit = mean_and_limit(misread)
    assert abs(mean - 1) > limit


def test_known_noise_stays_as_it_is():
    fit = fit_traps(Recording.of(trapped(0, n_particles=60), None), shared=False, noise_scale=1.0, stationary=True)
    assert fit.noise_scale == 1.0
    assert fit.covariance[2, 2] == 0.0
    assert fit.centres.shape == (60, 2)


def test_no_trap_is_said():
    tracks = sims.Brownian(n_particles=40, frames=100, box_length=None).run(seed=0)
    with pytest.raises(ModelError, match="no trap shows"):
        fit_traps(Recording.of(tracks, None), shared=True, noise_scale=None, stationary=False)


def test_too_little_data():
    tracks = trapped(0, n_particles=1, frames=6)
    with pytest.raises(DataError, match="too few"):
        fit_traps(Recording.of(tracks, None), shared=True, noise_scale=None, stationary=True)
