"""Are particles alike? The limit of T, its false alarms, and what it detects."""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.fitting.brownian import populations
from vid2dyn.fitting.brownian.evidence import free_model
from vid2dyn.fitting.brownian.populations import limit_of_products, unlike_particles
from vid2dyn.fitting.brownian.recording import Recording


@pytest.mark.parametrize("number", [8, 60])
def test_the_limit_is_that_of_sums_of_products(number):
    """100,000 sums at a level of 1e-3: within 4.9 standard errors of 100; a normal limit (3.09) is not at 8."""
    rng, n, alpha = np.random.default_rng(0), 100_000, 1e-3
    total = np.zeros(n)
    for _ in range(number):
        total += rng.standard_normal(n) * rng.standard_normal(n)
    beyond = (total / np.sqrt(number) > limit_of_products(number, alpha)).sum()
    assert abs(beyond - n * alpha) < 4.9 * np.sqrt(n * alpha)
    if number == 8:
        assert (total / np.sqrt(number) > 3.0902).sum() - n * alpha > 4.9 * np.sqrt(n * alpha)


@pytest.fixture
def scores(monkeypatch):
    """What every fit found, beside its warnings."""
    seen = []

    def watched(*arguments):
        seen.append(unlike_particles(*arguments))
        return seen[-1]

    monkeypatch.setattr(populations, "unlike_particles", watched)
    return seen


def free(seed, D, frames=80):
    """Particles of given D, seen with an error of 20 nm."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, 1, (frames, len(D), 2)) * np.sqrt(2 * D * 0.01)[None, :, None], axis=0)
    seen = path + rng.normal(0, 0.02, path.shape)
    return vd.Trajectories.from_dense(seen, vd.Units(0.1, 100.0, exposure=0.0), sigma=0.02)


def test_particles_that_are_alike_give_no_alarm():
    """T of 30 samples of 60 particles: mean 0 and variance 1 within 4.9 errors; an offset of 1 would show."""
    recordings = [Recording.of(free(seed, np.full(60, 0.4)), None) for seed in range(30)]
    found = [unlike_particles([one], [free_model(one)])[0] for one in recordings]
    T = np.array([one.score for one in found if one is not None])
    assert len(T) == 30
    assert abs(T.mean()) < 4.9 / np.sqrt(30) < 1
    assert abs(T.var() - 1) < 4.9 * np.sqrt(2 / 30) + 0.1


@pytest.mark.parametrize(("spread", "said"), [(0.3, True), (0.05, False)])
def test_two_kinds_of_D(spread, said):
    """Half of 60 particles with D 30 % above the mean, half below, 80 frames: T is 20. 5 % is nobody's business."""
    D = 0.4 * (1 + spread * np.where(np.arange(60) % 2, 1, -1))
    warnings = vd.fit(free(0, D), vd.Brownian()).report["warnings"]
    assert any("The particles are not alike" in text for text in warnings) == said


def test_particles_that_stick():
    D = np.where(np.arange(50) < 10, 1e-4, 0.5)
    assert any("some particles stick" in text for text in vd.fit(free(1, D), vd.Brownian()).report["warnings"])


@pytest.mark.case
def test_two_kinds_of_forces_with_one_D(scores):
    """Charges 4:1 and the same D, 350 frames: only the forces tell. One kind, the same film: nothing."""
    strong, middle, weak = (sims.Yukawa(amplitude=a, screening_length=0.4, cutoff=2.6) for a in (12.0, 3.0, 0.75))
    film = {"n_a": 40, "n_b": 40, "frames": 350, "box_length": 12.0}
    two = sims.BrownianMixture(**film, pair_aa=strong, pair_ab=middle, pair_bb=weak).run(0)
    bare = two.replace(dataframe=two.dataframe.drop(columns="species"))
    said = vd.fit(bare, vd.Brownian(cutoff=2.6)).report["warnings"]
    steps, forces = scores[-1]
    assert forces.shows
    assert not steps.shows
    assert any("feel their neighbours more strongly" in text for text in said)
    one = sims.BrownianMixture(**film, pair_aa=middle, pair_ab=middle, pair_bb=middle).run(0)
    bare = one.replace(dataframe=one.dataframe.drop(columns="species"))
    assert not any("alike" in text for text in vd.fit(bare, vd.Brownian(cutoff=2.6)).report["warnings"])
    assert not scores[-1][1].shows


def test_few_or_short_tracks_are_left_alone(scores):
    vd.fit(free(0, np.full(10, 0.4)), vd.Brownian())
    vd.fit(free(0, np.full(60, 0.4), frames=20), vd.Brownian())
    assert scores == [(None, None), (None, None)]
