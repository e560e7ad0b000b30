"""Local scores are slopes of the log-likelihood, and do not depend on who looks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vid2dyn import terms
from vid2dyn.data.box import Periodic
from vid2dyn.inference import sums
from vid2dyn.inference.heat_sums import shares
from vid2dyn.inference.local_scores import (
    HATS,
    NOISE,
    STRENGTH,
    Baseline,
    LocalScores,
    force_scores,
    lasting_forces,
    local_scores,
    noise_scores,
)
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers, WindowModel
from vid2dyn.inference.windows import Terms, mixing, window

N, EDGE, FRAMES = 30, 3.2, 4
LIST = Terms((terms.PairPotential(cutoff=1.0, knots=8, inner=(0.0,), core=0.0, species=("",)),),
             (terms.PairFriction(cutoff=1.0, knots=4, inner=(0.0,), species=("",)),), np.array([1.5]))
NUMBERS = Numbers(np.concatenate([np.linspace(3.0, 0.2, 8), np.linspace(2.0, 0.5, 8)]), 1.2, 0.3)


def some_steps(seed: int = 0) -> FluidSteps:
    """Positions and velocities of nothing in particular."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, EDGE, (N, 2))[None] + np.cumsum(0.02 * rng.normal(size=(2 * FRAMES + 1, N, 2)), axis=0)
    v = rng.normal(size=(2 * FRAMES + 1, N, 2))
    return FluidSteps(x, v - v.mean(axis=1, keepdims=True), 0.05, Periodic((EDGE, EDGE)), 1.0, 0,
                      np.zeros(N, np.int64), np.arange(N))


def window_model(data: FluidSteps) -> WindowModel:
    mixed = mixing(data, 0, FRAMES, LIST)
    return WindowModel(window(data, 0, 0, FRAMES, LIST), mixed, mixed, LIST, NUMBERS, np.full(N, 1 / 1.5))


