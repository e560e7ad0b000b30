"""Proposed settings: right on rendered films of known size, sign and motion; D against the search range tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.video import Video
from vid2dyn.reports.suggestion import against_search_range
from vid2dyn.tracking import Track, propose, relink

S = vd.simulators


def film(spot_sigma: float = 2.0, amplitude: float = 100.0, diffusion: float = 0.4, seed: int = 0,
         frames: int = 24) -> Video:
    """About 60 particles; a step is sqrt(2 D / 20)/0.1 = 2 px along each axis for D = 0.4 µm²/s."""
    sim = S.Brownian(n_particles=80, frames=frames, box_length=32.0, diffusion=diffusion, frames_per_second=20.0)
    return vd.render(sim, S.Renderer(height=280, width=280, spot_sigma=spot_sigma, amplitude=amplitude,
                                     background=60.0, read_noise=4.0), seed)


@pytest.mark.parametrize("amplitude", [100.0, -50.0])
@pytest.mark.parametrize("spot_sigma", [1.5, 2.5, 4.0])
def test_size_and_sign_of_the_spots(spot_sigma: float, amplitude: float) -> None:
    found = propose(film(spot_sigma, amplitude))
    assert found.spot_width == pytest.approx(spot_sigma, rel=0.2)
    assert found.track.invert == (amplitude < 0)
    assert 4 * spot_sigma < found.track.diameter < 6.5 * spot_sigma


@pytest.mark.parametrize("diffusion", [0.025, 0.4])
def test_search_range_follows_the_motion(diffusion: float) -> None:
    """3.7 steps along an axis (one in a thousand goes farther), at least 2 px; a step of 0.5 or 2 px."""
    found = propose(film(diffusion=diffusion))
    step = np.sqrt(2 * diffusion / 20) / 0.1
    assert found.step == pytest.approx(step, rel=0.2)
    assert max(3 * step, 2.0) <= found.track.search_range <= max(5 * step, 3.0)


def test_the_proposal_finds_and_links_the_particles(tmp_path: Path) -> None:
    video = film(seed=3)
    found = vd.suggest(video)
    tracks = vd.track(video, found.track)
    from vid2dyn.analysis.detection_score import score
    from vid2dyn.analysis.link_score import score_links

    assert score(tracks, video.truth).recall > 0.88             # free particles overlap at times
    assert score_links(tracks, video.truth).precision > 0.97
    assert set(found.figures) == {"detections", "size", "brightness", "displacements", "search range"}
    assert all(uri.startswith("data:image/") for uri in found.figures.values())
    page = found.save(tmp_path / "page.html").read_text()
    assert page.count("data:image/") == 5
    assert f"search_range = {found.track.search_range}" in page
    with pytest.raises(ConfigError, match=r"page\.html"):
        found.save(tmp_path / "page.pdf")
    assert vd.track(video, **found.changed()).dataframe.equals(tracks.dataframe)


def test_what_is_given_is_kept() -> None:
    found = propose(film(), Track(diameter=15, minmass=123.0, search_range=9.0, memory=2))
    assert (found.track.diameter, found.track.minmass, found.track.search_range, found.track.memory) == (15, 123, 9, 2)


def test_d_against_the_search_range_shows_both_biases() -> None:
    """Dense free particles: a short range cuts D, a long one joins strangers; in between D is right within 10 %."""
    sim = S.Brownian(n_particles=300, frames=120, box_length=40.0, diffusion=0.4, frames_per_second=100.0)
    tracks = sim.run(seed=1)
    unlinked = tracks.replace(dataframe=tracks.dataframe.assign(particle=-1))
    table = against_search_range(unlinked, Track(), ranges=[1.0, 4.0])
    assert table["D"][0] < 0.7 * 0.4
    assert table["D"][1] == pytest.approx(0.4, rel=0.1)
    assert table["beyond"][0] > 0.1 > table["beyond"][1]


def test_relinking_repeats_the_links_and_keeps_every_column() -> None:
    video = film(seed=4)
    tracks = vd.track(video, diameter=11, search_range=8, memory=1)
    again = relink(tracks, Track(diameter=11, search_range=8, memory=1))
    assert again.dataframe.drop(columns="particle").equals(tracks.dataframe.drop(columns="particle"))
    a, b = tracks.lagged(1), again.lagged(1)
    assert np.array_equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])


def test_nothing_to_propose_is_said() -> None:
    with pytest.raises(DataError, match="single frame"):
        propose(film(frames=1))
    empty = vd.render(S.Brownian(n_particles=1, frames=3), S.Renderer(height=64, width=64, amplitude=0.001))
    with pytest.raises(DataError, match=r"stands out of the noise|found again"):
        propose(empty)


@pytest.mark.parametrize(("name", "invert", "diameters"), [
    ("brightfield_25f.tif", False, (13, 21)), ("stuck.tif", False, (5, 11)), ("colloids.mp4", True, (5, 15))])
def test_recordings(recordings: Path, name: str, invert: bool, diameters: tuple[int, int]) -> None:
    found = propose(vd.open(recordings / name))
    assert found.track.invert == invert
    assert diameters[0] <= found.track.diameter <= diameters[1]


def mixed_film(scatter: float = 0.0, state_width: float = 1.0, seed: int = 0) -> Video:
    """Six frames of 120 spots that stand apart and move by half a pixel; widths of 2 px times 1 or `state_width`, or
    scattered by a lognormal factor."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(20, 300, 26.0), np.arange(20, 300, 26.0), indexing="ij"), -1).reshape(-1, 2)
    places = grid + rng.uniform(-3, 3, grid.shape)
    factor = np.where(rng.random(len(grid)) < 0.5, 1.0, state_width) * np.exp(scatter * rng.normal(size=len(grid)))
    y, x = np.mgrid[:320, :320]
    frames = []
    for _ in range(6):
        light = np.full(y.shape, 100.0)
        for (a, b), f in zip(places, factor):
            box = slice(max(int(a) - 16, 0), int(a) + 17), slice(max(int(b) - 16, 0), int(b) + 17)
            light[box] += 800 * np.exp(-((y[box] - a) ** 2 + (x[box] - b) ** 2) / (2 * (2.0 * f) ** 2))
        frames.append(rng.normal(light, 20.0).clip(0).astype(np.uint16))
        places = places + rng.normal(0, 0.5, places.shape)
    return Video.from_array(np.array(frames), frames_per_second=20.0, micrometre_per_pixel=0.1)


