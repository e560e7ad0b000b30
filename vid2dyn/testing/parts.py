"""Conformance checks: what every simulator, reader and dynamics has to keep, so that it works wherever parts do.

A new part proves itself by inheriting a class of checks in its tests::

    class TestSettling(SimulatorContract):
        def part(self):
            return Settling(n_particles=20, frames=30)

pytest then runs every check. The checks are plain functions too. They raise `AssertionError` saying what broke.
"""

from __future__ import annotations

import json
import pickle
import random
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from vid2dyn import pipeline
from vid2dyn.core.config import build, recipe
from vid2dyn.core.describe import setting_help
from vid2dyn.core.errors import DataError, ModelError
from vid2dyn.core.registry import part, parts, resolve
from vid2dyn.data.fields import Fields
from vid2dyn.dynamics.recipes.base import Recipe
from vid2dyn.model import Model
from vid2dyn.readers import open_video
from vid2dyn.simulators.base import Simulator


def check_settings(one: Any, family: str) -> None:
    """A part is found under its name, can be made again from plain data, and says what each setting means."""
    kind = type(one)
    assert part(family, kind.__name__) is kind, f"the family {family} has another {kind.__name__}"
    table = json.loads(json.dumps(recipe(one)))
    assert build(kind, table, "the recipe") == one, f"{table} makes another {kind.__name__}"
    assert (kind.__doc__ or "").strip(), f"{kind.__name__} has no docstring: lists show its first line"
    silent = [name for name, text in setting_help(kind).items() if not text]
    assert not silent, f"the docstring of {kind.__name__} does not say what {', '.join(silent)} means"


def check_simulator(simulator: Simulator, seed: int = 0) -> None:
    """Same seed, same data, another seed others; finite, with units, truth and a file; no global random state."""
    before = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    data, again, other = (simulator.run(seed=s) for s in (seed, seed, seed + 1))
    after = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    assert before == after, "a global random state was used"
    assert isinstance(data, Fields) == (simulator.makes == "fields"), f"`makes` says {simulator.makes}"
    assert _same(data, again), "the same seed gave other numbers"
    assert not _same(data, other), "another seed gave the same numbers"
    values = data.values if isinstance(data, Fields) else data.positions
    assert np.isfinite(values).all(), "not all values are finite"
    truth = data.info.get("truth")
    assert isinstance(truth, dict), 'info["truth"] is missing'
    json.dumps(truth)
    told = truth.get("simulator", truth)
    assert told.get("kind") == type(simulator).__name__, 'info["truth"] does not hold the recipe of the simulator'
    if not isinstance(data, Fields):
        data.units.require("frames_per_second", "micrometre_per_pixel", for_what="A simulation")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"data{simulator.suffix}"
        data.save(place)
        assert _same(pipeline.load(place), data), f"{simulator.suffix} gives other data back"


def check_reader(path: Path, frames: np.ndarray, **options: Any) -> None:
    """A recording gives its frames, alone, in parts and in any order, the same after it was pickled.

    Parameters
    ----------
    path : Path
        A recording.
    frames : (n, H, W) array
        What is in it.
    **options
        Of `vd.open`.
    """
    video = open_video(path, **options)
    assert len(video) == len(frames) >= 3, f"{len(video)} frames, not {len(frames)}"
    assert video.shape == frames.shape[1:], f"frames of {video.shape}, not {frames.shape[1:]}"
    assert str(video[0].dtype) == video.info.dtype, f"frames are {video[0].dtype}, info says {video.info.dtype}"
    assert all(np.array_equal(image, true) for image, true in zip(video.frames(), frames, strict=True)), "frames()"
    for k in (len(frames) - 1, 0, 1):
        assert np.array_equal(video[k], frames[k]), f"video[{k}]"
    assert np.array_equal(video[-1], frames[-1]), "video[-1]"
    part_of = list(video.frames(1, len(frames) - 1))
    assert np.array_equal(part_of, frames[1:-1]), "frames(1, n - 1)"
    assert not list(video.frames(2, 2)), "frames(2, 2) should be none"
    assert np.array_equal(pickle.loads(pickle.dumps(video))[1], frames[1]), "a pickled video (workers need it)"
    try:
        video[len(frames)]
    except IndexError:
        pass
    else:
        raise AssertionError("a frame beyond the end must be an IndexError")


def check_bad_files(suffix: str) -> None:
    """A file that is empty, of another kind, or cut: a `DataError` that names it."""
    with tempfile.TemporaryDirectory() as folder:
        bad = Path(folder) / f"bad{suffix}"
        for content in (b"", b"\x00", b"this is a text\n" * 40):
            bad.write_bytes(content)
            try:
                list(open_video(bad))
            except DataError as error:
                if bad.name not in str(error):
                    raise AssertionError(f"the error does not name the file: {error}") from None
            else:
                raise AssertionError(f"{content[:20]!r} passed for a recording {suffix}")


