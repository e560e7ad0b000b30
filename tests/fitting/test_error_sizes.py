"""How large error bars are: closed forms on fixed draws, planted moments, and many cheap seeds.

An error bar that is 29 % too small passes any test that asks whether the truth is within five of them. Here the size
itself is asked for: exactly, where a formula gives it; else by the mean square of (found - true)/error over 200
seeds, which is 1 + 2/ν for ν degrees of freedom with a standard deviation of √(2/200); limits are 4.9 of these (false
alarm 1e-6), and errors 29 % low (mean square 2) lie beyond them.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.analysis import estimates
from vid2dyn.analysis.displacements import Displacements
from vid2dyn.analysis.energy_budget import thermodynamics
from vid2dyn.analysis.stress_tensor import Stress
from vid2dyn.fitting.brownian import free_or_trapped, indirect
from vid2dyn.fitting.brownian.design import ForceMoments
from vid2dyn.fitting.brownian.likelihood import FreeDiffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.regression import regularised, sandwich, shrunk_covariance
from vid2dyn.fitting.brownian.rounds import Round
from vid2dyn.fitting.fields import rounds as field_rounds
from vid2dyn.fitting.particles.motion_checks import motion_temperature
from vid2dyn.inference.steps import FluidSteps

SEEDS = 200
LIMIT = 4.9 * math.sqrt(2 / SEEDS)
"""Of the mean square of (found - true)/error about 1, α = 1e-6."""


def free_tracks(seed: int, particles: int = 40, frames: int = 12, D: float = 0.5, sigma: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(size=(frames, particles, 2)) * math.sqrt(2 * D * 0.01), axis=0)
    return path + sigma * rng.normal(size=path.shape)


def recording(seed: int, **settings: float) -> Recording:
    path = free_tracks(seed, **settings)                                                   # type: ignore[arg-type]
    tracks = vd.Trajectories.from_dense(path, vd.Units(1.0, 100.0, exposure=0.0), sigma=0.03)
    return Recording.of(tracks, None)


# ------------------------------------------------------------------ jackknife

def test_the_jackknife_of_a_mean_is_its_standard_error(monkeypatch):
    """Of a mean over groups of equal size the jackknife is their standard deviation over √n, exactly."""
    def mean_square(some: Recording, noise_scale: float | None = None) -> FreeDiffusion:
        dx = some.position[some.steps + 1] - some.position[some.steps]
        return FreeDiffusion(float((dx**2).mean()), float(dx.mean()))

    monkeypatch.setattr(free_or_trapped, "free_diffusion", mean_square)
    one = recording(0)
    found = free_or_trapped.jackknife(one, None, groups=20)
    dx = one.position[one.steps + 1] - one.position[one.steps]
    group = one.track[one.steps] % 20
    for value, numbers in ((found.diffusion, dx**2), (found.noise_scale, dx)):
        means = np.array([numbers[group == g].mean() for g in range(20)])
        assert value == pytest.approx(means.std(ddof=1) / math.sqrt(20), rel=1e-10)


def test_the_jackknife_of_fields_is_the_covariance_of_a_mean():
    rows = np.random.default_rng(1).normal(size=(10, 3))
    others = [np.delete(rows, g, axis=0).mean(axis=0) for g in range(10)]
    np.testing.assert_allclose(field_rounds.jackknife(others), np.cov(rows.T) / 10, rtol=1e-12)


def test_errors_of_free_diffusion_are_as_large_as_its_scatter():
    """200 films of 40 particles and 12 frames without noise; the error of 20 groups has 19 degrees of freedom."""
    scores = []
    for seed in range(SEEDS):
        one = recording(seed)
        value = free_or_trapped.free_diffusion(one, 0.0).diffusion
        scores.append((value - 0.5) / free_or_trapped.jackknife(one, 0.0).diffusion)
    expected = 1 + 2 / 17
    for low, right in ((1.0, True), (1 / math.sqrt(2), False)):
        assert (abs(float(np.mean(np.square(scores))) / low**2 - expected) < LIMIT * expected) is right


# ------------------------------------------------------------------ covariance-based D and noise

def test_diffusion_and_its_error_by_covariances():
    """D of 200 films with strong noise (s² = D dt): its mean against D, and its mean square score.

    Where noise is strong, the covariance at lag one carries as much as the mean square: with a weight of .95, planted
    here on the result, D would be 5 % of s²/dt too large.
    """
    s2, dt, D = 0.5 * 0.01, 0.01, 0.5
    found = []
    for seed in range(SEEDS):
        path = free_tracks(seed, particles=30, frames=40, sigma=math.sqrt(s2))
        seen = Displacements.of(vd.Trajectories.from_dense(path, vd.Units(1.0, 1 / dt, exposure=0.0)), remove=False)
        result = estimates.covariance(seen.covariances(), 2, dt, 0.0)
        found.append((result.D[-1], result.D_stderr[-1]))
    values, errors = np.array(found).T
    for weight, right in ((1.0, True), (0.95, False)):
        score = float((values.mean() + (1 - weight) * s2 / dt - D) / (values.std(ddof=1) / math.sqrt(SEEDS)))
        assert (abs(score) < 4.9) is right
    square = float(np.mean(((values - D) / errors) ** 2))
    for low, right in ((1.0, True), (1 / math.sqrt(2), False)):
        assert (abs(square / low**2 - 1) < LIMIT) is right


# ------------------------------------------------------------------ pair forces

def test_few_replicas_widen_the_covariance_by_student():
    """In one dimension: half the sample variance, widened by (n - 1)/(n - 3), and half the same as it is."""
    draws = np.random.default_rng(3).normal(size=(8, 1)) * 2.0
    variance = float(draws.var(ddof=1))
    found = float(shrunk_covariance(draws, np.eye(1))[0, 0])
    assert found == pytest.approx(variance * 0.5 * (1 + 7 / 5), rel=1e-12)


def test_the_posterior_of_a_smoothing_prior_is_scatter_and_bias():
    """K A K + λ K P K = K for K = (A + λP)⁻¹: what the prior takes away is as much as the noise leaves out."""
    rng = np.random.default_rng(5)
    root = rng.normal(size=(6, 4))
    A, P, smoothness = root.T @ root, np.diag([1.0, 2.0, 3.0, 4.0]), 0.7
    K = np.linalg.inv(regularised(A, P, smoothness))
    D, dt = 0.4, 0.02
    unit = 2 / (D * dt)                                          # of the noise of b, by Girsanov's formula
    parameters = SimpleNamespace(diffusion=np.array([D]), penalty=lambda: P, coefficients=np.ones(4))
    auxiliary = SimpleNamespace(diffusions=np.ones((8, 1)), noises=np.ones((8, 1)), slowing=np.ones(1))
    noise = np.linalg.cholesky(K @ A @ K * unit)
    # eight replicas whose covariance is that of the noise, exactly; the factor of Student is taken off
    draws = np.linalg.qr(rng.normal(size=(8, 5)) - 0.0)[0]
    draws = draws - draws.mean(axis=0)
    draws = np.linalg.qr(draws)[0][:, :4] * math.sqrt(7)
    student = 0.5 * (1 + 7 / 5)
    response = SimpleNamespace(smoothing=smoothness * K @ P @ K, distortion=np.eye(4), sampling=noise @ noise.T,
                               naive=draws @ noise.T / math.sqrt(student), auxiliary=[auxiliary])
    problem = SimpleNamespace(share=1.0, interval=dt, seen=SimpleNamespace(A=A), recordings=[SimpleNamespace(
        synthetic=SimpleNamespace(share=1.0), free=(None,))])
    found = indirect._scatter(problem, response, parameters, None)                        # type: ignore[arg-type]
    np.testing.assert_allclose(found.covariance, unit * K, rtol=1e-9, atol=1e-9 * unit * np.abs(K).max())


def test_a_round_has_the_same_prior():
    """Covariance without simulations: scatter over blocks, the same bias, and the last change as one error."""
    rng = np.random.default_rng(6)
    blocks = ForceMoments(np.tile(np.eye(3), (12, 1, 1)), rng.normal(size=(12, 3)))
    P, smoothness, D, dt = np.diag([1.0, 2.0, 4.0]), 3.0, 0.4, 0.02
    K = np.linalg.inv(regularised(blocks.A, P, smoothness))
    change = np.array([0.1, -0.2, 0.3])
    done = Round(SimpleNamespace(diffusion=np.array([D])), None, np.eye(3), change, 0.1,  # type: ignore[arg-type]
                 smoothness)
    expected = K @ sandwich(blocks, K @ blocks.B) @ K + 2 * smoothness / (D * dt) * K @ P @ K
    np.testing.assert_allclose(done.covariance(blocks, P, dt), expected + np.outer(change, change), rtol=1e-12)


# ------------------------------------------------------------------ fluids

def test_the_error_of_a_viscosity_is_that_of_sixteen_blocks():
    values = np.random.default_rng(2).normal(size=160)
    stress = np.zeros((160, 2, 2))
    stress[:, 1, 0] = 3.0 * values
    found = Stress(np.arange(160.0), stress, 0 * stress, 0 * stress, shear_rate=3.0)
    blocks = values.reshape(16, 10).mean(axis=1)
    value, error = found.viscosity()
    assert value == pytest.approx(values.mean(), rel=1e-12)
    assert error == pytest.approx(blocks.std(ddof=1) / 4, rel=1e-12)
    scores = []
    for seed in range(SEEDS):
        stress[:, 1, 0] = 3.0 * np.random.default_rng([2, seed]).normal(size=160)
        value, error = Stress(np.arange(160.0), stress, 0 * stress, 0 * stress, shear_rate=3.0).viscosity()
        scores.append(value / error)
    assert abs(float(np.mean(np.square(scores))) - 15 / 13) < 15 / 13 * LIMIT


def thermal(seed: int, n: int, frames: int, kT: float, mass: float, dim: int = 2) -> vd.Trajectories:
    """Positions on a grid, velocities drawn anew in every frame, their sum zero."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(frames, n, dim)) * math.sqrt(kT / mass)
    v -= v.mean(axis=1, keepdims=True)
    x = np.broadcast_to(rng.uniform(0, 1, (n, dim)), v.shape)
    made = vd.Trajectories.from_dense(x, vd.Units(1.0, 100.0), velocity=v, box=vd.Periodic((1.0,) * dim))
    return made.replace(dataframe=made.dataframe.assign(entropy=1.0))


