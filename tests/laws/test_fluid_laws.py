"""Exact laws of metriplectic fluids: brackets, friction, functions. Tolerances are rounding; planted errors fail."""

import dataclasses

import numpy as np
import pytest
import torch

from vid2dyn.core.errors import ModelError
from vid2dyn.data.box import LeesEdwards, Periodic
from vid2dyn.dynamics.base import Root
from vid2dyn.dynamics.bracket import Bracket
from vid2dyn.dynamics.fluid.friction import FluidFriction, TotalEntropy, bracket
from vid2dyn.dynamics.fluid.sdpd import Fluid, Pairs
from vid2dyn.dynamics.fluid.unconstrained import Unconstrained
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.equations_of_state import Cold, ConvexEnergy, IdealGas, Isothermal
from vid2dyn.dynamics.terms.radial import Kernel, Lucy, LucyWeight, NetRadial, SplineRadial
from vid2dyn.simulators.fluid.sdpd.gas import SDPD
from vid2dyn.testing.brackets import check_friction, whitened_noise_pvalue
from vid2dyn.testing.fluids import (
    check_bracket,
    check_divergence_by_autograd,
    check_equation_of_state,
    check_radial,
    fluid_snapshot,
    fluid_states,
)

CUTOFF = 2.0


def functions(kind, dim):
    """Kernel and pair coefficients of one kind."""
    if kind == "spline":
        return (Kernel(SplineRadial(CUTOFF, knots=6, power=3), dim),
                *(SplineRadial(CUTOFF, knots=5, start=a) for a in (1.5, 0.9, 0.7)))
    if kind == "net":
        made = torch.Generator().manual_seed(3)
        return (Kernel(NetRadial(CUTOFF, width=8, power=3, generator=made), dim),
                *(NetRadial(CUTOFF, width=8, generator=made) for _ in range(3)))
    return (Kernel(Lucy(CUTOFF), dim), *(LucyWeight(CUTOFF, a) for a in (1.5, 0.9, 0.7)))


def equation(kind):
    """Equation of state of one kind around V = 0.8, T = 1."""
    cold = Cold(0.8)
    with torch.no_grad():
        cold.spline.raw.copy_(torch.randn(cold.spline.raw.shape, generator=torch.Generator().manual_seed(1),
                                          dtype=torch.float64))
    if kind == "isothermal":
        return Isothermal(1.4, cold, molecules=2.0)
    if kind == "gas":
        return IdealGas(6.0, 4.0, volume=0.8)
    return ConvexEnergy(kind, temperature=1.0, volume=0.8, volume_width=0.3, cohesion=True)


def fluid(kind="lucy", eos="gas", law="transport", dim=3):
    kernel, *coefficients = functions(kind, dim)
    return Fluid(kernel, equation(eos), *coefficients, mass=1.3, law=law).requires_grad_(False)


