"""Tests of single assumptions on steps that are made up: right ones pass, a planted departure fails. α = 1e-6 each."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vid2dyn.assessment.assumptions.memory import NextFrame, Persistence
from vid2dyn.assessment.assumptions.pairs import Central, DiesOut, Range, SameForces, Uncoupled
from vid2dyn.assessment.assumptions.places import HarmonicTraps, NoCirculation, NoField, SameEverywhere
from vid2dyn.assessment.assumptions.scatter import Isotropy, Jumps, Spread, Tails
from vid2dyn.assessment.assumptions.times import SameAtAllTimes, Stationary
from vid2dyn.assessment.assumptions.tracking import Complete, Noise, OwnNames
from vid2dyn.assessment.steps import Detection, Neighbours, Steps
from vid2dyn.assessment.table import TESTS, assessed

ALPHA = 1e-6
FRAMES, PARTICLES, EDGE = 60, 100, 10.0


def made_up(seed: int = 0) -> Steps:
    """An ideal gas whose steps are white, with every neighbour within 2 µm; places do not follow from steps."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, EDGE, (PARTICLES, FRAMES, 2))
    frame, particle = np.tile(np.arange(FRAMES), PARTICLES), np.repeat(np.arange(PARTICLES), FRAMES)
    step, other, e, r = [], [], [], []
    for t in range(FRAMES):
        pairs = cKDTree(x[:, t], boxsize=EDGE).query_pairs(2.0, output_type="ndarray")
        i, j = np.r_[pairs[:, 0], pairs[:, 1]], np.r_[pairs[:, 1], pairs[:, 0]]
        apart = x[i, t] - x[j, t]
        apart -= EDGE * np.round(apart / EDGE)
        distance = np.linalg.norm(apart, axis=1)
        step.append(i * FRAMES + t)
        other.append(j * FRAMES + t)
        e.append(apart / distance[:, None])
        r.append(distance)
    near = Neighbours(np.concatenate(step), np.concatenate(other), np.concatenate(e), np.concatenate(r), 2.0,
                      np.arange(PARTICLES * FRAMES))
    n = PARTICLES * FRAMES
    return Steps(rng.standard_normal((n, 2)), np.tile(np.arange(FRAMES), PARTICLES), particle, frame, x.reshape(n, 2),
                 rng.standard_normal((n, 2)), None, 0.4, 0.01, 0.045, cutoff=1.3, neighbours=near, stationary=True,
                 detection=Detection(n))


@pytest.fixture(scope="module")
def steps() -> Steps:
    return made_up()


def summed(steps: Steps, vectors: np.ndarray) -> np.ndarray:
    """(steps, 2) sum of the vectors of all neighbours."""
    assert steps.neighbours is not None
    return np.stack([np.bincount(steps.neighbours.step, column, len(steps)) for column in vectors.T], axis=1)


