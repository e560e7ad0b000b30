"""Region of interest, flat field, background, bleaching: what was put in is taken out, and nothing else moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

import vid2dyn as vd
from vid2dyn.data.region import Region
from vid2dyn.tracking import Track, prepared

SIZE, FRAMES, UM = 200, 100, 0.1
SETTINGS = {"diameter": 9, "search_range": 8.0, "invert": False, "spot": "gaussian"}


def recorded() -> vd.simulators.RenderedVideo:
    """A clean movie of free particles, some of which pass the edges of the view."""
    gas = vd.simulators.Brownian(n_particles=160, frames=FRAMES, box_length=24.0, diffusion=0.2, frames_per_second=10.0)
    camera = vd.simulators.Renderer(height=SIZE, width=SIZE, spot_sigma=1.6, amplitude=3000, background=2000, gain=4.0,
                                    read_noise=4, bit_depth=16)
    return vd.render(gas, camera, seed=4)


@pytest.fixture(scope="module")
def film() -> vd.simulators.RenderedVideo:
    return recorded()


@pytest.fixture(scope="module")
def clean(film: vd.simulators.RenderedVideo) -> np.ndarray:
    return np.stack([film[k] for k in range(FRAMES)])


@pytest.fixture(scope="module")
def spoilt(clean: np.ndarray) -> np.ndarray:
    """The same light through a microscope that is dark at the edges, dirty, and bleaches by a third."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:SIZE * 1j, -1:1:SIZE * 1j]
    shade = 1 - 0.35 * (x**2 + y**2) + 0.1 * x
    dirt = np.zeros((SIZE, SIZE))
    for a, b in rng.uniform(10, SIZE - 10, (40, 2)):
        dirt += 2500 * np.exp(-((np.mgrid[:SIZE, :SIZE][0] - a) ** 2 + (np.mgrid[:SIZE, :SIZE][1] - b) ** 2) / 5.0)
    fading = 1 - 0.33 * np.arange(FRAMES)[:, None, None] / FRAMES
    return np.round((clean + dirt) * shade * fading + 100).astype(np.uint16)


CORRECTED = {"background": "median", "flat_field": "movie", "dark_level": 100.0, "bleach_correction": "ratio"}


def followed(frames: np.ndarray, **settings: object) -> vd.Trajectories:
    return vd.track(frames, Track(**{**SETTINGS, **settings}), frames_per_second=10, micrometre_per_pixel=UM)


def differs(a: vd.Trajectories, b: vd.Trajectories) -> tuple[float, float]:
    """Differences of D and of g(r) of two recordings of the same particles, in standard errors (the largest of g)."""
    D = [vd.diffusion(t) for t in (a, b)]
    g = [vd.analysis.rdf(t, 3.0, bins=10) for t in (a, b)]
    return (abs(D[0].D - D[1].D) / D[0].D_stderr,
            float((abs(g[0].value - g[1].value) / np.maximum(g[0].stderr, 1e-9))[1:].max()))


def test_vignetting_dirt_and_bleaching_are_taken_out(clean: np.ndarray, spoilt: np.ndarray) -> None:
    truth, mended, raw = followed(clean), followed(spoilt, **CORRECTED), followed(spoilt)
    assert abs(len(mended) / len(truth) - 1) < 0.02
    assert max(differs(truth, mended)) < 1.0, "D and g(r) of the clean movie"
    assert max(differs(truth, raw)) > 3.0, "the faults matter where they are left in"


def test_standard_errors_hold_where_the_background_is_taken_out(film: vd.simulators.RenderedVideo,
                                                                spoilt: np.ndarray) -> None:
    truth, found, errors = film.truth.dataframe, followed(spoilt, **CORRECTED).dataframe, []
    for frame in range(0, FRAMES, 4):
        true, seen = (table[table.frame == frame] for table in (truth, found))
        yx = seen[["y", "x"]].to_numpy()
        near, which = cKDTree(true[["y", "x"]].to_numpy()).query(yx)
        alone = cKDTree(yx).query(yx, k=2)[0][:, 1] > 12
        off = (yx - true[["y", "x"]].to_numpy()[which]) / seen[["y_std", "x_std"]].to_numpy()
        errors.append(off[alone & (near < 1)])
    spread = float(np.median(np.abs(np.concatenate(errors)))) / 0.6745
    assert 0.9 < spread < 1.15, "with the plain median 1.18"