KINDS = [("lucy", "gas", "transport", 3), ("spline", "spline", "transport", 2), ("net", "net", "radial", 3),
         ("lucy", "gas", "radial", 2), ("spline", "isothermal", "transport", 2), ("lucy", "isothermal", "radial", 3)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_bracket(kind):
    for state in fluid_states(CUTOFF, kind[3]):
        check_bracket(bracket(fluid(*kind)), state)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_divergence_equals_autograd(kind):
    check_divergence_by_autograd(FluidFriction(fluid(*kind)), fluid_snapshot(np.random.default_rng(3), 8, kind[3]))


class Remembered(FluidFriction):
    """The root of one state, kept: thousands of draws from it cost little."""

    loudness = 1.0

    def root(self, snapshot):
        if not hasattr(self, "kept"):
            self.kept = super().root(snapshot)
        return self.kept

    def noise(self, snapshot, generator):
        return self.loudness * super().noise(snapshot, generator)


@pytest.mark.parametrize("law", ["transport", "radial"])
def test_noise_has_covariance_M(law):
    """False alarm 1e-6; detects 1 % of the amplitude (20 particles, 3-D: 77 directions, 4,000 draws)."""
    state = fluid_snapshot(np.random.default_rng(4), 20)
    assert whitened_noise_pvalue(Remembered(fluid(law=law)), state, draws=4000) > 1e-6


def test_noise_one_percent_too_large_is_found():
    loud = Remembered(fluid())
    loud.loudness = 1.01
    assert whitened_noise_pvalue(loud, fluid_snapshot(np.random.default_rng(4), 20), draws=4000) < 1e-6


# ------------------------------------------------------------------ functions

@pytest.mark.parametrize("kind", ["lucy", "spline", "net"])
@pytest.mark.parametrize("dim", [2, 3])
def test_radial_functions(kind, dim):
    kernel, *coefficients = functions(kind, dim)
    check_radial(kernel, derivatives=2)
    assert float(kernel.integral(dim).detach()) == pytest.approx(1.0, abs=1e-12)
    for f in coefficients:
        check_radial(f, derivatives=1)
        assert float(f.value(torch.linspace(0, CUTOFF, 50, dtype=torch.float64)).min().detach()) >= 0.0


def test_a_kernel_with_a_kink_is_found():
    with pytest.raises(AssertionError, match="too steep"):
        check_radial(Kernel(LucyWeight(CUTOFF), 3), derivatives=2)


@pytest.mark.parametrize("kind", ["gas", "isothermal", "spline", "net"])
def test_equations_of_state(kind):
    rng = torch.Generator().manual_seed(0)
    S = 4 * torch.randn(50, generator=rng, dtype=torch.float64)
    V = 0.8 * torch.exp(0.4 * torch.randn(50, generator=rng, dtype=torch.float64))
    check_equation_of_state(equation(kind), S, V)


def test_a_pressure_of_the_wrong_sign_is_found():
    class Upside(IdealGas):
        def forward(self, S, V):
            good = super().forward(S, V)
            return dataclasses.replace(good, P=-good.P)

    with pytest.raises(AssertionError, match="P is not"):
        check_equation_of_state(Upside(6.0, 4.0), *torch.ones(2, 3, dtype=torch.float64))


def test_convex_energy_is_convex_and_follows_a_gas():
    """T and P of an ideal gas within 2 % over the states a fit would see; the convex part has no other curvature."""
    rng = torch.Generator().manual_seed(2)
    S = 3 * torch.randn(150, generator=rng, dtype=torch.float64)
    V = 0.8 * torch.exp(0.2 * torch.randn(150, generator=rng, dtype=torch.float64))
    gas = IdealGas(15.0, 10.0, volume=0.8)
    for kind in ("spline", "net"):
        learned = ConvexEnergy(kind, temperature=1.0, volume=0.8, volume_width=0.2).fit(gas, S, V, steps=200)
        found, true = learned(S, V), gas(S, V)
        for a, b in ((found.T, true.T), (found.P, true.P)):
            assert float(((a / b - 1) ** 2).mean().sqrt().detach()) < 0.02
        assert float((found.U_SS * found.U_VV - found.U_SV**2).min().detach()) > -1e-9
        assert float(found.P.min().detach()) > 0


def test_a_spline_takes_the_shape_of_a_kernel():
    lucy = Lucy(CUTOFF)
    r = torch.linspace(0, CUTOFF, 200, dtype=torch.float64)
    spline = SplineRadial(CUTOFF, knots=12, power=3).fit(lucy.value)
    assert float((spline.value(r) - lucy.value(r)).abs().max().detach()) < 2e-3


def test_the_ideal_gas_has_the_constants_of_espanol_and_revenga():
    """Friction force in 3-D: (5η/3 - ζ) F v + 5 (ζ + η/3) F e e·v over d_i d_j, whatever the temperatures."""
    eta, zeta = 1.7, 0.6
    gas = Fluid.ideal_gas(cutoff=CUTOFF, mass=1.0, heat_capacity=1e9, molecules=1e-9, shear_viscosity=eta,
                          bulk_viscosity=zeta)
    x = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]], dtype=torch.float64)
    state = Snapshot.of(x, CUTOFF, velocity=v, entropy=torch.tensor([0.0, 4e8], dtype=torch.float64))
    density = gas.density(state)
    s = 0.9 / CUTOFF
    F = 315 / (4 * np.pi * CUTOFF**5) * (1 - s) ** 2
    drag = F / float(density[0] * density[1]) * torch.tensor(
        [(5 * eta / 3 - zeta) * 1 + 5 * (zeta + eta / 3) * 1, (5 * eta / 3 - zeta) * 2, 0.0], dtype=torch.float64)
    found = bracket(gas, kB=0).drift(state)[0, 3:6]
    torch.testing.assert_close(found, drag, rtol=1e-7, atol=1e-12)


# ------------------------------------------------------------------ planted errors

def plant(part):
    """A bracket of the standard fluid with one part exchanged."""
    good = bracket(fluid())
    return Bracket(good.potentials[0], TotalEntropy(), good.poisson, part(fluid()))


class Leaky(FluidFriction):
    """Friction gives 5 % less heat than it takes motion."""

    def root(self, snapshot):
        good = super().root(snapshot)
        first, second = good.first.clone(), good.second.clone()
        first[:, -1, :-1] *= 0.95
        return Root(first=first, second=second, pairs=good.pairs)


