"""Slow cases use the benchmark scripts, so that what is asserted is what is printed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def _script(name: str) -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="session")
def bench_fit() -> ModuleType:
    return _script("bench_fit")


@pytest.fixture(scope="session")
def bench_video() -> ModuleType:
    return _script("bench_video")


@pytest.fixture(scope="session")
def bench_rollout() -> ModuleType:
    return _script("bench_rollout")


@pytest.fixture(scope="session")
def reproduce_patches() -> ModuleType:
    return _script("reproduce_patches")


@pytest.fixture(scope="session")
def bench_lattice() -> ModuleType:
    return _script("bench_lattice")
