"""D²min, psi6, T1, cycles, stress and moduli of sheets against fields and films whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

import vid2dyn as vd
from vid2dyn import analysis
from vid2dyn.core.errors import ConfigError, DataError

UNITS = vd.Units(0.1, 10.0)
Z = 4.9
FILM = vd.simulators.Needle(gap=60.0, width=60.0, frames=80, strain=0.01, frequency=1.0, frames_per_second=40.0)


def forces_of(film):
    return {(a, b): lambda r, a=a, b=b: film.pair_force(r, a, b) for a, b in
            (("small", "small"), ("large", "small"), ("large", "large"))}


@pytest.fixture(scope="module")
def film():
    return FILM.run(seed=1)


@pytest.fixture(scope="module")
def found(film):
    return analysis.moduli(film, forces_of(FILM), FILM.cutoff, region=(FILM.low, FILM.high))


def gas(n=300, dim=2, seed=0, size=30.0):
    return np.random.default_rng(seed).uniform(0, size, (n, dim))


# ------------------------------------------------------------------ D²min

@pytest.mark.parametrize("dim", [2, 3])
def test_an_affine_field_has_no_d2min(dim):
    x = gas(400, dim)
    F = np.eye(dim) + np.random.default_rng(1).normal(0, 0.1, (dim, dim))
    tracks = vd.Trajectories.from_dense(np.stack([x, x @ F.T + 3.0]), UNITS)
    table = analysis.d2min(tracks, cutoff=5.0, lag=1).dataframe.dropna(subset="d2min")
    assert len(table) > 300
    assert table["d2min"].max() < 1e-12
    E = 0.5 * (F.T @ F - np.eye(dim))
    values = np.linalg.eigvalsh(E)
    assert table["strain"].to_numpy() == pytest.approx(values[-1] - values[0], abs=1e-9)
    assert table["dilation"].to_numpy() == pytest.approx(np.linalg.det(F) - 1, abs=1e-9)


def test_a_rotation_is_no_strain():
    x, angle = gas(), 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    table = analysis.d2min(vd.Trajectories.from_dense(np.stack([x, x @ turn.T]), UNITS), 5.0, 1).dataframe.dropna()
    assert table["strain"].abs().max() < 1e-12
    assert table["rotation"].to_numpy() == pytest.approx(angle)


def test_d2min_is_the_least_squares_residual():
    """Against numpy's least squares, particle by particle."""
    x = gas(80, size=12.0)
    later = x + np.random.default_rng(2).normal(0, 0.2, x.shape)
    table = analysis.d2min(vd.Trajectories.from_dense(np.stack([x, later]), UNITS), 4.0, 1).dataframe
    tree = cKDTree(x)
    for i in (3, 40, 77):
        j = [k for k in tree.query_ball_point(x[i], 4.0) if k != i]
        r, moved = x[j] - x[i], later[j] - later[i]
        left = moved - r @ np.linalg.lstsq(r, moved, rcond=None)[0]
        assert table["d2min"][i] == pytest.approx((left**2).sum() / len(j))


def test_maps_do_not_reach_to_rounding(film):
    """Held particles move as one: their D²min is rounding, and the colours of the others stay apart."""
    found = analysis.d2min(film, 10.0, 20, every=20)
    value, colours = found.dataframe["d2min"].to_numpy(), found.colours()
    assert value.min() < 1e-20
    assert 10 ** colours.min() == pytest.approx(1e-3 * np.median(value))
    far = value > 0.01 * np.median(value)
    assert 10 ** colours[far] == pytest.approx(value[far])


def test_noise_floor_is_what_noise_makes():
    """False-alarm rate 1e-6; the error is 0.4 %, so 2 % is detected: 8 σ², whatever the number of neighbours, fails."""
    x, rng, sigma = gas(2000, size=80.0), np.random.default_rng(3), 0.05
    ratio = []
    for _ in range(30):
        noisy = x + rng.normal(0, sigma, (2, *x.shape))
        result = analysis.d2min(vd.Trajectories.from_dense(noisy, UNITS, sigma=sigma), 5.0, 1)
        table = result.dataframe.dropna()
        ratio.append(table["d2min"].sum() / table["noise_floor"].sum())
    error = np.std(ratio, ddof=1) / np.sqrt(30)
    assert abs(np.mean(ratio) - 1) < Z * error < 0.02
    assert abs(np.mean(ratio) * result.noise_floor / (8 * sigma**2) - 1) > Z * error
    assert "mostly noise" in result.warnings[0]


