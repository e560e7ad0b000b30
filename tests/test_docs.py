"""What the pages and the README print, we run; what they name, exists; every kind of warning is explained.

Rules for pages: ``python`` blocks of a page run in their order, in one namespace, in an empty folder that holds the
sample; ``bash`` blocks whose lines are commands of vid2dyn run after them; ``toml`` blocks are read. What cannot be run
here has ``<!-- not run: why -->`` before it, and is parsed all the same.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app
from vid2dyn.core.files import TABLES
from vid2dyn.readers import known_suffixes
from vid2dyn.readers.microscope import Microscope
from vid2dyn.runs.experiment import read

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
ELSEWHERE = {"contributing"}
"""Pages whose blocks make a package: `tests/test_contributing.py`."""
SLOW = {"assessment", "batch", "choosing", "colloids", "coming_from", "driven_sheets", "everyday_lab", "extending",
        "fields", "several_sizes", "solids", "stacks", "start", "velocities"}
"""Pages that take more than about 3 seconds."""
FENCE = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```",
                   flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Code of a page; `why`: the reason why it is not run, or empty."""

    language: str
    code: str
    why: str


def text_of(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [Block(one["language"], one["code"], one["why"] or "") for one in FENCE.finditer(text)]


def run_python(code: list[str], name: str, names: dict[str, Any]) -> dict[str, Any]:
    """Blocks one after the other, in one namespace."""
    for block in code:
        exec(compile(block, f"{name}.md", "exec"), names)
    return names


def run_commands(code: str) -> None:
    """Lines of a bash block, each a command of vid2dyn."""
    for line in code.replace("\\\n", " ").strip().splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "vid2dyn", f"{line}: not a command of vid2dyn; mark the block as not run"
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, line + result.output + result.stderr


def run_page(name: str, folder: Path) -> dict[str, Any]:
    """All blocks of a page that are to be run; the names that Python made."""
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    found = [block for block in blocks(text_of(name)) if not block.why]
    names: dict[str, Any] = {"__name__": f"page_{name}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_python([block.code for block in found if block.language == "python"], name, names)
        for block in found:
            if block.language == "bash":
                run_commands(block.code)
    return names


def marked(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.case if name in SLOW else ())


RUN = [name for name in PAGES if name not in ELSEWHERE
       and any(block.language in ("python", "bash") and not block.why for block in blocks(text_of(name)))]


@pytest.fixture
def module_of_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dataclasses of a page ask for their module."""
    for name in RUN:
        monkeypatch.setitem(sys.modules, f"page_{name}", types.ModuleType(f"page_{name}"))


@pytest.mark.parametrize("name", [marked(name) for name in RUN])
def test_blocks_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                              capsys: pytest.CaptureFixture[str], module_of_page: None) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page(name, tmp_path)
    said = capsys.readouterr().out
    if name in CHECKS:
        CHECKS[name](names, said, tmp_path)


def _everyday(names: dict[str, Any], said: str, folder: Path) -> None:
    assert "True" in said, "edits repeat"
    assert abs(names["second"].D - 0.2) < 5 * names["second"].D_stderr
    assert names["alpha"].low < 1 < names["alpha"].high


def _fields(names: dict[str, Any], said: str, folder: Path) -> None:
    flow, rho = names["flow"], names["rho"]
    exact = vd.simulators.Arrhenius(kernel=(1.0,)).limit(rho).mobility
    assert np.linalg.norm(flow.mobility(rho) / exact - 1) / len(rho) ** 0.5 < 0.1


def _colloids(names: dict[str, Any], said: str, folder: Path) -> None:
    by = names["model"].report["structure"]
    assert by["gain_per_step"] > 3 * by["gain_per_step_stderr"]


def _extending(names: dict[str, Any], said: str, folder: Path) -> None:
    ramp, r = names["Ramp"](height=3.0), np.linspace(0.5, 1.5, 11)
    assert np.allclose(ramp.force(r), -np.gradient(ramp.energy(r), r, edge_order=2), atol=1e-9)
    assert abs(vd.diffusion(names["mine"]).D / 0.4 - 1) < 0.15, "the detector of the page finds the particles"


def _stacks(names: dict[str, Any], said: str, folder: Path) -> None:
    assert "12 stacks of 28 x 80 x 80 voxels" in said
    assert "z: " in said
    assert "3-D" in said


def _sheets(names: dict[str, Any], said: str, folder: Path) -> None:
    assert (folder / "needle.html").stat().st_size > 0
    assert "G' = " in said


def _sizes(names: dict[str, Any], said: str, folder: Path) -> None:
    assert said.startswith("ring [4.5")


def _formats(names: dict[str, Any], said: str, folder: Path) -> None:
    table = text_of("formats")
    missing = {suffix for suffix in (*known_suffixes(), *TABLES) if suffix not in table}
    assert missing <= {*Microscope.suffixes, ".jpeg", ".hdf5"}, "the page lists every kind of file that is read"


def _coming(names: dict[str, Any], said: str, folder: Path) -> None:
    """Calls in the tables of the page, left and right, run in their order."""
    vd.convert.write_table(names["mine"], "tracks.xml")
    tracks = names["mine"]
    names["x"] = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (60, 200, 2)), axis=0) + np.random.default_rng(
        1).uniform(0, 20, (1, 200, 2))
    names["dt"] = 0.02
    assert len(tracks)
    _, program, *rows = "", "", *text_of("coming_from").splitlines()
    for line in rows:
        program = line.removeprefix("## ") if line.startswith("## ") else program
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        codes = cells if program == "trackpy" else cells[1:]
        for cell in codes:
            if code := re.fullmatch(r"`(.*)`", cell):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    exec(compile(code[1], f"coming_from.md: {code[1]}", "exec"), names)


CHECKS = {"everyday_lab": _everyday, "fields": _fields, "colloids": _colloids, "extending": _extending,
          "stacks": _stacks, "driven_sheets": _sheets, "several_sizes": _sizes, "formats": _formats,
          "coming_from": _coming}


@pytest.mark.parametrize("name", [*PAGES, "README"])
def test_blocks_of_a_page_can_be_parsed(name: str, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8") if name == "README" else text_of(name)
    bash = shutil.which("bash")
    for block in blocks(text):
        if block.language == "python":
            ast.parse(block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)
        elif block.language == "bash" and bash:
            done = subprocess.run([str(bash), "-n", "-c", block.code], capture_output=True, text=True, timeout=20)
            assert done.returncode == 0, done.stderr
        else:
            assert block.language in ("bash", "text", "console"), f"a block in {block.language} is not tested"


@pytest.mark.parametrize("name", [*PAGES, "README"])
def test_commands_of_a_page_exist(name: str) -> None:
    """Every command of vid2dyn in a shell block has the options that are given to it, run or not."""
    known = {one.name: inspect.signature(one.callback).parameters      # type: ignore[arg-type]
             for one in app.registered_commands}
    text = (ROOT / "README.md").read_text(encoding="utf-8") if name == "README" else text_of(name)
    for block in blocks(text):
        if block.language not in ("bash", "text"):
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", line):
                words = shlex.split(part, comments=True) if part.strip().startswith("vid2dyn ") else []
                if words:
                    assert words[1] in known, part
                    for word in words[2:]:
                        if word.startswith("--") and word not in ("--help",):
                            option = word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
                            assert {option, f"{option}_"} & set(known[words[1]]), f"{part}: there is no {word}"


def test_experiment_file_of_the_batch_page_is_valid(tmp_path: Path) -> None:
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    (tmp_path / "experiment.toml").write_text(next(b.code for b in blocks(text_of("batch")) if b.language == "toml"))
    experiment = read(tmp_path / "experiment.toml")
    assert [source.name for source in experiment.sources] == ["clip"]
    assert vd.open(str(experiment.sources[0].path), **experiment.sources[0].calibration).units == vd.open(
        ROOT / "sample_data" / "clip.tif").units, "the page states the calibration of the clip"


def test_every_page_is_in_the_index() -> None:
    index = text_of("index")
    assert not [name for name in PAGES if name != "index" and not re.search(rf"^{name}$", index, flags=re.MULTILINE)]


@pytest.mark.parametrize("name", PAGES)
def test_files_that_a_page_names_exist(name: str) -> None:
    """`scripts/a.py`, `vid2dyn/a/b.py`, `tests/a/` in backticks."""
    named = re.findall(r"`((?:scripts|vid2dyn|tests|sample_data|docs)/[\w./-]*)`", text_of(name))
    generated = ("docs/_build",)
    assert not [path for path in named if not (ROOT / path).exists() and not path.startswith(generated)]


@pytest.mark.parametrize("name", PAGES)
def test_public_names_of_a_page_exist(name: str) -> None:
    """`vd.a.b` in backticks is an attribute."""
    prose = FENCE.sub("", text_of(name))
    missing = []
    for word in set(re.findall(r"`[^`\n]*?\bvd\.([a-zA-Z_0-9.]+)", prose)):
        value: Any = vd
        for part in word.rstrip(".").split("."):
            if not hasattr(value, part):
                missing.append(word)
                break
            value = getattr(value, part)
    assert not missing


@pytest.mark.parametrize("name", PAGES)
def test_no_place_of_a_machine_is_on_a_page(name: str) -> None:
    assert not re.search(r"(?<![\w.])/(home|work|tmp|root)\b", text_of(name))


def test_measured_numbers_say_where_they_come_from() -> None:
    """What `scripts/filming.py` and `scripts/measure.py` wrote: command, date, machine, version."""
    for path in (DOCS / "measured").iterdir():
        head = path.read_text(encoding="utf-8")[:400]
        assert re.search(r"python scripts/\w+\.py", head), path.name
        assert re.search(r"\d{1,2} \w+ 20\d\d, \d+ cores of .*vid2dyn \d", head, flags=re.DOTALL), path.name


# --- references -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> Iterator[types.ModuleType]:
    """The module that writes the references of Python and of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "_ext"))
        yield importlib.import_module("reference")


