"""What the README prints, we run; what it links, exists. Pages of docs/: tests/test_docs.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """In a working folder that looks like the repository to a reader of the README."""
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    assert "D = " in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} >= {"tracks.parquet", "model.vid2dyn", "report.html"}


def test_ci_runs_the_commands_of_the_readme() -> None:
    install, test = blocks("bash")[1].strip().split(" && ")
    script = (ROOT / ".ci" / "run").read_text()
    assert install.removeprefix("pip install ") in script
    assert re.search(rf"^{test}\b", script, flags=re.MULTILINE)


def test_two_commands_are_lines_of_their_own() -> None:
    assert [len(block.strip().splitlines()) for block in blocks("bash")] == [1, 1]
    assert blocks("bash")[0].strip().endswith("vid2dyn demo")


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert len(targets) > 20
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - {"docs/changelog.md"}
    assert not [page for page in pages if page not in README]


def test_readme_is_two_screens() -> None:
    assert len(README.splitlines()) <= 85