def test_d2min_of_a_periodic_box_sees_through_its_edges():
    x = gas(200, size=20.0)
    shifted = np.stack([x, x + [0.0, 7.0]])
    table = analysis.d2min(vd.Trajectories.from_dense(shifted, UNITS, box=vd.Periodic((20.0, 20.0))), 5.0, 1).dataframe
    assert table["d2min"].max() < 1e-12
    assert table["neighbours"].min() > 3


def test_too_few_neighbours_are_told():
    x = gas(60)
    tracks = vd.Trajectories.from_dense(np.stack([x, x]), UNITS)
    assert "longer cutoff" in analysis.d2min(tracks, cutoff=3.0, lag=1).warnings[0]
    with pytest.raises(DataError, match="longer cutoff"):
        analysis.d2min(tracks, cutoff=0.3, lag=1)
    with pytest.raises(DataError, match="shorter lag"):
        analysis.d2min(tracks, cutoff=3.0, lag=5)
    with pytest.raises(ConfigError, match="half the box"):
        analysis.d2min(tracks.replace(box=vd.Periodic((30.0, 30.0))), cutoff=20.0, lag=1)


# ------------------------------------------------------------------ structure

def test_psi6_of_lattices():
    row, column = np.mgrid[:12, :12].astype(float)
    hexagons = np.stack([row * np.sqrt(3) / 2, column + 0.5 * (row % 2)], axis=-1).reshape(1, -1, 2)
    squares = np.stack([row, column], axis=-1).reshape(1, -1, 2)
    six = analysis.psi6(vd.Trajectories.from_dense(hexagons, UNITS), cutoff=1.3)
    inner = six.dataframe["neighbours"] == 6
    assert six.dataframe["psi6"][inner].min() > 1 - 1e-12
    four = analysis.psi6(vd.Trajectories.from_dense(squares, UNITS), cutoff=1.3).dataframe
    assert four["psi6"][four["neighbours"] == 4].max() < 1e-12
    with pytest.raises(DataError, match="longer cutoff"):
        analysis.psi6(vd.Trajectories.from_dense(squares, UNITS), cutoff=0.5)


def test_t1_events_of_a_periodic_lattice_that_slides():
    """A row that slides by one spacing along its neighbours flips every bond to one side: as many events as particles
    of the row on each of its sides; affine motion makes none."""
    n = 10
    row, column = np.mgrid[:n, :n].astype(float)
    x = np.stack([row * np.sqrt(3) / 2, column + 0.5 * (row % 2) + 0.05], axis=-1).reshape(-1, 2)
    x += np.random.default_rng(0).normal(0, 0.01, x.shape)
    box = vd.Periodic((n * np.sqrt(3) / 2, float(n)))
    slid = x.copy()
    slid[(row == 4).ravel(), 1] += 1.0
    events = analysis.t1_events(vd.Trajectories.from_dense(np.stack([x, slid]), UNITS, box=box), cutoff=2.0)
    assert len(events.dataframe) == 2 * n
    assert events.rate[0] == pytest.approx(2 / n)
    still = analysis.t1_events(vd.Trajectories.from_dense(np.stack([x, x * 1.0001]), UNITS, box=box), cutoff=2.0)
    assert len(still.dataframe) == 0


def test_nonaffine_motion_is_what_is_beside_the_flow(film):
    free = film.rows(~film.dataframe["held"].to_numpy())
    result = analysis.nonaffine(free, lag=10, flow="profile", bins=6)
    assert 0.02 < result.rms.median() < 1.0
    noisy = replace(FILM, frames=20, localisation_error=0.4).run(seed=1)
    assert "mostly noise" in analysis.nonaffine(noisy, lag=2).warnings[0]


# ------------------------------------------------------------------ cycles

def test_cycles_stroboscopic_frames_and_extrema(film):
    drive = analysis.cycles(film)
    assert (drive.count, drive.axis) == (2, "x")
    assert drive.frequency == pytest.approx(1.0, abs=1e-6)
    assert drive.amplitude == pytest.approx(0.6, abs=1e-9)
    needle = film.dataframe["body"] == "needle"
    one = int(film.particle[needle][0])
    again = drive.at_phase(0.0)
    assert again.n_frames == 2
    x = again.positions[again.particle == one, 1]
    assert np.ptp(x) < 1e-9
    turns = drive.extrema()
    assert turns.n_frames == 4
    assert np.ptp(turns.positions[turns.particle == one, 1]) == pytest.approx(1.2, abs=1e-9)


