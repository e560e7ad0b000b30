"""Readers: exact frames for every way of access, calibration from files, and bad input said clearly.

All recordings are written here, so their pixels are known.
"""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile

from vid2dyn.core.errors import ConfigError, DataError, UnitsError
from vid2dyn.core.opencv import cv2
from vid2dyn.readers import known_suffixes, open_video

SHAPE = (64, 96)


def moving(n: int, dtype: type = np.uint8, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """(n, H, W) noise that moves and changes, so that no two frames are alike."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    base = rng.integers(0, top // 2, shape)
    return np.stack([np.roll(base, i, 1) + rng.integers(0, top // 8, shape) for i in range(n)]).astype(dtype)


def write_movie(path: Path, frames: np.ndarray, codec: str, pixels: str, times: list[int] | None = None,
                muxer: dict[str, str] | None = None, **options: str) -> Path:
    """Encode (n, H, W) or (n, H, W, 3) `frames` at 25 frames/s; `times` are in ms."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(frames):
            kind = "rgb24" if image.ndim == 3 else "gray16le" if image.dtype == np.uint16 else "gray"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=kind).reformat(format=pixels)
            frame.pts = times[i] if times else i
            if times:
                frame.time_base = Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


MOVIES = [
    ("clip.avi", "rawvideo", "gray", {}, False),
    ("clip.avi", "mjpeg", "yuvj420p", {}, False),
    ("clip.mkv", "ffv1", "gray", {}, False),
    ("clip.avi", "mpeg4", "yuv420p", {"g": "10"}, True),
    ("clip.avi", "mpeg4", "yuv420p", {"g": "10", "bf": "2"}, True),
    ("clip.mov", "mpeg4", "yuv420p", {"g": "10", "bf": "2"}, True),
]


@pytest.mark.parametrize(("name", "codec", "pixels", "options", "inter"), MOVIES)
def test_any_order_gives_the_frames_of_reading_in_order(tmp_path, name, codec, pixels, options, inter):
    path = write_movie(tmp_path / name, moving(35), codec, pixels, **options)
    video = open_video(path)
    frames = list(video)
    assert len(video) == len(frames) == 35
    assert video.shape == SHAPE
    assert video.frames_per_second == pytest.approx(25)
    assert (video.info.codec, video.info.inter_coded) == (codec, inter)
    assert not video.warnings
    for i in np.random.default_rng(1).permutation(35):
        assert np.array_equal(video[int(i)], frames[i]), i
    for start in (0, 9, 10, 34):
        part = list(open_video(path).frames(start, start + 3))
        assert len(part) == min(3, 35 - start)
        assert all(np.array_equal(a, b) for a, b in zip(part, frames[start:]))


def test_lossless_movies_return_what_was_written(tmp_path):
    frames = moving(5)
    for name, codec in (("raw.avi", "rawvideo"), ("ffv1.mkv", "ffv1")):
        assert np.array_equal(np.stack(list(open_video(write_movie(tmp_path / name, frames, codec, "gray")))), frames)
    deep = moving(5, np.uint16)
    video = open_video(write_movie(tmp_path / "deep.mkv", deep, "ffv1", "gray16le"))
    assert video.info.dtype == "uint16"
    assert np.array_equal(np.stack(list(video)), deep)


