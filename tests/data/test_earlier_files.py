"""Files of every earlier schema, and of every stage of this one, open and say what they said when they were written.

``tests/data/earlier`` holds them: written by the versions that their folders name, never changed. Folders named by a
day and a commit are from before the first release, when schema 1 grew by keys and columns. See docs/releases.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vid2dyn as vd
from vid2dyn.core import sealed
from vid2dyn.data import fields, trajectories
from vid2dyn.runs.experiment import read

EARLIER = Path(__file__).parent / "earlier"
FILES = [(folder.name, name, answers) for folder in sorted(EARLIER.glob("[!.]*"))
         for name, answers in sorted(json.loads((folder / "says.json").read_text(encoding="utf-8"))["files"].items())]
def names(suffix: str) -> list[Any]:
    return [pytest.param(EARLIER / at / name, answers, id=f"{at}/{name}") for at, name, answers in FILES
            if name.endswith(suffix)]


@pytest.mark.parametrize(("path", "said"), names(".parquet"))
def test_tracks(path: Path, said: dict[str, Any]) -> None:
    tracks = vd.load(path)
    assert len(tracks) == said["rows"]
    assert type(tracks.box).__name__ == said["box"]
    for key in ("y_sum", "vy_sum"):
        if key in said:
            assert tracks.dataframe[key.removesuffix("_sum")].sum() == pytest.approx(said[key], rel=1e-12)
    if "frames_per_second" in said:
        assert tracks.units.frames_per_second == said["frames_per_second"]


@pytest.mark.parametrize(("path", "said"), names(".fields"))
def test_fields(path: Path, said: dict[str, Any]) -> None:
    found = vd.load(path)
    assert found.values.sum() == said["sum"]
    np.testing.assert_array_equal(found.times, said["times"])


PLACES = {"pairs.vid2dyn": [1.2, 1.5, 2.0], "flow.vid2dyn": [0.4, 0.5, 0.6], "terms.vid2dyn": [0.5, 0.7]}


def answer(model: Any, name: str, question: str) -> Any:
    """What `scripts/keep_earlier_files.py` asked of this file."""
    at = PLACES.get(name)
    if question == "band":
        return model.band("diffusion") if at is None else model.band("pair_potential", at)
    if question == "temperature":
        return model.temperature(0.0, 0.01)
    takes_places = question in ("pair_potential", "pair_friction", "mobility", "curvature")
    return getattr(model, question)(at) if takes_places else getattr(model, question)()


@pytest.mark.parametrize(("path", "said"), names(".vid2dyn"))
def test_models(path: Path, said: dict[str, Any]) -> None:
    """To rounding: functions are summed in another order by another version of a library."""
    model = vd.load(path)
    assert model.report["seed"] is not None
    for question, numbers in said.items():
        if question in ("r", "rho"):
            continue
        found = np.asarray(answer(model, path.name, question), dtype=float).ravel()
        np.testing.assert_allclose(found, numbers, rtol=1e-9, atol=1e-12, err_msg=f"{path.name}: {question}")


@pytest.mark.parametrize(("path", "said"), names(".encoder"))
def test_encoders(path: Path, said: dict[str, Any]) -> None:
    encoder = vd.load(path)
    for question, numbers in said.items():
        assert getattr(encoder, question) == numbers[0]


@pytest.mark.parametrize(("path", "said"), names(".toml"))
def test_experiment_files(path: Path, said: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "clip.tif").write_bytes(b"II*\0")                      # there, not looked into
    (tmp_path / path.name).write_bytes(path.read_bytes())
    experiment = read(tmp_path / path.name)
    assert experiment.dynamics.cutoff == 3.0
    assert experiment.track is not None
    assert experiment.track.diameter == 9


@pytest.mark.parametrize(("path", "said"), names("lammps"))
def test_packages_for_lammps(path: Path, said: dict[str, Any]) -> None:
    table = json.loads((path / "step" / "run.json").read_text(encoding="utf-8"))
    assert table["schema"] == 1, "vid2dyn/rollout/lammps/driver.py reads schema 1: give it a step from the one before"
    assert {"model", "run", "box"} <= set(table)


@pytest.mark.parametrize(("path", "said"), names(".checkpoint"))
def test_checkpoints_of_others_are_not_mistaken(path: Path, said: dict[str, Any], tmp_path: Path) -> None:
    """A checkpoint belongs to the version that wrote it: the fit begins anew, and ends where it does without one."""
    tracks = vd.load(path.with_name("tracks.parquet"))
    place = tmp_path / path.name
    place.write_bytes(path.read_bytes())
    recipe = vd.Brownian(cutoff=2.5)
    with_file, without = (vd.fit(tracks, recipe, seed=0, checkpoint=one) for one in (place, None))
    np.testing.assert_array_equal(with_file.pair_potential([1.5]), without.pair_potential([1.5]))


@pytest.mark.parametrize(("module", "suffix"), [(trajectories, ".parquet"), (fields, ".fields"), (sealed, ".vid2dyn"),
                                                (sealed, ".encoder")])
def test_a_file_of_every_schema_is_kept(module: Any, suffix: str) -> None:
    """Whoever raises a schema adds files of the last one, or this fails."""
    kept = {stated_schema(path.values[0]) for path in names(suffix)}
    assert set(range(1, module.SCHEMA + 1)) <= kept, (
        f"no {suffix} of schema {set(range(1, module.SCHEMA + 1)) - kept} in tests/data/earlier: check the last "
        "release out and run scripts/keep_earlier_files.py there")


def stated_schema(path: Path) -> int:
    """Of the header, read without vid2dyn."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return int(json.loads(pq.read_schema(path).metadata[b"vid2dyn"])["schema"])
    content = path.read_bytes()
    head = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    text = next(iter(head.values()))
    return int(json.loads(text[text.index("{"):])["schema"])
