"""Laws of lists of terms: roots, conservation, fluctuation and dissipation; the compiled rollout is the bracket."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vid2dyn import terms
from vid2dyn.data.box import Free, LeesEdwards, Periodic
from vid2dyn.dynamics.assembly import bracket, freeze
from vid2dyn.dynamics.bracket import Bracket
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.base import Energy, Friction, Scene, kinds_of_pairs
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_energy, fluid_frames, fluid_paths
from vid2dyn.testing.brackets import check_friction, check_potential, random_snapshot, whitened_noise_pvalue

EPS = np.finfo(float).eps
kT, MASS = 0.7, 1.3
REACH = 2.0
CLOSE = 2e-6
"""Error of rates that are left after taking the step to zero, and of the tables, relative to the largest rate."""

PAIRS: list[Any] = [terms.PairPotential(cutoff=1.9, knots=9), terms.DensityEnergy(cutoff=1.7, knots=7)]
PLACES: list[Any] = [terms.HarmonicTrap(), terms.ExternalPotential(axes=(0,), knots=7),
                     terms.ExternalPotential(axes=(0, 1), knots=6)]
FRICTIONS: list[Any] = [terms.PairFriction(cutoff=1.8, knots=5), terms.SubstrateFriction()]


def name(term: Any) -> str:
    return f"{type(term).__name__}-{getattr(term, 'axes', '')}"


def state(dim: int = 2, n: int = 10, seed: int = 0, box: Any = None) -> Snapshot:
    rng = np.random.default_rng(seed)
    found = random_snapshot(rng, n, dim, cutoff=REACH, box=Periodic((4.1,) * dim) if box is None else box)
    return Snapshot.of(found.position, REACH, found.box, index=torch.arange(n),
                       velocity=torch.as_tensor(rng.normal(size=(n, dim))),
                       entropy=torch.as_tensor(rng.normal(size=n)))


def settled(term: Any, snapshot: Snapshot, species: tuple[str, ...] = ("",)) -> tuple[Any, np.ndarray]:
    """The term at these data, and random numbers for it."""
    x = snapshot.position.numpy()
    scene = Scene(x.shape[1], snapshot.box, species, kT, 0.01, np.full(len(kinds_of_pairs(species)), 0.4),
                  x.min(axis=0) - 0.1, x.max(axis=0) + 0.1)      # at its end a grid bends no more
    one = term.settled(scene)
    theta = np.random.default_rng(3).normal(size=one.count)
    return one, np.abs(theta) if isinstance(term, Friction | terms.HarmonicTrap) else theta


def dynamics(snapshot: Snapshot, chosen: list[Any]) -> tuple[Bracket, list[Any]]:
    known = [settled(term, snapshot) for term in chosen]
    return bracket([p for p in known if isinstance(p[0], Energy)], [p for p in known if isinstance(p[0], Friction)],
                   kT=kT, mass=MASS), known


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("term", FRICTIONS, ids=name)
def test_roots(term: Any, dim: int) -> None:
    """M symmetric, positive semidefinite, its divergence right; pairs keep momentum and Galilean invariance."""
    pairs = isinstance(term, terms.PairFriction)
    for box in (Free(), Periodic((4.1,) * dim)):
        snapshot = state(dim, 7, box=box)
        one, theta = settled(term, snapshot)
        M = one.matrix(theta, MASS, kT)
        if pairs:
            check_friction(M, snapshot, tuple(range(dim)))
        else:
            dense = M.dense(snapshot)
            assert float((dense - dense.T).abs().max()) < 4 * EPS * float(dense.abs().max())
            assert float(torch.linalg.eigvalsh(dense).min()) > -1e3 * EPS * float(dense.abs().max())


@pytest.mark.parametrize("chosen", [[*PAIRS, f] for f in FRICTIONS] + [[*PAIRS, *PLACES[:2], *FRICTIONS]],
                         ids=["pairs", "substrate", "everything"])
def test_friction_leaves_energy_alone(chosen: list[Any]) -> None:
    """M ∇E = 0 in every row, and energy rises nowhere: drift without noise along ∇E is zero."""
    snapshot = state(seed=4)
    whole, _ = dynamics(snapshot, chosen)
    whole.kB = 0.0
    energy = whole.potentials[0]
    slope = energy.gradient(snapshot, whole.friction.columns)
    taken = whole.friction.times(snapshot, slope)
    size = float(whole.friction.dense(snapshot).abs().max()) * float(slope.abs().max())
    assert float(taken.abs().max()) < 1e3 * EPS * size
    drift = whole.drift(snapshot)
    every = energy.gradient(snapshot, whole.columns)
    assert abs(float((drift * every).sum())) < 1e3 * EPS * float((drift * every).abs().sum())
    produced = float(drift[:, -1].sum())
    assert produced >= 0.0, "friction warms"


@pytest.mark.parametrize("term", FRICTIONS, ids=name)
def test_noise_belongs_to_friction(term: Any) -> None:
    """False alarm 1e-6; finds 2 % of the amplitude: friction that is 4 % larger than its noise must fail."""
    snapshot = state(n=16, seed=5)
    one, theta = settled(term, snapshot)
    M = one.matrix(theta, MASS, kT)
    assert whitened_noise_pvalue(M, snapshot) > 1e-6

    class Planted(type(M)):                                                                     # type: ignore[misc]
        def noise(self, snapshot: Snapshot, generator: torch.Generator) -> torch.Tensor:
            return 1.02 * super().noise(snapshot, generator)

    assert whitened_noise_pvalue(Planted(one, theta, MASS, kT), snapshot) < 1e-6


@pytest.mark.parametrize("term", [*PAIRS, *PLACES], ids=name)
def test_energies(term: Any) -> None:
    """Slopes, names, origin and directions."""
    for box in (Free(), Periodic((4.1, 4.1)), LeesEdwards((4.1, 4.1), 0.0, strain=0.3)):
        if isinstance(box, LeesEdwards) and isinstance(term, terms.ExternalPotential) and 1 in term.axes:
            continue
        snapshot = state(box=box)
        one, theta = settled(term, snapshot)
        check_potential(one.potential(theta), snapshot, translation=term in PAIRS)


def rates(known: list[Any], snapshot: Snapshot) -> np.ndarray:
    """Rates of (x, v, S) of the compiled rollout without noise at dt = 0: from a step and one of half its length."""
    dim = snapshot.position.shape[1]
    frozen = freeze([t for t, _ in known], [theta for _, theta in known], kT=kT, mass=[MASS], dim=dim)
    first = FluidFrame(snapshot.position.numpy(), snapshot.column("velocity").numpy(),
                       snapshot.column("entropy").numpy(), snapshot.box)
    found = []
    for dt in (4e-5, 2e-5):
        *_, last = fluid_frames(frozen, first, FluidRollout(dt, noise=False, tolerance=1e-13), steps=1)
        found.append(np.concatenate([last.position - first.position, last.velocity - first.velocity,
                                     (last.entropy - first.entropy)[:, None]], axis=1) / dt)
    return 2 * found[1] - found[0]


@pytest.mark.parametrize("chosen", [[PAIRS[0], FRICTIONS[0]], [PAIRS[1], FRICTIONS[0]], [PLACES[0], FRICTIONS[1]],
                                    [PLACES[1], FRICTIONS[0]], [PLACES[2], FRICTIONS[1]],
                                    [*PAIRS, PLACES[0], PLACES[1], *FRICTIONS]],
                         ids=lambda chosen: "+".join(type(t).__name__ for t in chosen))
@pytest.mark.parametrize("dim", [2, 3])
def test_compiled_rollout_is_the_bracket(chosen: list[Any], dim: int) -> None:
    """Rates of (x, v, S) without noise are the drift of the bracket at kB = 0.

    Of a substrate the heat leaves the rollout, so there entropies are not compared.
    """
    snapshot = state(dim, seed=6)
    whole, known = dynamics(snapshot, chosen)
    whole.kB = 0.0
    want = whole.drift(snapshot).numpy()
    heat = not any(isinstance(t, terms.SubstrateFriction) for t in chosen)
    difference = np.abs(rates(known, snapshot) - want)[:, : None if heat else 2 * dim]
    assert difference.max() < CLOSE * np.abs(want).max()


def test_a_wrong_force_would_be_seen() -> None:
    """The same comparison with one coefficient of the pair potential wrong by 1e-3 kT fails: what it detects."""
    snapshot = state(seed=6)
    whole, known = dynamics(snapshot, [PAIRS[0], FRICTIONS[0]])
    whole.kB = 0.0
    want = whole.drift(snapshot).numpy()
    (term, theta), friction = known
    planted = [(term, theta + 1e-3 * np.eye(len(theta))[6]), friction]
    assert np.abs(rates(planted, snapshot) - want).max() > CLOSE * np.abs(want).max()


def test_exact_step_keeps_energy_and_momentum_of_a_list() -> None:
    """Pair potential, density energy and pair friction with noise: energy with its heat, and momentum, to rounding."""
    rng = np.random.default_rng(8)
    n, edge = 64, 6.4
    side = np.stack(np.meshgrid(*[np.arange(8)] * 2, indexing="ij"), axis=-1).reshape(-1, 2) * 0.8
    x = side + rng.uniform(-0.1, 0.1, (n, 2))
    v = rng.normal(size=(n, 2)) * (kT / MASS) ** 0.5
    v -= v.mean(axis=0)
    snapshot = Snapshot.of(torch.as_tensor(x), REACH, Periodic((edge, edge)))
    known = [settled(term, snapshot) for term in (*PAIRS, FRICTIONS[0])]
    frozen = freeze([t for t, _ in known], [theta for _, theta in known], kT=kT, mass=[MASS], dim=2)
    first = FluidFrame(x, v, np.zeros(n), Periodic((edge, edge)))
    before = sum(fluid_energy(frozen, first))
    *_, last = fluid_frames(frozen, first, FluidRollout(2e-3, "exact"), steps=40, seed=1)
    assert abs(sum(fluid_energy(frozen, last)) - before) < 1e-9 * n * kT
    assert np.abs((last.velocity - v).sum(axis=0)).max() < 1e-11
    still = fluid_paths(frozen, first, FluidRollout(2e-3, noise=False), steps=20)
    assert (np.diff(still.entropy.sum(axis=1)) >= -1e-12).all(), "entropy fell without noise"
