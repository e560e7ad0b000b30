"""Every recording opens with the frame count, size and rate that its README states."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from vid2dyn.core.errors import DataError
from vid2dyn.core.opencv import cv2
from vid2dyn.readers import open_video

FACTS = [
    # file, frames, height, width, type, frames per second, codec, inter-coded
    ("bulk-water.mov", 480, 424, 640, "uint8", 24000 / 1001, "h264", True),
    ("brightfield_25f.tif", 25, 500, 500, "uint8", None, "tiff-zlib", False),
    ("active_rollers_8f.tif", 8, 1024, 1024, "uint8", None, "tiff-zlib", False),
    ("hydrogel.mp4", 50, 720, 1280, "uint8", 30.0, "mpeg4", True),
    ("colloids.mp4", 51, 302, 324, "uint8", 50.0, "mpeg4", True),
    ("cine_781.cine", 15, 256, 256, "uint16", 90000.0, "raw", False),
    ("stuck.tif", 5, 512, 512, "uint16", None, "raw", False),
    ("sample_norpix6.seq", 6, 32, 36, "uint8", 10.0, "raw", False),
    ("cluster.nd2", 3, 31, 38, "uint16", 1 / 10.6476, "nd2", False),
]


@pytest.mark.parametrize(("name", "n", "height", "width", "dtype", "rate", "codec", "inter"), FACTS)
def test_opens_as_its_readme_says(recordings, name, n, height, width, dtype, rate, codec, inter):
    if name.endswith("nd2"):
        pytest.importorskip("nd2")
    video = open_video(recordings / name)
    shape = (10, height, width) if name == "cluster.nd2" else (height, width)          # a stack of ten planes
    assert (len(video), *video.shape, video.info.dtype) == (n, *shape, dtype)
    assert (video.info.codec, video.info.inter_coded) == (codec, inter)
    assert video.frames_per_second == (None if rate is None else pytest.approx(rate, rel=1e-4))
    frames = list(video)
    assert len(frames) == n
    assert all(frame.shape == shape and str(frame.dtype) == dtype for frame in frames)
    assert not any("cut short" in warning for warning in video.warnings)


@pytest.mark.parametrize("name", ["bulk-water.mov", "hydrogel.mp4", "colloids.mp4"])
def test_frames_are_opencvs_green_channel_whichever_way_they_are_reached(recordings, name):
    video = open_video(recordings / name)
    capture = cv2.VideoCapture(str(recordings / name))
    frames = []
    for frame in video:
        ok, bgr = capture.read()
        assert ok
        assert np.array_equal(frame, bgr[..., 1])
        frames.append(frame)
    picks = np.random.default_rng(0).permutation(len(video))[:25]
    for i in [*picks.tolist(), -1, 0]:
        assert np.array_equal(video[i], frames[i]), i


def test_bulk_water_knows_its_key_frames(recordings):
    video = open_video(recordings / "bulk-water.mov")
    assert [video.decode_start(i) for i in (0, 237, 238, 477, 478, 479)] == [0, 0, 238, 238, 478, 478]


def test_a_cut_bulk_water_says_what_to_do(recordings, tmp_path):

    data = (recordings / "bulk-water.mov").read_bytes()
    (tmp_path / "cut.mov").write_bytes(data[:len(data) // 2])
    with pytest.raises(DataError, match=r"cut\.mov.*table of contents.*Copy"):
        open_video(tmp_path / "cut.mov")


@pytest.mark.filterwarnings("ignore")
def test_camera_files_agree_with_pims(recordings):
    pims = pytest.importorskip("pims")
    for name, peer in (("cine_781.cine", pims.Cine), ("sample_norpix6.seq", pims.NorpixSeq)):
        video, other = open_video(recordings / name), peer(str(recordings / name))
        assert len(video) == len(other)
        assert all(np.array_equal(video[i], np.asarray(other[i])) for i in range(len(video)))
        other.close()


def test_the_cine_states_its_exposure_and_that_frames_were_left_out(recordings):
    """Its time stamps are 111.07 µs apart at 90,000 frames/s: every tenth image was saved."""
    video = open_video(recordings / "cine_781.cine")
    assert video.units.exposure == pytest.approx(9.696e-6, rel=1e-3)
    assert any("10 frames" in w and "frames_per_second=9003.2" in w for w in video.warnings)


def test_a_cut_cine_and_a_cut_seq_keep_their_whole_frames(recordings, tmp_path):
    for name, share, kept in (("cine_781.cine", 0.5, 7), ("sample_norpix6.seq", 0.6, 4)):
        data = (recordings / name).read_bytes()
        (tmp_path / name).write_bytes(data[:int(share * len(data))])
        video, whole = open_video(tmp_path / name), open_video(recordings / name)
        assert len(video) == kept
        assert any("cut short" in w for w in video.warnings)
        assert all(np.array_equal(a, b) for a, b in zip(video, whole))


def test_nd2_channel_plane_and_calibration(recordings):
    nd2 = pytest.importorskip("nd2")
    video = open_video(recordings / "cluster.nd2", channel=1, z=7)
    assert video.units.micrometre_per_pixel == pytest.approx(0.1678, abs=5e-5)
    assert video.units.exposure is None, "a scanning microscope has no shutter"
    whole = nd2.imread(recordings / "cluster.nd2")           # T Z C Y X
    assert np.array_equal(np.stack(list(video)), whole[:, 7, 1])
    assert np.array_equal(open_video(recordings / "cluster.nd2", z=5)[2], whole[2, 5, 0])
    assert np.array_equal(open_video(recordings / "cluster.nd2")[2], whole[2, :, 0]), "a stack"


def test_nd2_cut_anywhere_or_damaged_says_so(recordings, tmp_path):
    """80 lengths and 80 files with a few wrong bytes: the frames, or a word; never another error."""
    pytest.importorskip("nd2")
    raw, rng = (recordings / "cluster.nd2").read_bytes(), np.random.default_rng(0)
    whole, path = list(open_video(recordings / "cluster.nd2")), tmp_path / "a.nd2"
    lengths = [*range(0, 64, 8), *(len(raw) - k for k in (1, 2, 8, 40, 100, 1000)), *rng.integers(0, len(raw), 66)]
    for length in lengths:
        path.write_bytes(raw[:length])
        with contextlib.suppress(DataError):
            frames = list(open_video(path))
            assert all(np.array_equal(a, b) for a, b in zip(frames, whole, strict=True)), length
    for _ in range(80):
        data = bytearray(raw)
        for place in rng.integers(0, len(raw), 4):
            data[place] = int(rng.integers(256))
        path.write_bytes(bytes(data))
        with contextlib.suppress(DataError):
            list(open_video(path))


def test_nd2_without_its_package(recordings, monkeypatch):
    import sys

    from vid2dyn.core.errors import DataError

    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(DataError, match=r"pip install vid2dyn\[nd2\]"):
        open_video(recordings / "cluster.nd2")
