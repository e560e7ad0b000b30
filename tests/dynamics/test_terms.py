"""Terms one by one: forces in closed form, slopes in their numbers, ends, ranges, tables, and what is asked of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from vid2dyn import terms
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.registry import parts
from vid2dyn.data.box import Box, Free, LeesEdwards, Periodic
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import (
    Configuration,
    Energy,
    Friction,
    Scene,
    kind_number,
    kinds_of_pairs,
    node_coefficients,
    pair_coefficients,
)
from vid2dyn.dynamics.terms.grid_splines import Axis, grid_value, local_basis
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_paths
from vid2dyn.testing.brackets import random_snapshot

EPS = np.finfo(float).eps
BOX = 4.2
REACH = 2.0


def scene(dim: int = 2, species: tuple[str, ...] = ("",), box: Box | None = None, kT: float = 0.7) -> Scene:
    box = Periodic((BOX,) * dim) if box is None else box
    kinds = len(kinds_of_pairs(species))
    frames = tuple(configuration(dim, species, seed, box)[0] for seed in range(3))
    return Scene(dim, box, species, kT, 0.01, np.full(kinds, 0.4), np.zeros(dim), np.full(dim, BOX), frames)


def configuration(dim: int, species: tuple[str, ...], seed: int = 0, box: Box | None = None) -> tuple[
        Configuration, Snapshot]:
    """Twelve particles with their pairs, in numpy and in torch; beyond the box, so that images matter."""
    rng = np.random.default_rng(seed)
    box = Periodic((BOX,) * dim) if box is None else box
    x = random_snapshot(rng, 12, dim, cutoff=REACH, box=Free()).position.numpy() + 0.9
    of = rng.permutation(np.arange(12) % len(species))
    v = rng.normal(size=x.shape)
    snapshot = Snapshot.of(torch.as_tensor(x), REACH, box, velocity=torch.as_tensor(v),
                           entropy=torch.zeros(12, dtype=torch.float64), index=torch.arange(12),
                           species=torch.as_tensor(of) if len(species) > 1 else None)
    return Configuration.of_snapshot(snapshot, len(species)), snapshot


ENERGIES: list[Any] = [
    terms.PairPotential(cutoff=1.8, knots=9), terms.PairPotential(cutoff=1.5, knots=7, inner=(0.0,), core=0.0),
    terms.HarmonicTrap(), terms.HarmonicTrap(centre=(1.0, 2.0)), terms.ExternalPotential(axes=(0,), knots=7),
    terms.ExternalPotential(axes=(1, 0), knots=6), terms.DensityEnergy(cutoff=1.7, knots=7)]
FRICTIONS: list[Any] = [terms.PairFriction(cutoff=1.6, knots=5), terms.SubstrateFriction()]
KINDS = [("",), ("A", "B")]


def name(term: Any) -> str:
    return f"{type(term).__name__}-{getattr(term, 'axes', getattr(term, 'centre', ''))}"


def settled(term: Any, dim: int, species: tuple[str, ...], box: Box | None = None) -> tuple[Any, np.ndarray]:
    """The term and random numbers for it."""
    if getattr(term, "inner", None) is not None:
        term = dataclasses.replace(term, inner=term.inner * len(kinds_of_pairs(species)))
    if getattr(term, "centre", None) is not None:
        term = dataclasses.replace(term, centre=(1.0, 2.0, 1.5)[:dim])
    term = term.settled(scene(dim, species, box))
    theta = np.random.default_rng(7).normal(size=term.count)
    return term, np.abs(theta) if isinstance(term, Friction | terms.HarmonicTrap) else theta


# ------------------------------------------------------------------ energies

@pytest.mark.parametrize("species", KINDS, ids=["alike", "mixture"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("term", ENERGIES, ids=name)
def test_force_is_the_slope_of_the_energy(term: Any, dim: int, species: tuple[str, ...]) -> None:
    """Closed form against automatic differentiation of the definition, open and periodic, near the ends of grids."""
    for box in (Periodic((BOX,) * dim), Free()):
        one, theta = settled(term, dim, species, box)
        at, snapshot = configuration(dim, species, 3, box)
        exact = -one.potential(theta).gradient(snapshot, ("position",)).numpy()
        size = np.abs(one.force_slopes(at) * theta[:, None, None]).sum(axis=0).max()
        assert np.abs(one.force(theta, at) - exact).max() < 1e3 * EPS * max(size, 1.0)


@pytest.mark.parametrize("term", ENERGIES, ids=name)
def test_energy_is_linear_in_its_numbers(term: Any) -> None:
    one, theta = settled(term, 2, ("A", "B"))
    at, snapshot = configuration(2, ("A", "B"), 5)
    del at
    other = np.roll(theta, 1) + 0.3
    one = dataclasses.replace(one, core=0.0) if hasattr(one, "core") else one       # a core is a bound, not a number

    def E(theta: np.ndarray) -> float:
        return float(one.energy(theta, snapshot))

    both, size = E(2.0 * theta - 3.0 * other), abs(E(theta)) + abs(E(other)) + np.abs(theta).sum()
    assert abs(both - 2.0 * E(theta) + 3.0 * E(other)) < 1e4 * EPS * max(size, 1.0)


@pytest.mark.parametrize("term", ENERGIES, ids=name)
def test_force_slopes_are_those_in_the_numbers(term: Any) -> None:
    """Linear: the force at one unit of a number more, less the force, is the slope to rounding."""
    one, theta = settled(term, 3, ("A", "B"))
    at, _ = configuration(3, ("A", "B"), 4)
    slopes = one.force_slopes(at)
    for k in range(0, one.count, max(1, one.count // 6)):
        step = np.eye(one.count)[k]
        assert np.abs(one.force(theta + step, at) - one.force(theta, at) - slopes[k]).max() < 1e3 * EPS * (
            1 + np.abs(slopes).sum(axis=0).max())


@pytest.mark.parametrize("term", [t for t in ENERGIES if t.reach], ids=name)
def test_pair_forces_end_smoothly(term: Any) -> None:
    """Force and stiffness vanish at the range: with a pair δ inside it the force is of order δ², and zero beyond."""
    one, theta = settled(term, 2, ("",))

    def pull(r: float) -> float:
        at = Configuration.of(np.array([[0.0, 0.0], [r, 0.0]]), Free(), 3.0)
        return float(np.abs(one.force(theta, at)).max())

    near, closer = pull(one.reach - 1e-2), pull(one.reach - 1e-3)
    assert pull(one.reach + 1e-12) == 0.0
    assert closer <= 1.02e-2 * near + 1e-12, "the stiffness jumps at the range"


def test_core_keeps_particles_apart_where_none_were_seen() -> None:
    term, theta = settled(terms.PairPotential(cutoff=1.8, knots=9), 2, ("",))
    r = np.array([0.5, 0.999, 1.0]) * term.inner[0]
    bend = term.of_kind(theta, r, 0, 2)
    assert bend[0] >= term.core * (1 - 1e-9)
    slope = term.of_kind(theta, r, 0, 1)
    h = 1e-6
    numeric = (term.of_kind(theta, r[:1] + h, 0) - term.of_kind(theta, r[:1] - h, 0)) / (2 * h)
    assert abs(numeric[0] - slope[0]) < 1e-6 * abs(slope[0])


# ------------------------------------------------------------------ frictions

@pytest.mark.parametrize("species", KINDS, ids=["alike", "mixture"])
@pytest.mark.parametrize("term", FRICTIONS, ids=name)
def test_friction_is_linear_and_its_matrix_follows(term: Any, species: tuple[str, ...]) -> None:
    """M of the root holds kT γ/m² on velocities: its blocks against coefficients put together by hand."""
    one, theta = settled(term, 2, species)
    at, snapshot = configuration(2, species, 3)
    mass, kT = 1.7, 0.6
    M = one.matrix(theta, mass, kT).dense(snapshot).numpy().reshape(12, 3, 12, 3)[:, :2, :, :2]
    gamma = np.zeros((12, 2, 12, 2))
    pairs, nodes = one.pair_columns(at), one.node_columns(at)
    if pairs is not None:
        across, along = pair_coefficients(pairs, theta)
        for p, (i, j) in enumerate(zip(at.first, at.second, strict=True)):
            block = across[p] * (np.eye(2) - np.outer(at.e[p], at.e[p])) + along[p] * np.outer(at.e[p], at.e[p])
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                gamma[a, :, b] += sign * block
    if nodes is not None:
        for i, drag in enumerate(node_coefficients(nodes, theta)):
            gamma[i, :, i] += drag * np.eye(2)
    assert np.abs(M - kT * gamma / mass**2).max() < 100 * EPS * np.abs(M).max()


def test_pair_friction_is_constant_inside_and_ends_smoothly() -> None:
    term, theta = settled(terms.PairFriction(cutoff=1.6, knots=5), 2, ("",))
    inside = term.of_kind(theta, np.array([0.1, 0.2, term.inner[0]]), 0)
    assert np.ptp(inside, axis=1).max() < 100 * EPS * inside.max()
    end = term.of_kind(theta, np.array([1.6 - 1e-4, 1.6]), 0)
    assert end[:, 1].max() == 0.0
    assert np.abs(end[:, 0]).max() < 1e-9


# ------------------------------------------------------------------ tables

def everything(dim: int, species: tuple[str, ...]) -> list[tuple[Any, np.ndarray]]:
    """A list of one term of every kind that learns from motion, with numbers."""
    chosen = [terms.PairPotential(cutoff=1.8, knots=9), terms.HarmonicTrap(),
              terms.ExternalPotential(axes=(0,), knots=7), terms.DensityEnergy(cutoff=1.7, knots=7), *FRICTIONS]
    return [settled(term, dim, species) for term in chosen]


@pytest.mark.parametrize("term", [*ENERGIES, *FRICTIONS, None], ids=lambda t: "everything" if t is None else name(t))
@pytest.mark.parametrize("species", KINDS, ids=["alike", "mixture"])
def test_tables_move_particles_as_the_terms_say(term: Any, species: tuple[str, ...]) -> None:
    """Acceleration in the compiled rollout without noise, against force minus friction of the terms: from a small step
    and one of half its length."""
    mass = np.array([1.3, 0.8])[: len(species)]
    chosen = everything(2, species) if term is None else [settled(term, 2, species)]
    at, snapshot = configuration(2, species, 9)
    kinds_mass = mass[at.species][:, None]
    frozen = freeze([t for t, _ in chosen], [theta for _, theta in chosen], kT=0.7, mass=mass, dim=2)
    v = snapshot.velocity.numpy()                                                               # type: ignore[union-attr]
    push = np.zeros_like(v)
    for one, theta in chosen:
        if isinstance(one, Energy):
            push += one.force(theta, at)
            continue
        pairs, nodes = one.pair_columns(at), one.node_columns(at)
        if nodes is not None:
            push -= node_coefficients(nodes, theta)[:, None] * v
        if pairs is not None:
            across, along = pair_coefficients(pairs, theta)
            w = v[at.first] - v[at.second]
            line = (w * at.e).sum(axis=1)[:, None] * at.e
            drag = across[:, None] * (w - line) + along[:, None] * line
            np.add.at(push, at.first, -drag)
            np.add.at(push, at.second, drag)
    first = FluidFrame(at.position, v, np.zeros(at.n), at.box, species=at.species if len(species) > 1 else None)
    found = []
    for dt in (4e-5, 2e-5):
        paths = fluid_paths(frozen, first, FluidRollout(dt, noise=False, tolerance=1e-13), steps=1)
        found.append((paths.velocity[1] - v) / dt)
    assert np.abs(2 * found[1] - found[0] - push / kinds_mass).max() < 2e-6 * np.abs(push / kinds_mass).max()


# ------------------------------------------------------------------ ranges, gauges, species

def test_shorter_range_keeps_what_was_settled() -> None:
    for term in (terms.PairPotential(cutoff=1.8, knots=12), terms.PairFriction(cutoff=1.6, knots=6)):
        one, _ = settled(term, 2, ("A", "B"))
        short = one.with_reach(1.0)
        assert short.reach == 1.0
        assert short.species == ("A", "B")
        assert all(c < 1.0 for c in short.inner)
        assert short.count == len(short.parameters(scene(2, ("A", "B"))).names)
        assert dataclasses.replace(term, learn_range=False).with_reach(1.0) is None
    assert settled(terms.DensityEnergy(cutoff=1.7), 2, ("",))[0].with_reach(1.0) is None


def test_gauges() -> None:
    """What does nothing to the motion is fixed: mean of an external potential, height of a density energy."""
    term, theta = settled(terms.ExternalPotential(axes=(0,), knots=7), 2, ("",))
    potential, force = term.quantities()
    y = np.linspace(0.1, 4.1, 9)
    assert np.allclose(potential.value(theta + 5.0, y), potential.value(theta, y), atol=1e-12)
    h = 1e-5
    numeric = -(potential.value(theta, y + h) - potential.value(theta, y - h)) / (2 * h)
    assert np.allclose(force.value(theta, y), numeric, atol=1e-8)
    known = term.parameters(scene())
    assert known.precision.sum() / known.count**2 > 1e3 / scene().kT**2 / known.count**2
    density, theta = settled(terms.DensityEnergy(cutoff=1.7, knots=7), 2, ("",))
    value = density.quantities()[0].value
    middle = np.array([0.5 * sum(density.densities)])
    assert abs(value(theta, middle)[0]) < 1e-12
    assert np.allclose(value(theta + 2.0, middle + 0.3), value(theta, middle + 0.3), atol=1e-12)


def test_density_energy_that_is_linear_is_a_pair_potential() -> None:
    """u(d) = a d is the pair potential 2 a W(r): the part that a list with both cannot tell apart."""
    term, _ = settled(terms.DensityEnergy(cutoff=1.7, knots=7), 2, ("",))
    a = 0.4
    theta = a * term.axis.spacing * np.arange(term.count)                  # straight coefficients: a straight line
    at, _ = configuration(2, ("",), 3)
    _, fall = term.kernel(at.r, 2)
    want = np.zeros((at.n, 2))
    np.add.at(want, at.first, -2 * a * fall[:, None] * at.e)
    np.add.at(want, at.second, 2 * a * fall[:, None] * at.e)
    assert np.abs(term.force(theta, at) - want).max() < 1e3 * EPS * np.abs(want).max()


@pytest.mark.parametrize("dim", [2, 3])
def test_kernel_of_the_density_is_normalised_and_its_slope_right(dim: int) -> None:
    term = terms.DensityEnergy(cutoff=1.3)
    r = np.linspace(0, 1.3, 20001)
    W, slope = term.kernel(r, dim)
    shell = 2 * np.pi * r if dim == 2 else 4 * np.pi * r**2
    assert abs(np.trapezoid(W * shell, r) - 1) < 1e-7
    assert np.abs(np.gradient(W, r, edge_order=2) - slope).max() < 1e-6 * np.abs(slope).max()


def test_trap_is_where_it_is() -> None:
    """k and centre from the linear parameters, fixed and learned, the same force."""
    fixed, _ = settled(terms.HarmonicTrap(centre=(1.0, 2.0)), 2, ("",))
    free, _ = settled(terms.HarmonicTrap(), 2, ("",))
    k, c = 3.0, np.array([1.0, 2.0])
    theta = np.array([k, *(k * (c - np.array(free.origin)))])
    at, _ = configuration(2, ("",))
    assert np.allclose(free.force(theta, at), fixed.force(np.array([k]), at), atol=1e-12)
    assert np.allclose(free.force(theta, at), -k * (at.position - c), atol=1e-12)
    said = {q.name: q for q in free.quantities()}
    assert said["trap_stiffness"].value(theta, None) == k
    assert np.allclose([said[f"trap_centre_{axis}"].value(theta, None) for axis in "yx"], c)
    assert freeze([free], [-theta], kT=1.0, mass=[1.0], dim=2).traps is None, "a hill is no trap"


def test_grid_splines_are_smooth_and_go_on_straight() -> None:
    """Open axes beyond their ends and periodic ones across their seam, value and slope against differences."""
    for axis in (Axis.over(0.0, 2.0, 8), Axis.over(0.0, 2.0, 8, periodic=True)):
        c = np.random.default_rng(0).normal(size=axis.count)
        x = np.concatenate([np.linspace(-1.5, 3.5, 41), [0.0, 2.0, -1e-9, 2.0 + 1e-9]])
        which, value, slope = local_basis((axis,), x[:, None])
        f, df = (value * c[which]).sum(axis=1), (slope[0] * c[which]).sum(axis=1)
        place = torch.as_tensor(x[:, None]).requires_grad_()
        out = grid_value((axis,), c, place)
        (grad,) = torch.autograd.grad(out.sum(), place)
        assert np.abs(out.detach().numpy() - f).max() < 100 * EPS
        assert np.abs(grad.numpy()[:, 0] - df).max() < 1e3 * EPS
        h = 1e-6
        w2, v2, _ = local_basis((axis,), x[:, None] + h)
        assert np.abs(((v2 * c[w2]).sum(axis=1) - f) / h - df).max() < 1e-4
    closed = Axis.over(0.0, 2.0, 8, periodic=True)
    one, two = (local_basis((closed,), np.array([[p]]))[1:] for p in (0.3, 2.3))
    assert np.allclose(one[0], two[0])
    assert np.allclose(one[1], two[1])


def test_species_are_kept_apart() -> None:
    """Numbers of one pair of species move no pair of another."""
    term, theta = settled(terms.PairPotential(cutoff=1.8, knots=9), 2, ("A", "B"))
    at, _ = configuration(2, ("A", "B"), 3)
    alone = np.where(np.arange(term.count) // 9 == 1, theta, 0.0)                     # A with B
    pairs = dataclasses.replace(at, first=at.first[at.kind != 1], second=at.second[at.kind != 1],
                                e=at.e[at.kind != 1], r=at.r[at.kind != 1], kind=at.kind[at.kind != 1])
    assert np.abs(term.force(alone, pairs)).max() == 0.0
    assert np.abs(term.force(alone, at)).max() > 0.0
    assert np.array_equal(kind_number(np.array([0, 1, 2, 2]), np.array([2, 1, 0, 1]), 3), [2, 3, 2, 4])


# ------------------------------------------------------------------ what is refused

@pytest.mark.parametrize(("make", "words"), [
    (lambda: terms.PairPotential(cutoff=-1.0), "positive number"),
    (lambda: terms.PairPotential(cutoff=1.0, knots=3), "at least 6"),
    (lambda: terms.PairFriction(cutoff=float("nan")), "positive number"),
    (lambda: terms.PairFriction(cutoff=1.0, law="square"), "choose 'radial' or 'transport'"),
    (lambda: terms.DensityEnergy(cutoff=1.0, densities=(2.0, 1.0)), "lowest < highest"),
    (lambda: terms.ExternalPotential(axes=(0, 0)), "different ones"),
    (lambda: terms.ExternalPotential(axes=(0, 1), origin=(0.0,)), "one for each of the axes"),
    (lambda: terms.HarmonicTrap(centre=(float("inf"), 0.0)), "finite"),
    (lambda: terms.HarmonicTrap(centre=(1.0,)).settled(scene()), "one for each axis"),
    (lambda: terms.ExternalPotential(axes=(2,)).settled(scene()), "axes 0 to 1"),
    (lambda: terms.ExternalPotential(axes=(1,)).settled(scene(box=LeesEdwards((BOX, BOX), 0.1))), "slide along x"),
    (lambda: terms.PairPotential(cutoff=2.2).settled(scene()), "more than half of the box"),
    (lambda: terms.PairFriction(cutoff=2.2).settled(scene()), "more than half of the box"),
    (lambda: terms.DensityEnergy(cutoff=2.2).settled(scene()), "more than half of the box")])
def test_settings_that_make_no_sense(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def test_two_terms_of_which_the_rollout_holds_one() -> None:
    one, theta = settled(terms.ExternalPotential(axes=(0,), knots=7), 2, ("",))
    with pytest.raises(ModelError, match="Two terms of this model are of the same kind"):
        freeze([one, one], [theta, theta], kT=1.0, mass=[1.0], dim=2)


def test_terms_of_a_fluid_with_heat_say_so() -> None:
    at, _ = configuration(2, ("",))
    for work in (lambda: terms.EquationOfState(0.2).force_slopes(at), lambda: terms.Conduction(0.2).count,
                 lambda: terms.PairFriction(0.2, law="transport").pair_columns(at)):
        with pytest.raises(ModelError, match="entropy=True"):
            work()


def test_every_term_is_tried() -> None:
    with_heat = {"EquationOfState", "Conduction"}
    tried = {type(term).__name__ for term in (*ENERGIES, *FRICTIONS)}
    known = parts("energies") | parts("frictions")
    ours = {key for key, kind in known.items() if kind.__module__.startswith("vid2dyn.")}
    of_solids = {name for name, kind in (parts("energies") | parts("frictions")).items()
                 if kind.on_bonds}                                           # type: ignore[attr-defined]
    assert ours - {"PairMemory"} - of_solids == tried | with_heat            # of solids: test_bond_terms
    assert set(terms.__all__) >= ours - {"PairMemory"}