def test_every_public_name_is_in_the_reference(reference: types.ModuleType) -> None:
    pages = dict(reference.room_pages())
    everything = "\n".join(pages.values())
    rooms = {name for name in vd.__all__ if inspect.ismodule(getattr(vd, name))} | {"__version__"}
    names = [f"vid2dyn.{name}" for name in vd.__all__ if name not in rooms]
    names += [f"vid2dyn.{room}.{name}" for room in ("analysis", "simulators", "terms", "convert", "export")
              for name in getattr(vd, room).__all__ if not inspect.ismodule(getattr(getattr(vd, room), name))]
    assert len(names) > 100
    missing = [name for name in names if f":: {name}\n" not in everything]
    assert not missing
    assert all(f"{name}.rst" in pages for name in names if inspect.isclass(functools.reduce(
        getattr, name.split(".")[1:], vd))), "a page for every class"


def test_every_option_is_in_the_reference(reference: types.ModuleType) -> None:
    pages = dict(reference.command_pages())
    for command in app.registered_commands:
        for name in inspect.signature(command.callback).parameters:                       # type: ignore[arg-type]
            word = name.strip("_").replace("_", "-")
            assert f"``--{word}" in pages[f"{command.name}.rst"] or word.upper() in pages[f"{command.name}.rst"]
    assert "[default: 11]" in pages["track.rst"]
    assert "One of: none, trackpy." in pages["track.rst"]


