"""Movies at the door: names are names, damaged frames are found where the coding allows it, other files are not
opened."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile

import vid2dyn as vd
from vid2dyn.core.errors import DataError
from vid2dyn.readers import open_video

FRAMES = (np.random.default_rng(0).integers(0, 40, (8, 48, 64)) + np.linspace(0, 150, 64)).astype(np.uint8)


def write(path: Path, codec: str, pixels: str, **options: str) -> Path:
    with av.open(f"file:{path}", "w", format={".mkv": "matroska", ".avi": "avi",
                                              ".mp4": "mp4"}[path.suffix]) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("options", [{"level": "3", "slicecrc": "1"}, {"level": "3", "slicecrc": "0"}, {"level": "1"},
                                     {"level": "3", "slicecrc": "1", "slices": "4"}, {"level": "3", "coder": "1"}])
def test_whole_ffv1_movies_are_read_whatever_their_checks(options: dict, tmp_path) -> None:
    video = open_video(write(tmp_path / "a.mkv", "ffv1", "gray", **options))
    np.testing.assert_array_equal(np.stack(list(video)), FRAMES)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_no_flipped_bit_of_a_checked_movie_passes(name: str, tmp_path) -> None:
    path = write(tmp_path / name, "ffv1", "gray", level="3", slicecrc="1")
    raw, rng, caught = path.read_bytes(), np.random.default_rng(1), 0
    for at in rng.integers(len(raw) // 5, len(raw) * 9 // 10, 60):
        data = bytearray(raw)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            frames = list(open_video(path))
        except DataError:
            caught += 1
            continue
        assert all(np.array_equal(a, b) for a, b in zip(frames, FRAMES)), f"byte {at}"
    assert caught > 40


@pytest.mark.parametrize("name", ["concat:a.mp4", "http:a.mp4", "subfile,,start,0,end,9,,:a.mp4", "%d.mp4",
                                  "a b#?.mp4", "-i.mp4"])
def test_names_are_never_protocols(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, "libx264", "yuv420p")
    assert len(open_video(Path(name))) == 8


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n", "ffconcat version 1.0\nfile "
                                                                                        "'{}'\n",
                                  "#EXTM3U\n#EXTINF:9,\nfile:{}\n", "ffconcat version 1.0\nfile other.mp4\n"])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_lists_of_other_files_are_no_movies(text: str, suffix: str, tmp_path) -> None:
    other = write(tmp_path / "other.mp4", "libx264", "yuv420p")
    (tmp_path / f"list{suffix}").write_text(text.format(other))
    with pytest.raises(DataError, match="not a movie"):
        open_video(tmp_path / f"list{suffix}")


def test_pipes_devices_and_no_paths_are_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    for bad in (tmp_path / "pipe.tif", "/dev/zero", "/dev/null"):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            vd.open(bad)
    for wrong in (None, 3, [1], np.zeros(3)):
        with pytest.raises(DataError, match="not the path"):
            vd.open(wrong)
    for odd in ("a\0.tif", "a" * 5000 + ".tif"):
        with pytest.raises(DataError):
            vd.open(odd)


def test_headers_that_promise_too_much_cost_no_memory(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        places = [tif.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for place in places:
        data[place:place + 2] = b"\xff\xff"
    (tmp_path / "a.tif").write_bytes(bytes(data))
    with pytest.raises(DataError):
        list(open_video(tmp_path / "a.tif"))


def test_warnings_of_a_recording_are_shown(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, imagej=True, metadata={"axes": "TYX", "finterval": 3,
                                                                        "tunit": "fortnight"})
    with pytest.warns(vd.Vid2DynWarning, match="fortnight"):
        vd.open(tmp_path / "a.tif")
