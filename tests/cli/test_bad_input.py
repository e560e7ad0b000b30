"""Bad input, end to end: one clear error that names the file and the cure, exit code 2, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app

SIZE = 48


def spots(frame: int, centres: list[tuple[float, float]]) -> np.ndarray:
    """An 8-bit frame with noisy Gaussian spots at (y, x) that wander a little."""
    rng = np.random.default_rng(frame)
    y, x = np.mgrid[:SIZE, :SIZE]
    image = rng.normal(20.0, 2.0, (SIZE, SIZE))
    for cy, cx in centres:
        dy, dx = rng.normal(0, 0.5, 2)
        image += 150 * np.exp(-((y - cy - dy) ** 2 + (x - cx - dx) ** 2) / 8)
    return image.clip(0, 255).astype(np.uint8)


def stack(path: Path, frames: list[np.ndarray]) -> Path:
    tifffile.imwrite(path, np.stack(frames), photometric="minisblack", compression="zlib")
    return path


def one_particle(path: Path, frames: int = 12) -> Path:
    return stack(path, [spots(i, [(24.0, 24.0)]) for i in range(frames)])


def missing(folder: Path) -> Path:
    return folder / "nowhere.avi"


def empty(folder: Path) -> Path:
    path = folder / "empty.avi"
    path.write_bytes(b"")
    return path


def text(folder: Path) -> Path:
    path = folder / "notes.avi"
    path.write_text("these are my notes, not a movie\n" * 50)
    return path


def unknown_suffix(folder: Path) -> Path:
    path = folder / "movie.xyz"
    path.write_bytes(b"12345")
    return path


def nan_pixels(folder: Path) -> Path:
    frames = [spots(i, [(24.0, 24.0)]).astype(np.float32) for i in range(4)]
    frames[2][5, 7] = np.nan
    return stack(folder / "nan.tif", frames)


def no_particle_at_all(folder: Path) -> Path:
    return stack(folder / "blank.tif", [np.full((SIZE, SIZE), 20, np.uint8)] * 4)


BAD_MOVIES: list[tuple[Callable[[Path], Path], str]] = [
    (missing, r"no such file.*Check the path"),
    (empty, r"empty \(0 bytes\).*again"),
    (text, r"not a movie that can be read.*[Cc]opy or export the movie again"),
    (unknown_suffix, r"unknown kind.*Known: .*\.avi"),
    (nan_pixels, r"frame 2.*NaN.*row 5.*column 7"),
    (no_particle_at_all, r"no particle in any frame.*minmass"),
]


def left_behind(folder: Path, before: set[str]) -> set[str]:
    return {p.name for p in folder.rglob("*")} - before


@pytest.mark.parametrize(("make", "message"), BAD_MOVIES, ids=[m.__name__ for m, _ in BAD_MOVIES])
def test_bad_movie(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    before = {p.name for p in tmp_path.rglob("*")}
    with pytest.raises(vd.DataError, match=f"(?s){message}") as caught:
        vd.track(path, diameter=11, search_range=5)
    assert path.name in str(caught.value)
    result = CliRunner().invoke(app, ["track", str(path), "--out", str(tmp_path / "out.parquet")])
    assert result.exit_code == 2
    assert path.name in result.stderr
    assert "Traceback" not in result.output + result.stderr
    assert not left_behind(tmp_path, before)


def test_truncated_movie_keeps_the_readable_frames_and_says_so(tmp_path: Path) -> None:
    whole = one_particle(tmp_path / "whole.tif", frames=30).read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole[: int(len(whole) * 0.6)])
    video = vd.open(cut)
    assert 0 < len(video) < 30
    assert any("cut short" in warning for warning in video.warnings)
    tracks = vd.track(video, diameter=11, search_range=5)
    assert tracks.n_frames == len(video)
    assert any("cut short" in warning for warning in tracks.info["warnings"])


def test_truncated_recording_keeps_the_readable_frames(tmp_path: Path, recordings: Path) -> None:
    cut = tmp_path / "cut.cine"
    whole = (recordings / "cine_781.cine").read_bytes()
    cut.write_bytes(whole[: int(len(whole) * 0.7)])
    video = vd.open(cut)
    assert 0 < len(video) < 15
    assert any("cut short" in warning for warning in video.warnings)
    assert video[len(video) - 1].shape == (256, 256)


def test_frame_without_particle_is_noted_and_kept_out(tmp_path: Path) -> None:
    frames = [spots(i, [(24.0, 24.0)]) for i in range(8)]
    frames[3] = spots(3, [])
    tracks = vd.track(stack(tmp_path / "gap.tif", frames), diameter=11, search_range=5, memory=2, minmass=300)
    assert tracks.n_particles == 1
    assert sorted(set(range(8)) - set(tracks.frame.tolist())) == [3]
    assert any("hold no particle: 3" in warning for warning in tracks.info["warnings"])


def test_one_particle_in_all(tmp_path: Path) -> None:
    path = one_particle(tmp_path / "one.tif")
    tracks = vd.track(path, diameter=11, search_range=5, frames_per_second=10, micrometre_per_pixel=0.1)
    assert tracks.n_particles == 1
    page = vd.report(tmp_path / "one.html", tracks=tracks, video=vd.open(path))
    assert "1 tracks, 12 detections" in page.read_text()
    with pytest.raises(vd.Vid2DynError) as caught:      # too little for a model, and told so
        vd.fit(tracks, vd.Brownian(cutoff=3.0))
    assert len(str(caught.value)) > 40


def test_colour_movie_says_which_channel(tmp_path: Path) -> None:
    frames = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    for i in range(4):
        frames[i, ..., 1] = spots(i, [(24.0, 24.0)])
    tifffile.imwrite(tmp_path / "colour.tif", frames, photometric="rgb")
    video = vd.open(tmp_path / "colour.tif")
    assert any("green" in warning for warning in video.warnings)
    assert video[0].shape == (SIZE, SIZE)
    assert vd.track(video, diameter=11, search_range=5).n_particles == 1


@pytest.mark.parametrize("verb", ["diffusion", "fit"])
def test_missing_calibration_is_asked_for(verb: str, tmp_path: Path) -> None:
    tracks = vd.track(one_particle(tmp_path / "one.tif"), diameter=11, search_range=5)
    with pytest.raises(vd.UnitsError, match=r"frames_per_second.*add frames_per_second=100|micrometre_per_pixel"):
        vd.diffusion(tracks) if verb == "diffusion" else vd.fit(tracks, vd.Brownian(cutoff=3.0))
    path = tracks.save(tmp_path / "tracks.parquet")
    before = {p.name for p in tmp_path.rglob("*")}
    out = ["--out", str(tmp_path / "m.vid2dyn")] if verb == "fit" else []
    result = CliRunner().invoke(app, [verb, str(path), *out])
    assert result.exit_code == 2
    assert "frames_per_second" in result.stderr or "micrometre_per_pixel" in result.stderr
    assert "tracks.parquet" in result.stderr
    assert not left_behind(tmp_path, before)


def test_experiment_without_calibration_is_refused_before_the_work(tmp_path: Path) -> None:
    movie = one_particle(tmp_path / "one.tif")
    (tmp_path / "experiment.toml").write_text(f'[video]\npath = "{movie.name}"\n[track]\ndiameter = 11\n')
    error = vd.run(tmp_path / "experiment.toml", out=tmp_path / "out")[0].error
    assert "one.tif" in error
    assert "add frames_per_second=100" in error
    assert not (tmp_path / "out" / "one" / "tracks.parquet").exists()


def test_rollout_of_no_step_is_refused(model_file: Path, tmp_path: Path) -> None:
    arguments = [str(model_file), str(model_file.parent / "tracks.parquet"), "--out", str(tmp_path / "future.parquet")]
    result = CliRunner().invoke(app, ["rollout", *arguments, "--steps", "0"])
    assert result.exit_code == 2
    assert "at least one frame" in result.stderr
    assert not left_behind(tmp_path, set())


def test_unknown_toml_key(tmp_path: Path) -> None:
    movie = one_particle(tmp_path / "one.tif")
    toml = tmp_path / "experiment.toml"
    toml.write_text(f'[video]\npath = "{movie.name}"\n[track]\nsearch_rnage = 5\n')
    before = {p.name for p in tmp_path.rglob("*")}
    with pytest.raises(vd.ConfigError, match="Did you mean 'search_range'"):
        vd.run(toml)
    result = CliRunner().invoke(app, ["run", str(toml)])
    assert result.exit_code == 2
    assert "experiment.toml [track]: unknown key 'search_rnage'" in result.stderr
    assert not left_behind(tmp_path, before)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"diametre": 11}, "Did you mean 'diameter'"),
    ({"diameter": 10}, "odd"),
    ({"diameter": "large"}, "does not fit"),
    ({"search_range": -1}, "positive"),
    ({"frames_per_secnd": 10}, "Did you mean 'frames_per_second'"),
])
def test_wrong_argument(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(vd.ConfigError, match=message):
        vd.track(one_particle(tmp_path / "one.tif"), **arguments)


def test_table_with_flipped_bytes(tmp_path: Path) -> None:
    tracks = vd.track(one_particle(tmp_path / "one.tif"), diameter=11, search_range=5)
    path = tracks.save(tmp_path / "tracks.parquet")
    damaged = bytearray(path.read_bytes())
    damaged[-200:-100] = bytes(255 - b for b in damaged[-200:-100])
    path.write_bytes(damaged)
    with pytest.raises(vd.DataError, match=r"tracks\.parquet"):
        vd.load(path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    simulator = vd.simulators.Brownian(n_particles=60, frames=40, box_length=12.0, pair=vd.simulators.Yukawa())
    tracks = vd.simulate(simulator, seed=0)
    folder = tmp_path_factory.mktemp("model")
    tracks.save(folder / "tracks.parquet")
    vd.fit(tracks, vd.Brownian(cutoff=3.0)).save(folder / "model.vid2dyn")
    return folder / "model.vid2dyn"


@pytest.mark.parametrize("where", [0.0, 0.02, 0.5, 0.999])
def test_model_file_with_flipped_bytes(where: float, model_file: Path, tmp_path: Path) -> None:
    whole = model_file.read_bytes()
    damaged = bytearray(whole)
    for i in range(3):
        damaged[min(int(where * len(whole)) + i, len(whole) - 1)] ^= 0xFF
    path = tmp_path / "model.vid2dyn"
    path.write_bytes(damaged)
    with pytest.raises(vd.Vid2DynError, match=r"model\.vid2dyn"):
        vd.load(path)
    out = tmp_path / "future.parquet"
    result = CliRunner().invoke(app, ["rollout", str(path), str(model_file.parent / "tracks.parquet"), "-o", str(out)])
    assert result.exit_code == 2
    assert "model.vid2dyn" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("name", ["tracks.csv2", "model.txt"])
def test_load_says_what_it_reads(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(vd.DataError, match=r"\.parquet .*\.vid2dyn"):
        vd.load(tmp_path / name)


def test_failed_movie_does_not_stop_the_others(tmp_path: Path) -> None:
    shutil.copy(text(tmp_path), tmp_path / "b.avi")
    (tmp_path / "experiment.toml").write_text(
        f'[video]\npath = ["{no_particle_at_all(tmp_path).name}", "b.avi"]\nframes_per_second = 10\n'
        "micrometre_per_pixel = 0.1\n[track]\ndiameter = 11\n")
    outcomes = vd.run(tmp_path / "experiment.toml", out=tmp_path / "out")
    assert ["no particle in any frame" in outcomes[0].error, "not a movie" in outcomes[1].error] == [True, True]
    result = CliRunner().invoke(app, ["run", str(tmp_path / "experiment.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "2 of 2 movies failed" in result.stderr
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["summary.csv"]


