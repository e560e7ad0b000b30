"""A package outside vid2dyn brings one part of every kind, each in one file, and they work wherever parts do.

The package is the folder tests/outside_package. It is installed as pip does it, files and metadata into a folder that
Python looks into; without pip, so that neither network nor build tools are needed.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app
from vid2dyn.core.errors import ConfigError, ModelError
from vid2dyn.core.registry import FAMILIES, part, parts
from vid2dyn.simulators import Brownian
from vid2dyn.testing import DynamicsContract, ReaderContract, SimulatorContract, TermContract

SOURCE = Path(__file__).parent / "outside_package"
CLIP = Path(__file__).resolve().parents[1] / "sample_data" / "clip.tif"
BROUGHT = {"simulators": "Settling", "readers": "GreyDump", "dynamics": "DriftDiffusion", "potentials": "Ramp",
           "sections": "NetMotion", "energies": "GaussianPair", "frictions": "SoftFriction"}


def install(target: Path) -> None:
    """The files of the package and its metadata (name, version, entry points) below `target`."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    shutil.copytree(SOURCE / "driftlab", target / "driftlab", ignore=shutil.ignore_patterns("__pycache__"))
    about = target / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [line for group, entries in project["entry-points"].items()
             for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, installed for this process and for those it starts."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
        yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "driftlab"]:
        del sys.modules[name]
    for name in BROUGHT.values():
        vars(vd.simulators).pop(name, None)
        vars(vd.terms).pop(name, None)


pytestmark = pytest.mark.usefixtures("installed")


def settling(**changes: Any) -> Any:
    return part("simulators", "Settling")(**changes)


def command(*words: str) -> str:
    """What ``vid2dyn words`` prints."""
    done = CliRunner().invoke(app, [*words, "--quiet"] if words[0] != "list" else list(words))
    assert done.exit_code == 0, done.output + done.stderr
    return done.output


class TestSettling(SimulatorContract):
    def part(self) -> Any:
        return settling(n_particles=8, frames=12)


class TestGreyDump(ReaderContract):
    suffix = ".grey"

    def write(self, path: Path) -> np.ndarray:
        return dump(path, np.random.default_rng(0).integers(0, 256, (5, 12, 16)).astype(np.uint8))


class TestDriftDiffusion(DynamicsContract):
    def part(self) -> Any:
        return part("dynamics", "DriftDiffusion")()

    def data(self) -> vd.Trajectories:
        return vd.simulate(settling(n_particles=20, frames=40), seed=0)


class TestGaussianPair(TermContract):
    def part(self) -> Any:
        return vd.terms.GaussianPair(cutoff=1.6)


class TestSoftFriction(TermContract):
    def part(self) -> Any:
        return vd.terms.SoftFriction(cutoff=1.4)


def dump(path: Path, frames: np.ndarray) -> np.ndarray:
    path.write_bytes(b"GREY" + np.asarray(frames.shape, "<u4").tobytes() + frames.tobytes())
    return frames


def test_every_family_has_its_part() -> None:
    for family, name in BROUGHT.items():
        assert part(family, name).__module__.startswith("driftlab."), f"{family}: {name}"
    assert set(BROUGHT) == set(FAMILIES), "a family without an example in tests/outside_package"
    assert vd.simulators.Settling is part("simulators", "Settling")


def test_numbers_are_right_within_their_errors() -> None:
    """D and v of 200 particles over 200 steps lie within 5 standard errors (false alarm 2e-6 in all), of which 5 are
    less than 3 % of D: an error of 6 % would be found."""
    truth = settling(n_particles=200, frames=201, drift=(2.0, -1.0))
    tracks = vd.simulate(truth, seed=4)
    model = vd.fit(tracks, part("dynamics", "DriftDiffusion")())
    D, error = model.arrays["diffusion"]
    assert abs(D - truth.diffusion) < 5 * error < 0.03 * truth.diffusion
    v, error = model.arrays["drift"]
    assert (np.abs(v - truth.drift) < 5 * error).all()
    held = model.report["held_out"]
    assert held["gain_per_step"] > 5 * held["gain_per_step_stderr"], "drift predicts"
    rolled = vd.fit(model.rollout(tracks, steps=201, seed=1), part("dynamics", "DriftDiffusion")())
    assert abs(rolled.diffusion() / model.diffusion() - 1) < 5 * 2**0.5 * model.arrays["diffusion"][1] / D


