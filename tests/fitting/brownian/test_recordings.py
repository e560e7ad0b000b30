"""Several recordings in one fit: shared physics, noise and view of each, and the one that does not belong.

Statistical tests: false alarm 1e-6 a comparison (Z), the error that is detected as said, with a planted one beside it.
"""

import numpy as np
import pytest
from scipy.optimize import minimize

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.fitting.brownian.likelihood import FreeSteps, shared_diffusion
from vid2dyn.fitting.brownian.recording import Recording
from vid2dyn.fitting.brownian.recordings_alone import BLOCKS, Compared, shared_stderr, strangers

D, Z = 0.405, 4.9
PAIR = sims.Yukawa(amplitude=8.0, screening_length=0.45, diameter=1.0, cutoff=3.0)
CUTOFF = vd.Brownian(cutoff=3.0)


def film(seed, **settings):
    return sims.Brownian(**{"n_particles": 80, "frames": 80, "box_length": 14.0, "pair": PAIR,
                            "localisation_error": 0.027, **settings}).run(seed=seed)


def small(seed, **settings):
    return film(seed, **{"n_particles": 60, "frames": 60, "box_length": 12.1, **settings})


def free(seed, **settings):
    return film(seed, **{"pair": None, "n_particles": 40, "frames": 120, **settings})


def trapped(seed, trap="each", **settings):
    return sims.Brownian(**{"n_particles": 40, "frames": 150, "frames_per_second": 20.0, "trap": trap,
                            "trap_stiffness": 6.0, "box_length": None, "localisation_error": 0.03,
                            **settings}).run(seed=seed)


@pytest.fixture(scope="module")
def films():
    """Three films of one sample: other noise in the second; half the frame rate and an open shutter in the third."""
    return [film(0), film(1, localisation_error=0.05), film(2, frames_per_second=50.0, exposure=0.01)]


@pytest.fixture(scope="module")
def model(films):
    return vd.fit(films, CUTOFF)


# ------------------------------------------------------------------ one recording is a list of one

@pytest.mark.parametrize(("simulated", "recipe"), [
    (lambda: free(0), vd.Brownian()), (lambda: film(0, frames=30, n_particles=60), CUTOFF),
    (lambda: trapped(0), vd.Brownian(trap="each")),
    (lambda: trapped(0, "shared"), vd.Brownian(trap="shared"))], ids=["free", "pairs", "each", "shared"])
def test_one_recording_is_a_list_of_one(simulated, recipe, tmp_path):
    data = simulated()
    one, listed = vd.fit(data, recipe).save(tmp_path / "a.vid2dyn"), vd.fit([data], recipe).save(tmp_path / "b.vid2dyn")
    assert one.read_bytes() == listed.read_bytes()


# ------------------------------------------------------------------ free particles: the sum of likelihoods

def test_the_shared_diffusion_is_the_maximum_of_the_sum():
    """Against a general minimiser of all numbers at once."""
    parts = [Recording.of(free(k, localisation_error=sigma, frames_per_second=fps), None)
             for k, (sigma, fps) in enumerate([(0.03, 100.0), (0.06, 100.0), (0.03, 40.0)])]
    found, steps = shared_diffusion(parts), [FreeSteps.of(one) for one in parts]

    def loss(x):
        return sum(one.loss(x[0], scale) for one, scale in zip(steps, x[1:]))

    best = minimize(loss, [np.log(D), 1.0, 1.0, 1.0], method="Nelder-Mead",
                    options={"xatol": 1e-7, "fatol": 1e-8, "maxiter": 4000})
    assert np.log(found.diffusion) == pytest.approx(best.x[0], abs=1e-4)
    assert found.noise_scales == pytest.approx(best.x[1:], abs=1e-3)
    assert abs(np.log(found.diffusion / D)) < Z * found.information.sum() ** -0.5
    assert abs(np.log(found.diffusion / (1.12 * D))) > Z * found.information.sum() ** -0.5


