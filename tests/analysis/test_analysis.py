"""MSD, drift, RDF, VACF and compare: exact identities, known formulas, and trackpy on the same tracks.

Statistical comparisons have a false-alarm rate of 1e-6 (|z| < 4.9 a number); each states what it detects.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from vid2dyn.analysis import compare, diffusion, drift, fit_power_law, msd, rdf, vacf
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.box import Periodic
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units

Z = 4.9
UNITS = Units(0.1, 100.0, exposure=0.0)
DT = 0.01


def walk(seed: int, frames: int = 200, particles: int = 50, step: float = 0.1, noise: float = 0.0,
         gaps: float = 0.0, dim: int = 2) -> np.ndarray:
    """(frames, particles, dim) random walk [µm] with localisation noise and gaps."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 20, (particles, dim)) + rng.normal(0, step, (frames, particles, dim)).cumsum(axis=0)
    x += rng.normal(0, noise, x.shape)
    x[rng.random(x.shape[:2]) < gaps] = np.nan
    return x


def tracks_of(x: np.ndarray, **arguments: object) -> Trajectories:
    return Trajectories.from_dense(x, UNITS, **arguments)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ drift


@pytest.mark.parametrize("smoothing", [0, 1, 7])
def test_drift_is_trackpys(smoothing: int) -> None:
    import trackpy

    tracks = tracks_of(walk(0, gaps=0.2) + 0.03 * np.arange(200)[:, None, None])
    ours = drift(tracks, smoothing).set_index("frame")
    theirs = trackpy.compute_drift(tracks.dataframe, smoothing)
    np.testing.assert_allclose(ours.loc[theirs.index, ["y", "x"]], theirs[["y", "x"]], atol=1e-9)
    assert ours.loc[0].tolist() == [0.0, 0.0]


def test_drift_is_reversible_to_rounding() -> None:
    tracks = tracks_of(walk(1, gaps=0.3, dim=3))
    steadied = tracks.without_drift(drift(tracks))
    back = steadied.with_drift()
    np.testing.assert_allclose(back.positions, tracks.positions, rtol=0, atol=1e-12)
    assert back.drift is None
    residual = drift(steadied.replace(drift=None))
    np.testing.assert_allclose(residual[["y", "x", "z"]], 0.0, atol=1e-9)


def test_drift_has_every_frame_and_refuses_unlinked() -> None:
    df = pd.DataFrame({"frame": [2, 3, 7, 8], "particle": [0, 0, 1, 1], "y": [0.0, 1, 5, 6], "x": [0.0, 0, 0, 0]})
    table = drift(Trajectories.from_dataframe(df))
    assert table["frame"].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert table["y"].tolist() == [0, 1, 1, 1, 1, 1, 2]
    with pytest.raises(DataError, match="linked"):
        drift(Trajectories.from_dataframe(df.drop(columns="particle")))
    with pytest.raises(ConfigError, match="smoothing"):
        drift(Trajectories.from_dataframe(df), smoothing=-1)


# ------------------------------------------------------------------------------ MSD


