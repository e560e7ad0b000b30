"""Experiment files: every key a constructor argument, everything checked before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, UnitsError
from vid2dyn.runs.experiment import read

GOOD = """
[video]
path = "movies/*.tif"
frames_per_second = 50
[track]
diameter = 13
[dynamics]
kind = "Brownian"
cutoff = 2.5
[rollout]
steps = 20
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "movies").mkdir()
    for name in ("b.tif", "a.tif"):
        tifffile.imwrite(tmp_path / "movies" / name, np.zeros((2, 16, 16), np.uint8))
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text)
    return path


def test_reads_every_table(folder: Path) -> None:
    experiment = read(write(folder, GOOD))
    assert [s.path.name for s in experiment.sources if s.path] == ["a.tif", "b.tif"]
    assert experiment.sources[0].calibration == {"frames_per_second": 50}
    assert experiment.track.diameter == 13
    assert experiment.dynamics.cutoff == 2.5
    assert (experiment.rollout.steps, experiment.rollout.seed, experiment.fit.seed) == (20, 1, 0)


def test_simulation_with_nested_part(folder: Path) -> None:
    experiment = read(write(folder, '[simulate]\nkind = "Brownian"\nn_particles = 9\nseed = 4\n'
                                    '[simulate.pair]\nkind = "Yukawa"\namplitude = 3\n'))
    assert experiment.sources[0].seed == 4
    assert experiment.sources[0].simulator.n_particles == 9
    assert experiment.sources[0].simulator.pair.amplitude == 3.0


@pytest.mark.parametrize(("old", "new", "message"), [
    ("diameter", "diametre", r"\[track\]: unknown key 'diametre'. Did you mean 'diameter'"),
    ("[track]", "[trakc]", r"unknown table \[trakc\]. Did you mean 'track'"),
    ("cutoff", "cutof", r"\[dynamics\]: unknown key 'cutof'. Did you mean 'cutoff'"),
    ("frames_per_second", "frame_per_second", r"\[video\]: unknown key .* Did you mean 'frames_per_second'"),
    ("steps = 20", "step = 20", r"\[rollout\]: unknown key 'step'. Did you mean 'steps'"),
    ("steps = 20", "steps = 'many'", r"\[rollout\]: steps = 'many' does not fit"),
    ("steps = 20", "steps = 1", r"\[rollout\].*at least 2"),
    ("diameter = 13", "diameter = 12", r"\[track\].*odd"),
    ('"Brownian"', '"Browning"', r"Did you mean 'Brownian'"),
    ("movies/*.tif", "movies/*.avi", r"nothing matches path = 'movies/\*.avi'"),
    ("movies/*.tif", "movies/c.tif", r"path = 'movies/c.tif': no such file"),
    ("[track]", "[simulate]\nkind = 'Brownian'\n[track]", r"not both"),
    ("[video]", "[video", r"not valid TOML: .*line 2"),
    ("path", "paht", r"path = \"clip.avi\""),
    ("[track]", "track = 3\n[tracks]", r"unknown"),
])
def test_mistake_is_named_with_its_place_and_cure(folder: Path, old: str, new: str, message: str) -> None:
    path = write(folder, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


TERMS = """
[simulate]
kind = "DPD"
[dynamics]
kind = "Metriplectic"
entropy = false
[[dynamics.energy]]
kind = "PairPotential"
cutoff = 1.0
[[dynamics.energy]]
kind = "HarmonicTrap"
[[dynamics.friction]]
kind = "PairFriction"
cutoff = 1
"""


def test_terms_are_a_table_each(folder: Path) -> None:
    dynamics = read(write(folder, TERMS)).dynamics
    assert dynamics == vd.Metriplectic(energy=[vd.terms.PairPotential(1.0), vd.terms.HarmonicTrap()], entropy=False,
                                       friction=[vd.terms.PairFriction(1.0)])


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"PairPotential"', '"PairPotental"',
     r"\[dynamics\]\.energy\[0\]: unknown kind 'PairPotental'. Did you mean 'PairPotential'"),
    ('"HarmonicTrap"', '"PairFriction"', r"\.energy\[1\]: unknown kind 'PairFriction'.*Known: .*PairPotential"),
    ('kind = "HarmonicTrap"', "centre = [0.0]", r"\.energy\[1\]: say which with kind = one of"),
    ("cutoff = 1.0", "cutof = 1.0", r"\.energy\[0\]: unknown key 'cutof'. Did you mean 'cutoff'"),
    ("cutoff = 1.0", "", r"\.energy\[0\]: PairPotential needs 'cutoff'"),
    ("cutoff = 1\n", "cutoff = -1\n", r"\.friction\[0\]: PairFriction: cutoff = -1.0 must be"),
    ('"PairPotential"', '"EquationOfState"', r"EquationOfState belongs to particles with heat"),
    ("entropy = false", "entropy = false\ncutoff = 2.0", r"cutoff belongs to the short form.*Leave it out"),
    ('[[dynamics.friction]]\nkind = "PairFriction"\ncutoff = 1\n', "", r"friction is empty"),
])
def test_mistake_in_terms(folder: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(folder, TERMS.replace(old, new, 1)))