def test_lists_show_parts_and_settings() -> None:
    everything = command("list")
    for family, name in BROUGHT.items():
        assert name in everything
        assert name in command("list", family)
    assert "held_out (float, 0.25)" in command("list", "dynamics")
    assert "Number of particles" in command("list", "simulators")


def test_report_shows_numbers_functions_and_the_new_section(tmp_path: Path) -> None:
    tracks = vd.simulate(settling(), seed=0)
    model = vd.fit(tracks, part("dynamics", "DriftDiffusion")())
    page = vd.report(tmp_path / "page.html", tracks=tracks, model=model,
                     rollout=model.rollout(tracks, steps=100, seed=1)).read_text()
    for words in ("Diffusion coefficient, model", "truth 0.4 µm²/s", "Drift along y", "How far the particles get",
                  'id="net-motion"', "held-out log-likelihood per particle and step", "Whitened residuals"):
        assert words in page, words
    assert page.index('id="motion"') < page.index('id="net-motion"') < page.index('id="interactions"')


def test_command_line_from_simulation_to_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("simulate", "Settling", "--set", "frames=60", "--set", "drift=[1.0, 0.0]", "--out", "t.parquet")
    printed = command("fit", "t.parquet", "--dynamics", "DriftDiffusion", "--set", "held_out=0.3", "--out", "m.vid2dyn")
    assert "DriftDiffusionModel" in printed
    command("rollout", "m.vid2dyn", "t.parquet", "--steps", "20", "--out", "r.parquet")
    command("report", "t.parquet", "--model", "m.vid2dyn", "--rollout", "r.parquet", "--out", "p.html")
    assert "Net motion" in (tmp_path / "p.html").read_text()
    assert type(vd.load("m.vid2dyn")) is importlib.import_module("driftlab.drift_diffusion").DriftDiffusionModel


def test_nested_part_of_a_settings_table() -> None:
    table = {"n_particles": 9, "frames": 4, "box_length": 9.0, "pair": {"kind": "Ramp", "height": 3}}
    ramp = vd.core.config.build(Brownian, table, "[simulate]").pair
    assert type(ramp) is part("potentials", "Ramp")
    r = np.linspace(0.5, 1.5, 11)
    assert np.allclose(ramp.force(r), -np.gradient(ramp.energy(r), r, edge_order=2), atol=1e-9)


