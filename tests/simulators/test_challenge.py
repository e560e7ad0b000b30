"""The tracking challenge: motion, density, life and brightness are what the parameters say.

Every statistical bound is at least 5 standard errors wide (false alarm below 1e-6); the errors named beside it fail.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError
from vid2dyn.simulators.camera.challenge import DENSITIES, SNRS, TrackingChallenge


def steps(tracks: vd.Trajectories) -> np.ndarray:
    i, j = tracks.lagged(1)
    return tracks.positions[j] - tracks.positions[i]


def test_brownian_step_and_density() -> None:
    """500 particles x 100 frames: 1e5 steps, the mean square is known within 0.5 %: a step 5 % wrong fails."""
    sim = TrackingChallenge("brownian", "mid")
    tracks = sim.run(seed=1)
    d = steps(tracks)
    assert (d**2).mean() == pytest.approx(4.0, rel=0.025)
    assert abs(d.mean()) < 0.05
    assert len(tracks) / 100 == pytest.approx(DENSITIES["mid"], rel=0.1)
    assert np.bincount(tracks.frame).min() > 400         # the density stays


def test_directed_particles_keep_their_direction_and_speed() -> None:
    d = steps(TrackingChallenge("directed", "mid").run(seed=2))
    assert (d**2).sum(axis=1).mean() == pytest.approx(16.0 + 2 * 0.25, rel=0.02)      # speed 3 % wrong fails
    tracks = TrackingChallenge("directed", "mid", step=0.0, turn=0.1).run(seed=2)
    i, j = tracks.lagged(10)
    whole = np.linalg.norm(tracks.positions[j] - tracks.positions[i], axis=1)
    a, b = np.meshgrid(np.arange(10), np.arange(10))
    expected = 16.0 * np.exp(-0.5 * 0.01 * np.abs(a - b)).sum()                       # worm-like chain
    assert (whole**2).mean() == pytest.approx(expected, rel=0.01)


def test_switching_spends_half_its_time_in_each_motion() -> None:
    tracks = TrackingChallenge("switching", "high", step=0.0, switch=0.2).run(seed=3)
    moving = np.linalg.norm(steps(tracks), axis=1) > 2
    assert moving.mean() == pytest.approx(0.5, abs=0.03)


def test_particles_live_for_a_geometric_time() -> None:
    """Of particles in view away from the edges, 1/lifetime vanish in a frame."""
    tracks = TrackingChallenge("brownian", "high", lifetime=20.0, step=0.5).run(seed=4)
    table = tracks.dataframe
    inner = (table[["y", "x"]].min(axis=1) > 20) & (table[["y", "x"]].max(axis=1) < 491) & (table["frame"] < 99)
    last = table["particle"].to_numpy() != np.append(table["particle"].to_numpy()[1:], -1)
    assert last[inner.to_numpy()].mean() == pytest.approx(1 / 20, rel=0.07)


@pytest.mark.parametrize("snr", SNRS)
def test_camera_has_the_signal_to_noise_ratio_of_the_challenge(snr: int) -> None:
    camera = TrackingChallenge().camera(snr)
    peak = camera.amplitude + camera.background
    assert camera.amplitude / np.sqrt(peak) == pytest.approx(snr, rel=1e-12)
    scene = dataclasses.replace(camera, height=64, width=64).scene(seed=0, n_particles=1)
    frames = np.array([scene.frame(k, np.full((8, 1, 2), 32.0)) for k in range(400)], dtype=float)
    assert frames[:, 5, 5].std() == pytest.approx(np.sqrt(10.0), rel=0.2)
    assert frames[:, 32, 32].mean() == pytest.approx(camera.background + 0.98 * camera.amplitude, rel=0.1)


def test_rendered_truth_is_the_run() -> None:
    sim = TrackingChallenge("switching", "low", frames=6, height=200, width=240)
    video = vd.render(sim, sim.camera(7), seed=5)
    truth, run = video.truth.dataframe, sim.run(seed=5).dataframe
    np.testing.assert_allclose(truth[["y", "x"]], run[["y", "x"]], atol=1e-9)
    np.testing.assert_array_equal(truth["particle"], run["particle"])
    assert video[3].dtype == np.uint8


@pytest.mark.parametrize(("arguments", "says"), [
    ({"scenario": "flying"}, "brownian, directed, switching"), ({"density": "huge"}, "low, mid, high"),
    ({"frames": 0}, "at least 1"), ({"switch": 1.5}, "between 0 and 1"), ({"step": -1.0}, "0 or more"),
    ({"lifetime": float("nan")}, "at least 1")])
def test_bad_settings_are_refused(arguments: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TrackingChallenge(**arguments)
    with pytest.raises(ConfigError, match="snr"):
        TrackingChallenge().camera(0)
