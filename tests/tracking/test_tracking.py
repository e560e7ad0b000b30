"""Tracking: trackpy's numbers to the last bit, standard errors that are right, and clear words for bad input.

The renderer here is the tests' own: pixel-integrated Gaussian spots, Gaussian or Poisson noise, rounded to grey levels.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trackpy
from scipy.spatial import cKDTree
from scipy.special import erf

from vid2dyn.core.config import build, recipe
from vid2dyn.core.errors import ConfigError, DataError
from vid2dyn.core.progress import Cancelled
from vid2dyn.data.trajectories import Trajectories
from vid2dyn.data.units import Units
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.tracking import (
    COLUMNS,
    CameraNoise,
    CrockerGrier,
    Track,
    automatic_minmass,
    camera_noise,
    keep,
    track,
)

UNITS = Units(micrometre_per_pixel=0.2, frames_per_second=20.0)


# ---------------------------------------------------------------- rendered truth

def spots(centres: np.ndarray, amplitude: float | np.ndarray, width: float, shape: tuple[int, int]) -> np.ndarray:
    """Gaussian spots integrated over pixels [grey levels]; centres (N, 2) as (y, x)."""
    def along(size: int, at: np.ndarray) -> np.ndarray:
        edges = (np.arange(size + 1)[:, None] - 0.5 - at) / (np.sqrt(2) * width)
        return np.diff(erf(edges), axis=0) * width * np.sqrt(np.pi / 2)

    return (along(shape[0], centres[:, 0]) * amplitude) @ along(shape[1], centres[:, 1]).T


def expose(light: np.ndarray, rng: np.random.Generator, dtype: type, read: float, gain: float = 0.0) -> np.ndarray:
    """What the camera makes of it: shot noise of `gain` grey levels a photon, read noise, rounding."""
    if gain:
        light = gain * rng.poisson(light / gain)
    levels = np.round(light + rng.normal(0, read, light.shape))
    return np.clip(levels, 0, np.iinfo(dtype).max).astype(dtype)


def grid(rng: np.random.Generator, size: int = 512, spacing: int = 32) -> np.ndarray:
    """Isolated centres, every sub-pixel phase."""
    nodes = np.arange(spacing, size - spacing // 2, spacing)
    centres = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    return centres + rng.uniform(-0.5, 0.5, centres.shape)


class Made(Video):
    """A video out of a list or a function of the frame number."""

    def __init__(self, frames: Sequence[np.ndarray] | Callable[[int], np.ndarray], length: int | None = None,
                 **info) -> None:
        self.make = frames if callable(frames) else frames.__getitem__
        length = len(frames) if length is None else length  # type: ignore[arg-type]
        height, width = np.shape(self.make(0))[:2]
        super().__init__(VideoInfo(Path("made-up.avi"), length, height, width, "uint8", UNITS, **info))

    def decode(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for number in range(start, stop):
            yield self.make(number)


def frame_with(centres: list[tuple[float, float]], seed: int = 0, size: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    light = 40.0 + (spots(np.array(centres), 120.0, 2.0, (size, size)) if centres else np.zeros((size, size)))
    return expose(light, rng, np.uint8, 4.0)


# ---------------------------------------------------------------- the same numbers as trackpy

def located(frame: np.ndarray, **arguments) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trackpy.locate(frame, **arguments)


@pytest.mark.parametrize("kind", ["8 bit", "16 bit", "float", "inverted", "own sizes"])
def test_features_are_trackpys_to_the_last_bit(kind: str) -> None:
    rng = np.random.default_rng(3)
    light = 50 + spots(rng.uniform(8, 248, (120, 2)), 90.0, 2.2, (256, 256))
    frame = expose(light, rng, np.uint8, 5.0)
    arguments = {"diameter": 11, "minmass": 250.0, "percentile": 50.0}
    if kind == "16 bit":
        frame, arguments["minmass"] = expose(200 * light, rng, np.uint16, 900.0), 40_000.0
    elif kind == "float":
        frame, arguments["minmass"] = frame / 255.0, 1.0
    elif kind == "inverted":
        frame, arguments["invert"] = np.uint8(255) - frame, True
    elif kind == "own sizes":
        arguments |= {"separation": 7.5, "noise_size": 1.4, "smoothing_size": 17, "threshold": 3.0}
    found = CrockerGrier(Track(**arguments))(frame)
    theirs = located(frame, **arguments)
    assert len(found) == len(theirs) > 80
    for name in ("y", "x", "mass", "size", "ecc", "signal", "raw_mass"):
        np.testing.assert_array_equal(found[:, COLUMNS.index(name)], theirs[name].to_numpy(), err_msg=name)


# ---------------------------------------------------------------- standard errors

def scores(width: float, diameter: int, dtype: type, amplitude: float, read: float, gain: float = 0.0,
           repeats: int = 4, seed: int = 0, wrong: float = 1.0) -> np.ndarray:
    """(error / stated standard error) of rendered isolated spots, (repeats * 361, 2)."""
    rng = np.random.default_rng([seed, diameter, int(10 * width)])
    detector = CrockerGrier(Track(diameter=diameter, minmass=0.25 * amplitude * np.pi * width**2))
    background = 60.0 if np.dtype(dtype).itemsize == 1 else 3000.0
    found = []
    for _ in range(repeats):
        truth = grid(rng, spacing=26)
        frame = expose(background + spots(truth, amplitude, width, (512, 512)), rng, dtype, read, gain)
        features = detector(frame)
        distance, row = cKDTree(features[:, :2]).query(truth)
        hit = distance < 3
        assert hit.mean() > 0.99
        found.append((features[row[hit], :2] - truth[hit]) / (wrong * features[row[hit], 2:4]))
    return np.concatenate(found)


WHITE = [(snr, amplitude, scale, dtype) for dtype, scale in ((np.uint8, 1), (np.uint16, 100))
         for snr, amplitude in ((6, 60), (12, 120), (24, 120), (60, 150), (120, 180))]


@pytest.mark.parametrize(("width", "diameter"), [(2.0, 11), (2.5, 13)])
@pytest.mark.parametrize(("snr", "amplitude", "scale", "dtype"), WHITE)
def test_standard_error_is_right(snr, amplitude, scale, dtype, width, diameter) -> None:
    """std of error/sigma within 0.9-1.1 (1.12 at SNR 120, where trackpy's own bias of 0.003-0.005 px joins in).

    2,900 scores: the std of z scatters by 1.3 %; for a true value of 1 the chance of leaving 0.9-1.1 is below 1e-12.
    Detected: any scale error of sigma beyond 17 % (missed with a chance of 1e-6), noise doubled or halved.
    """
    z = scores(width, diameter, dtype, amplitude * scale, amplitude * scale / snr)
    assert 0.9 < z.std() < (1.12 if snr == 120 else 1.1), z.std()
    assert abs(z.mean()) < 0.1


@pytest.mark.parametrize(("gain", "amplitude", "dtype"), [(1.0, 60, np.uint8), (1.0, 150, np.uint8),
                                                         (10.0, 5_000, np.uint16), (30.0, 20_000, np.uint16)])
def test_standard_error_is_right_with_shot_noise(gain, amplitude, dtype) -> None:
    """As many scores as above: false alarm below 1e-12, a scale of sigma wrong by 17 % is seen."""
    z = scores(2.0, 11, dtype, amplitude, 2.0 * gain, gain)
    assert 0.9 < z.std() < 1.1, z.std()


def test_planted_errors_of_sigma_are_seen(monkeypatch) -> None:
    """Sigma 25 % too small, and the noise of bright pixels forgotten, both leave the accepted range."""
    assert scores(2.0, 11, np.uint16, 6000.0, 250.0, wrong=0.75).std() > 1.1
    monkeypatch.setattr("vid2dyn.tracking.detect.crocker_grier.camera_noise",
                        lambda frame: CameraNoise(*(camera_noise(frame).variance(np.array(3000.0)), 0.0, 0.0)))
    assert scores(2.0, 11, np.uint16, 20_000.0, 60.0, 30.0).std() > 1.25


def test_standard_error_is_right_for_each_particle_not_only_on_average() -> None:
    """Dim and bright spots in one frame: each group is calibrated, and the stated errors differ sixfold.

    1,800 scores a group: the std of z scatters by 1.7 %, so 0.88-1.12 are 7 standard errors (false alarm below 1e-11);
    a scale of sigma wrong by 20 % in one group is seen, missed with a chance of 1e-6.
    """
    rng = np.random.default_rng(11)
    detector = CrockerGrier(Track(diameter=11, minmass=5_000))
    z: dict[bool, list[np.ndarray]] = {False: [], True: []}
    stated: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for _ in range(8):
        truth = grid(rng)
        bright = np.arange(len(truth)) % 2 == 0
        light = 3000.0 + spots(truth, np.where(bright, 12_000.0, 2_000.0), 2.0, (512, 512))
        features = detector(expose(light, rng, np.uint16, 200.0))
        _, row = cKDTree(features[:, :2]).query(truth)
        for group in (False, True):
            chosen = row[bright == group]
            z[group].append((features[chosen, :2] - truth[bright == group]) / features[chosen, 2:4])
            stated[group].append(features[chosen, 2:4])
    for group in (False, True):
        assert 0.88 < np.concatenate(z[group]).std() < 1.12
    assert 5 < np.median(np.concatenate(stated[False])) / np.median(np.concatenate(stated[True])) < 7


@pytest.mark.parametrize("read", [1.0, 5.0, 10.0])
def test_read_noise_is_measured_within_3_percent_beside_spots(read: float) -> None:
    """Scatter 0.3 %, bias 0.1 % (12 seeds): 3 % are 9 standard errors, so only an error of 1.5 % or more can fail
    (false alarm below 1e-6), and one of 4.5 % always does."""
    rng = np.random.default_rng(7)
    frame = expose(60 + spots(grid(rng), 120.0, 2.0, (512, 512)), rng, np.uint8, read)
    assert camera_noise(frame).std(60.0) == pytest.approx(np.hypot(read, 1 / np.sqrt(12)), rel=0.03)


def test_shot_noise_line_is_measured_within_10_percent_in_variance() -> None:
    """Of two frames the mean: scatter 0.7, 1.1 and 1.5 % at the three levels, bias 3 % at the first (12 seeds).

    10 % are 6 standard errors beyond the bias at least, false alarm below 1e-6; an error of 20 % is seen.
    """
    rng = np.random.default_rng(8)
    levels = np.array([1000.0, 3000.0, 7000.0])
    found = []
    for _ in range(2):
        light = 1000 + spots(rng.uniform(10, 500, (700, 2)), 8000.0, 2.5, (512, 512))
        found.append(camera_noise(expose(light, rng, np.uint16, 50.0, gain=12.0)).variance(levels))
    ratio = np.mean(found, axis=0) / (12.0 * levels + 2500.0)
    assert np.abs(ratio - 1).max() < 0.1
    assert np.abs(1.2 * ratio - 1).min() > 0.1


# ---------------------------------------------------------------- minmass chosen from the movie

@pytest.mark.parametrize(("snr", "amplitude", "dtype"), [(6, 60, np.uint8), (12, 60, np.uint8), (50, 150, np.uint8),
                                                         (6, 3000, np.uint16), (50, 9000, np.uint16)])
def test_automatic_minmass_finds_all_particles_and_no_noise(snr, amplitude, dtype) -> None:
    rng = np.random.default_rng(9)
    truth = [grid(rng) for _ in range(3)]
    level = 60.0 if dtype is np.uint8 else 3000.0
    frames = [expose(level + spots(t, amplitude * rng.uniform(0.7, 1.3, len(t)), 2.0, (512, 512)), rng, dtype,
                     amplitude / snr) for t in truth]
    settings = Track(diameter=11)
    limit = automatic_minmass(frames, settings)
    detector = CrockerGrier(Track(diameter=11, minmass=limit))
    for t, frame in zip(truth, frames):
        features = detector(frame)
        distance, _ = cKDTree(t).query(features[:, :2])
        assert len(features) == len(t)
        assert (distance < 2).all()


# ---------------------------------------------------------------- movies

def test_track_gives_table_units_and_provenance() -> None:
    said = []
    video = Made([frame_with([(30, 30 + t), (60, 70 - t)], seed=t) for t in range(6)], codec="h264", inter_coded=True)
    tracks = track(video, Track(diameter=11, search_range=4), progress=lambda *step: said.append(step))
    assert tracks.n_particles == 2
    assert list(tracks.dataframe.columns) == ["frame", "particle", *COLUMNS]
    assert tracks.units == UNITS
    assert tracks.field_of_view == (96, 96)
    np.testing.assert_allclose(tracks.dataframe["x"][:6], 30 + np.arange(6), atol=0.3)
    assert (tracks.sigma > 0).all()
    info = tracks.info
    assert (info["source"], info["codec"], info["inter_coded"]) == ("made-up.avi", "h264", True)
    assert build(Track, info["parameters"], "recipe") == Track(diameter=11, search_range=4)
    assert any("compressed" in text for text in info["warnings"])
    assert said == [(k + 1, 6, "tracking") for k in range(6)]


def test_recorded_minmass_repeats_the_result(tmp_path) -> None:
    video = Made([frame_with([(30, 30 + t), (60, 70 - t)], seed=t) for t in range(4)])
    first = track(video, Track(diameter=11, search_range=4))
    again = track(video, Track(diameter=11, search_range=4, minmass=first.info["minmass"]))
    pd.testing.assert_frame_equal(first.dataframe, again.dataframe)
    loaded = Trajectories.load(first.save(tmp_path / "t.parquet"))
    pd.testing.assert_frame_equal(first.dataframe, loaded.dataframe)
    assert loaded.info == first.info


def test_start_stop_and_min_length() -> None:
    video = Made([frame_with([(30, 30), (60, 70)] if t < 4 else [(30, 30)], seed=t) for t in range(9)])
    tracks = track(video, Track(diameter=11, search_range=4, start=2, stop=8))
    assert (tracks.frame.min(), tracks.frame.max(), tracks.n_particles) == (2, 7, 2)
    assert track(video, Track(diameter=11, search_range=4, start=2, stop=8, min_length=3)).n_particles == 1
    with pytest.raises(DataError, match="9 frames"):
        track(video, Track(start=9))


def test_frames_without_particles_are_noted() -> None:
    centres = [[], [(40, 40)], [], [(41, 40)], [(41, 41)]]
    tracks = track(Made([frame_with(c, seed=k) for k, c in enumerate(centres)]), Track(diameter=11, memory=2))
    assert tracks.frame.tolist() == [1, 3, 4]
    assert tracks.n_particles == 1
    assert "2 frames hold no particle: 0, 2." in tracks.info["warnings"]


def test_crowding_and_a_wrong_side_are_said() -> None:
    pair = [frame_with([(40, 40), (40, 53)], seed=k) for k in range(3)]
    assert track(Made(pair), Track(diameter=11)).info["warnings"] == []          # neighbours are fitted together
    warned = track(Made(pair), Track(diameter=11, compat="trackpy")).info["warnings"]
    assert len(warned) == 1
    assert "100 % of the detections have a neighbour within 14 px" in warned[0]
    apart = [frame_with([(40, 40), (40, 60)], seed=k) for k in range(3)]
    assert track(Made(apart), Track(diameter=11, compat="trackpy")).info["warnings"] == []
    mostly_empty = [frame_with([(40, 40)] if k == 1 else [], seed=k) for k in range(3)]
    assert "try invert" in track(Made(mostly_empty), Track(diameter=11)).info["warnings"][0]


def test_no_particle_at_all_says_what_to_change() -> None:
    for frames in ([frame_with([], seed=k) for k in range(3)], [np.full((96, 96), 40, np.uint8)] * 3):
        with pytest.raises(DataError, match=r"no particle in any frame.*invert = true.*diameter.*minmass"):
            track(Made(frames), Track(diameter=11))
    with pytest.raises(DataError, match="as given"):
        track(Made([frame_with([(40, 40)])]), Track(diameter=11, minmass=1e6))


def test_bad_pixels_and_colour_are_refused_by_frame() -> None:
    frames = [frame_with([(40, 40)], seed=k).astype(float) / 255 for k in range(3)]
    frames[1][7, 9] = np.nan
    with pytest.raises(DataError, match=r"made-up.avi: frame 1 .*NaN.*\(7, 9\)"):
        track(Made(frames), Track(minmass=1))
    with pytest.raises(DataError, match=r"frame 0 has shape \(96, 96, 3\)"):
        track(Made([np.zeros((96, 96, 3), np.uint8)]), Track())


def test_progress_can_stop_the_work() -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled
    with pytest.raises(Cancelled):
        track(Made([frame_with([(40, 40)])] * 3), Track(), progress=stop)


def test_few_frames_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a thread that searches, one that waits for it, one that is being decoded."""
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 2)
    alive, most = set(), []

    class Watched(np.ndarray):
        pass

    def make(number: int) -> np.ndarray:
        frame = frame_with([(30, 30), (60, 70)], seed=number).view(Watched)
        alive.add(id(frame))
        weakref.finalize(frame, alive.discard, id(frame))
        most.append(len(alive))
        return frame

    settings = Track(search_range=4, minmass=300, spot="gaussian", spot_width=2.0, invert=False)     # nothing is open
    assert track(Made(make, 20), settings).n_particles == 2
    assert max(most) <= 4


