"""Renderer and rendered video: light, noise, blur, truth, files.

Statistical comparisons use alpha = 1e-6 (|z| < 4.9) and state the error they detect; planted errors beside them.
"""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.errors import ConfigError
from vid2dyn.data.units import Units
from vid2dyn.simulators import Brownian, RenderedVideo, Renderer, TruePositions, render

ALPHA_1E6 = 4.9
QUIET = {"gain": 0.0, "read_noise": 0.0, "bit_depth": 16}


def z(samples, exact):
    samples = np.asarray(samples, dtype=float).ravel()
    return (samples.mean() - exact) / (samples.std(ddof=1) / np.sqrt(samples.size))


def still(points, **settings):
    """A scene with one picture of particles at rest at `points` (N, 2) [px]: expected light."""
    scene = Renderer(**{"height": 64, "width": 64, **QUIET, **settings}).scene(0, len(points))
    return scene.light(0, np.asarray(points, dtype=float)[None]), scene


def centroid(light):
    y, x = np.indices(light.shape)
    return np.array([(light * y).sum(), (light * x).sum()]) / light.sum()


# ------------------------------------------------------------------ exact

@pytest.mark.parametrize("sigma", [0.8, 2.0, 3.3])
def test_a_gaussian_spot_holds_its_light_and_sits_at_its_place(sigma):
    """Sum 2π A sigma², centroid the position to 1e-4 px at any phase, variance sigma² + 1/12 of the pixel."""
    for phase in (0.0, 0.13, 0.5, 0.77):
        at = np.array([31.0 + phase, 30.0 - phase])
        light, _ = still([at], spot_sigma=sigma, background=0.0, amplitude=50.0)
        assert light.sum() == pytest.approx(2 * np.pi * 50 * sigma**2, rel=1e-4)
        np.testing.assert_allclose(centroid(light), at, atol=2e-4)
        y = np.arange(64) - at[0]
        assert (light.sum(axis=1) * y**2).sum() / light.sum() == pytest.approx(sigma**2 + 1 / 12, rel=1e-3)


@pytest.mark.parametrize(("spot", "where"), [("ring", 4.0), ("disc", 0.0)])
def test_ring_and_disc_have_their_shape(spot, where):
    light, _ = still([[32.0, 32.0]], spot=spot, background=0.0)
    assert light.max() == pytest.approx(100.0, rel=0.1)
    brightest = np.abs(np.argwhere(light > 0.97 * light.max()) - 32.0)
    assert np.hypot(*brightest.T).min() == pytest.approx(where, abs=0.6)
    np.testing.assert_allclose(centroid(light), 32.0, atol=1e-6)
    shifted, _ = still([[32.3, 31.6]], spot=spot, background=0.0)
    np.testing.assert_allclose(centroid(shifted), [32.3, 31.6], atol=0.01)


def test_spots_cut_by_the_edge_and_absent_ones_do_no_harm():
    light, _ = still([[0.0, 0.0], [63.0, 20.0], [-500.0, 3.0], [np.nan, 2.0]], background=0.0)
    assert light[0, 0] == light.max()
    half = 0.598706                                       # of a spot, up to half a pixel beyond its centre: Φ(1/4)
    assert light.sum() == pytest.approx(2 * np.pi * 400 * (half**2 + half), rel=1e-4)


def test_motion_in_the_exposure_smears_the_spot():
    """A straight run of length l adds l²/12 (of 8 points: l²/12 (1 - 1/64)) to the variance; light is kept."""
    run, _ = still([[32.0, 32.0]], background=0.0)
    scene = Renderer(height=64, width=64, background=0.0, **QUIET).scene(0, 1)
    points = np.array([[[32.0, 32.0 + 8 * ((k + 0.5) / 8 - 0.5)]] for k in range(8)])
    moved = scene.light(0, points)
    assert moved.sum() == pytest.approx(run.sum(), rel=1e-4)
    x = np.arange(64) - 32.0
    added = ((moved - run).sum(axis=0) * x**2).sum() / run.sum()
    assert added == pytest.approx(64 / 12 * (1 - 1 / 64), rel=1e-2)