def planted(steps: Steps, fault: str) -> Steps:
    """Steps with a fault."""
    z, x = steps.white.copy(), steps.position
    assert steps.neighbours is not None
    e = steps.neighbours.direction
    if fault == "transverse":
        z += 0.1 * summed(steps, np.stack([-e[:, 1], e[:, 0]], axis=1))
    elif fault == "coupled":
        z += 0.1 * summed(steps, z[steps.neighbours.other])
    elif fault == "strength":
        z += 0.3 * steps.response * steps.force * 10
    elif fault == "field":
        z[:, 0] += 0.5 * (x[:, 0] / EDGE - 0.5)
    elif fault == "mobility":
        z *= np.sqrt(1 + 0.4 * (x[:, :1] / EDGE - 0.5))
    elif fault == "time":
        z *= np.sqrt(1 + 0.4 * (steps.frame[:, None] / FRAMES - 0.5))
    elif fault == "axis":
        z[:, 0] *= 1.08
    elif fault == "size":
        z *= 1.1
    elif fault == "tails":
        z *= np.where(np.random.default_rng(1).random((len(z), 1)) < 0.1, 2.0, 0.8)
    elif fault == "jumps":
        z[::200] *= 10
    elif fault == "memory":
        z[1:] += 0.15 * z[:-1]
    elif fault == "persistent":
        z += 0.35 * np.repeat(np.random.default_rng(2).standard_normal((len(z) // 20, 2)), 20, axis=0)
    return dataclasses.replace(steps, white=z)


FAULTS: list[tuple[str, Any]] = [
    ("transverse", Central), ("coupled", Uncoupled), ("strength", SameForces), ("field", NoField),
    ("mobility", SameEverywhere), ("time", SameAtAllTimes), ("axis", Isotropy), ("size", Spread), ("tails", Tails),
    ("jumps", Jumps), ("memory", NextFrame), ("persistent", Persistence)]


@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=[name for name, _ in FAULTS])
def test_planted_faults_fail_and_white_steps_do_not(steps: Steps, fault: str, kind: Any) -> None:
    right, wrong = kind().judge(steps, None), kind().judge(planted(steps, fault), None)
    assert right.p > ALPHA
    assert wrong.p < ALPHA
    assert wrong.effect > wrong.bound
    assert wrong.advice


def test_white_steps_pass_the_whole_table() -> None:
    """Twenty tables, forces that change nothing left out: as many alarms as 1 % allows."""
    alarms = 0
    for seed in range(20):
        one = dataclasses.replace(made_up(seed), stationary=False)
        found = assessed(one)
        alarms += bool(found.failed)
        assert len(found.findings) >= 12
    assert alarms <= 2


def trap(circulation: float = 0.0, quartic: float = 0.0) -> Steps:
    """Particles about the centres of their traps, with a force that a spring does not have [kT/µm]."""
    rng = np.random.default_rng(5)
    n = PARTICLES * FRAMES
    u, z = 0.3 * rng.standard_normal((n, 2)), rng.standard_normal((n, 2))
    response = 0.045
    z[:, 0] += response * circulation * u[:, 1]
    z[:, 1] -= response * circulation * u[:, 0]
    z -= response * quartic * (u**3 - 3 * u * 0.09)
    return dataclasses.replace(made_up(), white=z, offset=u, position=u, force=-10 * u, neighbours=None, cutoff=None)


def test_traps() -> None:
    for kind, wrong in ((NoCirculation, trap(circulation=8.0)), (HarmonicTraps, trap(quartic=60.0))):
        right, found = kind().judge(trap(), None), kind().judge(wrong, None)
        assert right is not None
        assert found is not None
        assert right.p > ALPHA > found.p
    found = NoCirculation().judge(trap(circulation=8.0), None)
    assert found is not None
    assert found.effect == pytest.approx(0.4 * 8.0**2 * 2 * 0.09, rel=0.5), "entropy produced: D ω² <u²> [kT/s]"


def test_the_range_is_asked_of_places() -> None:
    """An ideal gas has no force beyond the cutoff; neighbours that keep 1.6 µm away from each other have."""
    steps = dataclasses.replace(made_up(), force=np.zeros((PARTICLES * FRAMES, 2)))
    near = steps.neighbours
    assert near is not None
    kept = (near.distance < 1.3) | (near.distance > 1.6) | (np.minimum(near.step, near.other) % 3 > 0)
    fewer = Neighbours(*(getattr(near, name)[kept] for name in ("step", "other", "direction", "distance")), near.reach,
                       near.seen)
    right = Range().judge(steps, None)
    wrong = Range().judge(dataclasses.replace(steps, neighbours=fewer), None)
    assert right is not None
    assert wrong is not None
    assert right.p > ALPHA > wrong.p


def test_energy_left_at_the_end() -> None:
    steps = made_up()
    for energy, fails in ((0.05, False), (0.6, True)):
        found = DiesOut().judge(dataclasses.replace(steps, end_energy=((energy, 0.05),)), None)
        assert found is not None
        assert (found.p < ALPHA) == fails
    assert DiesOut().judge(steps, None) is None


def test_surroundings_that_change() -> None:
    """Particles that lose a neighbour in three over the film, and the same film at rest."""
    steps = made_up()
    near = steps.neighbours
    assert near is not None
    late = np.random.default_rng(0).random(len(near.step)) < 0.33 * steps.frame[near.step] / FRAMES
    fewer = Neighbours(*(getattr(near, name)[~late] for name in ("step", "other", "direction", "distance")), near.reach,
                       near.seen)
    rest, moving = (Stationary().judge(one, None) for one in (steps, dataclasses.replace(steps, neighbours=fewer)))
    assert rest is not None
    assert moving is not None
    assert rest.p > ALPHA > moving.p
    assert "fewer" in moving.advice


def test_what_the_tracker_knows() -> None:
    steps = made_up()
    assert OwnNames().judge(steps, None) is None
    said = OwnNames().judge(dataclasses.replace(steps, links=("many links are guesses.",)), None)
    assert said is not None
    assert said.p == 0
    for lost, fails in ((3, False), (200, True)):
        found = Complete().judge(dataclasses.replace(steps, detection=Detection(6000, 10, lost)), None)
        assert found is not None
        assert (found.p < ALPHA) == fails
    for scale, fails in ((-0.5, False), (-6.0, True), (1.0, False)):
        found = Noise().judge(dataclasses.replace(steps, noise_scale=(scale, 1.0)), None)
        assert found is not None
        assert (found.p < ALPHA) == fails


def test_every_test_has_a_planted_fault_somewhere() -> None:
    """Those that are not here are in test_faults: heterogeneity, drift, memory over 2-3 frames."""
    here = {kind.name for _, kind in FAULTS} | {one.name for one in (
        NoCirculation, HarmonicTraps, Range, DiesOut, Stationary, OwnNames, Complete, Noise)}
    elsewhere = {"memory over 2-3 frames", "one D for all particles", "one force for all particles", "common drift"}
    assert here | elsewhere == {one.name for one in TESTS}
