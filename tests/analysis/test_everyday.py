"""Everyday analyses of tracks: distribution of displacements, scattering functions, D of every particle, one shape of
result."""

from __future__ import annotations

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import analysis
from vid2dyn.core.errors import ConfigError, DataError


def walks(seed: int = 0, frames: int = 100, n: int = 80, D: np.ndarray | float = 0.05, noise: float = 0.0,
          dt: float = 0.1) -> vd.Trajectories:
    """Free diffusion [µm²/s] with localisation errors [µm]."""
    rng = np.random.default_rng(seed)
    steps = np.sqrt(2 * np.broadcast_to(D, (n,)) * dt)[None, :, None] * rng.normal(size=(frames, n, 2))
    return vd.Trajectories.from_dense(steps.cumsum(axis=0) + noise * rng.normal(size=(frames, n, 2)),
                                      vd.Units(0.1, 1 / dt), sigma=noise or None)


def test_van_hove_is_the_gaussian_of_free_diffusion():
    """40 seeds: z of all bins has unit variance within 15 %; two populations of D have a sharper peak and wider
    tails."""
    z = []
    for seed in range(40):
        table = analysis.van_hove(walks(seed, frames=60, n=40), lag=2, bins=15).dataframe
        known = table["stderr"].notna()
        z.append(((table["density"] - table["gaussian"]) / table["stderr"])[known].to_numpy())
    assert abs(np.concatenate(z).std() - 1) < 0.15
    found = analysis.van_hove(walks(1, D=np.where(np.arange(80) < 40, 0.02, 0.1)), bins=31)
    table = found.dataframe
    middle = table.iloc[15]
    assert (middle["density"] - middle["gaussian"]) / middle["stderr"] > 3
    tails = table[table["displacement"].abs() > 0.28]
    assert tails["density"].sum() > 1.5 * tails["gaussian"].sum()
    assert abs((table["density"] * np.diff(table["displacement"]).mean()).sum() - 1) < 0.02
    assert found.variance == pytest.approx(2 * 0.06 * 0.1, rel=0.1)


def test_non_gaussian_parameter_of_a_mixture():
    """α2 = <D²>/<D>² - 1 for particles that keep their D; zero for one D (40 seeds)."""
    z = [(t["alpha2"] / t["stderr"]).iloc[0] for t in (
        analysis.non_gaussian(walks(seed, frames=60), 3).dataframe for seed in range(40))]
    assert abs(np.mean(z)) < 0.8
    assert 0.7 < np.std(z) < 1.4
    D = np.where(np.arange(200) < 100, 0.02, 0.1)
    table = analysis.non_gaussian(walks(3, frames=400, n=200, D=D), 4).dataframe
    true = (D**2).mean() / D.mean() ** 2 - 1
    assert (abs(table["alpha2"] - true) < 5 * table["stderr"]).all()
    assert (table["alpha2"] > 8 * table["stderr"]).all()
    noisy = analysis.non_gaussian(walks(0, noise=0.08), 2)
    assert any("Localisation errors are 5" in said for said in noisy.warnings)
    assert not analysis.non_gaussian(walks(0), 2).warnings


def test_scattering_functions():
    """F_s of free diffusion with noise; S(q) of a gas, and the peak of a crystal."""
    found = analysis.intermediate_scattering(walks(2, frames=300, noise=0.05), [2.0, 6.0], 5).dataframe
    true = np.exp(-found["q"] ** 2 * (0.05 * found["lag"] + 0.05**2))
    assert (abs(found["value"] - true) < 5 * found["stderr"]).all()
    assert found["stderr"].max() < 0.02
    y, x = np.mgrid[:12, :12]
    crystal = np.stack([y.ravel(), x.ravel()], axis=1)[None] + np.random.default_rng(0).normal(0, 0.02, (6, 144, 2))
    lattice = vd.Trajectories.from_dense(crystal, vd.Units(0.1, 1.0), box=vd.Periodic((12.0, 12.0)))
    S = analysis.structure_factor(lattice, q_max=7.0, bins=60).dataframe
    peak = S.loc[S["value"].idxmax()]
    assert abs(peak["q"] - 2 * np.pi) < 0.15
    assert S["value"][S["q"] < 5].max() < 0.2
    rng = np.random.default_rng(1)
    gas = vd.Trajectories.from_dense(rng.uniform(0.5, 9.5, (30, 60, 2)), vd.Units(0.1, 1.0), field_of_view=(100, 100))
    found_gas = analysis.structure_factor(gas)
    z = (found_gas.dataframe["value"] - 1) / found_gas.dataframe["stderr"]
    assert abs(z.mean()) < 1
    assert "two periods" in found_gas.warnings[0]


