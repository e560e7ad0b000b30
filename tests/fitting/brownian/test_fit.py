"""`vd.fit` from end to end on small simulated samples, and what it says when data do not suffice."""

import contextlib

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.errors import ConfigError, DataError, ModelError, UnitsError, Vid2DynError
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian import response

D = 0.405
PAIR = sims.Yukawa(amplitude=10.0)


def yukawa(seed=1, **settings):
    return sims.Brownian(**{"n_particles": 100, "frames": 150, "box_length": 20.0, "pair": PAIR,
                            "localisation_error": 0.027, **settings}).run(seed=seed)


def force_error(model):
    """Relative L2 error of the pair force over the distances seen."""
    r = np.linspace(*model.support, 200)
    truth = PAIR.force(r)
    return float(np.linalg.norm(model.pair_force(r) - truth) / np.linalg.norm(truth))


@pytest.fixture(scope="module")
def tracks():
    return yukawa(exposure=0.01)


@pytest.fixture(scope="module")
def model(tracks):
    return vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0)


# ------------------------------------------------------------------ what comes out

def test_yukawa_comes_back(model):
    """100 particles, 150 frames, noise 30 % of a step, shutter open: force within 8 % (2-5 % on three seeds), D
    within 4 stated errors, which are below 2 %, and noise within 10 %; a potential a quarter too weak is no match."""
    assert force_error(model) < 0.08
    r = np.linspace(*model.support, 200)
    truth = PAIR.force(r)
    assert np.linalg.norm(model.pair_force(r) - 0.75 * truth) > 0.16 * np.linalg.norm(0.75 * truth)
    stderr = model.standard_error("diffusion")
    assert stderr < 0.02 * D
    assert abs(model.diffusion() - D) < 4 * stderr
    assert model.localisation_error() == pytest.approx(0.027, rel=0.1)


def test_the_error_of_diffusion_does_not_depend_on_the_seed_of_the_fit():
    """Of simulations alone, eight of them, errors of one recording differed by a factor of 1.6 between these seeds, and
    one film in eight had its D 5.9 standard errors off."""
    small = yukawa(frames=40, n_particles=60, box_length=15.0)
    errors = [vd.fit(small, vd.Brownian(cutoff=3.0), seed=seed).standard_error("diffusion") for seed in range(4)]
    assert max(errors) < 1.3 * min(errors)


def test_the_band_at_the_end_is_that_of_the_force_before_it(model):
    """The smooth end of the spline alone would give the last tenth a band of a few thousandths of a kT."""
    begins, error = model.arrays["end"][0]
    spline = RadialSpline(*model.arrays["spline"][:2], int(model.arrays["spline"][2]))
    assert begins == spline.end
    low, high = model.band("pair_force", [begins], level=0.682689)
    assert error == pytest.approx((high - low)[0] / 2, rel=1e-5)
    r = np.linspace(begins, spline.cutoff, 20)[1:-1]
    low, high = model.band("pair_force", r, level=0.682689)
    assert ((high - low) / 2 >= error * (1 - 1e-5)).all()
    low, high = model.band("pair_potential", r, level=0.682689)
    assert ((high - low) / 2 >= error * (spline.cutoff - r) * (1 - 1e-5)).all()


def test_the_report_says_how_good_it_is(model):
    said = model.report
    assert said["held_out"]["gain_per_step"] > 3 * said["held_out"]["gain_per_step_stderr"]
    assert abs(said["calibration"]["chi2"] - 1) < 6 * said["calibration"]["chi2_stderr"]
    assert abs(said["calibration"]["lag1"]) < 6 * said["calibration"]["lag1_stderr"]
    assert said["laws"]["mobility_asymmetry"] == 0.0
    assert said["laws"]["mobility_lowest_eigenvalue"] > 0
    assert said["laws"]["energy_rate_without_noise"] <= 0
    assert said["warnings"] == []


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(tmp_path, monkeypatch):
    small = yukawa(frames=40, n_particles=60, box_length=15.0)
    files = []
    for threads in (2, 1, 3):
        monkeypatch.setattr(response, "THREADS", threads)
        files.append(vd.fit(small, vd.Brownian(cutoff=3.0), seed=4).save(tmp_path / f"{threads}.vid2dyn").read_bytes())
    assert files[0] == files[1] == files[2]
    assert vd.fit(small, vd.Brownian(cutoff=3.0), seed=5).save(tmp_path / "other.vid2dyn").read_bytes() != files[0]


