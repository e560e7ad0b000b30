"""Gradient flows: laws of the dynamics, recovery of exact mobility and free energy, prediction, errors in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.dynamics.gradient_flow import FaceMobility, flow_dynamics, ring
from vid2dyn.dynamics.terms.landscape import DensityFunction, Landscape
from vid2dyn.fitting.fields.elements import Elements, Statistics
from vid2dyn.rollout.fields import flow, fluctuate
from vid2dyn.testing.brackets import whitened_noise_pvalue

RHO = np.linspace(0.15, 0.85, 71)
Arrhenius = vd.simulators.Arrhenius


def landscape_of(mobility, second, low=0.05, high=0.95, knots=40):
    """Exact functions put on a fine spline."""
    function = DensityFunction(low, high, knots)
    rho = np.linspace(low, high, 400)
    B = function.basis(rho)
    fit = lambda values: np.linalg.lstsq(B, values, rcond=None)[0]                    # noqa: E731
    return Landscape(function, fit(np.log(mobility(rho))), fit(second(rho)))


EXCLUSION = landscape_of(lambda r: r * (1 - r), lambda r: 1 / (r * (1 - r)))


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def fields():
    return vd.simulate(Arrhenius(sites=200, realisations=1000, starts=((0.5, 0.42, 1), (0.5, 0.42, 2)),
                                 windows=(15.0, 30.0, 60.0, 100.0, 140.0, 180.0)), seed=0)


@pytest.fixture(scope="module")
def model(fields):
    return vd.fit(fields, vd.GradientFlow(knots=7))


# ------------------------------------------------------------------ laws

def test_mobility_matrix_is_symmetric_positive_and_keeps_mass():
    rho = torch.as_tensor(np.random.default_rng(0).uniform(0.1, 0.9, 17))
    flowing = flow_dynamics(EXCLUSION, 5.0)
    M = flowing.friction.dense(ring(rho))
    assert torch.equal(M, M.T) or (M - M.T).abs().max() < 1e-15 * M.abs().max()
    assert torch.linalg.eigvalsh(M).min() > -1e-12 * M.abs().max()
    assert M.sum(dim=0).abs().max() < 1e-12 * M.abs().max()
    assert flowing.drift(ring(rho)).sum().abs() < 1e-12 * flowing.drift(ring(rho)).abs().max()
    noise = flowing.noise(ring(rho), 1e-4, torch.Generator().manual_seed(0))
    assert noise.sum().abs() < 1e-12 * noise.abs().max()


class Louder(FaceMobility):
    """1 % more noise than the mobility allows."""

    def noise(self, snapshot, generator):
        return 1.01 * super().noise(snapshot, generator)


def test_noise_has_the_covariance_of_the_mobility():
    """Whitened: 1 % in the noise is detected at a false-alarm rate of 1e-6."""
    snapshot = ring(torch.as_tensor(np.random.default_rng(1).uniform(0.2, 0.8, 100)))
    assert whitened_noise_pvalue(FaceMobility(EXCLUSION, 5.0), snapshot) > 1e-6
    assert whitened_noise_pvalue(Louder(EXCLUSION, 5.0), snapshot) < 1e-6


def test_divergence_of_the_mobility_is_zero():
    """Numerically: M depends on the sum of both sides of a face and moves their difference."""
    rho = np.random.default_rng(2).uniform(0.2, 0.8, 6)
    friction = flow_dynamics(EXCLUSION, 1.0).friction

    def dense(values):
        return friction.dense(ring(torch.as_tensor(values))).numpy()

    h, total = 1e-5, np.zeros(6)
    for j in range(6):
        step = np.eye(6)[j] * h
        total += (dense(rho + step)[:, j] - dense(rho - step)[:, j]) / (2 * h)
    assert np.abs(total).max() < 1e-6 * np.abs(dense(rho)).max()
    assert not friction.divergence(ring(torch.as_tensor(rho))).any()


def test_flow_never_gains_free_energy_and_keeps_mass():
    rho = 0.5 + 0.35 * np.cos(2 * np.pi * np.arange(64) / 64) + 0.05 * np.random.default_rng(0).normal(size=64)
    for step in (1e-4, 1e-2):
        path = np.vstack([rho, flow(EXCLUSION, rho, np.linspace(0.01, 0.1, 10), step=step)])
        F = EXCLUSION.energy(path).sum(axis=1)
        assert (np.diff(F) < 1e-13).all()
        assert np.abs(path.sum(axis=1) - rho.sum()).max() < 1e-11


def test_flow_of_exclusion_is_the_heat_equation():
    """D = 1: mode 1 decays at the rate of the discrete Laplacian, second order in the step."""
    n, t = 100, 0.02
    x = np.arange(n) / n
    rho = 0.5 + 0.3 * np.cos(2 * np.pi * x)
    rate = 2 * n**2 * (1 - np.cos(2 * np.pi / n))
    exact = 0.5 + 0.3 * np.exp(-rate * t) * np.cos(2 * np.pi * x)
    errors = [np.abs(flow(EXCLUSION, rho, np.array([t]), step=t / k)[0] - exact).max() for k in (4, 8)]
    assert errors[1] < 2e-3
    assert np.abs(flow(EXCLUSION, rho, np.array([t]))[0] - exact).max() < 3e-4


def test_fluctuating_flow_stays_at_equilibrium():
    """Variance of a cell at rest is 1/(q f''), less what mass conservation takes. Detects 10 %."""
    n, q = 20, 50.0
    rng = np.random.default_rng(0)
    path = fluctuate(EXCLUSION, np.full(n, 0.5), np.linspace(0.05, 20.0, 2000), q, rng)
    assert np.abs(path.sum(axis=1) - 0.5 * n).max() < 1e-9
    expected = 0.25 / q * (1 - 1 / n)
    error = path[100:].reshape(19, -1, n).var(axis=(1, 2)).std(ddof=1) / 19**0.5
    assert abs(path[100:].var() - expected) < 4.9 * error + 0.02 * expected
    assert 4.9 * error + 0.02 * expected < 0.1 * expected


# ------------------------------------------------------------------ recovery

def test_exclusion_comes_back(fields, model):
    """2,000 short bursts of 200 sites: m and f'' within 4 %, D within 3 % (1-2.5, 1.5-2, 1.5 % on three seeds)."""
    exact = Arrhenius().limit(RHO)
    assert relative(model.mobility(RHO), exact.mobility) < 0.04
    assert relative(model.diffusion(RHO), exact.diffusion) < 0.03
    assert relative(model.curvature(RHO), exact.curvature) < 0.04
    assert relative(model.mobility(RHO), 1.1 * exact.mobility) > 0.04
    assert model.report["warnings"] == []


def test_bands_are_of_the_size_of_the_error(model):
    exact = Arrhenius().limit(RHO)
    for name, truth in (("mobility", exact.mobility), ("curvature", exact.curvature), ("diffusion", exact.diffusion)):
        low, high = model.band(name, RHO)
        assert np.mean((low <= truth) & (truth <= high)) > 0.6
        assert np.mean((high - low) / truth) < 0.2
    low, high = model.band("free_energy", RHO)
    assert (low <= model.free_energy(RHO)).all()
    assert (model.free_energy(RHO) <= high).all()
    with pytest.raises(ModelError, match="no band 'viscosity'"):
        model.band("viscosity", RHO)


def test_free_energy_has_the_stated_gauge(model):
    middle = 0.5 * sum(model.support)
    assert abs(model.free_energy(middle)) < 1e-12
    assert abs(model.chemical_potential(middle)) < 1e-12
    h = 1e-4
    f = model.free_energy(np.array([0.4 - h, 0.4, 0.4 + h]))
    assert (f[0] - 2 * f[1] + f[2]) / h**2 == pytest.approx(float(model.curvature(0.4)), rel=1e-4)


def test_prediction_far_beyond_the_training_window(model):
    """An unseen two-bump profile, 100 training windows on: within 1.5 % of the heat equation it has to obey."""
    n = 100
    x = np.arange(n) / n
    rho = 0.45 + 0.2 * np.exp(-((x - 0.3) / 0.08) ** 2) + 0.15 * np.exp(-((x - 0.7) / 0.06) ** 2)
    start = vd.Fields(rho[None, None], np.array([0.0]))
    future = model.rollout(start, steps=5, dt=20 * 180.0 / 200**2 / 100)
    wave = np.fft.rfft(rho)
    rate = 2 * n**2 * (1 - np.cos(2 * np.pi * np.arange(len(wave)) / n))
    for k, t in enumerate(future.times):
        assert relative(future.values[0, k], np.fft.irfft(wave * np.exp(-rate * t), n)) < 0.015
    assert np.abs(future.values.sum(axis=2) - rho.sum()).max() < 1e-10


def test_model_file_and_rollout_of_data(tmp_path, fields, model):
    again = vd.load(model.save(tmp_path / "m.vid2dyn"))
    assert (again.mobility(RHO) == model.mobility(RHO)).all()
    future = again.rollout(fields, steps=2, cells=50, noise=True, seed=1)
    assert future.values.shape == (2, 3, 50)
    assert (future.values == model.rollout(fields, steps=2, cells=50, noise=True, seed=1).values).all()
    assert np.abs(np.ptp(future.values.sum(axis=2), axis=1)).max() < 1e-10


def test_any_split_of_memory_gives_the_same_sums(fields, monkeypatch):
    from vid2dyn.fitting.fields import elements

    whole = Statistics.of(fields, Elements(200, 10), groups=4)
    monkeypatch.setattr(elements, "CHUNK", 50_000)
    parts = Statistics.of(fields, Elements(200, 10), groups=4)
    assert np.allclose(whole.DD, parts.DD, rtol=1e-12)
    assert np.allclose(whole.density, parts.density)


# ------------------------------------------------------------------ what it refuses

def test_errors_say_what_to_do(fields):
    with pytest.raises(DataError, match=r"do not divide 200 cells.*possible"):
        vd.fit(fields, vd.GradientFlow(elements=7))
    with pytest.raises(DataError, match="single time"):
        vd.fit(vd.Fields(fields.values[:, :1], fields.times[:1]))
    with pytest.raises(DataError, match="realisations"):
        vd.fit(vd.Fields(fields.values[:5], fields.times))
    flat = vd.simulate(Arrhenius(sites=60, realisations=200, starts=((0.5, 0.0, 1),), windows=(5.0,)), seed=0)
    with pytest.raises(DataError, match="hardly varies"):
        vd.fit(flat)
    with pytest.raises(DataError, match="learns from trajectories"):
        vd.fit(fields, vd.Brownian())
    tracks = vd.simulate(vd.simulators.Brownian(n_particles=5, frames=5), seed=0)
    with pytest.raises(DataError, match="learns from fields"):
        vd.fit(tracks, vd.GradientFlow())


def test_a_start_beyond_what_was_seen(model):
    with pytest.raises(ModelError, match="has seen"):
        model.rollout(vd.Fields(np.full((1, 1, 50), 1.1), np.array([0.0])), steps=1, dt=0.1)
    with pytest.raises(DataError, match="steps = 0"):
        model.rollout(vd.Fields(np.full((1, 1, 50), 0.5), np.array([0.0])), steps=0, dt=0.1)


def test_settings_out_of_range():
    for wrong in ({"elements": 2}, {"degree": 3}, {"knots": 3}, {"smoothness": -1.0}):
        with pytest.raises(ConfigError):
            vd.GradientFlow(**wrong)


def test_threads_of_the_linear_algebra_do_not_change_a_bit() -> None:
    """The estimator without its limit of one thread gives other last digits on one thread and on two (OpenBLAS)."""
    fields = vd.simulate(vd.simulators.Arrhenius(kernel=(1.0,), sites=100, realisations=100), seed=1)

    def learned(threads: int) -> dict[str, bytes]:
        with threadpool_limits(threads, user_api="blas"):
            model = vd.fit(fields, vd.GradientFlow(), seed=0)
            later = model.rollout(fields, steps=3, dt=0.01)
        return {**{name: value.tobytes() for name, value in model.arrays.items()}, "rollout": later.values.tobytes()}

    assert learned(1) == learned(2)
