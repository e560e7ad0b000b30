"""Parts of friction from drift: what was put in comes back, also where noise shows one component more than another."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import chi2

import vid2dyn as vd
from vid2dyn import terms
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.fitting.particles.late_friction import LateFriction, first_lag, late_friction, misfit
from vid2dyn.fitting.particles.memory_kernel import Kernel
from vid2dyn.fitting.particles.motion_checks import scene_of
from vid2dyn.fitting.particles.window_likelihood import (
    Observed,
    WindowLikelihood,
    WindowSet,
    friction_slopes,
    window_starts,
)
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.window_score import Numbers
from vid2dyn.inference.windows import Terms
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_paths

MASS, DT, LAG = 1.5, 0.02, 4
FORCE = terms.PairPotential(cutoff=1.0, knots=8, inner=(0.0,), core=0.0, species=("",))
FRICTION = terms.PairFriction(cutoff=1.0, knots=4, inner=(0.0,), species=("",))


def bump(term: terms.PairPotential | terms.PairFriction) -> np.ndarray:
    """Numbers of (1 - r)³ (1 + 3 r)."""
    r = np.linspace(0, 1, 200)
    return np.linalg.lstsq(term.splines()[0](r)[0], (1 - r) ** 3 * (1 + 3 * r), rcond=None)[0]


ENERGY = 4.0 * bump(FORCE)
TRUTH = np.concatenate([1.0 * bump(FRICTION), 4.0 * bump(FRICTION)])
"""Across, along."""


@cache
def steps() -> FluidSteps:
    """A recording of 150 particles, three to the unit of area."""
    n, frames, settle = 150, 1200, 100
    rng = np.random.default_rng(0)
    edge, side = (n / 3.0) ** 0.5, int(np.ceil(n**0.5))
    x = np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1).reshape(-1, 2)[:n] * edge / side
    v = rng.normal(size=(n, 2)) / np.sqrt(MASS)
    box = Periodic((edge, edge))
    frozen = freeze([FORCE, FRICTION], [ENERGY, TRUTH], kT=1.0, mass=(MASS,), dim=2)
    paths = fluid_paths(frozen, FluidFrame(x, v - v.mean(axis=0), np.zeros(n), box), FluidRollout(DT / 2),
                        steps=2 * (frames + settle), every=2, seed=1)
    return FluidSteps.of(vd.Trajectories.from_dense(paths.position[settle:], vd.Units(1.0, 1 / DT),
                                                    velocity=paths.velocity[settle:], box=box), 1.0)


def numbers(phi: np.ndarray) -> Numbers:
    return Numbers(np.concatenate([ENERGY, phi]), 1.0, 1e-3)


TERMS = Terms((FORCE,), (FRICTION,), np.array([MASS]))


def divided(phi: np.ndarray) -> tuple[LateFriction, np.ndarray]:
    """What drift says where noise said `phi` to 3 %, and the friction of a particle in every amplitude."""
    data = steps()
    windows = WindowSet(Observed((data,), window_starts((data,), LAG, 16), LAG, 1.0), TERMS)
    likelihood = WindowLikelihood(windows, scene_of((data,), ("",), np.array([MASS]), 1.0))
    slopes = friction_slopes(windows)
    of = slice(FORCE.count, FORCE.count + FRICTION.count)
    late = late_friction((data,), TERMS, numbers(phi), np.diag((0.03 * phi.mean()) ** 2 * np.ones(len(phi))),
                         likelihood.prior(numbers(phi).vector)[0][of, of], slopes, LAG)
    assert late is not None
    return late, slopes


def distance(late: LateFriction, phi: np.ndarray) -> float:
    """Squared, in the errors of drift."""
    error = np.sqrt(np.diag(late.covariance))
    known = np.linalg.pinv(late.covariance / error[:, None] / error, hermitian=True, rcond=1e-9)
    return float((late.phi - phi) / error @ known @ ((late.phi - phi) / error))


@pytest.mark.parametrize("along", [1.0, 0.6])
def test_division_of_friction_comes_back(along: float) -> None:
    """From noise that shows all parts alike, and from noise that shows 0.6 of friction along the line of centres and so
    much more across it that the friction of a particle is the same: within chance (1e-6) of what was put in; the wrong
    division is told from it, by the same limit."""
    half = FRICTION.knots
    _, slopes = divided(TRUTH)
    across = 1.0 + (1.0 - along) * float(slopes[half:] @ TRUTH[half:]) / float(slopes[:half] @ TRUTH[:half])
    wrong = np.concatenate([across * TRUTH[:half], along * TRUTH[half:]])
    late, _ = divided(wrong)
    limit = float(chi2.isf(1e-6, len(TRUTH)))
    assert distance(late, TRUTH) < limit
    assert late.differs == (along < 1.0)
    if along < 1.0:
        assert distance(late, wrong) > limit
    assert abs(slopes @ late.phi / (slopes @ wrong) - 1) < 0.1


def test_rollout_with_the_right_friction_is_nearer() -> None:
    data = steps()
    found = [misfit(data, TERMS, numbers(factor * TRUTH), 5.0, seed=3) for factor in (1.0, 3.0)]
    assert found[0] < 0.5 * found[1]


def test_short_recordings_say_nothing() -> None:
    data = steps().between(0, 60)
    one = np.eye(FRICTION.count)
    assert late_friction((data,), TERMS, numbers(TRUTH), one, one, np.ones(FRICTION.count), LAG) is None


def test_first_lag_is_behind_the_memory() -> None:
    assert first_lag(Kernel(), 4, DT) == 4
    assert first_lag(Kernel((0.1,), (0.5,)), 4, DT) == int(np.ceil(0.1 * np.log(500) / DT))
