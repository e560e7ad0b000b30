"""Faults with real processes: a parent that dies, signals, two runs in one folder, a full disk, inputs that change."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import vid2dyn as vd
from vid2dyn.core.errors import DataError
from vid2dyn.core.files import atomic, check_writable, locked
from vid2dyn.runs import chunks
from vid2dyn.runs.movies import _folder_names, _write_summary, run_experiment

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
PARENT = """
import sys, time
from vid2dyn.core.workers import in_processes
if __name__ == "__main__":
    for _ in in_processes(time.sleep, [(60,), (60,)], 2, ["a", "b"]):
        pass
"""


def children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(line) for line in done.stdout.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.1)
    return False


@posix
@pytest.mark.skipif(not Path("/proc/self/stat").exists() or shutil.which("pgrep") is None,
                    reason="needs /proc and pgrep")
@pytest.mark.parametrize("number", [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.case) for n in (
    signal.SIGTERM, signal.SIGHUP))])
def test_workers_leave_with_their_parent(number: int, tmp_path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    try:
        def busy() -> bool:
            lines = [Path(f"/proc/{c}/cmdline").read_bytes() for c in children(parent.pid)]
            return sum(b"spawn_main" in line for line in lines) >= 2

        assert wait_for(busy)
        time.sleep(1.0)                                     # they have begun
        workers = children(parent.pid)
        parent.send_signal(number)
        parent.wait(30)
        assert wait_for(lambda: not any(map(alive, workers)), 15)
    finally:
        parent.kill()
        parent.stdout.close()


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.case) for n in (
    signal.SIGINT, signal.SIGHUP))])
def test_signals_end_a_command_as_ctrl_c_does(number: int, tmp_path) -> None:
    command = [sys.executable, "-c", "from vid2dyn.cli import main; main()", "simulate", "Brownian", "--set",
               "pair=Yukawa",
               "--set", "n_particles=500", "--set", "frames=20000", "--set", "box_length=60",
               "--out", str(tmp_path / "a.parquet"), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(4.0)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "cancelled" in said
    assert not list(tmp_path.iterdir())


def test_two_runs_in_one_folder(tmp_path) -> None:
    code = ("import sys, time; from vid2dyn.core.files import locked\n"
            "with locked(sys.argv[1]):\n    print('mine', flush=True); time.sleep(60)")
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(DataError, match=rf"process {other.pid} .* works in this folder"), locked(tmp_path / "out"):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with locked(tmp_path / "out"):                          # the dead hold no locks
        pass
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_with_the_file(tmp_path) -> None:
    def write() -> None:
        with atomic(tmp_path / "a.txt") as scratch:
            scratch.symlink_to("/dev/full")
            scratch.write_bytes(b"0" * 100_000)

    with pytest.raises(DataError, match=r"a\.txt: cannot be written: the disk is full"):
        write()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_known_before_the_work(tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, says in ((tmp_path, "is a folder"), (tmp_path / ("a" * 300 + ".parquet"), "name is too long"),
                       (tmp_path / "file" / "a.parquet", "a file, not a folder")):
        with pytest.raises(DataError, match=says):
            check_writable(path)
    with pytest.raises(DataError, match="is what is read"):
        check_writable(tmp_path / "file", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    long = tmp_path / ("b" * 240 + ".parquet")              # fits, with no room for a scratch name made of it
    with atomic(check_writable(long)) as scratch:
        scratch.write_text("x")
    assert long.read_text() == "x"


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="may not write"):
        check_writable(tmp_path / "a.parquet")


# ---------------------------------------------------------------- one folder for each movie, inside the output

def folders(*paths: str) -> list[str]:
    class Named(SimpleNamespace):
        @property
        def name(self) -> str:
            return Path(self.path).stem

    return list(_folder_names(tuple(Named(path=p) for p in paths)))


@pytest.mark.parametrize("paths", [
    ("a/clip.tif", "b/clip.tif"), ("clip.tif", "clip.avi", "clip_1.tif"), ("A.tif", "a.tif"), ("...tif", "..tif",
                                                                                               ".tif"),
    ("x.tif", "x .tif", "x..tif"), ("a:b.tif", "a?b.tif"), ("c" * 200 + "1.tif", "c" * 200 + "2.tif"),
])
def test_every_movie_has_a_folder_of_its_own(paths: tuple[str, ...]) -> None:
    names = folders(*paths)
    assert len({name.casefold() for name in names}) == len(paths)
    for name in names:
        assert (Path("/out") / name).resolve().parent == Path("/out")
        assert re.fullmatch(r"[^/\\:?*<>|]{1,130}", name)


def test_cells_of_a_summary_are_no_formulas(tmp_path) -> None:
    outcome = SimpleNamespace(folder=Path("=cmd|' C calc'!A0"), error="-1+1", numbers={"D": -0.5, "warnings": 0})
    _write_summary(tmp_path / "summary.csv", [outcome])
    row = (tmp_path / "summary.csv").read_text().splitlines()[1]
    assert row.startswith("'=cmd")
    assert ",-0.5," in row
    assert row.endswith("'-1+1")


# ---------------------------------------------------------------- inputs that change, outputs that are the user's

def movie(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    frames = [10 + 90 * sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in rng.uniform(12, 52, (4, 2)))
              + rng.normal(0, 2, y.shape) for _ in range(6)]
    tifffile.imwrite(path, np.array(frames).clip(0, 255).astype(np.uint8), photometric="minisblack")
    return path


def test_a_movie_that_is_replaced_under_a_resume_is_tracked_anew(tmp_path) -> None:
    path, kept = movie(tmp_path / "a.tif", 0), tmp_path / "kept"
    settings = vd.tracking.Track(diameter=9, search_range=5)
    first = chunks.track_movie(path, tmp_path / "one.parquet", settings, parts=kept, keep_parts=True)
    before = path.stat()
    movie(tmp_path / "other.tif", 1)
    shutil.copy(tmp_path / "other.tif", path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))               # same size, same time
    assert path.stat().st_size == before.st_size
    chunks.track_movie(path, tmp_path / "two.parquet", settings, parts=kept)
    expected = chunks.track_movie(tmp_path / "other.tif", tmp_path / "three.parquet", settings)
    two, three = vd.load(tmp_path / "two.parquet"), vd.load(tmp_path / "three.parquet")
    assert two.dataframe.equals(three.dataframe)
    assert two.info["sha256"] == three.info["sha256"]
    assert first.n_detections
    assert expected.n_detections


def test_a_movie_that_changes_while_it_is_tracked_is_refused(tmp_path) -> None:
    path = movie(tmp_path / "a.tif", 0)

    def swap(done: int, total: int, what: str) -> None:
        if what == "linking":
            movie(path, 1)

    with pytest.raises(DataError, match="changed while it was tracked"):
        chunks.track_movie(path, tmp_path / "a.parquet", vd.tracking.Track(diameter=9, search_range=5), progress=swap)
    assert not (tmp_path / "a.parquet").exists()


def test_a_plan_that_was_changed_is_made_anew(tmp_path) -> None:
    path, kept = movie(tmp_path / "a.tif", 0), tmp_path / "kept"
    settings = vd.tracking.Track(diameter=9, search_range=5)
    one = chunks.track_movie(path, tmp_path / "one.parquet", settings, parts=kept, keep_parts=True)
    (plan,) = kept.glob("*/plan.json")
    text = plan.read_text()
    plan.write_text(re.sub(r'"minmass": [0-9.]+', '"minmass": 99999.0', text))
    assert plan.read_text() != text
    for part in plan.parent.glob("*.parquet"):
        part.unlink()
    two = chunks.track_movie(path, tmp_path / "two.parquet", settings, parts=kept)
    assert two.n_detections == one.n_detections


def test_files_of_the_user_are_not_overwritten(tmp_path) -> None:
    experiment = tmp_path / "e.toml"
    experiment.write_text('[simulate]\nkind = "Brownian"\nn_particles = 5\nframes = 20\n')
    out = tmp_path / "out" / "Brownian"
    out.mkdir(parents=True)
    (out / "tracks.parquet").write_text("mine")
    outcome = vd.run(experiment, out=tmp_path / "out")[0]
    assert "would overwrite it" in outcome.error
    assert (out / "tracks.parquet").read_text() == "mine"
    assert run_experiment is not None


def test_what_a_memory_cannot_hold_is_refused_with_the_number() -> None:
    for make in (lambda: vd.simulate(vd.simulators.Brownian(n_particles=10**7, frames=10**6)),):
        with pytest.raises(DataError, match=r"needs .* GB of memory"):
            make()