def test_msd_and_power_law_are_trackpys() -> None:
    import trackpy

    x = walk(2, frames=80, particles=20)
    x[50:, :7] = np.nan         # tracks of different length: the weights matter
    tracks = tracks_of(x)
    theirs = trackpy.emsd(tracks.dataframe, 0.1, 100.0, max_lagtime=40)
    ours = msd(tracks, 40)
    np.testing.assert_allclose(ours.lag, theirs.index)
    np.testing.assert_allclose(ours.value, theirs.to_numpy(), rtol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        law = trackpy.utils.fit_powerlaw(theirs, plot=False)
    assert ours.power_law().n == pytest.approx(law["n"].iloc[0], rel=1e-9)
    np.testing.assert_allclose(ours.power_law().A, law["A"].iloc[0], rtol=1e-9)


@pytest.mark.parametrize("weight", ["independent", "pairs"])
def test_msd_of_free_diffusion(weight: str) -> None:
    """2 dim (D t + s²) at 20 lags, each within 4.9 errors of 2-5 %, with gaps. At lag 1 the 5 % detected is planted."""
    curve = msd(tracks_of(walk(3, 300, 200, step=0.1, noise=0.05, gaps=0.2)), 20, weight=weight)  # type: ignore[arg-type]
    truth = 2 * (0.01 * curve.frames + 2 * 0.05**2)
    assert (abs(curve.value - truth) < Z * curve.stderr).all()
    assert Z * curve.stderr[0] < 0.05 * truth[0]
    assert abs(curve.value[0] - 1.1 * truth[0]) > Z * curve.stderr[0]
    assert (curve.stderr < 0.1 * truth).all()


def test_msd_error_bars_cover() -> None:
    """200 seeds at lags 1, 5 and 20: 68 % coverage within binomial bounds of 1e-6 (0.52-0.84), halved bars fail."""
    z = []
    for seed in range(200):
        curve = msd(tracks_of(walk(seed, 80, 15)), lags=(1, 5, 20))
        z.append((curve.value - 0.02 * curve.frames) / curve.stderr)
    inside = np.mean(np.abs(z) < 1, axis=0)
    assert (inside > 0.52).all()
    assert (inside < 0.84).all()
    assert (np.mean(2 * np.abs(z) < 1, axis=0) < 0.52).all()


def test_msd_skips_gaps_exactly() -> None:
    steady = np.arange(30.0)[:, None, None] * np.ones((1, 4, 2)) * 0.3
    steady[5:9, 1] = np.nan
    steady[::2, 2] = np.nan
    curve = msd(tracks_of(steady), 6, weight="pairs")
    np.testing.assert_allclose(curve.value, 2 * (0.3 * curve.frames) ** 2, rtol=1e-12)
    seen = np.isfinite(steady[..., 0])
    assert curve.counts.tolist() == [int((seen[k:] & seen[:-k]).sum()) for k in range(1, 7)]


def test_msd_follows_particles_through_a_periodic_box() -> None:
    x, box = walk(4, step=0.2), Periodic((6.0, 7.0))
    free, inside = msd(tracks_of(x), 30), msd(tracks_of(x % np.array(box.lengths), box=box), 30)
    np.testing.assert_allclose(inside.value, free.value, rtol=1e-9)


def test_msd_bad_arguments() -> None:
    with pytest.raises(ConfigError, match="Lags"):
        msd(tracks_of(walk(0)), 0)
    with pytest.raises(DataError, match="linked"):
        msd(Trajectories.from_dataframe(pd.DataFrame({"frame": [0, 1], "y": [0, 0], "x": [0, 0]}), 10, 1))
    with pytest.raises(DataError, match="power law"):
        fit_power_law(np.array([1.0]), np.array([1.0]))


# ------------------------------------------------------------------------------ RDF


def gas(seed: int, frames: int, particles: int, sides: tuple[float, ...]) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, sides, (frames, particles, len(sides)))


def flat(g: object, truth: np.ndarray | float = 1.0) -> bool:
    """Every shell within 4.9 errors of the truth, and chi² of at most 20 shells below its 1e-6 bound."""
    z = (g.value - truth) / g.stderr  # type: ignore[attr-defined]
    return bool((abs(z) < Z).all() and (z**2).sum() < 68)


@pytest.mark.parametrize("sides", [(10.0, 14.0), (5.0, 6.0, 7.0)])
def test_ideal_gas_in_a_periodic_box_is_flat(sides: tuple[float, ...]) -> None:
    """Detects 2 % in all shells together."""
    g = rdf(tracks_of(gas(0, 300, 100, sides), box=Periodic(sides)), bins=20)
    assert flat(g)
    assert g.density == pytest.approx(100 / np.prod(sides))
    assert not flat(g, 1.02)


@pytest.mark.parametrize("sides", [(10.0, 14.0), (5.0, 6.0, 7.0)])
def test_ideal_gas_in_a_region_is_flat_to_the_far_edge(sides: tuple[float, ...]) -> None:
    """Edge correction up to the shorter side, where it is a factor of 3; detects 5 % there."""
    tracks = tracks_of(gas(1, 200, 100, sides))
    g = rdf(tracks, r_max=min(sides), bins=20, region=sides)
    assert flat(g)
    assert not flat(rdf(tracks, r_max=min(sides) / 2, bins=20, region=tuple(1.03 * s for s in sides))), \
        "a region 3 % too long must fail"


def test_field_of_view_with_the_margin_a_detector_leaves() -> None:
    """A 6 px margin of a 107 x 150 px frame would bias g(r) by 20 %; it is found from the detections."""
    tracks = tracks_of(0.6 + gas(2, 200, 60, (9.8, 13.8)), field_of_view=(107.0, 150.0))
    g = rdf(tracks, r_max=5.0, bins=20)
    assert flat(g)
    assert g.region == pytest.approx((9.8, 13.8), rel=1e-3)


