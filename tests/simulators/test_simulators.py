"""Simulators: exact identities, reproducibility, bad input. Statistics are in tests/statistics."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vid2dyn as vd
from vid2dyn import simulators as sims
from vid2dyn.core.config import build, recipe
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Cancelled
from vid2dyn.data.box import Periodic
from vid2dyn.data.units import Units
from vid2dyn.simulators.brownian.equilibrate import lattice
from vid2dyn.simulators.brownian.forces import ForceField, add_forces, lookup, neighbours
from vid2dyn.simulators.brownian.hydrodynamics import rotne_prager
from vid2dyn.simulators.lattice.processes import pilot_diffusion

POTENTIALS = [sims.Yukawa(), sims.Yukawa(5.0, 0.5, 0.8, cutoff=2.0), sims.WCA(3.0, 1.2), sims.Dipolar(8.0, 1.1),
              sims.Soft(), sims.Soft(6.0, 0.5, "gaussian"), sims.Morse(), sims.Morse(4.0, 0.1, 1.0, cutoff=1.6)]
names = [f"{type(p).__name__}{k}" for k, p in enumerate(POTENTIALS)]
every_potential = pytest.mark.parametrize("pair", POTENTIALS, ids=names)


# ------------------------------------------------------------------ pair potentials

@every_potential
def test_force_is_minus_the_slope_of_the_energy(pair):
    r = np.linspace(max(pair.core, 0.02), 1.1 * pair.reach, 4001)
    h = 1e-6
    smooth = np.abs(r - pair.reach) > 1e-3
    slope = (pair.energy(r + h) - pair.energy(r - h)) / (2 * h)
    np.testing.assert_allclose(pair.force(r)[smooth], -slope[smooth], rtol=1e-6, atol=1e-6)


@every_potential
def test_potential_ends_continuously(pair):
    just_inside = pair.reach * (1 - 1e-9)
    assert abs(pair.energy(just_inside)) < 1e-6
    assert abs(pair.force(just_inside)) < 1e-6
    assert pair.energy(pair.reach) == pair.force(2 * pair.reach) == 0.0


@every_potential
def test_table_is_the_formula(pair):
    table = pair.table()
    r = np.random.default_rng(0).uniform(table.start, table.cutoff, 20_000)
    for cubic, exact in ((table.energy, pair.energy(r)), (table.force, pair.force(r))):
        value = np.array([lookup(x, table.start, table.per_length, cubic) for x in r])
        np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-6)


def test_formulas_at_known_points():
    assert sims.Yukawa(7.0, 0.3, 1.0).energy(1.0) == pytest.approx(7.0)
    assert sims.Yukawa(7.0, 0.3, 1.0).energy(1.3) == pytest.approx(7 * np.exp(-1) / 1.3)
    assert sims.WCA(2.5, 1.0).energy(1.0) == pytest.approx(2.5)
    assert sims.WCA(2.5, 1.0).force(1.0) == pytest.approx(24 * 2.5)
    assert sims.Dipolar(8.0, 1.0).energy(2.0) == pytest.approx(1.0)
    assert sims.Soft(10.0, 2.0).energy(1.0) == pytest.approx(2.5)
    assert sims.Soft(10.0, 0.5, "gaussian").energy(0.5) == pytest.approx(10 * np.exp(-0.5))
    assert sims.Morse(3.0, 0.2, 1.0).energy(1.0) == pytest.approx(-3.0)
    assert sims.Morse(3.0, 0.2, 1.0).force(1.0) == pytest.approx(0.0, abs=1e-12)


# ------------------------------------------------------------------ forces and mobility

@pytest.mark.parametrize(("n", "dim", "length", "periodic"),
                         [(300, 2, 30.0, True), (300, 3, 14.0, True), (40, 2, 5.0, True), (200, 2, 30.0, False),
                          (5, 1, 9.0, True), (1, 2, 9.0, True)])
def test_forces_equal_the_sum_over_all_pairs(n, dim, length, periodic):
    rng = np.random.default_rng(1)
    x = rng.uniform(-length, 2 * length, (n, dim))       # also outside the box: paths are not wrapped
    pair = sims.Soft(10.0, 2.0)
    table = pair.table()
    lengths = np.full(dim, length if periodic else 0.0)
    force = np.empty_like(x)
    field = ForceField(lengths, (table.start, table.per_length, table.cutoff, table.force), 0.5, np.zeros_like(x))
    add_forces(x, neighbours(x, lengths, 2.4), field, force)
    d = x[:, None] - x[None]
    d = Periodic((length,) * dim).displacement(d, 0 * d) if periodic else d
    r = np.linalg.norm(d, axis=2) + np.eye(n) * 1e9
    exact = (pair.force(r) / r)[..., None] * d
    np.testing.assert_allclose(force, exact.sum(axis=1) - 0.5 * x, rtol=1e-7, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 3), st.floats(2.0, 60.0), st.booleans(), st.integers(0, 10_000))
def test_neighbour_list_misses_nothing(n, dim, length, periodic, seed):
    x = np.random.default_rng(seed).uniform(-0.5 * length, 1.5 * length, (n, dim))
    lengths = np.full(dim, length if periodic else 0.0)
    d = x[:, None] - x[None]
    d = d - length * np.floor(d / length + 0.5) if periodic else d
    close = np.triu(np.linalg.norm(d, axis=2) < 2.0, 1)
    found = neighbours(x, lengths, 2.0)
    assert {tuple(sorted(p)) for p in found.tolist()} == set(zip(*(k.tolist() for k in np.nonzero(close))))
    assert len(found) == close.sum()


def test_rotne_prager_of_two_particles():
    """Longitudinal and transverse mobility: 3a/(2r) - a³/r³ and 3a/(4r) + a³/(2r³) (Rotne & Prager 1969)."""
    for r in (2.0, 2.5, 7.0):
        m, _ = rotne_prager(np.array([[0.0, 0, 0], [0, 0, r]]), 1.0)
        assert m[2, 5] == pytest.approx(1.5 / r - 1 / r**3)
        assert m[0, 3] == pytest.approx(0.75 / r + 0.5 / r**3)
    m, _ = rotne_prager(np.array([[0.0, 0, 0], [0, 0, 1.2]]), 1.0)
    assert m[2, 5] == pytest.approx(1 - 9 * 1.2 / 32 + 3 * 1.2 / 32)
    np.testing.assert_array_equal(np.diag(m), 1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.sampled_from([2, 3]), st.floats(0.5, 20.0), st.integers(0, 10_000))
def test_rotne_prager_is_positive_even_where_spheres_overlap(n, dim, size, seed):
    x = np.random.default_rng(seed).uniform(0, size, (n, dim))
    m, _ = rotne_prager(x, 1.0)
    np.testing.assert_array_equal(m, m.T)
    assert np.linalg.eigvalsh(m).min() > -1e-12 * n


@pytest.mark.parametrize("dim", [2, 3])
def test_divergence_of_the_mobility_by_finite_differences(dim):
    x, h = np.random.default_rng(3).uniform(0, 6, (6, dim)), 1e-5
    _, divergence = rotne_prager(x, 1.0)
    numeric = np.zeros(x.size)
    for k in range(x.size):
        step = np.zeros(x.size)
        step[k] = h
        up, down = (rotne_prager(x + s * step.reshape(x.shape), 1.0)[0] for s in (1, -1))
        numeric += (up[:, k] - down[:, k]) / (2 * h)
    np.testing.assert_allclose(divergence.ravel(), numeric, atol=1e-7)
    assert (np.abs(divergence).max() > 0.01) == (dim == 2)


# ------------------------------------------------------------------ the simulator as a value

def test_same_seed_same_numbers_and_no_global_state():
    sim = sims.Brownian(n_particles=30, frames=20, pair=sims.Yukawa(), box_length=12.0, exposure=0.005,
                        localisation_error=0.02, gap_probability=0.1)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = sim.run(3).dataframe, sim.run(3).dataframe, sim.run(4).dataframe
    assert first.equals(again)
    assert not first["y"].iloc[:10].equals(other["y"].iloc[:10])
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_parts_of_the_exposure_belong_to_one_path():
    sim = sims.Brownian(n_particles=20, frames=15, pair=sims.Yukawa(), box_length=12.0, exposure=0.01)
    one, eight = sim.path(2), sim.path(2, parts=8)
    np.testing.assert_allclose(one.mean, eight.mean, atol=1e-12)
    np.testing.assert_array_equal(one.middle, eight.middle)
    assert eight.positions.shape == (15, 8, 20, 2)
    assert 0 < np.abs(eight.middle - eight.mean).max() < 0.5


def test_forces_of_a_path_are_those_at_mid_exposure():
    pair = sims.Yukawa()
    path = sims.Brownian(n_particles=30, frames=5, pair=pair, box_length=12.0, exposure=0.01).path(1)
    d = path.box.displacement(path.middle[:, :, None], path.middle[:, None])
    r = np.linalg.norm(d, axis=-1) + np.eye(30) * 1e9
    np.testing.assert_allclose(path.forces, ((pair.force(r) / r)[..., None] * d).sum(axis=2), rtol=1e-6, atol=1e-6)


def test_particles_are_conserved_and_truth_is_stored(tmp_path):
    import json

    pair = sims.WCA()
    sim = sims.Brownian(n_particles=49, frames=12, pair=pair, box_length=12.0)
    tracks = sim.run(seed=5)
    counts = np.bincount(tracks.frame)
    np.testing.assert_array_equal(counts, 49)
    truth = json.loads(json.dumps(tracks.info["truth"]))
    assert truth["pair"] == recipe(pair)
    assert (truth["diffusion"], truth["seed"]) == (0.405, 5)
    assert build(sims.Brownian, truth["simulator"], "truth") == sim
    assert tracks.box == Periodic((12.0, 12.0))
    loaded = vd.Trajectories.load(tracks.save(tmp_path / "t.parquet"))
    assert loaded.dataframe.equals(tracks.dataframe)
    assert loaded.info == tracks.info


def test_paths_are_continuous_across_the_edge_of_the_box():
    path = sims.Brownian(n_particles=50, frames=400, frames_per_second=10.0, box_length=4.0).path(0)
    assert path.middle.min() < -4.0                       # well outside the first box
    assert np.abs(np.diff(path.middle, axis=0)).max() < 2.0


def test_trap_centres_are_stored():
    tracks = sims.Brownian(n_particles=9, frames=300, trap="each", trap_stiffness=200.0, box_length=None).run(0)
    centres = np.array(tracks.info["truth"]["centres"])
    mean = np.array([tracks.positions[tracks.particle == k].mean(axis=0) for k in range(9)])
    np.testing.assert_allclose(mean, centres, atol=0.08)
    assert np.linalg.norm(centres[0] - centres[1]) >= 1.9


def test_lattice_fills_the_box_evenly():
    for n, dim in ((1, 2), (50, 2), (64, 3), (7, 1)):
        x, spacing = lattice(n, dim, 10.0)
        d = np.linalg.norm(Periodic((10.0,) * dim).displacement(x[:, None], x[None]), axis=-1) + np.eye(n) * 1e9
        assert x.shape == (n, dim)
        assert n == 1 or d.min() > 0.999 * spacing


def test_progress_can_stop_a_simulation():
    seen = []

    def stop(done, total, what):
        seen.append((done, total, what))
        if done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        sims.Brownian(n_particles=5, frames=50).run(0, progress=stop)
    assert seen[-1][0] == 5
    assert seen[-1][1] == 60


@pytest.mark.parametrize("kwargs", [
    {"diffusion": -0.4}, {"diffusion": 0.0}, {"diffusion": float("nan")}, {"n_particles": 0}, {"frames": 0}, {"dim": 4},
    {"exposure": 0.011}, {"exposure": -0.001}, {"frames_per_second": 0}, {"gap_probability": 1.0},
    {"localisation_error": -1},
    {"box_length": 5.0, "pair": sims.Yukawa()}, {"n_particles": 2000, "pair": sims.WCA()}, {"trap": "each"},
    {"trap": "none", "trap_stiffness": 1.0}, {"trap": "ring", "trap_stiffness": 1.0},
    {"trap": "shared", "trap_stiffness": 0.01}, {"hydrodynamic_radius": 0.5}, {"substeps": 0},
    {"hydrodynamic_radius": 0.5, "box_length": None, "dim": 1}, {"micrometre_per_pixel": 0.0},
])
def test_bad_settings_are_refused_at_the_door(kwargs):
    with pytest.raises(ConfigError, match="Brownian"):
        sims.Brownian(**kwargs)


@pytest.mark.parametrize("make", [
    lambda: sims.Yukawa(screening_length=0.0), lambda: sims.Yukawa(amplitude=float("inf")),
    lambda: sims.WCA(diameter=-1),
    lambda: sims.Morse(cutoff=0.5), lambda: sims.Soft(shape="cubic"), lambda: sims.Dipolar(diameter=0),
])
def test_bad_potentials_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_settings_can_come_from_a_table():
    table = {"n_particles": 10, "box_length": float("inf"), "pair": {"kind": "Yukawa", "amplitude": 5}}
    sim = build(sims.Brownian, table, "[simulate]")
    assert sim.pair == sims.Yukawa(amplitude=5.0)
    assert sim.box_length is None
    with pytest.raises(ConfigError, match="Did you mean 'diffusion'"):
        build(sims.Brownian, {"difusion": 1.0}, "[simulate]")


def test_names_are_found_because_the_files_are_there():
    assert {"Brownian", "Yukawa", "WCA", "Dipolar", "Soft", "Morse", "render", "observe"} <= set(dir(sims))
    with pytest.raises(AttributeError, match="known: "):
        sims.Brownien  # noqa: B018


# ------------------------------------------------------------------ observation

def test_exposure_average_of_a_straight_line_is_its_middle():
    line = np.linspace(0, 3, 3 * 20 + 1)[:, None] * np.array([1.0, -2.0])
    np.testing.assert_allclose(sims.exposure_average(line, 20, 0.5)[:, 0], [0.25, 1.25, 2.25])
    np.testing.assert_allclose(sims.exposure_average(line, 20, 0.0)[:, 1], [0, -2, -4])
    for bad in ({"per_frame": 7}, {"per_frame": 20, "fraction": 0.33}, {"per_frame": 20, "fraction": 0.1}):
        with pytest.raises(ConfigError):
            sims.exposure_average(line, **bad)


def test_a_particle_that_leaves_and_returns_gets_a_new_number():
    x = np.full((5, 2, 2), 5.0)
    x[2, 0, 1] = 12.0                                      # particle 0 is out of the frame once
    seen = sims.observe(x, Units(1.0, 10.0), np.random.default_rng(0), field_of_view=(10, 10),
                        columns={"simulated": np.broadcast_to([0, 1], (5, 2))})
    table = seen.dataframe
    assert seen.n_particles == 3
    assert table.groupby("particle")["simulated"].nunique().eq(1).all()
    assert table.query("simulated == 0").groupby("particle")["frame"].apply(list).tolist() == [[0, 1], [3, 4]]


def test_a_periodic_path_is_wrapped_before_the_crop():
    x = np.linspace(8.0, 12.0, 9)[:, None, None] * np.array([0.0, 1.0]) + np.array([5.0, 0.0])
    seen = sims.observe(x, Units(1.0, 10.0), np.random.default_rng(0), field_of_view=(10, 10),
                        box=Periodic((10.0, 10.0)))
    assert len(seen) == 9                                  # the frame is the box: always in view
    assert seen.n_particles == 2                           # but it jumped from the right edge to the left
    np.testing.assert_allclose(np.sort(seen.dataframe["x"]), np.sort((x[:, 0, 1] + 0.5) % 10 - 0.5))
    assert seen.box == vd.Free()


def test_absent_particles_stay_absent_and_bad_noise_is_refused():
    x = np.zeros((4, 3, 2))
    x[1, 2] = np.nan
    assert len(sims.observe(x, Units(1.0, 1.0), np.random.default_rng(0))) == 11
    for bad in ({"localisation_error": -0.1}, {"localisation_scatter": np.nan}, {"gap_probability": 1.0}):
        with pytest.raises(ConfigError):
            sims.observe(x, Units(1.0, 1.0), np.random.default_rng(0), **bad)


def test_replace_keeps_a_simulator_valid():
    sim = dataclasses.replace(sims.Brownian(), frames=3, n_particles=4)
    assert sim.run(0).n_frames == 3


# ------------------------------------------------------------------ the sample clip

def test_sample_clip_is_what_its_truth_says():
    import json
    from pathlib import Path

    from vid2dyn.core.files import sha256

    folder = Path(__file__).resolve().parents[2] / "sample_data"
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    for needle in (True, False):                           # two samples, each below 3 MB
        files = [file for file in folder.iterdir() if file.name.startswith("needle") == needle]
        assert 0 < sum(file.stat().st_size for file in files) < 3_000_000
    assert sha256(folder / "clip.tif") == truth["provenance"]["sha256"]["clip.tif"]
    clip, seen = vd.open(folder / "clip.tif"), vd.Trajectories.load(folder / "clip.truth.parquet")
    assert clip.units == Units(**truth["units"]) == seen.units
    assert len(clip) == seen.n_frames == truth["simulator"]["frames"]
    pair = build(sims.Yukawa, truth["pair"], "truth.json")
    table = truth["pair_potential"]
    np.testing.assert_allclose(pair.energy(table["r_um"]), table["energy_kT"], atol=1e-6)
    # the first frame is drawn again from the recipe, by the same code and seed
    sim = dataclasses.replace(build(sims.Brownian, truth["simulator"], "truth.json"), frames=1)
    again = sims.render(sim, build(sims.Renderer, truth["renderer"], "truth.json"), seed=truth["seed"])
    assert np.abs(again[0].astype(int) - clip[0]).mean() < 0.01


# ------------------------------------------------------------------ windows of a lattice process

@pytest.mark.parametrize("kernel", [(), (1.0,)])
def test_processes_no_faster_than_free_particles_keep_the_usual_windows(kernel):
    times = sims.Arrhenius(sites=200, kernel=kernel, realisations=2).run(seed=0).times
    assert np.allclose(times * 200**2, [0.0, 100.0, 200.0, 400.0])


def test_fast_processes_get_shorter_windows_the_same_for_every_seed():
    """Repulsion by 1.5 kT: D up to 6, so a quarter of the usual ones; the limit knows it to within a tenth."""
    fast = sims.Arrhenius(sites=200, kernel=(-1.5,), realisations=2)
    windows = fast.settled_windows
    assert 18.0 <= windows[0] <= 30.0
    assert np.allclose(np.array(windows[1:]) / windows[:-1], 2.0, atol=0.15)
    assert np.array_equal(fast.run(seed=1).times, fast.run(seed=2).times)
    assert fast == sims.Arrhenius(sites=200, kernel=(-1.5,), realisations=2)
    assert sims.Arrhenius(sites=200, kernel=(-1.5,), windows=(3.0, 7.0)).settled_windows == (3.0, 7.0)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_a_pilot_knows_the_diffusion_of_a_wave(density):
    """To 20 %: 5 standard errors of 4 %."""
    process = sims.Arrhenius(sites=500, kernel=(-1.0,))
    exact = float(process.true_function("diffusion", np.array([density]))[0])
    assert abs(pilot_diffusion(process, density) / exact - 1) < 0.2
