"""vd.Metriplectic with lists of terms: what was put in comes back inside bands, files, resuming, settings files, bad
input.

Data come from the compiled rollout of the terms themselves, which is tested against other witnesses
(tests/laws/test_particle_rollout.py, tests/statistics/test_particle_rollout_stationary.py).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn import terms
from vid2dyn.cli.commands import app
from vid2dyn.core.config import build, recipe
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.data.box import Box, Free, Periodic
from vid2dyn.dynamics.assembly import freeze
from vid2dyn.dynamics.terms.base import Friction, kinds_of_pairs
from vid2dyn.fitting.particles.motion_checks import error_of_mean, scene_of
from vid2dyn.fitting.particles.scoring import Limits, learn
from vid2dyn.fitting.particles.window_likelihood import Observed, WindowLikelihood, WindowSet, window_starts
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.inference.windows import Terms
from vid2dyn.rollout.fluid.paths import FluidFrame, FluidRollout, fluid_paths
from vid2dyn.testing import check_model

MASS, DT = 1.5, 0.02
KINDS = {1: ("",), 2: ("A", "B")}


def pair_terms(species: int = 1) -> tuple[Any, Any]:
    """A pair potential and a pair friction of range 1, settled: splines begin at contact, no core."""
    of, kinds = KINDS[species], species * (species + 1) // 2
    return (terms.PairPotential(cutoff=1.0, knots=8, inner=(0.0,) * kinds, core=0.0, species=of),
            terms.PairFriction(cutoff=1.0, knots=4, inner=(0.0,) * kinds, species=of))


def shaped(term: Any, sizes: tuple[float, ...]) -> np.ndarray:
    """Numbers of the term for size (1 - r)³ (1 + 3 r), one size for each function that it has."""
    r = np.linspace(0, 1, 200)
    bump = np.linalg.lstsq(term.splines()[0](r)[0], (1 - r) ** 3 * (1 + 3 * r), rcond=None)[0]
    return np.concatenate([size * bump for size in sizes])


def simulated(chosen: list[tuple[Any, np.ndarray]], *, n: int = 100, frames: int = 160, seed: int = 1, kT: float = 1.0,
              mass: tuple[float, ...] = (MASS,), box: Box | None = None, settle: int = 200) -> vd.Trajectories:
    """A recording of terms with numbers, three particles to the unit of area."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n**0.5))
    edge = (n / 3.0) ** 0.5
    x = np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1).reshape(-1, 2)[:n] * edge / side
    of = np.arange(n) % len(mass)
    m = np.array(mass)[of][:, None]
    v = rng.normal(size=(n, 2)) * np.sqrt(kT / m)
    v -= (m * v).sum(axis=0) / m.sum()
    box = Periodic((edge, edge)) if box is None else box
    frozen = freeze([t for t, _ in chosen], [theta for _, theta in chosen], kT=kT, mass=mass, dim=2)
    first = FluidFrame(x, v, np.zeros(n), box, species=of if len(mass) > 1 else None)
    paths = fluid_paths(frozen, first, FluidRollout(DT / 4), steps=4 * (frames + settle), every=4, seed=seed)
    made = vd.Trajectories.from_dense(paths.position[settle:], vd.Units(1.0, 1 / DT), velocity=paths.velocity[settle:],
                                      box=box)
    if len(mass) == 1:
        return made
    names = np.array(KINDS[len(mass)], dtype=object)[of]
    return made.replace(dataframe=made.dataframe.assign(species=names[made.particle]))


def listed(energy: Any, friction: Any, **settings: Any) -> vd.Metriplectic:
    settings = {"mass": MASS, "select": False, **settings}
    return vd.Metriplectic(energy=energy, friction=friction, entropy=False, **settings)


PUT_IN = (shaped(pair_terms()[0], (4.0,)), shaped(pair_terms()[1], (1.0, 4.0)))


@pytest.fixture(scope="module")
def tracks() -> vd.Trajectories:
    return simulated(list(zip(pair_terms(), PUT_IN, strict=True)))


