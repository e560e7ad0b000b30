"""Names of files and folders in an exported session are data: no name runs, none breaks the script."""

from __future__ import annotations

import ast
import tomllib
from types import SimpleNamespace

import pytest

import vid2dyn as vd

pytest.importorskip("vid2dyn_napari")
from vid2dyn_napari import wording

NAMES = ['a"); import os; os.system("touch hacked"); ("', "C:\\Users\\new\\table", "a\'b", 'a"""b', "{out}", "a\nb",
"µm/é", "b\\",
         "\udcff.tif", "%s$(x)`y`"]


def steps(path: str) -> dict:
    return {"open": SimpleNamespace(verb="open", arguments={"path": path, "calibration": {"frames_per_second": 10.0}})}


@pytest.mark.parametrize("name", NAMES)
def test_a_script_names_paths_as_literals(name: str) -> None:
    text = wording.script(steps(f"/data/{name}.tif"), fields=False, out=f"/results/{name}", name=name)
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "vd.open"]
    assert len(calls) == 1
    assert ast.literal_eval(calls[0].args[0]) == f"/data/{name}.tif"
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert f"/results/{name}" in texts
    assert not any(isinstance(node, ast.Import) and node.names[0].name == "os" for node in ast.walk(tree))


@pytest.mark.parametrize("name", [n for n in NAMES if n.isprintable()])
def test_an_experiment_file_names_paths_as_texts(name: str) -> None:
    text = wording.toml(steps(f"/data/{name}.tif"), fields=False, folder=None)
    assert tomllib.loads(text)["video"]["path"] == f"/data/{name}.tif".replace("\\\\", "/") or "\\" in name


def test_what_is_none_comes_back_from_an_experiment_file() -> None:
    recipe = vd.Brownian(cutoff=None, trap="shared")
    made = {**steps("/data/a.tif"), "fit": SimpleNamespace(verb="fit", arguments={"recipe": recipe, "seed": 0})}
    table = tomllib.loads(wording.toml(made, fields=False, folder=None))["dynamics"]
    assert table["cutoff"] == "none"
    assert vd.core.config.build(vd.Brownian, table, "[dynamics]") == recipe