def test_every_verb_has_an_example() -> None:
    verbs = [name for name in vd.__all__ if inspect.isfunction(getattr(vd, name))]
    silent = {name for name in verbs if ">>> " not in (inspect.getdoc(getattr(vd, name)) or "")}
    assert silent <= {"demo", "run"}, "run as doctests; these two take minutes, and pages run them"


@pytest.mark.case
def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    for package in ("sphinx", "myst_parser", "furo", "sphinx_gallery", "sphinx_copybutton", "latex2mathml"):
        pytest.importorskip(package, reason='needs pip install -e ".[docs]"')
    done = subprocess.run([ROOT / "scripts" / "docs", "--no-gallery"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr


# --- warnings -------------------------------------------------------------------------------------------------------

ROOMS = ("readers", "convert", "data", "core", "tracking", "analysis", "assessment", "fitting", "inference")
SILENT = ("describe.py", "lammps_dump.py", "lammps_session.py", "write.py", "files.py", "text_table.py", "units.py",
          "detection_score.py", "link_score.py")
"""Files whose long strings are file formats, help or errors."""
VERBS = re.compile(r"\b(is|are|was|were|has|have|had|do|does|did|can|cannot|may|move|moves|moved|differ|differs|give|"
                   r"gives|state|states|come|comes|push|pull|scatter|carry|bends|tells|tell|names|look|jump|count|steps|fit|"
                   r"leave|leaves|feel|keep|remember|adds|add|disagree|shows|show|stopped|reaches)\b")


@functools.cache
def sentences(path: Path) -> tuple[str, ...]:
    """Long strings of a file that are neither docstrings nor the words of an error; values in them are dots."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                                             and node.func.id.endswith("Error")):
            skipped |= {id(one) for one in ast.walk(node)}
        elif isinstance(node, ast.JoinedStr) and id(node) not in skipped:
            skipped |= {id(one) for one in ast.walk(node)} - {id(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            found.append("".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values))
    return tuple(found)


def spoken() -> list[str]:
    """Whole sentences of the rooms that warn: a capital or a value first, a full stop, a verb."""
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / "vid2dyn" / room).rglob("*.py")):
            if path.name not in SILENT:
                found += [text for text in sentences(path) if len(text) > 60 and re.match(r" ?[A-Z…]", text)
                          and text.rstrip().endswith((".", "…", "?", ":", "({})")) and VERBS.search(text)]
    return found


def test_every_kind_of_warning_is_on_its_page_and_in_the_code() -> None:
    listed = re.findall(r'"([^"\n]+)"', "\n".join(line.split(" | ")[0] for line in text_of("warnings").splitlines()
                                                  if line.startswith('| "')))
    said = spoken()
    everything = "\n".join(text for room in ROOMS for path in sorted((ROOT / "vid2dyn" / room).rglob("*.py"))
                           for text in sentences(path))
    assert not [phrase for phrase in listed if phrase not in everything], "listed, and nowhere in the code"
    unexplained = [text for text in said if not any(phrase in text for phrase in listed)
                   and not any(phrase in text for phrase in NO_WARNINGS)]
    assert not unexplained, "in the code, and not on the page"


NO_WARNINGS = ("It has a decimal comma", "of the particles had more than one candidate", "Every track steps by",
               "no particle in any frame", "so there is no displacement to measure", "Its own values would make",
               "Velocities carry noise of their own", "They are wrong by about that factor",
               "The particles are not at equilibrium", "There is one frame: motion is")
"""Parts of sentences that are help, advice within another sentence, or words of an error made elsewhere."""
