"""The whole pipeline on a few movies: resumable, and the same bytes however the work is cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.progress import Cancelled
from vid2dyn.runs import movies as batch

FILES = ["comparison.json", "diffusion.json", "manifest.json", "model.vid2dyn", "report.html", "rollout.parquet",
         "tracks.parquet"]
SIMULATE = """
[simulate]
kind = "Brownian"
n_particles = 60
frames = 60
box_length = 12.0
exposure = 0.01
localisation_error = 0.02
[simulate.pair]
kind = "Yukawa"
[dynamics]
cutoff = 3.0
[rollout]
steps = 20
"""
MOVIES = """
[video]
path = "*.tif"
frames_per_second = 100
micrometre_per_pixel = 0.1
[track]
diameter = 11
search_range = 5
[dynamics]
cutoff = 3.0
[rollout]
steps = 20
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, batch.Outcome]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "experiment.toml").write_text(SIMULATE)
    return folder, vd.run(folder / "experiment.toml")[0]


def test_every_stage_leaves_its_file(finished: tuple[Path, batch.Outcome]) -> None:
    folder, outcome = finished
    assert not outcome.error
    assert outcome.folder == folder / "runs" / "experiment" / "Brownian"
    assert sorted(p.name for p in outcome.folder.iterdir()) == FILES
    assert outcome.report == outcome.folder / "report.html"
    summary = (folder / "runs" / "experiment" / "summary.csv").read_text().splitlines()
    assert summary[0].startswith("movie,D [µm²/s],D_stderr [µm²/s],model D [µm²/s],model D_stderr [µm²/s],")
    row = dict(zip(summary[0].split(","), summary[1].split(","), strict=False))
    assert row["movie"] == "Brownian"
    assert 0.2 < float(row["D [µm²/s]"]) < 0.8
    assert 0.2 < float(row["model D [µm²/s]"]) < 0.8


def test_outputs_are_what_the_verbs_give(finished: tuple[Path, batch.Outcome]) -> None:
    folder = finished[1].folder
    tracks, model = vd.load(folder / "tracks.parquet"), vd.load(folder / "model.vid2dyn")
    assert np.isclose(json.loads((folder / "diffusion.json").read_text())["D"], vd.diffusion(tracks).D)
    assert np.isclose(model.diffusion(), vd.fit(tracks, vd.Brownian(cutoff=3.0), seed=0).diffusion())
    assert vd.load(folder / "rollout.parquet").n_frames == 20


def test_repeating_does_nothing_again(finished: tuple[Path, batch.Outcome]) -> None:
    folder, outcome = finished
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in outcome.folder.iterdir()}
    again = vd.run(folder / "experiment.toml")[0]
    assert len(again.skipped) == 6
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in outcome.folder.iterdir()} == before


def test_changed_setting_repeats_only_what_depends_on_it(finished: tuple[Path, batch.Outcome],
                                                         tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished[0], tmp_path / "copy")
    toml = tmp_path / "copy" / "experiment.toml"
    toml.write_text(SIMULATE.replace("steps = 20", "steps = 10"))
    assert list(vd.run(toml)[0].skipped) == ["tracks", "diffusion", "model"]


