"""What the README prints, we run."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app
from vid2dyn.core.config import build
from vid2dyn.runs.experiment import read
from vid2dyn.simulators import Brownian

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def block_with(words: str) -> str:
    """The Python example that holds these words."""
    return next(block for block in blocks("python") if words in block)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that looks like the repository to a reader of the README."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    return folder


def test_python_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], "README.md", "exec"), names)
    assert "D = " in capsys.readouterr().out
    assert {p.name for p in folder.iterdir()} >= {"tracks.parquet", "model.vid2dyn", "report.html"}


def test_lattice_example_runs_and_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"vd": vd, "np": np}
    exec(compile(block_with("GradientFlow()"), "README.md", "exec"), names)
    flow, rho = names["flow"], names["rho"]
    exact = vd.simulators.Arrhenius(kernel=(1.0,)).limit(rho).mobility
    assert np.linalg.norm(flow.mobility(rho) / exact - 1) / len(rho) ** 0.5 < 0.1     # type: ignore[attr-defined]


def test_structural_variables_of_the_example_predict_the_motion() -> None:
    names: dict[str, object] = {"vd": vd}
    exec(compile(block_with("vd.encode("), "README.md", "exec"), names)
    by = names["model"].report["structure"]                                           # type: ignore[attr-defined]
    assert by["gain_per_step"] > 3 * by["gain_per_step_stderr"]


def test_command_line_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = blocks("bash")[2].replace("\\\n", " ").strip().splitlines()
    assert len(lines) >= 7
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "vid2dyn"
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, line + result.output + result.stderr


def test_experiment_file_is_valid(folder: Path) -> None:
    (folder / "experiment.toml").write_text(blocks("toml")[0])
    experiment = read(folder / "experiment.toml")
    assert [s.name for s in experiment.sources] == ["clip"]
    assert vd.open(experiment.sources[0].path, **experiment.sources[0].calibration).units == vd.open(
        ROOT / "sample_data" / "clip.tif").units, "the README states the calibration of the clip"


def test_new_part_of_the_example_works(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("my_package")
    monkeypatch.setitem(sys.modules, "my_package", package)
    exec(compile(block_with("class Ramp"), "README.md", "exec"), vars(package))
    table = {"n_particles": 9, "frames": 4, "box_length": 9.0, "pair": {"kind": "Ramp", "height": 3}}
    simulator = build(Brownian, table, "[simulate]")
    assert vd.simulate(simulator, seed=0).info["truth"]["pair"]["kind"] == "Ramp"
    r = np.linspace(0.5, 1.5, 11)
    ramp = simulator.pair
    assert ramp is not None
    assert np.allclose(ramp.force(r), -np.gradient(ramp.energy(r), r, edge_order=2), atol=1e-9)


def test_ci_runs_the_commands_of_the_readme() -> None:
    install, test = blocks("bash")[1].strip().split(" && ")
    script = (ROOT / ".ci" / "run").read_text()
    assert install.removeprefix("pip install ") in script
    assert re.search(rf"^{test}\b", script, flags=re.MULTILINE)