def test_cycles_cut_short_are_told(film):
    with pytest.raises(DataError, match="of a cycle"):
        analysis.cycles(film.between(0, 30), frequency=1.0)
    part = analysis.cycles(film.between(0, 70), frequency=1.0)
    assert part.count == 1
    assert "cut short" in part.warnings[0]


def test_no_prescribed_edge_is_told(film):
    with pytest.raises(DataError, match="No prescribed edge"):
        analysis.cycles(film.replace(dataframe=film.dataframe.drop(columns=["held", "body"])))
    with pytest.raises(DataError, match="No prescribed edge"):
        analysis.cycles(film.replace(dataframe=film.dataframe.drop(columns="body").assign(held=False)))
    with pytest.raises(DataError, match="does not move"):
        analysis.cycles(film, body="wall", frequency=1.0)
    with pytest.raises(DataError, match="no particle of the tracks is of this body"):
        analysis.cycles(film, body="lid")


def test_an_edge_that_leaves_the_view_is_told(film):
    needle = (film.dataframe["body"] == "needle").to_numpy()
    with pytest.raises(DataError, match="leaves the view"):
        analysis.cycles(film.rows(~needle | (film.frame < 50)))
    some = film.particle % 5 > 0
    partly = analysis.cycles(film.rows(~needle | some | (film.frame < 50)))
    assert partly.amplitude == pytest.approx(0.6, abs=1e-9)
    most = analysis.cycles(film.rows(~needle | ((film.particle + film.frame) % 20 > 0)))
    assert most.amplitude == pytest.approx(0.6, rel=0.05)
    assert "No particle of the edge is seen in all frames" in most.warnings[0]


# ------------------------------------------------------------------ stress and moduli

def test_stress_of_the_true_forces_is_that_of_the_simulator(film):
    stress = analysis.virial_stress(film, forces_of(FILM), FILM.cutoff, region=(FILM.low, FILM.high))
    assert stress.dataframe["shear"].to_numpy() == pytest.approx(np.array(film.info["truth"]["stress"]), abs=1e-9)
    assert (stress.dataframe["stress_yy"] < 0).all()                                # it is under pressure


def test_stress_in_a_part_of_the_view_needs_nothing_beyond_a_cutoff(film):
    """The region's stress is the same where only what lies within a cutoff of it is seen; and parts make the whole."""
    forces, cutoff, width = forces_of(FILM), FILM.cutoff, film.box.lengths[1]
    few = film.between(0, 3)
    whole = analysis.virial_stress(few, forces, cutoff, region=(FILM.low, FILM.high)).dataframe
    parts = [analysis.virial_stress(few, forces, cutoff, region=(FILM.low, FILM.high), sides=sides).dataframe
             for sides in ((0.0, 0.3 * width), (0.3 * width, width))]
    for name in ("stress_yy", "shear", "stress_xx"):
        sum_of_parts = (0.3 * parts[0][name] + 0.7 * parts[1][name]).to_numpy()
        assert sum_of_parts == pytest.approx(whole[name], rel=1e-9, abs=1e-9)
    table = few.dataframe.assign(x=few.positions[:, 1] % width / few.units.um)
    open_view = few.replace(box=vd.Free(), dataframe=table)
    inside = cutoff, width - cutoff
    seen = analysis.virial_stress(open_view, forces, cutoff, region=(FILM.low, FILM.high), sides=inside).dataframe
    true = analysis.virial_stress(few, forces, cutoff, region=(FILM.low, FILM.high), sides=inside).dataframe
    assert seen["shear"].to_numpy() == pytest.approx(true["shear"], rel=1e-9, abs=1e-9)
    default = analysis.virial_stress(open_view, forces, cutoff, region=(FILM.low, FILM.high))
    assert inside[0] <= default.sides[0] < default.sides[1] <= inside[1]
    assert default.warnings == ()
    short = open_view.rows(open_view.positions[:, 0] > FILM.low - 0.5 * cutoff)
    assert "nearer to the edge" in analysis.virial_stress(short, forces, cutoff, region=(FILM.low, 50.0)).warnings[0]
    assert analysis.virial_stress(short, forces, cutoff, region=(FILM.low + cutoff, 50.0)).warnings == ()
    with pytest.raises(ConfigError, match="no width"):
        analysis.virial_stress(open_view, forces, cutoff, sides=(5.0, 5.0))


