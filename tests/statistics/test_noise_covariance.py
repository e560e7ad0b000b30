"""Fluctuation-dissipation, whitened: noise draws have covariance M (2 M dt for dynamics), and nothing else.

False alarm 1e-6 a test. With N ≥ 300,000 whitened numbers a 1 % error of the noise amplitude lies 7.7 standard errors
out; the planted error beside each test must be refused.
"""

import numpy as np
import pytest
import torch

from vid2dyn.dynamics.base import Overdamped, Root
from vid2dyn.dynamics.terms.friction import PairFriction, SolventMobility, Sum
from vid2dyn.testing.brackets import random_snapshot, whitened_noise_pvalue

ALPHA = 1e-6
DRAWS = 8000                                             # × 38 to 40 components: N > 300,000


@pytest.fixture(scope="module")
def state():
    return random_snapshot(np.random.default_rng(0), 20, 2)


def gamma(r):
    return 0.7 * torch.clamp(1 - r / 2.0, min=0.0) ** 2


def with_noise(friction, change):
    """The same matrix, its noise changed after the draw."""
    class Planted(type(friction)):
        def __init__(self):
            self.__dict__.update(friction.__dict__)

        def noise(self, snapshot, generator):
            return change(super().noise(snapshot, generator))

    return Planted()


@pytest.mark.parametrize("friction", [
    SolventMobility(0.4), PairFriction(gamma), Sum(SolventMobility(0.05), PairFriction(gamma)),
], ids=["solvent", "pairs", "both"])
def test_noise_has_covariance_M_and_one_per_cent_is_seen(state, friction):
    assert whitened_noise_pvalue(friction, state, draws=DRAWS, seed=1) > ALPHA
    louder = with_noise(friction, lambda draw: 1.01 * draw)
    assert whitened_noise_pvalue(louder, state, draws=DRAWS, seed=1) < ALPHA


def test_noise_of_the_dynamics_has_covariance_2_M_dt(state):
    class Louder(Overdamped):
        def noise(self, snapshot, dt, generator):
            return 1.01 * super().noise(snapshot, dt, generator)

    friction = Sum(SolventMobility(0.05), PairFriction(gamma))
    assert whitened_noise_pvalue(Overdamped((), friction), state, dt=0.003, draws=DRAWS, seed=2) > ALPHA
    assert whitened_noise_pvalue(Louder((), friction), state, dt=0.003, draws=DRAWS, seed=2) < ALPHA


def test_noise_that_leaves_the_range_of_M_is_refused(state):
    """Momentum conservation of the noise: the null direction of M gets nothing at all."""
    leaky = with_noise(PairFriction(gamma), lambda draw: draw + 1e-4)
    with pytest.raises(AssertionError, match="null direction"):
        whitened_noise_pvalue(leaky, state, draws=10)


def test_wrong_correlations_with_the_right_size_are_refused(state):
    """Independent noise of the right variance on every particle, where pairs share theirs."""
    friction = Sum(SolventMobility(0.2), PairFriction(gamma))
    size = friction.dense(state).diagonal().sqrt().reshape(-1, 2)

    class Independent(Sum):
        def noise(self, snapshot, generator):
            return size * torch.randn(size.shape, generator=generator, dtype=size.dtype)

    assert whitened_noise_pvalue(Independent(*friction.parts), state, draws=2000) < ALPHA


def test_noise_with_a_memory_or_a_mean_is_refused(state):
    class Remembering(SolventMobility):
        last = 0.0

        def noise(self, snapshot, generator):
            fresh = super().noise(snapshot, generator)
            draw = 0.02 * self.last + (1 - 0.02**2) ** 0.5 * fresh
            self.last = draw
            return draw

    assert whitened_noise_pvalue(Remembering(0.4), state, draws=DRAWS) < ALPHA
    drifting = with_noise(SolventMobility(0.4), lambda draw: draw + 0.02 * 0.4**0.5)
    assert whitened_noise_pvalue(drifting, state, draws=DRAWS) < ALPHA


def test_one_wrong_particle_among_twenty_is_seen(state):
    """One particle 5 % too loud, the rest right: variance of the whole changes by 0.5 %, which is 2 standard errors;
    the doubled noise of one particle is caught."""
    class Odd(SolventMobility):
        def root(self, snapshot):
            return Root(node=super().root(snapshot).node)

        def noise(self, snapshot, generator):
            draw = super().noise(snapshot, generator)
            draw[0] *= 2**0.5
            return draw

    assert whitened_noise_pvalue(Odd(0.4), state, draws=DRAWS) < ALPHA
