"""What all tests share: the switch for slow cases and the way to the real recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

collect_ignore = ["outside_package"]           # a package to be installed, no tests
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", action="store_true", default=False,
                     help="also run the slow cases of the papers and of the benchmarks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--cases"):
        return
    skip = pytest.mark.skip(reason="slow case; run with --cases")
    for item in items:
        if "case" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings beside the repository; tests that need it skip where it is absent."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no real recordings: the folder ../{RECORDINGS.parent.name}/{RECORDINGS.name} "
                    "beside the repository is absent")
    return RECORDINGS
