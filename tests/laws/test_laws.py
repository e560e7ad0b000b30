"""Exact laws of the friction matrices, potentials and dynamics, on states that hypothesis makes up.

Tolerances are rounding (c · eps · scale); planted errors show that each check can fail.
"""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vid2dyn.data.box import Free, Periodic
from vid2dyn.dynamics.base import FrictionMatrix, Overdamped, Potential, Root
from vid2dyn.dynamics.brownian import brownian_dynamics
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.friction import PairFriction, SolventMobility, Sum
from vid2dyn.dynamics.terms.potentials import HarmonicTrap, PairPotential
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.testing.brackets import (
    FrictionLaws,
    PotentialLaws,
    check_divergence,
    check_friction,
    check_overdamped,
    check_potential,
    random_snapshot,
    standard_states,
)

CUTOFF = 2.0


def gamma(r):
    """A friction coefficient that vanishes at the cutoff, smoothly enough to differentiate its root."""
    return 0.7 * torch.clamp(1 - r / CUTOFF, min=0.0) ** 4


def pair_potential(inner=0.5):
    knots = 12
    return PairPotential(RadialSpline(inner, CUTOFF, knots), 6.0 * np.linspace(1, 0, knots) ** 2 + 0.3, 40.0)


def trap(n, dim):
    return HarmonicTrap(3.0, np.random.default_rng(n).normal(size=(n, dim)))


FRICTIONS = [
    (SolventMobility(0.4), ()),
    (PairFriction(gamma), (0, 1)),
    (Sum(SolventMobility(0.4), PairFriction(gamma)), ()),
    (Sum(PairFriction(gamma), PairFriction(lambda r: 2 * gamma(r))), (0, 1)),
]