def test_force_scores_are_slopes() -> None:
    data = some_steps()
    model = window_model(data)
    C, R = model.covariance(), model.residual()
    x = model.centred(C.solve(R, 1e-12))
    (found,) = force_scores(data, 0, FRAMES, LIST, NUMBERS, [x])

    def residual(c: np.ndarray) -> np.ndarray:
        """R where the force of every pair has the factor 1 + (c_i + c_j)/2, straight from its definition."""
        out = R.copy()
        for step in range(FRAMES + 1):
            weight = data.dt * (0.5 if step in (0, FRAMES) else 1.0)
            for i in range(N):
                for j in range(i):
                    apart = data.box.displacement(data.position[step, i], data.position[step, j])
                    r = float(np.hypot(*apart))
                    if r < 1.0:
                        push = -LIST.energies[0].of_kind(NUMBERS.theta[:8], np.array([r]), 0, 1) * apart / r
                        for end, sign in ((i, 1), (j, -1)):
                            out[end] -= sign * weight * 0.5 * (c[i] + c[j]) * push
        return out

    inverse = np.linalg.pinv(C.dense())
    for k in (0, 7, 19):
        c = np.zeros(N)
        c[k] = 1e-4
        after, before = (residual(sign * c).ravel() for sign in (1, -1))
        slope = -0.5 * (after @ inverse @ after - before @ inverse @ before) / 2e-4
        assert found[k] == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_noise_scores_are_slopes_up_to_the_trace() -> None:
    """The part that depends on the motion is exact, and the shares of the trace are right on average."""
    data = some_steps()
    model = window_model(data)
    C = model.covariance()
    rng = np.random.default_rng(1)
    drawn = [model.centred(C.draw(rng)) for _ in range(2)]
    blocks = sums.blocks(*C.ends, C.across, C.along, N) + C.node[:, None, None] * np.eye(2)
    trace = shares(*C.ends, C.across, C.along, np.linalg.inv(blocks))
    scores = [noise_scores(C, trace, model.centred(C.solve(R, 1e-12))) for R in drawn]

    def quadratic(R: np.ndarray, k: int, h: float) -> float:
        theta = np.zeros(N)
        theta[k] = h
        factor = 1 + 0.5 * (theta[C.first] + theta[C.second])
        changed = dataclasses.replace(C, across=C.across * factor, along=C.along * factor)
        return float(-0.5 * R.ravel() @ np.linalg.pinv(changed.dense()) @ R.ravel())

    for k in (2, 11):
        slopes = [(quadratic(R, k, 1e-5) - quadratic(R, k, -1e-5)) / 2e-5 for R in drawn]
        assert scores[0][k] - scores[1][k] == pytest.approx(slopes[0] - slopes[1], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("seen_by", ["another order", "another direction", "a passing observer"])
def test_scores_are_invariant(seen_by: str) -> None:
    data = some_steps(3)
    order = np.arange(N)
    if seen_by == "another order":
        order = np.random.default_rng(0).permutation(N)
        other = dataclasses.replace(data, position=np.ascontiguousarray(data.position[:, order]),
                                    velocity=np.ascontiguousarray(data.velocity[:, order]), _kept={})
    elif seen_by == "another direction":
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        other = dataclasses.replace(data, position=data.position @ turn, velocity=data.velocity @ turn, _kept={})
    else:
        drift = np.array([0.7, -0.3])
        time = data.dt * np.arange(len(data.position))
        other = dataclasses.replace(data, position=data.position + time[:, None, None] * drift,
                                    velocity=data.velocity + drift, _kept={})
    ours, theirs = (local_scores(d, LIST, NUMBERS, FRAMES, 1.0, 0) for d in (data, other))
    assert ours.scores.shape == (2, 2, N)
    assert np.abs(ours.scores).max() > 0.1
    np.testing.assert_allclose(theirs.scores, ours.scores[:, :, order], rtol=1e-4, atol=1e-4)


def test_a_potential_of_nothing_has_no_scores() -> None:
    flat = dataclasses.replace(NUMBERS, theta=np.concatenate([np.zeros(8), NUMBERS.theta[8:]]))
    found = local_scores(some_steps(), LIST, flat, FRAMES, 1.0, 0)
    assert found.scores.shape == (1, 2, N)
    assert np.isfinite(Baseline.of([found]).observations(found)).all()


def test_information_is_that_of_the_model_and_the_baseline_takes_what_density_tells() -> None:
    found = [local_scores(some_steps(seed), LIST, NUMBERS, FRAMES, 1.0, seed) for seed in range(3)]
    baseline = Baseline.of(found)
    assert baseline.information[0] == pytest.approx(np.concatenate([f.null for f in found], axis=1).var(axis=(1, 2)))
    y = np.concatenate([baseline.observations(f) for f in found], axis=1)
    places = np.concatenate([f.places for f in found]).reshape(-1, 2 * HATS)
    for coupling in (NOISE, STRENGTH):
        for feature in places.T:
            assert abs(np.corrcoef(y[coupling].ravel(), feature)[0, 1]) < 1e-5


def test_forces_last_as_long_as_they_do() -> None:
    """Exponential forces of 4 windows: a tenth is left after 4 ln 10 = 9.2."""
    rng = np.random.default_rng(0)
    forces = np.zeros((4000, 50, 2))
    for t in range(1, len(forces)):
        forces[t] = np.exp(-0.25) * forces[t - 1] + rng.normal(size=(50, 2))
    empty = np.zeros((2, 4000, 50))
    found = LocalScores(empty, empty, np.zeros((4000, 50, 1)), forces, np.zeros(50, int), 1, 0.1)
    assert lasting_forces([found], 3) == pytest.approx(10, abs=1)
    assert lasting_forces([dataclasses.replace(found, forces=rng.normal(size=forces.shape))], 3) == 3
    assert lasting_forces([dataclasses.replace(found, forces=np.zeros((4000, 50, 2)))], 3) == 3