@pytest.mark.parametrize("size", [(64, 64), (64, 62), (50, 128), (36, 72)])
def test_movies_give_opencvs_green_channel(size, tmp_path):
    """Also where FFmpeg leaves out what goes beyond whole vectors of planes of colours."""
    grey = np.pad(moving(6), ((0, 0), (0, 64), (0, 128)), "reflect")[:, :size[0], :size[1]]
    rgb = np.stack([grey, 255 - grey, grey // 2], axis=3)
    path = write_movie(tmp_path / "colour.mp4", rgb, "mpeg4", "yuv420p")
    video, red = open_video(path), open_video(path, channel=0)
    assert any("green channel" in w for w in video.warnings)
    assert any("red channel" in w for w in red.warnings)
    capture = cv2.VideoCapture(str(path))
    for i in range(6):
        ok, bgr = capture.read()
        assert ok
        assert np.array_equal(video[i], bgr[..., 1])
        assert np.array_equal(red[i], bgr[..., 2])
    with pytest.raises(DataError, match="channel 3 does not exist"):
        open_video(path, channel=3)


@pytest.mark.parametrize(("name", "codec", "pixels", "options"), [
    ("clip.avi", "rawvideo", "gray", {}),
    ("clip.avi", "mjpeg", "yuvj420p", {}),
    ("clip.mkv", "mpeg4", "yuv420p", {"bf": "2", "g": "15"}),
    ("clip.avi", "mpeg4", "yuv420p", {"bf": "2", "g": "15"}),
    ("clip.mp4", "mpeg4", "yuv420p", {"bf": "2", "g": "15"}),
])
def test_a_cut_movie_keeps_its_whole_frames_and_says_so(tmp_path, name, codec, pixels, options):
    muxer = {"movflags": "faststart"} if name.endswith("mp4") else None
    path = write_movie(tmp_path / name, moving(50), codec, pixels, muxer=muxer, **options)
    whole = list(open_video(path))
    data = path.read_bytes()
    for share in (0.6, 0.73, 0.9):
        cut = tmp_path / f"cut{share}{path.suffix}"
        cut.write_bytes(data[:int(share * len(data))])
        video = open_video(cut)
        frames = list(video)
        assert 1 <= len(video) == len(frames) < 50
        assert len(video) >= (15 if share == 0.9 else 1)
        assert all(np.array_equal(a, b) for a, b in zip(frames, whole)), "a frame differs or was skipped"
        assert np.array_equal(video[-1], frames[-1])
        assert any("cut short" in w and "50 frames" in w for w in video.warnings)


def test_irregular_time_stamps_are_warned_about(tmp_path):
    times = [0, 40, 80, 120, 240, 280, 320, 360, 400, 440]
    video = open_video(write_movie(tmp_path / "dropped.mkv", moving(10), "ffv1", "gray", times=times))
    assert any("1 of 9 frame intervals" in w for w in video.warnings)
    assert video.frames_per_second == pytest.approx(9 / 0.44, rel=1e-6)
    even = open_video(write_movie(tmp_path / "even.mkv", moving(10), "ffv1", "gray", times=list(range(0, 330, 33))))
    assert not even.warnings
    assert even.frames_per_second == pytest.approx(1 / 0.033, rel=1e-3)


# ------------------------------------------------------------------------------------------ TIFF


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"bigtiff": True}])
def test_tiff_stacks(tmp_path, dtype, options):
    frames = moving(7, np.uint8).astype(dtype) * (1 if dtype == np.uint8 else 3)
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack", **options)
    video = open_video(tmp_path / "a.tif")
    assert video.info.dtype == np.dtype(dtype).name
    assert np.array_equal(np.stack(list(video)), frames)
    assert np.array_equal(video[-2], frames[5])
    assert video.info.codec == ("tiff-zlib" if "compression" in options else "raw")
    assert video.units.frames_per_second is None


def test_tiff_pages_written_one_by_one(tmp_path):
    frames = moving(6, np.uint16)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for frame in frames:
            writer.write(frame, contiguous=False, metadata=None)
    assert np.array_equal(np.stack(list(open_video(tmp_path / "pages.tif"))), frames)


def test_imagej_calibration_and_hyperstacks(tmp_path):
    stack = moving(4 * 3 * 2, np.uint16).reshape(4, 3, 2, *SHAPE)
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, resolution=(1 / 0.16, 1 / 0.16),
                     metadata={"axes": "TZCYX", "finterval": 0.02, "unit": "um"})
    video = open_video(tmp_path / "ij.tif")
    assert video.units.micrometre_per_pixel == pytest.approx(0.16, rel=1e-5)
    assert video.units.frames_per_second == pytest.approx(50)
    assert video.is_stack
    assert np.array_equal(np.stack(list(video)), stack[:, :, 0])
    assert len(video.warnings) == 1
    assert "channel 0 is used" in video.warnings[0]
    chosen = open_video(tmp_path / "ij.tif", z=2, channel=1)
    assert not chosen.warnings
    assert np.array_equal(np.stack(list(chosen)), stack[:, 2, 1])
    with pytest.raises(DataError, match="z=3 does not exist"):
        open_video(tmp_path / "ij.tif", z=3)