MEASURE = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from vid2dyn.core.workers import peak_memory
from test_tracking import Made, expose, grid, spots, track, Track
rng = np.random.default_rng(0)
centres = rng.uniform(16, 496, (500, 2))
pool = [expose(40 + spots(centres + rng.normal(0, 0.5, centres.shape), 120, 2.0, (512, 512)), rng, np.uint8, 4)
        for _ in range(20)]
tracks = track(Made(lambda k: pool[k % 20].copy(), {frames}), Track(diameter=9, search_range=5, memory=3, minmass=300))
print(len(tracks), 1024 * peak_memory())
"""


def measured(frames: int) -> tuple[int, float]:
    """Detections and peak memory [MB] of a run in a fresh process."""
    code = MEASURE.format(tests=str(Path(__file__).parent), frames=frames)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, peak = done.stdout.split()
    return int(rows), float(peak)


@pytest.mark.case
def test_memory_stays_below_1_gb_and_does_not_double_with_the_movie() -> None:
    rows, peak = measured(1000)
    more_rows, more_peak = measured(2000)
    print(f"1,000 frames: {rows} detections, {peak:.0f} MB; 2,000 frames: {more_rows} detections, {more_peak:.0f} MB")
    assert rows > 350_000
    assert more_rows == pytest.approx(2 * rows, rel=0.01)
    assert peak < 1000
    assert more_peak < 1.6 * peak



# ---------------------------------------------------------------- settings and filters

@pytest.mark.parametrize(("table", "says"), [
    ({"diameter": 10}, "odd number, such as 11"), ({"diameter": 1}, "at least 3"), ({"diameter": 11.5}, "whole"),
    ({"search_range": -1}, "positive"), ({"search_range": 0}, "positive"), ({"search_range": float("nan")}, "positive"),
    ({"memory": -1}, "at least 0"), ({"minmass": -5}, "at least 0"), ({"percentile": 101}, "0 to 100"),
    ({"smoothing_size": 12}, "13"), ({"noise_size": 11}, "smoothing size"), ({"min_length": 0}, "at least 1"),
    ({"start": 5, "stop": 5}, "no frame"), ({"memory": True}, "whole"),
])
def test_settings_out_of_range_are_refused(table: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Track(**table)


def test_settings_are_a_toml_table() -> None:
    settings = build(Track, {"diameter": 13, "search_range": 4, "invert": True}, "[track]")
    assert build(Track, recipe(settings), "[track]") == settings
    with pytest.raises(ConfigError, match="Did you mean 'search_range'"):
        build(Track, {"searchrange": 4}, "[track]")


def test_lengths_beyond_the_frame_are_refused() -> None:
    video = Made([frame_with([(40, 40)])])
    with pytest.raises(ConfigError, match="search_range = 97"):
        track(video, Track(search_range=97))
    with pytest.raises(ConfigError, match="diameter = 97"):
        track(video, Track(diameter=97))


def test_keep_limits_rows_then_tracks() -> None:
    table = pd.DataFrame({"frame": [0, 1, 2, 0, 1, 0], "particle": [0, 0, 0, 1, 1, -1], "y": 1.0, "x": 1.0,
                          "y_std": [0.1, 0.1, 0.9, 0.1, 0.1, 0.1], "x_std": 0.1, "mass": [60, 60, 60, 60, 40, 60.0],
                          "size": 2.0, "ecc": 0.1})
    tracks = Trajectories.from_dataframe(table)
    assert len(keep(tracks)) == 6
    assert keep(tracks, min_mass=50, min_length=2).particle.tolist() == [0, 0, 0]
    assert keep(tracks, max_std=0.5, min_length=2).particle.tolist() == [0, 0, 1, 1]
    assert len(keep(tracks, max_size=2.0)) == 0
    assert len(tracks) == 6
    with pytest.raises(DataError, match="raw"):
        keep(Trajectories.from_dataframe(table.drop(columns="mass").rename(columns={"size": "raw"})), min_mass=1)
    with pytest.raises(ConfigError, match="min_length"):
        keep(tracks, min_length=0)
