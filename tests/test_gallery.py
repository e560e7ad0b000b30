"""Scripts of the gallery: in their form, of public names alone, and run; the quick ones always, all with --cases."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

import vid2dyn as vd

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs" / "gallery"
SCRIPTS = sorted(GALLERY.glob("*.py"))
QUICK = ("plot_own_reader", "plot_trap")
BASES = {"vid2dyn.dynamics.terms.base", "vid2dyn.data.video", "vid2dyn.readers"}
"""Rooms of base classes that an extension inherits from, as docs/extending.md imports them."""
WORDS = ("first_movie", "crowd", "compressed", "pair_potential", "trap", "mixture", "hidden_state", "needle",
         "star_polymer", "lattice_gas", "ideal_gas", "three_dimensions", "many_movies", "lammps_export", "own_term",
         "own_reader")


def test_every_question_has_its_script() -> None:
    names = [path.stem for path in SCRIPTS]
    assert all(name.startswith("plot_") for name in names), "sphinx-gallery takes the figures of plot_*.py"
    assert not [word for word in WORDS if not any(word in name for name in names)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_form(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text))
    assert said is not None
    title, line, _ = said.split("\n", 2)
    assert re.fullmatch(r"=+", line)
    assert len(line) >= len(title), "a title, underlined"
    assert re.search("answer|known", said), "what it is held against"
    assert title.endswith("?"), "one question"
    assert text.count("\n# %%\n") >= 2
    assert text.endswith("plt.show()\n")
    assert "put in" in text or "exact" in text or "known" in text, "the truth stands beside the result"
    for label in ("xlabel", "ylabel"):
        assert label in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_public_names_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vid2dyn"):
            assert node.module in BASES, f"{node.module}: use vd.*"
        if isinstance(node, ast.Import):
            assert not [one.name for one in node.names if one.name.startswith("vid2dyn.")]
        if isinstance(node, ast.Attribute):
            words = dotted(node)
            if words and words[0] == "vd":
                assert not [word for word in words if word.startswith("_")]
                reduce(getattr, words[1:], vd)


def dotted(node: ast.expr) -> list[str]:
    """["vd", "simulators", "Yukawa"] of vd.simulators.Yukawa; [] of anything that is called or indexed between."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        first = dotted(node.value)
        return [*first, node.attr] if first else []
    return []


def test_style() -> None:
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed: pip install -e '.[test]'")
    done = subprocess.run([ruff, "check", "--no-cache", str(GALLERY)], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stdout[-3000:]


def runs(path: Path, folder: Path) -> None:
    """In a process of its own, in an empty folder, without a window."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "napari_plugin"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, str(path)], cwd=folder, capture_output=True, text=True, timeout=600,
                          stdin=subprocess.DEVNULL, env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(folder.iterdir()), "a script leaves nothing in the folder that it is run in"


@pytest.mark.parametrize("name", QUICK)
def test_quick_scripts_run(name: str, tmp_path: Path) -> None:
    runs(GALLERY / f"{name}.py", tmp_path)


@pytest.mark.case
@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.stem not in QUICK], ids=lambda path: path.stem)
def test_all_scripts_run(path: Path, tmp_path: Path) -> None:
    runs(path, tmp_path)