def test_imagej_calls_time_z_and_fps_is_only_playback(tmp_path):
    tifffile.imwrite(tmp_path / "z.tif", moving(5), imagej=True, metadata={"axes": "ZYX", "fps": 12.0})
    video = open_video(tmp_path / "z.tif")
    assert len(video) == 5
    assert video.frames_per_second == 12
    assert any("taken as time" in w for w in video.warnings)
    assert any("playback" in w for w in video.warnings)


def test_ome_calibration(tmp_path):
    meta = {"axes": "TYX", "PhysicalSizeX": 108.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.108,
            "TimeIncrement": 50.0, "TimeIncrementUnit": "ms",
            "Plane": {"ExposureTime": [10.0] * 5, "ExposureTimeUnit": ["ms"] * 5}}
    tifffile.imwrite(tmp_path / "a.ome.tif", moving(5), ome=True, metadata=meta)
    units = open_video(tmp_path / "a.ome.tif").units
    assert units.micrometre_per_pixel == pytest.approx(0.108)
    assert units.frames_per_second == pytest.approx(20)
    assert units.exposure == pytest.approx(0.01)


def test_the_users_calibration_overrules_the_files(tmp_path):
    tifffile.imwrite(tmp_path / "ij.tif", moving(3), imagej=True, resolution=(10, 10),
                     metadata={"axes": "TYX", "finterval": 0.5, "unit": "um"})
    units = open_video(tmp_path / "ij.tif", frames_per_second=30, temperature=295).units
    assert (units.frames_per_second, units.temperature) == (30, 295)
    assert units.micrometre_per_pixel == pytest.approx(0.1)
    with pytest.raises(ConfigError, match="Did you mean 'frames_per_second'"):
        open_video(tmp_path / "ij.tif", frame_per_second=30)
    with pytest.raises(UnitsError, match="not a positive number"):
        open_video(tmp_path / "ij.tif", micrometre_per_pixel=-1)
    with pytest.raises(ConfigError, match="exposure"):
        open_video(tmp_path / "ij.tif", exposure="long")
    with pytest.raises(UnitsError, match=r"ij\.tif.*longer than one frame"):
        open_video(tmp_path / "ij.tif", exposure=0.8)


@pytest.mark.parametrize("how", ["block", "pages", "zlib", "imagej"])
def test_a_cut_tiff_keeps_its_whole_frames(tmp_path, how):
    frames = moving(20, np.uint16)
    path = tmp_path / "whole.tif"
    if how == "pages":
        with tifffile.TiffWriter(path) as writer:
            for frame in frames:
                writer.write(frame, contiguous=False, metadata=None)
    else:
        tifffile.imwrite(path, frames, photometric="minisblack", imagej=how == "imagej",
                         metadata={"axes": "TYX"},
                         compression="zlib" if how == "zlib" else None)
    data = path.read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(data[:int(0.62 * len(data))])
    video = open_video(cut)
    assert 10 <= len(video) <= 12
    assert np.array_equal(np.stack(list(video)), frames[:len(video)])
    assert any("cut short" in w for w in video.warnings)


def test_nan_pixels_name_file_and_frame_when_reached(tmp_path):
    frames = moving(4).astype(np.float32)
    frames[2, 5, 7] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", frames, photometric="minisblack")
    video = open_video(tmp_path / "nan.tif")
    assert np.array_equal(video[1], frames[1])
    with pytest.raises(DataError, match=r"nan\.tif, frame 2: 1 pixels are NaN.*row 5, column 7"):
        list(video)