def test_flat_field_of_an_empty_field_and_of_the_movie_agree(clean: np.ndarray, tmp_path: Path) -> None:
    y, x = np.mgrid[-1:1:SIZE * 1j, -1:1:SIZE * 1j]
    shade = 1 - 0.3 * (x**2 + y**2)
    from vid2dyn.core.opencv import cv2

    cv2.imwrite(str(tmp_path / "flat.png"), np.round(30000 * shade + 100).astype(np.uint16))
    video = vd.Video.from_array(np.round(clean * shade + 100).astype(np.uint16))
    for source in (str(tmp_path / "flat.png"), "movie"):
        image = prepared(video, Track(flat_field=source, dark_level=100))[3].astype(float) - 100
        ratio = image / clean[3]
        assert np.std(ratio / ratio.mean()) < 0.02, source
    cv2.imwrite(str(tmp_path / "small.png"), np.ones((10, 10), np.uint8))
    with pytest.raises(vd.ConfigError, match=r"the image has 10 x 10 px, the frames 200 x 200"):
        prepared(video, Track(flat_field=str(tmp_path / "small.png")))


CORNERS = ((20.0, 20.0), (180.0, 20.0), (180.0, 100.0), (90.0, 100.0), (90.0, 170.0), (20.0, 170.0))


def test_a_region_counts_like_a_view(clean: np.ndarray) -> None:
    whole, part = followed(clean), followed(clean, roi=CORNERS)
    assert part.region is not None
    assert part.region.contains(part.dataframe.y, part.dataframe.x).all()
    inside = part.region.contains(whole.dataframe.y, whole.dataframe.x).sum()
    assert len(part) == pytest.approx(inside, rel=0.01), "up to its very edge"
    g, all_of_it = vd.analysis.rdf(part, 3.0, bins=10), vd.analysis.rdf(whole, 3.0, bins=10)
    assert g.density == pytest.approx(len(part) / FRAMES / (part.region.area * UM**2), rel=1e-6)
    assert (abs(g.value - all_of_it.value) < 5 * np.hypot(g.stderr, all_of_it.stderr)).all()
    D = [vd.diffusion(t) for t in (whole, part)]
    assert abs(D[0].D - D[1].D) < 5 * np.hypot(D[0].D_stderr, D[1].D_stderr)
    # taken for a whole frame, the same detections have a g(r) far from 1
    wrong = vd.analysis.rdf(part.replace(region=None), 3.0, bins=10)
    assert (abs(wrong.value - 1) > 3 * wrong.stderr).any()


def test_everything_at_once(clean: np.ndarray, spoilt: np.ndarray) -> None:
    truth, mended = followed(clean, roi=CORNERS), followed(spoilt, roi=CORNERS, **CORRECTED)
    assert max(differs(truth, mended)) < 1.0


def test_saved_fitted_and_rolled_out(clean: np.ndarray, tmp_path: Path) -> None:
    part = followed(clean[:30], roi=((30.0, 30.0), (169.0, 149.0)))
    again = vd.load(part.save(tmp_path / "t.parquet"))
    assert (again.region.mask == part.region.mask).all()
    assert again.info["parameters"]["roi"] == [[30.0, 30.0], [169.0, 149.0]]
    settings = Track(**SETTINGS, roi=((30, 30), (169, 149)))
    assert vd.core.config.build(Track, again.info["parameters"], "track") == settings
    model = vd.fit(part, vd.Brownian())
    assert model.rollout(part, steps=3).box.lengths == pytest.approx((14.0, 12.0))


def test_masks_and_mistakes(tmp_path: Path) -> None:
    from vid2dyn.core.opencv import cv2

    mask = np.zeros((40, 50), np.uint8)
    mask[5:30, 10:40] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    assert (Region.of(str(tmp_path / "mask.png"), (40, 50)).mask == (mask > 0)).all()
    for roi, said in ((((1.0, 2.0),), "two opposite corners"), (((900.0, 900.0), (950.0, 950.0)), "no pixel"),
                      (str(tmp_path / "mask.png"), "the mask has 40 x 50 px, the frames 60 x 60")):
        with pytest.raises(vd.ConfigError, match=said):
            Region.of(Track(roi=roi).roi, (60, 60))


