"""The command line: every verb on small data, options made from settings, errors and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

import vid2dyn as vd
from vid2dyn import pipeline
from vid2dyn.cli.commands import app
from vid2dyn.cli.options import parse_assignments
from vid2dyn.core.config import settings
from vid2dyn.core.errors import ConfigError
from vid2dyn.core.progress import Cancelled
from vid2dyn.core.registry import parts
from vid2dyn.data.units import Units
from vid2dyn.tracking import Track

CLIP = Path(__file__).resolve().parents[2] / "sample_data" / "clip.tif"
SIMULATE = ["--set", "n_particles=40", "--set", "frames=60", "--set", "box_length=14.0"]


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "sim.parquet"
    call("simulate", "Brownian", "--out", path, "--seed", 3, *SIMULATE, "--set", "pair.kind=Yukawa")
    return path


def test_help_and_version() -> None:
    assert vd.__version__ in call("--version").output
    verbs = ["demo", "track", "fit", "assess", "simulate", "rollout", "compare", "report", "run", "list", "diffusion",
             "warmup"]
    text = call("--help").output
    assert all(verb in text for verb in verbs)
    for verb in verbs:
        assert "--debug" in call(verb, "--help").output


def test_warmup_compiles_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    from vid2dyn.core import precompile

    kept = tuple(kernel for kernel in precompile.listed() if kernel.name.endswith((":assign", ":_initial_spots")))
    monkeypatch.setattr(precompile, "listed", lambda: kept)
    said = " ".join(call("warmup").output.split())
    assert said.startswith("4 functions are compiled and kept in "), "one of them for three kinds of pixels"


def test_every_setting_of_the_tracker_is_an_option_with_its_default_and_units() -> None:
    text = " ".join(call("track", "--help").output.replace("│", " ").split())
    for cls in (Track, Units):
        for name in settings(cls):
            assert f"--{name.replace('_', '-')}"[:24] in text
    assert "[px]" in text                                    # units must not be taken for markup
    assert "[default: 11]" in text


def test_simulate_takes_nested_settings_and_a_seed(simulated: Path, tmp_path: Path) -> None:
    tracks = vd.load(simulated)
    assert tracks.n_particles == 40
    assert tracks.info["truth"]["pair"]["kind"] == "Yukawa"
    again = tmp_path / "again.parquet"
    call("simulate", "Brownian", "-o", again, "--seed", 3, *SIMULATE, "--set", "pair.kind=Yukawa")
    assert again.read_bytes() == simulated.read_bytes()


def test_diffusion_is_the_number_of_the_library(simulated: Path) -> None:
    text = call("diffusion", simulated).output
    assert f"D = {vd.diffusion(vd.load(simulated)).D:.4g}" in text


def test_calibration_on_the_command_line_overrules_the_file(simulated: Path) -> None:
    tracks = vd.load(simulated)
    faster = vd.diffusion(tracks.with_units(frames_per_second=200.0)).D
    assert np.isclose(faster, 2 * vd.diffusion(tracks).D, rtol=1e-9)
    assert f"D = {faster:.4g}" in call("diffusion", simulated, "--frames-per-second", 200).output


def test_table_from_elsewhere_gives_the_same_number(simulated: Path, tmp_path: Path) -> None:
    tracks = vd.load(simulated)
    tracks.dataframe[["frame", "particle", "y", "x"]].to_csv(tmp_path / "table.csv", index=False)
    text = call("diffusion", tmp_path / "table.csv", "--frames-per-second", 100, "--micrometre-per-pixel", 0.1).output
    assert f"D = {vd.diffusion(tracks).D:.4g}" in text
    assert "frames_per_second" in call("diffusion", tmp_path / "table.csv", code=2).stderr


def test_fit_can_be_left_off_and_gone_on_with(simulated: Path, tmp_path: Path) -> None:
    out, place = tmp_path / "m.vid2dyn", tmp_path / "kept"
    common = ["fit", simulated, "--set", "cutoff=3.0", "-o", out, "--checkpoint", place]
    assert "Stopped early, after 2 of" in " ".join(call(*common, "--stop", 2).output.split())
    assert place.is_file()
    call(*common)
    whole = vd.fit(vd.load(simulated), vd.Brownian(cutoff=3.0))        # type: ignore[arg-type]
    assert whole.save(tmp_path / "whole.vid2dyn").read_bytes() == out.read_bytes()


def test_fit_of_several_files_is_that_of_the_library(simulated: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other.parquet", tmp_path / "m.vid2dyn"
    call("simulate", "Brownian", "-o", other, "--seed", 4, *SIMULATE, "--set", "diffusion=1.2", "--set",
         "pair.kind=Yukawa")
    text = " ".join(call("fit", simulated, other, "--set", "cutoff=3.0", "-o", out).output.split())
    assert "sim.parquet and the other recording do not agree" in text
    whole = vd.fit([simulated, other], vd.Brownian(cutoff=3.0))
    assert whole.save(tmp_path / "whole.vid2dyn").read_bytes() == out.read_bytes()
    assert [one["name"] for one in whole.report["recordings"]] == ["sim.parquet", "other.parquet"]
    assert "no such file" in call("fit", simulated, tmp_path / "absent.parquet", code=2).stderr


def test_compare_and_report_without_a_model(simulated: Path, tmp_path: Path) -> None:
    assert "RDF" in call("compare", simulated, simulated).output
    page = tmp_path / "page.html"
    call("report", simulated, "--rollout", simulated, "--out", page)
    assert page.read_text().count("data:image/") >= 4


def test_track_writes_what_the_library_finds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    frames = [20 + rng.normal(0, 2, y.shape) + 150 * np.exp(-((y - 20) ** 2 + (x - 20 - i) ** 2) / 8)
              for i in range(5)]
    movie, out = tmp_path / "clip.tif", tmp_path / "t.parquet"
    tifffile.imwrite(movie, np.stack(frames).clip(0, 255).astype(np.uint8), photometric="minisblack")
    call("track", movie, "--diameter", 9, "--memory", 2, "--frames-per-second", 25, "-o", out)
    tracks = vd.load(out)
    assert tracks.info["parameters"]["diameter"] == 9
    assert tracks.units.frames_per_second == 25.0
    expected = vd.track(movie, diameter=9, memory=2, frames_per_second=25)
    assert tracks.dataframe.equals(expected.dataframe)


def test_reader_option_chooses_the_channel(tmp_path: Path) -> None:
    frames = np.zeros((3, 48, 48, 3), np.uint8)
    y, x = np.mgrid[:48, :48]
    for channel, at in ((0, 12), (1, 30)):
        frames[..., channel] = 20 + 150 * np.exp(-((y - at) ** 2 + (x - at) ** 2) / 8)
    tifffile.imwrite(tmp_path / "c.tif", frames, photometric="rgb")
    for arguments, wanted in (((), 30.0), (("--reader", "channel=0"), 12.0)):
        call("track", tmp_path / "c.tif", "-o", tmp_path / "c.parquet", *arguments)
        assert np.allclose(vd.load(tmp_path / "c.parquet").dataframe["y"], wanted, atol=0.2)
    assert "Did you mean 'channel'" in call("track", tmp_path / "c.tif", "--reader", "chanel=0", code=2).stderr


@pytest.mark.parametrize(("family", "shown"), [
    ("simulators", "diffusion (float, 0.405)"), ("potentials", "Yukawa"), ("renderer", "read_noise"),
    ("readers", ".cine"), ("tracking", "search_range (float, 5.0)"), ("dynamics", "cutoff")])
def test_list_shows_every_part_with_its_settings(family: str, shown: str) -> None:
    assert shown in call("list", family).output
    assert family in call("list").output


def test_list_shows_terms_and_where_to_find_them() -> None:
    dynamics = " ".join(call("list", "dynamics").output.split())
    assert "energy (tuple[Energy, ...], empty)" in dynamics
    for family in ("energies", "frictions"):
        assert f"Each has a kind and settings of its own: vid2dyn list {family}." in dynamics
        listed = call("list", family).output
        for name, cls in parts(family).items():
            assert name in listed
            assert all(f"      {key} (" in listed for key in settings(cls))
    assert "It has a kind and settings of its own: vid2dyn list potentials." in call("list", "simulators").output
    assert "[[dynamics.energy]]" in call("fit", "--help").output, "not taken for markup"


def test_fit_takes_a_term_of_each_list(tmp_path: Path) -> None:
    call("simulate", "DPD", "-o", tmp_path / "t.parquet", "--set", "n_particles=20", "--set", "frames=20", "--set",
         "box_length=2.0")
    terms = ["energy.kind=PairPotential", "energy.cutoff=1.0", "friction.kind=PairFriction", "friction.cutoff=1.0"]
    simple = ["entropy=false", "select=false", "window_frames=2", "mass=1"]
    printed = call("fit", tmp_path / "t.parquet", "--dynamics", "Metriplectic", "-o", tmp_path / "m.vid2dyn",
                   *(word for item in [*simple, *terms] for word in ("--set", item))).output
    assert "PairPotential, PairFriction; kT =" in printed
    recipe = vd.load(tmp_path / "m.vid2dyn").recipe
    assert [len(recipe[name]) for name in ("energy", "friction")] == [1, 1]
    assert recipe["window_frames"] == 2


def test_simulate_draws_a_movie_with_its_truth(tmp_path: Path) -> None:
    call("simulate", "Brownian", "--set", "n_particles=4", "--set", "frames=3", "--movie", tmp_path / "clip.tif",
         "--movie-set", "height=40", "--movie-set", "width=48", "--out", tmp_path / "sim.parquet")
    video = vd.open(tmp_path / "clip.tif")
    assert (len(video), *video.shape) == (3, 40, 48)
    assert vd.load(tmp_path / "clip.truth.parquet").field_of_view == (40.0, 48.0)


@pytest.mark.parametrize(("arguments", "message"), [
    (["simulate", "Browning"], "Did you mean 'Brownian'"),
    (["simulate", "Brownian", "--set", "n_particle=3"], "Did you mean 'n_particles'"),
    (["simulate", "Brownian", "--set", "n_particles"], "write key=value"),
    (["simulate", "Brownian", "--set", "pair.kind=Yukava"], "Did you mean 'Yukawa'"),
    (["simulate", "Brownian", "--set", "diffusion=-1"], "diffusion"),
    (["simulate", "Brownian", "--out", "x.csv"], "name it x.parquet"),
    (["list", "simulator"], "Did you mean 'simulators'"),
    (["fit", "a.parquet", "--dynamics", "Metriplectic", "--set", "energy.kind=PairPotental"],
     "energy: unknown kind 'PairPotental'. Did you mean 'PairPotential'"),
    (["compare", "a.parquet", "b.parquet"], "a.parquet: no such file"),
    (["fit", str(CLIP)], "clip.tif: not a file of tracks. If it is a recording, find its particles first: vid2dyn "),
    (["demo", "--out", str(CLIP)], "clip.tif: is a file; the results go to a folder"),
])
def test_error_is_one_message_and_exit_code_2(arguments: list[str], message: str) -> None:
    result = call(*arguments, code=2)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(app, ["compare", "a.parquet", "b.parquet", "--debug"])
    assert isinstance(result.exception, vd.DataError)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Cancelled])
def test_cancelled_work_leaves_nothing(stop: type[BaseException], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise stop

    monkeypatch.setattr(pipeline, "simulate", interrupted)
    result = call("simulate", "Brownian", "-o", tmp_path / "x.parquet", code=130)
    assert "cancelled" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_in_a_real_process(tmp_path: Path) -> None:
    code = ("import sys; from vid2dyn.cli.commands import main; print('ready', flush=True); "
            "sys.argv = ['vid2dyn', 'simulate', 'Brownian', '--set', 'frames=2000000', '-o', 'x.parquet']; main()")
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(2.0)                                      # in the middle of the work
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=30)[1]
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not list(tmp_path.iterdir())


def test_assignments_are_toml() -> None:
    assert parse_assignments(["a=1", "b=true", "c.kind=Yukawa", "d=[1, 2]", "e='x'"]) == {
        "a": 1, "b": True, "c": {"kind": "Yukawa"}, "d": [1, 2], "e": "x"}
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments(["a=1", "a=2"])


def test_the_package_is_a_command_too() -> None:
    """``python -m vid2dyn`` says the same, and shells complete names of commands."""
    asked = subprocess.run([sys.executable, "-m", "vid2dyn", "--version"], capture_output=True, text=True, timeout=120,
                           check=True)
    assert asked.stdout.split() == ["vid2dyn", vd.__version__]
    code = "import sys; sys.argv = ['vid2dyn']; from vid2dyn.cli import main; main()"
    asking = {"_VID2DYN_COMPLETE": "complete_bash", "COMP_WORDS": "vid2dyn tr", "COMP_CWORD": "1"}
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                               env={**os.environ, **asking})
    assert completed.stdout.split() == ["track"], completed.stderr