def test_experiment_file_of_a_simulation(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('[simulate]\nkind = "Settling"\nframes = 50\nseed = 3\n'
                                     '[dynamics]\nkind = "DriftDiffusion"\n[rollout]\nsteps = 20\n')
    outcome, = vd.run(tmp_path / "e.toml")
    assert not outcome.error
    assert vd.load(outcome.folder / "model.vid2dyn").recipe == {"kind": "DriftDiffusion", "held_out": 0.25}
    assert "Net motion" in outcome.report.read_text()
    again, = vd.run(tmp_path / "e.toml")
    assert "report" in again.skipped
    (tmp_path / "bad.toml").write_text((tmp_path / "e.toml").read_text().replace('"DriftDiffusion"', '"DriftDifusion"'))
    with pytest.raises(ConfigError, match="Did you mean 'DriftDiffusion'"):
        vd.run(tmp_path / "bad.toml")


PAIRS = ('[simulate]\nkind = "DPD"\ndim = 2\nn_particles = 80\nbox_length = 5.0\nframes = 80\nequilibration = 80\n'
         'frames_per_second = 100\n[dynamics]\nkind = "Metriplectic"\nentropy = false\nselect = false\n'
         'window_frames = 2\n[[dynamics.energy]]\nkind = "GaussianPair"\ncutoff = 1.1\nwidth = 0.4\n'
         '[[dynamics.energy]]\nkind = "HarmonicTrap"\n[[dynamics.friction]]\nkind = "SoftFriction"\ncutoff = 1.0\n'
         '[rollout]\nsteps = 5\n')


def test_terms_from_settings_to_page(tmp_path: Path) -> None:
    """An energy and a friction of another package, beside one of vid2dyn: fitted, saved, rolled out, drawn."""
    (tmp_path / "e.toml").write_text(PAIRS)
    outcome, = vd.run(tmp_path / "e.toml")
    assert not outcome.error
    model = vd.load(outcome.folder / "model.vid2dyn")
    assert [type(term).__name__ for term in model.terms] == ["GaussianPair", "HarmonicTrap", "SoftFriction"]
    low, high = model.band("gaussian_height")
    assert 0 < low < model.gaussian_height() < high
    assert model.soft_friction(0.5) > 0
    page = outcome.report.read_text()
    for words in ("Height of the Gaussian", "Gaussian pair energy", "Soft friction", "SoftFriction", "Trap stiffness"):
        assert words in page, words
    (tmp_path / "bad.toml").write_text(PAIRS.replace('"GaussianPair"', '"GausianPair"'))
    with pytest.raises(ConfigError, match="Did you mean 'GaussianPair'"):
        vd.run(tmp_path / "bad.toml")


def test_experiment_file_of_two_movies_in_processes(tmp_path: Path) -> None:
    """Recordings that only the new reader opens, tracked and fitted by processes of their own."""
    frames = tifffile.imread(CLIP)[:24]
    grey = np.clip(frames // max(int(frames.max()) // 255, 1), 0, 255).astype(np.uint8)
    for name in ("a", "b"):
        dump(tmp_path / f"{name}.grey", grey)
    (tmp_path / "e.toml").write_text(
        '[video]\npath = "*.grey"\nframes_per_second = 80\nmicrometre_per_pixel = 0.13\nupside_down = true\n'
        '[track]\ndiameter = 9\nsearch_range = 5\n[dynamics]\nkind = "DriftDiffusion"\n[rollout]\nsteps = 10\n')
    outcomes = vd.run(tmp_path / "e.toml", workers=2)
    assert [outcome.error for outcome in outcomes] == ["", ""]
    assert all(vd.load(outcome.folder / "model.vid2dyn").kind == "DriftDiffusion" for outcome in outcomes)


def test_new_process_lists_the_parts(installed: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "from vid2dyn.cli import main; main()", "list", "dynamics"],
                          capture_output=True, text=True, timeout=120, check=True)
    assert "DriftDiffusion" in done.stdout


def test_model_whose_package_is_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Path) -> None:
    model = vd.fit(vd.simulate(settling(), seed=0), part("dynamics", "DriftDiffusion")())
    model.save(tmp_path / "m.vid2dyn")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(installed)])
    with pytest.raises(ModelError, match=r"kind 'DriftDiffusion'.*install the package that brings this dynamics"):
        vd.load(tmp_path / "m.vid2dyn")


def test_package_that_cannot_be_imported_is_left_out_with_a_warning(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "broken-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[vid2dyn.readers]\nBroken = broken_package:Broken\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="Broken of broken_package:Broken .* cannot be imported"):
        assert "GreyDump" in parts("readers")


# ------------------------------------------------------------------ one file in a room of vid2dyn


@pytest.mark.parametrize(("family", "file"), [
    ("simulators", "settling"), ("readers", "grey_dump"), ("dynamics", "drift_diffusion"), ("potentials", "ramp"),
    ("sections", "net_motion"), ("energies", "gaussian_pair"), ("frictions", "soft_friction")])
def test_file_in_the_room_is_enough(tmp_path: Path, family: str, file: str) -> None:
    """The same file, laid into the room of its family (a folder that the room also looks into), and no other."""
    name = BROUGHT[family]
    room = importlib.import_module(FAMILIES[family].room)
    shutil.copy(SOURCE / "driftlab" / f"{file}.py", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
        try:
            found = part(family, name)
            assert found.__module__ == f"{room.__name__}.{file}"
            if family == "simulators":
                assert vd.simulate(found(n_particles=3, frames=4), seed=0).n_frames == 4
            if family == "readers":
                dump(tmp_path / "clip.grey", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
                assert np.array_equal(vd.open(tmp_path / "clip.grey", upside_down=True)[0],
                                      np.arange(12, dtype=np.uint8).reshape(3, 4)[::-1])
            if family == "dynamics":
                model = vd.fit(vd.simulate(settling(), seed=0), found())
                assert type(vd.load(model.save(tmp_path / "m.vid2dyn"))) is type(model)
                assert type(model).__module__ == found.__module__
            if family == "sections":
                page = vd.report(tmp_path / "p.html", tracks=vd.simulate(settling(), seed=0)).read_text()
                assert 'id="net-motion"' in page
            if family in ("energies", "frictions"):
                assert found().reach == 1.5
            assert command("list", family).count(f"\n  {name} ") == 1
        finally:
            sys.modules.pop(f"{room.__name__}.{file}", None)
            vars(room).pop(file, None)
