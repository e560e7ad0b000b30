"""The patch encoder: its import, its pieces, its files, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import vid2dyn as vd
from vid2dyn.cli.commands import app
from vid2dyn.core.errors import ConfigError, DataError, ModelError
from vid2dyn.core.progress import Cancelled
from vid2dyn.encoders import torchvision_import
from vid2dyn.encoders.patches.images import brightness_and_width, cut, illumination_varies
from vid2dyn.encoders.patches.net import Augment, score
from vid2dyn.encoders.patches.slow_columns import independent, slow_columns
from vid2dyn.simulators import HiddenState, Renderer

SMALL = {"size": 13, "columns": 2, "steps": 28, "batch": 48, "examples": 400}


def fresh(code: str) -> subprocess.CompletedProcess:
    """A new interpreter that runs `code`."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def video():
    sim = HiddenState(n_particles=25, frames=60, box_length=12.0)
    return vd.render(sim, Renderer(height=100, width=100, state_width=1.4), seed=4)


@pytest.fixture(scope="module")
def tracks(video):
    return video.truth


@pytest.fixture(scope="module")
def trained(video, tracks):
    """An encoder trained with seed 1."""
    return vd.PatchEncoder(**SMALL).train(video, tracks, seed=1)


# ------------------------------------------------------------------ the import

BROKEN = """
import sys, types, torch
kinds = []
class Finder:                       # a torchvision whose compiled part is absent, as a CUDA wheel beside a CPU torch
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "torchvision":
            return None
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        kinds.append(module.__name__)
        if module.__name__ == "torchvision":
            import torchvision.half      # half of it is imported when the other half dies
            torch.library.register_fake("torchvision::nms")(lambda *a: None)
sys.meta_path.insert(0, Finder())
from vid2dyn.encoders.torchvision_import import load
"""


def test_the_real_torchvision_imports_and_works() -> None:
    done = fresh("from vid2dyn.encoders.torchvision_import import load\n"
                 "import torch; tv = load(); assert load() is tv\n"
                 "block = tv.models.resnet.BasicBlock(2, 2)\n"
                 "print(tuple(block(torch.zeros(1, 2, 9, 9)).shape), tv.transforms.v2.RandomVerticalFlip.__name__)")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "(1, 2, 9, 9) RandomVerticalFlip"


def test_missing_operators_are_defined_and_the_import_repeated() -> None:
    done = fresh(BROKEN + "tv = load()\nprint(kinds.count('torchvision'), kinds.count('torchvision.half'), "
                          "torch.ops.torchvision.nms.default._schema)")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[:2] == ["2", "2"], "purged, then imported once more, half-imported modules too"
    assert "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" in done.stdout


def no_definition(*names: str) -> None:
    pytest.fail(f"a schema was defined: {names}")


def test_nothing_is_defined_where_the_import_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_import, "_import", lambda: types.ModuleType("torchvision"))
    monkeypatch.setattr(torch.library, "Library", no_definition)
    assert torchvision_import.load.__wrapped__().__name__ == "torchvision"


@pytest.mark.parametrize(("death", "said"), [(RuntimeError("another trouble"), "another trouble"),
                                             (ImportError("no such wheel"), "needs torchvision.*no such wheel")])