def test_classes_of_sizes_are_proposed_where_there_are_some() -> None:
    video = mixed_film(state_width=1.8)
    found = propose(video)
    assert found.track.sizes == "classes"
    assert any("sizes = 'classes' is proposed" in note for note in found.notes)
    tracks = vd.track(video, found.track)
    assert tracks.info["class_sizes"] == pytest.approx([2.0, 3.6], rel=0.05)
    assert set(tracks.dataframe["species"]) == {"small", "large"}
    assert propose(video, Track(sizes="each")).track.sizes == "each"          # what is given is kept


def test_a_size_for_each_is_proposed_where_there_are_no_classes() -> None:
    found = propose(mixed_film(scatter=0.3))
    assert found.track.sizes == "each"
    assert any("sizes = 'each' is proposed" in note for note in found.notes)
    assert propose(mixed_film(scatter=0.0)).track.sizes == "one"


def stacks(axial_step: float) -> Video:
    """Five stacks of 40 spots, 1.8 px and 2.2 planes wide; steps of 0.5 px in the plane, `axial_step` px in depth."""
    rng = np.random.default_rng(5)
    renderer = S.StackRenderer(planes=40, height=96, width=96, spot_sigma=1.8, axial_sigma=2.2,
                               micrometre_per_plane=0.25)
    aspect = renderer.micrometre_per_plane / 0.1
    places = rng.uniform([8, 8, 8], [88, 88, 32], (40, 3))
    scene, frames = renderer.scene(0, 40), []
    for t in range(5):
        frames.append(scene.frame(t, places[None]))
        places = places + rng.normal(0, [0.5, 0.5, axial_step / aspect], places.shape)
    return Video.from_array(np.array(frames), axes="tzyx", frames_per_second=20.0,
                            micrometre_per_pixel=0.1, micrometre_per_plane=0.25)


def test_stacks_get_a_diameter_and_search_ranges() -> None:
    """One range where motion is alike along all axes, one along the depth where it is not; tracks hold together."""
    alike = propose(stacks(axial_step=0.5))
    assert alike.spot_width == pytest.approx(1.8, rel=0.1)
    assert alike.track.diameter in (7, 9, 11)
    assert alike.track.axial_search_range is None
    assert 2.0 <= alike.track.search_range <= 3.5
    video = stacks(axial_step=2.0)
    found = vd.suggest(video)
    assert found.track.axial_search_range == pytest.approx(8, rel=0.4)
    assert 2.0 <= found.track.search_range <= 3.5
    assert set(found.figures) >= {"detections", "size", "brightness", "displacements"}
    tracks = vd.track(video, found.track)
    assert len(tracks.lagged(1)[0]) > 0.9 * 4 * 38


def test_dark_particles_in_stacks_are_said() -> None:
    bright = stacks(axial_step=0.5)
    frames = np.array([255 - bright[k] for k in range(5)]).astype(np.uint8)
    video = Video.from_array(frames, axes="tzyx", frames_per_second=20.0, micrometre_per_pixel=0.1,
                             micrometre_per_plane=0.25)
    with pytest.raises(DataError, match="dark spots are much stronger"):
        propose(video)
    assert propose(video, Track(invert=True)).spot_width == pytest.approx(1.8, rel=0.1)


def pairs_of_spots(apart: float, width: float = 1.6, frames: int = 4) -> Video:
    """196 pairs in all directions, their two Gaussians `apart` widths from each other."""
    rng, size = np.random.default_rng(0), 256
    middle = np.stack(np.meshgrid(*2 * [(np.arange(14) + 0.5) * size / 14]), axis=-1).reshape(-1, 2)
    along = rng.normal(size=middle.shape)
    along *= 0.5 * apart * width / np.linalg.norm(along, axis=1, keepdims=True)
    y, x = np.arange(size)[:, None], np.arange(size)
    out = []
    for _ in range(frames):
        image = rng.normal(50, 3, (size, size))
        for place in (middle + along, middle - along):
            for a, b in place + rng.normal(0, 0.1, place.shape):
                image += 100 * np.exp(-((y - a) ** 2) / (2 * width**2)) * np.exp(-((x - b) ** 2) / (2 * width**2))
        out.append(image)
    return Video.from_array(np.clip(out, 0, 255).astype(np.uint8), micrometre_per_pixel=0.1, frames_per_second=10.0)


@pytest.mark.parametrize(("apart", "told"), [(0.0, False), (2.0, True), (4.0, False)])
def test_pairs_that_look_like_one_spot_are_said(apart: float, told: bool) -> None:
    """Two spots nearer than two widths have one maximum, and the width is that of both; apart or on top of each other
    it is that of one."""
    found = propose(pairs_of_spots(apart))
    assert any("Images are elongated" in note for note in found.notes) == told
    assert (found.spot_width == pytest.approx(1.6, rel=0.1)) == (not told)
