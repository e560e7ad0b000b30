"""Particles in stacks: places, errors, crowds, links, files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import chi2

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.simulators import StackRenderer
from vid2dyn.simulators.camera.stack_bound import stack_bound
from vid2dyn.tracking import StackDetector, StackFeature, Track, relink
from vid2dyn.tracking.columns import Flag
from vid2dyn.tracking.sensor_noise import stack_noise
from vid2dyn.tracking.stacks.information import bound_alone
from vid2dyn.tracking.stacks.linking import StackLinkStream
from vid2dyn.tracking.stacks.widths import measured_widths

ALARM = 1e-6
"""False-alarm rate of every statistical test here."""
RENDERER = StackRenderer(planes=40, height=96, width=96, spot_sigma=1.8, axial_sigma=2.3, micrometre_per_plane=0.25)
WIDTHS = np.array([1.8, 1.8, 2.3])
F = StackFeature


def scattered(seed: int, count: int, apart: float, renderer: StackRenderer = RENDERER,
              margin: float = 2.6) -> np.ndarray:
    """Places y, x [px], z [planes], no two nearer than `apart` widths."""
    rng, widths = np.random.default_rng(seed), np.array([renderer.spot_sigma] * 2 + [renderer.axial_sigma])
    low = margin * widths
    high = np.array([renderer.height, renderer.width, renderer.planes]) - 1 - low
    places: list[np.ndarray] = []
    while len(places) < count:
        new = rng.uniform(low, high)
        if all((((new - old) / widths) ** 2).sum() > apart**2 for old in places):
            places.append(new)
    return np.array(places)


def errors_of(places: np.ndarray, found: np.ndarray, aspect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, error, stated) of the detections nearest to the places, y, x [px], z [planes]."""
    scale = np.array([1.0, 1.0, 1.0 / aspect])
    rows = cKDTree(found[:, :3] * scale / WIDTHS).query(places / WIDTHS)[1]
    return rows, (found[:, :3] * scale)[rows] - places, (found[:, 3:6] * scale)[rows]


def outside(z: np.ndarray) -> bool:
    """Whether mean squares of normal numbers (n, 3) are beyond chance in any column."""
    square = (z**2).sum(axis=0)
    return bool(((square < chi2.ppf(ALARM / 6, len(z))) | (square > chi2.isf(ALARM / 6, len(z)))).any())