def test_margin_of_large_images_in_a_small_frame() -> None:
    """Images of 13 px leave 7 px of a frame of 80 empty, more than the 5 % of a side that anything may leave empty:
    where the tracks say how large the images are, the margin is found whole. Without it g(r) is 10 to 26 % high."""
    known = {"parameters": {"diameter": 13}}
    tracks = tracks_of(0.65 + gas(4, 200, 40, (6.6, 6.6)), field_of_view=(80.0, 80.0), info=known)
    g = rdf(tracks, r_max=3.0, bins=15)
    assert flat(g)
    assert g.region == pytest.approx((6.6, 6.6), rel=2e-3)
    assert not flat(rdf(tracks.replace(info={}), r_max=3.0, bins=15)), "5 % of the frame is too little and must fail"
    # a known diameter does not make what confines particles a margin
    confined = tracks_of(2.5 + gas(5, 50, 40, (3.0, 3.0)), field_of_view=(80.0, 80.0), info=known)
    assert rdf(confined, r_max=2.0).region == pytest.approx((5.4, 5.4))


def test_margin_of_a_small_movie() -> None:
    """Particles all over a small movie: what the tracker finds ends within half a pixel of what is taken for its area.
    """
    from vid2dyn import track
    from vid2dyn.analysis.radial_distribution import detectable_area

    rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:72, :72]
    pictures = [sum(120 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8) for y, x in rng.uniform(0, 72, (9, 2)))
                + rng.normal(20, 2, rows.shape) for _ in range(60)]
    film = np.stack(pictures).clip(0, 255).astype(np.uint8)
    found = track(film, diameter=13, search_range=4, frames_per_second=100, micrometre_per_pixel=0.1)
    corner, sides = detectable_area(found)
    low, high = found.positions.min(axis=0), found.positions.max(axis=0)
    assert low.min() > 0.5                                    # more than 5 % of the frame is empty
    assert np.abs(corner - low).max() < 0.05
    assert np.abs(corner + sides - high).max() < 0.05


def test_two_particles_have_the_boltzmann_factor() -> None:
    """g = exp(-U) A / ∫exp(-U) for two particles in a box, U = 2 exp(-r²); drawn by rejection, 20,000 frames.
    Detects 25 % in U, the planted error."""
    rng, side, n = np.random.default_rng(3), 4.0, 60_000
    box = Periodic((side, side))
    x = rng.uniform(0, side, (n, 2, 2))

    def energy(r: np.ndarray, scale: float = 1.0) -> np.ndarray:
        return 2 * scale * np.exp(-(r**2))

    r = np.linalg.norm(box.displacement(x[:, 0], x[:, 1]), axis=1)
    x = x[rng.random(n) < np.exp(-energy(r))]
    g = rdf(tracks_of(x[:20_000], box=box), bins=12)

    def truth(scale: float) -> np.ndarray:
        s = np.linspace(0, side / 2, 12 * 200 + 1)
        middle = 0.5 * (s[1:] + s[:-1])
        weight = (s[1:] ** 2 - s[:-1] ** 2) * np.pi
        # Beyond half the box only the corners are left: sum the Boltzmann factor over the whole square.
        y = np.linspace(-side / 2, side / 2, 1001)
        lost = np.mean(1 - np.exp(-energy(np.hypot(y[:, None], y), scale))) * side**2
        factor = (weight * np.exp(-energy(middle, scale))).reshape(12, -1).sum(axis=1)
        return factor / weight.reshape(12, -1).sum(axis=1) * side**2 / (side**2 - lost)

    assert flat(g, truth(1.0))
    assert not flat(g, truth(1.25))


def test_pair_counts_are_those_of_all_pairs() -> None:
    sides = (5.0, 8.0)
    x = gas(4, 3, 40, sides)
    box = Periodic(sides)
    g = rdf(tracks_of(x - 100.0, box=box), bins=9)
    i, j = np.triu_indices(40, 1)
    r = np.linalg.norm(box.displacement(x[:, i], x[:, j]), axis=-1)
    assert g.counts.tolist() == np.histogram(r, g.edges)[0].tolist()


