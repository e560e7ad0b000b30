"""Likelihood of a fluid with hidden entropy: slopes, first law, gauge, and what the entropy must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from vid2dyn.data.box import Free, Periodic
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.dynamics.terms.convex_net import start_units
from vid2dyn.dynamics.terms.gas import gas_state
from vid2dyn.dynamics.terms.harmonic_trap import HarmonicTrap
from vid2dyn.encoders.entropy import invariants, shrunk, start_of
from vid2dyn.inference import density as fluid_density
from vid2dyn.inference import entropy_filter, sums
from vid2dyn.inference import step as fluid_step
from vid2dyn.inference.fluid_window import FluidWindow
from vid2dyn.inference.geometry import StepGeometry
from vid2dyn.inference.score import sweep
from vid2dyn.inference.start import carried_entropy
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

GAS = SDPD(n_particles=64, dim=2, box_length=0.6, frames=16, flow="taylor_green", flow_speed=15.0, equilibration=5,
           substeps=4)
KNOTS = 3


def fluid_numbers(power: int = 1) -> FluidNumbers:
    """A fluid near the simulated one."""
    layout = Layout(2, 0.2, 0.5, GAS.volume0, KNOTS, power)
    across, along = GAS.fluid.alpha, GAS.fluid.alpha + GAS.fluid.beta
    size = 12 * layout.kernel_norm / 0.2**2 * (1.0 if power else GAS.volume0**2)
    A2 = size * 2 * across * np.linspace(1.0, 0.3, KNOTS + 3)
    B2 = size * 2 * (along - across) * np.linspace(1.0, 0.3, KNOTS + 3)
    kappa = 2 * GAS.conductivity * 0.4 * size
    return FluidNumbers(np.concatenate([[0.1, 1 / 50, 35.0, 0.2, 1.0, 2.0, kappa, 0.0], A2, B2]), layout)


@pytest.fixture(scope="module")
def data() -> FluidSteps:
    return FluidSteps.of(GAS.run(seed=3), 0.2)


@pytest.mark.parametrize("power", [1, 0])
def test_score_is_the_slope_of_the_log_likelihood(data, power, monkeypatch):
    """Of one step, in every number; 2,000 probes leave 1.5 % of the largest term of each slope (5 standard errors)."""
    monkeypatch.setattr(fluid_step, "PROBES", 2000)
    monkeypatch.setattr(fluid_step, "TOLERANCE", 1e-10)
    numbers = fluid_numbers(power)
    layout, theta = numbers.layout, numbers.vector
    start = np.random.default_rng(0).normal(size=data.n) * 4
    score = sweep(data, numbers, start, until=1).score[0]
    information = sweep(data, numbers, start, until=1, information_every=1).information

    def value(t: np.ndarray) -> float:
        found = sweep(data, numbers.at(t), start, slopes=False, likelihood_of=range(1), until=1).log_likelihood
        return float(found[0])

    for k in range(layout.size):
        step = np.zeros(layout.size)
        step[k] = 1e-4 * max(abs(theta[k]), 0.1)
        slope = (value(theta + step) - value(theta - step)) / (2 * step[k])
        # the probes' error is that of a draw of the score over the root of their number
        error = np.sqrt(information[k, k] / 2000)
        assert abs(score[k] - slope) <= 5 * error + 2e-3 * np.sqrt(information[k, k]), layout.names[k]
        # conduction acts from the second step on; all others are seen in the first
        assert information[k, k] > 0 or layout.names[k] == "C²"


SINGLE_STEPS = {
    # log-likelihood of steps 0, 7, 14; standard deviation of the last S; sum of |score|; trace of the information
    1: (-148.834387298, -151.969733746, -159.989822647, 2.87699950239, 3608.63374638, 120556.922005),
    0: (-144.474380945, -140.100286742, -155.151611311, 2.41509163384, 1707.20429785, 76694.2238727)}
"""What the likelihood of single steps was before there were windows (of these data and `fluid_numbers`)."""


@pytest.mark.parametrize("power", [1, 0])
def test_windows_of_one_step_are_the_single_steps(data, power):
    numbers = fluid_numbers(power)
    start = np.random.default_rng(0).normal(size=data.n) * 4
    found = sweep(data.in_windows(1), numbers, start, information_every=2, likelihood_of=range(15))
    assert found.log_likelihood is not None
    values = (*found.log_likelihood[[0, 7, 14]], found.entropy[-1].std(), np.abs(found.score).sum(),
              np.trace(found.information))
    assert np.allclose(values, SINGLE_STEPS[power], rtol=1e-9, atol=0)


@pytest.mark.parametrize("frames", [2, 4])
def test_score_of_a_window_is_the_slope_of_its_log_likelihood(data, frames, monkeypatch):
    """As above, with 0.7 of the noise shown. Slopes of the radial numbers in the heat that is carried inside the window
    are left out, as from step to step: 0.1 standard deviations."""
    monkeypatch.setattr(fluid_step, "PROBES", 1000)
    monkeypatch.setattr(fluid_step, "TOLERANCE", 1e-10)
    numbers, data = fluid_numbers(), data.in_windows(frames, 0.7)
    layout, theta = numbers.layout, numbers.vector
    start = np.random.default_rng(0).normal(size=data.n) * 4
    found = sweep(data, numbers, start, until=frames, information_every=1)

    def value(t: np.ndarray) -> float:
        one = sweep(data, numbers.at(t), start, slopes=False, likelihood_of=range(1), until=frames).log_likelihood
        return float(one[0])

    for k in range(layout.size):
        step = np.zeros(layout.size)
        step[k] = 1e-4 * max(abs(theta[k]), 0.1)
        slope = (value(theta + step) - value(theta - step)) / (2 * step[k])
        deviation = np.sqrt(found.information[k, k])
        left_out = 0.1 if k >= layout.thermal else 2e-3
        assert abs(found.score[0, k] - slope) <= (5 / np.sqrt(1000) + left_out) * deviation, layout.names[k]


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_noise_of_a_window_has_the_rank_of_one_window(data, frames):
    """What noise says of all ln T together is the slope of log p in the size of C, (x·C x - rank)/2, in windows of any
    length. Planted: every step with a rank of its own, which lets windows be ever surer that temperatures are lower."""
    numbers = fluid_numbers()
    cold = np.zeros(data.n), np.zeros((numbers.layout.thermal, data.n)), np.ones(len(fluid_step.MODES))
    steps = tuple(fluid_step.evaluate_state(StepGeometry.of(data, t, numbers.layout), numbers, *cold)
                  for t in range(frames))
    window = FluidWindow(steps, np.sum([step.residual() for step in steps], axis=0), 0.7)
    x, rank = window.solve(window.residual), data.dim * (data.n - 1)
    i, j, _ = window.ends
    size = float((np.stack(window.noise) * sums.squares(*window.ends, x[i] - x[j])).sum())

    def told(shares: list[np.ndarray]) -> float:
        return sum(float(entropy_filter._noise_slopes(step, x, 0.7, one).sum())
                   for step, one in zip(steps, shares, strict=True))

    assert told(entropy_filter._shares(window)) == pytest.approx(0.5 * (size - rank), rel=1e-9)
    planted = told([entropy_filter._shares(FluidWindow((step,), step.residual()))[0] for step in steps])
    assert planted == pytest.approx(0.5 * (size - frames * rank), rel=1e-9)


@pytest.mark.parametrize("frames", [1, 4])
def test_kinetic_energy_lost_is_heat_gained(data, frames):
    """Without pressure and at one temperature T, T dS of all particles is exactly what motion loses."""
    numbers, data = fluid_numbers(), data.in_windows(frames)
    absent = (Thermal.SOFTNESS, Thermal.BEND, Thermal.COLD_PRESSURE, Thermal.COLD_STIFFNESS, Thermal.CONDUCTION)
    theta = numbers.vector.copy()
    theta[[*absent, Thermal.MOLECULES]] = 0.0
    S = carried_entropy(data, FluidNumbers(theta, numbers.layout.without(*absent)), np.zeros(data.n))
    peculiar = data.velocity - data.velocity.mean(axis=1, keepdims=True)
    kinetic = 0.5 * 0.5 * (peculiar**2).sum(axis=(1, 2))
    heat = np.exp(numbers.log_temperature) * S.sum(axis=1)
    assert np.allclose(heat[1:-1] - heat[:-2], kinetic[:-2] - kinetic[1:-1], atol=2e-5 * kinetic[0] / len(kinetic))


@pytest.mark.parametrize("factor", [10.0, 0.1, 1e-3])
def test_loss_does_not_fall_when_entropy_shrinks(data, factor):
    """S -> aS, kB -> a kB, T -> T/a leaves every drift as it is; kB being 1, only the noise could change: and loses."""
    numbers = fluid_numbers()
    start = np.random.default_rng(1).normal(size=data.n)
    theta, scaled = numbers.vector, numbers.vector.copy()
    scaled[Thermal.LOG_TEMPERATURE] -= np.log(factor)
    scaled[Thermal.SOFTNESS] /= factor
    scaled[Thermal.MOLECULES] *= factor

    def loss(t: np.ndarray, s: np.ndarray) -> tuple[float, np.ndarray]:
        found = sweep(data, numbers.at(t), s, slopes=False, likelihood_of=range(1), until=1)
        return -float(found.log_likelihood[0]), found.entropy[0]

    before, S = loss(theta, start)
    after, larger = loss(scaled, factor * start)
    # in front of both, the mean of S is half a kB below S of the mean energy
    S, larger = S + 0.5, larger + 0.5
    assert np.allclose(larger, factor * S)
    V = np.full(data.n, 0.005)
    state, other = (gas_state(numbers.at(t).gas, s, V, numbers.layout.volume)
                    for t, s in ((theta, S), (scaled, larger)))
    assert np.allclose(other.T * factor, state.T)
    assert after > before + 0.1 * data.n


def test_nothing_is_gained_by_shrinking_entropy_alone(data):
    """The likelihood knows S through T and P only: shrinking what is carried, with U(S) as it is, loses."""
    numbers = fluid_numbers()
    start = np.zeros(data.n)
    best = sweep(data, numbers, start, slopes=False, likelihood_of=range(1), until=1).log_likelihood.sum()
    for factor in (10.0, 0.1, 1e-3):
        shift = numbers.vector.copy()
        shift[Thermal.LOG_TEMPERATURE] -= np.log(factor)
        found = sweep(data, numbers.at(shift), start, slopes=False, likelihood_of=range(1), until=1).log_likelihood
        assert found.sum() < best - 0.1 * data.n


def relabelled(data: FluidSteps, order: np.ndarray) -> FluidSteps:
    return FluidSteps(data.position[:, order], data.velocity[:, order], data.dt, data.box, data.cutoff)


def test_entropy_is_the_same_under_other_names_axes_origin_and_motion(data):
    """Rounding only, over 15 steps."""
    numbers = fluid_numbers()
    S = carried_entropy(data, numbers, np.zeros(data.n))
    order = np.random.default_rng(2).permutation(data.n)
    found = carried_entropy(relabelled(data, order), numbers, np.zeros(data.n))
    assert np.allclose(found, S[:, order], atol=1e-8)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = FluidSteps(data.position @ quarter.T, data.velocity @ quarter.T, data.dt, data.box, data.cutoff)
    assert np.allclose(carried_entropy(turned, numbers, np.zeros(data.n)), S, atol=1e-8)
    time = data.dt * np.arange(len(data.position))[:, None, None]
    drifting = FluidSteps(data.position + 0.3 + 5.0 * time, data.velocity + 5.0, data.dt, data.box, data.cutoff)
    assert np.allclose(carried_entropy(drifting, numbers, np.zeros(data.n)), S, atol=1e-7)


def test_encoder_knows_no_names_directions_origin_or_common_motion():
    rng = np.random.default_rng(4)
    x, v = rng.uniform(0, 3, (300, 2)), rng.normal(size=(300, 2)) * (1 + rng.uniform(0, 3, (300, 1)))
    S = start_of(x, v, Free(), 0.8, 1.0, 0.05, "local")
    assert S.std() > 0.1
    order = rng.permutation(300)
    assert np.allclose(start_of(x[order], v[order], Free(), 0.8, 1.0, 0.05, "local"), S[order], atol=1e-10)
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = start_of(x @ turn.T + 2.0, v @ turn.T + 3.0, Free(), 0.8, 1.0, 0.05, "local")
    assert np.allclose(moved, S, atol=1e-9)


def test_encoder_sees_density_and_takes_flow_out():
    """The same points closer together are denser; a shear ten times the thermal motion leaves the temperature."""
    rng = np.random.default_rng(5)
    x, v = rng.uniform(0, 6, (2000, 2)), rng.normal(size=(2000, 2))
    thin, dense = invariants(x, v, Free(), 1.0), invariants(0.9 * x, v, Free(), 1.0)
    assert dense.log_volume.mean() < thin.log_volume.mean() - 0.1
    sheared = invariants(x, v + x @ np.array([[0.0, 20.0], [0.0, 0.0]]), Free(), 1.0)
    assert np.allclose(sheared.temperature, thin.temperature, rtol=1e-6, equal_nan=True)
    # 4,000 freedoms counted several times: 3 % is 4 standard errors
    assert abs(np.nanmean(thin.temperature) - 1) < 0.05
    # at even temperature what is seen of it is mostly its own error
    assert np.abs(shrunk(thin)).mean() < 0.1


def test_entropy_of_a_hot_region_is_found():
    rng = np.random.default_rng(6)
    x = rng.uniform(0, 6, (2000, 2))
    hot = x[:, 0] > 3
    v = rng.normal(size=x.shape) * np.where(hot, 1.5, 1.0)[:, None]
    S = start_of(x, v, Periodic((6.0, 6.0)), 1.0, 1.0, 1 / 20, "local")
    inside, outside = S[(x[:, 0] > 4) & (x[:, 0] < 5)].mean(), S[(x[:, 0] > 1) & (x[:, 0] < 2)].mean()
    # c ln(2.25) = 16 kB, shrunk a little; from 300 particles each side to about 1 kB
    assert 11 < inside - outside < 18


def test_marginal_likelihood_leaves_out_only_correlations(data, monkeypatch):
    """Of the same order as the exact one, within what particles share with their neighbours."""
    numbers = fluid_numbers()
    exact = sweep(data, numbers, np.zeros(data.n), slopes=False, likelihood_of=range(2), until=2).log_likelihood
    monkeypatch.setattr(fluid_density, "DENSE", 0)
    marginal = sweep(data, numbers, np.zeros(data.n), slopes=False, likelihood_of=range(2), until=2).log_likelihood
    assert (np.abs(exact - marginal) / data.n < 0.6).all()


def test_forces_and_friction_are_those_of_the_fluid(data):
    """The estimator's forces and friction against `Fluid`, which the rollouts are made of."""
    import torch

    from vid2dyn.dynamics.fluid.functions import fluid_of
    from vid2dyn.dynamics.fluid.sdpd import Pairs
    from vid2dyn.dynamics.snapshot import Snapshot

    numbers = fluid_numbers()
    geometry = StepGeometry.of(data, 0, numbers.layout)
    S = np.random.default_rng(7).normal(size=data.n) * 3
    step = fluid_step.evaluate_state(geometry, numbers, S, np.zeros((numbers.layout.thermal, data.n)))
    # the mean place over the step given both velocities, and entropies with half of the heat that friction is to give
    v, after = data.velocity[:2]
    x = torch.as_tensor(data.position[0] + 0.5 * data.dt * v + data.dt * (after - v) / 6)
    assert np.abs(step.middle.S - S).max() > 0
    S = torch.as_tensor(step.middle.S)
    snapshot = Snapshot.of(x, 0.2, data.box, velocity=torch.as_tensor(v), entropy=S)
    fluid = fluid_of(numbers)
    forces = fluid.forces(snapshot).detach().numpy()
    assert np.allclose(forces, step.forces, rtol=1e-9, atol=1e-9 * np.abs(step.forces).max())
    thermo = fluid.thermo(snapshot)
    assert np.allclose(thermo.T.detach().numpy(), step.middle.T, rtol=1e-12)
    pairs = Pairs.of(snapshot)
    K = fluid.coefficients(pairs, thermo, fluid.density(snapshot))
    soft = step.middle.gas.softness
    i, j = geometry.ends[:2]
    unresolved = 1 / (1 + 0.25 * (soft[i] + soft[j]))
    order = np.lexsort((j, i))
    theirs = np.lexsort((pairs.second.numpy(), pairs.first.numpy()))
    for name, ours in (("across", step.middle.across / unresolved), ("along", step.middle.along / unresolved)):
        assert np.allclose(getattr(K, name).detach().numpy()[theirs], ours[order], rtol=1e-9)


