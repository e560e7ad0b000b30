"""The house itself: quick to import, public names that resolve, rooms in order, no circles between files."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vid2dyn as vd
from vid2dyn.core.registry import parts, resolve

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "pandas", "numba", "scipy", "cv2", "av", "matplotlib", "trackpy", "skimage", "pyarrow"}


def fresh(code: str) -> str:
    """What a new interpreter prints for `code`."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_import_is_fast_and_loads_nothing_heavy() -> None:
    loaded = fresh("import sys, vid2dyn; print(' '.join(m.split('.')[0] for m in sys.modules))").split()
    assert not HEAVY & set(loaded), "import vid2dyn must not load these"
    seconds = []
    for _ in range(5):                                    # best of five: other work may run on the machine
        start = time.perf_counter()
        fresh("import vid2dyn")
        bare = time.perf_counter()
        fresh("pass")
        seconds.append((bare - start) - (time.perf_counter() - bare))
    assert min(seconds) < 0.3


def test_command_line_help_does_not_load_torch() -> None:
    loaded = fresh("import sys, vid2dyn.cli.commands; print(' '.join(m.split('.')[0] for m in sys.modules))").split()
    assert not {"torch", "matplotlib"} & set(loaded)


@pytest.mark.parametrize("name", sorted(vd.__all__))
def test_public_name_resolves(name: str) -> None:
    assert getattr(vd, name) is not None
    assert name in dir(vd)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trakc'"):
        vd.trakc  # noqa: B018


def test_no_room_hides_a_module_of_its_own() -> None:
    """``import vid2dyn.a.b as m`` gives the module b, and no room exports a function of that name."""
    for info in pkgutil.walk_packages(vd.__path__, "vid2dyn."):
        module = importlib.import_module(info.name)
        name, room = info.name.rpartition(".")[2], importlib.import_module(info.name.rpartition(".")[0])
        assert getattr(room, name) is module, info.name
        if name in getattr(room, "__all__", ()) and hasattr(room, "__getattr__"):
            assert room.__getattr__(name) is module, f"{room.__name__} exports another {name}"


def compiles_when_read(decorator: ast.expr) -> bool:
    """Whether numba compiles at the definition: a callback or ufunc, or a function with its types given."""
    if not isinstance(decorator, ast.Call):
        return False
    name = ast.unparse(decorator.func).rpartition(".")[2]
    return name == "cfunc" or (name in ("njit", "jit", "vectorize", "guvectorize") and bool(decorator.args))


def test_nothing_is_compiled_when_it_is_imported() -> None:
    """It would be by everyone who imports a neighbour of it, and by each process of a run of tests."""
    slow = [f"{path.relative_to(ROOT)}:{node.name}" for path in (ROOT / "vid2dyn").rglob("*.py")
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and any(map(compiles_when_read, node.decorator_list))]
    assert not slow
    planted = ast.parse("@cfunc(types.void(), cache=True)\ndef f(): pass\n@njit('f8(f8)')\ndef g(x): pass").body
    assert all(compiles_when_read(node.decorator_list[0]) for node in planted if isinstance(node, ast.FunctionDef))


def test_stub_of_the_simulators_lists_every_part() -> None:
    known = {*parts("simulators"), *parts("potentials")}
    assert known <= set(vd.simulators.__all__), "add it to vid2dyn/simulators/__init__.pyi, for editors"


def test_public_functions_and_classes_say_what_they_do() -> None:
    silent = [name for name in vd.__all__ if name != "__version__" and not (getattr(vd, name).__doc__ or "").strip()]
    assert not silent


def test_layers_hold() -> None:
    lint = shutil.which("lint-imports") or shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if lint is None:
        pytest.skip("import-linter is not installed: pip install -e '.[test]'")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout[-3000:]


def imported(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports: at the top, in functions, and for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in submodules if name in modules} or {node.module}
    return found & set(modules)


