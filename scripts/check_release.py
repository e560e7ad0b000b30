"""Is this a release that installs anywhere? Builds wheel and sdist, and tries both where nothing else is.

    python scripts/check_release.py                 # about five minutes on two cores that are free
    python scripts/check_release.py --only wheel    # or sdist
    python scripts/check_release.py --gui           # also installs napari with a Qt binding and imports the panel

Needs `build` and `twine` (``pip install build twine``), and installs with `uv` where that is on the path. Builds from a
copy of the files that git knows. In each of two empty environments, outside the clone and in an empty folder, with a
home of its own: the demonstration runs, help and viewer answer, napari's plugin manager finds the plugin, and no file
of the clone is opened (an audit hook watches every one). Prints what was checked; ends with 1 at the first thing that
does not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IN_WHEEL = ("vid2dyn/py.typed", "vid2dyn/__init__.pyi", "vid2dyn/reports/page.html.j2", "vid2dyn_napari/napari.yaml",
            "share/vid2dyn/sample_data/clip.tif", "share/vid2dyn/sample_data/demo.toml", "LICENSE")
IN_SDIST = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
            "sample_data/clip.tif", "napari_plugin/vid2dyn_napari/napari.yaml", "vid2dyn/reports/page.html.j2")
NOT_IN_WHEEL = ("tests/", "docs/", "scripts/")

WATCHED = """
import sys
clone = {clone!r}
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode(errors="replace")
        if path.startswith(clone):
            print("opened", path, file=sys.stderr)
            raise SystemExit(99)
sys.addaudithook(watch)
sys.argv = ["vid2dyn", *{words!r}]
from vid2dyn.cli import main
main()
"""

PLUGIN = """
from npe2 import PluginManager
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("vid2dyn")
given = manifest.contributions
print(len(given.commands), "commands,", len(given.readers), "readers,", len(given.sample_data), "samples")
assert given.widgets and given.readers and given.sample_data
"""

PANEL = """
import os
import re
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from importlib.metadata import distribution
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name
manifest = PluginManifest.from_distribution("vid2dyn")
for command in manifest.contributions.commands:
    import_python_name(command.python_name)
