"""What all tests share: the switch for slow cases, the way to the real recordings and to the scripts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

collect_ignore = ["outside_package"]           # a package to be installed, no tests
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
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


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """A benchmark or reproduction script as a module, so that what is asserted is what it prints."""

    def load(name: str) -> ModuleType:
        sys.path.insert(0, str(SCRIPTS))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(SCRIPTS))

    return load
