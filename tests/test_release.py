"""What a release says of itself is said once, or the same everywhere."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import vid2dyn as vd

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RECIPE: dict[str, Any] = yaml.safe_load((ROOT / ".conda" / "recipe.yaml").read_text(encoding="utf-8"))
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
IN_CONDA = {"matplotlib": "matplotlib-base", "opencv-python": "py-opencv", "torch": "pytorch"}
"""Names that conda-forge has in the place of those of PyPI."""


def bound(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_version_is_said_once() -> None:
    """In vid2dyn/__init__.py; pyproject.toml reads it there."""
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", vd.__version__)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == vd.__version__
    assert RECIPE["context"]["version"] == vd.__version__
    assert vd.__version__ in CHANGELOG


def test_addresses_are_stated() -> None:
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= set(PROJECT["urls"])
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())


def test_readme_of_the_package_index_has_absolute_links_alone() -> None:
    """setup.py makes them of the one place where addresses stand; pictures are files there, other links pages."""
    assert "readme" in PROJECT["dynamic"]
    spec = importlib.util.spec_from_file_location("setup_of_vid2dyn", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = module.description(readme, PROJECT["urls"]["Source"], "v9.9.9")
    links = re.findall(r"\]\(([^)]+)\)", shown)
    assert len(links) == len(re.findall(r"\]\(([^)]+)\)", readme)) > 20
    assert all(link.startswith("https://") for link in links)
    assert len(re.findall(rf"!\[[^\]]+\]\({PROJECT['urls']['Source']}/raw/v9.9.9/[\w/]+\.png\)", shown)) == 2
    files = [link.removeprefix(f"{PROJECT['urls']['Source']}/blob/v9.9.9/") for link in links if "/blob/" in link]
    assert not [name for name in files if not (ROOT / name).exists()]


def pythons() -> list[str]:
    return [kind.rpartition(" :: ")[2] for kind in PROJECT["classifiers"]
            if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", kind)]


def test_what_is_promised_is_tested() -> None:
    """Every Python and system of the classifiers is in the workflow, and the lowest versions are."""
    matrix = WORKFLOW["jobs"]["newest"]["strategy"]["matrix"]
    assert matrix["python"] == pythons()
    assert PROJECT["requires-python"] == f">={pythons()[0]}"
    assert {"ubuntu-latest", "macos-latest", "windows-latest"} == set(matrix["system"])
    assert {"Operating System :: MacOS", "Operating System :: Microsoft :: Windows",
            "Operating System :: POSIX :: Linux", "Framework :: napari"} <= set(PROJECT["classifiers"])
    lowest = WORKFLOW["jobs"]["lowest"]["steps"]
    assert any("lowest_versions.py" in step.get("run", "") for step in lowest)
    assert lowest[1]["with"]["python-version"] == pythons()[0]
    assert any("check_release.py" in step.get("run", "") for step in WORKFLOW["jobs"]["release"]["steps"])


def test_every_script_of_a_workflow_exists() -> None:
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            for name in re.findall(r"(?:^|\s)((?:scripts|\.ci)/[\w.]+)", step.get("run", "")):
                assert (ROOT / name).is_file(), name


def test_lowest_versions_are_those_of_the_project(script: Callable[[str], ModuleType]) -> None:
    lowest = script("lowest_versions").lowest()
    assert len(lowest) == len(PROJECT["dependencies"])
    assert lowest["numpy"] == "2.0.0"


def test_constraints_are_not_below_the_lowest_versions(script: Callable[[str], ModuleType]) -> None:
    lowest = script("lowest_versions").lowest()
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    assert {"torch", "torchvision"} <= set(pinned)
    assert all(bound(pinned[name]) >= bound(lowest[name]) for name in pinned)


def test_recipe_for_conda_has_the_same_dependencies(script: Callable[[str], ModuleType]) -> None:
    lowest = script("lowest_versions").lowest()
    ours = {IN_CONDA.get(name, name): bound(version) for name, version in lowest.items()}
    listed = dict(line.split(" >=") for line in RECIPE["requirements"]["run"])
    assert listed.pop("python") == "${{ python_min }}"
    assert RECIPE["context"]["python_min"] == PROJECT["requires-python"].removeprefix(">=")
    assert set(listed) == set(ours)
    for name, version in listed.items():
        assert bound(version) == ours[name][:len(bound(version))], name
    assert RECIPE["build"]["python"]["entry_points"] == [f"{name} = {where}" for name, where in
                                                         PROJECT["scripts"].items()]
    assert RECIPE["about"]["summary"] == PROJECT["description"]
    assert RECIPE["about"]["license"] == PROJECT["license"]


def test_napari_comes_with_and_without_a_qt_binding() -> None:
    extras = PROJECT["optional-dependencies"]
    bindings = ("PyQt", "PySide")
    assert not [one for one in extras["napari"] if one.startswith(bindings)]
    assert "vid2dyn[napari]" in extras["gui"]
    assert [one for one in extras["gui"] if one.startswith(bindings)]
    plugin = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "napari_plugin").rglob("*.py"))
    assert not re.search(r"^\s*(?:from|import) (?:PyQt|PySide)", plugin, flags=re.MULTILINE), "import from qtpy"


def test_changelog_keeps_its_format() -> None:
    """keepachangelog.com: versions, the newest first; in each the kinds of changes, every one an item."""
    versions = re.findall(r"^## (.+)$", CHANGELOG, flags=re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", title) for title in versions[1:]]
    assert all(dated), versions
    numbers = [bound(found[1]) for found in dated if found]
    assert numbers == sorted(numbers, reverse=True)
    kinds = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    for text in re.split(r"^## .+$", CHANGELOG, flags=re.MULTILINE)[1:]:
        named = re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
        assert named == [kind for kind in kinds if kind in named], named
        for section in re.split(r"^### .+$", text, flags=re.MULTILINE)[1:]:
            assert all(line.startswith(("- ", "  ")) for line in section.strip().splitlines() if line), section[:200]


@pytest.mark.parametrize("folder", ["vid2dyn", "napari_plugin"])
def test_nothing_in_the_packages_needs_the_clone(folder: str) -> None:
    """Only the demonstration looks for the samples above the package; installed, they lie beside it."""
    for path in (ROOT / folder).rglob("*.py"):
        if path.name != "demo.py":
            assert "parents[2]" not in path.read_text(encoding="utf-8"), path
