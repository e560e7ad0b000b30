"""Steps of solids: orders, conservation at steps of any length, edges on paths, moduli in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vid2dyn import terms
from vid2dyn.core.errors import ModelError
from vid2dyn.data.box import Free, Periodic
from vid2dyn.dynamics.terms.bonds import Bonds, BondTables, FrozenSolid
from vid2dyn.rollout.solids.moduli import inner_nodes, moduli_of
from vid2dyn.rollout.solids.paths import SolidState, frames_along, rates_of, solid_paths
from vid2dyn.rollout.solids.steps import bends

SIDE, REACH = 6, 1.6
ENERGIES: dict[str, list[tuple[Any, list[float]]]] = {
    "springs": [(terms.BondEnergy(REACH, inner=0.5), [3.0] * 8)],
    "springs and volumes": [(terms.BondEnergy(REACH, inner=0.5), [3.0] * 8), (terms.NodeVolume(REACH), [2.0])],
    "deformation gradient": [(terms.DeformationEnergy(REACH), [2.0, 4.0, 3.0])]}


def sheet(seed: int = 0) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(float(SIDE))] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid + np.random.default_rng(seed).uniform(-0.15, 0.15, grid.shape)


def frozen(X: np.ndarray, energies: list[tuple[Any, list[float]]], friction: float = 0.4) -> tuple[Bonds, FrozenSolid]:
    bonds = Bonds.of(X, REACH, Free())
    tables = BondTables(bonds)
    for term, theta in energies:
        term.freeze_bonds(np.array(theta), tables)
    dashpot = terms.BondDashpot(REACH, inner=0.5)
    dashpot.freeze_bonds(np.full(8, friction), tables)
    return bonds, tables.frozen()


def start(X: np.ndarray, held: np.ndarray | None = None, seed: int = 1) -> SolidState:
    rng = np.random.default_rng(seed)
    held = np.zeros(len(X), np.int64) if held is None else held
    free = (held == 0)[:, None]
    return SolidState(X + 0.05 * free * rng.normal(size=X.shape), 0.3 * free * rng.normal(size=X.shape), held,
                      rng.uniform(0.8, 1.2, len(X)))


@pytest.mark.parametrize("energy", ENERGIES)
def test_a_free_solid_keeps_energy_momentum_and_angular_momentum(energy: str) -> None:
    """At long steps too: what the dashpots take is heat."""
    X = sheet()
    _, solid = frozen(X, ENERGIES[energy])
    state = start(X)
    made = solid_paths(solid, state, np.zeros((40, *X.shape)), X, 0.1, substeps=1)
    size = made.stored[0] + made.kinetic[0]
    assert np.abs(made.imbalance).max() < 1e-11 * size
    assert made.heat.sum(axis=1)[-1] > 0.1 * size
    assert (np.diff(made.heat, axis=0) >= 0).all()
    p = (state.mass[:, None] * made.velocity).sum(axis=1)
    assert np.abs(p - p[0]).max() < 1e-11
    spin = (state.mass * (made.position[..., 0] * made.velocity[..., 1]
                          - made.position[..., 1] * made.velocity[..., 0])).sum(axis=1)
    assert np.abs(spin - spin[0]).max() < 1e-10


@pytest.mark.parametrize("energy", ENERGIES)
def test_work_of_the_edges_is_stored_or_heat(energy: str) -> None:
    X = sheet()
    held = np.where(X[:, 0] < 0.5, 1, np.where(X[:, 0] > SIDE - 1.5, 2, 0)).astype(np.int64)
    _, solid = frozen(X, ENERGIES[energy])
    t = 0.1 * np.arange(60)
    path = np.repeat(X[None], 60, axis=0)
    path[:, held == 2, 1] += 0.5 * np.sin(2 * t)[:, None]
    made = solid_paths(solid, start(X, held), path, X, 0.1, substeps=3)
    assert np.abs(made.imbalance).max() < 1e-10 * np.abs(made.work).max()
    assert np.allclose(made.position[:, held > 0], path[:, held > 0], atol=1e-14)


def test_orders_of_the_steps() -> None:
    """Second and fourth order: halving the step divides the error by 4 and 16."""
    X = sheet()
    held = np.where(X[:, 0] < 0.5, 1, 0).astype(np.int64)
    _, solid = frozen(X, ENERGIES["springs and volumes"])
    path = np.repeat(X[None], 5, axis=0)
    path[:, held > 0, 1] += 0.05 * np.arange(5)[:, None] ** 2
    state = start(X, held)

    def explicit(substeps: int) -> np.ndarray:
        fresh = SolidState(state.position.copy(), state.velocity.copy(), held, state.mass)
        return frames_along(solid, fresh, path, bends(path), 0.2, substeps)[0][-1]

    def middle(substeps: int) -> np.ndarray:
        return solid_paths(solid, state, path, X, 0.2, substeps=substeps).position[-1]

    exact = explicit(64)
    for step, order in ((explicit, 4), (middle, 2)):
        coarse, fine = (np.abs(step(n) - exact).max() for n in (4, 8))
        assert 2 ** (order - 0.5) < coarse / fine < 2 ** (order + 0.5)
    assert np.abs(middle(256) - exact).max() < 1e-5


def test_rates_are_the_largest_eigenvalues() -> None:
    """Against the dense matrices of a small sheet; with the margin of 1.25 they are above and not far."""
    X = sheet()
    _, solid = frozen(X, ENERGIES["springs"])
    mass = start(X).mass
    found = rates_of(solid, X, mass)
    for values, rate in ((solid.friction, found.friction), (solid.stiffness, found.stiffness)):
        M = np.zeros((2 * len(X),) * 2)
        for i, j, e, w in zip(solid.first, solid.second, solid.apart / solid.length[:, None], values):
            g = np.zeros(2 * len(X))
            g[2 * i:2 * i + 2], g[2 * j:2 * j + 2] = e / np.sqrt(mass[i]), -e / np.sqrt(mass[j])
            M += w * np.outer(g, g)
        largest = np.linalg.eigvalsh(M)[-1]
        assert largest < rate < 1.3 * largest


def test_a_sheet_at_rest_stays_there_until_its_edge_moves() -> None:
    """Rounding is no motion that a step has to converge on."""
    X = sheet()
    held = np.where(X[:, 0] < 0.5, 1, 0).astype(np.int64)
    _, solid = frozen(X, ENERGIES["springs"])
    path = np.repeat(X[None], 60, axis=0)
    path[40:, held > 0, 1] += 0.01
    rest = SolidState(X.copy(), np.zeros_like(X), held, np.ones(len(X)))
    made = solid_paths(solid, rest, path, X, 0.05, substeps=2)
    assert np.abs(made.velocity[:39]).max() < 1e-13
    assert np.abs(made.velocity[41]).max() > 1e-3
    assert np.abs(made.imbalance).max() < 1e-10 * made.work.max()


def test_a_solid_that_springs_apart_is_said() -> None:
    X = sheet()
    _, solid = frozen(X, [(terms.BondEnergy(REACH, inner=0.5), [-30.0] * 8)])
    with pytest.raises(ModelError, match="breaks loose"):
        solid_paths(solid, start(X), np.zeros((60, *X.shape)), X, 0.5, substeps=1)


def test_moduli_of_the_deformation_gradient_are_its_numbers() -> None:
    """In a periodic grid, where the volume of a node is not that of its cell: µ V N/area, κ V N/area."""
    n, spacing = 8, 0.5
    X = spacing * np.stack(np.meshgrid(*[np.arange(float(n))] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    big = Periodic((n * spacing,) * 2)
    bonds = Bonds.of(X, 0.8, big)
    assert inner_nodes(bonds, 0.8)[1] == pytest.approx((n * spacing) ** 2)
    # free, so that an affine strain does not break bonds at the walls of the box
    free = Bonds.of(X, 0.8, Free())
    inside, area = inner_nodes(free, 0.8)
    assert area == pytest.approx(inside.sum() * spacing**2)
    tables = BondTables(free)
    terms.DeformationEnergy(0.8).freeze_bonds(np.array([2.0, 5.0, 3.0]), tables)
    share = 1 / free.density(0.8)[inside].mean() / spacing**2
    mu, kappa, eta, zeta = moduli_of(tables.frozen(), free, inside, area)
    assert mu == pytest.approx(2.0 * share, rel=1e-5)
    assert kappa == pytest.approx(5.0 * share, rel=1e-5)
    assert eta == zeta == 0.0
