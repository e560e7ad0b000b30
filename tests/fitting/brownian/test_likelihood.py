"""The likelihood of noisy, blurred tracks: against dense normal densities, and on simulated truth.

Statistical tests average over many independent particles or seeds; false alarm 1e-6 a comparison, error detected as
said, with a planted error beside it.
"""

import numpy as np
import pytest
from scipy.linalg import expm, solve_triangular
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student

from vid2dyn import simulators as sims
from vid2dyn.core.errors import DataError
from vid2dyn.data.box import Free
from vid2dyn.dynamics.snapshot import neighbour_pairs
from vid2dyn.dynamics.terms.potentials import PairPotential
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian import likelihood
from vid2dyn.fitting.brownian.evidence import force_and_stiffness
from vid2dyn.fitting.brownian.likelihood import _free_sweep, _sweep, free_diffusion, residuals
from vid2dyn.fitting.brownian.recording import Recording

D, DT = 0.405, 0.01
Z = norm.isf(0.5e-6)


def free(seed=0, **settings):
    return sims.Brownian(**{"n_particles": 5, "frames": 200, "box_length": None, **settings}).run(seed=seed)


def tridiagonal(follows, diagonal, off):
    """Dense covariance of one axis from its diagonal and the covariance with the step before."""
    C = np.diag(diagonal)
    for k in np.flatnonzero(follows):
        C[k, k - 1] = C[k - 1, k] = off[k]
    return C


# ------------------------------------------------------------------ exact

@pytest.mark.parametrize("R", [0.0, 0.05, 1 / 6])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 5.0])
def test_the_sweep_is_a_dense_normal_density(R, ratio):
    rng = np.random.default_rng(0)
    m = 9
    follows = np.array([False, True, True, False, True, True, True, False, True])
    before = rng.uniform(0.5, 2, (m, 2))
    after = rng.uniform(0.5, 2, (m, 2))
    after[:-1][follows[1:]] = before[1:][follows[1:]]         # the end of a step is the start of the next
    dx = rng.normal(size=(m, 2))
    loss, unit = _free_sweep(dx, follows, before, after, R, ratio)

    def density(size):
        return sum(multivariate_normal.logpdf(dx[:, c], np.zeros(m), size * tridiagonal(
            follows, 1 - 2 * R + ratio * (before[:, c] + after[:, c]), R - ratio * before[:, c])) for c in range(2))

    n = dx.size
    assert -0.5 * n * (loss + np.log(2 * np.pi)) == pytest.approx(density(unit), rel=1e-12)
    assert density(unit) > max(density(1.01 * unit), density(0.99 * unit))       # the best overall factor
    assert density(1.05 * unit) != pytest.approx(density(unit), rel=1e-6)