def test_tiff_whose_frames_change_size(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        for size in (20, 20, 24):
            writer.write(np.zeros((size, 30), np.uint8), contiguous=False, metadata=None)
    with pytest.raises(DataError, match=r"two\.tif.*one size"):
        list(open_video(tmp_path / "two.tif"))


# ------------------------------------------------------------------------------------------ image folders


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_folders_and_patterns_in_natural_order(tmp_path, suffix):
    frames = moving(12, np.uint8 if suffix == ".bmp" else np.uint16)
    for i, frame in enumerate(frames):
        file = tmp_path / f"t{i}{suffix}"
        tifffile.imwrite(file, frame) if suffix == ".tif" else cv2.imwrite(str(file), frame)
    (tmp_path / "notes.txt").write_text("not an image")
    for path in (tmp_path, tmp_path / f"t*{suffix}"):
        video = open_video(path, frames_per_second=5)
        assert np.array_equal(np.stack(list(video)), frames)
        assert video.info.dtype == frames.dtype.name
        assert not video.warnings
    if suffix != ".tif":
        assert np.array_equal(open_video(tmp_path / f"t3{suffix}")[0], frames[3])


def test_colour_images_give_green(tmp_path):
    rgb = moving(3).reshape(SHAPE[0], SHAPE[1], 3)
    cv2.imwrite(str(tmp_path / "a.png"), rgb[..., ::-1])
    video = open_video(tmp_path / "a.png")
    assert np.array_equal(video[0], rgb[..., 1])
    assert any("green" in w for w in video.warnings)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([rgb, rgb]), photometric="rgb")
    assert np.array_equal(open_video(tmp_path / "a.tif", channel=2)[1], rgb[..., 2])


def test_faults_in_a_series_of_images_name_the_file(tmp_path):
    for i in (1, 2, 3, 5, 6):
        cv2.imwrite(str(tmp_path / f"f_{i:03d}.png"), np.zeros((10, 12 if i != 6 else 13), np.uint8))
    video = open_video(tmp_path / "f_*.png")
    assert any("from f_003.png to f_005.png" in w for w in video.warnings)
    with pytest.raises(DataError, match=r"f_006\.png \(frame 4\) is 10 x 13"):
        list(video)
    (tmp_path / "f_002.png").write_text("no image")
    with pytest.raises(DataError, match=r"f_002\.png: not a readable image"):
        list(open_video(tmp_path))
    cv2.imwrite(str(tmp_path / "g.bmp"), np.zeros((10, 12), np.uint8))
    with pytest.raises(DataError, match=r"kinds \.bmp, \.png"):
        open_video(tmp_path)
    with pytest.raises(DataError, match="no images here"):
        open_video(tmp_path / "*.jpg")


# ------------------------------------------------------------------------------------------ bad input


