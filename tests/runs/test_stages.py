"""Work is done once, and what is on disk is whole and what the manifest says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vid2dyn.runs.stages import Stages


class Maker:
    """Writes a text and counts how often it had to."""

    def __init__(self, text: str) -> None:
        self.text, self.calls = text, 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_text(self.text)


def test_finished_stage_is_not_done_again(tmp_path: Path) -> None:
    make = Maker("one")
    for _ in range(2):
        Stages(tmp_path).make("first", "first.txt", {"diameter": 11}, make)
    assert make.calls == 1
    again = Stages(tmp_path)
    again.make("first", "first.txt", {"diameter": 11}, make)
    assert again.skipped == ["first"]


@pytest.mark.parametrize("harm", ["settings", "bytes", "absent", "manifest"])
def test_stage_is_done_again_when_anything_changed(tmp_path: Path, harm: str) -> None:
    make = Maker("one")
    Stages(tmp_path).make("first", "first.txt", {"diameter": 11}, make)
    source = {"diameter": 13 if harm == "settings" else 11}
    if harm == "bytes":
        (tmp_path / "first.txt").write_text("two")
    if harm == "absent":
        (tmp_path / "first.txt").unlink()
    if harm == "manifest":
        (tmp_path / "manifest.json").write_text('{"schema": 1, "stages"')
    Stages(tmp_path).make("first", "first.txt", source, make)
    assert make.calls == 2
    assert (tmp_path / "first.txt").read_text() == "one"


def test_failed_stage_leaves_nothing_and_keeps_what_was_finished(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.make("first", "first.txt", {}, Maker("one"))

    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        stages.make("second", "second.txt", {"first": stages.hash_of("first")}, fail)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first.txt", "manifest.json"]
    assert list(json.loads((tmp_path / "manifest.json").read_text())["stages"]) == ["first"]


def test_left_over_of_a_killed_run_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".first.0a1b2c3d.txt").write_text("half")
    Stages(tmp_path).make("first", "first.txt", {}, Maker("one"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first.txt", "manifest.json"]


def test_manifest_has_the_same_bytes_wherever_the_work_is_done(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        Stages(tmp_path / folder).make("first", "first.txt", {"diameter": 11}, Maker("one"))
    a, b = ((tmp_path / folder / "manifest.json").read_bytes() for folder in ("a", "b"))
    assert a == b
    assert str(tmp_path).encode() not in a
