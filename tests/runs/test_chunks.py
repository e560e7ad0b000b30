"""One movie in pieces: the same bytes from one process, two, chunks in any order, and after kill -9 at any moment."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.files import sha256
from vid2dyn.runs.chunks import track_chunk, track_movie
from vid2dyn.tracking import Track, assemble, detections

SETTINGS = Track(diameter=9, search_range=5, memory=2)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of about 20 particles."""
    path = tmp_path_factory.mktemp("movie") / "clip.tif"
    vd.render(vd.simulators.Brownian(n_particles=40, frames=60, box_length=12.8),
              vd.simulators.Renderer(height=96, width=112), 3, to=path)
    return path


@pytest.fixture(scope="module")
def expected(movie: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the library finds in one go."""
    return vd.track(movie, SETTINGS).save(tmp_path_factory.mktemp("whole") / "t.parquet").read_bytes()


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith((".tif", ".truth.parquet")))


@pytest.mark.parametrize("part_frames", [1000, 17])
def test_parts_give_the_bytes_of_the_whole(movie: Path, expected: bytes, tmp_path: Path, part_frames: int) -> None:
    done = []
    result = track_movie(movie, tmp_path / "t.parquet", SETTINGS, part_frames=part_frames,
                         progress=lambda *step: done.append(step))
    assert result.path.read_bytes() == expected
    tracks = vd.load(result.path)
    assert (result.n_particles, result.n_detections, result.n_frames) == (tracks.n_particles, len(tracks), 60)
    assert [step for step in done if step[2] == "tracking"] == [(k + 1, 60, "tracking") for k in range(60)]
    assert leftovers(tmp_path) == ["t.parquet"]


def test_small_buckets_and_groups_change_nothing(movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting through files and writing in groups, many of each, with short tracks left out."""
    monkeypatch.setattr("vid2dyn.data.trajectories.GROUP", 100)
    settings = Track(diameter=9, search_range=2, min_length=3, start=7, stop=55)
    whole = vd.track(movie, settings).save(tmp_path / "whole.parquet").read_bytes()
    monkeypatch.setattr(assemble, "BUCKET", 37)
    assert track_movie(movie, tmp_path / "t.parquet", settings, part_frames=10).path.read_bytes() == whole


def test_chunks_in_any_order_then_links(movie: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    for chunk in ("3/4", "1/4", "4/4"):
        assert track_chunk(movie, out, SETTINGS, chunk=chunk, part_frames=10)[1] == 6
    again = []
    result = track_movie(movie, out, SETTINGS, part_frames=10, progress=lambda *step: again.append(step))
    assert result.path.read_bytes() == expected
    assert len([step for step in again if step[2] == "tracking"]) < 30, "finished chunks were searched again"


def test_other_links_use_the_same_parts(movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.parquet"
    track_movie(movie, out, SETTINGS, keep_parts=True)
    manifest = json.loads(next(tmp_path.rglob("manifest.json")).read_text())
    assert manifest["output"]["sha256"] == sha256(out)
    assert str(tmp_path) not in json.dumps(manifest)
    wide = Track(diameter=9, search_range=8, memory=0)
    whole = vd.track(movie, wide).save(tmp_path / "whole.parquet").read_bytes()
    monkeypatch.setattr(detections, "detector", lambda settings: pytest.fail("searched again"))
    assert track_movie(movie, out, wide, keep_parts=True).path.read_bytes() == whole
    with pytest.raises(pytest.fail.Exception, match="searched again"):
        track_movie(movie, out, Track(diameter=11))


def test_other_files_in_the_folder_of_parts_stay(movie: Path, expected: bytes, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "notes" / "1.parquet"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(DataError, match="no particle"):
        track_movie(movie, tmp_path / "t.parquet", Track(diameter=9, minmass=1e9), parts=tmp_path / "mine")
    assert track_movie(movie, tmp_path / "t.parquet", SETTINGS, parts=tmp_path / "mine").path.read_bytes() == expected
    assert [p for p in (tmp_path / "mine").rglob("*") if p.is_file()] == [mine]


def test_damaged_parts_are_made_again(movie: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    track_movie(movie, out, SETTINGS, part_frames=20, keep_parts=True)
    files = sorted(tmp_path.rglob("0*.*"))
    assert len(files) == 6
    for k, file in enumerate(files):
        content = bytearray(file.read_bytes())
        if k % 3 == 0:
            file.unlink()
        elif k % 3 == 1:
            file.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 3] ^= 0xFF
            file.write_bytes(content)
    assert track_movie(movie, out, SETTINGS, part_frames=20).path.read_bytes() == expected


def command(movie: Path, out: Path, *more: object) -> list[str]:
    return [sys.executable, "-c", "from vid2dyn.cli.commands import main; main()", "track", str(movie), "-o", str(out),
            "--diameter", "9", "--search-range", "5", "--memory", "2", *map(str, more)]


def test_two_workers_as_a_command(movie: Path, expected: bytes, tmp_path: Path) -> None:
    subprocess.run(command(movie, tmp_path / "two.parquet", "--workers", 2, "--part-frames", 20), check=True,
                   capture_output=True)
    assert (tmp_path / "two.parquet").read_bytes() == expected


def test_chunk_as_a_command(movie: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "cut.parquet"
    arguments = command(movie, out, "--part-frames", 20)[3:]
    told = CliRunner().invoke(app, [*arguments, "--chunk", "2/3"])
    assert told.exit_code == 0
    assert "chunk 2/3: 1 of 3 parts" in told.output
    assert not out.exists()
    assert "tracks, " in CliRunner().invoke(app, arguments).output
    assert out.read_bytes() == expected
    assert "write i/n" in CliRunner().invoke(app, [*arguments, "--chunk", "2"]).output


def kill_after(arguments: list[str], seconds: float) -> bool:
    """Start, kill -9 the whole group after a while; whether it was still running."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True) as process:
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True


def test_killed_once_and_repeated(movie: Path, expected: bytes, tmp_path: Path) -> None:
    """kill -9 when the first part is there; the second run finishes."""
    out = tmp_path / "t.parquet"
    with subprocess.Popen(command(movie, out, "--part-frames", 2), start_new_session=True) as process:
        while not list(tmp_path.rglob("0*.parquet")) and process.poll() is None:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    assert not out.exists(), "killed too late to show anything"
    assert track_movie(movie, out, SETTINGS, part_frames=2).path.read_bytes() == expected
    assert leftovers(tmp_path) == ["t.parquet"]


@pytest.mark.case
def test_killed_at_random_moments_and_repeated(movie: Path, expected: bytes, tmp_path: Path) -> None:
    """kill -9 at five random moments of one run with two workers, then once more without."""
    rng = np.random.default_rng(int(os.environ.get("SEED", "0")))
    start = time.perf_counter()
    subprocess.run(command(movie, tmp_path / "timed.parquet", "--part-frames", 2, "--workers", 2), check=True,
                   capture_output=True)
    whole = time.perf_counter() - start
    killed = 0
    for _ in range(5):
        killed += kill_after(command(movie, tmp_path / "t.parquet", "--part-frames", 2, "--workers", 2),
                             whole * rng.uniform(0.3, 1.0))
    assert killed >= 2
    subprocess.run(command(movie, tmp_path / "t.parquet", "--part-frames", 2, "--workers", 2), check=True,
                   capture_output=True)
    assert (tmp_path / "t.parquet").read_bytes() == expected
    assert leftovers(tmp_path) == ["t.parquet", "timed.parquet"]


def test_bad_chunks_parts_and_movies_are_refused(movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    for chunk in ("0/4", "5/4", "3", "a/b", "1/0", "-1/2"):
        with pytest.raises(ConfigError, match="write i/n"):
            track_chunk(movie, out, chunk=chunk)
    with pytest.raises(ConfigError, match="workers = 0"):
        track_movie(movie, out, workers=0)
    (tmp_path / "t.parts").write_text("")
    with pytest.raises(ConfigError, match=r"t\.parts: is a file"):
        track_movie(movie, out)
    with pytest.raises(DataError, match="no particle in any frame"):
        track_movie(movie, tmp_path / "none.parquet", Track(diameter=9, minmass=1e9))
    with pytest.raises(ConfigError, match="search_range = 200"):
        track_movie(movie, tmp_path / "none.parquet", Track(diameter=9, search_range=200))


def test_frames_that_change_size_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    for k, size in enumerate((48, 48, 40)):
        tifffile.imwrite(folder / f"{k}.tif", np.full((size, 48), 20, np.uint8))
    with pytest.raises(DataError, match=r"2\.tif|frame 2"):
        track_movie(folder, tmp_path / "t.parquet", Track(minmass=10))


def test_dask_script_gives_the_same_bytes(movie: Path, expected: bytes, tmp_path: Path) -> None:
    """With a client that works at once, in the wrong order: what a cluster may do."""
    spec = importlib.util.spec_from_file_location("dask_track", Path(__file__).parents[2] / "scripts/dask_track.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    class Client:
        def submit(self, function, *arguments, pure, **keywords):
            return lambda: function(*arguments, **keywords)

        def gather(self, futures):
            return [future() for future in reversed(futures)]

    script.run(Client(), movie, tmp_path / "t.parquet", SETTINGS, 3)
    assert (tmp_path / "t.parquet").read_bytes() == expected


@pytest.mark.case
def test_slurm_script_runs_without_slurm(movie: Path, expected: bytes, tmp_path: Path) -> None:
    """Every chunk as a command, then the links, through the script; `vid2dyn` is the one of this interpreter."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    start = f'exec {sys.executable} -c "from vid2dyn.cli.commands import main; main()" "$@"'
    (bin_folder / "vid2dyn").write_text(f"#!/bin/sh\n{start}\n")
    (bin_folder / "vid2dyn").chmod(0o755)
    script = Path(__file__).parents[2] / "scripts/slurm_array.sh"
    subprocess.run([script, movie, tmp_path / "t.parquet", "1", *command(movie, tmp_path)[7:]], check=True,
                   capture_output=True, env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"})
    assert (tmp_path / "t.parquet").read_bytes() == expected
