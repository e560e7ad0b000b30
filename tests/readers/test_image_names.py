"""Folders of images: what counts the frames is found among the numbers in the names."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from vid2dyn.core.errors import DataError
from vid2dyn.readers import open_video

PIXELS = np.random.default_rng(0).integers(0, 255, (12, 8, 9)).astype(np.uint8)


def folder(path, names: list[str]):
    path.mkdir()
    for name, image in zip(names, PIXELS):
        tifffile.imwrite(path / name, image)
    return path


@pytest.mark.parametrize("form", ["img_{:09d}.tif", "img_{:09d}_Default_000.tif",
                                  "img_ch000_pos000_time{:09d}_z000.tif",
                                  "{:d}.tif", "2024-05-01_{:d}_frame.tif", "run3_t{:03d}_5ms.tif"])
def test_a_missing_number_is_said_wherever_it_stands(form: str, tmp_path) -> None:
    whole = open_video(folder(tmp_path / "whole", [form.format(i) for i in range(9)]))
    assert (len(whole), whole.warnings) == (9, ())
    gap = open_video(folder(tmp_path / "gap", [form.format(i) for i in range(9) if i != 4]))
    assert "missing" in gap.warnings[0]


def test_stamps_beside_a_counter_are_no_gaps(tmp_path) -> None:
    stamps = [1000, 1033, 1067, 1100, 1133, 1166]
    video = open_video(folder(tmp_path / "a", [f"f{i:03d}_{t}.tif" for i, t in enumerate(stamps)]))
    assert video.warnings == ()


@pytest.mark.parametrize("form", ["a_t{0:03d}_ch{1:02d}.tif", "a_z{1:02d}_t{0:03d}.tif", "img_{0:03d}_Pos_{1}.tif"])
def test_channels_planes_and_positions_are_not_one_movie(form: str, tmp_path) -> None:
    place = folder(tmp_path / "a", [form.format(i // 2, i % 2) for i in range(8)])
    with pytest.raises(DataError, match="pattern") as error:
        open_video(place)
    pattern = str(error.value).split("'")[-2]
    assert len(open_video(place / pattern)) == 4


def test_hours_and_minutes_are_played_with_a_word(tmp_path) -> None:
    place = folder(tmp_path / "a", [f"a_{i // 2:02d}h_{i % 2 * 30:02d}m.tif" for i in range(8)])
    assert "several numbers" in open_video(place).warnings[0]


def test_names_of_several_kinds_are_said(tmp_path) -> None:
    place = folder(tmp_path / "a", [f"DAPI_{i}.tif" for i in range(3)] + [f"GFP_{i}.tif" for i in range(3)])
    assert "2 ways" in open_video(place).warnings[0]