def test_particles_of_one_spread_and_two_values_of_D():
    """40 seeds of each: bands of the spread cover, no population is invented, two are found with their D."""
    covered, kinds, z = 0, [], []
    for seed in range(40):
        one = analysis.particle_diffusion(walks(seed, frames=60, noise=0.03))
        z.append((one.mean - 0.05) / one.mean_stderr)
        assert len(one.populations) == 1
        rng = np.random.default_rng(1000 + seed)
        D = 0.05 * np.exp(0.3 * rng.normal(size=80))
        many = analysis.particle_diffusion(walks(seed, D=D, noise=0.03))
        covered += many.spread_low < D.std() < many.spread_high
        kinds.append(len(many.populations))
        assert many.bic["one"] > 10
    assert 0.7 < np.std(z) < 1.4
    assert covered >= 34                           # of 40 at 95 %: fewer happens in 3 of 10^3
    assert kinds.count(1) >= 30
    D = np.where(np.arange(80) < 30, 0.02, 0.1)
    two = analysis.particle_diffusion(walks(5, D=D, noise=0.02))
    assert len(two.populations) == 2
    assert (abs(two.populations["D"] - [0.02, 0.1]) < 5 * two.populations["D_stderr"]).all()
    assert two.populations["share"].tolist() == pytest.approx([30 / 80, 50 / 80], abs=0.06)
    spread = analysis.particle_diffusion(walks(6, D=0.05 * np.exp(0.3 * np.random.default_rng(6).normal(size=80))))
    table, true = spread.dataframe, 0.05 * np.exp(0.3 * np.random.default_rng(6).normal(size=80))
    assert ((table["D_shrunk"] - true) ** 2).mean() < ((table["D"] - true) ** 2).mean()


def test_results_have_one_shape():
    """A table, a plot on given axes or on new ones, words for a notebook."""
    from matplotlib.figure import Figure

    tracks = walks(0)
    boxed = vd.Trajectories.from_dense(np.random.default_rng(0).uniform(0, 5, (20, 30, 2)), vd.Units(0.1, 10.0),
                                       box=vd.Periodic((5.0, 5.0)))
    for found in (analysis.msd(tracks), analysis.vacf(tracks), vd.diffusion(tracks), analysis.rdf(boxed),
                  analysis.van_hove(tracks), analysis.non_gaussian(tracks), analysis.structure_factor(boxed),
                  analysis.intermediate_scattering(tracks, 3.0), analysis.particle_diffusion(tracks)):
        assert isinstance(found, analysis.Result)
        assert len(found.dataframe)
        axes = Figure().add_subplot()
        assert found.plot(axes) is axes
        assert axes.has_data()
        assert found.plot().has_data()
        assert found._repr_html_().startswith("<")
        assert all(isinstance(said, str) for said in found.warnings)


def test_bad_input_is_said():
    tracks, still = walks(0, frames=10, n=4), vd.Trajectories.from_dense(np.zeros((9, 4, 2)), vd.Units(0.1, 10.0))
    for call, error, words in (
            (lambda: analysis.van_hove(tracks, lag=0), ConfigError, "lag = 0"),
            (lambda: analysis.van_hove(tracks, lag=30), DataError, "30 frames apart"),
            (lambda: analysis.van_hove(still), DataError, "no particle moves"),
            (lambda: analysis.van_hove(tracks, reach=-1.0), ConfigError, "reach"),
            (lambda: analysis.non_gaussian(still), DataError, "no particle moves"),
            (lambda: analysis.non_gaussian(tracks, 1.5), ConfigError, "max_lag"),
            (lambda: analysis.intermediate_scattering(tracks, [1.0, 0.0]), ConfigError, "positive wave numbers"),
            (lambda: analysis.structure_factor(tracks), DataError, "periodic box or a field of view"),
            (lambda: analysis.particle_diffusion(tracks, 2), ConfigError, "3 or more"),
            (lambda: analysis.particle_diffusion(tracks, 30), DataError, "0 tracks have 30")):
        with pytest.raises(error, match=words):
            call()
