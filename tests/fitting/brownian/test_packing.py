"""Pair forces, labels and warnings of packed particles, against a film whose forces are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.dynamics.terms.splines import RadialSpline
from vid2dyn.fitting.brownian import design
from vid2dyn.fitting.brownian.design import Field, moments
from vid2dyn.fitting.brownian.packing.labels import balanced, mean_forces, strengths
from vid2dyn.fitting.brownian.packing.noise_free import without_noise
from vid2dyn.fitting.brownian.packing.window_moments import WindowMoments, window_moments, windows_of
from vid2dyn.fitting.brownian.recording import Recording

FILM = vd.simulators.Needle(gap=70.0, width=70.0, frames=60, strain=0.0)
PACKED = vd.Brownian(cutoff=14.0, packed=True, held="held")
AT = np.array([6.5, 7.0, 7.5, 8.0, 9.0])
PAIRS = (("large", "large"), ("large", "small"), ("small", "small"))


@pytest.fixture(scope="module")
def film():
    return FILM.run(seed=2)


@pytest.fixture(scope="module")
def model(film):
    return vd.fit(film, replace(PACKED, species="species"), seed=0)


def relabelled(tracks, share, seed=0):
    """Tracks with wrong species for a share of the particles."""
    names = tracks.dataframe["species"].to_numpy()
    wrong = np.random.default_rng(seed).random(tracks.particle.max() + 1) < share
    other = np.where(names == "small", "large", "small")
    return tracks.replace(dataframe=tracks.dataframe.assign(species=np.where(wrong[tracks.particle], other, names)))


def noisy(tracks, sigma, seed=0):
    table, rng = tracks.dataframe.copy(), np.random.default_rng(seed)
    for axis in ("y", "x"):
        table[axis] += rng.normal(0, sigma / tracks.units.um, len(table))
        table[f"{axis}_std"] = sigma / tracks.units.um
    return tracks.replace(dataframe=table)


def wrong_labels(model, tracks, truth):
    """Particles of the film, not of needle or wall, with a wrong label."""
    found, free = model.labelled(tracks).dataframe, ~truth.dataframe["held"].to_numpy()
    wrong = (found["species"] != truth.dataframe["species"]).to_numpy()
    return np.unique(truth.particle[wrong & free]).size


def off(model, names=PAIRS):
    return np.array([model.pair_force(AT, learned) / FILM.pair_force(AT, *true) - 1
                     for learned, true in zip(names, PAIRS)])


def test_forces_of_a_packing_with_right_labels(model):
    """62 particles, 60 frames, no noise: within 5 % from 6.5 to 9 µm, where plain score matching is off by 100 %."""
    assert np.abs(off(model)).max() < 0.05
    low, high = np.array([model.band("pair_force", (AT, both), level=0.9999) for both in PAIRS]).transpose(1, 0, 2)
    true = np.array([FILM.pair_force(AT, *both) for both in PAIRS])
    assert ((low < true) & (true < high)).mean() > 0.85
    assert model.report["packing"]["static_force"] < 0.02 * model.report["packing"]["pair_force"]
    assert model.report["held_out"]["gain_per_step"] > 5 * model.report["held_out"]["gain_per_step_stderr"]
    assert not any("differ" in text or "Two species" in text for text in model.report["warnings"])
    assert any("lower bound" in text for text in model.report["warnings"])              # D cannot be seen at 30/s
    assert "assessment" not in model.report
    with pytest.raises(ModelError, match=r"packed model .* says forces only"):
        vd.assess(FILM.run(seed=2), model)


def test_wrong_labels_are_put_right(film):
    """A tenth of the labels wrong: none is left inside the film, and forces are within a tenth."""
    tracks = relabelled(film, 0.1)
    found = vd.fit(tracks, replace(PACKED, species="species", labels="balanced"), seed=0)
    assert wrong_labels(found, tracks, film) == 0
    assert np.abs(off(found)).max() < 0.1
    assert found.report["labels"]["changed"] >= 5


def test_species_are_found_without_a_column(film):
    tracks = film.replace(dataframe=film.dataframe.drop(columns="species"))
    found = vd.fit(tracks, replace(PACKED, labels="found"), seed=0)
    assert found.species == ("strong", "weak")
    names = {"strong": "large", "weak": "small"}
    labelled = found.labelled(tracks).dataframe["species"].map(names)
    free = ~film.dataframe["held"].to_numpy()
    wrong = np.unique(film.particle[(labelled != film.dataframe["species"]).to_numpy() & free])
    assert wrong.size <= 1
    future = found.rollout(found.labelled(tracks), steps=2, seed=0)
    assert set(future.dataframe["species"]) <= {"strong", "weak"}


def test_one_species_for_two_is_told(film):
    found = vd.fit(film, PACKED, seed=0)
    assert any("Two species fit better than one" in text for text in found.report["warnings"])
    alike = replace(FILM, strength_small=1.15e6, strength_large=1.15e6).run(seed=2)
    plain = vd.fit(alike, PACKED, seed=0)
    assert not any("Two species" in text for text in plain.report["warnings"])


def test_a_short_cutoff_is_told(film):
    found = vd.fit(film, replace(PACKED, species="species", cutoff=9.0), seed=0)
    assert any("do not cancel" in text or "differ" in text for text in found.report["warnings"])


def test_a_plain_fit_of_a_packing_is_told(film):
    """Forces 50 times too small, which positions and RDF do not show."""
    plain = vd.fit(film.between(0, 40), vd.Brownian(cutoff=14.0, knots=12), seed=0)
    assert any("are packed" in text and "packed = True" in text for text in plain.report["warnings"])


def test_noise_is_followed_back(film):
    """Squared forces about their mean, of noisy positions: within 15 % where they are 2 times too large."""
    recording = Recording.of(film, 14.0)
    sigma = 0.025
    field = Field(RadialSpline(5.5, 14.0, 12), "none", np.zeros(2))

    r = np.linspace(5.6, 13.9, 200)
    c = np.linalg.lstsq(field.splines[0](r)[0], FILM.pair_energy(r, "large", "small"), rcond=None)[0]

    def along(found: WindowMoments) -> float:
        # less the mean forces, which with one potential for two species are large and know nothing of noise
        return float(c @ (found.a - found.s).sum(axis=0) @ c)

    rng = np.random.default_rng(1)
    blurred = replace(recording, position=recording.position + rng.normal(0, sigma, recording.position.shape))
    count = lambda some: window_moments(some, field, windows_of(some, 20))                          # noqa: E731
    exact, seen = along(count(recording)), along(count(blurred))
    freed = along(without_noise(blurred, np.full(recording.position.shape, sigma**2), count, rng))
    assert seen / exact > 1.8
    assert abs(freed / exact - 1) < 0.15
    # scatter over draws: 4 % over 60 of them, 8 % without the noise that is taken away
    freed = [along(without_noise(blurred, np.full(recording.position.shape, sigma**2), count, rng)) for _ in range(16)]
    assert np.std(freed) / exact < 0.06


def test_the_sums_are_those_of_score_matching(film):
    """λ = 0 is plain score matching, to rounding; S of one frame a window is A itself."""
    recording = Recording.of(film.between(0, 6), 14.0)
    field = Field(RadialSpline(5.5, 14.0, 8), "none", np.zeros(2))
    plain, windowed = moments(recording, field), window_moments(recording, field, windows_of(recording, 3))
    assert np.allclose(windowed.a.sum(axis=0), plain.A, rtol=1e-9)
    assert np.allclose(windowed.b.sum(axis=0), plain.B, rtol=1e-9)
    single = window_moments(recording, field, windows_of(recording, 1))
    assert np.allclose(single.s, single.a, rtol=1e-9)


def test_windows_are_summed_in_chunks(film, monkeypatch):
    """However few frames are looked at at once, the sums are the same to rounding."""
    recording = Recording.of(film.between(0, 24), 14.0)
    field = Field(RadialSpline(5.5, 14.0, 8), "none", np.zeros(2))
    whole = window_moments(recording, field, windows_of(recording, 12))
    monkeypatch.setattr(design, "CHUNK", 700)                                   # some four frames of 162
    parts = window_moments(recording, field, windows_of(recording, 12))
    for name in ("a", "s", "b"):
        assert np.allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)
    assert parts.frames == whole.frames == 12


def test_true_forces_balance_only_with_true_labels(film):
    recording = Recording.of(film, 14.0)
    recording = replace(recording, weight=np.where(film.dataframe["held"], 0.0, 1.0))

    class Known:
        def __init__(self, first, second):
            self.spline, self.both = RadialSpline(5.0, 14.0, 8), (first, second)

        def force(self, r):
            return np.where(r > 3.0, FILM.pair_force(np.maximum(r, 3.0), *self.both), 0.0)

    small = (film.dataframe["species"] == "small").to_numpy().astype(int)
    true = np.zeros(film.particle.max() + 1, int)
    true[film.particle] = small
    found = mean_forces(recording, film.particle, windows_of(recording, 30), tuple(Known(*both) for both in PAIRS))
    free = np.unique(film.particle[~film.dataframe["held"]])
    assert (balanced(found, true).species[free] == true[free]).all()
    start = true.copy()
    start[::9] = 1 - start[::9]
    labels = balanced(found, start)
    assert (labels.species[free] == true[free]).all()
    assert np.median(labels.margin[free]) > 100
    alike = mean_forces(recording, film.particle, windows_of(recording, 30), (Known("small", "small"),))
    assert strengths(alike).left < 0.3


def test_settings_that_do_not_go_together_are_told(film):
    for wrong, message in (({"held": "held"}, "packed = True"), ({"packed": True}, "cutoff"),
                           ({"packed": True, "cutoff": 3.0, "labels": "balanced"}, "found"),
                           ({"packed": True, "cutoff": 3.0, "trap": "shared"}, "leave out trap"),
                           ({"packed": True, "cutoff": 3.0, "diffusion": -1.0}, "positive"),
                           ({"packed": True, "cutoff": 3.0, "window": 1}, "4 frames"),
                           ({"packed": True, "cutoff": 3.0, "flow": "up"}, "profile")):
        with pytest.raises(ConfigError, match=message):
            vd.Brownian(**wrong)
    with pytest.raises(DataError, match="no such column"):
        vd.fit(film, replace(PACKED, held="edge"))
    with pytest.raises(DataError, match="no particles are moved by hand"):
        vd.fit(film.replace(dataframe=film.dataframe.assign(held=False)), PACKED)
    with pytest.raises(DataError, match="one species"):
        vd.fit(film.replace(dataframe=film.dataframe.assign(species="A")), replace(PACKED, species="species"))
    with pytest.raises(DataError, match="6 frames"):
        vd.fit(film.between(0, 5), PACKED)
    crop = film.replace(field_of_view=(60.0, 60.0), box=vd.Free())
    with pytest.raises((DataError, ModelError), match=r"too small|neighbours in view"):
        vd.fit(crop, PACKED)


def test_a_saved_model_keeps_its_labels(model, film, tmp_path):
    again = vd.load(model.save(tmp_path / "packed.vid2dyn"))
    assert np.array_equal(again.pair_force(AT, PAIRS[0]), model.pair_force(AT, PAIRS[0]))
    with pytest.raises(ModelError, match="labels as they are"):
        model.labelled(film)
    assert vd.report(tmp_path / "page.html", tracks=film, model=model).stat().st_size > 0
