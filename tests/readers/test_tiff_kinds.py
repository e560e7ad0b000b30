"""Every kind of TIFF gives the frames that were recorded, as viewers show them, or says why not."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import tifffile

from vid2dyn.core.errors import DataError
from vid2dyn.readers import open_video

RNG = np.random.default_rng(5)
STACK = RNG.integers(0, 1000, (6, 20, 26)).astype(np.uint16)
SMALL = (STACK // 4).astype(np.uint8)


def read(path, **options) -> tuple[np.ndarray, tuple[str, ...]]:
    video = open_video(path, **options)
    return np.stack([video[k] for k in range(len(video))]), video.warnings


@pytest.mark.parametrize(("size", "options"), [(1, {}), (2, {}), (3, {}), (1, {"compression": "zlib"}),
                                               (2, {"metadata": None})])
def test_stacks_written_piece_by_piece_are_one_movie(size: int, options: dict, tmp_path) -> None:
    for k in range(0, 6, size):
        tifffile.imwrite(tmp_path / "a.tif", STACK[k:k + size], append=k > 0, photometric="minisblack", **options)
    frames, warnings = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(frames, STACK)
    assert warnings == ()


@pytest.mark.parametrize("options", [{}, {"metadata": None}])
def test_pieces_of_another_type_or_size_are_refused(options: dict, tmp_path) -> None:
    for odd in (SMALL[0], STACK[0, :10]):
        tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="minisblack", **options)
        tifffile.imwrite(tmp_path / "a.tif", odd, append=True, photometric="minisblack", **options)
        with pytest.raises(DataError, match="one size"):
            open_video(tmp_path / "a.tif")


@pytest.mark.parametrize("imagej", [True, False])
def test_time_that_is_called_channel(imagej: bool, tmp_path) -> None:
    many = np.concatenate([STACK, STACK])
    kind = {"imagej": True} if imagej else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", many, metadata={"axes": "CYX"}, **kind)
    frames, warnings = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(frames, many)
    assert "called C" in warnings[0]
    frames, _ = read(tmp_path / "a.tif", channel=4)
    np.testing.assert_array_equal(frames, many[4:5])
    tifffile.imwrite(tmp_path / "b.tif", STACK[:2], metadata={"axes": "CYX"}, **kind)
    frames, warnings = read(tmp_path / "b.tif")
    assert len(frames) == 1
    assert len(warnings) == 1
    assert "2 channels" in warnings[0]


def test_colour_in_planes(tmp_path) -> None:
    rgb = RNG.integers(0, 255, (4, 20, 26, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(rgb, -1, 1), photometric="rgb", planarconfig="separate")
    frames, warnings = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(frames, rgb[..., 1])
    assert not any("cut" in w for w in warnings)


@pytest.mark.parametrize("white", [255 - SMALL, 65535 - STACK])
def test_white_is_zero(white: np.ndarray, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", white, photometric="miniswhite")
    frames, warnings = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(frames, SMALL if white.dtype == np.uint8 else STACK)
    assert "MinIsWhite" in warnings[0]
    folder = tmp_path / "f"
    folder.mkdir()
    for k, frame in enumerate(white):
        tifffile.imwrite(folder / f"{k}.tif", frame, photometric="miniswhite")
    np.testing.assert_array_equal(read(folder)[0], frames)


def test_palettes(tmp_path) -> None:
    colours = RNG.integers(0, 65535, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", SMALL, photometric="palette", colormap=colours)
    frames, warnings = read(tmp_path / "a.tif", channel=2)
    np.testing.assert_array_equal(frames, (colours[2][SMALL] // 257).astype(np.uint8))
    assert "palette" in warnings[0]
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    tifffile.imwrite(tmp_path / "b.tif", SMALL, photometric="palette", colormap=ramp)
    frames, warnings = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(frames, SMALL)
    assert warnings == ()


@pytest.mark.parametrize(("pixels", "says"), [
    ((STACK + 1j * STACK).astype(np.complex64), "real numbers"), (STACK.astype(np.uint32) + 4_000_000_000, "pedestal"),
    (STACK * 1e300, "too large"), (STACK + 1e9, "pedestal"), (STACK.astype(np.int64) + 10**15, "pedestal"),
])
def test_pixels_that_single_precision_cannot_hold_are_refused(pixels: np.ndarray, says: str, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    with pytest.raises(DataError, match=says):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("pixels", [STACK.astype(np.uint32) + 70_000, STACK.astype(np.int16) - 500, STACK * 1e-6,
                                    np.zeros((2, 20, 26), np.uint32) + 4_000_000_000])
def test_pixels_that_it_can_are_kept(pixels: np.ndarray, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], pixels.astype(np.float32))


# ---------------------------------------------------------------- recordings of several files

def in_parts(folder, lengths: list[int], names: list[str] | None = None) -> tuple[list[str], np.ndarray]:
    ids = [f"urn:uuid:{uuid.UUID(int=k + 1)}" for k in range(len(lengths))]
    names = names or [f"r_{k}.ome.tif" for k in range(len(lengths))]
    data = RNG.integers(0, 1000, (sum(lengths), 20, 26)).astype(np.uint16)
    at, entries = 0, ""
    for name, own, length in zip(names, ids, lengths):
        entries += "".join(f'<TiffData IFD="{i}" FirstT="{at + i}" FirstC="0" FirstZ="0" PlaneCount="1">'
                           f'<UUID FileName="{name}">{own}</UUID></TiffData>' for i in range(length))
        at += length
    at = 0
    for k, (own, length) in enumerate(zip(ids, lengths)):
        xml = (f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
               f'UUID="{own}"><Image ID="Image:0" Name="a"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
               f'SizeX="26" SizeY="20" SizeC="1" SizeZ="1" SizeT="{len(data)}"><Channel ID="Channel:0:0" '
               f'SamplesPerPixel="1"/>{entries}</Pixels></Image></OME>')
        with tifffile.TiffWriter(folder / f"r_{k}.ome.tif") as writer:
            for i in range(length):
                writer.write(data[at + i], contiguous=False, description=xml if i == 0 else None, metadata=None,
                             photometric="minisblack")
        at += length
    return [f"r_{k}.ome.tif" for k in range(len(lengths))], data


@pytest.mark.parametrize("lengths", [[3, 10], [10, 3], [4, 4, 4], [1, 1, 5]])
def test_parts_of_any_length_are_one_movie(lengths: list[int], tmp_path) -> None:
    names, data = in_parts(tmp_path, lengths)
    for name in names:
        frames, warnings = read(tmp_path / name)
        np.testing.assert_array_equal(frames, data)
        assert warnings == ()


@pytest.mark.parametrize("gone", [1, 2])
def test_a_missing_part_is_named(gone: int, tmp_path) -> None:
    names, _ = in_parts(tmp_path, [5, 5, 4])
    (tmp_path / names[gone]).unlink()
    with pytest.raises(DataError, match=rf"frame {5 * gone} is in r_{gone}\.ome\.tif"):
        open_video(tmp_path / names[0])


@pytest.mark.parametrize("name", ["../other.ome.tif", "/etc/passwd", "a/b.ome.tif", "..\\other.ome.tif", "C:other.tif",
                                  ".."])
def test_parts_outside_the_folder_are_refused(name: str, tmp_path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    in_parts(folder, [2, 2], ["r_0.ome.tif", name])
    with pytest.raises(DataError, match="one folder"):
        open_video(folder / "r_0.ome.tif")


def test_entities_in_ome_metadata_are_refused(tmp_path) -> None:
    xml = ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/'
           '2016-06"><Image ID="Image:0"/></OME>')
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], description=xml, metadata=None)
    with pytest.raises(DataError, match="entities"):
        open_video(tmp_path / "a.ome.tif")


# ---------------------------------------------------------------- calibration in words

@pytest.mark.parametrize(("unit", "seconds"), [("sec", 1), ("ms", 1e-3), ("msec", 1e-3), ("milliseconds", 1e-3),
                                               ("min", 60),
                                               ("minutes", 60), ("hours", 3600), ("usec", 1e-6), ("days", 86400)])
def test_imagej_time_units(unit: str, seconds: float, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TYX", "finterval": 30.0, "tunit": unit})
    assert open_video(tmp_path / "a.tif").frames_per_second == pytest.approx(1 / (30 * seconds))


@pytest.mark.parametrize("unit", ["fortnight", "frame", "a.u."])
def test_unknown_imagej_time_units_leave_the_rate_open(unit: str, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True,
                     metadata={"axes": "TYX", "finterval": 30.0, "tunit": unit, "fps": 25.0})
    video = open_video(tmp_path / "a.tif")
    assert video.frames_per_second is None
    assert unit in video.warnings[0]


@pytest.mark.parametrize(("unit", "pixel"), [("um", 0.2), ("nm", 0.0002), ("mm", 200.0), ("micron", 0.2), ("inch",
                                                                                                           None)])
def test_imagej_length_units(unit: str, pixel: float | None, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(5, 5), metadata={"axes": "TYX", "unit": unit})
    video = open_video(tmp_path / "a.tif")
    assert video.units.micrometre_per_pixel == (None if pixel is None else pytest.approx(pixel))
    assert bool(video.warnings) == (pixel is None)


def test_pixels_that_are_not_square_are_said(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(5, 10), metadata={"axes": "TYX", "unit": "um"})
    assert "not square" in open_video(tmp_path / "a.tif").warnings[0]


@pytest.mark.parametrize(("times", "says"), [([0, 1, 2, 3, 4, 5], None), ([0, 1, 2, 3, 7, 8], "differ from the usual"),
                                             ([0, 0, 0, 0, 0, 0], "do not grow")])
def test_time_stamps_of_ome_planes(times: list[float], says: str | None, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, photometric="minisblack", metadata={
        "axes": "TYX", "Plane": {"DeltaT": times, "DeltaTUnit": ["ms"] * 6}})
    video = open_video(tmp_path / "a.ome.tif")
    assert (says is None) == (not video.warnings)
    if says:
        assert says in video.warnings[0]
    assert video.frames_per_second == (None if times[1] == 0 else pytest.approx(5000 / times[-1]))