def test_the_likelihood_of_steps_is_that_of_the_sweep():
    steps = FreeSteps.of(Recording.of(free(3, exposure=0.01), None))
    constant = 0.5 * steps.dx.size * np.log(2 * np.pi)
    for x, scale in ((np.log(D), 1.0), (np.log(0.3), 0.2), (0.0, 2.0)):
        assert -steps.log_likelihood(x, scale).sum() == pytest.approx(steps.loss(x, scale) + constant, rel=1e-12)


def test_what_slows_one_recording_is_taken_into_account():
    """A recording that shows 0.8 of D, told so, says what the others say."""
    parts = [Recording.of(free(k, diffusion=d), None) for k, d in enumerate((D, 0.8 * D))]
    found = shared_diffusion(parts, slowing=[1.0, 0.8])
    assert abs(np.log(found.diffusion / D)) < Z * found.information.sum() ** -0.5
    assert abs(np.log(shared_diffusion(parts).diffusion / D)) > Z * found.information.sum() ** -0.5


def test_known_noise_is_not_learned():
    data = [free(k) for k in range(2)]
    found = vd.fit(data, vd.Brownian(localisation="table"))
    assert found.arrays["recording_noise_scale"].tolist() == [[[1.0, 0.0]], [[1.0, 0.0]]]


# ------------------------------------------------------------------ pair forces

def test_put_in_potential_comes_back_from_three_unlike_films(model):
    """Every band times 4.9/1.96 holds the truth; a potential 40 % too weak falls out of it."""
    r = np.linspace(1.1, 2.2, 8)
    low, high = model.band("pair_potential", r)
    error = (high - low) / 2 / 1.96
    assert (np.abs(model.pair_potential(r) - PAIR.energy(r)) < Z * error).all()
    assert (np.abs(model.pair_potential(r) - 0.6 * PAIR.energy(r)) > Z * error).any()
    assert abs(model.diffusion() - D) < Z * model.standard_error("diffusion")
    assert abs(model.diffusion() - 1.15 * D) > Z * model.standard_error("diffusion")
    assert model.report["warnings"] == []


def test_bands_are_narrower_than_those_of_one(films, model):
    alone, r = vd.fit(films[0], CUTOFF), np.linspace(1.1, 2.0, 10)
    of_one, of_three = (np.diff(m.band("pair_potential", r), axis=0).mean() for m in (alone, model))
    assert of_three < 0.85 * of_one
    assert model.standard_error("diffusion") < 0.85 * alone.standard_error("diffusion")


def test_the_report_speaks_of_each(films, model):
    entries = model.report["recordings"]
    assert [entry["name"] for entry in entries] == ["recording 1", "recording 2", "recording 3"]
    for entry, sigma in zip(entries, (0.027, 0.05, 0.027)):
        assert abs(entry["localisation_error"] - sigma) < Z * entry["localisation_error_stderr"]
        assert abs(entry["diffusion"] - D) < Z * entry["diffusion_stderr"]
        assert abs(entry["force_strength"] - 1) < Z * entry["force_strength_stderr"]
        assert entry["belongs"]
        assert np.isfinite(entry["log_likelihood_per_step"])
    assert model.arrays["recording_noise_scale"].shape == (3, 1, 2)
    page = vd.reports.page.contents(films[0], model)
    section = next(one for one in page["sections"] if one.id == "recordings")
    assert len(section.table["rows"]) == 3


def test_a_rollout_has_the_noise_of_its_recording(films, model):
    entries = model.report["recordings"]
    for data, entry in zip(films, entries):
        assert model.rollout(data, steps=2).sigma.mean() == pytest.approx(entry["localisation_error"], rel=1e-9)
    other = model.rollout(film(9, frames=3), steps=2)
    assert other.sigma.mean() == pytest.approx(model.localisation_error(), rel=1e-9)