def test_pressure_of_a_lattice_is_the_slope_of_its_energy():
    """Work of a small compression of a triangular lattice of springs: p = -dU/dA, against finite differences."""
    n, a = 8, 1.0
    row, column = np.mgrid[:n, :n].astype(float)

    def lattice(scale):
        x = scale * np.stack([row * np.sqrt(3) / 2, column + 0.5 * (row % 2)], axis=-1).reshape(1, -1, 2)
        return vd.Trajectories.from_dense(x, UNITS, box=vd.Periodic((scale * n * np.sqrt(3) / 2, scale * float(n))))

    force = lambda r: 5.0 * (1.2 - r)                                                             # noqa: E731
    tracks = lattice(a)
    found = analysis.virial_stress(tracks, force, 1.1, region=(-10.0, 20.0)).dataframe
    area = np.prod(tracks.box.lengths)
    energy = [3 * n * n * 0.5 * 5.0 * (1.2 - s) ** 2 for s in (1 - 1e-5, 1 + 1e-5)]
    pressure = -(energy[1] - energy[0]) / (area * 4e-5)
    whole = found["stress_yy"][0] * 30.0 * tracks.box.lengths[1] / area              # region -> box
    assert -whole == pytest.approx(pressure, rel=1e-6)
    assert found["shear"][0] == pytest.approx(0, abs=1e-12)


def test_moduli_are_those_of_the_simulator(film, found):
    truth = film.info["truth"]
    elastic = np.array(truth["stress"])
    t, z = np.array(truth["time"]), np.array(truth["needle_position"])
    g = (elastic * np.exp(-2j * np.pi * t)).mean() / (z / FILM.gap * np.exp(-2j * np.pi * t)).mean()
    assert found.modulus == pytest.approx(g, rel=1e-9)
    assert found.frequency == pytest.approx(1.0, abs=1e-6)
    assert len(found.cycles) == 2
    assert any("three cycles" in text for text in found.warnings)
    assert found.dissipated == pytest.approx(np.pi * found.loss * 1e-4)


def test_25_nm_of_noise_change_the_modulus_by_less_than_1_percent():
    """At 5 % strain; 124 particles in 40 frames at 1 % scatter by 1.5 %, the default film by 0.3 %."""
    film = replace(FILM, strain=0.05, frames=40).run(seed=1)
    rng, table = np.random.default_rng(5), film.dataframe.copy()
    for axis in ("y", "x"):
        table[axis] += rng.normal(0, 0.025 / film.units.um, len(table))
    found, noisy = (analysis.moduli(one, forces_of(FILM), FILM.cutoff, region=(FILM.low, FILM.high))
                    for one in (film, film.replace(dataframe=table)))
    assert abs(noisy.modulus - found.modulus) < 0.01 * abs(found.modulus)


def test_strain_of_the_bulk_is_that_of_the_edge(film, found):
    bulk = analysis.moduli(film, forces_of(FILM), FILM.cutoff, region=(FILM.low, FILM.high), strain="bulk")
    assert bulk.strain_amplitude == pytest.approx(found.strain_amplitude, rel=0.15)


def test_a_pulled_needle_tells_the_modulus_of_the_film():
    """From z and F alone, within 2 % of stress over strain at the needle, which the simulator knows."""
    film = replace(FILM, drive="force", force=60.0, frames=160, frames_per_second=80.0, needle_mass=0.05, thermal=False,
                   cycles_before=1.0)
    truth = film.run(seed=1).info["truth"]
    t, z, pull = (np.array(truth[key]) for key in ("time", "needle_position", "needle_force"))
    found = analysis.needle_moduli(t, z, film.force * np.sin(2 * np.pi * t), gap=film.gap, length=film.width,
                                   mass=film.needle_mass, stiffness=film.needle_stiffness, drag=film.needle_drag,
                                   frequency=1.0)
    wave = np.exp(-2j * np.pi * t)
    exact = -(pull * wave).mean() / film.width / ((z * wave).mean() / film.gap)
    assert abs(found.modulus - exact) < 0.02 * abs(exact)


def test_errors_of_series_cover_the_truth():
    """Ten noisy series each of four cycles: the mean of z² is 1 (+-: t with 3 degrees of freedom), bounds at 1e-6."""
    rng, t = np.random.default_rng(0), np.arange(400) / 100
    z = []
    for _ in range(40):
        force = 30 * np.sin(2 * np.pi * t) + 10 * np.cos(2 * np.pi * t) + rng.normal(0, 3, 400)
        one = analysis.needle_moduli(t, np.sin(2 * np.pi * t), force, gap=1.0, length=1.0, mass=0.0, stiffness=0.0,
                                     drag=0.0, frequency=1.0)
        z += [(one.storage - 30) / one.storage_stderr, (one.loss - 10) / one.loss_stderr]
    assert 0.5 < np.median(np.abs(z)) < 1.1                                        # 0.765 for t with 3


