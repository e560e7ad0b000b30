"""A column of the table sets mobility and pair forces together: put in and got out; a column that says nothing.

Statistical tests: false alarm 1e-6 a comparison (Z), with a planted error beside each. The films are those of a mixture
whose species nobody tells; a column hints at it, as a variable read off the images would.
"""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.errors import ConfigError, DataError, ModelError

Z = 4.9
D = {"A": 0.3, "B": 0.5}
SIZES = {"A": 10.0, "AB": 5.0, "B": 2.5}
RECIPE = vd.Brownian(cutoff=2.6, structure="latent_0", knots=14)


def film(seed=0, telling=True, frames=60):
    """40 particles of each species, a noisy column in place of their names."""
    pair = {name: sims.Yukawa(amplitude=size, screening_length=0.4, diameter=1.0, cutoff=2.6)
            for name, size in SIZES.items()}
    made = sims.BrownianMixture(n_a=40, n_b=40, frames=frames, diffusion_a=D["A"], diffusion_b=D["B"],
                                pair_aa=pair["A"], pair_ab=pair["AB"], pair_bb=pair["B"], box_length=13.0,
                                localisation_error=0.027
                                ).run(seed)
    rng = np.random.default_rng(seed)
    table = made.dataframe
    hint = (table["species"] == "B").to_numpy(float) if telling else rng.normal(size=80)[made.particle]
    table = table.assign(latent_0=hint + 0.3 * rng.normal(size=len(table))).drop(columns="species")
    return made.replace(dataframe=table)


@pytest.fixture(scope="module")
def tracks():
    return film(frames=120)


@pytest.fixture(scope="module")
def model(tracks):
    return vd.fit(tracks, RECIPE)


def test_mobility_by_the_column(model):
    for name, value in (("A", 0.0), ("B", 1.0)):
        low, high = model.band("diffusion", value)
        error = (high - low) / 2 / 1.96
        assert abs(model.diffusion(value) - D[name]) < Z * error
        assert abs(model.diffusion(value) - D["B" if name == "A" else "A"]) > Z * error
    assert D["A"] < model.diffusion(0.5) < D["B"]


def test_forces_by_the_column(model):
    """Over the mean of all: of A with A twice, of B with B half of that of A with B."""
    told = model.report["structure"]["pair_strength"]
    sizes = {tuple(one["classes"]): (one["strength"], one["stderr"]) for one in told}
    (aa, e_aa), (ab, e_ab), (bb, e_bb) = (sizes[k] for k in (("1 low", "1 low"), ("1 low", "2 high"),
                                                             ("2 high", "2 high")))
    assert abs(aa - 2 * ab) < Z * np.hypot(e_aa, 2 * e_ab)
    assert abs(bb - ab / 2) < Z * np.hypot(e_bb, e_ab / 2)
    # one size for all would be three errors away in these films, whose seed is fixed
    assert aa - bb > 3 * np.hypot(e_aa, e_bb)
    r = np.linspace(1.2, 2.0, 6)
    low, high = model.band("pair_potential", (r, ("1 low", "1 low")))
    true = sims.Yukawa(amplitude=10.0, screening_length=0.4, diameter=1.0, cutoff=2.6).energy(r)
    assert (np.abs(model.pair_potential(r, ("1 low", "1 low")) - true) < Z * (high - low) / 2 / 1.96).all()


def test_it_earns_its_place(model):
    by = model.report["structure"]
    assert by["gain_per_step"] > 3 * by["gain_per_step_stderr"]
    assert not any("no better" in said for said in model.report["warnings"])
    assert "classes of latent_0 add" in model.remarks()[0]
    assert model.recipe["structure"] == "latent_0"


def test_file_and_rollout(model, tracks, tmp_path):
    again = vd.load(model.save(tmp_path / "m.vid2dyn"))
    assert again.diffusion(0.3) == model.diffusion(0.3)
    future = again.rollout(tracks, steps=5, seed=1)
    first = tracks.dataframe[tracks.frame == 0].sort_values("particle")
    medians = tracks.dataframe.groupby("particle")["latent_0"].median()
    slow = medians[first["particle"]].to_numpy() < model.arrays["class_edges"][0]
    made = future.dataframe[future.frame == 0].sort_values("particle")["latent_0"].to_numpy()
    assert (made == model.arrays["class_values"][np.where(slow, 0, 1)]).all()
    with pytest.raises(DataError, match="latent_0, which these tracks lack"):
        again.rollout(tracks.replace(dataframe=tracks.dataframe.drop(columns="latent_0")), steps=2)


def test_a_column_that_says_nothing():
    model = vd.fit(film(1, telling=False), RECIPE)
    assert any("no better than one kind" in said for said in model.report["warnings"])


def test_change_along_the_tracks_is_said(tracks):
    noisy = tracks.dataframe["latent_0"] + 3.0 * np.random.default_rng(0).normal(size=len(tracks))
    model = vd.fit(tracks.replace(dataframe=tracks.dataframe.assign(latent_0=noisy)), RECIPE, stop=1)
    assert any("change along the tracks" in said for said in model.report["warnings"])


@pytest.mark.parametrize(("change", "settings", "error", "words"), [
    ({"latent_1": 0.0}, {"structure": "latent"}, DataError, "latent_0, latent_1.*say which"),
    ({}, {"structure": "size"}, DataError, "no such column"),
    ({"latent_0": np.nan}, {}, DataError, "not numbers"),
    ({"latent_0": 1.0}, {}, ModelError, "the same for half")])
def test_columns_that_cannot_be_used(tracks, change, settings, error, words):
    with pytest.raises(error, match=words):
        vd.fit(tracks.replace(dataframe=tracks.dataframe.assign(**change)),
               vd.Brownian(cutoff=2.6, **{"structure": "latent_0", **settings}))


def test_few_tracks_and_traps(tracks):
    few = tracks.rows(tracks.particle < 30)
    with pytest.raises(DataError, match="at least 40"):
        vd.fit(few, RECIPE)
    with pytest.raises(ConfigError, match="leave out trap"):
        vd.Brownian(structure="latent_0", trap="each")
