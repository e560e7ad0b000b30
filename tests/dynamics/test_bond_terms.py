"""Terms of a solid: they know nothing of how it is turned, and keep the laws that every energy and friction keeps."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from vid2dyn import terms
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.data.box import Free
from vid2dyn.dynamics.assembly import bracket, freeze
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import Configuration, Scene
from vid2dyn.dynamics.terms.bonds import Bonds
from vid2dyn.testing import TermContract
from vid2dyn.testing.brackets import check_friction, check_potential, random_snapshot, whitened_noise_pvalue

REACH = 2.0
ENERGIES: list[Any] = [terms.BondEnergy(cutoff=1.8), terms.NodeVolume(cutoff=1.8), terms.DeformationEnergy(cutoff=1.9)]


def solid(n: int = 12, dim: int = 2, seed: int = 0) -> Snapshot:
    """Nodes about 0.9 µm apart, moved by up to a tenth from where they were at rest."""
    rng = np.random.default_rng(seed)
    rest = random_snapshot(rng, n, dim, cutoff=REACH).position
    x = rest + torch.as_tensor(rng.uniform(-0.1, 0.1, rest.shape))
    v = torch.as_tensor(rng.normal(size=rest.shape))
    return Snapshot.of(x, REACH, index=torch.arange(n), velocity=v,
                       entropy=x.new_zeros(n)).with_reference(rest, REACH)


def settled(term: Any, state: Snapshot) -> tuple[Any, np.ndarray]:
    at = Configuration.of_snapshot(state)
    term = term.settled(Scene(at.dim, Free(), ("",), 1.0, 0.01, np.array([0.5]), at.position.min(axis=0),
                              at.position.max(axis=0), (at,)))
    return term, np.random.default_rng(1).uniform(0.2, 1.0, term.count)


@pytest.mark.parametrize("term", ENERGIES, ids=lambda t: type(t).__name__)
def test_energy_does_not_know_how_the_solid_is_turned(term: Any) -> None:
    state = solid()
    one, theta = settled(term, state)
    potential = one.potential(theta)
    energy = float(potential.energy(state))
    assert energy > 1e-4
    for angle in (0.3, 1.7, 3.1):
        turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float64)
        turned = state.at(state.position @ turn.T + torch.tensor([3.0, -2.0], dtype=torch.float64))
        assert abs(float(potential.energy(turned)) - energy) < 1e-12 * energy
    rest = state.at(state.column("reference"))
    assert float(potential.energy(rest)) < 1e-24
    assert float(potential.gradient(rest).abs().max()) < 1e-13


@pytest.mark.parametrize("term", ENERGIES, ids=lambda t: type(t).__name__)
def test_energies_keep_the_laws_of_potentials(term: Any) -> None:
    state = solid()
    one, theta = settled(term, state)
    check_potential(one.potential(theta), state)


def test_dashpots_keep_the_laws_of_friction() -> None:
    for dim in (2, 3):
        state = solid(9, dim)
        one, theta = settled(terms.BondDashpot(cutoff=1.8), state)
        check_friction(one.matrix(theta, 1.3, 0.7), state, conserved=tuple(range(dim)))


def test_noise_of_dashpots_has_covariance_M() -> None:
    """False alarm 1e-6; detects 2 % of the amplitude."""
    state = solid(12)
    one, theta = settled(terms.BondDashpot(cutoff=1.8), state)
    assert whitened_noise_pvalue(one.matrix(theta, 1.3, 0.7), state) > 1e-6


def test_bracket_conserves_energy_and_makes_entropy() -> None:
    """M ∇E = 0, and without noise dE/dt = 0 and dS/dt > 0; pair friction of now may stand beside dashpots."""
    state = solid()
    energies = [settled(term, state) for term in ENERGIES]
    frictions = [settled(terms.BondDashpot(cutoff=1.8), state),
                 settled(terms.PairFriction(cutoff=1.8, knots=5), state), settled(terms.SubstrateFriction(), state)]
    dynamics = bracket(energies, frictions, kT=0.7, mass=1.3)
    dynamics.kB = 0.0
    slope = dynamics.potentials[0].gradient(state, dynamics.columns)
    friction = dynamics.friction.times(state, slope[:, 2:])
    size = float(dynamics.friction.dense(state).abs().max() * slope.abs().sum())
    assert float(friction.abs().max()) < 1e-15 * size
    drift = dynamics.drift(state)
    assert abs(float((slope * drift).sum())) < 1e-13 * float((slope * drift).abs().sum())
    assert float(drift[:, -1].sum()) > 0
    alone = bracket(energies, frictions[:1], kT=0.7, mass=1.3)
    alone.kB = 0.0
    assert float(alone.drift(state)[:, 2:4].sum(dim=0).abs().max()) < 1e-12


def test_a_solid_that_turns_as_a_whole_is_not_braked() -> None:
    state = solid()
    arm = state.position - state.position.mean(dim=0)
    turning = torch.stack([-arm[:, 1], arm[:, 0]], dim=1)
    one, theta = settled(terms.BondDashpot(cutoff=1.8), state)
    spin = dataclasses.replace(state, velocity=turning)
    moved = one.matrix(theta, 1.3, 0.7).times(spin, torch.cat([turning, turning.new_zeros(12, 1)], dim=1))
    assert float(moved.abs().max()) < 1e-13


def test_terms_of_solids_say_what_they_need() -> None:
    state = solid()
    one, theta = settled(terms.BondEnergy(cutoff=1.8), state)
    fluid = dataclasses.replace(state, reference=None, bonds=None)
    with pytest.raises(ModelError, match="reference"):
        one.potential(theta).energy(fluid)
    with pytest.raises(ModelError, match="reference"):
        one.force_slopes(Configuration.of_snapshot(fluid))
    with pytest.raises(ModelError, match="BondEnergy acts on the bonds of a solid"):
        freeze([one], [theta], kT=1.0, mass=[1.0], dim=2)
    with pytest.raises(ConfigError, match="one place"):
        Bonds.of(np.zeros((2, 2)), 1.0, Free())
    row = Configuration.of(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), Free(), 0.0)
    row = row.with_reference(row.position, 1.5)
    with pytest.raises(DataError, match="too few bonds"):
        terms.DeformationEnergy(cutoff=1.5).force_slopes(row)


class TestBondEnergyNeedsOnlyThis(TermContract):
    def part(self) -> Any:
        return terms.BondEnergy(cutoff=1.5, knots=5, inner=0.3)
