"""Mixtures: a potential for every pair of species, a D for each; what is refused, and what a fit of one kind says.

Statistical tests: false alarm 1e-6 a comparison (Z), with a planted error beside each.
"""

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.dynamics.brownian import pair_kinds, species_count, species_pairs

Z = 4.9
PAIRS = {("A", "A"): sims.Yukawa(amplitude=10.0, screening_length=0.4, diameter=1.0, cutoff=2.6),
         ("A", "B"): sims.Yukawa(amplitude=5.0, screening_length=0.4, diameter=1.0, cutoff=2.6),
         ("B", "B"): sims.Yukawa(amplitude=2.5, screening_length=0.4, diameter=1.0, cutoff=2.6)}
D = {"A": 0.3, "B": 0.5}
RECIPE = vd.Brownian(cutoff=2.6, species="species", knots=14)


def mixture(seed, **settings):
    return sims.BrownianMixture(**{"n_a": 40, "n_b": 40, "frames": 60, "diffusion_a": D["A"], "diffusion_b": D["B"],
                                   "pair_aa": PAIRS["A", "A"], "pair_ab": PAIRS["A", "B"], "pair_bb": PAIRS["B", "B"],
                                   "box_length": 13.0, "localisation_error": 0.027, **settings}).run(seed)


@pytest.fixture(scope="module")
def films():
    return [mixture(0), mixture(1, exposure=0.01)]


@pytest.fixture(scope="module")
def alone(films):
    return vd.fit(films[0], RECIPE)


@pytest.fixture(scope="module")
def model(films):
    return vd.fit(films, RECIPE)


def scores(model, both, factor=1.0):
    """(U learned - factor · U put in) in standard errors, at distances seen."""
    low_r, high_r = model.pair_support(both)
    r = np.linspace(low_r + 0.1, min(high_r, 2.0), 6)
    low, high = model.band("pair_potential", (r, both))
    return (model.pair_potential(r, both) - factor * PAIRS[both].energy(r)) / ((high - low) / 2 / 1.96)


# ------------------------------------------------------------------ what comes out

@pytest.mark.parametrize("both", PAIRS)
def test_put_in_potentials_come_back_for_every_pair_of_species(alone, model, both):
    """From one film and from two; twice the potential that was put in is outside the bands of two."""
    for found in (alone, model):
        assert np.abs(scores(found, both)).max() < Z
    assert np.abs(scores(model, both, factor=3.0)).max() > Z


def test_a_diffusion_coefficient_of_each(alone, model):
    """The D of the other species is many errors away."""
    for found in (alone, model):
        for name, other in (("A", "B"), ("B", "A")):
            low, high = found.band("diffusion", name)
            error = (high - low) / 2 / 1.96
            assert abs(found.diffusion(species=name) - D[name]) < Z * error
            assert abs(found.diffusion(species=name) - D[other]) > Z * error


def test_two_films_are_known_better_than_one(alone, model):
    r = np.linspace(1.2, 1.9, 5)
    for both in PAIRS:
        assert np.diff(model.band("pair_force", (r, both)), axis=0).mean() < \
            np.diff(alone.band("pair_force", (r, both)), axis=0).mean()
    entries = model.report["recordings"]
    assert {"diffusion_A", "diffusion_B", "noise_scale_A", "pair_strength_A_B", "force_strength"} <= set(entries[0])
    assert all(entry["belongs"] for entry in entries)


def test_the_order_of_a_pair_does_not_matter(model):
    r = np.linspace(1.0, 2.5, 7)
    assert (model.pair_potential(r, ("B", "A")) == model.pair_potential(r, ("A", "B"))).all()
    assert (model.pair_force(r, ("B", "A")) == model.pair_force(r, ("A", "B"))).all()
    h = 1e-5
    slope = (model.pair_potential(r + h, ("A", "B")) - model.pair_potential(r - h, ("A", "B"))) / (2 * h)
    assert model.pair_force(r, ("A", "B")) == pytest.approx(-slope, abs=1e-4)


def test_its_laws_its_file_and_its_page(model, films, tmp_path):
    laws = model.report["laws"]
    assert laws["mobility_asymmetry"] == 0.0
    assert laws["mobility_lowest_eigenvalue"] > 0
    again = vd.load(model.save(tmp_path / "m.vid2dyn"))
    assert again.species == ("A", "B")
    assert again.band("pair_potential", (1.5, ("A", "B"))) == model.band("pair_potential", (1.5, ("A", "B")))
    assert "D = 0." in repr(again)
    page = vd.reports.page.contents(films[0], model)
    found = next(one for one in page["sections"] if one.id == "interactions")
    assert len(found.figures) == 3


def test_a_rollout_moves_each_species_as_it_should(model, films):
    """Steps of particles that cannot meet: D of each within Z errors of what the model says."""
    far = sims.BrownianMixture(n_a=60, n_b=60, frames=2, box_length=60.0).run(0)
    future = model.rollout(far, steps=40, seed=1, observed=False)
    assert future.dataframe.groupby("species")["particle"].nunique().to_dict() == {"A": 60, "B": 60}
    i, j = future.lagged(1)
    step = ((future.positions[j] - future.positions[i]) ** 2).mean(axis=1)
    species = future.dataframe["species"].to_numpy()[i]
    for name, other in (("A", "B"), ("B", "A")):
        seen, n = step[species == name].mean() / (2 * future.units.dt), 2 * (species == name).sum()
        assert abs(seen / model.diffusion(species=name) - 1) < Z * np.sqrt(2 / n) + 0.02
        assert abs(seen / model.diffusion(species=other) - 1) > Z * np.sqrt(2 / n) + 0.02
    compared = vd.compare(films[0], model.rollout(films[0], steps=60, seed=2))
    assert "RDF" in str(compared)