@pytest.mark.parametrize(("folder", "package"), [(ROOT, "vid2dyn"), (ROOT / "napari_plugin", "vid2dyn_napari")])
def test_no_circle_between_files(folder: Path, package: str) -> None:
    modules = {".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
               for path in (folder / package).rglob("*.py")}
    arrows = {name: imported(path, modules) - {name} for name, path in modules.items()}
    waiting: dict[str, set[str]] = {name: set(to) for name, to in arrows.items()}
    while free := [name for name, to in waiting.items() if not to]:
        for name in free:
            del waiting[name]
        for to in waiting.values():
            to -= set(free)
    # what is left is in circles, or imports from them: drop the latter
    while idle := set(waiting) - set().union(*waiting.values(), set()):
        for name in idle:
            del waiting[name]
    assert not waiting, f"circles of imports: { {name: sorted(to & set(waiting)) for name, to in waiting.items()} }"


def test_git_ignores_no_file_of_a_package() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    files = [path for folder in ("vid2dyn", "napari_plugin", "docs") for path in (ROOT / folder).rglob("*")
             if path.suffix in (".py", ".pyi", ".j2", ".yaml", ".md", ".toml") and "__pycache__" not in path.parts]
    found = subprocess.run(["git", "check-ignore", "--stdin"], cwd=ROOT, input="\n".join(map(str, files)),
                           capture_output=True, text=True)
    assert not found.stdout, f".gitignore keeps these out of clones:\n{found.stdout}"


def test_every_folder_of_the_packages_says_what_is_in_it() -> None:
    for top in (ROOT / "vid2dyn", ROOT / "napari_plugin" / "vid2dyn_napari"):
        for folder in {path.parent for path in top.rglob("*.py")}:
            first = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
            assert ast.get_docstring(first), f"{folder / '__init__.py'} has no docstring"


def test_map_names_every_room() -> None:
    """The docstring of the package is the map: every room and every file at the top is in it, and nothing else."""
    rooms = {info.name for info in pkgutil.iter_modules(vd.__path__)}
    diagram = [line.strip() for line in (vd.__doc__ or "").splitlines() if line.startswith("    ")]
    named = {word.strip(",") for line in diagram for word in re.split(r"\s{2,}", line)[0].split()}
    assert named == rooms


CONTRACT = {
    "Trajectories": ("dataframe", "units", "box", "from_dataframe", "save", "load"),
    "Model": ("band", "rollout", "save", "load"),
    "model.brownian:BrownianModel": ("pair_potential", "pair_force", "diffusion"),
    "model.gradient_flow:GradientFlowModel": ("free_energy", "mobility"),
    "model.metriplectic:MetriplecticModel": ("temperature", "pressure"),
}
"""Names of classes that are used from outside: they stay."""

KEYWORDS = {
    "open": ("frames_per_second", "micrometre_per_pixel", "exposure"),
    "track": ("diameter", "search_range", "memory"),
    "fit": ("seed",), "simulate": ("seed",), "report": ("tracks", "model", "rollout", "video"),
    "Brownian": ("cutoff",), "Metriplectic": ("cutoff",), "GradientFlow": (),
    "diffusion": (), "compare": (), "load": (),
}
"""Calls that are used from outside, with the keywords that stay."""


@pytest.mark.parametrize("owner", CONTRACT)
def test_classes_keep_the_names_that_are_used_from_outside(owner: str) -> None:
    cls = resolve(f"vid2dyn.{owner}") if ":" in owner else getattr(vd, owner)
    fields = getattr(cls, "__dataclass_fields__", {})
    assert not [name for name in CONTRACT[owner] if not hasattr(cls, name) and name not in fields]


@pytest.mark.parametrize("call", KEYWORDS)
def test_calls_keep_the_keywords_that_are_used_from_outside(call: str) -> None:
    assert set(KEYWORDS[call]) <= set(inspect.signature(getattr(vd, call)).parameters)


def test_every_band_has_the_same_signature() -> None:
    models = [resolve(kind.model) for kind in parts("dynamics").values()]              # type: ignore[attr-defined]
    assert len(models) >= 3
    assert {tuple(inspect.signature(model.band).parameters)[1:] for model in models} == {("name", "x", "level")}
