"""A fluid learned from several recordings: how warm each of them starts is learned beside its numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Thermal
from vid2dyn.fitting.particles.fluid_likelihood import score_and_information
from vid2dyn.inference.score import sweep
from vid2dyn.inference.start import fit_shift, start_pattern
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

GAS = SDPD(dim=2, n_particles=100, box_length=1.0, frames=81, flow="taylor_green", flow_speed=30.0, equilibration=4,
           substeps=4)
WARMER = 1.3


@pytest.fixture(scope="module")
def tracks() -> list[vd.Trajectories]:
    return [dataclasses.replace(GAS, kT=kT).run(seed=seed) for kT, seed in ((1.0, 1), (WARMER, 2), (1.0, 3))]


@pytest.fixture(scope="module")
def model(tracks: list[vd.Trajectories]) -> Any:
    return vd.fit(tracks, vd.Metriplectic(cutoff=GAS.cutoff, mass=GAS.mass, window=16, compare=("isothermal",)))


def test_scoring_settles(model: Any) -> None:
    """With the start of the second recording found anew from its first steps at all numbers it went on for three times
    as many iterations at .1 to .4 nats."""
    decrements = model.report["decrements"]
    assert decrements[-1] < 0.05, decrements
    assert len(decrements) <= 12, decrements
    assert model.report["warnings"] == []
    assert model.report["entropy_identifiable"]
    a = model.learned.softness
    assert abs(a * GAS.heat_capacity - 1) < 5 * np.sqrt(model.arrays["covariance"][1, 1]) * GAS.heat_capacity


def test_scores_of_shifts_are_those_of_their_recordings(model: Any, tracks: list[vd.Trajectories]) -> None:
    """Numbers of the fluid are shared, those of the starts stand last; without shifts all start as they are given."""
    data = [FluidSteps.of(one, GAS.cutoff).between(0, 12) for one in tracks]
    numbers = model.learned
    starts = [start_pattern(part, numbers, "even") for part in data]
    scores, information = score_and_information(data, starts, numbers, 0, 1, (3.0, -2.0))
    size = numbers.layout.size
    assert scores.shape == (36, size + 2)
    assert information.shape == (size + 2, size + 2)
    keep = np.arange(size) != Thermal.START
    shared, told = np.zeros(size), np.zeros((size, size))
    for k, (part, start, shift) in enumerate(zip(data, starts, (0.0, 3.0, -2.0), strict=True)):
        alone = sweep(part, numbers.starting(shift) if k else numbers, start, information_every=1)
        if k:
            assert alone.score[:, Thermal.START].any()
            assert np.array_equal(scores[12 * k:12 * k + 12, size + k - 1], alone.score[:, Thermal.START])
        shared += alone.score.sum(0) * keep
        told += alone.information * np.outer(keep, keep)
    assert scores[:, :size].sum(0) * keep == pytest.approx(shared, rel=1e-9)
    assert information[:size, :size] * np.outer(keep, keep) == pytest.approx(told, rel=1e-9)
    assert information[size, size + 1] == 0.0
    plain = score_and_information(data, starts, numbers, 0, 1)[0]
    assert plain.shape == (36, size)
    assert np.array_equal(plain[:12], scores[:12, :size])


def test_first_steps_tell_how_much_warmer_a_recording_starts(model: Any, tracks: list[vd.Trajectories]) -> None:
    """At the learned numbers; c ln(T2/T1) of entropy, of which 30 steps of 100 particles tell T2 to 3 %: within 15 %,
    while a start as the first one would be 23 % off."""
    numbers: FluidNumbers = model.learned
    shifts = [fit_shift(FluidSteps.of(one, GAS.cutoff), numbers, "even", 30) for one in tracks]
    ratio = np.exp((shifts[1] - shifts[0]) * numbers.softness)
    assert abs(ratio / WARMER - 1) < 0.15
