"""Three frames of every camera format, written here: what guards them must not need recordings beside the
repository."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from vid2dyn.core.errors import DataError
from vid2dyn.readers import open_video

RNG = np.random.default_rng(2)


def seq(path: Path, frames: np.ndarray, *, version: int = 3, rate: float = 30.0, stated: int | None = None) -> Path:
    """StreamPix: a header of 1024 bytes (8192 from version 5 on), then frames, each with a stamp of 8 bytes."""
    header = bytearray(8192 if version >= 5 else 1024)
    bits, (height, width) = 8 * frames.itemsize, frames.shape[1:]
    struct.pack_into("<I", header, 0, 0xFEED)
    struct.pack_into("<i", header, 28, version)
    struct.pack_into("<7I", header, 548, width, height, bits, bits, frames[0].nbytes, 100,
                     len(frames) if stated is None else stated)
    struct.pack_into("<Id", header, 580, frames[0].nbytes + 8, rate)
    path.write_bytes(bytes(header) + b"".join(frame.astype(frame.dtype.newbyteorder("<")).tobytes() + b"\1" * 8
                                              for frame in frames))
    return path


def cine(path: Path, frames: np.ndarray, *, rate: int = 1000, bottom_up: bool = True, every: float = 1.0,
         exposure_ns: int = 250_000) -> Path:
    """Phantom: file header, bitmap header, setup, one tagged block (time stamps), offsets, images."""
    bits, (height, width), count = 8 * frames.itemsize, frames.shape[1:], len(frames)
    setup = bytearray(1572)
    struct.pack_into("<2sH", setup, 140, b"ST", len(setup))
    struct.pack_into("<II", setup, 768, rate, exposure_ns // 1000)
    struct.pack_into("<I", setup, 1568, exposure_ns)
    at_bitmap, at_setup = 44, 84
    stamps = b"".join(struct.pack("<Q", int((1.7e9 + k * every / rate) * 2**32)) for k in range(count))
    block = struct.pack("<IHH", 8 + len(stamps), 1002, 0) + stamps
    at_offsets = at_setup + len(setup) + len(block)
    first = at_offsets + 8 * count
    image = 8 + frames[0].nbytes
    head = struct.pack("<2sHHHiIiIIII", b"CI", 44, 0, 1, 0, count, 0, count, at_bitmap, at_setup, at_offsets)
    bitmap = struct.pack("<IiiHHI", 40, width, height if bottom_up else -height, 1, bits, 0)
    offsets = b"".join(struct.pack("<Q", first + k * image) for k in range(count))
    pixels = b"".join(struct.pack("<II", 8,
                                  frame.nbytes) + frame[::-1 if bottom_up else 1].tobytes() for frame in frames)
    path.write_bytes(head.ljust(44, b"\0") + bitmap.ljust(40, b"\0") + bytes(setup) + block + offsets + pixels)
    return path


def frames_of(dtype: type, top: int) -> np.ndarray:
    return RNG.integers(0, top, (3, 10, 14)).astype(dtype)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 256), (np.uint16, 4096), (np.uint16, 65536)])
@pytest.mark.parametrize("version", [3, 5])
def test_streampix(dtype: type, top: int, version: int, tmp_path) -> None:
    frames = frames_of(dtype, top)
    video = open_video(seq(tmp_path / "a.seq", frames, version=version, rate=17.5))
    np.testing.assert_array_equal(np.stack(list(video)), frames)
    assert video.frames_per_second == 17.5
    assert video.warnings == ()
    cut = seq(tmp_path / "b.seq", frames, version=version, stated=9)
    assert "states 9 frames, 3" in open_video(cut).warnings[0]


@pytest.mark.parametrize("bottom_up", [True, False])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 256), (np.uint16, 65536)])
def test_phantom(dtype: type, top: int, bottom_up: bool, tmp_path) -> None:
    frames = frames_of(dtype, top)
    video = open_video(cine(tmp_path / "a.cine", frames, bottom_up=bottom_up))
    np.testing.assert_array_equal(np.stack(list(video)), frames)
    assert video.frames_per_second == 1000
    assert video.units.exposure == pytest.approx(2.5e-4)
    assert video.warnings == ()


def test_phantom_that_kept_every_tenth_image_says_so(tmp_path) -> None:
    video = open_video(cine(tmp_path / "a.cine", frames_of(np.uint8, 256), every=10.0))
    assert "not every frame was saved" in video.warnings[0]


@pytest.mark.parametrize(("place", "value"), [(20, 2**32 - 1), (24, 2**31), (28, 2**31), (32, 2**32 - 1), (36, 0)])
def test_a_phantom_header_that_promises_anything_costs_nothing(place: int, value: int, tmp_path) -> None:
    path = cine(tmp_path / "a.cine", frames_of(np.uint8, 256))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, place, value)
    path.write_bytes(bytes(data))
    try:
        video = open_video(path)
    except DataError:
        return
    assert len(video) <= 3


@pytest.mark.parametrize(("pixels", "bits"), [("gray10le", 10), ("gray12le", 12), ("gray16le", 16)])
def test_deep_movies_keep_their_depth(pixels: str, bits: int, tmp_path) -> None:
    """10 and 12 bit come as 16 bit, in proportion; as 8 bit they would have lost three of four levels."""
    frames = RNG.integers(0, 2**bits, (3, 16, 24)).astype(np.uint16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 24, 16, pixels
        for frame in frames:
            made = av.VideoFrame(24, 16, pixels)
            plane = np.frombuffer(made.planes[0], np.uint16).reshape(16, -1)
            plane[:, :24] = frame
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    video = open_video(tmp_path / "a.mkv")
    seen = np.stack(list(video))
    assert seen.dtype == np.uint16
    assert len(np.unique(seen)) == len(np.unique(frames))
    assert np.array_equal(np.argsort(seen, axis=None, kind="stable"), np.argsort(frames, axis=None, kind="stable"))


def test_open_groups_of_pictures_are_entered_where_they_begin(tmp_path) -> None:
    """B-frames before a key frame in time refer to the group before: any frame alone is that of reading in order."""
    y, x = np.mgrid[:48, :64]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "6", "bf": "2",
                                                                   "x264-params": "open-gop=1:scenecut=0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(26):
            picture = (60 + 120 * np.exp(-((y - 24) ** 2 + (x - 6 - 2 * k) ** 2) / 40)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode())
    video = open_video(tmp_path / "a.mp4")
    inside = list(video)
    assert len(inside) == 26
    for k in np.random.default_rng(0).permutation(26):
        np.testing.assert_array_equal(open_video(tmp_path / "a.mp4")[int(k)], inside[k])
