"""Conformance checks: what every friction matrix, potential and dynamics has to keep.

A new part proves itself by inheriting a class of checks in its tests::

    class TestMyFriction(FrictionLaws):
        conserved = (0, 1)

        def part(self):
            return MyFriction(...)

pytest then runs every check on `standard_states()`. The checks are plain functions too (`check_friction`,
`check_potential`, `check_overdamped`, `whitened_noise_pvalue`), to be called on states of your own. They raise
`AssertionError` saying which law broke and by how much. Exact laws hold to c · eps · scale in float64; a derivative
is compared with central differences of step `STEP`, to STEP² · 1e4 of its largest entry.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import chi2

from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.dynamics.base import Dynamics, FrictionMatrix, Overdamped, Potential
from vid2dyn.dynamics.snapshot import Snapshot

EPS = float(np.finfo(float).eps)
STEP = 1e-5
"""Step of central differences [µm]."""


def random_snapshot(rng: np.random.Generator, n: int, dim: int = 2, *, cutoff: float = 2.0, box: Box | None = None,
                    spacing: float = 0.9) -> Snapshot:
    """`n` particles on a jittered lattice of the given spacing [µm], no two closer than spacing/2; float64.

    >>> random_snapshot(np.random.default_rng(0), 5, 3).position.shape
    torch.Size([5, 3])
    """
    side = int(np.ceil(n ** (1 / dim)))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    x = spacing * (sites[rng.permutation(len(sites))[:n]] + rng.uniform(-0.25, 0.25, (n, dim)) / dim**0.5)
    return Snapshot.of(torch.as_tensor(x), cutoff, box, index=torch.arange(n))


def standard_states(cutoff: float = 2.0) -> Iterator[Snapshot]:
    """One particle, a pair inside, at and beyond the cutoff, a crowd in 2-D and 3-D, free and periodic, one alone."""
    rng = np.random.default_rng(0)
    yield random_snapshot(rng, 1, cutoff=cutoff)
    for r in (0.5 * cutoff, cutoff * (1 - 1e-15), cutoff, 1.5 * cutoff):
        yield Snapshot.of(torch.tensor([[0.0, 0.0], [r, 0.0]], dtype=torch.float64), cutoff, index=torch.arange(2))
    for dim in (2, 3):
        for box in (Free(), Periodic((max(3.6, 2.01 * cutoff),) * dim)):
            yield random_snapshot(rng, 7, dim, cutoff=cutoff, box=box)
    crowd = random_snapshot(rng, 6, cutoff=cutoff).position
    alone = torch.cat([crowd, crowd.new_tensor([[1e3, -1e3]])])
    yield Snapshot.of(alone, cutoff, index=torch.arange(7))


# ------------------------------------------------------------------ friction matrices

def check_friction(friction: FrictionMatrix, snapshot: Snapshot, conserved: tuple[int, ...] = ()) -> None:
    """M is symmetric, positive semidefinite, what `times` applies; its divergence is right; laws are kept.

    Parameters
    ----------
    conserved : tuple of int
        Columns of the state whose sum over the particles neither friction nor noise may change.
    """
    M = friction.dense(snapshot)
    shape = snapshot.state(friction.columns).shape
    n = len(snapshot.position)
    scale = max(float(M.abs().max()), EPS)
    _close(M, M.T, 4 * EPS * scale, "M is not symmetric")
    lowest = float(torch.linalg.eigvalsh(0.5 * (M + M.T)).min())
    assert lowest >= -16 * EPS * scale * len(M), f"M has a negative eigenvalue, {lowest:.3g} of {scale:.3g}"
    v = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=M.dtype)
    moved = friction.times(snapshot, v)
    size = scale * float(v.abs().sum())
    _close(moved.reshape(-1), M @ v.reshape(-1), 8 * EPS * size, "times(v) is not M v")
    noise = friction.noise(snapshot, torch.Generator().manual_seed(2))
    assert noise.shape == v.shape, f"a noise draw has shape {tuple(noise.shape)}, the state {tuple(v.shape)}"
    for c in conserved:
        for said, change in (("friction", moved), ("noise", noise)):
            total, size = float(change[:, c].sum()), float(change[:, c].abs().sum())
            assert abs(total) <= 8 * n * EPS * (size + scale), f"{said} changes the sum of column {c} by {total:.3g}"
    check_divergence(friction, snapshot)
    check_friction_symmetries(friction, snapshot)


def check_divergence(friction: FrictionMatrix, snapshot: Snapshot) -> None:
    """(∇·M)_a = sum_b ∂M_ab/∂x_b, against automatic differentiation of the dense matrix and central differences."""
    given = friction.divergence(snapshot)
    scale = float(given.abs().max()) + float(friction.dense(snapshot).abs().max()) + EPS
    if type(friction).divergence is not FrictionMatrix.divergence:
        _close(given, FrictionMatrix.divergence(friction, snapshot), 1e-12 * scale, "divergence is not that of M")
    columns = friction.columns
    x = snapshot.state(columns)
    numeric = torch.zeros_like(x)
    for b in range(x.numel()):
        unit = torch.zeros_like(x)
        unit.view(-1)[b] = 1.0
        after, before = (friction.times(snapshot.with_state(columns, x + s * STEP * unit), unit) for s in (1, -1))
        numeric += (after - before) / (2 * STEP)
    # friction that ends smoothly at a cutoff can be all zero there but for what the finite step sees
    _close(given, numeric, 1e4 * STEP**2 * scale + 1e-10 * scale + 1e-12, "divergence differs from differences")


def check_friction_symmetries(friction: FrictionMatrix, snapshot: Snapshot) -> None:
    """M v does not know names, the origin, a common velocity, nor (in free space) directions."""
    shape = snapshot.state(friction.columns).shape
    v = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    moved = friction.times(snapshot, v)
    # a shift of the origin rounds positions, and a steep law of distance amplifies that
    tolerance = 1e-9 * (float(moved.abs().max()) + EPS)
    order, renamed = _renamed(snapshot)
    _close(friction.times(renamed, v[order]), moved[order], tolerance, "M depends on the order of particles")
    _close(friction.times(_shifted(snapshot), v), moved, tolerance, "M depends on the origin")
    if snapshot.velocity is not None:
        drifting = dataclasses.replace(snapshot, velocity=snapshot.velocity + snapshot.velocity.new_tensor(0.7))
        _close(friction.times(drifting, v), moved, tolerance, "M depends on a common velocity")
    if snapshot.box.lengths is None:
        turned = friction.times(turned_snapshot(snapshot), turned_columns(snapshot, friction.columns, v))
        _close(turned, turned_columns(snapshot, friction.columns, moved), tolerance, "M depends on the axes")


def turned_snapshot(snapshot: Snapshot) -> Snapshot:
    """The same particles seen along other axes (free space)."""
    turn = _rotation(snapshot.position.shape[1])
    velocity = None if snapshot.velocity is None else snapshot.velocity @ turn.T
    return dataclasses.replace(snapshot, position=snapshot.position @ turn.T, velocity=velocity)


def turned_columns(snapshot: Snapshot, columns: tuple[str, ...], values: torch.Tensor) -> torch.Tensor:
    """(n, c) values of the named columns along the axes of `turned_snapshot`; entropy is a number and stays."""
    turn, dim, parts, at = _rotation(snapshot.position.shape[1]), snapshot.position.shape[1], [], 0
    for name in columns:
        width = 1 if name == "entropy" else dim
        part = values[:, at:at + width]
        parts.append(part if name == "entropy" else part @ turn.T)
        at += width
    return torch.cat(parts, dim=1)


# ------------------------------------------------------------------ potentials

def check_potential(potential: Potential, snapshot: Snapshot, *, translation: bool = True,
                    names: bool = True) -> None:
    """The gradient is finite and that of the energy; energy does not know names, origin or directions.

    Parameters
    ----------
    translation : bool
        False for external fields, which have a place and may have a direction.
    names : bool
        False where particles differ by number (`snapshot.index` is then carried along, so this is rarely needed).
    """
    x = snapshot.position
    gradient, energy = potential.gradient(snapshot), float(potential.energy(snapshot))
    assert gradient.shape == x.shape, f"gradient has shape {tuple(gradient.shape)}, positions {tuple(x.shape)}"
    assert bool(torch.isfinite(gradient).all()), "gradient is not finite"
    numeric = torch.zeros(x.numel(), dtype=x.dtype)
    for a in range(x.numel()):
        shift = torch.zeros_like(x).reshape(-1)
        shift[a] = STEP
        after, before = (float(potential.energy(snapshot.at(x + s * shift.reshape(x.shape)))) for s in (1, -1))
        numeric[a] = (after - before) / (2 * STEP)
    scale = float(gradient.abs().max()) + abs(energy) + 1.0          # kT, µm: forces can vanish where they bend
    _close(gradient.reshape(-1), numeric, 1e4 * STEP**2 * scale + 4 * EPS * scale / STEP, "gradient is not that of U")
    size = 1e-9 * scale
    if names:
        order, renamed = _renamed(snapshot)
        _close(potential.energy(renamed), energy, size, "energy depends on the order of particles")
        _close(potential.gradient(renamed), gradient[order], size, "gradient depends on the order of particles")
    if translation:
        _close(potential.energy(_shifted(snapshot)), energy, size, "energy depends on the origin")
        _close(gradient.sum(dim=0), 0.0, size, "internal forces do not add up to zero")
        if snapshot.box.lengths is None:
            turn = _rotation(x.shape[1])
            turned = snapshot.at(x @ turn.T)
            _close(potential.energy(turned), energy, size, "energy depends on the axes")
            _close(potential.gradient(turned), gradient @ turn.T, size, "gradient does not turn with the particles")


# ------------------------------------------------------------------ dynamics

def check_overdamped(dynamics: Overdamped, snapshot: Snapshot) -> None:
    """exp(-U) carries no current: drift = -M ∇U + ∇·M; and without ∇·M the energy never rises."""
    M = dynamics.friction.dense(snapshot)
    shape = snapshot.position.shape
    gradient = sum((p.gradient(snapshot) for p in dynamics.potentials), torch.zeros(shape, dtype=M.dtype))
    divergence = FrictionMatrix.divergence(dynamics.friction, snapshot)
    expected = divergence - (M @ gradient.reshape(-1)).reshape(shape)
    scale = float(M.abs().max()) * (float(gradient.abs().sum()) + 1) + float(divergence.abs().max())
    _close(dynamics.drift(snapshot), expected, 1e-12 * scale, "drift is not -M ∇U + ∇·M")
    rate = float((gradient * (dynamics.drift(snapshot) - divergence)).sum())
    assert rate <= 1e-12 * scale * (float(gradient.abs().sum()) + 1), f"energy rises at {rate:.3g} kT/s without noise"


# ------------------------------------------------------------------ noise

def whitened_noise_pvalue(part: FrictionMatrix | Dynamics, snapshot: Snapshot, *, dt: float = 0.01,
                          draws: int = 2000, seed: int = 0) -> float:
    """Probability of noise this far from the fluctuation-dissipation theorem, if the theorem holds.

    Draws of the noise are projected on the eigenvectors of their promised covariance C (M for a friction matrix,
    2 M dt [kT = 1] for dynamics) and divided by the root of the eigenvalue: all numbers must then be independent
    N(0, 1), and null directions must get nothing. Four tests share the probability evenly (Bonferroni): variance,
    mean, covariance of components, covariance of successive draws. The variance alone sees an error ε of the
    amplitude as 2ε sqrt(N/2) standard errors of N = draws × rank numbers: 1 % of 300,000 numbers is 7.7.

    Raises
    ------
    AssertionError
        When a null direction of C gets noise.

    Examples
    --------
    >>> from vid2dyn.dynamics.terms.friction import SolventMobility
    >>> state = random_snapshot(np.random.default_rng(0), 4)
    >>> whitened_noise_pvalue(SolventMobility(0.4), state, draws=500) > 1e-6
    True
    """
    friction = part.friction if isinstance(part, Dynamics) else part
    M = friction.dense(snapshot)
    covariance = 2 * dt * M if isinstance(part, Dynamics) else M
    generator = torch.Generator().manual_seed(seed)
    sample = [part.noise(snapshot, dt, generator) if isinstance(part, Dynamics) else part.noise(snapshot, generator)
              for _ in range(draws)]
    values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.T))
    projected = torch.stack(sample).reshape(draws, -1) @ vectors
    kept = values > 1e-12 * values.max()
    null = projected[:, ~kept].abs().max() if bool((~kept).any()) else values.new_zeros(())
    assert float(null) <= 1e-6 * float(values.max().sqrt()), f"a null direction of M gets noise of {float(null):.3g}"
    z = (projected[:, kept] / values[kept].sqrt()).numpy()
    return _normality(z)


def _normality(z: np.ndarray) -> float:
    """Probability that the (draws, components) numbers are independent N(0, 1)."""
    n, d = z.shape
    total = float((z**2).sum())
    covariance = z.T @ z / n
    above = covariance[np.triu_indices(d, 1)]
    later = (z[1:] * z[:-1]).sum() / np.sqrt((n - 1) * d)
    tails = [min(1.0, 2 * min(chi2.sf(total, n * d), chi2.cdf(total, n * d))),
             chi2.sf(n * (z.mean(axis=0) ** 2).sum(), d), chi2.sf(later**2, 1)]
    if above.size:
        tails.append(chi2.sf(n * (above**2).sum(), above.size))
    return float(min(1.0, len(tails) * min(tails)))


# ------------------------------------------------------------------ classes to inherit

class FrictionLaws(ABC):
    """Inherit in a class named Test…, write `part`, and name the `conserved` columns."""

    conserved: tuple[int, ...] = ()
    cutoff: float = 2.0

    @abstractmethod
    def part(self) -> FrictionMatrix:
        """The friction matrix under test."""

    def test_laws(self) -> None:
        for state in standard_states(self.cutoff):
            check_friction(self.part(), state, tuple(c for c in self.conserved if c < state.position.shape[1]))

    def test_noise_has_covariance_M(self) -> None:
        """False alarm 1e-6; detects 2 % of the amplitude."""
        state = random_snapshot(np.random.default_rng(4), 20, cutoff=self.cutoff)
        assert whitened_noise_pvalue(self.part(), state) > 1e-6


class PotentialLaws(ABC):
    """Inherit in a class named Test…, and write `part`; `translation = False` for external fields."""

    translation: bool = True
    cutoff: float = 2.0

    @abstractmethod
    def part(self, n: int, dim: int) -> Potential:
        """The potential under test, for n particles in dim dimensions."""

    def test_laws(self) -> None:
        for state in standard_states(self.cutoff):
            check_potential(self.part(*state.position.shape), state, translation=self.translation)


# ------------------------------------------------------------------ helpers

def _close(a: torch.Tensor, b: torch.Tensor | float, tolerance: float, law: str) -> None:
    worst = float((a - b).abs().max()) if a.numel() else 0.0
    assert worst <= tolerance, f"{law}: off by {worst:.3g}, allowed {tolerance:.3g}"


def _renamed(snapshot: Snapshot) -> tuple[torch.Tensor, Snapshot]:
    """The particles in another order, pairs turned round."""
    n = len(snapshot.position)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(5))
    place = torch.empty_like(order)
    place[order] = torch.arange(n)
    columns = {name: None if value is None else value[order] for name, value in
               (("index", snapshot.index), ("velocity", snapshot.velocity), ("entropy", snapshot.entropy),
                ("reference", snapshot.reference))}
    columns["bonds"] = None if snapshot.bonds is None else place[snapshot.bonds].flip(1)
    return order, Snapshot(snapshot.position[order], place[snapshot.pairs].flip(1), snapshot.box, **columns)


def _shifted(snapshot: Snapshot) -> Snapshot:
    dim = snapshot.position.shape[1]
    return snapshot.at(snapshot.position + snapshot.position.new_tensor([0.37, -1.41, 2.03][:dim]))


def _rotation(dim: int) -> torch.Tensor:
    """A fixed proper rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(dim, dim)))
    q[:, 0] *= np.sign(np.linalg.det(q))
    return torch.as_tensor(q)