def test_free_particles_of_two_species():
    data = sims.BrownianMixture(n_a=40, n_b=40, frames=100, diffusion_a=0.2, diffusion_b=0.6, box_length=30.0,
                                localisation_error=0.02).run(0)
    for found in (vd.fit(data, vd.Brownian(species="species")), vd.fit([data, data], vd.Brownian(species="species"))):
        for name, value in (("A", 0.2), ("B", 0.6)):
            low, high = found.band("diffusion", name)
            assert abs(found.diffusion(species=name) - value) < Z / 1.96 * (high - low) / 2


def test_names_may_be_numbers(films):
    table = films[0].dataframe
    numbered = films[0].replace(dataframe=table.assign(kind=np.where(table["species"] == "A", 1.0, 2.0)))
    found = vd.fit(numbered, vd.Brownian(cutoff=None, species="kind"))
    assert found.species == ("1", "2")
    assert found.diffusion(species=1) == found.diffusion(species="1.0".rstrip(".0"))


def test_pairs_of_species_are_numbered_once():
    for count in (1, 2, 3, 4):
        pairs, kinds = species_pairs(count), pair_kinds(count)
        assert species_count(len(pairs)) == count
        assert all(kinds[a, b] == kinds[b, a] == k for k, (a, b) in enumerate(pairs))


# ------------------------------------------------------------------ a fit of one kind warns

def test_a_fit_of_one_kind_says_that_particles_are_not_alike(films):
    said = " ".join(vd.fit(films[0], vd.Brownian(cutoff=2.6)).report["warnings"])
    assert "The particles are not alike" in said
    assert 'species = "species"' in said
    bare = films[0].replace(dataframe=films[0].dataframe.drop(columns="species"))
    said = " ".join(vd.fit(bare, vd.Brownian(cutoff=2.6)).report["warnings"])
    assert "The particles are not alike" in said
    assert "give a column that names the species" in said


def test_an_ignored_column_is_said_even_where_nothing_shows():
    alike = sims.BrownianMixture(n_a=30, n_b=30, frames=60, localisation_error=0.02).run(0)
    said = vd.fit(alike, vd.Brownian()).report["warnings"]
    assert len(said) == 1
    assert said[0].startswith("The table tells A and B apart in its column 'species'")
    assert vd.fit(alike, vd.Brownian(species="species")).report["warnings"] == []


# ------------------------------------------------------------------ what is refused

def test_a_mixture_wants_to_know_which_pair(model, films):
    with pytest.raises(ModelError, match=r"one of \('A', 'A'\), \('A', 'B'\), \('B', 'B'\)"):
        model.pair_potential(1.0)
    with pytest.raises(ModelError, match="say of which"):
        model.band("pair_potential", 1.0)
    with pytest.raises(ModelError, match="this model has 'A', 'B'"):
        model.pair_force(1.0, ("A", "C"))
    with pytest.raises(ModelError, match="knows one kind of particles"):
        vd.fit(films[0], vd.Brownian(cutoff=2.6, knots=8)).pair_potential(1.0, ("A", "B"))


def test_columns_that_name_no_species(films):
    table, data = films[0].dataframe, films[0]

    def with_column(values, name="kind"):
        return data.replace(dataframe=table.assign(**{name: values}))

    kind = vd.Brownian(species="kind")
    with pytest.raises(DataError, match=r"no such column.*species"):
        vd.fit(data, kind)
    with pytest.raises(DataError, match="particles change their species"):
        vd.fit(with_column(table["frame"] % 2), kind)
    with pytest.raises(DataError, match="rows say nothing, the first is row 3"):
        vd.fit(with_column(np.where(np.arange(len(table)) == 3, None, "A")), kind)
    with pytest.raises(DataError, match="all particles are of one species"):
        vd.fit(with_column("A"), kind)
    with pytest.raises(DataError, match="80 different values"):
        vd.fit(with_column(table["particle"]), kind)
    with pytest.raises(ModelError, match=r"'x' of column 'kind' has 1 particle"):
        vd.fit(with_column(np.where(table["particle"] == 0, "x", "y")), kind)
    with pytest.raises(ModelError, match=r"pairs of 'x' and 'x' come within"):
        vd.fit(with_column(np.where(table["particle"] < 2, "x", "y")), vd.Brownian(species="kind", cutoff=2.6))
    with pytest.raises(ConfigError, match="leave out structure and trap"):
        vd.Brownian(species="species", trap="each")


def test_a_rollout_needs_the_species(model, films):
    table = films[0].dataframe
    with pytest.raises(DataError, match="no column 'species'"):
        model.rollout(films[0].replace(dataframe=table.drop(columns="species")))
    with pytest.raises(DataError, match="'C'; the model has learned of 'A', 'B' only"):
        model.rollout(films[0].replace(dataframe=table.assign(species="C")))