def test_bad_input_is_said_with_file_and_cure(tmp_path):
    def refused(name: str, content: bytes | None, *words: str) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as error:
            open_video(path)
        assert all(word in str(error.value) for word in (name, *words)), error.value

    text = b"this is a text file\n" * 50
    refused("absent.avi", None, "no such file", "Check the path")
    refused("empty.avi", b"", "empty", "again")
    for suffix in (".avi", ".mp4", ".mov", ".mkv", ".tif", ".cine", ".seq", ".nd2", ".png"):
        refused(f"text{suffix}", text, "again")
    refused("clip.xyz", text, ".xyz", *known_suffixes(), "Export")
    refused("clip.avii", text, "Did you mean '.avi'")
    movie = write_movie(tmp_path / "whole.mp4", moving(20), "mpeg4", "yuv420p").read_bytes()
    refused("cut.mp4", movie[:len(movie) // 2], "table of contents", "Copy")
    (tmp_path / "folder").mkdir()
    refused("folder", None, "no images here")


def test_packed_and_mosaic_cine_are_refused_with_the_cure(recordings, tmp_path):
    data = bytearray((recordings / "cine_781.cine").read_bytes())
    for place, value, words in ((44 + 16, 256, "packed"), (84 + 808, 3, "mosaic")):
        changed = bytearray(data)
        changed[place:place + 4] = value.to_bytes(4, "little")
        (tmp_path / "a.cine").write_bytes(changed)
        with pytest.raises(DataError, match=rf"a\.cine: .*{words}.*PCC"):
            open_video(tmp_path / "a.cine")


def test_a_movie_without_frames(tmp_path):
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "gray"
        container.start_encoding()
    with pytest.raises(DataError, match=r"none\.avi: not one frame"):
        open_video(path)


def test_a_damaged_middle_stops_there_and_names_the_frame(tmp_path):
    path = write_movie(tmp_path / "bad.avi", moving(30), "mpeg4", "yuv420p")
    data = bytearray(path.read_bytes())
    at = int(0.8 * len(data))
    data[at:at + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.avi: frame [12]?\d cannot be decoded"):
        list(open_video(path))


# ------------------------------------------------------------------------------------------ Video


def test_browsing_decodes_no_frame_twice_and_stays_small(tmp_path, monkeypatch):
    frames = moving(40)
    path = write_movie(tmp_path / "a.avi", frames, "rawvideo", "gray")
    video = open_video(path)
    monkeypatch.setattr("vid2dyn.data.video.CACHE_BYTES", 10 * frames[0].nbytes)
    decoded = []
    original = type(video)._pixels
    monkeypatch.setattr(type(video), "_pixels", lambda self, *a: decoded.append(a[1]) or original(self, *a))
    for i in itertools.chain(range(20), range(19, 9, -1)):
        assert np.array_equal(video[i], frames[i])
    assert decoded == list(range(20))
    video[3][:] = 0
    assert np.array_equal(video[3], frames[3]), "what was handed out is the caller's own"
    assert len(video._browser.seen) <= 10
    again = pickle.loads(pickle.dumps(video))
    assert np.array_equal(again[7], frames[7])
    with pytest.raises(IndexError, match="frame 40 of 40"):
        video[40]


@pytest.mark.parametrize("name", ["big.avi", "big.tif"])
def test_memory_does_not_grow_with_the_movie(tmp_path, name):
    """Reading 300 frames of 512² (79 MB) may take at most 40 MB more than reading one."""
    frames = moving(1, shape=(512, 512))
    path = tmp_path / name
    if name.endswith("avi"):
        write_movie(path, np.broadcast_to(frames[0], (300, 512, 512)), "rawvideo", "gray")
    else:
        with tifffile.TiffWriter(path) as writer:
            for _ in range(300):
                writer.write(frames[0], contiguous=True)
    code = ("import sys; from vid2dyn.readers import open_video; from vid2dyn.core.workers import peak_memory\n"
            "video = open_video(sys.argv[1]); list(video.frames(0, 1))\n"
            "before = peak_memory()\n"
            "n = sum(1 for _ in video); print(n, 2**20 * (peak_memory() - before))")
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    n, grown_kb = map(float, out.split())
    assert n == 300
    assert grown_kb < 40_000


def test_a_calibration_other_than_that_of_the_file_is_said(tmp_path):
    """A file of the camera knows its rate; one film of a series may have another. Movies state how they are played."""
    import vid2dyn as vd

    film = vd.render(vd.simulators.Brownian(n_particles=3, frames=3, frames_per_second=40.0, micrometre_per_pixel=0.1),
                     vd.simulators.Renderer(height=32, width=32), seed=0)
    path = film.save(tmp_path / "a.tif")
    assert not open_video(path).warnings
    assert not open_video(path, frames_per_second=40.0, micrometre_per_pixel=0.1).warnings
    said = open_video(path, frames_per_second=80.0, micrometre_per_pixel=0.13).warnings
    assert "states 40 frames/s, and frames_per_second = 80 was given" in said[0]
    assert "D is multiplied by 2." in said[0]
    assert "states 0.1 µm a pixel" in said[1]
    assert "D is multiplied by 1.3 squared" in said[1]
    assert not open_video(film.save(tmp_path / "a.mkv"), frames_per_second=80.0).warnings
