"""Structural variables from video: what scripts/reproduce_patches.py prints, asserted. Minutes: run with --cases."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.case


@pytest.mark.parametrize("case", ["defocus", "brightness", "shape", "switching"])
def test_every_look_is_found_and_predicts_the_motion(reproduce_patches: ModuleType, case: str) -> None:
    """AUC at least 0.95 in each of 2 films; the gain above 3 standard errors in both together, 2 in each.

    D of both states to 30 %, which is what pictures that look like the other state cost.
    """
    results = [reproduce_patches.watch(case, seed)[1] for seed in range(20, 22)]
    assert min(r.auc for r in results) >= 0.95
    assert min(r.significance for r in results) > 2
    assert sum(r.gain for r in results) > 3 * np.hypot(*(r.gain_stderr for r in results))
    assert np.abs(np.mean([r.D for r in results], axis=0) - 1).max() < 0.3


def test_a_state_that_only_shows_brings_no_gain(reproduce_patches: ModuleType) -> None:
    """The planted control: films whose state does not alter the mobility."""
    for seed in range(20, 23):
        film, result = reproduce_patches.watch("control", seed)
        assert result.significance < 3
        assert any("does not set the mobility" in said for said in film.model.report["warnings"])