def check_model(model: Model, data: Any) -> None:
    """What is saved says the same when it is loaded; bands hold their values and widen; a rollout is such data again.

    Parameters
    ----------
    model : Model
        Fitted to `data`.
    data : Trajectories or Fields
        A rollout starts from them.
    """
    with tempfile.TemporaryDirectory() as folder:
        loaded: Any = pipeline.load(model.save(Path(folder) / "one.vid2dyn"))
        assert type(loaded) is type(model), f"{type(loaded).__name__} came back for a {type(model).__name__}"
        assert loaded.save(Path(folder) / "two.vid2dyn").read_bytes() == (Path(folder) / "one.vid2dyn").read_bytes()
        assert pipeline.report(Path(folder) / "page.html", tracks=data, model=loaded).stat().st_size > 0
    assert loaded.numbers() == model.numbers(), "numbers differ after loading"
    for number in model.numbers():
        assert number.low <= number.value <= number.high, f"{number.label}: the band does not hold the value"
    found = model.functions()
    for function in found.functions if found is not None else ():
        value = np.asarray(getattr(model, function.name)(*function.at))
        assert value.shape == function.x.shape, f"{function.name}: {value.shape} values at {function.x.shape} places"
        assert np.array_equal(getattr(loaded, function.name)(*function.at), value), f"{function.name} after loading"
        (low, high), (inner_low, inner_high) = (model.band(function.name, function.where, level=p) for p in (0.95, 0.5))
        assert np.shape(low) == np.shape(high) == value.shape, f"the band of {function.name} has another shape"
        order = np.diff(np.stack([low, inner_low, value, inner_high, high]), axis=0)
        assert (order >= 0).all(), f"bands of {function.name} do not hold each other and the value"
        _refused(lambda name=function.name, at=function.where: model.band(name, at, level=1.5), "a level of 1.5")
    _refused(lambda: model.band("no such quantity"), "the band of an unknown quantity")
    one, two = (model.rollout(data, steps=3, seed=1) for _ in range(2))
    assert type(one) is type(data), f"a rollout is {type(one).__name__}, the data are {type(data).__name__}"
    assert isinstance(one, Fields) == (model.learned_from == "fields"), f"`learned_from` says {model.learned_from}"
    assert _same(one, two), "the same seed gave another rollout"
    assert np.isfinite(one.values if isinstance(one, Fields) else one.positions).all(), "a rollout is not finite"


def check_recipe(chosen: Recipe, data: Any) -> Model:
    """A recipe fits its data: the same seed gives the same bytes, of the class that it names. Returns the model."""
    assert chosen.summary, "summary is empty"
    assert "\n" not in chosen.summary, "summary is one line"
    assert isinstance(data, Fields) == (chosen.learns_from == "fields"), f"`learns_from` says {chosen.learns_from}"
    model, again = (pipeline.fit(data, chosen, seed=3) for _ in range(2))
    assert type(model) is resolve(chosen.model).class_of(model.arrays), f"a {type(model).__name__}, not {chosen.model}"
    assert model.kind == type(chosen).__name__, f"the model's recipe is of kind {model.kind}"
    with tempfile.TemporaryDirectory() as folder:
        one, two = (fitted.save(Path(folder) / name) for fitted, name in ((model, "a.vid2dyn"), (again, "b.vid2dyn")))
        assert one.read_bytes() == two.read_bytes(), "the same seed gave another model"
    return model


class SimulatorContract(ABC):
    """Inherit in a test of a simulator, and give it."""

    @abstractmethod
    def part(self) -> Simulator:
        """The simulator; a small one."""

    def test_settings(self) -> None:
        check_settings(self.part(), "simulators")

    def test_data(self) -> None:
        check_simulator(self.part())


class ReaderContract(ABC):
    """Inherit in a test of a reader of files, and write a recording that it opens."""

    suffix: str
    """Ending of its files."""
    options: dict[str, Any] = {}  # noqa: RUF012
    """Of `vd.open`."""

    @abstractmethod
    def write(self, path: Path) -> np.ndarray:
        """Write a recording of at least three frames to `path`; returns the (n, H, W) frames that are in it."""

    def test_settings(self) -> None:
        kinds: list[Any] = [kind for kind in parts("readers").values()
                            if self.suffix in kind.suffixes]  # type: ignore[attr-defined]
        assert kinds, f"no reader opens {self.suffix}"
        check_settings(kinds[0](), "readers")

    def test_frames(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"clip{self.suffix}"
            check_reader(path, self.write(path), **self.options)

    def test_bad_files(self) -> None:
        check_bad_files(self.suffix)


class DynamicsContract(ABC):
    """Inherit in a test of a dynamics, and give its recipe and data to learn from."""

    @abstractmethod
    def part(self) -> Recipe:
        """The recipe."""

    @abstractmethod
    def data(self) -> Any:
        """Trajectories or fields; few, as the recipe is fitted twice."""

    def test_settings(self) -> None:
        check_settings(self.part(), "dynamics")

    def test_fit_and_model(self) -> None:
        data = self.data()
        check_model(check_recipe(self.part(), data), data)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Fields):
        return np.array_equal(one.values, other.values) and np.array_equal(one.times, other.times)
    return bool(one.dataframe.equals(other.dataframe)) and one.units == other.units


def _refused(work: Any, what: str) -> None:
    try:
        work()
    except ModelError:
        return
    raise AssertionError(f"{what} must be a ModelError")
