"""Score of a window against differences of its log-likelihood, and the response J against dense determinants."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from vid2dyn import terms
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.terms.base import Configuration, Scene, kinds_of_pairs
from vid2dyn.inference import window_score
from vid2dyn.inference.pair_matrix import PairMatrix
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers, WindowModel
from vid2dyn.inference.windows import Terms, mixing, stiffness, window

N, DIM, DT = 12, 2, 0.03
BOX = Periodic((3.6, 3.6))
CENTRE = np.eye(N * DIM) - np.kron(np.full((N, N), 1 / N), np.eye(DIM))


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solutions to rounding, and draws from what stands for a generator (`Roots`)."""
    monkeypatch.setattr(window_score, "EXACT", 1e-13)
    monkeypatch.setattr(PairMatrix, "draw", lambda self, rng: rng.draw(self))


class Roots:
    """In place of random draws every direction of C once, with its spread: their mean is the trace, without chance."""

    def __init__(self, one: WindowModel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(window_score, "PROBES", one.freedom)
        self.freedom, self.number = one.freedom, -1

    def draw(self, C: PairMatrix) -> np.ndarray:
        self.number += 1
        values, vectors = np.linalg.eigh(CENTRE @ C.dense() @ CENTRE if self.freedom < N * DIM else C.dense())
        found: np.ndarray = (self.freedom * values[-1 - self.number]) ** 0.5 * vectors[:, -1 - self.number]
        return found.reshape(N, DIM)


def recording(species: int, frames: int = 9) -> FluidSteps:
    """Particles that fly nearly straight; any motion has a likelihood."""
    rng = np.random.default_rng(5)
    sites = np.stack(np.meshgrid(range(4), range(4), indexing="ij"), -1).reshape(-1, 2)[:N]
    x = 0.9 * sites + 0.1 * rng.normal(size=(N, 2))
    v = 0.5 * rng.normal(size=(1, N, DIM)) + 0.3 * np.cumsum(rng.normal(size=(frames, N, DIM)), axis=0)
    return FluidSteps(x + DT * np.cumsum(v, axis=0), v, DT, BOX, 1.7, 0, np.arange(N) % species, np.arange(N))


def model(k: int, species: int = 1, substrate: bool = False, shown: float = 1.0) -> tuple[WindowModel, Any]:
    data = recording(species)
    names = ("",) if species == 1 else ("A", "B")
    scene = Scene(DIM, BOX, names, 0.8, DT, np.full(len(kinds_of_pairs(names)), 0.3), np.zeros(2), np.full(2, 3.6))
    chosen: list[Any] = [terms.PairPotential(cutoff=1.7, knots=6), terms.PairFriction(cutoff=1.6, knots=4)]
    if substrate:
        chosen.append(terms.SubstrateFriction())
    settled = [term.settled(scene) for term in chosen]
    mass = np.array([1.3, 0.6])[:species]
    known = Terms((settled[0],), tuple(settled[1:]), mass)
    rng = np.random.default_rng(2)
    theta = np.concatenate([rng.normal(size=known.of_energies), rng.uniform(0.2, 1.0, known.of_frictions)])
    found = WindowModel(window(data, 0, 0, k, known), mixing(data, 0, k, known), mixing(data, 0, k, known, single=True),
                        known, Numbers(theta, 0.8, 0.05), 1.0 / mass[data.species], shown)
    return found, data


@pytest.mark.parametrize(("k", "species", "substrate", "shown"), [
    (1, 1, False, 1.0), (4, 1, False, 0.9), (8, 2, False, 1.0), (4, 2, True, 0.95), (1, 1, True, 1.0)])
def test_score_is_the_slope_of_the_log_likelihood(k: int, species: int, substrate: bool, shown: float,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """In every number, J included, to the error of central differences."""
    one, _ = model(k, species, substrate, shown)
    vector = one.numbers.vector
    roots: Any = Roots(one, monkeypatch)
    score = one.scored(roots, information=False).score

    def value(at: np.ndarray) -> float:
        return dataclasses.replace(one, numbers=Numbers.of(at)).log_likelihood(np.random.default_rng(0))

    for j in sorted({*range(0, len(vector), 1 if len(vector) < 20 else 3), len(vector) - 2, len(vector) - 1}):
        h = 1e-4 * max(abs(vector[j]), 0.05)
        step = h * np.eye(len(vector))[j]
        numeric = (value(vector + step) - value(vector - step)) / (2 * h)
        assert abs(numeric - score[j]) < 2e-6 * np.abs(score).max() + 1e-4 * abs(score[j]), j


def test_information_of_forces_is_the_expected_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """∂R·C⁻¹∂R from dense matrices, to the tolerance of its solutions."""
    one, _ = model(4)
    P = one.terms.of_energies
    inverse = CENTRE @ np.linalg.inv(one.covariance().dense()) @ CENTRE
    flat = one.window.columns.reshape(len(one.window.columns), -1)[:P]
    roots: Any = Roots(one, monkeypatch)
    got = one.scored(roots, information=True).information
    assert got is not None
    want = flat @ inverse @ flat.T
    assert np.abs(got[:P, :P] - want).max() < 3 * window_score.ROUGH * np.abs(want).max()
    assert np.abs(got - got.T).max() < 1e-9 * np.abs(got).max()


def test_response_of_one_step_is_the_jacobian() -> None:
    """k = 1: log det(1 + X/2) of a Crank-Nicolson step, to third order: half of X, an eighth of the error."""
    one, _ = model(1)
    errors = []
    for size in (1.0, 0.5):
        theta = one.numbers.theta.copy()
        theta[one.terms.of_energies:] *= size
        theta[:one.terms.of_energies] = 0.0
        half = dataclasses.replace(one, numbers=dataclasses.replace(one.numbers, theta=theta))
        X = np.repeat(one.inverse_mass, DIM)[:, None] * half.middle.matrix(theta[one.terms.of_energies:]).dense()
        exact = np.linalg.slogdet(np.eye(N * DIM) + 0.5 * X)[1]
        errors.append(abs(half.response()[0] - exact))
        assert errors[-1] < np.trace(X @ X @ X) / 24 * 1.01
    assert errors[1] < errors[0] / 6.5


@pytest.mark.parametrize("term", [terms.PairPotential(cutoff=1.7, knots=6), terms.DensityEnergy(cutoff=1.6, knots=6),
                                  terms.ExternalPotential(axes=(0, 1), knots=6), terms.HarmonicTrap()],
                         ids=lambda t: type(t).__name__)
def test_stiffness_is_the_trace_of_the_second_derivative(term: Any) -> None:
    """tr M⁻¹ ∇∇E from all columns by differences of forces. Pair energies to the error of differences; others within 5
    times the spread of their random vectors: squares off the diagonal, twice, over the number of vectors, its root."""
    data = recording(1)
    x = data.position[2]
    at = Configuration.of(x, BOX, 1.7)
    scene = Scene(DIM, BOX, ("",), 0.8, DT, np.full(1, 0.3), x.min(axis=0), x.max(axis=0), (at,))
    one = term.settled(scene)
    theta = np.random.default_rng(0).normal(size=one.count)
    h, mass = 1e-5, 1.3
    K = np.zeros((N * DIM, N * DIM))
    for j in range(N * DIM):
        step = h * np.eye(N * DIM)[j].reshape(N, DIM)
        K[:, j] = -(one.force(theta, at.moved(step)) - one.force(theta, at.moved(-step))).ravel() / (2 * h)
    got = float(one.stiffness_slopes(at, np.full(N, 1 / mass)) @ theta)
    off = K - np.diag(np.diag(K))
    room = 5 * np.sqrt(0.5 * (off**2).sum())
    if isinstance(one, terms.PairPotential):
        room = 1e-5 * np.abs(np.diag(K)).sum()
    assert abs(got - np.trace(K) / mass) < room / mass + 1e-7 * np.abs(K).sum()
    assert np.array_equal(stiffness(data, 2, Terms((one,), (), np.array([mass]))),
                          one.stiffness_slopes(Configuration.of(x, BOX, one.reach), np.full(N, 1 / mass)))


@pytest.mark.parametrize("substrate", [False, True])
def test_likelihood_of_the_relative_motion(substrate: bool) -> None:
    """Of models that keep momentum and of others: from dense matrices projected on what is orthogonal to the mean."""
    one, _ = model(4, substrate=substrate)
    basis = np.linalg.svd(CENTRE)[0][:, : (N - 1) * DIM]
    C = basis.T @ one.covariance().dense() @ basis
    R = one.window.impulse + np.tensordot(one.numbers.theta, one.window.columns, axes=1)
    y = basis.T @ R.ravel()
    want = (one.response()[0] - 0.5 * y @ np.linalg.solve(C, y) - 0.5 * np.linalg.slogdet(C)[1]
            - 0.5 * len(y) * np.log(2 * np.pi))
    rng = np.random.default_rng(0)
    assert abs(one.log_likelihood(rng, "relative") - want) < 1e-8 * abs(want)
    whole, own = one.log_likelihood(rng, "whole"), one.log_likelihood(rng)
    assert abs(own - (whole if substrate else want)) < 1e-8 * abs(want)