def test_illumination_flicker_haze_and_dirt():
    flat, _ = still(np.empty((0, 2)), background=100.0)
    np.testing.assert_array_equal(flat, 100.0)
    tilted, _ = still(np.empty((0, 2)), background=100.0, illumination_gradient=0.4)
    assert tilted[0, -1] / tilted[0, 0] == pytest.approx(1.2 / 0.8, rel=0.02)
    hazy, scene = still(np.empty((0, 2)), background=100.0, haze=30.0)
    assert 100 <= hazy.min() < hazy.max() <= 130
    assert np.abs(scene.light(300, np.empty((1, 0, 2))) - hazy).max() > 1      # it moves
    dirty, _ = still(np.empty((0, 2)), background=100.0, dirt=5)
    assert np.abs(dirty - 100).max() > 1
    flickering = Renderer(height=16, width=16, background=1000.0, flicker=0.1, **QUIET).scene(0, 0)
    means = [flickering.frame(k, np.empty((1, 0, 2))).mean() for k in range(300)]
    assert np.std(means) / np.mean(means) == pytest.approx(0.1, rel=0.25)


def test_scatter_of_the_looks():
    scene = Renderer(amplitude_scatter=0.3, spot_sigma_scatter=0.1).scene(3, 20_000)
    assert abs(z(scene.amplitude, 100.0)) < ALPHA_1E6
    assert scene.amplitude.std() == pytest.approx(30.0, rel=0.05)
    assert scene.sigma.std() == pytest.approx(0.2, rel=0.05)


# ------------------------------------------------------------------ camera noise

@pytest.mark.parametrize(("gain", "read"), [(0.5, 2.0), (0.0, 3.0), (2.0, 0.0), (0.05, 0.5)])
def test_noise_variance_is_gain_times_light_plus_read_noise(gain, read):
    """var = g I + r² + 1/12 (rounding), mean I; detects 2 % of the variance."""
    level = 60.0
    scene = Renderer(height=200, width=200, background=level, gain=gain, read_noise=read).scene(1, 0)
    frames = np.array([scene.frame(k, np.empty((1, 0, 2))) for k in range(10)], dtype=float)
    rounding = 0.0 if gain == 2.0 and read == 0 else 1 / 12
    exact = gain * level + read**2 + rounding
    assert abs(z(frames, level)) < ALPHA_1E6
    assert abs(z((frames - level) ** 2, exact)) < ALPHA_1E6
    assert abs(z((frames - level) ** 2, 1.03 * exact)) > ALPHA_1E6       # planted


def test_fixed_pattern_stays_and_saturation_is_cut():
    scene = Renderer(height=64, width=64, background=100.0, gain=0, read_noise=0, fixed_pattern=0.05,
                     bit_depth=16).scene(1, 0)
    first, later = (scene.frame(k, np.empty((1, 0, 2))) for k in (0, 9))
    np.testing.assert_array_equal(first, later)
    assert first.std() == pytest.approx(5.0, rel=0.05)
    bright = Renderer(height=32, width=32, amplitude=900.0, spot="disc").scene(0, 1).frame(0, np.full((1, 1, 2), 16.0))
    assert bright.dtype == np.uint8
    assert (bright == 255).sum() > 20


def test_centroid_of_noisy_spots_is_unbiased_within_the_bound():
    """Mean error 0, and its size near the bound sqrt(2/π)/SNR px times what a plain fit window costs."""
    rng = np.random.default_rng(4)
    scene = Renderer(height=25, width=25, background=0.0, amplitude=120.0, gain=0.0, read_noise=4.0,
                     bit_depth=16, spot_sigma=2.0).scene(2, 1)
    y, x = np.indices((25, 25))
    errors = []
    for k in range(2500):
        at = 12 + rng.uniform(-0.5, 0.5, 2)
        light = scene.light(k, at[None, None])
        image = light + 4.0 * rng.standard_normal(light.shape)
        weight = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8)      # matched filter at the true place
        gradient = np.array([(weight * (y - at[0])), (weight * (x - at[1]))]) * 120.0 / 4
        errors.append([(g * (image - light)).sum() / (g * g).sum() for g in gradient])
    errors = np.array(errors)
    assert abs(z(errors, 0.0)) < ALPHA_1E6
    assert errors.std() == pytest.approx(np.sqrt(2 / np.pi) / 30, rel=0.06)