@pytest.mark.parametrize("step", [0.02, 0.1, 2.0], ids=["nearly still", "slow", "fast"])
def test_rdf_errors_know_that_frames_are_alike(step: float) -> None:
    """20 recordings in which a pair stays in its shell for 1 frame up to all 200: the scatter of z over 20 seeds x 19
    shells is 1 within 30 %. Errors of independent frames would be 3 to 10 times too small, and fail."""
    z, naive = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0, 20, (60, 2)) + rng.normal(0, step, (200, 60, 2)).cumsum(axis=0)
        g = rdf(tracks_of(x, box=Periodic((20.0, 20.0))), bins=20)
        z.append((g.value - 1)[1:] / g.stderr[1:])
        naive.append((g.value - 1)[1:] * np.sqrt(g.counts[1:]))
    assert 0.7 < np.std(z) < 1.3
    if step < 1:
        assert np.std(naive) > 2


def test_rdf_refuses_what_it_cannot_normalise() -> None:
    x = gas(6, 5, 20, (10.0, 10.0))
    with pytest.raises(DataError, match="field of view"):
        rdf(tracks_of(x))
    with pytest.raises(ConfigError, match="r_max"):
        rdf(tracks_of(x, box=Periodic((10.0, 10.0))), r_max=6.0)
    with pytest.raises(ConfigError, match="region"):
        rdf(tracks_of(x), region=(10.0, 10.0, 10.0))
    with pytest.raises(DataError, match="two particles"):
        rdf(tracks_of(x[:, :1]), region=(10.0, 10.0))


# ------------------------------------------------------------------------------ VACF


def test_vacf_of_brownian_video() -> None:
    """C(0), C(1) and 0 beyond, per axis from D and s; 5 % in C(0) is detected and planted."""
    curve = vacf(tracks_of(walk(7, 300, 200, step=0.1, noise=0.05, gaps=0.1)), 5)
    truth = 2 * np.array([0.01 + 2 * 0.05**2, -(0.05**2), 0, 0, 0, 0]) / DT**2
    assert (abs(curve.value - truth) < Z * curve.stderr).all()
    assert abs(curve.value[0] - 1.05 * truth[0]) > Z * curve.stderr[0]
    assert abs(curve.value[1] + truth[1]) > Z * curve.stderr[1], "a flipped sign must fail"
    assert curve.normalised[0] == 1.0
    assert curve.normalised_stderr[0] == pytest.approx(0.0, abs=1e-12)


def test_vacf_is_normalised_at_every_lag() -> None:
    """A persistent walk in tracks of 12 frames: exp(-lag/tau) at lag 10, where dividing by T would give a sixth."""
    rng, rho = np.random.default_rng(8), 0.9
    v = np.empty((11, 4000, 2))
    v[0] = rng.normal(size=v[0].shape)
    for k in range(1, 11):
        v[k] = rho * v[k - 1] + np.sqrt(1 - rho**2) * rng.normal(size=v[0].shape)
    x = np.concatenate([np.zeros((1, 4000, 2)), (v * DT).cumsum(axis=0)])
    curve = vacf(tracks_of(x), 10)
    assert (abs(curve.value - 2 * rho**curve.frames) < Z * curve.stderr).all()
    assert (abs(curve.normalised - rho**curve.frames)[1:] < Z * curve.normalised_stderr[1:]).all()
    assert Z * curve.stderr[10] < 0.3
    assert curve.counts.tolist() == [4000 * (11 - k) for k in range(11)]


# ------------------------------------------------------------------------------ compare


def boxed(seed: int, step: float = 0.1, units: Units = UNITS) -> Trajectories:
    return Trajectories.from_dense(walk(seed, 200, 80, step), units, box=Periodic((20.0, 20.0)))


def test_compare_same_process_and_a_planted_error() -> None:
    """Same process: all |z| < 4.9. Steps 5 % longer (10 % in D): the MSD at lag 1 is 10 errors off."""
    same, faster = compare(boxed(0), boxed(1), bins=20), compare(boxed(0), boxed(1, step=0.105), bins=20)
    for curve in same.curves:
        assert (abs(curve.z) < Z).all()
        assert curve.relative_rmse < 3 * curve.relative_rmse_of_noise
    assert faster.msd.z[0] > Z
    assert faster.vacf is not None
    assert faster.vacf.z[0] > Z