@pytest.mark.parametrize("n", [2, 5])
def test_the_kinetic_temperature_counts_the_freedoms_that_are_left(n):
    """N particles without common motion have (N - 1) dim freedoms: 4,000 frames of N = 2 and 5 give kT within 4.9 of
    its error, √(2/(freedoms · frames)); N in place of N - 1 is off by half and by a fifth."""
    kT, mass, frames = 2.0, 0.5, 4000
    tracks = thermal(n, n, frames, kT, mass)
    error = math.sqrt(2 / (2 * (n - 1) * frames))
    parts = (FluidSteps.of(tracks, 0.3),)
    found, stated = motion_temperature(parts, np.array([mass]))
    assert abs(found / kT - 1) < 4.9 * error
    assert abs(found * (n - 1) / n / kT - 1) > 4.9 * error
    assert 0.9 * error < stated < 3 * error, "that of a series, of which nobody knows that it forgets at once"


def test_the_kinetic_temperature_of_a_budget():
    """The same of the thermodynamics of a gas: twice the kinetic energy over (N - 1) dim."""
    gas = vd.simulators.SDPD(n_particles=16, dim=2, box_length=0.6, frames=3, equilibration=2, mass=0.5)
    budget = thermodynamics(gas.run(seed=0), gas)
    np.testing.assert_allclose(budget.kinetic_temperature, 2 * budget.kinetic / (2 * 15), rtol=1e-12)
