"""Particles with a hidden state: mobility, switching, and how the state shows.

Statistical comparisons use alpha = 1e-6 (|z| < 4.9) and state the error they detect; planted errors beside them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators import HiddenState, Renderer, render

ALPHA_1E6 = 4.9
QUIET = {"gain": 0.0, "read_noise": 0.0, "bit_depth": 16, "height": 64, "width": 64}


def squares(sim: HiddenState, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Squared step in one axis over its expectation in the particle's state; (steps, 2 axes) and the state."""
    path = sim.path(seed)
    steps = np.diff(path.positions.mean(axis=1), axis=0)
    D = sim.diffusion * sim.diffusion_ratio ** path.state[:-1]
    return steps**2 / (2 * D / sim.frames_per_second)[..., None], path.state


def z(samples: np.ndarray, exact: float) -> float:
    return float((samples.mean() - exact) / (samples.std(ddof=1) / math.sqrt(samples.size)))


@pytest.mark.parametrize("settings", [{}, {"switching_rate": 5.0}, {"continuous": True, "switching_rate": 5.0}])
def test_every_state_has_its_mobility(settings: dict) -> None:
    """80,000 numbers see 5 % in D (10 standard errors); such an error planted in the rate of frames fails."""
    sim = HiddenState(n_particles=200, frames=201, **settings)
    ratio, state = squares(sim)
    for part in (state[:-1] < 0.5, state[:-1] >= 0.5):
        assert abs(z(ratio[part], 1.0)) < ALPHA_1E6
        assert abs(z(1.05 * ratio[part], 1.0)) > ALPHA_1E6


def test_blur_of_particles_that_change_between_frames() -> None:
    """E[d_k²] = V_k (1 - 4R) + 2R V_{k+1} and E[d_k d_{k+1}] = R V_{k+1}, R = t_E/6dt: 5 % and 10 % are seen."""
    sim = HiddenState(n_particles=500, frames=401, switching_rate=25.0, exposure=0.016, frames_per_second=50.0)
    path = sim.path(3)
    d = np.diff(path.positions.mean(axis=1), axis=0)
    V = (2 * sim.diffusion * sim.diffusion_ratio**path.state / 50.0)[..., None]
    R = 0.8 / 6
    expected = V[:-1] * (1 - 4 * R) + 2 * R * V[1:]
    assert abs(z(d**2 / expected, 1.0)) < ALPHA_1E6 < abs(z(1.05 * d**2 / expected, 1.0))
    both = d[:-1] * d[1:] / (R * V[1:-1])
    assert abs(z(both, 1.0)) < ALPHA_1E6
    assert abs(z(1.1 * both, 1.0)) > ALPHA_1E6


@pytest.mark.parametrize("continuous", [False, True])
def test_states_live_as_long_as_they_should(continuous: bool) -> None:
    """Correlation over 5 frames exp(-rate t) within 4.9 standard errors, which are below a tenth of 1/e."""
    sim = HiddenState(n_particles=2000, frames=200, switching_rate=10.0, share=0.3, continuous=continuous)
    state = sim.path(1).state
    mean, variance = (0.5, 1 / 12) if continuous else (0.3, 0.21)
    product = ((state[:-5] - mean) * (state[5:] - mean)).mean(axis=0) / variance       # one number a particle
    assert abs(z(product, math.exp(-10.0 * 5 / 50))) < ALPHA_1E6
    assert product.std() / math.sqrt(2000) < 0.02
    assert abs(z(state.mean(axis=0), mean)) < ALPHA_1E6
    assert (np.diff(HiddenState(frames=20).path(1).state, axis=0) == 0).all(), "rate 0: fixed species"


@pytest.mark.parametrize("camera", [{"state_width": 1.4}, {"state_spot": "ring", "state_width": 0.65},
                                    {"state_spot": "disc"}, {"spot": "ring", "state_spot": "gaussian"}])
def test_a_state_changes_the_picture_and_not_its_light(camera: dict) -> None:
    """Sum of the light equal to 0.2 %; with state_brightness it is that much more, half way its root."""
    where = np.full((1, 1, 2), 31.3)
    scene = Renderer(background=0.0, spot_sigma=2.0, **QUIET, **camera).scene(0, 1)
    plain = scene.light(0, where, state=np.zeros(1))
    assert (plain == scene.light(0, where)).all()
    other = scene.light(0, where, state=np.ones(1))
    assert np.abs(other - plain).max() > 10
    assert other.sum() == pytest.approx(plain.sum(), rel=2e-3)
    bright = Renderer(background=0.0, state_brightness=1.5, **QUIET, **camera).scene(0, 1)
    for s in (0.5, 1.0):
        assert bright.light(0, where, state=np.array([s])).sum() == pytest.approx(plain.sum() * 1.5**s, rel=2e-3)


def test_a_ring_can_have_the_light_and_the_size_of_a_spot() -> None:
    """The mode that brightness and radius of gyration cannot see: both equal to 2 %, the picture is not."""
    scene = Renderer(background=0.0, spot_sigma=2.5, state_spot="ring", state_width=0.652, **QUIET).scene(0, 1)
    y, x = np.indices((64, 64))
    pictures = [scene.light(0, np.full((1, 1, 2), 31.0), state=np.array([s])) for s in (0.0, 1.0)]
    sizes = [float((p * ((y - 31) ** 2 + (x - 31) ** 2)).sum() / p.sum()) for p in pictures]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    assert np.abs(pictures[1] - pictures[0]).max() > 40


def test_truth_of_a_rendered_movie_holds_the_state() -> None:
    sim = HiddenState(n_particles=30, frames=5, box_length=12.0, switching_rate=20.0)
    video = render(sim, Renderer(height=96, width=96, state_width=1.3), seed=2)
    truth = video.truth.dataframe
    assert set(truth["state"]) == {0.0, 1.0}
    path = sim.path(2, parts=8)
    assert (truth["state"].to_numpy() == path.state[truth["frame"], truth["simulated"]]).all()
    assert video[3].shape == (96, 96)
    assert vd.simulate(sim, seed=2).dataframe["state"].isin((0.0, 1.0)).all()


def test_the_path_does_not_depend_on_how_often_it_is_drawn() -> None:
    sim = HiddenState(n_particles=10, frames=4, exposure=0.01)
    assert np.allclose(sim.path(5, parts=1).mean, sim.path(5, parts=8).mean, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"share": 1.2}, {"diffusion_ratio": 0.0}, {"exposure": 0.1}, {"frames": 0},
                                   {"switching_rate": -1.0}, {"n_particles": 2.5}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        HiddenState(**wrong)


def test_impossible_looks_are_refused() -> None:
    with pytest.raises(ConfigError, match="state_spot"):
        Renderer(state_spot="star")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="state_width"):
        Renderer(state_width=0.0)