def test_a_film_with_another_D_is_named():
    """D 60 % larger: named, and nothing else is."""
    said = vd.fit([small(0), small(1), small(3, diffusion=1.6 * D)], CUTOFF).report
    named = [text for text in said["warnings"] if "belong" in text]
    assert len(named) == 1
    assert named[0].startswith("recording 3 does not belong to the others: D is 0.")
    assert [entry["belongs"] for entry in said["recordings"]] == [True, True, False]


def test_a_film_with_other_forces_is_named():
    """A quarter of the energy at contact."""
    weak = sims.Yukawa(amplitude=2.0, screening_length=0.45, diameter=1.0, cutoff=3.0)
    said = vd.fit([small(0), small(1), small(3, pair=weak)], CUTOFF).report["warnings"]
    assert any(text.startswith("recording 3 does not belong") and "strength of its forces" in text for text in said)


def test_stopped_and_resumed_it_ends_with_the_same_bytes(tmp_path):
    data = [film(k, frames=30, n_particles=60, exposure=0.01 * k) for k in range(2)]
    place = tmp_path / "fit"
    early = vd.fit(data, CUTOFF, checkpoint=place, stop=2)
    assert early.report["stopped_early"]["rounds"] == 2
    assert np.isfinite(early.standard_error("diffusion"))
    resumed = vd.fit(data, CUTOFF, checkpoint=place).save(tmp_path / "a.vid2dyn")
    assert resumed.read_bytes() == vd.fit(data, CUTOFF).save(tmp_path / "b.vid2dyn").read_bytes()


def test_progress_counts_the_recordings_of_all():
    seen = []
    vd.fit([film(k, frames=20, n_particles=50) for k in range(2)], CUTOFF,
           progress=lambda done, total, what: seen.append((done, total, what)))
    for stage in ("fit", "judging"):
        done = [d for d, _, what in seen if what == stage]
        assert done
        assert done == sorted(done)
        assert done[-1] == next(total for _, total, what in reversed(seen) if what == stage)


# ------------------------------------------------------------------ traps

@pytest.mark.parametrize("trap", ["each", "shared"])
def test_traps_of_several_recordings(trap):
    """k within Z stated errors, 40 % of which are 1 % of k; a k that is 15 % off is not. Each has its own centres."""
    data = [trapped(k, trap) for k in range(3)]
    found = vd.fit(data, vd.Brownian(trap=trap))
    error = found.standard_error("trap_stiffness")
    assert abs(found.trap_stiffness() - 6.0) < Z * error
    assert abs(found.trap_stiffness() - 1.15 * 6.0) > Z * error
    assert error < 0.8 * vd.fit(data[0], vd.Brownian(trap=trap)).standard_error("trap_stiffness")
    assert found.arrays["centres"].shape == ((120, 2) if trap == "each" else (3, 2))
    assert found.report["warnings"] == []
    assert found.rollout(data[2], steps=3).n_frames == 3
    if trap == "each":
        with pytest.raises(DataError, match="none of the recordings"):
            found.rollout(trapped(7), steps=3)


def test_a_stiffer_trap_is_named():
    said = vd.fit([trapped(0), trapped(1), trapped(2, trap_stiffness=9.0)], vd.Brownian(trap="each")).report["warnings"]
    assert any(text.startswith("recording 3 does not belong") and "stiffness of its traps" in text for text in said)


# ------------------------------------------------------------------ who belongs: the criterion itself

def draws(rng, count, recordings=4, freedom=30):
    for _ in range(count):
        stderr = rng.uniform(0.02, 0.05, recordings)
        measured = stderr * np.sqrt(rng.chisquare(freedom, recordings) / freedom)
        yield Compared("diffusion", 1 + stderr * rng.standard_normal(recordings), measured,
                       np.full(recordings, float(freedom)))


def test_false_alarms_are_as_rare_as_they_should_be():
    """At a level of 1e-2 in place of 1e-6: Bonferroni's bound holds, and is not far off (no power is given away)."""
    rng, n, alpha = np.random.default_rng(0), 4000, 1e-2
    named = sum(bool(strangers((one,), alpha)) for one in draws(rng, n))
    assert named < n * alpha + Z * np.sqrt(n * alpha)
    assert named > 0.3 * n * alpha - Z * np.sqrt(0.3 * n * alpha)


