"""What the contributing page prints, we run; what it names, exists."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core.registry import FAMILIES, part
from vid2dyn.testing import check_bad_files, check_reader, check_settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
FILES = {match[1]: block for block in BLOCKS if (match := re.match(r"# (my_lab/\w+\.py)\n", block))}
SCRIPTS = [block for block in BLOCKS if block not in FILES.values()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package of the page: its Python blocks as files, its TOML block as metadata."""
    site = tmp_path_factory.mktemp("site")
    for name, block in FILES.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(block, encoding="utf-8")
    (site / "my_lab" / "__init__.py").touch()
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)[0])["project"]
    about = site / "my_lab-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (about / "entry_points.txt").write_text("\n".join(
        line for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]
    for name in ("Jumps", "Ramp", "SoftCore", "GasDrag"):
        vars(vd.simulators).pop(name, None)
        vars(vd.terms).pop(name, None)


def test_every_part_of_the_page_is_found(installed: Path) -> None:
    kinds = {"Jumps": "simulators", "Ramp": "potentials", "NumpyMovie": "readers", "FreeDiffusion": "dynamics",
             "StepLengths": "sections", "SoftCore": "energies", "GasDrag": "frictions"}
    assert set(kinds.values()) == set(FAMILIES), "the page shows how to add each kind of part"
    for name, family in kinds.items():
        kind: Any = part(family, name)
        assert kind.__module__.startswith("my_lab.")
        if family != "sections":
            check_settings(kind(), family)


def test_reader_of_the_page(installed: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 6, 8)).astype(np.uint8)
    np.save(tmp_path / "a.npy", frames)
    check_reader(tmp_path / "a.npy", frames)
    check_reader(tmp_path / "a.npy", 255 - frames, invert=True)
    check_bad_files(".npy")


def test_scripts_of_the_page(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    fit, terms, column, contracts = SCRIPTS
    exec(compile(fit, "contributing.md", "exec"), {})
    D = float(re.match(r"[\d.]+", capsys.readouterr().out)[0])                       # type: ignore[index]
    assert abs(D / 0.5 - 1) < 5 * (2 * 2 / (2 * 100 * 58)) ** 0.5, "5 standard errors of the mean of squares: 9 %"
    page = (tmp_path / "free.html").read_text(encoding="utf-8")
    assert 'id="step-lengths"' in page
    assert "truth 0.5 µm²/s" in page
    exec(compile(terms, "contributing.md", "exec"), {})
    assert "TermListModel: SoftCore, PairFriction" in capsys.readouterr().out
    exec(compile(column, "contributing.md", "exec"), {})
    assert "gain_per_step" in capsys.readouterr().out
    names: dict[str, Any] = {}
    exec(compile(contracts, "contributing.md", "exec"), names)
    tests = [(kind(), name) for kind in (names["TestJumps"], names["TestFreeDiffusion"], names["TestSoftCore"])
             for name in dir(kind) if name.startswith("test")]
    assert len(tests) == 6
    for one, name in tests:
        getattr(one, name)()


def test_paths_and_modules_of_the_page_exist() -> None:
    """`a/b.py`, `a/b/` from the root or from the room that its paragraph names; `vid2dyn.a.b` or a name in it."""
    missing = []
    for paragraph in re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL).split("\n\n"):
        places = [ROOT, *(ROOT / "vid2dyn" / room for room in re.findall(r"\*\*(\w+)\*\*", paragraph))]
        folder: Path | None = None
        for word in re.findall(r"`([^`\s]+)`", paragraph):
            if re.fullmatch(r"[\w./-]+(/|\.(py|md|toml|j2|yaml))|\.ci/run|scripts/\w+", word):
                if word in ("dist/", "napari.yaml", "py.typed") or word.startswith("my_lab"):
                    continue
                here = [place / word for place in (*places, *([folder] if folder else []))]
                found = [path for path in here if path.exists()]
                if not found:
                    missing.append(word)
                elif "/" in word:
                    folder = found[0] if found[0].is_dir() else found[0].parent
            elif re.fullmatch(r"vid2dyn(\.\w+)+", word) and word not in {one.group for one in FAMILIES.values()}:
                try:
                    importlib.import_module(word)
                except ImportError:
                    module, _, name = word.rpartition(".")
                    if not hasattr(importlib.import_module(module), name):
                        missing.append(word)
    assert not missing


def test_classes_of_the_page_exist() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "vid2dyn").rglob("*.py"))
    named = set(re.findall(r"`([A-Z]\w+)`", PAGE)) - {"None"}
    assert not [name for name in named if not re.search(rf"^class {name}\b", source, flags=re.MULTILINE)]


def test_every_room_is_on_the_tour() -> None:
    tour = PAGE[PAGE.index("## A tour"):PAGE.index("## How to add")]
    rooms = {path.name for path in (ROOT / "vid2dyn").iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= set(re.findall(r"\*\*(\w+)\*\*", tour))


def test_no_folder_of_tests_is_left_out() -> None:
    told = PAGE[PAGE.index("## Tests"):PAGE.index("## Style")]
    for kind in ("laws", "statistics", "cases", "real", "gui"):
        assert f"tests/{kind}/" in told


def test_no_place_of_a_machine_is_on_the_page() -> None:
    assert not re.search(r"(?<![\w.])/(home|work|tmp|root)\b", PAGE)