def test_free_particles():
    """D within 5 stated errors; those agree with the Cramer-Rao bound of 2·60·200 numbers within a factor 2."""
    found = vd.fit(sims.Brownian(n_particles=60, frames=200, box_length=None, localisation_error=0.03).run(seed=0),
                   vd.Brownian())
    stderr = found.standard_error("diffusion")
    assert abs(found.diffusion() - D) < 5 * stderr
    assert 0.006 < stderr / D < 0.03


@pytest.mark.parametrize("trap", ["each", "shared"])
@pytest.mark.parametrize("stationary", [True, False])
def test_traps_alone(trap, stationary):
    k = 6.0
    data = sims.Brownian(n_particles=60, frames=200, frames_per_second=20.0, trap=trap, trap_stiffness=k,
                         box_length=None, localisation_error=0.03).run(seed=2)
    found = vd.fit(data, vd.Brownian(trap=trap, stationary=stationary))
    value, stderr = found.arrays["trap"]
    assert abs(value - k) < 5 * stderr
    assert stderr < 0.08 * k
    assert found.trap_stiffness() == value
    assert found.arrays["centres"].shape == ((60, 2) if trap == "each" else (1, 2))
    truth = np.asarray(data.info["truth"]["centres"])
    assert np.abs(found.arrays["centres"] - truth).max() < 0.6
    assert found.rollout(data, steps=5).n_frames == 5


def test_a_trap_with_pair_forces():
    """One shared trap holding repelling particles: k within 15 %."""
    data = sims.Brownian(n_particles=40, frames=150, trap="shared", trap_stiffness=1.0, box_length=None,
                         pair=PAIR, localisation_error=0.02).run(seed=3)
    found = vd.fit(data, vd.Brownian(cutoff=3.0, trap="shared"), seed=0)
    assert found.trap_stiffness() == pytest.approx(1.0, rel=0.15)
    assert force_error(found) < 0.25


def test_a_cluster_in_open_space():
    """No box, no field of view, no trap: particles spread, so only their motion tells of forces."""
    data = sims.Brownian(n_particles=60, frames=80, box_length=None, pair=PAIR, localisation_error=0.02).run(seed=3)
    found = vd.fit(data, vd.Brownian(cutoff=2.5, stationary=False), seed=0)
    assert np.isfinite(found.pair_force(np.linspace(*found.support, 50))).all()


def expanding_cluster(seed, side=9, frames=70, spacing=1.15, sigma=0.02, substeps=20):
    """A dense crowd let go in open space: plain Euler steps, forces of all pairs."""
    rng = np.random.default_rng(seed)
    n, h = side**2, 0.01 / substeps
    x = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * spacing
    x = x + 0.03 * rng.normal(size=(n, 2))
    i, j = np.triu_indices(n, 1)
    path = np.empty((frames, n, 2))
    for frame in range(frames):
        path[frame] = x
        for _ in range(substeps):
            e = x[i] - x[j]
            r = np.linalg.norm(e, axis=1)
            push = (PAIR.force(r) / r)[:, None] * e
            force = np.stack([np.bincount(i, push[:, c], n) - np.bincount(j, push[:, c], n) for c in range(2)], 1)
            x = x + D * h * force + np.sqrt(2 * D * h) * rng.normal(size=x.shape)
    seen = path + sigma * rng.normal(size=path.shape)
    return vd.Trajectories.from_dense(seen, vd.Units(0.1, 100.0, exposure=0.0), sigma=sigma)


def test_a_relaxing_sample_needs_the_current():
    """An expanding crowd: equilibrium assumed, forces come out a third off; with the current term within 12 %
    (measured on three seeds: 32 to 35 % against 4 to 6 %)."""
    crowd = expanding_cluster(0)
    assumed, moved = (vd.fit(crowd, vd.Brownian(cutoff=2.5, stationary=s), seed=0) for s in (True, False))
    assert force_error(moved) < 0.12
    assert force_error(assumed) > 0.2
    assert "not at rest" in " ".join(assumed.report["warnings"])
    assert moved.diffusion() == pytest.approx(D, rel=0.06)