@pytest.fixture(scope="module")
def short(tracks: vd.Trajectories) -> vd.Trajectories:
    """A quarter of it, where the numbers themselves do not matter."""
    return tracks.between(0, 40)


@pytest.fixture(scope="module")
def model(tracks: vd.Trajectories) -> Any:
    return vd.fit(tracks, listed(*pair_terms(), window_frames=4), seed=0)


def deviations(model: Any, put_in: list[tuple[Any, np.ndarray]], kT: float, factor: float = 1.0,
               species: int = 1) -> np.ndarray:
    """(Learned - put in)/error of kT, force and friction at some distances, of what is put in times `factor`."""
    r = np.array([0.25, 0.4, 0.6, 0.8])
    low, high = model.band("kT")
    found = [np.log(model.kT() / (kT * factor)) / (np.log(high / low) / 3.92)]
    for term, theta in put_in:
        for k, kind in enumerate(kinds_of_pairs(KINDS[species])):
            of = kind if species > 1 else None
            values = {"pair_force": -term.of_kind(theta, r, k, 1)} if not isinstance(term, Friction) else dict(
                zip(("pair_friction_across", "pair_friction_along"), term.of_kind(theta, r, k), strict=True))
            for name, true in values.items():
                low, high = model.band(name, r if of is None else (r, of))
                found += list((getattr(model, name)(r, species=of) - factor * true) / ((high - low) / 3.92))
    return np.array(found)


# ------------------------------------------------------------------ recovery

@pytest.mark.parametrize(("frames", "stationary"), [
    (1, False), (4, True), pytest.param(8, False, marks=pytest.mark.case)])
def test_what_was_put_in_comes_back(tracks: vd.Trajectories, request: pytest.FixtureRequest, frames: int,
                                    stationary: bool) -> None:
    """kT, force and both frictions at 13 places within 5.5 standard errors: false alarm 1e-6 in all by the normal law.

    It detects half the friction or 1.5 times the force; both are planted. (Errors are 3 to 12 %.)
    """
    chosen = listed(*pair_terms(), window_frames=frames, stationary=stationary)
    model: Any = request.getfixturevalue("model") if frames == 4 else vd.fit(tracks, chosen, seed=0)
    put_in = list(zip(pair_terms(), PUT_IN, strict=True))
    assert np.abs(deviations(model, put_in, 1.0)).max() < 5.5
    assert np.abs(deviations(model, [(put_in[0][0], 1.5 * PUT_IN[0]), put_in[1]], 1.0)).max() > 5.5
    assert np.abs(deviations(model, [put_in[0], (put_in[1][0], 0.5 * PUT_IN[1])], 1.0)).max() > 5.5
    assert model.report["window"]["frames"] == frames
    assert abs(model.report["calibration"]["chi2"] - 1) < 0.1
    assert not model.report["warnings"]


def test_mixture_comes_back_for_every_pair_of_species() -> None:
    """Forces and frictions of AA, AB and BB, masses 1 and 2.5: 37 numbers within 5.7 standard errors (1e-6 in all).

    Exchanged potentials of AA and BB must fail.
    """
    potential, friction = pair_terms(2)
    forces, rubs = shaped(potential, (6.0, 3.0, 1.5)), shaped(friction, (2.0, 4.0, 4.0, 6.0, 2.0, 3.0))
    mix = simulated([(potential, forces), (friction, rubs)], mass=(1.0, 2.5), frames=100)
    model: Any = vd.fit(mix, listed(potential, friction, mass=(1.0, 2.5), species="species", window_frames=2,
                                    stationary=False), seed=0)
    assert np.abs(deviations(model, [(potential, forces), (friction, rubs)], 1.0, species=2)).max() < 5.7
    other = shaped(potential, (1.5, 3.0, 6.0))
    assert np.abs(deviations(model, [(potential, other), (friction, rubs)], 1.0, species=2)).max() > 5.7
    assert model.species == ("A", "B")
    assert np.array_equal(model.pair_force(0.5, ("A", "B")), model.pair_force(0.5, ("B", "A")))
    future = model.rollout(mix, steps=3, seed=1)
    assert set(future.dataframe["species"]) == {"A", "B"}
    mix = mix.between(0, 50)
    for words, table in (("names 2 species in its column 'species'", mix),
                         ("are not alike", mix.replace(dataframe=mix.dataframe.drop(columns="species")))):
        alike = vd.fit(table, listed(*pair_terms(), mass=1.75, window_frames=1, iterations=1), seed=0)
        assert any(words in said for said in alike.report["warnings"]), words


