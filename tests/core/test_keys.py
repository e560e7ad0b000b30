"""Keys of everything that is resumed or reused: whatever the result depends on changes the key."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.dynamics.fluid.numbers import Layout
from vid2dyn.encoders.patches.training import checkpoint_key as encoder_key
from vid2dyn.fitting.brownian.pair_forces import checkpoint_of
from vid2dyn.fitting.brownian.preparation import prepared_recordings
from vid2dyn.fitting.particles.recordings import checkpoint_key
from vid2dyn.inference.steps import FluidSteps
from vid2dyn.runs import chunks
from vid2dyn.tracking import Track

RNG = np.random.default_rng(0)
FLUID = vd.Trajectories.from_dense(RNG.uniform(0, 3, (12, 20, 2)), vd.Units(1.0, 50.0),
                                   velocity=RNG.normal(size=(12, 20, 2)), box=vd.Periodic((3.0, 3.0)))


LAYOUT = Layout(2, 0.8, 1.0, 0.45, 6, 1)


def test_fits_of_particles() -> None:
    steps = FluidSteps.of(FLUID, 0.8)

    def key(part=steps, settings="a", layout=LAYOUT):
        return checkpoint_key([part], settings, *layout.to_arrays().values())

    moved = steps.position.copy()
    moved[3, 2, 1] += 1e-12
    fast = steps.velocity.copy()
    fast[3, 2, 1] += 1e-12
    others = [key(dataclasses.replace(steps, **change)) for change in (
        {"position": moved}, {"velocity": fast}, {"dt": steps.dt * (1 + 1e-12)}, {"cutoff": 0.81}, {"first_frame": 1},
        {"box": vd.Periodic((3.0, 3.1))}, {"box": vd.LeesEdwards((3.0, 3.0), shear_rate=0.1)}, {"frames": 2},
        {"shown": 0.9}, {"species": np.ones(20, np.int64)}, {"names": np.arange(1, 21)},
        {"position": steps.velocity, "velocity": steps.position})]
    others += [key(settings="b"), key(layout=LAYOUT.without(0))]
    for name, value in (("dim", 3), ("cutoff", 0.9), ("mass", 2.0), ("volume", 0.5), ("knots", 7), ("power", 0),
                        ("units", 8), ("forces", 5)):
        others.append(key(layout=dataclasses.replace(LAYOUT, **{name: value}, active=np.zeros(0, bool))))
    assert key() == key()
    assert len({key(), *others}) == len(others) + 1


def test_fits_of_particles_by_other_versions(monkeypatch) -> None:
    steps = FluidSteps.of(FLUID, 0.8)
    before = checkpoint_key([steps], "a")
    monkeypatch.setattr("vid2dyn.__version__", "99")
    assert checkpoint_key([steps], "a") != before


def test_brownian_fits() -> None:
    rng = np.random.default_rng(0)
    path = rng.normal(0, 0.1, (40, 30, 2)).cumsum(0) + rng.uniform(0, 12, (30, 2))
    recipe = vd.Brownian(cutoff=2.0)

    usual = vd.Units(0.1, 50.0, exposure=0.01)

    def key(positions=path, units=usual, recipe=recipe, seed=0, box=None, sigma=0.02):
        tracks = vd.Trajectories.from_dense(positions, units, box=box or vd.Periodic((12.0, 12.0)), sigma=sigma)
        data, _ = prepared_recordings([tracks], recipe)
        return checkpoint_of(None, data, seed).key

    moved = path.copy()
    moved[5, 5, 0] += 1e-9
    others = [key(positions=moved), key(units=vd.Units(0.1, 50.0, exposure=0.005)),
              key(units=vd.Units(0.1, 49.0, exposure=0.01)),
              key(recipe=vd.Brownian(cutoff=2.1)), key(seed=1), key(box=vd.Periodic((12.5, 12.0))), key(sigma=0.03)]
    assert key() == key()
    assert len({key(), *others}) == len(others) + 1


def test_encoders(monkeypatch) -> None:
    tracks = FLUID.replace(info={"sha256": "a"})
    keys = {encoder_key({"columns": 2}, tracks, 0), encoder_key({"columns": 3}, tracks, 0),
            encoder_key({"columns": 2}, tracks, 1),
            encoder_key({"columns": 2}, tracks.replace(info={"sha256": "b"}), 0),
            encoder_key({"columns": 2}, tracks.between(0, 11), 0)}
    monkeypatch.setattr("vid2dyn.__version__", "99")
    keys.add(encoder_key({"columns": 2}, tracks, 0))
    assert len(keys) == 6


OTHER_SETTINGS = {"diameter": 13, "minmass": 5.0, "separation": 4.0, "percentile": 50.0, "invert": True,
                  "threshold": 2.0,
                  "noise_size": 1.5, "smoothing_size": 13, "max_size": 9.0, "max_ecc": 0.5, "start": 1,
                  "stop": 4, "spot": "disc",
                  "spot_width": 2.0, "compat": "trackpy", "sizes": "each", "axial_width": 2.0,
                  "roi": ((2.0, 2.0), (40.0, 40.0)), "background": "median", "dark_level": 1.0,
                  "bleach_correction": "ratio"}
OF_LINKS = {"search_range", "memory", "min_length", "range_growth", "predictor", "link_cost", "axial_search_range"}
FILES_AND_NUMBERS = {"flat_field", "class_sizes"}
"""Settings that need another one, or a file: tried beside."""


def test_parts_of_a_movie(tmp_path: Path) -> None:
    import tifffile

    known = {field.name for field in dataclasses.fields(Track)}
    assert set(OTHER_SETTINGS) | OF_LINKS | FILES_AND_NUMBERS == known, "a new setting needs a key"
    frames = np.random.default_rng(0).integers(0, 255, (6, 3, 48, 48)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", frames, imagej=True, metadata={"axes": "TCYX"})

    plain = Track(spot="gaussian", minmass=1.0, spot_width=1.5, invert=False)

    def key(settings: Track = plain, **options) -> str:
        return chunks._prepare(tmp_path / "a.tif", tmp_path / "parts", settings, options, 6).key

    # sizes are widths, too
    free = {"sizes": dataclasses.replace(plain, spot_width=None, sizes="two", class_sizes=(1.2, 2.0))}
    others = [key(dataclasses.replace(free.get(name, plain), **{name: value}))
              for name, value in OTHER_SETTINGS.items()]
    flat = np.full((48, 48), 200, np.uint8)
    flat[:, :9] = 100
    tifffile.imwrite(tmp_path / "flat.tif", flat)
    others += [key(channel=1), key(channel=2), key(dataclasses.replace(plain, flat_field=str(tmp_path / "flat.tif"))),
               key(dataclasses.replace(free["sizes"], sizes="two", class_sizes=(1.3, 2.1)))]
    assert len({key(), *others}) == len(others) + 1
    assert key(dataclasses.replace(plain, search_range=7.0, memory=2)) == key()           # links are made anew
    assert key(frames_per_second=10) == key()                                             # units do not find particles
    tifffile.imwrite(tmp_path / "a.tif", frames[::-1], imagej=True, metadata={"axes": "TCYX"})
    assert key() not in {*others}


OF_A_RUN = '[simulate]\nkind = "Brownian"\nn_particles = 12\nframes = 30\nbox_length = 8\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file of a run and, in `out`, all that the run has left."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "e.toml").write_text(OF_A_RUN)
    assert vd.run(folder / "e.toml", out=folder / "out")[0].error == ""
    return folder


@pytest.mark.parametrize(("table", "stage"), [
    ("[fit]\nseed = 4", "model"), ("[fit]\nstop = 1", "model"),
    ("[dynamics]\nkind = \"Brownian\"\nstationary = false", "model"),
    ("[rollout]\nseed = 9", "rollout"), ("[rollout]\nsteps = 7", "rollout"),
])
def test_stages_of_a_run(finished: Path, table: str, stage: str, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy")
    (folder / "e.toml").write_text(OF_A_RUN + table + "\n")
    second = vd.run(folder / "e.toml", out=folder / "out")[0]
    assert second.error == ""
    assert stage not in second.skipped
    assert "tracks" in second.skipped


def test_a_run_in_another_folder_is_the_same(finished: Path, tmp_path: Path) -> None:
    """Its copy is finished, too: otherwise the test above would see nothing."""
    folder = shutil.copytree(finished, tmp_path / "copy")
    again = vd.run(folder / "e.toml", out=folder / "out")[0]
    assert {"tracks", "model", "rollout"} <= set(again.skipped)