# ------------------------------------------------------------------ the video

SIM = Brownian(n_particles=60, frames=12, frames_per_second=50.0, exposure=0.02, pair=sims.Yukawa(), box_length=20.0,
               micrometre_per_pixel=0.15)
CAMERA = Renderer(height=96, width=100)


def test_frames_are_the_same_in_any_order_and_for_the_same_seed():
    video, again, other = render(SIM, CAMERA, seed=1), render(SIM, CAMERA, seed=1), render(SIM, CAMERA, seed=2)
    straight = list(video.frames())
    assert len(video) == len(straight) == 12
    for k in (11, 0, 5):
        np.testing.assert_array_equal(again[k], straight[k])
    assert (other[0] != straight[0]).any()
    assert (straight[0] != straight[1]).any()
    assert video.shape == (96, 100)
    assert video.units.exposure == 0.02


def test_truth_is_where_the_light_is():
    """The windowed centroid of every lonely spot of a noiseless video agrees with the truth within 0.05 px."""
    sim = Brownian(n_particles=12, frames=6, frames_per_second=50.0, exposure=0.02, box_length=24.0,
                   pair=sims.Soft(20.0, 5.0), micrometre_per_pixel=0.1)
    video = render(sim, Renderer(height=200, width=200, background=0.0, amplitude=2000.0, **QUIET), seed=3)
    truth = video.truth.dataframe
    checked = 0
    for k, frame in enumerate(video.frames()):
        here = truth[truth["frame"] == k][["y", "x"]].to_numpy()
        everyone = video.points(k).mean(axis=0)
        for at in here:
            alone = np.sort(np.linalg.norm(everyone - at, axis=1))[1] > 28
            if alone and (np.abs(at - 99.5) < 85).all():
                a, b = np.round(at).astype(int)
                window = frame[a - 13:a + 14, b - 13:b + 14].astype(float)
                np.testing.assert_allclose(centroid(window) + [a - 13, b - 13], at, atol=0.02)
                checked += 1
    assert checked > 10