@pytest.mark.case
def test_scoring_settles_where_particles_hardly_meet() -> None:
    """A dilute mixture with friction along the lines of centres alone: most covariances are near zero.

    Scoring that goes all of its steps, or starts with little noise, runs off by orders of magnitude here.
    """
    mix = vd.simulate(vd.simulators.DPD(
        n_particles=60, box_length=4.0, species=("A", "B"), mass=(1.0, 2.0), repulsion=(25.0, 40.0, 25.0),
        friction=(4.5, 9.0, 4.5), frames=60, equilibration=1500), seed=0)
    model: Any = vd.fit(mix, listed(terms.PairPotential(cutoff=1.2, knots=8), terms.PairFriction(cutoff=1.2, knots=5),
                                    mass=(1.0, 2.0), species="species", window_frames=1), seed=0)
    assert abs(model.report["decrements"][-1]) < 0.1
    assert abs(model.report["calibration"]["chi2"] - 1) < 0.1
    assert not any("still to be gained" in said for said in model.report["warnings"])


def test_a_start_far_away_ends_where_others_do(tracks: vd.Trajectories) -> None:
    """Scoring from a hundredth and from a hundred times the friction, with next to no noise beside it."""
    recipe = listed(*pair_terms(), window_frames=4)
    data = (FluidSteps.of(tracks.between(0, 40), 1.0),)
    scene = scene_of(data, ("",), np.full(1, MASS), 1.0)
    chosen = Terms((pair_terms()[0].settled(scene),), (pair_terms()[1].settled(scene),), np.full(1, MASS))
    seen = Observed(data, window_starts(data, 4, 8), 4, 1.0, 0.0, 1e-4)
    likelihood, limits = WindowLikelihood(WindowSet(seen, chosen), scene), Limits(recipe.iterations, 1e-3)
    best = learn(likelihood, limits).vector
    for factor in (0.01, 100.0):
        start = best.copy()
        start[chosen.of_energies:-2] *= factor
        start[-1] = 0.0
        found = learn(likelihood, limits, start=start)
        assert found.done < recipe.iterations
        assert np.abs(found.vector - best).max() < 0.02 * np.abs(best).max()


def test_trap_and_substrate_come_back() -> None:
    """Particles without pair forces in a trap with drag: stiffness, centre and drag within 5 errors (2e-6 in all)."""
    trap = terms.HarmonicTrap(centre=(3.0, 2.0))
    drag = terms.SubstrateFriction(species=("",))
    one = simulated([(trap, np.array([2.0])), (drag, np.array([3.0]))], box=Free(), n=64, settle=400)
    model: Any = vd.fit(one, listed(terms.HarmonicTrap(), terms.SubstrateFriction(), window_frames=2), seed=0)
    for name, true in (("trap_stiffness", 2.0), ("trap_centre_y", 3.0), ("trap_centre_x", 2.0), ("drag", 3.0)):
        low, high = (float(edge) for edge in model.band(name))
        assert abs(getattr(model, name)() - true) < 5 * (high - low) / 3.92 < 1.5 * true, name
    said = {number.label: number for number in model.numbers()}
    assert said["Drag"].low < said["Drag"].value < said["Drag"].high
    assert said["Trap stiffness"].unit == "energy/µm²"