@st.composite
def states(draw):
    """1 to 7 particles, free or periodic, 2-D or 3-D; sometimes the first two exactly at the cutoff."""
    n, dim = draw(st.integers(1, 7)), draw(st.sampled_from([2, 3]))
    box = draw(st.sampled_from([Free(), Periodic((4.0,) * dim), Periodic((7.3,) * dim)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    state = random_snapshot(rng, n, dim, cutoff=CUTOFF, box=box, spacing=draw(st.floats(0.7, 2.5)))
    if n > 1 and draw(st.booleans()):
        x = state.position.clone()
        x[1] = x[0]
        x[1, 0] += CUTOFF
        state = Snapshot.of(x, CUTOFF, box, index=torch.arange(n))
    r = state.distance()
    # a jump of a high derivative within one finite-difference step, or two particles in one place, is no law
    return state if not len(r) or float(r.min()) > 0.05 else random_snapshot(rng, 1, dim, box=box)


class TestSolventMobility(FrictionLaws):
    def part(self):
        return SolventMobility(0.4)


class TestPairFriction(FrictionLaws):
    conserved = (0, 1, 2)

    def part(self):
        return PairFriction(gamma)


class TestSum(FrictionLaws):
    def part(self):
        return Sum(SolventMobility(0.4), PairFriction(gamma))


class TestPairPotential(PotentialLaws):
    def part(self, n, dim):
        return pair_potential()


class TestHarmonicTraps(PotentialLaws):
    translation = False

    def part(self, n, dim):
        return trap(n, dim)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(states(), st.sampled_from(FRICTIONS))
@example(random_snapshot(np.random.default_rng(0), 1), FRICTIONS[1])
def test_friction(state, friction):
    check_friction(friction[0], state, friction[1])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(states(), st.sampled_from([0.0, 0.5]))
def test_pair_potential(state, inner):
    check_potential(pair_potential(inner), state)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(states(), st.booleans())
def test_traps(state, own):
    n, dim = state.position.shape
    check_potential(trap(n if own else 1, dim), state, translation=False)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(states(), st.sampled_from(FRICTIONS))
def test_overdamped(state, friction):
    n, dim = state.position.shape
    check_overdamped(Overdamped((pair_potential(), trap(n, dim)), friction[0]), state)


def test_noise_of_the_dynamics_is_the_root_of_twice_M():
    """The same channels, so the draws agree to the last digit: sqrt(2 dt) G xi."""
    state = random_snapshot(np.random.default_rng(1), 6)
    model = brownian_dynamics(0.4, pair_potential())
    draw = model.noise(state, 0.01, torch.Generator().manual_seed(3))
    root = model.friction.noise(state, torch.Generator().manual_seed(3))
    torch.testing.assert_close(draw, (2 * 0.01) ** 0.5 * root, rtol=1e-14, atol=0)


def test_dynamics_without_potentials_or_pairs():
    state = Snapshot.of(torch.zeros(1, 2, dtype=torch.float64), None)
    model = brownian_dynamics(0.4)
    assert float(model.energy(state)) == 0.0
    assert float(model.drift(state).abs().max()) == 0.0
    only_pairs = Overdamped((), PairFriction(gamma))
    assert float(only_pairs.noise(state, 0.1, torch.Generator()).abs().max()) == 0.0


@pytest.mark.parametrize("r", [2.0, 2.0 * (1 - 1e-15), np.nextafter(2.0, 3.0)])
def test_gradient_at_the_cutoff_is_finite_and_zero(r):
    state = Snapshot.of(torch.tensor([[0.0, 0.0], [r, 0.0]], dtype=torch.float64), 3.0)
    assert float(pair_potential().gradient(state).abs().max()) < 1e-12


def test_energy_gradient_and_curvature_agree_with_the_plain_functions():
    """A pair at r: U = phi(r), force -phi'(r), and the second derivative that automatic differentiation gives."""
    phi, h = pair_potential(), 1e-5
    for r in (0.3, 0.6, 1.1, 1.7):
        x = torch.tensor([[0.0, 0.0], [r, 0.0]], dtype=torch.float64, requires_grad=True)
        state = Snapshot.of(x.detach(), 3.0)
        energy = phi.energy(state.at(x))
        (slope,) = torch.autograd.grad(energy, x, create_graph=True)
        (curve,) = torch.autograd.grad(slope[1, 0], x)
        assert float(energy.detach()) == pytest.approx(float(phi.value(np.array(r))), rel=1e-13)
        assert -float(slope[1, 0].detach()) == pytest.approx(float(phi.force(np.array(r))), rel=1e-12)
        numeric = -float(phi.force(np.array(r + h)) - phi.force(np.array(r - h))) / (2 * h)
        assert float(curve[1, 0]) == pytest.approx(numeric, rel=1e-4, abs=1e-4)


# ------------------------------------------------------------------ planted errors

class OneSided(PairFriction):
    """Both ends of a pair are pushed the same way."""

    def root(self, snapshot):
        good = super().root(snapshot)
        return Root(first=good.first, second=-good.second, pairs=good.pairs)


class Leaky(PairFriction):
    """One end gets 5 % more."""

    def root(self, snapshot):
        good = super().root(snapshot)
        return Root(first=good.first, second=1.05 * good.second, pairs=good.pairs)


class Directed(SolventMobility):
    """5 % more mobile along the first axis: isotropy broken."""

    def root(self, snapshot):
        good = super().root(snapshot).node.clone()
        good[:, 0] *= 1.05**0.5
        return Root(node=good)


class Forgotten(PairFriction):
    """The divergence of a state-dependent matrix left out."""

    def divergence(self, snapshot):
        return torch.zeros_like(snapshot.position)


class Backwards(Potential):
    """A gradient of the wrong sign."""

    def energy(self, snapshot):
        return pair_potential().energy(snapshot)

    def gradient(self, snapshot):
        return -super().gradient(snapshot)


class Unequal(Potential):
    """Depends on who is first."""

    def energy(self, snapshot):
        weight = 1 + 0.05 * (torch.arange(len(snapshot.position)) == 0).double()
        return (snapshot.position**2).sum(1) @ weight


@pytest.fixture(scope="module")
def crowd():
    return random_snapshot(np.random.default_rng(2), 6)


@pytest.mark.parametrize(("friction", "law"), [
    (OneSided(gamma), "sum of column"), (Leaky(gamma), "sum of column"), (Directed(0.4), "axes"),
    (Forgotten(gamma), "divergence"),
])
def test_planted_friction_errors_are_found(crowd, friction, law):
    with pytest.raises(AssertionError, match=law):
        check_friction(friction, crowd, () if isinstance(friction, Directed) else (0, 1))


def test_a_matrix_that_is_not_its_root_is_found(crowd):
    class Crooked(SolventMobility):
        def times(self, snapshot, v):
            return 1.05 * super().times(snapshot, v)

    with pytest.raises(AssertionError, match="times"):
        check_friction(Crooked(0.4), crowd)


@pytest.mark.parametrize(("potential", "law"), [(Backwards(), "gradient"), (Unequal(), "order")])
def test_planted_potential_errors_are_found(crowd, potential, law):
    with pytest.raises(AssertionError, match=law):
        check_potential(potential, crowd, translation=False)


def test_a_trap_is_not_translation_invariant(crowd):
    with pytest.raises(AssertionError, match="origin"):
        check_potential(trap(1, 2), crowd)


def test_a_drift_without_divergence_or_with_the_wrong_sign_is_found(crowd):
    class Climbing(Overdamped):
        def drift(self, snapshot):
            return -super().drift(snapshot)

    with pytest.raises(AssertionError, match="drift"):
        check_overdamped(Overdamped((), Forgotten(gamma)), crowd)
    with pytest.raises(AssertionError, match="drift"):
        check_overdamped(Climbing((pair_potential(),), SolventMobility(0.4)), crowd)


def test_the_divergence_of_pair_friction_has_its_closed_form():
    """Two particles: ∇_1·M = gamma' + 2 (dim - 1)/r gamma along the pair, by hand."""
    r = 1.2
    for dim in (2, 3):
        x = torch.zeros(2, dim, dtype=torch.float64)
        x[1, 0] = r
        state = Snapshot.of(x, CUTOFF)
        slope = -4 * 0.7 / CUTOFF * (1 - r / CUTOFF) ** 3
        by_hand = 2 * (slope + (dim - 1) / r * 0.7 * (1 - r / CUTOFF) ** 4)
        found = PairFriction(gamma).divergence(state)
        assert float(found[1, 0]) == pytest.approx(by_hand, rel=1e-12)
        assert float(found[0, 0]) == pytest.approx(-by_hand, rel=1e-12)
        check_divergence(PairFriction(gamma), state)


def test_standard_states_hold_the_corner_cases():
    found = list(standard_states(CUTOFF))
    assert any(len(s.position) == 1 for s in found)
    assert any(len(s.position) == 2 and not len(s.pairs) for s in found)
    assert any(s.box.lengths is not None for s in found)
    assert isinstance(FRICTIONS[0][0], FrictionMatrix)
