"""Conformance checks of metriplectic dynamics and of the functions that make a fluid.

As in `vid2dyn.testing.brackets`: checks are plain functions that raise `AssertionError` saying which law broke and by
how much. `check_bracket` is what every `Bracket` has to keep, `check_radial` and `check_equation_of_state` what its
functions have to, `fluid_states` the states to call them with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.dynamics.base import FrictionMatrix, Potential
from vid2dyn.dynamics.bracket import Bracket
from vid2dyn.dynamics.snapshot import Snapshot
from vid2dyn.dynamics.terms.equations_of_state import EquationOfState
from vid2dyn.dynamics.terms.radial import Radial
from vid2dyn.testing.brackets import (
    EPS,
    check_friction,
    random_snapshot,
    standard_states,
    turned_columns,
    turned_snapshot,
)


def fluid_snapshot(rng: np.random.Generator, n: int, dim: int = 3, *, cutoff: float = 2.0, box: Box | None = None,
                   spacing: float = 0.9) -> Snapshot:
    """`random_snapshot` with velocities and entropies of order 1.

    >>> fluid_snapshot(np.random.default_rng(0), 5).state(("velocity", "entropy")).shape
    torch.Size([5, 4])
    """
    return _moving(random_snapshot(rng, n, dim, cutoff=cutoff, box=box or Free(), spacing=spacing), rng)


def fluid_states(cutoff: float = 2.0, dim: int = 3) -> Iterator[Snapshot]:
    """The corner cases of `standard_states` in `dim` dimensions: one alone, a pair at the cutoff, crowds, walls."""
    rng = np.random.default_rng(1)
    for state in standard_states(cutoff):
        if state.position.shape[1] == dim:
            yield _moving(state, rng)
    for r in (0.5 * cutoff, cutoff * (1 - 1e-15), cutoff):
        x = torch.zeros(2, dim, dtype=torch.float64)
        x[1, 0] = r
        yield _moving(Snapshot.of(x, cutoff, index=torch.arange(2)), rng)
    yield fluid_snapshot(rng, 1, dim, cutoff=cutoff)
    yield fluid_snapshot(rng, 6, dim, cutoff=cutoff, box=Periodic((2.01 * cutoff,) * dim))


def _moving(state: Snapshot, rng: np.random.Generator) -> Snapshot:
    n, dim = state.position.shape
    return dataclasses.replace(state, velocity=torch.as_tensor(rng.normal(size=(n, dim))),
                               entropy=torch.as_tensor(rng.normal(size=n)))


def check_bracket(bracket: Bracket, snapshot: Snapshot) -> None:
    """The laws of [L ∇E + M ∇S + kB ∇·M] and its noise, to rounding.

    L is antisymmetric and blind to S; M is symmetric, positive, and blind to E, so that energy is kept by drift and
    noise in the sense of Itô; momentum is kept; entropy does not fall without noise; gradients are finite and right;
    nothing depends on names, origin, a common velocity or directions.
    """
    friction, columns = bracket.friction, bracket.columns
    energy = bracket.potentials[0]
    all_gradient = energy.gradient(snapshot, columns)
    assert bool(torch.isfinite(all_gradient).all()), "∇E is not finite"
    exact = Potential.gradient(energy, snapshot, columns)
    scale = float(exact.abs().max()) + EPS
    _near(all_gradient, exact, 1e-12 * scale * len(exact), "∇E is not the gradient of E")
    gradient = energy.gradient(snapshot, friction.columns)
    M = friction.dense(snapshot)
    size = float(M.abs().max()) * float(gradient.abs().max()) + EPS
    _near(friction.times(snapshot, gradient), 0.0, 64 * EPS * size * len(gradient), "M ∇E is not zero")
    check_friction(friction, snapshot, conserved=tuple(range(snapshot.position.shape[1])))
    noise = bracket.noise(snapshot, 1.0, torch.Generator().manual_seed(4))
    work = float((noise * all_gradient).sum())
    assert abs(work) <= 1e-12 * (float((noise * all_gradient).abs().sum()) + EPS), f"noise does work, {work:.3g}"
    rate = float((gradient * friction.divergence(snapshot)).sum()) + float((_hessian(bracket, snapshot) * M).sum())
    terms = float((_hessian(bracket, snapshot) * M).abs().sum()) + EPS
    assert abs(rate) <= 1e-11 * terms, f"kB ∇·M and the noise do not balance the energy: {rate:.3g} of {terms:.3g}"
    _check_reversible(bracket, snapshot, all_gradient)
    heating = bracket.entropy_of.gradient(snapshot, friction.columns)
    produced = float((heating * friction.times(snapshot, heating)).sum())
    assert produced >= 0, f"friction destroys entropy, {produced:.3g}"
    _check_symmetries(bracket, snapshot)


def _hessian(bracket: Bracket, snapshot: Snapshot) -> torch.Tensor:
    """∂²E over friction's columns, dense, node-major: with it Itô's formula says d<E> = (∇E·∇·M + M:∂²E) kB dt = 0."""
    columns = bracket.friction.columns
    state = snapshot.state(columns)
    hessian = torch.autograd.functional.hessian(
        lambda x: bracket.potentials[0].energy(snapshot.with_state(columns, x)), state)
    return hessian.reshape(state.numel(), state.numel())


def _check_reversible(bracket: Bracket, snapshot: Snapshot, gradient: torch.Tensor) -> None:
    moved = bracket.poisson.times(snapshot, gradient)
    power = float((gradient * moved).sum())
    assert abs(power) <= 1e-12 * (float((gradient * moved).abs().sum()) + EPS), f"L does work, {power:.3g}"
    dim = snapshot.position.shape[1]
    force = moved[:, dim:2 * dim]
    _near(force.sum(0), 0.0, 64 * EPS * (float(force.abs().sum()) + 1), "reversible forces change the momentum")
    generator = torch.Generator().manual_seed(7)
    a, b = (torch.randn(gradient.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    twist = float((a * bracket.poisson.times(snapshot, b)).sum() + (b * bracket.poisson.times(snapshot, a)).sum())
    assert abs(twist) <= 64 * EPS * float(a.norm() * b.norm()), "L is not antisymmetric"
    entropy = bracket.entropy_of.gradient(snapshot, bracket.columns)
    _near(bracket.poisson.times(snapshot, entropy), 0.0, 0.0, "L ∇S is not zero")


def _check_symmetries(bracket: Bracket, snapshot: Snapshot) -> None:
    drift = bracket.drift(snapshot)
    assert bool(torch.isfinite(drift).all()), "the drift is not finite"
    size = 1e-9 * (float(drift.abs().max()) + EPS)
    shift = snapshot.position.new_tensor(0.37)
    _near(bracket.drift(snapshot.at(snapshot.position + shift)), drift, size, "the drift depends on the origin")
    boosted = drift.clone()
    dim = snapshot.position.shape[1]
    boosted[:, :dim] += 0.7
    velocity = snapshot.column("velocity") + 0.7
    _near(bracket.drift(dataclasses.replace(snapshot, velocity=velocity)), boosted, size,
          "the drift depends on a common velocity")
    if snapshot.box.lengths is None:
        _near(bracket.drift(turned_snapshot(snapshot)), turned_columns(snapshot, bracket.columns, drift), size,
              "the drift depends on the axes")


def check_radial(function: Radial, *, derivatives: int) -> None:
    """Slope is that of the value; value and `derivatives` of them end at zero at the cutoff, and stay there."""
    h = function.cutoff
    r = torch.linspace(1e-3, 1.2, 241, dtype=torch.float64, device=_device(function)) * h
    r.requires_grad_(True)
    value, slope = function(r)
    (numeric,) = torch.autograd.grad(value.sum(), r)
    value, slope = value.detach(), slope.detach()
    scale = float(value.abs().max()) + EPS
    _near(slope, numeric, 1e-10 * scale / h, "slope is not that of the value")
    assert bool((value[r >= h] == 0).all() and (slope[r >= h] == 0).all()), "the function goes on beyond the cutoff"
    # f ~ (1 - r/h)^(derivatives + 1): what is left at a distance δ of the cutoff
    for close in (1e-2, 1e-3):
        near = torch.full((1,), h * (1 - close), dtype=torch.float64, device=r.device)
        left = float(function.value(near).detach().abs())
        worst = 2.0 ** (derivatives + 1) * 64 * scale * close ** (derivatives + 1)
        assert left <= worst, f"the function ends at the cutoff with {left:.3g}, too steep for C{derivatives}"


def check_equation_of_state(eos: EquationOfState, S: torch.Tensor, V: torch.Tensor) -> None:
    """First and second derivatives are those of U; T > 0; Newton finds S from U."""
    S, V = S.detach().clone().requires_grad_(True), V.detach().clone().requires_grad_(True)
    state = eos(S, V)

    def slope(f: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if not f.requires_grad:
            return torch.zeros_like(x)
        (g,) = torch.autograd.grad(f.sum(), x, retain_graph=True, create_graph=True, allow_unused=True,
                                   materialize_grads=True)
        return g

    T, minus_P = slope(state.U, S), slope(state.U, V)
    for name, given, right in (("T", state.T, T), ("P", state.P, -minus_P), ("U_SS", state.U_SS, slope(T, S)),
                               ("U_SV", state.U_SV, slope(T, V)), ("U_VV", state.U_VV, slope(minus_P, V))):
        _near(given, right, 1e-9 * (float(right.detach().abs().max()) + EPS), f"{name} is not the derivative of U")
    assert bool((state.T > 0).all()), f"temperature is not positive: {float(state.T.min()):.3g}"
    assert bool((state.U_SS >= 0).all()), f"negative heat capacity: U_SS = {float(state.U_SS.min()):.3g}"
    found = eos.entropy(state.U.detach(), V.detach(), S.detach() + 2.0)
    U = eos(found, V.detach()).U
    _near(U, state.U, 1e-13 * float(state.U.detach().abs().max()), "entropy(U, V) does not give U back")


def check_divergence_by_autograd(friction: FrictionMatrix, snapshot: Snapshot) -> None:
    """The closed divergence against automatic differentiation of the dense matrix, to rounding."""
    exact = FrictionMatrix.divergence(friction, snapshot)
    _near(friction.divergence(snapshot), exact, 1e-13 * (float(exact.abs().max()) + EPS), "divergence is not that of M")


def _device(module: torch.nn.Module) -> torch.device:
    tensors = [*module.parameters(), *module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def _near(a: torch.Tensor, b: torch.Tensor | float, tolerance: float, law: str) -> None:
    worst = float((a - b).detach().abs().max()) if a.numel() else 0.0
    assert worst <= tolerance, f"{law}: off by {worst:.3g}, allowed {tolerance:.3g}"
