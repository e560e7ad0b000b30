"""Data as layers and back, sessions in words, films: none of it needs napari."""

from __future__ import annotations

import ast
import dataclasses
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.runs.experiment import read
from vid2dyn_napari import budgets, curves, layers, samples, saving
from vid2dyn_napari.session import Session, Step
from vid2dyn_napari.view import members

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "napari_plugin" / "vid2dyn_napari"
CLIP = ROOT / "sample_data" / "clip.tif"


@pytest.fixture(scope="module")
def gas() -> vd.Trajectories:
    return vd.simulate(vd.simulators.Brownian(n_particles=40, frames=60, box_length=20.0, exposure=0.01,
                                              localisation_error=0.02), seed=0)


# -------------------------------------------------------------------- the plugin keeps to public names

def used(source: str) -> list[str]:
    """Every dotted name of vid2dyn that a file imports or takes from `vd`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vd":
            found.append(f"vid2dyn.{node.attr}")
    return [name for name in found if name.split(".")[0] == "vid2dyn"]


def test_plugin_uses_public_names_only() -> None:
    public = {*vd.__all__, "__all__", "__file__"}

    def private(source: str) -> set[str]:
        return {name for name in used(source) if name != "vid2dyn" and name.split(".")[1] not in public}

    sources = [path.read_text() for path in PLUGIN.rglob("*.py")]
    assert len({name for source in sources for name in used(source)}) > 20, "the test looks at the wrong files"
    assert not set().union(*map(private, sources))
    assert private("from vid2dyn.fitting import fit") == {"vid2dyn.fitting.fit"}, "the test must see such a line"


def test_only_qt_files_import_qt_at_the_top() -> None:
    free = ("session", "wording", "layers", "curves", "truth", "budgets", "film", "saving", "styles", "samples",
            "readers", "writers", "followers", "view")
    for name in free:
        tree = ast.parse((PLUGIN / f"{name}.py").read_text())
        top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        top |= {(node.module or "").split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not top & {"napari", "qtpy", "PyQt6"}, name


# -------------------------------------------------------------------- layers

def test_tracks_survive_the_way_to_a_layer_and_back(gas: vd.Trajectories) -> None:
    data, settings, kind = layers.tracks_layer(gas)
    assert kind == "tracks"
    assert layers.from_layer(data, settings) is gas
    without = {key: value for key, value in settings.items() if key != "metadata"}
    free = gas.replace(box=vd.Free())                    # a periodic box cuts lines, and a bare layer knows no box
    back = layers.from_layer(layers.tracks_layer(free)[0], without)
    assert back.units.frames_per_second == pytest.approx(gas.units.frames_per_second)
    assert back.units.micrometre_per_pixel == pytest.approx(gas.units.micrometre_per_pixel)
    assert np.allclose(back.dataframe[["frame", "particle", "y", "x"]], gas.dataframe[["frame", "particle", "y", "x"]])
    assert np.allclose(back.positions, gas.positions)
    assert np.allclose(back.sigma, gas.sigma)


def test_a_line_is_not_drawn_through_the_edge_of_a_periodic_box(gas: vd.Trajectories) -> None:
    data, *_ = layers.tracks_layer(gas)
    same = np.diff(data[:, 0]) == 0
    edge = gas.box.lengths[0] / gas.units.um
    assert np.abs(np.diff(data[:, 2:], axis=0)[same]).max() < 0.5 * edge
    assert (data[:, 2:] >= 0).all()
    assert (data[:, 2:] <= edge).all()


def test_a_million_rows_are_drawn_by_whole_tracks_up_to_the_limit() -> None:
    positions = np.zeros((1000, 1000, 2))
    tracks = vd.Trajectories.from_dense(positions, vd.Units(1.0, 10.0))
    few, left_out = layers.shown(tracks, 200_000)
    assert len(few) == 200_000
    assert left_out == 800
    assert set(np.unique(few.particle, return_counts=True)[1]) == {1000}
    assert np.ptp(few.particle) > 900, "spread over all tracks, not the first ones"


def test_frames_are_decoded_only_when_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    video = vd.open(CLIP)
    asked: list[int] = []
    plain = type(video).__getitem__
    monkeypatch.setattr(type(video), "__getitem__", lambda self, i: asked.append(i) or plain(self, i))
    lazy = layers.LazyFrames(video)
    assert lazy.shape == (210, 192, 192)
    assert lazy[7].shape == (192, 192)
    assert asked == [7]
    assert np.array_equal(lazy[3:5, 10:20, ::2], np.stack([plain(video, 3), plain(video, 4)])[:, 10:20, ::2])
    assert asked == [7, 3, 4]
    assert lazy[(5, slice(None), slice(0, 9))].shape == (192, 9)


def test_particles_of_one_frame(gas: vd.Trajectories) -> None:
    one = layers.ByFrame(gas, "particle")
    yx, value = one(17)
    rows = gas.frame == 17
    assert np.allclose(yx, np.mod(gas.dataframe[["y", "x"]].to_numpy(), gas.box.lengths[0] / gas.units.um)[rows])
    assert value.tolist() == gas.particle[rows].tolist()
    assert len(one(10_000)[0]) == 0


def test_speed_is_a_step_over_its_time() -> None:
    path = np.cumsum(np.full((5, 1, 2), 0.3), axis=0)
    tracks = vd.Trajectories.from_dense(path, vd.Units(0.1, 20.0))
    assert layers.speed(tracks)[:4] == pytest.approx(0.3 * 2**0.5 * 20.0)


# -------------------------------------------------------------------- sessions

@pytest.fixture(scope="module")
def session() -> Session:
    made = Session()
    made.open(CLIP)
    made.track(vd.tracking.Track(diameter=9, memory=2, min_length=5, stop=60))
    made.fit(vd.Brownian(cutoff=None), seed=3)
    made.rollout(None, seed=5)
    return made


def equal(a: vd.Trajectories, b: vd.Trajectories) -> bool:
    return a.dataframe.equals(b.dataframe) and a.units == b.units


def test_script_repeats_the_session_to_the_last_digit(session: Session, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "session.py"
    script.write_text(session.script())
    assert "napari" not in script.read_text()
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "again")])
    runpy.run_path(str(script), run_name="__main__")
    again = tmp_path / "again"
    assert equal(vd.load(again / "tracks.parquet"), session.tracks)
    assert equal(vd.load(again / "rollout.parquet"), session.future)
    model = vd.load(again / "model.vid2dyn")
    assert all(np.array_equal(model.arrays[name], value) for name, value in session.model.arrays.items())
    assert (again / "report.html").stat().st_size > 10_000


def test_experiment_file_gives_the_same_numbers(session: Session, tmp_path: Path) -> None:
    toml = tmp_path / "session.toml"
    toml.write_text(session.toml(tmp_path))
    outcome, = vd.run(toml, out=tmp_path / "runs")
    assert not outcome.error
    assert equal(vd.load(outcome.folder / "tracks.parquet"), session.tracks)
    assert equal(vd.load(outcome.folder / "rollout.parquet"), session.future)
    model = vd.load(outcome.folder / "model.vid2dyn")
    assert all(np.array_equal(model.arrays[name], value) for name, value in session.model.arrays.items())


def test_lattice_script_and_experiment_file_give_the_same_bytes(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    made = Session()
    made.simulate(vd.simulators.Arrhenius(kernel=(1.0,), sites=60, realisations=100), seed=3)
    made.fit(vd.GradientFlow(knots=6), seed=1, stop=3)
    made.rollout(4, 2, dt=0.1 / 30, noise=True)
    names = list(saving.choices(made))
    assert {"fields.fields", "model.vid2dyn", "rollout.fields", "report.html", "session.toml",
            "session.py"} == set(names)
    saving.write(made, tmp_path / "out", names)
    script = tmp_path / "out" / "session.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "again")])
    runpy.run_path(str(script), run_name="__main__")
    outcome, = vd.run(tmp_path / "out" / "session.toml", out=tmp_path / "runs")
    assert not outcome.error, outcome.error
    for name in ("fields.fields", "model.vid2dyn", "rollout.fields"):
        kept = (tmp_path / "out" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == kept, name
        assert (outcome.folder / name).read_bytes() == kept, name
    opened = Session()
    opened.open(tmp_path / "out" / "fields.fields")
    opened.fit(vd.GradientFlow(knots=6), seed=1, stop=3)
    (tmp_path / "out" / "other.toml").write_text(opened.toml(tmp_path / "out"))
    other, = vd.run(tmp_path / "out" / "other.toml", out=tmp_path / "others")
    assert (other.folder / "model.vid2dyn").read_bytes() == (tmp_path / "out" / "model.vid2dyn").read_bytes()


def test_every_setting_survives_the_way_through_the_experiment_file(tmp_path: Path) -> None:
    made = Session()
    source = vd.simulators.Brownian(n_particles=9, frames=5, box_length=9.0, pair=vd.simulators.Yukawa(amplitude=1 / 3))
    made.simulate(source, seed=4)
    recipe = vd.Brownian(cutoff=0.1 + 0.2, trap="shared", stationary=False)
    made.steps["fit"] = Step("fit", {"recipe": recipe, "seed": 11})
    toml = tmp_path / "session.toml"
    toml.write_text(made.toml())
    experiment = read(toml)
    assert experiment.sources[0].simulator == source
    assert experiment.sources[0].seed == 4
    assert experiment.dynamics == recipe
    assert experiment.fit.seed == 11


def test_every_setting_that_ran_is_written_down_also_at_its_default(session: Session, tmp_path: Path) -> None:
    """A later version may have other defaults; the script and the experiment file say what was run."""
    script = session.script()
    call, = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)
             and ast.unparse(node.func) == "vd.track"]
    track = session.steps["track"].arguments["settings"]
    assert {word.arg: ast.literal_eval(word.value) for word in call.keywords} == {
        name: getattr(track, name) for name in vd.core.config.settings(vd.tracking.Track)}
    recipe, = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)
               and ast.unparse(node.func) == "vd.Brownian"]
    assert {word.arg for word in recipe.keywords} == set(vd.core.config.settings(vd.Brownian))
    assert vd.__version__ in script
    assert max(map(len, script.splitlines())) <= 120
    written = tomllib.loads(session.toml(tmp_path))
    assert written["dynamics"] == {"kind": "Brownian", "cutoff": "none", "knots": 24, "trap": "none",
                                   "stationary": "auto", "localisation": "learned", "structure_delay": 2,
                                   "packed": False, "labels": "given", "flow": "none"}
    assert written["track"]["memory"] == 2
    assert written["track"]["link_cost"] == track.link_cost


def test_cancelled_tracking_is_written_down_as_what_it_was() -> None:
    made = Session()
    made.open(CLIP)

    def stop(done: int, total: int, what: str) -> None:
        if done >= 20:
            raise vd.Cancelled

    tracks = made.track(vd.tracking.Track(diameter=9, memory=2), stop)
    assert tracks.n_frames == 20
    assert "stop=20" in made.script()
    again = vd.track(CLIP, made.steps["track"].arguments["settings"])
    assert equal(again, tracks)


def test_a_verb_forgets_what_hung_on_what_it_replaces(session: Session, gas: vd.Trajectories, tmp_path: Path) -> None:
    made = Session()
    made.take(gas, Step("table", {}))
    made.fit(vd.Brownian())
    made.rollout(5)
    made.fit(vd.Brownian(), seed=1)
    assert made.future is None
    assert "rollout" not in made.steps
    path = session.model.save(tmp_path / "m.vid2dyn")
    made.open(path)
    made.take(gas, Step("table", {}))
    assert made.model is not None, "a model from a file is nobody's child"
    with pytest.raises(vd.ConfigError, match="come from a layer"):
        made.toml()


def test_a_model_of_fields_is_not_let_loose_on_tracks(gas: vd.Trajectories) -> None:
    made = Session()
    made.simulate(vd.simulators.Arrhenius(kernel=(1.0,), sites=100, realisations=60), seed=3)
    made.fit(vd.GradientFlow(knots=5))
    model, step = made.model, made.steps["fit"]
    made.take(gas, Step("table", {}))
    made.model, made.steps["fit"] = model, step
    with pytest.raises(vd.ModelError, match="one of fields, and these are tracks"):
        made.rollout(5)


def test_a_result_that_nobody_wants_any_more_is_dropped(gas: vd.Trajectories) -> None:
    made = Session()
    made.take(gas, Step("table", {}))
    version = made.version
    made.drop_running()
    with pytest.raises(vd.Cancelled):
        made._unchanged(version)
    assert made.model is None


def test_errors_before_anything_is_open() -> None:
    made = Session()
    for action in (lambda: made.track(vd.tracking.Track()), lambda: made.fit(vd.Brownian()), made.rollout):
        with pytest.raises(vd.DataError, match="first"):
            action()
    with pytest.raises(vd.ConfigError, match="Nothing was opened"):
        made.script()


# -------------------------------------------------------------------- files

def test_everything_can_be_written_and_read(session: Session, tmp_path: Path) -> None:
    few = dataclasses.replace(session.tracks, dataframe=session.tracks.dataframe[session.tracks.frame < 8])
    short = Session()
    short.take(few, Step("table", {}))
    names = list(saving.choices(session))
    assert {"tracks.parquet", "tracks.csv", "tracks.xml", "model.vid2dyn", "rollout.parquet", "report.html", "film.mp4",
            "session.toml", "session.py"} == set(names)
    written = saving.write(session, tmp_path, [name for name in names if name != "film.mp4"])
    assert all(path.stat().st_size for path in written)
    assert equal(vd.load(tmp_path / "tracks.parquet"), session.tracks)
    assert saving.write(short, tmp_path, ["film.mp4"])[0].stat().st_size > 1000
    film = vd.open(tmp_path / "film.mp4")
    assert len(film) == 8
    with pytest.raises(vd.ConfigError, match="nothing to write there yet"):
        saving.write(short, tmp_path, ["model.vid2dyn"])


def test_film_shows_a_particle_where_it_is(tmp_path: Path) -> None:
    from vid2dyn_napari.film import Side

    path = np.full((6, 1, 2), 5.0)
    corner = np.array([[[0.0, 0.0]], [[10.0, 10.0]]])
    positions = np.concatenate([np.repeat(corner.transpose(1, 0, 2), 6, axis=0), path], axis=1)
    side = Side(vd.Trajectories.from_dense(positions, vd.Units(1.0, 10.0)), "data", None)
    picture = side.picture(3, 3).astype(int)
    bright = np.argwhere(np.ptp(picture, axis=2) > 60)
    middle = (np.array(picture.shape[:2]) - 1) / 2
    near = bright[np.abs(bright - middle).max(axis=1) < 25]
    assert len(near) > 10
    assert np.abs(near.mean(axis=0) - middle).max() < 2


# -------------------------------------------------------------------- curves

def test_learned_curves_carry_the_truth_of_the_simulator() -> None:
    settings = vd.simulators.Arrhenius(kernel=(1.0,), sites=200, realisations=300)
    fields = vd.simulate(settings, seed=0)
    model = vd.fit(fields, vd.GradientFlow())
    mobility, energy, curvature, diffusion = curves.learned(model, fields.info["truth"])
    assert np.allclose(diffusion.truth, mobility.truth * curvature.truth)
    exact = settings.limit(mobility.x)
    assert np.allclose(mobility.truth, exact.mobility)
    bent = np.gradient(np.gradient(energy.truth, energy.x), energy.x)
    assert np.allclose(bent[2:-2], exact.curvature[2:-2], rtol=0.02)
    for one in (mobility, curvature):
        assert np.mean((one.band[0] <= one.truth) & (one.truth <= one.band[1])) > 0.6
    assert np.abs(energy.value[len(energy.value) // 2]) < 1e-12


def test_pair_energy_of_two_particles() -> None:
    class Model:
        recipe: ClassVar[dict[str, float]] = {"cutoff": 3.0}
        pair_potential = staticmethod(lambda r: 2.0 / np.asarray(r))

    positions = np.zeros((3, 2, 2))
    positions[:, 1, 0] = [1.0, 2.0, 4.0]
    tracks = vd.Trajectories.from_dense(positions, vd.Units(1.0, 10.0))
    found = budgets.budget(tracks, Model())
    assert found is not None
    assert found.series["pair energy"][0] == pytest.approx([1.0, 0.5, 0.0])
    assert found.time == pytest.approx([0.0, 0.1, 0.2])


def test_budget_of_a_gas_comes_from_its_truth() -> None:
    gas = vd.simulate(vd.simulators.SDPD(n_particles=100, frames=4, box_length=0.6, equilibration=2), seed=0)
    found = budgets.budget(gas)
    assert found is not None
    assert np.abs(found.series["energy"][0]).max() < 1e-2
    assert found.series["momentum"][0].max() < 1e-8


def test_files_of_a_run(tmp_path: Path) -> None:
    for name in ("tracks.parquet", "model.vid2dyn"):
        (tmp_path / "one" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "one" / name).touch()
    assert [path.name for path in members(tmp_path / "one")] == ["tracks.parquet", "model.vid2dyn"]
    with pytest.raises(vd.DataError, match="holds 1 runs; name one"):
        members(tmp_path)
    with pytest.raises(vd.DataError, match="no such file"):
        members(tmp_path / "absent")


def test_view_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from vid2dyn.cli.commands import app

    absent = CliRunner().invoke(app, ["view", str(tmp_path / "absent.tif")])
    assert (absent.exit_code, "no such file" in absent.stderr) == (2, True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    blind = CliRunner().invoke(app, ["view", str(CLIP)])
    assert (blind.exit_code, "no display" in blind.stderr) == (2, True)
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setitem(sys.modules, "napari", None)       # as where it is not installed
    bare = CliRunner().invoke(app, ["view", str(CLIP)])
    assert (bare.exit_code, "vid2dyn[gui]" in bare.stderr) == (2, True)


def test_samples_are_there() -> None:
    (data, settings, kind), = samples.clip()
    assert samples.CLIP == CLIP
    assert (kind, data.shape, settings["units"]) == ("image", (210, 192, 192), ("s", "um", "um"))


# -------------------------------------------------------------------- truth

@pytest.mark.parametrize(("coefficients", "law"), [("constant", "transport"), ("radial", "radial")])
def test_true_friction_is_what_a_model_calls_it(coefficients: str, law: str) -> None:
    """A model with the simulator's viscosities and Lucy's shape has the same A² and B²; 1 % would show."""
    import torch

    from vid2dyn.dynamics.fluid.sdpd import Fluid
    from vid2dyn_napari.truth import true_radial

    gas = vd.simulators.SDPD(dim=3, coefficients=coefficients)
    r = np.linspace(0.1, 0.9, 7) * gas.cutoff
    info = vd.core.config.recipe(gas)
    for name, other in (("shear", "radial"), ("bulk", "transport")):
        assert true_radial(info, name, {"transport": "radial", "radial": "transport"}[law], r) is None, other
    fluid = Fluid.ideal_gas(cutoff=gas.cutoff, mass=gas.mass, heat_capacity=gas.heat_capacity, molecules=gas.atoms,
                            dim=3, shear_viscosity=gas.shear_viscosity, bulk_viscosity=gas.bulk_viscosity,
                            conductivity=gas.conductivity)
    for name in ("shear", "bulk"):
        model = getattr(fluid, name).value(torch.as_tensor(r)).numpy()
        true = true_radial(info, name, law, r)
        if law == "transport":
            assert np.allclose(true, model, rtol=1e-6)
        else:                                             # the same shape, at one temperature and density
            assert np.ptp(true / model) < 1e-6 * (true / model)[0]


def test_model_of_another_package_is_shown_by_what_it_lists() -> None:
    from vid2dyn.model.base import LearnedFunction, LearnedFunctions, LearnedNumber
    from vid2dyn_napari import curves
    from vid2dyn_napari.sections.learned import numbers

    class Pull(vd.Model):
        """A force that grows with height."""

        def pull(self, height: np.ndarray) -> np.ndarray:
            return 2.0 * height

        def band(self, name: str, x: Any = None, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
            return self.pull(x) - 0.1, self.pull(x) + 0.1

        def rollout(self, data: Any, *, steps: int = 1000, seed: int = 0, progress: Any = None) -> Any:
            return data

        def numbers(self) -> tuple[LearnedNumber, ...]:
            return (LearnedNumber("slope", 2.0, 1.9, 2.1, "kT/µm²"),)

        def functions(self) -> LearnedFunctions:
            x = np.linspace(0.0, 1.0, 5)
            one = LearnedFunction("pull", x, (x,), (0.2, 0.8), "height (µm)", "F (kT/µm)", "The pull.")
            return LearnedFunctions("Pull", "It grows.", (one,))

    model = Pull({}, {"kind": "Pull"})
    (shown,) = curves.learned(model, {})
    assert (shown.title, shown.x_label, shown.support) == ("pull", "height (µm)", (0.2, 0.8))
    assert np.allclose(shown.band[1] - shown.value, 0.1)
    assert "slope" in numbers(model, {})
    assert "1.9 – 2.1" in numbers(model, {})


def test_a_picture_of_densities_begins_where_the_ring_begins() -> None:
    """napari puts the centre of a pixel at its place: cells of a ring of length 1 lie at (k + 1/2)/cells, times from 0
    on, and a second ring begins at its offset."""
    fields = vd.Fields(np.arange(2 * 5 * 8, dtype=float).reshape(2, 5, 8), np.linspace(0, 0.2, 5))
    for offset in (0.0, 1.5):
        mean, options, kind = layers.fields_layer(fields, offset=offset)
        assert kind == "image"
        assert mean.shape == (1, 5, 8)
        scale, move = options["scale"], options["translate"]
        centres = move[2] + scale[2] * np.arange(8)
        np.testing.assert_allclose(centres, offset + (np.arange(8) + 0.5) / 8, rtol=1e-12)
        np.testing.assert_allclose([move[1] - 0.5 * scale[1], move[1] + 4.5 * scale[1]], [0.0, 1.25], atol=1e-12)
