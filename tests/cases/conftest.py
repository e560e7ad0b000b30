"""Slow cases use the benchmark scripts, so that what is asserted is what is printed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def bench_fit(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_fit")


@pytest.fixture(scope="session")
def bench_video(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_video")


@pytest.fixture(scope="session")
def bench_stacks(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_stacks")


@pytest.fixture(scope="session")
def bench_rollout(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_rollout")


@pytest.fixture(scope="session")
def reproduce_patches(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("reproduce_patches")


@pytest.fixture(scope="session")
def bench_lattice(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("bench_lattice")