class Flipped(FluidFriction):
    """The work of the noise has the wrong sign."""

    def root(self, snapshot):
        good = super().root(snapshot)
        first, second = good.first.clone(), good.second.clone()
        first[:, -1, :-1] *= -1
        second[:, -1, :-1] *= -1
        return Root(first=first, second=second, pairs=good.pairs)


class Pushed(FluidFriction):
    """Action and reaction differ by 1 %."""

    def root(self, snapshot):
        good = super().root(snapshot)
        second = good.second.clone()
        second[:, 0, :] *= 1.01
        return Root(first=good.first, second=second, pairs=good.pairs)


class Undrifted(FluidFriction):
    """The Itô term that cools particles is 5 % short."""

    def divergence(self, snapshot):
        good = super().divergence(snapshot).clone()
        good[:, -1] *= 0.95
        return good


@pytest.mark.parametrize(("part", "law"), [(Leaky, "M ∇E"), (Flipped, "M ∇E"), (Pushed, "M ∇E"),
                                           (Undrifted, "divergence")])
def test_planted_errors_are_found(part, law):
    with pytest.raises(AssertionError, match=law):
        check_bracket(plant(part), fluid_snapshot(np.random.default_rng(5), 6))


def test_a_reaction_one_percent_short_is_found():
    with pytest.raises(AssertionError, match="sum of column"):
        check_friction(Pushed(fluid()), fluid_snapshot(np.random.default_rng(5), 6), (0, 1, 2))


def test_the_baseline_keeps_none_of_the_laws():
    """It has the same faces; momentum and energy are not kept, which is what it is for."""
    state = fluid_snapshot(np.random.default_rng(6), 6)
    baseline = Unconstrained(CUTOFF, width=8).requires_grad_(False)
    drift = baseline.drift(state).detach()
    assert drift.shape == (6, 7)
    assert float(drift[:, 3:6].sum(0).abs().max()) > 1e-3
    assert whitened_noise_pvalue(baseline.friction, state) > 1e-6
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    renamed = Snapshot.of(state.position[order], CUTOFF, velocity=state.velocity[order], entropy=state.entropy[order])
    torch.testing.assert_close(baseline.drift(renamed).detach(), drift[order], rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------ corner cases

def test_coincident_pair_is_refused():
    x = torch.zeros(2, 3, dtype=torch.float64)
    state = Snapshot.of(x, CUTOFF, velocity=x, entropy=x[:, 0])
    with pytest.raises(ModelError, match="Particles 0 and 1 are in one place"):
        bracket(fluid()).drift(state)


def test_functions_with_different_cutoffs_are_refused():
    kernel, shear, bulk, _ = functions("lucy", 3)
    with pytest.raises(ModelError, match="heat ends at 1, the kernel at 2"):
        Fluid(kernel, equation("gas"), shear, bulk, LucyWeight(1.0))


def test_impossible_viscosities_are_refused():
    with pytest.raises(ModelError, match="at most 1"):
        Fluid.ideal_gas(cutoff=1.0, mass=1.0, heat_capacity=5.0, molecules=3.0, bulk_viscosity=2.0)


def test_relative_velocities_cross_a_sheared_wall():
    """The flow v_x = rate · y rubs alike inside and across the wall: no particle is special."""
    box = LeesEdwards((6.0, 6.0), shear_rate=0.5, strain=0.3)
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.uniform(0, 6, (40, 2)))
    v = torch.zeros_like(x)
    v[:, 1] = 0.5 * x[:, 0]
    gas = Fluid.ideal_gas(cutoff=CUTOFF, mass=1.0, heat_capacity=9.0, molecules=6.0, dim=2)
    state = Snapshot.of(x, CUTOFF, box, velocity=v, entropy=torch.zeros(40, dtype=torch.float64))
    w = state.relative_velocity()
    torch.testing.assert_close(w[:, 1], 0.5 * state.separation()[:, 0], rtol=1e-12, atol=1e-12)
    climbed = x.clone()
    climbed[:7, 0] += 6.0
    climbed[:7, 1] += box.offset
    u = v.clone()
    u[:7, 1] += box.velocity_jump
    other = Snapshot.of(climbed, CUTOFF, box, velocity=u, entropy=state.entropy)
    a, b = bracket(gas, kB=0).drift(state)[:, 2:], bracket(gas, kB=0).drift(other)[:, 2:]
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_gradients_reach_every_parameter_and_are_finite():
    """A loss on the drift trains all functions; pairs at the cutoff and lonely particles give no NaN."""
    kernel, *coefficients = functions("spline", 3)
    learned = Fluid(kernel, equation("spline"), *coefficients)
    x = fluid_snapshot(np.random.default_rng(7), 6).position
    x = torch.cat([x, x.new_tensor([[100.0, 0, 0], [100.0 + CUTOFF * (1 - 1e-16), 0, 0], [200.0, 0, 0]])])
    state = Snapshot.of(x, CUTOFF, velocity=torch.sin(x), entropy=torch.cos(x[:, 0]))
    generator = torch.Generator().manual_seed(0)
    loss = (learned.forces(state) ** 2).sum() + (FluidFriction(learned).noise(state, generator) ** 2).sum() \
        + (FluidFriction(learned).divergence(state) ** 2).sum()
    loss.backward()
    for name, parameter in learned.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_frozen_tables_are_the_model():
    learned = fluid("net", "gas", "transport")
    frozen = learned.freeze((-8.0, 8.0), (-2.0, 1.5))
    r = np.linspace(0, 1.1 * CUTOFF, 333)
    for name in ("kernel", "shear", "bulk", "heat"):
        value, slope = frozen.radial(name, r)
        v, s = getattr(learned, name)(torch.as_tensor(r))
        assert np.abs(value - v.numpy()).max() < 1e-9
        assert np.abs(slope - s.numpy()).max() < 1e-6
    rng = np.random.default_rng(0)
    S, V = rng.uniform(-8, 8, 300), np.exp(rng.uniform(-2, 1.5, 300))
    U, T, P = frozen.energy(S, V)
    true = learned.eos(torch.as_tensor(S), torch.as_tensor(V))
    for a, b, tolerance in ((U, true.U, 1e-8), (T, true.T, 1e-6), (P, true.P, 1e-6)):
        assert np.abs(a / b.numpy() - 1).max() < tolerance
    with pytest.raises(ModelError, match="outside the frozen table"):
        frozen.energy(np.array([9.0]), np.array([1.0]))
    assert (frozen.temperature_power, frozen.volume_power) == (1, 1)