def test_cancelled_run_goes_on_to_the_same_bytes(finished: tuple[Path, batch.Outcome], tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text(SIMULATE)

    def stop_in_the_fit(done: int, total: int, what: str) -> None:
        if (tmp_path / "out" / "Brownian" / "diffusion.json").exists():
            raise Cancelled

    with pytest.raises(Cancelled):
        vd.run(tmp_path / "experiment.toml", out=tmp_path / "out", progress=stop_in_the_fit)
    names = sorted(p.name for p in (tmp_path / "out" / "Brownian").iterdir())
    assert names == ["diffusion.json", "manifest.json", "model.checkpoint", "tracks.parquet"]
    outcome = vd.run(tmp_path / "experiment.toml", out=tmp_path / "out")[0]
    assert outcome.skipped == ("tracks", "diffusion")
    for name in FILES:
        assert (outcome.folder / name).read_bytes() == (finished[1].folder / name).read_bytes(), name


def movies(folder: Path) -> Path:
    folder.mkdir()
    simulator = vd.simulators.Brownian(n_particles=60, frames=40, exposure=0.01, box_length=14.0,
                                       pair=vd.simulators.Yukawa(diameter=1.3))
    for seed, name in enumerate(("one.tif", "two.tif")):
        vd.render(simulator, vd.simulators.Renderer(height=120, width=120), seed, to=folder / name)
    (folder / "experiment.toml").write_text(MOVIES)
    return folder / "experiment.toml"


@pytest.mark.case
def test_same_bytes_from_one_worker_two_workers_and_after_a_kill(tmp_path: Path) -> None:
    toml = movies(tmp_path / "movies")
    one = vd.run(toml, workers=1, out=tmp_path / "one")
    vd.run(toml, workers=2, out=tmp_path / "two")
    command = [sys.executable, "-c", f"import vid2dyn as vd; vd.run({str(toml)!r}, out={str(tmp_path / 'killed')!r})"]
    with subprocess.Popen(command) as process:
        for _ in range(600):
            if (tmp_path / "killed" / "one" / "tracks.parquet").exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "killed" / "summary.csv").exists(), "killed too late to show anything"
    vd.run(toml, workers=1, out=tmp_path / "killed")
    assert [o.error for o in one] == ["", ""]
    for name in ("one", "two"):
        for file in FILES:
            wanted = (tmp_path / "one" / name / file).read_bytes()
            assert (tmp_path / "two" / name / file).read_bytes() == wanted, (name, file)
            assert (tmp_path / "killed" / name / file).read_bytes() == wanted, (name, file)


def test_movies_of_the_same_name_do_not_overwrite_each_other() -> None:
    from vid2dyn.runs.experiment import Source

    names = list(batch._folder_names(tuple(Source(Path(p)) for p in ("a/clip.tif", "b/clip.tif", "b/other.tif"))))
    assert names == ["clip_1", "clip_2", "other"]


LATTICE = """
[simulate]
kind = "Arrhenius"
kernel = [1.0]
sites = 100
realisations = 100
seed = 2
[dynamics]
knots = 6
[rollout]
steps = 4
dt = 0.003
"""


def test_lattice_from_simulation_to_page(tmp_path: Path) -> None:
    """The same bytes as the verbs give; stopped in the fit it goes on to them, and nothing is done twice."""
    toml = tmp_path / "lattice.toml"
    toml.write_text(LATTICE)
    rounds: list[int] = []

    def stop_in_the_fit(done: int, total: int, what: str) -> None:
        if what == "fit":
            rounds.append(done)
            if done == 3:
                raise Cancelled

    with pytest.raises(Cancelled):
        vd.run(toml, progress=stop_in_the_fit)
    assert (tmp_path / "runs" / "lattice" / "Arrhenius" / "model.checkpoint").is_file()
    rounds.clear()
    outcome, = vd.run(toml, progress=lambda done, total, what: rounds.append(done) if what == "fit" else None)
    assert rounds[0] == 3, "on, not anew"
    assert sorted(p.name for p in outcome.folder.iterdir()) == [
        "fields.fields", "manifest.json", "model.vid2dyn", "report.html", "rollout.fields"]
    fields = vd.simulate(vd.simulators.Arrhenius(kernel=(1.0,), sites=100, realisations=100), seed=2)
    model = vd.fit(fields, vd.GradientFlow(knots=6))
    future = model.rollout(fields, steps=4, dt=0.003, seed=1)
    for name, thing in (("fields.fields", fields), ("model.vid2dyn", model), ("rollout.fields", future)):
        assert thing.save(tmp_path / name).read_bytes() == (outcome.folder / name).read_bytes(), name
    assert "free energy" in (outcome.folder / "report.html").read_text()
    assert vd.run(toml)[0].skipped == ("fields", "model", "rollout", "report")
    toml.write_text('[fields]\npath = "fields.fields"\n[dynamics]\nknots = 6\n[rollout]\nsteps = 4\ndt = 0.003\n')
    again, = vd.run(toml, out=tmp_path / "again")
    assert (again.folder / "rollout.fields").read_bytes() == (outcome.folder / "rollout.fields").read_bytes()


