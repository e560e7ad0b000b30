"""What docs/everyday_lab.md prints, we run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "everyday_lab.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "True" in said, "edits repeat"
    assert abs(names["second"].D - 0.2) < 5 * names["second"].D_stderr            # type: ignore[attr-defined]
    assert names["alpha"].low < 1 < names["alpha"].high                           # type: ignore[attr-defined]