def test_equation_of_state_is_that_of_its_energy():
    import torch

    from vid2dyn.dynamics.terms.gas import Gas
    from vid2dyn.testing.fluids import check_equation_of_state

    S, V = torch.linspace(-20, 20, 9, dtype=torch.float64), torch.linspace(0.5, 1.6, 9, dtype=torch.float64)
    for bend in (0.0, 0.3, -0.2):
        check_equation_of_state(Gas(1.3, 1 / 40, 20.0, 1.0, bend=bend, cold=(1.0, 2.0)), S, V)
        theta = np.array([np.log(1.3), 1 / 40, 20.0, bend, 1.0, 2.0])
        found = gas_state(theta, S.numpy(), V.numpy(), 1.0)
        exact = Gas(1.3, 1 / 40, 20.0, 1.0, bend=bend, cold=(1.0, 2.0))(S, V)
        for ours, theirs in ((found.T, exact.T), (found.P, exact.P), (found.T_S, exact.U_SS), (found.P_S, -exact.U_SV)):
            assert np.allclose(ours, theirs)
        for k in range(6):
            step = np.zeros(6)
            step[k] = 1e-6
            high, low = (gas_state(theta + sign * step, S.numpy(), V.numpy(), 1.0) for sign in (1, -1))
            assert np.allclose(found.T_of[k], (high.T - low.T) / 2e-6, rtol=1e-6, atol=1e-8)
            assert np.allclose(found.P_of[k], (high.P - low.P) / 2e-6, rtol=1e-6, atol=1e-7)
            assert np.allclose(found.softness_of[k], (high.softness - low.softness) / 2e-6, rtol=1e-6, atol=1e-8)


