"""Heat that particles carry, from velocities alone: put in and got out, said to be absent where it is, files, rollouts.

The source is the compiled rollout of lists with heat, whose energy and equilibrium are tested in
tests/dynamics/test_carried_heat.py; star polymers, made by another engine, are in tests/cases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn import terms
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.data.box import Periodic
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.fluid.carried_heat import CarriedHeat
from vid2dyn.rollout.fluid.example import SoftParticleTables
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_paths

N, EDGE, DT, MASS = 196, 8.05, 0.02, 1.5
POTENTIAL = terms.PairPotential(cutoff=1.0, knots=6, inner=(0.0,), core=0.0, learn_range=False, species=("",))
FRICTION = terms.PairFriction(cutoff=1.0, knots=4, inner=(0.0,), learn_range=False, species=("",))
HEAT = CarriedHeat(6.0, 1.0, 1.5, 1.0, 5.1)
RECIPE = vd.Metriplectic(energy=[POTENTIAL], friction=[FRICTION], mass=MASS, select=False, window_frames=3)


def made(heat: CarriedHeat | None, frames: int = 700, seed: int = 1) -> vd.Trajectories:
    """A recording of particles with heat, or at one temperature."""
    r = np.linspace(0, 1, 200)
    shape = (1 - r) ** 3 * (1 + 3 * r)
    sizes = [np.linalg.lstsq(t.splines()[0](r)[0], shape, rcond=None)[0] for t in (POTENTIAL, FRICTION)]
    frozen = freeze([POTENTIAL, FRICTION], [4 * sizes[0], np.concatenate([2 * sizes[1], 6 * sizes[1]])], kT=1.0,
                    mass=[MASS], dim=2)
    rng = np.random.default_rng(seed)
    x = np.stack(np.meshgrid(np.arange(14), np.arange(14)), axis=-1).reshape(-1, 2) * EDGE / 14
    v = rng.normal(size=(N, 2)) * np.sqrt(1 / MASS)
    S = np.zeros(N)
    if heat is not None:
        frozen = heat.added_to(frozen)
        S = heat.heat_capacity * np.log(rng.gamma(heat.heat_capacity, size=N) / heat.heat_capacity)
    first = FluidFrame(x, v - v.mean(axis=0), S, Periodic((EDGE, EDGE)))
    paths = fluid_paths(frozen, first, FluidRollout(DT / 2), steps=2 * (frames + 150), every=2, seed=seed)
    return vd.Trajectories.from_dense(paths.position[150:], vd.Units(1.0, 1 / DT), velocity=paths.velocity[150:],
                                      entropy=paths.entropy[150:], box=first.box)


@pytest.fixture(scope="module")
def hot() -> vd.Trajectories:
    return made(HEAT, 300)


@pytest.fixture(scope="module")
def model(hot: vd.Trajectories) -> Any:
    """Learned from a table that has no entropies."""
    return vd.fit(hot.replace(dataframe=hot.dataframe.drop(columns="entropy")), RECIPE, seed=0)


def test_put_in_and_got_out(hot: vd.Trajectories, model: Any) -> None:
    """Bands of five standard errors (false alarm 6e-7); entropies that follow the true ones."""
    assert model.report["entropy_identifiable"]
    heat = model.report["heat"]
    assert heat["adds"] > 3 * heat["stderr"]
    for name, true in (("heat_capacity", 6.0), ("heat_exponent", 1.0)):
        low, high = model.band(name, 1 - 6e-7)
        assert low < true < high, (name, low, high)
        low, high = model.band(name)
        assert (high - low) / (2 * true) < 0.6
    S = model.entropy(hot)
    true = hot.dataframe["entropy"].to_numpy()
    seen = float(np.corrcoef(S, true)[0, 1])
    # neighbours that exchange heat quickly leave less to be seen than the bound, which takes each by itself
    assert 0.5 < seen < heat["attainable_correlation"] + 0.05
    assert any(n.label == "Heat capacity" for n in model.numbers())


def test_model_runs_and_is_kept(hot: vd.Trajectories, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "hot.vid2dyn")
    kept = vd.load(tmp_path / "hot.vid2dyn")
    assert kept.heat_capacity() == model.heat_capacity()
    assert kept.terms_recipe.entropy
    ours, theirs = (m.rollout(hot, 20, seed=3, exact=True) for m in (model, kept))
    np.testing.assert_array_equal(ours.positions, theirs.positions)
    first = ours.dataframe[ours.frame == 0].entropy.to_numpy()
    # a draw of what is not known, about what is: as wide as equilibrium, and it follows the truth
    assert first.std() == pytest.approx(np.sqrt(6.0), rel=0.3)
    again = model.rollout(hot, 1, seed=4)
    other = again.dataframe[again.frame == 0].entropy.to_numpy()
    assert 0.02 < float(np.corrcoef(first, other)[0, 1]) < 0.9
    assert model.rollout(hot.between(0, 2), 2, seed=0).dataframe.entropy.std() > 0.5


def test_report_shows_it(hot: vd.Trajectories, model: Any, tmp_path: Path) -> None:
    vd.report(tmp_path / "page.html", tracks=hot, model=model)
    page = (tmp_path / "page.html").read_text()
    assert "Heat that particles carry" in page
    assert "Heat capacity" in page


def test_one_temperature_is_said() -> None:
    cold = vd.fit(made(None, 250), RECIPE, seed=0)
    assert not cold.report["entropy_identifiable"]
    assert "heat" not in cold.arrays
    assert not cold.terms_recipe.entropy
    assert cold.heat_capacity() == np.inf
    (said,) = [w for w in cold.report["warnings"] if "Entropy not identifiable" in w]
    assert f"{cold.report['heat']['largest_unseen_heat_capacity']:.2g} kB" in said
    with pytest.raises(ModelError, match="one temperature"):
        cold.entropy(made(None, 20))


@pytest.mark.case
def test_heat_of_a_mixture() -> None:
    """Three kinds of pairs, two masses; bands of five standard errors (false alarm 6e-7); both species are followed."""
    tables = SoftParticleTables(2, 1.0, 1.0, mass=(1.0, 2.5), repulsion=(8.0, 14.0, 5.0), friction=8.0, across=2.0)
    heat = CarriedHeat(6.0, 1.0, 1.5, 1.0, (2.8, 2.4))
    rng = np.random.default_rng(1)
    species = rng.permutation(np.arange(N) % 2)
    mass = np.array(tables.mass)[species][:, None]
    x = np.stack(np.meshgrid(np.arange(14), np.arange(14)), axis=-1).reshape(-1, 2) * EDGE / 14
    v = rng.normal(size=(N, 2)) / np.sqrt(mass)
    S = heat.heat_capacity * np.log(rng.gamma(heat.heat_capacity, size=N) / heat.heat_capacity)
    first = FluidFrame(x, v - (mass * v).sum(axis=0) / mass.sum(), S, Periodic((EDGE, EDGE)), species=species)
    paths = fluid_paths(heat.added_to(tables.freeze()), first, FluidRollout(DT / 2), steps=1100, every=2, seed=1)
    tracks = vd.Trajectories.from_dense(paths.position[150:], vd.Units(1.0, 1 / DT), velocity=paths.velocity[150:],
                                        entropy=paths.entropy[150:], box=first.box)
    names = np.array(["A", "B"], dtype=object)[species][tracks.particle]
    tracks = tracks.replace(dataframe=tracks.dataframe.assign(species=names))
    recipe = vd.Metriplectic(energy=[terms.PairPotential(1.0, knots=6, learn_range=False)],
                             friction=[terms.PairFriction(1.0, knots=4, learn_range=False)], mass=tables.mass,
                             species="species", select=False, window_frames=3)
    model = vd.fit(tracks.replace(dataframe=tracks.dataframe.drop(columns="entropy")), recipe, seed=0)
    assert model.report["entropy_identifiable"]
    for name, true in (("heat_capacity", 6.0), ("heat_exponent", 1.0)):
        low, high = model.band(name, 1 - 6e-7)
        assert low < true < high, (name, low, high)
    found, true = model.entropy(tracks), tracks.dataframe["entropy"].to_numpy()
    for kind in ("A", "B"):
        own = names == kind
        assert np.corrcoef(found[own], true[own])[0, 1] > 0.45
    made_again = model.rollout(tracks, 100, seed=3)
    assert made_again.dataframe["entropy"].std() == pytest.approx(np.sqrt(6.0), rel=0.3)


@pytest.mark.case
@pytest.mark.parametrize("frames", [1, 2])
def test_dissipative_particle_dynamics_has_one_temperature(frames: int) -> None:
    """Another source, whose potential the splines describe nearly: scores stay alike as long as the forces do."""
    recipe = vd.Metriplectic(energy=[terms.PairPotential(1.0, knots=8)], friction=[terms.PairFriction(1.0, knots=4)],
                             select=False, window_frames=frames)
    for seed in range(4):
        tracks = vd.simulators.DPD(n_particles=200, frames=240, box_length=4.0).run(seed)
        heat = vd.fit(tracks, recipe, seed=seed).report["heat"]
        assert not heat["identified"]
        assert heat["chi2_gained"] < 0.6 * heat["chi2_needed"]
        assert heat["first_lag"] > 3


def test_recordings_that_are_too_short(model: Any, hot: vd.Trajectories) -> None:
    few = vd.fit([hot.between(0, 20), hot.between(30, 50)], RECIPE, seed=0)
    assert any("not looked for" in w for w in few.report["warnings"])
    with pytest.raises(DataError, match="longer"):
        model.entropy(hot.between(0, 1))


def test_another_frame_rate(model: Any, hot: vd.Trajectories) -> None:
    """Its windows would say something else: S is not read off it, and a rollout starts from equilibrium."""
    slow = hot.with_units(frames_per_second=25.0)
    with pytest.raises(DataError, match="frame rate of the data"):
        model.entropy(slow)
    assert model.rollout(slow, 1, seed=0).dataframe.entropy.std() == pytest.approx(np.sqrt(6.0), rel=0.4)


def test_a_list_that_carries_no_heat() -> None:
    with pytest.raises(ConfigError, match="noise of pair friction"):
        vd.Metriplectic(energy=[terms.PairPotential(1.0)], friction=[terms.SubstrateFriction()])
