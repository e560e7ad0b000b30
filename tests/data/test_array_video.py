"""Recordings in memory: arrays of any library, parts of any recording, and the tracker on both."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Ten frames of four spots that move by a pixel a frame."""
    y, x = np.mgrid[:64, :80]
    frames = []
    for t in range(10):
        image = sum(120 * np.exp(-((y - cy) ** 2 + (x - cx - t) ** 2) / 8)
                    for cy, cx in ((15, 15), (15, 50), (45, 20), (48, 55)))
        frames.append(20 + image + np.random.default_rng(t).normal(0, 2, y.shape))
    return np.clip(frames, 0, 255).astype(np.uint8)


class Lazy:
    """An array of another library: a shape, a type, and numpy's indexing; counts the pixels that are asked for."""

    def __init__(self, array: np.ndarray, dims: tuple[str, ...] = ()) -> None:
        self._array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0
        if dims:
            self.dims = dims

    def __getitem__(self, index):
        found = self._array[index]
        self.read += found.size
        return found


def test_axes_in_any_order_give_the_same_frames(pixels):
    """And lazy arrays are read frame by frame."""
    plain = vd.Video.from_array(pixels, frames_per_second=10, micrometre_per_pixel=0.2)
    assert (len(plain), plain.shape, plain.info.dtype, plain.frames_per_second) == (10, (64, 80), "uint8", 10)
    several = np.stack([pixels // 2, pixels], axis=1)
    for array, options in (
            (pixels.transpose(2, 0, 1), {"axes": "xty"}), (several, {"axes": "tcyx", "channel": 1}),
            (np.stack([pixels, pixels // 3], axis=1), {"axes": "tzyx", "z": 0}),
            (Lazy(several, ("time", "channel", "y", "x")), {"channel": 1}), (list(pixels), {}),
            (np.stack([pixels // 2, pixels, pixels // 3], axis=-1), {"axes": "tyxs"})):
        video = vd.Video.from_array(array, **options)
        assert np.array_equal(np.stack(list(video)), pixels), options
    lazy = Lazy(pixels)
    video = vd.Video.from_array(lazy)
    assert lazy.read == 0
    assert np.array_equal(video[3], pixels[3])
    assert lazy.read == pixels[3].size
    assert vd.Video.from_array(pixels[0])[0].shape == (64, 80)
    assert vd.Video.from_array(pixels.astype(np.int64)).info.dtype == "float32"


def test_parts_are_cut_when_they_are_asked_for(pixels, tmp_path: Path):
    path = tmp_path / "clip.tif"
    tifffile.imwrite(path, pixels)
    for whole in (vd.Video.from_array(pixels, frames_per_second=10), vd.open(path, frames_per_second=10)):
        part = whole[2:9, 5:60, :40]
        assert (len(part), part.shape, part.frames_per_second) == (7, (55, 40), 10)
        assert np.array_equal(np.stack(list(part)), pixels[2:9, 5:60, :40])
        assert np.array_equal(part[-1], pixels[8, 5:60, :40])
        thin = whole[1::3]
        assert thin.frames_per_second == pytest.approx(10 / 3)
        assert np.array_equal(np.stack(list(thin)), pixels[1::3])
        assert np.array_equal(part[1:3, :, 3:][1], pixels[4, 5:60, 3:40])
        assert np.array_equal(whole[4, :10, :12], pixels[4, :10, :12])


def test_parts_of_a_movie_coded_between_frames(pixels, tmp_path: Path):
    """Key frames are found through the part."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for image in np.repeat(pixels, 4, axis=0):
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="gray")):
                made.mux(packet)
        for packet in stream.encode():
            made.mux(packet)
    whole = vd.open(path)
    part = whole[7:35:2, 3:50]
    frames = list(whole)
    assert np.array_equal(np.stack(list(part)), np.stack(frames[7:35:2])[:, 3:50])
    for k in (13, 2, 9):
        assert np.array_equal(part[k], frames[7 + 2 * k][3:50])


def test_the_tracker_takes_arrays(pixels, tmp_path: Path):
    """The same tracks as of a file, to the bit, and of a part of it."""
    path = tmp_path / "clip.tif"
    tifffile.imwrite(path, pixels)
    settings = {"diameter": 9, "search_range": 4, "frames_per_second": 10, "micrometre_per_pixel": 0.2}
    of_file, of_array = vd.track(path, **settings), vd.track(pixels, **settings)
    assert of_file.n_particles >= 4
    assert of_array.dataframe.equals(of_file.dataframe)
    assert of_array.units == of_file.units
    assert vd.track(list(pixels), axes="tyx", **settings).dataframe.equals(of_file.dataframe)
    part = vd.track(vd.open(path)[2:7, 2:][1:], diameter=9, search_range=4)
    assert part.n_frames == 4
    assert part.info["part"] == "frames 1:5, rows 0:62, columns 0:80 of frames 2:7, rows 2:64, columns 0:80"
    assert "part" not in of_file.info
    of_array.save(tmp_path / "tracks.parquet")
    assert vd.load(tmp_path / "tracks.parquet").info["source"] == "array in memory"
    assert vd.suggest(pixels).track.diameter in (7, 9, 11)


def test_what_is_no_recording_is_said(pixels):
    for wrong, words in ((None, "NoneType is not a recording"), ([], "list of images is empty"),
                         ([pixels[0], pixels[0, :5]], r"image 1 has shape \(5, 80\)"),
                         (np.zeros((3, 0, 4)), "holds no pixel"), (np.full((2, 8, 8), np.nan), "NaN or infinite"),
                         (np.zeros((2, 8, 8), complex), "real numbers"), (3.0, "float is not a recording")):
        with pytest.raises(DataError, match=words):
            list(vd.Video.from_array(wrong))
    for wrong, options, words in (
            (np.zeros((2, 3, 8, 8)), {}, "needs axes"), (pixels, {"axes": "tyy"}, "do not name"),
            (pixels, {"axes": "tx"}, "do not name"),
            (np.zeros((2, 3, 8, 8)), {"axes": "tzyx", "z": 3}, "depth 3 does not exist"),
            (np.zeros((2, 3, 8, 8)), {"axes": "tcyx", "channel": 3}, "channel 3 does not exist"),
            (pixels, {"channel": 1}, "channel 1 was asked for"), (pixels, {"z": 0}, "depth 0 was asked for")):
        with pytest.raises(ConfigError, match=words):
            vd.Video.from_array(wrong, **options)
    video = vd.Video.from_array(pixels)
    for index, words in ((slice(20, 30), "none at all"), (slice(None, None, -1), "backwards"),
                         ((slice(None), slice(None, None, 2)), "cannot be thinned"), ("a", "slices"),
                         ((slice(None), 3), "rows and columns are slices")):
        with pytest.raises(ConfigError, match=words):
            video[index]
    with pytest.raises(ConfigError, match=r"unknown key 'diametre'.*axes"):
        vd.track(pixels, diametre=9)
    with pytest.raises(DataError, match="already"):
        vd.Video.from_array(video)


@pytest.mark.parametrize("library", ["dask.array", "xarray", "zarr"])
def test_arrays_of_other_libraries(pixels, library: str):
    """Where they are installed."""
    module = pytest.importorskip(library)
    made = {"dask.array": lambda: module.from_array(pixels, chunks=(2, 64, 80)),
            "xarray": lambda: module.DataArray(pixels.transpose(1, 2, 0), dims=("row", "column", "frame")),
            "zarr": lambda: module.array(pixels)}[library]()
    assert np.array_equal(np.stack(list(vd.Video.from_array(made))), pixels)
    assert library.split(".")[0] in sys.modules