def test_periodic_pairs_feel_each_other_through_the_wall():
    gas = fluid()
    x = torch.tensor([[0.2, 0.0, 0.0], [5.8, 0.0, 0.0]], dtype=torch.float64)
    state = Snapshot.of(x, CUTOFF, Periodic((6.0,) * 3), velocity=x, entropy=x[:, 0] * 0)
    assert float(gas.forces(state)[0, 0]) > 0 > float(gas.forces(state)[1, 0])


@pytest.mark.parametrize("dim", [2, 3])
def test_the_ideal_gas_is_the_witness(dim):
    """Kernel, equation of state and pair coefficients of the simulator, which is written apart, to rounding."""
    witness = SDPD(dim=dim, coefficients="constant")
    mine = Fluid.ideal_gas(cutoff=witness.cutoff, mass=witness.mass, heat_capacity=witness.heat_capacity, dim=dim,
                           molecules=witness.atoms, temperature=witness.kT, volume=witness.volume0,
                           shear_viscosity=witness.shear_viscosity, bulk_viscosity=witness.bulk_viscosity,
                           conductivity=witness.conductivity)
    rng = np.random.default_rng(0)
    r, S = rng.uniform(0.01, 0.19, 40), 10 * rng.normal(size=40)
    V = witness.volume0 * np.exp(0.3 * rng.normal(size=40))
    value, slope = mine.kernel(torch.as_tensor(r))
    np.testing.assert_allclose(value, witness.kernel(r), rtol=1e-10)
    np.testing.assert_allclose(slope, witness.kernel_slope(r), rtol=1e-10)
    state = mine.eos(torch.as_tensor(S), torch.as_tensor(V))
    np.testing.assert_allclose(state.T, witness.temperature(S, V), rtol=1e-12)
    np.testing.assert_allclose(state.P, witness.pressure(S, V), rtol=1e-12)
    np.testing.assert_allclose(state.U, witness.internal_energy(S, V), rtol=1e-12)
    d, T = 1 / V, state.T
    pairs = Pairs(torch.arange(20), torch.arange(20, 40), torch.as_tensor(r[:20]), torch.zeros(20, dim))
    found = mine.coefficients(pairs, state, torch.as_tensor(d))
    A2, B2, C2 = witness.pair_coefficients(r[:20], T[:20].numpy(), T[20:].numpy(), d[:20], d[20:])
    np.testing.assert_allclose(found.across, A2 / 2, rtol=1e-10)
    np.testing.assert_allclose(found.along, A2 * (1 - 1 / dim) + B2 / dim, rtol=1e-10)
    np.testing.assert_allclose(found.heat, C2, rtol=1e-10)