def test_a_core_steeper_than_the_noise_is_said():
    """Spheres seen with an error of 80 % of a step: what the noise hides has no band, and the model says where.

    Pairs rise over 1.0 to 1.2 times what a wall shows with this noise and over 1.5 with 30 % of it; the limit is 1.35.
    """
    wca = {"n_particles": 100, "frames": 60, "box_length": 15.8, "pair": sims.WCA(epsilon=1.0, diameter=1.2)}
    for sigma, steep in ((0.072, True), (0.027, False)):
        found = vd.fit(sims.Brownian(**wca, localisation_error=sigma).run(seed=0), vd.Brownian(cutoff=1.6))
        assert ("steep part of the potential is smoothed" in " ".join(found.report["warnings"])) == steep
        assert np.isnan(found.band("pair_potential", [1.2])[0][0]) == steep
        assert found.hidden_below() == pytest.approx(1.6, abs=0.06) if steep else found.hidden_below() == 0


def test_localisation_as_the_table_states():
    data = yukawa(frames=40)
    found = vd.fit(data, vd.Brownian(cutoff=None, localisation="table"))
    assert float(found.arrays["noise_scale"][0]) == 1.0
    bare = data.replace(dataframe=data.dataframe.drop(columns=["y_std", "x_std"]))
    with pytest.raises(DataError, match=r"y_std and x_std"):
        vd.fit(bare, vd.Brownian(cutoff=None, localisation="table"))
    assert vd.fit(bare, vd.Brownian(cutoff=None)).localisation_error() == pytest.approx(0.027, rel=0.4)


def test_an_unknown_exposure_is_said():
    data = yukawa(frames=40)
    unknown = data.replace(units=vd.Units(data.units.um, data.units.frames_per_second))
    assert any("exposure is unknown" in w for w in vd.fit(unknown, vd.Brownian(cutoff=None)).report["warnings"])


# ------------------------------------------------------------------ what it refuses

@pytest.fixture(scope="module")
def short():
    return yukawa(frames=12)


@pytest.mark.parametrize("missing", ["frames_per_second", "micrometre_per_pixel"])
def test_missing_calibration_is_asked_for(short, missing):
    known = {k: v for k, v in short.units.to_dict().items() if k != missing}
    with pytest.raises(UnitsError, match=missing):
        vd.fit(short.replace(units=vd.Units(**known)), vd.Brownian())


def test_unlinked(short):
    loose = short.replace(dataframe=short.dataframe.assign(particle=-1))
    with pytest.raises(DataError, match="not linked"):
        vd.fit(loose, vd.Brownian())


def test_nothing_at_all(short):
    with pytest.raises(Vid2DynError):
        vd.fit(short.rows(np.zeros(len(short), dtype=bool)), vd.Brownian())


def test_one_particle():
    one = sims.Brownian(n_particles=1, frames=400, box_length=None, localisation_error=0.02).run(seed=0)
    found = vd.fit(one, vd.Brownian())
    assert found.diffusion() == pytest.approx(D, rel=0.6)
    with pytest.raises(ModelError, match="pairs of particles come within"):
        vd.fit(one, vd.Brownian(cutoff=3.0))


@pytest.mark.parametrize("recipe", [vd.Brownian(), vd.Brownian(cutoff=3.0), vd.Brownian(trap="shared")])
def test_two_frames_or_one_never_end_in_a_traceback(short, recipe):
    """Either a clear error or a finite model."""
    for frames in (1, 2):
        with contextlib.suppress(Vid2DynError):
            assert np.isfinite(vd.fit(short.between(0, frames), recipe).diffusion())


def test_a_field_of_view_too_small(short):
    seen = short.replace(box=vd.Free(), field_of_view=(50.0, 50.0))
    with pytest.raises(DataError, match=r"field of view.*too small for cutoff"):
        vd.fit(seen, vd.Brownian(cutoff=3.0))


def test_a_cutoff_beyond_half_the_box(short):
    with pytest.raises(Vid2DynError, match="half of the box edge"):
        vd.fit(short, vd.Brownian(cutoff=11.0))


def test_a_cutoff_below_every_distance(short):
    with pytest.raises(ModelError, match=r"Only 0 pairs.*raise the cutoff"):
        vd.fit(short, vd.Brownian(cutoff=0.2))


def test_settings_out_of_range(short):
    for wrong in ({"cutoff": -1.0}, {"cutoff": float("nan")}, {"knots": 3}, {"trap": "some"}, {"localisation": "x"}):
        with pytest.raises(ConfigError):
            vd.Brownian(**wrong)
    with pytest.raises(ConfigError, match="No estimator"):
        vd.fit(short, object())
