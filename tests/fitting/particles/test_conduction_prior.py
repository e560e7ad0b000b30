"""What a fluid's fit believes of conduction before it has seen any: good or none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vid2dyn.dynamics.fluid.functions import transport
from vid2dyn.dynamics.fluid.numbers import FluidNumbers, Layout, Thermal
from vid2dyn.fitting.particles.fluid_likelihood import (
    CONDUCTIONS,
    FluidLikelihood,
    Prior,
    even_conduction,
    moments,
    prior_of,
)
from vid2dyn.fitting.particles.scoring import Scored, ascent
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.simulators.fluid.sdpd.gas import SDPD

WARM = SDPD(dim=2, n_particles=64, box_length=0.64, frames=41, flow="taylor_green", flow_speed=30.0, equilibration=4,
            substeps=5, kT=2.0, heat_capacity=30.0, adiabatic_index=1.4, bulk_viscosity=60.0, conductivity=3e4)
"""Temperatures even out about ten times as fast as velocities."""


@pytest.fixture(scope="module")
def start() -> FluidNumbers:
    data = FluidSteps.of(WARM.run(seed=1), WARM.cutoff)
    return moments([data], Layout(2, WARM.cutoff, WARM.mass, WARM.volume0, 4, 1))


def with_conductivity(numbers: FluidNumbers, kappa: float) -> FluidNumbers:
    vector = numbers.vector.copy()
    vector[Thermal.CONDUCTION] = 1.0
    vector[Thermal.CONDUCTION] = kappa / transport(numbers.at(vector))[2]
    return numbers.at(vector)


def after_a_step(numbers: FluidNumbers, score: np.ndarray, information: np.ndarray, prior: Prior) -> np.ndarray:
    likelihood = FluidLikelihood((), numbers, prior, lambda _: (), 0)
    return ascent(likelihood, Scored(numbers.vector, score[None], information))[0]


@pytest.mark.parametrize("kappa", [0.0, 100.0, 3e4])
def test_what_is_true_is_believed_possible(start, kappa):
    """Within one standard deviation of the prior (a width of three times the first guess was 2.5 away from 3e4)."""
    prior = prior_of(start)
    away = with_conductivity(start, kappa).conduction - prior.mean[Thermal.CONDUCTION]
    assert abs(away) * np.sqrt(prior.precision[Thermal.CONDUCTION, Thermal.CONDUCTION]) < 1.0


@pytest.mark.parametrize("power", [0, 1])
def test_heat_spreads_as_fast_as_momentum(start, power):
    """Rates of either, over pairs: Σ C² w/(c T²) against Σ friction w/m for coefficients without their shapes."""
    numbers = FluidNumbers(start.vector, dataclasses.replace(start.layout, power=power))
    c, T = 1 / numbers.softness, np.exp(numbers.log_temperature)
    friction = numbers.friction.mean() / (1.0 if power else T)
    heat = even_conduction(numbers) / c / (1.0 if power else T**2)
    assert heat == pytest.approx(friction / WARM.mass, rel=1e-12)


def test_a_fit_that_went_to_zero_is_not_held_there(start):
    """Numbers with no conduction, from an earlier fit, believe as much possible as any others."""
    none = with_conductivity(start, 0.0)
    k = Thermal.CONDUCTION
    prior = prior_of(none)
    assert prior.precision[k, k] == pytest.approx((CONDUCTIONS * even_conduction(start)) ** -2)
    information = np.diag(np.diag(prior.precision)) * 1e-6
    score = np.zeros(len(none.vector))
    score[k] = 1.0 / even_conduction(start)
    assert after_a_step(none, score, information, prior)[k] > 0.0


def test_no_step_goes_too_far(start):
    """Where the data say little of it, conduction grows by a few times itself, not to where it cannot be followed."""
    k, prior = Thermal.CONDUCTION, prior_of(start)
    score = np.zeros(len(start.vector))
    score[k] = 1e3 / start.conduction
    new = after_a_step(start, score, 1e-9 * prior.precision, prior)
    assert new[k] == pytest.approx(4.0 * start.conduction)