def test_truth_table_has_what_the_simulation_knows():
    video = render(SIM, CAMERA, seed=1)
    truth = video.truth
    table = truth.dataframe
    assert {"simulated", "y_middle", "x_middle", "force_y", "force_x"} <= set(table.columns)
    row = table.iloc[len(table) // 2]
    frame, number = int(row["frame"]), int(row["simulated"])
    np.testing.assert_allclose(video.simulated.forces[frame, number], row[["force_y", "force_x"]].to_numpy(float))
    np.testing.assert_allclose(video.points(frame)[:, number].mean(axis=0), row[["y", "x"]].to_numpy(float), atol=1e-9)
    assert truth.field_of_view == (96.0, 100.0)
    assert truth.info["truth"]["renderer"]["spot_sigma"] == 2.0
    assert truth.info["truth"]["diffusion"] == 0.405
    share = 96 * 100 * 0.15**2 / 20.0**2
    assert len(truth) / 12 == pytest.approx(60 * share, rel=0.2)
    inside = truth.dataframe[["y", "x"]].to_numpy()
    assert (inside >= -0.5).all()
    assert (inside < [95.5, 99.5]).all()


def test_exposure_averaged_truth_has_the_blur_of_the_exposure():
    """CVE on the truth of a flash and of a full exposure: <d²> differs by the factor 1 - 2R = 2/3; detects 5 %."""
    steps = []
    for exposure in (0.0, 0.02):
        sim = Brownian(n_particles=800, frames=31, frames_per_second=50.0, exposure=exposure, box_length=60.0)
        truth = render(sim, Renderer(height=590, width=590), seed=9).truth
        i, j = truth.lagged(1)
        steps.append(((truth.positions[j] - truth.positions[i]) ** 2).ravel())
    assert abs(z(steps[0], 2 * 0.405 * 0.02)) < ALPHA_1E6
    assert abs(z(steps[1], 2 * 0.405 * 0.02 * 2 / 3)) < ALPHA_1E6
    assert abs(z(steps[1], 2 * 0.405 * 0.02)) > 20


@pytest.mark.parametrize(("name", "options"), [("a.tif", {}), ("a.ome.tif", {}), ("b.avi", {}), ("c.mkv", {}),
                                               ("d.mp4", {"crf": 0})])
def test_lossless_files_give_the_same_frames_back(tmp_path, name, options):
    video = render(SIM, CAMERA, seed=1, to=tmp_path / name, **options)
    back = vd.open(tmp_path / name)
    assert len(back) == 12
    for mine, theirs in zip(video.frames(), back.frames()):
        np.testing.assert_array_equal(mine, theirs)
    assert back.frames_per_second == pytest.approx(50.0)
    if name.endswith("tif"):
        assert back.units == Units(0.15, 50.0, 0.02)
        again = tmp_path / "again" / name
        video.save(again)
        assert again.read_bytes() == (tmp_path / name).read_bytes()
    stored = vd.Trajectories.load(tmp_path / f"{name[0]}.truth.parquet")
    assert stored.dataframe.equals(video.truth.dataframe)


@pytest.mark.parametrize(("name", "options"), [("e.avi", {"codec": "mjpeg"}), ("f.mp4", {"codec": "h264", "crf": 28})])
def test_lossy_files_are_close(tmp_path, name, options):
    video = render(SIM, CAMERA, seed=1, to=tmp_path / name, **options)
    back = vd.open(tmp_path / name)
    difference = np.array([a.astype(float) - b for a, b in zip(video.frames(), back.frames())])
    assert 0 < np.abs(difference).mean() < 5
    assert back.info.inter_coded == (name == "f.mp4")


def test_sixteen_bits_survive(tmp_path):
    video = render(SIM, Renderer(height=64, width=64, amplitude=9000.0, background=500.0, bit_depth=16), seed=1)
    for name in ("a.tif", "b.mkv"):
        video.save(tmp_path / name)
        np.testing.assert_array_equal(vd.open(tmp_path / name)[3], video[3])
    with pytest.raises(ConfigError, match="cannot hold 16 bit"):
        video.save(tmp_path / "c.avi", codec="mjpeg")


def test_a_stopped_save_leaves_nothing(tmp_path):
    def stop(done, total, what):
        if what == "writing" and done == 4:
            raise KeyboardInterrupt

    for name in ("a.tif", "b.avi"):
        with pytest.raises(KeyboardInterrupt):
            render(SIM, CAMERA, seed=1).save(tmp_path / name, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [
    {"height": 0}, {"spot": "star"}, {"bit_depth": 12}, {"subframes": 4}, {"gain": -1.0}, {"amplitude": float("nan")},
    {"illumination_gradient": 3.0}, {"dirt": -1}])
def test_bad_cameras_are_refused(settings):
    with pytest.raises(ConfigError, match="Renderer"):
        Renderer(**settings)


def test_what_cannot_be_rendered_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not fit into the periodic box"):
        render(SIM, Renderer(height=200, width=200))
    with pytest.raises(ConfigError, match="3 dimensions"):
        render(Brownian(n_particles=5, frames=2, dim=3), CAMERA)
    with pytest.raises(ConfigError, match="only simulators with a method path"):
        render(object(), CAMERA)
    video = render(SIM, Renderer(height=63, width=63))
    for name, options, message in (("a.png", {}, "cannot write .png"), ("a.mp4", {}, "even height"),
                                   ("a.avi", {"codec": "divx"}, "unknown codec"), ("a.tif", {"codec": "ffv1"}, "zlib")):
        with pytest.raises(ConfigError, match=message):
            video.save(tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_any_path_can_be_drawn():
    """A rolled-out model is drawn like a simulation: only positions are needed."""
    middle = np.full((3, 2, 2), 5.0) + np.array([[0.0, 0.0], [0.0, 3.0]])
    path = TruePositions(middle[:, None], middle, np.zeros_like(middle), Units(0.2, 10.0))
    video = RenderedVideo(path, Renderer(height=40, width=60, **QUIET), seed=0)
    assert video[0].max() == video[2].max()
    np.testing.assert_allclose(video.truth.dataframe.query("frame == 0")["x"].diff().iloc[1], 15.0)
