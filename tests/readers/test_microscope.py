"""Microscope files through bioio (a stand-in with its interface, and bioio itself where it is installed), and advice
for files that are no recordings."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.readers.microscope import Microscope


class StandIn:
    """What `Microscope` uses of bioio.BioImage 3: scenes, dims, sizes, times and lazy planes."""

    scenes = ("a", "b")
    dtype = np.dtype("uint16")
    dims = SimpleNamespace(T=5, C=2, Z=3, Y=40, X=50)
    physical_pixel_sizes = SimpleNamespace(X=0.2, Y=0.2, Z=1.0)
    time_interval = datetime.timedelta(seconds=0.5)

    def __init__(self, path: Path) -> None:
        if path.stem == "unknown":
            raise type("UnsupportedFileFormatError", (Exception,), {})("no plugin")
        self.scene = 0

    def set_scene(self, number: int) -> None:
        self.scene = number

    def get_image_dask_data(self, order: str, C: int, Z: int) -> np.ndarray:
        assert order == "TYX"
        t, y, x = np.mgrid[:5, :40, :50]
        return (1000 * self.scene + 100 * C + 10 * Z + t + 0 * (x + y)).astype(np.uint16)


@pytest.fixture
def bioio(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("bioio")
    module.BioImage = StandIn                                  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bioio", module)


@pytest.mark.usefixtures("bioio")
def test_a_series_of_one_channel_depth_and_scene(tmp_path: Path) -> None:
    (tmp_path / "cells.czi").write_bytes(b"x")
    (tmp_path / "plate.zarr").mkdir()
    (tmp_path / "plate.zarr" / ".zattrs").write_text("{}")
    with pytest.warns(vd.Vid2DynWarning) as said:
        video: Any = vd.open(tmp_path / "cells.czi")
    notes = " ".join(str(one.message) for one in said)
    assert all(word in notes for word in ("2 channels", "3 planes", "2 scenes"))
    assert (len(video), video.shape, video[3][0, 0]) == (5, (40, 50), 13)
    assert (video.units.micrometre_per_pixel, video.units.frames_per_second) == (0.2, 2.0)
    with pytest.warns(vd.Vid2DynWarning, match="scenes"):
        assert vd.open(tmp_path / "plate.zarr", channel=1, z=0, position=1)[2][5, 5] == 1102   # type: ignore[index]
    with pytest.raises(vd.DataError, match="channel=2 does not exist, the file has 2"):
        vd.open(tmp_path / "cells.czi", channel=2)
    (tmp_path / "unknown.lif").write_bytes(b"x")
    with pytest.raises(vd.DataError, match="pip install bioio-lif"):
        vd.open(tmp_path / "unknown.lif")


def test_without_bioio_the_way_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "cells.czi").write_bytes(b"x")
    with pytest.raises(vd.DataError, match="pip install bioio bioio-czi, or export the recording as TIFF"):
        vd.open(tmp_path / "cells.czi")


def test_bioio_itself(tmp_path: Path) -> None:
    pytest.importorskip("bioio")
    pytest.importorskip("bioio_tifffile")
    import tifffile

    frames = np.random.default_rng(0).integers(0, 999, (4, 32, 48)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "clip.tiff", frames, photometric="minisblack", metadata={"axes": "TYX"})
    video = Microscope().open(tmp_path / "clip.tiff")
    assert np.array_equal(np.stack(list(video.frames())).reshape(-1, 32, 48), frames)


@pytest.mark.parametrize(("suffix", "said"), [(".gif", "save it as TIFF"), (".npy", "vd.Video.from_array"),
                                              (".tdms", "nptdms"), (".mat", "scipy.io.loadmat")])
def test_files_that_are_no_recordings_are_refused_with_advice(suffix: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"something")
    with pytest.raises(vd.DataError, match=said):
        vd.open(path)