def test_a_response_that_is_not_linear_is_told():
    t = np.arange(300) / 100
    bent = np.sin(2 * np.pi * t) + 0.3 * np.sin(6 * np.pi * t)
    one = analysis.needle_moduli(t, np.sin(2 * np.pi * t), bent, gap=1.0, length=1.0, mass=0.0, stiffness=0.0, drag=0.0,
                                 frequency=1.0)
    assert one.third_harmonic == pytest.approx(0.3)
    assert any("third harmonic" in text for text in one.warnings)
    with pytest.raises(DataError, match="of a cycle"):
        analysis.needle_moduli(t[:50], bent[:50], bent[:50], gap=1.0, length=1.0, mass=0.0, stiffness=0.0, drag=0.0,
                               frequency=1.0)


def test_forces_that_do_not_fit_the_tracks_are_told(film):
    with pytest.raises(DataError, match="no force of species"):
        analysis.virial_stress(film, {("small", "small"): lambda r: r}, 14.0)
    with pytest.raises(ConfigError, match="no height"):
        analysis.virial_stress(film, lambda r: r, 14.0, region=(3.0, 1.0))
    with pytest.raises(DataError, match="no column"):
        analysis.virial_stress(film, {("a", "a"): lambda r: r}, 14.0, species="kind")


def test_every_result_has_a_table_a_plot_and_warnings(film, found):
    results = [analysis.d2min(film.between(0, 12), 10.0, 10), analysis.psi6(film.between(0, 2), 10.0),
               analysis.t1_events(film.between(0, 12), 14.0, 10), analysis.nonaffine(film.between(0, 12), 10),
               analysis.cycles(film), analysis.virial_stress(film.between(0, 2), forces_of(FILM), 14.0), found]
    for one in results:
        assert isinstance(one, analysis.Result)
        assert len(one.dataframe.columns) > 1
        assert isinstance(one.warnings, tuple)
        axes = Figure().add_subplot()
        assert one.plot(axes) is axes
        assert one.plot() is not None


def test_neighbourhoods_cut_by_the_view_have_no_d2min_and_no_psi6() -> None:
    """A film of the middle of a triangular lattice: who may have neighbours out of sight has no value, the others have
    the one of the whole lattice. Without the edge, psi6 of particles at it is up to 1 with two neighbours, and D²min is
    lower than of the whole neighbourhood."""
    rng = np.random.default_rng(3)
    row, column = np.mgrid[:24, :24]
    grid = np.stack([row * np.sqrt(3) / 2, column + 0.5 * (row % 2)], axis=-1).reshape(-1, 2)
    x = np.stack([grid, grid]) + 0.05 * rng.standard_normal((2, len(grid), 2))
    whole = vd.Trajectories.from_dense(x, UNITS)
    low, high = 4.0, 16.0
    seen = ((x > low) & (x < high)).all(axis=(0, 2))
    side = (high - low) / UNITS.um
    film = vd.Trajectories.from_dense(x[:, seen] - low - 0.5 * UNITS.um, UNITS, field_of_view=(side, side))
    edge = np.minimum(x[0] - low, high - x[0]).min(axis=1)[seen]
    for measure, name, rows in ((analysis.d2min, "d2min", len(grid)), (analysis.psi6, "psi6", 2 * len(grid))):
        arguments = (1.6, 1) if name == "d2min" else (1.6,)
        truth = measure(whole, *arguments).dataframe
        found = measure(film, *arguments).dataframe
        assert len(truth) == rows
        truth = truth[truth.frame == 0].set_index("particle")[name].to_numpy()[seen]
        found = found[found.frame == 0].set_index("particle")[name].to_numpy()
        known = np.isfinite(found)
        np.testing.assert_allclose(found[known], truth[known], rtol=1e-6)
        assert known[edge > 1.8].all()
        assert not known[edge < 1.6].any()
    with pytest.raises(vd.DataError, match="all particles lie within cutoff"):
        analysis.psi6(film, 6.5)
    with pytest.raises(vd.DataError, match="all particles lie within cutoff"):
        analysis.d2min(film, 6.5, 1)