def test_external_potential_comes_back_up_to_a_constant() -> None:
    """A wave of 1.5 kT along y in a periodic box: its slope at 12 places within 5.3 errors; twice of it must fail."""
    y = np.arange(12)
    edge = (120 / 3) ** 0.5
    wave = terms.ExternalPotential(axes=(0,), knots=12, origin=(0.0,), spacing=(edge / 12,), periodic=(True,))
    theta = 1.5 * np.cos(2 * np.pi * y / 12)
    drag = terms.SubstrateFriction(species=("",))
    one = simulated([(wave, theta), (drag, np.array([3.0]))], n=120, settle=400, frames=240)
    chosen = listed(terms.ExternalPotential(axes=(0,)), terms.SubstrateFriction(), window_frames=2)
    model: Any = vd.fit(one, chosen, seed=0)
    place = np.linspace(0.1, edge - 0.1, 12)
    low, high = model.band("external_force", place)
    true = wave.quantities()[1].value(theta, place)
    assert np.abs((model.external_force(place) - true) / ((high - low) / 3.92)).max() < 5.3
    assert np.abs((model.external_force(place) - 2 * true) / ((high - low) / 3.92)).max() > 5.3
    assert abs(model.external_potential(np.linspace(0, edge, 481)[:-1]).mean()) < 1e-6
    drawn = {f.name: f for f in model.functions().functions}
    assert drawn["external_potential"].x_label == "y [µm]"


@pytest.mark.case
def test_density_energy_comes_back() -> None:
    """u' at the middle of the densities within 5 errors (6e-7); zero must fail."""
    crowd = terms.DensityEnergy(cutoff=1.0, knots=6, densities=(1.5, 7.0))
    theta = 0.25 * np.arange(6.0) ** 2
    _, friction = pair_terms()
    one = simulated([(crowd, theta), (friction, PUT_IN[1])], settle=300, frames=100)
    model: Any = vd.fit(one, listed(terms.DensityEnergy(cutoff=1.0, knots=6), friction, window_frames=2), seed=0)
    middle = np.array([0.5 * sum(model.terms[0].densities)])
    low, high = model.band("density_energy_slope", middle)
    error = float(high[0] - low[0]) / 3.92
    true = crowd.quantities()[1].value(theta, middle)[0]
    assert abs(model.density_energy_slope(middle)[0] - true) < 5 * error < true


# ------------------------------------------------------------------ files, resuming, settings

def test_saved_model_says_the_same(model: Any, tracks: vd.Trajectories, tmp_path: Path) -> None:
    again: Any = vd.load(model.save(tmp_path / "m.vid2dyn"))
    r = np.linspace(0.1, 0.9, 5)
    assert type(again) is type(model)
    assert again.terms == model.terms
    assert np.array_equal(again.pair_potential(r), model.pair_potential(r))
    assert np.array_equal(again.band("pair_friction_along", r)[0], model.band("pair_friction_along", r)[0])
    assert again.save(tmp_path / "n.vid2dyn").read_bytes() == (tmp_path / "m.vid2dyn").read_bytes()
    one, two = (m.rollout(tracks, steps=3, seed=2) for m in (model, again))
    assert np.array_equal(one.positions, two.positions)
    with pytest.raises(AttributeError, match="Did you mean 'pair_potential'"):
        _ = model.pair_potental


def test_laws_of_the_model(model: Any) -> None:
    laws = model.report["laws"]
    assert laws["momentum_drift"] < 1e-10
    assert laws["energy_drift"] < 1e-9
    assert laws["least_entropy_production"] >= -1e-9


def test_stopped_fit_goes_on_to_the_same_bytes(short: vd.Trajectories, tmp_path: Path) -> None:
    chosen = listed(*pair_terms(), window_frames=1, iterations=5)
    whole = vd.fit(short, chosen, seed=3)
    kept = dataclasses.replace(chosen, checkpoint=str(tmp_path / "c"))
    part = vd.fit(short, kept, seed=3, stop=1)
    assert "stopped_early" in part.report
    resumed = vd.fit(short, kept, seed=3)
    one, two = (m.save(tmp_path / f"{k}.vid2dyn").read_bytes() for k, m in enumerate((whole, resumed)))
    assert one == two