def test_the_worst_is_named_first_and_the_others_are_compared_without_it():
    stderr, freedom = np.full(5, 0.02), np.full(5, 50.0)
    found = strangers((Compared("diffusion", np.array([1.0, 1.01, 1.8, 0.99, 1.5]), stderr, freedom),
                       Compared("force_strength", np.array([1.0, np.nan, 1.0, 1.0, 1.02]), stderr, freedom)))
    assert [one.recording for one in found] == [2, 4]
    assert found[1].others == pytest.approx(1.0, abs=1e-9)
    assert not strangers((Compared("diffusion", np.array([1.0, 1.02, 0.98]), stderr[:3], freedom[:3]),))


def test_two_that_differ_do_not_say_which():
    said = vd.fit([free(0), free(1, diffusion=2 * D)], vd.Brownian()).report["warnings"]
    assert len(said) == 1
    assert "do not agree" in said[0]


def test_from_eight_recordings_on_the_scatter_between_them_is_the_error():
    """D that scatters by 10 % between recordings: the error of the mean is 10 %/sqrt(9), not what is known of films."""
    rng = np.random.default_rng(1)
    data = [free(k, diffusion=D * (1 + 0.1 * rng.standard_normal())) for k in range(BLOCKS + 1)]
    many, few = vd.fit(data, vd.Brownian()), vd.fit(data[:BLOCKS - 1], vd.Brownian())
    assert 0.02 < many.standard_error("diffusion") / D < 0.08
    assert few.standard_error("diffusion") / D < 0.012
    values = np.full(BLOCKS, 1.0)
    assert shared_stderr(values, np.full(BLOCKS, 1 / BLOCKS), np.full(BLOCKS, 0.1), 1.0) == 0.0


# ------------------------------------------------------------------ what does not go together

def test_recordings_of_other_dimensions():
    with pytest.raises(DataError, match=r"recording 1 has 2 dimensions and recording 2 has 3"):
        vd.fit([free(0), free(1, dim=3)], vd.Brownian())


def test_the_recording_at_fault_is_named(tmp_path):
    good, short = free(0), free(1).between(0, 1)
    with pytest.raises(DataError, match=r"^recording 2: Only 0 displacements"):
        vd.fit([good, short], vd.Brownian())
    loose = good.replace(dataframe=good.dataframe.assign(particle=-1))
    with pytest.raises(DataError, match=r"recording 2: these trajectories are not linked"):
        vd.fit([good, loose], vd.Brownian())
    files = [good.save(tmp_path / "good.parquet"), short.save(tmp_path / "short.parquet")]
    with pytest.raises(DataError, match=r"^short.parquet: Only 0 displacements"):
        vd.fit(files, vd.Brownian())


def test_no_recording_and_fields():
    with pytest.raises(DataError, match="an empty list"):
        vd.fit([], vd.Brownian())
    with pytest.raises(DataError, match="not from Fields"):
        vd.fit([sims.Arrhenius(sites=40, realisations=20).run(0)], vd.Brownian())


def test_a_mobility_by_structure_is_learned_from_one():
    hidden = [sims.HiddenState(n_particles=20, frames=30).run(k) for k in range(2)]
    with pytest.raises(ModelError, match="learned from one recording"):
        vd.fit(hidden, vd.Brownian(structure="state", structure_delay=0))


def test_pixels_of_another_size_are_no_difference():
    """Units are each recording's own; positions round differently, and the search for the maximum ends within 1e-5."""
    data = [free(0), free(1, micrometre_per_pixel=0.25)]
    same = [free(0), free(1)]
    assert vd.fit(data, vd.Brownian()).diffusion() == pytest.approx(vd.fit(same, vd.Brownian()).diffusion(), rel=1e-6)
