"""Figures of tracking a packing of two sizes: discs and rings that touch, links of a sheet that is sheared fast."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.case


@pytest.fixture(scope="module")
def needle(script: Any) -> ModuleType:
    return script("reproduce_needle")


@pytest.mark.parametrize("spot", ["disc", "ring"])
def test_touching_images(needle: ModuleType, spot: str) -> None:
    """A diameter inside the frame; errors over sigma are 1.15 for discs and 1.06 for rings."""
    found = needle.seen_in_movie(spot)
    assert found[f"{spot}: precision"] >= 0.99
    assert found[f"{spot}: recall"] >= 0.99
    assert found[f"{spot}: error (px)"] <= 0.1
    assert 0.9 <= found[f"{spot}: std of error/sigma"] <= 1.2
    assert found[f"{spot}: species right"] >= 0.99
    assert found[f"{spot}: CPU time of a frame of 1,200 (s)"] <= 1.0


@pytest.mark.parametrize(("strain", "every"), [(0.10, 10), (0.05, 30)])
def test_links_of_a_fast_sheet(needle: ModuleType, strain: float, every: int) -> None:
    """10 % strain with 0.33 s a frame, and 5 % with 1 s a frame, where the drive is fastest."""
    found = needle.seen_in_movie("ring", strain, 4, every)
    assert found["ring: links of those detected"] >= 0.99