def test_other_troubles_are_not_covered_up(death: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies() -> None:
        raise death

    monkeypatch.setattr(torchvision_import, "_import", dies)
    monkeypatch.setattr(torch.library, "Library", no_definition)
    with pytest.raises(ConfigError, match=said) as told:
        torchvision_import.load.__wrapped__()
    assert "constraints.txt" in str(told.value)


# ------------------------------------------------------------------ pieces

def test_patches_are_cut_where_the_particle_is() -> None:
    """Exactly the pixels around it, less the background; the frame's last pixel repeated beyond its edge."""
    frame = np.arange(30 * 40, dtype=float).reshape(30, 40)
    y, x = np.array([10.4, 0.0]), np.array([20.6, 39.0])
    patches = cut(frame, y, x, 7)
    whole = frame[7:14, 18:25]
    assert np.allclose(patches[0] - patches[0, 3, 3], whole - whole[3, 3])
    assert np.allclose(patches[1, :4, 3:] - patches[1, 3, 3], frame[0, 39] - frame[0, 39])
    flat = cut(np.full((30, 40), 77, np.uint8), y, x, 7)
    assert (flat == 0).all()


def test_the_yardstick_follows_light_and_width() -> None:
    grid = np.mgrid[-10:11, -10:11]
    spots = [a * np.exp(-(grid**2).sum(axis=0) / (2 * s * s)) for a, s in ((1, 2.0), (2, 2.0), (1, 2.5))]
    found = brightness_and_width(np.array(spots, np.float32))
    assert found[1, 0] == pytest.approx(2 * found[0, 0])
    assert found[1, 1] == pytest.approx(found[0, 1])
    assert found[2, 1] > 1.1 * found[0, 1]


def test_how_far_the_lamp_varies_is_measured() -> None:
    """A gradient of 0.4 across the frame has a relative scatter of 0.4/sqrt(12), flicker adds in squares: to 15 %."""
    sim = HiddenState(n_particles=5, frames=40, box_length=26.0)
    camera = Renderer(background=200.0, illumination_gradient=0.4, flicker=0.05, bit_depth=16)
    expected = np.hypot(0.4 / np.sqrt(12), 0.05)
    assert illumination_varies(vd.render(sim, camera)) == pytest.approx(expected, rel=0.15)
    assert illumination_varies(vd.render(sim, Renderer(background=200.0, bit_depth=16))) < 0.005


def test_augmentation_keeps_width_and_changes_brightness_as_told() -> None:
    """Width to 4 % (what interpolation blurs), light by the illumination's spread to 15 %; without it to 1 %."""
    grid = np.mgrid[-10:11, -10:11]
    spot = np.exp(-(grid**2).sum(axis=0) / (2 * 2.2**2)).astype(np.float32)
    patches = torch.as_tensor(np.repeat(spot[None, None], 800, axis=0))
    for lamp in (0.0, 0.2):
        with torch.random.fork_rng(devices=[]):             # the transforms know only torch's global generator
            torch.manual_seed(0)
            light, width = brightness_and_width(Augment(21, lamp, 0.0)(patches)[:, 0].numpy()).T
        before = brightness_and_width(spot[None])[0]
        assert np.abs(width / before[1] - 1).max() < 0.04
        assert np.log(light).std() == pytest.approx(lamp, rel=0.15, abs=0.01)


def test_augmentation_turns_what_is_not_round() -> None:
    """47 % of 320 rods, each in a group of its own, look turned: one in two is turned, a few of those hardly.

    Fewer than 34 % do by chance in 1 of 10⁶ runs (binomial); one in four turned is missed in 1 of 10⁵.
    """
    rod = torch.zeros(16, 1, 15, 15)
    rod[:, 0, 7, 2:13] = 1.0
    augment = Augment(15, 0.0, 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        turned = torch.cat([(augment(rod) - rod).abs().amax(dim=(1, 2, 3)).gt(0.5) for _ in range(20)])
    assert turned.float().mean() > 0.34


def test_score_counts_what_lasts_and_does_not_collapse() -> None:
    """Two lasting columns of four score 2, whatever their scale; a constant column adds nothing."""
    g = torch.Generator().manual_seed(0)
    lasting = torch.randn(20_000, 2, generator=g)
    a, b = (torch.cat([lasting, torch.randn(20_000, 2, generator=g)], dim=1) for _ in range(2))
    assert float(score(a, b)) == pytest.approx(2.0, abs=0.02)
    scale = torch.tensor([1.0, 2.0, 0.5, 1.5])
    assert float(score(a * scale, b * scale)) == pytest.approx(2.0, abs=0.02)
    flat = torch.cat([lasting, torch.full((20_000, 1), 3.0)], dim=1)
    assert float(score(flat, flat)) == pytest.approx(2.0, abs=0.02)


def test_slow_columns_separate_two_states_from_a_spread_of_brightness() -> None:
    """Both last equally; only independence tells them apart. Correlation with the state above 0.99, else below 0.8."""
    rng = np.random.default_rng(2)
    state, brightness = rng.integers(0, 2, 5000) - 0.5, 0.5 * rng.standard_normal(5000)
    noise = 0.01 * rng.standard_normal((2, 5000, 4))
    mix = rng.standard_normal((2, 4))
    one, two = (np.column_stack([state, brightness]) @ mix + n for n in noise)
    found = slow_columns(one, two, 2)(one)
    assert np.abs(np.corrcoef(np.column_stack([found, state]).T)[-1, :2]).max() > 0.99
    assert np.allclose(np.cov(found.T), np.eye(2), atol=0.05), "standardised and uncorrelated"
    white = (one - one.mean(axis=0)) @ np.linalg.svd(one - one.mean(axis=0), full_matrices=False)[2][:2].T
    assert np.abs(np.corrcoef(np.column_stack([white, state]).T)[-1, :2]).max() < 0.995
    turn = independent(found)
    assert np.allclose(turn @ turn.T, np.eye(2), atol=1e-12)


# ------------------------------------------------------------------ the whole

def test_the_same_seed_gives_the_same_columns_and_another_does_not(video, tracks, trained) -> None:
    recipe = vd.PatchEncoder(**SMALL)
    before = torch.random.get_rng_state()
    one, two, other = (vd.encode(video, tracks, encoder, seed=s).dataframe["latent_0"].to_numpy()
                       for encoder, s in ((trained, 1), (recipe, 1), (recipe, 2)))
    assert (one == two).all()
    assert (one != other).any()
    assert torch.equal(before, torch.random.get_rng_state()), "nobody's global generator was touched"


def test_columns_are_standardised_and_come_with_errors(video, tracks) -> None:
    """Mean 0 and standard deviation 1 over the training pictures, here the first ones of all 4420 pairs.

    No chance is in that: what is left is rounding, below 1e-12 in double precision (two products of float32 features
    with the same weights), and an error of 2e-9 in the mean or the scale is seen.
    """
    found = vd.encode(video, tracks, vd.PatchEncoder(**SMALL | {"examples": 10_000}), seed=1)
    first = np.concatenate([tracks.lagged(lag)[0] for lag in range(1, vd.PatchEncoder().lag + 1)])
    assert found.info["encoder"]["pairs"] == len(first), "every pair was an example"
    latent = found.dataframe[["latent_0", "latent_1"]].to_numpy()[first]

    def wrong(values: np.ndarray) -> float:
        return float(np.abs([values.mean(axis=0), values.std(axis=0) - 1]).max())

    assert wrong(latent) < 1e-9
    assert wrong(latent + 2e-9) > 1e-9
    assert wrong(latent * (1 + 2e-9)) > 1e-9
    error = found.dataframe[["latent_0_std", "latent_1_std"]].to_numpy()
    assert ((error > 0) & (error < 1.5)).all()
    about = found.info["encoder"]
    assert about["recipe"]["size"] == 13
    assert about["persistence"] == sorted(about["persistence"], reverse=True)
    json.dumps(found.info)
    assert found.dataframe.drop(columns=[c for c in found.dataframe if c.startswith(("latent", "patch"))]).equals(
        tracks.dataframe)


def test_memory_does_not_grow_with_the_movie(video, tracks, trained, monkeypatch) -> None:
    """Whatever the chunk, the columns are the same to rounding: the movie goes through it in pieces."""
    from vid2dyn.encoders.patches import encoder as patches

    whole = vd.encode(video, tracks, trained).dataframe["latent_0"]
    seen = []
    monkeypatch.setattr(patches, "CHUNK", 100)
    real = type(trained).columns
    monkeypatch.setattr(type(trained), "columns", lambda self, p: seen.append(len(p)) or real(self, p))
    pieces = vd.encode(video, tracks, trained).dataframe["latent_0"]
    assert max(seen) < 150
    assert np.allclose(whole, pieces, atol=1e-4)


def test_a_file_gives_the_encoder_back(video, tracks, trained, tmp_path: Path) -> None:
    path = trained.save(tmp_path / "e.encoder")
    again = vd.load(path)
    assert vd.encode(video, tracks, trained).dataframe.equals(vd.encode(video, tracks, again).dataframe)
    for name, value in trained.arrays.items():              # another memory order would round differently
        assert value.flags.c_contiguous, name
        assert again.arrays[name].flags.c_contiguous, name
    assert again.save(tmp_path / "f.encoder").read_bytes() == path.read_bytes()
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "g.encoder").write_bytes(damaged)
    with pytest.raises(ModelError, match="checksum"):
        vd.load(tmp_path / "g.encoder")
    (tmp_path / "h.encoder").write_bytes(b"not a file of ours")
    with pytest.raises(ModelError, match="not a readable encoder"):
        vd.load(tmp_path / "h.encoder")


@pytest.mark.parametrize("stop_at", [7, 26])
def test_a_stopped_training_goes_on_to_the_same_bits(video, tracks, tmp_path: Path, stop_at: int) -> None:
    recipe, kept = vd.PatchEncoder(**SMALL), tmp_path / "kept.checkpoint"

    def stop(done: int, total: int, what: str) -> None:
        if what == "training the encoder" and done == stop_at:
            raise Cancelled

    with pytest.raises(Cancelled):
        recipe.train(video, tracks, seed=3, checkpoint=kept, progress=stop)
    assert kept.exists() == (stop_at > 25)
    steps: list[int] = []
    resumed = recipe.train(video, tracks, seed=3, checkpoint=kept,
                           progress=lambda done, total, what: steps.append(done) if "training" in what else None)
    assert steps[0] == (25 if stop_at > 25 else 0)
    whole = recipe.train(video, tracks, seed=3)
    assert all((resumed.arrays[k] == whole.arrays[k]).all() for k in whole.arrays)
    with pytest.raises(ModelError, match="another run"):
        recipe.train(video, tracks, seed=4, checkpoint=kept)


def test_what_cannot_be_encoded_is_refused(video, tracks) -> None:
    recipe = vd.PatchEncoder(**SMALL)
    with pytest.raises(DataError, match="pairs of pictures"):
        vd.encode(video, tracks.between(0, 5), recipe)
    loose = tracks.dataframe.assign(particle=-1)
    with pytest.raises(DataError, match="Only 0 pairs"):
        vd.encode(video, tracks.replace(dataframe=loose), recipe)
    late = tracks.replace(dataframe=tracks.dataframe.assign(frame=tracks.frame + 5))
    with pytest.raises(DataError, match="not the tracks of this recording"):
        vd.encode(video, late, recipe)
    with pytest.raises(ConfigError, match="does not fit"):
        vd.encode(video, tracks, vd.PatchEncoder(size=301))


def test_pictures_that_are_all_alike_are_refused(video, tracks) -> None:
    class Blank(type(video)):                                       # type: ignore[misc]
        def decode(self, start, stop):
            yield from (np.full(self.shape, 7, np.uint8) for _ in range(start, stop))

    blank = Blank(video.simulated, video.renderer)
    with pytest.raises(DataError, match="are empty"):
        vd.encode(blank, tracks, vd.PatchEncoder(**SMALL))


@pytest.mark.parametrize("wrong", [{"size": 5}, {"columns": 0}, {"columns": 40}, {"illumination": -1.0},
                                   {"learning_rate": 0.0}, {"steps": 0}, {"lag": 0}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        vd.PatchEncoder(**wrong)


def test_the_command_line_encodes_and_keeps_the_encoder(tmp_path: Path, video) -> None:
    movie = video.save(tmp_path / "m.tif")
    tracks = tmp_path / "m.truth.parquet"
    options = [x for key, value in SMALL.items() for x in ("--set", f"{key}={value}")]
    words = ["encode", str(movie), str(tracks), "--encoder", str(tmp_path / "m.encoder"), "--quiet", *options]
    first = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "a.parquet")])
    assert first.exit_code == 0, first.output
    assert "latent_0" in first.output
    second = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "b.parquet")])
    assert second.exit_code == 0, second.output
    assert vd.load(tmp_path / "a.parquet").dataframe.equals(vd.load(tmp_path / "b.parquet").dataframe)
    wrong = CliRunner().invoke(app, [*words[:3], "--set", "sise=3"])
    assert wrong.exit_code == 2
    assert "Did you mean 'size'" in wrong.output + wrong.stderr