@pytest.fixture(scope="module")
def lone() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, errors and stated errors of spots that stand alone in four stacks: 400 spots."""
    all_places, all_errors, all_stated = [], [], []
    for seed in range(4):
        places = scattered(seed, 100, 6.5)
        found = StackDetector(1.8, 2.3, aspect=2.5)(RENDERER.scene(seed, 100).frame(0, places[None]))
        assert len(found) == 100
        assert (found[:, F.FLAG].astype(int) & Flag.ADDED == 0).all()
        _, error, stated = errors_of(places, found, 2.5)
        all_places.append(places), all_errors.append(error), all_stated.append(stated)
    return np.concatenate(all_places), np.concatenate(all_errors), np.concatenate(all_stated)


def test_errors_are_those_of_the_bound(lone) -> None:
    """Smallest error found: 18 % (width of a chi-square of 400 at 1e-6)."""
    places, error, stated = lone
    bound = stack_bound(places[:100], np.full(100, 100.0), RENDERER)
    assert np.allclose(np.median(stated[:100], axis=0), np.median(bound, axis=0), rtol=0.02)
    assert not outside(error / stated)
    assert outside(1.2 * error / stated)
    assert outside(error / stated / 1.22)


def test_places_are_not_biased(lone) -> None:
    """Mean of error/stated: standard error 0.05; smallest bias found 0.27 standard errors, about 0.006 px."""
    mean = (lone[1] / lone[2]).mean(axis=0)
    limit = 5.1 / np.sqrt(len(lone[1]))
    assert (np.abs(mean) < limit).all()
    assert (np.abs(mean + 2.1 * limit) > limit).all()                            # planted


def test_the_bound_has_its_closed_form() -> None:
    quiet = dataclasses.replace(RENDERER, gain=0.0, read_noise=4.0, background=50.0)
    found = stack_bound(np.array([[48.2, 47.9, 20.3]]), np.array([80.0]), quiet)[0]
    lateral, axial = bound_alone(80.0, np.sqrt(16 + 1 / 12), 1.8, 2.3)
    # the area of a pixel adds 1/12 to the variance of a profile: 1.3 % of the errors in the plane
    assert found == pytest.approx([lateral, lateral, axial], rel=0.03)


@pytest.mark.parametrize("bits", [8, 16])
def test_widths_are_measured(bits: int) -> None:
    renderer = dataclasses.replace(RENDERER, bit_depth=bits)
    stack = renderer.scene(5, 60).frame(0, scattered(5, 60, 4.0)[None])
    noise = stack_noise(stack, 100_000)
    widths = measured_widths(stack, (noise.offset, noise.gain, noise.floor), 11, 2.0**bits - 1)
    assert np.median(widths, axis=0) == pytest.approx([1.8, 2.3], rel=0.01)


def test_pairs_are_told_apart_without_bias() -> None:
    """32 pairs at 1.6 widths, where most have one maximum: all are found, distances right within their errors."""
    rng, signs = np.random.default_rng(1), []
    renderer = dataclasses.replace(RENDERER, height=160, width=160, planes=48, bit_depth=16, amplitude=200.0)
    centres = scattered(8, 32, 8.0, renderer, 4.0)
    way = rng.standard_normal((32, 3))
    half = 0.8 * WIDTHS * way / np.linalg.norm(way, axis=1, keepdims=True)
    places = np.concatenate([centres - half, centres + half])
    found = StackDetector(1.8, 2.3, aspect=2.5)(renderer.scene(3, 64).frame(0, places[None]))
    assert len(found) == 64
    rows, error, stated = errors_of(places, found, 2.5)
    assert len(np.unique(rows)) == 64
    together = found[rows, F.FLAG].astype(int)
    assert (together & Flag.TOGETHER > 0).all()
    assert (together & Flag.ADDED > 0).sum() > 10
    bound = stack_bound(places, np.full(64, 200.0), renderer)
    assert np.median(stated / bound) == pytest.approx(1.0, abs=0.08)
    # errors of a pair belong together: one number of each pair and axis, towards the other or away
    signs = ((error[32:] - error[:32]) * half).sum(axis=1) / np.linalg.norm(half, axis=1)
    assert abs(signs.mean()) < 5.1 * signs.std() / np.sqrt(32) < 0.35


def test_nothing_is_found_in_noise() -> None:
    """At 6 standard errors a stack of 370,000 voxels has a false detection in less than one of a thousand."""
    found = StackDetector(1.8, 2.3, aspect=2.5)(RENDERER.scene(2, 0).frame(0, np.empty((1, 0, 3))))
    assert found.shape == (0, len(StackFeature))


def test_dark_spots_saturated_ones_and_cut_ones() -> None:
    places = scattered(3, 20, 6.0)
    stack = RENDERER.scene(3, 20).frame(0, places[None])
    find = StackDetector(1.8, 2.3, aspect=2.5)
    dark = dataclasses.replace(find, invert=True)(255 - stack)
    assert np.allclose(dark[:, :3], find(stack)[:, :3])
    bright = dataclasses.replace(RENDERER, amplitude=600.0)
    found = find(bright.scene(3, 20).frame(0, places[None]))
    assert len(found) == 20
    assert (found[:, F.FLAG].astype(int) & Flag.SATURATED > 0).all()
    _, error, stated = errors_of(places, found, 2.5)
    assert np.abs(error / stated).max() < 6
    edge = np.array([[48.0, 48.0, 0.6], [20.0, 0.3, 20.0]])
    found = find(RENDERER.scene(4, 2).frame(0, edge[None]))
    assert len(found) == 2
    assert (found[:, F.FLAG].astype(int) & Flag.CUT > 0).all()
    _, error, stated = errors_of(edge, found, 2.5)
    assert np.abs(error / stated).max() < 6


def test_the_same_for_floats_and_for_any_number_of_threads(tmp_path, monkeypatch) -> None:
    import numba

    sim = vd.simulators.Brownian(n_particles=25, frames=5, dim=3, box_length=12.0, diffusion=0.3)
    video = vd.render(sim, dataclasses.replace(RENDERER, planes=30), seed=2, to=tmp_path / "a.tif")
    settings = Track(search_range=8, spot_width=1.8, axial_width=2.3)
    tables = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        tables.append(vd.track(video, settings).dataframe)
    assert tables[0].equals(tables[1])
    stack = video[0]
    find = StackDetector(1.8, 2.3, aspect=2.5)
    assert np.allclose(find(stack.astype(np.float32))[:, :3], find(stack)[:, :3], atol=1e-3)
    from vid2dyn.runs.chunks import track_movie

    done = track_movie(tmp_path / "a.tif", tmp_path / "a.parquet", settings, part_frames=2)
    stored = vd.load(done.out if hasattr(done, "out") else tmp_path / "a.parquet")
    assert stored.dataframe.equals(tables[0])
    assert stored.field_of_view == vd.track(video, settings).field_of_view


def test_links_in_three_dimensions() -> None:
    """Particles that pass above each other: in the plane their links would be wrong."""
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 60, (200, 3))
    frames = [start + 0.5 * rng.standard_normal(start.shape) for _ in range(6)]
    stream = StackLinkStream(Track(search_range=4.0, memory=1))
    ids = [stream.step(k, places[rng.permutation(200)] if k > 99 else places) for k, places in enumerate(frames)]
    right = np.mean([np.array_equal(one, ids[0]) or (one == ids[0]).mean() > 0.98 for one in ids])
    assert right == 1.0
    later = StackLinkStream(Track(search_range=4.0, memory=1))
    later.restore(stream.state())
    again = frames[-1] + 0.3 * rng.standard_normal(start.shape)
    assert np.array_equal(later.step(7, again), stream.step(7, again))           # frame 6 was empty
    with pytest.raises(ConfigError, match="affine"):
        StackLinkStream(Track(predictor="affine"))
    table = np.column_stack([start, np.full((200, 3), 0.1)])
    likely = StackLinkStream(Track(search_range=4.0, link_cost="likelihood"))
    assert np.array_equal(likely.step(0, table), likely.step(1, table))


def test_tracks_of_stacks_are_linked_anew() -> None:
    sim = vd.simulators.Brownian(n_particles=30, frames=10, dim=3, box_length=12.0, diffusion=0.1,
                                 localisation_error=0.01)
    tracks = vd.simulate(sim, seed=0)
    anew = relink(tracks, Track(search_range=6))
    assert anew.dim == 3
    assert anew.n_particles == 30


@pytest.mark.parametrize(("option", "words"), [
    ({"compat": "trackpy"}, "for flat images"), ({"spot": "ring"}, "'gaussian'"), ({"max_ecc": 0.3}, "leave it out"),
    ({"predictor": "affine"}, "velocity")])
def test_what_flat_images_alone_have_is_refused(option, words: str) -> None:
    pixels = np.zeros((2, 12, 32, 32), np.uint8)
    with pytest.raises(ConfigError, match=words):
        vd.track(pixels, axes="tzyx", micrometre_per_pixel=0.1, micrometre_per_plane=0.3, **option)


def test_an_empty_stack_says_what_to_give() -> None:
    noise = np.random.default_rng(0).poisson(20, (2, 12, 32, 32)).astype(np.uint8)
    calibration = {"axes": "tzyx", "micrometre_per_pixel": 0.1, "micrometre_per_plane": 0.3}
    with pytest.raises(DataError, match=r"Give spot_width .* and axial_width"):
        vd.track(noise, **calibration)
    with pytest.raises(DataError, match="no particle in any frame"):
        vd.track(noise, spot_width=1.5, axial_width=1.5, **calibration)
    with pytest.raises(DataError, match="nothing in the stacks stands out"):
        vd.suggest(noise, **calibration)
    with pytest.raises(DataError, match="a single stack says nothing"):
        vd.suggest(noise[:1], **calibration)
