"""What every term of a model of particles has to keep, so that fit, rollout, report and files can rely on it.

A new term proves itself by inheriting the class of checks::

    class TestGaussianPair(TermContract):
        def part(self):
            return GaussianPair(cutoff=1.5)

Particles lie about 0.9 µm apart in a box of 4.2 µm, so a range of 1 to 2 µm meets some. They are a solid too, a little
deformed, for terms that act on bonds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import (
    BondTerm,
    Configuration,
    Energy,
    Friction,
    Scene,
    kinds_of_pairs,
    node_coefficients,
    pair_coefficients,
)
from vid2dyn.dynamics.terms.bonds import BondTables
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_frames
from vid2dyn.rollout.solids.forces import energy_of, forces_between
from vid2dyn.testing.brackets import EPS, random_snapshot
from vid2dyn.testing.parts import check_settings

EDGE = 4.2
"""Of the box [µm]."""
N = 12
TABLES = 2e-6
"""Error of the tables and of the step taken to zero, relative to the largest acceleration."""


def check_term(term: Energy | Friction) -> None:
    """A term settles itself, is linear, its forces are those of its energy, and its tables move particles as it says.

    On twelve particles in 2 and 3 dimensions, free and periodic, alike and of two species; shapes and names of its
    parameters and of what can be asked of it.
    """
    for dim, box, species in _places():
        at, snapshot = _particles(dim, box, species)
        one = term.settled(_scene(at, species))
        theta = _numbers(one)
        _check_parameters(one, _scene(at, species))
        _check_quantities(one, theta)
        if isinstance(one, Energy):
            _check_energy(one, theta, at, snapshot)
        else:
            _check_friction(one, theta, at)
        _check_tables(one, theta, at, snapshot, len(species))


def _places() -> Iterator[tuple[int, Box, tuple[str, ...]]]:
    for dim in (2, 3):
        for box in (Free(), Periodic((EDGE,) * dim)):
            for species in (("",), ("A", "B")):
                yield dim, box, species


def _particles(dim: int, box: Box, species: tuple[str, ...]) -> tuple[Configuration, Snapshot]:
    rng = np.random.default_rng(dim)
    x = random_snapshot(rng, N, dim, box=Free()).position + 0.9
    of = torch.as_tensor(np.arange(N) % len(species))
    snapshot = Snapshot.of(x, 0.5 * EDGE, box, index=torch.arange(N), species=of,
                           velocity=torch.as_tensor(rng.normal(size=(N, dim))), entropy=x.new_zeros(N))
    at_rest = x + torch.as_tensor(rng.uniform(-0.05, 0.05, x.shape))
    snapshot = snapshot.with_reference(at_rest, 0.49 * EDGE)
    return Configuration.of_snapshot(snapshot, len(species)), snapshot


def _scene(at: Configuration, species: tuple[str, ...]) -> Scene:
    closest = np.full(len(kinds_of_pairs(species)), 0.4)
    return Scene(at.dim, at.box, species, 0.7, 0.01, closest, at.position.min(axis=0) - 0.1,
                 at.position.max(axis=0) + 0.1, (at,))


def _numbers(one: Energy | Friction) -> np.ndarray:
    """Positive, so that they are numbers of a friction too."""
    return np.random.default_rng(1).uniform(0.2, 1.0, one.count)


def _check_parameters(one: Energy | Friction, scene: Scene) -> None:
    known = one.parameters(scene)
    name = type(one).__name__
    assert known.count == one.count == len(known.start), f"{name}: {known.count} names, {one.count} numbers"
    assert len(set(known.names)) == known.count, f"{name}: two numbers have one name"
    assert known.precision.shape == (one.count, one.count), f"{name}: precision of shape {known.precision.shape}"
    assert np.abs(known.precision - known.precision.T).max(initial=0.0) == 0.0, f"{name}: precision is not symmetric"
    lowest = np.linalg.eigvalsh(known.precision).min() if one.count else 0.0
    assert lowest >= -1e-9 * np.abs(known.precision).max(initial=1.0), f"{name}: the prior has no width ({lowest:.3g})"
    assert known.unit, f"{name}: the unit of its numbers is missing"
    assert known.positive == isinstance(one, Friction), f"{name}: frictions are positive, energies are not"
    again = one.settled(scene)
    assert again == one, f"{name}: a term that is settled changes when it is settled again"


def _check_quantities(one: Energy | Friction, theta: np.ndarray) -> None:
    for asked in one.quantities():
        what = f"{type(one).__name__}: {asked.name}"
        assert asked.name.isidentifier(), f"{what} is no name of a method"
        if asked.is_number:
            assert np.shape(asked.value(theta, None)) == (), f"{what} has no argument and is not a number"
            continue
        x = np.linspace(0.3, max(one.reach, 0.5), 5)
        places = [(cut.x, cut.at) for cut in asked.cuts] or [(x, x)]
        for along, at in places:
            value = np.asarray(asked.value(theta, at))
            assert value.shape == along.shape, f"{what}: {value.shape} values at {along.shape} places"
            assert np.isfinite(value).all(), f"{what} is not finite"


def _check_energy(one: Energy, theta: np.ndarray, at: Configuration, snapshot: Snapshot) -> None:
    name, slopes = type(one).__name__, one.force_slopes(at)
    assert slopes.shape == (one.count, at.n, at.dim), f"{name}: force_slopes has shape {slopes.shape}"
    size = np.abs(slopes * theta[:, None, None]).sum(axis=0).max(initial=0.0) + 1.0
    exact = -one.potential(theta).gradient(snapshot, ("position",)).numpy()
    _close(one.force(theta, at), exact, 1e4 * EPS * size, f"{name}: forces are not the slope of the energy")
    _close(one.force(2 * theta, at), 2 * one.force(theta, at), 1e3 * EPS * size, f"{name}: forces are not linear")
    far = None if isinstance(one, BondTerm) else _far(at, one.reach)
    if one.reach and far is not None:
        _close(one.force(theta, far), 0.0, 0.0, f"{name}: it pulls beyond its reach of {one.reach:g} µm")


def _check_friction(one: Friction, theta: np.ndarray, at: Configuration) -> None:
    name, pairs, nodes, r = type(one).__name__, one.pair_columns(at), one.node_columns(at), at.r
    if pairs is None and (pairs := one.bond_columns(at)) is not None:
        r = at.needed_bonds().length
    assert pairs is not None or nodes is not None, f"{name} has none of pair_columns, bond_columns, node_columns"
    found = []
    if pairs is not None:
        assert one.reach > 0, f"{name}: a friction of pairs has a reach"
        found += [*pair_coefficients(pairs, theta)]
        assert len(found[0]) == len(r), f"{name}: {len(found[0])} coefficients for {len(r)} pairs"
        beyond = r >= one.reach
        assert not any(f[beyond].any() for f in found), f"{name}: friction beyond its reach of {one.reach:g} µm"
    if nodes is not None:
        found.append(node_coefficients(nodes, theta))
        assert len(found[-1]) == at.n, f"{name}: {len(found[-1])} drags for {at.n} particles"
    assert all((f >= 0).all() for f in found), f"{name}: friction is negative where its numbers are positive"


def _check_tables(one: Energy | Friction, theta: np.ndarray, at: Configuration, snapshot: Snapshot,
                  species: int) -> None:
    """Accelerations in the compiled rollout at the start, without noise: from a small step and one of half its length.
    """
    if isinstance(one, Friction) and one.temporal:
        return                                          # it acts with a delay: not at all in the first step
    if isinstance(one, BondTerm):
        _check_bond_tables(one, theta, at, snapshot)
        return
    mass = np.array([1.3, 0.8])[:species]
    m, v = mass[at.species][:, None], snapshot.column("velocity").numpy()
    frozen = freeze([one], [theta], kT=0.7, mass=mass, dim=at.dim)
    first = FluidFrame(at.position, v, np.zeros(at.n), at.box, species=at.species if species > 1 else None)
    rates = []
    for dt in (4e-5, 2e-5):
        *_, last = fluid_frames(frozen, first, FluidRollout(dt, noise=False, tolerance=1e-13), steps=1)
        rates.append((last.velocity - v) / dt)
    want = (one.force(theta, at) if isinstance(one, Energy) else _drag(one, theta, at, v)) / m
    _close(2 * rates[1] - rates[0], want, TABLES * (np.abs(want).max() + 1.0),
           f"{type(one).__name__}: its tables (freeze) move particles otherwise than it says")


def _check_bond_tables(one: Any, theta: np.ndarray, at: Configuration, snapshot: Snapshot) -> None:
    """Forces in the compiled loops of a solid, the energy of a step of finite length, and heat."""
    name, x, v = type(one).__name__, at.position, snapshot.column("velocity").numpy()
    tables = BondTables(at.needed_bonds())
    one.freeze_bonds(theta, tables)
    solid = tables.frozen()
    force, heating = np.empty_like(x), np.empty(at.n)
    forces_between(x, x, v, solid, force, heating)
    bonds = at.needed_bonds()
    want = one.force(theta, at) if isinstance(one, Energy) else _along_bonds(one, theta, at, v)
    _close(force, want, 1e4 * EPS * (np.abs(want).max() + 1.0), f"{name}: freeze_bonds moves nodes otherwise")
    y = x + 0.05 * v
    forces_between(x, y, v, solid, force, heating)
    if isinstance(one, Energy):
        gain = energy_of(y, solid) - energy_of(x, solid)
        work = float((force * (y - x)).sum())
        size = np.abs(force * (y - x)).sum() + energy_of(y, solid) + energy_of(x, solid)
        _close(gain, -work, 1e3 * EPS * size, f"{name}: work of a step is not the change of its energy")
        exact = float(one.energy(theta, snapshot))
        _close(energy_of(x, solid), exact, 1e4 * EPS * (abs(exact) + 1.0), f"{name}: another energy when frozen")
    else:
        _close(heating.sum(), -float((force * v).sum()), 1e3 * EPS * heating.sum(), f"{name}: heat is lost")
    _close(force.sum(axis=0), 0.0, 1e3 * EPS * np.abs(force).sum(), f"{name}: momentum is lost")
    if bonds.box.lengths is None:
        middle = x + 0.025 * v
        torque = np.einsum("na,nb->ab", middle, force)
        _close(torque, torque.T, 1e3 * EPS * np.abs(middle).max() * np.abs(force).sum(), f"{name}: it turns by itself")


def _along_bonds(one: Friction, theta: np.ndarray, at: Configuration, v: np.ndarray) -> np.ndarray:
    columns, bonds = one.bond_columns(at), at.needed_bonds()
    assert columns is not None
    e, _ = bonds.lines(at.position)
    c = pair_coefficients(columns, theta)[1]
    push = (c * ((v[bonds.first] - v[bonds.second]) * e).sum(axis=1))[:, None] * e
    out = np.zeros_like(v)
    np.add.at(out, bonds.first, -push)
    np.add.at(out, bonds.second, push)
    return out


def _drag(one: Friction, theta: np.ndarray, at: Configuration, v: np.ndarray) -> np.ndarray:
    out = np.zeros_like(v)
    pairs, nodes = one.pair_columns(at), one.node_columns(at)
    if nodes is not None:
        out -= node_coefficients(nodes, theta)[:, None] * v
    if pairs is not None:
        across, along = pair_coefficients(pairs, theta)
        w = v[at.first] - v[at.second]
        line = (w * at.e).sum(axis=1)[:, None] * at.e
        push = across[:, None] * (w - line) + along[:, None] * line
        np.add.at(out, at.first, -push)
        np.add.at(out, at.second, push)
    return out


def _far(at: Configuration, reach: float) -> Configuration | None:
    """Two particles a little beyond the reach, in open space."""
    x = np.zeros((2, at.dim))
    x[1, 0] = reach * (1 + 1e-9)
    return Configuration.of(x, Free(), 2 * reach, kinds_among=1) if reach else None


def _close(a: Any, b: Any, tolerance: float, law: str) -> None:
    worst = float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0.0))
    assert worst <= tolerance, f"{law}: off by {worst:.3g}, allowed {tolerance:.3g}"


class TermContract(ABC):
    """Inherit in a test of a term, and give it."""

    @abstractmethod
    def part(self) -> Energy | Friction:
        """The term as a user writes it."""

    def test_settings(self) -> None:
        term = self.part()
        check_settings(term, "energies" if isinstance(term, Energy) else "frictions")

    def test_term(self) -> None:
        check_term(self.part())