class Impatient(vd.Progress):
    """Cancels the work once the stage named `what` has begun."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, done: int, total: int, what: str) -> None:
        if what.startswith(self.what) and done:
            raise vd.Cancelled


@pytest.mark.parametrize("stage", ["terms, longer", "terms, without"])
def test_cancelled_while_terms_are_judged(short: vd.Trajectories, stage: str) -> None:
    """What the first look found is kept where that is wanted, and called unfinished; else the cancellation goes on."""
    chosen = dataclasses.replace(listed(*pair_terms(), window_frames=1, iterations=2), select=True)
    model: Any = vd.fit(short, chosen, seed=3, progress=Impatient(stage), keep_partial=True)
    assert "stopped_early" in model.report
    assert model.report["warnings"][0].startswith("Stopped early")
    assert np.isfinite(model.arrays["theta"]).all()
    with pytest.raises(vd.Cancelled):
        vd.fit(short, chosen, seed=3, progress=Impatient(stage))


def test_a_recording_that_does_not_belong_is_named() -> None:
    """Four recordings, one of them half as hot again; without it nothing is said. False alarm: 5 standard errors."""
    terms_of = list(zip(pair_terms(), PUT_IN, strict=True))
    alike = [simulated(terms_of, frames=80, seed=seed) for seed in (11, 12, 13)]
    hot = simulated(terms_of, frames=80, seed=14, kT=1.5)
    chosen = listed(*pair_terms(), window_frames=1, iterations=8)
    for several, wanted in (([alike[0], hot, alike[1], alike[2]], ["Recording 2"]), ([*alike, alike[0]], [])):
        model: Any = vd.fit(several, chosen, seed=3)
        named = [said[:11] for said in model.report["warnings"] if "does not belong" in said]
        assert named == wanted, model.report["recordings"]


def test_recordings_of_unlike_length_are_learned_from_together(short: vd.Trajectories) -> None:
    """One recording is shorter than the longest window that the other has room for."""
    chosen = listed(*pair_terms(), iterations=2)
    model: Any = vd.fit([short.between(0, 18), short, short], chosen, seed=3)
    assert len(model.report["recordings"]) == 3


def test_wrapped_positions_give_the_same(short: vd.Trajectories) -> None:
    table = short.dataframe.copy()
    assert short.box.lengths is not None
    for name, edge in zip(("y", "x"), short.box.lengths, strict=True):
        table[name] %= edge
    chosen = listed(*pair_terms(), window_frames=2)
    model: Any = vd.fit(short, chosen, seed=0)
    wrapped: Any = vd.fit(short.replace(dataframe=table), chosen, seed=0)
    assert np.allclose(wrapped.arrays["theta"], model.arrays["theta"], rtol=1e-4, atol=1e-4)
    assert abs(wrapped.kT() / model.kT() - 1) < 1e-9


def test_lists_are_tables_of_settings() -> None:
    table = {"kind": "Metriplectic", "entropy": False, "mass": 2.0,
             "energy": [{"kind": "PairPotential", "cutoff": 1.0}, {"kind": "HarmonicTrap", "centre": [1.0, 2.0]}],
             "friction": {"kind": "PairFriction", "cutoff": 1.0}}
    made = build(vd.Metriplectic, table, "here")
    assert made.energy == (terms.PairPotential(cutoff=1.0), terms.HarmonicTrap(centre=(1.0, 2.0)))
    assert made.friction == (terms.PairFriction(cutoff=1.0),)
    assert build(vd.Metriplectic, recipe(made), "here") == made
    with pytest.raises(ConfigError, match=r"unknown kind 'PairPotental'. Did you mean 'PairPotential'"):
        build(vd.Metriplectic, table | {"energy": [{"kind": "PairPotental"}]}, "here")
    with pytest.raises(ConfigError, match=r"energy\[0\]: unknown key 'cutof'"):
        build(vd.Metriplectic, table | {"energy": [{"kind": "PairPotential", "cutof": 1.0}]}, "here")
    with pytest.raises(ConfigError, match=r"energy = .*PairFriction"):
        vd.Metriplectic(energy=[terms.PairFriction(1.0)], friction=[terms.PairFriction(1.0)], entropy=False)
    with pytest.raises(AttributeError, match="no 'PairPotental'"):
        _ = terms.PairPotental


def test_experiment_file_with_terms(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(
        '[simulate]\nkind = "DPD"\ndim = 2\nn_particles = 60\nbox_length = 4.4\nframes = 60\nequilibration = 60\n'
        'repulsion = 4.0\n[dynamics]\nkind = "Metriplectic"\nentropy = false\nselect = false\niterations = 2\n'
        'window_frames = 2\n[[dynamics.energy]]\nkind = "PairPotential"\ncutoff = 1.1\nknots = 8\n'
        '[[dynamics.friction]]\nkind = "PairFriction"\ncutoff = 1.1\n[rollout]\nsteps = 10\n')
    outcome, = vd.run(tmp_path / "e.toml")
    assert not outcome.error
    fitted: Any = vd.load(outcome.folder / "model.vid2dyn")
    assert [type(term).__name__ for term in fitted.terms] == ["PairPotential", "PairFriction"]
    page = outcome.report.read_text()
    assert "What the terms have learned" in page
    assert "Friction against window" in page


def test_command_line_lists_terms() -> None:
    done = CliRunner().invoke(app, ["list", "energies"])
    assert done.exit_code == 0
    for words in ("PairPotential", "cutoff (float, required)", "ExternalPotential", "Coordinates that the energy"):
        assert words in done.output, words
    assert "SubstrateFriction" in CliRunner().invoke(app, ["list", "frictions"]).output


# ------------------------------------------------------------------ the fluid by its cutoff as a list

@pytest.mark.case
def test_fluid_as_a_list_is_the_same_fit(tmp_path: Path) -> None:
    gas = vd.simulators.SDPD(n_particles=64, dim=2, box_length=0.6, frames=25, flow="taylor_green", flow_speed=15.0,
                             equilibration=2, substeps=4)
    data = gas.run(seed=3)
    short = vd.Metriplectic(cutoff=0.2, mass=0.5, knots=2, compare=(), window=8, iterations=1, conduction=False)
    energy, friction = short.as_terms
    long = vd.Metriplectic(energy=energy, friction=friction, mass=0.5, compare=(), window=8, iterations=1)
    assert [t.title() for t in (*energy, *friction)] == ["EquationOfState", "PairFriction"]
    one, two = (vd.fit(data, chosen, seed=0).save(tmp_path / f"{k}.vid2dyn") for k, chosen in enumerate((short, long)))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(("settings", "words"), [
    ({"energy": [terms.EquationOfState(1.0)], "friction": [terms.PairFriction(1.0), terms.SubstrateFriction()]},
     "leave out EquationOfState"),
    ({"energy": [terms.EquationOfState(1.0)], "friction": [terms.PairFriction(0.8)]}, "cutoffs 0.8, 1"),
    ({"energy": [terms.EquationOfState(1.0)], "friction": [terms.PairFriction(1.0)], "entropy": False}, "entropy=True"),
    ({"energy": [], "friction": [terms.PairFriction(1.0, law="transport")], "entropy": False}, "entropy=True"),
    ({"energy": [terms.PairPotential(1.0)], "friction": [], "entropy": False}, "friction is empty"),
    ({"energy": [terms.PairPotential(1.0)], "friction": [terms.PairFriction(1.0)], "cutoff": 1.0, "entropy": False},
     "belongs to the short form")])
def test_lists_that_cannot_be_learned(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        vd.Metriplectic(**settings)


# ------------------------------------------------------------------ bad input

def test_two_terms_that_are_one(short: vd.Trajectories) -> None:
    potential, friction = pair_terms()
    model = vd.fit(short, listed([potential, dataclasses.replace(potential, learn_range=False)], friction,
                                  window_frames=1, iterations=3), seed=0)
    said = [w for w in model.report["warnings"] if "cannot be told apart" in w]
    assert len(said) == 1
    assert said[0].startswith("PairPotential and PairPotential")


def test_range_beyond_half_the_box(tracks: vd.Trajectories) -> None:
    with pytest.raises(ConfigError, match="more than half of the box edge"):
        vd.fit(tracks, listed(terms.PairPotential(cutoff=4.0), terms.PairFriction(cutoff=1.0)))


def test_species_columns(tracks: vd.Trajectories) -> None:
    def fit(table: pd.DataFrame, **settings: Any) -> Any:
        return vd.fit(tracks.replace(dataframe=table), listed(*pair_terms(), species="species", **settings))

    table = tracks.dataframe
    with pytest.raises(DataError, match="no column 'species'"):
        fit(table)
    with pytest.raises(DataError, match="'B' of column 'species' has a single member"):
        fit(table.assign(species=np.where(table["particle"] == 3, "B", "A")))
    with pytest.raises(DataError, match="2 values of 'species'"):
        fit(table.assign(species=np.where(table["frame"] > 3, "B", "A")))
    with pytest.raises(ConfigError, match="mass has 2 numbers for 1 species"):
        fit(table.assign(species="A"), mass=(1.0, 2.0))


def test_velocities_in_another_unit_are_said(short: vd.Trajectories) -> None:
    table = short.dataframe.assign(vy=short.dataframe["vy"] * 50, vx=short.dataframe["vx"] * 50)
    model = vd.fit(short.replace(dataframe=table), listed(*pair_terms(), window_frames=1, iterations=1), seed=0)
    assert any(re.match(r"velocities do not fit the positions: particles move 0\.0(199|2|201) times as fast", said)
               for said in model.report["warnings"])


def test_what_no_fit_can_learn_from(tracks: vd.Trajectories) -> None:
    chosen = listed(*pair_terms())
    table = tracks.dataframe
    with pytest.raises(DataError, match="not a number"):
        vd.fit(tracks.replace(dataframe=table.assign(vx=np.where(table["frame"] == 5, np.nan, table["vx"]))), chosen)
    with pytest.raises(DataError, match="1 particle"):
        vd.fit(tracks.replace(dataframe=table[table["particle"] == 0]), chosen)
    with pytest.raises(DataError, match="The trajectory has 8 frames"):
        vd.fit(tracks.replace(dataframe=table[table["frame"] < 8]), chosen)
    with pytest.raises(DataError, match="learns from velocities"):
        vd.fit(tracks.replace(dataframe=table.drop(columns=["vy", "vx"])), chosen)


def test_error_of_a_temperature_knows_memory() -> None:
    """AR(1) with a memory of 20 frames: 400 frames hold 10 numbers. Errors by it cover: 5 of them in all 60 runs, and a
    naive error, 6 times too small, must not."""
    rng = np.random.default_rng(0)
    runs = np.zeros((60, 2400))
    for t in range(1, runs.shape[1]):
        runs[:, t] = np.exp(-1 / 20) * runs[:, t - 1] + rng.normal(size=60)
    runs = runs[:, 400:]
    errors = np.array([error_of_mean(run) for run in runs])
    assert np.abs(runs.mean(axis=1) / errors).max() < 5
    assert np.abs(runs.mean(axis=1) / (runs.std(axis=1) / runs.shape[1] ** 0.5)).max() > 5


# ------------------------------------------------------------------ what the model keeps, what the page says

def test_model_keeps_the_contract_of_models(short: vd.Trajectories) -> None:
    """Of a long list, with functions of places in the plane, of densities and of distance, and numbers."""
    energies = [terms.PairPotential(cutoff=1.0, knots=6), terms.DensityEnergy(cutoff=1.0, knots=5),
                terms.ExternalPotential(axes=(0, 1), knots=5)]
    many: Any = vd.fit(short, listed(energies, [terms.PairFriction(cutoff=1.0, knots=4), terms.SubstrateFriction()],
                                      window_frames=1, iterations=2), seed=0)
    drawn = many.functions().functions
    assert {"pair_potential", "density_energy", "external_potential", "pair_friction_along"} <= {f.name for f in drawn}
    assert sum(f.name == "external_potential" for f in drawn) == 2, "a cut along each axis"
    assert many.external_potential(np.zeros((3, 2))).shape == (3,)
    check_model(many, short)


def test_page_says_when_there_is_no_plateau(model: Any, tracks: vd.Trajectories, tmp_path: Path) -> None:
    page = vd.report(tmp_path / "a.html", tracks=tracks, model=model).read_text()
    for words in ("Friction against window", "reaches a plateau", "windows of 4 frames", "not judged", "PairFriction"):
        assert words in page, words
    assert "does not settle" not in page
    window = {**model.report["window"], "plateau": False,
              "friction_against_window": [[k, k * DT, 1.0 + k, 0.1] for k in (1, 2, 4)]}
    rising = dataclasses.replace(model, report={**model.report, "window": window})
    page = vd.report(tmp_path / "b.html", tracks=tracks, model=rising).read_text()
    assert "There is no plateau" in page
    assert "goes from 2 to 5 mass/s over windows of 0.02 to 0.08 s and does not settle" in page
    assert "film faster" in page


def test_momentum_that_is_kept_leaves_no_substrate(tracks: vd.Trajectories) -> None:
    """A drag that the data do not have adds nothing and is left out, as is a trap; what is there stays."""
    potential, friction = pair_terms()
    kept = [dataclasses.replace(term, learn_range=False) for term in (potential, friction)]
    found: Any = vd.fit(tracks, listed([kept[0], terms.HarmonicTrap()], [kept[1], terms.SubstrateFriction()],
                                       select=True, window_frames=3, iterations=5), seed=0)
    assert [type(term).__name__ for term in found.terms] == ["PairPotential", "PairFriction"]
    said = {entry["term"]: entry for entry in found.report["terms"]}
    assert said["PairFriction"]["adds"] > 5 * said["PairFriction"]["stderr"]
    assert not said["SubstrateFriction"]["kept"]
    assert sum("adds nothing to the prediction" in w for w in found.report["warnings"]) == 2


@pytest.mark.parametrize(("spread", "tail", "said"), [
    (0.0, 0.0, False), (0.0, 0.8, False), (0.3, 0.0, True)])
def test_particles_that_are_unlike_for_good(spread: float, tail: float, said: bool) -> None:
    """Friction alone, with noise that is larger for half of the particles for good (`spread`), or for all of them at
    times (`tail`, log-normal: heavy tails). Only what lasts is said."""
    n, frames = 100, 240
    rng = np.random.default_rng(4)
    size = np.where(np.arange(n) % 2 == 0, 1 + spread, 1 - spread) * np.exp(tail * rng.normal(size=(frames, n)))
    v = np.zeros((frames, n, 2))
    for t in range(1, frames):
        v[t] = 0.95 * v[t - 1] + 0.3 * size[t][:, None] * rng.normal(size=(n, 2))
    apart = 5.0 * np.stack([np.arange(n), np.zeros(n)], axis=1)
    made = vd.Trajectories.from_dense(apart + DT * np.cumsum(v, axis=0), vd.Units(1.0, 1 / DT), velocity=v)
    found: Any = vd.fit(made, listed([], terms.SubstrateFriction(), window_frames=1, iterations=2), seed=0)
    assert any("are not alike" in w for w in found.report["warnings"]) == said