def test_layout_names_and_parts():
    numbers = fluid_numbers()
    layout = numbers.layout
    assert len(layout.names) == layout.size == len(numbers.vector)


# ------------------------------------------------------------------ a net, and energies beside it

def wider_numbers() -> FluidNumbers:
    """The same fluid with a net of two units and a harmonic trap of three numbers."""
    before = fluid_numbers()
    layout = Layout(2, 0.2, 0.5, GAS.volume0, KNOTS, 1, units=2, forces=3)
    units = start_units(2) + np.array([0.3, -0.2, 0.1, -0.1, 0.2, -0.3, 0.2, 0.4])
    vector = before.vector.copy()
    vector[Thermal.BEND] = 0.0
    return FluidNumbers(np.concatenate([vector[:8], units, vector[8:], [30.0, 2.0, -1.0]]), layout)


def test_score_of_a_net_and_of_a_trap_is_the_slope_of_the_log_likelihood(data, monkeypatch):
    """As above, in the thermal numbers, those of the net and those of the trap; the push of the trap as a whole, which
    only the total momentum sees, is checked by its own term."""
    monkeypatch.setattr(fluid_step, "PROBES", 2000)
    monkeypatch.setattr(fluid_step, "TOLERANCE", 1e-10)
    numbers = wider_numbers()
    layout, theta = numbers.layout, numbers.vector
    data = data.with_further([HarmonicTrap(origin=(0.3, 0.3), size=0.3)])
    start = np.random.default_rng(0).normal(size=data.n) * 4
    score = sweep(data, numbers, start, until=1).score[0]
    information = sweep(data, numbers, start, until=1, information_every=1).information

    def value(t: np.ndarray) -> float:
        found = sweep(data, numbers.at(t), start, slopes=False, likelihood_of=range(1), until=1).log_likelihood
        return float(found[0]) + of_momentum(t)

    def of_momentum(t: np.ndarray) -> float:
        geometry = StepGeometry.of(data, 0, layout)
        total = (geometry.momentum - data.dt * np.tensordot(t[layout.further], geometry.force_slopes, 1)).sum(axis=0)
        return float(-0.5 * total @ total / variance)

    S, slopes = numbers.entropy_at(start, np.log(StepGeometry.of(data, 0, layout).volume / layout.volume))
    step = fluid_step.evaluate_state(StepGeometry.of(data, 0, layout), numbers, S, slopes, np.ones(4))
    _, variance = step.total_momentum()
    for k in (*range(5), *np.arange(layout.size)[layout.net], *np.arange(layout.size)[layout.further]):
        if k == Thermal.BEND:
            continue
        by = np.zeros(layout.size)
        by[k] = 1e-4 * max(abs(theta[k]), 0.1)
        slope = (value(theta + by) - value(theta - by)) / (2 * by[k])
        error = np.sqrt(information[k, k] / 2000)
        assert abs(score[k] - slope) <= 5 * error + 2e-3 * np.sqrt(information[k, k]), layout.names[k]
        assert information[k, k] > 0, layout.names[k]


