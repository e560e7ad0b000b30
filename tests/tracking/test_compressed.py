"""Movies that were compressed with loss: what is left of the noise is no particle, and what it costs is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.readers import open_video

CALIBRATION = {"frames_per_second": 50.0, "micrometre_per_pixel": 0.12, "exposure": 0.005}
D = 0.4


@pytest.fixture(scope="module")
def film() -> vd.Video:
    """60 narrow spots, bright against a noise of 3 grey levels."""
    sample = vd.simulators.Brownian(n_particles=60, frames=60, box_length=24.0, frames_per_second=50.0,
                                    micrometre_per_pixel=0.12, diffusion=D, localisation_error=0.0, exposure=0.005)
    camera = vd.simulators.Renderer(height=192, width=192, amplitude=120.0, background=40.0, read_noise=3.0,
                                    spot_sigma=1.3)
    return vd.render(sample, camera, seed=0)


def tracked(film: vd.Video, path: Path, **how: object) -> vd.Trajectories:
    film.save(path, **how)                                                  # type: ignore[attr-defined]
    return vd.track(vd.open(path, **CALIBRATION), diameter=7, search_range=9, memory=1)


@pytest.mark.filterwarnings("ignore::vid2dyn.Vid2DynWarning")
def test_what_coding_leaves_is_no_particle(film: vd.Video, tmp_path: Path) -> None:
    """H.264 at its usual quality takes the noise out and leaves dim maxima in its place: with the figure of white noise
    300 of them a frame were taken for particles, and D came out twice too large."""
    tracks = tracked(film, tmp_path / "a.mp4", codec="h264", crf=23)
    inside = film.truth.dataframe                                           # type: ignore[attr-defined]
    seen = ((inside[["y", "x"]] > 4) & (inside[["y", "x"]] < 188)).all(axis=1).sum()
    assert 0.9 * seen < len(tracks) < 1.05 * seen
    found = vd.diffusion(tracks)
    assert abs(found.D / D - 1) < 0.06 + 5 * found.D_stderr / D
    bits = tracks.info["bits_per_pixel"]
    assert 0.05 < bits < 0.5
    assert (tracks.info["lossy"], tracks.info["inter_coded"]) == (True, True)
    said = next(note for note in found.warnings if "The video is inter-coded (h264)" in note)
    assert f"{bits:.2g} bits a pixel, where D of test films came out up to 7 % low" in said
    assert said in vd.fit(tracks, vd.Brownian(cutoff=None)).report["warnings"]


@pytest.mark.filterwarnings("ignore::vid2dyn.Vid2DynWarning")
def test_pictures_compressed_one_by_one_are_said(film: vd.Video, tmp_path: Path) -> None:
    plain, lossy = tracked(film, tmp_path / "a.mkv"), tracked(film, tmp_path / "a.avi", codec="mjpeg")
    assert (plain.info["lossy"], lossy.info["lossy"], lossy.info["inter_coded"]) == (False, True, False)
    assert not [note for note in plain.info["warnings"] if "with loss" in note]
    assert any("The pictures are compressed with loss (mjpeg)" in note for note in lossy.info["warnings"])
    ratio = np.median(plain.sigma) / np.median(lossy.sigma)                 # type: ignore[arg-type]
    assert 1.5 < ratio < 4, "the factor that the warning states"
    found = vd.diffusion(lossy)
    assert abs(found.D - D) < 5 * found.D_stderr
    assert not [note for note in found.warnings if "inter-coded" in note]
    said = vd.fit(lossy, vd.Brownian(cutoff=None, localisation="table")).report["warnings"]
    assert any("localisation = 'table' takes" in note for note in said)
    assert not any("localisation = 'table' takes" in note for note in vd.fit(lossy, vd.Brownian(cutoff=None)).report[
        "warnings"])


def test_codings_say_whether_they_lose(film: vd.Video, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "stills"
    folder.mkdir()
    for k in range(2):
        Image.fromarray(film[k]).save(folder / f"a{k}.jpg", quality=90)
    lossy = {str(film.save(tmp_path / name, **how)): wanted for name, how, wanted in (     # type: ignore[attr-defined]
        ("b.tif", {}, False), ("b.mkv", {"codec": "ffv1"}, False), ("b.avi", {"codec": "mjpeg"}, True),
        ("b.mp4", {"codec": "h264"}, True))}
    for path, wanted in {**lossy, str(folder): True}.items():
        info = open_video(path).info
        assert (info.lossy, info.with_loss) == (wanted, wanted), path