@pytest.mark.parametrize("exposure", [0.0, 0.01])
def test_residuals_are_whitened_by_the_dense_cholesky_factor(exposure):
    """One particle, anisotropic stiffness: covariance built from the formulas of the module as one big matrix."""
    rng = np.random.default_rng(1)
    m, k, tracks = 5, np.array([[6.0, 2.0], [2.0, 3.0]]), 3       # the same track three times: ten steps are asked for
    x = rng.normal(size=(m + 1, 2)) * 0.3
    variance = rng.uniform(0.5, 2, (m + 1, 2)) * 1e-3
    scale = 1.7
    rows = tracks * (m + 1)
    recording = Recording(np.tile(x, (tracks, 1)), np.arange(rows) % (m + 1), np.arange(rows) // (m + 1),
                          np.tile(variance, (tracks, 1)), np.ones(rows), np.zeros((rows, 2)), Free(), 0.05, exposure,
                          np.flatnonzero(np.arange(rows) % (m + 1) < m))
    force = -recording.position @ k
    found = residuals(recording, force, np.broadcast_to(k, (*force.shape, 2)), D, scale)
    J = expm(-D * 0.05 * k)
    V = np.linalg.solve(k, np.eye(2) - J @ J)
    R = exposure / 0.3
    C = np.zeros((2 * m, 2 * m))
    r = np.zeros(2 * m)
    for q in range(m):
        here, noise = slice(2 * q, 2 * q + 2), scale * np.diag(variance[q])
        C[here, here] = (1 - 2 * R) * V + J @ noise @ J.T + scale * np.diag(variance[q + 1])
        if q:
            last = slice(2 * q - 2, 2 * q)
            C[last, here] = R * V - noise @ J.T
            C[here, last] = C[last, here].T
        r[here] = x[q + 1] - J @ x[q]                        # mean of an Ornstein-Uhlenbeck step about zero
    white = solve_triangular(np.linalg.cholesky(C), r, lower=True)
    np.testing.assert_allclose(found.white[:m].ravel(), white, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.white[m: 2 * m], found.white[:m], rtol=1e-12)
    assert found.log_likelihood[:m].sum() == pytest.approx(multivariate_normal.logpdf(r, np.zeros(2 * m), C), rel=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_sweep_of_blocks_is_a_dense_normal_density(dim):
    """Steps of a stretch that are correlated, of one, two and three axes; the second step starts anew."""
    rng = np.random.default_rng(dim)
    m, R = 6, 0.1
    root = rng.normal(size=(m, dim, dim)) * 0.3
    V = np.eye(dim) + root @ root.transpose(0, 2, 1)
    J = np.eye(dim) + 0.2 * rng.normal(size=(m, dim, dim))
    noise = rng.uniform(0.2, 0.5, (m + 1, dim))
    follows = np.arange(m) > 1
    r = rng.normal(size=(m, dim))
    white, log_likelihood, possible = _sweep(r, follows, J, V, noise[:-1], noise[1:], R)
    assert possible == m
    C = np.zeros((m, dim, m, dim))
    for k in range(m):
        C[k, :, k] = (1 - 2 * R) * V[k] + J[k] @ np.diag(noise[k]) @ J[k].T + np.diag(noise[k + 1])
        if follows[k]:
            C[k - 1, :, k] = R * 0.5 * (V[k - 1] + V[k]) - np.diag(noise[k]) @ J[k].T
            C[k, :, k - 1] = C[k - 1, :, k].T
    C = C.reshape(m * dim, m * dim)
    np.testing.assert_allclose(white.ravel(), solve_triangular(np.linalg.cholesky(C), r.ravel(), lower=True), rtol=1e-9,
                               atol=1e-12)
    assert log_likelihood.sum() == pytest.approx(multivariate_normal.logpdf(r.ravel(), np.zeros(m * dim), C), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_block_that_is_not_positive_stands_alone_and_an_impossible_one_is_said(dim):
    V, J = np.broadcast_to(np.eye(dim), (2, dim, dim)).copy(), np.zeros((2, dim, dim))
    after = np.full((2, dim), 0.3)
    after[1, -1] = -1.5                                                # an eigenvalue of -0.5
    before = np.full((2, dim), 2.0)
    white, _, possible = _sweep(np.ones((2, dim)), np.array([False, False]), J, V, before, after, 0.0)
    assert possible == 2
    np.testing.assert_allclose(white[0], 1.3**-0.5)
    np.testing.assert_allclose(white[1, -1], (1.0 + 2.0 - 1.5) ** -0.5)        # V and the noise of both ends
    before[1, -1] = 0.4                                                # now even that is negative
    assert _sweep(np.ones((2, dim)), np.array([False, False]), J, V, before, after, 0.0)[2] == 1


def test_a_covariance_that_is_not_positive_is_an_error():
    recording = Recording.of(free(n_particles=2, frames=12), None)
    n = len(recording.position)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        residuals(recording, np.zeros((n, 2)), np.zeros((n, 2, 2)), D, np.nan)


def test_force_and_stiffness_are_derivatives_of_the_energy():
    rng = np.random.default_rng(3)
    x = np.stack(np.meshgrid(np.arange(3), np.arange(3)), -1).reshape(-1, 2) * 0.8 + rng.uniform(-0.1, 0.1, (9, 2))
    pair = PairPotential(RadialSpline(0.4, 2.0, 16), 5 * np.linspace(1, 0, 16) ** 2)

    def forces(x):
        recording = Recording.simulated(np.stack([x, x]), np.ones(2), Free(), DT, 0.0)
        force, hessian = force_and_stiffness(recording, pair, 2.0, np.zeros_like(recording.position))
        return force[::2], hessian[::2]

    def energy(x):
        i, j = neighbour_pairs(x, 2.0, Free()).T
        return pair.value(np.linalg.norm(x[i] - x[j], axis=1)).sum() + (x**2).sum()

    force, hessian = forces(x)
    h = 1e-5
    for i, c in ((0, 0), (4, 1), (8, 0)):
        up, down = x.copy(), x.copy()
        up[i, c] += h
        down[i, c] -= h
        assert force[i, c] == pytest.approx(-(energy(up) - energy(down)) / (2 * h), rel=2e-4, abs=2e-4)
        slope = -(forces(up)[0][i] - forces(down)[0][i]) / (2 * h)
        np.testing.assert_allclose(hessian[i, c], slope, rtol=2e-2, atol=0.05)


# ------------------------------------------------------------------ statistical

@pytest.mark.parametrize("exposure", [0.0, 0.01])
@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_free_diffusion_recovers_D_and_noise(exposure, gaps):
    """24 films of 9 particles x 2000 frames (the mean step of fewer than ten particles is not taken out); error of
    the mean about 0.4 %: a D 3 % wrong is refused, and noise variance wrong by 10 %."""
    sigma = 0.04
    found = []
    for seed in range(24):
        tracks = free(seed, n_particles=9, frames=2000, exposure=exposure, localisation_error=sigma,
                      localisation_scatter=0.3, gap_probability=gaps)
        fit = free_diffusion(Recording.of(tracks, None))
        found.append((fit.diffusion, fit.noise_scale))
    values = np.array(found)
    limit = student.isf(0.5e-6, 23)
    error = values.std(axis=0, ddof=1) / 24**0.5

    def right(D_true, scale):
        return (np.abs(values.mean(axis=0) - [D_true, scale]) < limit * error).all()

    assert right(D, 1.0)
    assert not right(1.03 * D, 1.0)
    assert not right(D, 1.1)


def test_free_diffusion_at_high_precision():
    """100 particles x 250 frames x 6 films, the frames' means taken out: 3 % of D is refused, and so is a mean step
    taken out without counting it (1 - 1/N) at N = 12."""
    fits = [free_diffusion(Recording.of(free(seed, n_particles=100, frames=250, exposure=0.01,
                                             localisation_error=0.03), None)) for seed in range(6)]
    D_found = np.mean([f.diffusion for f in fits])
    # Cramer-Rao of 6 x 100 x 250 x 2 numbers, blur and noise included: 0.35 %
    assert abs(D_found / D - 1) < 0.0035 * Z
    assert abs(1.03 * D_found / D - 1) > 0.0035 * Z
    few = [free_diffusion(Recording.of(free(seed, n_particles=12, frames=400), None), 1e-9) for seed in range(10)]
    ratio = np.mean([f.diffusion for f in few]) / D
    error = np.sqrt(2 / (10 * 12 * 400 * 2))
    assert abs(ratio - 1) < Z * error
    assert abs(ratio * (1 - 1 / 12) - 1) > Z * error


def test_a_common_drift_does_not_count():
    path = np.cumsum(np.sqrt(2 * D * DT) * np.random.default_rng(0).normal(size=(300, 40, 2)), axis=0)
    stated = np.full(2, 1e-6)
    still = free_diffusion(Recording.simulated(path, stated, Free(), DT, 0.0), 1.0)
    moving = path + 0.05 * np.sin(np.arange(300))[:, None, None]
    shaken = free_diffusion(Recording.simulated(moving, stated, Free(), DT, 0.0), 1.0)
    assert shaken.diffusion == pytest.approx(still.diffusion, rel=1e-9)


def test_known_noise_is_used_as_it_stands():
    """With the noise known D is found from fewer numbers; a noise variance stated 30 % too large shows in D."""
    recording = Recording.of(free(3, n_particles=100, frames=200, localisation_error=0.06), None)
    right, wrong = (free_diffusion(recording, scale).diffusion for scale in (1.0, 1.3))
    error = 0.01                                              # numbers: 40,000, noise as large as a step
    assert abs(right / D - 1) < Z * error
    assert abs(wrong / D - 1) > Z * error
    assert free_diffusion(recording, 1.0).noise_scale == 1.0


def test_the_known_noise_maximum_is_a_maximum():
    recording = Recording.of(free(3, localisation_error=0.05, exposure=0.01), None)
    zero = np.zeros_like(recording.position)
    flat = np.zeros((*zero.shape, 2))

    def likelihood(diffusion, scale):
        return residuals(recording, zero, flat, diffusion, scale).log_likelihood.sum()

    known = free_diffusion(recording, 0.9)
    assert likelihood(known.diffusion, 0.9) > max(likelihood(f * known.diffusion, 0.9) for f in (0.99, 1.01))
    both = free_diffusion(recording)
    best = likelihood(both.diffusion, both.noise_scale)
    assert all(best > likelihood(a * both.diffusion, b * both.noise_scale)
               for a in (0.98, 1.0, 1.02) for b in (0.97, 1.0, 1.03) if (a, b) != (1.0, 1.0))


def test_residuals_of_the_truth_are_white():
    """Traps with blur and noise: chi2 = 1 and lag1 = 0; 5 % of the noise variance or of D is refused."""
    k, sigma = 6.0, 0.03
    tracks = free(5, n_particles=150, frames=300, trap="each", trap_stiffness=k, exposure=0.01,
                  localisation_error=sigma)
    recording = Recording.of(tracks, None)
    truth = np.asarray(tracks.info["truth"]["centres"])
    centre = truth[recording.track]
    force, hessian = force_and_stiffness(recording, None, k, centre)

    def off(diffusion, scale):
        said = residuals(recording, force, hessian, diffusion, scale).calibration()
        return max(abs(said["chi2"] - 1) / said["chi2_stderr"], abs(said["lag1"]) / said["lag1_stderr"])

    assert off(D, 1.0) < Z
    assert off(1.05 * D, 1.0) > Z
    assert off(D, 1.15) > Z


def test_held_out_steps_break_the_stretch():
    recording = Recording.of(free(1), None)
    zero, flat = np.zeros_like(recording.position), np.zeros((*recording.position.shape, 2))
    keep = np.ones(len(recording.steps), dtype=bool)
    keep[50] = False
    found = residuals(recording, zero, flat, D, 1.0, keep)
    assert len(found.white) == keep.sum()
    assert not found.follows[50]
    assert not found.follows[0]


def test_too_few_displacements_are_refused():
    with pytest.raises(DataError, match="at least 10"):
        free_diffusion(Recording.of(free(0, n_particles=1, frames=5), None))


@pytest.mark.parametrize("settings", [{}, {"exposure": 0.01}, {"localisation_error": 0.06}, {"stuck_share": 0.3},
                                      {"hurst": 0.35}, {"swim_speed": 5.0, "rotational_diffusion": 3.0}])
def test_a_part_of_the_steps_says_where_to_look_and_not_what_is_found(settings, monkeypatch):
    """To the last bit what the whole grid gives, as the bracket is the same and checked on all steps."""
    tracks = sims.Departures(**{"n_particles": 60, "frames": 100, "diffusion": 0.4, "spacing": 2.0, **settings}).run(0)
    recording = Recording.of(tracks, None)
    assert len(recording.steps) > likelihood.PARTS * likelihood.LEAST_PART
    asked = []
    original = likelihood._lowest_of_some
    monkeypatch.setattr(likelihood, "_lowest_of_some", lambda *a: asked.append(original(*a)) or asked[-1])
    quick = free_diffusion(recording)
    monkeypatch.setattr(likelihood, "_lowest_of_some", lambda *a: None)
    assert free_diffusion(recording) == quick
    assert asked[0] is not None
    monkeypatch.setattr(likelihood, "_lowest_of_some", lambda *a: 3)               # a wrong hint is found out
    assert free_diffusion(recording) == quick