def test_even_temperature_of_a_net_at_any_volume():
    """S at which a net has the temperature of σ at V0, and its slopes in every number."""
    numbers = wider_numbers()
    layout = numbers.layout
    sigma, x = np.linspace(-20, 20, 5), np.linspace(-0.3, 0.4, 5)
    S, slopes = numbers.entropy_at(sigma, x)
    V = layout.volume * np.exp(x)
    assert np.allclose(numbers.state(S, V).T, numbers.state(sigma, np.full(5, layout.volume)).T, rtol=1e-10)
    for k in range(layout.thermal):
        by = np.zeros(layout.size)
        by[k] = 1e-5 * max(abs(numbers.vector[k]), 0.1)
        high, low = (numbers.at(numbers.vector + side * by).entropy_at(sigma, x)[0] for side in (1, -1))
        assert np.allclose(slopes[k], (high - low) / (2 * by[k]), rtol=1e-5, atol=1e-6), layout.names[k]


def test_forces_from_outside_are_balanced_in_every_group():
    """Pair noise says nothing of what moves a connected group as a whole."""
    rng = np.random.default_rng(8)
    x = np.concatenate([rng.uniform(0, 0.3, (6, 2)), rng.uniform(2.0, 2.3, (4, 2)), [[9.0, 9.0]]])
    position, velocity = np.stack([x, x]), rng.normal(size=(2, 11, 2)) * 1e-3
    apart = FluidSteps(position, velocity, 1e-3, Free(), 0.6)
    geometry = StepGeometry.of(apart, 0, Layout(2, 0.6, 1.0, 0.1, 3, 1))
    rows = geometry.balanced(rng.normal(size=(3, 11, 2)))
    assert np.abs(rows[:, :6].sum(axis=1)).max() < 1e-14
    assert np.abs(rows[:, 6:10].sum(axis=1)).max() < 1e-14
    assert np.abs(rows[:, 10]).max() == 0.0