print(len(manifest.contributions.commands), "commands of the plugin can be imported")
"""


class Failed(SystemExit):
    """The first thing that does not hold."""

    def __init__(self, what: str) -> None:
        print(f"FAILED  {what}", flush=True)
        super().__init__(1)


def said(what: str) -> None:
    print(f"ok      {what}", flush=True)


def run(words: list[str], what: str, folder: Path, env: dict[str, str] | None = None) -> str:
    """Output of a command; what it printed and the end of the check where it fails."""
    start = time.monotonic()
    if env is None:                           # with PYTHONPATH pip would find vid2dyn there, and install nothing
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
        raise Failed(f"{what} ended with {done.returncode}: {' '.join(words[:4])} ...")
    said(f"{what} ({time.monotonic() - start:.0f} s)")
    return done.stdout


def source(work: Path) -> Path:
    """A copy of the files that git knows; all, where this is no clone (an unpacked sdist)."""
    copy = work / "source"
    if not (ROOT / ".git").exists():
        return Path(shutil.copytree(ROOT, copy))
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


def built(work: Path) -> tuple[Path, Path]:
    """Wheel and sdist."""
    dist = work / "dist"
    run([sys.executable, "-m", "build", "--outdir", str(dist), str(source(work))], "sdist, and wheel from it, built",
        work)
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())], "twine check --strict", work)
    wheel, sdist = next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))
    return wheel, sdist


def inside(wheel: Path, sdist: Path) -> None:
    """What is in both, and what they say of themselves."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = HeaderParser().parsestr(archive.read(next(n for n in names if n.endswith("METADATA"))).decode())
        points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    for wanted in IN_WHEEL:
        if not any(name.endswith(wanted) for name in names):
            raise Failed(f"{wheel.name} lacks {wanted}")
    for other in NOT_IN_WHEEL:
        if any(name.startswith(other) for name in names):
            raise Failed(f"{wheel.name} has {other}, which belongs to the clone")
    said(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB, with types, samples and plugin")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in IN_SDIST:
        if wanted not in held:
            raise Failed(f"{sdist.name} lacks {wanted}")
    said(f"{sdist.name}: {len(held)} files, {sdist.stat().st_size / 1e6:.1f} MB")
    description = about.get_payload()
    local = re.findall(r"\]\((?![a-z]+:|#)[^)]+\)", str(description))
    if local or "](http" not in str(description):
        raise Failed(f"the description for the package index has links that work in a clone only: {local[:3]}")
    said("README as the package index shows it: all links and pictures are absolute")
    if "napari.manifest" not in points or "vid2dyn = vid2dyn.cli:main" not in points:
        raise Failed("the entry points of napari and of the command line are not in the wheel")
    version = next(line.split('"')[1] for line in (ROOT / "vid2dyn" / "__init__.py").read_text().splitlines()
                   if line.startswith("__version__"))
    if about["Version"] != version:
        raise Failed(f"the wheel says version {about['Version']}, vid2dyn {version}")
    for told in ("CITATION.cff", "CHANGELOG.md"):
        if version not in (ROOT / told).read_text(encoding="utf-8"):
            raise Failed(f"{told} does not name version {version}")
    said(f"version {version} in wheel, CITATION.cff and CHANGELOG.md")
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    if any(".example" in url for url in urls.values()):
        print("note    [project.urls] are reserved names (.example): put the public addresses there before uploading")


def environment(work: Path, name: str, artifact: Path, extra: str) -> tuple[Path, dict[str, str]]:
    """An environment with the artifact and what it needs, and the variables of a user who has nothing else."""
    place = work / name
    venv.create(place, with_pip=True)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    wanted = f"{artifact}{extra}"
    uv, python = shutil.which("uv"), str(programs / "python")
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    run([*install, "-q", "-c", str(ROOT / "constraints.txt"), wanted, "npe2"],
        f"{name}: installed in an empty environment, by {'uv' if uv else 'pip'}", work)
    home = work / f"home_{name}"
    home.mkdir()
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "SSL_CERT_FILE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    env = {key: os.environ[key] for key in kept if key in os.environ}
    return programs, env | {"HOME": str(home), "USERPROFILE": str(home), "MPLBACKEND": "Agg"}


def tried(work: Path, name: str, artifact: Path, gui: bool) -> None:
    """Everything that a user does first."""
    programs, env = environment(work, name, artifact, "[gui]" if gui else "")
    folder = work / f"empty_{name}"
    folder.mkdir()
    python, command = str(programs / "python"), str(programs / "vid2dyn")
    where = run([python, "-c", "import vid2dyn; print(vid2dyn.__file__)"], f"{name}: import", folder, env)
    if str(ROOT) in where:
        raise Failed(f"{name}: vid2dyn was imported from the clone, {where}")
    run([command, "--version"], f"{name}: vid2dyn --version", folder, env)
    run([command, "view", "--help"], f"{name}: vid2dyn view --help", folder, env)
    run([command, "list", "dynamics"], f"{name}: vid2dyn list dynamics", folder, env)
    words = WATCHED.format(clone=str(ROOT), words=["demo"])
    out = run([python, "-c", words], f"{name}: vid2dyn demo, no file of the clone opened", folder, env)
    if not (folder / "vid2dyn_demo" / "report.html").is_file() or "diffusion coefficient D" not in out:
        raise Failed(f"{name}: the demonstration wrote no report page")
    print("        " + out.strip().replace("\n", "\n        "))
    said(f"{name}: plugin found by napari's manager: "
         + run([python, "-c", PLUGIN], f"{name}: npe2", folder, env).strip())
    if gui:
        said(f"{name}: " + run([python, "-c", PANEL], f"{name}: panel", folder, env).strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("wheel", "sdist"), help="try one of the two (both are built)")
    parser.add_argument("--gui", action="store_true", help="with napari and a Qt binding")
    chosen = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vid2dyn-release-") as name:
        work = Path(name)
        wheel, sdist = built(work)
        inside(wheel, sdist)
        for kind, artifact in (("wheel", wheel), ("sdist", sdist)):
            if chosen.only in (None, kind):
                tried(work, kind, artifact, chosen.gui)
    print(f"release checked in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
