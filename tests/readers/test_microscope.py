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

    def get_image_dask_data(self, order: str, C: int, Z: int | None = None) -> np.ndarray:
        t, z, y, x = np.mgrid[:5, :3, :40, :50]
        everything = (1000 * self.scene + 100 * C + 10 * z + t + 0 * (x + y)).astype(np.uint16)
        assert order == ("TZYX" if Z is None else "TYX")
        return everything if Z is None else everything[:, Z]


@pytest.fixture
def bioio(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("bioio")
    module.BioImage = StandIn                                  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bioio", module)


@pytest.mark.usefixtures("bioio")
def test_a_series_of_one_channel_and_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cells.czi").write_bytes(b"x")
    (tmp_path / "plate.zarr").mkdir()
    (tmp_path / "plate.zarr" / ".zattrs").write_text("{}")
    with pytest.warns(vd.Vid2DynWarning) as said:
        video: Any = vd.open(tmp_path / "cells.czi")
    notes = " ".join(str(one.message) for one in said)
    assert all(word in notes for word in ("2 channels", "2 scenes"))
    assert (len(video), video.shape, video[3][:, 0, 0].tolist()) == (5, (3, 40, 50), [3, 13, 23])
    units = video.units
    assert (units.micrometre_per_pixel, units.micrometre_per_plane, units.frames_per_second) == (0.2, 1.0, 2.0)
    with pytest.warns(vd.Vid2DynWarning, match="scenes"):
        flat: Any = vd.open(tmp_path / "cells.czi", z=1)
    assert (flat.shape, flat[3][0, 0], flat.is_stack) == ((40, 50), 13, False)
    with pytest.warns(vd.Vid2DynWarning, match="scenes"):
        assert vd.open(tmp_path / "plate.zarr", channel=1, z=0, position=1)[2][5, 5] == 1102   # type: ignore[index]
    with pytest.raises(vd.DataError, match="channel=2 does not exist, the file has 2"):
        vd.open(tmp_path / "cells.czi", channel=2)
    (tmp_path / "unknown.lif").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "bioio_lif", None)
    with pytest.raises(vd.DataError, match="pip install bioio-lif"):
        vd.open(tmp_path / "unknown.lif")
    monkeypatch.setitem(sys.modules, "bioio_lif", ModuleType("bioio_lif"))
    with pytest.raises(vd.DataError, match=r"unknown\.lif: not a readable LIF file \(bioio-lif does not take it\)"):
        vd.open(tmp_path / "unknown.lif")


def test_without_bioio_the_way_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "cells.czi").write_bytes(b"x")
    with pytest.raises(vd.DataError, match="pip install bioio bioio-czi, or export the recording as TIFF"):
        vd.open(tmp_path / "cells.czi")


def written(path: Path, pixels: np.ndarray) -> None:
    """A CZI or OME-Zarr of (T, Z, Y, X) pixels of 0.2 µm, planes 0.7 µm apart, by the libraries of their makers."""
    if path.suffix == ".czi":
        czi = pytest.importorskip("pylibCZIrw.czi")
        with czi.create_czi(str(path)) as file:
            for t, z in np.ndindex(pixels.shape[:2]):
                file.write(pixels[t, z, :, :, None], plane={"T": t, "Z": z, "C": 0})
            file.write_metadata("recording", scale_x=0.2e-6, scale_y=0.2e-6, scale_z=0.7e-6)
        return
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", data=pixels[:, None], chunks=(1, 1, *pixels.shape[1:]))
    kinds = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
    unit = {"time": {"unit": "second"}, "space": {"unit": "micrometer"}, "channel": {}}
    scale = [{"type": "scale", "scale": [0.5, 1.0, 0.7, 0.2, 0.2]}]
    group.attrs["multiscales"] = [{"version": "0.4", "name": "recording", "datasets": [
        {"path": "0", "coordinateTransformations": scale}],
        "axes": [{"name": name, "type": kind, **unit[kind]} for name, kind in kinds.items()]}]


@pytest.mark.parametrize("suffix", [".czi", ".zarr"])
def test_stacks_that_were_written_open_with_axes_and_spacing(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("bioio")
    pytest.importorskip({".czi": "bioio_czi", ".zarr": "bioio_ome_zarr"}[suffix])
    pixels = np.random.default_rng(0).integers(0, 999, (4, 3, 32, 48)).astype(np.uint16)
    path = tmp_path / f"recording{suffix}"
    written(path, pixels)
    video: Any = vd.open(path)
    assert np.array_equal(np.stack(list(video.frames())), pixels)
    assert video.units.micrometre_per_pixel == pytest.approx(0.2)
    assert video.units.micrometre_per_plane == pytest.approx(0.7)
    assert video.units.frames_per_second == {".czi": None, ".zarr": 2.0}[suffix]       # no time stamps were written
    assert np.array_equal(vd.open(path, z=2)[1], pixels[1, 2])          # type: ignore[index]


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