def test_structure_from_the_images_sets_the_mobility(tmp_path: Path) -> None:
    """[encode] is vd.encode between tracking and fit; an encoder trained before gives the same columns."""
    sim = vd.simulators.HiddenState(n_particles=20, frames=40, box_length=12.0)
    vd.render(sim, vd.simulators.Renderer(height=96, width=96, state_width=1.4), seed=0, to=tmp_path / "clip.tif")
    text = """
[video]
path = "clip.tif"
[track]
diameter = 9
search_range = 5
[encode]
size = 15
columns = 2
steps = 5
seed = 3
[dynamics]
structure = "latent"
[rollout]
steps = 5
"""
    toml = tmp_path / "a.toml"
    toml.write_text(text)
    outcome, = vd.run(toml)
    assert not outcome.error, outcome.error
    tracks, video = vd.load(outcome.folder / "tracks.parquet"), vd.open(tmp_path / "clip.tif")
    recipe = vd.PatchEncoder(size=15, columns=2, steps=5)
    encoder = recipe.train(video, tracks, 3)
    encoder.save(tmp_path / "one.encoder")
    encoded = vd.load(outcome.folder / "encoded.parquet")
    direct = vd.encode(video, tracks, recipe, seed=3)
    assert np.array_equal(encoded.dataframe["latent_0"], direct.dataframe["latent_0"])
    model = vd.load(outcome.folder / "model.vid2dyn")
    assert model.recipe["structure"] in ("latent_0", "latent_1")
    assert not list(outcome.folder.glob("*.checkpoint"))
    trained = text.replace("size = 15\ncolumns = 2\nsteps = 5\nseed = 3", 'path = "one.encoder"')
    toml.write_text(trained)
    other, = vd.run(toml, out=tmp_path / "other")
    assert not other.error, other.error
    assert np.array_equal(vd.load(other.folder / "encoded.parquet").dataframe["latent_0"], direct.dataframe["latent_0"])


def test_list_of_terms_from_simulation_to_page(tmp_path: Path) -> None:
    """Energies and frictions as tables of their own; the recipe, the model and the page have each of them."""
    (tmp_path / "experiment.toml").write_text("""
[simulate]
kind = "DPD"
n_particles = 40
frames = 40
box_length = 2.3
[dynamics]
kind = "Metriplectic"
entropy = false
select = false
window_frames = 2
[[dynamics.energy]]
kind = "PairPotential"
cutoff = 1.0
knots = 8
[[dynamics.energy]]
kind = "DensityEnergy"
cutoff = 1.1
knots = 5
[[dynamics.friction]]
kind = "PairFriction"
cutoff = 1.0
[rollout]
steps = 20
""")
    outcome, = vd.run(tmp_path / "experiment.toml")
    assert not outcome.error
    assert sorted(p.name for p in outcome.folder.iterdir()) == FILES
    model = vd.load(outcome.folder / "model.vid2dyn")
    assert [term.title() for term in model.terms] == ["PairPotential", "DensityEnergy", "PairFriction"]
    assert model.terms[0].knots == 8
    assert model.rollout(vd.load(outcome.folder / "tracks.parquet"), steps=20, seed=1).dataframe.equals(
        vd.load(outcome.folder / "rollout.parquet").dataframe)
    page = (outcome.folder / "report.html").read_text()
    for words in ("Temperature kT", "What the terms have learned", "Pair potential", "Pair friction along"):
        assert words in page, words
    again, = vd.run(tmp_path / "experiment.toml")
    assert {"model", "rollout", "report"} <= set(again.skipped)