def test_corners_on_the_command_line() -> None:
    assert Track(roi="[[1, 2], [30, 40]]").roi == ((1.0, 2.0), (30.0, 40.0))
    for wrong in ("[[1, 2], [30", '["a", "b"]', "[[1], [2, 3]]"):
        with pytest.raises(vd.ConfigError, match="roi"):
            Track(roi=wrong)


def test_particles_that_rest_are_said(film: vd.simulators.RenderedVideo, clean: np.ndarray) -> None:
    moving, resting = (followed(frames, background="median").info["warnings"] for frames in (
        clean, np.repeat(clean[:20], 4, axis=0)))
    assert not any("same place" in one for one in moving)
    assert any("at the same place an eighth of the movie later" in one for one in resting)


def test_pairs_of_a_disc_as_in_closed_form() -> None:
    """Distance of two points of a disc of radius R: density 4 s/(π R²) (acos q - q sqrt(1 - q²)), q = s/(2 R)."""
    R = 80.0
    y, x = np.mgrid[:200, :200]
    edges = np.linspace(0, 60, 7)
    found = Region((y - 99.5) ** 2 + (x - 99.5) ** 2 < R**2).pair_probability(edges)
    s = np.linspace(0, 60, 6001)
    q = s / (2 * R)
    density = 4 * s / (np.pi * R**2) * (np.arccos(q) - q * np.sqrt(1 - q**2))
    exact = [np.trapezoid(density[k:k + 1001], s[k:k + 1001]) for k in range(0, 6000, 1000)]
    assert found == pytest.approx(exact, rel=2e-3)


def test_the_distance_to_the_edge_has_its_own_gradient() -> None:
    region = Region.of(CORNERS, (200, 200))
    rng = np.random.default_rng(0)
    y, x = rng.uniform(15, 185, (2, 500))
    value, slope = region.distance(y, x)
    h = 1e-6
    numeric = np.stack([(region.distance(y + h, x)[0] - region.distance(y - h, x)[0]) / (2 * h),
                        (region.distance(y, x + h)[0] - region.distance(y, x - h)[0]) / (2 * h)], axis=1)
    assert np.abs(numeric - slope).max() < 1e-6
    assert ((value > 0.5) <= region.contains(y, x)).all()


def test_memory_of_the_background_is_bounded() -> None:
    video = vd.Video.from_array(np.zeros((400, 64, 64), np.uint8))
    made = prepared(video, Track(background="median"))
    assert len(made._samples()) == 60
    assert prepared(video, Track()) is video


def test_parts_of_a_movie_are_prepared_as_the_whole(spoilt: np.ndarray, tmp_path: Path) -> None:
    import tifffile

    from vid2dyn.runs.chunks import track_movie

    tifffile.imwrite(tmp_path / "clip.tif", spoilt[:45])
    settings = Track(**SETTINGS, **CORRECTED, roi=CORNERS, stop=30)
    whole = vd.track(tmp_path / "clip.tif", settings, frames_per_second=10, micrometre_per_pixel=UM)
    track_movie(tmp_path / "clip.tif", tmp_path / "t.parquet", settings, part_frames=8, frames_per_second=10,
                micrometre_per_pixel=UM)
    parts = vd.load(tmp_path / "t.parquet")
    assert parts.dataframe.equals(whole.dataframe)
    assert (parts.region.mask == whole.region.mask).all()


def test_the_largest_rectangle_is_that_of_all_rectangles() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((7, 9)) < 0.75
        mask[3, 4] = True
        top, left, height, width = Region(mask).inscribed()
        assert mask[top:top + height, left:left + width].all()
        spans = [(a, b, c, d) for a in range(7) for b in range(a + 1, 8) for c in range(9) for d in range(c + 1, 10)]
        best = max((b - a) * (d - c) for a, b, c, d in spans
                   if mask[a:b, c:d].all())
        assert height * width == best
