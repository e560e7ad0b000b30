"""Collective scattering, two-point motion, change points, exponents, microscopy without tracking: against closed forms
and other programs. Every bound is 5 standard errors (false alarm below 1e-6 each) unless it says otherwise."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import analysis

UM, DT = 0.1, 0.1


def tracks_of(position: np.ndarray, **more: object) -> vd.Trajectories:
    exposure = more.pop("exposure", None)
    return vd.Trajectories.from_dense(position, vd.Units(UM, 1 / DT, exposure), **more)      # type: ignore[arg-type]


def fractional(H: float, frames: int, particles: int, exposure: float, noise: float, seed: int) -> vd.Trajectories:
    """Fractional Brownian motion by Cholesky decomposition, averaged over the exposure."""
    rng, sub, K = np.random.default_rng(seed), 6, 0.2
    t = (np.arange(frames)[:, None] * DT + (np.arange(sub) + 0.5) / sub * exposure).ravel() + DT
    a = 2 * H
    covariance = K * (t[:, None] ** a + t[None] ** a - np.abs(t[:, None] - t[None]) ** a)
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(t)))
    x = (root @ rng.normal(size=(len(t), 2 * particles))).reshape(frames, sub, particles, 2).mean(axis=1)
    return tracks_of(x + noise * rng.normal(size=x.shape), exposure=exposure)


@pytest.mark.parametrize("H", [0.35, 0.5, 0.65])
def test_exponent_of_fractional_motion_under_noise_and_blur(H: float) -> None:
    found = analysis.anomalous_exponent(fractional(H, 33, 50, 0.08, 0.08, seed=1))
    assert found.low < 2 * H < found.high
    assert abs(found.exponent - 2 * H) < 5 * (found.high - found.low) / 3.92
    assert found.high - found.low < 0.3
    assert bool(found.warnings) == (H != 0.5)


def test_a_slope_would_be_wrong_where_the_likelihood_is_right() -> None:
    free = fractional(0.5, 33, 50, 0.0, 0.2, seed=2)
    msd = analysis.msd(free, 8)
    slope = np.polyfit(np.log(msd.lag), np.log(msd.value), 1)[0]
    found = analysis.anomalous_exponent(free)
    assert slope < 0.85, "noise looks subdiffusive"
    assert found.low < 1 < found.high


def gas(frames: int = 500, n: int = 80, edge: float = 10.0, D: float = 0.05, seed: int = 0) -> vd.Trajectories:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, edge, (n, 2)) + np.sqrt(2 * D * DT) * rng.normal(size=(frames, n, 2)).cumsum(axis=0)
    return tracks_of(x, box=vd.Periodic((edge, edge)))


def test_collective_scattering_of_an_ideal_gas() -> None:
    found = analysis.collective_scattering(gas(), [2.0, 5.0], max_lag=6).dataframe
    expected = np.exp(-found.q**2 * 0.05 * found.lag)
    later = found.lag > 0
    assert (np.abs(found.value - expected) < 6 * found.stderr + 0.02)[later].all()
    assert (np.abs(found.F - expected) < 6 * found.F_stderr + 0.02).all()
    assert (np.abs(found.F - np.exp(-found.q**2 * 0.2 * found.lag)) > 6 * found.F_stderr + 0.02).any(), "four times D"


def test_collective_scattering_at_lag_zero_is_that_of_freud(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("vid2dyn.analysis.density_correlations")
    monkeypatch.setattr(module, "OF_A_SHELL", 10**6)                                     # all that freud takes
    freud = pytest.importorskip("freud")
    sim = vd.simulators.Brownian(n_particles=100, frames=10, box_length=7.0, dim=3,
                                 pair=vd.simulators.Yukawa(amplitude=20.0))
    tracks = vd.simulate(sim, seed=0)
    found = analysis.collective_scattering(tracks, 4.0, max_lag=1).dataframe.iloc[0]
    oracle = freud.diffraction.StaticStructureFactorDirect(bins=1, k_min=4.0 * 0.85, k_max=4.0 * 1.15,
                                                           num_sampled_k_points=0)
    box = freud.box.Box.cube(7.0)
    for frame in tracks.dense()[0]:
        oracle.compute((box, box.wrap(frame)), reset=False)
    assert pytest.approx(float(oracle.S_k[0]), rel=1e-3) == found.F


def test_msd_is_that_of_tidynamics() -> None:
    tidynamics = pytest.importorskip("tidynamics")
    walk = np.random.default_rng(0).normal(size=(200, 1, 2)).cumsum(axis=0)
    assert analysis.msd(tracks_of(walk), 20).value == pytest.approx(
        tidynamics.msd(walk[:, 0])[1:21], rel=1e-9)


def coupled(radius: float | None, frames: int = 300) -> vd.Trajectories:
    return vd.simulate(vd.simulators.Brownian(n_particles=20, frames=frames, box_length=None, dim=2,
                                              hydrodynamic_radius=radius, diffusion=0.4, localisation_error=0.03,
                                              trap="each", trap_stiffness=4.0), seed=3)


def test_two_point_motion_follows_rotne_and_prager() -> None:
    bound = analysis.hydrodynamic_coupling(coupled(0.25), 8.0, 1.0)
    assert abs(bound.radius - 0.25) < 5 * bound.radius_stderr
    assert bound.radius > 5 * bound.radius_stderr
    assert bound.warnings
    free = analysis.hydrodynamic_coupling(coupled(None), 8.0, 1.0)
    assert abs(free.radius) < 5 * free.radius_stderr
    assert not free.warnings
    assert free.plot().get_xlabel() == "r (µm)"


def test_change_points_are_found_where_they_are_and_rarely_elsewhere() -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(20):
        step = rng.normal(0, 0.1, (120, 25, 2)) + np.diff(rng.normal(0, 0.1, (121, 25, 2)), axis=0)
        alarms += len(analysis.change_points(tracks_of(step.cumsum(axis=0)), false_alarms=0.05).dataframe)
    assert alarms <= 7, "one expected: Poisson, above 7 by chance in one of 1e5"
    step = rng.normal(0, 0.1, (300, 10, 2))
    step[100:200, 4] *= 2.5
    found = analysis.change_points(tracks_of(step.cumsum(axis=0)))
    assert found.dataframe["particle"].tolist() == [4, 4]
    assert np.abs(found.dataframe["frame"].to_numpy() - [99, 199]).max() <= 6
    assert found.dataframe["after"].iloc[0] / found.dataframe["before"].iloc[0] == pytest.approx(6.25, rel=0.35)
    assert "D of 1 of 10 particles changes" in found.warnings[0]


def movie(drift: float, exposure: float = 0.0, seed: int = 0) -> vd.Video:
    sim = vd.simulators.Departures(n_particles=150, frames=200, box_length=16.0, spacing=0.0, diffusion=0.4,
                                   exposure=exposure, drift=drift, localisation_error=0.0) if drift else \
        vd.simulators.Brownian(n_particles=150, frames=200, box_length=16.0, diffusion=0.4, exposure=exposure)
    return vd.render(sim, vd.simulators.Renderer(height=128, width=128, dirt=4), seed=seed)


def test_microscopy_without_tracking_finds_D_with_dirt_and_exposure() -> None:
    for seed, exposure in ((0, 0.0), (1, 0.009)):
        found = analysis.differential_dynamics(movie(0.0, exposure, seed))
        assert abs(found.D - 0.4) < 5 * found.D_stderr
        assert found.D_stderr < 0.03
        assert found.dataframe["used"].sum() > 8
    assert abs(found.D - 0.6) > 5 * found.D_stderr, "an error of a half is seen"


def test_a_drift_is_taken_out_of_the_phases() -> None:
    video = movie(0.0)
    frames = np.stack([video[k] for k in range(120)])
    moved = np.stack([np.roll(frame, (round(0.4 * k), round(-0.2 * k)), axis=(0, 1)) for k, frame in enumerate(frames)])
    still, drifting = (analysis.differential_dynamics(vd.Video.from_array(
        array, frames_per_second=100, micrometre_per_pixel=0.1)) for array in (frames, moved))
    assert abs(drifting.D - still.D) < 3 * still.D_stderr
    with pytest.raises(vd.DataError, match="40 frames or more"):
        analysis.differential_dynamics(video[:20])


def test_all_results_have_one_shape() -> None:
    found = [analysis.collective_scattering(gas(60), 3.0, 3), analysis.two_point(gas(60), 4.0, 1.0, lags=(1, 2)),
             analysis.change_points(gas(60)), analysis.anomalous_exponent(gas(20, 20))]
    for one in found:
        assert isinstance(one, analysis.Result)
        assert one.plot() is not None
        assert "<table" in one._repr_html_()
        assert isinstance(one.warnings, tuple)