LATTICE = """
[simulate]
kind = "Arrhenius"
[dynamics]
kind = "GradientFlow"
knots = 7
[rollout]
noise = true
"""


def test_lattice(folder: Path) -> None:
    experiment = read(write(folder, LATTICE))
    assert experiment.sources[0].of_fields
    assert (experiment.dynamics.knots, experiment.rollout.noise, experiment.rollout.dt) == (7, True, None)
    assert read(write(folder, '[simulate]\nkind = "ZeroRange"\n')).dynamics.learns_from == "fields"


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"GradientFlow"', '"Brownian"', r'Brownian learns from trajectories.*choose kind = "GradientFlow"'),
    ('"Arrhenius"', '"SDPD"', r'GradientFlow learns from fields, .*"Brownian" or "Metriplectic"'),
    ("noise = true", "nois = true", r"\[rollout\]: unknown key 'nois'. Did you mean 'noise'"),
    ("noise = true", "dt = -1.0", r"\[rollout\].*dt = -1: give a positive time"),
    ("noise = true", "steps = 0", r"\[rollout\].*at least one state"),
    ("[dynamics]", "[track]\n[dynamics]", r"\[track\]: \[simulate\] gives fields, there is nothing to track"),
    ("[dynamics]", "[encode]\n[dynamics]", r"\[encode\]: \[simulate\] gives fields, there are no images"),
    ("[dynamics]", "[fields]\npath = 'a.fields'\n[dynamics]", r"not both"),
    ("[simulate]\nkind = \"Arrhenius\"", "[fields]\npath = 'movies/a.tif'", r"\.fields files"),
    ("[simulate]\nkind = \"Arrhenius\"", "[fields]\npaht = 'a'", r"unknown key 'paht'. Did you mean 'path'"),
])
def test_mistake_in_a_lattice_experiment(folder: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(folder, LATTICE.replace(old, new, 1)))


@pytest.mark.parametrize(("table", "message"), [
    ("[encode]\nsise = 15", r"\[encode\]: unknown key 'sise'. Did you mean 'size'"),
    ("[encode]\nsize = 16", r"\[encode\].*odd number"),
    ("[encode]\npath = 'no.encoder'", r"\[encode\]: path = 'no.encoder': no such file"),
    ("[encode]\npath = 'no.encoder'\nsize = 15", r"trained already; size cannot be changed"),
    ("[encode]\nseed = 'x'", r"\[encode\]: seed = 'x'"),
])
def test_mistake_in_encode(folder: Path, table: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(write(folder, f"{GOOD}\n{table}\n"))


def test_impossible_calibration_is_refused_before_any_work(folder: Path) -> None:
    with pytest.raises(UnitsError, match=r"\[video\].*exposure = 1 s is longer than one frame"):
        read(write(folder, GOOD.replace("frames_per_second = 50", "frames_per_second = 50\nexposure = 1")))


def test_neither_video_nor_simulation(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"give either \[video\].*or \[simulate\]"):
        read(write(folder, "[fit]\nseed = 1\n"))


def test_pattern_of_still_images_is_one_movie(folder: Path) -> None:
    for i in range(3):
        tifffile.imwrite(folder / "movies" / f"{i}.png", np.zeros((4, 4), np.uint8))
    experiment = read(write(folder, GOOD.replace("*.tif", "*.png")))
    assert len(experiment.sources) == 1
    assert experiment.sources[0].name == "movies"
    assert len(experiment.sources[0].key()["files"]) == 3


def test_a_pattern_for_all_files_leaves_out_those_of_the_system(folder: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.tif"):
        (folder / "movies" / name).write_bytes(b"x")
    kinds = [read(write(folder, GOOD.replace("*.tif", ending))).sources for ending in ("*.tif", "*")]
    assert [source.name for source in kinds[0]] == [source.name for source in kinds[1]]


def test_a_pattern_may_be_absolute(tmp_path):
    """pathlib has no absolute patterns; a settings file may, and need not lie beside the movies."""
    movies, place = tmp_path / "movies", tmp_path / "elsewhere"
    place.mkdir()
    for k in range(2):
        (movies / f"day{k}").mkdir(parents=True)
        (movies / f"day{k}" / f"{k}.avi").write_bytes(b"x")
    toml = place / "a.toml"
    toml.write_text(f'[video]\npath = "{(movies / "*" / "*.avi").as_posix()}"\n')
    assert [source.path.name for source in read(toml).sources] == ["0.avi", "1.avi"]
    toml.write_text(f'[video]\npath = "{(movies / "*.mov").as_posix()}"\n')
    with pytest.raises(ConfigError, match="nothing matches"):
        read(toml)
