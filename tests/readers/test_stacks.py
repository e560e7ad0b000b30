"""Recordings of stacks: files and arrays with time and depth."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import vid2dyn as vd
from vid2dyn.core.errors import ConfigError, DataError, UnitsError

PIXELS = np.random.default_rng(0).integers(0, 250, (4, 5, 24, 30)).astype(np.uint8)


def _imagej(path, pixels=PIXELS, **meta):
    tifffile.imwrite(path, pixels, imagej=True, resolution=(1 / 0.1, 1 / 0.1),
                     metadata={"axes": "TZYX", "unit": "um", "spacing": 0.35, "finterval": 0.5, **meta})
    return path


def test_an_imagej_hyperstack_is_a_recording_of_stacks(tmp_path) -> None:
    video = vd.open(_imagej(tmp_path / "a.tif"))
    assert video.is_stack
    assert len(video) == 4
    assert video.shape == (5, 24, 30)
    assert np.array_equal(video[2], PIXELS[2])
    assert video[2].dtype == np.uint8
    units = video.units
    assert (units.micrometre_per_plane, units.micrometre_per_pixel, units.frames_per_second) == (0.35, 0.1, 2.0)
    assert "4 stacks of 5 x 24 x 30 voxels" in repr(video)
    assert "micrometre_per_plane=0.35" in repr(video)
    assert np.array_equal(np.stack(list(video.frames(1, 3))), PIXELS[1:3])


def test_channels_of_a_hyperstack_are_told_from_depth(tmp_path) -> None:
    pixels = np.stack([PIXELS, 255 - PIXELS], axis=2)                    # T, Z, C, Y, X
    video = vd.open(_imagej(tmp_path / "a.tif", pixels, axes="TZCYX"), channel=1)
    assert np.array_equal(video[3], 255 - PIXELS[3])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_ome_stack(compression, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, ome=True, compression=compression, photometric="minisblack",
                     metadata={"axes": "TZYX", "PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 100,
                               "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 350, "PhysicalSizeZUnit": "nm"})
    video = vd.open(tmp_path / "a.ome.tif")
    assert video.shape == (5, 24, 30)
    assert np.array_equal(video[3], PIXELS[3])
    assert video.units.micrometre_per_plane == pytest.approx(0.35)
    plane = vd.open(tmp_path / "a.ome.tif", z=1)
    assert plane.shape == (24, 30)
    assert np.array_equal(plane[2], PIXELS[2, 1])
    assert plane.units.micrometre_per_plane is None


def test_depth_alone_is_a_stack_where_the_file_says_how_deep(tmp_path) -> None:
    known = vd.open(_imagej(tmp_path / "a.tif", PIXELS[0], axes="ZYX", finterval=0))
    assert known.is_stack
    assert len(known) == 1
    assert np.array_equal(known[0], PIXELS[0])
    tifffile.imwrite(tmp_path / "b.tif", PIXELS[0], imagej=True, metadata={"axes": "ZYX"})
    with pytest.warns(vd.Vid2DynWarning, match="taken as time"):
        assert len(vd.open(tmp_path / "b.tif")) == 5
    told = vd.open(tmp_path / "b.tif", stack=True, micrometre_per_plane=0.3)
    assert told.is_stack
    assert told.shape == (5, 24, 30)
    assert told.units.micrometre_per_plane == 0.3


def test_a_cut_file_keeps_its_whole_stacks(tmp_path) -> None:
    path = _imagej(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tif:
        begin = tif.series[0].dataoffset
    path.write_bytes(path.read_bytes()[:begin + 24 * 30 * 13])           # 2 stacks of 5 planes, 3 planes of the third
    with pytest.warns(vd.Vid2DynWarning, match="states 4 stacks|states 4 frames"):
        video = vd.open(path)
    assert len(video) == 2
    assert np.array_equal(video[1], PIXELS[1])


def test_arrays_with_depth_stay_lazy() -> None:
    asked = []

    class Lazy:
        shape, dtype = PIXELS.shape, PIXELS.dtype

        def __getitem__(self, index):
            asked.append(index)
            return PIXELS[index]

    video = vd.Video.from_array(Lazy(), axes="tzyx", frames_per_second=2, micrometre_per_pixel=0.1)
    assert video.is_stack
    assert not asked
    assert np.array_equal(video[1], PIXELS[1])
    assert {index[0] for index in asked} == {1}
    part = video[1:, 1:4, :10]
    assert part.shape == (3, 10, 30)
    assert np.array_equal(part[0], PIXELS[1, 1:4, :10])
    assert "planes 1:4" in part.info.part
    assert np.array_equal(video[1, 2:4], PIXELS[1, 2:4])
    assert np.array_equal(video.projected()[2], PIXELS[2].max(axis=0))
    flat = vd.Video.from_array(PIXELS, axes="tzyx", z=2)
    assert not flat.is_stack
    assert np.array_equal(flat[1], PIXELS[1, 2])
    with pytest.raises(ConfigError, match="thinned"):
        video[:, ::2]


def test_the_distance_of_planes_is_asked_for() -> None:
    with pytest.raises(UnitsError, match=r"micrometre_per_plane=0\.3"):
        vd.track(PIXELS, axes="tzyx", micrometre_per_pixel=0.1)
    with pytest.raises(UnitsError, match="micrometre_per_pixel"):
        vd.track(PIXELS, axes="tzyx", micrometre_per_plane=0.1)
    with pytest.raises(DataError, match="2 planes cannot tell depths"):
        vd.track(PIXELS[:, :2], axes="tzyx", micrometre_per_pixel=0.1, micrometre_per_plane=0.3)


def test_depths_follow_the_calibration() -> None:
    path = np.random.default_rng(0).normal(size=(6, 3, 3)).cumsum(axis=0)
    tracks = vd.Trajectories.from_dense(path, vd.Units(0.1, 10.0, micrometre_per_plane=0.3),
                                        field_of_view=(100.0, 90.0, 60.0))
    other = tracks.with_units(micrometre_per_plane=0.6)
    assert np.allclose(other.positions, tracks.positions * (1, 1, 2))
    assert other.field_of_view == (100.0, 90.0, 120.0)
    wider = tracks.with_units(micrometre_per_pixel=0.2)
    assert np.allclose(wider.positions, tracks.positions * (2, 2, 1))
    assert np.allclose(wider.view()[1], (20, 18, 6))
