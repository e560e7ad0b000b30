"""What fluctuations and drift of lattice fields tell, and what one of them alone does not. Z: false alarm 1e-6."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.linalg import expm

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.dynamics.gradient_flow import flow_dynamics, ring
from vid2dyn.dynamics.terms.even_kernels import EvenKernels
from vid2dyn.dynamics.terms.landscape import DensityFunction, Landscape
from vid2dyn.fitting.fields import windows
from vid2dyn.fitting.fields.elements import Elements, IncrementMoments, Statistics
from vid2dyn.fitting.fields.fit import _capacity
from vid2dyn.fitting.fields.fluctuations import Design, drift_only, learn
from vid2dyn.rollout.fields import flow
from vid2dyn.simulators.lattice import limits

Z = 4.9
Arrhenius = vd.simulators.Arrhenius
RHO = np.linspace(0.2, 0.8, 25)


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def kac_landscape(J=2.0, reach=20, sites=200):
    """Independent sites that feel a box kernel of finite range (its mean field has m 3 % too low at range 20)."""
    function = DensityFunction(0.03, 0.97, 40)
    rho = np.linspace(0.03, 0.97, 400)
    fit = lambda values: np.linalg.lstsq(function.basis(rho), values, rcond=None)[0]  # noqa: E731
    m = limits.uncorrelated_mobility(rho, (J / (2 * reach),) * reach)
    return Landscape(function, np.append(fit(np.log(m)), -J),
                     np.append(fit(1 / (rho * (1 - rho)) - J), J), EvenKernels(reach, 1, sites))


@pytest.fixture(scope="module")
def far():
    """Bursts of a non-local Kac process: range 20 of 200 sites."""
    return vd.simulate(Arrhenius(sites=200, kac_range=20, kac_strength=2.0, realisations=800, windows=tuple(
        40.0 * k for k in range(1, 7)), starts=((0.5, 0.42, 1), (0.5, 0.42, 2), (0.5, 0.42, 4))), seed=0)


# ------------------------------------------------------------------ long-ranged forces

def test_a_field_with_a_kernel_is_a_gradient_flow_still():
    landscape = kac_landscape()
    rho = 0.5 + 0.3 * np.cos(2 * np.pi * np.arange(40) / 40) + 0.05 * np.random.default_rng(0).normal(size=40)
    # μ is the derivative of F
    h = 1e-5
    slope = np.array([landscape.total(rho + h * e) - landscape.total(rho - h * e) for e in np.eye(40)]) * 40 / (2 * h)
    assert np.allclose(slope, landscape.chemical_potential(rho), atol=1e-8)
    model = flow_dynamics(landscape, 5.0)
    M = model.friction.dense(ring(torch_of(rho)))
    assert (M - M.T).abs().max() < 1e-12 * M.abs().max()
    assert M.sum(dim=0).abs().max() < 1e-12 * M.abs().max()
    path = np.vstack([rho, flow(landscape, rho, np.linspace(0.002, 0.1, 6))])
    assert (np.diff(landscape.total(path)) < 1e-14).all()
    assert np.abs(path.sum(axis=1) - rho.sum()).max() < 1e-12 * 40


def torch_of(rho):
    import torch

    return torch.as_tensor(rho)


def test_divergence_vanishes_with_a_kernel_too():
    friction, h = flow_dynamics(kac_landscape(reach=5, sites=30), 1.0).friction, 1e-5
    rho = np.random.default_rng(2).uniform(0.3, 0.7, 15)
    total = sum((friction.dense(ring(torch_of(rho + h * e))) - friction.dense(ring(torch_of(rho - h * e)))).numpy() @ e
                for e in np.eye(15)) / (2 * h)
    assert np.abs(total).max() < 1e-6 * float(friction.dense(ring(torch_of(rho))).max())


def test_a_non_local_process_needs_its_kernel(far):
    """Decay of a wave shorter than the range: right with the learned kernel, wrong without; K of a profile to 2.5 %.

    Over three seeds the wave that is left is .9 to 1.9 % off, without the kernel 8 to 9 %.
    """
    model, blind = vd.fit(far, vd.GradientFlow(force_range=20, knots=7)), vd.fit(far, vd.GradientFlow(knots=7))
    exact = kac_landscape()
    rho = 0.5 + 0.3 * np.cos(2 * np.pi * 4 * np.arange(200) / 200)
    times = np.array([0.003])
    wave = lambda landscape: abs(np.fft.rfft(flow(landscape, rho, times)[0])[4])      # noqa: E731
    assert wave(model.landscape) == pytest.approx(wave(exact), rel=0.03)
    assert wave(blind.landscape) != pytest.approx(wave(exact), rel=0.06)
    slopes = Elements(200, 10, 1).slopes()
    K = [(slopes * x.face_mobility(rho)[:, None]).T @ slopes for x in (model.landscape, exact)]
    assert relative(*K) < 0.025                                    # 0.3 to 1.4 % on four seeds
    low, high = model.band("kernel", np.array([5]))
    assert low <= model.kernel([5]) <= high


def test_kernels_are_for_models_that_have_one(far):
    local = vd.fit(far, vd.GradientFlow(knots=7))
    with pytest.raises(ModelError, match="force_range"):
        local.kernel([1])
    for wrong in ({"force_range": -1}, {"force_range": 3, "kernel_knots": 5}):
        with pytest.raises(ConfigError):
            vd.GradientFlow(**wrong)
    with pytest.raises(ConfigError, match="half the ring"):
        EvenKernels(50, 2, 100)


# ------------------------------------------------------------------ what one part alone tells

def test_drift_alone_finds_diffusion_and_nothing_else():
    fields = vd.simulate(Arrhenius(sites=200, realisations=1000, starts=((0.5, 0.42, 1), (0.5, 0.42, 2)),
                                   windows=(30.0, 60.0, 100.0, 140.0)), seed=0)
    data = Statistics.of(fields, Elements(200, 20)).without(None)
    bonds, _ = data.profiles()
    blind = drift_only(Design.of(data, DensityFunction(bonds.min(), bonds.max(), 7)))
    exact = limits.exclusion(RHO)
    assert relative(blind.diffusion(RHO), exact.diffusion) < 0.03
    assert relative(blind.mobility(RHO), exact.mobility) > 0.5
    assert relative(blind.second(RHO), exact.curvature) > 0.5


def test_memory_takes_back_part_of_the_hops_of_range_two():
    """(0, 2) at density 1/2: m over the instant mobility is 0.87 on the plateau (0.872 ± 0.008 measured elsewhere)."""
    N, h, kernel, waves = 200, 300.0, (0.0, 2.0), np.arange(1, 4)
    simulator = Arrhenius(sites=N, kernel=kernel, starts=((0.5, 0.0, 1),), realisations=4000, windows=(h,))
    step = np.diff(simulator.run(seed=0).values.astype(float), axis=1)[:, 0]
    seen = (np.abs(np.fft.rfft(step, axis=1)[:, waves]) ** 2).mean(axis=0) / N
    chi = 1 / limits.short_range([0.5], kernel).curvature[0]
    relaxation = 2 - 2 * np.cos(2 * np.pi * waves / N)
    m = -chi * np.log1p(-seen / (2 * chi)) / (relaxation * h)                         # <|ΔY|²> = 2χ(1 - e^(-Dwh))
    ratio = m.mean() / limits.instant_mobility([0.5], kernel)[0]
    error = 1 / (len(step) * len(waves)) ** 0.5
    assert abs(ratio - 0.86) < 0.02 + Z * error * ratio
    assert ratio < 1 - Z * error * ratio


# ------------------------------------------------------------------ networks

@pytest.mark.case
def test_a_network_learns_what_splines_learn(tmp_path):
    """Exclusion, 2,000 bursts: m and D within 6 %, f'' within 8 %, gauge, file; another seed, the same D to 4 %."""
    fields = vd.simulate(Arrhenius(sites=200, realisations=1000, windows=(25.0, 50.0, 75.0, 100.0),
                                   starts=((0.5, 0.42, 1), (0.5, 0.42, 2))), seed=1)
    model = vd.fit(fields, vd.GradientFlow(shape="network", knots=7), seed=0)
    exact = limits.exclusion(RHO)
    for name, truth, most in (("mobility", exact.mobility, 0.06), ("curvature", exact.curvature, 0.08),
                              ("diffusion", exact.diffusion, 0.06)):
        assert relative(getattr(model, name)(RHO), truth) < most, name
        low, high = model.band(name, RHO)
        assert np.mean((low <= truth) & (truth <= high)) > 0.5, name
    middle = 0.5 * sum(model.support)
    assert abs(model.free_energy(middle)) < 1e-12
    assert abs(model.chemical_potential(middle)) < 1e-12
    again = vd.load(model.save(tmp_path / "n.vid2dyn"))
    assert (again.mobility(RHO) == model.mobility(RHO)).all()
    other = vd.fit(fields, vd.GradientFlow(shape="network", knots=7), seed=5)
    assert relative(other.diffusion(RHO), model.diffusion(RHO)) < 0.04
    assert model.rollout(fields, steps=1).values.shape == (2, 2, 200)


# ------------------------------------------------------------------ no bias of its own

def moments_without_noise(elements, starts, width, count, R):
    """What infinitely many realisations of exclusion say: heat equation and Lyapunov equation on the lattice."""
    N, dt = elements.sites, 0.5
    one, i = np.eye(N), np.arange(N)
    lap = np.roll(one, 1, axis=0) - 2 * one + np.roll(one, -1, axis=0)
    U, half = expm(lap * dt), expm(lap * dt / 2)
    gamma, steps = elements.values() / N, round(width / dt)
    long, density, D, covariance = np.linalg.matrix_power(U, steps), [], [], []
    for mean, amplitude, waves in starts:
        rho = mean + amplitude * np.cos(2 * np.pi * waves * i / N)
        C, profiles, found = np.diag(rho * (1 - rho)), [rho], []
        for _ in range(count):
            before = C
            for _ in range(steps):
                bond = 0.5 * ((middle := half @ rho) + np.roll(middle, -1))
                flux = (one - np.roll(one, 1, axis=1)) * np.sqrt(2 * bond * (1 - bond) * dt)
                kick = half @ (flux @ flux.T) @ half.T
                rho, C = U @ rho, U @ C @ U.T + kick
            profiles.append(rho)
            found.append(gamma.T @ (C + before - long @ before - before @ long.T) @ gamma)
        density.append(profiles)
        D.append(np.diff(profiles, axis=0) @ gamma)
        covariance.append(found)
    S = len(starts)
    return IncrementMoments(elements, np.full(count, width / N**2), np.full(S, R), np.array(density), np.array(D),
                   np.array(covariance), np.full(S, 1e-4))


def test_what_is_learned_has_no_bias_of_its_own(monkeypatch):
    """Moments without noise: m to .3 %, D to .1 %; without correlations of long range m is off by .5 % and more."""
    data = moments_without_noise(Elements(120, 12), ((0.5, 0.42, 1), (0.5, 0.42, 2)), 25.0, 6, 5000)
    function = DensityFunction(data.density.min(), data.density.max(), 7, 1.0)
    exact = limits.exclusion(RHO)

    def errors():
        found = learn(Design.of(data, function))
        return relative(found.mobility(RHO), exact.mobility), relative(found.diffusion(RHO), exact.diffusion)

    of_m, of_D = errors()
    assert of_m < 3e-3
    assert of_D < 1e-3
    monkeypatch.setattr(windows.Correlations, "seen_by", lambda self, late: np.zeros((late.shape[1],) * 2))
    assert errors()[0] > 5e-3


@pytest.mark.parametrize("kernels", [None, EvenKernels(15, 2, 120)])
def test_the_linear_flow_is_the_slope_of_the_flow(kernels):
    """Along smooth fields, to 1 in 1,000 (products of waves are cut off); without a term of the kernel 5 % and more."""
    far = kac_landscape(reach=15, sites=120)
    more = (np.append(far.log_mobility[:40], [-1.0, -0.6]), np.append(far.curvature[:40], [0.8, 1.0]))
    landscape = Landscape(far.function, *(c[:40] if kernels is None else c for c in more), kernels)
    x = np.arange(120) / 120
    data = IncrementMoments(Elements(120, 12), np.ones(1), np.ones(1), *[np.zeros(1)] * 4)
    flow_on_ring = windows.Flow(landscape, windows.Ring(data, 72))
    rho = flow_on_ring.ring.of_sites(0.5 + 0.25 * np.cos(2 * np.pi * x))
    push = flow_on_ring.ring.of_sites(np.sin(4 * np.pi * x) + 0.5 * np.cos(6 * np.pi * x))
    h = 1e-4
    slope = (flow_on_ring.rate(rho + h * push) - flow_on_ring.rate(rho - h * push)) / (2 * h)
    assert relative(flow_on_ring.linear(rho) @ push, slope) < 1e-3
    if kernels is not None:
        local = windows.Flow(dataclasses.replace(landscape, kernels=None, log_mobility=more[0][:40],
                                                 curvature=more[1][:40]), flow_on_ring.ring)
        assert relative(local.linear(rho) @ push, slope) > 0.05


def test_free_particles_are_the_measure():
    """Capacity from the counts; f'' = 1/ρ(1-ρ) and m = ρ(1-ρ) are constants of the splines, integrals theirs."""
    function = DensityFunction(0.05, 0.95, 6, 1.0)
    free = Landscape(function, np.zeros(6), np.ones(6))
    rho = np.linspace(0.05, 0.95, 50)
    exact = limits.exclusion(rho)
    assert np.allclose(free.mobility(rho), exact.mobility, rtol=1e-14)
    assert np.allclose(free.second(rho), exact.curvature, rtol=1e-14)
    assert np.allclose(free.potential(rho), np.log(rho / (1 - rho)), atol=1e-12)
    assert np.allclose(free.energy(rho), exact.free_energy + np.log(2), atol=1e-12)
    with pytest.raises(ConfigError, match="capacity 1"):
        DensityFunction(0.05, 1.2, 6, 1.0)
    for values, found in (([[0, 1, 1]], 1.0), ([[0, 2, 1]], np.inf), ([[0.5, 1.0, 0.0]], None), ([[-1, 1, 0]], None)):
        assert _capacity(vd.Fields(np.array([values]), np.zeros(1))) == found