def test_compare_with_itself_is_exactly_zero() -> None:
    found = compare(boxed(0), boxed(0), bins=10, max_lag=30)
    assert [c.relative_rmse for c in found.curves] == [0.0, 0.0, 0.0]
    assert found.msd.x.size == 30
    assert "relative RMSE" in str(found)
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(stored) == {"rdf", "msd", "vacf", "notes"}


def test_compare_relative_rmse_of_a_known_difference() -> None:
    """All lengths 10 % longer: MSD and VACF differ by exactly 21 %."""
    x = walk(9)
    found = compare(tracks_of(x), tracks_of(1.1 * x))
    assert found.msd.relative_rmse == pytest.approx(0.21)
    assert found.vacf is not None
    assert found.vacf.relative_rmse == pytest.approx(0.21)
    assert found.rdf is None
    assert "No RDF" in found.notes[0]


def test_compare_brings_both_to_the_same_clock() -> None:
    x = walk(10, 400)
    slow = Trajectories.from_dense(x[::2], Units(0.1, 50.0))
    found = compare(tracks_of(x), slow, max_lag=40)
    assert found.msd.relative_rmse == 0.0
    np.testing.assert_allclose(found.msd.x, 0.02 * np.arange(1, 21))
    assert any("every 0.02 s" in note for note in found.notes)
    with pytest.raises(DataError, match="common multiple"):
        compare(tracks_of(x), Trajectories.from_dense(x, Units(0.1, 100 * np.sqrt(2))))


def test_compare_sees_the_rollout_through_the_same_camera() -> None:
    """The rollout left the field of view; its g(r) is that of the particles inside."""
    seen = tracks_of(gas(11, 100, 100, (10.0, 10.0)), field_of_view=(100.0, 100.0))
    wide = tracks_of(gas(12, 100, 400, (20.0, 20.0)))
    found = compare(seen, wide, r_max=4.0, bins=10)
    assert found.rdf is not None
    assert (abs(found.rdf.z) < Z).all()
    assert found.rdf.relative_rmse < 0.05


def test_compare_refuses_different_dimensions() -> None:
    with pytest.raises(DataError, match="axes"):
        compare(tracks_of(walk(0)), tracks_of(walk(0, dim=3)))


def test_drift_of_a_periodic_box_is_in_pixels():
    """All particles go 0.3 and -0.2 px a frame, across the edge of a box given in µm; a pixel is 0.25 µm."""
    rng, um, frames = np.random.default_rng(0), 0.25, 40
    start = rng.uniform(0, 20.0, (30, 2))
    path = start + np.arange(frames)[:, None, None] * np.array([-0.2, 0.3])              # px
    box = Periodic((20.0 * um, 20.0 * um))
    tracks = Trajectories.from_dense(np.mod(path, 20.0) * um, Units(um, 10.0), box=box)
    found = drift(tracks)
    np.testing.assert_allclose(found["y"], -0.2 * np.arange(frames), atol=1e-9)
    np.testing.assert_allclose(found["x"], 0.3 * np.arange(frames), atol=1e-9)
    still = tracks.without_drift(found)
    first = still.positions[::frames].repeat(frames, axis=0)
    assert np.abs(still.box.displacement(first, still.positions)).max() < 1e-9


def test_a_stated_error_is_the_root_of_the_mean_square():
    """Half of the positions have errors of 10 nm, half of 70 nm: 50 nm, which the motion shows, and no doubt is voiced.
    Stated as 10 and 30 nm, a doubt names their root mean square, 22 nm (their mean is 20 nm)."""
    rng, D, dt, frames, n = np.random.default_rng(1), 0.05, 0.01, 200, 60
    sigma = np.where(np.arange(n) % 2, 0.01, 0.07)
    path = np.cumsum(rng.normal(size=(frames, n, 2)) * np.sqrt(2 * D * dt), axis=0) + sigma[:, None] * rng.normal(
        size=(frames, n, 2))
    for stated, word in ((np.broadcast_to(sigma[None, :, None], path.shape), None),
                         (np.where(np.arange(n) % 2, 0.01, 0.03)[None, :, None] + 0 * path, "0.022 µm")):
        tracks = Trajectories.from_dense(path, Units(0.1, 1 / dt, exposure=0.0), sigma=stated)
        said = [text for text in diffusion(tracks).warnings if "states a localisation error" in text]
        assert bool(said) is (word is not None)
        assert word is None or word in said[0]
